"""Derivatives of functions, in the manner of JAX and ``torch.func``, and what one builds from backward alone.

    value, (dw, db) = value_and_grad(loss)([w, b])     one walk back
    y, pull = vjp(f, x);      pull(g)                   g J, for any g of y's shape
    y, dy = jvp(f, (x,), (v,))                          J v
    jacobian(f)(x), hessian(f)(x)                       y.shape + x.shape, x.shape + x.shape
    value, Hv = hvp(f, (x,), (v,))                      without the matrix
    y = checkpoint(f, x)                                as f(x), with the memory of x alone
    @custom_op                                          an operation of your own, with its own rule

A function takes Tensors or arrays, or lists, tuples and dictionaries of them (what `nn.functional_call` wants), and its
derivatives come back in the same form. Arrays become leaves. A Tensor that requires a gradient stays part of its own
graph, so transforms nest: ``jacobian(jacobian(f))``; then, or with ``create_graph=True``, results can be
differentiated again.

Ring 3. Must not know modules. Only the engine's walk back is used: a product with the Jacobian from the right is the
derivative of the product from the left, which is linear in g (J. Townsend, "A new trick for calculating Jacobian vector
products", 2017).
"""

from functools import reduce, wraps
from operator import add
from weakref import ref
from zlib import crc32

import numpy as np

from . import ops
from .engine import Op, Var, _by_order, _leaf, _tick, _wrap, grad
from .errors import DtypeError, GraphError, SettingError, ShapeError
from .mode import fixed, mode, recording, replaying, watching
from .source import at, here
from .tensor import Tensor

__all__ = ["checkpoint", "custom_op", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


# -- functions of nested arguments ----------------------------------------------------------------------------------


def _leaves(tree):
    """The values of nested lists, tuples and dictionaries, in order."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, (list, tuple)) and not _is_numbers(tree):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [tree]


def _is_numbers(value):
    """[1.0, 2.0] is an array; [w, b] is two."""
    return bool(value) and all(isinstance(v, (bool, int, float)) or (isinstance(v, (list, tuple)) and _is_numbers(v))
                               for v in value)  # fmt: skip


def _like(tree, leaves):
    """The nest again, with other values, taken from an iterator."""
    if isinstance(tree, dict):
        return {key: _like(value, leaves) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)) and not _is_numbers(tree):
        values = [_like(value, leaves) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return next(leaves)


def _input(value, who):
    """A point to differentiate at: a value with a node of its own, so that only what goes through it is counted."""
    if isinstance(value, Var) and value.requires_grad:
        return ops.reshape(value, shape=value._data.shape)
    data = value._data if isinstance(value, Var) else Tensor(value)._data
    if data.dtype.kind != "f":
        raise DtypeError(f"{who}: a derivative with respect to {data.dtype} values makes no sense. Give floats.")
    return _wrap(Tensor, data, _leaf(data, here()), value._writes if isinstance(value, Var) else None)


def _evaluate(function, primals, who, argnums=None, settings={}):
    """(result, the inputs differentiated, the nest they came in, whether they require a gradient themselves)."""
    n = len(primals)
    chosen = range(n) if argnums is None else (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(isinstance(i, int) and -n <= i < n for i in chosen) or len({i % n for i in chosen}) < len(chosen):
        raise SettingError(f"{who}: argnums={argnums!r}, but the function was given {n} arguments, from 0 to {n - 1}.")
    chosen = [i % n for i in chosen]
    nest = primals[chosen[0]] if isinstance(argnums, int) else tuple(primals[i] for i in chosen)
    differentiable = any(isinstance(leaf, Var) and leaf.requires_grad for leaf in _leaves(nest)) and mode.recording
    with recording():
        inputs = [_input(leaf, who) for leaf in _leaves(nest)]
        found = iter(inputs)
        arguments = list(primals)
        for i in chosen:
            arguments[i] = _like(primals[i], found)
        y = function(*arguments, **settings)
    if not isinstance(y, Var):
        raise DtypeError(f"{who}: the function returned a {type(y).__name__}, not one Tensor.")
    return y, inputs, nest, differentiable


def _pull(y, inputs, g, retain, create):
    """g J for every input; zeros where y does not depend on it."""
    if not y.requires_grad:
        return [_wrap(Tensor, fixed(np.zeros_like(x._data)), None, None) for x in inputs]
    with recording():
        return list(grad(y, inputs, g, retain_graph=retain, create_graph=create, allow_unused=True))


def _one_number(y, who):
    if y._data.size != 1:
        raise ShapeError(f"{who}: the function returned shape {y._data.shape}, not one value. Reduce it, or take vjp.")
    return y


def _given(y, differentiable):
    return y if differentiable else y.detach()


def _dot(xs, ts, dtype):
    """<xs, ts>, of lists that are each one vector."""
    return reduce(add, [ops.cast(ops.sum(x * t), dtype=dtype) for x, t in zip(xs, ts)])


def _along(tree, other, who):
    """The leaves of another nest, in the order of tree's, whose form it must have."""
    if isinstance(tree, dict):
        keys = other.keys() if isinstance(other, dict) else ()
        if set(tree) != set(keys):
            raise ShapeError(f"{who}: tangents {list(keys)} for inputs {list(tree)}. Give the same keys.")
        return [leaf for key in tree for leaf in _along(tree[key], other[key], who)]
    if isinstance(tree, (list, tuple)) and not _is_numbers(tree):
        if not isinstance(other, (list, tuple)) or len(other) != len(tree):
            n = len(other) if isinstance(other, (list, tuple)) else 1
            raise ShapeError(f"{who}: {n} tangents for {len(tree)} inputs. Give them in the inputs' own form.")
        return [leaf for a, b in zip(tree, other) for leaf in _along(a, b, who)]
    return [other]


def _tangents(inputs, tangents, nest, who):
    """Tangents as arrays or Vars of the inputs' shapes and dtypes."""
    given = _along(nest, tangents, who)
    for x, t in zip(inputs, given):
        shape = t._data.shape if isinstance(t, Var) else np.shape(t)
        if shape != x._data.shape:
            raise ShapeError(f"{who}: a tangent of shape {shape} for an input of shape {x._data.shape}.")
    return [t.astype(x._data.dtype) if isinstance(t, Tensor) else Tensor(t, dtype=x._data.dtype)
            for x, t in zip(inputs, given)]  # fmt: skip


# -- transforms -----------------------------------------------------------------------------------------------------


def value_and_grad(function, argnums=0, *, create_graph=None):
    """A function of the same arguments that returns ``(function(...), its gradient)``.

    Parameters
    ----------
    function : callable
        To a Tensor of one element.
    argnums : int or tuple of int
        Which arguments to differentiate; the gradient has that argument's form, or is a tuple of several.
    create_graph : bool, optional
        Whether value and gradient stay differentiable; default: whether an argument requires a gradient.

    Shape: the gradient's are the arguments'.
    """

    @wraps(function)
    def both(*primals, **settings):
        y, inputs, nest, differentiable = _evaluate(function, primals, "value_and_grad", argnums, settings)
        create = differentiable if create_graph is None else create_graph
        gradients = _pull(_one_number(y, "value_and_grad"), inputs, None, create, create)
        return _given(y, create), _like(nest, iter(gradients))

    return both


def vjp(function, *primals):
    """``(y, pull)``: y = function(*primals), and pull(g) = g J, the gradient of sum(g * y) for each argument.

    pull may be called any number of times; it returns a tuple, one entry per argument in that argument's form.
    Shape: g as y.
    """
    y, inputs, nest, differentiable = _evaluate(function, primals, "vjp")

    def pull(g):
        create = differentiable or (isinstance(g, Var) and g.requires_grad)
        return _like(nest, iter(_pull(y, inputs, g, True, create)))

    return _given(y, differentiable), pull


def jvp(function, primals, tangents):
    """``(y, J v)``: function(*primals) and its derivative in the direction of the tangents v.

    Parameters
    ----------
    function : callable
    primals, tangents : tuple
        The point and the direction, of equal form.

    Shape: both results as function's.
    """
    primals = _as_tuple(primals)
    y, inputs, nest, differentiable = _evaluate(function, primals, "jvp")
    tangents = _tangents(inputs, _as_tuple(tangents), nest, "jvp")
    create = differentiable or any(t.requires_grad for t in tangents)
    dy = _push(y, inputs, tangents, create)
    return _given(y, differentiable), dy


def _push(y, inputs, tangents, create):
    """J v: with g a variable, <g J, v> is linear in g, and J v is its slope."""
    zeros = fixed(np.zeros_like(y._data))
    g = _wrap(Tensor, zeros, _leaf(zeros, here()), None)
    pulled = _pull(y, inputs, g, True, True)
    with recording():
        product = _dot(pulled, tangents, y._data.dtype)
    return _pull(product, [g], None, create, create)[0]


def jacobian(function, argnums=0, *, create_graph=None):
    """A function of the same arguments that returns d function / d argument, one walk back per element of the result.

    Parameters
    ----------
    function : callable
        To one Tensor.
    argnums, create_graph : as in `value_and_grad`

    Shape: y.shape + x.shape for each differentiated x.
    """

    @wraps(function)
    def matrix(*primals, **settings):
        y, inputs, nest, differentiable = _evaluate(function, primals, "jacobian", argnums, settings)
        create = differentiable if create_graph is None else create_graph
        return _like(nest, iter(_jacobian(y, inputs, create)))

    return matrix


def _jacobian(y, inputs, create):
    shape = y._data.shape
    if not y._data.size:
        return [_wrap(Tensor, fixed(np.zeros(shape + x._data.shape, x._data.dtype)), None, None) for x in inputs]
    rows = []
    unit = np.zeros(y._data.size, y._data.dtype)
    for i in range(unit.size):
        unit[i] = 1.0
        rows.append(_pull(y, inputs, unit.reshape(shape), True, create))
        unit[i] = 0.0
    with recording():
        return [ops.reshape(ops.stack(*column), shape=shape + x._data.shape) for column, x in zip(zip(*rows), inputs)]


def hessian(function, argnums=0, *, create_graph=None):
    """A function of the same arguments that returns the second derivatives of a function to one number.

    Parameters
    ----------
    function : callable
        To a Tensor of one element.
    argnums : int
        The one argument to differentiate twice, a Tensor or array.
    create_graph : as in `value_and_grad`

    Shape: x.shape + x.shape.
    """
    if not isinstance(argnums, int):
        raise SettingError(f"hessian: argnums={argnums!r}. Give one int; hvp takes any number of arguments.")

    @wraps(function)
    def matrix(*primals, **settings):
        y, inputs, _, differentiable = _evaluate(function, primals, "hessian", argnums, settings)
        if len(inputs) != 1:
            raise SettingError(f"hessian: argument {argnums} holds {len(inputs)} arrays. Give one; hvp takes several.")
        create = differentiable if create_graph is None else create_graph
        (slope,) = _pull(_one_number(y, "hessian"), inputs, None, True, True)
        return _jacobian(slope, inputs, create)[0]

    return matrix


def hvp(function, primals, tangents):
    """``(y, H v)``: a function to one number, and its second derivative times the tangents v, by two walks back.

    Shape: H v in the form of primals, a tuple.
    """
    primals = _as_tuple(primals)
    y, inputs, nest, differentiable = _evaluate(function, primals, "hvp")
    tangents = _tangents(inputs, _as_tuple(tangents), nest, "hvp")
    slopes = _pull(_one_number(y, "hvp"), inputs, None, True, True)
    with recording():
        along = _dot(slopes, tangents, y._data.dtype)
    create = differentiable or any(t.requires_grad for t in tangents)
    return _given(y, differentiable), _like(nest, iter(_pull(along, inputs, None, create, create)))


def _as_tuple(values):
    return values if isinstance(values, tuple) else (values,)


# -- memory for time ------------------------------------------------------------------------------------------------


def checkpoint(function, *inputs):
    """function(*inputs), of which backward will compute the inside a second time instead of keeping it.

    T. Chen et al., "Training deep nets with sublinear memory cost", 2016. The graph and its gradients are those of
    function(*inputs); parameters that the function closes over get theirs too. Noise is drawn the same again, and state
    that the function assigned (running statistics) is not assigned twice. Returns what function returns, one Tensor.

    Raises GraphError in backward if the second run differs from the first: something that it reads has changed.
    """
    start = _tick()
    with watching() as (noise, written):
        y = function(*inputs)
    if not isinstance(y, Var):
        raise DtypeError(f"checkpoint: the function returned a {type(y).__name__}, not one Tensor.")
    nodes = _since(start, y._node)
    again = _Again(function, inputs, noise, written, nodes)
    for node in nodes:
        node.kept = again
    return y


def _since(start, root):
    """The nodes below root that are younger than start and keep something, oldest first."""
    seen, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node is not None and node.order > start and node not in seen:
            seen.add(node)
            stack.extend(node.parents)
    return sorted((node for node in seen if node.kept), key=_by_order)


class _Again:
    """A computation that can be repeated, to bring back what its nodes kept. The engine calls it when it needs that."""

    def __init__(self, function, inputs, noise, written, nodes):
        self.function, self.inputs, self.noise, self.written, self.where = function, inputs, noise, written, here()
        self.marks = [_mark(node) for node in nodes]
        self.nodes = [ref(node) for node in nodes]  # weak: they hold this, and a dropped graph dies at once

    def __call__(self):
        start = _tick()
        with recording(), replaying(self.noise, self.written):
            y = self.function(*self.inputs)
        nodes = _since(start, y._node)
        if [_mark(node) for node in nodes] != self.marks:
            raise GraphError(
                f"checkpoint: at {at(self.where)}, the second run differs from the first. Something that the function "
                "reads has changed since, or it draws noise that is not from a tinyae.Generator."
            )
        for old, new in zip(self.nodes, nodes):
            node = old()
            if node is not None and node.kept is self:
                node.kept, node.writes = new.kept, new.writes


def _mark(node):
    """The op, and a checksum of each array that it kept: what tells one run from another."""
    if callable(node.kept):  # a checkpoint within
        node.kept()
    return node.op, [crc32(np.ascontiguousarray(a)) for a in node.kept if isinstance(a, np.ndarray)]


# -- one's own ------------------------------------------------------------------------------------------------------


def custom_op(definition=None, /, *, elementwise=False, view=False):
    """Declare an operation of your own: decorate its NumPy definition, then give each argument a rule.

        @custom_op
        def cube(x):
            return x**3

        @cube.vjp
        def _(g, x):                # the names say what is kept: arguments, settings, or y, the result
            return g * 3.0 * x**2

    Arrays are positional, settings keyword-only; the rule for an argument b stands under ``@cube.vjp("b")``. A rule of
    operators and ops can itself be differentiated; one of NumPy functions cannot, and says so when asked.
    ``gradcheck(cube, x)`` checks it as it checks ours. elementwise: operands broadcast, and the engine sums gradients
    back; view: the result may share the operand's memory. Raises GraphError when a gradient is wanted for an argument
    that has no rule.
    """
    if definition is None:
        return lambda function: custom_op(function, elementwise=elementwise, view=view)
    return _CustomOp(definition, elementwise, view, None, (), listed=False).function


class _CustomOp(Op):
    """An op of the user's. One of ours without a rule has a gradient of zero; here it is more likely forgotten."""

    def _recipe(self, wanted):
        for i, name in enumerate([None] if self.variadic else self.arguments):
            if name not in self.rules and wanted >> i & 1 and wanted.bit_length() - 1 > i:
                raise GraphError(
                    f"{self.name}: no rule for the gradient of {name or 'its operands'}, which would end here. Give "
                    f"one, @{self.name}.vjp{'' if name is None else f'({name!r})'}, which returns None if it is zero; "
                    "or pass x.detach()."
                )
        return super()._recipe(wanted)
