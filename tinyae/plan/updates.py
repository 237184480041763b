"""How an optimizer's updates become instructions: one for all parameters of a group.

Ring 4. Must not know how instructions are encoded or run. Read with lower.py, which is made of this.
"""

from .memory import Ref
from .program import Update
from .rules import RULES, rule_of

__all__ = ["Updates", "is_large_update"]

_LARGE = 1 << 16  # numbers of a parameter that is updated as soon as it can be


class Updates:
    """The part of the lowering that knows updates."""

    def _updates(self, node, waiting, done):
        """The node's update, and with it those of the same group that could run too."""
        op = node.instruction.op
        rule = rule_of(op.optimizer, op.group)
        if rule is None or not self._floats(node.instruction):
            self._emit(node)
            return [node]
        members = [
            n for n in waiting
            if isinstance(n.instruction.op, Update) and n.instruction.op.group is op.group and n.after <= done
            and is_large_update(n.instruction) == is_large_update(node.instruction)
            and self._floats(n.instruction) and n.result.dtype == node.result.dtype
        ]  # fmt: skip
        tensors, reads, writes = [], [], []
        for n in members:
            p, g = (self.ref(v) for v in n.instruction.operands)
            g = self.dense(g)
            slots = [op.optimizer.state[n.instruction.op.parameter][name] for name in RULES[rule].kept(op.group)]
            slots = [Ref.whole(self.root("array", s.dtype, s.size, array=s), s.shape) for s in slots]
            tensors.append((p.size, p, g, *slots))
            reads += [p, g, *slots]
            writes += [p, *slots]
        self.add("update", reads, writes, rule=rule, dtype=node.result.dtype, tensors=tensors,
                 optimizer=op.optimizer, group=op.group,
                 parameters=[n.instruction.op.parameter for n in members])  # fmt: skip
        return members


def is_large_update(instruction):
    """Whether it is the update of a parameter that fills a cache."""
    return isinstance(instruction.op, Update) and instruction.result.size >= _LARGE
