"""What people do with codes: walk between them, move one component, look for neighbours, count the silent, store them.

Every method asks for codes and ``inverse_transform`` only, so that it serves each autoencoder alike.

Ring 6. Must not know how a model is trained.
"""

import numpy as np

from ..data import as_float
from ..errors import DataError, DtypeError, SettingError, ShapeError

__all__ = ["Latent", "counted", "numpy_generator"]


class Latent:
    """The methods that every fitted autoencoder has for its codes."""

    def interpolate(self, start, end, steps=8, how="linear"):
        """Reconstructions on the way from one row to another, through their codes.

        how="linear" takes z = (1 - t) z0 + t z1. how="spherical" turns z0 into z1 at constant speed (White 2016):
        z = (sin((1 - t) w) z0 + sin(t w) z1) / sin w, w the angle between them; it keeps to the shell on which
        normal codes of many components lie.

        Shape: start, end (features,) -> (steps, features), the first and last being theirs.
        """
        if how not in ("linear", "spherical"):
            raise SettingError(f'{type(self).__name__}.interpolate: how={how!r}. Choose "linear" or "spherical".')
        t = np.linspace(0.0, 1.0, counted(self, "interpolate", "steps", steps, 2))[:, None]
        rows = np.stack([_row(self, "interpolate", row) for row in (start, end)])
        z0, z1 = self._codes(rows, "interpolate", named=False).astype(np.float64)
        a, b = 1.0 - t, t
        if how == "spherical":
            lengths = np.linalg.norm(z0) * np.linalg.norm(z1)
            w = np.arccos(np.clip(z0 @ z1 / lengths, -1.0, 1.0)) if lengths else 0.0
            if 1e-6 < w < np.pi - 1e-6:  # else the straight line is the arc, or there is no one arc
                a, b = np.sin(a * w) / np.sin(w), np.sin(b * w) / np.sin(w)
        return self.inverse_transform((a * z0 + b * z1).astype(self.dtype))

    def traverse(self, x, values=(-2.0, -1.0, 0.0, 1.0, 2.0), components=None):
        """Reconstructions of x's code with one component after another set to each of some values.

        components are the numbers of those to be moved; None moves all of them.

        Shape: x (features,) -> (components, values, features).
        """
        code = self._codes(_row(self, "traverse", x)[None], "traverse", named=False)[0]
        components = range(len(code)) if components is None else components
        wrong = [j for j in components if not isinstance(j, (int, np.integer)) or not -len(code) <= j < len(code)]
        if wrong:
            raise SettingError(
                f"{type(self).__name__}.traverse: components={components!r}; there are 0 to {len(code) - 1}."
            )
        values = np.asarray(values, self.dtype).ravel()
        codes = np.tile(code, (len(components), len(values), 1))
        for i, j in enumerate(components):
            codes[i, :, j] = values
        return self.inverse_transform(codes.reshape(-1, len(code))).reshape(len(components), len(values), -1)

    def manifold(self, n=15, low=-2.0, high=2.0):
        """Reconstructions of an n by n grid of codes from low to high, for codes of two components.

        The first component grows from left to right, the second upwards. Shape: -> (n, n, features).
        """
        self._check_fitted("manifold")
        if self.n_components_ != 2:
            raise SettingError(
                f"{type(self).__name__}.manifold: codes have {self.n_components_} components; a grid needs two. "
                "Use traverse for others."
            )
        n = counted(self, "manifold", "n", n, 2)
        grid = np.stack(np.meshgrid(*self._grid_axes(n, low, high)), axis=-1)[::-1]
        return self.inverse_transform(grid.reshape(-1, 2).astype(self.dtype)).reshape(n, n, -1)

    def _grid_axes(self, n, low, high):
        return (np.linspace(low, high, n),) * 2

    def neighbours(self, X, query, k=5):
        """(indices, distances) of the k rows of X whose codes are nearest to those of the query rows, nearest first.

        Image retrieval by Euclidean distance. Shape: X (rows, features), query (queries, features) -> (queries, k)
        twice.
        """
        codes, asked = (self._codes(rows, "neighbours").astype(np.float64) for rows in (X, query))
        k = counted(self, "neighbours", "k", k, 1)
        if k > len(codes):
            raise SettingError(f"{type(self).__name__}.neighbours: k={k} of {len(codes)} rows. Ask for fewer.")
        indices, distances = np.empty((len(asked), k), np.intp), np.empty((len(asked), k))
        for i, z in enumerate(asked):  # one at a time: all differences at once might not fit in memory
            away = np.linalg.norm(codes - z, axis=1)
            indices[i] = np.argsort(away, kind="stable")[:k]
            distances[i] = away[indices[i]]
        return indices, distances

    def code_histogram(self, X, bins=50):
        """numpy.histogram of all values in the codes of X: (counts, edges). Shape: -> (bins,), (bins + 1,)."""
        return np.histogram(self._codes(X, "code_histogram"), bins=bins)

    def fraction_of_zero_codes(self, X, tolerance=0.0):
        """The share of values in the codes of X that are at most tolerance away from 0: how sparse the code is."""
        if not tolerance >= 0:
            raise SettingError(
                f"{type(self).__name__}.fraction_of_zero_codes: tolerance={tolerance!r}. Give a number of at least 0."
            )
        return float(np.mean(np.abs(self._codes(X, "fraction_of_zero_codes")) <= tolerance))

    def activity(self, X, threshold=0.0):
        """(mean, share of the rows with |z_j| > threshold) of every unit j of the code over the rows of X.

        A unit whose share is 0 is dead. Shape: (rows, features) -> (n_components,) twice.
        """
        if not threshold >= 0:
            raise SettingError(
                f"{type(self).__name__}.activity: threshold={threshold!r}. Give a number of at least 0."
            )
        codes = self._codes(X, "activity").astype(np.float64)
        return codes.mean(axis=0), np.mean(np.abs(codes) > threshold, axis=0)

    def compress(self, X, bits=8, ranges=None):
        """The codes of X as whole numbers of so many bits, and what `decompress` needs to read them: (levels, ranges).

        ``q_j = floor((z_j - low_j) / (high_j - low_j) * 2**bits)``, at least 0 and at most 2**bits - 1: as many equal
        steps for every component. ranges holds low and high of every component; None takes the least and the largest
        of X. Rows that are to be stored later need those of the first ones: ``ranges=ranges``.

        Shape: X (rows, features) -> (rows, n_components) of int, ranges (2, n_components).
        """
        return self._quantise(self._codes(X, "compress"), bits, ranges)

    def _quantise(self, codes, bits, ranges):
        count, codes = 1 << _bits(self, "compress", bits), codes.astype(np.float64)
        ranges = _ranges(self, "compress", np.stack([codes.min(axis=0), codes.max(axis=0)]) if ranges is None
                         else ranges)  # fmt: skip
        low, high = ranges
        with np.errstate(over="ignore"):  # what lies that far outside takes the nearest step, too
            steps = np.floor((codes - low) / np.where(high > low, high - low, 1.0) * count)
        return np.clip(steps, 0, count - 1).astype(np.int64), ranges

    def decompress(self, levels, ranges, bits=8):
        """The reconstructions of what `compress` gave, each code in the middle of its step.

        ``z_j = low_j + (q_j + 1/2) / 2**bits * (high_j - low_j)``. Shape: (rows, n_components) -> (rows, features).
        """
        self._check_fitted("decompress")
        count = 1 << _bits(self, "decompress", bits)
        low, high = _ranges(self, "decompress", ranges)
        levels = self._check_table(levels, "decompress", self.n_components_, "levels")
        if levels.dtype.kind not in "iu" or levels.min() < 0 or levels.max() >= count:
            raise DataError(
                f"{type(self).__name__}.decompress: levels of dtype {levels.dtype} from {levels.min()} to "
                f"{levels.max()}. Give what compress gave: whole numbers from 0 to {count - 1}, of bits={bits}."
            )
        return self.inverse_transform((low + (levels + 0.5) / count * (high - low)).astype(self.dtype))

    def rate_distortion(self, X, bits=(1, 2, 3, 4, 6, 8), ranges=None):
        """What X costs as codes of some numbers of bits, and what that loses: (plain, entropy, error).

        plain: ``bits * n_components`` per row. entropy: ``-sum_j sum_q p_jq log2 p_jq`` per row, p_jq the share of
        the rows of X in which component j is q: what an ideal coder needs that knows these shares and takes each
        component for itself. error: the mean of (x_hat - x)**2 over rows and features. The decoder and the ranges are
        not counted. Shape: bits (b,) -> (b,) thrice.
        """
        X = self._check_input(X, "rate_distortion")
        codes = self._encoded(X)
        clean = as_float(X, dtype=np.float64)  # bytes divided, as by transform
        if not np.iterable(bits):
            raise SettingError(f"{type(self).__name__}.rate_distortion: bits={bits!r}. Give a sequence, ({bits!r},).")
        table = []
        for b in bits:
            levels, ranges_of = self._quantise(codes, b, ranges)
            shares = [np.unique(column, return_counts=True)[1] / len(levels) for column in levels.T]
            entropy = sum(np.sum(p * np.log2(1 / p)) for p in shares)
            error = np.mean(np.square(self.decompress(levels, ranges_of, b) - clean))
            table.append((b * levels.shape[1], entropy, error))
        return tuple(np.array(table, np.float64).reshape(-1, 3).T)


def _bits(model, action, bits):
    bits = counted(model, action, "bits", bits, 1)
    if bits > 32:
        raise SettingError(f"{type(model).__name__}.{action}: bits={bits}. Give at most 32; a float32 has 24.")
    return bits


def _ranges(model, action, ranges):
    where = f"{type(model).__name__}.{action}"
    try:
        ranges = np.asarray(ranges)
        if ranges.dtype.kind not in "biufO":
            raise TypeError(f"they are {ranges.dtype}")
        ranges = ranges.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise DtypeError(f"{where}: ranges are no numbers: {problem}. Give what compress gave.") from None
    if ranges.shape != (2, model.n_components_):
        raise ShapeError(
            f"{where}: ranges has shape {ranges.shape}, expected (2, {model.n_components_}). Give what compress gave."
        )
    low, high = ranges
    with np.errstate(over="ignore", invalid="ignore"):
        good = (low <= high) & (np.maximum(-low, high) <= np.finfo(model.dtype).max) & np.isfinite(high - low)
    if not good.all():
        j = int(np.argmin(good))
        raise DataError(
            f"{where}: the range of component {j} is from {low[j]:g} to {high[j]:g}. Give finite numbers of "
            f"{model.dtype}, the lower first."
        )
    return ranges


def numpy_generator(seed):
    """The NumPy generator that a random_state stands for."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, np.random.RandomState):
        return np.random.default_rng(seed.randint(2**31))
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise SettingError(f"random_state={seed!r}. Give an int of at least 0, a numpy generator or None.") from None


def _row(model, action, row):
    row = np.asarray(row)
    if row.ndim != 1:
        raise ShapeError(f"{type(model).__name__}.{action}: expected one row (features,), not shape {row.shape}.")
    return row


def counted(model, action, name, n, least):
    """n as an int; SettingError if it is none, or less than least."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
        raise SettingError(f"{type(model).__name__}.{action}: {name}={n!r}. Give a whole number of at least {least}.")
    return int(n)
