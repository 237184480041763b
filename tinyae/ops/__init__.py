"""Every operation, declared once: ``math`` first, then ``activations``, ``shape``, ``linalg``, ``conv``, ``pool``,
``random``, ``recurrent``, ``losses`` and ``state``.

Functions of this package take Tensors or plain arrays and answer in kind. ``tinyae ops`` lists them.

To add one, write its NumPy line under ``@op`` and a rule per argument under ``@name.vjp``; that is all. An activation
may add a row in ``csrc/activations.def``.

Ring 2. Imports the engine and the kernels only.
"""

from ..engine import broadcast_to, cast, sum_to
from . import activations, conv, linalg, losses, math, pool, random, recurrent, shape, state
from .activations import *  # noqa: F403
from .conv import *  # noqa: F403
from .linalg import *  # noqa: F403
from .math import *  # noqa: F403
from .pool import *  # noqa: F403
from .random import *  # noqa: F403
from .recurrent import *  # noqa: F403
from .shape import *  # noqa: F403
from .state import *  # noqa: F403

__all__ = sorted(
    ["broadcast_to", "cast", "sum_to"]  # these three the engine itself needs
    + activations.__all__ + conv.__all__ + linalg.__all__ + math.__all__ + pool.__all__ + random.__all__
    + recurrent.__all__ + shape.__all__ + state.__all__
)  # fmt: skip
