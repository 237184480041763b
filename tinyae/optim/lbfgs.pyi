from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from .base import Optimizer, Parameters, Setting

__all__ = ["LBFGS"]

class LBFGS(Optimizer):
    max_iter: Setting[int]
    max_eval: Setting[int | None]
    tolerance_grad: Setting[float]
    tolerance_change: Setting[float]
    history_size: Setting[int]
    line_search_fn: Setting[Literal["strong_wolfe"] | None]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1.0,
        *,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-07,
        tolerance_change: float = 1e-09,
        history_size: int = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None: ...
    def add_param_group(self, group: dict[str, Any]) -> None: ...
    def iterations(self, closure: Callable[[], Any], max_iter: int) -> Iterator[float]: ...
    def step(self, closure: Callable[[], Any] | None = None) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
