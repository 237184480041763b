"""Deeper nets: the sandwich of layers that narrows to the code and widens again."""

from .base import Autoencoder, variant

__all__ = ["DeepAutoencoder"]


@variant("deep", family="deterministic", paper="Hinton and Salakhutdinov 2006", aliases=("sandwich", "multilayer"),
         proof="narrows and widens as its widths say")  # fmt: skip
class DeepAutoencoder(Autoencoder):
    """The deep autoencoder: `Autoencoder` with hidden layers around the code, x - 128 - 64 - z - 64 - 128 - x_hat.

    ``loss = mean over rows and features of (x_hat - x)**2``, or of the binary cross-entropy.

    Differs from the paper: trained from Glorot-uniform weights at once, without pretraining by Boltzmann machines.

    Shape: as `Autoencoder`.
    """

    hidden: tuple = (128, 64)
