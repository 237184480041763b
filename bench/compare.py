"""Two JSON files of one benchmark, row by row: what became faster, what slower, and what is noise."""

import json
from pathlib import Path

from bench import Refused, runner

KEY = ("case", "batch", "peer", "threads")


def options(parser):
    """The command line."""
    parser.add_argument("before", type=Path, metavar="A.json", help="what --json wrote")
    parser.add_argument("after", type=Path, metavar="B.json", help="the same, later or elsewhere")


def run(options):
    """Print a line per row that both files have; returns None, or raises Refused."""
    (header, before), (_, after) = read(options.before), read(options.after)
    both = [key for key in before if key in after]
    if not both:
        raise Refused(f"{options.before} and {options.after} have no row in common ({', '.join(KEY)}).")
    cells = []
    for key in both:
        a, b = before[key], after[key]
        name = " ".join(str(part) for part in key[:2] if part is not None)
        times = [runner.microseconds(row["median_us"]) for row in (a, b)]
        cells.append([name, key[2], str(key[3] or ""), *times, f"{b['median_us'] / a['median_us']:.2f}", verdict(a, b)])
    print(f"{header['benchmark']}: {options.before} (A), {options.after} (B)\n")
    runner.print_table(["case", "peer", "threads", "A, us", "B, us", "B / A", ""], cells)
    for name, mine, other in ((options.before, before, after), (options.after, after, before)):
        if alone := [key for key in mine if key not in other]:
            print(f"only in {name}: {'; '.join(' '.join(map(str, key)) for key in alone)}")
    print("\nfaster, slower  the quartiles of A and B do not overlap; else the difference may be noise")
    print("control         the same work on both sides: what it differs by, the machine does")


def read(path):
    """(header, {key: row}) of a file that --json wrote."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        rows = {tuple(row.get(part) for part in KEY): row for row in written["rows"]}
        if not all(row[name] > 0 for row in rows.values() for name in ("q1_us", "median_us", "q3_us")):
            raise ValueError("a time is not positive")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Refused(f"{path} is not what --json wrote ({type(problem).__name__}: {problem}).") from None
    return written, rows


def verdict(a, b):
    """"faster" or "slower" if b's quartiles lie wholly on one side of a's, else ""."""
    if b["q3_us"] < a["q1_us"]:
        return "faster"
    return "slower" if b["q1_us"] > a["q3_us"] else ""
