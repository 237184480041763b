"""What is done with codes: interpolate, traverse, manifold, neighbours, counts. Known answers of a linear decoder."""

import functools

import numpy as np
import pytest

import tinyae
from tinyae import data
from tinyae.errors import DataError, DtypeError, SettingError, ShapeError


@functools.cache
def digits():
    return data.as_float(data.load_data("digits").X[:300], scale=16)


@functools.cache
def model(k=3, cls=tinyae.LinearAutoencoder):
    return cls(k, max_iter=3, random_state=0).fit(digits())


def test_interpolation():
    X = digits()
    z0, z1 = model().transform(X[:2]).astype(np.float64)
    line = model().interpolate(X[0], X[1], steps=5)
    codes = z0 + np.linspace(0, 1, 5)[:, None] * (z1 - z0)
    np.testing.assert_allclose(line, model().inverse_transform(codes), atol=1e-5)
    np.testing.assert_allclose(line[[0, -1]], model().reconstruct(X[:2]), atol=1e-5)


def test_the_spherical_way_turns_at_constant_speed():
    X = digits()
    told = model().interpolate(X[0], X[1], steps=9, how="spherical")
    w, b = (p.data.astype(np.float64) for p in model().net_.decoder[0].parameters())
    codes = (told - b) @ np.linalg.pinv(w)
    z0, z1 = model().transform(X[:2]).astype(np.float64)
    np.testing.assert_allclose(codes[[0, -1]], [z0, z1], atol=1e-4)

    def angle(u, v):
        return np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))

    # The way of two vectors of unequal length turns evenly after they are scaled to one length each.
    a, c = np.linalg.lstsq(np.stack([z0, z1]).T, codes.T, rcond=None)[0]
    units = a[:, None] * z0 / np.linalg.norm(z0) + c[:, None] * z1 / np.linalg.norm(z1)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose([angle(u, v) for u, v in zip(units, units[1:])], angle(z0, z1) / 8, atol=1e-3)
    same = model().interpolate(X[0], X[0], how="spherical")
    np.testing.assert_allclose(same, np.repeat(model().reconstruct(X[:1]), 8, axis=0), atol=1e-5)


def test_traversal_moves_one_component():
    X = digits()
    told = model().traverse(X[0], values=(-1, 0, 2))
    assert told.shape == (3, 3, 64)
    code = model().transform(X[:1])[0]
    for j in range(3):
        for i, value in enumerate((-1, 0, 2)):
            moved = code.copy()
            moved[j] = value
            np.testing.assert_allclose(told[j, i], model().inverse_transform(moved[None])[0], atol=1e-6)
    np.testing.assert_array_equal(model().traverse(X[0], values=(-1, 0, 2), components=[2]), told[2:])


def test_the_manifold_is_a_grid():
    flat = model(2)
    grid = flat.manifold(4, low=-1, high=2)
    assert grid.shape == (4, 4, 64)
    np.testing.assert_allclose(grid[0, 0], flat.inverse_transform([[-1, 2]])[0], atol=1e-6)
    np.testing.assert_allclose(grid[3, 1], flat.inverse_transform([[0, -1]])[0], atol=1e-6)
    vae = model(2, tinyae.VAE)
    quarter = 0.6744897501960817  # of the normal distribution
    grid = vae.manifold(3, low=-quarter, high=quarter)
    np.testing.assert_allclose(grid[1, 1], vae.inverse_transform([[0, 0]])[0], atol=1e-6)
    np.testing.assert_allclose(grid[2, 2], vae.inverse_transform([[quarter, -quarter]])[0], atol=1e-6)
    even = vae.manifold(5)
    assert np.linalg.norm(even[0, 1] - even[0, 0]) > 1.2 * np.linalg.norm(even[0, 2] - even[0, 1]), "equally likely"


def test_neighbours():
    X = digits()
    indices, distances = model().neighbours(X, X[:7], k=4)
    assert indices.shape == distances.shape == (7, 4)
    np.testing.assert_array_equal(indices[:, 0], range(7))
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-6)
    codes = model().transform(X).astype(np.float64)
    away = np.linalg.norm(codes[:, None] - codes[:7], axis=2)
    np.testing.assert_allclose(distances, np.sort(away, axis=0)[:4].T, atol=1e-6)


def test_counting_codes():
    X = digits()
    sparse = tinyae.SparseAutoencoder(20, max_iter=3, random_state=0).fit(X)
    codes = sparse.transform(X)
    assert sparse.fraction_of_zero_codes(X) == np.mean(codes == 0) > 0
    assert sparse.fraction_of_zero_codes(X, tolerance=0.5) == np.mean(codes <= 0.5)
    counts, edges = sparse.code_histogram(X, bins=9)
    assert counts.sum() == codes.size and len(edges) == 10


def test_activity():
    X = digits()
    sparse = tinyae.SparseAutoencoder(20, max_iter=3, random_state=0).fit(X)
    codes = sparse.transform(X)
    mean, share = sparse.activity(X, threshold=0.5)
    np.testing.assert_allclose(mean, codes.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(share, (codes > 0.5).mean(axis=0))
    assert np.mean(sparse.activity(X)[1]) == pytest.approx(1 - sparse.fraction_of_zero_codes(X))
    signed = model().transform(X)
    np.testing.assert_array_equal(model().activity(X, 0.5)[1], (np.abs(signed) > 0.5).mean(axis=0))


@pytest.mark.parametrize("bits", [1, 3, 12])
def test_quantised_codes_are_within_half_a_step(bits):
    X = digits()
    levels, ranges = model().compress(X, bits)
    codes = model().transform(X).astype(np.float64)
    np.testing.assert_array_equal(ranges, [codes.min(axis=0), codes.max(axis=0)])
    assert levels.min() == 0 and levels.max() == 2**bits - 1
    steps = (ranges[1] - ranges[0]) / 2**bits
    middle = ranges[0] + (levels + 0.5) * steps
    assert np.all(np.abs(middle - codes) <= steps / 2 + 1e-12)
    np.testing.assert_allclose(
        model().decompress(levels, ranges, bits), model().inverse_transform(middle), atol=1e-6
    )
    outside, same = model().compress(4 * X, bits, ranges)
    assert np.array_equal(same, ranges)
    assert outside.min() == 0 and outside.max() == 2**bits - 1, "what lies outside takes the nearest step"


def test_more_bits_lose_less():
    X = digits()
    plain, entropy, error = model().rate_distortion(X, bits=(1, 2, 4, 8))
    np.testing.assert_array_equal(plain, np.array([1, 2, 4, 8]) * 3)
    assert np.all(entropy <= np.minimum(plain, 3 * np.log2(len(X)))) and np.all(np.diff(entropy) > 0)
    assert np.all(np.diff(error) < 0)
    assert error[-1] == pytest.approx(np.mean((model().reconstruct(X) - X) ** 2), rel=1e-3)
    levels, ranges = model().compress(X, 2)
    by_hand = sum(-(p := np.mean(column == q)) * np.log2(p) for column in levels.T for q in set(column.tolist()))
    assert entropy[1] == pytest.approx(by_hand)
    assert error[1] == pytest.approx(np.mean((model().decompress(levels, ranges, 2) - X) ** 2), rel=1e-5)


def test_bytes_are_compressed_as_they_were_learned():
    X = np.round(digits() * 255).astype(np.uint8)
    bytes_, floats = model().rate_distortion(X, (4,)), model().rate_distortion(X / 255.0, (4,))
    np.testing.assert_allclose(bytes_, floats, rtol=1e-6)


def test_codes_far_outside_the_ranges():
    """Narrow ranges, over which a code overflows, and ranges of one value."""
    codes = model().transform(digits())
    levels, _ = model().compress(digits(), 8, [[0.0] * 3, [5e-324] * 3])
    np.testing.assert_array_equal(levels, np.where(codes > 0, 255, 0))
    levels, ranges = model().compress(digits(), 8, [[0.0] * 3, [0.0] * 3])
    assert np.isfinite(model().decompress(levels, ranges)).all()


RANGES = np.repeat([[0.0], [1.0]], 3, axis=1)


@pytest.mark.parametrize(("call", "problem"), [
    (lambda m, X: m.activity(X, threshold=-1), SettingError),
    (lambda m, X: m.compress(X, bits=0), SettingError),
    (lambda m, X: m.compress(X, bits=33), SettingError),
    (lambda m, X: m.compress(X, ranges=np.zeros((3, 2))), ShapeError),
    (lambda m, X: m.compress(X, bits="8"), SettingError),
    (lambda m, X: m.compress(X, ranges=[["a"] * 3] * 2), DtypeError),
    (lambda m, X: m.compress(X, ranges=[[0, 0], [1]]), DtypeError),
    *[(lambda m, X, pair=pair: m.compress(X, ranges=np.repeat([pair], 3, axis=0).T), DataError)
      for pair in ((0, np.nan), (-np.inf, 0), (1, 0), (-1e308, 1e308), (0, 1e308))],
    (lambda m, X: m.decompress(np.zeros((5, 3), int), np.zeros(3)), ShapeError),
    (lambda m, X: m.decompress(np.zeros((5, 3), int), RANGES[::-1]), DataError),
    (lambda m, X: m.decompress(np.zeros((5, 1), int), RANGES), ShapeError),
    (lambda m, X: m.decompress(np.full((5, 3), 256), RANGES), DataError),
    (lambda m, X: m.decompress(np.full((5, 3), -1), RANGES), DataError),
    (lambda m, X: m.decompress(np.full((5, 3), 0.5), RANGES), DataError),
    (lambda m, X: m.decompress(np.full((5, 3), "1"), RANGES), DtypeError),
    (lambda m, X: m.decompress(np.zeros((5, 3), int), RANGES, bits=8.0), SettingError),
    (lambda m, X: tinyae.Autoencoder().decompress(np.zeros((5, 3), int), RANGES), tinyae.errors.NotFittedError),
    (lambda m, X: m.rate_distortion(X, bits=8), SettingError),
    (lambda m, X: m.rate_distortion(X, bits=(1, 2.0)), SettingError),
    (lambda m, X: m.rate_distortion(X, ranges=RANGES[::-1]), DataError),
    (lambda m, X: m.interpolate(X[0], X[1], steps=1), SettingError),
    (lambda m, X: m.interpolate(X[0], X[1], how="round"), SettingError),
    (lambda m, X: m.interpolate(X[:2], X[1]), ShapeError),
    (lambda m, X: m.traverse(X), ShapeError),
    (lambda m, X: m.traverse(X[0], components=[3]), SettingError),
    (lambda m, X: m.manifold(), SettingError),
    (lambda m, X: m.neighbours(X, X, k=0), SettingError),
    (lambda m, X: m.neighbours(X, X, k=301), SettingError),
    (lambda m, X: m.fraction_of_zero_codes(X, tolerance=-1), SettingError),
    (lambda m, X: tinyae.Autoencoder().manifold(), tinyae.errors.NotFittedError),
])  # fmt: skip
def test_what_cannot_be_asked(call, problem):
    with pytest.raises(problem, match=r"^\w+\.\w+: "):
        call(model(), digits())
