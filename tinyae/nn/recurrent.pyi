from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..ops import TensorLike
from ..tensor import Tensor
from .init import Init
from .module import Module

_Seed: TypeAlias = int | np.random.Generator | None

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]

class _Cell(Module):
    activation: Literal["tanh", "relu"]

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        init: Init = "glorot_uniform",
        recurrent_init: Init = "orthogonal",
        generator: _Seed = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(self, x: TensorLike, state: Any = None) -> Any: ...
    def extra_repr(self) -> str: ...

class RNNCell(_Cell): ...
class LSTMCell(_Cell): ...
class GRUCell(_Cell): ...

class _Recurrent(Module):
    layers: list[dict[Literal["forward", "reverse"], _Cell]]

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_layers: int = 1,
        *,
        bidirectional: bool = False,
        activation: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        init: Init = "glorot_uniform",
        recurrent_init: Init = "orthogonal",
        generator: _Seed = None,
        dtype: npt.DTypeLike = "float32",
    ) -> None: ...
    def forward(
        self,
        x: TensorLike,
        state: Any = None,
        *,
        lengths: Sequence[int] | npt.ArrayLike | None = None,
        steps: int | None = None,
    ) -> tuple[Tensor, Any]: ...
    def extra_repr(self) -> str: ...

class RNN(_Recurrent): ...
class LSTM(_Recurrent): ...
class GRU(_Recurrent): ...
