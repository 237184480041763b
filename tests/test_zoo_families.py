"""What one variant of the zoo must know and no other: its formula, its limits, what it is for.

What all of them must know stands in test_zoo.py.
"""

import functools

import numpy as np
import pytest

import tinyae
from tinyae import Tensor, data, nn
from tinyae.engine import no_grad
from tinyae.errors import SettingError


@functools.cache
def digits():
    """(training rows, held-out rows) in [0, 1], read-only."""
    X = data.as_float(data.load_data("digits").X[:800], scale=16)
    X.flags.writeable = False
    return X[:600], X[600:]


def terms_of(model, X):
    """The loss terms of every row as arrays, as training sees them."""
    with no_grad():
        return {name: np.asarray(getattr(term, "data", term)) for name, term in model.loss_terms(X, X).items()}


@pytest.mark.parametrize(("cls", "settings"), [
    (tinyae.LinearAutoencoder, {"decay": -1.0}),
    (tinyae.LinearAutoencoder, {"activation": "relu"}),
    (tinyae.TiedAutoencoder, {"encoder": nn.ReLU()}),
    (tinyae.SparseAutoencoder, {"penalty": "much"}),
    (tinyae.SparseAutoencoder, {"reduction": "sum"}),
    (tinyae.SparseKLAutoencoder, {"rho": 1.0}),
    (tinyae.SparseKLAutoencoder, {"penalty": -0.1}),
    (tinyae.SparseKLAutoencoder, {"activation": "relu"}),
    (tinyae.SparseKLAutoencoder, {"code_activation": "linear"}),
    (tinyae.DenoisingAutoencoder, {"corruption": "pepper"}),
    (tinyae.DenoisingAutoencoder, {"fresh": 1}),
    (tinyae.DenoisingAutoencoder, {"noise": -0.1}),
    (tinyae.DenoisingAutoencoder, {"corruption": "masking", "noise": 1.1}),
    (tinyae.Noise2NoiseAutoencoder, {"corruption": "masking"}),
    (tinyae.Noise2NoiseAutoencoder, {"loss": "bce"}),
    (tinyae.ContractiveAutoencoder, {"penalty": float("nan")}),
])  # fmt: skip
def test_bad_settings(cls, settings):
    with pytest.raises(SettingError, match=rf"^{cls.__name__}: .*(Give|Choose|Use) "):
        cls(2, **settings).fit(digits()[0][:10])


# -- linear and tied ------------------------------------------------------------------------------------------------


def test_a_little_decay_singles_out_the_principal_components():
    """Kunin et al. 2019: the decoder's right singular vectors are PCA's axes; without decay only the plane."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    X = rng.standard_normal((300, 6)) * [3.0, 2.0, 1.2, 0.1, 0.1, 0.1] @ axes + 1.0
    settings = {"lr": 0.02, "max_iter": 1000, "batch_size": 300, "dtype": "float64", "random_state": 0}
    model = tinyae.LinearAutoencoder(3, decay=0.03, **settings).fit(X)
    pca = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:3]
    assert model.components_.shape == (3, 6)
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.abs(model.components_ @ pca.T), np.eye(3), atol=0.02)
    weights = [layer.weight.data for layer in (model.net_.encoder[0], model.net_.decoder[0])]
    decay = terms_of(model, X)["decay"]
    np.testing.assert_allclose(decay, 0.03 * sum((w**2).sum() for w in weights), rtol=1e-12)
    free = tinyae.LinearAutoencoder(3, **settings).fit(X)
    assert np.linalg.svd(free.components_ @ pca.T, compute_uv=False).min() > 0.99
    assert np.abs(free.components_ @ pca.T).diagonal().min() < 0.98
    assert -free.score(X) < np.mean((X - X.mean(axis=0)) ** 2) * 0.01


def test_linear_components_through_hidden_layers():
    model = tinyae.LinearAutoencoder(2, hidden=(5, 4), dtype="float64", random_state=0).build(8)
    Z = np.random.default_rng(0).standard_normal((20, 2))
    moved = model.inverse_transform(Z) - model.inverse_transform(0 * Z)
    np.testing.assert_allclose(moved @ model.components_.T @ model.components_, moved, atol=1e-12)


def test_tied_weights_are_the_encoders_transposed():
    model = tinyae.TiedAutoencoder(3, hidden=(7,), activation="tanh", random_state=0, max_iter=2, dtype="float64")
    model.fit(digits()[0])
    w1, w2 = (model.net_.encoder[i].weight.data for i in (0, 2))
    c2, c1 = (model.net_.decoder[i].bias.data for i in (0, 2))
    assert sum(p.size for p in model.net_.parameters()) == 64 * 7 + 7 * 3 + 2 * 7 + 3 + 64
    Z = model.transform(digits()[1])
    expected = 1 / (1 + np.exp(-(np.tanh(Z @ w2.T + c2) @ w1.T + c1)))
    np.testing.assert_allclose(model.inverse_transform(Z), expected, rtol=1e-12)
    linear = tinyae.TiedAutoencoder(3, hidden=(7,), activation="linear").build(64)
    assert [type(layer) for layer in linear.net_.decoder] == [nn.Tied] * 2
    own = tinyae.TiedAutoencoder(3, encoder=nn.Sequential(nn.Linear(64, 3), nn.Tanh())).build(64)
    assert own.net_.decoder[0].linear is own.net_.encoder[0]


# -- sparse ---------------------------------------------------------------------------------------------------------


def test_activity_is_its_formula():
    X = digits()[1][:50].astype(np.float64)
    for reduction, factor in {"batch_mean": 1, "batch_sum": 20, "mean": 1 / 5}.items():
        model = tinyae.SparseAutoencoder(
            5, penalty=0.3, reduction=reduction, activation="tanh", batch_size=20, dtype="float64", random_state=0
        ).build(64)
        expected = 0.3 * factor * np.abs(model.transform(X)).sum(axis=1)
        np.testing.assert_allclose(terms_of(model, X)["activity"], expected, rtol=1e-12)


def test_a_larger_penalty_gives_sparser_codes():
    train, held = digits()
    shares = [
        tinyae.SparseAutoencoder(20, penalty=p, max_iter=10, lr=5e-3, random_state=0).fit(train)
        .fraction_of_zero_codes(held) for p in (0, 3e-3, 1.0)
    ]  # fmt: skip
    assert shares[0] < 0.4 < 0.6 < shares[1] < shares[2] == 1.0, "all units die of too much"


@pytest.mark.parametrize("unit", ["sigmoid", "tanh"])
def test_kl_to_rho_is_its_formula(unit):
    X = digits()[1][:50].astype(np.float64)
    model = tinyae.SparseKLAutoencoder(4, activation=unit, rho=0.2, penalty=0.7, dtype="float64", random_state=0)
    model.build(64)
    z = model.transform(X)
    r = z.mean(axis=0) if unit == "sigmoid" else (1 + z.mean(axis=0)) / 2

    def formula(r):
        return 0.7 * (0.2 * np.log(0.2 / r) + 0.8 * np.log(0.8 / (1 - r))).sum()

    model.net_.train()
    np.testing.assert_allclose(terms_of(model, X)["kl"], np.full(50, formula(r)), rtol=1e-10)
    running = 0.9 * 0.5 + 0.1 * r
    np.testing.assert_allclose(model.net_.mean_activation.data, running, rtol=1e-12)
    model.net_.eval()
    np.testing.assert_allclose(terms_of(model, X)["kl"], np.full(50, formula(running)), rtol=1e-10)
    np.testing.assert_allclose(model.net_.mean_activation.data, running, rtol=1e-12, err_msg="evaluation moved it")


def test_units_are_awake_as_often_as_rho_says():
    train, held = digits()
    settings = {"max_iter": 30, "lr": 0.01, "random_state": 0}
    free = tinyae.SparseKLAutoencoder(20, penalty=0.0, **settings).fit(train)
    model = tinyae.SparseKLAutoencoder(20, rho=0.1, penalty=0.2, **settings).fit(train)
    assert model.transform(held).mean() == pytest.approx(0.1, abs=0.02)
    assert free.transform(held).mean() > 0.25
    np.testing.assert_allclose(model.net_.mean_activation.data, model.transform(train).mean(axis=0), atol=0.03)


# -- denoising ------------------------------------------------------------------------------------------------------


def test_corruptions_spoil_the_share_that_they_say():
    X = np.full((400, 50), 0.5)
    for corruption, values in {"masking": [0.0], "salt_and_pepper": [0.0, 1.0]}.items():
        model = tinyae.DenoisingAutoencoder(2, corruption=corruption, noise=0.3, max_iter=1, random_state=0).fit(X)
        noisy = np.asarray(model.corrupt(X))
        for value in values:
            assert np.mean(noisy == value) == pytest.approx(0.3 / len(values), abs=0.01)
        assert np.mean(noisy == 0.5) == pytest.approx(0.7, abs=0.01)
        assert not np.array_equal(noisy, np.asarray(model.corrupt(X)))


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_drawn_once_is_a_fit_from_spoiled_rows(corruption):
    train = digits()[0]
    settings = {"max_iter": 2, "random_state": 0}
    once = tinyae.DenoisingAutoencoder(3, corruption=corruption, fresh=False, **settings).fit(train)
    built = tinyae.DenoisingAutoencoder(3, corruption=corruption, **settings).build(64)
    spoilt = np.asarray(built.spoil(train))
    plain = tinyae.Autoencoder(3, **settings).fit(spoilt, target=train)
    for name, value in plain.net_.state_dict().items():
        np.testing.assert_array_equal(once.net_.state_dict()[name], value)
    assert not np.array_equal(np.asarray(once.corrupt(train)), train), "after the training, corrupt makes noisy rows"
    fresh = tinyae.DenoisingAutoencoder(3, corruption=corruption, **settings).fit(train)
    assert fresh.history_["loss"] != once.history_["loss"]


def test_noisy_targets_teach_what_clean_ones_do():
    """Lehtinen et al. 2018: nearly the same error against clean rows; the loss is larger by the noise's variance."""
    train, held = digits()
    settings = {"noise": 0.3, "max_iter": 30, "lr": 5e-3, "random_state": 0}
    blind = tinyae.Noise2NoiseAutoencoder(16, **settings).fit(train)
    seeing = tinyae.DenoisingAutoencoder(16, **settings).fit(train)
    noisy = np.clip(held + 0.3 * np.random.default_rng(0).standard_normal(held.shape), 0, 1).astype(np.float32)
    errors = [np.mean((model.reconstruct(noisy) - held) ** 2) for model in (blind, seeing)]
    assert errors[0] < 1.15 * errors[1] < 0.8 * np.mean((noisy - held) ** 2)
    assert -blind.score(held) + seeing.score(held) == pytest.approx(0.09, abs=0.01)


# -- contractive ----------------------------------------------------------------------------------------------------


def test_the_jacobian_is_the_jacobian():
    """In closed form and by differentiation, against tinyae.jacobian row by row."""
    X = digits()[1][:5].astype(np.float64)
    for settings in ({}, {"hidden": (6,)}, {"activation": "tanh"}, {"encoder": nn.Linear(64, 4, dtype="float64")}):
        model = tinyae.ContractiveAutoencoder(4, penalty=2.0, dtype="float64", random_state=0, **settings).build(64)
        norms = [(tinyae.jacobian(lambda x: model.net_.encoder(x))(Tensor(row)).data ** 2).sum() for row in X]
        model.net_.train()
        np.testing.assert_allclose(terms_of(model, X)["contraction"], 2 * np.array(norms), rtol=1e-10)
        np.testing.assert_allclose(model.jacobian_norm(X), np.sqrt(norms), rtol=1e-10)


def test_a_penalty_contracts():
    train, held = digits()
    settings = {"max_iter": 20, "lr": 5e-3, "random_state": 0}
    free, bound = (tinyae.ContractiveAutoencoder(16, penalty=p, **settings).fit(train) for p in (0.0, 0.01))
    norms = [np.mean(model.jacobian_norm(held) ** 2) for model in (free, bound)]
    errors = [np.mean((model.reconstruct(held) - held) ** 2) for model in (free, bound)]
    assert norms[1] < 0.5 * norms[0] and errors[1] < 1.25 * errors[0]
