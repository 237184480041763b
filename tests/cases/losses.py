"""``ops/losses.py``."""

import math

import numpy as np

from tinyae.errors import ShapeError

from .arrays import laid_out, row_into, shapes, values

ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


@row
def _bce_sum_row(draw):
    shape = draw(shapes())
    return [laid_out(draw, values(draw, shape)), laid_out(draw, values(draw, shape, (0.0, 1.0)))], {}


@row
def _kl_sum_row(draw):
    shape = draw(shapes())
    return [laid_out(draw, values(draw, shape)) for _ in range(2)], {}


def _total(term):
    return lambda a, b: np.array(math.fsum(term(*row) for row in zip(a.ravel().tolist(), b.ravel().tolist())))


TRUTH |= {
    "_bce_sum": _total(lambda x, t: math.log1p(math.exp(x)) - t * x),
    "_kl_sum": _total(lambda mu, logvar: (mu**2 + math.exp(logvar) - 1 - logvar) / 2),
}
TORCH |= {
    "_bce_sum": lambda torch, x, t: torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="sum"),
    "_kl_sum": lambda torch, mu, logvar: 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(),
}
BAD = [(ShapeError, name, (np.ones((2, 3)), np.ones((4, 5))), {}) for name in TRUTH]
