"""Denoising: the input is spoiled, the clean one is asked for; or, if nobody has a clean one, another spoiled one."""

import numpy as np

from .. import ops
from ..data import batches
from .base import _ROWS, Autoencoder, variant
from .linear import MayBeTied

__all__ = ["DenoisingAutoencoder", "Noise2NoiseAutoencoder", "Spoils"]


class Spoils(Autoencoder):
    """For denoising variants: the settings noise, corruption and fresh, and what they do."""

    noise: float = 0.4
    corruption: str = "gaussian"
    fresh: bool = True

    def corrupt(self, x):
        """x with noise, of x's kind (array or Tensor). Shape: any -> same."""
        if self.net_.training and not self.fresh:  # they were spoiled before
            return x
        return self.spoil(x)

    def spoil(self, x):
        """x with fresh noise, of x's kind (array or Tensor). Shape: any -> same."""
        if self.corruption == "gaussian":
            noisy = x + self.noise * ops.normal(x, generator=self.noise_)
            return ops.clip(noisy, low=0.0, high=1.0) if self.unit_interval_ else noisy
        kept = ops.bernoulli(x, generator=self.noise_, p=1.0 - self.noise)
        if self.corruption == "masking":
            return x * kept
        return x * kept + (1.0 - kept) * ops.bernoulli(x, generator=self.noise_)

    def prepare(self, X, target):
        """Spoil every row now, if that is to be done once."""
        if self.fresh:
            return X, target
        spoilt = [np.asarray(self.spoil(x)) for x in batches(X, _ROWS, dtype=self.dtype)]
        return np.concatenate(spoilt), X if target is None else target

    def _check_settings(self):
        super()._check_settings()
        self._check_flag("fresh")
        self._check_noise()

    def _check_noise(self):
        self._check_choice("corruption", ("gaussian", "masking", "salt_and_pepper"))
        if self.corruption == "gaussian":
            self._check_number("noise", lambda value: value >= 0, "a standard deviation of at least 0")
        else:
            self._check_number("noise", lambda value: 0 <= value <= 1, "a share from 0 to 1")


@variant("denoising", family="deterministic", paper="Vincent, Larochelle, Bengio and Manzagol 2008",
         aliases=("dae",),
         proof="shares of noise; drawn once it is a fit from spoiled rows, to the bit; removes noise")  # fmt: skip
class DenoisingAutoencoder(Spoils, MayBeTied):
    """The denoising autoencoder: x_hat = decoder(encoder(corrupt(x))), compared with the clean x.

    ``corrupt(x) = x + noise * N(0, 1)``, or some values set to 0, or some to 0 or 1. ``transform`` and ``reconstruct``
    add no noise: give them noisy rows to have those cleaned; ``corrupt`` makes some.

    Parameters (besides those of `Autoencoder`)
    ----------
    corruption : str
        "gaussian": noise is the standard deviation; if the data lie in [0, 1], the noisy ones are clipped to it.
        "masking": the share of the values that become 0. "salt_and_pepper": the share of those that become 0 or 1,
        each as likely.
    noise : float
        How much of it.
    fresh : bool
        Draw anew at every step; False: every row is spoiled once, before the training, which takes a copy of X.
    tied : bool
        The decoder's weights are the encoder's, transposed.

    Differs from the paper: Gaussian noise by default, where the paper's sets a share of the inputs to zero; weights
    are tied only if you ask.

    Shape: as `Autoencoder`.
    """


@variant("noise2noise", family="deterministic", paper="Lehtinen et al. 2018", aliases=("n2n",),
         proof="clean rows' error as with clean targets; loss larger by noise**2")  # fmt: skip
class Noise2NoiseAutoencoder(DenoisingAutoencoder):
    """Noise2noise: minimises (x_hat(x + noise * N(0, 1)) - (x + noise * N(0, 1)))**2; no clean row is compared with.

    The squared error's optimum is the mean of the targets, and noise of mean 0 does not move that: what is learned is
    what clean targets teach, at a loss that is noise**2 larger. If your rows are noisy twice already, give them to
    `Autoencoder`: ``fit(X, target=X2)``.

    Differs from the paper: Gaussian noise drawn anew at every step, of the target's too and never clipped there.

    Shape: as `Autoencoder`.
    """

    losses = {"mse": Autoencoder.losses["mse"] + ", x being noisy: noise**2 more than against clean rows"}

    def loss_terms(self, x, target):
        """`Autoencoder`'s, with a noisy target."""
        return super().loss_terms(x, target + self.noise * ops.normal(target, generator=self.noise_))

    def _mean_row_loss(self, X):
        return super()._mean_row_loss(X) + float(self.noise) ** 2

    def _check_settings(self):
        super()._check_settings()
        self._check_choice("corruption", ("gaussian",))
