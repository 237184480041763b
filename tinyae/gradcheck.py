"""A numerical check of any derivative, for our ops and for the user's functions.

    gradcheck(lambda x, w: ((x @ w).tanh() ** 2).sum(), x, w)
    gradcheck(lambda: model.loss(x), parameters=model.parameters())

The function is differentiated along random directions, against a random upstream gradient: checks that start from ones,
or look at one element, pass over half of the usual bugs (a rule that ignores g, a transposed square matrix, scaled
rows). Each derivative is measured by central differences on five points; where a parabola does not fit them the
function has a kink there, and the message says so instead of blaming the rule. A rule that is wrong is reported by
input, with the element where it shows most.

Ring 3. Runs in float64; the function may take and return any shapes.
"""

import numpy as np

from .engine import Var, grad, no_grad
from .errors import DtypeError, SettingError, TinyaeError
from .ops.state import assign
from .tensor import Tensor

__all__ = ["GradcheckError", "gradcheck"]

_OFFSETS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


class GradcheckError(TinyaeError, AssertionError):
    """The analytic derivative and the measured one differ, or there is none at this point."""


def gradcheck(function, *inputs, parameters=(), order=1, directions=2, eps=1e-5, rtol=1e-6, atol=1e-8, seed=0):
    """Check function's derivative by finite differences; True, or GradcheckError with both numbers.

    With u a random upstream gradient and d a random direction in the space of all inputs, compares
    ``<grad <u, f(x)>, d>`` with ``(<u, f(x + h d)> - <u, f(x - h d)>) / 2h`` (Richardson-extrapolated over two h).

    Parameters
    ----------
    function : callable
        Tensors to one Tensor, or to tuples, lists or dicts of them, of which the floating ones are checked together.
        Must be repeatable: reset noise counters inside it.
    *inputs : array_like
        The point, converted to float64. Integer and bool arrays are passed on and not differentiated.
    parameters : iterable of Tensor
        What the function uses beside its inputs, as a module's parameters: float64 leaves, moved in place during the
        check and put back. Those that require no gradient are left alone.
    order : int
        1 checks the gradient; 2 also the gradient of the gradient, built with create_graph; and so on.
    directions : int
        How many random (u, d) pairs.
    eps : float
        Step size, relative to max(1, |x|).
    rtol, atol : float
        Accepted difference: atol + rtol * the scale of the terms that were added up.
    seed : int
        Of the random directions.
    """
    if order < 1 or directions < 1:
        raise SettingError(f"gradcheck: order={order!r}, directions={directions!r}. Give at least 1 of each.")
    check = _Check(function, inputs, parameters, np.random.default_rng(seed), eps, rtol, atol)
    try:
        for _ in range(directions):
            value = check.seeded()
            for k in range(1, order + 1):
                check.along(value, k)
                value = check.slope_of(value)
    finally:
        check.at(check.point)  # the parameters as they were
    return True


class _Check:
    """A function, the point where it is asked, and the tolerances. A value, below, maps leaves to a 0-d Tensor."""

    def __init__(self, function, inputs, parameters, rng, eps, rtol, atol):
        arrays = [x._data if isinstance(x, Var) else np.asarray(x) for x in inputs]
        self.function, self.parameters = function, [p for p in parameters if p.requires_grad]
        for i, p in enumerate(self.parameters):
            if p.dtype != np.float64 or not p.is_leaf:
                raise DtypeError(
                    f"gradcheck: parameter {i} is {'a' if p.is_leaf else 'no leaf, a'} {p.dtype} tensor. Differences "
                    "need float64 leaves: convert the module first, with module.astype(np.float64)."
                )
        point = [x.astype(np.float64) if x.dtype.kind == "f" else x.copy() for x in arrays]
        self.names = [f"input {i}" for i in range(len(point))] + [f"parameter {i}" for i in range(len(self.parameters))]
        self.n_inputs = len(point)
        self.point = point + [p.numpy().copy() for p in self.parameters]
        self.floats = [i for i, x in enumerate(self.point) if x.dtype.kind == "f"]
        if not self.floats:
            raise DtypeError(f"gradcheck: no float among the {len(point)} inputs; nothing to differentiate.")
        self.rng, self.eps, self.rtol, self.atol = rng, eps, rtol, atol

    def at(self, point):
        """New leaves at a point; for parameters themselves, moved there."""
        with no_grad():
            for p, x in zip(self.parameters, point[self.n_inputs :]):
                assign(p, x)
        leaves = [Tensor(x, requires_grad=i in self.floats) for i, x in enumerate(point[: self.n_inputs])]
        return leaves + self.parameters

    def outputs(self, leaves):
        found = list(_floating(self.function(*leaves[: self.n_inputs])))
        if not found:
            raise DtypeError("gradcheck: the function returned no floating Tensor; nothing to differentiate.")
        return found

    def seeded(self):
        """<u, f(x)> with a new random u."""
        upstream = [self.rng.standard_normal(y.shape) for y in self.outputs(self.at(self.point))]
        return lambda leaves: _total((y * u).sum() for y, u in zip(self.outputs(leaves), upstream))

    def slope_of(self, value):
        """The derivative of value along a new random direction, itself differentiable."""
        direction = self.direction()

        def slope(leaves):
            wanted = [leaves[i] for i in self.floats]
            gradients = grad(value(leaves), wanted, create_graph=True, allow_unused=True)
            return _total((g * d).sum() for g, d in zip(gradients, direction))

        return slope

    def direction(self):
        return [self.rng.standard_normal(self.point[i].shape) for i in self.floats]

    def gradients(self, value, what, order):
        """Value and gradient at the point, after asking twice; what should not change must not."""
        before = [x.copy() for x in self.point]
        leaves = self.at(self.point)
        y = value(leaves)
        wanted = [leaves[i] for i in self.floats]
        if not y.requires_grad:
            if order == 1:
                raise GradcheckError(
                    "gradcheck: the result is cut off from every input, so nothing can be checked. Look for .data, "
                    ".numpy(), detach() or no_grad() in the function."
                )
            gradients = [np.zeros(x.shape) for x in wanted]  # a constant gradient: its measured slope must be 0 too
        else:
            first = grad(y, wanted, retain_graph=True, allow_unused=True)
            again = grad(y, wanted, allow_unused=True)
            gradients = [g.data for g in first]
            for i, g, h, x in zip(self.floats, first, again, wanted):
                name = self.names[i]
                if not np.array_equal(g.data, h.data, equal_nan=True):
                    raise GradcheckError(f"gradcheck: two backward passes gave different {what}s for {name}.")
                if g.shape != x.shape or g.dtype != x.dtype:
                    raise GradcheckError(f"gradcheck: {name} is {x.dtype} {x.shape}, its {what} {g.dtype} {g.shape}.")
        for name, x, b in zip(self.names, leaves, before):
            if not np.array_equal(x.data, b, equal_nan=True):
                raise GradcheckError(f"gradcheck: the function or its backward pass changed {name} in place.")
        return y.item(), gradients

    def five(self, value, steps):
        """The value at -2, -1, 0, 1 and 2 steps from the point."""

        def moved(t):
            return [x + t * steps[i] if i in steps else x for i, x in enumerate(self.point)]

        return np.array([float(value(self.at(moved(t))).item()) for t in _OFFSETS])

    def compare(self, value, steps, gradients):
        """(five values, slope per step by the rules, slope measured, difference allowed between the two)."""
        values = self.five(value, steps)
        terms = [g * steps[i] for i, g in zip(self.floats, gradients) if i in steps]
        analytic = float(sum(np.sum(t) for t in terms))
        scale = float(sum(np.sum(np.abs(t)) for t in terms))
        narrow, wide = (values[3] - values[1]) / 2.0, (values[4] - values[0]) / 4.0
        numeric = narrow + (narrow - wide) / 3.0
        noise = 16 * np.finfo(np.float64).eps * np.max(np.abs(values))
        return values, analytic, numeric, self.atol * self.eps + self.rtol * max(scale, abs(numeric)) + noise

    def along(self, value, order):
        """Compare along one random direction through all inputs at once."""
        what = "gradient" if order == 1 else "second derivative" if order == 2 else f"derivative of order {order}"
        y, gradients = self.gradients(value, what, order)
        unit = {i: self.eps * np.maximum(1.0, np.abs(self.point[i])) for i in self.floats}
        steps = {i: unit[i] * d for i, d in zip(self.floats, self.direction())}
        values, analytic, numeric, allowed = self.compare(value, steps, gradients)
        if not np.array_equal(values[2], y, equal_nan=True):
            raise GradcheckError(
                f"gradcheck: not repeatable: the same point gave {y:.10g}, then {values[2]:.10g}. Reset noise "
                "counters inside the function."
            )
        if not np.all(np.isfinite(values)) or not np.isfinite(analytic):
            raise GradcheckError(
                f"gradcheck: not finite here: f at five points {_line(values)}, {what} along them {analytic:.6g}."
            )
        if abs(numeric - analytic) <= allowed:
            return
        if _misfit(values) > allowed:
            slopes = np.diff(values)
            raise GradcheckError(
                f"gradcheck: not differentiable here: the slope jumps from {slopes[0]:.6g} to {slopes[-1]:.6g} per "
                f"step. Five values: {_line(values)}. Move the point away from the kink."
            )
        lines = [
            f"gradcheck: the {what} along a random direction is {analytic:.10g} per step, measured {numeric:.10g} "
            f"(difference {abs(numeric - analytic):.3g}, allowed {allowed:.3g})."
        ]
        for i, g in zip(self.floats, gradients):
            verdict = self.verdict(value, steps, gradients, i, g)
            lines.append(f"    {self.names[i]}, shape {self.point[i].shape}: {verdict}")
        raise GradcheckError("\n".join(lines))

    def verdict(self, value, steps, gradients, i, g):
        """Whether input i is right by itself; if not, the element that bisection finds, always in the worse half."""

        def difference(chosen):
            step = np.zeros(steps[i].size)
            step[chosen] = steps[i].ravel()[chosen]
            _, analytic, numeric, allowed = self.compare(value, {i: step.reshape(g.shape)}, gradients)
            return abs(numeric - analytic), numeric, allowed

        chosen = np.arange(g.size)
        error, _, allowed = difference(chosen)
        if error <= allowed:
            return "agrees"
        while chosen.size > 1:
            chosen = max(np.array_split(chosen, 2), key=lambda half: difference(half)[0])
        where = np.unravel_index(chosen[0], g.shape)
        measured = difference(chosen)[1] / steps[i][where]
        return f"at {[int(k) for k in where]} it is {g[where]:.8g}, measured {measured:.8g}"


def _floating(result):
    """The floating Tensors of a result, whatever tuples, lists and dicts it comes in."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from _floating(part)
    elif not isinstance(result, Tensor):
        raise DtypeError(f"gradcheck: the function returned a {type(result).__name__}, not a Tensor.")
    elif result.dtype.kind == "f":
        yield result


def _total(terms):
    return sum(terms, Tensor(0.0, dtype=np.float64))


def _misfit(values):
    """How far five equidistant values are from a parabola: a third derivative over steps this small leaves nothing."""
    rise = values - values[2]
    return np.max(np.abs(rise - np.polyval(np.polyfit(_OFFSETS, rise, 2), _OFFSETS)))


def _line(values):
    return np.array2string(values, precision=10, max_line_width=200)
