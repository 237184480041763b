"""Denoising: the input is spoiled, the clean one is asked for."""

from .. import ops
from .base import Autoencoder, variant

__all__ = ["DenoisingAutoencoder"]


@variant("denoising", family="deterministic", paper="Vincent, Larochelle, Bengio and Manzagol 2008", aliases=("dae",))
class DenoisingAutoencoder(Autoencoder):
    """The denoising autoencoder: x_hat = decoder(encoder(x + noise * N(0, 1))), compared with the clean x.

    Fresh noise is drawn at every step; if the data lie in [0, 1], the noisy ones are clipped to it. ``transform`` and
    ``reconstruct`` add no noise: give them noisy rows to have those cleaned; ``corrupt`` makes some.

    Parameters (besides those of `Autoencoder`)
    ----------
    noise : float
        Standard deviation of the Gaussian noise.

    Differs from the paper: Gaussian noise, where the paper's sets a share of the inputs to zero.

    Shape: as `Autoencoder`.
    """

    noise: float = 0.4

    def corrupt(self, x):
        """x with noise, of x's kind (array or Tensor). Shape: any -> same."""
        noisy = x + self.noise * ops.normal(x, generator=self.noise_)
        return ops.clip(noisy, low=0.0, high=1.0) if self.unit_interval_ else noisy

    def _check_settings(self):
        super()._check_settings()
        self._check_number("noise", lambda value: value >= 0, "a standard deviation of at least 0")
