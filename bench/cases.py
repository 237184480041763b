"""What `train` trains: nets, data, noise and arithmetic of the cases a to h, drawn here once for every peer.

Weights come in one layout: (n_in, n_out) for a dense layer, (n_out, n_in, 3, 3) for a convolution, (n_in, 4 hidden) for
a recurrent one (gates i, f, g, o). Peers know what to do with them by the case's letter: ``train_a(weights)``.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BATCHES = 8  # different ones, taken round and round
STEPS, HIDDEN = 28, 64  # case g: a picture's rows are a sequence


class Case(NamedTuple):
    """A net, its usual batch sizes, and its arithmetic."""

    title: str
    batches: tuple
    weights: Callable  # rng -> arrays
    inputs: Callable  # (rng, rows) -> arrays of so many rows: what a step is given
    flops: Callable  # batch -> those of the products alone, which is what no program can leave out
    # How far from each other two parameters may end after some steps, in parts of the distance that they have moved.
    # Adam divides a gradient by its own size, so an entry whose gradient cancels but for rounding moves as far as any
    # other; and a relu or a pool that is within rounding of its kink may fall on either side.
    tolerance: float = 1e-3

    def problem(self, batch, seed=0):
        """{"x0", "x1", ...: (BATCHES, batch, ...), "w0", "w1", ...}, all float32."""
        rng = np.random.default_rng(seed)
        inputs = [array.reshape(BATCHES, batch, *array.shape[1:]) for array in self.inputs(rng, BATCHES * batch)]
        weights = self.weights(rng)
        named = {f"x{i}": array for i, array in enumerate(inputs)} | {f"w{i}": a for i, a in enumerate(weights)}
        return {name: array.astype(np.float32) for name, array in named.items()}


# -- weights: Glorot's, and zero bias -------------------------------------------------------------------------------


def _dense(*widths):
    def draw(rng):
        layers = [[_glorot(rng, (a, b), a + b), np.zeros(b)] for a, b in itertools.pairwise(widths)]
        return [array for layer in layers for array in layer]

    return draw


def _glorot(rng, shape, fans):
    bound = np.sqrt(6 / fans)
    return rng.uniform(-bound, bound, shape)


def _tied(rng):
    return [*_dense(784, 128)(rng), np.zeros(784)]


def _conv(rng):
    layers = [[_glorot(rng, (b, a, 3, 3), 9 * (a + b)), np.zeros(b)] for a, b, _ in CONVOLUTIONS]
    return [array for layer in layers for array in layer]


def _recurrent(rng):
    arrays = []
    for n_in in (28, HIDDEN):
        arrays += [_glorot(rng, (n, 4 * HIDDEN), n + HIDDEN) for n in (n_in, HIDDEN)]
        arrays += [np.zeros(4 * HIDDEN), np.zeros(4 * HIDDEN)]
    return arrays + _dense(HIDDEN, 28)(rng)


# -- data: pictures with a few causes each --------------------------------------------------------------------------


def pictures(rng, rows, *shape):
    """Grey values in (0, 1). Shape: -> (rows, *shape)."""
    causes = rng.standard_normal((rows, 8)) @ rng.standard_normal((8, int(np.prod(shape))))
    return (1 / (1 + np.exp(-causes))).reshape(rows, *shape)


def _of(*shape):
    return lambda rng, rows: [pictures(rng, rows, *shape)]


def _with_noise(rng, rows):
    return [pictures(rng, rows, 784), rng.standard_normal((rows, 20))]


def _one_hot(rng, rows):
    return [np.eye(4)[np.arange(rows) % 4]]


# -- arithmetic: three products per layer, but the first needs no gradient of its input ------------------------------


def _products(batch, *products):
    counts = [2 * batch * n_in * n_out for n_in, n_out in products]
    return 3 * sum(counts) - counts[0]


def _through(*widths):
    return lambda batch: _products(batch, *itertools.pairwise(widths))


def _flops_conv(batch):
    return _products(batch, *((9 * a, b * places) for a, b, places in CONVOLUTIONS))


def _flops_recurrent(batch):
    # What the decoder reads is the same at every step, so one product will do; and the first states are zero.
    into, state, out = STEPS * 28 * 4 * HIDDEN, (STEPS - 1) * HIDDEN * 4 * HIDDEN, STEPS * HIDDEN * 28
    return _products(batch, (into, 1), (state, 1), (4 * HIDDEN * HIDDEN, 1), (state, 1), (out, 1))


CONVOLUTIONS = (  # channels in and out, places: all 3x3 and padded, but for the last but one
    (1, 16, 28**2), (16, 8, 14**2), (8, 8, 7**2),  # each with relu, then pooling by 2 (7 to 4)
    (8, 8, 4**2), (8, 8, 8**2), (8, 16, 14**2),  # each with relu, then upsampling by 2
    (16, 1, 28**2),
)  # fmt: skip

B, C, D = (784, 128, 32, 128, 784), (784, 400, 20, 400, 784), (784, 1000, 500, 250, 30, 250, 500, 1000, 784)

CASES = {
    "a": Case("784-64-784 relu/sigmoid, MSE", (32, 128, 256), _dense(784, 64, 784), _of(784), _through(784, 64, 784)),
    "b": Case("784-128-32-128-784 relu, BCE with logits", (32, 128, 256), _dense(*B), _of(784), _through(*B)),
    "c": Case("VAE 784-400-20-400-784 relu, BCE + KL", (128,),
              lambda rng: _dense(784, 400, 40)(rng) + _dense(20, 400, 784)(rng), _with_noise,
              lambda batch: _products(batch, (784, 400), (400, 40), (20, 400), (400, 784))),
    "d": Case("784-1000-500-250-30 sigmoid, linear code, mirrored, BCE with logits", (128, 1024), _dense(*D), _of(784),
              _through(*D)),
    "e": Case("conv 16-8-8 / 8-8-16-1, 28x28, 3x3, BCE with logits", (128,), _conv, _of(1, 28, 28), _flops_conv,
              tolerance=0.2),  # three million kinks a step: some fall the other way at once, for everybody
    "f": Case("one-hot 4-2-4 sigmoid, MSE", (4,), _dense(4, 2, 4), _one_hot, _through(4, 2, 4)),
    "g": Case("LSTM 28x28, hidden 64, repeated code, MSE", (128,), _recurrent, _of(STEPS, 28), _flops_recurrent),
    "h": Case("contractive 784-128 tied sigmoid, MSE + .1 squared Jacobian norm", (128,), _tied, _of(784),
              lambda batch: _through(784, 128, 784)(batch)),
}  # fmt: skip
