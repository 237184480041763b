import os
from typing import Any, TypeAlias

import numpy.typing as npt

from .delimited import Found

Array: TypeAlias = npt.NDArray[Any]
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["CHUNK", "bad_values", "place", "read", "read_all"]

ACCEPTED: str
CHUNK: int
FREE: int
IDX_DTYPES: dict[int, str]
LIMIT: int
RATIO: int
ROWS: tuple[str, ...]

def read(path: Path) -> tuple[Array, Array | None]: ...
def read_all(path: Path, **text: object) -> Found: ...
def place(path: Path) -> str: ...
def bad_values(X: Array) -> tuple[int, tuple[int, int] | None]: ...
