"""Thane: the self-hosted back end that AI agents act through."""
