"""A numerical check of any derivative, for our ops and for the user's functions.

    gradcheck(lambda x, w: ((x @ w).tanh() ** 2).sum(), x, w)

The function is differentiated along random directions, against a random upstream gradient: checks that start from ones,
or look at one element, pass over half of the usual bugs (a rule that ignores g, a transposed square matrix, scaled
rows). Each derivative is measured by central differences on five points; where a parabola does not fit them the
function has a kink there, and the message says so instead of blaming the rule.

Ring 3. Runs in float64; the function may take and return any shapes.
"""

import numpy as np

from .engine import Var, grad
from .errors import DtypeError, TinyaeError
from .tensor import Tensor

__all__ = ["GradcheckError", "gradcheck"]

_OFFSETS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


class GradcheckError(TinyaeError, AssertionError):
    """The analytic derivative and the measured one differ, or there is none at this point."""


def gradcheck(function, *inputs, order=1, directions=2, eps=1e-5, rtol=1e-6, atol=1e-8, seed=0):
    """Check function's derivative by finite differences; True, or GradcheckError with both numbers.

    With u a random upstream gradient and d a random direction in the space of all inputs, compares
    ``<grad <u, f(x)>, d>`` with ``(<u, f(x + h d)> - <u, f(x - h d)>) / 2h`` (Richardson-extrapolated over two h).

    Parameters
    ----------
    function : callable
        Tensors to one Tensor. Must be repeatable: reset noise counters inside it.
    *inputs : array_like
        The point, converted to float64. Integer and bool arrays are passed on and not differentiated.
    order : int
        1 checks the gradient; 2 also the gradient of the gradient, built with create_graph.
    directions : int
        How many random (u, d) pairs.
    eps : float
        Step size, relative to max(1, |x|).
    rtol, atol : float
        Accepted difference: atol + rtol * the scale of the terms that were added up.
    seed : int
        Of the random directions.
    """
    rng = np.random.default_rng(seed)
    point = [x._data if isinstance(x, Var) else np.asarray(x) for x in inputs]
    point = [x.astype(np.float64) if x.dtype.kind == "f" else x.copy() for x in point]
    floats = [i for i, x in enumerate(point) if x.dtype.kind == "f"]
    if not floats:
        raise DtypeError(f"gradcheck: no float among the {len(point)} inputs; nothing to differentiate.")
    for _ in range(directions):
        y = _evaluate(function, point, floats)[1]
        u = rng.standard_normal(y.shape)
        _check_along(lambda *xs, u=u: (function(*xs) * u).sum(), point, floats, rng, eps, rtol, atol, 1)
        if order > 1:
            d = [rng.standard_normal(point[i].shape) for i in floats]

            def slope(*xs, u=u, d=d):
                leaves = [xs[i] for i in floats]
                gradients = grad((function(*xs) * u).sum(), leaves, create_graph=True, allow_unused=True)
                return sum(((g * step).sum() for g, step in zip(gradients, d)), Tensor(0.0, dtype=np.float64))

            _check_along(slope, point, floats, rng, eps, rtol, atol, 2)
    return True


def _evaluate(function, point, floats):
    leaves = [Tensor(x, requires_grad=i in floats) for i, x in enumerate(point)]
    y = function(*leaves)
    if not isinstance(y, Tensor):
        raise DtypeError(f"gradcheck: the function returned a {type(y).__name__}, not a Tensor.")
    return leaves, y


def _check_along(function, point, floats, rng, eps, rtol, atol, order):
    what = "gradient" if order == 1 else "second derivative"
    before = [x.copy() for x in point]
    leaves, y = _evaluate(function, point, floats)
    wanted = [leaves[i] for i in floats]
    if not y.requires_grad:
        if order == 1:
            raise GradcheckError(
                "gradcheck: the result is cut off from every input, so nothing can be checked. Look for .data, "
                ".numpy(), detach() or no_grad() in the function."
            )
        gradients = [np.zeros(x.shape) for x in wanted]  # the gradient is a constant: its measured slope must be 0 too
    else:
        first = grad(y, wanted, retain_graph=True, allow_unused=True)
        again = grad(y, wanted, allow_unused=True)
        gradients = [g.data for g in first]
        for i, g, h, x in zip(floats, first, again, wanted):
            if not np.array_equal(g.data, h.data, equal_nan=True):
                raise GradcheckError(f"gradcheck: two backward passes gave different {what}s for input {i}.")
            if g.shape != x.shape or g.dtype != x.dtype:
                raise GradcheckError(f"gradcheck: input {i} is {x.dtype} {x.shape}, its {what} {g.dtype} {g.shape}.")
    for i, x in enumerate(leaves):
        if not np.array_equal(x.data, before[i], equal_nan=True):
            raise GradcheckError(f"gradcheck: the function or its backward pass changed input {i} in place.")
    direction = [rng.standard_normal(point[i].shape) for i in floats]
    terms = [float(np.sum(g * d)) for g, d in zip(gradients, direction)]
    analytic = float(np.sum(terms))
    steps = {i: eps * np.maximum(1.0, np.abs(point[i])) * d for i, d in zip(floats, direction)}
    # Along x + t * step, t the unit; d/dt is then comparable to the gradient times the step.
    analytic_t = float(sum(np.sum(g * steps[i]) for i, g in zip(floats, gradients)))
    scale = float(sum(np.sum(np.abs(g * steps[i])) for i, g in zip(floats, gradients)))

    def along(t):
        moved = [x + t * steps[i] if i in steps else x for i, x in enumerate(point)]
        return float(_evaluate(function, moved, floats)[1].item())

    values = np.array([along(t) for t in _OFFSETS])
    if not np.array_equal(values[2], y.item(), equal_nan=True):
        raise GradcheckError(
            f"gradcheck: not repeatable: the same point gave {y.item():.10g}, then {values[2]:.10g}. Reset noise "
            "counters inside the function."
        )
    if not np.all(np.isfinite(values)) or not np.isfinite(analytic):
        raise GradcheckError(
            f"gradcheck: not finite here: f at five points {_line(values)}, {what} along them {analytic:.6g}."
        )
    narrow, wide = (values[3] - values[1]) / 2.0, (values[4] - values[0]) / 4.0
    numeric = narrow + (narrow - wide) / 3.0
    noise = 16 * np.finfo(np.float64).eps * np.max(np.abs(values))
    allowed = atol * eps + rtol * max(scale, abs(numeric)) + noise
    if abs(numeric - analytic_t) <= allowed:
        return
    if _misfit(values) > allowed:
        slopes = np.diff(values)
        raise GradcheckError(
            f"gradcheck: not differentiable here: the slope jumps from {slopes[0]:.6g} to {slopes[-1]:.6g} per step. "
            f"Five values: {_line(values)}. Move the point away from the kink."
        )
    raise GradcheckError(
        f"gradcheck: the {what} along a random direction is {analytic_t:.10g} per step, measured {numeric:.10g} "
        f"(difference {abs(numeric - analytic_t):.3g}, allowed {allowed:.3g}). Input shapes: "
        f"{', '.join(str(point[i].shape) for i in floats)}."
    )


def _misfit(values):
    """How far five equidistant values are from a parabola: a third derivative over steps this small leaves nothing."""
    rise = values - values[2]
    return np.max(np.abs(rise - np.polyval(np.polyfit(_OFFSETS, rise, 2), _OFFSETS)))


def _line(values):
    return np.array2string(values, precision=10, max_line_width=200)
