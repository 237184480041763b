from typing import Literal

from ..nn.activations import ActivationName
from ..ops import Array
from .base import Autoencoder

__all__ = ["LinearAutoencoder", "TiedAutoencoder"]

class LinearAutoencoder(Autoencoder):
    activation: ActivationName = "linear"
    output_activation: ActivationName | Literal["auto"] = "linear"
    decay: float = 0.0

    @property
    def components_(self) -> Array: ...

class TiedAutoencoder(Autoencoder): ...
