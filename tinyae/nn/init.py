"""Where weights start. Every initialiser is a function (shape, rng, dtype) -> array, and so may be one of yours.

    Linear(64, 16, init="he_normal")
    Linear(64, 16, init=partial(normal, std=0.1))
    Linear(64, 16, init=lambda shape, rng, dtype: rng.standard_normal(shape, dtype) / 8)

Numbers are drawn in float64 and then rounded, so a float32 model starts where the float64 one does.

Whatever scales with the layer goes by two numbers: fan_in, how many inputs a unit adds up, and fan_out, how many units
an input reaches. A matrix is (fan_in, fan_out). A kernel of more axes is (out, in, ...), and both fans count its
places, as in PyTorch. For any other shape, such as a bias, the two are passed as ``fans``.

Names are Keras's, with PyTorch's beside them: xavier for glorot, kaiming for he. Three things differ from one or the
other: he_uniform and he_normal have the gain of relu, sqrt 2, until `gain` gives them another; normal ones are not
truncated, which Keras's are; and PyTorch's own layers start as `pytorch_linear`, ours as glorot_uniform with bias 0.

Ring 4. Must not know layers.
"""

import math

import numpy as np

from ..errors import DtypeError, SettingError, ShapeError

__all__ = [
    "INITIALISERS", "as_rng", "constant", "dirac", "gain", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "identity", "initialise", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal", "ones",
    "orthogonal", "pytorch_linear", "sparse", "truncated_normal", "uniform", "variance_scaling", "xavier_normal",
    "xavier_uniform", "zeros",
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


def gain(activation, slope=0.01):
    """What to multiply weights with so that an activation keeps the variance: PyTorch's table. He et al. 2015.

    1 for "linear", "identity" and "sigmoid", 5/3 for "tanh", sqrt 2 for "relu", sqrt(2 / (1 + slope**2)) for
    "leaky_relu", 3/4 for "selu". Raises SettingError for other names.
    """
    gains = {"identity": 1.0, "leaky_relu": math.sqrt(2.0 / (1.0 + slope**2)), "linear": 1.0, "relu": math.sqrt(2.0),
             "selu": 0.75, "sigmoid": 1.0, "tanh": 5.0 / 3.0}  # fmt: skip
    if activation not in gains:
        raise SettingError(f"gain: activation={activation!r}. Give one of {', '.join(gains)}.")
    return gains[activation]


def variance_scaling(shape, rng, dtype="float32", *, scale=1.0, mode="fan_in", distribution="uniform", fans=None):
    """Of variance scale / n, n being "fan_in", "fan_out" or "fan_avg", their mean: what those below are cases of.

    distribution is "uniform", in +-sqrt(3 scale / n), or "normal".
    """
    fan_in, fan_out = _fans(shape, fans)
    counts = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
    if mode not in counts or distribution not in ("uniform", "normal") or not scale > 0:
        raise SettingError(
            f"variance_scaling: scale={scale!r}, mode={mode!r}, distribution={distribution!r}. Give a scale above 0, "
            f"one of {', '.join(counts)}, and uniform or normal."
        )
    if distribution == "normal":
        return normal(shape, rng, dtype, std=math.sqrt(scale / counts[mode]))
    bound = math.sqrt(3.0 * scale / counts[mode])
    return uniform(shape, rng, dtype, low=-bound, high=bound)


def glorot_uniform(shape, rng, dtype="float32", *, gain=1.0, fans=None):
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010."""
    return variance_scaling(shape, rng, dtype, scale=gain**2, mode="fan_avg", fans=fans)


def glorot_normal(shape, rng, dtype="float32", *, gain=1.0, fans=None):
    """Normal of variance gain**2 2 / (fan_in + fan_out). Glorot and Bengio 2010."""
    return variance_scaling(shape, rng, dtype, scale=gain**2, mode="fan_avg", distribution="normal", fans=fans)


def he_uniform(shape, rng, dtype="float32", *, gain=math.sqrt(2.0), mode="fan_in", fans=None):
    """Uniform in +-gain sqrt(3 / fan_in): keeps the variance through relu. He et al. 2015.

    mode="fan_out" keeps that of gradients instead.
    """
    return variance_scaling(shape, rng, dtype, scale=gain**2, mode=mode, fans=fans)


def he_normal(shape, rng, dtype="float32", *, gain=math.sqrt(2.0), mode="fan_in", fans=None):
    """Normal of variance gain**2 / fan_in: keeps the variance through relu. He et al. 2015.

    mode="fan_out" keeps that of gradients instead.
    """
    return variance_scaling(shape, rng, dtype, scale=gain**2, mode=mode, distribution="normal", fans=fans)


def lecun_uniform(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-sqrt(3 / fan_in). LeCun et al. 1998."""
    return variance_scaling(shape, rng, dtype, fans=fans)


def lecun_normal(shape, rng, dtype="float32", *, fans=None):
    """Normal of variance 1 / fan_in. LeCun et al. 1998; what selu assumes."""
    return variance_scaling(shape, rng, dtype, distribution="normal", fans=fans)


def pytorch_linear(shape, rng, dtype="float32", *, fans=None):
    """Uniform in +-1 / sqrt(fan_in), for weight and bias alike: how PyTorch's Linear starts."""
    return variance_scaling(shape, rng, dtype, scale=1.0 / 3.0, fans=fans)


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal


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
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer. Saxe et al. 2014.

    Of a kernel (out, in, ...), all axes but the first count as one.
    """
    if len(shape) < 2:
        raise ShapeError(f"orthogonal: shape {tuple(shape)} is not that of a matrix.")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -gain, gain)  # QR fixes the signs of q; those of r make it uniform
    return np.ascontiguousarray(q if rows >= columns else q.T, _float(dtype)).reshape(shape)


def identity(shape, rng=None, dtype="float32", *, gain=1.0):
    """gain on the diagonal, else 0: as much of x as fits. Le et al. 2015 start recurrent relu layers with it."""
    if len(shape) != 2:
        raise ShapeError(f"identity: shape {tuple(shape)} is not that of a matrix. Of a kernel, dirac is the identity.")
    return gain * np.eye(*shape, dtype=_float(dtype))


def dirac(shape, rng=None, dtype="float32"):
    """A kernel (out, in, ...) that hands channel i on to channel i as it is: 1 in its middle, else 0."""
    if len(shape) < 3:
        raise ShapeError(f"dirac: shape {tuple(shape)} is not that of a kernel (out, in, ...). Use identity.")
    kernel = np.zeros(shape, _float(dtype))
    channels = np.arange(min(shape[:2]))
    kernel[(channels, channels, *(n // 2 for n in shape[2:]))] = 1.0
    return kernel


def sparse(shape, rng, dtype="float32", *, sparsity=0.9, std=0.01):
    """Normal of deviation std; this share of each unit's incoming weights, rounded down, is 0. Martens 2010."""
    if len(shape) != 2:
        raise ShapeError(f"sparse: shape {tuple(shape)} is not that of a matrix.")
    if not 0 <= sparsity <= 1:
        raise SettingError(f"sparse: sparsity={sparsity!r}. Give a share from 0 to 1.")
    weights = rng.normal(0.0, std, shape)
    order = rng.permuted(np.tile(np.arange(shape[0])[:, None], (1, shape[1])), axis=0)
    weights[order < math.floor(sparsity * shape[0])] = 0.0
    return weights.astype(_float(dtype))


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
    constant, dirac, glorot_normal, glorot_uniform, he_normal, he_uniform, identity, lecun_normal, lecun_uniform,
    normal, ones, orthogonal, pytorch_linear, sparse, truncated_normal, uniform, variance_scaling, zeros,
)  # fmt: skip
_ALIASES = {"eye": identity, "kaiming_normal": he_normal, "kaiming_uniform": he_uniform, "torch": pytorch_linear,
            "xavier_normal": glorot_normal, "xavier_uniform": glorot_uniform}  # fmt: skip
INITIALISERS = {f.__name__: f for f in _FUNCTIONS} | _ALIASES
_BY_FANS = {name for name, f in INITIALISERS.items() if "fans" in (f.__kwdefaults__ or ())}


def _fans(shape, fans):
    if fans is not None:
        return fans
    if len(shape) < 2:
        raise ShapeError(f"init: fan_in and fan_out of shape {tuple(shape)} are unknown. Pass fans=(fan_in, fan_out).")
    if len(shape) == 2:
        return shape
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places


def _float(dtype):
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DtypeError(f"dtype={dtype!r} is none. Ask for float32 or float64.") from None
    if dtype not in (np.float32, np.float64):
        raise DtypeError(f"parameters of dtype {dtype}. Ask for float32 or float64.")
    return dtype
