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

There is no registration: a parameter is an attribute that is a `Parameter`, a buffer one that is a `Buffer`, a child
one that is a `Module`, and lists, tuples and dicts of them count too. All that follows is reading attributes, so a
module needs no ``super().__init__()``, and copying and pickling are Python's own.

Ring 4. Must not know any layer. Read after ``tensor.py``; then ``layers.py``, ``losses.py``, ``optim``.
"""

import numpy as np

from ..engine import no_grad
from ..errors import AxisError, DtypeError, SettingError, ShapeError
from ..tensor import Tensor

__all__ = ["Buffer", "Module", "Parameter"]


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

    def forward(self, *inputs, **settings):
        """What the module computes; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}: no forward. Define forward(self, x), or call its children.")

    def __call__(self, *inputs, **settings):
        try:
            return self.forward(*inputs, **settings)
        except (ShapeError, AxisError, DtypeError) as problem:
            _locate(problem, self)
            raise

    # -- what is inside ---------------------------------------------------------------------------------------------

    def _members(self):
        """(name, value) for every Parameter, Buffer and Module among the attributes."""
        return _found(vars(self).items())

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
        shapes, dtype = {}, next((p.dtype for p in self.parameters()), np.float32)
        before = [(module, vars(module).copy()) for module in self.modules()]
        try:
            for module, _ in before:
                module.forward = _noting(module, module.forward, shapes)
            with no_grad():
                self.eval()
                self(*[Tensor(np.zeros((2, *_as_shape(shape)), dtype)) for shape in input_shapes])
        finally:
            for module, attributes in before:
                vars(module).clear()
                vars(module).update(attributes)
        return shapes


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
    name = next((name for name, m in module._members() if m is inner), "") if inner is not None else ""
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
