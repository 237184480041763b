import os
from collections.abc import Callable, Sequence
from typing import Literal

__all__ = ["download"]

CHUNK: int
SLOWEST: int

def download(
    name: Literal["mnist", "fashion-mnist"] | str,
    folder: str | os.PathLike[str] | None = None,
    *,
    mirrors: str | Sequence[str] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    timeout: float = 30.0,
) -> str: ...
