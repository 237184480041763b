"""What every optimizer is: groups of parameters with settings, what is kept per parameter, and a step over them all.

Ring 4. Must not know modules or losses: a parameter is any leaf Tensor. Read after ``nn/``; then ``rules.py``.

Note [Groups]
    A group is a dictionary of some parameters ("params"), their settings and perhaps a "name". A rule reads a setting
    as an attribute, ``self.lr``, and gets that of the group being updated; between steps, that of the first group.
    Setting the attribute sets it in every group; ``optimizer.param_groups[1]["lr"] = 0.1`` sets it in one.
"""

import math
import warnings

import numpy as np

from ..engine import Var, written
from ..errors import DtypeError, GradientWarning, SettingError, ShapeError
from ..mode import mode

__all__ = ["Optimizer", "Setting"]

_PATIENT = 10  # steps after which a parameter that never had a gradient is spoken of


class Setting:
    """A setting of a rule, one value per group: read and set as an attribute, see Note [Groups].

    Parameters
    ----------
    check : callable
        (where, value, **limits) -> the value as it is kept; raises SettingError, whose text starts with where.
    **limits
        Passed on to check.
    """

    def __init__(self, check, **limits):
        self._check, self._limits = check, limits

    def __set_name__(self, rule, name):
        self.name = name

    def __get__(self, optimizer, rule=None):
        return self if optimizer is None else optimizer._group[self.name]

    def __set__(self, optimizer, value):
        value = self.check(type(optimizer).__name__, value)
        for group in optimizer.param_groups:
            group[self.name] = value

    def check(self, where, value):
        """value as it is kept, or SettingError."""
        return self._check(f"{where}: {self.name}", value, **self._limits)


def _number(where, value, below=math.inf, positive=False):
    """value as a float in [0, below), or (0, below)."""
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (0 <= number < below) or (positive and number == 0):
        least = "above 0" if positive else "of at least 0"
        most = f" and below {below:g}" if below < math.inf else ""
        raise SettingError(f"{where}={value!r}. Give a finite number {least}{most}.")
    return number


def _count(where, value, least=1):
    """value as an int of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise SettingError(f"{where}={value!r}. Give a whole number of at least {least}.")
    return int(value)


def _flag(where, value):
    if not isinstance(value, (bool, np.bool_)):
        raise SettingError(f"{where}={value!r}. Give True or False.")
    return bool(value)


class Optimizer:
    """The base of every rule: which parameters, their settings, and arrays kept per parameter (`state`).

    Parameters
    ----------
    parameters : iterable of Tensor, or iterable of dict
        Leaves, each once; or groups of them with settings of their own, such as
        ``[{"params": net.encoder.parameters(), "lr": 1e-4}, {"params": net.decoder.parameters(), "name": "decoder"}]``.
        Those without a gradient are left alone by `step`.
    lr : float
        The learning rate, at least 0, of groups that have none of their own.
    **settings
        The same for what else the rule lists as `Setting`.

    A rule of one's own defines ``_update(self, p, g, state)``: arrays, in place on p; state is the parameter's dict.

    Raises SettingError for no parameters, the same one twice, or a setting unknown or out of range.
    """

    slots = ()  # names of what a rule keeps per parameter
    lr = Setting(_number)
    maximize = Setting(_flag)

    def __init__(self, parameters, lr, **settings):
        name = type(self).__name__
        self.defaults = {"lr": lr, **settings}
        self.param_groups, self.state, self._work, self._steps = [], {}, {}, 0
        parameters = _list(name, parameters)
        groups = parameters if isinstance(parameters[0], dict) else [{"params": parameters}]
        for group in groups:
            self.add_param_group(group)

    @property
    def parameters(self):
        """Every parameter, group after group."""
        return [p for group in self.param_groups for p in group["params"]]

    def add_param_group(self, group):
        """Train more parameters.

        Parameters
        ----------
        group : dict
            "params", an iterable of Tensors that are in no group yet; "name", a str, if it shall have one; any setting
            of the rule. Settings that are not there are those the optimizer was made with.
        """
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise SettingError(
                f'{name}: a group is {group!r:.60}. Give a dict such as {{"params": [...], "lr": 0.01}}.'
            )
        where = f"{name}, group {group.get('name', len(self.param_groups))!r}" if len(group) > 1 else name
        parameters = _leaves(where, _list(where, group["params"]))
        if len({*parameters, *self.parameters}) < len(parameters) + len(self.parameters):
            raise SettingError(f"{where}: a parameter is given twice. It would be updated twice per step.")
        made = {"params": parameters}
        for key, value in {**self.defaults, **{key: group[key] for key in group if key != "params"}}.items():
            made[key] = value if key == "name" else self._setting(where, key).check(where, value)
        self._check_group(where, made)
        self.param_groups.append(made)
        self._group = self.param_groups[0]

    def step(self, closure=None):
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first: it clears the gradients, computes the loss, runs backward and returns the loss.

        Returns
        -------
        What closure returned, or None.
        """
        loss = None if closure is None else closure()
        moved = []
        try:
            with np.errstate(all="ignore"):  # infinities and NaN go through, as in C; the loss will show them
                for self._group in self.param_groups:
                    uphill = self._group.get("maximize", False)
                    for p in self._group["params"]:
                        gradient = p.grad
                        if gradient is not None:
                            if mode.capture is not None:
                                mode.capture.update(self, self._group, p, gradient)
                            self._apply(p, gradient._data, uphill)
                            moved.append(p)
        finally:
            self._group = self.param_groups[0]
            written(*moved)
        self._look_for_gradients(moved)
        return loss

    def _look_for_gradients(self, moved):
        """Warn where a gradient is missing that nobody may miss: of all parameters, or of one from the first step on."""
        self._steps += 1
        if not moved:
            text = "no parameter has a gradient, so nothing was changed. Call backward() on a loss of these parameters"
        elif self._steps == _PATIENT and (
            shapes := [p.shape for p in self.parameters if p.requires_grad and p.grad is None and p not in self.state]
        ):
            text = f"parameters of shape {', '.join(map(str, shapes))} had no gradient in {_PATIENT} steps: no loss "
            text += "depended on them. Is a layer left out? If it is on purpose, call requires_grad_(False)"
        else:
            return
        warnings.warn(f"{type(self).__name__}.step: {text}.", GradientWarning, stacklevel=3)

    def _apply(self, p, g, uphill):
        if uphill:
            g = np.negative(g, out=self._scratch(g, "uphill"))
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = {}
        self._update(p._data, g, state)

    def zero_grad(self):
        """Forget every parameter's gradient."""
        for p in self.parameters:
            if p.requires_grad:
                p.grad = None

    def _update(self, p, g, state):
        raise NotImplementedError(f"{type(self).__name__}: no rule. Define _update(self, p, g, state), in place on p.")

    def _check_group(self, where, group):
        """Refuse settings that do not go together; for rules that have such."""

    def _setting(self, where, name):
        setting = getattr(type(self), name, None)
        if not isinstance(setting, Setting) or name not in self.defaults:
            raise SettingError(f"{where}: no setting {name}. It has {', '.join(self.defaults)}.")
        return setting

    # -- state ------------------------------------------------------------------------------------------------------

    def state_dict(self):
        """{"param_groups.0.lr": float, "parameters.0.velocity": array, ...}: copies of all that resuming needs.

        Every setting of every group, and what is kept of every parameter, counted through all groups. Plain numbers and
        arrays, so ``np.savez(path, **optimizer.state_dict())`` writes it. A setting that is None is left out.
        """
        state = {}
        for i, group in enumerate(self.param_groups):
            state |= {f"param_groups.{i}.{name}": group[name] for name in self.defaults if group[name] is not None}
        for i, p in enumerate(self.parameters):
            for name, value in self.state.get(p, {}).items():
                state[f"parameters.{i}.{name}"] = value.copy() if isinstance(value, np.ndarray) else value
        return state

    def load_state_dict(self, state):
        """Copy in what `state_dict` gave, of the same rule over parameters and groups of the same shapes and order.

        Raises SettingError for a name that is missing or unknown, ShapeError for another shape; then nothing changes.
        """
        parameters, state = self.parameters, dict(state)
        groups, kept = [], {}
        for i, _ in enumerate(self.param_groups):
            keys = {name: f"param_groups.{i}.{name}" for name in self.defaults}
            groups.append({name: self._loaded(name, key, state.pop(key, None)) for name, key in keys.items()})
        for key in state:
            first, index, name = [*key.split("."), "", ""][:3]
            known = first == "parameters" and index.isdecimal() and int(index) < len(parameters) and name in self.slots
            if not known or key.count(".") != 2:
                raise SettingError(
                    f"load_state_dict: {key!r} is not of {type(self).__name__} with {len(parameters)} parameters in "
                    f"{len(groups)} groups. Give the state of the same rule."
                )
            p = parameters[int(index)]
            value = int(state[key]) if name == "step" else np.array(state[key], p._data.dtype, order="C")
            if name != "step" and value.shape != p._data.shape:
                raise ShapeError(f"load_state_dict: {key} has shape {value.shape}, its parameter {p._data.shape}.")
            kept.setdefault(p, {})[name] = value
        for group, loaded in zip(self.param_groups, groups):
            group |= loaded
        self.state = kept

    def _loaded(self, name, key, value):
        value = None if value is None else np.asarray(value).tolist()  # perhaps a 0-d array, from a file
        try:
            return self._setting("load_state_dict", name).check("load_state_dict", value)
        except SettingError:
            if value is not None:
                raise
        raise SettingError(
            f"load_state_dict: the state has no {key}. Give what state_dict() returned, of as many groups."
        )

    def __repr__(self):
        lines = [f"{len(group['params'])} parameters, " + ", ".join(
            f"{name}={group[name]:g}" if name == "lr" else f"{name}={group[name]}" for name in self.defaults
        ) for group in self.param_groups]  # fmt: skip
        if len(lines) > 1:
            names = [group.get("name", f"group {i}") for i, group in enumerate(self.param_groups)]
            lines = ["", *(f"  {name}: {line}" for name, line in zip(names, lines)), ""]
        return f"{type(self).__name__}({chr(10).join(lines)})"

    def __getstate__(self):
        return {**vars(self), "_work": {}}

    # -- for the rules ----------------------------------------------------------------------------------------------

    def _slot(self, state, name, p, fill=0.0):
        """The kept array of that name, all `fill` at first, of p's shape and dtype."""
        array = state.get(name)
        if array is None:
            array = state[name] = np.full_like(p, fill)
        elif array.dtype != p.dtype:  # the module was converted meanwhile
            array = state[name] = array.astype(p.dtype)
        return array

    def _scratch(self, like, which=0):
        """A work array of like's shape and dtype; kept, so that a step allocates nothing."""
        flat = self._work.get((like.dtype, which))
        if flat is None or flat.size < like.size:
            flat = self._work[like.dtype, which] = np.empty(like.size, like.dtype)
        return flat[: like.size].reshape(like.shape)

    def _decayed(self, p, g, weight_decay):
        """g + weight_decay p, g itself if there is no decay."""
        if not weight_decay:
            return g
        out = np.multiply(p, weight_decay, out=self._scratch(p, "decayed"))
        out += g
        return out


def _list(where, parameters):
    if isinstance(parameters, Var) or hasattr(parameters, "parameters") or not hasattr(parameters, "__iter__"):
        raise SettingError(
            f"{where}: parameters is a {type(parameters).__name__}. Give a list of Tensors, such as net.parameters()."
        )
    parameters = list(parameters)
    if not parameters:
        raise SettingError(f"{where}: no parameters. Give at least one; a generator can be used only once.")
    return parameters


def _leaves(where, parameters):
    for i, p in enumerate(parameters):
        if not isinstance(p, Var):
            raise SettingError(f"{where}: parameter {i} is a {type(p).__name__}, not a Tensor.")
        if not p.is_leaf:
            raise SettingError(f"{where}: parameter {i} is the result of an operation. Give the leaves themselves.")
        if p._data.dtype.kind != "f":
            raise DtypeError(f"{where}: parameter {i} has dtype {p._data.dtype}. Only floats can be trained.")
    return parameters
