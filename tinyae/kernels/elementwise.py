"""Element by element, sums, extremes and rows: the kernels of the ops, forward and backward."""

import math

import numpy as np

from .arrays import DENSE, address, common, dense, dtype_code, ndarray
from .library import ffi, lib, reported

# The four arithmetic operators are not here. NumPy's are as fast as memory on large arrays (100,000 float32: 9 us, by
# tae_binary 10), one call of them costs 0.2 us and one of ours 0.8, and on normal numbers the bits are the same.


def _unary(op):
    run = lib.tae_unary

    def forward(x, param=0.0):
        if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
            return None
        x = dense(x)
        out = np.empty(x.shape, x.dtype)
        return None if run(op, code, x.size, address(x), address(out), param) else out

    return forward


def _unary_backward(op):
    run = lib.tae_unary_backward

    def backward(g, kept, param=0.0):
        if (code := common(g, kept)) is None:
            return None
        step = 1
        if g.flags.num & DENSE != DENSE and not any(g.strides):  # one value, spread by a mean: C repeats it
            g, step = g.reshape(-1)[:1], 0
        g, kept = dense(g), dense(kept)
        out = np.empty(kept.shape, kept.dtype)
        return None if run(op, code, kept.size, address(g), step, address(kept), address(out), param) else out

    return backward


def _split(shape, axis):
    """shape in three parts: before, along and after the axes to sum over. None if those do not stand side by side."""
    ndim = len(shape)
    if axis is None:
        return (), shape, ()
    axes = sorted(i + ndim if i < 0 else i for i in (axis if isinstance(axis, tuple) else (axis,)))
    if not axes or axes[0] < 0 or axes[-1] >= ndim or any(j - i != 1 for i, j in zip(axes, axes[1:])):
        return None
    return shape[: axes[0]], shape[axes[0] : axes[-1] + 1], shape[axes[-1] + 1 :]


def _sum(x, axis, keepdims):
    if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None or (parts := _split(x.shape, axis)) is None:
        return None
    outer, along, inner = parts
    x = dense(x)
    out = np.empty(outer + (1,) * len(along) + inner if keepdims else outer + inner, x.dtype)
    sizes = math.prod(outer), math.prod(along), math.prod(inner)
    return None if lib.tae_sum(code, *sizes, address(x), address(out)) else out


def _extreme(kind):
    """max and min. NumPy refuses an empty axis, so that is not our case."""

    def forward(x, axis, keepdims):
        if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
            return None
        if (parts := _split(x.shape, axis)) is None:
            return None
        outer, along, inner = parts
        x = dense(x)
        out = np.empty(outer + (1,) * len(along) + inner if keepdims else outer + inner, x.dtype)
        sizes = math.prod(outer), math.prod(along), math.prod(inner)
        return None if lib.tae_extreme(kind, code, *sizes, address(x), address(out)) else out

    return forward


def _arg_extreme(kind):
    """argmax and argmin, over one axis but the last: along the memory NumPy's are quicker, and the places are equal."""

    def forward(x, axis, keepdims):
        if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None or axis.__class__ is not int:
            return None
        if (parts := _split(x.shape, axis)) is None or not parts[2]:
            return None
        outer, along, inner = parts
        x = dense(x)
        out = np.empty(outer + (1,) * len(along) + inner if keepdims else outer + inner, np.int64)
        sizes = math.prod(outer), math.prod(along), math.prod(inner)
        place = ffi.from_buffer("int64_t[]", out)
        return None if lib.tae_arg_extreme(kind, code, *sizes, address(x), place) else out

    return forward


def _by_row(run):
    """softmax and the like: rows are the last axis. Over another one NumPy is quicker than two copies."""

    def forward(x, axis):
        if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
            return None
        if x.ndim == 0 or axis not in (-1, x.ndim - 1):
            return None
        x = dense(x)
        out = np.empty(x.shape, x.dtype)
        return None if run(code, math.prod(x.shape[:-1]), x.shape[-1], address(x), address(out)) else out

    return forward


def _by_row_backward(run):
    def backward(g, y, axis):
        if (code := common(g, y)) is None or y.ndim == 0 or axis not in (-1, y.ndim - 1):
            return None
        g, y = dense(g), dense(y)
        out = np.empty(y.shape, y.dtype)
        return None if run(code, math.prod(y.shape[:-1]), y.shape[-1], address(g), address(y), address(out)) else out

    return backward


def _logsumexp(x, axis, keepdims):
    """Over any one axis: a copy with that axis last costs less than NumPy's passes."""
    if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
        return None
    if axis.__class__ is not int or not -x.ndim <= axis < x.ndim:
        return None
    x = np.moveaxis(x, axis, -1)
    shape, n = x.shape[:-1], x.shape[-1]
    rows, axis = dense(x), axis % x.ndim
    out = np.empty((*shape[:axis], 1, *shape[axis:]) if keepdims else shape, x.dtype)
    return None if lib.tae_logsumexp(code, math.prod(shape), n, address(rows), address(out)) else out


def _with_setting(name, forward, backward):
    """leaky_relu, elu and gelu have a setting, which their definitions check: a bad one is not our case."""
    if name == "leaky_relu":
        return (
            lambda x, slope: forward(x, slope) if slope >= 0 else None,
            lambda g, y, slope: backward(g, y, slope) if slope >= 0 else None,
        )
    if name == "elu":
        return (
            lambda x, alpha: forward(x, alpha) if alpha >= 0 else None,
            lambda g, y, alpha: backward(g, y, alpha) if alpha >= 0 else None,
        )
    if name == "gelu":
        return (
            lambda x, approximate="none": forward(x) if approximate == "none" else None,
            lambda g, x, approximate="none": backward(g, x) if approximate == "none" else None,
        )
    return forward, backward


FORWARD = {}
BACKWARD = {}
UNARY = {None: -1}  # by name: the number that C knows a function of one argument by
if lib is not None:
    for _op, _name in enumerate(reported(lib.tae_unary_name)):
        UNARY[_name] = _op
        FORWARD[_name], BACKWARD[_name, "x"] = _with_setting(_name, _unary(_op), _unary_backward(_op))
    FORWARD.update(
        sum=_sum,
        max=_extreme(0),
        min=_extreme(1),
        argmax=_arg_extreme(0),
        argmin=_arg_extreme(1),
        softmax=_by_row(lib.tae_softmax),
        log_softmax=_by_row(lib.tae_log_softmax),
        logsumexp=_logsumexp,
    )
    BACKWARD["softmax", "x"] = _by_row_backward(lib.tae_softmax_backward)
    BACKWARD["log_softmax", "x"] = _by_row_backward(lib.tae_log_softmax_backward)
