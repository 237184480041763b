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

    ``loss = sum over t of w_t |x_hat(corrupt(x_t)) - x_0|``, by the loss of `Autoencoder`, for t = 0 .. walkback - 1
    and ``w_t = persistence**t``, scaled to the sum 1; x_t is where the chain is after t steps from x_0: wherever it
    strays, it is taught to come back. A sigmoid output draws zeros and ones, any other stays at x_hat.

    Parameters (besides those of `DenoisingAutoencoder`)
    ----------
    walkback : int
        Reconstructions per row and step of training; 1 is the denoising autoencoder.
    persistence : float
        The paper tosses a coin after every step, whether the chain goes on: this is the coin's chance, from 0 to 1. It
        weighs a step by how likely it would have been reached, the mean of all such tosses. 1: all count alike.

    Differs from the paper: chains end after ``walkback`` steps at the latest; weights are tied only if you ask.

    Shape: as `Autoencoder`.
    """

    loss: str = "bce"
    corruption: str = "salt_and_pepper"
    walkback: int = 3
    persistence: float = 1.0

    losses = {name: f"{text}, mean over the steps of a chain" for name, text in DenoisingAutoencoder.losses.items()}

    def loss_terms(self, x, target):
        """`Autoencoder`'s sentence at every step of the chain, which is not differentiated from step to step."""
        weights = float(self.persistence) ** np.arange(self.walkback)
        total = {}
        for t, weight in enumerate((weights / weights.sum()).tolist()):
            h = self.encode(self.spoil(x) if t else self.corrupt(x))
            z = self.code(h)
            a = self.unfold(z, target)
            for name, term in {**self.compare(a, target), **self.penalise(h, z)}.items():
                total[name] = weight * term + total[name] if t else weight * term
            if t + 1 < self.walkback:
                with no_grad():
                    x = self.draw(self._output(a))
        return total

    def step(self, x):
        """Whence the chain's next place is drawn: x_hat(corrupt(x)). Shape: (batch, features) -> same."""
        return self._output(self.decode(self.embed(self.encode(self.spoil(x)))))

    def draw(self, x_hat):
        """Zeros and ones of these probabilities, or x_hat itself. Shape: any -> same."""
        if self.output_activation_ != "sigmoid":
            return x_hat
        return ops.cast(ops.lt(ops.uniform(x_hat, generator=self.noise_), x_hat), dtype=x_hat.dtype)

    def chain(self, X, steps=1, random_state=None):
        """x_hat of every place of the chains that begin at the rows of X, in the order in which they are visited.

        Whether chains have forgotten where they began is what `tinyae.metrics.r_hat` tells of them, or of their codes.
        random_state None draws by a fresh generator, and leaves the model's alone.
        Shape: (rows, features) -> (rows, steps, features).
        """
        X = self._check_input(X, "chain")
        steps = counted(self, "chain", "steps", steps, 1)
        return self._chained(
            X, random_state, lambda model, x: np.stack([p.data for p in model._places(x, steps)], axis=1)
        )

    def walk(self, X, steps=1, random_state=None):
        """The last place of `chain`, so many steps from the rows of X, by a random_state as there.

        Shape: (rows, features) -> same.
        """
        X = self._check_input(X, "walk")
        return self._last(X, counted(self, "walk", "steps", steps, 1), random_state)

    def _last(self, X, steps, random_state):
        def last(model, x):
            for place in model._places(x, steps):
                pass
            return place

        return self._chained(X, random_state, last)

    def sample(self, n=1, random_state=None, steps=50):
        """n new rows: where chains are after so many steps from uniform noise; random_state is as of `chain`.

        Shape: -> (n, features).
        """
        self._check_fitted("sample")
        rng = numpy_generator(random_state)
        start = rng.random((counted(self, "sample", "n", n, 1), self.n_features_in_))
        return self._last(start.astype(self.dtype), counted(self, "sample", "steps", steps, 1), rng)

    def _places(self, x, steps):
        yield (x_hat := self.step(x))
        for _ in range(steps - 1):
            yield (x_hat := self.step(self.draw(x_hat)))

    def _chained(self, X, random_state, function):
        """function(model, x) over X in batches, with noise of this seed."""
        return self._apply(X, function, Generator(numpy_generator(random_state)))

    def _counts(self):
        return {**super()._counts(), "walkback": self.walkback}

    def _check_settings(self):
        super()._check_settings()
        self._check_number("persistence", lambda value: 0 <= value <= 1, "a chance from 0 to 1")
