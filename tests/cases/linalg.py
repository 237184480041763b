"""``ops/linalg.py``."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae.errors import MatrixError, SettingError, ShapeError

from .arrays import laid_out, row_into, shapes, values


ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


# Vectors, matrices and stacks of them on either side; at random, nearly every product has an axis of length 0 or 1.
PRODUCTS = [
    ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)),
]  # fmt: skip


@row
def matmul_row(draw):
    some = hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=4, min_side=0)
    drawn = draw(st.one_of(st.sampled_from(PRODUCTS), some.map(lambda s: s.input_shapes)))
    precision = draw(st.sampled_from([None, "highest", "high", "medium"]))  # in float64 all the same
    return [laid_out(draw, values(draw, shape)) for shape in drawn], {"precision": precision}


@row
def linear_row(draw):
    n_in, n_out = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    x = values(draw, (*draw(shapes(max_dims=2)), n_in))
    return [laid_out(draw, a) for a in (x, values(draw, (n_in, n_out)), values(draw, (n_out,)))], {}


def regular(draw, shape):
    """Matrices with a positive determinant that are far from singular."""
    return values(draw, shape, (-1.0, 1.0)) + 1.5 * shape[-1] * np.eye(shape[-1])


@row
def solve_row(draw):
    batches = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3, min_side=0)).input_shapes
    n = draw(st.integers(0, 3))
    b_shape = draw(st.sampled_from([(n,), (*batches[1], n, draw(st.integers(0, 3)))]))
    a = regular(draw, (*batches[0], n, n))
    return [laid_out(draw, a, repeat=False), laid_out(draw, values(draw, b_shape))], {}


@row
def cholesky_row(draw):
    n = draw(st.integers(0, 4))
    a = regular(draw, (*draw(shapes(max_dims=2, max_side=3)), n, n))
    return [laid_out(draw, (a + a.mT) / 2, repeat=False)], {}


@row
def logdet_row(draw):
    n = draw(st.integers(0, 4))
    return [laid_out(draw, regular(draw, (*draw(shapes(max_dims=2, max_side=3)), n, n)), repeat=False)], {}


# -- the same, number by number -------------------------------------------------------------------------------------


def _matmul(a, b, *, precision=None):
    rows, columns = (a if a.ndim > 1 else a[None]), (b if b.ndim > 1 else b[:, None])
    y = (rows[..., :, :, None] * columns[..., None, :, :]).sum(-2)
    y = y if b.ndim > 1 else y[..., 0]
    return y if a.ndim > 1 else np.squeeze(y, -2 if b.ndim > 1 else -1)


def _eliminate(a, b):
    """(det a, the y with a @ y = b) of lists of rows, in exact fractions, after Gauss and Jordan."""
    rows = [[Fraction(v) for v in [*left, *right]] for left, right in zip(a, b)]
    det = Fraction(1)
    for i in range(len(rows)):
        pivot = next(j for j in range(i, len(rows)) if rows[j][i])
        det *= rows[pivot][i] * (1 if pivot == i else -1)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [v - rows[j][i] * w for v, w in zip(rows[j], rows[i])]
    return det, [[float(v) for v in row[len(a) :]] for row in rows]


def _solve(a, b):
    columns = b if b.ndim > 1 else b[:, None]
    batch = np.broadcast_shapes(a.shape[:-2], columns.shape[:-2])
    a = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    columns = np.broadcast_to(columns, (*batch, *columns.shape[-2:]))
    y = np.zeros(columns.shape)
    for i in np.ndindex(*batch):
        if columns[i].size:
            y[i] = _eliminate(a[i].tolist(), columns[i].tolist())[1]
    return y if b.ndim > 1 else y[..., 0]


def _logdet(a):
    y = np.zeros(a.shape[:-2])
    for i in np.ndindex(*y.shape):
        y[i] = math.log(_eliminate(a[i].tolist(), [[]] * a.shape[-1])[0])
    return y


def _cholesky(a):
    y = np.zeros(a.shape)
    for i in np.ndindex(*a.shape[:-2]):
        for j in range(a.shape[-1]):
            for k in range(j + 1):
                left = a[(*i, j, k)] - math.fsum(y[(*i, j, m)] * y[(*i, k, m)] for m in range(k))
                y[(*i, j, k)] = math.sqrt(left) if j == k else left / y[(*i, k, k)]
    return y


TRUTH |= {
    "matmul": _matmul, "linear": lambda x, w, b: _matmul(x, w) + b, "solve": _solve, "cholesky": _cholesky,
    "logdet": _logdet,
}  # fmt: skip


def _torch_solve(torch, a, b):
    """PyTorch takes a matrix for a batch of vectors where the shapes allow it, NumPy does not."""
    columns = b if b.ndim > 1 else b[:, None]
    batch = torch.broadcast_shapes(a.shape[:-2], columns.shape[:-2])
    y = torch.linalg.solve(a, columns.expand(*batch, *columns.shape[-2:]))
    return y if b.ndim > 1 else y[..., 0]


TORCH |= {
    "matmul": lambda torch, a, b, *, precision: torch.matmul(a, b),
    "linear": lambda torch, x, weight, bias: torch.nn.functional.linear(x, weight.mT, bias),
    "solve": _torch_solve,
    "cholesky": lambda torch, a: torch.linalg.cholesky(a),
    "logdet": lambda torch, a: torch.logdet(a),
}

x23, x45, x25, v3 = np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 5)), np.ones(3)
BAD = [
    (ShapeError, "matmul", (x23, x45), {}),
    (SettingError, "matmul", (x23, x23.T), {"precision": "low"}),
    (ShapeError, "matmul", (x23, np.ones((1, 5))), {}),
    (ShapeError, "matmul", (x23, x25), {}),
    (ShapeError, "matmul", (v3, x45), {}),
    (ShapeError, "matmul", (x23, np.float64(2.0)), {}),
    (ShapeError, "matmul", (np.ones((2, 2, 3)), np.ones((3, 3, 4))), {}),
    (ShapeError, "linear", (x23, x45, v3), {}),
    (ShapeError, "linear", (x23, np.ones((3, 4)), v3), {}),
    (ShapeError, "linear", (x23, np.ones((3, 4)), np.ones((1, 4))), {}),
    (ShapeError, "solve", (x23, np.ones(2)), {}),
    (ShapeError, "solve", (np.eye(3), x23), {}),
    (ShapeError, "solve", (np.eye(3), np.float64(1.0)), {}),
    (ShapeError, "solve", (np.ones((2, 3, 3)) + np.eye(3), np.ones((3, 3, 1))), {}),
    (MatrixError, "solve", (np.ones((2, 2)), np.ones(2)), {}),
    *((ShapeError, name, (x,), {}) for name in ("cholesky", "logdet") for x in (x23, np.ones(3), np.ones((3, 3, 1)))),
    (MatrixError, "cholesky", (np.ones((2, 2)),), {}),
    (MatrixError, "cholesky", (np.tril(np.ones((2, 2))),), {}),
]
