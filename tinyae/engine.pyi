# Types of the engine's public names; what is private to the package is Any here.
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from .hooks import Handle
from .mode import no_grad as no_grad
from .tensor import Tensor

Array = npt.NDArray[Any]
_Numbers: TypeAlias = Array | np.number[Any] | float | list[Any] | tuple[Any, ...]  # an ArrayLike may be text

__all__ = [
    "KEEP_SMALL",
    "OPS",
    "Node",
    "Op",
    "Var",
    "broadcast_to",
    "cast",
    "grad",
    "no_grad",
    "op",
    "sum_to",
    "written",
]

KEEP_SMALL: int
OPS: dict[str, Op]

class Node:
    op: Op | None
    parents: Sequence[Node | None]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: int
    recipe: Any
    kept: Any
    writes: Any
    settings: Any
    where: Any
    value: Any
    grad: Any
    hooks: Any
    outdated: Any

    def __init__(
        self, op: Op | None, parents: Any, recipe: Any, kept: Any, writes: Any, settings: Any, y: Array, where: Any
    ) -> None: ...

class Var:
    @property
    def grad(self) -> Tensor | None: ...
    @grad.setter
    def grad(self, value: Var | npt.ArrayLike | None) -> None: ...
    @property
    def requires_grad(self) -> bool: ...
    @property
    def is_leaf(self) -> bool: ...
    def requires_grad_(self, flag: bool = True) -> Self: ...
    def retain_grad(self) -> Self: ...
    def register_hook(self, hook: Callable[[Tensor], Tensor | npt.ArrayLike | None]) -> Handle: ...
    def detach(self) -> Tensor: ...
    def backward(
        self, g: Var | _Numbers | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None: ...

class _OpFunction:
    """What `op` and `custom_op` make of a definition."""

    op: Op
    __name__: str
    def vjp(self, *which: Any) -> Any: ...
    @overload
    def __call__(self, a: Tensor, *others: Any, **settings: Any) -> Tensor: ...
    @overload
    def __call__(self, a: Array, b: Tensor, *others: Any, **settings: Any) -> Tensor: ...
    @overload
    def __call__(self, *arrays: Any, **settings: Any) -> Any: ...

def _wrap(cls: Any, data: Any, node: Any, writes: Any) -> Any: ...

class Op:
    name: str
    definition: Callable[..., Any]
    arguments: tuple[str, ...]
    settings: tuple[str, ...]
    defaults: dict[str, Any]
    elementwise: bool
    view: bool
    variadic: bool
    function: Any

    def __init__(
        self,
        definition: Callable[..., Any],
        elementwise: bool,
        view: bool,
        domain: tuple[float, float] | None,
        kinks: tuple[float | str, ...],
        listed: bool = True,
    ) -> None: ...
    def vjp(self, *which: Any) -> Any: ...
    def __call__(self, *args: Any, **settings: Any) -> Any: ...

@overload
def op(definition: Callable[..., Any], /) -> _OpFunction: ...
@overload
def op(
    definition: None = None,
    /,
    *,
    elementwise: bool = False,
    view: bool = False,
    domain: tuple[float, float] = ...,
    kinks: tuple[float | str, ...] = (),
) -> Callable[[Callable[..., Any]], _OpFunction]: ...
@overload
def grad(
    output: Var,
    inputs: Var,
    g: Var | _Numbers | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Tensor: ...
@overload
def grad(
    output: Var,
    inputs: Sequence[Var],
    g: Var | _Numbers | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]: ...
def broadcast_to(x: Any, /, *, shape: Sequence[int]) -> Any: ...
def sum_to(x: Any, /, *, shape: Sequence[int]) -> Any: ...
def cast(x: Any, /, *, dtype: npt.DTypeLike) -> Any: ...
def written(*vars: Var) -> None: ...
