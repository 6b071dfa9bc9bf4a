"""What can go wrong with accounts, beyond what the kernel's tree says."""

from __future__ import annotations

from thane.kernel.errors import Gone, NotFound


class SetupLinkUsed(Gone):
    """The set-up link was used already, or its time is over."""

    code = "setup_link_used"
    title = "Set-up link used"
    default_hint = "`POST /api/v1/setup-links`, as an owner, makes a new one."


class KeyUnknown(NotFound):
    code = "key_unknown"
    title = "No such key"
    default_hint = "`thane keys list` shows the keys there are."
