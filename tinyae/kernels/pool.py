"""Pooling and nearest upsampling, forward and backward. csrc/pool.inc computes; settings as in conv.py."""

import math

import numpy as np

from .arrays import address, common, dense, dtype_code, ndarray
from .conv import geometry_of, is_int, small_of, two, windows_of
from .library import ffi, lib


def _lengths(value, ndim, least):
    """An int for each of the last axes that are meant, or None."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * (ndim - 2)
    return values if 1 <= len(values) <= min(ndim, 2) and all(is_int(v, least) for v in values) else None


def _in_a_plane(value, n, alone):
    """A setting for n axes as one for two, the first of which is `alone` if there is one axis; or None."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    return None if len(values) != n else two((alone, *values)[-2:], 0)


def _sides(shape, big, small, *geometry):
    """What C is told: every plane is an image of one channel."""
    return windows_of(math.prod(shape), 1, (1, *big), (1, *small), *geometry)


def pool_windows(shape, kernel_size, stride, padding, dilation=1):
    """(what C is told, the result's shape) of pooling an array of that shape, or None."""
    if (kernel := _lengths(kernel_size, len(shape), 1)) is None:
        return None
    n = len(kernel)
    given = (kernel, 1), (kernel if stride is None else stride, 1), (padding, 0), (dilation, 1)
    settings = [_in_a_plane(value, n, alone) for value, alone in given]
    if None in settings or 0 in shape:
        return None
    kernel, stride, padding, dilation = settings
    if any(2 * p > k for p, k in zip(padding, kernel)) or (geometry := geometry_of(*settings)) is None:
        return None
    big = (1, *shape[-n:])[-2:]
    small = small_of(big, geometry)
    if min(small) < 1:
        return None
    return _sides(shape[:-n], big, small, kernel, *geometry[:3]), (*shape[:-n], *small[-n:])


def places_of(windows):
    """How many places a kernel has."""
    return math.prod(windows[4])


def _told(windows):
    return ffi.new("tae_windows *", windows)


def max_pool(x, /, *, kernel_size, stride, padding, dilation):
    if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
        return None
    if (how := pool_windows(x.shape, kernel_size, stride, padding, dilation)) is None:
        return None
    y = np.empty(how[1], x.dtype)
    return None if lib.tae_max_pool(code, _told(how[0]), address(dense(x)), address(y), ffi.NULL) else y


def max_pool_backward(g, x, y, kernel_size, stride, padding, dilation):
    if (code := common(g, y)) is None or x.__class__ is not ndarray or x.dtype != g.dtype:
        return None
    if (how := pool_windows(x.shape, kernel_size, stride, padding, dilation)) is None or how[1] != g.shape:
        return None
    winner, out = np.empty(g.shape, np.uint8), np.empty(x.shape, g.dtype)
    at = ffi.from_buffer("unsigned char[]", winner)
    if lib.tae_max_pool(code, _told(how[0]), address(dense(x)), ffi.NULL, at):
        return None
    return None if lib.tae_max_pool_backward(code, _told(how[0]), address(dense(g)), at, address(out)) else out


def avg_pool(x, /, *, kernel_size, stride, padding, count_include_pad):
    if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
        return None
    how = pool_windows(x.shape, kernel_size, stride, padding)
    if how is None or not counts_all(padding, count_include_pad):
        return None
    y = np.empty(how[1], x.dtype)
    return None if lib.tae_sum_pool(code, _told(how[0]), address(dense(x)), places_of(how[0]), address(y)) else y


def _avg_pool_spread(g, /, *, shape, kernel_size, stride, padding, count_include_pad):
    if g.__class__ is not ndarray or (code := dtype_code(g.dtype)) is None:
        return None
    how = pool_windows(shape, kernel_size, stride, padding)
    if how is None or how[1] != g.shape or not counts_all(padding, count_include_pad):
        return None
    x = np.empty(shape, g.dtype)
    return None if lib.tae_spread(code, _told(how[0]), address(dense(g)), places_of(how[0]), address(x)) else x


def counts_all(padding, count_include_pad):
    """Whether every mean is of equally many values."""
    return count_include_pad or padding in (0, (0,), (0, 0), [0], [0, 0])


def repeat_windows(shape, scale_factor, mode, back=False):
    """(what C is told, the result's shape) of nearest upsampling an array of that shape, or of its transpose."""
    if mode != "nearest" or 0 in shape or (factors := _lengths(scale_factor, len(shape), 1)) is None:
        return None
    n = len(factors)
    lengths = shape[-n:]
    if back and any(length % s for length, s in zip(lengths, factors)):
        return None
    other = tuple(length // s if back else length * s for length, s in zip(lengths, factors))
    big, small = ((1, *a)[-2:] for a in ((lengths, other) if back else (other, lengths)))
    factors = (1, *map(int, factors))[-2:]
    windows = _sides(shape[:-n], big, small, factors, factors, ((0, 0), (0, 0)), (1, 1))
    return windows, (*shape[:-n], *other)


def _repeating(run, x, scale_factor, mode, back):
    if x.__class__ is not ndarray or (code := dtype_code(x.dtype)) is None:
        return None
    if (how := repeat_windows(x.shape, scale_factor, mode, back)) is None:
        return None
    y = np.empty(how[1], x.dtype)
    return None if run(code, _told(how[0]), address(dense(x)), 1.0, address(y)) else y


def upsample(x, /, *, scale_factor, mode):
    return _repeating(lib.tae_spread, x, scale_factor, mode, back=False)


def _upsample_back(g, /, *, scale_factor, mode):
    return _repeating(lib.tae_sum_pool, g, scale_factor, mode, back=True)


FORWARD = {"max_pool": max_pool, "avg_pool": avg_pool, "_avg_pool_spread": _avg_pool_spread, "upsample": upsample,
           "_upsample_back": _upsample_back} if lib else {}  # fmt: skip
BACKWARD = {("max_pool", "x"): max_pool_backward} if lib else {}
