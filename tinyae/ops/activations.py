"""Activation functions. Each has one row in ``csrc/activations.def``: the C forward and the fused C backward.

What backward keeps is chosen so that it is cheap: the result where the derivative can be said in it (sigmoid, tanh,
relu, elu), else the input. ``relu'(0) = 0``, and ``relu(nan)`` is ``nan``. The plain functions at the end are composed.

Ring 2. Must not know Tensor.
"""

import math

import numpy as np

from ..engine import op
from ..errors import SettingError
from .math import _real, _silent, clip, exp, mul, where

__all__ = [
    "elu", "erf", "erfc", "gelu", "hardtanh", "leaky_relu", "logsigmoid", "relu", "selu", "sigmoid", "silu", "softplus",
    "tanh",
]  # fmt: skip


@op(elementwise=True, domain=(-30.0, 30.0))
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow. Shape: any -> same (so for every activation)."""
    x = _real(x)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, e) / (1 + e)


@sigmoid.vjp
def _(g, y):
    return g * y * (1.0 - y)


@op(elementwise=True, domain=(-10.0, 10.0))
def tanh(x):
    """The hyperbolic tangent."""
    return _silent(np.tanh, x)


@tanh.vjp
def _(g, y):
    return g * (1.0 - y * y)


@op(elementwise=True, kinks=(0.0,))
def relu(x):
    """max(x, 0), with derivative 0 at 0, and 1 where x is NaN: the gradient goes on to where that came from."""
    return np.maximum(x, 0)


@relu.vjp
def _(g, y):
    return g * ~(y <= 0)


@op(elementwise=True, kinks=(0.0,))
def leaky_relu(x, *, slope=0.01):
    """x where x > 0, else slope * x; slope >= 0. Maas et al. 2013."""
    if slope < 0:
        raise SettingError(f"leaky_relu: slope={slope!r} is negative. Give slope >= 0.")
    x = _real(x)
    with np.errstate(all="ignore"):
        return np.where(x > 0, x, x * float(slope))


@leaky_relu.vjp
def _(g, y, slope):
    steep = g * (y > 0)  # y has the sign of x, since slope >= 0
    return steep + slope * (g - steep)


@op(elementwise=True, kinks=(0.0,))
def elu(x, *, alpha=1.0):
    """x where x > 0, else alpha * (exp(x) - 1); alpha >= 0. Clevert et al. 2015."""
    if alpha < 0:
        raise SettingError(f"elu: alpha={alpha!r} is negative. Give alpha >= 0.")
    x = _real(x)
    return np.where(x > 0, x, float(alpha) * np.expm1(np.minimum(x, 0)))


@elu.vjp
def _(g, y, alpha):
    return g * where(y > 0, 1.0, y + alpha)


@op(elementwise=True)
def erf(x):
    """The error function, 2 / sqrt(pi) * integral of exp(-t**2) from 0 to x."""
    return _each(math.erf, np.asarray(x))


def _each(function, x):
    """NumPy has no erf, and the standard library's takes one number at a time: exact, slow, the C path's stand-in."""
    return np.array([function(v) for v in x.ravel().tolist()], np.result_type(x, np.float32)).reshape(x.shape)


@erf.vjp
def _(g, x):
    return g * (2.0 / math.sqrt(math.pi)) * exp(-x * x)


@op(elementwise=True)
def erfc(x):
    """1 - erf(x), without its cancellation where x is large."""
    return _each(math.erfc, np.asarray(x))


@erfc.vjp
def _(g, x):
    return g * (-2.0 / math.sqrt(math.pi)) * exp(-x * x)


@op(elementwise=True)
def gelu(x, *, approximate="none"):
    """x * Phi(x), Phi the normal distribution function: x / 2 * (1 + erf(x / sqrt 2)). Hendrycks and Gimpel 2016.

    approximate="tanh" puts tanh(sqrt(2 / pi) * (x + 0.044715 x**3)) for the erf, as in GPT-2; it has no C kernel.
    """
    if approximate not in ("none", "tanh"):
        raise SettingError(f"gelu: approximate={approximate!r}. Give 'none' or 'tanh'.")
    if approximate == "tanh":
        x = _real(x)
        with np.errstate(all="ignore"):
            near = np.clip(x, -_FAR, _FAR)
            gate = sigmoid(near * (_GATE + _CUBIC * (near * near)))  # (1 + tanh(u)) / 2 = sigmoid(2 u) does not cancel
            return x * gate
    root = math.sqrt(0.5)
    return _each(lambda v: 0.5 * v * math.erfc(-v * root), np.asarray(x))  # 1 + erf would cancel below 0


_GATE = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _GATE
_FAR = 30.0  # from here on the gate is 0 or 1 in float64, too: the sigmoid of 1,973


@gelu.vjp
def _(g, x, approximate):
    if approximate == "tanh":
        x = clip(x, low=-_FAR, high=_FAR)
        s = sigmoid(x * (_GATE + _CUBIC * (x * x)))
        return g * s * (1.0 + x * (1.0 - s) * (_GATE + 3.0 * _CUBIC * (x * x)))
    density = exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
    return g * (0.5 * erfc(x * -math.sqrt(0.5)) + x * density)


@op(elementwise=True, domain=(-10.0, 10.0))
def silu(x):
    """x * sigmoid(x), also called swish. Elfwing et al. 2017."""
    with np.errstate(all="ignore"):
        return x * sigmoid(x)


@silu.vjp
def _(g, x):
    s = sigmoid(x)
    return g * s * (1.0 + x * (1.0 - s))


@op(elementwise=True, domain=(-30.0, 30.0))
def softplus(x):
    """log(1 + exp(x)), without overflow: max(x, 0) + log1p(exp(-|x|))."""
    x = _real(x)
    with np.errstate(all="ignore"):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@softplus.vjp
def _(g, x):
    return g * sigmoid(x)


def logsigmoid(x):
    """log(sigmoid(x)) = -softplus(-x), without overflow on either side. Shape: any -> same."""
    return -softplus(mul(x, -1.0))  # unsigned integers have no negative


def selu(x):
    """scale * elu(x, alpha), with the two constants at which mean 0 and variance 1 are a fixed point of a deep network.

    Shape: any -> same. Klambauer, Unterthiner, Mayr and Hochreiter 2017.
    """
    return 1.0507009873554805 * elu(x, alpha=1.6732632423543772)


def hardtanh(x, *, low=-1.0, high=1.0):
    """min(max(x, low), high): `clip` under its name as an activation. Shape: any -> same."""
    return clip(x, low=low, high=high)
