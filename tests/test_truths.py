"""Truths without an oracle: what mathematics says must come out, whatever the implementation.

First identities of functions and of linear maps, then of gradients, then of probability, then of whole models.
"""

import itertools
import math

import numpy as np
import pytest
from cases import CASES
from cases.arrays import values
from hypothesis import given
from hypothesis import strategies as st

from tinyae import VAE, Generator, Tensor, grad, nn, ops
from tinyae.engine import OPS
from tinyae.optim import SGD, Adam


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


# -- functions ------------------------------------------------------------------------------------------------------

X = np.concatenate([np.linspace(-30, 30, 601), [-700.0, 700.0, 0.0, 1e-8, -1e-8]])

IDENTITIES = {  # two sides that are equal for every x
    "sigmoid(-x) = 1 - sigmoid(x)": lambda x: (ops.sigmoid(-x), 1.0 - ops.sigmoid(x)),
    "tanh(x) = 2 sigmoid(2x) - 1": lambda x: (ops.tanh(x), 2.0 * ops.sigmoid(2.0 * x) - 1.0),
    "tanh is odd": lambda x: (ops.tanh(-x), -ops.tanh(x)),
    "erf is odd": lambda x: (ops.erf(-x), -ops.erf(x)),
    "erf + erfc = 1": lambda x: (ops.erf(x) + ops.erfc(x), x * 0.0 + 1.0),
    "softplus(x) - softplus(-x) = x": lambda x: (ops.softplus(x) - ops.softplus(-x), x),
    "silu(x) - silu(-x) = x": lambda x: (ops.silu(x) - ops.silu(-x), x),
    "gelu(x) - gelu(-x) = x": lambda x: (ops.gelu(x) - ops.gelu(-x), x),
    "relu(x) - relu(-x) = x": lambda x: (ops.relu(x) - ops.relu(-x), x),
    "relu(x) + relu(-x) = |x|": lambda x: (ops.relu(x) + ops.relu(-x), ops.abs(x)),
    "log(exp(x)) = x": lambda x: (ops.log(ops.exp(x * 0.1)), x * 0.1),
    "exp(x) exp(-x) = 1": lambda x: (ops.exp(x * 0.1) * ops.exp(x * -0.1), x * 0.0 + 1.0),
    "sqrt(x**2) = |x|": lambda x: (ops.sqrt(ops.square(x)), ops.abs(x)),
}


@pytest.mark.parametrize("sides", IDENTITIES.values(), ids=IDENTITIES.keys())
def test_identity(sides, dtype):
    """To a few units in the last place of the larger terms, in value and in slope."""
    eps = np.finfo(dtype).eps
    left, right = sides(X.astype(dtype))
    np.testing.assert_allclose(left, right, rtol=32 * eps, atol=32 * eps)
    x = Tensor(X[X != 0].astype(dtype), requires_grad=True)
    left, right = (grad(side.sum(), x, allow_unused=True).data if side.requires_grad else x.data * 0.0
                   for side in sides(x))  # fmt: skip
    np.testing.assert_allclose(left, right, rtol=64 * eps, atol=64 * eps)


@given(data=st.data())
def test_a_shift_of_the_logits(data):
    """softmax forgets it, logsumexp adds it; and so their gradients sum to 0 and to 1."""
    x, c = values(data.draw, (3, 5)), data.draw(st.floats(-50, 50))
    np.testing.assert_allclose(ops.softmax(x + c), ops.softmax(x), rtol=1e-12)
    np.testing.assert_allclose(ops.log_softmax(x + c), ops.log_softmax(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ops.logsumexp(x + c), ops.logsumexp(x) + c, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ops.softmax(x).sum(-1), 1.0, rtol=1e-14)
    t, u = Tensor(x, requires_grad=True), values(data.draw, (3, 5))
    np.testing.assert_allclose(grad(ops.softmax(t), t, u).data.sum(-1), 0.0, atol=1e-13)
    np.testing.assert_allclose(grad(ops.log_softmax(t), t, u).data.sum(-1), 0.0, atol=1e-13)
    np.testing.assert_allclose(grad(ops.logsumexp(t), t, np.ones(3)).data.sum(-1), 1.0, rtol=1e-13)


# Linear in their one or many operands, whatever the settings.
LINEAR = [
    "neg", "sum", "broadcast_to", "sum_to", "reshape", "transpose", "getitem", "_scatter", "concat", "stack", "cast",
]  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
@given(data=st.data())
def test_a_linear_map_and_its_transpose(name, data):
    """<f(x), c> = <x, f'(c)>, with f'(c) the gradient, which does not depend on x; and f(2 x) = 2 f(x)."""
    arrays, settings = CASES[name](data.draw)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    leaves = [Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x for x in arrays]
    wanted = [t for t in leaves if isinstance(t, Tensor)]
    y = OPS[name](*leaves, **settings)
    c = rng.standard_normal(y.shape)
    gradients = grad(y, wanted, c)
    left = np.sum(y.data * c)
    right = sum(np.sum(t.data * g.data) for t, g in zip(wanted, gradients))
    size = np.sum(np.abs(y.data * c))
    assert abs(left - right) <= 1e-13 * size + 1e-300
    twice = OPS[name](*[2.0 * t.data if isinstance(t, Tensor) else t for t in leaves], **settings)
    assert np.array_equal(twice, 2.0 * y.data)
    elsewhere = [Tensor(t.data + 1.0, requires_grad=True) if isinstance(t, Tensor) else t for t in leaves]
    again = grad(OPS[name](*elsewhere, **settings), [t for t in elsewhere if isinstance(t, Tensor)], c)
    assert all(np.array_equal(g.data, h.data) for g, h in zip(gradients, again))


@pytest.mark.parametrize(("degree", "function"), [
    (1, lambda x: ops.abs(x).sum()), (1, lambda x: ops.sqrt(ops.square(x).sum())), (1, lambda x: x.max()),
    (2, lambda x: (x @ x.mT).sum()), (3, lambda x: (x**3).sum()), (-1, lambda x: 1.0 / x.sum()),
    (0, lambda x: x.max() / x.sum()), (1, lambda x: x.std()), (2, lambda x: x.var()),
])  # fmt: skip
def test_euler_on_homogeneous_functions(degree, function, rng):
    """f(t x) = t**k f(x) makes <x, grad f> = k f(x); the gradient is homogeneous too, of degree k - 1."""
    x = Tensor(rng.uniform(0.5, 2.0, (3, 4)), requires_grad=True)
    g = grad(function(x), x, create_graph=True)
    assert (g.data * x.data).sum() == pytest.approx(degree * function(x).item(), rel=1e-12, abs=1e-12)
    if g.requires_grad:  # Hessian times x = (k - 1) gradient
        hx = grad((g * x.detach()).sum(), x).data
        np.testing.assert_allclose(hx, (degree - 1) * g.data, rtol=1e-10, atol=1e-10)


# -- gradients ------------------------------------------------------------------------------------------------------


def network(seed=0, sizes=(6, 5, 4, 6), activation=nn.Tanh):
    """A small dense autoencoder in float64, with biases that are not 0."""
    rng = np.random.default_rng(seed)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b, generator=rng), activation())]
    net = nn.Sequential(*layers[:-1]).astype(np.float64)
    for p in net.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    return net


def gradients(net, loss):
    return [g.data for g in grad(loss, list(net.parameters()))]


def test_gradients_of_samples_add_up_to_the_batches(rng):
    """To rounding: the batch's loss is the sum of its rows' losses, whoever does the summing."""
    net, x = network(), rng.standard_normal((20, 6))
    rows = [gradients(net, ops.square(net(Tensor(row[None])) - row[None]).sum()) for row in x]
    for whole, parts in zip(gradients(net, ops.square(net(Tensor(x)) - x).sum()), zip(*rows)):
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-12, atol=1e-12)


def test_a_step_lowers_the_loss_as_the_slope_foretells(rng):
    """L(w - lr g) = L(w) - lr |g|**2 + lr**2/2 g H g + O(lr**3), H g by differentiating twice; the step is SGD's."""
    x = rng.standard_normal((20, 6))
    loss_of = lambda net: nn.mse(net(Tensor(x)), x)  # noqa: E731
    net = network()
    parameters = list(net.parameters())
    g = grad(loss_of(net), parameters, create_graph=True)
    slope = sum(ops.square(part).sum() for part in g)
    curvature = sum((h.data * part.data).sum() for h, part in zip(grad(slope, parameters), g)) / 2
    before = loss_of(net).item()
    for lr in (1e-1, 1e-2, 1e-3):
        net = network()
        optimizer = SGD(net.parameters(), lr=lr)
        loss_of(net).backward()
        optimizer.step()
        remainder = loss_of(net).item() - before + lr * slope.item()
        assert remainder == pytest.approx(lr**2 / 2 * curvature, rel=lr * 3, abs=1e-14)
        assert 0 < abs(remainder) < lr * slope.item()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU])
def test_hidden_units_have_no_order(activation, rng):
    """Permuting a layer's units, in both matrices that touch them, changes no output and no loss; gradients follow."""
    x, order = rng.standard_normal((20, 6)), rng.permutation(5)
    net, other = network(activation=activation), network(activation=activation)
    first, second = [m for m in other if isinstance(m, nn.Linear)][:2]
    first.weight.data, first.bias.data = first.weight.data[:, order], first.bias.data[order]
    second.weight.data = second.weight.data[order]
    losses = [nn.mse(n(Tensor(x)), x) for n in (net, other)]
    np.testing.assert_allclose(other(Tensor(x)).data, net(Tensor(x)).data, rtol=1e-12, atol=1e-13)
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-13)
    w1, b1, w2, *rest = gradients(net, losses[0])
    for a, b in zip([w1[:, order], b1[order], w2[order], *rest], gradients(other, losses[1])):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)


# -- probability ----------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_kl_is_never_negative(data):
    """And 0 at the prior alone, where its gradient is 0 as well."""
    mu, logvar = values(data.draw, (4, 3)), values(data.draw, (4, 3), (-8.0, 4.0))
    assert (nn.kl_normal(mu, logvar, reduction="none") > 0).all()
    zero = Tensor(np.zeros(3), requires_grad=True)
    kl = nn.kl_normal(zero, zero, reduction="sum")
    assert kl.item() == 0 and grad(kl, zero).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.5), (1.0, 0.5), (-2.0, 1.0), (0.3, 0.1)])
def test_kl_is_what_sampling_says(mu, sigma):
    """The mean of log q(z) - log p(z) over draws from q, within five standard errors; its slopes likewise."""
    n = 200_000
    leaves = m, logvar = [Tensor(v, requires_grad=True, dtype=np.float64) for v in (mu, 2 * math.log(sigma))]
    z = m + ops.exp(0.5 * logvar) * ops.normal(np.zeros(n), generator=Generator(3))
    zeros = np.zeros(n)
    log_q = -nn.gaussian_nll(z, m + zeros, logvar, reduction="none")
    terms = log_q + nn.gaussian_nll(z, zeros, np.zeros(()), reduction="none")
    kl = nn.kl_normal(m, logvar, reduction="sum")
    assert abs(terms.mean().item() - kl.item()) < 5 * terms.std().item() / math.sqrt(n)
    for sampled, exact in zip(grad(terms.mean(), leaves), grad(kl, leaves)):
        assert sampled.item() == pytest.approx(exact.item(), abs=0.02 * max(1.0, abs(exact.item())))


class LinearGaussian:
    """z ~ N(0, 1), x | z ~ N(W z + b, s**2): everything about it is known in closed form."""

    def __init__(self, seed, d=4, k=2):
        rng = np.random.default_rng(seed)
        self.W, self.b, self.s = rng.standard_normal((d, k)), rng.standard_normal(d), 0.7
        self.x = rng.standard_normal((5, k)) @ self.W.T + self.b + self.s * rng.standard_normal((5, d))

    def log_likelihood(self):
        """log N(x; b, W W' + s**2), per row."""
        cov = self.W @ self.W.T + self.s**2 * np.eye(len(self.b))
        r = self.x - self.b
        return -0.5 * (np.einsum("ij,ij->i", r, np.linalg.solve(cov, r.T).T) + np.linalg.slogdet(2 * np.pi * cov)[1])

    def posterior(self):
        """The mean of z given each row, and the covariance that all rows share."""
        precision = self.W.T @ self.W / self.s**2 + np.eye(self.W.shape[1])
        return (self.x - self.b) @ self.W @ np.linalg.inv(precision) / self.s**2, np.linalg.inv(precision)

    def log_joint(self, z):
        """log p(x, z). Shape: (draws, rows, k) -> (draws, rows)."""
        x_hat = z @ self.W.T + self.b
        x = np.broadcast_to(self.x, x_hat.shape)
        log_p = -nn.gaussian_nll(x, x_hat, np.float64(2 * math.log(self.s)), reduction="none").sum(axis=-1)
        return log_p - nn.gaussian_nll(z, z * 0.0, np.float64(0.0), reduction="none").sum(axis=-1)


@pytest.mark.parametrize("seed", range(3))
def test_elbo_iwae_and_the_likelihood(seed):
    """ELBO <= IWAE-2 <= ... <= IWAE-6 for every set of draws, and all below log p(x) in the mean over many sets.

    Burda, Grosse and Salakhutdinov 2016, theorem 1. For fixed draws the mean over all subsets of k is monotone in k
    without any chance, by Jensen's inequality: so the test cannot fail by bad luck.
    """
    model, draws, sets, rows = LinearGaussian(seed), 6, 2000, 5
    mu, cov = model.posterior()
    mu, sigma = mu + 0.3, 1.5 * np.sqrt(np.diag(cov))  # a posterior that is off on purpose
    noise = ops.normal(np.zeros((draws, sets * rows, 2)), generator=Generator(seed))
    z = (np.tile(mu, (sets, 1)) + sigma * noise)
    model.x = np.tile(model.x, (sets, 1))
    log_q = -nn.gaussian_nll(z, np.broadcast_to(np.tile(mu, (sets, 1)), z.shape),
                             np.broadcast_to(2 * np.log(sigma), z.shape), reduction="none").sum(axis=-1)  # fmt: skip
    log_w = model.log_joint(z) - log_q  # (draws, sets * rows)
    bounds = []
    for k in range(1, draws + 1):
        subsets = [list(s) for s in itertools.combinations(range(draws), k)]
        bounds.append(np.mean([ops.logsumexp(log_w[s], axis=0) - math.log(k) for s in subsets], axis=0))
    for lower, upper in itertools.pairwise(bounds):
        assert (lower <= upper + 1e-12).all() and lower.mean() < upper.mean() - 1e-4
    gaps = [model.log_likelihood() - b for b in bounds]
    assert gaps[-1].mean() > 5 * gaps[-1].std() / math.sqrt(sets * rows), "by five standard errors"
    assert gaps[0].mean() > 3 * gaps[-1].mean(), "six draws close most of the gap"


def test_with_the_true_posterior_every_bound_is_the_likelihood():
    """log p(x, z) - log q(z | x) is log p(x) for every single z, so nothing is left to chance."""
    model = LinearGaussian(0, k=1)  # one component: its posterior is diagonal
    mu, cov = model.posterior()
    z = mu + math.sqrt(cov[0, 0]) * ops.normal(np.zeros((7, 5, 1)), generator=Generator(0))
    log_q = -nn.gaussian_nll(z, np.broadcast_to(mu, z.shape), np.log(cov[0, 0]), reduction="none").sum(axis=-1)
    np.testing.assert_allclose(model.log_joint(z) - log_q, np.tile(model.log_likelihood(), (7, 1)), rtol=1e-12)


# -- models ---------------------------------------------------------------------------------------------------------


def clouds(seed=0, n=300):
    """Centred rows whose three largest principal axes stand out, and the eigenvalues and axes of their covariance."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    x = rng.standard_normal((n, 8)) * [3.0, 2.0, 1.4, 0.5, 0.4, 0.3, 0.3, 0.2] @ rotation
    x -= x.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh(x.T @ x / n)
    return x, eigenvalues[::-1], axes[:, ::-1]


def descend(loss, parameters, steps):
    """Adam on the whole of the data, steps being (lr, how many); the last loss."""
    optimizer = Adam(parameters, lr=0.1)
    for lr, n in steps:
        optimizer.lr = lr
        for _ in range(n):
            for p in parameters:
                p.grad = None
            loss().backward()
            optimizer.step()
    return loss().item()


def test_a_linear_autoencoder_finds_the_principal_subspace():
    """The error is the sum of the eigenvalues left out; both matrices span the same space. Baldi and Hornik 1989."""
    x, eigenvalues, axes = clouds()
    net = nn.Sequential(nn.Linear(8, 3, bias=False, generator=np.random.default_rng(1)),
                        nn.Linear(3, 8, bias=False, generator=np.random.default_rng(2))).astype(np.float64)  # fmt: skip
    steps = (0.05, 400), (0.02, 1200), (0.005, 600)
    loss = descend(lambda: ops.square(net(Tensor(x)) - x).sum() / len(x), list(net.parameters()), steps)
    assert loss == pytest.approx(eigenvalues[3:].sum(), rel=1e-6)
    for matrix in (net[1].weight.data.T, net[0].weight.data):  # what is written, and what is read
        basis = np.linalg.qr(matrix)[0]
        cosines = np.linalg.svd(basis.T @ axes[:, :3])[1]
        np.testing.assert_allclose(cosines, 1.0, rtol=1e-5)


def test_a_linear_vae_reaches_the_likelihood_of_probabilistic_pca():
    """The largest ELBO is the largest log-likelihood of Tipping and Bishop's model (Lucas et al. 2019).

    Trained on the exact expectation; `VAE` with these weights, which samples, agrees within its standard error.
    """
    x, eigenvalues, _ = clouds()
    d, k = x.shape[1], 3
    rest = eigenvalues[k:].mean()
    best = -0.5 * (d * math.log(2 * math.pi) + np.log(eigenvalues[:k]).sum() + (d - k) * math.log(rest) + d)
    rng = np.random.default_rng(0)
    start = 0.3 * rng.standard_normal((d, k)), 0.3 * rng.standard_normal((k, d)), np.zeros(k), np.zeros(())
    parameters = V, W, logvar, log_s = [Tensor(p, requires_grad=True) for p in start]

    def negative_elbo():
        """E |x - z W|**2 = |x - mu W|**2 + sum of the variances times the rows' lengths squared."""
        mu = x @ V
        spread = (ops.exp(logvar) * ops.square(W).sum(axis=1)).sum()
        squares = ops.square(x - mu @ W).sum(axis=1).mean() + spread
        nll = 0.5 * (squares * ops.exp(-2.0 * log_s) + d * (2.0 * log_s + math.log(2 * math.pi)))
        return nll + nn.kl_normal(mu, mu * 0.0 + logvar, reduction="batch")

    steps = (0.05, 400), (0.02, 400), (0.005, 600), (0.001, 300)
    assert -descend(negative_elbo, parameters, steps) == pytest.approx(best, abs=1e-4)
    assert math.exp(2 * log_s.item()) == pytest.approx(rest, rel=1e-3)

    vae = VAE(k, hidden=(), loss="gaussian", output_activation="linear", dtype="float64", random_state=0).build(d)
    (encoder,), (decoder,) = vae.net_.encoder, vae.net_.decoder
    encoder.weight.data = np.concatenate([V.data, np.zeros((d, k))], axis=1)
    encoder.bias.data = np.concatenate([np.zeros(k), logvar.data])
    decoder.weight.data, decoder.bias.data = W.data, 0.0
    vae.net_.log_sigma.data = log_s.data
    means = [sum(term.mean().item() for term in vae.loss_terms(Tensor(x), Tensor(x)).values()) for _ in range(200)]
    assert -np.mean(means) == pytest.approx(best, abs=5 * np.std(means) / math.sqrt(200) + 1e-4)
    assert np.std(means) < 0.2, "else the line above says nothing"
