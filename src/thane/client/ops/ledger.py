"""Ledger, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

CHECKPOINT = Op("ledger.checkpoint", "GET", "/ledger/checkpoint", reads=True)
GET_ENTRY = Op("ledger.get_entry", "GET", "/ledger/entries/{index}", reads=True)
LIST_ENTRIES = Op("ledger.list_entries", "GET", "/ledger/entries", reads=True)
PROVE = Op("ledger.prove", "GET", "/ledger/entries/{index}/proof", reads=True)
