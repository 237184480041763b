"""Benchmarks of the *installed* tinyae against its peers: ``python -m bench`` lists them, README.md says how
to read them.

Not part of the wheel. ``runner`` is the parent's side (processes, turns, table, JSON), ``worker`` the child's; every
other file with a ``run`` is a benchmark, and every file in ``peers/`` is somebody to be measured.
"""


class Refused(Exception):
    """A measurement that would not be what its label says; one sentence. Exit code 2."""


class Unavailable(Refused):
    """What one peer cannot do here; one sentence. A benchmark may go on without it, and name it."""


class Failed(Exception):
    """Peers that disagree, or one that broke down. Exit code 1."""
