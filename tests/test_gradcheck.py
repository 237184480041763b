"""The tester, tested: gradcheck must fail on every planted bug, pass what is right, and say what it saw."""

import re
from contextlib import contextmanager

import numpy as np
import pytest

from tinyae import Generator, GradcheckError, Tensor, gradcheck, no_grad, ops
from tinyae.engine import OPS
from tinyae.errors import DtypeError

rng = np.random.default_rng(1)
A, B, SQUARE, ROW = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(4, 4)), rng.normal(size=4)
POSITIVE, BIG = rng.uniform(0.5, 2.0, (3, 4)), rng.normal(size=512)


@contextmanager
def planted(name, argument, rule):
    """The op with another rule for one argument."""
    rules = OPS[name].rules
    before = rules[argument]
    OPS[name]._add_rule(argument, rule)
    rules[argument] = (rule, None, rules[argument][2])  # not the C kernel's rule
    try:
        yield
    finally:
        rules[argument] = before
        OPS[name]._recipes.clear()


def _one_wrong(g, y):
    out = g * y
    out[300] *= 1.01
    return out


def _write_into_g(g, y):
    g *= y
    return g


def _assigning(g, index, x_shape):
    out = np.zeros(x_shape)
    out[index] = g
    return out


def _mean_rather_than_sum(g, x_shape):
    return np.broadcast_to(g.mean(axis=0), x_shape)


# name: (op, argument, wrong rule, function, inputs). Each was found in, or is typical of, a published engine.
BUGS = {
    "sum ignores g": ("sum", "x", lambda g, x_shape: np.ones(x_shape), lambda x: x.sum(axis=0), (A,)),
    "square divides by g": ("square", "x", lambda g, x: 2 * x / g, ops.square, (A,)),
    "softmax returns zeros": ("softmax", "x", lambda g, y: 0 * y, ops.softmax, (A,)),
    "softmax is scaled": ("softmax", "x", lambda g, y: 1.1 * y * (g - (g * y).sum(-1, keepdims=True)),
                          ops.softmax, (A,)),
    "softmax forgets the sum": ("softmax", "x", lambda g, y: g * y * (1 - y), ops.softmax, (A,)),
    "log_softmax returns None": ("log_softmax", "x", lambda g: None, ops.log_softmax, (A,)),
    "variance's square returns zeros": ("square", "x", lambda g, x: 0 * x, lambda x: x.var(axis=1), (A,)),
    "transpose reshapes": ("transpose", "x", lambda g: g.reshape(g.shape[::-1]), lambda x: x.T * 1.0, (A,)),
    "permute forgets to invert": ("transpose", "x", lambda g, axes: g.transpose(axes),
                                  lambda x: x.transpose(1, 2, 0), (rng.normal(size=(3, 3, 3)),)),
    "flip is not flipped": ("getitem", "x", lambda g: g, lambda x: x[::-1], (A,)),
    "concat swaps the parts": ("concat", None, lambda g, index: g[3:] if index == 0 else g[:3],
                               lambda a, b: ops.concat(a, b), (A, A + 1)),
    "matmul: b for b.T": ("matmul", "a", lambda g, b: g @ b, lambda a, b: a @ b, (SQUARE, SQUARE.T + 1)),
    "matmul: dB transposed": ("matmul", "b", lambda g, a: (a.T @ g).T, lambda a, b: a @ b, (SQUARE, SQUARE.T + 1)),
    "linear: bias gradient is a row": ("linear", "bias", lambda g: g.mean(axis=0), ops.linear,
                                       (A, B, rng.normal(size=5))),
    "broadcast takes the mean": ("broadcast_to", "x", _mean_rather_than_sum,
                                 lambda x: ops.broadcast_to(x, shape=(3, 4)), (ROW,)),
    "a repeated index assigns": ("getitem", "x", _assigning, lambda x: x[[0, 0, 2]], (A,)),
    "one element of 512": ("exp", "x", _one_wrong, ops.exp, (BIG,)),
    "sigmoid' from x": ("sigmoid", "x", lambda g, x: g * x * (1 - x), ops.sigmoid, (A,)),
    "relu passes negatives": ("relu", "x", lambda g: g, ops.relu, (A,)),
    "leaky_relu forgets its slope": ("leaky_relu", "x", lambda g, y: g * (y > 0), ops.leaky_relu, (A,)),
    "writes into g": ("exp", "x", _write_into_g, lambda x: x * 2.0 + ops.exp(x), (A,)),
    "exp off by 1e-3": ("exp", "x", lambda g, y: 1.001 * g * y, ops.exp, (A,)),
    "power keeps the exponent": ("pow", "a", lambda g, a, b: g * b * a**b, lambda x: x**3, (POSITIVE,)),
    "a sign": ("sub", "b", lambda g: g, lambda a, b: a - b, (A, ROW)),
    "div forgets the square": ("div", "b", lambda g, y: -g * y, lambda a, b: a / b, (A, POSITIVE)),
    "max gives all to every place": ("max", "x", lambda g, x_shape: np.broadcast_to(g, x_shape),
                                     lambda x: x.max(), (A,)),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_planted_bug(bug):
    name, argument, rule, function, inputs = bug
    assert gradcheck(function, *inputs, directions=1)
    with planted(name, argument, rule), pytest.raises(GradcheckError, match="the gradient along a random direction"):
        gradcheck(function, *inputs, directions=1)
    assert gradcheck(function, *inputs, directions=1)


def test_bug_of_shape():
    """The engine itself refuses these: a gradient of the wrong shape is never added to anything."""
    with planted("linear", "bias", lambda g: g.sum(axis=0, keepdims=True)):
        with pytest.raises(RuntimeError, match=r"linear: a vjp gave shape \(1, 5\) for an argument of shape \(5,\)"):
            gradcheck(ops.linear, A, B, rng.normal(size=5))


def test_bug_that_shows_at_second_order_only():
    """The right numbers with their history cut off."""
    cut = lambda g, y: g * (1.0 - np.square(y if isinstance(y, np.ndarray) else y.data))  # noqa: E731
    assert gradcheck(ops.tanh, A, order=2)
    with planted("tanh", "x", cut):
        assert gradcheck(ops.tanh, A)
        with pytest.raises(GradcheckError, match="the second derivative along a random direction"):
            gradcheck(ops.tanh, A, order=2)


@pytest.mark.parametrize("distance", [-3e-5, -1.5e-5, -1e-6, 0.0, 1e-7, 1e-5, 2e-5])
@pytest.mark.parametrize(("function", "point"), [
    (ops.relu, [0.0]), (ops.relu, [1.0, -2.0, 0.0]), (ops.abs, [5.0, 0.0]), (lambda x: ops.maximum(x, 1.0), [1.0, 3.0]),
    (lambda x: x.max(), [2.0, 2.0]), (lambda x: ops.clip(x, low=0.0, high=1.0) + x * 100.0, [0.5, 1.0]),
])  # fmt: skip
def test_near_a_kink_the_function_is_blamed_and_not_the_rule(function, point, distance):
    moved = np.array(point)
    moved[-1] += distance
    for seed in range(5):
        try:
            gradcheck(function, moved, seed=seed)
        except GradcheckError as problem:
            assert "gradcheck: not differentiable here: the slope jumps from" in str(problem)


def test_kink_message():
    """It shows the five values, so that one can see the kink."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(ops.relu, np.zeros(3))
    text = str(caught.value)
    values = re.search(r"Five values: \[(.*)\]\. Move the point away from the kink", text)[1].split()
    assert len(values) == 5 and float(values[2]) == 0


def test_wrong_rules_are_not_excused_as_kinks():
    """Nor by curvature, steepness or size."""
    with planted("exp", "x", lambda g, y: 1.001 * g * y):
        for point in ([10.0], [-5.0, 3.0], [1e-8], [[50.0]]):
            with pytest.raises(GradcheckError, match="the gradient along"):
                gradcheck(ops.exp, np.array(point))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_right_rules_pass_at_any_scale(scale):
    assert gradcheck(lambda x: (x * scale).tanh() + x.square() * scale, A / scale, order=2)
    assert gradcheck(lambda x: x.square().sum() + 1.0, A * scale)


def test_mixed_inputs():
    """Integers and masks pass through untouched and undifferentiated; several inputs of several shapes; Tensors too."""
    assert gradcheck(lambda x, i, m: x[i] * ops.where(m, 1.0, 2.0), A, np.array([0, 0, 2]), np.ones(4, bool))
    assert gradcheck(lambda a, b, c: (a @ b).sum(axis=1) * c, Tensor(A), Tensor(B), 2.0, order=2)
    with pytest.raises(DtypeError, match="no float among the 1 inputs"):
        gradcheck(lambda i: i, np.arange(3))
    with pytest.raises(DtypeError, match="returned a ndarray, not a Tensor"):
        gradcheck(lambda x: x.data, A)


def _detached(x):
    return Tensor(np.sin(x.data)) + x * 0.0


def _under_no_grad(x):
    with no_grad():
        return x * 2.0


def test_functions_cut_off_from_their_inputs():
    for function in (lambda x: x.detach() * 2.0, _under_no_grad, lambda x: Tensor(1.0)):
        with pytest.raises(GradcheckError, match="cut off from every input"):
            gradcheck(function, A)
    with pytest.raises(GradcheckError, match="the gradient along"):
        gradcheck(_detached, A)
    assert gradcheck(lambda x: ops.sign(x) * 2.0, A, order=2), "constant, and its rule says so"
    assert gradcheck(lambda x: x * 2.0, A, order=2), "linear: the second derivative is 0"


def test_functions_that_cannot_be_repeated():
    generator = Generator(0)
    with pytest.raises(GradcheckError, match=r"not repeatable: the same point gave .* then .*Reset noise counters"):
        gradcheck(lambda x: x * ops.normal(x, generator=generator), A)

    def reset(x):
        generator.counter = 0
        return ops.dropout(x, p=0.5, generator=generator).square()

    assert gradcheck(reset, A, order=2)


def _in_place(x):
    y = x * 2.0
    with no_grad():
        x[0] = 1.0
    return y


def test_functions_that_write_into_their_inputs():
    with pytest.raises(GradcheckError, match="changed input 0 in place"):
        gradcheck(_in_place, A)


def test_backward_that_differs_from_run_to_run():
    noise = np.random.default_rng(0)
    with planted("exp", "x", lambda g, y: g * y * (1 + 1e-9 * noise.random())):
        with pytest.raises(GradcheckError, match="two backward passes gave different gradients for input 0"):
            gradcheck(ops.exp, A)


def test_not_finite():
    with pytest.raises(GradcheckError, match="not finite here"):
        gradcheck(ops.log, np.array([0.0]))
    with pytest.raises(GradcheckError, match="not finite here"):
        gradcheck(ops.sqrt, np.array([1.0, -1.0]))


def test_is_an_assertion():
    """So that a plain `gradcheck(...)` line in a user's test reads as a failure."""
    assert issubclass(GradcheckError, AssertionError)
