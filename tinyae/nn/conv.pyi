from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..ops import Padding, Sizes, TensorLike
from ..tensor import Tensor
from .init import Init
from .module import Module, Parameter

_Seed: TypeAlias = int | np.random.Generator | None

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "MaxPool1d",
    "MaxPool2d",
    "Upsample",
]

class _Conv(Module):
    groups: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Padding | Literal["same", "valid"] = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        init: Init = "glorot_uniform",
        bias_init: Init = "zeros",
        generator: _Seed = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def extra_repr(self) -> str: ...

class Conv2d(_Conv):
    def forward(self, x: TensorLike) -> Tensor: ...

class Conv1d(Conv2d):
    def forward(self, x: TensorLike) -> Tensor: ...

class ConvTranspose2d(_Conv):
    output_padding: Sizes

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Padding = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        init: Init = "glorot_uniform",
        bias_init: Init = "zeros",
        generator: _Seed = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...

class ConvTranspose1d(ConvTranspose2d):
    def forward(self, x: TensorLike) -> Tensor: ...

class _Pool(Module):
    kernel_size: Sizes
    stride: Sizes
    padding: Padding | Literal["same", "valid"]

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Padding | Literal["same", "valid"]
    ) -> None: ...
    def extra_repr(self) -> str: ...

class MaxPool2d(_Pool):
    dilation: Sizes

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding | Literal["same", "valid"] = 0,
        dilation: Sizes = 1,
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...

class MaxPool1d(MaxPool2d): ...

class AvgPool2d(_Pool):
    count_include_pad: bool

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding | Literal["same", "valid"] = 0,
        count_include_pad: bool = True,
    ) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...

class AvgPool1d(AvgPool2d): ...

class Upsample(Module):
    scale_factor: Sizes
    mode: Literal["nearest", "linear", "bilinear"]

    def __init__(self, scale_factor: Sizes, mode: Literal["nearest", "linear", "bilinear"] = "nearest") -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...
