from collections.abc import Mapping, Sequence

import numpy.typing as npt
from matplotlib.figure import Figure

from .ae import Autoencoder
from .ae.variational import VAE
from .ae.walkback import WalkbackAutoencoder

__all__ = [
    "bells",
    "curves",
    "filters",
    "histogram",
    "images",
    "interpolation",
    "latent",
    "loss",
    "manifold",
    "matrices",
    "neighbours",
    "png",
    "reconstructions",
    "require",
    "samples",
    "traversal",
    "walk",
]

def require() -> type[Figure]: ...
def png(figure: Figure) -> bytes: ...
def loss(model: Autoencoder) -> Figure: ...
def reconstructions(
    model: Autoencoder,
    X: npt.ArrayLike,
    image_shape: tuple[int, int] | None = None,
    corrupted: npt.ArrayLike | None = None,
    columns: int = 12,
) -> Figure: ...
def samples(
    model: VAE | WalkbackAutoencoder, image_shape: tuple[int, int], n: int = 48, random_state: int = 0
) -> Figure: ...
def latent(
    model: Autoencoder | Mapping[str, Autoencoder], X: npt.ArrayLike, y: npt.ArrayLike | None = None
) -> Figure: ...
def histogram(model: Autoencoder | Mapping[str, Autoencoder], X: npt.ArrayLike, bins: int = 50) -> Figure: ...
def curves(
    lines: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    xlabel: str,
    ylabel: str,
    log: str = "",
    dashed: Sequence[str] = (),
) -> Figure: ...
def bells(z: npt.ArrayLike, named: Mapping[str, npt.ArrayLike]) -> Figure: ...
def matrices(named: Mapping[str, npt.ArrayLike]) -> Figure: ...
def filters(
    model: Autoencoder | Mapping[str, Autoencoder], image_shape: tuple[int, int], n: int = 32
) -> Figure: ...
def manifold(
    model: Autoencoder, image_shape: tuple[int, int], n: int = 15, low: float = -2.0, high: float = 2.0
) -> Figure: ...
def traversal(
    model: Autoencoder,
    x: npt.ArrayLike,
    image_shape: tuple[int, int],
    values: Sequence[float] = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0),
    components: Sequence[int] | None = None,
) -> Figure: ...
def interpolation(
    model: Autoencoder, start: npt.ArrayLike, end: npt.ArrayLike, image_shape: tuple[int, int], steps: int = 10
) -> Figure: ...
def neighbours(
    model: Autoencoder, X: npt.ArrayLike, query: npt.ArrayLike, image_shape: tuple[int, int], k: int = 8
) -> Figure: ...
def walk(
    model: WalkbackAutoencoder, X: npt.ArrayLike, image_shape: tuple[int, int], steps: int = 12, random_state: int = 0
) -> Figure: ...
def images(named_rows: Mapping[str, npt.ArrayLike], image_shape: tuple[int, int]) -> Figure: ...
