"""Likelihoods with a covariance, and what came with them: draws from any likelihood, the convolutional VAE.

What every variant must know stands in test_zoo.py.
"""

import functools

import numpy as np
import pytest
from tolerances import assert_within, inverse_tolerance, logdet_tolerance, product_tolerance, sum_tolerance

import tinyae
from tinyae import Generator, data
from tinyae.engine import no_grad
from tinyae.errors import SettingError


@functools.cache
def digits():
    """(training rows, held-out rows) in [0, 1], read-only."""
    X = data.as_float(data.load_data("digits").X[:800], scale=16)
    X.flags.writeable = False
    return X[:600], X[600:]


def random_model(shape, neighbourhood):
    """With weights of its own everywhere, in float64, and some rows for it."""
    rng = np.random.default_rng(0)
    n = int(np.prod(shape))
    model = tinyae.StructuredVAE(
        2, image_shape=shape, neighbourhood=neighbourhood, sigma_min=0.05, dtype="float64", random_state=0, hidden=()
    ).build(n)
    for p in model.net_.parameters():
        p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    return model, rng.random((4, n))


SHAPES = [((5, 6), 1), ((2, 6, 5), 2), ((3, 3), 0), ((1, 7), 1), ((7, 1), 2), ((2, 4), 3), ((1, 1), 1)]


@pytest.mark.parametrize(("shape", "neighbourhood"), SHAPES)
def test_the_density_is_that_of_the_dense_matrix(shape, neighbourhood):
    model, X = random_model(shape, neighbourhood)
    Z = model.transform(X)
    factor, away = model.precision_factor(Z), X - model.inverse_transform(Z)
    precision = factor @ factor.mT
    volume = np.linalg.slogdet(precision)[1] - X.shape[1] * np.log(2 * np.pi)
    exact = 0.5 * (volume - np.einsum("ri,rij,rj->r", away, precision, away))
    # The precision is a product, whose rounding its determinant and the quadratic form feel.
    size, covariance = np.abs(factor) @ np.abs(factor).mT, model.covariance(Z)
    form = np.abs(away)[:, :, None] * size * np.abs(away)[:, None, :]
    assert_within(model.log_density(X), exact, logdet_tolerance(size, covariance) + sum_tolerance(form, axis=(1, 2)))
    assert_within(covariance @ precision, np.eye(X.shape[1]), inverse_tolerance(precision)[:, None, None])
    np.testing.assert_array_equal(model.image(), (1, *shape)[-3:])


@pytest.mark.parametrize(("shape", "neighbourhood"), SHAPES)
def test_the_factor_joins_later_neighbours_only(shape, neighbourhood):
    model, X = random_model(shape, neighbourhood)
    factor = model.precision_factor(model.transform(X))[0]
    channel, y, x = np.indices((1, *shape)[-3:]).reshape(3, -1)
    away = [np.abs(np.subtract.outer(place, place)) for place in (channel, y, x)]
    near = (away[0] == 0) & (away[1] <= neighbourhood) & (away[2] <= neighbourhood)
    np.testing.assert_array_equal(factor != 0, np.tril(near))
    assert (factor.diagonal() > 0).all() and (1 / factor.diagonal() > 0.05).all()


@pytest.mark.parametrize(("shape", "neighbourhood"), SHAPES)
def test_draws_solve_for_the_noise(shape, neighbourhood):
    """L.T (x - mean) is the noise that was drawn, so x has the covariance (L L.T)**-1."""
    model, _ = random_model(shape, neighbourhood)
    noise = Generator(np.random.default_rng(3))
    codes = noise.draw("normal", (6, 2), np.float64)
    epsilon = noise.draw("normal", (6, model.n_features_in_), np.float64)
    means = model.sample(6, random_state=3)
    np.testing.assert_array_equal(means, model.inverse_transform(codes))
    drawn, factor = model.sample(6, random_state=3, draw="likelihood"), model.precision_factor(codes)
    found = (factor.mT @ (drawn - means)[:, :, None])[:, :, 0]
    # Substitution is off by n eps |L.T| |away|, and so is the product; away is the difference of two rounded rows.
    assert_within(found, epsilon, product_tolerance(factor.mT, (np.abs(drawn) + np.abs(means))[:, :, None])[:, :, 0])


@pytest.mark.filterwarnings("ignore:.*posterior collapsed")
def test_it_finds_the_covariance():
    """Of errors that are a chain, e_i = .8 e_(i+1) + sigma_i epsilon, whose scale grows along the row."""
    rng = np.random.default_rng(0)
    sigma = np.linspace(0.1, 0.4, 9)
    X = np.zeros((2000, 10))
    for i in reversed(range(9)):
        X[:, i] = 0.8 * X[:, i + 1] + sigma[i] * rng.standard_normal(2000)
    X = X[:, :9] + 1.0
    settings = {"loss": "gaussian", "lr": 0.02, "random_state": 0, "dtype": "float64", "hidden": ()}
    settings |= {"sigma": 3.0, "pretrain_iter": 10, "max_iter": 20, "image_shape": (1, 9)}  # a code that says nothing
    found = [tinyae.StructuredVAE(1, neighbourhood=r, **settings).fit(X) for r in (0, 1)]
    joined = np.linalg.inv(np.eye(9) - 0.8 * np.eye(9, k=1)) * sigma
    truth = joined @ joined.T
    close = [np.abs(model.covariance([[0.0]])[0] - truth).max() / truth.max() for model in found]
    assert close[1] < 0.15 < close[0]
    exact = -0.5 * (np.linalg.slogdet(truth)[1] + 9 * np.log(2 * np.pi) + 9)
    assert found[1].log_density(X).mean() == pytest.approx(exact, abs=0.15)
    assert found[0].log_density(X).mean() < exact - 1.0


def test_it_starts_as_the_gaussian_vae():
    X = digits()[0]
    model = tinyae.StructuredVAE(3, sigma=0.2, max_iter=20, dtype="float64", random_state=0).build(64)
    model.prepare(X, None)
    away = X - model.reconstruct(X)
    volume = np.log(2 * np.pi * 0.2**2)
    exact = -0.5 * np.sum((away / 0.2) ** 2 + volume, axis=1)
    exactly = sum_tolerance((away / 0.2) ** 2 + np.abs(volume), axis=1)  # where both cancel, more than an ulp of the sum
    assert_within(model.log_density(X), exact, exactly)
    plain = tinyae.VAE(3, loss="gaussian", sigma=0.2, dtype="float64", random_state=0).build(64)
    plain.net_.encoder, plain.net_.decoder = model.net_.encoder, model.net_.decoder
    assert_within(plain.log_density(X), exact, exactly)
    learned = tinyae.StructuredVAE(3, hidden=(), max_iter=20, dtype="float64", random_state=0).build(64)
    learned.prepare(X, None)
    diagonal = 1 / np.diagonal(learned.precision_factor(learned.transform(X[:2])), axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal, diagonal[0, 0])
    assert 0.2 < diagonal[0, 0] < 0.99
    least = tinyae.StructuredVAE(3, sigma=0.01, sigma_min=0.1, dtype="float64").build(64)
    np.testing.assert_allclose(least.precision_factor(np.zeros((1, 3)))[0], np.eye(64) / 0.11)


def test_the_mean_rests_or_not():
    X = digits()[0]
    settings = {"n_components": 3, "random_state": 0, "max_iter": 1, "pretrain_iter": 5}
    first, later = (tinyae.StructuredVAE(**settings | {"max_iter": n}).fit(X) for n in (1, 3))
    np.testing.assert_array_equal(first.reconstruct(X), later.reconstruct(X))
    assert later.score(X) > first.score(X)
    assert len(first.pretraining_["loss"]) == 5
    free, whole = (tinyae.StructuredVAE(**settings | s).fit(X) for s in ({"freeze": False}, {"pretrain_iter": 0}))
    for model in (free, whole):
        assert not np.allclose(model.reconstruct(X), first.reconstruct(X), atol=1e-3)
    assert whole.pretraining_ == {}
    blurred = tinyae.StructuredVAE(**settings).fit(X, target=1 - X)
    assert np.mean((blurred.reconstruct(X) - (1 - X)) ** 2) < np.mean((blurred.reconstruct(X) - X) ** 2)


def test_the_mean_is_trained_as_long_as_the_covariance():
    model = tinyae.StructuredVAE(3, max_iter=2, random_state=0).fit(digits()[0][:100])
    assert len(model.pretraining_["loss"]) == model.n_iter_ == 2


def test_structured_beats_diagonal_beats_fixed():
    train, held = digits()
    settings = {"n_components": 8, "hidden": (), "loss": "gaussian", "lr": 5e-3, "random_state": 0}
    models = [tinyae.VAE(max_iter=40, **settings)]
    models += [tinyae.StructuredVAE(neighbourhood=r, pretrain_iter=20, max_iter=20, **settings) for r in (0, 1)]
    scores = [model.fit(train).score(held) / 64 for model in models]
    assert scores[0] + 0.1 < scores[1] < scores[2] - 0.2


def test_draws_from_plain_likelihoods():
    train = digits()[0]
    for loss in ("bernoulli", "gaussian"):
        model = tinyae.VAE(2, loss=loss, max_iter=2, random_state=0).fit(train)
        means, drawn = (model.sample(2000, random_state=1, draw=draw) for draw in ("mean", "likelihood"))
        assert means.dtype == drawn.dtype == np.float32
        if loss == "bernoulli":
            assert set(np.unique(drawn)) == {0, 1}
            np.testing.assert_allclose(drawn.mean(axis=0), means.mean(axis=0), atol=0.06)
        else:
            assert (drawn - means).std() == pytest.approx(np.exp(model.net_.log_sigma.item()), rel=0.02)
    with pytest.raises(SettingError, match=r"^VAE\.sample: draw='median'\. Choose "):
        model.sample(2, draw="median")


def test_a_gaussian_vae_is_compiled(monkeypatch):
    stepped, make_plan = [], tinyae.plan.compile
    monkeypatch.setattr(tinyae.plan, "compile", lambda *a, **s: stepped.append(make_plan(*a, **s)) or stepped[-1])
    tinyae.VAE(3, loss="gaussian", max_iter=2, random_state=0).fit(digits()[0][:128])
    assert not any(step.refused for step in stepped)


def test_the_convolutional_vae_is_both():
    model = tinyae.ConvolutionalVAE(5, hidden=(4, 3), activation="tanh", random_state=0).build(64)
    kinds = [[type(layer).__name__ for layer in half] for half in (model.net_.encoder, model.net_.decoder)]
    plain = tinyae.ConvolutionalAutoencoder(5, hidden=(4, 3), activation="tanh", code_activation="linear").build(64)
    assert kinds == [[type(layer).__name__ for layer in half] for half in (plain.net_.encoder, plain.net_.decoder)]
    assert model.net_.encoder[-1].weight.shape == (2 * 2 * 3, 10)
    mu, s = model.posterior(digits()[1])
    np.testing.assert_array_equal(mu, model.transform(digits()[1]))
    with no_grad():
        kl = model.loss_terms(digits()[1], digits()[1])["kl"].data
    np.testing.assert_allclose(kl, 0.5 * np.sum(mu**2 + s**2 - 2 * np.log(s) - 1, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("cls", "settings"), [
    (tinyae.StructuredVAE, {"neighbourhood": -1}),
    (tinyae.StructuredVAE, {"neighbourhood": True}),
    (tinyae.StructuredVAE, {"neighbourhood": 8}),
    (tinyae.StructuredVAE, {"neighbourhood": 10**6}),
    (tinyae.StructuredVAE, {"pretrain_iter": 1.5}),
    (tinyae.StructuredVAE, {"sigma_min": -0.1}),
    (tinyae.StructuredVAE, {"freeze": 1}),
    (tinyae.StructuredVAE, {"image_shape": (8, 9)}),
    (tinyae.StructuredVAE, {"image_shape": 64}),
    (tinyae.StructuredVAE, {"loss": "bernoulli"}),
    (tinyae.ConvolutionalVAE, {"n_components": None}),
    (tinyae.ConvolutionalVAE, {"kernel_size": 2}),
])  # fmt: skip
def test_bad_settings(cls, settings):
    with pytest.raises(SettingError, match=rf"^{cls.__name__}: .*(Give|Choose) "):
        cls(**{"n_components": 2, **settings}).fit(digits()[0][:10])
