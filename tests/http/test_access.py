"""Who may ask: keys of every kind, the set-up link, other tenants, and the trail of it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.http.conftest import House
from tests.support.program import Answer, Served, eventually


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """An RFC 9457 problem that says what to do next."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id", "retryable", "hint"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == answer.headers["thane-request-id"]
    assert problem["type"].endswith(f":{code}")
    assert problem["hint"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic b3duZXI6",
        "thane_key_abc",
        "Bearer nonsense",
        "Bearer thane_key_" + "A" * 48,
        "Bearer \xff\xfe",
        "Bearer " + "x" * 20_000,
    ],
)
def test_a_request_without_a_good_key_is_refused(server: Served, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = server.raw("GET", "/api/v1/me", headers=headers)
    code = answer.json["code"]
    assert code in ("unauthorized", "token_malformed")
    assert assert_problem(answer, 401, code)["hint"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_changed_by_one_letter_is_refused(server: Served) -> None:
    wrong = server.key[:-1] + ("A" if server.key[-1] != "A" else "B")
    assert_problem(server.call("GET", "/me", key=wrong), 401, "token_malformed")


def test_an_expired_key_is_refused_with_the_command_for_a_new_one(house: House) -> None:
    answer = eventually(
        lambda: (a := house.server.call("GET", "/me", key=house.expired)).status == 401 and a, "the key's end"
    )
    problem = assert_problem(answer, 401, "unauthorized")
    assert "expired" in problem["detail"]
    assert "thane keys create" in problem["hint"]


def test_a_revoked_key_is_refused_at_once(server: Served) -> None:
    made = server.call("POST", "/keys", {"name": "brief"}).json
    assert server.call("GET", "/me", key=made["key"]).status == 200
    assert server.call("POST", f"/keys/{made['id']}/revoke", {}).status == 200
    problem = assert_problem(server.call("GET", "/me", key=made["key"]), 401, "unauthorized")
    assert "revoked" in problem["detail"]


def test_a_key_with_scopes_does_what_they_say_and_no_more(server: Served) -> None:
    key = server.call("POST", "/keys", {"name": "narrow", "scopes": ["runs.list"]}).json["key"]
    assert server.call("GET", "/runs", key=key).status == 200
    problem = assert_problem(server.call("POST", "/runs", {}, key=key), 403, "denied")
    assert problem["needs"] == "runs.create"


def test_a_narrow_key_cannot_make_a_wider_one(server: Served) -> None:
    narrow = server.call("POST", "/keys", {"name": "n", "scopes": ["api_keys.create", "setup_links.create"]})
    key = narrow.json["key"]
    wide = server.call("POST", "/keys", {"name": "wide", "scopes": ["*"]}, key=key)
    assert_problem(wide, 422, "invalid")
    same = server.call("POST", "/keys", {"name": "same"}, key=key)
    assert same.json["scopes"] == ["api_keys.create", "setup_links.create"]
    assert_problem(server.call("GET", "/me", key=same.json["key"]), 403, "denied")
    assert_problem(server.call("POST", "/setup-links", {}, key=key), 403, "denied")


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "soon", 4102444800, ""])
def test_a_key_cannot_end_in_the_past_or_at_a_time_without_a_zone(server: Served, when: object) -> None:
    problem = assert_problem(server.call("POST", "/keys", {"name": "k", "expires_at": when}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/expires_at"


def test_a_run_of_another_tenant_cannot_be_named(house: House) -> None:
    run = house.server.call("POST", "/runs", {}).json["id"]
    for path in ("/sandboxes", "/runs"):
        answer = house.server.call("POST", path, {}, key=house.stranger, Thane_Run=run)
        assert answer.status == 404, answer.body


def test_a_project_is_named_by_a_header_and_must_be_the_tenants_own(house: House) -> None:
    mine = house.server.call("GET", "/me").json["project_id"]
    named = house.server.call("POST", "/sandboxes", {}, Thane_Project=mine)
    assert (named.status, named.json["project_id"]) == (201, mine)
    for method, path, body in (("POST", "/sandboxes", {}), ("POST", "/runs", {}), ("GET", "/me", None)):
        foreign = house.server.call(method, path, body, key=house.stranger, Thane_Project=mine)
        assert_problem(foreign, 404, "project_unknown")
    odd = house.server.call("POST", "/sandboxes", {}, Thane_Project="default")
    assert_problem(odd, 422, "invalid")


def test_me_says_who_asks(house: House) -> None:
    mine = house.server.call("GET", "/me").json
    theirs = house.server.call("GET", "/me", key=house.stranger).json
    assert (mine["role"], mine["plan"], mine["tenant_name"]) == ("admin", "free", "local")
    assert (theirs["tenant_name"], theirs["email"]) == ("other", "owner@other.example")
    assert mine["tenant_id"] != theirs["tenant_id"]


def test_a_setup_link_turns_into_a_key_once(server: Served) -> None:
    token = server.call("POST", "/setup-links", {}).json["token"]
    used = server.raw("POST", f"/api/v1/setup/{token}")
    assert used.status == 201, used.body
    assert server.call("GET", "/me", key=used.json["key"]).json["role"] == "admin"
    assert_problem(server.raw("POST", f"/api/v1/setup/{token}"), 410, "setup_link_used")
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert_problem(server.raw("POST", f"/api/v1/setup/{wrong}"), 401, "token_malformed")


def test_another_tenants_rows_are_not_there(house: House) -> None:
    server = house.server
    sandbox = server.call("POST", "/sandboxes", {"name": "mine"}).json
    run = server.call("POST", "/runs", {}).json
    done = server.call("POST", f"/sandboxes/{sandbox['id']}/executions", {"code": "print(1)"}).json
    key = server.call("POST", "/keys", {"name": "mine"}).json
    hidden: list[tuple[str, str, Any]] = [
        ("GET", f"/sandboxes/{sandbox['id']}", None),
        ("GET", f"/sandboxes/{sandbox['id']}/resource-summary", None),
        ("POST", f"/sandboxes/{sandbox['id']}/terminate", {}),
        ("POST", f"/sandboxes/{sandbox['id']}/executions", {"code": "print(1)"}),
        ("GET", f"/runs/{run['id']}", None),
        ("POST", f"/runs/{run['id']}/finish", {}),
        ("GET", f"/executions/{done['id']}", None),
        ("GET", f"/executions/{done['id']}/output", None),
        ("GET", f"/executions/{done['id']}/metrics", None),
        ("GET", f"/executions/{done['id']}/file?name=x", None),
        ("POST", f"/keys/{key['id']}/revoke", {}),
        ("GET", f"/projects/{sandbox['project_id']}", None),
    ]
    for method, path, body in hidden:
        theirs = server.call(method, path, body, key=house.stranger)
        assert theirs.status == 404, (path, theirs.status, theirs.body)
        unknown = path
        for id_ in (sandbox["id"], run["id"], done["id"], key["id"], sandbox["project_id"]):
            unknown = unknown.replace(id_, id_[:-4] + "ffff")
        never = server.call(method, unknown, body, key=house.stranger)
        # Nothing tells a row of somebody else's from one that never was.
        assert (never.status, never.json["code"]) == (theirs.status, theirs.json["code"]), path
    for path in ("/sandboxes", "/runs", "/executions", "/keys", "/billing/events", "/usage", "/projects"):
        text = server.call("GET", path, key=house.stranger).body.decode()
        assert not [i for i in (sandbox["id"], run["id"], done["id"], key["id"]) if i in text], path


def test_reads_and_refusals_stand_in_the_audit(house: House) -> None:
    server = house.server
    read = server.call("GET", "/runs")
    refused = server.call("POST", "/sandboxes", {"language": "cobol"})
    changed = server.call("POST", "/runs", {"purpose": "audited"})
    for answer, status, indexed in (
        (read, "success", False),
        (refused, "failure", False),
        (changed, "success", True),
    ):
        wanted = answer.headers["thane-request-id"]

        def row(wanted: str = wanted) -> Any:
            page = server.call("GET", f"/audit-logs?filter=request_id%20%3D%20%22{wanted}%22").json
            return page["items"][0] if page["items"] else None

        found = eventually(row, f"the audit of {wanted}")
        assert found["status"] == status
        assert (found["entry_index"] is not None) is indexed
        assert found["actor"].startswith("key_")


def test_a_request_id_is_kept_or_made_and_stands_everywhere(server: Served) -> None:
    mine = "req_01890000000070008000000000000001"
    answer = server.call("GET", "/me", Thane_Request_Id=mine)
    assert answer.headers["thane-request-id"] == mine
    for odd in ("x", "req_zz", "usr_01890000000070008000000000000001"):
        made = server.call("GET", "/me", Thane_Request_Id=odd).headers["thane-request-id"]
        assert made.startswith("req_")
        assert made != odd
    for path in ("/health", "/metrics", "/openapi.json", "/nowhere"):
        assert server.raw("GET", path).headers["thane-request-id"].startswith("req_")


def test_the_log_holds_no_key(house: House, tmp_path: Path) -> None:
    text = house.server.log.read_text()
    assert house.server.key not in text
    assert house.stranger not in text
