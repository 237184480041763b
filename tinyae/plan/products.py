"""How products become instructions: of matrices, with what is folded into their write-back, and of stacks of them.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, which is made of this.
"""

import numpy as np

from .memory import Ref

__all__ = ["Products"]


class Products:
    """The part of the lowering that knows products."""

    def _is_product(self, i):
        """Whether it is one product of two matrices."""
        shapes = [v.shape for v in i.operands[:2]]
        return len(shapes[1]) == 2 and len(shapes[0]) >= 2

    def _do_linear(self, node):
        x, w, b = node.instruction.operands
        return self._product(node, self.as_matrix(self.ref(x)), self.ref(w), self.dense(self.ref(b)))

    def _do_matmul(self, node):
        i = node.instruction
        a, b = (self.ref(x) for x in i.operands)
        if self._is_product(i):
            return self._product(node, self.as_matrix(a), b, None)
        if len(a.shape) == 1 and len(b.shape) <= 2:
            a = Ref(a.root, a.offset, (1, *a.shape), (0, *a.strides))
        if len(a.shape) >= 2 and len(b.shape) == 1:
            b = Ref(b.root, b.offset, (*b.shape, 1), (*b.strides, 1))
        if len(b.shape) == 2:
            return self._product(node, self.as_matrix(a), b, None)
        if len(a.shape) < 2:
            return False
        leading = i.result.shape[:-2]
        a, b = (x.spread((*leading, *x.shape[-2:])) for x in (a, b))
        c = self.ref(node.result)
        m, k, n = *a.shape[-2:], b.shape[-1]
        self.add("gemm_stack", [a, b], [c], dtype=c.root.dtype, sizes=leading, m=m, n=n, k=k, a=a, b=b, c=c,
                 precision=self.precision_of(i, c))  # fmt: skip
        return True

    def _product(self, node, a, b, bias):
        c = self.ref(node.result)
        name, param = node.activation or (None, 0.0)
        (m, k), n = a.shape, b.shape[1]
        self.add("gemm", [a, b] if bias is None else [a, b, bias], [c], dtype=c.root.dtype, m=m, n=n, k=k, a=a, b=b,
                 c=c, bias=bias, activation=name, param=param,
                 precision=self.precision_of(node.instruction, c))  # fmt: skip
        return True

    def precision_of(self, i, c):
        """The precision of a product: its own, else the plan's; None: by FMA alone, as float64 always is."""
        wanted = i.settings.get("precision") or (None if self.precision == "highest" else self.precision)
        return wanted if c.root.dtype == np.float32 else None

    def as_matrix(self, ref):
        """With all axes before the last as one."""
        found = ref if len(ref.shape) == 2 else ref.view(lambda a: a.reshape(-1, a.shape[-1]))
        if found is not None:
            return found
        return Ref.whole(self.dense(ref).root, (ref.size // ref.shape[-1], ref.shape[-1]))
