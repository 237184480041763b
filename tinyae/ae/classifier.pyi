from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from ..estimator import Estimator, _first, _fitted
from ..files import _P
from ..nn.init import Init
from ..nn.module import Module, Parameter
from ..ops import Array
from ..optim import Optimizer
from ..optim.rules import OptimizerName
from .base import Autoencoder, Callback, Net, Seed

__all__ = ["Classifier"]

class Classifier(Estimator):
    saved_name: ClassVar[str]
    saved_parts: ClassVar[tuple[str, ...]]
    penalties: ClassVar[Mapping[str, str]]

    encoder: Autoencoder | Module | None = _first(default=None, kw_only=False)
    freeze: bool = False
    warm_start: bool = False
    optimizer: OptimizerName | Callable[[list[Parameter]], Optimizer] = "adam"
    lr: float | None = None
    max_iter: int | None = None
    batch_size: int = 64
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    random_state: Seed = None
    verbose: bool = False
    dtype: Literal["float32", "float64"] | np.dtype[Any] | type[np.floating[Any]] = "float32"
    compile: bool = True
    init: Init = "glorot_uniform"
    decay: float = 0.0

    classes_: Array = _fitted(init=False)
    net_: Net = _fitted(init=False)
    encoder_: Autoencoder | Module | None = _fitted(init=False)
    history_: dict[str, list[float]] = _fitted(init=False)
    n_iter_: int = _fitted(init=False)
    best_epoch_: int = _fitted(init=False)
    kept_epoch_: int = _fitted(init=False)
    baseline_: float = _fitted(init=False)
    max_iter_: int = _fitted(init=False)
    n_features_in_: int = _fitted(init=False)
    unit_interval_: bool = _fitted(init=False)
    bits_: bool = _fitted(init=False)
    scale_: float | None = _fitted(init=False)
    feature_names_in_: npt.NDArray[np.object_] = _fitted(init=False)

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> Self: ...
    def predict_proba(self, X: npt.ArrayLike) -> Array: ...
    def predict_log_proba(self, X: npt.ArrayLike) -> Array: ...
    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]: ...
    def save(self, path: _P) -> _P: ...
    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float: ...
