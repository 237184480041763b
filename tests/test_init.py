"""Initialisers: bounds, moments, dtype, and the same seed giving the same bits."""

from functools import partial

import numpy as np
import pytest

from tinyae.errors import DtypeError, SettingError, ShapeError
from tinyae.nn import init

SHAPE = (400, 200)
FAN_IN, FAN_OUT = SHAPE

UNIFORM = {
    "glorot_uniform": np.sqrt(6 / (FAN_IN + FAN_OUT)),
    "he_uniform": np.sqrt(6 / FAN_IN),
    "lecun_uniform": np.sqrt(3 / FAN_IN),
    "pytorch_linear": 1 / np.sqrt(FAN_IN),
    "uniform": 0.05,
}
NORMAL = {
    "glorot_normal": np.sqrt(2 / (FAN_IN + FAN_OUT)),
    "he_normal": np.sqrt(2 / FAN_IN),
    "lecun_normal": np.sqrt(1 / FAN_IN),
    "normal": 0.01,
}


SPECIAL = {  # with settings, name by name: the bound of a uniform one, the deviation of a normal one
    ("variance_scaling", ("scale", 2.0), ("mode", "fan_out")): np.sqrt(6 / FAN_OUT),
    ("variance_scaling", ("mode", "fan_avg"), ("distribution", "normal")): np.sqrt(2 / (FAN_IN + FAN_OUT)),
    ("glorot_uniform", ("gain", 3.0)): 3 * UNIFORM["glorot_uniform"],
    ("glorot_normal", ("gain", 3.0)): 3 * NORMAL["glorot_normal"],
    ("he_uniform", ("gain", 1.0)): np.sqrt(3 / FAN_IN),
    ("he_uniform", ("mode", "fan_out")): np.sqrt(6 / FAN_OUT),
    ("he_normal", ("gain", 0.5), ("mode", "fan_out")): 0.5 * np.sqrt(1 / FAN_OUT),
}


@pytest.mark.parametrize("name", sorted(UNIFORM))
def test_uniform_ones_fill_their_interval(name):
    x, bound = init.initialise(name, SHAPE, 0, "float64"), UNIFORM[name]
    assert 0.999 * bound < np.abs(x).max() <= bound
    assert abs(x.mean()) < 4 * bound / np.sqrt(3 * x.size)
    assert abs(x.std() / (bound / np.sqrt(3)) - 1) < 0.01


@pytest.mark.parametrize("name", sorted(NORMAL))
def test_normal_ones_have_their_deviation(name):
    x, std = init.initialise(name, SHAPE, 0, "float64"), NORMAL[name]
    assert abs(x.mean()) < 4 * std / np.sqrt(x.size)
    assert abs(x.std() / std - 1) < 0.01
    assert abs(np.mean((x / std) ** 4) - 3) < 0.1  # a normal distribution's, not a uniform one's 1.8


@pytest.mark.parametrize("case", sorted(SPECIAL), ids=str)
def test_settings(case):
    name, *settings = case
    x = getattr(init, name)(SHAPE, init.as_rng(0), "float64", **dict(settings))
    if "normal" in str(case):
        assert abs(x.std() / SPECIAL[case] - 1) < 0.01 and np.abs(x).max() > 3 * SPECIAL[case]
    else:
        assert 0.999 * SPECIAL[case] < np.abs(x).max() <= SPECIAL[case]


def test_fans_of_kernels():
    """(out, in, height, width): an output adds up in * 6 inputs, an input reaches out * 6 outputs."""
    shape = (40, 20, 2, 3)
    for name, bound in [("lecun_uniform", np.sqrt(3 / 120)), ("glorot_uniform", np.sqrt(6 / 360)),
                        ("pytorch_linear", np.sqrt(1 / 120))]:  # fmt: skip
        assert 0.995 * bound < np.abs(init.initialise(name, shape, 0, "float64")).max() <= bound, name
    kernel = init.initialise("orthogonal", (5, 2, 3), 0, "float64")
    assert kernel.shape == (5, 2, 3)
    np.testing.assert_allclose(kernel.reshape(5, 6) @ kernel.reshape(5, 6).T, np.eye(5), atol=1e-12)


def test_gain():
    assert init.gain("relu") == np.sqrt(2) and init.gain("tanh") == 5 / 3 and init.gain("selu") == 0.75
    assert init.gain("linear") == init.gain("sigmoid") == init.gain("identity") == 1
    assert init.gain("leaky_relu", 0.5) == np.sqrt(2 / 1.25)
    with pytest.raises(SettingError, match="gain: activation='gelu'. Give one of identity, leaky_relu"):
        init.gain("gelu")


def test_the_identity():
    assert init.initialise("eye", (2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.identity((2, 2), gain=0.5).tolist() == [[0.5, 0], [0, 0.5]]
    kernel = init.initialise("dirac", (3, 2, 3, 3))
    x = np.random.default_rng(0).standard_normal((2, 5, 5))
    places = [(i, j) for i in range(3) for j in range(3)]
    y = sum(np.einsum("oc,chw->ohw", kernel[:, :, i, j], x[:, i : i + 3, j : j + 3]) for i, j in places)
    assert np.array_equal(y, np.concatenate([x[:, 1:-1, 1:-1], np.zeros((1, 3, 3))]))
    for name, shape in [("identity", (2, 2, 1)), ("identity", (2,)), ("dirac", (2, 2))]:
        with pytest.raises(ShapeError, match=name):
            init.initialise(name, shape)


def test_sparse():
    x = init.initialise("sparse", (50, 200), 0, "float64")
    assert ((x != 0).sum(axis=0) == 5).all(), "five of fifty, in every unit"
    assert abs(x[x != 0].std() / 0.01 - 1) < 0.1 and len(set(map(tuple, (x != 0).T))) > 150
    assert (init.sparse((7, 3), init.as_rng(0), sparsity=0.5) != 0).sum() == 4 * 3  # 3.5 zeros are 3
    for sparsity in (0, 1):
        assert (init.sparse((7, 3), init.as_rng(0), sparsity=sparsity) == 0).all() == sparsity
    with pytest.raises(ShapeError, match="sparse"):
        init.initialise("sparse", (3,))
    with pytest.raises(SettingError, match="sparsity=2"):
        init.sparse((3, 3), init.as_rng(0), sparsity=2)


@pytest.mark.parametrize("bad", [{"scale": 0}, {"mode": "fan"}, {"distribution": "cauchy"}])
def test_variance_scaling_refuses(bad):
    with pytest.raises(SettingError, match="variance_scaling: scale="):
        init.variance_scaling((3, 3), init.as_rng(0), **bad)


def test_truncated_normal():
    x = init.initialise("truncated_normal", SHAPE, 0, "float64")
    assert 0.0199 < np.abs(x).max() <= 0.02
    assert abs(x.std() / 0.008796 - 1) < 0.01  # the deviation of a normal distribution cut at 2
    assert abs(x.mean()) < 1.3e-4


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4)])
def test_orthogonal(shape):
    x = init.initialise("orthogonal", shape, 0, "float64")
    product = x.T @ x if shape[0] >= shape[1] else x @ x.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-12)
    assert x.flags.c_contiguous
    np.testing.assert_allclose(init.orthogonal(shape, init.as_rng(0), "float64", gain=2.0), 2 * x)
    with pytest.raises(ShapeError, match="not that of a matrix"):
        init.initialise("orthogonal", (3,))


def test_orthogonal_has_no_preferred_signs():
    """QR alone gives q a diagonal of one sign, and matrices far from uniform."""
    traces = [np.trace(init.initialise("orthogonal", (3, 3), seed)) for seed in range(300)]
    assert abs(np.mean(traces)) < 0.25 and 0.8 < np.var(traces) < 1.25  # of the uniform distribution: 0 and 1


def test_constants():
    assert not init.initialise("zeros", (3, 2)).any()
    assert (init.initialise("ones", (3, 2)) == 1).all()
    assert (init.initialise("constant", (3,)) == np.float32(0.1)).all()
    assert (init.constant((2,), value=3) == 3).all()


@pytest.mark.parametrize("name", sorted(init.INITIALISERS))
def test_same_seed_same_bits_in_both_dtypes(name):
    shape = (6, 5, 3) if name == "dirac" else (6, 5)
    a, b, wide = (init.initialise(name, shape, 3, dtype) for dtype in ("float32", np.float32, np.float64))
    assert a.shape == shape and a.dtype == np.float32 and wide.dtype == np.float64
    assert np.array_equal(a, b) and np.array_equal(a, wide.astype(np.float32))
    assert a.flags.writeable and a.flags.c_contiguous
    other = init.initialise(name, shape, 4)
    assert np.array_equal(a, other) == (name in ("zeros", "ones", "constant", "identity", "eye", "dirac"))


def test_names_are_the_functions():
    others = {"eye": init.identity, "torch": init.pytorch_linear, "xavier_uniform": init.glorot_uniform,
              "xavier_normal": init.glorot_normal, "kaiming_uniform": init.he_uniform,
              "kaiming_normal": init.he_normal}  # fmt: skip
    for name, function in init.INITIALISERS.items():
        assert function is (others[name] if name in others else getattr(init, name))
    tested = {*UNIFORM, *NORMAL, *others, "truncated_normal", "orthogonal", "zeros", "ones", "constant", "identity",
              "dirac", "sparse", "variance_scaling"}  # fmt: skip
    assert tested == set(init.INITIALISERS)


def test_fans():
    bias = init.initialise("he_uniform", (5000,), 0, fans=(6, 5000))
    assert 0.999 < np.abs(bias).max() <= 1
    assert not init.initialise("zeros", (3,), fans=(2, 3)).any()
    with pytest.raises(ShapeError, match="fans"):
        init.initialise("he_uniform", (3,))


def test_callables():
    assert (init.initialise(lambda shape, rng, dtype: np.full(shape, 2), (2, 3)) == 2).all()
    assert init.initialise(lambda shape, rng, dtype: rng.random(shape), (2, 3)).dtype == np.float32
    assert init.initialise(partial(init.normal, std=5.0), (50, 50), 0).std() > 4
    with pytest.raises(ShapeError, match=r"\(3, 2\) where \(2, 3\)"):
        init.initialise(lambda shape, rng, dtype: np.zeros(shape[::-1]), (2, 3))
    made = np.zeros((2, 2), np.float32)
    assert not np.shares_memory(init.initialise(lambda *_: made, (2, 2)), made)


def test_errors():
    for bad in ("xavier", None, ("normal",), ["normal"]):
        with pytest.raises(SettingError, match="glorot_uniform"):
            init.initialise(bad, (2, 2))
    for bad in ("a", -1, 1.5, True):
        with pytest.raises(SettingError, match="generator="):
            init.initialise("normal", (2, 2), bad)
    for bad in ("int8", "float16", "nonsense"):
        with pytest.raises(DtypeError):
            init.initialise("normal", (2, 2), 0, bad)
