"""Capture: run a step once and write down every operation, of forward, backward and update alike.

The step's arguments become Tensors, and the engine tells the `Recorder` of every op (`mode.capture`). It knows an
array by identity: a result, an argument, a declared constant, or a leaf tensor that was there before, which is state
and read anew at every run. Any other array would be frozen into the plan without a word, so it is refused, with the
line. Python's numbers, and everything else that the step reads, are written into the plan as they are: guards.py finds
what they are, and another value is another plan.

Ring 4. Must not know how a program is run.
"""

from functools import partial
from weakref import WeakValueDictionary, ref

import numpy as np

from ..engine import OPS, Var, _wrap
from ..errors import PlanError
from ..mode import capturing, mode
from ..source import at, here
from .guards import SMALL
from .indexing import by_number
from .program import Assign, Cell, Instruction, Program, Update, Value, Vjp

__all__ = ["Recorder", "constant"]

_NOISE = ("bernoulli", "normal", "uniform")
_declared = WeakValueDictionary()  # id: array, of `constant`


def constant(array):
    """Declare that an array never changes, so that a compiled step may use it. Returns it, read-only.

        weights = tinyae.constant(np.linspace(0, 1, 784, dtype=np.float32))

    Raises PlanError for what is no NumPy array.
    """
    if not isinstance(array, np.ndarray):
        raise PlanError(f"constant: {type(array).__name__} is no NumPy array. Python numbers need no declaration.")
    array = np.asarray(memoryview(array).toreadonly())  # whose views lead to it, not to what it is a view of
    _declared[id(array)] = array
    return array


class Recorder:
    """Listens while a step runs; ``program(outputs)`` is then what was heard."""

    def __init__(self):
        self.instructions, self.inputs, self.cells = [], [], []
        self.generators = {}  # {generator: its counter before the first draw}
        self.modules = {}
        self._before, self._slots = {}, {}  # of what was changed: arrays, and what optimizers keep
        self._values = {}  # id of an array: its Value at this moment
        self._held = []  # every array known, weakly: what the step lets go, the recorder forgets before its id returns
        self.looked = {}  # id: a tensor from outside whose value was taken as a number
        self._made = {}  # id of a Tensor that the step itself made of an array: where
        self._writes = {}  # id of a Var whose memory is written, rightly: the Var
        self._tick = 0

    def __enter__(self):
        capturing.append(self)
        mode.capture = self
        return self

    def __exit__(self, *_):
        mode.capture = None
        capturing.remove(self)

    def refuse_another(self):
        """A compiled step is called inside the one that is being captured."""
        raise PlanError(
            f"compile: at {at(here(3))} a compiled step is called inside another one. Call the plain function there."
        )

    # -- values -----------------------------------------------------------------------------------------------------

    def _new(self, array, **what):
        self._tick += 1
        value = Value(self._tick, array, **what)
        self._values[id(array)] = value
        if isinstance(array, np.ndarray):
            self._held.append(ref(array, partial(_forget, self._values, id(array), value)))
        else:  # a NumPy number
            self._held.append(array)
        return value

    def input(self, tensor):
        """One of the step's arguments."""
        self.inputs.append(self._new(tensor._data, input=len(self.inputs)))

    def constant(self, array, of=None):
        """An array that tinyae itself made, of numbers, or of one that is the same in every run."""
        if id(array) not in self._values and (not isinstance(of, np.ndarray) or self._is_constant(of)):
            self._new(array, constant=array)

    def pick(self, x, index):
        """x[index] of numbers that may be others in another run; None if it is not such an index."""
        return by_number(x, index, self.constant)

    def of_plain(self, arrays, result):
        """The result of an op of plain arrays, which is not recorded: of constants it is a constant."""
        if isinstance(result, np.ndarray) and all(not isinstance(a, np.ndarray) or self._is_constant(a) for a in arrays):
            self.constant(result)
        return result

    def knows(self, array):
        """Whether an array is what the step was given or has computed."""
        known = self._values.get(id(array))
        return known is not None and known.constant is None

    def made(self, tensor, data):
        """A Tensor is made inside the step: of numbers, which are the same in every run, or of an array."""
        self._made[id(tensor)] = tensor, here(3)
        if _is_plain(data):
            self.constant(tensor._data)

    def _operand(self, value, array, op):
        known = self._values.get(id(array))
        if known is not None:
            return known
        if array.__class__ in (float, int, bool):  # what the engine made of a NumPy number, too
            return array
        if isinstance(value, Var):
            if id(value) in self._made:
                raise PlanError(
                    f"compile: the step makes a tensor of an array, at {at(self._made[id(value)][1])}: its values "
                    "would be frozen. Pass the array as an argument, or declare it outside with tinyae.constant(array)."
                )
            if not value.is_leaf:
                raise PlanError(
                    f"compile: {op.name} at {at(here(4))} uses a result that was computed before the step. "
                    "Compute it inside, or pass it as an argument."
                )
            return self.cell(value)
        if self._is_constant(array) or (not isinstance(value, np.ndarray) and np.ndim(value) == 0):
            return self._new(array, constant=array)
        raise PlanError(
            f"compile: {op.name} at {at(here(4))} uses an array of shape {np.shape(array)} that the plan knows nothing "
            "of: its values would be frozen. Pass it as an argument of the step, or declare it with "
            "tinyae.constant(array)."
        )

    def _is_constant(self, array):
        """Whether an array, or what it is a view of, was said to be the same for ever."""
        while isinstance(array, np.ndarray):
            known = self._values.get(id(array))
            if id(array) in _declared or (known is not None and known.constant is not None):
                return True
            array = array.base
        return False

    def cell(self, var, name=None):
        """The present version of a leaf that lives outside."""
        known = self._values.get(id(var._data))
        if known is None:
            if not var._data.flags.c_contiguous:
                raise PlanError(
                    f"compile: at {at(here(3))} a tensor of shape {var.shape} that lives outside of the step has "
                    "strides, as a transpose has: a plan needs memory in one piece. Make it of a copy, outside: "
                    "tinyae.Tensor(np.ascontiguousarray(t.data))."
                )
            cell = Cell(var, name or f"{type(var).__name__.lower()}{len(self.cells)}")
            self.cells.append(cell)
            known = self._new(var._data, cell=cell)
        return known

    # -- what the engine tells --------------------------------------------------------------------------------------

    def note(self, op, args, arrays, settings, result):
        """An op was computed; result is a Var."""
        draw = None
        if op.name in _NOISE and op.listed:
            generator = settings["generator"]
            draw = generator.counter - 1 - self.generators.setdefault(generator, generator.counter - 1)
        settings = {name: self._setting(op, name, setting) for name, setting in settings.items()}
        operands = tuple(self._operand(v, a, op) for v, a in zip(args, arrays))
        if id(result._data) in self._values:  # an op that returned its operand: nothing happened
            return
        self.instructions.append(Instruction(op, operands, settings, (self._new(result._data),), here(3), draw))

    def _setting(self, op, name, setting):
        """A setting as the program has it: an array that the step was given or has computed as its Value."""
        if isinstance(setting, np.ndarray) and self.knows(setting):
            return self._values[id(setting)]
        parts = setting if isinstance(setting, tuple) else (setting,)
        for part in parts:
            if isinstance(part, np.ndarray) and part.ndim and id(part) not in _declared and mode.recording:
                raise PlanError(
                    f"compile: {op.name} at {at(here(4))}: {name} holds an array of shape {part.shape}, which would be "
                    "frozen. Use ops.take or ops.gather, whose index may be an argument of the step."
                )
        return setting

    def vjp(self, node, index, kernel, g, values):
        """The gradients that a rule gives, by its C kernel, as one instruction; None if there is none."""
        if kernel is None or mode.recording:
            return None
        raw = [v._data if isinstance(v, Var) else v for v in values]
        out = kernel(g._data, *raw)
        if out is None:
            return None
        op = node.op
        argument = None if op.variadic else op.arguments[index]
        names = op.rules[argument][2]
        arrays = [(v, r) for v, r, n in zip(values, raw, names) if isinstance(r, np.ndarray)]
        settings = {n: r for r, n in zip(raw, names) if not isinstance(r, np.ndarray)}
        operands = (self._operand(g, g._data, op), *(self._operand(v, r, op) for v, r in arrays))
        kept = tuple(n for r, n in zip(raw, names) if isinstance(r, np.ndarray))
        rule = Vjp(op, op.rules[argument][0], kernel, kept)
        outs = out if isinstance(out, tuple) else (out,)
        results = tuple(self._new(x) for x in outs)
        self.instructions.append(Instruction(rule, operands, settings, results, node.where))
        outs = tuple(_wrap(g._result, x, None, None) for x in outs)
        return outs if isinstance(out, tuple) else outs[0]

    def assign(self, var, value, index):
        """``var[index] = value`` is about to happen."""
        if id(var) in self._made or not var.is_leaf or (self._values.get(id(var._data)) or self.cell(var)).cell is None:
            raise PlanError(
                f"compile: assign at {at(here(3))} changes a tensor that does not live on after the step. "
                "Compute a new one instead."
            )
        before = self.cell(var)
        array = value._data if isinstance(value, Var) else value
        source = self._operand(value, array, OPS["add"])
        self._change(Assign(index), (before, source), before, var)

    def update(self, optimizer, group, p, gradient):
        """A rule of an optimizer is about to change p."""
        if optimizer not in self._slots:
            self._slots[optimizer] = {
                p: {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept.items()}
                for p, kept in optimizer.state.items()
            }
        before = self.cell(p)
        g = self._values.get(id(gradient._data))
        if g is None:
            raise PlanError(
                "compile: an optimizer uses a gradient that the step did not compute. Call optimizer.zero_grad() "
                "before backward(), inside the step."
            )
        self._change(Update(optimizer, group, p), (before, g), before, p)

    def _change(self, op, operands, before, var):
        self._writes[id(var)] = var
        self._before.setdefault(id(var._data), (var._data, var._data.copy()))
        result = self._new(var._data, cell=before.cell)
        self.instructions.append(Instruction(op, operands, {}, (result,), here(4)))

    def undo(self):
        """Put back what was changed so far: the step is to have happened wholly or not at all."""
        for array, before in self._before.values():
            array[...] = before
        for optimizer, state in self._slots.items():
            for p in [p for p in optimizer.state if p not in state]:
                del optimizer.state[p]
            for p, kept in state.items():
                for name, value in kept.items():
                    if isinstance(value, np.ndarray):  # in its memory, which another plan may use
                        optimizer.state[p][name][...] = value
                    else:
                        optimizer.state[p][name] = value
        for generator, counter in self.generators.items():
            generator.counter = counter

    def wrote(self, vars):
        """Memory was written in place: by somebody who said so?"""
        for var in vars:
            if self._writes.pop(id(var), None) is None:
                raise PlanError(
                    f"compile: at {at(here(3))} a tensor is written in place by something that a plan cannot repeat. "
                    "Use ops.assign, or leave it out of the compiled step."
                )

    def read(self, var, how):
        """A value is looked at: what depends on it would be frozen."""
        known = self._values.get(id(var._data))
        if known is None and var._data.size <= SMALL:
            self.looked[id(var)] = var  # watched by value
        elif known is None or known.constant is None:
            raise PlanError(
                f"compile: {how} at {at(here(3))} looks at a value inside the step, where it may change from run to run. "
                "Return the tensor and look at it outside; choose between values with tinyae.ops.where."
            )

    def accumulate(self, gradient):
        """backward is about to add to a gradient that is there already."""
        if id(gradient._data) not in self._values:
            raise PlanError(
                "compile: backward() would add to a gradient of an earlier step. Call optimizer.zero_grad() inside the "
                "step, before backward()."
            )

    # -- the result -------------------------------------------------------------------------------------------------

    def is_result(self, var):
        """Whether a tensor is an argument of the step, or was computed in it."""
        known = self._values.get(id(var._data))
        return known is not None and known.cell is None and known.constant is None

    def output(self, var):
        """The Value of something that the step returns."""
        known = self._values.get(id(var._data))
        return known if known is not None else self.cell(var)

    def check_gradients(self, outputs):
        """After backward: no gradient but what is returned may be left over for an optimizer outside, which would find
        that of this step for ever.
        """
        returned = {id(v._data) for v in outputs}
        updated = {id(i.op.parameter) for i in self.instructions if isinstance(i.op, Update)}
        for var in (cell.var for cell in self.cells):
            kept = None if var.grad is None else id(var.grad._data)
            if kept in self._values and kept not in returned and id(var) not in updated:
                raise PlanError(
                    f"compile: the step leaves a gradient of a {type(var).__name__.lower()} of shape {var.shape} that "
                    "nothing in it uses. Let the optimizer step inside, return the gradient, or call "
                    "requires_grad_(False) where nobody needs it."
                )

    def program(self, outputs):
        """What was heard, with the values that the step returned."""
        draws = {generator: generator.counter - first for generator, first in self.generators.items()}
        return Program(self.inputs, self.instructions, outputs, self.cells, draws, self._tick)


def _is_plain(data):
    """Whether it is a number, or lists of numbers."""
    return all(map(_is_plain, data)) if isinstance(data, (list, tuple)) else isinstance(data, (bool, int, float))


def _forget(values, number, value, _):
    if values.get(number) is value:  # and not of a later version
        del values[number]
