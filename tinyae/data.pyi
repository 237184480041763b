from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from .formats import Array, Path

_Float: TypeAlias = type[np.float32] | type[np.float64] | np.dtype[Any] | Literal["float32", "float64"]

__all__ = [
    "DIGITS",
    "NAMES",
    "PARTS",
    "SOURCES",
    "Batches",
    "Dataset",
    "Source",
    "as_float",
    "batches",
    "cache_dir",
    "load_data",
    "places",
    "status",
]

IN_MEMORY: int
DIGITS: str
NAMES: tuple[str, ...]
PARTS: tuple[str, ...]
SOURCES: dict[str, Source]

class Source:
    files: dict[str, tuple[int, str]]
    mirrors: tuple[str, ...]
    first_labels: tuple[int, ...]
    licence: str
    attribution: str

    def __init__(
        self,
        files: dict[str, tuple[int, str]],
        mirrors: tuple[str, ...],
        first_labels: tuple[int, ...],
        licence: str,
        attribution: str,
    ) -> None: ...

class Dataset:
    X: Array
    y: Array | None
    X_test: Array | None
    y_test: Array | None
    name: str
    image_shape: tuple[int, ...] | None
    scale: float
    source: str
    attribution: str

    def __init__(
        self,
        X: Array,
        y: Array | None = None,
        X_test: Array | None = None,
        y_test: Array | None = None,
        *,
        name: str = "",
        image_shape: tuple[int, ...] | None = None,
        scale: float = 1.0,
        source: str = "",
        attribution: str = "",
    ) -> None: ...
    def split(self, fraction: float = 0.2, seed: int = 0) -> Dataset: ...
    def holdout(self, fraction: float = 0.2, seed: int = 0) -> tuple[Array, Array]: ...

def load_data(
    name: Path,
    *,
    scale: float | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
) -> Dataset: ...
def places() -> list[str]: ...
def cache_dir() -> str: ...
def status() -> list[tuple[str, str, int, str]]: ...
@overload
def batches(
    X: npt.ArrayLike,
    batch_size: int,
    *,
    generator: np.random.Generator | None = None,
    scale: float | None = None,
    dtype: _Float = ...,
    target: None = None,
    least: int = 1,
) -> Batches[Array]: ...
@overload
def batches(
    X: npt.ArrayLike,
    batch_size: int,
    *,
    generator: np.random.Generator | None = None,
    scale: float | None = None,
    dtype: _Float = ...,
    target: npt.ArrayLike,
    least: int = 1,
) -> Batches[tuple[Array, Array]]: ...

_Batch = TypeVar("_Batch")

class Batches(Generic[_Batch]):
    sources: list[tuple[Array, float, np.dtype[Any]]]
    batch_size: int
    generator: np.random.Generator | None
    whole: int

    def __init__(
        self,
        sources: list[tuple[Array, float, np.dtype[Any]]],
        batch_size: int,
        generator: np.random.Generator | None,
        least: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Batch]: ...
    def order(self) -> Array: ...
    def after(self, start: int) -> int: ...
    def rows(self) -> Iterator[slice | Array]: ...
    def take(self, rows: slice | Array) -> _Batch: ...

def as_float(X: npt.ArrayLike, scale: float | None = None, dtype: _Float = ...) -> Array: ...
