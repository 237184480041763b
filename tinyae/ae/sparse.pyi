from collections.abc import Sequence
from typing import Literal

from ..estimator import _first
from ..nn.activations import ActivationName
from ..ops import Array
from ..tensor import Tensor
from .base import Autoencoder

__all__ = ["HalfSquares", "SparseAutoencoder", "SparseKLAutoencoder"]

class SparseAutoencoder(Autoencoder):
    n_components: int = _first(default=32, kw_only=False)
    hidden: Sequence[int] = ()
    penalty: float = 1e-3
    reduction: Literal["batch_mean", "batch_sum", "mean", "keras", "keras_sum"] = "batch_mean"

class HalfSquares:
    def compare(self, a: Tensor, target: Tensor | Array) -> dict[str, Tensor]: ...

class SparseKLAutoencoder(HalfSquares, Autoencoder):
    n_components: int = _first(default=32, kw_only=False)
    hidden: Sequence[int] = ()
    activation: ActivationName = "sigmoid"
    rho: float = 0.05
    penalty: float = 0.05
