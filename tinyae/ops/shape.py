"""Ops that move values without computing: reshape, transpose, indexing, joining.

The results of `reshape`, `transpose` and basic indexing share their operand's memory where NumPy's do.

Ring 2. Must not know Tensor. ``broadcast_to`` and ``sum_to`` live in the engine, which needs them.
"""

import numpy as np

from ..engine import op

__all__ = ["concat", "getitem", "reshape", "stack", "transpose"]


@op(view=True)
def reshape(x, *, shape):
    """The same values in another shape; one length may be -1. Shape: any -> shape, of equal size."""
    return np.reshape(x, shape)


@reshape.vjp
def _(g, x_shape):
    return reshape(g, shape=x_shape)


@op(view=True)
def transpose(x, *, axes=None):
    """Axes in another order (None: reversed), without a copy. Shape: (n0, n1, ...) -> (n[axes[0]], n[axes[1]], ...)."""
    return np.transpose(x, axes)


@transpose.vjp
def _(g, axes):
    return transpose(g, axes=None if axes is None else tuple(np.argsort(np.asarray(axes) % len(axes))))


@op(view=True)
def getitem(x, *, index):
    """x[index]: basic indexing is a view, advanced indexing (arrays, lists, bool masks) a copy. Shape: as in NumPy."""
    return x[index]


@getitem.vjp
def _(g, index, x_shape):
    return _scatter(g, index=index, shape=x_shape)


@op
def _scatter(g, *, index, shape):
    """Zeros to which g is *added* at index, so repeated ones add up: `getitem` transposed.

    Shape: x[index]'s -> shape.
    """
    out = np.zeros(shape, g.dtype)
    if _is_basic(index):
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


@_scatter.vjp
def _(g, index):
    return getitem(g, index=index)


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (slice, int, np.integer)) for p in parts)


@op
def concat(*xs, axis=0):
    """Arrays joined along an existing axis. Shape: (.., n_i, ..) each -> (.., sum of n_i, ..)."""
    return np.concatenate(xs, axis=axis)


@concat.vjp
def _(g, index, shapes, axis):
    axis = axis % len(shapes[0])
    start = sum(s[axis] for s in shapes[:index])
    return getitem(g, index=(slice(None),) * axis + (slice(start, start + shapes[index][axis]),))


@op
def stack(*xs, axis=0):
    """Arrays of one shape joined along a new axis. Shape: m of (..) -> (.., m, ..)."""
    return np.stack(xs, axis=axis)


@stack.vjp
def _(g, index, shapes, axis):
    return getitem(g, index=(slice(None),) * (axis % (len(shapes[0]) + 1)) + (index,))
