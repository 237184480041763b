"""What the sources report, trained again on the real data: published value, ours, and whether it holds."""

import argparse
import concurrent.futures
import contextlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

from bench import Failed, Refused, runner
from bench.peers import PEERS
from bench.recipes import Run, by_id

RESULTS = runner.RESULTS / "reproduce.json"


class Task:
    """One row with one seed, in a process of its own."""

    def __init__(self, peer, row, seed, quick, picture):
        self.recipe, self.seed, self.quick, self.picture = by_id()[row], seed, quick, picture

    def run(self):
        """{"values": {check: value}, "seconds": from the data's loading to the last check}."""
        started = time.perf_counter()
        run = Run(self.recipe, self.seed, self.quick)
        values = run.values()
        seconds = time.perf_counter() - started
        if self.picture and self.recipe.picture:
            from tinyae import plot

            path = Path(self.picture)
            partial = path.with_name(f"{path.name}.part")
            partial.write_bytes(plot.png(self.recipe.picture(run)))
            os.replace(partial, path)
        return {"values": values, "seconds": seconds}


def options(parser):
    """The command line."""
    parser.add_argument("rows", nargs="*", metavar="ROW", help="R3 R4 ...; all, if none is named")
    parser.add_argument("--quick", action="store_true", help="all rows in minutes, with bounds of their own")
    parser.add_argument("--seeds", type=_count, metavar="N", help="how many of a row, 1 to 100 (default: its own)")
    parser.add_argument("--json", type=runner.writable, metavar="FILE", help="where results are kept, and sought")
    parser.add_argument("--list", action="store_true", help="print the recipes and end")
    parser.add_argument("--write", type=Path, metavar="FILE",
                        help="train nothing; put what is stored between FILE's <!-- reproduce --> lines")  # fmt: skip


def run(options):
    """Train what is not stored, print the table; returns 1 if a row fails."""
    recipes = by_id()
    if unknown := [row for row in options.rows if row.upper() not in recipes]:
        raise Refused(f"there is no row {', '.join(unknown)}. There are: {', '.join(recipes)}.")
    chosen = [recipes[row.upper()] for row in options.rows] or list(recipes.values())
    if options.list:
        for recipe in chosen:
            print(f"{recipe.id:4} {recipe.title}  ({recipe.source})")
            if recipe.differs:
                print(f"     {recipe.differs}")
        return 0
    if options.write:
        runner.write_between(options.write, "reproduce", markdown(options.json or RESULTS, recipes))
        return 0
    store = Store(options.json or RESULTS, _commit(), options)
    tasks = [(recipe, seed) for recipe in chosen for seed in range(_seeds(recipe, options))]
    started = time.perf_counter()
    problems = train([task for task in tasks if store.get(*task) is None], store, options.quick)
    print(f"tinyae at {store.commit}, {store.machine['cpu']}, {runner.CORES} cores\n")
    lines, failed = judged(chosen, [(recipe, store.get(recipe, seed)) for recipe, seed in tasks], options.quick)
    runner.print_table(HEADER, lines)
    note = "; --quick: bounds are those of the short runs" if options.quick else ""
    print(f"\n{len(chosen) - failed} of {len(chosen)} rows pass{note}")
    for sentence, broken in problems.items():
        print(f"{_names(broken, tasks)}: {sentence}")
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 1 if failed or problems else 0


class Store:
    """The results: a list of rows in a JSON file, appended to as they come. A row counts for its commit and recipe."""

    def __init__(self, path, commit, options):
        self.path, self.commit, self.lock = path, commit, threading.Lock()
        self.machine = runner.machine(options)
        self.kept = not options.quick
        self.rows = read(path)["rows"] if self.kept and path.exists() else []

    def get(self, recipe, seed):
        """The stored row, or None."""
        key = recipe.id, seed, self.commit, recipe.digest()
        return next((r for r in self.rows if (r["id"], r["seed"], r["commit"], r["recipe"]) == key), None)

    def add(self, recipe, seed, result):
        """Enter a result, in place of what stands there for this row and seed."""
        with self.lock:
            self.rows = [row for row in self.rows if (row["id"], row["seed"]) != (recipe.id, seed)]
            self.rows.append({"id": recipe.id, "seed": seed, "commit": self.commit, "recipe": recipe.digest(),
                              "seconds": round(result["seconds"], 2), "values": result["values"]})  # fmt: skip
            self.rows.sort(key=lambda row: (int(row["id"][1:]), row["id"], row["seed"]))
            if self.kept:
                self.path.parent.mkdir(exist_ok=True)
                runner.write_json(self.path, {"benchmark": "reproduce", **self.machine}, self.rows)


def read(path):
    """What a `Store` wrote; raises Refused if it is anything else."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        for row in written["rows"]:
            row["id"], row["seed"], row["commit"], row["recipe"], row["values"], row["seconds"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        what = type(problem).__name__
        raise Refused(f"{path} is not what this command wrote ({what}). Move it away.") from None
    return written


def train(tasks, store, quick):
    """Train the tasks and store their results; returns {sentence: the tasks that broke down so}.

    Recipes of several seeds run side by side on one thread each, a lone seed has all cores.
    """
    problems, alive = {}, []
    alone = [task for task in tasks if task[0].seeds == 1 and not quick]
    beside = [task for task in tasks if task not in alone]
    pictures = store.path.parent / "reproduce"
    if store.kept and tasks:
        pictures.mkdir(parents=True, exist_ok=True)
    with _Bar(len(tasks)) as bar:

        def work(task, threads):
            recipe, seed = task
            picture = str(pictures / f"{recipe.id}.png") if store.kept and seed == 0 else None
            process = None
            bar.begin(recipe.id, seed)
            try:
                settings = {"row": recipe.id, "seed": seed, "quick": quick, "picture": picture}
                process = runner.Process("tinyae", PEERS["tinyae"], "bench.reproduce", threads, settings)
                alive.append(process)
                process.ready()
                store.add(recipe, seed, process.call("run"))
            except (Failed, Refused) as problem:
                with store.lock:
                    problems.setdefault(str(problem).removeprefix("tinyae: "), []).append(task)
            finally:
                if process is not None:
                    process.close()
                bar.end(recipe.id, seed)

        for group, workers in ((beside, runner.CORES), (alone, 1)):
            pool = concurrent.futures.ThreadPoolExecutor(workers)
            try:
                for done in [pool.submit(work, task, 1 if workers > 1 else runner.CORES) for task in group]:
                    done.result()
            except BaseException:  # Ctrl-C: a fit of minutes must not be waited for
                pool.shutdown(wait=False, cancel_futures=True)
                for process in alive:
                    process.pipe.kill()
                raise
            finally:
                pool.shutdown()
    return problems


HEADER = ["row", "published", "ours", "bounds", "", "s"]


def judged(recipes, results, quick):
    """(table rows, how many recipes fail) of [(recipe, stored row or None), ...]."""
    lines, failed = [], 0
    for recipe in recipes:
        rows = [row for other, row in results if other is recipe]
        if None in rows or not rows:
            failed += 1
            lines.append([f"{recipe.id:4} {recipe.title}", "", "", "", "FAIL", ""])
            continue
        passed = True
        for number, check in enumerate(recipe.checks):
            ours = [row["values"][check.name] for row in rows]
            mean = float(np.mean(ours))
            holds = check.passes(mean, quick)
            passed = passed and holds
            name = f"{'':7}{check.name}" if number else f"{recipe.id:4} {recipe.title}: {check.name}"
            spread = f" +- {number_text(float(np.ptp(ours)) / 2)}" if len(ours) > 1 else ""
            seconds = "" if number else f"{sum(row['seconds'] for row in rows):.0f}"
            lines.append([name, check.published, number_text(mean) + spread, bounds_text(check.bounds(quick)),
                          "pass" if holds else "FAIL", seconds])  # fmt: skip
        failed += not passed
    return lines, failed


def markdown(path, recipes):
    """The table of what is stored there for the recipes as they are, whatever commit it is of: it says which."""
    if not path.exists():
        return "Nothing is stored yet.\n"
    written = read(path)
    digests = {recipe.id: recipe.digest() for recipe in recipes.values()}
    known = [row for row in written["rows"] if row["recipe"] == digests.get(row["id"])]
    chosen = [recipe for recipe in recipes.values() if any(row["id"] == recipe.id for row in known)]
    lines, failed = judged(chosen, [(recipes[row["id"]], row) for row in known], False)
    commits = ", ".join(sorted({row["commit"] for row in known}))
    seconds = sum(row["seconds"] for row in known)
    return (
        f"Trained on {written['date'][:10]}: {written['cpu']}, {written['cores']} cores, tinyae at {commits}, "
        f"{seconds / 60:.0f} minutes of fits, two at once but for lone seeds. {len(chosen) - failed} of {len(chosen)} "
        "rows pass. Ours are means over the seeds, +- half their range.\n\n"
        + runner.markdown(HEADER, [[line[0].strip(), *line[1:]] for line in lines])
    )


def number_text(value):
    """Three or four digits."""
    return f"{value:.4g}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"


def bounds_text(bounds):
    """"<= high", ">= low" or "low .. high"."""
    low, high = bounds
    if low is None:
        return f"<= {number_text(high)}"
    return f">= {number_text(low)}" if high is None else f"{number_text(low)} .. {number_text(high)}"


def _seeds(recipe, options):
    return options.seeds or (1 if options.quick else recipe.seeds)


def _count(text):
    """An argparse type."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100")
    return int(text)


def _names(broken, tasks):
    """The rows of those tasks, with their seeds where others of them did not break down."""
    names = []
    for row in dict.fromkeys(recipe.id for recipe, _ in tasks):
        seeds, of_all = (sorted(seed for recipe, seed in some if recipe.id == row) for some in (broken, tasks))
        if seeds:
            names.append(row if seeds == of_all else f"{row} (seed {', '.join(map(str, seeds))})")
    return ", ".join(names)


def _commit():
    """The last commit that changed what is measured, "+" if files have changed since; "unknown" outside of git."""

    def git(*words):
        command = ["git", *words, "--", "tinyae", "csrc", "setup.py"]
        return subprocess.run(command, cwd=runner.ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("log", "-1", "--format=%h") + "+" * bool(git("status", "--porcelain"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class _Bar:
    """Progress on stderr: tqdm's bar if it is installed, and what is being trained."""

    def __init__(self, total):
        self.total, self.running, self.lock = total, [], threading.Lock()

    def __enter__(self):
        self.bar = None
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, unit="fit", disable=None if self.total else True)
        return self

    def __exit__(self, *problem):
        if self.bar is not None:
            self.bar.close()

    def begin(self, row, seed):
        """It is being trained."""
        self._change(self.running.append, f"{row}.{seed}")

    def end(self, row, seed):
        """It is done."""
        self._change(self.running.remove, f"{row}.{seed}", 1)

    def _change(self, how, what, done=0):
        with self.lock:
            how(what)
            if self.bar is not None:
                self.bar.set_description(" ".join(self.running), refresh=False)
                self.bar.update(done)
                self.bar.refresh()
