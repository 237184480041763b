"""What every benchmark stands on: peers in processes of their own, all alive together and timed in turn; table
and JSON.

Turns, because a shared machine drifts by more than the differences that matter: every ratio is taken between two things
measured within the same second. Processes, because thread settings and loaded libraries must not leak between peers.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench import Failed, Refused, Unavailable
from bench.peers import PEERS, Peer, family

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = [f"{library}_NUM_THREADS" for library in ("OPENBLAS", "OMP", "MKL", "BLIS", "TINYAE")]
THREADS.append("NPROC")  # JAX's

PICTURES = (".png", ".svg", ".pdf")
NOISY = 0.1  # of the median, between the control's quartiles

# -- options --------------------------------------------------------------------------------------------------------


def options(parser, peers=tuple(PEERS)):
    """The options that benchmarks share: --peers, --threads, --json, --quick."""
    present = {name: PEERS[name].is_installed() for name in peers}
    parser.add_argument("--peers", type=installed(present), default=[name for name in peers if present[name]],
                        metavar="P,P", help=f"of {', '.join(peers)}; default: those installed")  # fmt: skip
    parser.add_argument("--threads", type=numbers, default=sorted({1, min(2, CORES)}), metavar="N,N",
                        help="threads per peer; one that has a single thread takes part once; "
                             "default: 1,2")  # fmt: skip
    parser.add_argument("--json", type=writable, metavar="FILE", help="write machine, versions and all rows to FILE")
    parser.add_argument("--quick", action="store_true", help="a few seconds: shows that it works, not how fast it is")


def names(known):
    """An argparse type: a comma-separated list of names out of known."""

    def parse(text):
        given = list(dict.fromkeys(text.split(",")))
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; there are: {', '.join(known)}")
        return given

    return parse


def installed(present):
    """An argparse type: as `names`, of {name: whether it is installed}; who is not is left out, as reports say."""

    def parse(text):
        given = [name for name in names(present)(text) if present[name]]
        if not given:
            raise argparse.ArgumentTypeError(f"{text} is not installed")
        return given

    return parse


def numbers(text):
    """An argparse type: a comma-separated list of whole numbers from 1 on."""
    try:
        given = sorted({int(word) for word in text.split(",")})
    except ValueError:
        given = [0]
    if given[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers from 1 on, such as 1,2")
    return given


def positive(text):
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def writable(text):
    """An argparse type: a file that can be written."""
    if Path(text).is_dir() or not os.access(Path(text).parent, os.W_OK):  # said now, not after a minute of measuring
        raise argparse.ArgumentTypeError(f"cannot write a file {text!r}")
    return Path(text)


def picture(text):
    """An argparse type: as `writable`, of what matplotlib can write."""
    if Path(text).suffix not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} is no picture; its name ends in one of: {', '.join(PICTURES)}")
    return writable(text)


# -- processes ------------------------------------------------------------------------------------------------------


class Process:
    """A peer at work: ``process.call("turn", 20)`` runs that method of its Task
    in the worker and returns the result.
    """

    def __init__(self, name, peer, task, threads, settings):
        self.peer = name
        self.threads = threads
        self.label = f"{name} ({threads} thread{'s' * (threads > 1)})"
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), **peer.environment}
        entries = environment.pop("PYTHONPATH", "").split(os.pathsep)
        entries = [entry for entry in entries if entry and Path(entry).resolve() != ROOT]  # see worker.py
        if entries:
            environment["PYTHONPATH"] = os.pathsep.join(entries)
        worker = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self.pipe = subprocess.Popen(
            worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )
        self._send({"task": task, "peer": peer.module, "settings": settings})

    def ready(self):
        """Wait until the peer is loaded; ``about`` is then what it says about itself."""
        self.about = self._receive()

    def call(self, method, *arguments):
        """The result of the Task's method."""
        self._send({"call": method, "arguments": arguments})
        return self._receive()

    def _send(self, request):
        with contextlib.suppress(BrokenPipeError):  # it has died: _receive says so
            print(json.dumps(request), file=self.pipe.stdin, flush=True)

    def _receive(self):
        line = self.pipe.stdout.readline()
        if not line:
            raise Failed(f"{self.label} ended with exit code {self.pipe.wait()}; what it said is above.")
        answer = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "refused" in answer:
            raise Refused(f"{self.peer}: {answer['refused']}")
        return answer["result"]

    def close(self):
        """End the worker."""
        self.pipe.kill()
        self.pipe.communicate()


@contextlib.contextmanager
def alive(task, peers, threads, **settings):
    """``with alive(...) as (processes, control)``: one per peer and thread count, all ready; ended with the block.

    task names a module with a class ``Task(peer, **settings)``: it lives in the worker, and peer is the peer's module.
    """
    with contextlib.ExitStack() as stack:

        def begin(*what):
            process = Process(*what)
            stack.callback(process.close)
            return process

        control = begin("control", Peer(None, {}, 1), "bench.control", 1, {})
        processes = [
            begin(name, PEERS[name], task, n, settings)
            for name in peers
            for n in sorted({min(n, PEERS[name].most_threads) for n in threads})
        ]
        for process in (control, *processes):
            process.ready()
        yield processes, control


def of_all(processes, left_out, call):
    """{process: call(process)} of those that can; the others end, and left_out gets {peer: why}.

    Raises Refused if there is nobody.
    """
    results = {}
    progress("some steps to compare")
    with ThreadPoolExecutor(CORES) as pool:  # nothing is timed yet, and torch.compile takes its time
        for process, answer in [(process, pool.submit(call, process)) for process in processes]:
            try:
                results[process] = answer.result()
            except Unavailable as problem:
                left_out[process.peer] = str(problem)
                process.close()
            except BaseException:  # Ctrl-C, too: what the others are at must not be waited for
                for other in processes:
                    other.pipe.kill()
                raise
    progress("")
    if not results:
        raise Refused("\n".join(["nobody is left to time.", *(f"{peer}: {why}" for peer, why in left_out.items())]))
    return results


# -- time -----------------------------------------------------------------------------------------------------------


def timed(step, steps, warm_up=2):
    """In the worker: microseconds of each of some calls, after a few that bring caches and clock back."""
    for _ in range(warm_up):
        step()
    marks = [time.perf_counter_ns()]
    for _ in range(steps):
        step()
        marks.append(time.perf_counter_ns())
    return [(b - a) / 1e3 for a, b in itertools.pairwise(marks)]


def in_turn(processes, control, title, rounds=30, seconds=0.05, limit=40, steps=None):
    """{process: (q1, median, q3)} in microseconds, from rounds in which each, the control too, takes one `Task.turn`.

    Peers take the same number of steps, hence the same path through training; the slowest needs about ``seconds`` a
    turn, or takes ``steps``. After ``limit`` seconds no further round begins, if there were five.
    """
    usual = {process: np.median(process.call("turn", steps or 3)) for process in processes}
    steps = dict.fromkeys(processes, steps or int(np.clip(seconds * 1e6 / max(usual.values()), 2, 50)))
    steps[control] = int(np.clip(seconds * 1e6 / np.median(control.call("turn", 3)), 2, 50))
    times = {process: [] for process in steps}
    began = time.perf_counter()
    for number in range(rounds):
        if number >= 5 and time.perf_counter() - began > limit:
            break
        progress(f"{title}: round {number + 1} of {rounds}")
        for process in random.sample(list(steps), len(steps)):  # nobody always follows the same neighbour
            with alone(process, steps):
                times[process] += process.call("turn", steps[process])
    progress("")
    return {process: tuple(np.percentile(values, (25, 50, 75))) for process, values in times.items()}


@contextlib.contextmanager
def alone(process, all_of_them):
    """While process works, the others stand still: threads of a BLAS or of OpenMP spin on after their last product."""
    others = [other for other in all_of_them if other is not process] if hasattr(signal, "SIGSTOP") else []
    for other in others:
        other.pipe.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            other.pipe.send_signal(signal.SIGCONT)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def resident_mb():
    """The most memory that this process has had, in MB; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # of this program alone: getrusage's maximum starts at the parent's
                return int(line.split()[1]) / 1024
    with contextlib.suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)
    return None


# -- report ---------------------------------------------------------------------------------------------------------


def machine(options):
    """CPU, cores, system, versions, date, whether it was --quick: what a number means nothing without."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "quick": options.quick,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": CORES,
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'no BLAS known')} {blas.get('version', '')}".strip(),
        "not_here": [name for name, peer in PEERS.items() if not peer.is_installed()],
    }


def _cpu():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def print_header(title, machine, processes):
    """What is measured, on which machine, which package: one peer a line."""
    print(f"{title}\n")
    print(f"machine       {machine['cpu']}, {machine['cores']} cores, {machine['system']}")
    print(f"versions      python {machine['python']}, numpy {machine['numpy']}, {machine['blas']}")
    for peer, about in {process.peer: process.about for process in processes if process.about}.items():
        said = ", ".join(f"{name} {value}" for name, value in about.items() if value and name != "path")
        print(f"{peer:13} {said}\n{'':13} {about['path']}")
    if machine["not_here"]:
        print(f"not here      {', '.join(machine['not_here'])}")


def print_table(header, rows):
    """Columns as wide as they must be: the first to the left, numbers to the right."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]).rstrip())


def vs_best(row, rows):
    """The time of the fastest peer of another library / this row's, or None; a library is all of a family's peers."""
    others = [other["median_us"] for other in rows if family(other["peer"]) not in ("control", family(row["peer"]))]
    return min(others) / row["median_us"] if others and row["peer"] != "control" else None


def ratio(value):
    """Two digits, or a dash for None."""
    return "-" if value is None else f"{value:.2f}"


def noise(rows):
    """The distance of the control's quartiles, in parts of its median: the largest of all its rows."""
    return max((row["q3_us"] - row["q1_us"]) / row["median_us"] for row in rows if row["peer"] == "control")


def print_noise(rows, quick):
    """What the last column means, and how far the rows can be trusted: the control's spread is the run's own."""
    spread = noise(rows)
    print("vs best  time of the fastest other library / this peer's time: above 1 is faster than all of them")
    print(f"control  a fixed NumPy loop: that its quartiles differ by up to {spread:.0%} is this run's noise")
    if spread > NOISY:
        print("The machine was busy with something else: no number above means much. Repeat the run.")
    if quick:
        print("--quick: too few samples to compare with anything.")


def microseconds(value):
    """Three digits or more, thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


@contextlib.contextmanager
def whole(path):
    """``with whole(path) as partial``: what is written to partial appears as path, complete, or not at all."""
    partial = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path, header, rows):
    """{**header, "rows": rows}, a row per line, without the places where the peers are installed."""
    peers = {
        name: about and {key: value for key, value in about.items() if key != "path"}
        for name, about in header.get("peers", {}).items()
    }
    head = json.dumps({**header, **({"peers": peers} if peers else {})}, indent=1).removesuffix("\n}")
    lines = (json.dumps({key: _rounded(value) for key, value in row.items()}) for row in rows)
    with whole(path) as partial:
        partial.write_text(f'{head},\n "rows": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n", encoding="utf-8")


def _rounded(value):
    return float(f"{value:.7g}") if isinstance(value, float) else value


def write_between(path, name, text):
    """Replace what stands in a file between <!-- name --> and <!-- /name -->; raises Refused where these are not."""
    before, opening, rest = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, closing, after = rest.partition(f"<!-- /{name} -->\n")
    if not closing:
        raise Refused(f"{path} has no lines <!-- {name} --> and <!-- /{name} -->, between which the table would stand.")
    with whole(path) as partial:
        partial.write_text(before + opening + text + closing + after, encoding="utf-8")


def markdown(header, rows, left=1):
    """A Markdown table, so many columns to the left, the others, which are numbers, to the right."""
    ruler = ["---"] * left + ["---:"] * (len(header) - left)
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ruler, *rows))
