"""Module: names, state, modes, copies, and what it prints."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinyae import Tensor, assign, engine, gradcheck, jacobian, no_grad, value_and_grad
from tinyae.errors import DtypeError, SettingError, ShapeError
from tinyae.nn import (
    BatchNorm1d, Buffer, Dropout, Linear, Module, Parameter, ReLU, Sequential, functional_call, mse)  # fmt: skip
from tinyae.optim import Adam


class Net(Module):
    """Every way of holding something: an attribute, a list, a tuple, a dict, a tied weight, a shared module."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.encoder = Sequential(Linear(6, 4, generator=rng), ReLU())
        self.scale = Parameter([2.0])
        self.mean = Buffer(np.zeros(6, np.float32))
        self.steps = Buffer(np.array(3))
        self.blocks = [Linear(4, 4, generator=rng), (Dropout(0.5, 0), [self.encoder[0]])]
        self.heads = {"mu": Linear(4, 2, generator=rng), "deep": {"w": Parameter(np.ones((2, 2)))}}
        self.tied = self.encoder[0].weight
        self.plain = Tensor([1.0], requires_grad=True)
        self.none, self.name = None, "net"

    def forward(self, x):
        return self.heads["mu"](self.blocks[0](self.encoder(x))) * self.scale


NAMES = ["scale", "heads.deep.w", "tied", "encoder.0.bias", "blocks.0.weight", "blocks.0.bias", "heads.mu.weight",
         "heads.mu.bias"]  # fmt: skip


# -- names ----------------------------------------------------------------------------------------------------------


def test_parameters_have_dotted_names_and_come_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert dict(net.named_parameters())["heads.mu.weight"] is net.heads["mu"].weight
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in Sequential(Sequential(Linear(2, 2))).named_parameters()] == ["0.0.weight", "0.0.bias"]


def test_buffers_and_modules():
    net = Net()
    assert [name for name, _ in net.named_buffers()] == ["mean", "steps"]
    assert list(map(id, net.buffers())) == [id(net.mean), id(net.steps)]
    assert [name for name, _ in net.named_modules()] == [
        "", "encoder", "encoder.0", "encoder.1", "blocks.0", "blocks.1.0", "heads.mu"]  # fmt: skip
    assert list(net.modules()) == [m for _, m in net.named_modules()]
    net.again = net.encoder
    assert list(net.children()) == [net.encoder, net.blocks[0], net.blocks[1][0], net.encoder[0], net.heads["mu"]]


def test_a_module_that_knows_its_parent_is_walked_once():
    parent, child = Module(), Module()
    parent.child, child.parent, child.w = child, parent, Parameter([1.0])
    assert [name for name, _ in parent.named_parameters()] == ["child.w"]


def test_attributes_may_be_set_while_walking():
    net = Net()
    for i, p in enumerate(net.parameters()):
        setattr(net, f"name{i}", p.size)


def test_a_sequential_subclass_may_have_parameters_of_its_own():
    class Scaled(Sequential):
        def __init__(self):
            super().__init__(Linear(2, 2))
            self.scale = Parameter([1.0])

    assert [name for name, _ in Scaled().named_parameters()] == ["scale", "0.weight", "0.bias"]


def test_parameter_and_buffer_are_tensors_and_their_results_are_plain_ones():
    p, b = Parameter([1.0, 2.0]), Buffer([1.0, 2.0], dtype=np.float64)
    assert isinstance(p, Tensor) and p.requires_grad and p.is_leaf and p.dtype == np.float32
    assert isinstance(b, Tensor) and not b.requires_grad and b.dtype == np.float64
    assert type(p * 2) is Tensor and type(b * 2) is Tensor
    assert not Parameter([1.0], requires_grad=False).requires_grad
    with pytest.raises(DtypeError):
        Parameter([1])


# -- state ----------------------------------------------------------------------------------------------------------


def test_state_dict_copies():
    net = Net()
    state = net.state_dict()
    assert list(state) == [*NAMES, "mean", "steps"]
    assert all(type(v) is np.ndarray and v.flags.writeable for v in state.values())
    state["scale"][...] = 9
    assert net.scale.item() == 2


def test_load_state_dict_restores_every_bit_and_keeps_the_arrays():
    net, other = Net(0), Net(1)
    state = net.state_dict() | {"mean": np.arange(6.0), "steps": np.array(7)}
    memory = other.tied._data
    assert other.load_state_dict(state) == ([], [])
    for name, array in other.state_dict().items():
        assert np.array_equal(array, state[name]) and array.dtype == net.state_dict()[name].dtype, name
    assert other.tied._data is memory and other.encoder[0].weight is other.tied
    assert other.scale.requires_grad  # the change was not recorded


def test_load_state_dict_counts_as_a_write():
    layer = Linear(2, 1)
    loss = layer(Tensor([[1.0, 2.0]], requires_grad=True)).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(engine.GraphError, match="changed in place"):
        loss.backward()


def test_load_state_dict_with_other_names():
    net = Net()
    state = net.state_dict()
    state["extra"] = state.pop("scale") * 0 + 5
    with pytest.raises(SettingError, match="needs scale .* has extra"):
        net.load_state_dict(state)
    with pytest.raises(SettingError, match="needs nothing which .* has extra"):
        net.load_state_dict({**state, "scale": [1.0]})
    assert net.load_state_dict({**state, "tied": state["tied"] * 0}, strict=False) == (["scale"], ["extra"])
    assert net.scale.item() == 2 and not net.encoder[0].weight.data.any()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("heads.mu.bias", np.zeros(1), ShapeError),  # would broadcast
        ("heads.mu.bias", np.zeros((2, 1)), ShapeError),
        ("steps", np.array(1.5), DtypeError),
        ("heads.mu.bias", np.array(["a", "b"]), DtypeError),
    ],
)
def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing(name, value, error):
    net = Net()
    before = net.state_dict()
    state = {n: v + 1 for n, v in before.items()} | {name: value}
    for strict in (True, False):
        with pytest.raises(error, match=name):
            net.load_state_dict(state, strict=strict)
    assert all(np.array_equal(v, before[n]) for n, v in net.state_dict().items())


# -- copies ---------------------------------------------------------------------------------------------------------


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_share_nothing_and_keep_ties(duplicate):
    net = Net().eval()
    net.scale.requires_grad_(False)
    x = np.ones((2, 6), np.float32)
    net(x).sum().backward()
    made = duplicate(net)
    assert made.tied is made.encoder[0].weight is made.blocks[1][1][0].weight
    assert type(made.tied) is Parameter and type(made.mean) is Buffer
    assert np.array_equal(made(x).data, net(x).data)
    assert made.tied.requires_grad and not made.scale.requires_grad and not made.training
    assert np.array_equal(made.tied.grad.data, net.tied.grad.data)
    for p, q in zip([*net.parameters(), *net.buffers()], [*made.parameters(), *made.buffers()], strict=True):
        assert p is not q and not np.shares_memory(p._data, q._data)


# -- modes ----------------------------------------------------------------------------------------------------------


def test_train_and_eval_reach_everything():
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net and not any(m.training for m in net.modules())
    net.encoder.train()
    assert net.encoder[0].training and not net.blocks[1][0].training
    assert net.train() is net and all(m.training for m in net.modules())


def test_freezing_and_zero_grad():
    net = Net()
    assert net.requires_grad_(False) is net and not any(p.requires_grad for p in net.parameters())
    net.zero_grad()
    net.requires_grad_()
    net(np.ones((1, 6))).sum().backward()
    assert net.tied.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_astype():
    net = Net()
    before = net.state_dict()
    net.scale.requires_grad_(False)
    net(np.ones((1, 6), np.float32)).sum().backward()
    weight = net.tied
    assert net.astype("float64") is net
    for name, array in net.state_dict().items():
        assert array.dtype == (np.float64 if before[name].dtype.kind == "f" else np.int64), name
        assert np.array_equal(array, before[name])
    assert net.tied is weight is net.encoder[0].weight and weight.grad is None and not net.scale.requires_grad
    y = net(np.ones((1, 6)))
    y.sum().backward()
    assert y.dtype == np.float64 and weight.grad.dtype == np.float64
    net.astype(np.float64)
    assert weight.grad is not None  # nothing to convert
    assert net.astype(np.float32)(np.ones((1, 6), np.float32)).dtype == np.float32
    loss = net(Tensor(np.ones((1, 6)), requires_grad=True)).sum()
    net.astype(np.float64).load_state_dict(net.state_dict())
    loss.backward()  # still there: astype made new arrays, and the write was to them
    for bad in ("float16", np.int32):
        with pytest.raises(DtypeError, match="float32 or float64"):
            net.astype(bad)


# -- calling --------------------------------------------------------------------------------------------------------


def test_calling_a_module_calls_forward():
    class Two(Module):
        def forward(self, a, b, *, c=1):
            return a, b, c

    assert Two()(1, b=2, c=3) == (1, 2, 3)
    with pytest.raises(NotImplementedError, match="Module: no forward"):
        Module()(1)


def test_an_error_names_the_layer_that_raised_it():
    class Model(Module):
        def __init__(self):
            self.encoder = Sequential(Linear(6, 4), Sequential(ReLU(), Linear(5, 2)))

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(ShapeError) as caught:
        Model()(np.ones((3, 6)))
    text = str(caught.value)
    assert text.startswith("Model.encoder.1.1, Linear(5, 2): linear: x (3, 4), weight (5, 2)")
    assert text.count("Linear(") == 1
    with pytest.raises(ShapeError, match=r"^Linear\(2, 3\): linear: x \(4,\)"):
        Linear(2, 3)(np.ones(4))


def test_an_error_of_a_module_that_is_not_an_attribute():
    class Hidden(Module):
        def forward(self, x):
            return Linear(2, 3)(x)

    with pytest.raises(ShapeError, match=r"^Hidden, Linear\(2, 3\): linear"):
        Hidden()(np.ones(4))


def test_other_errors_pass_untouched():
    class Broken(Module):
        def forward(self, x):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        Sequential(Broken())(1)


# -- hooks ----------------------------------------------------------------------------------------------------------


def doubled_input(module, inputs):
    return inputs[0] * 2.0


def shifted_output(module, inputs, y):
    return y + 10.0


def test_hooks_see_the_call_and_may_replace_what_goes_in_and_comes_out():
    net, seen = Sequential(Linear(2, 2, generator=0), ReLU()), []
    x = Tensor([[1.0, -2.0]])
    plain = net[0](x).data
    net[0].register_forward_pre_hook(lambda m, inputs: seen.append((m, inputs)))
    handle = net[0].register_forward_hook(lambda m, inputs, y: seen.append((m, inputs, y.data)))
    net(x)
    assert seen[0] == (net[0], (x,)) and seen[1][:2] == (net[0], (x,)) and np.array_equal(seen[1][2], plain)
    handle.remove()
    with net[0].register_forward_pre_hook(doubled_input), net[1].register_forward_hook(shifted_output):
        assert np.array_equal(net(x).data, np.maximum(2 * plain, 0) + 10)
    assert len(seen) == 3 and np.array_equal(net(x).data, np.maximum(plain, 0))


def test_hooks_run_in_order_each_on_the_answer_before():
    net = Sequential()
    net.register_forward_pre_hook(lambda m, inputs: (inputs[0] + 1.0,))
    net.register_forward_pre_hook(doubled_input)
    net.register_forward_hook(shifted_output)
    net.register_forward_hook(lambda m, inputs, y: (inputs, y * 2.0))
    inputs, y = net(3.0)
    assert inputs == (8.0,) and y == 36.0


def test_settings_pass_by_the_hooks():
    class Scaled(Module):
        def forward(self, x, *, by):
            return x * by

    net = Scaled()
    net.register_forward_pre_hook(doubled_input)
    assert net(3.0, by=5.0) == 30.0


def test_a_hook_may_be_a_module_and_is_no_part_of_the_net():
    net = Sequential(Linear(2, 2))
    names = list(net.state_dict())
    net.register_forward_hook(lambda m, inputs, y: y)
    net.register_forward_pre_hook(Recorder())
    assert list(net.state_dict()) == names and "Recorder" not in repr(net)


class Recorder(Module):
    def forward(self, module, inputs):
        return None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_copies_take_their_hooks_along(duplicate):
    net = Sequential(Linear(2, 2, generator=0))
    handle = net.register_forward_hook(shifted_output)
    net[0].register_forward_pre_hook(doubled_input)
    made, x = duplicate(net), np.ones((1, 2), np.float32)
    assert np.array_equal(made(x).data, net(x).data)
    handle.remove()
    assert made(x).data.min() > 5 > net(x).data.max()


def test_an_error_inside_a_hook_names_the_module():
    net = Sequential(Linear(2, 2))
    net[0].register_forward_hook(lambda m, inputs, y: y @ y)
    with pytest.raises(ShapeError, match=r"^Sequential.0, Linear\(2, 2\): matmul"):
        net(np.ones((1, 2)))


# -- other values for a while ---------------------------------------------------------------------------------------


def test_functional_call_is_the_module_with_other_values():
    net, other = Net(0).eval(), Net(1).eval()
    x = np.ones((2, 6), np.float32)
    before = net.state_dict()
    held = [(p, p._data, p._node) for p in [*net.parameters(), *net.buffers()]]
    y = functional_call(net, other.state_dict(), x)
    assert np.array_equal(y.data, other(x).data) and not np.array_equal(y.data, net(x).data)
    y = functional_call(net, {"scale": other.scale * 5.0}, x)
    np.testing.assert_allclose(y.data, net(x).data * 5, rtol=1e-6)
    assert all(p._data is data and p._node is node for p, data, node in held)
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_functional_call_follows_ties():
    net = Net()
    w = Tensor(np.zeros((6, 4), np.float32), requires_grad=True)
    seen = []
    net.register_forward_pre_hook(
        lambda m, inputs: seen.extend(p.data.any() for p in (m.encoder[0].weight, m.tied, m.blocks[1][1][0].weight))
    )
    functional_call(net, {"tied": w}, np.ones((1, 6), np.float32)).sum().backward()
    assert seen == [False] * 3 and net.tied.data.any() and w.grad is not None and net.tied.grad is None


def test_functional_call_of_a_part_and_its_derivatives():
    net = Net().astype(np.float64)
    x, weight = np.ones((3, 6)), net.tied.data.copy()

    def function(w, b):
        return functional_call(net.encoder, {"0.weight": w, "0.bias": b}, x).tanh()

    gradcheck(function, weight, np.full(4, 0.3), order=2)
    slopes = jacobian(lambda values: functional_call(net.encoder, values, x))({"0.bias": net.encoder[0].bias.detach()})
    assert slopes["0.bias"].shape == (3, 4, 4)
    value, gradients = value_and_grad(lambda values: functional_call(net, values, x).sum())(
        {name: p.detach() for name, p in net.named_parameters()}
    )
    net(x).sum().backward()
    assert value.item() == net(x).sum().item()
    for name, p in net.named_parameters():
        expected = 0 if p.grad is None else p.grad.data
        np.testing.assert_allclose(gradients[name].data, expected, rtol=1e-12, err_msg=name)


def test_functional_call_returns_the_value_of_a_parameter_that_is_returned_as_it_is():
    class Learned(Module):
        def __init__(self):
            self.a, self.b = Parameter([1.0]), Parameter([2.0])

        def forward(self):
            return self.a, [self.b, 3]

    net, a = Learned(), Tensor([5.0])
    one, (two, three) = functional_call(net, {"a": a})
    assert one is a and two is net.b and three == 3
    one, (two, _) = functional_call(net, {"a": net.b, "b": net.a})
    assert one is net.b and two is net.a and net.a.tolist() == [1.0]  # exchanged for the time of the call


def test_functional_call_counts_writes_to_what_it_was_given():
    class Counter(Module):
        def __init__(self):
            self.count = Buffer([0.0])

        def forward(self, x):
            y = x * self.count
            assign(self.count, self.count + 1.0)
            return y

    net, count, x = Counter(), Tensor([4.0]), Tensor([1.0], requires_grad=True)
    y = functional_call(net, {"count": count}, x)
    assert count.tolist() == [5.0] and net.count.tolist() == [0.0]
    with pytest.raises(engine.GraphError, match="changed in place"):
        y.sum().backward()
    array = np.array([4.0])
    assert functional_call(net, {"count": array}, x).dtype == np.float32  # an array takes the parameter's dtype
    assert array.tolist() == [4.0] and net.count.tolist() == [0.0]
    layer, w = Linear(2, 1), Tensor([[1.0], [1.0]])
    y = functional_call(layer, {"weight": w}, Tensor([[1.0, 2.0]], requires_grad=True))
    w.data = [[2.0], [2.0]]  # after the call, before backward
    with pytest.raises(engine.GraphError, match="changed in place"):
        y.backward()


def test_functional_call_refuses_and_restores():
    net = Net()
    x, data = np.ones((2, 6), np.float32), net.scale._data
    with pytest.raises(SettingError, match="functional_call: Net has no scal, 3. It has scale, heads.deep.w, .* more"):
        functional_call(net, {"scal": [1.0], 3: [1.0]}, x)
    with pytest.raises(ShapeError, match=r"scale has shape \(1,\), the value given \(2,\)"):
        functional_call(net, {"scale": [1.0, 2.0]}, x)
    with pytest.raises(ShapeError, match="Net.encoder.0"):
        functional_call(net, {"scale": [9.0]}, x[:, :3])
    assert net.scale._data is data and net.scale.requires_grad


# -- threads --------------------------------------------------------------------------------------------------------


def test_two_threads_train_two_models_as_one_after_the_other_would():
    def trained(seed):
        rng = np.random.default_rng(seed)
        net = Sequential(Linear(6, 8, generator=rng), BatchNorm1d(8), Dropout(0.2, seed), ReLU(),
                         Linear(8, 6, generator=rng))  # fmt: skip
        step, x = Adam(net.parameters(), lr=0.01), rng.standard_normal((16, 6)).astype(np.float32)
        for _ in range(30):
            net.zero_grad()
            mse(net(x), x).backward()
            step.step()
        with no_grad():
            net.eval()(x)
        return net.state_dict()

    alone = [trained(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(trained, (1, 2)))
    for a, b in zip(alone, together):
        assert all(np.array_equal(a[name], b[name]) for name in a)


# -- as text --------------------------------------------------------------------------------------------------------


def test_repr_is_nested():
    assert repr(Sequential(Linear(3, 2, bias=False), Sequential(ReLU()), Sequential())) == (
        "Sequential(\n  (0): Linear(3, 2, bias=False)\n  (1): Sequential(\n    (0): ReLU()\n  )\n  (2): Sequential()\n)"
    )


def test_summary():
    net = Sequential(Linear(64, 1000), ReLU(), Sequential(Linear(1000, 2, bias=False)))
    net[2].requires_grad_(False)
    assert net.summary(64).splitlines() == [
        "name  layer                        output     parameters",
        "--------------------------------------------------------",
        "0     Linear(64, 1000)             (n, 1000)      65,000",
        "1     ReLU                         (n, 1000)",
        "2     Sequential                   (n, 2)",
        "2.0   Linear(1000, 2, bias=False)  (n, 2)          2,000",
        "--------------------------------------------------------",
        "Sequential: 67,000 parameters (2,000 frozen), 261.7 KiB, output (n, 2)",
    ]


def test_summary_without_shapes_and_with_a_tied_weight():
    text = Net().summary()
    assert "output" not in text
    rows = {line.split()[0]: line.split()[-1] for line in text.splitlines()}
    assert rows["(self)"] == "29" and rows["encoder.0"] == "4" and rows["blocks.0"] == "20"
    assert text.endswith("Net: 63 parameters, 268 bytes")
    shared = Module()
    shared.a, shared.b = Linear(2, 2, bias=False), Linear(2, 2, bias=False)
    shared.b.weight = shared.a.weight
    assert "tied" in shared.summary() and shared.summary().endswith("4 parameters, 16 bytes")


def test_summary_leaves_no_trace():
    net = Net()
    net.heads["mu"].eval()
    net.encoder[1].forward = np.negative  # a user's own
    before = [list(vars(m).items()) for m in net.modules()]
    counter = net.blocks[1][0].generator.counter
    assert "(n, 2)" in net.summary((6,))
    with pytest.raises(ShapeError):
        net.summary((7,))
    for attributes, module in zip(before, net.modules(), strict=True):
        for (name, value), (name_now, value_now) in zip(attributes, vars(module).items(), strict=True):
            assert name == name_now and value is value_now
    assert net.blocks[1][0].generator.counter == counter
    assert net.heads["mu"].training is False and net.training


def test_summary_of_several_inputs_and_outputs():
    class Pair(Module):
        def __init__(self):
            self.inner = Linear(3, 3, dtype="float64")

        def forward(self, a, b):
            assert a.dtype == np.float64 and not self.training and not self.inner(a).requires_grad
            return [self.inner(a), b.sum(axis=(0, 1))]

    pair = Pair()
    assert pair.summary((3,), (4, 5)).endswith("Pair: 12 parameters, 96 bytes, output (n, 3), (5,)")


def test_no_grad_reaches_modules():
    with no_grad():
        assert not Net()(np.ones((1, 6), np.float32)).requires_grad
