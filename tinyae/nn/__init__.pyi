# What the source sorts is listed here part by part, in the way that type checkers read.
from . import activations, containers, conv, init, layers, losses, module, norm, parametrisation, recurrent
from .activations import *
from .containers import *
from .conv import *
from .layers import *
from .losses import *
from .module import *
from .norm import *
from .parametrisation import *
from .recurrent import *

__all__ = ["init"]
__all__ += activations.__all__
__all__ += containers.__all__
__all__ += conv.__all__
__all__ += layers.__all__
__all__ += losses.__all__
__all__ += module.__all__
__all__ += norm.__all__
__all__ += parametrisation.__all__
__all__ += recurrent.__all__
