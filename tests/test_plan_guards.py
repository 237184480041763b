"""tinyae/plan/guards.py and the checks of compile.py: what a plan depends on is found, and what cannot be found shows."""

import copy
import gc
import importlib.util
import pickle
import random
import sys
import types
import weakref

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import PlanError
from tinyae.plan.compile import Plan
from tinyae.plan.guards import Guards, Reads

X = np.random.default_rng(0).random((4, 3), dtype=np.float32)
SCALE = 2.0
COLLECTED = []


def watched(step, *arguments):
    """{name: value} of what a call of step is found to depend on."""
    with Reads() as reads:
        step(*arguments)
    return dict(Guards(step, reads, lambda var: False).describe())


# -- what is found --------------------------------------------------------------------------------------------------


class Config:
    kind = "mse"

    def __init__(self):
        self.beta, self.history = 0.5, []


def helper(x, config):
    return x * config.beta * SCALE if config.kind == "mse" else x


def test_what_the_called_code_reads_is_found_and_no_more():
    config, table, unread = Config(), {"a": [1, 2.5]}, 7

    def step(x, factor=3):
        return helper(x, config) * table["a"][0] * factor

    assert unread
    found = watched(step, 1.0)
    assert found["config.beta"] == "0.5" and found["config.kind"] == found["Config.kind"] == "'mse'"
    assert found["SCALE"] == "2.0" and found["table['a'][1]"] == "2.5" and found["step.__defaults__[0]"] == "3"
    assert not {"unread", "config.history"} & found.keys()


@pytest.mark.parametrize("name", ["profile", "trace", "helpers_of_mine"])
def test_a_module_of_the_users_may_be_called_like_one_of_pythons(name, tmp_path, monkeypatch):
    file = tmp_path / f"{name}.py"
    file.write_text("beta = 2.0\ndef scaled(x): return x * beta\n")
    spec = importlib.util.spec_from_file_location(name, file)
    mine = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, mine)
    spec.loader.exec_module(mine)
    step = tinyae.compile(lambda x: mine.scaled(x))
    for _ in range(3):
        step(X)
    mine.beta = 5.0
    np.testing.assert_allclose(step(X).data, 5 * X)


def test_the_users_profiler_is_given_back():
    def mine(*_):
        pass

    sys.setprofile(mine)
    try:
        with pytest.raises(ZeroDivisionError), Reads():
            1 / 0
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)
    assert gc.isenabled()


def test_callbacks_of_the_garbage_collector_are_no_part_of_the_step():
    def collected(phase, info):
        COLLECTED.append(phase)

    gc.callbacks.append(collected)
    try:
        found = watched(lambda: [[] for _ in range(100_000)])
    finally:
        gc.callbacks.remove(collected)
    assert "COLLECTED" not in found


def test_a_cycle_and_an_empty_cell_end():
    loop = []
    loop.append(loop)

    def step():
        return loop, (later if loop is None else 0)

    assert watched(step)["loop[0]"] == "list of 1"
    later = 1
    assert later


def test_things_past_the_limit_are_left_to_the_checks(monkeypatch):
    from tinyae.plan import guards

    monkeypatch.setattr(guards, "_LIMIT", 5)
    many = [[i] for i in range(50)]
    with Reads() as reads:
        (step := lambda: many)()
    found = Guards(step, reads, lambda var: False)
    assert found.truncated and found.fits()


def test_equal_is_as_good_as_the_same_and_is_counted():
    holder = types.SimpleNamespace(table={"k": 1.5}, rows=[1, 2])

    def step():
        return holder.table["k"], holder.rows

    with Reads() as reads:
        step()
    found = Guards(step, reads, lambda var: False)
    holder.table, holder.rows = {"k": 1.5}, [1, 2]
    assert found.fits() and found.renewed == 1 and found.moved() == []
    holder.rows.append(3)
    assert not found.fits() and found.moved() == ["holder.rows", "holder.rows[2]"]
    holder.rows.pop()
    assert found.fits()
    for wrong in (1, True, -1.5, "1.5"):
        holder.table["k"] = wrong
        assert not found.fits(), wrong
    holder.table["k"] = 1.5
    assert found.fits()


# -- the checks -----------------------------------------------------------------------------------------------------


def test_what_no_guard_sees_shows_at_the_tenth_call(tmp_path):
    """A number in a file."""
    file = tmp_path / "beta"
    file.write_text("1")
    step = tinyae.compile(lambda x: x * float(file.read_text()))
    for k in range(1, 10):
        step(X)
        if k == 5:
            file.write_text("2")
    with pytest.raises(PlanError, match=r"does something else than when it was captured, mul at .*float\(file.read_text"):
        step(X)
    for _ in range(3):
        np.testing.assert_allclose(step(X).data, 2 * X)


def test_a_plan_is_checked_at_calls_2_10_100_1000(monkeypatch):
    checked, check = [], Plan.check

    def watched(plan, *args):
        checked.append(call)
        return check(plan, *args)

    monkeypatch.setattr(Plan, "check", watched)
    step = tinyae.compile(lambda x: x + x)
    for call in range(1, 1101):
        step(X)
    assert checked == [2, 10, 100, 1000]
    if kernels.info()["backend"] == "c":  # an epoch in C stops for it
        net, checked[:] = nn.Linear(3, 3, generator=0), []
        optimizer = optim.SGD(net.parameters(), lr=0.01)

        def train(x):
            optimizer.zero_grad()
            loss = nn.mse(net(x), x)
            loss.backward()
            optimizer.step()
            return loss

        step, call = tinyae.compile(train), None
        sizes = [len(rows) for rows in step.over(tinyae.data.batches(np.tile(X, (150, 1)), 4))]
        assert len(checked) == 3 and sum(sizes) == 150


def test_with_fallback_a_difference_is_a_new_capture(tmp_path):
    file = tmp_path / "beta"
    file.write_text("1")
    step = tinyae.compile(lambda x: x * float(file.read_text()), fallback=True)
    for k in range(1, 13):
        if k == 5:
            file.write_text("2")
        y = step(X)
    np.testing.assert_allclose(y.data, 2 * X)
    (plans,) = step.plans.values()
    assert len(plans) == 1 and plans[0].agreed and not step.refused


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_noise_of_the_global_generators_is_refused(draw):
    step = tinyae.compile(lambda x: x + float(draw()))
    step(X)
    with pytest.raises(PlanError, match="draws from the generator of `random` or `np.random`"):
        step(X)


def test_what_the_step_itself_changes_is_refused_by_name():
    class Trainer:
        def __init__(self):
            self.calls = 0

        def step(self, x):
            self.calls += 1
            return x * self.calls

    trainer = Trainer()
    step = tinyae.compile(trainer.step)
    step(X)
    with pytest.raises(PlanError, match=r"compile: self.calls changes from call to call: the step itself changes it"):
        step(X)


@pytest.mark.parametrize("at", [1, 2, 10])
def test_an_error_in_the_step_leaves_everything_as_it_was(at):
    """At the first call, at the second, and at one that is checked later."""
    net = nn.Linear(3, 3, generator=0)
    optimizer = optim.Adam(net.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    def broken(x):
        step(x)
        raise ValueError("mine")

    compiled = tinyae.compile(step)
    for _ in range(at - 1):
        compiled(X)
    before, state = net.state_dict(), optimizer.state_dict()
    compiled.step = broken
    with pytest.raises(ValueError, match="mine"):
        compiled(X)
    for now, then in ((net.state_dict(), before), (optimizer.state_dict(), state)):
        assert now.keys() == then.keys()
        for name, value in now.items():
            np.testing.assert_array_equal(value, then[name])


def test_what_a_step_does_once_is_no_error():
    class Lazy:
        scale = None

        def step(self, x):
            if self.scale is None:
                self.scale = tinyae.Tensor(np.full(3, 2.0, np.float32))
                return x * 2.0
            return x * self.scale

    lazy = Lazy()
    step = tinyae.compile(lazy.step)
    for _ in range(6):
        np.testing.assert_allclose(step(X).data, 2 * X)
    lazy.scale.data = np.full(3, 3.0)
    np.testing.assert_allclose(step(X).data, 3 * X)
    assert next(iter(step.plans.values()))[0].agreed


def test_what_forward_leaves_in_a_module_is_of_the_latest_run():
    class Net(nn.Module):
        def __init__(self):
            self.layer, self.seen = nn.Linear(3, 2, generator=0), {}

        def forward(self, x):
            self.code = self.layer(x)
            self.seen["mean"] = self.code.detach().mean()
            return ops.tanh(self.code)

    net, rng = Net(), np.random.default_rng(0)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    @tinyae.compile
    def step(x):
        optimizer.zero_grad()
        loss = net(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(12):
        x = rng.random((4, 3), dtype=np.float32)
        code = x @ net.layer.weight.data + net.layer.bias.data
        step(x)
        np.testing.assert_allclose(net.code.data, code, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(net.seen["mean"].data, code.mean(), rtol=1e-5, atol=1e-6)
    assert len(step.plans) == 1 and step._latest[0].calls == 100


# -- methods --------------------------------------------------------------------------------------------------------


class Trainer:
    def __init__(self, factor=1.0):
        self.factor = factor

    @tinyae.compile
    def step(self, x):
        return x * self.factor


def test_a_method_has_plans_per_object():
    one, two = Trainer(2.0), Trainer(3.0)
    for _ in range(3):
        np.testing.assert_allclose(one.step(X).data, 2 * X)
        np.testing.assert_allclose(two.step(X).data, 3 * X)
    assert one.step is one.step is not two.step and len(one.step.plans) == 1
    assert not Trainer.step.plans
    one.factor = 5.0
    np.testing.assert_allclose(one.step(X).data, 5 * X)
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_a_copy_or_pickle_of_the_object_starts_anew():
    one = Trainer(2.0)
    for _ in range(3):
        one.step(X)
    for two in (copy.deepcopy(one), copy.copy(one), pickle.loads(pickle.dumps(one))):
        two.factor = 7.0
        for _ in range(3):
            np.testing.assert_allclose(two.step(X).data, 7 * X)
            np.testing.assert_allclose(one.step(X).data, 2 * X)


def test_a_method_of_an_object_without_a_dictionary_is_refused():
    class Slotted:
        __slots__ = ()

        @tinyae.compile
        def step(self, x):
            return x

    with pytest.raises(PlanError, match="Slotted, whose objects have no __dict__"):
        Slotted().step(X)


def test_explain_says_what_is_watched(capsys):
    factor = 3.0
    step = tinyae.compile(lambda x: x * factor)
    for _ in range(3):
        step(X)
    step.explain()
    said = capsys.readouterr().out
    assert "compared with the step itself in 7 runs" in said and "\n  factor " in said and " 3.0\n" in said
