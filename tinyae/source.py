"""Where in the user's program something happened: remembered cheaply, put into words only when asked.

A place is a pair (code object, instruction). Keeping it costs a fraction of a microsecond, and, other than keeping the
frame, keeps none of its variables alive.

Ring 0. Knows nothing but Python's frames.
"""

import sys
import warnings

from .errors import GradientWarning

__all__ = ["at", "here", "place", "warn_of_earlier"]

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


def warn_of_earlier(shape):
    """Say at backward's call that it adds to a gradient that is older than the parameter's values."""
    warnings.warn(
        f"backward: adds to a gradient of shape {shape} that is of the parameter's earlier values. Call "
        "optimizer.zero_grad(), or set p.grad = None, before each backward.",
        GradientWarning,
        stacklevel=3,
    )
