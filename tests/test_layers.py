"""Layers: each against its formula, its gradient by finite differences, its errors."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from tinyae import OPS, Generator, Tensor, gradcheck, nn, ops
from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError

X = np.random.default_rng(5).uniform(0.1, 1.5, (3, 4)) * np.array([1, -1, 1, -1])  # away from the kink at 0

ACTIVATIONS = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)),
    "logsigmoid": lambda x: -np.log1p(np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
}


# -- Linear ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (5,), (2, 5), (0,)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(rng, lead, bias):
    layer = nn.Linear(4, 3, bias=bias, bias_init="normal", generator=1, dtype=np.float64)
    x = rng.standard_normal((*lead, 4))
    expected = x @ layer.weight.data + (layer.bias.data if bias else 0)
    assert layer.weight.shape == (4, 3)
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-12)
    assert (layer.bias is None) is not bias
    assert len(list(layer.parameters())) == 1 + bias


@pytest.mark.parametrize("bias", [True, False])
def test_linear_gradients(rng, bias):
    layer = nn.Linear(4, 3, bias=bias, generator=1, dtype=np.float64)

    def function(x, *parameters):
        layer.weight, layer.bias = parameters if bias else (parameters[0], None)
        return layer(x).tanh()

    gradcheck(function, rng.standard_normal((5, 4)), *[p.data for p in layer.parameters()], order=2)


def test_linear_starts_glorot_uniform_with_zero_bias():
    layer = nn.Linear(300, 200, generator=0)
    bound = np.sqrt(6 / 500)
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    assert 0.99 * bound < np.abs(layer.weight.data).max() <= bound
    assert not layer.bias.data.any()


def test_linear_draws_from_the_generator_it_is_given():
    a, b = nn.Linear(3, 2, generator=7), nn.Linear(3, 2, generator=np.random.default_rng(7))
    assert np.array_equal(a.weight.data, b.weight.data)
    rng = np.random.default_rng(7)
    first, second = nn.Linear(3, 2, generator=rng), nn.Linear(3, 2, generator=rng)
    assert np.array_equal(first.weight.data, a.weight.data) and not np.array_equal(second.weight.data, a.weight.data)
    assert not np.array_equal(nn.Linear(3, 2).weight.data, nn.Linear(3, 2).weight.data)
    both = nn.Linear(3, 2, init="normal", bias_init="normal", generator=7)
    assert not np.array_equal(both.bias.data, both.weight.data[0])  # one stream for the two


def test_linear_bias_knows_the_fan_in_of_the_weight():
    layer = nn.Linear(100, 4000, init="pytorch_linear", bias_init="pytorch_linear", generator=0)
    for p in layer.parameters():
        assert 0.0999 < np.abs(p.data).max() <= 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"n_in": 0}, SettingError, "n_in is 0"),
        ({"n_out": 2.5}, SettingError, "n_out is 2.5"),
        ({"n_out": True}, SettingError, "n_out is True"),
        ({"init": "glorot"}, SettingError, "glorot_uniform"),
        ({"bias_init": ["zeros"]}, SettingError, "init="),
        ({"generator": -1}, SettingError, "generator=-1"),
        ({"generator": True}, SettingError, "generator=True"),
        ({"dtype": np.int32}, DtypeError, "int32"),
        ({"dtype": "float"}, DtypeError, None),
        ({"dtype": "no such"}, DtypeError, "no such"),
    ],
)
def test_linear_refuses(arguments, error, text):
    if arguments == {"dtype": "float"}:
        assert nn.Linear(2, 2, dtype="float").weight.dtype == np.float64  # NumPy's name for it
        return
    with pytest.raises(error, match=text):
        nn.Linear(**{"n_in": 2, "n_out": 2, **arguments})


# -- activations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_is_its_formula(name):
    np.testing.assert_allclose(nn.activation(name)(Tensor(X)).data, ACTIVATIONS[name](X), rtol=1e-12)


def test_gelu():
    # Phi(1) and Phi(-1), from a table of the normal distribution.
    y = nn.activation("gelu")(Tensor([0.0, 1.0, -1.0], dtype=np.float64)).data
    np.testing.assert_allclose(y, [0, 0.8413447460685429, -0.15865525393145707], rtol=1e-12)


@pytest.mark.parametrize("name", sorted([*ACTIVATIONS, "gelu"]))
def test_activation_gradients(name):
    gradcheck(nn.activation(name), X, order=2)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LeakyReLU(0.3), np.where(X > 0, X, 0.3 * X)),
        (nn.ELU(0.5), np.where(X > 0, X, 0.5 * np.expm1(X))),
        (nn.Softmax(axis=0), np.exp(X) / np.exp(X).sum(axis=0)),
        (nn.LogSoftmax(axis=0), X - np.log(np.exp(X).sum(axis=0))),
        (nn.Hardtanh(-0.3, 0.7), np.clip(X, -0.3, 0.7)),
        (nn.GELU("tanh"), X / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))),
    ],
    ids=repr,
)
def test_activation_settings(layer, expected):
    np.testing.assert_allclose(layer(Tensor(X)).data, expected, rtol=1e-12)
    gradcheck(layer, X, order=2)


def test_every_activation_op_has_a_layer():
    """A row added to ops/activations.py wants a class here; erf and erfc are helpers of gelu's."""
    own = {n for n, o in OPS.items() if o.__module__.endswith(".activations")} - {"erf", "erfc"}
    assert own <= set(nn.activations._ACTIVATIONS)
    for name in own:
        assert not np.array_equal(nn.activation(name)(X), X), name


def test_activation_by_name():
    assert type(nn.activation("relu")) is nn.ReLU
    assert type(nn.activation(None)) is type(nn.activation("linear")) is nn.Identity
    assert nn.activation("relu") is not nn.activation("relu")
    for bad in ("swoosh", "", 3, ["relu"]):
        with pytest.raises(SettingError, match="leaky_relu"):
            nn.activation(bad)


@pytest.mark.parametrize("low_high", [(1, 1), (2, 0), (0, np.nan)])
def test_hardtanh_wants_an_interval(low_high):
    with pytest.raises(SettingError, match="low < high"):
        nn.Hardtanh(*low_high)


def test_gelu_refuses_other_approximations():
    with pytest.raises(SettingError, match='GELU: approximate="?.erf'):
        nn.GELU("erf")
    assert repr(nn.GELU()) == "GELU()" and repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"


@pytest.mark.parametrize("make", [nn.LeakyReLU, nn.ELU, nn.Dropout, nn.GaussianNoise])
@pytest.mark.parametrize("value", [-0.1, np.nan, "a", None])
def test_settings_are_checked(make, value):
    with pytest.raises(SettingError, match="of at least 0"):
        make(value)


# -- shapes ---------------------------------------------------------------------------------------------------------


def test_flatten(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    assert np.array_equal(nn.Flatten()(Tensor(x)).data, x.reshape(2, 60))
    assert nn.Flatten(start=2)(x).shape == (2, 3, 20)
    assert nn.Flatten(start=0)(x).shape == (120,)
    assert nn.Flatten()(np.zeros((0, 3, 4))).shape == (0, 12)
    assert nn.Flatten()(np.zeros(3)).shape == (3, 1)
    gradcheck(nn.Flatten(), x, order=2)
    for start, shape in [(3, (2, 2)), (-1, (2, 2))]:
        with pytest.raises(AxisError, match=f"start={start}"):
            nn.Flatten(start)(np.zeros(shape))


def test_reshape(rng):
    x = rng.standard_normal((2, 12))
    assert np.array_equal(nn.Reshape(3, 4)(Tensor(x)).data, x.reshape(2, 3, 4))
    assert nn.Reshape((3, 4))(x).shape == nn.Reshape([3, -1])(x).shape == nn.Reshape(-1, 4)(x).shape == (2, 3, 4)
    assert nn.Reshape(3, -1)(np.zeros((0, 12))).shape == (0, 3, 4)
    assert nn.Reshape(-1)(np.zeros((5, 2, 3))).shape == (5, 6)
    gradcheck(nn.Reshape(4, 3), x, order=2)
    for layer in (nn.Reshape(5, 2), nn.Reshape(5, -1), nn.Reshape()):
        with pytest.raises(ShapeError, match=r"Reshape.*\(2, 12\)"):
            layer(x)
    for bad in [(-1, -1), (0, 12), (-2, 6), (2.0, 6)]:
        with pytest.raises(SettingError, match="Reshape"):
            nn.Reshape(*bad)


# -- Dropout --------------------------------------------------------------------------------------------------------


def test_dropout_statistics():
    y = nn.Dropout(0.3, 0)(Tensor(np.ones(20000, np.float32))).data
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) * np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 20000)
    assert abs(y.mean() - 1) < 0.03


def test_dropout_is_the_identity_in_evaluation_and_for_p_0():
    x = Tensor(X)
    layer = nn.Dropout(0.5, 0)
    assert nn.Sequential(layer).eval()(x) is x
    assert layer.generator.counter == 0  # no noise was drawn
    assert nn.Dropout(0.0, 0)(x) is x
    assert layer.train()(x) is not x


def test_dropout_noise_is_new_each_time_and_repeats_on_demand():
    generator = Generator(3)
    layer = nn.Dropout(0.5, generator)
    assert layer.generator is generator
    x = np.ones(64)
    first, second = layer(x), layer(x)
    assert not np.array_equal(first, second)
    generator.counter = 0
    assert np.array_equal(layer(x), first)
    assert np.array_equal(nn.Dropout(0.5, 3)(x), first)
    assert not np.array_equal(nn.Dropout(0.5, np.random.default_rng(3))(x), nn.Dropout(0.5)(x))


def test_dropout_gradient(rng):
    layer = nn.Dropout(0.4, 1)

    def function(x):
        layer.generator.counter = 0
        return layer(x).square()

    gradcheck(function, rng.standard_normal((4, 5)), order=2)


def test_dropout_refuses_to_drop_everything():
    with pytest.raises(SettingError, match="p=1"):
        nn.Dropout(1)
    with pytest.raises(SettingError, match="seed"):
        nn.Dropout(0.5, "a")


# -- GaussianNoise --------------------------------------------------------------------------------------------------


def test_gaussian_noise():
    x = np.full(20000, 2.0, np.float32)
    layer = nn.GaussianNoise(0.3, 0)
    noise = layer(Tensor(x)).data - x
    assert noise.dtype == np.float32 and layer.generator.counter == 1
    assert abs(noise.mean()) < 4 * 0.3 / np.sqrt(20000) and abs(noise.std() / 0.3 - 1) < 0.02
    assert not np.array_equal(layer(x) - x, noise)
    layer.generator.counter = 0
    assert np.array_equal(layer(x) - x, noise)
    for quiet in (nn.GaussianNoise(0.3).eval(), nn.GaussianNoise(0.0)):
        assert quiet(x) is x
    assert repr(layer) == "GaussianNoise(0.3)"


def test_gaussian_noise_has_the_gradient_of_the_identity(rng):
    x = Tensor(rng.standard_normal((4, 5)), requires_grad=True)
    g = rng.standard_normal((4, 5))
    nn.GaussianNoise(1.0, 0)(x).backward(g)
    assert np.array_equal(x.grad.data, g)


# -- Embedding ------------------------------------------------------------------------------------------------------


def test_embedding_takes_rows(rng):
    layer = nn.Embedding(5, 3, generator=0, dtype=np.float64)
    rows = np.array([[1, 4, 1], [0, 0, 1]])
    for x in (rows, Tensor(rows), rows.astype(np.uint8), rows.tolist()):
        assert np.array_equal(layer(x).data, layer.weight.data[rows])
    assert layer(3).shape == (3,) and layer(np.zeros((0, 2), int)).shape == (0, 2, 3)
    g = rng.standard_normal((2, 3, 3))
    layer(rows).backward(g)
    expected = np.zeros((5, 3))
    for row, part in zip(rows.ravel(), g.reshape(-1, 3)):
        expected[row] += part
    np.testing.assert_allclose(layer.weight.grad.data, expected, rtol=1e-12)
    assert 0.9 < nn.Embedding(100, 100, generator=0).weight.data.std() < 1.1 and repr(layer) == "Embedding(5, 3)"


def test_embedding_is_not_fooled_by_a_later_change_of_its_rows():
    layer, rows = nn.Embedding(3, 1), np.array([0, 1])
    y = layer(rows)
    rows[:] = 2
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1.0], [1.0], [0.0]]


@pytest.mark.parametrize(
    ("rows", "error", "text"),
    [
        ([0, 5], AxisError, "from 0 to 5 where 0 to 4"),
        ([-1], AxisError, "from -1 to -1"),
        ([0.0], DtypeError, r"float64 values of shape \(1,\)"),
        ([True], DtypeError, "bool values"),
    ],
)
def test_embedding_refuses(rows, error, text):
    with pytest.raises(error, match=f"Embedding.*{text}"):
        nn.Embedding(5, 3)(rows)


# -- Tied -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_tied(rng, bias):
    half = nn.Linear(4, 3, generator=0, dtype=np.float64)
    back = nn.Tied(half, bias=bias, bias_init="ones")
    z = rng.standard_normal((5, 3))
    np.testing.assert_allclose(back(Tensor(z)).data, z @ half.weight.data.T + bias, rtol=1e-12)
    net = nn.Sequential(half, nn.Sigmoid(), back)
    names = ["0.weight", "0.bias", "2.bias"][: 2 + bias]
    assert [name for name, _ in net.named_parameters()] == names == list(net.state_dict())
    assert repr(back).startswith("Tied(3, 4\n" if bias else "Tied(3, 4, bias=False\n")
    x = rng.standard_normal((5, 4))

    def function(*arrays):
        return nn.functional_call(net, dict(zip(names, arrays)), x)

    gradcheck(function, *[p.data for p in net.parameters()], order=2)  # the weight's is the sum of both uses


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_a_tied_net_stay_tied(duplicate):
    half = nn.Linear(4, 3)
    net = duplicate(nn.Sequential(half, nn.Tied(half)))
    assert net[1].linear is net[0] is not half
    net[0].weight.data = net[0].weight.data * 2
    assert np.array_equal(net[1].weight.data, net[0].weight.data.T)


def test_tied_is_counted_once_and_refuses_what_has_no_weight():
    half = nn.Linear(4, 3)
    assert nn.Sequential(half, nn.Tied(half)).summary(4).endswith("19 parameters, 76 bytes, output (n, 4)")
    assert nn.Tied(half, bias_init="torch", generator=0).bias.dtype == np.float32
    bias = nn.Tied(nn.Linear(2000, 100), bias_init="torch", generator=0).bias.data
    assert 0.099 < np.abs(bias).max() <= 0.1  # it adds up 100 inputs
    for bad in (nn.ReLU(), half.weight, nn.BatchNorm1d(3), SimpleNamespace(weight=half.weight)):
        with pytest.raises(SettingError, match=r"Tied: a \w+ has no weight of two axes"):
            nn.Tied(bad)


# -- Lambda ---------------------------------------------------------------------------------------------------------


def test_lambda():
    assert np.array_equal(nn.Lambda(ops.sin)(Tensor(X)).data, np.sin(X))
    assert nn.Lambda(lambda a, b: a + b)(1, 2) == 3
    assert repr(nn.Lambda(ops.sin)) == "Lambda(sin)"
    net = pickle.loads(pickle.dumps(nn.Sequential(nn.Lambda(ops.sin))))
    assert net[0].function is ops.sin is copy.deepcopy(net)[0].function
    with pytest.raises(SettingError, match="Lambda: 3 cannot be called"):
        nn.Lambda(3)


# -- every layer ----------------------------------------------------------------------------------------------------

ROWS, IMAGES, SIGNALS, STEPS = (4, 6), (2, 6, 8, 8), (2, 6, 8), (2, 5, 6)
LAYERS = [  # each, and the shape of an input
    *[(nn.activation(name), ROWS) for name in nn.activations._ACTIVATIONS],
    (nn.Linear(6, 3), ROWS),
    (nn.Tied(nn.Linear(3, 6, bias=False)), ROWS), (nn.Embedding(5, 2), None), (nn.Flatten(), IMAGES),
    (nn.Reshape(3, 2), ROWS), (nn.Dropout(0.5), ROWS), (nn.GaussianNoise(), ROWS), (nn.Lambda(ops.sin), ROWS),
    (nn.Sequential(nn.Linear(6, 3), nn.ReLU()), ROWS), (nn.ModuleList([nn.ReLU()]), None),
    (nn.ModuleDict({"a": nn.ReLU()}), None), (nn.BatchNorm1d(6), ROWS), (nn.BatchNorm2d(6), IMAGES),
    (nn.LayerNorm(6), ROWS), (nn.GroupNorm(2, 6), IMAGES), (nn.Conv1d(6, 2, 3), SIGNALS), (nn.Conv2d(6, 2, 3), IMAGES),
    (nn.ConvTranspose1d(6, 2, 3), SIGNALS), (nn.ConvTranspose2d(6, 2, 3), IMAGES), (nn.MaxPool1d(2), SIGNALS),
    (nn.MaxPool2d(2), IMAGES), (nn.AvgPool1d(2), SIGNALS), (nn.AvgPool2d(2), IMAGES), (nn.Upsample(2), IMAGES),
    (nn.RNNCell(6, 2), ROWS), (nn.LSTMCell(6, 2), ROWS), (nn.GRUCell(6, 2), ROWS),
    (nn.RNN(6, 2), STEPS), (nn.LSTM(6, 2), STEPS), (nn.GRU(6, 2), STEPS),
    (nn.parametrise(nn.Linear(6, 3), "weight", nn.unit_norm), ROWS),
]  # fmt: skip


def flat(y):
    """The Tensors in a layer's answer."""
    return [t for part in y for t in flat(part)] if isinstance(y, tuple) else [y]


def test_the_list_of_layers_is_whole():
    public = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    modules = {cls for cls in public if issubclass(cls, nn.Module)} - {nn.Module, nn.Parametrised}
    assert {type(layer) for layer, _ in LAYERS} == modules


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: repr(v).partition("\n")[0])
def test_every_layer_copies_pickles_and_keeps_float32(layer, shape):
    twins = [layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    assert len({repr(twin) for twin in twins}) == 1 and repr(layer).startswith(type(layer).__name__)
    assert all(list(twin.state_dict()) == list(layer.state_dict()) for twin in twins)
    for mine in [*layer.parameters(), *layer.buffers()]:
        for other in [*twins[1].parameters(), *twins[1].buffers(), *twins[2].parameters(), *twins[2].buffers()]:
            assert not np.shares_memory(mine._data, other._data)
    if shape is None:
        return
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for mode in (True, False):
        answers = [flat(twin.train(mode)(Tensor(x))) for twin in twins]  # noise too: the generator was copied
        assert all(t.dtype == np.float32 for t in answers[0])
        for other in answers[1:]:
            assert all(np.array_equal(a.data, b.data) for a, b in zip(answers[0], other, strict=True))
    wide = copy.deepcopy(layer).astype(np.float64)
    assert all(t.dtype == np.float64 for t in flat(wide(Tensor(x, dtype=np.float64))))
    parts = flat(layer(Tensor(x, requires_grad=True)))
    sum((t * t).sum() for t in parts).backward()
    assert all(p.grad is not None and p.grad.dtype == np.float32 for p in layer.parameters())


# -- together -------------------------------------------------------------------------------------------------------


def test_a_whole_network_passes_gradcheck(rng):
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 6, bias=False), nn.Reshape(2, 3), nn.Sigmoid()
    ).astype("float64")
    x = rng.uniform(0, 1, (4, 2, 3))
    names = [name for name, _ in net.named_parameters()]

    def function(*arrays):
        for name, array in zip(names, arrays):
            index, attribute = name.split(".")
            setattr(net[int(index)], attribute, array)
        return nn.mse(net(x), x)

    gradcheck(function, *[rng.standard_normal(p.shape) for p in net.parameters()], order=2)


def test_float32_stays_float32(rng):
    every = map(nn.activation, sorted([*ACTIVATIONS, "gelu"]))
    net = nn.Sequential(nn.Linear(4, 3), *every, nn.Dropout(0.5), nn.Linear(3, 1))
    y = net(Tensor(rng.standard_normal((2, 4)).astype(np.float32)))
    assert y.dtype == np.float32
    y.sum().backward()
    assert all(p.grad.dtype == np.float32 for p in net.parameters())
