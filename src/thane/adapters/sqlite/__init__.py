"""The embedded store. Nothing outside this package imports apsw."""

from thane.adapters.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
