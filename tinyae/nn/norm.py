"""Normalisation: values brought to mean 0 and variance 1 over some of their axes, then scaled and shifted as learned.

    BatchNorm1d(16), BatchNorm2d(16)    per channel, over the batch: rows of a batch know of each other
    LayerNorm(16), GroupNorm(4, 16)     per row: nothing is remembered, training and evaluation are one

The scale is called ``weight`` and starts at 1, the shift ``bias`` and starts at 0. The variance is the biased one.

Ring 4. Read after ``layers.py``.
"""

import math

from .. import ops
from ..engine import no_grad
from ..errors import SettingError, ShapeError
from .init import ones, zeros
from .layers import _number, _size
from .module import Buffer, Module, Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm"]


def _scale_and_shift(module, shape, affine, dtype):
    module.weight = Parameter(ones(shape, dtype=dtype)) if affine else None
    module.bias = Parameter(zeros(shape, dtype=dtype)) if affine else None


def _per_channel(values, ndim):
    """(c,) as (1, c, 1, ...)."""
    return ops.reshape(values, shape=(1, -1, *(1,) * (ndim - 2)))


def _least_rows(module):
    """How many rows a batch must have to train module: one, or two for a variance where there is a batch norm."""
    return 2 if any(isinstance(part, _BatchNorm) for part in module.modules()) else 1


class _BatchNorm(Module):
    """What `BatchNorm1d` and `BatchNorm2d` share; they differ in the shapes that they take."""

    _shapes = {}

    def __init__(
        self, n_channels, *, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, dtype="float32"
    ):
        name = type(self).__name__
        shape = (_size(name, "n_channels", n_channels),)
        self.eps, self.momentum = _number(name, "eps", eps), _number(name, "momentum", momentum)
        if self.momentum > 1:
            raise SettingError(f"{name}: momentum={momentum!r}. Give a share from 0 to 1: that of the new batch.")
        _scale_and_shift(self, shape, affine, dtype)
        self.running_mean = Buffer(zeros(shape, dtype=dtype)) if track_running_stats else None
        self.running_var = Buffer(ones(shape, dtype=dtype)) if track_running_stats else None
        self.n_channels = shape[0]

    def forward(self, x):
        """(x - mean) / sqrt(var + eps) * weight + bias, per channel."""
        if x.ndim not in self._shapes or x.shape[1] != self.n_channels:
            wanted = " or ".join(f"(n, {self.n_channels}{rest})" for rest in self._shapes.values())
            raise ShapeError(f"batch_norm: x {x.shape}, expected {wanted}: axis 1 are the channels.")
        if self.training or self.running_mean is None:
            mean, centred, var = self._of_batch(x)
        else:
            mean, var = self.running_mean, self.running_var
            centred = x - _per_channel(mean, x.ndim)
        scale = ops.rsqrt(var + self.eps)
        if self.weight is None:
            return centred * _per_channel(scale, x.ndim)
        return centred * _per_channel(scale * self.weight, x.ndim) + _per_channel(self.bias, x.ndim)

    def _of_batch(self, x):
        n = x.shape[0] * math.prod(x.shape[2:])
        if n < 2:
            raise ShapeError(
                f"batch_norm: x {x.shape} has {n} value{'s' * (n != 1)} per channel, which has no variance. Train on "
                "batches of at least two, or call eval()."
            )
        axes = (0, *range(2, x.ndim))
        mean = ops.mean(x, axis=axes)
        centred = x - _per_channel(mean, x.ndim)
        var = ops.mean(ops.square(centred), axis=axes)
        if self.running_mean is not None:
            with no_grad():
                self._remember(self.running_mean, mean)
                self._remember(self.running_var, var * (n / (n - 1)))  # an estimate of the data's: unbiased
        return mean, centred, var

    def _remember(self, running, value):
        ops.assign(running, running * (1.0 - self.momentum) + value * self.momentum)

    def extra_repr(self):
        """The number of channels, and the settings that are not the default ones."""
        changed = {
            "eps": (self.eps, 1e-5), "momentum": (self.momentum, 0.1), "affine": (self.weight is not None, True),
            "track_running_stats": (self.running_mean is not None, True),
        }  # fmt: skip
        return ", ".join([str(self.n_channels), *(f"{k}={v}" for k, (v, usual) in changed.items() if v != usual)])


class BatchNorm1d(_BatchNorm):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, mean and var being the batch's. Ioffe and Szegedy 2015.

    In evaluation mode they are the running ones: buffers that training moves towards each batch's mean and (unbiased)
    variance by the share ``momentum``. Without running ones the batch's are used there, too.

    Parameters
    ----------
    n_channels : int
        The length of axis 1.
    eps : float
        Added to the variance.
    momentum : float
        The share of the new batch in the running statistics, as in PyTorch; Keras calls 1 minus this the momentum.
    affine : bool
        Whether there are ``weight`` and ``bias``.
    track_running_stats : bool
        Whether there are ``running_mean`` and ``running_var``.
    dtype : dtype
        float32 or float64.

    Shape: (n, n_channels) or (n, n_channels, length) -> same. Raises ShapeError in training for one value per channel.
    """

    _shapes = {2: "", 3: ", length"}


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images: mean and variance of a channel over the batch and all its pixels.

    Parameters
    ----------
    n_channels, eps, momentum, affine, track_running_stats, dtype : as in `BatchNorm1d`

    Shape: (n, n_channels, height, width) -> same. Raises ShapeError in training for one value per channel.
    """

    _shapes = {4: ", height, width"}


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and var over the last axes of each row. Ba et al. 2016.

    Parameters
    ----------
    shape : int or tuple of int
        The lengths of the axes to normalise over: the last ones.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are ``weight`` and ``bias``, of that shape.
    dtype : dtype
        float32 or float64.

    Shape: (..., *shape) -> same.
    """

    def __init__(self, shape, *, eps=1e-5, affine=True, dtype="float32"):
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        self.shape = tuple(_size("LayerNorm", "a length", n) for n in shape)
        if not self.shape:
            raise SettingError("LayerNorm: shape () has no axis. Give the lengths of the axes to normalise over.")
        self.eps = _number("LayerNorm", "eps", eps)
        _scale_and_shift(self, self.shape, affine, dtype)

    def forward(self, x):
        """(x - mean) / sqrt(var + eps) * weight + bias, per row."""
        if x.shape[-len(self.shape) :] != self.shape:
            lengths = ", ".join(map(str, self.shape))
            raise ShapeError(f"layer_norm: x {x.shape}, expected (..., {lengths}): the last axes are normalised over.")
        y = _standardise(x, tuple(range(-len(self.shape), 0)), self.eps)
        return y if self.weight is None else y * self.weight + self.bias

    def extra_repr(self):
        """shape."""
        return ", ".join(map(str, self.shape)) + ("" if self.weight is not None else ", affine=False")


class GroupNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias, mean and var over a group of channels of each row.

    Wu and He 2018. One group is a layer norm over everything, a group per channel an instance norm.

    Parameters
    ----------
    n_groups, n_channels : int
        n_channels, the length of axis 1, is a multiple of n_groups; neighbours make a group.
    eps, affine, dtype : as in `BatchNorm1d`

    Shape: (n, n_channels, ...) -> same; ``weight`` and ``bias`` are (n_channels,).
    """

    def __init__(self, n_groups, n_channels, *, eps=1e-5, affine=True, dtype="float32"):
        self.n_groups = _size("GroupNorm", "n_groups", n_groups)
        self.n_channels = _size("GroupNorm", "n_channels", n_channels)
        if self.n_channels % self.n_groups:
            raise SettingError(f"GroupNorm: {n_channels} channels do not make {n_groups} equal groups.")
        self.eps = _number("GroupNorm", "eps", eps)
        _scale_and_shift(self, (self.n_channels,), affine, dtype)

    def forward(self, x):
        """(x - mean) / sqrt(var + eps) * weight + bias, per row and group."""
        if x.ndim < 2 or x.shape[1] != self.n_channels:
            raise ShapeError(f"group_norm: x {x.shape}, expected (n, {self.n_channels}, ...): axis 1 are the channels.")
        length = self.n_channels // self.n_groups * math.prod(x.shape[2:])
        y = _standardise(ops.reshape(x, shape=(x.shape[0], self.n_groups, length)), -1, self.eps)
        y = ops.reshape(y, shape=x.shape)
        return y if self.weight is None else y * _per_channel(self.weight, x.ndim) + _per_channel(self.bias, x.ndim)

    def extra_repr(self):
        """n_groups, n_channels."""
        return f"{self.n_groups}, {self.n_channels}" + ("" if self.weight is not None else ", affine=False")


def _standardise(x, axis, eps):
    centred = x - ops.mean(x, axis=axis, keepdims=True)
    return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=axis, keepdims=True) + eps)
