"""The HTTP host: routes, headers, errors, projections; each refusal with its status and the next step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest

from tests.interfaces.web import Web
from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import Broken, Nothing, Told
from thane.interfaces.http.app import HttpApp
from thane.interfaces.http.forwarded import Proxies
from thane.interfaces.http.routing import Router
from thane.kernel.errors import NotFound
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.registry import Operations
from thane.kernel.records.unit import Unit


async def made(web: Web, title: str = "Milk") -> str:
    got = await web("POST", "/notes", {"title": title})
    assert got.status == 201
    return str(got.json["id"])


async def test_a_change_answers_with_its_place_and_its_etag(web: Web) -> None:
    got = await web("POST", "/notes", {"title": "Milk"})
    assert got.status == 201
    assert got.headers["content-type"] == "application/json"
    assert got.headers["etag"] == '"1"'
    assert got.headers["thane-ledger-index"] == "0"
    assert got.headers["location"] == f"/api/v1/notes/{got.json['id']}"
    assert got.headers["thane-request-id"].startswith("req_")
    assert got.headers["cache-control"] == "no-store"
    assert int(got.headers["content-length"]) == len(got.body)
    assert got.json["tenant_id"] == TENANT


async def test_request_ids_are_taken_over_if_they_are_ids(web: Web, house: House) -> None:
    mine = house.records.ids.new("req")
    assert (await web("POST", "/ping", thane_request_id=mine)).headers["thane-request-id"] == mine
    assert (await house.entries())[0]["request"] == mine
    assert (await web("POST", "/ping", thane_request_id="x\ty")).headers["thane-request-id"] != "x\ty"


async def test_the_run_goes_into_the_entry(web: Web, house: House) -> None:
    run = house.records.ids.new("run")
    await web("POST", "/ping", thane_run=run)
    assert (await house.entries())[0]["run"] == run
    assert (await web("POST", "/ping", thane_run="nonsense")).status == 422


async def test_etags_guard_reads_and_changes(web: Web) -> None:
    note = await made(web)
    assert (await web("GET", f"/notes/{note}?fields=absent", if_none_match='"1"')).status == 422
    assert (await web("GET", f"/notes/{note}", if_none_match='"1"')).status == 304
    assert (await web("GET", f"/notes/{note}", if_none_match='W/"7", W/"1"')).status == 304
    assert (await web("GET", f"/notes/{note}", if_none_match="*")).body == b""
    assert (await web("GET", f"/notes/{note}", if_none_match='"2"')).status == 200
    assert (await web("PATCH", f"/notes/{note}", {"title": "b"}, if_match='"1"')).headers["etag"] == '"2"'
    late = await web("PATCH", f"/notes/{note}", {"title": "c"}, if_match='"1"')
    assert (late.status, late.json["code"], late.json["version"]) == (412, "precondition_failed", 2)
    assert (await web("PATCH", f"/notes/{note}", {"title": "c"}, if_match="nonsense")).status == 412
    assert (await web("PATCH", f"/notes/{note}", {"title": "c"}, if_match="*")).status == 200


async def test_head_options_and_wrong_methods(web: Web) -> None:
    note = await made(web)
    head = await web("HEAD", f"/notes/{note}")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    options = await web("OPTIONS", f"/notes/{note}", bearer=None)
    assert (options.status, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")
    wrong = await web("PUT", f"/notes/{note}", {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")
    assert (await web("HEAD", "/ping")).status == 405
    assert (await web("DELETE", f"/notes/{note}")).status == 204


@pytest.mark.parametrize("path", ["/", "/nothing", "/notes/", "/notes/a/b", "/NOTES"])
async def test_unknown_paths_are_a_problem(web: Web, path: str) -> None:
    got = await web("GET", path)
    assert (got.status, got.json["code"]) == (404, "not_found")
    assert got.headers["content-type"] == "application/problem+json"


async def test_a_problem_tells_what_to_do(web: Web) -> None:
    got = await web("POST", "/notes", {"titel": "x"})
    problem = got.json
    assert got.status == problem["status"] == 422
    assert problem["code"] == "invalid"
    assert problem["type"].endswith(":invalid")
    assert problem["request_id"] == got.headers["thane-request-id"]
    assert problem["retryable"] is False
    assert all(problem[name] for name in ("title", "hint", "detail"))
    assert {e["pointer"] for e in problem["errors"]} == {"/titel", "/title"}
    denied = await web("POST", "/notes", {"title": "x"}, bearer="reader")
    assert (denied.status, denied.json["needs"]) == (403, "notes.create")
    unknown = await web("GET", "/notes", bearer=None)
    assert (unknown.status, unknown.headers["www-authenticate"]) == (401, 'Bearer realm="thane"')
    assert (await web("GET", "/notes", authorization="Basic xyz", bearer=None)).status == 401
    await made(web, "Once")
    taken = await web("POST", "/notes", {"title": "Once"})
    assert taken.json["code"] == "already_exists"


async def test_bodies_are_json_and_not_too_large(web: Web, house: House) -> None:
    assert (await web("POST", "/notes", raw=b"{", content_type="application/json")).json[
        "code"
    ] == "malformed"
    assert (await web("POST", "/notes", raw=b'{"title":"\xff"}')).status == 400
    assert (await web("POST", "/notes", {"title": "a"}, content_type="text/plain")).status == 415
    assert (
        await web("POST", "/notes", {"title": "a"}, content_type="application/json; charset=latin1")
    ).status == 415
    assert (
        await web("POST", "/notes", {"title": "a"}, content_type="application/x+json; charset=UTF-8")
    ).status == 201
    declared = await web("POST", "/notes", content_length="2001")
    assert (declared.status, declared.headers["connection"]) == (413, "close")
    assert (await web("POST", "/notes", content_length="many")).status == 400
    endless = [b"x" * 900] * 10
    assert (await web("POST", "/notes", parts=endless)).status == 413
    assert len(endless) == 7, "it stopped reading"
    pieces = [b'{"title"', b': "in', b' pieces"}']
    assert (await web("POST", "/notes", parts=pieces, content_type="application/json")).status == 201
    assert len(await house.entries()) == 2


async def test_a_client_that_goes_while_it_sends_is_not_answered(web: Web) -> None:
    gone = asyncio.Event()
    gone.set()
    got = await web("POST", "/notes", parts=[], hang_up=gone)
    assert got.status == 0


async def test_queries_are_read_strictly(web: Web) -> None:
    assert (await web("GET", "/notes?limit=2&total=true")).json["total"] == 0
    assert (await web("GET", "/notes?limit=%ff")).status == 422
    assert (await web("GET", "/notes?limit=zwei")).json["errors"][0]["pointer"] == "/limit"
    assert (await web("GET", "/notes?colour=red")).status == 422
    assert (await web("GET", "/notes?" + "&".join(f"a{i}=1" for i in range(200)))).status == 422


async def test_fields_are_shown_as_asked(web: Web) -> None:
    note = await made(web)
    assert (await web("GET", f"/notes/{note}?fields=id,title")).json == {"id": note, "title": "Milk"}
    page = (await web("GET", "/notes?fields=title")).json
    assert page == {"items": [{"title": "Milk"}], "next_cursor": None, "total": None}
    assert (await web("GET", "/notes?fields=colour")).json["errors"][0]["pointer"] == "/fields"
    assert (await web("GET", f"/notes/{note}?fields=colour")).status == 422
    assert (await web("GET", f"/notes/{note}?fields=,")).status == 422


async def test_idempotency_keys_work_on_posts(web: Web) -> None:
    first = await web("POST", "/notes", {"title": "Milk"}, idempotency_key="k1")
    again = await web("POST", "/notes", {"title": "Milk"}, idempotency_key="k1")
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == '"1"'
    other = await web("POST", "/notes", {"title": "Bread"}, idempotency_key="k1")
    assert (other.status, other.json["code"]) == (409, "idempotency_reused")


async def test_what_breaks_inside_is_a_500_that_tells_nothing(web: Web, house: House) -> None:
    house.service.runs = None  # type: ignore[assignment]
    got = await web("POST", "/notes", {"title": "x"})
    assert (got.status, got.json["code"]) == (500, "internal")
    assert "TypeError" not in got.body.decode()
    assert got.json["request_id"] in got.json["hint"]


async def test_health_names_the_part_that_is_down(house: House) -> None:
    async def fine() -> None:
        return

    async def down() -> None:
        raise Broken("the disk melted")

    async def broken() -> None:
        raise RuntimeError("a defect")

    async def slow() -> None:
        raise TimeoutError

    assert (await Web(house, health={"store": fine})("GET", "/health", bearer=None)).json["status"] == "ok"
    checks = {"store": fine, "isolation": down, "signer": broken, "cache": slow}
    got = await Web(house, health=checks)("GET", "/health")
    assert got.status == 503
    assert got.json["down"] == ["isolation", "signer", "cache"]
    assert got.json["parts"]["isolation"] == {"status": "down", "code": "test_broken"}
    assert "melted" not in got.body.decode()


async def test_metrics_and_pages_are_for_reading(house: House) -> None:
    counted: list[tuple[str, int]] = []
    web = Web(house, metrics=lambda: b"up 1\n", counted=lambda m, s: counted.append((m, s)))
    got = await web("GET", "/metrics")
    assert (got.body, got.headers["content-type"].split(";")[0]) == (b"up 1\n", "text/plain")
    assert (await web("POST", "/health")).status == 405
    assert (await web("OPTIONS", "/health")).headers["allow"] == "GET, HEAD, OPTIONS"
    assert (await web("HEAD", "/openapi.json")).body == b""
    assert counted == [("GET", 200), ("POST", 405), ("OPTIONS", 204), ("HEAD", 200)]


async def test_forwarded_addresses_are_believed_from_proxies_only(house: House) -> None:
    proxies = Proxies((ip_network("192.0.2.0/24"), ip_network("10.0.0.0/8")))
    await Web(house)("GET", "/notes", x_forwarded_for="198.51.100.7")
    await Web(house, proxies=proxies)("GET", "/notes", x_forwarded_for="203.0.113.9, 198.51.100.7, 10.1.1.1")
    await Web(house, proxies=proxies)("GET", "/notes", x_forwarded_for="nonsense")
    assert [r.ip_address for r in await house.access()] == ["192.0.2.1", "198.51.100.7", "192.0.2.1"]


async def test_lifespan_runs_the_hooks_and_tells_of_failure(house: House) -> None:
    ran: list[str] = []

    async def start() -> None:
        ran.append("start")

    async def stop() -> None:
        raise Broken("cannot stop")

    app = HttpApp(house.pipeline, hooks=((start,), (stop,)))
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return asked.pop(0)

    async def send(message: Mapping[str, Any]) -> None:
        said.append(message)

    await app({"type": "lifespan"}, receive, send)
    assert [m["type"] for m in said] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    with pytest.raises(RuntimeError):
        await app({"type": "carrier pigeon"}, receive, send)


def test_a_fixed_segment_wins_over_a_parameter() -> None:
    class One(Nothing, frozen=True, kw_only=True, forbid_unknown_fields=True):
        a_id: str

    def reading(name: str, path: str) -> Any:
        async def read(service: object, unit: Unit, request: One) -> Told:
            """Read."""
            raise NotImplementedError

        read.__annotations__ = {"request": One, "return": Told}
        return operation(name, http=f"GET {path}", needs="x.y", effect=Effect.NONE, example=Example())(read)

    operations = Operations()
    operations.bind(object(), reading("as.get", "/as/{a_id}"), reading("as.bs", "/as/{a_id}/bs"))
    operations.bind(object(), reading("as.deep", "/as/fixed/{a_id}"))
    router = Router(operations, "/v1")
    assert router.find("/v1/as/7")[0]["GET"].name == "as.get"
    assert router.find("/v1/as/fixed/bs")[0]["GET"].name == "as.deep"
    assert router.find("/v1/as/fixed")[1] == ("fixed",)
    assert router.find("/v1/as/7/bs")[1] == ("7",)
    with pytest.raises(NotFound):
        router.find("/v1/as/7/cs")
