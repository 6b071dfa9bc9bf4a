"""A process that writes: sandboxes through the API, as fast as it is answered. Stops when its input ends.

    python writer.py HOST PORT KEY NAME [CONNECTIONS] [KILOBYTES]

Prints a line of JSON at the end: how many were made, and the times of the answers in ms.
"""

from __future__ import annotations

import http.client
import json
import select
import sys
import threading
import time


def write(
    place: tuple[str, int, str, str], size: int, over: threading.Event, times: list[float], ids: list[str]
) -> None:
    host, port, key, name = place
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = json.dumps({"name": name, "metadata": {"filling": "x" * size}})
    while not over.is_set():
        began = time.perf_counter()
        connection.request("POST", "/api/v1/sandboxes", body, headers)
        answer = connection.getresponse()
        made = json.loads(answer.read())
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status == 201, made
        ids.append(made["id"])
    connection.close()


def main() -> None:
    host, port, key, name, *rest = sys.argv[1:]
    connections, kilobytes = (int(rest[0]) if rest else 1), (int(rest[1]) if len(rest) > 1 else 0)
    over = threading.Event()
    times: list[float] = []
    ids: list[str] = []
    given = ((host, int(port), key, name), kilobytes * 1024, over, times, ids)
    threads = [threading.Thread(target=write, args=given) for _ in range(connections)]
    for thread in threads:
        thread.start()
    select.select([sys.stdin], [], [])
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"made": len(ids), "ids": ids, "ms": times}))


if __name__ == "__main__":
    main()
