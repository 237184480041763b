"""Arithmetic, comparisons, elementary functions and reductions: the NumPy line first, its derivative below it.

This is the pattern that all of ``ops/`` follows, so read it after ``engine.py``. A rule uses operators and ops only:
the same line then serves plain arrays (ordinary backward), Tensors (derivatives of derivatives) and a recorded plan.
The engine undoes broadcasting, so a rule for ``a + b`` need not know that b was a single row.

Conventions where a derivative has a choice: at a tie `maximum` and `max` share the gradient equally; ``abs'(0) = 0``;
``clip`` passes the gradient at both ends; ``0 ** 0`` has derivative 0 in the base.

Ring 2. Must not know Tensor.
"""

import numpy as np

from ..engine import broadcast_to, op
from ..errors import SettingError
from .shape import reshape

__all__ = [
    "abs", "add", "argmax", "argmin", "clip", "div", "eq", "exp", "ge", "gt", "le", "log", "log_softmax", "logsumexp",
    "lt", "max", "maximum", "mean", "min", "minimum", "mul", "ne", "neg", "pow", "sign", "softmax", "sqrt", "square",
    "std", "sub", "sum", "var", "where",
]  # fmt: skip

_POSITIVE = (0.1, 4.0)


# -- arithmetic -----------------------------------------------------------------------------------------------------


@op(elementwise=True)
def add(a, b):
    """a + b. Shape: any that broadcast -> the broadcast shape (so for every element-wise op)."""
    return np.add(a, b)


@add.vjp("a")
def _(g):
    return g


@add.vjp("b")
def _(g):
    return g


@op(elementwise=True)
def sub(a, b):
    """a - b."""
    return np.subtract(a, b)


@sub.vjp("a")
def _(g):
    return g


@sub.vjp("b")
def _(g):
    return -g


@op(elementwise=True)
def mul(a, b):
    """a * b."""
    return np.multiply(a, b)


@mul.vjp("a")
def _(g, b):
    return g * b


@mul.vjp("b")
def _(g, a):
    return g * a


@op(elementwise=True, domain=_POSITIVE)
def div(a, b):
    """a / b. Pole at b = 0."""
    return np.true_divide(a, b)


@div.vjp("a")
def _(g, b):
    return g / b


@div.vjp("b")
def _(g, y, b):
    return -g * y / b


@op(elementwise=True)
def neg(x):
    """-x."""
    return np.negative(x)


@neg.vjp
def _(g):
    return -g


@op(elementwise=True, domain=_POSITIVE)
def pow(a, b):
    """a ** b. A real power of a negative base is NaN unless b is a whole number."""
    return np.power(a, b)


@pow.vjp("a")
def _(g, a, b):
    # Where both are 0 the base becomes 1: the derivative of x ** 0 is 0 at x = 0 too, not 0 * inf.
    return g * (b * (a + (a == 0) * (b == 0)) ** (b - 1))


@pow.vjp("b")
def _(g, y, a):
    # y is 0 where a is 0 (for b > 0), and so is the derivative: log(1) * 0 there, not -inf * 0.
    return g * (y * log(a + (a == 0)))


# -- comparisons: bool results, no derivative -----------------------------------------------------------------------


@op(elementwise=True)
def eq(a, b):
    """a == b, as bool."""
    return np.equal(a, b)


@op(elementwise=True)
def ne(a, b):
    """a != b, as bool."""
    return np.not_equal(a, b)


@op(elementwise=True)
def lt(a, b):
    """a < b, as bool."""
    return np.less(a, b)


@op(elementwise=True)
def le(a, b):
    """a <= b, as bool."""
    return np.less_equal(a, b)


@op(elementwise=True)
def gt(a, b):
    """a > b, as bool."""
    return np.greater(a, b)


@op(elementwise=True)
def ge(a, b):
    """a >= b, as bool."""
    return np.greater_equal(a, b)


# -- elementary functions -------------------------------------------------------------------------------------------


@op(elementwise=True, kinks=(0.0,))
def abs(x):
    """|x|, with derivative 0 at 0."""
    return np.abs(x)


@abs.vjp
def _(g, x):
    return g * sign(x)


@op(elementwise=True, kinks=(0.0,))
def sign(x):
    """-1, 0 or 1. The derivative is 0 wherever there is one."""
    return np.sign(x)


@sign.vjp
def _(g):
    return None


@op(elementwise=True)
def exp(x):
    """e ** x."""
    with np.errstate(all="ignore"):  # silent, as the C kernel is: infinities and NaN go through as IEEE says
        return np.exp(x)


@exp.vjp
def _(g, y):
    return g * y


@op(elementwise=True, domain=_POSITIVE)
def log(x):
    """The natural logarithm; -inf at 0, NaN below."""
    with np.errstate(all="ignore"):
        return np.log(x)


@log.vjp
def _(g, x):
    return g / x


@op(elementwise=True, domain=_POSITIVE)
def sqrt(x):
    """The square root; NaN below 0."""
    with np.errstate(all="ignore"):
        return np.sqrt(x)


@sqrt.vjp
def _(g, y):
    return g * 0.5 / y


@op(elementwise=True)
def square(x):
    """x * x: a primitive because its backward then keeps x once, and because every squared loss needs it."""
    return np.multiply(x, x)


@square.vjp
def _(g, x):
    return x * 2.0 * g  # in this order: g is often a stride-0 view, spread by a mean


@op(elementwise=True, kinks=("a == b",))
def maximum(a, b):
    """The larger of a and b; NaN if either is. A tie halves the gradient."""
    return np.maximum(a, b)


@op(elementwise=True, kinks=("a == b",))
def minimum(a, b):
    """The smaller of a and b; NaN if either is. A tie halves the gradient."""
    return np.minimum(a, b)


@maximum.vjp("a")
@minimum.vjp("a")
def _(g, y, a, b):
    return g * (a == y) / (1.0 + (a == b))


@maximum.vjp("b")
@minimum.vjp("b")
def _(g, y, a, b):
    return g * (b == y) / (1.0 + (a == b))


@op(elementwise=True)
def where(condition, a, b):
    """a where condition holds, else b. The branch not taken gets gradient 0, even where its own value is not finite."""
    return np.where(condition, a, b)


@where.vjp("a")
def _(g, condition):
    return where(condition, g, 0.0)


@where.vjp("b")
def _(g, condition):
    return where(condition, 0.0, g)


@op(elementwise=True, kinks=("low", "high"))
def clip(x, *, low=None, high=None):
    """min(max(x, low), high); a bound of None is no bound. The derivative is 1 in [low, high], both ends included."""
    if low is None and high is None:
        raise SettingError("clip: both bounds are None. Give low, high or both.")
    low, high = (bound.item() if isinstance(bound, np.generic) else bound for bound in (low, high))  # weak, as in x + 1
    return np.clip(x, low, high)


@clip.vjp
def _(g, y, x):
    return g * (x == y)


# -- reductions -----------------------------------------------------------------------------------------------------
# axis is None (all), an int or a tuple of ints; keepdims leaves axes of length 1.


def _axes(axis, ndim):
    """axis as a tuple of non-negative ints; NumPy says which axis is wrong."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(
        np.lib.array_utils.normalize_axis_index(a, ndim) for a in (axis if isinstance(axis, tuple) else (axis,))
    )


def _spread(g, axis, keepdims, shape):
    """A reduced array back over the shape that it came from."""
    if not keepdims and axis is not None:  # one value broadcasts as it is
        axes = _axes(axis, len(shape))
        g = reshape(g, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return broadcast_to(g, shape=shape)


@op
def sum(x, *, axis=None, keepdims=False):
    """The sum over axis. Shape: any -> without the axes, or with length 1 there."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@sum.vjp
def _(g, axis, keepdims, x_shape):
    return _spread(g, axis, keepdims, x_shape)


def mean(x, *, axis=None, keepdims=False):
    """The mean over axis: sum / n. Shape: as `sum`."""
    return sum(x, axis=axis, keepdims=keepdims) / _count(x, axis)


def var(x, *, axis=None, keepdims=False, ddof=0):
    """The variance over axis: sum((x - mean)**2) / (n - ddof). Shape: as `sum`."""
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(square(centred), axis=axis, keepdims=keepdims) / (_count(x, axis) - ddof)


def std(x, *, axis=None, keepdims=False, ddof=0):
    """The standard deviation over axis: sqrt(var). Its derivative is infinite where all values are equal."""
    return sqrt(var(x, axis=axis, keepdims=keepdims, ddof=ddof))


def _count(x, axis):
    n = 1
    for a in _axes(axis, x.ndim):
        n *= x.shape[a]
    return n


@op(kinks=("ties",))
def max(x, *, axis=None, keepdims=False):
    """The largest value over axis; NaN if any is. Ties share the gradient equally."""
    return np.max(x, axis=axis, keepdims=keepdims)


@op(kinks=("ties",))
def min(x, *, axis=None, keepdims=False):
    """The smallest value over axis; NaN if any is. Ties share the gradient equally."""
    return np.min(x, axis=axis, keepdims=keepdims)


@max.vjp
@min.vjp
def _(g, x, y, axis, keepdims, x_shape):
    chosen = x == _spread(y, axis, keepdims, x_shape)
    share = sum(chosen * 1.0, axis=axis, keepdims=True)
    return _spread(g, axis, keepdims, x_shape) * chosen / share


@op
def argmax(x, *, axis=None):
    """The index of the first largest value over axis (into the flattened array if None). No derivative."""
    return np.argmax(x, axis=axis)


@op
def argmin(x, *, axis=None):
    """The index of the first smallest value over axis (into the flattened array if None). No derivative."""
    return np.argmin(x, axis=axis)


def _top(x, axis):
    """The maximum over axis where it is finite, else 0: subtracting it makes exp safe and inf - inf cannot happen."""
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf if x.dtype.kind == "f" else None)
    return np.where(np.isfinite(top), top, 0.0).astype(x.dtype, copy=False)


@op
def logsumexp(x, *, axis=-1, keepdims=False):
    """log(sum(exp(x))) over axis, without overflow: the maximum is taken out first. Shape: as `sum`.

    A primitive, since the composed form would keep three arrays where this keeps x and the result.
    """
    with np.errstate(all="ignore"):
        top = _top(x, axis)
        y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis=axis)


@logsumexp.vjp
def _(g, x, y, axis, keepdims, x_shape):
    return _spread(g, axis, keepdims, x_shape) * exp(x - _spread(y, axis, keepdims, x_shape))


@op
def softmax(x, *, axis=-1):
    """exp(x) / sum(exp(x)) over axis, without overflow. Shape: any -> same."""
    with np.errstate(all="ignore"):
        e = np.exp(x - _top(x, axis))
        return e / np.sum(e, axis=axis, keepdims=True)


@softmax.vjp
def _(g, y, axis):
    return y * (g - sum(g * y, axis=axis, keepdims=True))


@op
def log_softmax(x, *, axis=-1):
    """x - logsumexp(x) over axis. Shape: any -> same."""
    with np.errstate(all="ignore"):
        centred = x - _top(x, axis)
        return centred - np.log(np.sum(np.exp(centred), axis=axis, keepdims=True))


@log_softmax.vjp
def _(g, y, axis):
    return g - exp(y) * sum(g, axis=axis, keepdims=True)
