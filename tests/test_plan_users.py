"""Users' programs and expressions, drawn at random: compiled, they do what they do eagerly, on both executors.

    pytest tests/test_plan_users.py                        a few of each
    pytest tests/test_plan_users.py -m slow -s             2,000 programs and 3,000 expressions, with a table
    python -m plans.runs program 17                        (in tests/) one of them: its text, and what comes of it

The programs are drawn by plans/programs.py and plans/expressions.py and run by plans/runs.py in a process that is ended
when it hangs or eats memory. Of what is drawn at most 3 in 100 may be refused (a PlanError), and nothing be wrong.
"""

import collections
import os

import pytest

from plans import expressions, programs, runs
from tinyae import kernels

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
CALLS = {programs: 24, expressions: 9}
START = int(os.environ.get("TINYAE_FUZZ_SEED", 0))  # other programs of the same kinds


def survey(drawn, seeds):
    """Run programs; the table of what came out, and the worst of each kind as text."""
    kinds, reasons, examples, chaotic = collections.Counter(), {}, [], 0
    with runs.Worker(BACKENDS) as worker:
        for seed in seeds:
            source = drawn.program(seed)
            answer = worker.ask(source, CALLS[drawn])
            one = runs.worst(answer)
            if one["kind"] == "wrong" and one.get("chaotic"):  # an ulp decides it: so it is asked where an ulp is less
                one = runs.worst(worker.ask(source.replace('FLOAT = "float32"', 'FLOAT = "float64"'), CALLS[drawn]))
            kinds[one["kind"]] += 1
            chaotic += one.get("chaotic", False)
            if one["kind"] in ("refused", "invalid"):
                reasons.setdefault((one["kind"], runs.reason(one["why"])), []).append(seed)
            elif one["kind"] != "right":
                examples.append(f"{answer}\n{source}")
    print(f"\n{drawn.__name__.rpartition('.')[2]}: {dict(kinds)}; could hide an error of 1 %: {chaotic}")
    for (kind, why), which in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(which):5} {kind}: {why}   such as seed {which[0]}")
    return kinds, examples


def test_programs():
    """Nothing is wrong. How much is refused, a few programs do not tell."""
    _, wrong = survey(programs, range(START, START + 25))
    assert not wrong, wrong[0]


def test_expressions():
    _, wrong = survey(expressions, range(START, START + 60))
    assert not wrong, wrong[0]


@pytest.mark.slow
@pytest.mark.parametrize("drawn, number", [(programs, 2000), (expressions, 3000)])
def test_many(drawn, number):
    kinds, wrong = survey(drawn, range(START + 1000, START + 1000 + number))
    assert not wrong, f"{len(wrong)} wrong, the first:\n{wrong[0]}"
    assert kinds["refused"] <= 0.03 * (number - kinds["invalid"]) and kinds["invalid"] <= 0.05 * number


# -- the tests themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [programs, expressions])
def test_a_seed_is_a_program(drawn):
    assert drawn.program(5) == drawn.program(5) != drawn.program(6)


STEP = """
import numpy as np, tinyae
from tinyae import nn, ops, optim
FLOAT = "float32"
net = nn.Linear(3, 2, generator=0)
opt = optim.Adam(net.parameters(), lr=0.01)
rng = np.random.default_rng(0)
@tinyae.compile
def step(x):
    opt.zero_grad()
    loss = ops.square(net(x)).mean()
    loss.backward()
    opt.step()
    return loss
def call(i):
    return step(rng.standard_normal((4, 3)).astype("f"))
state = [net, opt]
"""
BROKEN = {
    "right": STEP,
    "refused": STEP.replace("    opt.step()", "    opt.step(); loss.item()"),
    "invalid": STEP.replace("(4, 3)", "(4, 2)"),
    "wrong": STEP.replace("def call(i):", "def call(i):\n    net.bias.data = net.bias.data + hasattr(step, 'plans')"),
    "hang": STEP.replace("def call(i):", "def call(i):\n    while hasattr(step, 'plans'): pass"),
    "crash": STEP.replace("def call(i):", "def call(i):\n    import os; hasattr(step, 'plans') and os._exit(3)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_comes_out_is_told(kind):
    """hasattr(step, 'plans'): only compiled."""
    with runs.Worker(["numpy"], timeout=60 if kind != "hang" else 3) as worker:
        assert worker.ask(BROKEN[kind])["numpy"]["kind"] == kind
        assert worker.ask(STEP)["numpy"]["kind"] == "right"  # whatever was before


def test_memory_that_is_eaten_is_told():
    with runs.Worker(["numpy"]) as worker:
        hungry = STEP.replace("def call(i):", "def call(i):\n    hasattr(step, 'plans') and bytearray(1 << 40)")
        assert worker.ask(hungry)["numpy"]["kind"] == "wrong"


def test_a_program_is_made_smaller():
    source = STEP.replace("    opt.step()", "    opt.step(); loss.item()").replace("return loss", "return loss, None")
    with runs.Worker(["numpy"]) as worker:
        small = runs.smaller(source, lambda text: "looks at" in str(runs.worst(worker.ask(text, 2))["why"]))
    assert "loss.item()" in small and "opt.zero_grad()" not in small and "return loss" not in small
