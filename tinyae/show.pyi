from collections.abc import Callable

from matplotlib.figure import Figure

from .formats import Path

__all__ = ["CLAIMS", "show"]

CLAIMS: dict[str, tuple[str, Callable[..., tuple[Figure, str]]]]

def show(name: str, data: Path = "digits", seed: int = 0, epochs: int | None = None) -> tuple[Figure, str]: ...
