"""What this thread is doing: recording a tape or not, watching or repeating a computation for `checkpoint`, capturing.

Each thread has its own mode, so one can train while another predicts. The mode is changed by context managers only,
which put it back whatever happens.

Ring 0. Knows nothing of what is recorded.
"""

import os
from contextlib import contextmanager
from functools import wraps
from threading import RLock, local
from weakref import ref

import numpy as np

from .errors import SettingError

__all__ = ["accumulating", "capturing", "fixed", "for_keeps", "mode", "no_grad", "note_write", "recording", "replaying",
           "watching"]  # fmt: skip


class _Mode(local):
    recording = True  # whether operations on values that require a gradient leave a line on the tape
    replaying = {}  # while a computation is repeated: {id: weak reference} of what it wrote the first time
    noise = None  # while somebody watches: {generator: its counter before the first draw}
    written = None  # likewise: {id: weak reference} of what was written in place
    capture = None  # who is told of every operation: a plan in the making


mode = _Mode()


capturing = []  # of any thread: where it is empty, as it nearly always is, nobody looks at `mode.capture`


accumulating = RLock()  # two threads may walk back to one leaf: adding to a gradient that is there is no single step
if hasattr(os, "register_at_fork"):  # in a forked child nobody is left to release it
    os.register_at_fork(after_in_child=accumulating._at_fork_reinit)


class no_grad:
    """``with no_grad():`` nothing is recorded on this thread; results need no gradient. Also a decorator."""

    _recording = False
    _before = ()  # a stack, so that one instance may be entered again inside itself

    def __enter__(self):
        self._before = (*self._before, mode.recording)
        mode.recording = self._recording

    def __exit__(self, *_):
        *self._before, mode.recording = self._before

    def __call__(self, function):
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x20:  # a generator's body runs later, outside
            raise SettingError(f"no_grad: {function.__name__} is a generator. Write `with no_grad():` inside it.")

        @wraps(function)
        def without_grad(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)

        return without_grad


class recording(no_grad):
    """``with recording():`` operations are recorded, whatever the mode was: for create_graph inside no_grad."""

    _recording = True


def fixed(array, of=None):
    """array, said to be the same in every run of a step: zeros to start from, a table. For those who make such.

    of: what it was made of, where that is the user's; an array is then only as fixed as this.
    """
    if mode.capture is not None:
        mode.capture.constant(array, of)
    return array


def for_keeps(array):
    """A plain operand as the tape keeps it, Note [Versions] of the engine: a copy of what somebody can write to."""
    if not isinstance(array, np.ndarray) or mode.capture is not None:  # a plan reads its arrays anew in every run
        return array
    memory = array
    while isinstance(memory, np.ndarray) and not memory.flags.writeable:
        memory = memory.base
    fixed = memory is None or isinstance(memory, bytes)  # a locked look, as `Tensor.data` is one, locks nobody else out
    return array if fixed else array.copy("K")


@contextmanager
def watching():
    """Yield ({generator: its counter before the first draw}, {id: weak reference} of what is written), of the block.

    Weak, so that what the block made for itself alone does not count as state when the block is over.
    """
    outer = mode.noise, mode.written
    mode.noise, mode.written = {}, {}
    try:
        yield mode.noise, mode.written
    finally:
        inner, (mode.noise, mode.written) = (mode.noise, mode.written), outer
        if outer[0] is not None:
            mode.noise.update({**inner[0], **mode.noise})
            mode.written.update(inner[1])


def note_write(var):
    """Whether var may be written: not if the write is repeated, since it happened the first time."""
    first = mode.replaying.get(id(var))
    if first is not None and first() is var:
        return False
    if mode.written is not None:
        mode.written[id(var)] = ref(var)
    return True


@contextmanager
def replaying(noise, written):
    """Repeat a watched computation: its noise is drawn again, the state that it wrote stays as it is."""
    now = {generator: generator.counter for generator in noise}
    before, mode.replaying = mode.replaying, written
    for generator, counter in noise.items():
        generator.counter = counter
    try:
        yield
    finally:
        mode.replaying = before
        for generator, counter in now.items():
            generator.counter = counter
