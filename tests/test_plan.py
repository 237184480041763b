"""tinyae/plan: a captured step does what the step does, and what a plan could not repeat is refused with its line.

Every program here runs compiled, on both executors, and beside it as ever, from the same start.
"""

import copy

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import PlanError, SettingError
from tinyae.plan.memory import Ref, Root, arrange

HAS_C = kernels.info()["backend"] == "c"  # without it, a fused gradient is captured as the ops that it is made of
BACKENDS = ["numpy", *["c"] * HAS_C]
rng = np.random.default_rng(0)
X = rng.random((32, 20), dtype=np.float32)
IMAGES = rng.random((4, 1, 12, 12), dtype=np.float32)
SERIES = rng.random((8, 6, 5), dtype=np.float32)


def dense(*between, n=20):
    return nn.Sequential(nn.Linear(n, 8), *between, nn.Linear(8, n))


class Repeat(nn.Module):
    """A recurrent autoencoder whose decoder sees the code at every step."""

    def __init__(self, cell):
        self.encoder, self.decoder, self.out = cell(5, 7), cell(7, 7), nn.Linear(7, 5)

    def forward(self, x):
        code = self.encoder(x)[0][:, -1]
        steps = ops.broadcast_to(ops.reshape(code, shape=(len(code), 1, 7)), shape=(len(code), 6, 7))
        return self.out(self.decoder(steps)[0])


class Variational(nn.Module):
    def __init__(self):
        self.encoder, self.decoder, self.noise = nn.Linear(20, 8), nn.Linear(4, 20), tinyae.Generator(3)

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = h[:, :4], h[:, 4:]
        return self.decoder(mu + ops.exp(0.5 * logvar) * ops.normal(mu, generator=self.noise)), mu, logvar


def mse(net, x):
    return nn.mse(net(x), x)


def elbo(net, x):
    a, mu, logvar = net(x)
    return ops.mean(ops.sum(nn.bce_with_logits(a, x, reduction="none"), axis=1)) + nn.kl_normal(mu, logvar)


def tied(net, x):
    return nn.mse(ops.sigmoid(x @ net.weight + net.bias) @ net.weight.T, x)


def contractive(net, x):
    x = x.detach().requires_grad_()
    slope = tinyae.grad(net[0](x).tanh().sum(), x, create_graph=True)
    return nn.mse(net[1](net[0](x)), x.detach()) + 0.01 * ops.mean(ops.square(slope))


def kinks(net, x):
    a = net(x)
    return (nn.mse(a.clip(0, 1), x) + ops.mean(ops.maximum(a, 0.1)) + ops.mean(ops.where(a > 0.2, a, x))
            + ops.mean(ops.max(a, axis=1)) + ops.mean(ops.abs(a) ** 1.5))  # fmt: skip


def rows(net, x):
    a = net(x)
    return ops.mean(ops.logsumexp(a)) + ops.mean(ops.softmax(a) * x) - ops.mean(ops.log_softmax(a) * x)


def moved(net, x):
    a = net(x)
    both = ops.stack(a[:, 2:9], ops.flip(a, axis=1)[:, :7], axis=1)
    padded = ops.pad(both[:, 0], widths=((0, 0), (1, 2)))
    return ops.mean(ops.square(ops.concat(padded, a[::2].T.reshape((32, -1)), axis=1)))


PROGRAMS = {
    **{name: (lambda name=name: dense(nn.activation(name)), mse, [X])
       for name in ("relu", "sigmoid", "tanh", "gelu", "softplus", "silu", "elu", "leaky_relu", "selu")},
    "bce": (lambda: dense(nn.ReLU()), lambda net, x: nn.bce_with_logits(net(x), x, reduction="sum"), [X]),
    "batch norm": (lambda: dense(nn.BatchNorm1d(8), nn.ReLU()), mse, [X]),
    "layer norm": (lambda: dense(nn.LayerNorm(8)), mse, [X]),
    "dropout": (lambda: dense(nn.Dropout(0.3, generator=tinyae.Generator(0))), mse, [X]),
    "variational": (Variational, elbo, [X]),
    "tied": (lambda: nn.Linear(20, 8), tied, [X]),
    "contractive": (dense, contractive, [X]),
    "kinks": (dense, kinks, [X]),
    "rows": (dense, rows, [X]),
    "moved": (dense, moved, [X]),
    "conv": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(2),
                                   nn.ConvTranspose2d(4, 1, 3, padding=1)), mse, [IMAGES]),
    "lstm": (lambda: Repeat(nn.LSTM), mse, [SERIES]),
    "gru": (lambda: Repeat(nn.GRU), mse, [SERIES]),
}  # fmt: skip
RULES = {
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "sgd": lambda p: optim.SGD(p, lr=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop with momentum": lambda p: optim.RMSprop(p, lr=0.01, alpha=0.8, momentum=0.5, weight_decay=0.1),
    "centered rmsprop": lambda p: optim.RMSprop(p, lr=0.01, eps=1e-3, centered=True),
    "centered rmsprop with momentum": lambda p: optim.RMSprop(p, lr=0.01, eps=1e-3, centered=True, momentum=0.5),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.02, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.1),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5, rho=0.8, weight_decay=0.1),
    "uphill": lambda p: optim.Adam(p, lr=0.01, maximize=True),
}


def trainer(net, loss_of, rule):
    optimizer = rule(list(net.parameters()))

    def step(*inputs):
        optimizer.zero_grad()
        loss = loss_of(net, *inputs)
        loss.backward()
        optimizer.step()
        return loss

    return step, optimizer


def seeded(make):
    net = make()
    start = np.random.default_rng(1)
    for p in net.parameters():
        p.data = start.uniform(-0.5, 0.5, p.shape).astype(p.dtype)
    return net


def side_by_side(make, loss_of, inputs, rule, backend, steps=6, dtype="float32"):
    """The losses of so many steps, as ever and compiled, and both nets."""
    nets = [seeded(make).astype(dtype) for _ in range(2)]
    inputs = [a.astype(dtype) if a.dtype.kind == "f" else a for a in inputs]
    (plain, _), (step, _) = (trainer(net, loss_of, rule) for net in nets)
    compiled = tinyae.compile(step, backend=backend)
    tensors = [tinyae.Tensor(a) for a in inputs]
    losses = [[run(*given).item() for _ in range(steps)] for run, given in ((plain, tensors), (compiled, inputs))]
    return losses, nets, compiled


def plan_of(compiled):
    (plans,) = compiled.plans.values()
    return plans[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_plan_does_what_the_step_does(name, backend):
    make, loss_of, inputs = PROGRAMS[name]
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        (plain, planned), nets, compiled = side_by_side(make, loss_of, inputs, RULES["nesterov"], backend, dtype=dtype)
        assert planned == pytest.approx(plain, rel=tolerance), dtype
        assert plain[-1] != plain[0]
        for a, b in zip(*[net.state_dict().values() for net in nets]):
            assert np.linalg.norm(a - b) <= tolerance * (1 + np.linalg.norm(a)), dtype
        assert plan_of(compiled).agreed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule, backend):
    make = PROGRAMS["tanh"][0]
    (plain, planned), nets, compiled = side_by_side(make, mse, [X], RULES[rule], backend, 8, "float64")
    assert planned == pytest.approx(plain, rel=1e-9)
    for a, b in zip(*[net.state_dict().values() for net in nets]):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)
    hosts = [item for item in plan_of(compiled).machine.lowered.items if item.kind == "host"]
    assert bool(hosts) == (rule in ("amsgrad", "uphill"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["conv", "lstm", "gru"])
def test_layers_are_instructions(name, backend):
    """Nothing is left to Python between two pieces of the plan."""
    make, loss_of, inputs = PROGRAMS[name]
    _, _, compiled = side_by_side(make, loss_of, inputs, RULES["adam"], backend, 3)
    if HAS_C:
        assert "host" not in kinds(compiled)


WINDOWS = {
    "strides and groups": lambda x, w, v: ops.conv2d(x, w, v[:4], stride=2, padding=1, groups=2),
    "dilation": lambda x, w, v: ops.conv2d(x[:, :2], w, stride=(1, 2), padding=((2, 1), (0, 3)), dilation=2),
    "activation": lambda x, w, v: ops.leaky_relu(ops.conv2d(x[:, 1:3], w, v[:4], padding="same"), slope=0.3),
    "transposed": lambda x, w, v: ops.elu(ops.conv_transpose2d(x, w, v[:2], stride=3, output_padding=1, padding=1)),
    "transposed groups": lambda x, w, v: ops.conv_transpose2d(x, w, stride=2, groups=2),
    "overlapping maxima": lambda x, w, v: ops.max_pool(x * w[0, 0, 0, 0], kernel_size=3, stride=2, padding=1),
    "maxima of signals": lambda x, w, v: ops.max_pool(x[:, 0] * w[0, 0, 0, 0], kernel_size=2, dilation=2),
    "means": lambda x, w, v: ops.avg_pool(x * w[0, 0, 0, 0], kernel_size=(3, 2), stride=2, padding=1),
    "repeated": lambda x, w, v: ops.square(ops.upsample(x * w[0, 0, 0, 0], scale_factor=(2, 3))),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", WINDOWS)
def test_windows_of_every_kind(name, backend):
    """Values and gradients of a compiled step are those of the same step as ever, and Python does none of it."""
    start = np.random.default_rng(4)
    x, w, v = start.normal(size=(3, 4, 9, 10)), start.normal(size=(4, 2, 3, 3)), start.normal(size=5)

    def step(*arrays):
        inputs = [tinyae.Tensor(a).detach().requires_grad_() for a in arrays]
        y = WINDOWS[name](*inputs)
        grads = tinyae.grad(ops.sum(y * ops.sin(y)), inputs[:2])
        return (y, *grads)

    expected, compiled = step(x, w, v), tinyae.compile(step, backend=backend)
    for _ in range(3):
        found = compiled(x, w, v)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-10)
    assert "windows" in kinds(compiled) and not (HAS_C and "host" in kinds(compiled))
    folded = [item.fields["activation"] for item in plan_of(compiled).machine.lowered.items if item.kind == "windows"]
    assert (folded[0] is not None) == (name in ("activation", "transposed"))


LENGTHS = tinyae.constant(np.array([3, 1, 5, 0]))
CELLS = [(cell, settings) for cell in ("rnn", "lstm", "gru") for settings in (
    {}, {"reverse": True}, {"activation": "relu"}, {"lengths": LENGTHS},
    {"activation": "relu", "lengths": LENGTHS, "reverse": True},
)]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("cell, settings", CELLS)
def test_recurrences_of_every_kind(cell, settings, steps, backend):
    """The same for recurrent layers, whose input is once of every step and once of all of them."""
    start, gates = np.random.default_rng(5), {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    shapes = [(steps, 4, gates * 3), (1, 4, gates * 3), (3, gates * 3), (gates * 3,), (4, 3), (4, 3)]
    arrays = [start.normal(size=shape) for shape in shapes]

    def step(*arrays):
        inputs = [tinyae.Tensor(a).detach().requires_grad_() for a in arrays]
        z, one, weight, bias, h, c = inputs
        others = (weight, bias, h) if cell == "gru" else (weight, h, c) if cell == "lstm" else (weight, h)
        same = ops.broadcast_to(one, shape=z.shape)
        ys = [getattr(ops, cell)(z, *others, **settings) for z in (z, same)]
        wanted = [x for x in inputs if x is z or x is one or any(x is other for other in others)]
        return (*ys, *tinyae.grad(sum(ops.sum(y * ops.sin(y)) for y in ys), wanted))

    expected, compiled = step(*arrays), tinyae.compile(step, backend=backend)
    for _ in range(3):
        found = compiled(*arrays)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-10)
    assert kinds(compiled).count("recurrent") == 2
    if HAS_C:
        assert kinds(compiled).count("recurrent_backward") == 2 and "host" not in kinds(compiled)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stacks_of_products(backend):
    """Leading axes broadcast on either side, matrices may be transposed, a vector is a row or a column."""
    def step(x, s):
        return (x @ s, ops.matmul(s, x.T), ops.matmul(s, s.mT), s[:, :1] @ s[:1].mT, ops.sum(x, axis=0) @ x.T,
                x @ ops.sum(x, axis=0), ops.matmul(ops.broadcast_to(x, shape=(2, *x.shape)), s))  # fmt: skip

    start = np.random.default_rng(8)
    x, s = start.normal(size=(5, 4)), start.normal(size=(2, 4, 4))
    expected, compiled = step(tinyae.Tensor(x), tinyae.Tensor(s)), tinyae.compile(step, backend=backend)
    for _ in range(3):
        found = compiled(x, s)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)
    assert "host" not in kinds(compiled) and kinds(compiled).count("gemm_stack") == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_places_of_extremes(backend):
    def step(x):
        places = [op(x, axis=axis) for op in (ops.argmax, ops.argmin) for axis in (None, 0, 1, -1)]
        return (*places, ops.argmax(x, axis=1, keepdims=True), ops.argmin(ops.transpose(x, axes=(1, 0, 2)), axis=0))

    x = np.random.default_rng(6).integers(0, 9, (4, 5, 6)).astype(float)
    expected, compiled = step(x), tinyae.compile(step, backend=backend)
    for _ in range(3):
        found = compiled(x)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a.numpy() if hasattr(a, "numpy") else a, b)
    assert set(kinds(compiled)) <= {"reduce", "copy"}


def kinds(compiled):
    return [item.kind for item in plan_of(compiled).machine.lowered.items]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dense_net_is_nine_instructions(backend):
    """Products with bias and activation, one chain per layer with its sums, one update."""
    step, _ = trainer(dense(nn.ReLU(), n=20), lambda net, x: nn.mse(ops.sigmoid(net(x)), x), RULES["adam"])
    compiled = tinyae.compile(step, backend=backend)
    for _ in range(3):
        compiled(X)
    assert kinds(compiled) == ["gemm", "gemm", "chain", "chain", "gemm", "gemm", "chain", "gemm", "update"]
    loss = plan_of(compiled).machine.lowered.items[2].fields
    assert [kind for kind, *_ in loss["outputs"]] == ["store", "sum", "sum_rows"]
    first = plan_of(compiled).machine.lowered.items[0].fields
    assert first["activation"] == "relu" and first["bias"] is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_shape_or_setting_is_another_plan(backend):
    net = dense(nn.Dropout(0.5, generator=tinyae.Generator(0)))
    step, optimizer = trainer(net, mse, RULES["adam"])
    compiled = tinyae.compile(step, backend=backend)
    for _ in range(3):
        compiled(X)
        compiled(X[:7])
    assert [len(plans) for plans in compiled.plans.values()] == [1, 1]
    net.eval()
    for _ in range(3):
        compiled(X)
    net.train()
    compiled(X)
    assert [len(plans) for plans in compiled.plans.values()] == [2, 1]
    optimizer.weight_decay = 0.5
    compiled(X)
    assert [len(plans) for plans in compiled.plans.values()] == [3, 1]
    net[0].weight.requires_grad_(False)
    before = net[0].weight.data.copy()
    for _ in range(3):
        compiled(X)
    assert (net[0].weight.data == before).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_learning_rate_may_change(backend):
    nets = [seeded(dense) for _ in range(2)]
    steps = [trainer(net, mse, RULES["adam"]) for net in nets]
    compiled = tinyae.compile(steps[1][0], backend=backend)
    for k in range(8):
        for _, optimizer in steps:
            optimizer.lr = 0.1 / (k + 1)
        assert compiled(X).item() == pytest.approx(steps[0][0](tinyae.Tensor(X)).item(), rel=1e-5)
    (plans,) = compiled.plans.values()
    assert len(plans) == 1
    assert [s["step"] for s in steps[1][1].state.values()] == [8] * 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("clip", [
    lambda p: optim.clip_grad_norm_(p, 0.1), lambda p: optim.clip_grad_norm_(p, 1e3),
    lambda p: optim.clip_grad_norm_(p, 0.1, 3.0), lambda p: optim.clip_grad_norm_(p, 0.01, float("inf")),
    lambda p: optim.clip_grad_value_(p, 0.001),
])  # fmt: skip
def test_gradients_are_clipped(backend, clip):
    nets = [seeded(dense).astype("float64") for _ in range(2)]

    def stepper(net):
        optimizer = optim.SGD(net.parameters(), lr=0.5, momentum=0.9)

        def step(x):
            optimizer.zero_grad()
            loss = mse(net, x)
            loss.backward()
            norm = clip(net.parameters())
            optimizer.step()
            return loss, loss if norm is None else norm

        return step

    plain, compiled = stepper(nets[0]), tinyae.compile(stepper(nets[1]), backend=backend)
    x = X.astype("float64")
    for _ in range(6):
        assert compiled(x)[0].item() == pytest.approx(plain(tinyae.Tensor(x))[0].item(), rel=1e-9)
    for a, b in zip(*[net.state_dict().values() for net in nets]):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_noise_goes_on_where_the_step_left_it(backend):
    nets = [seeded(Variational) for _ in range(2)]
    steps = [trainer(net, elbo, RULES["sgd"])[0] for net in nets]
    compiled = tinyae.compile(steps[1], backend=backend)
    for k in range(6):
        if k == 4:  # somebody else draws in between
            for net in nets:
                net.noise.draw("normal", (3,))
        assert compiled(X).item() == pytest.approx(steps[0](tinyae.Tensor(X)).item(), rel=1e-5)
        assert nets[0].noise.counter == nets[1].noise.counter


@pytest.mark.parametrize("backend", BACKENDS)
def test_eager_and_compiled_steps_mix(backend):
    """State lives in the tensors: what happens to them between two runs counts."""
    nets = [seeded(dense) for _ in range(2)]
    (plain, _), (step, optimizer) = (trainer(net, mse, RULES["adam"]) for net in nets)
    compiled = tinyae.compile(step, backend=backend)
    x = tinyae.Tensor(X)
    for k in range(9):
        if k == 5:
            for net in nets:
                net[0].weight.data = net[0].weight.data * 0.5
        if k == 7:
            optimizer.load_state_dict(optimizer.state_dict())
        loss = step(x) if k % 4 == 3 else compiled(X)
        assert loss.item() == pytest.approx(plain(x).item(), rel=1e-5), k


def test_what_is_returned_keeps_its_nest():
    net = dense()

    @tinyae.compile
    def step(x):
        y = net(x)
        return {"loss": nn.mse(y, x), "both": (y, [None, y > 0])}

    first, *rest = [step(X) for _ in range(3)]
    for result in rest:
        assert list(result) == ["loss", "both"] and result["both"][1][0] is None
        np.testing.assert_allclose(result["both"][0].data, first["both"][0].data, rtol=1e-5, atol=1e-6)
        assert result["both"][1][1].dtype == bool
        assert (result["both"][1][1].data == first["both"][1][1].data).all()
    rest[0]["both"][0].data = 0  # a copy of the plan's memory
    assert rest[1]["both"][0].data.any()


# -- what is refused ------------------------------------------------------------------------------------------------

NET = nn.Linear(20, 20)
TABLE = np.ones(20, np.float32)


def frozen_array(x):
    return ops.mean(NET(x) * TABLE)


def frozen_noise(x):
    return ops.mean(NET(x) + np.random.default_rng().random((32, 20)).astype(np.float32))


def made_inside(x):
    return ops.mean(NET(x) * tinyae.Tensor(np.ones(20, np.float32)))


def looked_at(x):
    y = NET(x)
    return ops.mean(y) if y.sum().item() > 0 else ops.sum(y)


def branched(x):
    y = NET(x)
    return y if (y.sum() > 0) else -y


def as_array(x):
    return ops.mean(NET(x) * np.asarray(x))


def a_number(x):
    return 1.0


def index_array(x):
    return ops.mean(NET(x)[np.array([0, 3, 5])])


def inner(x):
    return tinyae.compile(lambda x: x)(x)


def temporary(x):
    y = NET(x).detach()
    tinyae.assign(y, 0.0)
    return y


REFUSED = {
    frozen_array: "an array of shape \\(20,\\) that the plan knows nothing of",
    frozen_noise: "an array of shape \\(32, 20\\)",
    made_inside: "makes a tensor of an array",
    looked_at: "item\\(\\) at .*test_plan.py:\\d+ `return ops.mean\\(y\\) if y.sum",
    branched: "looks at a value",
    as_array: "np.asarray",
    a_number: "returns a float",
    index_array: "index holds an array",
    inner: "inside another one",
    temporary: "does not live on",
}


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_what_would_be_frozen_is_refused(step):
    compiled = tinyae.compile(step)
    with pytest.raises(PlanError, match=REFUSED[step]):
        compiled(X)
    assert compiled.plans == {}
    assert tinyae.Tensor([1.0]).item() == 1  # nothing listens any more


def test_a_declared_constant_is_taken():
    table = tinyae.constant(np.linspace(0, 1, 20, dtype=np.float32))
    step = tinyae.compile(lambda x: ops.sum(x * table))
    assert [step(X).item() for _ in range(3)] == pytest.approx([float((X * table).sum())] * 3, rel=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 3
    with pytest.raises(PlanError, match="no NumPy array"):
        tinyae.constant(3.0)


def test_a_numpy_number_is_a_number():
    step = tinyae.compile(lambda x: ops.sum(x * np.float64(2.0) + np.sqrt(2.0)))
    assert [step(X).item() for _ in range(3)] == pytest.approx([float((X * 2 + 2**0.5).sum())] * 3, rel=1e-5)


def test_what_changes_from_call_to_call_is_found_out():
    weights = iter(range(10))
    step = tinyae.compile(lambda x: ops.mean(x * next(weights)))
    step(X)
    with pytest.raises(PlanError, match="changes from call to call"):
        step(X)


@pytest.mark.filterwarnings("ignore::tinyae.errors.GradientWarning")  # eagerly it is said so
def test_a_gradient_of_an_earlier_step_is_not_added_to():
    net = dense()
    optimizer = optim.SGD(net.parameters())

    def step(x):
        loss = mse(net, x)
        loss.backward()
        optimizer.step()
        return loss

    step(tinyae.Tensor(X))
    with pytest.raises(PlanError, match="zero_grad"):
        tinyae.compile(step)(X)


def test_settings_are_checked():
    with pytest.raises(SettingError, match="precision"):
        tinyae.compile(mse, precision="low")
    with pytest.raises(SettingError, match="backend"):
        tinyae.compile(mse, backend="cuda")
    step = tinyae.compile(precision="highest")(lambda x: x + 1)
    with pytest.raises(PlanError, match="copy"):
        copy.deepcopy(step)


# -- memory ---------------------------------------------------------------------------------------------------------


def test_buffers_that_live_at_once_do_not_overlap():
    draw = np.random.default_rng(2)
    for _ in range(50):
        lives = {}
        for _ in range(30):
            first = int(draw.integers(20))
            lives[Root("arena", np.dtype("f4"), int(draw.integers(1, 500)))] = first, first + int(draw.integers(6))
        total = arrange(lives, {})
        assert total < sum(-(-root.nbytes // 64) * 64 for root in lives)
        for a, (first, last) in lives.items():
            assert a.offset % 64 == 0 and a.offset + a.nbytes <= total
            for b, (start, stop) in lives.items():
                if a is not b and first <= stop and start <= last:
                    assert a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset


@pytest.mark.parametrize("change", [
    lambda a: a.T, lambda a: a[1], lambda a: a[:, ::-1], lambda a: a[..., 2:], lambda a: a.reshape(6, 4),
    lambda a: np.broadcast_to(a, (3, *a.shape)), lambda a: a[:, None, 1::2], lambda a: a[1, 2, 3, ...],
])  # fmt: skip
def test_views_are_numpys(change):
    a = np.arange(24.0).reshape(2, 3, 4)
    ref = Ref.whole(Root("arena", a.dtype, a.size), a.shape).view(change)
    expected = change(a)
    view = np.lib.stride_tricks.as_strided(a.reshape(-1)[ref.offset :], ref.shape, [8 * s for s in ref.strides])
    assert view.shape == np.shape(expected) and (view == expected).all()
    assert Ref.whole(Root("arena", a.dtype, a.size), a.shape).view(lambda a: a + 1) is None


def test_how_a_chain_reads():
    def mode(shape, strides):
        return Ref(Root("arena", np.dtype("f4"), 100), 0, shape, strides).mode()

    assert mode((2, 3), (3, 1)) == ("full", None)
    assert mode((2, 3), (0, 1)) == ("row", 3)
    assert mode((2, 3), (1, 0)) == ("column", 3)
    assert mode((2, 3), (0, 0)) == mode((), ()) == mode((1, 1), (5, 7)) == ("scalar", None)
    assert mode((4, 2, 3), (0, 3, 1)) == ("row", 6)
    assert mode((4, 2, 3), (2, 1, 0)) == ("column", 3)
    assert mode((2, 3), (1, 2)) is mode((4, 2, 3), (3, 0, 1)) is None
