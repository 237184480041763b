# The kernels' own arguments are checked by the functions themselves: what does not fit is answered by False or None.
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypedDict

import numpy.typing as npt

class _Info(TypedDict):
    backend: Literal["c", "numpy"]
    isa: str | None
    isas_supported: list[str]
    why: str
    threads: int | None
    compiler: str | None
    path: str | None

__all__ = [
    "BACKWARD",
    "FORWARD",
    "adadelta",
    "adagrad",
    "adam",
    "gather",
    "gemm",
    "get_num_threads",
    "info",
    "noise",
    "rmsprop",
    "say_why_once",
    "set_num_threads",
    "sgd",
    "use_isa",
]

FORWARD: dict[str, Callable[..., Any]]
BACKWARD: dict[str, Callable[..., Any]]

def info() -> _Info: ...
def say_why_once() -> None: ...
def use_isa(name: str) -> AbstractContextManager[None]: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def sgd(
    p: npt.NDArray[Any],
    g: npt.NDArray[Any],
    velocity: npt.NDArray[Any] | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> bool: ...
def adam(
    p: npt.NDArray[Any],
    g: npt.NDArray[Any],
    m: npt.NDArray[Any],
    v: npt.NDArray[Any],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> bool: ...
def rmsprop(
    p: npt.NDArray[Any],
    g: npt.NDArray[Any],
    v: npt.NDArray[Any],
    m: npt.NDArray[Any] | None,
    velocity: npt.NDArray[Any] | None,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> bool: ...
def adagrad(
    p: npt.NDArray[Any], g: npt.NDArray[Any], v: npt.NDArray[Any], lr: float, eps: float, weight_decay: float
) -> bool: ...
def adadelta(
    p: npt.NDArray[Any],
    g: npt.NDArray[Any],
    v: npt.NDArray[Any],
    u: npt.NDArray[Any],
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> bool: ...
def noise(
    kind: Literal["uniform", "normal", "bernoulli"], out: npt.NDArray[Any], key: int, counter: int, p: float
) -> bool: ...
def gather(out: npt.NDArray[Any], x: npt.NDArray[Any], index: npt.NDArray[Any], scale: float = 1.0) -> bool: ...
def gemm(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    bias: npt.NDArray[Any] | None = None,
    activation: str | None = None,
    param: float = 0.0,
    alpha: float = 1.0,
    out: npt.NDArray[Any] | None = None,
    beta: float = 0.0,
) -> npt.NDArray[Any] | None: ...
