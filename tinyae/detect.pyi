from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from .ae import Autoencoder
from .estimator import Estimator, _first, _fitted
from .files import _P
from .ops import Array

__all__ = ["AnomalyDetector"]

class AnomalyDetector(Estimator):
    saved_name: ClassVar[str]
    saved_parts: ClassVar[tuple[str, ...]]

    model: Autoencoder | None = _first(default=None, kw_only=False)
    contamination: float = 0.1

    model_: Autoencoder = _fitted(init=False)
    n_features_in_: int = _fitted(init=False)
    offset_: float = _fitted(init=False)
    lowest_: float = _fitted(init=False)
    feature_names_in_: npt.NDArray[np.object_] = _fitted(init=False)

    def fit(self, X: npt.ArrayLike, y: Any = None, **fit_params: Any) -> Self: ...
    def calibrate(self, X: npt.ArrayLike) -> Self: ...
    def score_samples(self, X: npt.ArrayLike) -> Array: ...
    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]: ...
    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int_]: ...
    def save(self, path: _P) -> _P: ...
    def fit_predict(self, X: npt.ArrayLike, y: Any = None, **fit_params: Any) -> npt.NDArray[np.int_]: ...
