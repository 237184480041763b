"""What is said about autoencoders, shown: one claim each, a picture, and the numbers that make it true or not.

    from tinyae.show import show
    figure, line = show("pca")

Every claim trains what it needs within seconds on the embedded digits, and measures on rows that were held out. A claim
is a function of (data, seed, epochs) in `CLAIMS`, beside the sentence that it shows; the numbers are this run's own.
It returns a figure, a line of numbers, and {bound: whether the numbers keep it}: on other data, or after fewer epochs,
a claim may not hold, and then that is what is said.

Ring 7. Read it as examples of what models and ``plot.py`` can do. Must not know the command line.
"""

import contextlib
import io
from typing import Any, NamedTuple

import numpy as np

from . import nn, plot
from .ae import (
    VAE, Autoencoder, BetaVAE, DeepAutoencoder, DenoisingAutoencoder, LinearAutoencoder, SparseAutoencoder,
    WalkbackAutoencoder,
)  # fmt: skip
from .data import Dataset, as_float, load_data
from .errors import DataError, DataNotFoundError, MissingExtraError, SettingError

__all__ = ["CLAIMS", "Finding", "examine", "show"]

CLAIMS = {}  # name: (sentence, function of data, seed and epochs -> (figure, line, {bound: kept}))
_ROWS, _ROWS_TEST = 2000, 500  # of large datasets; the digits are 1,438 and 359


class Finding(NamedTuple):
    """What came of a claim: its name and sentence, the matplotlib Figure, the numbers in a line, and the bounds that
    decide, each with whether the numbers keep it.
    """

    name: str
    sentence: str
    figure: Any
    line: str
    bounds: dict

    @property
    def holds(self):
        """Whether every bound is kept."""
        return all(self.bounds.values())

    @property
    def verdict(self):
        """One line: the claim holds here, by which bounds; or it does not, and which are not kept."""
        if self.holds:
            return f"holds here: {'; '.join(self.bounds)}"
        return f"does not hold here, not so: {'; '.join(bound for bound, kept in self.bounds.items() if not kept)}"


def show(name, data="digits", seed=0, epochs=None):
    """`examine` in short: (matplotlib Figure, one line of the numbers and of whether the claim holds here)."""
    finding = examine(name, data, seed, epochs)
    return finding.figure, f"{finding.line}; {finding.verdict}"


def examine(name, data="digits", seed=0, epochs=None):
    """Train what the claim of that name is about, measure, and judge: a `Finding`.

    Parameters
    ----------
    name : str
        One of `CLAIMS`.
    data : str
        As for `load_data`; images with labels. Of more than 2,000 rows the first 2,000 are trained on, and the first
        500 of those held out are measured.
    seed : int
        Of the weights, the batches and the noise.
    epochs : int or None
        Passes over the data; None: as many as the claim needs on digits.
    """
    if name not in CLAIMS:
        raise SettingError(f"show: there is no claim {name!r}. There are: {', '.join(CLAIMS)}.")
    plot.require()  # before the training, not after it
    for setting, value, least in (("seed", seed, 0), ("epochs", 1 if epochs is None else epochs, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise SettingError(f"show: {setting}={value!r}. Give a whole number of at least {least}.")
    sentence, measure = CLAIMS[name]
    figure, line, bounds = measure(_images(data), seed, **({} if epochs is None else {"epochs": epochs}))
    return Finding(name, sentence, figure, line, {bound: bool(kept) for bound, kept in bounds.items()})


def _claim(name, sentence):
    def enter(function):
        CLAIMS[name] = sentence, function
        return function

    return enter


def _images(name):
    """The dataset as floats in [0, 1], not too many of them."""
    data = load_data(name).split()
    if data.image_shape is None or len(data.image_shape) != 2 or data.y is None:
        raise DataError(f"show: {data.name} has no grey images with labels. Give digits, mnist or fashion-mnist.")
    X, X_test = (as_float(X[:n], data.scale) for X, n in ((data.X, _ROWS), (data.X_test, _ROWS_TEST)))
    y, y_test = data.y[:_ROWS], data.y_test[:_ROWS_TEST]
    return Dataset(X, y, X_test, y_test, name=data.name, image_shape=data.image_shape)


def _mse(a, b):
    return float(np.mean(np.square(a - b, dtype=np.float64)))


def _nearest(X, data):
    """The mean distance of the rows of X to the nearest training image: large for what is no image of that kind."""
    squares = np.sum(data.X**2, axis=1)
    squared = np.sum(X**2, axis=1)[:, None] - 2.0 * X @ data.X.T + squares
    return float(np.mean(np.sqrt(np.maximum(squared.min(axis=1), 0.0))))


def _principal(X):
    """(mean, variances, principal axes as rows), the largest variance first."""
    mean = X.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh((X - mean).T @ (X - mean) / len(X))
    return mean, variances[::-1], axes.T[::-1]


# -- variational ----------------------------------------------------------------------------------------------------


class _PriorOnly(VAE):
    """A VAE that is told nothing but the KL term."""

    def compare(self, a, target):
        return {"nll": 0.0 * super().compare(a, target)["nll"]}

    def _kl_weight(self):
        return 0.0  # it collapses, as it should: nothing to warn of


@_claim("latent-maps", "Reconstruction alone scatters a VAE's codes, the KL term alone piles them up; both make a map.")
def _latent_maps(data, seed, epochs=100):
    kinds = {"reconstruction only": BetaVAE(2, beta=0.0), "KL only": _PriorOnly(2), "both": VAE(2)}
    maps, told, terms = {}, [], {}
    for label, model in kinds.items():
        model.set_params(hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
        mu, sigma = model.posterior(data.X_test)
        kl = float(np.mean(np.sum(0.5 * (mu**2 + sigma**2 - 1.0) - np.log(sigma), axis=1, dtype=np.float64)))
        p = np.clip(model.reconstruct(data.X_test), 1e-7, 1 - 1e-7)
        nll = -float(np.mean(np.sum(data.X_test * np.log(p) + (1 - data.X_test) * np.log(1 - p), axis=1)))
        terms[label] = nll, kl
        maps[f"{label}\n{nll:.1f} nats, KL {kl:.1f}"] = model
        told.append(f"{label}: {nll:.1f} nats + KL {kl:.1f}")
    (alone, wide), (blind, none), (both, between) = terms.values()
    return plot.latent(maps, data.X_test, data.y_test), "; ".join(told), {
        "both reconstruct nearly as well as reconstruction only, and better than KL only":
            both < alone + 0.05 * abs(alone) and both < blind - 1,
        "their KL lies between the others'": none < 0.1 < between < wide / 2,
    }  # fmt: skip


@_claim("sigma-to-zero", "Without the KL term nothing keeps a VAE's noise up: the posterior's sigma falls towards 0.")
def _sigma_to_zero(data, seed, epochs=150):
    lines = {}
    for beta in (1.0, 0.0):
        widths = []
        BetaVAE(8, beta=beta, hidden=(128,), max_iter=epochs, random_state=seed).fit(
            data.X, callbacks=lambda model, row: widths.append(np.mean(model.posterior_width(data.X_test)))
        )
        lines[f"KL term's weight {beta:g}"] = range(1, len(widths) + 1), widths
    (_, with_kl), (_, without) = lines.values()
    line = f"mean sigma after {len(without)} epochs: {with_kl[-1]:.4f} with the KL term, {without[-1]:.4f} without it"
    return plot.curves(lines, "epoch", "mean sigma of the posterior", log="y"), line, {
        "without the KL term sigma is a tenth of what it is with it, or less": without[-1] < with_kl[-1] / 10,
    }  # fmt: skip


@_claim("random-codes", "Of random codes a VAE's decoder makes images; what a plain one makes is further from any.")
def _random_codes(data, seed, epochs=100):
    settings = {"hidden": (128,), "max_iter": epochs, "random_state": seed}
    plain = Autoencoder(8, code_activation="linear", loss="bce", **settings).fit(data.X)
    vae = VAE(8, **settings).fit(data.X)
    z = np.random.default_rng(seed).standard_normal((200, 8)).astype(np.float32)
    codes = plain.transform(data.X)
    scaled = codes.mean(axis=0) + z * codes.std(axis=0)
    drawn = {
        "held out": data.X_test, "plain": plain.inverse_transform(z),
        "plain, scaled as its codes": plain.inverse_transform(scaled), "VAE": vae.inverse_transform(z),
    }  # fmt: skip
    away = {label: _nearest(rows, data) for label, rows in drawn.items()}
    line = "distance to the nearest training image: " + "; ".join(f"{k} {v:.2f}" for k, v in away.items())
    return plot.images({label: rows[:12] for label, rows in drawn.items()}, data.image_shape), line, {
        "the plain model's images are further away than the VAE's":
            away["VAE"] < min(away["plain"], away["plain, scaled as its codes"]),
        "the VAE's are nearly as near as images held out": away["VAE"] < 1.2 * away["held out"],
    }  # fmt: skip


@_claim("manifold", "The plane of a VAE's two components is filled with images that change smoothly into each other.")
def _manifold(data, seed, epochs=150):
    model = VAE(2, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    grid = model.manifold(15)
    step = np.mean(np.linalg.norm(np.diff(grid, axis=1), axis=-1))
    apart = np.mean(np.linalg.norm(data.X[1:] - data.X[:-1], axis=1))
    near = _nearest(grid.reshape(225, -1), data)
    return plot.manifold(model, data.image_shape), (
        f"neighbours on the grid are {step:.2f} apart, two training images {apart:.2f}; "
        f"to the nearest of these it is {near:.2f}"), {
        "a step on the grid is less than a quarter of the way between two images": step < apart / 4,
        "what is on the grid is nearer to an image than half that way": near < apart / 2,
    }  # fmt: skip


@_claim("traversal", "A component that a VAE uses changes the image; one that it leaves to the prior hardly does.")
def _traversal(data, seed, epochs=150):
    model = VAE(10, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    active = model.active_units(data.X_test, threshold=0.1)
    order = np.argsort(model.posterior_width(data.X_test), kind="stable")
    moved = np.mean([np.ptp(model.traverse(x, (-2.0, 2.0)), axis=1).mean(axis=1) for x in data.X_test[:20]], axis=0)
    figure = plot.traversal(model, data.X_test[0], data.image_shape, components=order.tolist())
    used, unused = (f"{moved[which].mean():.4f}" if which.any() else "none" for which in (active, ~active))
    return figure, (f"{active.sum()} of 10 components are used; from -2 to 2 a pixel moves by {used} on average, "
                    f"for the others by {unused}"), {
        "some components are used and some are not": active.any() and not active.all(),
        "the used ones move a pixel five times as much as the others":
            active.any() and not active.all() and moved[active].mean() > 5 * moved[~active].mean(),
    }  # fmt: skip


@_claim("interpolation", "Half way between two codes is one image; half way between their pixels are two pale ones.")
def _interpolation(data, seed, epochs=100):
    model = VAE(8, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    half = min(60, len(data.X_test) // 2)
    starts, ends = data.X_test[:half], data.X_test[half : 2 * half]
    middle = {"pixels": (starts + ends) / 2}
    for how in ("linear", "spherical"):
        middle[f"codes, {how}"] = np.stack([model.interpolate(a, b, 3, how)[1] for a, b in zip(starts, ends)])
    away = {label: _nearest(rows, data) for label, rows in middle.items()}
    line = "; ".join(f"{label} {distance:.2f}" for label, distance in away.items())
    first = int(np.argmax(data.y_test[:half] != data.y_test[half : 2 * half]))
    figure = plot.interpolation(model, starts[first], ends[first], data.image_shape)
    return figure, f"distance from the middle to the nearest training image: {line}", {
        "either way between codes stays nearer to images than the pixels' way":
            max(away["codes, linear"], away["codes, spherical"]) < away["pixels"],
    }  # fmt: skip


@_claim("kl-curve", "KL to the prior is 0 at mean 0 and sigma 1, and grows with every step away from there.")
def _kl_curve(data, seed, epochs=1):
    mu, sigma = np.linspace(-3, 3, 121), np.linspace(0.05, 3, 119)
    by_mean = np.asarray(nn.kl_normal(mu, np.zeros_like(mu), reduction="none"))
    by_sigma = np.asarray(nn.kl_normal(np.zeros_like(sigma), 2 * np.log(sigma), reduction="none"))
    figure = plot.curves({"of the mean, sigma 1": (mu, by_mean), "of sigma, mean 0": (sigma, by_sigma)},
                         "mean, or sigma", "KL to N(0, 1) in nats")  # fmt: skip
    least = mu[by_mean.argmin()], sigma[by_sigma.argmin()]
    return figure, (f"least at mean {least[0]:.3f}, {by_mean.min():.4f}, and at sigma {least[1]:.3f}, "
                    f"{by_sigma.min():.4f}"), {
        "the least is zero": max(by_mean.min(), by_sigma.min()) < 1e-9 and min(by_mean.min(), by_sigma.min()) >= 0,
        "it rises on either side": all(
            np.all(np.diff(curve[: at + 1]) < 0) and np.all(np.diff(curve[at:]) > 0)
            for curve, at in ((by_mean, by_mean.argmin()), (by_sigma, by_sigma.argmin()))),
    }  # fmt: skip


@_claim("random-image", "Nearly all images are noise: one of random pixels looks like none that anybody took.")
def _random_image(data, seed, epochs=1):
    rng = np.random.default_rng(seed)
    height, width = data.image_shape
    drawn = {"real": data.X_test, "random pixels": rng.random(data.X_test.shape, np.float32),
             "each pixel of\nsome real one": rng.permuted(data.X_test, axis=0)}  # fmt: skip
    alike, away = [], []
    for X in drawn.values():
        centred = (X - X.mean(axis=0)).reshape(-1, height, width)
        left, right = centred[:, :, :-1], centred[:, :, 1:]
        alike.append(float(np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2))))
        away.append(_nearest(X, data))
    told = [f"{label.replace(chr(10), ' ')} {a:.2f}, {d:.2f}" for label, a, d in zip(drawn, alike, away)]
    return plot.images({label: X[:12] for label, X in drawn.items()}, data.image_shape), (
        f"correlation of neighbouring pixels, and distance to the nearest training image: {'; '.join(told)}"), {
        "only in real images do neighbouring pixels go together": alike[0] > 0.2 > 0.1 > max(map(abs, alike[1:])),
        "the others are further from any training image": away[0] < min(away[1:]),
    }  # fmt: skip


@_claim("posterior-bells", "A VAE says a little of each row: its bells are narrower than the prior's, and stand apart.")
def _posterior_bells(data, seed, epochs=100):
    model = VAE(4, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    mu, sigma = (part.astype(np.float64) for part in model.posterior(data.X_test))
    order = np.argsort(sigma.mean(axis=0), kind="stable")
    z = np.linspace(-4, 4, 401)
    bells = np.exp(-0.5 * ((z - mu[:12, order, None]) / sigma[:12, order, None]) ** 2) / (
        sigma[:12, order, None] * np.sqrt(2 * np.pi))  # fmt: skip
    total = mu.var(axis=0) + np.mean(sigma**2, axis=0)
    figure = plot.bells(z, {f"component {j}": rows for j, rows in zip(order, bells.swapaxes(0, 1))})
    return figure, (
        f"mean sigma per component: {', '.join(f'{s:.2f}' for s in sigma.mean(axis=0)[order])}; "
        f"variance of all rows together: {', '.join(f'{v:.2f}' for v in total[order])}"), {
        "the narrowest component is half as wide as the prior, or less": sigma.mean(axis=0).min() < 0.5,
        "all bells together are about as wide as the prior": bool(np.all(np.abs(np.log(total)) < np.log(2))),
    }  # fmt: skip


@_claim("code-correlations", "A plain model's components say in part the same things; those of a VAE do so less.")
def _code_correlations(data, seed, epochs=100):
    settings = {"hidden": (128,), "max_iter": epochs, "random_state": seed}
    models = {"plain": Autoencoder(8, code_activation="linear", loss="bce", **settings), "VAE": VAE(8, **settings)}
    tables, means = {}, {}
    for label, model in models.items():
        tables[label] = np.corrcoef(model.fit(data.X).transform(data.X_test).T)
        means[label] = np.abs(tables[label][~np.eye(8, dtype=bool)]).mean()
    return plot.matrices(tables), "mean |correlation| of two components: " + ", ".join(
        f"{label} {mean:.3f}" for label, mean in means.items()), {
        "the VAE's mean is less than the plain model's": means["VAE"] < means["plain"],
    }  # fmt: skip


@_claim("code-arithmetic", "The step from one class's mean code to another's turns images of the one into the other.")
def _code_arithmetic(data, seed, epochs=100):
    model = VAE(8, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    codes, held = model.transform(data.X), model.transform(data.X_test)
    classes = np.unique(data.y)
    means = {c: codes[data.y == c].mean(axis=0) for c in classes}
    hits, stays, shown = [], [], []
    squares = np.sum(data.X**2, axis=1)
    for a, b in zip(classes, np.roll(classes, -1)):
        z = held[data.y_test == a]
        if not len(z):
            continue
        moved = model.inverse_transform((z + means[b] - means[a]).astype(np.float32))
        found = data.y[np.argmin(squares - 2.0 * moved @ data.X.T, axis=1)]
        hits.append(np.mean(found == b))
        stays.append(np.mean(found == a))
        shown.append((data.X_test[data.y_test == a][0], moved[0]))
    before, after = (np.array(rows) for rows in zip(*shown))
    return plot.images({"image": before, "one class on": after}, data.image_shape), (
        f"of the images that were moved by one class the nearest training image is of the class meant: "
        f"{np.mean(hits):.0%}; still of their own: {np.mean(stays):.0%}"), {
        "more than half become the class meant": np.mean(hits) > 0.5,
    }  # fmt: skip


@_claim("two-factors", "Two components of a VAE change an image in two ways: a grid over both shows every pair.")
def _two_factors(data, seed, epochs=100):
    model = VAE(6, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    first, second = np.argsort(model.posterior_width(data.X_test), kind="stable")[:2]
    steps = np.linspace(-2, 2, 9)
    cosines = []
    for z in model.transform(data.X_test[:50]):
        grid = np.tile(z, (9, 9, 1))
        grid[..., first], grid[..., second] = steps[:, None], steps[None]
        images = model.inverse_transform(grid.reshape(81, -1)).reshape(9, 9, -1)
        down, along = images[-1].mean(axis=0) - images[0].mean(axis=0), images[:, -1].mean(0) - images[:, 0].mean(0)
        cosines.append(abs(down @ along) / (np.linalg.norm(down) * np.linalg.norm(along)))
        if len(cosines) == 1:
            rows = {f"component {first}\nat {steps[0]:g}": images[0]} | {
                f"{step:g}": row for step, row in zip(steps[1:], images[1:])}  # fmt: skip
    return plot.images(rows, data.image_shape), (
        f"|cosine| between what component {first} changes and what component {second} does: {np.mean(cosines):.2f}"), {
        "the two changes are more than sixty degrees apart": np.mean(cosines) < 0.5,
    }  # fmt: skip


# -- what a code can hold -------------------------------------------------------------------------------------------


@_claim("overcomplete-identity", "A linear net whose code is longer than its input learns to copy: x W V = x.")
def _overcomplete(data, seed, epochs=200):
    n = data.X.shape[1]
    products, errors = {}, []
    for k in (n // 4, 2 * n):
        model = LinearAutoencoder(k, lr=3e-3, max_iter=epochs, random_state=seed).fit(data.X)
        product = model.net_.encoder[0].weight.data @ model.net_.decoder[0].weight.data
        products[f"W V, code of {k}"] = product
        errors.append(_mse(model.reconstruct(data.X_test), data.X_test))
    _, variances, axes = _principal(data.X)
    span = axes[: 1 + np.argmax(np.cumsum(variances) > 0.999 * variances.sum())]
    off = np.abs(span @ product @ span.T - np.eye(len(span))).max()
    return plot.matrices(products), (
        f"error {errors[0]:.2g} with a code of {n // 4}, {errors[1]:.2g} with one of {2 * n}, whose W V differs from I "
        f"by at most {off:.3f} in the {len(span)} directions that hold 99.9 % of the variance"), {
        "the long code's error is a fiftieth of the short one's, or less": errors[1] < errors[0] / 50,
        "W V is the identity there, to one part in twenty": off < 0.05,
    }  # fmt: skip


@_claim("noise-incompressible", "Noise has nothing to leave out: of n numbers k keep k / n, and no net does better.")
def _noise(data, seed, epochs=100):
    n = data.X.shape[1]
    rng = np.random.default_rng(seed)
    noise = [rng.random(X.shape, np.float32) for X in (data.X, data.X_test)]
    lengths = [max(1, round(n * share)) for share in (1 / 16, 1 / 4, 1 / 2, 3 / 4)]
    lines = {"theory for noise": (np.array(lengths) / n, 1 - np.array(lengths) / n)}
    for label, (X, X_test) in {data.name: (data.X, data.X_test), "noise": noise}.items():
        nets = {"linear": LinearAutoencoder(lr=3e-3), "deep": DeepAutoencoder(hidden=(n,), code_activation="linear")}
        for kind, net in nets.items():
            left = []
            for k in lengths:
                net.set_params(n_components=k, max_iter=epochs, random_state=seed).fit(X)
                left.append(_mse(net.reconstruct(X_test), X_test) / _mse(X_test, X_test.mean(axis=0)))
            lines[f"{label}, {kind} net"] = np.array(lengths) / n, left
    at = [f"{label} {values[1]:.2f}" for label, (_, values) in lines.items()]
    figure = plot.curves(lines, "length of the code / number of features", "share of the variance that is lost",
                         dashed=("theory for noise",))  # fmt: skip
    lost = {label: np.asarray(values) for label, (_, values) in lines.items()}
    theory = lost["theory for noise"]
    noisy = [values for label, values in lost.items() if label.startswith("noise")]
    images = [values for label, values in lost.items() if label.startswith(f"{data.name}, ")]
    return figure, f"variance lost with {lengths[1]} of {n} numbers: {'; '.join(at)}", {
        "of noise no net loses less than theory says": all(np.all(values > theory - 0.03) for values in noisy),
        "of images every net loses less than half of that": all(values[1] < theory[1] / 2 for values in images),
    }  # fmt: skip


@_claim("foreign-data", "A model reconstructs what it was trained on, and no other kind of images.")
def _foreign(data, seed, epochs=100):
    model = DeepAutoencoder(16, hidden=(128,), max_iter=epochs, random_state=seed).fit(data.X)
    shuffled = np.random.default_rng(seed).permutation(data.X.shape[1])
    kinds = {data.name: data.X_test, "inverted": 1 - data.X_test, "shuffled pixels": data.X_test[:, shuffled]}
    for other in ("mnist", "fashion-mnist"):
        with contextlib.suppress(DataNotFoundError):
            images = _images(other)
            if other != data.name and images.image_shape == data.image_shape:
                kinds[other] = images.X_test
    rows, told, shares = {}, [], {}
    for label, X in kinds.items():
        back = model.reconstruct(X)
        lost = shares[label] = _mse(back, X) / _mse(X, X.mean(axis=0))
        rows |= {label: X[:12], f"back ({label})": back[:12]}
        told.append(f"{label} {lost:.2f}")
    line = f"error / variance: {', '.join(told)} (1: no better than the mean image)"
    own, *foreign = shares.values()
    return plot.images(rows, data.image_shape), line, {
        "of its own kind it loses less than half of the variance": own < 0.5,
        "with every other kind it is no better than that kind's mean image": min(foreign) > 1,
    }  # fmt: skip


@_claim("compression", "A net needs few bits for images like its own, down to some error; JPEG goes on, with any.")
def _compression(data, seed, epochs=150):
    n, X, other = data.X.shape[1], data.X_test, 1 - data.X_test
    net = DeepAutoencoder(n // 4, hidden=(4 * n,), code_activation="sigmoid", lr=2e-3, max_iter=epochs,
                          random_state=seed).fit(data.X)  # fmt: skip
    pca = _pca(data.X, n // 4)
    lines, bits = {}, (1, 2, 3, 4, 6, 8)
    for label, model in ((f"net, code of {n // 4}", net), (f"PCA, {n // 4} components", pca)):
        ranges = model.compress(data.X)[1]
        lines[label] = model.rate_distortion(X, bits, ranges)[1:]
    lines["JPEG"] = _jpeg(X, data.image_shape)
    lines["net, inverted images"] = net.rate_distortion(other, bits, net.compress(data.X)[1])[1:]
    lines["JPEG, inverted images"] = _jpeg(other, data.image_shape)
    rate, error = lines[f"net, code of {n // 4}"]
    jpeg_rate, jpeg_error = lines["JPEG"]
    needed = np.interp(-np.log(error[3]), -np.log(jpeg_error), jpeg_rate)
    figure = plot.curves(
        lines, "bits per image (entropy of the quantised codes; JPEG without header)", "mean squared error",
        log="xy", dashed=[label for label in lines if "inverted" in label])  # fmt: skip
    return figure, (
        f"error {error[3]:.4f} takes {rate[3]:.0f} bits, JPEG {needed:.0f}; with more the net ends at {error[-1]:.4f}, "
        f"JPEG at {jpeg_error[-1]:.2g}; on inverted images the net at {lines['net, inverted images'][1][-1]:.2f}, "
        f"JPEG at {lines['JPEG, inverted images'][1][-1]:.2g}"), {
        "at the error of four bits a number, the net takes fewer bits than JPEG": rate[3] < needed,
        "JPEG ends at a fiftieth of the net's least error, or less": jpeg_error[-1] < error[-1] / 50,
        "and so with inverted images":
            lines["JPEG, inverted images"][1][-1] < lines["net, inverted images"][1][-1] / 50,
    }  # fmt: skip


def _pca(X, k):
    """PCA as a model: a linear net with the weights that are known to be the best."""
    mean, _, axes = _principal(X)
    axes = axes[:k]
    model = LinearAutoencoder(k).build(X.shape[1])
    encoder, decoder = model.net_.encoder[0], model.net_.decoder[0]
    encoder.weight.data, encoder.bias.data = axes.T, -axes @ mean  # in place, as float32
    decoder.weight.data, decoder.bias.data = axes, mean
    return model


def _jpeg(X, image_shape, qualities=(1, 10, 20, 30, 50, 70, 80, 90, 95, 98)):
    """(bits per image, mean squared error) of JPEG, all images tiled into one and its header not counted: neither are
    the weights of the models that it stands beside.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError('show: Pillow is not installed. pip install "tinyae[plot]" brings it.') from None
    (height, width), columns = image_shape, min(20, len(X))
    X = X[: len(X) // columns * columns]
    tiled = X.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
    bits, errors = [], []
    for quality in qualities:
        file = io.BytesIO()
        Image.fromarray(np.round(255 * tiled).astype(np.uint8)).save(file, "JPEG", quality=quality, optimize=True)
        bits.append(8 * (file.tell() - file.getvalue().index(b"\xff\xda")) / len(X))  # from the start of the scan
        errors.append(_mse(np.asarray(Image.open(file), np.float64) / 255, tiled))
    return np.array(bits), np.array(errors)


# -- weights and units ----------------------------------------------------------------------------------------------


@_claim("pca", "A linear net's weights span PCA's space, but are not orthogonal; an SVD finds the components.")
def _pca_subspace(data, seed, epochs=800):
    k = 10
    model = LinearAutoencoder(k, lr=3e-3, max_iter=epochs, random_state=seed).fit(data.X)
    axes = _principal(data.X)[2][:k]
    weights = model.net_.decoder[0].weight.data
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    cosines = np.clip(np.linalg.svd(model.components_ @ axes.T, compute_uv=False), -1, 1)
    codes = model.transform(data.X)
    found = np.linalg.svd(np.linalg.qr(codes - codes.mean(axis=0))[1] @ weights, full_matrices=False)[2]
    figure = plot.matrices({
        "weights · weights\n(of the decoder, as unit vectors)": unit @ unit.T,
        "|weights · principal axes|": np.abs(unit @ axes.T),
        "|SVD of codes · weights\n· principal axes|": np.abs(found @ axes.T),
    })  # fmt: skip
    off = np.abs(unit @ unit.T - np.eye(k)).max()
    degrees, least = np.degrees(np.arccos(cosines.min())), np.abs(np.sum(found * axes, axis=1)).min()
    return figure, (
        f"weights' cosines reach {off:.2f}; the largest angle between the spaces is {degrees:.2f} degrees; "
        f"the components are found to |cos| >= {least:.4f}"), {
        "weights are not orthogonal: a cosine is above a fifth": off > 0.2,
        "the spaces are within five degrees of each other": degrees < 5,
        "every component is found to within a hundredth of its cosine": least > 0.99,
    }  # fmt: skip


@_claim("sparsity", "A penalty on |z| turns most values of the code to exactly 0; the price is a larger error.")
def _sparsity(data, seed, epochs=100):
    settings = {"n_components": 64, "hidden": (), "max_iter": epochs, "random_state": seed}
    models = {"with L1": SparseAutoencoder(penalty=1e-3, **settings), "without": Autoencoder(**settings)}
    told, measured = [], []
    for label, model in models.items():
        model.fit(data.X)
        zero, error = model.fraction_of_zero_codes(data.X_test), _mse(model.reconstruct(data.X_test), data.X_test)
        alive = np.sum(model.activity(data.X_test)[1] > 0)
        told.append(f"{label} {zero:.0%} zeros, {alive} units alive, error {error:.4f}")
        measured.append((zero, alive, error))
    (zero, alive, error), (_, _, plain_error) = measured
    return plot.histogram(models, data.X_test), "; ".join(told), {
        "with the penalty more than half of the values are zero, and not of all units": zero > 0.5 and alive > 0,
        "its error is larger": error > plain_error,
    }  # fmt: skip


@_claim("filters", "Noise on the input takes the weight off pixels that say little: filters keep to where strokes are.")
def _filters(data, seed, epochs=100):
    settings = {"n_components": 64, "hidden": (), "activation": "sigmoid", "max_iter": epochs, "random_state": seed}
    models = {"without noise": Autoencoder(**settings), "with noise": DenoisingAutoencoder(noise=0.5, **settings)}
    still = np.argsort(data.X.var(axis=0), kind="stable")[: data.X.shape[1] // 4]
    shares = {}
    for label, model in models.items():
        squares = np.square(model.fit(data.X).net_.encoder[0].weight.data)
        shares[label] = squares[still].sum() / squares.sum()
    told = [f"{label} {share:.1%}" for label, share in shares.items()]
    return plot.filters(models, data.image_shape), (
        f"squared weights on the quarter of the pixels that vary least: {', '.join(told)}"), {
        "with noise it is less than half of the share without": shares["with noise"] < shares["without noise"] / 2,
    }  # fmt: skip


# -- reconstructions ------------------------------------------------------------------------------------------------


@_claim("denoising", "Trained to undo noise, a net takes it off images that it has never seen.")
def _denoising(data, seed, epochs=100):
    model = DenoisingAutoencoder(32, hidden=(256,), max_iter=epochs, random_state=seed).fit(data.X)
    noisy = np.asarray(model.corrupt(data.X_test))
    rows = {"clean": data.X_test, "noisy": noisy, "reconstructed": model.reconstruct(noisy)}
    told = {label: f"{label} {_mse(X, data.X_test):.4f}" for label, X in rows.items()}
    figure = plot.images({told[label].replace(" ", "\n"): X[:12] for label, X in rows.items()}, data.image_shape)
    return figure, f"error against the clean image: {told['noisy']}, {told['reconstructed']}", {
        "of the error that the noise made less than half is left":
            _mse(rows["reconstructed"], data.X_test) < _mse(noisy, data.X_test) / 2,
    }  # fmt: skip


@_claim("walk", "A walkback model's chain goes from image to image, and from pure noise it finds to one.")
def _walk(data, seed, epochs=60):
    model = WalkbackAutoencoder(64, hidden=(256,), noise=0.1, walkback=2, max_iter=epochs,
                                random_state=seed).fit(data.X)  # fmt: skip
    noise = np.random.default_rng(seed).random((100, data.X.shape[1]), np.float32)
    chain = model.chain(noise, 12, seed)
    away = [_nearest(X, data) for X in (noise, chain[:, 0], chain[:, -1])]
    start = np.concatenate([data.X_test[:3], noise[:3]])
    return plot.walk(model, start, data.image_shape, random_state=seed), (
        f"from noise, distance to the nearest training image: {away[0]:.2f} at first, {away[1]:.2f} after one step, "
        f"{away[2]:.2f} after 12; held-out images {_nearest(data.X_test, data):.2f}"), {
        "every look is nearer than the one before": away[2] < away[1] < away[0],
        "at the end it is nearly as near as images held out": away[2] < 1.2 * _nearest(data.X_test, data),
    }  # fmt: skip


@_claim("neighbours", "Near codes are alike images: few numbers find those of one class nearly as well as all pixels.")
def _neighbours(data, seed, epochs=100):
    model = DeepAutoencoder(8, hidden=(128,), code_activation="linear", max_iter=epochs, random_state=seed).fit(data.X)
    found = {"codes": model.neighbours(data.X, data.X_test, 5)[0]}
    squares = np.sum(data.X**2, axis=1)
    found["pixels"] = np.argsort(squares - 2.0 * data.X_test @ data.X.T, axis=1, kind="stable")[:, :5]
    shares = {label: np.mean(data.y[rows] == data.y_test[:, None]) for label, rows in found.items()}
    return plot.neighbours(model, data.X, data.X_test[:6], data.image_shape), (
        f"of the 5 nearest, of the query's class: {shares['codes']:.1%} by 8 numbers, "
        f"{shares['pixels']:.1%} by {data.X.shape[1]} pixels"), {
        "by codes less than six in a hundred fewer are of the query's class": shares["codes"] > shares["pixels"] - 0.06,
    }  # fmt: skip
