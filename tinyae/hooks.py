"""Hooks: the user's functions, called when something happens to a tensor's gradient or a module's forward pass.

Ring 0; must not know a tape. A set of hooks is a dictionary {handle: function}, in the order of registration.
"""

from .errors import ShapeError

__all__ = ["Handle", "after_hooks"]


class Handle:
    """What registering a hook returns; ``handle.remove()`` ends the hook, and so does leaving ``with handle:``."""

    __slots__ = ("_hooks", "__weakref__")

    def __init__(self, hooks, function):
        self._hooks = hooks
        hooks[self] = function

    def remove(self):
        """Do not call the hook any more. Twice is once."""
        self._hooks.pop(self, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def after_hooks(hooks, g, cls, traced):
    """The gradient as the hooks leave it: an array, or, where the walk back is traced, a cls.

    Each hook is shown a tensor of its own, lest it write into what others share.
    """
    for hook in tuple(hooks.values()):
        answer = hook(g if traced else cls(g))
        if answer is not None:
            answer = answer if isinstance(answer, cls) else cls(answer, dtype=g.dtype)
            if answer.shape != g.shape or answer.dtype != g.dtype:
                raise ShapeError(f"hook: {answer.dtype} {answer.shape} returned for the gradient of a {g.dtype} tensor "
                                 f"of shape {g.shape}.")  # fmt: skip
            g = answer if traced else answer._data
    return g
