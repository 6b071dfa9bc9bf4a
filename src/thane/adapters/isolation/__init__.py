"""Adapter to the isolation program: its only door is `IsolationClient`."""

from thane.adapters.isolation.client import IsolationClient

__all__ = ["IsolationClient"]
