"""csrc/threads.c and the number of threads: the same bits on any of them, after forks, beside other callers.

`test_kernels_check.py` has the same without Python, watched by sanitizers.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyae import kernels
from tinyae.errors import SettingError

pytestmark = pytest.mark.skipif(kernels.info()["backend"] != "c", reason="the backend is NumPy: there is no C to test")
on_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this platform does not list threads")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture(autouse=True)
def same_number_afterwards():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def python(code, **environment):
    """Run code in a fresh interpreter on the tinyae tested here; what it printed, as JSON."""
    clean = {k: v for k, v in os.environ.items() if k not in ("TINYAE_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(kernels.__file__).parents[2],  # -c puts the working folder first on the path
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def operands(m, k, n, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


# -- how many -------------------------------------------------------------------------------------------------------


def test_the_number_is_what_was_set():
    for n in (1, 3, np.int64(2), 256):
        kernels.set_num_threads(n)
        assert kernels.get_num_threads() == kernels.info()["threads"] == n


@pytest.mark.parametrize("n", [0, -1, 257, 1.0, "2", None, True])
def test_what_is_no_number_of_threads_is_refused(n):
    before = kernels.get_num_threads()
    with pytest.raises(SettingError, match="set_num_threads: .* is no number of threads. Give an integer from 1"):
        kernels.set_num_threads(n)
    assert kernels.get_num_threads() == before


SHOW = "import json; from tinyae import kernels; print(json.dumps(kernels.get_num_threads()))"


def test_the_environment_says_how_many():
    assert python(SHOW, TINYAE_NUM_THREADS="3", OMP_NUM_THREADS="5") == 3
    assert python(SHOW, OMP_NUM_THREADS="5") == 5
    assert python(SHOW, OMP_NUM_THREADS="4,2") == 4, "a number for each nested level"
    default = python(SHOW)
    assert 1 <= default <= (os.cpu_count() or 1)
    for not_for_us in ("", "all", "0", "-2"):
        assert python(SHOW, OMP_NUM_THREADS=not_for_us) == default
    assert python(SHOW, TINYAE_NUM_THREADS="2", TINYAE_BACKEND="numpy") == 1, "NumPy's BLAS has its own"


@pytest.mark.parametrize("n", ["0", "two", "-1", "257", "1.5"])
def test_a_bad_number_in_our_variable_is_refused(n):
    with pytest.raises(AssertionError, match="TINYAE_NUM_THREADS: .* is no number of threads. Give an integer from 1"):
        python(SHOW, TINYAE_NUM_THREADS=n)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform does not bind processes")
def test_the_default_is_the_processors_that_this_process_is_bound_to():
    one = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\n"
    assert python(one + SHOW) == 1


def test_the_default_is_what_the_control_group_grants(monkeypatch):
    files = {}
    monkeypatch.setattr(kernels.library, "_words", lambda path: files.get(path, []))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert kernels.library._processors() == 64
    for version_2, processors in (([150000, 100000], 2), ([0, 100000], 64), ([50000, 100000], 1), ([0], 64)):
        files["/sys/fs/cgroup/cpu.max"] = version_2
        assert kernels.library._processors() == processors
    files.clear()
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"], files["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = [300000], [100000]
    assert kernels.library._processors() == 3
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = [-1]
    assert kernels.library._processors() == 64


def test_a_limit_is_read_as_it_is_written(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert kernels.library._words(tmp_path / "cpu.max") == [0, 100000], "no limit"
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert kernels.library._words(tmp_path / "cpu.max") == [150000, 100000]
    assert kernels.library._words(tmp_path / "nothing") == []


# -- the same bits --------------------------------------------------------------------------------------------------

LONG = [100, 127, 200, 333, 600]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_any_number_of_threads_gives_the_same_bits(dtype, data):
    m, k, n = data.draw(
        st.one_of(
            st.tuples(*[st.sampled_from(LONG)] * 3),
            st.tuples(st.sampled_from([1, 3, 20]), st.sampled_from([1500, 3000]), st.sampled_from([1000, 1111])),
            st.tuples(st.sampled_from([1500, 3000]), st.sampled_from([1000, 1111]), st.sampled_from([1, 3, 20])),
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    a, b, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (n,)))
    if data.draw(st.booleans()):
        a = a.T.copy().T
    if data.draw(st.booleans()):
        b = b.T.copy().T
    before = rng.standard_normal((m, n)).astype(dtype)
    beta = data.draw(st.sampled_from([0.0, 1.0]))
    results = []
    for threads in (1, 2, 3, data.draw(st.integers(4, 8))):
        kernels.set_num_threads(threads)
        results.append(kernels.gemm(a, b, bias, "tanh", alpha=0.5, out=before.copy(), beta=beta).tobytes())
    assert len(set(results)) == 1


def test_a_stack_too():
    for leading in ((40,), (3, 1, 5), (2,)):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((*leading, 300, 50))
        y = rng.standard_normal((*leading[:1], *(1,) * (len(leading) - 1), 50, 150))
        results = []
        for threads in (1, 2, 5, 8):
            kernels.set_num_threads(threads)
            results.append(kernels.FORWARD["matmul"](x, y))
        assert all(r.tobytes() == results[0].tobytes() for r in results)
        assert np.allclose(results[0], x @ y)


def test_subnormals_count_as_zero_on_every_thread_and_nowhere_else():
    tiny = np.finfo(np.float32).smallest_normal
    kernels.set_num_threads(4)
    a, b = np.full((400, 200), tiny / 2), np.ones((200, 300), np.float32)
    for _ in range(20):
        assert not kernels.gemm(a, b).any()
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda _: tiny / np.float32(2) != 0, range(8))), "the mode of a caller's thread was changed"
    assert tiny / np.float32(2) != 0


# -- workers: when there are any, and beside what -------------------------------------------------------------------

COUNT = """
import json, os, time
import numpy as np
from tinyae import kernels
a, b = np.ones((200, 300), "f"), np.ones((300, 400), "f")
def count(of):
    for _ in range(200):  # a joined thread may be listed for a moment
        n = len(os.listdir("/proc/self/task")) - others
        if n == of: break
        time.sleep(0.005)
    return n
others = len(os.listdir("/proc/self/task"))
"""


@on_linux
def test_workers_start_when_needed_and_end_when_no_longer_wanted():
    counts = python(
        COUNT
        + """
kernels.set_num_threads(3); counts = [count(0)]
kernels.gemm(a[:2], b); counts.append(count(0))       # too small to share
kernels.gemm(a, b); counts.append(count(2))
kernels.set_num_threads(2); counts.append(count(0))
kernels.gemm(a, b); counts.append(count(1))
kernels.set_num_threads(1); kernels.gemm(a, b); counts.append(count(0))
print(json.dumps(counts))
""",
        OPENBLAS_NUM_THREADS="1",
    )
    assert counts == [0, 0, 2, 0, 1, 0]


@on_linux
@can_fork
def test_after_a_fork_parent_and_child_have_workers_of_their_own():
    """-W error: from 3.12 on Python warns of a fork beside running threads, and here there are none left."""
    counts = python(
        COUNT
        + """
kernels.set_num_threads(3); one = kernels.gemm(a, b).tobytes()
counts, read_end, write_end = [count(2)], *os.pipe()
child = os.fork()
found = [count(0), kernels.gemm(a, b).tobytes() == one, count(2)]
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if kernels.gemm(a, b).tobytes() == one and count(2) == 2 else 1)
    found.append(os.waitpid(grandchild, 0)[1])
    os.write(write_end, json.dumps(found).encode()); os._exit(0)
os.waitpid(child, 0)
print(json.dumps([counts, found, json.loads(os.read(read_end, 1000))]))
""",
        OPENBLAS_NUM_THREADS="1",
    )
    assert counts == [[2], [0, True, 2], [0, True, 2, 0]]


CHILDREN = """
import json, multiprocessing, sys
import numpy as np
from tinyae import kernels

def product(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((200, 300)), rng.standard_normal((300, 400))
    return [kernels.gemm(a, b).tobytes() for _ in range(3)]

if __name__ == "__main__":
    kernels.set_num_threads(3)
    here = [product(seed) for seed in range(4)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        there = pool.map(product, range(4))
    print(json.dumps(here == there and here == [product(seed) for seed in range(4)]))
"""


@can_fork
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_the_children_of_multiprocessing(tmp_path, method):
    path = tmp_path / "children.py"
    path.write_text(CHILDREN)
    done = subprocess.run(
        [sys.executable, path, method],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(kernels.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.strip() == "true", done.stderr


@can_fork
def test_a_fork_while_another_thread_is_computing():
    assert python(
        COUNT
        + """
import threading
kernels.set_num_threads(2); one = kernels.gemm(a, b).tobytes()
running = True
def compute():
    while running: kernels.gemm(a, b)
thread = threading.Thread(target=compute); thread.start()
import warnings; warnings.simplefilter("ignore")      # of the thread above, from 3.12 on
ends = []
for _ in range(20):
    child = os.fork()
    if child == 0: os._exit(0 if kernels.gemm(a, b).tobytes() == one else 1)
    ends.append(os.waitpid(child, 0)[1])
running = False; thread.join()
print(json.dumps(ends))
"""
    ) == [0] * 20


def test_four_callers_at_once_have_the_bits_of_one_after_another():
    cases = [operands(150 + 7 * i, 300, 200, seed=i) for i in range(4)]
    kernels.set_num_threads(1)
    alone = [kernels.gemm(*case).tobytes() for case in cases]
    kernels.set_num_threads(3)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert [c.tobytes() for c in pool.map(lambda case: kernels.gemm(*case), cases)] == alone


def test_the_number_may_change_while_others_compute():
    a, b = operands(200, 300, 200)
    kernels.set_num_threads(1)
    expected = kernels.gemm(a, b).tobytes()
    wrong, running = [], True

    def compute():
        while running:
            if kernels.gemm(a, b).tobytes() != expected:
                wrong.append(1)

    callers = [threading.Thread(target=compute) for _ in range(3)]
    for caller in callers:
        caller.start()
    for i in range(60):
        kernels.set_num_threads(1 + i % 4)
    running = False
    for caller in callers:
        caller.join()
    assert not wrong
