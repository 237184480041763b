"""The variational family: the code is a distribution, and the loss a bound on the likelihood."""

import numpy as np

from .. import nn, ops
from ..errors import SettingError
from ..ops.random import Generator
from .base import Autoencoder, variant
from .latent import numpy_generator

__all__ = ["BetaVAE", "VAE"]


@variant("vae", family="variational", paper="Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014",
         proof="formulas; KL equals its Monte Carlo estimate; a learned sigma finds the noise")  # fmt: skip
class VAE(Autoencoder):
    """The variational autoencoder: minimises -ELBO = E[-log p(x | z)] + KL(q(z | x) || N(0, 1)) in nats per row.

    The encoder gives mu and log sigma**2 of q(z | x); training decodes one draw z = mu + sigma * epsilon. The
    likelihood sums over features and the KL over components: 1/2 sum(mu**2 + sigma**2 - log sigma**2 - 1).

    Parameters (besides those of `Autoencoder`)
    ----------
    loss : str
        "bernoulli" for data in [0, 1] (grey values count as probabilities), or "gaussian".
    sigma : float or None
        The Gaussian likelihood's standard deviation, for all features; None learns it as one more parameter
        (Rybkin, Daniilidis and Levine 2021), starting from 1.

    Shape: as `Autoencoder`; an encoder of your own gives 2 * n_components values, the means first.
    """

    loss: str = "bernoulli"
    sigma: float = None

    losses = {
        "bernoulli": "sum over features of the binary cross-entropy + KL, mean over rows, nats",
        "gaussian": "sum over features of the Gaussian negative log-likelihood + KL, mean over rows, nats",
    }

    def encode(self, x):
        """(mu, logvar) of q(z | x). Shape: (batch, features) -> (batch, n_components) twice."""
        h = self.net_.encoder(x)
        return h[:, : self.n_components_], h[:, self.n_components_ :]

    def code(self, h):
        """A draw from q(z | x): mu + exp(logvar / 2) * epsilon."""
        mu, logvar = h
        return mu + ops.exp(0.5 * logvar) * ops.normal(mu, generator=self.noise_)

    def embed(self, h):
        """The mean of q(z | x)."""
        return h[0]

    def compare(self, a, target):
        """-log p(x | z) per row, in nats."""
        if self.loss == "bernoulli":
            return {"nll": self._feature_loss(a, target).sum(axis=1)}
        nll = nn.gaussian_nll(target, self._output(a), self._log_variance(), reduction="none")
        return {"nll": nll.sum(axis=1)}

    def penalise(self, h, z):
        """KL(q(z | x) || N(0, 1)) per row, in nats."""
        return {"kl": nn.kl_normal(*h, reduction="none").sum(axis=1)}

    def posterior(self, X):
        """Mean and standard deviation of q(z | x). Shape: (rows, features) -> (rows, n_components) twice."""
        X = self._check_input(X, "posterior")
        both = self._apply(X, self.net_.encoder)
        return both[:, : self.n_components_], np.exp(0.5 * both[:, self.n_components_ :])

    def sample(self, n=1, random_state=None):
        """n new rows: the likelihood's mean at codes drawn from the prior N(0, 1). Shape: -> (n, features)."""
        self._check_fitted("sample")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise SettingError(f"{type(self).__name__}.sample: n={n!r}. Give a whole number of at least 1.")
        codes = Generator(numpy_generator(random_state)).draw("normal", (int(n), self.n_components_), self.dtype)
        return self.inverse_transform(codes)

    def make_net(self):
        """As `Autoencoder`, with the logarithm of sigma as one more parameter if it is to be learned."""
        net = super().make_net()
        if self.loss == "gaussian" and self.sigma is None:
            net.log_sigma = nn.Parameter(np.zeros(()), dtype=self.dtype)
        return net

    def _log_variance(self):
        return 2.0 * (self.net_.log_sigma if self.sigma is None else np.log(np.asarray(self.sigma, self.dtype)))

    def _encoder_width(self):
        return 2 * self.n_components_

    def _dense(self, widths, last):
        # Both ends are linear: mu and log sigma**2 take any value, and the output's activation is the likelihood's.
        return super()._dense(widths, "linear")

    def _unbounded_losses(self):
        return ("gaussian",)

    def _check_settings(self):
        super()._check_settings()
        if self.sigma is not None:
            self._check_number("sigma", lambda value: value > 0, "a positive number, or None to learn it")


@variant("beta-vae", family="variational", paper="Higgins et al. 2017", aliases=("bvae",),
         proof="beta = 1 is the VAE to the bit; larger beta, smaller KL")  # fmt: skip
class BetaVAE(VAE):
    """The beta-VAE: minimises E[-log p(x | z)] + beta * KL(q(z | x) || N(0, 1)); beta = 1 is the `VAE`.

    Parameters (besides those of `VAE`)
    ----------
    beta : float
        The KL term's weight. Above 1 it trades reconstruction for codes whose components are independent.

    Shape: as `VAE`.
    """

    beta: float = 4.0

    losses = {name: text.replace("+ KL", "+ beta * KL") for name, text in VAE.losses.items()}

    def penalise(self, h, z):
        """beta * KL(q(z | x) || N(0, 1)) per row."""
        return {"kl": self.beta * super().penalise(h, z)["kl"]}

    def _check_settings(self):
        super()._check_settings()
        self._check_number("beta", lambda value: value >= 0, "a number of at least 0")
