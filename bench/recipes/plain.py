"""Rows of plain, deep and convolutional nets, with and without noise."""

import numpy as np

from . import Check, Fit, Recipe, cleaned, reconstructions, test_loss, train_loss

_KERAS = "Chollet, Building autoencoders in Keras, 2016"
_COURSE = "Keras notebooks after it, batches of 32"


def pooled(seed):
    """16 - 8 - 8 maps, 7 rows padded to 8; the decoder's third convolution is not padded: 4 - 8 - 16, 14 - 28."""
    from tinyae import nn, ops

    rng = np.random.default_rng(seed)

    def conv(n_in, n_out, padding="same"):
        return nn.Conv2d(n_in, n_out, 3, padding=padding, generator=rng)

    encoder = nn.Sequential(
        nn.Reshape(1, 28, 28), conv(1, 16), nn.ReLU(), nn.MaxPool2d(2),
        conv(16, 8), nn.ReLU(), nn.MaxPool2d(2), conv(8, 8), nn.ReLU(),
        nn.Lambda(lambda x: ops.pad(x, widths=((0, 0), (0, 0), (0, 1), (0, 1)))), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Reshape(8, 4, 4), conv(8, 8), nn.ReLU(), nn.Upsample(2), conv(8, 8), nn.ReLU(), nn.Upsample(2),
        conv(8, 16, 0), nn.ReLU(), nn.Upsample(2), conv(16, 1), nn.Sigmoid(), nn.Flatten(),
    )  # fmt: skip
    return encoder, decoder


def wide(seed):
    """32 - 32 maps, and back."""
    from tinyae import nn

    rng = np.random.default_rng(seed)

    def conv(n_in, n_out):
        return nn.Conv2d(n_in, n_out, 3, padding="same", generator=rng)

    encoder = nn.Sequential(nn.Reshape(1, 28, 28), conv(1, 32), nn.ReLU(), nn.MaxPool2d(2), conv(32, 32), nn.ReLU(),
                            nn.MaxPool2d(2), nn.Flatten())  # fmt: skip
    decoder = nn.Sequential(nn.Reshape(32, 7, 7), conv(32, 32), nn.ReLU(), nn.Upsample(2), conv(32, 32), nn.ReLU(),
                            nn.Upsample(2), conv(32, 1), nn.Sigmoid(), nn.Flatten())  # fmt: skip
    return encoder, decoder


def adadelta(parameters):
    """As Keras has it."""
    from tinyae import optim

    return optim.Adadelta(parameters, lr=1.0, rho=0.95, eps=1e-7)


_ADADELTA = {"optimizer": adadelta, "batch_size": 128, "loss": "bce"}
_FIVE = {"max_iter": 5, "batch_size": 128}
_SHORT = {"max_iter": 1}
_FEW = {"max_iter": 1, "rows": 6000}

RECIPES = [
    Recipe(
        "R3", "vanilla 784-64-784, MSE", _KERAS,
        {"vanilla": Fit("vanilla", {"n_components": 64, **_FIVE}, quick=_SHORT)},
        (Check("test", test_loss, ("vanilla",), ".0055", high=0.0060, quick=(None, 0.026)),),
        picture=reconstructions,
    ),
    Recipe(
        "R4", "multilayer 784-128-64-128-784, MSE", _KERAS,
        {"deep": Fit("deep", {"hidden": (128,), "n_components": 64, **_FIVE}, quick=_SHORT)},
        (Check("test", test_loss, ("deep",), ".0082", high=0.0088, quick=(None, 0.0205)),),
        picture=reconstructions,
    ),
    Recipe(
        "R5", "convolutional 16-8-8, BCE", _KERAS,
        {"convolutional": Fit("vanilla", {"n_components": 128, "max_iter": 3, **_ADADELTA}, nets=pooled, quick=_FEW)},
        (Check("test", test_loss, ("convolutional",), ".1429", high=0.148, quick=(None, 0.265)),),
        picture=reconstructions,
    ),
    Recipe(
        "R7", "denoising, convolutional 32-32, BCE", _KERAS,
        {"denoising": Fit("denoising", {"n_components": 1568, "max_iter": 3, "noise": 0.5, "fresh": False, **_ADADELTA},
                          nets=wide, quick={"max_iter": 1, "rows": 20000})},
        (Check("test", test_loss, ("denoising",), ".1124", high=0.118, quick=(None, 0.175)),),
        seeds=1, picture=cleaned,
    ),
    Recipe(
        "R8", "deep 784-128-32-128-784, BCE", _COURSE,
        {"deep": Fit("deep", {"hidden": (128,), "n_components": 32, "loss": "bce", "max_iter": 3, "batch_size": 32},
                     quick=_SHORT)},
        (Check("train", train_loss, ("deep",), ".0935", high=0.097, quick=(None, 0.152)),),
        picture=reconstructions,
    ),
    Recipe(
        "R10", "denoising 784-128-32-128-784, BCE", _COURSE,
        {"denoising": Fit("denoising", {"hidden": (128,), "n_components": 32, "loss": "bce", "max_iter": 10,
                                        "batch_size": 32, "noise": 0.4, "fresh": False}, quick=_SHORT)},
        (Check("train", train_loss, ("denoising",), ".1151", high=0.119, quick=(None, 0.176)),),
        picture=cleaned,
    ),
    Recipe(
        "R12", "two components 784-128-2-128-784, BCE", "Keras notebook of two-dimensional codes",
        {"deep": Fit("deep", {"hidden": (128,), "n_components": 2, "code_activation": "linear", "loss": "bce",
                              "max_iter": 50, "batch_size": 128}, quick={"max_iter": 4})},
        (Check("test", test_loss, ("deep",), ".1799", high=0.184, quick=(None, 0.209)),),
        picture=reconstructions,
    ),
]  # fmt: skip
