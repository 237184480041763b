"""The version, said once: packaging, saved files and ``tinyae info`` read it here. Ring 0."""

__version__ = "0.1.0"
