from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConvergenceWarning
from ..ops import Array
from ..tensor import Tensor

__all__ = ["code_length", "convergence_warning", "epochs", "falls_steeply", "hidden_widths", "no_better", "of_mean_row"]

EPOCHS: int
STEPS: int
MOST: int
CODE: int
NARROWEST: int
WIDEST: int
STEEP: float
IDLE: float

def epochs(max_iter: int | None, rows: int, batch_size: int) -> int: ...
def code_length(n_features: int) -> int: ...
def hidden_widths(n_features: int) -> tuple[int, ...]: ...
def falls_steeply(losses: Sequence[float], baseline: float) -> bool: ...
def no_better(loss: float, baseline: float) -> bool: ...
def of_mean_row(
    X: Array,
    dtype: Any,
    compare: Callable[[Tensor, Array], Mapping[str, Tensor]],
    counts: Callable[[Array], npt.NDArray[np.bool_]] | None = None,
) -> float: ...
def convergence_warning() -> type[ConvergenceWarning]: ...
