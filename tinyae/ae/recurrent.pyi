from collections.abc import Sequence
from typing import Literal

from ..estimator import _first
from ..nn.activations import ActivationName
from .base import Autoencoder

__all__ = ["GRUAutoencoder", "LSTMAutoencoder", "TeacherForcedAutoencoder"]

class LSTMAutoencoder(Autoencoder):
    n_components: int = _first(default=16, kw_only=False)
    hidden: Sequence[int] | None = ()
    activation: ActivationName = "tanh"
    channels: int = 1
    padding_value: float | None = None

class GRUAutoencoder(LSTMAutoencoder): ...

class TeacherForcedAutoencoder(LSTMAutoencoder):
    cell: Literal["lstm", "gru"] = "lstm"
