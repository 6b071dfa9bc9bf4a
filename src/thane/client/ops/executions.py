"""Executions, as calls need them.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.op import Op

GET = Op("executions.get", "GET", "/executions/{execution_id}", reads=True)
LIST = Op("executions.list", "GET", "/executions", reads=True)
OUTPUT = Op("executions.output", "GET", "/executions/{execution_id}/output", reads=True)
READ_FILE = Op("executions.read_file", "GET", "/executions/{execution_id}/file", reads=True)
