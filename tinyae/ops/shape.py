"""Ops that move values without computing: another shape or order, parts taken out, parts put together.

Results share their operand's memory where NumPy's do: `reshape`, `transpose`, `flip`, `diagonal`, basic indexing, and
what is made of them (`squeeze`, `unsqueeze`, `split`, ...). All of them are linear, so the derivative of each is its
transpose, and the two stand side by side here, each the other's vjp: `getitem` and ``_scatter``, `gather` and
``_scatter_along``, `diagonal` and ``_from_diagonal``.

An index is a setting of `getitem`, as in ``x[index]``. Where it is itself computed (`take`, `gather`, `scatter_add`) it
is an operand.

Ring 2. Must not know Tensor. ``broadcast_to`` and ``sum_to`` live in the engine, which needs them.
"""

import math
import operator
from itertools import accumulate

import numpy as np

from ..engine import Var, broadcast_to, op
from ..errors import AxisError, DtypeError, SettingError, ShapeError

__all__ = [
    "argtopk", "concat", "diag_embed", "diagonal", "flip", "gather", "getitem", "moveaxis", "one_hot", "pad", "reshape",
    "roll", "scatter_add", "split", "squeeze", "stack", "swapaxes", "take", "topk", "transpose", "tril", "triu",
    "unsqueeze",
]  # fmt: skip


# -- another shape, another order of axes ---------------------------------------------------------------------------


@op(view=True)
def reshape(x, *, shape):
    """The same values in another shape; one length may be -1. Shape: any -> shape, of equal size."""
    return np.reshape(x, shape)


@reshape.vjp
def _(g, x_shape):
    return reshape(g, shape=x_shape)


@op(view=True)
def transpose(x, *, axes=None):
    """Axes in another order (None: reversed), without a copy. Shape: (n0, n1, ...) -> (n[axes[0]], n[axes[1]], ...)."""
    return np.transpose(x, axes)


@transpose.vjp
def _(g, axes):
    return transpose(g, axes=None if axes is None else tuple(np.argsort(np.asarray(axes) % len(axes))))


def moveaxis(x, *, source, destination):
    """x with the axes source (an int or several) at destination, the others in their old order. Shape: permuted."""
    source, destination = (_axes("moveaxis", x, a) for a in (source, destination))
    if len(source) != len(destination):
        raise AxisError(f"moveaxis: {len(source)} axes to {len(destination)} places. Give as many of one as of other.")
    order = [a for a in range(x.ndim) if a not in source]
    for place, a in sorted(zip(destination, source)):
        order.insert(place, a)
    return transpose(x, axes=tuple(order))


def swapaxes(x, *, axis1, axis2):
    """x with two axes exchanged: PyTorch's ``x.transpose(axis1, axis2)``. Shape: permuted."""
    order = list(range(x.ndim))
    (a,), (b,) = _axes("swapaxes", x, axis1), _axes("swapaxes", x, axis2)
    order[a], order[b] = b, a
    return transpose(x, axes=tuple(order))


def squeeze(x, *, axis=None):
    """x without its axes of length 1 (None), or without those that axis names, which must be such.

    Shape: (.., 1, ..) -> (.., ..). ShapeError for a named axis of another length, where PyTorch would leave it in.
    """
    gone = [a for a, n in enumerate(x.shape) if n == 1] if axis is None else _axes("squeeze", x, axis)
    for a in gone:
        if x.shape[a] != 1:
            raise ShapeError(
                f"squeeze: axis {a} of shape {x.shape} has length {x.shape[a]}, not 1. Index it, or reduce it first."
            )
    return reshape(x, shape=tuple(n for a, n in enumerate(x.shape) if a not in gone))


def unsqueeze(x, *, axis):
    """x with new axes of length 1, so that axis (an int or several) are their places in the result.

    Shape: (.., ..) -> (.., 1, ..).
    """
    new = _axes("unsqueeze", x, axis, x.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1))
    lengths = iter(x.shape)
    return reshape(x, shape=tuple(1 if a in new else next(lengths) for a in range(x.ndim + len(new))))


def _axes(name, x, axis, ndim=None):
    """axis, an int or several counted from either end, as a tuple of different non-negative ints."""
    ndim = x.ndim if ndim is None else ndim
    given = tuple(map(operator.index, axis)) if isinstance(axis, (tuple, list)) else (operator.index(axis),)
    axes = tuple(a + ndim if a < 0 else a for a in given)
    if not all(0 <= a < ndim for a in axes) or len(set(axes)) < len(axes):
        raise AxisError(
            f"{name}: axis {axis} of shape {x.shape}. Axes go from {-ndim} to {ndim - 1} here, each named once."
            if ndim
            else f"{name}: axis {axis} of a 0-d array, which has no axes."
        )
    return axes


@op(view=True)
def flip(x, *, axis=None):
    """x backwards along axis: an int, several, or all (None). Shape: any -> same.

    A view, and its own transpose; as an index, ``x[::-1]``, it would have to fill zeros on the way back.
    """
    return np.flip(x, tuple(axis) if isinstance(axis, list) else axis)


@flip.vjp
def _(g, axis):
    return flip(g, axis=axis)


@op
def roll(x, *, shift, axis=None):
    """x moved on by shift places along axis; what falls off the end comes in at the start. Shape: any -> same.

    shift and axis are ints or tuples of equal length; axis None rolls the flattened values and keeps the shape.
    """
    axis = tuple(axis) if isinstance(axis, list) else axis
    count = [len(v) if isinstance(v, (tuple, list)) else 1 for v in (shift, axis)]
    if axis is not None and count[0] != count[1]:
        raise ShapeError(f"roll: x {x.shape}, shift={shift!r} along axis={axis!r}. Give as many shifts as axes.")
    if axis is None and isinstance(shift, (tuple, list)):
        raise SettingError(f"roll: shift={shift!r} of the flattened values. Give one shift, or an axis for each.")
    return np.roll(x, _each(operator.index, shift), axis) if axis != () else x.copy()


@roll.vjp
def _(g, shift, axis):
    return roll(g, shift=_each(operator.neg, shift), axis=axis)


def _each(function, value):
    return tuple(map(function, value)) if isinstance(value, (tuple, list)) else function(value)


# -- parts of an array ----------------------------------------------------------------------------------------------


@op(view=True)
def getitem(x, *, index):
    """x[index]: basic indexing is a view, advanced indexing (arrays, lists, bool masks) a copy. Shape: as in NumPy."""
    return x[index]


@getitem.vjp
def _(g, index, x_shape):
    return _scatter(g, index=index, shape=x_shape)


@op
def _scatter(g, *, index, shape):
    """Zeros to which g is *added* at index, so repeated ones add up: `getitem` transposed.

    Shape: x[index]'s -> shape.
    """
    return _add_at(index, g, shape)


@_scatter.vjp
def _(g, index):
    return getitem(g, index=index)


def split(x, *, lengths, axis=0):
    """x cut along axis into a tuple of views, as PyTorch does: lengths is the length of every part, where the last one
    may be shorter, or a sequence of lengths, one per part, that add up to the axis.

    Shape: (.., n, ..) -> (.., lengths[i], ..) each. NumPy counts parts or gives cut points instead: ``np.split(x, 3)``.
    """
    (axis,) = _axes("split", x, axis)
    n = x.shape[axis]
    if isinstance(lengths, (tuple, list, np.ndarray)):
        parts = [operator.index(length) for length in lengths]
        if sum(parts) != n or any(length < 0 for length in parts):
            raise ShapeError(f"split: lengths {parts} of axis {axis} of shape {x.shape}. They must add up to {n}.")
    else:
        length = operator.index(lengths)
        if length < 1:
            raise SettingError(f"split: lengths={length}. A part has at least one place; n // parts gives that many.")
        parts = [min(length, n - start) for start in range(0, n, length)] or [0]
    before = (slice(None),) * axis
    return tuple(getitem(x, index=(*before, slice(end - k, end))) for k, end in zip(parts, accumulate(parts)))


@op
def gather(x, index, *, axis):
    """y[.., i, ..] = x[.., index[.., i, ..], ..]: along axis, each place of index picks a value of its own row.

    index has as many axes as x. Along the others the two broadcast, as in ``np.take_along_axis``; where they have equal
    lengths this is ``torch.gather``. Negative numbers count from the end. AxisError if a number is out of range.

    Shape: x (.., n, ..), index (.., m, ..) of integers -> (.., m, ..). The gradient adds up where a number is repeated.
    """
    return x[_along(index, axis, x.shape)]


@gather.vjp("x")
def _(g, index, axis, x_shape):
    return _scatter_along(g, index, axis=axis, shape=x_shape)


@op
def _scatter_along(g, index, *, axis, shape):
    """Zeros to which g is *added* where index, along axis, says: `gather` transposed.

    Shape: g's, of which index is or broadcasts to -> shape.
    """
    return _add_at(_along(index, axis, shape), g, shape)


@_scatter_along.vjp("g")
def _(g, index, axis):
    return gather(g, index, axis=axis)


def _along(index, axis, shape):
    """The index tuple that means: numbers along axis, and each its own place along the others.

    It ends with the last axis along which index varies, so that what lies behind moves in one piece.
    """
    if index.dtype.kind not in "iu":
        raise DtypeError(f"gather: an index of dtype {index.dtype}. Places are integers; a mask goes into x[mask].")
    axis = np.lib.array_utils.normalize_axis_index(axis, len(shape))
    if index.ndim != len(shape) or any(a != axis and n != m and 1 not in (n, m) for a, (n, m) in
                                       enumerate(zip(index.shape, shape))):  # fmt: skip
        raise ShapeError(
            f"gather: an index of shape {index.shape} into shape {shape} along axis {axis}. Both need as many axes, of "
            "equal length or length 1 but for this one; `take` has no such condition."
        )
    varies = [a for a, n in enumerate(index.shape) if a == axis or n != 1]
    if len(varies) == 1:
        return (*(slice(None),) * axis, index.reshape(-1))
    last = varies[-1]
    own = (np.arange(n).reshape(-1, *(1,) * (last - a)) for a, n in enumerate(shape[: last + 1]))
    return tuple(index.reshape(index.shape[: last + 1]) if a == axis else places for a, places in enumerate(own))


def scatter_add(x, index, src, *, axis):
    """x with src added where index says: y[.., index[.., i, ..], ..] += src[.., i, ..], repeated numbers adding up.

    index and src broadcast, together and to x's lengths along all but axis: ``scatter_add(zeros, labels, 1.0, axis=0)``
    counts. A copy: x stays.

    Shape: x (.., n, ..), index and src (.., m, ..) -> x's.
    """
    if src.__class__ in (bool, int, float):
        src = np.asarray(src, np.result_type(x.dtype, src))  # weak, as in x + 1.0
    index, src = (value if isinstance(value, Var) else np.asarray(value) for value in (index, src))
    (axis,) = _axes("scatter_add", x, axis)
    others = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    try:
        shape = np.broadcast_shapes(index.shape, src.shape, others)
    except ValueError:
        shape = ()
    if (*shape[:axis], 1, *shape[axis + 1 :]) != others:
        raise ShapeError(
            f"scatter_add: index {index.shape} and src {src.shape} into {x.shape} along axis {axis}. They must "
            "broadcast, together and to x's length along every other axis."
        )
    if index.ndim < x.ndim:
        index = reshape(index, shape=(1,) * (x.ndim - index.ndim) + index.shape)
    return x + _scatter_along(broadcast_to(src, shape=shape), index, axis=axis, shape=x.shape)


def take(x, index, *, axis=0):
    """x[index] along axis, for integers in any shape: rows of a table, an embedding. AxisError if out of range.

    Shape: x (.., n, ..), index any -> (.., *index.shape, ..). The gradient adds up where a number is repeated.
    """
    index = index if isinstance(index, Var) else np.asarray(index)
    (axis,) = _axes("take", x, axis)
    flat = reshape(index, shape=(1,) * axis + (math.prod(index.shape),) + (1,) * (x.ndim - axis - 1))
    return reshape(gather(x, flat, axis=axis), shape=x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _add_at(index, g, shape):
    """Zeros of the given shape to which g is added at index: ``np.add.at``, several times as fast.

    Axes that index leaves alone move in one piece. So there is a table of rows, a row of it per row of g, and the rows
    that meet are summed, in the order in which they come.
    """
    out = np.zeros(shape, g.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if all(_never_repeats(p) for p in parts):
        out[index] = g
    elif g.size:
        led = len(shape) if any(p is Ellipsis for p in parts) else sum(map(_axes_used, parts))
        n, width = math.prod(shape[:led]), math.prod(shape[led:])
        rows = _flat(parts, index, shape[:led])
        table, g = out.reshape(n, width), g.reshape(rows.size, width)
        with np.errstate(all="ignore"):  # sums go through infinity and NaN as IEEE says
            if width == 1:
                np.add.at(table[:, 0], rows, g[:, 0])  # quick along one axis, and only there
            else:
                _add_rows(table, rows, g)
    return out


def _flat(parts, index, shape):
    """The number of each row that index means, if the rows of this shape are counted through."""
    arrays = [np.asarray(p) for p in parts]
    if not all(a.dtype.kind in "iu" for a in arrays):
        return np.arange(math.prod(shape)).reshape(shape)[index].ravel()
    for a, n in zip(arrays, shape):
        if not -n <= a.min() <= a.max() < n:
            raise IndexError(f"index {a.min() if a.min() < -n else a.max()} is out of bounds for an axis of size {n}")
    return np.ravel_multi_index(tuple(a.astype(np.intp, copy=False) for a in arrays), shape, mode="wrap").ravel()


def _add_rows(table, rows, g):
    """table[rows] += g, where rows may repeat."""
    n, order = len(table), np.arange(rows.size)
    last = np.empty(n, np.intp)  # not filled: only the places that are written to cost anything
    last[rows] = order
    if np.array_equal(last[rows], order):  # no row met another
        table[rows] = g
        return
    order = np.argsort(rows.astype(np.uint16) if n <= 1 << 16 else rows, kind="stable")  # 16 bits: a radix sort
    rows = rows[order]
    first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    table[rows[first]] = np.add.reduceat(g[order], first, axis=0)


def _never_repeats(part):
    """Whether this part of an index is a slice, a number or a mask, which meet no place twice."""
    return part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) or _is_mask(part)


def _axes_used(part):
    return 0 if part is None else np.ndim(part) if _is_mask(part) else 1


def _is_mask(part):
    return not isinstance(part, slice) and np.asarray(part).dtype == bool


# -- parts put together ---------------------------------------------------------------------------------------------


@op
def concat(*xs, axis=0):
    """Arrays joined along an existing axis. Shape: (.., n_i, ..) each -> (.., sum of n_i, ..)."""
    return np.concatenate(xs, axis=axis)


@concat.vjp
def _(g, index, shapes, axis):
    axis = axis % len(shapes[0])
    ends = _ends(shapes, axis)
    return getitem(g, index=(slice(None),) * axis + (slice(ends[index] - shapes[index][axis], ends[index]),))


_latest = None, None, None  # shapes, axis and where each operand of them ends


def _ends(shapes, axis):
    """Where each operand ends along axis. A walk asks for the same shapes once per operand: to add them up each time
    would take quadratic time, so the latest answer is kept."""
    global _latest
    known, along, ends = _latest
    if known is not shapes or along != axis:
        ends = tuple(accumulate(s[axis] for s in shapes))
        _latest = shapes, axis, ends
    return ends


@op
def stack(*xs, axis=0):
    """Arrays of one shape joined along a new axis. Shape: m of (..) -> (.., m, ..)."""
    return np.stack(xs, axis=axis)


@stack.vjp
def _(g, index, shapes, axis):
    return getitem(g, index=(slice(None),) * (axis % (len(shapes[0]) + 1)) + (index, ...))


_PADDING = {"constant": None, "reflect": "reflect", "replicate": "edge", "edge": "edge", "circular": "wrap",
            "wrap": "wrap"}  # fmt: skip


@op
def pad(x, *, widths, mode="constant", value=0.0):
    """x with places added before and after along each axis.

    widths is (before, after) per axis, one such pair for all axes, or one number for all; none is negative. mode says
    what stands there: "constant" value; "reflect" the inner values mirrored at the edge, which is not repeated;
    "replicate" (NumPy's "edge") the edge; "circular" ("wrap") the values of the other end. Where that is more than the
    axis has it goes on in the same way, as in NumPy.

    Shape: (n, ..) -> (before + n + after, ..). A primitive, since the way back of a constant is a slice.
    """
    try:
        pairs = _widths(widths, x.ndim)
    except ValueError:
        raise ShapeError(
            f"pad: widths={widths} for shape {x.shape}. Give (before, after) for each axis, or one for all."
        ) from None
    if any(width.__class__ is not int or width < 0 for pair in pairs for width in pair):
        raise SettingError(f"pad: widths={widths}. Widths are whole numbers, not negative; a slice takes places away.")
    if mode not in _PADDING:
        raise SettingError(f"pad: mode={mode!r}. Choose one of {', '.join(_PADDING)}.")
    if mode != "constant" and x.ndim:
        return np.pad(x, pairs, _PADDING[mode])
    if x.dtype.kind != "f":
        if value % 1 != 0:
            raise DtypeError(f"pad: value={value} does not fit among {x.dtype} values. Convert them first.")
        value = int(value)
    y = np.full([before + n + after for n, (before, after) in zip(x.shape, pairs)], value, x.dtype)
    y[_inside(pairs, x.shape)] = x
    return y


@pad.vjp
def _(g, widths, mode, x_shape):
    pairs = _widths(widths, len(x_shape))
    if mode == "constant":
        return getitem(g, index=_inside(pairs, x_shape))
    for axis, (n, pair) in enumerate(zip(x_shape, pairs)):
        if any(pair):  # where each place took its value from gets the gradient of both
            source = np.pad(np.arange(n), pair, _PADDING[mode])
            shape = (*g.shape[:axis], n, *g.shape[axis + 1 :])
            g = _scatter(g, index=(slice(None),) * axis + (source,), shape=shape)
    return g


def _widths(widths, ndim):
    """[before, after] per axis."""
    return np.broadcast_to(widths, (ndim, 2)).tolist() if ndim else []


def _inside(pairs, shape):
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, pairs))


# -- triangles and diagonals ----------------------------------------------------------------------------------------


@op
def tril(x, *, k=0):
    """The lower triangle of matrices, zeros above the k-th diagonal. Shape: (.., n, m) -> same. Its own transpose."""
    return np.tril(_matrices("tril", x), k)


@tril.vjp
def _(g, k):
    return tril(g, k=k)


@op
def triu(x, *, k=0):
    """The upper triangle of matrices, zeros below the k-th diagonal. Shape: (.., n, m) -> same. Its own transpose."""
    return np.triu(_matrices("triu", x), k)


@triu.vjp
def _(g, k):
    return triu(g, k=k)


def _matrices(name, x):
    if x.ndim < 2:
        raise ShapeError(f"{name}: shape {x.shape} is not a matrix. It takes (.., n, m).")
    return x


@op(view=True)
def diagonal(x, *, offset=0, axis1=0, axis2=1):
    """The diagonal along two axes, which it replaces by one at the end: y[.., i] = x[.., i, .., i + offset, ..].

    A negative offset lies below the main diagonal. A view that can be written to, other than NumPy's.

    Shape: (.., n, .., m, ..) -> (.., .., .., the diagonal's length).
    """
    _matrices("diagonal", x)
    square = np.moveaxis(x, (axis1, axis2), (-2, -1))[..., max(-offset, 0) :, max(offset, 0) :]
    n = min(square.shape[-2:])
    return np.einsum("...ii->...i", square[..., :n, :n])


@diagonal.vjp
def _(g, offset, axis1, axis2, x_shape):
    return _from_diagonal(g, offset=offset, axis1=axis1, axis2=axis2, shape=x_shape)


@op
def _from_diagonal(g, *, offset, axis1, axis2, shape):
    """Zeros with g on the diagonal: `diagonal` transposed. Shape: the diagonal's -> shape."""
    y = np.zeros(shape, g.dtype)
    diagonal(y, offset=offset, axis1=axis1, axis2=axis2)[...] = g
    return y


@_from_diagonal.vjp
def _(g, offset, axis1, axis2):
    return diagonal(g, offset=offset, axis1=axis1, axis2=axis2)


def diag_embed(x, *, offset=0):
    """Square matrices with x on a diagonal and zeros beside it. Shape: (.., n) -> (.., m, m), m = n + |offset|."""
    if x.ndim == 0:
        raise ShapeError("diag_embed: a 0-d array has no row to put on a diagonal. Give it an axis.")
    n = x.shape[-1] + abs(offset)
    return _from_diagonal(x, offset=offset, axis1=-2, axis2=-1, shape=(*x.shape[:-1], n, n))


# -- places ---------------------------------------------------------------------------------------------------------


@op
def one_hot(labels, *, n, dtype=np.float32):
    """Rows of zeros with a 1 at each label: integers from 0 to n - 1. Shape: any -> (.., n). No derivative."""
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"one_hot: labels of dtype {labels.dtype}. They are integers.")
    if labels.size and not 0 <= labels.min() <= labels.max() < n:
        raise AxisError(
            f"one_hot: labels of shape {labels.shape} from {labels.min()} to {labels.max()}, n={n}. They go from 0 to "
            "n - 1."
        )
    return (labels[..., None] == np.arange(n)).astype(dtype)


@op
def argtopk(x, *, k, axis=-1, largest=True):
    """Where the k largest (or smallest) values along axis are, best first. No derivative.

    Among equals the first comes first. NaN counts as larger than all else, as in a sort.

    Shape: (.., n, ..) -> (.., k, ..) of integers.
    """
    rows = np.moveaxis(x, axis, -1)
    n = rows.shape[-1]
    if not 0 <= operator.index(k) <= n:
        raise SettingError(f"argtopk: k={k} of shape {x.shape} along axis {axis}. It goes from 0 to {n}.")
    if k == 0:
        return np.moveaxis(np.empty((*rows.shape[:-1], 0), np.intp), -1, axis)
    edge = n - k if largest else k - 1
    bound = np.partition(rows, edge, axis=-1)[..., edge : edge + 1]  # the worst that is in, so no need to sort them all
    equal = (rows == bound) | ((rows != rows) & (bound != bound))
    better = ((rows > bound) | (rows != rows) if largest else (rows < bound) | (bound != bound)) & ~equal
    equal &= np.cumsum(equal, axis=-1) <= k - np.sum(better, axis=-1, keepdims=True)
    found = np.nonzero(better | equal)[-1].reshape(*rows.shape[:-1], k)
    values = np.take_along_axis(rows, found, -1)
    if largest:  # a stable sort the other way round: backwards there and backwards back
        order = k - 1 - np.argsort(values[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    else:
        order = np.argsort(values, axis=-1, kind="stable")
    return np.moveaxis(np.take_along_axis(found, order, -1), -1, axis)


def topk(x, *, k, axis=-1, largest=True):
    """The k largest (or smallest) values along axis, best first, and where they are: (values, index).

    Ties and NaN as in `argtopk`. The gradient goes to the values that were chosen.

    Shape: (.., n, ..) -> twice (.., k, ..).
    """
    index = argtopk(x, k=k, axis=axis, largest=largest)
    return gather(x, index, axis=axis), index
