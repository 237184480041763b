"""Pooling and upsampling of images (..., C, H, W) and signals (..., C, L): windows, as in ``conv.py``, without weights.

Every op here is linear, or chooses values (`max_pool`), and stands beside its transpose, each the other's derivative.
Of equally large values the first takes the gradient.

An int as kernel_size or scale_factor is for all axes after (N, C); a tuple says how many of the last axes are meant.

Ring 2. Must not know Tensor. Read after ``conv.py``.
"""

import math

import numpy as np

from ..engine import op
from ..errors import SettingError, ShapeError
from .conv import _check_span, _cut, _Geometry, _geometry, _ints, _pad

__all__ = ["avg_pool", "max_pool", "upsample"]


# -- pooling --------------------------------------------------------------------------------------------------------


def _pooling(where, x_shape, kernel_size, stride, padding, dilation=1):
    """The geometry of pooling the last axes of x, as many as kernel_size has lengths."""
    n = _count_axes(where, x_shape, "kernel_size", kernel_size)
    kernel = _ints(where, "kernel_size", kernel_size, n, 1)
    stride = kernel if stride is None else stride
    _check_half(where, padding, kernel)
    geometry = _geometry(where, kernel, stride, padding, dilation)
    _check_span(f"{where}: x {x_shape}", geometry, x_shape[-n:])
    return geometry


def _check_half(where, padding, kernel):
    """Padding is less than a window, so that every undilated one has a value to pool."""
    if any(2 * p > k for p, k in zip(_ints(where, "padding", padding, len(kernel), 0), kernel)):
        raise SettingError(f"{where}: padding={padding!r} for kernel_size={kernel}. Give at most half of it.")


def _count_axes(where, x_shape, name, value):
    """How many of the last axes are meant: one per entry of value; by an int, all after (N, C)."""
    n = len(value) if isinstance(value, (tuple, list)) else len(x_shape) - 2
    if not 1 <= n <= len(x_shape):
        raise ShapeError(
            f"{where}: x {x_shape}, {name}={value!r}: expected (N, C, L) or (N, C, H, W). For another shape give a "
            f"tuple as {name}: an int for each of the last axes that are meant."
        )
    return n


def _reduced(ufunc, x, geometry, padded_by=0):
    """ufunc over each window of x."""
    first, *others = geometry.windows(_pad(x, geometry.padding, padded_by))
    y = first.copy()
    for window in others:
        ufunc(y, window, out=y)
    return y


@op(kinks=("ties",))
def max_pool(x, /, *, kernel_size, stride=None, padding=0, dilation=1):
    """The largest value of every window; NaN if any is. Of equal ones the first takes the gradient, of NaNs too.

    kernel_size: an int for (N, C, L) and (N, C, H, W), or a tuple: an int for each of the last axes. stride: by default
    kernel_size, so that windows do not overlap. padding: at most half of kernel_size, by -inf, which is also the result
    where dilation makes a window miss a short x altogether. Zhou and Chellappa 1988.

    Shape: (..., H, W) -> (..., H', W') with H' = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.
    """
    geometry = _pooling("max_pool", x.shape, kernel_size, stride, padding, dilation)
    return _reduced(np.maximum, x, geometry, _lowest(x.dtype))


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


@max_pool.vjp
def _(g, x, y, kernel_size, stride, padding, dilation):
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    return _max_pool_place(g, _max_pool_winner(x, y, **settings), shape=x.shape, **settings)


@op
def _max_pool_winner(x, y, /, *, kernel_size, stride, padding, dilation):
    """For every window of x, the number of the first place that holds its maximum y. No derivative.

    Shape: x (..., H, W), y (..., H', W') -> y's.
    """
    geometry = _pooling("max_pool", x.shape, kernel_size, stride, padding, dilation)
    *windows, _ = geometry.windows(_pad(x, geometry.padding, _lowest(x.dtype)))
    winner, waiting = np.zeros(y.shape, np.min_scalar_type(len(windows))), np.ones(y.shape, bool)
    for window in windows:  # counted, since writing through masks is ten times slower
        waiting &= (window != y) & (window == window)  # a NaN wins too
        winner += waiting
    return winner


@op
def _max_pool_place(g, winner, /, *, shape, kernel_size, stride, padding, dilation):
    """Zeros to which g is added where its window's winner stands. Shape: (..., H', W') twice -> shape."""
    geometry = _pooling("max_pool", shape, kernel_size, stride, padding, dilation)
    padded = _zeros(geometry, shape, g.dtype)
    for i, window in enumerate(geometry.windows(padded)):
        window += g * (winner == i)
    return _cut(padded, geometry.padding)


@_max_pool_place.vjp("g")
def _(g, winner, kernel_size, stride, padding, dilation):
    return _max_pool_pick(g, winner, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)


@op
def _max_pool_pick(x, winner, /, *, kernel_size, stride, padding, dilation):
    """Every window's value where its winner stands: `_max_pool_place` transposed.

    Shape: x (..., H, W), winner (..., H', W') -> winner's.
    """
    geometry = _pooling("max_pool", x.shape, kernel_size, stride, padding, dilation)
    y = np.zeros(winner.shape, x.dtype)
    for i, window in enumerate(geometry.windows(_pad(x, geometry.padding))):
        y += window * (winner == i)
    return y


@_max_pool_pick.vjp("x")
def _(g, winner, x_shape, kernel_size, stride, padding, dilation):
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    return _max_pool_place(g, winner, shape=x_shape, **settings)


@op
def avg_pool(x, /, *, kernel_size, stride=None, padding=0, count_include_pad=True):
    """The mean of every window, in which the zeros of the padding count unless count_include_pad is False.

    kernel_size, stride, padding: as of `max_pool`.

    Shape: (..., H, W) -> (..., H', W') with H' = (H + 2 padding - kernel_size) // stride + 1.
    """
    geometry = _pooling("avg_pool", x.shape, kernel_size, stride, padding)
    y = _reduced(np.add, _as_float(x), geometry)
    y /= _counts(geometry, x.shape, count_include_pad)
    return y


@avg_pool.vjp
def _(g, x_shape, kernel_size, stride, padding, count_include_pad):
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    return _avg_pool_spread(g, shape=x_shape, count_include_pad=count_include_pad, **settings)


@op
def _avg_pool_spread(g, /, *, shape, kernel_size, stride, padding, count_include_pad):
    """`avg_pool` transposed: every window gets its g, in equal shares. Shape: (..., H', W') -> shape."""
    geometry = _pooling("avg_pool", shape, kernel_size, stride, padding)
    padded = _zeros(geometry, shape, g.dtype)
    share = (g / _counts(geometry, shape, count_include_pad)).astype(g.dtype, copy=False)
    for window in geometry.windows(padded):
        window += share
    return _cut(padded, geometry.padding)


@_avg_pool_spread.vjp
def _(g, kernel_size, stride, padding, count_include_pad):
    return avg_pool(g, kernel_size=kernel_size, stride=stride, padding=padding, count_include_pad=count_include_pad)


def _counts(geometry, shape, padding_too):
    """What the sum of each window is divided by: a number, or an array (H', W')."""
    if padding_too or not any(map(any, geometry.padding)):
        return math.prod(geometry.kernel)
    return _reduced(np.add, np.ones(shape[-len(geometry.kernel) :]), geometry)


def _zeros(geometry, shape, dtype):
    """What windows are written to: shape with its padding."""
    n = len(geometry.kernel)
    return np.zeros((*shape[:-n], *geometry.padded(shape[-n:])), dtype)


def _as_float(x):
    return x if x.dtype.kind == "f" else x.astype(np.result_type(x, np.float32))


# -- upsampling -----------------------------------------------------------------------------------------------------


@op
def upsample(x, /, *, scale_factor, mode="nearest"):
    """Every axis of the image scale_factor times as long; for decoders, before a convolution. Odena et al. 2016.

    scale_factor: an int for (N, C, L) and (N, C, H, W), or a tuple: an int for each of the last axes. mode: "nearest"
    repeats values; "linear" for one axis and "bilinear" for two interpolate, values standing in the middle of their
    pixels (PyTorch's align_corners=False) and the outermost ones going on to the edge.

    Shape: (..., H, W) -> (..., H * scale_factor, W * scale_factor).
    """
    factors = _factors("upsample", x.shape, scale_factor, mode)
    lengths = x.shape[-len(factors) :]
    if mode == "nearest":
        y = np.empty((*x.shape[: -len(factors)], *(n * s for n, s in zip(lengths, factors))), x.dtype)
        for window in _blocks(factors).windows(y):
            window[...] = x
        return y
    x = _as_float(x)
    y = np.matmul(x, _interpolation(lengths[-1], factors[-1], x.dtype).T)
    return y if mode == "linear" else np.matmul(_interpolation(lengths[0], factors[0], x.dtype), y)


@upsample.vjp
def _(g, scale_factor, mode):
    return _upsample_back(g, scale_factor=scale_factor, mode=mode)


@op
def _upsample_back(g, /, *, scale_factor, mode):
    """`upsample` transposed. Shape: (..., H * scale_factor, W * scale_factor) -> (..., H, W)."""
    factors = _factors("upsample", g.shape, scale_factor, mode)
    if mode == "nearest":
        return _reduced(np.add, g, _blocks(factors))
    lengths = [n // s for n, s in zip(g.shape[-len(factors) :], factors)]
    x = np.matmul(g, _interpolation(lengths[-1], factors[-1], g.dtype))
    return x if mode == "linear" else np.matmul(_interpolation(lengths[0], factors[0], g.dtype).T, x)


@_upsample_back.vjp
def _(g, scale_factor, mode):
    return upsample(g, scale_factor=scale_factor, mode=mode)


_MODES = {"nearest": None, "linear": 1, "bilinear": 2}  # and how many axes they are for


def _factors(where, shape, scale_factor, mode):
    if mode not in _MODES:
        raise SettingError(f"{where}: mode={mode!r}. Give one of {', '.join(map(repr, _MODES))}.")
    n = _count_axes(where, shape, "scale_factor", scale_factor)
    if n != (_MODES[mode] or n):
        right = next((m for m, axes in _MODES.items() if axes == n), "nearest")
        raise ShapeError(f"{where}: x {shape}: mode={mode!r} is not for {n} axes. Give mode={right!r}.")
    return _ints(where, "scale_factor", scale_factor, n, 1)


def _blocks(factors):
    """Windows side by side, each what one value becomes."""
    return _Geometry(factors, factors, ((0, 0),) * len(factors), (1,) * len(factors))


def _interpolation(n, factor, dtype):
    """The matrix (n * factor, n) that interpolates along one axis."""
    at = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)  # where among the n values each new one is
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n))).astype(dtype)
