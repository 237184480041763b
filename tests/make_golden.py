"""Makes golden.npz: the gradients and ten Adam steps of an autoencoder, by hand in NumPy. Knows nothing of tinyae.

    python tests/make_golden.py

784-64-16-64-784, tanh between and none at the code, the mean binary cross-entropy of the logits, Adam as its paper says
(Kingma and Ba 2015, algorithm 1). Each derivative below was written out on paper. Inputs and weights are integer
arithmetic, so they are the same bits everywhere and for ever, which no random generator promises.

The two large matrices' gradients would fill 800 kB: stored are the sums of their rows and columns, in which a single
wrong element shows twice, their norm, and 200 elements from all over. Everything else is stored whole.
"""

from pathlib import Path

import numpy as np

SIZES = 784, 64, 16, 64, 784
FILE = Path(__file__).with_name("golden.npz")


def scrambled(shape, salt):
    """Numbers in [0, 1) from a quadratic form of the index modulo a prime: no randomness, no pattern that matters."""
    i, j = np.indices(shape, dtype=np.int64) if len(shape) == 2 else (np.arange(shape[0]), 0)
    return (i * i * 7919 + j * j * 104729 + i * j * 1299709 + i * 31 + j * 17 + salt * 611953) % 10007 / 10007.0


def inputs():
    """(x, [weight, bias, weight, ...]): 32 rows of numbers in [0, 1), weights of Glorot's size, biases not 0."""
    parameters = []
    for k, (n_in, n_out) in enumerate(zip(SIZES, SIZES[1:])):
        parameters.append((2 * scrambled((n_in, n_out), k + 1) - 1) * np.sqrt(6 / (n_in + n_out)))
        parameters.append(0.2 * scrambled((n_out,), k + 11) - 0.1)
    return scrambled((32, 784), 0), parameters


def loss_and_gradients(x, parameters):
    """The mean of softplus(a) - x a, and its derivative by each parameter."""
    w1, b1, w2, b2, w3, b3, w4, b4 = parameters
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    k = np.tanh(z @ w3 + b3)
    a = k @ w4 + b4
    loss = np.mean(np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))) - x * a)
    da = (1 / (1 + np.exp(-a)) - x) / x.size
    dk = da @ w4.T * (1 - k * k)
    dz = dk @ w3.T
    dh = dz @ w2.T * (1 - h * h)
    return loss, [x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0), z.T @ dk, dk.sum(0), k.T @ da, da.sum(0)]


def adam(x, parameters, steps=10, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """The losses before each step and after the last one."""
    m, v, losses = [0.0] * len(parameters), [0.0] * len(parameters), []
    for t in range(1, steps + 1):
        loss, gradients = loss_and_gradients(x, parameters)
        losses.append(loss)
        for i, g in enumerate(gradients):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            parameters[i] = parameters[i] - lr * m_hat / (np.sqrt(v_hat) + eps)
    return np.array([*losses, loss_and_gradients(x, parameters)[0]])


def digest(gradients):
    """{name: what is stored of it}, the small ones whole."""
    stored = {}
    for i, g in enumerate(gradients):
        if g.size < 5000:
            stored[f"{i}"] = g
        else:
            stored[f"{i}_rows"], stored[f"{i}_columns"] = g.sum(axis=1), g.sum(axis=0)
            stored[f"{i}_norm"], stored[f"{i}_some"] = np.sqrt(np.sum(g * g)), g.ravel()[:: g.size // 200]
    return stored


if __name__ == "__main__":
    x, parameters = inputs()
    np.savez(FILE, losses=adam(x, list(parameters)), **digest(loss_and_gradients(x, parameters)[1]))
    print(f"{FILE}: {FILE.stat().st_size} bytes")
