"""Break each rule in every small way, one at a time, and see the suite notice: `pytest -m mutation -s`.

A mutant is killed if one of the tests that its op gets in the default run fails. What survives is either a hole in the
suite or means the same as the original; the latter are listed below, each with the reason.
"""

import functools
import importlib
import inspect
import itertools
import re
import shutil
import subprocess
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from mutants import mutants, row_mutants

from tinyae import kernels
from tinyae.kernels import elementwise
from tinyae.engine import OPS

pytestmark = pytest.mark.mutation
HERE = Path(__file__).parent
BY_NAME = "ops", "shape", "linalg", "conv", "random"  # tests of points that the loops leave out: kinks, ties

# {op and argument, or helper: {mutant: why it computes the same}}
_CAST = "a whole number is the same in any dtype, and the engine gives the gradient its parent's"
_SHARED = (
    "cast(sum(chosen, axis=axis, keepdims=keepdims), dtype=g.dtype) -> sum(chosen, axis=axis, keepdims=keepdims)"
)
_SAME_SHAPE = "a reshape to the shape that is already there: only time is lost"
_NUMPYS_INTS = "NumPy's ints serve as well"
EQUIVALENT = {
    "matmul.a": {"_row(a_shape) -> a_shape": "summing down to (k,), or to (1, k) and then reshaping, is the same"},
    "matmul.b": {"len(b_shape) -> b_shape": "one product for each matrix of a batch, and their sum: only time is lost"},
    "pad.x": {"any(pair) -> pair": "an axis that was not padded is scattered onto itself: only time is lost"},
    "_norm.x": {"y + (y == 0) -> y - (y == 0)": "where y is 0 so is x: any divisor but 0 will do"},
    "max.x": {_SHARED: _CAST},
    "min.x": {_SHARED: _CAST},
    "pow.a": {
        "a + (a == 0) * (b == 0) -> a - (a == 0) * (b == 0)": "where both are 0 any base but 0 will do: its factor is b"
    },
    "transpose.x": {
        "tuple(np.argsort(np.asarray(axes) % len(axes))) -> np.argsort(np.asarray(axes) % len(axes))":
        "NumPy takes an array of axes as well as a tuple",
    },
    "_axes": {"tuple(range(ndim)) -> range(ndim)": "callers ask whether an axis is in it, or how many there are"},
    "_geometry": {"tuple(kernel) -> kernel": "it is a tuple but for a caller of _conv2d_weight that has a list"},
    "_ints": {"tuple(value) -> value": "a list is made a tuple at the end"},
    "_pairs": {"int(before) -> before": _NUMPYS_INTS, "int(after) -> after": _NUMPYS_INTS},
    "_rows": {
        "x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1])) -> "
        "reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))": _SAME_SHAPE,
    },
    "_shortened": {
        "max(s, d) -> max(d, s)": "both are ints",
        "zip(extra, geometry.stride, geometry.dilation) -> zip(extra, geometry.dilation, geometry.stride)":
        "their larger one is asked for",
    },
    "_spread": {
        "not keepdims and axis is not None -> not keepdims or axis is not None": _SAME_SHAPE,
        "not keepdims and axis is not None -> not keepdims": _SAME_SHAPE,
        "not keepdims and axis is not None -> axis is not None": _SAME_SHAPE,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def asked():
    """The suite's own questions: one function of the op's name, and the tests of special points, by name."""
    profile = {"derandomize": True, "phases": [Phase.generate], "report_multiple_bugs": False}
    settings.register_profile("mutation", settings.get_profile("dev"), **profile)
    before = settings.get_current_profile_name()
    settings.load_profile("mutation")
    modules = [importlib.import_module(f"test_{name}") for name in BY_NAME if (HERE / f"test_{name}.py").exists()]
    yield modules[0], [test for module in modules for test in special(module)]
    settings.load_profile(before)


def special(module):
    """Tests of given points: all arguments by parametrize, no fixture, no random example."""
    for name, test in vars(module).items():
        if not name.startswith("test_") or hasattr(test, "is_hypothesis_test"):
            continue
        marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        names = [n if isinstance(n, str) else ",".join(n) for n in (m.args[0] for m in marks)]
        if set(inspect.signature(test).parameters) != {n.strip() for part in names for n in part.split(",")} - {""}:
            continue
        for row in itertools.product(*(m.args[1] for m in marks)):
            given = {}
            for part, value in zip(names, row):
                keys, value = [n.strip() for n in part.split(",")], getattr(value, "values", value)
                given |= zip(keys, [value] if len(keys) == 1 else value)
            yield functools.partial(test, **given)


def dies(*tests):
    """Whether one of the tests fails, by whatever exception."""
    for test in tests:
        try:
            test()
        except (Exception, pytest.fail.Exception):  # the latter, of pytest.raises, is no Exception
            return True
    return False


class Count:
    """Killed, survived and excused; prints as it goes."""

    def __init__(self, say):
        self.say, self.killed, self.survivors, self.excused, self.seen = say, 0, [], set(), set()

    def add(self, who, label, killed):
        self.seen.add(who)
        self.killed += killed
        if not killed and label in EQUIVALENT.get(who, ()):
            self.excused.add((who, label))
        elif not killed:
            self.survivors.append((who, label))
            self.say(f"    SURVIVED {who}: {label}")

    def verdict(self):
        for who, label in sorted(self.excused):
            self.say(f"    equivalent, {who}: {label}: {EQUIVALENT[who][label]}")
        share = self.killed / max(1, self.killed + len(self.survivors))
        self.say(f"{self.killed} mutants killed, {len(self.survivors)} survived, {len(self.excused)} are equivalent: "
                 f"{share:.1%} killed")  # fmt: skip
        assert self.killed > 0 and share >= 0.95, self.survivors
        stale = {(who, label) for who in self.seen for label in EQUIVALENT.get(who, ())} - self.excused
        assert not stale, "no such mutant, or it dies: off the list with it"


@pytest.fixture
def count(capsys):
    def say(text):
        with capsys.disabled():
            print(text, flush=True)

    say("")
    return Count(say)


# -- rules in Python ------------------------------------------------------------------------------------------------


@contextmanager
def replaced(op, argument, rule):
    before = op.rules[argument]
    op.rules[argument] = (rule, None, before[2])
    op._recipes.clear()
    try:
        yield
    finally:
        op.rules[argument] = before
        op._recipes.clear()


def questions(test_ops, name, *more):
    tests = test_ops.test_gradient, test_ops.test_gradient_is_an_array_of_its_own, *more
    return [functools.partial(test, name=name) for test in tests]


def test_unbroken(asked):
    """The questions themselves pass, so that a kill means something."""
    test_ops, named = asked
    for test in [q for name, op in OPS.items() if op.rules for q in questions(test_ops, name)] + named:
        test()


def test_rules(asked, count):
    test_ops, named = asked
    for name, op in sorted(OPS.items()):
        for argument, (rule, _, _) in list(op.rules.items()):
            for label, mutant in mutants(rule):
                with replaced(op, argument, mutant):
                    who = f"{name}.{argument or '*'}"
                    count.add(who, label, dies(*questions(test_ops, name), *named))
    count.verdict()


def helpers():
    """{(module, function): names of the ops whose rules call it} for the private functions that rules share."""
    found = {}
    for name, op in sorted(OPS.items()):
        for rule, _, _ in op.rules.values():
            todo, seen = [rule], set()
            while todo:
                caller = todo.pop()
                for called in caller.__code__.co_names:
                    helper = caller.__globals__.get(called)
                    if isinstance(helper, types.FunctionType) and called.startswith("_") and helper not in seen:
                        seen.add(helper)
                        if helper.__module__.startswith("tinyae.ops"):
                            todo.append(helper)
                            found.setdefault(helper, []).append(name)
    return found


def test_helpers_of_rules(asked, count):
    test_ops, named = asked
    for helper, names in helpers().items():
        for label, mutant in mutants(helper, is_rule=False):
            modules = {OPS[n].definition.__globals__["__name__"] for n in names} | {helper.__module__}
            places = [m for m in map(importlib.import_module, modules) if vars(m).get(helper.__name__) is helper]
            for place in places:
                setattr(place, helper.__name__, mutant)
            try:
                asks = [q for n in names for q in questions(test_ops, n, test_ops.test_forward)]
                count.add(helper.__name__, label, dies(*asks, *named))
            finally:
                for place in places:
                    setattr(place, helper.__name__, helper)
    count.verdict()


# -- rows in C ------------------------------------------------------------------------------------------------------


def rows(text):
    """(name, kept, forward, backward) of each ACTIVATION(...), split at the commas outside of parentheses."""
    for match in re.finditer(r"^ACTIVATION\(", text, re.MULTILINE):
        parts, depth, start = [], 1, match.end()
        for i in range(match.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[i], 0)
            if depth == 0 or (depth == 1 and text[i] == ","):
                parts.append(" ".join(text[start:i].split()))
                start = i + 1
            if depth == 0:
                break
        yield parts


def broken_library(folder):
    """(cffi's ffi, the library, [(op, "forward" or "backward", label)] of its rows) with every mutant as a further row.

    One build serves all, portable C only and without the optimiser's finest.
    """
    from cffi import FFI

    csrc = HERE.parent / "csrc"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not csrc.exists():
        pytest.skip("csrc/ is not beside tests/")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    copy = shutil.copytree(csrc, folder / "csrc")
    text, made = (copy / "activations.def").read_text(), []
    originals = list(rows(text))
    made += [(name, "original", "") for name, *_ in originals]
    for name, kept, forward, backward in originals:
        for label, changed in row_mutants(forward):
            text += f"ACTIVATION({name}_{len(made)}, {kept}, {changed}, {backward})\n"
            made.append((name, "forward", label))
        for label, changed in row_mutants(backward):
            text += f"ACTIVATION({name}_{len(made)}, {kept}, {forward}, {changed})\n"
            made.append((name, "backward", label))
    (copy / "activations.def").write_text(text)
    library = folder / "broken.so"
    options = ["-std=c11", "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-pthread"]
    command = [compiler, *options, *sorted(map(str, copy.glob("*.c"))), "-o", str(library), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ffi = FFI()
    ffi.cdef((copy / "tinyae.h").read_text().split("/* cdef begin */")[1].split("/* cdef end */")[0])
    return ffi, ffi.dlopen(str(library)), made


def test_rows_in_c(asked, count, tmp_path, monkeypatch):
    if kernels.info()["backend"] == "numpy":
        pytest.skip("the backend is NumPy: there is no C to test")
    test_ops, named = asked
    ffi, lib, made = broken_library(tmp_path)
    monkeypatch.setattr(elementwise, "lib", lib)
    monkeypatch.setattr(elementwise, "address", ffi.from_buffer)
    assert lib.tae_use_isa(b"scalar") == 0
    for number, (name, part, label) in enumerate(made):
        forward, backward = elementwise._with_setting(
            name, elementwise._unary(number), elementwise._unary_backward(number)
        )
        monkeypatch.setitem(kernels.FORWARD, name, forward)
        rule, _, names = OPS[name].rules["x"]
        monkeypatch.setitem(OPS[name].rules, "x", (rule, backward, names))
        tests = {
            "forward": [functools.partial(test_ops.test_kernel_is_the_definition, name=name, dtype=dtype, isa="scalar")
                        for dtype in map(test_ops.np.dtype, ("float32", "float64"))],
            "backward": [functools.partial(test_ops.test_kernel_is_the_rule, key=(name, "x"), isa="scalar")],
        }  # fmt: skip
        if part == "original":
            for test in [t for group in tests.values() for t in group]:
                test()
        else:
            count.add(f"{name} {part} in C", label, dies(*tests[part]))
    count.verdict()
