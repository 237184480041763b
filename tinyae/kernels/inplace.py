"""What is written in place: the optimizers' rules, noise, and rows gathered into a batch."""

import math

import numpy as np

from .arrays import DENSE, address, common, dense, dtype_code, ndarray, writeable
from .library import ffi, lib


def sgd(p, g, velocity, lr, momentum, nesterov, weight_decay):
    """One SGD step, in place on p and velocity (None if momentum is 0). See `tae_sgd` in csrc/tinyae.h."""
    if lib is None or (code := common(p, g)) is None or not writeable(p):
        return False
    if momentum and (common(p, velocity) is None or not writeable(velocity)):
        return False
    v = address(velocity) if momentum else ffi.NULL
    return lib.tae_sgd(code, p.size, address(p), address(dense(g)), v, lr, momentum, nesterov, weight_decay) == 0


def adam(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Step number `step` (1, 2, ...) of Adam, in place on p, m and v. See `tae_adam` in csrc/tinyae.h."""
    if lib is None or (code := common(p, g)) is None or common(p, m) is None or common(p, v) is None:
        return False
    if not (writeable(p) and writeable(m) and writeable(v)):
        return False
    arrays = address(p), address(dense(g)), address(m), address(v)
    return lib.tae_adam(code, p.size, *arrays, lr, beta1, beta2, eps, weight_decay, decoupled, step) == 0


def _slots_fit(p, *slots):
    """Whether C may write into p and all of its slots, None being none."""
    return writeable(p) and all(s is None or (common(p, s) is not None and writeable(s)) for s in slots)


def rmsprop(p, g, v, m, velocity, lr, alpha, eps, momentum, weight_decay):
    """One step of RMSprop, in place on p, v, m (None: not centered) and velocity (None if momentum is 0).

    See `tae_rmsprop` in csrc/tinyae.h.
    """
    if lib is None or (code := common(p, g)) is None or v is None or not _slots_fit(p, v, m, velocity):
        return False
    slots = (ffi.NULL if s is None else address(s) for s in (v, m, velocity))
    return lib.tae_rmsprop(code, p.size, address(p), address(dense(g)), *slots, lr, alpha, eps, momentum,
                           weight_decay) == 0  # fmt: skip


def adagrad(p, g, v, lr, eps, weight_decay):
    """One step of Adagrad, in place on p and v. See `tae_adagrad` in csrc/tinyae.h."""
    if lib is None or (code := common(p, g)) is None or v is None or not _slots_fit(p, v):
        return False
    return lib.tae_adagrad(code, p.size, address(p), address(dense(g)), address(v), lr, eps, weight_decay) == 0


def adadelta(p, g, v, u, lr, rho, eps, weight_decay):
    """One step of Adadelta, in place on p, v and u. See `tae_adadelta` in csrc/tinyae.h."""
    if lib is None or (code := common(p, g)) is None or v is None or u is None or not _slots_fit(p, v, u):
        return False
    arrays = address(p), address(dense(g)), address(v), address(u)
    return lib.tae_adadelta(code, p.size, *arrays, lr, rho, eps, weight_decay) == 0


def gather(out, x, index, scale=1.0):
    """out[...] = x[index] * scale: whole rows, one pass. x is of out's dtype or uint8, index int64, each in range.

    Shape: out (m, ...), x (n, ...), index (m,). See `tae_gather` in csrc/tinyae.h.
    """
    if lib is None or (code := common(out, out)) is None or not writeable(out):
        return False
    if x.__class__ is not ndarray or index.__class__ is not ndarray or index.dtype != np.int64 or index.ndim != 1:
        return False
    source = 2 if x.dtype == np.uint8 else dtype_code(x.dtype)
    if source is None or x.ndim == 0 or out.shape != (index.size, *x.shape[1:]) or x.flags.num & DENSE != DENSE:
        return False  # a copy of a whole data set would cost more than it brings
    index = ffi.from_buffer("int64_t[]", dense(index))
    sizes = len(index), math.prod(x.shape[1:]), x.shape[0]
    return lib.tae_gather(source, code, *sizes, address(x), index, scale, address(out)) == 0


_NOISE = {"uniform": 0, "normal": 1, "bernoulli": 2}


def noise(kind, out, key, counter, p):
    """Fill out with noise of one kind; 0 <= key, counter < 2**64. See `tae_noise` in csrc/tinyae.h."""
    if lib is None or kind not in _NOISE or (code := common(out, out)) is None or not writeable(out):
        return False
    return lib.tae_noise(_NOISE[kind], code, out.size, key, counter, p, address(out)) == 0
