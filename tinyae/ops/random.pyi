from typing import Any, Literal

import numpy as np
import numpy.typing as npt

class Generator:
    key: int
    counter: int
    def __init__(self, seed: int | np.integer[Any] | np.random.Generator | Generator | None = None) -> None: ...
    def draw(
        self,
        kind: Literal["uniform", "normal", "bernoulli"],
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = ...,
        p: float = 0.5,
    ) -> npt.NDArray[Any]: ...
