"""JAX: every op compiled by XLA as one function, waited for; arrays are its own, so optimizers give back new ones."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from bench import grid

_SLOPE = 2 / math.sqrt(math.pi)


def _bce(x, t):
    return jnp.mean(jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x))))


def _cross_entropy(x, label):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), label[:, None], 1))


def _kl(mu, logvar):
    return 0.5 * jnp.mean(mu * mu + jnp.exp(logvar) - 1 - logvar)


def _flat(f):
    def run(*arrays):
        value, slopes = f(*arrays)
        return value, *(slopes if isinstance(slopes, tuple) else (slopes,))

    return run


def _convolve(x, w, b):
    y = lax.conv_general_dilated(x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return y + b[:, None, None]


def _pool(x, start, join):
    return lax.reduce_window(x, start, join, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def _lstm(x, w_ih, w_hh, b):
    def one(state, a):
        h, c = state
        i, f, g, o = jnp.split(a + h @ w_hh, 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[0], w_hh.shape[0]), x.dtype)
    return lax.scan(one, (zeros, zeros), (x @ w_ih + b).swapaxes(0, 1))[1].swapaxes(0, 1)


def _gru(x, w_ih, w_hh, b):
    n = w_hh.shape[0]

    def one(h, a):
        u = h @ w_hh
        r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * n] + u[:, : 2 * n]), 2, 1)
        h = (1 - z) * jnp.tanh(a[:, 2 * n :] + r * u[:, 2 * n :]) + z * h
        return h, h

    zeros = jnp.zeros((x.shape[0], n), x.dtype)
    return lax.scan(one, zeros, (x @ w_ih + b).swapaxes(0, 1))[1].swapaxes(0, 1)


def _silu_slope(g, x, y):
    s = jax.nn.sigmoid(x)
    return g * s * (1 + x * (1 - s))


def _gelu(x):
    return jax.nn.gelu(x, approximate=False)


_value_and_grad = functools.partial(jax.value_and_grad, argnums=0)
OPS = {
    "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, grid.LEAKY), "elu": jax.nn.elu, "gelu": _gelu, "silu": jax.nn.silu,
    "softplus": jax.nn.softplus, "exp": jnp.exp, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "erf": lax.erf, "erfc": lax.erfc, "square": jnp.square, "sqrt": jnp.sqrt, "rsqrt": lax.rsqrt,
    "sigmoid.grad": lambda g, x, y: g * y * (1 - y), "tanh.grad": lambda g, x, y: g * (1 - y * y),
    "relu.grad": lambda g, x, y: jnp.where(y > 0, g, 0),
    "leaky_relu.grad": lambda g, x, y: jnp.where(y > 0, g, grid.LEAKY * g),
    "elu.grad": lambda g, x, y: jnp.where(y > 0, g, g * (y + 1)),
    "gelu.grad": lambda g, x, y: jax.vjp(_gelu, x)[1](g)[0], "silu.grad": _silu_slope,
    "softplus.grad": lambda g, x, y: g * jax.nn.sigmoid(x), "exp.grad": lambda g, x, y: g * y,
    "expm1.grad": lambda g, x, y: g * (y + 1), "log.grad": lambda g, x, y: g / x,
    "log1p.grad": lambda g, x, y: g / (1 + x), "erf.grad": lambda g, x, y: g * (_SLOPE * jnp.exp(-x * x)),
    "erfc.grad": lambda g, x, y: g * (-_SLOPE * jnp.exp(-x * x)), "square.grad": lambda g, x, y: g * (2 * x),
    "sqrt.grad": lambda g, x, y: g / (2 * y), "rsqrt.grad": lambda g, x, y: g * (-0.5 * y * y * y),
    "add": jnp.add, "multiply": jnp.multiply,
    "sum.rows": lambda x: x.sum(1), "sum.columns": lambda x: x.sum(0), "sum.all": jnp.sum, "max": lambda x: x.max(1),
    "argmax": lambda x: x.argmax(1), "logsumexp": lambda x: jax.nn.logsumexp(x, 1),
    "softmax": lambda x: jax.nn.softmax(x, 1),
    "bce_with_logits": _flat(_value_and_grad(_bce)), "bce_with_logits.tape": _flat(_value_and_grad(_bce)),
    "cross_entropy": _flat(_value_and_grad(_cross_entropy)),
    "cross_entropy.tape": _flat(_value_and_grad(_cross_entropy)),
    "gaussian_kl": _flat(jax.value_and_grad(_kl, argnums=(0, 1))),
    "gather.uint8": lambda x, index: x[index] * jnp.float32(1 / 255), "gather.float32": lambda x, index: x[index],
    "gemm": jnp.matmul, "conv2d": _convolve,
    "conv2d.grad": lambda x, w, b, g: jax.vjp(_convolve, x, w, b)[1](g),
    "max_pool": lambda x: _pool(x, -jnp.inf, lax.max), "avg_pool": lambda x: _pool(x, 0.0, lax.add) / 4,
    "upsample": lambda x: x.repeat(2, 2).repeat(2, 3), "lstm": _lstm, "gru": _gru,
}  # fmt: skip
OPS = {name: jax.jit(f) for name, f in OPS.items()}
NOISE = {
    "uniform": jax.random.uniform, "normal": jax.random.normal,
    "bernoulli": lambda key, shape: jax.random.bernoulli(key, grid.BERNOULLI, shape).astype(jnp.float32),
}  # fmt: skip
NOISE = {name: jax.jit(lambda key, i, shape, f=f: f(jax.random.fold_in(key, i), shape), static_argnums=2)
         for name, f in NOISE.items()}  # fmt: skip


@functools.partial(jax.jit, donate_argnums=(0, 2))
def _sgd(p, g, v):
    v = grid.MOMENTUM * v + g
    return p - grid.RATE * v, v


@functools.partial(jax.jit, donate_argnums=(0, 2, 3))
def _adam(p, g, m, v, t):
    t = t + 1.0
    m = grid.BETA1 * m + (1 - grid.BETA1) * g
    v = grid.BETA2 * v + (1 - grid.BETA2) * g * g
    root = jnp.sqrt(v / (1 - grid.BETA2**t)) + grid.EPS
    return p - grid.RATE / (1 - grid.BETA1**t) * m / root, m, v, t


def _repeat(update, p, g, *rest):
    def step():
        nonlocal p, rest
        p, *rest = jax.block_until_ready(update(p, g, *rest))
        return p

    return step


def step(op, arrays):
    """See `bench.ops`."""
    arrays = [jnp.asarray(a) for a in arrays]
    if op in NOISE:
        key, shape, draw, count = jax.random.key(0), arrays[0].shape, NOISE[op], iter(range(1 << 31))
        return lambda: draw(key, next(count), shape).block_until_ready()
    if op == "sgd":
        return _repeat(_sgd, *arrays, jnp.zeros_like(arrays[0]))
    if op == "adam":
        return _repeat(_adam, *arrays, jnp.zeros_like(arrays[0]), jnp.zeros_like(arrays[0]), jnp.float32(0))
    if op not in OPS:
        return None
    run = OPS[op]
    return lambda: jax.block_until_ready(run(*arrays))


def values(result):
    """See `bench.ops`."""
    return jax.device_get(list(result) if isinstance(result, tuple) else [result])
