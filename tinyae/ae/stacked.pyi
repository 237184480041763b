from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..estimator import _fitted
from ..nn.activations import ActivationName
from ..nn.conv import Conv2d, ConvTranspose2d
from ..nn.layers import Linear
from .base import Autoencoder
from .convolutional import ConvolutionalAutoencoder
from .sparse import HalfSquares

__all__ = [
    "RBMAutoencoder",
    "StackedAutoencoder",
    "StackedConvolutionalAutoencoder",
    "StackedDenoisingAutoencoder",
    "StackedSparseAutoencoder",
]

class StackedAutoencoder(Autoencoder):
    hidden: Sequence[int] = (64, 32)
    pretrain_iter: int = 5
    pretrain_lr: float | None = None
    pretraining_: list[dict[str, list[float]]] = _fitted(init=False)

    def make_part(self, number: int, **settings: Any) -> Autoencoder: ...
    def take_over(
        self, part: Autoencoder, down: Linear | Conv2d, up: Linear | Conv2d | ConvTranspose2d
    ) -> None: ...

class StackedDenoisingAutoencoder(StackedAutoencoder):
    noise: float | Sequence[float] = 0.2
    corruption: Literal["gaussian", "masking", "salt_and_pepper"] = "masking"

class StackedSparseAutoencoder(HalfSquares, StackedAutoencoder):
    activation: ActivationName = "sigmoid"
    loss: str = "half_sse"
    rho: float = 0.05
    penalty: float = 0.5

class StackedConvolutionalAutoencoder(StackedAutoencoder, ConvolutionalAutoencoder):
    hidden: Sequence[int] = (16, 8)

class RBMAutoencoder(StackedAutoencoder):
    activation: ActivationName = "sigmoid"
    code_activation: ActivationName | None = "linear"
    loss: str = "bce"
    pretrain_lr: float | None = 0.02
    pretrain_decay: float = 1e-4
