"""Pictures of a model: its loss, reconstructions and samples, its codes, the ways between them, its weights.

Every function returns a matplotlib Figure and leaves matplotlib's global state alone; `png` turns one into bytes.
matplotlib is the extra "plot", imported when a picture is asked for.

Ring 7. Must not know the command line or files.
"""

import io

import numpy as np

from . import nn
from .errors import DataError, MissingExtraError

__all__ = [
    "bells",
    "curves",
    "filters",
    "histogram",
    "images",
    "interpolation",
    "latent",
    "loss",
    "manifold",
    "matrices",
    "neighbours",
    "png",
    "reconstructions",
    "require",
    "samples",
    "traversal",
    "walk",
]

_GREY = "#444444"
_DPI = 100
_STYLES = {
    "original": {"color": _GREY}, "noisy input": {"color": "C0", "lw": 0.7},
    "reconstruction": {"color": "C1", "ls": "--"},
}  # fmt: skip


def require():
    """matplotlib's Figure; MissingExtraError without matplotlib, or with one that does not start, for those who want to
    know before they train.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            'plot: matplotlib is not installed. pip install "tinyae[plot]", or from a clone: pip install ".[plot]".'
        ) from None
    except Exception as problem:  # a setting of its own, such as MPLBACKEND, or a build for another NumPy
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise MissingExtraError(f"plot: matplotlib is installed and does not start: {reason}") from problem
    return Figure


def _figure(width, height):
    return require()(figsize=(width, height), dpi=_DPI, layout="constrained")


def png(figure):
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # without a version: equal pictures, equal bytes
    return buffer.getvalue()


def loss(model):
    """Training and validation loss by epoch, the kept epoch marked, and the named terms if there are several.

    Needs a fitted model; DataError if no epoch was trained.
    """
    history = model.history_
    if not history:
        raise DataError("plot.loss: the model has no history: it was trained for no epoch. Fit it with max_iter > 0.")
    epochs = history["epoch"]
    figure = _figure(6, 3.75)
    axes = figure.add_subplot()
    few = "o" if len(epochs) <= 30 else None
    validated = any(name.startswith("val_") for name in history)
    terms = [name for name in history if name not in ("epoch", "seconds") and not name.startswith("val_")]
    for i, name in enumerate(terms):
        colour = f"C{i}"
        axes.plot(epochs, history[name], color=colour, lw=1.2, ls="--" if validated else "-",
                  alpha=0.7 if validated else 1, marker=few, ms=3, label=f"{name}, training")  # fmt: skip
        if f"val_{name}" in history:  # a weight decay is of the training alone
            axes.plot(epochs, history[f"val_{name}"], color=colour, lw=1.8, marker=few, ms=3,
                      label=f"{name}, validation")  # fmt: skip
    if validated:
        kept = model.kept_epoch_
        value = history["val_loss"][kept - 1]
        axes.plot(kept, value, "o", color="C0", ms=5)
        # Beside the end of the curve, or below its minimum, where it is not; above it, where its terms are below.
        below = ((0, -6), "center", "top") if len(terms) == 1 else ((0, 6), "center", "bottom")
        offset, ha, va = ((6, 0), "left", "center") if kept == len(epochs) else below
        axes.annotate(f"{value:.4g}", (kept, value), offset, textcoords="offset points", ha=ha, va=va, color=_GREY)
    shown = np.concatenate([values for name, values in history.items() if name not in ("epoch", "seconds")])
    if len(terms) == 1 and np.min(shown) > 0 and np.max(shown) > 10 * np.min(shown):
        _logarithmic(axes, "y")
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5) if np.max(shown) < 1e4 * np.min(shown) else (1,))
    axes.set_xlabel("epoch")
    if len(epochs) == 1:
        axes.set_xlim(0, 2)
    axes.set_ylabel("nats per row" if model.family == "variational" else f"loss ({model.loss})")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{type(model).__name__}: loss while training", fontsize=11, color=_GREY)
    _bare(axes)
    axes.grid(alpha=0.25)
    if len(terms) == 1:
        axes.legend(frameon=False, fontsize=9)
    else:
        figure.legend(frameon=False, fontsize=9, loc="outside right center")
    return figure


def reconstructions(model, X, image_shape=None, corrupted=None, columns=12):
    """Rows of X, what the encoder saw if that is ``corrupted``, and what came back.

    Images (image_shape = (height, width)) stand in rows of a grid; other data are drawn as curves over the features.
    Shape: X (rows, features), corrupted the same; the first ``columns`` rows are shown.
    """
    X = np.asarray(X)[:columns]
    if not len(X):
        raise DataError(f"plot.reconstructions: X has shape {X.shape}, nothing to show. Give at least one row.")
    shown = {"original": X}
    if corrupted is not None:
        shown["noisy input"] = np.asarray(corrupted)[:columns]
    shown["reconstruction"] = model.reconstruct(X if corrupted is None else shown["noisy input"])
    if image_shape is not None:
        return images(shown, image_shape)
    few = min(len(X), 4)
    figure = _figure(6.5, 1.6 * few)
    for i, axes in enumerate(figure.subplots(few, 1, sharex=True, squeeze=False)[:, 0]):
        for name, rows in shown.items():
            axes.plot(rows[i], label=name, marker="o" if X.shape[1] <= 40 else None, ms=3, **_STYLES[name])
        _bare(axes)
        axes.set_ylabel(f"row {i}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("feature")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def samples(model, image_shape, n=48, random_state=0):
    """New images drawn by ``model.sample``. Shape: image_shape = (height, width)."""
    columns = 12
    drawn = model.sample(n, random_state)
    rows = [drawn[i : i + columns] for i in range(0, n, columns)]
    return images({"samples" if i == 0 else " " * i: row for i, row in enumerate(rows)}, image_shape)


def latent(model, X, y=None):
    """The codes of X in the plane, coloured by the labels y. Needs n_components = 2.

    model may be {title: model}: maps side by side. Shape: X (rows, features), y (rows,).
    """
    models = model if isinstance(model, dict) else {f"{type(model).__name__}: the code of {len(X):,} rows": model}
    for one in models.values():
        if one.n_components_ != 2:
            raise DataError(f"plot.latent: the code has {one.n_components_} components. A map needs 2.")
    figure = _figure(5.4 if len(models) == 1 else 3.6 * len(models) + 0.6, 4.6 if len(models) == 1 else 3.7)
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    for axes, (title, one) in zip(panels, models.items()):
        points, classes = _map(axes, one.transform(X), y)
        axes.set_xlabel("code component 0")
        axes.set_title(title, fontsize=11, color=_GREY)
        _bare(axes)
    panels[0].set_ylabel("code component 1")
    if classes is not None:  # the same in every panel
        handles, _ = points.legend_elements(num=None)
        axes.legend(handles, classes, frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _map(axes, codes, y):
    """(points, names of the classes or None)"""
    style = {"s": np.clip(3000 / len(codes), 4, 60), "linewidths": 0, "alpha": 0.85}
    classes, number = np.unique([] if y is None else y, return_inverse=True)
    if not 0 < len(classes) <= 20:
        return axes.scatter(*codes.T, color="C0", **style), None
    colours = 10 if len(classes) <= 10 else 20  # all at once, so that no class covers another
    points = axes.scatter(*codes.T, c=number, cmap=f"tab{colours}", vmin=-0.5, vmax=colours - 0.5, **style)
    return points, classes.tolist()


def histogram(model, X, bins=50):
    """How often the codes of X take which value, all components together; the counts' axis is logarithmic.

    model may be {label: model}: histograms over one another, on the same bins. Shape: X (rows, features).
    """
    models = model if isinstance(model, dict) else {type(model).__name__: model}
    codes = {label: one.transform(X).ravel() for label, one in models.items()}
    values = np.concatenate(list(codes.values()))
    edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), bins + 1)
    figure = _figure(6, 3.75)
    axes = figure.add_subplot()
    for label, z in codes.items():
        axes.stairs(np.histogram(z, edges)[0] / len(z), edges, label=label, fill=True, alpha=0.5, lw=1.2)
    _logarithmic(axes, "y")
    axes.set_xlabel("value in the code")
    axes.set_ylabel("share of all values")
    _bare(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure


def curves(lines, xlabel, ylabel, log="", dashed=()):
    """{label: (x, y)} as lines over one another; log holds "x", "y" or both for logarithmic axes.

    dashed holds the labels of lines that are to be told from the others.
    """
    figure = _figure(6.5, 4)
    axes = figure.add_subplot()
    for label, (x, y) in lines.items():
        style = {"ls": "--"} if label in dashed else {"marker": "o" if len(x) <= 30 else None, "ms": 4}
        axes.plot(x, y, lw=1.5, label=label, **style)
    for axis in log:
        _logarithmic(axes, axis)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _bare(axes)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return figure


def bells(z, named):
    """{title: densities} of normal distributions over z, one panel each, and the prior N(0, 1) dashed in each.

    Shape: z (points,), densities (rows, points).
    """
    figure = _figure(6.5, 1.3 * len(named) + 0.4)
    for axes, (title, rows) in zip(figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0], named.items()):
        axes.plot(z, np.transpose(rows), color="C0", lw=0.9, alpha=0.7)
        axes.plot(z, np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi), color=_GREY, ls="--", lw=1.5)
        axes.set_title(title, fontsize=9, color=_GREY, loc="left")
        axes.set_ylabel("density", fontsize=9)
        _bare(axes)
    axes.set_xlabel("value of the component (dashed: the prior)")
    return figure


def matrices(named):
    """{title: matrix} side by side, on one scale on which 0 is white. Shape: (rows, columns) each."""
    figure = _figure(3.1 * len(named) + 0.6, 3.3)
    largest = max(np.abs(matrix).max() for matrix in named.values())
    panels = figure.subplots(1, len(named), squeeze=False)[0]
    for axes, (title, matrix) in zip(panels, named.items()):
        shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
        axes.set_title(title, fontsize=10, color=_GREY)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    figure.colorbar(shown, ax=panels, shrink=0.8)
    return figure


def filters(model, image_shape, n=32):
    """The n largest filters of the encoder's first layer, each on its own scale: blue is negative, red positive.

    A filter is a unit's weights, of the form of the image, or a kernel of a convolution; of several channels the first.
    model may be {label: model}, one below the other. Shape: image_shape = (height, width) or (channels, height, width).
    """
    models = model if isinstance(model, dict) else {type(model).__name__: model}
    columns = 16
    figure = _figure(0.45 * columns + 0.3, len(models) * (0.45 * -(-n // columns) + 0.4))
    for axes, (label, one) in zip(figure.subplots(len(models), 1, squeeze=False)[:, 0], models.items()):
        weights = next((layer.weight.data for layer in one.net_.encoder.modules()
                        if isinstance(layer, (nn.Linear, nn.Conv2d))), None)  # fmt: skip
        if weights is None:
            raise DataError(f"plot.filters: {label}: the encoder has neither a Linear nor a Conv2d, hence no filters.")
        pictures = weights if weights.ndim == 4 else weights.T.reshape(-1, *(1, *image_shape)[-3:])
        pictures = pictures[:, 0]
        sizes = np.linalg.norm(pictures, axis=(1, 2))
        pictures = pictures[np.argsort(-sizes, kind="stable")[:n]]
        pictures = pictures / np.maximum(np.abs(pictures).max(axis=(1, 2), keepdims=True), 1e-30)
        missing = -len(pictures) % min(columns, len(pictures))
        pictures = np.concatenate([pictures, np.full((missing, *pictures.shape[1:]), np.nan)])
        tiled = _tiled(pictures.reshape(-1, min(columns, len(pictures)), *pictures.shape[1:]))
        axes.imshow(tiled, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(label, fontsize=10, color=_GREY)
    return figure


def manifold(model, image_shape, n=15, low=-2.0, high=2.0):
    """What a grid of codes of two components decodes to (`Autoencoder.manifold`).

    Shape: image_shape = (height, width).
    """
    height, width = image_shape[-2:]
    pictures = model.manifold(n, low, high).reshape(n, n, -1, height, width)
    tiled = np.stack([_tiled(pictures[:, :, channel]) for channel in range(pictures.shape[2])], axis=-1)
    figure = _figure(5.4, 5.4 * height / width)
    axes = figure.add_subplot()
    axes.imshow(tiled[..., 0] if tiled.shape[2] == 1 else np.clip(np.nan_to_num(tiled, nan=1.0), 0.0, 1.0),
                cmap="gray_r", interpolation="nearest")  # fmt: skip
    for set_ticks, size, ends in ((axes.set_xticks, width, (low, high)), (axes.set_yticks, height, (high, low))):
        first, last = (size - 1) / 2, (n - 1) * (size + 1) + (size - 1) / 2  # a pixel stands between two images
        set_ticks([first, last], [f"{end:g}" for end in ends])
    axes.set_xlabel("code component 0", labelpad=-8)
    axes.set_ylabel("code component 1", labelpad=-8)
    return figure


def traversal(model, x, image_shape, values=(-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0), components=None):
    """What x becomes as one component of its code after another takes these values (`Autoencoder.traverse`).

    Shape: x (features,), image_shape = (height, width).
    """
    components = range(model.n_components_) if components is None else components
    pictures = model.traverse(x, values, components)
    return images({f"component {j}": rows for j, rows in zip(components, pictures)}, image_shape)


def interpolation(model, start, end, image_shape, steps=10):
    """The way from one image to another: of the pixels, and of the codes, straight and turning.

    Shape: start, end (features,), image_shape = (height, width).
    """
    t = np.linspace(0.0, 1.0, steps)[:, None]
    return images({"pixels": (1.0 - t) * start + t * end,
                   **{f"codes, {how}": model.interpolate(start, end, steps, how) for how in ("linear", "spherical")}},
                  image_shape)  # fmt: skip


def neighbours(model, X, query, image_shape, k=8):
    """For each query, in the first column, the k rows of X whose codes are nearest, nearest first.

    Shape: X (rows, features), query (queries, features), image_shape = (height, width).
    """
    found = np.asarray(X)[model.neighbours(X, query, k)[0]]
    rows = np.concatenate([np.asarray(query)[:, None], np.full_like(found[:, :1], np.nan), found], axis=1)
    return images({f"query {i}": row for i, row in enumerate(rows)}, image_shape)


def walk(model, X, image_shape, steps=12, random_state=0):
    """The chains of a `WalkbackAutoencoder`: each row of X, then where its chain stands after every step.

    Shape: X (rows, features), image_shape = (height, width).
    """
    places = np.concatenate([np.asarray(X)[:, None], model.chain(X, steps, random_state)], axis=1)
    return images({f"chain {i}": chain for i, chain in enumerate(places)}, image_shape)


def _bare(axes):
    axes.spines[["top", "right"]].set_visible(False)


def _logarithmic(axes, axis):
    axes.set(**{f"{axis}scale": "log"})
    getattr(axes, f"{axis}axis").set_major_formatter("{x:g}")  # 0.01, not 10^-2
    getattr(axes, f"{axis}axis").set_minor_formatter("")


def _tiled(pictures):
    """Pictures beside and below each other as one, an empty pixel between them.

    Shape: (rows, columns, h, w) -> (rows * (h + 1) - 1, columns * (w + 1) - 1).
    """
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    rows, columns, height, width = padded.shape
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width)[:-1, :-1]


def images(named_rows, image_shape):
    """{label: rows} as rows of images on one grey scale: white and black are the first row's least and largest value.

    Colours are shown on the same scale, each by itself: 0 of none and all of it. Shape: (columns, features) each,
    image_shape = (height, width) or (channels, height, width) of 3 or 4 channels; an image of NaN stays empty.
    """
    height, width = image_shape[-2:]
    columns = max(len(rows) for rows in named_rows.values())
    labels = any(name.strip() for name in named_rows)
    figure = _figure(0.6 * columns + 1.1 * labels, 0.6 * len(named_rows) * height / width + 0.1)
    grid = figure.subplots(len(named_rows), columns, squeeze=False)
    first = next(iter(named_rows.values()))
    low, high = float(np.nanmin(first)), float(np.nanmax(first))
    for axes_row, (name, rows) in zip(grid, named_rows.items()):
        for axes in axes_row:
            axes.set_axis_off()
        for axes, row in zip(axes_row, rows):
            picture = np.asarray(row).reshape(image_shape)
            if picture.ndim == 3:
                empty, picture = np.isnan(picture).any(), (np.moveaxis(picture, 0, 2) - low) / max(high - low, 1e-30)
                picture = np.ones_like(picture) if empty else np.clip(picture, 0.0, 1.0)
            axes.imshow(picture, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
        axes_row[0].text(-0.15, 0.5, name.strip(), transform=axes_row[0].transAxes, ha="right", va="center", fontsize=9,
                         color=_GREY)  # fmt: skip
    return figure
