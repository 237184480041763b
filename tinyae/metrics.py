"""Numbers by which models are compared: how well scores tell classes apart, how likely rows are, whether chains mix.

Functions of arrays, in float64, without a model: what they are given may come from anywhere.

Ring 5. Must not know models.
"""

import numpy as np

from .errors import DataError, DtypeError, SettingError, ShapeError
from .formats import bad_values

__all__ = ["parzen", "parzen_bandwidth", "r_hat", "roc_auc"]

_BLOCK = 1 << 22  # distances that are held at a time, 32 MB
_LARGEST = 1e150  # what has a square, and sums of many of them; its inverse likewise


def roc_auc(positive, score):
    """The area under the ROC curve: the chance that a positive's score is above a negative's, ties counting half.

    ``(sum of the positives' ranks - p (p + 1) / 2) / (p q)`` for p positives and q negatives, equal scores sharing the
    mean of their ranks (Mann and Whitney 1947; Hanley and McNeil 1982). Shape: (n,), of truth values and of numbers.
    """
    positive, score = _numbers("metrics.roc_auc", "positive", positive), _numbers("metrics.roc_auc", "score", score)
    if positive.ndim != 1 or positive.shape != score.shape:
        raise ShapeError(
            f"metrics.roc_auc: positive has shape {positive.shape}, score {score.shape}. Give two of the same length."
        )
    for name, values, why in (("score", score, "they have no rank"), ("positive", positive, "they say neither")):
        if np.isnan(values).any():
            raise DataError(f"metrics.roc_auc: {name} holds {np.isnan(values).sum()} NaN: {why}. Leave them out.")
    positive = positive.astype(bool)
    p, q = int(positive.sum()), int((~positive).sum())
    if not p or not q:
        raise DataError(f"metrics.roc_auc: {p} positive(s) and {q} negative(s). Give at least one of each.")
    _, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * q))


def parzen(samples, X, sigma):
    """The log-likelihood of rows, in nats, under a Gaussian around each sample: a Parzen window.

    ``log p(x) = log mean_i exp(-|x - s_i|**2 / (2 sigma**2)) - d / 2 log(2 pi sigma**2)``, d the number of features.
    Breuleux, Bengio and Vincent 2011, for models that can be drawn from and have no density. It is a crude measure in
    many dimensions (Theis, van den Oord and Bethge 2016): compare only numbers of equally many samples, each with the
    sigma that suits it best on other rows, `parzen_bandwidth`.

    Shape: samples (n, d), X (rows, d) -> (rows,); for a sequence of k sigmas (k, rows).
    """
    samples, X = _tables("metrics.parzen", samples, X)
    sigmas = _sigmas("metrics.parzen", "sigma", sigma)
    centre = samples.mean(axis=0)
    samples, X = samples - centre, X - centre  # |x|**2 + |s|**2 - 2 x s cancels the less, the smaller they are
    n, d = samples.shape
    squares = np.einsum("ij,ij->i", samples, samples)
    found = np.empty((len(sigmas), len(X)))
    step = max(1, _BLOCK // n)
    for i in range(0, len(X), step):
        part = X[i : i + step]
        away = part @ samples.T
        away *= -2.0
        away += squares
        nearest = away.min(axis=1)
        away -= nearest[:, None]
        nearest += np.einsum("ij,ij->i", part, part)
        for k, width in enumerate(sigmas):
            with np.errstate(over="ignore"):  # so far away that the density is 0
                near = np.exp(away * (-0.5 / width**2)).mean(axis=1)
                found[k, i : i + step] = np.log(near) - np.maximum(nearest, 0.0) * (0.5 / width**2)
    found -= 0.5 * d * np.log(2 * np.pi * sigmas**2)[:, None]
    return found if np.ndim(sigma) else found[0]


def parzen_bandwidth(samples, X, sigmas=tuple(np.geomspace(0.05, 1.0, 27).tolist())):
    """Of these sigmas, the one for which `parzen` finds the rows of X most likely; X are rows kept for that.

    SettingError if it is the least or the greatest of several, since another might be better still.
    Shape: samples (n, d), X (rows, d).
    """
    sigmas = np.unique(_sigmas("metrics.parzen_bandwidth", "sigmas", sigmas))
    best = int(parzen(samples, X, sigmas).mean(axis=1).argmax())
    if len(sigmas) > 2 and best in (0, len(sigmas) - 1):
        which, more = ("greatest", "greater") if best else ("least", "smaller")
        raise SettingError(f"metrics.parzen_bandwidth: {sigmas[best]:.4g}, the {which}, is best. Give {more} ones too.")
    return float(sigmas[best])


def r_hat(chains):
    """How much wider all chains together are than one alone: near 1 if they have forgotten where they began.

    ``sqrt(((n - 1) / n W + B / n) / W)``: W is the mean variance within a chain, B / n the variance of the chains'
    means. Each chain is cut into halves, so that one that still drifts is found too (Gelman and Rubin 1992; Gelman et
    al. 2013). Above 1.1 they have certainly not mixed. A quantity that never moves has no r_hat: NaN.

    Shape: (chains, places) or (chains, places, quantities) -> a number or (quantities,). Four places at least.
    """
    chains = _numbers("metrics.r_hat", "chains", chains).astype(np.float64)
    if chains.ndim not in (2, 3) or 0 in chains.shape or chains.shape[1] < 4:
        raise ShapeError(
            f"metrics.r_hat: chains have shape {chains.shape}. Give (chains, places) or (chains, places, quantities), "
            "at least four places."
        )
    _check_values("metrics.r_hat", "chains", chains)
    n = chains.shape[1] // 2
    halves = np.concatenate([chains[:, :n], chains[:, -n:]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((n - 1) / n + between / within)
    return ratio if chains.ndim == 3 else float(ratio)


def _tables(where, samples, X):
    """Both as finite float64 tables of equal width."""
    tables = {"samples": samples, "X": X}
    tables = {name: _numbers(where, name, table).astype(np.float64, copy=False) for name, table in tables.items()}
    shapes = {name: table.shape for name, table in tables.items()}
    if any(len(shape) != 2 or 0 in shape for shape in shapes.values()) or shapes["samples"][1] != shapes["X"][1]:
        raise ShapeError(f"{where}: samples {shapes['samples']}, X {shapes['X']}. Give (n, d) and (rows, d).")
    for name, table in tables.items():
        _check_values(where, name, table)
    return tables["samples"], tables["X"]


def _numbers(where, name, values):
    """values as an array of real numbers."""
    try:
        values = np.asarray(values)
        values = values.astype(np.float64) if values.dtype == object else values
    except (TypeError, ValueError) as problem:
        raise DtypeError(f"{where}: {name} cannot be read: {problem}. Give numbers.") from None
    if values.dtype.kind not in "biuf":
        raise DtypeError(f"{where}: {name} has dtype {values.dtype}. Give real numbers.")
    return values


def _check_values(where, name, values):
    """Refuse what is not finite, or too large for a square. Shape: (rows, ...)."""
    count, first = bad_values(values.reshape(len(values), -1))
    if count:
        raise DataError(f"{where}: {name} holds {count} NaN or infinity, the first in row {first[0]}. Remove them.")
    low, high = values.min(), values.max()
    if max(-low, high) > _LARGEST:
        raise DataError(f"{where}: {name} goes from {low:.3g} to {high:.3g}: its squares overflow. Scale it.")


def _sigmas(where, name, sigmas):
    """One sigma or several as an array of numbers that have a square."""
    widths = np.atleast_1d(_numbers(where, name, sigmas).astype(np.float64))
    if widths.ndim != 1 or not len(widths) or not ((widths >= 1 / _LARGEST) & (widths <= _LARGEST)).all():
        raise SettingError(
            f"{where}: {name}={sigmas!r}. Give a number above 0, or a sequence of such, from {1 / _LARGEST:g} to "
            f"{_LARGEST:g}."
        )
    return widths
