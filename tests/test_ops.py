"""Every op in OPS, asked the same questions. What to feed it stands in `cases/`; what is special about one, below."""

import math
import re
from contextlib import nullcontext

import numpy as np
import pytest
from cases import BAD, CASES, COMPOSED, NOISE, ROWS, SCALAR, SURROGATE, TRUTH, function, truth
from hypothesis import given
from hypothesis import strategies as st

from tinyae import Generator, Tensor, grad, gradcheck, kernels, ops
from tinyae.engine import OPS, _leaf, _wrap
from tinyae.errors import AxisError, DtypeError, GraphError, SettingError, ShapeError, TinyaeError

ASKED = {**CASES, **{name: row for name, (row, _) in COMPOSED.items()}}
EVERY = pytest.mark.parametrize("name", sorted(ASKED))
SMOOTH = pytest.mark.parametrize("name", sorted(n for n in ASKED if n in COMPOSED or OPS[n].rules))
ISAS = [isa for isa in ("scalar", "neon", "avx2", "avx512") if isa in kernels.info()["isas_supported"]]


def run(name, arrays, settings):
    """The op, or composed function, on arrays or Tensors, noise from the start of its stream."""
    if "generator" in settings:
        settings["generator"].counter = 0
    return function(name)(*arrays, **settings)


def leaf(array):
    """A leaf that holds this very array, whatever its layout; the constructor would copy it into C order."""
    return _wrap(Tensor, array, _leaf(array, None) if array.dtype.kind == "f" else None, None)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_every_op_has_a_case_and_a_truth():
    assert set(CASES) == set(OPS), "add a row to tests/cases/, or declare the op elementwise"
    assert {*SCALAR, *TRUTH, *NOISE} == {*OPS, *COMPOSED}
    assert not [name for name in ROWS if OPS[name].elementwise], "an element-wise op needs no row"
    assert not set(COMPOSED) & set(OPS)


@EVERY
@given(data=st.data())
def test_forward(name, data):
    """The definition's values from any layout; inputs untouched, no aliasing, the same bits twice and from Tensors."""
    arrays, settings = ASKED[name](data.draw)
    before = [x.copy() for x in arrays]
    y = np.asarray(run(name, arrays, settings))
    expected = truth(name, arrays, settings)
    if expected is not None:
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
        assert y.shape == expected.shape
    assert all(map(same_bits, arrays, before)), "an input changed"
    if name in COMPOSED or not OPS[name].view:
        assert not any(np.may_share_memory(y, x) for x in arrays), "the result shares memory with an input"
    assert same_bits(y, np.asarray(run(name, arrays, settings))), "two runs differ"
    for make in (leaf, lambda x: _wrap(Tensor, x, None, None)):
        t = run(name, [make(x) for x in arrays], settings)
        assert type(t) is Tensor and t.dtype == y.dtype
        if name in COMPOSED:  # of no axes, an array becomes a scalar between two ops, and C does not compute that
            np.testing.assert_allclose(t._data, y, rtol=1e-14)
        else:
            assert same_bits(t._data, y)
        assert t.requires_grad == (make is leaf and (name in COMPOSED or bool(OPS[name].rules)))


@SMOOTH
@given(data=st.data())
def test_gradient(name, data):
    """Finite differences along random directions, first and second order, against a random upstream gradient."""
    if name in SURROGATE:
        return  # has a test of its own
    arrays, settings = ASKED[name](data.draw)
    gradcheck(lambda *xs: run(name, xs, settings), *arrays, order=2, directions=1, seed=data.draw(st.integers(0, 99)))


@SMOOTH
@given(data=st.data())
def test_gradient_is_an_array_of_its_own(name, data):
    """Exact shape and dtype, from any layout of inputs and g; the same bits twice; nothing written, nothing shared."""
    arrays, settings = ASKED[name](data.draw)
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    arrays = [x.astype(dtype, order="K") if x.dtype.kind == "f" else x for x in arrays]
    leaves = [leaf(x) for x in arrays]
    wanted = [t for t in leaves if t.requires_grad]
    y = run(name, leaves, settings)
    g = np.random.default_rng(0).standard_normal(y.shape[::-1]).astype(y.dtype).T
    before = [x.copy() for x in (*arrays, g)]
    first = grad(y, wanted, g, retain_graph=True)
    again = grad(y, wanted, Tensor(g, dtype=y.dtype), create_graph=True)
    for t, a, b in zip(wanted, first, again):
        assert a.dtype == b.dtype == t.dtype and a.shape == b.shape == t.shape
        assert not a.requires_grad
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
    assert all(same_bits(a.data, b.data) for a, b in zip(first, grad(y, wanted, g))), "two backward passes differ"
    assert all(map(same_bits, (*arrays, g), before)), "backward wrote into an input or into g"
    held = [*arrays, g, *(a._data for a in first)]
    for i, a in enumerate(first):
        assert a._data.flags.writeable
        assert not any(np.may_share_memory(a._data, x) for x in held if x is not a._data), f"gradient {i} is shared"


@EVERY
@given(data=st.data())
def test_float32_stays_float32(name, data):
    arrays, settings = ASKED[name](data.draw)
    if name == "cast":
        settings = {"dtype": np.dtype(np.float32)}
    wide = np.asarray(run(name, arrays, settings))
    narrow = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in arrays]
    y = np.asarray(run(name, narrow, settings))
    if wide.dtype != np.float64:
        return  # bool, indices
    assert y.dtype == np.float32
    if name not in NOISE:
        np.testing.assert_allclose(y, wide, rtol=2e-4, atol=2e-5)


# -- C against NumPy ------------------------------------------------------------------------------------------------

ULP = {"log_softmax": 8, "softmax": 8, "rnn": 64, "lstm": 64, "gru": 64, "_bce_sum": 16, "_kl_sum": 16}
ULP["gelu"] = 16  # Phi's tail magnifies the rounding of its argument
IN_C = sorted(set(kernels.FORWARD) & set(OPS))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", IN_C)
@given(data=st.data())
def test_kernel_is_the_definition(name, dtype, isa, data):
    """On every instruction set, any shape and layout, within ULP units in the last place (4 if not listed)."""
    arrays, settings = CASES[name](data.draw)
    narrow = [x.astype(dtype, order="K") if x.dtype.kind == "f" else x for x in arrays]
    settings = {**OPS[name].defaults, **settings}
    with kernels.use_isa(isa):
        y = kernels.FORWARD[name](*narrow, **settings)
    if y is None:
        return  # not the kernel's case
    wide = [x.astype(np.float64) for x in narrow]
    expected = np.asarray(OPS[name].definition(*wide, **settings))
    assert y.shape == expected.shape and y.dtype == (np.int64 if name.startswith("arg") else dtype)
    unit = np.abs(expected)
    if not OPS[name].elementwise:  # terms may cancel: what counts is the size that they have together
        unit = np.maximum(1, np.abs(OPS[name].definition(*map(np.abs, wide), **settings)))
    assert np.all(np.abs(y - expected) <= ULP.get(name, 4) * np.finfo(dtype).eps * unit + np.finfo(dtype).tiny)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("key", sorted(kernels.BACKWARD), ids="-".join)
@given(data=st.data())
def test_kernel_is_the_rule(key, isa, data):
    """A float32 gradient from the fused C rule equals the Python rule's."""
    name, argument = key
    arrays, settings = CASES[name](data.draw)
    arrays = [np.asarray(x, np.float32) for x in arrays]
    settings = {**OPS[name].defaults, **settings}
    rule, kernel, names = OPS[name].rules[argument]
    y = np.asarray(OPS[name].definition(*arrays, **settings))
    named = {"y": y, **dict(zip(OPS[name].arguments, arrays)), **settings}
    kept = [named[n] for n in names]
    g = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    with kernels.use_isa(isa):
        out = kernel(g, *kept)
    if out is None:
        return
    expected = rule(g, *kept)
    together = isinstance(expected, tuple)  # the gradients of several arguments
    assert not together or len(out) == len(expected)
    for got, said in zip(out, expected) if together else [(out, expected)]:
        assert got.dtype == np.float32 and got.shape == said.shape
        size = np.abs(said).max(initial=1) if together else 1  # sums of many terms, which may cancel
        np.testing.assert_allclose(got, said, rtol=1e-5, atol=1e-6 * size * (10 if together else 1))


# -- errors ---------------------------------------------------------------------------------------------------------

x23, x45 = np.ones((2, 3)), np.ones((4, 5))
REFUSED = BAD + [
    (ShapeError, name, (x23, x45), {}) for name, op in OPS.items() if op.elementwise and len(op.arguments) == 2
]


@pytest.mark.parametrize(("error", "name", "arrays", "settings"), REFUSED)
@pytest.mark.parametrize(
    "make", [np.asarray, lambda x: Tensor(x, requires_grad=x.dtype.kind == "f")], ids=["arrays", "tensors"]
)
def test_error_names_the_op_and_every_shape(error, name, arrays, settings, make):
    if any(x.dtype.kind == "U" for x in arrays):
        make = np.asarray
    with pytest.raises(error) as caught:
        run(name, [make(x) for x in arrays], settings)
    assert isinstance(caught.value, TinyaeError)
    text = str(caught.value)
    assert re.match(rf"{name}: ", text)
    if error in (ShapeError, AxisError):
        assert all(str(np.shape(x)) in text for x in arrays), text
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ or caught.value.__context__ is None


def test_every_op_refuses_something():
    """A new op gets an error row above, unless it takes one operand of any shape and has no settings to get wrong."""
    refuses = {name for _, name, _, _ in REFUSED}
    alone = {name for name, op in OPS.items() if len(op.arguments) == 1 and op.elementwise and not op.settings}
    internal = {"sum_to", "cast", *(name for name in OPS if name.startswith("_"))}
    assert set(OPS) - refuses - alone - internal == {"uniform"}


# -- conventions: where a docstring chooses -------------------------------------------------------------------------


def slope(f, *values):
    """The gradients of f(*values).sum(), by the kernels and, as they must agree, by the rules; in proportion to g."""
    leaves = [Tensor(v, requires_grad=True, dtype=np.float64) for v in values]
    gradients = grad(f(*leaves).sum(), leaves)
    thrice = grad(f(*leaves).sum() * 3.0, leaves)
    for g, recorded, more in zip(gradients, grad(f(*leaves).sum(), leaves, create_graph=True), thrice):
        np.testing.assert_allclose(g.data, recorded.data, rtol=1e-14)
        np.testing.assert_allclose(more.data, 3 * g.data, rtol=1e-14)
    return [g.tolist() for g in gradients]


def test_kinks():
    assert slope(ops.relu, [-1.0, 0.0, -0.0, 2.0]) == [[0, 0, 0, 1]]
    assert slope(ops.abs, [-1.0, 0.0, 2.0]) == [[-1, 0, 1]]
    assert slope(ops.sign, [-1.0, 0.0, 2.0]) == [[0, 0, 0]]
    assert slope(lambda x: ops.leaky_relu(x, slope=0.5), [-1.0, 0.0, 2.0]) == [[0.5, 0.5, 1]]
    assert slope(lambda x: ops.elu(x, alpha=2.0), [0.0, 2.0]) == [[2, 1]]
    assert slope(lambda x: ops.clip(x, low=0.0, high=1.0), [-1.0, 0.0, 0.5, 1.0, 2.0]) == [[0, 1, 1, 1, 0]]


def test_ties():
    assert slope(ops.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert slope(ops.minimum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 1, 0], [0.5, 0, 1]]
    assert slope(lambda x: x.max(), [[1.0, 3.0], [3.0, 3.0]]) == [[[0, 1 / 3], [1 / 3, 1 / 3]]]
    assert slope(lambda x: x.min(axis=1), [[1.0, 3.0], [3.0, 3.0]]) == [[[1, 0], [0.5, 0.5]]]


def test_ties_and_nan_send_the_gradient_both_ways():
    """Where the larger one is NaN nobody can say which operand that was."""
    assert slope(ops.maximum, [math.nan, 1.0], [1.0, math.nan]) == [[1, 1], [1, 1]]
    assert slope(ops.minimum, [math.nan, 1.0], [1.0, math.nan]) == [[1, 1], [1, 1]]
    assert np.isnan(slope(lambda x: x.max(), [1.0, math.nan])).all()


def test_powers_at_zero():
    assert slope(lambda x: x**0, [0.0, 2.0]) == [[0, 0]]
    assert slope(lambda x: x**1, [0.0, 2.0]) == [[1, 1]]
    assert slope(lambda x: x**2, [0.0, -3.0]) == [[0, -6]]
    assert slope(lambda x: x**3, [0.0, -2.0]) == [[0, 12]]
    assert slope(lambda a, b: a**b, [0.0, 2.0], [2.0, 3.0]) == [[0, 12], [0, 8 * math.log(2)]]
    assert slope(lambda a, b: a**b, [0.0, 0.0, 0.0], [0.0, 0.5, -1.0])[1] == [0, 0, -math.inf]
    assert slope(lambda b: 0.0**b, [0.0, 0.5, -1.0]) == [[0, 0, -math.inf]]


def test_second_derivative_of_a_power_at_exponent_zero():
    assert gradcheck(ops.pow, np.array([2.0, 0.5]), np.array([0.0, 0.0]), order=2)
    a = Tensor([0.0, 2.0], requires_grad=True)
    assert grad((a**0).sum(), a).tolist() == [0, 0]


def test_recorded_and_plain_gradients_agree_at_infinity():
    for activation in (ops.elu, ops.relu, ops.leaky_relu, ops.softplus, ops.sigmoid, ops.tanh):
        x = Tensor([np.inf, -np.inf, 800.0, -800.0], requires_grad=True, dtype=np.float64)
        plain = grad(activation(x), x, np.ones(4)).data
        recorded = grad(activation(x), x, np.ones(4), create_graph=True).data
        np.testing.assert_array_equal(plain, recorded)


def test_gelu_far_below_zero():
    """Its slope, x phi(x) + Phi(x), loses no digits in either way of computing it."""
    x = Tensor([-10.0, -5.0], requires_grad=True, dtype=np.float64)
    exact = [-7.6184e-22, -7.146946e-6]  # by Phi(-10) = 7.6199e-24, phi(-10) = 7.6946e-23
    for gradient in (grad(ops.gelu(x).sum(), x), grad(ops.gelu(x).sum(), x, create_graph=True)):
        np.testing.assert_allclose(gradient.data, exact, rtol=1e-3)


def test_softmax_of_integers():
    np.testing.assert_allclose(ops.softmax(np.array([0, 0])), [0.5, 0.5])


def test_poles_are_silent():
    """Infinite and undefined values and slopes come back as they are, without a warning."""
    assert slope(ops.sqrt, [0.0, 4.0]) == [[math.inf, 0.25]] and slope(ops.log, [0.0]) == [[math.inf]]
    assert slope(lambda x: x**0.5, [0.0, 4.0]) == [[math.inf, 0.25]]
    assert slope(ops.rsqrt, [0.0, 4.0]) == [[-math.inf, -1 / 16]] and slope(ops.log1p, [-1.0]) == [[math.inf]]
    zero, big = np.zeros(1), np.full(1, 1e300)
    for y in (ops.div(1.0, zero), ops.pow(zero, -1), ops.rsqrt(zero), ops.pow(big, 2), ops.square(big), ops.expm1(big),
              ops.sum(np.full(16, 1e308)), ops.sum(np.full((2, 3, 2), 1e308, np.float64), axis=(0, 2))[:1],
              ops.div(big, 1e-300)):  # fmt: skip
        assert np.isposinf(y).all()
    for y in (ops.div(zero, zero), ops.sin(zero + np.inf), ops.cos(zero - np.inf), ops.rsqrt(-big), ops.log1p(-big),
              ops.pow(-big, 0.5), ops.leaky_relu(zero - np.inf, slope=0.0)):  # fmt: skip
        assert np.isnan(y).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_product_with_zeros(n, zeros):
    """Each factor's slope is the product of the others: that of one zero lives, between two nothing does."""
    x = np.linspace(-2.0, 3.0, n) + 0.1
    x[: min(zeros, n)] = 0.0
    others = [math.prod(v for j, v in enumerate(x) if j != i) for i in range(n)]
    np.testing.assert_allclose(slope(ops.prod, x)[0], others, rtol=1e-13)
    gradcheck(ops.prod, x, order=2)
    leaf_ = Tensor(x, requires_grad=True)
    (g,) = grad(ops.prod(leaf_), [leaf_], create_graph=True)
    if n > 1:
        (second,) = grad(g[0], [leaf_])  # d2 / dx0 dxi
        expected = [0.0] + [math.prod(v for j, v in enumerate(x) if j not in (0, i)) for i in range(1, n)]
        np.testing.assert_allclose(second.data, expected, rtol=1e-13)


ORDERS = [0.5, 1, 1.5, 2, 3, math.inf, -math.inf, -1, -2]


@pytest.mark.parametrize("ord", ORDERS)
def test_norm_at_zero(ord):
    """At the origin every norm's slope counts as 0, and so does that of a component that is 0."""
    assert slope(lambda x: ops.norm(x, ord=ord), [0.0, 0.0]) == [[0, 0]]
    leaf_ = Tensor([0.0, 0.0], requires_grad=True, dtype=np.float64)
    (g,) = grad(ops.norm(leaf_, ord=ord), [leaf_], create_graph=True)
    assert np.isfinite(grad((g * np.array([1.0, 2.0])).sum(), leaf_, allow_unused=True).data).all()
    if ord > 0:
        (row,) = slope(lambda x: ops.norm(x, ord=ord), [3.0, 0.0, -4.0])
        assert row[1] == 0 and row[0] >= 0 > row[2]
    else:
        assert ops.norm(np.array([3.0, 0.0]), ord=ord) == 0
        assert slope(lambda x: ops.norm(x, ord=ord), [3.0, 0.0]) == [[0, 0]]


@pytest.mark.parametrize("ord", [1.5, 2.5, 3.0, 4.0])
def test_second_derivative_of_a_norm_beside_a_zero(ord):
    """A component that is 0 leaves the others' Hessian alone; above 2 its own row is 0, and below it counts as 0."""

    def hessian(values):
        x = Tensor(values, requires_grad=True, dtype=np.float64)
        g = grad(ops.norm(x, ord=ord), x, create_graph=True)
        return np.array([grad(part, x, retain_graph=True).data for part in g])

    with_zero = hessian([3.0, 0.0, -4.0])
    np.testing.assert_allclose(with_zero[::2, ::2], hessian([3.0, -4.0]), rtol=1e-13)
    assert not with_zero[1].any() and not with_zero[:, 1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ord", ORDERS)
def test_norm_neither_overflows_nor_underflows(ord, dtype):
    x = np.array([3.0, -4.0], dtype)
    expected = ops.norm(x, ord=ord)
    for unit in (np.finfo(dtype).max / 64, np.finfo(dtype).tiny):
        (g,) = grad(ops.norm(t := Tensor(x * unit, requires_grad=True), ord=ord), [t])
        np.testing.assert_allclose(ops.norm(x * unit, ord=ord) / unit, expected, rtol=2e-6)
        np.testing.assert_allclose(g.data, slope(lambda x: ops.norm(x, ord=ord), x)[0], rtol=2e-6)
    big = np.array([1.0, np.inf], dtype)
    assert np.isposinf(ops.norm(big, ord=ord)) if ord > 0 else ops.norm(big, ord=ord) == 1
    assert np.isnan(ops.norm(np.array([1.0, np.nan], dtype), ord=ord))


def test_norm_counts():
    """ord=0: how many are not 0, a float without a slope."""
    x = Tensor([[1.0, 0.0], [2.0, -3.0]], requires_grad=True)
    y = ops.norm(x, ord=0, axis=1)
    assert y.tolist() == [1.0, 2.0] and y.dtype == np.float32 and not y.requires_grad
    with pytest.raises(AxisError, match=r"norm: axis=2 of shape \(2, 2\)"):
        ops.norm(x, ord=0, axis=2)
    assert ops.norm(np.ones((2, 0)), axis=1).tolist() == [0.0, 0.0]
    with pytest.raises(ShapeError, match="max: "):
        ops.norm(np.ones((2, 0)), ord=math.inf, axis=1)
    assert ops.norm(np.array([3, 4])) == 5.0


def test_second_derivative_of_a_norm_where_a_component_is_zero():
    """Of |x| in three dimensions: (1 - x x' / |x|**2) / |x|, with x = (3, 0, 4)."""
    x = Tensor([3.0, 0.0, 4.0], requires_grad=True, dtype=np.float64)
    (g,) = grad(ops.norm(x), [x], create_graph=True)
    hessian = [grad(g[i], x, retain_graph=True).tolist() for i in range(3)]
    unit = np.array([0.6, 0.0, 0.8])
    np.testing.assert_allclose(hessian, (np.eye(3) - np.outer(unit, unit)) / 5, atol=1e-15)


def test_spread_of_equal_values():
    """A standard deviation is a norm, so its slope is 0 where all are equal; var has no such trouble."""
    assert slope(lambda x: x.std(), [1.0, 1.0]) == [[0, 0]] and slope(lambda x: x.var(), [1.0, 1.0]) == [[0, 0]]
    one = np.array([2.0])
    assert np.isnan(ops.var(one, ddof=1)) and np.isnan(ops.std(one, ddof=1)), "0 / 0, without a warning"
    assert np.isposinf(ops.var(np.array([1.0, 2.0]), ddof=3)), "never a negative variance"
    for spread in (ops.mean, ops.var, ops.std):
        assert np.isnan(spread(np.ones((2, 0)), axis=1)).tolist() == [True, True]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ["sum", "max", "min", "mean", "var", "std", "prod", "norm", "logsumexp", "softmax",
                                  "log_softmax", "cumsum"])  # fmt: skip
def test_one_value_alone_may_have_an_axis(name, axis):
    """As in NumPy and PyTorch; any other one it does not have."""
    x = Tensor(2.0, requires_grad=True)
    y = function(name)(x, axis=axis)
    expected = {"var": (0, 0), "std": (0, 0), "softmax": (1, 0), "log_softmax": (0, 0)}.get(name, (2, 1))
    assert y.shape == () and (y.item(), grad(y, x).item()) == expected
    with pytest.raises(AxisError):
        function(name)(x, axis=1)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_integers_become_floats_that_tinyae_has(dtype):
    """float32 of bools and short integers, else float64; never NumPy's float16."""
    x = np.array([1, 0, 1], dtype)
    for name in ("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "sigmoid", "tanh", "softplus", "silu",
                 "elu", "selu", "leaky_relu", "gelu", "erf", "erfc", "logsigmoid", "softmax", "log_softmax",
                 "logsumexp", "norm", "mean", "var", "std", "div"):  # fmt: skip
        arrays = (x, x + dtype(1)) if name == "div" else (x,)
        y = np.asarray(function(name)(*arrays))
        assert y.dtype in (np.float32, np.float64), name
        expected = function(name)(*[a.astype(np.float64) for a in arrays])
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7, err_msg=name)
    assert type(ops.gelu(Tensor(x), approximate="tanh")) is Tensor
    for name in ("sum", "prod", "cumsum"):
        y = np.asarray(function(name)(x))
        assert y.dtype in (np.int64, np.uint64) and np.array_equal(y, getattr(np, name)(x.astype(int)))
    hundred = np.full(3, 100).astype(dtype)  # of 8 bits, and true if bool
    assert ops.prod(hundred) == math.prod(hundred.tolist()) and ops.sum(hundred) == sum(hundred.tolist())


def test_small_arguments_lose_no_digits():
    small = np.array([1e-20, -1e-20, 1e-9])
    exact = small + small * small * np.array([0.5])
    np.testing.assert_allclose(ops.expm1(small), exact, rtol=1e-15)
    np.testing.assert_allclose(ops.log1p(small), small - small * small / 2, rtol=1e-15)
    np.testing.assert_allclose(slope(ops.expm1, [-40.0, -300.0])[0], [math.exp(-40), math.exp(-300)], rtol=1e-14)


def test_logsigmoid_far_from_zero():
    x = [-1e300, -800.0, 800.0, math.inf, 40.0]
    assert ops.logsigmoid(np.array(x)).tolist() == [-1e300, -800.0, 0, 0, -math.exp(-40)]
    assert slope(ops.logsigmoid, x) == [[1, 1, 0, 0, pytest.approx(math.exp(-40), rel=1e-14)]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_by_tanh(dtype):
    """Its lower tail, where 1 + tanh would cancel, against x / (1 + exp(-2 u)); and its ends."""
    x = np.array([-5.0, -4.0], dtype)
    u = [math.sqrt(2 / math.pi) * (v + 0.044715 * v**3) for v in x.tolist()]
    exact = [v / (1 + math.exp(-2 * w)) for v, w in zip(x.tolist(), u)]
    np.testing.assert_allclose(ops.gelu(x, approximate="tanh"), exact, rtol=100 * np.finfo(dtype).eps)
    ends = np.array([-1e30, -100, 100, 1e30], dtype)
    y = ops.gelu(t := Tensor(ends, requires_grad=True), approximate="tanh")
    assert y.tolist() == [0, 0, 100, ends[3]] and grad(y.sum(), t).tolist()[1:3] == [0, 1]
    assert np.abs(ops.gelu(x) - ops.gelu(x, approximate="tanh")).max() < 1e-3


def test_hardtanh_is_a_clip():
    assert slope(ops.hardtanh, [-2.0, -1.0, 0.5, 1.0, 2.0]) == [[0, 1, 1, 1, 0]]


def test_rules_stay_in_float32():
    """A rule that builds a float64 mask would move twice the memory, and be rounded back afterwards."""
    x, other = np.array([-1.0, 2.0], np.float32), np.array([1.0, 1.0], np.float32)
    for name, op in OPS.items():
        if not op.elementwise or name in ("pow", "where"):
            continue
        arrays = (x, other)[: len(op.arguments)]
        settings = {**op.defaults, **({"low": 0.0} if name == "clip" else {})}
        named = {"y": np.asarray(op(*arrays, **settings)), **dict(zip(op.arguments, arrays)), **settings}
        with np.errstate(all="ignore"):
            for rule, _, names in op.rules.values():
                out = rule(other, *[named[n] for n in names])
                assert out is None or out.dtype == np.float32, name


# -- gradients that are decided -------------------------------------------------------------------------------------


def test_straight_through():
    """The value to the last bit, and all of the gradient to what it stands for."""
    x = Tensor([1000.1, 0.7, -1.2], requires_grad=True)
    book = Tensor([0.3, 1.0, -1.0], requires_grad=True)
    y = ops.straight_through(book, x)
    assert same_bits(y.data, book.data) and not same_bits((x + (book - x)).data, book.data)
    gradient = grad((y * y).sum(), [x, book], allow_unused=True)
    np.testing.assert_allclose(gradient[0].data, 2 * book.data)
    assert gradient[1].tolist() == [0, 0, 0]
    wide = ops.straight_through(np.array([1.0, 2.0, 3.0]), x)
    assert wide.dtype == np.float32 and grad(wide.sum(), x).dtype == np.float32
    assert ops.straight_through(x.data > 0, x).tolist() == [1, 1, 0]
    curve = grad((ops.straight_through(book, x) * x).sum(), x, create_graph=True)
    np.testing.assert_allclose(grad(curve.sum(), x).data, [2, 2, 2])  # d/dx (value + x) with both slopes 1


def test_stop_gradient():
    """Of x * stop_gradient(x) one factor is a constant, and nothing is recorded for it."""
    x = Tensor([2.0, 3.0], requires_grad=True)
    still = ops.stop_gradient(x)
    assert not still.requires_grad and np.shares_memory(still.data, x.data)
    assert grad((x * still).sum(), x).tolist() == [2, 3]
    y = still * x
    x.data = [5.0, 5.0]
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()


def test_where_leaves_the_other_branch_alone():
    """log of a negative number is NaN, but where it is not taken its gradient is 0 and its value is not used."""
    x = Tensor([-1.0, 4.0], requires_grad=True)
    y = ops.where(x > 0, x.log(), 0.0)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0.0, math.log(4.0)])
    assert slope(lambda a, b: ops.where(np.array([True, False]), a, b), [1.0, 1.0], [1.0, 1.0]) == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.elementwise and len(op.arguments) < 3))
def test_nan_flows(name):
    """NaN in, NaN out, by the definition and on every instruction set; comparisons with NaN are false."""
    op = OPS[name]
    settings = {**op.defaults, "low": -1.0, "high": 1.0} if name == "clip" else op.defaults
    x = np.array([np.nan, 1.0] * 16, np.float32)
    for isa in [None, *ISAS]:
        with kernels.use_isa(isa) if isa else nullcontext():
            for arrays in [(x,)] if len(op.arguments) == 1 else [(x, x * 0 + 1), (x[1] + x * 0, x[::-1].copy())]:
                y = op(*arrays, **settings) if isa else op.definition(*arrays, **settings)
                if y.dtype == bool:
                    assert not y[np.isnan(sum(arrays))].any() or name == "ne"
                elif name != "pow":  # 1 ** nan is 1, says IEEE
                    assert np.isnan(y[np.isnan(sum(arrays))]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_are_silent_and_finite_where_the_limit_is(dtype):
    big = np.array([-np.inf, -1e30, -100.0, 100.0, 1e30, np.inf], dtype)
    assert ops.sigmoid(big).tolist() == pytest.approx([0, 0, 0, 1, 1, 1])
    assert ops.tanh(big).tolist() == [-1, -1, -1, 1, 1, 1]
    assert ops.softplus(big)[2:].tolist() == pytest.approx([0, 100, 1e30, np.inf])
    assert ops.silu(big[1:]).tolist() == pytest.approx([0, 0, 100, 1e30, np.inf], rel=1e-6, abs=1e-30)
    assert ops.elu(big).tolist() == pytest.approx([-1, -1, -1, 100, 1e30, np.inf])
    assert ops.gelu(big[1:]).tolist() == pytest.approx([0, 0, 100, 1e30, np.inf], rel=1e-6, abs=1e-30)
    assert ops.exp(big)[[0, 1, -1]].tolist() == [0, 0, np.inf]
    assert np.isneginf(ops.log(np.array([0.0], dtype))) and np.isnan(ops.log(np.array([-1.0], dtype)))
    assert np.isnan(ops.sqrt(np.array([-1.0], dtype)))
    rows = np.array([[1e4, 0.0, -1e4], [-np.inf, 0.0, 0.0], [-1e30, -1e30, -1e30]], dtype)
    for x, axis in ((rows, -1), (rows.T.copy(), 0)):  # in C, and by the definition
        np.testing.assert_allclose(
            np.moveaxis(ops.softmax(x, axis=axis), axis, -1), [[1, 0, 0], [0, 0.5, 0.5], [1 / 3] * 3], rtol=1e-6
        )
        np.testing.assert_allclose(ops.logsumexp(x, axis=axis), [1e4, math.log(2), -1e30], rtol=1e-6)
        assert np.moveaxis(ops.log_softmax(x, axis=axis), axis, -1)[0].tolist() == pytest.approx([0, -1e4, -2e4])
        assert ops.logsumexp(np.full_like(x, -np.inf), axis=axis).tolist() == [-np.inf] * 3
    assert ops.logsumexp(np.ones((2, 0), dtype)).tolist() == [-np.inf, -np.inf]
    x = Tensor(big[1:-1], requires_grad=True)
    for op in (ops.sigmoid, ops.tanh, ops.softplus, ops.elu, ops.gelu, ops.relu):
        (g,) = grad(op(x).sum(), [x])
        assert np.isfinite(g.data).all(), op


# -- composed functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMPOSED))
@given(data=st.data())
def test_composed_function_is_that_of_pytorch(name, data):
    """Value, shape, dtype, and the gradient under a random upstream one."""
    torch = pytest.importorskip("torch")
    row, same = COMPOSED[name]
    arrays, settings = row(data.draw)
    leaves, theirs = [leaf(x) for x in arrays], [torch.tensor(x.copy(), requires_grad=True) for x in arrays]
    y, expected = run(name, leaves, settings), same(torch, *theirs, **settings)
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-9, atol=1e-9)
    g = np.random.default_rng(0).standard_normal(y.shape)
    for a, b in zip(grad(y, leaves, g), torch.autograd.grad(expected, theirs, torch.tensor(g))):
        np.testing.assert_allclose(a.data, b.numpy(), rtol=1e-9, atol=1e-9)
    assert y.shape == tuple(expected.shape) and y.dtype == expected.detach().numpy().dtype


@given(data=st.data())
def test_mean_var_std(data):
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal((3, 4, 2))
    axis = data.draw(st.sampled_from([None, 0, -1, (0, 2), [1, 2]]))
    keep, ddof = data.draw(st.booleans()), data.draw(st.sampled_from([0, 1]))
    fixed = tuple(axis) if isinstance(axis, list) else axis
    t = Tensor(x)
    np.testing.assert_allclose(t.mean(axis, keep).data, x.mean(fixed, keepdims=keep))
    np.testing.assert_allclose(t.var(axis, keep, ddof).data, x.var(fixed, keepdims=keep, ddof=ddof))
    np.testing.assert_allclose(t.std(axis, keep, ddof).data, x.std(fixed, keepdims=keep, ddof=ddof))
    gradcheck(lambda x: x.std(axis, keep, ddof) + x.mean(axis, keep), x, order=2, directions=1)


# -- noise ----------------------------------------------------------------------------------------------------------


def test_philox_is_the_published_one():
    """The first known answer of Random123: key 0, counter 0."""
    w = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert Generator(0).draw("uniform", 4).tolist() == [(v >> 8) / 2**24 for v in w]
    wide = [((w[i] >> 5 << 26) + (w[i + 1] >> 6)) / 2**53 for i in (0, 2)]
    assert Generator(0).draw("uniform", 2, np.float64).tolist() == wide


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [1, 2**40 + 3])
def test_noise_has_its_distribution(dtype, seed):
    n = 40_000
    draw = Generator(seed).draw
    u, z, b = draw("uniform", n, dtype), draw("normal", n, dtype), draw("bernoulli", n, dtype, 0.3)
    assert {u.dtype, z.dtype, b.dtype} == {np.dtype(dtype)}
    assert 0 <= u.min() and u.max() < 1
    assert np.abs(np.histogram(u, 20, (0, 1))[0] / n * 20 - 1).max() < 0.12
    assert set(np.unique(b)) == {0, 1} and b.mean() == pytest.approx(0.3, abs=0.01)
    z = z.astype(np.float64)
    assert [(z**k).mean() for k in (1, 2, 3, 4)] == pytest.approx([0, 1, 0, 3], abs=0.15)
    assert abs((z[::2] * z[1::2]).mean()) < 0.03 and abs((u[1:] * u[:-1]).mean() - 0.25) < 0.01


@pytest.mark.parametrize("kind", NOISE)
def test_a_draw_is_numbered(kind):
    """Each draw differs, setting the counter back repeats it, and so does a new generator of the same seed."""
    generator = Generator(5)
    first, second = generator.draw(kind, (3, 5)), generator.draw(kind, (3, 5))
    assert generator.counter == 2 and not np.array_equal(first, second)
    generator.counter = 0
    assert np.array_equal(first, generator.draw(kind, (3, 5)))
    assert np.array_equal(first, Generator(5).draw(kind, (3, 5)))
    assert not np.array_equal(first, Generator(6).draw(kind, (3, 5)))
    assert not np.array_equal(first, Generator(5 + 2**32).draw(kind, (3, 5)))
    assert np.array_equal(first.ravel()[:7], Generator(5).draw(kind, 7)), "a longer draw begins like a shorter one"


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("isa", ISAS)
def test_noise_in_c_is_noise_in_numpy(kind, dtype, isa):
    from tinyae.ops.random import _NOISE

    for n in (0, 1, 2, 3, 4, 5, 31, 1000):
        out = np.empty(n, dtype)
        with kernels.use_isa(isa):
            assert kernels.noise(kind, out, 2**63 + 11, 2**33 + 1, 0.3)
        expected = _NOISE[kind](n, out.dtype, np.uint64(2**63 + 11), 2**33 + 1, 0.3)
        if kind == "normal":
            np.testing.assert_allclose(out, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
        else:
            assert same_bits(out, expected)


class _Always:
    """A generator that always draws one value, and counts how often it is asked."""

    def __init__(self, value):
        self.value, self.asked = value, 0

    def draw(self, kind, shape, dtype):
        self.asked += 1
        return np.full(shape, self.value, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gumbel(dtype):
    """Its mean is Euler's constant and its variance pi**2 / 6; argmax of logits plus it follows the softmax."""
    noise = ops.gumbel(np.empty((40_000, 3), dtype), generator=Generator(2))
    assert noise.dtype == dtype and noise.shape == (40_000, 3)
    assert noise.mean(dtype=float) == pytest.approx(0.57722, abs=0.02)
    assert noise.var(dtype=float) == pytest.approx(math.pi**2 / 6, rel=0.02)
    share = np.bincount(np.argmax(np.log([0.2, 0.5, 0.3]) + noise, axis=1)) / 40_000
    assert share == pytest.approx([0.2, 0.5, 0.3], abs=0.01)
    nearest = 1 - np.finfo(dtype).epsneg  # with 0, the ends of what a uniform draw can be
    low, high = (ops.gumbel(np.empty(2, dtype), generator=_Always(u)) for u in (nearest, 0.0))
    second = ops.gumbel(np.empty(2, dtype), generator=_Always(np.finfo(dtype).epsneg))
    assert np.isfinite([low, high]).all() and low[0] < second[0] < high[0] < second[0] + 1
    x, once = Tensor(np.zeros(2, dtype), requires_grad=True), _Always(0.5)
    assert not ops.gumbel(x, generator=once).requires_grad and once.asked == 1
    with pytest.raises(DtypeError, match="uniform: noise of dtype int64"):
        ops.gumbel(np.zeros(2, int), generator=Generator(0))


def test_generator_seeds():
    assert Generator(Generator(7)).key == 7 and Generator(-1).key == 2**64 - 1
    assert Generator(np.random.default_rng(0)).key == Generator(np.random.default_rng(0)).key
    assert Generator().key != Generator().key
    assert repr(Generator(7)) == "Generator(seed=7, counter=0)"
    with pytest.raises(SettingError, match="Generator: seed='x'"):
        Generator("x")
    with pytest.raises(DtypeError, match="uniform: noise of dtype int64"):
        Generator(0).draw("uniform", 3, np.int64)


def test_dropout():
    x = Tensor(np.ones(10_000), requires_grad=True)
    y = ops.dropout(x, p=0.25, generator=Generator(0))
    y.sum().backward()
    assert set(np.unique(y.data)) == {0, 1 / 0.75} and y.mean().item() == pytest.approx(1, abs=0.02)
    assert np.array_equal(x.grad.data, y.data), "the gradient goes through the mask of the forward pass"
    assert np.array_equal(ops.dropout(x, p=0.0, generator=Generator(0)).data, x.data)
    for p in (-0.1, 1.0):
        with pytest.raises(SettingError, match="dropout: p="):
            ops.dropout(x, p=p, generator=Generator(0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["elu", "erf", "erfc", "gelu", "gelu, tanh", "hardtanh", "leaky_relu", "logsigmoid",
                                  "relu", "selu", "sigmoid", "silu", "softplus", "tanh", "abs"])  # fmt: skip
def test_slopes_of_activations_are_finite_wherever_x_is(name, dtype):
    """And so are the slopes' slopes; far out they are what they tend to: 0, 1 or the slope of a line."""
    name, _, how = name.partition(", ")
    far = [0.0, 1e-45, 1e-30, 1.0, 30.0, 1e4, 1e10, 1.8e19, 2e19, 1e30, 3e38]
    x = Tensor(np.array([*far, *(-v for v in far)], dtype), requires_grad=True)
    y = getattr(ops, name)(x, **({"approximate": how} if how else {}))
    slope = grad(y.sum(), x, create_graph=True)
    bend = grad(slope.sum(), x, allow_unused=True)
    assert np.isfinite(y.data).all() and np.isfinite(slope.data).all() and np.isfinite(bend.data).all()
    assert len({*slope.data[6:11].tolist()}) == len({*slope.data[-5:].tolist()}) == 1
