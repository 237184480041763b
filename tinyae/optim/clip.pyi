from collections.abc import Iterable

from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0, *, error_if_nonfinite: bool = False
) -> float: ...
def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None: ...
