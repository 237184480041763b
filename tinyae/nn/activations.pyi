from typing import Literal, TypeAlias

from ..ops import Axis, TensorLike
from ..tensor import Tensor
from .module import Module

ActivationName: TypeAlias = Literal[
    "elu",
    "gelu",
    "hardtanh",
    "identity",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

__all__ = [
    "ELU",
    "GELU",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "ReLU",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "activation",
]

class Identity(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class Sigmoid(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class Tanh(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class ReLU(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class LeakyReLU(Module):
    slope: float

    def __init__(self, slope: float = 0.01) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class ELU(Module):
    alpha: float

    def __init__(self, alpha: float = 1.0) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class SELU(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class GELU(Module):
    approximate: Literal["none", "tanh"]

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class SiLU(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class Softplus(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class LogSigmoid(Module):
    def forward(self, x: TensorLike) -> Tensor: ...

class Hardtanh(Module):
    def __init__(self, low: float = -1.0, high: float = 1.0) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class Softmax(Module):
    axis: Axis

    def __init__(self, axis: Axis = -1) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

class LogSoftmax(Module):
    axis: Axis

    def __init__(self, axis: Axis = -1) -> None: ...
    def forward(self, x: TensorLike) -> Tensor: ...
    def extra_repr(self) -> str: ...

def activation(name: ActivationName | None) -> Module: ...
