"""Hooks: the user's functions, called when something happens to a tensor's gradient or a module's forward pass.

Ring 0. A set of hooks is a dictionary {handle: function}, in the order of registration.
"""

__all__ = ["Handle"]


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
