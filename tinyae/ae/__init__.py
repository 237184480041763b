"""The zoo: every autoencoder, one file per family, each a difference to ``base.Autoencoder``.

Ring 6. ``ZOO`` maps names to classes; ``tinyae zoo`` prints it.
"""

from .base import ZOO, Autoencoder, load, variant
from .deep import DeepAutoencoder
from .denoising import DenoisingAutoencoder
from .onehot import OneHotAutoencoder
from .variational import VAE, BetaVAE

__all__ = [
    "Autoencoder",
    "BetaVAE",
    "DeepAutoencoder",
    "DenoisingAutoencoder",
    "OneHotAutoencoder",
    "VAE",
    "ZOO",
    "load",
    "variant",
]
