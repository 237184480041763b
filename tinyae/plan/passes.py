"""What can be said of a program without knowing a machine: each pass takes a program and returns a better one.

    fold        what depends on constants alone is a constant
    simplify    what does nothing is left out: a cast to the same dtype, a sum over nothing
    merge       the same computation twice is done once
    prune       what nobody needs is not done

Noise, and what changes state, are never merged nor left out.

Ring 4. Must not know memory.
"""

import numpy as np

from ..engine import Op
from .compute import compute
from .program import Assign, Instruction, Program, Update, Value

__all__ = ["PASSES", "fold", "is_noise", "merge", "prune", "simplify"]


def is_noise(instruction):
    """Whether the instruction draws from a generator."""
    return "generator" in instruction.settings


def _changes_state(instruction):
    return isinstance(instruction.op, (Assign, Update))


def _rewrite(program, visit):
    """The program of what visit(instruction) returns for each: an instruction, or a Value that takes its result's
    place."""
    known, instructions = {}, []

    def now(x):
        return known.get(x, x) if isinstance(x, Value) else x

    for old in program.instructions:
        operands = tuple(now(x) for x in old.operands)
        settings = {name: now(setting) for name, setting in old.settings.items()}
        new = visit(Instruction(old.op, operands, settings, old.results, old.where, old.draw))
        if isinstance(new, Value):
            known[old.result] = new
        else:
            instructions.append(new)
    outputs = [now(value) for value in program.outputs]
    return Program(program.inputs, instructions, outputs, program.cells, program.generators, program.tick)


def fold(program):
    """Compute what depends on constants alone."""

    def visit(instruction):
        if _changes_state(instruction) or is_noise(instruction) or len(instruction.results) > 1:
            return instruction
        if any(x.constant is None for x in instruction.values):
            return instruction
        with np.errstate(all="ignore"):
            y = compute(instruction, [x.constant if isinstance(x, Value) else x for x in instruction.operands])
        program.tick += 1
        return Value(program.tick, y, constant=y)

    return _rewrite(program, visit)


def simplify(program):
    """Leave out what returns its operand as it is."""

    def visit(instruction):
        values = instruction.values
        if len(values) != 1 or not isinstance(instruction.op, Op) or len(instruction.operands) != 1:
            return instruction
        x, y = values[0], instruction.result
        same = x.shape == y.shape and x.dtype == y.dtype
        if same and instruction.name in ("cast", "sum_to", "broadcast_to", "reshape", "stop_gradient"):
            # A cell is written in place later: what was read of it before must have been copied.
            return instruction if x.cell is not None and instruction.name == "cast" else x
        return instruction

    return _rewrite(program, visit)


def merge(program):
    """Compute once what is computed twice."""
    known = {}

    def visit(instruction):
        if _changes_state(instruction) or is_noise(instruction) or len(instruction.results) > 1:
            return instruction
        name = instruction.name if not isinstance(instruction.op, Op) else instruction.op
        operands = tuple(x if isinstance(x, Value) else (type(x), x) for x in instruction.operands)
        try:
            return known.setdefault((name, operands, tuple(sorted(instruction.settings.items()))), instruction.result)
        except TypeError:  # an index with slices, an array
            return instruction

    def first(instruction):
        found = visit(instruction)
        return instruction if found is instruction.result or isinstance(found, Instruction) else found

    return _rewrite(program, first)


def prune(program):
    """Leave out what neither the outputs nor the state need."""
    needed, kept = set(program.outputs), []
    for instruction in reversed(program.instructions):
        if _changes_state(instruction) or not needed.isdisjoint(instruction.results):
            needed.update(instruction.values)
            kept.append(instruction)
    return Program(program.inputs, kept[::-1], program.outputs, program.cells, program.generators, program.tick)


PASSES = (fold, simplify, merge, prune)
