"""``ops/recurrent.py``."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import SettingError, ShapeError

from .arrays import laid_out, row_into, values

ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


def recurrence(draw, gates, *more):
    """Arrays z, weight, more and settings; more: a "bias", or as many states."""
    steps, n, k = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    shapes = {"bias": (gates * k,), "state": (n, k)}
    arrays = [values(draw, shape) for shape in ((steps, n, gates * k), (k, gates * k), *(shapes[m] for m in more))]
    lengths = draw(st.none() | st.just(np.array(draw(st.lists(st.integers(0, steps), min_size=n, max_size=n)), int)))
    return [laid_out(draw, a) for a in arrays], {"lengths": lengths, "reverse": draw(st.booleans())}


@row
def rnn_row(draw):
    return recurrence(draw, 1, "state")


@row
def lstm_row(draw):
    return recurrence(draw, 4, "state", "state")


@row
def gru_row(draw):
    return recurrence(draw, 3, "bias", "state")


# -- the same, row by row and number by number ----------------------------------------------------------------------


def _logistic(x):
    return 1 / (1 + math.exp(-x))


def _rnn_step(z, u, h):
    return ([math.tanh(a + b) for a, b in zip(z, u)],)


def _lstm_step(z, u, h, c):
    k = len(h)
    sums = [a + b for a, b in zip(z, u)]
    c = [
        _logistic(sums[k + j]) * c[j] + _logistic(sums[j]) * math.tanh(sums[2 * k + j]) for j in range(k)
    ]
    return [_logistic(sums[3 * k + j]) * math.tanh(c[j]) for j in range(k)], c


def _gru_step(z, u, h):
    k, new = len(h), []
    for j in range(k):
        n = math.tanh(z[2 * k + j] + _logistic(z[j] + u[j]) * u[2 * k + j])
        q = _logistic(z[k + j] + u[k + j])
        new.append((1 - q) * n + q * h[j])
    return (new,)


def _by_rows(step, z, weight, bias, *starts, lengths=None, reverse=False):
    steps, n, _ = z.shape
    y = np.zeros((len(starts), steps, n, weight.shape[0]))
    for r in range(n):
        states = [s[r].tolist() for s in starts]
        for t in range(steps)[:: -1 if reverse else 1]:
            if lengths is None or t < lengths[r]:
                u = [sum(a * w for a, w in zip(states[0], column)) + b for column, b in zip(weight.T, bias)]
                states = step(z[t, r].tolist(), u, *states)
            y[:, t, r] = states
    return y


TRUTH |= {
    "rnn": lambda z, w, h, **s: _by_rows(_rnn_step, z, w, 0 * w[0], h, **s)[0],
    "lstm": lambda z, w, h, c, **s: _by_rows(_lstm_step, z, w, 0 * w[0], h, c, **s),
    "gru": lambda z, w, b, h, **s: _by_rows(_gru_step, z, w, b, h, **s)[0],
}


def _by_cell(name):
    """PyTorch's cell, which multiplies z by 1."""

    def run(torch, z, weight, *rest, lengths=None, reverse=False):
        bias, states = (rest[0], rest[1:]) if name == "gru_cell" else (0.0 * weight[0], rest)
        one, y = torch.eye(weight.shape[1], dtype=z.dtype), [None] * len(z)
        for t in range(len(z))[:: -1 if reverse else 1]:
            state = states if len(states) > 1 else states[0]
            new = getattr(torch, name)(z[t], state, one, weight.mT, 0.0 * bias, bias)
            new = new if len(states) > 1 else (new,)
            if lengths is not None:
                real = torch.as_tensor(t < lengths)[:, None]
                new = [torch.where(real, a, b) for a, b in zip(new, states)]
            states, y[t] = tuple(new), torch.stack(list(new))
        y = torch.stack(y, dim=1)
        return y if len(states) > 1 else y[0]

    return run


TORCH |= {"rnn": _by_cell("rnn_tanh_cell"), "lstm": _by_cell("lstm_cell"), "gru": _by_cell("gru_cell")}

z, h, w = np.ones((3, 2, 4)), np.ones((2, 4)), np.ones((4, 4))
_GOOD = {
    "rnn": (z, w, h),
    "lstm": (np.ones((3, 2, 16)), np.ones((4, 16)), h, h),
    "gru": (np.ones((3, 2, 12)), np.ones((4, 12)), np.ones(12), h),
}
BAD = [
    *((ShapeError, name, (*arrays[:i], np.ones(bad), *arrays[i + 1 :]), {})
      for name, arrays in _GOOD.items() for i, a in enumerate(arrays)
      for bad in (a.shape[:-1], (*a.shape[:-1], a.shape[-1] + 1), (*a.shape, 1))),
    *((ShapeError, name, (arrays[0][:0], *arrays[1:]), {}) for name, arrays in _GOOD.items()),
    *((SettingError, name, arrays, {"activation": "sigmoid"}) for name, arrays in _GOOD.items()),
    *((SettingError, name, arrays, {"lengths": bad}) for name, arrays in _GOOD.items()
      for bad in (np.array([1]), np.array([1.0, 2.0]), 2)),
]  # fmt: skip
