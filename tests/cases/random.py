"""``ops/random.py``."""

import numpy as np
from hypothesis import strategies as st

from tinyae import Generator
from tinyae.errors import DtypeError, SettingError

from .arrays import laid_out, row_into, shapes, values


ROWS = {}
NOISE = ("bernoulli", "normal", "uniform")  # ops whose values have a distribution instead of a truth
TORCH = dict.fromkeys(NOISE)
row = row_into(ROWS)


@row
def uniform_row(draw):
    return [laid_out(draw, values(draw, draw(shapes())))], {"generator": Generator(draw(st.integers(0, 2**64 - 1)))}


@row
def bernoulli_row(draw):
    arrays, settings = uniform_row(draw)
    return arrays, {**settings, "p": draw(st.sampled_from([0.0, 0.3, 1.0]))}


ROWS["normal"] = uniform_row

BAD = [
    (SettingError, "bernoulli", (np.ones((2, 3)),), {"p": 1.5, "generator": Generator(0)}),
    (DtypeError, "normal", (np.ones(3, int),), {"generator": Generator(0)}),
]
