"""The tape by name: each test here is something that at least one published engine gets wrong.

First the walk back, then the memory that it holds, then what is refused and in which words, then modes and threads.
"""

import copy
import gc
import pickle
import re
import threading
import time
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

from tinyae import Tensor, assign, constant, engine, grad, no_grad, ops, source
from tinyae.engine import OPS, Op, Var, op
from tinyae.errors import AxisError, DtypeError, GraphError, SettingError, ShapeError, TinyaeError


def leaf(values, dtype=np.float64):
    return Tensor(values, requires_grad=True, dtype=dtype)


# -- the walk back --------------------------------------------------------------------------------------------------


def test_diamond():
    """Both paths from x to the loss count."""
    x = leaf(3.0)
    a, b = x * 2.0, x * x
    (a * b).backward()
    assert x.grad.item() == 54  # d 2 x**3


def test_same_operand_twice():
    x = leaf([1.0, 2.0])
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [3, 5]


def test_doubling_twenty_times_takes_linear_time():
    """2**20 paths, 20 nodes."""
    x = y = leaf(1.0)
    for _ in range(20):
        y = y + y
    start = time.perf_counter()
    y.backward()
    assert x.grad.item() == 2**20 and time.perf_counter() - start < 0.5


@pytest.mark.parametrize("length", [5_000, 100_000])
def test_long_chain_without_recursion(length):
    x = y = leaf(1.0)
    for _ in range(length):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    del y  # the chain of nodes dies without recursion too


@contextmanager
def counted(name, argument):
    """A list that grows by one whenever the rule runs."""
    rule, kernel, names = before = OPS[name].rules[argument]
    calls = []

    def counting(g, *kept):
        calls.append(1)
        return rule(g, *kept)

    OPS[name].rules[argument] = counting, None, names
    OPS[name]._recipes.clear()
    try:
        yield calls
    finally:
        OPS[name].rules[argument] = before
        OPS[name]._recipes.clear()


@contextmanager
def without_gc():
    """What dies inside, dies by reference count."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("add_up", [lambda parts: sum(parts, 0.0), lambda parts: ops.stack(*parts).sum()],
                         ids=["one by one", "at once"])  # fmt: skip
def test_fan_out_of_ten_thousand(add_up):
    """One value used 10,000 times: each use counts, each node is visited once, all die with the last reference."""
    n = 10_000
    with counted("mul", "a") as visits, without_gc():
        x = leaf([1.0, 2.0])
        parts = [x * float(k) for k in range(n)]
        loss = add_up(parts).sum()
        alive = [weakref.ref(node) for node in engine._below(loss._node) if node.op is not None]
        loss.backward()
        assert len(visits) == n
        assert x.grad.tolist() == [n * (n - 1) / 2] * 2
        del parts, loss
        assert not any(ref() for ref in alive) and len(alive) > n


def test_each_node_of_a_long_chain_is_visited_once_and_dies():
    """100,000 ops with a side path around each one: 2**100,000 paths, and no recursion in walking or in dying."""
    n = 100_000
    with counted("sub", "a") as visits, without_gc():
        x = y = leaf(1.0)
        for _ in range(n // 2):
            y = (y - 0.5) * 0.5 + y * 0.5
        alive = [weakref.ref(node) for node in engine._below(y._node) if node.op is not None]
        y.backward()
        assert len(visits) == n // 2 and x.grad.item() == 1
        del y
        assert not any(ref() for ref in alive) and len(alive) == 2 * n


def test_a_graph_shared_by_two_losses():
    """A node on both ways is visited once per walk; kept for the second walk, freed by it, gone with the losses."""
    with counted("tanh", "x") as trunk, counted("exp", "x") as head, without_gc():
        x = leaf([0.5, -1.0])
        h = x.tanh()
        first, second = (h * h).sum(), (h * 3.0).exp().sum()
        alive = [weakref.ref(node) for node in engine._below(h._node) if node.op is not None]
        first.backward(retain_graph=True)
        assert (len(trunk), len(head)) == (1, 0)
        second.backward()
        assert (len(trunk), len(head)) == (2, 1)
        t = np.tanh(x.data)
        np.testing.assert_allclose(x.grad.data, (2 * t + 3 * np.exp(3 * t)) * (1 - t * t))
        with pytest.raises(GraphError, match="freed"):
            second.backward()
        with pytest.raises(GraphError, match="freed by an earlier backward"):
            first.backward()  # its trunk is gone
        del h, first, second
        assert not any(ref() for ref in alive) and alive


@pytest.mark.parametrize(("depth", "width"), [(400, 2), (40, 40), (4, 400)])
@pytest.mark.parametrize("seed", range(3))
def test_random_graphs(depth, width, seed):
    """Layers of sums with random factors and random ways between them, against the product of their matrices."""
    rng = np.random.default_rng(seed)
    x = leaf(rng.standard_normal(width))
    values, total = [x[i] for i in range(width)], np.eye(width)
    with counted("mul", "a") as visits:
        for _ in range(depth):
            matrix = np.zeros((width, width))
            new = []
            for i in range(width):
                ways = rng.integers(width, size=3)  # the same one twice, at times
                factors = rng.choice([-0.5, 0.25, 0.5, 1.0], size=3)
                np.add.at(matrix[i], ways, factors)
                new.append(sum((values[j] * f for j, f in zip(ways, factors)), 0.0))
            values, total = new, matrix @ total
        u = rng.standard_normal(width)
        loss = sum(v * w for v, w in zip(values, u))
        used = sum(node.op is not None and node.op.name == "mul" for node in engine._below(loss._node))
        loss.backward()
    np.testing.assert_allclose(x.grad.data, u @ total, rtol=1e-9, atol=1e-12 * np.abs(total).sum())
    assert loss.item() == pytest.approx(u @ total @ x.data, rel=1e-9, abs=1e-9 * np.abs(total).sum())
    assert len(visits) == used


def test_dead_branch_costs_and_changes_nothing():
    x = leaf([1.0, 2.0])
    dead = x.exp() * np.inf
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [3, 3] and np.isinf(dead.data).all()


def test_two_losses_on_one_trunk():
    """Two backwards through shared nodes give what their sum gives."""
    x = leaf([1.0, 2.0])
    trunk = x * x
    first, second = trunk.sum(), (trunk * 2.0).sum()
    first.backward(retain_graph=True)
    second.backward()
    assert x.grad.tolist() == [6, 12]
    y = leaf([1.0, 2.0])
    trunk = y * y
    (trunk.sum() + (trunk * 2.0).sum()).backward()
    assert y.grad.tolist() == [6, 12]


def test_backward_twice_needs_retain_graph():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12, "the second backward adds"
    with pytest.raises(GraphError, match=r"freed by an earlier backward \(at mul, .*`y = x \* x`.*retain_graph=True"):
        y.backward()
    z = x + 1.0  # keeps nothing, and is freed all the same
    z.backward()
    with pytest.raises(GraphError, match="freed"):
        z.backward()


def test_freed_graph_lets_go_of_what_it_kept():
    x = leaf(np.ones(100))
    h = x * 2.0
    y = (h * h).sum()
    kept = weakref.ref(h._data)
    del h
    assert kept() is not None
    y.backward()
    assert kept() is None


def test_gradients_accumulate_until_set_to_none():
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    first = x.grad
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [5, 5] and first.tolist() == [2, 2], "what was read before stays as it was"
    x.grad = None
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_backward_of_a_leaf_and_with_given_g():
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    (x * 2.0).backward(np.array([1.0, 10.0]))
    (x * 2.0).backward(Tensor([1.0, 10.0]))
    assert x.grad.tolist() == [7, 44] and x.grad.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_has_its_parameters_dtype(dtype):
    """However the precisions are mixed on the way, and whatever g is given."""
    x, wide, narrow = leaf([1.0, 2.0], dtype), leaf([1.0, 2.0], np.float64), leaf([1.0, 2.0], np.float32)
    (x * wide + x @ narrow + x.astype(np.float64) + x.astype(np.float32)).sum().backward()
    assert (x.grad.dtype, wide.grad.dtype, narrow.grad.dtype) == (dtype, np.float64, np.float32)
    x.backward(Tensor([1.0, 1.0], dtype=np.float64))
    assert x.grad.dtype == dtype
    assert grad(x.sum(), x, g=1).dtype == dtype
    (g,) = grad((x**3.0 * wide).sum(), [x], create_graph=True)
    assert g.dtype == dtype and grad(g.sum(), x).dtype == dtype


def test_zero_dimensional_gradients_are_arrays():
    """NumPy's sums of 0-d arrays are scalars; a gradient is an array nevertheless, first use or sum of several."""
    x, row = leaf(2.0), np.ones(3)
    ((x + x) + (x * row).sum() + x.sum()).backward()
    assert x.grad.item() == 6
    assert type(x.grad._data) is np.ndarray and not x.grad.data.flags.writeable
    for f in (lambda: x + x, lambda: x * x, lambda: x * row.sum(), lambda: (x - row).sum(), lambda: -x, lambda: x**3):
        assert type(grad(f(), x)._data) is np.ndarray


def test_broadcasting_is_undone():
    column, row, one = leaf(np.ones((3, 1))), leaf(np.ones(4)), leaf(1.0)
    (column * row * one * np.arange(12.0).reshape(3, 4)).sum().backward()
    assert column.grad.tolist() == [[6], [22], [38]] and row.grad.tolist() == [12, 15, 18, 21] and one.grad.item() == 66


def test_repeated_indices_add():
    x = leaf([1.0, 2.0, 3.0])
    (x[[0, 0, 2]] * np.array([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [11, 0, 100]


# -- grad -----------------------------------------------------------------------------------------------------------


def test_grad_leaves_dot_grad_alone():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * w
    gx, gh = grad((h * h).sum(), [x, h], retain_graph=True)
    assert gx.tolist() == [18, 64] and gh.tolist() == [6, 16]
    assert x.grad is None and w.grad is None and h.grad is None and not gx.requires_grad
    assert isinstance(grad(h.sum(), x), Tensor), "one input, one gradient"


def test_grad_of_the_output_itself():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    gy, gx = grad(y.sum(), [y, x])
    assert gy.tolist() == [1, 1] and gx.tolist() == [2, 2]
    s = x.sum()
    assert grad(s, s).item() == 1


def test_unused_inputs():
    """An error, or zeros of each one's own shape."""
    x, other, constant = leaf([1.0, 2.0]), leaf(np.ones((2, 3)), np.float32), Tensor(np.ones(4))
    with pytest.raises(GraphError, match=r"does not depend on input 1 \(shape \(2, 3\)\).*allow_unused=True"):
        grad(x.sum(), [x, other])
    with pytest.raises(GraphError, match="input 0 does not require a gradient"):
        grad(x.sum(), constant)
    with pytest.raises(GraphError, match="input 0 is a ndarray, not a Tensor"):
        grad(x.sum(), [np.ones(2)])
    shapes = [g.shape for g in grad(x.sum(), [x, other, constant, Tensor(1.0)], allow_unused=True)]
    assert shapes == [(2,), (2, 3), (4,), ()]
    assert grad(x.sum(), other, allow_unused=True).dtype == np.float32
    assert grad(x.sum(), []) == ()


def test_a_path_on_which_every_rule_answers_zero():
    x = leaf([1.0, -2.0])
    assert grad(ops.sign(x).sum(), x).tolist() == [0, 0]
    ops.sign(x).sum().backward()
    assert x.grad.tolist() == [0, 0]


def test_derivatives_to_fourth_order():
    x = leaf(2.0)
    y, found = x**5, []
    for _ in range(5):
        y = grad(y, x, create_graph=True)
        found.append(y.item())
    assert found == [80, 160, 240, 240, 120]


def test_gradient_penalty():
    """Double backward into parameters: d/dw of |d loss / d x|**2."""
    w, x = leaf([[2.0, 3.0]]), leaf([[1.0], [1.0]])
    g = grad((w @ x).square().sum(), x, create_graph=True)  # 2 (w x) w
    penalty = (g * g).sum()  # 4 (w x)**2 |w|**2
    penalty.backward()
    assert penalty.item() == 4 * 25 * 13
    np.testing.assert_allclose(w.grad.data, [[8 * 5 * 13 + 8 * 25 * 2, 8 * 5 * 13 + 8 * 25 * 3]])


def test_hessian_vector_product_inside_no_grad():
    x = leaf([1.0, 2.0])
    y = (x**3).sum()
    with no_grad():
        g = grad(y, x, create_graph=True)
    assert grad((g * np.array([1.0, 0.0])).sum(), x).tolist() == [6, 0]


def test_backward_with_create_graph_fills_differentiable_grads():
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)
    g, x.grad = x.grad, None
    assert g.item() == 27 and g.requires_grad
    g.backward()
    assert x.grad.item() == 18


def test_differentiable_grads_accumulate_with_their_history():
    x = leaf(3.0)
    for _ in range(2):
        (x * x * x).backward(create_graph=True)
    g, x.grad = x.grad, None
    g.backward()
    assert g.item() == 54 and x.grad.item() == 36


def test_retain_grad():
    x = leaf([1.0, 2.0])
    h = (x * 2.0).retain_grad()
    loss = (h * h).sum()
    assert h.grad is None
    grad(loss, x, retain_graph=True)
    assert h.grad is None, "grad fills no .grad, and does not forget the wish either"
    loss.backward()
    assert h.grad.tolist() == [4, 8] and x.grad.tolist() == [8, 16]
    with pytest.raises(GraphError, match="retain_grad: this tensor does not require a gradient"):
        Tensor(1.0).retain_grad()


def test_only_the_wanted_rules_run():
    """A gradient nobody asked for is not computed, and what it alone needs is not kept."""
    ran = []

    @op
    def _spy(a, b):
        """a * b. Shape: two equal -> same."""
        return a * b

    @_spy.vjp("a")
    def _(g, b):
        ran.append("a")
        return g * b

    @_spy.vjp("b")
    def _(g, a):
        ran.append("b")
        return g * a

    try:
        x, w = Tensor([1.0, 2.0]), leaf([3.0, 4.0])
        y = _spy(x, w)
        assert len(y._node.kept) == 1 and y._node.kept[0] is x._data
        y.sum().backward()
        assert ran == ["b"]
        x = leaf([1.0, 2.0])
        grad(_spy(x, w).sum(), [x])
        assert ran == ["b", "a"]
    finally:
        del OPS["_spy"]


# -- memory ---------------------------------------------------------------------------------------------------------


def test_gradients_never_share_memory():
    """add hands the same g to both sides; each leaf gets its own copy, and g stays the caller's."""
    a, b, g = leaf(np.ones(3)), leaf(np.ones(3)), np.ones(3)
    c = leaf(np.ones((3, 1)))
    (a + b + c.reshape(3)).backward(g)
    held = [a.grad._data, b.grad._data, c.grad._data, g]
    assert not any(np.shares_memory(x, y) for i, x in enumerate(held) for y in held[:i])
    with no_grad():
        a.grad[...] = 7.0
    assert b.grad.tolist() == [1, 1, 1] and g.tolist() == [1, 1, 1]
    given = Tensor(np.ones(3))
    for first, second in (grad(a + b, [a, b], given), grad(a + b, [a, b], given, create_graph=True)):
        assert not np.shares_memory(first._data, second._data) and not np.shares_memory(first._data, given._data)


def test_a_rule_may_return_what_it_kept():
    """Backward still hands out, and adds up in, arrays of its own."""

    @op
    def _product(a, b):
        """sum(a * b). Shape: two equal -> ()."""
        return np.sum(a * b)

    @_product.vjp("a")
    def _(g, b):
        return b

    try:
        a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
        (_product(a, b) + _product(a, b)).backward()
        assert a.grad.tolist() == [6, 8] and b.tolist() == [3, 4]
        a = leaf([1.0, 2.0])
        assert not np.shares_memory(grad(_product(a, b), a)._data, b._data)
    finally:
        del OPS["_product"]


def test_sums_under_way_do_not_write_into_other_gradients():
    """x is reached three times; the array that add handed down unchanged must not become the accumulator."""
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    h = (x + y).retain_grad()
    (h + x * 2.0 + x * 3.0 + x).sum().backward()
    assert h.grad.tolist() == [1, 1, 1] and y.grad.tolist() == [1, 1, 1] and x.grad.tolist() == [7, 7, 7]


def test_nodes_die_by_reference_count():
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones((4, 4)))
        y = (x @ x).sigmoid().sum()
        alive = [weakref.ref(n) for n in engine._below(y._node) if n.op is not None]
        y.backward()
        del y
        assert [r() for r in alive] == [None] * len(alive)
        y = (x * x).sum()
        g = grad(y, x, create_graph=True)
        alive = [weakref.ref(n) for n in engine._below(g._node) if n.op is not None]
        del y, g
        assert [r() for r in alive] == [None] * len(alive)
    finally:
        gc.enable()


def test_changed_after_being_kept():
    """An error that names the op and both lines."""
    w = leaf([1.0, 2.0])
    h = w * 2.0
    loss = (h * h).sum()  # the line that kept
    with no_grad():
        h[0] = 5.0  # the line that changed
    with pytest.raises(GraphError) as caught:
        loss.backward()
    text = str(caught.value)
    assert re.search(r"backward: mul at .*test_engine.py:\d+ `loss = \(h \* h\).sum\(\)", text)
    assert re.search(r"changed in place afterwards, at .*test_engine.py:\d+ `h\[0\] = 5.0", text)


CHANGES = {
    "assign": lambda t: assign(t, 9.0),
    "assign at an index": lambda t: assign(t, 9.0, 0),
    "setitem": lambda t: t.__setitem__(0, 9.0),
    "data": lambda t: setattr(t, "data", 9.0),
    "through detach": lambda t: t.detach().__setitem__(0, 9.0),
    "through a view": lambda t: t.reshape(-1).__setitem__(0, 9.0),
    "through a slice": lambda t: t[:1].__setitem__(0, 9.0),
    "through a transpose": lambda t: t.T.__setitem__(0, 9.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("kept", ["leaf", "result", "constant", "view"])
def test_every_way_to_write_is_noticed(kept, change):
    w = leaf([1.0, 2.0])
    target = {"leaf": w, "result": w.exp(), "constant": Tensor([3.0, 4.0]), "view": w.reshape(2)}[kept]
    loss = (w * target).sum() if kept == "constant" else (target * target).sum()
    with no_grad():
        change(target)
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_views_made_while_recording_are_noticed():
    w = leaf([1.0, 2.0])
    loss, view = (w * w).sum(), w.reshape(-1)
    with no_grad():
        view[0] = 9.0
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_second_derivatives_notice_writes_too():
    w = leaf([1.0, 2.0])
    g = grad(w.log().sum(), w, create_graph=True)  # keeps w a second time: g / w
    with no_grad():
        w[0] = 5.0
    with pytest.raises(GraphError, match="div at .* kept a tensor that was changed in place"):
        grad(g.sum(), w)
    w = leaf([1.0, 2.0])
    g = grad(w.log().sum(), w, create_graph=True)  # div keeps its result, which is the gradient itself
    with no_grad():
        g[0] = 5.0
    with pytest.raises(GraphError, match="div at .* kept a tensor that was changed in place"):
        grad(g.sum(), w)
    w, c = leaf([1.0, 2.0]), Tensor([2.0, 3.0])
    g = grad((w * w * w * c).sum(), w, create_graph=True)
    with no_grad():
        w[0] = 5.0
    with pytest.raises(GraphError, match="changed in place"):
        grad(g.sum(), w)
    w = leaf([1.0, 2.0])
    g = grad((w * w * c).square().sum(), w, create_graph=True)
    with no_grad():
        c[0] = 5.0
    with pytest.raises(GraphError, match="changed in place"):
        grad(g.sum(), w)


def test_a_write_that_hurts_nobody_is_no_error():
    """Not kept, or a copy: sums need no values, add keeps nothing, advanced indexing copies."""
    w = leaf([1.0, 2.0, 3.0])
    loss = (w + 1.0).sum()
    picked = w[[0, 2]]
    squares = (picked * picked).sum()
    with no_grad():
        w[...] = 0.0
    loss.backward()
    squares.backward()
    assert w.grad.tolist() == [3, 1, 7]


def test_arrays_are_read_only_to_numpy():
    w = leaf([1.0, 2.0])
    for view in (w.data, w.numpy(), np.asarray(w.detach()), w.exp().data, w.exp().numpy()):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1.0
    copy = np.array(w.data)
    copy[0] = 9.0
    assert w.tolist() == [1, 2]


def test_the_constructor_copies():
    a = np.ones(3)
    t, u = Tensor(a), Tensor(Tensor(a))
    a[0] = 5.0
    assert t.tolist() == u.tolist() == [1, 1, 1]


def test_assign():
    t = Tensor(np.zeros((2, 3)))
    assert assign(t, 1.0) is t
    t[0] = [1.0, 2.0, 3.0]
    t[:, 1:] = Tensor([[7.0], [8.0]])
    assert t.tolist() == [[1, 7, 7], [1, 8, 8]]
    t.data = np.zeros(3)
    assert t.tolist() == [[0, 0, 0], [0, 0, 0]]
    before = t._data
    t.data = 1
    assert t._data is before, "never rebound"
    with pytest.raises(ShapeError, match=r"values of shape \(4,\) do not fit into shape \(2, 3\)"):
        t.data = np.zeros(4)
    with pytest.raises(ShapeError, match=r"values of shape \(2, 3\) do not fit into shape \(3,\)"):
        t[0] = np.zeros((2, 3))
    with pytest.raises(AxisError, match=r"shape \(2, 3\), index 7"):
        t[7] = 1.0
    with pytest.raises(DtypeError, match="complex128 values into a float64 tensor"):
        t[0] = 1j
    with pytest.raises(DtypeError, match="float64 values into a int64 tensor"):
        Tensor(np.zeros(2, np.int64))[0] = 1.5
    small = Tensor(np.zeros(2, np.uint8))
    small[0] = 3
    assert small.tolist() == [3, 0], "Python's numbers are weak"
    with pytest.raises(DtypeError, match="out of bounds"):
        small[0] = 300
    with pytest.raises(DtypeError, match="int64 values into a uint8 tensor"):
        small[0] = np.array(3)


def test_assign_into_or_from_a_graph():
    w = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"a leaf that requires a gradient.*no_grad"):
        w[0] = 1.0
    with pytest.raises(GraphError, match=r"the result of exp.*no_grad"):
        w.exp()[0] = 1.0
    with pytest.raises(GraphError, match=r"gradient cannot flow through a write.*detach"):
        Tensor([1.0, 2.0])[0] = w[0]


# -- leaves ---------------------------------------------------------------------------------------------------------


def test_requires_grad():
    t = Tensor([1.0, 2.0])
    assert t.is_leaf and not t.requires_grad and t.requires_grad_() is t and t.requires_grad
    assert (t * 2.0).requires_grad and not (t * 2.0).is_leaf and not t.detach().requires_grad
    assert not t.requires_grad_(False).requires_grad
    with pytest.raises(GraphError, match=r"requires_grad_: .* result of an operation.*detach"):
        (leaf(1.0) * 2.0).requires_grad_()
    assert not (leaf(1.0) > 0).requires_grad, "comparisons have no derivative"


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_have_no_gradient(dtype):
    with pytest.raises(DtypeError, match=rf"{np.dtype(dtype)} values makes no sense.*dtype=np.float32"):
        Tensor(np.ones(3, dtype), requires_grad=True)
    assert not leaf(np.ones(3)).astype(dtype).requires_grad


def test_nothing_to_go_back_to():
    with pytest.raises(GraphError, match=r"does not depend on anything that requires a gradient.*no_grad"):
        Tensor([1.0]).sum().backward()
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"shape \(2,\), not one value.*\.sum\(\).*t\.backward\(g\)"):
        (x * 2.0).backward()
    with pytest.raises(ShapeError, match=r"g has shape \(3,\), the output \(2,\)"):
        (x * 2.0).backward(np.ones(3))
    with pytest.raises(ShapeError, match=r"g has shape \(1, 2\), the output \(2,\)"):
        (x * 2.0).backward(np.ones((1, 2)))
    (x[:1] * 2.0).backward()
    assert x.grad.tolist() == [2, 0], "one element of any shape will do"


def test_setting_grad():
    x = leaf([1.0, 2.0], np.float32)
    x.grad = [3.0, 4.0]
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3, 4]
    with pytest.raises(ShapeError, match=r"grad: shape \(3,\) for a tensor of shape \(2,\)"):
        x.grad = np.ones(3)
    with pytest.raises(DtypeError, match="grad: dtype float64 for a float32 tensor"):
        x.grad = Tensor([1.0, 2.0], dtype=np.float64)
    with pytest.raises(GraphError, match="does not require a gradient"):
        Tensor([1.0]).grad = [1.0]


def test_where_a_value_was_made():
    """The user's line, whether it calls an op, a method, an operator, or something in the package that does."""
    x = leaf([1.0, 2.0])
    made = [ops.exp(x), x.exp(), x + 1.0, np.exp(x), x.std(), x]
    for y in made[:-1]:
        file, line, text = source.place(y._node.where)
        assert file == __file__ and text.startswith("made = [ops.exp(x)")
    y = ops.add(
        x,
        1.0,
    )
    assert source.place(y._node.where)[2] == "y = ops.add("
    assert source.place(x._node.where)[2] == "return Tensor(values, requires_grad=True, dtype=dtype)"


def test_what_can_be_a_tensor():
    assert Tensor([1, 2]).dtype == np.int64 and Tensor([1.0]).dtype == np.float32 and Tensor(True).dtype == bool
    assert Tensor(np.ones(2)).dtype == np.float64 and Tensor(np.ones(2), dtype="float32").dtype == np.float32
    assert Tensor(np.ones(2, ">f8")).dtype == np.dtype("=f8") and Tensor(np.float64(1)).dtype == np.float64
    for bad in ("text", [1j], np.ones(2, np.float16), np.array([None]), [[1.0], [1.0, 2.0]], {}, None):
        with pytest.raises(DtypeError, match="Tensor: "):
            Tensor(bad)
    with pytest.raises(DtypeError):
        Tensor([1.0], dtype=np.float16)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(again):
    """Leaves copy with their gradient, sharing no memory; results are refused, since a copied graph is never meant."""
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    y = again(x)
    assert type(y) is Tensor and y.tolist() == [1, 2] and y.requires_grad and y.grad.tolist() == [2, 2]
    assert not np.shares_memory(x._data, y._data) and not np.shares_memory(x.grad._data, y.grad._data)
    assert not again(Tensor(1.0)).requires_grad
    with pytest.raises(GraphError, match=r"copy: only leaves.*the result of mul.*detach\(\)"):
        again(x * 2.0)


def test_deepcopy_keeps_ties():
    x = leaf([1.0])
    a, b = copy.deepcopy([x, x])
    assert a is b and a is not x


# -- modes and threads ----------------------------------------------------------------------------------------------


def test_no_grad():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2.0).requires_grad
        with no_grad():
            pass
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad

    @no_grad()
    def double(x):
        """Twice."""
        return x * 2.0

    assert not double(x).requires_grad and (x * 2.0).requires_grad and double.__doc__ == "Twice."
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0
    assert (x * 2.0).requires_grad, "left by an exception, the mode is put back"
    mode = no_grad()
    with mode, mode:
        pass
    assert (x * 2.0).requires_grad, "one instance entered twice"


def test_backward_leaves_the_mode_as_it_was_even_after_an_error():
    @op
    def _broken(x):
        """x, with a rule that raises. Shape: any -> same."""
        return x.copy()

    @_broken.vjp
    def _(g):
        raise ZeroDivisionError

    try:
        x = leaf([1.0])
        for create in (False, True):
            with pytest.raises(ZeroDivisionError):
                _broken(x).backward(create_graph=create)
            assert (x * 2.0).requires_grad
    finally:
        del OPS["_broken"]


def test_no_grad_is_per_thread():
    x, seen = leaf(1.0), []
    entered, checked = threading.Event(), threading.Event()

    def other():
        with no_grad():
            entered.set()
            checked.wait(10)
            seen.append((x * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    seen.append((x * 2.0).requires_grad)
    checked.set()
    thread.join()
    assert seen == [True, False]


def test_threads_have_their_own_graphs():
    found = {}

    def work(k):
        w = leaf(np.full(50, float(k)))
        for _ in range(20):
            w.grad = None
            ((w * w).sum() + w.exp().log().sum()).backward()
        found[k] = w.grad.data

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        np.testing.assert_allclose(found[k], 2 * k + 1)


# -- ops ------------------------------------------------------------------------------------------------------------


def test_ops_answer_in_kind():
    """Arrays in, an array out; a Var or a subclass among them decides the result's class."""
    array = np.ones(2)
    assert type(ops.add(array, array)) is np.ndarray
    assert (
        type(ops.add(array, engine._wrap(Var, array, None, None))) is Var
        and type(ops.add(Tensor(array), array)) is Tensor
    )

    class Mine(Tensor):
        pass

    assert type(ops.exp(Mine([1.0]))) is Tensor, "a result is no parameter, unless the class says so"


def test_declaring_an_op():
    with pytest.raises(SettingError, match="'exp' exists, in tinyae.ops.math"):

        @op
        def exp(x):
            return x

    @op
    def _odd(x, *, k=1):
        return x

    try:
        assert isinstance(_odd.op, Op) and repr(_odd.op) == "<op _odd>" and OPS["_odd"] is _odd.op
        with pytest.raises(SettingError, match="_odd: a vjp asks for 'nonsense'"):
            _odd.vjp(lambda g, nonsense: g)
        with pytest.raises(SettingError, match="_odd has no argument 'nonsense'"):
            _odd.vjp("nonsense")(lambda g: g)
        _odd.vjp(lambda g: g.reshape(1))
        with pytest.raises(GraphError, match=r"_odd: a vjp gave shape \(1,\) for an argument of shape \(\)"):
            _odd(leaf(1.0)).backward()
    finally:
        del OPS["_odd"]


def test_errors_inherit_what_callers_catch():
    from tinyae import errors

    for name in dir(errors):
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, Warning):
            assert issubclass(cls, UserWarning) and name in errors.__doc__
        elif isinstance(cls, type) and issubclass(cls, Exception) and cls is not TinyaeError:
            assert issubclass(cls, TinyaeError)
            assert cls.__mro__[-3] is Exception or cls.__bases__ != (TinyaeError,), f"{name} is no builtin's child"
            assert str(cls("where: what.")) == "where: what."
            assert name in errors.__doc__, f"{name} is missing in the drawn tree"


def test_grad_of_an_intermediate_leaves_what_is_below_it_alone():
    x = leaf([1.0, 2.0])
    h = x * x
    assert grad((h * 3.0).sum(), h).tolist() == [3, 3]
    h.sum().backward()
    assert x.grad.tolist() == [2, 4], "the first walk ended at h and freed nothing below it"


def test_retain_grad_after_a_backward():
    x = leaf(2.0)
    h = x * 3.0
    h.backward(retain_graph=True)
    h.retain_grad()
    (h * h).backward()
    assert h.grad.item() == 12.0


def test_an_index_is_kept_as_it_was():
    for index in (Tensor(np.array([True, False, False])), np.array([True, False, False])):
        w = leaf([0.0, 1.0, 2.0])
        y = (w[index] * 10.0).sum()
        index[...] = np.array([False, True, False])
        y.backward()
        assert w.grad.tolist() == [10, 0, 0]


def test_a_copy_has_a_counter_of_its_own():
    for select in (lambda t: t.T.reshape(-1), lambda t: t[:, [0, 1]]):
        a = leaf([[1.0, 2.0], [3.0, 4.0]])
        y = (a * a).sum()
        c = select(a.detach())
        c[0] = 5.0
        y.backward()
        assert a.grad.tolist() == [[2, 4], [6, 8]]


def test_lists_of_tensors_are_refused():
    a = leaf([1.0])
    for join in (ops.concat, ops.stack, ops.exp):
        with pytest.raises(GraphError, match=r"Write \w+\(a, b\)"):
            join([a, a])


def test_numpy_scalars_are_weak():
    x = Tensor([1.0, 2.0])
    for y in (x * np.int64(3), x ** np.int64(2), np.bool_(True) + x, x.clip(np.float64(0), None)):
        assert y.dtype == np.float32


def test_a_refused_walk_leaves_the_graph_whole():
    a = leaf([1.0, 2.0])
    h = a * a
    loss = (h * h).sum()
    with no_grad():
        h[0] = 7.0
    for _ in range(2):
        with pytest.raises(GraphError, match="changed in place afterwards"):
            loss.backward()


def test_variadic_recipes_do_not_pile_up():
    for i in range(1, 20):
        ops.stack(*[leaf(1.0) if i >> j & 1 else Tensor(1.0) for j in range(5)])
    assert not ops.stack.op._recipes


def test_no_grad_refuses_a_generator():
    with pytest.raises(SettingError, match="rows is a generator"):

        @no_grad()
        def rows():
            yield 1


def test_an_array_by_keyword_is_refused():
    """It would be taken for a setting, and its gradient would be lost without a word."""
    w = leaf(1.0)
    with pytest.raises(DtypeError, match="linear: .*positional-only arguments passed as keyword arguments: 'weight"):
        ops.linear(np.ones((2, 1)), weight=w, bias=np.zeros(1))
    with pytest.raises(DtypeError, match="exp: .*keyword"):
        ops.exp(x=w)


def test_one_rule_for_two_arguments():
    """It runs once, whichever gradients are wanted, on arrays and recorded; a wrong name is refused."""
    calls = []
    try:

        @op
        def _both(a, b):
            """a * b."""
            return a * b

        @_both.vjp("a", "b")
        def _(g, a, b):
            calls.append(1)
            return g * b, None if type(g) is np.ndarray and g[0] == 7 else g * a

        a, b = (Tensor(x, requires_grad=True, dtype=np.float64) for x in ([2.0], [3.0]))
        for create in (False, True):
            for wanted, expected in (([a, b], [3, 2]), ([b], [2]), ([a], [3])):
                calls.clear()
                found = grad(_both(a, b), wanted, create_graph=create)
                assert [g.item() for g in found] == expected and len(calls) == 1
        second = grad(grad(_both(a, b), [b], create_graph=True)[0], [a])[0]
        assert second.item() == 1
        assert [g.item() for g in grad(_both(a, b), [a, b], g=[7.0])] == [21, 0]
        with pytest.raises(SettingError, match="no argument 'c'"):
            _both.vjp("a", "c")
    finally:
        OPS.pop("_both", None)


def test_a_users_array_may_be_filled_anew_before_backward():
    """One buffer for all batches, views of it, and labels: what the tape keeps of them is its own."""
    W, buffer, labels = leaf(np.ones((3, 1))), np.zeros((2, 3)), np.zeros(2, int)
    loss, expected = 0.0, 0.0
    for k in (1.0, 2.0, 3.0):
        buffer[:], labels[:] = k, int(k) - 1
        y = ops.matmul(buffer, W) + ops.matmul(buffer[::-1], W) + ops.take(W, labels) + W[labels] * buffer[:, :1]
        loss = loss + (y * buffer).sum()
        expected = expected + _gradient(np.full((2, 3), k), np.full(2, int(k) - 1))
    buffer[:], labels[:] = -7.0, 0
    loss.backward()
    np.testing.assert_array_equal(W.grad.data, expected)


def _gradient(buffer, labels):
    W = leaf(np.ones((3, 1)))
    y = ops.matmul(buffer, W) + ops.matmul(buffer[::-1], W) + ops.take(W, labels) + W[labels] * buffer[:, :1]
    return grad((y * buffer).sum(), W).data


@pytest.mark.parametrize("look", [lambda a: np.asarray(memoryview(a).toreadonly()), lambda a: np.broadcast_to(a, (2,)),
                                  lambda a: constant(a)])  # fmt: skip
def test_a_look_that_cannot_write_is_kept_as_a_copy(look):
    w, buffer = leaf([1.0, 1.0]), np.array([2.0, 3.0])
    loss = (w * look(buffer)).sum() + ops.straight_through(buffer, w).square().sum()
    buffer[:] = 100.0
    loss.backward()
    assert w.grad.tolist() == [6, 9]


def test_values_of_a_tensor_are_kept_as_they_were():
    w, t = leaf([1.0, 1.0]), Tensor(np.array([2.0, 3.0]))
    loss = (w * t.data).sum()
    t[...] = 100.0
    loss.backward()
    assert w.grad.tolist() == [2, 3]


def test_an_array_that_nobody_can_write_to_is_kept_as_it_is():
    """A copy would be memory for nothing."""
    fixed = np.frombuffer(np.ones(6).tobytes()).reshape(2, 3)
    read_only = np.ones((2, 3))
    view = read_only[:]
    view.flags.writeable = False  # but read_only can
    W = leaf(np.ones((3, 1)))
    kept = [ops.matmul(x, W)._node.kept[0] for x in (fixed, view)]
    assert kept[0] is fixed and not np.shares_memory(kept[1], read_only)


@pytest.mark.parametrize("straight", [ops.relu, ops.abs, lambda x: 3.0 * x, lambda x: ops.clip(x, low=-1.0, high=1.0),
                                      lambda x: ops.leaky_relu(x), lambda x: ops.maximum(x, 0.5)])  # fmt: skip
def test_the_slope_of_what_is_straight_in_pieces_is_constant(straight):
    x = leaf([-2.0, 0.7])
    slope = grad(straight(x).sum(), x, create_graph=True)
    assert grad(slope.sum(), x, allow_unused=True).tolist() == [0.0, 0.0]
    if not slope.requires_grad:
        with pytest.raises(GraphError, match=r"slope of what is straight.*allow_unused=True\) gives zeros"):
            grad(slope.sum(), x)
