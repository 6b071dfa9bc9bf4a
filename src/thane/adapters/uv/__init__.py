"""Packages by uv: the port `thane.kernel.ports.packages`."""

from thane.adapters.uv.installer import UvPackages

__all__ = ["UvPackages"]
