from typing import Any, Literal, TypeAlias

from .base import Optimizer, Parameters, Setting

OptimizerName: TypeAlias = Literal[
    "adadelta", "adagrad", "adam", "adamw", "lbfgs", "momentum", "nesterov", "rmsprop", "sgd"
]

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "RMSprop", "SGD", "optimizer"]

class SGD(Optimizer):
    slots: tuple[str, ...]
    momentum: Setting[float]
    dampening: Setting[float]
    nesterov: Setting[bool]
    weight_decay: Setting[float]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.01,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None: ...

class Adam(Optimizer):
    slots: tuple[str, ...]
    decoupled: bool
    betas: Setting[tuple[float, float]]
    eps: Setting[float]
    weight_decay: Setting[float]
    amsgrad: Setting[bool]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None: ...

class AdamW(Adam):
    decoupled: bool

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None: ...

class RMSprop(Optimizer):
    slots: tuple[str, ...]
    alpha: Setting[float]
    eps: Setting[float]
    momentum: Setting[float]
    weight_decay: Setting[float]
    centered: Setting[bool]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.001,
        *,
        alpha: float = 0.99,
        eps: float = 1e-08,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None: ...

class Adagrad(Optimizer):
    slots: tuple[str, ...]
    lr_decay: Setting[float]
    initial_accumulator_value: Setting[float]
    eps: Setting[float]
    weight_decay: Setting[float]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.01,
        *,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None: ...

class Adadelta(Optimizer):
    slots: tuple[str, ...]
    rho: Setting[float]
    eps: Setting[float]
    weight_decay: Setting[float]

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-06,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None: ...

def optimizer(
    name: OptimizerName,
    parameters: Parameters,
    lr: float | None = None,
    **settings: Any,
) -> Optimizer: ...
