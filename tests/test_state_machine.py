"""Any order of calls against a naive engine that expands every tensor to scalars and sums over all paths.

The oracle knows no arrays, no broadcasting rules, no accumulation tricks: a scalar holds its value and the partial
derivative with respect to each scalar that it was made from.
"""

import gc
import weakref
from contextlib import nullcontext

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tinyae import Tensor, no_grad
from tinyae.engine import _below


class Scalar:
    """One number of the oracle: parents as (scalar, partial derivative)."""

    def __init__(self, value, parents=()):
        self.value, self.parents = value, parents


def partials(scalar, seed, into):
    """Adds to each leaf seed times the product along every path from scalar to it. Nothing is shared, on purpose."""
    if not scalar.parents:
        into[scalar] = into.get(scalar, 0.0) + seed
    for parent, partial in scalar.parents:
        partials(parent, seed * partial, into)


class Pair:
    """A Tensor, the oracle's object array of Scalars, and whether a gradient reaches it."""

    def __init__(self, tensor, scalars, tracked):
        self.tensor, self.scalars, self.tracked = tensor, scalars, tracked


def each(function, *arrays):
    return np.vectorize(function, otypes=[object])(*arrays)


def cut(pair):
    return each(lambda s: Scalar(s.value), pair.scalars)


BINARY = {
    "add": (lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    "sub": (lambda a, b: a - b, lambda a, b: (1.0, -1.0)),
    "mul": (lambda a, b: a * b, lambda a, b: (b, a)),
}
SHAPES = [(), (1,), (2,), (2, 1), (1, 2), (2, 2)]
VALUES = [-1.5, -0.5, 0.5, 1.0, 2.0]


def array(scalars):
    return np.asarray(scalars, dtype=object)


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

    def made(self, tensor, scalars, tracked):
        assert tensor.shape == scalars.shape and tensor.requires_grad == tracked
        np.testing.assert_allclose(tensor.data, each(lambda s: s.value, scalars).astype(float), rtol=1e-12)
        key = len(self.nodes)
        self.heap[key] = Pair(tensor, scalars, tracked)
        self.nodes.append(weakref.ref(tensor._node) if tracked else lambda: None)
        return key

    @rule(targets=(leaves, values), shape=st.sampled_from(SHAPES), seed=st.integers(0, 99))
    def leaf(self, shape, seed):
        values = np.random.default_rng(seed).choice(VALUES, shape)
        key = self.made(Tensor(values, requires_grad=True), array(each(Scalar, values)), True)
        self.gradients[key] = None
        return key

    @rule(target=values, a=values, b=values, name=st.sampled_from(sorted(BINARY)), quiet=st.booleans())
    def binary(self, a, b, name, quiet):
        a, b = self.heap[a], self.heap[b]
        if not fit(a, b) or paths(a) + paths(b) > 400 or max(abs(p.tensor).max().item() for p in (a, b)) > 1e3:
            return multiple()
        forward, slopes = BINARY[name]
        tracked = not quiet and (a.tracked or b.tracked)

        def combine(s, t):
            ways = zip((s, t), slopes(s.value, t.value), (a.tracked, b.tracked))
            return Scalar(forward(s.value, t.value), [(x, d) for x, d, on in ways if on and tracked])

        scalars = array(each(combine, a.scalars, b.scalars))
        with no_grad() if quiet else nullcontext():
            return self.made(forward(a.tensor, b.tensor), scalars, tracked)

    @rule(target=values, key=values, axis=st.sampled_from([None, 0, -1]))
    def reduce(self, key, axis):
        pair = self.heap[key]
        if not pair.tensor.ndim:
            return multiple()
        rows = pair.scalars.reshape(1, -1) if axis is None else np.moveaxis(pair.scalars, axis, -1)
        scalars = np.empty(rows.shape[:-1], object)
        for i in np.ndindex(*scalars.shape):
            row = rows[i].tolist()
            scalars[i] = Scalar(sum(s.value for s in row), [(s, 1.0) for s in row] if pair.tracked else [])
        return self.made(pair.tensor.sum(axis), scalars.reshape(()) if axis is None else scalars, pair.tracked)

    @rule(target=values, key=values, kind=st.sampled_from(["flatten", "transpose", "first", "twice"]))
    def view(self, key, kind):
        pair = self.heap[key]
        if kind in ("first", "twice") and not pair.tensor.ndim:
            return multiple()
        index = {"first": 0, "twice": [0, -1, 0]}.get(kind)
        change = {"flatten": lambda x: x.reshape(-1), "transpose": lambda x: x.T}.get(kind, lambda x: x[index])
        return self.made(change(pair.tensor), array(change(pair.scalars)), pair.tracked)

    @rule(target=values, key=values)
    def detach(self, key):
        pair = self.heap[key]
        return self.made(pair.tensor.detach(), array(each(lambda s: Scalar(s.value), pair.scalars)), False)

    @rule(key=consumes(values))
    def drop(self, key):
        if key not in self.gradients:
            del self.heap[key]

    @rule(key=values, seed=st.integers(0, 99))
    def backward(self, key, seed):
        pair = self.heap[key]
        if not pair.tracked:
            return
        g = np.random.default_rng(seed).choice([-1.0, 0.5, 2.0], pair.tensor.shape)
        pair.tensor.backward(g, retain_graph=True)
        found = {}
        for scalar, seed in zip(pair.scalars.ravel(), np.ravel(g)):
            partials(scalar, seed, found)
        below = _below(pair.tensor._node)
        for leaf, before in self.gradients.items():
            if self.heap[leaf].tensor._node in below:
                add = each(lambda s: found.get(s, 0.0), self.heap[leaf].scalars).astype(float)
                self.gradients[leaf] = add if before is None else before + add

    @rule(key=leaves)
    def zero_grad(self, key):
        self.heap[key].tensor.grad = self.gradients[key] = None

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
        needed = set().union(*(_below(pair.tensor._node) for pair in self.heap.values() if pair.tracked))
        assert {node for ref in self.nodes if (node := ref()) is not None} <= needed


def fit(a, b):
    return all(1 in (m, n) or m == n for m, n in zip(a.tensor.shape[::-1], b.tensor.shape[::-1]))


def paths(pair):
    """How many paths the oracle would walk for the busiest scalar."""

    def count(s):
        return sum(count(p) for p, _ in s.parents) or 1

    return max((count(s) for s in pair.scalars.ravel()), default=1)


TestEngine = Engine.TestCase
TestEngine.settings = settings(stateful_step_count=25)
