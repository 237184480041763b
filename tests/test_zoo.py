"""What every autoencoder promises, asked of each in ZOO by loop, and then the truths that one of them must know.

A variant needs no test of its own to be here. The loops use the settings it ships with, on small nets and few epochs.
"""

import copy
import functools
import inspect
import pickle
import re

import numpy as np
import pytest

import tinyae
from tinyae import ZOO, Tensor, data, kernels, nn
from tinyae.engine import no_grad
from tinyae.errors import SettingError

NAMES = sorted(ZOO)
LOSSES = [(name, loss) for name in NAMES for loss in ZOO[name].losses]
SMALL = {"n_components": 3, "max_iter": 3, "batch_size": 32, "random_state": 0}


@functools.cache
def digits():
    """(training rows, held-out rows) in [0, 1]; read-only, so that a test that writes into its input fails."""
    X = data.as_float(data.load_data("digits").X[:800], scale=16)
    X.flags.writeable = False
    return X[:600], X[600:]


def make(name, **settings):
    return ZOO[name](**{**SMALL, **settings})


@functools.cache
def fitted(name, dtype="float32"):
    """A model to look at, not to change: it is shared."""
    return make(name, dtype=dtype).fit(digits()[0], validation_data=digits()[1])


def answers(model):
    """Everything that a fitted model says about a few rows."""
    X = digits()[1][:20]
    said = {
        "transform": model.transform(X),
        "reconstruct": model.reconstruct(X),
        "score_samples": model.score_samples(X),
    }
    said["inverse_transform"] = model.inverse_transform(said["transform"])
    if hasattr(model, "posterior"):
        said["mean"], said["deviation"] = model.posterior(X)
    if hasattr(model, "sample"):
        said["sample"] = model.sample(5, random_state=1)
    return said


def assert_same(left, right):
    """Equal to the bit, dtypes included."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert value.dtype == right[key].dtype, key
        np.testing.assert_array_equal(value, right[key], err_msg=key)


def losses_of(model):
    return {name: column for name, column in model.history_.items() if name != "seconds"}


# -- every variant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_learns(name, loss):
    """The loss falls, on the rows and on others."""
    train, held = digits()
    model = make(name, loss=loss, max_iter=5).fit(train, validation_data=held)
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    assert model.history_["val_loss"][-1] < model.history_["val_loss"][0]
    untrained = make(name, loss=loss).build(64)
    assert model.score(held) > untrained.score(held)


@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_gradient_of_the_whole_model(name, loss, hidden, rng):
    """In float64, for the input and every parameter at once, with noise and buffers repeated at each evaluation."""
    model = make(name, loss=loss, hidden=hidden, dtype="float64").build(6)
    names, start = zip(*((n, p.data) for n, p in model.net_.named_parameters()))
    assert all(p.dtype == np.float64 for p in start)
    start = [p + 0.3 * rng.standard_normal(p.shape) for p in start]  # zero biases and log_sigma would hide something

    buffers = {}

    def per_row(x, *weights):
        model.noise_.counter = 0
        for buffer, value in buffers.items():  # such as a clock
            buffer.data = value
        put(model.net_, dict(zip(names, weights, strict=True)))
        return functools.reduce(lambda a, b: a + b, model.loss_terms(x, x).values())

    assert per_row(Tensor(np.full((5, 6), 0.5)), *map(Tensor, start)).shape == (5,)
    buffers = {buffer: buffer.data.copy() for buffer in model.net_.buffers()}
    assert tinyae.gradcheck(per_row, rng.uniform(0.1, 0.9, (5, 6)), *start)


def put(net, values):
    """Set parameters, by their dotted names, to Tensors that gradcheck made."""
    for path, module in net.named_modules():
        for attribute in list(vars(module)):
            full = f"{path}.{attribute}".removeprefix(".")
            if full in values:
                setattr(module, attribute, values.pop(full))
    assert not values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_save_and_load(name, dtype, tmp_path):
    model = fitted(name, dtype)
    path = tmp_path / "model.npz"
    assert model.save(path) == path
    again = tinyae.load(path)
    assert type(again) is type(model)
    assert again.get_params() == model.get_params()
    assert_same(answers(again), answers(model))
    assert again.history_ == losses_of(model)
    fitted_state = {k: v for k, v in vars(model).items() if k.endswith("_") and isinstance(v, (int, str, bool, float))}
    assert fitted_state.items() <= vars(again).items()
    assert (again.noise_.key, again.noise_.counter) == (model.noise_.key, model.noise_.counter)
    assert not any(module.training for module in again.net_.modules())
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes(), "equal models are equal files"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name, dtype):
    model = fitted(name, dtype)
    shapes = {"transform": (20, 3), "reconstruct": (20, 64), "score_samples": (20,), "inverse_transform": (20, 64),
              "mean": (20, 3), "deviation": (20, 3), "sample": (5, 64)}  # fmt: skip
    for key, value in answers(model).items():
        assert (type(value), value.shape, value.dtype) == (np.ndarray, shapes[key], dtype), key
        assert np.isfinite(value).all()
    X = digits()[1]
    assert isinstance(model.score(X), float)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean(), rel=1e-5)
    np.testing.assert_array_equal(model.inverse_transform(model.transform(X)), model.reconstruct(X))
    assert model.transform(X[:1]).shape == (1, 3)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_scaled_on_the_fly(name):
    raw = np.random.default_rng(0).integers(0, 256, (40, 7), dtype=np.uint8)
    X = raw.astype(np.float32) / np.float32(255)
    a, b = make(name).fit(raw), make(name).fit(X)
    assert_same(a.net_.state_dict(), b.net_.state_dict())
    for action in ("transform", "reconstruct", "score_samples"):
        np.testing.assert_array_equal(getattr(a, action)(raw), getattr(a, action)(X))


@pytest.mark.parametrize("cls", [tinyae.Autoencoder, tinyae.StackedAutoencoder, tinyae.StructuredVAE])
def test_bytes_that_end_far_below_255(cls):
    X = data.load_data("digits").X[:40]
    settings = {"pretrain_iter": 1} if hasattr(cls, "pretrain_iter") else {}
    with pytest.warns(RuntimeWarning) as warned:
        cls(3, max_iter=1, **settings).fit(X)
    (warning,) = [w for w in warned if w.category is RuntimeWarning]  # and none of a part that pretrains
    assert str(warning.message) == (
        f"{cls.__name__}.fit: X is uint8 with values up to 16 and is divided by 255; if 16 is white, pass X / 16."
    )
    assert warning.filename == __file__
    for top in (1, 64):
        cls(3, max_iter=1, **settings).fit(np.minimum(X, 1) * np.uint8(top))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("name", NAMES)
def test_copies_are_equal_and_independent(name, copied):
    model = fitted(name)
    before, again = answers(model), copied(model)
    assert_same(answers(again), before)
    assert losses_of(again) == losses_of(model)
    for p in again.net_.parameters():
        p.data = np.full(p.shape, 7.0, p.dtype)
    assert_same(answers(model), before)
    assert_same(copied(make(name)).fit(digits()[0]).net_.state_dict(), make(name).fit(digits()[0]).net_.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits(name):
    train, held = digits()
    again, model = make(name).fit(train, validation_data=held), fitted(name)
    assert_same(again.net_.state_dict(), model.net_.state_dict())
    assert losses_of(again) == losses_of(model)
    assert_same(answers(again), answers(model))
    other = make(name, random_state=1).fit(train)
    assert not np.array_equal(other.transform(held), model.transform(held))
    assert other.noise_.key != model.noise_.key
    assert len({make(name, random_state=None).build(4).noise_.key for _ in range(3)}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_validation_and_looking_do_not_change_what_is_learned(name):
    """Evaluation takes no noise and no shuffling from the training's streams."""
    train = digits()[0]

    def look(model, row):
        model.score(train[:30])
        model.transform(train[:30])

    watched = make(name).fit(train, validation_data=train[:50], callbacks=[look])
    assert_same(watched.net_.state_dict(), make(name).fit(train).net_.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_refit_equals_fresh_fit(name):
    train = digits()[0]
    used = make(name).fit(train[:100, :30] * (2.0 if ZOO[name].loss == "mse" else 1.0))
    assert_same(used.fit(train).net_.state_dict(), fitted(name).net_.state_dict())
    assert used.n_features_in_ == 64
    assert used.output_activation_ == fitted(name).output_activation_


@pytest.mark.parametrize("name", NAMES)
def test_set_params_take_effect_at_the_next_fit(name):
    train, held = digits()
    model = copy.deepcopy(fitted(name))
    before = answers(model)
    assert model.set_params(n_components=2, max_iter=1, batch_size=50) is model
    assert_same(answers(model), before)
    assert list(model.get_feature_names_out()) == [f"{type(model).__name__.lower()}{i}" for i in range(3)]
    assert model.fit(train).transform(held).shape == (200, 2)
    fresh = make(name, n_components=2, max_iter=1, batch_size=50).fit(train)
    assert_same(model.net_.state_dict(), fresh.net_.state_dict())


@pytest.mark.filterwarnings("ignore:.*all units are dead:RuntimeWarning")  # of rows that say nothing
@pytest.mark.parametrize("name", NAMES)
def test_few_rows_and_rows_that_say_nothing(name):
    """One row; fewer than a batch; features that never change, rows that are all alike: no NaN, no crash."""
    some = digits()[0][:5].copy()
    some[:, ::3] = 0.25
    for X in (some[:1], some, np.full((40, 64), 0.5, np.float32), np.zeros((33, 64), np.float32)):
        model = make(name).fit(X)
        assert np.isfinite(model.history_["loss"]).all()
        assert np.isfinite(model.reconstruct(X)).all() and np.isfinite(model.score_samples(X)).all()
    with pytest.raises(tinyae.errors.DataError, match="NaN"):
        make(name).fit(np.where(np.eye(5, 64) == 1, np.nan, some))


@pytest.mark.parametrize(("name", "loss"), LOSSES)
def test_the_terms_add_up_to_the_loss(name, loss):
    train, held = digits()
    history = make(name, loss=loss).fit(train[:100], validation_data=held).history_
    for prefix in ("", "val_"):
        terms = [column for key, column in history.items() if key.startswith(prefix) and key.removeprefix(prefix) not in
                 ("epoch", "loss", "seconds") and key.startswith("val_") == bool(prefix)]  # fmt: skip
        assert len(terms) != 1, "a single term is the loss itself"
        if terms:
            assert [sum(values) for values in zip(*terms)] == history[f"{prefix}loss"]
    assert history["epoch"] == [1, 2, 3]
    assert {len(column) for column in history.values()} == {3}
    assert all(type(value) in (int, float) for column in history.values() for value in column)


@pytest.mark.parametrize("name", NAMES)
def test_val_loss_is_minus_the_score(name):
    train, held = digits()
    model = fitted(name)
    assert model.score(held) == pytest.approx(-model.history_["val_loss"][-1], rel=1e-6)
    paired = make(name).fit(train, target=train[::-1], validation_data=(held, held[::-1]))
    scores = paired.score_samples(held, target=held[::-1])
    assert scores.mean() == pytest.approx(-paired.history_["val_loss"][-1], rel=1e-5)
    assert not np.allclose(scores, paired.score_samples(held))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name):
    """On C to the bit, on NumPy nearly; noise included. 1,100 rows: more than one batch of evaluation."""
    model = fitted(name)
    X = np.concatenate([digits()[0], digits()[0][:500]])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    if tinyae.kernels.info()["backend"] == "c":
        close = np.testing.assert_array_equal
    order = np.random.default_rng(1).permutation(len(X))
    for action in (model.transform, model.reconstruct, model.score_samples):
        whole = action(X)
        close(action(X[order]), whole[order])
        close(action(X[7:20]), whole[7:20])
        close(whole[600:], whole[:500])
    assert len(np.unique(model.score_samples(X))) > 500


@pytest.mark.filterwarnings("ignore:Contractive.* does nothing")  # of two hidden layers the slopes are small
@pytest.mark.parametrize("hidden", [(), (5, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_a_plan_learns_what_plain_steps_do(name, hidden, monkeypatch):
    """compile=True does make a plan of the step, and its losses are those of compile=False."""
    stepped, make_plan = [], tinyae.plan.compile

    def watched(*arguments, **settings):
        stepped.append(make_plan(*arguments, **settings))
        return stepped[-1]

    monkeypatch.setattr(tinyae.plan, "compile", watched)
    train, held = digits()
    by_plan, plain = (make(name, hidden=hidden, compile=c).fit(train, validation_data=held) for c in (True, False))
    assert bool(stepped) == (tinyae.kernels.info()["backend"] == "c"), "NumPy alone gains nothing by a plan"
    assert all(step.plans and not step.refused for step in stepped)
    for key, column in losses_of(plain).items():
        np.testing.assert_allclose(by_plan.history_[key], column, rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_reader_gets(name):
    cls = ZOO[name]
    text = inspect.cleandoc(vars(cls)["__doc__"])
    assert re.search(r"[\w)] = |minimises .*\(", text), "a formula"
    assert "Shape:" in text
    assert vars(cls)["zoo_name"] == name
    assert vars(cls)["family"]
    assert re.search(r"\b(19|20)\d\d\b", vars(cls)["paper"]), "the paper's year"
    assert isinstance(vars(cls)["aliases"], tuple)
    assert vars(cls)["proof"]
    assert cls.loss in cls.losses
    assert all(isinstance(sentence, str) and sentence for sentence in cls.losses.values())
    documented = "\n".join(base.__doc__ or "" for base in cls.__mro__[:-1])
    assert not [setting for setting in cls.settings() if not re.search(rf"\b{setting}\b", documented)]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_names_are_unique():
    names = [name for key, cls in ZOO.items() for name in (key, *cls.aliases)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    assert len(set(ZOO.values())) == len(ZOO)
    assert all(getattr(tinyae, cls.__name__) is cls for cls in ZOO.values())


# -- scikit-learn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_clone(name):
    base = pytest.importorskip("sklearn.base")
    model = make(name, hidden=(4,), lr=0.01)
    again = base.clone(model)
    assert again is not model
    assert again.get_params() == model.get_params()
    assert repr(again) == repr(model)
    assert not hasattr(base.clone(fitted(name)), "net_")


@pytest.mark.parametrize("name", NAMES)
def test_in_a_pipeline_and_a_grid_search(name):
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    X = 5.0 * digits()[0][:60, 20:30]
    pipe = make_pipeline(MinMaxScaler(clip=True), make(name, max_iter=1))
    assert pipe.fit_transform(X).shape == (60, 3)
    assert pipe.inverse_transform(pipe.transform(X)).shape == X.shape
    assert len(pipe.get_feature_names_out()) == 3
    step = type(pipe[-1]).__name__.lower()
    search = GridSearchCV(pipe, {f"{step}__n_components": [1, 2]}, cv=2, n_jobs=1, error_score="raise").fit(X)
    assert search.best_params_[f"{step}__n_components"] in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.transform(X).shape == (60, search.best_params_[f"{step}__n_components"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # joblib's own, on some versions of Python
def test_in_two_processes():
    """Fitted models travel to a worker and back, and unfitted ones are fitted there, to the same bits.

    In C, that is: NumPy's matrix product has other last bits with another number of threads, which joblib sets.
    """
    joblib = pytest.importorskip("joblib")
    train = digits()[0]
    jobs = [joblib.delayed(ZOO[name].fit)(make(name), train) for name in NAMES]
    jobs += [joblib.delayed(ZOO[name].transform)(fitted(name), train) for name in NAMES]
    done = joblib.Parallel(n_jobs=2)(jobs)
    for name, model, codes in zip(NAMES, done, done[len(NAMES) :]):
        here, there = fitted(name).transform(train), model.transform(train)
        if kernels.info()["backend"] == "c":
            assert_same(model.net_.state_dict(), fitted(name).net_.state_dict())
            np.testing.assert_array_equal(codes, here)
        np.testing.assert_allclose(codes, here, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(there, here, rtol=1e-2, atol=1e-2)


# -- truths ---------------------------------------------------------------------------------------------------------


def test_a_linear_autoencoder_is_pca():
    """The same error and the same subspace. Baldi and Hornik 1989."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.standard_normal((8, 3)))[0].T
    X = rng.standard_normal((200, 3)) * [2.0, 1.6, 1.3] @ plane + 0.4 * rng.standard_normal((200, 8)) + 1.0
    model = tinyae.Autoencoder(
        3,
        hidden=(),
        activation="linear",
        output_activation="linear",
        lr=0.02,
        max_iter=600,
        batch_size=200,
        dtype="float64",
        random_state=0,
    ).fit(X)
    centred = X - X.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    least = np.mean((centred - centred @ axes.T @ axes) ** 2)
    error = -model.score(X)
    assert least * (1 - 1e-9) <= error <= least * 1.01
    (decoder,) = model.net_.decoder
    span = np.linalg.qr(decoder.weight.data.T)[0]
    cosines = np.linalg.svd(axes @ span, compute_uv=False)
    assert cosines.min() > np.cos(0.02)


def test_the_default_output_follows_the_data():
    X = digits()[0][:50]
    assert tinyae.Autoencoder(max_iter=1).fit(X).output_activation_ == "sigmoid"
    assert tinyae.Autoencoder(max_iter=1).fit(X - 0.01).output_activation_ == "linear"
    assert tinyae.Autoencoder(max_iter=1).fit(2 * X).output_activation_ == "linear"
    assert tinyae.Autoencoder(max_iter=1).fit(2 * X, target=X).output_activation_ == "sigmoid"
    assert tinyae.Autoencoder(max_iter=1, output_activation="tanh").fit(X).output_activation_ == "tanh"


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_losses_are_their_formulas(output):
    """mse and bce of the reconstruction, averaged over features."""
    X = digits()[1].astype(np.float64)
    for loss in ("mse", "bce") if output == "sigmoid" else ("mse",):
        model = tinyae.Autoencoder(
            3, hidden=(9,), loss=loss, output_activation=output, dtype="float64", random_state=0
        ).build(64)
        x_hat = model.reconstruct(X)
        expected = (x_hat - X) ** 2 if loss == "mse" else -X * np.log(x_hat) - (1 - X) * np.log(1 - x_hat)
        np.testing.assert_allclose(model.score_samples(X), -expected.mean(axis=1), rtol=1e-10)


def test_bce_through_an_activation_of_its_own():
    """A decoder that ends in probabilities is compared by bce as they are."""
    X = digits()[0][:100]
    decoder = nn.Sequential(nn.Linear(4, 64, generator=0), nn.Sigmoid())
    own = tinyae.Autoencoder(4, loss="bce", decoder=decoder, max_iter=2, random_state=0, dtype="float64").fit(X)
    assert own.output_activation_ == "linear"
    x_hat = own.reconstruct(X)
    assert 0 < x_hat.min() <= x_hat.max() < 1
    expected = -(X * np.log(x_hat) + (1 - X) * np.log(1 - x_hat)).mean()
    assert -own.score(X) == pytest.approx(expected, rel=1e-9)


def test_vae_loss_is_its_formula():
    """Both likelihoods and the KL, from the posterior and the draw that the model itself made."""
    X = digits()[1][:50].astype(np.float64)
    for settings in ({"loss": "bernoulli"}, {"loss": "gaussian", "sigma": 0.3}, {"loss": "gaussian"}):
        model = tinyae.VAE(3, hidden=(9,), dtype="float64", random_state=0, **settings).build(64)
        if settings == {"loss": "gaussian"}:
            model.net_.log_sigma.data = np.array(-0.4)
        with no_grad():
            model.noise_.counter = 5
            z = model.code(model.encode(Tensor(X))).data
            model.noise_.counter = 5
            terms = {name: term.data for name, term in model.loss_terms(X, X).items()}
        x_hat = model.inverse_transform(z)
        sigma = settings.get("sigma", np.exp(-0.4))
        if settings["loss"] == "bernoulli":
            nll = -X * np.log(x_hat) - (1 - X) * np.log(1 - x_hat)
        else:
            nll = 0.5 * ((X - x_hat) / sigma) ** 2 + np.log(sigma) + 0.5 * np.log(2 * np.pi)
        mu, s = model.posterior(X)
        np.testing.assert_allclose(terms["nll"], nll.sum(axis=1), rtol=1e-10)
        np.testing.assert_allclose(terms["kl"], 0.5 * (mu**2 + s**2 - 2 * np.log(s) - 1).sum(axis=1), rtol=1e-10)
        assert list(terms) == ["nll", "kl"]


def test_draws_and_kl_agree_with_the_posterior():
    """Codes drawn while training have the posterior's mean and deviation; the KL is its own Monte Carlo estimate."""
    model = fitted("vae", "float64")
    x = digits()[1][:1].astype(np.float64)
    mu, s = model.posterior(x)
    n = 100_000
    with no_grad():
        z = model.code(model.encode(np.repeat(x, n, axis=0))).data
        kl = model.loss_terms(x, x)["kl"].item()
    np.testing.assert_allclose(z.mean(axis=0), mu[0], atol=5 * s.max() / np.sqrt(n))
    np.testing.assert_allclose(z.std(axis=0), s[0], rtol=5 / np.sqrt(2 * n))
    ratio = (-0.5 * ((z - mu) / s) ** 2 - np.log(s) + 0.5 * z**2).sum(axis=1)
    assert kl > 0.1, "a collapsed posterior would test nothing"
    assert abs(ratio.mean() - kl) < 5 * ratio.std() / np.sqrt(n)
    np.testing.assert_array_equal(model.transform(x), mu)


def test_samples_are_decoded_draws_from_the_prior():
    model = fitted("vae")
    a, b = model.sample(2000, random_state=3), model.sample(2000, random_state=3)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, model.sample(2000, random_state=4))
    assert not np.array_equal(model.sample(), model.sample())
    codes = np.random.default_rng(0).standard_normal((2000, 3))
    np.testing.assert_allclose(a.mean(axis=0), model.inverse_transform(codes).mean(axis=0), atol=0.05)
    assert model.sample(3, random_state=np.random.default_rng(0)).shape == (3, 64)
    assert model.sample(3, random_state=np.random.RandomState(0)).shape == (3, 64)
    for n in (0, -1, 1.5, True, "3"):
        with pytest.raises(SettingError, match="n="):
            model.sample(n)


def test_beta_one_is_the_vae_to_the_bit():
    train = digits()[0]
    vae, beta = make("vae").fit(train), make("beta-vae", beta=1.0).fit(train)
    assert_same(beta.net_.state_dict(), vae.net_.state_dict())
    assert losses_of(beta) == losses_of(vae)
    four = make("beta-vae").build(64)
    one = make("beta-vae", beta=1).build(64)
    with no_grad():
        kl4, kl1 = (model.loss_terms(train, train)["kl"].data for model in (four, one))
    np.testing.assert_allclose(kl4, 4 * kl1, rtol=1e-6)


def test_a_larger_beta_gives_a_smaller_kl():
    kl = [
        make("beta-vae", hidden=(), beta=beta, max_iter=10).fit(digits()[0]).history_["kl"][-1] / beta
        for beta in (0.1, 1.0, 10.0)
    ]
    assert kl[0] > kl[1] > kl[2]


def test_a_learned_sigma_finds_the_noise():
    """Of data on a line with noise of .1, the Gaussian VAE learns sigma near .1."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 1)) * np.linspace(-1, 1, 6) + 0.1 * rng.standard_normal((400, 6))
    vae = tinyae.VAE(1, loss="gaussian", lr=0.03, max_iter=60, random_state=0).fit(X)
    assert vae.output_activation_ == "linear"
    assert np.exp(vae.net_.log_sigma.item()) == pytest.approx(0.1, rel=0.1)


def test_denoising_without_noise_is_vanilla_to_the_bit():
    train = digits()[0]
    clean = make("denoising", noise=0).fit(train)
    assert_same(clean.net_.state_dict(), fitted("vanilla").net_.state_dict())
    assert clean.history_["loss"] == fitted("vanilla").history_["loss"]
    assert make("denoising").fit(train).history_["loss"] != clean.history_["loss"]


def test_denoising_adds_the_noise_that_it_says():
    X = np.full((500, 40), 0.5)
    model = make("denoising", noise=0.05, dtype="float64").fit(X)
    model.noise_.counter = 0
    noisy = np.asarray(model.corrupt(X)) - X
    assert noisy.std() == pytest.approx(0.05, rel=0.03)
    assert abs(noisy.mean()) < 0.002
    assert not np.array_equal(np.asarray(model.corrupt(X)) - X, noisy), "fresh noise at every step"
    wild = make("denoising", noise=3.0).fit(X)
    assert 0.0 == np.asarray(wild.corrupt(X)).min() < np.asarray(wild.corrupt(X)).max() == 1.0
    free = make("denoising", noise=3.0).fit(X - 2.0)
    assert np.asarray(free.corrupt(X - 2.0)).min() < -5
    paired = make("denoising", noise=3.0).fit(X - 2.0, target=X)
    assert paired.output_activation_ == "sigmoid"
    assert np.asarray(paired.corrupt(X - 2.0)).min() < -5, "the target's range does not clip the input"


def test_denoising_removes_noise():
    train, held = digits()
    noisy = np.clip(held + 0.4 * np.random.default_rng(0).standard_normal(held.shape), 0, 1)
    errors = []
    for name in ("vanilla", "denoising"):
        model = make(name, n_components=32, max_iter=30, lr=5e-3).fit(train)
        errors.append(np.mean((model.reconstruct(noisy) - held) ** 2))
    assert errors[1] < 0.9 * errors[0]


def test_convolutional_denoising_without_noise_is_convolutional_to_the_bit():
    train = digits()[0]
    clean, noisy = (make("conv-denoising", noise=noise).fit(train) for noise in (0, 0.4))
    plain = make("convolutional").fit(train)
    assert_same(clean.net_.state_dict(), plain.net_.state_dict())
    assert clean.history_["loss"] == plain.history_["loss"] != noisy.history_["loss"]


def test_convolutional_denoising_removes_noise():
    train, held = digits()
    noisy = np.clip(held + 0.4 * np.random.default_rng(0).standard_normal(held.shape), 0, 1)
    errors = []
    for name in ("convolutional", "conv-denoising"):
        model = make(name, n_components=32, hidden=(16,), max_iter=60, lr=5e-3).fit(train)
        errors.append(np.mean((model.reconstruct(noisy) - held) ** 2))
    assert errors[1] < 0.9 * errors[0] and errors[1] < np.mean((noisy - held) ** 2) / 2


def test_a_target_is_what_is_learned():
    """Noise to clean: the error against the clean rows falls below that of the noisy ones."""
    train, held = digits()
    rng = np.random.default_rng(0)
    noise = [0.4 * rng.standard_normal(part.shape) for part in (train, held)]
    model = tinyae.Autoencoder(16, lr=3e-3, max_iter=20, random_state=0)
    model.fit(train + noise[0], target=train, validation_data=(held + noise[1], held))
    assert np.mean((model.reconstruct(held + noise[1]) - held) ** 2) < 0.5 * np.mean(noise[1] ** 2)
    assert model.history_["val_loss"][-1] == pytest.approx(
        -model.score_samples(held + noise[1], target=held).mean(), rel=1e-5
    )
    flipped = tinyae.Autoencoder(8, lr=3e-3, max_iter=30, random_state=0).fit(train, target=1 - train)
    assert np.mean((flipped.reconstruct(held) - (1 - held)) ** 2) < 0.3 * np.mean(
        (flipped.reconstruct(held) - held) ** 2
    )


def test_onehot_finds_the_four_corners():
    X = np.eye(4)
    found = []
    for seed in range(4):
        model = tinyae.OneHotAutoencoder(random_state=seed).fit(X)
        corners, distinct = model.corners(X)
        assert corners.shape == (4, 2)
        assert corners.dtype.kind == "i"
        assert set(corners.ravel().tolist()) <= {0, 1}
        assert distinct == (len({tuple(row) for row in corners}) == 4)
        if distinct:
            assert model.history_["loss"][-1] < 0.05
            np.testing.assert_array_equal(model.reconstruct(X).argmax(axis=1), range(4))
        found.append(distinct)
    assert sum(found) >= 3
    weights = tinyae.OneHotAutoencoder(random_state=0, n_components=200).build(200).net_.encoder[0]
    assert weights.weight.data.std() == pytest.approx(0.01, rel=0.05)
    assert not weights.bias.data.any()


def test_deep_narrows_and_widens():
    widths = [layer.weight.shape for half in ("encoder", "decoder") for layer in getattr(fitted("deep").net_, half)
              if isinstance(layer, nn.Linear)]  # fmt: skip
    assert widths == [(64, 128), (128, 64), (64, 3), (3, 64), (64, 128), (128, 64)]
    model = tinyae.VAE(2, hidden=(9, 5)).build(12)
    assert [layer.weight.shape for layer in model.net_.encoder if isinstance(layer, nn.Linear)] == [
        (12, 9),
        (9, 5),
        (5, 4),
    ]


def test_activations_stand_where_they_should():
    def kinds(model):
        return [[type(layer).__name__ for layer in half] for half in (model.net_.encoder, model.net_.decoder)]

    assert kinds(tinyae.Autoencoder(2, hidden=(4,)).build(6)) == [["Linear", "ReLU"] * 2, ["Linear", "ReLU", "Linear"]]
    model = tinyae.Autoencoder(2, hidden=(4,), activation="tanh", code_activation="linear").build(6)
    assert kinds(model) == [["Linear", "Tanh", "Linear"], ["Linear", "Tanh", "Linear"]]
    assert kinds(tinyae.VAE(2, hidden=(4,)).build(6)) == [["Linear", "ReLU", "Linear"]] * 2


# -- what users run into --------------------------------------------------------------------------------------------


def test_a_scalers_rounding_does_not_leave_the_unit_interval():
    X = digits()[0].astype(np.float64)
    X[0, 0] = 1 + 2**-52
    assert make("vae").fit(X).output_activation_ == "sigmoid"
    with pytest.raises(SettingError, match="was measured use loss='gaussian', after .*StandardScaler"):
        make("vae").fit(X * 2)


def test_a_refused_fit_leaves_the_model_as_it_was():
    X = digits()[0]
    fresh = make("vanilla").set_params(loss="bce")
    with pytest.raises(SettingError):
        fresh.fit(X * 5 - 2)
    with pytest.raises(tinyae.errors.NotFittedError):
        fresh.transform(X)
    model = make("vanilla").fit(X)
    codes = model.transform(X)
    for bad in ({"lr": -1.0}, {"loss": "hinge"}):
        with pytest.raises(SettingError):
            model.set_params(**bad).fit(X)
        np.testing.assert_array_equal(model.transform(X), codes)
        model.set_params(lr=None, loss="mse")


def test_settings_changed_after_fit_are_not_saved(tmp_path):
    X = digits()[0]
    model = make("vanilla").set_params(activation="tanh", verbose=False).fit(X)
    codes = model.transform(X)
    model.set_params(activation="relu", n_components=9, hidden=(7,)).save(tmp_path / "m.npz")
    np.testing.assert_array_equal(tinyae.load(tmp_path / "m.npz").transform(X), codes)


def test_bytes_of_zero_and_one_are_numbers(tmp_path):
    X = (digits()[0] > 0.5).astype(np.uint8)
    bits, floats = make("vanilla").fit(X), make("vanilla").fit(X.astype(np.float32))
    np.testing.assert_array_equal(bits.transform(X), floats.transform(X.astype(np.float32)))
    bits.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(tinyae.load(tmp_path / "m.npz").transform(X), bits.transform(X))
    pixels = make("vanilla").fit(X * 255)
    np.testing.assert_array_equal(pixels.transform(X * 255), floats.transform(X.astype(np.float32)))


def test_one_callback_need_not_be_a_list():
    seen = []
    make("vanilla").fit(digits()[0], callbacks=lambda model, row: seen.append(row["epoch"]))
    assert seen[0] == 1
