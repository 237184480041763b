from typing import IO, NamedTuple

from .formats import Array

__all__ = ["LABELS", "Found", "parse"]

LABELS: tuple[str, ...]
LINE: int

class Found(NamedTuple):
    X: Array
    y: Array | None = None
    X_test: Array | None = None
    y_test: Array | None = None
    image_shape: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

def parse(
    stream: IO[bytes],
    where: str,
    *,
    chunk: int,
    limit: int,
    room: int | None = None,
    spaces: bool = False,
    delimiter: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
) -> Found: ...
