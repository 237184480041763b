"""Optimizers: every rule against its formula for ten steps, on the C and on the NumPy path; state, copies, errors."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

from tinyae import Tensor, engine, kernels, nn, optim
from tinyae.errors import DtypeError, SettingError, ShapeError

STEPS = 10


# -- the formulas, in NumPy, as the papers write them ---------------------------------------------------------------


def sgd(p, gradients, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = 0.0
    for g in gradients:
        g = g + weight_decay * p
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw(p, gradients, weight_decay=0.01, **settings):
    return adam(p, gradients, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(p, gradients, lr=1e-3, alpha=0.99, eps=1e-8, momentum=0.0):
    v = b = 0.0
    for g in gradients:
        v = alpha * v + (1 - alpha) * g * g
        b = momentum * b + g / (np.sqrt(v) + eps)
        p = p - lr * b
    return p


def adadelta(p, gradients, lr=1.0, rho=0.9, eps=1e-6):
    v = u = 0.0
    for g in gradients:
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt((u + eps) / (v + eps)) * g
        u = rho * u + (1 - rho) * d * d
        p = p - lr * d
    return p


CASES = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"lr": 0.3, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.0, 0.5)}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.8, "eps": 1e-2, "momentum": 0.7}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3}),
]
each_case = pytest.mark.parametrize(
    ("rule", "formula", "settings"), CASES, ids=[f"{c[0].__name__}-{','.join(c[2]) or 'default'}" for c in CASES]
)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(params=["kernels", "numpy"])
def path(request, monkeypatch):
    """Both ways an update can go. Without a compiled module they are the same."""
    if request.param == "numpy":
        for name in ("sgd", "adam"):
            monkeypatch.setattr(kernels, name, lambda *_: False)
    return request.param


def run(rule, starts, gradients, settings, dtype):
    """Parameters after a step per row of gradients."""
    parameters = [Tensor(s, dtype=dtype, requires_grad=True) for s in starts]
    optimizer = rule(parameters, **settings)
    for row in zip(*gradients):
        for p, g in zip(parameters, row):
            p.grad = g
        optimizer.step()
    return parameters


@pytest.fixture
def problem(rng):
    """Parameters of several shapes, 0-d and odd lengths among them, the larger ones first and last."""
    shapes = [(7, 5), (), (3,), (1, 1), (11, 9)]
    starts = [rng.normal(size=s) for s in shapes]
    return starts, [rng.normal(size=(STEPS, *s)) * rng.choice([1e-2, 1.0, 10.0]) for s in shapes]


@each_case
@each_dtype
def test_ten_steps(problem, path, rule, formula, settings, dtype):
    starts, gradients = problem
    for p, start, g in zip(run(rule, starts, gradients, settings, dtype), starts, gradients):
        assert p.dtype == dtype
        expected = formula(start.astype(dtype).astype(float), g.astype(dtype).astype(float), **settings)
        tolerance = 2e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(p.data, expected, rtol=tolerance, atol=tolerance)


@each_case
@each_dtype
def test_the_kernels_equal_numpy(problem, monkeypatch, rule, formula, settings, dtype):
    fast = run(rule, *problem, settings, dtype)
    monkeypatch.setattr(kernels, "sgd", lambda *_: False)
    monkeypatch.setattr(kernels, "adam", lambda *_: False)
    slow = run(rule, *problem, settings, dtype)
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    for p, q in zip(fast, slow):
        np.testing.assert_allclose(p.data, q.data, rtol=tolerance, atol=tolerance * 10)


@each_case
def test_a_step_allocates_no_arrays(path, rule, formula, settings):
    p = Tensor(np.ones(50_000), requires_grad=True)
    p.grad = np.ones(50_000)
    optimizer = rule([p], **settings)
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < p.data.nbytes / 10


@each_case
def test_gradients_are_left_as_they_were(problem, path, rule, formula, settings):
    starts, gradients = problem
    p = Tensor(starts[0], dtype=np.float32, requires_grad=True)
    p.grad = gradients[0][0]
    before = p.grad.data.copy()
    rule([p], **settings).step()
    assert np.array_equal(p.grad.data, before)


def test_the_defaults():
    p = [Tensor([1.0], requires_grad=True)]
    rates = [rule(p).lr for rule in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adadelta)]
    assert rates == [0.01, 1e-3, 1e-3, 1e-3, 1.0]


# -- stepping -------------------------------------------------------------------------------------------------------


def test_step_works_in_place_and_counts_as_a_write(path):
    layer = nn.Linear(2, 1)
    memory = layer.weight._data
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    loss = layer(x).sum()
    loss.backward(retain_graph=True)
    before = memory.copy()
    optim.SGD(layer.parameters(), lr=1.0).step()
    assert layer.weight._data is memory and layer.weight.requires_grad
    np.testing.assert_allclose(memory, before - [[1.0], [2.0]], rtol=1e-6)
    with pytest.raises(engine.GraphError, match="changed in place afterwards, at .*test_optim.py"):
        loss.backward()


def test_parameters_without_a_gradient_are_skipped(path):
    a, b, frozen = (Tensor([1.0], requires_grad=True) for _ in range(3))
    optimizer = optim.Adam([a, b, frozen], lr=0.1)
    frozen.requires_grad_(False)
    a.grad = [1.0]
    optimizer.step()
    optimizer.zero_grad()
    assert a.grad is None
    assert (a.item(), b.item(), frozen.item()) == (pytest.approx(0.9), 1.0, 1.0)
    b.grad = [1.0]
    optimizer.step()  # b's own first step, so its bias correction is that of t = 1
    assert a.item() == pytest.approx(0.9) and b.item() == pytest.approx(0.9)


def test_lr_and_settings_may_change_between_steps(path):
    p = Tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = [1.0]
    optimizer.step()
    optimizer.lr = 0.5
    optimizer.step()
    assert p.item() == -0.5
    optimizer.momentum = 0.5
    optimizer.step()
    optimizer.step()
    assert p.item() == pytest.approx(-0.5 - 0.5 - 0.75)
    with pytest.raises(SettingError, match="lr=-1"):
        optimizer.lr = -1
    optimizer.lr = np.float32(0)
    optimizer.step()
    assert p.item() == pytest.approx(-1.75) and optimizer.lr == 0


@each_case
def test_non_finite_gradients_are_not_hidden(path, rule, formula, settings):
    for bad in (np.nan, np.inf, 3e38):
        p = Tensor([1.0, 1.0], requires_grad=True)
        p.grad = [bad, 1.0]
        rule([p], **settings).step()  # no warning either: warnings are errors here
        assert np.isfinite(p.data[1])
        if np.isnan(bad):
            assert np.isnan(p.data[0])


def test_after_astype_the_state_follows(path):
    net = nn.Linear(3, 2, generator=0)
    for rule in (optim.Adam, optim.RMSprop):
        optimizer = rule(net.astype("float32").parameters())
        for dtype in (np.float32, np.float64):
            net.astype(dtype)(np.ones((1, 3), dtype)).sum().backward()
            optimizer.step()
            assert all(v.dtype == dtype for n, v in optimizer.state_dict().items() if n.endswith(".v"))


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adadelta])
def test_a_network_learns(rng, path, rule):
    x = rng.uniform(size=(32, 4)).astype(np.float32)
    net = nn.Sequential(nn.Linear(4, 8, generator=1), nn.Tanh(), nn.Linear(8, 4, generator=1))
    optimizer = rule(net.parameters(), lr=1.0 if rule is optim.Adadelta else 0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# -- state ----------------------------------------------------------------------------------------------------------


def steps(optimizer, gradients):
    for row in gradients:
        optimizer.parameters[0].grad = row
        optimizer.step()


@each_case
@each_dtype
def test_resuming_gives_the_same_bits(problem, path, rule, formula, settings, dtype):
    start, gradients = problem[0][0], problem[1][0]
    p = Tensor(start, dtype=dtype, requires_grad=True)
    optimizer = rule([p], **settings)
    steps(optimizer, gradients[:4])
    optimizer.lr = optimizer.lr / 2
    q = Tensor(p.data, requires_grad=True)
    state = optimizer.state_dict()
    if settings.get("momentum") or rule is not optim.SGD:
        assert any(name.startswith("0.") for name in state)
    saved = {name: np.array(value) for name, value in state.items()}  # as an npz would hold it
    steps(optimizer, gradients[4:])
    resumed = rule([q], **{**settings, "lr": 7.0})
    resumed.load_state_dict(saved)
    steps(resumed, gradients[4:])
    assert resumed.lr == optimizer.lr
    assert np.array_equal(p.data, q.data) and not np.array_equal(p.data, start.astype(dtype))
    again = rule([Tensor(start, dtype=dtype, requires_grad=True)], **settings)
    again.load_state_dict(state)
    steps(again, gradients[:1])
    assert all(np.array_equal(state[name], saved[name]) for name in saved)  # copied both ways


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copied_with_its_module(path, duplicate):
    net = nn.Linear(3, 2, generator=0)
    pair = {"net": net, "optimizer": optim.Adam(net.parameters(), lr=0.1)}

    def step(pair):
        pair["optimizer"].zero_grad()
        pair["net"](np.ones((1, 3), np.float32)).sum().backward()
        pair["optimizer"].step()

    step(pair)
    other = duplicate(pair)
    assert other["optimizer"].parameters[0] is other["net"].weight
    step(other)
    assert not np.array_equal(other["net"].weight.data, net.weight.data)
    step(pair)
    assert np.array_equal(other["net"].weight.data, net.weight.data)


def test_pickles_hold_no_work_arrays(path):
    p = Tensor(np.ones(1000), requires_grad=True)
    optimizer = optim.SGD([p])
    size = len(pickle.dumps(optimizer))
    steps(optimizer, [np.ones(1000)])
    optimizer.zero_grad()
    assert len(pickle.dumps(optimizer)) == size


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    p = Tensor(np.ones((2, 3)), requires_grad=True)
    optimizer = optim.Adam([p], lr=0.1)
    steps(optimizer, [np.ones((2, 3))])
    before = optimizer.state_dict()
    for change, error, text in [
        ({"0.m": np.ones(3)}, ShapeError, r"0.m has shape \(3,\)"),
        ({"1.m": np.ones((2, 3))}, SettingError, "1.m"),
        ({"0.velocity": np.ones((2, 3))}, SettingError, "velocity"),
        ({"m": np.ones((2, 3))}, SettingError, "'m'"),
        ({"lr": -1.0}, SettingError, "lr=-1"),
    ]:
        with pytest.raises(error, match=text):
            optimizer.load_state_dict({**before, "0.v": np.zeros((2, 3)), **change})
        after = optimizer.state_dict()
        assert list(after) == list(before) and all(np.array_equal(after[n], before[n]) for n in before)
    with pytest.raises(SettingError, match="no lr"):
        optimizer.load_state_dict({})


# -- making one -----------------------------------------------------------------------------------------------------


def test_optimizer_by_name():
    p = [Tensor([1.0], requires_grad=True)]
    for name, rule in optim._OPTIMIZERS.items():
        made = optim.optimizer(name, p)
        assert type(made) is rule and made.lr == rule(p).lr
        assert optim.optimizer(name, p, 0.5).lr == 0.5
    assert optim.optimizer("momentum", p).momentum == 0.9 and not optim.optimizer("momentum", p).nesterov
    assert optim.optimizer("nesterov", p).nesterov and optim.optimizer("nesterov", p, momentum=0.5).momentum == 0.5
    made = optim.optimizer("sgd", iter(p), momentum=0.9, nesterov=True)
    assert made.momentum == 0.9 and made.nesterov and made.parameters == p
    assert repr(made) == "SGD(1 parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.0)"
    for bad in ("adagrad", None, ["sgd"]):
        with pytest.raises(SettingError, match="adadelta, adam, adamw, momentum, nesterov, rmsprop, sgd"):
            optim.optimizer(bad, p)
    with pytest.raises(SettingError, match="adam: no setting momentum. It has lr, betas, eps, weight_decay"):
        optim.optimizer("adam", p, momentum=0.9)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([]), SettingError, "no parameters"),
        (lambda p: optim.SGD(x for x in ()), SettingError, "no parameters"),
        (lambda p: optim.SGD([p, p]), SettingError, "given twice"),
        (lambda p: optim.SGD(p), SettingError, "is a Tensor. Give a list"),
        (lambda p: optim.SGD(nn.Sequential(nn.Linear(1, 1))), SettingError, "net.parameters()"),
        (lambda p: optim.SGD(None), SettingError, "is a NoneType"),
        (lambda p: optim.SGD({"w": p}), SettingError, "parameter 0 is a str"),
        (lambda p: optim.SGD([np.ones(3)]), SettingError, "parameter 0 is a ndarray"),
        (lambda p: optim.SGD([p, p * 2]), SettingError, "parameter 1 is the result"),
        (lambda p: optim.SGD([Tensor([1])]), DtypeError, "int64"),
        (lambda p: optim.SGD([p], momentum=1.0), SettingError, "momentum=1.0.*below 1"),
        (lambda p: optim.SGD([p], momentum=-0.1), SettingError, "momentum"),
        (lambda p: optim.SGD([p], weight_decay=-1), SettingError, "weight_decay"),
        (lambda p: optim.SGD([p], nesterov=True), SettingError, "nesterov"),
        (lambda p: optim.Adam([p], lr=np.nan), SettingError, "lr=nan"),
        (lambda p: optim.Adam([p], lr=np.inf), SettingError, "lr=inf"),
        (lambda p: optim.Adam([p], lr="1e-3"), SettingError, "lr='1e-3'"),
        (lambda p: optim.Adam([p], lr=True), SettingError, "lr=True"),
        (lambda p: optim.Adam([p], betas=0.9), SettingError, "betas=0.9"),
        (lambda p: optim.Adam([p], betas=(0.9, 0.99, 0.999)), SettingError, "betas"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), SettingError, "betas=1.0"),
        (lambda p: optim.Adam([p], eps=0), SettingError, "eps=0.*above 0"),
        (lambda p: optim.AdamW([p], weight_decay="a"), SettingError, "AdamW: weight_decay='a'"),
        (lambda p: optim.RMSprop([p], alpha=1), SettingError, "alpha"),
        (lambda p: optim.RMSprop([p], eps=0), SettingError, "eps"),
        (lambda p: optim.RMSprop([p], momentum=2), SettingError, "momentum"),
        (lambda p: optim.Adadelta([p], rho=-1), SettingError, "rho"),
        (lambda p: optim.Adadelta([p], eps=None), SettingError, "eps=None"),
    ],
)
def test_bad_settings(make, error, text):
    with pytest.raises(error, match=text):
        make(Tensor([1.0], requires_grad=True))


def test_a_rule_of_ones_own(path):
    class Signs(optim.Optimizer):
        """p = p - lr sign(g)."""

        def _update(self, p, g, state):
            p -= self.lr * np.sign(g)

    p = Tensor([1.0, 1.0], requires_grad=True)
    p.grad = [3.0, -3.0]
    optimizer = Signs([p], 0.5)
    optimizer.step()
    assert p.tolist() == [0.5, 1.5] and repr(optimizer) == "Signs(1 parameters, lr=0.5)"
    with pytest.raises(NotImplementedError, match="no rule"):
        base = optim.Optimizer([p], 0.5)
        base.step()
