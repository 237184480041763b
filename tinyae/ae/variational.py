"""The variational family: the code is a distribution, and the loss a bound on the likelihood."""

import math
from statistics import NormalDist

import numpy as np

from .. import nn, ops
from ..data import batches
from ..engine import no_grad
from ..errors import SettingError
from ..nn.norm import _least_rows
from ..ops.random import Generator
from . import defaults
from .base import _ROWS, Autoencoder, variant
from .convolutional import ConvolutionalAutoencoder
from .latent import counted, numpy_generator

__all__ = ["AnnealedVAE", "BetaVAE", "ConvolutionalVAE", "FreeBitsVAE", "VAE", "gentle"]

_COLLAPSED = 0.01  # nats per row: less, and a code says nothing about its row
_SETTLED = 10  # epochs before which a code that says nothing may yet begin to


def gentle(a, high=10.0):
    """a up to high, from there on high + log(1 + a - high): so exp(a) grows no faster than a and cannot overflow.

    The slope is continuous, and 1 / (1 + a - high) never vanishes: there is a way back. For logarithms of variances of
    rows that nobody scaled; those of rows near the prior's lie far below 10, where a stays what it is, to the bit.
    Shape: any -> same.
    """
    return ops.clip(a, high=high) + ops.log1p(ops.relu(a - high))


@variant("vae", family="variational", paper="Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014",
         proof="formulas; KL equals its Monte Carlo estimate; a learned sigma finds the noise")  # fmt: skip
class VAE(Autoencoder):
    """The variational autoencoder: minimises -ELBO = E[-log p(x | z)] + KL(q(z | x) || N(0, 1)) in nats per row.

    The encoder gives mu and log sigma**2 of q(z | x); training decodes one draw z = mu + sigma * epsilon. The
    likelihood sums over features and the KL over components: 1/2 sum(mu**2 + sigma**2 - log sigma**2 - 1). An output a
    beyond 10 gives log sigma**2 = 10 + log(a - 9): rows in the thousands, not scaled, would overflow sigma**2.

    Parameters (besides those of `Autoencoder`)
    ----------
    loss : str
        "bernoulli" for data in [0, 1] (grey values count as probabilities), or "gaussian".
    sigma : float or None
        The Gaussian likelihood's standard deviation, for all features; None learns it as one more parameter
        (Rybkin, Daniilidis and Levine 2021), starting from 1: exp(l), and 1 / sigma = exp(10) (-l - 9) for l < -10,
        so that columns that never change cannot make it 0.

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
        return h[:, : self.n_components_], gentle(h[:, self.n_components_ :])

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
        nll = nn.gaussian_nll(target, self._output(a), 2.0 * self._log_sigma(), reduction="none")
        return {"nll": nll.sum(axis=1)}

    def _log_sigma(self):
        """The logarithm of the likelihood's standard deviation; a learned one is kept from falling without end."""
        return -gentle(-self.net_.log_sigma) if self.sigma is None else self.net_.log_sigma

    def penalise(self, h, z):
        """KL(q(z | x) || N(0, 1)) per row, in nats."""
        return {"kl": nn.kl_normal(*h, reduction="none").sum(axis=1)}

    def posterior(self, X):
        """Mean and standard deviation of q(z | x). Shape: (rows, features) -> (rows, n_components) twice."""
        X = self._check_input(X, "posterior")
        both = self._apply(X, lambda model, x: ops.concat(*model.encode(x), axis=1))
        return both[:, : self.n_components_], np.exp(0.5 * both[:, self.n_components_ :])

    def sample(self, n=1, random_state=None, draw="mean"):
        """n new rows from codes drawn from the prior N(0, 1): the likelihood's mean, or with draw="likelihood" a draw
        from it, noise and all. random_state None draws by a fresh generator, and leaves the model's alone.

        Shape: -> (n, features).
        """
        self._check_fitted("sample")
        n = counted(self, "sample", "n", n, 1)
        if draw not in ("mean", "likelihood"):
            raise SettingError(f'{type(self).__name__}.sample: draw={draw!r}. Choose "mean" or "likelihood".')
        noise = Generator(numpy_generator(random_state))
        codes = noise.draw("normal", (n, self.n_components_), self.dtype)
        means = self.inverse_transform(codes)
        return means if draw == "mean" else self._draw(means, codes, noise)

    def _draw(self, means, codes, noise):
        """Draws from p(x | z), whose means are given."""
        if self.loss == "bernoulli":
            return (noise.draw("uniform", means.shape, self.dtype) < means).astype(self.dtype)
        return means + np.exp(self._log_sigma().data) * noise.draw("normal", means.shape, self.dtype)

    def log_density(self, X):
        """log p(x | z) of every row in nats, z being the mean of q(z | x). Shape: (rows, features) -> (rows,)."""
        X = self._check_input(X, "log_density")
        self._check_range(X)
        return -self._apply(
            X, lambda model, x: model.compare(model.unfold(model.embed(model.encode(x)), x), x)["nll"]
        )  # fmt: skip

    def active_units(self, X, threshold=0.01):
        """Whether each component is used: the variance of its mean over the rows of X exceeds threshold (Burda,
        Grosse and Salakhutdinov 2016). Shape: (rows, features) -> (n_components,) of bool.
        """
        return np.var(self._codes(X, "active_units"), axis=0, dtype=np.float64) > threshold

    def posterior_width(self, X):
        """The mean standard deviation of q(z | x), per component: near 1 where nothing is said about x.

        Shape: (rows, features) -> (n_components,).
        """
        return self.posterior(X)[1].mean(axis=0, dtype=np.float64)

    def log_likelihood(self, X, n_samples=100, random_state=None):
        """log p(x) of every row in nats, by importance sampling (Burda, Grosse and Salakhutdinov 2016):
        log mean_k p(x | z_k) p(z_k) / q(z_k | x), z_k from q. On average too low, and less so with more samples.
        random_state is as of `sample`.

        Shape: (rows, features) -> (rows,).
        """
        X = self._check_input(X, "log_likelihood")
        self._check_range(X)
        n_samples = counted(self, "log_likelihood", "n_samples", n_samples, 1)
        noise = Generator(numpy_generator(random_state))
        model, rows = self._asked(noise), []
        with no_grad():
            for x in batches(X, _ROWS, dtype=self.dtype):
                mu, logvar = model.encode(x)
                weights = []
                for _ in range(n_samples):
                    epsilon = noise.draw("normal", mu.shape, self.dtype)
                    z = mu + ops.exp(0.5 * logvar) * epsilon
                    ratio = 0.5 * ops.sum(epsilon**2 + logvar - ops.square(z), axis=1)  # log p(z) / q(z | x)
                    weights.append(ratio - model.compare(model.unfold(z, x), x)["nll"])
                rows.append(np.asarray((ops.logsumexp(ops.stack(*weights, axis=0), axis=0) - np.log(n_samples)).data))
        return np.concatenate(rows)

    def make_net(self):
        """As `Autoencoder`, with the logarithm of sigma, a parameter if it is to be learned."""
        net = super().make_net()
        if self.loss == "gaussian":
            kind, sigma = (nn.Parameter, 1.0) if self.sigma is None else (nn.Buffer, self.sigma)
            net.log_sigma = kind(np.log(sigma), dtype=self.dtype)
        return net

    def _mean_row_loss(self, X):
        if self.loss == "bernoulli":
            return super()._mean_row_loss(X)
        error = lambda mean, x: {"mse": ops.mean(ops.square(mean - x), axis=1)}
        variance = defaults.mean_row_loss(X, self.dtype, error, self._is_value)
        if not variance:
            return -np.inf  # rows that do not differ are as likely as one likes
        spread = variance if self.sigma is None else float(self.sigma) ** 2
        return 0.5 * self.n_features_in_ * (math.log(2 * math.pi * spread) + variance / spread)

    def _mean_row_error(self):
        if self.loss == "bernoulli":
            return super()._mean_row_error()
        half = 0.5 * self.n_features_in_
        return half if self.sigma is None else self.baseline_ - half * math.log(2 * math.pi * self.sigma**2)

    def _doubts(self):
        if self.n_iter_ >= _SETTLED and self.history_["kl"][-1] - self._least_kl() < _COLLAPSED * self._kl_weight():
            yield RuntimeWarning, (
                f"the posterior collapsed: after {self.n_iter_} epochs the codes hold less than {_COLLAPSED} nats "
                "about a row. Lower the KL's weight, raise it slowly (AnnealedVAE), or grant free bits (FreeBitsVAE)."
                + (' Values that are measured, not 0 or 1, want loss="gaussian".' if self.loss == "bernoulli" else "")
            )
        else:
            yield from super()._doubts()

    def _kl_weight(self):
        return 1.0

    def _least_kl(self):
        return 0.0

    def _grid_axes(self, n, low, high):
        # Equally likely steps: the plane as the prior fills it.
        normal = NormalDist()
        return ([normal.inv_cdf(p) for p in np.linspace(normal.cdf(low), normal.cdf(high), n)],) * 2

    def _encoder_width(self):
        return 2 * self.n_components_

    def _code_activation(self):
        return "linear"  # mu and log sigma**2 take any value

    def _unbounded_losses(self):
        return ("gaussian",)

    def _check_settings(self):
        super()._check_settings()
        if self.sigma is not None:
            self._check_number("sigma", lambda value: value > 0, "a positive number, or None to learn it")
            if self.loss != "gaussian":
                raise SettingError(
                    f"{type(self).__name__}: sigma={self.sigma!r}, but loss={self.loss!r} has no standard deviation. "
                    'Give None, or loss="gaussian".'
                )
        if self.code_activation is not None:
            raise SettingError(
                f"{type(self).__name__}: code_activation={self.code_activation!r}, but the code is a normal variable. "
                "Give None."
            )


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

    penalties = {**VAE.penalties, "kl": "beta"}

    losses = {name: text.replace("+ KL", "+ beta * KL") for name, text in VAE.losses.items()}

    def penalise(self, h, z):
        """beta * KL(q(z | x) || N(0, 1)) per row."""
        return {"kl": self._kl_weight() * super().penalise(h, z)["kl"]}

    def _kl_weight(self):
        return self.beta

    def _check_settings(self):
        super()._check_settings()
        self._check_number("beta", lambda value: value >= 0, "a number of at least 0")


@variant("annealed-vae", family="variational", paper="Bowman et al. 2016; Fu et al. 2019", aliases=("kl-annealing",),
         proof="weights step by step; the same by plan; constant is the beta-VAE to the bit")  # fmt: skip
class AnnealedVAE(BetaVAE):
    """The annealed VAE: minimises E[-log p(x | z)] + w(t) * KL(q(z | x) || N(0, 1)), w rising from 0 to beta.

    The decoder learns to use the code before the KL term presses it towards the prior, which counters collapse. t is
    the training's time in epochs, kept in ``net_.clock`` and moved by every step. Where nothing is learned (``score``,
    val_loss) the weight is beta, so that epochs can be compared.

    Parameters (besides those of `BetaVAE`)
    ----------
    schedule : str
        "linear": w = beta * min(t / warmup, 1). "cyclical": the same, but every 2 * warmup epochs t starts at 0 again.
        "constant": w = beta.
    warmup : float
        Epochs that one rise takes.

    Differs from the papers: Bowman's rise is a logistic curve.

    Shape: as `VAE`.
    """

    beta: float = 1.0
    schedule: str = "linear"
    warmup: float = 5.0

    penalties = VAE.penalties  # its weight moves: a small term is no sign

    def make_net(self):
        """As `VAE`, with a clock in epochs, and what a step adds to it."""
        net = super().make_net()
        net.clock, net.tick = (nn.Buffer(value, dtype=self.dtype) for value in (0.0, 1.0))
        return net

    def prepare(self, X, target):
        """A step is one part of so many of an epoch."""
        steps = len(batches(X, int(self.batch_size), least=_least_rows(self.net_)))
        self.net_.tick.data = np.asarray(1.0 / steps)
        return super().prepare(X, target)

    def penalise(self, h, z):
        """w(t) / beta times `BetaVAE`'s term."""
        terms = super().penalise(h, z)
        if not self.net_.training or self.schedule == "constant":
            return terms
        clock = self.net_.clock
        share = ops.clip(clock / self.warmup, high=1.0)
        with no_grad():
            later = clock + self.net_.tick
            if self.schedule == "cyclical":
                later = ops.where(ops.ge(later, 2.0 * self.warmup), later - 2.0 * self.warmup, later)
            ops.assign(clock, later)
        return {"kl": share * terms["kl"]}

    def _check_settings(self):
        super()._check_settings()
        self._check_choice("schedule", ("linear", "cyclical", "constant"))
        self._check_number("warmup", lambda value: value > 0, "a positive number of epochs")


@variant("free-bits", family="variational", paper="Kingma et al. 2016", aliases=("free-bits-vae",),
         proof="formula; no free bits is the VAE to the bit; units stay awake that beta puts to sleep")  # fmt: skip
class FreeBitsVAE(VAE):
    """Free bits: minimises E[-log p(x | z)] + sum_j max(free_bits, KL_j), KL_j that of component j in nats.

    Below that many nats a component pays nothing for more, so that it has no reason to fall silent.

    Parameters (besides those of `VAE`)
    ----------
    free_bits : float
        Nats per component.

    Differs from the paper: the bound is asked of every row, not of a batch's mean, so that a row's loss is its own.

    Shape: as `VAE`.
    """

    free_bits: float = 0.1

    losses = {name: text.replace("+ KL", "+ sum of max(free_bits, KL)") for name, text in VAE.losses.items()}

    def penalise(self, h, z):
        """sum_j max(free_bits, KL_j) per row."""
        return {"kl": ops.sum(ops.clip(nn.kl_normal(*h, reduction="none"), low=float(self.free_bits)), axis=1)}

    def _least_kl(self):
        return self.free_bits * self.n_components_

    def _check_settings(self):
        super()._check_settings()
        self._check_number("free_bits", lambda value: value >= 0, "a number of at least 0")


@variant("conv-vae", family="variational", paper="Kingma and Welling 2014; Pu et al. 2016",
         aliases=("convolutional-vae",), proof="the two classes' sentence and nets; learns digits")  # fmt: skip
class ConvolutionalVAE(ConvolutionalAutoencoder, VAE):
    """The convolutional VAE: minimises E[-log p(x | z)] + KL(q(z | x) || N(0, 1)), as `VAE`, by the nets of
    `ConvolutionalAutoencoder`.

    Parameters are those of both; n_components must be a number, since there is one code for the whole image.

    Shape: as `VAE`; a row is an image flattened as (channels, height, width).
    """

    losses = VAE.losses
    _counts = Autoencoder._counts
