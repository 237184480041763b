from collections.abc import Sequence
from typing import Literal

from ..nn.activations import ActivationName
from .base import Autoencoder

__all__ = ["GRUAutoencoder", "LSTMAutoencoder", "TeacherForcedAutoencoder"]

class LSTMAutoencoder(Autoencoder):
    hidden: Sequence[int] = ()
    activation: ActivationName = "tanh"
    channels: int = 1
    padding_value: float | None = None

class GRUAutoencoder(LSTMAutoencoder): ...

class TeacherForcedAutoencoder(LSTMAutoencoder):
    cell: Literal["lstm", "gru"] = "lstm"
