"""PocketBase with the same collection: the fields, references and indexes of `thane.domains.runs`.

Its defaults are left as they are but for the batch API, which is off. What it asks of a
request is the least that its rules can: that somebody is signed in.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.service.http import must, until_answered
from benchmarks.service.load import Request
from benchmarks.service.server import BATCH, FINISHED, NEW, SEEDED, UPDATED, Server

RECORDS = "/api/collections/runs/records"
SIGNED_IN = '@request.auth.id != ""'
INDEXES = (
    "CREATE INDEX idx_runs_created ON runs (tenant_id, created_at DESC)",
    "CREATE INDEX idx_runs_user ON runs (user_id)",
    "CREATE INDEX idx_runs_status ON runs (tenant_id, status, created_at DESC)",
)


def program() -> str:
    found = shutil.which("pocketbase", path=str(Path(sys.executable).parent)) or shutil.which("pocketbase")
    if found is None:
        raise SystemExit("PocketBase is not installed: uv sync --all-groups --group peers")
    return found


class PocketBase(Server):
    """`pocketbase serve` over a data folder of its own."""

    name = "pocketbase"

    def __init__(self, home: Path) -> None:
        self._data = home / "pocketbase"
        self._data.mkdir()

    def start(self) -> None:
        password = secrets.token_hex(16)
        admin = {"identity": "admin@example.com", "password": password}
        subprocess.run(
            [program(), "superuser", "upsert", *admin.values(), "--dir", str(self._data / "data")],
            check=True,
            capture_output=True,
            cwd=self._data,
        )
        port = self.free_port()
        self.url = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [program(), "serve", "--http", f"127.0.0.1:{port}", "--dir", str(self._data / "data")],
            cwd=self._data,
            stdout=subprocess.DEVNULL,
        )
        self.first_answer = until_answered(f"{self.url}/api/health", began)
        self.wal = self._data / "data" / "data.db-wal"
        signed_in = must("POST", f"{self.url}/api/collections/_superusers/auth-with-password", {}, admin)
        self._admin = {"authorization": signed_in.body["token"]}

    def seed(self) -> None:
        self._references()
        self._collection()
        batching = {"batch": {"enabled": True, "maxRequests": BATCH, "timeout": 60, "maxBodySize": 0}}
        must("PATCH", f"{self.url}/api/settings", self._admin, batching)
        ids: list[str] = []
        for _ in range(SEEDED // BATCH):
            ids += [made["body"]["id"] for made in self._batch()]
        for id_ in ids[:FINISHED]:
            done = {"status": "finished", "finished_at": "2026-01-01 00:00:00.000Z"}
            must("PATCH", f"{self.url}{RECORDS}/{id_}", self._auth, done)
        paths = tuple(f"{RECORDS}/{id_}" for id_ in ids[FINISHED:])
        where = f'tenant_id = "{self._row["tenant_id"]}" && status = "finished"'
        listed = {"filter": where, "sort": "-created_at", "perPage": "30"}
        sending = {**self._auth, "content-type": "application/json"}
        self.requests = {
            "get": Request("GET", paths, self._auth),
            "list": Request("GET", (f"{RECORDS}?{urlencode({**listed, 'skipTotal': '1'})}",), self._auth),
            "list, total": Request("GET", (f"{RECORDS}?{urlencode(listed)}",), self._auth),
            "create": Request("POST", (RECORDS,), sending, json.dumps(self._row)),
            "update": Request("PATCH", paths, sending, json.dumps(UPDATED)),
        }
        page = must("GET", self.url + self.requests["list, total"].paths[0], self._auth).body
        if len(page["items"]) != 30 or page["totalItems"] != FINISHED:
            raise RuntimeError(f"the list is not what is to be measured: {page}")

    def batch(self) -> float:
        began = time.perf_counter()
        self._batch()
        return time.perf_counter() - began

    def settings(self) -> list[str]:
        version = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True)
        return [f"{version.stdout.strip()}; its defaults, batch API on", f"rules: {SIGNED_IN}", *INDEXES]

    # -- inner ------------------------------------------------------------------------------

    def _batch(self) -> Any:
        one = {"method": "POST", "url": RECORDS, "body": self._row}
        return must("POST", f"{self.url}/api/batch", self._auth, {"requests": [one] * BATCH}).body

    def _references(self) -> None:
        """A user who is signed in, and the rows that a run refers to."""
        password = secrets.token_hex(16)
        user = {"email": "user@example.com", "password": password, "passwordConfirm": password}
        self._users = must("GET", f"{self.url}/api/collections/users", self._admin).body["id"]
        made = {"user_id": must("POST", f"{self.url}/api/collections/users/records", self._admin, user).body}
        signed_in = must(
            "POST",
            f"{self.url}/api/collections/users/auth-with-password",
            {},
            {"identity": "user@example.com", "password": password},
        )
        self._auth = {"authorization": signed_in.body["token"]}
        self._tables = {"user_id": self._users}
        for name, field in (("tenants", "tenant_id"), ("projects", "project_id")):
            table = {"name": name, "type": "base", "fields": [{"name": "name", "type": "text"}]}
            # A reference is checked with the caller's eyes, so they must be able to see it.
            table |= {"listRule": SIGNED_IN, "viewRule": SIGNED_IN}
            self._tables[field] = must("POST", f"{self.url}/api/collections", self._admin, table).body["id"]
            url = f"{self.url}/api/collections/{name}/records"
            made[field] = must("POST", url, self._admin, {"name": "default"}).body
        self._row = {**NEW, "status": "open", **{field: row["id"] for field, row in made.items()}}

    def _collection(self) -> None:
        fields: list[dict[str, Any]] = [
            {"name": name, "type": "relation", "required": True, "maxSelect": 1, "collectionId": table}
            for name, table in self._tables.items()
        ]
        fields += [
            {"name": "purpose", "type": "text", "max": 500},
            {
                "name": "status",
                "type": "select",
                "required": True,
                "maxSelect": 1,
                "values": ["open", "finished"],
            },
            {"name": "outcome", "type": "text"},
            {"name": "created_at", "type": "autodate", "onCreate": True},
            {"name": "finished_at", "type": "date"},
            {"name": "updated_at", "type": "autodate", "onCreate": True, "onUpdate": True},
        ]
        rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule"), SIGNED_IN)
        table = {"name": "runs", "type": "base", "fields": fields, "indexes": list(INDEXES), **rules}
        must("POST", f"{self.url}/api/collections", self._admin, table)
