"""``ops/linalg.py``."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae.errors import ShapeError

from .arrays import laid_out, row_into, shapes, values


ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


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


def _matmul(a, b):
    rows, columns = (a if a.ndim > 1 else a[None]), (b if b.ndim > 1 else b[:, None])
    y = (rows[..., :, :, None] * columns[..., None, :, :]).sum(-2)
    y = y if b.ndim > 1 else y[..., 0]
    return y if a.ndim > 1 else np.squeeze(y, -2 if b.ndim > 1 else -1)


TRUTH |= {"matmul": _matmul, "linear": lambda x, w, b: _matmul(x, w) + b}

x23, x45, x25, v3 = np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 5)), np.ones(3)
BAD = [
    (ShapeError, "matmul", (x23, x45), {}),
    (ShapeError, "matmul", (x23, np.ones((1, 5))), {}),
    (ShapeError, "matmul", (x23, x25), {}),
    (ShapeError, "matmul", (v3, x45), {}),
    (ShapeError, "matmul", (x23, np.float64(2.0)), {}),
    (ShapeError, "matmul", (np.ones((2, 2, 3)), np.ones((3, 3, 4))), {}),
    (ShapeError, "linear", (x23, x45, v3), {}),
    (ShapeError, "linear", (x23, np.ones((3, 4)), v3), {}),
    (ShapeError, "linear", (x23, np.ones((3, 4)), np.ones((1, 4))), {}),
]
