"""What to feed each op: one row per op whose operands are not simply element-wise, and an independent truth for all.

Element-wise ops need no row: their shapes are any that broadcast, their values come from the op's declared domain and
stay away from its declared kinks. A row is a function of hypothesis's draw to (arrays, settings). `test_ops.py` asks
the same of every op, and fails if one is in OPS and not here.

Arrays are float64, read-only, and of any layout: transposed, reversed, strided, repeated with stride 0.
"""

import math
import operator

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae import Generator
from tinyae.engine import OPS

GAP = 0.05  # how far random values stay from a kink

# -- arrays ---------------------------------------------------------------------------------------------------------


def shapes(min_dims=0, max_dims=3, min_side=0, max_side=4):
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def values(draw, shape, domain=(-3.0, 3.0), kinks=()):
    """Random values of the given shape, none nearer than GAP to a kink."""
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).uniform(*domain, shape)
    for kink in kinks:
        x = np.where(np.abs(x - kink) < GAP, np.where(x < kink, kink - GAP, kink + GAP), x)
    return np.asarray(x)


def distinct(draw, shape):
    """Values of which no two are nearer than 0.1: no ties."""
    order = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permutation(math.prod(shape))
    return (order * 0.1 - 1.0).reshape(shape)


def laid_out(draw, x, repeat=True):
    """x in some memory layout, read-only; `repeat` also allows stride 0, which replaces values by copies."""
    x = np.ascontiguousarray(x).reshape(x.shape)
    layout = draw(st.sampled_from(["C", "C", "F", "reversed", "strided"] + ["zero stride"] * repeat))
    if layout == "F":
        x = np.asarray(x, order="F")
    elif layout == "reversed":
        x = np.flip(np.flip(x).copy())
    elif layout == "strided" and x.ndim:
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan)
        wide[..., ::2] = x
        x = wide[..., ::2]
    elif layout == "zero stride" and x.size and x.ndim:
        x = np.broadcast_to(x[:1], x.shape)
    x = np.asarray(x).view()
    x.flags.writeable = False
    return x


# -- element-wise ops: no row needed --------------------------------------------------------------------------------

SETTINGS = {  # the settings of element-wise ops that have some
    "leaky_relu": lambda draw: {"slope": draw(st.sampled_from([0.0, 0.01, 0.3]))},
    "elu": lambda draw: {"alpha": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]))},
    "clip": lambda draw: draw(st.sampled_from([{"low": -1.0, "high": 1.0}, {"low": -1.0}, {"high": 1.0}])),
}


def elementwise(op):
    def row(draw):
        n = len(op.arguments)
        settings = SETTINGS[op.name](draw) if op.name in SETTINGS else {}
        kinks = [k for k in op.kinks if not isinstance(k, str)] + [v for k, v in settings.items() if k in op.kinks]
        drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, max_side=4, min_side=0)).input_shapes
        arrays = [laid_out(draw, values(draw, shape, op.domain, kinks)) for shape in drawn]
        if "a == b" in op.kinks:  # even and odd multiples of 0.1 never meet
            arrays = [np.round(x * 5) / 5 + 0.1 * i for i, x in enumerate(arrays)]
        if "condition" in op.arguments:
            arrays[0] = arrays[0] > 0
        return arrays, settings

    return row


# -- the other ops: a row each --------------------------------------------------------------------------------------

ROWS = {}


def row(function):
    ROWS[function.__name__.removesuffix("_row")] = function
    return function


def axes(draw, ndim):
    """None, an int or a tuple of ints, counted from either end."""
    if not ndim:
        return draw(st.sampled_from([None, ()]))
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple)
    return draw(st.one_of(st.none(), one, several))


def reduction(draw, x):
    return [laid_out(draw, x)], {"axis": axes(draw, x.ndim), "keepdims": draw(st.booleans())}


@row
def broadcast_to_row(draw):
    small, big = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0))[0]
    return [laid_out(draw, values(draw, small))], {"shape": np.broadcast_shapes(small, big)}


@row
def sum_to_row(draw):
    small, big = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0))[0]
    return [laid_out(draw, values(draw, np.broadcast_shapes(small, big)))], {"shape": small}


@row
def cast_row(draw):
    return [laid_out(draw, values(draw, draw(shapes())))], {"dtype": np.dtype(np.float64)}


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


@row
def matmul_row(draw):
    drawn = draw(
        hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=4, min_side=0)
    )
    return [laid_out(draw, values(draw, shape)) for shape in drawn.input_shapes], {}


@row
def linear_row(draw):
    n_in, n_out = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    x = values(draw, (*draw(shapes(max_dims=2)), n_in))
    return [laid_out(draw, a) for a in (x, values(draw, (n_in, n_out)), values(draw, (n_out,)))], {}


@row
def reshape_row(draw):
    x = values(draw, draw(shapes()))
    new = list(draw(st.permutations(x.shape)))
    if draw(st.booleans()):
        new = [*new[:-2], math.prod(new[-2:])]
    if x.size and new and draw(st.booleans()):
        new[0] = -1
    return [laid_out(draw, x)], {"shape": tuple(new)}


@row
def transpose_row(draw):
    x = values(draw, draw(shapes()))
    order = draw(st.permutations(range(x.ndim)))
    order = [a - x.ndim if draw(st.booleans()) else a for a in order]
    return [laid_out(draw, x)], {"axes": draw(st.sampled_from([None, tuple(order)]))}


def index_of(draw, shape):
    """Basic indices, repeated integers in lists and arrays, masks; and a tuple of both kinds."""
    some = [hnp.basic_indices(shape, allow_newaxis=True)]
    if shape and min(shape) > 0:
        pick = st.lists(st.integers(-shape[0], shape[0] - 1), max_size=5)
        some += [
            pick.filter(bool),
            pick.map(lambda p: np.array(p, dtype=np.int64)),
            pick.filter(bool).map(lambda p: (Ellipsis, [abs(i) % shape[-1] for i in p])),
            hnp.arrays(np.bool_, shape),
            hnp.arrays(np.bool_, shape[:1]),
        ]
    return draw(st.one_of(some))


@row
def getitem_row(draw):
    x = values(draw, draw(shapes()))
    return [laid_out(draw, x)], {"index": index_of(draw, x.shape)}


@row
def _scatter_row(draw):
    shape = draw(shapes())
    index = index_of(draw, shape)
    return [laid_out(draw, values(draw, np.shape(np.empty(shape)[index])))], {"index": index, "shape": shape}


@row
def concat_row(draw):
    shape = draw(shapes(min_dims=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    at = axis % len(shape)
    parts = [laid_out(draw, values(draw, (*shape[:at], n, *shape[at + 1 :]))) for n in lengths]
    return parts, {"axis": axis}


@row
def stack_row(draw):
    shape = draw(shapes(max_dims=2))
    parts = [laid_out(draw, values(draw, shape)) for _ in range(draw(st.integers(1, 3)))]
    return parts, {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


@row
def uniform_row(draw):
    return [laid_out(draw, values(draw, draw(shapes())))], {"generator": Generator(draw(st.integers(0, 2**64 - 1)))}


@row
def bernoulli_row(draw):
    arrays, settings = uniform_row(draw)
    return arrays, {**settings, "p": draw(st.sampled_from([0.0, 0.3, 1.0]))}


ROWS["normal"] = uniform_row

CASES = {
    name: ROWS[name] if name in ROWS else elementwise(op) for name, op in OPS.items() if name in ROWS or op.elementwise
}
NOISE = ("bernoulli", "normal", "uniform")
NO_SECOND = ()  # ops with a gradient that cannot be differentiated again: none


# -- what each op must give, said another way than in the package ---------------------------------------------------


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


def _matmul(a, b):
    rows, columns = (a if a.ndim > 1 else a[None]), (b if b.ndim > 1 else b[:, None])
    y = (rows[..., :, :, None] * columns[..., None, :, :]).sum(-2)
    y = y if b.ndim > 1 else y[..., 0]
    return y if a.ndim > 1 else np.squeeze(y, -2 if b.ndim > 1 else -1)


def _sum_to(x, *, shape):
    y = np.zeros(shape)
    for i in np.ndindex(*x.shape):
        y[tuple(0 if n == 1 else j for j, n in zip(i[x.ndim - len(shape) :], shape))] += x[i]
    return y


def _scatter(g, *, index, shape):
    """The matrix of getitem, transposed."""
    where = np.arange(math.prod(shape)).reshape(shape)[index]
    y = np.zeros(math.prod(shape))
    for i, v in zip(where.ravel().tolist(), g.ravel().tolist()):
        y[i] += v
    return y.reshape(shape)


def _phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _logistic(x):
    return 1 / (1 + math.exp(-x))


SCALAR = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "pow": math.pow, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "abs": math.fabs, "sign": lambda x: (x > 0) - (x < 0), "exp": math.exp, "log": math.log,
    "sqrt": math.sqrt, "square": lambda x: x * x, "maximum": lambda a, b: max(a, b), "minimum": lambda a, b: min(a, b),
    "where": lambda c, a, b: a if c else b, "sigmoid": _logistic, "tanh": math.tanh, "relu": lambda x: max(x, 0.0),
    "erf": math.erf, "erfc": math.erfc, "gelu": lambda x: x * _phi(x), "silu": lambda x: x * _logistic(x),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "leaky_relu": lambda x, *, slope: x if x > 0 else slope * x,
    "elu": lambda x, *, alpha: x if x > 0 else alpha * (math.exp(x) - 1),
    "clip": lambda x, *, low=-math.inf, high=math.inf: min(max(x, low), high),
}  # fmt: skip
TRUTH = {
    "broadcast_to": lambda x, *, shape: x * np.ones(shape), "sum_to": _sum_to, "cast": lambda x, *, dtype: x,
    "sum": _by_row(math.fsum), "max": _by_row(max), "min": _by_row(min), "argmax": _argbest(max),
    "argmin": _argbest(min),
    "logsumexp": _by_row(lambda row: math.log(math.fsum(map(math.exp, row)))),
    "softmax": lambda x, *, axis: np.exp(x) / np.exp(x).sum(axis, keepdims=True),
    "log_softmax": lambda x, *, axis: np.log(np.exp(x) / np.exp(x).sum(axis, keepdims=True)),
    "matmul": _matmul, "linear": lambda x, w, b: _matmul(x, w) + b,
    "reshape": lambda x, *, shape: np.array(x.ravel().tolist()).reshape(shape),
    "transpose": lambda x, *, axes: np.einsum(
        x, list(range(x.ndim)), [a % x.ndim for a in axes or range(x.ndim)[::-1]]),
    "getitem": lambda x, *, index: x[index], "_scatter": _scatter,
    "concat": lambda *xs, axis: np.concatenate(xs, axis), "stack": lambda *xs, axis: np.stack(xs, axis),
}  # fmt: skip


def truth(name, arrays, settings):
    """The op's value by its independent definition, None for noise."""
    if name in SCALAR:
        scalar = np.vectorize(lambda *row: SCALAR[name](*row, **settings), otypes=[float])
        return scalar(*arrays)
    return TRUTH[name](*arrays, **settings) if name in TRUTH else None
