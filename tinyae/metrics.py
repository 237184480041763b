"""Numbers by which models are compared: how well scores tell classes apart, how likely rows are, whether chains mix.

Functions of arrays, in float64, without a model: what they are given may come from anywhere.

Ring 5. Must not know models.
"""

import numpy as np

from .errors import DataError, SettingError, ShapeError
from .formats import bad_values

__all__ = ["parzen", "parzen_bandwidth", "r_hat", "roc_auc"]

_BLOCK = 1 << 22  # distances that are held at a time, 32 MB


def roc_auc(positive, score):
    """The area under the ROC curve: the chance that a positive's score is above a negative's, ties counting half.

    ``(sum of the positives' ranks - p (p + 1) / 2) / (p q)`` for p positives and q negatives, equal scores sharing the
    mean of their ranks (Mann and Whitney 1947; Hanley and McNeil 1982). Shape: (n,), of truth values and of numbers.
    """
    positive, score = np.asarray(positive), np.asarray(score)
    if positive.ndim != 1 or positive.shape != score.shape:
        raise ShapeError(
            f"metrics.roc_auc: positive has shape {positive.shape}, score {score.shape}. Give two of the same length."
        )
    if np.isnan(score).any():
        raise DataError(f"metrics.roc_auc: score holds {np.isnan(score).sum()} NaN: they have no rank. Leave them out.")
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
    sigmas = np.atleast_1d(np.asarray(sigma, np.float64))
    if sigmas.ndim != 1 or not len(sigmas) or not (np.isfinite(sigmas) & (sigmas > 0)).all():
        raise SettingError(f"metrics.parzen: sigma={sigma!r}. Give a number above 0, or a sequence of such.")
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
            near = np.exp(away * (-0.5 / width**2)).mean(axis=1)
            found[k, i : i + step] = np.log(near) - np.maximum(nearest, 0.0) * (0.5 / width**2)
    found -= 0.5 * d * np.log(2 * np.pi * sigmas**2)[:, None]
    return found if np.ndim(sigma) else found[0]


def parzen_bandwidth(samples, X, sigmas=tuple(np.geomspace(0.05, 1.0, 27).tolist())):
    """Of these sigmas, the one for which `parzen` finds the rows of X most likely; X are rows kept for that.

    SettingError if it is the least or the greatest of several, since another might be better still.
    Shape: samples (n, d), X (rows, d).
    """
    sigmas = np.sort(np.atleast_1d(np.asarray(sigmas, np.float64)))
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
    chains = np.asarray(chains, np.float64)
    if chains.ndim not in (2, 3) or chains.shape[0] < 1 or chains.shape[1] < 4:
        raise ShapeError(
            f"metrics.r_hat: chains have shape {chains.shape}. Give (chains, places) or (chains, places, quantities), "
            "at least four places."
        )
    n = chains.shape[1] // 2
    halves = np.concatenate([chains[:, :n], chains[:, -n:]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((n - 1) / n + between / within)
    return ratio if chains.ndim == 3 else float(ratio)


def _tables(where, samples, X):
    """Both as finite float64 tables of equal width."""
    tables = {"samples": np.asarray(samples, np.float64), "X": np.asarray(X, np.float64)}
    shapes = {name: table.shape for name, table in tables.items()}
    if any(len(shape) != 2 or not shape[0] for shape in shapes.values()) or shapes["samples"][1] != shapes["X"][1]:
        raise ShapeError(f"{where}: samples {shapes['samples']}, X {shapes['X']}. Give (n, d) and (rows, d).")
    for name, table in tables.items():
        count, first = bad_values(table)
        if count:
            raise DataError(f"{where}: {name} holds {count} NaN or infinity, the first in row {first[0]}. Remove them.")
    return tables["samples"], tables["X"]
