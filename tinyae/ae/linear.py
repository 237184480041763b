"""Linear and tied nets: the autoencoder that is principal component analysis, and the one whose decoder is free."""

import numpy as np

from .. import nn
from ..errors import SettingError
from .base import Autoencoder, variant

__all__ = ["LinearAutoencoder", "MayBeTied", "TiedAutoencoder", "tied_decoder"]


def tied_decoder(model, encoder):
    """The encoder's linear layers in reverse order, transposed, with biases of their own and activations between them.

    SettingError if there is none. Shape: of the module: (batch, n_components) -> (batch, features).
    """
    linears = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    if not linears:
        raise SettingError(
            f"{type(model).__name__}: your encoder has no Linear layer to be tied to. Use weights that are not tied."
        )
    layers = []
    for linear in reversed(linears):
        layers += [nn.Tied(linear), *([] if model.activation == "linear" else [nn.activation(model.activation)])]
    return nn.Sequential(*layers if model.activation == "linear" else layers[:-1])


class MayBeTied(Autoencoder):
    """For variants whose weights may be tied: a setting ``tied``, by default False."""

    tied: bool = False

    def make_decoder(self, encoder):
        """The encoder's mirror image, by weights of its own or the encoder's. Shape: as `Autoencoder`."""
        return tied_decoder(self, encoder) if self.tied else super().make_decoder(encoder)

    def _check_settings(self):
        super()._check_settings()
        self._check_flag("tied")


@variant("linear", family="deterministic", paper="Baldi and Hornik 1989; Kunin et al. 2019", aliases=("pca",),
         proof="components are PCA's axes; without decay its plane")  # fmt: skip
class LinearAutoencoder(Autoencoder):
    """The linear autoencoder: x_hat = (x W + b) V + c, trained by squared error; at the optimum it is PCA.

    ``loss = mean over rows and features of (x_hat - x)**2``; while training, + decay * (sum of all weights squared).

    Without decay the codes span the space of the first principal components, by an arbitrary basis (Baldi and Hornik).
    Any decay, however small, singles out (the smaller, the later) the basis in which the right singular vectors of V
    are the principal components themselves (Kunin et al.): ``components_``. It also shrinks what has little variance.

    Shape: as `Autoencoder`.
    """

    hidden: tuple = ()
    activation: str = "linear"
    output_activation: str = "linear"

    losses = {"mse": Autoencoder.losses["mse"]}

    @property
    def components_(self):
        """The right singular vectors of the decoder, longest axis first: orthonormal. Shape: (k, features).

        k is n_components, or features if these are fewer.
        """
        self._check_fitted("components_")
        codes = np.eye(self.n_components_, dtype=self.dtype)
        decoder = self.inverse_transform(codes) - self.inverse_transform(0 * codes)
        return np.linalg.svd(decoder, full_matrices=False)[2]

    def _check_settings(self):
        super()._check_settings()
        for setting in ("activation", "code_activation", "output_activation"):
            if getattr(self, setting) not in ("linear", None):
                raise SettingError(
                    f"{type(self).__name__}: {setting}={getattr(self, setting)!r} is not linear. Use Autoencoder."
                )


@variant("tied", family="deterministic", paper="Vincent, Larochelle, Lajoie, Bengio and Manzagol 2010",
         proof="decoder recomputed from the encoder's matrices")  # fmt: skip
class TiedAutoencoder(Autoencoder):
    """The autoencoder with tied weights: every layer of the decoder is one of the encoder's, transposed.

    ``z = f(x W + b)``, ``x_hat = g(z W.T + c)``: half the weights, and no way to be nearly linear by small weights in
    the encoder and large ones in the decoder. Losses are those of `Autoencoder`.

    An encoder of your own may be any row of Linear layers and activations.

    Shape: as `Autoencoder`.
    """

    def make_decoder(self, encoder):
        """The encoder's layers in reverse order, transposed, with biases of their own."""
        return tied_decoder(self, encoder)
