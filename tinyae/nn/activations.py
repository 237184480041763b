"""Activations as layers, and by name: a Module each, thin over one op.

    net = Sequential(Linear(64, 16), activation("relu"), Linear(16, 64), LeakyReLU(0.2))

Ring 4. Read after ``layers.py``.
"""

from .. import ops
from ..errors import SettingError
from .layers import _number
from .module import Module

__all__ = [
    "ELU", "GELU", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "LogSoftmax", "ReLU", "SELU", "SiLU", "Sigmoid",
    "Softmax", "Softplus", "Tanh", "activation",
]  # fmt: skip


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


class SELU(Module):
    """1.0507 * ELU(x) of alpha 1.6733: keeps mean 0 and variance 1 through a deep net. Klambauer et al. 2017.

    Weights should start as "lecun_normal". Shape: any -> same.
    """

    def forward(self, x):
        """1.0507 * ELU(x) of alpha 1.6733."""
        return ops.selu(x)


class GELU(Module):
    """x / 2 * (1 + erf(x / sqrt 2)). Hendrycks and Gimpel 2016. Shape: any -> same.

    approximate="tanh" is x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))), within .0005 of it.
    """

    def __init__(self, approximate="none"):
        if approximate not in ("none", "tanh"):
            raise SettingError(f'GELU: approximate={approximate!r}. Give "none" or "tanh".')
        self.approximate = approximate

    def forward(self, x):
        """x / 2 * (1 + erf(x / sqrt 2)), or its approximation."""
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self):
        """approximate."""
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


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


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))). Shape: any -> same."""

    def forward(self, x):
        """log(1 / (1 + exp(-x)))."""
        return ops.logsigmoid(x)


class Hardtanh(Module):
    """min(max(x, low), high). Collobert 2004. Shape: any -> same."""

    def __init__(self, low=-1.0, high=1.0):
        if not low < high:
            raise SettingError(f"Hardtanh: low={low!r}, high={high!r}. Give low < high.")
        self.low, self.high = float(low), float(high)

    def forward(self, x):
        """min(max(x, low), high)."""
        return ops.hardtanh(x, low=self.low, high=self.high)

    def extra_repr(self):
        """low, high."""
        return f"{self.low:g}, {self.high:g}"


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


class LogSoftmax(Module):
    """x - log(sum(exp(x))) over axis. Shape: any -> same."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """x - log(sum(exp(x))) over axis."""
        return ops.log_softmax(x, axis=self.axis)

    def extra_repr(self):
        """axis."""
        return f"axis={self.axis}"


_ACTIVATIONS = {
    "elu": ELU, "gelu": GELU, "hardtanh": Hardtanh, "identity": Identity, "leaky_relu": LeakyReLU, "linear": Identity,
    "log_softmax": LogSoftmax, "logsigmoid": LogSigmoid, "relu": ReLU, "selu": SELU, "sigmoid": Sigmoid, "silu": SiLU,
    "softmax": Softmax, "softplus": Softplus, "tanh": Tanh,
}  # fmt: skip


def activation(name):
    """A new activation layer by name, with its default settings; "linear" and None give Identity."""
    name = "linear" if name is None else name
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise SettingError(f"activation={name!r}. Give one of {', '.join(_ACTIVATIONS)} or None.")
    return _ACTIVATIONS[name]()
