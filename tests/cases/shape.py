"""``ops/shape.py``, and ``broadcast_to``, ``sum_to`` and ``cast`` of the engine."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError

from .arrays import axes, laid_out, row_into, shapes, values


ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


@row
def broadcast_to_row(draw):
    small, big = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0))[0]
    return [laid_out(draw, values(draw, small))], {"shape": np.broadcast_shapes(small, big)}


@row
def sum_to_row(draw):
    small, big = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0))[0]
    return [laid_out(draw, values(draw, np.broadcast_shapes(small, big)))], {"shape": small}


@row
def cast_row(draw):
    return [laid_out(draw, values(draw, draw(shapes())))], {"dtype": np.dtype(np.float64)}


@row
def reshape_row(draw):
    x = values(draw, draw(shapes()))
    new = list(draw(st.permutations(x.shape)))
    if draw(st.booleans()):
        new = [*new[:-2], math.prod(new[-2:])]
    if x.size and new and draw(st.booleans()):
        new[0] = -1
    return [laid_out(draw, x)], {"shape": tuple(new)}


@row
def transpose_row(draw):
    x = values(draw, draw(shapes()))
    order = draw(st.permutations(range(x.ndim)))
    order = [a - x.ndim if draw(st.booleans()) else a for a in order]
    return [laid_out(draw, x)], {"axes": draw(st.sampled_from([None, tuple(order)]))}


def index_of(draw, shape):
    """Basic indices, repeated integers in lists and arrays, masks; and a tuple of both kinds."""
    some = [hnp.basic_indices(shape, allow_newaxis=True)]
    if shape and min(shape) > 0:
        pick = st.lists(st.integers(-shape[0], shape[0] - 1), max_size=5)
        some += [
            pick.filter(bool),
            pick.map(lambda p: np.array(p, dtype=np.int64)),
            pick.filter(bool).map(lambda p: (Ellipsis, [abs(i) % shape[-1] for i in p])),
            hnp.arrays(np.bool_, shape),
            hnp.arrays(np.bool_, shape[:1]),
        ]
    return draw(st.one_of(some))


@row
def getitem_row(draw):
    x = values(draw, draw(shapes()))
    return [laid_out(draw, x)], {"index": index_of(draw, x.shape)}


@row
def _scatter_row(draw):
    shape = draw(shapes())
    index = index_of(draw, shape)
    return [laid_out(draw, values(draw, np.shape(np.empty(shape)[index])))], {"index": index, "shape": shape}


@row
def concat_row(draw):
    shape = draw(shapes(min_dims=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    at = axis % len(shape)
    parts = [laid_out(draw, values(draw, (*shape[:at], n, *shape[at + 1 :]))) for n in lengths]
    return parts, {"axis": axis}


@row
def stack_row(draw):
    shape = draw(shapes(max_dims=2))
    parts = [laid_out(draw, values(draw, shape)) for _ in range(draw(st.integers(1, 3)))]
    return parts, {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


@row
def flip_row(draw):
    x = values(draw, draw(shapes()))
    return [laid_out(draw, x)], {"axis": axes(draw, x.ndim)}


@row
def roll_row(draw):
    x = values(draw, draw(shapes()))
    axis = axes(draw, x.ndim)
    shift = st.integers(-5, 5)
    shift = st.tuples(*[shift] * len(axis)) if isinstance(axis, tuple) else shift
    return [laid_out(draw, x)], {"axis": axis, "shift": draw(shift)}


@row
def pad_row(draw):
    mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate", "edge", "circular", "wrap"]))
    x = values(draw, draw(shapes(min_side=mode != "constant")))
    width = st.integers(0, 6)  # more than an axis has, too
    widths = draw(st.one_of(width, st.tuples(width, width), st.tuples(*[st.tuples(width, width)] * x.ndim)))
    return [laid_out(draw, x)], {"widths": widths, "mode": mode, "value": draw(st.sampled_from([0.0, 1.5]))}


@row
def tril_row(draw):
    return [laid_out(draw, values(draw, draw(shapes(min_dims=2))))], {"k": draw(st.integers(-5, 5))}


ROWS["triu"] = tril_row


@row
def diagonal_row(draw):
    x = values(draw, draw(shapes(min_dims=2)))
    axis1, axis2 = draw(st.permutations(range(x.ndim)))[:2]
    axis1 -= draw(st.sampled_from([0, x.ndim]))
    return [laid_out(draw, x)], {"offset": draw(st.integers(-5, 5)), "axis1": axis1, "axis2": axis2}


@row
def _from_diagonal_row(draw):
    (x,), settings = diagonal_row(draw)
    y = values(draw, np.diagonal(x, **settings).shape)
    return [laid_out(draw, y)], {**settings, "shape": x.shape}


def picked(draw, shape, n):
    """Integers that index n places, from either end."""
    low = min(n, 1) * draw(st.sampled_from([-n, 0]))
    index = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(low, max(n, 1), shape if n else 0)
    index = np.reshape(index, shape).astype(draw(st.sampled_from([np.int64, np.int32])))
    turned = np.flip(np.flip(index).copy())
    index = np.asarray(draw(st.sampled_from([index, turned, np.asarray(index, order="F")]))).view()
    index.flags.writeable = False
    return index


@row
def gather_row(draw):
    """Along the other axes either of the two may have length 1."""
    shape = draw(shapes(min_dims=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at, n = axis % len(shape), shape[axis]
    m = draw(st.integers(0, 5)) if n else 0
    x_shape = [k if draw(st.integers(0, 3)) or a == at else 1 for a, k in enumerate(shape)]
    index_shape = [m if a == at else k if draw(st.booleans()) else 1 for a, k in enumerate(shape)]
    x = laid_out(draw, values(draw, x_shape))
    return [x, picked(draw, tuple(index_shape), n)], {"axis": axis}


@row
def _scatter_along_row(draw):
    (x, index), settings = gather_row(draw)
    axis = settings["axis"] % x.ndim
    shape = np.broadcast_shapes((*x.shape[:axis], 1, *x.shape[axis + 1 :]), index.shape)
    return [laid_out(draw, values(draw, shape)), index], {**settings, "shape": x.shape}


@row
def one_hot_row(draw):
    n = draw(st.integers(1, 5))
    labels = np.asarray(abs(picked(draw, draw(shapes()), n)) % n)
    return [labels], {"n": n, "dtype": draw(st.sampled_from([np.float32, np.int64, np.bool_]))}


@row
def argtopk_row(draw):
    x = laid_out(draw, values(draw, draw(shapes(min_dims=1))))  # repeated, they tie
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    return [x], {"k": draw(st.integers(0, x.shape[axis])), "axis": axis, "largest": draw(st.booleans())}


# -- the same, value by value ---------------------------------------------------------------------------------------


def _sum_to(x, *, shape):
    y = np.zeros(shape)
    for i in np.ndindex(*x.shape):
        y[tuple(0 if n == 1 else j for j, n in zip(i[x.ndim - len(shape) :], shape))] += x[i]
    return y


def _scatter(g, *, index, shape):
    """The matrix of getitem, transposed."""
    where = np.arange(math.prod(shape)).reshape(shape)[index]
    y = np.zeros(math.prod(shape))
    for i, v in zip(where.ravel().tolist(), g.ravel().tolist()):
        y[i] += v
    return y.reshape(shape)


def _by_place(shape, source):
    """The array of that shape whose value at each place is source(place)."""
    return np.array([source(i) for i in np.ndindex(*shape)], dtype=float).reshape(shape)


def _flip(x, *, axis):
    turned = range(x.ndim) if axis is None else [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
    return _by_place(x.shape, lambda i: x[tuple(n - 1 - j if a in turned else j for a, (j, n) in
                                                enumerate(zip(i, x.shape)))])  # fmt: skip


def _roll(x, *, shift, axis):
    if axis is None:
        return _roll(x.reshape(-1), shift=shift, axis=0).reshape(x.shape)
    moves = dict(zip([a % x.ndim for a in axis], shift)) if isinstance(axis, tuple) else {axis % x.ndim: shift}
    return _by_place(x.shape, lambda i: x[tuple((j - moves.get(a, 0)) % x.shape[a] for a, j in enumerate(i))])


_SOURCES = {  # where place i, counted from the first value, takes its value from
    "reflect": lambda i, n: n - 1 - abs(n - 1 - i % (2 * n - 2)) if n > 1 else 0,
    "replicate": lambda i, n: min(max(i, 0), n - 1),
    "circular": lambda i, n: i % n,
}
_SOURCES |= {"edge": _SOURCES["replicate"], "wrap": _SOURCES["circular"]}


def _pairs(widths, ndim):
    if isinstance(widths, int):
        return [(widths, widths)] * ndim
    return [widths] * ndim if widths and isinstance(widths[0], int) else list(widths)


def _pad(x, *, widths, mode, value):
    pairs = _pairs(widths, x.ndim)

    def source(i):
        place = tuple(j - before for j, (before, _) in zip(i, pairs))
        if mode == "constant":
            return x[place] if all(0 <= j < n for j, n in zip(place, x.shape)) else value
        return x[tuple(_SOURCES[mode](j, n) for j, n in zip(place, x.shape))]

    return _by_place([before + n + after for n, (before, after) in zip(x.shape, pairs)], source)


def _diagonal_places(shape, offset, axis1, axis2):
    """(place in the diagonal, place in the array) of every value on it."""
    ndim = len(shape)
    for i in np.ndindex(*shape):
        if i[axis2] - i[axis1] == offset:
            rest = tuple(j for a, j in enumerate(i) if a not in (axis1 % ndim, axis2 % ndim))
            yield (*rest, min(i[axis1], i[axis2])), i


def _diagonal(x, *, offset, axis1, axis2):
    rest = [n for a, n in enumerate(x.shape) if a not in (axis1 % x.ndim, axis2 % x.ndim)]
    n = sum(j - i == offset for i in range(x.shape[axis1]) for j in range(x.shape[axis2]))
    y = np.zeros((*rest, n))
    for to, place in _diagonal_places(x.shape, offset, axis1, axis2):
        y[to] = x[place]
    return y


def _from_diagonal(g, *, offset, axis1, axis2, shape):
    y = np.zeros(shape)
    for to, place in _diagonal_places(shape, offset, axis1, axis2):
        y[place] = g[to]
    return y


def _gather_places(y_shape, index, axis, shape):
    """(place in y, place in x) of every value that is picked."""
    for i in np.ndindex(*y_shape):
        number = index[tuple(j if n > 1 else 0 for j, n in zip(i, index.shape))]
        yield i, tuple(number if a == axis % len(shape) else j if shape[a] > 1 else 0 for a, j in enumerate(i))


def _gather(x, index, *, axis):
    at = axis % x.ndim
    y = np.zeros(np.broadcast_shapes((*x.shape[:at], 1, *x.shape[at + 1 :]), index.shape))
    for to, place in _gather_places(y.shape, index, axis, x.shape):
        y[to] = x[place]
    return y


def _scatter_along(g, index, *, axis, shape):
    y = np.zeros(shape)
    for to, place in _gather_places(g.shape, index, axis, shape):
        y[place] += g[to]
    return y


def _argtopk(x, *, k, axis, largest):
    rows = np.moveaxis(x, axis, -1)
    sign = -1 if largest else 1
    best = [sorted(range(len(row)), key=lambda i: sign * row[i])[:k] for row in
            rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1]).tolist()]  # fmt: skip
    return np.moveaxis(np.array(best, dtype=int).reshape(*rows.shape[:-1], k), -1, axis)


def _joined(xs, axis, new):
    """Value by value; new: along an axis that the operands do not have."""
    ndim = xs[0].ndim + new
    parts = [x.reshape(*x.shape[: axis % ndim], 1, *x.shape[axis % ndim :]) for x in xs] if new else xs
    lengths = [x.shape[axis] for x in parts]
    owner = [(x, i) for x, n in zip(parts, lengths) for i in range(n)]

    def source(i):
        part, at = owner[i[axis]]
        return part[(*i[: axis % ndim], at, *i[axis % ndim + 1 :])]

    return _by_place([sum(lengths) if a == axis % ndim else n for a, n in enumerate(parts[0].shape)], source)


TRUTH |= {
    "broadcast_to": lambda x, *, shape: x * np.ones(shape), "sum_to": _sum_to, "cast": lambda x, *, dtype: x,
    "reshape": lambda x, *, shape: np.array(x.ravel().tolist()).reshape(shape),
    "transpose": lambda x, *, axes: np.einsum(
        x, list(range(x.ndim)), [a % x.ndim for a in axes or range(x.ndim)[::-1]]),
    "getitem": lambda x, *, index: x[index], "_scatter": _scatter,
    "concat": lambda *xs, axis: _joined(xs, axis, False), "stack": lambda *xs, axis: _joined(xs, axis, True),
    "flip": _flip, "roll": _roll, "pad": _pad, "diagonal": _diagonal, "_from_diagonal": _from_diagonal,
    "tril": lambda x, *, k: _by_place(x.shape, lambda i: x[i] if i[-1] - i[-2] <= k else 0),
    "triu": lambda x, *, k: _by_place(x.shape, lambda i: x[i] if i[-1] - i[-2] >= k else 0),
    "gather": _gather, "_scatter_along": _scatter_along, "argtopk": _argtopk,
    "one_hot": lambda labels, *, n, dtype: np.eye(n)[labels],
}  # fmt: skip


# -- by PyTorch -----------------------------------------------------------------------------------------------------


def _each_axis(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def _places(torch, shape, index):
    """The flat places that an index means; PyTorch's own indices know no negative steps."""
    return torch.tensor(np.array(np.arange(math.prod(shape)).reshape(shape)[index]))


def _torch_scatter(torch, g, *, index, shape):
    flat = torch.zeros(math.prod(shape), dtype=g.dtype)
    return flat.index_add(0, _places(torch, shape, index).reshape(-1), g.reshape(-1)).reshape(shape)


def _torch_pad(torch, x, *, widths, mode, value):
    """Its own within its limits: it pads the last axes of a batch, by less than they have. Beyond, axis by axis."""
    pairs = _pairs(widths, x.ndim)
    flat = [width for pair in reversed(pairs) for width in pair]
    if mode == "constant":
        return torch.nn.functional.pad(x, flat, "constant", value)
    room = [n - (mode == "reflect") for n in x.shape]
    if x.ndim and all(max(pair) <= n for pair, n in zip(pairs, room)):
        mode = {"edge": "replicate", "wrap": "circular"}.get(mode, mode)
        return torch.nn.functional.pad(x[None, None], flat, mode)[0, 0]
    for axis, (n, (before, after)) in enumerate(zip(x.shape, pairs)):
        x = x.index_select(axis, torch.tensor([_SOURCES[mode](i, n) for i in range(-before, n + after)]))
    return x


def _positive(torch, index, n):
    return torch.where(index < 0, index + n, index).long()


def _torch_gather(torch, x, index, *, axis):
    at = axis % x.ndim
    others = torch.broadcast_shapes(*((*a.shape[:at], 1, *a.shape[at + 1 :]) for a in (x, index)))
    x, index = (a.expand(*others[:at], a.shape[at], *others[at + 1 :]) for a in (x, index))
    return torch.gather(x, at, _positive(torch, index, x.shape[at]))


def _torch_scatter_along(torch, g, index, *, axis, shape):
    """Into what it picks from: PyTorch's scatter_add, and a sum over what was broadcast."""
    at = axis % len(shape)
    index = _positive(torch, index.expand(g.shape), shape[at])
    wide = torch.zeros((*g.shape[:at], shape[at], *g.shape[at + 1 :]), dtype=g.dtype)
    return wide.scatter_add(at, index, g).sum_to_size(shape)


def _torch_argtopk(torch, x, *, k, axis, largest):
    """Its topk breaks ties as it likes, its stable sort as we do."""
    return torch.sort(x, dim=axis, descending=largest, stable=True)[1].narrow(axis, 0, k)


def _torch_from_diagonal(torch, g, *, offset, axis1, axis2, shape):
    return torch.diagonal_scatter(torch.zeros(shape, dtype=g.dtype), g, offset, axis1, axis2)


TORCH |= {
    "broadcast_to": lambda torch, x, *, shape: torch.broadcast_to(x, shape),
    "sum_to": lambda torch, x, *, shape: x.sum_to_size(shape),
    "cast": lambda torch, x, *, dtype: x.to(getattr(torch, np.dtype(dtype).name)),
    "reshape": lambda torch, x, *, shape: torch.reshape(x, shape),
    "transpose": lambda torch, x, *, axes: x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes),
    "getitem": lambda torch, x, *, index: x.reshape(-1)[_places(torch, x.shape, index)],
    "_scatter": _torch_scatter,
    "concat": lambda torch, *xs, axis: torch.cat(xs, axis), "stack": lambda torch, *xs, axis: torch.stack(xs, axis),
    "flip": lambda torch, x, *, axis: torch.flip(x, _each_axis(x, axis) if not isinstance(axis, int) else (axis,)),
    "roll": lambda torch, x, *, shift, axis: torch.roll(x, shift, axis) if axis != () else x,
    "pad": _torch_pad,
    "tril": lambda torch, x, *, k: torch.tril(x, k), "triu": lambda torch, x, *, k: torch.triu(x, k),
    "diagonal": lambda torch, x, *, offset, axis1, axis2: torch.diagonal(x, offset, axis1, axis2),
    "_from_diagonal": _torch_from_diagonal, "gather": _torch_gather, "_scatter_along": _torch_scatter_along,
    "one_hot": lambda torch, labels, *, n, dtype: torch.nn.functional.one_hot(labels.long(), n).to(
        getattr(torch, np.dtype(dtype).name)),
    "argtopk": _torch_argtopk,
}  # fmt: skip

x23, x45 = np.ones((2, 3)), np.ones((4, 5))
BAD = [
    (ShapeError, "broadcast_to", (x23,), {"shape": (4, 5)}),
    (ShapeError, "reshape", (x23,), {"shape": (4, 5)}),
    (ShapeError, "reshape", (x23,), {"shape": (-1, -1)}),
    (ShapeError, "transpose", (x23,), {"axes": (0, 0)}),
    (AxisError, "transpose", (x23,), {"axes": (0, 7)}),
    (AxisError, "getitem", (x23,), {"index": 7}),
    (AxisError, "getitem", (x23,), {"index": (0, 0, 0)}),
    (AxisError, "getitem", (x23,), {"index": [0, 9]}),
    (AxisError, "getitem", (x23,), {"index": np.ones(4, bool)}),
    (ShapeError, "concat", (x23, x45), {}),
    (ShapeError, "concat", (), {}),
    (AxisError, "concat", (x23, x23), {"axis": 2}),
    (ShapeError, "stack", (x23, x45), {}),
    (AxisError, "stack", (x23, x23), {"axis": 3}),
    (AxisError, "flip", (x23,), {"axis": 2}),
    (ShapeError, "flip", (x23,), {"axis": (0, 0)}),
    (AxisError, "roll", (x23,), {"shift": 1, "axis": 2}),
    (ShapeError, "roll", (x23,), {"shift": (1, 1, 1), "axis": (0, 1)}),
    (DtypeError, "roll", (x23,), {"shift": 1.5}),
    (ShapeError, "pad", (x23,), {"widths": ((1, 1), (1, 1), (1, 1))}),
    (SettingError, "pad", (x23,), {"widths": ((1, 1), (-1, 1))}),
    (SettingError, "pad", (x23,), {"widths": 1.5}),
    (SettingError, "pad", (x23,), {"widths": 1, "mode": "mirror"}),
    (ShapeError, "pad", (np.ones((0, 3)),), {"widths": 1, "mode": "reflect"}),
    (DtypeError, "pad", (np.ones((2, 3), int),), {"widths": 1, "value": 0.5}),
    (DtypeError, "pad", (np.ones((2, 3), np.uint8),), {"widths": 1, "value": 300.0}),
    *((ShapeError, name, (np.ones(3),), {}) for name in ("tril", "triu", "diagonal")),
    *((DtypeError, name, (x23,), {"k": "1"}) for name in ("tril", "triu")),
    (AxisError, "diagonal", (x23,), {"axis1": 2}),
    (ShapeError, "diagonal", (x23,), {"axis1": 1, "axis2": -1}),
    (ShapeError, "_from_diagonal", (np.ones(3),), {"offset": 0, "axis1": 0, "axis2": 1, "shape": (4, 4)}),
    (AxisError, "gather", (x23, np.array([[0, 1, 2]])), {"axis": 0}),
    (AxisError, "gather", (x23, np.array([[-4], [0]])), {"axis": 1}),
    (AxisError, "gather", (x23, np.array([[0]])), {"axis": 2}),
    (ShapeError, "gather", (x23, np.array([0, 1])), {"axis": 0}),
    (ShapeError, "gather", (x23, np.array([[0, 1]])), {"axis": 0}),
    (DtypeError, "gather", (x23, x23), {"axis": 0}),
    (DtypeError, "gather", (x23, x23 > 0), {"axis": 0}),
    (AxisError, "_scatter_along", (x23, np.array([[0, 1, 5], [0, 0, 0]])), {"axis": 1, "shape": (2, 4)}),
    (AxisError, "_scatter_along", (x23, np.array([[-5], [0]])), {"axis": 0, "shape": (4, 3)}),
    (AxisError, "one_hot", (np.array([0, 3]),), {"n": 3}),
    (AxisError, "one_hot", (np.array([-1, 1]),), {"n": 3}),
    (DtypeError, "one_hot", (x23,), {"n": 3}),
    (SettingError, "argtopk", (x23,), {"k": 4}),
    (SettingError, "argtopk", (x23,), {"k": -1}),
    (AxisError, "argtopk", (x23,), {"k": 1, "axis": 2}),
    (AxisError, "argtopk", (np.ones(()),), {"k": 1}),
]
