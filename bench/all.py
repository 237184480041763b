"""Everything that bench/results holds: train, epoch, scale, import, kernels, in about twenty minutes.

One after another, each in a process of its own; what fails is named at the end, and the others are none the worse.
"""

import subprocess
import sys
import time
from pathlib import Path

from bench import Failed, runner

PEERS = "tinyae,tinyae-eager,numpy,torch,torch-compile,jax"
OPS = "exp,tanh,sigmoid,gelu,softplus,add,sum.all,logsumexp,bce_with_logits,adam,normal,gemm,conv2d,lstm"
RUNS = {  # name: arguments, whether it draws
    "train": (["--peers", PEERS], True),
    "epoch": (["--peers", PEERS], False),
    "scale": ([], False),
    "import": ([], False),
    "kernels": (["--op", OPS], True),
}


def options(parser):
    """The command line."""
    parser.add_argument("--folder", type=Path, default=runner.RESULTS, metavar="FOLDER",
                        help="where the files go; default: bench/results")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a few minutes: shows that it works, not how fast it is")


def run(options):
    """Run all; returns None, or raises Failed with the names of those that ended with an error."""
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, (arguments, draws) in RUNS.items():
        files = ["--json", options.folder / f"{name}.json"]
        files += ["--plot", options.folder / f"{name}.png"] if draws and _can_draw() else []
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench", name, *arguments, *files, *["--quick"] * options.quick]
        code = subprocess.run(list(map(str, command)), cwd=runner.ROOT, check=False).returncode
        print(f"\n{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
        if code:
            failed.append(f"{name} (exit code {code})")
    if failed:
        raise Failed(f"what they said is above: {', '.join(failed)}.")


def _can_draw():
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None
