"""Module: parameters with a forward function, nested as deep as you like.

    class Autoencoder(Module):
        def __init__(self):
            self.encoder = Sequential(Linear(64, 16), ReLU())
            self.decoder = Linear(16, 64)

        def forward(self, x):
            return self.decoder(self.encoder(x))

    net = Autoencoder()
    [name for name, p in net.named_parameters()]    # encoder.0.weight, encoder.0.bias, decoder.weight, decoder.bias
    print(net.summary(64))
    functional_call(net, {"decoder.bias": b}, x)    # net(x) as a function of b: for jacobian, hvp and the like

There is no registration: a parameter is an attribute that is a `Parameter`, a buffer one that is a `Buffer`, a child
one that is a `Module`, and lists, tuples and dicts of them count too. All that follows is reading attributes, so a
module needs no ``super().__init__()``, and copying and pickling are Python's own.

Ring 4. Must not know any layer. Read after ``tensor.py``; then ``layers.py``, ``losses.py``, ``optim``.
"""

import copy

import numpy as np

from ..engine import Var, _counter, no_grad
from ..errors import AxisError, DtypeError, SettingError, ShapeError
from ..hooks import Handle
from ..mode import mode
from ..tensor import Tensor
from ..transforms import _leaves, _like

__all__ = ["Buffer", "Module", "Parameter", "functional_call"]


class Parameter(Tensor):
    """A Tensor that training changes: a leaf with requires_grad=True. What is computed from it is a Tensor.

    Parameters
    ----------
    data : array_like
        The initial values, copied.
    requires_grad : bool
        False for a frozen one.
    dtype : dtype, optional
        What to convert to.

    Shape: any.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad=True, dtype=None):
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state but has no gradient, such as a running mean.

    Parameters
    ----------
    data : array_like
        The initial values, copied.
    dtype : dtype, optional
        What to convert to.

    Shape: any.
    """

    __slots__ = ()

    def __init__(self, data, dtype=None):
        super().__init__(data, False, dtype)


class Module:
    """The base of every layer and network: subclass it, set attributes, define ``forward``.

    Calling a module calls forward. A ShapeError, AxisError or DtypeError from inside then starts with the path of the
    layer that raised it. ``training`` tells layers such as Dropout which mode they are in; `train` and `eval` set it.
    """

    training = True
    attribute_changes = 0  # of any module's attributes, so that a plan need not look at them all before each run
    _pre_hooks = _forward_hooks = None  # {handle: function} once there is one

    def forward(self, *inputs, **settings):
        """What the module computes; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}: no forward. Define forward(self, x), or call its children.")

    def __call__(self, *inputs, **settings):
        if mode.capture is not None:
            mode.capture.modules[self] = True
        try:
            if self._pre_hooks:
                for hook in tuple(self._pre_hooks.values()):
                    answer = hook(self, inputs)
                    inputs = inputs if answer is None else answer if isinstance(answer, tuple) else (answer,)
            y = self.forward(*inputs, **settings)
            if self._forward_hooks:
                for hook in tuple(self._forward_hooks.values()):
                    answer = hook(self, inputs, y)
                    y = y if answer is None else answer
            return y
        except (ShapeError, AxisError, DtypeError) as problem:
            _locate(problem, self)
            raise

    def register_forward_pre_hook(self, hook):
        """Have ``hook(module, inputs)`` called before forward, inputs being the tuple of positional arguments.

        What it returns, if not None, takes the inputs' place: a tuple, or the one input. Returns a `Handle` to remove
        the hook with. Copies and pickles of the module take its hooks along.
        """
        Module.attribute_changes += 1
        if self._pre_hooks is None:
            self._pre_hooks = {}
        return Handle(self._pre_hooks, hook)

    def register_forward_hook(self, hook):
        """Have ``hook(module, inputs, y)`` called after forward; what it returns, if not None, takes y's place.

        Returns a `Handle` to remove the hook with. Copies and pickles of the module take its hooks along.
        """
        Module.attribute_changes += 1
        if self._forward_hooks is None:
            self._forward_hooks = {}
        return Handle(self._forward_hooks, hook)

    # -- attributes that are computed -------------------------------------------------------------------------------
    # `parametrise` moves a parameter from its attribute into the dictionary `parametrised`, under the same name.

    def __getattr__(self, name):
        computed = vars(self).get("parametrised", {}).get(name)
        if computed is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return computed()

    def __setattr__(self, name, value):
        if name in vars(self).get("parametrised", ()):
            raise SettingError(
                f"{type(self).__name__}: {name} is computed and cannot be set. Change "
                f".parametrised[{name!r}].original, or call unparametrise(module, {name!r}) first."
            )
        Module.attribute_changes += 1
        super().__setattr__(name, value)

    def __delattr__(self, name):
        Module.attribute_changes += 1
        super().__delattr__(name)

    # -- what is inside ---------------------------------------------------------------------------------------------

    def _attributes(self):
        """(name, value) of what may hold parameters, buffers and modules. Hooks may hold some, which are not ours."""
        return ((n, v) for n, v in vars(self).items() if n not in ("_pre_hooks", "_forward_hooks"))

    def _members(self):
        """(name, value) for every Parameter, Buffer and Module among the attributes."""
        return _found(self._attributes())

    def _named(self, kind):
        seen = set()
        for path, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, kind) and value not in seen:
                    seen.add(value)
                    yield _join(path, name), value

    def named_parameters(self):
        """Yield (name, parameter), such as ``("encoder.0.weight", ...)``; a tied one once, under its first name."""
        return self._named(Parameter)

    def parameters(self):
        """Yield every parameter once."""
        return (p for _, p in self._named(Parameter))

    def named_buffers(self):
        """Yield (name, buffer), each buffer once."""
        return self._named(Buffer)

    def buffers(self):
        """Yield every buffer once."""
        return (b for _, b in self._named(Buffer))

    def named_modules(self):
        """Yield (name, module) for this module, named "", and all below it: each once, parents first."""
        seen, stack = set(), [("", self)]
        while stack:
            path, module = stack.pop()
            if module in seen:
                continue
            seen.add(module)
            yield path, module
            stack += [(_join(path, n), m) for n, m in module._members() if isinstance(m, Module)][::-1]

    def modules(self):
        """Yield this module and all below it, each once, parents first."""
        return (m for _, m in self.named_modules())

    def children(self):
        """Yield the modules directly below this one, each once."""
        return iter({m: None for _, m in self._members() if isinstance(m, Module)})

    # -- state ------------------------------------------------------------------------------------------------------

    def _state(self):
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def state_dict(self):
        """{name: copy of the array} of all parameters and buffers; a tied one once, under its first name."""
        return {name: value._data.copy() for name, value in self._state().items()}

    def load_state_dict(self, state, strict=True):
        """Copy arrays in by name, converted to each parameter's dtype; all of them or, if one does not fit, none.

        Parameters
        ----------
        state : dict of str to array_like
            As from `state_dict`.
        strict : bool
            Whether names that only one side has are an error.

        Returns
        -------
        (list of str, list of str)
            Names missing in state, and names in state that this module does not have.

        Raises SettingError for names (strict), ShapeError for shapes, DtypeError where a cast would lose the meaning.
        """
        own = self._state()
        missing, unexpected = [n for n in own if n not in state], [n for n in state if n not in own]
        if strict and (missing or unexpected):
            raise SettingError(
                f"load_state_dict: {type(self).__name__} needs {_listed(missing)} which the state lacks; the state has "
                f"{_listed(unexpected)} which it does not know. Pass strict=False to load what both have."
            )
        arrays = {name: np.asarray(state[name]) for name in own if name in state}
        for name, array in arrays.items():
            target = own[name]._data
            if array.shape != target.shape:
                raise ShapeError(f"load_state_dict: {name} has shape {target.shape}, the state {array.shape}.")
            if not np.can_cast(array.dtype, target.dtype, "same_kind"):
                raise DtypeError(f"load_state_dict: {name} is {target.dtype}, the state {array.dtype}.")
        for name, array in arrays.items():
            own[name].data = array
        return missing, unexpected

    # -- modes ------------------------------------------------------------------------------------------------------

    def train(self, mode=True):
        """Set training mode, here and below; returns self."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self):
        """Set evaluation mode, here and below: no dropout; returns self."""
        return self.train(False)

    def requires_grad_(self, flag=True):
        """Thaw (or, with False, freeze) every parameter; returns self."""
        for p in self.parameters():
            p.requires_grad_(flag)
        return self

    def zero_grad(self):
        """Forget every parameter's gradient."""
        for p in self.parameters():
            if p.requires_grad:
                p.grad = None

    def astype(self, dtype):
        """Convert every floating-point parameter and buffer, dropping gradients; returns self.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.
        """
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise DtypeError(f"astype: a module of {dtype}. Ask for float32 or float64.")
        for value in self._state().values():
            if value._data.dtype.kind == "f" and value._data.dtype != dtype:
                wanted = value.requires_grad
                value.requires_grad_(False)  # the leaf on the tape has the old dtype: a new one takes its place
                value._data = value._data.astype(dtype)
                value._writes = None
                value.requires_grad_(wanted)
        return self

    # -- as text ----------------------------------------------------------------------------------------------------

    def extra_repr(self):
        """The settings between the parentheses of repr; layers define it."""
        return ""

    def _label(self):
        return f"{type(self).__name__}({self.extra_repr()})"

    def __repr__(self):
        lines = [f"({name}): {m!r}" for name, m in self._members() if isinstance(m, Module)]
        if not lines:
            return self._label()
        return self._label()[:-1] + "\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n)"

    def summary(self, *input_shapes):
        """A table of every module: its name, layer, parameters and, for given input shapes, output shape.

        Parameters
        ----------
        *input_shapes : tuple of int or int
            The shape of one sample for each input of forward, which then runs once in evaluation mode on zeros.

        Returns
        -------
        str
            To be printed. ``n`` is the number of samples; a tied parameter is counted where it is met first.
        """
        shapes = self._output_shapes(input_shapes) if input_shapes else {}
        seen, rows = set(), [("name", "layer", "output", "parameters")]
        for path, module in self.named_modules():
            own = [p for _, p in module._members() if isinstance(p, Parameter)]
            new = [p for p in dict.fromkeys(own) if p not in seen]
            seen.update(new)
            if not path and not own and any(True for _ in self.children()):
                continue  # the model itself: the title of the table, not a row of it
            count = f"{sum(p.size for p in new):,}" if new else "tied" if own else ""
            rows.append((path or "(self)", module._label().removesuffix("()"), shapes.get(module, ""), count))
        if not shapes:
            rows = [(name, layer, count) for name, layer, _, count in rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]).rstrip() for row in rows]
        size, memory = sum(p.size for p in seen), sum(p._data.nbytes for p in seen)
        frozen = sum(p.size for p in seen if not p.requires_grad)
        total = f"{type(self).__name__}: {size:,} parameters" + (f" ({frozen:,} frozen)" if frozen else "")
        total += f", {_bytes(memory)}" + (f", output {shapes[self]}" if shapes else "")
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, total])

    def _output_shapes(self, input_shapes):
        """{module: its output's shape as text}, from one run on a batch of two zeros."""
        shapes, dtype, twins = {}, next((p.dtype for p in self.parameters()), np.float32), {}
        twin = _twin(self, twins)
        for module, its in twins.items():
            its.forward = _noting(module, its.forward, shapes)
        with no_grad():
            twin(*[Tensor(np.zeros((2, *_as_shape(shape)), dtype)) for shape in input_shapes])
        return shapes


def _evaluating(module):
    """module in evaluation mode, without writing to it: itself, where that is its mode, else a twin.

    A twin is made of other modules and shares all that they hold: parameters, buffers, hooks. So it may be asked while
    another thread trains.
    """
    return _twin(module, {}) if any(part.training for part in module.modules()) else module


def _twin(value, twins):
    """value, with twins in evaluation mode of all modules in it, however nested; twins is {module: its twin}."""
    if isinstance(value, Module):
        if value not in twins:
            twins[value] = twin = copy.copy(value)
            vars(twin).update({name: _twin(v, twins) for name, v in vars(value).items()}, training=False)
        return twins[value]
    if type(value) not in (dict, list, tuple):
        return value
    before = list(value.values() if type(value) is dict else value)
    after = [_twin(v, twins) for v in before]
    if all(a is b for a, b in zip(after, before)):
        return value
    return dict(zip(value, after)) if type(value) is dict else type(value)(after)


def functional_call(module, values, *inputs, **settings):
    """module(*inputs, **settings) with other values for some or all of its parameters and buffers.

        def loss(parameters):
            return mse(functional_call(net, parameters, x), x)

        value, slopes = value_and_grad(loss)(net.state_dict())

    Parameters
    ----------
    module : Module
        Any, so also a part of a net: ``functional_call(net.encoder, ...)``. Ties hold: a shared parameter is replaced
        wherever it is used. Other threads must not use it meanwhile.
    values : dict of str to Tensor or array_like
        By the names of ``state_dict()``; what is not named keeps its own value. Gradients flow to Tensors. Buffers that
        forward changes are changed in the Tensor that is given for them, and not at all for an array.

    Shape: values as the parameters that they stand for; the result as module's. Raises SettingError for unknown names.
    """
    own = module._state()
    unknown = [str(name) for name in values if name not in own]
    if unknown:
        raise SettingError(
            f"functional_call: {type(module).__name__} has no {_listed(unknown)}. It has {_listed(list(own))}."
        )
    given = {own[name]: v if isinstance(v, Var) else Tensor(v, dtype=own[name].dtype) for name, v in values.items()}
    for name, (p, v) in zip(values, given.items()):
        if v._data.shape != p._data.shape:
            raise ShapeError(f"functional_call: {name} has shape {p._data.shape}, the value given {v._data.shape}.")
    before = [(p, p._data, p._node, p._writes) for p in given]
    during = [(p, v._data, v._node, _counter(v)) for p, v in given.items()]
    try:
        _become(during)  # for the time of the call the parameter *is* the value, wherever it is held
        y = module(*inputs, **settings)
    finally:
        _become(before)
    # Of a parameter that forward returned as it is, the value.
    return _like(y, iter([given[leaf] if isinstance(leaf, Var) and leaf in given else leaf for leaf in _leaves(y)]))


def _become(states):
    for p, data, node, writes in states:
        p._data, p._node, p._writes = data, node, writes


def _found(items, prefix=""):
    for name, value in list(items):
        if isinstance(value, (Parameter, Buffer, Module)):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict):
            yield from _found(value.items(), f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield from _found(enumerate(value), f"{prefix}{name}.")


def _listed(names, limit=6):
    return ", ".join(names[:limit] + [f"{len(names) - limit} more"] * (len(names) > limit)) or "nothing"


def _join(path, name):
    return f"{path}.{name}" if path else name


def _locate(problem, module):
    """Put the failing module before the error's message; each module on the way out adds its part of the path."""
    message, culprit, inner, path = getattr(problem, "located", (str(problem), module, None, ""))
    name = next((name for name, m in module.named_modules() if m is inner), "")
    path = f".{name}{path}" if name else path
    problem.located = message, culprit, module, path
    where = culprit._label() if culprit is module else f"{type(module).__name__}{path}, {culprit._label()}"
    problem.args = (f"{where}: {message}",)


def _noting(module, forward, shapes):
    def noted(*inputs, **settings):
        y = forward(*inputs, **settings)
        shapes[module] = _shape_text(y)
        return y

    return noted


def _as_shape(shape):
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


def _shape_text(y):
    if isinstance(y, (tuple, list)):
        return ", ".join(map(_shape_text, y))
    if not hasattr(y, "shape"):
        return ""
    return str(y.shape).replace("(2", "(n", 1) if y.shape[:1] == (2,) else str(y.shape)


def _bytes(n):
    for unit in ("bytes", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024
    return f"{n:.4g} GiB"
