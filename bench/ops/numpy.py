"""NumPy, an expression each: what it lacks (erf, the gradient of a convolution) is left out."""

import functools
import math

import numpy as np

from bench import grid


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.logaddexp(0, x)


def _silu_slope(g, x, y):
    s = _sigmoid(x)
    return g * s * (1 + x * (1 - s))


def _logsumexp(x):
    top = x.max(1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(1, keepdims=True)))[:, 0]


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _bce(x, t):
    e = np.exp(-np.abs(x))
    loss = np.mean(np.maximum(x, 0) - x * t + np.log1p(e))
    return loss, (np.where(x >= 0, 1, e) / (1 + e) - t) / x.size


def _cross_entropy(x, label):
    rows = np.arange(len(x))
    shifted = x - x.max(1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, label])
    g = e / total
    g[rows, label] -= 1
    g /= len(x)
    return loss, g


def _kl(mu, logvar):
    e = np.exp(logvar)
    return np.sum(mu * mu + e - 1 - logvar) / (2 * mu.size), mu / mu.size, (e - 1) / (2 * mu.size)


def _blocks(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


_f32 = np.float32
_SLOPE = _f32(2 / math.sqrt(math.pi))
_RNG = np.random.default_rng(0)
OPS = {
    "sigmoid": _sigmoid, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, grid.LEAKY * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "silu": lambda x: x * _sigmoid(x), "softplus": _softplus, "exp": np.exp, "expm1": np.expm1, "log": np.log,
    "log1p": np.log1p, "square": np.square, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid.grad": lambda g, x, y: g * y * (1 - y), "tanh.grad": lambda g, x, y: g * (1 - y * y),
    "relu.grad": lambda g, x, y: g * (x > 0), "leaky_relu.grad": lambda g, x, y: np.where(x > 0, g, grid.LEAKY * g),
    "elu.grad": lambda g, x, y: np.where(x > 0, g, g * (y + 1)), "silu.grad": _silu_slope,
    "softplus.grad": lambda g, x, y: g * _sigmoid(x), "exp.grad": lambda g, x, y: g * y,
    "expm1.grad": lambda g, x, y: g * (y + 1), "log.grad": lambda g, x, y: g / x,
    "log1p.grad": lambda g, x, y: g / (1 + x), "erf.grad": lambda g, x, y: g * (_SLOPE * np.exp(-x * x)),
    "erfc.grad": lambda g, x, y: g * (-_SLOPE * np.exp(-x * x)),
    "square.grad": lambda g, x, y: g * (2 * x), "sqrt.grad": lambda g, x, y: g / (2 * y),
    "rsqrt.grad": lambda g, x, y: g * (-0.5 * y * y * y),
    "add": np.add, "multiply": np.multiply,
    "sum.rows": lambda x: x.sum(1), "sum.columns": lambda x: x.sum(0), "sum.all": np.sum, "max": lambda x: x.max(1),
    "argmax": lambda x: x.argmax(1), "logsumexp": _logsumexp, "softmax": _softmax,
    "bce_with_logits": _bce, "bce_with_logits.tape": _bce, "cross_entropy": _cross_entropy,
    "cross_entropy.tape": _cross_entropy, "gaussian_kl": _kl,
    "uniform": lambda x: _RNG.random(x.shape, _f32), "normal": lambda x: _RNG.standard_normal(x.shape, _f32),
    "bernoulli": lambda x: (_RNG.random(x.shape, _f32) < grid.BERNOULLI).astype(_f32),
    "gather.uint8": lambda x, index: x[index] * _f32(1 / 255), "gather.float32": lambda x, index: x[index],
    "gemm": np.matmul, "conv2d": grid._convolve,
    "max_pool": lambda x: _blocks(x).max((3, 5)), "avg_pool": lambda x: _blocks(x).mean((3, 5)),
    "upsample": lambda x: x.repeat(2, 2).repeat(2, 3),
    "lstm": functools.partial(grid.lstm, sigmoid=_sigmoid), "gru": functools.partial(grid.gru, sigmoid=_sigmoid),
}  # fmt: skip


def _sgd(p, g):
    v, s = np.zeros_like(p), np.empty_like(p)

    def step():
        np.multiply(v, grid.MOMENTUM, out=v)
        np.add(v, g, out=v)
        np.multiply(v, grid.RATE, out=s)
        np.subtract(p, s, out=p)
        return p

    return step


def _adam(p, g):
    from bench.peers.numpy import _adam

    update = _adam(p, g, grid.RATE, grid.BETA1, grid.BETA2, grid.EPS)

    def step():
        update()
        return p

    return step


STATEFUL = {"sgd": _sgd, "adam": _adam}


def step(op, arrays):
    """See `bench.ops`."""
    if op in STATEFUL:
        return STATEFUL[op](*arrays)
    return functools.partial(OPS[op], *arrays) if op in OPS else None


def values(result):
    """See `bench.ops`."""
    return list(result) if isinstance(result, tuple) else [result]
