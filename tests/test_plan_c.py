"""csrc/plan.c, csrc/chain.inc and kernels/plan.py: each instruction against NumPy in float64, on every instruction set,
with the same bits on any number of threads, and no byte touched that is not an output's."""

import math
import threading

import numpy as np
import pytest

from tinyae import kernels
from tinyae.errors import BackendError, DataError
from tinyae.kernels import plan
from tinyae.kernels.plan import Program

if kernels.info()["backend"] != "c":
    pytest.skip("the backend is NumPy: there is no C to test", allow_module_level=True)

DTYPES = [np.float32, np.float64]
SIZES = [(0, 3), (3, 0), (1, 1), (1, 33), (2, 31), (3, 7), (5, 16), (7, 17), (33, 3), (9, 784), (3, 2049), (2, 9000),
         (700, 65), (30000, 1)]  # fmt: skip


@pytest.fixture(autouse=True)
def same_number_of_threads_afterwards():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


class Bench:
    """Buffers in an arena that is full of NaN wherever no array is: read beyond one, and the result is NaN."""

    def __init__(self):
        self.buffers, self.values, self.end, self.written = [], [], 64, []

    def add(self, x, writes=False):
        """The number of a new buffer that holds x at first."""
        self.buffers.append(("arena", self.end, x.nbytes))
        self.values.append(np.array(x, order="C"))
        self.end += x.nbytes + 64 + -x.nbytes % 8
        if writes:
            self.written.append(len(self.buffers) - 1)
        return len(self.buffers) - 1

    def run(self, *instructions):
        """What is in the written buffers afterwards; the same bits on 1, 2 and 3 threads."""
        program, results = Program(self.buffers, list(instructions), self.end), []
        everything = program._arena
        outputs = np.zeros(self.end, bool)
        for number in self.written:
            _, offset, size = self.buffers[number]
            outputs[offset : offset + size] = True
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            everything[:] = 0xFF
            for number, value in enumerate(self.values):
                program.array(number, value.shape, value.dtype)[...] = value
            before = everything.copy()
            program.run({})
            assert np.array_equal(everything[~outputs], before[~outputs]), "a byte beside the outputs has changed"
            results.append(everything.copy())
        same = np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
        assert same, "the bits depend on the number of threads"
        found = [program.array(n, self.values[n].shape, self.values[n].dtype).copy() for n in self.written]
        return found[0] if len(found) == 1 else found


def code(dtype):
    return int(np.dtype(dtype) == np.float64)


def close(found, expected, dtype, factor=1.0):
    tolerance = (2e-6 if dtype == np.float32 else 1e-14) * factor
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def empty(shape, dtype=np.float64):
    return np.full(shape, np.nan, dtype)


# -- chains ---------------------------------------------------------------------------------------------------------

UNARY = {"copy": lambda a: a, "neg": np.negative, "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil,
         "round": np.round, "sin": np.sin, "cos": np.cos, "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "exp": np.exp,
         "relu": lambda a: np.maximum(a, 0), "square": np.square}  # fmt: skip
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
          "minimum": np.minimum, "pow": np.power, "eq": np.equal, "ne": np.not_equal, "lt": np.less,
          "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}  # fmt: skip
SPECIAL = [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3e6, 8388607.5, -8388609.0, 1e30, np.inf, -np.inf, np.nan]
SPECIAL = np.array(SPECIAL)


def chain(dtype, shape, operands, ops, outputs):
    sizes = {"dtype": code(dtype), "rows": shape[0], "cols": shape[1]}
    return "chain", {**sizes, "operands": operands, "ops": ops, "outputs": outputs}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
@np.errstate(all="ignore")
def test_ops_on_special_values(isa, name, dtype):
    """Every pair of them; NaN and infinities as NumPy has them."""
    a, b = (x.ravel().astype(dtype) for x in np.meshgrid(SPECIAL, SPECIAL))
    if name in ("sin", "cos", "exp", "sigmoid"):
        a = np.where(np.abs(a) < 1e5, a, np.nan).astype(dtype)
    bench, n = Bench(), 2 if name in BINARY else 1
    numbers = [bench.add(a), bench.add(b)][:n]
    out = bench.add(empty(a.shape, dtype), True)
    ops = [(name, 0, [("o", i) for i in range(n)])]
    found = bench.run(chain(dtype, (1, a.size), [(i, 0, "full") for i in numbers], ops, [("store", 0, out, 0)]))
    expected = BINARY[name](a, b) if n == 2 else UNARY[name](a.astype(np.float64))
    close(found, np.asarray(expected, np.float64).astype(dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@np.errstate(all="ignore")
def test_where_and_clip_on_special_values(isa, dtype):
    a = SPECIAL.astype(dtype)
    bench = Bench()
    x, clipped, chosen = bench.add(a), bench.add(empty(a.shape, dtype), True), bench.add(empty(a.shape, dtype), True)
    ops = [("clip", 0, [("o", 0)], -1.5, 2.0), ("where", 1, [("o", 0), ("r", 0), ("o", 1)])]
    operands = [(x, 0, "full"), ("number", 7.0)]
    found = bench.run(chain(dtype, (4, 4), operands, ops, [("store", 0, clipped, 0), ("store", 1, chosen, 0)]))
    np.testing.assert_array_equal(found[0], np.clip(a, -1.5, 2.0))
    np.testing.assert_array_equal(found[1], np.where(a, np.clip(a, -1.5, 2.0), 7.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_activation_and_its_derivative(isa, dtype, rng):
    x, g = (rng.uniform(0.1, 2.0, (5, 37)).astype(dtype) for _ in range(2))
    for name in plan.UNARY:
        if name is None:
            continue
        setting = 0.3
        forward, backward = kernels.FORWARD[name], kernels.BACKWARD[name, "x"]
        settings = {"leaky_relu": {"slope": setting}, "elu": {"alpha": setting}}.get(name, {})
        bench = Bench()
        at = [bench.add(x), bench.add(g), *(bench.add(empty(x.shape, dtype), True) for _ in range(2))]
        ops = [(name, 0, [("o", 0)], setting), (name + ".vjp", 1, [("o", 1), ("o", 0)], setting)]
        outputs = [("store", 0, at[2], 0), ("store", 1, at[3], 0)]
        y, d = bench.run(chain(dtype, x.shape, [(at[0], 0, "full"), (at[1], 0, "full")], ops, outputs))
        np.testing.assert_array_equal(y, forward(x, **settings), err_msg=name)
        np.testing.assert_array_equal(d, backward(g, x, **settings), err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIZES)
def test_operands_of_every_mode_and_outputs_of_every_kind(isa, shape, dtype, rng):
    """(x row + column) scalar - 3, in two registers, then its sums; what is one value also goes into an activation."""
    rows, cols = shape
    x, row, column = (rng.standard_normal(s).astype(dtype) for s in (shape, (1, cols), (rows, 1)))
    bench = Bench()
    at = [bench.add(v) for v in (x, row, column, np.full(1, 1.5, dtype))]
    outs = [bench.add(empty(s, dtype), True) for s in (shape, shape, (), (cols,), (rows,))]
    operands = [*((i, 0, mode) for i, mode in zip(at, ("full", "row", "column", "scalar"))), ("number", 3.0)]
    ops = [
        ("mul", 0, [("o", 0), ("o", 1)]), ("add", 0, [("r", 0), ("o", 2)]), ("mul", 1, [("r", 0), ("o", 3)]),
        ("sub", 0, [("r", 1), ("o", 4)]), ("relu", 1, [("o", 2)]), ("relu.vjp", 2, [("o", 3), ("o", 4)]),
        ("sub", 1, [("r", 1), ("r", 2)]),
    ]  # fmt: skip
    kinds = [("store", 0), ("store", 1), ("sum", 0), ("sum_rows", 0), ("sum_cols", 0)]
    found = bench.run(chain(dtype, shape, operands, ops, [(kind, r, out, 0) for (kind, r), out in zip(kinds, outs)]))
    exact = (x.astype(np.float64) * row + column) * 1.5 - 3.0
    close(found[0], exact, dtype, 4)
    close(found[1], np.broadcast_to(np.maximum(column, 0) - 1.5, shape), dtype)
    size = np.abs(exact)
    for got, axis in ((found[2], None), (found[3], 0), (found[4], 1)):
        limit = (1e-6 if dtype == np.float32 else 2e-15) * (size.sum(axis) + 1)
        assert (np.abs(got - exact.sum(axis)) <= limit).all()


@pytest.mark.parametrize("shape", [(1, 5), (7, 33), (40, 500), (3, 5000)])
def test_in_place_and_read_again(isa, shape, rng):
    """The output is the memory of an operand that a later op reads: it must see the old values."""
    x = rng.standard_normal(shape)
    bench = Bench()
    at, total = bench.add(x, True), bench.add(empty(()), True)
    ops = [("square", 0, [("o", 0)]), ("add", 1, [("r", 0), ("o", 0)])]
    found, s = bench.run(chain(np.float64, shape, [(at, 0, "full")], ops, [("store", 0, at, 0), ("sum", 1, total, 0)]))
    np.testing.assert_array_equal(found, x * x)
    close(s, (x * x + x).sum(), np.float64, x.size)


def test_a_large_chain_is_cut_and_its_sums_are_exact_for_integers(isa, rng):
    x = rng.integers(-8, 8, (1000, 300)).astype(np.float32)
    bench = Bench()
    at, *outs = bench.add(x), *(bench.add(empty(s, np.float32), True) for s in ((), (300,), (1000,)))
    outputs = [(kind, 0, out, 0) for kind, out in zip(("sum", "sum_rows", "sum_cols"), outs)]
    found = bench.run(chain(np.float32, x.shape, [(at, 0, "full")], [("copy", 0, [("o", 0)])], outputs))
    for got, axis in zip(found, (None, 0, 1)):
        np.testing.assert_array_equal(got, x.sum(axis))


# -- the other instructions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m, n, k", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (33, 17, 31), (128, 200, 96)])
def test_gemm(isa, m, n, k, dtype, rng):
    """With a transposed A, offsets, bias and activation; then a stack."""
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((k, m), (k, n), (n,)))
    bench = Bench()
    c = bench.add(empty((m, n + 2), dtype), True)
    wide = bench.add(np.concatenate([np.full(3, np.nan), bias]).astype(dtype))
    settings = {"dtype": code(dtype), "m": m, "n": n, "k": k}
    settings |= {"a": (bench.add(a), 0, 1, m), "b": (bench.add(b), 0, n, 1)}
    found = bench.run(("gemm", settings | {"c": (c, 1, n + 2), "bias": (wide, 3), "activation": "relu", "alpha": 2.0}))
    exact = np.maximum(2 * a.astype(np.float64).T @ b + bias, 0)
    assert np.isnan(found[:, [0, -1]]).all(), "what is beside the rows stays"
    close(found[:, 1:-1], exact, dtype, 40)

    bench = Bench()
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((2, m, k), (3, k, n)))
    before = rng.standard_normal((2, 3, m, n)).astype(dtype)
    c, a_at, b_at = bench.add(before, True), bench.add(a), bench.add(b)
    stack = {"sizes": (2, 3), "a_steps": (m * k, 0), "b_steps": (0, k * n), "beta": 0.5}
    settings |= {"a": (a_at, 0, k, 1), "b": (b_at, 0, n, 1), "c": (c, 0)}
    close(bench.run(("gemm_stack", settings | stack)), a.astype(float)[:, None] @ b + 0.5 * before, dtype, 40)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outer, n, inner", [(1, 1, 1), (3, 33, 1), (2, 7, 5), (0, 3, 2), (300, 40, 3), (3, 0, 4)])
def test_reduce(isa, outer, n, inner, dtype, rng):
    x = rng.integers(-9, 9, (outer, n, inner)).astype(dtype)
    for kind in plan.REDUCTIONS if n else ["sum"]:
        bench = Bench()
        out = bench.add(np.full((outer, inner), 77, np.int64 if "arg" in kind else dtype), True)
        settings = {"kind": kind, "dtype": code(dtype), "outer": outer, "n": n, "inner": inner}
        found = bench.run(("reduce", settings | {"x": (bench.add(x), 0), "out": (out, 0)}))
        np.testing.assert_array_equal(found, getattr(np, kind)(x, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 33), (300, 70), (0, 3)])
def test_rows_and_their_derivatives(isa, shape, dtype, rng):
    x, g = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    exact = x.astype(np.float64)
    log_total = np.log(np.exp(exact).sum(1, keepdims=True))
    sizes = {"dtype": code(dtype), "rows": shape[0], "n": shape[1]}
    softmax = np.exp(exact - log_total)
    for kind, expected in (("softmax", softmax), ("log_softmax", exact - log_total), ("logsumexp", log_total[:, 0])):
        bench = Bench()
        out = bench.add(empty(expected.shape, dtype), True)
        close(bench.run(("rows", sizes | {"kind": kind, "x": (bench.add(x), 0), "out": (out, 0)})), expected, dtype, 4)
    g64 = g.astype(np.float64)
    by_softmax = softmax * (g64 - (g64 * softmax).sum(1, keepdims=True))
    by_log = g64 - softmax * g64.sum(1, keepdims=True)
    for kind, y, expected in (("softmax", softmax, by_softmax), ("log_softmax", exact - log_total, by_log)):
        bench = Bench()
        at, y = bench.add(g, True), bench.add(y.astype(dtype))
        found = bench.run(("rows_backward", sizes | {"kind": kind, "g": (at, 0), "y": (y, 0), "out": (at, 0)}))
        close(found, expected, dtype, 20)


def strided_of(x):
    return [s // x.itemsize for s in x.strides]


VIEWS = {
    "as it is": lambda x: x, "transposed": lambda x: x.T, "reversed": lambda x: x[::-1, :, ::-1],
    "every other": lambda x: x[::2, :, 1::2], "axes turned": lambda x: x.transpose(1, 2, 0),
    "inner pair turned": lambda x: x.transpose(0, 2, 1), "repeated": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "one row": lambda x: x[0, 0], "four axes": lambda x: x[None, :, :, ::-1],
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_copy(isa, view, dtype, rng):
    """From every view into a contiguous array and the other way round, plain and added, of every type."""
    for shape in ((1, 2, 3), (5, 33, 17), (3, 90, 80)):
        base = np.abs(rng.integers(0, 99, shape))
        for source in (dtype, np.uint8, np.bool_, np.int64, np.float32) if shape[0] < 5 else (dtype,):
            x = VIEWS[view](base.astype(source))
            memory = x if x.base is None else x.base
            start = x.ctypes.data - memory.ctypes.data
            kinds = {np.float32: 0, np.float64: 1, np.uint8: 2, np.bool_: 3, np.int64: 4}
            for add in (False, True):
                bench = Bench()
                out = bench.add(np.ones(x.shape, dtype), True)
                settings = {"dtype": code(dtype), "from": kinds[source], "shape": x.shape, "add": add}
                settings["x"] = bench.add(memory), start // x.itemsize, strided_of(x)
                found = bench.run(("copy", settings | {"out": (out, 0, strided_of(np.empty(x.shape, dtype)))}))
                np.testing.assert_array_equal(found, x.astype(dtype) + add)
        if view != "repeated":
            target = np.zeros(shape, dtype)
            place = VIEWS[view](target)
            start = place.ctypes.data - target.ctypes.data
            x = rng.standard_normal(place.shape).astype(dtype)
            bench = Bench()
            settings = {"dtype": code(dtype), "shape": x.shape, "x": (bench.add(x), 0, strided_of(x))}
            out = bench.add(target, True)
            found = bench.run(("copy", settings | {"out": (out, start // x.itemsize, strided_of(place))}))
            place[...] = x
            np.testing.assert_array_equal(found, target)


def test_copy_adds_where_elements_of_out_are_one(isa):
    x = np.arange(2000.0 * 3).reshape(2000, 3)
    bench = Bench()
    out = bench.add(np.zeros(3), True)
    settings = {"dtype": 1, "shape": x.shape, "x": (bench.add(x), 0, (3, 1))}
    np.testing.assert_array_equal(bench.run(("copy", settings | {"out": (out, 0, (0, 1)), "add": True})), x.sum(0))
    bench = Bench()  # windows that overlap, as fold adds them
    out = bench.add(np.zeros(2002), True)
    settings["x"] = bench.add(x), 0, (3, 1)
    expected = np.zeros(2002)
    for i in range(3):
        expected[i : i + 2000] += x[:, i]
    np.testing.assert_array_equal(bench.run(("copy", settings | {"out": (out, 0, (1, 1)), "add": True})), expected)
    bench = Bench()  # all into one, so many that threads would be in each other's way
    x = np.arange(300_000.0)
    out = bench.add(np.zeros(1), True)
    one = {"dtype": 1, "shape": x.shape, "x": (bench.add(x), 0, (1,)), "out": (out, 0, (0,)), "add": True}
    assert bench.run(("copy", one)) == x.sum()
    bench = Bench()
    settings["x"], out = (bench.add(np.ones((2000, 3))), 0, (3, 1)), bench.add(np.zeros(2002), True)
    with pytest.raises(BackendError, match="copy: strides .* write one element twice"):
        bench.run(("copy", settings | {"out": (out, 0, (1, 1))}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 33, 5000, 400_000])
def test_fill_and_noise(isa, n, dtype):
    bench = Bench()
    out = bench.add(empty(n, dtype), True)
    assert (bench.run(("fill", {"dtype": code(dtype), "n": n, "value": -2.5, "out": (out, 0)})) == -2.5).all()
    for kind in ("uniform", "normal", "bernoulli") if n < 400_000 else ("normal",):
        expected = np.empty(n, dtype)
        assert kernels.noise(kind, expected, 5, 9, 0.3)
        program = Program(
            [("arena", 0, n * expected.itemsize)],
            [("noise", dict(kind=kind, dtype=code(dtype), n=n, key=5, counter=2, counter_step=7, p=0.3, out=(0, 0)))],
            n * expected.itemsize,
        )
        for threads in (1, 3):
            kernels.set_num_threads(threads)
            program.set_counter(0, 2)
            program.run({})
            program.run({})
            assert program.counter(0) == 16
            np.testing.assert_array_equal(program.array(0, (n,), dtype), expected, "the second run has counter 2 + 7")


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(isa, dtype, rng):
    for source, scale in ((dtype, 1.0), (dtype, 0.5), (np.uint8, 1 / 256)):
        data = rng.integers(0, 255, (7, 300)).astype(source)
        index = rng.integers(0, 7, 200)
        bench = Bench()
        out = bench.add(empty((200, 300), dtype), True)
        settings = {"dtype": code(dtype), "from": 2 if source == np.uint8 else code(dtype), "scale": scale, "n": 300}
        settings |= {"rows": 200, "x_rows": 7, "x": (bench.add(data), 0), "out": (out, 0)}
        found = bench.run(("gather", settings | {"index": (bench.add(index), 0)}))
        np.testing.assert_array_equal(found, (data[index] * dtype(scale)).astype(dtype))
        with pytest.raises(DataError, match="instruction 0, gather, got a row number that is out of range"):
            bench.run(("gather", settings | {"index": (bench.add(np.full(200, 7)), 0)}))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scatter(isa, dtype, rng):
    """Rows that meet are added in their order, so whole numbers and others alike have the bits of one addition each."""
    x, index = rng.standard_normal((200, 30)).astype(dtype), rng.integers(0, 7, 200)
    for ones in (0, 1):
        expected = np.zeros((200, 7) if ones else (9, 30), dtype)
        if ones:
            expected[np.arange(200), index] = 1
        else:
            for row, to in zip(x, index):
                expected[to] += row
        bench = Bench()
        out = bench.add(empty(expected.shape, dtype), True)
        settings = {"dtype": code(dtype), "ones": ones, "rows": 200, "n": 7 if ones else 30, "out_rows": 9,
                    "out": (out, 0), "x": None if ones else (bench.add(x), 0)}  # fmt: skip
        found = bench.run(("scatter", settings | {"index": (bench.add(index), 0)}))
        np.testing.assert_array_equal(found, expected)
        for wrong in (-1, 7 if ones else 9, 2**62):
            with pytest.raises(DataError, match="instruction 0, scatter, got a row number that is out of range"):
                bench.run(("scatter", settings | {"index": (bench.add(np.where(index == 3, wrong, index)), 0)}))


@pytest.mark.parametrize("dtype, number", [(np.float32, 0), (np.float64, 1), (np.uint8, 2), (bool, 3), (np.int64, 4)])
def test_within(dtype, number):
    def asked(values, low, high):
        x = np.array(values, dtype)
        fields = {"dtype": 1, "from": number, "n": x.size, "low": low, "high": high, "x": (0, 0)}
        Program([("array", x)], [("within", fields)], 0).run({})

    asked([0, 1, 1], 0, 1)
    asked([], 5, 6)
    for values, low, high in (([0, 1, 1], 0, 0), ([0, 1, 1], 1, 1), ([1] * 40 + [0], 1, 1)):
        with pytest.raises(DataError, match="instruction 0, within"):
            asked(values, low, high)
    if number < 2:
        asked([np.nan, 0.5], 0, 1)
        with pytest.raises(DataError):
            asked([np.nan, np.inf], 0, 1)


@pytest.mark.parametrize("field", ["rows", "n", "out_rows", "ones"])
@pytest.mark.parametrize("value", [-1, 2**40, 2**62])
def test_a_scatter_of_no_size_is_refused(field, value):
    fields = dict(dtype=1, rows=2, n=2, out_rows=2, x=(0, 0), index=(1, 0), out=(2, 0), ones=0)
    if field == "ones" and value > 2**31:
        return
    buffers = [("array", np.zeros(4)), ("array", np.zeros(2, np.int64)), ("array", np.zeros(4))]
    Program(buffers, [("scatter", fields)], 0).run({})
    with pytest.raises(BackendError, match="malformed"):
        Program(buffers, [("scatter", fields | {field: value})], 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_update(isa, dtype, rng):
    """Several tensors in one instruction, step after step, with numbers that change, equal each tensor by itself."""
    shapes = [0, 1, 33, 5000, 90_001]
    for rule, numbers, slots in (
        ("adam", [0.01, 0.9, 0.99, 1e-8, 0.1, 0], 2), ("adam", [0.01, 0.9, 0.99, 1e-8, 0.1, 1], 2),
        ("sgd", [0.1, 0.0, 0, 0.1], 0), ("sgd", [0.1, 0.9, 1, 0.1], 1),
        ("rmsprop", [0.1, 0.9, 1e-3, 0.0, 0.1], 1), ("rmsprop", [0.1, 0.9, 1e-3, 0.5, 0.1], 2),
        ("centered_rmsprop", [0.1, 0.9, 1e-3, 0.0, 0.1], 2), ("centered_rmsprop", [0.1, 0.9, 1e-3, 0.5, 0.1], 3),
        ("adagrad", [0.1, 0.5, 1e-3, 0.1], 1), ("adadelta", [0.1, 0.9, 1e-3, 0.1], 2),
    ):  # fmt: skip
        p, g, *s = ([rng.standard_normal(n).astype(dtype) for n in shapes] for _ in range(2 + slots))
        s = [[np.abs(x) for x in slot] for slot in s]
        arrays = [np.array(x) for group in (p, g, *s) for x in group]
        tensors = [(n, *((i + j * len(shapes), 0) for j in range(2 + slots))) for i, n in enumerate(shapes)]
        settings = {"dtype": code(dtype), "rule": rule, "tensors": tensors, "numbers": numbers}
        program = Program([("array", x) for x in arrays], [("update", settings)], 0)
        for step in (1, 2, 3):
            kernels.set_num_threads(step)
            if step == 3:
                numbers = [numbers[0] / 2, *numbers[1:]]
                program.set_numbers(0, numbers)
            program.run({})
            assert program.steps(0) == [step] * len(shapes)
            for i in range(len(shapes)):
                kept = [slot[i] for slot in s]
                if rule == "adam":
                    assert kernels.adam(p[i], g[i], *kept, *numbers, step)
                elif rule == "sgd":
                    assert kernels.sgd(p[i], g[i], kept[0] if kept else None, *numbers)
                elif rule == "adagrad":
                    lr, lr_decay, *others = numbers
                    assert kernels.adagrad(p[i], g[i], *kept, lr / (1 + (step - 1) * lr_decay), *others)
                elif rule == "adadelta":
                    assert kernels.adadelta(p[i], g[i], *kept, *numbers)
                else:
                    v, m = kept[0], kept[1] if rule == "centered_rmsprop" else None
                    assert kernels.rmsprop(p[i], g[i], v, m, kept[-1] if numbers[3] else None, *numbers)
        for found, expected in zip(arrays, [x for group in (p, g, *s) for x in group]):
            np.testing.assert_array_equal(found, expected)
    counts = [10 * k for k in range(len(shapes))]
    program.set_steps(0, counts)
    program.run({})
    assert program.steps(0) == [count + 1 for count in counts]


# -- programs -------------------------------------------------------------------------------------------------------


def doubler(n=4):
    """out = 2 x for an input of n values, and their sum."""
    operands = [(0, 0, "full"), ("number", 2.0)]
    outputs = [("store", 0, 1, 0), ("sum", 0, 2, 0)]
    instruction = chain(np.float64, (1, n), operands, [("mul", 0, [("o", 0), ("o", 1)])], outputs)
    return Program([("input", 8 * n), ("arena", 0, 8 * n), ("arena", 8 * n, 8)], [instruction], 8 * n + 8)


def test_inputs_are_brought_at_every_run():
    program = doubler()
    for x in (np.arange(4.0), np.arange(4.0)[::-1], np.zeros(4)):
        program.run({0: x})
        np.testing.assert_array_equal(program.array(1, (2, 2), np.float64).ravel(), 2 * x)
    with pytest.raises(BackendError, match=r"the inputs \[0\] have not been brought"):
        program.run({})
    with pytest.raises(BackendError, match=r"buffer 0 is .'input', 32.; it cannot be brought .* of shape \(5,\)"):
        program.run({0: np.zeros(5)})
    with pytest.raises(BackendError, match="cannot be brought"):
        program.run({0: np.zeros(4), 1: np.zeros(4)})
    program.run({0: np.ones(4)}, 1)
    assert program.array(1, (1,), np.float64, 3) == 0, "instructions[1:] are none"
    assert len(program.profile({0: np.ones(4)}, 3)) == 1


def test_an_epoch_gathers_runs_and_reports(rng):
    data, steps = rng.integers(0, 255, (9, 4)).astype(np.uint8), 11
    index = rng.integers(0, 9, steps)
    for feed_arena in (False, True):
        program = doubler()
        number = 0
        if feed_arena:
            instruction = chain(np.float64, (1, 4), [(0, 0, "full")], [("copy", 0, [("o", 0)])], [("sum", 0, 1, 0)])
            program = Program([("arena", 0, 32), ("arena", 32, 8)], [instruction], 40)
        losses = np.empty(steps)
        at = (1 if feed_arena else 2, 0)
        program.epoch(steps, [(number, data, index, 0.5)], [(at, losses)])
        np.testing.assert_array_equal(losses, data[index].sum(1) * (0.5 if feed_arena else 1.0))
        for bad in (9, -1):
            wrong = index.copy()
            wrong[-1] = bad
            with pytest.raises(DataError, match="feed 0 has a row number that is out of range"):
                program.epoch(steps, [(number, data, wrong, 0.5)], [(at, losses)])
        with pytest.raises(DataError, match="feed 0 .* does not fit its buffer"):
            program.epoch(steps, [(number, np.zeros((9, 5)), index, 1.0)], [(at, losses)])
        with pytest.raises(DataError, match="the loss at .* is not in its buffer"):
            program.epoch(steps, [(number, data, index, 0.5)], [((1, 4), losses)])
        with pytest.raises(BackendError, match="needs float64 of shape"):
            program.epoch(steps, [(number, data, index, 0.5)], [(at, losses[1:])])


BEYOND = {
    "gemm": dict(m=3, n=2, k=2, a=(0, 0, 2, 1), b=(0, 0, 2, 1), c=(1, 0, 2)),
    "chain": dict(
        rows=1, cols=5, operands=[(0, 0, "full")], ops=[("neg", 0, [("o", 0)])], outputs=[("store", 0, 1, 0)]
    ),
    "reduce": dict(kind="sum", outer=1, n=5, inner=1, x=(0, 0), out=(1, 0)),
    "rows": dict(kind="softmax", rows=1, n=5, x=(0, 0), out=(1, 0)),
    "rows_backward": dict(kind="softmax", rows=2, n=2, g=(0, 1), y=(0, 0), out=(1, 0)),
    "copy": dict(shape=(2, 2), x=(0, 2, (-2, 1)), out=(1, 1, (2, 1))),
    "fill": dict(n=5, out=(1, 0), value=1.0),
    "noise": dict(kind="normal", n=5, key=0, counter=0, out=(1, 0)),
    "gather": dict(rows=1, n=5, x_rows=1, x=(0, 0), index=(0, 0), out=(1, 0)),
    "scatter": dict(rows=1, n=5, out_rows=1, x=(0, 0), index=(0, 0), out=(1, 0)),
    "within": {"from": 1, "n": 5, "low": 0.0, "high": 1.0, "x": (0, 0)},
    "windows": dict(kind="max_pool", windows=(1, 1, (1, 1, 5), (1, 1, 2), (1, 2), (1, 2), (0, 0), (1, 1)), big=(0, 0),
                    small=(1, 0)),
    "recurrent": dict(kind="rnn", steps=1, n=1, hidden=2, activation="tanh", reverse=False, z_repeats=False, z=(0, 3),
                      weight=(0, 0), h=(0, 0), y=(1, 0)),
    "recurrent_backward": dict(kind="rnn", steps=1, n=1, hidden=2, activation="tanh", reverse=False, z_repeats=False,
                               z=(0, 0), weight=(0, 0), h=(0, 0), y=(0, 0), g=(0, 0), dz=(1, 0), dweight=(1, 0),
                               dh=(1, 3)),
    "update": dict(rule="sgd", numbers=[0.1, 0, 0, 0], tensors=[(4, (1, 1), (0, 0))]),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_what_reaches_beyond_its_buffers_is_refused(kind):
    buffers = [("arena", 0, 32), ("arena", 64, 32)]
    with pytest.raises(BackendError, match=f"instruction 0, {kind} .* reaches outside of its buffers"):
        Program(buffers, [(kind, {"dtype": 1} | BEYOND[kind])], 96)


@pytest.mark.parametrize("kind", plan.WINDOWS)
def test_no_side_of_windows_reaches_beyond_its_buffer(kind):
    """Each in turn is one element shorter than it should be."""
    sides = (2, 1, (3, 2, 4), (3, 1, 2), (2, 2), (2, 2), (0, 0), (1, 1))
    lengths = {"big": 48, "small": 12}
    lengths |= {"pooled": 48} if kind == "max_pool_backward" else {"weight": 36} if kind.startswith("conv") else {}
    lengths |= {"bias": 3} if kind in ("conv2d", "conv2d_transposed") else {}
    fields = {"dtype": 1, "kind": kind, "windows": sides, "param": 1.0} | {x: (n, 0) for n, x in enumerate(lengths)}
    Program([("array", np.zeros(n)) for n in lengths.values()], [("windows", fields)], 0).run({})
    for short in lengths:
        buffers = [("array", np.zeros(n - (name == short))) for name, n in lengths.items()]
        with pytest.raises(BackendError, match="reaches outside of its buffers"):
            Program(buffers, [("windows", fields)], 0)
    with pytest.raises(BackendError, match="reaches outside of its buffers"):
        Program([("array", np.zeros(99))] * len(lengths), [("windows", fields | {"windows": (2, 2, *sides[2:])})], 0)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kind, gates", [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_no_array_of_a_recurrent_layer_reaches_beyond_its_buffer(kind, gates, backward, repeats):
    steps, n, hidden = 3, 2, 5
    wide, states = gates * hidden, (2 if kind == "lstm" else 1) * steps * n * hidden
    sizes = {"lengths": n, "z": (1 if repeats else steps) * n * wide, "weight": hidden * wide, "h": n * hidden}
    sizes |= {"bias": wide} if kind == "gru" else {"c": n * hidden} if kind == "lstm" else {}
    sizes |= {"y": states}
    if backward:
        sizes |= {"g": states, "dz": steps * n * wide, "dweight": hidden * wide, "dh": n * hidden}
        sizes |= {"dbias": wide} if kind == "gru" else {"dc": n * hidden} if kind == "lstm" else {}
    fields = {"dtype": 1, "kind": kind, "steps": steps, "n": n, "hidden": hidden, "activation": "tanh"}
    fields |= {"reverse": False, "z_repeats": repeats} | {name: (i, 0) for i, name in enumerate(sizes)}
    instruction = [("recurrent_backward" if backward else "recurrent", fields)]

    def buffers(short=None):
        return [("array", np.zeros(k - (name == short), int if name == "lengths" else float))
                for name, k in sizes.items()]  # fmt: skip

    Program(buffers(), instruction, 0).run({})
    for short in sizes:
        with pytest.raises(BackendError, match="reaches outside of its buffers"):
            Program(buffers(short), instruction, 0)
    for wrong in ({"steps": 0}, {"n": -1}, {"hidden": 2**40}, {"z_repeats": 2}, {"h": None}, {"y": (-1, 0)}):
        with pytest.raises(BackendError, match="is malformed"):
            Program(buffers(), [(instruction[0][0], fields | wrong)], 0)


# -- programs that something has spoilt ---------------------------------------------------------------------------------

ROOM = 200  # doubles in each buffer: numbers 0 and 1 are read, 2 to 6 written as well, 7 holds row numbers
WINDOW = (2, 1, (2, 2, 4), (2, 1, 2), (2, 2), (2, 2), (0, 0), (1, 1))
CELL = dict(steps=3, n=2, hidden=3, activation="tanh", reverse=False, z_repeats=False, z=(0, 0), weight=(1, 0),
            h=(0, 9), y=(2, 0))  # fmt: skip
BACK = dict(g=(0, 0), dz=(3, 0), dweight=(4, 0), dh=(5, 0))
WHOLE = [
    ("gemm", dict(m=3, n=2, k=4, a=(0, 1, 4, 1), b=(1, 0, 2, 1), c=(2, 0, 2), bias=(1, 3), activation="tanh")),
    ("gemm_stack", dict(m=3, n=2, k=4, sizes=(2, 3), a_steps=(36, 12), b_steps=(0, 8), a=(0, 0, 4, 1), b=(1, 0, 1, 4),
                        c=(2, 0, 2))),
    ("chain", dict(rows=3, cols=7, operands=[(0, 2, "full"), (1, 0, "row"), (1, 0, "column"), ("number", 2.0)],
                   ops=[("mul", 0, [("o", 0), ("o", 1)]), ("add", 1, [("r", 0), ("o", 2)]),
                        ("tanh.vjp", 2, [("r", 1), ("r", 0)])],
                   outputs=[("store", 0, 2, 0), ("sum_rows", 1, 3, 0), ("sum_cols", 1, 4, 1), ("sum", 2, 5, 0)])),
    *[("reduce", dict(kind=kind, outer=3, n=4, inner=2, x=(0, 0), out=(2, 0))) for kind in ("sum", "argmax")],
    ("rows", dict(kind="logsumexp", rows=3, n=5, x=(0, 0), out=(2, 0))),
    ("rows_backward", dict(kind="softmax", rows=3, n=5, g=(0, 0), y=(1, 0), out=(2, 0))),
    ("copy", dict(shape=(2, 3, 4), x=(0, 0, (1, 8, 2)), out=(2, 0, (12, 4, 1)))),
    ("fill", dict(n=9, value=1.0, out=(2, 3))),
    ("noise", dict(kind="normal", n=9, key=1, counter=2, out=(2, 0))),
    ("gather", dict(rows=3, n=4, x_rows=5, x=(0, 0), index=(7, 0), out=(2, 0))),
    ("scatter", dict(rows=3, n=4, out_rows=5, x=(0, 0), index=(7, 0), out=(2, 0))),
    ("within", {"from": 1, "n": 9, "low": -9.0, "high": 9.0, "x": (0, 0)}),
    ("update", dict(rule="adam", numbers=[0.1, 0.9, 0.9, 1e-8, 0, 0],
                    tensors=[(9, (2, 0), (0, 0), (3, 0), (4, 0)), (3, (2, 9), (0, 9), (3, 9), (4, 9))])),
    *[("windows", dict(kind=kind, windows=WINDOW, param=1.0, pooled=(0, 0), weight=(4, 0), bias=(1, 0), big=(2, 0),
                       small=(3, 0))) for kind in plan.WINDOWS],
    *[("recurrent", CELL | dict(kind=kind, c=(0, 0) if kind == "lstm" else None, lengths=(7, 0)))
      for kind in ("rnn", "lstm", "gru")],
    *[("recurrent_backward", CELL | BACK | dict(kind=kind, gates=None if kind == "rnn" else (1, 0), bias=(1, 0),
                                                **({"c": (0, 0), "dc": (6, 0)} if kind == "lstm" else {})))
      for kind in ("rnn", "lstm", "gru")],
]  # fmt: skip
COUNTS = {"operand": "operands", "op": "ops", "output": "outputs", "tensor": "tensors", "sizes": "axes",
          "a_steps": "axes", "b_steps": "axes"}  # fmt: skip
HOSTILE = [-(2**63), -(2**62), -(2**31), -2, -1, 0, 1, 2, 3, 5, 17, 2**31, 2**40, 2**48, 2**62, 2**63 - 1]


def numbers_of(struct, name=""):
    """(struct or array, field or index, name, bits) of each whole number in a struct of C's."""
    found = []
    for field, about in plan.ffi.typeof(struct).fields:
        value, kind = getattr(struct, field), about.type.kind
        if kind == "primitive" and about.type.cname in ("int", "int64_t"):
            found.append((struct, field, name + field, 8 * plan.ffi.sizeof(about.type)))
        elif kind == "struct":
            found += numbers_of(value, name + field + ".")
        elif kind == "array" or (kind == "pointer" and field in COUNTS and value):
            item = about.type.item
            for i in range(len(value) if kind == "array" else getattr(struct, COUNTS[field])):
                if item.kind == "struct":
                    found += numbers_of(value[i], name + field + ".")
                else:
                    found.append((value, i, name + field, 8 * plan.ffi.sizeof(item)))
    return found


def value_of(number):
    holder, field = number[:2]
    return holder[field] if isinstance(field, int) else getattr(holder, field)


def spoil(number, value):
    holder, field, _, bits = number
    value = max(-(2 ** (bits - 1)), min(value, 2 ** (bits - 1) - 1))
    if isinstance(field, int):
        holder[field] = value
    else:
        setattr(holder, field, value)


@pytest.mark.parametrize("case", range(len(WHOLE)), ids=lambda case: f"{case}-{WHOLE[case][0]}")
def test_a_spoilt_instruction_is_refused_or_stays_in_its_buffers(case, rng):
    """C measures every number that it is given, but for the lengths of the lists that it is given with."""
    kind, fields = WHOLE[case]
    memory = rng.integers(0, 3, (8, ROOM + 64)).astype(np.float64)
    memory[7] = rng.integers(1, 4, ROOM + 64).view(np.float64)
    buffers = [memory[i, 32:-32] for i in range(8)]
    for i in (0, 1, 7):
        buffers[i].flags.writeable = False
    refused = run = 0
    for attempt in range(150):
        program = Program([("array", x) for x in buffers], [(kind, {"dtype": 1} | fields)], 0)
        instruction = program._instructions[0]
        numbers = numbers_of(getattr(instruction, plan.KINDS[kind][1]))
        for number in rng.permutation(len(numbers))[: 1 + attempt % 3]:
            name = numbers[number][2]
            if name in COUNTS.values() and kind != "copy":
                spoil(numbers[number], value_of(numbers[number]) - int(rng.integers(0, 2)))
            else:
                spoil(numbers[number], int(rng.choice(HOSTILE)))
        if attempt % 10 == 0:
            instruction.dtype = int(rng.choice([-1, 0, 2, 2**31 - 1]))
        if plan.lib.tae_plan_prepare(program._plan) >= 0:
            refused += 1
            continue
        # What is left may be large where nothing of it is read, as an axis that is empty: then it is not run to its end.
        sizes = [abs(value_of(x)) for x in numbers if not x[2].endswith(("strides", "steps", "_rs", "_cs", ".offset"))]
        if max(sizes) > 4096 or program._plan.scratch_bytes > 2**24:
            continue
        scratch = np.empty(program._plan.scratch_bytes + 64, np.uint8)
        program._plan.scratch = plan.ffi.from_buffer(scratch) + -scratch.ctypes.data % 64
        before = memory.copy()
        plan.lib.tae_plan_run(program._plan, 0, 1, plan.ffi.new("void *[1]"))
        run += 1
        outside = np.ones(memory.shape, bool)
        outside[2:7, 32:-32] = False
        assert (memory.view(np.int64)[outside] == before.view(np.int64)[outside]).all(), "written outside its buffers"
        memory[:] = before
    assert refused > 15 and run > 3, (refused, run)


def test_places_that_a_kind_does_not_use_are_not_looked_at():
    """Nor is anything computed from them: there may be anything."""
    far = (2**60, 2**62)
    for kind in plan.WINDOWS:
        used = {"big", "small"} | ({"pooled"} if kind == "max_pool_backward" else set())
        used |= {"weight"} if kind.startswith("conv") else set()
        used |= {"bias"} if kind in ("conv2d", "conv2d_transposed") else set()
        places = {name: (2, 0) if name in used else far for name in ("big", "small", "weight", "bias", "pooled")}
        places |= {"small": (3, 0)}
        buffers = [("array", np.zeros(ROOM)) for _ in range(4)]
        program = Program(buffers, [("windows", {"dtype": 1, "kind": kind, "windows": WINDOW, "param": 1.0} | places)], 0)
        for name in places.keys() - used:
            assert getattr(program._instructions[0].windows, name).buffer == -1
        program.run({})
    fields = CELL | BACK | dict(kind="gru", gates=(1, 0), z=far)
    program = Program([("array", np.zeros(ROOM)) for _ in range(6)], [("recurrent_backward", {"dtype": 1} | fields)], 0)
    assert program._instructions[0].recurrent.z.buffer == -1
    program.run({})


@pytest.mark.parametrize("kind, fields", [
    ("reduce", dict(kind="sum", outer=0, n=2**62, inner=2**62, x=(0, 0), out=(2, 0))),
    ("rows", dict(kind="softmax", rows=0, n=2**62, x=(0, 0), out=(2, 0))),
    ("fill", dict(n=0, value=0.0, out=(2, 2**62))),
    ("gather", dict(rows=0, n=2**62, x_rows=2**62, x=(0, 0), index=(7, 0), out=(2, 0))),
    ("gemm", dict(m=0, n=2**62, k=0, a=(0, 0, 2**62, 1), b=(0, 0, 1, 2**62), c=(2, 0, 2**62))),
    ("copy", dict(shape=(1, 2, 0), x=(0, 0, (1, 2**62, 1)), out=(2, 0, (2, 2**62, 1)))),
    ("update", dict(rule="sgd", numbers=[0.1, 0, 0, 0], tensors=[(1, (2, 0), (0, 0))], steps=[2**63 - 1])),
])  # fmt: skip
def test_sizes_whose_products_overflow_are_refused_even_where_nothing_is_done(kind, fields):
    buffers = [("array", np.zeros(ROOM)) for _ in range(8)]
    with pytest.raises(BackendError, match="is malformed"):
        Program(buffers, [(kind, {"dtype": 1} | fields)], 0)


def test_what_is_read_only_is_not_written():
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    for buffer in (("array", frozen), ("input", 32)):
        with pytest.raises(BackendError, match="writes where it may not"):
            Program([buffer], [("fill", dict(dtype=1, n=4, value=1.0, out=(0, 0)))], 0)


def test_a_register_is_written_before_it_is_read():
    with pytest.raises(BackendError, match="malformed"):
        settings = dict(dtype=1, rows=1, cols=2, operands=[], outputs=[("store", 0, 0, 0)])
        Program([("arena", 0, 16)], [("chain", settings | {"ops": [("neg", 0, [("r", 0)])]})], 16)


def test_buffers_are_in_the_arena_and_contiguous():
    for buffer in (("arena", 8, 16), ("arena", -8, 8), ("arena", 4, 8)):
        with pytest.raises(BackendError, match="is not in the arena"):
            Program([buffer], [], 16)
    with pytest.raises(BackendError, match="is not C-contiguous"):
        Program([("array", np.zeros((3, 4)).T)], [], 0)
    with pytest.raises(BackendError, match="of 8 bytes has no"):
        Program([("arena", 0, 8)], [], 8).array(0, (2,), np.float64)


def test_rules_and_numbers_that_do_not_fit():
    x = [("array", np.zeros(4)) for _ in range(3)]
    with pytest.raises(BackendError, match="no rule adam has"):
        Program(x, [("update", dict(dtype=1, rule="adam", tensors=[(4, (0, 0), (1, 0))], numbers=[0.0] * 6))], 0)
    settings = dict(dtype=1, rule="sgd", tensors=[(4, (0, 0), (1, 0))])
    with pytest.raises(BackendError, match="takes 4 numbers, not 1"):
        Program(x, [("update", settings | {"numbers": [0.1]})], 0)
    program = Program(x, [("update", settings | {"numbers": [0.1, 0, 0, 0]})], 0)
    with pytest.raises(BackendError, match="takes 4 numbers, not 2"):
        program.set_numbers(0, [1, 2])
    with pytest.raises(BackendError, match="instruction 0 is update, not noise"):
        program.counter(0)


def test_two_programs_at_once(isa, rng):
    """Each has its own memory; one of them has the workers, the other does all itself: the same bits."""
    n = 200_000
    kernels.set_num_threads(2)
    programs, xs = [doubler(n), doubler(n)], [rng.standard_normal(n), rng.standard_normal(n)]
    totals = []
    for program, x in zip(programs, xs):
        program.run({0: x})
        totals.append(program.array(2, (), np.float64).copy())
    assert math.isclose(totals[0], 2 * math.fsum(xs[0]), abs_tol=1e-9)
    wrong = []

    def repeat(program, x, total):
        for _ in range(50):
            program.array(2, (), np.float64)[...] = 0
            program.run({0: x})
            if program.array(2, (), np.float64) != total:
                wrong.append(total)

    threads = [threading.Thread(target=repeat, args=job) for job in zip(programs, xs, totals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
