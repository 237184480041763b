"""Layers: a Module each, thin over one op.

    net = Sequential(Linear(64, 16, generator=rng), ReLU(), Dropout(0.2), Linear(16, 64, generator=rng), Sigmoid())

Ring 4. Must not know losses or optimizers. Read after ``module.py``.
"""

import math
import numbers
import operator

from .. import ops
from ..errors import AxisError, SettingError
from ..ops.random import Generator
from .init import as_rng, initialise
from .module import Module, Parameter, _found

__all__ = [
    "ELU", "GELU", "Dropout", "Flatten", "Identity", "LeakyReLU", "Linear", "ReLU", "Reshape", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Softplus", "Tanh", "activation",
]  # fmt: skip


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
        return ops.matmul(x, self.weight) if self.bias is None else ops.linear(x, self.weight, self.bias)

    def extra_repr(self):
        """n_in, n_out."""
        return ", ".join(map(str, self.weight.shape)) + ("" if self.bias is not None else ", bias=False")


# -- activations ----------------------------------------------------------------------------------------------------


class Identity(Module):
    """x as it is. Shape: any -> same."""

    def forward(self, x):
        """x."""
        return x


class Sigmoid(Module):
    """1 / (1 + exp(-x)). Shape: any -> same."""

    def forward(self, x):
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent. Shape: any -> same."""

    def forward(self, x):
        """tanh(x)."""
        return ops.tanh(x)


class ReLU(Module):
    """max(x, 0). Shape: any -> same."""

    def forward(self, x):
        """max(x, 0)."""
        return ops.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else slope * x; slope >= 0. Maas et al. 2013. Shape: any -> same."""

    def __init__(self, slope=0.01):
        self.slope = _number("LeakyReLU", "slope", slope)

    def forward(self, x):
        """x where x > 0, else slope * x."""
        return ops.leaky_relu(x, slope=self.slope)

    def extra_repr(self):
        """slope."""
        return f"{self.slope:g}"


class ELU(Module):
    """x where x > 0, else alpha * (exp(x) - 1); alpha >= 0. Clevert et al. 2015. Shape: any -> same."""

    def __init__(self, alpha=1.0):
        self.alpha = _number("ELU", "alpha", alpha)

    def forward(self, x):
        """x where x > 0, else alpha * (exp(x) - 1)."""
        return ops.elu(x, alpha=self.alpha)

    def extra_repr(self):
        """alpha."""
        return f"{self.alpha:g}"


class GELU(Module):
    """x / 2 * (1 + erf(x / sqrt 2)). Hendrycks and Gimpel 2016. Shape: any -> same."""

    def forward(self, x):
        """x / 2 * (1 + erf(x / sqrt 2))."""
        return ops.gelu(x)


class SiLU(Module):
    """x * sigmoid(x), also called swish. Elfwing et al. 2017. Shape: any -> same."""

    def forward(self, x):
        """x * sigmoid(x)."""
        return ops.silu(x)


class Softplus(Module):
    """log(1 + exp(x)). Shape: any -> same."""

    def forward(self, x):
        """log(1 + exp(x))."""
        return ops.softplus(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) over axis. Shape: any -> same."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """exp(x) / sum(exp(x)) over axis."""
        return ops.softmax(x, axis=self.axis)

    def extra_repr(self):
        """axis."""
        return f"axis={self.axis}"


_ACTIVATIONS = {
    "elu": ELU, "gelu": GELU, "identity": Identity, "leaky_relu": LeakyReLU, "linear": Identity, "relu": ReLU,
    "sigmoid": Sigmoid, "silu": SiLU, "softmax": Softmax, "softplus": Softplus, "tanh": Tanh,
}  # fmt: skip


def activation(name):
    """A new activation layer by name, with its default settings; "linear" and None give Identity."""
    name = "linear" if name is None else name
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise SettingError(f"activation={name!r}. Give one of {', '.join(_ACTIVATIONS)} or None.")
    return _ACTIVATIONS[name]()


# -- structure ------------------------------------------------------------------------------------------------------


class Sequential(Module):
    """modules[-1](... modules[1](modules[0](x))). Its parameters are named "0.weight", "2.bias"; none at all: x.

    Parameters
    ----------
    *modules : Module
        In the order in which they run. ``s[0]`` is the first, ``s[:2]`` a Sequential of the first two (not copies).

    Shape: the first one's input -> the last one's output.
    """

    def __init__(self, *modules):
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                what = type(module).__name__
                raise SettingError(f"Sequential: entry {i} is a {what}, not a Module. Give layers one by one.")
        self.layers = list(modules)

    def _members(self):
        # "0.weight", not "layers.0.weight": the field's names. A subclass may have further attributes.
        own = vars(self)
        yield from _found(enumerate(self.layers))
        yield from _found((name, own[name]) for name in own if name != "layers")

    def forward(self, x):
        """Each module on the result of the one before."""
        for module in self.layers:
            x = module(x)
        return x

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        try:
            return self.layers[operator.index(index)]
        except IndexError:
            raise AxisError(f"Sequential: no module {index} among {len(self.layers)}.") from None


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
