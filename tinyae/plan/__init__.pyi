from collections.abc import Callable
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

import numpy.typing as npt

from ..data import Batches

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Array = TypeVar("_Array", bound=npt.NDArray[Any])
_Precision = Literal["highest", "high", "medium"]
_Backend = Literal["c", "numpy"]

__all__ = ["Compiled", "compile", "constant"]

def constant(array: _Array) -> _Array: ...
@overload
def compile(
    step: Callable[_P, _T],
    /,
    *,
    precision: _Precision = "highest",
    backend: _Backend | None = None,
    after: int = 0,
    fallback: bool = False,
    watch: Callable[[], object] | None = None,
) -> Compiled[_P, _T]: ...
@overload
def compile(
    step: None = None,
    /,
    *,
    precision: _Precision = "highest",
    backend: _Backend | None = None,
    after: int = 0,
    fallback: bool = False,
    watch: Callable[[], object] | None = None,
) -> Callable[[Callable[_P, _T]], Compiled[_P, _T]]: ...

class Compiled(Generic[_P, _T]):
    step: Callable[_P, _T]
    precision: _Precision
    backend: _Backend
    after: int
    fallback: bool
    watch: Callable[[], object] | None
    plans: dict[Any, list[Any]]
    refused: dict[Any, str]

    def __init__(
        self,
        step: Callable[_P, _T],
        precision: _Precision,
        backend: _Backend,
        after: int,
        fallback: bool,
        watch: Callable[[], object] | None,
    ) -> None: ...
    def __set_name__(self, owner: type, name: str) -> None: ...
    def __get__(self, thing: Any, owner: type | None = None) -> Compiled[..., _T]: ...
    def __set__(self, thing: Any, value: Any) -> None: ...
    def __call__(self, *arrays: Any, **settings: Any) -> _T: ...
    def over(self, batches: Batches[Any], seconds: float = 0.05) -> Any: ...
    def explain(self) -> None: ...
    def profile(self, repeats: int = 30) -> None: ...
    def __deepcopy__(self, memo: Any) -> Any: ...
    def __reduce__(self) -> Any: ...
