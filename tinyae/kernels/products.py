"""Matrix products: ops.matmul, ops.linear, and `gemm` with what a fused step folds into it. csrc/gemm.inc computes."""

import math

import numpy as np

from .arrays import DENSE, address, dense, dtype_code, matrix, ndarray, strided, writeable
from .elementwise import UNARY
from .library import ffi, lib


def product(a, b, bias=None, op=-1, param=0.0, alpha=1.0, c=None, beta=0.0):
    """f(alpha a @ b + beta c + bias) of arrays of 2, 2 and 1 dimensions whose shapes fit; None if their dtypes do not.

    It is written into c, if there is one."""
    code = dtype_code(a.dtype)
    if code is None or dtype_code(b.dtype) != code or (bias is not None and dtype_code(bias.dtype) != code):
        return None
    m, k = a.shape
    n = b.shape[1]
    if c is None:
        c = np.empty((m, n), a.dtype)
    itemsize = 8 if code else 4
    a, a_rs, a_cs = (address(a), k, 1) if a.flags.num & DENSE == DENSE else matrix(a, itemsize)
    b, b_rs, b_cs = (address(b), n, 1) if b.flags.num & DENSE == DENSE else matrix(b, itemsize)
    bias = ffi.NULL if bias is None else address(dense(bias))
    status = lib.tae_gemm(code, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, address(c), n, bias, op, param, alpha, beta)
    return None if status else c


def rows(x):
    """x with all leading axes as one; x itself if it is a matrix."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


PIECES = {"highest": 3, "high": 2, "medium": 1}  # of 8 bits, by precision


def stack(a, b, precision=None):
    """a @ b with stacks of matrices on both sides, whose leading axes broadcast."""
    code = dtype_code(a.dtype)
    if code is None or dtype_code(b.dtype) != code:
        return None
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, (*leading, *x.shape[-2:])) for x in (a, b))
    (m, k), n = a.shape[-2:], b.shape[-1]
    c = np.empty((*leading, m, n), a.dtype)
    if len(leading) > 62 or not (a.size and b.size):
        return None
    itemsize = 8 if code else 4
    a, (*a_steps, a_rs, a_cs) = strided(a, itemsize)
    b, (*b_steps, b_rs, b_cs) = strided(b, itemsize)
    sizes = len(leading), leading, a_steps, b_steps, m, n, k
    call = *sizes, a, a_rs, a_cs, b, b_rs, b_cs, address(c), 1.0, 0.0
    if precision is not None and code == 0 and lib.tae_gemm_split(PIECES[precision], *call) == 0:
        return c
    return None if lib.tae_gemm_stack(code, *call) else c


def matmul(a, b, precision=None):
    if a.__class__ is not ndarray or b.__class__ is not ndarray:
        return None
    if precision is not None and precision not in PIECES:
        return None
    if a.ndim == 2 and b.ndim == 2:
        if a.shape[1] != b.shape[0]:
            return None
        return product(a, b) if precision is None else stack(a, b, precision)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return None
    if b.ndim > 2:
        try:
            c = stack(a if a.ndim > 1 else a[None], b, precision)
        except ValueError:  # leading axes that do not broadcast: the definition says so
            return None
        return c if c is None or a.ndim > 1 else c[..., 0, :]
    c = matmul(rows(a), b if b.ndim == 2 else b[:, None], precision)
    return c if c is None else c.reshape(a.shape[:-1] + b.shape[1:])


def linear(x, weight, bias):
    if x.__class__ is not ndarray or weight.__class__ is not ndarray or bias.__class__ is not ndarray:
        return None
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        return None
    y = product(rows(x), weight, bias)
    return y if x.ndim == 2 or y is None else y.reshape(*x.shape[:-1], weight.shape[1])


def gemm(a, b, bias=None, activation=None, param=0.0, alpha=1.0, out=None, beta=0.0):
    """activation(alpha a @ b + beta out + bias) in one pass; activation is the name of a unary op, param its setting.

    The result is written into out, a C-contiguous array that shares no memory with the others, or a new one. beta is 0
    without out, and then what out held does not matter.

    Shape: a (m, k), b (k, n), bias (n,) -> (m, n). None if shapes or dtypes do not fit, or without C: not my case.
    """
    if lib is None or activation not in UNARY or a.__class__ is not ndarray or b.__class__ is not ndarray:
        return None
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        return None
    if bias is not None and (bias.__class__ is not ndarray or bias.shape != b.shape[1:]):
        return None
    if out is None:
        if beta:
            return None
    elif out.__class__ is not ndarray or out.shape != (a.shape[0], b.shape[1]) or out.dtype != a.dtype:
        return None
    elif not writeable(out) or np.may_share_memory(out, a) or np.may_share_memory(out, b):
        return None
    return product(a, b, bias, UNARY[activation], param, alpha, out, beta)


FORWARD = {"matmul": matmul, "linear": linear} if lib else {}
