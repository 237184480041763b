"""csrc/cells.inc through the raw C API, on every instruction set: against float64 NumPy, with guarded buffers; what is
padding, which rows and threads, and which activation.

tests/cases/recurrent.py holds an independent definition of the ops, and tests/test_recurrent.py of the layers.
"""

import itertools

import numpy as np
import pytest

from tinyae import kernels
from tinyae.engine import OPS

if kernels.info()["backend"] == "numpy":
    pytest.skip("the backend is NumPy: there is no C to test", allow_module_level=True)

from test_kernels_math import DTYPES, ISAS, call, code, frozen  # noqa: E402

from tinyae._kernels import ffi, lib  # noqa: E402

KINDS = ("rnn", "lstm", "gru")
GATES = (1, 4, 3)
ROOM = (1, 4, 4)  # of what C keeps for backward, or works in


@pytest.fixture(params=ISAS, autouse=True)
def isa(request):
    with kernels.use_isa(request.param):
        yield


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request):
    return request.param


every = pytest.mark.parametrize("kind", range(3), ids=KINDS)


def arrays(kind, steps, n, k, dtype, seed=0):
    """z, weight, bias, h, c, g in the order of C, None for what there is not."""
    rng = np.random.default_rng(seed)
    shapes = [(steps, n, GATES[kind] * k), (k, GATES[kind] * k), (GATES[kind] * k,), (n, k), (n, k), (steps, n, k)]
    z, w, b, h, c, g = (rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)
    g = rng.uniform(-1, 1, (2, *g.shape)).astype(dtype) if kind == 1 else g
    return z, w, b if kind == 2 else None, h, c if kind == 1 else None, g


def numbers(lengths):
    return ffi.NULL if lengths is None else ffi.new("int64_t[]", [int(v) for v in lengths])


def forward(kind, z, w, b, h, c, *, relu=0, lengths=None, reverse=0, steps=None, gates=None):
    """y; z without the axis of steps is the same for all; gates: an array that keeps them."""
    (n, k), repeats = h.shape, int(z.ndim == 2)
    steps = steps or z.shape[0]
    y = np.empty((2, steps, n, k) if kind == 1 else (steps, n, k), z.dtype)
    work = None if gates is not None else np.empty((n, ROOM[kind] * k), z.dtype)
    inputs = [None if x is None else frozen(x) for x in (w, b, h, c)]
    call(lib.tae_recurrent, kind, code(z), relu, reverse, steps, n, k, numbers(lengths), frozen(z), repeats, *inputs, y,
         work, gates)  # fmt: skip
    return y


def backward(kind, z, w, b, h, c, g, y, *, relu=0, lengths=None, reverse=0, gates=None):
    """dz, du, dh, dc; with gates there is no z, weight or bias to read."""
    (n, k), repeats = h.shape, int(z.ndim == 2)
    shape, dtype = (g.shape[-3], n, GATES[kind] * k), h.dtype
    dz, du = np.empty(shape, dtype), np.empty(shape, dtype) if kind == 2 else None
    dh, dc = np.empty((n, k), dtype), np.empty((n, k), dtype) if kind == 1 else None
    z, weight, b = (z, w, b) if gates is None else (None, None, None)
    z, *inputs = (None if x is None else frozen(x) for x in (z, weight, w.T.copy(), b, h, c, y, gates, g))
    call(lib.tae_recurrent_backward, kind, code(h), relu, reverse, shape[0], n, k, numbers(lengths), z, repeats,
         *inputs, dz, du, dh, dc)  # fmt: skip
    return dz, du, dh, dc


def wide(*xs):
    return [x.astype(np.float64) for x in xs if x is not None]


def close(got, expected):
    eps = np.finfo(got.dtype).eps
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=64 * eps * max(1, np.abs(expected).max(initial=0)))


SIZES = [(1, 1, 1), (2, 3, 7), (3, 2, 8), (2, 5, 16), (3, 3, 17), (2, 2, 33), (4, 0, 3), (2, 3, 0), (2, 65, 5)]


@every
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_against_float64(kind, sizes, dtype):
    steps, n, k = sizes
    z, w, b, h, c, g = arrays(kind, steps, n, k, dtype)
    spread = np.arange(n) % (steps + 1)
    for relu, lengths, reverse in itertools.product((0, 1), (None, spread), (0, 1)):
        how = {"activation": ("tanh", "relu")[relu], "lengths": lengths, "reverse": bool(reverse)}
        settings = {"relu": relu, "lengths": lengths, "reverse": reverse}
        op, operands = OPS[KINDS[kind]], wide(z, w, b, h, c)
        y = forward(kind, z, w, b, h, c, **settings)
        close(y, op.definition(*operands, **how))
        rule, _, names = op.rules["z"]
        given = {**dict(zip(op.arguments, operands)), **how, "y": y.astype(np.float64)}
        expected = dict(zip(op.rules, rule(*wide(g), *(given[name] for name in names))))
        dz, du, dh, dc = backward(kind, z, w, b, h, c, g, y, **settings)
        close(dz, expected["z"])
        close(dh, np.broadcast_to(expected["h"], dh.shape))
        if dc is not None:
            close(dc, np.broadcast_to(expected["c"], dc.shape))
        if du is not None:
            close(du.sum(axis=(0, 1), dtype=np.float64).astype(dtype), expected["bias"])
            close(du[..., : 2 * k], dz[..., : 2 * k].astype(np.float64))


@every
def test_one_input_for_all_steps(kind, dtype):
    z, w, b, h, c, g = arrays(kind, 3, 4, 5, dtype)
    whole = np.repeat(z[:1], 3, axis=0)
    y = forward(kind, whole, w, b, h, c)
    assert forward(kind, z[0], w, b, h, c, steps=3).tobytes() == y.tobytes()
    for one, other in zip(backward(kind, z[0], w, b, h, c, g, y), backward(kind, whole, w, b, h, c, g, y)):
        assert one is other is None or one.tobytes() == other.tobytes()


@pytest.mark.parametrize("kind", [1, 2], ids=KINDS[1:])
@pytest.mark.parametrize("n, k", [(3, 7), (5, 33)])
def test_gates_that_are_kept_have_the_bits_of_those_computed_anew(kind, n, k, dtype):
    steps = 3
    z, w, b, h, c, g = arrays(kind, steps, n, k, dtype)
    for relu, lengths, reverse, repeats in itertools.product((0, 1), (None, np.arange(n)), (0, 1), (0, 1)):
        settings, x = {"relu": relu, "lengths": lengths, "reverse": reverse}, z[0] if repeats else z
        gates = np.full((steps, n, 4 * k), np.nan, dtype)
        y = forward(kind, x, w, b, h, c, steps=steps, gates=gates, **settings)
        assert y.tobytes() == forward(kind, x, w, b, h, c, steps=steps, **settings).tobytes()
        anew, kept = (backward(kind, x, w, b, h, c, g, y, gates=some, **settings) for some in (None, gates))
        for one, other in zip(anew, kept):
            assert one is other is None or one.tobytes() == other.tobytes()


@every
def test_a_row_does_not_know_of_the_others_nor_of_threads(kind, dtype):
    z, w, b, h, c, g = arrays(kind, 4, 67, 64, dtype)
    before = kernels.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            kernels.set_num_threads(threads)
            y = forward(kind, z, w, b, h, c)
            results.append([y, *backward(kind, z, w, b, h, c, g, y)])
    finally:
        kernels.set_num_threads(before)
    for one, three in zip(*results):
        assert one is three is None or one.tobytes() == three.tobytes()
    some = slice(13, 18)
    h, c = h[some], None if c is None else c[some]
    y = forward(kind, z[:, some], w, b, h, c)
    assert y.tobytes() == results[0][0][..., some, :].tobytes()
    for part, whole in zip(backward(kind, z[:, some], w, b, h, c, g[..., some, :], y), results[0][1:]):
        assert part is None or part.tobytes() == whole[..., some, :].tobytes()


@every
def test_nan_stays_in_its_row_and_padding_is_not_read(kind, dtype):
    z, w, b, h, c, g = arrays(kind, 3, 3, 5, dtype)
    lengths, spoilt = [3, 1, 2], z.copy()
    spoilt[0, 2, 0] = np.nan
    spoilt[1:, 1] = np.inf
    clean, y = (forward(kind, x, w, b, h, c, lengths=lengths) for x in (z, spoilt))
    assert np.isnan(y[..., 2, 0]).all() and y[..., :2, :].tobytes() == clean[..., :2, :].tobytes()
    for got, good in zip(*(backward(kind, x, w, b, h, c, g, clean, lengths=lengths) for x in (spoilt, z))):
        assert got is good is None or got[..., :2, :].tobytes() == good[..., :2, :].tobytes()
    huge = forward(kind, np.full_like(z, np.inf), w, b, h, c)
    assert np.isfinite(huge[0]).all() or kind == 1


def test_misuse_writes_nothing():
    x, out = np.ones(64, np.float32), np.full(64, 7, np.float32)
    p, q, null = ffi.from_buffer(x), ffi.from_buffer(out), ffi.NULL

    def run(kind=1, code=0, act=0, rev=0, steps=2, n=2, k=2, z=p, rep=0, w=p, b=null, h=p, c=p, y=q, work=q,
            gates=null):  # fmt: skip
        return lib.tae_recurrent(kind, code, act, rev, steps, n, k, null, z, rep, w, b, h, c, y, work, gates)

    def back(kind=1, n=2, k=2, z=p, w=p, wt=p, h=p, c=p, y=p, gates=null, g=p, dz=q, du=null, dh=q, dc=q):
        arrays = (w, wt, null, h, c, y, gates, g, dz, du, dh, dc)
        return lib.tae_recurrent_backward(kind, 0, 0, 0, 2, n, k, null, z, 0, *arrays)

    for bad in ({"kind": 3}, {"kind": -1}, {"code": 2}, {"act": 2}, {"act": -1}):
        assert run(**bad) == lib.TAE_NOT_MINE, bad
    refused = [{"rev": 2}, {"rep": 2}, {"steps": 0}, {"steps": -1}, {"n": -1}, {"k": -1}, {"k": 2**31}, {"n": 2**61},
               {"steps": 2**60}, *({name: null} for name in ("z", "w", "h", "c", "y", "work")), {"kind": 0},
               {"kind": 2}, {"kind": 0, "c": null, "gates": q}]  # fmt: skip
    for bad in refused:
        assert run(**bad) == lib.TAE_BAD_ARGUMENT, bad
    for bad in (*({name: null} for name in ("z", "w", "wt", "h", "c", "y", "g", "dz", "dh", "dc")), {"du": q},
                {"kind": 2, "c": null, "dc": null}, {"kind": 0, "c": null}, {"n": -1},
                {"kind": 0, "c": null, "dc": null, "gates": p}):  # fmt: skip
        assert back(**bad) == lib.TAE_BAD_ARGUMENT, bad
    assert run(n=0, z=null, y=null) == run(k=0, w=null) == back(n=0, z=null, dz=null) == lib.TAE_DONE
    assert np.all(out == 7)
