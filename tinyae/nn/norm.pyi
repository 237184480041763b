import numpy.typing as npt

from ..ops import Sizes, TensorLike
from ..tensor import Tensor
from .module import Buffer, Module

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm"]

class _BatchNorm(Module):
    running_mean: Buffer
    running_var: Buffer
    n_channels: int

    def __init__(
        self,
        n_channels: int,
        *,
        eps: float = 1e-05,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class BatchNorm1d(_BatchNorm): ...
class BatchNorm2d(_BatchNorm): ...

class LayerNorm(Module):
    shape: tuple[int, ...]
    eps: float

    def __init__(
        self, shape: Sizes, *, eps: float = 1e-05, affine: bool = True, dtype: npt.DTypeLike = "float32"
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class GroupNorm(Module):
    n_groups: int
    n_channels: int
    eps: float

    def __init__(
        self,
        n_groups: int,
        n_channels: int,
        *,
        eps: float = 1e-05,
        affine: bool = True,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...
