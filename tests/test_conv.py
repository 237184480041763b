"""Convolution, pooling and upsampling beyond what `test_ops.py` asks of every op: PyTorch's numbers, the forms for one
axis, the laws that tie the ops together, and the conventions that docstrings state."""

import re

import numpy as np
import pytest
from cases import CASES, conv, pool
from hypothesis import given
from hypothesis import strategies as st

from tinyae import OPS, Tensor, grad, gradcheck, ops
from tinyae.errors import DtypeError, SettingError, ShapeError
from tinyae.ops import conv as module


def dot(a, b):
    return float(np.sum(np.asarray(a) * np.asarray(b)))


# -- PyTorch --------------------------------------------------------------------------------------------------------


def agree(ours, theirs, arrays, seed=0):
    """Value and every gradient under a random upstream one, to 1e-9 of float64; shape and dtype exactly."""
    torch = pytest.importorskip("torch")
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-4)):
        arrays = [np.array(x, dtype) for x in arrays]
        mine = [Tensor(x, requires_grad=True) for x in arrays]
        his = [torch.tensor(x, requires_grad=True) for x in arrays]
        y, z = ours(*mine), theirs(torch, *his)
        assert y.shape == tuple(z.shape) and y.dtype == z.detach().numpy().dtype == dtype
        g = np.random.default_rng(seed).standard_normal(y.shape).astype(dtype)
        pairs = zip((y, *grad(y, mine, g)), (z, *torch.autograd.grad(z, his, torch.tensor(g))))
        for a, b in pairs:
            np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_torch_on_ties(rng):
    """Equal values in overlapping windows: the first takes the gradient there and here."""
    x = rng.integers(0, 3, (2, 3, 9, 8)).astype(float)
    for kernel, stride, padding, dilation in [(2, None, 0, 1), (3, 1, 1, 1), (3, 2, 1, 2), ((2, 3), (1, 2), (1, 0), 1)]:
        settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        said = lambda torch, x: torch.nn.functional.max_pool2d(x, **settings)  # noqa: E731
        agree(lambda x: ops.max_pool(x, **settings), said, [x])


# -- known numbers --------------------------------------------------------------------------------------------------


def test_conv2d_by_hand():
    x = np.array([[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]])
    weight = np.array([[[[1.0, 0], [0, -1]]], [[[0, 1], [1, 0]]]])
    assert ops.conv2d(x, weight).tolist() == [[[-4, -4], [-4, -4]], [[6, 8], [12, 14]]]
    assert ops.conv2d(x, weight, np.array([10.0, 100])).tolist() == [[[6, 6], [6, 6]], [[106, 108], [112, 114]]]
    assert ops.conv2d(x, weight[:1], stride=2).tolist() == [[[-4]]]
    assert ops.conv2d(x, weight[:1], padding="same").tolist() == [[[-4, -4, 3], [-4, -4, 6], [7, 8, 9]]]
    assert ops.conv2d(x, weight[:1], dilation=2).tolist() == [[[-8]]]
    assert ops.conv_transpose2d(np.array([[[2.0, 3]]]), weight[:1]).tolist() == [[[2, 3, 0], [0, -2, -3]]]
    assert ops.conv_transpose2d(np.array([[[2.0, 3]]]), weight[:1], stride=2, output_padding=(0, 1)).tolist() == [
        [[2, 0, 3, 0, 0], [0, -2, 0, -3, 0]]
    ]


def test_conv1d_is_numpys(rng):
    """np.correlate and np.convolve do the same along one axis."""
    x, w = rng.standard_normal(20), rng.standard_normal(5)
    one = lambda y: y.reshape(-1)  # noqa: E731
    np.testing.assert_allclose(one(ops.conv1d(x[None], w[None, None])), np.correlate(x, w, "valid"))
    np.testing.assert_allclose(one(ops.conv1d(x[None], w[None, None], padding="same")), np.correlate(x, w, "same"))
    np.testing.assert_allclose(one(ops.conv_transpose1d(x[None], w[None, None])), np.convolve(x, w))


def test_unfold_by_hand():
    x = np.arange(6.0).reshape(1, 2, 3)
    columns = ops.unfold(x, kernel_size=2)
    assert columns.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    assert ops.fold(columns, output_size=(2, 3), kernel_size=2).tolist() == [[[0, 2, 2], [3, 8, 5]]]


def test_pooling_by_hand():
    x = np.array([[[1.0, 5, 2, 0], [3, 4, 8, 6]]])
    assert ops.max_pool(x, kernel_size=(2, 2)).tolist() == [[[5, 8]]]
    assert ops.max_pool(x, kernel_size=(2,), stride=1).tolist() == [[[5, 5, 2], [4, 8, 8]]]
    assert ops.avg_pool(x, kernel_size=(2, 2)).tolist() == [[[3.25, 4]]]
    row = np.array([[[2.0, 4, 6]]])
    assert ops.avg_pool(row, kernel_size=3, stride=1, padding=1).tolist() == [[[2, 4, 10 / 3]]]
    assert ops.avg_pool(row, kernel_size=3, stride=1, padding=1, count_include_pad=False).tolist() == [[[3, 4, 5]]]
    assert ops.max_pool(-row, kernel_size=3, stride=1, padding=1).tolist() == [[[-2, -2, -4]]]


def test_upsampling_by_hand():
    x = np.array([[[0.0, 4]]])
    assert ops.upsample(x, scale_factor=2).tolist() == [[[0, 0, 4, 4]]]
    assert ops.upsample(x, scale_factor=2, mode="linear").tolist() == [[[0, 1, 3, 4]]]
    assert ops.upsample(x[None], scale_factor=(2, 1)).tolist() == [[[[0, 4], [0, 4]]]]
    ramp = np.add.outer(np.arange(4.0), 10 * np.arange(5.0))
    y = ops.upsample(ramp[None, None], scale_factor=3, mode="bilinear")[0, 0]
    rows, columns = ((np.arange(n * 3) + 0.5) / 3 - 0.5 for n in ramp.shape)
    np.testing.assert_allclose(y[1:-1, 1:-1], np.add.outer(rows, 10 * columns)[1:-1, 1:-1])
    assert y[0, 0] == 0 and y[-1, -1] == ramp[-1, -1]


@pytest.mark.parametrize(("mode", "shape"), [
    ("nearest", (2, 3, 4)), ("linear", (2, 3, 4)), ("nearest", (1, 2, 3, 4)), ("bilinear", (1, 2, 3, 4)),
])  # fmt: skip
def test_upsampling_and_its_transpose_each_way(mode, shape):
    rng = np.random.default_rng(0)
    settings = {"scale_factor": (2, 3)[: len(shape) - 2], "mode": mode}
    x = rng.standard_normal(shape)
    g = rng.standard_normal(ops.upsample(x, **settings).shape)
    gradcheck(lambda x: ops.upsample(x, **settings), x, order=2)
    gradcheck(lambda g: OPS["_upsample_back"](g, **settings), g, order=2)


# -- one axis -------------------------------------------------------------------------------------------------------


def test_a_bias_of_none_is_none_along_one_axis(rng):
    x, w = rng.standard_normal((2, 3, 7)), rng.standard_normal((4, 3, 3))
    assert np.array_equal(ops.conv1d(x, w, None), ops.conv1d(x, w))
    assert np.array_equal(ops.conv1d(x, w, bias=np.zeros(4)), ops.conv1d(x, w))
    back = rng.standard_normal((3, 4, 3))
    assert np.array_equal(ops.conv_transpose1d(x, back, bias=None), ops.conv_transpose1d(x, back))
    b = Tensor(np.ones(4), requires_grad=True)
    (g,) = grad(ops.conv1d(x, w, bias=b).sum(), [b])
    assert g.tolist() == [10] * 4


x35, w232 = np.ones((3, 5)), np.ones((2, 3, 2))


@pytest.mark.parametrize(
    ("error", "name", "arrays", "settings", "text"),
    [
        (ShapeError, "conv1d", (x35, np.ones((2, 4, 2))), {}, "x has 3 channels, the weight takes 4"),
        (ShapeError, "conv1d", (x35, w232), {"groups": 3}, "groups=3: x has 3 channels, the weight takes 9"),
        (ShapeError, "conv1d", (x35, np.ones((2, 3, 6))), {}, "covers 6 where x, padding included, has 5"),
        (ShapeError, "conv1d", (x35, np.ones((2, 3, 2, 2))), {}, r"expected x \(..., C, L\)"),
        (ShapeError, "conv1d", (np.ones(5), w232), {}, r"expected x \(..., C, L\)"),
        (ShapeError, "conv1d", (x35, w232, np.ones(3)), {}, r"the bias of 2 channels is \(2,\)"),
        (SettingError, "conv1d", (x35, w232), {"stride": (1, 1)}, "Give an int of at least 1\\."),
        (SettingError, "conv1d", (x35, w232), {"padding": "full"}, "Give 'same' or 'valid' or ints."),
        (ShapeError, "conv_transpose1d", (x35, w232), {}, "x has 3 channels, the weight takes 2"),
        (ShapeError, "conv_transpose1d", (np.ones((2, 3)), w232), {"padding": 2}, "nothing would be left: 0"),
        (SettingError, "conv_transpose1d", (np.ones((2, 3)), w232), {"padding": "same"}, "Give ints."),
        (SettingError, "conv_transpose1d", (np.ones((2, 3)), w232), {"output_padding": 1}, "less than the stride"),
    ],
)  # fmt: skip
def test_one_axis_refuses_in_its_own_name(error, name, arrays, settings, text):
    for make in (np.asarray, Tensor):
        with pytest.raises(error, match=text) as caught:
            getattr(ops, name)(*map(make, arrays), **settings)
        message = str(caught.value)
        assert message.startswith(f"{name}: ")
        assert error is SettingError or all(str(x.shape) in message for x in arrays)


# -- laws -----------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_fold_is_unfold_transposed(data):
    """<unfold x, c> = <x, fold c>."""
    (x,), settings = CASES["unfold"](data.draw)
    columns = ops.unfold(x, **settings)
    c = np.random.default_rng(1).standard_normal(columns.shape)
    assert dot(columns, c) == pytest.approx(dot(x, ops.fold(c, output_size=x.shape[-2:], **settings)), abs=1e-10)


@given(data=st.data())
def test_the_triangle_of_convolution(data):
    """<conv2d(x, w), g> = <x, conv_transpose2d(g, w)> = <w, _conv2d_weight(x, g)>."""
    arrays, settings = CASES["conv2d"](data.draw)
    x, w = arrays[:2]
    y = ops.conv2d(x, w, **settings)
    g = np.random.default_rng(1).standard_normal(y.shape)
    weights = OPS["_conv2d_weight"](x, g, kernel_size=w.shape[2:], **settings)
    assert weights.shape == w.shape and dot(y, g) == pytest.approx(dot(w, weights), abs=1e-10)
    padding = module._exact(x.shape[-2:], w.shape[2:], *(settings[k] for k in ("stride", "padding", "dilation")))
    back = ops.conv_transpose2d(g, w, **{**settings, "padding": padding})
    assert back.shape == x.shape and dot(y, g) == pytest.approx(dot(x, back), abs=1e-10)


@given(data=st.data())
def test_conv2d_is_a_product_with_unfold(data):
    (x, w, *_), settings = CASES["conv2d"](data.draw)
    whole = conv._connected(w, settings.pop("groups"))
    y = ops.conv2d(x, whole, **settings)
    columns = ops.unfold(x, kernel_size=w.shape[2:], **settings)
    matrix = whole.reshape(len(whole), columns.shape[-2])
    np.testing.assert_allclose(y.reshape(*columns.shape[:-2], len(w), columns.shape[-1]), matrix @ columns, atol=1e-12)


def test_what_is_in_several_windows_comes_back_several_times():
    ones = np.ones((1, 5, 5))
    settings = {"kernel_size": 3, "padding": 1}
    counts = ops.fold(ops.unfold(ones, **settings), output_size=5, **settings)
    assert counts[0].tolist() == np.outer([2, 3, 3, 3, 2], [2, 3, 3, 3, 2]).tolist()


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_both_ways_to_multiply_agree(rng, name, monkeypatch):
    """Few channels to many and many to few make columns of different sides: Note [Convolution by products]."""
    used = []
    for way in ("_gathered", "_scattered"):
        original = getattr(module, way)
        monkeypatch.setattr(module, way, lambda *a, way=way, original=original: used.append(way) or original(*a))
    op, truth = OPS[name], conv.TRUTH[name]
    extra = {"output_padding": (0, 0)} if name == "conv_transpose2d" else {}
    for n_in, n_out, stride in [(2, 6, 1), (6, 2, 1), (2, 6, 2), (6, 2, 2)]:
        ends = (n_in, n_out // 2) if name == "conv_transpose2d" else (n_out, n_in // 2)
        x, w, b = rng.standard_normal((2, n_in, 6, 5)), rng.standard_normal((*ends, 3, 2)), rng.standard_normal(n_out)
        settings = {"stride": (stride, stride), "padding": (1, 2), "dilation": 2, "groups": 2, **extra}
        y = op.definition(x, w, b, **{**op.defaults, **settings})
        np.testing.assert_allclose(y, truth(x, w, b, **settings), atol=1e-12)
    gather, scatter = "_gathered", "_scattered"
    assert used == ([gather, scatter, gather, gather] if name == "conv2d" else [gather, scatter, scatter, scatter])


def test_samples_are_independent(rng, monkeypatch):
    """However many samples are multiplied at a time, and whatever stands beside one: the same bits."""
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((9, 3, 8, 8), (5, 3, 3, 3), (5,)))
    for op, weight in ((ops.conv2d, w), (ops.conv_transpose2d, w.swapaxes(0, 1)), (ops.conv2d, w[:2])):
        bias = b[: len(weight)] if op is ops.conv2d else b
        whole = op(x, weight, bias, padding=1)
        assert np.array_equal(whole, np.stack([op(one, weight, bias, padding=1) for one in x]))
        for block in (1, 3000, 10_000):
            monkeypatch.setattr(module, "_BLOCK", block)
            assert np.array_equal(whole, op(x, weight, bias, padding=1))
        monkeypatch.undo()
    g = rng.standard_normal((9, 5, 6, 6))
    settings = {"kernel_size": (3, 3), "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    sums = []
    for block in (1, 5000, 1 << 17):
        monkeypatch.setattr(module, "_BLOCK", block)
        sums.append(OPS["_conv2d_weight"](x, g, **settings))
    np.testing.assert_allclose(sums[0], sums[2], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sums[1], sums[2], rtol=1e-12, atol=1e-12)


def test_a_large_batch_does_not_unfold_at_once(rng, monkeypatch):
    """The columns of 128 images would be 9 times the images: at most a block of them is alive."""
    largest = []
    original = module._unfolded
    monkeypatch.setattr(module, "_unfolded", lambda *a: largest.append((c := original(*a)).size) or c)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((128, 4, 28, 28), (4, 4, 3, 3)))
    OPS["conv2d"].definition(x, w, padding=1)
    assert sum(largest) == 9 * x.size and max(largest) <= module._BLOCK


# -- conventions ----------------------------------------------------------------------------------------------------


def test_the_first_maximum_takes_the_gradient():
    x = Tensor([[[1.0, 3, 3, 3, 2, 2]]], requires_grad=True, dtype=np.float64)
    (g,) = grad(ops.max_pool(x, kernel_size=2), [x], np.array([[[1.0, 10, 100]]]))
    assert g.tolist() == [[[0, 1, 10, 0, 100, 0]]]
    (g,) = grad(ops.max_pool(x, kernel_size=3, stride=1), [x], np.array([[[1.0, 10, 100, 1000]]]))
    assert g.tolist() == [[[0, 11, 100, 1000, 0, 0]]]


def test_nan_flows():
    x = Tensor([[[1.0, np.nan, 3, 2, np.nan, np.nan]]], requires_grad=True, dtype=np.float64)
    y = ops.max_pool(x, kernel_size=2)
    assert np.isnan(y.data).tolist() == [[[True, False, True]]]
    (g,) = grad(y, [x], np.array([[[1.0, 10, 100]]]))
    assert g.tolist() == [[[0, 1, 10, 0, 100, 0]]]
    weight = np.ones((1, 1, 1, 2))
    y = ops.conv2d(x.data[:, :, None], weight)
    assert np.isnan(y).tolist() == [[[[True, True, False, True, True]]]]
    assert np.isnan(ops.avg_pool(x.data, kernel_size=2)).tolist() == [[[True, False, True]]]
    assert np.isnan(ops.upsample(x.data, scale_factor=2)).sum() == 6


def test_a_window_in_the_padding_alone():
    """Dilation can step over a short x; no value is the largest of none."""
    x = Tensor(np.ones((1, 1, 1)), requires_grad=True)
    y = ops.max_pool(x, kernel_size=2, padding=1, dilation=2)
    assert y.tolist() == [[[-np.inf]]]
    assert grad(y, [x], np.ones((1, 1, 1)))[0].tolist() == [[[0]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integers(dtype):
    """Pooling by maximum and nearest upsampling keep the dtype; what computes gives floats, as `linear` does."""
    x = np.array([[[[200, 100], [0, 255]]]]).astype(dtype)
    y = ops.max_pool(x, kernel_size=2, padding=1, stride=1)
    assert y.dtype == dtype and y[0, 0].tolist() == np.maximum.reduce(
        [np.pad(x[0, 0], 1)[i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1)]).tolist()  # fmt: skip
    assert ops.max_pool(-np.ones((1, 1, 2), int), kernel_size=2, padding=1).max() == -1
    assert ops.upsample(x, scale_factor=2).dtype == dtype
    wide = x.astype(float)
    floats = np.result_type(dtype, np.float32)
    for f in (lambda x: ops.avg_pool(x, kernel_size=2), lambda x: ops.upsample(x, scale_factor=2, mode="bilinear")):
        assert f(x).dtype == floats
        np.testing.assert_allclose(f(x), f(wide), rtol=1e-6)
    weight = np.full((1, 1, 2, 2), 0.25)
    np.testing.assert_allclose(ops.conv2d(x, weight), ops.conv2d(wide, weight))
    np.testing.assert_allclose(ops.conv_transpose2d(x, weight), ops.conv_transpose2d(wide, weight))


def test_mixed_dtypes_promote(rng):
    x, w, b = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((3, 2, 2, 2)), rng.standard_normal(3)
    for mixed in ((np.float32, np.float64, np.float32), (np.float32, np.float32, np.float64)):
        leaves = [Tensor(a.astype(d), requires_grad=True) for a, d in zip((x, w, b), mixed)]
        y = ops.conv2d(*leaves)
        assert y.dtype == np.float64
        assert [g.dtype for g in grad(y.sum(), leaves)] == list(mixed)


def test_no_channels_and_no_samples():
    x = np.ones((2, 0, 5, 5))
    assert ops.conv2d(x, np.ones((3, 0, 2, 2)), np.arange(3.0)).tolist() == [[[[c] * 4] * 4 for c in (0, 1, 2)]] * 2
    assert ops.conv2d(np.ones((2, 3, 5, 5)), np.ones((0, 3, 2, 2))).shape == (2, 0, 4, 4)
    assert ops.conv_transpose2d(x, np.ones((0, 3, 2, 2)), np.ones(3)).sum() == 2 * 3 * 36
    empty = Tensor(np.ones((0, 2, 5, 5)), requires_grad=True)
    w, b = Tensor(np.ones((3, 2, 2, 2)), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    y = ops.upsample(ops.max_pool(ops.conv2d(empty, w, b), kernel_size=2), scale_factor=2, mode="bilinear")
    assert y.shape == (0, 3, 4, 4)
    assert [g.shape for g in grad(y.sum(), [empty, w, b])] == [(0, 2, 5, 5), (3, 2, 2, 2), (3,)]
    assert not grad(ops.conv2d(empty, w, b).sum(), [w])[0].data.any()


def test_pooling_of_three_axes(rng):
    x = rng.standard_normal((2, 4, 4, 4))
    blocks = x.reshape(2, 2, 2, 2, 2, 2, 2)
    assert np.array_equal(ops.max_pool(x, kernel_size=(2, 2, 2)), blocks.max(axis=(2, 4, 6)))
    np.testing.assert_allclose(ops.avg_pool(x, kernel_size=(2, 2, 2)), blocks.mean(axis=(2, 4, 6)))
    assert np.array_equal(ops.upsample(x[0], scale_factor=(2, 2, 2)), x[0].repeat(2, 0).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("bias", [np.ones(2), Tensor(np.ones(2), requires_grad=True), None])
def test_a_bias_goes_by_position_or_not_at_all(bias):
    """By keyword it would be a setting, and its gradient would be lost."""
    x, w = Tensor(np.ones((3, 4, 4))), np.ones((2, 3, 2, 2))
    with pytest.raises(DtypeError, match="conv2d: .*positional"):
        ops.conv2d(x, w, bias=bias)
    if bias is None:
        with pytest.raises(ShapeError, match="Leave it out"):
            ops.conv2d(x, w, None)


def test_settings_may_come_from_numpy(rng):
    x, w = rng.standard_normal((2, 2, 6, 6)), rng.standard_normal((2, 1, 3, 3))
    y = ops.conv2d(x, w, stride=np.int64(2), padding=[np.int32(1), 1], groups=np.int8(2))
    assert np.array_equal(y, ops.conv2d(x, w, stride=2, padding=1, groups=2))


def test_messages_say_what_to_do():
    """The first word names the op, the last sentence tells it."""
    for error, name, arrays, settings in conv.BAD + pool.BAD:
        with pytest.raises(error) as caught:
            OPS[name](*arrays, **settings)
        text = str(caught.value)
        last = re.search(r".*\. ([A-Z][a-z]+) .*\.$", text)
        verbs = {"Change", "Channels", "For", "Give", "It", "Leave", "Pad", "Reshape"}
        assert last and last[1] in verbs and text.startswith(f"{name}: "), text


def test_a_message_counts_the_axes():
    x, w = np.ones((1, 3, 3)), np.ones((1, 1, 2, 2))
    with pytest.raises(SettingError, match=r"^conv2d: stride=0\. Give an int of at least 1, or 2 such ints\.$"):
        ops.conv2d(x, w, stride=0)
    with pytest.raises(SettingError, match=r"^conv1d: padding=-1\. Give an int of at least 0\.$"):
        ops.conv1d(x[:, 0], w[:, :, 0], padding=-1)
    with pytest.raises(SettingError, match=r"^conv2d: groups=2\.5\. Give an int of at least 1\.$"):
        ops.conv2d(x, w, groups=2.5)
