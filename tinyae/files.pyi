import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any, TypeVar

from .estimator import Estimator
from .nn import Module

_E = TypeVar("_E", bound=Estimator)
_P = TypeVar("_P", str, os.PathLike[str])

__all__ = ["CLASSES", "load", "save", "saved", "writing"]

CLASSES: dict[str, type[Estimator]]

def writing(path: str | os.PathLike[str], mode: str = "wb", **kwargs: Any) -> AbstractContextManager[IO[Any]]: ...
def saved(name: str, *parts: str) -> Callable[[type[_E]], type[_E]]: ...
def save(model: Estimator, path: _P) -> _P: ...
def load(
    path: str | os.PathLike[str],
    zoo: Mapping[str, type[Estimator]],
    encoder: Module | None = None,
    decoder: Module | None = None,
) -> Any: ...
