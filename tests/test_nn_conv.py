"""Convolution layers: what they start with, say of themselves and refuse; of the ops `test_conv.py` asks more."""

import copy
import pickle

import numpy as np
import pytest

from tinyae import Tensor, gradcheck, nn, ops, optim
from tinyae.errors import DtypeError, SettingError, ShapeError

CONVS = [nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d]


def image(rng, make, *channels):
    return rng.standard_normal((*channels, 8, 7)[: len(channels) + make._axes])


# -- what they compute ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("make", CONVS)
def test_a_layer_is_its_op(rng, make, bias):
    settings = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    settings |= {"output_padding": 1} if make._transposed else {}
    layer = make(4, 6, 3, bias=bias, bias_init="normal", generator=0, dtype="float64", **settings)
    name = f"conv{'_transpose' * make._transposed}{make._axes}d"
    x = image(rng, make, 5, 4)
    y = layer(Tensor(x))
    parameters = [p.data for p in layer.parameters()]
    assert len(parameters) == 1 + bias and (layer.bias is None) is not bias
    assert y.requires_grad and np.array_equal(y.data, getattr(ops, name)(x, *parameters, **settings))
    np.testing.assert_allclose(layer(x[0]).data, y.data[0], rtol=1e-12)
    ends = (4, 3) if make._transposed else (6, 2)
    assert layer.weight.shape == (*ends, *[3] * make._axes) and not bias or layer.bias.shape == (6,)


@pytest.mark.parametrize("make", CONVS)
def test_gradients(rng, make):
    layer = make(2, 4, 2, padding=1, groups=2, dtype="float64", generator=0)

    def function(x, weight, bias):
        layer.weight, layer.bias = weight, bias
        return layer(x).tanh()

    weight = rng.standard_normal(layer.weight.shape)
    gradcheck(function, image(rng, make, 2, 2), weight, rng.standard_normal(4), order=2)


def test_same_keeps_the_size(rng):
    x = rng.standard_normal((2, 1, 9, 6))
    for kernel in (1, 2, 3, (4, 5)):
        assert nn.Conv2d(1, 3, kernel, padding="same", dilation=2)(x).shape == (2, 3, 9, 6)
    assert nn.Conv1d(1, 3, 4, padding="same")(x[:, :, 0]).shape == (2, 3, 6)


def test_a_transposed_convolution_leads_back(rng):
    for size in (7, 8):
        x = rng.standard_normal((2, 3, size, size))
        down = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        up = nn.ConvTranspose2d(5, 3, 3, stride=2, padding=1, output_padding=1 - size % 2)
        assert up(down(x)).shape == x.shape
        assert up.weight.shape == down.weight.shape


@pytest.mark.parametrize(
    ("layer", "name", "settings"),
    [
        (nn.MaxPool2d(2), "max_pool", {"kernel_size": (2, 2)}),
        (nn.MaxPool2d((3, 2), 1, (1, 0), 2), "max_pool",
         {"kernel_size": (3, 2), "stride": 1, "padding": (1, 0), "dilation": 2}),
        (nn.MaxPool1d(3, padding=1), "max_pool", {"kernel_size": (3,), "padding": (1,)}),
        (nn.AvgPool2d(3, (1, 2), 1), "avg_pool", {"kernel_size": (3, 3), "stride": (1, 2), "padding": 1}),
        (nn.AvgPool1d(2, 1, 1, count_include_pad=False), "avg_pool",
         {"kernel_size": (2,), "stride": (1,), "padding": (1,), "count_include_pad": False}),
        (nn.Upsample(2), "upsample", {"scale_factor": 2}),
        (nn.Upsample((2, 3)), "upsample", {"scale_factor": (2, 3)}),
        (nn.Upsample([3], "linear"), "upsample", {"scale_factor": (3,), "mode": "linear"}),
        (nn.Upsample(2, mode="bilinear"), "upsample", {"scale_factor": (2, 2), "mode": "bilinear"}),
    ],
    ids=repr,
)  # fmt: skip
def test_pooling_and_upsampling_are_their_ops(rng, layer, name, settings):
    x = rng.standard_normal((2, 3, 8, 6))
    assert np.array_equal(layer(Tensor(x)).data, getattr(ops, name)(x, **settings))
    assert not list(layer.parameters())
    if not isinstance(layer, nn.Upsample):  # whose axes are counted after (N, C)
        assert np.array_equal(layer(x[0]), layer(x)[0])


def test_upsample_of_an_int_takes_signals_and_images(rng):
    layer = nn.Upsample(2)
    assert layer(np.zeros((2, 3, 4))).shape == (2, 3, 8) and layer(np.zeros((2, 3, 4, 5))).shape == (2, 3, 8, 10)


# -- what they start with -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "kernel"), [(nn.Conv2d, (3, 5)), (nn.Conv1d, (15,))])
def test_weights_start_glorot_uniform_with_zero_bias(make, kernel):
    layer = make(40, 60, kernel, generator=0)
    bound = np.sqrt(6 / ((40 + 60) * 15))
    assert layer.weight.dtype == layer.bias.dtype == np.float32 and not layer.bias.data.any()
    assert 0.999 * bound < np.abs(layer.weight.data).max() <= bound
    back = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}[make._axes](60, 40, kernel, generator=0)
    assert np.array_equal(back.weight.data, layer.weight.data)
    grouped = make(40, 60, kernel, groups=20, generator=0)  # 2 * 15 inputs of one output, 3 * 15 outputs of one input
    assert 0.999 * np.sqrt(6 / 75) < np.abs(grouped.weight.data).max() <= np.sqrt(6 / 75)


@pytest.mark.parametrize(("make", "fan_in"), [(nn.Conv2d, 20 * 9), (nn.ConvTranspose2d, 20 * 9)])
def test_fan_in_is_the_inputs_of_one_output(make, fan_in):
    layer = make(40, 4000, 3, groups=2, init="he_normal", bias_init="pytorch_linear", generator=0)
    assert layer.weight.data.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.01)
    assert 0.999 / np.sqrt(fan_in) < np.abs(layer.bias.data).max() <= 1 / np.sqrt(fan_in)


def test_pytorch_linear_is_how_pytorchs_convolutions_start():
    torch = pytest.importorskip("torch")
    his = torch.nn.Conv2d(64, 128, 3)
    ours = nn.Conv2d(64, 128, 3, init="pytorch_linear", bias_init="pytorch_linear", generator=0)
    for theirs, mine in zip(his.parameters(), ours.parameters()):
        assert tuple(theirs.shape) == mine.shape
        assert theirs.detach().abs().max().item() == pytest.approx(np.abs(mine.data).max(), rel=0.1)


def test_layers_draw_from_the_generator_they_are_given():
    first, second = (nn.Conv2d(2, 3, 3, bias_init="normal", generator=7) for _ in range(2))
    assert np.array_equal(first.weight.data, second.weight.data) and np.array_equal(first.bias.data, second.bias.data)
    rng = np.random.default_rng(7)
    assert np.array_equal(nn.Conv2d(2, 3, 3, generator=rng).weight.data, first.weight.data)
    assert not np.array_equal(nn.Conv2d(2, 3, 3, generator=rng).weight.data, first.weight.data)
    own = nn.Conv2d(2, 3, (1, 2), init=lambda shape, rng, dtype: np.full(shape, 3.0), dtype="float64")
    assert own.weight.data.tolist() == np.full((3, 2, 1, 2), 3.0).tolist() and own.weight.dtype == np.float64


# -- what they say --------------------------------------------------------------------------------------------------


def test_repr_is_how_it_was_made():
    for text in (
        "Conv2d(1, 16, 3)", "Conv2d(1, 16, 3, padding='same')", "Conv2d(4, 8, (3, 5), stride=2, groups=4, bias=False)",
        "Conv2d(1, 2, 3, padding=((1, 0), (0, 1)), dilation=(1, 2))", "Conv1d(2, 3, 4, stride=2)",
        "ConvTranspose2d(4, 8, 3, stride=2, padding=1, groups=2, output_padding=1)", "ConvTranspose1d(3, 2, 5)",
        "MaxPool2d(2)", "MaxPool2d((2, 3), stride=1, padding=1, dilation=2)", "MaxPool1d(2)",
        "AvgPool2d(3, stride=(1, 2), padding=1, count_include_pad=False)", "AvgPool1d(2)", "Upsample(2)",
        "Upsample((2, 3))", "Upsample(2, mode='bilinear')",
    ):  # fmt: skip
        assert repr(eval(text, vars(nn))) == text


def autoencoder(**settings):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same", **settings), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, padding="same", **settings), nn.ReLU(), nn.MaxPool2d(2, padding=1),
        nn.Upsample(2), nn.Conv2d(8, 16, 3, **settings), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 2, stride=2, **settings),
    )  # fmt: skip


def test_summary():
    assert autoencoder().summary((1, 28, 28)).splitlines() == [
        "name  layer                                output           parameters",
        "----------------------------------------------------------------------",
        "0     Conv2d(1, 16, 3, padding='same')     (n, 16, 28, 28)         160",
        "1     ReLU                                 (n, 16, 28, 28)",
        "2     MaxPool2d(2)                         (n, 16, 14, 14)",
        "3     Conv2d(16, 8, 3, padding='same')     (n, 8, 14, 14)        1,160",
        "4     ReLU                                 (n, 8, 14, 14)",
        "5     MaxPool2d(2, padding=1)              (n, 8, 8, 8)",
        "6     Upsample(2)                          (n, 8, 16, 16)",
        "7     Conv2d(8, 16, 3)                     (n, 16, 14, 14)       1,168",
        "8     ReLU                                 (n, 16, 14, 14)",
        "9     ConvTranspose2d(16, 1, 2, stride=2)  (n, 1, 28, 28)           65",
        "----------------------------------------------------------------------",
        "Sequential: 2,553 parameters, 9.973 KiB, output (n, 1, 28, 28)",
    ]


def test_an_error_names_the_layer():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(4)), nn.Upsample(2, "linear"))
    for shape, text in [
        ((2, 3, 8, 8), r"^Sequential.0.0, Conv2d\(1, 4, 3\): conv2d: x \(2, 3, 8, 8\), weight \(4, 1, 3, 3\), "),
        ((2, 1, 2, 2), r"^Sequential.0.0, Conv2d\(1, 4, 3\): conv2d: .*covers 3 x 3 .* has 2 x 2\. Pad more"),
        ((2, 1, 4, 4), r"^Sequential.0.1, MaxPool2d\(4\): max_pool: x \(2, 4, 2, 2\): the kernel covers 4 x 4"),
        ((2, 1, 8, 8), r"^Sequential.1, Upsample\(2, mode='linear'\): upsample: x \(2, 4, 1, 1\).*mode='bilinear'"),
    ]:
        with pytest.raises(ShapeError, match=text):
            net(np.ones(shape, np.float32))
    with pytest.raises(ShapeError, match=r"^Sequential.0.0, Conv2d.*x \(2, 5, 8, 8\)"):
        net.summary((5, 8, 8))


# -- what they refuse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"n_in": 0}, SettingError, "n_in is 0"),
        ({"n_out": 2.5}, SettingError, "n_out is 2.5"),
        ({"kernel_size": 0}, SettingError, "kernel_size=0"),
        ({"kernel_size": (3, 3, 3)}, SettingError, r"kernel_size=\(3, 3, 3\)"),
        ({"stride": 0}, SettingError, "stride=0"),
        ({"dilation": "2"}, SettingError, "dilation='2'"),
        ({"groups": 3}, SettingError, "groups=3 does not divide 4 and 6 channels"),
        ({"groups": 0}, SettingError, "groups is 0"),
        ({"padding": "full"}, SettingError, "padding='full'"),
        ({"padding": -1}, SettingError, "padding=-1"),
        ({"init": "glorot"}, SettingError, "glorot_uniform"),
        ({"init": "sparse"}, ShapeError, "not that of a matrix"),
        ({"generator": -1}, SettingError, "generator=-1"),
        ({"dtype": np.int32}, DtypeError, "int32"),
    ],
)
@pytest.mark.parametrize("make", CONVS)
def test_convolutions_refuse(make, arguments, error, text):
    with pytest.raises(error, match=text) as caught:
        make(**{"n_in": 4, "n_out": 6, "kernel_size": 3, **arguments})
    assert error is not SettingError or {"init", "generator"} & set(arguments) or make.__name__ in str(caught.value)


def test_only_plain_ones_know_words_for_padding():
    with pytest.raises(SettingError, match="Conv2d: padding='same' takes stride 1"):
        nn.Conv2d(1, 1, 3, stride=2, padding="same")
    with pytest.raises(SettingError, match="ConvTranspose1d: padding='same'. Give ints"):
        nn.ConvTranspose1d(1, 1, 3, padding="same")
    with pytest.raises(SettingError, match="ConvTranspose2d: output_padding=2. Give less than the stride"):
        nn.ConvTranspose2d(1, 1, 3, stride=2, output_padding=2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size=0"),
        (lambda: nn.MaxPool1d((2, 2)), "MaxPool1d: kernel_size"),
        (lambda: nn.MaxPool2d(2, stride=0), "MaxPool2d: stride=0"),
        (lambda: nn.MaxPool2d(3, dilation=0), "MaxPool2d: dilation=0"),
        (lambda: nn.MaxPool2d(2, padding=2), "MaxPool2d: padding=.*at most half"),
        (lambda: nn.AvgPool1d(3, padding="same"), "AvgPool1d: padding='same'"),
        (lambda: nn.Upsample(0), "Upsample: scale_factor=0"),
        (lambda: nn.Upsample(1.5), "Upsample: scale_factor=1.5"),
        (lambda: nn.Upsample(2, "bicubic"), "Upsample: mode='bicubic'"),
    ],
)
def test_pooling_and_upsampling_refuse(make, text):
    with pytest.raises(SettingError, match=text):
        make()


# -- in a network ---------------------------------------------------------------------------------------------------


def test_copies_and_dtypes(rng):
    net = autoencoder(generator=np.random.default_rng(0))
    x = rng.random((2, 1, 28, 28)).astype(np.float32)
    y = net(x)
    assert y.dtype == np.float32
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(twin(x).data, y.data)
    other = autoencoder()
    other.load_state_dict(net.state_dict())
    assert np.array_equal(other(x).data, y.data)
    assert set(net.state_dict()) >= {"0.weight", "0.bias", "9.weight"}
    wide = net.astype("float64")(x.astype(np.float64))
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide.data, y.data, rtol=1e-3, atol=1e-5)


def test_it_learns(rng):
    """Blurred spots through a bottleneck: 60 steps take away most of the squared error."""
    at = rng.uniform(3, 11, (64, 2, 1))
    rows, columns = (np.exp(-0.3 * (np.arange(14) - a) ** 2) for a in at.transpose(1, 0, 2))
    x = (rows[:, :, None] * columns[:, None, :])[:, None].astype(np.float32)
    g = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same", generator=g), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 3, padding="same", generator=g), nn.ReLU(), nn.Upsample(2, "bilinear"),
        nn.Conv2d(4, 1, 3, padding="same", generator=g),
    )  # fmt: skip
    adam = optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        net.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * min(losses[0], np.square(x - x.mean()).mean())
