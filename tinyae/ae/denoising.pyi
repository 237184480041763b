from typing import TypeVar

from ..ops import Array
from ..tensor import Tensor
from .base import Autoencoder

_X = TypeVar("_X", bound=Tensor | Array)

__all__ = ["DenoisingAutoencoder"]

class DenoisingAutoencoder(Autoencoder):
    noise: float = 0.4

    def corrupt(self, x: _X) -> _X: ...
