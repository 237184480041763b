"""The ops of `kernels` as each library's user writes them: one file a peer.

Each has ``step(op, arrays)``, a callable without arguments, or None where the library has no such op, and
``values(result)``, what a call returned as a list of NumPy arrays. Results are new arrays, except what optimizers
change. Whatever depends on the inputs' values alone is made before, such as layers; nothing is computed beforehand.
"""

import importlib


def of(peer):
    """The module of ops that belongs to a module of ``bench.peers``."""
    return importlib.import_module(peer.__name__.replace("bench.peers", "bench.ops"))
