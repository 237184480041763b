"""Losses: functions of Tensors or arrays, composed of ops, so that their gradients need no rules of their own.

    loss = mse(x_hat, x)                                   the mean over all elements
    nats = bce_with_logits(logits, x, reduction="batch")   summed over features, averaged over the batch
    part = huber(x_hat, x, delta=0.5, mask=~np.isnan(x))   over what is known of x

Operands must have equal shapes: (n, 1) against (n,) would broadcast to (n, n), and train towards nonsense. A plain
array takes the Tensors' dtype, as a Python number does. Overflow is silent and gives inf, as in C. There are no classes
of them, since a loss has no state: settings are held by ``functools.partial(huber, delta=0.5)``. Two of them,
`bce_with_logits` and `kl_normal`, are one op each where only the sum of all terms is wanted (`ops/losses.py`).

Each takes three more settings. A loss has *terms*: one per element, or, of those over the last axis, one per row.

``reduction``  "none" (every term), "sum", "mean" (over all terms) or "batch" (the sum over everything but the first
               axis, averaged over that).
``weight``     multiplies the terms; the mean is then the weighted one, sum(weight * terms) / sum(weight).
``mask``       of bool; False leaves a term out of sum and mean and makes its gradient 0. What stands there, NaN too, is
               not read. "batch" still divides by the length of the first axis.

The last two broadcast to the terms' shape, aligned at the right as everywhere: per row of a table they are (n, 1), per
feature (features,).

Ring 4. Must not know modules. Read after ``layers.py``; then ``optim``.
"""

import math
from functools import partial

import numpy as np

from .. import ops
from ..engine import OPS, Var, cast
from ..errors import AxisError, DtypeError, SettingError, ShapeError
from ..mode import fixed, mode
from ..ops.state import within

__all__ = [
    "bce", "bce_with_logits", "cosine_distance", "cross_entropy", "gaussian_nll", "huber", "kl_div", "kl_normal", "l1",
    "log_cosh", "mse", "nll", "smooth_l1",
]  # fmt: skip


# -- of differences -------------------------------------------------------------------------------------------------


def mse(x_hat, x, *, reduction="mean", weight=None, mask=None):
    """(x_hat - x)**2. Shape: both any -> a number, or the same for reduction="none"."""
    x_hat, x = _operands("mse", x_hat, x, mask=mask)
    with np.errstate(all="ignore"):
        return _reduce("mse", ops.square(x_hat - x), reduction, weight, mask)


def l1(x_hat, x, *, reduction="mean", weight=None, mask=None):
    """|x_hat - x|, of derivative 0 at 0. Shape: both any -> a number, or the same for reduction="none"."""
    x_hat, x = _operands("l1", x_hat, x, mask=mask)
    with np.errstate(all="ignore"):
        return _reduce("l1", ops.abs(x_hat - x), reduction, weight, mask)


def huber(x_hat, x, *, delta=1.0, reduction="mean", weight=None, mask=None):
    """d**2 / 2 where |d| <= delta, beyond it delta (|d| - delta / 2), d = x_hat - x. Huber 1964.

    Shape: both any -> a number, or the same for reduction="none".
    """
    return _reduce("huber", _huber("huber", x_hat, x, "delta", delta, mask), reduction, weight, mask)


def smooth_l1(x_hat, x, *, beta=1.0, reduction="mean", weight=None, mask=None):
    """`huber` of delta = beta, divided by beta: nearly `l1`, without its kink. Girshick 2015.

    Shape: both any -> a number, or the same for reduction="none".
    """
    terms = _huber("smooth_l1", x_hat, x, "beta", beta, mask, per_bound=True)
    return _reduce("smooth_l1", terms, reduction, weight, mask)


def _huber(loss, x_hat, x, name, bound, mask, per_bound=False):
    if not 0 < bound < math.inf:
        raise SettingError(f"{loss}: {name}={bound!r}. Give a finite number above 0.")
    x_hat, x = _operands(loss, x_hat, x, mask=mask)
    with np.errstate(all="ignore"):
        d = x_hat - x
        near = ops.clip(d, low=-bound, high=bound)
        terms = near * (d - 0.5 * near)  # both branches in one: near is d, or the bound with d's sign
        return terms / bound if per_bound else terms


def log_cosh(x_hat, x, *, reduction="mean", weight=None, mask=None):
    """log(cosh(d)), d = x_hat - x: about d**2 / 2 near 0 and |d| - log 2 far away; as softplus(-2 d) + d - log 2.

    Shape: both any -> a number, or the same for reduction="none".
    """
    x_hat, x = _operands("log_cosh", x_hat, x, mask=mask)
    with np.errstate(all="ignore"):
        d = x_hat - x
        below = d < -64.0  # there softplus(-2 d) is -2 d, in every digit, and may be infinite where d is not
        terms = ops.where(below, -d, ops.softplus(-2.0 * ops.where(below, 0.0, d)) + d)
        return _reduce("log_cosh", terms - math.log(2.0), reduction, weight, mask)


def cosine_distance(x_hat, x, *, eps=1e-8, reduction="mean", weight=None, mask=None):
    """1 - <x_hat, x> / (max(|x_hat|, eps) max(|x|, eps)) over the last axis: 0 for equal directions, 2 for opposite.

    Shape: both (..., k) -> a number, or (...) for reduction="none".
    """
    x_hat, x = _operands("cosine_distance", x_hat, x, mask=mask, over_last=True)
    with np.errstate(all="ignore"):
        # Each by its own norm first: products of large values, and of small ones, leave the range.
        directions = [v / ops.maximum(ops.norm(v, axis=-1, keepdims=True), eps) for v in (x_hat, x)]
        terms = 1.0 - ops.sum(directions[0] * directions[1], axis=-1)
        return _reduce("cosine_distance", terms, reduction, weight, mask)


# -- of probabilities, in nats --------------------------------------------------------------------------------------


def bce(x_hat, x, *, reduction="mean", weight=None, mask=None):
    """-x log(x_hat) - (1 - x) log(1 - x_hat), in nats, for probabilities x_hat; x in [0, 1].

    Logarithms stop at that of the smallest normal number (-87 in float32, -708 in float64): a wrong 0 or 1 costs
    much, not infinitely much. Prefer `bce_with_logits`, which is exact there and faster.

    Shape: both any -> a number, or the same for reduction="none". Raises SettingError if x_hat leaves [0, 1].
    """
    x_hat, x = _operands("bce", x_hat, x, mask=mask)
    x_hat = within(x_hat, low=0, high=1, error=_no_probabilities)  # NaN is the training loop's to report
    tiny = float(np.finfo(x_hat.dtype).tiny)
    with np.errstate(all="ignore"):
        p, q = ops.clip(x_hat, low=tiny), ops.clip(1.0 - x_hat, low=tiny)
        return _reduce("bce", -(x * ops.log(p) + (1.0 - x) * ops.log(q)), reduction, weight, mask)


def _no_probabilities(values, outside):
    return SettingError(
        f"bce: {outside.size} of {values.size} predictions, such as {outside[0]:g}, are not probabilities. "
        "End with a sigmoid, or use bce_with_logits."
    )


def bce_with_logits(logits, x, *, pos_weight=None, reduction="mean", weight=None, mask=None):
    """softplus(logits) - x logits, which is `bce` of sigmoid(logits), without overflow or saturation; x in [0, 1].

    pos_weight multiplies the x = 1 part alone, -x log(sigmoid(logits)): the usual remedy where ones are rare. It is a
    number, or broadcasts to the operands' shape, as one per feature does.

    Shape: both any -> a number, or the same for reduction="none".
    """
    logits, x = _operands("bce_with_logits", logits, x, mask=mask)
    if pos_weight is None and _in_one_pass(reduction, weight, mask):
        return _averaged("bce_with_logits", OPS["_bce_sum"](logits, x), reduction, x.shape)
    with np.errstate(all="ignore"):
        if pos_weight is None:
            terms = ops.softplus(logits) - x * logits
        else:
            positive = _factor("bce_with_logits", "pos_weight", pos_weight, x) * x
            terms = positive * ops.softplus(-logits) + (1.0 - x) * ops.softplus(logits)
        return _reduce("bce_with_logits", terms, reduction, weight, mask)


def cross_entropy(
    logits, target, *, label_smoothing=0.0, ignore_index=None, reduction="mean", weight=None, mask=None
):
    """-sum(target log_softmax(logits)) over the last axis, in nats; a class number stands for probability 1 of it.

    Parameters
    ----------
    label_smoothing : float
        This share of every target is spread evenly over all classes. Szegedy et al. 2016.
    ignore_index : int, optional
        Terms of this class number are masked.
    reduction, weight, mask : as for every loss
        Weights per class, an array w, are ``weight=w[target]``.

    Shape: logits (..., k), target (...) of integers in [0, k) or (..., k) of probabilities -> a number, or (...) for
    reduction="none". Raises AxisError for a class that is not there, DtypeError for class numbers that are floats.
    """
    if not 0 <= label_smoothing <= 1:
        raise SettingError(f"cross_entropy: label_smoothing={label_smoothing!r}. Give a share from 0 to 1.")
    return _of_classes("cross_entropy", logits, target, ops.log_softmax, label_smoothing, ignore_index, reduction,
                       weight, mask)  # fmt: skip


def nll(log_p, target, *, ignore_index=None, reduction="mean", weight=None, mask=None):
    """-sum(target log_p) over the last axis: `cross_entropy` of log probabilities, as `LogSoftmax` gives them.

    Shape and errors: as `cross_entropy`.
    """
    return _of_classes("nll", log_p, target, lambda x: x, 0.0, ignore_index, reduction, weight, mask)


def _of_classes(loss, scores, target, to_log_p, smoothing, ignore_index, reduction, weight, mask):
    scores, labels = _array(scores), _array(target)
    if not scores.ndim:
        raise ShapeError(f"{loss}: logits are 0-d. The last axis must run over the classes.")
    numbered = labels.shape == scores.shape[:-1]
    if ignore_index is not None:
        if not numbered:
            raise SettingError(f"{loss}: ignore_index={ignore_index!r} needs class numbers. Use mask= instead.")
        kept = labels != ignore_index
        mask = kept if mask is None else kept * _checked_mask(loss, mask, labels.shape)
    with np.errstate(all="ignore"):
        if numbered:
            (scores,) = _operands(loss, scores, mask=mask, over_last=True)
            if mask is not None:
                labels = ops.where(_checked_mask(loss, mask, labels.shape), labels, 0)
            log_p = to_log_p(scores)
            terms = ops.sum(ops.where(_one_hot(loss, labels, log_p), log_p, 0.0), axis=-1)
        else:
            scores, target = _operands(loss, scores, target, mask=mask, over_last=True)
            log_p = to_log_p(scores)
            terms = ops.sum(target * log_p, axis=-1)
        if smoothing:
            terms = terms * (1.0 - smoothing) + ops.mean(log_p, axis=-1) * smoothing
        return _reduce(loss, -terms, reduction, weight, mask)


def kl_div(log_q, p, *, log_target=False, reduction="mean", weight=None, mask=None):
    """p (log p - log_q), 0 where p is: summed, the divergence of p from q, the distribution that is predicted.

    reduction="batch" gives the divergence itself, PyTorch's "batchmean"; "mean" divides by the number of classes, too.
    log_target says that p is given as its logarithm.

    Shape: both any -> a number, or the same for reduction="none".
    """
    log_q, p = _operands("kl_div", log_q, p, mask=mask)
    with np.errstate(all="ignore"):
        if log_target:
            none = p == -math.inf
            terms = ops.exp(p) * (ops.where(none, 0.0, p) - ops.where(none, 0.0, log_q))
            return _reduce("kl_div", terms, reduction, weight, mask)
        none = p == 0  # there the logarithms become 0: no 0 * inf, neither here nor in the gradient
        terms = p * (ops.log(ops.where(none, 1.0, p)) - ops.where(none, 0.0, log_q))
        return _reduce("kl_div", terms, reduction, weight, mask)


def gaussian_nll(x, mu, logvar, *, reduction="mean", weight=None, mask=None):
    """(log(2 pi) + logvar + (x - mu)**2 exp(-logvar)) / 2, in nats: -log of the density of N(mu, exp(logvar)) at x.

    exp(-logvar) goes on along its tangent where logvar is below -79 (float64: -638), near the end of the range, so that
    loss and slopes stay finite where x is mu, as on a constant column, and a learned logvar falls for ever.

    Shape: x and mu any -> a number, or the same for reduction="none"; logvar the same, or 0-d for one variance.
    """
    if np.ndim(_values(logvar)):
        x, mu, logvar = _operands("gaussian_nll", x, mu, logvar, mask=mask)
    else:
        x, mu = _operands("gaussian_nll", x, mu, mask=mask)
        logvar = logvar if isinstance(logvar, Var) else float(logvar)
    with np.errstate(all="ignore"):
        root, beyond = _precision(logvar)
        terms = 0.5 * (logvar + ops.square((x - mu) * root) * beyond + math.log(2.0 * math.pi))
        return _reduce("gaussian_nll", terms, reduction, weight, mask)


def _precision(logvar):
    """exp(-logvar), convex and of a finite slope, as root**2 * beyond: by itself (x - mu)**2 may leave the range."""
    if isinstance(logvar, float):
        return ops.exp(-0.5 * logvar), 1.0
    end = -0.9 * math.log(np.finfo(logvar.dtype).max)
    near, beyond = ops.clip(logvar, low=end), ops.clip(end - logvar, low=0.0, high=1e3)  # their product is finite
    return ops.exp(-0.5 * near), 1.0 + beyond


def kl_normal(mu, logvar, *, reduction="mean", weight=None, mask=None):
    """(mu**2 + exp(logvar) - 1 - logvar) / 2, in nats: the divergence of N(mu, exp(logvar)) from N(0, 1).

    Kingma and Welling 2014, appendix B. Shape: both any -> a number, or the same for reduction="none".
    """
    mu, logvar = _operands("kl_normal", mu, logvar, mask=mask)
    if _in_one_pass(reduction, weight, mask):
        return _averaged("kl_normal", OPS["_kl_sum"](mu, logvar), reduction, mu.shape)
    with np.errstate(all="ignore"):
        terms = 0.5 * (ops.square(mu) + ops.exp(logvar) - 1.0 - logvar)
        return _reduce("kl_normal", terms, reduction, weight, mask)


# -- what they share ------------------------------------------------------------------------------------------------


def _array(value, dtype=None):
    return value if isinstance(value, Var) else fixed(np.asarray(value, dtype), of=value)


def _values(value):
    return value._data if isinstance(value, Var) else np.asarray(value)


def _operands(loss, *values, mask=None, over_last=False):
    """Floating-point operands of one shape: what is not a Tensor takes the Tensors' dtype; 1/2 where mask is False.

    1/2 is a harmless value of anything here: a probability as well as a logit or a log variance. So what is masked
    cannot spoil a sum, nor, times 0, a gradient.
    """
    floats = [v.dtype for v in values if isinstance(v, Var) and v.dtype.kind == "f"]
    dtype = floats[0] if floats else np.result_type(np.float32, *[_array(v).dtype for v in values])
    values = [_array(v, dtype) for v in values]
    if any(v.shape != values[0].shape for v in values):
        raise ShapeError(
            f"{loss}: shapes {' and '.join(str(v.shape) for v in values)} differ. Reshape one: nothing is broadcast."
        )
    if over_last and not values[0].ndim:
        raise ShapeError(f"{loss}: operands are 0-d. The last axis is the one to go over.")
    values = [v if v.dtype.kind == "f" else cast(v, dtype=dtype) for v in values]
    if mask is None:
        return values
    mask = _checked_mask(loss, mask, values[0].shape[:-1] if over_last else values[0].shape)
    if over_last:
        mask = ops.getitem(mask, index=(..., None))
    return [ops.where(mask, v, 0.5) for v in values]


def _checked_mask(loss, mask, shape):
    mask = _array(mask)
    if mask.dtype != bool:
        raise DtypeError(f"{loss}: mask of dtype {mask.dtype}. Give bools, True for what counts; factors are weight=.")
    return _fitting(loss, "mask", mask, shape)


def _factor(loss, name, value, like):
    """A setting that multiplies, in like's dtype."""
    value = _array(value, like.dtype)
    return _fitting(loss, name, value if value.dtype.kind == "f" else cast(value, dtype=like.dtype), like.shape)


def _fitting(loss, name, value, shape):
    try:
        if np.broadcast_shapes(value.shape, shape) == shape:
            return value
    except ValueError:
        pass
    raise ShapeError(
        f"{loss}: {name} {value.shape} does not broadcast to {shape}, the shape of what it applies to. "
        "Per row of a table it is (n, 1)."
    )


def _one_hot(loss, labels, log_p):
    shape = log_p.shape
    if labels.dtype.kind not in "biu":
        raise DtypeError(
            f"{loss}: {labels.dtype} target of shape {labels.shape} for logits of shape {shape}. "
            "Class numbers must be integers; probabilities need the shape of the logits."
        )
    labels = within(labels, low=0, high=shape[-1] - 1, error=partial(_no_class, loss, shape[-1]))
    # Compared as floats where a float has every class number: so a plan does it in the pass that sums.
    dtype = log_p.dtype if shape[-1] <= 1 << np.finfo(log_p.dtype).nmant else np.int64
    classes = fixed(np.arange(shape[-1], dtype=dtype))
    return ops.eq(ops.getitem(cast(labels, dtype=dtype), index=(..., None)), classes)


def _no_class(loss, n, labels, outside):
    return AxisError(f"{loss}: classes from {labels.min()} to {labels.max()} where 0 to {n - 1} exist.")


def _reduce(loss, terms, reduction, weight, mask):
    if reduction not in ("none", "sum", "mean", "batch"):
        raise SettingError(f'{loss}: reduction={reduction!r}. Give "none", "sum", "mean" or "batch".')
    share = None if weight is None else _factor(loss, "weight", weight, terms)
    if mask is not None:
        share = fixed(np.ones((), terms.dtype)) if share is None else share
        share = ops.where(_checked_mask(loss, mask, terms.shape), share, 0.0)
    with np.errstate(all="ignore"):
        terms = terms if share is None else terms * share
        if reduction == "none":
            return terms
        total = ops.sum(terms)
        if reduction == "mean" and share is not None:
            share = ops.sum(ops.broadcast_to(share, shape=terms.shape))
        return _averaged(loss, total, reduction, terms.shape, share)


def _in_one_pass(reduction, weight, mask):
    """Whether the sum of all terms will do, which C has without the terms. A plan fuses the composed form itself."""
    return weight is None and mask is None and reduction in ("sum", "mean", "batch") and mode.capture is None


def _averaged(loss, total, reduction, shape, share=None):
    """The reduction, from the sum of all terms, of that shape; share is the sum of their weights."""
    if reduction == "sum":
        return total
    if reduction == "batch":
        n = shape[0] if shape else 0
    else:
        n = math.prod(shape) if share is None else share
    if not _values(n):
        raise ShapeError(f"{loss}: terms of shape {shape} leave nothing to average for reduction={reduction!r}.")
    with np.errstate(all="ignore"):
        return total / n
