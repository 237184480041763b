from typing import NamedTuple

__all__ = ["ERRATA", "Erratum"]

class Erratum(NamedTuple):
    said: str
    right: str
    test: str

ERRATA: tuple[Erratum, ...]
