"""Pictures of what the benchmarks measured; matplotlib is imported when one is drawn."""

import itertools
import textwrap

from bench import Refused, runner
from bench.cases import CASES
from bench.peers import PEERS, family

COLOURS = {"tinyae": "#c4452f", "numpy": "#8a96a3", "torch": "#e2a63d", "jax": "#4b80b4"}
INK = "#333333"
COLUMNS = 4


def steps(file, header, rows):
    """Bars of `train`: a panel per case and batch, a bar per peer at its best thread count, the lower bound marked."""
    plt = library()
    panels = [
        (key, [row for row in group if row["peer"] != "control"])
        for key, group in itertools.groupby(rows, lambda row: (row["case"], row["batch"]))
    ]
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    peers = [name for name in PEERS if any(row["peer"] == name for row in rows)]
    size = (3.6 * columns + 0.4, (0.26 * len(peers) + 0.85) * lines + 0.9)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, ((name, batch), group) in zip(axes.flat, panels):
        best = {}
        for row in group:
            if row["peer"] not in best or row["median_us"] < best[row["peer"]]["median_us"]:
                best[row["peer"]] = row
        shown = [best[peer] for peer in peers if peer in best]
        bound = header["flops"][f"{name}/{batch}"] / header["peak_gflops"] / 1e3
        _panel(axis, shown, bound)
        title = f"{name}. {CASES[name].title.partition(',')[0]}, batch {batch}"
        axis.set_title(title, loc="left", color=INK, fontsize=8)
    title = f"One training step, ms: median and quartiles, best thread count. {header['cpu']}, {header['date'][:10]}"
    figure.suptitle(textwrap.fill(title, int(13 * size[0])), x=0.01, ha="left", color=INK, fontsize=10)
    below = f"Dashed: lower bound, the matrix products at {header['peak_gflops']:.0f} GFLOP/s ({header['peak_is']})"
    figure.supxlabel(textwrap.fill(below, int(16 * size[0])), x=0.01, ha="left", color=INK, fontsize=8)
    with runner.whole(file) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)


def _panel(axis, rows, bound):
    places = range(len(rows))
    medians = [row["median_us"] / 1e3 for row in rows]
    reach = 1.3 * max(medians)  # a busy machine's whiskers may be cut off, the bars may not
    ends = [min(row["q3_us"] / 1e3, reach) for row in rows]
    spread = [[median - row["q1_us"] / 1e3 for median, row in zip(medians, rows)],
              [end - median for end, median in zip(ends, medians)]]  # fmt: skip
    axis.barh(places, medians, xerr=spread, height=0.72, color=[COLOURS[family(row["peer"])] for row in rows],
              error_kw={"ecolor": INK, "elinewidth": 0.8})  # fmt: skip
    axis.axvline(bound / 1e3, color=INK, linestyle="--", linewidth=1)
    axis.set_xlim(0, 1.2 * reach)
    for place, row, end in zip(places, rows, ends):
        text = f"{row['median_us'] / 1e3:.3g}" if row["median_us"] < 1e6 else f"{row['median_us'] / 1e3:,.0f}"
        axis.annotate(text, (end, place), (3, 0), textcoords="offset points", va="center", color=INK, fontsize=7)
    axis.set_yticks(places, [row["peer"] for row in rows], fontsize=7, color=INK)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=7, colors=INK)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def library():
    """matplotlib's pyplot, drawing to files; or a sentence on what to install."""
    try:
        import matplotlib
    except ImportError:
        raise Refused("--plot needs matplotlib. Run: pip install matplotlib") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot
