from collections.abc import Sequence

from .base import Autoencoder

__all__ = ["DeepAutoencoder"]

class DeepAutoencoder(Autoencoder):
    hidden: Sequence[int] = (128, 64)
