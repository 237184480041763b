"""How far apart two right answers may lie. A BLAS, a CPU and a number of threads choose the order of a sum, and with it
the last bits; everything here is derived from what that order can do, never from what one machine was seen to do.

A sum of n terms, in any order and in any blocks, is off by at most (n - 1) eps times the sum of the terms' absolute
values, to first order (Higham, Accuracy and Stability of Numerical Algorithms, 4.2); multiply-adds round once less. Two
right answers may each be so far off, on either side: hence the 2. What is solved for is off by the condition number
more. test_tolerances.py sums in several orders, and asks that all lie within.
"""

import numpy as np


def unit(dtype):
    """The distance from 1 to the next number."""
    return float(np.finfo(dtype).eps)


def sum_tolerance(terms, axis=-1, dtype=None):
    """Of the sum of `terms` over an axis, each of which may be rounded once itself."""
    terms = np.abs(terms)
    axes = range(terms.ndim) if axis is None else np.atleast_1d(axis)
    n = np.prod([terms.shape[i] for i in axes])
    return 2 * n * unit(dtype or terms.dtype) * terms.sum(axis=axis, dtype=np.float64)


def product_tolerance(a, b, dtype=None):
    """Of a @ b, element by element."""
    a, b = np.abs(a), np.abs(b)
    rounding = unit(dtype or np.result_type(a, b))
    return 2 * a.shape[-1] * rounding * (a.astype(np.float64) @ b.astype(np.float64))


def inverse_tolerance(A):
    """Of A**-1 A against the identity, of every matrix: n eps cond(A), for what LU or substitution makes of A."""
    return 2 * A.shape[-1] * unit(A.dtype) * np.linalg.cond(A)


def logdet_tolerance(size, inverse):
    """Of log |det A|, where A was a sum of products whose absolute values sum to `size`: d log det A = tr(A**-1 dA), and
    |dA| <= n eps size, once for the sum and once for LU.
    """
    return 2 * size.shape[-1] * unit(size.dtype) * (np.abs(inverse) * size).sum(axis=(-2, -1))


def assert_within(found, expected, tolerance, name=""):
    """|found - expected| <= tolerance, an array or a number, everywhere; equal infinities are equal."""
    found, expected = np.broadcast_arrays(np.asarray(found, np.float64), np.asarray(expected, np.float64))
    with np.errstate(invalid="ignore"):
        off = np.abs(found - expected)
    wrong = ~((found == expected) | (off <= tolerance) | (np.isnan(found) & np.isnan(expected)))
    if wrong.any():
        at = tuple(map(int, np.argwhere(wrong)[0]))
        raise AssertionError(
            f"{name or 'values'}: {wrong.sum()} of {wrong.size} are off by more than their tolerance. First at {at}: "
            f"{found[at]}, expected {expected[at]} +- {np.broadcast_to(tolerance, wrong.shape)[at]}"
        )
