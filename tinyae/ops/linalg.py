"""Matrix products, linear systems and what is made of them. Leading axes are a batch and broadcast.

The C kernel takes transposes as strides, so ``b.mT`` in a rule costs nothing. Systems are LAPACK's, as NumPy hands it
out: right for the small matrices of covariances and flows, a matrix at a time.

Ring 2. Must not know Tensor.
"""

import math

import numpy as np

from ..engine import op, sum_to
from ..errors import MatrixError, SettingError, ShapeError
from ..mode import fixed
from .shape import flip, reshape, tril, triu, unsqueeze

__all__ = ["cholesky", "inv", "linear", "logdet", "matmul", "outer", "solve", "solve_triangular"]


@op
def matmul(a, b, *, precision=None):
    """a @ b, summed over a's last and b's last but one axis; leading axes broadcast.

    `precision` lets float32 take the processor's unit for short numbers (AMX), where that is faster; gradients take it
    too. "highest" is as exact as float32, "high" errs by some 4e-6 and "medium" by some 2e-3 of the sum of |a b|. None,
    what `a @ b` means, never takes it. Without the unit, for small products, for float64, and where an operand is not
    finite or has magnitudes outside 1e-16 .. 1e16, all are None. So with a precision the last bits depend on the whole
    of both operands; never on the number of threads.

    Shape: (..., m, k) @ (..., k, n) -> (..., m, n); (k,) counts as a row on the left and as a column on the right.
    """
    if precision not in (None, "highest", "high", "medium"):
        raise SettingError(f"matmul: precision={precision!r}. Give 'highest', 'high', 'medium' or None.")
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the last axis of the left operand and the "
            f"{'last but one' if b.ndim > 1 else 'only'} axis of the right one must have equal length. "
            "Transpose one of them with .mT, or check the order."
        )
    return np.matmul(a, b)


@matmul.vjp("a")
def _(g, a_shape, b, precision):
    if len(a_shape) == 1 or b.ndim == 1:  # a vector is a matrix with one row or one column
        g, b = _as_matrices(g, a_shape, b, b.shape)
        return reshape(sum_to(matmul(g, b.mT, precision=precision), shape=_row(a_shape)), shape=a_shape)
    return sum_to(matmul(g, b.mT, precision=precision), shape=a_shape)


@matmul.vjp("b")
def _(g, a, b_shape, precision):
    if a.ndim == 1 or len(b_shape) == 1:
        column = b_shape if len(b_shape) > 1 else (*b_shape, 1)
        g = reshape(g, shape=_product_shape(a.shape, b_shape, g.shape))
        rows = reshape(a, shape=_row(a.shape))
        return reshape(sum_to(matmul(rows.mT, g, precision=precision), shape=column), shape=b_shape)
    if len(b_shape) == 2:  # one product over all rows, instead of one for each of a batch and their sum
        return matmul(_rows(a).mT, _rows(g), precision=precision)
    return sum_to(matmul(a.mT, g, precision=precision), shape=b_shape)


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


def outer(a, b):
    """Every product of a value of a with one of b: a[.., i] * b[.., j]. Shape: (.., n), (.., m) -> (.., n, m)."""
    return unsqueeze(a, axis=-1) * unsqueeze(b, axis=-2)


# -- linear systems -------------------------------------------------------------------------------------------------


@op
def solve(a, b):
    """The y with a @ y = b, by elimination with pivots. MatrixError names the entry of the batch that is singular.

    Shape: a (.., n, n), b (.., n, m) or (n,), a vector -> (.., n, m) or (.., n). NaN in a matrix makes all its y NaN.
    """
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or b.ndim == 0 or b.shape[-2 if b.ndim > 1 else 0] != a.shape[-1]:
        raise ShapeError(
            f"solve: a {a.shape}, b {b.shape}: expected a (.., n, n), b (.., n, m) or (n,). A batch of vectors needs a "
            "last axis of length 1: unsqueeze(b, axis=-1)."
        )
    return _lapack(np.linalg.solve, a, b, probe=np.linalg.inv, refused="solve: the matrix is singular")


@solve.vjp("a")
def _(g, a, b_shape, y):
    return sum_to(-matmul(solve(a.mT, _columns(g, b_shape)), _columns(y, b_shape).mT), shape=a.shape)


@solve.vjp("b")
def _(g, a, b_shape):
    return reshape(sum_to(solve(a.mT, _columns(g, b_shape)), shape=_column(b_shape)), shape=b_shape)


def _column(b_shape):
    return b_shape if len(b_shape) > 1 else (*b_shape, 1)


def _columns(x, b_shape):
    """x as matrices, if b was a vector."""
    return x if len(b_shape) > 1 else unsqueeze(x, axis=-1)


def _check_square(name, a):
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name}: shape {a.shape}: the last two axes are the matrix's and must have equal length.")


def _lapack(function, a, *b, probe, refused):
    """function(a, *b), where a matrix that holds NaN makes its own answer NaN, and one that LAPACK refuses is named."""
    broken = np.isnan(a).any(axis=(-2, -1), keepdims=True)
    if broken.any():
        a = np.where(broken, np.eye(a.shape[-1], dtype=a.dtype), a)
    try:
        y = function(a, *b)
    except np.linalg.LinAlgError:
        for entry in np.ndindex(a.shape[:-2]):
            try:
                probe(a[entry])
            except np.linalg.LinAlgError:
                raise MatrixError(f"{refused}{_entry(entry)}. {_advice(a[entry])}") from None
        raise
    return np.where(broken if y.ndim >= a.ndim else broken[..., 0], np.nan, y) if broken.any() else y


def _entry(entry):
    return f", at entry {', '.join(map(str, entry))} of the batch" if entry else ""


def _advice(a):
    """What is wrong with a matrix that was refused."""
    if not np.isfinite(a).all():
        return "It holds infinite values."
    if np.array_equal(a, a.T):
        return f"Its least eigenvalue is {np.linalg.eigvalsh(a).min():.3g}; add a multiple of the identity."
    least = np.linalg.svd(a, compute_uv=False).min()
    return f"Its least singular value is {least:.3g}: some combination of its rows is 0."


def inv(a):
    """The inverse, as the solution of a @ y = 1; `solve` is quicker and more exact where a product with it is wanted.

    Shape: (.., n, n) -> same.
    """
    _check_square("inv", a)
    return solve(a, fixed(np.eye(a.shape[-1], dtype=a.dtype)))


def solve_triangular(a, b, *, lower=True, transpose=False):
    """The y with t @ y = b, or t.mT @ y = b if transpose, where t is a's lower (or upper) triangle; the other is not
    read.

    Composed: elimination of an upper triangle does nothing, so that `solve` is then back substitution, which is exact
    to rounding even where t is badly conditioned (Higham 2002, chapter 8). A lower one is solved backwards.

    Shape: as `solve`. MatrixError where the diagonal holds a zero.
    """
    _check_square("solve_triangular", a)
    t = tril(a) if lower else triu(a)
    t = t.mT if transpose else t
    if lower == transpose:
        return solve(t, b)
    rows = -2 if b.ndim > 1 else -1
    y = solve(flip(t, axis=(-2, -1)), flip(b, axis=rows))
    return flip(y, axis=rows)


@op
def cholesky(a):
    """The lower triangular y with positive diagonal and y @ y.mT = a, of a symmetric positive definite a.

    Both triangles are read, as (a + a.mT) / 2, so the gradient is symmetric too: that of PyTorch, which reads the lower
    one alone. Hence a must be symmetric up to rounding (1e-3 of its largest value). MatrixError names the entry of the
    batch that is not, or is not positive definite. NaN in a matrix makes its y NaN.

    Shape: (.., n, n) -> same. The rule is equation 9 of Murray (2016), "Differentiation of the Cholesky decomposition".
    """
    _check_square("cholesky", a)
    with np.errstate(all="ignore"):
        half = a * 0.5
        apart = np.abs(half - half.mT).max(axis=(-2, -1), initial=0)
        odd = np.argwhere(apart > 1e-3 * np.abs(half).max(axis=(-2, -1), initial=0)).tolist()
        if odd:
            entry = tuple(odd[0])
            raise MatrixError(
                f"cholesky: the matrix is not symmetric{_entry(entry)}: it differs from its transpose by "
                f"{2 * apart[entry]:.3g}. Of a lower triangle t with diagonal d it is made by t + t.mT - d."
            )
        return _lapack(
            np.linalg.cholesky, half + half.mT, probe=np.linalg.cholesky,
            refused="cholesky: the matrix is not positive definite",
        )  # fmt: skip


@cholesky.vjp
def _(g, y):
    p = matmul(y.mT, g)
    p = (tril(p) + tril(p, k=-1)) * 0.5  # the lower triangle with half its diagonal
    half = solve_triangular(y, p, transpose=True).mT
    s = solve_triangular(y, half, transpose=True)
    return (s + s.mT) * 0.5


@op
def logdet(a):
    """log(det(a)); NaN where the determinant is negative, -inf where it is 0 (and `solve` refuses the way back).

    Shape: (.., n, n) -> (..). The gradient is inv(a).mT. Of a symmetric positive definite matrix, whose Cholesky factor
    y one has anyway, it is 2 * sum(log(diagonal(y))).
    """
    _check_square("logdet", a)
    with np.errstate(all="ignore"):
        sign, value = np.linalg.slogdet(a)
    return np.where((sign < 0) | np.isnan(a).any(axis=(-2, -1)), np.nan, value)


@logdet.vjp
def _(g, a):
    return unsqueeze(g, axis=(-2, -1)) * inv(a).mT
