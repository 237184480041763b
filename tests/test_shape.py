"""``ops/shape.py``: what is composed there, and the special points of its ops. `test_ops.py` asks an op all else."""

import itertools
import math

import numpy as np
import pytest
from cases.arrays import laid_out, shapes, values
from cases.shape import index_of, picked
from hypothesis import given
from hypothesis import strategies as st

from tinyae import Tensor, grad, gradcheck, no_grad, ops
from tinyae.errors import AxisError, DtypeError, GraphError, SettingError, ShapeError
from tinyae.ops import shape as module


def leaf(x):
    return Tensor(x, requires_grad=True)


# -- composed functions ---------------------------------------------------------------------------------------------
# What x of shape (2, 3, 4) gives: ours, NumPy's, and PyTorch's or None.

X = np.random.default_rng(0).standard_normal((2, 3, 4))

COMPOSED = {
    "squeeze all": (
        lambda x: ops.squeeze(x[:1, None, :, :1]), lambda x: np.squeeze(x[:1, None, :, :1]),
        lambda torch, x: torch.squeeze(x[:1, None, :, :1])),
    "squeeze one": (
        lambda x: ops.squeeze(x[:1, :, :1], axis=-1), lambda x: np.squeeze(x[:1, :, :1], -1),
        lambda torch, x: torch.squeeze(x[:1, :, :1], -1)),
    "squeeze two": (
        lambda x: ops.squeeze(x[:1, None, :, :1], axis=[0, -1]), lambda x: np.squeeze(x[:1, None, :, :1], (0, -1)),
        lambda torch, x: torch.squeeze(x[:1, None, :, :1], (0, -1))),
    "unsqueeze": (
        lambda x: ops.unsqueeze(x, axis=1), lambda x: np.expand_dims(x, 1), lambda torch, x: torch.unsqueeze(x, 1)),
    "unsqueeze at the end": (
        lambda x: ops.unsqueeze(x, axis=-1), lambda x: np.expand_dims(x, -1), lambda torch, x: torch.unsqueeze(x, -1)),
    "unsqueeze twice": (lambda x: ops.unsqueeze(x, axis=(0, -2)), lambda x: np.expand_dims(x, (0, -2)), None),
    "swapaxes": (
        lambda x: ops.swapaxes(x, axis1=0, axis2=-1), lambda x: np.swapaxes(x, 0, -1),
        lambda torch, x: torch.swapaxes(x, 0, -1)),
    "moveaxis": (
        lambda x: ops.moveaxis(x, source=0, destination=-1), lambda x: np.moveaxis(x, 0, -1),
        lambda torch, x: torch.moveaxis(x, 0, -1)),
    "moveaxis two": (
        lambda x: ops.moveaxis(x, source=(2, 0), destination=(0, 1)), lambda x: np.moveaxis(x, (2, 0), (0, 1)),
        lambda torch, x: torch.moveaxis(x, (2, 0), (0, 1))),
    "moveaxis all": (
        lambda x: ops.moveaxis(x, source=(0, 1, -1), destination=(2, 1, 0)),
        lambda x: np.moveaxis(x, (0, 1, -1), (2, 1, 0)),
        lambda torch, x: torch.moveaxis(x, (0, 1, -1), (2, 1, 0))),
    "split by one length": (
        lambda x: ops.split(x, lengths=3, axis=-1)[1], lambda x: np.split(x, [3], -1)[1],
        lambda torch, x: torch.split(x, 3, -1)[1]),
    "split by lengths": (
        lambda x: ops.split(x, lengths=(1, 0, 2), axis=1)[2], lambda x: np.split(x, [1, 1], 1)[2],
        lambda torch, x: torch.split(x, (1, 0, 2), 1)[2]),
    "take rows": (
        lambda x: ops.take(x, [1, 0, 1]), lambda x: np.take(x, [1, 0, 1], 0),
        lambda torch, x: torch.index_select(x, 0, torch.tensor([1, 0, 1]))),
    "take a table of columns": (
        lambda x: ops.take(x, [[2, 2, -1], [0, 1, 2]], axis=-1), lambda x: np.take(x, [[2, 2, -1], [0, 1, 2]], -1),
        lambda torch, x: x[..., torch.tensor([[2, 2, -1], [0, 1, 2]])]),
    "take one": (
        lambda x: ops.take(x, 2, axis=1), lambda x: np.take(x, 2, 1), lambda torch, x: torch.select(x, 1, 2)),
    "take none": (lambda x: ops.take(x, np.zeros((2, 0), int), axis=1), lambda x: x[:, np.zeros((2, 0), int)], None),
    "diag_embed": (
        lambda x: ops.diag_embed(x), lambda x: x[..., None] * np.eye(4), lambda torch, x: torch.diag_embed(x)),
    "diag_embed above": (
        lambda x: ops.diag_embed(x[0, 0], offset=2), lambda x: np.diag(x[0, 0], 2),
        lambda torch, x: torch.diag_embed(x[0, 0], 2)),
    "diag_embed below": (
        lambda x: ops.diag_embed(x[0, 0], offset=-1), lambda x: np.diag(x[0, 0], -1),
        lambda torch, x: torch.diag_embed(x[0, 0], -1)),
    "topk": (
        lambda x: ops.topk(x, k=2)[0], lambda x: np.sort(x, -1)[..., :-3:-1], lambda torch, x: torch.topk(x, 2)[0]),
    "topk of the least": (
        lambda x: ops.topk(x, k=2, axis=1, largest=False)[0], lambda x: np.sort(x, 1)[:, :2],
        lambda torch, x: torch.topk(x, 2, 1, False)[0]),
    "scatter_add": (
        lambda x: ops.scatter_add(x, np.array([[0, 0, 1]] * 3)[None].repeat(2, 0), x[..., 1:], axis=-1),
        lambda x: x + np.stack([x[..., 1] + x[..., 2], x[..., 3], 0 * x[..., 0], 0 * x[..., 0]], -1),
        lambda torch, x: torch.scatter_add(x, -1, torch.tensor([0, 0, 1]).expand(2, 3, 3), x[..., 1:])),
    "scatter_add that broadcasts": (
        lambda x: ops.scatter_add(x, [[1], [1], [-1]], x[:1], axis=1),
        lambda x: x + np.stack([0 * x[0, 0], x[0, 0] + x[0, 1], x[0, 2]]), None),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name):
    """NumPy's values on arrays and on Tensors, in both dtypes; both derivatives; PyTorch's values and gradient."""
    ours, numpys, torchs = COMPOSED[name]
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        expected = numpys(x)
        for y in (ours(x), ours(leaf(x)).data):
            assert isinstance(y, np.ndarray) and y.shape == expected.shape and y.dtype == dtype
            np.testing.assert_allclose(y, expected, rtol=1e-6)
    gradcheck(ours, X, order=2)
    if torchs is not None:
        torch = pytest.importorskip("torch")
        x, t = leaf(X), torch.tensor(X, requires_grad=True)
        y, theirs = ours(x), torchs(torch, t)
        g = np.random.default_rng(1).standard_normal(y.shape)
        np.testing.assert_allclose(y.data, theirs.detach().numpy(), rtol=1e-14)
        (expected,) = torch.autograd.grad(theirs, t, torch.tensor(g))
        np.testing.assert_allclose(grad(y, x, g).data, expected.numpy(), rtol=1e-14)


REFUSED = [
    (ShapeError, "squeeze: axis 1 of shape (2, 3, 4) has length 3", lambda x: ops.squeeze(x, axis=1)),
    (AxisError, "squeeze: axis 3 of shape (2, 3, 4)", lambda x: ops.squeeze(x, axis=3)),
    (AxisError, "unsqueeze: axis 4 of shape (2, 3, 4)", lambda x: ops.unsqueeze(x, axis=4)),
    (AxisError, "unsqueeze: axis (0, -5) of shape (2, 3, 4)", lambda x: ops.unsqueeze(x, axis=(0, -5))),
    (AxisError, "swapaxes: axis -4 of shape (2, 3, 4)", lambda x: ops.swapaxes(x, axis1=-4, axis2=0)),
    (AxisError, "swapaxes: axis 0 of a 0-d array", lambda x: ops.swapaxes(x[0, 0, 0], axis1=0, axis2=0)),
    (AxisError, "moveaxis: axis (0, 0)", lambda x: ops.moveaxis(x, source=(0, 0), destination=(0, 1))),
    (AxisError, "moveaxis: 2 axes to 1 place", lambda x: ops.moveaxis(x, source=(0, 1), destination=0)),
    (ShapeError, "split: lengths [2, 3] of axis 2 of shape (2, 3, 4)",
     lambda x: ops.split(x, lengths=(2, 3), axis=-1)),
    (ShapeError, "split: lengths [5, -1]", lambda x: ops.split(x, lengths=[5, -1], axis=2)),
    (SettingError, "split: lengths=0", lambda x: ops.split(x, lengths=0)),
    (AxisError, "split: axis 3", lambda x: ops.split(x, lengths=1, axis=3)),
    (AxisError, "take: axis 3", lambda x: ops.take(x, [0], axis=3)),
    (AxisError, "index 2 is out of bounds for axis 0 with size 2", lambda x: ops.take(x, [0, 2])),
    (DtypeError, "an index of dtype float64", lambda x: ops.take(x, [0.0])),
    (DtypeError, "an index of dtype bool", lambda x: ops.take(x, [True, False])),
    (ShapeError, "diag_embed: a 0-d array", lambda x: ops.diag_embed(x[0, 0, 0])),
    (SettingError, "argtopk: k=5 of shape (2, 3, 4)", lambda x: ops.topk(x, k=5)),
    (AxisError, "argtopk: ", lambda x: ops.topk(x, k=1, axis=3)),
    (AxisError, "scatter_add: axis 3", lambda x: ops.scatter_add(x, [[[0]]], x, axis=3)),
    (AxisError, "is out of bounds", lambda x: ops.scatter_add(x, [[[0], [1], [3]]], x, axis=1)),
    (AxisError, "index 9 is out of bounds", lambda x: ops.scatter_add(x[0, 0], [0, 9], 1.0, axis=0)),
    (AxisError, "index -5 is out of bounds", lambda x: ops.scatter_add(x[0, 0], [0, -5], 1.0, axis=0)),
    (ShapeError, "scatter_add: index (2, 1, 1) and src (2, 3, 3) into (2, 3, 4) along axis 1",
     lambda x: ops.scatter_add(x, [[[0]], [[1]]], x[..., :3], axis=1)),
    (ShapeError, "scatter_add: index (4, 1) and src (2, 3, 4)", lambda x: ops.scatter_add(x, [[0]] * 4, x, axis=1)),
    (ShapeError, "scatter_add: index (1, 1, 1, 1) and", lambda x: ops.scatter_add(x, [[[[0]]]], x, axis=1)),
    (ShapeError, "scatter_add: index (1,) and src (2, 3, 4) into (2, 3, 1)",
     lambda x: ops.scatter_add(x[..., :1], [0], x, axis=0)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text", "call"), REFUSED, ids=[text for _, text, _ in REFUSED])
def test_composed_refuse(error, text, call):
    for make in (np.asarray, Tensor, leaf):
        with pytest.raises(error) as caught:
            call(make(X))
        assert text in str(caught.value)


def test_split():
    """As PyTorch: the last part may be shorter, the parts may be empty, and an axis of length 0 is one part."""
    assert [p.shape for p in ops.split(X, lengths=3, axis=2)] == [(2, 3, 3), (2, 3, 1)]
    assert [p.shape for p in ops.split(X, lengths=9)] == [(2, 3, 4)]
    assert [p.shape for p in ops.split(X, lengths=[0, 2, 0])] == [(0, 3, 4), (2, 3, 4), (0, 3, 4)]
    assert [p.shape for p in ops.split(np.ones((0, 3)), lengths=2)] == [(0, 3)]
    assert [p.shape for p in ops.split(X, lengths=np.array([1, 1]))] == [(1, 3, 4), (1, 3, 4)]
    x = leaf(X)
    a, b = ops.split(x, lengths=1)
    assert grad((a * 2.0 + b * 3.0).sum(), x).data[:, 0, 0].tolist() == [2, 3]


def test_zero_dimensions_and_zero_sizes():
    one, none = leaf(2.0), leaf(np.ones((0, 3)))
    for y in (ops.squeeze(one), ops.flip(one), ops.roll(one, shift=3), ops.roll(one, shift=(), axis=()),
              ops.pad(one, widths=4), ops.pad(one, widths=(), mode="reflect")):  # fmt: skip
        assert y.shape == () and y.item() == 2 and grad(y, one).item() == 1
    assert ops.unsqueeze(one, axis=0).shape == (1,)
    for y in (ops.flip(none), ops.roll(none, shift=1, axis=0), ops.tril(none), ops.take(none, [2, 2], axis=1),
              ops.gather(none, np.zeros((0, 1), int), axis=1), ops.topk(none, k=2)[0], ops.diagonal(none),
              ops.scatter_add(none, np.zeros((0, 1), int), none[:, :1], axis=1)):  # fmt: skip
        assert y.size == 0 and grad(y.sum(), none).shape == (0, 3)
    padded = ops.pad(none, widths=((1, 1), (0, 0)), value=7.0)
    assert padded.tolist() == [[7] * 3] * 2 and grad(padded.sum(), none).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_integers_and_masks_move_too(dtype):
    """Moving is no arithmetic: any dtype stays what it is, from Tensors and arrays."""
    x = np.arange(6).reshape(2, 3).astype(dtype)
    for ours, expected in (
        (lambda x: ops.flip(x, axis=0), x[::-1]),
        (lambda x: ops.roll(x, shift=1, axis=1), np.roll(x, 1, 1)),
        (lambda x: ops.pad(x, widths=1, value=1), np.pad(x, 1, constant_values=1)),
        (lambda x: ops.pad(x, widths=((1, 0), (0, 4)), mode="circular"), np.pad(x, ((1, 0), (0, 4)), "wrap")),
        (ops.tril, np.tril(x)),
        (ops.diagonal, np.diagonal(x)),
        (lambda x: ops.diag_embed(x[0]), np.diag(x[0])),
        (lambda x: ops.take(x, [2, 2], axis=1), x[:, [2, 2]]),
        (lambda x: ops.topk(x, k=1)[0], x.max(1, keepdims=True)),
    ):
        for y in (ours(x), ours(Tensor(x)).data):
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, expected)


# -- views ----------------------------------------------------------------------------------------------------------

VIEWS = {
    "reshape": lambda x: ops.reshape(x, shape=(3, 3)), "transpose": ops.transpose,
    "swapaxes": lambda x: ops.swapaxes(x, axis1=0, axis2=1),
    "moveaxis": lambda x: ops.moveaxis(x, source=0, destination=1),
    "squeeze": lambda x: ops.squeeze(x), "unsqueeze": lambda x: ops.unsqueeze(x, axis=0),
    "flip": lambda x: ops.flip(x, axis=1), "diagonal": lambda x: ops.diagonal(x, offset=0),
    "slice": lambda x: ops.getitem(x, index=(slice(None), slice(1, None))),
    "new axis": lambda x: ops.getitem(x, index=(..., None)), "split": lambda x: ops.split(x, lengths=(1, 2))[1],
}  # fmt: skip
COPIES = {
    "roll": lambda x: ops.roll(x, shift=0), "pad": lambda x: ops.pad(x, widths=0), "tril": lambda x: ops.tril(x, k=9),
    "triu": lambda x: ops.triu(x, k=-9), "take": lambda x: ops.take(x, [0, 1, 2]),
    "mask": lambda x: ops.getitem(x, index=np.ones((3, 3), bool)), "list": lambda x: ops.getitem(x, index=[0, 1, 2]),
    "gather": lambda x: ops.gather(x, np.array([[0], [1], [2]]), axis=0), "concat": ops.concat, "stack": ops.stack,
    "diag_embed": ops.diag_embed, "topk": lambda x: ops.topk(x, k=3)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory_and_its_write_counter(name):
    """Written through the view or below it, whatever kept either is refused on the way back."""
    view = VIEWS[name]
    for recorded in (False, True):
        for writes_view in (False, True):
            x = Tensor(np.arange(9.0).reshape(3, 3))
            w = leaf(np.ones((3, 3)))
            base = w * 1.0 if recorded else x
            part = view(base)
            assert np.shares_memory(part._data, base._data)
            loss = (base * w).sum() if writes_view else (part * view(w)).sum()
            with no_grad():
                (part if writes_view else base)[...] = 50.0
            assert base.data.max() == 50 and part.data.min() == 50
            with pytest.raises(GraphError, match="changed in place"):
                loss.backward()


@pytest.mark.parametrize("name", COPIES)
def test_copies_share_nothing(name):
    x = leaf(np.arange(9.0).reshape(3, 3))
    part = COPIES[name](x)
    assert not np.shares_memory(part._data, x._data)
    loss = (part * part).sum()
    before = part.data.copy()
    with no_grad():
        x[...] = 5.0
    assert np.array_equal(part.data, before)
    loss.backward()


def test_an_index_that_is_an_operand_is_kept_with_its_counter():
    """`gather` and `take` name the index in their rule, so changing it before backward is an error, not a wrong sum."""
    x, index = leaf(X), Tensor(np.array([0, 1]))
    loss = ops.take(x, index, axis=1).sum()
    index[...] = 2
    with pytest.raises(GraphError, match="gather at .* changed in place"):
        loss.backward()
    loss = x[:, index].sum()  # the square brackets copied it
    index[...] = 1
    assert grad(loss, x).data[0, :, 0].tolist() == [0, 0, 2]


# -- indices --------------------------------------------------------------------------------------------------------


def added_at(shape, index, g):
    y = np.zeros(shape, g.dtype)
    np.add.at(y, index, g)
    return y


ROWS = np.random.default_rng(0).integers(0, 5, 40)
INDICES = {
    "rows that repeat": ROWS, "numbers that repeat": (ROWS, ROWS % 3, ROWS % 2), "no repeat": [4, 0, 2],
    "negative and positive meet": [-1, 4, -5, 0], "a table of rows": ROWS.reshape(4, 10),
    "behind a slice": (slice(1, 4), ROWS % 3), "apart": (ROWS, slice(None), ROWS % 2), "ellipsis": (..., ROWS % 2),
    "a new axis": (None, ROWS, None), "backwards": (slice(None, None, -1), ROWS % 3), "one place": (ROWS, 1),
    "mask": np.arange(5) % 2 == 0, "mask of two axes": np.arange(15).reshape(5, 3) % 2 == 0,
    "mask and numbers": (np.arange(5) < 2, [2, 2]), "mask and a column": (np.arange(5) < 2, np.array([[1], [1], [1]])),
    "list of bools": [True, False, True, False, True], "empty list": [], "nothing": (), "true": True, "false": False,
    "a 0-d array": np.array(3), "a NumPy number": np.int8(-2), "one row in a column": np.array([[2]]),
    "mask of two axes and numbers": (np.arange(15).reshape(5, 3) % 7 == 0, [[1, 0, 1], [1, 1, 1]]),
    "mask of nothing": np.zeros((5, 3, 2), bool),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("name", INDICES)
def test_scatter_adds(name, dtype):
    """As np.add.at, however it is done: by assignment, one by one, or sorted."""
    index = INDICES[name]
    x = np.zeros((5, 3, 2), dtype)
    g = np.random.default_rng(1).integers(-9, 9, x[index].shape).astype(dtype)  # whole numbers: sums are exact
    y = module._scatter(g, index=index, shape=x.shape)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, added_at(x.shape, index, g))


@given(data=st.data())
def test_scatter_adds_at_random(data):
    shape = data.draw(shapes())
    index = index_of(data.draw, shape)
    g = laid_out(data.draw, np.round(values(data.draw, np.zeros(shape)[index].shape)))
    np.testing.assert_array_equal(module._scatter(g, index=index, shape=shape), added_at(shape, index, g))


@pytest.mark.parametrize("n", [1 << 16, (1 << 16) + 1])
def test_a_table_of_many_rows(n):
    """Row numbers of 16 bits are sorted as such; one more row, and they are not."""
    index = np.array([n - 1, 0, n - 1, 1])
    y = module._scatter(np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]]), index=index, shape=(n, 2))
    assert y[[0, 1, n - 1]].tolist() == [[2, 20], [8, 80], [5, 50]] and y.sum() == 15 * 11


def test_integers_are_added_exactly_and_floats_as_ieee_says():
    big = 2**53 + 1
    y = ops.scatter_add(np.zeros(2, np.int64), [0, 0, 1], np.array([big, 1, big]), axis=0)
    assert y.tolist() == [big + 1, big]
    y = ops.scatter_add(np.zeros((2, 2), np.int64), [[0], [0], [1]], np.array([[big], [1], [big]]), axis=0)
    assert y.tolist() == [[big + 1] * 2, [big] * 2]
    for width in (1, 2):  # one by one, and sorted
        src = np.array([np.nan, 1.0, np.inf, -np.inf, 3e38, 3e38], np.float32)[:, None].repeat(width, 1)
        y = ops.scatter_add(np.zeros((4, width), np.float32), [[0], [0], [1], [2], [3], [3]], src, axis=0)
        assert y.dtype == np.float32 and np.isnan(y[0]).all() and y[1:, 0].tolist() == [np.inf, -np.inf, np.inf]
    counts = ops.scatter_add(np.zeros(3, np.float32), [2, 2, 0], 1.0, axis=0)
    assert counts.dtype == np.float32 and counts.tolist() == [1, 0, 2], "a Python number is weak"


def test_indices_may_be_tensors():
    x, rows, columns = leaf(X), Tensor(np.array([0, 1, 1])), Tensor(np.array([2, 0, 0]))
    for y, expected in (
        (x[rows], X[[0, 1, 1]]),
        (x[rows, columns], X[[0, 1, 1], [2, 0, 0]]),
        (x[:, columns[0]], X[:, 2]),
        (x[x > 0], X[X > 0]),
        (ops.getitem(x, index=(rows, None, columns)), X[[0, 1, 1], None, [2, 0, 0]]),
        (ops.take(x, rows), X[[0, 1, 1]]),
        (ops.gather(x, Tensor(np.array([[[1]], [[0]]])), axis=1), np.stack([X[0, 1:2], X[1, :1]])),
        (ops.scatter_add(x * 0.0, Tensor(np.array([[0]])), x[:, :1], axis=1)[:, :1], X[:, :1]),
    ):
        np.testing.assert_array_equal(y.data, expected)
        assert grad(y.sum(), x).data.sum() == pytest.approx(expected.size)


def test_gather_is_take_along_axis():
    """Where either array has length 1 along another axis, it serves for all of the other's."""
    index = np.array([[0, -1, 2], [1, 1, 1]])
    for axis, i in ((0, index[:, :, None] % 2), (1, index[:, :, None]), (2, index[:, :, None]), (1, index[:1, :, None]),
                    (2, index[None, :1]), (-3, index[:1, :, None] % 2), (-1, index[:, None] % 4)):  # fmt: skip
        np.testing.assert_array_equal(ops.gather(X, i, axis=axis), np.take_along_axis(X, i, axis))
    narrow = X[:, :1]
    i = np.array([[0, 1, 1]])[..., None]
    y = ops.gather(narrow, i, axis=0)
    assert y.shape == (1, 3, 4) and np.array_equal(y, np.take_along_axis(narrow, i, 0))
    x = leaf(narrow)
    assert grad(ops.gather(x, i, axis=0).sum(), x).data[:, 0].tolist() == [[1] * 4, [2] * 4]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_indices_of_any_integer_dtype(dtype):
    index = np.array([1, 0, 1]).astype(dtype)
    x = leaf(X)
    for y in (ops.take(x, index, axis=1), x[:, index]):
        np.testing.assert_array_equal(y.data, X[:, [1, 0, 1]])
        assert grad(y.sum(), x).data[0, :, 0].tolist() == [1, 2, 0]


# -- joining --------------------------------------------------------------------------------------------------------


def test_joining_many_takes_linear_time(monkeypatch):
    """Where the operands lie is found once per walk, and every gradient is a view until a leaf takes it."""
    calls = []
    monkeypatch.setattr(module, "accumulate", lambda lengths: calls.append(0) or itertools.accumulate(lengths))
    xs = [leaf(np.full((1, i % 3), float(i))) for i in range(2000)]
    y = ops.concat(*xs, axis=-1)
    gradients = grad((y * y).sum(), xs)
    assert len(calls) == 1 and all(np.array_equal(g.data, 2 * x.data) for g, x in zip(gradients, xs))


def test_where_operands_end():
    """The latest answer serves only the shapes and the axis it was given for."""
    a, b = ((1, 2), (3, 4)), ((5, 6), (7, 8))
    assert module._ends(a, 0) == (1, 4) and module._ends(a, 1) == (2, 6)
    assert module._ends(b, 1) == (6, 14) and module._ends(a, 1) == (2, 6)


def test_two_joins_in_one_walk():
    x, y = leaf(np.ones((1, 2))), leaf(np.ones((3, 2)))
    first, second = ops.concat(x, y), ops.concat(x, y[:1], x, axis=1)
    gx, gy = grad(
        (first * np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]])).sum() + (second * np.arange(6.0)).sum(), (x, y)
    )
    assert gx.tolist() == [[1 + 0 + 4, 2 + 1 + 5]] and gy.tolist() == [[3 + 2, 4 + 3], [5, 6], [7, 8]]


# -- padding, rolling, diagonals ------------------------------------------------------------------------------------


def test_pad_modes():
    x = np.array([1.0, 2.0, 3.0])
    for mode, expected in (("constant", [9, 9, 1, 2, 3, 9]), ("reflect", [3, 2, 1, 2, 3, 2]),
                           ("replicate", [1, 1, 1, 2, 3, 3]), ("circular", [2, 3, 1, 2, 3, 1])):  # fmt: skip
        assert ops.pad(x, widths=(2, 1), mode=mode, value=9.0).tolist() == expected
        t, g = leaf(x), np.array([1.0, 10, 100, 1000, 1e4, 1e5])
        back = [sum(w for w, v in zip(g, expected) if v == value) for value in x]
        assert grad(ops.pad(t, widths=(2, 1), mode=mode, value=9.0), t, g).tolist() == back
    assert np.array_equal(ops.pad(x, widths=1, mode="edge"), ops.pad(x, widths=1, mode="replicate"))
    assert np.array_equal(ops.pad(x, widths=1, mode="wrap"), ops.pad(x, widths=1, mode="circular"))
    assert ops.pad(x[:1], widths=2, mode="reflect").tolist() == [1] * 5, "a mirror in which there is one value"
    t = leaf(x)
    assert grad(ops.pad(t, widths=(7, 0), mode="circular").sum(), t).tolist() == [3, 3, 4], "3 1 2 3 1 2 3, 1 2 3"
    assert np.isnan(ops.pad(x, widths=1, value=math.nan)[0]) and ops.pad(x, widths=1, value=-math.inf)[-1] == -math.inf
    assert np.array_equal(ops.pad(x, widths=np.array([[2, 1]])), ops.pad(x, widths=((2, 1),)))
    nan = leaf([math.nan, 1.0])
    assert grad(ops.pad(nan, widths=2).sum(), nan).tolist() == [1, 1]


def test_roll_along_several_axes():
    x = np.arange(6.0).reshape(2, 3)
    assert ops.roll(x, shift=(1, -1), axis=(0, 1)).tolist() == [[4, 5, 3], [1, 2, 0]]
    assert ops.roll(x, shift=2).tolist() == [[4, 5, 0], [1, 2, 3]]
    assert ops.roll(x, shift=[1, 1], axis=[1, 1]).tolist() == np.roll(x, 2, 1).tolist(), "twice the same axis"
    t = leaf(x)
    g = grad((ops.roll(t, shift=[1, 1], axis=[1, 1]) * x).sum(), t)
    assert g.tolist() == np.roll(x, -2, 1).tolist()
    assert grad((ops.roll(t, shift=1) * x).sum(), t).tolist() == np.roll(x, -1).tolist()


def test_axes_count_from_the_end_on_the_way_back_too():
    x = leaf(X)
    y = ops.transpose(x, axes=(-1, 0, -2))
    assert y.shape == (4, 2, 3)
    np.testing.assert_array_equal(grad(y, x, X.transpose(2, 0, 1)).data, X)


def test_triangles_keep_what_is_not_finite_out():
    """Zeros stand beside a triangle whatever stood there, and no NaN comes back from it."""
    x = leaf([[1.0, math.nan], [math.inf, 2.0]])
    assert ops.tril(x).tolist() == [[1, 0], [math.inf, 2]] and ops.triu(x).data[1].tolist() == [0, 2]
    assert grad(ops.triu(x, k=0).sum(), x).tolist() == [[1, 1], [0, 1]]


def test_a_diagonal_can_be_written_to():
    x = Tensor(np.zeros((2, 3, 4)))
    ops.diagonal(x, offset=1, axis1=1, axis2=2)[...] = 1.0
    np.testing.assert_array_equal(x.data, np.eye(3, 4, 1)[None].repeat(2, 0))
    assert ops.diagonal(x, offset=4, axis1=1, axis2=2).shape == ops.diagonal(x, offset=-3, axis1=1, axis2=2).shape
    assert ops.diagonal(x, offset=9, axis1=1, axis2=2).shape == (2, 0)


# -- one_hot and topk -----------------------------------------------------------------------------------------------


def test_one_hot():
    labels = np.array([[2, 0], [1, 1]])
    for make in (np.asarray, Tensor, list):
        y = ops.one_hot(make(labels), n=3)
        assert isinstance(y, Tensor) == (make is Tensor)
        assert y.tolist() == [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]]] and y.dtype == np.float32
    assert ops.one_hot(labels, n=4, dtype=np.float64).dtype == np.float64
    assert ops.one_hot(np.array(1), n=2).tolist() == [0, 1] and ops.one_hot(np.zeros((0,), int), n=0).shape == (0, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("largest", [True, False])
def test_topk_is_a_stable_sort(dtype, largest):
    """Among equals the first, NaN above all, infinities where they belong; every k, along every axis."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (5, 7, 3)).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(x.shape) < 0.3] = np.nan
        x[rng.random(x.shape) < 0.2] = np.inf
        x[rng.random(x.shape) < 0.2] = -np.inf
        x[0] = np.nan
    x.flags.writeable = False

    def rank(v):
        return (1, 0.0) if v != v else (0, float(v))

    for axis in (0, 1, -1):
        n = x.shape[axis]
        rows = np.moveaxis(x, axis, -1).reshape(-1, n).tolist()
        for k in range(n + 1):
            values, index = ops.topk(x, k=k, axis=axis, largest=largest)
            assert values.dtype == dtype and index.dtype == np.intp
            found = np.moveaxis(index, axis, -1).reshape(len(rows), k).tolist()
            for row, f in zip(rows, found):  # sorted is stable, reverse=True keeps it so
                assert f == sorted(range(n), key=lambda i: rank(row[i]), reverse=largest)[:k]
            np.testing.assert_array_equal(values, np.take_along_axis(x, index, axis))


def test_topk_gradient_goes_to_the_chosen():
    x = leaf([[3.0, 1.0, 3.0, 3.0], [math.nan, 0.0, 2.0, math.inf]])
    values, index = ops.topk(x, k=2)
    assert index.tolist() == [[0, 2], [0, 3]] and not index.requires_grad
    assert grad((values * np.array([[1.0, 10.0], [1.0, 10.0]])).sum(), x).tolist() == [[1, 0, 10, 0], [1, 0, 0, 10]]


def test_topk_puts_nan_where_pytorch_does():
    torch = pytest.importorskip("torch")
    x = np.array([[1.0, math.nan, 3.0, -math.inf, math.inf, 2.0]])
    for k, largest in itertools.product((1, 3, 6), (True, False)):
        expected = torch.topk(torch.tensor(x), k, largest=largest)
        values, index = ops.topk(x, k=k, largest=largest)
        np.testing.assert_array_equal(values, expected[0].numpy())
        np.testing.assert_array_equal(index, expected[1].numpy())
