from collections.abc import Callable
from typing import Any

from ..ops import Axis
from ..tensor import Tensor
from .module import Module, Parameter

__all__ = ["Parametrised", "parametrise", "unit_norm", "unparametrise"]

class Parametrised(Module):
    original: Parameter
    functions: list[Callable[[Any], Any]]

    def __init__(self, original: Parameter) -> None: ...
    def forward(self) -> Tensor: ...
    def extra_repr(self) -> str: ...

def parametrise(module: Module, name: str, function: Callable[[Any], Any]) -> Module: ...
def unparametrise(module: Module, name: str) -> Module: ...
def unit_norm(w: Tensor, *, axis: Axis = 0, eps: float = 1e-12) -> Tensor: ...
