from typing import Literal

from ..estimator import _first
from ..nn.activations import ActivationName
from .base import Autoencoder

__all__ = ["SparseAutoencoder", "SparseKLAutoencoder"]

class SparseAutoencoder(Autoencoder):
    n_components: int = _first(default=32, kw_only=False)
    penalty: float = 1e-3
    reduction: Literal["batch_mean", "batch_sum", "mean"] = "batch_mean"

class SparseKLAutoencoder(Autoencoder):
    n_components: int = _first(default=32, kw_only=False)
    activation: ActivationName = "sigmoid"
    rho: float = 0.05
    penalty: float = 0.05
