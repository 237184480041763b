"""Computed attributes: what they compute, what is trained and saved, and that copies have their own."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

from tinyae import Tensor, gradcheck, nn, no_grad, ops, optim
from tinyae.errors import DtypeError, SettingError, ShapeError

rows = partial(nn.unit_norm, axis=1)


class Scaled(nn.Module):
    """A function with a parameter of its own: weight normalisation's length."""

    def __init__(self):
        self.length = nn.Parameter([3.0], dtype=np.float64)

    def forward(self, w):
        return nn.unit_norm(w) * self.length


def layer(n_in=4, n_out=3):
    return nn.Linear(n_in, n_out, generator=0, dtype=np.float64)


# -- unit norm ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_unit_norm(rng, axis):
    w = rng.standard_normal((5, 3))
    made = nn.unit_norm(Tensor(w), axis=axis)
    np.testing.assert_allclose(made.data, w / np.sqrt((w**2).sum(axis=axis, keepdims=True)), rtol=1e-12)
    gradcheck(lambda w: nn.unit_norm(w, axis=axis), w, order=2)


def test_unit_norm_of_a_dead_unit():
    w = Tensor(np.array([[0.0, 3.0], [0.0, 4.0]]), requires_grad=True, dtype=np.float32)
    made = nn.unit_norm(w)
    made.sum().backward()
    assert made.dtype == np.float32 and made.tolist() == [[0.0, np.float32(0.6)], [0.0, np.float32(0.8)]]
    assert np.isfinite(w.grad.data).all()


# -- the attribute --------------------------------------------------------------------------------------------------


def test_the_attribute_is_computed_and_the_original_trained(rng):
    net = layer()
    original, x = net.weight, rng.standard_normal((5, 4))
    assert nn.parametrise(net, "weight", rows) is net
    np.testing.assert_allclose(np.sqrt((net.weight.data**2).sum(axis=1)), 1, rtol=1e-12)
    np.testing.assert_allclose(net(Tensor(x)).data, x @ net.weight.data + net.bias.data, rtol=1e-12)
    assert dict(net.named_parameters()) == {"bias": net.bias, "parametrised.weight.original": original}
    before, step = original.data.copy(), optim.SGD(net.parameters(), lr=0.5)
    (net(x) ** 2).sum().backward()
    step.step()
    assert not np.array_equal(original.data, before)
    np.testing.assert_allclose(np.sqrt((net.weight.data**2).sum(axis=1)), 1, rtol=1e-12)


def test_gradient_goes_through_the_function(rng):
    net = nn.parametrise(layer(), "weight", nn.unit_norm)
    x = rng.standard_normal((5, 4))

    def function(w, b):
        return nn.functional_call(net, {"parametrised.weight.original": w, "bias": b}, x).tanh()

    gradcheck(function, rng.standard_normal((4, 3)), rng.standard_normal(3), order=2)


def test_functions_stack_and_may_have_parameters_of_their_own(rng):
    net = layer()
    w = net.weight.data.copy()
    nn.parametrise(net, "weight", ops.abs)
    nn.parametrise(net, "weight", Scaled())
    expected = 3 * np.abs(w) / np.sqrt((w**2).sum(axis=0))
    np.testing.assert_allclose(net.weight.data, expected, rtol=1e-12)
    assert [name for name, _ in net.named_parameters()] == [
        "bias", "parametrised.weight.original", "parametrised.weight.functions.1.length"]  # fmt: skip
    assert "(parametrised.weight): Parametrised(abs, Scaled" in repr(net)
    net.weight.sum().backward()
    assert all(p.grad is not None for name, p in net.named_parameters() if name != "bias")


def test_two_attributes_of_one_module():
    net = layer()
    nn.parametrise(nn.parametrise(net, "weight", ops.softplus), "bias", ops.exp)
    assert (net.weight.data > 0).all() and net.bias.tolist() == [1.0] * 3
    nn.unparametrise(net, "weight")
    assert net.bias.tolist() == [1.0] * 3 and type(net.weight) is nn.Parameter


def test_a_tied_layer_uses_the_computed_weight():
    half = nn.parametrise(layer(), "weight", nn.unit_norm)
    back = nn.Tied(half)
    assert np.array_equal(back.weight.data, half.weight.data.T)
    with pytest.raises(SettingError, match="Tied has no parameter 'weight' of its own. It has bias"):
        nn.parametrise(back, "weight", nn.unit_norm)


# -- state and copies -----------------------------------------------------------------------------------------------


def test_a_file_of_computed_weights_is_not_mistaken_for_plain_ones():
    net, plain = nn.parametrise(layer(), "weight", nn.unit_norm), layer()
    with pytest.raises(SettingError, match="needs weight .* has parametrised.weight.original"):
        plain.load_state_dict(net.state_dict())
    other = nn.parametrise(nn.Linear(4, 3), "weight", nn.unit_norm)
    other.load_state_dict(net.state_dict())
    np.testing.assert_allclose(other.weight.data, net.weight.data, rtol=1e-6)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(duplicate):
    net = nn.parametrise(layer(), "weight", rows)
    made = duplicate(net)
    assert np.array_equal(made.weight.data, net.weight.data)
    if duplicate is not copy.copy:
        made.parametrised["weight"].original.data = np.ones((4, 3))
        assert not np.array_equal(made.weight.data, net.weight.data)


def test_modes_reach_the_original():
    net = nn.parametrise(layer(), "weight", rows)
    net.requires_grad_(False).astype(np.float32)
    assert net.weight.dtype == np.float32 and not net(np.ones((1, 4), np.float32)).requires_grad
    assert "(n, 3)" in net.summary(4) and "15 parameters (15 frozen)" in net.summary()


def test_unparametrise_keeps_the_value():
    net = nn.parametrise(layer(), "weight", rows)
    value = net.weight.data.copy()
    assert nn.unparametrise(net, "weight") is net
    assert type(net.weight) is nn.Parameter and np.array_equal(net.weight.data, value) and net.weight.is_leaf
    assert sorted(net.state_dict()) == ["bias", "weight"] and not hasattr(net, "parametrised")
    net.weight = nn.Parameter(np.zeros((4, 3)))
    frozen = nn.parametrise(layer().requires_grad_(False), "weight", rows)
    assert not nn.unparametrise(frozen, "weight").weight.requires_grad


# -- what it refuses ------------------------------------------------------------------------------------------------


def test_refusals():
    net = nn.Sequential(layer())
    for where, name in [(net, "0.weight"), (net, "weight"), (net[0], "forward"), (net[0], "training")]:
        with pytest.raises(SettingError, match=f"no parameter '{name}' of its own. It has (none|weight, bias)"):
            nn.parametrise(where, name, ops.abs)
    with pytest.raises(SettingError, match="a Tensor is not a Module"):
        nn.parametrise(Tensor([1.0]), "weight", ops.abs)
    with pytest.raises(DtypeError, match="_cut returned a ndarray, not a Tensor"):
        nn.parametrise(net[0], "weight", partial(_cut))
    assert type(net[0].weight) is nn.Parameter  # as it was
    for where, name in [(net[0], "weight"), (3, "weight")]:
        with pytest.raises(SettingError, match="unparametrise: 'weight' is not computed here. Computed are: none"):
            nn.unparametrise(where, name)


def _cut(w):
    return w.numpy()


def test_a_computed_attribute_cannot_be_set():
    net = nn.parametrise(layer(), "weight", rows)
    with pytest.raises(SettingError, match=r"Linear: weight is computed .*\.parametrised\['weight'\]\.original"):
        net.weight = nn.Parameter(np.zeros((4, 3)))
    with no_grad():
        net.bias = None


def test_a_failing_function_is_located():
    net = nn.Sequential(nn.parametrise(layer(), "bias", ops.abs))
    net[0].parametrised["bias"].functions.append(lambda b: b @ b.reshape(1, 3))
    with pytest.raises(ShapeError, match=r"^Sequential.0.parametrised.bias, Parametrised\(abs, <lambda>\): matmul"):
        net(np.ones((1, 4)))


def test_other_attributes_are_missing_as_usual():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'") as caught:
        nn.parametrise(layer(), "weight", rows).wieght
    assert caught.value.name == "wieght" and not hasattr(layer(), "parametrised")
