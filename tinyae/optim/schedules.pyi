from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ..tensor import Tensor
from .base import Optimizer

__all__ = [
    "ChainedScheduler",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

class LRScheduler:
    optimizer: Optimizer
    last_epoch: int

    def __init__(self, optimizer: Optimizer) -> None: ...
    def step(self) -> None: ...
    def get_last_lr(self) -> list[float]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

class LambdaLR(LRScheduler):
    lr_lambdas: Any

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None: ...

class StepLR(LRScheduler):
    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None: ...

class MultiStepLR(LRScheduler):
    milestones: Sequence[int]
    gamma: float

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None: ...

class ExponentialLR(LRScheduler):
    gamma: float

    def __init__(self, optimizer: Optimizer, gamma: float) -> None: ...

class LinearLR(LRScheduler):
    start_factor: float
    end_factor: float
    total_iters: int

    def __init__(
        self, optimizer: Optimizer, start_factor: float = ..., end_factor: float = 1.0, total_iters: int = 5
    ) -> None: ...

class CosineAnnealingLR(LRScheduler):
    T_max: int
    eta_min: float

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None: ...

class OneCycleLR(LRScheduler):
    max_lrs: list[float]
    total_steps: int
    anneal_strategy: Literal["cos", "linear"]
    cycle_momentum: bool

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int,
        *,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 10000.0,
        three_phase: bool = False,
    ) -> None: ...
    def step(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...

class ReduceLROnPlateau(LRScheduler):
    mode: Literal["min", "max"]
    threshold_mode: Literal["rel", "abs"]
    factor: float
    patience: int
    threshold: float
    cooldown: int
    min_lrs: list[float]
    eps: float
    best: float
    num_bad_epochs: int
    cooldown_counter: int

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 0.0001,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-08,
    ) -> None: ...
    def step(self, measure: float | Tensor) -> None: ...  # type: ignore[override]

class _Composite(LRScheduler):
    schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]: ...

class ChainedScheduler(_Composite):
    def __init__(self, schedulers: Sequence[LRScheduler]) -> None: ...
    def step(self) -> None: ...

class SequentialLR(_Composite):
    milestones: Sequence[int]

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None: ...
    def step(self) -> None: ...
