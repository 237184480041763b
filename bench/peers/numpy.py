"""NumPy by hand, as someone would write it who cares: one flat parameter vector, buffers made once, all in place."""

import numpy as np


def about():
    """Nothing: the header has its own line on NumPy."""


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    p, (w1, b1, w2, b2) = _flat(weights)
    g, (gw1, gb1, gw2, gb2) = _flat(weights)
    update = _adam(p, g)
    buffers = {}

    def step(x):
        rows = len(x)
        if rows not in buffers:
            hidden, wide = (rows, w1.shape[1]), (rows, w2.shape[1])
            buffers[rows] = [np.empty(s, p.dtype) for s in (hidden, wide, wide, hidden)]
        h, y, d, dh = buffers[rows]
        np.matmul(x, w1, out=h)
        h += b1
        np.maximum(h, 0, out=h)
        np.matmul(h, w2, out=y)
        y += b2
        np.negative(y, out=y)
        np.exp(y, out=y)
        y += 1
        np.reciprocal(y, out=y)
        np.subtract(y, x, out=d)
        loss = np.vdot(d, d) / d.size

        d *= y
        np.subtract(1, y, out=y)
        d *= y
        d *= 2 / d.size
        np.matmul(h.T, d, out=gw2)
        d.sum(axis=0, out=gb2)
        np.matmul(d, w2.T, out=dh)
        dh *= h > 0
        np.matmul(x.T, dh, out=gw1)
        dh.sum(axis=0, out=gb1)
        update()
        return loss

    return step, lambda: [w1, b1, w2, b2]


def _flat(arrays):
    """All arrays in one vector, and a view of each."""
    flat = np.concatenate([a.ravel() for a in arrays])
    ends = np.cumsum([a.size for a in arrays])
    return flat, [part.reshape(a.shape) for part, a in zip(np.split(flat, ends[:-1]), arrays)]


def _adam(p, g, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m, v, s = np.zeros_like(p), np.zeros_like(p), np.empty_like(p)
    t = 0

    def update():
        nonlocal t
        t += 1
        np.multiply(g, 1 - beta1, out=s)
        np.multiply(m, beta1, out=m)
        np.add(m, s, out=m)
        np.multiply(g, g, out=s)
        np.multiply(s, 1 - beta2, out=s)
        np.multiply(v, beta2, out=v)
        np.add(v, s, out=v)
        np.multiply(v, 1 / (1 - beta2**t), out=s)
        np.sqrt(s, out=s)
        np.add(s, eps, out=s)
        np.divide(m, s, out=s)
        np.multiply(s, lr / (1 - beta1**t), out=s)
        np.subtract(p, s, out=p)

    return update
