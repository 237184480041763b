from typing import Literal, TypeVar

from ..ops import Array
from ..tensor import Tensor
from .base import Autoencoder
from .linear import MayBeTied

_X = TypeVar("_X", bound=Tensor | Array)

__all__ = ["DenoisingAutoencoder", "Noise2NoiseAutoencoder", "Spoils"]

class Spoils(Autoencoder):
    noise: float = 0.4
    corruption: Literal["gaussian", "masking", "salt_and_pepper"] = "gaussian"
    fresh: bool = True

    def corrupt(self, x: _X) -> _X: ...
    def spoil(self, x: _X) -> _X: ...

class DenoisingAutoencoder(Spoils, MayBeTied): ...
class Noise2NoiseAutoencoder(DenoisingAutoencoder): ...
