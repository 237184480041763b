"""Layers: a Module each, thin over one op.

    net = Sequential(Linear(64, 16, generator=rng), ReLU(), Dropout(0.2), Linear(16, 64, generator=rng), Sigmoid())
    half = Linear(64, 16)
    tied = Sequential(half, Sigmoid(), Tied(half))      the decoder's weights are the encoder's, transposed

Ring 4. Must not know losses or optimizers. Read after ``module.py``.
"""

import math
import numbers
import operator
from functools import partial

import numpy as np

from .. import ops
from ..engine import Var
from ..errors import AxisError, DtypeError, SettingError
from ..mode import fixed
from ..ops.random import Generator
from ..ops.state import within
from .init import as_rng, initialise, normal
from .module import Module, Parameter

__all__ = ["Dropout", "Embedding", "Flatten", "GaussianNoise", "Lambda", "Linear", "Reshape", "Tied"]


class Linear(Module):
    """x @ weight + bias.

    Parameters
    ----------
    n_in, n_out : int
        The lengths of the last axis of x and of the result.
    bias : bool
        Whether there is one; if not, ``.bias`` is None.
    init, bias_init : str or callable
        How ``weight`` and ``bias`` start: a name in ``init.INITIALISERS`` or (shape, rng, dtype) -> array. By default
        weights are uniform in +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio 2010) and the bias is 0.
    generator : numpy.random.Generator, int or None
        Where random numbers come from. Layers share a generator; equal ints give equal weights.
    dtype : dtype
        float32 or float64.

    Shape: (..., n_in) -> (..., n_out); ``weight`` is (n_in, n_out), ``bias`` (n_out,).
    """

    def __init__(
        self, n_in, n_out, *, bias=True, init="glorot_uniform", bias_init="zeros", generator=None, dtype="float32"
    ):
        shape = _size("Linear", "n_in", n_in), _size("Linear", "n_out", n_out)
        rng = as_rng(generator)
        self.weight = Parameter(initialise(init, shape, rng, dtype))
        self.bias = Parameter(initialise(bias_init, shape[1:], rng, dtype, fans=shape)) if bias else None

    def forward(self, x):
        """x @ weight + bias."""
        return _affine(x, self.weight, self.bias)

    def extra_repr(self):
        """n_in, n_out."""
        return ", ".join(map(str, self.weight.shape)) + ("" if self.bias is not None else ", bias=False")


class Tied(Module):
    """x @ linear.weight.T + bias: a layer back, whose weights are another layer's, transposed. Its bias is its own.

    One parameter in two places: its gradient is the sum of both, and it is saved, counted and updated once, under the
    name that comes first. A copy of the net keeps the tie; a copy of this layer alone takes the other one along.

    Parameters
    ----------
    linear : Linear
        Or any module with a ``weight`` of two axes, which may be a computed one (`parametrise`).
    bias, bias_init, generator : as in `Linear`

    Shape: (..., n_out) -> (..., n_in) for a linear of n_in and n_out; ``bias`` is (n_in,). Raises SettingError if there
    is no such weight.
    """

    def __init__(self, linear, *, bias=True, bias_init="zeros", generator=None):
        weight = getattr(linear, "weight", None)
        if not isinstance(linear, Module) or not isinstance(weight, Var) or weight.ndim != 2:
            raise SettingError(f"Tied: a {type(linear).__name__} has no weight of two axes to share. Give a Linear.")
        n_in, n_out = weight.shape
        self.linear = linear
        self.bias = None
        if bias:
            self.bias = Parameter(initialise(bias_init, (n_in,), generator, weight.dtype, fans=(n_out, n_in)))

    @property
    def weight(self):
        """linear.weight.T."""
        return self.linear.weight.mT

    def forward(self, x):
        """x @ linear.weight.T + bias."""
        return _affine(x, self.weight, self.bias)

    def extra_repr(self):
        """n_in, n_out."""
        return ", ".join(map(str, self.weight.shape)) + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """weight[x]: a learned row for every integer.

    Parameters
    ----------
    n_rows, n_out : int
        How many integers there are, from 0 on, and the length of each one's row.
    init, generator, dtype : as in `Linear`
        By default rows are normal of mean 0 and standard deviation 1, as PyTorch's.

    Shape: integers (...) -> (..., n_out); ``weight`` is (n_rows, n_out). Raises DtypeError for what is no integer,
    AxisError for an integer that has no row.
    """

    def __init__(self, n_rows, n_out, *, init=partial(normal, std=1.0), generator=None, dtype="float32"):
        shape = _size("Embedding", "n_rows", n_rows), _size("Embedding", "n_out", n_out)
        self.weight = Parameter(initialise(init, shape, generator, dtype))

    def forward(self, x):
        """weight[x]."""
        index = x if isinstance(x, Var) else fixed(np.array(x), of=x)  # a copy: the tape keeps it
        if index.dtype.kind not in "iu":
            raise DtypeError(f"embedding: {index.dtype} values of shape {index.shape}. Rows are chosen by integers.")
        n = self.weight.shape[0]
        return ops.take(self.weight, within(index, low=0, high=n - 1, error=partial(_no_row, n)))

    def extra_repr(self):
        """n_rows, n_out."""
        return ", ".join(map(str, self.weight.shape))


def _no_row(n, index, outside):
    return AxisError(f"embedding: rows from {index.min()} to {index.max()} where 0 to {n - 1} exist.")


class Lambda(Module):
    """function(x), for what has no layer of its own: ``Lambda(ops.sin)``, ``Lambda(lambda x: x * 0.5)``.

    It can be pickled if the function can: one with a name can, a lambda cannot.

    Parameters
    ----------
    function : callable
        Of Tensors, to a Tensor.

    Shape: the function's.
    """

    def __init__(self, function):
        if not callable(function):
            raise SettingError(f"Lambda: {function!r} cannot be called. Give a function.")
        self.function = function

    def forward(self, *inputs):
        """function(*inputs)."""
        return self.function(*inputs)

    def extra_repr(self):
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)


class Flatten(Module):
    """All axes from start on as one. Shape: (n, a, b, ...) -> (n, a * b * ...) for start=1."""

    def __init__(self, start=1):
        self.start = operator.index(start)

    def forward(self, x):
        """All axes from start on as one."""
        if not 0 <= self.start <= x.ndim:
            raise AxisError(f"flatten: start={self.start} for shape {x.shape}. Give an axis that it has.")
        return ops.reshape(x, shape=(*x.shape[: self.start], math.prod(x.shape[self.start :])))

    def extra_repr(self):
        """start."""
        return "" if self.start == 1 else f"start={self.start}"


class Reshape(Module):
    """Every sample in another shape; one length may be -1. Shape: (n, ...) -> (n, *shape)."""

    def __init__(self, *shape):
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        self.shape = tuple(-1 if n == -1 else _size("Reshape", "a length", n) for n in shape)
        if self.shape.count(-1) > 1:
            raise SettingError(f"Reshape: shape {self.shape}. Only one length may be -1.")

    def forward(self, x):
        """Every sample in another shape."""
        known = math.prod(n for n in self.shape if n != -1)
        # Not left to NumPy, which cannot find the length behind -1 in an empty batch.
        shape = [math.prod(x.shape[1:]) // known if n == -1 else n for n in self.shape]
        return ops.reshape(x, shape=(*x.shape[:1], *shape))

    def extra_repr(self):
        """shape."""
        return ", ".join(map(str, self.shape))


class GaussianNoise(Module):
    """In training, x + std * normal noise; otherwise x. Bishop 1995: to first order, a penalty on the Jacobian.

    Parameters
    ----------
    std : float
        At least 0.
    generator : as in `Dropout`

    Shape: any -> same.
    """

    def __init__(self, std=0.1, generator=None):
        self.std = _number("GaussianNoise", "std", std)
        self.generator = generator if isinstance(generator, Generator) else Generator(generator)

    def forward(self, x):
        """Noise in training mode, else x."""
        return x + ops.normal(x, generator=self.generator) * self.std if self.training and self.std else x

    def extra_repr(self):
        """std."""
        return f"{self.std:g}"


class Dropout(Module):
    """In training, x with every value set to 0 with probability p and the others divided by 1 - p; otherwise x.

    Srivastava et al. 2014.

    Parameters
    ----------
    p : float
        In [0, 1).
    generator : tinyae.Generator, int, numpy.random.Generator or None
        Whence the noise. A tinyae.Generator is shared: setting its counter back repeats the noise.

    Shape: any -> same.
    """

    def __init__(self, p=0.5, generator=None):
        self.p = _number("Dropout", "p", p, below=1.0)
        self.generator = generator if isinstance(generator, Generator) else Generator(generator)

    def forward(self, x):
        """Noise in training mode, else x."""
        return ops.dropout(x, p=self.p, generator=self.generator) if self.training and self.p else x

    def extra_repr(self):
        """p."""
        return f"{self.p:g}"


def _affine(x, weight, bias):
    return ops.matmul(x, weight) if bias is None else ops.linear(x, weight, bias)


def _size(layer, name, n):
    try:
        if not isinstance(n, bool) and operator.index(n) > 0:
            return operator.index(n)
    except TypeError:
        pass
    raise SettingError(f"{layer}: {name} is {n!r}. Give an int of at least 1.")


def _number(layer, name, value, below=math.inf):
    if isinstance(value, numbers.Real) and 0 <= value < below:
        return float(value)
    most = f" and below {below:g}" if below < math.inf else ""
    raise SettingError(f"{layer}: {name}={value!r}. Give a finite number of at least 0{most}.")
