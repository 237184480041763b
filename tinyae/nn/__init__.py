"""Modules, layers, initialisers and losses. ``module.py`` first; every other file here is a list of small definitions.

Ring 4. Must not know optimizers, data or models.
"""

from . import init
from .conv import *  # noqa: F403
from .conv import __all__ as _conv
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .losses import *  # noqa: F403
from .losses import __all__ as _losses
from .module import Buffer, Module, Parameter

__all__ = sorted(["Buffer", "Module", "Parameter", "init", *_conv, *_layers, *_losses])
