"""Changing memory in place: the one operation that does; and asking what is in it, which a plan asks in every run.

Ring 2. Must not know Tensor. Its place among recorded operations is Note [Versions] in the engine.
"""

import numpy as np

from ..engine import Op, Var, written
from ..errors import AxisError, DtypeError, GraphError, ShapeError
from ..mode import mode, note_write

__all__ = ["assign"]


def _within(x, /, *, low, high, error):
    """x, whose values lie in [low, high] or are NaN; else raises error(x, those outside). Shape: any -> same."""
    if x.size:
        with np.errstate(invalid="ignore"):
            outside = x[(x < low) | (x > high)]
        if outside.size:
            raise error(x, outside)
    return x[...]  # another look at it: a plan has to tell what was asked from what was not


# No op for users, so not among OPS: what functions of tinyae ask of values, said so that a plan can ask it as well.
within = Op(_within, elementwise=False, view=True, domain=None, kinks=()).function


@within.vjp
def _(g):
    return g


def assign(var, value, index=...):
    """``var[index] = value`` in the same memory; value broadcasts to var[index]. Returns var.

    Raises GraphError if var is part of a recorded graph, where the old values may still be needed: wrap the change in
    ``no_grad()``; then backward through anything that kept them says so.
    """
    if not note_write(var):
        return var
    if var._node is not None and mode.recording:
        what = "a leaf that requires a gradient" if var.is_leaf else f"the result of {var._node.op.name}"
        raise GraphError(f"assign: this tensor is {what}. Change it inside `with no_grad():`, or assign to a copy.")
    given = value
    if isinstance(value, Var):
        if value._node is not None and mode.recording:
            raise GraphError("assign: a gradient cannot flow through a write in place. Assign value.detach().")
        value = value._data
    if not isinstance(value, (bool, int, float)):  # Python's numbers are weak: 3 fits into any integer dtype
        value = np.asarray(value)
    dtype = np.result_type(value, var._data.dtype)
    if not np.can_cast(dtype, var._data.dtype, "same_kind"):
        raise DtypeError(f"assign: {dtype} values into a {var._data.dtype} tensor would lose their meaning.")
    try:
        target = var._data[index]
    except IndexError as problem:
        raise AxisError(f"assign: shape {var._data.shape}, index {index!r}: {problem}") from None
    try:
        fits = np.broadcast_shapes(np.shape(target), np.shape(value)) == np.shape(target)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"assign: values of shape {np.shape(value)} do not fit into shape {np.shape(target)}.")
    if mode.capture is not None:
        mode.capture.assign(var, given, index)
    try:
        var._data[index] = value
    except OverflowError as problem:
        raise DtypeError(f"assign: {problem}.") from None
    except ValueError:  # a repeated view, such as broadcast_to's, or memory that is not ours
        raise GraphError("assign: this tensor's memory is read-only. Assign to a copy, Tensor(t.data).") from None
    written(var)
    return var
