"""Errors of accounts.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.errors.common import Gone, NotFound


class KeyUnknown(NotFound):
    """No such key."""

    code = "key_unknown"


class SetupLinkUsed(Gone):
    """The set-up link was used already, or its time is over."""

    code = "setup_link_used"
