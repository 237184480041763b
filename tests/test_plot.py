"""Pictures: what is drawn, read back from the figure, and that nothing of matplotlib's global state is touched."""

import builtins
import subprocess
import sys

import numpy as np
import pytest

import tinyae
from tinyae import plot
from tinyae.errors import DataError, MissingExtraError

matplotlib = pytest.importorskip("matplotlib")

IMAGES = (4, 3)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).random((40, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def model(X):
    return tinyae.Autoencoder(n_components=2, max_iter=3, random_state=0).fit(X[:30], validation_data=X[30:])


@pytest.fixture(scope="module")
def vae(X):
    return tinyae.VAE(n_components=2, max_iter=3, random_state=0).fit(X[:30], validation_data=X[30:])


def told(model, **history):
    """The model with a history that is told it."""
    import copy

    model = copy.copy(model)
    length = len(next(iter(history.values())))
    model.history_ = {"epoch": list(range(1, length + 1)), **history, "seconds": [0.1] * length}
    model.best_epoch_ = 1 + int(np.argmin(history.get("val_loss", history["loss"])))
    model.n_iter_ = model.kept_epoch_ = length
    return model


def curves(axes):
    return {line.get_label(): line.get_ydata().tolist() for line in axes.lines if not line.get_label().startswith("_")}


# -- loss -----------------------------------------------------------------------------------------------------------


def test_loss(model):
    early = told(model, loss=[3.0, 2.0, 1.5], val_loss=[2.5, 1.8, 1.9])
    (mark,) = plot.loss(early).axes[0].texts
    assert (mark.get_text(), mark.xy, mark.get_ha()) == ("1.9", (3, 1.9), "left"), "the last was kept"
    early.kept_epoch_ = early.best_epoch_
    figure = plot.loss(early)
    (axes,) = figure.axes
    assert curves(axes) == {"loss, training": [3.0, 2.0, 1.5], "loss, validation": [2.5, 1.8, 1.9]}
    assert [line.get_xdata().tolist() for line in axes.lines[:2]] == [[1, 2, 3]] * 2
    (mark,) = axes.texts
    assert (mark.get_text(), mark.xy) == ("1.8", (2, 1.8)), "the epoch that was kept is marked"
    assert mark.get_va() == "top", "below the curve's minimum, for there the curve is not"
    (mark,) = plot.loss(told(model, loss=[3.0, 2.0], val_loss=[2.0, 1.0])).axes[0].texts
    assert mark.get_ha() == "left", "beside the curve's end"
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("loss (mse)", "epoch")
    assert axes.get_yscale() == "linear"
    assert [text.get_text() for text in axes.get_legend().texts] == ["loss, training", "loss, validation"]
    assert "Autoencoder" in axes.get_title()


@pytest.mark.parametrize("validated", [True, False])
def test_loss_with_a_decay(validated, X):
    """It is a term of the training alone."""
    model = tinyae.Autoencoder(n_components=2, max_iter=2, decay=0.01, random_state=0)
    model.fit(X, validation_data=X if validated else None)
    names = ["loss, training", *["loss, validation"] * validated, "mse, training", "decay, training"]
    assert list(curves(plot.loss(model).axes[0])) == names


def test_loss_by_terms(vae):
    figure = plot.loss(vae)
    (axes,) = figure.axes
    names = ["loss", "nll", "kl"]
    assert list(curves(axes)) == [f"{name}, {part}" for name in names for part in ("training", "validation")]
    assert curves(axes)["kl, validation"] == vae.history_["val_kl"]
    lines = {line.get_label(): line for line in axes.lines}
    for name in names:
        training, validation = lines[f"{name}, training"], lines[f"{name}, validation"]
        assert training.get_color() == validation.get_color()
        assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert len({line.get_color() for line in lines.values() if line.get_label()[0] != "_"}) == 3
    assert axes.get_ylabel() == "nats per row"
    assert axes.get_legend() is None and len(figure.legends) == 1, "beside the axes, where it covers no curve"
    early = told(vae, **{name: vae.history_[name] for name in vae.history_ if name not in ("epoch", "seconds")})
    early.kept_epoch_ = 2
    (mark,) = plot.loss(early).axes[0].texts
    assert mark.xy == (2, vae.history_["val_loss"][1]) and mark.get_va() == "bottom", "its terms are below it"


def test_loss_of_no_epoch(X):
    with pytest.raises(DataError, match="plot.loss: the model has no history"):
        plot.loss(tinyae.StackedAutoencoder(2, hidden=(3,), pretrain_iter=1, max_iter=0).fit(X))


def test_loss_without_validation(model):
    (axes,) = plot.loss(told(model, loss=[3.0, 2.0])).axes
    assert curves(axes) == {"loss, training": [3.0, 2.0]}
    assert axes.lines[0].get_linestyle() == "-"
    assert len(axes.texts) == 0


@pytest.mark.parametrize(("values", "scale"), [
    ([1.0, 0.2], "linear"), ([1.0, 0.01], "log"), ([2.1, 0.2], "log"), ([1.0, 0.0], "linear"), ([1.0, -5.0], "linear"),
])  # fmt: skip
def test_the_scale_suits_the_values(values, scale, model):
    figure = plot.loss(told(model, loss=values))
    axes = figure.axes[0]
    assert axes.get_yscale() == scale
    plot.png(figure)  # draws
    assert all("^" not in label.get_text() for label in axes.get_yticklabels(which="both")), "0.01, not 10^-2"


def test_the_terms_stay_linear(model):
    axes = plot.loss(told(model, loss=[100.0, 2.0], a=[99.0, 1.0], b=[1.0, 1.0])).axes[0]
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize("epochs", [1, 2, 5, 300])
def test_epochs_are_whole_numbers(epochs, model):
    figure = plot.loss(told(model, loss=[1.0] * epochs, val_loss=[1.0] * epochs))
    plot.png(figure)  # draws
    axes = figure.axes[0]
    assert all(tick == int(tick) for tick in axes.get_xticks())
    assert (axes.lines[0].get_marker() == "o") == (epochs <= 30)


# -- reconstructions ------------------------------------------------------------------------------------------------


def shown(figure, row, columns):
    return [axes.images[0].get_array() for axes in figure.axes[row * columns : (row + 1) * columns]]


def test_reconstructions_of_images(model, X):
    figure = plot.reconstructions(model, X[:5], IMAGES)
    assert len(figure.axes) == 10
    back = model.reconstruct(X[:5])
    for i in range(5):
        np.testing.assert_array_equal(shown(figure, 0, 5)[i], X[i].reshape(IMAGES))
        np.testing.assert_array_equal(shown(figure, 1, 5)[i], back[i].reshape(IMAGES))
    assert [figure.axes[i].texts[0].get_text() for i in (0, 5)] == ["original", "reconstruction"]
    limits = {axes.images[0].get_clim() for axes in figure.axes}
    assert limits == {(X[:5].min(), X[:5].max())}, "one grey scale for all"


def test_at_most_twelve_columns(model, X):
    assert len(plot.reconstructions(model, X, IMAGES).axes) == 24
    assert len(plot.reconstructions(model, X, IMAGES, columns=3).axes) == 6


def test_reconstructions_of_noisy_images(model, X):
    noisy = X[:3] + 1
    figure = plot.reconstructions(model, X[:3], IMAGES, corrupted=noisy)
    np.testing.assert_array_equal(shown(figure, 0, 3)[1], X[1].reshape(IMAGES))
    np.testing.assert_array_equal(shown(figure, 1, 3)[1], noisy[1].reshape(IMAGES))
    np.testing.assert_array_equal(shown(figure, 2, 3)[1], model.reconstruct(noisy)[1].reshape(IMAGES))
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert labels == ["original", "noisy input", "reconstruction"]


def test_reconstructions_of_a_table(model, X):
    noisy = X + 1
    figure = plot.reconstructions(model, X, corrupted=noisy)
    assert len(figure.axes) == 4
    for i, axes in enumerate(figure.axes):
        expected = {"original": X[i], "noisy input": noisy[i], "reconstruction": model.reconstruct(noisy)[i]}
        assert list(curves(axes)) == list(expected)
        for name, row in expected.items():
            np.testing.assert_allclose(curves(axes)[name], row, rtol=1e-6)
    assert len(figure.legends) == 1
    assert len(plot.reconstructions(model, X[:1]).axes) == 1


def test_a_table_of_few_features():
    X = np.eye(4)
    model = tinyae.Autoencoder(n_components=2, max_iter=1, random_state=0).fit(X)
    figure = plot.reconstructions(model, X)
    plot.png(figure)  # draws
    assert all(tick == int(tick) for tick in figure.axes[-1].get_xticks())


def test_no_rows_to_reconstruct(model, X):
    with pytest.raises(DataError, match=r"^plot.reconstructions: X has shape \(0, 12\)"):
        plot.reconstructions(model, X[:0], IMAGES)


# -- samples and codes ----------------------------------------------------------------------------------------------


def test_samples(vae):
    figure = plot.samples(vae, IMAGES, n=20, random_state=5)
    drawn = vae.sample(20, 5)
    assert len(figure.axes) == 24
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(pictures) == 20
    for picture, row in zip(pictures, drawn):
        np.testing.assert_array_equal(picture, row.reshape(IMAGES))
    assert not any(axes.axison for axes in figure.axes)
    assert plot.png(plot.samples(vae, IMAGES)) == plot.png(plot.samples(vae, IMAGES))


@pytest.mark.parametrize("classes", [1, 4, 10, 15, 20])
def test_latent(classes, model, X):
    y = np.arange(len(X)) % classes + 3
    figure = plot.latent(model, X, y)
    (axes,) = figure.axes
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), model.transform(X), rtol=1e-6)
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.texts] == [str(k) for k in range(3, 3 + classes)]
    plot.png(figure)  # draws
    colours = points.get_facecolors()
    expected = matplotlib.colormaps["tab10" if classes <= 10 else "tab20"].colors[:classes]
    np.testing.assert_allclose(colours[:classes, :3], expected, err_msg="the palette's colours in their order")
    assert (colours[0] == colours[classes]).all()
    for handle, colour in zip(legend.legend_handles, colours):
        assert matplotlib.colors.same_color(handle.get_color()[:3], colour[:3]), "the legend shows the points' colours"
    assert axes.get_title() == "Autoencoder: the code of 40 rows"


@pytest.mark.parametrize("y", [None, np.linspace(0, 1, 40)], ids=["no labels", "labels that are no classes"])
def test_latent_in_one_colour(y, model, X):
    figure = plot.latent(model, X, y)
    (axes,) = figure.axes
    plot.png(figure)  # draws
    assert axes.get_legend() is None
    assert len(np.unique(axes.collections[0].get_facecolors(), axis=0)) == 1
    assert len(axes.collections[0].get_offsets()) == 40


def test_more_points_are_smaller(model, X):
    sizes = [plot.latent(model, rows).axes[0].collections[0].get_sizes()[0] for rows in (X[:4], np.tile(X, (50, 1)))]
    assert sizes[0] > 5 * sizes[1]


def test_latent_needs_two_components(X):
    model = tinyae.Autoencoder(n_components=3, max_iter=1, random_state=0).fit(X)
    with pytest.raises(DataError, match="^plot.latent: the code has 3 components. A map needs 2.$"):
        plot.latent(model, X)


def test_maps_side_by_side(model, vae, X):
    y = np.arange(40) % 4
    figure = plot.latent({"plain": model, "VAE": vae}, X, y)
    assert [axes.get_title() for axes in figure.axes] == ["plain", "VAE"]
    for axes, one in zip(figure.axes, (model, vae)):
        np.testing.assert_allclose(axes.collections[0].get_offsets(), one.transform(X), rtol=1e-6)
    assert [axes.get_legend() is None for axes in figure.axes] == [True, False], "one legend serves both"


def test_histogram(model, vae, X):
    figure = plot.histogram({"plain": model, "VAE": vae}, X, bins=8)
    (axes,) = figure.axes
    codes = np.concatenate([model.transform(X).ravel(), vae.transform(X).ravel()])
    for patch, one in zip(axes.patches, (model, vae)):
        values, edges, _ = patch.get_data()
        assert (edges[0], edges[-1]) == (codes.min(), codes.max()), "the same bins"
        np.testing.assert_allclose(values, np.histogram(one.transform(X), edges)[0] / 80)
        assert values.sum() == pytest.approx(1)
    assert [text.get_text() for text in axes.get_legend().texts] == ["plain", "VAE"]
    assert len(plot.histogram(model, X).axes[0].patches) == 1


def test_curves():
    figure = plot.curves({"a": ([1, 2], [3, 4]), "b": ([1, 9], [0.1, 5])}, "bits", "error", log="xy", dashed=["b"])
    (axes,) = figure.axes
    assert curves(axes) == {"a": [3, 4], "b": [0.1, 5]}
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("bits", "error")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert plot.curves({"a": ([1, 2], [3, 4])}, "x", "y").axes[0].get_xscale() == "linear"


def test_matrices():
    figure = plot.matrices({"a": np.eye(3), "b": -2 * np.eye(3)})
    a, b = figure.axes[:2]
    np.testing.assert_array_equal(b.images[0].get_array(), -2 * np.eye(3))
    assert a.images[0].get_clim() == b.images[0].get_clim() == (-2, 2), "one scale, 0 in its middle"
    assert (a.get_title(), b.get_title()) == ("a", "b")


def test_filters(X):
    dense = tinyae.Autoencoder(n_components=5, hidden=(), max_iter=1, random_state=0).fit(X)
    weights = dense.net_.encoder[0].weight.data.T.reshape(5, *IMAGES)
    largest = weights[np.argmax(np.linalg.norm(weights, axis=(1, 2)))]
    tiled = plot.filters(dense, IMAGES).axes[0].images[0].get_array()
    assert tiled.shape == (4, 5 * 3 + 4), "a pixel between two filters"
    np.testing.assert_allclose(tiled[:, :3], largest / np.abs(largest).max(), rtol=1e-6)
    assert np.isnan(tiled.filled(np.nan)[:, 3]).all()
    assert plot.filters(dense, IMAGES, n=2).axes[0].images[0].get_array().shape == (4, 7)
    many = tinyae.Autoencoder(n_components=20, max_iter=1, random_state=0).fit(X)
    assert plot.filters(many, IMAGES).axes[0].images[0].get_array().shape == (2 * 4 + 1, 16 * 3 + 15)
    conv = tinyae.ConvolutionalAutoencoder(4, image_shape=IMAGES, max_iter=1, random_state=0).fit(X)
    kernels = plot.filters({"conv": conv}, IMAGES).axes[0]
    kernel = next(p for p in conv.net_.encoder.parameters() if p.ndim == 4).data[:, 0]
    height = kernels.images[0].get_array().shape[0]
    assert kernels.get_title() == "conv" and (height + 1) % (kernel.shape[1] + 1) == 0


def test_filters_need_weights(X):
    own = tinyae.Autoencoder(n_components=12, encoder=tinyae.nn.Sequential(tinyae.nn.ReLU()), max_iter=1).fit(X)
    with pytest.raises(DataError, match="^plot.filters: Autoencoder: the encoder has neither a Linear nor a Conv2d"):
        plot.filters(own, IMAGES)


def test_manifold(vae):
    axes = plot.manifold(vae, IMAGES, n=3, low=-1, high=1.5).axes[0]
    tiled, grid = axes.images[0].get_array(), vae.manifold(3, -1, 1.5)
    assert tiled.shape == (3 * 4 + 2, 3 * 3 + 2)
    np.testing.assert_allclose(tiled[5:9, 8:11], grid[1, 2].reshape(IMAGES), rtol=1e-6)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-1", "1.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1.5", "-1"], "the second component upwards"
    assert axes.get_xticks().tolist() == [1, 9] and axes.get_yticks().tolist() == [1.5, 11.5]


def labels_of(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_traversal(vae, X):
    figure = plot.traversal(vae, X[0], IMAGES, values=(-1, 2), components=[1, 0])
    np.testing.assert_allclose(shown(figure, 0, 2)[1], vae.traverse(X[0], (-1, 2))[1, 1].reshape(IMAGES), rtol=1e-6)
    assert labels_of(figure) == ["component 1", "component 0"]
    assert labels_of(plot.traversal(vae, X[0], IMAGES)) == ["component 0", "component 1"]


def test_interpolation(vae, X):
    figure = plot.interpolation(vae, X[0], X[1], IMAGES, steps=3)
    assert labels_of(figure) == ["pixels", "codes, linear", "codes, spherical"]
    np.testing.assert_allclose(shown(figure, 0, 3), np.stack([X[0], (X[0] + X[1]) / 2, X[1]]).reshape(3, *IMAGES))
    for row, how in ((1, "linear"), (2, "spherical")):
        np.testing.assert_allclose(shown(figure, row, 3)[1], vae.interpolate(X[0], X[1], 3, how)[1].reshape(IMAGES))


def test_neighbours(vae, X):
    figure = plot.neighbours(vae, X, X[[4, 9]], IMAGES, k=3)
    found = vae.neighbours(X, X[[4, 9]], 3)[0]
    for i, query in enumerate((4, 9)):
        row = shown(figure, i, 5)
        np.testing.assert_array_equal(row[0], X[query].reshape(IMAGES))
        assert row[1].mask.all(), "a gap after the query"
        np.testing.assert_array_equal(row[2:], X[found[i]].reshape(3, *IMAGES))


def test_walk(X):
    walker = tinyae.WalkbackAutoencoder(n_components=3, max_iter=1, random_state=0).fit(X)
    figure = plot.walk(walker, X[:2], IMAGES, steps=3, random_state=1)
    for i in range(2):
        row = shown(figure, i, 4)
        np.testing.assert_array_equal(row[0], X[i].reshape(IMAGES))
        for t in (1, 2, 3):
            np.testing.assert_array_equal(row[t], walker.walk(X[:2], t, 1)[i].reshape(IMAGES))


# -- all of them ----------------------------------------------------------------------------------------------------


def test_every_picture_is_a_png_twice_the_same(model, vae, X):
    for draw in (
        lambda: plot.loss(vae),
        lambda: plot.reconstructions(model, X, IMAGES),
        lambda: plot.reconstructions(model, X),
        lambda: plot.samples(vae, IMAGES),
        lambda: plot.latent(model, X, np.arange(40) % 5),
        lambda: plot.curves({"a": ([1, 2], [3, 4])}, "x", "y", log="y"),
        lambda: plot.filters(model, IMAGES),
    ):
        picture = plot.png(draw())
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert picture == plot.png(draw())
        assert b"atplotlib" not in picture, "no version inside: equal pictures are equal bytes"


def test_needs_matplotlib(model, monkeypatch):
    true_import = builtins.__import__

    def guarded(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    with pytest.raises(MissingExtraError, match=r'^plot: matplotlib is not installed. pip install "tinyae\[plot\]"'):
        plot.loss(model)


def test_leaves_matplotlib_alone(tmp_path):
    """No pyplot, hence no backend chosen and no figure left open; and no matplotlib before a picture is asked for."""
    code = (
        "import sys, numpy as np, tinyae\n"
        "from tinyae import plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "X = np.random.default_rng(0).random((9, 4))\n"
        "model = tinyae.Autoencoder(n_components=2, max_iter=1).fit(X)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot.png(plot.loss(model)), plot.png(plot.latent(model, X, np.arange(9))), "
        "plot.png(plot.reconstructions(model, X))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    # Elsewhere than in the repository, whose tinyae/ would be imported instead of the installed one.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
