"""The roofline picture (Williams, Waterman and Patterson 2009): what `kernels` measured, under what the machine can do.

Across, operations per byte that must be moved; upwards, operations per second. The slanted roofs are copies, the level
one is multiply-adds in registers: nothing gets above the lower of the two.
"""

import numpy as np

from bench import Refused, grid, runner

COLOURS = {
    "element-wise": "#1f77b4", "gradient": "#7fb2d9", "arithmetic": "#17becf", "reduction": "#2ca02c",
    "loss": "#d62728", "optimizer": "#9467bd", "noise": "#8c564b", "gather": "#7f7f7f", "gemm": "#ff7f0e",
    "convolution": "#bcbd22", "recurrent": "#e377c2",
}  # fmt: skip
GAP = 2.0  # points between labels


def figure():
    """An empty picture, or a sentence on what it needs."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise Refused("--plot needs matplotlib, which is not installed. Run: pip install matplotlib") from None
    made = Figure(figsize=(16, 10), layout="constrained")
    FigureCanvasAgg(made)
    return made


def draw(path, header, rows):
    """One point for each op (products and layers: for each size) at the fewest threads; memory-bound ones at the left,
    where they share a few intensities, the others at the right.
    """
    picture, threads = figure(), min(header["peaks"])
    points = _points(rows, threads)
    moves = [point for point in points if point[0] in grid.MOVES]
    works = [point for point in points if point[0] not in grid.MOVES]
    parts = [part for part in (moves, works) if part]
    for axes, part in zip(np.atleast_1d(picture.subplots(1, len(parts))), parts):
        _panel(axes, part, header["peaks"])
    about = header["peers"]["tinyae"]
    picture.suptitle(f"tinyae {about['version']} on {header['cpu']}, {about['ISA']}, float32, "
                     f"{threads} thread{'s' * (threads > 1)}, {header['date'][:10]}", fontsize=13)  # fmt: skip
    picture.canvas.draw()  # which settles where everything is
    for axes, part in zip(picture.axes, parts):
        _label_roofs(axes, header["peaks"][threads])
        _label(axes, part)
    picture.set_layout_engine("none")
    with runner.whole(path) as partial:
        picture.savefig(partial, dpi=100)


def _points(rows, threads):
    """[(kind, label, operations per byte, GFLOP/s)]: of several sizes the middle one, which the targets are about."""
    mine = [row for row in rows if row["peer"] == "tinyae" and row["threads"] == threads]
    sizes, points = {}, []
    for row in mine:
        sizes.setdefault(row["op"], []).append(row["size"])
    for row in mine:
        case = grid.CASES[row["op"], row["size"]]
        given = sizes[case.op]
        if not case.flops or (case.kind in grid.MOVES and row["size"] != given[(len(given) - 1) // 2]):
            continue
        label = case.op if case.kind in grid.MOVES else f"{case.op} {case.size}"
        points.append((case.kind, label, case.flops / case.bytes, case.flops / row["median_us"] / 1e3))
    return points


def _copies(peak):
    """[(bytes, GB/s)] of two copies: the fastest, in some cache, and the largest, in memory."""
    return [max(peak["copy_gbs"], key=lambda pair: pair[1]), peak["copy_gbs"][-1]]


def _panel(axes, points, peaks):
    x = np.array([point[2] for point in points])
    y = np.array([point[3] for point in points])
    low, high = x.min() / 1.4, x.max() * 2.2
    top = max(peak["fma_gflops"] for peak in peaks.values())
    across = np.geomspace(low, high, 200)
    first = min(peaks)
    for threads, peak in peaks.items():
        style = "-" if threads == first else ":"
        for n, speed in _copies(peak):
            roof = np.minimum(across * speed, peak["fma_gflops"])
            axes.plot(across, roof, style, color="#555555", linewidth=1.0, zorder=1)
        if across[-1] * peak["copy_gbs"][-1][1] > peak["fma_gflops"]:
            offset = (0, 5) if threads == first else (0, 16)
            axes.annotate(f"{peak['fma_gflops']:.0f} GFLOP/s multiply-add, {threads} thread{'s' * (threads > 1)}",
                          (high / 1.02, peak["fma_gflops"]), offset, textcoords="offset points", ha="right", fontsize=8,
                          color="#555555")  # fmt: skip
    for kind in dict.fromkeys(point[0] for point in points):
        chosen = [i for i, point in enumerate(points) if point[0] == kind]
        axes.scatter(x[chosen], y[chosen], s=26, color=COLOURS[kind], label=grid.KINDS[kind], zorder=4)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(y.min() / 1.5, min(top, y.max() * 40) * 1.5),
             xlabel="operations per byte", ylabel="GFLOP/s (an element-wise function: one operation)")  # fmt: skip
    axes.set_axisbelow(True)
    axes.grid(True, which="both", color="#eeeeee")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=4, fontsize=8, frameon=False)


def room(n):
    """So many bytes, as one says it."""
    return f"{n >> 20} MB" if n >= 1 << 20 else f"{n >> 10} kB"


def _label_roofs(axes, peak):
    """On each slanted roof, along it, what it is."""
    low, high = axes.get_xlim()
    for n, speed in _copies(peak):
        x = low * (min(high, peak["fma_gflops"] / speed) / low) ** 0.6
        (x0, y0), (x1, y1) = axes.transData.transform([(x, x * speed), (x * 1.01, x * 1.01 * speed)])
        axes.annotate(f"{speed:.0f} GB/s: copy in {room(n)}", (x, x * speed), (0, 3), textcoords="offset points",
                      rotation=np.degrees(np.arctan2(y1 - y0, x1 - x0)), rotation_mode="anchor", fontsize=8,
                      color="#555555", zorder=3, path_effects=_outlined())  # fmt: skip


def _outlined():
    """White around letters, which lines may cross."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]


def _label(axes, points):
    """Each label beside its point, moved up or down as far as it must to stand free of the others and of the points."""
    renderer = axes.figure.canvas.get_renderer()
    to_screen = axes.transData.transform
    scale = axes.figure.dpi / 72
    spots = np.array([to_screen(point[2:]) for point in points])
    boxes = [np.array([*spot - 4 * scale, *spot + 4 * scale]) for spot in spots]
    boxes += [np.array(text.get_window_extent(renderer).extents) for text in axes.texts]
    inside = axes.get_window_extent(renderer).extents
    for i in np.argsort(-spots[:, 1]):
        kind, text, x, y = points[i]
        label = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=7, va="center",
                              color=COLOURS[kind], zorder=5, path_effects=_outlined(),
                              arrowprops={"arrowstyle": "-", "color": COLOURS[kind], "linewidth": 0.5, "alpha": 0.6,
                                          "shrinkA": 0, "shrinkB": 2})  # fmt: skip
        extents = label.get_window_extent(renderer)
        size = np.array([_text_width(label, renderer), extents.height if extents.height < 30 * scale else 9 * scale])
        place = _free(spots[i], size, boxes, inside, scale)
        label.set_position(((place[0] - spots[i][0]) / scale, (place[1] - spots[i][1]) / scale))
        boxes.append(np.array([place[0], place[1] - size[1] / 2, place[0] + size[0], place[1] + size[1] / 2]))


def _text_width(label, renderer):
    width, _, _ = renderer.get_text_width_height_descent(label.get_text(), label.get_fontproperties(), False)
    return width


def _free(spot, size, boxes, inside, scale):
    """The nearest place (left end, middle) for a label of this size that touches nothing."""
    step, best = (size[1] + GAP * scale) / 3, None
    for right in (8 * scale, 30 * scale, 60 * scale, 100 * scale, -size[0] - 8 * scale, -size[0] - 40 * scale):
        for k in range(60):
            for up in {k * step, -k * step}:
                x, y = spot[0] + right, spot[1] + up
                box = [x - GAP, y - size[1] / 2 - GAP, x + size[0] + GAP, y + size[1] / 2 + GAP]
                cost = abs(up) + 0.7 * abs(right)
                if best is not None and cost >= best[0]:
                    continue
                if box[0] < inside[0] or box[1] < inside[1] or box[2] > inside[2] or box[3] > inside[3]:
                    continue
                if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
                    best = cost, (x, y)
    return best[1] if best else (spot[0] + 8 * scale, spot[1])
