"""Local disk: the data folder."""

from thane.adapters.disk.folder import DataFolder

__all__ = ["DataFolder"]
