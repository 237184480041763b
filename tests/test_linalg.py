"""``ops/linalg.py``: what is composed there, and the special points of its ops. `test_ops.py` asks an op all else."""

import math
from fractions import Fraction

import numpy as np
import pytest
from cases.linalg import PRODUCTS

from tinyae import Tensor, grad, gradcheck, ops
from tinyae.engine import OPS
from tinyae.errors import DtypeError, MatrixError, ShapeError


def leaf(x):
    return Tensor(x, requires_grad=True)


def positive(n, *batch, dtype=np.float64):
    b = np.random.default_rng(n).standard_normal((*batch, n, n + 2))
    return (b @ b.mT + 0.5 * np.eye(n)).astype(dtype)


# -- products -------------------------------------------------------------------------------------------------------


def test_a_batch_against_one_matrix():
    """The gradient of what a batch shares is the sum over it, whichever side it stands on."""
    rng = np.random.default_rng(0)
    shared, batch = rng.standard_normal((3, 2)), rng.standard_normal((2, 5, 4, 3))
    w = leaf(shared)
    g = rng.standard_normal((2, 5, 4, 2))
    expected = sum(a.T @ u for a, u in zip(batch.reshape(-1, 4, 3), g.reshape(-1, 4, 2)))
    np.testing.assert_allclose(grad(ops.matmul(batch, w), w, g).data, expected, rtol=1e-12)
    expected = sum(u @ a for a, u in zip(batch.reshape(-1, 4, 3), g.mT.reshape(-1, 2, 4)))
    np.testing.assert_allclose(grad(ops.matmul(w.mT, batch.mT), w, g.mT).data, expected.T, rtol=1e-12)
    gradcheck(ops.matmul, batch[0], shared, order=2)
    gradcheck(ops.matmul, shared.T, batch[0].mT, order=2)


@pytest.mark.parametrize("shapes", PRODUCTS)
def test_gradient_of_a_product_of_each_kind(shapes):
    """Vectors, matrices, stacks of both, on either side."""
    rng = np.random.default_rng(0)
    gradcheck(ops.matmul, *map(rng.standard_normal, shapes), order=2, directions=1)


@pytest.mark.parametrize("precision, error", [("highest", 1e-6), ("high", 1e-5), ("medium", 5e-3)])
def test_precision_bounds_the_error_and_its_gradients_too(monkeypatch, rng, precision, error):
    a, b, g = (rng.standard_normal(shape).astype(np.float32) for shape in ((200, 300), (300, 150), (200, 150)))
    exact = a.astype(np.float64) @ b
    assert np.abs(ops.matmul(a, b, precision=precision) - exact).max() < error * np.abs(exact).max()
    stack = ops.matmul(a.reshape(2, 100, 300), np.stack([b, b]), precision=precision)
    assert np.abs(stack.reshape(200, 150) - exact).max() < error * np.abs(exact).max()
    asked = []
    product = OPS["matmul"]
    run = product.kernel or product.definition
    monkeypatch.setattr(product, "kernel", lambda *x, **s: asked.append(s["precision"]) or run(*x, **s))
    x, y = leaf(a), leaf(b)
    ops.matmul(x, y, precision=precision).backward(g)
    assert asked == [precision] * 3
    assert np.abs(x.grad.data - g @ b.T).max() < 2 * error * np.abs(g @ b.T).max()


def test_without_a_precision_and_where_pieces_cannot_hold_an_operand_the_bits_are_the_same(rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((200, 300), (300, 150)))
    assert ops.matmul(a, b, precision=None).tobytes() == (Tensor(a) @ b).data.tobytes()
    for odd in (np.nan, np.inf, 1e20, 1e-20):
        a[3, 5] = odd
        for precision in ("highest", "high", "medium"):
            np.testing.assert_array_equal(ops.matmul(a, b, precision=precision), ops.matmul(a, b))
    a, b = np.ones((200, 300)), rng.standard_normal((300, 150))
    assert ops.matmul(a, b, precision="medium").tobytes() == ops.matmul(a, b).tobytes()


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 3), (4,)), ((2, 1, 3), (5, 0)), ((1,), (5, 4))])
def test_outer(shapes):
    a, b = (np.random.default_rng(0).standard_normal(shape) for shape in shapes)
    expected = np.einsum("...i,...j->...ij", a, b)
    for dtype in (np.float32, np.float64):
        y = ops.outer(a.astype(dtype), b.astype(dtype))
        assert y.dtype == dtype and y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    gradcheck(ops.outer, a, b, order=2)
    torch = pytest.importorskip("torch")
    if a.ndim == b.ndim == 1:
        np.testing.assert_array_equal(ops.outer(leaf(a), b).data, torch.outer(*map(torch.tensor, (a, b))).numpy())


# -- composed: inverses and triangles -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 0)])
def test_inv(batch):
    a = positive(4, *batch) + np.triu(np.ones((4, 4)))
    for dtype in (np.float32, np.float64):
        y = ops.inv(a.astype(dtype))
        assert y.dtype == dtype
        np.testing.assert_allclose(
            y @ a, np.broadcast_to(np.eye(4), a.shape), atol=1e-4 if dtype == np.float32 else 1e-13
        )
    gradcheck(ops.inv, a, order=2)
    torch = pytest.importorskip("torch")
    x, t = leaf(a), torch.tensor(a, requires_grad=True)
    y, theirs = ops.inv(x), torch.linalg.inv(t)
    g = np.random.default_rng(1).standard_normal(a.shape)
    np.testing.assert_allclose(y.data, theirs.detach().numpy(), rtol=1e-11, atol=1e-13)
    (expected,) = torch.autograd.grad(theirs, t, torch.tensor(g))
    np.testing.assert_allclose(grad(y, x, g).data, expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("shapes", [((4, 4), (4,)), ((4, 4), (3, 4, 2)), ((3, 4, 4), (4, 2)), ((2, 4, 4), (4,)),
                                    ((0, 0), (0, 2)), ((3, 1, 2, 2), (2, 2, 1))])  # fmt: skip
def test_solve_triangular(lower, transpose, shapes):
    """The other triangle is not read: NaN stands in it, and gets no gradient."""
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, shapes[0]) + 2 * np.eye(shapes[0][-1])
    b = rng.standard_normal(shapes[1])
    t = np.tril(a) if lower else np.triu(a)
    other = np.triu(np.ones_like(a), 1) if lower else np.tril(np.ones_like(a), -1)
    poisoned = np.where(other > 0, np.nan, a)
    for dtype in (np.float32, np.float64):
        y = ops.solve_triangular(poisoned.astype(dtype), b.astype(dtype), lower=lower, transpose=transpose)
        assert y.dtype == dtype
        rtol = 1e-4 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(y, np.linalg.solve(t.mT if transpose else t, b), rtol=rtol, atol=rtol)
    gradcheck(lambda a, b: ops.solve_triangular(a, b, lower=lower, transpose=transpose), a, b, order=2)
    x = leaf(poisoned)
    g = grad(ops.solve_triangular(x, b, lower=lower, transpose=transpose).sum(), x).data
    assert np.isfinite(g).all() and not g[other > 0].any()
    if b.ndim > 1:
        torch = pytest.importorskip("torch")
        theirs = torch.tensor(poisoned, requires_grad=True)
        turned, upper = (theirs.mT, lower) if transpose else (theirs, not lower)
        y = torch.linalg.solve_triangular(turned, torch.tensor(b), upper=upper)
        (expected,) = torch.autograd.grad(y.sum(), theirs)
        np.testing.assert_allclose(g, expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("transpose", [True, False])
def test_triangles_are_solved_by_substitution(transpose):
    """Componentwise exact where the condition number is 1e20 and more: elimination with row exchanges is not."""
    n = 12
    t = np.tril(np.random.default_rng(0).uniform(-1, 1, (n, n)), -1) + np.diag(10.0 ** -np.arange(n) / 4)
    b = np.ones(n)
    rows = t.T if transpose else t
    exact = [Fraction(0)] * n
    for i in reversed(range(n)) if transpose else range(n):
        rest = sum(Fraction(rows[i, j]) * exact[j] for j in range(n) if j != i)
        exact[i] = (1 - rest) / Fraction(rows[i, i])

    def worst(y):
        return max(abs((Fraction(v) - e) / e) for v, e in zip(y.tolist(), exact))

    try:
        tried = worst(np.linalg.solve(rows, b))
    except np.linalg.LinAlgError:  # some LAPACK's pivots end at exactly 0
        tried = np.inf
    y = ops.solve_triangular(t, b, transpose=transpose)
    assert np.linalg.cond(t) > 1e15 and worst(y) < 1e-12
    assert transpose or tried > 1e-12
    flipped = ops.solve_triangular(t[::-1, ::-1], b, lower=False, transpose=transpose)
    assert np.array_equal(flipped, y[::-1]), "an upper triangle is the lower one turned round, to the last bit"


def test_errors_of_the_composed():
    with pytest.raises(ShapeError, match=r"inv: shape \(2, 3\)"):
        ops.inv(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"solve_triangular: shape \(3,\)"):
        ops.solve_triangular(np.ones(3), np.ones(3))
    with pytest.raises(ShapeError, match=r"solve: a \(2, 2\), b \(3,\)"):
        ops.solve_triangular(np.eye(2), np.ones(3))
    with pytest.raises(MatrixError, match="singular, at entry 1 of the batch"):
        ops.solve_triangular(np.stack([np.eye(2), np.ones((2, 2)) - np.eye(2)]), np.ones(2))
    with pytest.raises(DtypeError):
        ops.inv(np.eye(2, dtype=np.float16))


# -- solve ----------------------------------------------------------------------------------------------------------


def test_a_singular_matrix_is_named():
    a = np.stack([[np.eye(2)] * 3, [np.eye(2), np.eye(2), [[1.0, 2.0], [2.0, 4.0]]]])
    with pytest.raises(MatrixError, match=r"solve: the matrix is singular, at entry 1, 2 of the batch\. Its least eig"):
        ops.solve(a, np.ones(2))
    with pytest.raises(MatrixError, match=r"solve: the matrix is singular\. Its least singular value is 0"):
        ops.solve(leaf([[0.0, 1.0], [0.0, 1.0]]), np.ones(2))
    with pytest.raises(ValueError, match="solve"):  # what who expects NumPy's LinAlgError may catch
        ops.inv(np.zeros((1, 1)))


def test_nan_stays_in_its_entry_of_the_batch():
    """Elimination may lose a NaN by pivoting past it; the other matrices of the batch are answered as ever."""
    broken = np.array([[math.nan, 1.0], [1.0, 2.0]])
    a = np.stack([broken, 2 * np.eye(2), broken.T[::-1]])
    for b in (np.ones(2), np.ones((2, 1)), np.ones((3, 2, 1))):
        y = ops.solve(a, b)
        assert np.isnan(y[[0, 2]]).all() and (y[1] == 0.5).all()
    y = ops.cholesky(np.stack([broken, 4 * np.eye(2)]))
    assert np.isnan(y[0]).all() and y[1].tolist() == [[2, 0], [0, 2]]
    y = ops.logdet(np.stack([broken, 2 * np.eye(2), [[1.0, math.nan], [0.0, 1.0]]]))
    assert np.isnan(y[[0, 2]]).all() and y[1] == pytest.approx(2 * math.log(2))
    assert np.isnan(ops.solve(np.array([[0.0, math.nan], [0.0, 1.0]]), np.ones(2))).all(), "NaN, not singular"
    assert np.isnan(ops.logdet(np.array([[0.0, math.nan], [0.0, 1.0]]))), "NaN, not -inf"
    assert np.isnan(ops.cholesky(np.array([[-1.0, math.nan], [math.nan, 1.0]]))).all(), "NaN, not indefinite"
    b = np.array([[1.0, math.nan], [2.0, 3.0]])
    assert np.isnan(ops.solve(np.eye(2), b)).any(axis=0).tolist() == [False, True], "a column by itself"
    with pytest.raises(MatrixError, match="at entry 1 of the batch"):
        ops.cholesky(np.stack([broken, -np.eye(2)]))
    with pytest.raises(MatrixError, match="at entry 2 of the batch"):
        ops.solve(np.stack([broken, np.eye(2), np.zeros((2, 2))]), np.ones(2))
    x = leaf(broken)
    assert np.isnan(grad(ops.solve(x, np.ones(2)).sum(), x).data).all()


def test_integers_become_floats():
    a = np.array([[4, 2], [2, 3]])
    for dtype in (np.int64, np.uint8):
        np.testing.assert_allclose(ops.cholesky(a.astype(dtype)), np.linalg.cholesky(a))
        np.testing.assert_allclose(ops.solve(a.astype(dtype), np.array([1, 1])), np.linalg.solve(a, [1, 1]))
        assert ops.logdet(a.astype(dtype)) == pytest.approx(math.log(8))
    assert ops.cholesky(np.array([[200, 100], [100, 200]], np.uint8))[0, 0] == pytest.approx(math.sqrt(200))


# -- cholesky -------------------------------------------------------------------------------------------------------


def test_what_cholesky_refuses():
    good = positive(3)
    bad = np.diag([1.0, -2.0, 1.0])
    with pytest.raises(MatrixError, match=r"not positive definite\. Its least eigenvalue is -2; add a multiple"):
        ops.cholesky(leaf(bad))
    with pytest.raises(MatrixError, match=r"not positive definite, at entry 0, 1 of the batch\. Its least eig"):
        ops.cholesky(np.stack([[good, bad], [bad, good]]))
    with pytest.raises(MatrixError, match=r"positive definite\. It holds infinite values"):
        ops.cholesky(np.array([[1.0, math.inf], [math.inf, 1.0]]))
    with pytest.raises(MatrixError, match=r"not symmetric, at entry 1 of the batch: it differs .* by 3\."):
        ops.cholesky(np.stack([good, good + [[0, 0, 3.0], [0, 0, 0], [0, 0, 0]]]))
    rounding = np.tril(np.full((3, 3), 1e-6), -1)
    np.testing.assert_allclose(ops.cholesky(good + rounding), ops.cholesky(good + (rounding + rounding.T) / 2))


def test_cholesky_has_pytorchs_symmetric_gradient():
    """PyTorch reads one triangle and spreads its gradient over both: the same as to read both."""
    a = positive(4, 3)
    x = leaf(a)
    y = ops.cholesky(x)
    g = np.random.default_rng(0).standard_normal(a.shape)  # above the diagonal too, where the result is 0
    ours = grad(y, x, g).data
    assert np.array_equal(ours, ours.mT)
    torch = pytest.importorskip("torch")
    t = torch.tensor(a, requires_grad=True)
    (expected,) = torch.autograd.grad(torch.linalg.cholesky(t), t, torch.tensor(g))
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gaussian_likelihood(dtype):
    """Factor, triangular solve and determinant together: -log N(x; 0, a), whose gradient is (p - p x x' p) / 2."""
    a, x = positive(5, dtype=dtype), np.arange(1, 6).astype(dtype)
    t = leaf(a)
    factor = ops.cholesky(t)
    white = ops.solve_triangular(factor, x)
    loss = 0.5 * (white * white).sum() + ops.diagonal(factor).log().sum()
    assert loss.dtype == dtype
    wide = a.astype(np.float64)
    p = np.linalg.inv(wide)
    assert loss.item() == pytest.approx(0.5 * x @ p @ x + 0.5 * np.linalg.slogdet(wide)[1], rel=1e-4)
    expected = 0.5 * (p - p @ np.outer(x, x) @ p)
    rtol = 1e-3 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(grad(loss, t).data, expected, rtol=rtol, atol=rtol)
    again = 0.5 * (x @ ops.solve(t, x)) + 0.5 * ops.logdet(t)
    np.testing.assert_allclose(grad(again, t).data, expected, rtol=rtol, atol=rtol)


# -- logdet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logdet_of_every_sign(dtype):
    """log of a positive determinant, NaN of a negative one, -inf of none: as PyTorch."""
    a = np.array([[[0, 2], [-3, 1]], [[0, 2], [3, 1]], [[1, 2], [2, 4]], [[-2, 0], [0, -3]]], dtype)
    y = ops.logdet(a)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, [math.log(6), math.nan, -math.inf, math.log(6)], rtol=1e-6)
    assert ops.logdet(np.zeros((0, 0))) == 0 and ops.logdet(np.zeros((2, 0, 0))).tolist() == [0, 0]
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(y, torch.logdet(torch.tensor(a)).numpy(), rtol=1e-6)


def test_the_gradient_of_logdet_is_the_inverse():
    a = np.random.default_rng(3).standard_normal((2, 3, 4, 4))
    x = leaf(a)
    y = ops.logdet(x)
    g = np.random.default_rng(0).standard_normal((2, 3))
    np.testing.assert_allclose(grad(y, x, g).data, g[..., None, None] * np.linalg.inv(a).mT, rtol=1e-9)
    x = leaf([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(MatrixError, match="solve: the matrix is singular"):
        ops.logdet(x).backward()
