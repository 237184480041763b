"""`python -m bench kernels`, end to end at a tiny size, and the limits of the machine that the C library measures.

Each run is of a copy of bench/, as in test_bench.py. No time is asserted.
"""

import json
import math

import numpy as np
import pytest
import test_bench

from tinyae import kernels

BENCH, bench, root, spoil = test_bench.BENCH, test_bench.bench, test_bench.root, test_bench.spoil
IN_C = kernels.info()["backend"] == "c"
pytestmark = [
    pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not beside tests/"),
    pytest.mark.skipif(not IN_C, reason="the backend is NumPy: there is no C to test"),
]
if IN_C:
    from tinyae._kernels import ffi, lib


def quick(root, *arguments):
    return bench(root, "kernels", "--quick", *arguments)


def test_a_run_prints_its_tables_and_writes_rows_and_picture(root):
    pytest.importorskip("matplotlib")
    spoil(root, "peers/__init__.py", '.torch", {}, _ANY, "torch"', '.torch", {}, _ANY, "torch_that_is_not_here"')
    files = "--json", "out.json", "--plot", "out.png"
    done = quick(root, "--op", "exp,adam,gemm", "--peers", "numpy", "--threads", "1", *files)
    assert done.returncode == 0, done.stderr
    written = json.loads((root / "out.json").read_text())
    assert [row["op"] for row in written["rows"] if row["peer"] == "tinyae"] == ["exp", "adam", "gemm"]
    assert {row["peer"] for row in written["rows"]} == {"tinyae", "numpy", "reference", "control"}
    for row in written["rows"]:
        assert 0 < row["q1_us"] <= row["median_us"] <= row["q3_us"] and row["threads"] == 1
        if row["peer"] in ("tinyae", "numpy"):
            rate = "gflops" if row["op"] == "gemm" else "gbs"
            assert row[rate] > 0 and row["share"] > 0
            assert row["gflops" if rate == "gbs" else "gbs"] is None
    exp = next(row for row in written["rows"] if row["op"] == "exp" and row["peer"] == "tinyae")
    assert exp["size"] == "1k" and exp["gbs"] == pytest.approx(8 * 1000 / exp["median_us"] / 1e3)
    (peak,) = written["peaks"].values()
    assert peak["fma_gflops"] > 0 and all(speed > 0 for _, speed in peak["copy_gbs"])

    lines = done.stdout.splitlines()
    assert any(line.startswith("not here") and "torch" in line for line in lines)
    assert "element-wise functions" in lines and "optimizers, one step in place" in lines and "matrix products" in lines
    heads = [line.split() for line in lines if line.startswith("op ")]
    assert [" ".join(head[-2:]) for head in heads] == ["x copy", "x move", "vs best"]
    assert any(line.startswith("exp ") for line in lines) and any("GFLOP/s float32 multiply-add" in li for li in lines)
    assert any("AMX" in line for line in lines) and "--quick: too few samples" in done.stdout
    assert any(line.startswith("gemm 128x20x400: at least the best peer, one thread") for line in lines)
    assert (root / "out.png").read_bytes().startswith(b"\x89PNG") and (root / "out.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("op", "old", "new", "words"),
    [
        ("exp", '"exp": np.exp,', '"exp": lambda x: np.exp(x) * _f32(1.0001),', "wrong in exp 1k: "),
        ("sum.rows", '"sum.rows": lambda x: x.sum(1)', '"sum.rows": lambda x: x.sum(0)', "shape (784,), not (128,)"),
        ("relu", '"relu": lambda x: np.', '"relu": lambda x: 0 * x / (x != x[7]) + np.', "at [7]: off by inf"),
        ("normal", "_RNG.standard_normal(x.shape, _f32)", "_RNG.random(x.shape, _f32)", "wrong in normal 1k: "),
    ],
)
def test_wrong_answers_are_not_timed(root, op, old, new, words):
    spoil(root, "ops/numpy.py", old, new)
    done = quick(root, "--op", op, "--peers", "numpy", "--threads", "1", "--json", "out.json")
    assert done.returncode == 1 and "numpy (1 thread) is wrong in" in done.stderr and words in done.stderr
    assert "tinyae" not in done.stderr
    assert "quartiles" not in done.stdout and not (root / "out.json").exists()


def test_a_picture_needs_matplotlib(root):
    (root / "bench" / "matplotlib.py").write_text("")
    spoil(root, "roofline.py", "from matplotlib.figure import Figure", "from matplotlib.nothing import Figure")
    done = quick(root, "--op", "exp", "--plot", "out.png")
    assert done.returncode == 2 and "--plot needs matplotlib" in done.stderr and "pip install matplotlib" in done.stderr


def test_targets_are_what_the_rows_say(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH.parent))
    from bench import kernels as kernel_bench

    def rows(op, size, kind, threads, **times):
        return [{"op": op, "size": size, "kind": kind, "threads": threads, "peer": peer, "median_us": us}
                for peer, us in times.items()]  # fmt: skip

    big = "1024x1024x1024"
    found = kernel_bench.targets([
        *rows("exp", "100k", "element-wise", 1, tinyae=16.0, numpy=15.0, torch=40.0, jax=1.0, reference=8.0),
        *rows("adam", "100k", "optimizer", 1, tinyae=11.0, torch=40.0, reference=10.0, control=1.0),
        *rows("gemm", big, "gemm", 1, tinyae=10.0, numpy=9.0), *rows("gemm", big, "gemm", 2, tinyae=5.0, numpy=9.0),
    ])  # fmt: skip
    assert [(round(number, 4), bound, met) for _, number, bound, _, met in found] == [
        (0.9375, 0.95, False), (2.0, 1.6, False), (1.1, 1.15, True), (0.9, 0.95, False), (2.0, 1.7, True)]  # fmt: skip


# -- csrc/peak.c ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", kernels.info()["isas_supported"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_do_what_they_say(isa, dtype):
    code, before = int(dtype is np.float64), kernels.get_num_threads()
    p = ffi.from_buffer
    try:
        for threads in 1, 2:
            kernels.set_num_threads(threads)
            with kernels.use_isa(isa):
                flops = ffi.new("double *")
                assert lib.tae_peak_fma(code, 1000, flops) == 0
                per_thread = flops[0] / threads
                assert per_thread >= 24 * 1000 and per_thread % 24_000 == 0  # 12 chains of one or more lanes
                assert lib.tae_peak_fma(code, 0, flops) == 0 and flops[0] == 0
                for n in 0, 1, 31, 64, 65, 1000:
                    x = np.arange(n, dtype=dtype)
                    x[: n // 2] = np.nan
                    out = np.full(n + 8, 7, dtype)
                    assert lib.tae_peak_copy(code, n, p(x), p(out)) == 0
                    assert out[:n].tobytes() == x.tobytes() and (out[n:] == 7).all()
                    arrays = [np.random.default_rng(i).standard_normal(n + 8).astype(dtype) for i in range(4)]
                    was = [a.copy() for a in arrays]
                    assert lib.tae_peak_rotate(code, n, *map(p, arrays)) == 0
                    for new, old in zip(arrays, (was[2], was[1], was[3], was[1] - was[0])):
                        assert np.array_equal(new[:n], old[:n])
                    for new, old in zip(arrays, was):
                        assert np.array_equal(new[n:], old[n:])
    finally:
        kernels.set_num_threads(before)


def test_limits_refuse_what_they_cannot_do():
    flops, x, null = ffi.new("double *", 5.0), ffi.new("float[4]"), ffi.NULL
    assert lib.tae_peak_fma(2, 1, flops) == lib.TAE_NOT_MINE
    assert lib.tae_peak_fma(0, -1, flops) == lib.tae_peak_fma(0, 1, null) == lib.TAE_BAD_ARGUMENT and flops[0] == 5.0
    assert lib.tae_peak_copy(2, 1, x, x) == lib.tae_peak_rotate(2, 1, x, x, x, x) == lib.TAE_NOT_MINE
    for n, a, b in (-1, x, x), (1, null, x), (1, x, null), (1 << 62, x, x):
        assert lib.tae_peak_copy(0, n, a, b) == lib.TAE_BAD_ARGUMENT
        assert lib.tae_peak_rotate(0, n, a, b, a, b) == lib.TAE_BAD_ARGUMENT
    assert lib.tae_peak_copy(0, 0, null, null) == lib.tae_peak_rotate(0, 0, null, null, null, null) == 0


# -- bench/ulp.py ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "truth", "low", "high"),
    [
        ("erf", math.erf, -7, 7),
        ("erfc", math.erfc, -7, 10),
        ("gelu", lambda x: x * math.erfc(-x * math.sqrt(0.5)) / 2, -13, 13),
    ],
)
def test_what_numpy_lacks_is_known_to_a_millionth_of_a_float32_unit(monkeypatch, name, truth, low, high):
    monkeypatch.syspath_prepend(str(BENCH.parent))
    from bench import ulp

    x = np.concatenate([np.linspace(low, high, 5001), 10.0 ** np.linspace(-30, 0, 500), np.arange(-400, 400) / 128])
    x = x[x != 0]
    want = np.array([truth(value) for value in x.tolist()])
    assert np.abs(ulp.FUNCTIONS[name](x) / want - 1).max() < 1e-13
    assert ulp.FUNCTIONS[name](np.array([0.0]))[0] == truth(0.0)
