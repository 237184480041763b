"""``ops/conv.py``. The truth is the definition, place by place: no padding is made, places outside count as zeros."""

import math
import warnings
from itertools import product

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import SettingError, ShapeError

from .arrays import laid_out, row_into, values


ROWS, COMPOSED, TRUTH, TORCH = {}, {}, {}, {}
row = row_into(ROWS)


# -- settings, in every form that they have -------------------------------------------------------------------------


def pair(draw, least, most):
    """An int for each of two axes, as a tuple, a list or, if they are equal, one int."""
    one = draw(st.integers(least, most))
    return draw(st.sampled_from([one, (one, draw(st.integers(least, most))), [one, one]]))


def two(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def window_settings(draw, words=True):
    """kernel, and stride, padding and dilation as a user may write them."""
    kernel, stride, dilation = (two(pair(draw, 1, most)) for most in (3, 3, 2))
    around = [pair(draw, 0, 2), tuple((draw(st.integers(-1, 2)), draw(st.integers(-1, 2))) for _ in kernel)]
    padding = draw(st.sampled_from([*around, *(["valid", "same"] if words else [])]))
    if padding == "same":
        stride = 1
    elif stride[0] == stride[1] and draw(st.booleans()):
        stride = stride[0]
    return kernel, {"stride": stride, "padding": padding, "dilation": dilation}


def before_after(padding, kernel, dilation):
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        spare = [d * (k - 1) for k, d in zip(kernel, two(dilation))]
        return tuple((s // 2, s - s // 2) for s in spare)
    return tuple(p if isinstance(p, tuple) else (p, p) for p in two(padding))


def big_size(draw, kernel, settings):
    """A height and a width in which there is at least one window."""
    ends = zip(kernel, two(settings["dilation"]), before_after(settings["padding"], kernel, settings["dilation"]))
    return tuple(max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, 3)) for k, d, p in ends)


def small_size(big, kernel, settings):
    pads = before_after(settings["padding"], kernel, settings["dilation"])
    ends = zip(big, kernel, two(settings["stride"]), pads, two(settings["dilation"]))
    return tuple(len(range(0, n + sum(p) - d * (k - 1), s)) for n, k, s, p, d in ends)


def lead(draw):
    return draw(st.sampled_from([(), (1,), (2,), (0,), (2, 1)]))


def channels(draw):
    groups = draw(st.integers(1, 2))
    return groups, draw(st.integers(1, 3)), draw(st.integers(1, 3))


def operands(draw, *shapes):
    return [laid_out(draw, values(draw, shape)) for shape in shapes]


# -- convolution ----------------------------------------------------------------------------------------------------


@row
def unfold_row(draw):
    kernel, settings = window_settings(draw)
    size = big_size(draw, kernel, settings)
    return operands(draw, (*lead(draw), draw(st.integers(0, 2)), *size)), {"kernel_size": kernel, **settings}


@row
def fold_row(draw):
    kernel, settings = window_settings(draw)
    big = big_size(draw, kernel, settings)
    small = math.prod(small_size(big, kernel, settings))
    shape = (*lead(draw), draw(st.integers(0, 2)) * math.prod(kernel), small)
    return operands(draw, shape), {"output_size": big, "kernel_size": kernel, **settings}


@row
def conv2d_row(draw):
    kernel, settings = window_settings(draw)
    groups, each_in, each_out = channels(draw)
    x = (*lead(draw), groups * each_in, *big_size(draw, kernel, settings))
    shapes = x, (groups * each_out, each_in, *kernel), (groups * each_out,)
    return operands(draw, *shapes[: draw(st.integers(2, 3))]), {"groups": groups, **settings}


@row
def conv_transpose2d_row(draw):
    kernel, settings = window_settings(draw, words=False)
    groups, each_in, each_out = channels(draw)
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(two(settings["stride"]), two(settings["dilation"]))]
    least = []  # rows of x, for the result to have one
    pads = before_after(settings["padding"], kernel, settings["dilation"])
    for k, s, p, d, e in zip(kernel, two(settings["stride"]), pads, two(settings["dilation"]), extra):
        least.append(next(n for n in range(1, 9) if (n - 1) * s + d * (k - 1) + 1 - sum(p) + e > 0))
    x = (*lead(draw), groups * each_in, *(n + draw(st.integers(0, 2)) for n in least))
    shapes = x, (groups * each_in, each_out, *kernel), (groups * each_out,)
    settings |= {"groups": groups, "output_padding": tuple(extra)}
    return operands(draw, *shapes[: draw(st.integers(2, 3))]), settings


@row
def _conv2d_weight_row(draw):
    kernel, settings = window_settings(draw)
    groups, each_in, each_out = channels(draw)
    big, samples = big_size(draw, kernel, settings), lead(draw)
    small = (*samples, groups * each_out, *small_size(big, kernel, settings))
    arrays = operands(draw, (*samples, groups * each_in, *big), small)
    return arrays, {"kernel_size": kernel, "groups": groups, **settings}


def meetings(big, kernel, settings, small=None):
    """(place in small, place in the kernel, place in big) of all that meet; small is found out if it is not given."""
    pads = before_after(settings["padding"], kernel, settings["dilation"])
    small = small or small_size(big, kernel, settings)
    for i, k in product(product(*map(range, small)), product(*map(range, kernel))):
        ends = zip(i, k, two(settings["stride"]), two(settings["dilation"]), pads)
        at = tuple(a * s + b * d - before for a, b, s, d, (before, _) in ends)
        if all(0 <= a < n for a, n in zip(at, big)):
            yield i, k, at


def _unfold(x, *, kernel_size, **settings):
    small = small_size(x.shape[-2:], kernel_size, settings)
    y = np.zeros((*x.shape[:-2], *kernel_size, *small))
    for i, k, at in meetings(x.shape[-2:], kernel_size, settings):
        y[(..., *k, *i)] = x[(..., *at)]
    return y.reshape(*x.shape[:-3], x.shape[-3] * math.prod(kernel_size), math.prod(small))


def _fold(x, *, output_size, kernel_size, **settings):
    parts, small = math.prod(kernel_size), small_size(output_size, kernel_size, settings)
    x = x.reshape(*x.shape[:-2], x.shape[-2] // parts, *kernel_size, *small)
    y = np.zeros((*x.shape[:-4], *output_size))
    for i, k, at in meetings(output_size, kernel_size, settings):
        y[(..., *at)] += x[(..., *k, *i)]
    return y


def _connected(weight, groups):
    """The weight with groups as one without: zeros between channels that do not meet."""
    each, rows = weight.shape[0] // groups, weight.shape[1]
    whole = np.zeros((weight.shape[0], rows * groups, *weight.shape[2:]))
    for o in range(weight.shape[0]):
        start = o // each * rows
        whole[o, start : start + rows] = weight[o]
    return whole


def _conv2d(x, weight, bias=0.0, *, groups, **settings):
    kernel, whole = weight.shape[2:], _connected(weight, groups)
    y = np.zeros((*x.shape[:-3], len(weight), *small_size(x.shape[-2:], kernel, settings)))
    for i, k, at in meetings(x.shape[-2:], kernel, settings):
        y[(..., *i)] += (x[(..., None, slice(None), *at)] * whole[(..., *k)]).sum(-1)
    return y + np.reshape(bias, (-1, 1, 1))


def _conv_transpose2d(x, weight, bias=0.0, *, groups, output_padding, **settings):
    kernel, whole = weight.shape[2:], _connected(weight, groups)
    pads = before_after(settings["padding"], kernel, settings["dilation"])
    ends = zip(x.shape[-2:], kernel, two(settings["stride"]), two(settings["dilation"]), pads, output_padding)
    big = tuple((m - 1) * s - sum(p) + d * (k - 1) + e + 1 for m, k, s, d, p, e in ends)
    y = np.zeros((*x.shape[:-3], whole.shape[1], *big))
    for i, k, at in meetings(big, kernel, settings, x.shape[-2:]):
        y[(..., *at)] += (x[(..., slice(None), None, *i)] * whole[(..., *k)]).sum(-2)
    return y + np.reshape(bias, (-1, 1, 1))


def _conv2d_weight(big, small, *, kernel_size, groups, **settings):
    n_in, n_out = big.shape[-3], small.shape[-3]
    whole = np.zeros((n_out, n_in, *kernel_size))
    for i, k, at in meetings(big.shape[-2:], kernel_size, settings):
        met = small[(..., slice(None), None, *i)] * big[(..., None, slice(None), *at)]
        whole[(..., *k)] += met.reshape(-1, n_out, n_in).sum(0) if met.size else 0.0
    return np.stack([row[(part := o * groups // n_out * (n_in // groups)) : part + n_in // groups]
                     for o, row in enumerate(whole)])  # fmt: skip


TRUTH |= {
    "unfold": _unfold, "fold": _fold, "conv2d": _conv2d, "conv_transpose2d": _conv_transpose2d,
    "_conv2d_weight": _conv2d_weight,
}  # fmt: skip


# -- along one axis: the same, where the other has length 1 ---------------------------------------------------------


def along_one(draw, row):
    """The last axis of what row draws."""
    second = lambda v: v[1] if isinstance(v, (tuple, list)) else v  # noqa: E731
    (x, weight, *bias), settings = row(draw)
    pads = second(settings["padding"])
    flat = {name: value if name == "groups" else second(value) for name, value in settings.items()}
    return [x[..., 0, :], weight[..., 0, :], *bias], {**flat, "padding": (pads,) if isinstance(pads, tuple) else pads}


def conv1d_row(draw):
    return along_one(draw, conv2d_row)


def conv_transpose1d_row(draw):
    return along_one(draw, conv_transpose2d_row)


def _in_two(truth):
    def one(x, weight, *bias, stride, dilation, padding, **settings):
        if isinstance(padding, str):
            pass
        elif isinstance(padding, tuple):
            padding = ((0, 0), *padding)
        else:
            padding = (0, padding)
        if "output_padding" in settings:
            settings["output_padding"] = (0, settings["output_padding"])
        settings |= {"stride": (1, stride), "dilation": (1, dilation), "padding": padding}
        return truth(x[..., None, :], weight[..., None, :], *bias, **settings)[..., 0, :]

    return one


TRUTH |= {"conv1d": _in_two(_conv2d), "conv_transpose1d": _in_two(_conv_transpose2d)}


# -- as PyTorch says it ---------------------------------------------------------------------------------------------


def _flat(x, n):
    """All axes before the last n as one: PyTorch takes one axis of samples."""
    return x.reshape(math.prod(x.shape[:-n]), *x.shape[-n:])


def _padded(torch, x, kernel, padding, dilation):
    """x with its padding, since PyTorch's convolutions know equal padding on both sides only; cropped if negative."""
    (top, bottom), (left, right) = before_after(padding, kernel, dilation)
    return torch.nn.functional.pad(x, (left, right, top, bottom))


def _torch_conv(torch, x, weight, *bias, padding, **settings):
    """Along as many axes as the weight has after its channels."""
    n, flat = weight.ndim - 2, _flat(x, weight.ndim - 1)
    function = getattr(torch.nn.functional, f"conv{n}d")
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):  # which PyTorch does not know
        ends = [end for pair in reversed(padding) for end in pair]
        flat, padding = torch.nn.functional.pad(flat, ends), 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")  # for an even kernel it copies x, and says so
        y = function(flat, weight, *bias, padding=padding, **settings)
    return y.reshape(*x.shape[: -n - 1], *y.shape[1:])


def _torch_conv_transpose(torch, x, weight, *bias, padding, output_padding, **settings):
    n, flat = weight.ndim - 2, _flat(x, weight.ndim - 1)
    function = getattr(torch.nn.functional, f"conv_transpose{n}d")
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        extra = output_padding if isinstance(output_padding, tuple) else (output_padding,)
        ends = [end for (before, after), e in reversed(list(zip(padding, extra))) for end in (-before, e - after)]
        longer = torch.nn.functional.pad(function(flat, weight, **settings), [max(0, e) for e in ends])
        y = torch.nn.functional.pad(longer, [min(0, e) for e in ends])  # in this order, else PyTorch runs out of length
        y = y + bias[0].reshape(-1, *[1] * n) if bias else y
    else:
        y = function(flat, weight, *bias, padding=padding, output_padding=output_padding, **settings)
    return y.reshape(*x.shape[: -n - 1], *y.shape[1:])


def _torch_unfold(torch, x, *, kernel_size, stride, padding, dilation):
    padded = _padded(torch, _flat(x, 3), kernel_size, padding, dilation)
    y = torch.nn.functional.unfold(padded, kernel_size, dilation=dilation, stride=two(stride))
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _torch_fold(torch, x, *, output_size, kernel_size, stride, padding, dilation):
    pads = before_after(padding, kernel_size, dilation)
    size = [n + sum(p) for n, p in zip(output_size, pads)]
    y = torch.nn.functional.fold(_flat(x, 2), size, kernel_size, dilation=dilation, stride=two(stride))
    (top, bottom), (left, right) = pads
    y = torch.nn.functional.pad(y, (-left, -right, -top, -bottom))
    return y.reshape(*x.shape[:-2], *y.shape[1:])


TORCH |= {
    "conv2d": _torch_conv, "conv_transpose2d": _torch_conv_transpose, "unfold": _torch_unfold,
    "fold": _torch_fold, "_conv2d_weight": None,
}  # fmt: skip


COMPOSED |= {
    "conv1d": (conv1d_row, _torch_conv), "conv_transpose1d": (conv_transpose1d_row, _torch_conv_transpose),
}  # fmt: skip


# -- what must be refused -------------------------------------------------------------------------------------------

x344, w2322, b2 = np.ones((3, 4, 4)), np.ones((2, 3, 2, 2)), np.ones(2)
BAD = [
    (ShapeError, "conv2d", (x344, np.ones((2, 4, 2, 2))), {}),
    (ShapeError, "conv2d", (x344, w2322), {"groups": 3}),
    (ShapeError, "conv2d", (x344, np.ones((4, 1, 2, 2))), {"groups": 3}),
    (ShapeError, "conv2d", (x344, np.ones((2, 3, 5, 2))), {}),
    (ShapeError, "conv2d", (x344, w2322), {"dilation": 4}),
    (ShapeError, "conv2d", (np.ones((3, 0, 4)), w2322), {"padding": 2}),
    (ShapeError, "conv2d", (x344, np.ones((2, 3, 0, 2))), {}),
    (ShapeError, "conv2d", (np.ones((4, 4)), w2322), {}),
    (ShapeError, "conv2d", (x344, np.ones((2, 3, 2))), {}),
    (ShapeError, "conv2d", (x344, w2322, np.ones(3)), {}),
    (ShapeError, "conv2d", (x344, w2322, np.ones((2, 1))), {}),
    (ShapeError, "conv2d", (x344, w2322), {"padding": ((-2, -1), (0, 0))}),
    (SettingError, "conv2d", (x344, w2322), {"stride": 0}),
    (SettingError, "conv2d", (x344, w2322), {"stride": (1, 1, 1)}),
    (SettingError, "conv2d", (x344, w2322), {"stride": 1.0}),
    (SettingError, "conv2d", (x344, w2322), {"stride": True}),
    (SettingError, "conv2d", (x344, w2322), {"dilation": -1}),
    (SettingError, "conv2d", (x344, w2322), {"groups": 0}),
    (SettingError, "conv2d", (x344, w2322), {"padding": -1}),
    (SettingError, "conv2d", (x344, w2322), {"padding": "full"}),
    (SettingError, "conv2d", (x344, w2322), {"padding": "same", "stride": 2}),
    (SettingError, "conv2d", (x344, w2322), {"padding": (1, (0, 1))}),
    (SettingError, "conv2d", (x344, w2322), {"padding": ((1, 1),)}),
    (SettingError, "conv2d", (x344, w2322), {"padding": ((1, 1, 1), (0, 0, 0))}),
    (SettingError, "conv2d", (x344, w2322), {"padding": ((1.0, 0), (0, 0))}),
    (ShapeError, "conv_transpose2d", (x344, w2322), {}),
    (ShapeError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322, b2), {}),
    (ShapeError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322), {"groups": 3}),
    (ShapeError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322), {"padding": 3}),
    (ShapeError, "conv_transpose2d", (np.ones((2, 0, 4)), w2322), {}),
    (ShapeError, "conv_transpose2d", (np.ones(2), w2322), {}),
    (SettingError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322), {"output_padding": 1}),
    (SettingError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322), {"output_padding": -1}),
    (SettingError, "conv_transpose2d", (np.ones((2, 4, 4)), w2322), {"padding": "same"}),
    (ShapeError, "unfold", (np.ones((4, 4)),), {"kernel_size": 2}),
    (ShapeError, "unfold", (x344,), {"kernel_size": 5}),
    (SettingError, "unfold", (x344,), {"kernel_size": 0}),
    (SettingError, "unfold", (x344,), {"kernel_size": (2, 2, 2)}),
    (ShapeError, "fold", (np.ones((8, 8)),), {"output_size": 4, "kernel_size": 2}),
    (ShapeError, "fold", (np.ones((6, 9)),), {"output_size": 4, "kernel_size": 2}),
    (ShapeError, "fold", (np.ones(9),), {"output_size": 4, "kernel_size": 2}),
    (ShapeError, "fold", (np.ones((4, 9)),), {"output_size": 4, "kernel_size": 5}),
    (SettingError, "fold", (np.ones((4, 9)),), {"output_size": (4, 4, 4), "kernel_size": 2}),
]  # fmt: skip
