"""tinyae/plan/agree.py: rounding is no difference, however large a step a rule makes of it; everything else is."""

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import PlanError
from tinyae.plan.machine import Machine

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
X = np.random.default_rng(0).standard_normal((6, 2, 5, 5)).astype(np.float32)


def convolutions(seed):
    """A bias before a normalisation, whose gradient is 0 but for rounding."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, generator=seed), nn.BatchNorm2d(3, affine=seed % 2 == 0), nn.ReLU(),
                         nn.Flatten(), nn.Linear(27, 4, generator=seed), nn.BatchNorm1d(4))  # fmt: skip


def trainer(net, optimizer):
    def step(x):
        optimizer.zero_grad()
        loss = ops.mean(ops.square(net(x) - x.flatten(1)[:, :4]))
        loss.backward()
        optimizer.step()
        return loss

    return step


RULES = {
    "sgd": lambda p: optim.SGD(p, lr=0.1), "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=0.01), "signs": lambda p: optim.Adam(p, lr=0.01, betas=(0.0, 0.0)),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01), "adadelta": optim.Adadelta,
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES)
def test_a_bias_before_a_normalisation(rule, backend):
    for seed in range(6):
        net = convolutions(seed)
        step = tinyae.compile(trainer(net, RULES[rule](net.parameters())), backend=backend)
        for _ in range(11):  # compared at the second and the tenth
            step(X)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_that_cancels(dtype, backend):
    """The sum of a softmax is 1, whatever goes in."""
    x = X[:, 0, 0].astype(dtype)

    def step(x):
        x.requires_grad_(True)
        loss = ops.elu(ops.softmax(x, axis=None)).sum() + ops.softmax(x, axis=0).sum()
        return tinyae.grad(loss * 0.1, x)

    compiled = tinyae.compile(step, backend=backend)
    for _ in range(3):
        assert np.max(abs(compiled(x).data)) < 30 * np.finfo(dtype).eps


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_diverges_does_so_without_a_word(backend):
    net = nn.Linear(3, 3, generator=0)
    step = tinyae.compile(trainer(net, optim.SGD(net.parameters(), lr=1e4)), backend=backend)
    for _ in range(30):
        loss = step(np.ones((4, 3), "f"))
    assert not np.isfinite(loss.item())


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_thawed_in_another_order_than_they_were_made(backend):
    """The gradients then come in another order, which is no other step."""
    net = nn.Sequential(nn.Linear(4, 3, generator=0), nn.Tanh(), nn.Linear(3, 4, generator=1))
    step = tinyae.compile(trainer(net, optim.Adam(net.parameters(), lr=0.01)), backend=backend)
    for i in range(24):
        if i in (4, 7):
            net[0].requires_grad_(i == 7)
        step(X[:, 0, 0, :4])
    assert len(step.plans) == 1


def spoiled(monkeypatch, spoil):
    """Plans do something else than their steps: spoil(run) is run instead."""
    run = Machine.run
    monkeypatch.setattr(Machine, "run", lambda machine, arrays: spoil(lambda: run(machine, arrays)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES)
def test_what_is_no_rounding_is_seen_in_such_a_net_too(rule, backend, monkeypatch):
    net = convolutions(0)
    weight = net[4].weight

    def two_percent_further(run):
        before = weight.data.copy()
        values = run()
        weight.data = weight.data + 0.02 * (weight.data - before)
        return values

    spoiled(monkeypatch, two_percent_further)
    step = tinyae.compile(trainer(net, RULES[rule](net.parameters())), backend=backend)
    with pytest.raises(PlanError, match=r"4\.weight, \(27, 4\), went"):
        for _ in range(4):  # at the second call it is captured anew, once
            step(X)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_that_is_off_is_seen_in_such_a_net_too(backend, monkeypatch):
    net = convolutions(1)
    spoiled(monkeypatch, lambda run: [value * (1 + 1e-3) for value in run()])
    step = tinyae.compile(trainer(net, optim.Adam(net.parameters(), lr=0.01)), backend=backend)
    with pytest.raises(PlanError, match="value 0 that the step returns"):
        for _ in range(4):
            step(X)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_parameter_under_another_name_is_the_same(backend):
    """detach makes a new tensor of the same memory in every run."""
    net, running = nn.Linear(4, 4, generator=0), tinyae.Tensor(np.zeros(4, "f"))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    train = trainer(net, optimizer)

    def step(x):
        tinyae.assign(running, 0.9 * running + net.bias.detach())
        return train(x)

    compiled = tinyae.compile(step, backend=backend)
    for _ in range(11):
        compiled(X[:, 0, 0, :4])
    assert len(compiled.plans) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_that_cancels(backend):
    """Equal numbers less their mean are 0, or what is left of it."""
    state = tinyae.Tensor(np.zeros(65, "f"))

    def step(x):
        tinyae.assign(state, ops.tanh(x.max()))
        tinyae.assign(state, state - state.mean())
        return x * 1.0

    compiled = tinyae.compile(step, backend=backend)
    for k in range(11):
        compiled(X[0, 0] * 0.1 * k)
    assert np.max(abs(state.data)) < 1e-6
