"""Pictures of a model: loss curves, reconstructions, samples, the map of a two-dimensional code.

Every function returns a matplotlib Figure and leaves matplotlib's global state alone; `png` turns one into bytes.
matplotlib is the extra "plot", imported when a picture is asked for.

Ring 7. Must not know the command line or files.
"""

import io

import numpy as np

from .errors import DataError, MissingExtraError

__all__ = ["latent", "loss", "png", "reconstructions", "samples"]

_GREY = "#444444"
_DPI = 100
_STYLES = {
    "original": {"color": _GREY}, "noisy input": {"color": "C0", "lw": 0.7},
    "reconstruction": {"color": "C1", "ls": "--"},
}  # fmt: skip


def _figure(width, height):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            'plot: matplotlib is not installed. pip install "tinyae[plot]", or from a clone: pip install ".[plot]".'
        ) from None
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def png(figure):
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # without a version: equal pictures, equal bytes
    return buffer.getvalue()


def loss(model):
    """Training and validation loss by epoch, and the named terms if there are several. Needs a fitted model."""
    history = model.history_
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
        if validated:
            axes.plot(epochs, history[f"val_{name}"], color=colour, lw=1.8, marker=few, ms=3,
                      label=f"{name}, validation")  # fmt: skip
    if validated:
        best = model.best_epoch_
        value = history["val_loss"][best - 1]
        axes.plot(best, value, "o", color="C0", ms=5)
        # Beside the end of the curve, or below its minimum: where it is not.
        offset, ha, va = ((6, 0), "left", "center") if best == len(epochs) else ((0, -6), "center", "top")
        axes.annotate(f"{value:.4g}", (best, value), offset, textcoords="offset points", ha=ha, va=va, color=_GREY)
    shown = np.concatenate([values for name, values in history.items() if name not in ("epoch", "seconds")])
    if len(terms) == 1 and np.min(shown) > 0 and np.max(shown) > 10 * np.min(shown):
        axes.set_yscale("log")
        axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5) if np.max(shown) < 1e4 * np.min(shown) else (1,))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("epoch")
    if len(epochs) == 1:
        axes.set_xlim(0, 2)
    axes.set_ylabel("nats per row" if model.family == "variational" else f"loss ({model.loss})")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{type(model).__name__}: loss while training", fontsize=11, color=_GREY)
    axes.spines[["top", "right"]].set_visible(False)
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
        return _grid(shown, image_shape)
    few = min(len(X), 4)
    figure = _figure(6.5, 1.6 * few)
    for i, axes in enumerate(figure.subplots(few, 1, sharex=True, squeeze=False)[:, 0]):
        for name, rows in shown.items():
            axes.plot(rows[i], label=name, marker="o" if X.shape[1] <= 40 else None, ms=3, **_STYLES[name])
        axes.spines[["top", "right"]].set_visible(False)
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
    return _grid({"samples" if i == 0 else " " * i: row for i, row in enumerate(rows)}, image_shape)


def latent(model, X, y=None):
    """The codes of X in the plane, coloured by the labels y. Needs n_components = 2.

    Shape: X (rows, features), y (rows,).
    """
    if model.n_components != 2:
        raise DataError(f"plot.latent: the code has {model.n_components} components. A map needs 2.")
    codes = model.transform(X)
    figure = _figure(5.4, 4.6)
    axes = figure.add_subplot()
    style = {"s": np.clip(3000 / len(codes), 4, 60), "linewidths": 0, "alpha": 0.85}
    classes, number = (), None
    if y is not None:
        classes, number = np.unique(y, return_inverse=True)
    if 0 < len(classes) <= 20:  # all at once, so that no class covers another
        colours = 10 if len(classes) <= 10 else 20
        points = axes.scatter(*codes.T, c=number, cmap=f"tab{colours}", vmin=-0.5, vmax=colours - 0.5, **style)
        handles, _ = points.legend_elements(num=None)
        axes.legend(handles, classes.tolist(), frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        axes.scatter(*codes.T, color="C0", **style)
    axes.set_xlabel("code component 0")
    axes.set_ylabel("code component 1")
    axes.set_title(f"{type(model).__name__}: the code of {len(codes):,} rows", fontsize=11, color=_GREY)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _grid(named_rows, image_shape):
    """Images in labelled rows, on one grey scale, white for the smallest value. Each row: (columns, features)."""
    height, width = image_shape
    columns = max(len(rows) for rows in named_rows.values())
    labels = any(name.strip() for name in named_rows)
    figure = _figure(0.6 * columns + 1.1 * labels, 0.6 * len(named_rows) * height / width + 0.1)
    grid = figure.subplots(len(named_rows), columns, squeeze=False)
    first = next(iter(named_rows.values()))
    low, high = float(np.min(first)), float(np.max(first))
    for axes_row, (name, rows) in zip(grid, named_rows.items()):
        for axes in axes_row:
            axes.set_axis_off()
        for axes, row in zip(axes_row, rows):
            axes.imshow(np.asarray(row).reshape(height, width), cmap="gray_r", vmin=low, vmax=high,
                        interpolation="nearest")  # fmt: skip
        axes_row[0].text(-0.15, 0.5, name.strip(), transform=axes_row[0].transAxes, ha="right", va="center", fontsize=9,
                         color=_GREY)  # fmt: skip
    return figure
