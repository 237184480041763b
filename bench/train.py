"""One training step: forward, backward, update.

Before anything is timed, every peer takes 20 steps from the same weights on the same batches, and must come to the same
losses and parameters: a faster step that computes something else is no result.
"""

import itertools
import tempfile
from pathlib import Path

import numpy as np

from bench import Failed, Unavailable, plot, runner
from bench.cases import CASES

CHECKED = 20  # steps
LOSS_TOLERANCE = 1e-4  # relative; a case has its own for parameters

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer a function ``train_<case>(weights)`` -> (step, parameters).

    ``step(*batch)`` trains on one batch and returns the loss, anything that float() takes, when all its work is done;
    ``parameters()`` are the arrays as they are now, in the order of weights.
    """

    def __init__(self, peer, case, file):
        self.make = getattr(peer, f"train_{case}", None)
        with np.load(file) as arrays:
            self.weights = [arrays[name] for name in arrays.files if name.startswith("w")]
            inputs = [arrays[name] for name in arrays.files if name.startswith("x")]
        self.batches = itertools.cycle(list(zip(*inputs)))

    def check(self, file):
        """The losses of the first steps; the parameters after them go to file."""
        if self.make is None:
            raise Unavailable("this case is not written for it.")
        self.train, parameters = self.make(self.weights)
        losses = [float(self.train(*next(self.batches))) for _ in range(CHECKED)]
        np.savez(file, *parameters())
        return losses

    def turn(self, steps):
        """Microseconds of each of the next steps."""
        return runner.timed(lambda: self.train(*next(self.batches)), steps)

    def resident_mb(self):
        """The most memory so far."""
        return runner.resident_mb()


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--cases", type=runner.names(CASES), default=list(CASES), metavar="C,C",
                        help=f"of {', '.join(CASES)}; default: all")  # fmt: skip
    parser.add_argument("--batch", type=runner.numbers, metavar="N,N",
                        help="rows per step; default: " + ", ".join(
                            f"{name} {'/'.join(map(str, case.batches))}" for name, case in CASES.items()))  # fmt: skip
    runner.options(parser)
    parser.add_argument("--peak", type=runner.positive, metavar="GFLOPS",
                        help="the machine's float32 peak, for the lower bound; "
                             "default: measured with NumPy")  # fmt: skip
    parser.add_argument("--plot", type=runner.picture, metavar="FILE", help="draw the medians to FILE (.png, .svg)")


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    if options.plot:
        plot.library()  # which says what to install, now and not after minutes of measuring
    header, rows, failed = {"benchmark": "train", **runner.machine(options), "peak_gflops": options.peak or 0.0}, [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            for batch in options.batch or CASES[name].batches:
                try:
                    group = measure(name, batch, options, header, folder)
                except Failed as problem:  # the other cases are none the worse
                    failed[f"{name}/{batch}"] = str(problem)
                    continue
                _show(name, batch, group, header)
                rows += group
    if rows:
        _report(options, {**header, "failed": failed}, rows)
    if failed:
        raise Failed("\n".join(f"case {case}: {why}" for case, why in failed.items()))


def _report(options, header, rows):
    for row in rows:
        row["x_bound"] = _x_bound(row, header)
    print("x bound  time / lower bound")
    print(f"Before the timing all peers agreed on the losses of {CHECKED} steps and on the parameters after them.")
    runner.print_noise(rows, options.quick)
    if options.json:
        runner.write_json(options.json, header, rows)
    if options.plot:
        plot.steps(options.plot, header, rows)


def measure(name, batch, options, header, folder):
    """The rows of one case at one batch size, the control's last; completes the header,
    and prints it the first time.
    """
    problem = CASES[name].problem(batch)
    header.setdefault("flops", {})[f"{name}/{batch}"] = CASES[name].flops(batch)
    file = str(Path(folder, "problem.npz"))
    np.savez(file, **problem)
    few = {"rounds": 3, "seconds": 0.01} if options.quick else {}
    with runner.alive("bench.train", options.peers, options.threads, case=name, file=file) as (processes, control):
        if "peers" not in header:
            _head(header, options, processes)
        _peak(header, options, control)
        left_out = header.setdefault("left_out", {}).setdefault(f"{name}/{batch}", {})
        losses = _agree(processes, problem, folder, CASES[name].tolerance, left_out)
        times = runner.in_turn(list(losses), control, f"case {name}, batch {batch}", **few)
        _peak(header, options, control)
        memory = {process: process.call("resident_mb") for process in losses}
    rows = [
        {"case": name, "batch": batch, "peer": process.peer, "threads": process.threads,
         "median_us": median, "q1_us": q1, "q3_us": q3,
         "loss20": losses.get(process), "rss_mb": memory.get(process)}
        for process, (q1, median, q3) in times.items()
    ]  # fmt: skip
    for row in rows:
        row["vs_best"] = runner.vs_best(row, rows)
    return rows


def _x_bound(row, header):
    """Time / that of the arithmetic of the matrix products at the peak, as far as that is known by now."""
    if row["peer"] == "control":
        return None
    return row["median_us"] * 1e3 * header["peak_gflops"] / header["flops"][f"{row['case']}/{row['batch']}"]


def _peak(header, options, control):
    """Keep the best so far, unless it was stated: a busy machine shows less than it has, so it is asked often."""
    if options.peak is None:
        peak = max(options.threads) * control.call("peak", 0.1 if options.quick else 0.5)
        header["peak_gflops"] = max(header["peak_gflops"], peak)


def _head(header, options, processes):
    measured = f"{max(options.threads)} x NumPy's fastest 1024-cubed product on one thread"
    header["peak_is"] = "as stated" if options.peak else measured
    header["peers"] = {process.peer: process.about for process in processes if process.about}
    runner.print_header("train: one training step (forward, backward, Adam), microseconds", header, processes)
    print(f"lower bound   matrix products at the peak: {header['peak_is']}\n")


def _agree(processes, problem, folder, tolerance, left_out):
    """{process: its loss after the last checked step} of those that can; the others' reasons go to left_out.

    Raises Failed, naming everyone who differs from the reference.
    """
    files = {process: Path(folder, f"end{i}.npz") for i, process in enumerate(processes)}
    losses = runner.of_all(processes, left_out, lambda process: process.call("check", str(files[process])))
    ends = {}
    for process in losses:
        with np.load(files[process]) as arrays:
            ends[process] = [arrays[name] for name in arrays.files]
    reference = next((process for process in losses if process.peer == "numpy"), next(iter(losses)))
    start = [problem[name] for name in problem if name.startswith("w")]
    wrong = []
    for process in losses:
        there = f"{process.label} disagrees with {reference.label}"
        for step, (mine, true) in enumerate(zip(losses[process], losses[reference]), 1):
            if not abs(mine - true) <= LOSS_TOLERANCE * abs(true):  # NaN is a difference too
                wrong.append(f"{there}: the loss of step {step} is {mine:.7g}, not {true:.7g}.")
                break
        else:
            for i, (mine, true, before) in enumerate(zip(ends[process], ends[reference], start)):
                far, way = np.linalg.norm(mine - true), np.linalg.norm(true - before)
                if not far <= tolerance * way:
                    wrong.append(f"{there}: equal losses, but parameter {i} ends {far / way:.2g} of its way off.")
                    break
    if wrong:
        raise Failed("\n".join(["nothing was timed.", *wrong]))
    return {process: values[-1] for process, values in losses.items()}


def _show(name, batch, rows, header):
    flops, peak = CASES[name].flops(batch), header["peak_gflops"]
    bound = flops / peak / 1e3
    work = f"{flops / 1e6:,.1f} MFLOP, lower bound {runner.microseconds(bound)} us at {peak:.0f} GFLOP/s"
    print(f"{name}. {CASES[name].title}, batch {batch}: {work}\n")
    cells = []
    for row in rows:
        spread = f"{runner.microseconds(row['q1_us'])} - {runner.microseconds(row['q3_us'])}"
        cell = [row["peer"], str(row["threads"]), runner.microseconds(row["median_us"]), spread, "", "", ""]
        if row["peer"] != "control":
            cell[4] = runner.ratio(row["vs_best"])
            cell[5] = f"{_x_bound(row, header):,.1f}"
            cell[6] = "-" if row["rss_mb"] is None else f"{row['rss_mb']:.0f}"
        cells.append(cell)
    runner.print_table(["peer", "threads", "median us", "quartiles", "vs best", "x bound", "MB"], cells)
    for peer, why in header["left_out"][f"{name}/{batch}"].items():
        print(f"left out: {peer}: {why}")
    print()
