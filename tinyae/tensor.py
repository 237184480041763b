"""Tensor: a `Var` with NumPy's manners. Sugar only: every method is one line that calls an op.

What one can do with it:

    x = Tensor([[1.0, 2.0]]);  w = Tensor([[3.0], [4.0]], requires_grad=True)
    loss = ((x @ w - 1.0) ** 2).mean()      operators, reductions, indexing, NumPy functions: np.exp(w), 2.0 * w
    loss.backward();  w.grad                gradients
    print(loss.tree())                      the graph as text, every value and gradient beside its source line

Ring 3. Must not know layers or models. Read after ``ops/math.py``; this ends the engine proper.
"""

import sys
from opcode import opmap

import numpy as np

from . import ops
from .engine import Var, _leaf, _wrap, cast, no_grad
from .errors import AxisError, DtypeError, GraphError, SettingError, ShapeError, TinyaeError
from .mode import capturing, mode
from .source import here, last_argument
from .tree import tree

__all__ = ["Tensor"]

_STORES = {opmap[name] for name in ("STORE_SUBSCR", "STORE_SLICE") if name in opmap}


def _axis(axis):
    return tuple(axis) if isinstance(axis, list) else axis


def _only(function, out=None, dtype=None):
    """NumPy hands its functions' ``out=`` and ``dtype=`` on to methods; there is nothing to do with them here."""
    if out is not None or dtype is not None:
        raise SettingError(f"{function}: out= and dtype= are not supported on Tensors. Use astype, or np.asarray(t).")


def _look(tensor, how):
    """A value leaves for Python: a plan in the making cannot follow it there."""
    if capturing and mode.capture is not None:
        mode.capture.read(tensor, how)


class Tensor(Var):
    """An array whose operations are recorded if a gradient may be wanted.

    Parameters
    ----------
    data : array_like
        Copied. Lists of Python floats become float32; NumPy arrays keep their dtype (bool, integers, float32, float64).
    requires_grad : bool
        Whether this is a leaf whose ``.grad`` backward fills. Floats only.
    dtype : dtype, optional
        What to convert to.

    Shape: any.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad=False, dtype=None):
        self._data = _own_array(data, dtype)
        self._writes = None
        self._node = None
        if capturing and mode.capture is not None:
            mode.capture.made(self, data)
        if requires_grad:
            self.requires_grad_()

    @property
    def data(self):
        """The values as a read-only NumPy view. ``t.data = a`` copies a's values in place and never rebinds."""
        _look(self, "data")
        return np.asarray(memoryview(self._data).toreadonly())  # whose flags do not let it be written to again

    @data.setter
    def data(self, value):
        with no_grad():
            ops.assign(self, value)

    def __reduce__(self):
        # Serves copy.deepcopy too; its memo keeps tied weights tied.
        if not self.is_leaf:
            raise GraphError(
                "copy: only leaves can be copied or pickled; this is the result of "
                f"{self._node.op.name}. Use detach() first."
            )
        gradient = None if self.grad is None else self.grad._data
        return _restore, (type(self), self._data, self.requires_grad, gradient)

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def shape(self):
        """The length of each axis."""
        return self._data.shape

    @property
    def ndim(self):
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self):
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self):
        """The NumPy dtype of the values."""
        return self._data.dtype

    def __len__(self):
        if not self._data.ndim:
            raise AxisError("len: a 0-d Tensor has no length. Use .item() for its value.")
        return self._data.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def item(self):
        """The one value as a Python number."""
        if self._data.size != 1:
            raise AxisError(f"item: a Tensor of shape {self.shape} is not one value. Index it first.")
        _look(self, "item()")
        return self._data.item()

    def numpy(self):
        """The values as a read-only NumPy view, as ``np.asarray(t)``; the gradient does not follow."""
        return self.data

    def tolist(self):
        """The values as nested Python lists."""
        _look(self, "tolist()")
        return self._data.tolist()

    def __float__(self):
        if self._node is not None and mode.recording and _is_stored(sys._getframe(1)):
            raise _cut(self)
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self._data.size != 1:
            raise AxisError(
                f"bool: a Tensor of shape {self.shape} is neither true nor false. Use (t > 0).numpy().any()."
            )
        return bool(self.item())

    def __index__(self):
        if self._data.dtype.kind not in "iu" or self._data.size != 1:
            raise DtypeError(f"index: a {self.dtype} Tensor of shape {self.shape} cannot be an index.")
        return int(self.item())

    def __format__(self, spec):
        return format(self.item() if spec else str(self), spec)

    def __repr__(self):
        values = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=200)
        if self._node is None:
            origin = ""
        elif self._node.op is None:
            origin = ", requires_grad=True"
        else:
            origin = f", op={self._node.op.name}"
        return f"Tensor({values}, shape={self.shape}, dtype={self.dtype}{origin})"

    def tree(self, depth=None):
        """The graph that made this value as text: op, shape, value, gradient, source line; this value on top.

        What a value was made of stands below it, branched if there are several. A value met again is ``(see #n)``.
        Values and gradients of intermediate results are there up to ``KEEP_SMALL`` elements, a last line says so if any
        is larger; gradients appear after ``backward``. depth limits the levels shown.
        """
        return tree(self, depth)

    # -- operators: an op is a function, and a function in a class is a method --------------------------------------

    __add__, __sub__, __mul__, __truediv__, __matmul__ = ops.add, ops.sub, ops.mul, ops.div, ops.matmul
    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge

    # Of truth values these are products, maxima and comparisons, which plans know already.

    def __and__(self, other):
        return ops.mul(self, _truth("&", self, other))

    def __or__(self, other):
        return ops.maximum(self, _truth("|", self, other))

    def __xor__(self, other):
        return ops.ne(self, _truth("^", self, other))

    def __invert__(self):
        return ops.eq(self, _truth("~", self, False))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    __neg__, __abs__ = ops.neg, ops.abs

    def __radd__(self, other):
        return ops.add(other, self)

    def __rsub__(self, other):
        return ops.sub(other, self)

    def __rmul__(self, other):
        return ops.mul(other, self)

    def __rtruediv__(self, other):
        return ops.div(other, self)

    def __pow__(self, other):
        return ops.square(self) if other.__class__ in (int, float) and other == 2 else ops.pow(self, other)

    def __rpow__(self, other):
        return ops.pow(other, self)

    def __rmatmul__(self, other):
        return ops.matmul(other, self)

    def __pos__(self):
        return self

    # In place where Python's rebinding would lose the change: a leaf inside no_grad. Elsewhere x += y is x = x + y.

    def __iadd__(self, other):
        return self._in_place(ops.add, other)

    def __isub__(self, other):
        return self._in_place(ops.sub, other)

    def __imul__(self, other):
        return self._in_place(ops.mul, other)

    def __itruediv__(self, other):
        return self._in_place(ops.div, other)

    def _in_place(self, operator, other):
        if mode.recording and self._node is not None and self.is_leaf:
            raise GraphError(
                "in place: this tensor is a leaf that requires a gradient; after x += y, x would be the result of an "
                "addition, and no leaf any more. Change it inside `with no_grad():`, or write x = x + y."
            )
        y = operator(self, other)
        return y if mode.recording or not self.requires_grad or not self.is_leaf else ops.assign(self, y)

    __hash__ = object.__hash__  # by identity, although == compares values: parameters live in dictionaries

    def __getitem__(self, index):
        if capturing and mode.capture is not None:
            picked = mode.capture.pick(self, index)
            if picked is not None:
                return picked
        return ops.getitem(self, index=_plain_index(index))

    def __setitem__(self, index, value):
        ops.assign(self, value, _plain_index(index))

    # -- shapes -----------------------------------------------------------------------------------------------------

    def reshape(self, *shape):
        """The same values in another shape; one length may be -1."""
        return ops.reshape(self, shape=shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def flatten(self, start=0):
        """All axes from start on as one."""
        if not 0 <= start <= self.ndim:
            raise AxisError(f"flatten: start={start} for a Tensor of shape {self.shape}.")
        return ops.reshape(self, shape=(*self.shape[:start], -1 if self.size else int(np.prod(self.shape[start:]))))

    def transpose(self, *axes):
        """Axes in another order; none given: reversed."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = axes[0]
        return ops.transpose(self, axes=tuple(axes) if axes else None)

    permute = transpose  # PyTorch's name

    def squeeze(self, axis=None):
        """Without axes of length 1: all of them, or those that axis names."""
        return ops.squeeze(self, axis=_axis(axis))

    def unsqueeze(self, axis):
        """With a new axis of length 1 at axis, or several."""
        return ops.unsqueeze(self, axis=_axis(axis))

    def swapaxes(self, axis1, axis2):
        """With two axes exchanged."""
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def flip(self, axis=None):
        """In reversed order along axis (None: all)."""
        return ops.flip(self, axis=_axis(axis))

    def roll(self, shift, axis=None):
        """Shifted along axis; what leaves at one end comes in at the other."""
        return ops.roll(self, shift=shift, axis=_axis(axis))

    def split(self, lengths, axis=0):
        """Cut along axis into parts of one length, or of a sequence of lengths; a tuple of views."""
        return ops.split(self, lengths=lengths, axis=axis)

    def take(self, index, axis=None, out=None, mode="raise"):
        """The entries numbered index along axis (None: of the flattened values)."""
        _only("take", out, None if mode == "raise" else mode)
        return ops.take(self.flatten(), index) if axis is None else ops.take(self, index, axis=axis)

    def gather(self, index, axis):
        """``y[i, j] = self[i, index[i, j]]`` for axis 1, and likewise for others."""
        return ops.gather(self, index, axis=axis)

    def diagonal(self, offset=0, axis1=0, axis2=1):
        """The diagonal of every matrix in two of the axes, as the last axis."""
        return ops.diagonal(self, offset=offset, axis1=axis1, axis2=axis2)

    def tril(self, k=0):
        """With 0 above the k-th diagonal."""
        return ops.tril(self, k=k)

    def triu(self, k=0):
        """With 0 below the k-th diagonal."""
        return ops.triu(self, k=k)

    @property
    def T(self):
        """Axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self):
        """The last two axes swapped."""
        if self.ndim < 2:
            raise AxisError(f"mT: a Tensor of shape {self.shape} is not a matrix.")
        return ops.transpose(self, axes=(*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def astype(self, dtype):
        """The values in another dtype. Gradients come back in this one's; none flows through integers or bool."""
        dtype = np.dtype(dtype)
        if dtype.kind not in "biu" and dtype not in (np.float32, np.float64):
            raise DtypeError(
                f"astype: {dtype}. tinyae computes in float32 and float64; np.asarray(t) converts to others."
            )
        return cast(self if dtype.kind == "f" else self.detach(), dtype=dtype)

    # -- functions and reductions -----------------------------------------------------------------------------------

    exp, log, sqrt, square = ops.exp, ops.log, ops.sqrt, ops.square
    expm1, log1p, rsqrt, sin, cos = ops.expm1, ops.log1p, ops.rsqrt, ops.sin, ops.cos
    tanh, sigmoid, relu = ops.tanh, ops.sigmoid, ops.relu

    def sum(self, axis=None, keepdims=False, out=None, dtype=None):
        """The sum over axis (None: all)."""
        _only("sum", out, dtype)
        return ops.sum(self, axis=_axis(axis), keepdims=keepdims)

    def mean(self, axis=None, keepdims=False, out=None, dtype=None):
        """The mean over axis."""
        _only("mean", out, dtype)
        return ops.mean(self, axis=_axis(axis), keepdims=keepdims)

    def var(self, axis=None, keepdims=False, ddof=0, out=None, dtype=None):
        """The variance over axis, divided by n - ddof."""
        _only("var", out, dtype)
        return ops.var(self, axis=_axis(axis), keepdims=keepdims, ddof=ddof)

    def std(self, axis=None, keepdims=False, ddof=0, out=None, dtype=None):
        """The standard deviation over axis."""
        _only("std", out, dtype)
        return ops.std(self, axis=_axis(axis), keepdims=keepdims, ddof=ddof)

    def prod(self, axis=None, keepdims=False, out=None, dtype=None):
        """The product over axis."""
        _only("prod", out, dtype)
        return ops.prod(self, axis=_axis(axis), keepdims=keepdims)

    def cumsum(self, axis=None, out=None, dtype=None):
        """The running sum along axis (None: over the flattened values)."""
        _only("cumsum", out, dtype)
        return ops.cumsum(self, axis=axis)

    def norm(self, ord=2, axis=None, keepdims=False):
        """The length of the vectors over axis; of one vector that is all values, if None."""
        return ops.norm(self, ord=ord, axis=_axis(axis), keepdims=keepdims)

    def max(self, axis=None, keepdims=False, out=None):
        """The largest value over axis; ties share the gradient."""
        _only("max", out)
        return ops.max(self, axis=_axis(axis), keepdims=keepdims)

    def min(self, axis=None, keepdims=False, out=None):
        """The smallest value over axis; ties share the gradient."""
        _only("min", out)
        return ops.min(self, axis=_axis(axis), keepdims=keepdims)

    def argmax(self, axis=None, keepdims=False, out=None):
        """The index of the largest value over axis."""
        _only("argmax", out)
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis=None, keepdims=False, out=None):
        """The index of the smallest value over axis."""
        _only("argmin", out)
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def clip(self, low=None, high=None):
        """min(max(self, low), high)."""
        return ops.clip(self, low=low, high=high)

    def logsumexp(self, axis=-1, keepdims=False):
        """log(sum(exp(self))) over axis, without overflow."""
        return ops.logsumexp(self, axis=_axis(axis), keepdims=keepdims)

    def softmax(self, axis=-1):
        """exp(self) / sum(exp(self)) over axis."""
        return ops.softmax(self, axis=_axis(axis))

    def log_softmax(self, axis=-1):
        """log(softmax(self)), without its underflow."""
        return ops.log_softmax(self, axis=_axis(axis))

    def topk(self, k, axis=-1, largest=True):
        """(the k largest values along axis, their indices), the largest first."""
        return ops.topk(self, k=k, axis=axis, largest=largest)

    # -- NumPy on Tensors -------------------------------------------------------------------------------------------

    __array_priority__ = 1000

    def __array__(self, dtype=None, copy=None):
        if self._node is not None and mode.recording and (copy or not _is_asked_for(self, sys._getframe(1))):
            raise _cut(self)
        _look(self, "np.asarray")
        if dtype is not None and dtype != self._data.dtype:
            return self._data.astype(dtype)
        return self._data.copy() if copy else self.data

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if kwargs:
            raise SettingError(
                f"np.{ufunc.__name__}: {', '.join(kwargs)}= is not supported on Tensors. Use the operators, "
                "or np.asarray(t)."
            )
        function = _UFUNCS.get(ufunc.__name__) if method == "__call__" else None
        if function is not None:
            return function(*inputs)
        return _on_arrays(getattr(ufunc, method), f"np.{ufunc.__name__}", inputs)

    def __array_function__(self, function, types, args, kwargs):
        ours = _FUNCTIONS.get(function)
        if ours is not None:
            try:
                return ours(*args, **kwargs)
            except TypeError as problem:
                if isinstance(problem, TinyaeError):
                    raise
                raise SettingError(f"np.{function.__name__}: not supported on Tensors this way: {problem}.") from None
        return _on_arrays(function, f"np.{function.__name__}", args, kwargs)


Tensor._result = Tensor


def _cut(tensor):
    return GraphError(
        f"np.array: a Tensor of shape {tensor.shape} that requires a gradient, which an array cannot carry. Put Tensors "
        "together by ops.stack or ops.concat; for the values alone, write t.data or t.detach()."
    )


def _is_asked_for(tensor, frame):
    """Whether it is ``np.asarray(t)``, which asks for values in so many words, and not an element of something else, as
    in ``np.array([[t, ...]])``, nor of some function within NumPy that takes whatever it is given for an array.
    """
    module = frame.f_globals.get("__name__", "")
    if module.partition(".")[0] in ("numpy", "pandas", "tinyae"):
        return module.startswith("numpy.testing")
    given = last_argument(frame)
    return given is tensor or (tensor.ndim > 0 and given is not list and not isinstance(given, (list, tuple, np.ndarray)))


def _is_stored(frame):
    """Whether the caller is at ``buffer[i] = t``."""
    return frame.f_code.co_code[frame.f_lasti] in _STORES


def _own_array(data, dtype):
    """A fresh native array of a dtype that tinyae computes in."""
    source = data._data if isinstance(data, Var) else data
    try:
        array = np.array(source, dtype=dtype, order="C")
    except (ValueError, TypeError) as problem:
        raise DtypeError(f"Tensor: cannot make an array of this {type(data).__name__}: {problem}") from None
    if dtype is None and array.dtype.kind == "f" and not isinstance(source, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind in "biu" or array.dtype in (np.float32, np.float64):
        return array
    raise DtypeError(
        f"Tensor: dtype {array.dtype} of a {type(data).__name__} of shape {array.shape}. "
        "tinyae computes in float32 and float64 (bool and integers serve as masks and indices); "
        "convert first, for instance with np.asarray(x, dtype=np.float32)."
    )


def _restore(cls, data, requires_grad, gradient):
    # A copy, since copy.copy hands over the original's own array; a plain one, since joblib may hand over a memory map.
    value = _wrap(cls, np.array(data), None, None)
    if requires_grad:
        value._node = _leaf(value._data, here())
        if gradient is not None:
            value._node.grad = _wrap(cls._result, np.array(gradient), None, None)
    return value


_UFUNCS = {
    "absolute": ops.abs, "add": ops.add, "cos": ops.cos, "divide": ops.div, "equal": ops.eq, "exp": ops.exp,
    "expm1": ops.expm1, "greater": ops.gt, "greater_equal": ops.ge, "less": ops.lt, "less_equal": ops.le,
    "log": ops.log, "log1p": ops.log1p, "matmul": ops.matmul, "maximum": ops.maximum, "minimum": ops.minimum,
    "multiply": ops.mul, "negative": ops.neg, "not_equal": ops.ne, "power": ops.pow, "sign": ops.sign, "sin": ops.sin,
    "sqrt": ops.sqrt, "square": ops.square, "subtract": ops.sub, "tanh": ops.tanh,
}  # fmt: skip
_FUNCTIONS = {getattr(np, name): getattr(Tensor, name) for name in (
    "diagonal", "flip", "reshape", "roll", "squeeze", "swapaxes", "take", "transpose", "tril", "triu")}  # fmt: skip
for _name in ("mean", "prod", "sum"):  # NumPy's order of arguments, by position
    _FUNCTIONS[getattr(np, _name)] = (
        lambda x, axis=None, dtype=None, out=None, keepdims=False, f=getattr(Tensor, _name): (
            f(x, axis, keepdims, out, dtype)
        )
    )
for _name in ("std", "var"):
    _FUNCTIONS[getattr(np, _name)] = (
        lambda x, axis=None, dtype=None, out=None, ddof=0, keepdims=False, f=getattr(Tensor, _name): (
            f(x, axis, keepdims, ddof, out, dtype)
        )
    )
for _name in ("amax", "amin", "argmax", "argmin", "max", "min"):
    _FUNCTIONS[getattr(np, _name)] = (
        lambda x, axis=None, out=None, keepdims=False, f=getattr(Tensor, _name.replace("am", "m")): (
            f(x, axis, keepdims, out)
        )
    )
_FUNCTIONS |= {
    np.cumsum: lambda x, axis=None, dtype=None, out=None: x.cumsum(axis, out, dtype),
    np.broadcast_to: lambda x, shape: ops.broadcast_to(x, shape=shape),
    np.clip: lambda x, a_min=None, a_max=None, *, min=None, max=None: ops.clip(
        x, low=min if a_min is None else a_min, high=max if a_max is None else a_max
    ),
    np.linalg.cholesky: ops.cholesky,
    np.concatenate: lambda xs, axis=0: ops.concat(*xs, axis=axis),
    np.diag: lambda x, k=0: ops.diag_embed(x, offset=k) if x.ndim == 1 else ops.diagonal(x, offset=k),
    np.dot: lambda a, b: (
        ops.matmul(a, b) if 1 <= np.ndim(b) <= 2 and np.ndim(a) else _on_arrays(np.dot, "np.dot", (a, b))
    ),
    np.expand_dims: Tensor.unsqueeze,
    np.diff: lambda x, n=1, axis=-1: _differences(x, n, axis),
    np.hstack: lambda xs: ops.concat(*map(np.atleast_1d, xs), axis=0 if np.ndim(xs[0]) < 2 else 1),
    np.linalg.inv: ops.inv,
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: _norm(x, ord, axis, keepdims),
    np.moveaxis: lambda x, source, destination: ops.moveaxis(x, source=source, destination=destination),
    np.atleast_1d: lambda x: x if x.ndim else ops.reshape(x, shape=(1,)),
    np.atleast_2d: lambda x: x if x.ndim > 1 else ops.reshape(x, shape=(1, -1)),
    np.outer: lambda a, b: ops.outer(ops.reshape(a, shape=(-1,)), ops.reshape(b, shape=(-1,))),
    np.pad: lambda x, pad_width, mode="constant", constant_values=0: ops.pad(
        x, widths=pad_width, mode=mode, value=constant_values
    ),
    np.ravel: Tensor.flatten,
    np.linalg.solve: ops.solve,
    np.repeat: lambda x, repeats, axis=None: (
        ops.take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis=axis)
        if axis is not None else np.repeat(x.flatten(), repeats, axis=0)
    ),
    np.split: lambda x, indices_or_sections, axis=0: _parts(x, indices_or_sections, axis),
    np.stack: lambda xs, axis=0: ops.stack(*xs, axis=axis),
    np.take_along_axis: lambda x, indices, axis=-1: ops.gather(x, indices, axis=axis),
    np.tile: lambda x, reps: _tiled(x, (reps,) if np.ndim(reps) == 0 else tuple(reps)),
    np.trace: lambda x, offset=0, axis1=0, axis2=1: x.diagonal(offset, axis1, axis2).sum(-1),
    np.vstack: lambda xs: ops.concat(*map(np.atleast_2d, xs), axis=0),
    np.where: lambda condition, *branches: ops.where(condition, *branches) if branches else np.nonzero(condition),
}


# What else a NumPy function of no derivative may be written as.
_TWINS = {
    "append": "ops.concat", "array_split": "ops.split", "average": "(weights * x).sum() / weights.sum()",
    "block": "ops.concat", "choose": "ops.where", "column_stack": "ops.stack(..., axis=1)", "convolve": "ops.conv1d",
    "cumprod": "ops.exp(ops.cumsum(ops.log(x)))", "delete": "x[index of what stays]", "det": "ops.logdet",
    "dstack": "ops.stack(..., axis=2)", "einsum": "ops.matmul, ops.transpose and ops.sum", "hsplit": "ops.split",
    "inner": "ops.matmul", "kron": "ops.outer", "median": "ops.topk", "nan_to_num": "ops.where(np.isnan(x.data), 0, x)",
    "nanmean": "ops.where and ops.mean", "nansum": "ops.where and ops.sum", "ptp": "ops.max and ops.min",
    "norm": "ops.norm of vectors", "quantile": "ops.topk", "rot90": "ops.flip and ops.transpose", "select": "ops.where",
    "slogdet": "ops.logdet",
    "sort": "ops.topk", "tensordot": "ops.matmul", "vdot": "(a * b).sum()", "vsplit": "ops.split",
    "arctan": "tinyae.custom_op", "arcsin": "tinyae.custom_op", "arccos": "tinyae.custom_op", "mod": "tinyae.custom_op",
    "cbrt": "x.sign() * x.abs() ** (1 / 3)", "cosh": "(ops.exp(x) + ops.exp(-x)) / 2", "exp2": "2.0 ** x",
    "fabs": "ops.abs", "float_power": "ops.pow", "fmax": "ops.maximum", "fmin": "ops.minimum",
    "hypot": "ops.sqrt(a * a + b * b)", "log10": "ops.log(x) / math.log(10)", "log2": "ops.log(x) / math.log(2)",
    "logaddexp": "ops.logsumexp(ops.stack(a, b), axis=0)", "reciprocal": "1 / x",
    "sinh": "(ops.exp(x) - ops.exp(-x)) / 2", "tan": "ops.sin(x) / ops.cos(x)",
}  # fmt: skip
_WRITERS = (np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask)  # into an array
_FRESH = (np.empty_like, np.full_like, np.ones_like, np.zeros_like)  # of a shape, not of values: no gradient is cut


def _parts(x, cuts, axis):
    """NumPy's split: so many equal parts, or cuts before the given indices."""
    n = x.shape[np.lib.array_utils.normalize_axis_index(axis, x.ndim)]
    if not np.ndim(cuts):
        if cuts < 1 or n % cuts:
            raise ShapeError(f"np.split: axis {axis} of shape {x.shape} does not divide into {cuts} equal parts.")
        return list(ops.split(x, lengths=n // cuts, axis=axis))
    ends = [min(max(c + n if c < 0 else c, 0), n) for c in map(int, cuts)]
    return list(ops.split(x, lengths=np.diff([0, *ends, n]), axis=axis))


def _norm(x, ord, axis, keepdims):
    """np.linalg.norm of vectors, and Frobenius' of matrices."""
    axes = x.ndim if axis is None else np.size(axis)
    if ord is None or (axes == 1 and ord in (1, 2, np.inf)) or (axes == 2 and ord == "fro"):
        axis = tuple(axis) if isinstance(axis, (tuple, list)) else axis
        return ops.norm(x, ord=2 if ord in (None, "fro") else ord, axis=axis, keepdims=keepdims)
    return _on_arrays(np.linalg.norm, "np.norm", (x, ord, axis, keepdims))


def _differences(x, n, axis):
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    before = (slice(None),) * axis
    for _ in range(n):
        x = x[(*before, slice(1, None))] - x[(*before, slice(-1))]
    return x


def _tiled(x, reps):
    x = ops.reshape(x, shape=(1,) * max(len(reps) - x.ndim, 0) + x.shape)
    for axis, n in enumerate((1,) * (x.ndim - len(reps)) + reps):
        x = ops.concat(*[x] * n, axis=axis) if n else x[(slice(None),) * axis + (slice(0),)]
    return x


def _on_arrays(function, name, args, kwargs={}):
    """A NumPy function without a derivative here: fine on values, refused where it would silently cut a gradient.

    Shapes, counts and truth values never carried one, so ``np.shape``, ``np.isnan`` and ``np.allclose`` always work.
    """
    cut = False

    def plain(value):
        nonlocal cut
        if isinstance(value, (list, tuple)):
            return type(value)(plain(v) for v in value)
        if not isinstance(value, Tensor):
            return value
        cut |= value.requires_grad
        return value.data

    answer = function(*[plain(a) for a in args], **{k: plain(v) for k, v in kwargs.items()})
    values = function in _WRITERS or any(np.result_type(a).kind in "fc" for a in _arrays_in(answer))
    if cut and function not in _FRESH and values:
        twin = _TWINS.get(name.removeprefix("np."))
        raise GraphError(
            f"{name}: no derivative here. {f'Write {twin}, or pass' if twin else 'Pass'} t.detach() if none is wanted."
        )
    return answer


def _arrays_in(answer):
    if isinstance(answer, (list, tuple)):
        return [a for part in answer for a in _arrays_in(part)]
    return [answer] if isinstance(answer, (np.ndarray, np.generic, float)) else []


def _truth(operator, tensor, other):
    """other, if both are truth values."""
    dtypes = [tensor._data.dtype, other._data.dtype if isinstance(other, Var) else np.asarray(other).dtype]
    if dtypes != [bool, bool]:
        raise DtypeError(f"{operator}: dtypes {dtypes[0]} and {dtypes[1]}. It is for bools, such as x > 0 gives.")
    return other


def _plain_index(index):
    if isinstance(index, tuple):
        return tuple(_plain_index(i) for i in index)
    if isinstance(index, Var):
        _look(index, "an index")
        index = index._data
    if isinstance(index, np.ndarray) or (isinstance(index, list) and index):
        return np.array(index)  # a copy: the tape may keep it
    return index
