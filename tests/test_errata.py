"""What is often printed and is not so: beside every right form stands what was said, and that it is refuted."""

import ast
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import tinyae
from tinyae import Tensor, cli, data, grad, nn, ops
from tinyae.engine import no_grad
from tinyae.errata import ERRATA

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def digits():
    return data.as_float(data.load_data("digits").X[:600], scale=16)


def test_every_test_that_is_named_is_here():
    named = [erratum.test for erratum in ERRATA]
    here = [node.name for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert len(set(named)) == len(named) and set(named) <= set(here)
    asserting = {node.name for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.FunctionDef)
                 and any(isinstance(inner, ast.Assert) for inner in ast.walk(node))}  # fmt: skip
    assert set(named) <= asserting


def test_the_readme_has_the_table(capsys):
    cli.main(["show", "errata", "--markdown"])
    table = (ROOT / "README.md").read_text().partition("<!-- errata -->\n")[2].partition("<!-- /errata -->")[0]
    assert table == capsys.readouterr().out
    cli.main(["show", "errata"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(part.split()) in printed for erratum in ERRATA for part in erratum)


def test_kl_has_a_minus_one():
    zero = np.zeros(1)
    assert nn.kl_normal(zero, zero, reduction="sum") == 0, "of a distribution to itself"
    z, step = np.linspace(-20, 20, 40_001, retstep=True)
    for mu, s in ((0.0, 1.0), (1.0, 0.5), (-0.5, 2.0)):
        log_q = -0.5 * ((z - mu) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)
        log_p = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
        integral = np.sum(np.exp(log_q) * (log_q - log_p)) * step  # both vanish at the ends
        kl = nn.kl_normal(np.array([mu]), np.array([2 * math.log(s)]), reduction="sum")
        assert kl == pytest.approx(integral, abs=1e-7)
        assert 0.5 * (mu**2 + s**2 - math.log(s**2) + 1) == pytest.approx(integral + 1, abs=1e-7)


def test_the_posterior_is_of_the_code():
    """z from N(0, 1), x from N(2 z, .5^2): over z the decoder's density sums to 1 / 2, Bayes' to 1."""
    x, z = 1.3, np.linspace(-9, 9, 18_001)
    step = z[1] - z[0]
    likelihood = np.exp(-nn.gaussian_nll(np.full_like(z, x), 2 * z, np.full_like(z, 2 * math.log(0.5)),
                                         reduction="none"))  # fmt: skip
    assert likelihood.sum() * step == pytest.approx(1 / 2, abs=1e-6), "not a density of z"
    joint = likelihood * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    posterior = joint / (joint.sum() * step)
    assert posterior.sum() * step == pytest.approx(1)
    mean, mode = (posterior * z).sum() * step, z[likelihood.argmax()]
    assert mean == pytest.approx(2 * x / (0.5**2 + 4), abs=1e-6) and mode == pytest.approx(x / 2, abs=step)


def test_cross_entropy_has_a_minus():
    p = np.array([0.7, 0.2, 0.1])
    for q in (p, np.array([0.1, 0.2, 0.7])):
        said = np.sum(p * np.log(q))
        assert nn.cross_entropy(np.log(q), p) == pytest.approx(-said) and said < 0
    logits = Tensor(np.log(p), requires_grad=True)
    np.testing.assert_allclose(grad(nn.cross_entropy(logits, p), logits).data, 0.0, atol=1e-12)
    for sign, right in ((1, True), (-1, False)):
        with no_grad():
            q = Tensor(np.zeros(3))
        for _ in range(200):
            q = Tensor(q.data, requires_grad=True)
            q = q.detach() - grad(sign * nn.cross_entropy(q, p), q)
        assert np.allclose(ops.softmax(q).data, p, atol=1e-3) is right


def test_the_count_of_images_is_a_power():
    for pixels, colours in ((2, 3), (4, 2), (3, 5)):
        images = set(itertools.product(range(colours), repeat=pixels))
        assert len(images) == colours**pixels != pixels * colours
    digits = math.floor(40_000 * math.log10(256**3)) + 1
    assert digits == 288_989
    assert len(str(40_000 * 256**3)) == 12


def test_small_codes_are_not_zeros(digits):
    settings = {"n_components": 20, "penalty": 3e-3, "max_iter": 20, "lr": 5e-3, "random_state": 0}
    smooth = tinyae.SparseAutoencoder(activation="sigmoid", code_activation="sigmoid", **settings).fit(digits)
    free = tinyae.SparseAutoencoder(activation="sigmoid", code_activation="sigmoid", **settings | {"penalty": 0.0}).fit(
        digits
    )
    assert smooth.transform(digits).mean() < 0.6 * free.transform(digits).mean(), "small they are"
    assert smooth.fraction_of_zero_codes(digits) == 0
    clipped = tinyae.SparseAutoencoder(**settings).fit(digits)
    zero = clipped.transform(digits) == 0
    dead = zero.all(axis=0)
    assert zero.mean() > 0.5 and dead.any()
    assert zero[:, ~dead].mean() < zero.mean() - 0.1, "a good part of the zeros is of units that never wake"


def test_codes_are_sparse_and_weights_are_not(digits):
    model = tinyae.SparseAutoencoder(20, penalty=3e-3, max_iter=20, lr=5e-3, random_state=0).fit(digits)
    assert model.fraction_of_zero_codes(digits) > 0.5
    weights = model.net_.encoder[0].weight.data
    assert np.count_nonzero(weights) == weights.size


def test_a_jacobian_is_divided_by_a_slash(digits):
    model = tinyae.ContractiveAutoencoder(4, dtype="float64", random_state=0).build(64)
    X = digits[:10].astype(np.float64)
    squares = model.jacobian_norm(X) ** 2
    batch = len(X)
    assert np.mean(squares) == np.sum(squares) / batch > 0
    assert 0 < squares.max() < batch and np.all(squares // batch == 0), "a penalty of nothing"
    weights = next(iter(model.net_.encoder.parameters()))
    model.net_.train()
    slope = grad(model.loss_terms(X, X)["contraction"].sum() / batch, weights).data
    change = 1e-6 * slope / np.linalg.norm(slope)
    before = weights.data.copy()
    weights.data = before + change
    moved = model.jacobian_norm(X) ** 2
    assert moved.sum() > squares.sum() and np.array_equal(moved // batch, squares // batch), "no slope to descend"


def test_pixels_have_a_sigmoid_each():
    image = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    far = np.where(image == 1, 30.0, -30.0)
    assert nn.bce_with_logits(far, image, reduction="sum") < 1e-9
    shared = ops.softmax(far)
    np.testing.assert_allclose(shared, image / 4, atol=1e-12)
    best = nn.bce(shared, image, reduction="sum")
    assert best == pytest.approx(4 * math.log(4), rel=1e-6)
    rng = np.random.default_rng(0)
    for logits in rng.normal(scale=3, size=(200, 6)):
        assert nn.bce(ops.softmax(logits), image, reduction="sum") > best


def test_sigma_is_the_root_of_the_variance(digits):
    model = tinyae.VAE(3, random_state=0, max_iter=3).fit(digits)
    with no_grad():
        mu, logvar = (Tensor(np.tile(part.data[:1], (40_000, 1))) for part in model.encode(Tensor(digits[:1])))
        spread = np.asarray(model.code((mu, logvar)).data, np.float64).std(axis=0)
    said, right = np.exp(logvar.data[0]), np.exp(0.5 * logvar.data[0])
    five = 5 / math.sqrt(2 * 40_000)  # standard errors of a standard deviation, as a share of it
    np.testing.assert_allclose(spread, right, rtol=five)
    assert np.all(np.abs(said / right - 1) > five), "the two differ here"
    np.testing.assert_allclose(model.posterior(digits[:1])[1][0], right, rtol=1e-5)


def test_samples_are_of_the_prior(digits):
    model = tinyae.VAE(3, hidden=(64,), random_state=0, max_iter=60, lr=3e-3).fit(digits)
    means, widths = (part.astype(np.float64) for part in model.posterior(digits))
    spread = np.sqrt(means.var(axis=0) + (widths**2).mean(axis=0))
    assert np.all((0.7 < spread) & (spread < 1.4)), "the KL term asks for 1, of all the rows together"
    z = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    varied, narrow = (model.inverse_transform(scale * z).var(axis=0).sum() for scale in (1.0, 0.1))
    assert narrow < varied / 10
    assert model.sample(500, 0).var(axis=0).sum() == pytest.approx(varied, rel=0.2)


def test_averages_weigh_kl_anew(digits):
    model = tinyae.VAE(4, random_state=0).build(64)
    x = digits[:50]
    with no_grad():
        model.net_.eval()
        h = model.encode(Tensor(x))
        nll = nn.bce_with_logits(model.net_.decoder(h[0]), x, reduction="none")
        kl = nn.kl_normal(*h, reduction="none")
        sums = nll.sum(axis=1).mean().item() + kl.sum(axis=1).mean().item()
        averages, kl_of_averages = nll.mean().item() + kl.mean().item(), kl.mean().item()
    assert 64 * averages == pytest.approx(sums + (64 / 4 - 1) * 4 * kl_of_averages, rel=1e-5), "as if beta were 64 / 4"
    assert 64 * averages > sums + 1e-3


def test_a_sum_over_the_batch_is_batch_size_times_its_mean(digits):
    terms = {}
    for reduction in ("batch_mean", "batch_sum", "mean"):
        model = tinyae.SparseAutoencoder(8, penalty=1e-2, reduction=reduction, batch_size=32, random_state=0).build(64)
        with no_grad():
            terms[reduction] = model.loss_terms(digits[:32], digits[:32])["activity"].mean().item()
    codes = model.transform(digits[:32])
    assert terms["batch_sum"] == pytest.approx(1e-2 * np.abs(codes).sum(), rel=1e-5)
    assert terms["batch_sum"] == pytest.approx(32 * terms["batch_mean"]) == pytest.approx(32 * 8 * terms["mean"])


def test_a_sum_over_pixels_is_no_mean(digits):
    model = tinyae.Autoencoder(8, loss="mse", random_state=0, max_iter=2).fit(digits)
    squares = (model.reconstruct(digits) - digits) ** 2
    per_pixel = -model.score(digits)
    assert per_pixel == pytest.approx(squares.mean(), rel=1e-5)
    assert squares.sum(axis=1).mean() == pytest.approx(64 * per_pixel, rel=1e-5)
    assert 3.00 / 784 == pytest.approx(0.0038, abs=5e-5)


def test_grey_images_cost_their_entropy():
    grey = np.array([0.5, 0.2, 0.9, 0.0])
    perfect = np.clip(grey, 1e-7, 1 - 1e-7)
    cost = nn.bce(perfect, grey, reduction="sum")
    entropy = -sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in (0.5, 0.2, 0.9))
    assert cost == pytest.approx(entropy, abs=1e-5) and cost > 1
    for drawn in (np.round(grey), np.array([1.0, 0.0, 1.0, 0.0])):
        assert nn.bce(np.clip(drawn, 1e-7, 1 - 1e-7), drawn, reduction="sum") < 1e-5, "of a drawn image it is 0"
