"""``ops/math.py``: arithmetic, comparisons, elementary functions and reductions."""

import math
import operator

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError

from .arrays import axes, distinct, laid_out, row_into, shapes, values


ROWS, SCALAR, TRUTH, TORCH, BAD = {}, {}, {}, {}, []
SETTINGS = {  # the settings of element-wise ops that have some
    "clip": lambda draw: draw(st.sampled_from([{"low": -1.0, "high": 1.0}, {"low": -1.0}, {"high": 1.0}])),
}
row = row_into(ROWS)


def reduction(draw, x):
    return [laid_out(draw, x)], {"axis": axes(draw, x.ndim), "keepdims": draw(st.booleans())}


@row
def sum_row(draw):
    return reduction(draw, values(draw, draw(shapes())))


@row
def max_row(draw):
    x = distinct(draw, draw(shapes(min_side=1)))
    return [laid_out(draw, x, repeat=False)], {"axis": axes(draw, x.ndim), "keepdims": draw(st.booleans())}


@row
def argmax_row(draw):
    x = distinct(draw, draw(shapes(min_side=1)))
    return [laid_out(draw, x, repeat=False)], {"axis": draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))}


ROWS["min"], ROWS["argmin"] = max_row, argmax_row


@row
def logsumexp_row(draw):
    return reduction(draw, values(draw, draw(shapes(min_side=1))))


@row
def softmax_row(draw):
    x = values(draw, draw(shapes(min_dims=1)))
    return [laid_out(draw, x)], {"axis": draw(st.integers(-x.ndim, x.ndim - 1))}


ROWS["log_softmax"] = softmax_row


def _by_row(function):
    """A reduction of one row of Python floats, over any axes."""

    def truth(x, *, axis=None, keepdims=False):
        given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = [a % x.ndim for a in given]
        left = [a for a in range(x.ndim) if a not in gone]
        rows = x.transpose(left + gone).reshape(
            math.prod(x.shape[a] for a in left), math.prod(x.shape[a] for a in gone)
        )
        shape = [1 if a in gone else n for a, n in enumerate(x.shape)] if keepdims else [x.shape[a] for a in left]
        return np.array([function(row.tolist()) for row in rows], dtype=float).reshape(shape)

    return truth


def _argbest(best):
    def truth(x, *, axis=None):
        rows = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1)
        found = [row.index(best(row)) for row in rows.reshape(-1, rows.shape[-1]).tolist()]
        return np.array(found).reshape(() if axis is None else rows.shape[:-1])

    return truth


SCALAR |= {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "pow": math.pow, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "abs": math.fabs, "sign": lambda x: (x > 0) - (x < 0), "exp": math.exp, "log": math.log,
    "sqrt": math.sqrt, "square": lambda x: x * x, "maximum": lambda a, b: max(a, b), "minimum": lambda a, b: min(a, b),
    "where": lambda c, a, b: a if c else b,
    "clip": lambda x, *, low=-math.inf, high=math.inf: min(max(x, low), high),
}  # fmt: skip
TRUTH |= {
    "sum": _by_row(math.fsum), "max": _by_row(max), "min": _by_row(min), "argmax": _argbest(max),
    "argmin": _argbest(min),
    "logsumexp": _by_row(lambda row: math.log(math.fsum(map(math.exp, row)))),
    "softmax": lambda x, *, axis: np.exp(x) / np.exp(x).sum(axis, keepdims=True),
    "log_softmax": lambda x, *, axis: np.log(np.exp(x) / np.exp(x).sum(axis, keepdims=True)),
}  # fmt: skip

x23, x45 = np.ones((2, 3)), np.ones((4, 5))
BAD += [
    (ShapeError, "where", (x23 > 0, x45, x45), {}),
    *((AxisError, name, (x23,), {"axis": 7}) for name in ("sum", "max", "min", "argmax", "argmin", "softmax",
                                                          "log_softmax", "logsumexp")),
    *((ShapeError, name, (np.ones((0, 3)),), {"axis": 0}) for name in ("max", "min", "argmax", "argmin")),
    (SettingError, "clip", (x23,), {}),
    (DtypeError, "sum", (x23,), {"axes": 1}),
    (DtypeError, "exp", (np.array("text"),), {}),
]  # fmt: skip
