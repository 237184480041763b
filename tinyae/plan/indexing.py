"""x[i] in a captured step, where i are numbers that may be others in the next run: as `take` and `gather`.

    x[i]                    take(x, i)
    x[:, i]                 take(x, i, axis=1)
    x[np.arange(len(y)), y] gather(take(x, ...), y, axis=1), a value of each row
    x[[2, 0]]               a list is the same in every run

`getitem` has its index as a setting, which a plan would freeze. Ring 4. Read after capture.py, which asks.
"""

import operator

import numpy as np

from .. import ops
from ..engine import Var

__all__ = ["by_number"]


def by_number(x, index, constant):
    """x[index] by operations of which the numbers in index are operands; None if index has none, or cannot be said so.

    constant : callable
        (array) -> None. Told of every array that is the same in every run.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    free = x.ndim - sum(part is not None and part is not ... for part in parts)
    dots = next((k for k, part in enumerate(parts) if part is ...), None)
    parts[len(parts) if dots is None else dots : len(parts) if dots is None else dots + 1] = [slice(None)] * free
    numbers = [_numbers(part, constant) for part in parts]
    places = [k for k, found in enumerate(numbers) if found is not None]
    if not places or places != [*range(places[0], places[-1] + 1)] or free < 0:
        return None
    rest = [part for part, found in zip(parts, numbers) if found is None]
    if not all(isinstance(part, slice) for part in rest):
        return None
    if any(part != slice(None) for part in rest):
        whole = (slice(None) if found is not None else part for part, found in zip(parts, numbers))
        x = ops.getitem(x, index=tuple(whole))
    shape = np.broadcast_shapes(*(numbers[k].shape for k in places))
    axis = places[0]
    for k in places:
        found = numbers[k] if numbers[k].shape == shape else ops.broadcast_to(numbers[k], shape=shape)
        if k == axis:
            x = ops.take(x, found, axis=axis)
            continue
        behind = axis + len(shape)  # the axis that is indexed next, once for every place of the others
        each = (1,) * axis + shape + (1,) * (x.ndim - behind)
        x = ops.squeeze(ops.gather(x, ops.reshape(found, shape=each), axis=behind), axis=behind)
    return x


def _numbers(part, constant):
    """A part of an index as an array of integers, if it is one whose numbers a plan can know."""
    if isinstance(part, Var):
        return part if part.dtype.kind in "iu" else None
    if isinstance(part, (list, range)) and all(isinstance(n, (int, np.integer)) and n is not True for n in part):
        part = np.array([operator.index(n) for n in part], np.int64)
    elif not isinstance(part, np.ndarray) or not np.array_equal(part, np.arange(part.size)):
        return None  # of another array a plan knows nothing
    constant(part)
    return part
