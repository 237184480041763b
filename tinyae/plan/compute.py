"""One instruction of a program by its op's own definition: for constants, and for what the executors do not have.

Ring 4. Must not know lowering or memory.
"""

import numpy as np

from ..engine import Op
from .program import Assign, Update, Vjp

__all__ = ["compute"]


def compute(instruction, operands, kernels=False, arrays={}):
    """What one instruction makes of arrays and numbers; one that changes state does it in place.

    kernels: by the op's C kernel, where there is one. arrays: the settings that are arrays of the step.
    """
    op, settings = instruction.op, {**instruction.settings, **arrays}
    if isinstance(op, Op):
        y = op.kernel(*operands, **settings) if kernels and op.kernel is not None else None
        if y is None:
            y = op.definition(*operands, **settings)
    elif isinstance(op, Vjp):
        g, *kept = operands
        named = dict(zip(op.names, kept)) | settings
        values = [named[name] for name in op.rule.__code__.co_varnames[1 : op.rule.__code__.co_argcount]]
        y = op.kernel(g, *values) if kernels else None
        y = op.rule(g, *values) if y is None else y
        if isinstance(y, tuple):
            return y
    elif isinstance(op, Assign):
        cell, value = operands
        cell[op.index] = value
        return cell
    elif isinstance(op, Update):
        optimizer = op.optimizer
        before, optimizer._group = optimizer._group, op.group
        try:
            optimizer._apply(op.parameter, operands[1], op.group.get("maximize", False))
        finally:
            optimizer._group = before
        return operands[0]
    return np.asarray(y)
