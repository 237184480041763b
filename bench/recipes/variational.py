"""Rows of the family whose codes are distributions, and the toy problem of four vectors before it."""

import numpy as np

from . import Check, Fit, Recipe, reconstructions, test_loss

_TOY = "a tutorial's toy of four one-hot vectors, all in one batch"


def distinct(run, name):
    """1 if the four codes lie in four corners."""
    return float(run.models[name].corners(np.eye(4))[1])


def toy_encoder(seed):
    """mu and log sigma, linear: mu's weights start at 0, log sigma's at N(0, .01**2) and its biases at 1."""
    from tinyae import nn, ops

    class LogVariance(nn.Module):
        def forward(self, h):
            """(mu, log sigma) -> (mu, log sigma**2)."""
            return ops.concat(h[:, :2], 2.0 * h[:, 2:], axis=1)

    layer = nn.Linear(4, 4)
    weight = 0.01 * np.random.default_rng(seed).standard_normal((4, 4))
    weight[:, :2] = 0.0
    layer.weight.data, layer.bias.data = weight.astype(np.float32), np.array([0, 0, 1, 1], np.float32)
    return nn.Sequential(layer, LogVariance()), None


def late_entropy(run, name):
    """The cross-entropy, mean over rows and features and over the last 500 steps, in nats."""
    return np.mean(run.models[name].history_["nll"][-500:]) / 4


def late_divergence(run, name):
    """The divergence, mean over rows and components and over the last 500 steps, in nats."""
    return np.mean(run.models[name].history_["kl"][-500:]) / run.models[name].beta / 2


def in_a_valley(run, name):
    """1 if the cross-entropy is one of the two that the recipe ends with."""
    entropy = late_entropy(run, name)
    return float(0.14 <= entropy <= 0.17 or 0.23 <= entropy <= 0.26)


def rmsprop(parameters):
    """As Keras has it."""
    from tinyae import optim

    return optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=1e-7)


def density(run, name):
    """log p(x | z) at the codes' means, in nats per pixel, mean over test rows."""
    return run.models[name].log_density(run.data.X_test).mean(dtype=np.float64) / run.data.X.shape[1]


def denser(run, name, other):
    """By how much the other's is higher."""
    return density(run, other) - density(run, name)


def drawn(run):
    """Of the last model: means, below them draws from the likelihood, of the same codes."""
    from matplotlib.figure import Figure

    model, shape = list(run.models.values())[-1], run.data.image_shape
    figure = Figure(figsize=(8, 2), layout="constrained")
    for row, draw in enumerate(("mean", "likelihood")):
        for column, image in enumerate(model.sample(8, random_state=0, draw=draw)):
            axes = figure.add_subplot(2, 8, 8 * row + column + 1)
            axes.imshow(image.reshape(shape), cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
    return figure


_PLANE = {"n_components": 2, "hidden": (256,), "optimizer": rmsprop, "batch_size": 128}
_GAUSSIAN = {"n_components": 32, "hidden": (256,), "loss": "gaussian"}
_COVARIANCE = {"pretrain_iter": 5, "max_iter": 10}
_FASHION = {"rows": 10000, "quick": {"rows": 2000}}

RECIPES = [
    Recipe(
        "R1", "one-hot 4-2-4", _TOY,
        {"onehot": Fit("onehot", {})},
        (Check("share with four corners", distinct, ("onehot",), ".95", low=0.8, quick=(1.0, None)),),
        data="onehot", seeds=20,
    ),
    Recipe(
        "R2", "one-hot VAE 4-2-4", _TOY,
        {"vae": Fit("beta-vae", {"n_components": 2, "beta": 0.6, "optimizer": "momentum", "lr": 0.0025, "batch_size": 4,
                                 "max_iter": 8000, "init": "normal"}, nets=toy_encoder)},
        (Check("in one of two valleys", in_a_valley, ("vae",), low=1.0, quick=(1.0, None)),
         Check("cross-entropy", late_entropy, ("vae",), ".14-.17 or .23-.26", low=0.14, high=0.26, quick=(0.14, 0.26)),
         Check("KL", late_divergence, ("vae",), ".5-.9", low=0.5, high=0.9, quick=(0.5, 0.9))),
        data="onehot",
        differs="The source takes means over 4 features and 2 components and weighs the KL by .3; with sums that is "
                "beta = .3 * 4 / 2, and a quarter of its step .01.",
    ),
    Recipe(
        "R13", "VAE of two components 784-256-2-256-784", "Chollet, Building autoencoders in Keras, 2016",
        {"vae": Fit("vae", {**_PLANE, "max_iter": 50}, quick={"max_iter": 1, "rows": 20000})},
        (Check("test, nats", test_loss, ("vae",), "151.99", high=154.0, quick=(None, 210.0)),),
        seeds=1, picture=reconstructions,
    ),
    Recipe(
        "R24", "structured covariance, Fashion-MNIST", "Dorta et al. 2018, on faces",
        {"fixed": Fit("vae", {**_GAUSSIAN, "max_iter": 15}, **_FASHION),
         "diagonal": Fit("structured-vae", {**_GAUSSIAN, "neighbourhood": 0, **_COVARIANCE}, **_FASHION),
         "structured": Fit("structured-vae", {**_GAUSSIAN, "neighbourhood": 1, **_COVARIANCE}, **_FASHION)},
        (Check("fixed: nats per pixel", density, ("fixed",), low=0.6, quick=(-0.7, None)),
         Check("diagonal: nats per pixel", density, ("diagonal",), "1.50", low=1.15, quick=(0.15, None)),
         Check("structured: nats per pixel", density, ("structured",), "2.25", low=1.55, quick=(0.5, None)),
         Check("diagonal beats fixed by", denser, ("fixed", "diagonal"), low=0.3, quick=(0.4, None)),
         Check("structured beats diagonal by", denser, ("diagonal", "structured"), ".75", low=0.3, quick=(0.2, None))),
        data="fashion-mnist", seeds=1, picture=drawn,
        differs="A VAE of 32 components for an autoencoder of 256; Adam's step is .001 from the start; other images.",
    ),
]  # fmt: skip
