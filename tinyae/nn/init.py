"""Where weights start. Every initialiser is a function (shape, rng, dtype) -> array, and so may be one of yours.

    Linear(64, 16, init="he_normal")
    Linear(64, 16, init=partial(normal, std=0.1))
    Linear(64, 16, init=lambda shape, rng, dtype: rng.standard_normal(shape, dtype) / 8)

Numbers are drawn in float64 and then rounded, so a float32 model starts where the float64 one does. Weights have the
shape (fan_in, fan_out); for any other shape the two are passed as ``fans``.

Ring 4. Must not know layers.
"""

import math

import numpy as np

from ..errors import DtypeError, SettingError, ShapeError

__all__ = [
    "INITIALISERS", "as_rng", "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "initialise",
    "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal", "pytorch_linear", "truncated_normal", "uniform",
    "zeros",
]  # fmt: skip


def as_rng(generator):
    """A numpy.random.Generator from one, from a seed, or, for None, from the operating system's entropy."""
    try:
        if not isinstance(generator, bool):
            return np.random.default_rng(generator)
    except (TypeError, ValueError):
        pass
    raise SettingError(f"generator={generator!r}. Give a numpy.random.Generator, an int of at least 0 or None.")


def initialise(how, shape, generator=None, dtype="float32", fans=None):
    """A new array of initial values.

    Parameters
    ----------
    how : str or callable
        A name in ``INITIALISERS``, or (shape, rng, dtype) -> array.
    shape : tuple of int
        Of the result.
    generator : numpy.random.Generator, int or None
        Where the random numbers come from.
    dtype : dtype
        float32 or float64.
    fans : (int, int), optional
        fan_in and fan_out, for a shape that is not (fan_in, fan_out), such as a bias.

    Raises SettingError for an unknown name, ShapeError if a callable returns another shape.
    """
    rng, dtype = as_rng(generator), _float(dtype)
    if callable(how):
        array = np.asarray(how(shape, rng, dtype))
        if array.shape != shape:
            raise ShapeError(f"init: the callable returned shape {array.shape} where {shape} is needed.")
        return array.astype(dtype)
    if not isinstance(how, str) or how not in INITIALISERS:
        raise SettingError(f"init={how!r}. Give a callable or one of {', '.join(sorted(INITIALISERS))}.")
    return INITIALISERS[how](shape, rng, dtype, **({"fans": fans} if how in _BY_FANS else {}))


def glorot_uniform(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010."""
    return _within(math.sqrt(6.0 / sum(_fans(shape, fans))), shape, rng, dtype)


def glorot_normal(shape, rng, dtype="float32", *, fans=None):
    """Normal of variance 2 / (fan_in + fan_out). Glorot and Bengio 2010."""
    return normal(shape, rng, dtype, std=math.sqrt(2.0 / sum(_fans(shape, fans))))


def he_uniform(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-sqrt(6 / fan_in): keeps the variance through relu. He et al. 2015."""
    return _within(math.sqrt(6.0 / _fans(shape, fans)[0]), shape, rng, dtype)


def he_normal(shape, rng, dtype="float32", *, fans=None):
    """Normal of variance 2 / fan_in: keeps the variance through relu. He et al. 2015."""
    return normal(shape, rng, dtype, std=math.sqrt(2.0 / _fans(shape, fans)[0]))


def lecun_uniform(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-sqrt(3 / fan_in). LeCun et al. 1998."""
    return _within(math.sqrt(3.0 / _fans(shape, fans)[0]), shape, rng, dtype)


def lecun_normal(shape, rng, dtype="float32", *, fans=None):
    """Normal of variance 1 / fan_in. LeCun et al. 1998; what selu assumes."""
    return normal(shape, rng, dtype, std=math.sqrt(1.0 / _fans(shape, fans)[0]))


def pytorch_linear(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-1 / sqrt(fan_in), for weight and bias alike: how PyTorch's Linear starts."""
    return _within(1.0 / math.sqrt(_fans(shape, fans)[0]), shape, rng, dtype)


def uniform(shape, rng, dtype="float32", *, low=-0.05, high=0.05):
    """Uniform in [low, high)."""
    return rng.uniform(low, high, shape).astype(_float(dtype))


def normal(shape, rng, dtype="float32", *, std=0.01, mean=0.0):
    """Normal of the given mean and standard deviation."""
    return rng.normal(mean, std, shape).astype(_float(dtype))


def truncated_normal(shape, rng, dtype="float32", *, std=0.01):
    """Normal of mean 0 where values beyond 2 std are drawn again; what is left has .88 std."""
    array = rng.standard_normal(shape)
    while (far := np.abs(array) > 2.0).any():
        array[far] = rng.standard_normal(np.count_nonzero(far))
    return (array * std).astype(_float(dtype))


def orthogonal(shape, rng, dtype="float32", *, gain=1.0):
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer. Saxe et al. 2014."""
    if len(shape) != 2:
        raise ShapeError(f"orthogonal: shape {tuple(shape)} is not that of a matrix.")
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.where(np.diag(r) < 0, -gain, gain)  # QR fixes the signs of q; those of r make it uniform
    return np.ascontiguousarray(q if shape[0] >= shape[1] else q.T, _float(dtype))


def zeros(shape, rng=None, dtype="float32"):
    """0 everywhere."""
    return np.zeros(shape, _float(dtype))


def ones(shape, rng=None, dtype="float32"):
    """1 everywhere."""
    return np.ones(shape, _float(dtype))


def constant(shape, rng=None, dtype="float32", *, value=0.1):
    """value everywhere."""
    return np.full(shape, value, _float(dtype))


_FUNCTIONS = (
    constant, glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform, normal, ones,
    orthogonal, pytorch_linear, truncated_normal, uniform, zeros,
)  # fmt: skip
INITIALISERS = {f.__name__: f for f in _FUNCTIONS}
_BY_FANS = {name for name, f in INITIALISERS.items() if "fans" in (f.__kwdefaults__ or ())}


def _within(bound, shape, rng, dtype):
    return uniform(shape, rng, dtype, low=-bound, high=bound)


def _fans(shape, fans):
    if fans is None and len(shape) != 2:
        raise ShapeError(f"init: fan_in and fan_out of shape {tuple(shape)} are unknown. Pass fans=(fan_in, fan_out).")
    return shape if fans is None else fans


def _float(dtype):
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"dtype={dtype!r} is none. Ask for float32 or float64.") from None
    if dtype not in (np.float32, np.float64):
        raise DtypeError(f"parameters of dtype {dtype}. Ask for float32 or float64.")
    return dtype
