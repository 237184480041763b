"""Who is measured. A peer is a row here and a module with ``about()`` and a function per case, such as ``train_a``.

``about()`` returns what the header shows: {"version": ..., "path": ..., ...}, or None if there is nothing to add.
"""

import importlib.util
from typing import NamedTuple


class Peer(NamedTuple):
    """The module that knows how, the environment of its process, how many threads it can use at most, what it needs."""

    module: str
    environment: dict
    most_threads: int
    library: str = "numpy"

    def is_installed(self):
        """Whether its library can be imported; tinyae itself is never optional."""
        return importlib.util.find_spec(self.library) is not None


_ANY = 1 << 10  # as many as it is given

_COMPILED = {"BENCH_COMPILE": "1"}

PEERS = {
    "tinyae": Peer("bench.peers.tinyae", {"TINYAE_BACKEND": "c", **_COMPILED}, _ANY),
    "tinyae-eager": Peer("bench.peers.tinyae", {"TINYAE_BACKEND": "c"}, _ANY),
    "tinyae-numpy": Peer("bench.peers.tinyae", {"TINYAE_BACKEND": "numpy"}, _ANY),
    "numpy": Peer("bench.peers.numpy", {}, _ANY),
    "torch": Peer("bench.peers.torch", {}, _ANY, "torch"),
    "torch-compile": Peer("bench.peers.torch", _COMPILED, _ANY, "torch"),
    "jax": Peer("bench.peers.jax", {"JAX_PLATFORMS": "cpu"}, _ANY, "jax"),
}


def family(name):
    """The library that a peer is: its name up to the dash. A library is not compared with itself."""
    return name.partition("-")[0]
