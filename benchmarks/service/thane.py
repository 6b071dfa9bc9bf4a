"""Thane as a person starts it, with nothing switched off, and the evidence that nothing was."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.service.http import ask, must, until_answered
from benchmarks.service.load import Request
from benchmarks.service.server import BATCH, FINISHED, NEW, SEEDED, UPDATED, Server

API = "/api/v1/runs"


def program() -> str:
    """The console script beside this interpreter."""
    found = shutil.which("thane", path=str(Path(sys.executable).parent)) or shutil.which("thane")
    if found is None:
        raise SystemExit("thane is not installed: uv sync --all-groups")
    return found


class Thane(Server):
    """`thane serve` over a data folder of its own."""

    def __init__(self, home: Path, *, durability: str = "normal") -> None:
        self.name = "thane" if durability == "normal" else f"thane {durability}"
        self._data = home / self.name.replace(" ", "-")
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("THANE_")},
            "THANE_DATABASE_DURABILITY": durability,
        }

    def start(self) -> None:
        port = self.free_port()
        self.url = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [program(), "serve", "--data", str(self._data), "--port", str(port)],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )
        self.first_answer = until_answered(f"{self.url}/health", began)
        key = (self._data / "keys" / "local-key").read_text().strip()
        self._auth = {"authorization": f"Bearer {key}"}
        self.wal = self._data / "store.db-wal"

    def seed(self) -> None:
        ids: list[str] = []
        for _ in range(SEEDED // BATCH):
            ids += [row["id"] for row in self._batch()["items"]]
        for id_ in ids[:FINISHED]:
            must("POST", f"{self.url}{API}/{id_}/finish", self._auth, {})
        paths = tuple(f"{API}/{id_}" for id_ in ids[FINISHED:])
        listed = {"filter": 'status = "finished"', "sort": "-created_at", "limit": "30"}
        sending = {**self._auth, "content-type": "application/json"}
        self.requests = {
            "get": Request("GET", paths, self._auth),
            "list": Request("GET", (f"{API}?{urlencode(listed)}",), self._auth),
            "list, total": Request("GET", (f"{API}?{urlencode({**listed, 'total': 'true'})}",), self._auth),
            "create": Request("POST", (API,), sending, json.dumps(NEW), keyed=True),
            "update": Request("PATCH", paths, sending, json.dumps(UPDATED)),
        }
        page = must("GET", self.url + self.requests["list, total"].paths[0], self._auth).body
        if len(page["items"]) != 30 or page["total"] != FINISHED:
            raise RuntimeError(f"the list is not what is to be measured: {page}")

    def batch(self) -> float:
        began = time.perf_counter()
        self._batch()
        return time.perf_counter() - began

    def _batch(self) -> Any:
        keyed = {**self._auth, "idempotency-key": uuid.uuid4().hex}
        return must("POST", f"{self.url}{API}/batch", keyed, {"runs": [NEW] * BATCH}).body

    # -- evidence ---------------------------------------------------------------------------

    def settings(self) -> list[str]:
        durability = self._environment["THANE_DATABASE_DURABILITY"]
        return [f"database.durability = {durability}; every other setting is the default's"]

    def stages(self) -> dict[str, bool]:
        """Each stage by what a client sees of it."""
        key = {**self._auth, "idempotency-key": uuid.uuid4().hex}
        first = must("POST", self.url + API, key, NEW)
        again = ask("POST", self.url + API, key, NEW)
        return {
            "authentication": ask("GET", self.url + API, {}).status == 401,
            "validation": ask("POST", self.url + API, self._auth, {"purpose": 1}).status == 422,
            "idempotency": again.headers.get("idempotency-replayed") == "true" and again.body == first.body,
            "ledger": "thane-ledger-index" in first.headers,
        }

    def kept(self, answered: dict[str, int]) -> dict[str, bool]:
        """After the stop: an entry of each change, an access row of each read, and all of it verified."""
        writes = sum(n for op, n in answered.items() if op in ("create", "update"))
        reads = sum(n for op, n in answered.items() if op.startswith(("get", "list")))
        store = sqlite3.connect(self._data / "store.db")
        try:
            entries = store.execute("SELECT count(*) FROM thane_entries").fetchone()[0]
            rows = store.execute("SELECT count(*) FROM access_rows WHERE status = 200").fetchone()[0]
            keys = store.execute("SELECT count(*) FROM idempotency").fetchone()[0]
        finally:
            store.close()
        verify = subprocess.run(
            [program(), "verify", "--data", str(self._data)], capture_output=True, check=False
        )
        return {
            f"an entry of each of {writes} changes ({entries})": entries >= writes,
            f"an access row of each of {reads} reads ({rows})": rows >= reads,
            f"a key's row of each of {answered.get('create', 0)} creates ({keys})": keys
            >= answered.get("create", 0),
            "thane verify finds nothing": verify.returncode == 0,
        }


def run_once(data: Path) -> float:
    """Seconds of `thane run -c 'print(1)'` as a whole process."""
    began = time.perf_counter()
    done = subprocess.run(
        [program(), "run", "--data", str(data), "-c", "print(1)"], capture_output=True, check=True
    )
    took = time.perf_counter() - began
    if done.stdout != b"1\n":
        raise RuntimeError(f"the program said {done.stdout!r}")
    return took
