import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from ..estimator import Transformer, _first, _fitted
from ..files import _P
from ..nn.activations import ActivationName
from ..nn.init import Init
from ..nn.module import Module, Parameter
from ..ops import Array
from ..ops.random import Generator
from ..optim import Optimizer
from ..optim.rules import OptimizerName
from ..tensor import Tensor
from .latent import Latent

Seed: TypeAlias = int | np.integer[Any] | np.random.Generator | np.random.RandomState | None
Callback: TypeAlias = Callable[[Any, dict[str, float]], object]
_A = TypeVar("_A", bound=Autoencoder)

__all__ = ["Autoencoder", "Net", "ZOO", "load", "variant"]

ZOO: dict[str, type[Autoencoder]]

def variant(
    name: str, *, family: str, paper: str, aliases: Sequence[str] = (), proof: str = ""
) -> Callable[[type[_A]], type[_A]]: ...
def load(
    path: str | os.PathLike[str], *, encoder: Module | None = None, decoder: Module | None = None
) -> Any: ...

class Net(Module):
    encoder: Module
    decoder: Module

    def __init__(self, encoder: Module, decoder: Module) -> None: ...
    def forward(self, x: Tensor | npt.ArrayLike) -> Tensor: ...

class Autoencoder(Latent, Transformer):
    zoo_name: ClassVar[str]
    family: ClassVar[str]
    paper: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    proof: ClassVar[str]
    losses: ClassVar[Mapping[str, str]]
    penalties: ClassVar[Mapping[str, str]]

    # settings: what the constructor takes
    n_components: int | None = _first(default=None, kw_only=False)
    hidden: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None
    activation: ActivationName = "relu"
    code_activation: ActivationName | None = None
    output_activation: ActivationName | Literal["auto"] = "auto"
    loss: str = "mse"
    optimizer: OptimizerName | Callable[[list[Parameter]], Optimizer] = "adam"
    lr: float | None = None
    max_iter: int | None = None
    batch_size: int = 64
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    random_state: Seed = None
    verbose: bool = False
    dtype: Literal["float32", "float64"] | np.dtype[Any] | type[np.floating[Any]] = "float32"
    compile: bool = True
    init: Init = "glorot_uniform"
    decay: float = 0.0
    encoder: Module | None = None
    decoder: Module | None = None

    # what `build` and `fit` leave behind
    net_: Net = _fitted(init=False)
    history_: dict[str, list[float]] = _fitted(init=False)
    n_iter_: int = _fitted(init=False)
    best_epoch_: int = _fitted(init=False)
    kept_epoch_: int = _fitted(init=False)
    baseline_: float = _fitted(init=False)
    hidden_: tuple[int, ...] = _fitted(init=False)
    max_iter_: int = _fitted(init=False)
    n_features_in_: int = _fitted(init=False)
    n_components_: int = _fitted(init=False)
    noise_: Generator = _fitted(init=False)
    output_activation_: str = _fitted(init=False)
    unit_interval_: bool = _fitted(init=False)
    bits_: bool = _fitted(init=False)
    scale_: float | None = _fitted(init=False)
    target_scale_: float | None = _fitted(init=False)
    feature_names_in_: npt.NDArray[np.object_] = _fitted(init=False)
    fitted_settings_: dict[str, Any] = _fitted(init=False)

    # the sentence; h is whatever `encode` gives and the others expect, so a variant chooses its type
    def loss_terms(self, x: Tensor | Array, target: Tensor | Array) -> dict[str, Tensor]: ...
    def corrupt(self, x: Tensor | Array) -> Tensor | Array: ...
    def encode(self, x: Tensor | Array) -> Any: ...
    def code(self, h: Any) -> Tensor: ...
    def embed(self, h: Any) -> Tensor: ...
    def decode(self, z: Tensor | Array) -> Tensor: ...
    def unfold(self, z: Tensor, target: Tensor | Array) -> Tensor: ...
    def compare(self, a: Tensor, target: Tensor | Array) -> dict[str, Tensor]: ...
    def penalise(self, h: Any, z: Tensor) -> dict[str, Tensor]: ...
    # fitting
    def build(self, n_features: int) -> Self: ...
    def make_net(self) -> Net: ...
    def make_encoder(self) -> Module: ...
    def make_decoder(self, encoder: Module) -> Module: ...
    def make_optimizer(self, parameters: list[Parameter]) -> Optimizer: ...
    def prepare(self, X: Array, target: Array | None) -> tuple[Array, Array | None]: ...
    def fit(
        self,
        X: npt.ArrayLike,
        y: Any = None,
        *,
        target: npt.ArrayLike | None = None,
        validation_data: npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike | None] | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> Self: ...
    def least_size(self, n_features: int) -> tuple[int, int]: ...
    # using
    def fit_transform(self, X: npt.ArrayLike, y: Any = None, **fit_params: Any) -> Array: ...
    def transform(self, X: npt.ArrayLike, layer: int | None = None) -> Array: ...
    def inverse_transform(self, Z: npt.ArrayLike) -> Array: ...
    def reconstruct(self, X: npt.ArrayLike) -> Array: ...
    def score_samples(self, X: npt.ArrayLike, target: npt.ArrayLike | None = None) -> Array: ...
    def score(self, X: npt.ArrayLike, y: Any = None) -> float: ...
    def save(self, path: _P) -> _P: ...
    def get_feature_names_out(self, input_features: Any = None) -> Array: ...
