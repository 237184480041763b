"""Sequential, ModuleList and ModuleDict: the manners of a list and a dictionary, and the names inside."""

import copy
import pickle

import numpy as np
import pytest

from tinyae import Tensor, nn
from tinyae.errors import AxisError, SettingError

X = np.random.default_rng(5).standard_normal((3, 4)).astype(np.float32)


def names(module):
    return [name for name, _ in module.named_parameters()]


# -- Sequential -----------------------------------------------------------------------------------------------------


def test_sequential():
    a, b, c = nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)
    net = nn.Sequential(a, b, c)
    x = Tensor(X)
    assert np.array_equal(net(x).data, c(b(a(x))).data)
    assert len(net) == 3 and list(net) == [a, b, c] and net[0] is a and net[-1] is c and net[np.int64(1)] is b
    assert type(net[1:]) is nn.Sequential and list(net[1:]) == [b, c]
    assert nn.Sequential()(x) is x
    with pytest.raises(AxisError, match="Sequential: no module 3 among 3"):
        net[3]
    for bad in ([a, b], np.tanh, nn.Tanh):
        with pytest.raises(SettingError, match="Sequential: entry 1"):
            nn.Sequential(a, bad)


def test_a_sequential_grows():
    net = nn.Sequential().append(nn.Linear(4, 3)).append(nn.ReLU())
    assert net(X).shape == (3, 3) and names(net) == ["0.weight", "0.bias"]


# -- ModuleList -----------------------------------------------------------------------------------------------------


def test_module_list_is_a_list():
    a, b, c, d = (nn.Linear(2, 2) for _ in range(4))
    layers = nn.ModuleList([a])
    assert layers.append(b) is layers and layers.extend(iter([c])) is layers
    layers.insert(0, d)
    assert list(layers) == [d, a, b, c] and len(layers) == 4 and c in layers and layers[-1] is c
    layers[1] = d
    del layers[-1]
    assert list(layers) == [d, d, b]
    assert type(layers[1:]) is nn.ModuleList and list(layers[1:]) == [d, b]
    del layers[1:]
    assert list(layers) == [d]


def test_module_list_refuses():
    layers = nn.ModuleList([nn.Tanh()])
    for change in (
        lambda: nn.ModuleList([nn.Tanh(), 3]),
        lambda: layers.append(np.tanh),
        lambda: layers.insert(0, nn.Tanh),
        lambda: layers.__setitem__(0, None),
    ):
        with pytest.raises(SettingError, match=r"ModuleList: entry \d is a \w+, not a Module"):
            change()
    for place in (1, -2):
        for change in (layers.__getitem__, layers.__delitem__, lambda i: layers.__setitem__(i, nn.Tanh())):
            with pytest.raises(AxisError, match=f"no module {place} among 1"):
                change(place)
    assert len(layers) == 1
    with pytest.raises(NotImplementedError, match="ModuleList: no forward"):
        layers(X)


# -- ModuleDict -----------------------------------------------------------------------------------------------------


def test_module_dict_is_a_dictionary():
    a, b = nn.Linear(2, 2), nn.Tanh()
    heads = nn.ModuleDict({"mu": a})
    heads["act"] = b
    assert list(heads) == list(heads.keys()) == ["mu", "act"] and list(heads.values()) == [a, b]
    assert dict(heads.items()) == {"mu": a, "act": b} == dict(heads) and len(heads) == 2
    assert heads["mu"] is a and "mu" in heads and "sigma" not in heads
    heads.update({"mu": b})
    del heads["act"]
    assert list(heads.items()) == [("mu", b)]
    for change in (heads.__getitem__, heads.__delitem__):
        with pytest.raises(KeyError, match="act"):
            change("act")


@pytest.mark.parametrize(("key", "value"), [("a.b", nn.Tanh()), ("", nn.Tanh()), (1, nn.Tanh()), ("a", np.tanh)])
def test_module_dict_refuses(key, value):
    with pytest.raises(SettingError, match="ModuleDict"):
        nn.ModuleDict({key: value})


# -- inside a module ------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.blocks = nn.ModuleList([nn.Linear(4, 4, generator=rng), nn.Dropout(0.5, 0)])
        self.blocks.scale = nn.Parameter([2.0])
        self.heads = nn.ModuleDict({"mu": nn.Linear(4, 2, generator=rng), "twin": self.blocks[0]})
        self.heads.shift = nn.Buffer([1.0])

    def forward(self, x):
        for block in self.blocks:
            x = block(x) * self.blocks.scale
        return self.heads["mu"](x) + self.heads.shift


def test_names_do_not_mention_the_container():
    assert names(Net()) == ["blocks.scale", "blocks.0.weight", "blocks.0.bias", "heads.mu.weight", "heads.mu.bias"]
    assert [name for name, _ in Net().named_buffers()] == ["heads.shift"]
    assert [name for name, _ in Net().named_modules()] == ["", "blocks", "blocks.0", "blocks.1", "heads", "heads.mu"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(duplicate):
    net = Net().eval()
    made = duplicate(net)
    assert np.array_equal(made(X).data, net(X).data) and names(made) == names(net)
    assert made.heads["twin"] is made.blocks[0] is not net.blocks[0] and not made.blocks[1].training


def test_repr_and_errors_name_the_place():
    net = Net()
    assert "(blocks): ModuleList(\n    (0): Linear(4, 4)" in repr(net) and "(mu): Linear(4, 2)" in repr(net)
    with pytest.raises(ValueError, match=r"^Net.blocks.0, Linear\(4, 4\): linear: x \(3, 3\)") as caught:
        net(X[:, :3])
    assert "blocks.0" in str(caught.value)
