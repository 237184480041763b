"""Sparse codes: of many units only a few may be awake at a time.

Note [The notes' scale]
    Ng's lecture notes minimise 1/2 (sum over features of squares) + lambda/2 (sum of squared weights) + beta KL. That
    is loss="half_sse", decay=lambda/2, penalty=beta. Divided by features/2 it is loss="mse", decay=lambda/features,
    penalty=2 beta/features: the same minimum; but then both settings are others for every layer of a stack.
"""

from .. import nn, ops
from ..engine import no_grad
from ..errors import SettingError
from .base import Autoencoder, variant

__all__ = ["HalfSquares", "SparseAutoencoder", "SparseKLAutoencoder"]

_KERAS = {"keras": "batch_mean", "keras_sum": "batch_sum"}  # by the name under which people look for it
_RHO_FLOOR = 1e-6  # of the mean activation and of what lacks to 1: logarithms stay finite


@variant("sparse", family="sparse", paper="Olshausen and Field 1996; Chollet 2016", aliases=("sparse-l1",),
         proof="formula for each reduction; larger penalty, sparser codes")  # fmt: skip
class SparseAutoencoder(Autoencoder):
    """The sparse autoencoder by activity: loss = `Autoencoder`'s + penalty * |z|, summed or averaged.

    Parameters (besides those of `Autoencoder`)
    ----------
    penalty : float
        Weight of the activity.
    reduction : str
        "batch_mean": sum over components, mean over rows. "batch_sum": sum over components and over the rows of a
        batch, which is batch_size times that. "mean": mean over components and rows. "keras": "batch_mean", which is
        Keras' activity_regularizer=L1(penalty) as documented, in Keras 1, tf.keras 2, and Keras 3 since 2026;
        "keras_sum": "batch_sum", as it was in Keras 2 by itself and in earlier Keras 3.

    Shape: as `Autoencoder`.
    """

    n_components: int = 32
    hidden: tuple = ()
    penalty: float = 1e-3
    reduction: str = "batch_mean"

    penalties = {**Autoencoder.penalties, "activity": "penalty"}

    losses = {name: f"{text} + penalty * |z|, reduced as reduction says" for name, text in Autoencoder.losses.items()}

    def penalise(self, h, z):
        """penalty * |z| of every row."""
        factor = {"batch_mean": 1.0, "batch_sum": float(self.batch_size), "mean": 1.0 / self.n_components_}
        reduction = _KERAS.get(self.reduction, self.reduction)
        return {"activity": self.penalty * factor[reduction] * ops.sum(ops.abs(z), axis=1)}

    def _doubts(self):
        if self.penalty and self.history_ and self.history_["activity"][-1] == 0:
            yield RuntimeWarning, (
                f"all units are dead: after {self.n_iter_} epochs every code is 0 and every row's reconstruction the "
                f"same. Lower penalty ({self.penalty:g}), or take reduction='mean'."
            )
        else:
            yield from super()._doubts()

    def _check_settings(self):
        super()._check_settings()
        self._check_number("penalty", lambda value: value >= 0, "a number of at least 0")
        self._check_choice("reduction", ("batch_mean", "batch_sum", "mean", *_KERAS))


class HalfSquares:
    """The loss "half_sse" for an `Autoencoder`, besides its own: Note [The notes' scale]."""

    def compare(self, a, target):
        """The reconstruction's loss per row: the mean over its features, or half the sum of squares."""
        if self.loss != "half_sse":
            return super().compare(a, target)
        return {"half_sse": 0.5 * nn.mse(self._output(a), target, reduction="none").sum(axis=1)}

    def _unbounded_losses(self):
        return ("mse", "half_sse")


@variant("sparse-kl", family="sparse", paper="Ng 2011 (CS294A lecture notes)",
         proof="formula; units awake as often as rho says")  # fmt: skip
class SparseKLAutoencoder(HalfSquares, Autoencoder):
    """The sparse autoencoder by mean activation: loss = `Autoencoder`'s + penalty * sum_j KL(rho || rho_j).

    ``KL(rho || r) = rho log(rho / r) + (1 - rho) log((1 - rho) / (1 - r))``. rho_j is unit j's mean over the batch; for
    tanh units that of (1 + z) / 2: over all rows, as in the notes, with batches of all of them or optimizer="lbfgs".
    Where nothing is learned (``score``, val_loss) it is the running mean that training left, so that a row's score does
    not depend on its neighbours.

    Parameters (besides those of `Autoencoder`)
    ----------
    rho : float
        How often a unit should be awake, between 0 and 1.
    penalty : float
        Weight of the KL terms (the notes' beta).

    Differs from the paper: means over batches stand for those over all rows; by default the squared error is a mean
    over features, not half their sum: beta = 3 is then penalty = 6 / features, or 3 with loss="half_sse", where
    lambda = 3e-3 is decay = 1.5e-3 (its term is lambda / 2 times the squares).

    Shape: as `Autoencoder`.
    """

    n_components: int = 32
    hidden: tuple = ()
    activation: str = "sigmoid"
    rho: float = 0.05
    penalty: float = 0.05

    penalties = {**Autoencoder.penalties, "kl": "penalty"}

    losses = {name: f"{text} + penalty * sum of KL(rho || rho_j)" for name, text in [
        *Autoencoder.losses.items(), ("half_sse", "mean over rows of half the sum over features of (x_hat - x)**2")
    ]}  # fmt: skip

    def make_net(self):
        """As `Autoencoder`, with the running mean of every unit's activation."""
        net = super().make_net()
        net.mean_activation = nn.Buffer([0.5] * self.n_components_, dtype=self.dtype)
        return net

    def penalise(self, h, z):
        """penalty * sum_j KL(rho || rho_j), the same for every row."""
        running = self.net_.mean_activation
        mean = running
        if self.net_.training:
            mean = ops.mean(z if self._code_activation() == "sigmoid" else 0.5 * (1.0 + z), axis=0)
            with no_grad():
                ops.assign(running, 0.9 * running + 0.1 * mean)
        r = ops.clip(mean, low=_RHO_FLOOR, high=1.0 - _RHO_FLOOR)
        kl = self.rho * ops.log(self.rho / r) + (1.0 - self.rho) * ops.log((1.0 - self.rho) / (1.0 - r))
        return {"kl": ops.broadcast_to(self.penalty * ops.sum(kl), shape=z.shape[:1])}

    def _check_settings(self):
        super()._check_settings()
        self._check_sparsity()

    def _check_sparsity(self):
        self._check_number("rho", lambda value: 0 < value < 1, "a number between 0 and 1")
        self._check_number("penalty", lambda value: value >= 0, "a number of at least 0")
        if self._code_activation() not in ("sigmoid", "tanh"):
            raise SettingError(
                f"{type(self).__name__}: the code's activation is {self._code_activation()!r}, which has no share of "
                "being awake. Choose code_activation='sigmoid' or 'tanh'."
            )
