from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ..tensor import Tensor

_T = TypeVar("_T", Tensor, npt.NDArray[Any])

__all__ = ["Generator", "bernoulli", "dropout", "gumbel", "normal", "uniform"]

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

def uniform(like: _T, /, *, generator: Generator) -> _T: ...
def normal(like: _T, /, *, generator: Generator) -> _T: ...
def gumbel(like: _T, *, generator: Generator) -> _T: ...
def bernoulli(like: _T, /, *, generator: Generator, p: float = 0.5) -> _T: ...
def dropout(x: _T, *, p: float, generator: Generator) -> _T: ...
