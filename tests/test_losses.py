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
def cosine(a, b):
    return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))


def apart(r, s):
    """Operands whose differences stay away from 0 and from +-1."""
    x = r.normal(size=s)
    return x + r.choice([-1, 1], s) * np.where(r.random(s) < 0.5, r.uniform(0.1, 0.9, s), r.uniform(1.1, 3, s)), x


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
    "l1": (apart, lambda a, b: np.abs(a - b)),
    "huber": (apart, lambda a, b: np.where(np.abs(a - b) <= 1, (a - b) ** 2 / 2, np.abs(a - b) - 0.5)),
    "smooth_l1": (apart, lambda a, b: np.where(np.abs(a - b) < 1, (a - b) ** 2 / 2, np.abs(a - b) - 0.5)),
    "log_cosh": (lambda r, s: (r.normal(size=s), r.normal(size=s)), lambda a, b: np.log(np.cosh(a - b))),
    "cosine_distance": (lambda r, s: (r.normal(size=s), r.normal(size=s)), lambda a, b: 1 - cosine(a, b)),
    "kl_div": (
        lambda r, s: (np.log(softmax(r.normal(size=s))), softmax(r.normal(size=s))),
        lambda log_q, p: p * np.log(p / np.exp(log_q)),
    ),
    "nll": (
        lambda r, s: (np.log(softmax(r.normal(size=s))), softmax(r.normal(size=s))),
        lambda log_p, p: -(p * log_p).sum(axis=-1),
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
ROWS = ("cosine_distance", "cross_entropy", "nll")  # a term per row, not per element
each_loss = pytest.mark.parametrize("name", sorted(CASES))


@each_loss
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 3), (5,), (2, 3, 4), (1, 1)])
def test_formula(rng, name, reduction, shape):
    operands, formula = CASES[name]
    arrays = operands(rng, shape)
    terms = formula(*arrays)
    if name in ROWS and shape == (5,) and reduction == "batch":
        with pytest.raises(ShapeError):  # one sample, no batch
            getattr(nn, name)(*arrays, reduction="batch")
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


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_label_smoothing_and_ignored_classes(rng, name, smoothing):
    scores, labels = np.log(softmax(rng.normal(size=(6, 4)))), np.array([2, -100, 0, 1, -100, 3])
    settings = {"ignore_index": -100} | ({"label_smoothing": smoothing} if name == "cross_entropy" else {})
    if name == "nll" and smoothing:
        return
    kept = labels >= 0
    mixed = (1 - smoothing) * np.eye(4)[labels[kept]] + smoothing / 4
    terms = np.zeros(6)
    terms[kept] = -(mixed * scores[kept]).sum(axis=-1)
    expected = {"none": terms, "sum": terms.sum(), "mean": terms.sum() / 4, "batch": terms.sum() / 6}
    for reduction in REDUCTIONS:
        loss = getattr(nn, name)(scores, labels, reduction=reduction, **settings)
        np.testing.assert_allclose(loss, expected[reduction], rtol=1e-12)
    mask = np.array([True, True, False, True, True, True])
    for either in (mask, Tensor(mask)):
        loss = getattr(nn, name)(scores, Tensor(labels), mask=either, **settings)
        np.testing.assert_allclose(loss, terms[kept & mask].mean(), rtol=1e-12)
    gradcheck(lambda z: getattr(nn, name)(z, labels, **settings), scores, order=2)
    if name == "cross_entropy":
        mixed = (1 - smoothing) * (p := softmax(rng.normal(size=(6, 4)))) + smoothing / 4
        loss = nn.cross_entropy(scores, p, label_smoothing=smoothing)
        np.testing.assert_allclose(loss, -(mixed * scores).sum(axis=-1).mean(), rtol=1e-12)


def test_class_weights_are_weights_of_the_targets(rng):
    logits, labels, w = rng.normal(size=(6, 3)), rng.integers(0, 3, 6), np.array([1.0, 5.0, 0.5])
    terms = -np.log(softmax(logits))[np.arange(6), labels]
    expected = (w[labels] * terms).sum() / w[labels].sum()
    np.testing.assert_allclose(nn.cross_entropy(logits, labels, weight=w[labels]), expected, rtol=1e-12)


def test_cross_entropy_checks_its_settings():
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(SettingError, match="label_smoothing"):
            nn.cross_entropy(np.zeros((2, 3)), [0, 1], label_smoothing=bad)
    with pytest.raises(SettingError, match="cross_entropy: ignore_index=0 needs class numbers"):
        nn.cross_entropy(np.zeros((2, 3)), np.zeros((2, 3)), ignore_index=0)
    with pytest.raises(ShapeError, match="nothing to average"):
        nn.cross_entropy(np.zeros((2, 3)), [1, 1], ignore_index=1)


# -- settings of single losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.5, 1.0, 3.0])
def test_huber_and_smooth_l1(rng, bound):
    a, b = rng.normal(size=(5, 4)) * 3, rng.normal(size=(5, 4))
    d = np.abs(a - b)
    terms = np.where(d <= bound, d**2 / 2, bound * (d - bound / 2))
    np.testing.assert_allclose(nn.huber(a, b, delta=bound, reduction="none"), terms, rtol=1e-12)
    np.testing.assert_allclose(nn.smooth_l1(a, b, beta=bound, reduction="none"), terms / bound, rtol=1e-12)
    a[:, 0] = b[:, 0]
    gradcheck(lambda a: nn.huber(a, b, delta=bound), a)  # its slope has no jump, at the bound neither


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan])
def test_bounds_are_checked(bad):
    with pytest.raises(SettingError, match="huber: delta="):
        nn.huber([0.0], [0.0], delta=bad)
    with pytest.raises(SettingError, match="smooth_l1: beta="):
        nn.smooth_l1([0.0], [0.0], beta=bad)


def test_l1_is_flat_where_it_is_0():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    nn.l1(x, [1.0, 0.0, 4.0], reduction="sum").backward()
    assert x.grad.tolist() == [0, 1, -1]


def test_log_cosh_far_away():
    d = Tensor(np.array([1e4, -1e4, 0.0]), requires_grad=True)
    loss = nn.log_cosh(d, np.zeros(3), reduction="none")
    np.testing.assert_allclose(loss.data, [1e4 - np.log(2), 1e4 - np.log(2), 0], atol=1e-15)
    loss.sum().backward()
    np.testing.assert_allclose(d.grad.data, [1, -1, 0])
    for dtype in (np.float32, np.float64):
        most = np.finfo(dtype).max
        d = Tensor(np.array([most, -most, np.inf, -np.inf], dtype), requires_grad=True)
        loss = nn.log_cosh(d, np.zeros(4), reduction="none")
        assert loss.tolist() == [most, most, np.inf, np.inf]
        loss.sum().backward()
        assert d.grad.tolist() == [1, -1, 1, -1]


def test_cosine_distance_of_special_directions():
    a = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [0.0, 0.0]])
    b = np.array([[0.0, 2.0], [6.0, 8.0], [-1.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(nn.cosine_distance(a, b, reduction="none"), [1, 0, 2, 1], atol=1e-15)
    zero = Tensor(a, requires_grad=True)
    nn.cosine_distance(zero, b).backward()
    assert np.isfinite(zero.grad.data).all()
    with pytest.raises(ShapeError, match="0-d"):
        nn.cosine_distance(1.0, 2.0)
    for scale in np.array([1e-25, 1.0, 1e19, 1e30], np.float32):  # the products of all but one are out of range
        a = Tensor(np.array([3.0, 4.0], np.float32) * scale, requires_grad=True)
        loss = nn.cosine_distance(a, np.array([4.0, 3.0], np.float32) * scale, eps=1e-30)
        np.testing.assert_allclose(loss.item(), 1 - 24 / 25, rtol=1e-5)  # an ulp of 1 is 3e-6 of it
        loss.backward()
        assert np.isfinite(a.grad.data).all()


def test_pos_weight(rng):
    z, x, w = rng.normal(size=(5, 3)) * 3, rng.uniform(0, 1, (5, 3)), np.array([0.5, 1.0, 4.0])
    p = 1 / (1 + np.exp(-z))
    terms = -w * x * np.log(p) - (1 - x) * np.log(1 - p)
    np.testing.assert_allclose(nn.bce_with_logits(z, x, pos_weight=w, reduction="none"), terms, rtol=1e-10)
    np.testing.assert_allclose(nn.bce_with_logits(z, x, pos_weight=1), nn.bce_with_logits(z, x), rtol=1e-12)
    gradcheck(lambda z, x: nn.bce_with_logits(z, x, pos_weight=w), z, x, order=2)
    assert nn.bce_with_logits(Tensor(z, dtype=np.float32), x, pos_weight=w).dtype == np.float32
    extreme = nn.bce_with_logits(np.array([1e4, -1e4]), np.array([1.0, 0.0]), pos_weight=3.0)
    assert extreme == 0
    with pytest.raises(ShapeError, match=r"pos_weight \(2,\) does not broadcast to \(5, 3\)"):
        nn.bce_with_logits(z, x, pos_weight=[1.0, 2.0])


def test_kl_div_where_a_probability_is_0():
    p = Tensor(np.array([0.5, 0.5, 0.0, 0.0]), requires_grad=True)
    log_q = Tensor(np.log(np.array([0.25, 0.5, 0.25, 1.0])) + [0, 0, 0, -np.inf], requires_grad=True)
    loss = nn.kl_div(log_q, p, reduction="sum")
    np.testing.assert_allclose(loss.item(), 0.5 * np.log(2), rtol=1e-12)
    loss.backward()
    np.testing.assert_allclose(log_q.grad.data, [-0.5, -0.5, 0, 0])
    assert np.isfinite(p.grad.data).all()


def test_kl_div_of_logarithms(rng):
    log_q, p = (softmax(rng.normal(size=(4, 3))) for _ in range(2))
    log_q = np.log(log_q)
    a, b = nn.kl_div(log_q, p, reduction="batch"), nn.kl_div(log_q, np.log(p), log_target=True, reduction="batch")
    np.testing.assert_allclose(a, b, rtol=1e-12)
    gradcheck(lambda a, b: nn.kl_div(a, b, log_target=True), log_q, np.log(p), order=2)


# -- weights and masks ----------------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("which", ["weight", "mask", "both"])
def test_weights_and_masks(rng, name, reduction, which):
    """Against the formula: the mean is sum(w t) / sum(w), a mask being a weight of 0 and 1."""
    loss, (operands, formula) = getattr(nn, name), CASES[name]
    arrays = operands(rng, (5, 4, 3))
    terms = formula(*arrays)
    for shape in (terms.shape, terms.shape[-1:], (5, *[1] * (terms.ndim - 1))):
        weight, mask = rng.uniform(0.1, 2, shape), rng.random(shape) < 0.6
        mask.flat[0] = True
        w = np.broadcast_to({"weight": weight, "mask": mask, "both": weight * mask}[which], terms.shape)
        settings = {"weight": weight, "mask": mask} if which == "both" else {which: locals()[which]}
        expected = {"none": w * terms, "sum": (w * terms).sum(), "mean": (w * terms).sum() / w.sum(),
                    "batch": (w * terms).sum() / 5}[reduction]  # fmt: skip
        made = loss(*map(Tensor, arrays), reduction=reduction, **settings)
        np.testing.assert_allclose(made.data, expected, rtol=1e-10, atol=1e-12)
        as_tensors = {k: Tensor(v) for k, v in settings.items()}
        assert np.array_equal(loss(*arrays, reduction=reduction, **as_tensors).data, made.data)


@each_loss
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_is_masked_is_not_read(rng, name, reduction):
    """NaN and infinities under the mask change neither the value nor any gradient, and get a gradient of 0."""
    operands, formula = CASES[name]
    arrays = operands(rng, (4, 5, 3))
    mask = rng.random(formula(*arrays).shape) < 0.5
    there = np.broadcast_to(mask[..., None] if name in ROWS else mask, arrays[0].shape)
    weight = np.where(mask, 0.7, np.nan)
    results = []
    for spoil in (None, np.nan, np.inf, -np.inf):
        given = [a if spoil is None else np.where(there, a, spoil) for a in arrays]
        leaves = [Tensor(a, requires_grad=True) for a in given]
        loss = getattr(nn, name)(*leaves, reduction=reduction, mask=mask, weight=weight)
        loss.sum().backward()
        results.append([loss.data, *(leaf.grad.data for leaf in leaves)])
        assert not any(leaf.grad.data[~there].any() for leaf in leaves)
    for other in results[1:]:
        assert all(np.array_equal(a, b) and np.isfinite(a).all() for a, b in zip(results[0], other))


@each_loss
def test_gradients_with_weight_and_mask(rng, name):
    operands, formula = CASES[name]
    arrays = operands(rng, (4, 3))
    shape = formula(*arrays).shape
    mask = rng.random(shape) < 0.7
    mask.flat[0] = True

    def function(weight, *values):
        return getattr(nn, name)(*values, weight=weight, mask=mask)

    gradcheck(function, rng.uniform(0.5, 2, shape), *arrays, order=2)


def test_labels_under_a_mask_are_not_read(rng):
    logits, mask = rng.normal(size=(3, 4)), np.array([True, False, True])
    expected = nn.cross_entropy(logits[mask], [1, 3])
    assert nn.cross_entropy(logits, [1, 77, 3], mask=mask) == pytest.approx(expected)
    assert nn.cross_entropy(logits, Tensor([1, -5, 3]), mask=Tensor(mask)).item() == pytest.approx(expected)
    for settings in ({"mask": mask}, {"ignore_index": 0}):
        spoilt = Tensor(np.where(mask[:, None], logits, np.nan), requires_grad=True)
        loss = nn.cross_entropy(spoilt, [1, 0, 3], **settings)
        loss.backward()
        assert loss.item() == pytest.approx(expected) and np.isfinite(spoilt.grad.data).all()
        assert not spoilt.grad.data[1].any()


def test_bce_asks_only_what_counts_for_probabilities():
    assert nn.bce([0.5, 7.0], [1.0, 1.0], mask=[True, False]) == pytest.approx(np.log(2))
    with pytest.raises(SettingError, match="such as 7"):
        nn.bce([0.5, 7.0], [1.0, 1.0], mask=[False, True])


@each_loss
def test_weights_and_masks_keep_the_dtype(rng, name):
    arrays = [Tensor(a, dtype=np.float32) for a in CASES[name][0](rng, (4, 3))]
    for settings in ({"weight": 2.0}, {"weight": np.ones((4,) if name in ROWS else (4, 1))}, {"mask": True},
                     {"weight": [3] * (4 if name in ROWS else 3), "mask": np.ones((), bool)}):  # fmt: skip
        for reduction in REDUCTIONS:
            loss = getattr(nn, name)(*arrays, reduction=reduction, **settings)
            assert loss.dtype == np.float32, (settings, reduction)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"weight": np.ones(4)}, ShapeError, r"mse: weight \(4,\) does not broadcast to \(4, 3\).*\(n, 1\)"),
        ({"weight": np.ones((2, 4, 3))}, ShapeError, r"weight \(2, 4, 3\)"),
        ({"mask": np.ones((4, 2), bool)}, ShapeError, r"mask \(4, 2\)"),
        ({"mask": np.ones((4, 3))}, DtypeError, "mask of dtype float64. Give bools"),
        ({"mask": np.zeros((4, 3), bool)}, ShapeError, "nothing to average"),
        ({"weight": 0.0}, ShapeError, "nothing to average"),
    ],
)
def test_weights_and_masks_are_checked(settings, error, text):
    with pytest.raises(error, match=text):
        nn.mse(np.ones((4, 3)), np.zeros((4, 3)), **settings)


def test_nothing_left_sums_to_nothing():
    mask = np.zeros((4, 3), bool)
    x = np.full((4, 3), np.nan)
    assert nn.mse(x, x, mask=mask, reduction="sum") == nn.mse(x, x, mask=mask, reduction="batch") == 0


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


def test_gaussian_nll_of_rows_far_from_the_mean():
    d, logvar = Tensor(np.array([2e19, 3e38], np.float32), requires_grad=True), np.array([88.0, 200.0], np.float32)
    terms = nn.gaussian_nll(np.zeros_like(logvar), d, logvar, reduction="none")
    ratio = d.data.astype(float) ** 2 * np.exp(-logvar.astype(float))
    np.testing.assert_allclose(terms.data, (np.log(2 * np.pi) + logvar + ratio) / 2, rtol=2e-5)  # ulps of 100, in exp
    terms.sum().backward()
    assert np.isfinite(d.grad.data).all()


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
    assert 1e37 < nn.gaussian_nll(Tensor([1.0]), [0.0], [-1e4]).item() < np.inf
    assert nn.gaussian_nll(Tensor([1.0]), [0.0], [1e4]).item() == pytest.approx(5000.9189)
    assert nn.kl_normal(Tensor([0.0]), [1e4]).item() == np.inf
    assert nn.kl_normal(Tensor([0.0]), [-1e4]).item() == pytest.approx(4999.5)


FAR = np.array([0.0, 1e-45, 1.0, 1e4, 1e10, 1e18, 2e19, 1e30, 3e38])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, loss", {
    "l1": lambda x: nn.l1(x, 0.0 * x.data, reduction="none"),
    "huber": lambda x: nn.huber(x, 0.0 * x.data, reduction="none"),
    "smooth_l1": lambda x: nn.smooth_l1(x, 0.0 * x.data, reduction="none"),
    "log_cosh": lambda x: nn.log_cosh(x, 0.0 * x.data, reduction="none"),
    "bce_with_logits": lambda x: nn.bce_with_logits(x, 0.0 * x.data + 0.5, reduction="none"),
    "gaussian_nll of logvar": lambda x: nn.gaussian_nll(0.0 * x.data, 0.0 * x.data, x, reduction="none"),
    "kl_div": lambda x: nn.kl_div(x, 0.0 * x.data + 0.5, reduction="none"),
}.items())  # fmt: skip
def test_slopes_stay_finite_far_out(name, loss, dtype):
    x = Tensor(np.concatenate([-FAR, FAR]).astype(dtype), requires_grad=True)
    loss(x).sum().backward()
    assert np.isfinite(x.grad.data).all(), (x.data[~np.isfinite(x.grad.data)], name)


def test_huber_of_a_difference_that_overflows():
    x_hat = Tensor([3e38, -3e38], requires_grad=True)
    nn.huber(x_hat, -x_hat.data, delta=2.0, reduction="sum").backward()
    assert x_hat.grad.tolist() == [2.0, -2.0]


def test_gaussian_nll_goes_on_along_its_tangent():
    """In float32 exp(-logvar) leaves the range at 88.7; before that it is the formula, behind that it is straight."""
    logvar, d = np.array([-70.0, -79.0, -90.0, -100.0], np.float32), 1e-9
    t = Tensor(logvar, requires_grad=True)
    loss = nn.gaussian_nll(np.full(4, d, np.float32), np.zeros(4, np.float32), t, reduction="none")
    loss.sum().backward()
    end = 0.9 * np.log(float(np.finfo(np.float32).max))
    power = np.exp(np.minimum(-logvar.astype(float), end))
    beyond = np.maximum(-logvar - end, 0)
    # exp of a float32 argument near 80 is right to 80 / 2 ulp
    np.testing.assert_allclose(loss.data, 0.5 * (logvar + d**2 * power * (1 + beyond) + np.log(2 * np.pi)), rtol=1e-5)
    np.testing.assert_allclose(t.grad.data, 0.5 * (1 - d**2 * power), rtol=1e-5)


def test_kl_div_of_a_probability_of_zero_given_as_its_logarithm():
    log_q = Tensor(np.log([0.5, 0.5]), requires_grad=True)
    loss = nn.kl_div(log_q, np.array([-np.inf, 0.0]), log_target=True, reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2)) and log_q.grad.tolist() == [0.0, -1.0]
    with np.errstate(divide="ignore"):
        never = nn.kl_div(np.log([0.0, 1.0]), np.array([-np.inf, 0.0]), log_target=True, reduction="sum")
    assert never == 0, "what is never there and never predicted costs nothing"


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
        if name in ("cross_entropy", "nll") and first == (4, 1):
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
    assert swapped.dtype == np.float32
    loss(prediction, *rest).backward()
    assert prediction.grad.dtype == np.float32


def test_unsigned_integers_do_not_wrap_around():
    a, b = np.array([1, 200], np.uint8), np.array([3, 100], np.uint8)
    for x, y in [(a, b), (Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b)), (a.tolist(), b)]:
        assert float(nn.mse(x, y)) == (4 + 10000) / 2
    assert nn.mse(a, b).dtype == np.float32
