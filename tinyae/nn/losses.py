"""Losses: functions of Tensors or arrays, composed of ops, so that their gradients need no rules of their own.

    loss = mse(x_hat, x)                                   the mean over all elements
    nats = bce_with_logits(logits, x, reduction="batch")   summed over features, averaged over the batch

Each takes ``reduction``: "none" (every term), "sum", "mean" (over all terms) or "batch" (the sum over everything but
the first axis, averaged over that). Operands must have equal shapes: (n, 1) against (n,) would broadcast to (n, n), and
train towards nonsense. A plain array takes the Tensors' dtype, as a Python number does. Overflow is silent and gives
inf, as in C.

Ring 4. Must not know modules. Read after ``layers.py``; then ``optim``.
"""

import math

import numpy as np

from .. import ops
from ..engine import Var, cast
from ..errors import AxisError, DtypeError, SettingError, ShapeError

__all__ = ["bce", "bce_with_logits", "cross_entropy", "gaussian_nll", "kl_normal", "mse"]


def mse(x_hat, x, *, reduction="mean"):
    """(x_hat - x)**2. Shape: both any -> a number, or the same for reduction="none"."""
    x_hat, x = _operands("mse", x_hat, x)
    with np.errstate(all="ignore"):
        return _reduce("mse", ops.square(x_hat - x), reduction)


def bce(x_hat, x, *, reduction="mean"):
    """-x log(x_hat) - (1 - x) log(1 - x_hat), in nats, for probabilities x_hat; x in [0, 1].

    Logarithms stop at that of the smallest normal number (-87 in float32, -708 in float64): a wrong 0 or 1 costs
    much, not infinitely much. Prefer `bce_with_logits`, which is exact there and faster.

    Shape: both any -> a number, or the same for reduction="none". Raises SettingError if x_hat leaves [0, 1].
    """
    x_hat, x = _operands("bce", x_hat, x)
    values = x_hat._data if isinstance(x_hat, Var) else x_hat
    outside = values[(values < 0) | (values > 1)]  # without NaN, which is the training loop's to report
    if outside.size:
        raise SettingError(
            f"bce: {outside.size} of {values.size} predictions, such as {outside[0]:g}, are not probabilities. "
            "End with a sigmoid, or use bce_with_logits."
        )
    tiny = float(np.finfo(values.dtype).tiny)
    with np.errstate(all="ignore"):
        p, q = ops.clip(x_hat, low=tiny), ops.clip(1.0 - x_hat, low=tiny)
        return _reduce("bce", -(x * ops.log(p) + (1.0 - x) * ops.log(q)), reduction)


def bce_with_logits(logits, x, *, reduction="mean"):
    """softplus(logits) - x logits, which is `bce` of sigmoid(logits), without overflow or saturation; x in [0, 1].

    Shape: both any -> a number, or the same for reduction="none".
    """
    logits, x = _operands("bce_with_logits", logits, x)
    with np.errstate(all="ignore"):
        return _reduce("bce_with_logits", ops.softplus(logits) - x * logits, reduction)


def cross_entropy(logits, target, *, reduction="mean"):
    """-sum(target log_softmax(logits)) over the last axis, in nats; a class number stands for probability 1 of it.

    Shape: logits (..., k), target (...) of integers in [0, k) or (..., k) of probabilities -> a number, or (...) for
    reduction="none". Raises AxisError for a class that is not there, DtypeError for class numbers that are floats.
    """
    logits = _array(logits)
    labels = target._data if isinstance(target, Var) else np.asarray(target)
    if not logits.ndim:
        raise ShapeError("cross_entropy: logits are 0-d. The last axis must run over the classes.")
    with np.errstate(all="ignore"):
        log_p = ops.log_softmax(logits)
        if labels.shape == logits.shape[:-1]:
            terms = ops.sum(ops.where(_one_hot(labels, logits.shape), log_p, 0.0), axis=-1)
        else:
            log_p, target = _operands("cross_entropy", log_p, target)
            terms = ops.sum(target * log_p, axis=-1)
        return _reduce("cross_entropy", -terms, reduction)


def gaussian_nll(x, mu, logvar, *, reduction="mean"):
    """(log(2 pi) + logvar + (x - mu)**2 exp(-logvar)) / 2, in nats: -log of the density of N(mu, exp(logvar)) at x.

    Shape: x and mu any -> a number, or the same for reduction="none"; logvar the same, or 0-d for one variance.
    """
    x, mu = _operands("gaussian_nll", x, mu)
    logvar = _array(logvar, dtype=mu.dtype)
    if logvar.ndim:
        mu, logvar = _operands("gaussian_nll", mu, logvar)
    with np.errstate(all="ignore"):
        terms = 0.5 * (logvar + ops.square(x - mu) * ops.exp(-logvar) + math.log(2.0 * math.pi))
        return _reduce("gaussian_nll", terms, reduction)


def kl_normal(mu, logvar, *, reduction="mean"):
    """(mu**2 + exp(logvar) - 1 - logvar) / 2, in nats: the divergence of N(mu, exp(logvar)) from N(0, 1).

    Kingma and Welling 2014, appendix B. Shape: both any -> a number, or the same for reduction="none".
    """
    mu, logvar = _operands("kl_normal", mu, logvar)
    with np.errstate(all="ignore"):
        return _reduce("kl_normal", 0.5 * (ops.square(mu) + ops.exp(logvar) - 1.0 - logvar), reduction)


def _array(value, dtype=None):
    return value if isinstance(value, Var) else np.asarray(value, dtype)


def _operands(loss, *values):
    """Floating-point operands of one shape: what is not a Tensor takes the Tensors' dtype."""
    floats = [v.dtype for v in values if isinstance(v, Var) and v.dtype.kind == "f"]
    dtype = floats[0] if floats else np.result_type(np.float32, *[_array(v).dtype for v in values])
    values = [_array(v, dtype) for v in values]
    if any(v.shape != values[0].shape for v in values):
        raise ShapeError(
            f"{loss}: shapes {' and '.join(str(v.shape) for v in values)} differ. Reshape one: nothing is broadcast."
        )
    return [v if v.dtype.kind == "f" else cast(v, dtype=dtype) for v in values]


def _one_hot(labels, shape):
    if labels.dtype.kind not in "biu":
        raise DtypeError(
            f"cross_entropy: {labels.dtype} target of shape {labels.shape} for logits of shape {shape}. "
            "Class numbers must be integers; probabilities need the shape of the logits."
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[-1]:
        found = f"{labels.min()} to {labels.max()}"
        raise AxisError(f"cross_entropy: classes from {found} where 0 to {shape[-1] - 1} exist.")
    return labels[..., None] == np.arange(shape[-1])


def _reduce(loss, terms, reduction):
    if reduction == "none":
        return terms
    if reduction == "sum":
        return ops.sum(terms)
    if reduction not in ("mean", "batch"):
        raise SettingError(f'{loss}: reduction={reduction!r}. Give "none", "sum", "mean" or "batch".')
    n = terms.size if reduction == "mean" else terms.shape[0] if terms.ndim else 0
    if not n:
        raise ShapeError(f"{loss}: terms of shape {terms.shape} leave nothing to average for reduction={reduction!r}.")
    return ops.sum(terms) / n
