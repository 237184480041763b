"""Lowering: from ops over values to instructions over memory, as csrc/plan.c runs them.

    views        cost nothing: they become offsets and strides, a transpose goes into the product that reads it
    products     take the bias, and an activation that alone reads the result, into their write-back
    chains       element-wise ops over the same elements run tile by tile as one instruction; sums of what they
                 make are folded in
    layers       convolutions, pooling and recurrent layers (layers.py)
    updates      one instruction for all parameters of a group
    the rest     one instruction each, where C has it; else Python does it between two pieces of the plan

Ring 4. Must not know how instructions are encoded (machine.py) or run. Read after memory.py; then
chains.py and layers.py.

Note [Order]
    An instruction runs when what it reads is there, and what it writes over has been read by everyone who should.
    Among those that could run, the first in the order of the program does; a chain then takes in all it can. But the
    gradient of a large parameter goes before others, and its update at once: it is in the cache, and then gives its
    memory back.
"""

import math

import numpy as np

from ..engine import Op
from .chains import Chain
from .layers import Layers
from .memory import Ref, Root, arrange
from .passes import PASSES, is_noise
from .program import Assign, Update, Value, Vjp
from .rules import RULES, rule_of

__all__ = ["Item", "Lowered", "lower"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_BOOL = np.dtype(bool)
_PLAIN = {"add", "sub", "mul", "div", "neg", "abs", "sign", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge",
          "where", "clip", "pow", "sin", "cos"}  # fmt: skip
_LARGE = 1 << 16  # numbers of a parameter that is updated as soon as it can be


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


class _Lowering(Layers):
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
            if i.name == "sum" and i.operands[0] in flags:  # how many hold
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
        if op.name == "cast" and isinstance(x, Value):
            flagged = self.flags.get(x)
            if (flagged is not None and flagged == y.dtype) or (x.dtype == y.dtype and x.cell is None):
                self.refs[y] = self.ref(x)
                return True
            return False
        if not op.view or not isinstance(x, Value):
            return False
        if op.name == "straight_through" and x.dtype != y.dtype:
            return False
        others = [np.empty((0,) * 0)] * (len(instruction.operands) - 1)
        if op.name == "straight_through":
            found = self.ref(x)
        elif op.name == "getitem":
            found = self._basic(self.ref(x), instruction.settings["index"])
            if not y.shape and self.ref(x).root.kind == "array":  # NumPy takes one element out, which then stays
                found = None
        else:
            found = self.ref(x).view(lambda a: op.definition(a, *others, **instruction.settings))
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
            if chain is not None:
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
        if _is_large_update(node.instruction):
            return 0
        users = self.users.get(self.ref(node.result).root, ())
        return 1 if users and all(_is_large_update(user.instruction) for user in users) else 2

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
        if i.result.size and (self._floats(i) or i.name in ("argmax", "argmin")):
            name = f"_back_{i.op.op.name}" if isinstance(i.op, Vjp) else f"_do_{i.name.strip('_')}"
            how = self._noise if is_noise(i) else getattr(self, name, None)
            if how is not None and how(node):
                return
        reads = [self.ref(v) for v in i.values]
        outs = [self.ref(node.result), *(self.ref(value) for value in i.results[1:])]
        self.add("host", reads, outs, instruction=i, outs=outs,
                 operands=[(self.ref(x), x.dtype) if isinstance(x, Value) else x for x in i.operands])  # fmt: skip

    def _floats(self, i):
        dtype, values = self.dtype_of(i.result), i.values
        if isinstance(i.op, Vjp) and "lengths" in i.op.names:  # of a sequence's rows, which are integers
            values = [v for v, name in zip(i.operands, ("g", *i.op.names)) if name != "lengths"]
        return dtype in _FLOATS and all(self.dtype_of(v) == dtype for v in values)

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

    def as_matrix(self, ref):
        """With all axes before the last as one."""
        found = ref if len(ref.shape) == 2 else ref.view(lambda a: a.reshape(-1, a.shape[-1]))
        if found is not None:
            return found
        return Ref.whole(self.dense(ref).root, (ref.size // ref.shape[-1], ref.shape[-1]))

    def _is_product(self, i):
        """Whether it is one product of two matrices."""
        shapes = [v.shape for v in i.operands[:2]]
        return len(shapes[1]) == 2 and len(shapes[0]) >= 2 and i.settings.get("precision") is None

    def _do_linear(self, node):
        x, w, b = node.instruction.operands
        return self._product(node, self.as_matrix(self.ref(x)), self.ref(w), self.dense(self.ref(b)))

    def _do_matmul(self, node):
        i = node.instruction
        a, b = (self.ref(x) for x in i.operands)
        if self._is_product(i):
            return self._product(node, self.as_matrix(a), b, None)
        if i.settings.get("precision") is not None:
            return False
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
        self.add("gemm_stack", [a, b], [c], dtype=c.root.dtype, sizes=leading, m=m, n=n, k=k, a=a, b=b, c=c)
        return True

    def _product(self, node, a, b, bias):
        c = self.ref(node.result)
        name, param = node.activation or (None, 0.0)
        (m, k), n = a.shape, b.shape[1]
        self.add("gemm", [a, b] if bias is None else [a, b, bias], [c], dtype=c.root.dtype, m=m, n=n, k=k, a=a, b=b,
                 c=c, bias=bias, activation=name, param=param)  # fmt: skip
        return True

    def _do_sum(self, node):
        i = node.instruction
        x = self.ref(i.operands[0])
        axis = i.settings.get("axis")
        axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis) % max(len(x.shape), 1)
        return self._sum(x, [int(a) for a in axes], self.ref(node.result))

    def _do_sum_to(self, node):
        i = node.instruction
        x, shape = self.ref(i.operands[0]), i.settings["shape"]
        new = len(x.shape) - len(shape)
        axes = [a for a in range(len(x.shape)) if a < new or (shape[a - new] == 1 and x.shape[a] != 1)]
        return self._sum(x, axes, self.ref(node.result))

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

    def _extreme(self, node, kind):
        i = node.instruction
        x, axis = self.ref(i.operands[0]), i.settings.get("axis")
        axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis) % max(len(x.shape), 1)
        return self._sum(x, [int(a) for a in axes], self.ref(node.result), kind) if x.size else False

    def _do_max(self, node):
        return self._extreme(node, "max")

    def _do_min(self, node):
        return self._extreme(node, "min")

    def _arg_extreme(self, node):
        i = node.instruction
        x, axis = self.ref(i.operands[0]), i.settings.get("axis")
        if x.root.dtype not in _FLOATS or not x.size:
            return False
        x, out = self.dense(x), self.ref(node.result)
        if axis is None:
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
        if i.settings["axis"] not in (-1, len(y.shape) - 1):
            return False
        out = self.ref(node.result)
        self.add("rows_backward", [g, y], [out], what=i.op.op.name, dtype=y.root.dtype, rows=y.size // y.shape[-1],
                 n=y.shape[-1], g=g, y=y, out=out)  # fmt: skip
        return True

    _back_log_softmax = _back_softmax

    def _noise(self, node):
        i = node.instruction
        out = self.ref(node.result)
        self.add("noise", [], [out], what=i.name, dtype=out.root.dtype, n=out.size, generator=i.settings["generator"],
                 draw=i.draw, p=float(i.settings.get("p", 0.5)), out=out)  # fmt: skip
        return True

    # -- ops that move values ---------------------------------------------------------------------------------------

    def _do_cast(self, node):
        self.copy(self.ref(node.instruction.operands[0]), self.ref(node.result))
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
        if i.settings["mode"] != "constant":
            return False
        x, out = self.ref(i.operands[0]), self.ref(node.result)
        marked = np.pad(np.ones(x.shape, bool), i.settings["widths"]).nonzero()
        if not x.size:
            return False
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
        self.copy(x.spread(to.shape), to)
        return True

    def number(self, value, dtype):
        """A Python number as memory."""
        return Ref.whole(self.root("array", dtype, 1, array=np.array([value], dtype)), ())

    # -- updates ----------------------------------------------------------------------------------------------------

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
            and _is_large_update(n.instruction) == _is_large_update(node.instruction)
            and self._floats(n.instruction) and n.result.dtype == node.result.dtype
            and _steps(n.instruction.op) == _steps(op)
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
        known = (isinstance(op, Op) and op.elementwise and (op.name in _PLAIN or op.name in self.unary)) or (
            isinstance(op, Vjp) and op.op.name in self.unary)  # fmt: skip
        if not known or not i.values or self._param(i) is None or not i.result.size or i.result.cell is not None:
            return None
        dtype = self.flags.get(i.result, i.result.dtype)
        if dtype not in _FLOATS:
            return None
        return dtype if all(_converts(self.dtype_of(v), dtype) for v in i.values) else None

    def sum_of(self, node):
        """(the value summed, kind, columns) of a sum that a chain could take in, else None."""
        i = node.instruction
        if i.name not in ("sum", "sum_to") or not isinstance(i.op, Op) or not self._floats(i) or not i.operands[0].size:
            return None
        x = i.operands[0]
        shape = [n for n in x.shape]
        if i.name == "sum":
            axis = i.settings.get("axis")
            axes = set(range(len(shape))) if axis is None else {int(a) % len(shape) for a in np.atleast_1d(axis)}
        else:
            to = i.settings["shape"]
            new = len(shape) - len(to)
            axes = {a for a in range(len(shape)) if a < new or (to[a - new] == 1 and shape[a] != 1)}
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

    def _chain(self, node):
        dtype = self.chain_dtype(node.instruction)
        return None if dtype is None else Chain(self, node, dtype)


def _converts(dtype, to):
    return dtype == to or dtype in (np.dtype(np.uint8), _BOOL, np.dtype(np.int64)) or dtype in _FLOATS


def _is_large_update(instruction):
    return isinstance(instruction.op, Update) and instruction.result.size >= _LARGE


def _steps(update):
    return update.optimizer.state[update.parameter].get("step", 0)
