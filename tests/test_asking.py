"""Asking a fitted model changes nothing of it: by any method, in any mode, from any number of threads."""

import pickle
import threading

import numpy as np
import pytest

import tinyae
from tinyae import ZOO, nn, no_grad
from tinyae.tensor import Tensor

X = np.random.default_rng(0).random((24, 16)).astype(np.float32)
Z = np.random.default_rng(1).standard_normal((5, 2)).astype(np.float32)
MODELS = [*ZOO, "classifier", "detector"]


def made(name):
    """A small fitted model; the classifier and the detector stand on one with batch norm, dropout and noise."""
    settings = {"n_components": 2, "max_iter": 1, "random_state": 0}
    if name in ZOO:
        shorter = {"pretrain_iter": 1} if "pretrain_iter" in ZOO[name].settings() else {}
        return ZOO[name](**settings, **shorter).fit(X)
    encoder = nn.Sequential(nn.Linear(16, 8, generator=0), nn.BatchNorm1d(8), nn.Dropout(0.3, generator=1),
                            nn.GaussianNoise(0.1, generator=2), nn.Linear(8, 4, generator=3))  # fmt: skip
    under = tinyae.VAE(encoder=encoder, **settings)
    if name == "classifier":
        return tinyae.Classifier(under, max_iter=1, random_state=0).fit(X, np.arange(24) % 3)
    return tinyae.AnomalyDetector(under).fit(X)


# What makes or changes a model, by its name.
CHANGING = {"fit", "fit_transform", "fit_predict", "calibrate", "build", "set_output", "set_params", "make_net",
            "make_encoder", "make_decoder", "make_optimizer", "make_part", "prepare", "take_over"}  # fmt: skip
# The words of the loss that draw from ``noise_``, as they say: a stream, which goes on.
DRAWING = {"loss_terms", "corrupt", "code", "spoil", "step", "draw"}


def calls(model, tmp_path):
    """{method: what it is called with} for every method that asks."""
    x, h = Tensor(X), None
    if hasattr(model, "encode"):
        with no_grad():
            h = model.encode(x)
            z = model.embed(h)
            a = model.unfold(z, x)
    else:
        z = a = None
    levels, ranges = model.compress(X) if hasattr(model, "compress") else (None, None)
    labels = np.arange(24) % 3
    table = {
        "activity": (X,), "code": (h,), "code_histogram": (X,), "compare": (a, x), "compress": (X,), "corrupt": (X,),
        "decode": (z,), "decompress": (levels, ranges), "embed": (h,), "encode": (x,), "fraction_of_zero_codes": (X,),
        "get_feature_names_out": (), "get_params": (), "interpolate": (X[0], X[1]), "inverse_transform": (Z,),
        "least_size": (16,), "loss_terms": (x, x), "manifold": (3,), "neighbours": (X, X[:3], 2), "penalise": (h, z),
        "rate_distortion": (X,), "reconstruct": (X,), "save": (tmp_path / "m.npz",),
        "score": (X, labels), "score_samples": (X,), "settings": (), "transform": (X,), "traverse": (X[0],),
        "unfold": (z, x), "spoil": (X,), "chain": (X, 2), "draw": (x,), "sample": (3,), "step": (x,), "walk": (X, 2),
        "jacobian_norm": (X,), "image": (), "corners": (X,), "active_units": (X,), "log_density": (X,),
        "log_likelihood": (X, 3), "posterior": (X,), "posterior_width": (X,), "covariance": (Z,),
        "precision_factor": (Z,), "predict": (X,), "predict_log_proba": (X,), "predict_proba": (X,),
        "decision_function": (X,),
    }  # fmt: skip
    names = {name for name in dir(type(model)) if not name.startswith("_") and callable(getattr(type(model), name))}
    assert names - CHANGING <= table.keys(), "a new method wants a row here, or in CHANGING"
    return {name: table[name] for name in sorted(names - CHANGING)}


def state(model):
    """All that a model is: every value in it, however deep, as bytes; and which objects it holds."""
    nets = [net for net in (getattr(model, "net_", None), getattr(getattr(model, "model_", None), "net_", None)) if net]
    objects = [id(value) for thing in (model, *(m for net in nets for m in net.modules())) for value in
               vars(thing).values()]  # fmt: skip
    return pickle.dumps(model), objects


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_no_method_writes_to_its_model(name, training, tmp_path):
    """Not even where somebody has put its net into training mode; and that changes no answer."""
    model = made(name)
    ask = model.predict if name == "classifier" else model.score_samples
    right = ask(X)
    arguments = calls(model, tmp_path)
    if training:
        getattr(model, "model_", model).net_.train()
    for method, given in arguments.items():
        if training and method in DRAWING | {"penalise", "unfold", "encode"}:
            continue  # the training's own words: they do as the mode says
        noise = getattr(model, "noise_", None)
        counter = noise and noise.counter
        before = state(model)
        with no_grad():
            getattr(model, method)(*given)
        if method in DRAWING and noise is not None:
            assert model.noise_ is noise
            noise.counter = counter
        assert state(model) == before, f"{method} changed the model"
    np.testing.assert_array_equal(ask(X), right)


@pytest.mark.parametrize("name", [*ZOO, "detector"])
def test_threads_get_what_one_gets(name, monkeypatch):
    """All threads meet within the encoder, so that each is between another's first line and its last."""
    model, parts = made(name), [X[i::4] for i in range(4)]
    asked = {"score_samples": model.score_samples}
    if hasattr(model, "walk"):
        asked["walk"] = lambda x: model.walk(x, 2, random_state=0)
        asked["sample"] = lambda x: model.sample(3, random_state=int(1e6 * x[0, 0]), steps=2)
    right = {method: [ask(part) for part in parts] for method, ask in asked.items()}
    kind = type(getattr(model, "model_", model))
    meeting, true = threading.Barrier(4, timeout=30), kind.encode

    def encode(self, x):
        meeting.wait()
        h = true(self, x)
        meeting.wait()
        return h

    monkeypatch.setattr(kind, "encode", encode)
    before, got = model.__dict__.copy(), {}

    def work(i):
        for method, ask in asked.items():
            got[method, i] = ask(parts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (method, i), value in got.items():
        np.testing.assert_array_equal(value, right[method][i], err_msg=method)
    assert len(got) == 4 * len(asked) and model.__dict__ == before


@pytest.mark.parametrize("name", [name for name in ZOO if hasattr(ZOO[name], "sample")])
def test_without_a_seed_every_draw_is_another(name):
    """By a generator of the call's own, as scikit-learn does: neither the model's nor NumPy's global one moves."""
    model = made(name)
    np.random.seed(0)
    before = model.noise_.counter, np.random.get_state()[1].copy()  # noqa: NPY002
    draws = [model.sample(3) for _ in range(2)]
    assert not np.array_equal(*draws)
    if hasattr(model, "log_likelihood"):
        assert not np.array_equal(*(model.log_likelihood(X, 2) for _ in range(2)))
    assert model.noise_.counter == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_asked_in_the_middle_of_its_training():
    """By a callback, while dropout, noise and batch norm are in training mode: what is learned stays the same."""
    histories = []
    for look in (False, True):
        answers = []

        def callback(model, row, answers=answers):
            answers.append((model.net_.training, model.score(X), model.transform(X)))

        model = made("detector").model.set_params(max_iter=3, compile=False)
        model.fit(X, callbacks=callback if look else None)
        histories.append((model.history_["loss"], model.net_.state_dict()))
        assert not look or [training for training, *_ in answers] == [True] * 3
        if look:
            assert answers[-1][1] == model.score(X)
            np.testing.assert_array_equal(answers[-1][2], model.transform(X))
    assert histories[0][0] == histories[1][0]
    for name, value in histories[0][1].items():
        np.testing.assert_array_equal(value, histories[1][1][name])


def test_a_summary_writes_nothing():
    net = nn.Sequential(nn.Linear(4, 3, generator=0), nn.BatchNorm1d(3), nn.Dropout(0.5, generator=1))
    net[1].register_forward_hook(lambda module, inputs, y: None)
    before = [vars(module).copy() for module in net.modules()]
    assert "(n, 3)" in net.summary(4)
    assert [vars(module) for module in net.modules()] == before and net.training
