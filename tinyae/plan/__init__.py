"""The plan: a training step that is repeated, captured once and then run at the machine's limit.

`compile` is what users see. Inside, in the order of reading: program (what a step is), capture (how it is written
down), passes and lower (how it becomes fast), machine (how C runs it, or reference, NumPy), compile.
"""

from .capture import constant
from .compile import Compiled, compile

__all__ = ["Compiled", "compile", "constant"]
