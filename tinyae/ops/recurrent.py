"""Recurrences over the steps of a sequence: one op runs all steps, and one rule runs them all backwards.

Each takes z, the inputs' part of every gate's sum, which needs no recurrence and so is one product for all steps, and
the states before the first step. In its definition stands one step; what stands side by side in the last axis of z and
of the weight are the gates. The C kernels take a few rows of the batch through all steps, and other threads others.

Settings of all three: ``activation`` "tanh" or "relu"; ``lengths`` (n,), how many steps of each row are real: in the
others its state stays what it was; ``reverse`` runs from the last step to the first.

Note [Backwards through time]
    The rules keep inputs and states and compute the gates anew, which costs one product more but keeps no more memory.
    A compiled step keeps the gates where z was: the same bits, and one product less. Running backwards, a rule carries
    the gradient of the state, and leaves that of each step's sums; the weight's gradient is then one product over all
    steps.

Ring 2. Must not know Tensor.
"""

import numpy as np

from ..engine import Var, _wrap, op, sum_to
from ..errors import SettingError, ShapeError
from ..mode import fixed, mode
from .activations import relu, sigmoid, tanh
from .linalg import _rows, matmul
from .math import lt, where
from .shape import concat, getitem, reshape, stack

__all__ = ["gru", "lstm", "rnn"]

_ACTIVATIONS = {"tanh": tanh, "relu": relu}
_SLOPES = {"tanh": lambda y: 1.0 - y * y, "relu": lambda y: y > 0}  # from the result


@op
def rnn(z, weight, h, *, activation="tanh", lengths=None, reverse=False):
    """activation(z[t] + h @ weight) for every step t, where h is that of the step before. Elman 1990.

    Shape: z (steps, n, k), weight (k, k), h (n, k) -> (steps, n, k).
    """
    _check("rnn", 1, z, weight, h, lengths=lengths, activation=activation)
    y = np.empty(z.shape, np.result_type(z, weight, h))
    for t, real in _steps(z, lengths, reverse):
        h = y[t] = _held(real, _ACTIVATIONS[activation](z[t] + h @ weight), h)
    return y


@rnn.vjp("z", "weight", "h")
def _(g, weight, h, y, activation, lengths, reverse):
    g, hs = _unstacked(g), _unstacked(y)
    befores = _befores(hs, h, reverse)
    sums, dh = [None] * len(hs), 0.0
    for t, real in reversed(_steps(y, lengths, reverse)):
        dh = dh + g[t]
        sums[t] = _masked(real, dh * _SLOPES[activation](hs[t]))
        dh = _held(real, sums[t] @ weight.mT, dh)
    dz = stack(*sums, axis=0)
    return dz, _of_weight(befores, dz), dh


@op
def lstm(z, weight, h, c, *, activation="tanh", lengths=None, reverse=False):
    """c' = sigmoid(f) c + sigmoid(i) act(u) and h' = sigmoid(o) act(c') for every step, where i, f, u, o are the
    quarters of z[t] + h @ weight. Hochreiter and Schmidhuber 1997; f: Gers et al. 2000.

    Shape: z (steps, n, 4 k), weight (k, 4 k), h and c (n, k) -> (2, steps, n, k): all h', then all c'.
    """
    _check("lstm", 4, z, weight, h, c, lengths=lengths, activation=activation)
    act = _ACTIVATIONS[activation]
    y = np.empty((2, *z.shape[:2], h.shape[1]), np.result_type(z, weight, h, c))
    for t, real in _steps(z, lengths, reverse):
        i, f, u, o = _parts(z[t] + h @ weight, 4, -1)
        new = sigmoid(f) * c + sigmoid(i) * act(u)
        h, c = y[:, t] = _held(real, sigmoid(o) * act(new), h), _held(real, new, c)
    return y


@lstm.vjp("z", "weight", "h", "c")
def _(g, z, weight, h, c, y, activation, lengths, reverse):
    act, slope = _ACTIVATIONS[activation], _SLOPES[activation]
    g_h, g_c, hs, cs = (_unstacked(getitem(x, index=i)) for x in (g, y) for i in (0, 1))
    zs, h_befores, c_befores = _unstacked(z), _befores(hs, h, reverse), _befores(cs, c, reverse)
    sums, dh, dc = [None] * len(hs), 0.0, 0.0
    for t, real in reversed(_steps(z, lengths, reverse)):
        i, f, u, o = _parts(zs[t] + h_befores[t] @ weight, 4, -1)
        i, f, u, o, s = sigmoid(i), sigmoid(f), act(u), sigmoid(o), act(cs[t])
        dh, dc = dh + g_h[t], dc + g_c[t]
        d = dc + dh * o * slope(s)
        gates = d * u * i * (1.0 - i), d * c_befores[t] * f * (1.0 - f), d * i * slope(u), dh * s * o * (1.0 - o)
        sums[t] = _masked(real, concat(*gates, axis=-1))
        dh, dc = _held(real, sums[t] @ weight.mT, dh), _held(real, d * f, dc)
    dz = stack(*sums, axis=0)
    return dz, _of_weight(h_befores, dz), dh, dc


@op
def gru(z, weight, bias, h, *, activation="tanh", lengths=None, reverse=False):
    """h' = n + sigmoid(q) (h - n) with n = act(z_n + sigmoid(r) p) for every step, where r, q are the first two thirds
    of z[t] + h @ weight + bias; z_n is the last third of z[t], and p of the rest. Cho et al. 2014.

    Shape: z (steps, n, 3 k), weight (k, 3 k), bias (3 k,), h (n, k) -> (steps, n, k).
    """
    _check("gru", 3, z, weight, h, bias=bias, lengths=lengths, activation=activation)
    y = np.empty((*z.shape[:2], h.shape[1]), np.result_type(z, weight, bias, h))
    for t, real in _steps(z, lengths, reverse):
        (z_r, z_q, z_n), (r, q, p) = _parts(z[t], 3, -1), _parts(h @ weight + bias, 3, -1)
        n = _ACTIVATIONS[activation](z_n + sigmoid(z_r + r) * p)
        h = y[t] = _held(real, n + sigmoid(z_q + q) * (h - n), h)
    return y


@gru.vjp("z", "weight", "bias", "h")
def _(g, z, weight, bias, h, y, activation, lengths, reverse):
    zs, g, hs = _unstacked(z), _unstacked(g), _unstacked(y)
    befores = _befores(hs, h, reverse)
    of_z, of_h, dh = [None] * len(hs), [None] * len(hs), 0.0
    for t, real in reversed(_steps(y, lengths, reverse)):
        (z_r, z_q, z_n), (r, q, p) = _parts(zs[t], 3, -1), _parts(befores[t] @ weight + bias, 3, -1)
        r, q = sigmoid(z_r + r), sigmoid(z_q + q)
        n = _ACTIVATIONS[activation](z_n + r * p)
        dh = dh + g[t]
        d = dh * (1.0 - q) * _SLOPES[activation](n)
        d_r, d_q = d * p * r * (1.0 - r), dh * (befores[t] - n) * q * (1.0 - q)
        of_z[t] = _masked(real, concat(d_r, d_q, d, axis=-1))
        of_h[t] = _masked(real, concat(d_r, d_q, d * r, axis=-1))
        dh = _held(real, dh * q + of_h[t] @ weight.mT, dh)
    du = stack(*of_h, axis=0)
    return stack(*of_z, axis=0), _of_weight(befores, du), sum_to(du, shape=bias.shape), dh


# -- what they share ------------------------------------------------------------------------------------------------


def _check(name, gates, z, weight, h, c=None, bias=None, lengths=None, activation="tanh"):
    k = h.shape[-1] if h.ndim else 0
    shapes = {"z": z.shape, "weight": weight.shape, "h": h.shape}
    wanted = {"z": (*z.shape[:1], *h.shape[:1], gates * k), "weight": (k, gates * k), "h": (*h.shape[:1], k)}
    if c is not None:
        shapes["c"], wanted["c"] = c.shape, wanted["h"]
    if bias is not None:
        shapes["bias"], wanted["bias"] = bias.shape, (gates * k,)
    if z.ndim != 3 or not z.shape[0] or shapes != wanted:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        width = "k" if gates == 1 else f"{gates} k"
        raise ShapeError(f"{name}: {given}: expected z (steps, n, {width}) with at least one step, weight (k, {width})"
                         f"{f', bias ({width},)' * (bias is not None)}, and every state (n, k).")  # fmt: skip
    if activation not in _ACTIVATIONS:
        raise SettingError(f"{name}: activation={activation!r}. Give one of {', '.join(_ACTIVATIONS)}.")
    if lengths is not None and (np.shape(lengths) != z.shape[1:2] or np.asarray(lengths).dtype.kind not in "iu"):
        raise SettingError(f"{name}: lengths of shape {np.shape(lengths)} for z {z.shape}. Give one integer per row.")


def _steps(z, lengths, reverse):
    """The steps in their order, each with what is real of it, (n, 1), or None if all is."""
    if isinstance(z, Var) and mode.capture is not None and mode.capture.knows(lengths):
        lengths = _wrap(Var, lengths, None, None)  # in a rule that is being captured: what is asked of it is heard
    steps = [(t, None if lengths is None else _before(t, lengths)) for t in range(z.shape[0])]
    return steps[::-1] if reverse else steps


def _before(t, lengths):
    real = reshape(lt(t, lengths), shape=(-1, 1))
    return real if isinstance(real, Var) else fixed(real)


def _held(real, new, old):
    return new if real is None else where(real, new, old)


def _masked(real, x):
    return x if real is None else where(real, x, 0.0)


def _befores(states, start, reverse):
    """For every step the state before it."""
    return [*states[1:], start] if reverse else [start, *states[:-1]]


def _of_weight(befores, sums):
    """The weight's gradient: over all steps, the sum of the state before transposed times the gradient of the sums."""
    return matmul(_rows(stack(*befores, axis=0)).mT, _rows(sums))


def _unstacked(x):
    """x as a list along its first axis."""
    return [reshape(part, shape=part.shape[1:]) for part in _parts(x, x.shape[0])]


def _parts(x, n, axis=0):
    """x in n equal parts along axis. Halves of halves: backward fills in zeros around each part, and so costs n log n
    and not n * n.
    """
    if n == 1:
        return [x]
    cut = x.shape[axis] // n * (n // 2)
    lead = (slice(None),) * (axis % x.ndim)
    left, right = (getitem(x, index=(*lead, piece)) for piece in (slice(None, cut), slice(cut, None)))
    return _parts(left, n // 2, axis) + _parts(right, n - n // 2, axis)
