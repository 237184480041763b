from collections.abc import Sequence

import numpy.typing as npt

from ..estimator import _fitted
from ..ops import Array
from ..tensor import Tensor
from .convolutional import ImageRows
from .variational import VAE

__all__ = ["StructuredVAE"]

class StructuredVAE(ImageRows, VAE):
    loss: str = "gaussian"
    image_shape: Sequence[int] | None = None
    neighbourhood: int = 1
    sigma_min: float = 0.01
    pretrain_iter: int | None = None
    freeze: bool = True
    pretraining_: dict[str, list[float]] = _fitted(init=False)

    def unfold(self, z: Tensor, target: Tensor | Array) -> tuple[Tensor, Tensor]: ...  # type: ignore[override]
    def compare(self, a: tuple[Tensor, Tensor], target: Tensor | Array) -> dict[str, Tensor]: ...  # type: ignore[override]
    def precision_factor(self, Z: npt.ArrayLike) -> Array: ...
    def covariance(self, Z: npt.ArrayLike) -> Array: ...
