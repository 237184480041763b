"""Optimizers: rules that turn gradients into better parameters, in place.

    optimizer = Adam(net.parameters(), lr=1e-3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

A rule is one method, ``_update``, on plain arrays: first the C kernel, which is one pass over memory, else the same
formula in NumPy, in place. ``t`` counts a parameter's own steps. Settings may be changed between steps.

Ring 4. Must not know modules or losses: a parameter is any leaf Tensor. Read after ``nn/``; then ``train.py``.
"""

import math

import numpy as np

from . import kernels
from .engine import Var, written
from .errors import DtypeError, SettingError, ShapeError

__all__ = ["SGD", "Adadelta", "Adam", "AdamW", "Optimizer", "RMSprop", "optimizer"]


class Optimizer:
    """The base of every rule: which parameters, the learning rate, and arrays kept per parameter (its state).

    Parameters
    ----------
    parameters : iterable of Tensor
        Leaves, each once. Those without a gradient are left alone by `step`.
    lr : float
        The learning rate, at least 0.

    Raises SettingError for no parameters, the same one twice, or a setting out of range.
    """

    slots = ()  # names of what a rule keeps per parameter

    def __init__(self, parameters, lr):
        self.parameters = _leaves(type(self).__name__, parameters)
        self.lr = lr
        self._states = [{} for _ in self.parameters]
        self._work = {}

    @property
    def lr(self):
        """The learning rate; may be set between steps."""
        return self._lr

    @lr.setter
    def lr(self, value):
        self._lr = self._number("lr", value)

    def step(self):
        """Update every parameter that has a gradient."""
        moved = []
        with np.errstate(all="ignore"):  # infinities and NaN go through, as in C; the loss will show them
            for p, state in zip(self.parameters, self._states):
                gradient = p.grad
                if gradient is not None:
                    self._update(p._data, gradient._data, state)
                    moved.append(p)
        written(*moved)

    def zero_grad(self):
        """Forget every parameter's gradient."""
        for p in self.parameters:
            if p.requires_grad:
                p.grad = None

    def _update(self, p, g, state):
        raise NotImplementedError(f"{type(self).__name__}: no rule. Define _update(self, p, g, state), in place on p.")

    def state_dict(self):
        """{"lr": float, "0.velocity": array, ...}: copies of what resuming needs; "0" is the first parameter."""
        state = {"lr": self.lr}
        for i, kept in enumerate(self._states):
            state |= {f"{i}.{name}": value.copy() if name != "step" else value for name, value in kept.items()}
        return state

    def load_state_dict(self, state):
        """Copy in what `state_dict` gave, of the same rule over the same parameters.

        Raises SettingError for a name that this rule does not know, ShapeError for another shape; then nothing changes.
        """
        states = [{} for _ in self.parameters]
        if "lr" not in state:
            raise SettingError("load_state_dict: the state has no lr. Give what an optimizer's state_dict() returned.")
        for key in state:
            index, _, name = key.partition(".")
            if key == "lr":
                continue
            if not (index.isdecimal() and int(index) < len(states) and name in self.slots):
                raise SettingError(
                    f"load_state_dict: {key!r} is not of {type(self).__name__} with {len(states)} parameters. "
                    "Give the state of the same rule."
                )
            p = self.parameters[int(index)]._data
            if name == "step":
                states[int(index)][name] = int(state[key])
                continue
            array = np.array(state[key], p.dtype, order="C")
            if array.shape != p.shape:
                raise ShapeError(f"load_state_dict: {key} has shape {array.shape}, its parameter {p.shape}.")
            states[int(index)][name] = array
        self.lr = float(state["lr"])
        self._states = states

    def __repr__(self):
        settings = "".join(f", {name}={getattr(self, name)}" for name in _settings(type(self)))
        return f"{type(self).__name__}({len(self.parameters)} parameters, lr={self.lr:g}{settings})"

    def __getstate__(self):
        return {**vars(self), "_work": {}}

    # -- for the rules ----------------------------------------------------------------------------------------------

    def _number(self, name, value, below=math.inf, positive=False):
        """value as a float in [0, below), or (0, below)."""
        try:
            number = math.nan if isinstance(value, (bool, str)) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not (0 <= number < below) or (positive and number == 0):
            least = "above 0" if positive else "of at least 0"
            most = f" and below {below:g}" if below < math.inf else ""
            raise SettingError(f"{type(self).__name__}: {name}={value!r}. Give a finite number {least}{most}.")
        return number

    def _slot(self, state, name, p):
        """The kept array of that name, zeros at first, of p's shape and dtype."""
        array = state.get(name)
        if array is None:
            array = state[name] = np.zeros_like(p)
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
        out = np.multiply(p, weight_decay, out=self._scratch(p, 1))
        out += g
        return out


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak 1964; Nesterov 1983, in the form of Sutskever et al. 2013) and L2 decay.

        g' = g + weight_decay p
        v  = momentum v + g'
        p  = p - lr v                       (nesterov: p - lr (g' + momentum v))

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    momentum : float
        In [0, 1).
    nesterov : bool
        Look ahead; needs momentum above 0.
    weight_decay : float
        At least 0.
    """

    slots = ("velocity",)

    def __init__(self, parameters, lr=0.01, *, momentum=0.0, nesterov=False, weight_decay=0.0):
        super().__init__(parameters, lr)
        self.momentum = self._number("momentum", momentum, below=1.0)
        self.nesterov = bool(nesterov)
        self.weight_decay = self._number("weight_decay", weight_decay)
        if self.nesterov and not self.momentum:
            raise SettingError("SGD: nesterov=True without momentum. Give momentum, for instance 0.9.")

    def _update(self, p, g, state):
        v = self._slot(state, "velocity", p) if self.momentum else None
        if kernels.sgd(p, g, v, self.lr, self.momentum, self.nesterov, self.weight_decay):
            return
        g = self._decayed(p, g, self.weight_decay)
        t = self._scratch(p)
        if v is None:
            p -= np.multiply(g, self.lr, out=t)
            return
        v *= self.momentum
        v += g
        if self.nesterov:
            p -= np.multiply(g, self.lr, out=t)
            p -= np.multiply(v, self.lr * self.momentum, out=t)
        else:
            p -= np.multiply(v, self.lr, out=t)


class Adam(Optimizer):
    """Steps of about lr each, whatever the gradient's scale. Kingma and Ba 2015.

        g = g + weight_decay p
        m = beta1 m + (1 - beta1) g;        v = beta2 v + (1 - beta2) g**2
        p = p - lr / (1 - beta1**t) m / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    betas : (float, float)
        Each in [0, 1).
    eps : float
        Above 0.
    weight_decay : float
        At least 0; as an L2 penalty, unlike AdamW's.
    """

    slots = ("m", "v", "step")
    decoupled = False

    def __init__(self, parameters, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise SettingError(f"{type(self).__name__}: betas={betas!r}. Give a pair such as (0.9, 0.999).")
        self.betas = tuple(self._number("betas", beta, below=1.0) for beta in betas)
        self.eps = self._number("eps", eps, positive=True)
        self.weight_decay = self._number("weight_decay", weight_decay)

    def _update(self, p, g, state):
        m, v = self._slot(state, "m", p), self._slot(state, "v", p)
        step = state["step"] = state.get("step", 0) + 1
        beta1, beta2 = self.betas
        if kernels.adam(p, g, m, v, self.lr, beta1, beta2, self.eps, self.weight_decay, self.decoupled, step):
            return
        if self.decoupled:
            p *= 1.0 - self.lr * self.weight_decay
        else:
            g = self._decayed(p, g, self.weight_decay)
        t = self._scratch(p)
        m *= beta1
        m += np.multiply(g, 1.0 - beta1, out=t)
        v *= beta2
        np.multiply(g, g, out=t)
        t *= 1.0 - beta2
        v += t
        np.divide(v, 1.0 - beta2**step, out=t)
        np.sqrt(t, out=t)
        t += self.eps
        np.divide(m, t, out=t)
        t *= self.lr / (1.0 - beta1**step)
        p -= t


class AdamW(Adam):
    """`Adam` whose weight decay leaves the moments alone. Loshchilov and Hutter 2019.

        p = p (1 - lr weight_decay), then Adam's step without decay

    Parameters
    ----------
    parameters : iterable of Tensor
    lr, betas, eps : as in `Adam`
    weight_decay : float
        At least 0.

    Differs from the paper: the decay is multiplied by lr (as PyTorch does), not by a schedule of its own.
    """

    decoupled = True

    def __init__(self, parameters, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square. Tieleman and Hinton 2012, lecture 6.5.

        v = alpha v + (1 - alpha) g**2
        u = g / (sqrt(v) + eps);            with momentum: velocity = u = momentum velocity + u
        p = p - lr u

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
    alpha : float
        In [0, 1).
    eps : float
        Above 0.
    momentum : float
        In [0, 1).
    """

    slots = ("v", "velocity")

    def __init__(self, parameters, lr=1e-3, *, alpha=0.99, eps=1e-8, momentum=0.0):
        super().__init__(parameters, lr)
        self.alpha = self._number("alpha", alpha, below=1.0)
        self.eps = self._number("eps", eps, positive=True)
        self.momentum = self._number("momentum", momentum, below=1.0)

    def _update(self, p, g, state):
        v, t = self._slot(state, "v", p), self._scratch(p)
        _average_square(v, g, self.alpha, t)
        np.sqrt(v, out=t)
        t += self.eps
        np.divide(g, t, out=t)
        if self.momentum:
            velocity = self._slot(state, "velocity", p)
            velocity *= self.momentum
            velocity += t
            np.copyto(t, velocity)
        t *= self.lr
        p -= t


class Adadelta(Optimizer):
    """Steps in the parameter's own units, from running mean squares of gradients and of steps. Zeiler 2012.

        v = rho v + (1 - rho) g**2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u = rho u + (1 - rho) d**2
        p = p - lr d

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
        1 in the paper.
    rho : float
        In [0, 1).
    eps : float
        Above 0.
    """

    slots = ("v", "u")

    def __init__(self, parameters, lr=1.0, *, rho=0.9, eps=1e-6):
        super().__init__(parameters, lr)
        self.rho = self._number("rho", rho, below=1.0)
        self.eps = self._number("eps", eps, positive=True)

    def _update(self, p, g, state):
        v, u = self._slot(state, "v", p), self._slot(state, "u", p)
        d, t = self._scratch(p), self._scratch(p, 1)
        _average_square(v, g, self.rho, t)
        np.sqrt(np.add(u, self.eps, out=d), out=d)
        d /= np.sqrt(np.add(v, self.eps, out=t), out=t)
        d *= g
        _average_square(u, d, self.rho, t)
        d *= self.lr
        p -= d


_OPTIMIZERS = {"adadelta": Adadelta, "adam": Adam, "adamw": AdamW, "momentum": SGD, "nesterov": SGD, "rmsprop": RMSprop,
               "sgd": SGD}  # fmt: skip
_PRESETS = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}


def optimizer(name, parameters, lr=None, **settings):
    """An optimizer by name.

    Parameters
    ----------
    name : str
        "sgd", "momentum" or "nesterov" (sgd with momentum 0.9), "adam", "adamw", "rmsprop" or "adadelta".
    parameters : iterable of Tensor
    lr : float, optional
        Default: that of the class: .01 for sgd, 1 for adadelta, else .001.
    **settings
        Of the class, such as momentum=0.9.

    Raises SettingError for an unknown name or setting.
    """
    rule = _OPTIMIZERS.get(name) if isinstance(name, str) else None
    if rule is None:
        raise SettingError(f"optimizer={name!r}. Give one of {', '.join(_OPTIMIZERS)}.")
    unknown = [s for s in settings if s not in _settings(rule)]
    if unknown:
        raise SettingError(f"{name}: no setting {', '.join(unknown)}. It has lr, {', '.join(_settings(rule))}.")
    return rule(parameters, **({} if lr is None else {"lr": lr}), **{**_PRESETS.get(name, {}), **settings})


def _settings(rule):
    return tuple(rule.__init__.__kwdefaults__ or ())


def _average_square(v, x, rate, scratch):
    """v = rate v + (1 - rate) x**2, in place."""
    np.multiply(x, x, out=scratch)
    scratch *= 1.0 - rate
    v *= rate
    v += scratch


def _leaves(owner, parameters):
    if isinstance(parameters, Var) or hasattr(parameters, "parameters") or not hasattr(parameters, "__iter__"):
        raise SettingError(
            f"{owner}: parameters is a {type(parameters).__name__}. Give a list of Tensors, such as net.parameters()."
        )
    parameters = list(parameters)
    if not parameters:
        raise SettingError(f"{owner}: no parameters. Give at least one; a generator can be used only once.")
    for i, p in enumerate(parameters):
        if not isinstance(p, Var):
            raise SettingError(f"{owner}: parameter {i} is a {type(p).__name__}, not a Tensor.")
        if not p.is_leaf:
            raise SettingError(f"{owner}: parameter {i} is the result of an operation. Give the leaves themselves.")
        if p._data.dtype.kind != "f":
            raise DtypeError(f"{owner}: parameter {i} has dtype {p._data.dtype}. Only floats can be trained.")
    if len(set(parameters)) < len(parameters):
        raise SettingError(f"{owner}: a parameter is given twice. It would be updated twice per step.")
    return parameters
