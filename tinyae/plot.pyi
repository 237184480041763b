import numpy.typing as npt
from matplotlib.figure import Figure

from .ae import Autoencoder
from .ae.variational import VAE

__all__ = ["latent", "loss", "png", "reconstructions", "samples"]

def png(figure: Figure) -> bytes: ...
def loss(model: Autoencoder) -> Figure: ...
def reconstructions(
    model: Autoencoder,
    X: npt.ArrayLike,
    image_shape: tuple[int, int] | None = None,
    corrupted: npt.ArrayLike | None = None,
    columns: int = 12,
) -> Figure: ...
def samples(model: VAE, image_shape: tuple[int, int], n: int = 48, random_state: int = 0) -> Figure: ...
def latent(model: Autoencoder, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Figure: ...
