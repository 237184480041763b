"""The compiled module, or why there is none; the instruction set and the threads it uses.

The only file that imports `tinyae._kernels`; `lib` is None on the NumPy backend.
"""

import numbers
import os
from contextlib import contextmanager

import numpy as np

from ..errors import BackendError, SettingError

# -- the compiled module --------------------------------------------------------------------------------------------

ffi = lib = _path = None
_why = "TINYAE_BACKEND=numpy asks for it"
_asked = os.environ.get("TINYAE_BACKEND", "")
_said = False
if _asked not in ("", "c", "numpy"):
    raise BackendError(f"tinyae: TINYAE_BACKEND={_asked!r:.60} is no backend. Set it to 'c' or 'numpy', or unset it.")
if _asked != "numpy":
    try:
        from .._kernels import ffi, lib
    except ImportError as _problem:
        _folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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
        from .. import _kernels

        _path = _kernels.__file__
        _why = "the compiled module is installed"


def reported(report):
    """The strings that a C function reports for 0, 1, 2, ... until NULL."""
    names = []
    while (name := report(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return names


def info():
    """What computes: {"backend": "c" or "numpy", "isa", "isas_supported", "why", "threads", "compiler",
    "path"}."""
    isas = [name for name in reported(lib.tae_isa_name) if lib.tae_isa_supported(name.encode())] if lib else []
    return {
        "backend": "c" if lib else "numpy",
        "isa": ffi.string(lib.tae_isa()).decode() if lib else None,
        "isas_supported": isas,
        "why": _why,
        "threads": lib.tae_threads() if lib else None,
        "compiler": ffi.string(lib.tae_compiler()).decode() if lib else None,
        "path": _path,
    }


def say_why_once():
    """Log, at the first training of a process, that NumPy does the work and why; not if that was asked for."""
    global _said
    if lib is None and _asked != "numpy" and not _said:
        import logging  # its last resort is stderr, without a word of set-up

        logging.getLogger("tinyae").warning("tinyae: training on NumPy alone, which is slower: %s.", _why)
    _said = True


def _set_isa(name, who):
    if lib is None:
        raise BackendError(f"{who}: {name!r}: the backend is NumPy: {_why}.")
    if lib.tae_use_isa(str(name).encode()):
        raise BackendError(
            f"{who}: {name!r:.60} is not an instruction set of this build and this CPU. "
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
    return lib.tae_threads() if lib else 1


def set_num_threads(n):
    """Let every later call in this process use n threads, 1 to 256; no number of threads changes a bit of a result.

    Without effect on the NumPy backend. SettingError if n is no such number.
    """
    _set_threads(n, "set_num_threads")


def _set_threads(n, who):
    if not isinstance(n, numbers.Integral) or isinstance(n, bool) or not 1 <= n <= 256:
        raise SettingError(f"{who}: {n!r} is no number of threads. Give an integer from 1 to 256.")
    if lib is not None:
        lib.tae_set_threads(int(n))


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


def _whole_number(text):
    """The number that decimal digits say, None of anything else; from 10**9 on it is only known to be as large."""
    return int(text.lstrip("0")[:10] or 0) if text.isdecimal() else None


def _threads_wanted():
    """What the environment asks for, else the number of processors."""
    if asked := os.environ.get("TINYAE_NUM_THREADS"):
        return _whole_number(asked) or asked[:40], "TINYAE_NUM_THREADS"
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list has a number for each nested level
    if n := _whole_number(asked):  # it is not our variable: what OpenMP would refuse we pass over
        return min(n, 256), "OMP_NUM_THREADS"
    return min(_processors(), 256), "processors"


if _asked != "numpy":
    _set_threads(*_threads_wanted())

# -- memory ---------------------------------------------------------------------------------------------------------

# glibc gives the free top of its heap back to the system, and taking it again costs a fault per page: up to half of a
# training step's time, on either backend. It keeps as much as twice the largest block it has seen freed, so here is one
# of nearly 32 MB, the most it learns from. Nobody touches it, hence it takes no memory; elsewhere it does nothing.
np.empty((32 << 20) - (64 << 10), np.uint8)
