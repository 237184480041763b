"""Whether a plan and the step that it was captured from came to the same.

Note [Agreement]
    A value that the step returns: within the first tolerance of its largest entry. State: within the second of
    its own; what an optimizer keeps: of the largest that it keeps of any parameter. A parameter: within the third
    of the way that it went, unless its gradient is nothing but rounding, which a rule like Adam's makes a step as
    large as any.

Ring 4. Must not know how a plan is run, nor why they differ: compile.py, which asks.
"""

import numpy as np

from ..errors import PlanError

__all__ = ["TOLERANCES", "compare"]

# How far a plan's results may lie from the step's, by the precision of its products: Note [Agreement].
TOLERANCES = {"highest": (1e-5, 1e-4, 1e-3), "high": (1e-4, 1e-3, 1e-2), "medium": (3e-2, 1e-1, 3e-1)}


def compare(plan, expected, values, before, after, now):
    """PlanError unless what the step returned and left (expected, after) is what the plan did (values, now).

    before, after, now: the plan's state as `Plan._state` gives it, before both and after each.
    """
    advice = ("Something that the step uses changes from call to call: a Python number, a tensor made anew. "
              "Pass it as an argument, or keep it in one Tensor and change that with tinyae.assign.")  # fmt: skip
    loss, kept, moved = TOLERANCES[plan.precision]
    if len(expected) != len(values):
        raise PlanError(f"compile: the step returned {len(values)} values, and then {len(expected)}. {advice}")
    # What cancels, a loss near zero, is as exact as the terms that it is made of: state gives their size.
    least = 0.1 * max((_largest(a) for a in after[0]), default=0.0)
    for i, (a, b) in enumerate(zip(expected, values)):
        _agree(f"value {i} that the step returns", a, b, loss, max(_largest(a), least), advice)
    largest, rounding = {}, set()
    for (optimizer, _, name), a in after[1].items():
        largest[optimizer, name] = max(largest.get((optimizer, name), 0.0), _largest(a))
    for (optimizer, p, name), a in after[1].items():
        scale = largest[optimizer, name]
        _agree(f"{name} of a parameter of shape {p.shape}", a, now[1][optimizer, p, name], kept, scale, advice)
        if np.max(np.abs(a), initial=0) <= 1e-6 * scale:  # such as of a bias before a normalisation
            rounding.add(p)
    trained = {p for optimizer in plan.updates for p in optimizer.parameters}
    for cell, start, a, b in zip(plan.program.cells, before[0], after[0], now[0]):
        if cell.var not in trained:
            _agree(cell.name, a, b, kept, _largest(a), advice)
        elif cell.var not in rounding:
            finite = np.isfinite(a)  # where the step itself diverges, no two roundings agree
            way, off = (float(np.linalg.norm(a[finite] - o[finite])) for o in (start, b))
            if not off <= moved * way + 1e-6 * float(np.linalg.norm(a[finite])):
                raise PlanError(f"compile: {cell.name}, {a.shape}, went {way:.2g} and ends {off:.2g} off. {advice}")
    if after[2] != now[2]:
        raise PlanError(f"compile: the step draws other noise than before. {advice}")


def _largest(a):
    """The largest magnitude of what is finite in a."""
    return float(np.max(np.abs(a), initial=0, where=np.isfinite(a)))


def _agree(what, a, b, tolerance, scale, advice):
    with np.errstate(all="ignore"):
        near = np.abs(np.subtract(a, b, dtype=np.float64)) <= tolerance * scale
    if np.shape(a) != np.shape(b) or not np.all(near | (np.asarray(a) == b) | ((a != a) & (b != b))):
        raise PlanError(f"compile: {what} is not what it was when captured. {advice}")
