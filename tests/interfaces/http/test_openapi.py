"""The document covers every operation, and nothing in it leads nowhere."""

from __future__ import annotations

from typing import Any

from tests.interfaces.web import Web
from tests.kernel.operations.house import House
from thane.interfaces.http.openapi import dangling, document
from thane.kernel.errors import tree


async def test_every_operation_is_described(web: Web, house: House) -> None:
    made: dict[str, Any] = (await web("GET", "/openapi.json", bearer=None)).json
    assert made["openapi"] == "3.1.0"
    found = {o["operationId"]: o for path in made["paths"].values() for o in path.values()}
    assert set(found) == {bound.name for bound in house.operations if bound.path}
    for bound in house.operations:
        described = made["paths"]["/api/v1" + bound.path][bound.method.lower()]
        assert described["summary"]
        names = {p["name"] for p in described["parameters"] if p["in"] == "path"}
        assert names == set(bound.path_params)
        assert ("requestBody" in described) is bound.has_body
        assert str(bound.status) in described["responses"]
        assert "default" not in described["responses"], "every answer is named, or nobody could miss one"
        assert described["responses"]["422"]["content"]["application/problem+json"]
    print(f"{len(found)} operations described")


async def test_references_resolve_and_statuses_are_real(house: House) -> None:
    made = document(house.operations, "/api/v1")
    assert dangling(made) == []
    assert "Problem" in made["components"]["schemas"]
    known = {str(error.status) for error in tree().values()}
    for path in made["paths"].values():
        for described in path.values():
            assert {c for c in described["responses"] if c >= "4"} <= known


async def test_examples_bodies_and_security(house: House) -> None:
    paths = document(house.operations, "/api/v1")["paths"]
    body = paths["/api/v1/notes"]["post"]["requestBody"]
    assert body["content"]["application/json"]["example"] == {"title": "Milk"}
    assert body["required"] is True
    assert paths["/api/v1/ping"]["post"]["requestBody"]["required"] is False
    assert paths["/api/v1/setup"]["post"]["security"] == []
    note = paths["/api/v1/notes/{note_id}"]
    assert note["get"]["parameters"][0]["example"] == "<id of notes.create>"
    assert {p["name"] for p in note["patch"]["parameters"]} >= {"If-Match", "fields"}
    assert "content" not in note["delete"]["responses"]["204"]
    deed = paths["/api/v1/deeds"]["post"]
    assert {"507", "409"} <= set(deed["responses"])
    assert "text/event-stream" in deed["responses"]["201"]["content"]
    assert "Idempotency-Key" in {p["name"] for p in deed["parameters"]}
