"""Convolution of images (..., C, H, W) and signals (..., C, L).

All of it is one relation between a *big* array and a *small* one: place i of the small one meets the places
``i * stride + k * dilation - padding`` of the big one, for every place k of the kernel. They are its *window*.

    conv2d            big, weight -> small      each small value is a weighted sum of its window
    conv_transpose2d  small, weight -> big      its transpose: each small value is spread over its window
    _conv2d_weight    big, small -> weight      the third side of the triangle

Each of the three is linear in both operands, and its two derivatives are the other two, so derivatives of any order
need nothing else. `unfold` and `fold` are the relation without a weight, and each other's derivative.

Note [Convolution by products]
    The windows of some samples are copied side by side as columns, and one matrix product per sample does the rest
    (Chellapilla, Puri and Simard 2006). Of some samples, since columns are a kernel times larger than the image and
    should still be in the cache when they are multiplied. At stride 1 a convolution is also a transposed one with the
    kernel turned round, whose columns are made of small instead of big: the smaller ones are taken. The columns of an
    image with fewer places than the matrix has rows are put side by side, for one product of all.

Ring 2. Must not know Tensor. Read after ``linalg.py``.
"""

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from ..engine import op
from ..errors import SettingError, ShapeError
from .math import sum
from .shape import reshape

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "fold", "unfold"]

_BLOCK = 1 << 17  # elements of columns at a time: half a megabyte of float32, which a second-level cache holds


# -- which places meet ----------------------------------------------------------------------------------------------


class _Geometry(NamedTuple):
    """The relation of big and small along each axis; padding is (before, after), and a negative one cuts off."""

    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple

    @property
    def span(self):
        """What one window covers, gaps included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))

    def padded(self, big):
        return tuple(n + before + after for n, (before, after) in zip(big, self.padding))

    def small(self, big):
        return tuple((n - w) // s + 1 for n, w, s in zip(self.padded(big), self.span, self.stride))

    def big(self, small):
        ends = zip(small, self.stride, self.span, self.padding)
        return tuple((m - 1) * s + w - before - after for m, s, w, (before, after) in ends)

    def exact(self, big):
        """The same, with padding such that the last window ends where the padded big does."""
        left = zip(self.padding, big, self.big(self.small(big)))
        return self._replace(padding=tuple((before, after - (n - used)) for (before, after), n, used in left))

    def mirrored(self):
        """For stride 1: big and small have changed places, and the kernel is turned round."""
        ends = zip(self.span, self.padding)
        return self._replace(padding=tuple((w - 1 - before, w - 1 - after) for w, (before, after) in ends))

    def windows(self, padded):
        """For every place of the kernel, the view of padded (..., *lengths) that the windows have there."""
        lengths = padded.shape[-len(self.kernel) :]
        counts = [(n - w) // s + 1 for n, w, s in zip(lengths, self.span, self.stride)]
        for place in product(*map(range, self.kernel)):
            axes = zip(place, self.dilation, counts, self.stride)
            yield padded[(..., *(slice(k * d, k * d + (m - 1) * s + 1, s) for k, d, m, s in axes))]


def _pad(x, padding, value=0):
    """x, longer by padding before and after its last axes, or shorter where that is negative."""
    if not any(map(any, padding)):
        return x
    lengths = x.shape[-len(padding) :]
    out = np.full((*x.shape[: -len(padding)], *(n + b + a for n, (b, a) in zip(lengths, padding))), value, x.dtype)
    target = tuple(slice(max(b, 0), max(0, b + n + min(a, 0))) for n, (b, a) in zip(lengths, padding))
    source = tuple(slice(max(-b, 0), max(0, n + min(a, 0))) for n, (b, a) in zip(lengths, padding))
    out[(..., *target)] = x[(..., *source)]
    return out


def _cut(padded, padding):
    """The inverse of `_pad`: what was padded is cut off, what was cut off is zeros."""
    return _pad(padded, tuple((-before, -after) for before, after in padding))


# -- settings -------------------------------------------------------------------------------------------------------


def _ints(where, name, value, n, least):
    """An int for each of n axes, from one int or n of them."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(values) != n or not all(_is_int(v) and v >= least for v in values):
        many = f", or {n} such ints" if n > 1 else ""
        raise SettingError(f"{where}: {name}={value!r}. Give an int of at least {least}{many}.")
    return tuple(map(int, values))


def _is_int(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _pairs(where, padding, n):
    """(before, after) for each of n axes: from an int, n ints, or n pairs, whose ints may be negative."""
    if isinstance(padding, (tuple, list)) and padding and all(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != n or not all(len(p) == 2 and all(map(_is_int, p)) for p in padding):
            raise SettingError(f"{where}: padding={padding!r}. Give (before, after) for each of {n} axes.")
        return tuple((int(before), int(after)) for before, after in padding)
    return tuple((p, p) for p in _ints(where, "padding", padding, n, 0))


def _geometry(where, kernel, stride, padding, dilation, words=("same", "valid")):
    """Settings as a user gives them, checked; words are what padding may be besides ints."""
    n = len(kernel)
    stride, dilation = _ints(where, "stride", stride, n, 1), _ints(where, "dilation", dilation, n, 1)
    if isinstance(padding, str):
        if padding not in words:
            raise SettingError(f"{where}: padding={padding!r}. Give {''.join(f'{w!r} or ' for w in words)}ints.")
        if padding == "same" and max(stride) > 1:
            raise SettingError(f"{where}: padding='same' takes stride 1, not {stride}. Give padding as ints.")
        around = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation)]
        padding = [(a // 2, a - a // 2) for a in around]
    return _Geometry(tuple(kernel), stride, _pairs(where, padding, n), dilation)


def _shortened(where, kernel, stride, padding, output_padding, dilation):
    """The same for a transposed convolution, whose output_padding is less padding at the end."""
    geometry = _geometry(where, kernel, stride, padding, dilation, words=())
    extra = _ints(where, "output_padding", output_padding, len(kernel), 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, geometry.stride, geometry.dilation)):
        raise SettingError(f"{where}: output_padding={output_padding!r}. Give less than the stride or the dilation.")
    return geometry._replace(padding=tuple((before, after - e) for (before, after), e in zip(geometry.padding, extra)))


def _check_span(where, geometry, lengths):
    """A window fits into x; where names the op and shows the shapes."""
    padded = geometry.padded(lengths)
    _check_length(where, lengths)
    if any(w > n for w, n in zip(geometry.span, padded)):
        raise ShapeError(
            f"{where}: the kernel covers {_times(geometry.span)} where x, padding included, has {_times(padded)}. Pad "
            "more, or take a smaller kernel."
        )


def _check_length(where, lengths):
    if 0 in lengths:
        raise ShapeError(f"{where}: an image of {_times(lengths)} has no place. Give every axis at least one.")


def _times(lengths):
    return " x ".join(map(str, lengths))


# -- windows as columns ---------------------------------------------------------------------------------------------


def _unfolded(x, geometry, small):
    """What the windows of x (N, C, *big) hold: (N, C, places of the kernel, *small)."""
    columns = np.empty((*x.shape[:2], math.prod(geometry.kernel), *small), x.dtype)
    for i, window in enumerate(geometry.windows(_pad(x, geometry.padding))):
        columns[:, :, i] = window
    return columns


def _folded(columns, geometry, big):
    """The transpose: columns (N, C, places of the kernel, *small) added up where their windows are: (N, C, *big)."""
    padded = np.zeros((*columns.shape[:2], *geometry.padded(big)), columns.dtype)
    for i, window in enumerate(geometry.windows(padded)):
        window += columns[:, :, i]
    return _cut(padded, geometry.padding)


@op
def unfold(x, /, *, kernel_size, stride=1, padding=0, dilation=1):
    """Every window of x as a column, so that a convolution is a matrix product.

    kernel_size: an int or (vertical, horizontal). stride, padding, dilation: as of `conv2d`.

    Shape: (..., C, H, W) -> (..., C * kh * kw, number of windows), each counted row by row.
    """
    geometry = _geometry("unfold", _ints("unfold", "kernel_size", kernel_size, 2, 1), stride, padding, dilation)
    if x.ndim < 3:
        raise ShapeError(f"unfold: x {x.shape}: expected (..., C, H, W). Reshape it; one channel is C = 1.")
    _check_span(f"unfold: x {x.shape}", geometry, x.shape[-2:])
    columns = _unfolded(_samples(x, 3), geometry, geometry.small(x.shape[-2:]))
    _, channels, places, *small = columns.shape
    return columns.reshape(*x.shape[:-3], channels * places, math.prod(small))


@op
def fold(x, /, *, output_size, kernel_size, stride=1, padding=0, dilation=1):
    """The transpose of `unfold`: every column is added where its window was. Settings: as there.

    output_size: (H, W), or an int if they are equal. What is in several windows comes back several times.

    Shape: (..., C * kh * kw, number of windows) -> (..., C, H, W).
    """
    geometry = _geometry("fold", _ints("fold", "kernel_size", kernel_size, 2, 1), stride, padding, dilation)
    big, places = _ints("fold", "output_size", output_size, 2, 1), math.prod(geometry.kernel)
    _check_span(f"fold: x {x.shape}, output_size={big}", geometry, big)
    small = geometry.small(big)
    if x.ndim < 2 or x.shape[-2] % places or x.shape[-1] != math.prod(small):
        raise ShapeError(
            f"fold: x {x.shape}: expected (..., C * {places}, {math.prod(small)}): {_times(big)} holds {_times(small)} "
            f"windows of {_times(geometry.kernel)}. Give the settings that unfold had."
        )
    columns = x.reshape(math.prod(x.shape[:-2]), x.shape[-2] // places, places, *small)
    return _folded(columns, geometry, big).reshape(*x.shape[:-2], x.shape[-2] // places, *big)


@unfold.vjp
def _(g, x_shape, kernel_size, stride, padding, dilation):
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    return fold(g, output_size=x_shape[-2:], **settings)


@fold.vjp
def _(g, kernel_size, stride, padding, dilation):
    return unfold(g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)


# -- convolution ----------------------------------------------------------------------------------------------------


def _check_operands(where, n, x, weight, bias, groups, transposed):
    """Axes and channels fit; returns how a message about the operands begins. n: how many axes the kernel has."""
    where = f"{where}: x {x.shape}, weight {weight.shape}" + ("" if bias is None else f", bias {bias.shape}")
    if x.ndim < n + 1 or weight.ndim != n + 2 or 0 in weight.shape[2:]:
        axes, kernel = ("C, L", "k") if n == 1 else ("C, H, W", "kh, kw")
        channels = "in, out / groups" if transposed else "out, in / groups"
        raise ShapeError(
            f"{where}: expected x (..., {axes}), weight ({channels}, {kernel}), bias (out,). Reshape what differs."
        )
    channels, ends = x.shape[-n - 1], (weight.shape[0], weight.shape[1] * groups)
    n_in, n_out = ends if transposed else ends[::-1]
    where = where if groups == 1 else f"{where}, groups={groups}"
    if channels != n_in:
        raise ShapeError(
            f"{where}: x has {channels} channels, the weight takes {n_in}. Channels are axis {-n - 1} of x; the weight "
            f"is ({'in, out / groups' if transposed else 'out, in / groups'}, ...)."
        )
    if weight.shape[0] % groups:
        raise ShapeError(f"{where}: {weight.shape[0]} channels do not fall into {groups} equal groups. Change groups.")
    if bias is not None and bias.shape != (n_out,):
        raise ShapeError(f"{where}: the bias of {n_out} channels is ({n_out},). Leave it out if there is none.")
    return where


def _conv_geometry(where, n, x, weight, bias, stride, padding, dilation, groups):
    """Of a convolution whose operands fit."""
    shown = _check_operands(where, n, x, weight, bias, *_ints(where, "groups", groups, 1, 1), transposed=False)
    geometry = _geometry(where, weight.shape[2:], stride, padding, dilation)
    _check_span(shown, geometry, x.shape[-n:])
    return geometry


def _transposed_geometry(where, n, x, weight, bias, stride, padding, output_padding, dilation, groups):
    """Of a transposed convolution whose operands fit."""
    shown = _check_operands(where, n, x, weight, bias, *_ints(where, "groups", groups, 1, 1), transposed=True)
    geometry = _shortened(where, weight.shape[2:], stride, padding, output_padding, dilation)
    _check_length(shown, x.shape[-n:])
    big = geometry.big(x.shape[-n:])
    if min(big) < 1:
        raise ShapeError(f"{shown}: nothing would be left: {_times(big)}. Give less padding, or a larger x.")
    return geometry


def _samples(x, n):
    """All axes before the last n as one: (..., C, H, W) -> (N, C, H, W)."""
    return x.reshape(math.prod(x.shape[:-n]), *x.shape[-n:])


def _some(n, size):
    """Slices of a few of n samples, each sample size elements: Note [Convolution by products]."""
    step = max(1, _BLOCK // max(1, size))
    return (slice(i, i + step) for i in range(0, n, step))


def _columns(x, geometry, groups):
    """A few samples at a time: their slice, and (samples, groups, C / groups * kernel, windows)."""
    small, places = geometry.small(x.shape[2:]), math.prod(geometry.kernel)
    for some in _some(len(x), x.shape[1] * places * math.prod(small)):
        columns = _unfolded(x[some], geometry, small)
        yield some, columns.reshape(len(columns), groups, x.shape[1] // groups * places, math.prod(small))


def _gathered(x, weight, bias, geometry, groups):
    """(N, in, *big) -> (N, out, *small): the columns of x, multiplied."""
    n_out, small = len(weight), geometry.small(x.shape[2:])
    matrix = weight.reshape(groups, n_out // groups, math.prod(weight.shape[1:]))
    y = np.empty((len(x), groups, n_out // groups, math.prod(small)), _common_dtype(x, weight, bias))
    for some, columns in _columns(x, geometry, groups):
        y[some] = _times_matrix(matrix, columns)
        if bias is not None:
            y[some] += bias.reshape(groups, n_out // groups, 1)
    return y.reshape(len(x), n_out, *small)


def _scattered(x, weight, bias, geometry, groups):
    """(N, in, *small) -> (N, out, *big): the columns of the result are x multiplied."""
    n, n_in, *small = x.shape
    n_out, places, big = weight.shape[1] * groups, math.prod(geometry.kernel), geometry.big(small)
    matrix = weight.reshape(groups, n_in // groups, weight.shape[1] * places).mT
    rows = x.reshape(n, groups, n_in // groups, math.prod(small))
    y = np.empty((n, n_out, *big), _common_dtype(x, weight, bias))
    for some in _some(n, n_out * places * math.prod(small)):
        columns = _times_matrix(matrix, rows[some])
        y[some] = _folded(columns.reshape(len(columns), n_out, places, *small), geometry, big)
        if bias is not None:
            y[some] += bias[:, None, None]
    return y


def _times_matrix(matrix, columns):
    """(groups, m, k) @ (samples, groups, k, windows): one product of all samples, if each would read the matrix for few
    columns."""
    groups, m, _ = matrix.shape
    n, _, _, windows = columns.shape
    if windows >= m:
        return np.matmul(matrix, columns)
    return np.matmul(matrix, _side_by_side(columns)).reshape(groups, m, n, windows).transpose(2, 0, 1, 3)


def _side_by_side(columns):
    """(samples, groups, k, windows) -> (groups, k, samples * windows)."""
    n, groups, k, windows = columns.shape
    return columns.transpose(1, 2, 0, 3).reshape(groups, k, n * windows)


def _common_dtype(x, weight, bias):
    return np.result_type(x, weight) if bias is None else np.result_type(x, weight, bias)


def _turns(geometry, big_channels, small_channels, big, small):
    """Whether columns of small are possible and smaller than columns of big."""
    return geometry.stride == (1, 1) and small_channels * math.prod(big) < big_channels * math.prod(small)


def _mirrored(weight, groups):
    """The weight of the same convolution seen from the other side: in and out exchanged, the kernel turned round."""
    a, b, *kernel = weight.shape
    parts = np.swapaxes(weight[..., ::-1, ::-1].reshape(groups, a // groups, b, *kernel), 1, 2)
    return parts.reshape(groups * b, a // groups, *kernel)


@op
def conv2d(x, weight, bias=None, /, *, stride=1, padding=0, dilation=1, groups=1):
    """y[o, i, j] = bias[o] + the sum over c, k, l of weight[o, c, k, l] * x[c, i * stride + k, j * stride + l].

    A primitive with the bias in it, as `linear` is: it is added while the product is in the cache. LeCun et al. 1989;
    dilation: Yu and Koltun 2016.

    stride: an int or (vertical, horizontal). dilation, also: the distance of a window's places, k * dilation above.
    padding, by zeros around x: an int, (vertical, horizontal) or ((top, bottom), (left, right)), where a negative one
    cuts off; "valid" is none, "same" gives y the size of x, at stride 1. groups: the channels fall into so many groups
    that do not meet.

    Shape: x (..., in, H, W), weight (out, in / groups, kh, kw), bias (out,) or left out -> (..., out, H', W') with
    H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1.
    """
    geometry = _conv_geometry("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)
    images = _samples(x, 3)
    if _turns(geometry, x.shape[-3], len(weight), x.shape[-2:], geometry.small(x.shape[-2:])):
        y = _scattered(images, _mirrored(weight, groups), bias, geometry.mirrored(), groups)
    else:
        y = _gathered(images, weight, bias, geometry, groups)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


@op
def conv_transpose2d(x, weight, bias=None, /, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Every value of x times weight, added up where the window was from which `conv2d` would come here; plus bias.

    The transpose of conv2d, not its inverse: <conv2d(y, w), x> = <y, conv_transpose2d(x, w)> with the same settings,
    which are those of conv2d without its words. output_padding: so many more rows and columns at the end, since
    several sizes have the same number of windows. Zeiler et al. 2010.

    Shape: x (..., in, H, W), weight (in, out / groups, kh, kw), bias (out,) or left out -> (..., out, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
    """
    geometry = _transposed_geometry(
        "conv_transpose2d", 2, x, weight, bias, stride, padding, output_padding, dilation, groups
    )
    images = _samples(x, 3)
    if _turns(geometry, weight.shape[1] * groups, x.shape[-3], geometry.big(x.shape[-2:]), x.shape[-2:]):
        y = _gathered(images, _mirrored(weight, groups), bias, geometry.mirrored(), groups)
    else:
        y = _scattered(images, weight, bias, geometry, groups)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


@op
def _conv2d_weight(big, small, /, *, kernel_size, stride, padding, dilation, groups):
    """The gradient of `conv2d`'s weight, from its x and its result's gradient: the windows of big times small, summed
    over samples and windows.

    Shape: big (..., in, H, W), small (..., out, H', W') -> (out, in / groups, *kernel_size).
    """
    geometry = _geometry("_conv2d_weight", kernel_size, stride, padding, dilation)
    return _products(_samples(big, 3), _samples(small, 3), geometry, groups)


def _products(big, small, geometry, groups):
    (n, n_in), (_, n_out, *places) = big.shape[:2], small.shape
    if _turns(geometry, n_in, n_out, big.shape[2:], places):
        return _mirrored(_products(small, big, geometry.mirrored(), groups), groups)
    rows = small.reshape(n, groups, n_out // groups, math.prod(places))
    total = np.zeros((groups, n_out // groups, n_in // groups * math.prod(geometry.kernel)), np.result_type(big, small))
    for some, columns in _columns(big, geometry, groups):
        if math.prod(places) < n_out // groups:
            total += np.matmul(_side_by_side(rows[some]), _side_by_side(columns).mT)
        else:
            total += np.matmul(rows[some], columns.mT).sum(axis=0)
    return total.reshape(n_out, n_in // groups, *geometry.kernel)


# The rules: big, small and weight, each from the other two.


def _exact(big, kernel, stride, padding, dilation):
    """The padding with which the way back from small ends at big, whose last rows may be in no window."""
    return _geometry("conv2d", kernel, stride, padding, dilation).exact(big).padding


@conv2d.vjp("x")
def _(g, weight, x_shape, stride, padding, dilation, groups):
    padding = _exact(x_shape[-2:], weight.shape[2:], stride, padding, dilation)
    return conv_transpose2d(g, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


@conv2d.vjp("weight")
def _(g, x, weight_shape, stride, padding, dilation, groups):
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _conv2d_weight(x, g, kernel_size=weight_shape[2:], **settings)


@conv_transpose2d.vjp("x")
def _(g, weight, stride, padding, output_padding, dilation, groups):
    padding = _shortened("conv_transpose2d", weight.shape[2:], stride, padding, output_padding, dilation).padding
    return conv2d(g, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


@conv_transpose2d.vjp("weight")
def _(g, x, weight_shape, stride, padding, output_padding, dilation, groups):
    padding = _shortened("conv_transpose2d", weight_shape[2:], stride, padding, output_padding, dilation).padding
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _conv2d_weight(g, x, kernel_size=weight_shape[2:], **settings)


@conv2d.vjp("bias")
@conv_transpose2d.vjp("bias")
def _(g):
    each = sum(g, axis=(-2, -1))
    return sum(each, axis=tuple(range(g.ndim - 3)))


@_conv2d_weight.vjp("big")
def _(g, small, big_shape, stride, padding, dilation, groups):
    padding = _exact(big_shape[-2:], g.shape[2:], stride, padding, dilation)
    return conv_transpose2d(small, g, stride=stride, padding=padding, dilation=dilation, groups=groups)


@_conv2d_weight.vjp("small")
def _(g, big, stride, padding, dilation, groups):
    return conv2d(big, g, stride=stride, padding=padding, dilation=dilation, groups=groups)


# -- one axis: images of one row ------------------------------------------------------------------------------------


def conv1d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """`conv2d` along one axis, with its settings for that axis alone; a pair of paddings is ((before, after),).

    Shape: x (..., in, L), weight (out, in / groups, k), bias (out,) or None -> (..., out, L') with
    L' = (L + 2 padding - dilation (k - 1) - 1) // stride + 1.
    """
    geometry = _conv_geometry("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)
    return _in_one_row(conv2d, x, weight, bias, geometry, groups)


def conv_transpose1d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """`conv_transpose2d` along one axis, with its settings for that axis alone.

    Shape: x (..., in, L), weight (in, out / groups, k), bias (out,) or None -> (..., out, L') with
    L' = (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1.
    """
    geometry = _transposed_geometry(
        "conv_transpose1d", 1, x, weight, bias, stride, padding, output_padding, dilation, groups
    )
    return _in_one_row(conv_transpose2d, x, weight, bias, geometry, groups)


def _in_one_row(op, x, weight, bias, geometry, groups):
    x, weight = (reshape(a, shape=(*a.shape[:-1], 1, a.shape[-1])) for a in (x, weight))
    (stride,), (padding,), (dilation,) = geometry[1:]
    settings = {"stride": (1, stride), "padding": ((0, 0), padding), "dilation": (1, dilation), "groups": groups}
    y = op(x, weight, **settings) if bias is None else op(x, weight, bias, **settings)
    return reshape(y, shape=(*y.shape[:-2], y.shape[-1]))
