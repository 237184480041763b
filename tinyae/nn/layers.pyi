from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..ops import TensorLike
from ..ops.random import Generator
from ..tensor import Tensor
from .init import Init
from .module import Module, Parameter

_Seed: TypeAlias = int | np.random.Generator | None
_Noise: TypeAlias = Generator | int | np.random.Generator | None

__all__ = ["Dropout", "Embedding", "Flatten", "GaussianNoise", "Lambda", "Linear", "Reshape", "Tied"]

class Linear(Module):
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        bias: bool = True,
        init: Init = "glorot_uniform",
        bias_init: Init = "zeros",
        generator: _Seed = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Tied(Module):
    linear: Linear
    bias: Parameter | None

    def __init__(
        self, linear: Linear, *, bias: bool = True, bias_init: Init = "zeros", generator: _Seed = None
    ) -> None: ...
    @property
    def weight(self) -> Tensor: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Embedding(Module):
    weight: Parameter

    def __init__(
        self, n_rows: int, n_out: int, *, init: Init = ..., generator: _Seed = None, dtype: npt.DTypeLike = "float32"
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Lambda(Module):
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None: ...
    def forward(self, *inputs: Any) -> Any: ...
    def extra_repr(self) -> str: ...

class Flatten(Module):
    start: int

    def __init__(self, start: int = 1) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Reshape(Module):
    shape: tuple[int, ...]

    def __init__(self, *shape: Any) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class GaussianNoise(Module):
    std: float
    generator: Generator

    def __init__(self, std: float = 0.1, generator: _Noise | None = None) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Dropout(Module):
    p: float
    generator: Generator

    def __init__(self, p: float = 0.5, generator: _Noise | None = None) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...
