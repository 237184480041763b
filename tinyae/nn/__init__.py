"""Modules, layers, initialisers and losses. ``module.py`` first; every other file here is a list of small definitions.

Ring 4. Must not know optimizers, data or models.
"""

from . import activations, containers, conv, init, layers, losses, module, norm, parametrisation, recurrent
from .activations import *  # noqa: F403
from .containers import *  # noqa: F403
from .conv import *  # noqa: F403
from .layers import *  # noqa: F403
from .losses import *  # noqa: F403
from .module import *  # noqa: F403
from .norm import *  # noqa: F403
from .parametrisation import *  # noqa: F403
from .recurrent import *  # noqa: F403

__all__ = sorted(
    ["init"]
    + activations.__all__ + containers.__all__ + conv.__all__ + layers.__all__ + losses.__all__ + module.__all__
    + norm.__all__ + parametrisation.__all__ + recurrent.__all__
)  # fmt: skip
