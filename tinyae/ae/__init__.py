"""The zoo: every autoencoder, one file per family, each a difference to ``base.Autoencoder``.

Ring 6. ``ZOO`` maps names to classes; ``tinyae zoo`` prints it.
"""

from .base import ZOO, Autoencoder, load, variant  # the order is the zoo's: simple ones first
from .deep import DeepAutoencoder
from .linear import LinearAutoencoder, TiedAutoencoder
from .sparse import SparseAutoencoder, SparseKLAutoencoder
from .denoising import DenoisingAutoencoder, Noise2NoiseAutoencoder
from .contractive import ContractiveAutoencoder
from .onehot import OneHotAutoencoder
from .variational import VAE, BetaVAE

__all__ = [
    "Autoencoder",
    "BetaVAE",
    "ContractiveAutoencoder",
    "DeepAutoencoder",
    "DenoisingAutoencoder",
    "LinearAutoencoder",
    "Noise2NoiseAutoencoder",
    "OneHotAutoencoder",
    "SparseAutoencoder",
    "SparseKLAutoencoder",
    "TiedAutoencoder",
    "VAE",
    "ZOO",
    "load",
    "variant",
]
