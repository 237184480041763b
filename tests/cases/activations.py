"""``ops/activations.py``."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import SettingError

from .arrays import laid_out, shapes, values


SETTINGS = {
    "gelu": lambda draw: {"approximate": draw(st.sampled_from(["none", "tanh"]))},
    "leaky_relu": lambda draw: {"slope": draw(st.sampled_from([0.0, 0.01, 0.3]))},
    "elu": lambda draw: {"alpha": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]))},
}


def _phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _logistic(x):
    return 1 / (1 + math.exp(-x))


def _gelu(x, *, approximate):
    if approximate == "none":
        return x * _phi(x)
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _elu(x, *, alpha):
    return x if x > 0 else alpha * (math.exp(x) - 1)


def any_row(draw):
    return [laid_out(draw, values(draw, draw(shapes()), (-10.0, 10.0)))], {}


def selu_row(draw):
    return [laid_out(draw, values(draw, draw(shapes()), (-10.0, 10.0), (0.0,)))], {}


def hardtanh_row(draw):
    low, high = draw(st.sampled_from([(-1.0, 1.0), (0.0, 6.0)]))
    return [laid_out(draw, values(draw, draw(shapes()), (-3.0, 8.0), (low, high)))], {"low": low, "high": high}


SCALAR = {
    "sigmoid": _logistic, "tanh": math.tanh, "relu": lambda x: max(x, 0.0),
    "erf": math.erf, "erfc": math.erfc, "gelu": _gelu, "silu": lambda x: x * _logistic(x),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "leaky_relu": lambda x, *, slope: x if x > 0 else slope * x,
    "elu": _elu, "logsigmoid": lambda x: math.log(_logistic(x)),
    "selu": lambda x: 1.0507009873554804934193349852946 * _elu(x, alpha=1.6732632423543772848170429916717),
    "hardtanh": lambda x, *, low, high: min(max(x, low), high),
}  # fmt: skip
TORCH = {
    "sigmoid": lambda torch, x: torch.sigmoid(x), "tanh": lambda torch, x: torch.tanh(x),
    "relu": lambda torch, x: torch.relu(x), "erf": lambda torch, x: torch.erf(x),
    "erfc": lambda torch, x: torch.erfc(x), "silu": lambda torch, x: torch.nn.functional.silu(x),
    "gelu": lambda torch, x, *, approximate: torch.nn.functional.gelu(x, approximate=approximate),
    "softplus": lambda torch, x: torch.nn.functional.softplus(x, threshold=700),  # x itself above; the default is 20
    "leaky_relu": lambda torch, x, *, slope: torch.nn.functional.leaky_relu(x, slope),
    "elu": lambda torch, x, *, alpha: torch.nn.functional.elu(x, alpha),
}  # fmt: skip
COMPOSED = {
    "logsigmoid": (any_row, lambda torch, x: torch.nn.functional.logsigmoid(x)),
    "selu": (selu_row, lambda torch, x: torch.nn.functional.selu(x)),
    "hardtanh": (hardtanh_row, lambda torch, x, *, low, high: torch.nn.functional.hardtanh(x, low, high)),
}
BAD = [
    (SettingError, "leaky_relu", (np.ones((2, 3)),), {"slope": -1.0}),
    (SettingError, "elu", (np.ones((2, 3)),), {"alpha": -1.0}),
    (SettingError, "gelu", (np.ones((2, 3)),), {"approximate": "erf"}),
]
