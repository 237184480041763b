"""The reproduction's command and its table: bounds, what is stored and what counts, what is refused. Nothing of the
recipes is trained here but a small one of a test's own.
"""

import json
import signal
import subprocess
import sys
import time

import pytest
import test_bench

BENCH, bench, root = test_bench.BENCH, test_bench.bench, test_bench.root
pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not beside tests/")

TOY = '''
"""A row that takes a second."""

from . import Check, Fit, Recipe


def last_loss(run, name):
    """The loss of the last epoch."""
    return run.models[name].history_["loss"][-1]


RECIPES = [
    Recipe("R99", "toy", "nobody", {"toy": Fit("vanilla", {"max_iter": 2}, rows=300, quick={"max_iter": 1})},
           (Check("loss", last_loss, ("toy",), ".07", high=BOUND, quick=(None, 0.5)),), data="digits", seeds=2)
]
'''


CHECK = """
from bench.recipes import by_id

recipes = by_id()
assert len({recipe.digest() for recipe in recipes.values()}) == len(recipes)
for recipe in recipes.values():
    assert recipe.checks and len({check.name for check in recipe.checks}) == len(recipe.checks), recipe.id
    for check in recipe.checks:
        for quick in (False, True):
            low, high = check.bounds(quick)
            assert (low, high) != (None, None), (recipe.id, check.name, quick)
            assert not check.passes(float("nan"), quick)
            assert low is None or check.passes(low, quick) and not check.passes(low - 1, quick)
            assert high is None or check.passes(high, quick) and not check.passes(high + 1, quick)
print(len(recipes))
"""


FOREVER = """
def forever(run):
    import pathlib
    import time

    pathlib.Path("began").touch()
    time.sleep(600)
"""


@pytest.fixture
def with_toy(root):
    (root / "bench" / "results" / "reproduce.json").unlink(missing_ok=True)

    def write(bound=1.0):
        (root / "bench" / "recipes" / "toy.py").write_text(TOY.replace("BOUND", repr(bound)))
        return root

    return write


def stored(root):
    return json.loads((root / "bench" / "results" / "reproduce.json").read_text())["rows"]


def test_a_row_is_trained_stored_and_taken_up_again(root, with_toy):
    done = bench(with_toy(), "reproduce", "r99", "--seeds", 1)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 rows pass" in done.stdout and ".07" in done.stdout and "<= 1" in done.stdout
    (row,) = stored(root)
    assert (row["id"], row["seed"]) == ("R99", 0) and 0 < row["values"]["loss"] < 0.3 and row["seconds"] > 0
    again = bench(with_toy(), "reproduce", "R99", "--seeds", 2)  # only the second seed is new
    first, second = stored(root)
    assert again.returncode == 0 and first == row and second["seed"] == 1
    assert second["values"] != row["values"]
    mean = (first["values"]["loss"] + second["values"]["loss"]) / 2
    assert f"{mean:.4g} +- " in again.stdout


def test_a_bound_that_is_missed_fails_the_row(with_toy):
    done = bench(with_toy(bound=1e-6), "reproduce", "R99", "--seeds", 1)
    assert done.returncode == 1 and "FAIL" in done.stdout and "0 of 1 rows pass" in done.stdout


def test_a_changed_recipe_is_trained_again_and_quick_stores_nothing(root, with_toy):
    bench(with_toy(), "reproduce", "R99", "--seeds", 1)
    (before,) = stored(root)
    quick = bench(with_toy(), "reproduce", "R99", "--quick")
    assert quick.returncode == 0 and "<= 0.5" in quick.stdout and stored(root) == [before]
    bench(with_toy(bound=20.0), "reproduce", "R99", "--seeds", 1)
    (after,) = stored(root)
    assert after["recipe"] != before["recipe"] and after["values"] == before["values"]


def test_what_is_refused(root):
    done = bench(root, "reproduce", "R3", "R77")
    assert done.returncode == 2 and "there is no row R77" in done.stderr and "R3" in done.stderr
    (root / "bench" / "results").mkdir(exist_ok=True)
    (root / "bench" / "results" / "reproduce.json").write_text("[]")
    done = bench(root, "reproduce", "R3")
    assert done.returncode == 2 and "is not what this command wrote" in done.stderr
    done = bench(root, "reproduce", "--seeds", 0)
    assert done.returncode == 2 and "'0' is not a whole number from 1 to 100" in done.stderr.splitlines()[-1]


def test_without_the_data_it_says_how_to_get_it(root, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = bench(root, "reproduce", "R3", "R4", "--seeds", 2, "--quick")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.count("tinyae data get mnist") == 1 and "\nR3, R4: load_data('mnist'): not in " in done.stdout


def test_the_seeds_that_broke_down_are_named(root):
    toy = TOY.replace("    return run", """    if run.seed:
        from tinyae.errors import DataError

        raise DataError("spoiled")
    return run""")
    (root / "bench" / "recipes" / "toy.py").write_text(toy.replace("BOUND", "1.0"))
    done = bench(root, "reproduce", "R99", "--seeds", 2, "--quick")
    assert done.returncode == 1 and "\nR99 (seed 1): spoiled\n" in done.stdout


def test_every_check_has_bounds_that_could_fail_it(root):
    (root / "check.py").write_text(CHECK)
    done = subprocess.run([sys.executable, "check.py"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 25, "R1 to R25"


def test_the_readme_says_what_is_stored(root):
    readme = BENCH.parent / "README.md"
    (root / "README.md").write_text(readme.read_text())
    done = bench(root, "reproduce", "--write", "README.md")
    assert done.returncode == 0, done.stderr
    assert (root / "README.md").read_text() == readme.read_text()


def test_the_table_of_stored_rows(root, with_toy):
    bench(with_toy(), "reproduce", "R99", "--seeds", 2)
    (root / "R.md").write_text("a\n<!-- reproduce -->\n<!-- /reproduce -->\nb\n")
    bench(root, "reproduce", "--write", "R.md")
    losses = [row["values"]["loss"] for row in stored(root)]
    lines = (root / "R.md").read_text().splitlines()
    assert lines[:2] == ["a", "<!-- reproduce -->"] and lines[-2:] == ["<!-- /reproduce -->", "b"]
    assert "1 of 1 rows pass" in lines[2] and f"| R99  toy: loss | .07 | {sum(losses) / 2:.4g} +- " in lines[-3]
    bench(with_toy(bound=20.0), "reproduce", "--write", "R.md")
    assert "R99" not in (root / "R.md").read_text(), "stored for another recipe"


def test_an_interrupt_does_not_wait_for_a_fit(root, with_toy):
    with_toy()
    recipe = root / "bench" / "recipes" / "toy.py"
    began = root / "began"
    recipe.write_text(recipe.read_text().replace("RECIPES", FOREVER + "\n\nRECIPES", 1).replace(
        'Fit("vanilla", {"max_iter": 2}, rows=300, quick={"max_iter": 1})', "forever"))  # fmt: skip
    run = subprocess.Popen([sys.executable, "-m", "bench", "reproduce", "R99", "--seeds", "1"], cwd=root,
                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)  # fmt: skip
    while not began.exists():
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130 and said.rstrip().endswith("bench reproduce: interrupted.")
