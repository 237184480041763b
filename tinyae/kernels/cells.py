"""Recurrent layers over all steps: ops.rnn, ops.lstm and ops.gru, forward and backward."""

import numpy as np

from .arrays import address, dense, dtype_code, ndarray
from .library import ffi, lib
from .products import product, rows

_GATES = (1, 4, 3)  # by the number that C knows a kind by
_ROOM = (1, 4, 4)  # what C needs to work on a step
RNN, LSTM, GRU = range(3)


def _sizes(kind, z, weight, bias, h, c, lengths):
    """(the dtype's code, (steps, n, hidden), and, as C takes them: lengths, z, whether it repeats, weight, bias, h, c),
    or None: not my case.
    """
    arrays = [z, weight, h, *[bias] * (kind == GRU), *[c] * (kind == LSTM)]
    if any(x.__class__ is not ndarray or x.dtype != z.dtype for x in arrays) or dtype_code(z.dtype) is None:
        return None
    if h.ndim != 2 or z.ndim != 3 or not z.shape[0]:
        return None
    (steps, n, _), k = z.shape, h.shape[1]
    wide = _GATES[kind] * k
    if z.shape[1:] != (h.shape[0], wide) or weight.shape != (k, wide) or (bias is not None and bias.shape != (wide,)):
        return None
    if c is not None and c.shape != h.shape:
        return None
    if lengths is None:
        lengths = ffi.NULL
    elif lengths.__class__ is not ndarray or lengths.dtype != np.int64 or lengths.shape != (n,):
        return None
    else:
        lengths = ffi.from_buffer("int64_t[]", dense(lengths))
    pointers = (ffi.NULL if x is None else address(dense(x)) for x in (weight, bias, h, c))
    repeats = z.strides[0] == 0 and steps > 1  # one input for all steps: C repeats it
    return dtype_code(z.dtype), (steps, n, k), lengths, address(dense(z[0] if repeats else z)), repeats, *pointers


_ACTIVATIONS = {"tanh": 0, "relu": 1}


def _forward(kind, z, weight, bias, h, c, activation, lengths, reverse):
    sizes = _sizes(kind, z, weight, bias, h, c, lengths)
    if sizes is None or activation not in _ACTIVATIONS:
        return None
    code, shape, *pointers = sizes
    y = np.empty((2, *shape) if kind == LSTM else shape, z.dtype)
    work = np.empty((*shape[1:], _ROOM[kind]), z.dtype)
    settings = _ACTIVATIONS[activation], bool(reverse), *shape
    return None if lib.tae_recurrent(kind, code, *settings, *pointers, address(y), address(work), ffi.NULL) else y


def _backward(kind, g, z, weight, bias, h, c, y, activation, lengths, reverse):
    """(dz, dweight, dbias or None, dh, dc or None)."""
    sizes = _sizes(kind, z, weight, bias, h, c, lengths)
    if sizes is None or g.__class__ is not ndarray or g.shape != y.shape or g.dtype != y.dtype or y.dtype != z.dtype:
        return None
    code, shape, lengths, z_, repeats, weight_, *starts = sizes
    dz, dh = np.empty(z.shape, z.dtype), np.empty(h.shape, h.dtype)
    du, dc = np.empty(z.shape, z.dtype) if kind == GRU else None, None if c is None else np.empty(c.shape, c.dtype)
    y, g = dense(y), dense(g)
    inputs = address(np.array(weight.T, order="C")), *starts, address(y), ffi.NULL, address(g)
    outputs = (ffi.NULL if x is None else address(x) for x in (dz, du, dh, dc))
    settings = _ACTIVATIONS[activation], bool(reverse), *shape
    if lib.tae_recurrent_backward(kind, code, *settings, lengths, z_, repeats, weight_, *inputs, *outputs):
        return None
    sums, states = dz if du is None else du, y[0] if kind == LSTM else y
    first, before, after = (-1, slice(1, None), slice(None, -1)) if reverse else (0, slice(None, -1), slice(1, None))
    dweight = product(dense(h).T, sums[first])
    product(rows(states[before]).T, rows(sums[after]), c=dweight, beta=1.0)
    return dz, dweight, None if bias is None else _sum(rows(sums), code), dh, dc


def _sum(x, code):
    total = np.empty(x.shape[1:], x.dtype)
    lib.tae_sum(code, 1, *x.shape, address(x), address(total))
    return total


def _rnn(z, weight, h, activation, lengths, reverse):
    return _forward(RNN, z, weight, None, h, None, activation, lengths, reverse)


def _lstm(z, weight, h, c, activation, lengths, reverse):
    return _forward(LSTM, z, weight, None, h, c, activation, lengths, reverse)


def _gru(z, weight, bias, h, activation, lengths, reverse):
    return _forward(GRU, z, weight, bias, h, None, activation, lengths, reverse)


def _without_none(gradients):
    return gradients and tuple(x for x in gradients if x is not None)


def _rnn_backward(g, weight, h, y, activation, lengths, reverse):  # y stands for z, which is not read
    return _without_none(_backward(RNN, g, y, weight, None, h, None, y, activation, lengths, reverse))


def _lstm_backward(g, z, weight, h, c, y, activation, lengths, reverse):
    return _without_none(_backward(LSTM, g, z, weight, None, h, c, y, activation, lengths, reverse))


def _gru_backward(g, z, weight, bias, h, y, activation, lengths, reverse):
    return _without_none(_backward(GRU, g, z, weight, bias, h, None, y, activation, lengths, reverse))


FORWARD = {"rnn": _rnn, "lstm": _lstm, "gru": _gru} if lib else {}
BACKWARD = {("rnn", "z"): _rnn_backward, ("lstm", "z"): _lstm_backward, ("gru", "z"): _gru_backward} if lib else {}
