"""Layers for images (N, C, H, W) and signals (N, C, L): convolutions, pooling, upsampling.

    encoder = Sequential(Conv2d(1, 16, 3, padding="same"), ReLU(), MaxPool2d(2))
    decoder = Sequential(Upsample(2), Conv2d(16, 1, 3, padding="same"), Sigmoid())

A setting for two axes is an int or (vertical, horizontal). One sample, without the axis N, is taken too, except by
Upsample, which counts axes from there.

Ring 4. Must not know losses or optimizers. Read after ``layers.py``.
"""

import math

from .. import ops
from ..errors import SettingError
from ..ops.conv import _geometry, _ints, _shortened
from ..ops.pool import _MODES, _check_half
from .init import as_rng, initialise
from .layers import _size
from .module import Module, Parameter

__all__ = [
    "AvgPool1d", "AvgPool2d", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "MaxPool1d", "MaxPool2d",
    "Upsample",
]  # fmt: skip


class _Conv(Module):
    """What the four convolutions share: their parameters, how these start, and repr."""

    _axes = 2
    _transposed = False
    _words = ("same", "valid")

    def __init__(self, n_in, n_out, kernel_size, *, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 init="glorot_uniform", bias_init="zeros", generator=None, dtype="float32"):  # fmt: skip
        layer = type(self).__name__
        n_in, n_out = _size(layer, "n_in", n_in), _size(layer, "n_out", n_out)
        self.groups = _size(layer, "groups", groups)
        if n_in % self.groups or n_out % self.groups:
            raise SettingError(f"{layer}: groups={groups} does not divide {n_in} and {n_out} channels. Give a divisor.")
        kernel = _ints(layer, "kernel_size", kernel_size, self._axes, 1)
        _geometry(layer, kernel, stride, padding, dilation, self._words)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        fans = n_in // self.groups * math.prod(kernel), n_out // self.groups * math.prod(kernel)
        ends = (n_in, n_out // self.groups) if self._transposed else (n_out, n_in // self.groups)
        rng = as_rng(generator)
        self.weight = Parameter(initialise(init, (*ends, *kernel), rng, dtype, fans=fans))
        self.bias = Parameter(initialise(bias_init, (n_out,), rng, dtype, fans=fans)) if bias else None

    def _parameters(self):
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def _settings(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def extra_repr(self):
        """n_in, n_out, kernel_size, and what is not the default."""
        first, second = self.weight.shape[0], self.weight.shape[1] * self.groups
        n_in, n_out = (first, second) if self._transposed else (second, first)
        kernel = self.weight.shape[2:]
        shown = [n_in, n_out, kernel[0] if len(set(kernel)) == 1 else kernel]
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
        shown += [f"{name}={value!r}" for name, value in self._settings().items() if value != defaults[name]]
        return ", ".join(map(str, shown)) + ("" if self.bias is not None else ", bias=False")


class Conv2d(_Conv):
    """Every output channel a weighted sum of windows of the input's, plus bias: `ops.conv2d`. LeCun et al. 1989.

    Parameters
    ----------
    n_in, n_out : int
        How many channels x and the result have.
    kernel_size, stride, dilation : int or (int, int)
        The window, the distance between windows, the distance between the places of one window.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros around x. "same" keeps its size, at stride 1; "valid" is 0.
    groups : int
        The channels fall into so many groups that do not meet; n_in gives one convolution per channel.
    bias : bool
        Whether there is one; if not, ``.bias`` is None.
    init, bias_init : str or callable
        How ``weight`` and ``bias`` start: a name in ``init.INITIALISERS`` or (shape, rng, dtype) -> array. By default
        weights are uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010) and the bias is 0, where PyTorch
        starts both in +-1 / sqrt(fan_in): "pytorch_linear". fan_in is n_in / groups times the kernel's places, the
        inputs of one output, and fan_out is n_out / groups times these.
    generator : numpy.random.Generator, int or None
        Where random numbers come from. Layers share a generator; equal ints give equal weights.
    dtype : dtype
        float32 or float64.

    Shape: (N, n_in, H, W) -> (N, n_out, H', W'), H' = (H + 2 padding - dilation (kernel - 1) - 1) // stride + 1;
    ``weight`` is (n_out, n_in / groups, kh, kw), ``bias`` (n_out,).
    """

    def forward(self, x):
        """ops.conv2d(x, weight, bias)."""
        return ops.conv2d(x, *self._parameters(), **self._settings())


class Conv1d(Conv2d):
    """`Conv2d` along one axis: parameters as there, but an int for each setting.

    Shape: (N, n_in, L) -> (N, n_out, L'), L' = (L + 2 padding - dilation (kernel - 1) - 1) // stride + 1; ``weight`` is
    (n_out, n_in / groups, k), ``bias`` (n_out,).
    """

    _axes = 1

    def forward(self, x):
        """ops.conv1d(x, weight, bias)."""
        return ops.conv1d(x, *self._parameters(), **self._settings())


class ConvTranspose2d(_Conv):
    """Every input value times the weight, added up where its window is, plus bias: `ops.conv_transpose2d`.

    Zeiler et al. 2010. With the settings of a `Conv2d` it leads from the shape of its result back to that of its input.

    Parameters
    ----------
    n_in, n_out, kernel_size, stride, dilation, groups, bias, init, bias_init, generator, dtype
        As of `Conv2d`.
    padding : int, (int, int) or ((int, int), (int, int))
        What is cut off the result: the padding of the convolution that leads the other way.
    output_padding : int or (int, int)
        How many more rows and columns at the end, since several sizes have the same number of windows; less than
        stride or dilation.

    Shape: (N, n_in, H, W) -> (N, n_out, H', W'), H' = (H - 1) stride - 2 padding + dilation (kernel - 1) +
    output_padding + 1; ``weight`` is (n_in, n_out / groups, kh, kw), ``bias`` (n_out,).
    """

    _transposed = True
    _words = ()

    def __init__(self, n_in, n_out, kernel_size, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1,
                 bias=True, init="glorot_uniform", bias_init="zeros", generator=None, dtype="float32"):  # fmt: skip
        super().__init__(n_in, n_out, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups,
                         bias=bias, init=init, bias_init=bias_init, generator=generator, dtype=dtype)  # fmt: skip
        _shortened(type(self).__name__, self.weight.shape[2:], stride, padding, output_padding, dilation)
        self.output_padding = output_padding

    def _settings(self):
        return {**super()._settings(), "output_padding": self.output_padding}

    def forward(self, x):
        """ops.conv_transpose2d(x, weight, bias)."""
        return ops.conv_transpose2d(x, *self._parameters(), **self._settings())


class ConvTranspose1d(ConvTranspose2d):
    """`ConvTranspose2d` along one axis: parameters as there, but an int for each setting.

    Shape: (N, n_in, L) -> (N, n_out, L'), L' = (L - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1;
    ``weight`` is (n_in, n_out / groups, k), ``bias`` (n_out,).
    """

    _axes = 1

    def forward(self, x):
        """ops.conv_transpose1d(x, weight, bias)."""
        return ops.conv_transpose1d(x, *self._parameters(), **self._settings())


# -- pooling and upsampling -----------------------------------------------------------------------------------------


class _Pool(Module):
    """What the four poolings share; settings are kept as tuples, which tell the op how many axes are meant."""

    _axes = 2

    def __init__(self, kernel_size, stride, padding):
        layer = type(self).__name__
        self.kernel_size = _ints(layer, "kernel_size", kernel_size, self._axes, 1)
        self.stride = self.kernel_size if stride is None else _ints(layer, "stride", stride, self._axes, 1)
        self.padding = _ints(layer, "padding", padding, self._axes, 0)
        _check_half(layer, self.padding, self.kernel_size)

    def extra_repr(self):
        """kernel_size, and what is not the default."""
        default = {"stride": self.kernel_size, "padding": (0,) * self._axes, "dilation": (1,) * self._axes,
                   "count_include_pad": True}  # fmt: skip
        shown = [f"{name}={_short(value)}" for name, value in vars(self).items()
                 if name in default and value != default[name]]  # fmt: skip
        return ", ".join([_short(self.kernel_size), *shown])


def _short(value):
    return str(value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value)


class MaxPool2d(_Pool):
    """The largest value of every window of every channel: `ops.max_pool`. The first of equal ones takes the gradient.

    Parameters
    ----------
    kernel_size, stride, dilation : int or (int, int)
        The window, the distance between windows (None: kernel_size, so that they do not overlap), and the distance
        between the places of one window.
    padding : int or (int, int)
        Around x, by -inf; at most half of kernel_size.

    Shape: (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1):
        super().__init__(kernel_size, stride, padding)
        self.dilation = _ints(type(self).__name__, "dilation", dilation, self._axes, 1)

    def forward(self, x):
        """ops.max_pool(x)."""
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return ops.max_pool(x, kernel_size=self.kernel_size, **settings)


class MaxPool1d(MaxPool2d):
    """`MaxPool2d` along one axis: an int for each setting.

    Shape: (N, C, L) -> (N, C, L'), L' = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.
    """

    _axes = 1


class AvgPool2d(_Pool):
    """The mean of every window of every channel: `ops.avg_pool`.

    Parameters
    ----------
    kernel_size, stride : int or (int, int)
        The window, and the distance between windows (None: kernel_size, so that they do not overlap).
    padding : int or (int, int)
        Around x, by zeros; at most half of kernel_size.
    count_include_pad : bool
        Whether the zeros of the padding count as values.

    Shape: (N, C, H, W) -> (N, C, H', W'), H' = (H + 2 padding - kernel_size) // stride + 1.
    """

    def __init__(self, kernel_size, stride=None, padding=0, count_include_pad=True):
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x):
        """ops.avg_pool(x)."""
        settings = {"stride": self.stride, "padding": self.padding, "count_include_pad": self.count_include_pad}
        return ops.avg_pool(x, kernel_size=self.kernel_size, **settings)


class AvgPool1d(AvgPool2d):
    """`AvgPool2d` along one axis: an int for each setting.

    Shape: (N, C, L) -> (N, C, L'), L' = (L + 2 padding - kernel_size) // stride + 1.
    """

    _axes = 1


class Upsample(Module):
    """Images and signals scale_factor times as long along every axis: `ops.upsample`.

    Parameters
    ----------
    scale_factor : int or tuple of int
        An int for all axes after (N, C); a tuple for the last axes, as many as it has entries.
    mode : str
        "nearest" repeats values; "linear" (signals) and "bilinear" (images) interpolate between the middles of pixels,
        which is PyTorch's align_corners=False.

    Shape: (N, C, H, W) -> (N, C, H * scale_factor, W * scale_factor), or (N, C, L) -> (N, C, L * scale_factor).
    """

    def __init__(self, scale_factor, mode="nearest"):
        if mode not in _MODES:
            raise SettingError(f"Upsample: mode={mode!r}. Give one of {', '.join(map(repr, _MODES))}.")
        n = len(scale_factor) if isinstance(scale_factor, (tuple, list)) else 1
        factors = _ints("Upsample", "scale_factor", scale_factor, n, 1)
        self.scale_factor = factors if isinstance(scale_factor, (tuple, list)) else factors[0]
        self.mode = mode

    def forward(self, x):
        """ops.upsample(x)."""
        return ops.upsample(x, scale_factor=self.scale_factor, mode=self.mode)

    def extra_repr(self):
        """scale_factor, and mode if it is not "nearest"."""
        return f"{self.scale_factor}" + ("" if self.mode == "nearest" else f", mode={self.mode!r}")
