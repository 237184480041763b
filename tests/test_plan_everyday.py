"""tinyae/plan: the steps that people write most, which a plan takes, and what eager asks of values, which a plan asks too."""

import sys
import threading

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import AxisError, DtypeError, GraphError, SettingError, ShapeError

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 4)).astype(np.float32)
Y = np.arange(8) % 3
SEQUENCES = X.reshape(4, 2, 4)
WEIGHT = tinyae.constant(np.array([1.0, 2.0, 0.5], np.float32))
WIDE = tinyae.constant(np.array([1.0, 2.0, 0.5]))  # float64, for what is float32


class Parts(nn.Module):
    def __init__(self):
        self.head, self.table = nn.Linear(4, 3, generator=0), nn.Embedding(3, 4, generator=1)
        self.gru, self.lstm = nn.GRU(4, 3, bias=False, generator=2), nn.LSTM(4, 3, generator=3)


STEPS = {
    "class numbers": (lambda m, x, y: nn.cross_entropy(m.head(x), y), X, Y),
    "class numbers of bytes": (lambda m, x, y: nn.cross_entropy(m.head(x), y), X, Y.astype(np.uint8)),
    "class numbers of 32 bits": (lambda m, x, y: nn.nll(ops.log_softmax(m.head(x)), y), X, Y.astype(np.int32)),
    "smoothed and ignored": (lambda m, x, y: nn.cross_entropy(m.head(x), y, label_smoothing=0.1, ignore_index=2), X, Y),
    "masked class numbers": (lambda m, x, y, k: nn.cross_entropy(m.head(x), y, mask=k), X, Y, Y > 0),
    "one hot": (lambda m, x, y: nn.mse(m.head(x), ops.one_hot(y, n=3)), X, Y),
    "embedding": (lambda m, x, y: nn.mse(m.table(y), x), X, Y),
    "rows by number": (lambda m, x, y: ops.square(m.head(x)[y]).sum(), X, Y),
    "rows from the end": (lambda m, x, y: ops.square(ops.take(m.head(x), y - 3)).sum(), X, Y),
    "taken along the columns": (lambda m, x, y: ops.take(m.head(x), y, axis=1).sum(), X, Y),
    "lengths": (lambda m, x, n: ops.square(m.lstm(x, lengths=n)[0]).sum(), SEQUENCES, np.array([2, 1, 2, 0])),
    "no bias": (lambda m, x: ops.square(m.gru(x)[0]).sum(), SEQUENCES),
    "no bias, with lengths": (lambda m, x, n: ops.square(m.gru(x, lengths=n)[0]).sum(), SEQUENCES, np.array([1, 2, 0, 2])),
    "mask": (lambda m, x, k: nn.mse(m.head(x), x[:, :3], mask=k), X, X[:, :3] > 0),
    "pos_weight": (lambda m, x: nn.bce_with_logits(m.head(x), ops.sigmoid(x[:, :3]), pos_weight=3.0), X),
    "pos_weight of each": (lambda m, x: nn.bce_with_logits(m.head(x), ops.sigmoid(x[:, :3]), pos_weight=WEIGHT), X),
    "a constant weight": (lambda m, x: nn.mse(m.head(x), x[:, :3], weight=WEIGHT), X),
    "a constant weight of another dtype": (lambda m, x: nn.mse(m.head(x), x[:, :3], weight=WIDE), X),
    "one variance": (lambda m, x: nn.gaussian_nll(x[:, :3], m.head(x), 0.0), X),
    "probabilities": (lambda m, x: nn.bce(ops.sigmoid(m.head(x)), ops.sigmoid(x[:, :3])), X),
    "logdet": (lambda m, x: ops.logdet(ops.exp(m.head(x))[:3] * 0.1 + ops.one_hot(Y[:3], n=3)), X),
    "inverse": (lambda m, x: ops.inv(m.head(x)[:3] * 0.1 + ops.one_hot(Y[:3], n=3)).sum(), X),
    "hvp": (lambda m, x: tinyae.hvp(lambda z: ops.sum(m.head(z) ** 3), (x,), (x * 0.5,))[1][0].sum() + m.head(x).sum(), X),
    "jvp": (lambda m, x: tinyae.jvp(lambda z: ops.tanh(m.head(z)), (x,), (x * 0.5,))[1].sum() + m.head(x).sum(), X),
    "a sum that begins with a tensor": (lambda m, x: tinyae.Tensor(0.0) + ops.square(m.head(x)).sum(), X),
}  # fmt: skip
Y = tinyae.constant(Y)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", STEPS)
def test_everyday_steps_compile_and_train_alike(name, backend):
    forward, *arrays = STEPS[name]
    found = []
    for compiled in (False, True):
        net = Parts()
        optimizer = optim.SGD(net.parameters(), lr=0.05)

        def step(*arrays, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = forward(net, *arrays)
            loss.backward()
            optimizer.step()
            return loss

        run = tinyae.compile(step, backend=backend) if compiled else step
        losses = []
        for k in range(6):
            moved = [np.roll(a, k, axis=0) if a.dtype != np.float32 else a * np.float32(1 - 0.1 * k) for a in arrays]
            losses.append(run(*(moved if compiled else map(tinyae.Tensor, moved))).item())
        found.append((losses, [p.data for p in net.parameters()]))
    (expected, start), (planned, end) = found
    np.testing.assert_allclose(planned, expected, rtol=1e-5, atol=1e-6)  # what a plan promises of a float32 step
    for a, b in zip(end, start):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


ASKED = {
    "classes": (lambda x, y: nn.cross_entropy(x, y), (X, Y.copy()), (X, Y + 2), AxisError),
    "classes below 0": (lambda x, y: nn.cross_entropy(x, y), (X, Y.copy()), (X, Y - 1), AxisError),
    "probabilities": (lambda p, x: nn.bce(p * 1.0, x), (X * 0 + 0.5, X * 0), (X * 0 + 1.5, X * 0), SettingError),
    "rows": (lambda x, i: ops.take(x, i), (X, Y.copy()), (X, Y + 7), AxisError),
    "labels": (lambda i: ops.one_hot(i, n=3) * 1.0, (Y.copy(),), (Y + 1,), AxisError),
    "embedding": (lambda i: TABLE(i), (Y.copy(),), (Y - 1,), AxisError),
    "lengths": (lambda x, n: LSTM(x, lengths=n)[0], (SEQUENCES, Y[:4] % 2), (SEQUENCES, Y[:4] + 2), AxisError),
}
TABLE, LSTM = nn.Embedding(3, 2, generator=0), nn.LSTM(4, 3, generator=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ASKED)
def test_a_plan_asks_what_eager_asks(name, backend):
    function, good, bad, error = ASKED[name]
    step = tinyae.compile(function, backend=backend)
    for _ in range(3):
        expected = step(*good).data
    with pytest.raises(error) as eager:
        function(*map(tinyae.Tensor, bad))
    with pytest.raises(error) as planned:
        step(*bad)
    assert str(eager.value).endswith(str(planned.value))  # eager says before it which module it was
    np.testing.assert_array_equal(step(*good).data, expected)  # and goes on


@pytest.mark.skipif(BACKENDS[-1] != "c", reason="the backend is NumPy: there is no C to test")
def test_rows_by_number_run_in_c():
    net = nn.Embedding(5, 3, generator=0)
    optimizer = optim.Adam(net.parameters(), lr=0.1)

    @tinyae.compile
    def step(i, y):
        optimizer.zero_grad()
        loss = nn.cross_entropy(net(i), y) + nn.mse(net(i), ops.one_hot(y, n=3))
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(np.arange(8) % 5, np.arange(8) % 3)
    kinds = [item.kind for item in next(iter(step.plans.values()))[0].machine.lowered.items]
    assert "host" not in kinds and {"gather", "scatter", "within"} <= set(kinds)


def test_a_python_number_is_a_weak_argument():
    w = tinyae.Tensor(np.ones(3, np.float32), requires_grad=True)
    step = tinyae.compile(lambda x, k: w * x * k)
    for k in (2.0, 3, 0.1):
        y = step(np.ones(3, np.float32), k)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.data, k, rtol=1e-6)
    wide = tinyae.compile(lambda x, k: x * k)
    assert wide(np.ones(3), 0.1).data.tolist() == [0.1] * 3
    assert len(step.plans) == 1


def test_a_plan_under_no_grad_is_another_one():
    p = tinyae.Tensor(np.ones(3, np.float32), requires_grad=True)

    @tinyae.compile
    def step(x):
        p.grad = None
        loss = (p * x).sum()
        loss.backward()
        return p.grad

    for _ in range(3):
        step(X[0, :3])
    with tinyae.no_grad(), pytest.raises(GraphError, match="does not depend on anything that requires a gradient"):
        step(X[0, :3])
    np.testing.assert_array_equal(step(X[0, :3]).data, X[0, :3])


# -- beside the plan ------------------------------------------------------------------------------------------------


def test_truth_values_have_and_or_not():
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    t, u = tinyae.Tensor(a), tinyae.Tensor(b)
    for found, expected in ((t & u, a & b), (t | u, a | b), (t ^ u, a ^ b), (~t, ~a), (a & u, a & b), (True ^ t, ~a)):
        assert found.dtype == bool and found.tolist() == expected.tolist()
    with pytest.raises(DtypeError, match="&: dtypes bool and int64"):
        t & np.arange(4)
    with pytest.raises(DtypeError, match="~: dtypes float32"):
        ~tinyae.Tensor(X)


def test_a_custom_op_without_a_rule_says_so():
    bare = tinyae.custom_op(lambda x: np.sin(x))
    x = tinyae.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(GraphError, match=r"no rule for the gradient of x"):
        bare(x)
    assert bare(x.detach()).shape == bare(np.ones(3)).shape == (3,)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["exp", "cast", "concat", "gather", "getitem", "matmul", "where", "_within"])
def test_a_custom_op_may_be_called_like_one_of_ours(name, backend):
    """A plan takes it for itself, whether it is element by element, a view, or neither."""
    for settings in ({}, {"elementwise": True}, {"view": True}):
        def definition(x):
            return x * 0 + 7
        definition.__name__ = name
        sevens = tinyae.custom_op(**settings)(definition)
        step = tinyae.compile(lambda x, sevens=sevens: sevens(x) + 1.0, backend=backend)
        for _ in range(3):
            np.testing.assert_array_equal(step(X).data, np.full(X.shape, 8, np.float32))


def test_the_gradient_of_relu_lets_nan_see_where_it_came_from():
    x = tinyae.Tensor(np.array([-1.0, 0.0, 1.0, np.nan], np.float32), requires_grad=True)
    ops.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1]
    definition = ops.relu.op.rules["x"][0]  # NumPy's, beside the kernel's
    assert definition(np.ones(4, np.float32), ops.relu(x).data).tolist() == [0, 0, 1, 1]


def test_two_threads_may_walk_back_to_one_leaf():
    w, turns = tinyae.Tensor(np.zeros(3, np.float32), requires_grad=True), 400
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        def work():
            for _ in range(turns):
                (w * 1.0).sum().backward()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert w.grad.tolist() == [4 * turns] * 3


def test_shifts_are_as_many_as_axes():
    for shift, axis in (((2, 1), 0), (1, (0, 1)), ((1, 1, 1), (0, 1))):
        with pytest.raises(ShapeError, match="Give as many shifts as axes"):
            ops.roll(X, shift=shift, axis=axis)
    with pytest.raises(SettingError, match="Give one shift, or an axis for each"):
        ops.roll(X, shift=(1, 1))


def test_what_data_gives_cannot_be_unlocked():
    t = tinyae.Tensor(X)
    with pytest.raises(ValueError, match="WRITEABLE"):
        t.data.flags.writeable = True
    for array in (X, X[::-1], X.T, X[:0], np.float32(3), X > 0, np.arange(3)):
        np.testing.assert_array_equal(tinyae.Tensor(array).data, array)
        assert tinyae.Tensor(array).data.dtype == array.dtype


# -- the benchmark's list -------------------------------------------------------------------------------------------


@pytest.fixture
def steps():
    """bench/steps.py, which is not installed."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[1] / "bench" / "steps.py"
    if not path.exists():
        pytest.skip("bench/ is not beside tests/")
    spec = importlib.util.spec_from_file_location("users_steps", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("backend", BACKENDS)
def test_forty_steps_of_users_run_by_plan(steps, backend):
    assert len(steps.STEPS) == 40
    for name in steps.STEPS:
        step, arrays = steps.make(tinyae, name)
        compiled = tinyae.compile(step, backend=backend)
        for _ in range(3):  # captured, compared with the step, run
            compiled(*arrays)
        ((plan,),) = compiled.plans.values()
        assert plan.agreed, name
