"""Schedules: the learning rate as training goes on. One ``step()`` per epoch, or per batch if that is what it counts.

    schedule = SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=5), CosineAnnealingLR(optimizer, 45)], [5])
    for epoch in range(50):
        ...
        schedule.step()

A schedule is one method, ``_lr``: the rate after ``last_epoch`` steps from the one before and the one it started from.
Most multiply what is there, so that two schedules of one optimizer multiply, and a rate set by hand is respected. Names
and values are PyTorch's.

Ring 4. Must not know what is trained. Read after ``base.py``.
"""

import math
from bisect import bisect_right

import numpy as np

from ..errors import SettingError
from .base import Optimizer, _count, _flag, _number

__all__ = ["ChainedScheduler", "CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR",
           "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]  # fmt: skip

_ABOVE_ONE = math.nextafter(1, 2)


class LRScheduler:
    """The base of every schedule; it sets the first rate when it is made.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups' "lr" it sets. The rate that the first schedule finds there stays in the group as "initial_lr": it
        is what all its schedules start from.

    A schedule of one's own defines ``_lr(self, i, lr, base)``: group i's new rate, from its present and its initial
    one, at step ``self.last_epoch``, which is 0 when the schedule is made.
    """

    _moving = ("last_epoch",)  # the attributes that change from step to step

    def __init__(self, optimizer):
        self._adopt(optimizer)
        self._begin()

    def _adopt(self, optimizer):
        if not isinstance(optimizer, Optimizer):
            raise SettingError(f"{type(self).__name__}: optimizer is a {type(optimizer).__name__}. Give an Optimizer.")
        self.optimizer = optimizer

    def step(self):
        """Go on by one and set every group's rate."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self):
        """The present rate of every group, as a list."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _lr(self, i, lr, base):
        raise NotImplementedError(f"{type(self).__name__}: no rule. Define _lr(self, i, lr, base).")

    def _set(self):
        for i, group in enumerate(self.optimizer.param_groups):
            lr = self._lr(i, group["lr"], group.setdefault("initial_lr", group["lr"]))
            group["lr"] = _number(f"{type(self).__name__}: at step {self.last_epoch}, lr", lr)

    def _begin(self):
        """Step 0, from the rates that are there."""
        self.last_epoch = 0
        self._set()

    def _restart(self):
        """Step 0, from the initial rates."""
        for group in self.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"])
        self._begin()

    def _per_group(self, name, value, check=_number, **limits):
        """A list with a checked value per group, of one value or of as many as there are groups."""
        where, n = f"{type(self).__name__}: {name}", len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * n
        if len(values) != n:
            raise SettingError(f"{where} has {len(values)} values for {n} parameter groups. Give one, or one for each.")
        return [check(where, one, **limits) for one in values]

    # -- state ------------------------------------------------------------------------------------------------------

    def state_dict(self):
        """{"last_epoch": int, "lrs": list, "initial_lrs": list, ...}: what moves, and the rates that it led to.

        Settings are not in it: load it into a schedule that was made like this one.
        """
        groups = self.optimizer.param_groups
        return {
            **{name: getattr(self, name) for name in self._moving},
            "lrs": self.get_last_lr(),
            "initial_lrs": [group["initial_lr"] for group in groups],
        }

    def load_state_dict(self, state):
        """Go on from what `state_dict` gave; sets the optimizer's rates too, so it may be loaded before or after it.

        Raises SettingError for another schedule's state; then nothing changes.
        """
        name, own, loaded = type(self).__name__, self.state_dict(), {}
        if set(state) != set(own):
            raise SettingError(
                f"load_state_dict: {name} has {', '.join(own)}, the state {', '.join(state) or 'nothing'}. "
                "Give the state of a schedule made like this one."
            )
        for key, now in own.items():
            value = np.asarray(state[key]).tolist()  # perhaps an array, from a file
            try:
                loaded[key] = [float(v) for v in value] if isinstance(now, list) else type(now)(value)
            except (TypeError, ValueError):
                raise SettingError(f"load_state_dict: {name}: {key}={state[key]!r}. Expected one like {now}.") from None
            if isinstance(now, list) and len(now) != len(value):
                raise SettingError(f"load_state_dict: {name}: {key} has {len(value)} values for {len(now)} groups.")
        self._load(loaded)

    def _load(self, state):
        for name in self._moving:
            setattr(self, name, state[name])
        for group, lr, initial in zip(self.optimizer.param_groups, state["lrs"], state["initial_lrs"]):
            group["lr"], group["initial_lr"] = lr, initial


class LambdaLR(LRScheduler):
    """The initial rate times a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callable
        int -> float; one, or one for each group.
    """

    def __init__(self, optimizer, lr_lambda):
        self._adopt(optimizer)
        self.lr_lambdas = self._per_group("lr_lambda", lr_lambda, _function)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        return base * _of_group(self.lr_lambdas, i)(self.last_epoch)


class StepLR(LRScheduler):
    """Times gamma every step_size steps.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    """

    def __init__(self, optimizer, step_size, gamma=0.1):
        self.step_size = _count("StepLR: step_size", step_size)
        self.gamma = _number("StepLR: gamma", gamma)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Times gamma at every milestone.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        One that is given twice counts twice.
    gamma : float
    """

    def __init__(self, optimizer, milestones, gamma=0.1):
        self.milestones = _milestones("MultiStepLR", milestones)
        self.gamma = _number("MultiStepLR: gamma", gamma)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        return lr * self.gamma ** self.milestones.count(self.last_epoch)


class ExponentialLR(LRScheduler):
    """Times gamma at every step.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    """

    def __init__(self, optimizer, gamma):
        self.gamma = _number("ExponentialLR: gamma", gamma)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        return lr * self.gamma if self.last_epoch else lr


class LinearLR(LRScheduler):
    """Warm-up: a factor that goes from start_factor to end_factor in a straight line, then stays.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        Above 0, at most 1.
    end_factor : float
        In [0, 1].
    total_iters : int
        How many steps that takes.
    """

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5):
        self.start_factor = _number("LinearLR: start_factor", start_factor, below=_ABOVE_ONE, positive=True)
        self.end_factor = _number("LinearLR: end_factor", end_factor, below=_ABOVE_ONE)
        self.total_iters = _count("LinearLR: total_iters", total_iters)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        if self.last_epoch == 0:
            return lr * self.start_factor
        return lr if self.last_epoch > self.total_iters else lr * self._factor(0) / self._factor(-1)

    def _factor(self, offset):
        done = (self.last_epoch + offset) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate down to eta_min. Loshchilov and Hutter 2017, without restarts.

        lr = eta_min + (initial - eta_min) (1 + cos(pi t / T_max)) / 2

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        How many steps the way down takes. Those after it lead up again.
    eta_min : float
        At least 0.
    """

    def __init__(self, optimizer, T_max, eta_min=0.0):
        self.T_max = _count("CosineAnnealingLR: T_max", T_max)
        self.eta_min = _number("CosineAnnealingLR: eta_min", eta_min)
        super().__init__(optimizer)

    def _lr(self, i, lr, base):
        if self.last_epoch == 0:
            return lr
        if (self.last_epoch - 1) % (2 * self.T_max) == self.T_max:  # from the bottom no factor leads up
            return lr + (base - self.eta_min) * self._height(0)
        return max(0.0, self.eta_min + (lr - self.eta_min) * self._height(0) / self._height(-1))

    def _height(self, offset):
        return (1 + math.cos(math.pi * (self.last_epoch + offset) / self.T_max)) / 2


class OneCycleLR(LRScheduler):
    """Up to max_lr and down to nearly nothing, once; the momentum goes the other way. Smith and Topin 2018.

    From max_lr / div_factor to max_lr in the first ``pct_start`` of the steps, then to
    max_lr / (div_factor final_div_factor). A step is a batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or list of float
        One, or one for each group.
    total_steps : int
        `step` may be called as many times.
    pct_start : float
        In [0, 1].
    anneal_strategy : str
        "cos" or "linear".
    cycle_momentum : bool
        Move "momentum", or the first of "betas", from max_momentum to base_momentum and back.
    base_momentum, max_momentum : float
        In [0, 1).
    div_factor, final_div_factor : float
        Above 0.
    three_phase : bool
        Come down to the initial rate as fast as it went up, and only then go to the last one.

    Differs from the paper, as PyTorch does: two phases and cosines unless asked.
    """

    def __init__(self, optimizer, max_lr, total_steps, *, pct_start=0.3, anneal_strategy="cos", cycle_momentum=True,
                 base_momentum=0.85, max_momentum=0.95, div_factor=25.0, final_div_factor=1e4,
                 three_phase=False):  # fmt: skip
        self._adopt(optimizer)
        self.max_lrs = self._per_group("max_lr", max_lr)
        self.total_steps = _count("OneCycleLR: total_steps", total_steps)
        pct_start = _number("OneCycleLR: pct_start", pct_start, below=_ABOVE_ONE)
        self.anneal_strategy = _choice("OneCycleLR: anneal_strategy", anneal_strategy, "cos", "linear")
        self.cycle_momentum = _flag("OneCycleLR: cycle_momentum", cycle_momentum)
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise SettingError(f"OneCycleLR: {type(optimizer).__name__} has no momentum. Give cycle_momentum=False.")
        low = _number("OneCycleLR: base_momentum", base_momentum, below=1.0)
        high = _number("OneCycleLR: max_momentum", max_momentum, below=1.0)
        initial = 1.0 / _number("OneCycleLR: div_factor", div_factor, positive=True)
        final = initial / _number("OneCycleLR: final_div_factor", final_div_factor, positive=True)
        top, last = pct_start * self.total_steps - 1, self.total_steps - 1
        back = [(2 * top, initial, high)] if _flag("OneCycleLR: three_phase", three_phase) else []
        # (step, rate / max_lr, momentum) where one phase ends and the next begins
        self._knots = [(0, initial, high), (top, 1.0, low), *back, (last, final, high)]
        super().__init__(optimizer)

    def step(self):
        """Go on by one and set every group's rate and momentum. Raises SettingError after total_steps."""
        if self.last_epoch >= self.total_steps:
            raise SettingError(f"OneCycleLR: all {self.total_steps} steps are done. Give a larger total_steps.")
        super().step()

    def _lr(self, i, lr, base):
        return _of_group(self.max_lrs, i) * self._interpolated(1)

    def _set(self):
        super()._set()
        if self.cycle_momentum:
            self._set_momenta([self._interpolated(2)] * len(self.optimizer.param_groups))

    def _interpolated(self, column):
        begin, last = self._knots[0], self._knots[-1]
        for end in self._knots[1:]:
            if self.last_epoch <= end[0] or end is last:
                break
            begin = end
        done = (self.last_epoch - begin[0]) / (end[0] - begin[0]) if end[0] > begin[0] else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - math.cos(math.pi * done)) / 2
        done = min(done, 1.0)  # the last step lies behind the last knot, total_steps - 1: a line would go on below 0
        return begin[column] + (end[column] - begin[column]) * done

    def _set_momenta(self, values):
        for group, value in zip(self.optimizer.param_groups, values):
            if "betas" in group:
                group["betas"] = (value, group["betas"][1])
            else:
                group["momentum"] = value

    def state_dict(self):
        """As every schedule's, and {"momenta": list}."""
        if not self.cycle_momentum:
            return super().state_dict()
        groups = self.optimizer.param_groups
        return {**super().state_dict(), "momenta": [g["betas"][0] if "betas" in g else g["momentum"] for g in groups]}

    def _load(self, state):
        super()._load(state)
        self._set_momenta(state.get("momenta", []))


class ReduceLROnPlateau(LRScheduler):
    """Times factor when a measure has not got better for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : str
        "min" if less is better, else "max".
    factor : float
        In [0, 1).
    patience : int
        How many steps without a better measure are let pass.
    threshold : float
        What counts as better: by more than this part of the best ("rel"), or than this ("abs").
    threshold_mode : str
        "rel" or "abs".
    cooldown : int
        For how many steps after a reduction nothing is counted.
    min_lr : float, or list of float
        No lower than this; one, or one for each group.
    eps : float
        A reduction by no more than this is not made.
    """

    _moving = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter")

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0,
                 min_lr=0.0, eps=1e-8):  # fmt: skip
        self._adopt(optimizer)
        self.mode = _choice("ReduceLROnPlateau: mode", mode, "min", "max")
        self.threshold_mode = _choice("ReduceLROnPlateau: threshold_mode", threshold_mode, "rel", "abs")
        self.factor = _number("ReduceLROnPlateau: factor", factor, below=1.0)
        self.patience = _count("ReduceLROnPlateau: patience", patience, least=0)
        self.threshold = _number("ReduceLROnPlateau: threshold", threshold)
        self.cooldown = _count("ReduceLROnPlateau: cooldown", cooldown, least=0)
        self.min_lrs = self._per_group("min_lr", min_lr)
        self.eps = _number("ReduceLROnPlateau: eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self._reduces = False
        super().__init__(optimizer)

    def step(self, measure):
        """Go on by one.

        Parameters
        ----------
        measure : float, or a Tensor of one element
            For instance the validation loss. NaN is never better.
        """
        measure = float(measure.item() if hasattr(measure, "item") else measure)
        if self._is_better(measure):
            self.best, self.num_bad_epochs = measure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        self._reduces = self.num_bad_epochs > self.patience
        if self._reduces:
            self.num_bad_epochs, self.cooldown_counter = 0, self.cooldown
        super().step()

    def _is_better(self, measure):
        sign = 1.0 if self.mode == "min" else -1.0
        if math.isinf(self.best):
            return sign * measure < sign * self.best
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1.0)
        return sign * measure < sign * self.best - margin

    def _lr(self, i, lr, base):
        reduced = max(lr * self.factor, _of_group(self.min_lrs, i)) if self._reduces else lr
        return reduced if lr - reduced > self.eps else lr


class _Composite(LRScheduler):
    """Schedules of one optimizer, made into one."""

    def _take(self, schedulers):
        name = type(self).__name__
        self.schedulers = list(schedulers) if hasattr(schedulers, "__iter__") else [schedulers]
        if not self.schedulers:
            raise SettingError(f"{name}: no schedules. Give at least one.")
        for s in self.schedulers:
            if not isinstance(s, LRScheduler) or isinstance(s, ReduceLROnPlateau):
                raise SettingError(f"{name}: a {type(s).__name__} is no schedule whose step() needs nothing.")
        if len({id(s.optimizer) for s in self.schedulers}) > 1 or len({*self.schedulers}) < len(self.schedulers):
            raise SettingError(f"{name}: give different schedules, all of the same optimizer.")
        self._adopt(self.schedulers[0].optimizer)

    def state_dict(self):
        """As every schedule's, and that of each part: {"schedulers.0.last_epoch": int, ...}."""
        state = super().state_dict()
        for i, s in enumerate(self.schedulers):
            state |= {f"schedulers.{i}.{name}": value for name, value in s.state_dict().items()}
        return state

    def _load(self, state):
        for i, s in enumerate(self.schedulers):
            start = f"schedulers.{i}."
            s._load({name.removeprefix(start): value for name, value in state.items() if name.startswith(start)})
        super()._load(state)


class ChainedScheduler(_Composite):
    """Several schedules at once: every step is one of each, in this order, so that their factors multiply.

    Parameters
    ----------
    schedulers : list of LRScheduler
        Of one optimizer.
    """

    def __init__(self, schedulers):
        self._take(schedulers)
        self.last_epoch = 0  # each has set its first rate already

    def step(self):
        """A step of each."""
        self.last_epoch += 1
        for s in self.schedulers:
            s.step()

    def _begin(self):
        self.last_epoch = 0
        for s in self.schedulers:
            s._begin()


class SequentialLR(_Composite):
    """One schedule after another, each from its own step 0 and from the initial rates.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        Of this optimizer.
    milestones : list of int
        The step at which the second takes over, the third, ...
    """

    def __init__(self, optimizer, schedulers, milestones):
        self._take(schedulers)
        self.milestones = _milestones("SequentialLR", milestones)
        if len(self.milestones) != len(self.schedulers) - 1 or len({*self.milestones}) < len(self.milestones):
            n = len(self.schedulers)
            raise SettingError(f"SequentialLR: milestones={milestones!r} for {n} schedules. Give {n - 1}, each once.")
        if optimizer is not self.optimizer:
            raise SettingError("SequentialLR: the schedules are of another optimizer.")
        self._restart()

    def step(self):
        """A step of the one whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self.milestones, self.last_epoch)
        if self.last_epoch in self.milestones:
            self.schedulers[turn]._restart()
        else:
            self.schedulers[turn].step()

    def _begin(self):
        self.last_epoch = 0
        self.schedulers[0]._begin()


def _of_group(values, i):
    """Group i's value; a group that was added later has the last one's."""
    return values[min(i, len(values) - 1)]


def _function(where, value):
    if not callable(value):
        raise SettingError(f"{where}={value!r}. Give a function of the step.")
    return value


def _choice(where, value, *choices):
    if value not in choices:
        raise SettingError(f"{where}={value!r}. Give {' or '.join(map(repr, choices))}.")
    return value


def _milestones(where, milestones):
    """milestones in ascending order, each a count of at least 1."""
    if not hasattr(milestones, "__iter__"):
        raise SettingError(f"{where}: milestones={milestones!r}. Give a list of step numbers.")
    return sorted(_count(f"{where}: milestone", m) for m in milestones)
