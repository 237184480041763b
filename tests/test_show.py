"""The claims: numbers that make them true, a table that is complete, pictures drawn from what was trained.

All of them in full take a minute or two (-m slow); here are those that a few epochs decide, on small images.
"""

import re

import numpy as np
import pytest

from tinyae import LinearAutoencoder, data, plot, show
from tinyae.errors import DataError, DataNotFoundError, MissingExtraError, SettingError

pytest.importorskip("matplotlib")


def numbers(line):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", line)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The digits at half the size, 4 by 4: (file, X, y)."""
    digits = data.load_data("digits")
    X = digits.X[:700].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)) / 16
    path = str(tmp_path_factory.mktemp("data") / "small.npz")
    np.savez(path, X=X.astype(np.float32), y=digits.y[:700])
    return path, X.reshape(-1, 16), digits.y[:700]


def test_the_table_is_complete():
    assert len(show.CLAIMS) >= 16
    for name, (sentence, function) in show.CLAIMS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) <= 100, sentence
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        assert names == ("data", "seed", "epochs") and function.__defaults__[0] >= 1


def test_a_linear_net_is_pca(images):
    figure, line = show.show("pca", images[0], epochs=600)
    overlap, degrees, found = numbers(line)[:2] + numbers(line)[-1:]
    assert overlap > 0.2 and degrees < 5 and found > 0.99
    gram, mixed, axes = (panel.images[0].get_array() for panel in figure.axes[:3])
    np.testing.assert_allclose(np.diag(gram), 1.0, atol=1e-5)
    np.testing.assert_allclose(axes, np.eye(10), atol=0.15)
    assert np.abs(mixed - np.eye(10)).max() > 0.5
    assert numbers(show.show("pca", images[0], epochs=1)[1])[1] > 30, "before it is trained it is not"


def test_sigma_falls_without_the_kl_term():
    figure, line = show.show("sigma-to-zero", epochs=20)
    epochs, with_kl, without = numbers(line)
    assert epochs == 20 and with_kl > 0.5 and without < 0.05
    curves = {curve.get_label(): curve.get_ydata() for curve in figure.axes[0].lines}
    assert list(curves) == ["KL term's weight 1", "KL term's weight 0"] and {len(c) for c in curves.values()} == {20}
    assert curves["KL term's weight 0"][-1] == pytest.approx(without, abs=1e-4)


def test_a_penalty_makes_codes_sparse(images):
    figure, line = show.show("sparsity", images[0], epochs=20)
    _, zero, alive, error, plain_zero, plain_alive, plain_error = numbers(line)
    assert zero > 1.3 * plain_zero and error > plain_error and 0 < alive <= plain_alive <= 64
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["with L1", "without"]


def test_noise_is_not_compressed():
    figure, _ = show.show("noise-incompressible", epochs=15)
    lost = {curve.get_label(): curve.get_ydata() for curve in figure.axes[0].lines}
    theory, digits, noise = lost["theory for noise"], lost["digits, linear net"], lost["noise, linear net"]
    np.testing.assert_array_equal(theory, 1 - np.array([4, 16, 32, 48]) / 64)
    np.testing.assert_allclose(noise, theory, atol=0.12)
    assert np.all(lost["noise, deep net"] > theory - 0.03)
    assert np.all(digits < theory - 0.15)


def test_pca_as_a_model_is_pca(images):
    _, X, _ = images
    U, s, V = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    model = show._pca(X, 5)
    assert isinstance(model, LinearAutoencoder)
    np.testing.assert_allclose(model.reconstruct(X), X.mean(axis=0) + (U[:, :5] * s[:5]) @ V[:5], atol=1e-5)


def test_jpeg_costs_its_scan(images):
    _, X, _ = images
    bits, errors = show._jpeg(X, (4, 4), (10, 50, 98))
    assert np.all(np.diff(bits) > 0) and np.all(np.diff(errors) < 0)
    assert errors[-1] < 1e-3 and bits[0] > 1
    few, many = (show._jpeg(np.tile(X[:40], (n, 1)), (4, 4), (50,))[0][0] for n in (1, 10))
    assert few == pytest.approx(many, rel=0.1), "per image: no header that more images would share"


def test_distance_to_the_nearest_image(images):
    path, X, _ = images
    loaded = show._images(path)
    expected = np.mean([np.linalg.norm(loaded.X - x, axis=1).min() for x in loaded.X_test])
    assert show._nearest(loaded.X_test, loaded) == pytest.approx(expected, rel=1e-4)
    assert show._nearest(loaded.X, loaded) < 1e-2


def test_foreign_images_where_they_are(images, monkeypatch):
    path, _, _ = images
    loaded = {"mine": show._images(path), "fashion-mnist": show._images(path)}

    def images_of(name):
        if name not in loaded:
            raise DataNotFoundError(name)
        return loaded[name]

    monkeypatch.setattr(show, "_images", images_of)
    loaded["fashion-mnist"].X_test = 1 - loaded["mine"].X_test
    figure, line = show.show("foreign-data", "mine", epochs=2)
    assert line.count("inverted") == line.count("fashion-mnist") == 1
    own, inverted, _, foreign = numbers(line)[:4]
    assert foreign == inverted > own
    assert [text.get_text() for axes in figure.axes for text in axes.texts][-1] == "back (fashion-mnist)"


def test_large_data_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(show, "_ROWS", 20)
    monkeypatch.setattr(show, "_ROWS_TEST", 5)
    loaded = show._images("digits")
    assert [len(a) for a in (loaded.X, loaded.y, loaded.X_test, loaded.y_test)] == [20, 20, 5, 5]
    assert loaded.X.max() == 1 and loaded.X.dtype == np.float32


@pytest.mark.parametrize(("arguments", "problem"), [
    (("no-such-claim",), r"^show: there is no claim 'no-such-claim'. There are: latent-maps, "),
    (("pca", "digits", -1), r"^show: seed=-1. Give a whole number of at least 0.$"),
    (("pca", "digits", 0, 0), r"^show: epochs=0. Give a whole number of at least 1.$"),
])  # fmt: skip
def test_what_cannot_be_shown(arguments, problem):
    with pytest.raises(SettingError, match=problem):
        show.show(*arguments)


def test_data_that_are_no_images():
    with pytest.raises(DataError, match="^show: onehot has no grey images with labels. Give digits, mnist"):
        show.show("pca", "onehot")


def test_matplotlib_is_asked_for_before_the_training(monkeypatch):
    def missing():
        raise MissingExtraError("plot: matplotlib is not installed.")

    monkeypatch.setattr(plot, "require", missing)
    monkeypatch.setattr(show, "_images", None)
    with pytest.raises(MissingExtraError):
        show.show("pca")


# Of each claim's line: what must hold of its numbers.
TRUE = {
    "latent-maps": lambda alone, wide, none, zero, both, kl: alone < both + 1 < none and zero < 0.1 < kl < wide,
    "sigma-to-zero": lambda epochs, with_kl, without: without < 0.01 < 0.5 < with_kl,
    "random-codes": lambda held, plain, scaled, vae: vae < held + 0.3 < min(plain, scaled),
    "kl-curve": lambda zero, least, one, least1: (zero, least, one, least1) == (0, 0, 1, 0),
    "random-image": lambda real, near, noise, far, mixed, far2: real > 0.2 > abs(mixed) and near < min(far, far2),
    "posterior-bells": lambda *both: min(both[:4]) < 0.5 and all(0.5 < v < 2 for v in both[4:]),
    "code-correlations": lambda plain, vae: vae < plain,
    "code-arithmetic": lambda moved, stayed: moved > 50 > stayed,
    "two-factors": lambda first, second, cosine: cosine < 0.5 and first != second,
    "manifold": lambda step, apart, near: step < apart / 4 and near < apart / 2,
    "traversal": lambda used, _, low, high, moved, still: used >= 3 and moved > 5 * still,
    "interpolation": lambda pixels, linear, spherical: max(linear, spherical) < pixels,
    "overcomplete-identity": lambda e0, k0, e1, k1, off, dim, share: e1 < e0 / 50 and off < 0.05,
    "noise-incompressible": lambda k, n, theory, linear, deep, noise, noise2: (
        max(linear, deep) < 0.3 < theory - 0.02 < min(noise, noise2)),
    "foreign-data": lambda own, inverted, shuffled, *others: own < 0.3 < 1 < min(inverted, shuffled),
    "compression": lambda e, bits, jpeg, least, jpeg_least, foreign, jpeg_foreign: (
        bits < jpeg and jpeg_least < least / 50 and jpeg_foreign < foreign / 50),
    "pca": lambda overlap, degrees, found: overlap > 0.2 and degrees < 3 and found > 0.99,
    "sparsity": lambda _, zero, alive, e, z, alive2, e2: zero > 50 > 10 > z and e > e2,
    "filters": lambda without, with_noise: with_noise < without / 3,
    "denoising": lambda noisy, back: back < noisy / 3,
    "walk": lambda first, one, later, steps, held: later < one < first and later < held + 0.2,
    "neighbours": lambda k, codes, by, pixels, n: codes > 90 and codes > pixels - 6,
}  # fmt: skip


def test_a_claim_is_judged_by_its_numbers(images):
    """Trained, a linear net is PCA; after one epoch it is not, and that is what is said."""
    trained, raw = (show.examine("pca", images[0], epochs=epochs) for epochs in (600, 1))
    assert trained.holds and all(trained.bounds.values())
    assert trained.verdict.startswith("holds here: ") and all(bound in trained.verdict for bound in trained.bounds)
    assert not raw.holds and numbers(raw.line)[1] > 5
    failed = [bound for bound, kept in raw.bounds.items() if not kept]
    assert raw.verdict == f"does not hold here, not so: {'; '.join(failed)}"
    assert "the spaces are within five degrees of each other" in failed
    assert raw.sentence == show.CLAIMS["pca"][0] and show.show("pca", images[0], epochs=1)[1].endswith(raw.verdict)


def test_claims_that_need_no_or_little_training():
    for name in ("kl-curve", "random-image"):
        finding = show.examine(name)
        assert finding.holds and TRUE[name](*numbers(finding.line)), finding.line
    correlated = show.examine("code-correlations", epochs=1)
    for panel in correlated.figure.axes[:2]:
        np.testing.assert_allclose(np.diag(panel.images[0].get_array()), 1.0, atol=1e-6)
    bells = show.examine("posterior-bells", epochs=1).figure
    for curve in (curve for axes in bells.axes for curve in axes.lines):
        z, density = curve.get_data()
        assert np.sum(density) * (z[1] - z[0]) == pytest.approx(1, abs=0.05), "a density, but for its tails"
    assert not show.examine("code-arithmetic", epochs=1).holds, "before it is trained it is not"
    assert len(show.examine("two-factors", epochs=1).figure.axes) == 81


def test_a_claim_that_its_numbers_refute():
    """No penalty is left after one epoch of a few rows: no more zeros than without it is no sparse code."""
    finding = show.examine("sparsity", epochs=1)
    zero = numbers(finding.line)[1] / 100
    assert list(finding.bounds.values())[0] == (zero > 0.5) and not finding.holds


@pytest.mark.slow
@pytest.mark.parametrize("name", show.CLAIMS)
def test_the_claims_are_true(name):
    finding = show.examine(name)
    figure, line = finding.figure, finding.line
    assert "\n" not in line + finding.verdict and finding.holds, finding.verdict
    picture = plot.png(figure)
    assert 5_000 < len(picture) < 150_000
    assert TRUE[name](*numbers(line.replace("1: no better", ""))), line
