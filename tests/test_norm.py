"""Normalisation: against the formula, in both modes, with its memory; gradients; what it refuses."""

import copy
import pickle
import re

import numpy as np
import pytest

from tinyae import Tensor, checkpoint, gradcheck, nn
from tinyae.errors import SettingError, ShapeError


def normalised(x, axes, eps=1e-5):
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


def filled(layer, rng):
    """The layer with a weight and a bias that are not 1 and 0."""
    layer.weight.data, layer.bias.data = rng.uniform(0.5, 2, layer.weight.shape), rng.standard_normal(layer.bias.shape)
    return layer


def spread(values, ndim):
    return values.reshape(1, -1, *[1] * (ndim - 2))


BATCH = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (2, 3, 4, 5)),
         (nn.BatchNorm2d, (1, 3, 2, 2))]  # fmt: skip
batch = pytest.mark.parametrize(("cls", "shape"), BATCH)


# -- batch norm -----------------------------------------------------------------------------------------------------


@batch
def test_batch_norm_in_training(rng, cls, shape):
    x = rng.normal(2.0, 3.0, shape)
    axes = (0, *range(2, x.ndim))
    layer = filled(cls(3, dtype=np.float64), rng)
    expected = normalised(x, axes) * spread(layer.weight.data, x.ndim) + spread(layer.bias.data, x.ndim)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-10, atol=1e-12)
    plain = cls(3, affine=False, eps=0.1, dtype=np.float64)
    np.testing.assert_allclose(plain(x), normalised(x, axes, 0.1), rtol=1e-10, atol=1e-12)
    assert plain.weight is plain.bias is None and not list(plain.parameters())


@batch
def test_batch_norm_remembers(rng, cls, shape):
    layer = cls(3, momentum=0.3, dtype=np.float64)
    mean, var = np.zeros(3), np.ones(3)
    axes = (0, *range(2, len(shape)))
    for _ in range(3):
        x = rng.normal(2.0, 3.0, shape)
        layer(Tensor(x, requires_grad=True))
        mean, var = 0.7 * mean + 0.3 * x.mean(axis=axes), 0.7 * var + 0.3 * x.var(axis=axes, ddof=1)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, var, rtol=1e-12)
    assert not layer.running_mean.requires_grad
    x = rng.standard_normal(shape)
    expected = (x - spread(mean, x.ndim)) / np.sqrt(spread(var, x.ndim) + 1e-5)
    np.testing.assert_allclose(layer.eval()(Tensor(x)).data, expected, rtol=1e-10, atol=1e-12)
    kept = layer.state_dict()
    layer(x * 5)
    assert all(np.array_equal(kept[name], a) for name, a in layer.state_dict().items()), "evaluation changes nothing"


@batch
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_gradients(rng, cls, shape, training):
    layer = cls(3, dtype=np.float64).train(training)
    layer.running_mean.data, layer.running_var.data = rng.standard_normal(3), rng.uniform(0.5, 2, 3)

    def function(x, w, b):
        return nn.functional_call(layer, {"weight": w, "bias": b}, x)

    gradcheck(function, rng.standard_normal(shape), rng.standard_normal(3), rng.standard_normal(3), order=2)


def test_batch_norm_without_memory(rng):
    layer = nn.BatchNorm1d(3, track_running_stats=False, dtype=np.float64)
    x = rng.standard_normal((5, 3))
    assert not list(layer.buffers())
    assert np.array_equal(layer(Tensor(x)).data, layer.eval()(Tensor(x)).data)


def test_batch_norm_names_and_repr():
    assert list(nn.BatchNorm1d(2).state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert repr(nn.BatchNorm1d(2)) == "BatchNorm1d(2)"
    assert repr(nn.BatchNorm2d(2, momentum=0.2, affine=False)) == "BatchNorm2d(2, momentum=0.2, affine=False)"
    assert "(n, 2, 4, 4)" in nn.Sequential(nn.BatchNorm2d(2)).summary((2, 4, 4))


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 3, 1)])
def test_one_value_has_no_variance(shape):
    layer = nn.BatchNorm1d(3)
    kept = layer.state_dict()
    with pytest.raises(ShapeError, match=r"BatchNorm1d\(3\): batch_norm: x \(.*value.* per channel.* eval\(\)"):
        layer(np.ones(shape, np.float32))
    assert all(np.array_equal(kept[name], a) for name, a in layer.state_dict().items())
    assert layer.eval()(np.ones(shape, np.float32)).shape == shape
    with pytest.raises(ShapeError, match="value"):
        nn.BatchNorm1d(3, track_running_stats=False).eval()(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.BatchNorm1d(3), (4, 2), r"\(n, 3\) or \(n, 3, length\)"),
        (nn.BatchNorm1d(3), (3,), r"\(n, 3\)"),
        (nn.BatchNorm1d(3), (2, 3, 4, 4), r"\(n, 3\) or \(n, 3, length\)"),
        (nn.BatchNorm2d(3), (4, 3), r"\(n, 3, height, width\)"),
        (nn.LayerNorm((3, 4)), (5, 4, 3), r"\(\.\.\., 3, 4\)"),
        (nn.LayerNorm(3), (), r"\(\.\.\., 3\)"),
        (nn.GroupNorm(2, 4), (5, 3), r"\(n, 4, \.\.\.\)"),
        (nn.GroupNorm(2, 4), (4,), r"\(n, 4, \.\.\.\)"),
    ],
)
def test_shapes_are_checked(layer, shape, expected):
    with pytest.raises(ShapeError, match=rf"_norm: x {re.escape(str(shape))}, expected {expected}"):
        layer(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(0),
        lambda: nn.BatchNorm1d(3, eps=-1.0),
        lambda: nn.BatchNorm1d(3, momentum=1.5),
        lambda: nn.BatchNorm2d(3, momentum=None),
        lambda: nn.LayerNorm(()),
        lambda: nn.LayerNorm((3, 0)),
        lambda: nn.GroupNorm(3, 4),
        lambda: nn.GroupNorm(0, 4),
    ],
)
def test_settings_are_checked(make):
    with pytest.raises(SettingError, match="Norm"):
        make()


def test_checkpoint_does_not_count_a_batch_twice(rng):
    layer = nn.BatchNorm1d(3, dtype=np.float64)
    twin = copy.deepcopy(layer)
    x = rng.standard_normal((5, 3))
    checkpoint(lambda x: layer(x), Tensor(x, requires_grad=True)).sum().backward()
    twin(x)
    assert np.array_equal(layer.running_mean.data, twin.running_mean.data)


# -- layer and group norm -------------------------------------------------------------------------------------------


ROWS = [(4, (3, 4)), (4, (4,)), ((3, 4), (2, 3, 4)), ([4], (2, 3, 4)), (4, (0, 4))]


@pytest.mark.parametrize(("given", "shape"), ROWS)
def test_layer_norm(rng, given, shape):
    layer = filled(nn.LayerNorm(given, dtype=np.float64), rng)
    x = rng.normal(2.0, 3.0, shape)
    axes = tuple(range(-len(layer.shape), 0))
    expected = normalised(x, axes) * layer.weight.data + layer.bias.data
    for mode in (True, False):
        np.testing.assert_allclose(layer.train(mode)(Tensor(x)).data, expected, rtol=1e-10, atol=1e-12)
    plain = nn.LayerNorm(given, eps=0.1, affine=False)
    np.testing.assert_allclose(plain(x), normalised(x, axes, 0.1), rtol=1e-10, atol=1e-12)

    def function(x, w, b):
        return nn.functional_call(layer, {"weight": w, "bias": b}, x)

    gradcheck(function, x, layer.weight.data, layer.bias.data, order=2)


GROUPS = [(1, (3, 4)), (2, (3, 4)), (2, (3, 4, 5)), (4, (2, 4, 2, 3)), (2, (0, 4))]


@pytest.mark.parametrize(("groups", "shape"), GROUPS)
def test_group_norm(rng, groups, shape):
    layer = filled(nn.GroupNorm(groups, 4, dtype=np.float64), rng)
    x = rng.normal(2.0, 3.0, shape)
    axes = tuple(range(1, x.ndim))
    rows = [np.concatenate([normalised(p, axes, eps) for p in np.split(x, groups, axis=1)], 1) for eps in (1e-5, 0.1)]
    plain = nn.GroupNorm(groups, 4, eps=0.1, affine=False)
    np.testing.assert_allclose(plain(x), rows[1], rtol=1e-10, atol=1e-12)
    expected = rows[0] * spread(layer.weight.data, x.ndim) + spread(layer.bias.data, x.ndim)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-10, atol=1e-12)

    def function(x, w, b):
        return nn.functional_call(layer, {"weight": w, "bias": b}, x)

    gradcheck(function, x, layer.weight.data, layer.bias.data, order=2)
    assert repr(layer) == f"GroupNorm({groups}, 4)" and repr(nn.GroupNorm(2, 4, affine=False)).endswith("affine=False)")


# -- all ------------------------------------------------------------------------------------------------------------

EVERY = [nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.LayerNorm(3), nn.GroupNorm(3, 3)]


@pytest.mark.parametrize("layer", EVERY, ids=repr)
def test_float32_stays_and_copies_share_nothing(rng, layer):
    shape = (4, 3, 3, 3) if isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm)) else (4, 3)
    x = Tensor(rng.standard_normal(shape), dtype=np.float32, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32 and layer.weight.tolist() == [1.0] * 3
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(made.eval()(x).data, layer.eval()(x).data)
        assert made.weight is not layer.weight
    assert layer.train().astype(np.float64)(x.astype(np.float64)).dtype == np.float64
    layer.astype(np.float32)
