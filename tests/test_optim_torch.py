"""Ten steps of every optimizer beside PyTorch's, in float64, on a small network's own gradients.

The loss has a quadratic term: without it there are valleys so flat that in the 200 iterations of ten L-BFGS steps
rounding alone grows to tenths, and no two programs agree.
"""

import numpy as np
import pytest

from tinyae import Tensor, nn, optim, ops

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).normal(size=(12, 5))
SHAPES = [(5, 4), (4,), (4, 5), (5,)]


def starts():
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape) * 0.5 for shape in SHAPES]


def mine(make):
    """(parameters, the optimizer, a closure)"""
    parameters = [Tensor(s, requires_grad=True) for s in starts()]
    optimizer = make(optim, parameters)

    def closure():
        optimizer.zero_grad()
        w, b, v, c = parameters
        loss = nn.mse(ops.tanh(Tensor(X) @ w + b) @ v + c, X) + 0.03 * sum((p * p).sum() for p in parameters)
        loss.backward()
        return loss

    return parameters, optimizer, closure


def theirs(make):
    parameters = [torch.tensor(s, requires_grad=True) for s in starts()]
    optimizer = make(torch.optim, parameters)
    x = torch.tensor(X)

    def closure():
        optimizer.zero_grad()
        w, b, v, c = parameters
        loss = torch.nn.functional.mse_loss(torch.tanh(x @ w + b) @ v + c, x)
        loss = loss + 0.03 * sum((p * p).sum() for p in parameters)
        loss.backward()
        return loss

    return parameters, optimizer, closure


def same(make, steps=10, tolerance=1e-9, between=lambda optimizer, module, t: None):
    (p, one, closure), (q, other, reference) = mine(make), theirs(make)
    for t in range(steps):
        loss, expected = one.step(closure), other.step(reference)
        assert loss.item() == pytest.approx(expected.item(), abs=tolerance, rel=tolerance)
        between(one, optim, t)
        between(other, torch.optim, t)
    for a, b, s in zip(p, q, starts()):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=tolerance, atol=tolerance)
        assert not np.allclose(a.data, s)


CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.8, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "betas": (0.7, 0.5), "amsgrad": True, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1, "maximize": True, "amsgrad": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "betas": (0.7, 0.5), "amsgrad": True, "weight_decay": 0.3, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "momentum": 0.8, "centered": True, "maximize": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.8}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("Adadelta", {"lr": 1.0}),
    ("Adadelta", {"lr": 2.0, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("LBFGS", {}),
    ("LBFGS", {"lr": 0.3, "max_iter": 4, "history_size": 3}),
    ("LBFGS", {"max_iter": 1, "lr": 0.5}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 3, "history_size": 2, "lr": 0.4}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 6, "max_eval": 5, "lr": 20.0}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 2, "max_eval": 40, "lr": 1e-3}),
    ("LBFGS", {"tolerance_grad": 1e-2, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"tolerance_change": 1e-3, "lr": 0.1}),
]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n}-{','.join(s)}" for n, s in CASES])
def test_ten_steps(name, settings):
    same(lambda module, parameters: getattr(module, name)(parameters, **settings))


@pytest.mark.parametrize("settings", [
    {"lr": 1e-3},
    {"lr": 1.0, "line_search_fn": "strong_wolfe"},
    {"lr": 1e-4, "line_search_fn": "strong_wolfe"},
    {"lr": 1e4, "line_search_fn": "strong_wolfe"},
    {"lr": 0.1, "line_search_fn": "strong_wolfe", "history_size": 1},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("start", [(-1.2, 1.0), (2.0, -2.0), (0.0, 3.0)])
def test_lbfgs_on_a_bent_valley(settings, start):
    """Rosenbrock's function, an iteration at a time: brackets, zooms and extrapolations are the same ones."""
    p, q = Tensor(list(start), dtype=np.float64, requires_grad=True), torch.tensor(start, dtype=torch.float64,
                                                                                   requires_grad=True)  # fmt: skip
    calls = []

    def closure(p, optimizer):
        calls.append(optimizer)
        optimizer.zero_grad()
        loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        loss.backward()
        return loss

    one = optim.LBFGS([p], max_iter=1, max_eval=30, **settings)
    other = torch.optim.LBFGS([q], max_iter=1, max_eval=30, **settings)
    for _ in range(10):
        one.step(lambda: closure(p, one))
        other.step(lambda: closure(q, other))
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-9, atol=1e-9)
        assert calls.count(one) == calls.count(other)
    assert calls.count(one) > 10 or not settings.get("line_search_fn")


GROUPS = [
    ("SGD", {"lr": 0.3, "weight_decay": 0.1}, {"momentum": 0.9}),
    ("SGD", {"lr": 0.3, "momentum": 0.5, "nesterov": True}, {"momentum": 0.9}),
    ("SGD", {"lr": 0.1, "dampening": 0.0}, {"momentum": 0.9, "dampening": 0.2}),
    ("Adam", {"lr": 0.3, "betas": (0.5, 0.6), "amsgrad": True}, {"weight_decay": 0.1}),
    ("AdamW", {"lr": 0.3, "maximize": True}, {"weight_decay": 0.5}),
    ("RMSprop", {"lr": 0.3, "momentum": 0.5}, {"centered": True}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.5}, {"weight_decay": 0.1}),
    ("Adadelta", {"lr": 3.0, "rho": 0.5}, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "own", "settings"), GROUPS, ids=[f"{n}-{','.join(o)}" for n, o, _ in GROUPS])
def test_groups(name, own, settings):
    """The second group, with settings of its own, joins after three steps; then the rate of one is changed."""

    def between(optimizer, module, t):
        if t == 2:
            optimizer.add_param_group({"params": late[module], **own})
        if t == 5:
            optimizer.param_groups[0]["lr"] *= 0.5

    late = {}

    def make(module, parameters):
        late[module] = parameters[2:]
        return getattr(module, name)([{"params": parameters[:2]}], lr=0.05, **settings)

    same(make, between=between)


def test_clipping():
    for maximum, norm_type in [(0.1, 2.0), (0.05, 1.0), (0.01, 3.5), (0.02, float("inf")), (1e3, 2.0)]:
        (p, _, closure), (q, _, reference) = mine(lambda m, p: m.SGD(p, lr=0.1)), theirs(lambda m, p: m.SGD(p, lr=0.1))
        closure()
        reference()
        norm = optim.clip_grad_norm_(p, maximum, norm_type)
        assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(q, maximum, norm_type).item(), rel=1e-12)
        for a, b in zip(p, q):
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12)
        optim.clip_grad_value_(p, 0.005)
        torch.nn.utils.clip_grad_value_(q, 0.005)
        for a, b in zip(p, q):
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12)
