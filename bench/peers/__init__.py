"""Who is measured. A peer is a row here and a module with ``about()`` and a function per case, such as ``train_a``.

``about()`` returns what the header shows: {"version": ..., "path": ..., ...}, or None if there is nothing to add.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """The module that knows how, the environment of its process, and how many threads it can use at most."""

    module: str
    environment: dict
    most_threads: int


_ANY = 1 << 10  # as many as it is given

PEERS = {
    "tinyae": Peer("bench.peers.tinyae", {"TINYAE_BACKEND": "c"}, 1),
    "tinyae-numpy": Peer("bench.peers.tinyae", {"TINYAE_BACKEND": "numpy"}, _ANY),
    "numpy": Peer("bench.peers.numpy", {}, _ANY),
}
