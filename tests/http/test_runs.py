"""Runs in batches and renamed, through a server."""

from __future__ import annotations

import uuid

from tests.http.test_access import assert_problem
from tests.support.program import Served


def test_runs_are_opened_together_in_one_entry_or_not_at_all(server: Served) -> None:
    key = uuid.uuid4().hex
    body = {"runs": [{"purpose": f"part {n}"} for n in range(3)]}
    made = server.call("POST", "/runs/batch", body, Idempotency_Key=key)
    assert made.status == 201
    assert [row["purpose"] for row in made.json["items"]] == ["part 0", "part 1", "part 2"]
    assert all(server.call("GET", f"/runs/{row['id']}").json == row for row in made.json["items"])
    again = server.call("POST", "/runs/batch", body, Idempotency_Key=key)
    assert again.json == made.json
    assert again.headers["thane-ledger-index"] == made.headers["thane-ledger-index"]
    one = server.call("POST", "/runs", {})
    assert int(one.headers["thane-ledger-index"]) > int(made.headers["thane-ledger-index"])
    wrong: tuple[list[dict[str, str]], ...] = ([], [{}] * 1001, [{"purpose": "x" * 501}])
    for runs in wrong:
        assert_problem(server.call("POST", "/runs/batch", {"runs": runs}), 422, "invalid")


def test_an_open_run_is_renamed_and_a_finished_one_is_not(server: Served) -> None:
    path = f"/runs/{server.call('POST', '/runs', {'purpose': 'first'}).json['id']}"
    renamed = server.call("PATCH", path, {"purpose": "second"}, If_Match='"1"')
    assert (renamed.status, renamed.json["purpose"], renamed.headers["etag"]) == (200, "second", '"2"')
    stale = server.call("PATCH", path, {"purpose": "third"}, If_Match='"1"')
    assert_problem(stale, 412, "precondition_failed")
    assert server.call("POST", f"{path}/finish", {}).status == 200
    assert_problem(server.call("PATCH", path, {"purpose": "third"}), 409, "run_finished")
