from collections.abc import Sequence

import numpy.typing as npt

from ..nn.activations import ActivationName
from ..ops import Array
from ..tensor import Tensor
from .base import Autoencoder
from .linear import MayBeTied

__all__ = ["ContractiveAutoencoder"]

class ContractiveAutoencoder(MayBeTied):
    hidden: Sequence[int] = ()
    activation: ActivationName = "sigmoid"
    penalty: float = 1e-3

    def encode(self, x: Tensor | Array) -> tuple[Tensor | Array, Tensor]: ...
    def embed(self, h: tuple[Tensor | Array, Tensor]) -> Tensor: ...
    def jacobian_norm(self, X: npt.ArrayLike) -> Array: ...
