"""Errors that no other test of the API meets."""

from __future__ import annotations

from tests.http.test_access import assert_problem
from tests.support.program import Served

NOBODYS = "01a20fb2150e704d80e404f5ade185f3"


def test_what_is_not_there_is_said_by_its_kind(server: Served) -> None:
    assert_problem(server.call("GET", f"/executions/exe_{NOBODYS}"), 404, "execution_not_found")
    assert_problem(server.call("POST", f"/keys/key_{NOBODYS}/revoke", {}), 404, "key_unknown")
    assert_problem(server.call("POST", "/sandboxes", {}, Thane_Run=f"run_{NOBODYS}"), 404, "run_unknown")
