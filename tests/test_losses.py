"""Losses: against formulas by hand, at the extremes, for every reduction, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyae import Tensor, gradcheck, nn
from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError

REDUCTIONS = ("none", "sum", "mean", "batch")


def by_hand(terms, reduction):
    if reduction == "none":
        return terms
    if reduction == "sum":
        return terms.sum()
    return terms.mean() if reduction == "mean" else terms.sum() / len(terms)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# name -> (operands from (rng, shape), the formula). Operands are such that nothing here needs care.
CASES = {
    "mse": (lambda r, s: (r.normal(size=s), r.normal(size=s)), lambda a, b: (a - b) ** 2),
    "bce": (
        lambda r, s: (r.uniform(0.05, 0.95, s), r.uniform(0, 1, s)),
        lambda p, x: -(x * np.log(p) + (1 - x) * np.log(1 - p)),
    ),
    "bce_with_logits": (
        lambda r, s: (r.normal(size=s) * 3, r.uniform(0, 1, s)),
        lambda z, x: x * np.log1p(np.exp(-z)) + (1 - x) * np.log1p(np.exp(z)),
    ),
    "cross_entropy": (
        lambda r, s: (r.normal(size=s) * 3, softmax(r.normal(size=s))),
        lambda z, p: -(p * np.log(softmax(z))).sum(axis=-1),
    ),
    "gaussian_nll": (
        lambda r, s: (r.normal(size=s), r.normal(size=s), r.uniform(-1, 1, s)),
        lambda x, mu, v: -np.log(np.exp(-((x - mu) ** 2) / (2 * np.exp(v))) / np.sqrt(2 * np.pi * np.exp(v))),
    ),
    "kl_normal": (
        lambda r, s: (r.normal(size=s), r.uniform(-1, 1, s)),
        lambda mu, v: 0.5 * (np.exp(v) + mu**2 - 1 - v),
    ),
}
each_loss = pytest.mark.parametrize("name", sorted(CASES))


@each_loss
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 3), (5,), (2, 3, 4), (1, 1)])
def test_formula(rng, name, reduction, shape):
    operands, formula = CASES[name]
    arrays = operands(rng, shape)
    terms = formula(*arrays)
    if name == "cross_entropy" and shape == (5,) and reduction == "batch":
        with pytest.raises(ShapeError):  # one sample, no batch
            nn.cross_entropy(*arrays, reduction="batch")
        return
    loss = getattr(nn, name)(*map(Tensor, arrays), reduction=reduction)
    assert type(loss) is Tensor and loss.dtype == np.float64
    np.testing.assert_allclose(loss.data, by_hand(terms, reduction), rtol=1e-10, atol=1e-12)
    plain = getattr(nn, name)(*arrays, reduction=reduction)
    assert not isinstance(plain, Tensor)
    np.testing.assert_array_equal(plain, loss.data)


@each_loss
def test_mean_is_the_default(rng, name):
    arrays = CASES[name][0](rng, (4, 3))
    assert getattr(nn, name)(*arrays) == getattr(nn, name)(*arrays, reduction="mean")


@each_loss
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(4, 3), (1, 2), (2, 2, 3)]),
    reduction=st.sampled_from(REDUCTIONS),
)
def test_gradient(name, seed, shape, reduction):
    arrays = CASES[name][0](np.random.default_rng(seed), shape)
    gradcheck(lambda *a: getattr(nn, name)(*a, reduction=reduction), *arrays, order=2, seed=seed, directions=1)


def test_cross_entropy_gradient_of_classes(rng):
    labels = np.array([2, 0, 1, 1])
    gradcheck(lambda z: nn.cross_entropy(z, labels), rng.normal(size=(4, 3)), order=2)


def test_gaussian_nll_with_one_variance(rng):
    x, mu = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    expected = nn.gaussian_nll(x, mu, np.full((4, 3), 0.7))
    for logvar in (0.7, np.array(0.7), Tensor(0.7, dtype=np.float64)):
        np.testing.assert_allclose(np.asarray(nn.gaussian_nll(x, mu, logvar)), expected, rtol=1e-12)
    np.testing.assert_allclose(nn.gaussian_nll(x, mu, 0), 0.5 * ((x - mu) ** 2 + np.log(2 * np.pi)).mean(), rtol=1e-12)
    gradcheck(lambda v: nn.gaussian_nll(x, mu, v), np.array(0.7), order=2)


def test_gaussian_nll_is_least_at_the_moments(rng):
    x = rng.normal(2.0, 3.0, (2000, 1))
    mu = Tensor(np.full(x.shape, x.mean()), requires_grad=True)
    logvar = Tensor(np.log(x.var()), requires_grad=True)
    nn.gaussian_nll(x, mu, logvar).backward()
    assert abs(logvar.grad.item()) < 1e-12 and abs(mu.grad.sum().item()) < 1e-12


def test_kl_normal_is_its_monte_carlo_estimate(rng):
    mu, logvar = 0.7, -0.5
    z = mu + np.exp(logvar / 2) * rng.standard_normal(200_000)
    samples = -0.5 * (logvar + (z - mu) ** 2 / np.exp(logvar)) + 0.5 * z**2
    estimate, error = samples.mean(), samples.std() / np.sqrt(samples.size)
    assert abs(float(nn.kl_normal([mu], [logvar])) - estimate) < 4 * error
    assert nn.kl_normal([0.0], [0.0]) == 0


# -- cross entropy's targets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("lead", [(4,), (2, 3), (0,)])
def test_classes_and_probabilities_agree(rng, reduction, lead):
    logits, labels = rng.normal(size=(*lead, 5)), rng.integers(0, 5, lead)
    one_hot = np.eye(5)[labels]
    if not labels.size and reduction in ("mean", "batch"):
        with pytest.raises(ShapeError):
            nn.cross_entropy(logits, labels, reduction=reduction)
        return
    expected = nn.cross_entropy(logits, one_hot, reduction=reduction)
    terms = -np.log(np.take_along_axis(softmax(logits), labels[..., None], axis=-1)[..., 0])
    np.testing.assert_allclose(expected, by_hand(terms, reduction), rtol=1e-12)
    for target in (labels, labels.tolist(), labels.astype(np.uint8), Tensor(labels), one_hot.astype(int), one_hot > 0):
        if not labels.size and isinstance(target, list):
            continue
        np.testing.assert_allclose(
            nn.cross_entropy(Tensor(logits), target, reduction=reduction).data, expected, rtol=1e-12
        )


def test_cross_entropy_of_one_sample():
    assert nn.cross_entropy([0.0, 0.0], 1) == pytest.approx(np.log(2))


def test_a_class_that_is_ruled_out_by_an_infinite_logit():
    logits = Tensor([[0.0, -np.inf, 0.0]], requires_grad=True)
    loss = nn.cross_entropy(logits, [0])
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2))
    np.testing.assert_allclose(logits.grad.data, [[-0.5, 0, 0.5]])


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        ([0, 3], AxisError, "from 0 to 3 where 0 to 2"),
        ([-1, 0], AxisError, "from -1 to 0"),
        ([0.0, 1.0], DtypeError, "float64 target"),
        ([[0], [1]], ShapeError, r"\(2, 3\) and \(2, 1\)"),
        ([0, 1, 2], ShapeError, r"\(2, 3\) and \(3,\)"),
    ],
)
def test_cross_entropy_refuses(target, error, text):
    with pytest.raises(error, match=text):
        nn.cross_entropy(Tensor(np.zeros((2, 3))), target)


def test_cross_entropy_needs_classes():
    with pytest.raises(ShapeError, match="0-d"):
        nn.cross_entropy(1.0, 0)


# -- extremes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_are_exact(dtype):
    z = Tensor(np.array([1e4, -1e4, 1e4, -1e4, 1e4, 0.0]), dtype=dtype, requires_grad=True)
    x = np.array([1.0, 0.0, 0.0, 1.0, 0.5, 0.25])
    loss = nn.bce_with_logits(z, x, reduction="none")
    np.testing.assert_allclose(loss.data, [0, 0, 1e4, 1e4, 5e3, np.log(2)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(z.grad.data, [0, 0, 1, -1, 0.5, 0.25])

    z = Tensor(np.array([[1e4, -1e4, 0.0]] * 3), dtype=dtype, requires_grad=True)
    loss = nn.cross_entropy(z, [0, 1, 2], reduction="none")
    np.testing.assert_allclose(loss.data, [0, 2e4, 1e4])
    loss.sum().backward()
    np.testing.assert_allclose(z.grad.data, [[0, 0, 0], [1, -1, 0], [1, 0, -1]])
    np.testing.assert_allclose(nn.cross_entropy(z, [[0.5, 0.5, 0.0]] * 3).item(), 1e4)


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 87.336544), (np.float64, 708.39642)])
def test_saturated_probabilities_cost_much_but_not_infinitely_much(dtype, most):
    p = Tensor([0.0, 1.0, 0.0, 1.0, 0.5], dtype=dtype, requires_grad=True)
    loss = nn.bce(p, [0.0, 1.0, 1.0, 0.0, 1.0], reduction="none")
    np.testing.assert_allclose(loss.data, [0, 0, most, most, np.log(2)], rtol=1e-6)
    loss.sum().backward()
    assert np.isfinite(p.grad.data).all()


def test_bce_learns_from_very_small_probabilities():
    """A bound such as 1e-7 on p would stop the gradient that pulls a wrong unit back."""
    z = Tensor([-40.0], requires_grad=True)
    nn.bce(z.sigmoid(), [1.0]).backward()
    assert z.grad.item() == pytest.approx(-1)


def test_bce_equals_bce_with_logits(rng):
    z, x = rng.normal(size=(5, 3)) * 4, rng.uniform(0, 1, (5, 3))
    np.testing.assert_allclose(nn.bce(1 / (1 + np.exp(-z)), x), nn.bce_with_logits(z, x), rtol=1e-10)


def test_overflow_is_silent_and_infinite():
    big = np.array([1e30], np.float32)
    assert nn.mse(big, -big) == np.inf
    assert nn.mse(big * 1e-12, big * 0) == pytest.approx(1e36)
    assert nn.mse(np.full(1000, 1.5e19, np.float32), np.zeros(1000, np.float32), reduction="sum") == np.inf
    huge = Tensor([3e38] * 4)
    assert nn.bce(Tensor([0.0] * 4), huge).item() == np.inf
    assert nn.bce_with_logits(huge, [0.0] * 4, reduction="sum").item() == np.inf
    assert nn.cross_entropy(Tensor([[3e38, 0.0]] * 4), [1] * 4, reduction="sum").item() == np.inf
    assert nn.gaussian_nll(huge, [0.0] * 4, 0.0).item() == nn.kl_normal(huge, [0.0] * 4).item() == np.inf
    assert nn.gaussian_nll(Tensor([1.0]), [0.0], [-1e4]).item() == np.inf
    assert nn.gaussian_nll(Tensor([1.0]), [0.0], [1e4]).item() == pytest.approx(5000.9189)
    assert nn.kl_normal(Tensor([0.0]), [1e4]).item() == np.inf
    assert nn.kl_normal(Tensor([0.0]), [-1e4]).item() == pytest.approx(4999.5)


@each_loss
def test_nan_is_not_hidden(rng, name):
    arrays = [a.astype(np.float32) for a in CASES[name][0](rng, (4, 3))]
    arrays[0][1, 1] = np.nan
    assert np.isnan(getattr(nn, name)(*map(Tensor, arrays)).item())


# -- what they refuse -----------------------------------------------------------------------------------------------


@each_loss
def test_nothing_is_broadcast(rng, name):
    loss = getattr(nn, name)
    n = len(CASES[name][0](rng, (2, 2)))
    for first, second in [((4, 1), (4,)), ((4, 3), (1, 3)), ((4, 3), ()), ((4, 3), (3, 4))]:
        shapes = [first] + [second] * (n - 1)
        if name == "cross_entropy" and first == (4, 1):
            shapes = [(4, 3), (3,)]
        with pytest.raises(ShapeError, match="nothing is broadcast"):
            loss(*[Tensor(np.full(s, 0.5)) for s in shapes])
    if n == 3:
        with pytest.raises(ShapeError, match="nothing is broadcast"):
            loss(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros((1, 3)))


@each_loss
def test_reductions_are_checked(rng, name):
    arrays = CASES[name][0](rng, (4, 3))
    with pytest.raises(SettingError, match=f'{name}: reduction=.*"none", "sum", "mean" or "batch"'):
        getattr(nn, name)(*arrays, reduction="average")


def test_no_elements():
    empty = np.zeros((0, 3))
    assert nn.mse(empty, empty, reduction="sum") == 0
    for reduction in ("mean", "batch"):
        with pytest.raises(ShapeError, match="nothing to average"):
            nn.mse(empty, empty, reduction=reduction)
    with pytest.raises(ShapeError, match="nothing to average"):
        nn.mse(1.0, 2.0, reduction="batch")
    assert nn.mse(np.zeros((3, 0)), np.zeros((3, 0)), reduction="batch") == 0


@pytest.mark.parametrize("value", [-0.1, 1.1, np.inf])
def test_bce_wants_probabilities(value):
    with pytest.raises(SettingError, match=f"such as {value:g}, are not probabilities"):
        nn.bce(Tensor([0.5, value, np.nan]), [0.0, 1.0, 0.0])
    with pytest.raises(SettingError, match="1 of 1"):
        nn.bce(value, 0.5)


# -- dtypes ---------------------------------------------------------------------------------------------------------


@each_loss
def test_plain_arrays_take_the_dtype_of_the_tensors(rng, name):
    first, *rest = CASES[name][0](rng, (4, 3))
    loss = getattr(nn, name)
    prediction = Tensor(first, dtype=np.float32, requires_grad=True)
    assert loss(prediction, *rest).dtype == np.float32
    assert loss(prediction, *[r.tolist() for r in rest]).dtype == np.float32
    swapped = loss(first, *[Tensor(r, dtype=np.float32) for r in rest])
    assert swapped.dtype == (np.float64 if name == "cross_entropy" else np.float32) or name == "cross_entropy"
    loss(prediction, *rest).backward()
    assert prediction.grad.dtype == np.float32


def test_unsigned_integers_do_not_wrap_around():
    a, b = np.array([1, 200], np.uint8), np.array([3, 100], np.uint8)
    for x, y in [(a, b), (Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b)), (a.tolist(), b)]:
        assert float(nn.mse(x, y)) == (4 + 10000) / 2
    assert nn.mse(a, b).dtype == np.float32
