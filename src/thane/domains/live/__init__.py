"""Live: watch what happens to an entity, or what is added to one of its rows."""

from thane.domains.live.service import LiveService

__all__ = ["LiveService"]
