"""Programs as text, run eagerly and compiled from the same start, in a process of its own that may be ended.

A program is what a user would write: it says ``@tinyae.compile`` and defines ``call(i)``, one turn of its loop, and
``state``, a list of what training changes (modules, optimizers, tensors, generators), or a function that returns it.
Here it runs three times eagerly, as it is and twice with inputs, parameters and gradients that are off by as little as
rounding does (once computed by NumPy, whose functions round in other ways), then compiled on each executor. What the
compiled run may be off by is what a plan promises or, where the program itself amplifies rounding, a multiple of what
that little does to it. What a call returned must still be that at the next, and arguments stay as they were.

    worker = Worker()
    worker.ask(source, calls=24)    # {"c": {"kind": "right"}, "numpy": {"kind": "refused", "why": "..."}}
"""

import ast
import builtins
import functools
import json
import linecache
import re
import select
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

PROMISE = {"float32": (1e-5, 1e-4), "float64": (1e-12, 1e-11)}  # of one step, of twenty
DIVERGED = 1e6  # a training whose numbers have grown so large is followed no further
CHAOS = 30  # a plan may be off by so many times what one ulp of the inputs changes: it rounds at every operation


# -- inside the process ---------------------------------------------------------------------------------------------


class Eager:
    """Stands in for `tinyae.compile`: the step with its arrays as Tensors, and nothing else."""

    def __init__(self, step, nudge):
        functools.update_wrapper(self, step)
        self.step, self.nudge = step, nudge

    def __call__(self, *arguments, **settings):
        return self.step(*[self._tensor(a) for a in arguments], **settings)

    def __get__(self, owner, kind=None):
        return self if owner is None else Eager(functools.partial(self.step, owner), self.nudge)

    def explain(self):
        """Nothing to explain."""

    def _tensor(self, a):
        import tinyae

        if isinstance(a, (bool, int, float)):
            return a
        array = np.asarray(a.data if isinstance(a, tinyae.Tensor) else a)
        array = array.astype(array.dtype.newbyteorder("="), copy=True)
        return tinyae.Tensor(self.nudge.numbers(array))


class Nudge:
    """Moves what a program computes with by as little as rounding does; with no seed, by nothing."""

    def __init__(self, seed=None):
        self.rng = None if seed is None else np.random.default_rng(seed)

    def numbers(self, array):
        """Fractions: each an ulp nearer to 0, or not. Numbers that count or choose stay what they are."""
        if self.rng is None or array.dtype.kind != "f" or np.array_equal(array, np.round(array), equal_nan=True):
            return array
        return self.weights(array)

    def weights(self, array):
        """Every number: an ulp nearer to 0, or not."""
        if self.rng is None or array.dtype.kind != "f":
            return array
        return np.where(self.rng.random(array.shape) < 0.5, np.nextafter(array, np.zeros_like(array)), array)

    def gradient(self, g):
        """By a small part of what a plan may differ in: of its largest entry."""
        if self.rng is None:
            return g
        part = PROMISE[g.dtype.name][0] / CHAOS * largest(g)
        return (g + part * self.rng.uniform(-1, 1, g.shape)).astype(g.dtype)


def execute(source, compile, calls, nudge=None, name="<program>"):
    """([what each call returned and left behind], how it ended): as nested lists of arrays."""
    import tinyae
    from tinyae.optim import Optimizer

    nudge = nudge or Nudge()
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    theirs, apply = tinyae.compile, Optimizer._apply
    seen = []
    try:
        tinyae.compile = compile
        if nudge.rng is not None:
            Optimizer._apply = lambda self, p, g, uphill: apply(self, p, nudge.gradient(g), uphill)
        namespace = {"__name__": "program"}
        exec(builtins.compile(source, name, "exec"), namespace)
        state = namespace["state"] if callable(namespace["state"]) else lambda: namespace["state"]
        for value in state():
            if isinstance(value, tinyae.nn.Module):
                for p in value.parameters():
                    p.data = nudge.weights(p.data)
        before = []
        for i in range(calls):
            result = leaves(namespace["call"](i))
            whole = i % 6 == 5 or i in (1, 2, calls - 1)
            left = [leaf for value in state() for leaf in kept(value)] if whole else []
            if i == calls - 1:  # arguments are nobody's to write to
                left += [value for _, value in sorted(namespace.items()) if isinstance(value, np.ndarray)]
            seen.append([[np.array(v) for v in part] for part in (result, left, before)])
            before = result  # what a call returned stays what it was at the next
        return seen, None
    except Exception as problem:
        return seen, problem
    finally:
        tinyae.compile, Optimizer._apply = theirs, apply


@contextmanager
def defined():
    """Operations are computed by their definitions in NumPy, whose functions and sums round in other ways than C's."""
    from tinyae import OPS

    theirs = {op: op.kernel for op in OPS.values()}
    try:
        for op in theirs:
            op.kernel = None
        yield
    finally:
        for op, kernel in theirs.items():
            op.kernel = kernel


def leaves(value):
    """The numbers in what a call returned."""
    if value is None or isinstance(value, str):
        return []
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in leaves(v)]
    return [value.data if hasattr(value, "requires_grad") else value]


def kept(value):
    """The numbers that something keeps between calls."""
    import tinyae

    if isinstance(value, tinyae.nn.Module):
        return list(value.state_dict().values())
    if isinstance(value, tinyae.Generator):
        return [np.array(value.counter)]
    if isinstance(value, tinyae.optim.Optimizer):
        slots = [value.state.get(p, {}) for p in value.parameters]
        return [np.array(slot[name]) for slot in slots for name in sorted(slot)]
    return [np.array(value.data if isinstance(value, tinyae.Tensor) else value)]


def largest(a):
    """The largest magnitude of what is finite; of whole numbers 0, which have no rounding."""
    if a.dtype.kind != "f":
        return 0.0
    return float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))


def apart(a, b):
    """The largest difference of two arrays, inf where they differ in kind or in what is not finite."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.all(finite | (a == b) | ((a != a) & (b != b))):
        return np.inf
    with np.errstate(over="ignore"):
        return float(np.max(np.abs(a[finite].astype(float) - b[finite]), initial=0.0))


def compare(eager, nudged, compiled, source):
    """(None, or where and by how much they differ; whether an error of a hundredth could go unseen)."""
    worst, chaotic = {}, False
    precise = 'FLOAT = "float64"' in source and not re.search(r"float32|'f'|one_hot", source)
    one, twenty = PROMISE["float64" if precise else "float32"]
    grows = "\nstate = []" not in source  # nothing is handed on from call to call
    for i, (parts, theirs) in enumerate(zip(eager, compiled)):
        if any(largest(x) > DIVERGED for xs in parts for x in xs):
            break  # from here on rounding decides
        promise = min(one * (i + 1), twenty) if grows else one
        least = 0.05 * max([largest(x) for xs in parts for x in xs], default=0.0)  # of what cancels
        for part, (xs, ys) in enumerate(zip(parts, theirs)):
            what = ("returns", "keeps", "returned before")[part]
            if len(xs) != len(ys):
                return f"call {i} {what} {len(ys)} numbers for {len(xs)}", chaotic
            for j, (x, y) in enumerate(zip(xs, ys)):
                if part == 2 and apart(x, eager[i - 1][0][j]):
                    continue  # what is returned is a view of state, and moves with it
                others = [run[i][part][j] for run in nudged if len(run) > i and len(run[i][part]) > j]
                ulps = worst[part, j] = max([worst.get((part, j), 0.0), *[apart(x, other) for other in others]])
                size = largest(x)
                chaotic |= part == 0 and CHAOS * ulps > 0.01 * size > 0
                off = apart(x, y)
                if off > max(promise * max(size, least), CHAOS * ulps):
                    seen = f"{np.ravel(x)[:4]} is {np.ravel(y)[:4]}" if x.dtype == y.dtype else f"{x.dtype} {y.dtype}"
                    return f"call {i} {what} number {j}, {x.shape}: off by {off:.3g} of {size:.3g}: {seen}", chaotic
    return None, chaotic


def examine(source, calls, backends):
    """{executor: {"kind", "why"}} of a program."""
    import tinyae
    from tinyae.errors import PlanError

    def eagerly(seed):
        nudge = Nudge(seed)
        with defined() if seed == 1 else nullcontext():
            return execute(source, lambda step, **_: Eager(step, nudge), calls, nudge)

    theirs = tinyae.compile
    (eager, problem), *nudged = [eagerly(seed) for seed in (None, 1, 2)]
    nudged = [run for run, _ in nudged]
    answer = {}
    for backend in backends:
        compiled, why = execute(source, functools.partial(theirs, backend=backend), calls)
        if problem is not None and not source.startswith("# raises"):
            answer[backend] = {"kind": "invalid", "why": f"{type(problem).__name__}: {problem}"}
        elif isinstance(why, PlanError):
            answer[backend] = {"kind": "refused", "why": str(why), "call": len(compiled)}
        elif type(why) is not type(problem):
            answer[backend] = {"kind": "wrong", "why": f"call {len(compiled)} raises {type(why).__name__}: {why} "
                               f"where eager has {problem!r}"}  # fmt: skip
        else:
            different, chaotic = compare(eager, nudged, compiled, source)
            answer[backend] = {"kind": "wrong" if different else "right", "why": different, "chaotic": bool(chaotic)}
    return answer


def serve():
    """Answer programs, a line of JSON each."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30,) * 2)  # what eats memory fails, instead of taking the machine
    from tinyae.errors import GradientWarning

    warnings.simplefilter("error")
    warnings.simplefilter("ignore", GradientWarning)  # users forget to clear gradients
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        answer = examine(question["source"], question["calls"], question["backends"])
        print(json.dumps(answer), file=out, flush=True)


# -- outside --------------------------------------------------------------------------------------------------------


class Worker:
    """A process that runs programs; one that hangs or dies is replaced."""

    def __init__(self, backends=("c", "numpy"), timeout=60):
        self.backends, self.timeout, self._process = backends, timeout, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def ask(self, source, calls=24):
        """{executor: {"kind": right, wrong, refused, invalid, hang or crash; "why"}}."""
        if self._process is None:
            path = json.dumps([str(Path(__file__).parents[1]), *[p for p in sys.path if p]])
            run = f"import sys; sys.path[:0] = {path}; from plans import runs; runs.serve()"
            self._process = subprocess.Popen([sys.executable, "-c", run], stdin=subprocess.PIPE, text=True,
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                             cwd=Path(__file__).parents[1])  # fmt: skip
        question = {"source": source, "calls": calls, "backends": self.backends}
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], self.timeout)
            line = self._process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if line:
            return json.loads(line)
        why = "" if not ready else f"{self._process.wait()}: {self._process.stderr.read()[-300:]}"
        self._end()
        return dict.fromkeys(self.backends, {"kind": "crash" if ready else "hang", "why": why})

    def _end(self):
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


ORDER = ["right", "invalid", "refused", "wrong", "crash", "hang"]


def worst(answer):
    """The worst of two executors: a program's outcome."""
    return max(answer.values(), key=lambda one: ORDER.index(one["kind"]))


def reason(why):
    """A refusal's text without what is one program's own."""
    why = re.sub(r"at <?\S+>?:\d+( \([^)]*\))?", "at LINE", why.removeprefix("compile: "))
    why = re.sub(r"\([\d, ]*\)", "(SHAPE)", re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "N", why))
    return why[:110]


# -- a smaller program that fails alike -----------------------------------------------------------------------------


def smaller(source, fails, seconds=120):
    """The source without the lines, taken out in blocks of ever smaller size, without which it still fails(source)."""
    lines, end = source.splitlines(), time.monotonic() + seconds
    size = len(lines) // 2
    while size and time.monotonic() < end:
        before = len(lines)
        for start in range(len(lines) - size, -size, -size):
            rest = lines[: max(start, 0)] + lines[start + size :]
            text = "\n".join(rest) + "\n"
            if time.monotonic() < end and _parses(text) and fails(text):
                lines = rest
        size = size if len(lines) < before else size // 2
    return "\n".join(lines) + "\n"


def _parses(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def main(source):
    """Run one program, say what came out, and exit with 1 unless all is right."""
    with Worker(timeout=30) as worker:
        answer = worker.ask(source)
    for backend, one in answer.items():
        print(backend, one["kind"], one["why"] or "")
    sys.exit(any(one["kind"] != "right" for one in answer.values()))


if __name__ == "__main__":
    from plans import expressions, programs

    text = {"program": programs, "expression": expressions}[sys.argv[1]].program(int(sys.argv[2]))
    print(text)
    main(text)
