"""Metrics against what is known: other programs, counted pairs, densities in closed form, chains that mix."""

import numpy as np
import pytest

from tinyae.errors import DataError, DtypeError, SettingError, ShapeError
from tinyae.metrics import parzen, parzen_bandwidth, r_hat, roc_auc


def test_the_area_counts_pairs():
    """Every positive against every negative, ties counting half; and scikit-learn's number."""
    rng = np.random.default_rng(0)
    for ties in (3, 10**6):
        score = rng.integers(0, ties, 60)
        positive = rng.random(60) < 0.3
        above = score[positive][:, None] - score[~positive]
        pairs = np.mean((above > 0) + 0.5 * (above == 0))
        assert roc_auc(positive, score) == pytest.approx(pairs, rel=1e-12)
        sklearn = pytest.importorskip("sklearn.metrics")
        assert roc_auc(positive, score) == pytest.approx(sklearn.roc_auc_score(positive, score), rel=1e-12)
    assert roc_auc([0, 0, 1, 1], [1, 2, 3, np.inf]) == 1
    assert roc_auc([1, 1, 0], [-np.inf, 0, 1]) == 0
    assert roc_auc([1, 0, 0], [5, 5, 5]) == 0.5


def test_a_parzen_window_is_its_formula():
    rng = np.random.default_rng(0)
    samples, X = rng.standard_normal((7, 3)) + 1e5, rng.standard_normal((5, 3)) + 1e5
    away = ((X[:, None] - samples) ** 2).sum(axis=2)
    for sigma in (0.5, 2.0):
        density = np.exp(-away / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** 1.5
        np.testing.assert_allclose(parzen(samples, X, sigma), np.log(density.mean(axis=1)), rtol=1e-8)
    np.testing.assert_array_equal(parzen(samples, X, [0.5, 2.0]), [parzen(samples, X, s) for s in (0.5, 2.0)])
    far = parzen(samples, X + 1e4, 0.1)
    assert np.isfinite(far).all() and far.max() < -1e9, "no logarithm of 0"
    narrow = parzen(np.eye(2), [[1.0, 0.0], [1.0, 1.0]], 1e-150)
    np.testing.assert_allclose(narrow, [-np.log(4 * np.pi) + 300 * np.log(10), -np.log(4 * np.pi) - 0.5e300])


def test_a_parzen_window_by_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    samples, X = rng.random((50, 4)), rng.random((33, 4))
    whole = parzen(samples, X, [0.1, 1.0])
    monkeypatch.setattr("tinyae.metrics._BLOCK", 350)
    np.testing.assert_allclose(parzen(samples, X, [0.1, 1.0]), whole, rtol=1e-12)


def test_a_parzen_window_finds_the_density():
    """Of the normal distribution: minus its entropy, d / 2 log(2 pi e), at the sigma that unseen rows like best."""
    rng = np.random.default_rng(0)
    samples, X, held = rng.standard_normal((3, 1000, 2))
    sigma = parzen_bandwidth(samples, held)
    assert 0.1 < sigma < 0.5
    assert parzen(samples, X, sigma).mean() == pytest.approx(-np.log(2 * np.pi * np.e), abs=0.1)
    fits = parzen(samples, held, [sigma / 2, sigma, 2 * sigma]).mean(axis=1)
    assert fits.argmax() == 1
    assert parzen_bandwidth(samples, held, [0.3]) == parzen_bandwidth(samples, held, [0.3] * 4) == 0.3
    for sigmas, which in (([5.0, 6.0, 4.0], "4, the least"), ([1e-3, 2e-3, 3e-3], "0.003, the greatest")):
        with pytest.raises(SettingError, match=f"{which}.*Give (smaller|greater) ones too"):
            parzen_bandwidth(samples[:50], held[:50], sigmas)


def test_r_hat_is_one_of_chains_that_mix():
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((4, 1000))
    assert r_hat(mixed) == pytest.approx(1, abs=0.01)
    apart = mixed + [[0], [0], [0], [3]]
    halves = apart.reshape(8, 500)
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    assert r_hat(apart) == pytest.approx(np.sqrt((499 * within / 500 + between) / within), rel=1e-12)
    assert r_hat(apart) > 1.3
    drift = mixed[:1] + np.linspace(0, 3, 1000)
    assert r_hat(drift) > 1.3, "a single chain that is still on its way"
    both = np.stack([mixed, apart, np.zeros((4, 1000))], axis=2)
    np.testing.assert_allclose(r_hat(both), [r_hat(mixed), r_hat(apart), np.nan], rtol=1e-12)
    assert r_hat(np.repeat([[0.0], [1.0]], 9, axis=1)) == np.inf, "two places that are never left"
    assert r_hat(mixed[:, :5]) == pytest.approx(r_hat(mixed[:, [0, 1, 3, 4]])), "the middle one is left out"


@pytest.mark.parametrize(("call", "problem"), [
    (lambda: roc_auc([0, 1], [1.0]), ShapeError),
    (lambda: roc_auc([[0, 1]], [[1.0, 2.0]]), ShapeError),
    (lambda: roc_auc([0, 0], [1.0, 2.0]), DataError),
    (lambda: roc_auc([1, 1], [1.0, 2.0]), DataError),
    (lambda: roc_auc([0, 1], [1.0, np.nan]), DataError),
    (lambda: roc_auc([0, np.nan], [1.0, 2.0]), DataError),
    (lambda: roc_auc(["0", "1"], [1.0, 2.0]), DtypeError),
    (lambda: roc_auc([0, 1], [1.0, 2j]), DtypeError),
    (lambda: roc_auc([0, 1], [1.0, "a"]), DtypeError),
    (lambda: roc_auc([0, 1], np.array([1.0, {}])), DtypeError),
    (lambda: roc_auc([0, 1], [1.0, None]), DataError),
    (lambda: roc_auc([0, 1], [[1.0], [1.0, 2.0]]), DtypeError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 2)), 1.0), ShapeError),
    (lambda: parzen(np.ones((2, 0)), np.ones((2, 0)), 1.0), ShapeError),
    (lambda: parzen(np.full((2, 3), 1e308), np.ones((2, 3)), 1.0), DataError),
    (lambda: parzen(np.ones((2, 3)), np.full((2, 3), -1e200), 1.0), DataError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)) + 0j, 1.0), DtypeError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), 1e-200), SettingError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), [1.0, 1e200]), SettingError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), "wide"), DtypeError),
    (lambda: parzen_bandwidth(np.ones((2, 3)), np.ones((2, 3)), [[1.0, 2.0]]), SettingError),
    (lambda: parzen(np.ones(3), np.ones((2, 3)), 1.0), ShapeError),
    (lambda: parzen(np.ones((0, 3)), np.ones((2, 3)), 1.0), ShapeError),
    (lambda: parzen(np.ones((2, 3)), np.full((2, 3), np.nan), 1.0), DataError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), 0.0), SettingError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), [1.0, np.inf]), SettingError),
    (lambda: parzen(np.ones((2, 3)), np.ones((2, 3)), []), SettingError),
    (lambda: r_hat(np.ones(9)), ShapeError),
    (lambda: r_hat(np.ones((2, 3))), ShapeError),
    (lambda: r_hat(np.ones((2, 4, 0))), ShapeError),
    (lambda: r_hat([[0, 1, 2, np.nan]]), DataError),
    (lambda: r_hat(np.full((2, 4, 2), np.inf)), DataError),
    (lambda: r_hat(np.linspace(0, 1e308, 8).reshape(2, 4)), DataError),
    (lambda: r_hat(np.ones((2, 4)) + 0j), DtypeError),
])  # fmt: skip
def test_what_cannot_be_measured(call, problem):
    with pytest.raises(problem, match=r"^metrics\.\w+: .*(Give|Leave|Remove|Scale) "):
        call()
