"""Sums of losses' terms that C computes in one pass over memory, and their gradients in one more.

``nn/losses.py`` is what users call. A plan, which makes one pass of any chain of ops, is shown the composed form.

Ring 2. Must not know Tensor.
"""

import numpy as np

from ..engine import op
from .activations import sigmoid, softplus
from .math import expm1

__all__ = []


@op(domain=(-30.0, 30.0))
def _bce_sum(logits, target):
    """The sum of softplus(logits) - target logits. Shape: both any -> ()."""
    with np.errstate(all="ignore"):
        return np.sum(softplus(logits) - target * logits)


@_bce_sum.vjp("logits")
def _(g, logits, target):
    return g * (sigmoid(logits) - target)


@_bce_sum.vjp("target")
def _(g, logits):
    return -g * logits


@op
def _kl_sum(mu, logvar):
    """The sum of (mu**2 + exp(logvar) - 1 - logvar) / 2. Shape: both any -> ()."""
    with np.errstate(all="ignore"):
        return 0.5 * np.sum(mu * mu + (np.expm1(logvar) - logvar))


@_kl_sum.vjp("mu", "logvar")
def _(g, mu, logvar):
    return g * mu, 0.5 * g * expm1(logvar)
