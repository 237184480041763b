from collections.abc import Callable
from typing import NamedTuple

from matplotlib.figure import Figure

from .formats import Path

__all__ = ["CLAIMS", "Finding", "examine", "show"]

CLAIMS: dict[str, tuple[str, Callable[..., tuple[Figure, str, dict[str, bool]]]]]

class Finding(NamedTuple):
    name: str
    sentence: str
    figure: Figure
    line: str
    bounds: dict[str, bool]
    @property
    def holds(self) -> bool: ...
    @property
    def verdict(self) -> str: ...

def examine(name: str, data: Path = "digits", seed: int = 0, epochs: int | None = None) -> Finding: ...

def show(name: str, data: Path = "digits", seed: int = 0, epochs: int | None = None) -> tuple[Figure, str]: ...
