"""What schemathesis is told about this API (`SCHEMATHESIS_HOOKS`). Imported by its process, not by pytest."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import response_schema_conformance


@schemathesis.check
def whole_answers_fit_their_schema(ctx: Any, response: Any, case: Any) -> bool | None:
    """An answer that was asked for with `fields` lacks what is required of a whole one: that is its use."""
    if "fields" in (case.query or {}):
        return None
    found: bool | None = response_schema_conformance(ctx, response, case)
    return found
