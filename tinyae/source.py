"""Where in the user's program something happened: remembered cheaply, put into words only when asked.

A place is a pair (code object, instruction). Keeping it costs a fraction of a microsecond, and, other than keeping the
frame, keeps none of its variables alive.

Ring 0. Knows nothing but Python's frames.
"""

import functools
import sys
import warnings

from .errors import GradientWarning

__all__ = ["at", "here", "last_argument", "place", "warn_of_earlier"]

_PACKAGE = __file__.rpartition("source")[0]


class _Ours(dict):
    """{file name: whether it is of this package}, found out once per file: a look-up is half the price of comparing."""

    def __missing__(self, file):
        self[file] = file.startswith(_PACKAGE)
        return self[file]


_ours = _Ours()


def here(above=2):
    """The innermost frame outside this package, as (code, instruction).

    above: how many frames up to begin, 1 being the caller of ``here``; each one looked at costs an object.
    """
    frame = inner = sys._getframe(above)
    while _ours[frame.f_code.co_filename]:
        frame = frame.f_back
        if frame is None:
            frame = inner
            break
    return frame.f_code, frame.f_lasti


def place(where):
    """(code, instruction) -> ``("file.py", 12, "h = x @ w")``: file, line number, the line's text."""
    import linecache

    code, instruction = where
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
    return code.co_filename, line, linecache.getline(code.co_filename, line).strip()


def at(where):
    """(code, instruction) -> "file.py:12 `h = x @ w`", for messages."""
    file, line, text = place(where)
    return f"{file}:{line}" + (f" `{text}`" if text else "")


def last_argument(frame):
    """What the last argument is of the call that a frame is at: the value of a variable; `list`, if one is put together
    on the spot, or it is no call at all; None where the call's text does not tell, as in f(g(x)).
    """
    name = _last_operands(frame.f_code).get(frame.f_lasti, list)
    if name is None or name is list:
        return name
    for scope in (frame.f_locals, frame.f_globals):
        if name in scope:
            return scope[name]
    return None


def _find_last_operands(code):
    """{where a call is: the name of its last argument, `list`, or None}."""
    import dis  # only now: it takes time to load

    found, before = {}, None
    for i in dis.get_instructions(code):
        if i.opname in ("CACHE", "PRECALL", "KW_NAMES", "EXTENDED_ARG", "NOP"):
            continue
        if i.opname.startswith("CALL") and before is not None:
            if before.opname in ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF",
                                 "LOAD_FAST_CHECK", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"):  # fmt: skip
                found[i.offset] = before.argval[-1] if isinstance(before.argval, tuple) else before.argval
            elif before.opname in ("BUILD_LIST", "BUILD_TUPLE", "LIST_EXTEND", "LIST_APPEND", "STORE_FAST", "END_FOR",
                                   "SWAP", "GET_ITER", "POP_ITER"):  # fmt: skip
                found[i.offset] = list  # the last four: of [f(x) for x in ...]
            else:
                found[i.offset] = None
        made = i.opname.startswith("CALL") and before is not None and before.opname == "GET_ITER"  # up to Python 3.11
        before = before if made else i
    return found


_last_operands = functools.lru_cache(256)(_find_last_operands)


def warn_of_earlier(shape):
    """Say at backward's call that it adds to a gradient that is older than the parameter's values."""
    warnings.warn(
        f"backward: adds to a gradient of shape {shape} that is of the parameter's earlier values. Call "
        "optimizer.zero_grad(), or set p.grad = None, before each backward.",
        GradientWarning,
        stacklevel=3,
    )
