from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..ops import Array
from .base import Seed

__all__ = ["Latent", "counted", "numpy_generator"]

class Latent:
    def interpolate(
        self, start: npt.ArrayLike, end: npt.ArrayLike, steps: int = 8, how: Literal["linear", "spherical"] = "linear"
    ) -> Array: ...
    def traverse(
        self,
        x: npt.ArrayLike,
        values: npt.ArrayLike = (-2.0, -1.0, 0.0, 1.0, 2.0),
        components: Sequence[int] | None = None,
    ) -> Array: ...
    def manifold(self, n: int = 15, low: float = -2.0, high: float = 2.0) -> Array: ...
    def neighbours(self, X: npt.ArrayLike, query: npt.ArrayLike, k: int = 5) -> tuple[npt.NDArray[np.intp], Array]: ...
    def code_histogram(self, X: npt.ArrayLike, bins: int = 50) -> tuple[npt.NDArray[np.int64], Array]: ...
    def fraction_of_zero_codes(self, X: npt.ArrayLike, tolerance: float = 0.0) -> float: ...

def counted(model: Latent, action: str, name: str, n: int, least: int) -> int: ...
def numpy_generator(seed: Seed) -> np.random.Generator: ...
