"""Reads a web server's JSON log, sorts out broken lines, and sums up by path as JSON.

Run it with `--file access.jsonl` to read a log of your own (one object a line with time, path,
status and ms); without one it makes a log that has the usual faults. Writes summary.json and
rejected.jsonl.
"""

import json
import random
import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

PATHS = {"/": 40, "/search": 180, "/cart": 90, "/checkout": 450, "/api/items": 60}


def sample_log() -> list[str]:
    """2,000 lines, of which some are cut off, lack a field or hold a wrong value."""
    chance = random.Random(3)
    now = datetime(2026, 10, 5, 8, tzinfo=UTC)
    lines = []
    for number in range(2000):
        now += timedelta(seconds=chance.expovariate(0.5))
        path = chance.choice(list(PATHS))
        entry = {
            "time": now.isoformat(),
            "path": path,
            "status": chance.choices([200, 304, 404, 500], [90, 5, 3, 2])[0],
            "ms": round(chance.lognormvariate(0, 0.6) * PATHS[path], 1),
        }
        if number % 211 == 100:
            del entry["status"]
        elif number % 307 == 100:
            entry["ms"] = "fast"
        text = json.dumps(entry)
        lines.append(text[:40] if number % 401 == 200 else text)
    return lines


def read(line: str) -> dict:
    """The entry of a line. Raises ValueError that says what is wrong with it."""
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    missing = {"time", "path", "status", "ms"} - entry.keys()
    if missing:
        raise ValueError(f"missing: {', '.join(sorted(missing))}")
    if isinstance(entry["ms"], bool) or not isinstance(entry["ms"], int | float) or entry["ms"] < 0:
        raise ValueError(f"ms must be a number that is not negative: {entry['ms']!r}")
    if not isinstance(entry["status"], int) or not 100 <= entry["status"] <= 599:
        raise ValueError(f"status must be from 100 to 599: {entry['status']!r}")
    return entry | {"time": datetime.fromisoformat(entry["time"])}


def summary(entries: list[dict]) -> dict:
    groups = defaultdict(list)
    for entry in entries:
        groups[entry["path"]].append(entry)
    return {
        "from": min(entry["time"] for entry in entries).isoformat(),
        "to": max(entry["time"] for entry in entries).isoformat(),
        "requests": len(entries),
        "paths": {
            path: {
                "requests": len(group),
                "errors": sum(entry["status"] >= 500 for entry in group),
                "median_ms": round(statistics.median(entry["ms"] for entry in group), 1),
                "slowest_ms": max(entry["ms"] for entry in group),
                "statuses": dict(sorted(Counter(str(entry["status"]) for entry in group).items())),
            }
            for path, group in sorted(groups.items())
        },
    }


def main() -> None:
    own = Path("access.jsonl")
    lines = own.read_text(encoding="utf-8").splitlines() if own.exists() else sample_log()
    entries, rejected = [], []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(read(line))
        except ValueError as error:
            rejected.append({"line": number, "reason": str(error), "text": line})
    if not entries:
        raise SystemExit("access.jsonl holds no line that can be read")
    result = summary(entries) | {"rejected": len(rejected)}
    Path("summary.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Path("rejected.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rejected), encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
