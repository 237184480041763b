"""Where values live: views as offsets and strides, and one arena whose buffers are used again when their value is dead.

A `Root` is a piece of memory, a `Ref` a view of one. A view op (reshape, transpose, basic indexing, ...) costs nothing
in a plan: NumPy itself is asked what the view's strides are, on memory that is reserved and never touched.

Ring 4. Must not know instructions.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Ref", "Root", "arrange"]

_ALIGN = 64


class Root:
    """Memory of some elements: of the "arena", an "input", or an "array" that lives outside."""

    __slots__ = ("array", "dtype", "input", "kind", "offset", "scratch", "size")

    def __init__(self, kind, dtype, size, *, array=None, input=None):
        self.kind, self.dtype, self.size = kind, dtype, size
        self.array = array  # of an "array"
        self.input = input  # which one, of an "input"
        self.offset = None  # in bytes, of the "arena": found by `arrange`
        self.scratch = None

    def __repr__(self):
        return f"<{self.kind} {self.dtype}[{self.size}]>"

    @property
    def nbytes(self):
        """In bytes; at least one element, since NumPy has no memory of none."""
        return max(self.size, 1) * self.dtype.itemsize

    def blank(self):
        """Reserved memory of the same size, on which NumPy can be asked what a view would be."""
        if self.scratch is None:
            self.scratch = np.empty(self.nbytes, np.uint8)
        return self.scratch


class Ref(NamedTuple):
    """A view of a root: strides and offset in elements."""

    root: Root
    offset: int
    shape: tuple
    strides: tuple

    @classmethod
    def whole(cls, root, shape):
        """All of a root, in C order."""
        strides, step = [], 1
        for n in reversed(shape):
            strides.append(step)
            step *= max(n, 1)
        return cls(root, 0, tuple(shape), tuple(reversed(strides)))

    @property
    def size(self):
        """How many elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_dense(self):
        """Whether the elements stand side by side in C order."""
        step = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides)):
            if n != 1 and stride != step:
                return self.size == 0
            step *= n
        return True

    @property
    def is_whole(self):
        """Whether it is all of its root, in order."""
        return self.offset == 0 and self.size == self.root.size and self.is_dense

    def view(self, function):
        """What function makes of an array like this, as a Ref; None if that is no view."""
        item = self.root.dtype.itemsize
        blank = self.root.blank()
        array = np.ndarray(self.shape, self.root.dtype, blank, self.offset * item, [s * item for s in self.strides])
        y = np.asarray(function(array))
        if y.size == 0 or not np.may_share_memory(y, blank) or y.dtype != self.root.dtype:
            return None
        start = y.__array_interface__["data"][0] - blank.__array_interface__["data"][0]
        return Ref(self.root, start // item, y.shape, tuple(s // item for s in y.strides))

    def spread(self, shape):
        """Broadcast to shape."""
        new = len(shape) - len(self.shape)
        strides = tuple(0 if n == 1 else s for n, s in zip(self.shape, self.strides))
        return Ref(self.root, self.offset, tuple(shape), (0,) * new + strides)

    def mode(self):
        """How a chain reads it: ("full", None), ("scalar", None), ("row", columns), ("column", columns); else None.

        A row stands for each of the rows, so its leading strides are 0; a column has trailing ones.
        """
        axes = [(n, s) for n, s in zip(self.shape, self.strides) if n != 1]
        if all(s == 0 for _, s in axes):
            return "scalar", None
        if self.is_dense:
            return "full", None
        for cut in range(1, len(axes)):
            head, tail = axes[:cut], axes[cut:]
            columns = int(np.prod([n for n, _ in tail]))
            if all(s == 0 for _, s in head) and _dense(tail):
                return "row", columns
            if all(s == 0 for _, s in tail) and _dense(head):
                return "column", columns
        return None


def _dense(axes):
    step = 1
    for n, s in reversed(axes):
        if s != step:
            return False
        step *= n
    return True


def arrange(lives, sharing):
    """Give every arena root an offset, so that no two that live at once overlap; returns the arena's bytes.

    lives: {root: (first step, last step)} both included. sharing: {root: other roots, of which it may take the
    place of one that dies where it is born}. First the largest: what is left fits between them.
    """
    placed = []
    for root in sorted(lives, key=lambda r: (-r.nbytes, lives[r])):
        begin, end = lives[root]
        taken, shared = [], []  # where it must not be; where it may be too, but wholly or not at all
        for other in placed:
            first, last = lives[other]
            if first <= end and begin <= last:
                place = other.offset, other.offset + other.nbytes
                (shared if _may_share(root, other, lives, sharing) else taken).append(place)
        starts = {0, *(-(-stop // _ALIGN) * _ALIGN for _, stop in taken + shared), *(start for start, _ in shared)}
        root.offset = next(
            offset for offset in sorted(starts)
            if all(stop <= offset or start >= offset + root.nbytes for start, stop in taken)
            and all(start == offset or stop <= offset or start >= offset + root.nbytes for start, stop in shared)
        )  # fmt: skip
        placed.append(root)
    return max((root.offset + root.nbytes for root in placed), default=0)


def _may_share(a, b, lives, sharing):
    """Whether one is born where the other dies, by an instruction that reads and writes element by element."""
    young, old = (a, b) if lives[a][0] > lives[b][0] else (b, a)
    return old in sharing.get(young, ()) and lives[old][1] == lives[young][0] and a.nbytes == b.nbytes
