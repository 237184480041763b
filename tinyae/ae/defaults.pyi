from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ops import Array
from ..tensor import Tensor

__all__ = ["code_length", "doubts", "epochs", "falls_steeply", "hidden_widths", "mean_row_loss"]

EPOCHS: int
STEPS: int
MOST: int
CODE: int
NARROWEST: int
WIDEST: int
BETTER: float
STEEP: float
IDLE: float

def epochs(max_iter: int | None, rows: int, batch_size: int) -> int: ...
def code_length(n_features: int) -> int: ...
def hidden_widths(n_features: int) -> tuple[int, ...]: ...
def mean_row_loss(
    X: Array,
    dtype: Any,
    compare: Callable[[Tensor, Array], Mapping[str, Tensor]],
    is_value: Callable[[Array], npt.NDArray[np.bool_] | bool],
) -> float: ...
def falls_steeply(losses: Sequence[float], baseline: float) -> bool: ...
def doubts(model: Any, error: float) -> Iterator[tuple[type[Warning], str]]: ...
