from collections.abc import Callable, Sequence

import numpy.typing as npt

from ..estimator import _first
from ..nn.activations import ActivationName
from ..nn.init import Init
from ..nn.module import Parameter
from ..ops import Array
from ..optim import Optimizer
from ..optim.rules import OptimizerName
from .base import Autoencoder

__all__ = ["OneHotAutoencoder"]

class OneHotAutoencoder(Autoencoder):
    n_components: int = _first(default=2, kw_only=False)
    hidden: Sequence[int] = ()
    activation: ActivationName = "sigmoid"
    loss: str = "bce"
    optimizer: OptimizerName | Callable[[list[Parameter]], Optimizer] = "momentum"
    lr: float | None = 0.1
    max_iter: int = 3000
    batch_size: int = 4
    init: Init = "normal"

    def corners(self, X: npt.ArrayLike) -> tuple[Array, bool]: ...
