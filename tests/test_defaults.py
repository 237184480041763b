"""What is chosen where nobody has chosen; the yardstick; what is said when it was not enough."""

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tinyae
from tinyae import VAE, ZOO, AnomalyDetector, Autoencoder, Classifier, metrics
from tinyae.ae import defaults
from tinyae.errors import ConvergenceWarning, SettingError

RNG = np.random.default_rng(0)
CAUSES = RNG.standard_normal((300, 2)).astype(np.float32)
TABLE = (CAUSES @ RNG.standard_normal((2, 6)) + 0.1 * RNG.standard_normal((300, 6))).astype(np.float32)


def said(fit):
    """[(category, message)] of what is said while fit() runs, whatever is filtered elsewhere."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    return [(warning.category, str(warning.message)) for warning in caught]


# -- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "batch", "expected"), [
    (1, 64, 4600), (64, 64, 4600), (65, 64, 2300), (23 * 64, 64, 200), (100 * 64, 64, 46), (1000 * 64, 64, 20),
    (320_000, 64, 20), (640_000, 64, 10), (10**7, 64, 1), (10**9, 64, 1), (10, 1, 460), (10_000, 1, 10),
])  # fmt: skip
def test_as_many_epochs_as_make_enough_steps(rows, batch, expected):
    assert defaults.epochs(None, rows, batch) == expected
    assert defaults.epochs(3, rows, batch) == defaults.epochs(np.int64(3), rows, batch) == 3


@pytest.mark.parametrize(("features", "expected"), [(1, 64), (6, 64), (32, 64), (64, 128), (128, 256), (784, 256)])
def test_one_hidden_layer_by_the_datas_width(features, expected):
    model = Autoencoder(2).build(features)
    assert model.hidden is None and model.hidden_ == (expected,)
    assert [w.shape for w in model.net_.parameters() if w.ndim == 2] == [
        (features, expected), (expected, 2), (2, expected), (expected, features)
    ]  # fmt: skip


@pytest.mark.parametrize(("features", "expected"), [(1, 1), (2, 1), (3, 1), (9, 4), (32, 16), (33, 16), (784, 16)])
def test_a_code_shorter_than_the_row(features, expected):
    for model in (Autoencoder(), VAE(hidden=()), Autoencoder(n_components=None)):
        assert model.build(features).n_components_ == expected
        assert model.transform(np.zeros((2, features))).shape == (2, expected)
    assert ZOO["sparse"]().build(features).n_components_ == 32
    assert ZOO["convolutional"](image_shape=(1, 1, features)).build(features).n_components_ == 16
    own = tinyae.nn.Sequential(tinyae.nn.Linear(features, 16))
    assert Autoencoder(encoder=own).build(features).n_components_ == 16


def test_what_is_set_is_what_is_built():
    assert Autoencoder(2, hidden=()).build(6).hidden_ == ()
    assert Autoencoder(2, hidden=[5, np.int64(4)]).build(6).hidden_ == (5, 4)
    assert ZOO["deep"](2).build(6).hidden_ == (128, 64)
    with pytest.raises(SettingError, match="hidden=None"):  # None is a setting where it is the default
        ZOO["deep"](2, hidden=None).build(6)
    for name in ("linear", "sparse", "sparse-kl", "contractive", "onehot", "lstm"):  # whose sentence is of one layer
        assert ZOO[name]().build(4).hidden_ == ()


def test_fit_follows_the_rule_and_keeps_the_settings(tmp_path):
    model = Autoencoder(batch_size=1500, random_state=0)
    short = TABLE[:100]
    model.fit(short, callbacks=lambda m, row: row["epoch"] == 2)
    assert model.max_iter_ == 4600 and model.n_iter_ == 2
    assert (model.n_components, model.max_iter, model.hidden) == (None, None, None)
    again = tinyae.load(model.save(tmp_path / "m.npz"))
    assert again.get_params() == model.get_params() and (again.n_components_, again.hidden_) == (3, (64,))
    assert again.fitted_settings_ == model.fitted_settings_
    assert (again.baseline_, again.max_iter_) == (model.baseline_, 4600)
    np.testing.assert_array_equal(again.transform(short), model.transform(short))
    assert again.set_params(max_iter=1).fit(TABLE[:, :5]).n_components_ == 2


def test_none_is_a_setting_like_any_other():
    sklearn = pytest.importorskip("sklearn.base")
    for cls in (Autoencoder, VAE, Classifier):
        assert sklearn.clone(cls()).max_iter is None
        assert repr(cls()) == f"{cls.__name__}()"
    with pytest.raises(SettingError, match="max_iter='auto'"):
        Autoencoder(max_iter="auto").fit(TABLE)
    for name in ("stacked", "structured-vae"):
        model = ZOO[name](2, pretrain_iter=1, batch_size=300).fit(TABLE, callbacks=lambda m, row: True)
        assert model.max_iter_ == 4600
    # The mean of a structured likelihood is trained as long as its covariance, by the same rule.
    part = ZOO["structured-vae"](2, batch_size=1, random_state=0).build(6)
    part.prepare(TABLE[:230], None)
    assert len(part.pretraining_["loss"]) == 20


# -- the yardstick --------------------------------------------------------------------------------------------------


def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


UNIT = RNG.random((300, 6)).astype(np.float32)
MEAN, VARIANCE = UNIT.mean(axis=0, dtype=np.float64), UNIT.var(axis=0, dtype=np.float64)
GAUSSIAN = 3 * (np.log(2 * np.pi * VARIANCE.mean()) + 1)


@pytest.mark.parametrize(("name", "settings", "expected"), [
    ("vanilla", {}, VARIANCE.mean()),
    ("vanilla", {"loss": "bce"}, entropy(MEAN).mean()),
    ("vanilla", {"output_activation": "tanh"}, VARIANCE.mean()),
    ("sparse-kl", {"loss": "half_sse"}, VARIANCE.sum() / 2),
    ("noise2noise", {"noise": 0.5}, VARIANCE.mean() + 0.25),
    ("walkback", {}, entropy(MEAN).mean()),
    ("stacked", {"pretrain_iter": 0}, VARIANCE.mean()),
    ("vae", {}, entropy(MEAN).sum()),
    ("vae", {"loss": "gaussian"}, GAUSSIAN),
    ("vae", {"loss": "gaussian", "sigma": 0.5}, 3 * np.log(2 * np.pi * 0.25) + VARIANCE.sum() / 0.5),
    ("beta-vae", {}, entropy(MEAN).sum()),
    ("conv-vae", {"hidden": (2,)}, entropy(MEAN).sum()),
    ("structured-vae", {"pretrain_iter": 0}, GAUSSIAN),
    ("gru", {}, VARIANCE.mean()),
])  # fmt: skip
def test_the_baseline_is_the_mean_rows_loss(name, settings, expected):
    model = ZOO[name](2, max_iter=1, random_state=0, **settings).fit(UNIT)
    assert model.baseline_ == pytest.approx(expected, rel=1e-5)  # a row's loss is of float32: 6 terms, a log
    # Of what is compared with, not of what is read.
    assert ZOO[name](2, max_iter=1, random_state=0, **settings).fit(UNIT[::-1], target=UNIT).baseline_ == pytest.approx(
        expected, rel=1e-5
    )


def test_the_baseline_of_bytes_of_padded_rows_and_of_classes():
    pixels = RNG.integers(0, 256, (50, 4), dtype=np.uint8)
    model = Autoencoder(2, max_iter=1).fit(pixels)
    assert model.baseline_ == pytest.approx(np.var(pixels / 255, axis=0).mean(), rel=1e-5)
    X = RNG.random((40, 5)).astype(np.float32)
    X[:20, 3:] = -1.0
    mean = np.where(X == -1, np.nan, X)
    left = np.square(mean - np.nanmean(mean, axis=0))
    model = tinyae.LSTMAutoencoder(2, padding_value=-1.0, max_iter=1).fit(X)
    assert model.baseline_ == pytest.approx(np.nanmean(left, axis=1).mean(), rel=1e-5)
    y = np.array(["a"] * 30 + ["b"] * 10)
    share = np.array([0.75, 0.25])
    assert Classifier(max_iter=1).fit(X, y).baseline_ == pytest.approx(-np.sum(share * np.log(share)))


def test_a_large_table_is_measured_by_some_of_its_rows(monkeypatch):
    monkeypatch.setattr(defaults, "_MEASURED", 600)  # a third of the values
    model = Autoencoder(2, max_iter=1, random_state=0).fit(TABLE)
    assert model.baseline_ == pytest.approx(np.var(TABLE[::3], axis=0).mean(), rel=1e-5)


# -- what is said ---------------------------------------------------------------------------------------------------


def test_enough_is_silent_and_too_little_is_said():
    assert said(lambda: Autoencoder(2, random_state=0).fit(TABLE)) == []
    ((category, text),) = said(lambda: Autoencoder(2, max_iter=1, random_state=0).fit(TABLE))
    assert issubclass(category, ConvergenceWarning)
    assert re.match(r"Autoencoder\.fit: .*no better than the mean row: after 1 epoch its .*: raise max_iter \(", text)
    ((category, text),) = said(lambda: Autoencoder(2, max_iter=12, random_state=0).fit(TABLE))
    assert issubclass(category, ConvergenceWarning) and "still falls" in text and "max_iter=12" in text
    ((category, text),) = said(lambda: Classifier(max_iter=1, random_state=0).fit(TABLE, TABLE[:, 0] > 0))
    assert issubclass(category, ConvergenceWarning) and text.startswith("Classifier.fit: ")
    assert said(lambda: Classifier(random_state=0).fit(TABLE, TABLE[:, 0] > 0)) == []


def test_whoever_stops_is_not_told_that_it_was_early():
    assert said(lambda: Autoencoder(2, random_state=0).fit(TABLE, callbacks=lambda model, row: True)) == []
    ((_, text),) = said(
        lambda: Autoencoder(2, decay=1e-9, random_state=0).fit(TABLE, callbacks=lambda model, row: True)
    )
    assert "decay=1e-09 does nothing" in text


def test_a_stop_that_nobody_asked_for_is_judged():
    model = Autoencoder(2, decay=100.0, early_stopping=True, n_iter_no_change=2, random_state=0)
    ((category, text),) = said(lambda: model.fit(TABLE))
    assert issubclass(category, ConvergenceWarning) and model.n_iter_ < model.max_iter_
    assert "no better than the mean row" in text and "lower decay=100.0" in text


def test_it_is_scikit_learns_where_that_is_loaded():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.warns(exceptions.ConvergenceWarning, match="max_iter"):
        Autoencoder(2, max_iter=1, random_state=0).fit(TABLE)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        Autoencoder(2, max_iter=1, random_state=0).fit(TABLE)
    code = (
        "import sys, warnings, numpy, tinyae; warnings.simplefilter('error'); from tinyae.errors import *\n"
        "try: tinyae.Autoencoder(2, max_iter=1, random_state=0).fit(numpy.eye(9))\n"
        "except ConvergenceWarning as problem: print(type(problem) is ConvergenceWarning, 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        "True False\n"
    )


def test_a_model_is_fitted_even_where_the_warning_is_an_error():
    model = Autoencoder(2, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            model.fit(TABLE)
    assert model.transform(TABLE).shape == (300, 2)


def test_steep_is_not_noise():
    n = np.arange(1, 201)
    steps = RNG.standard_normal(200)
    assert defaults.falls_steeply((1 - n / 250).tolist(), 1.0)
    assert defaults.falls_steeply((1 - n / 250 + 0.01 * steps).tolist(), 1.0)
    assert not defaults.falls_steeply((0.2 + 0 * n).tolist(), 1.0)
    assert not defaults.falls_steeply((0.2 + np.exp(-n / 20)).tolist(), 1.0)
    assert not defaults.falls_steeply((n**-0.4).tolist(), 1.0), "the slow end of every training"
    assert not defaults.falls_steeply((1 + n / 250).tolist(), 1.0)
    noisy = [defaults.falls_steeply((0.2 + 0.2 * RNG.standard_normal(200)).tolist(), 1.0) for _ in range(100)]
    # Of a loss that does not fall, the slope's error hides 98 of 100; of the rest the pace must be steep besides.
    assert sum(noisy) <= 6
    assert not defaults.falls_steeply([0.3], 1.0) and not defaults.falls_steeply([], 1.0)
    assert defaults.falls_steeply([3.0, 2.0], 1.0)
    # Nats have no zero of their own: only distances from the baseline count.
    for shift in (-100.0, 100.0):
        assert defaults.falls_steeply((shift + 1 - n / 250).tolist(), shift + 1.0)
        assert not defaults.falls_steeply((shift + n**-0.4).tolist(), shift + 1.0)


@pytest.mark.parametrize(("name", "setting", "none", "all_"), [
    ("sparse", "penalty", 1e-7, 100.0), ("contractive", "penalty", 1e-9, 1e4), ("vanilla", "decay", 1e-9, 10.0),
    ("beta-vae", "beta", 1e-7, None), ("sparse-kl", "penalty", 1e-8, None), ("linear", "decay", 1e-9, 10.0),
])  # fmt: skip
def test_penalties_that_do_nothing_or_kill_everything(name, setting, none, all_):
    shared = {"random_state": 0, "lr": 0.01, "max_iter": 60}
    idle = said(lambda: ZOO[name](2, **shared, **{setting: none}).fit(UNIT))
    (text,) = [text for category, text in idle if category is RuntimeWarning]
    assert f"{setting}={none!r} does nothing" in text
    off = said(lambda: ZOO[name](2, **shared, **{setting: 0}).fit(UNIT))
    assert RuntimeWarning not in [category for category, _ in off], "0 is a choice"
    if all_ is not None:
        texts = [text for _, text in said(lambda: ZOO[name](2, **shared, **{setting: all_}).fit(UNIT))]
        assert len(texts) == 1 and re.search(rf"dead|no better than the mean row.*lower {setting}=", texts[0])


def test_rows_that_are_all_alike_teach_nothing_and_that_is_no_fault():
    for model in (Autoencoder(2, max_iter=5), VAE(2, loss="gaussian", max_iter=5)):
        assert said(lambda model=model: model.fit(np.full((20, 3), 2.5))) == []
    assert said(lambda: Autoencoder(2, max_iter=5).fit(np.ones((1, 3)))) == []


# -- what it is for -------------------------------------------------------------------------------------------------


def test_a_detector_with_nothing_set_finds_what_pca_finds():
    """Small tables, raw and standardised: after 20 epochs without a hidden layer rows far from all looked best."""
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 9)) + 0.2 * rng.standard_normal((300, 9))
    strange = 2.0 * rng.standard_normal((30, 9))  # as far from the mean as the others, but off their plane
    X, y = np.concatenate([normal, strange]), np.arange(330) >= 300
    for table in (X, (X - X.mean(axis=0)) / X.std(axis=0), np.round(4 * (X - X.min())).astype(np.uint8)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small bytes over 255 are learned slowly, which is said, and more
            detector = AnomalyDetector().set_params(model__random_state=0).fit(table)
        assert metrics.roc_auc(y, -detector.score_samples(table)) > 0.7
