"""``ops/activations.py``."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import SettingError


SETTINGS = {
    "leaky_relu": lambda draw: {"slope": draw(st.sampled_from([0.0, 0.01, 0.3]))},
    "elu": lambda draw: {"alpha": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]))},
}


def _phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _logistic(x):
    return 1 / (1 + math.exp(-x))


SCALAR = {
    "sigmoid": _logistic, "tanh": math.tanh, "relu": lambda x: max(x, 0.0),
    "erf": math.erf, "erfc": math.erfc, "gelu": lambda x: x * _phi(x), "silu": lambda x: x * _logistic(x),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "leaky_relu": lambda x, *, slope: x if x > 0 else slope * x,
    "elu": lambda x, *, alpha: x if x > 0 else alpha * (math.exp(x) - 1),
}  # fmt: skip
TORCH = {}
BAD = [
    (SettingError, "leaky_relu", (np.ones((2, 3)),), {"slope": -1.0}),
    (SettingError, "elu", (np.ones((2, 3)),), {"alpha": -1.0}),
]
