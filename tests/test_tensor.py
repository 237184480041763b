"""Tensor with NumPy's manners: operators, functions, indexing, printing; and what it refuses rather than get wrong."""

import operator
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyae
from tinyae import Tensor, grad, ops
from tinyae.errors import AxisError, DtypeError, GraphError, SettingError, ShapeError, TinyaeError

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.eq, operator.ne,
          operator.lt, operator.le, operator.gt, operator.ge]  # fmt: skip


@pytest.fixture
def t():
    return Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)


# -- operators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2, 2.0, True, np.float64(2), np.float32(2), np.array([2.0, 1.0], np.float32),
                                   Tensor([2.0, 1.0])],
                         ids=lambda o: type(o).__name__)  # fmt: skip
def test_operators_from_both_sides(function, other):
    """As NumPy, float32 staying float32, and a Tensor whoever stands on the left."""
    a = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    t, plain = Tensor(a, requires_grad=True), np.asarray(other, np.float32)
    for y, expected in ((function(t, other), function(a, plain)), (function(other, t), function(plain, a))):
        assert type(y) is Tensor and y.dtype == expected.dtype
        np.testing.assert_allclose(y.data, expected)
        assert y.requires_grad == (y.dtype == np.float32)


def test_unary_operators(t):
    assert (-t).tolist() == [[-1, -2, -3], [-4, -5, -6]] and (+t) is t and abs(-t).tolist() == t.tolist()


def test_matmul_from_both_sides(t):
    a = np.ones((3, 2), np.float32)
    np.testing.assert_allclose((t @ a).data, t.data @ a)
    np.testing.assert_allclose((a @ t).data, a @ t.data)
    assert type(a @ t) is Tensor and (a @ t).requires_grad


@pytest.mark.parametrize("shape", [(4, 5), (1, 5)])
def test_matmul_does_not_guess(t, shape):
    with pytest.raises(ShapeError, match=re.escape(f"matmul: (2, 3) @ {shape}")):
        t @ np.ones(shape)


def test_power_keeps_the_base_once(t):
    assert (t**2)._node.op is ops.square.op and (t**2.0)._node.op is ops.square.op and (t**3)._node.op is ops.pow.op
    with pytest.raises(TinyaeError) as caught:
        Tensor([1, 2]) ** -1
    assert "do not broadcast" not in str(caught.value) and "negative integer powers" in str(caught.value)


def test_float32_stays_float32_through_python_scalars(t):
    for y in (t + 1, 2.0 * t, t / 3, t**2.5, 1 - t, t / np.sqrt(2), t * np.float64(2), t.mean(), t.var(), t > 1, -t,
              t.clip(0.0, 1.0), ops.where(t > 2, t, 0.0), ops.maximum(t, 0), ops.softmax(t),
              t.std(axis=0)):  # fmt: skip
        assert y.dtype in (np.float32, bool)
    assert (t * np.ones(3)).dtype == np.float64, "a float64 array is a decision"


# -- NumPy's functions ----------------------------------------------------------------------------------------------

SINCE_2_1 = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
UFUNCS = ["absolute", "cos", "exp", "expm1", "log", "log1p", "negative", "sign", "sin", "sqrt", "square", "tanh"]
UFUNCS2 = ["add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum", "multiply",
           "not_equal", "power", "subtract"]  # fmt: skip
FUNCTIONS = {
    "sum": lambda x: np.sum(x), "sum axis": lambda x: np.sum(x, axis=0),
    "sum keep": lambda x: np.sum(x, 1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=(0, 1)), "var": lambda x: np.var(x, axis=0, ddof=1), "std": lambda x: np.std(x),
    "max": lambda x: np.max(x, axis=1), "min": lambda x: np.min(x), "amax": lambda x: np.amax(x, axis=0),
    "cumsum": lambda x: np.cumsum(x, 1), "prod": lambda x: np.prod(x, axis=0), "prod all": lambda x: np.prod(x),
    "argmax keep": lambda x: np.argmax(x, axis=1, keepdims=True),
    "amin": lambda x: np.amin(x, 1), "argmax": lambda x: np.argmax(x, axis=1), "argmin": lambda x: np.argmin(x),
    "reshape": lambda x: np.reshape(x, (3, 2)), "transpose": lambda x: np.transpose(x),
    "transpose axes": lambda x: np.transpose(x, (1, 0)), "ravel": lambda x: np.ravel(x),
    "broadcast_to": lambda x: np.broadcast_to(x, (4, 2, 3)), "clip": lambda x: np.clip(x, 2.0, 4.0),
    "clip by name": lambda x: np.clip(x, a_min=None, a_max=4.0),
    **({"clip min": lambda x: np.clip(x, min=2.0)} if SINCE_2_1 else {}),
    "concatenate": lambda x: np.concatenate([x, np.ones((1, 3), np.float32)]),
    "stack": lambda x: np.stack([x, x], axis=1),
    "where": lambda x: np.where(np.array([True, False, True]), x, 0.0),
    "matmul": lambda x: np.matmul(x, np.ones(3, np.float32)),
    "nested": lambda x: np.sum(np.exp(x)),
    "squeeze": lambda x: np.squeeze(x[:1]), "squeeze axis": lambda x: np.squeeze(x[:1], axis=0),
    "expand_dims": lambda x: np.expand_dims(x, (0, 2)), "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1), "flip": lambda x: np.flip(x), "flip axis": lambda x: np.flip(x, axis=1),
    "roll": lambda x: np.roll(x, 2), "roll axes": lambda x: np.roll(x, (1, -1), axis=(0, 1)),
    "pad": lambda x: np.pad(x, 1), "pad value": lambda x: np.pad(x, ((0, 1), (2, 0)), constant_values=3.0),
    "pad edge": lambda x: np.pad(x, ((0, 1), (2, 0)), mode="edge"),
    "diag": lambda x: np.diag(x, k=1), "diag of a vector": lambda x: np.diag(x[0], k=-1),
    "trace": lambda x: np.trace(x),
    "tril": lambda x: np.tril(x), "triu": lambda x: np.triu(x, k=1), "diagonal": lambda x: np.diagonal(x, 1),
    "take": lambda x: np.take(x, [0, 5, 5]), "take axis": lambda x: np.take(x, [2, 0], axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[2], [0]]), axis=1),
    "split": lambda x: np.split(x, 3, axis=1)[1], "split at": lambda x: np.split(x, [1, -1], axis=1)[1],
    "outer": lambda x: np.outer(x, x), "dot": lambda x: np.dot(x, x.T), "dot vector": lambda x: np.dot(x, x[0]),
    "inv": lambda x: np.linalg.inv(x @ x.T), "cholesky": lambda x: np.linalg.cholesky(x @ x.T),
    "solve": lambda x: np.linalg.solve(x @ x.T, x), "norm": np.linalg.norm,
    "norm of rows": lambda x: np.linalg.norm(x, 1, axis=1), "norm, inf": lambda x: np.linalg.norm(x, np.inf, 0),
    "norm, fro": lambda x: np.linalg.norm(x, "fro", keepdims=True), "hstack": lambda x: np.hstack([x, x]),
    "hstack, 1-d": lambda x: np.hstack([x[0], x[0, 0]]), "vstack": lambda x: np.vstack([x, x[0]]),
    "repeat": lambda x: np.repeat(x, 2), "repeat, axis": lambda x: np.repeat(x, [2, 0, 1], axis=1),
    "tile": lambda x: np.tile(x, 2), "tile, axes": lambda x: np.tile(x, (2, 1, 3)), "diff": np.diff,
    "diff, axis": lambda x: np.diff(x, 2, axis=-1) + np.diff(x, axis=0)[:, :1],
}  # fmt: skip


@pytest.mark.parametrize("function", [*(getattr(np, n) for n in UFUNCS),
                                      *(lambda x, f=getattr(np, n): f(x, 2.0) for n in UFUNCS2),
                                      *(lambda x, f=getattr(np, n): f(2.0, x) for n in UFUNCS2), *FUNCTIONS.values()],
                         ids=[*UFUNCS, *UFUNCS2, *(n + " reversed" for n in UFUNCS2), *FUNCTIONS])  # fmt: skip
def test_numpy_functions_take_tensors(t, function):
    y, expected = function(t), np.asarray(function(t.data))
    assert type(y) is Tensor and y.dtype == expected.dtype and y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-6)
    assert y.requires_grad or y.dtype.kind != "f" or y._data.dtype == bool


def test_a_numpy_function_is_known_by_itself_not_by_its_name():
    """``np.linalg.diagonal`` takes the last two axes, ``np.diagonal`` the first."""
    x = Tensor(np.arange(24.0).reshape(2, 3, 4))
    assert np.diagonal(x).shape == (4, 2) and np.linalg.diagonal(x).shape == (2, 3)


def test_numpys_arguments_by_position(t):
    for f in (np.sum, np.mean, np.prod):
        np.testing.assert_allclose(f(t, 0, None, None, True).data, f(t.data, 0, None, None, True), rtol=1e-6)
        with pytest.raises(SettingError, match="dtype= are not supported"):
            f(t, 0, np.float64)
    for f in (np.var, np.std):
        np.testing.assert_allclose(f(t, 0, None, None, 1, True).data, f(t.data, 0, None, None, 1, True), rtol=1e-6)
    for f in (np.max, np.min, np.amax, np.amin):
        assert f(t, 0, None, True).tolist() == f(t.data, 0, None, True).tolist()
    assert np.argmax(t, 1).tolist() == [2, 2] and np.argmin(t, 1).tolist() == [0, 0]
    with pytest.raises(SettingError, match="np.sum: not supported on Tensors this way: .*where"):
        np.sum(t, where=np.ones(3, bool))
    assert np.zeros_like(t).tolist() == [[0.0] * 3] * 2
    for sections in (0, 4):
        with pytest.raises(ShapeError, match=f"does not divide into {sections}"):
            np.split(t, sections, axis=1)


def test_in_place_operators():
    """On a leaf inside no_grad, as in a hand-written training loop, they write; elsewhere they give a new value."""
    p = q = Tensor(np.ones(2), requires_grad=True)
    with tinyae.no_grad():
        p += 2.0
        p -= 1.0
        p *= 3.0
        p /= 2.0
    assert p is q and q.tolist() == [3.0, 3.0] and q.requires_grad
    with pytest.raises(GraphError, match=r"leaf that requires a gradient.*no_grad\(\).*x = x \+ y"):
        p += 1.0
    h = k = p * 1.0
    h += 1.0
    assert h is not k and h.requires_grad and k.tolist() == [3.0, 3.0]
    y = (q * q).sum()
    with tinyae.no_grad():
        q -= 1.0
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()
    plain = other = Tensor([1.0])
    plain += 1.0
    assert other.tolist() == [1.0] and plain.tolist() == [2.0]


def test_array_times_tensor_is_a_tensor(t):
    """And one Tensor, not an array of them."""
    for a in (np.ones(3), np.ones((2, 3)), np.ones(()), np.float32(1), np.float64(1)):
        for y in (a * t, t * a, a - t, a @ t.T if a.ndim else t):
            assert type(y) is Tensor and y.requires_grad
    a = np.ones((2, 3))
    with pytest.raises(TinyaeError, match="out= is not supported"):
        a += t


def test_functions_without_a_derivative(t):
    """Refused where a gradient would be cut silently, else NumPy's own."""
    plain = t.detach()
    product = lambda x: np.vdot(x, x)  # noqa: E731
    spectrum = lambda x: np.linalg.norm(x, 2)  # noqa: E731
    for function in (np.arctan, np.cumprod, np.linalg.svd, np.add.reduce, np.median, spectrum, product):
        with pytest.raises(GraphError, match=r"no derivative here.*detach\(\)"):
            function(t)
        function(plain)
    with pytest.raises(GraphError, match="no derivative here"):
        np.fft.fft(t)
    for write in (np.copyto, lambda a, x: np.put(a, [0], x), lambda a, x: np.putmask(a, a == 0, x)):
        with pytest.raises(GraphError, match="no derivative here"):
            write(np.zeros((2, 3), np.float32), t)
        write(np.zeros((2, 3), np.float32), plain)
    assert type(np.arctan(plain)) is np.ndarray
    assert np.shape(t) == (2, 3) and np.ndim(t) == 2 and np.size(t) == 6 and not np.isnan(t).any()
    assert np.allclose(t, t.data) and np.array_equal(t, plain) and np.isfinite(t).all() and np.count_nonzero(t) == 6
    assert [a.tolist() for a in np.where(t > 4)] == [a.tolist() for a in np.nonzero(t > 4)] == [[1, 1], [1, 2]]


@pytest.mark.parametrize("call", [lambda t: np.exp(t, out=np.empty((2, 3))), lambda t: np.sum(t, out=np.empty(())),
                                  lambda t: np.mean(t, dtype=np.float64),
                                  lambda t: np.max(t, out=np.empty(()))])  # fmt: skip
def test_out_and_dtype_are_refused(t, call):
    with pytest.raises(SettingError, match="not supported on Tensors"):
        call(t)


def test_conversion(t):
    wanting, t = t, t.detach()
    rows = [*wanting]
    whole = [np.array] if SINCE_2_1 else []  # NumPy 2.0 asks for it as np.asarray does
    for convert in (*whole, lambda t: np.asarray([t, t]), lambda t: np.zeros(t.shape) + [*t], lambda t: np.array(rows),
                    lambda t: np.asarray([2 * row for row in rows]), lambda t: np.array((t[0, 0], 1.0), float)):
        with pytest.raises(GraphError, match=r"an array cannot carry.*ops.stack.*t.data or t.detach\(\)"):
            convert(wanting)
        with tinyae.no_grad():
            convert(wanting)
    whole = wanting.sum()
    assert np.array_equal(np.asarray(wanting), t.data) and np.asarray(whole) == 21  # asked for in so many words
    double = np.float64
    assert np.asarray(wanting * 2, dtype=double).sum() == np.asarray(wanting * 2, float).sum() == 42
    assert not np.asarray(wanting).flags.writeable
    np.testing.assert_array_equal(wanting, t.data)
    a = np.asarray(t)
    assert np.shares_memory(a, t._data) and not a.flags.writeable
    assert not np.shares_memory(np.array(t), t._data) and np.array(t).flags.writeable
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert Tensor(3.5).item() == float(Tensor(3.5)) == 3.5 and int(Tensor(3)) == 3
    assert [10, 20, 30][Tensor(1)] == 20 and list(range(Tensor(3))) == [0, 1, 2]
    assert bool(Tensor(1.0)) and not Tensor([0.0]) and f"{Tensor(3.14159):.2f}" == "3.14"
    assert t.tolist() == [[1, 2, 3], [4, 5, 6]] and len(t) == 2 and [row.tolist() for row in t] == t.tolist()
    assert (t.shape, t.ndim, t.size, t.dtype) == ((2, 3), 2, 6, np.float32)
    with pytest.raises(AxisError, match=r"item: a Tensor of shape \(2, 3\) is not one value"):
        float(t)
    with pytest.raises(AxisError, match="neither true nor false"):
        bool(t > 1)
    with pytest.raises(AxisError, match="0-d Tensor has no length"):
        len(Tensor(1.0))
    with pytest.raises(AxisError):
        iter(Tensor(1.0)).__next__()
    with pytest.raises(DtypeError, match=r"a float32 Tensor of shape \(\) cannot be an index"):
        [1][Tensor(0.0)]


def test_hash_is_identity(t):
    assert len({t, t, t.detach()}) == 2 and {t: 1}[t] == 1


def test_astype(t):
    y = t.astype("float64")
    y.sum().backward()
    assert y.dtype == np.float64 and t.grad.dtype == np.float32
    assert t.astype(int).dtype == np.int64 and not t.astype(int).requires_grad
    for bad in (complex, np.float16, "O", "U3"):
        with pytest.raises(DtypeError, match="astype: "):
            t.astype(bad)


# -- indexing and shapes --------------------------------------------------------------------------------------------

INDICES = {
    "int": 1, "negative": -1, "slice": slice(None, None, -1), "tuple": (0, 1), "ellipsis": (Ellipsis, 0),
    "new axis": (None, 0), "list": [0, 0, 1], "array": np.array([1, 0]), "pairs": ([0, 1], [2, 2]), "empty": [],
    "mixed": (slice(None), [0, 2]), "mask": np.array([[True, False, True], [False, False, True]]), "all": (),
    "rows": np.array([True, False]), "none": None, "tensor": Tensor([1, 1]), "tensor mask": Tensor([True, False]),
    "numpy int": np.int64(1), "tensors": (Tensor(1), Tensor([0, 2])),
    "empty slice": slice(2, 2), "no rows": np.zeros(2, bool), "true": True,
}  # fmt: skip


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_indexing(t, index):
    """NumPy's values; ones scattered back to where they came from, repeated ones added."""
    plain = tuple(np.asarray(i) if isinstance(i, Tensor) else i for i in index) if isinstance(index, tuple) else index
    plain = np.asarray(plain) if isinstance(plain, Tensor) else plain
    y = t[index]
    np.testing.assert_array_equal(y.data, t.data[plain])
    picked = np.arange(6).reshape(2, 3)[plain].ravel()
    assert grad(y.sum(), t).data.ravel().tolist() == np.bincount(picked, minlength=6).tolist()


@pytest.mark.parametrize("index", [2, (0, 3), [0, 5], (0, 0, 0), "a", 1.0])
def test_bad_indices(t, index):
    with pytest.raises(AxisError, match=r"getitem: operands of shape \(2, 3\)"):
        t[index]


@given(data=st.data())
def test_reshaping(data):
    x = np.arange(24.0).reshape(2, 3, 4)
    t = Tensor(x, requires_grad=True)
    shape = data.draw(st.sampled_from([(24,), (4, 6), (-1, 2), (2, -1, 3), (1, 24, 1)]))
    axes = data.draw(st.permutations(range(3)))
    for y, expected in (
        (t.reshape(*shape), x.reshape(shape)),
        (t.reshape(shape), x.reshape(shape)),
        (t.reshape(list(shape)), x.reshape(shape)),
        (t.transpose(*axes), x.transpose(axes)),
        (t.transpose(tuple(axes)), x.transpose(axes)),
        (t.transpose(0, -1, 1), x.transpose(0, 2, 1)),
        (t.transpose(), x.T),
        (t.T, x.T),
        (t.mT, x.mT),
        (t.flatten(), x.reshape(-1)),
        (t.flatten(1), x.reshape(2, 12)),
        (t.flatten(3), x[..., None]),
    ):
        np.testing.assert_array_equal(y.data, expected)
        assert grad(y.sum(), t).tolist() == np.ones((2, 3, 4)).tolist()
    assert np.shares_memory(t.reshape(*shape)._data, t._data), "a view, as in NumPy"
    assert Tensor(np.ones((0, 3))).flatten(1).shape == (0, 3) and Tensor(np.ones((2, 0))).flatten().shape == (0,)


def test_bad_shapes(t):
    with pytest.raises(ShapeError, match=r"reshape: operands of shape \(2, 3\), shape=\(5,\)"):
        t.reshape(5)
    with pytest.raises(AxisError, match=r"flatten: start=3 for a Tensor of shape \(2, 3\)"):
        t.flatten(3)
    with pytest.raises(AxisError, match=r"mT: a Tensor of shape \(3,\) is not a matrix"):
        _ = t[0].mT
    with pytest.raises(AxisError, match="sum.*axis=5"):
        t.sum(axis=5)


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "sin", "cos", "tanh",
                                  "sigmoid", "relu"])  # fmt: skip
def test_methods_are_the_ops(t, name):
    y = getattr(t, name)()
    assert y._node.op is getattr(ops, name).op and type(y) is Tensor


@pytest.mark.parametrize(("method", "arguments", "expected"), [
    ("permute", (1, 0), lambda a: a.T), ("squeeze", (), lambda a: a), ("unsqueeze", (1,), lambda a: a[:, None]),
    ("unsqueeze", ([0, -1],), lambda a: a[None, :, :, None]), ("swapaxes", (0, 1), lambda a: a.T),
    ("flip", (1,), lambda a: a[:, ::-1]), ("roll", (1, 0), lambda a: a[::-1]), ("roll", (7,), lambda a: np.roll(a, 7)),
    ("take", ([1, 1], 0), lambda a: a[[1, 1]]), ("take", (5,), lambda a: a[1, 2]),
    ("gather", (np.array([[0, 2], [1, 1]]), 1), lambda a: np.array([[a[0, 0], a[0, 2]], [a[1, 1], a[1, 1]]])),
    ("diagonal", (), np.diagonal), ("tril", (), np.tril), ("triu", (1,), lambda a: np.triu(a, 1)),
    ("logsumexp", (1,), lambda a: np.log(np.exp(a).sum(1))), ("softmax", (0,), lambda a: np.exp(a) / np.exp(a).sum(0)),
    ("log_softmax", ([0, 1],), lambda a: a - np.log(np.exp(a).sum())),
])  # fmt: skip
def test_methods_with_settings(t, method, arguments, expected):
    y = getattr(t, method)(*arguments)
    np.testing.assert_allclose(y.data, expected(t.data), rtol=1e-5)
    assert y.requires_grad


def test_split_and_topk_give_several(t):
    assert [p.tolist() for p in t.split(2, 1)] == [[[1, 2], [4, 5]], [[3], [6]]]
    assert [p.shape for p in t.split([0, 2], axis=0)] == [(0, 3), (2, 3)]
    values, indices = t.topk(2)
    assert values.tolist() == [[3, 2], [6, 5]] and indices.tolist() == [[2, 1], [2, 1]]
    with pytest.raises(ShapeError, match="does not divide into 2 equal parts"):
        np.split(t, 2, axis=1)


def test_reductions_take_lists_of_axes(t):
    for name in ("sum", "mean", "max", "min", "var", "std", "prod"):
        assert getattr(t, name)(axis=[0, 1]).shape == () and getattr(t, name)([1], True).shape == (2, 1)
    assert t.argmax(axis=1).tolist() == [2, 2] and t.argmin().item() == 0
    assert t.argmin(axis=0, keepdims=True).tolist() == [[0, 0, 0]]
    assert t.norm(axis=[0, 1]).item() == pytest.approx(91**0.5) and t.norm(1, axis=1).tolist() == [6, 15]


# -- printing -------------------------------------------------------------------------------------------------------


def test_repr(t):
    assert repr(t) == ("Tensor([[1., 2., 3.],\n        [4., 5., 6.]], shape=(2, 3), dtype=float32, requires_grad=True)")
    assert repr(t.sum()) == "Tensor(21., shape=(), dtype=float32, op=sum)"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2], shape=(2,), dtype=int64)"
    assert repr(Tensor(np.zeros((0, 2)))) == "Tensor([], shape=(0, 2), dtype=float64)"
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 500
    assert str(t) == f"{t}" == repr(t)


def test_tree():
    """Every value met once, with op, shape, value, gradient and the line of this file that made it."""
    w = Tensor([[1.0, 2.0]], requires_grad=True)
    h = w * 3.0
    loss = (h * h).sum()
    loss.backward()
    lines = loss.tree().splitlines()
    columns = ["op", "shape", "value", "gradient", "source"]
    assert lines[0].split() == columns
    starts = [lines[0].index(c) for c in columns]
    rows = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])] for line in lines[1:]]
    assert rows[0][:4] == ["#1 sum", "()", "45", "1"]
    assert rows[1][:4] == ["#2 mul", "(1, 2)", "[9 36]", "[1 1]"]
    assert rows[2][:4] == ["|- #3 mul", "(1, 2)", "[3 6]", "[6 12]"]
    assert rows[3][:4] == ["|  #4 leaf", "(1, 2)", "[1 2]", "[18 36]"]
    assert rows[4][:4] == ["`- mul (see #3)", "", "", ""]
    assert re.fullmatch(r"test_tensor.py:\d+  loss = \(h \* h\)\.sum\(\)", rows[0][4])
    assert re.fullmatch(r"test_tensor.py:\d+  h = w \* 3\.0", rows[2][4])
    assert len(loss.tree(depth=1).splitlines()) == 3
    assert Tensor(1.0).tree() == repr(Tensor(1.0))


def test_tree_of_something_big():
    """Long values are cut, large ones are not kept, a chain of thousands is no recursion."""
    x = y = Tensor(np.ones(60), requires_grad=True)
    for _ in range(3000):
        y = y + 1.0
    text = y.sum().tree()
    assert len(text.splitlines()) == 3003 and "[3001 3001 3001 3001 ..]" in text
    assert max(map(len, text.splitlines())) < 200
    big = (Tensor(np.ones(65), requires_grad=True) * 2.0).sum().tree().splitlines()
    assert re.search(r"#2 mul +\(65,\) +- +- ", big[2])
    assert big[-1] == "- : more than 64 values, not kept; retain_grad() keeps a gradient" and len(big) == 5
    assert "not kept" not in text + x.tree(), "no gradient yet, and nothing large but what is kept: leaves"
    large = (Tensor(np.ones(65), requires_grad=True) * 2.0).retain_grad()
    large.sum().backward()
    assert "[1 1 1 1 ..]" in large.tree().splitlines()[1]
    assert x.grad is None
    for _ in range(200):
        y = y * 0.5 + (y + 1.0) * 0.5
    assert max(map(len, y.sum().tree().splitlines())) < 400


@pytest.mark.parametrize("function, twin", [(np.sort, "ops.topk"), (np.log2, "ops.log"), (np.linalg.det, "ops.logdet"),
                                            (lambda x: np.einsum("ij->i", x), "ops.matmul")])  # fmt: skip
def test_a_numpy_function_that_is_refused_names_what_to_write(function, twin):
    square = Tensor(np.eye(3) + 1, requires_grad=True)
    with pytest.raises(GraphError, match=rf"no derivative here\. Write {re.escape(twin)}.*or pass t\.detach\(\)"):
        function(square)
    assert isinstance(function(square.detach()), (np.ndarray, np.generic))


# -- where NumPy would cut a gradient -------------------------------------------------------------------------------

def filled(t):
    buffer = np.zeros(2)
    buffer[:] = t
    return buffer


def stored(t):
    buffer = np.zeros((2, 2))
    buffer[0, 1] = t[0]
    return buffer


CONTAINERS = {
    "array": lambda t: np.array([[t[0].cos(), 1.0], [0.0, t[1]]]), "r_": lambda t: np.r_[t[:1], t],
    "c_": lambda t: np.c_[t, t], "vectorize": np.vectorize(lambda v: 2 * v), "asarray": lambda t: np.asarray([t]),
    "buffer": lambda t: filled(t), "element": stored,
    "list": lambda t: np.array([*t]), "full": lambda t: np.full(2, t[0]), "Tensor": lambda t: Tensor([t[0], t[1]]),
    "Tensor of rows": lambda t: Tensor([[t[0], 1.0], [2.0, t[1]]]), "nested": lambda t: Tensor((t, t)),
    "block": lambda t: np.block([[t], [t]]), "meshgrid": lambda t: np.meshgrid(t, t), "object": lambda t: np.copy(t),
    "fft": np.fft.rfft, "kron": lambda t: np.kron(t, t), "frame": lambda t: np.lib.stride_tricks.as_strided(t, (1,)),
    "out": lambda t: np.add(np.ones(2), np.ones(2), out=t), "polyval": lambda t: np.polyval(t, 2.0),
    "interp": lambda t: np.interp(0.5, [0.0, 1.0], t), "apply": lambda t: np.apply_along_axis(np.sum, 0, t),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_no_container_of_numpy_cuts_a_gradient(container):
    """Either a Tensor with its history comes out, or an error that says what to write; with no_grad, the values."""
    t = Tensor([0.5, -1.0], requires_grad=True)
    try:
        y = container(t)
    except (TinyaeError, ValueError) as problem:
        ours = problem if isinstance(problem, TinyaeError) else problem.__cause__  # NumPy says something of its own first
        assert isinstance(ours, TinyaeError)
        assert re.search(r"ops\.|detach|custom_op|Use the operators", str(ours))
    else:
        leaves = y if isinstance(y, (list, tuple)) else [y]
        assert all(isinstance(part, Tensor) and part.requires_grad for part in leaves), type(y)


def test_a_pandas_series_does_not_cut_a_gradient():
    pandas = pytest.importorskip("pandas")
    t = Tensor([0.5, -1.0], requires_grad=True)
    for use in (lambda s: s * t, lambda s: t * s, lambda s: s.to_numpy() * t, lambda s: s.add(t)):
        try:
            y = use(pandas.Series([1.0, 2.0]))
        except TinyaeError:
            continue
        assert isinstance(y, Tensor) and y.requires_grad


def test_values_leave_freely():
    """What asks for values in so many words, or where nothing is recorded, gets them."""
    t = Tensor([0.5, -1.0], requires_grad=True)
    loss = (t * t).sum()
    assert float(loss) == loss.item() == 1.25 and f"{loss:.2f}" == "1.25" and t.tolist() == [0.5, -1.0]
    assert np.array_equal(t.data, [0.5, -1.0]) and np.array_equal(np.array(t.detach()), t.numpy())
    with tinyae.no_grad():
        assert np.array_equal(np.array([t[0], t[1]]), [0.5, -1.0])
    loss.backward()
    assert np.array_equal(np.asarray(t.grad), [1.0, -2.0]) and np.allclose(t.grad, [1.0, -2.0])
