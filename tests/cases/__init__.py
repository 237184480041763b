"""What to feed each op, what it must give, and what it must refuse: a file per file of ``tinyae/ops``.

Element-wise ops need no row: their shapes are any that broadcast, their values come from the op's declared domain and
stay away from its declared kinks. A file may hold

    ROWS["name"]      hypothesis's draw to (arrays, settings), for an op that is not element-wise
    SETTINGS["name"]  draw to the settings of an element-wise op that has some
    SCALAR["name"]    the op's value for Python floats, said another way than in the package; TRUTH["name"] for arrays
    TORCH["name"]     the same by PyTorch: (torch, *tensors, **settings) to a tensor; None where it has nothing
    COMPOSED["name"]  (draw to (arrays, settings), the same by PyTorch) of a plain function that is composed of ops
    BAD               (error, name, arrays, settings) that must be refused

`test_ops.py` asks the same of every op and every composed function, and fails if an op is in OPS and not here. Arrays
are float64, read-only, and of any layout: transposed, reversed, strided, repeated with stride 0.
"""

import numpy as np
from hypothesis.extra import numpy as hnp

from tinyae import ops
from tinyae.engine import OPS

from . import activations, conv, linalg, losses, math, pool, random, recurrent, shape
from .arrays import laid_out, values

__all__ = ["BAD", "CASES", "COMPOSED", "NOISE", "ROWS", "SCALAR", "SURROGATE", "TORCH", "TRUTH", "function", "truth"]

_FILES = activations, conv, linalg, losses, math, pool, random, recurrent, shape


def _together(name):
    """One dictionary of all files' dictionaries of that name."""
    return {key: value for file in _FILES for key, value in getattr(file, name, {}).items()}


ROWS, SETTINGS, SCALAR, TRUTH, TORCH = map(_together, ("ROWS", "SETTINGS", "SCALAR", "TRUTH", "TORCH"))
BAD = [row for file in _FILES for row in file.BAD]
NOISE = random.NOISE
SURROGATE = math.SURROGATE
COMPOSED = _together("COMPOSED")


def elementwise(op):
    def row(draw):
        n = len(op.arguments)
        settings = SETTINGS[op.name](draw) if op.name in SETTINGS else {}
        kinks = [k for k in op.kinks if not isinstance(k, str)] + [v for k, v in settings.items() if k in op.kinks]
        drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, max_side=4, min_side=0)).input_shapes
        arrays = [laid_out(draw, values(draw, shape, op.domain, kinks)) for shape in drawn]
        if "a == b" in op.kinks:  # even and odd multiples of 0.1 never meet
            arrays = [np.round(x * 5) / 5 + 0.1 * i for i, x in enumerate(arrays)]
        if "condition" in op.arguments:
            arrays[0] = arrays[0] > 0
        return arrays, settings

    return row


CASES = {
    name: ROWS[name] if name in ROWS else elementwise(op) for name, op in OPS.items() if name in ROWS or op.elementwise
}


def function(name):
    """The op, or the composed function, of that name."""
    return OPS[name] if name in OPS else getattr(ops, name)


def truth(name, arrays, settings):
    """The op's value by its independent definition, None for noise."""
    if name in SCALAR:
        scalar = np.vectorize(lambda *row: SCALAR[name](*row, **settings), otypes=[float])
        return scalar(*arrays)
    return TRUTH[name](*arrays, **settings) if name in TRUTH else None
