"""What one variant of the zoo must know and no other: its formula, its limits, what it is for.

What all of them must know stands in test_zoo.py.
"""

import functools

import numpy as np
import pytest

import tinyae
from tinyae import Tensor, data, nn
from tinyae.ae.stacked import _Machine
from tinyae.ae.variational import gentle
from tinyae.engine import no_grad
from tinyae.errors import DivergedError, SettingError


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
    (tinyae.Autoencoder, {"decay": -1.0}),
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
    (tinyae.ConvolutionalAutoencoder, {"down": "up"}),
    (tinyae.ConvolutionalAutoencoder, {"image_shape": (8, 9)}),
    (tinyae.ConvolutionalAutoencoder, {"image_shape": 64}),
    (tinyae.ConvolutionalAutoencoder, {"image_shape": (8, 0)}),
    (tinyae.ConvolutionalAutoencoder, {"kernel_size": 2}),
    (tinyae.ConvolutionalAutoencoder, {"n_components": None, "hidden": ()}),
    (tinyae.ConvolutionalAutoencoder, {"n_components": None, "code_activation": "tanh"}),
    (tinyae.LSTMAutoencoder, {"activation": "sigmoid"}),
    (tinyae.LSTMAutoencoder, {"channels": 5}),
    (tinyae.LSTMAutoencoder, {"channels": 0}),
    (tinyae.LSTMAutoencoder, {"padding_value": "0"}),
    (tinyae.GRUAutoencoder, {"code_activation": "tanh"}),
    (tinyae.VAE, {"code_activation": "tanh"}),
    (tinyae.AnnealedVAE, {"sigma": 0.1}),
    (tinyae.StackedAutoencoder, {"pretrain_iter": -1}),
    (tinyae.StackedAutoencoder, {"pretrain_iter": 1.5}),
    (tinyae.StackedAutoencoder, {"pretrain_lr": 0}),
    (tinyae.StackedDenoisingAutoencoder, {"noise": 1.5}),
    (tinyae.StackedDenoisingAutoencoder, {"corruption": "snow"}),
    (tinyae.StackedDenoisingAutoencoder, {"noise": (0.1, 0.2)}),
    (tinyae.StackedDenoisingAutoencoder, {"noise": (0.1, 0.2, 2.0)}),
    (tinyae.StackedSparseAutoencoder, {"rho": 1.0}),
    (tinyae.StackedSparseAutoencoder, {"activation": "relu"}),
    (tinyae.StackedAutoencoder, {"max_iter": -1}),
    (tinyae.RBMAutoencoder, {"pretrain_decay": -1}),
    (tinyae.RBMAutoencoder, {"activation": "tanh"}),
    (tinyae.RBMAutoencoder, {"code_activation": "relu"}),
    (tinyae.RBMAutoencoder, {"output_activation": "tanh"}),
    (tinyae.RBMAutoencoder, {"pretrain_lr": None}),
    (tinyae.WalkbackAutoencoder, {"walkback": 0}),
    (tinyae.WalkbackAutoencoder, {"persistence": 1.1}),
    (tinyae.WalkbackAutoencoder, {"tied": 1}),
    (tinyae.ContractiveAutoencoder, {"tied": True, "encoder": nn.ReLU()}),
    (tinyae.AnnealedVAE, {"schedule": "steps"}),
    (tinyae.AnnealedVAE, {"warmup": 0}),
    (tinyae.FreeBitsVAE, {"free_bits": -1}),
    (tinyae.TeacherForcedAutoencoder, {"cell": "rnn"}),
    (tinyae.TeacherForcedAutoencoder, {"decoder": nn.Linear(2, 64)}),
])  # fmt: skip
def test_bad_settings(cls, settings):
    with pytest.raises(SettingError, match=rf"^{cls.__name__}: .*(Give|Choose|Use) "):
        cls(**{"n_components": 2, **settings}).fit(digits()[0][:10])


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


def test_decay_is_of_all_weights_and_of_no_bias():
    """Named in the history, which is before each step; and only there: a score is that of the data."""
    X = digits()[0]
    for cls in (tinyae.Autoencoder, tinyae.TiedAutoencoder, tinyae.ConvolutionalAutoencoder):
        start = cls(3, random_state=0).build(64)
        model = cls(3, decay=0.5, max_iter=1, batch_size=600, random_state=0).fit(X, validation_data=X)
        squares = sum(np.square(p.data, dtype=np.float64).sum() for name, p in start.net_.named_parameters()
                      if name.endswith("weight"))  # fmt: skip
        assert model.history_["decay"] == [pytest.approx(0.5 * squares, rel=1e-5)]
        assert model.history_["val_loss"][0] == pytest.approx(-model.score(X), rel=1e-6)
        free = cls(3, max_iter=1, batch_size=600, random_state=0).fit(X)
        for p, q, r in zip(*(m.net_.parameters() for m in (model, free, start))):
            shrunk = np.abs(p.data).sum() < np.abs(q.data).sum()
            assert shrunk == (p.ndim > 1) or np.array_equal(p.data, q.data), "biases as without it"


# -- all rows at once -----------------------------------------------------------------------------------------------


def test_a_linear_net_by_lbfgs_is_pca():
    """Principal angles, the error, and the components by SVD; a single sigmoid layer comes near (Bourlard 1988)."""
    X = digits()[0].astype(np.float64)
    pca = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:8]
    least = np.mean((X - X.mean(axis=0) - (X - X.mean(axis=0)) @ pca.T @ pca) ** 2)
    settings = {"optimizer": "lbfgs", "dtype": "float64", "random_state": 0}
    model = tinyae.LinearAutoencoder(8, max_iter=600, **settings).fit(X)
    outside = model.components_ - model.components_ @ pca.T @ pca
    assert np.arcsin(np.linalg.norm(outside, 2)) < 1e-3
    assert least < -model.score(X) < 1.001 * least
    reconstructed = model.reconstruct(X)
    found = np.linalg.svd(reconstructed - reconstructed.mean(axis=0), full_matrices=False)[2][:8]
    np.testing.assert_allclose(np.abs(np.sum(found * pca, axis=1)), 1, atol=1e-3)
    settings |= {"hidden": (), "max_iter": 300}
    curved = tinyae.Autoencoder(8, activation="sigmoid", output_activation="linear", **settings).fit(X)
    assert least < -curved.score(X) < 1.001 * least


@pytest.mark.parametrize("cls", [tinyae.DenoisingAutoencoder, tinyae.VAE])
def test_noise_is_drawn_once_for_lbfgs(cls):
    """Or the line search would have nothing to hold on to: the loss falls at every iteration."""
    model = cls(4, optimizer="lbfgs", max_iter=30, random_state=0).fit(digits()[0])
    losses = model.history_["loss"]
    assert model.n_iter_ == 30
    assert all(after <= before for before, after in zip(losses, losses[1:]))
    assert losses[-1] < 0.9 * losses[0]


# -- sparse ---------------------------------------------------------------------------------------------------------


def test_activity_is_its_formula():
    X = digits()[1][:50].astype(np.float64)
    for reduction, factor in {
        "batch_mean": 1, "batch_sum": 20, "mean": 1 / 5, "keras": 1, "keras_sum": 20,
    }.items():  # fmt: skip
        model = tinyae.SparseAutoencoder(
            5, penalty=0.3, reduction=reduction, activation="tanh", batch_size=20, dtype="float64", random_state=0
        ).build(64)
        expected = 0.3 * factor * np.abs(model.transform(X)).sum(axis=1)
        np.testing.assert_allclose(terms_of(model, X)["activity"], expected, rtol=1e-12)


def test_a_larger_penalty_gives_sparser_codes():
    train, held = digits()

    def share(penalty):
        model = tinyae.SparseAutoencoder(20, penalty=penalty, max_iter=10, lr=5e-3, random_state=0).fit(train)
        return model.fraction_of_zero_codes(held)

    shares = [share(0), share(3e-3)]
    with pytest.warns(RuntimeWarning, match=r"^SparseAutoencoder\.fit: all units are dead: after 10 epochs"):
        shares.append(share(1.0))
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


def test_the_notes_scale():
    """Half the sum of squares is features / 2 times the mean: with penalty and decay so scaled, the same training."""
    X = digits()[0]
    settings = {"rho": 0.1, "optimizer": "lbfgs", "max_iter": 5, "dtype": "float64", "random_state": 0}
    notes = tinyae.SparseKLAutoencoder(10, loss="half_sse", penalty=3.0, decay=1.5e-3, **settings).fit(X)
    mean = tinyae.SparseKLAutoencoder(10, penalty=6.0 / 64, decay=3e-3 / 64, **settings).fit(X)
    x_hat = notes.reconstruct(X)
    half = terms_of(notes, X)["half_sse"]
    np.testing.assert_allclose(half, 0.5 * np.sum((x_hat - X) ** 2, axis=1), rtol=1e-6)
    for name, other in (("kl", "kl"), ("decay", "decay"), ("half_sse", "mse")):
        assert notes.history_[name][0] == pytest.approx(32 * mean.history_[other][0], rel=1e-6)
    assert notes.history_["loss"][0] == pytest.approx(32 * mean.history_["loss"][0], rel=1e-6)


def test_over_all_rows_units_are_awake_as_rho_says():
    X = digits()[0]
    model = tinyae.SparseKLAutoencoder(20, rho=0.1, penalty=1.0, loss="half_sse", optimizer="lbfgs", max_iter=100,
                                       random_state=0).fit(X)  # fmt: skip
    assert model.transform(X).mean() == pytest.approx(0.1, rel=0.2)
    np.testing.assert_allclose(model.net_.mean_activation.data, model.transform(X).mean(axis=0), rtol=0.05, atol=5e-3)


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


def test_the_closed_form_has_the_derivative_of_the_long_way():
    """The penalty's gradient in both, to ten digits; a Sequential in a Sequential hides what is known."""
    X = digits()[1][:5].astype(np.float64)
    for tied in (False, True):
        model = tinyae.ContractiveAutoencoder(4, tied=tied, dtype="float64", random_state=0).build(64)
        parameters = list(model.net_.encoder.parameters())
        slopes = []
        for encoder in (model.net_.encoder, nn.Sequential(model.net_.encoder)):
            model.net_.encoder = encoder
            slopes.append(tinyae.grad(model.loss_terms(X, X)["contraction"].sum(), parameters))
        for short, long in zip(*slopes, strict=True):
            assert np.abs(short.data).max() > 0
            np.testing.assert_allclose(short.data, long.data, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("cls", [
    tinyae.ContractiveAutoencoder, tinyae.DenoisingAutoencoder, tinyae.Noise2NoiseAutoencoder,
    tinyae.WalkbackAutoencoder,
])  # fmt: skip
def test_weights_are_tied_if_asked(cls):
    train, held = digits()
    settings = {"hidden": (9,), "random_state": 0, "max_iter": 2}
    model = cls(4, tied=True, **settings).fit(train)
    w1, w2 = (model.net_.encoder[i].weight.data for i in (0, 2))
    assert sum(p.size for p in model.net_.parameters()) == 64 * 9 + 9 * 4 + 2 * 9 + 4 + 64
    (v1, _), (v2, _) = ([layer.weight.data, layer] for layer in model.net_.decoder if isinstance(layer, nn.Tied))
    np.testing.assert_array_equal(v1, w2.T)
    np.testing.assert_array_equal(v2, w1.T)
    plain = cls(4, **settings).fit(train)
    assert plain.history_["loss"] != model.history_["loss"]
    assert not any(isinstance(layer, nn.Tied) for layer in plain.net_.decoder)


def test_a_penalty_contracts():
    train, held = digits()
    settings = {"max_iter": 20, "lr": 5e-3, "random_state": 0}
    free, bound = (tinyae.ContractiveAutoencoder(16, penalty=p, **settings).fit(train) for p in (0.0, 0.01))
    norms = [np.mean(model.jacobian_norm(held) ** 2) for model in (free, bound)]
    errors = [np.mean((model.reconstruct(held) - held) ** 2) for model in (free, bound)]
    assert norms[1] < 0.5 * norms[0] and errors[1] < 1.25 * errors[0]


# -- convolutional --------------------------------------------------------------------------------------------------


def layers_out(module, n):
    """The shapes after every layer of a Sequential for one row of n values."""
    x, shapes = Tensor(np.zeros((1, n), np.float32)), []
    with no_grad():
        for layer in module:
            x = layer(x)
            shapes.append(x.shape[1:])
    return shapes


@pytest.mark.parametrize("down", ["pool", "stride"])
def test_images_halve_and_come_back(down):
    """As in Chollet's net: 28, 14, 7, 4 and back; channels mirrored."""
    model = tinyae.ConvolutionalAutoencoder(None, hidden=(16, 8, 8), down=down, random_state=0).build(784)
    images = [shape for shape in layers_out(model.net_.encoder, 784) if len(shape) == 3]
    assert list(dict.fromkeys(shape[1] for shape in images)) == [28, 14, 7, 4]
    assert model.n_components_ == 128 and model.transform(np.zeros((2, 784))).shape == (2, 128)
    back = [shape for shape in layers_out(model.net_.decoder, 128) if len(shape) == 3]
    assert [shape[1] for shape in back][0] == 4 and [shape[1] for shape in back][-1] == 28
    assert {14, 7} <= {shape[1] for shape in back}
    assert [m.weight.shape[0] for m in model.net_.encoder if isinstance(m, nn.Conv2d)] == [16, 8, 8]
    assert model.reconstruct(np.zeros((2, 784))).shape == (2, 784)


@pytest.mark.parametrize("down", ["pool", "stride"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 6, 5), (1, 1), (1, 9)])
def test_images_of_any_shape(shape, down):
    n = int(np.prod(shape))
    model = tinyae.ConvolutionalAutoencoder(2, hidden=(4, 3), image_shape=shape, down=down, max_iter=1, random_state=0)
    X = np.random.default_rng(0).random((10, n))
    assert model.fit(X).reconstruct(X).shape == (10, n)
    assert model.net_.encoder[1].weight.shape[1] == (shape[0] if len(shape) == 3 else 1)


def test_codes_move_with_the_image():
    """Two halvings: four pixels in the image are one place in the code."""
    rng = np.random.default_rng(0)
    X = np.zeros((3, 24, 24))
    X[:, 8:12, 8:12] = rng.random((3, 4, 4))
    for down in ("pool", "stride"):
        model = tinyae.ConvolutionalAutoencoder(None, hidden=(4, 3), down=down, random_state=1, dtype="float64")
        model.build(576)
        here, there = (model.transform(x.reshape(3, -1)).reshape(3, 3, 6, 6) for x in (X, np.roll(X, 4, axis=2)))
        assert here.std() > 0
        np.testing.assert_allclose(np.roll(here, 1, axis=3), there, atol=1e-12)


# -- recurrent ------------------------------------------------------------------------------------------------------

RECURRENT = [tinyae.LSTMAutoencoder, tinyae.GRUAutoencoder, tinyae.TeacherForcedAutoencoder]


@pytest.mark.parametrize("cls", RECURRENT)
def test_padding_is_not_read_and_not_compared(cls):
    rng = np.random.default_rng(0)
    model = cls(3, hidden=(4,), channels=2, padding_value=-1.0, dtype="float64", random_state=0, max_iter=2)
    X = rng.random((6, 10, 2))
    X[0, 1] = X[0, 4] = -1.0  # within the sequence, where it is a value
    lengths = [10, 1, 4, 9, 3, 10]
    for row, length in zip(X, lengths):
        row[length:] = -1.0
    model.fit(X.reshape(6, 20))
    codes = model.transform(X.reshape(6, 20))
    with no_grad():  # teacher forcing looks at the target, as the loss does
        told = model._output(model.unfold(Tensor(codes), Tensor(X.reshape(6, 20)))).data.reshape(6, 10, 2)
    scores = -model.score_samples(X.reshape(6, 20))
    for i, length in enumerate(lengths):
        with no_grad():
            alone = model.net_.encoder(X[i, :length].reshape(1, -1)).data
        np.testing.assert_allclose(codes[i], alone[0], rtol=1e-12)
        assert scores[i] == pytest.approx(np.mean((told[i] - X[i])[:length] ** 2), rel=1e-10)
    unread = cls(3, hidden=(4,), channels=2, dtype="float64", random_state=0).build(20)
    assert not np.allclose(unread.transform(X.reshape(6, 20))[1:5], codes[1:5])
    empty = np.full((1, 20), -1.0)
    assert model.score(empty) == 0 and np.isfinite(model.transform(empty)).all()


@pytest.mark.parametrize("cls", RECURRENT)
def test_one_sequence_is_learned_by_heart(cls):
    """.1, .2 ... .9, by a net of a fifth of the size that is usual."""
    x = np.linspace(0.1, 0.9, 9)[None]
    model = cls(20, lr=0.01, max_iter=300, batch_size=1, output_activation="linear", random_state=0).fit(x)
    np.testing.assert_allclose(model.reconstruct(x), x, atol=0.03)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_told_freely_each_step_is_given_the_one_before(cell):
    """With its own reconstruction as the target, one pass gives just that; with another target it does not."""
    X = np.random.default_rng(0).random((4, 12))
    model = tinyae.TeacherForcedAutoencoder(
        5, hidden=(6,), channels=3, cell=cell, dtype="float64", random_state=0, output_activation="sigmoid"
    ).build(12)
    codes = model.transform(X)
    told = model.inverse_transform(codes)
    with no_grad():
        again, forced = (model._output(model.unfold(Tensor(codes), Tensor(t))).data for t in (told, X))
    np.testing.assert_allclose(again, told, rtol=1e-12)
    np.testing.assert_allclose(forced[:, :3], told[:, :3], rtol=1e-12)
    assert not np.allclose(forced[:, 3:], told[:, 3:])
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    assert all(type(layer) is kind for layer in [*model.net_.encoder.layers, *model.net_.decoder.layers])
    assert len(model.net_.encoder.layers) == len(model.net_.decoder.layers) == 2


# -- stacked --------------------------------------------------------------------------------------------------------


def pretrained(cls, **settings):
    """(a model after its pretraining, the parts that it made)."""
    parts = []

    class Watched(cls):
        """Remembers its parts."""

        def make_part(self, number, **chosen):
            """As ever."""
            parts.append(super().make_part(number, **chosen))
            return parts[-1]

    settings = {"n_components": 3, "hidden": (9, 5), "pretrain_iter": 1, "random_state": 0, **settings}
    model = Watched(**settings).build(64)
    model.prepare(digits()[0], None)
    return model, parts


@pytest.mark.parametrize("cls", [tinyae.StackedAutoencoder, tinyae.StackedDenoisingAutoencoder,
                                 tinyae.StackedSparseAutoencoder])  # fmt: skip
def test_a_stack_is_its_parts_in_a_row(cls):
    held = digits()[1]
    model, parts = pretrained(cls)
    assert [part.n_components for part in parts] == [9, 5, 3]
    kind = {tinyae.StackedDenoisingAutoencoder: tinyae.DenoisingAutoencoder,
            tinyae.StackedSparseAutoencoder: tinyae.SparseKLAutoencoder}.get(cls, tinyae.Autoencoder)  # fmt: skip
    assert all(type(part) is kind for part in parts)
    assert len(model.pretraining_) == 3 and all(len(history["loss"]) == 1 for history in model.pretraining_)
    codes = held
    for part in parts:
        codes = part.transform(codes)
    np.testing.assert_array_equal(model.transform(held), codes)
    for part in reversed(parts):
        codes = part.inverse_transform(codes)
    np.testing.assert_array_equal(model.reconstruct(held), codes)


@pytest.mark.parametrize("settings", [{}, {"down": "stride", "image_shape": (4, 16)}, {"n_components": None},
                                      {"image_shape": (4, 4, 4), "kernel_size": 5}])  # fmt: skip
def test_a_convolutional_stack_is_its_parts_in_a_row(settings):
    held = digits()[1]
    model, parts = pretrained(tinyae.StackedConvolutionalAutoencoder, **settings)
    channels = settings.get("image_shape", (8, 8))[:-2] or (1,)
    assert [(part.image()[0], part.hidden) for part in parts[:2]] == [(*channels, (9,)), (9, (5,))]
    assert [type(part) for part in parts] == [tinyae.ConvolutionalAutoencoder] * 2 + [tinyae.Autoencoder] * (
        "n_components" not in settings)  # fmt: skip
    codes = held
    for part in parts:
        codes = part.transform(codes)
    np.testing.assert_array_equal(model.transform(held), codes)
    for part in reversed(parts):
        codes = part.inverse_transform(codes)
    np.testing.assert_array_equal(model.reconstruct(held), codes)


def test_parts_get_what_is_theirs():
    parts = pretrained(tinyae.StackedDenoisingAutoencoder, noise=(0.1, 0.2, 0.3), decay=0.5, loss="bce",
                       activation="sigmoid")[1]  # fmt: skip
    assert [part.noise for part in parts] == [0.1, 0.2, 0.3]
    assert [part.decay for part in parts] == [0.5] * 3
    assert [part.loss for part in parts] == ["bce"] * 3, "codes of sigmoids are in [0, 1], too"
    assert [part.loss for part in pretrained(tinyae.StackedAutoencoder, loss="bce")[1]] == ["bce", "mse", "mse"]
    sparse = pretrained(tinyae.StackedSparseAutoencoder, rho=0.2, penalty=0.3)[1]
    assert [(part.rho, part.penalty, part.loss) for part in sparse] == [(0.2, 0.3, "half_sse")] * 3
    assert [part.decay for part in pretrained(tinyae.RBMAutoencoder, decay=0.5)[1]] == [1e-4] * 3


def test_pretraining_alone_and_what_is_kept_of_it(tmp_path):
    train, held = digits()
    settings = {"hidden": (9, 5), "pretrain_iter": 2, "random_state": 0}
    model = tinyae.StackedAutoencoder(3, max_iter=0, **settings).fit(train)
    assert model.history_ == {} and model.n_iter_ == 0 and len(model.pretraining_) == 3
    np.testing.assert_array_equal(
        model.transform(held), pretrained(tinyae.StackedAutoencoder, **settings)[0].transform(held)
    )
    again = tinyae.load(model.save(tmp_path / "model.npz"))
    kept = [{name: row for name, row in history.items() if name != "seconds"} for history in model.pretraining_]
    assert again.pretraining_ == kept and again.n_iter_ == 0
    np.testing.assert_array_equal(again.transform(held), model.transform(held))


@pytest.mark.parametrize("number", [1, 2])
def test_diverged_while_pretraining(number):
    class Astray(tinyae.StackedAutoencoder):
        def make_part(self, i, **settings):
            return super().make_part(i, **settings | ({"optimizer": "sgd", "lr": 1e30} if i == number - 1 else {}))

    model = Astray(3, hidden=(9, 5), activation="linear", output_activation="linear", pretrain_iter=2, random_state=0)
    said = rf"^Astray: while pretraining layer {number}: the loss became \w+ in epoch 1, .* Lower pretrain_lr, or scale"
    with pytest.raises(DivergedError, match=said) as caught:
        model.fit(digits()[0])
    assert caught.value.history == [] and caught.value.best.epoch == 0
    assert not hasattr(model, "net_") and not hasattr(model, "pretraining_"), "no half of a model"


def test_pretraining_is_a_better_start():
    settings = {"n_components": 8, "max_iter": 1, "random_state": 0}
    for cls in (tinyae.StackedAutoencoder, tinyae.StackedDenoisingAutoencoder, tinyae.StackedSparseAutoencoder,
                tinyae.StackedConvolutionalAutoencoder, tinyae.RBMAutoencoder):  # fmt: skip
        first = [
            cls(**settings, pretrain_iter=n, hidden=(32,)).fit(digits()[0], validation_data=digits()[1])
            .history_["val_loss"][0] for n in (0, 10)
        ]  # fmt: skip
        assert first[1] < 0.95 * first[0], cls
    own = tinyae.StackedAutoencoder(3, max_iter=1, encoder=nn.Linear(64, 3), random_state=0).fit(digits()[0])
    assert own.pretraining_ == [], "what is not ours is not taken apart"


def test_stacked_denoising_without_noise_is_stacked_to_the_bit():
    plain, denoising = (pretrained(cls, **s)[0].net_.state_dict() for cls, s in (
        (tinyae.StackedAutoencoder, {}), (tinyae.StackedDenoisingAutoencoder, {"noise": 0.0, "corruption": "gaussian"})
    ))  # fmt: skip
    for name, value in plain.items():
        np.testing.assert_array_equal(denoising[name], value)


def machine(visible, hidden, n=5, k=3, **settings):
    """A Boltzmann machine of float64 with weights that are not small."""
    m = _Machine(k, activation=hidden, output_activation=visible, dtype="float64", random_state=0, **settings).build(n)
    rng = np.random.default_rng(1)
    for p in m.net_.parameters():
        p.data = rng.standard_normal(p.shape)
    return m, m.net_.encoder[0].weight.data, m.net_.encoder[0].bias.data, m.net_.decoder[0].bias.data


@pytest.mark.parametrize("visible", ["sigmoid", "linear"])
@pytest.mark.parametrize("hidden", ["sigmoid", "linear"])
def test_free_energy_sums_over_all_hidden_states(visible, hidden):
    """-log sum_h exp(-E(v, h)), up to a constant: two v's differ as they should. Normal h are summed on a grid."""
    m, w, c, b = machine(visible, hidden, k=2)
    v = np.random.default_rng(2).random((4, 5))
    axis = np.array([0.0, 1.0]) if hidden == "sigmoid" else np.linspace(-15, 15, 601)
    h = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    energy = -v @ w @ h.T
    energy = energy - h @ c if hidden == "sigmoid" else energy + 0.5 * ((h - c) ** 2).sum(axis=1)
    energy = energy + (-(v @ b) if visible == "sigmoid" else 0.5 * ((v - b) ** 2).sum(axis=1))[:, None]
    expected = -np.log(np.exp(-energy).sum(axis=1))
    got = m.free_energy(Tensor(v)).data
    np.testing.assert_allclose(got - got[0], expected - expected[0], rtol=1e-6)


def test_contrastive_divergence_is_its_rule():
    """The gradient of a batch is -(v h - v1 h1) / rows, with h drawn and v1 and h1 as probabilities."""
    m, w, c, b = machine("sigmoid", "sigmoid")
    v = np.random.default_rng(2).random((7, 5))

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    m.noise_.counter = 3
    h = m.noise_.draw("uniform", (7, 3), np.float64) < sigmoid(v @ w + c)
    v1 = sigmoid(h @ w.T + b)
    m.noise_.counter = 3
    (terms,) = m.loss_terms(Tensor(v), Tensor(v)).values()
    terms.mean().backward()
    h0, h1 = sigmoid(v @ w + c), sigmoid(v1 @ w + c)
    np.testing.assert_allclose(m.net_.encoder[0].weight.grad.data, -(v.T @ h0 - v1.T @ h1) / 7, rtol=1e-10)
    np.testing.assert_allclose(m.net_.encoder[0].bias.grad.data, -(h0 - h1).mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(m.net_.decoder[0].bias.grad.data, -(v - v1).mean(axis=0), rtol=1e-10)


def test_a_machine_learns_two_patterns():
    X = np.repeat([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], 50, axis=0).astype(np.float32)
    momenta = []
    m = _Machine(4, activation="sigmoid", output_activation="sigmoid", lr=0.05, batch_size=20, max_iter=100,
                 random_state=0).fit(X, callbacks=[lambda m, row: momenta.append(m._rule.momentum)])  # fmt: skip
    assert momenta == [0.5] * 4 + [0.9] * 96 or momenta == [0.5] * 5 + [0.9] * 95
    with no_grad():
        np.testing.assert_allclose(m.dream(X).data, X, atol=0.1)
        others = m.free_energy(np.random.default_rng(0).permuted(X, axis=1)).data
        assert m.free_energy(X).data.max() < np.median(others)


def test_a_deep_net_by_boltzmann_machines():
    """Binary units but for the code; data beyond [0, 1] get normal visible units."""
    model, parts = pretrained(tinyae.RBMAutoencoder)
    assert [part.activation for part in parts] == ["sigmoid", "sigmoid", "linear"]
    assert [part.lr for part in parts] == [0.02, 0.02, 0.0002]
    down, up = model.net_.encoder[0], model.net_.decoder[-1]
    np.testing.assert_array_equal(down.weight.data, up.weight.data.T)
    assert down.weight is not up.weight
    wide = tinyae.RBMAutoencoder(2, loss="mse", max_iter=2, random_state=0).fit(5.0 * digits()[0] - 2.0)
    assert wide.history_["loss"][1] < wide.history_["loss"][0]


# -- variational ----------------------------------------------------------------------------------------------------


def test_the_kl_weight_rises_step_by_step():
    """Four steps an epoch, two epochs of warm-up; where nothing is learned the weight is whole."""
    X = digits()[0][:40].astype(np.float64)
    for schedule, expected in {
        "linear": [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1, 1, 1],
        "cyclical": [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, *[1] * 8, 0, 1 / 8],
        "constant": [1, 1, 1],
    }.items():
        model = tinyae.AnnealedVAE(3, beta=2.0, schedule=schedule, warmup=2, batch_size=10, dtype="float64").build(64)
        model.prepare(X, None)
        model.net_.eval()
        whole = terms_of(model, X)["kl"]
        np.testing.assert_allclose(whole, 2.0 * tinyae.VAE.penalise(model, model.encode(X), None)["kl"].data)
        model.net_.train()
        shares = [terms_of(model, X)["kl"].sum() / whole.sum() for _ in expected]
        np.testing.assert_allclose(shares, expected, atol=1e-12)


@pytest.mark.parametrize("compile", [True, False])
def test_the_clock_runs_in_a_plan_too(compile):
    model = tinyae.AnnealedVAE(3, warmup=4, max_iter=3, batch_size=30, random_state=0, compile=compile)
    model.fit(digits()[0])
    assert model.net_.clock.item() == pytest.approx(3.0, abs=1e-3)
    assert tinyae.AnnealedVAE(3, schedule="constant", max_iter=2, random_state=0).fit(digits()[0]).history_["loss"] == (
        tinyae.BetaVAE(3, beta=1.0, max_iter=2, random_state=0).fit(digits()[0]).history_["loss"]
    )


def test_free_bits():
    """max(free_bits, KL) of every component; none is the VAE; components that beta puts to sleep stay awake."""
    train, held = digits()
    X = held[:50].astype(np.float64)
    model = tinyae.FreeBitsVAE(4, hidden=(), free_bits=0.3, dtype="float64", random_state=0).build(64)
    mu, s = model.posterior(X)
    kl = 0.5 * (mu**2 + s**2 - 2 * np.log(s) - 1)
    assert 0.1 < np.mean(kl < 0.3) < 0.9
    np.testing.assert_allclose(terms_of(model, X)["kl"], np.maximum(kl, 0.3).sum(axis=1), rtol=1e-10)
    none, plain = (cls(3, **s, max_iter=2, random_state=0).fit(train) for cls, s in (
        (tinyae.FreeBitsVAE, {"free_bits": 0}), (tinyae.VAE, {})))  # fmt: skip
    np.testing.assert_allclose(none.history_["loss"], plain.history_["loss"], rtol=1e-6)
    settings = {"n_components": 12, "hidden": (), "max_iter": 30, "lr": 5e-3, "random_state": 0}
    awake = [cls(**settings).fit(train).active_units(held).sum() for cls in (tinyae.BetaVAE, tinyae.FreeBitsVAE)]
    assert awake[1] == 12 > awake[0]


def test_a_collapse_is_said():
    X = np.random.default_rng(0).random((100, 5))
    with pytest.warns(RuntimeWarning, match=r"^BetaVAE\.fit: the posterior collapsed: after 40 epochs .*AnnealedVAE"):
        model = tinyae.BetaVAE(2, beta=50.0, max_iter=40, lr=0.02, random_state=0).fit(X)
    assert not model.active_units(X).any()
    np.testing.assert_allclose(model.posterior_width(X), 1.0, atol=0.05)
    with pytest.warns(RuntimeWarning, match=r"^FreeBitsVAE\.fit: the posterior collapsed"):
        tinyae.FreeBitsVAE(2, free_bits=0.0, max_iter=60, lr=0.02, random_state=0).fit(X)
    tinyae.BetaVAE(2, beta=50.0, max_iter=9, lr=0.02, random_state=0).fit(X)  # too early to say


def test_active_units_and_width_are_the_posteriors():
    model = tinyae.VAE(4, max_iter=5, lr=5e-3, random_state=0).fit(digits()[0])
    X = digits()[1]
    mu, s = model.posterior(X)
    np.testing.assert_array_equal(model.active_units(X, threshold=0.5), mu.var(axis=0) > 0.5)
    np.testing.assert_allclose(model.posterior_width(X), s.mean(axis=0), rtol=1e-6)


def test_the_log_likelihood_is_known_of_a_linear_decoder():
    """x = z W + b + noise is normal, of covariance W.T W + sigma**2: importance sampling finds its density."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, 2)) @ rng.standard_normal((2, 5)) + 0.5 * rng.standard_normal((1100, 5)) + 3.0
    model = tinyae.VAE(
        2, hidden=(), loss="gaussian", sigma=0.5, dtype="float64", lr=0.02, max_iter=40, random_state=0
    ).fit(X)
    w, b = model.net_.decoder[0].weight.data, model.net_.decoder[0].bias.data
    covariance = w.T @ w + 0.25 * np.eye(5)
    away = X - b
    volume = np.linalg.slogdet(2 * np.pi * covariance)[1]
    exact = -0.5 * ((away @ np.linalg.inv(covariance) * away).sum(axis=1) + volume)
    one, many = (model.log_likelihood(X, n_samples=n, random_state=1) for n in (1, 200))
    assert one.shape == (1100,)
    assert abs(np.mean(many - exact)) < 0.02 < np.mean(exact - one)
    assert -0.1 < np.mean(model.score_samples(X) - one) < 0.1, "one sample: the evidence lower bound"
    np.testing.assert_array_equal(many, model.log_likelihood(X, n_samples=200, random_state=1))
    with pytest.raises(SettingError, match="n_samples"):
        model.log_likelihood(X, n_samples=0)


# -- walkback -------------------------------------------------------------------------------------------------------


def test_walkback_of_one_step_is_denoising_to_the_bit():
    train, held = digits()
    settings = {"loss": "bce", "corruption": "salt_and_pepper", "max_iter": 2, "random_state": 0}
    one = tinyae.WalkbackAutoencoder(5, walkback=1, **settings).fit(train)
    plain = tinyae.DenoisingAutoencoder(5, **settings).fit(train)
    assert one.history_["loss"] == plain.history_["loss"]
    np.testing.assert_array_equal(one.transform(held), plain.transform(held))
    with no_grad():  # each place of the chain is compared with where it began
        one.set_params(walkback=4).noise_.counter = 9
        (walked,) = terms_of(one, held).values()
        one.noise_.counter = 9
        x, parts = held, []
        for _ in range(4):
            a = one.decode(one.encode(one.corrupt(x)))
            parts.append(nn.bce_with_logits(a, held, reduction="none").data.mean(axis=1))
            x = one.draw(one._output(a)).data
            assert set(np.unique(x)) == {0, 1}
    np.testing.assert_allclose(walked, np.mean(parts, axis=0), rtol=1e-5)
    one.set_params(persistence=0.5).noise_.counter = 9
    (fading,) = terms_of(one, held).values()
    np.testing.assert_allclose(fading, np.average(parts, axis=0, weights=[8, 4, 2, 1]), rtol=1e-5)
    one.set_params(persistence=0, walkback=2).noise_.counter = 9
    (first,) = terms_of(one, held).values()
    np.testing.assert_allclose(first, parts[0], rtol=1e-5)


def test_rows_spoiled_before_the_training_are_spoiled_on_the_way():
    """fresh=False: the first place of a chain comes spoiled, the others do not."""
    train = digits()[0]
    model = tinyae.WalkbackAutoencoder(5, fresh=False, walkback=1, random_state=0).build(64)
    model.net_.train()
    first, again = (terms_of(model, train)["bce"] for _ in range(2))
    np.testing.assert_array_equal(again, first)
    model.set_params(walkback=2).noise_.counter = 3
    two = terms_of(model, train)["bce"]
    with no_grad():
        model.noise_.counter = 3
        x = model.spoil(model.draw(model._output(model.net_(train))))
        second = nn.bce_with_logits(model.net_(x), train, reduction="none").data.mean(axis=1)
    np.testing.assert_allclose(two, (first + second) / 2, rtol=1e-5)


def test_chains_come_back():
    """Eight steps on, nearer to where they began than a denoising one's; from noise, they end among the data."""
    bits, held = ((part > 0.5).astype(np.float32) for part in digits())
    distances, errors = [], []
    for steps in (1, 4):
        model = tinyae.WalkbackAutoencoder(
            48, hidden=(96,), walkback=steps, noise=0.3, max_iter=40, lr=5e-3, random_state=0
        ).fit(bits)
        made = model.sample(60, random_state=1, steps=20)
        np.testing.assert_array_equal(made, model.sample(60, random_state=1, steps=20))
        errors.append(np.mean((model.walk(held, 8, random_state=0) - held) ** 2))
        distances.append(np.linalg.norm((made > 0.5)[:, None] - bits, axis=2).min(axis=1).mean())
    noise = np.random.default_rng(0).random((60, 64)) > 0.5
    assert max(distances) < 0.5 * np.linalg.norm(noise[:, None] - bits, axis=2).min(axis=1).mean()
    assert errors[1] < 0.9 * errors[0]
    before = model.noise_
    places = model.chain(bits[:5], 6, random_state=2)
    assert places.shape == (5, 6, 64)
    for steps in (1, 2, 6):
        np.testing.assert_array_equal(places[:, steps - 1], model.walk(bits[:5], steps, random_state=2))
    np.testing.assert_array_equal(model.walk(bits[:5], random_state=1), model.walk(bits[:5], 1, random_state=1))
    assert model.noise_ is before
    for call in (lambda: model.walk(bits, 0), lambda: model.chain(bits, 0), lambda: model.sample(0)):
        with pytest.raises(SettingError, match="Give a whole number of at least 1"):
            call()


# -- rows that nobody scaled ----------------------------------------------------------------------------------------

GAUSSIAN = [name for name in tinyae.ZOO if "gaussian" in tinyae.ZOO[name].losses]


def raw(kind):
    """A table as people have them, (rows, 8)."""
    rng = np.random.default_rng(0)
    if kind == "constant":
        return np.tile(rng.integers(0, 900, 8), (70, 1)).astype(float)
    table = rng.gamma(1.0, size=(70, 8)) * [846, 200, 122, 99, 67, 2.4, 81, 1]
    return table * 1e4 if kind == "millions" else np.c_[table[:, :-1], np.full(70, 7.0)]


@pytest.mark.parametrize("kind", ["hundreds", "millions", "constant"])
@pytest.mark.parametrize("name", GAUSSIAN)
def test_raw_tables_are_learned(name, kind):
    """exp of what the encoder makes of them overflows; of what becomes of that it does not."""
    for seed in range(3 if kind == "hundreds" else 1):
        model = tinyae.ZOO[name](loss="gaussian", lr=0.01, max_iter=20, batch_size=16, random_state=seed).fit(raw(kind))
        losses = model.history_["nll"]  # a weight of the KL term that rises would hide it
        assert np.isfinite(losses).all() and losses[-1] < losses[0]
        assert np.isfinite(model.posterior(raw(kind))[1]).all() and np.isfinite(model.log_likelihood(raw(kind), 5)).all()


def test_a_gentle_logarithm():
    """a up to 10, to the bit and with its gradient; above, 10 + log(a - 9), whose slope goes on from 1."""
    a = np.array([-1e30, -3.7, 0.0, 9.999, 10.0, 10.5, 100.0, 1e30], np.float32)
    x = Tensor(a, requires_grad=True)
    y = gentle(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.data[:5], a[:5])
    np.testing.assert_array_equal(x.grad.data[:5], 1.0)
    beyond = a[5:].astype(np.float64)
    np.testing.assert_allclose(y.data[5:], 10 + np.log(beyond - 9), rtol=1e-6)  # of float32: 6e-8, and of a - 10
    np.testing.assert_allclose(x.grad.data[5:], 1 / (beyond - 9), rtol=1e-6)
    assert np.isfinite(np.exp(y.data)).all()
    assert tinyae.gradcheck(lambda a: gentle(a, 1.0), np.array([-2.0, 0.9, 1.2, 30.0]))


@pytest.mark.parametrize("low", [-10.0, -60.0, -1e4])
def test_a_learned_sigma_does_not_vanish(low):
    """Where it would be 0, the loss is finite and its slope leads back: 1 / sigma = exp(10) (-l - 9)."""
    X = np.full((20, 4), 0.5)
    model = tinyae.VAE(2, loss="gaussian", dtype="float64", random_state=0).build(4)
    model.net_.log_sigma.data = np.array(low)
    assert np.exp(-model._log_sigma().item()) == pytest.approx(np.exp(10) * (-low - 9), rel=1e-12)
    sum(term.sum() for term in model.loss_terms(X, X).values()).backward()
    slope = model.net_.log_sigma.grad.item()
    assert np.isfinite(slope) and slope < 0, "the errors are larger than sigma: it shall grow"
    given = tinyae.VAE(2, loss="gaussian", sigma=1e-8, dtype="float64", random_state=0).build(4)
    assert np.exp(given._log_sigma().item()) == pytest.approx(1e-8, rel=1e-12), "one that is given is taken"
