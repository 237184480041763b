"""Contractive codes: small steps of x shall move the code as little as reconstruction allows."""

from .. import nn, ops
from ..engine import grad
from ..mode import recording
from ..tensor import Tensor
from .base import Autoencoder, variant
from .linear import MayBeTied

__all__ = ["ContractiveAutoencoder"]


@variant("contractive", family="deterministic", paper="Rifai, Vincent, Muller, Glorot and Bengio 2011",
         aliases=("cae",), proof="both ways to the norm equal the Jacobian; its norm falls at little cost")  # fmt: skip
class ContractiveAutoencoder(MayBeTied):
    """The contractive autoencoder: loss = `Autoencoder`'s + penalty * ||dz / dx||**2, the squared Frobenius norm.

    For one sigmoid layer the Jacobian is known: ``||dz / dx||**2 = sum_j (z_j (1 - z_j))**2 sum_i W_ij**2``. Any other
    encoder's is found by differentiating each component of the code, and is itself differentiated while training:
    n_components walks back instead of none, so that long codes are slow.

    Parameters (besides those of `Autoencoder`)
    ----------
    penalty : float
        Weight of the squared norm. Losses here are means over the features, the paper's a sum of them: its 0.1 for
        images of 784 pixels is 0.1 / 784.
    tied : bool
        The decoder's weights are the encoder's, transposed, as in the paper. Else a small Jacobian may be no more than
        small weights in the encoder, made good by large ones in the decoder.

    Differs from the paper: weights are tied only if you ask.

    Shape: as `Autoencoder`.
    """

    hidden: tuple = ()
    activation: str = "sigmoid"
    penalty: float = 1e-3

    penalties = {**MayBeTied.penalties, "contraction": "penalty"}

    losses = {name: f"{text} + penalty * squared norm of dz / dx" for name, text in Autoencoder.losses.items()}

    def encode(self, x):
        """(x, z): what is derived goes along."""
        return x, self.net_.encoder(x)

    def embed(self, h):
        """z."""
        return h[1]

    def penalise(self, h, z):
        """penalty * ||dz / dx||**2 of every row."""
        return {"contraction": self.penalty * self._squared_norm(h[0], z)}

    def jacobian_norm(self, X):
        """The Frobenius norm of dz / dx at every row: how much the code moves. Shape: (rows, features) -> (rows,)."""
        X = self._check_input(X, "jacobian_norm")
        return self._apply(X, lambda model, x: ops.sqrt(model._squared_norm(x, model.net_.encoder(x))))

    def _squared_norm(self, x, z):
        layers = list(self.net_.encoder) if isinstance(self.net_.encoder, nn.Sequential) else []
        if [type(layer) for layer in layers] == [nn.Linear, nn.Sigmoid]:
            return ops.matmul(ops.square(z * (1.0 - z)), ops.sum(ops.square(layers[0].weight), axis=0))
        with recording():
            # x as a point of the tape, so that one can ask for derivatives by it. A step that becomes a plan may not
            # make a Tensor of its own: there 0 * z puts x behind the parameters.
            x = x + 0.0 * ops.sum(z) if z.requires_grad else Tensor(x, requires_grad=True)
            z = self.net_.encoder(x)
            norm = 0.0
            for j in range(z.shape[1]):
                slope = grad(ops.sum(ops.getitem(z, index=(slice(None), j))), x, create_graph=True)
                norm = norm + ops.sum(ops.square(slope), axis=1)
        return norm

    def _check_settings(self):
        super()._check_settings()
        self._check_number("penalty", lambda value: value >= 0, "a number of at least 0")
