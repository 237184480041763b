from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar
from weakref import WeakSet

_F = TypeVar("_F", bound=Callable[..., Any])

__all__ = ["mode", "no_grad", "recording", "replaying", "watching"]

mode: Any

class no_grad:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    def __call__(self, function: _F) -> _F: ...

class recording(no_grad): ...

def watching() -> AbstractContextManager[tuple[dict[Any, int], WeakSet[Any]]]: ...
def replaying(noise: dict[Any, int], written: WeakSet[Any]) -> AbstractContextManager[None]: ...
