"""Convolutional nets: rows are images, and a weight serves every place of them."""

import math

import numpy as np

from .. import nn, ops
from ..errors import SettingError
from .base import Autoencoder, variant
from .denoising import Spoils

__all__ = ["ConvolutionalAutoencoder", "ConvolutionalDenoisingAutoencoder", "ImageRows"]

_DOWN = ("pool", "stride")


class _Crop(nn.Module):
    """The upper left part of images. Shape: (n, channels, H, W) -> (n, channels, height, width)."""

    def __init__(self, height, width):
        self.height, self.width = height, width

    def forward(self, x):
        """x[:, :, :height, :width]."""
        everything = slice(None)
        return ops.getitem(x, index=(everything, everything, slice(self.height), slice(self.width)))

    def extra_repr(self):
        """height, width."""
        return f"{self.height}, {self.width}"


class ImageRows:
    """What models share whose rows are images: the setting image_shape, and what it comes to."""

    image_shape: tuple = None

    def image(self):
        """(channels, height, width) of the image that is a row: image_shape, or one channel, as nearly square as can
        be. SettingError where it has not as many pixels as a row.
        """
        n, shape = self.n_features_in_, self.image_shape
        if shape is None:
            height = next(h for h in range(math.isqrt(n), 0, -1) if n % h == 0)
            shape = height, n // height
        if math.prod(shape) != n:
            raise SettingError(
                f"{type(self).__name__}: image_shape={self.image_shape!r} has {math.prod(shape)} pixels, the rows have "
                f"{n}. Give (height, width) or (channels, height, width) of the images."
            )
        return (1, *map(int, shape))[-3:]

    def _check_settings(self):
        super()._check_settings()
        shape = self.image_shape
        if shape is not None and not (
            isinstance(shape, (tuple, list)) and len(shape) in (2, 3) and all(_is_size(n) for n in shape)
        ):
            raise SettingError(
                f"{type(self).__name__}: image_shape={shape!r}. Give (height, width) or (channels, height, width)."
            )


@variant("convolutional", family="deterministic", paper="Masci, Meier, Ciresan and Schmidhuber 2011",
         aliases=("conv",), proof="sizes halve and come back, odd ones too; codes move with the image")  # fmt: skip
class ConvolutionalAutoencoder(ImageRows, Autoencoder):
    """The convolutional autoencoder: z = dense(pool(f(conv(... x)))), x_hat = conv(... up(f(conv(up(dense z))))).

    ``loss = mean over rows and pixels of (x_hat - x)**2``, or of the binary cross-entropy. Every entry of ``hidden`` is
    the number of channels of a convolution after which height and width are halved; odd sizes are rounded up, and cut
    off again on the way back.

    Parameters (besides those of `Autoencoder`)
    ----------
    n_components : int or None
        The code's length; None takes the last layer's maps as the code, without a dense layer.
    image_shape : tuple of int or None
        (height, width) or (channels, height, width) of the image that is a row. None takes one channel, as nearly
        square as the number of features allows.
    kernel_size : int
        Odd, so that windows have a middle.
    down : str
        "pool": convolution, then the largest of 2 by 2; back by repeating pixels. "stride": convolutions of stride 2,
        back by transposed ones.

    Differs from the paper: biases per channel; upsampling where the paper restores the maxima's places by zeros.

    Shape: as `Autoencoder`; a row is an image flattened as (channels, height, width).
    """

    n_components: int = 16
    hidden: tuple = (16, 8)
    kernel_size: int = 3
    down: str = "pool"

    def make_encoder(self):
        """Convolutions that halve the image, and a dense layer. Shape: (batch, features) -> (batch, n_components)."""
        sizes, channels = self._sizes()
        layers = [nn.Reshape(channels[0], *sizes[0])]
        for n_in, n_out, (height, width) in zip(channels, channels[1:], sizes):
            if self.down == "stride":
                layers += [nn.Conv2d(n_in, n_out, self.kernel_size, stride=2, padding=self.kernel_size // 2,
                                     **self._starts()), *self._activated()]  # fmt: skip
            else:
                odd = height % 2, width % 2  # padded, so that the last row is not left out
                layers += [nn.Conv2d(n_in, n_out, self.kernel_size, padding="same", **self._starts()),
                           *self._activated(), nn.MaxPool2d(2, padding=odd)]  # fmt: skip
        layers.append(nn.Flatten())
        if self.n_components is not None:
            dense = self._dense((channels[-1] * math.prod(sizes[-1]), self._encoder_width()), self._code_activation())
            layers += list(dense)
        return nn.Sequential(*layers)

    def make_decoder(self, encoder):
        """The encoder's mirror image. Shape: (batch, n_components) -> (batch, features)."""
        sizes, channels = self._sizes()
        layers = []
        if self.n_components is not None:
            layers += list(self._dense((self.n_components_, channels[-1] * math.prod(sizes[-1])), self.activation))
        layers.append(nn.Reshape(channels[-1], *sizes[-1]))
        steps = zip(channels[::-1], channels[-2::-1], sizes[::-1], sizes[-2::-1])
        for number, (n_in, n_out, small, (height, width)) in enumerate(steps):
            if self.down == "stride":
                layers.append(nn.ConvTranspose2d(n_in, n_out, self.kernel_size, stride=2, padding=self.kernel_size // 2,
                                                 output_padding=1, **self._starts()))  # fmt: skip
            else:
                layers += [nn.Upsample(2), nn.Conv2d(n_in, n_out, self.kernel_size, padding="same", **self._starts())]
            if (height, width) != (2 * small[0], 2 * small[1]):
                layers.append(_Crop(height, width))
            layers += self._activated() if number < len(self.hidden) - 1 else []
        return nn.Sequential(*layers, nn.Flatten())

    def least_size(self, n_features):
        """The convolutions' weights and those of one dense layer, at least."""
        channels, pixels = self._hidden(), n_features
        least = sum(a * b for a, b in zip(channels, channels[1:])) * self.kernel_size**2
        if self.n_components is not None:
            if channels:  # no less than a quarter of the pixels is left each time
                first = self.image_shape[0] if self.image_shape is not None and len(self.image_shape) == 3 else 1
                pixels = channels[-1] * -(-n_features // (int(first) * 4 ** len(channels)))
            least += pixels * int(self.n_components)
        return least, max(channels, default=0)

    def _starts(self):
        return {"init": self.init, "generator": self._init_rng, "dtype": self.dtype}

    def _activated(self):
        return [] if self.activation == "linear" else [nn.activation(self.activation)]

    def _sizes(self):
        """((height, width), ...) before each convolution and after the last; the channels likewise."""
        first, height, width = self.image()
        sizes = [(height, width)]
        for _ in self.hidden:
            sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
        return sizes, (first, *self._hidden())

    def _code_length(self):
        if self.n_components is not None:
            return super()._code_length()
        sizes, channels = self._sizes()
        return channels[-1] * math.prod(sizes[-1])

    def _check_settings(self):
        super()._check_settings()
        name = type(self).__name__
        self._check_choice("down", _DOWN)
        if not _is_size(self.kernel_size) or self.kernel_size % 2 == 0:
            raise SettingError(f"{name}: kernel_size={self.kernel_size!r}. Give an odd whole number.")
        if self.n_components is None and not len(self.hidden):
            raise SettingError(f"{name}: n_components=None without hidden layers has no weights. Give one of them.")
        if self.n_components is None and self._code_activation() != self.activation:
            raise SettingError(
                f"{name}: code_activation={self.code_activation!r}, but the maps of n_components=None have the layers' "
                "own. Give activation alone."
            )

    def _counts(self):
        counts = super()._counts()
        return {name: n for name, n in counts.items() if name != "n_components" or n is not None}


@variant("conv-denoising", family="deterministic",
         paper="Vincent, Larochelle, Bengio and Manzagol 2008; Masci, Meier, Ciresan and Schmidhuber 2011",
         aliases=("convolutional-denoising", "conv-dae"),
         proof="without noise it is convolutional to the bit; removes noise")  # fmt: skip
class ConvolutionalDenoisingAutoencoder(Spoils, ConvolutionalAutoencoder):
    """The convolutional denoising autoencoder: x_hat = decoder(encoder(corrupt(x))), compared with the clean x, by the
    nets of `ConvolutionalAutoencoder`.

    Parameters are those of `ConvolutionalAutoencoder`, and noise, corruption and fresh of `DenoisingAutoencoder`.

    Shape: as `ConvolutionalAutoencoder`.
    """


def _is_size(n):
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0
