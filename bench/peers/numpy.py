"""NumPy by hand, as someone would write it who cares: one flat parameter vector, buffers made once, all in place."""

import numpy as np

from bench.peers.numpy_layers import LSTM, Conv, Pool, Up


def about():
    """Nothing: the header has its own line on NumPy."""


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    return _dense(weights, [_relu], _sigmoid_mse)


def train_b(weights):
    """784-128-32-128-784 relu, BCE with logits, Adam."""
    return _dense(weights, [_relu] * 3, _bce_with_logits)


def train_d(weights):
    """784-1000-500-250-30 sigmoid, a linear code, mirrored, BCE with logits, Adam."""
    return _dense(weights, [_sigmoid] * 3 + [None] + [_sigmoid] * 3, _bce_with_logits)


def train_f(weights):
    """4-2-4 sigmoid, MSE, Adam."""
    return _dense(weights, [_sigmoid], _sigmoid_mse)


def _dense(weights, activations, compare):
    p, parameters = _flat(weights)
    g, gradients = _flat(weights)
    update, net = _adam(p, g), _Stack(parameters, gradients, activations)

    def step(x):
        y, d = net.forward(x)
        loss = compare(y, x, d)
        net.backward(d)
        update()
        return loss

    return step, lambda: parameters


def train_c(weights):
    """VAE 784-400-20-400-784 relu, BCE + KL, Adam."""
    p, parameters = _flat(weights)
    g, gradients = _flat(weights)
    update = _adam(p, g)
    encoder = _Stack(parameters[:4], gradients[:4], [_relu])
    decoder = _Stack(parameters[4:], gradients[4:], [_relu])

    def step(x, eps):
        rows, n = eps.shape
        h, dh = encoder.forward(x)
        mu, logvar = h[:, :n], h[:, n:]
        sigma = np.exp(0.5 * logvar)
        noise = sigma * eps
        y, d = decoder.forward(mu + noise)
        loss = _bce_with_logits(y, x, d, rows) + 0.5 * (mu * mu + sigma * sigma - 1 - logvar).sum() / rows
        dz = decoder.backward(d, inner=True)
        np.add(dz, mu / rows, out=dh[:, :n])
        np.add(0.5 * dz * noise, (0.5 / rows) * (sigma * sigma - 1), out=dh[:, n:])
        encoder.backward(dh)
        update()
        return loss

    return step, lambda: parameters


def train_e(weights):
    """Convolutions 16-8-8 / 8-8-16-1 with pooling and upsampling, BCE with logits, Adam."""
    p, parameters = _flat(weights)
    g, gradients = _flat(weights)
    update = _adam(p, g)
    convolutions = [
        Conv(*parameters[i : i + 2], *gradients[i : i + 2], pad=int(i != 10), relu=i != 12) for i in range(0, 14, 2)
    ]
    between = [Pool(), Pool(), Pool(), Up(), Up(), Up()]
    layers = [layer for pair in zip(convolutions, between) for layer in pair] + convolutions[-1:]

    def step(x):
        x = h = x.reshape(*x.shape[::2], x.shape[3], 1)  # one channel: it may as well be the last axis
        for layer in layers:
            h = layer.forward(h)
        d = np.empty_like(h)
        loss = _bce_with_logits(h, x, d)
        for layer in reversed(layers[1:]):
            d = layer.backward(d)
        layers[0].backward(d, inner=False)
        update()
        return loss

    return step, lambda: parameters


def train_g(weights):
    """An LSTM reads 28 rows, another one makes them from the first one's last state, MSE, Adam."""
    p, parameters = _flat(weights)
    g, gradients = _flat(weights)
    update = _adam(p, g)
    (w_in, v_in, w_out, b_out), (gw_in, gv_in, gw_out, gb_out) = (
        (arrays[0], arrays[4], *arrays[8:]) for arrays in (parameters, gradients)
    )
    encoder, decoder = (LSTM(*parameters[i : i + 3], *gradients[i : i + 3]) for i in (1, 5))

    def step(x):
        x = np.ascontiguousarray(x.swapaxes(0, 1))
        steps, rows = x.shape[:2]
        code = encoder.forward(x @ w_in, steps)[-1]
        h = decoder.forward((code @ v_in)[None], steps)  # one product: it reads the same at every step
        h = h.reshape(steps * rows, -1)
        d = h @ w_out
        d += b_out
        d -= x.reshape(d.shape)
        loss = np.vdot(d, d) / d.size

        d *= 2 / d.size
        np.matmul(h.T, d, out=gw_out)
        d.sum(axis=0, out=gb_out)
        gates = decoder.backward((d @ w_out.T).reshape(steps, rows, -1)).sum(axis=0)
        np.matmul(code.T, gates, out=gv_in)
        dh = np.zeros((steps, *code.shape), code.dtype)
        np.matmul(gates, v_in.T, out=dh[-1])
        gates = encoder.backward(dh)
        np.matmul(x.reshape(steps * rows, -1).T, gates.reshape(steps * rows, -1), out=gw_in)
        update()
        return loss

    return step, lambda: parameters


def train_h(weights):
    """784-128-784, one matrix for both, sigmoid, MSE + .1 the mean squared norm of the code's Jacobian, Adam."""
    p, (w, b, c) = _flat(weights)
    g, (gw, gb, gc) = _flat(weights)
    update = _adam(p, g)
    buffers = {}

    def step(x):
        rows = len(x)
        if rows not in buffers:
            hidden, wide = (rows, w.shape[1]), (rows, w.shape[0])
            buffers[rows] = [np.empty(s, p.dtype) for s in (hidden, hidden, hidden, wide, wide)], np.empty_like(w)
        (h, slope, dh, y, d), gw2 = buffers[rows]
        np.matmul(x, w, out=h)
        h += b
        _sigmoid(h)
        np.matmul(h, w.T, out=y)
        y += c
        loss = _sigmoid_mse(y, x, d)
        np.subtract(1, h, out=slope)
        slope *= h
        norms = np.einsum("ij,ij->j", w, w)
        slopes = np.einsum("ij,ij->j", slope, slope)
        loss += 0.1 / rows * (slopes @ norms)

        np.matmul(d.T, h, out=gw)
        d.sum(axis=0, out=gc)
        np.matmul(d, w, out=dh)
        h *= -2
        h += 1
        h *= slope
        h *= norms * (0.2 / rows)
        dh += h
        dh *= slope
        np.matmul(x.T, dh, out=gw2)
        np.add(gw, gw2, out=gw)
        np.multiply(w, slopes * (0.2 / rows), out=gw2)
        np.add(gw, gw2, out=gw)
        dh.sum(axis=0, out=gb)
        update()
        return loss

    return step, lambda: [w, b, c]


def epoch_a(weights, X, batch):
    """An epoch of case a: (rng) -> the mean loss."""
    step, _ = train_a(weights)

    def epoch(rng):
        order = rng.permutation(len(X))
        parts = [order[i : i + batch] for i in range(0, len(X), batch)]
        return sum(step(X[rows]) * len(rows) for rows in parts) / len(X)

    return epoch


# -- what they are made of ------------------------------------------------------------------------------------------


class _Stack:
    """Dense layers with these activations between them; what comes after the last one is the caller's."""

    def __init__(self, parameters, gradients, activations):
        self.layers = list(zip(parameters[::2], parameters[1::2], gradients[::2], gradients[1::2]))
        self.activations = [*activations, None]
        self.buffers = {}

    def forward(self, x):
        """(the last layer's output, a buffer for its gradient). Both are overwritten by the next call."""
        if len(x) not in self.buffers:
            shapes = [(len(x), w.shape[1]) for w, *_ in self.layers]
            self.buffers[len(x)] = [(np.empty(s, x.dtype), np.empty(s, x.dtype)) for s in shapes], np.empty_like(x)
        self.x = x
        self.steps, self.dx = self.buffers[len(x)]
        for (w, b, _, _), (h, _), activation in zip(self.layers, self.steps, self.activations):
            np.matmul(x, w, out=h)
            h += b
            if activation:
                activation(h)
            x = h
        return self.steps[-1]

    def backward(self, d, inner=False):
        """The gradients, given that of the output; returns that of x if it is wanted."""
        for i in reversed(range(len(self.layers))):
            w, _, gw, gb = self.layers[i]
            h, dh = self.steps[i - 1] if i else (self.x, self.dx)
            np.matmul(h.T, d, out=gw)
            d.sum(axis=0, out=gb)
            if i or inner:
                np.matmul(d, w.T, out=dh)
            if i and self.activations[i - 1]:
                _SLOPES[self.activations[i - 1]](h, dh)
            d = dh
        return d


def _relu(a):
    np.maximum(a, 0, out=a)


def _relu_slope(h, d):
    d *= h > 0


def _sigmoid(a):
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)


def _sigmoid_slope(h, d):
    d *= h
    np.subtract(1, h, out=h)  # h is not needed any more
    d *= h


_SLOPES = {_relu: _relu_slope, _sigmoid: _sigmoid_slope}


def _sigmoid_mse(y, x, d):
    """The loss of sigmoid(y); its gradient goes to d, and y is spent."""
    _sigmoid(y)
    np.subtract(y, x, out=d)
    loss = np.vdot(d, d) / d.size
    d *= 2 / d.size
    _sigmoid_slope(y, d)
    return loss


def _bce_with_logits(y, x, d, count=None):
    """The loss of logits y, their sum over count (all of them); its gradient goes to d, and y is spent."""
    count = count or d.size
    np.abs(y, out=d)
    np.negative(d, out=d)
    np.exp(d, out=d)
    loss = -np.vdot(y, x)
    positive = y >= 0
    np.maximum(y, 0, out=y)
    loss += y.sum()
    np.log1p(d, out=y)
    loss += y.sum()
    np.add(d, 1, out=y)
    np.copyto(d, 1, where=positive)
    d /= y
    d -= x
    d *= 1 / count
    return loss / count


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
