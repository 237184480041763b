"""Rows of nets that contract, clean, walk among the data, and tell a sequence."""

import functools

import numpy as np

from . import Check, Fit, Recipe, cleaned, filters

# -- one sequence ---------------------------------------------------------------------------------------------------


def nine_steps(run):
    """One row: .1, .2 ... .9."""
    from tinyae.data import Dataset

    X = np.linspace(0.1, 0.9, 9)[None]
    return Dataset(X, X_test=X, name="nine steps")


def worst_value(run, name):
    """The largest difference of a value told from the value read."""
    return np.abs(run.models[name].reconstruct(run.data.X) - run.data.X).max()


# -- contractive ----------------------------------------------------------------------------------------------------


def squared_jacobian_norm(run, name):
    """||dz / dx||**2, mean over test images."""
    return np.square(run.models[name].jacobian_norm(run.data.X_test)).mean(dtype=np.float64)


def contraction(run, name, other):
    """How many times smaller the other's squared norm is."""
    return squared_jacobian_norm(run, name) / squared_jacobian_norm(run, other)


def cross_entropy(run, name):
    """Of the reconstruction alone, summed over the pixels, mean over test images."""
    X = run.data.X_test[:] / run.data.scale
    x_hat = run.models[name].reconstruct(run.data.X_test).astype(np.float64).clip(1e-7, 1 - 1e-7)
    return -(X * np.log(x_hat) + (1 - X) * np.log(1 - x_hat)).sum(axis=1).mean()


def cross_entropy_rises(run, name, other):
    """The other's over the one's."""
    return cross_entropy(run, other) / cross_entropy(run, name)


# -- noisy targets --------------------------------------------------------------------------------------------------


def error_against_clean(run, name):
    """Squared error of cleaned test images, the same noise for every model."""
    X = run.data.X_test[:] / np.float32(run.data.scale)
    noisy = X + 0.3 * np.random.default_rng(0).standard_normal(X.shape, np.float32)
    return np.square(run.models[name].reconstruct(noisy.clip(0, 1)) - X).mean(dtype=np.float64)


def error_ratio(run, name, other):
    """The other's error over the one's."""
    return error_against_clean(run, other) / error_against_clean(run, name)


# -- walkback -------------------------------------------------------------------------------------------------------


def binarised(run):
    """MNIST, every pixel above one half 1, else 0."""
    from tinyae.data import Dataset, load_data

    data = load_data("mnist")
    X, X_test = ((part > 127).astype(np.uint8) for part in (data.X, data.X_test))
    return Dataset(X, X_test=X_test, name="mnist, binarised", image_shape=data.image_shape)


@functools.cache
def parzen(run, name):
    """Mean log-likelihood of test images under windows around samples, in nats; sigma by training rows not used."""
    from tinyae import metrics

    n = 1000 if run.quick else 10000
    samples = run.models[name].sample(n, random_state=run.seed)
    sigma = metrics.parzen_bandwidth(samples, run.data.X[-1000:])
    return metrics.parzen(samples, run.data.X_test[:n], sigma).mean()


def parzen_gain(run, name, other):
    """How many nats the other is better."""
    return parzen(run, other) - parzen(run, name)


def chains(run):
    """Four test images and where 48 steps take them, every fourth place shown."""
    from tinyae import plot

    X = run.data.X_test[:4]
    places = np.concatenate([X[:, None], run.models["walkback"].chain(X, 48, random_state=0)[:, 3::4]], axis=1)
    return plot.images({f"chain {i}": row for i, row in enumerate(places)}, run.data.image_shape)


_CONTRACTIVE = {"n_components": 500, "tied": True, "loss": "bce", "lr": 3e-3, "max_iter": 7, "batch_size": 100}
_NOISE = {"n_components": 64, "noise": 0.3, "max_iter": 10, "batch_size": 256}
_WALK = {"n_components": 500, "activation": "sigmoid", "tied": True, "noise": 0.4, "lr": 3e-3, "max_iter": 10,
         "batch_size": 100}  # fmt: skip
_FEW = {"max_iter": 2, "rows": 5000}

RECIPES = [
    Recipe(
        "R14", "LSTM 100 - 100 by heart, relu, MSE", "Brownlee, a gentle introduction to LSTM autoencoders, 2018",
        {"lstm": Fit("lstm", {"n_components": 100, "activation": "relu", "output_activation": "linear",
                              "max_iter": 300, "batch_size": 1})},
        (Check("worst value", worst_value, ("lstm",), ".0056", high=0.02, quick=(None, 0.02)),),
        data=nine_steps,
    ),
    Recipe(
        "R21", "contractive 784-500 tied, BCE", "Rifai, Vincent, Muller, Glorot and Bengio 2011",
        {"free": Fit("contractive", {**_CONTRACTIVE, "penalty": 0.0}, quick=_FEW),
         "bound": Fit("contractive", {**_CONTRACTIVE, "penalty": 0.1 / 784}, quick=_FEW)},
        (Check("squared norm falls, times", contraction, ("free", "bound"), "3.2 (PyTorch)", low=2.5,
               quick=(1.0, None)),
         Check("cross-entropy rises, times", cross_entropy_rises, ("free", "bound"), "1.08 (PyTorch)", high=1.2,
               quick=(None, 1.2))),
        seeds=1, picture=filters, differs="500 units, the paper has 1000; Adam for 7 epochs in place of SGD for 20",
    ),
    Recipe(
        "R22", "denoising from noisy targets, 784-64-784, MSE", "Lehtinen et al. 2018",
        {"clean": Fit("denoising", _NOISE, quick=_FEW), "noisy": Fit("noise2noise", _NOISE, quick=_FEW)},
        (Check("error, times that of clean targets", error_ratio, ("clean", "noisy"), "1.00", high=1.05,
               quick=(None, 1.1)),),
        picture=cleaned, differs="digits and a dense net in place of photographs and a convolutional one",
    ),
    Recipe(
        "R23", "walkback 784-500-784 tied, BCE", "Bengio, Yao, Alain and Vincent 2013",
        {"none": Fit("walkback", {**_WALK, "walkback": 1}, rows=20000, quick=_FEW),
         "walkback": Fit("walkback", {**_WALK, "walkback": 5, "max_iter": 25}, rows=20000, quick=_FEW)},
        (Check("walkback: Parzen", parzen, ("walkback",), "150", low=0.0, quick=(-300, None)),
         Check("gained by walkback", parzen_gain, ("none", "walkback"), "100", low=50.0, quick=(0.0, None))),
        data=binarised, seeds=1, picture=chains,
        differs="500 units for 2000, a third of the rows, 10 and 25 epochs of Adam for 200 and 500",
    ),
]  # fmt: skip
