"""The benchmark runner, end to end at a tiny size: what it measures, what it refuses, what it writes. No time
is asserted.

Each test runs a copy of bench/, so that a peer can be spoilt; a folder named tinyae beside the copy stands for the
source folder that must not shadow the installed package.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinyae import kernels

BENCH = Path(__file__).resolve().parents[1] / "bench"
PEERS = [*(["tinyae-eager"] if kernels.info()["backend"] == "c" else []), "tinyae-numpy", "numpy"]

pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not beside tests/")


@pytest.fixture
def root(tmp_path):
    shutil.copytree(BENCH, tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tinyae").mkdir()
    (tmp_path / "tinyae" / "__init__.py").write_text("raise ImportError('this is the source folder')\n")
    return tmp_path


def bench(root, *arguments, path=""):
    """``python -m bench ...`` in root, with path as PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TINYAE_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def tiny(root, *arguments, cases="a", **settings):
    return bench(root, "train", "--quick", "--cases", cases, "--batch", 4, "--threads", 1, *arguments, **settings)


def spoil(root, file, old, new):
    text = (root / "bench" / file).read_text()
    assert text.count(old) == 1
    (root / "bench" / file).write_text(text.replace(old, new))


def pretend(root, **modules):
    """A package tinyae that is found before the installed one; returns what to put on PYTHONPATH."""
    package = root / "elsewhere" / "tinyae"
    package.mkdir(parents=True)
    for name in ("__init__", "data", "kernels", "nn", "ops", "optim"):
        (package / f"{name}.py").write_text(modules.get(name.strip("_"), ""))
    return package.parent


def test_a_run_prints_its_table_and_writes_its_rows(root):
    done = tiny(root, "--peers", ",".join(PEERS), "--json", "out.json", path=root)
    assert done.returncode == 0, done.stderr
    written = json.loads((root / "out.json").read_text())
    assert not [file for file in root.iterdir() if ".part" in file.name]

    assert [row["peer"] for row in written["rows"]] == [*PEERS, "control"]
    for row in written["rows"]:
        assert list(row) == ["case", "batch", "peer", "threads", "median_us", "q1_us", "q3_us", "loss20", "rss_mb",
                             "vs_best", "x_bound"]  # fmt: skip
        assert (row["case"], row["batch"], row["threads"]) == ("a", 4, 1)
        assert 0 < row["q1_us"] <= row["median_us"] <= row["q3_us"]
    *peers, control = written["rows"]
    assert all(row["loss20"] == pytest.approx(peers[-1]["loss20"], rel=1e-4) for row in peers)
    assert all(control[key] is None for key in ("loss20", "rss_mb", "vs_best", "x_bound"))
    others = min(row["median_us"] for row in peers if not row["peer"].startswith("tinyae"))
    assert peers[0]["vs_best"] == pytest.approx(others / peers[0]["median_us"])
    bound = written["flops"]["a/4"] / written["peak_gflops"] / 1e3
    assert all(row["x_bound"] == pytest.approx(row["median_us"] / bound) for row in peers)

    installed = str(Path(kernels.__file__).parents[1])
    for peer in PEERS[:-1]:
        about = written["peers"][peer]
        assert about["backend"] == {"tinyae-eager": "c", "tinyae-numpy": "numpy"}[peer]
    text = (root / "out.json").read_text()
    assert not [place for place in (installed, sys.prefix, str(root)) if place in text]
    assert {"benchmark", "date", "cpu", "cores", "system", "python", "numpy", "blas", "peak_gflops"} <= set(written)
    assert written["quick"] is True

    assert installed in done.stdout
    assert "batch 4: 2.0 MFLOP" in done.stdout
    assert max(map(len, done.stdout.partition("lower bound ")[2].splitlines())) <= 100


def test_peers_agree_where_the_gradient_is_by_hand(root):
    spoil(root, "peers/numpy.py", "def train_f(", "def not_train_f(")
    done = tiny(root, "--peers", "tinyae-numpy,numpy", "--peak", 100, "--json", "out.json", cases="c,e,f,g,h")
    assert done.returncode == 0, done.stderr
    written = json.loads((root / "out.json").read_text())
    measured = {(row["case"], row["peer"]) for row in written["rows"]}
    assert measured == {(c, p) for c in "cefgh" for p in ("tinyae-numpy", "numpy", "control")} - {("f", "numpy")}
    assert written["left_out"]["f/4"] == {"numpy": "this case is not written for it."}
    assert "left out: numpy: this case is not written for it." in done.stdout
    assert written["flops"]["h/4"] == 2 * 4 * 784 * 128 * 5
    alone = tiny(root, "--peers", "numpy", cases="f")
    assert alone.returncode == 2 and "nobody is left to time.\nnumpy: this case" in alone.stderr


def test_who_is_not_installed_is_named(root):
    spoil(root, "peers/__init__.py", '_ANY, "jax")', '_ANY, "no_such_library")')
    done = tiny(root, "--peers", "numpy,jax", "--json", "out.json", cases="f")
    assert done.returncode == 0, done.stderr
    assert any(line.split()[:2] == ["not", "here"] and "jax" in line for line in done.stdout.splitlines())
    written = json.loads((root / "out.json").read_text())
    assert "jax" in written["not_here"] and [row["peer"] for row in written["rows"]] == ["numpy", "control"]
    done = tiny(root, "--peers", "jax", cases="f")
    assert done.returncode == 2 and "jax is not installed" in done.stderr


def test_a_case_that_fails_leaves_the_others(root):
    spoil(root, "peers/numpy.py", "0.1 / rows", "0.2 / rows")
    done = tiny(root, "--peers", "tinyae-numpy,numpy", "--json", "out.json", cases="h,f")
    assert done.returncode == 1
    assert "bench train: case h/4: nothing was timed.\ntinyae-numpy (1 thread) disagrees" in done.stderr
    written = json.loads((root / "out.json").read_text())
    assert {row["case"] for row in written["rows"]} == {"f"} and list(written["failed"]) == ["h/4"]


def test_the_picture_is_drawn(root):
    pytest.importorskip("matplotlib")
    done = tiny(root, "--peers", "numpy", "--plot", "out.png", cases="f")
    assert done.returncode == 0, done.stderr
    assert (root / "out.png").read_bytes().startswith(b"\x89PNG")


def test_epochs_are_compared_and_timed(root):
    arguments = ["epoch", "--quick", "--rows", 300, "--threads", 1, "--peers", "tinyae-numpy,numpy", "--json", "e.json"]
    done = bench(root, *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads((root / "e.json").read_text())["rows"]
    assert [row["peer"] for row in rows] == ["tinyae-numpy", "numpy", "control"]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-4)
    assert all(0 < row["q1_us"] <= row["median_us"] <= row["q3_us"] for row in rows)
    spoil(root, "peers/numpy.py", "    order = rng.permutation(len(X))\n", "    order = np.arange(len(X))\n")
    done = bench(root, *arguments)
    assert done.returncode == 1 and "median" not in done.stdout
    assert "tinyae-numpy (1 thread) disagrees with numpy (1 thread): the first epoch's loss is" in done.stderr


def test_scale_measures_rows_batches_and_widths(root):
    spoil(root, "scale.py", "(500, (8, 64), (8, 64))", "(100, (64,), (8,))")
    done = bench(root, "scale", "--quick", "--rows", "50,3000", "--peers", "tinyae-numpy", "--json", "s.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((root / "s.json").read_text())["rows"]
    assert [row["case"] for row in rows] == [
        "rows 50", "rows 50 mapped", "batch 64", "width 8"]  # fmt: skip
    assert all(0 < row["q1_us"] <= row["median_us"] <= row["q3_us"] for row in rows)
    if sys.platform == "linux":
        assert all(0 < row["anonymous_mb"] < 100 for row in rows)
        assert "MB beyond the data (aim: below 300)" in done.stdout


def test_scale_leaves_out_what_does_not_fit(root):
    code = (
        "import collections, shutil\nfrom bench import scale\n"
        "shutil.disk_usage = lambda folder: collections.namedtuple('Usage', 'free')(10 * 4 * 784 * 2)\n"
        "print(scale._affordable([5, 10, 11, 12], '.'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "([5, 10], 'left out: 11, 12 rows: more than half of the 0.0 GiB of free disk')\n"


def test_import_measures_fresh_processes(root):
    done = bench(root, "import", "--quick", "--libraries", "numpy,tinyae", "--json", "i.json", path=root)
    assert done.returncode == 0, done.stderr
    rows = {row["peer"]: row for row in json.loads((root / "i.json").read_text())["rows"]}
    assert set(rows) == {"numpy", "tinyae"}
    assert all(0 < row["q1_us"] <= row["median_us"] <= row["q3_us"] and row["disk_mb"] > 0 for row in rows.values())
    done = bench(root, "import", "--quick", "--libraries", "tinyae", path=pretend(root, init="raise OSError('broken')"))
    assert done.returncode == 1 and "import tinyae: OSError: broken" in done.stderr


def test_compare_matches_rows_and_tells_noise(root):
    def write(name, *rows):
        names = ("case", "batch", "peer", "threads", "q1_us", "median_us", "q3_us")
        written = {"benchmark": "train", "rows": [dict(zip(names, row)) for row in rows]}
        (root / name).write_text(json.dumps(written))

    write("a.json", ("a", 32, "x", 1, 90, 100, 110), ("a", 32, "y", 1, 90, 100, 110), ("a", 32, "z", 1, 9, 10, 11))
    write("b.json", ("a", 32, "y", 1, 70, 80, 89), ("a", 32, "x", 1, 111, 125, 130), ("a", 32, "z", 2, 9, 10, 11))
    done = bench(root, "compare", "a.json", "b.json")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["a", "32", "x", "1", "100", "125", "1.25", "slower"] in lines
    assert ["a", "32", "y", "1", "100", "80.0", "0.80", "faster"] in lines
    assert "only in a.json: a 32 z 1\nonly in b.json: a 32 z 2\n" in done.stdout
    write("c.json", ("a", 32, "x", 1, 105, 115, 120))
    assert "slower" not in bench(root, "compare", "a.json", "c.json").stdout.partition("\nfaster")[0]
    write("d.json", ("b", 32, "x", 1, 1, 1, 1))
    done = bench(root, "compare", "a.json", "d.json")
    assert done.returncode == 2 and "no row in common" in done.stderr
    (root / "e.json").write_text("[]")
    done = bench(root, "compare", "a.json", "e.json")
    assert done.returncode == 2 and "e.json is not what --json wrote" in done.stderr


def test_eager_measures_single_operations_and_steps(root):
    done = bench(root, "eager", "--quick", "--peers", "tinyae-numpy", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((root / "out.json").read_text())["rows"]
    assert [row["case"] for row in rows if row["peer"] == "tinyae-numpy"] == [
        "add", "add+backward", "sigmoid", "matmul", "a32", "a128"]  # fmt: skip
    assert all(0 < row["q1_us"] <= row["median_us"] <= row["q3_us"] for row in rows)
    assert "taped one-element add\n" in done.stdout and "--quick: too few samples" in done.stdout


@pytest.mark.parametrize("case", ["add", "sigmoid", "matmul", "add+backward"])
def test_eager_compares_before_it_times(root, case):
    spoil(root, "peers/tinyae.py", "return tensor.data\n", "return tensor.data * 1.01\n")
    done = bench(root, "eager", "--quick", "--peers", "tinyae-numpy", "--cases", case)
    assert done.returncode == 1 and "median" not in done.stdout
    assert f"tinyae-numpy (1 thread) is wrong by 1.0e-02 of the largest entry in {case}" in done.stderr


# -- bench/results and the README's tables ----------------------------------------------------------------------------


def test_all_goes_on_after_a_failure(root):
    runs = '"none": ([], False), "import": (["--libraries", "numpy"], False)'
    spoil(root, "all.py", "RUNS = {", "RUNS = {" + runs + "}\nOLD = {")
    done = bench(root, "all", "--quick")
    assert done.returncode == 1 and "bench all: what they said is above: none (exit code 2)." in done.stderr
    assert json.loads((root / "bench" / "results" / "import.json").read_text())["quick"] is True


def results(folder):
    """Writes what benchmarks would have found."""
    machine = {"quick": False, "date": "2020-02-20T20:20:20+00:00", "cpu": "Abacus", "cores": 2, "system": "Sand",
               "python": "3.1", "numpy": "0.1", "not_here": ["jax"]}  # fmt: skip
    peers = {"tinyae": {"version": "7", "ISA": "mmx"}, "torch": {"version": "8"}}

    def row(case, peer, median, spread=0.01, **more):
        return {"case": case, "batch": 32, "peer": peer, "threads": 1, "median_us": median,
                "q1_us": median * (1 - spread), "q3_us": median * (1 + spread), **more}  # fmt: skip

    def write(name, rows, **more):
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps({**machine, **more, "rows": rows}))

    steps = [row("a", "tinyae", 200.0, vs_best=2.0, x_bound=4.0), row("a", "tinyae", 250.0, vs_best=1.6, x_bound=5.0),
             row("a", "torch", 400.0, vs_best=0.5, x_bound=8.0), row("a", "control", 9.0),
             row("f", "tinyae", 1.0, vs_best=3.0, x_bound=999.0), row("f", "control", 9.0, 0.005)]  # fmt: skip
    write("train", steps, peak_gflops=99.6, peak_is="as stated", peers=peers, failed={"h/4": "they\ndisagree."},
          left_out={"a/32": {"jax": "too old."}})  # fmt: skip
    write("epoch", [row("a", "tinyae", 2e5, vs_best=3.0), row("a", "torch", 6e5, 0.2), row("a", "control", 9.0, 0.2)],
          n=1234, left_out={})  # fmt: skip
    sizes = {"rows 1000": 5.0, "rows 1000 mapped": 6.0, "batch 8": 7.0, "width 9": 8.0}
    write("scale", [row(case, "tinyae", time, mapped="mapped" in case, anonymous_mb=10 * time)
                    for case, time in sizes.items()], left_out="left out: all else")  # fmt: skip
    write("import", [row("import", "numpy", 9e4, rss_mb=30, disk_mb=60.0),
                     row("import", "tinyae", 2e4, rss_mb=35, disk_mb=1.26)])  # fmt: skip


def test_the_table_says_what_the_files_say(root):
    shutil.rmtree(root / "bench" / "results", ignore_errors=True)
    assert bench(root, "table").stdout.startswith("Nothing has been measured yet")
    results(root / "bench" / "results")
    done = bench(root, "table")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in [
        "Measured on 2020-02-20: Abacus, 2 cores, Sand, Python 3.1, NumPy 0.1.",
        "| case | batch | tinyae | PyTorch | x best | x bound | noise |",
        "| a. 784-64-784 relu/sigmoid, MSE | 32 | 200 | 400 | 2.00 | 4.0 | 2% |",
        "| f. one-hot 4-2-4 sigmoid, MSE | 32 | 1.0 | - | 3.00 | - | 1% |",
        "matrix products alone at 100 GFLOP/s, as stated.",
        "tinyae 7 (mmx), PyTorch 8. Not installed: jax.",
        "Case h/4 was not timed: they disagree.",
        "Left out: jax, case a/32: too old.",
        "A shuffled epoch of case a, 1,234 rows, batch 32, median seconds:",
        "| seconds | 0.200 | 0.600 | 3.00 |",
        "The quartiles of a fixed loop, the control, differed by up to 40%: the machine was busy, and no number here "
        "means much.",
        "| 1,000 | 5.00 | 6.00 | 60 |", "| 8 | 7.00 | 70 |", "| 9 | 8.00 | 80 |", "left out: all else",
        "| `numpy` | 90 | - | 60.0 |", "| `tinyae` | 20 | 5 | 1.3 |",
    ]:  # fmt: skip
        assert line in lines
    assert done.stdout.count("Measured on") == 1 and "quick" not in done.stdout

    (root / "R.md").write_text("before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n")
    assert bench(root, "table", "--write", "R.md").returncode == 0
    assert (root / "R.md").read_text() == f"before\n<!-- speed -->\n{done.stdout}<!-- /speed -->\nafter\n"
    (root / "R.md").write_text("no place\n")
    refused = bench(root, "table", "--write", "R.md")
    assert refused.returncode == 2 and "R.md has no lines <!-- speed -->" in refused.stderr
    assert (root / "R.md").read_text() == "no place\n"


def between(name):
    return (BENCH.parent / "README.md").read_text().partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


def test_the_readme_is_of_the_results_that_stand_there():
    """Run `python -m bench table --write README.md` after new results."""
    assert between("speed") == bench(BENCH.parent, "table").stdout


@pytest.mark.skipif(kernels.info()["backend"] == "numpy", reason="the backend is NumPy: there is no C to test")
def test_the_readme_says_which_models_compile(root):
    """Run `python -m bench compiles --write README.md` after a change; counts may drift by a quarter until then."""
    done = bench(root, "compiles", "--markdown")
    assert done.returncode == 0, done.stderr
    said, found = between("compiles"), done.stdout
    assert re.sub(r"\d+", "#", said) == re.sub(r"\d+", "#", found)
    numbers = [[int(n) for n in re.findall(r" (\d+)\b", text)] for text in (said, found)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.25)


@pytest.mark.skipif(kernels.info()["backend"] == "numpy", reason="the backend is NumPy: there is no C to test")
def test_what_does_not_compile_is_named(root):
    spoil(root, "compiles.py", "        return [_count(plan)", PARTLY)
    lines = bench(root, "compiles").stdout.splitlines()
    (vae,) = [line for line in lines if line.startswith("vae ")]
    assert "bernoulli: in C but for 2 in Python: where; gaussian: refused: data looks at a value  " in vae
    assert any(line.split() == ["tied", "not", "by", "a", "plan", "-", "-"] for line in lines)


PARTLY = '''\
        if name != "vae":
            return [], []
        if loss == "bernoulli":
            return [(9, 5, ["where", "where"])], []
        return [], ["compile: data at /some/file.py:7 `x.item()` looks at a value. Do not."]
        return [_count(plan)'''


def test_no_arguments_list_the_benchmarks(root):
    done = bench(root)
    assert done.returncode == 0
    assert "  train     One training step" in done.stdout
    assert "runner" not in done.stdout


def test_a_new_file_with_a_run_is_a_new_benchmark(root):
    code = (
        '"""Says hello."""\ndef options(parser):\n    parser.add_argument("name")\n'
        'def run(options):\n    print("hello", options.name)\n'
    )
    (root / "bench" / "hello.py").write_text(code)
    assert "hello     Says hello." in bench(root).stdout
    assert bench(root, "hello", "you").stdout == "hello you\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("peers/numpy.py", "beta2=0.999", "beta2=0.99", "the loss of step "),
        ("peers/numpy.py", "[w, b, c]\n", "[w, b, c * 1.01]\n", "parameter 2 ends"),
        ("peers/numpy.py", "0.1 / rows", "np.nan / rows", "the loss of step 1 is"),
    ],
)
def test_peers_that_compute_something_else_are_not_timed(root, file, old, new, words):
    spoil(root, file, old, new)
    done = tiny(root, "--peers", "tinyae-numpy,numpy", "--json", "out.json", cases="h")
    assert done.returncode == 1
    assert "tinyae-numpy (1 thread) disagrees with numpy (1 thread)" in done.stderr
    assert words in done.stderr
    assert "median" not in done.stdout
    assert not (root / "out.json").exists()


@pytest.mark.parametrize(("peer", "has"), [("tinyae", "numpy"), ("tinyae-numpy", "c")])
def test_another_backend_than_asked_for_is_refused(root, peer, has):
    info = f"def info():\n    return dict(backend={has!r}, isa=None, why='as it happens')\n"
    done = tiny(root, "--peers", peer, path=pretend(root, kernels=info))
    assert done.returncode == 2
    assert f"bench train: {peer}: the backend is {has}, not " in done.stderr
    assert "as it happens" in done.stderr


def test_a_package_that_refuses_the_backend_itself_is_quoted(root):
    done = tiny(root, "--peers", "tinyae", path=pretend(root, init="raise RuntimeError('no C here.')"))
    assert done.returncode == 2
    assert "tinyae: no C here." in done.stderr
    assert "Traceback" not in done.stderr


def test_tinyae_not_installed(root):
    missing = "raise ModuleNotFoundError('nothing', name='tinyae')"
    done = tiny(root, "--peers", "tinyae,numpy", path=pretend(root, init=missing))
    assert done.returncode == 2
    assert f"tinyae is not installed for {sys.executable}. Run: pip install {root}" in done.stderr


def test_a_worker_that_crashes_is_named(root):
    done = tiny(root, "--peers", "numpy,tinyae", path=pretend(root, init="import os; os._exit(3)"))
    assert done.returncode == 1
    assert done.stderr.startswith("bench train: case a/4: tinyae (1 thread) ended with exit code 3;")


def test_a_worker_that_breaks_down_shows_where(root):
    spoil(root, "peers/numpy.py", "    update, net = _adam(p, g), ", "    update, net = _adam(p), ")
    done = tiny(root, "--peers", "numpy")
    assert done.returncode == 1
    assert "missing 1 required positional argument: 'g'" in done.stderr
    assert "case a/4: numpy (1 thread) ended with exit code 1;" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "There are: all, compare, compiles, defaults, eager, epoch, import, kernels, "),
        (["train", "--plot", "out.json"], "'out.json' is no picture"),
        (["train", "--peers", "someone"], "there is no 'someone'; there are: tinyae, tinyae-eager, "),
        (["train", "--cases", "z"], "there is no 'z'; there are: a, b, c, d, e, f, g, h"),
        (["train", "--batch", "32,0"], "'32,0' is not a list of whole numbers from 1 on"),
        (["train", "--threads", "many"], "'many' is not a list of whole numbers from 1 on"),
        (["train", "--peak", "0"], "'0' is not a number above 0"),
        (["train", "--json", "nowhere/out.json"], "cannot write a file 'nowhere/out.json'"),
        (["train", "--json", "."], "cannot write a file '.'"),
    ],
)
def test_what_there_is_not(root, arguments, words):
    done = bench(root, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(kernels.info()["backend"] == "numpy", reason="the backend is NumPy: there is no C to test")
def test_ulp_sweeps_and_says_what_is_worse_than_promised(root):
    done = bench(root, "ulp", "exp", "gelu", "erf", "--every", 9973, "--isa", "scalar")
    assert done.returncode == 0, done.stderr
    assert "the worst of 430,659 float32 inputs, scalar" in done.stdout
    worst = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()[4:]}
    assert list(worst) == ["exp", "gelu", "erf"] and all(0.5 <= ulp <= 2 for ulp in worst.values())
    assert bench(root, "ulp", "log", "--dtype", "float64", "--every", 1000).returncode == 0
    spoil(root, "ulp.py", '"exp": np.exp,', '"exp": lambda x: np.exp(x) * (1 + 1e-6),')
    done = bench(root, "ulp", "exp", "--every", 9973)
    assert done.returncode == 1
    assert "promised are 2 ulp" in done.stderr and "exp is off by " in done.stderr
    for arguments, words in (["sine"], "there is no 'sine'"), (["exp", "--isa", "mmx"], "'mmx' is not an instruction"):
        done = bench(root, "ulp", *arguments)
        assert done.returncode == 2 and words in done.stderr
