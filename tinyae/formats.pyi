import os
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["CHUNK", "bad_values", "place", "read"]

ACCEPTED: str
CHUNK: int
FREE: int
IDX_DTYPES: dict[int, str]
LABELS: tuple[str, ...]
LIMIT: int
LINE: int
RATIO: int

def read(path: Path) -> tuple[Array, Array | None]: ...
def place(path: Path) -> str: ...
def bad_values(X: Array) -> tuple[int, tuple[int, int] | None]: ...
