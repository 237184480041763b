"""Single recorded operations, and an eager training step: what the tape itself costs.

The statement is the same text for every peer; only how a leaf is made differs. Before anything is timed, values and
gradients are compared with NumPy's in float64.
"""

import tempfile
import timeit
from typing import NamedTuple

import numpy as np

from bench import Failed, Refused, runner, train

PEERS = ("tinyae-eager", "tinyae-numpy", "torch")
TOLERANCE = 1e-5  # relative to the largest entry
CALLS = 200  # of the statement per sample: a clock's reading costs a tenth of the shortest


class Case(NamedTuple):
    """A statement on leaves x and y, float32, and what it gives."""

    title: str
    statement: str
    shapes: tuple
    truth: object
    gradient: object


CASES = {
    "add": Case("taped one-element add", "x + y", ((1,), (1,)), np.add, lambda x, y: [np.ones(1), np.ones(1)]),
    "add+backward": Case("the same, and its backward", "(x + y).backward()", ((1,), (1,)), None,
                         lambda x, y: [np.ones(1), np.ones(1)]),
    "sigmoid": Case("taped sigmoid of 100", "x.sigmoid()", ((100,), (1,)), lambda x, y: 1 / (1 + np.exp(-x)),
                    lambda x, y: [np.exp(-x) / (1 + np.exp(-x)) ** 2, None]),
    "matmul": Case("taped 32x64 @ 64x32", "x @ y", ((32, 64), (64, 32)), np.matmul,
                   lambda x, y: [np.ones((32, 32)) @ y.T, x.T @ np.ones((32, 32))]),
}  # fmt: skip
STEPS = {"a32": 32, "a128": 128}  # the eager step of `train`'s case a, at these batch sizes

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer ``leaf(array)`` and ``values(tensor)``."""

    def __init__(self, peer, case):
        self.peer, self.case = peer, CASES[case]
        rng = np.random.default_rng(0)
        self.arrays = [rng.standard_normal(shape).astype(np.float32) for shape in self.case.shapes]

    def check(self):
        """How far value and gradients are from NumPy's, relative to the largest entry."""
        x, y = map(self.peer.leaf, self.arrays)
        wide = [array.astype(np.float64) for array in self.arrays]
        result = eval(self.case.statement, {"x": x, "y": y})  # our own text
        pairs = []
        if result is not None:
            pairs.append((self.peer.values(result), self.case.truth(*wide)))
            result.sum().backward()
        for leaf, truth in zip((x, y), self.case.gradient(*wide)):
            if truth is not None:
                pairs.append((self.peer.values(leaf.grad), truth))
        return max(float(np.abs(found - true).max() / np.abs(true).max()) for found, true in pairs)

    def turn(self, steps):
        """Microseconds per call, one value per sample of many calls."""
        x, y = map(self.peer.leaf, self.arrays)
        timer = timeit.Timer(self.case.statement, globals={"x": x, "y": y})
        timer.timeit(CALLS)
        return [timer.timeit(CALLS) / CALLS * 1e6 for _ in range(steps)]


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    known = [*CASES, *STEPS]
    parser.add_argument("--cases", type=runner.names(known), default=known, metavar="C,C",
                        help=f"of {', '.join(known)}; default: all")  # fmt: skip
    runner.options(parser, PEERS)
    parser.set_defaults(threads=[1], peak=None)


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    header, rows = {"benchmark": "eager", **runner.machine(options), "peak_gflops": 0.0}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            if name in CASES:
                group, title = _measure(name, options, header), CASES[name].title
            else:
                group = train.measure("a", STEPS[name], options, header, folder)
                title = f"eager step of case a, {train.CASES['a'].title}, batch {STEPS[name]}"
            rows += [{**row, "case": name} for row in group]
            _show(title, group)
    runner.print_noise(rows, options.quick)
    if options.json:
        runner.write_json(options.json, header, rows)


def _measure(name, options, header):
    few = {"rounds": 3, "seconds": 0.001} if options.quick else {"rounds": 40, "seconds": 0.0002}
    with runner.alive("bench.eager", options.peers, options.threads, case=name) as (processes, control):
        if "peers" not in header:
            header["peers"] = {process.peer: process.about for process in processes if process.about}
            runner.print_header("eager: one recorded operation, or one training step, microseconds", header, processes)
            print()
        wrong = [f"{process.label} is wrong by {far:.1e} of the largest entry in {name}."
                 for process in processes if not (far := process.call("check")) <= TOLERANCE]  # fmt: skip
        if wrong:
            raise Failed("\n".join(["nothing was timed.", *wrong]))
        times = runner.in_turn(processes, control, name, **few)
    return [{"case": name, "peer": process.peer, "threads": process.threads, "median_us": median, "q1_us": q1,
             "q3_us": q3} for process, (q1, median, q3) in times.items()]  # fmt: skip


def _show(title, rows):
    print(f"{title}\n")
    cells = []
    for row in rows:
        best = runner.ratio(runner.vs_best(row, rows))
        cells.append([row["peer"], f"{row['median_us']:,.2f}", f"{row['q1_us']:,.2f} - {row['q3_us']:,.2f}", best])
    runner.print_table(["peer", "median us", "quartiles", "vs best"], cells)
    print()
