from collections.abc import Sequence
from typing import Literal

from ..estimator import _first
from .base import Autoencoder
from .denoising import Spoils

__all__ = ["ConvolutionalAutoencoder", "ConvolutionalDenoisingAutoencoder", "ImageRows"]

class ImageRows:
    image_shape: Sequence[int] | None = None

    def image(self) -> tuple[int, int, int]: ...

class ConvolutionalAutoencoder(ImageRows, Autoencoder):
    n_components: int | None = _first(default=16, kw_only=False)
    hidden: Sequence[int] = (16, 8)
    image_shape: Sequence[int] | None = None
    kernel_size: int = 3
    down: Literal["pool", "stride"] = "pool"

class ConvolutionalDenoisingAutoencoder(Spoils, ConvolutionalAutoencoder): ...
