"""Thane: the self-hosted back end that AI agents act through."""

__version__ = "0.1.0"
