"""What a captured step is: a list of instructions over numbered values. Nothing here computes.

    %3 = linear(%0, w, b)            an `Instruction`: an op, its operands, its settings, its result
    %0, w, b, 0.5                    operands: a `Value`, or a Python number
    w <- adam(...), m <- assign(%9)  what changes state makes a new version of it, a `Value` with the same `cell`

Ring 4, the first of its folder: capture.py makes a `Program`, passes.py and lower.py rewrite it, and
machine.py hands it to C, or to reference.py, which is NumPy.
"""

import numpy as np

__all__ = ["Assign", "Cell", "Instruction", "Program", "Update", "Value", "Vjp"]


class Cell:
    """A piece of state: a leaf tensor that lives on between steps. Its memory must stay where it is."""

    __slots__ = ("array", "name", "var")

    def __init__(self, var, name):
        self.var, self.array, self.name = var, var._data, name


class Value:
    """An array that some instruction makes, or that is there before: an input, a constant, or a version of a cell."""

    __slots__ = ("cell", "constant", "dtype", "input", "number", "shape")

    def __init__(self, number, array, *, cell=None, constant=None, input=None):
        self.number, self.shape, self.dtype = number, array.shape, array.dtype
        self.cell = cell  # the Cell that it is a version of
        self.constant = constant  # its array, if it never changes
        self.input = input  # its place among the step's arguments

    def __repr__(self):
        if self.cell is not None:
            return self.cell.name
        if self.input is not None:
            return f"input{self.input}"
        if self.constant is not None and self.constant.size == 1:
            return f"{self.constant.item():g}"
        return f"%{self.number}"

    @property
    def size(self):
        """How many elements."""
        return int(np.prod(self.shape, dtype=np.int64))


class Vjp:
    """The fused gradient of an op with respect to one operand, as C has it. Operands: g, then what the rule names."""

    def __init__(self, op, rule, kernel, names):
        self.op, self.rule, self.kernel, self.names = op, rule, kernel, names
        self.name = f"{op.name}.vjp"


class Assign:
    """``cell[index] = value``."""

    name = "assign"

    def __init__(self, index):
        self.index = index


class Update:
    """An optimizer's rule for one parameter; operands: the parameter, its gradient."""

    name = "update"

    def __init__(self, optimizer, group, parameter):
        self.optimizer, self.group, self.parameter = optimizer, group, parameter


class Instruction:
    """One line of a program. ``op`` is an `Op` of the engine, or one of the classes above."""

    __slots__ = ("draw", "op", "operands", "result", "results", "settings", "where")

    def __init__(self, op, operands, settings, results, where, draw=None):
        self.op, self.operands, self.settings, self.where = op, operands, settings, where
        self.results, self.result = results, results[0]  # several of a `Vjp` with respect to several operands
        self.draw = draw  # of noise: how far its generator's counter had moved before it, in this step

    @property
    def values(self):
        """The operands, and settings, that are arrays."""
        return [x for x in (*self.operands, *self.settings.values()) if isinstance(x, Value)]

    @property
    def name(self):
        """The op's; of a user's own, which may be called like one of ours, a name that none of ours has."""
        return self.op.name if getattr(self.op, "listed", True) else f"custom {self.op.name}"


class Program:
    """A step: what goes in, what is done in which order, what comes out."""

    def __init__(self, inputs, instructions, outputs, cells, generators, tick):
        self.inputs, self.instructions, self.cells = inputs, instructions, cells
        self.outputs = outputs  # a Value per leaf of what the step returned
        self.generators = generators  # {generator: draws per step}
        self.tick = tick  # how many values there are, for new ones

    def signature(self):
        """[what every instruction is, with all that it is computed from]: numbers.

        Of two runs of a step that did the same they are the same, but for their order, which is not the step's: the
        gradients of parameters come in the order of when these began to want one.
        """
        made = {}  # Value: which result of which instruction it is
        for i in self.instructions:
            row = hash((i.name, *(_signature(x, made) for x in (*i.operands, *i.settings.items(), i.draw))))
            made.update((result, (row, k)) for k, result in enumerate(i.results))
        return [made[i.result][0] for i in self.instructions]


def _signature(thing, made):
    if isinstance(thing, Value):
        constant, cell = thing.constant, None if thing.cell is None else id(thing.cell.array)
        small = constant is not None and constant.size <= 64
        return made.get(thing, (thing.input, cell)), thing.shape, thing.dtype, constant.tobytes() if small else None
    if isinstance(thing, (tuple, list)):
        return (*(_signature(part, made) for part in thing),)
    if isinstance(thing, np.ndarray):
        return thing.shape, thing.dtype
    if isinstance(thing, (float, np.generic, slice)):
        return repr(thing)
    return thing if isinstance(thing, (int, str, type(None), np.dtype)) else type(thing)
