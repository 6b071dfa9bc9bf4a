"""The operations of the API, a module for each resource.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations
