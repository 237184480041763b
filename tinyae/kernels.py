"""The way into the C library: each function answers "done", or "not my case" and then NumPy does it.

Ring 0, and the only file that sees the compiled module. It must not know what an op means, what a gradient is, or who
calls: it looks up arrays' dtype, shape and memory, and passes pointers. Read it when you want to know what C is given;
`csrc/tinyae.h` says what C does with it.

    FORWARD[op](*arrays, **settings)               a new array, or None: not my case
    BACKWARD[op, argument](g, *kept)               the same; kept is what the op's vjp names after g
    gemm(a, b, bias, activation, param, ...)       the same
    sgd(...), adam(...), noise(...), gather(...)   True: done in place, or False: not my case
    info(), use_isa(name)                          which backend and which instruction set
    get_num_threads(), set_num_threads(n)          how many threads a call may use

Both tables are empty on the NumPy backend. `TINYAE_BACKEND=numpy` forces it, `TINYAE_BACKEND=c` refuses to start
without C, `TINYAE_ISA=scalar|neon|avx2|avx512` forces an instruction set. `TINYAE_NUM_THREADS`, else `OMP_NUM_THREADS`,
says how many threads to use; else there are as many as processors that this process may use.

Note [Safe pointers]
C gets addresses by `ffi.from_buffer` alone, which takes C-contiguous memory only, and only after the checks here: an
ndarray of native float32 or float64, aligned, of a size that Python computed, and writeable if it is written. Results
are allocated here. `ffi.cast` of `a.ctypes.data` would be unchecked, and slower (2.8 us against 0.1).
"""

import math
import numbers
import os
from contextlib import contextmanager

import numpy as np

from .errors import BackendError, SettingError

__all__ = ["BACKWARD", "FORWARD", "adam", "gather", "gemm", "get_num_threads", "info", "noise", "say_why_once",
           "set_num_threads", "sgd", "use_isa"]  # fmt: skip

FORWARD = {}
BACKWARD = {}

# -- the compiled module --------------------------------------------------------------------------------------------

_lib = _path = None
_why = "TINYAE_BACKEND=numpy asks for it"
_asked = os.environ.get("TINYAE_BACKEND", "")
_said = False
if _asked not in ("", "c", "numpy"):
    raise BackendError(f"tinyae: TINYAE_BACKEND={_asked!r} is no backend. Set it to 'c' or 'numpy', or unset it.")
if _asked != "numpy":
    try:
        from ._kernels import ffi as _ffi
        from ._kernels import lib as _lib
    except ImportError as _problem:
        _folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if os.path.exists(os.path.join(_folder, "setup.py")):
            _why = (
                f"tinyae is imported from its source folder {_folder}, which has no compiled module and hides an "
                "installed one; start Python in another folder, or run pip install -e . there"
            )
        else:
            _why = (
                f"the compiled module is not installed: {_problem}; install a C compiler and run "
                "pip install --force-reinstall --no-cache-dir on whatever tinyae was installed from"
            )
        if _asked == "c":
            raise BackendError(f"tinyae: TINYAE_BACKEND=c, but {_why}.") from None
    else:
        from . import _kernels

        _path = _kernels.__file__
        _why = "the compiled module is installed"


def _names(report):
    """The strings that a C function reports for 0, 1, 2, ... until NULL."""
    names = []
    while (name := report(len(names))) != _ffi.NULL:
        names.append(_ffi.string(name).decode())
    return names


def info():
    """What computes: {"backend": "c" or "numpy", "isa", "isas_supported", "why", "threads", "compiler",
    "path"}."""
    isas = [name for name in _names(_lib.tae_isa_name) if _lib.tae_isa_supported(name.encode())] if _lib else []
    return {
        "backend": "c" if _lib else "numpy",
        "isa": _ffi.string(_lib.tae_isa()).decode() if _lib else None,
        "isas_supported": isas,
        "why": _why,
        "threads": _lib.tae_threads() if _lib else None,
        "compiler": _ffi.string(_lib.tae_compiler()).decode() if _lib else None,
        "path": _path,
    }


def say_why_once():
    """Log, at the first training of a process, that NumPy does the work and why; not if that was asked for."""
    global _said
    if _lib is None and _asked != "numpy" and not _said:
        import logging  # its last resort is stderr, without a word of set-up

        logging.getLogger("tinyae").warning("tinyae: training on NumPy alone, which is slower: %s.", _why)
    _said = True


def _set_isa(name, who):
    if _lib is None:
        raise BackendError(f"{who}: {name!r}: the backend is NumPy: {_why}.")
    if _lib.tae_use_isa(str(name).encode()):
        raise BackendError(
            f"{who}: {name!r} is not an instruction set of this build and this CPU. "
            f"Choose one of: {', '.join(info()['isas_supported'])}."
        )


@contextmanager
def use_isa(name):
    """Run the block on one instruction set, for tests and benchmarks. It holds for all threads of the process."""
    before = info()["isa"]
    _set_isa(name, "use_isa")
    try:
        yield
    finally:
        _set_isa(before, "use_isa")


if _asked != "numpy" and os.environ.get("TINYAE_ISA"):
    _set_isa(os.environ["TINYAE_ISA"], "TINYAE_ISA")

# -- threads --------------------------------------------------------------------------------------------------------


def get_num_threads():
    """How many threads a call may use, the calling one among them. 1 on the NumPy backend, whose BLAS has its own."""
    return _lib.tae_threads() if _lib else 1


def set_num_threads(n):
    """Let every later call in this process use n threads, 1 to 256; no number of threads changes a bit of a result.

    Without effect on the NumPy backend. SettingError if n is no such number.
    """
    _set_threads(n, "set_num_threads")


def _set_threads(n, who):
    if not isinstance(n, numbers.Integral) or isinstance(n, bool) or not 1 <= n <= 256:
        raise SettingError(f"{who}: {n!r} is no number of threads. Give an integer from 1 to 256.")
    if _lib is not None:
        _lib.tae_set_threads(int(n))


def _processors():
    """How many processors this process may use: what it is bound to, and what its control group grants."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for quota, period in (_cgroup_2(), _cgroup_1()):
        if quota > 0 and period > 0:
            count = min(count, -(-quota // period))
    return max(count, 1)


def _words(path):
    try:
        with open(path, encoding="ascii") as file:
            return [int(word) if word.lstrip("-").isdigit() else 0 for word in file.read().split()]
    except OSError:
        return []


def _cgroup_2():
    """(microseconds, of so many) of processor time, from version 2 of control groups; zeros if there is no limit."""
    quota, period = (*_words("/sys/fs/cgroup/cpu.max"), 0, 0)[:2]
    return quota, period


def _cgroup_1():
    folder = "/sys/fs/cgroup/cpu/cpu.cfs_"
    return (*_words(folder + "quota_us"), 0)[0], (*_words(folder + "period_us"), 0)[0]


def _threads_wanted():
    """What the environment asks for, else the number of processors."""
    if asked := os.environ.get("TINYAE_NUM_THREADS"):
        return int(asked) if asked.isdecimal() else asked, "TINYAE_NUM_THREADS"
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list has a number for each nested level
    if asked.isdecimal() and int(asked):  # it is not our variable: what OpenMP would refuse we pass over
        return min(int(asked), 256), "OMP_NUM_THREADS"
    return min(_processors(), 256), "processors"


if _asked != "numpy":
    _set_threads(*_threads_wanted())

# -- memory ---------------------------------------------------------------------------------------------------------

# glibc gives the free top of its heap back to the system, and taking it again costs a fault per page: up to half of a
# training step's time, on either backend. It keeps as much as twice the largest block it has seen freed, so here is one
# of nearly 32 MB, the most it learns from. Nobody touches it, hence it takes no memory; elsewhere it does nothing.
np.empty((32 << 20) - (64 << 10), np.uint8)

# -- what C can take ------------------------------------------------------------------------------------------------

_ndarray = np.ndarray
_code = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}.get  # native byte order only; by value, for unpickled dtypes
_ALIGNED = 0x100  # bits of flags.num
_DENSE = 0x101  # C-contiguous and aligned
_WRITEABLE = 0x501  # that, and writeable


def _dense(x):
    """x, or a copy of it, as C reads it. Layout and size never decide who computes: other code has other last bits."""
    return x if x.flags.num & _DENSE == _DENSE else np.array(x, order="C")


def _common(x, y):
    """The dtype's code if both are arrays of one shape and one dtype that C knows, else None."""
    if x.__class__ is not _ndarray or y.__class__ is not _ndarray or x.shape != y.shape:
        return None
    code = _code(x.dtype)
    return code if _code(y.dtype) == code else None


def _writeable(x):
    return x.flags.num & _WRITEABLE == _WRITEABLE


# -- in place -------------------------------------------------------------------------------------------------------


def sgd(p, g, velocity, lr, momentum, nesterov, weight_decay):
    """One SGD step, in place on p and velocity (None if momentum is 0). See `tae_sgd` in csrc/tinyae.h."""
    if _lib is None or (code := _common(p, g)) is None or not _writeable(p):
        return False
    if momentum and (_common(p, velocity) is None or not _writeable(velocity)):
        return False
    v = _from(velocity) if momentum else _ffi.NULL
    return _lib.tae_sgd(code, p.size, _from(p), _from(_dense(g)), v, lr, momentum, nesterov, weight_decay) == 0


def adam(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Step number `step` (1, 2, ...) of Adam, in place on p, m and v. See `tae_adam` in csrc/tinyae.h."""
    if _lib is None or (code := _common(p, g)) is None or _common(p, m) is None or _common(p, v) is None:
        return False
    if not (_writeable(p) and _writeable(m) and _writeable(v)):
        return False
    arrays = _from(p), _from(_dense(g)), _from(m), _from(v)
    return _lib.tae_adam(code, p.size, *arrays, lr, beta1, beta2, eps, weight_decay, decoupled, step) == 0


def gather(out, x, index, scale=1.0):
    """out[...] = x[index] * scale: whole rows, one pass. x is of out's dtype or uint8, index int64, each in range.

    Shape: out (m, ...), x (n, ...), index (m,). See `tae_gather` in csrc/tinyae.h.
    """
    if _lib is None or (code := _common(out, out)) is None or not _writeable(out):
        return False
    if x.__class__ is not _ndarray or index.__class__ is not _ndarray or index.dtype != np.int64 or index.ndim != 1:
        return False
    source = 2 if x.dtype == np.uint8 else _code(x.dtype)
    if source is None or x.ndim == 0 or out.shape != (index.size, *x.shape[1:]) or x.flags.num & _DENSE != _DENSE:
        return False  # a copy of a whole data set would cost more than it brings
    index = _ffi.from_buffer("int64_t[]", _dense(index))
    sizes = len(index), math.prod(x.shape[1:]), x.shape[0]
    return _lib.tae_gather(source, code, *sizes, _from(x), index, scale, _from(out)) == 0


_NOISE = {"uniform": 0, "normal": 1, "bernoulli": 2}


def noise(kind, out, key, counter, p):
    """Fill out with noise of one kind; 0 <= key, counter < 2**64. See `tae_noise` in csrc/tinyae.h."""
    if _lib is None or kind not in _NOISE or (code := _common(out, out)) is None or not _writeable(out):
        return False
    return _lib.tae_noise(_NOISE[kind], code, out.size, key, counter, p, _from(out)) == 0


# -- matrix products ------------------------------------------------------------------------------------------------


def _matrix(x, itemsize):
    """(pointer to element 0, 0; row stride; column stride) of a 2-d array, in elements, without a copy."""
    flags = x.flags.num
    if flags & _DENSE == _DENSE:
        return _from(x), x.shape[1], 1
    t = x.T
    if t.flags.num & _DENSE == _DENSE:
        return _from(t), 1, x.shape[0]
    rows, columns = x.strides
    if not flags & _ALIGNED or rows % itemsize or columns % itemsize:
        return _matrix(np.array(x, order="C"), itemsize)
    # A buffer is contiguous: a strided array lends its first element, and C finds the others by strides, as NumPy does.
    return _from(x[:1, :1]), rows // itemsize, columns // itemsize


def _product(a, b, bias=None, op=-1, param=0.0, alpha=1.0, c=None, beta=0.0):
    """f(alpha a @ b + beta c + bias) of arrays of 2, 2 and 1 dimensions whose shapes fit; None if their dtypes do not.

    It is written into c, if there is one."""
    code = _code(a.dtype)
    if code is None or _code(b.dtype) != code or (bias is not None and _code(bias.dtype) != code):
        return None
    m, k = a.shape
    n = b.shape[1]
    if c is None:
        c = np.empty((m, n), a.dtype)
    itemsize = 8 if code else 4
    a, a_rs, a_cs = (_from(a), k, 1) if a.flags.num & _DENSE == _DENSE else _matrix(a, itemsize)
    b, b_rs, b_cs = (_from(b), n, 1) if b.flags.num & _DENSE == _DENSE else _matrix(b, itemsize)
    bias = _ffi.NULL if bias is None else _from(_dense(bias))
    status = _lib.tae_gemm(code, m, n, k, a, a_rs, a_cs, b, b_rs, b_cs, _from(c), n, bias, op, param, alpha, beta)
    return None if status else c


def _rows(x):
    """x with all leading axes as one; x itself if it is a matrix."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _strided(x, itemsize):
    """(pointer to the first element, strides in elements) of an array, which is copied only if C could not read it."""
    if not x.flags.num & _ALIGNED or any(step % itemsize for step in x.strides):
        x = np.array(x, order="C")
    return _from(x[(slice(0, 1),) * x.ndim]), [step // itemsize for step in x.strides]


def _stack(a, b):
    """a @ b with stacks of matrices on both sides, whose leading axes broadcast."""
    code = _code(a.dtype)
    if code is None or _code(b.dtype) != code:
        return None
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, (*leading, *x.shape[-2:])) for x in (a, b))
    (m, k), n = a.shape[-2:], b.shape[-1]
    c = np.empty((*leading, m, n), a.dtype)
    if len(leading) > 62 or not (a.size and b.size):
        return None
    itemsize = 8 if code else 4
    a, (*a_steps, a_rs, a_cs) = _strided(a, itemsize)
    b, (*b_steps, b_rs, b_cs) = _strided(b, itemsize)
    sizes = len(leading), leading, a_steps, b_steps, m, n, k
    return None if _lib.tae_gemm_stack(code, *sizes, a, a_rs, a_cs, b, b_rs, b_cs, _from(c), 1.0, 0.0) else c


def _matmul(a, b):
    if a.__class__ is not _ndarray or b.__class__ is not _ndarray:
        return None
    if a.ndim == 2 and b.ndim == 2:
        return _product(a, b) if a.shape[1] == b.shape[0] else None
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return None
    if b.ndim > 2:
        try:
            c = _stack(a if a.ndim > 1 else a[None], b)
        except ValueError:  # leading axes that do not broadcast: the definition says so
            return None
        return c if c is None or a.ndim > 1 else c[..., 0, :]
    c = _product(_rows(a), b if b.ndim == 2 else b[:, None])
    return c if c is None else c.reshape(a.shape[:-1] + b.shape[1:])


def _linear(x, weight, bias):
    if x.__class__ is not _ndarray or weight.__class__ is not _ndarray or bias.__class__ is not _ndarray:
        return None
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        return None
    y = _product(_rows(x), weight, bias)
    return y if x.ndim == 2 or y is None else y.reshape(*x.shape[:-1], weight.shape[1])


def gemm(a, b, bias=None, activation=None, param=0.0, alpha=1.0, out=None, beta=0.0):
    """activation(alpha a @ b + beta out + bias) in one pass; activation is the name of a unary op, param its setting.

    The result is written into out, a C-contiguous array that shares no memory with the others, or a new one. beta is 0
    without out, and then what out held does not matter.

    Shape: a (m, k), b (k, n), bias (n,) -> (m, n). None if shapes or dtypes do not fit, or without C: not my case.
    """
    if _lib is None or activation not in _activations or a.__class__ is not _ndarray or b.__class__ is not _ndarray:
        return None
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        return None
    if bias is not None and (bias.__class__ is not _ndarray or bias.shape != b.shape[1:]):
        return None
    if out is None:
        if beta:
            return None
    elif out.__class__ is not _ndarray or out.shape != (a.shape[0], b.shape[1]) or out.dtype != a.dtype:
        return None
    elif not _writeable(out) or np.may_share_memory(out, a) or np.may_share_memory(out, b):
        return None
    return _product(a, b, bias, _activations[activation], param, alpha, out, beta)


# -- element by element, sums, rows ---------------------------------------------------------------------------------
#
# The four arithmetic operators are not here. NumPy's are as fast as memory on large arrays (100,000 float32: 9 us, by
# tae_binary 10), one call of them costs 0.2 us and one of ours 0.8, and on normal numbers the bits are the same.


def _unary(op):
    run = _lib.tae_unary

    def forward(x, param=0.0):
        if x.__class__ is not _ndarray or (code := _code(x.dtype)) is None:
            return None
        x = _dense(x)
        out = np.empty(x.shape, x.dtype)
        return None if run(op, code, x.size, _from(x), _from(out), param) else out

    return forward


def _unary_backward(op):
    run = _lib.tae_unary_backward

    def backward(g, kept, param=0.0):
        if (code := _common(g, kept)) is None:
            return None
        step = 1
        if g.flags.num & _DENSE != _DENSE and not any(g.strides):  # one value, spread by a mean: C repeats it
            g, step = g.reshape(-1)[:1], 0
        g, kept = _dense(g), _dense(kept)
        out = np.empty(kept.shape, kept.dtype)
        return None if run(op, code, kept.size, _from(g), step, _from(kept), _from(out), param) else out

    return backward


def _axes(shape, axis):
    """shape in three parts: before, along and after the axes to sum over. None if those do not stand side by side."""
    ndim = len(shape)
    if axis is None:
        return (), shape, ()
    axes = sorted(i + ndim if i < 0 else i for i in (axis if isinstance(axis, tuple) else (axis,)))
    if not axes or axes[0] < 0 or axes[-1] >= ndim or any(j - i != 1 for i, j in zip(axes, axes[1:])):
        return None
    return shape[: axes[0]], shape[axes[0] : axes[-1] + 1], shape[axes[-1] + 1 :]


def _sum(x, axis, keepdims):
    if x.__class__ is not _ndarray or (code := _code(x.dtype)) is None or (parts := _axes(x.shape, axis)) is None:
        return None
    outer, along, inner = parts
    x = _dense(x)
    out = np.empty(outer + (1,) * len(along) + inner if keepdims else outer + inner, x.dtype)
    sizes = math.prod(outer), math.prod(along), math.prod(inner)
    return None if _lib.tae_sum(code, *sizes, _from(x), _from(out)) else out


def _extreme(kind):
    """max and min. NumPy refuses an empty axis, so that is not our case."""

    def forward(x, axis, keepdims):
        if x.__class__ is not _ndarray or (code := _code(x.dtype)) is None or (parts := _axes(x.shape, axis)) is None:
            return None
        outer, along, inner = parts
        x = _dense(x)
        out = np.empty(outer + (1,) * len(along) + inner if keepdims else outer + inner, x.dtype)
        sizes = math.prod(outer), math.prod(along), math.prod(inner)
        return None if _lib.tae_extreme(kind, code, *sizes, _from(x), _from(out)) else out

    return forward


def _by_row(run, reduces=False):
    """softmax and the like: rows are the last axis, another one is not our case."""

    def forward(x, axis, keepdims=True):
        if x.__class__ is not _ndarray or (code := _code(x.dtype)) is None:
            return None
        if x.ndim == 0 or axis not in (-1, x.ndim - 1):
            return None
        x = _dense(x)
        rows, n = x.shape[:-1], x.shape[-1]
        out = np.empty(x.shape if not reduces else (*rows, 1) if keepdims else rows, x.dtype)
        return None if run(code, math.prod(rows), n, _from(x), _from(out)) else out

    return forward


def _by_row_backward(run):
    def backward(g, y, axis):
        if (code := _common(g, y)) is None or y.ndim == 0 or axis not in (-1, y.ndim - 1):
            return None
        g, y = _dense(g), _dense(y)
        out = np.empty(y.shape, y.dtype)
        return None if run(code, math.prod(y.shape[:-1]), y.shape[-1], _from(g), _from(y), _from(out)) else out

    return backward


def _with_setting(name, forward, backward):
    """leaky_relu, elu and gelu have a setting, which their definitions check: a bad one is not our case."""
    if name == "leaky_relu":
        return (
            lambda x, slope: forward(x, slope) if slope >= 0 else None,
            lambda g, y, slope: backward(g, y, slope) if slope >= 0 else None,
        )
    if name == "elu":
        return (
            lambda x, alpha: forward(x, alpha) if alpha >= 0 else None,
            lambda g, y, alpha: backward(g, y, alpha) if alpha >= 0 else None,
        )
    if name == "gelu":
        return (
            lambda x, approximate="none": forward(x) if approximate == "none" else None,
            lambda g, x, approximate="none": backward(g, x) if approximate == "none" else None,
        )
    return forward, backward


if _lib is not None:
    _from = _ffi.from_buffer
    _activations = {None: -1}
    for _op, _name in enumerate(_names(_lib.tae_unary_name)):
        _activations[_name] = _op
        FORWARD[_name], BACKWARD[_name, "x"] = _with_setting(_name, _unary(_op), _unary_backward(_op))
    FORWARD.update(
        matmul=_matmul,
        linear=_linear,
        sum=_sum,
        max=_extreme(0),
        min=_extreme(1),
        softmax=_by_row(_lib.tae_softmax),
        log_softmax=_by_row(_lib.tae_log_softmax),
        logsumexp=_by_row(_lib.tae_logsumexp, reduces=True),
    )
    BACKWARD["softmax", "x"] = _by_row_backward(_lib.tae_softmax_backward)
    BACKWARD["log_softmax", "x"] = _by_row_backward(_lib.tae_log_softmax_backward)
