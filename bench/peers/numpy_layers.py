"""Layers that take more than a line by hand in NumPy: a convolution, pooling, upsampling, an LSTM."""

import numpy as np

CORNERS = [(i, j) for i in (0, 1) for j in (0, 1)]


class Conv:
    """3x3, channels last, as one product of unfolded windows; then relu, if wanted. Keeps a pad of zeros around x."""

    def __init__(self, w, b, gw, gb, pad=1, relu=True):
        self.w, self.b, self.gw, self.gb, self.pad, self.relu = w, b, gw, gb, pad, relu
        self.cols = None

    def forward(self, x):
        """Shape: (n, h, w, channels in) -> (n, h', w', channels out)."""
        (n, height, width, c), pad = x.shape, self.pad
        if self.cols is None or len(self.cols) != n:
            self.padded = np.zeros((n, height + 2 * pad, width + 2 * pad, c), x.dtype)
            self.inner = self.padded[:, pad : pad + height, pad : pad + width]
            self.cols = np.empty((n, height + 2 * pad - 2, width + 2 * pad - 2, 3, 3, c), x.dtype)
            self.flat = self.cols.reshape(-1, 9 * c)
            self.y = np.empty((*self.cols.shape[:3], len(self.b)), x.dtype)
        self.inner[...] = x
        for i, j, place in self._places():
            self.cols[:, :, :, i, j] = place
        self.kernel = self.w.transpose(2, 3, 1, 0).reshape(9 * c, -1)
        np.matmul(self.flat, self.kernel, out=self.y.reshape(len(self.flat), -1))
        self.y += self.b
        if self.relu:
            np.maximum(self.y, 0, out=self.y)
        return self.y

    def backward(self, d, inner=True):
        """The gradients, given that of the result, which is spent; returns that of x if it is wanted."""
        if self.relu:
            d *= self.y > 0
        d = d.reshape(len(self.flat), -1)
        self.gw[...] = (self.flat.T @ d).reshape(3, 3, -1, len(self.b)).transpose(3, 2, 0, 1)
        d.sum(axis=0, out=self.gb)
        if not inner:
            return None
        np.matmul(d, self.kernel.T, out=self.flat)
        self.padded[...] = 0
        for i, j, place in self._places():
            place += self.cols[:, :, :, i, j]
        dx = self.inner.copy()
        self.padded[...] = 0
        return dx

    def _places(self):
        _, height, width = self.cols.shape[:3]
        for i in range(3):
            for j in range(3):
                yield i, j, self.padded[:, i : i + height, j : j + width]


class Pool:
    """The largest of every 2x2; an odd size is filled up with zeros, as what comes from a relu may be."""

    def forward(self, x):
        """Shape: (n, h, w, c) -> (n, ceil(h / 2), ceil(w / 2), c)."""
        _, self.height, self.width, _ = x.shape
        odd = [(0, 0), (0, self.height % 2), (0, self.width % 2), (0, 0)]
        self.x = np.pad(x, odd) if self.height % 2 or self.width % 2 else x
        a, b, c, d = (self.x[:, i::2, j::2] for i, j in CORNERS)
        self.y = np.maximum(np.maximum(a, b), np.maximum(c, d))
        return self.y

    def backward(self, d):
        """Shape: as forward's, reversed."""
        dx = np.empty_like(self.x)
        for i, j in CORNERS:
            np.multiply(d, self.x[:, i::2, j::2] == self.y, out=dx[:, i::2, j::2])
        return dx[:, : self.height, : self.width]


class Up:
    """Every value four times. Shape: (n, h, w, c) -> (n, 2 h, 2 w, c)."""

    def forward(self, x):
        """The larger picture."""
        n, height, width, c = x.shape
        y = np.empty((n, 2 * height, 2 * width, c), x.dtype)
        for i, j in CORNERS:
            y[:, i::2, j::2] = x
        return y

    def backward(self, d):
        """The sum of the four."""
        a, b, c, d = (d[:, i::2, j::2] for i, j in CORNERS)
        dx = a + b
        dx += c
        dx += d
        return dx


class LSTM:
    """A layer over steps, given the inputs' part of the gates i, f, g, o. Shape: (steps or 1, n, 4 hidden)."""

    def __init__(self, w, bias_in, bias, gw, gb_in, gb):
        self.w, self.bias_in, self.bias = w, bias_in, bias
        self.gw, self.gb_in, self.gb = gw, gb_in, gb
        self.gates = None

    def forward(self, inputs, steps):
        """The states h, step by step. Shape: -> (steps, n, hidden)."""
        n, width = inputs.shape[1], len(self.w)
        if self.gates is None or self.gates.shape[:2] != (steps, n):
            self.gates = np.empty((steps, n, 4 * width), inputs.dtype)
            self.h = np.zeros((steps + 1, n, width), inputs.dtype)
            self.c = np.zeros_like(self.h)
            self.tanh = np.empty((steps, n, width), inputs.dtype)
        np.add(inputs, self.bias_in + self.bias, out=self.gates)
        for t, a in enumerate(self.gates):
            if t:
                a += self.h[t] @ self.w
            i, f, g, o = self._parts(a)
            for gate in (a[:, : 2 * width], o):
                np.negative(gate, out=gate)
                np.exp(gate, out=gate)
                gate += 1
                np.reciprocal(gate, out=gate)
            np.tanh(g, out=g)
            c = self.c[t + 1]
            np.multiply(f, self.c[t], out=c)
            c += i * g
            np.tanh(c, out=self.tanh[t])
            np.multiply(o, self.tanh[t], out=self.h[t + 1])
        return self.h[1:]

    def backward(self, d):
        """The gradient of every step's gates, given that of h; d (steps, n, hidden) is spent."""
        dc = 0
        for t in reversed(range(len(d))):
            a, tanh = self.gates[t], self.tanh[t]
            i, f, g, o = self._parts(a)
            dc = dc + d[t] * o * (1 - tanh * tanh)
            di, df, dg = dc * g * i * (1 - i), dc * self.c[t] * f * (1 - f), dc * i * (1 - g * g)
            do = d[t] * tanh * o * (1 - o)
            dc = dc * f
            np.concatenate((di, df, dg, do), axis=1, out=a)  # the gates' gradients take the gates' place
            if t:
                d[t - 1] += a @ self.w.T
        flat = self.gates.reshape(-1, self.gates.shape[2])
        np.matmul(self.h[:-1].reshape(len(flat), -1).T, flat, out=self.gw)
        flat.sum(axis=0, out=self.gb)
        self.gb_in[...] = self.gb
        return self.gates

    def _parts(self, a):
        width = len(self.w)
        return (a[:, k : k + width] for k in range(0, 4 * width, width))
