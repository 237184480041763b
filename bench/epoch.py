"""A whole epoch of case a, shuffled: what gathering batches and looping over them adds to the steps.

60,000 rows of 784, as many as MNIST has, in memory; batch 128. Every peer shuffles by the same permutations, and the
mean losses of the first epoch are compared before anything is timed.
"""

import tempfile
from pathlib import Path

import numpy as np

from bench import Failed, runner
from bench.cases import CASES, pictures

ROWS, QUICK, BATCH = 60_000, 6_000, 128
TOLERANCE = 1e-4  # of the mean loss

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer ``epoch_a(weights, X, batch)`` -> (rng -> the epoch's mean loss)."""

    def __init__(self, peer, file, batch):
        self.peer, self.batch, self.X = peer, batch, np.load(file)
        self.rng = np.random.default_rng(0)

    def check(self):
        """The first epoch's mean loss."""
        weights = [array.astype(np.float32) for array in CASES["a"].weights(np.random.default_rng(1))]
        self.epoch = self.peer.epoch_a(weights, self.X, self.batch)
        return float(self.epoch(self.rng))

    def turn(self, steps):
        """Microseconds of each of the next epochs."""
        return runner.timed(lambda: self.epoch(self.rng), steps, warm_up=0)

    def resident_mb(self):
        """The most memory so far."""
        return runner.resident_mb()


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--rows", type=lambda text: runner.numbers(text)[0], metavar="N",
                        help=f"default: {ROWS:,}; with --quick {QUICK:,}")  # fmt: skip
    runner.options(parser)


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    n = options.rows or (QUICK if options.quick else ROWS)
    header, left_out = {"benchmark": "epoch", **runner.machine(options), "n": n}, {}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "X.npy"))
        np.save(file, pictures(np.random.default_rng(0), n, 784).astype(np.float32))
        settings = {"file": file, "batch": BATCH}
        with runner.alive("bench.epoch", options.peers, options.threads, **settings) as (processes, control):
            header["peers"] = {process.peer: process.about for process in processes if process.about}
            runner.print_header(f"epoch: {n:,} shuffled rows of case a, batch {BATCH}", header, processes)
            losses = _agree(processes, left_out)
            rounds = 1 if options.quick else 7
            times = runner.in_turn(list(losses), control, "epoch", rounds=rounds, steps=1)
            memory = {process: process.call("resident_mb") for process in losses}
    rows = [{"case": "a", "batch": BATCH, "peer": process.peer, "threads": process.threads, "median_us": median,
             "q1_us": q1, "q3_us": q3, "loss": losses.get(process), "rss_mb": memory.get(process)}
            for process, (q1, median, q3) in times.items()]  # fmt: skip
    for row in rows:
        row["vs_best"] = runner.vs_best(row, rows)
    header["left_out"] = left_out
    _show(rows, left_out, n)
    runner.print_noise(rows, options.quick)
    if options.json:
        runner.write_json(options.json, header, rows)


def _agree(processes, left_out):
    losses = runner.of_all(processes, left_out, lambda process: process.call("check"))
    reference = next((process for process in losses if process.peer == "numpy"), next(iter(losses)))
    true = losses[reference]
    wrong = [f"{process.label} disagrees with {reference.label}: the first epoch's loss is {mine:.7g}, not {true:.7g}."
             for process, mine in losses.items() if not abs(mine - true) <= TOLERANCE * abs(true)]  # fmt: skip
    if wrong:
        raise Failed("\n".join(["nothing was timed.", *wrong]))
    return losses


def _show(rows, left_out, n):
    cells = []
    for row in rows:
        cell = [row["peer"], str(row["threads"]), f"{row['median_us'] / 1e6:.3f}",
                f"{row['q1_us'] / 1e6:.3f} - {row['q3_us'] / 1e6:.3f}", "", "", ""]  # fmt: skip
        if row["peer"] != "control":
            cell[4] = f"{row['median_us'] / n:.2f}"
            cell[5] = runner.ratio(row["vs_best"])
            cell[6] = "-" if row["rss_mb"] is None else f"{row['rss_mb']:.0f}"
        cells.append(cell)
    print()
    runner.print_table(["peer", "threads", "median s", "quartiles", "us/row", "vs best", "MB"], cells)
    for peer, why in left_out.items():
        print(f"left out: {peer}: {why}")
    print()
