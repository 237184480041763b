"""The README's table of speed, made of what bench/results holds: ``--write README.md``."""

import json
from pathlib import Path

from bench import runner
from bench.cases import CASES
from bench.peers import PEERS

NAMES = {"tinyae": "tinyae", "tinyae-eager": "tinyae, eager", "tinyae-numpy": "tinyae on NumPy",
         "numpy": "NumPy by hand", "torch": "PyTorch", "torch-compile": "torch.compile", "jax": "JAX jit"}  # fmt: skip


def options(parser):
    """The command line."""
    parser.add_argument("--write", type=Path, metavar="FILE", help="put it between FILE's <!-- speed --> lines")


def run(options):
    """Print, or write; returns None, or raises Refused."""
    text = speed(runner.RESULTS)
    if options.write:
        runner.write_between(options.write, "speed", text)
    else:
        print(text, end="")


def speed(folder):
    """The Markdown text of all results in the folder."""
    parts = {"train": _train, "epoch": _epoch, "scale": _scale, "import": _import}
    results = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
               for name in parts if (folder / f"{name}.json").exists()}  # fmt: skip
    if not results:
        return "Nothing has been measured yet: `python -m bench all` does, and `python -m bench table` prints it.\n"
    said, paragraphs = None, []
    for name, found in results.items():
        if (about := _about(found)) != said:
            paragraphs.append(about)
            said = about
        paragraphs.append(parts[name](found))
        if (folder / f"{name}.png").exists():
            paragraphs.append(f"![The same as bars, the lower bound dashed](bench/results/{name}.png)\n")
    return "\n".join(paragraphs)


def _about(found):
    text = (f"Measured on {found['date'][:10]}: {found['cpu']}, {found['cores']} cores, {found['system']}, "
            f"Python {found['python']}, NumPy {found['numpy']}.\n")  # fmt: skip
    return text + "With `--quick`, so too few samples to compare with anything.\n" * found["quick"]


# -- a training step, an epoch --------------------------------------------------------------------------------------


def _train(found):
    groups = {}
    for row in found["rows"]:
        groups.setdefault((row["case"], row["batch"]), []).append(row)
    peers = [peer for peer in PEERS if any(row["peer"] == peer for row in found["rows"])]
    rows = []
    for (case, batch), group in groups.items():
        best = _best(group)
        mine = best.get("tinyae")
        bound = mine["x_bound"] if mine and mine["x_bound"] < 100 else None  # else the products are not what it takes
        rows.append([
            f"{case}. {CASES[case].title}", str(batch), *(_us(best.get(peer)) for peer in peers),
            _ratio(mine and mine["vs_best"], ".2f"), _ratio(bound, ".1f"),
            f"{runner.noise(group):.0%}",
        ])  # fmt: skip
    text = (
        "One training step (forward, backward, Adam), median microseconds, everybody at the best number of threads.\n"
        "*x best*: the time of the fastest other library / that of tinyae. *x bound*: tinyae's time / that of the\n"
        f"matrix products alone at {found['peak_gflops']:.0f} GFLOP/s, {found['peak_is']}.\n"
        "*noise*: how far apart the quartiles of a fixed loop, the control, were meanwhile; above "
        f"{runner.NOISY:.0%} the machine was busy.\n\n"
    )
    text += runner.markdown(["case", "batch", *(NAMES[peer] for peer in peers), "x best", "x bound", "noise"], rows)
    text += f"\n{_versions(found)}"
    for case, why in found["failed"].items():
        text += f"Case {case} was not timed: {' '.join(why.split())}\n"
    return text + _left_out({f"{peer}, case {case}": why for case, peers in found["left_out"].items()
                             for peer, why in peers.items()})  # fmt: skip


def _epoch(found):
    best = _best(found["rows"])
    cells = [f"{best[peer]['median_us'] / 1e6:.3f}" if peer in best else "-" for peer in PEERS if peer in best]
    head = [NAMES[peer] for peer in PEERS if peer in best]
    ratio = _ratio(best["tinyae"]["vs_best"] if "tinyae" in best else None, ".2f")
    text = f"A shuffled epoch of case a, {found['n']:,} rows, batch {found['rows'][0]['batch']}, median seconds:\n\n"
    return (text + runner.markdown(["", *head, "x best"], [["seconds", *cells, ratio]])
            + f"\n{_noise(found)}" + _left_out(found["left_out"]))  # fmt: skip


def _best(rows):
    """{peer: its fastest row}, without the control."""
    best = {}
    for row in rows:
        if row["peer"] != "control" and row["median_us"] < best.get(row["peer"], row)["median_us"] + 1e-9:
            best[row["peer"]] = row
    return best


def _us(row):
    return "-" if row is None else runner.microseconds(row["median_us"])


def _ratio(value, digits):
    return "-" if value is None else f"{value:{digits}}"


def _versions(found):
    said = {}
    for name, about in found["peers"].items():
        isa = about.get("ISA") if name == "tinyae" else None
        said.setdefault(NAMES[name.partition("-")[0]].partition(" ")[0],
                        about["version"] + (f" ({isa})" if isa else ""))  # fmt: skip
    absent = f" Not installed: {', '.join(found['not_here'])}." if found["not_here"] else ""
    return ", ".join(f"{name} {version}" for name, version in said.items()) + f".{absent}\n"


def _noise(found):
    noise = runner.noise(found["rows"])
    text = f"The quartiles of a fixed loop, the control, differed by up to {noise:.0%}"
    return text + (": the machine was busy, and no number here means much.\n" if noise > runner.NOISY else ".\n")


def _left_out(reasons):
    return "".join(f"Left out: {who}: {why}\n" for who, why in reasons.items())


# -- scale, import --------------------------------------------------------------------------------------------------


def _scale(found):
    by_kind = {}
    for row in found["rows"]:
        kind, _, _ = row["case"].partition(" ")
        if row["peer"] == "tinyae":
            by_kind.setdefault(kind, {}).setdefault(int(row["case"].split()[1]), {})[row["mapped"]] = row
    text = "`fit`, one epoch of 784-64-784, microseconds per row, and MB of memory beyond the data:\n\n"
    rows = [[f"{n:,}", *(_each(pair, mapped) for mapped in (False, True)), _memory(pair.values())]
            for n, pair in by_kind["rows"].items()]  # fmt: skip
    text += runner.markdown(["rows", "in memory", "memory-mapped", "MB"], rows)
    for kind in ("batch", "width"):
        rows = [[f"{n:,}", _each(pair, False), _memory(pair.values())] for n, pair in by_kind[kind].items()]
        text += "\n" + runner.markdown([kind, "in memory", "MB"], rows)
    return text + (f"\n{found['left_out']}\n" if found["left_out"] else "")


def _each(pair, mapped):
    return f"{pair[mapped]['median_us']:.2f}" if mapped in pair else "-"


def _memory(rows):
    known = [row["anonymous_mb"] for row in rows if row["anonymous_mb"] is not None]
    return f"{max(known):.0f}" if known else "-"


def _import(found):
    numpy = next((row["rss_mb"] for row in found["rows"] if row["peer"] == "numpy"), None)
    rows = []
    for row in found["rows"]:
        beyond = "-" if None in (row["rss_mb"], numpy) or row["peer"] == "numpy" else f"{row['rss_mb'] - numpy:.0f}"
        rows.append([f"`{row['peer']}`", f"{row['median_us'] / 1e3:.0f}", beyond, f"{row['disk_mb']:,.1f}"])
    text = "`import` in a fresh process, beyond NumPy's own, and what is installed with it:\n\n"
    return text + runner.markdown(["import", "ms", "MB in memory", "MB on disk"], rows)
