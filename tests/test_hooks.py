"""Hooks on tensors: when they are called, what their answer does, and that they end."""

import gc
import weakref

import numpy as np
import pytest

from tinyae import Tensor, grad, ops
from tinyae.errors import GraphError, ShapeError


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once():
    """x is used twice: the hook is called once, with the sum."""
    x, seen = leaf(1.0, 2.0), []
    x.register_hook(seen.append)
    (x * 3.0 + x * x).sum().backward()
    assert [g.tolist() for g in seen] == [[5.0, 7.0]] and isinstance(seen[0], Tensor)
    assert x.grad.tolist() == [5.0, 7.0]


@pytest.mark.parametrize("answer", [lambda g: g * 10.0, lambda g: g.data * 10.0, lambda g: (g.data * 10.0).tolist()])
def test_its_answer_takes_the_gradients_place(answer):
    x = leaf(1.0, 2.0)
    h = x * x
    h.register_hook(answer)
    h.sum().backward()
    assert x.grad.tolist() == [20.0, 40.0] and x.grad.dtype == np.float64


def test_hooks_run_in_order_and_each_sees_the_answer_before():
    x = leaf(1.0)
    x.register_hook(lambda g: g + 1.0)
    x.register_hook(lambda g: g * 10.0)
    x.sum().backward()
    assert x.grad.tolist() == [20.0]


def test_removed_is_removed():
    x, calls = leaf(1.0), []
    handle = x.register_hook(calls.append)
    handle.remove()
    handle.remove()
    with x.register_hook(calls.append):
        x.sum().backward()
    x.sum().backward()
    assert len(calls) == 1 and x.grad.tolist() == [2.0]


def test_a_hook_may_write_into_what_it_is_shown():
    """The gradient of an add goes to both operands; writing into one's must not reach the other's, or the seed."""
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)

    def spoil(g):
        g[...] = 99.0

    a.register_hook(spoil)
    seed = np.array([1.0, 1.0])
    (a + b).backward(seed)
    assert b.grad.tolist() == [1.0, 1.0] and a.grad.tolist() == [1.0, 1.0] and seed.tolist() == [1.0, 1.0]


def test_with_create_graph_the_answer_is_differentiable():
    x = leaf(2.0)
    h = x * x
    with h.register_hook(lambda g: g * h):  # d/dx becomes h * 2x = 2 x**3
        (g,) = grad(h.sum(), [x], create_graph=True)
    assert g.tolist() == [16.0]
    assert grad(g.sum(), [x])[0].tolist() == [24.0]


def test_grad_asks_hooks_too_on_the_path_only():
    x, y, calls = leaf(1.0), leaf(1.0), []
    x.register_hook(lambda g: calls.append("x"))
    y.register_hook(lambda g: calls.append("y"))
    grad((x * y).sum(), [x])
    assert calls == ["x"]


def test_what_a_hook_may_not_do():
    x = leaf(1.0, 2.0)
    handle = x.register_hook(lambda g: g[:1])
    with pytest.raises(ShapeError, match=r"hook: float64 \(1,\) returned for the gradient of a float64 tensor"):
        x.sum().backward()
    handle.remove()
    x.register_hook(lambda g: g.astype(np.float32))
    with pytest.raises(ShapeError, match="float32"):
        x.sum().backward()
    with pytest.raises(GraphError, match="register_hook: this tensor does not require a gradient"):
        Tensor([1.0]).register_hook(print)


def test_a_graph_with_hooks_dies_by_reference_count():
    gc.disable()
    try:
        x = leaf(1.0)
        h = ops.exp(x)
        h.register_hook(lambda g: g * 2.0)
        node = weakref.ref(h._node)
        h.sum().backward()
        del h
        assert node() is None
    finally:
        gc.enable()
