"""The tester, tested: gradcheck must fail on every planted bug, pass what is right, and say what it saw."""

import re
from contextlib import contextmanager

import numpy as np
import pytest

from tinyae import Generator, GradcheckError, Tensor, custom_op, gradcheck, nn, no_grad, ops
from tinyae.engine import OPS, sum_to
from tinyae.errors import DtypeError, GraphError, SettingError

rng = np.random.default_rng(1)
A, B, SQUARE, ROW = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(4, 4)), rng.normal(size=4)
CUBE, BIAS = rng.normal(size=(3, 3, 3)), rng.normal(size=5)
POSITIVE, BIG = rng.uniform(0.5, 2.0, (3, 4)), rng.normal(size=512)


@custom_op
def _mse(x, target):
    """mean((x - target)**2), as most engines declare it."""
    return np.mean((x - target) ** 2)


@_mse.vjp("x")
def _(g, x, target):
    return g * (x - target) * (2.0 / x.size)


@custom_op
def _layer_norm(x):
    """Rows of mean 0 and variance 1."""
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


@_layer_norm.vjp("x")
def _(g, y, x):
    n, centred = x.shape[-1], x - x.mean(-1, keepdims=True)
    inner = g - (sum_to(g, shape=(*g.shape[:-1], 1)) + y * sum_to(g * y, shape=(*g.shape[:-1], 1))) / n
    return inner / ((centred * centred).sum(-1, keepdims=True) / n) ** 0.5


@contextmanager
def planted(of, argument, rule):
    """The op, or the one of that name, with another rule for one argument."""
    of = OPS[of] if isinstance(of, str) else of.op
    before = of.rules[argument]
    of._add_rule([argument], rule)
    of.rules[argument] = (rule, None, of.rules[argument][2])  # not the C kernel's rule
    try:
        yield
    finally:
        of.rules[argument] = before
        of._recipes.clear()


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


# name: (op, argument, wrong rule, function, inputs). The twenty that were planted in models of published designs, less
# the one that no check can find (a power that is only ever tested at exponent 0).
PUBLISHED = {
    "sum ignores g": ("sum", "x", lambda g, x_shape: np.ones(x_shape), lambda x: x.sum(axis=0), (A,)),
    "mse divides by g": (_mse, "x", lambda g, x, target: (x - target) * (2.0 / x.size) / g,
                          lambda x: _mse(x, A[::-1] + 1), (A,)),
    "softmax returns zeros": ("softmax", "x", lambda g, y: 0 * y, ops.softmax, (A,)),
    "softmax is scaled": ("softmax", "x", lambda g, y: 1.1 * y * (g - (g * y).sum(-1, keepdims=True)),
                          ops.softmax, (A,)),
    "layer norm returns zeros": (_layer_norm, "x", lambda g, y: 0 * y, _layer_norm, (A,)),
    "transpose reshapes": ("transpose", "x", lambda g: g.reshape(g.shape[::-1]), lambda x: x.T * 1.0, (A,)),
    "permute uses the wrong inverse": ("transpose", "x", lambda g, axes: g.transpose(axes),
                                       lambda x: x.transpose(1, 2, 0), (CUBE,)),
    "flip is not flipped": ("getitem", "x", lambda g: g, lambda x: x[::-1], (A,)),
    "concat swaps the parts": ("concat", None, lambda g, index: g[3:] if index == 0 else g[:3],
                               lambda a, b: ops.concat(a, b), (A, A + 1)),
    "matmul takes b for b.T": ("matmul", "a", lambda g, b: g @ b, lambda a, b: a @ b, (SQUARE, SQUARE.T + 1)),
    "matmul transposes db": ("matmul", "b", lambda g, a: (a.T @ g).T, lambda a, b: a @ b, (SQUARE, SQUARE.T + 1)),
    "bias gradient of shape (1, n)": ("linear", "bias", lambda g: g.sum(axis=0, keepdims=True), ops.linear,
                                      (A, B, BIAS)),
    "broadcast takes the mean": ("broadcast_to", "x", _mean_rather_than_sum,
                                 lambda x: ops.broadcast_to(x, shape=(3, 4)), (ROW,)),
    "a repeated index assigns": ("getitem", "x", _assigning, lambda x: x[[0, 0, 2]], (A,)),
    "one element of 512 is wrong": ("exp", "x", _one_wrong, ops.exp, (BIG,)),
    "sigmoid' from x": ("sigmoid", "x", lambda g, x: g * x * (1 - x), ops.sigmoid, (A,)),
    "relu passes negatives": ("relu", "x", lambda g: g, ops.relu, (A,)),
    "writes into g": ("exp", "x", _write_into_g, lambda x: x * 2.0 + ops.exp(x), (A,)),
    "exp off by 1e-3": ("exp", "x", lambda g, y: 1.001 * g * y, ops.exp, (A,)),
}  # fmt: skip
MORE = {
    "square divides by g": ("square", "x", lambda g, x: 2 * x / g, ops.square, (A,)),
    "softmax forgets the sum": ("softmax", "x", lambda g, y: g * y * (1 - y), ops.softmax, (A,)),
    "log_softmax returns None": ("log_softmax", "x", lambda g: None, ops.log_softmax, (A,)),
    "variance's square returns zeros": ("square", "x", lambda g, x: 0 * x, lambda x: x.var(axis=1), (A,)),
    "the bias takes the mean": ("linear", "bias", lambda g: g.mean(axis=0), ops.linear, (A, B, BIAS)),
    "leaky_relu forgets its slope": ("leaky_relu", "x", lambda g, y: g * (y > 0), ops.leaky_relu, (A,)),
    "power keeps the exponent": ("pow", "a", lambda g, a, b: g * b * a**b, lambda x: x**3, (POSITIVE,)),
    "a sign": ("sub", "b", lambda g: g, lambda a, b: a - b, (A, ROW)),
    "div forgets the square": ("div", "b", lambda g, y: -g * y, lambda a, b: a / b, (A, POSITIVE)),
    "max gives all to every place": ("max", "x", lambda g, x_shape: np.broadcast_to(g, x_shape),
                                     lambda x: x.max(), (A,)),
}  # fmt: skip
BUGS = PUBLISHED | MORE


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_planted_bug(bug):
    """Right before, refused while it is there, right again after. A wrong shape is refused by the engine itself."""
    of, argument, rule, function, inputs = bug
    assert gradcheck(function, *inputs, directions=1)
    shape = "a vjp gave shape (1, 5) for an argument of shape (5,)"
    refused = f"the gradient along a random direction|{re.escape(shape)}"
    with planted(of, argument, rule), pytest.raises((GradcheckError, GraphError), match=refused):
        gradcheck(function, *inputs, directions=1)
    assert gradcheck(function, *inputs, directions=1)


def test_the_published_bugs_are_all_here():
    """And the one without a cure: at exponent 0 the right slope and the wrong one are both 0."""
    assert len(PUBLISHED) == 19
    with planted("pow", "a", lambda g, a, b: g * b):
        assert gradcheck(lambda x: x**0, POSITIVE)
        with pytest.raises(GradcheckError):
            gradcheck(lambda x: x**3, POSITIVE)


def test_bug_that_shows_at_second_order_only():
    """The right numbers with their history cut off."""
    cut = lambda g, y: g * (1.0 - np.square(y if isinstance(y, np.ndarray) else y.data))  # noqa: E731
    assert gradcheck(ops.tanh, A, order=2)
    with planted("tanh", "x", cut):
        assert gradcheck(ops.tanh, A)
        with pytest.raises(GradcheckError, match="the second derivative along a random direction"):
            gradcheck(ops.tanh, A, order=2)


# -- what the report says -------------------------------------------------------------------------------------------


def test_the_report_names_the_wrong_input_and_its_worst_element():
    """One element of 512 is wrong by a hundredth: the report points at it, with both numbers."""
    with planted("exp", "x", _one_wrong), pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, x: a.sum() * 2.0 + x.exp().sum(), A, BIG, directions=1)
    first, right, wrong = str(caught.value).splitlines()
    assert re.match(r"gradcheck: the gradient along a random direction is \S+ per step, measured \S+ \(diff", first)
    assert right == "    input 0, shape (3, 4): agrees"
    element, said, measured = re.fullmatch(
        r"    input 1, shape \(512,\): at \[(\d+)\] it is (\S+), measured (\S+)", wrong
    ).groups()
    assert element == "300" and float(said) == pytest.approx(1.01 * float(measured), rel=1e-5)


def test_the_report_counts_in_the_inputs_own_axes():
    """A whole column is wrong; the element named lies in it, and a 0-d input has the empty index."""

    def column(g, b):
        out = np.array(g * b)
        out[..., 2] = 0.0
        return out

    found = r"input 0, shape \(3, 4\): at \[\d, 2\] it is 0, measured"
    with planted("mul", "a", column), pytest.raises(GradcheckError, match=found):
        gradcheck(lambda x: x * 3.0, A)
    with planted("exp", "x", lambda g, y: 2.0 * g * y), pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: x.exp(), 0.5)
    said, measured = re.search(r"input 0, shape \(\): at \[\] it is (\S+), measured (\S+)", str(caught.value)).groups()
    assert float(said) == pytest.approx(2 * float(measured), rel=1e-6)


# -- what it can be asked -------------------------------------------------------------------------------------------


def test_functions_of_several_results():
    """Tuples, lists and dicts, of any depth; indices among them are left out, and a bug in any of them is found."""

    def both(x):
        return {"rows": (x.exp(), [x.sum(axis=0)]), "where": ops.argmax(x, axis=1)}

    assert gradcheck(both, A, order=2)
    with planted("sum", "x", lambda g, x_shape: np.ones(x_shape)), pytest.raises(GradcheckError, match="the gradient"):
        gradcheck(both, A)
    with pytest.raises(DtypeError, match="returned no floating Tensor"):
        gradcheck(lambda x: ops.argmax(x), A)
    with pytest.raises(DtypeError, match="returned a NoneType, not a Tensor"):
        gradcheck(lambda x: (x, None), A)


def test_parameters():
    """Leaves that the function holds are moved, checked by name, and put back to the bit; frozen ones stay."""
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).astype(np.float64)
    before = [p.numpy().copy() for p in net.parameters()]
    assert gradcheck(net, A, parameters=net.parameters(), order=2)
    assert gradcheck(lambda: net(A).square().mean(), parameters=net.parameters())
    with planted("linear", "bias", lambda g: g.mean(axis=0)), pytest.raises(GradcheckError) as caught:
        gradcheck(lambda: net(A), parameters=net.parameters())
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        f"parameter {i}, shape {p.shape}" for i, p in enumerate(net.parameters())
    ]
    assert ["agrees" in line for line in lines] == [True, False, True, False]
    net[0].weight.requires_grad_(False)
    seen = []
    assert gradcheck(lambda: seen.append([p.data.copy() for p in net.parameters()]) or net(A),
                     parameters=net.parameters())  # fmt: skip
    assert [len({s[i].tobytes() for s in seen}) > 1 for i in range(4)] == [False, True, True, True]
    assert all(np.array_equal(p.data, b) and p.grad is None for p, b in zip(net.parameters(), before))
    with pytest.raises(DtypeError, match=r"parameter 0 is a float32 tensor.*module\.astype\(np\.float64\)"):
        narrow = nn.Linear(4, 3)
        gradcheck(lambda: narrow(A), parameters=narrow.parameters())
    with pytest.raises(DtypeError, match="parameter 0 is no leaf"):
        gradcheck(lambda: net(A), parameters=[net[2].weight * 1.0])


def test_parameters_are_put_back_after_an_error():
    w = Tensor(A, requires_grad=True)
    with pytest.raises(GradcheckError, match="parameter 0, shape"):
        gradcheck(lambda: w.sum() + w.detach().sum(), parameters=[w])
    assert np.array_equal(w.data, A)


def test_third_derivatives():
    assert gradcheck(lambda x: x.exp() * x, A, order=3)
    third = lambda g, x: g * 6.0 * (x if isinstance(x, np.ndarray) else x.detach())  # noqa: E731

    @custom_op
    def _cube(x):
        return x**3

    @custom_op
    def _slope(x):
        return 3.0 * x**2

    _cube.vjp(lambda g, x: g * _slope(x))
    _slope.vjp(third)
    assert gradcheck(_cube, A, order=2)
    with pytest.raises(GradcheckError, match="the derivative of order 3"):
        gradcheck(_cube, A, order=3)


def test_settings():
    for bad in ({"order": 0}, {"directions": 0}):
        with pytest.raises(SettingError, match="Give at least 1"):
            gradcheck(ops.exp, A, **bad)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1), (2, 1, 3, 2)])
def test_inputs_of_any_shape_and_dtype(shape):
    """float32 is converted: in its own precision no difference could be measured."""
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        assert gradcheck(lambda a, b: (a * b).tanh() + a.sum(), x, x + 1, order=2)


# -- kinks and scales -----------------------------------------------------------------------------------------------


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
