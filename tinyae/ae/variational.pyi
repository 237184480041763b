from typing import Literal

import numpy as np
import numpy.typing as npt

from ..ops import Array
from ..tensor import Tensor
from ..estimator import _first
from .base import Autoencoder, Seed
from .convolutional import ConvolutionalAutoencoder

__all__ = ["AnnealedVAE", "BetaVAE", "ConvolutionalVAE", "FreeBitsVAE", "VAE", "gentle"]

def gentle(a: Tensor, high: float = 10.0) -> Tensor: ...

class VAE(Autoencoder):
    loss: str = "bernoulli"
    sigma: float | None = None

    def encode(self, x: Tensor | Array) -> tuple[Tensor, Tensor]: ...
    def code(self, h: tuple[Tensor, Tensor]) -> Tensor: ...
    def embed(self, h: tuple[Tensor, Tensor]) -> Tensor: ...
    def penalise(self, h: tuple[Tensor, Tensor], z: Tensor) -> dict[str, Tensor]: ...
    def posterior(self, X: npt.ArrayLike) -> tuple[Array, Array]: ...
    def sample(
        self, n: int = 1, random_state: Seed = None, draw: Literal["mean", "likelihood"] = "mean"
    ) -> Array: ...
    def log_density(self, X: npt.ArrayLike) -> Array: ...
    def active_units(self, X: npt.ArrayLike, threshold: float = 0.01) -> npt.NDArray[np.bool_]: ...
    def posterior_width(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]: ...
    def log_likelihood(self, X: npt.ArrayLike, n_samples: int = 100, random_state: Seed = None) -> Array: ...

class BetaVAE(VAE):
    beta: float = 4.0

class AnnealedVAE(BetaVAE):
    beta: float = 1.0
    schedule: Literal["linear", "cyclical", "constant"] = "linear"
    warmup: float = 5.0

class FreeBitsVAE(VAE):
    free_bits: float = 0.1

class ConvolutionalVAE(ConvolutionalAutoencoder, VAE):
    n_components: int = _first(default=16, kw_only=False)
    loss: str = "bernoulli"
