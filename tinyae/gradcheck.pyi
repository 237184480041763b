from collections.abc import Callable, Iterable
from typing import Any, Literal

from .errors import TinyaeError
from .ops import TensorLike
from .tensor import Tensor

__all__ = ["GradcheckError", "gradcheck"]

class GradcheckError(TinyaeError, AssertionError): ...

def gradcheck(
    function: Callable[..., Any],
    *inputs: TensorLike,
    parameters: Iterable[Tensor] = (),
    order: int = 1,
    directions: int = 2,
    eps: float = 1e-5,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> Literal[True]: ...
