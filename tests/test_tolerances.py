"""The tolerances that the other tests use cover every order of a sum, and little more than that."""

from fractions import Fraction

import numpy as np
import pytest
from tolerances import assert_within, inverse_tolerance, logdet_tolerance, product_tolerance, sum_tolerance


def in_blocks(terms, size):
    total = terms.dtype.type(0)
    for i in range(0, len(terms), size):
        part = terms.dtype.type(0)
        for x in terms[i : i + size]:
            part += x
        total += part
    return total


def orders(terms):
    """One sum, in the orders that a BLAS might take: first to last, last to first, by blocks, by pairs, by lanes."""
    lanes = np.resize(terms, (len(terms) // 8 + 1) * 8)
    lanes[len(terms) :] = 0
    return [
        in_blocks(terms, len(terms)),
        in_blocks(terms[::-1], len(terms)),
        in_blocks(terms, 4),
        in_blocks(terms, 256),
        in_blocks(np.sort(terms), len(terms)),
        terms.sum(),
        in_blocks(np.array([in_blocks(lanes[i::8], len(lanes)) for i in range(8)]), 8),
    ]


def exact(x, y):
    return float(sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)))


KINDS = {
    "normal": lambda x: x,
    "positive": abs,
    "cancelling": lambda x: x - x.mean(),
    "scales": lambda x: x * 10.0 ** (np.arange(len(x)) % 13 - 6),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 7, 64, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_every_order_of_a_sum_is_within(rng, kind, n, dtype):
    x = KINDS[kind](rng.standard_normal(n)).astype(dtype)
    y, ones = rng.standard_normal(n).astype(dtype), np.ones(n, dtype)
    whole = exact(x, ones)
    for total in orders(x):
        assert_within(total, whole, sum_tolerance(x))
    for total in orders(x * y):
        assert_within(total, exact(x, y), product_tolerance(x[None], y[:, None])[0, 0])
    with pytest.raises(AssertionError, match="off by more than their tolerance"):
        assert_within(whole - float(x[np.abs(x).argmax()]), whole, sum_tolerance(x))  # a term that was forgotten


def test_a_solution_is_off_by_the_condition(rng):
    for scale in (1.0, 1e-3, 1e-6):
        factor = np.tril(rng.standard_normal((12, 12))) + 4 * np.eye(12)
        factor[0] *= scale
        A = factor @ factor.T
        turned = np.ascontiguousarray(A[::-1, ::-1])  # another order of the same elimination
        inverses = np.linalg.inv(A), np.linalg.inv(turned)[::-1, ::-1]
        for inverse in inverses:
            assert_within(inverse @ A, np.eye(12), inverse_tolerance(A))
        known = 2 * np.log(np.diagonal(factor)).sum()
        for matrix in (A, turned):
            tolerance = logdet_tolerance(np.abs(factor) @ np.abs(factor).T, inverses[0])
            assert_within(np.linalg.slogdet(matrix)[1], known, tolerance)
            assert tolerance < 1e-6


def test_assert_within_says_where():
    assert_within([1.0, np.inf, np.nan], [1.0, np.inf, np.nan], 0)
    with pytest.raises(AssertionError, match=r"^sums: 1 of 4 .* at \(1, 0\): 3\.0, expected 2\.0 \+- 0\.5$"):
        assert_within([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [2.0, 4.0]], 0.5, "sums")
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(AssertionError):
            assert_within(bad, 1.0, 1.0)
