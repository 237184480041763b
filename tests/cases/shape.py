"""``ops/shape.py``, and ``broadcast_to``, ``sum_to`` and ``cast`` of the engine."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae.errors import AxisError, ShapeError

from .arrays import laid_out, row_into, shapes, values


ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


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


TRUTH |= {
    "broadcast_to": lambda x, *, shape: x * np.ones(shape), "sum_to": _sum_to, "cast": lambda x, *, dtype: x,
    "reshape": lambda x, *, shape: np.array(x.ravel().tolist()).reshape(shape),
    "transpose": lambda x, *, axes: np.einsum(
        x, list(range(x.ndim)), [a % x.ndim for a in axes or range(x.ndim)[::-1]]),
    "getitem": lambda x, *, index: x[index], "_scatter": _scatter,
    "concat": lambda *xs, axis: np.concatenate(xs, axis), "stack": lambda *xs, axis: np.stack(xs, axis),
}  # fmt: skip

x23, x45 = np.ones((2, 3)), np.ones((4, 5))
BAD = [
    (ShapeError, "broadcast_to", (x23,), {"shape": (4, 5)}),
    (ShapeError, "reshape", (x23,), {"shape": (4, 5)}),
    (ShapeError, "reshape", (x23,), {"shape": (-1, -1)}),
    (ShapeError, "transpose", (x23,), {"axes": (0, 0)}),
    (AxisError, "transpose", (x23,), {"axes": (0, 7)}),
    (AxisError, "getitem", (x23,), {"index": 7}),
    (AxisError, "getitem", (x23,), {"index": (0, 0, 0)}),
    (AxisError, "getitem", (x23,), {"index": [0, 9]}),
    (AxisError, "getitem", (x23,), {"index": np.ones(4, bool)}),
    (ShapeError, "concat", (x23, x45), {}),
    (ShapeError, "concat", (), {}),
    (AxisError, "concat", (x23, x23), {"axis": 2}),
    (ShapeError, "stack", (x23, x45), {}),
    (AxisError, "stack", (x23, x23), {"axis": 3}),
]
