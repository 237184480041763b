"""How ops that move values, and writes into state, become instructions: copies between views, and fills.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, which is made of this.
"""

import numpy as np

from .memory import Ref
from .program import Value

__all__ = ["Moves"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_COPIED = (*_FLOATS, np.dtype(bool), np.dtype(np.uint8), np.dtype(np.int64))  # what C can read


class Moves:
    """The part of the lowering that moves values."""

    def dense(self, ref):
        """The same values side by side: a copy, if they are not."""
        return ref if ref.is_dense else self._copied(ref, ref.root.dtype)

    def converted(self, ref, dtype):
        """The same values in another dtype."""
        return ref if ref.root.dtype == dtype else self._copied(ref, dtype)

    def _copied(self, ref, dtype):
        """A copy, made once; of a cell anew, since that changes."""
        to = self.copies.get((ref, dtype))
        if to is None or ref.root.kind == "array":
            to = self.copies[ref, dtype] = self.temporary(ref.shape, dtype)
            self.copy(ref, to)
        return to

    def copy(self, x, to, add=False):
        """to = x, or to += x, with the same shape."""
        self.add("copy", [x, to] if add else [x], [to], dtype=to.root.dtype, source=x.root.dtype, shape=x.shape, x=x,
                 out=to, add=add)  # fmt: skip

    def _do_cast(self, node):
        x, out = self.ref(node.instruction.operands[0]), self.ref(node.result)
        if x.root.dtype not in _COPIED or out.root.dtype not in _FLOATS:
            return False
        self.copy(x, out)
        return True

    # -- rows by number, and what is asked of values: C looks at them, and where it says no Python does it after all --

    def _do_gather(self, node):
        i, out = node.instruction, self.ref(node.result)
        x, index = map(self.ref, i.operands)
        if not self._is_of_rows(index, i.settings["axis"], x, out):
            return False
        self.add("gather", [x, index], [out], dtype=out.root.dtype, rows=index.size, n=x.size // x.shape[0],
                 x_rows=x.shape[0], x=x, index=index, out=out, host=self.by_host(i, [out]))  # fmt: skip
        return True

    def _do_scatter_along(self, node):
        i, out = node.instruction, self.ref(node.result)
        g, index = map(self.ref, i.operands)
        if not self._is_of_rows(index, i.settings["axis"], out, g):
            return False
        self.add("scatter", [g, index], [out], dtype=out.root.dtype, rows=index.size, n=out.size // out.shape[0],
                 out_rows=out.shape[0], x=g, index=index, out=out, host=self.by_host(i, [out]))  # fmt: skip
        return True

    def _is_of_rows(self, index, axis, table, rows):
        """Whether an index is of whole rows of a table, and everything as C reads it."""
        return (axis % len(table.shape) == 0 and index.root.dtype == np.int64 and index.size == index.shape[0]
                and index.size == rows.shape[0] and table.root.dtype == rows.root.dtype in _FLOATS and table.size > 0
                and rows.size > 0 and index.is_dense and table.is_dense and rows.is_dense)  # fmt: skip

    def _do_one_hot(self, node):
        i, out = node.instruction, self.ref(node.result)
        index = self.ref(i.operands[0])
        if index.root.dtype != np.int64 or out.root.dtype not in _FLOATS or not index.is_dense:
            return False
        self.add("scatter", [index], [out], dtype=out.root.dtype, rows=index.size, n=i.settings["n"], out_rows=0, ones=1,
                 index=index, out=out, host=self.by_host(i, [out]))  # fmt: skip
        return True

    def _do_within(self, node):
        i = node.instruction
        x, low, high = self.ref(i.operands[0]), float(i.settings["low"]), float(i.settings["high"])
        by_host = self.by_host(i, [])  # nothing is written: the result is the operand
        if x.root.dtype in _COPIED and x.is_dense:
            self.add("within", [x], [], dtype=np.dtype(np.float32), source=x.root.dtype, n=x.size, low=low, high=high,
                     x=x, host=by_host)  # fmt: skip
        else:
            self.add("host", [x], [], **by_host)
        return True

    def _do_reshape(self, node):
        x, out = self.ref(node.instruction.operands[0]), self.ref(node.result)
        self.copy(x, Ref.whole(out.root, x.shape))
        return True

    def _do_getitem(self, node):
        i = node.instruction
        part = self._basic(self.ref(i.operands[0]), i.settings["index"])
        if part is not None:
            self.copy(part, self.ref(node.result))
        return part is not None

    def _do_concat(self, node):
        i = node.instruction
        out, axis, at = self.ref(node.result), i.settings["axis"], 0
        for value in i.operands:
            x = self.ref(value)
            n = x.shape[axis]
            if n and x.size:
                part = out.view(lambda a: a[(slice(None),) * (axis % a.ndim) + (slice(at, at + n),)])
                self.copy(x, part)
            at += n
        return True

    def _do_stack(self, node):
        i = node.instruction
        out, axis = self.ref(node.result), i.settings["axis"]
        for k, value in enumerate(i.operands):
            self.copy(self.ref(value), out.view(lambda a: a[(slice(None),) * (axis % a.ndim) + (k, ...)]))
        return True

    def _do_scatter(self, node):
        i = node.instruction
        out = self.ref(node.result)
        part = self._basic(out, i.settings["index"])
        if part is None or part.shape != self.ref(i.operands[0]).shape:
            return False
        self.fill(out, 0.0)
        self.copy(self.ref(i.operands[0]), part)
        return True

    def _do_pad(self, node):
        i = node.instruction
        x, out = self.ref(i.operands[0]), self.ref(node.result)
        if i.settings["mode"] != "constant" or not x.shape or not x.size:
            return False
        marked = np.pad(np.ones(x.shape, bool), i.settings["widths"]).nonzero()
        box = tuple(slice(int(a.min()), int(a.max()) + 1) for a in marked)
        self.fill(out, float(i.settings["value"]))
        self.copy(x, out.view(lambda a: a[box]))
        return True

    def fill(self, out, value):
        """out = value, everywhere."""
        self.add("fill", [], [out], dtype=out.root.dtype, n=out.size, out=out, value=value)

    def _basic(self, ref, index):
        parts = index if isinstance(index, tuple) else (index,)
        if not all(p is None or p is ... or isinstance(p, (int, np.integer, slice)) for p in parts):
            return None
        return ref.view(lambda a: a[index]) if not all(isinstance(p, (int, np.integer)) for p in parts) else (
            ref.view(lambda a: a[(*parts, ...)]))  # fmt: skip

    def _do_assign(self, node):
        i = node.instruction
        cell, value = i.operands
        to = self._basic(self.ref(cell), i.op.index)
        if to is None:
            return False
        x = self.ref(value) if isinstance(value, Value) else self.number(value, to.root.dtype)
        if x.root is to.root:  # what is read is written over: in which order a copy goes is not said
            x = self._copied(x, to.root.dtype)
        self.copy(x.spread(to.shape), to)
        return True

    def number(self, value, dtype):
        """A Python number as memory."""
        return Ref.whole(self.root("array", dtype, 1, array=np.array([value], dtype)), ())
