"""What `kernels` measures: every op at every size, its inputs, its answer in float64, and its work.

The arithmetic of an element-wise function counts as one operation for each element and array read, whatever its
polynomial takes: their limit is memory. Bytes are those that must come and go: each input once, each result once.
"""

import math
from typing import Callable, NamedTuple

import numpy as np

from bench.ulp import FUNCTIONS


class Case(NamedTuple):
    """An op at one size. ``truth`` gives a list of float64 arrays, or, of noise, what its moments should be."""

    kind: str
    op: str
    size: str
    arrays: Callable  # of a generator
    truth: Callable
    flops: float
    bytes: float
    tolerance: float = 1e-5  # of |true|, or of the median |true| where that is more
    calls: int = 1  # the last of so many is compared: what has a state must have moved it

    @property
    def elements(self):
        """Of the largest float32 array, where size says so."""
        return SIZES.get(self.size) or math.prod(map(int, self.size.split("x")))


KINDS = {
    "element-wise": "element-wise functions", "gradient": "their gradients, from g and what is kept",
    "arithmetic": "arithmetic", "reduction": "reductions", "loss": "losses: value and gradient",
    "optimizer": "optimizers, one step in place", "noise": "noise", "gather": "rows by number",
    "gemm": "matrix products", "convolution": "convolutions, pools (channels first)", "recurrent": "recurrent layers",
}  # fmt: skip
SIZES = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}
MOVES = "element-wise", "gradient", "arithmetic", "reduction", "loss", "optimizer", "noise", "gather"  # memory-bound
ASKED = "4096x4096x4096"  # only by --op gemm, and without --quick


def _float(shape, low=-6.0, high=6.0):
    return lambda rng: rng.uniform(low, high, shape).astype(np.float32)


def _several(*makers):
    return lambda rng: [make(rng) for make in makers]


# -- element by element ---------------------------------------------------------------------------------------------

_sigmoid = FUNCTIONS["sigmoid"]
_erf_slope = lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)
_phi = lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
LEAKY, ELU = 0.01, 1.0
UNARY = {  # the function, its slope, where it is asked
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), ()),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2, (-3, 3)),  # 1 - y^2 has few digits further out
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0, ()),
    "leaky_relu": (lambda x: np.where(x > 0, x, LEAKY * x), lambda x: np.where(x > 0, 1, LEAKY), ()),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x)), ()),
    "gelu": (FUNCTIONS["gelu"], lambda x: 0.5 * (1 + FUNCTIONS["erf"](x / math.sqrt(2))) + x * _phi(x), ()),
    "silu": (FUNCTIONS["silu"], lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), ()),
    "softplus": (FUNCTIONS["softplus"], _sigmoid, ()),
    "exp": (np.exp, np.exp, ()),
    "expm1": (np.expm1, np.exp, ()),
    "log": (np.log, lambda x: 1 / x, (0.01, 100)),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), (-0.9, 10)),
    "erf": (FUNCTIONS["erf"], _erf_slope, (-3, 3)),
    "erfc": (FUNCTIONS["erfc"], lambda x: -_erf_slope(x), (-3, 3)),
    "square": (np.square, lambda x: 2 * x, ()),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), (0.01, 100)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: -0.5 * x**-1.5, (0.01, 100)),
}


def _element_wise():
    for name, (f, slope, domain) in UNARY.items():
        for size, n in SIZES.items():
            x = _float(n, *domain)
            yield Case("element-wise", name, size, _several(x), lambda x, f=f: [f(x)], n, 8 * n)
    for name, (f, slope, domain) in UNARY.items():
        for size, n in SIZES.items():

            def arrays(rng, f=f, n=n, domain=domain):
                g, x = rng.standard_normal(n, np.float32), _float(n, *domain)(rng)
                return [g, x, f(x.astype(float)).astype(np.float32)]  # a peer takes what it keeps: x or y

            truth = lambda g, x, y, slope=slope: [g * slope(x)]
            yield Case("gradient", f"{name}.grad", size, arrays, truth, 2 * n, 12 * n)
    for name, f in (("add", np.add), ("multiply", np.multiply)):
        for size, n in SIZES.items():
            yield Case("arithmetic", name, size, _several(_float(n), _float(n)), lambda a, b, f=f: [f(a, b)], n, 12 * n)


# -- over rows ------------------------------------------------------------------------------------------------------


def _logsumexp(x):
    top = x.max(1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(1, keepdims=True)))[:, 0]


def _reductions():
    for rows, n in (128, 784), (1024, 1000):
        x, size, count = _several(_float((rows, n))), f"{rows}x{n}", rows * n
        for op, f, out in (
            ("sum.rows", lambda x: x.sum(1), rows),
            ("sum.columns", lambda x: x.sum(0), n),
            ("sum.all", np.sum, 1),
            ("max", lambda x: x.max(1), rows),
            ("argmax", lambda x: x.argmax(1), 2 * rows),
            ("logsumexp", _logsumexp, rows),
            ("softmax", lambda x: np.exp(x - _logsumexp(x)[:, None]), count),
        ):
            yield Case("reduction", op, size, x, lambda x, f=f: [np.asarray(f(x), float)], count, 4 * (count + out))


# -- losses, optimizers, noise, rows --------------------------------------------------------------------------------


def _bce(x, t):
    return [np.mean(FUNCTIONS["softplus"](x) - x * t), (_sigmoid(x) - t) / x.size]


def _kl(mu, logvar):
    n = mu.size
    return [np.sum(mu**2 + np.exp(logvar) - 1 - logvar) / 2 / n, mu / n, np.expm1(logvar) / 2 / n]


def _cross_entropy(x, label):
    rows, label = np.arange(len(x)), label.astype(int)
    log_p = x - _logsumexp(x)[:, None]
    g = np.exp(log_p)
    g[rows, label] -= 1
    return [-log_p[rows, label].mean(), g / len(x)]


def _losses():
    for op in "bce_with_logits", "bce_with_logits.tape":
        for size, n in SIZES.items():
            yield Case("loss", op, size, _several(_float(n), _float(n, 0, 1)), _bce, 4 * n, 12 * n)
    for rows, n in (128, 10), (1024, 1000):

        def arrays(rng, rows=rows, n=n):
            return [_float((rows, n))(rng), rng.integers(0, n, rows)]

        for op in "cross_entropy", "cross_entropy.tape":
            yield Case("loss", op, f"{rows}x{n}", arrays, _cross_entropy, 4 * rows * n, 8 * rows * (n + 1))
    for size, n in (("128x20", 2560), ("100k", 100_000)):
        two = _several(_float(n, -2, 2), _float(n, -2, 2))
        yield Case("loss", "gaussian_kl", size, two, _kl, 6 * n, 16 * n)


RATE, MOMENTUM, BETA1, BETA2, EPS = 0.1, 0.9, 0.9, 0.999, 1e-8


def _sgd(p, g):
    v = 0
    for _ in range(3):
        v = MOMENTUM * v + g
        p = p - RATE * v
    return [p]


def _adam(p, g):
    m = v = 0
    for t in range(1, 4):
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        p = p - RATE / (1 - BETA1**t) * m / (np.sqrt(v / (1 - BETA2**t)) + EPS)
    return [p]


def _optimizers():
    for size, n in SIZES.items():
        two = _several(_float(n, -1, 1), _float(n, -1, 1))
        yield Case("optimizer", "sgd", size, two, _sgd, 4 * n, 20 * n, calls=3)
        yield Case("optimizer", "adam", size, two, _adam, 12 * n, 28 * n, calls=3)


BERNOULLI = 0.3
MOMENTS = {"uniform": (1 / 2, 1 / 12), "normal": (0, 1), "bernoulli": (BERNOULLI, BERNOULLI * (1 - BERNOULLI))}


def moments(mean, variance):
    """Both as an answer that has no zeros to be relative to."""
    return np.array([1 + mean, 1 + variance])


def _noise():
    for op, (mean, variance) in MOMENTS.items():
        for size, n in SIZES.items():
            fixed = lambda like, answer=moments(mean, variance): [answer]
            yield Case("noise", op, size, lambda rng, n=n: [np.zeros(n, np.float32)], fixed, n, 4 * n, 8 / math.sqrt(n))


def _gather():
    for rows in 128, 1024:

        def arrays(rng, rows=rows, bytes=True):
            x = rng.integers(0, 256, (10_000, 784)).astype(np.uint8)
            return [x if bytes else x.astype(np.float32) / 255, rng.integers(0, len(x), rows)]

        n = rows * 784
        yield Case("gather", "gather.uint8", f"{rows}x784", arrays,
                   lambda x, index: [x[index.astype(int)] / 255], n, 5 * n)  # fmt: skip
        yield Case("gather", "gather.float32", f"{rows}x784", lambda rng, a=arrays: a(rng, bytes=False),
                   lambda x, index: [x[index.astype(int)]], 0, 8 * n)  # fmt: skip


# -- products -------------------------------------------------------------------------------------------------------

SHAPES = [(1024, 1024, 1024), (128, 784, 64), (128, 64, 784), (784, 128, 64), (1024, 784, 1000), (128, 20, 400),
          (4096, 4096, 4096)]  # fmt: skip


def _gemm():
    for m, k, n in SHAPES:
        two = _several(_float((m, k), -1, 1), _float((k, n), -1, 1))
        yield Case("gemm", "gemm", f"{m}x{k}x{n}", two, lambda a, b: [a @ b], 2 * m * k * n,
                   4 * (m * k + k * n + m * n), 5e-5)  # fmt: skip


LAYERS = [(1, 28, 16), (16, 14, 8), (8, 7, 8), (8, 14, 16), (16, 28, 1)]  # of `train`'s case e, batch 128


def _convolve(x, w, b):
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3))
    return np.moveaxis(np.tensordot(views, w, ((1, 4, 5), (1, 2, 3))), -1, 1) + b[:, None, None]


def _convolve_slopes(x, w, b, g):
    """Those of <convolve(x, w, b), g>: with respect to x the convolution by w, flipped and transposed."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3))
    g_x = _convolve(g, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], np.zeros(w.shape[1]))
    return [g_x, np.tensordot(g, views, ((0, 2, 3), (0, 2, 3))), g.sum((0, 2, 3))]


def _blocks(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


def _convolutions():
    batch = 128
    for i, side, o in LAYERS:
        size, pixels = f"{batch}x{i}x{side}x{side} to {o}", batch * side * side
        four = _float((batch, i, side, side)), _float((o, i, 3, 3), -1, 1), _float(o), _float((batch, o, side, side))
        flops, moved = 2 * 9 * i * o * pixels, 4 * (i + o) * pixels
        yield Case("convolution", "conv2d", size, _several(*four[:3]), lambda *a: [_convolve(*a)], flops, moved, 5e-5)
        yield Case("convolution", "conv2d.grad", size, _several(*four), lambda *a: _convolve_slopes(*a), 3 * flops,
                   3 * moved, 2e-4)  # fmt: skip
    for c, side in (16, 28), (8, 14):
        x, n = _several(_float((batch, c, side, side))), batch * c * side * side
        size = f"{batch}x{c}x{side}x{side}"
        yield Case("convolution", "max_pool", size, x, lambda x: [_blocks(x).max((3, 5))], n, 5 * n)
        yield Case("convolution", "avg_pool", size, x, lambda x: [_blocks(x).mean((3, 5))], n, 5 * n)
        yield Case("convolution", "upsample", size, x, lambda x: [x.repeat(2, 2).repeat(2, 3)], 0, 20 * n)


def lstm(x, w_ih, w_hh, b, sigmoid=_sigmoid):
    """(n, steps, n_in) -> every h (n, steps, n_hidden): gates i f g o, one bias."""
    n, steps, _ = x.shape
    hidden = w_hh.shape[0]
    a = x @ w_ih + b
    h = c = np.zeros((n, hidden), x.dtype)
    out = np.empty((n, steps, hidden), x.dtype)
    for t in range(steps):
        i, f, g, o = np.split(a[:, t] + h @ w_hh, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = out[:, t] = sigmoid(o) * np.tanh(c)
    return out


def gru(x, w_ih, w_hh, b, sigmoid=_sigmoid):
    """The same with gates r z n; the bias is that of the input's product."""
    n, steps, _ = x.shape
    hidden = w_hh.shape[0]
    a = x @ w_ih + b
    h = np.zeros((n, hidden), x.dtype)
    out = np.empty((n, steps, hidden), x.dtype)
    for t in range(steps):
        u = h @ w_hh
        r, z = np.split(sigmoid(a[:, t, : 2 * hidden] + u[:, : 2 * hidden]), 2, 1)
        fresh = np.tanh(a[:, t, 2 * hidden :] + r * u[:, 2 * hidden :])
        h = out[:, t] = (1 - z) * fresh + z * h
    return out


def _recurrent():
    batch, n_in, hidden = 128, 28, 64
    for steps in 1, 28:
        for op, gates, f in ("lstm", 4, lstm), ("gru", 3, gru):
            wide = gates * hidden
            four = _several(_float((batch, steps, n_in), -1, 1), _float((n_in, wide), -0.3, 0.3),
                            _float((hidden, wide), -0.3, 0.3), _float(wide, -1, 1))  # fmt: skip
            flops = 2 * batch * steps * (n_in + hidden) * wide
            moved = 4 * (batch * steps * (n_in + hidden) + (n_in + hidden) * wide)
            size = f"{batch}x{steps}x{n_in} to {hidden}"
            yield Case("recurrent", op, size, four, lambda *a, f=f: [f(*a)], flops, moved, 5e-5)


CASES = {(case.op, case.size): case
         for cases in (_element_wise, _reductions, _losses, _optimizers, _noise, _gather, _gemm, _convolutions,
                       _recurrent) for case in cases()}  # fmt: skip
OPS = list(dict.fromkeys(op for op, _ in CASES))
