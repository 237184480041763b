"""Randomness: a counter-based generator and the noise ops that draw from it.

Philox4x32-10 maps (key, counter) to four 32-bit words without any hidden state, so the same seed gives the same bits in
NumPy, in C, and for any number of threads. Uniforms and Bernoullis are equal to the bit; normals agree within 4 ulp,
since logarithm and cosine come from different libraries. Source: Salmon, Moraes, Dror and Shaw, "Parallel random
numbers: as easy as 1, 2, 3", 2011.

A draw numbers itself by the generator's ``counter``; setting that back repeats the noise, which is how the gradient of
a stochastic loss is checked. The noise ops take an array for its shape and dtype and have no derivative.

Ring 2. Must not know Tensor.
"""

import numpy as np

from .. import kernels
from ..engine import op
from ..errors import DtypeError, SettingError
from ..mode import mode
from .math import clip, log, log1p

__all__ = ["Generator", "bernoulli", "dropout", "gumbel", "normal", "uniform"]

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


class Generator:
    """A stream of noise: a 64-bit key, and a counter that advances by one per draw.

    Parameters
    ----------
    seed : int, numpy.random.Generator or None
        The key, modulo 2**64; a NumPy generator draws one; None asks the operating system.
    """

    __slots__ = ("counter", "key")

    def __init__(self, seed=None):
        if isinstance(seed, Generator):
            seed = seed.key
        elif isinstance(seed, np.random.Generator):
            seed = seed.integers(2**63)
        elif seed is None:
            seed = np.random.SeedSequence().entropy
        elif not isinstance(seed, (int, np.integer)):
            raise SettingError(f"Generator: seed={seed!r}. Give an int, a numpy.random.Generator or None.")
        self.key = int(seed) % 2**64
        self.counter = 0

    def __repr__(self):
        return f"Generator(seed={self.key}, counter={self.counter})"

    def draw(self, kind, shape, dtype=np.float32, p=0.5):
        """A new array of "uniform" [0, 1), "normal" (0, 1) or "bernoulli" (1 with probability p) noise."""
        out = np.empty(shape, dtype)
        if out.dtype not in (np.float32, np.float64):
            raise DtypeError(f"{kind}: noise of dtype {out.dtype}. Ask for float32 or float64.")
        if mode.noise is not None:
            mode.noise.setdefault(self, self.counter)
        _fill(kind, out, self.key, self.counter, p)
        self.counter = (self.counter + 1) % 2**64
        return out


@op
def uniform(like, *, generator):
    """Uniform noise in [0, 1) of like's shape and dtype."""
    return generator.draw("uniform", like.shape, like.dtype)


@op
def normal(like, *, generator):
    """Normal noise of mean 0 and variance 1, of like's shape and dtype."""
    return generator.draw("normal", like.shape, like.dtype)


@op
def bernoulli(like, *, generator, p=0.5):
    """1 with probability p, else 0, of like's shape and dtype."""
    if not 0 <= p <= 1:
        raise SettingError(f"bernoulli: p={p!r} is not a probability. Give a number from 0 to 1.")
    return generator.draw("bernoulli", like.shape, like.dtype, p)


def gumbel(like, *, generator):
    """Gumbel noise, -log(-log(1 - u)), of like's shape and dtype: argmax(logits + gumbel) draws from softmax(logits).

    Maddison, Mnih and Teh 2017. A u of 0 counts as half of the next one, since the noise would be infinite there.
    """
    u = uniform(like, generator=generator)
    return -log(-log1p(-clip(u, low=np.finfo(u.dtype).epsneg / 2)))


def dropout(x, *, p, generator):
    """x with every value set to 0 with probability p and the others divided by 1 - p. Srivastava et al. 2014."""
    if not 0 <= p < 1:
        raise SettingError(f"dropout: p={p!r}. Give a probability of at least 0 and below 1.")
    return x * (bernoulli(x, generator=generator, p=1.0 - p) * (1.0 / (1.0 - p)))


# -- the definition in NumPy ----------------------------------------------------------------------------------------
# Everywhere a key may be an array of keys, one per row of what is drawn.


def _fill(kind, out, key, counter, p):
    """Noise into out, by C or by NumPy: with one key over all of it, with an array of keys each row by its own."""
    rows = out.reshape(*np.shape(key), -1)
    if np.ndim(key):
        done = all([kernels.noise(kind, row, int(k), counter, p) for row, k in zip(rows, key)])
    else:
        done = kernels.noise(kind, rows, key, counter, p)
    if not done:
        rows[...] = _NOISE[kind](rows.shape[-1], out.dtype, np.asarray(key, np.uint64), counter, p)


def _philox(key, counter, block):
    """The words of Philox4x32-10 as uint64 below 2**32. Shape: keys (...), block numbers (n,) uint64 -> (..., n, 4)."""
    x0, x1, x2, x3, k0, k1 = np.broadcast_arrays(
        block & _LOW, block >> _32, np.uint64(counter) & _LOW, np.uint64(counter) >> _32,
        (key & _LOW)[..., None], (key >> _32)[..., None],
    )  # fmt: skip
    for _ in range(10):
        a, b = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (b >> _32) ^ x1 ^ k0, b & _LOW, (a >> _32) ^ x3 ^ k1, a & _LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _LOW, (k1 + np.uint64(0xBB67AE85)) & _LOW
    return np.stack([x0, x1, x2, x3], axis=-1)


def _uniform(n, dtype, key, counter, p):
    """float32: the upper 24 bits of one word each; float64: 53 bits of two words. Shape: (..., n)."""
    if dtype == np.float32:
        words = _philox(key, counter, np.arange(-(-n // 4), dtype=np.uint64)).reshape(*key.shape, -1)[..., :n]
        return (words >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    words = _philox(key, counter, np.arange(-(-n // 2), dtype=np.uint64)).reshape(*key.shape, -1, 2)[..., :n, :]
    high, low = words[..., 0] >> np.uint64(5), words[..., 1] >> np.uint64(6)
    return (high.astype(np.float64) * 2.0**26 + low.astype(np.float64)) * 2.0**-53


def _bernoulli(n, dtype, key, counter, p):
    return (_uniform(n, dtype, key, counter, p) < dtype.type(p)).astype(dtype)


def _normal(n, dtype, key, counter, p):
    """Box and Muller 1958: sqrt(-2 ln(1 - u1)) times the cosine and the sine of 2 pi u2."""
    pairs = _uniform(n + n % 2, dtype, key, counter, p).astype(np.float64).reshape(*key.shape, -1, 2)
    u1, u2 = pairs[..., 0], pairs[..., 1]
    radius = np.sqrt(-2.0 * np.log1p(-u1))
    quarter = np.rint(4.0 * u2)  # reduced exactly to an eighth of a turn: 2 pi u2 itself is rounded
    angle = 2.0 * np.pi * (u2 - quarter / 4.0)
    radius = np.where(quarter % 4 >= 2, -radius, radius)
    odd, cos, sin = quarter % 2 == 1, np.cos(angle), np.sin(angle)
    both = np.stack([radius * np.where(odd, -sin, cos), radius * np.where(odd, cos, sin)], axis=-1)
    return both.reshape(*key.shape, -1)[..., :n]


_NOISE = {"uniform": _uniform, "normal": _normal, "bernoulli": _bernoulli}
