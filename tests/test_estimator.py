"""The scikit-learn contract and the manners of fit: settings, inputs, targets, stopping, callbacks, interruptions."""

import inspect
import os
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import tinyae
from tinyae import VAE, ZOO, Autoencoder, BetaVAE, DenoisingAutoencoder, data, nn, optim
from tinyae.ae import base
from tinyae.errors import (
    ConvergenceWarning, DataError, DivergedError, DtypeError, NotFittedError, SettingError, ShapeError,
)  # fmt: skip
from tinyae.estimator import Estimator, also_sklearns
from tinyae.mode import mode

X = np.random.default_rng(0).random((60, 6)).astype(np.float32)


def small(**settings):
    return Autoencoder(**{"n_components": 2, "max_iter": 3, "random_state": 0, **settings})


def weights(model):
    return {name: value.copy() for name, value in model.net_.state_dict().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


# -- settings -------------------------------------------------------------------------------------------------------


def test_signature():
    """The names are final, and in this order."""
    final = ["n_components", "hidden", "activation", "loss", "optimizer", "lr", "max_iter", "batch_size",
             "early_stopping", "validation_fraction", "random_state", "verbose", "dtype"]  # fmt: skip
    for cls in ZOO.values():
        for callable_ in (cls, cls.__init__):
            parameters = inspect.signature(callable_).parameters
            assert [name for name in parameters if name in final] == final
        assert next(iter(inspect.signature(cls.__init__).parameters)) == "self"
        assert {name: p.default for name, p in inspect.signature(cls).parameters.items()} == cls.settings()
        kinds = [p.kind.name for p in inspect.signature(cls).parameters.values()]
        assert kinds == ["POSITIONAL_OR_KEYWORD"] + ["KEYWORD_ONLY"] * (len(kinds) - 1)
    assert list(inspect.signature(BetaVAE).parameters)[-2:] == ["sigma", "beta"]
    assert inspect.signature(VAE().__init__) == inspect.signature(VAE)


def test_the_constructor_only_stores():
    hidden, module, odd = [3], nn.Linear(6, 2), object()
    model = Autoencoder(odd, hidden=hidden, encoder=module, lr="nonsense", dtype=None)
    assert model.n_components is odd
    assert model.hidden is hidden
    assert model.encoder is module
    assert vars(model).keys() == Autoencoder.settings().keys()
    assert model.get_params() == {
        **Autoencoder.settings(),
        "n_components": odd,
        "hidden": [3],
        "encoder": module,
        "lr": "nonsense",
        "dtype": None,
    }


def test_get_and_set():
    model = BetaVAE(5, beta=2.0)
    assert model.get_params()["beta"] == model.get_params(deep=False)["beta"] == 2.0
    assert list(model.get_params()) == list(BetaVAE.settings())
    assert model.set_params(beta=3, lr=0.1) is model
    assert (model.beta, model.lr) == (3, 0.1)
    assert model.set_params() is model
    settings = BetaVAE.settings()
    settings["beta"] = 9
    assert BetaVAE.settings()["beta"] == 4.0, "a copy"
    with pytest.raises(
        SettingError, match=r"^Autoencoder: no setting 'beta'\. There are: n_components, hidden, .*decoder\.$"
    ):
        Autoencoder().set_params(beta=1)


def test_unknown_and_doubled_settings():
    with pytest.raises(TypeError, match=r"^VAE: no setting 'code'\. There are: n_components, hidden, .*sigma\.$"):
        VAE(code=3)
    with pytest.raises(TypeError, match=r"^VAE: 2 settings without a name\. Write hidden=\.\.\."):
        VAE(3, (4,))
    with pytest.raises(TypeError, match=r"^VAE: n_components is given twice\.$"):
        VAE(3, n_components=3)


def test_repr_shows_what_was_changed():
    assert repr(VAE()) == "VAE()"
    assert repr(VAE(8, hidden=(3,), lr=0.1)) == "VAE(n_components=8, hidden=(3,), lr=0.1)"
    assert repr(BetaVAE(beta=4.0)) == "BetaVAE()"
    assert repr(BetaVAE(beta=4)) == "BetaVAE(beta=4)"
    assert (
        eval(repr(VAE(8, hidden=(3,), dtype="float64"))).get_params()
        == VAE(8, hidden=(3,), dtype="float64").get_params()
    )
    assert "encoder=Linear(6, 2)" in repr(Autoencoder(encoder=nn.Linear(6, 2)))


def test_a_subclass_lists_what_it_adds():
    class One(Estimator):
        """Two settings."""

        a: int = 1
        b: str = "x"
        not_a_setting = 3

    class Two(One):
        """One more, and another default."""

        c: float = 0.5
        a: int = 7

    class Own(One):
        """A constructor of its own."""

        def __init__(self, a):
            super().__init__(a, b="own")

    assert Two.settings() == {"a": 7, "b": "x", "c": 0.5}
    assert vars(Two(2, c=1)) == {"a": 2, "b": "x", "c": 1}
    assert One.settings() == {"a": 1, "b": "x"}
    assert vars(Own(5)) == {"a": 5, "b": "own"}
    assert str(inspect.signature(Two)) == "(a=7, *, b='x', c=0.5)"
    assert Two.__init__.__qualname__.endswith("Two.__init__")


@pytest.mark.parametrize(("cls", "name", "values"), [
    (Autoencoder, "n_components", [0, -1, 1.5, "3", True, (3,)]),
    (Autoencoder, "hidden", [5, (0,), (3, 1.5), ("a",), "64", (True,)]),
    (Autoencoder, "activation", ["nonsense", 3, "auto", ("relu",)]),
    (Autoencoder, "code_activation", ["nonsense", 3]),
    (Autoencoder, "output_activation", ["nonsense", 3]),
    (Autoencoder, "loss", ["nonsense", None, 3, "bernoulli", ["mse"]]),
    (VAE, "loss", ["mse", "bce"]),
    (Autoencoder, "optimizer", ["nonsense", None, 3]),
    (Autoencoder, "lr", [-1, "fast", np.nan, np.inf, True]),
    (Autoencoder, "max_iter", [0, 1.5, "3"]),
    (Autoencoder, "batch_size", [0, -3, 2.0, None]),
    (Autoencoder, "early_stopping", ["no", None, 1]),
    (Autoencoder, "validation_fraction", [0, 1, -0.1, "a", None, np.nan]),
    (Autoencoder, "n_iter_no_change", [0, 1.5, None]),
    (Autoencoder, "random_state", [-1, "a", 1.5]),
    (Autoencoder, "dtype", ["float16", "int32", None, int, "nonsense"]),
    (Autoencoder, "init", ["nonsense", 3]),
    (Autoencoder, "encoder", ["net", 3]),
    (Autoencoder, "decoder", [nn.Linear]),
    (DenoisingAutoencoder, "noise", [-0.1, "a", None, np.nan, np.inf, True]),
    (VAE, "sigma", [0, -1, "a", np.nan]),
    (BetaVAE, "beta", [-1, None, np.nan, "a"]),
])  # fmt: skip
def test_bad_settings_are_refused_by_fit(cls, name, values):
    """Not by the constructor; with the setting's name and value, in the class that says so."""
    for value in values:
        model = cls(**{"max_iter": 1, name: value})
        with pytest.raises(SettingError, match=rf"\b{name}\b") as caught:
            model.fit(X)
        assert isinstance(caught.value, ValueError)
        assert str(caught.value).startswith(f"{cls.__name__}: ") or name in ("lr", "random_state", "init")
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert not hasattr(model, "history_")


def test_numpy_numbers_are_numbers():
    model = Autoencoder(np.int64(2), hidden=[np.int32(4)], max_iter=np.int16(1), batch_size=np.uint8(20),
                        lr=np.float32(0.01), validation_fraction=np.float64(0.2), early_stopping=np.True_,
                        random_state=np.int64(3), dtype=np.dtype("float64"))  # fmt: skip
    assert model.fit(X).transform(X).dtype == np.float64
    assert VAE(np.int8(100), hidden=[np.int8(100)], max_iter=np.int8(1)).fit(X).transform(X).shape == (60, 100)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adadelta"])
def test_optimizers_by_name(name):
    history = small(optimizer=name, lr=0.01, max_iter=10).fit(X).history_["loss"]
    assert history[-1] < history[0]


def test_an_optimizer_of_ones_own():
    seen = []

    def make(parameters):
        seen.append(parameters)
        return optim.SGD(parameters, lr=0.05, momentum=0.5)

    model = small(optimizer=make).fit(X)
    assert len(seen) == 1
    assert list(map(id, seen[0])) == list(map(id, model.net_.parameters()))
    assert_same(weights(small(optimizer=lambda p: optim.Adam(p)).fit(X)), weights(small().fit(X)))


def test_lr_counts():
    assert small(lr=1e-3).fit(X).history_["loss"] == small().fit(X).history_["loss"]
    assert small(lr=1e-2).fit(X).history_["loss"] != small().fit(X).history_["loss"]


def test_init_by_name_and_callable():
    constant = small(init="zeros").build(6)
    assert not any(value.any() for value in weights(constant).values())
    mine = small(init=lambda shape, rng, dtype: np.full(shape, 0.25)).build(6)
    assert (mine.net_.encoder[0].weight.data == 0.25).all()


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_random_state_may_be_a_generator(make):
    a, b = (small(random_state=make(5)).fit(X) for _ in range(2))
    assert_same(weights(a), weights(b))
    state = make(5)
    c, d = small(random_state=state).fit(X), small(random_state=state).fit(X)
    assert_same(weights(a), weights(c))
    assert not np.array_equal(c.transform(X), d.transform(X)), "it advances"


# -- inputs ---------------------------------------------------------------------------------------------------------


class Sparse:
    """What scipy's matrices have, and all that is looked at."""

    shape, dtype = X.shape, X.dtype

    def toarray(self):
        return X


BAD = [
    (X[0], ShapeError, r"expected a 2D array .*shape \(6,\)\. Reshape your data: .*\.reshape\(-1, 1\)"),
    (np.float32(3), ShapeError, r"2D array .*shape \(\)"),
    (X.reshape(4, 15, 6), ShapeError, r"2D array .*shape \(4, 15, 6\)\. .*reshape\(len\(\w+\), -1\)"),
    (Sparse(), DtypeError, r"sparse \w+ is not supported\. Pass \w+\.toarray\(\)"),
    (np.full((3, 6), "a"), DtypeError, r"dtype <U1\. Give numbers"),
    (np.full((3, 6), "a", object), DtypeError, r"dtype object: could not convert string"),
    (np.array([[None] * 6]), DataError, r"holds 6 value\(s\) that are NaN"),
    ([["a"] * 6], DtypeError, "Give numbers"),
    (np.zeros((3, 6), "datetime64[s]"), DtypeError, r"dtype datetime64\[s\]"),
    (X.astype(complex), DataError, "Complex data not supported"),
    (np.zeros((0, 6)), DataError, r"0 sample\(s\) \(shape=\(0, 6\)\)"),
    (np.zeros((3, 0)), DataError, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
    (
        np.where(np.eye(6) == 1, np.nan, 0.0),
        DataError,
        r"holds 6 value\(s\) that are NaN or infinity, the first, nan, in row 0, column 0",
    ),
    (np.array([[0.0] * 6, [0, 0, -np.inf, 0, 0, 0]]), DataError, r"the first, -inf, in row 1, column 2"),
]


@pytest.mark.parametrize(("bad", "error", "match"), BAD)
def test_bad_input(bad, error, match):
    """One sentence, one class, wherever it is given."""
    model = small(n_components=6).fit(X)
    before = weights(model)
    calls = {
        "fit": lambda: small().fit(bad), "transform": lambda: model.transform(bad),
        "reconstruct": lambda: model.reconstruct(bad), "score_samples": lambda: model.score_samples(bad),
        "score": lambda: model.score(bad), "fit_transform": lambda: small().fit_transform(bad),
        "target": lambda: model.score_samples(X[:3], target=bad), "inverse": lambda: model.inverse_transform(bad),
        "validation": lambda: small().fit(X, validation_data=bad),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(error, match=match) as caught:
            call()
        message = str(caught.value)
        assert message.startswith("Autoencoder."), name
        assert "\n" not in message
        assert len(message) < 300
    assert_same(weights(model), before)


def test_another_number_of_features():
    model = small().fit(X)
    for action in ("transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(
            ShapeError, match=r"^Autoencoder\.\w+: X has 5 features, but Autoencoder is expecting 6 features as input"
        ):
            getattr(model, action)(X[:, :5])
    with pytest.raises(ShapeError, match="Z has 6 features, but Autoencoder is expecting 2"):
        model.inverse_transform(X)
    with pytest.raises(ShapeError, match="validation_data has 5 features"):
        small().fit(X, validation_data=X[:, :5])
    with pytest.raises(ShapeError, match=r"target has shape \(60, 5\), X has \(60, 6\)"):
        small().fit(X, target=X[:, :5])
    with pytest.raises(ShapeError, match=r"target has shape \(59, 6\), X has \(60, 6\)"):
        model.score_samples(X, target=X[1:])
    with pytest.raises(ShapeError, match=r"fit: validation_data: target has shape \(10, 6\), X has \(60, 6\)"):
        small().fit(X, validation_data=(X, X[:10]))
    with pytest.raises(ShapeError, match=r"validation_data is a tuple of 3\. Give \(X, target\)"):
        small().fit(X, validation_data=(X, X, X))


def test_not_fitted(tmp_path):
    model = VAE()
    calls = [lambda: model.transform(X), lambda: model.inverse_transform(X), lambda: model.reconstruct(X),
             lambda: model.score_samples(X), lambda: model.score(X), lambda: model.posterior(X),
             lambda: model.sample(3), lambda: model.save(tmp_path / "m"),
             lambda: model.get_feature_names_out()]  # fmt: skip
    for call in calls:
        with pytest.raises(NotFittedError, match=r"^VAE\.\w+: this model is not fitted\. Call fit\(X\) first\.$"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [ConvergenceWarning, NotFittedError])
def test_what_is_scikit_learns_too_travels_between_processes(kind, tmp_path):
    pytest.importorskip("sklearn.exceptions")
    problem = pickle.loads(pickle.dumps(also_sklearns(kind)("why")))
    assert type(problem) is also_sklearns(kind) and problem.args == ("why",)
    code = f"import pickle, sys; print(type(pickle.loads({pickle.dumps(problem)!r})), 'sklearn' in sys.modules)"
    # Where the tests are started there may be another tinyae/, or another module's name: Python -c looks there first.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"<class 'tinyae.errors.{kind.__name__}'> False\n"


def test_data_that_the_loss_cannot_express():
    with pytest.raises(
        SettingError, match=r"loss='bce' compares probabilities, and the data leave \[0, 1\].*loss='mse'"
    ):
        small(loss="bce").fit(2 * X)
    with pytest.raises(SettingError, match="loss='bernoulli'"):
        VAE().fit(X - 1)
    with pytest.raises(SettingError, match="loss='bce'"):
        small(loss="bce").fit(X, target=-X)
    with pytest.raises(SettingError, match="loss='bce'"):
        small(loss="bce").fit(X, validation_data=2 * X)
    small(loss="bce").fit(2 * X, target=X, validation_data=(2 * X, X))
    VAE(2, loss="gaussian", max_iter=1).fit(9 * X)
    late = np.full((300, 5000), 0.5, np.float32)
    late[-1, -1] = 1.5
    with pytest.raises(SettingError, match="leave"):
        small(loss="bce").fit(late)


@pytest.mark.parametrize("convert", [
    np.ndarray.tolist, np.asfortranarray, lambda x: x.astype(np.float64), lambda x: x.astype(object),
    lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: x[::-1][::-1],
], ids=["list", "fortran", "float64", "object", "strided", "negative"])  # fmt: skip
def test_forms_of_the_same_table(convert):
    assert_same(weights(small().fit(convert(X.copy()))), weights(small().fit(X)))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float16])
def test_other_numbers(dtype):
    binary = (X > 0.5).astype(dtype)
    model = small().fit(binary)
    assert model.output_activation_ == "sigmoid"
    assert_same(weights(model), weights(small().fit(binary.astype(np.float32))))


def test_the_input_is_not_changed():
    mine = X.copy()
    small(early_stopping=True).fit(mine, target=mine, validation_data=mine).transform(mine)
    np.testing.assert_array_equal(mine, X)


def test_float64():
    model = small(dtype="float64", hidden=(4,)).fit(X)
    assert {value.dtype for value in weights(model).values()} == {np.dtype("float64")}
    assert model.transform(X).dtype == model.reconstruct(X).dtype == model.score_samples(X).dtype == np.float64
    rough = small(hidden=(4,)).fit(X)
    np.testing.assert_allclose(model.transform(X), rough.transform(X), atol=1e-4)
    assert not np.array_equal(model.transform(X), rough.transform(X))


def test_a_memory_map_is_read_by_batches(tmp_path):
    """48 MB on the disk, in float32: neither held nor converted as a whole, and the same bits as from memory."""
    rows = 60_000
    table = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float32, shape=(rows, 200))
    table[:] = np.random.default_rng(0).random((rows, 1), dtype=np.float32)
    table.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = small(hidden=(), max_iter=1, batch_size=2000)
    tracemalloc.start()
    try:
        model.fit(X, validation_data=X)
        codes = model.transform(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.3 * X.nbytes
    part = np.array(X[:4000])
    assert_same(weights(small(max_iter=1).fit(X[:4000])), weights(small(max_iter=1).fit(part)))
    np.testing.assert_array_equal(codes[:4000], model.transform(part))


def test_early_stopping_cuts_a_large_table(monkeypatch):
    """What may not fit into memory is cut in two, not copied."""
    seen = []
    monkeypatch.setattr(base, "IN_MEMORY", X.nbytes - 1)
    monkeypatch.setattr(base, "batches", lambda X, *args, **kwargs: seen.append(X) or data.batches(X, *args, **kwargs))
    target = X[::-1].copy()
    small(early_stopping=True, max_iter=1).fit(X, target=target)
    assert [len(part) for part in seen] == [54, 6]
    assert all(np.shares_memory(part, X) for part in seen)
    np.testing.assert_array_equal(seen[1], X[54:])


# -- a last batch of one row ----------------------------------------------------------------------------------------


def normed(width=2):
    return nn.Sequential(nn.Linear(6, 8, generator=0), nn.BatchNorm1d(8), nn.ReLU(),
                         nn.Linear(8, width, generator=1))  # fmt: skip


@pytest.mark.parametrize("rows", [17, 33, 49])
@pytest.mark.parametrize("cls", [Autoencoder, VAE, tinyae.AnnealedVAE])
def test_a_lone_row_joins_the_batch_before_under_batch_norm(cls, rows):
    """And every epoch sees every row once, by a plan as without."""
    table, losses = np.random.default_rng(0).random((rows, 6)), []
    for compiled in (True, False):
        model = cls(2, encoder=normed(2 if cls is Autoencoder else 4), batch_size=16, max_iter=30, random_state=0,
                    compile=compiled).fit(table)  # fmt: skip
        losses.append(model.history_["loss"])
        assert np.isfinite(model.score_samples(table[:1])).all()
        if cls is tinyae.AnnealedVAE:
            assert model.net_.clock.item() == pytest.approx(30, rel=1e-4)  # 60 sums in float32
    np.testing.assert_allclose(*losses, rtol=1e-4)  # as promised of a plan
    assert np.isfinite(losses).all()


def test_a_lone_row_without_batch_norm_is_a_batch(monkeypatch):
    """As ever: its bits stay."""
    seen = []
    monkeypatch.setattr(Autoencoder, "corrupt", lambda self, x: seen.append(len(x)) or x)
    small(max_iter=1, batch_size=59, compile=False).fit(X)
    assert seen == [59, 1]


def test_a_lone_row_of_a_classifier():
    y = np.arange(len(X)) % 3
    for freeze in (False, True):
        model = tinyae.Classifier(normed(), freeze=freeze, batch_size=59, max_iter=2, random_state=0).fit(X, y)
        assert np.isfinite(model.history_["loss"]).all()


def test_batches_of_one_row_under_batch_norm_are_refused():
    for settings, table in (({"batch_size": 1}, X), ({}, X[:1])):
        with pytest.raises(ShapeError, match="Train on batches of at least two"):
            Autoencoder(2, encoder=normed(), random_state=0, **settings).fit(table)


# -- fit ------------------------------------------------------------------------------------------------------------


def test_what_fit_leaves():
    model = small(max_iter=4)
    assert model.fit(X, np.arange(60)) is model
    assert (model.n_features_in_, model.n_components_, model.n_iter_, model.output_activation_) == (6, 2, 4, "sigmoid")
    assert list(model.history_) == ["epoch", "loss", "seconds"]
    assert model.history_["epoch"] == [1, 2, 3, 4]
    assert model.best_epoch_ == 1 + int(np.argmin(model.history_["loss"]))
    assert not model.net_.training
    np.testing.assert_array_equal(small().fit_transform(X), small().fit(X).transform(X))
    np.testing.assert_array_equal(small().fit_transform(X, target=1 - X), small().fit(X, target=1 - X).transform(X))


def test_the_recorded_loss_is_the_mean_over_rows():
    """With lr 0 nothing moves, so every epoch's loss is the score; 60 rows in batches of 25, 25 and 10."""
    model = small(optimizer="sgd", lr=0.0, batch_size=25, dtype="float64").fit(X)
    assert model.history_["loss"] == pytest.approx([-model.score(X)] * 3, rel=1e-12)
    model = small(optimizer="sgd", lr=0.0, batch_size=25, dtype="float64").fit(X, target=1 - X)
    assert model.history_["loss"] == pytest.approx([-model.score_samples(X, target=1 - X).mean()] * 3, rel=1e-12)


def test_batches_are_shuffled_anew_in_every_epoch(monkeypatch):
    seen = []

    def spy(table, *args, **kwargs):
        for batch in data.batches(table, *args, **kwargs):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(base, "batches", spy)
    small(batch_size=20, max_iter=2).fit(X)
    assert [len(batch) for batch in seen] == [20] * 6
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, X)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(X, axis=0))


def test_validation_data_with_and_without_target():
    held = X[:20]
    plain = small().fit(X, validation_data=held)
    assert plain.history_["val_loss"] == small().fit(X, validation_data=(held, None)).history_["val_loss"]
    paired = small().fit(X, validation_data=(held, 1 - held))
    assert_same(weights(paired), weights(plain))
    assert paired.history_["val_loss"][-1] == pytest.approx(
        -paired.score_samples(held, target=1 - held).mean(), rel=1e-6
    )
    assert paired.history_["val_loss"] != plain.history_["val_loss"]


def test_early_stopping_restores_the_best():
    """On noise the validation loss soon rises; the model that stays is that of the best epoch."""
    held = np.random.default_rng(1).random((40, 6)).astype(np.float32)
    settings = {
        "n_components": 6,
        "hidden": (64,),
        "lr": 0.02,
        "max_iter": 500,
        "early_stopping": True,
        "n_iter_no_change": 4,
    }
    states = []
    model = small(**settings).fit(
        X[:8], validation_data=held, callbacks=[lambda model, row: states.append(weights(model))]
    )
    losses = model.history_["val_loss"]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    assert model.n_iter_ == len(losses) == model.best_epoch_ + 4 < 500
    assert -model.score(held) == pytest.approx(min(losses), rel=1e-6)
    assert_same(weights(model), states[model.best_epoch_ - 1])
    longer = small(**{**settings, "n_iter_no_change": 6}).fit(X[:8], validation_data=held)
    assert longer.history_["val_loss"][: len(losses)] == losses
    assert longer.n_iter_ == longer.best_epoch_ + 6


def test_early_stopping_holds_rows_out(monkeypatch):
    seen = []
    monkeypatch.setattr(
        base,
        "batches",
        lambda X, *args, **kwargs: seen.append((X, kwargs.get("target"))) or data.batches(X, *args, **kwargs),
    )
    model = small(early_stopping=True, validation_fraction=0.25, max_iter=1).fit(X, target=1 - X)
    (train, train_target), (held, held_target) = seen
    assert (len(train), len(held)) == (45, 15)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held]), axis=0), np.sort(X, axis=0))
    np.testing.assert_allclose(train_target, 1 - train, rtol=1e-6)
    np.testing.assert_allclose(held_target, 1 - held, rtol=1e-6)
    assert not np.array_equal(held, X[:15])
    assert "val_loss" in model.history_
    tiny = small(early_stopping=True, max_iter=1).fit(X[:2])
    assert tiny.n_iter_ == 1
    with pytest.raises(SettingError, match=r"1 row\(s\) cannot be split for early stopping\. Pass validation_data"):
        small(early_stopping=True).fit(X[:1])


def test_callbacks_get_the_model_and_the_row():
    seen = []

    def watch(model, row):
        seen.append((model, dict(row), model.score(X)))
        return row["epoch"] == 2

    model = small(max_iter=9).fit(X, callbacks=[watch])
    assert [m is model for m, _, _ in seen] == [True, True]
    assert [row["loss"] for _, row, _ in seen] == model.history_["loss"]
    assert model.n_iter_ == 2
    assert seen[-1][2] == model.score(X)
    assert small().fit(X, callbacks=()).n_iter_ == 3


def test_interrupted():
    """Ctrl-C: the best weights, the history, and the interruption itself."""
    states, losses = [], []

    def interrupt(model, row):
        states.append(weights(model))
        losses.append(row["val_loss"])
        if losses[-1] > min(losses):
            raise KeyboardInterrupt

    model = small(n_components=6, hidden=(64,), lr=0.05, max_iter=500)
    held = np.random.default_rng(1).random((40, 6)).astype(np.float32)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:8], validation_data=held, callbacks=[interrupt])
    assert model.history_["val_loss"] == losses
    assert model.n_iter_ == len(losses) == model.best_epoch_ + 1
    assert -model.score(held) == pytest.approx(min(losses), rel=1e-6)
    assert_same(weights(model), states[-2])


def test_diverged():
    """A huge step: a clear error, and the weights are those of the start."""
    model = small(lr=1e30, optimizer="sgd", output_activation="linear", batch_size=10)
    start = weights(small(output_activation="linear").build(6))
    with pytest.raises(
        DivergedError,
        match=r"^train: the loss became \w+ in epoch 1, batch \d+ \(lr 1e\+30\)\. Lower lr, or scale the data",
    ):
        model.fit(X)
    assert_same(weights(model), start)
    assert (model.history_, model.n_iter_, model.best_epoch_) == ({}, 0, 0)
    assert np.isfinite(model.transform(X)).all()


def test_the_epoch_that_is_kept():
    assert small(max_iter=3).fit(X).kept_epoch_ == 3
    model = small(max_iter=500, early_stopping=True, n_iter_no_change=2, lr=0.05).fit(X)
    assert model.kept_epoch_ == model.best_epoch_ < model.n_iter_


@pytest.mark.parametrize("cls", [tinyae.StackedAutoencoder, tinyae.StructuredVAE])
def test_diverged_before_the_training_proper(cls):
    """In the pretraining: not fitted, or as it was."""
    settings = {"n_components": 2, "hidden": (3,), "loss": "gaussian" if cls is tinyae.StructuredVAE else "mse"}
    model = cls(**settings, lr=1e30, optimizer="sgd", random_state=0)
    with pytest.raises(DivergedError):
        model.fit(1e3 * X)
    assert not hasattr(model, "net_") and not hasattr(model, "history_")
    model.set_params(optimizer="adam", lr=1e-3, max_iter=1).fit(X)
    before = dict(vars(model))
    with pytest.raises(DivergedError):
        model.set_params(optimizer="sgd", lr=1e30).fit(1e3 * X)
    assert {**vars(model), "optimizer": "adam", "lr": 1e-3} == before


def test_diverged_later():
    states = []

    def spoil(model, row):
        states.append(weights(model))
        if row["epoch"] == 3:
            for p in model.net_.parameters():
                p.data = np.full(p.shape, np.nan, p.dtype)

    model = small(max_iter=9)
    with pytest.raises(DivergedError, match="epoch 4, batch 1"):
        model.fit(X, callbacks=[spoil])
    assert_same(weights(model), states[model.best_epoch_ - 1])
    assert model.n_iter_ == 3 and model.kept_epoch_ == model.best_epoch_
    assert len(model.history_["loss"]) == 3


def test_silent_unless_verbose(capsys):
    small(early_stopping=True).fit(X)
    assert capsys.readouterr() == ("", "")
    small(verbose=True).fit(X, validation_data=X)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split()[1] for line in shown.err.splitlines()] == ["1/3", "2/3", "3/3"]
    assert "val_loss" in shown.err
    assert shown.err.count(f"  mean_row {np.var(X, axis=0).mean():.4g}  ") == 3


# -- transform of a layer, and nets of one's own --------------------------------------------------------------------


def test_transform_of_a_layer():
    model = small(hidden=(5, 4)).fit(X)
    encoder = list(model.net_.encoder)
    h = X
    for i, layer in enumerate(encoder):
        h = layer(tinyae.Tensor(h)).data
        np.testing.assert_allclose(model.transform(X, layer=i), h, atol=1e-6)
        np.testing.assert_array_equal(model.transform(X, layer=i - len(encoder)), model.transform(X, layer=i))
    np.testing.assert_array_equal(model.transform(X, layer=-1), model.transform(X))
    assert model.transform(X, layer=np.int64(0)).shape == (60, 5)
    for layer in (len(encoder), -len(encoder) - 1, 0.5, "code"):
        with pytest.raises(SettingError, match=r"layer=.*the encoder has layers 0 to 5"):
            model.transform(X, layer=layer)
    vae = VAE(2, max_iter=1).fit(X)
    np.testing.assert_array_equal(vae.transform(X, layer=-1)[:, :2], vae.transform(X))


class Doubling(nn.Module):
    """An encoder that is no Sequential."""

    def __init__(self):
        self.inner = nn.Linear(6, 2, generator=0)

    def forward(self, x):
        return self.inner(x) * 2.0


def test_own_modules_are_copied():
    encoder, decoder = Doubling(), nn.Sequential(nn.Linear(2, 6, generator=1), nn.Sigmoid())
    before = encoder.state_dict()
    model = small(encoder=encoder, decoder=decoder, dtype="float64", lr=0.1).fit(X)
    assert model.encoder is encoder
    assert model.net_.encoder is not encoder
    assert_same(encoder.state_dict(), before)
    assert encoder.inner.weight.dtype == np.float32
    assert {value.dtype for value in weights(model).values()} == {np.dtype("float64")}
    assert not np.allclose(model.net_.encoder.inner.weight.data, before["inner.weight"])
    np.testing.assert_array_equal(model.transform(X, layer=0), model.transform(X))
    assert 0 < model.reconstruct(X).min() < model.reconstruct(X).max() < 1
    built = small(encoder=encoder).build(6)
    np.testing.assert_allclose(built.transform(X), encoder(tinyae.Tensor(X)).data, atol=1e-6)
    assert_same(weights(model), weights(small(encoder=encoder, decoder=decoder, dtype="float64", lr=0.1).fit(X)))


def test_an_empty_net_is_a_net():
    """Sequential() has length 0, which must not be taken for None."""
    model = Autoencoder(6, encoder=nn.Sequential(), max_iter=1).fit(X)
    np.testing.assert_array_equal(model.transform(X), X)


def test_own_modules_of_the_wrong_width():
    with pytest.raises(
        ShapeError,
        match=r"^Autoencoder: your encoder maps a row of 6 to \(3,\), expected \(2,\)\. "
        r"n_components is 2, the data have 6",
    ):
        small(encoder=nn.Linear(6, 3)).fit(X)
    with pytest.raises(ShapeError, match=r"your decoder maps a row of 2 to \(5,\), expected \(6,\)"):
        small(decoder=nn.Linear(2, 5)).fit(X)
    with pytest.raises(ShapeError, match=r"\(1, 6\)"):
        small(encoder=nn.Linear(7, 2)).fit(X)
    with pytest.raises(ShapeError, match=r"your encoder maps a row of 6 to \(2,\), expected \(4,\)"):
        VAE(2, encoder=nn.Linear(6, 2)).fit(X)
    VAE(2, encoder=nn.Linear(6, 4), max_iter=1).fit(X)


def test_dropout_only_while_training():
    encoder = nn.Sequential(nn.Dropout(0.5, 0), nn.Linear(6, 2, generator=0))
    model = small(encoder=encoder, max_iter=1).fit(X)
    np.testing.assert_array_equal(model.transform(X), model.transform(X))
    assert model.score(X) == model.score(X)
    quiet = small(encoder=nn.Sequential(nn.Linear(6, 2, generator=0)), max_iter=1).fit(X)
    assert model.history_["loss"] != quiet.history_["loss"]
    looks = []
    model.fit(X, callbacks=[lambda model, row: looks.extend([model.score(X), model.score(X)])])
    assert looks == [model.score(X)] * 2
    model.fit(X, callbacks=[lambda model, row: looks.append(model.transform(X))])
    np.testing.assert_array_equal(looks[-1], model.transform(X))


# -- build ----------------------------------------------------------------------------------------------------------


def test_build():
    model = small(hidden=(4,))
    assert model.build(6) is model
    assert model.transform(X).shape == (60, 2)
    assert model.reconstruct(X).min() > 0
    assert_same(weights(model), weights(small(hidden=(4,)).build(np.int64(6))))
    for n in (0, -1, 2.5, "6", None):
        with pytest.raises(SettingError, match="n_features="):
            model.build(n)
    seen = []
    small(hidden=(4,), lr=0.0, optimizer="sgd").fit(X, callbacks=[lambda m, row: seen.append(weights(m))])
    assert_same(seen[0], weights(model))


# -- scikit-learn ---------------------------------------------------------------------------------------------------


def test_it_is_not_imported(tmp_path):
    """Settings, fit, transform, save: all without scikit-learn, or inspect and json before they are needed."""
    code = (
        "import sys, numpy, tinyae; tinyae.VAE(2, max_iter=1).fit(numpy.eye(4)).score(numpy.eye(4)); "
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "False\n"


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from:UserWarning")
@pytest.mark.filterwarnings("ignore:.* does nothing:RuntimeWarning")  # default penalties, on rows of any scale
@pytest.mark.parametrize("name", sorted(ZOO))
def test_check_estimator(name):
    """Every check, for every variant that has a loss for any real data; the others refuse such data, which is no
    failure.
    """
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils.estimator_checks import check_estimator

    loss = {"bce": "mse", "bernoulli": "gaussian"}.get(ZOO[name].loss, ZOO[name].loss)
    # Two checks ask for rows that agree to 1e-7 in any order: on NumPy only float64 does.
    dtype = "float32" if tinyae.kernels.info()["backend"] == "c" else "float64"
    checks = check_estimator(ZOO[name](max_iter=2, loss=loss, dtype=dtype), on_skip=None, on_fail=None)
    assert [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"] == []


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from:UserWarning")
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")  # they try it, too
@pytest.mark.parametrize("model", [
    *(ZOO[name](max_iter=1) for name in sorted(ZOO)), tinyae.AnomalyDetector(Autoencoder(2, max_iter=1)),
    tinyae.Classifier(max_iter=1),
], ids=lambda model: type(model).__name__)  # fmt: skip
def test_frames_as_scikit_learn_has_them(model):
    """The checks of names and of set_output, which check_estimator leaves to scikit-learn's own estimators."""
    pytest.importorskip("sklearn", minversion="1.6")
    pytest.importorskip("pandas")
    from sklearn.utils import estimator_checks as checks

    loss = {"bce": "mse", "bernoulli": "gaussian"}.get(getattr(model, "loss", None))
    if loss is not None:
        model.set_params(loss=loss)  # the tables are of any real numbers
    names = ["check_dataframe_column_names_consistency"]
    if hasattr(model, "transform"):
        names += ["check_set_output_transform", "check_set_output_transform_pandas",
                  "check_global_output_transform_pandas"]  # fmt: skip
    for name in names:
        getattr(checks, name)(type(model).__name__, model)


def test_tags_and_names():
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils import get_tags

    tags = get_tags(Autoencoder(dtype="float64"))
    assert tags.transformer_tags.preserves_dtype == ["float64"]
    assert get_tags(VAE()).transformer_tags.preserves_dtype == ["float32"]
    assert list(VAE(2).build(3).get_feature_names_out()) == ["vae0", "vae1"]
    assert VAE(2).build(3).get_feature_names_out().dtype == object


# -- Ctrl-C, anywhere -----------------------------------------------------------------------------------------------


def lines_of(function, stop=None):
    """Run function; returns how many lines of tinyae it took. The one of number stop is where Ctrl-C comes."""
    package, count = os.path.dirname(tinyae.__file__), 0

    def trace(frame, event, argument):
        nonlocal count
        file = frame.f_code.co_filename
        # The mode is put back by its own lines: who comes between them would find out nothing of fit.
        if not file.startswith(package) or file.endswith("mode.py"):
            return None
        if event == "line":
            count += 1
            if count == stop:
                raise KeyboardInterrupt
        return trace

    before, errors = sys.gettrace(), np.geterr()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        # A trace may raise at the very end of a `with`, where no signal is looked for: nobody put back what it set.
        mode.recording = True
        np.seterr(**errors)
    return count


def assert_whole(model, X):
    """Not fitted at all, or fitted as any other."""
    if not hasattr(model, "net_"):
        assert not [name for name in vars(model) if name.endswith("_")], vars(model)
        with pytest.raises(NotFittedError):
            model.predict(X) if isinstance(model, tinyae.Classifier) else model.transform(X)
        return
    assert not any(module.training for module in model.net_.modules())
    assert {len(column) for column in model.history_.values()} <= {model.n_iter_}
    assert 0 <= model.best_epoch_ <= model.n_iter_
    if isinstance(model, tinyae.Classifier):
        assert len(model.predict(X)) == len(X)
        return
    assert 0 <= model.kept_epoch_ <= model.n_iter_
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score(X))


INTERRUPTED = {
    "plain": lambda: Autoencoder(2, max_iter=3, batch_size=5, random_state=0),
    "early stopping": lambda: VAE(2, max_iter=3, batch_size=10, early_stopping=True, random_state=0),
    "stacked": lambda: tinyae.StackedAutoencoder(2, hidden=(3,), max_iter=2, pretrain_iter=1, random_state=0),
    "structured": lambda: tinyae.StructuredVAE(2, hidden=(3,), max_iter=1, random_state=0),
    "lbfgs": lambda: Autoencoder(2, optimizer="lbfgs", max_iter=2, random_state=0),
    "classifier": lambda: tinyae.Classifier(small(), max_iter=2, batch_size=5, random_state=0),
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_ctrl_c_anywhere_leaves_a_model_whole_or_none(name):
    """At lines spread over all that a fit runs, the first and the last hundred among them."""
    table, labels = X[:20], np.arange(20) % 2
    total = [lines_of(lambda model=INTERRUPTED[name](): model.fit(table, labels)) for _ in range(2)][1]
    stops = {*range(1, 100, 7), *range(total - 100, total, 7), *np.linspace(1, total, 20).astype(int).tolist()}
    fitted = 0
    for stop in sorted(stops):
        model = INTERRUPTED[name]()
        with pytest.raises(KeyboardInterrupt):
            lines_of(lambda model=model: model.fit(table, labels), stop)
        try:
            assert_whole(model, table)
        except (AssertionError, AttributeError) as problem:
            raise AssertionError(f"interrupted at line {stop} of {total}") from problem
        fitted += hasattr(model, "net_")
    assert 0 < fitted < len(stops)
