"""The engine: a value that remembers how it was made, and the walk back that turns this memory into gradients.

What one can do with it:

    w = Tensor([[1.0, 2.0]], requires_grad=True)  a leaf (Tensor is the Var that users make)
    loss = some_op(w)                             an `Op` computes, and the tape gets one `Node`
    loss.backward()                               w.grad holds d loss / d w
    (g,) = grad(loss, [w], create_graph=True)     the same as a value, itself differentiable

Three words carry everything. An **Op** is one operation declared once: its NumPy definition and one vector-Jacobian
product (vjp) per argument. A **Var** is an array and, if a gradient may be wanted, the Node that made it. A **Node** is
one line of the tape: the op, the nodes it came from, and what its vjps will ask for.

Ring 1. Knows arrays and kernels; must not know which ops exist, what a layer is, or the name of the user's class (the
result's class is taken from the arguments). Read after ``errors.py``; then ``ops/math.py`` and ``tensor.py``.

Note [What the tape keeps]
    A vjp's argument names say it: ``g`` the incoming gradient, ``y`` the result, the name of an argument, of a setting,
    or ``x_shape`` for an argument's shape alone. Only what the *wanted* gradients name is kept: ``x @ w`` with a plain
    array x keeps x and not w. Backward drops it (and says so when asked twice). Results of up to ``KEEP_SMALL``
    elements stay readable in ``tree()``, since 256 bytes cost nothing and a learner's numbers are that small.

Note [Versions]
    Every array that is kept carries a shared write counter. What writes in place (`ops.assign`, an optimizer) advances
    it, and backward refuses a kept array whose counter has moved: the gradient would silently be that of other numbers.
    NumPy cannot write past the counter, because ``Tensor.data`` and ``np.asarray(var)`` are read-only views. Plain
    arrays given as operands are the user's, who may fill them anew before backward: what is kept of them is a copy,
    unless nobody can write to them.

Note [Aliasing of gradients]
    A vjp may return ``g`` itself, or a view of it (add, reshape). So a gradient under way is never written to, unless
    the engine itself made it as a sum; and a leaf takes an array over only if that array is new, so two leaves never
    share a gradient's memory. A rule returns a new array, g, a view of it or what was kept, and nothing it still owns.
"""

from functools import wraps
from itertools import count
from operator import attrgetter

import numpy as np

from . import kernels
from .errors import AxisError, DtypeError, GraphError, SettingError, ShapeError, TinyaeError
from .hooks import Handle, after_hooks
from .mode import accumulating, capturing, fixed, for_keeps, mode, no_grad, recording
from .source import at, here, warn_of_earlier

__all__ = ["KEEP_SMALL", "OPS", "Node", "Op", "Var", "broadcast_to", "cast", "grad", "no_grad", "op", "sum_to",
           "written"]  # fmt: skip

KEEP_SMALL = 64
OPS = {}

_SCALARS = frozenset((float, int, bool))
_FREED = object()
_ndarray = np.ndarray
_tick = count().__next__
_by_order = attrgetter("order")


# -- the tape -------------------------------------------------------------------------------------------------------


class Node:
    """One line of the tape, or a leaf (``op`` is None). Holds no Var, so a dropped graph dies by reference count."""

    __slots__ = ("op", "parents", "recipe", "kept", "writes", "settings", "shape", "dtype", "order", "where", "value",
                 "grad", "hooks", "outdated", "__weakref__")  # fmt: skip

    def __init__(self, op, parents, recipe, kept, writes, settings, y, where):
        self.op = op
        self.parents = parents  # a Node per argument, None where no gradient is wanted
        self.recipe = recipe  # (parent's index, vjp, the kernel's vjp, positions in kept, part) per wanted gradient
        self.kept = kept  # or a function that brings it back: `checkpoint`
        self.writes = writes  # beside kept: (counter, its value then) of Note [Versions], None for what has no counter
        self.settings = settings
        self.shape, self.dtype = y.shape, y.dtype
        self.order = _tick()  # parents are always older: sorting by age is a topological sort
        self.where = where
        self.value = y if op is None or y.size <= KEEP_SMALL else None
        # grad: a Var of leaves and with `retain_grad`, else the latest array, if small, for `tree`. hooks: {handle:
        # function} once there is one. outdated: the gradient that was there when a leaf's memory was written.
        self.grad = self.hooks = self.outdated = None


def _leaf(array, where):
    return Node(None, (), (), (), (), None, array, where)


class Var:
    """An array and, if its gradient may be wanted, the `Node` that made it.

    Users make a `Tensor`, which adds manners.
    """

    __slots__ = ("_data", "_node", "_writes", "__weakref__")

    @property
    def grad(self):
        """The accumulated gradient, a Var of the same shape and dtype, or None."""
        return self._node.grad if self._node is not None and isinstance(self._node.grad, Var) else None

    @grad.setter
    def grad(self, value):
        if self._node is None:
            raise GraphError("grad: this tensor does not require a gradient. Call requires_grad_() first.")
        if value is not None:
            value = value if isinstance(value, Var) else self._result(value, dtype=self._data.dtype)
            if value._data.shape != self._data.shape:
                raise ShapeError(f"grad: shape {value._data.shape} for a tensor of shape {self._data.shape}.")
            if value._data.dtype != self._data.dtype:
                raise DtypeError(f"grad: dtype {value._data.dtype} for a {self._data.dtype} tensor. Convert it first.")
        self._node.grad = value

    @property
    def requires_grad(self):
        """Whether operations on this value are recorded."""
        return self._node is not None

    @property
    def is_leaf(self):
        """Whether this value was made by the user and not by an operation that was recorded."""
        return self._node is None or self._node.op is None

    def requires_grad_(self, flag=True):
        """Start (or stop) recording what is done with this leaf; returns self."""
        if not self.is_leaf:
            raise GraphError("requires_grad_: this tensor is the result of an operation. Use detach() to cut it off.")
        if flag and self._data.dtype.kind != "f":
            raise DtypeError(
                f"requires_grad: a gradient with respect to {self._data.dtype} values makes no sense. "
                "Convert first: Tensor(x, dtype=np.float32, requires_grad=True)."
            )
        self._node = (self._node or _leaf(self._data, here())) if flag else None
        return self

    def retain_grad(self):
        """Ask backward to store the gradient of this intermediate value in ``.grad`` too; returns self."""
        if self._node is None:
            raise GraphError("retain_grad: this tensor does not require a gradient.")
        if not _is_retained(self._node):
            self._node.grad = _RETAIN
        return self

    def register_hook(self, hook):
        """Have ``hook(g)`` called with this value's whole gradient in every walk back, before it is used or stored.

        g is a tensor; what the hook returns, if not None, takes its place. Returns a `Handle` to remove the hook with.
        A leaf's hooks end when it stops to require a gradient or is converted to another dtype.
        """
        if self._node is None:
            raise GraphError("register_hook: this tensor does not require a gradient. Call requires_grad_() first.")
        self._node.hooks = self._node.hooks or {}
        return Handle(self._node.hooks, hook)

    def detach(self):
        """The same values (shared memory), cut off from the graph."""
        return _wrap(self._result, self._data, None, _counter(self))

    def backward(self, g=None, *, retain_graph=False, create_graph=False):
        """Fill ``.grad`` of every leaf with d self / d leaf, *adding* to what is there.

        Parameters
        ----------
        g : array_like, optional
            The gradient to start from, of this tensor's shape; default 1, for a tensor of one element only.
        retain_graph : bool
            Keep what the tape holds, so that backward can run again.
        create_graph : bool
            Record the walk itself, so that gradients can be differentiated. Implies retain_graph.
        """
        gradients = _walk(self, g, None, retain_graph or create_graph, create_graph)
        with accumulating:
            for node, value in gradients.items():
                if isinstance(node.grad, Var):
                    if node.outdated is node.grad and node.grad._data.any():
                        node.outdated = warn_of_earlier(node.shape)
                    if mode.capture is not None:
                        mode.capture.accumulate(node.grad)
                    with no_grad() if not create_graph else recording():
                        value = OPS["add"](node.grad, value)
                node.grad = value


Var._result = Var
_RETAIN = object()


def _wrap(cls, data, node, writes):
    value = cls.__new__(cls)
    value._data = data
    value._node = node
    value._writes = writes
    return value


def _counter(var):
    """The write counter of Note [Versions]: [writes so far, where the last one was], made when first needed."""
    if var._writes is None:
        var._writes = [0, None]
    return var._writes


# -- operations -----------------------------------------------------------------------------------------------------

_INPUT, _RESULT, _SETTING, _SHAPE, _SHAPES, _CONSTANT = range(6)


class Op:
    """One operation, declared once: called on Vars it records, called on plain arrays it is plain NumPy or C.

    Made by the decorator `op`, which returns its ``function``: what users call. Arguments are arrays and positional,
    settings are keyword-only.
    """

    def __init__(self, definition, elementwise, view, domain, kinks, listed=True):
        code = definition.__code__  # arrays go by position: by keyword, one that wants a gradient would miss the tape
        definition.__code__ = code = code.replace(co_posonlyargcount=code.co_argcount)
        self.name, self.definition = definition.__name__, definition
        self.listed = listed  # in OPS; a user's own op may bear any name, so it never takes a kernel by name
        self.kernel = kernels.FORWARD.get(self.name) if listed else None
        self.arguments = code.co_varnames[: code.co_argcount]
        self.variadic = bool(code.co_flags & 0x04)  # declared as def op(*xs, ...): every operand has the same rule
        self.settings = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.defaults = dict(definition.__kwdefaults__ or {})
        # elementwise: operands broadcast, which the engine undoes. view: the result may share the operand's memory,
        # hence its write counter.
        self.elementwise, self.view = elementwise, view
        self.domain, self.kinks = domain, kinks  # where tests draw values; where it is not differentiable
        self.rules, self._recipes = {}, {}
        self.__doc__, self.__module__ = definition.__doc__, definition.__module__
        self.function = _function(self)

    def __repr__(self):
        return f"<op {self.name}>"

    def vjp(self, *which):
        """Declare the gradient for one argument: ``@op.vjp("a")``, or ``@op.vjp`` for the first (or every variadic)
        one.

        The rule maps the incoming gradient ``g`` and whatever else it names to the argument's gradient. It may use
        operators and ops only, since it runs on arrays and on Vars alike, and returns a new array or g. None stands for
        a gradient of zero.

        ``@op.vjp("a", "b")`` declares one rule that gives both gradients, as a tuple, where the way to them is one.
        """
        if not isinstance(which[0], str):
            return self._add_rule([None if self.variadic else self.arguments[0]], which[0])
        if unknown := set(which) - set(self.arguments):
            raise SettingError(f"{self.name} has no argument {unknown.pop()!r} to give a gradient to.")
        return lambda rule: self._add_rule(which, rule)

    def _add_rule(self, arguments, rule):
        names = rule.__code__.co_varnames[: rule.__code__.co_argcount]
        for name in names[1:]:
            self._source(name, 0)
        kernel = kernels.BACKWARD.get((self.name, arguments[0])) if self.listed else None
        self.rules |= dict.fromkeys(arguments, (rule, kernel, names[1:]))
        self._recipes.clear()
        return rule

    def _source(self, name, index):
        if self.variadic and name == "index":
            return _CONSTANT, index
        if self.variadic and name == "shapes":
            return _SHAPES, None
        if name == "y":
            return _RESULT, None
        if name in self.arguments:
            return _INPUT, self.arguments.index(name)
        if name.endswith("_shape") and name[:-6] in self.arguments:
            return _SHAPE, self.arguments.index(name[:-6])
        if name in self.settings:
            return _SETTING, name
        raise SettingError(f"{self.name}: a vjp asks for {name!r}, which is neither an argument, a setting nor y.")

    def _recipe(self, wanted):
        """What to keep, and how each rule finds it. wanted: a bit per operand, and one past the last, which tells n."""
        sources, rules = {}, []
        for index in range(wanted.bit_length() - 1):
            argument = None if self.variadic else self.arguments[index]
            if not wanted >> index & 1 or argument not in self.rules:
                continue
            rule, kernel, names = self.rules[argument]
            positions = [sources.setdefault(self._source(name, index), len(sources)) for name in names]
            part = [a for a, row in self.rules.items() if row[0] is rule].index(argument)
            rules.append((index, rule, kernel, tuple(positions), part))
        recipe = tuple(sources), tuple(rules)
        if not self.variadic:  # their patterns are without number
            self._recipes[wanted] = recipe
        return recipe

    def __call__(self, *args, **settings):
        return self.function(*args, **settings)

    def _operand(self, value):
        if self.elementwise:
            if value.__class__ in _SCALARS:
                return value  # weak: float32 stays float32
            if isinstance(value, float) or (isinstance(value, np.generic) and value.dtype.kind in "biu"):
                return value.item()  # np.float64 too, else x / np.sqrt(2) would leave float32 behind the user's back
        if isinstance(value, (list, tuple)) and any(isinstance(v, Var) for v in value):
            raise GraphError(f"{self.name}: a list of Tensors would lose their gradients. Write {self.name}(a, b).")
        return np.asarray(value)

    def _record(self, result, args, arrays, parents, settings, wanted):
        """Give result its line on the tape, if there is a rule for a wanted gradient."""
        sources, rules = recipe = self._recipes.get(wanted) or self._recipe(wanted)
        if not rules:
            return
        y, kept, writes = result._data, (), ()
        if y.dtype.kind != "f":
            raise DtypeError(f"{self.name}: a gradient with respect to {y.dtype} values makes no sense. Use floats.")
        if sources:
            kept, writes = [], []
            for kind, which in sources:
                counter = None
                if kind == _INPUT:
                    value, is_var = arrays[which], isinstance(args[which], Var)
                    kept.append(value if is_var or value.__class__ is not _ndarray else for_keeps(value))
                    counter = _counter(args[which]) if is_var else None
                elif kind == _RESULT:
                    kept.append(y)
                    counter = _counter(result)
                elif kind == _SETTING:
                    kept.append(settings[which])
                elif kind == _SHAPE:
                    kept.append(arrays[which].shape)
                elif kind == _SHAPES:
                    kept.append(tuple(a.shape for a in arrays))
                else:
                    kept.append(which)
                writes.append(None if counter is None else (counter, counter[0]))
        result._node = Node(self, parents, recipe, kept, writes, settings, y, here(3))  # function's caller

    def _error(self, problem, arrays, settings):
        """NumPy's complaint in our words: the op, all shapes, the user's settings."""
        shapes = [np.shape(a) for a in arrays]
        if self.elementwise and "broadcast" in str(problem):
            return ShapeError(
                f"{self.name}: shapes {' and '.join(map(str, shapes))} do not broadcast. "
                "Aligned at the right, each axis must have equal length or length 1; reshape one of them."
            )
        given = "".join(f", {k}={v!r}" for k, v in settings.items() if not isinstance(v, np.ndarray))
        kinds = {IndexError: AxisError, TypeError: DtypeError, OverflowError: DtypeError, ValueError: ShapeError}
        kind = next(ours for theirs, ours in kinds.items() if isinstance(problem, theirs))
        return kind(f"{self.name}: operands of shape {', '.join(map(str, shapes))}{given}: {problem}")


def _function(self):
    """The op as a function. Not a method of `Op`, so that a class may take it as a method of its own (``Tensor.exp``)
    without a frame between the user and here: those frames were a fifth of what a small op costs."""

    @wraps(self.definition)
    def function(*args, **settings):
        cls, arrays, parents = None, [], []
        wanted, bit = 0, 1  # bit i of wanted: operand i wants a gradient
        for value in args:
            node = None
            if isinstance(value, Var):
                cls = value._result
                node = value._node
                if node is not None:
                    wanted |= bit
                value = value._data
            elif value.__class__ is not _ndarray:
                value = self._operand(value)
            arrays.append(value)
            parents.append(node)
            bit += bit
        if self.defaults:
            settings = {**self.defaults, **settings}
        try:
            y = None if self.kernel is None else self.kernel(*arrays, **settings)
            if y is None:
                y = self.definition(*arrays, **settings)
        except TinyaeError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError) as problem:
            raise self._error(problem, arrays, settings) from None
        if cls is None:
            return y if not capturing or mode.capture is None else mode.capture.of_plain(arrays, y)
        result = _wrap(cls, y if y.__class__ is _ndarray else np.asarray(y), None, None)
        if self.view and arrays[0].__class__ is _ndarray and np.may_share_memory(result._data, arrays[0]):
            if isinstance(args[0], Var):
                result._writes = _counter(args[0])
            else:
                result._data = for_keeps(result._data)
        if capturing and mode.capture is not None:
            mode.capture.note(self, args, arrays, settings, result)
        if wanted and mode.recording:
            self._record(result, args, arrays, parents, settings, wanted + bit)
        return result

    function.op, function.vjp = self, self.vjp
    return function


def op(definition=None, /, *, elementwise=False, view=False, domain=(-3.0, 3.0), kinks=()):
    """Declare an operation: decorate its NumPy definition. Returns a function; its `Op` is in ``OPS`` under its name.

    A program's own operation is better a `custom_op`, which is not registered and may bear any name.
    """
    if definition is None:
        return lambda function: op(function, elementwise=elementwise, view=view, domain=domain, kinks=kinks)
    made = Op(definition, elementwise, view, domain, kinks)
    if OPS.get(made.name, made).__module__ != made.__module__:
        raise SettingError(f"op: {made.name!r} exists, in {OPS[made.name].__module__}. Give yours another name.")
    OPS[made.name] = made  # the same module may say it anew, as a notebook's cell does
    return made.function


@op(view=True)
def broadcast_to(x, *, shape):
    """x repeated along new axes and axes of length 1, without a copy. Shape: any -> shape."""
    return np.broadcast_to(x, shape)


@broadcast_to.vjp
def _(g, x_shape):
    return sum_to(g, shape=x_shape)


@op
def sum_to(x, *, shape):
    """The transpose of `broadcast_to`: sums over the axes along which shape was repeated. Shape: any -> shape."""
    new = x.ndim - len(shape)
    repeated = tuple(i for i in range(x.ndim) if i < new or (shape[i - new] == 1 and x.shape[i] != 1))
    summed = kernels.FORWARD["sum"](x, axis=repeated, keepdims=False) if "sum" in kernels.FORWARD else None
    return (x.sum(axis=repeated) if summed is None else summed).reshape(shape)


@sum_to.vjp
def _(g, x_shape):
    return broadcast_to(g, shape=x_shape)


@op
def cast(x, *, dtype):
    """x in another dtype. Shape: any -> same."""
    return x.astype(dtype)


@cast.vjp
def _(g):
    return g  # the engine gives every gradient its parent's dtype


def written(*vars):
    """Advance the write counters of vars whose memory was just written in place (Note [Versions])."""
    where = here()
    if mode.capture is not None:
        mode.capture.wrote(vars)
    for var in vars:
        if var._writes is not None:
            var._writes[0] += 1
            var._writes[1] = where
        if var._node is not None:
            var._node.outdated = var._node.grad


# -- the walk back --------------------------------------------------------------------------------------------------


def grad(output, inputs, g=None, *, create_graph=False, retain_graph=None, allow_unused=False):
    """d output / d inputs, without touching any ``.grad``.

    Parameters
    ----------
    output : Var
        One value, or any shape if g (of that shape) says what to start from.
    inputs : Var or sequence of Var
        Leaves or intermediate results.
    g : array_like, optional
        The gradient to start from; default 1.
    create_graph : bool
        Make the gradients differentiable in turn, to any order.
    retain_graph : bool, optional
        Keep the graph for another walk; default: as create_graph.
    allow_unused : bool
        Zeros, instead of an error, for an input that output does not depend on.

    Returns
    -------
    Var or tuple of Var
        As inputs; each of its input's shape and dtype.
    """
    single = isinstance(inputs, Var)
    inputs = (inputs,) if single else tuple(inputs)
    for i, x in enumerate(inputs):
        if not isinstance(x, Var):
            raise GraphError(f"grad: input {i} is a {type(x).__name__}, not a Tensor.")
        if x._node is None and not allow_unused:
            raise GraphError(f"grad: input {i} does not require a gradient. Make it with requires_grad=True.")
    retain = create_graph if retain_graph is None else retain_graph
    targets = {x._node for x in inputs if x._node is not None}
    # What is constant, such as the slope of relu, has zeros for its own slope.
    found = {} if output._node is None and allow_unused else _walk(output, g, targets, retain, create_graph)
    gradients = []
    for i, x in enumerate(inputs):
        if x._node not in found and not allow_unused:
            raise GraphError(
                f"grad: the output does not depend on input {i} (shape {x._data.shape}). "
                "Pass allow_unused=True if zeros are what you want."
            )
        zeros = None if x._node in found else fixed(np.zeros_like(x._data, order="C"))
        gradients.append(found[x._node] if zeros is None else _wrap(output._result, zeros, None, None))
    return gradients[0] if single else tuple(gradients)


def _seed(root, g):
    if root._node is None:
        raise GraphError(
            "backward: this tensor does not depend on anything that requires a gradient. "
            "Make a leaf with requires_grad=True before computing, and not under no_grad(). If it is a slope of what is "
            "straight in pieces, such as relu, it is constant: grad(..., allow_unused=True) gives zeros."
        )
    if g is None:
        if root._data.size != 1:
            raise GraphError(
                f"backward: the output has shape {root._data.shape}, not one value. Reduce it first, with .sum() or "
                ".mean(), or pass the gradient to start from: t.backward(g)."
            )
        return _wrap(root._result, np.ones_like(root._data), None, None)
    seed = g if isinstance(g, Var) else _wrap(root._result, np.array(g, dtype=root._data.dtype), None, None)
    if seed._data.shape != root._data.shape:
        raise ShapeError(
            f"backward: g has shape {seed._data.shape}, the output {root._data.shape}. They must be equal."
        )
    return seed if seed._data.dtype == root._data.dtype else cast(seed, dtype=root._data.dtype)


def _walk(root, g, targets, retain, create):
    """Visit every node below root, youngest first, and return {node: its gradient, a Var that owns its memory}.

    The keys are `targets`, or, if that is None, all leaves and all nodes marked by `retain_grad`. Iterative: a chain of
    100,000 ops needs no recursion.
    """
    seed = _seed(root, g)
    traced = create or mode.capture is not None  # then gradients under way are Vars, so that ops see them
    fixed(seed._data)
    nodes = _below(root._node)
    useful = inner = None  # the nodes that a path to a target meets, and those that it passes through
    if targets is not None:
        useful, inner = set(targets), set()
        for node in reversed(nodes):
            if any(p in useful for p in node.parents):
                useful.add(node)
                inner.add(node)
    for node in nodes if inner is None else inner:
        _check_kept(node)  # all of them first, so that a refused walk leaves the graph whole
    pending = {root._node: seed if traced else seed._data}
    fresh = set()  # nodes whose pending gradient is an array nobody else holds: Note [Aliasing of gradients]
    found = {}
    with recording() if create else no_grad(), np.errstate(all="ignore"):
        for node in nodes:
            g = pending.pop(node, None)
            if node.hooks and g is not None:
                g = after_hooks(node.hooks, g, root._result, traced)
                fresh.discard(node)
            chosen = (node.op is None or _is_retained(node)) if targets is None else node in targets
            if chosen:
                if g is None:  # on a path, but every rule on it answered zero
                    taken = np.zeros(node.shape, node.dtype)
                else:
                    taken = g if node in fresh else cast(g, dtype=node.dtype)  # a copy
                    taken = taken._data if traced else taken
                history = g._node if create and g is not None else None
                found[node] = _wrap(root._result, taken, history, g._writes if history and node in fresh else None)
            if g is None or node.op is None or (inner is not None and node not in inner):
                continue
            if node.value is not None and not chosen and not _is_retained(node):
                node.grad = g._data if traced else g  # small: for tree(), Note [What the tape keeps]
            if callable(node.kept):
                node.kept()
            _contribute(node, g, pending, fresh, useful, root._result if traced else None)
            if not retain:
                node.kept, node.writes = _FREED, ()
    return found


def _contribute(node, g, pending, fresh, useful, cls):
    """Run the node's wanted rules on g and add each result to its parent's pending gradient."""
    outs = {}  # what a rule of several arguments gave, by rule
    for index, rule, kernel, positions, part in node.recipe[1]:
        parent = node.parents[index]
        if useful is not None and parent not in useful:
            continue
        out = outs.get(rule)
        if out is None:
            values = [node.kept[p] if cls is None else _as_var(node, p, cls) for p in positions]
            if cls is None:
                out = None if kernel is None else kernel(g, *values)
            elif mode.capture is not None:
                out = mode.capture.vjp(node, index, kernel, g, values)
            if out is None:
                out = rule(g, *values)
        if out.__class__ is tuple:
            outs[rule], out = out, out[part]
        if out is None:
            continue
        if out.shape != parent.shape:
            if not node.op.elementwise:
                raise GraphError(
                    f"{node.op.name}: a vjp gave shape {out.shape} for an argument of shape {parent.shape}."
                )
            out = sum_to(out, shape=parent.shape)
        if out.dtype != parent.dtype:
            out = cast(out, dtype=parent.dtype)
        if cls is None and out.__class__ is not np.ndarray:
            out = np.asarray(out)  # NumPy turns 0-d results into scalars
        before = pending.get(parent)
        if before is None:
            pending[parent] = out
            raw = out if cls is None else out._data
            if out is not g and raw.base is None and not any(raw is v for v in node.kept):
                fresh.add(parent)
        elif cls is None and parent in fresh:
            np.add(before, out, out=before)
        else:
            total = OPS["add"](before, out)
            pending[parent] = np.asarray(total) if cls is None else total
            fresh.add(parent)


def _as_var(node, position, cls):
    """A kept Var again, with its place in the graph and its write counter, for rules that are themselves recorded."""
    value, write = node.kept[position], node.writes[position]
    if write is None:
        return value
    kind, which = node.recipe[0][position]
    return _wrap(cls, value, node if kind == _RESULT else node.parents[which], write[0])


def _below(root):
    """All nodes that root depends on, root included, youngest first."""
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=_by_order, reverse=True)


def _is_retained(node):
    return node.grad is _RETAIN or isinstance(node.grad, Var)


def _check_kept(node):
    """What the node kept is still there, and still what it was."""
    if node.kept is _FREED:
        raise GraphError(
            f"backward: the graph was freed by an earlier backward (at {node.op.name}, {at(node.where)}). "
            "Pass retain_graph=True to the first one, or compute the loss anew."
        )
    for write in node.writes:
        if write is not None and write[0][0] != write[1]:
            raise GraphError(
                f"backward: {node.op.name} at {at(node.where)} kept a tensor that was changed in place afterwards, "
                f"at {at(write[0][1])}. Change a copy instead, or change it after backward()."
            )
