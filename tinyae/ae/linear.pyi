from collections.abc import Sequence
from typing import Literal

from ..nn.activations import ActivationName
from ..nn.module import Module
from ..ops import Array
from .base import Autoencoder

__all__ = ["LinearAutoencoder", "MayBeTied", "TiedAutoencoder", "tied_decoder"]

def tied_decoder(model: Autoencoder, encoder: Module) -> Module: ...

class MayBeTied(Autoencoder):
    tied: bool = False

    def make_decoder(self, encoder: Module) -> Module: ...

class LinearAutoencoder(Autoencoder):
    hidden: Sequence[int] = ()
    activation: ActivationName = "linear"
    output_activation: ActivationName | Literal["auto"] = "linear"

    @property
    def components_(self) -> Array: ...

class TiedAutoencoder(Autoencoder): ...
