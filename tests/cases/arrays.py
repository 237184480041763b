"""Random arrays to feed ops: any shape, any memory layout, away from kinks and ties."""

import itertools
import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

GAP = 0.05  # how far random values stay from a kink


def shapes(min_dims=0, max_dims=3, min_side=0, max_side=4):
    """Any shape; every other one has axes of different lengths above 1, where a rule that mixes them up shows."""
    unequal = [s for s in ((3,), (3, 4), (2, 3, 4)) if min_dims <= len(s) <= max_dims and max(s) <= max_side]
    some = hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)
    return st.one_of(st.sampled_from(unequal), some) if unequal else some


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
    """None, an int or a tuple of ints in any order, counted from either end; one axis in half of all cases."""
    one = range(-ndim, ndim)
    several = [p for n in range(ndim + 1) for p in itertools.permutations(range(ndim), n)]
    return draw(st.sampled_from(one) if ndim and draw(st.booleans()) else st.sampled_from([None, *several]))


def row_into(rows):
    """A decorator: ``def NAME_row(draw)`` becomes rows["NAME"]."""

    def row(function):
        rows[function.__name__.removesuffix("_row")] = function
        return function

    return row
