"""Gradients made smaller, between ``backward()`` and ``step()``.

Inside a step that is being compiled (`tinyae.compile`) the same is said in ops, which a plan can repeat: the norm is
then a Tensor, in the gradients' dtype, and new gradients take the old ones' place.

Ring 4. Must not know rules. Read whenever a loss explodes.
"""

import math
from functools import reduce
from operator import add

import numpy as np

from .. import ops
from ..engine import Var, written
from ..errors import DivergedError, PlanError, SettingError
from ..mode import mode
from .base import _number

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, *, error_if_nonfinite=False):
    """Scale all gradients, in place, by min(1, max_norm / (norm + 1e-6)), norm being that of all of them as one vector.

    Parameters
    ----------
    parameters : iterable of Tensor, or Tensor
        Those without a gradient are skipped.
    max_norm : float
        At least 0; inf measures the norm and changes nothing.
    norm_type : float
        p > 0 of the p-norm (sum |g|**p)**(1/p); inf for the largest absolute value.
    error_if_nonfinite : bool
        Raise if the norm is not finite. If not, NaN and inf become NaN everywhere, as the formula has it, for the loss
        to show.

    Returns
    -------
    float
        The norm before clipping. It does not overflow where the gradients themselves did not.

    Raises SettingError for a setting out of range, DivergedError for a norm that is not finite; then nothing changes.
    Pascanu, Mikolov and Bengio 2013.
    """
    max_norm = _bound("clip_grad_norm_: max_norm", max_norm)
    if norm_type != math.inf:
        norm_type = _number("clip_grad_norm_: norm_type", norm_type, positive=True)
    parameters = [parameters] if isinstance(parameters, Var) else list(parameters)
    gradients = _gradients(parameters)
    if mode.capture is not None and gradients:
        if error_if_nonfinite:
            raise PlanError("clip_grad_norm_: a plan cannot stop at a norm. Leave error_if_nonfinite out.")
        norm = _norm_in_ops(gradients, norm_type)
        if max_norm == math.inf:
            return norm
        factor = ops.minimum(max_norm / (norm + 1e-6), 1.0)
        _replace(parameters, lambda g: g * ops.cast(factor, dtype=g.dtype))
        return norm
    with np.errstate(all="ignore"):
        norm = _norm(gradients, norm_type)
        if error_if_nonfinite and not math.isfinite(norm):
            raise DivergedError(
                f"clip_grad_norm_: the gradients' norm is {norm}. Lower lr, or look for the first value that is not "
                "finite."
            )
        factor = max_norm / (norm + 1e-6)
        if max_norm < math.inf and not factor >= 1:  # NaN too
            for g in gradients:
                g._data *= factor
            written(*gradients)
    return norm


def clip_grad_value_(parameters, clip_value):
    """Clip every gradient's elements to [-clip_value, clip_value], in place; NaN stays.

    Parameters
    ----------
    parameters : iterable of Tensor, or Tensor
        Those without a gradient are skipped.
    clip_value : float
        At least 0; inf clips nothing.

    Raises SettingError for a clip_value out of range.
    """
    clip_value = _bound("clip_grad_value_: clip_value", clip_value)
    parameters = [parameters] if isinstance(parameters, Var) else list(parameters)
    if mode.capture is not None:
        _replace(parameters, lambda g: ops.clip(g, low=-clip_value, high=clip_value))
        return
    gradients = _gradients(parameters)
    for g in gradients:
        np.clip(g._data, -clip_value, clip_value, out=g._data)
    written(*gradients)


def _bound(where, value):
    return math.inf if isinstance(value, (float, np.floating)) and value == math.inf else _number(where, value)


def _gradients(parameters):
    """The gradients there are, each once: two parameters may have been given the same one."""
    parameters = [parameters] if isinstance(parameters, Var) else list(parameters)
    for p in parameters:
        if not isinstance(p, Var):
            raise SettingError(f"clip_grad: a {type(p).__name__} is no Tensor. Give a list, such as net.parameters().")
    return list(dict.fromkeys(p.grad for p in parameters if p.grad is not None))


def _replace(parameters, function):
    for p in parameters:
        if p.grad is not None:
            p.grad = function(p.grad)


def _norm_in_ops(gradients, norm_type):
    gradients = [g for g in gradients if g.size] or gradients[:1]
    largest = reduce(ops.maximum, [ops.max(ops.abs(g)) if g.size else ops.sum(g) for g in gradients])
    if norm_type == math.inf:
        return largest
    scale = ops.where((largest > 0) * (largest < math.inf), largest, 1.0)  # by it no power overflows: `_norm`
    parts = [g / ops.cast(scale, dtype=g.dtype) for g in gradients]
    total = reduce(add, [ops.sum(ops.square(x) if norm_type == 2 else ops.abs(x) ** norm_type) for x in parts])
    return scale * (ops.sqrt(total) if norm_type == 2 else total ** (1 / norm_type))


def _norm(gradients, norm_type):
    """The norm of all elements, in float64 and by the largest one, so that no square overflows."""
    largest = max((float(np.max(np.abs(g._data), initial=0.0)) for g in gradients), key=_nan_last, default=0.0)
    if norm_type == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    return largest * sum(_power_sum(g._data, largest, norm_type) for g in gradients) ** (1 / norm_type)


def _nan_last(value):
    return math.isnan(value), value


def _power_sum(g, scale, power):
    g = np.divide(np.ravel(g), scale, dtype=np.float64)
    return float(np.sum(g * g if power == 2 else np.abs(g) ** power))
