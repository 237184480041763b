"""`Autoencoder.fit` from small to large: time per row, and memory, over rows, batch and width.

Rows are 784 uniform values, in memory or memory-mapped from a .npy file; the net is 784-64-784 and the batch 128 where
they do not vary. Each measurement has a process of its own, so that its memory is its own. A time is that of the whole
call, its checks of the data included, for one epoch.
"""

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from bench import Unavailable, runner
from bench.peers import PEERS

FEATURES, HIDDEN, BATCH = 784, 64, 128
ROWS = (1_000, 10_000, 100_000, 1_000_000)
BATCHES, WIDTHS = (1, 8, 64, 512, 4096), (8, 64, 512, 4096)
USUAL = 10_000  # rows where batch or width varies
KNOWN = ("tinyae", "tinyae-numpy")
FLAT, MAPPED, ANONYMOUS_MB = 1.2, 1.5, 300  # what is aimed at: see `_verdict`

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants of a peer ``fit(X, hidden, batch)``, one epoch of an autoencoder."""

    def __init__(self, peer, file, rows, mapped, hidden, batch):
        if not hasattr(peer, "fit"):
            raise Unavailable("fit is not written for it.")
        X = np.load(file, mmap_mode="r")[:rows]
        if not mapped:
            X = np.array(X)
        self.fit = lambda: peer.fit(X, hidden, batch)
        self.warm_up = lambda: peer.fit(X[:batch], hidden, batch)

    def first(self):
        """Fit one batch: what is made once for all calls counts as memory, but not as time."""
        self.warm_up()

    def turn(self, times):
        """Seconds of each of some calls."""
        return [seconds / 1e6 for seconds in runner.timed(self.fit, times, warm_up=0)]


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--rows", type=runner.numbers, default=ROWS, metavar="N,N",
                        help=f"default: {','.join(map(str, ROWS))}, as far as memory and disk reach")  # fmt: skip
    parser.add_argument("--peers", type=runner.names(KNOWN), default=list(KNOWN[:1]), metavar="P,P",
                        help=f"of {', '.join(KNOWN)}; default: the first")  # fmt: skip
    parser.add_argument("--threads", type=lambda text: runner.numbers(text)[0], default=min(2, runner.CORES),
                        metavar="N", help="default: 2")  # fmt: skip
    parser.add_argument("--json", type=runner.writable, metavar="FILE", help="write machine and rows to FILE")
    parser.add_argument("--quick", action="store_true", help="up to 2,000 rows: shows that it works")


def run(options):
    """Measure and print; returns None, or raises Refused or Failed."""
    header, rows = {"benchmark": "scale", **runner.machine(options), "peers": {}}, []
    sizes = [n for n in options.rows if n <= 2_000] if options.quick else list(options.rows)
    usual, batches, widths = (500, (8, 64), (8, 64)) if options.quick else (USUAL, BATCHES, WIDTHS)
    with tempfile.TemporaryDirectory() as folder:
        sizes, header["left_out"] = _affordable(sizes, folder)
        file = str(Path(folder, "X.npy"))
        _write(file, max(usual, *sizes))
        plan = [("rows", n, mapped, HIDDEN, BATCH) for n in sizes for mapped in (False, True)]
        plan += [("batch", usual, False, HIDDEN, batch) for batch in batches]
        plan += [("width", usual, False, width, BATCH) for width in widths]
        for peer in options.peers:
            for varied, n, mapped, hidden, batch in plan:
                settings = {"rows": n, "mapped": mapped, "hidden": hidden, "batch": batch}
                runner.progress(f"{peer}: {settings}")
                row = _measure(peer, options.threads, {"file": file, **settings}, header)
                case = f"{varied} {settings['hidden' if varied == 'width' else varied]}{' mapped' * mapped}"
                rows.append({"case": case, "batch": batch, "peer": peer, "threads": options.threads, **row, **settings})
    runner.progress("")
    _show(header, rows)
    if options.json:
        runner.write_json(options.json, header, rows)


def _affordable(sizes, folder):
    """(the sizes of which a copy fits into half of the free memory, and half of the free disk, why not the others)."""
    free = {"disk": shutil.disk_usage(folder).free}
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free["memory"] = 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    what = min(free, key=free.get)
    fit = [n for n in sizes if 4 * n * FEATURES <= free[what] / 2] or [min(sizes)]
    if fit == sizes:
        return fit, ""
    lacking = ", ".join(f"{n:,}" for n in sizes if n not in fit)
    return fit, f"left out: {lacking} rows: more than half of the {free[what] / 2**30:.1f} GiB of free {what}"


def _write(file, rows, at_once=10_000):
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, FEATURES))
    for start in range(0, rows, at_once):
        part = X[start : start + at_once]
        part[...] = rng.random(part.shape, dtype=np.float32)
    X.flush()


def _measure(peer, threads, settings, header):
    process = runner.Process(peer, PEERS[peer], "bench.scale", threads, settings)
    try:
        process.ready()
        header["peers"][peer] = process.about
        before = _anonymous_mb(process.pipe.pid)
        with _peak(process.pipe.pid) as peak:
            process.call("first")
            seconds = process.call("turn", 1)
            if seconds[0] < 10:
                seconds += process.call("turn", min(6, max(2, int(1 / seconds[0]))))
    finally:
        process.close()
    q1, median, q3 = np.percentile(seconds, (25, 50, 75)) / settings["rows"] * 1e6
    anonymous = None if before is None else max(peak) - before
    return {"median_us": median, "q1_us": q1, "q3_us": q3, "anonymous_mb": anonymous}


@contextlib.contextmanager
def _peak(pid):
    """Within the block, samples of a process's anonymous memory in MB, a hundred a second."""
    samples, done = [_anonymous_mb(pid)], threading.Event()

    def watch():
        while not done.wait(0.01):
            samples.append(_anonymous_mb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _anonymous_mb(pid):
    """Memory that no file stands behind (RssAnon), so without pages of a mapped file; None where /proc has none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return None


def _show(header, rows):
    print("scale: Autoencoder(...).fit for one epoch, microseconds per row\n")
    print(f"machine       {header['cpu']}, {header['cores']} cores, {header['system']}")
    for peer, about in header["peers"].items():
        print(f"{peer:13} version {about['version']}, backend {about['backend']}, ISA {about['ISA']}, {about['path']}")
    cells = []
    for row in rows:
        memory = "-" if row["anonymous_mb"] is None else f"{row['anonymous_mb']:.0f}"
        where = "mapped" if row["mapped"] else "memory"
        spread = f"{row['q1_us']:.2f} - {row['q3_us']:.2f}"
        cells.append([row["peer"], f"{row['rows']:,}", where, str(row["batch"]), str(row["hidden"]),
                      f"{row['median_us']:.2f}", spread, memory])  # fmt: skip
    print()
    runner.print_table(["peer", "rows", "data", "batch", "width", "us/row", "quartiles", "MB"], cells)
    print("\nMB  the most anonymous memory while fitting, beyond that of Python, the library and the data before it")
    if header["left_out"]:
        print(header["left_out"])
    for peer in header["peers"]:
        _verdict(peer, [row for row in rows if row["peer"] == peer and row["case"].startswith("rows")])


def _verdict(peer, rows):
    """What is aimed at: as long per row for many rows as for 10,000, and little memory."""
    times = {(row["rows"], row["mapped"]): row["median_us"] for row in rows}
    sizes = sorted({n for n, _ in times if n >= USUAL})
    if len(sizes) > 1:
        small, large = sizes[0], sizes[-1]
        for mapped, aim in ((False, FLAT), (True, MAPPED)):
            ratio = times[large, mapped] / times[small, False]
            where = "memory-mapped" if mapped else "in memory"
            print(f"{peer}: {large:,} rows {where} take {ratio:.2f} times as long per row as {small:,} in memory "
                  f"(aim: at most {aim})")  # fmt: skip
    used = [row["anonymous_mb"] for row in rows if row["anonymous_mb"] is not None]
    if used:
        print(f"{peer}: at most {max(used):.0f} MB beyond the data (aim: below {ANONYMOUS_MB})")
