import numpy.typing as npt

from ..ops import Array
from ..tensor import Tensor
from .base import Autoencoder, Seed

__all__ = ["BetaVAE", "VAE"]

class VAE(Autoencoder):
    loss: str = "bernoulli"
    sigma: float | None = None

    def encode(self, x: Tensor | Array) -> tuple[Tensor, Tensor]: ...
    def code(self, h: tuple[Tensor, Tensor]) -> Tensor: ...
    def embed(self, h: tuple[Tensor, Tensor]) -> Tensor: ...
    def penalise(self, h: tuple[Tensor, Tensor], z: Tensor) -> dict[str, Tensor]: ...
    def posterior(self, X: npt.ArrayLike) -> tuple[Array, Array]: ...
    def sample(self, n: int = 1, random_state: Seed = None) -> Array: ...

class BetaVAE(VAE):
    beta: float = 4.0
