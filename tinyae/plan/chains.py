"""Chains: element-wise instructions over the same elements, and sums of what they make, as one instruction.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, whose helpers it uses.
"""

import numpy as np

from .memory import Ref
from .program import Value

__all__ = ["Chain"]

_MOST_OPS = 48  # of a chain: its registers should stay in the nearest cache; C has room for as many operands, outputs


class Chain:
    """Element-wise instructions over the same elements, in the making."""

    def __init__(self, lowering, first, dtype):
        self.lowering, self.dtype = lowering, dtype
        self.size = first.result.size
        self.columns = None
        self.members, self.sums = [], []
        self.inside = {}  # root: the member that makes it
        self.outside = set()  # what it reads besides: refs and numbers
        self.take(first)

    def grow(self, waiting, done):
        """Take in every instruction that can be; returns all that were."""
        there, grown = done | {*self.members, *self.sums}, True
        while grown:
            grown = False
            for node in waiting:
                if node in there or not node.after <= there or len(self.members) + len(self.sums) >= _MOST_OPS:
                    continue
                if self.take(node) or self.take_sum(node):
                    there.add(node)
                    grown = True
        return [*self.members, *self.sums]

    def _reads(self, ref, shape):
        """(mode, columns) of an operand, which stands in memory; mode None if it must be copied first."""
        return ref.spread(shape).mode() or (None, None)

    def take(self, node):
        """Take the node in, if it is over the same elements and needs nothing that only the whole chain gives."""
        i = node.instruction
        dtype = self.lowering.chain_dtype(i)
        if node.activation or dtype is None or dtype != self.dtype or i.result.size != self.size:
            return False  # None is said, since NumPy holds None to be float64
        columns, outside = self.columns, {("number", x) for x in i.operands if not isinstance(x, Value)}
        for value in i.values:
            ref = self.lowering.ref(value)
            maker = self.lowering.made_by.get(ref.root)
            if maker in self.sums:
                return False
            if ref.root in self.inside:
                if not ref.is_whole or ref.size != self.size:
                    return False
                continue
            outside.add((ref, i.result.shape))
            mode, wanted = self._reads(ref, i.result.shape)
            if wanted is not None and columns not in (None, wanted):
                if self.members:
                    return False
                wanted = None  # of the first, an operand that does not fit is copied: a chain always takes that in
            columns = wanted or columns
        if self.members and len(self.outside | outside) > _MOST_OPS:
            return False
        self.outside |= outside
        self.columns = columns
        self.members.append(node)
        self.inside[self.lowering.ref(node.result).root] = node
        return True

    def take_sum(self, node):
        """Take in a sum of what the chain makes."""
        found = self.lowering.sum_of(node)
        if found is None:
            return False
        value, kind, columns = found
        ref = self.lowering.ref(value)
        if ref.root not in self.inside or not ref.is_whole or self.lowering.dtype_of(value) != self.dtype:
            return False
        if columns is not None:
            if self.columns not in (None, columns):
                return False
            self.columns = columns
        self.sums.append(node)
        return True

    def emit(self):
        """The chain as one instruction, after the copies that it needs."""
        low, columns = self.lowering, self.columns or self.size
        if self.columns is None and self.size == 1:
            columns = 1
        operands, places, reads = [], {}, []
        last = {}
        for k, node in enumerate(self.members):
            for value in node.instruction.values:
                if low.ref(value).root in self.inside:
                    last[low.ref(value).root] = k
        for node in self.sums:
            last[low.ref(node.instruction.operands[0]).root] = len(self.members)
        stored = [n for n in self.members if self._is_needed_outside(n)]
        for node in stored:
            last[low.ref(node.result).root] = len(self.members)

        def operand(x, shape):
            """The number of an operand in memory, or of a Python number."""
            if not isinstance(x, Value):
                key = ("number", float(x))
            elif (value := _one_value(x.constant)) is not None:
                key = ("number", value)
            else:
                ref = low.converted(low.ref(x), self.dtype).spread(shape)
                if ref.mode() is None or ref.mode()[1] not in (None, columns):
                    ref = low.dense(ref)
                key = (ref.root, ref.offset, ref.mode()[0])
            if key not in places:
                places[key] = len(operands)
                operands.append(key)
                if key[0] != "number":
                    reads.append(Ref.whole(key[0], (key[0].size,)))
            return ("o", places[key])

        registers, free, ops, high = {}, [], [], 0
        for k, node in enumerate(self.members):
            i = node.instruction
            sources, dying = [], []
            for x in i.operands:
                root = low.ref(x).root if isinstance(x, Value) else None
                if root in self.inside:
                    sources.append(("r", registers[root]))
                    if last[root] == k and root not in dying:
                        dying.append(root)
                else:
                    sources.append(operand(x, i.result.shape))
            free += [registers[root] for root in dying]  # an op may write where it reads
            to = free.pop() if free else high
            high = max(high, to + 1)
            root = low.ref(node.result).root
            registers[root] = to
            ops.append((i.name, to, tuple(sources), *low._param(i)))
            if root not in last:  # nobody reads it
                free.append(to)
        outputs, writes = [], []
        for node in stored:
            ref = low.ref(node.result)
            outputs.append(("store", registers[ref.root], ref.root, 0))
            writes.append(ref)
        for node in self.sums:
            value, kind, _ = low.sum_of(node)
            ref = low.ref(node.result)
            outputs.append((kind, registers[low.ref(value).root], ref.root, 0))
            writes.append(ref)
        roots = [key for key in operands if key[0] != "number"]
        otherwise = {root for root, offset, mode, *_ in roots if mode != "full" or offset}  # read later
        full = [key[0] for key in roots if key[0] not in otherwise]
        sharing = {w.root: full for w, o in zip(writes, outputs) if o[0] == "store"}
        low.add("chain", reads, writes, sharing, dtype=self.dtype, rows=self.size // columns, cols=columns,
                operands=operands, ops=ops, outputs=outputs,
                names=[n.instruction for n in (*self.members, *self.sums)])  # fmt: skip

    def _is_needed_outside(self, node):
        root = self.lowering.ref(node.result).root
        here = {*self.members, *self.sums}
        return root in self.lowering.kept or any(user not in here for user in self.lowering.users.get(root, ()))


def _one_value(constant):
    """The value that a constant has everywhere, or None."""
    if constant is None or not constant.size:
        return None
    first = constant[(0,) * constant.ndim]
    return float(first) if not np.any(constant != first) else None
