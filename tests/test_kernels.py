"""tinyae/kernels/ and csrc/dispatch.c: which backend, which instruction set, and that C never gets what
it cannot take.

What the kernels compute is tested in test_kernels_math.py and test_gemm.py, and against each op's definition in
test_ops.py.
"""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tinyae import kernels
from tinyae.errors import BackendError

IN_C = kernels.info()["backend"] == "c"
needs_c = pytest.mark.skipif(not IN_C, reason="the backend is NumPy: there is no C to test")
if IN_C:
    from tinyae._kernels import ffi, lib

UNARY = [
    "elu", "erf", "erfc", "exp", "expm1", "gelu", "leaky_relu", "log", "log1p", "relu", "rsqrt", "sigmoid", "silu",
    "softplus", "sqrt", "square", "tanh",
]  # fmt: skip
LOSSES = ("_bce_sum", "_kl_sum")
REDUCTIONS = ("sum", "max", "min", "argmax", "argmin")
RECURRENT = {"rnn": 1, "lstm": 4, "gru": 3}  # gates
_ONCE = {"activation": "tanh", "lengths": None, "reverse": False}
SETTINGS = {"elu": {"alpha": 0.5}, "leaky_relu": {"slope": 0.2}, **dict.fromkeys(RECURRENT, _ONCE)}


def recurrent(name, rng, dtype=np.float32):
    """z, weight, then GRU's bias, and one or two states."""
    k, gates = 3, RECURRENT[name]
    shapes = [(2, 5, gates * k), (k, gates * k), *[(gates * k,)] * (name == "gru"), *[(5, k)] * (1 + (name == "lstm"))]
    return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)


def python(code, **environment):
    """Run code in a fresh interpreter, on the tinyae tested here: (exit code, stdout, last line of stderr)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TINYAE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(kernels.__file__).parents[2],  # -c puts the working folder first on the path
        env=clean | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


# -- which backend --------------------------------------------------------------------------------------------------

WITHOUT_C = "import sys; sys.modules['tinyae._kernels'] = None\n"
SHOW = "from tinyae import kernels; i = kernels.info(); print(i['backend'], len(kernels.FORWARD), i['isa'], i['why'])"


def test_info_says_what_computes():
    info = kernels.info()
    assert list(info) == ["backend", "isa", "isas_supported", "why", "threads", "compiler", "path"]
    if IN_C:
        assert info["isa"] in info["isas_supported"] and info["isas_supported"][0] == "scalar"
        assert os.path.exists(info["path"]) and info["compiler"]
    else:
        assert info["isa"] is info["compiler"] is info["path"] is None and info["isas_supported"] == []


def test_numpy_on_demand():
    code, out, _ = python(SHOW, TINYAE_BACKEND="numpy")
    assert code == 0 and out == "numpy 0 None TINYAE_BACKEND=numpy asks for it"


def test_numpy_without_the_compiled_module_says_why_and_what_to_do():
    code, out, _ = python(WITHOUT_C + SHOW)
    assert code == 0 and out.startswith("numpy 0 None the compiled module is not installed:")
    assert "install a C compiler and run pip install --force-reinstall --no-cache-dir" in out


def test_c_on_demand_refuses_to_start_without_it():
    code, _, error = python(WITHOUT_C + SHOW, TINYAE_BACKEND="c")
    assert code == 1 and error.startswith(
        "tinyae.errors.BackendError: tinyae: TINYAE_BACKEND=c, but the compiled module"
    )


def test_an_unknown_backend_is_refused():
    code, _, error = python(SHOW, TINYAE_BACKEND="cuda")
    assert code == 1 and "TINYAE_BACKEND='cuda' is no backend. Set it to 'c' or 'numpy'" in error


def test_every_function_has_an_answer_on_numpy():
    code, out, error = python(
        "import numpy as np; from tinyae import kernels as k; x = np.ones((2, 2), 'f')\n"
        "print(k.gemm(x, x), k.sgd(x, x, None, 0.1, 0, False, 0), k.adam(x, x, x, x, 0.1, 0.9, 0.9, 1e-8, 0, False, 1),"
        "k.rmsprop(x, x, x, x, x, 0.1, 0.9, 0.1, 0.9, 0), k.adagrad(x, x, x, 0.1, 0.1, 0),"
        "k.adadelta(x, x, x, x, 0.1, 0.9, 0.1, 0), k.noise('uniform', x, 0, 0, 0.5), k.FORWARD, k.BACKWARD)",
        TINYAE_BACKEND="numpy",
    )
    assert code == 0 and out == "None" + 6 * " False" + " {} {}", error


# -- which instruction set ------------------------------------------------------------------------------------------


@needs_c
def test_the_best_instruction_set_is_chosen_and_any_can_be_forced():
    supported = kernels.info()["isas_supported"]
    assert python(SHOW)[1].split()[2] == supported[-1]
    for isa in supported:
        assert python(SHOW, TINYAE_ISA=isa)[1].split()[2] == isa
    with open("/proc/cpuinfo") if os.path.exists("/proc/cpuinfo") else open(os.devnull) as file:
        flags = set(file.read().split())
    if "sse2" in flags:  # the kernel's own list: what the CPU has and the OS enabled
        assert ("avx2" in supported) == {"avx2", "fma"}.issubset(flags)
        assert ("avx512" in supported) == {"avx512f", "avx512bw", "avx512dq", "avx512vl"}.issubset(flags)


def test_an_instruction_set_needs_c():
    code, _, error = python(WITHOUT_C + SHOW, TINYAE_ISA="scalar")
    assert code == 1 and "TINYAE_ISA: 'scalar': the backend is NumPy: the compiled module is not installed" in error
    assert python(SHOW, TINYAE_ISA="scalar", TINYAE_BACKEND="numpy")[0] == 0, "NumPy was asked for"


@needs_c
@pytest.mark.parametrize("isa", ["neon9", "AVX2", "avx2 "])
def test_an_instruction_set_that_is_not_there_is_refused(isa):
    code, _, error = python(SHOW, TINYAE_ISA=isa)
    assert code == 1 and error.startswith(f"tinyae.errors.BackendError: TINYAE_ISA: {isa!r} is not an instruction set")
    with pytest.raises(BackendError, match="Choose one of: scalar"):
        with kernels.use_isa(isa):
            pass


@needs_c
def test_use_isa_holds_for_the_block_even_if_it_raises():
    before = kernels.info()["isa"]
    with pytest.raises(ZeroDivisionError):
        with kernels.use_isa("scalar"):
            assert kernels.info()["isa"] == "scalar"
            raise ZeroDivisionError
    assert kernels.info()["isa"] == before


@pytest.mark.skipif(IN_C, reason="the backend is C")
def test_use_isa_needs_c():
    with pytest.raises(BackendError, match="the backend is NumPy"):
        with kernels.use_isa("scalar"):
            pass


@needs_c
def test_the_library_names_what_it_has():
    assert sorted(kernels.library.reported(lib.tae_unary_name)) == UNARY
    assert kernels.library.reported(lib.tae_binary_name) == ["add", "subtract", "multiply", "divide"]
    assert kernels.library.reported(lib.tae_isa_name)[0] == "scalar"
    assert set(kernels.FORWARD) == {
        *UNARY, *RECURRENT, "matmul", "linear", "sum", "max", "min", "argmax", "argmin", "softmax", "log_softmax",
        "logsumexp", *WINDOWS, *LOSSES,
    }
    assert set(BACKWARD) == {
        *((name, "x") for name in (*UNARY, "softmax", "log_softmax")), *((name, "z") for name in RECURRENT),
        ("_bce_sum", "logits"), ("_kl_sum", "mu"),
    }  # fmt: skip
    names = kernels.library.reported(lib.tae_unary_name)
    keeps_y = [name for op, name in enumerate(names) if lib.tae_unary_keeps_y(op)]
    assert sorted(keeps_y) == ["elu", "exp", "leaky_relu", "relu", "rsqrt", "sigmoid", "sqrt", "tanh"]
    for past in (-1, len(UNARY), 2**31 - 1, -(2**31)):
        assert lib.tae_unary_name(past) == lib.tae_binary_name(past) == lib.tae_isa_name(past) == ffi.NULL
        assert lib.tae_unary_keeps_y(past) == -1
    assert lib.tae_use_isa(ffi.NULL) == lib.TAE_NOT_MINE and not lib.tae_isa_supported(ffi.NULL)


# -- what C is given ------------------------------------------------------------------------------------------------


# Those of convolution and pooling are asked the same in test_conv_kernels.py.
WINDOWS = {**kernels.conv.FORWARD, **kernels.pool.FORWARD}
FORWARD = {name: kernel for name, kernel in kernels.FORWARD.items() if name not in WINDOWS}
BACKWARD = {key: kernel for key, kernel in kernels.BACKWARD.items() if key not in kernels.pool.BACKWARD}


def unaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    y = np.frombuffer(memory.data, x.dtype, x.size, offset=1).reshape(x.shape)
    y[...] = x
    assert not y.flags.aligned
    return y


def layouts(x):
    """x in every kind of memory that an ndarray of its dtype may have."""
    read_only = x.copy()
    read_only.flags.writeable = False
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
    wide[..., ::2] = x
    pickled = pickle.loads(pickle.dumps(x))  # its dtype is equal to float32's, but another object
    return {
        "transposed": np.asarray(x, order="F"),
        "reversed": np.flip(np.flip(x).copy()),
        "strided": wide[..., ::2],
        "unaligned": unaligned(x),
        "read-only": read_only,
        "unpickled": pickled,
    }


@needs_c
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(FORWARD))
def test_any_memory_gives_the_same_bits(name, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 2, (5, 5)).astype(dtype), rng.uniform(0.1, 2, (5, 5)).astype(dtype)
    settings = SETTINGS.get(name, {})
    settings |= (
        {"axis": -1}
        if "softmax" in name
        else {"axis": 0}
        if name in REDUCTIONS
        else {"axis": 1}
        if name == "logsumexp"
        else {}
    )
    settings |= {"keepdims": False} if name in (*REDUCTIONS, "logsumexp") else {}
    operands = {"matmul": (x, y), "linear": (x, y, y[0].copy())}.get(name, (x,))
    operands = recurrent(name, rng, dtype) if name in RECURRENT else (x, y) if name in LOSSES else operands
    expected = kernels.FORWARD[name](*operands, **settings)
    for which, operand in enumerate(operands):
        for layout, other in layouts(operand).items() if operand.ndim > 1 else ():
            result = kernels.FORWARD[name](*operands[:which], other, *operands[which + 1 :], **settings)
            assert result.tobytes() == expected.tobytes(), layout
            assert result.flags.c_contiguous and result.flags.writeable and result.base is None
    for key, backward in BACKWARD.items():
        if key == (name, "x"):
            expected = backward(x, y, *settings.values())
            for layout, other in layouts(x).items():
                assert backward(other, y, *settings.values()).tobytes() == expected.tobytes(), layout
            repeated = np.broadcast_to(x[:1], x.shape)
            assert np.array_equal(
                backward(repeated, y, *settings.values()), backward(repeated.copy(), y, *settings.values())
            )


NOT_FOR_C = [
    np.ones((3, 3), np.float16),
    np.ones((3, 3), np.longdouble),
    np.ones((3, 3), np.complex64),
    np.ones((3, 3), np.int32),
    np.ones((3, 3), bool),
    np.ones((3, 3), object),
    np.ones((3, 3), ">f4" if sys.byteorder == "little" else "<f4"),
    np.ma.masked_array(np.ones((3, 3), np.float32), False),
    np.ones((3, 3), np.float32).view(type("Mine", (np.ndarray,), {})),
    1.5,
    np.float32(1.5),
    None,
]


@needs_c
@pytest.mark.parametrize("x", NOT_FOR_C, ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}")
def test_what_is_not_an_array_of_native_floats_is_not_its_case(x):
    good = np.ones((3, 3), np.float32)
    axis = {name: {"axis": None, "keepdims": False} for name in REDUCTIONS}
    axis |= {"logsumexp": {"axis": -1, "keepdims": False}}
    axis |= {"softmax": {"axis": -1}, "log_softmax": {"axis": -1}}
    for name, forward in FORWARD.items():
        if name in RECURRENT:
            arrays = recurrent(name, np.random.default_rng(0))
            assert all(forward(*arrays[:i], x, *arrays[i + 1 :], **_ONCE) is None for i in range(len(arrays))), name
            shape = (2,) * (name == "lstm") + (2, 5, 3)
            backward, kept = kernels.BACKWARD[name, "z"], arrays[name == "rnn" :]
            assert backward(x, *kept, np.ones(shape, np.float32), *_ONCE.values()) is None
        elif name in LOSSES:
            backward, one = kernels.BACKWARD[name, "mu" if "kl" in name else "logits"], np.ones((), np.float32)
            assert forward(x, good) is forward(good, x) is forward(good, good[:1]) is None, name
            assert backward(one, good, x) is backward(one, x, good) is backward(x, good, good) is None
        elif name in ("matmul", "linear"):
            rest = (good[0],) if name == "linear" else ()
            assert forward(x, good, *rest) is None and forward(good, x, *rest) is None, name
        else:
            assert forward(x, **axis.get(name, SETTINGS.get(name, {}))) is None, name
    assert kernels.FORWARD["linear"](good, good, x) is None
    for name, backward in BACKWARD.items():
        if name[0] in (*RECURRENT, *LOSSES):
            continue
        setting = [-1] if "softmax" in name[0] else [*SETTINGS.get(name[0], {}).values()]
        assert backward(x, good, *setting) is None and backward(good, x, *setting) is None, name
    assert kernels.gemm(x, good) is kernels.gemm(good, x) is None
    assert kernels.gemm(good, good, x) is None or x is None
    slots = [np.ones((3, 3), np.float32) for _ in range(4)]
    for i in range(4):
        arrays = [*slots[:i], x, *slots[i + 1 :]]
        assert kernels.adam(*arrays, 0.1, 0.9, 0.99, 1e-8, 0.0, False, 1) is False
        assert kernels.adadelta(*arrays, 0.1, 0.9, 1e-8, 0.0) is False
        if i < 3 or x is not None:
            assert kernels.rmsprop(*arrays, None, 0.1, 0.9, 1e-8, 0.0, 0.0) is False
        if i < 3:
            assert kernels.adagrad(*arrays[:3], 0.1, 1e-8, 0.0) is False
            assert kernels.sgd(*arrays[:3], 0.1, 0.9, False, 0.0) is False
    assert kernels.noise("uniform", x, 0, 0, 0.5) is False
    assert all(np.all(slot == 1) for slot in slots)


@needs_c
def test_dtypes_and_shapes_that_do_not_fit_each_other_are_not_its_case():
    f, d = np.ones((3, 4), np.float32), np.ones((3, 4))
    for a, b in (
        (f, d.T),
        (f, f),
        (np.ones((2, 3, 4), "f"), np.ones((3, 4, 3), "f")),
        (np.float32(1), f),
    ):
        assert kernels.FORWARD["matmul"](np.asarray(a), b) is None
    for x, w, b in (
        (f, f.T, d[0, :3]),
        (f, f.T, f[0]),
        (f, f.T, f[:1, :3]),
        (f, f, f[0]),
        (f, f[0], f[0]),
        (f[0, 0].reshape(()), f, f[0]),
    ):
        assert kernels.FORWARD["linear"](x, w, b) is None
    assert kernels.BACKWARD["relu", "x"](f, d) is kernels.BACKWARD["relu", "x"](f, f[:1]) is None
    for axis in (2, -3, (0, 1), None, True):
        assert kernels.FORWARD["logsumexp"](f, axis=axis, keepdims=False) is None
    assert kernels.FORWARD["softmax"](f, axis=0) is kernels.FORWARD["softmax"](f[0, 0].reshape(()), axis=-1) is None
    assert kernels.FORWARD["argmax"](f, axis=(0, 1), keepdims=False) is None
    assert kernels.FORWARD["argmax"](f[:0], axis=0, keepdims=False) is None
    for axis in (2, -3, (0, 0), (), (0, 2)):
        assert kernels.FORWARD["sum"](f, axis=axis, keepdims=False) is None, axis
    assert kernels.FORWARD["leaky_relu"](f, slope=-0.1) is kernels.FORWARD["elu"](f, alpha=float("nan")) is None
    assert kernels.gemm(f, f.T, activation="no such op") is kernels.gemm(f, f) is kernels.gemm(f, f.T, f[0]) is None
    assert kernels.noise("cauchy", f, 0, 0, 0.5) is False


@needs_c
def test_shapes_of_products_and_sums():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((4, 5))
    for x, y in (
        (a, b),
        (a[0], b),
        (a[0, 0], b),
        (a, b[:, 0]),
        (a[0, 0], b[:, 0]),
        (a[:0], b),
        (a[:, :, :0], b[:0]),
        (a, b[:, :0]),
    ):
        got, expected = kernels.FORWARD["matmul"](x, y), np.matmul(x, y)
        assert got.shape == expected.shape and np.allclose(got, expected)
    for x in (a, a[0], a[0, 0], a[:0]):
        got = kernels.FORWARD["linear"](x, b, b[1])
        assert got.shape == (*x.shape[:-1], 5) and np.allclose(got, x @ b + b[1])
    for axis in (None, 0, 1, 2, -1, (0, 1), (1, 2), (-1, -2), (2, 0, 1), np.int64(1)):
        for keepdims in (False, True):
            got, expected = kernels.FORWARD["sum"](a, axis=axis, keepdims=keepdims), a.sum(axis=axis, keepdims=keepdims)
            assert got.shape == expected.shape and np.allclose(got, expected)
    for name in UNARY:
        for shape in ((), (0,), (3, 0, 2), (1,)):
            got = kernels.FORWARD[name](np.ones(shape), **SETTINGS.get(name, {}))
            assert got.__class__ is np.ndarray and got.shape == shape


@needs_c
def test_nothing_is_written_that_may_not_be():
    """Read-only, strided and wrongly shaped outputs are refused, and stay as they are."""

    def frozen(x):
        x.flags.writeable = False
        return x

    good = [np.ones(6, np.float32) for _ in range(4)]
    for bad in (
        frozen(np.ones(6, "f")),
        np.ones(12, "f")[::2],
        unaligned(np.ones(6, "f")),
        np.ones((6, 1), "f"),
        np.ones(5, "f"),
    ):
        for i in (0, 2, 3):
            arrays = [*good[:i], bad, *good[i + 1 :]]
            assert kernels.adam(*arrays, 0.1, 0.9, 0.99, 1e-8, 0.0, False, 1) is False
            assert kernels.adadelta(*arrays, 0.1, 0.9, 1e-8, 0.0) is False
            assert kernels.rmsprop(arrays[0], arrays[1], arrays[3], None, arrays[2], 0.1, 0.9, 1e-8, 0.9, 0.0) is False
            if i < 3:
                assert kernels.adagrad(*arrays[:3], 0.1, 1e-8, 0.0) is False
                assert kernels.sgd(*arrays[:3], 0.1, 0.9, False, 0.0) is False
        if bad.shape == (6,):
            assert kernels.noise("uniform", bad, 0, 0, 0.5) is False
        assert np.all(bad == 1) and all(np.all(x == 1) for x in good)
    assert kernels.sgd(good[0], np.ones(12, "f")[::2], None, 0.5, 0.0, False, 0.0) is True  # inputs may be strided
    assert np.all(good[0] == 0.5) and np.all(good[1] == 1)
    assert kernels.adam(*(np.ones(6, "f") for _ in range(4)), 0.1, 0.9, 0.99, 1e-8, 0.0, False, 0) is False, (
        "steps start at 1"
    )


@needs_c
def test_gather_takes_whole_rows_and_refuses_the_rest():
    x, index = np.arange(24, dtype=np.float32).reshape(4, 2, 3), np.array([3, 0, 3])
    out = np.empty((3, 2, 3), np.float32)
    assert kernels.gather(out, x, index, 0.5) and np.array_equal(out, x[index] / 2)
    assert kernels.gather(out, x.astype(np.uint8), np.repeat(index, 2)[::2]) and np.array_equal(out, x[index])
    for bad in ([4, 0, 0], [-1, 0, 0], [0, 2**62, 0]):
        out[:] = 7
        assert not kernels.gather(out, x, np.array(bad)) and np.all(out == 7)
    for arguments in (
        (out, x.astype(np.float64), index), (out, x, index.astype(np.int32)), (out, x, index[:2]),
        (out[:, 0], x, index),
        (out, x[:, ::-1], index), (out, x.tolist(), index), (out, x, [3, 0, 3]), (out[:, ::-1], x, index),
        (out.astype(np.int64), x, index), (out, x[0, 0, 0], index),
    ):  # fmt: skip
        assert kernels.gather(*arguments) is False and np.all(out == 7)
    assert kernels.gather(np.empty((0, 2, 3), "f"), x, index[:0])


@needs_c
def test_threads_side_by_side():
    """The interpreter lock is released inside C: the same answers, and none of another thread's."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((64, 64 + i)).astype(np.float32) for i in range(4)]
    expected = [(np.tanh(x.astype(np.float64)), x.sum(0, np.float64)) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(50):
            y, s = kernels.FORWARD["tanh"](inputs[i]), kernels.FORWARD["sum"](inputs[i], axis=0, keepdims=False)
            if not (np.allclose(y, expected[i][0], atol=1e-6) and np.allclose(s, expected[i][1], atol=1e-4)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# -- what C refuses by itself ---------------------------------------------------------------------------------------


@needs_c
def test_misuse_of_the_c_api_returns_a_status_and_writes_nothing():
    x, out = np.ones(8, np.float32), np.full(8, 7, np.float32)
    p, q, null = ffi.from_buffer(x), ffi.from_buffer(out), ffi.NULL
    ops = len(UNARY)
    cell, places = ffi.new("double *", 7.0), ffi.new("int64_t[]", [0, 1])
    mine, bad = lib.TAE_NOT_MINE, lib.TAE_BAD_ARGUMENT
    huge = 2**62
    calls = {
        mine: [
            (lib.tae_unary, ops, 0, 8, p, q, 0.0),
            (lib.tae_unary, -1, 0, 8, p, q, 0.0),
            (lib.tae_unary, 0, 2, 8, p, q, 0.0),
            (lib.tae_unary_backward, ops, 0, 8, p, 1, p, q, 0.0),
            (lib.tae_unary_backward, 0, -1, 8, p, 1, p, q, 0.0),
            (lib.tae_binary, 4, 0, 8, p, 1, p, 1, q),
            (lib.tae_binary, 0, 2, 8, p, 1, p, 1, q),
            (lib.tae_sum, 2, 2, 2, 2, p, q),
            *((f, 2, 2, 4, p, q) for f in (lib.tae_softmax, lib.tae_log_softmax, lib.tae_logsumexp)),
            *((f, 2, 2, 4, p, p, q) for f in (lib.tae_softmax_backward, lib.tae_log_softmax_backward)),
            (lib.tae_sgd, 2, 8, q, p, null, 0.1, 0.0, 0, 0.0),
            (lib.tae_adam, 2, 8, q, p, q, q, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 1),
            (lib.tae_rmsprop, 2, 8, q, p, q, null, null, 0.1, 0.9, 1e-8, 0.0, 0.0),
            (lib.tae_adagrad, 2, 8, q, p, q, 0.1, 1e-8, 0.0),
            (lib.tae_adadelta, -1, 8, q, p, q, q, 0.1, 0.9, 1e-8, 0.0),
            (lib.tae_extreme, 2, 0, 2, 2, 2, p, q),
            (lib.tae_extreme, 0, 2, 2, 2, 2, p, q),
            (lib.tae_arg_extreme, -1, 0, 2, 2, 2, p, places),
            (lib.tae_bce_with_logits, 2, 8, p, p, 1.0, cell, q),
            (lib.tae_gaussian_kl, 2, 8, p, p, 1.0, cell, q, q),
            (lib.tae_cross_entropy, 2, 2, 4, p, places, 1.0, cell, q),
            (lib.tae_gather, 1, 0, 2, 4, 2, p, places, 1.0, q),
            (lib.tae_gather, 3, 0, 2, 4, 2, p, places, 1.0, q),
            (lib.tae_noise, 3, 0, 8, 0, 0, 0.5, q),
            (lib.tae_noise, -1, 0, 8, 0, 0, 0.5, q),
            (lib.tae_noise, 0, 2, 8, 0, 0, 0.5, q),
        ],
        bad: [
            *((lib.tae_unary, 0, 0, *rest, 0.0) for rest in ((-1, p, q), (huge, p, q), (8, null, q), (8, p, null))),
            *(
                (lib.tae_unary_backward, 0, 0, 8, g, step, kept, out, 0.0)
                for g, kept, out in ((null, p, q), (p, null, q), (p, p, null))
                for step in (0, 1)
            ),
            *((lib.tae_unary_backward, 0, 0, 8, p, step, p, q, 0.0) for step in (-1, 2)),
            (lib.tae_unary_backward, 0, 0, -8, p, 1, p, q, 0.0),
            *((lib.tae_binary, 0, 0, 8, p, a, p, b, q) for a, b in ((2, 1), (1, 2), (-1, 1), (1, -1))),
            *((lib.tae_binary, 0, 0, 8, a, 1, b, 1, c) for a, b, c in ((null, p, q), (p, null, q), (p, p, null))),
            (lib.tae_binary, 0, 0, -8, p, 1, p, 1, q),
            *(
                (lib.tae_sum, 0, *n, p, q)
                for n in ((-1, 2, 2), (2, -1, 2), (2, 2, -1), (2**31, 2**31, 4), (2**20, 2**20, 2**22), (huge, 0, 2))
            ),
            *((lib.tae_sum, 0, 2, 2, 2, a, b) for a, b in ((null, q), (p, null))),
            *(
                (f, 0, *n, p, q)
                for f in (lib.tae_softmax, lib.tae_log_softmax, lib.tae_logsumexp)
                for n in ((-1, 4), (2, -4), (2**32, 2**31))
            ),
            *(
                (f, 0, 2, 4, a, b)
                for f in (lib.tae_softmax, lib.tae_log_softmax, lib.tae_logsumexp)
                for a, b in ((null, q), (p, null))
            ),
            *(
                (f, 0, *n, *three)
                for f in (lib.tae_softmax_backward, lib.tae_log_softmax_backward)
                for n, three in (
                    ((-2, 4), (p, p, q)),
                    ((2, 4), (null, p, q)),
                    ((2, 4), (p, null, q)),
                    ((2, 4), (p, p, null)),
                )
            ),
            *((lib.tae_sgd, 0, 8, *three, 0.1, 0.9, 0, 0.0) for three in ((null, p, q), (q, null, q), (q, p, null))),
            (lib.tae_sgd, 0, 8, q, p, q, 0.1, 0.0, 0, 0.0),
            (lib.tae_sgd, 0, -8, q, p, null, 0.1, 0.0, 0, 0.0),
            *((lib.tae_rmsprop, 0, n, *three, null, last, 0.1, 0.9, 1e-8, momentum, 0.0)
              for n, three, last, momentum in ((8, (null, p, q), null, 0.0), (8, (q, null, q), null, 0.0),
                                               (8, (q, p, null), null, 0.0), (8, (q, p, q), null, 0.9),
                                               (8, (q, p, q), q, 0.0), (-8, (q, p, q), null, 0.0))),
            *((lib.tae_adagrad, 0, n, *three, 0.1, 1e-8, 0.0)
              for n, three in ((8, (null, p, q)), (8, (q, null, q)), (8, (q, p, null)), (2**62, (q, p, q)))),
            *((lib.tae_adadelta, 0, n, *four, 0.1, 0.9, 1e-8, 0.0)
              for n, four in ((8, (null, p, q, q)), (8, (q, null, q, q)), (8, (q, p, null, q)), (8, (q, p, q, null)),
                              (-1, (q, p, q, q)))),
            *(
                (lib.tae_adam, 0, n, *four, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, step)
                for n, four, step in (
                    (8, (null, p, q, q), 1),
                    (8, (q, null, q, q), 1),
                    (8, (q, p, null, q), 1),
                    (8, (q, p, q, null), 1),
                    (8, (q, p, q, q), 0),
                    (-8, (q, p, q, q), 1),
                )
            ),
            *((lib.tae_extreme, 0, 0, *n, p, q) for n in ((2, 0, 2), (-1, 2, 2), (2, 2, 2**62))),
            *((lib.tae_extreme, 0, 0, 2, 2, 2, a, b) for a, b in ((null, q), (p, null))),
            (lib.tae_arg_extreme, 1, 0, 2, 0, 2, p, places),
            (lib.tae_arg_extreme, 1, 0, 2, 2, 2, p, null),
            *(
                (function, 0, 8, a, b, 1.0, c, *out)
                for function, out in ((lib.tae_bce_with_logits, [q]), (lib.tae_gaussian_kl, [q, q]))
                for a, b, c in ((null, p, cell), (p, null, cell), (p, p, null))
            ),
            *(
                (lib.tae_cross_entropy, 0, 2, n, p, label, 1.0, c, q)
                for n, label, c in ((1, places, cell), (4, null, cell), (4, places, null))
            ),
            *(
                (lib.tae_gather, 0, 0, 2, 2, n, rows, index, 1.0, out)
                for n, rows, index, out in
                ((1, p, places, q), (4, null, places, q), (4, p, null, q), (4, p, places, null))
            ),
            (lib.tae_noise, 0, 0, 8, 0, 0, 0.5, null),
            (lib.tae_noise, 0, 0, -8, 0, 0, 0.5, q),
        ],
    }
    for status, cases in calls.items():
        for function, *arguments in cases:
            assert function(*arguments) == status, (function, arguments)
    assert np.all(out == 7) and np.all(x == 1)
