"""Every op at every size beside its peers, and how near each comes to what this machine can do.

Before anything is timed, every peer's answers are compared with float64. Every call returns a new array, for all peers
alike; optimizers work in place, on arrays that JAX is told it may overwrite. Losses give value and gradient.
"""

import math
import timeit
from pathlib import Path

import numpy as np

from bench import Failed, grid, ops, roofline, runner
from bench.peers import family

PEERS = ("numpy", "torch", "jax")  # whom tinyae is compared with
SAMPLE = 30.0  # microseconds that a sample takes at least, of several calls if need be: a clock's reading costs 0.05
ROOMS = [1 << 14, 1 << 19, 1 << 22, 1 << 25, 1 << 27]  # bytes that a copy reads and writes: first cache to none

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer a module of the same name in ``bench.ops``."""

    def __init__(self, peer):
        self.ops = ops.of(peer)

    def check(self, op, size):
        """The worst value: [how many times the tolerance, a sentence]; None if the peer has no such op."""
        case = grid.CASES[op, size]
        arrays = case.arrays(np.random.default_rng(0))
        wide = [a.astype(np.float64) for a in arrays]
        step = self.ops.step(op, arrays)
        if step is None:
            return None
        for _ in range(case.calls):
            result = step()
        found = [np.asarray(value, np.float64) for value in self.ops.values(result)]
        if case.kind == "noise":
            found = [grid.moments(found[0].mean(), found[0].var())]
        return max(map(_difference, found, case.truth(*wide), [case.tolerance] * len(found)))

    def prepare(self, op, size):
        """Make ready for turns; False if the peer has no such op."""
        step = self.ops.step(op, grid.CASES[op, size].arrays(np.random.default_rng(0)))
        return step is not None and self._ready(step)

    def reference(self, which, n):
        """Make ready for turns of moving memory, see `bench.ops.tinyae.reference`."""
        return self._ready(self.ops.reference(which, n))

    def _ready(self, step):
        self.timer = timeit.Timer(step)
        self.calls = int(np.clip(SAMPLE / 1e6 / min(self.timer.repeat(4, 1)), 1, 1000))
        return True

    def turn(self, steps):
        """Microseconds per call, one value per sample of so many calls."""
        self.timer.timeit(self.calls)
        return [self.timer.timeit(self.calls) / self.calls * 1e6 for _ in range(steps)]

    def peaks(self, quick):
        """(GFLOP/s of multiply-adds in registers, GB/s of copies by ROOMS), each the best of many."""
        rounds, times = 200_000, 3 if quick else 30
        fma = max(self.ops.peak_fma(rounds) / runner.timed(lambda: self.ops.peak_fma(rounds), 1, 0)[0] / 1e3
                  for _ in range(times))  # fmt: skip
        copies = []
        for room in ROOMS[:-1] if quick else ROOMS:
            x = np.ones(room // 8, np.float32)
            out = np.empty_like(x)
            calls = max(1, (1 << 19) // room)
            best = min(timeit.repeat(lambda x=x, out=out: self.ops.peak_copy(x, out), number=calls, repeat=times))
            copies.append([room, room * calls / best / 1e9])
        return fma, copies


def _difference(found, true, tolerance):
    true = np.asarray(true, np.float64)
    if found.shape != true.shape:
        return [math.inf, f"shape {found.shape}, not {true.shape}"]
    size = np.abs(true)
    far = np.abs(found - true) / np.maximum(np.maximum(size, np.median(size)), 1e-30)
    far = np.where(np.isfinite(far), far, np.inf)
    i = np.unravel_index(far.argmax(), far.shape)
    where = f" at {list(map(int, i))}" if i else ""
    return [float(far[i] / tolerance), f"{found[i]:.9g}, not {true[i]:.9g}{where}: off by {far[i]:.1e}"]


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--op", type=runner.names(grid.OPS), metavar="OP,OP",
                        help=f"of {', '.join(grid.OPS)}; default: all")  # fmt: skip
    runner.options(parser, PEERS)
    parser.add_argument("--plot", type=runner.picture, metavar="FILE", help="draw the roofline, to a .png")


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    if options.plot:
        roofline.figure()  # which says what to install, now and not after minutes of measuring
    cases = _chosen(options)
    peers = ["tinyae", *options.peers]
    header = {"benchmark": "kernels", **runner.machine(options)}
    rows = []
    with (
        runner.alive("bench.kernels", ["tinyae-eager", *options.peers], options.threads) as (processes, control),
        runner.alive("bench.kernels", ["tinyae-eager"], [1]) as ((reference,), _),
    ):
        for process in processes:
            process.peer = family(process.peer)
        header["peers"] = {process.peer: process.about for process in processes if process.about}
        _head(header, processes)
        _agree(cases, processes)
        mine = {process.threads: process for process in processes if process.peer == "tinyae"}
        header["peaks"] = {threads: dict(zip(("fma_gflops", "copy_gbs"), process.call("peaks", options.quick)))
                           for threads, process in mine.items()}  # fmt: skip
        _show_peaks(header["peaks"])
        reference.peer = "reference"
        for kind, title in grid.KINDS.items():
            group = [row for case in cases if case.kind == kind
                     for row in _measure(case, processes, control, reference, header["peaks"], options)]  # fmt: skip
            if group:
                _show(title, group, peers)
                rows += group
    _explain()
    runner.print_noise(rows, options.quick)
    _targets(rows)
    if options.json:
        runner.write_json(options.json, header, rows)
    if options.plot:
        roofline.draw(options.plot, header, rows)


def _chosen(options):
    wanted = options.op or grid.OPS
    cases = [case for case in grid.CASES.values() if case.op in wanted]
    if options.quick:
        cases = [min((c for c in cases if c.op == op), key=lambda c: c.bytes) for op in wanted]
    if options.quick or not options.op:
        cases = [case for case in cases if case.size != grid.ASKED]
    return cases


def _agree(cases, processes):
    wrong = []
    for case in cases:
        runner.progress(f"answers of {case.op} {case.size}")
        for process in processes:
            said = process.call("check", case.op, case.size)
            if said and not said[0] <= 1:
                wrong.append(f"{process.label} is wrong in {case.op} {case.size}: {said[1]}.")
    runner.progress("")
    if wrong:
        raise Failed("\n".join(["nothing was timed.", *wrong]))


def _measure(case, processes, control, reference, peaks, options):
    """The rows of a case: products with all thread counts in one turn, the others count by count."""
    few = {"rounds": 3, "seconds": 0.0003} if options.quick else {"rounds": 15, "seconds": 0.002}
    if case.size == grid.ASKED:
        few["rounds"] = 3  # of seconds each
    ready = [process for process in processes if process.call("prepare", case.op, case.size)]
    moves = case.kind in grid.MOVES
    if moves:
        reference.call("reference", "rotate" if case.kind == "optimizer" else "copy", case.elements)
    counts = sorted({process.threads for process in ready})
    rows = []
    for threads in [counts] if not moves else [[n] for n in counts]:
        there = [process for process in ready if process.threads in threads] + [reference] * moves
        times = runner.in_turn(there, control, f"{case.op} {case.size}", **few)
        for process, (q1, median, q3) in times.items():
            rows.append({"op": case.op, "size": case.size, "kind": case.kind, "peer": process.peer,
                         "threads": threads[0] if process is reference else process.threads,
                         "median_us": median, "q1_us": q1, "q3_us": q3,
                         **_rates(case, process, median, peaks)})  # fmt: skip
    return rows


def _rates(case, process, median, peaks):
    """GFLOP/s or GB/s, and the share of the limit, which is arithmetic or the memory that this much lives in."""
    if process.peer in ("control", "reference"):
        return {"gflops": None, "gbs": None, "share": None}
    peak = peaks[process.threads]
    room, speed = min(peak["copy_gbs"], key=lambda pair: abs(math.log(pair[0] / case.bytes)))
    bound = max(case.flops / peak["fma_gflops"], case.bytes / speed) / 1e3
    moves = case.kind in grid.MOVES
    return {"gflops": None if moves else case.flops / median / 1e3, "gbs": case.bytes / median / 1e3 if moves else None,
            "share": bound / median}  # fmt: skip


# -- report ---------------------------------------------------------------------------------------------------------


def _head(header, processes):
    runner.print_header("kernels: single operations, microseconds per call", header, processes)
    print("answers       all compared with float64 before anything is timed")
    print("results       a new array per call for everyone; optimizers in place, on arrays that jax may overwrite")
    print("tinyae        eager ops on arrays; gradients, gather and losses as the tape or a plan calls them;")
    print(f"{'':13} a NAME.tape is the loss as a user writes it, forward and backward\n")


def _amx():
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown on this system"
    return "there, but not used by this build" if "amx_bf16" in flags else "absent: this processor has none"


def _show_peaks(peaks):
    print("peaks of this machine, measured just now")
    for threads, peak in peaks.items():
        copies = ", ".join(f"{speed:.0f} in {roofline.room(room)}" for room, speed in peak["copy_gbs"])
        print(f"  {threads} thread{'s' * (threads > 1):1}  {peak['fma_gflops']:.0f} GFLOP/s float32 multiply-add; "
              f"copy, GB/s read and written: {copies}")  # fmt: skip
    print(f"  AMX        {_amx()}\n")


def by_case(rows):
    """{(op, size, threads): {peer: row}}, in order."""
    cases = {}
    for row in rows:
        cases.setdefault((row["op"], row["size"], row["threads"]), {})[row["peer"]] = row
    return {key: found for key, found in cases.items() if "tinyae" in found}


def _against_best(found):
    others = [row["median_us"] for peer, row in found.items() if peer not in ("tinyae", "control", "reference")]
    return min(others) / found["tinyae"]["median_us"] if others else None


def _against_reference(found):
    return found["tinyae"]["median_us"] / found["reference"]["median_us"] if "reference" in found else None


def _show(title, rows, peers):
    moves, others = rows[0]["kind"] in grid.MOVES, [peer for peer in peers if peer != "tinyae"]
    extra = ["x move" if rows[0]["kind"] == "optimizer" else "x copy"] if moves else []
    cells = []
    for (op, size, threads), found in by_case(rows).items():
        row = found["tinyae"]
        best, copy = _against_best(found), _against_reference(found)
        cells.append([
            op, size, str(threads), _us(row["median_us"]), f"{_us(row['q1_us'])} - {_us(row['q3_us'])}",
            *(_us(found[peer]["median_us"]) if peer in found else "-" for peer in others),
            f"{row['gbs' if moves else 'gflops']:.1f}", f"{row['share']:.0%}",
            f"{best:.2f}" if best else "-", *([f"{copy:.2f}"] if moves else []),
        ])  # fmt: skip
    print(f"{title}\n")
    runner.print_table(["op", "size", "threads", "tinyae", "quartiles", *others, "GB/s" if moves else "GFLOP/s",
                        "share", "vs best", *extra], cells)  # fmt: skip
    print()


def _us(value):
    return f"{value:.2f}" if value < 10 else runner.microseconds(value)


def _explain():
    print("share    of the limit: arithmetic at the multiply-add peak, or bytes at the speed of a copy of as many")
    print("x copy   time / that of a copy, on one thread, of as many float32 as the largest array has, to a new array")
    print("x move   time / that of a loop which reads p, g, m, v and writes p, m, v")


TIMES_COPY = {"exp": 1.6, "tanh": 3, "sigmoid": 3, "gelu": 3, "softplus": 3, "bce_with_logits": 5}
EQUAL = 0.95  # of a peer's speed: two measurements of one thing differ by as much


def targets(rows):
    """[(what, the number, the bound, whether that is the least, whether it is met)]: ratios of medians of one turn."""
    cases, found = by_case(rows), []

    def must(what, number, bound, least):
        met = number >= bound if least else number <= bound
        found.append((what, number, bound, least, met))

    for (op, size, threads), peers in cases.items():
        best, times = _against_best(peers), _against_reference(peers)
        kind = peers["tinyae"]["kind"]
        if kind == "gemm" and threads == 1 and best:
            must(f"gemm {size}: at least the best peer, one thread", best, EQUAL, True)
        if kind == "gemm" and threads == 2 and (op, size, 1) in cases:
            faster = cases[op, size, 1]["tinyae"]["median_us"] / peers["tinyae"]["median_us"]
            must(f"gemm {size}: two threads against one", faster, 1.7 if size == "1024x1024x1024" else EQUAL, True)
        if size == "100k" and threads == 1:
            eager = {p: row for p, row in peers.items() if p in ("tinyae", "numpy", "torch")}
            if kind == "element-wise" and _against_best(eager):
                must(f"{op}: never slower than NumPy or PyTorch", _against_best(eager), EQUAL, True)
            if op in TIMES_COPY:
                must(f"{op}: times a copy", times, TIMES_COPY[op], False)
            if op == "adam":
                must("adam: times a loop that moves as much", times, 1.15, False)
    return found


def _targets(rows):
    found = targets(rows)
    if found:
        print(f"\ntargets (100k float32, one thread, or products; {EQUAL} of a peer's speed counts as equal)\n")
        runner.print_table(["", "measured", "target", ""], [
            [what, f"{number:.2f}", f"{'>=' if least else '<='} {bound:g}",
             "met" if met else f"missed by {abs(number / bound - 1):.0%}"] for what, number, bound, least, met in found
        ])  # fmt: skip
