"""How sums, extremes, and what goes row by row become instructions.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, which is made of this.
"""

import math

import numpy as np

from ..engine import Op
from .memory import Ref

__all__ = ["Reductions"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Reductions:
    """The part of the lowering that knows axes over which something is summed, compared or normalised."""

    def _do_sum(self, node):
        i = node.instruction
        return self._sum(self.ref(i.operands[0]), _summed(i), self.ref(node.result))

    _do_sum_to = _do_sum

    def _sum(self, x, axes, out, kind="sum"):
        """Runs of neighbouring axes one after the other, the last ones first."""
        x = self.dense(x)
        axes = sorted(axes)
        if not axes:
            self.copy(x, Ref.whole(out.root, x.shape))
            return True
        while axes:
            start = stop = axes.pop()
            while axes and axes[-1] == start - 1:
                start = axes.pop()
            before, along, behind = x.shape[:start], x.shape[start : stop + 1], x.shape[stop + 1 :]
            outer, n, inner = math.prod(before), math.prod(along), math.prod(behind)
            shape = (*before, *[1] * len(along), *behind)
            to = self.temporary(shape, x.root.dtype) if axes else Ref.whole(out.root, shape)
            self.add("reduce", [x], [to], what=kind, dtype=x.root.dtype, outer=outer, n=n, inner=inner, x=x, out=to)
            x = to
        return True

    def _extreme(self, node):
        i = node.instruction
        x = self.ref(i.operands[0])
        return self._sum(x, _summed(i), self.ref(node.result), i.name) if x.size else False

    _do_max = _do_min = _extreme

    def _arg_extreme(self, node):
        i = node.instruction
        x, axis = self.ref(i.operands[0]), i.settings.get("axis")
        if x.root.dtype not in _FLOATS or not x.size:
            return False
        x, out = self.dense(x), self.ref(node.result)
        if axis is None or not x.shape:
            outer, n, inner = 1, x.size, 1
        else:
            axis %= len(x.shape)
            outer, n, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
        self.add("reduce", [x], [out], what=i.name, dtype=x.root.dtype, outer=outer, n=n, inner=inner, x=x, out=out)
        return True

    _do_argmax = _do_argmin = _arg_extreme

    def _by_row(self, node):
        i = node.instruction
        x, axis = self.ref(i.operands[0]), i.settings["axis"]
        if not x.shape or axis not in (-1, len(x.shape) - 1):
            return False
        x, out = self.dense(x), self.ref(node.result)
        self.add("rows", [x], [out], what=i.name, dtype=x.root.dtype, rows=x.size // x.shape[-1], n=x.shape[-1], x=x,
                 out=out)  # fmt: skip
        return True

    _do_softmax = _do_log_softmax = _do_logsumexp = _by_row

    def _back_softmax(self, node):
        i = node.instruction
        g, y = (self.dense(self.ref(v)) for v in i.operands)
        if not y.shape or i.settings["axis"] not in (-1, len(y.shape) - 1):
            return False
        out = self.ref(node.result)
        self.add("rows_backward", [g, y], [out], what=i.op.op.name, dtype=y.root.dtype, rows=y.size // y.shape[-1],
                 n=y.shape[-1], g=g, y=y, out=out)  # fmt: skip
        return True

    _back_log_softmax = _back_softmax

    def sum_of(self, node):
        """(the value summed, kind, columns) of a sum that a chain could take in, else None."""
        i = node.instruction
        if i.name not in ("sum", "sum_to") or not isinstance(i.op, Op) or not self._floats(i) or not i.operands[0].size:
            return None
        x = i.operands[0]
        shape, axes = x.shape, _summed(i)
        summed = [a in axes for a in range(len(shape)) if shape[a] != 1]
        lengths = [n for n in shape if n != 1]
        if all(summed):
            return x, "sum", None
        if not any(summed):  # over axes of length 1: a copy
            return None
        cut = summed.index(False) if summed[0] else summed.index(True)
        if summed[0] and not any(summed[cut:]):
            return x, "sum_rows", math.prod(lengths[cut:])
        if not summed[0] and all(summed[cut:]):
            return x, "sum_cols", math.prod(lengths[cut:])
        return None


def _summed(i):
    """The axes, none of them negative, over which a sum, a maximum or a minimum goes."""
    shape = i.operands[0].shape
    if i.name == "sum_to":
        to, new = i.settings["shape"], len(shape) - len(i.settings["shape"])
        return [a for a in range(len(shape)) if a < new or (to[a - new] == 1 and shape[a] != 1)]
    axis = i.settings.get("axis")
    every = axis is None or not shape  # a number has no axis, and is said to have one, as by NumPy
    return [*range(len(shape))] if every else [int(a) % len(shape) for a in np.atleast_1d(axis)]
