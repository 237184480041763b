"""Update rules: each is its settings and one method, ``_update``, on plain arrays in place.

    optimizer = Adam(net.parameters(), lr=1e-3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

First the C kernel, if there is one: a single pass over memory. Else the same formula in NumPy, which allocates nothing
either. ``step`` counts a parameter's own steps. ``_read`` takes a group's settings at once: one by one, as attributes,
they would cost a small parameter a fifth of its step.

Ring 4. Must not know modules or losses. Read after ``base.py``; then ``train.py``.
"""

from operator import itemgetter

import numpy as np

from .. import kernels
from ..errors import SettingError
from .base import Optimizer, Setting, _flag, _number
from .lbfgs import LBFGS

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "RMSprop", "SGD", "optimizer"]

def _pair(where, value, **limits):
    """value as a pair of floats, each in range."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise SettingError(f"{where}={value!r}. Give a pair such as (0.9, 0.999).")
    return tuple(_number(where, one, **limits) for one in value)


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak 1964; Nesterov 1983, in the form of Sutskever et al. 2013) and L2 decay.

        g' = g + weight_decay p
        v  = momentum v + (1 - dampening) g'        (the first time v = g')
        p  = p - lr v                               (nesterov: p - lr (g' + momentum v))

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
        See `Optimizer`, here and below.
    lr : float
    momentum : float
        In [0, 1).
    dampening : float
        In [0, 1); 1 - momentum makes v the running mean of the gradients.
    nesterov : bool
        Look ahead; needs momentum above 0 and no dampening.
    weight_decay : float
        At least 0.
    maximize : bool
        Go uphill.
    """

    slots = ("velocity",)
    momentum = Setting(_number, below=1.0)
    dampening = Setting(_number, below=1.0)
    nesterov = Setting(_flag)
    weight_decay = Setting(_number)
    _read = itemgetter("lr", "momentum", "dampening", "nesterov", "weight_decay")

    def __init__(self, parameters, lr=0.01, *, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0,
                 maximize=False):  # fmt: skip
        super().__init__(parameters, lr, momentum=momentum, dampening=dampening, nesterov=nesterov,
                         weight_decay=weight_decay, maximize=maximize)  # fmt: skip

    def _check_group(self, where, group):
        if group["nesterov"] and not group["momentum"]:
            raise SettingError(f"{where}: nesterov=True without momentum. Give momentum, for instance 0.9.")
        if group["nesterov"] and group["dampening"]:
            raise SettingError(f"{where}: nesterov=True with dampening={group['dampening']}. Give one of the two.")

    def _update(self, p, g, state):
        lr, momentum, dampening, nesterov, decay = self._read(self._group)
        first = "velocity" not in state
        v = self._slot(state, "velocity", p) if momentum else None
        if not dampening and kernels.sgd(p, g, v, lr, momentum, nesterov, decay):
            return
        g = self._decayed(p, g, decay)
        t = self._scratch(p)
        if v is None:
            p -= np.multiply(g, lr, out=t)
            return
        v *= momentum
        v += g if first or not dampening else np.multiply(g, 1.0 - dampening, out=t)
        if nesterov:
            p -= np.multiply(g, lr, out=t)
            p -= np.multiply(v, lr * momentum, out=t)
        else:
            p -= np.multiply(v, lr, out=t)


class Adam(Optimizer):
    """Steps of about lr each, whatever the gradient's scale. Kingma and Ba 2015; amsgrad: Reddi, Kale and Kumar 2018.

        g = g + weight_decay p
        m = beta1 m + (1 - beta1) g;        v = beta2 v + (1 - beta2) g**2
        p = p - lr / (1 - beta1**t) m / (sqrt(v / (1 - beta2**t)) + eps)        (amsgrad: the largest v so far)

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
    lr : float
    betas : (float, float)
        Each in [0, 1).
    eps : float
        Above 0.
    weight_decay : float
        At least 0; as an L2 penalty, unlike AdamW's.
    amsgrad : bool
        Let a step size never grow again, in NumPy.
    maximize : bool
        Go uphill.
    """

    slots = ("m", "v", "v_max", "step")
    decoupled = False
    betas = Setting(_pair, below=1.0)
    eps = Setting(_number, positive=True)
    weight_decay = Setting(_number)
    amsgrad = Setting(_flag)
    _read = itemgetter("lr", "betas", "eps", "weight_decay", "amsgrad")

    def __init__(self, parameters, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False,
                 maximize=False):  # fmt: skip
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                         maximize=maximize)  # fmt: skip

    def _update(self, p, g, state):
        lr, (beta1, beta2), eps, decay, amsgrad = self._read(self._group)
        m, v = self._slot(state, "m", p), self._slot(state, "v", p)
        step = state["step"] = state.get("step", 0) + 1
        if not amsgrad and kernels.adam(p, g, m, v, lr, beta1, beta2, eps, decay, self.decoupled, step):
            return
        if self.decoupled:
            p *= 1.0 - lr * decay
        else:
            g = self._decayed(p, g, decay)
        t = self._scratch(p)
        m *= beta1
        m += np.multiply(g, 1.0 - beta1, out=t)
        _average_square(v, g, beta2, t)
        if amsgrad:
            largest = self._slot(state, "v_max", p)
            v = np.maximum(largest, v, out=largest)
        np.divide(v, 1.0 - beta2**step, out=t)
        np.sqrt(t, out=t)
        t += eps
        np.divide(m, t, out=t)
        t *= lr / (1.0 - beta1**step)
        p -= t


class AdamW(Adam):
    """`Adam` whose weight decay leaves the moments alone. Loshchilov and Hutter 2019.

        p = p (1 - lr weight_decay), then Adam's step without decay

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
    lr, betas, eps, amsgrad, maximize : as in `Adam`
    weight_decay : float
        At least 0.

    Differs from the paper: the decay is multiplied by lr (as PyTorch does), not by a schedule of its own.
    """

    decoupled = True

    def __init__(self, parameters, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, amsgrad=False,
                 maximize=False):  # fmt: skip
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                         maximize=maximize)  # fmt: skip


class RMSprop(Optimizer):
    """Gradients divided by a running root of their mean square. Tieleman and Hinton 2012, lecture 6.5.

        g = g + weight_decay p
        v = alpha v + (1 - alpha) g**2
        u = g / (sqrt(v) + eps);            with momentum: velocity = u = momentum velocity + u
        p = p - lr u

    Centered (Graves 2013), v is freed of the mean: m = alpha m + (1 - alpha) g, and sqrt(max(v - m**2, 0)) divides; the
    maximum because rounding can leave v - m**2 below 0 where gradients hardly change.

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
    lr : float
    alpha : float
        In [0, 1).
    eps : float
        Above 0.
    momentum : float
        In [0, 1).
    weight_decay : float
        At least 0; as an L2 penalty.
    centered : bool
        Divide by the standard deviation instead.
    maximize : bool
        Go uphill.
    """

    slots = ("v", "m", "velocity")
    alpha = Setting(_number, below=1.0)
    eps = Setting(_number, positive=True)
    momentum = Setting(_number, below=1.0)
    weight_decay = Setting(_number)
    centered = Setting(_flag)
    _read = itemgetter("lr", "alpha", "eps", "momentum", "weight_decay", "centered")

    def __init__(self, parameters, lr=1e-3, *, alpha=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0, centered=False,
                 maximize=False):  # fmt: skip
        super().__init__(parameters, lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay,
                         centered=centered, maximize=maximize)  # fmt: skip

    def _update(self, p, g, state):
        lr, alpha, eps, momentum, decay, centered = self._read(self._group)
        v, m = self._slot(state, "v", p), self._slot(state, "m", p) if centered else None
        velocity = self._slot(state, "velocity", p) if momentum else None
        if kernels.rmsprop(p, g, v, m, velocity, lr, alpha, eps, momentum, decay):
            return
        t = self._scratch(p)
        g = self._decayed(p, g, decay)
        _average_square(v, g, alpha, t)
        if centered:
            m *= alpha
            m += np.multiply(g, 1.0 - alpha, out=t)
            np.multiply(m, m, out=t)
            np.subtract(v, t, out=t)
            np.sqrt(np.maximum(t, 0.0, out=t), out=t)
        else:
            np.sqrt(v, out=t)
        t += eps
        np.divide(g, t, out=t)
        if momentum:
            velocity *= momentum
            velocity += t
            np.copyto(t, velocity)
        t *= lr
        p -= t


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far. Duchi, Hazan and Singer 2011.

        g = g + weight_decay p
        v = v + g**2
        p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
    lr : float
    lr_decay : float
        At least 0.
    initial_accumulator_value : float
        What v starts from, at least 0.
    eps : float
        Above 0.
    weight_decay : float
        At least 0; as an L2 penalty.
    maximize : bool
        Go uphill.
    """

    slots = ("v", "step")
    lr_decay = Setting(_number)
    initial_accumulator_value = Setting(_number)
    eps = Setting(_number, positive=True)
    weight_decay = Setting(_number)
    _read = itemgetter("lr", "lr_decay", "initial_accumulator_value", "eps", "weight_decay")

    def __init__(self, parameters, lr=0.01, *, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10,
                 weight_decay=0.0, maximize=False):  # fmt: skip
        super().__init__(parameters, lr, lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value,
                         eps=eps, weight_decay=weight_decay, maximize=maximize)  # fmt: skip

    def _update(self, p, g, state):
        lr, lr_decay, start, eps, decay = self._read(self._group)
        v = self._slot(state, "v", p, start)
        step = state["step"] = state.get("step", 0) + 1
        lr /= 1.0 + (step - 1) * lr_decay
        if kernels.adagrad(p, g, v, lr, eps, decay):
            return
        t = self._scratch(p)
        g = self._decayed(p, g, decay)
        v += np.multiply(g, g, out=t)
        np.sqrt(v, out=t)
        t += eps
        np.divide(g, t, out=t)
        t *= lr
        p -= t


class Adadelta(Optimizer):
    """Steps in the parameter's own units, from running mean squares of gradients and of steps. Zeiler 2012.

        g = g + weight_decay p
        v = rho v + (1 - rho) g**2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u = rho u + (1 - rho) d**2
        p = p - lr d

    Parameters
    ----------
    parameters : iterable of Tensor, or of dict
    lr : float
        1 in the paper.
    rho : float
        In [0, 1).
    eps : float
        Above 0.
    weight_decay : float
        At least 0; as an L2 penalty.
    maximize : bool
        Go uphill.
    """

    slots = ("v", "u")
    rho = Setting(_number, below=1.0)
    eps = Setting(_number, positive=True)
    weight_decay = Setting(_number)
    _read = itemgetter("lr", "rho", "eps", "weight_decay")

    def __init__(self, parameters, lr=1.0, *, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
        super().__init__(parameters, lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def _update(self, p, g, state):
        lr, rho, eps, decay = self._read(self._group)
        v, u = self._slot(state, "v", p), self._slot(state, "u", p)
        if kernels.adadelta(p, g, v, u, lr, rho, eps, decay):
            return
        d, t = self._scratch(p), self._scratch(p, 1)
        g = self._decayed(p, g, decay)
        _average_square(v, g, rho, t)
        np.sqrt(np.add(u, eps, out=d), out=d)
        d /= np.sqrt(np.add(v, eps, out=t), out=t)
        d *= g
        _average_square(u, d, rho, t)
        d *= lr
        p -= d


OPTIMIZERS = {"adadelta": Adadelta, "adagrad": Adagrad, "adam": Adam, "adamw": AdamW, "lbfgs": LBFGS, "momentum": SGD,
              "nesterov": SGD, "rmsprop": RMSprop, "sgd": SGD}  # fmt: skip
_PRESETS = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True},
            "lbfgs": {"line_search_fn": "strong_wolfe", "tolerance_grad": 0.0, "tolerance_change": 0.0}}  # fmt: skip


def optimizer(name, parameters, lr=None, **settings):
    """An optimizer by name.

    Parameters
    ----------
    name : str
        "sgd", "momentum" or "nesterov" (sgd with momentum 0.9), "adam", "adamw", "rmsprop", "adagrad", "adadelta" or
        "lbfgs", whose steps need a closure (with a line search, and until nothing moves).
    parameters : iterable of Tensor, or of dict
    lr : float, optional
        Default: that of the class: .01 for sgd and adagrad, 1 for adadelta and lbfgs, else .001.
    **settings
        Of the class, such as momentum=0.9.

    Raises SettingError for an unknown name or setting.
    """
    rule = OPTIMIZERS.get(name) if isinstance(name, str) else None
    if rule is None:
        raise SettingError(f"optimizer={name!r}. Give one of {', '.join(OPTIMIZERS)}.")
    unknown = [s for s in settings if s not in _settings(rule)]
    if unknown:
        raise SettingError(f"{name}: no setting {', '.join(unknown)}. It has lr, {', '.join(_settings(rule))}.")
    return rule(parameters, **({} if lr is None else {"lr": lr}), **{**_PRESETS.get(name, {}), **settings})


def _settings(rule):
    return tuple(rule.__init__.__kwdefaults__)


def _average_square(v, x, rate, scratch):
    """v = rate v + (1 - rate) x**2, in place."""
    np.multiply(x, x, out=scratch)
    scratch *= 1.0 - rate
    v *= rate
    v += scratch
