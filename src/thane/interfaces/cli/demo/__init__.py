"""`thane demo`: one agent's run on real parts, from code to proof, in a few seconds."""

from thane.interfaces.cli.demo.command import demo

__all__ = ["demo"]
