"""One training step: forward, backward, update.

Before anything is timed, every peer takes 20 steps from the same weights on the same batches, and must come to the same
losses and parameters: a faster step that computes something else is no result.
"""

import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import Failed, Refused, runner

CHECKED = 20  # steps
BATCHES = 8  # different ones, taken round and round
LOSS_TOLERANCE = 1e-4  # relative
PARAMETER_TOLERANCE = 1e-4  # of the distance that the array has moved since the start


class Case(NamedTuple):
    """A net, its usual batch sizes, and its arithmetic. Peers know what to do with it by its letter: ``train_a``."""

    title: str
    widths: tuple
    batches: tuple

    def problem(self, batch, seed=0):
        """{"x": (BATCHES, batch, features), "w0", "w1", ...}: pictures with a few causes each, Glorot weights,
        zero bias.
        """
        rng = np.random.default_rng(seed)
        causes = rng.standard_normal((BATCHES * batch, 8)) @ rng.standard_normal((8, self.widths[0]))
        arrays = [(1 / (1 + np.exp(-causes))).reshape(BATCHES, batch, -1)]
        for n_in, n_out in itertools.pairwise(self.widths):
            bound = np.sqrt(6 / (n_in + n_out))
            arrays += [rng.uniform(-bound, bound, (n_in, n_out)), np.zeros(n_out)]
        names = ["x"] + [f"w{i}" for i in range(len(arrays) - 1)]
        return {name: array.astype(np.float32) for name, array in zip(names, arrays)}

    def flops(self, batch):
        """Of the products alone: three per layer, but the first needs no gradient of its input."""
        products = [2 * batch * n_in * n_out for n_in, n_out in itertools.pairwise(self.widths)]
        return 3 * sum(products) - products[0]


CASES = {"a": Case("784-64-784 relu/sigmoid, MSE, Adam", (784, 64, 784), (32, 128, 256))}

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer a function ``train_<case>(weights)`` -> (step, parameters).

    ``step(x)`` trains on one batch and returns the loss, anything that float() takes, when all its work is done;
    ``parameters()`` are the arrays as they are now, in the order of weights.
    """

    def __init__(self, peer, case, file):
        with np.load(file) as arrays:
            weights = [arrays[name] for name in arrays.files if name != "x"]
            batches = list(arrays["x"])
        make = getattr(peer, f"train_{case}", None)
        if make is None:
            raise Refused(f"case {case} is not written for this peer. Leave it out with --peers.")
        self.train, self.parameters = make(weights)
        self.batches = itertools.cycle(batches)

    def check(self, file):
        """The losses of the first steps; the parameters after them go to file."""
        losses = [float(self.train(next(self.batches))) for _ in range(CHECKED)]
        np.savez(file, *self.parameters())
        return losses

    def turn(self, steps):
        """Microseconds of each of the next steps."""
        return runner.timed(lambda: self.train(next(self.batches)), steps)

    def resident_mb(self):
        """The most memory so far."""
        return runner.resident_mb()


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--cases", type=runner.names(CASES), default=list(CASES), metavar="C,C", help="default: a")
    parser.add_argument("--batch", type=runner.numbers, metavar="N,N", help="rows per step; default: 32,128,256")
    runner.options(parser)
    parser.add_argument("--peak", type=runner.positive, metavar="GFLOPS",
                        help="the machine's float32 peak, for the lower bound; "
                             "default: measured with NumPy")  # fmt: skip


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    header, rows = {"benchmark": "train", **runner.machine(), "peak_gflops": options.peak or 0.0}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            for batch in options.batch or CASES[name].batches:
                group = measure(name, batch, options, header, folder)
                _show(CASES[name], batch, group, header["peak_gflops"])
                rows += group
    print("x bound  time / lower bound")
    print(f"Before the timing all peers agreed on the losses of {CHECKED} steps and on the parameters after them.")
    runner.print_noise(rows, options.quick)
    if options.json:
        runner.write_json(options.json, header, rows)


def measure(name, batch, options, header, folder):
    """The rows of one case at one batch size, the control's last; completes the header,
    and prints it the first time.
    """
    problem = CASES[name].problem(batch)
    file = str(Path(folder, "problem.npz"))
    np.savez(file, **problem)
    few = {"rounds": 3, "seconds": 0.01} if options.quick else {}
    with runner.alive("bench.train", options.peers, options.threads, case=name, file=file) as (processes, control):
        if "peers" not in header:
            _head(header, options, processes)
        if options.peak is None:  # the best so far: a busy machine shows less than it has
            peak = max(options.threads) * control.call("peak", 0.1 if options.quick else 0.5)
            header["peak_gflops"] = max(header["peak_gflops"], peak)
        losses = _agree(processes, problem, folder)
        times = runner.in_turn(processes, control, f"case {name}, batch {batch}", **few)
        memory = {process: process.call("resident_mb") for process in processes}
    return [
        {"case": name, "batch": batch, "peer": process.peer, "threads": process.threads,
         "median_us": median, "q1_us": q1, "q3_us": q3,
         "loss20": losses.get(process), "rss_mb": memory.get(process)}
        for process, (q1, median, q3) in times.items()
    ]  # fmt: skip


def _head(header, options, processes):
    measured = f"{max(options.threads)} x NumPy's fastest 1024-cubed product on one thread"
    header["peak_is"] = "as stated" if options.peak else measured
    header["peers"] = {process.peer: process.about for process in processes if process.about}
    runner.print_header("train: one training step (forward, backward, update), microseconds", header, processes)
    print(f"lower bound   matrix products at the peak: {header['peak_is']}\n")


def _agree(processes, problem, folder):
    """{process: its loss after the last checked step}; raises Failed,
    naming everyone who differs from the reference.
    """
    reference = next((process for process in processes if process.peer == "numpy"), processes[0])
    start = [problem[name] for name in problem if name != "x"]
    losses, ends = {}, {}
    for i, process in enumerate(processes):
        file = Path(folder, f"end{i}.npz")
        losses[process] = process.call("check", str(file))
        with np.load(file) as arrays:
            ends[process] = [arrays[name] for name in arrays.files]
    wrong = []
    for process in processes:
        there = f"{process.label} disagrees with {reference.label}"
        for step, (mine, true) in enumerate(zip(losses[process], losses[reference]), 1):
            if not abs(mine - true) <= LOSS_TOLERANCE * abs(true):  # NaN is a difference too
                wrong.append(f"{there}: the loss of step {step} is {mine:.7g}, not {true:.7g}.")
                break
        else:
            for i, (mine, true, before) in enumerate(zip(ends[process], ends[reference], start)):
                far, way = np.linalg.norm(mine - true), np.linalg.norm(true - before)
                if not far <= PARAMETER_TOLERANCE * way:
                    wrong.append(f"{there}: equal losses, but parameter {i} ends {far / way:.2g} of its way off.")
                    break
    if wrong:
        raise Failed("\n".join(["nothing was timed.", *wrong]))
    return {process: values[-1] for process, values in losses.items()}


def _show(case, batch, rows, peak):
    bound = case.flops(batch) / peak / 1e3
    work = f"{case.flops(batch) / 1e6:.1f} MFLOP, lower bound {runner.microseconds(bound)} us at {peak:.0f} GFLOP/s"
    print(f"{case.title}, batch {batch}: {work}\n")
    cells = []
    for row in rows:
        spread = f"{runner.microseconds(row['q1_us'])} - {runner.microseconds(row['q3_us'])}"
        cell = [row["peer"], str(row["threads"]), runner.microseconds(row["median_us"]), spread, "", "", ""]
        if row["peer"] != "control":
            others = [r["median_us"] for r in rows if r["peer"] not in ("control", row["peer"])]
            cell[4] = f"{min(others) / row['median_us']:.2f}" if others else "-"
            cell[5] = f"{row['median_us'] / bound:.1f}"
            cell[6] = "-" if row["rss_mb"] is None else f"{row['rss_mb']:.0f}"
        cells.append(cell)
    runner.print_table(["peer", "threads", "median us", "quartiles", "vs best", "x bound", "MB"], cells)
    print()
