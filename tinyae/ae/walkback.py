"""Denoising as a generative model: spoil, reconstruct, draw, and so on, is a Markov chain that walks among the data."""

import numpy as np

from .. import ops
from ..engine import no_grad
from ..ops.random import Generator
from .base import variant
from .denoising import DenoisingAutoencoder
from .latent import counted, numpy_generator

__all__ = ["WalkbackAutoencoder"]


@variant("walkback", family="generative", paper="Bengio, Yao, Alain and Vincent 2013", aliases=("gsn",),
         proof="one step is the denoising one to the bit; chains stay nearer to where they began")  # fmt: skip
class WalkbackAutoencoder(DenoisingAutoencoder):
    """The generalised denoising autoencoder with walkback: a step draws ``x' ~ p(x' | x_hat(corrupt(x)))``.

    ``loss = mean over t = 0 .. walkback - 1 of |x_hat(corrupt(x_t)) - x_0|``, by the loss of `Autoencoder`; x_t is
    where the chain is after t steps from x_0: wherever it strays, it is taught to come back. A sigmoid output draws
    zeros and ones, any other stays at x_hat.

    Parameters (besides those of `DenoisingAutoencoder`)
    ----------
    walkback : int
        Reconstructions per row and step of training; 1 is the denoising autoencoder.

    Differs from the paper: always so many steps of the chain, where the paper's number of them is drawn.

    Shape: as `Autoencoder`.
    """

    loss: str = "bce"
    corruption: str = "salt_and_pepper"
    walkback: int = 3

    losses = {name: f"{text}, mean over the steps of a chain" for name, text in DenoisingAutoencoder.losses.items()}

    def loss_terms(self, x, target):
        """`DenoisingAutoencoder`'s, averaged over the steps of the chain."""
        terms = super().loss_terms(x, target)
        for _ in range(self.walkback - 1):
            with no_grad():
                x = self.draw(self.step(x))
            terms = {name: terms[name] + term for name, term in super().loss_terms(x, target).items()}
        return {name: term * (1.0 / self.walkback) for name, term in terms.items()}

    def step(self, x):
        """Whence the chain's next place is drawn: x_hat(corrupt(x)). Shape: (batch, features) -> same."""
        return self._output(self.decode(self.embed(self.encode(self.spoil(x)))))

    def draw(self, x_hat):
        """Zeros and ones of these probabilities, or x_hat itself. Shape: any -> same."""
        if self.output_activation_ != "sigmoid":
            return x_hat
        return ops.cast(ops.lt(ops.uniform(x_hat, generator=self.noise_), x_hat), dtype=x_hat.dtype)

    def walk(self, X, steps=1, random_state=None):
        """x_hat of the chain's last place, so many steps from the rows of X. Shape: (rows, features) -> same."""
        X = self._check_input(X, "walk")
        steps = counted(self, "walk", "steps", steps, 1)
        before, self.noise_ = self.noise_, Generator(numpy_generator(random_state))

        def last(x):
            x_hat = self.step(x)
            for _ in range(steps - 1):
                x_hat = self.step(self.draw(x_hat))
            return x_hat

        try:
            return self._apply(X, last)
        finally:
            self.noise_ = before

    def sample(self, n=1, random_state=None, steps=50):
        """n new rows: where chains are after so many steps from uniform noise. Shape: -> (n, features)."""
        self._check_fitted("sample")
        rng = numpy_generator(random_state)
        start = rng.random((counted(self, "sample", "n", n, 1), self.n_features_in_))
        return self.walk(start.astype(self.dtype), steps, rng)

    def _counts(self):
        return {**super()._counts(), "walkback": self.walkback}
