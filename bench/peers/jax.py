"""JAX: the whole step in one jit, its state's buffers donated, Adam by hand as JAX itself has none."""

import functools
import math
import os

import jax
import jax.numpy as jnp
from jax import lax


def about():
    """Version and path."""
    return {"version": jax.__version__, "path": os.path.dirname(jax.__file__)}


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    return _train(weights, _loss_a)


def train_b(weights):
    """784-128-32-128-784 relu, BCE with logits, Adam."""
    return _train(weights, lambda p, x: _bce_with_logits(_dense(p, x, [jax.nn.relu] * 3), x).mean())


def train_c(weights):
    """VAE 784-400-20-400-784 relu, BCE + KL, Adam."""

    def loss(p, x, eps):
        mu, logvar = jnp.split(_dense(p[:4], x, [jax.nn.relu]), 2, axis=1)
        logits = _dense(p[4:], mu + jnp.exp(0.5 * logvar) * eps, [jax.nn.relu])
        kl = 0.5 * (mu**2 + jnp.exp(logvar) - 1 - logvar)
        return (_bce_with_logits(logits, x).sum() + kl.sum()) / len(x)

    return _train(weights, loss)


def train_d(weights):
    """784-1000-500-250-30 sigmoid, a linear code, mirrored, BCE with logits, Adam."""
    activations = [jax.nn.sigmoid] * 3 + [None] + [jax.nn.sigmoid] * 3
    return _train(weights, lambda p, x: _bce_with_logits(_dense(p, x, activations), x).mean())


def train_e(weights):
    """Convolutions 16-8-8 / 8-8-16-1 with pooling and upsampling, BCE with logits, Adam."""

    def conv(x, w, b, padding="SAME"):
        return lax.conv_general_dilated(x, w, (1, 1), padding) + b[:, None, None]

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "SAME")

    def up(x):
        return x.repeat(2, axis=2).repeat(2, axis=3)

    def loss(p, x):
        h = x
        for i in (0, 2, 4):
            h = pool(jax.nn.relu(conv(h, *p[i : i + 2])))
        for i in (6, 8, 10):
            h = up(jax.nn.relu(conv(h, *p[i : i + 2], "VALID" if i == 10 else "SAME")))
        return _bce_with_logits(conv(h, *p[12:]), x).mean()

    return _train(weights, loss)


def train_f(weights):
    """4-2-4 sigmoid, MSE, Adam."""
    return _train(weights, lambda p, x: ((jax.nn.sigmoid(_dense(p, x, [jax.nn.sigmoid])) - x) ** 2).mean())


def train_g(weights):
    """An LSTM reads 28 rows, another one makes them from the first one's last state, MSE, Adam."""

    def lstm(inputs, w, bias, steps=None):
        def one(state, a):
            h, c = state
            i, f, g, o = jnp.split(a + h @ w, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        inputs = inputs + bias
        start = (jnp.zeros((inputs.shape[-2], w.shape[0]), w.dtype),) * 2
        if steps is None:
            return lax.scan(one, start, inputs)[1]
        return lax.scan(lambda state, _: one(state, inputs), start, None, length=steps)[1]

    def loss(p, x):
        w_in, w, b_in, b, v_in, v, c_in, c, w_out, b_out = p
        code = lstm(x.swapaxes(0, 1) @ w_in, w, b_in + b)[-1]
        h = lstm(code @ v_in, v, c_in + c, steps=x.shape[1])  # one product: it reads the same at every step
        return ((h @ w_out + b_out - x.swapaxes(0, 1)) ** 2).mean()

    return _train(weights, loss)


def train_h(weights):
    """784-128-784, one matrix for both, sigmoid, MSE + .1 the mean squared norm of the code's Jacobian, Adam."""

    def loss(p, x):
        w, b, c = p
        h = jax.nn.sigmoid(x @ w + b)
        norms = (h * (1 - h)) ** 2 @ (w**2).sum(axis=0)
        return ((jax.nn.sigmoid(h @ w.T + c) - x) ** 2).mean() + 0.1 * norms.mean()

    return _train(weights, loss)


def epoch_a(weights, X, batch):
    """An epoch of case a, a scan over its batches in one jit: (rng) -> the mean loss."""
    state, X, full = _start(weights), jnp.array(X), len(X) // batch * batch

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, X, order):
        def one(state, rows):
            state, value = _adam(_loss_a, state, X[rows])
            return state, value * len(rows)

        state, values = lax.scan(one, state, order[:full].reshape(-1, batch))
        if full == len(X):
            return state, values.sum() / len(X)
        state, last = one(state, order[full:])
        return state, (values.sum() + last) / len(X)

    def epoch(rng):
        nonlocal state
        state, value = run(state, X, rng.permutation(len(X)))
        return jax.block_until_ready((state, value))[1]

    return epoch


# -- what they are made of ------------------------------------------------------------------------------------------


def _loss_a(p, x):
    return ((jax.nn.sigmoid(_dense(p, x, [jax.nn.relu])) - x) ** 2).mean()


def _dense(p, x, activations):
    for w, b, activation in zip(p[::2], p[1::2], [*activations, None]):
        x = x @ w + b
        if activation:
            x = activation(x)
    return x


def _bce_with_logits(a, x):
    return jax.nn.softplus(a) - a * x


def _start(weights):
    p = [jnp.array(w) for w in weights]
    return p, [jnp.zeros_like(w) for w in p], [jnp.zeros_like(w) for w in p], jnp.zeros((), jnp.float32)


def _adam(loss, state, *batch, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """(the next state, the loss): one training step, to be traced."""
    p, m, v, t = state
    value, g = jax.value_and_grad(loss)(p, *batch)
    t = t + 1
    m = [beta1 * m + (1 - beta1) * g for m, g in zip(m, g)]
    v = [beta2 * v + (1 - beta2) * g * g for v, g in zip(v, g)]
    # 1 - beta**t loses four digits of float32 at the first steps; this form does not.
    rate, scale = -lr / jnp.expm1(t * math.log(beta1)), -1 / jnp.expm1(t * math.log(beta2))
    p = [p - rate * m / (jnp.sqrt(v * scale) + eps) for p, m, v in zip(p, m, v)]
    return (p, m, v, t), value


def _train(weights, loss):
    state = _start(weights)
    update = jax.jit(functools.partial(_adam, loss), donate_argnums=0)

    def step(*batch):
        nonlocal state
        state, value = update(state, *batch)
        jax.block_until_ready((state, value))
        return value

    return step, lambda: state[0]
