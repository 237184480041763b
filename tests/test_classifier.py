"""The softmax layer on an encoder: its formula, what is frozen, what is pretrained, labels of any kind, refusals."""

import copy
import functools
import pickle

import numpy as np
import pytest
from tolerances import unit

import tinyae
from tinyae import Classifier, data, kernels, nn
from tinyae.errors import DataError, DivergedError, NotFittedError, SettingError, ShapeError


@functools.cache
def digits():
    """(X, y, held-out X, their y); X read-only."""
    d = data.load_data("digits").split()
    X, T = data.as_float(d.X[:500], scale=16), data.as_float(d.X_test, scale=16)
    X.flags.writeable = False
    return X, d.y[:500], T, d.y_test


@functools.cache
def stack():
    """A pretrained encoder; shared, so not to be changed."""
    return tinyae.StackedSparseAutoencoder(20, hidden=(40,), rho=0.1, penalty=0.3, pretrain_iter=40, max_iter=0,
                                           optimizer="lbfgs", random_state=0).fit(digits()[0])  # fmt: skip


def states(model):
    return {name: value.copy() for name, value in model.net_.state_dict().items()}


def same(left, right):
    return all(np.array_equal(value, right[name]) for name, value in left.items())


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("freeze", [True, False])
def test_probabilities_and_loss_are_their_formulas(freeze):
    X, y, held, held_y = digits()
    settings = {"freeze": freeze, "decay": 0.01, "dtype": "float64", "batch_size": 500, "random_state": 0}
    model = Classifier(stack(), max_iter=1, **settings).fit(X, y, validation_data=(held, held_y))
    layer, linears = model.net_.decoder, [m for m in model.net_.encoder if isinstance(m, nn.Linear)]
    z = held.astype(np.float64)
    for linear in linears:
        z = 1 / (1 + np.exp(-(z @ linear.weight.data + linear.bias.data)))
    p = softmax(z @ layer.weight.data + layer.bias.data)
    np.testing.assert_allclose(model.predict_proba(held), p, rtol=1e-9)
    np.testing.assert_allclose(model.predict_log_proba(held), np.log(p), rtol=1e-9)
    np.testing.assert_array_equal(model.predict(held), p.argmax(axis=1))
    assert model.score(held, held_y) == np.mean(p.argmax(axis=1) == held_y) == model.history_["val_accuracy"][0]
    assert model.history_["val_loss"] == [pytest.approx(-np.log(p[np.arange(len(p)), held_y]).mean(), rel=1e-9)]
    whole = Classifier(stack(), optimizer="lbfgs", max_iter=1, **settings).fit(X, y)  # after the step
    p = whole.predict_proba(X)
    assert whole.history_["cross_entropy"] == [pytest.approx(-np.log(p[np.arange(len(p)), y]).mean(), rel=1e-6)]
    layers = [whole.net_.decoder] + ([] if freeze else [m for m in whole.net_.encoder if isinstance(m, nn.Linear)])
    squares = sum(np.square(linear.weight.data).sum() for linear in layers)
    assert whole.history_["decay"] == [pytest.approx(0.01 * squares, rel=1e-6)]


def test_frozen_then_fine_tuned():
    """Only the softmax layer moves, then all; the encoder that was given never does. Fine-tuned is better."""
    X, y, held, held_y = digits()
    before = states(stack())
    model = Classifier(stack(), freeze=True, optimizer="lbfgs", max_iter=100, warm_start=True, random_state=0).fit(X, y)
    assert same(model.net_.encoder.state_dict(), stack().net_.encoder.state_dict())
    first, loss = model.score(held, held_y), model.history_["loss"][-1]
    head = model.net_.decoder.weight.data.copy()
    model.set_params(freeze=False, optimizer="adam", lr=1e-5, max_iter=1).fit(X, y)
    assert np.abs(model.net_.decoder.weight.data - head).max() < 1e-3, "warm: from where it was"
    # A loss of some 1e-9 is what rounding makes of 0: each row's is log sum exp(a) - a[label], of float32's numbers.
    assert model.history_["loss"][0] == pytest.approx(loss, rel=0.05, abs=unit(np.float32))
    model.set_params(lr=5e-3, max_iter=20).fit(X, y)
    assert not same(model.net_.encoder.state_dict(), stack().net_.encoder.state_dict())
    assert model.score(held, held_y) > first > 0.6
    assert same(states(stack()), before)
    cold = copy.deepcopy(model).set_params(warm_start=False, lr=1e-5, max_iter=1).fit(X, y)
    assert cold.history_["loss"][0] > 10 * loss


def interrupt(problem, epoch):
    """A callback that raises after an epoch."""

    def callback(model, row):
        if row["epoch"] == epoch:
            raise problem

    return callback


def test_interrupted():
    """What was learned stays, with its history; also if nothing was."""
    model = Classifier(max_iter=9, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callbacks=interrupt(KeyboardInterrupt(), 2))
    assert model.n_iter_ == len(model.history_["loss"]) == 2 and model.best_epoch_ in (1, 2)
    assert model.predict(X).shape == Y.shape
    model = Classifier(optimizer="sgd", lr=1e30, decay=1.0, batch_size=4, random_state=0)
    with pytest.raises(DivergedError):
        model.fit(X, Y)
    assert (model.history_, model.n_iter_, model.best_epoch_) == ({}, 0, 0)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("encoder", [tinyae.Autoencoder(2, max_iter=1), nn.Linear(3, 2, generator=0), None],
                         ids=lambda e: type(e).__name__)  # fmt: skip
def test_a_warm_start_that_fails(encoder):
    """Leaves the model as it was, to the order of the next batches; one in another dtype begins where it was."""
    model = Classifier(encoder, warm_start=True, max_iter=2, random_state=0, batch_size=4).fit(X, Y)
    twin, before, history = copy.deepcopy(model), states(model), model.history_
    with pytest.raises(OSError, match="full"):
        model.set_params(lr=0.1).fit(X, Y, callbacks=interrupt(OSError("full"), 2))
    assert same(states(model), before) and model.history_ is history
    for m in (model, twin):
        m.set_params(lr=0.01, dtype="float64", max_iter=1).fit(X, Y)
    assert same(states(model), states(twin)) and not same(states(model), before)
    for name, value in states(model).items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, before[name], atol=0.04)
    assert model.predict_proba(X).dtype == np.float64
    if model.encoder_ is not None:
        inner = getattr(model.encoder_, "net_", None)
        assert model.net_.encoder is (model.encoder_ if inner is None else inner.encoder)


@pytest.mark.parametrize("encoder", [
    tinyae.ConvolutionalAutoencoder(8, max_iter=2, hidden=(4,)),
    tinyae.VAE(8, max_iter=2),
    tinyae.ContractiveAutoencoder(8, max_iter=2),
    tinyae.DenoisingAutoencoder(8, max_iter=2, dtype="float64"),
    nn.Sequential(nn.Linear(64, 8, generator=0), nn.Tanh()),
    None,
], ids=lambda e: type(e).__name__)  # fmt: skip
def test_any_encoder(encoder):
    """Not fitted, it is fitted first; frozen codes are what transform gives; the same seed gives the same bits."""
    X, y, held, held_y = digits()
    settings = {"max_iter": 30, "lr": 0.01, "random_state": 0}
    frozen, tuned, again = (Classifier(encoder, freeze=f, **settings).fit(X, y) for f in (True, False, False))
    assert tuned.score(held, held_y) > 0.75
    assert same(tuned.net_.state_dict(), again.net_.state_dict())
    if encoder is not None and not isinstance(encoder, nn.Module):
        assert not hasattr(encoder, "net_") and frozen.encoder_.n_iter_ == 2
        scores = frozen.encoder_.transform(held) @ frozen.net_.decoder.weight.data + frozen.net_.decoder.bias.data
        np.testing.assert_allclose(frozen.predict_proba(held), softmax(scores), rtol=1e-4, atol=1e-6)
    copied = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(copied.predict_proba(held), tuned.predict_proba(held))


def test_labels_of_any_kind_and_bytes():
    X, y, held, _ = digits()
    names = np.array(["zero", "one", "two"])
    few = y < 3
    model = Classifier(max_iter=20, lr=0.05, random_state=0).fit(X[few], names[y[few]])
    assert list(model.classes_) == ["one", "two", "zero"]
    assert model.score(X[few], names[y[few]]) > 0.95
    assert set(model.predict(held)) <= {"zero", "one", "two"}
    raw = np.random.default_rng(0).integers(0, 256, (40, 7), dtype=np.uint8)
    labels = np.arange(40) % 3
    pixels, bits = Classifier(max_iter=2, random_state=0), Classifier(max_iter=2, random_state=0)
    np.testing.assert_array_equal(
        pixels.fit(raw, labels).predict_proba(raw),
        Classifier(max_iter=2, random_state=0).fit(raw / np.float32(255), labels).predict_proba(raw / np.float32(255)),
    )
    ones = (raw > 128).astype(np.uint8)
    np.testing.assert_array_equal(
        bits.fit(ones, labels).predict_proba(ones),
        Classifier(max_iter=2, random_state=0).fit(ones * 1.0, labels).predict_proba(ones * 1.0),
    )


def test_early_stopping_puts_the_best_back():
    X, y, held, held_y = digits()
    model = Classifier(early_stopping=True, n_iter_no_change=3, max_iter=200, lr=0.3, random_state=0)
    model.fit(X, y, validation_data=(held, held_y))
    assert model.n_iter_ == model.best_epoch_ + 3 < 200
    assert min(model.history_["val_loss"]) == model.history_["val_loss"][model.best_epoch_ - 1]
    log_p = model.predict_log_proba(held)
    assert -log_p[np.arange(len(held)), held_y].mean() == pytest.approx(min(model.history_["val_loss"]), rel=1e-5)
    own = Classifier(early_stopping=True, n_iter_no_change=1, max_iter=50, lr=0.5, random_state=0).fit(X, y)
    assert own.n_iter_ < 50
    rows = []
    stopped = Classifier(random_state=0).fit(X, y, callbacks=lambda model, row: rows.append(row) or True)
    assert stopped.n_iter_ == len(rows) == 1


def test_nested_settings():
    model = Classifier(tinyae.VAE(3), lr=0.1)
    assert model.get_params()["encoder__n_components"] == 3
    assert "encoder__lr" not in model.get_params(deep=False)
    model.set_params(encoder__lr=0.5, lr=0.2)
    assert (model.encoder.lr, model.lr) == (0.5, 0.2)
    with pytest.raises(SettingError, match="no setting 'speed'"):
        model.set_params(speed=1)


X, Y = np.random.default_rng(0).random((12, 3)), np.arange(12) % 3


@pytest.mark.parametrize(("settings", "text"), [
    ({"encoder": 3}, "encoder is a int. Give an autoencoder"),
    ({"max_iter": 0}, "max_iter=0. Give a whole number of at least 1"),
    ({"batch_size": 1.5}, "batch_size=1.5"),
    ({"freeze": 1}, "freeze=1. Give True or False"),
    ({"warm_start": "no"}, "warm_start='no'"),
    ({"dtype": "float16"}, "dtype='float16'. Choose from"),
    ({"decay": -1}, "decay=-1"),
    ({"validation_fraction": 1}, "validation_fraction=1"),
    ({"optimizer": "adagard"}, "^Classifier: optimizer='adagard'. Choose from: adadelta, "),
])  # fmt: skip
def test_bad_settings(settings, text):
    with pytest.raises(SettingError, match=text):
        Classifier(**settings).fit(X, Y)


def test_bad_input():
    model = Classifier(max_iter=1)
    with pytest.raises(NotFittedError, match="Classifier.predict: this model is not fitted"):
        model.predict(X)
    for y, error, text in [
        (None, DataError, "requires y to be passed"),
        (Y[:5], ShapeError, r"y has shape \(5,\), X has 12 row"),
        ([[1, 2], *[[3]] * 11], ShapeError, "y is no array: .*inhomogeneous.* Give one label per row"),
        (np.full(12, np.nan), DataError, "y holds NaN"),
        (np.linspace(0, 1, 12), DataError, "Unknown label type: continuous"),
        (["a", 1, None] * 4, DataError, "y holds NaN or None"),
        (np.array(["a", np.nan, "b"] * 4, object), DataError, "y holds NaN or None"),
        (np.array(["a", 1, "b"] * 4, object), DataError, "y has labels without an order: .*Give one kind"),
    ]:
        with pytest.raises(error, match=text):
            model.fit(X, y)
    assert not hasattr(model, "net_"), "what is refused leaves no trace"
    model.fit(X, Y)
    with pytest.raises(ShapeError, match="expecting 3 features"):
        model.predict(X[:, :2])
    with pytest.raises(DataError, match="has classes that y has not"):
        model.fit(X, Y, validation_data=(X, Y + 1))
    with pytest.raises(DataError, match="has classes that y has not"):
        model.fit(X, Y, validation_data=(X, np.array(["a"] * 12, object)))
    with pytest.raises(ShapeError, match="is no pair"):
        model.fit(X, Y, validation_data=X)
    with pytest.raises(DataError, match="warm_start with classes"):
        model.set_params(warm_start=True).fit(X, Y + 1)
    with pytest.raises(ShapeError, match="expecting 64 features"):
        Classifier(stack()).fit(X, Y)
    with pytest.raises(SettingError, match="cannot be split"):
        Classifier(early_stopping=True).fit(X[:1], Y[:1])
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        Classifier(max_iter=1).fit(X, Y[:, None])


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from:UserWarning")
def test_check_estimator():
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils.estimator_checks import check_estimator

    # Some checks ask for rows that agree to 1e-7 in any order: on NumPy only float64 does.
    dtype = "float32" if kernels.info()["backend"] == "c" else "float64"
    model = Classifier(tinyae.Autoencoder(4, max_iter=1), optimizer="lbfgs", max_iter=15, dtype=dtype)
    checks = check_estimator(model, on_skip=None, on_fail=None)
    assert [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"] == []
