from typing import Literal

import numpy.typing as npt

from ..ops import Array
from ..tensor import Tensor
from .base import Seed
from .denoising import DenoisingAutoencoder

__all__ = ["WalkbackAutoencoder"]

class WalkbackAutoencoder(DenoisingAutoencoder):
    loss: str = "bce"
    corruption: Literal["gaussian", "masking", "salt_and_pepper"] = "salt_and_pepper"
    walkback: int = 3
    persistence: float = 1.0

    def step(self, x: Tensor | Array) -> Tensor: ...
    def draw(self, x_hat: Tensor) -> Tensor: ...
    def chain(self, X: npt.ArrayLike, steps: int = 1, random_state: Seed = None) -> Array: ...
    def walk(self, X: npt.ArrayLike, steps: int = 1, random_state: Seed = None) -> Array: ...
    def sample(self, n: int = 1, random_state: Seed = None, steps: int = 50) -> Array: ...
