"""Convolution: ops.conv2d, its transpose and the weight's gradient. csrc/conv.c computes.

Their derivatives of any order are made of the three by the ops' own rules, so nothing else is needed here. Settings are
read as ops/conv.py reads them; what it would refuse is not our case.
"""

import math

import numpy as np

from .arrays import address, dense, dtype_code, ndarray
from .library import ffi, lib


def is_int(value, least):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


def two(value, least):
    """A setting for each of two axes, or None."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    return tuple(map(int, values)) if len(values) == 2 and all(is_int(v, least) for v in values) else None


def _around(padding, kernel, stride, dilation):
    """((before, after), (before, after)), or None."""
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and max(stride) > 1):
            return None
        around = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation)]
        return tuple((a // 2, a - a // 2) for a in around)
    if isinstance(padding, (tuple, list)) and padding and all(isinstance(p, (tuple, list)) for p in padding):
        pairs = [two(p, -math.inf) for p in padding]
        return None if len(pairs) != 2 or None in pairs else tuple(pairs)
    both = two(padding, 0)
    return both and tuple((p, p) for p in both)


def geometry_of(kernel, stride, padding, dilation):
    """(stride, ((before, after), (before, after)), dilation, what a window covers), or None."""
    stride, dilation = two(stride, 1), two(dilation, 1)
    if stride is None or dilation is None or (around := _around(padding, kernel, stride, dilation)) is None:
        return None
    return stride, around, dilation, tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))


def small_of(big, geometry):
    ends = zip(big, *geometry)
    return tuple((n + before + after - w) // s + 1 for n, s, (before, after), _, w in ends)


def big_of(small, geometry):
    return tuple((m - 1) * s + w - before - after for m, s, (before, after), _, w in zip(small, *geometry))


def windows_of(images, groups, big, small, kernel, stride, around, dilation):
    """What C is told of the two sides. big, small: (channels, height, width)."""
    before = [before for before, _ in around]
    return ffi.new("tae_windows *", (images, groups, big, small, kernel, stride, before, dilation))


def _of_one_dtype(*arrays):
    """The dtype's code if all are arrays of one dtype that C knows, and none is empty; else None."""
    if not all(x.__class__ is ndarray and x.size for x in arrays):
        return None
    code = dtype_code(arrays[0].dtype)
    return code if all(dtype_code(x.dtype) == code for x in arrays) else None


def _convolve(run, x, weight, bias, transposed, groups, sides):
    """One of the two directions; sides: lengths to what C is told and the result's shape without samples, or None."""
    code = _of_one_dtype(x, weight) if bias is None else _of_one_dtype(x, weight, bias)
    if code is None or x.ndim < 3 or weight.ndim != 4 or not is_int(groups, 1) or weight.shape[0] % groups:
        return None
    n_small, n_big = weight.shape[0], weight.shape[1] * groups
    n_in, n_out = (n_small, n_big) if transposed else (n_big, n_small)
    if x.shape[-3] != n_in or (bias is not None and bias.shape != (n_out,)) or (lengths := sides(x.shape[-2:])) is None:
        return None
    big, small, geometry = lengths
    images = math.prod(x.shape[:-3])
    windows = windows_of(images, int(groups), (n_big, *big), (n_small, *small), weight.shape[2:], *geometry[:3])
    y = np.empty((*x.shape[:-3], n_out, *(big if transposed else small)), x.dtype)
    bias = ffi.NULL if bias is None else address(dense(bias))
    return None if run(code, windows, address(dense(x)), address(dense(weight)), bias, -1, 0.0, address(y)) else y


def conv2d(x, weight, bias=None, /, *, stride, padding, dilation, groups):
    def sides(big):
        if (geometry := geometry_of(weight.shape[2:], stride, padding, dilation)) is None:
            return None
        small = small_of(big, geometry)
        return (big, small, geometry) if min(small) > 0 else None

    return _convolve(lib.tae_conv2d, x, weight, bias, False, groups, sides)


def conv_transpose2d(x, weight, bias=None, /, *, stride, padding, output_padding, dilation, groups):
    def sides(small):
        geometry, extra = geometry_of(weight.shape[2:], stride, padding, dilation), two(output_padding, 0)
        if isinstance(padding, str) or geometry is None or extra is None:
            return None
        if any(e >= max(s, d) for e, s, d in zip(extra, geometry[0], geometry[2])):
            return None
        big = tuple(n + e for n, e in zip(big_of(small, geometry), extra))
        return (big, small, geometry) if min(big) > 0 else None

    return _convolve(lib.tae_conv2d_transposed, x, weight, bias, True, groups, sides)


def _conv2d_weight(big, small, /, *, kernel_size, stride, padding, dilation, groups):
    code, kernel = _of_one_dtype(big, small), two(kernel_size, 1)
    if code is None or kernel is None or (geometry := geometry_of(kernel, stride, padding, dilation)) is None:
        return None
    if big.ndim != small.ndim or big.ndim < 3 or big.shape[:-3] != small.shape[:-3] or not is_int(groups, 1):
        return None
    (n_in, *lengths), n_out = big.shape[-3:], small.shape[-3]
    if n_in % groups or n_out % groups or small_of(lengths, geometry) != small.shape[-2:]:
        return None
    images = math.prod(big.shape[:-3])
    windows = windows_of(images, int(groups), big.shape[-3:], small.shape[-3:], kernel, *geometry[:3])
    weight = np.empty((n_out, n_in // groups, *kernel), big.dtype)
    room = np.empty(max(0, lib.tae_conv2d_weight_room(windows)), big.dtype)
    arrays = address(dense(big)), address(dense(small)), address(weight), address(room)
    return None if lib.tae_conv2d_weight(code, windows, *arrays) else weight


FORWARD = {"conv2d": conv2d, "conv_transpose2d": conv_transpose2d, "_conv2d_weight": _conv2d_weight} if lib else {}
