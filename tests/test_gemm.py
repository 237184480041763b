"""The matrix product of csrc/gemm.inc, on every instruction set: its values, its bits, its edges, its bounds.

Calls the C function itself, with guard bands around every operand. `test_ops.py` covers matmul and linear above it.
"""

import ctypes
import itertools
import mmap
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae import kernels

pytestmark = pytest.mark.skipif(kernels.info()["backend"] != "c", reason="the backend is NumPy: there is no C to test")
if kernels.info()["backend"] == "c":
    from tinyae._kernels import ffi, lib

    ACTIVATIONS = kernels.library.reported(lib.tae_unary_name)

K_BLOCK = 256  # GEMM_K: so many products are summed in sequence
DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 61, 64, 65, 127]


def guarded(x, layout="C"):
    """x in another layout, in memory that holds NaN wherever x is not: read beyond it, and the result is NaN."""
    rows, columns = x.shape
    if layout == "one row":  # every row the same memory
        x = np.broadcast_to(x[:1], x.shape)
    if layout in ("C", "one row"):
        memory = np.full((rows + 2) * columns + 64, np.nan, x.dtype)
        view = memory[32 : 32 + rows * columns].reshape(rows, columns)
    elif layout == "T":
        memory = np.full((rows + 2) * columns + 64, np.nan, x.dtype)
        view = memory[32 : 32 + rows * columns].reshape(columns, rows).T
    elif layout == "wide":
        view = np.full((rows + 2, columns + 5), np.nan, x.dtype)[1 : rows + 1, 2 : columns + 2]
    elif layout == "reversed":
        view = np.full((rows + 2, columns + 5), np.nan, x.dtype)[1 : rows + 1, 2 : columns + 2][::-1, ::-1]
    else:
        view = np.full((2 * columns + 3, 3 * rows + 4), np.nan, x.dtype)[
            1 : 2 * columns + 1 : 2, 2 : 3 * rows + 2 : 3
        ].T
    view[...] = x
    return np.broadcast_to(view[:1], x.shape) if layout == "one row" else view


LAYOUTS = ["C", "T", "wide", "reversed", "strided", "one row"]


def gemm(a, b, bias=None, activation=None, param=0.0, gap=3, alpha=1.0, beta=0.0, before=None):
    """tae_gemm itself, on a C that holds `before`. Checks that nothing but C is written."""
    (m, k), n = a.shape, b.shape[1]
    assert b.shape[0] == k
    sentinel = a.dtype.type(12345.0)
    memory = np.full((m + 2, n + gap), sentinel)
    c = memory[1 : m + 1, :n]
    c[...] = np.nan if before is None else before
    at = [ffi.from_buffer(x[:1, :1]) if x.size else ffi.NULL for x in (a, b, c)]
    strides = [s // x.itemsize for x in (a, b) for s in x.strides]
    status = lib.tae_gemm(
        *(int(a.dtype == np.float64), m, n, k, at[0], *strides[:2], at[1], *strides[2:], at[2], n + gap),
        ffi.NULL if bias is None else ffi.from_buffer(bias),
        -1 if activation is None else ACTIVATIONS.index(activation),
        *(param, alpha, beta),
    )
    assert status == lib.TAE_DONE
    result = c.copy()
    c[...] = sentinel
    assert np.all(memory == sentinel), "written outside C"
    return result


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def coarse(rng, shape, dtype):
    """Random numbers whose products are not exact in dtype, but they and their sums are in the next wider type."""
    bits = 16 if dtype == np.float32 else 29
    return (rng.integers(-(2**bits), 2**bits, shape) / 2**bits).astype(dtype)


def blocks_by_the_rule(a, b, isa):
    """Note [Bits] of gemm.inc in NumPy: for each block of k, its products summed in sequence by FMA."""
    dtype = a.dtype
    wide = np.float64 if dtype == np.float32 else np.longdouble
    blocks = []
    for first in range(0, max(a.shape[1], 1), K_BLOCK):
        block = np.zeros((a.shape[0], b.shape[1]), dtype)
        for p in range(first, min(first + K_BLOCK, a.shape[1])):
            product = a[:, p, None].astype(wide) * b[None, p, :].astype(wide)
            if isa == "scalar":  # no fused multiply-add: the product is rounded too
                product = product.astype(dtype).astype(wide)
            block = (product + block.astype(wide)).astype(dtype)
        blocks.append(block)
    return blocks


def by_the_rule(blocks, alpha=1, start=None):
    """The rest of it: the blocks, times alpha, added in order to `start`."""
    total = start
    for block in blocks:
        block = block.dtype.type(alpha) * block
        total = block if total is None else total + block
    return total


# Each line takes its own ways: tiny, edges in every direction, B in place, B packed, A packed, several blocks of
# k or n.
SHAPES = [
    (1, 1, 1),
    (2, 3, 5),
    (5, 63, 33),
    (7, 256, 64),
    (13, 257, 65),
    (20, 600, 31),
    (131, 40, 100),
    (259, 300, 130),
]
SHAPES += [(9, 70, 1100), (101, 35, 300), (3, 1030, 16)]
# One row, few rows, one column, few columns: with the other operand's rows side by side or its columns.
SHAPES += [(1, 300, 70), (4, 270, 33), (5, 270, 33), (70, 300, 1), (33, 270, 3), (40, 270, 5), (15, 20, 15)]
# The last columns share their vector with neighbours, also where a block of them begins.
SHAPES += [(3, 10, 17), (3, 10, 68), (14, 9, 81), (2, 3, 517), (2, 3, 773)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_sum_has_the_bits_that_the_rule_gives(isa, dtype, shape):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("this platform's long double is no wider than double")
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b, bias = (coarse(rng, s, dtype) for s in ((m, k), (k, n), (n,)))
    blocks = blocks_by_the_rule(a, b, isa)
    expected = by_the_rule(blocks)
    for layout_a, layout_b in itertools.product(LAYOUTS[:-1], repeat=2):
        assert same_bits(gemm(guarded(a, layout_a), guarded(b, layout_b)), expected), (layout_a, layout_b)
        assert same_bits(gemm(guarded(a, layout_a), guarded(b, layout_b), bias), expected + bias), (layout_a, layout_b)
    assert same_bits(gemm(a, b, bias, gap=0), expected + bias)
    assert same_bits(gemm(a, b, bias, "relu"), np.maximum(expected + bias, 0))
    before = coarse(rng, (m, n), dtype)
    for layout_a, layout_b in itertools.product(LAYOUTS[:2], repeat=2):
        x, y = guarded(a, layout_a), guarded(b, layout_b)
        for alpha, beta in ((1, 1), (-0.7, 1), (1, -0.5), (0.25, 2)):  # products with beta that are exact
            c = gemm(x, y, bias, "relu", alpha=alpha, beta=beta, before=before)
            total = by_the_rule(blocks, alpha, dtype(beta) * before)
            assert same_bits(c, np.maximum(total + bias, 0)), (layout_a, layout_b, alpha, beta)
        assert same_bits(gemm(x, y, alpha=-0.7), by_the_rule(blocks, -0.7)), "C is not read, it is NaN"


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_value_of_any_shape_and_layout(isa, dtype, data):
    m, k, n = (data.draw(st.sampled_from(SIZES)) for _ in range(3))
    layouts = [data.draw(st.sampled_from(LAYOUTS)) if m and k and n else "C" for _ in range(2)]
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    a, b = (guarded(rng.standard_normal(s).astype(dtype), name) for s, name in zip(((m, k), (k, n)), layouts))
    bias = rng.standard_normal(n).astype(dtype) if data.draw(st.booleans()) else None
    c = gemm(a, b, bias, gap=data.draw(st.sampled_from([0, 1, 5])))
    wide = a.astype(np.longdouble), b.astype(np.longdouble)
    expected = wide[0] @ wide[1] + (0 if bias is None else bias)
    size = np.abs(wide[0]) @ np.abs(wide[1]) + 1
    assert np.all(np.abs(c - expected) <= (k + 2) * np.finfo(dtype).eps * size)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_every_product_of_a_stack_has_the_bits_that_it_has_alone(isa, dtype, data):
    m, k, n = (data.draw(st.sampled_from([0, 1, 2, 5, 16, 17, 40])) for _ in range(3))
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    a, b = (rng.standard_normal((*s, *t)).astype(dtype) for s, t in zip(shapes.input_shapes, ((m, k), (k, n))))
    if data.draw(st.booleans()):  # transposed matrices, in memory that runs backwards
        a, b = a.mT.copy().mT, b[..., ::-1, ::-1].copy()[..., ::-1, ::-1]
    c = kernels.FORWARD["matmul"](a, b)
    leading = shapes.result_shape
    if b.ndim > 2 and a.size and b.size and c is not None:
        assert c.shape == (*leading, m, n) and c.flags.c_contiguous
        wide = np.broadcast_to(a, (*leading, m, k)), np.broadcast_to(b, (*leading, k, n))
        for at in np.ndindex(*leading):
            assert same_bits(c[at], gemm(wide[0][at], wide[1][at]))
    if b.ndim > 2 and a.size and b.size:
        assert c is not None, "it is C's"


def test_a_stack_takes_vectors_and_refuses_what_does_not_broadcast(isa):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(7), rng.standard_normal((3, 7, 5))
    matmul = kernels.FORWARD["matmul"]
    assert same_bits(matmul(a, b), np.stack([gemm(a[None], matrix)[0] for matrix in b]))
    assert matmul(np.ones((2, 4, 7)), b) is None and matmul(np.ones((3, 4, 6)), b) is None
    assert matmul(a.astype(np.float32), b) is None


def test_misuse_of_a_stack_returns_a_status_and_writes_nothing(isa):
    x, c = np.ones((2, 4, 4), np.float32), np.full((2, 4, 4), 7, np.float32)
    sizes, steps, p, out, null = [2], [16], ffi.from_buffer(x), ffi.from_buffer(c), ffi.NULL

    def call(dtype=0, axes=1, sizes=sizes, a_steps=steps, m=4, n=4, k=4, a=p, c=out):
        return lib.tae_gemm_stack(dtype, axes, sizes, a_steps, steps, m, n, k, a, 4, 1, p, 4, 1, c, 1.0, 0.0)

    assert call(dtype=2) == lib.TAE_NOT_MINE
    for bad in ({"axes": -1}, {"axes": 65}, {"sizes": null}, {"a_steps": null}, {"m": -1}, {"k": -1}, {"a": null}):
        assert call(**bad) == lib.TAE_BAD_ARGUMENT, bad
    for bad in ({"sizes": [-1]}, {"sizes": [2**62]}, {"m": 2**40, "n": 2**40}, {"c": null}):
        assert call(**bad) == lib.TAE_BAD_ARGUMENT, bad
    assert np.all(c == 7)
    assert call(sizes=[0], a=null, c=null) == call(n=0, a=null, c=null) == lib.TAE_DONE
    assert call() == lib.TAE_DONE and np.all(c == 4)
    assert call(k=0, a=null) == lib.TAE_DONE and np.all(c == 0)


def test_the_result_goes_into_an_array_that_is_given(isa):
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(s).astype(np.float32) for s in ((9, 300), (300, 20), (20,)))
    out = np.full((9, 20), np.nan, np.float32)
    assert kernels.gemm(a, b, bias, "tanh", out=out) is out and same_bits(out, kernels.gemm(a, b, bias, "tanh"))
    before = out.copy()
    assert kernels.gemm(a, b, alpha=0.5, out=out, beta=1.0) is out
    assert np.allclose(out, before + 0.5 * (a @ b), rtol=1e-5, atol=1e-5)
    kept = out.copy()
    square = np.ones((9, 9), np.float32)
    frozen = out.copy()
    frozen.flags.writeable = False
    for bad in (out[:8], out.T.copy().T, out.astype(np.float64), frozen, out.tolist()):
        assert kernels.gemm(a, b, out=bad) is None
    assert kernels.gemm(square, square[:, ::-1], out=square) is None, "it shares memory"
    assert kernels.gemm(a, b, beta=1.0) is None, "nothing to add to"
    assert same_bits(out, kept) and np.all(square == 1)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_bits_of_a_row_do_not_depend_on_the_batch_or_the_storage(isa, dtype, data):
    k = data.draw(st.sampled_from([1, 20, 64, 255, 257, 784]))
    n = data.draw(st.sampled_from([1, 3, 10, 16, 20, 64, 100, 300]))
    activation = data.draw(st.sampled_from([None, *ACTIVATIONS]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((300, k), (k, n), (n,)))
    with np.errstate(all="ignore"):
        full = gemm(a, b, bias, activation, 0.1)
    for start, rows in ((0, 1), (299, 1), (data.draw(st.integers(0, 293)), 7), (data.draw(st.integers(0, 172)), 128)):
        part = gemm(
            guarded(a[start : start + rows], data.draw(st.sampled_from(LAYOUTS[:-1]))),
            guarded(b, data.draw(st.sampled_from(LAYOUTS[:-1]))),
            *(bias, activation, 0.1),
        )
        assert same_bits(part, full[start : start + rows])
    j = data.draw(st.integers(0, n - 1))
    assert same_bits(gemm(a[:9], b[:, j:], bias[j:].copy(), activation, 0.1), full[:9, j:]), (
        "nor on the columns around it"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_write_back_is_product_then_bias_then_activation(isa, dtype):
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((33, 300), (300, 70), (70,)))
    plain = gemm(a, b) + bias
    assert same_bits(gemm(a, b, bias), plain)
    for name in ACTIVATIONS:
        kernel = kernels.FORWARD[name]
        expected = kernel(plain, 0.3) if name in ("leaky_relu", "elu") else kernel(plain)
        assert same_bits(gemm(a, b, bias, name, 0.3), expected), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_of_nothing_is_the_bias(isa, dtype):
    a, b, bias = np.empty((5, 0), dtype), np.empty((0, 33), dtype), np.linspace(-1, 1, 33, dtype=dtype)
    assert same_bits(gemm(a, b), np.zeros((5, 33), dtype))
    assert same_bits(gemm(a, b, bias, "relu"), np.broadcast_to(np.maximum(bias, 0), (5, 33)).copy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_inf_go_where_ieee_sends_them(isa, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((15, 40)).astype(dtype), rng.standard_normal((40, 70)).astype(dtype)
    clean = gemm(a, b)
    a[3, 7], a[8, 39], b[5, 69] = np.nan, np.inf, -np.inf
    b[39, 2] = 0
    c = gemm(a, b)
    assert np.isnan(c[3]).all() and np.isnan(c[8, 2]) and np.isinf(np.delete(c[8], [2, 69])).all()
    assert np.isinf(np.delete(c[:, 69], [3, 8])).all()
    rest = np.ix_(np.delete(np.arange(15), [3, 8]), np.delete(np.arange(70), [2, 69]))
    assert same_bits(c[rest], clean[rest]), "a neighbour was touched"


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_count_as_zero_and_the_callers_mode_comes_back(isa, dtype):
    tiny = np.finfo(dtype).smallest_normal
    a, b = np.full((3, 1), tiny / 2), np.full((1, 20), dtype(2**20))
    assert np.all(gemm(a, b) == 0), "a subnormal input"
    assert np.all(gemm(np.full((3, 1), tiny), np.full((1, 20), dtype(0.5))) == 0), "a subnormal result"
    assert tiny / dtype(2) != 0, "NumPy's own subnormals are gone: the mode was not restored"


def test_precision_says_how_many_pieces_c_is_asked_for(monkeypatch):
    """And where C takes it, there is no other product after it; which unit there is, is not up to Python."""
    asked = []

    class Lib:
        def tae_gemm_split(self, pieces, *call):
            asked.append(pieces)
            return lib.tae_gemm_stack(0, *call)

    monkeypatch.setattr(kernels.products, "lib", Lib())
    matmul = kernels.FORWARD["matmul"]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 5, 7), (2, 7, 9)))
    for precision, pieces in (("highest", 3), ("high", 2), ("medium", 1)):
        np.testing.assert_allclose(matmul(a, b, precision), a @ b, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(matmul(a[0], b[0, :, ::2], precision), a[0] @ b[0, :, ::2], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(matmul(a, b[0], precision), a @ b[0], rtol=1e-5, atol=1e-5)
        assert asked == [pieces] * 3
        asked.clear()
    assert matmul(a, b, "low") is None


def before_a_wall(x, keep):
    """A copy of x that ends where readable memory ends; the next byte kills the process. keep holds it in memory."""
    page = mmap.PAGESIZE
    size = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0) == 0, ctypes.get_errno()
    keep.append(memory)
    view = np.frombuffer(memory, x.dtype, x.size, offset=size - x.nbytes).reshape(x.shape)
    view[...] = x
    return view


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mprotect is POSIX's")
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_byte_beyond_an_operand_is_read(isa, dtype):
    """Not even into lanes whose results are thrown away: the next page may not be ours."""
    keep = []
    rng = np.random.default_rng(0)
    for m, k, n in ((1, 1, 1), (5, 7, 9), (13, 16, 15), (7, 17, 31), (7, 33, 47), (17, 260, 63), (260, 20, 300)):
        a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (n,)))
        expected = gemm(a, b, bias)
        wall = before_a_wall(bias, keep)
        for x in (before_a_wall(a, keep), before_a_wall(a.T, keep).T):
            for y in (before_a_wall(b, keep), before_a_wall(b.T, keep).T):
                assert same_bits(gemm(x, y, wall), expected)
        assert same_bits(gemm(before_a_wall(a[::-1, ::-1], keep)[::-1, ::-1], b, wall), expected)


def test_threads_do_not_share_scratch(isa):
    """Packed panels are per thread: products side by side have the bits of products one after another."""
    rng = np.random.default_rng(0)
    cases = [(rng.standard_normal((300, 200 + i)), rng.standard_normal((301, 200 + i)).T) for i in range(4)]
    alone = [gemm(a, b) for a, b in cases]
    wrong = []

    def work(i):
        for _ in range(20):
            if not same_bits(gemm(*cases[i]), alone[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_misuse_returns_a_status_and_writes_nothing(isa):
    x = np.ones((4, 4), np.float32)
    c = np.full((4, 4), 7, np.float32)
    p, out, null = ffi.from_buffer(x), ffi.from_buffer(c), ffi.NULL
    good = [0, 4, 4, 4, p, 4, 1, p, 4, 1, out, 4, null, -1, 0.0, 1.0, 0.0]

    def call(**changes):
        names = [
            "dtype",
            "m",
            "n",
            "k",
            "a",
            "a_rs",
            "a_cs",
            "b",
            "b_rs",
            "b_cs",
            "c",
            "c_rs",
            "bias",
            "activation",
            "param",
            "alpha",
            "beta",
        ]
        return lib.tae_gemm(*(changes.get(name, value) for name, value in zip(names, good)))

    assert call(dtype=2) == call(dtype=-1) == lib.TAE_NOT_MINE
    assert call(activation=-2) == call(activation=len(ACTIVATIONS)) == lib.TAE_NOT_MINE
    bad_sizes = ({"m": -1}, {"n": -1}, {"k": -1}, {"c_rs": 3}, {"c_rs": -4}, {"c_rs": 2**62})
    for bad in (*bad_sizes, {"a": null}, {"b": null}, {"c": null}):
        assert call(**bad) == lib.TAE_BAD_ARGUMENT, bad
    assert call(m=2**40, n=2**40, c_rs=2**40) == lib.TAE_BAD_ARGUMENT, "more bytes than can be counted"
    assert np.all(c == 7)
    assert call(m=0, a=null, b=null, c=null) == call(n=0, a=null, b=null, c=null) == lib.TAE_DONE
    assert call() == lib.TAE_DONE and np.all(c == 4)
