"""Optimizers: every rule against its formula for ten steps, on the C and on the NumPy path; state, copies, errors."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import tinyae
from tinyae import Tensor, engine, kernels, nn, optim
from tinyae.errors import DivergedError, DtypeError, GradientWarning, SettingError, ShapeError

STEPS = 10


# -- the formulas, in NumPy, as the papers write them ---------------------------------------------------------------


def sgd(p, gradients, lr=0.01, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
    v = None
    for g in gradients:
        g = g + weight_decay * p
        v = g if v is None else momentum * v + (1 - dampening) * g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    m = v = 0.0
    seen = []
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        seen.append(v)
        root = np.sqrt((np.max(seen, axis=0) if amsgrad else v) / (1 - betas[1] ** t))
        p = p - lr * (m / (1 - betas[0] ** t)) / (root + eps)
    return p


def adamw(p, gradients, weight_decay=0.01, **settings):
    return adam(p, gradients, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(p, gradients, lr=1e-3, alpha=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0, centered=False):
    v = m = b = 0.0
    for g in gradients:
        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - centered * m * m) + eps)
        p = p - lr * b
    return p


def adagrad(p, gradients, lr=0.01, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, weight_decay=0.0):
    v = initial_accumulator_value
    for t, g in enumerate(gradients):
        g = g + weight_decay * p
        v = v + g * g
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(v) + eps)
    return p


def adadelta(p, gradients, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    v = u = 0.0
    for g in gradients:
        g = g + weight_decay * p
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
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.0, 0.5)}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.8, 0.5), "amsgrad": True, "weight_decay": 0.2}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.2}),
    (optim.AdamW, adamw, {"lr": 0.1, "betas": (0.8, 0.5), "amsgrad": True}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.8, "eps": 1e-2, "momentum": 0.7}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "weight_decay": 0.2, "eps": 1e-2, "centered": True, "momentum": 0.5}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.8, "centered": True}),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.3, "weight_decay": 0.2}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.2}),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in CASES))
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
    rates = [rule(p).lr for rule in RULES]
    assert rates == [0.01, 1e-3, 1e-3, 1e-3, 0.01, 1.0]


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


@pytest.mark.parametrize("rule", RULES)
def test_a_network_learns(rng, path, rule):
    x = rng.uniform(size=(32, 4)).astype(np.float32)
    net = nn.Sequential(nn.Linear(4, 8, generator=1), nn.Tanh(), nn.Linear(8, 4, generator=1))
    optimizer = rule(net.parameters(), lr={optim.Adadelta: 1.0, optim.Adagrad: 0.1}.get(rule, 0.02))
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
        assert any(name.startswith("parameters.0.") for name in state)
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
    optimizer = optim.SGD([p], maximize=True)
    size = len(pickle.dumps(optimizer))
    steps(optimizer, [np.ones(1000)])
    optimizer.zero_grad()
    assert len(pickle.dumps(optimizer)) < size + 100 and optimizer._work


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    p = Tensor(np.ones((2, 3)), requires_grad=True)
    optimizer = optim.Adam([p], lr=0.1)
    steps(optimizer, [np.ones((2, 3))])
    before = optimizer.state_dict()
    for change, error, text in [
        ({"parameters.0.m": np.ones(3)}, ShapeError, r"0.m has shape \(3,\)"),
        ({"parameters.1.m": np.ones((2, 3))}, SettingError, "'parameters.1.m' is not of Adam with 1 parameters"),
        ({"parameters.0.velocity": np.ones((2, 3))}, SettingError, "velocity"),
        ({"parameters.0.m.x": np.ones((2, 3))}, SettingError, "0.m.x"),
        ({"buffers.0.m": np.ones((2, 3))}, SettingError, "'buffers.0.m'"),
        ({"m": np.ones((2, 3))}, SettingError, "'m'"),
        ({"param_groups.0.lr": -1.0}, SettingError, "lr=-1"),
        ({"param_groups.0.betas": np.array([0.9, 2])}, SettingError, "betas=2.0"),
        ({"param_groups.0.momentum": 0.5}, SettingError, "'param_groups.0.momentum'"),
        ({"param_groups.1.lr": 0.1}, SettingError, "'param_groups.1.lr'.* in 1 groups"),
    ]:
        with pytest.raises(error, match=text):
            optimizer.load_state_dict({**before, "parameters.0.v": np.zeros((2, 3)), **change})
        after = optimizer.state_dict()
        assert list(after) == list(before) and all(np.array_equal(after[n], before[n]) for n in before)
    with pytest.raises(SettingError, match=r"no param_groups\.0\.lr"):
        optimizer.load_state_dict({})


# -- making one -----------------------------------------------------------------------------------------------------


def test_optimizer_by_name():
    p = [Tensor([1.0], requires_grad=True)]
    for name, rule in optim.rules.OPTIMIZERS.items():
        made = optim.optimizer(name, p)
        assert type(made) is rule and made.lr == rule(p).lr
        assert optim.optimizer(name, p, 0.5).lr == 0.5
    assert optim.optimizer("momentum", p).momentum == 0.9 and not optim.optimizer("momentum", p).nesterov
    assert optim.optimizer("nesterov", p).nesterov and optim.optimizer("nesterov", p, momentum=0.5).momentum == 0.5
    made = optim.optimizer("sgd", iter(p), momentum=0.9, nesterov=True)
    assert made.momentum == 0.9 and made.nesterov and made.parameters == p
    assert repr(made) == (
        "SGD(1 parameters, lr=0.01, momentum=0.9, dampening=0.0, nesterov=True, weight_decay=0.0, maximize=False)"
    )
    for bad in ("adagard", None, ["sgd"]):
        with pytest.raises(SettingError, match="adagrad, adam, adamw, lbfgs, momentum, nesterov, rmsprop, sgd"):
            optim.optimizer(bad, p)
    with pytest.raises(SettingError, match="adam: no setting momentum. It has lr, betas, eps, weight_decay, amsgrad"):
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


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), SettingError, "given twice"),
        (lambda p: optim.SGD([{"params": [p, p]}]), SettingError, "given twice"),
        (lambda p: optim.SGD([{"params": []}]), SettingError, "no parameters"),
        (lambda p: optim.SGD([{"params": p}]), SettingError, "is a Tensor. Give a list"),
        (lambda p: optim.SGD([{"lr": 0.1}]), SettingError, r"a group is \{'lr': 0.1\}. Give a dict"),
        (lambda p: optim.SGD([{"params": [p]}, p]), SettingError, "a group is "),
        (lambda p: optim.SGD([p, {"params": [p]}]), SettingError, "parameter 1 is a dict"),
        (lambda p: optim.SGD([{"params": [p], "lr": -1}]), SettingError, "SGD, group 0: lr=-1"),
        (lambda p: optim.SGD([{"params": [p], "name": "top", "lr": -1}]), SettingError, "SGD, group 'top': lr=-1"),
        (lambda p: optim.SGD([{"params": [p], "nesterov": True}]), SettingError, "group 0: nesterov=True without"),
        (lambda p: optim.SGD([{"params": [p], "beta": 1}]), SettingError, "no setting beta. It has lr, momentum, "),
        (lambda p: optim.SGD([{"params": [p], "slots": 1}]), SettingError, "no setting slots"),
        (lambda p: optim.SGD([p], momentum=0.9, dampening=0.1, nesterov=True), SettingError, "dampening=0.1"),
        (lambda p: optim.SGD([p], maximize="yes"), SettingError, "maximize='yes'. Give True or False"),
        (lambda p: optim.Adam([p], amsgrad=1), SettingError, "amsgrad=1"),
        (lambda p: optim.Adagrad([p], lr_decay=-1), SettingError, "lr_decay=-1"),
        (lambda p: optim.Adagrad([p], initial_accumulator_value=-1), SettingError, "initial_accumulator_value=-1"),
        (lambda p: optim.RMSprop([p], centered=None), SettingError, "centered=None"),
        (lambda p: optim.optimizer("lbfgs", [p]).step(), SettingError, r"Call step\(closure\)"),
    ],
)
def test_bad_groups_and_flags(make, error, text):
    with pytest.raises(error, match=text):
        make(Tensor([1.0], requires_grad=True))


# -- groups ---------------------------------------------------------------------------------------------------------


def leaf(*values):
    return Tensor(list(values), requires_grad=True, dtype=np.float64)


@each_case
def test_groups_are_as_two_optimizers(problem, path, rule, formula, settings):
    starts, gradients = problem
    own = {"lr": 0.05, "weight_decay": 0.3}

    def make(groups):
        parameters = [Tensor(s, dtype=np.float32, requires_grad=True) for s in starts]
        return parameters, groups(parameters)

    together, one = make(lambda p: [rule([{"params": iter(p[:2]), **own}, {"params": p[2:]}], **settings)])
    apart, two = make(lambda p: [rule(p[:2], **{**settings, **own}), rule(p[2:], **settings)])
    for parameters, optimizers in [(together, one), (apart, two)]:
        for row in zip(*gradients):
            for p, g in zip(parameters, row):
                p.grad = g
            for optimizer in optimizers:
                optimizer.step()
    assert all(np.array_equal(p.data, q.data) for p, q in zip(together, apart))
    assert not any(np.array_equal(p.data, s.astype(np.float32)) for p, s in zip(together, starts))


@pytest.mark.skipif(kernels.info()["backend"] != "c", reason="the backend is NumPy: there is no C to test")
@pytest.mark.parametrize(("rule", "name"), [(optim.SGD, "sgd"), (optim.Adam, "adam"), (optim.AdamW, "adam")])
def test_groups_go_through_the_kernels(monkeypatch, rule, name):
    seen, kernel = [], getattr(kernels, name)
    monkeypatch.setattr(kernels, name, lambda *args: seen.append(kernel(*args)) or seen[-1])
    for dtype in (np.float32, np.float64):
        p, q = (Tensor([1.0], dtype=dtype, requires_grad=True) for _ in range(2))
        p.grad = q.grad = np.array([1.0], dtype)
        rule([{"params": [p]}, {"params": [q], "lr": 0.5, "maximize": True}], lr=0.25, weight_decay=0.0).step()
        assert (p.item(), q.item()) == (pytest.approx(0.75), pytest.approx(1.5))
    assert seen == [True] * 4


def test_a_setting_is_that_of_the_group():
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    optimizer = optim.SGD([{"params": [a], "name": "encoder"}, {"params": [b], "lr": 0.5, "momentum": 0.9}], lr=0.1)
    assert optimizer.parameters == [a, b]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5] and optimizer.lr == 0.1
    optimizer.add_param_group({"params": [c], "lr": 2.0})
    assert optimizer.parameters == [a, b, c] and optimizer.param_groups[2]["momentum"] == 0.0
    a.grad = b.grad = c.grad = [1.0]
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == pytest.approx([0.9, 1.5, 1.0])
    assert optimizer.lr == 0.1  # not that of the group which was updated last
    assert optimizer.state[b]["velocity"].tolist() == [1.0] and optimizer.state[a] == {}
    rest = "dampening=0.0, nesterov=False, weight_decay=0.0, maximize=False"
    assert repr(optimizer).splitlines()[:3] == [
        "SGD(",
        f"  encoder: 1 parameters, lr=0.1, momentum=0.0, {rest}",
        f"  group 1: 1 parameters, lr=0.5, momentum=0.9, {rest}",
    ]
    optimizer.lr = 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.25] * 3
    with pytest.raises(SettingError, match="SGD: momentum=1"):
        optimizer.momentum = 1
    with pytest.raises(SettingError, match="given twice"):
        optimizer.add_param_group({"params": [b]})
    with pytest.raises(SettingError, match="a group is 3"):
        optimizer.add_param_group(3)
    assert len(optimizer.param_groups) == 3


def test_a_rule_that_fails_leaves_the_first_group_in_charge():
    class Fails(optim.SGD):
        """Fails in the second group."""

        def _update(self, p, g, state):
            if self.lr == 2.0:
                raise RuntimeError("here")
            super()._update(p, g, state)

    a, b = leaf(1.0), leaf(1.0)
    a.grad = b.grad = [1.0]
    optimizer = Fails([{"params": [a]}, {"params": [b], "lr": 2.0}], lr=1.0)
    kept = (a * a).sum()
    with pytest.raises(RuntimeError, match="here"):
        optimizer.step()
    assert optimizer.lr == 1.0 and a.item() == 0.0
    with pytest.raises(engine.GraphError, match="changed in place"):
        kept.backward()


@each_dtype
def test_groups_resume_with_their_settings(problem, path, dtype):
    starts, gradients = problem

    def make(lr):
        parameters = [Tensor(s, dtype=dtype, requires_grad=True) for s in starts]
        groups = [{"params": parameters[:2], "betas": (0.5, 0.6), "lr": lr}, {"params": parameters[2:]}]
        return parameters, optim.Adam(groups, lr=0.1)

    def go(parameters, optimizer, rows):
        for row in rows:
            for p, g in zip(parameters, row):
                p.grad = g
            optimizer.step()

    rows = list(zip(*gradients))
    parameters, optimizer = make(0.01)
    go(parameters, optimizer, rows[:5])
    state = {name: np.array(value) for name, value in optimizer.state_dict().items()}
    assert all(array.dtype != object for array in state.values())  # np.savez would pickle it
    others, resumed = make(0.5)
    for p, q in zip(parameters, others):
        q.data = p.data
    resumed.load_state_dict(state)
    assert [group["lr"] for group in resumed.param_groups] == [0.01, 0.1]
    assert type(resumed.betas) is tuple and type(resumed.lr) is float and resumed.amsgrad is False
    go(parameters, optimizer, rows[5:])
    go(others, resumed, rows[5:])
    assert all(np.array_equal(p.data, q.data) for p, q in zip(parameters, others))


# -- uphill, closures, accumulation ---------------------------------------------------------------------------------


@each_case
def test_maximize_is_minimising_the_opposite(problem, path, rule, formula, settings):
    starts, gradients = problem
    up = run(rule, starts, gradients, {**settings, "maximize": True}, np.float32)
    down = run(rule, starts, [-g for g in gradients], settings, np.float32)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(up, down))


@pytest.mark.parametrize("rule", RULES)
def test_a_closure_is_called_and_its_loss_returned(rule):
    def closure(p, optimizer):
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    p, q = leaf(3.0, -2.0), leaf(3.0, -2.0)
    one, other = rule([p]), rule([q])
    for _ in range(3):
        loss = one.step(lambda: closure(p, one))
        expected = closure(q, other)
        assert other.step() is None
        assert loss.item() == expected.item() and np.array_equal(p.data, q.data)


@each_case
def test_micro_batches_add_up_to_the_batch(rng, rule, formula, settings):
    """Four parts, each with a quarter of its loss, and one step: the step of all rows at once."""
    X = rng.normal(size=(12, 5))
    nets = [nn.Sequential(nn.Linear(5, 3, generator=0, dtype="float64"), nn.Tanh(),
                          nn.Linear(3, 5, generator=1, dtype="float64")) for _ in range(2)]  # fmt: skip
    optimizers = [rule(net.parameters(), **settings) for net in nets]
    for _ in range(3):
        for net, optimizer, parts in zip(nets, optimizers, (1, 4)):
            optimizer.zero_grad()
            for x in np.split(X, parts):
                (nn.mse(net(x), x) / parts).backward()
            optimizer.step()
    for p, q in zip(nets[0].parameters(), nets[1].parameters()):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-9, atol=1e-9)


def test_centered_rmsprop_survives_gradients_that_do_not_change():
    """v - m**2 is then 0 but for rounding, whose root would be NaN if it fell below."""
    for dtype in (np.float32, np.float64):
        p = Tensor(np.zeros(64), dtype=dtype, requires_grad=True)
        optimizer = optim.RMSprop([p], alpha=0.5, centered=True)
        g = np.linspace(0.1, 0.9, 64)
        below = False
        for _ in range(200):
            p.grad = g
            optimizer.step()
            kept = optimizer.state[p]
            below = below or bool((kept["v"] - kept["m"] * kept["m"] < 0).any())
        assert np.isfinite(p.data).all() and below


# -- clipping -------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("norm_type", [1, 1.5, 2, 3, np.inf])
def test_clip_grad_norm(rng, dtype, norm_type):
    values = [rng.normal(size=(3, 4)), rng.normal(size=()), rng.normal(size=(0, 2)), rng.normal(size=5)]
    parameters = [Tensor(v, dtype=dtype, requires_grad=True) for v in values]
    for p, v in zip(parameters, values):
        p.grad = v
    skipped = Tensor([1.0], requires_grad=True)
    flat = np.concatenate([np.ravel(p.grad.data) for p in parameters]).astype(np.float64)
    expected = np.linalg.norm(flat, norm_type)
    memory = [p.grad._data for p in parameters]
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    norm = optim.clip_grad_norm_([*parameters, skipped], 100.0, norm_type)
    assert type(norm) is float and norm == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(np.concatenate([np.ravel(p.grad.data) for p in parameters]), flat)  # short enough already
    optim.clip_grad_norm_(iter(parameters), 0.5, norm_type)
    clipped = np.concatenate([np.ravel(p.grad.data) for p in parameters])
    np.testing.assert_allclose(clipped, flat * 0.5 / (expected + 1e-6), rtol=tolerance)
    assert clipped.dtype == dtype and all(p.grad._data is m for p, m in zip(parameters, memory))
    assert optim.clip_grad_norm_(skipped, 1.0) == 0.0 and optim.clip_grad_norm_([], 1.0) == 0.0


def test_clipping_does_not_overflow():
    p = Tensor([3e30, 4e30], dtype=np.float32, requires_grad=True)
    p.grad = p.data
    assert optim.clip_grad_norm_(p, 5.0, error_if_nonfinite=True) == pytest.approx(5e30)
    np.testing.assert_allclose(p.grad.data, [3.0, 4.0], rtol=1e-6)
    q = leaf(3e-200, 4e200)
    q.grad = q.data
    assert optim.clip_grad_norm_(q, 1e300) == pytest.approx(4e200)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_norm_that_is_not_finite(bad):
    p, q = leaf(1.0, 1.0), leaf(1.0)
    p.grad, q.grad = [bad, 1.0], [2.0]
    for order in ([p, q], [q, p]):
        with pytest.raises(DivergedError, match="norm is (nan|inf)"):
            optim.clip_grad_norm_(order, 1.0, error_if_nonfinite=True)
    assert q.grad.tolist() == [2.0] and p.grad.data[1] == 1.0
    norm = optim.clip_grad_norm_([q, p], 1.0)
    assert np.isnan(norm) if np.isnan(bad) else norm == np.inf
    assert np.isnan(p.grad.data[0])  # and no warning
    if np.isnan(bad):
        assert np.isnan(p.grad.data).all() and np.isnan(q.grad.data).all()
        for order in ([p, q], [q, p]):
            p.grad, q.grad = [bad, 1.0], [0.0]
            assert np.isnan(optim.clip_grad_norm_(order, 1.0, np.inf))


def test_clip_grad_value():
    p, skipped = leaf(1.0, 2.0, 3.0, 4.0), leaf(1.0)
    p.grad = [-3.0, 0.5, np.inf, np.nan]
    memory = p.grad._data
    assert optim.clip_grad_value_([p, skipped], 2) is None
    assert p.grad._data is memory
    np.testing.assert_array_equal(memory, [-2.0, 0.5, 2.0, np.nan])
    optim.clip_grad_value_(p, 0)
    np.testing.assert_array_equal(memory, [0.0, 0.0, 0.0, np.nan])


def test_clipping_counts_as_a_write_and_clips_a_shared_gradient_once():
    a, b = leaf(1.0), leaf(2.0)
    a.grad = b.grad = leaf(8.0).detach()
    assert optim.clip_grad_norm_([a, b], 4.0) == pytest.approx(8.0)
    assert a.grad.item() == pytest.approx(4.0, rel=1e-6)
    for clip in (optim.clip_grad_value_, optim.clip_grad_norm_):
        x = leaf(3.0)
        (x**3).sum().backward(create_graph=True)
        penalty = (x.grad**2).sum()
        clip(x, 1.0)
        with pytest.raises(engine.GraphError, match="changed in place"):
            penalty.backward()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: optim.clip_grad_norm_([p], -1), "clip_grad_norm_: max_norm=-1"),
        (lambda p: optim.clip_grad_norm_([p], np.nan), "max_norm=nan"),
        (lambda p: optim.clip_grad_norm_([p], 1, 0), "norm_type=0"),
        (lambda p: optim.clip_grad_norm_([p], 1, "fro"), "norm_type='fro'"),
        (lambda p: optim.clip_grad_norm_([p.data], 1), "a ndarray is no Tensor"),
        (lambda p: optim.clip_grad_value_([p], -1), "clip_grad_value_: clip_value=-1"),
    ],
)
def test_clipping_refuses(call, text):
    with pytest.raises(SettingError, match=text):
        call(leaf(1.0))


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


# -- forgotten lines ------------------------------------------------------------------------------------------------


def _weights():
    return [Tensor([1.0, 2.0], requires_grad=True), Tensor([0.5], requires_grad=True)]


def test_a_forgotten_zero_grad_is_spoken_of():
    W, b = _weights()
    optimizer = optim.SGD([W, b], lr=0.1)
    (W.sum() * b).backward()
    optimizer.step()
    with pytest.warns(GradientWarning, match=r"gradient of shape \(\d,\) .*earlier values.*zero_grad") as said:
        (W.sum() * b).backward()
    assert len(said) == 2 and said[0].filename == __file__
    (W.sum() * b).backward()  # said once per change
    optimizer.zero_grad()
    (W.sum() * b).backward()


@pytest.mark.parametrize("change", [lambda p: setattr(p, "data", p.data - 0.1 * p.grad.data),
                                    lambda p: tinyae.assign(p, p.data - 0.1 * p.grad.data)])  # fmt: skip
def test_a_forgotten_reset_in_a_hand_written_loop_is_spoken_of(change):
    W, _ = _weights()
    W.sum().backward()
    with tinyae.no_grad():
        change(W)
    with pytest.warns(GradientWarning, match="p.grad = None"):
        W.sum().backward()


def test_accumulation_is_not_spoken_of():
    """Several backwards to one step; a gradient set to None, anew or to zeros; a leaf changed before any backward."""
    W, b = _weights()
    optimizer = optim.SGD([W, b], lr=0.1)
    resets = (lambda p: setattr(p, "grad", None), lambda p: setattr(p, "grad", np.zeros(p.shape, np.float32)),
              lambda p: tinyae.assign(p.grad, 0.0), lambda p: None)  # fmt: skip
    for reset in resets:
        for _ in range(3):
            (W.sum() * b).backward()
        optimizer.step()
        for p in (W, b):
            reset(p)


def test_a_step_without_any_gradient_is_spoken_of():
    W, b = _weights()
    optimizer = optim.Adam([W, b])
    with pytest.warns(GradientWarning, match=r"Adam.step: no parameter has a gradient.*Call backward\(\)"):
        optimizer.step()
    assert W.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_parameter_that_no_loss_depends_on_is_spoken_of(frozen):
    W, b = _weights()
    b.requires_grad_(not frozen)
    optimizer = optim.Adam([W, b])
    for step in range(25):
        optimizer.zero_grad()
        W.sum().backward()
        if step == 9 and not frozen:
            with pytest.warns(GradientWarning, match=r"of shape \(1,\) had no gradient in 10 steps.*requires_grad_"):
                optimizer.step()
        else:
            optimizer.step()


@pytest.mark.parametrize("bound", [np.inf, np.float32("inf")])
def test_an_infinite_bound_measures_and_changes_nothing(bound):
    p = Tensor(np.zeros(2), requires_grad=True)
    for gradient, norm in (([3.0, -4.0], 5.0), ([np.nan, 1.0], np.nan), ([np.inf, 1.0], np.inf)):
        p.grad = Tensor(np.array(gradient))
        np.testing.assert_equal(optim.clip_grad_norm_([p], bound), norm)
        optim.clip_grad_value_([p], bound)
        np.testing.assert_equal(p.grad.data, gradient)

    @tinyae.compile
    def norm(x):
        p.grad = None
        (p * x).sum().backward()
        norm = optim.clip_grad_norm_([p], bound)
        return norm, p.grad

    for _ in range(3):
        assert [y.tolist() for y in norm(np.array([3.0, -4.0]))] == [5.0, [3.0, -4.0]]
