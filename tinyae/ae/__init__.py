"""The zoo: every autoencoder, one file per family, each a difference to ``base.Autoencoder``.

Ring 6. ``ZOO`` maps names to classes; ``tinyae zoo`` prints it.
"""

from .base import ZOO, Autoencoder, load, variant  # the order is the zoo's: simple ones first
from .deep import DeepAutoencoder
from .linear import LinearAutoencoder, TiedAutoencoder
from .sparse import SparseAutoencoder, SparseKLAutoencoder
from .denoising import DenoisingAutoencoder, Noise2NoiseAutoencoder
from .walkback import WalkbackAutoencoder
from .contractive import ContractiveAutoencoder
from .convolutional import ConvolutionalAutoencoder, ConvolutionalDenoisingAutoencoder
from .recurrent import GRUAutoencoder, LSTMAutoencoder, TeacherForcedAutoencoder
from .stacked import (
    RBMAutoencoder, StackedAutoencoder, StackedConvolutionalAutoencoder, StackedDenoisingAutoencoder,
    StackedSparseAutoencoder,
)  # fmt: skip
from .onehot import OneHotAutoencoder
from .variational import VAE, AnnealedVAE, BetaVAE, ConvolutionalVAE, FreeBitsVAE
from .structured import StructuredVAE
from .classifier import Classifier

__all__ = [
    "AnnealedVAE",
    "Autoencoder",
    "BetaVAE",
    "Classifier",
    "ContractiveAutoencoder",
    "ConvolutionalAutoencoder",
    "ConvolutionalDenoisingAutoencoder",
    "ConvolutionalVAE",
    "DeepAutoencoder",
    "DenoisingAutoencoder",
    "FreeBitsVAE",
    "GRUAutoencoder",
    "LSTMAutoencoder",
    "LinearAutoencoder",
    "Noise2NoiseAutoencoder",
    "OneHotAutoencoder",
    "RBMAutoencoder",
    "SparseAutoencoder",
    "SparseKLAutoencoder",
    "StackedAutoencoder",
    "StackedConvolutionalAutoencoder",
    "StackedDenoisingAutoencoder",
    "StackedSparseAutoencoder",
    "StructuredVAE",
    "TeacherForcedAutoencoder",
    "TiedAutoencoder",
    "VAE",
    "WalkbackAutoencoder",
    "ZOO",
    "load",
    "variant",
]
