"""L-BFGS: steps that know the curvature, from differences of the last gradients. For all data at once, without noise.

    optimizer = LBFGS(net.parameters(), line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.mse(net(X), X)
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)

Ring 4. Must not know modules or losses. Read after ``rules.py``. What it computes, with and without the line search, is
what PyTorch's computes, whose settings it has; but which pair of changes is learned from does not depend on the loss's
scale.
"""

import math
from typing import NamedTuple

import numpy as np

from ..engine import written
from ..errors import SettingError, ShapeError
from .base import Optimizer, Setting, _count, _number

__all__ = ["LBFGS"]

_DECREASE, _CURVATURE = 1e-4, 0.9  # c1 and c2 of the strong Wolfe conditions
_NARROW = 1e-9  # a bracket in which no element moves by as much is not searched further


def _count_or_none(where, value):
    return None if value is None else _count(where, value)


def _line_search(where, value):
    if value not in (None, "strong_wolfe"):
        raise SettingError(f"{where}={value!r}. Give 'strong_wolfe' or None.")
    return value


class LBFGS(Optimizer):
    """Newton's method with an inverse Hessian made of the last steps and their gradients' changes. Nocedal 1980.

        s = change of p,  y = change of g,  rho = 1 / y.s,  H = s.y / y.y
        q = g;  from the latest pair back:   a = rho s.q,  q = q - a y
        d = -H q;  from the oldest pair on:  d = d - s (rho y.d + a)
        p = p + lr d, or p + t d with the t that a line search finds (strong Wolfe: Nocedal and Wright 2006, ch. 3)

    A step is up to max_iter of these, each needing the loss at least once: `step` takes a closure. Parameters that have
    no gradient stay where they are; when others have one than before, the history starts anew. It holds 2 history_size
    arrays of the size of all parameters.

    Parameters
    ----------
    parameters : iterable of Tensor
        One group: a line search is along all of them.
    lr : float
        The length of a step, in units of d; with a line search, what that tries first. The very first step is
        shortened to a sum of absolute changes of lr.
    max_iter : int
        Iterations per step.
    max_eval : int, optional
        Calls of the closure per step, about; None is 5/4 of max_iter.
    tolerance_grad : float
        Done when no element of the gradient is larger.
    tolerance_change : float
        Done when neither the parameters nor the loss change by more.
    history_size : int
        How many pairs are kept.
    line_search_fn : str, optional
        "strong_wolfe", which makes it reliable, or None.
    """

    max_iter = Setting(_count)
    max_eval = Setting(_count_or_none)
    tolerance_grad = Setting(_number)
    tolerance_change = Setting(_number)
    history_size = Setting(_count)
    line_search_fn = Setting(_line_search)

    def __init__(self, parameters, lr=1.0, *, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
                 history_size=100, line_search_fn=None):  # fmt: skip
        super().__init__(parameters, lr, max_iter=max_iter, max_eval=max_eval, tolerance_grad=tolerance_grad,
                         tolerance_change=tolerance_change, history_size=history_size,
                         line_search_fn=line_search_fn)  # fmt: skip
        self._memory = None

    def add_param_group(self, group):
        """One group there is; SettingError for another."""
        if self.param_groups:
            raise SettingError("LBFGS: a second parameter group. Its steps are along all parameters: give one list.")
        super().add_param_group(group)

    def step(self, closure=None):
        """Up to max_iter iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss, runs backward and returns the loss. Called several times; noise in
            it is taken for curvature. If it raises, the parameters are where the last whole iteration left them.

        Returns
        -------
        What closure returned the first time.

        Raises SettingError without a closure.
        """
        if closure is None:
            raise SettingError(
                "LBFGS.step: no closure, and it needs the loss at several points. Call step(closure), where closure "
                "clears the gradients, computes the loss, runs backward and returns the loss."
            )
        with np.errstate(all="ignore"):
            first = closure()
            live = [i for i, p in enumerate(self.parameters) if p.grad is not None]
            if live:
                max_eval = self.max_iter * 5 // 4 if self.max_eval is None else self.max_eval
                for _ in self._iterate(closure, float(_item(first)), live, self.max_iter, max_eval):
                    pass
        return first

    def iterations(self, closure, max_iter):
        """What one `step` of up to max_iter iterations does, an iteration at a time.

        Yields the loss after each, the parameters being where it has led; ends when one of the tolerances is met, or
        with the last iteration. Between two nobody else may move the parameters. Calls of the closure are limited to
        25 per iteration instead of by max_eval.
        """
        loss = float(_item(closure()))
        live = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        return self._iterate(closure, loss, live, max_iter, 25 * max_iter) if live else iter(())

    def _iterate(self, closure, loss, live, max_iter, max_eval):
        parameters = [self.parameters[i] for i in live]
        memory, g, calls = self._recall(live), _flat(parameters, "grad"), 1
        if _largest(g) <= self.tolerance_grad:
            return

        def at(t):
            nonlocal calls
            calls += 1
            _place(parameters, x + t * d)
            f = float(_item(closure()))
            there = _flat(parameters, "grad")
            return _Point(t, f, there, _dot(there, d))

        for iteration in range(1, max_iter + 1):
            d = memory.direction(g, self.history_size)
            memory.loss, memory.g, memory.d = loss, g, d
            first = memory.iterations == 1
            memory.t = t = self.lr * min(1.0, 1.0 / float(np.abs(g).sum())) if first else self.lr
            slope = _dot(g, d)
            if slope > -self.tolerance_change:
                return
            x = _flat(parameters, "_data")
            try:
                if self.line_search_fn is not None:
                    start = _Point(0.0, loss, g, slope)
                    t, loss, g, _ = _strong_wolfe(at, start, t, _largest(d), max_eval - calls)
                    memory.t = t
                elif iteration < max_iter:
                    _, loss, g, _ = at(t)
            except BaseException:
                _place(parameters, x)
                raise
            _place(parameters, x + t * d)
            yield loss
            if (
                calls >= max_eval
                or _largest(g) <= self.tolerance_grad
                or _largest(t * d) <= self.tolerance_change
                or abs(loss - memory.loss) < self.tolerance_change
            ):
                return

    def _recall(self, live):
        """What the last step left, or a new memory if it was about other parameters; in today's dtype."""
        dtype = np.result_type(*(self.parameters[i]._data.dtype for i in live))
        if self._memory is None or self._memory.live != live:
            self._memory = _Memory(live)
        self._memory.convert(dtype)
        return self._memory

    def state_dict(self):
        """As every optimizer's, and {"memory.d": array, ...}: the last direction, gradient and loss, and the pairs."""
        kept = {} if self._memory is None else self._memory.state()
        return {**super().state_dict(), **{f"memory.{name}": value for name, value in kept.items()}}

    def load_state_dict(self, state):
        """Copy in what `state_dict` gave, of LBFGS over parameters of the same shapes and order.

        Raises SettingError for a name that is missing or unknown, ShapeError for another shape; then nothing changes.
        """
        kept = {name: state[name] for name in state if name.startswith("memory.")}
        memory = None
        if kept:
            memory = _Memory.of({name.removeprefix("memory."): value for name, value in kept.items()}, self.parameters)
        super().load_state_dict({name: state[name] for name in state if name not in kept})
        self._memory = memory


class _Memory:
    """What one iteration leaves to the next: where it was, where it went, and the pairs of changes."""

    _numbers = ("iterations", "t", "loss", "scale")

    def __init__(self, live):
        self.live = live  # which parameters the flat arrays are of
        self.iterations, self.t, self.loss, self.scale = 0, 0.0, 0.0, 1.0  # scale: H of the formula
        self.g = self.d = None
        self.steps, self.changes, self.rhos = [], [], []

    def direction(self, g, history_size):
        """-(inverse Hessian) g; remembers first what the last iteration has shown about it."""
        self.iterations += 1
        if self.iterations > 1:
            y, s = g - self.g, self.t * self.d
            curvature = _dot(y, s)
            # Else H would not stay positive definite. Measured by the lengths: a loss that is a mean over many features
            # has tiny gradients long before its minimum, and there nothing would be learned any more.
            if curvature > 1e-10 * math.sqrt(_dot(y, y) * _dot(s, s)):
                self.steps.append(s)
                self.changes.append(y)
                self.rhos.append(1.0 / curvature)
                for kept in (self.steps, self.changes, self.rhos):
                    del kept[:-history_size]
                self.scale = curvature / _dot(y, y)
        q, pairs, factors = -g, list(zip(self.steps, self.changes, self.rhos)), []
        for s, y, rho in reversed(pairs):
            factors.append(rho * _dot(s, q))
            q -= factors[-1] * y
        q *= self.scale
        for s, y, rho in pairs:
            q += (factors.pop() - rho * _dot(y, q)) * s
        return q

    def convert(self, dtype):
        if self.d is not None and self.d.dtype != dtype:
            self.g, self.d = self.g.astype(dtype), self.d.astype(dtype)
            self.steps = [s.astype(dtype) for s in self.steps]
            self.changes = [y.astype(dtype) for y in self.changes]

    def state(self):
        if self.d is None:
            return {}
        pairs = {
            name: np.array(getattr(self, name), self.d.dtype).reshape(-1, self.d.size) for name in ("steps", "changes")
        }
        numbers = {name: getattr(self, name) for name in self._numbers}
        return {**numbers, "live": np.array(self.live), "rhos": np.array(self.rhos), "g": self.g.copy(),
                "d": self.d.copy(), **pairs}  # fmt: skip

    @classmethod
    def of(cls, state, parameters):
        """The memory whose `state` that was."""
        wanted = {*cls._numbers, "live", "rhos", "g", "d", "steps", "changes"}
        if set(state) != wanted:
            raise SettingError(
                f"load_state_dict: of memory, the state has {', '.join(sorted(state))}; LBFGS needs "
                f"{', '.join(sorted(wanted))}."
            )
        live, rhos = [int(i) for i in np.asarray(state["live"])], np.asarray(state["rhos"]).tolist()
        if live != sorted({*live} & {*range(len(parameters))}):
            raise SettingError(f"load_state_dict: memory.live={live}, of {len(parameters)} parameters.")
        n = sum(parameters[i]._data.size for i in live)
        shapes = {"g": (n,), "d": (n,), "steps": (len(rhos), n), "changes": (len(rhos), n)}
        for name, shape in shapes.items():
            if np.shape(state[name]) != shape:
                raise ShapeError(f"load_state_dict: memory.{name} has shape {np.shape(state[name])}, expected {shape}.")
        memory = cls(live)
        for name in cls._numbers:
            setattr(memory, name, type(getattr(memory, name))(state[name]))
        memory.g, memory.d, memory.rhos = np.array(state["g"]), np.array(state["d"]), rhos
        memory.steps, memory.changes = list(np.array(state["steps"])), list(np.array(state["changes"]))
        return memory


class _Point(NamedTuple):
    """A place on the line: how far, the loss, its gradient, and its slope along d there."""

    t: float
    f: float
    g: np.ndarray
    slope: float


def _strong_wolfe(at, start, t, reach, limit):
    """A point whose loss is low enough and whose slope flat enough; else the lowest met in `limit` tries after the
    first.

    at(t) is the point at t; start the one at 0; reach the largest element of d. A loss or slope that is not finite is
    that of a point too far away. A bracket is found first, then narrowed to where a cubic through its ends is lowest.
    """

    def too_high(point):
        return not point.f <= start.f + _DECREASE * point.t * start.slope or math.isnan(point.slope)

    def flat_enough(point):
        return abs(point.slope) <= -_CURVATURE * start.slope

    before, now, tries = start, at(t), 0
    while tries < limit:
        if too_high(now) or (tries > 1 and now.f >= before.f):
            break
        if flat_enough(now):
            return now
        if now.slope >= 0:
            break
        t = _lowest_of_cubic(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now, tries = now, at(t), tries + 1
    else:
        before = start
    ends = [before, now]
    low = _lower(ends)
    near_an_end = False
    while tries < limit:
        left, right = sorted(end.t for end in ends)
        if (right - left) * reach < _NARROW:
            break
        t = _lowest_of_cubic(*ends, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            near_an_end = False
        elif near_an_end or not left < t < right:  # the second time: a tenth away from it, or it would take forever
            t = right - margin if right - t < t - left else left + margin
            near_an_end = False
        else:
            near_an_end = True
        now, tries = at(t), tries + 1
        if too_high(now) or now.f >= ends[low].f:
            ends[1 - low] = now
            low = _lower(ends)
        elif flat_enough(now):
            return now
        else:
            if now.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = now
    return ends[low]


def _lower(ends):
    """Which of two points is the lower one. One that is not finite is never."""
    return 0 if ends[0].f <= ends[1].f or not math.isfinite(ends[1].f) else 1


def _lowest_of_cubic(a, b, least, most):
    """Where, in [least, most], the cubic with these losses and slopes at a and b is lowest; the middle if there is
    none.
    """
    if a.t > b.t:
        a, b = b, a
    width = b.t - a.t
    bend = a.slope + b.slope - 3 * (b.f - a.f) / width if width else math.nan
    square = bend * bend - a.slope * b.slope
    if square >= 0:
        root = math.sqrt(square)
        divisor = b.slope - a.slope + 2 * root
        t = b.t - width * (b.slope + root - bend) / divisor if divisor else math.nan
        if math.isfinite(t):
            return min(max(t, least), most)
    return (least + most) / 2


def _item(loss):
    return loss.item() if hasattr(loss, "item") else loss


def _flat(parameters, name):
    """Their arrays, or their gradients (zero where there is none), as a new one of one dimension."""
    values = [getattr(p, name) for p in parameters]
    values = [v if isinstance(v, np.ndarray) else np.zeros_like(p._data) if v is None else v._data
              for v, p in zip(values, parameters)]  # fmt: skip
    return np.concatenate([v.ravel() for v in values])


def _place(parameters, flat):
    """Put the parts of flat into the parameters."""
    begin = 0
    for p in parameters:
        p._data[...] = flat[begin : begin + p._data.size].reshape(p._data.shape)
        begin += p._data.size
    written(*parameters)


def _dot(a, b):
    """Their inner product. By NumPy's own sum: a library's would have other bits with another number of threads."""
    return float(np.sum(a * b))


def _largest(x):
    return float(np.abs(x).max(initial=0.0))
