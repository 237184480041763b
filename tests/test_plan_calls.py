"""tinyae/plan: what a compiled step is given, call by call, and what must be noticed between two calls."""

import gc
import re
import threading
import time

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import GraphError, PlanError
from tinyae.plan import capture

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
X = np.random.default_rng(0).random((8, 6), dtype=np.float32)
FACTOR = 1.0


def trainer(rule=optim.Adam, backend=None, **settings):
    """(a net, its optimizer, a plain step, the same compiled), always from the same start."""
    net, start = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6)), np.random.default_rng(1)
    for p in net.parameters():
        p.data = start.uniform(-0.5, 0.5, p.shape).astype(np.float32)
    optimizer = rule(net.parameters(), lr=0.01, **settings)

    def step(x):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, step, tinyae.compile(step, backend=backend)


def weights(net):
    return np.concatenate([value.ravel() for value in net.state_dict().values()])


# -- what is given --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_layout_are_the_same_batch(backend):
    """The other order of bytes, strides, an odd address: what is computed are the values."""
    odd = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    odd[...] = X
    given = [X, X.astype(">f4"), np.asfortranarray(X), odd, X.copy(), tinyae.Tensor(X), X[::-1][::-1]]
    (_, _, step, _), (_, _, _, compiled) = trainer(), trainer(backend=backend)
    for x in (X, X, X, *given):
        assert compiled(x).item() == pytest.approx(step(tinyae.Tensor(X)).item(), rel=1e-5)
    assert len(compiled.plans) == 1


def test_data_of_the_other_order_of_bytes_is_gone_over():
    (net, _, _, compiled), (other, _, _, reference) = trainer(), trainer()
    for run, data in ((compiled, X.astype(">f4")), (reference, X)):
        for _ in range(4):
            for _ in run.over(tinyae.data.batches(data, 2)):
                pass
    assert np.allclose(weights(net), weights(other), rtol=1e-5)
    assert len(compiled.plans) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_with_strides_is_refused(backend):
    outside = tinyae.Tensor(np.ones((6, 6), np.float32))
    outside = (outside * np.triu(np.ones((6, 6), np.float32))).T.detach()
    step = tinyae.compile(lambda x: ops.sum(x @ outside), backend=backend)
    with pytest.raises(PlanError, match=r"test_plan_calls.py:\d+ .*ops.sum.* shape \(6, 6\).*np.ascontiguousarray"):
        step(X)
    outside = tinyae.Tensor(np.ascontiguousarray(outside.data))
    for _ in range(3):
        assert step(X).item() == pytest.approx(float((X @ outside.data).sum()), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_are_not_finite_agree(backend):
    """A scale of NaN would find nothing near, and one of infinity everything."""
    batch = np.where(X > 0.5, X, np.float32(np.nan))
    step = tinyae.compile(lambda x: (ops.exp(x * 3), ops.sum(ops.tanh(x), axis=0)), backend=backend)
    expected = np.exp(batch * 3)
    for _ in range(3):
        np.testing.assert_allclose(step(batch)[0].data, expected, rtol=1e-5)
    changing = iter([1.0, 2.0])
    step = tinyae.compile(lambda x: x * next(changing), backend=backend)
    batch = np.where(X > 0.5, X, np.float32(np.inf))
    step(batch)
    with pytest.raises(PlanError, match="changes from call to call"):
        step(batch)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_are_not_finite_agree(backend):
    net, _, _, compiled = trainer(optim.SGD, backend)
    net[2].bias._data[0] = np.nan
    for _ in range(3):
        assert np.isnan(compiled(X).item())
    net, _, _, compiled = trainer(optim.SGD, backend)

    def spoil():
        compiled(X)
        ((plan,),) = compiled.plans.values()
        run = plan.run

        def spoilt(arrays):
            values = run(arrays)
            net[0].weight._data[0, 0] = np.nan  # what the step as ever does not say
            return values

        plan.run = spoilt

    spoil()
    compiled(X)  # what a step does once, at its first call, is no error: it is captured again
    assert np.isfinite(net[0].weight.data).all()
    spoil()
    with pytest.raises(PlanError, match=r"0.weight, \(6, 3\), went .* and ends nan off"):
        compiled(X)


def test_what_is_declared_is_not_kept():
    before = len(capture._declared)
    table = tinyae.constant(np.ones(6, np.float32))
    assert len(capture._declared) == before + 1
    del table
    gc.collect()
    assert len(capture._declared) == before


# -- between two calls ----------------------------------------------------------------------------------------------

CHANGES = {
    "lr": lambda net, optimizer: setattr(optimizer, "lr", 0.1),
    "lr of a group": lambda net, optimizer: optimizer.param_groups[0].update(lr=0.2),
    "a setting": lambda net, optimizer: setattr(optimizer, "weight_decay", 0.5),
    "a parameter's array": lambda net, optimizer: setattr(net[0].weight, "_data", net[0].weight.data * 0.5),
    "its values": lambda net, optimizer: net[0].weight._data.__imul__(0.5),
    "frozen": lambda net, optimizer: net[0].weight.requires_grad_(False),
    "loaded": lambda net, optimizer: optimizer.load_state_dict(optimizer.state_dict()),
    "forgotten": lambda net, optimizer: optimizer.state.clear(),
    "the count of steps": lambda net, optimizer: [state.update(step=50) for state in optimizer.state.values()],
    "an attribute": lambda net, optimizer: setattr(net[0], "bias", None),
    "an attribute that nobody reads": lambda net, optimizer: setattr(net, "mark", 1),
    "the mode, which no layer here reads": lambda net, optimizer: net.eval(),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_two_calls_is_noticed(change, backend):
    """The compiled step goes on as the plain one does, and twice back and forth finds what was there."""
    (net, optimizer, step, _), (other, others, _, compiled) = trainer(), trainer(backend=backend)
    for k in range(10):
        if k == 5:
            CHANGES[change](net, optimizer)
            CHANGES[change](other, others)
        expected = step(tinyae.Tensor(X)).item()
        if change != "frozen" or k < 5:  # its gradient of earlier is another matter
            assert compiled(X).item() == pytest.approx(expected, rel=1e-5), k
        else:
            compiled(X)
    np.testing.assert_allclose(weights(other), weights(net), rtol=1e-4, atol=1e-6)
    (plans,) = compiled.plans.values()
    live = ("lr", "lr of a group", "its values", "the count of steps", *[c for c in CHANGES if "reads" in c])
    assert len(plans) == (1 if change in live else 2)


def test_other_arguments_are_another_plan():
    step = tinyae.compile(lambda x, times=1: x * times)
    arrays, keywords = (X, X[:3], X.astype(np.float64), X.T), ({}, {"times": 2}, {"times": 3})
    calls = [(x, settings) for x in arrays for settings in keywords]
    for x, settings in (*calls * 3, *[(x, settings) for settings in keywords for x in arrays]):
        y = step(x, **settings)
        np.testing.assert_allclose(y.data, x * settings.get("times", 1), rtol=1e-6)
        assert y.dtype == x.dtype
    assert len(step.plans) == 12


class Noisy(nn.Module):
    def __init__(self):
        self.layer, self.noise = nn.Linear(6, 6, generator=2), tinyae.Generator(3)

    def forward(self, x):
        return self.layer(x + ops.normal(x, generator=self.noise))


def noisy(backend):
    """(a step that draws noise and counts its steps, its plan, its net)"""
    net = Noisy()
    optimizer = optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    compiled = tinyae.compile(step, backend=backend)
    for _ in range(3):
        compiled(X)
    ((plan,),) = compiled.plans.values()
    return compiled, plan, net, optimizer


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupted_run_leaves_no_trace_in_c(backend):
    """What C counts itself, steps and noise, is taken from Python anew: put back the state, and all is as before."""
    compiled, plan, net, _ = noisy(backend)
    reference, _, other, _ = noisy(backend)
    for name in ("go", *["epoch"] * (backend == "c")):
        before, code = plan._state(), plan.machine.code
        original = getattr(code, name)

        def interrupted(*args, original=original):
            original(*args)
            raise KeyboardInterrupt

        setattr(code, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            if name == "go":
                compiled(X)
            else:
                list(compiled.over(tinyae.data.batches(np.tile(X, (3, 1)), len(X))))
        delattr(code, name)
        plan._restore(before)
        for _ in range(2):
            assert compiled(X).item() == reference(X).item()
        np.testing.assert_array_equal(weights(net), weights(other))
        assert net.noise.counter == other.noise.counter


def test_an_interrupted_comparison_is_one_step_as_ever(monkeypatch):
    (net, _, step, _), (other, _, _, compiled) = trainer(), trainer()
    compiled(X)
    ((plan,),) = compiled.plans.values()
    monkeypatch.setattr(plan, "run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compiled(X)
    for _ in range(2):
        step(tinyae.Tensor(X))
    np.testing.assert_allclose(weights(other), weights(net), rtol=1e-5, atol=1e-7)
    assert not plan.agreed


@pytest.mark.parametrize("backend, what", [(backend, what) for backend in BACKENDS for what in (
    "run", "profile", *["epoch"] * (backend == "c"))])  # fmt: skip
def test_threads_take_turns_with_a_plan(what, backend, capsys):
    compiled, plan, net, optimizer = noisy(backend)
    code, name = plan.machine.code, "epoch" if what == "epoch" else "go"
    original, inside, crowds, start = getattr(code, name), [], [], threading.Barrier(2)

    def watched(*args):
        inside.append(1)
        crowds.append(len(inside))
        time.sleep(0.002)
        original(*args)
        inside.pop()

    setattr(code, name, watched)
    calls = {
        "run": lambda: [compiled(X) for _ in range(4)],
        "epoch": lambda: list(compiled.over(tinyae.data.batches(np.tile(X, (4, 1)), len(X)))),
        "profile": lambda: compiled.profile(1),
    }[what]

    def work():
        start.wait()
        calls()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(crowds) == {1}
    if what != "profile":
        assert {state["step"] for state in optimizer.state.values()} == {3 + 2 * 4}
        assert net.noise.counter == (3 + 2 * 4)


# -- the precision of products --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_every_product_carries_the_precision(precision, backend, capsys):
    """Where there is no unit for short numbers, results are the same; where there is, as near as the precision says."""
    w = tinyae.Tensor(np.random.default_rng(2).random((6, 6), dtype=np.float32), requires_grad=True)
    stacks = np.random.default_rng(3).random((4, 8, 6), dtype=np.float32)

    def step(x, s):
        y = ops.relu(ops.linear(x, w, ops.sum(w, axis=0))) @ w
        return y, ops.matmul(x, w, precision="medium"), ops.matmul(s, ops.transpose(s, axes=(0, 2, 1)))

    compiled = tinyae.compile(step, precision=precision, backend=backend)
    for _ in range(3):
        found = compiled(X, stacks)
    for a, b in zip(found, step(tinyae.Tensor(X), tinyae.Tensor(stacks))):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5 if precision == "highest" else 0.05)
    ((plan,),) = compiled.plans.values()
    items = [item for item in plan.machine.lowered.items if item.kind.startswith("gemm")]
    wanted = None if precision == "highest" else precision
    assert [item.fields["precision"] for item in items] == [wanted, wanted, "medium", wanted]
    assert "host" not in [item.kind for item in plan.machine.lowered.items]
    if backend == "c":
        numbers = [n for n, kind in enumerate(plan.machine.code._kinds) if kind.startswith("gemm")]
        pieces = [plan.machine.code._instructions[n].gemm.pieces for n in numbers]
        assert pieces == [{None: 0, "high": 2, "medium": 1}[item.fields["precision"]] for item in items]
    compiled.explain()
    said = capsys.readouterr().out
    assert ("bias, relu, " + precision in said) == (precision != "highest") and "@ 6x6, medium" in said
    double = tinyae.compile(lambda x: x @ x.T, precision=precision, backend=backend)
    for _ in range(2):
        double(X.astype(np.float64))
    (item,) = next(iter(double.plans.values()))[0].machine.lowered.items
    assert item.fields["precision"] is None


def test_explain_says_what_the_constants_are(capsys):
    ramp = tinyae.constant(np.linspace(-1, 2, 6, dtype=np.float32))
    w = nn.Parameter(np.ones(6), dtype="float32")

    def step(x):
        w.grad = None
        ops.mean(ops.square(x * ramp * ramp * w)).backward()
        return w.grad

    compiled = tinyae.compile(step, backend="numpy")
    for _ in range(2):
        compiled(X)
    compiled.explain()
    captured, folded = capsys.readouterr().out.split("after ")[:2]
    assert re.findall(r"float32 (.*?) +constant (.*)", captured) == [("(6,)", "-1 .. 2")]
    expected = [("(6,)", "-1 .. 2"), (str(X.shape), f"{1 / X.size:g}")]
    assert re.findall(r"float32 (.*?) +constant (.*)", folded) == expected
    for shown in (captured, folded):
        used = {name for line in shown.splitlines() for name in re.findall(r"(?<=[(, ])%\d+(?=[,)])", line)}
        defined = re.findall(r"^  (%\d+)", shown, re.M)
        assert used <= set(defined) and len(defined) == len(set(defined))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_a_write_of_which_an_older_tape_hears(backend):
    net, _, _, compiled = trainer(backend=backend)
    for _ in range(3):
        compiled(X)
    loss = ops.mean(ops.square(net(tinyae.Tensor(X))))
    compiled(X)
    with pytest.raises(GraphError, match=r"test_plan_calls.py:\d+ `optimizer.step\(\)`"):
        loss.backward()


# -- numbers of the step's own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_of_closure_and_globals_are_followed(backend, monkeypatch):
    scale = 0.5

    def step(x):
        return (x * scale * (lambda: FACTOR)()).sum()  # which only an inner function reads

    compiled = tinyae.compile(step, backend=backend)
    for scale, factor in [(0.5, 1.0)] * 3 + [(2.0, 1.0)] * 3 + [(2.0, 3.0)] * 3 + [(0.5, 1.0)] * 3:
        monkeypatch.setitem(globals(), "FACTOR", factor)
        assert compiled(X).item() == pytest.approx(scale * factor * X.sum(), rel=1e-5)
    assert [len(plans) for plans in compiled.plans.values()] == [3], "the first runs again"


def test_a_number_that_always_changes_is_named():
    count = 0.0

    @tinyae.compile
    def step(x):
        return (x * count).sum()

    with pytest.raises(PlanError, match=r"^compile: count, which the step reads, changes from call to call\."):
        for _ in range(4):
            assert step(X).item() == pytest.approx(count * X.sum(), rel=1e-5)
            count += 1
    careful = tinyae.compile(step.step, fallback=True)
    for count in (1.0, 2.0, 3.0, 4.0):
        assert careful(X).item() == pytest.approx(count * X.sum(), rel=1e-5)


def test_what_is_watched_is_followed_and_plans_are_not_kept_for_ever():
    class Weights:
        beta = 1.0

    mine = Weights()
    step = tinyae.compile(lambda x: (x * mine.beta).sum(), watch=lambda: mine.beta)
    for beta in np.linspace(0, 1, 20).tolist():
        mine.beta = beta
        for _ in range(3):
            assert step(X).item() == pytest.approx(beta * X.sum(), rel=1e-5)
    assert [len(plans) for plans in step.plans.values()] == [8]


@pytest.mark.skipif(kernels.info()["backend"] != "c", reason="the backend is NumPy: there is no C to test")
@pytest.mark.parametrize(("cls", "name", "values"), [
    (tinyae.BetaVAE, "beta", (0.0, 10.0)), (tinyae.DenoisingAutoencoder, "noise", (0.1, 0.9))])  # fmt: skip
def test_a_setting_that_a_callback_changes_is_followed(cls, name, values):
    digits = tinyae.load_data("digits").X[:300] / 16

    def change(model, row):
        setattr(model, name, values[row["epoch"] >= 3])

    plain, compiled = (cls(4, max_iter=6, batch_size=20, random_state=0, compile=c).fit(digits, callbacks=change)
                       .history_["loss"] for c in (False, True))  # fmt: skip
    assert np.allclose(plain, compiled, rtol=1e-3) and not np.allclose(plain, plain[0], rtol=0.05)


def test_the_profile_is_of_the_largest_batch(capsys):
    _, _, _, compiled = trainer()
    for _ in range(3):
        compiled(X)
        compiled(X[:2])
    compiled.profile(repeats=2)
    assert "gemm 8x6" in capsys.readouterr().out


# -- what is in memory, and what may change ---------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_may_share_memory_share_all_of_it_or_none(backend):
    """Of many sizes: an arena in which a young value lay half over an old one was wrong for few of them."""
    rng = np.random.default_rng(0)
    for n, d in [(26, 64), (28, 64), (11, 32), (40, 96), (7, 17), (5, 64)]:
        start = [(rng.standard_normal((d, d)) / 8).astype(np.float32) for _ in range(2)]
        batches = [rng.standard_normal((n, d)).astype(np.float32) for _ in range(4)]
        ends = []
        for compiled in (False, True):
            w1, w2 = (tinyae.Tensor(w.copy(), requires_grad=True) for w in start)
            optimizer = optim.SGD([w1, w2], lr=0.1)

            def step(x, w1=w1, w2=w2, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ops.mean(ops.square(ops.tanh(x @ w1) @ w2 - x))
                loss.backward()
                optimizer.step()
                return loss

            run = tinyae.compile(step, backend=backend) if compiled else lambda x, step=step: step(tinyae.Tensor(x))
            for x in batches:
                run(x)
            ends.append(w1.data.copy())
        np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [
    lambda h: h - h[:1], lambda h: h / h[0, 0], lambda h: ops.exp(h * 0.01) * h[:1] + h, lambda h: h - h[:, :1],
])  # fmt: skip
def test_a_chain_does_not_write_over_what_it_reads_in_another_way(backend, function):
    rng = np.random.default_rng(0)
    w = tinyae.Tensor(np.zeros((64, 64), np.float32))
    compiled = tinyae.compile(lambda x: function(x @ w), backend=backend)
    x = rng.standard_normal((300, 64)).astype(np.float32)
    with np.errstate(all="ignore"):
        for _ in range(3):
            compiled(x)
    tinyae.assign(w, rng.standard_normal((64, 64)).astype(np.float32))
    np.testing.assert_allclose(compiled(x).data, function(tinyae.Tensor(x) @ w).data, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_array_may_be_two_arguments(backend):
    compiled = tinyae.compile(lambda x, t: ops.mean(ops.square(x * 2.0 - t)), backend=backend)
    for _ in range(3):
        compiled(X, X)
    assert compiled(X, 3 * X).item() == pytest.approx(np.mean(X**2), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_none(backend):
    compiled = tinyae.compile(lambda x: (ops.tanh(x) * 2.0, ops.sum(x)), backend=backend)
    for _ in range(4):
        none, total = compiled(np.empty((0, 8), np.float32))
        assert none.shape == (0, 8) and total.item() == 0.0


def test_a_gradient_left_for_an_optimizer_outside_is_refused_and_a_returned_one_is_not():
    net = nn.Linear(6, 3, generator=0)

    def step(x):
        net.weight.grad = net.bias.grad = None
        ops.mean(ops.square(net(x))).backward()
        return net.weight.grad, net.bias.grad

    with pytest.raises(PlanError, match=r"^compile: the step leaves a gradient of a parameter of shape \(6, 3\)"):
        tinyae.compile(lambda x: step(x)[1])(X)
    compiled = tinyae.compile(step)
    for _ in range(3):
        compiled(X)
    compiled_one = compiled(2 * X)[0].data
    np.testing.assert_allclose(compiled_one, step(tinyae.Tensor(2 * X))[0].data, rtol=1e-5)


def _replace_weight(net):
    net[0].weight = nn.Parameter(np.ones((6, 3)), dtype="float32")


def _replace_layer(net):
    net[0] = nn.Linear(6, 3, generator=9)


def _append(net):
    net.append(nn.Tanh())


def _hook(net):
    net[2].register_forward_hook(lambda module, inputs, y: 3.0 * y)


def _second_hook(net):
    net[0].register_forward_hook(lambda module, inputs, y: 3.0 * y)


def _second_pre_hook(net):
    net[0].register_forward_pre_hook(lambda module, inputs: 2.0 * inputs[0])


def _callable(net):
    net.last = ops.sigmoid


class Ending(nn.Sequential):
    """A chain whose end is an attribute."""

    last = staticmethod(ops.exp)

    def forward(self, x):
        """last(chain(x))."""
        return self.last(super().forward(x))


@pytest.mark.parametrize("change", [
    _replace_weight, _replace_layer, _append, _hook, _second_hook, _second_pre_hook, _callable,
])  # fmt: skip
def test_another_part_of_a_module_is_noticed(change):
    net = Ending(nn.Linear(6, 3, generator=0), nn.Tanh(), nn.Linear(3, 6, generator=1))
    net[0].register_forward_pre_hook(lambda module, inputs: None)
    net[0].register_forward_hook(lambda module, inputs, y: None)
    compiled = tinyae.compile(lambda x: net(x))
    for _ in range(3):
        before = compiled(X).data
    change(net)
    now = net(tinyae.Tensor(X)).data
    assert not np.allclose(now, before)
    for _ in range(3):
        np.testing.assert_allclose(compiled(X).data, now, rtol=1e-5)
    assert [len(plans) for plans in compiled.plans.values()] == [2]


def test_another_key_of_noise_is_noticed():
    generator = tinyae.Generator(1)
    compiled = tinyae.compile(lambda x: ops.uniform(x, generator=generator) + x)
    for _ in range(3):
        compiled(X)
    generator.key, generator.counter = 77, 5
    drawn = compiled(X).data
    generator.key, generator.counter = 77, 5
    np.testing.assert_array_equal(drawn, ops.uniform(tinyae.Tensor(X), generator=generator).data + X)


def test_a_parameter_taken_from_an_optimizer_is_noticed():
    net, optimizer, _, compiled = trainer()
    for _ in range(3):
        compiled(X)
    optimizer.param_groups[0]["params"] = [p for p in net.parameters() if p is not net[0].bias]
    with pytest.raises(PlanError, match="leaves a gradient of a parameter of shape"):
        compiled(X)
    net[0].bias.requires_grad_(False)
    before = net[0].bias.data.copy()
    for _ in range(3):
        compiled(X)
    np.testing.assert_array_equal(net[0].bias.data, before)


@pytest.mark.parametrize("edit", [
    lambda net, o: o.state.pop(net[0].bias),
    lambda net, o: o.state[net[2].weight].update(m=np.zeros((3, 6), np.float32)),
])
def test_what_is_edited_in_an_optimizer_is_noticed(edit):
    (net, o, _, compiled), (other, reference, step, _) = trainer(), trainer()
    for _ in range(3):
        compiled(X)
        step(tinyae.Tensor(X))
    edit(net, o)
    edit(other, reference)
    for _ in range(3):
        compiled(X)
        step(tinyae.Tensor(X))
    np.testing.assert_allclose(weights(net), weights(other), rtol=1e-4, atol=1e-6)


def test_numbers_of_a_rule_move_on_without_another_plan():
    (net, o, _, compiled), (other, reference, step, _) = (trainer(optim.SGD, momentum=0.9) for _ in range(2))
    for momentum in (0.9, 0.9, 0.9, 0.8, 0.7, 0.6):
        o.param_groups[0]["momentum"] = reference.param_groups[0]["momentum"] = momentum
        compiled(X)
        step(tinyae.Tensor(X))
    np.testing.assert_allclose(weights(net), weights(other), rtol=1e-4)
    assert [len(plans) for plans in compiled.plans.values()] == [1]


def test_plans_of_ever_new_shapes_are_not_kept_for_ever():
    compiled = tinyae.compile(lambda x: x * 2.0)
    for n in range(1, 100):
        assert compiled(np.ones(n, np.float32)).shape == (n,)
    assert len(compiled.plans) == 64


def test_keywords_are_plain_and_of_a_type():
    compiled = tinyae.compile(lambda x, k=0: x * 2.0 if k is True else x * 3.0)
    for k, factor in [(1, 3)] * 3 + [(True, 2)] * 3 + [(1.0, 3)]:
        np.testing.assert_allclose(compiled(X, k=k).data, factor * X)
    for k in ([1], {}, np.ones(2)):
        with pytest.raises(tinyae.errors.SettingError, match="^compile: keywords k: one of them is no plain setting"):
            compiled(X, k=k)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_cancels_agrees(backend):
    x = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    w = tinyae.Tensor(np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32))
    v = tinyae.Tensor(w.data * np.float32(1 + 1e-5))
    compiled = tinyae.compile(lambda x: ops.mean(ops.tanh(x @ w)) - ops.mean(ops.tanh(x @ v)), backend=backend)
    for _ in range(3):
        assert abs(compiled(x).item()) < 1e-5


def test_more_than_float32_can_count_are_counted():
    x = np.ones((1 << 24) + 1, np.float32)
    compiled = tinyae.compile(lambda x: ops.sum(ops.gt(x, 0.0)))
    assert [compiled(x).item() for _ in range(3)] == [len(x)] * 3


@pytest.mark.skipif("c" not in BACKENDS, reason="the backend is NumPy: there is no C to test")
def test_a_program_that_c_refuses_is_a_step_without_a_plan(monkeypatch):
    from tinyae.kernels import plan

    def refuse(*_):
        raise tinyae.errors.BackendError("Program: no.")

    monkeypatch.setattr(plan, "Program", refuse)
    compiled = trainer()[3]
    with pytest.raises(PlanError, match=r"C does not take its program\. Program: no\."):
        compiled(X)
    net, _, step, _ = trainer()
    other, _, plain, _ = trainer()
    careful = tinyae.compile(step, fallback=True)
    for _ in range(3):
        assert careful(X).item() == plain(X).item()
    assert np.array_equal(weights(net), weights(other))
    assert [*careful.refused.values()] == ["compile: the step is right, but C does not take its program. Program: no."]
