"""Whether a plan and the step that it was captured from came to the same.

Note [Agreement]
    A value that the step returns: within the first tolerance of its largest entry. State: within the second of
    its own; what an optimizer keeps: of the largest that it keeps of any parameter. A parameter: within the third
    of the way that it went.
    What is nothing but the rounding of terms that cancel, such as the gradient of a bias before a normalisation, is
    no nearer than rounding allows, and a rule like Adam's makes a step of it as large as any. How large such terms are
    is not seen in what they come to, but in what becomes of it when the plan starts an ulp beside: plan and step may
    lie apart ``AMPLIFIED`` times as far as such runs do. They are made where a tolerance is passed, and only there.

Ring 4. Must not know how a plan is run, nor why they differ: compile.py, which asks.
"""

import functools

import numpy as np

from ..errors import PlanError

__all__ = ["TOLERANCES", "compare", "nudged"]

# How far a plan's results may lie from the step's, by the precision of its products: Note [Agreement].
TOLERANCES = {"highest": (1e-5, 1e-4, 1e-3), "high": (1e-4, 1e-3, 1e-2), "medium": (3e-2, 1e-1, 3e-1)}
AMPLIFIED = 30  # a step rounds not once, as when it starts an ulp beside, but at every operation
_BESIDE = 4  # such runs at most: two of them may happen to round alike
_ADVICE = ("Something that the step uses changes from call to call: a Python number, a tensor made anew. "
           "Pass it as an argument, or keep it in one Tensor and change that with tinyae.assign.")  # fmt: skip


@np.errstate(all="ignore")  # where the step diverges
def compare(plan, arrays, expected, values, before, after, now, beside):
    """PlanError unless what the step returned and left (expected, after) is what the plan did (values, now).

    arrays: the step's arguments.
    before, after, now: the plan's state as `Plan._state` gives it, before both and after each.
    beside: (number) -> (values, now) of a run that started an ulp beside, every number in another way.
    """
    loss, kept, moved = TOLERANCES[plan.precision]
    if len(expected) != len(values):
        raise PlanError(f"compile: the step returned {len(values)} values, and then {len(expected)}. {_ADVICE}")
    beside = functools.cache(beside)

    def is_rounding(within, b, find):
        """Whether b is within so far of the step's as rounding allows; find(values, now): the same of a run beside."""
        return any(within(AMPLIFIED * _apart(b, find(*beside(k)))) for k in range(_BESIDE))

    def agree(what, a, b, allowed, find):
        if np.shape(a) != np.shape(b) or not (
            _near(a, b, allowed) or is_rounding(lambda far: _near(a, b, far), b, find)
        ):
            raise PlanError(f"compile: {what} is not what it was when captured. {_ADVICE}")

    # What cancels, a loss near zero, is as exact as the terms that it is made of: state, arguments and what else is
    # returned give their size.
    least = 0.1 * max((_largest(a) for a in after[0]), default=0.0)
    size = max((_largest(a) for a in (*after[0], *arrays, *expected)), default=0.0)
    for i, (a, b) in enumerate(zip(expected, values)):
        allowed = max(loss * max(_largest(a), least), 8 * _eps(a) * size)
        agree(f"value {i} that the step returns", a, b, allowed, lambda values, _, i=i: values[i])
    largest = {}
    for (optimizer, _, name), a in after[1].items():
        largest[optimizer, name] = max(largest.get((optimizer, name), 0.0), _largest(a))
    for key, a in after[1].items():
        optimizer, p, name = key
        allowed = kept * largest[optimizer, name]
        agree(f"{name} of a parameter of shape {p.shape}", a, now[1][key], allowed, lambda _, now, key=key: now[1][key])
    trained = {p for optimizer in plan.updates for p in optimizer.parameters}
    for i, (cell, start, a, b) in enumerate(zip(plan.program.cells, before[0], after[0], now[0])):
        if cell.var not in trained:
            agree(cell.name, a, b, max(kept * _largest(a), 8 * _eps(a) * size), lambda _, now, i=i: now[0][i])
            continue
        finite = np.isfinite(a)  # where the step itself diverges, no two roundings agree
        way, off = (float(np.linalg.norm(a[finite] - o[finite])) for o in (start, b))
        if not off <= moved * way + 1e-6 * float(np.linalg.norm(a[finite])):
            if not is_rounding(lambda far: np.max(np.abs(a - b)[finite]) <= far, b, lambda _, now, i=i: now[0][i]):
                raise PlanError(f"compile: {cell.name}, {a.shape}, went {way:.2g} and ends {off:.2g} off. {_ADVICE}")
    if after[2] != now[2]:
        raise PlanError(f"compile: the step draws other noise than before. {_ADVICE}")


def nudged(array, draw):
    """A copy of which every other number, at random, is an ulp nearer to 0; of an array that is not floats, itself."""
    if array.dtype.kind != "f":
        return array
    return np.where(draw.integers(0, 2, array.shape), np.nextafter(array, array.dtype.type(0)), array)


def _largest(a):
    """The largest magnitude of what is finite in a."""
    return float(np.max(np.abs(a), initial=0, where=np.isfinite(a)))


def _eps(a):
    return np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0.0


def _apart(a, b):
    """The largest difference where both are finite."""
    return _largest(np.subtract(a, b, dtype=np.float64))


def _near(a, b, allowed):
    near = np.abs(np.subtract(a, b, dtype=np.float64)) <= allowed
    return bool(np.all(near | (np.asarray(a) == b) | ((a != a) & (b != b))))
