"""A likelihood whose errors hang together: where one pixel is wrong, its neighbours are wrong alike."""

import math

import numpy as np

from .. import nn, ops
from ..errors import DivergedError, SettingError
from .base import variant
from .convolutional import ImageRows
from .variational import VAE, gentle

__all__ = ["StructuredVAE"]

_FAR = 10.0  # standard deviations of the prior; codes farther away, of data that nobody scaled, would overflow exp
_LARGE = 40.0  # log(sigma) beyond which it grows no faster than its logarithm: any data's lies below
_OVERFLOWS = 88.0  # exp of it in float32


@variant("structured-vae", family="variational", aliases=("structured-covariance",),
         paper="Dorta, Vicente, Agapito, Campbell and Simpson 2018",
         proof="density and draws are those of the dense matrix; starts as the Gaussian VAE")  # fmt: skip
class StructuredVAE(ImageRows, VAE):
    """The structured VAE: p(x | z) = N(mu, (L L.T)**-1), where a second decoder of z gives L, sparse and triangular.

    ``nll = 1/2 |L.T (x - mu)|**2 - sum(log l_ii) + n/2 log(2 pi)``, exact; and the KL, as of `VAE`.

    L is the Cholesky factor of the precision. Column i has entries only for pixel i and for those neighbours that come
    later in raster order, 2 r (r + 1) of them at a neighbourhood of r. So the error of a pixel is a regression on those
    of its later neighbours: ``e_i = sum_j c_ij e_j + sigma_i epsilon_i``, with l_ii = 1 / sigma_i and
    l_ji = -c_ij / sigma_i. The decoder gives c and log(sigma - sigma_min).

    First the mean is trained alone, as `VAE` of loss "gaussian"; the covariance starts as that one's, sigma**2 for all
    pixels.

    Parameters (besides those of `VAE`)
    ----------
    neighbourhood : int
        How many rows and columns away a neighbour may be, less than the image is long; 0 leaves a variance for every
        pixel, and no covariance.
    image_shape : tuple of int or None
        As of `ConvolutionalAutoencoder`. Channels are independent of each other.
    sigma : float or None
        That of the first training, where the covariance starts; None learns it.
    sigma_min : float
        Every sigma_i is above it. At 0 pixels that never change have an infinite density.
    pretrain_iter : int or None
        Epochs for the mean alone; None: as many as max_iter, 0: none.
    freeze : bool
        After them, encoder and mean stay as they are, and only the covariance learns.

    ``pretraining_`` is the history of the first training.

    Differs from the paper: L's columns are given in units of their diagonal, as c; the diagonal is bounded.

    Shape: as `VAE`; a row is an image flattened as (channels, height, width).
    """

    loss: str = "gaussian"
    neighbourhood: int = 1
    sigma_min: float = 0.01
    pretrain_iter: int = None
    freeze: bool = True

    losses = {"gaussian": "Gaussian negative log-likelihood with full covariance + KL, mean over rows, nats"}

    # -- the sentence -----------------------------------------------------------------------------------------------

    def unfold(self, z, target):
        """The mean before its activation, and the factor: (batch, features), (batch, features * (1 + neighbours))."""
        return self.decode(z), self._factor_values(z)

    def _factor_values(self, z):
        return self.net_.factor(ops.clip(z, low=-_FAR, high=_FAR))

    def compare(self, a, target):
        """-log p(x | z) per row, in nats."""
        mean, factor = a
        sigma, c = self._split_factor(factor)
        e = target - self._output(mean)
        fresh = e - ops.sum(c * self._later(e), axis=1) if self._offsets() else e
        volume = ops.sum(ops.log(sigma), axis=1) + 0.5 * self.n_features_in_ * math.log(2.0 * math.pi)
        return {"nll": 0.5 * ops.sum(ops.square(fresh / sigma), axis=1) + volume}

    def image(self):
        """As `ConvolutionalAutoencoder`; SettingError also where the neighbourhood is as large as that, or larger."""
        shape = super().image()
        if self.neighbourhood >= max(2, *shape[1:]):  # 1, the default, fits any
            raise SettingError(
                f"{type(self).__name__}: neighbourhood={self.neighbourhood!r} of images of {shape[1]} by {shape[2]} "
                f"pixels. Give at most {max(2, *shape[1:]) - 1}."
            )
        return shape

    def _offsets(self):
        """(rows down, columns to the right) of every later neighbour."""
        r = int(self.neighbourhood)
        return [(dy, dx) for dy in range(r + 1) for dx in range(-r, r + 1) if (dy, dx) > (0, 0)]

    def _split_factor(self, factor):
        """sigma (batch, features) and c (batch, neighbours, features)."""
        n, k = self.n_features_in_, len(self._offsets())
        c = ops.reshape(factor[:, n:], shape=(factor.shape[0], k, n)) if k else None
        return self.sigma_min + ops.exp(gentle(factor[:, :n], _LARGE)), c

    def _later(self, e):
        """What stands at each later neighbour, 0 beyond the border. Shape: (batch, n) -> (batch, neighbours, n)."""
        (channels, height, width), r = self.image(), int(self.neighbourhood)
        e = ops.reshape(e, shape=(e.shape[0], channels, height, width))
        e = ops.pad(e, widths=((0, 0), (0, 0), (0, r), (r, r)))
        parts = [e[:, :, dy : dy + height, r + dx : r + dx + width] for dy, dx in self._offsets()]
        return ops.reshape(ops.stack(*parts, axis=1), shape=(e.shape[0], len(parts), self.n_features_in_))

    # -- fitting ----------------------------------------------------------------------------------------------------

    def make_net(self):
        """Encoder, decoder, and ``factor``, a second decoder; it starts without covariances."""
        self.image()  # refuses one of another size
        net = super(VAE, self).make_net()
        n = self.n_features_in_
        widths = (self.n_components_, *self._hidden()[::-1], n * (1 + len(self._offsets())))
        net.factor = self._dense(widths, "linear")
        net.factor[-1].weight.data = np.zeros_like(net.factor[-1].weight.data)
        self._start(net, 1.0 if self.sigma is None else self.sigma)
        return net

    def _start(self, net, sigma):
        """Let every pixel's variance be sigma**2, or little more than the least."""
        bias = np.zeros_like(net.factor[-1].bias.data)
        bias[: self.n_features_in_] = math.log(max(sigma - self.sigma_min, 0.1 * self.sigma_min))
        net.factor[-1].bias.data = bias

    def prepare(self, X, target):
        """Train the mean."""
        self.pretraining_ = {}
        epochs = self.max_iter if self.pretrain_iter is None else self.pretrain_iter
        if epochs == 0:
            return X, target
        shared = {name: getattr(self, name) for name in VAE.settings()}
        part = VAE(**{
            **shared, "max_iter": epochs, "early_stopping": False, "random_state": self._init_rng,
        })._fit(X, target, None, ())  # fmt: skip
        self.pretraining_ = part.history_
        self.net_.encoder, self.net_.decoder = part.net_.encoder, part.net_.decoder
        log_sigma = part._log_sigma().item()
        if not log_sigma < _OVERFLOWS:
            raise DivergedError(
                f"{type(self).__name__}: while pretraining, log sigma became {log_sigma:g}. Lower lr, or scale the data "
                "to about [0, 1] or unit variance."
            )
        self._start(self.net_, math.exp(log_sigma))
        if self.freeze:
            self.net_.encoder.requires_grad_(False)
            self.net_.decoder.requires_grad_(False)
        return X, target

    # -- using ------------------------------------------------------------------------------------------------------

    def precision_factor(self, Z):
        """L of p(x | z) for every code, dense; the precision is L L.T. Shape: (rows, n_components) -> (rows, n, n)."""
        sigma, c = self._factor_of(Z, "precision_factor")
        (channels, height, width), n = self.image(), self.n_features_in_
        number = np.arange(n).reshape(channels, height, width)
        y, x = np.indices((height, width))
        factor = np.zeros((len(sigma), n, n), self.dtype)
        factor[:, number.ravel(), number.ravel()] = 1.0 / sigma
        for k, (dy, dx) in enumerate(self._offsets()):
            inside = (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            i = number[:, inside].ravel()
            factor[:, i + dy * width + dx, i] = -c[:, k, i] / sigma[:, i]
        return factor

    def covariance(self, Z):
        """The covariance (L L.T)**-1 of p(x | z) for every code. Shape: (rows, n_components) -> (rows, n, n)."""
        inverse = np.linalg.inv(self.precision_factor(Z).astype(np.float64))
        return (inverse.mT @ inverse).astype(self.dtype)

    def _factor_of(self, Z, action):
        """sigma and c for codes, as arrays."""
        self._check_fitted(action)
        Z = self._check_table(Z, action, self.n_components_, "Z")
        sigma, c = self._split_factor(self._apply(Z, lambda model, z: model._factor_values(z)))
        return sigma, c

    def _draw(self, means, codes, noise):
        """means + e, where L.T e = epsilon: from the last pixel to the first. Those of equal (r + 1) y + x do not wait
        for one another, and are found at once.
        """
        (channels, height, width), r, rows = self.image(), int(self.neighbourhood), len(means)
        sigma, c = self._factor_of(codes, "sample")
        fresh = (sigma * noise.draw("normal", means.shape, self.dtype)).reshape(rows, channels, height, width)
        c = None if c is None else c.reshape(rows, -1, channels, height, width)
        e = np.zeros((rows, channels, height + r, width + 2 * r), self.dtype)
        for front in reversed(range((r + 1) * (height - 1) + width)):
            y = np.arange(max(0, -(-(front - width + 1) // (r + 1))), min(height - 1, front // (r + 1)) + 1)
            x = front - (r + 1) * y
            e[:, :, y, x + r] = fresh[:, :, y, x]
            for k, (dy, dx) in enumerate(self._offsets()):
                e[:, :, y, x + r] += c[:, k, :, y, x].transpose(1, 2, 0) * e[:, :, y + dy, x + r + dx]
        return means + e[:, :, :height, r : r + width].reshape(rows, -1)

    def least_size(self, n_features):
        """As of `VAE`, and the factor's last layer."""
        (least, widest), r = super().least_size(n_features), int(self.neighbourhood)
        n_in = (*self._hidden(n_features), self._code_length(n_features))[0]
        return least + n_in * n_features * (1 + 2 * r * (r + 1)), widest

    def _check_settings(self):
        super()._check_settings()
        self._check_count("neighbourhood", least=0)
        if self.pretrain_iter is not None:
            self._check_count("pretrain_iter", least=0)
        self._check_number("sigma_min", lambda value: value >= 0, "a number of at least 0")
        self._check_flag("freeze")
