"""What people do with codes: walk between them, move one component, look for neighbours, count the silent ones.

Every method asks ``transform`` and ``inverse_transform`` only, so that it serves each autoencoder alike.

Ring 6. Must not know how a model is trained.
"""

import numpy as np

from ..errors import SettingError, ShapeError

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
        z0, z1 = self.transform(np.stack([_row(self, "interpolate", row) for row in (start, end)])).astype(np.float64)
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
        code = self.transform(_row(self, "traverse", x)[None])[0]
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
        codes, asked = self.transform(X).astype(np.float64), self.transform(query).astype(np.float64)
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
        return np.histogram(self.transform(X), bins=bins)

    def fraction_of_zero_codes(self, X, tolerance=0.0):
        """The share of values in the codes of X that are at most tolerance away from 0: how sparse the code is."""
        if not tolerance >= 0:
            raise SettingError(
                f"{type(self).__name__}.fraction_of_zero_codes: tolerance={tolerance!r}. Give a number of at least 0."
            )
        return float(np.mean(np.abs(self.transform(X)) <= tolerance))


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
