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
    """What C is told of the two sides, in the order of tae_windows. big, small: (channels, height, width)."""
    before = tuple(before for before, _ in around)
    return images, groups, tuple(big), tuple(small), tuple(kernel), stride, before, dilation


def conv2d_windows(x, weight, *, stride, padding, dilation, groups):
    """What C is told of ops.conv2d on arrays of these shapes, or None."""
    geometry = geometry_of(weight[2:], stride, padding, dilation)
    if geometry is None or not _channels_fit(x, weight, groups, 0):
        return None
    small = small_of(x[-2:], geometry)
    return _between(x[:-3], weight, groups, x[-2:], small, geometry) if min(small) > 0 else None


def conv_transpose2d_windows(x, weight, *, stride, padding, output_padding, dilation, groups):
    """The same of ops.conv_transpose2d."""
    geometry, extra = geometry_of(weight[2:], stride, padding, dilation), two(output_padding, 0)
    if isinstance(padding, str) or geometry is None or extra is None or not _channels_fit(x, weight, groups, 1):
        return None
    if any(e >= max(s, d) for e, s, d in zip(extra, geometry[0], geometry[2])):
        return None
    big = tuple(n + e for n, e in zip(big_of(x[-2:], geometry), extra))
    return _between(x[:-3], weight, groups, big, x[-2:], geometry) if min(big) > 0 else None


def _channels_fit(x, weight, groups, transposed):
    if len(x) < 3 or len(weight) != 4 or not is_int(groups, 1) or weight[0] % groups:
        return False
    return x[-3] == (weight[0] if transposed else weight[1] * groups)


def _between(stack, weight, groups, big, small, geometry):
    sides = (weight[1] * groups, *big), (weight[0], *small)
    return windows_of(math.prod(stack), int(groups), *sides, weight[2:], *geometry[:3])


def weight_windows(big, small, *, kernel_size, stride, padding, dilation, groups):
    """The same of ops._conv2d_weight."""
    kernel = two(kernel_size, 1)
    if kernel is None or (geometry := geometry_of(kernel, stride, padding, dilation)) is None:
        return None
    if len(big) != len(small) or len(big) < 3 or big[:-3] != small[:-3] or not is_int(groups, 1):
        return None
    if big[-3] % groups or small[-3] % groups or small_of(big[-2:], geometry) != small[-2:]:
        return None
    return windows_of(math.prod(big[:-3]), int(groups), big[-3:], small[-3:], kernel, *geometry[:3])


def _of_one_dtype(*arrays):
    """The dtype's code if all are arrays of one dtype that C knows, and none is empty; else None."""
    if not all(x.__class__ is ndarray and x.size for x in arrays):
        return None
    code = dtype_code(arrays[0].dtype)
    return code if all(dtype_code(x.dtype) == code for x in arrays) else None


def _convolve(run, windows_of_shapes, to, x, weight, bias, settings):
    """One of the two directions; to: where the windows have the result's side."""
    code = _of_one_dtype(x, weight) if bias is None else _of_one_dtype(x, weight, bias)
    if "bias" in settings:  # an array by keyword: the definition says that it goes by position
        return None
    if code is None or (windows := windows_of_shapes(x.shape, weight.shape, **settings)) is None:
        return None
    if bias is not None and bias.shape != windows[to][:1]:
        return None
    y = np.empty((*x.shape[:-3], *windows[to]), x.dtype)
    bias = ffi.NULL if bias is None else address(dense(bias))
    told = ffi.new("tae_windows *", windows)
    return None if run(code, told, address(dense(x)), address(dense(weight)), bias, -1, 0.0, address(y)) else y


def conv2d(x, weight, bias=None, /, **settings):
    return _convolve(lib.tae_conv2d, conv2d_windows, 3, x, weight, bias, settings)


def conv_transpose2d(x, weight, bias=None, /, **settings):
    return _convolve(lib.tae_conv2d_transposed, conv_transpose2d_windows, 2, x, weight, bias, settings)


def _conv2d_weight(big, small, /, **settings):
    code = _of_one_dtype(big, small)
    if code is None or (windows := weight_windows(big.shape, small.shape, **settings)) is None:
        return None
    _, groups, (n_in, *_), (n_out, *_), kernel, *_ = windows
    told, weight = ffi.new("tae_windows *", windows), np.empty((n_out, n_in // groups, *kernel), big.dtype)
    room = np.empty(max(0, lib.tae_conv2d_weight_room(told)), big.dtype)
    arrays = address(dense(big)), address(dense(small)), address(weight), address(room)
    return None if lib.tae_conv2d_weight(code, told, *arrays) else weight


FORWARD = {"conv2d": conv2d, "conv_transpose2d": conv_transpose2d, "_conv2d_weight": _conv2d_weight} if lib else {}
