"""Random arrays to feed ops: any shape, any memory layout, away from kinks and ties."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

GAP = 0.05  # how far random values stay from a kink


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


def axes(draw, ndim):
    """None, an int or a tuple of ints, counted from either end."""
    if not ndim:
        return draw(st.sampled_from([None, ()]))
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim).map(tuple)
    return draw(st.one_of(st.none(), one, several))


def row_into(rows):
    """A decorator: ``def NAME_row(draw)`` becomes rows["NAME"]."""

    def row(function):
        rows[function.__name__.removesuffix("_row")] = function
        return function

    return row
