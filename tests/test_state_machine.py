"""Any order of calls against a naive engine that expands every tensor to scalars and sums over all paths.

The oracle knows no arrays, no broadcasting rules, no accumulation tricks: a scalar has a cell of memory and, for each
scalar that it was made from, the partial derivative, which is a scalar in turn. What it knows of the tape is one rule:
backward must refuse a graph that was freed, and one that kept memory which has been written to since.
"""

import functools
import gc
import math
import re
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tinyae import Tensor, assign, grad, no_grad
from tinyae.engine import _below
from tinyae.errors import GraphError
from tinyae.optim import SGD


class Cell:
    """One number in memory: views and detached tensors hold the same one, and a write is seen by all."""

    def __init__(self, value):
        self.value = value


class Scalar:
    """One number of the oracle: its cell, and its parents as (scalar, partial derivative: a scalar or a number)."""

    def __init__(self, value, parents=()):
        self.cell, self.parents = value if isinstance(value, Cell) else Cell(value), parents

    value = property(lambda self: self.cell.value)


def number(x):
    return x.value if isinstance(x, Scalar) else x


def times(a, b):
    return Scalar(number(a) * number(b), [(s, other) for s, other in ((a, b), (b, a)) if isinstance(s, Scalar)])


def plus(a, b):
    return Scalar(number(a) + number(b), [(s, 1.0) for s in (a, b) if isinstance(s, Scalar)])


def partials(scalar, seed, into):
    """Adds to each leaf seed times the product along every path from scalar to it. Nothing is shared, on purpose."""
    if not scalar.parents:
        into[scalar] = into.get(scalar, 0.0) + seed
    for parent, partial in scalar.parents:
        partials(parent, seed * number(partial), into)


def differentiable_partials(scalar, seed, into):
    """The same in scalars, which can be differentiated once more."""
    if not scalar.parents:
        into[scalar] = plus(into[scalar], seed) if scalar in into else seed
    for parent, partial in scalar.parents:
        differentiable_partials(parent, times(partial, seed), into)


class Memory:
    """What tensors that are views of each other have in common: how often it was written to."""

    writes = 0


class Line:
    """One line of the oracle's tape: the lines below it, and what it kept, with the writes until then."""

    def __init__(self, below=(), kept=()):
        self.below, self.kept, self.freed, self.op = below, [(m, m.writes) for m in kept], False, bool(below)


class Pair:
    """A Tensor; the oracle's object array of Scalars, its memory, and its line on the tape (None: no gradient)."""

    def __init__(self, tensor, scalars, memory, line):
        self.tensor, self.scalars, self.memory, self.line = tensor, scalars, memory, line


def each(function, *arrays):
    return np.vectorize(function, otypes=[object])(*arrays)


def array(scalars):
    return np.asarray(scalars, dtype=object)


def floats(scalars):
    return each(lambda s: s.value, scalars).astype(float)


BINARY = {  # values, partial derivatives, whether the other operand is kept
    "add": (lambda a, b: a + b, lambda a, b: (1.0, 1.0), False),
    "sub": (lambda a, b: a - b, lambda a, b: (1.0, -1.0), False),
    "mul": (lambda a, b: a * b, lambda a, b: (b, a), True),
}
UNARY = {  # of a Tensor, of a number, the partial derivative of (x, y), what is kept
    "square": (lambda t: t.square(), lambda v: v * v, lambda x, y: times(2.0, x), "x"),
    "exp": (lambda t: t.exp(), math.exp, lambda x, y: y, "y"),
    "neg": (lambda t: -t, lambda v: -v, lambda x, y: -1.0, ""),
}
WRITE = {
    "assign": lambda t, value: assign(t, value), "data": lambda t, value: setattr(t, "data", value),
    "all": lambda t, value: t.__setitem__(..., value), "first": lambda t, value: t.__setitem__(0, value),
}  # fmt: skip
THROUGH = {
    "itself": lambda t: t, "detach": lambda t: t.detach(), "transpose": lambda t: t.T, "view": lambda t: t[...],
}  # fmt: skip
SHAPES = [(), (1,), (2,), (2, 1), (1, 2), (2, 2)]
VALUES = [-1.5, -0.5, 0.5, 1.0, 2.0]


class Engine(RuleBasedStateMachine):
    """Bundles hold keys of `heap`, so that hypothesis itself keeps no Tensor alive."""

    values = Bundle("values")
    leaves = Bundle("leaves")

    def __init__(self):
        super().__init__()
        gc.collect()
        gc.disable()  # what dies, dies by reference count
        self.heap, self.gradients, self.nodes = {}, {}, []

    def teardown(self):
        gc.enable()

    def made(self, tensor, scalars, memory, line):
        assert tensor.shape == scalars.shape and tensor.requires_grad == (line is not None)
        key = len(self.nodes)
        self.heap[key] = Pair(tensor, scalars, memory, line)
        self.nodes.append(weakref.ref(tensor._node) if line else lambda: None)
        return key

    # -- making values

    @rule(targets=(leaves, values), shape=st.sampled_from(SHAPES), seed=st.integers(0, 99))
    def leaf(self, shape, seed):
        values = np.random.default_rng(seed).choice(VALUES, shape)
        key = self.made(Tensor(values, requires_grad=True), array(each(Scalar, values)), Memory(), Line())
        self.gradients[key] = None
        return key

    @rule(target=values, a=values, b=values, name=st.sampled_from(sorted(BINARY)), quiet=st.booleans())
    def binary(self, a, b, name, quiet):
        a, b = self.heap[a], self.heap[b]
        if not fit(a, b) or paths(a) + paths(b) > 400 or max(abs(p.tensor).max().item() for p in (a, b)) > 1e3:
            return multiple()
        forward, slopes, keeps = BINARY[name]
        ways = [(p, other) for p, other in ((a, b), (b, a)) if p.line and not quiet]
        line = Line([p.line for p, _ in ways], [other.memory for _, other in ways if keeps]) if ways else None

        def combine(s, t):
            partial = zip((s, t), slopes(s, t), (a.line, b.line))
            return Scalar(forward(s.value, t.value), [(x, d) for x, d, on in partial if on and line])

        scalars = array(each(combine, a.scalars, b.scalars))
        with no_grad() if quiet else nullcontext():
            return self.made(forward(a.tensor, b.tensor), scalars, Memory(), line)

    @rule(target=values, key=values, name=st.sampled_from(sorted(UNARY)))
    def unary(self, key, name):
        pair = self.heap[key]
        if abs(pair.tensor).max().item() > 3:
            return multiple()
        of_tensor, of_number, slope, keeps = UNARY[name]
        memory = Memory()
        line = Line([pair.line], {"x": [pair.memory], "y": [memory], "": []}[keeps]) if pair.line else None

        def apply(s):
            y = Scalar(of_number(s.value))
            y.parents = [(s, slope(s, y))] if line else ()
            return y

        return self.made(of_tensor(pair.tensor), array(each(apply, pair.scalars)), memory, line)

    @rule(target=values, key=values, axis=st.sampled_from([None, 0, -1]))
    def reduce(self, key, axis):
        pair = self.heap[key]
        if not pair.tensor.ndim:
            return multiple()
        rows = pair.scalars.reshape(1, -1) if axis is None else np.moveaxis(pair.scalars, axis, -1)
        scalars = np.empty(rows.shape[:-1], object)
        for i in np.ndindex(*scalars.shape):
            row = rows[i].tolist()
            scalars[i] = Scalar(sum(s.value for s in row), [(s, 1.0) for s in row] if pair.line else [])
        scalars = scalars.reshape(()) if axis is None else scalars
        return self.made(pair.tensor.sum(axis), scalars, Memory(), pair.line and Line([pair.line]))

    @rule(target=values)
    def total(self):
        """Everything at hand in one sum, so that a walk back meets it all."""
        there, done = set(self.heap), multiple()
        for key in sorted(k for k in there if self.heap[k].line):
            part = self.reduce(key, None) if self.heap[key].tensor.ndim else key
            both = part if done == multiple() else self.binary(part, done, "add", False)
            if both == multiple():  # too many paths for the oracle
                break
            done = both
        for key in set(self.heap) - there - {done}:
            del self.heap[key]
        return done

    @rule(target=values, key=values, kind=st.sampled_from(["flatten", "transpose", "first", "twice"]))
    def view(self, key, kind):
        """What NumPy says shares memory has the same cells; what it copied has cells of its own."""
        pair = self.heap[key]
        if kind in ("first", "twice") and not pair.tensor.ndim:
            return multiple()
        index = {"first": 0, "twice": [0, -1, 0]}.get(kind)
        change = {"flatten": lambda x: x.reshape(-1), "transpose": lambda x: x.T}.get(kind, lambda x: x[index])
        tensor, line = change(pair.tensor), pair.line and Line([pair.line])
        shared = np.shares_memory(tensor._data, pair.tensor._data)
        scalars = array(each(
            lambda s: Scalar(s.cell if shared else s.value, [(s, 1.0)] if line else ()), array(change(pair.scalars))
        ))  # fmt: skip
        return self.made(tensor, scalars, pair.memory if shared else Memory(), line)

    @rule(target=values, key=values)
    def detach(self, key):
        pair = self.heap[key]
        return self.made(pair.tensor.detach(), array(each(lambda s: Scalar(s.cell), pair.scalars)), pair.memory, None)

    @rule(key=consumes(values))
    def drop(self, key):
        if key not in self.gradients:
            del self.heap[key]

    # -- writing in place

    @rule(key=values, value=st.sampled_from(VALUES), way=st.sampled_from(sorted(WRITE)),
          through=st.sampled_from(sorted(THROUGH)))  # fmt: skip
    def write(self, key, value, way, through):
        pair = self.heap[key]
        target = THROUGH[through](pair.tensor)
        one = way == "first" and target.ndim
        with no_grad():
            WRITE[way if one or way != "first" else "all"](target, value)
        cells = THROUGH["transpose" if through == "transpose" else "itself"](pair.scalars)
        for s in np.ravel(cells[0] if one else cells):
            s.cell.value = value
        pair.memory.writes += 1

    @rule(key=leaves)
    def step(self, key):
        """An optimizer's update is a write like any other."""
        pair, g = self.heap[key], self.gradients[key]
        if g is None or np.abs(g).max() > 10:
            return
        SGD([pair.tensor], lr=0.125).step()
        for s, slope in zip(pair.scalars.ravel(), np.ravel(g)):
            s.cell.value -= 0.125 * slope
        pair.memory.writes += 1

    # -- walking back

    def refused(self, pair):
        """What backward must complain of: a regular expression, or None."""
        lines = below(pair.line)
        freed = any(line.freed for line in lines)
        changed = any(memory.writes != then for line in lines for memory, then in line.kept)
        return "|".join(["freed by an earlier backward"] * freed + ["changed in place"] * changed) or None

    @rule(key=values, seed=st.integers(0, 99), retain=st.booleans())
    def backward(self, key, seed, retain):
        pair = self.heap[key]
        if not pair.line:
            return
        g = np.random.default_rng(seed).choice([-1.0, 0.5, 2.0], pair.tensor.shape)
        if complaint := self.refused(pair):
            return complains(complaint, lambda: pair.tensor.backward(g, retain_graph=retain))
        pair.tensor.backward(g, retain_graph=retain)
        found = {}
        for scalar, seed in zip(pair.scalars.ravel(), np.ravel(g)):
            partials(scalar, seed, found)
        reached = below(pair.line)
        for leaf, before in self.gradients.items():
            if self.heap[leaf].line in reached:
                add = each(lambda s: found.get(s, 0.0), self.heap[leaf].scalars).astype(float)
                self.gradients[leaf] = add if before is None else before + add
        for line in reached:
            line.freed = line.freed or (line.op and not retain)

    @rule()
    def ask_everything(self):
        """A walk from each value at hand: right or refused, whichever the oracle says."""
        leaves = [self.heap[leaf] for leaf in self.gradients]
        for pair in [pair for pair in self.heap.values() if pair.line]:
            settings = {"retain_graph": True, "allow_unused": True}
            g = np.ones(pair.tensor.shape)
            walk = functools.partial(grad, pair.tensor, [x.tensor for x in leaves], g, **settings)
            if complaint := self.refused(pair):
                complains(complaint, walk)
                continue
            found = {}
            for scalar in pair.scalars.ravel():
                partials(scalar, 1.0, found)
            for leaf, g in zip(leaves, walk()):
                expected = each(lambda s: found.get(s, 0.0), leaf.scalars).astype(float)
                np.testing.assert_allclose(g.data, expected, rtol=1e-9, atol=1e-9)

    @rule(key=values, seed=st.integers(0, 99))
    def second_derivative(self, key, seed):
        """Of a random combination of all first derivatives, by all leaves."""
        pair = self.heap[key]
        if not pair.line or paths(pair) > 20 or not self.gradients:
            return
        rng = np.random.default_rng(seed)
        leaves = [self.heap[leaf] for leaf in self.gradients]
        tensors, g = [leaf.tensor for leaf in leaves], rng.choice([-1.0, 0.5, 2.0], pair.tensor.shape)
        weights = [rng.choice([-1.0, 0.5, 2.0], t.shape) for t in tensors]
        settings = {"allow_unused": True, "retain_graph": True}
        if complaint := self.refused(pair):
            return complains(complaint, lambda: grad(pair.tensor, tensors, g, create_graph=True, **settings))
        first = grad(pair.tensor, tensors, g, create_graph=True, **settings)
        total = sum((f * w).sum() for f, w in zip(first, weights))
        second = [Tensor(np.zeros(t.shape)) for t in tensors]
        if total.requires_grad:
            second = grad(total, tensors, **settings)
        once, twice = {}, {}
        for scalar, seed in zip(pair.scalars.ravel(), np.ravel(g)):
            differentiable_partials(scalar, Scalar(seed), once)
        for leaf, f, w in zip(leaves, first, weights):
            expected = each(lambda s: number(once.get(s, 0.0)), leaf.scalars).astype(float)
            np.testing.assert_allclose(f.data, expected, rtol=1e-9, atol=1e-9)
            for scalar, weight in zip(leaf.scalars.ravel(), np.ravel(w)):
                if scalar in once:
                    partials(once[scalar], weight, twice)
        for leaf, found in zip(leaves, second):
            expected = each(lambda s: twice.get(s, 0.0), leaf.scalars).astype(float)
            np.testing.assert_allclose(found.data, expected, rtol=1e-9, atol=1e-9)

    @rule(key=leaves)
    def zero_grad(self, key):
        self.heap[key].tensor.grad = self.gradients[key] = None

    # -- what must always hold

    @invariant()
    def values_agree(self):
        """Through every view of memory that was written to, too."""
        for pair in self.heap.values():
            np.testing.assert_allclose(pair.tensor.data, floats(pair.scalars), rtol=1e-12, atol=1e-12)

    @invariant()
    def gradients_agree(self):
        for key, expected in self.gradients.items():
            found = self.heap[key].tensor.grad
            assert (found is None) == (expected is None)
            if found is not None:
                np.testing.assert_allclose(found.data, expected, rtol=1e-9, atol=1e-9)

    @invariant()
    def nothing_leaks(self):
        """Every node alive is one that some Tensor in hand was made from."""
        needed = set().union(*(_below(pair.tensor._node) for pair in self.heap.values() if pair.line))
        assert {node for ref in self.nodes if (node := ref()) is not None} <= needed


def complains(complaint, call):
    """pytest.raises would hold on to the frames, hence to the tensors in them."""
    try:
        call()
    except GraphError as problem:
        assert re.search(complaint, str(problem))
    else:
        raise AssertionError(f"backward passed over: {complaint}")


def below(line):
    found, todo = {line}, [line]
    while todo:
        new = [x for x in todo.pop().below if x not in found]
        found.update(new)
        todo.extend(new)
    return found


def fit(a, b):
    return all(1 in (m, n) or m == n for m, n in zip(a.tensor.shape[::-1], b.tensor.shape[::-1]))


def paths(pair):
    """How many paths the oracle would walk for the busiest scalar."""

    def count(s):
        return sum(count(p) for p, _ in s.parents) or 1

    return max((count(s) for s in pair.scalars.ravel()), default=1)


TestEngine = pytest.mark.filterwarnings("ignore::tinyae.errors.GradientWarning")(Engine.TestCase)  # it forgets much
TestEngine.settings = settings(stateful_step_count=30)
