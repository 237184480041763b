"""Derivatives of functions: against matrices that are known, against each other, nested, and what is refused."""

import gc
import weakref

import numpy as np
import pytest

import tinyae
from tinyae import (
    Generator, Tensor, checkpoint, custom_op, grad, gradcheck, hessian, hvp, jacobian, jvp, no_grad, ops,
    value_and_grad, vjp,
)  # fmt: skip
from tinyae.engine import KEEP_SMALL, OPS
from tinyae.errors import DtypeError, GraphError, SettingError, ShapeError, TinyaeError

rng = np.random.default_rng(3)
A, S = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
x, v = rng.normal(size=3), rng.normal(size=3)


def net(x):
    return (A @ x).tanh()


def slope(x):
    """d net / d x by hand."""
    return (1.0 - np.tanh(A @ x) ** 2)[:, None] * A


def quartic(x):
    return ((S @ x) ** 4).sum()


def curvature(x):
    return S.T @ np.diag(12.0 * (S @ x) ** 2) @ S


# -- what they compute ----------------------------------------------------------------------------------------------


def test_value_and_grad():
    value, g = value_and_grad(quartic)(x)
    assert value.item() == pytest.approx(np.sum((S @ x) ** 4)) and not value.requires_grad and not g.requires_grad
    np.testing.assert_allclose(g.data, S.T @ (4.0 * (S @ x) ** 3))


def test_jacobian_vjp_and_jvp_are_one_matrix():
    J = slope(x)
    np.testing.assert_allclose(jacobian(net)(x).data, J)
    y, pull = vjp(net, x)
    np.testing.assert_allclose(y.data, np.tanh(A @ x))
    for u in np.eye(4):  # any number of times
        np.testing.assert_allclose(pull(u)[0].data, u @ J)
    y, dy = jvp(net, (x,), (v,))
    np.testing.assert_allclose(y.data, np.tanh(A @ x))
    np.testing.assert_allclose(dy.data, J @ v)


def test_hessian_and_hvp_are_one_matrix():
    H = hessian(quartic)(x)
    np.testing.assert_allclose(H.data, curvature(x))
    value, (Hv,) = hvp(quartic, (x,), (v,))
    assert value.item() == pytest.approx(np.sum((S @ x) ** 4))
    np.testing.assert_allclose(Hv.data, curvature(x) @ v)
    np.testing.assert_allclose(hvp(quartic, x, v)[1][0].data, Hv.data)  # a single argument needs no tuple


def test_shapes_are_those_of_result_and_input():
    X = rng.normal(size=(2, 3))
    assert jacobian(lambda X: X @ S)(X).shape == (2, 3, 2, 3)
    assert jacobian(lambda X: X.sum())(X).shape == (2, 3)
    assert hessian(lambda X: (X * X * X).sum())(X).shape == (2, 3, 2, 3)
    assert jacobian(lambda X: X[:0])(X).shape == (0, 3, 2, 3)


def test_float32_stays_float32():
    x32, v32 = x.astype(np.float32), v.astype(np.float32)
    f = lambda x: (x * x).sum()
    assert {t.dtype for t in (*value_and_grad(f)(x32), jacobian(f)(x32), hessian(f)(x32), *jvp(f, (x32,), (v32,)),
                              hvp(f, x32, v)[1][0])} == {np.dtype(np.float32)}  # fmt: skip


@pytest.mark.parametrize("form", [
    lambda w, b: {"w": w, "b": b}, lambda w, b: [w, b], lambda w, b: (w, {"b": b}), lambda w, b: [[w], (b,)],
])  # fmt: skip
def test_arguments_may_be_nested(form):
    """Gradients, and tangents, come and go in the arguments' own form."""

    def flat(p):
        return [a for v in (p.values() if isinstance(p, dict) else p)
                for a in (flat(v) if isinstance(v, (dict, list, tuple)) else [v])]  # fmt: skip

    def loss(p, scale):
        w, b = flat(p)
        return (scale * ((w @ x + b) ** 2)).sum()

    b = rng.normal(size=4)
    r = 2.0 * 3.0 * (A @ x + b)
    value, g = value_and_grad(loss)(form(A, b), 3.0)
    assert type(g) is type(form(A, b))
    gw, gb = flat(g)
    np.testing.assert_allclose(gw.data, np.outer(r, x))
    np.testing.assert_allclose(gb.data, r)
    _, dy = jvp(lambda p: loss(p, 3.0), (form(A, b),), (form(A * 0, b * 0 + 1),))
    assert dy.item() == pytest.approx(r.sum())
    (g,) = vjp(lambda p: loss(p, 3.0), form(A, b))[1](1.0)
    np.testing.assert_allclose(flat(g)[1].data, r)


def test_tangents_go_by_key():
    p = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    other_order = {"b": np.array([1.0, 0.0]), "a": np.zeros(2)}
    assert jvp(lambda d: d["a"] ** 2 * d["b"], p, other_order)[1].tolist() == [1.0, 0.0]
    (Hv,) = hvp(lambda d: (d["a"] ** 2 * d["b"]).sum(), p, other_order)[1]
    assert Hv["a"].tolist() == [2.0, 0.0] and Hv["b"].tolist() == [0.0, 0.0]
    with pytest.raises(ShapeError, match=r"jvp: tangents \['a', 'c'\] for inputs \['a', 'b'\]"):
        jvp(lambda d: d["a"], p, {"a": np.zeros(2), "c": np.zeros(2)})


def test_settings_are_passed_on():
    assert value_and_grad(lambda a, k=1.0: (a * k).sum())(x, k=3.0)[1].tolist() == [3.0] * 3
    assert jacobian(lambda a, k=1.0: a[:1] * k)(x, k=2.0).tolist() == [[2.0, 0.0, 0.0]]


def test_complex_numbers_are_refused():
    with pytest.raises(DtypeError, match="mul: a gradient with respect to complex128 values makes no sense"):
        Tensor(x, requires_grad=True) * 2j


def test_argnums():
    f = lambda a, b: (a * a * b).sum()
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert value_and_grad(f, 1)(a, b)[1].tolist() == [1.0, 4.0]
    assert value_and_grad(f, -1)(a, b)[1].tolist() == [1.0, 4.0]
    assert [g.tolist() for g in value_and_grad(f, (1, 0))(a, b)[1]] == [[1.0, 4.0], [6.0, 16.0]]
    assert [j.tolist() for j in jacobian(f, (0, 1))(a, b)] == [[6.0, 16.0], [1.0, 4.0]]
    assert hessian(f, 0)(a, b).tolist() == [[6.0, 0.0], [0.0, 8.0]]


def test_an_unused_input_and_a_constant_give_zeros():
    assert value_and_grad(lambda a, b: a.sum(), (0, 1))(x, v)[1][1].tolist() == [0.0] * 3
    assert jacobian(lambda a: Tensor([1.0, 2.0]))(x).tolist() == [[0.0] * 3] * 2
    assert hessian(lambda a: a.sum())(x).tolist() == [[0.0] * 3] * 3
    assert hvp(lambda a: a.sum(), x, v)[1][0].tolist() == [0.0] * 3
    assert jvp(lambda a: Tensor([1.0, 2.0]), x, v)[1].tolist() == [0.0, 0.0]


def test_transforms_nest():
    third = jacobian(hessian(quartic))(x).data
    expected = np.einsum("ia,ib,ic,i->abc", S, S, S, 24.0 * (S @ x))
    np.testing.assert_allclose(third, expected)
    np.testing.assert_allclose(jacobian(jacobian(quartic))(x).data, curvature(x), atol=1e-12)
    np.testing.assert_allclose(jvp(lambda x: value_and_grad(quartic)(x)[1], x, v)[1].data, curvature(x) @ v)
    np.testing.assert_allclose(jacobian(lambda x: jvp(quartic, x, v)[1])(x).data, curvature(x) @ v)


def test_the_same_tensor_inside_and_outside():
    """x as an argument is differentiated, x in the closure is not."""
    t = Tensor(x, requires_grad=True)
    np.testing.assert_allclose(value_and_grad(lambda a: (a * t).sum())(t)[1].data, x)


def test_results_can_be_differentiated_when_an_argument_can():
    w = Tensor(S, requires_grad=True)
    value, g = value_and_grad(lambda w: ((w @ x) ** 3).sum())(w)
    assert value.requires_grad and g.requires_grad
    penalty = (g * g).sum()
    (found,) = grad(penalty, [w])
    gradcheck(lambda w: (value_and_grad(lambda w: ((w @ x) ** 3).sum())(w)[1] ** 2).sum(), S)
    assert found.shape == (3, 3)


def test_create_graph_reaches_what_the_function_closes_over():
    """A gradient penalty: the input is plain data, its gradient is to depend on the weights."""
    w = Tensor(S, requires_grad=True)
    critic = lambda a: ((w @ a) ** 2).sum()
    assert not value_and_grad(critic)(x)[1].requires_grad
    g = value_and_grad(critic, create_graph=True)(x)[1]
    (found,) = grad((g * g).sum(), [w])
    u = 2.0 * S.T @ S @ x
    np.testing.assert_allclose(found.data, 4.0 * (S @ np.outer(x, u) + S @ np.outer(u, x)))


def test_inside_no_grad_they_work_and_record_nothing():
    w = Tensor(S, requires_grad=True)
    with no_grad():
        value, g = value_and_grad(lambda w: (w * w).sum())(w)
        assert not value.requires_grad and not g.requires_grad
    np.testing.assert_allclose(g.data, 2.0 * S)
    assert w.grad is None


def test_the_input_is_neither_copied_nor_changed():
    before = x.copy()
    value_and_grad(lambda a: (a * 2.0).sum())(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("error, words, call", [
    (ShapeError, r"value_and_grad: the function returned shape \(3,\), not one value",
     lambda: value_and_grad(lambda a: a)(x)),
    (ShapeError, "hessian: the function returned", lambda: hessian(lambda a: a)(x)),
    (ShapeError, "hvp: the function returned", lambda: hvp(lambda a: a, x, v)),
    (DtypeError, "value_and_grad: the function returned a float", lambda: value_and_grad(lambda a: 1.0)(x)),
    (DtypeError, "vjp: the function returned a tuple", lambda: vjp(lambda a: (a, a), x)),
    (DtypeError, "jacobian: a derivative with respect to int64 values", lambda: jacobian(net)(np.arange(3))),
    (SettingError, "argnums=2, but the function was given 1 arguments", lambda: jacobian(net, 2)(x)),
    (SettingError, r"argnums=\(0, -1\)", lambda: jacobian(net, (0, -1))(x)),
    (SettingError, "hessian: argnums=", lambda: hessian(net, (0, 1))),
    (SettingError, "hessian: argument 0 holds 2 arrays", lambda: hessian(lambda p: p[0].sum())([x, v])),
    (ShapeError, r"jvp: a tangent of shape \(2,\) for an input of shape \(3,\)", lambda: jvp(net, x, v[:2])),
    (ShapeError, "jvp: 2 tangents for 1 inputs", lambda: jvp(net, (x,), (v, v))),
    (ShapeError, "g has shape", lambda: vjp(net, x)[1](np.ones(3))),
    (DtypeError, "checkpoint: the function returned a tuple", lambda: checkpoint(lambda a: (a, a), Tensor(x))),
])  # fmt: skip
def test_refused(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    assert isinstance(caught.value, TinyaeError)


# -- checkpoint -----------------------------------------------------------------------------------------------------


def trained(wrap, order=1):
    """Gradients of a net with noise and a parameter in the closure, each block as wrap makes it."""
    w, t = Tensor(S, requires_grad=True), Tensor(x, requires_grad=True)
    noise = Generator(5)

    def block(h):
        return ops.dropout((w @ h).tanh(), p=0.3, generator=noise) * h

    loss = (wrap(block, wrap(block, t)) ** 2).sum()
    if order == 1:
        loss.backward()
        return w.grad.data, t.grad.data, noise.counter
    gw, gt = grad(loss, [w, t], create_graph=True)
    return *(g.data for g in grad((gw * gw).sum() + (gt * gt).sum(), [w, t])), noise.counter


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("wrap", [
    checkpoint, lambda f, a: checkpoint(lambda b: checkpoint(f, b), a),
], ids=["flat", "nested"])  # fmt: skip
def test_checkpoint_gives_the_same_bits(wrap, order):
    plain, again = trained(lambda f, a: f(a), order), trained(wrap, order)
    assert plain[2] == again[2], "the noise goes on where it would"
    assert all(np.array_equal(p, q) for p, q in zip(plain[:2], again[:2]))


def test_checkpoint_keeps_only_the_inputs():
    def block(h):
        for _ in range(10):
            inner = h.exp()
            kept.append(weakref.ref(inner._data))
            h = inner * 1e-3
        return h

    kept = []
    t = Tensor(np.ones(KEEP_SMALL + 1), requires_grad=True)
    y = block(t)
    assert all(r() is not None for r in kept)
    kept.clear()
    y = checkpoint(block, t)
    assert not any(r() is not None for r in kept)
    y.sum().backward()
    assert len(kept) == 20 and t.grad is not None, "the block ran a second time"


def test_checkpoint_leaves_state_alone_the_second_time():
    count = Tensor([0.0])
    t = Tensor(x, requires_grad=True)

    def block(h):
        tinyae.assign(count, count + 1.0)
        return h.exp()

    checkpoint(block, t).sum().backward()
    assert count.item() == 1.0
    tinyae.assign(count, 5.0)
    assert count.item() == 5.0, "assigning works again afterwards"


def test_checkpoint_may_write_into_what_it_makes():
    w, t = Tensor(x, requires_grad=True), Tensor(x, requires_grad=True)

    def block(h):
        scratch = Tensor(np.zeros(3))
        scratch[0] = 5.0
        return h * scratch * w

    checkpoint(block, t).sum().backward()
    assert t.grad.tolist() == [5.0 * x[0], 0.0, 0.0]


def test_checkpoint_notices_another_second_run():
    t, scale = Tensor(x, requires_grad=True), [1.0]
    y = checkpoint(lambda h: (h * scale[0]).exp(), t)
    scale[0] = 2.0
    with pytest.raises(GraphError, match="checkpoint: at .*the second run differs from the first"):
        y.sum().backward()
    w = Tensor(x, requires_grad=True)
    y = checkpoint(lambda h: (h * w) * (h * w), Tensor(np.ones(3))).sum()
    w.data = -w.data  # the result is the same, what lies on the way is not
    with pytest.raises(GraphError, match="second run differs"):
        y.backward()
    y = checkpoint(lambda h: (h if scale[0] == 2.0 else h.exp()).tanh(), t)
    scale[0] = 3.0
    with pytest.raises(GraphError, match="second run differs"):
        y.sum().backward()
    w = Tensor(S, requires_grad=True)
    y = checkpoint(lambda h: (w @ h).exp(), t)
    w.data = S * 2.0
    with pytest.raises(GraphError, match="changed in place afterwards"):
        y.sum().backward()


def test_checkpoint_without_a_gradient_is_a_call():
    assert checkpoint(lambda h: h * 2.0, Tensor(x)).tolist() == (2.0 * x).tolist()
    t = Tensor(x, requires_grad=True)
    with no_grad():
        assert not checkpoint(lambda h: h.exp(), t).requires_grad
    assert checkpoint(lambda h: h, t) is t, "nothing was recorded: the input itself is not touched"
    t.exp().sum().backward()


def test_a_checkpointed_graph_dies_by_reference_count():
    gc.disable()
    try:
        t = Tensor(x, requires_grad=True)
        y = checkpoint(lambda h: h.exp().tanh(), t)
        node = weakref.ref(y._node)
        del y
        assert node() is None
        y = checkpoint(lambda h: h.exp().tanh(), t)
        node = weakref.ref(y._node)
        y.sum().backward()
        del y
        assert node() is None
    finally:
        gc.enable()


# -- custom_op ------------------------------------------------------------------------------------------------------


def test_custom_op():
    @custom_op
    def scaled_cube(a, b, *, scale=2.0):
        return scale * a**3 * b

    @scaled_cube.vjp
    def _(g, a, b, scale):
        return g * (3.0 * scale) * a * a * b

    @scaled_cube.vjp("b")
    def _(g, a, scale):
        return g * scale * a * a * a

    assert gradcheck(lambda a, b: scaled_cube(a, b, scale=3.0), x, v, order=2)
    np.testing.assert_allclose(scaled_cube(x, v), 2.0 * x**3 * v)
    assert "scaled_cube" not in OPS


def test_custom_op_may_bear_the_name_of_ours_and_gets_no_kernel():
    @custom_op(elementwise=True)
    def exp(x):
        return 2.0 * np.exp(x)

    @exp.vjp
    def _(g, y):
        return g * y

    x32 = np.linspace(-1, 1, 100, dtype=np.float32)
    np.testing.assert_array_equal(exp(x32), 2.0 * np.exp(x32))
    t = Tensor(x32, requires_grad=True)
    exp(t).sum().backward()
    np.testing.assert_array_equal(t.grad.data, 2.0 * np.exp(x32))
    assert OPS["exp"] is ops.exp.op


def test_a_wrong_custom_rule_is_found():
    @custom_op
    def square(x):
        return x * x

    @square.vjp
    def _(g, x):
        return g * x

    with pytest.raises(tinyae.GradcheckError, match="per step, measured"):
        gradcheck(square, x)


def test_a_custom_rule_in_numpy_serves_the_first_derivative_and_refuses_the_second():
    @custom_op
    def sorted_sum(x):
        return np.sort(x).sum()

    @sorted_sum.vjp
    def _(g, x):
        return np.full(x.shape, np.asarray(g)) + 0.0 * np.sort(x)

    assert gradcheck(sorted_sum, x)
    t = Tensor(x, requires_grad=True)
    with pytest.raises(GraphError, match="np.sort: no derivative here"):
        grad(sorted_sum(t), [t], create_graph=True)
