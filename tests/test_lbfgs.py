"""L-BFGS against truths that need no other program: minima, formulas, the Wolfe conditions; state and refusals."""

import copy
import pickle

import numpy as np
import pytest

from tinyae import Tensor, engine, nn, ops, optim
from tinyae.errors import SettingError, ShapeError
from tinyae.optim import lbfgs

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both = pytest.mark.parametrize("search", [None, "strong_wolfe"])


def leaf(*values, dtype=np.float64):
    return Tensor(list(values), dtype=dtype, requires_grad=True)


def closure_of(optimizer, function):
    def closure():
        closure.calls += 1
        optimizer.zero_grad()
        loss = function(*optimizer.parameters)
        loss.backward()
        return loss

    closure.calls = 0
    return closure


def rosenbrock(x, y):
    return (100 * (y - x**2) ** 2 + (1 - x) ** 2).sum()


def quadratic(rng, n, dtype=np.float64, condition=100.0):
    """(A, b) of p.A.p / 2 - b.p, whose minimum is A^-1 b."""
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return ((q * np.geomspace(1, condition, n)) @ q.T).astype(dtype), rng.normal(size=n).astype(dtype)


# -- minima ---------------------------------------------------------------------------------------------------------


def test_rosenbrock():
    x, y = leaf(-1.2), leaf(1.0)
    optimizer = optim.LBFGS([x, y], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-18)
    closure = closure_of(optimizer, rosenbrock)
    first = optimizer.step(closure)
    assert first.item() == pytest.approx(24.2)  # the loss that it began with
    assert (x.item(), y.item()) == pytest.approx((1.0, 1.0), abs=1e-7)
    assert closure.calls < 60
    calls = closure.calls
    optimizer.step(closure)
    assert closure.calls == calls + 1  # it was done already


@both
@each_dtype
def test_a_quadratic(rng, search, dtype):
    A, b = quadratic(rng, 20, dtype)
    p = Tensor(np.zeros(20), dtype=dtype, requires_grad=True)
    optimizer = optim.LBFGS([p], line_search_fn=search, max_iter=200, tolerance_grad=0.0, tolerance_change=0.0)
    optimizer.step(closure_of(optimizer, lambda p: p @ (A @ p) / 2 - b @ p))
    # A loss has the last digit eps, which hides a distance of sqrt(eps) from its minimum.
    atol = 4 * np.sqrt(np.finfo(dtype).eps) if dtype == np.float32 else 1e-7
    np.testing.assert_allclose(p.data, np.linalg.solve(A, b), rtol=0, atol=atol)
    assert p.dtype == dtype


def test_the_losss_scale_does_not_matter(rng):
    """A mean over many features is as steep as its sum: the same path, to rounding."""
    A, b = quadratic(rng, 10)
    ends = []
    for scale in (1.0, 1e-9):
        p = Tensor(np.zeros(10), dtype=np.float64, requires_grad=True)
        optimizer = optim.optimizer("lbfgs", [p])
        losses = list(optimizer.iterations(closure_of(optimizer, lambda p: scale * (p @ (A @ p) / 2 - b @ p)), 60))
        assert len(losses) > 5
        ends.append(p.data)
    np.testing.assert_allclose(ends[1], np.linalg.solve(A, b), rtol=0, atol=1e-6)


def test_an_autoencoder_finds_the_principal_subspace(rng):
    """All rows at once, linear, no penalty: the error of the best plane, in a few steps."""
    X = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(40, 6))
    X -= X.mean(axis=0)
    net = nn.Sequential(nn.Linear(6, 2, generator=0, dtype="float64"), nn.Linear(2, 6, generator=1, dtype="float64"))
    optimizer = optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe", max_iter=50)
    closure = closure_of(optimizer, lambda *_: nn.mse(net(X), X))
    for _ in range(8):
        optimizer.step(closure)
    best = (np.linalg.svd(X, compute_uv=False)[2:] ** 2).sum() / X.size
    assert closure().item() == pytest.approx(best, rel=1e-6)


# -- formulas -------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("history_size", [1, 3, 100])
def test_directions_are_those_of_the_explicit_inverse_hessian(rng, history_size, search):
    """H+ = (I - rho s y') H (I - rho y s') + rho s s', over the last pairs, from s.y / y.y times the identity."""
    A, b = quadratic(rng, 6)
    p = Tensor(rng.normal(size=6), requires_grad=True)
    optimizer = optim.LBFGS([p], lr=0.1, max_iter=1, max_eval=30, history_size=history_size, line_search_fn=search)
    closure = closure_of(optimizer, lambda p: p @ (A @ p) / 2 - b @ p + (p**4).sum())
    where, gradients = [p.data.copy()], []
    for _ in range(8):
        closure()
        gradients.append(p.grad.data.copy())
        optimizer.step(closure)
        H, pairs = np.eye(6), list(zip(np.diff(where, axis=0), np.diff(gradients, axis=0)))[-history_size:]
        if pairs:
            H *= pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1])
        for s, y in pairs:
            left = np.eye(6) - np.outer(s, y) / (s @ y)
            H = left @ H @ left.T + np.outer(s, s) / (s @ y)
        length = 0.1 if pairs else 0.1 * min(1.0, 1 / np.abs(gradients[-1]).sum())
        if search:  # whatever length it found, the step is along d
            moved, d = p.data - where[-1], -H @ gradients[-1]
            length = (moved @ d) / (d @ d)
            assert length > 0
        np.testing.assert_allclose(p.data, where[-1] - length * H @ gradients[-1], rtol=1e-8)
        where.append(p.data.copy())
    assert len(optimizer._memory.steps) == min(history_size, 7)


def line(function, derivative):
    """(at, start) of a function of one variable, as the line search sees it, and the list of what it asked for."""
    asked = []

    def at(t):
        asked.append(t)
        return lbfgs._Point(t, float(function(t)), np.array([derivative(t)]), float(derivative(t)))

    start = at(0.0)
    asked.clear()
    return at, start, asked


LINES = {
    "a parabola": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "steep, then flat": (lambda t: np.exp(-5 * t) + 0.01 * t, lambda t: -5 * np.exp(-5 * t) + 0.01),
    "waves": (lambda t: 0.3 * np.sin(7 * t) + (t - 2) ** 2, lambda t: 2.1 * np.cos(7 * t) + 2 * (t - 2)),
    "far": (lambda t: -np.log1p(t) + 1e-3 * t, lambda t: -1 / (1 + t) + 1e-3),
    "a kink": (lambda t: abs(t - 0.7) + 0.1 * t * t, lambda t: np.sign(t - 0.7) + 0.2 * t),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("first", [1e-4, 0.1, 1.0, 30.0, 1e4])
def test_the_line_search_keeps_the_wolfe_conditions(name, first):
    at, start, asked = line(*LINES[name])
    with np.errstate(all="ignore"):
        found = lbfgs._strong_wolfe(at, start, first, 1.0, 50)
    assert asked[0] == first and found.t in asked and len(asked) <= 8
    assert found.f <= start.f + 1e-4 * found.t * start.slope
    if name != "a kink":  # where the slope jumps, no point is flat
        assert abs(found.slope) <= 0.9 * abs(start.slope)
    else:
        assert found.t == pytest.approx(0.7, abs=0.5)


def test_the_line_search_closes_in_on_a_corner():
    """The cubic's minimum stays near one end of the bracket; without steps away from it that end would never move."""
    at, start, asked = line(lambda t: max(-t, 1e3 * (t - 0.9) - 0.9), lambda t: -1.0 if t < 0.9 else 1e3)
    for first in (0.1, 1.0, 5.0):
        assert lbfgs._strong_wolfe(at, start, first, 1.0, 50).t == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(
    ("wall", "slope"),
    [(np.inf, np.nan), (np.inf, -1.0), (np.nan, np.nan), (np.nan, 1.0), (np.nan, -1.0), (-np.inf, np.nan)],
)
def test_the_line_search_comes_back_from_where_the_loss_is_not_finite(wall, slope):
    at, start, asked = line(lambda t: (t - 1) ** 2 if t < 2 else wall, lambda t: 2 * (t - 1) if t < 2 else slope)
    found = lbfgs._strong_wolfe(at, start, 1000.0, 1.0, 25)
    assert 0 < found.t < 2 and found.f < start.f and len(asked) < 20


def test_the_line_search_gives_up_where_it_began():
    """Uphill whatever the slope says: no try is lower, and the point it returns is the start."""
    at, start, asked = line(lambda t: t, lambda t: -1.0 if t == 0 else 1.0)
    assert lbfgs._strong_wolfe(at, start, 1.0, 1.0, 7) is start and len(asked) == 8


@both
def test_max_eval_and_max_iter(search):
    x, y = leaf(-1.2), leaf(1.0)
    for settings, least, most in [({"max_iter": 3}, 3, 4), ({"max_iter": 30, "max_eval": 6}, 6, 8)]:
        optimizer = optim.LBFGS([x, y], lr=1e-3, line_search_fn=search, tolerance_change=0.0, **settings)
        closure = closure_of(optimizer, rosenbrock)
        optimizer.step(closure)
        assert least <= closure.calls <= most or (search and closure.calls <= most + 1)
    assert optimizer._memory.iterations <= 30


def test_tolerances():
    x = leaf(0.0)
    # A step too short to matter, though the loss falls by a thousand:
    optimizer = optim.LBFGS([x], lr=1e-3, tolerance_change=0.01)
    closure = closure_of(optimizer, lambda x: (1e6 * x).sum())
    optimizer.step(closure)
    assert optimizer._memory.iterations == 1 and x.item() == pytest.approx(-1e-3)
    # A loss that hardly falls along d: not even one step.
    x = leaf(0.0)
    optimizer = optim.LBFGS([x], tolerance_change=1e-3, tolerance_grad=0.0)
    optimizer.step(closure_of(optimizer, lambda x: (1e-3 * x).sum()))
    assert x.item() == 0.0


# -- parameters -----------------------------------------------------------------------------------------------------


def test_mixed_shapes_and_dtypes():
    parameters = [leaf(1.0, dtype=np.float32), leaf(2.0, 3.0), Tensor(4.0, dtype=np.float64, requires_grad=True),
                  Tensor(np.zeros((0, 2)), requires_grad=True)]  # fmt: skip
    memory = [p._data for p in parameters]
    optimizer = optim.LBFGS(parameters, line_search_fn="strong_wolfe")
    function = closure_of(optimizer, lambda a, b, c, e: ((a - 5) ** 2).sum() + (b**2).sum() + (c + 1) ** 2 + e.sum())
    optimizer.step(function)
    np.testing.assert_allclose(parameters[0].data, [5.0], rtol=1e-6)
    np.testing.assert_allclose(parameters[1].data, [0.0, 0.0], atol=1e-6)
    assert parameters[2].item() == pytest.approx(-1.0)
    assert all(p._data is m for p, m in zip(parameters, memory))
    assert [p.dtype for p in parameters] == [np.float32, np.float64, np.float64, np.float64]


@both
def test_frozen_parameters_and_those_without_a_gradient_stay(search):
    """Also if they moved before: no part of an old step goes on in them, and the history starts anew."""
    x, y, unused = leaf(-1.2), leaf(1.0), leaf(7.0)
    optimizer = optim.LBFGS([x, unused, y], lr=1e-3, max_iter=4, max_eval=50, line_search_fn=search)
    closure = closure_of(optimizer, lambda x, unused, y: rosenbrock(x, y))
    optimizer.step(closure)
    assert unused.item() == 7.0 and x.item() != -1.2 and y.item() != 1.0
    assert optimizer._memory.live == [0, 2] and optimizer._memory.iterations == 4
    y.requires_grad_(False)
    before, moved = y.item(), x.item()
    optimizer.step(closure)
    assert y.item() == before and x.item() != moved
    assert optimizer._memory.live == [0] and optimizer._memory.iterations <= 4
    x.requires_grad_(False)
    moved = x.item()
    assert optimizer.step(lambda: 3.5) == 3.5  # nothing has a gradient: nothing to do
    assert (x.item(), y.item(), unused.item()) == (moved, before, 7.0)


def test_it_is_a_write():
    x = leaf(1.0)
    kept = (x * x).sum()
    optimizer = optim.LBFGS([x])
    optimizer.step(closure_of(optimizer, lambda x: (x**2).sum()))
    with pytest.raises(engine.GraphError, match="changed in place"):
        kept.backward()


@both
def test_an_error_in_the_closure_leaves_the_last_whole_iteration(search):
    x, y = leaf(-1.2), leaf(1.0)
    optimizer = optim.LBFGS([x, y], lr=1e-3, line_search_fn=search, max_iter=5)
    closure = closure_of(optimizer, rosenbrock)
    seen = []

    def fails():
        seen.append((x.item(), y.item()))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(fails)
    assert (x.item(), y.item()) == seen[0] == (-1.2, 1.0) != seen[1]


@both
def test_non_finite_gradients_are_not_hidden(search):
    x = leaf(0.0, 1.0)
    optimizer = optim.LBFGS([x], line_search_fn=search)
    loss = optimizer.step(closure_of(optimizer, lambda x: (ops.log(x - 1) * x).sum()))  # no warning
    assert not np.isfinite(loss.item()) and np.isnan(x.data).any()


def test_a_rate_of_zero_stays():
    for search in (None, "strong_wolfe"):
        x, y = leaf(-1.2), leaf(1.0)
        optimizer = optim.LBFGS([x, y], lr=0.0, line_search_fn=search)
        optimizer.step(closure_of(optimizer, rosenbrock))
        assert (x.item(), y.item()) == (-1.2, 1.0)


# -- state ----------------------------------------------------------------------------------------------------------


def training(dtype, **settings):
    net = nn.Sequential(nn.Linear(5, 3, generator=0, dtype=dtype), nn.Tanh(), nn.Linear(3, 5, generator=1, dtype=dtype))
    optimizer = optim.LBFGS(net.parameters(), **{"max_iter": 3, "max_eval": 30, "history_size": 4, **settings})
    x = np.random.default_rng(2).normal(size=(10, 5)).astype(dtype)
    return net, optimizer, closure_of(optimizer, lambda *_: nn.mse(net(x), x))


@both
@each_dtype
@pytest.mark.parametrize("before", [0, 1, 5])
def test_resuming_gives_the_same_bits(tmp_path, search, dtype, before):
    net, optimizer, closure = training(dtype, line_search_fn=search, lr=0.5, max_eval=None)
    for _ in range(before):
        optimizer.step(closure)
    for name, part in (("net", net), ("optimizer", optimizer)):
        np.savez(tmp_path / name, **part.state_dict())
    for _ in range(5):
        optimizer.step(closure)
    other, resumed, again = training(dtype, lr=7.0)
    resumed.step(again)  # nothing of what it was before is left
    for name, part in (("net", other), ("optimizer", resumed)):
        with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as archive:
            part.load_state_dict(dict(archive))
    assert resumed.lr == 0.5 and resumed.line_search_fn == search and resumed.max_eval is None
    for _ in range(5):
        resumed.step(again)
    for p, q in zip(net.parameters(), other.parameters()):
        assert np.array_equal(p.data, q.data)
    one, two = optimizer.state_dict(), resumed.state_dict()
    assert list(one) == list(two) and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_go_their_own_way(duplicate):
    x, y = leaf(-1.2), leaf(1.0)
    optimizer = optim.LBFGS([x, y], line_search_fn="strong_wolfe", max_iter=5)
    optimizer.step(closure_of(optimizer, rosenbrock))
    other = duplicate(optimizer)
    other.step(closure_of(other, rosenbrock))
    assert other.parameters[0].item() != x.item()
    optimizer.step(closure_of(optimizer, rosenbrock))
    assert other.parameters[0].item() == x.item()


def test_after_astype_the_memory_follows():
    net, optimizer, _ = training(np.float32, line_search_fn="strong_wolfe")
    for dtype in (np.float32, np.float64, np.float32):
        x = np.random.default_rng(2).normal(size=(10, 5)).astype(dtype)
        net.astype(dtype)
        before = [p.data.copy() for p in net.parameters()]
        optimizer.step(closure_of(optimizer, lambda *_: nn.mse(net(x), x)))
        state = optimizer.state_dict()
        assert all(state[f"memory.{name}"].dtype == dtype for name in ("g", "d", "steps", "changes"))
        assert {a.dtype for a in (*optimizer._memory.steps, *optimizer._memory.changes)} == {np.dtype(dtype)}
        assert all(p.dtype == dtype and not np.array_equal(p.data, b) for p, b in zip(net.parameters(), before))
    assert optimizer._memory.iterations == 9  # converted, not forgotten


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    _, optimizer, closure = training(np.float64)
    optimizer.step(closure)
    before = optimizer.state_dict()
    lacking = {name: value for name, value in before.items() if name != "memory.rhos"}
    for state, error, text in [
        ({**before, "memory.g": np.ones(3)}, ShapeError, r"memory.g has shape \(3,\), expected \(38,\)"),
        ({**before, "memory.steps": np.ones((1, 38))}, ShapeError, r"memory.steps has shape \(1, 38\), expected \(2,"),
        ({**before, "memory.live": [0, 9]}, SettingError, r"live=\[0, 9\], of 4 parameters"),
        ({**before, "memory.live": [1, 0]}, SettingError, "live="),
        ({**before, "memory.x": 1}, SettingError, "of memory, the state has .*x; LBFGS needs "),
        (lacking, SettingError, "LBFGS needs .*rhos"),
        ({**before, "parameters.0.m": 1}, SettingError, "'parameters.0.m' is not of LBFGS"),
        ({**before, "param_groups.0.max_iter": 0}, SettingError, "max_iter=0"),
    ]:
        with pytest.raises(error, match=text):
            optimizer.load_state_dict({**state, "memory.loss": 9.0} if state is not lacking else state)
        after = optimizer.state_dict()
        assert list(after) == list(before) and all(np.array_equal(after[name], before[name]) for name in before)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: optim.LBFGS([p]).step(), r"LBFGS.step: no closure.* Call step\(closure\)"),
        (lambda p: optim.LBFGS([{"params": [p]}, {"params": [leaf(1.0)]}]), "a second parameter group"),
        (lambda p: optim.LBFGS([p]).add_param_group({"params": [leaf(1.0)]}), "a second parameter group"),
        (lambda p: optim.LBFGS([p], line_search_fn="wolfe"), "line_search_fn='wolfe'. Give 'strong_wolfe' or None"),
        (lambda p: optim.LBFGS([p], max_iter=0), "max_iter=0"),
        (lambda p: optim.LBFGS([p], max_eval=1.5), "max_eval=1.5"),
        (lambda p: optim.LBFGS([p], history_size=0), "history_size=0"),
        (lambda p: optim.LBFGS([p], tolerance_grad=-1), "tolerance_grad=-1"),
        (lambda p: optim.LBFGS([p], tolerance_change=np.nan), "tolerance_change=nan"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(SettingError, match=text):
        call(leaf(1.0))


def test_iterations_are_those_of_a_step():
    """One at a time, the loss after each; as many as are asked for, or until nothing is left to be gained."""
    paths = []
    for way in ("step", "iterations"):
        x, y = leaf(-1.2), leaf(1.0)
        optimizer = optim.LBFGS([x, y], line_search_fn="strong_wolfe", max_iter=7, max_eval=100)
        closure = closure_of(optimizer, rosenbrock)
        if way == "step":
            optimizer.step(closure)
        else:
            for number, loss in enumerate(optimizer.iterations(closure, 7), 1):
                assert loss == rosenbrock(x, y).item()
            assert number == 7
        paths.append((x.item(), y.item(), closure.calls))
    assert paths[0] == paths[1]
    losses = list(optim.optimizer("lbfgs", [x, y]).iterations(closure, 1000))
    assert losses[-1] < 1e-18 and len(losses) < 100
    assert list(optim.LBFGS([leaf(1.0)]).iterations(lambda: Tensor(1.0), 3)) == [], "no gradient, no step"
