"""``ops/math.py``: arithmetic, comparisons, elementary functions and reductions."""

import math
import operator

import numpy as np
from hypothesis import strategies as st

from tinyae import Tensor
from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError

from .arrays import axes, distinct, laid_out, row_into, shapes, values


ROWS, COMPOSED, SCALAR, TRUTH, TORCH, BAD = {}, {}, {}, {}, {}, []
SETTINGS = {  # the settings of element-wise ops that have some
    "clip": lambda draw: draw(st.sampled_from([{"low": -1.0, "high": 1.0}, {"low": -1.0}, {"high": 1.0}])),
}
SURROGATE = ("straight_through",)  # ops whose gradient is meant not to be the derivative
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
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    return [laid_out(draw, x, repeat=False)], {"axis": axis, "keepdims": draw(st.booleans())}


ROWS["min"], ROWS["argmin"] = max_row, argmax_row


@row
def logsumexp_row(draw):
    return reduction(draw, values(draw, draw(shapes(min_side=1))))


@row
def softmax_row(draw):
    x = values(draw, draw(shapes()))
    return [laid_out(draw, x)], {"axis": axes(draw, x.ndim)}


ROWS["log_softmax"] = softmax_row


def _away_from_0(draw, shape):
    """Different absolute values, so that the largest is one, and signs."""
    size = distinct(draw, shape) + 1.2
    return size * np.random.default_rng(draw(st.integers(0, 99))).choice([-1.0, 1.0], shape)


@row
def _norm_row(draw):
    ord = draw(st.sampled_from([2, 2.0, 3, 4, 1.5, 0.5, -1, -2.5]))
    arrays, settings = reduction(draw, _away_from_0(draw, draw(shapes(min_side=ord < 0))))
    return arrays, {**settings, "ord": ord}


@row
def cumsum_row(draw):
    x = values(draw, draw(shapes()))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    return [laid_out(draw, x)], {"axis": axis, "reverse": draw(st.booleans())}


@row
def straight_through_row(draw):
    x = values(draw, draw(shapes()))
    return [laid_out(draw, np.round(x)), laid_out(draw, x)], {}


@row
def stop_gradient_row(draw):
    return [laid_out(draw, values(draw, draw(shapes())))], {}


# -- functions that are composed of ops -----------------------------------------------------------------------------


def prod_row(draw):
    x = values(draw, draw(shapes()))
    zeros = np.random.default_rng(draw(st.integers(0, 99))).uniform(size=x.shape) < draw(st.sampled_from([0, 0.3]))
    return reduction(draw, np.where(zeros, 0.0, x))


def norm_row(draw):
    ord = draw(st.sampled_from([1, 2, 3.5, math.inf, -math.inf, -1]))
    x = _away_from_0(draw, draw(shapes(min_side=1)))
    return [laid_out(draw, x, repeat=False)], {"ord": ord, "axis": axes(draw, x.ndim), "keepdims": draw(st.booleans())}


def mean_row(draw):
    return reduction(draw, values(draw, draw(shapes(min_side=1))))


def var_row(draw):
    x = _away_from_0(draw, draw(shapes(min_side=2)))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)])) if x.ndim else None
    ddof = draw(st.sampled_from([0, 1] if x.ndim else [0]))
    return [laid_out(draw, x, repeat=False)], {"axis": axis, "keepdims": draw(st.booleans()), "ddof": ddof}


def std_row(draw):
    """A single value has no derivative: its standard deviation is 0."""
    arrays, settings = var_row(draw)
    return (arrays, settings) if arrays[0].ndim else ([np.array([0.5, -2.0])], settings)


# -- the values -----------------------------------------------------------------------------------------------------


def _by_row(function):
    """A reduction of one row of Python floats, over any axes."""

    def truth(x, *, axis=None, keepdims=False, **settings):
        given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = [a % x.ndim for a in given]
        left = [a for a in range(x.ndim) if a not in gone]
        rows = x.transpose(left + gone).reshape(
            math.prod(x.shape[a] for a in left), math.prod(x.shape[a] for a in gone)
        )
        shape = [1 if a in gone else n for a, n in enumerate(x.shape)] if keepdims else [x.shape[a] for a in left]
        return np.array([function(row.tolist(), **settings) for row in rows], dtype=float).reshape(shape)

    return truth


def _argbest(best):
    def truth(x, *, axis=None, keepdims=False):
        rows = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1)
        found = np.array([row.index(best(row)) for row in rows.reshape(-1, rows.shape[-1]).tolist()])
        found = found.reshape(() if axis is None else rows.shape[:-1])
        if not keepdims:
            return found
        return found.reshape((1,) * x.ndim) if axis is None else np.expand_dims(found, axis)

    return truth


def _norm(row, *, ord):
    size = [math.fabs(v) for v in row]
    if math.isinf(ord):
        return max(size) if ord > 0 else min(size)
    return float(sum(v != 0 for v in size)) if ord == 0 else math.fsum(v**ord for v in size) ** (1 / ord)


def _var(row, *, ddof):
    mean = math.fsum(row) / len(row)
    return math.fsum((v - mean) ** 2 for v in row) / (len(row) - ddof)


def _cumsum(x, *, axis, reverse):
    """A product with a triangle of ones."""
    rows = x.reshape(-1) if axis is None else np.moveaxis(x, axis, -1)
    ones = np.tri(rows.shape[-1])
    y = rows @ (ones if reverse else ones.T)
    return y if axis is None else np.moveaxis(y, -1, axis)


def _softmax(x, *, axis):
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


SCALAR |= {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "pow": math.pow, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "abs": math.fabs, "sign": lambda x: (x > 0) - (x < 0), "exp": math.exp, "log": math.log,
    "expm1": math.expm1, "log1p": math.log1p, "sin": math.sin, "cos": math.cos, "rsqrt": lambda x: x**-0.5,
    "sqrt": math.sqrt, "square": lambda x: x * x, "maximum": lambda a, b: max(a, b), "minimum": lambda a, b: min(a, b),
    "where": lambda c, a, b: a if c else b,
    "clip": lambda x, *, low=-math.inf, high=math.inf: min(max(x, low), high),
}  # fmt: skip
TRUTH |= {
    "sum": _by_row(math.fsum), "max": _by_row(max), "min": _by_row(min), "argmax": _argbest(max),
    "argmin": _argbest(min),
    "logsumexp": _by_row(lambda row: math.log(math.fsum(map(math.exp, row)))),
    "softmax": _softmax, "log_softmax": lambda x, *, axis: np.log(_softmax(x, axis=axis)),
    "_norm": _by_row(_norm), "cumsum": _cumsum,
    "straight_through": lambda value, x: value, "stop_gradient": lambda x: x,
    "mean": _by_row(lambda row: math.fsum(row) / len(row)), "prod": _by_row(math.prod), "norm": _by_row(_norm),
    "var": _by_row(_var), "std": _by_row(lambda row, *, ddof: math.sqrt(_var(row, ddof=ddof))),
}  # fmt: skip


# -- the same by PyTorch --------------------------------------------------------------------------------------------


def _over(function):
    """A reduction of PyTorch's, whose dim is never empty: there an empty one is all axes."""

    def torch_s(torch, x, *, axis=None, keepdims=False, **settings):
        dim = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        if dim:
            return function(torch, x, dim=dim, keepdim=keepdims, **settings)
        return function(torch, x[..., None], dim=(-1,), keepdim=False, **settings)

    return torch_s


def _torch_prod(torch, x, *, dim, keepdim):
    for d in sorted((d % x.ndim for d in dim), reverse=True):  # torch.prod takes one at a time
        x = x.prod(d, keepdim=keepdim)
    return x


def _torch_arg(best):
    def torch_s(torch, x, *, axis=None, keepdims=False):
        y = best(torch, x, axis, keepdims)
        return y.reshape((1,) * x.ndim) if axis is None and keepdims else y

    return torch_s


def _torch_cumsum(torch, x, *, axis, reverse):
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.flip(axis).cumsum(axis).flip(axis) if reverse else x.cumsum(axis)


def _torch_norm(torch, x, *, ord, dim, keepdim):
    return torch.linalg.vector_norm(x, ord, dim=dim, keepdim=keepdim)


_torch_logsumexp = _over(lambda torch, x, **k: torch.logsumexp(x, **k))

TORCH |= {
    "add": lambda torch, a, b: a + b, "sub": lambda torch, a, b: a - b, "mul": lambda torch, a, b: a * b,
    "div": lambda torch, a, b: a / b, "neg": lambda torch, x: -x, "pow": lambda torch, a, b: torch.pow(a, b),
    "eq": lambda torch, a, b: a == b, "ne": lambda torch, a, b: a != b, "lt": lambda torch, a, b: a < b,
    "le": lambda torch, a, b: a <= b, "gt": lambda torch, a, b: a > b, "ge": lambda torch, a, b: a >= b,
    "abs": lambda torch, x: torch.abs(x), "sign": lambda torch, x: torch.sign(x),
    "exp": lambda torch, x: torch.exp(x), "expm1": lambda torch, x: torch.expm1(x),
    "log": lambda torch, x: torch.log(x), "log1p": lambda torch, x: torch.log1p(x),
    "sqrt": lambda torch, x: torch.sqrt(x), "rsqrt": lambda torch, x: torch.rsqrt(x),
    "square": lambda torch, x: torch.square(x), "sin": lambda torch, x: torch.sin(x),
    "cos": lambda torch, x: torch.cos(x), "maximum": lambda torch, a, b: torch.maximum(a, b),
    "minimum": lambda torch, a, b: torch.minimum(a, b), "where": lambda torch, c, a, b: torch.where(c, a, b),
    "clip": lambda torch, x, *, low=None, high=None: torch.clamp(x, low, high),
    "sum": _over(lambda torch, x, **k: torch.sum(x, **k)), "max": _over(lambda torch, x, **k: torch.amax(x, **k)),
    "min": _over(lambda torch, x, **k: torch.amin(x, **k)),
    "argmax": _torch_arg(lambda torch, x, dim, keepdim: torch.argmax(x, dim, keepdim)),
    "argmin": _torch_arg(lambda torch, x, dim, keepdim: torch.argmin(x, dim, keepdim)),
    "logsumexp": _torch_logsumexp,  # of softmax and log_softmax PyTorch's take one axis only
    "softmax": lambda torch, x, *, axis: torch.exp(x - _torch_logsumexp(torch, x, axis=axis, keepdims=axis != ())),
    "log_softmax": lambda torch, x, *, axis: x - _torch_logsumexp(torch, x, axis=axis, keepdims=axis != ()),
    "_norm": _over(_torch_norm), "cumsum": _torch_cumsum, "stop_gradient": lambda torch, x: x.detach(),
    "straight_through": lambda torch, value, x: value.detach() + (x - x.detach()),
}  # fmt: skip
COMPOSED |= {
    "mean": (mean_row, _over(lambda torch, x, **k: torch.mean(x, **k))),
    "norm": (norm_row, _over(_torch_norm)),
    "prod": (prod_row, _over(_torch_prod)),
    "var": (var_row, _over(lambda torch, x, *, ddof, **k: torch.var(x, correction=ddof, **k))),
    "std": (std_row, _over(lambda torch, x, *, ddof, **k: torch.std(x, correction=ddof, **k))),
}

x23, x45 = np.ones((2, 3)), np.ones((4, 5))
BAD += [
    (ShapeError, "where", (x23 > 0, x45, x45), {}),
    *((AxisError, name, (x23,), {"axis": 7}) for name in ("sum", "max", "min", "argmax", "argmin", "softmax",
                                                          "log_softmax", "logsumexp", "cumsum", "norm", "prod")),
    (AxisError, "cumsum", (x23,), {"axis": 7, "reverse": True}),
    (DtypeError, "cumsum", (x23,), {"axis": (0, 1)}),
    (AxisError, "prod", (x23,), {"axis": (0, -2)}),
    (AxisError, "prod", (x23,), {"axis": "rows"}),
    *((ShapeError, name, (np.ones((0, 3)),), {"axis": 0}) for name in ("max", "min", "argmax", "argmin")),
    (ShapeError, "_norm", (np.ones((0, 3)),), {"axis": (0,), "ord": -2, "keepdims": False}),
    (SettingError, "norm", (x23,), {"ord": "fro"}),
    (SettingError, "norm", (x23,), {"ord": math.nan}),
    (ShapeError, "straight_through", (x23, x45), {}),
    (ShapeError, "straight_through", (x23, np.ones(3)), {}),
    (SettingError, "clip", (x23,), {}),
    (SettingError, "clip", (x23,), {"high": Tensor(1.0)}),
    (DtypeError, "sum", (x23,), {"axes": 1}),
    (DtypeError, "exp", (np.array("text"),), {}),
    (DtypeError, "stop_gradient", (x23,), {"axis": 0}),
]  # fmt: skip
