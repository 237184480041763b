"""Which models of the zoo, and which steps of users, compile: how much of a training step is one call of C.

Each model is fitted for a few steps on the digits, with each of its losses. All plans that `fit` makes are counted:
a model that trains several nets in turn has several. ``--steps`` asks the same of forty steps as users write them.
"""

import re
import warnings
from pathlib import Path

from bench import runner, steps
from bench.peers import PEERS

HEAD = ("variant", "its training step", "operations", "instructions")

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Lives beside the installed tinyae; needs nothing else of the peer."""

    def __init__(self, peer):
        import tinyae

        self.tinyae = tinyae
        digits = tinyae.load_data("digits")
        self.X = (digits.X[:320] / 16).astype("float32")

    def variants(self):
        """{name: its losses, the usual one first}."""
        return {name: sorted(cls.losses, key=lambda loss, cls=cls: loss != cls.loss)
                for name, cls in self.tinyae.ae.ZOO.items()}  # fmt: skip

    def plans(self, name, loss):
        """([(recorded operations, instructions, names of those that Python runs)] per plan, why others are refused)."""
        made, make = [], self.tinyae.plan.compile

        def watched(*arguments, **settings):
            made.append(make(*arguments, **settings))
            return made[-1]

        self.tinyae.plan.compile = watched
        try:
            cls = self.tinyae.ae.ZOO[name]
            settings = {"n_components": 3, "max_iter": 2, "batch_size": 32, "random_state": 0, "loss": loss}
            settings |= {"hidden": ()} if cls.settings()["hidden"] is None else {}  # the least of a variant
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # twenty steps are few: ConvergenceWarning
                cls(**settings).fit(self.X)
        finally:
            self.tinyae.plan.compile = make
        plans = [plan for step in made for plans in step.plans.values() for plan in plans]
        return [_count(plan) for plan in plans], [why for step in made for why in step.refused.values()]


    def step(self, name):
        """The same of a user's step that has been called four times, by name."""
        step, arrays = steps.make(self.tinyae, name)
        compiled = self.tinyae.compile(step)
        try:
            for _ in range(4):
                compiled(*arrays)
        except self.tinyae.errors.PlanError as problem:
            return [], [str(problem)]
        counts = [_count(plan) for plans in compiled.plans.values() for plan in plans]
        return counts, []


def _count(plan):
    items = plan.machine.lowered.items
    in_python = [item.fields["instruction"].name for item in items if item.kind == "host"]
    return len(plan.program.instructions), len(items), in_python


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("--steps", action="store_true", help="of users' steps, in place of the zoo")
    parser.add_argument("--markdown", action="store_true", help="as the table of the README")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put it between FILE's <!-- compiles --> lines")


def run(options):
    """Fit and print; returns None, or raises Refused or Failed."""
    process = runner.Process("tinyae", PEERS["tinyae"], "bench.compiles", 1, {})
    try:
        process.ready()
        rows = []
        if options.steps:
            rows = [_row(name, {"": process.call("step", name)}) for name in steps.STEPS]
        for name, losses in ({} if options.steps else process.call("variants")).items():
            runner.progress(name)
            rows.append(_row(name, {loss: process.call("plans", name, loss) for loss in losses}))
        runner.progress("")
    finally:
        process.close()
    text = runner.markdown(HEAD, rows, left=2)
    if options.write:
        runner.write_between(options.write, "compiles", text)
    elif options.markdown:
        print(text, end="")
    else:
        runner.print_table(HEAD, rows)


def _row(name, by_loss):
    said = {loss: _verdict(plans, refused) for loss, (plans, refused) in by_loss.items()}
    verdicts = set(said.values())
    text = verdicts.pop() if len(verdicts) == 1 else "; ".join(f"{loss}: {verdict}" for loss, verdict in said.items())
    plans, _ = next(iter(by_loss.values()))
    return [name, text, *(" + ".join(str(plan[i]) for plan in plans) or "-" for i in (0, 1))]


def _verdict(plans, refused):
    if refused:
        return f"refused: {_reason(refused[0])}"
    if not plans:
        return "not by a plan"
    in_python = [name for plan in plans for name in plan[2]]
    if in_python:
        return f"in C but for {len(in_python)} in Python: {', '.join(dict.fromkeys(in_python))}"
    return "wholly in C"


def _reason(why):
    """The first sentence, without whose line it is."""
    return re.sub(r" at \S+:\d+( `.*?`)?", "", why.removeprefix("compile: ")).partition(". ")[0].rstrip(".")
