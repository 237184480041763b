"""Lowering: from ops over values to instructions over memory, as csrc/plan.c runs them.

    views        cost nothing: they become offsets and strides, a transpose goes into the product that reads it
    products     take the bias, and an activation that alone reads the result, into their write-back
    chains       element-wise ops over the same elements run tile by tile as one instruction; sums of what they
                 make are folded in
    layers       convolutions, pooling and recurrent layers
    updates      one instruction for all parameters of a group
    the rest     one instruction each, where C has it; else Python does it between two pieces of the plan

Ring 4. Must not know how instructions are encoded (machine.py) or run. Read after memory.py; then
products.py, reductions.py, moves.py, updates.py, layers.py, of which it is made, and chains.py.

Note [Order]
    An instruction runs when what it reads is there, and what it writes over has been read by everyone who should.
    Among those that could run, the first in the order of the program does; a chain then takes in all it can. But the
    gradient of a large parameter goes before others, and its update at once: it is in the cache, and then gives its
    memory back.
"""

import math

import numpy as np

from ..engine import Op
from ..ops.state import within
from .chains import Chain
from .layers import Layers
from .memory import Ref, Root, arrange
from .moves import Moves
from .passes import PASSES, is_noise
from .products import Products
from .program import Update, Value, Vjp
from .reductions import Reductions
from .updates import Updates, is_large_update

_COUNTED = 1 << 24  # up to which float32 has every whole number

__all__ = ["Item", "Lowered", "lower"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_BOOL = np.dtype(bool)
# What C may do although not all operands are floats of one kind; each says itself whether it can.
_OF_NUMBERS = {"argmax", "argmin", "cast", "gather", "_scatter_along", "one_hot", "_within"}
_PLAIN = {"add", "sub", "mul", "div", "neg", "abs", "sign", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge",
          "where", "clip", "pow", "sin", "cos"}  # fmt: skip


class Item:
    """One instruction for the machine: its kind, its fields, the roots it reads and writes."""

    __slots__ = ("fields", "kind", "reads", "sharing", "writes")

    def __init__(self, kind, fields, reads, writes, sharing):
        self.kind, self.fields, self.reads, self.writes = kind, fields, reads, writes
        self.sharing = sharing  # {root written: roots read, of which it may take a place}


class Lowered:
    """What lower makes: items in order, every root, the outputs as refs, the arena's bytes."""

    def __init__(self, items, roots, outputs, arena):
        self.items, self.roots, self.outputs, self.arena = items, roots, outputs, arena
        self.stages = []  # (name, program) before and after each pass


class _Node:
    """An instruction that does something, and what it must wait for."""

    def __init__(self, instruction, number):
        self.instruction, self.number = instruction, number
        self.result = instruction.result
        self.after = set()
        self.activation = None


def lower(program, unary, precision="highest"):
    """The program as a `Lowered`. unary: the names of functions of one argument that C has."""
    stages = [("captured", program)]
    for run in PASSES:
        program = run(program)
        stages.append((f"after {run.__name__}", program))
    lowered = _Lowering(program, unary, precision).lower()
    lowered.stages = stages
    return lowered


class _Lowering(Products, Reductions, Moves, Layers, Updates):
    def __init__(self, program, unary, precision):
        self.program, self.unary, self.precision = program, unary, precision
        self.refs, self.roots, self.items = {}, [], []
        self.cells, self.copies = {}, {}
        self.made_by = {}  # root: the node that makes it
        self.gates = {}  # root of a recurrence's result: its gates, for the way back

    # -- memory -----------------------------------------------------------------------------------------------------

    def root(self, kind, dtype, size, **what):
        root = Root(kind, np.dtype(dtype), int(size), **what)
        self.roots.append(root)
        return root

    def temporary(self, shape, dtype):
        return Ref.whole(self.root("arena", dtype, math.prod(shape)), shape)

    def ref(self, value):
        """Where a value lives."""
        known = self.refs.get(value)
        if known is not None:
            return known
        if value.cell is not None:
            root = self.cells.get(value.cell)
            if root is None:
                root = self.cells[value.cell] = self.root("array", value.dtype, value.size, array=value.cell.array)
        elif value.constant is not None:
            root = self.root("array", value.dtype, value.size, array=np.ascontiguousarray(value.constant))
        elif value.input is not None:
            root = self.root("input", value.dtype, value.size, input=value.input)
        else:
            root = self.root("arena", self.dtype_of(value), value.size)
        self.refs[value] = found = Ref.whole(root, value.shape)
        return found

    def dtype_of(self, value):
        """In memory: a bool that C computes is 0.0 or 1.0."""
        return self.flags.get(value, value.dtype)

    # -- the order of work ------------------------------------------------------------------------------------------

    def lower(self):
        self.flags = self._find_flags()
        nodes = []
        for instruction in self.program.instructions:
            if not self._is_view(instruction):
                nodes.append(_Node(instruction, len(nodes)))
        self.users = {}
        for node in nodes:
            for value in node.instruction.values:
                self.users.setdefault(self.ref(value).root, []).append(node)
        self.kept = {self.ref(value).root for value in self.program.outputs}
        nodes = self._fold_activations(nodes)
        self._find_order(nodes)
        self._emit_all(nodes)
        outputs = [self.ref(value) for value in self.program.outputs]
        for root in self.roots:
            root.scratch = None
        return Lowered(self.items, self.roots, outputs, self._arrange(outputs))

    def _find_flags(self):
        """{bool value, or a count of them: the float dtype in which C computes it}."""
        flags = {}
        for i in self.program.instructions:
            if i.name == "sum" and i.operands[0] in flags and i.operands[0].size <= _COUNTED:  # how many hold
                flags[i.result] = flags[i.operands[0]]
            if i.result.dtype != _BOOL or i.result.cell is not None:
                continue
            dtypes = {flags.get(v, v.dtype) for v in i.values}
            floats = {d for d in dtypes if d in _FLOATS}
            known = all(d in _FLOATS for d in dtypes)
            if i.name in ("eq", "ne", "lt", "le", "gt", "ge", "mul") and known and len(floats) == 1:
                flags[i.result] = floats.pop()
            elif isinstance(i.op, Op) and i.op.view and known and len(floats) == 1:
                flags[i.result] = floats.pop()
        return flags

    def _is_view(self, instruction):
        """Whether the result is only another look at an operand; its ref is then known."""
        op = instruction.op
        if not isinstance(op, Op) or not instruction.values:
            return False
        x, y = instruction.operands[0], instruction.result
        if instruction.name == "cast" and isinstance(x, Value):
            flagged = self.flags.get(x)
            if (flagged is not None and flagged == y.dtype) or (x.dtype == y.dtype and x.cell is None):
                self.refs[y] = self.ref(x)
                return True
            return False
        if not op.view or not isinstance(x, Value):
            return False
        if op is within.op:  # the same values, but somebody has to ask
            self.refs[y] = self.ref(x)
            return False
        if instruction.name == "straight_through" and x.dtype != y.dtype:
            return False
        if instruction.name == "straight_through":
            found = self.ref(x)
        elif instruction.name == "getitem":
            found = self._basic(self.ref(x), instruction.settings["index"])
            if not y.shape and self.ref(x).root.kind == "array":  # NumPy takes one element out, which then stays
                found = None
        else:
            found = self.ref(x).view(lambda a: op.definition(a, **instruction.settings))
        if found is None:
            return False
        self.refs[y] = found
        return True

    def _fold_activations(self, nodes):
        """A product or convolution whose result only one function reads takes that into its write-back."""
        gone = set()
        for node in nodes:
            i = node.instruction
            root = self.ref(i.result).root
            users = self.users.get(root, [])
            if len(users) != 1 or root in self.kept or not self._takes_activation(i):
                continue
            user = users[0].instruction
            if isinstance(user.op, Op) and user.name in self.unary and self._param(user) is not None:
                if len(user.operands) == 1 and self.ref(user.operands[0]).is_whole:
                    node.activation = user.name, *self._param(user)
                    node.result = user.result
                    gone.add(users[0])
        return [node for node in nodes if node not in gone]

    def _takes_activation(self, i):
        if not isinstance(i.op, Op) or not i.result.size or not self._floats(i):
            return False
        if i.name in ("linear", "matmul"):
            return len(i.result.shape) >= 2 and self._is_product(i)
        return i.name in ("conv2d", "conv_transpose2d") and self.windows(i) is not None

    def _find_order(self, nodes):
        """What each node must wait for: Note [Order]."""
        readers, writer = {}, {}
        for node in nodes:
            for value in node.instruction.values:
                root = self.ref(value).root
                if root in writer:
                    node.after.add(writer[root])
                readers.setdefault(root, []).append(node)
            root = self.ref(node.result).root
            for other in node.instruction.results[1:]:
                writer[self.ref(other).root] = self.made_by[self.ref(other).root] = node
            if node.result.cell is not None:
                node.after.update(r for r in readers.get(root, ()) if r is not node)
                if root in writer:
                    node.after.add(writer[root])
                readers[root] = []
            writer[root] = node
            self.made_by[root] = node

    def _emit_all(self, nodes):
        waiting, done = list(nodes), set()
        while waiting:
            ready = [n for n in waiting if n.after <= done]
            node = min(ready, key=self._urgency)
            members = [node]
            chain = self._chain(node)
            if chain is not None and chain.members:  # whatever happens, at least one node is placed
                members = chain.grow(waiting, done)
                chain.emit()
            elif isinstance(node.instruction.op, Update):
                members = self._updates(node, waiting, done)
            else:
                self._emit(node)
            done.update(members)
            gone = set(members)
            waiting = [n for n in waiting if n not in gone]

    def _urgency(self, node):
        """0 for the update of a large parameter, 1 for its gradient, 2 for all else: Note [Order]."""
        if is_large_update(node.instruction):
            return 0
        users = self.users.get(self.ref(node.result).root, ())
        return 1 if users and all(is_large_update(user.instruction) for user in users) else 2

    def _arrange(self, outputs):
        lives, sharing = {}, {}
        for step, item in enumerate(self.items):
            for root in (*item.reads, *item.writes):
                if root.kind == "arena":
                    first, _ = lives.get(root, (step, step))
                    lives[root] = first, step
            sharing |= item.sharing
        for ref in outputs:
            if ref.root.kind == "arena":
                first, _ = lives.get(ref.root, (0, 0))
                lives[ref.root] = first, len(self.items)
        return arrange(lives, sharing)

    # -- one instruction each ---------------------------------------------------------------------------------------

    def add(self, kind, reads, writes, sharing=None, **fields):
        self.items.append(Item(kind, fields, [r.root for r in reads], [r.root for r in writes], sharing or {}))

    def _emit(self, node):
        i = node.instruction
        if i.result.size and (self._floats(i) or i.name in _OF_NUMBERS):
            name = f"_back_{i.op.op.name}" if isinstance(i.op, Vjp) else f"_do_{i.name.strip('_')}"
            how = self._noise if is_noise(i) else getattr(self, name, None)
            if how is not None and how(node):
                return
        outs = [self.ref(node.result), *(self.ref(value) for value in i.results[1:])]
        self.add("host", [self.ref(v) for v in i.values], outs, **self.by_host(i, outs))

    def by_host(self, i, outs):
        """What Python needs to compute an instruction."""
        return {"instruction": i, "outs": outs,
                "operands": [(self.ref(x), x.dtype) if isinstance(x, Value) else x for x in i.operands],
                "arrays": {k: (self.ref(x), x.dtype) for k, x in i.settings.items() if isinstance(x, Value)}}  # fmt: skip

    def _floats(self, i):
        dtype, values = self.dtype_of(i.result), [x for x in i.operands if isinstance(x, Value)]
        if isinstance(i.op, Vjp) and "lengths" in i.op.names:  # of a sequence's rows, which are integers
            values = [v for v, name in zip(i.operands, ("g", *i.op.names)) if name != "lengths"]
        return dtype in _FLOATS and all(self.dtype_of(v) == dtype for v in values)

    def _noise(self, node):
        i = node.instruction
        out = self.ref(node.result)
        self.add("noise", [], [out], what=i.name, dtype=out.root.dtype, n=out.size, generator=i.settings["generator"],
                 draw=i.draw, p=float(i.settings.get("p", 0.5)), out=out)  # fmt: skip
        return True

    # -- chains -----------------------------------------------------------------------------------------------------

    def _param(self, i):
        """A function's setting as numbers for C; None if C has not that one."""
        settings = i.settings
        if i.name == "gelu" or (isinstance(i.op, Vjp) and i.op.op.name == "gelu"):
            return (0.0,) if settings.get("approximate", "none") == "none" else None
        for name in ("slope", "alpha"):
            if name in settings:
                return (float(settings[name]),)
        if i.name == "clip":
            low, high = settings["low"], settings["high"]
            return -math.inf if low is None else float(low), math.inf if high is None else float(high)
        return (0.0,) if not settings else None

    def chain_dtype(self, i):
        """The float dtype of an element-wise instruction that C can do, else None."""
        op = i.op
        known = (isinstance(op, Op) and op.elementwise and (i.name in _PLAIN or i.name in self.unary)) or (
            isinstance(op, Vjp) and op.op.name in self.unary)  # fmt: skip
        if not known or not i.values or self._param(i) is None or not i.result.size or i.result.cell is not None:
            return None
        dtype = self.flags.get(i.result, i.result.dtype)
        if dtype not in _FLOATS:
            return None
        return dtype if all(_converts(self.dtype_of(v), dtype) for v in i.values) else None

    def _chain(self, node):
        dtype = self.chain_dtype(node.instruction)
        return None if dtype is None else Chain(self, node, dtype)


def _converts(dtype, to):
    return dtype == to or dtype in (np.dtype(np.uint8), _BOOL, np.dtype(np.int64)) or dtype in _FLOATS
