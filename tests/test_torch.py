"""PyTorch as an oracle, where it is installed: every op, and random programs of them, in float64 to 1e-9.

How PyTorch says an op stands in `cases/`, under TORCH; which ops it has no word for, and why, stands below. Nothing
requires PyTorch: without it this file is skipped. Composed functions are compared in `test_ops.py`.
"""

import numpy as np
import pytest
from cases import CASES, NOISE, TORCH
from hypothesis import given
from hypothesis import strategies as st

from tinyae import Tensor, grad, ops
from tinyae.engine import OPS

torch = pytest.importorskip("torch")

_BACKWARD = "the gradient of a layer, which PyTorch keeps to itself; compared as such, through that layer"
WITHOUT = {  # ops that PyTorch cannot say: {name: why}
    **dict.fromkeys(NOISE, "noise: other bits by design, judged by its distribution"),
    **dict.fromkeys(("_avg_pool_spread", "_conv2d_weight", "_max_pool_place", "_max_pool_winner", "_upsample_back"),
                    _BACKWARD),
    "_max_pool_pick": "what max_pool does once the winners are known; compared through max_pool",
}  # fmt: skip
COMPARED = sorted(name for name in CASES if TORCH.get(name) is not None)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def theirs(x, gradient=True):
    """A torch tensor of its own memory; a leaf if it is floating."""
    return torch.tensor(np.array(x), requires_grad=gradient and x.dtype.kind == "f")


def array(t):
    return t.detach().numpy()


def test_every_op_is_compared_or_excused():
    assert {name for name in CASES if TORCH.get(name) is None} == set(WITHOUT), (
        "add a row TORCH to tests/cases/; or say above why PyTorch has no such op, and for nothing else"
    )
    assert set(TORCH) <= set(CASES), "a row for what is no op"


@pytest.mark.parametrize("name", COMPARED)
@given(data=st.data())
def test_op_is_pytorchs(name, data):
    """Value, shape and dtype; the gradient of every operand under a random upstream gradient; float32's dtype too."""
    arrays, settings = CASES[name](data.draw)
    if name in ("unfold", "fold") and not all(x.size for x in arrays):
        return  # PyTorch refuses them
    a = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    b = [theirs(x) for x in arrays]
    y, z = OPS[name](*a, **settings), TORCH[name](torch, *b, **settings)
    assert y.shape == tuple(z.shape) and y.dtype == array(z).dtype
    np.testing.assert_allclose(y.data, array(z), **CLOSE)
    assert y.requires_grad >= z.requires_grad, "PyTorch differentiates what we do not"
    if y.requires_grad and z.requires_grad:
        u = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(y.shape)
        leaves = [x for x in b if x.requires_grad]
        first = grad(y, [x for x in a if x.requires_grad], u, allow_unused=True)
        second = torch.autograd.grad(z, leaves, theirs(u, False), allow_unused=True)
        for mine, other, leaf in zip(first, second, leaves, strict=True):
            other = torch.zeros_like(leaf) if other is None else other
            assert mine.shape == tuple(other.shape) and mine.dtype == array(other).dtype
            np.testing.assert_allclose(mine.data, array(other), **CLOSE)
    if name != "cast":
        narrow = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in arrays]
        y = OPS[name](*map(Tensor, narrow), **settings)
        z = TORCH[name](torch, *[theirs(x, False) for x in narrow], **settings)
        assert y.dtype == array(z).dtype
        np.testing.assert_allclose(y.data, array(z), rtol=2e-4, atol=2e-5)


def at(function, *points):
    """Slopes of one function of both libraries' tensors, under an upstream gradient that is not one."""
    a = [Tensor(p, dtype=np.float64, requires_grad=True) for p in points]
    b = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in points]
    y, z = function(ops, *a), function(torch, *b)
    u = np.linspace(-1.5, 2.0, y.size).reshape(y.shape)
    mine, other = grad(y, a, u), torch.autograd.grad(z, b, torch.tensor(u))
    return [g.tolist() for g in mine], [g.tolist() for g in other]


@pytest.mark.parametrize(("function", "points"), [
    (lambda m, x: m.relu(x), ([-1.0, 0.0, -0.0, 2.0],)),
    (lambda m, x: m.abs(x), ([-1.0, 0.0, 2.0],)),
    (lambda m, x: m.sign(x), ([-1.0, 0.0, 2.0],)),
    (lambda m, x: x.clip(0.0, 1.0), ([-1.0, 0.0, 0.5, 1.0, 2.0],)),
    (lambda m, a, b: m.maximum(a, b), ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])),
    (lambda m, a, b: m.minimum(a, b), ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])),
    (lambda m, x: x.max(), ([[1.0, 3.0], [3.0, 3.0]],)),
    (lambda m, x: x.min(), ([[1.0, 3.0], [1.0, 3.0]],)),
    (lambda m, x: x**0, ([0.0, 2.0],)),
    (lambda m, x: x**1, ([0.0, 2.0],)),
    (lambda m, x: x**2.0, ([0.0, -3.0],)),
    (lambda m, a, b: a**b, ([0.0, 2.0], [2.0, 3.0])),
    (lambda m, x: m.sqrt(x), ([0.0, 4.0],)),
    (lambda m, x: m.log(x), ([0.0, 4.0],)),
    (lambda m, x: m.sigmoid(x), ([-800.0, 0.0, 800.0],)),
    (lambda m, x: m.tanh(x), ([-800.0, 0.0, 800.0],)),
])  # fmt: skip
def test_the_same_convention_where_there_is_a_choice(function, points):
    mine, other = at(function, *points)
    assert mine == other


# -- random programs ------------------------------------------------------------------------------------------------
# One line each, for both libraries; m is `ops` or `torch`. Values stay of order one, so that 1e-9 means something.

UNARY = [
    lambda m, x: m.tanh(x), lambda m, x: m.sigmoid(x), lambda m, x: x.tanh().exp(), lambda m, x: -x,
    lambda m, x: m.log(x * x + 1.0), lambda m, x: m.sqrt(x * x + 0.5), lambda m, x: m.square(x).tanh(),
    lambda m, x: (x * x + 1.0) ** 0.3, lambda m, x: 1.0 / (x * x + 1.0), lambda m, x: m.erf(x), lambda m, x: m.relu(x),
    lambda m, x: m.abs(x), lambda m, x: x.clip(-0.5, 0.5), lambda m, x: m.where(x > 0.1, x * 2.0, m.tanh(x)),
    lambda m, x: x.reshape(-1), lambda m, x: x.reshape(1, *x.shape), lambda m, x: x + x,
    lambda m, x: x.detach() * x,
]  # fmt: skip
BY_AXIS = [
    lambda m, x, k: x.sum(axis=k), lambda m, x, k: x.mean(axis=k, keepdims=True),
    lambda m, x, k: m.softmax(x, axis=k) if m is ops else x.softmax(k),
    lambda m, x, k: x.var(axis=k, ddof=0) if m is ops else x.var(axis=k, correction=0),
    lambda m, x, k: m.log_softmax(x, axis=k) * 0.1 if m is ops else x.log_softmax(k) * 0.1,
    lambda m, x, k: m.logsumexp(x, axis=k) if m is ops else x.logsumexp(k),
    lambda m, x, k: x.max(axis=k) if m is ops else x.amax(k), lambda m, x, k: x.min(axis=k) if m is ops else x.amin(k),
    lambda m, x, k: x[(slice(None),) * k + ([0, -1, 0],)], lambda m, x, k: x[(slice(None),) * k + (slice(1, None),)],
    lambda m, x, k: m.concat(x, x * 2.0, axis=k) if m is ops else torch.cat([x, x * 2.0], k),
    lambda m, x, k: m.stack(x, x * 2.0, axis=k) if m is ops else torch.stack([x, x * 2.0], k),
    lambda m, x, k: x.transpose(*np.roll(range(x.ndim), k)) if m is ops else x.permute(*np.roll(range(x.ndim), k)),
]  # fmt: skip
BINARY = [
    lambda m, a, b: a + b, lambda m, a, b: a - b, lambda m, a, b: m.tanh(a * b), lambda m, a, b: a / (b * b + 1.0),
    lambda m, a, b: m.maximum(a, b), lambda m, a, b: m.minimum(a, b * 0.5), lambda m, a, b: (a * a + 0.5) ** m.tanh(b),
    lambda m, a, b: m.where(a < b, a, b * 3.0),
]  # fmt: skip


def program(rng):
    """A function of (m, leaves) that applies the same random lines each time, and the shapes of its leaves.

    Lines are chosen while they run, by what the shapes allow; the choices are then fixed.
    """
    shapes = [tuple(rng.permutation([2, 3, 4])[: rng.integers(0, 4)].tolist()) for _ in range(3)]
    lines = []

    def grow(m, values):
        kind = rng.integers(4)
        i, j = rng.integers(len(values), size=2)
        x, y = values[i], values[j]
        if kind == 0 and x.ndim and 0 not in x.shape:
            f, k = BY_AXIS[rng.integers(len(BY_AXIS))], int(rng.integers(x.ndim))
            return lambda m, v: f(m, v[i], k)
        if kind == 1:
            f = BINARY[rng.integers(len(BINARY))]
            try:
                np.broadcast_shapes(x.shape, y.shape)
            except ValueError:
                return lambda m, v: f(m, v[i], v[j].sum())
            return lambda m, v: f(m, v[i], v[j])
        if kind == 2 and x.ndim > 1:
            return lambda m, v: m.tanh(v[i] @ v[i].mT)
        f = UNARY[rng.integers(len(UNARY))]
        return lambda m, v: f(m, v[i])

    def run(m, leaves):
        values = list(leaves)
        for step in range(12):
            if len(lines) == step:
                lines.append(grow(m, values))
            new = lines[step](m, values)
            if new.ndim <= 4 and np.prod(new.shape) <= 300:
                values.append(new)
        total = values[0].sum() * 0.0
        for x in values[3:]:
            total = total + m.tanh(x).sum()
        return total

    return run, shapes


@given(seed=st.integers(0, 2**32 - 1))
def test_random_programs(seed):
    """The value, all first derivatives, and all derivatives of a random combination of these."""
    rng = np.random.default_rng(seed)
    run, shapes = program(rng)
    points = [rng.standard_normal(s) for s in shapes]
    a, b = [Tensor(p, requires_grad=True) for p in points], [theirs(p) for p in points]
    y, z = run(ops, a), run(torch, b)
    np.testing.assert_allclose(y.item(), z.item(), **CLOSE)
    u = [rng.standard_normal(s) for s in shapes]
    first = grad(y, a, create_graph=True, allow_unused=True)
    other = torch.autograd.grad(z, b, create_graph=True, allow_unused=True)
    other = [torch.zeros_like(x) if g is None else g for g, x in zip(other, b)]
    for mine, its in zip(first, other):
        np.testing.assert_allclose(mine.data, array(its), **CLOSE)
    along = sum((g * d).sum() for g, d in zip(first, u))
    other = sum((g * torch.tensor(d)).sum() for g, d in zip(other, u))
    if not other.requires_grad:
        return
    second = grad(along, a, allow_unused=True)
    other = torch.autograd.grad(other, b, allow_unused=True)
    for mine, its, x in zip(second, other, b):
        np.testing.assert_allclose(mine.data, array(torch.zeros_like(x) if its is None else its), rtol=1e-8, atol=1e-8)
