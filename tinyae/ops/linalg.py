"""Matrix products. The C kernel takes transposes as strides, so ``b.mT`` in a rule costs nothing.

Ring 2. Must not know Tensor.
"""

import math

import numpy as np

from ..engine import op, sum_to
from ..errors import ShapeError
from .shape import reshape

__all__ = ["linear", "matmul"]


@op
def matmul(a, b):
    """a @ b, summed over a's last and b's last but one axis; leading axes broadcast.

    Shape: (..., m, k) @ (..., k, n) -> (..., m, n); (k,) counts as a row on the left and as a column on the right.
    """
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the last axis of the left operand and the "
            f"{'last but one' if b.ndim > 1 else 'only'} axis of the right one must have equal length. "
            "Transpose one of them with .mT, or check the order."
        )
    return np.matmul(a, b)


@matmul.vjp("a")
def _(g, a_shape, b):
    if len(a_shape) == 1 or b.ndim == 1:  # a vector is a matrix with one row or one column
        g, b = _as_matrices(g, a_shape, b, b.shape)
        return reshape(sum_to(matmul(g, b.mT), shape=_row(a_shape)), shape=a_shape)
    return sum_to(matmul(g, b.mT), shape=a_shape)


@matmul.vjp("b")
def _(g, a, b_shape):
    if a.ndim == 1 or len(b_shape) == 1:
        column = b_shape if len(b_shape) > 1 else (*b_shape, 1)
        g = reshape(g, shape=_product_shape(a.shape, b_shape, g.shape))
        return reshape(sum_to(matmul(reshape(a, shape=_row(a.shape)).mT, g), shape=column), shape=b_shape)
    return sum_to(matmul(a.mT, g), shape=b_shape)


def _row(shape):
    return shape if len(shape) > 1 else (1, *shape)


def _product_shape(a_shape, b_shape, g_shape):
    """g's shape with the axes that vector operands left out."""
    shape = g_shape if len(b_shape) > 1 else (*g_shape, 1)
    return shape if len(a_shape) > 1 else (*shape[:-1], 1, shape[-1])


def _as_matrices(g, a_shape, b, b_shape):
    g = reshape(g, shape=_product_shape(a_shape, b_shape, g.shape))
    return g, b if len(b_shape) > 1 else reshape(b, shape=(*b_shape, 1))


@op
def linear(x, weight, bias):
    """x @ weight + bias: a primitive, so that the bias is added while the product is still in registers.

    Shape: x (..., n_in), weight (n_in, n_out), bias (n_out,) -> (..., n_out).
    """
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"linear: x {x.shape}, weight {weight.shape}, bias {bias.shape}: expected x (..., n_in), weight "
            "(n_in, n_out), bias (n_out,). The last axis of x must be as long as the first of weight."
        )
    return np.matmul(x, weight) + bias


@linear.vjp("x")
def _(g, weight):
    return matmul(g, weight.mT)


@linear.vjp("weight")
def _(g, x):
    return matmul(_rows(x).mT, _rows(g))


@linear.vjp("bias")
def _(g):
    return sum_to(g, shape=g.shape[-1:])


def _rows(x):
    """All leading axes as one: (..., n) -> (rows, n)."""
    return x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))  # -1 is refused if n is 0
