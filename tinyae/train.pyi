from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TextIO, TypeAlias

import numpy.typing as npt

from .nn import Module
from .tensor import Tensor

_Row: TypeAlias = dict[str, float]
_Batch: TypeAlias = npt.NDArray[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]

PATIENT: int

__all__ = ["PATIENT", "Progress", "Snapshot", "mean_terms", "total", "train"]

class _Optimizer(Protocol):
    @property
    def lr(self) -> float: ...
    def zero_grad(self) -> None: ...
    def step(self) -> object: ...

class Snapshot:
    module: Module
    score: float
    epoch: int
    state: dict[str, Any]

    def __init__(self, module: Module) -> None: ...
    def offer(self, score: float, epoch: int) -> bool: ...
    def restore(self) -> None: ...

def train(
    objective: Callable[[Any, Any], Mapping[str, Tensor]],
    optimizer: _Optimizer,
    epoch_batches: Callable[[], Iterable[_Batch]],
    *,
    module: Module,
    epochs: int,
    validate: Callable[[], Mapping[str, float]] | None = None,
    patience: int | None = None,
    callbacks: Sequence[Callable[[_Row], object]] = (),
    progress: Progress | None = None,
    compile: bool = False,
) -> tuple[list[_Row], Snapshot]: ...
def total(terms: Mapping[str, Tensor]) -> Tensor: ...
def mean_terms(sums: Mapping[str, float], samples: int) -> _Row: ...

class Progress:
    stream: TextIO
    epochs: int
    every: int
    started: float
    tqdm: Any
    baseline: dict[str, float]

    def __init__(
        self,
        epochs: int,
        batches_per_epoch: int,
        stream: TextIO | None = None,
        bar: bool | None = None,
        baseline: float | None = None,
    ) -> None: ...
    def batch(self, loss: float) -> None: ...
    def epoch(self, row: _Row) -> None: ...
    def close(self) -> None: ...
