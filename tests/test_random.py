"""Noise: Philox against its published vectors, NumPy against C, and the generator's manners."""

import numpy as np
import pytest

from tinyae import Generator, Tensor, errors, gradcheck, kernels, ops
from tinyae.ops import random

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 1000]


def words(key, counter, block):
    return [hex(word) for word in random._philox(np.uint64(key), counter, np.array([block], np.uint64))[0]]


def test_known_answers():
    """The vectors of Random123 (Salmon et al. 2011) for philox4x32-10."""
    assert words(0, 0, 0) == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    full = 2**64 - 1
    assert words(full, full, full) == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]
    key, counter, block = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88
    assert words(key, counter, block) == ["0xd16cfe09", "0x94fdcceb", "0x5001e420", "0x24126ea1"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_numpy_equals_c(n, dtype):
    if kernels.info()["backend"] != "c":
        pytest.skip("the backend is NumPy: there is no C to test")
    for kind in ("uniform", "bernoulli", "normal"):
        numpy, c = np.full(n, np.nan, dtype), np.full(n, np.nan, dtype)
        numpy[:] = random._NOISE[kind](n, numpy.dtype, np.uint64(2**63 + 12345), 2**40 + 7, 0.3)
        assert kernels.noise(kind, c, 2**63 + 12345, 2**40 + 7, 0.3)
        if kind == "normal":
            assert np.all(np.abs(numpy - c) <= 4 * np.spacing(np.maximum(np.abs(numpy), 0.25).astype(dtype)))
        else:
            assert np.array_equal(numpy, c)


def on_numpy(monkeypatch, backend):
    if backend == "numpy":
        monkeypatch.setattr(kernels, "noise", lambda *_: False)


@pytest.mark.parametrize("backend", ["as installed", "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(backend, dtype, monkeypatch):
    on_numpy(monkeypatch, backend)
    n = 200_000
    g = Generator(3)
    u, z, b = (g.draw(kind, (n,), dtype, 0.3) for kind in ("uniform", "normal", "bernoulli"))
    assert u.dtype == z.dtype == b.dtype == dtype
    assert u.min() >= 0 and u.max() < 1
    assert np.histogram(u, 10, (0, 1))[0] == pytest.approx(n / 10, rel=0.03)
    moments = [np.mean(z.astype(np.float64) ** k) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.06)
    assert abs(np.mean(z[::2] * z[1::2])) < 0.01, "the two normals of a pair are independent"
    assert set(np.unique(b)) == {0.0, 1.0} and b.mean() == pytest.approx(0.3, abs=0.005)


def test_generator():
    g = Generator(5)
    first = g.draw("uniform", (3, 2))
    assert first.shape == (3, 2) and g.counter == 1
    assert not np.array_equal(first, g.draw("uniform", (3, 2)))
    g.counter = 0
    assert np.array_equal(first, g.draw("uniform", (3, 2)))
    assert not np.array_equal(first, Generator(6).draw("uniform", (3, 2)))
    assert repr(Generator(5)) == "Generator(seed=5, counter=0)"
    assert Generator(g).key == 5 and Generator(-1).key == 2**64 - 1
    assert Generator(np.random.default_rng(1)).key == Generator(np.random.default_rng(1)).key
    assert Generator().key != Generator().key
    g.counter = 2**64 - 1
    g.draw("uniform", ())
    assert g.counter == 0
    with pytest.raises(errors.SettingError, match="seed='x'"):
        Generator("x")
    with pytest.raises(errors.DtypeError, match="float16"):
        g.draw("normal", (2,), np.float16)


def test_ops_take_shape_and_dtype_and_need_no_gradient():
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    for op in (ops.uniform, ops.normal, ops.bernoulli):
        noise = op(x, generator=Generator(0))
        assert type(noise) is Tensor and noise.shape == (2, 3) and noise.dtype == np.float64 and not noise.requires_grad
    with pytest.raises(errors.SettingError, match="p=1.5"):
        ops.bernoulli(x, generator=Generator(0), p=1.5)


def test_dropout():
    x = np.ones(10_000)
    y = ops.dropout(x, p=0.25, generator=Generator(0))
    assert set(np.unique(y)) == {0.0, 1 / 0.75} and y.mean() == pytest.approx(1, abs=0.02)
    assert gradcheck(lambda t: ops.dropout(t, p=0.25, generator=Generator(0)), np.arange(5.0))
    with pytest.raises(errors.SettingError, match="p=1.0"):
        ops.dropout(x, p=1.0, generator=Generator(0))


@pytest.mark.parametrize("backend", ["as installed", "numpy"])
@pytest.mark.parametrize("kind", ["uniform", "normal", "bernoulli"])
def test_a_key_for_each_row(backend, kind, monkeypatch):
    """Each row is what its key alone draws, wherever it stands."""
    on_numpy(monkeypatch, backend)
    keys = np.array([7, 2**64 - 1, 7, 0], np.uint64)
    for dtype in (np.float32, np.float64):
        for shape in ((4, 5), (4, 2, 3), (4, 1), (4,)):
            out = np.full(shape, np.nan, dtype)
            random._fill(kind, out, keys, 9, 0.3)
            for row, key in zip(out, keys):
                alone = np.full(shape[1:], np.nan, dtype)
                random._fill(kind, alone, int(key), 9, 0.3)
                assert np.array_equal(row, alone)
            assert np.array_equal(out[0], out[2])
