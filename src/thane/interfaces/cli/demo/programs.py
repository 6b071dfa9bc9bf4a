"""The programs of the demo: what an agent might write, good and bad."""

from __future__ import annotations

from typing import Final, NamedTuple


class Program(NamedTuple):
    """One program, what it is for, and how it must end."""

    name: str
    about: str
    code: str
    status: str  # the execution's
    error_type: str | None = None


WORKS: Final = """\
invoices = {"1041": [(3, 119.70), (1, 40.00)], "1042": [(12, 9.95)], "1043": [(1, 830.00)]}
total = 0
for number, lines in invoices.items():
    amount = sum(count * price for count, price in lines)
    total += amount
    print(f"invoice {number}: {amount:>9,.2f}")
print(f"total:        {total:>9,.2f}")
"""

FAILS: Final = """\
rates = {"standard": 0.21, "reduced": 0.09}
for product, rate in [("desk", "standard"), ("book", "reduced"), ("stamp", "exempt")]:
    print(product, rates[rate])
"""

GREEDY: Final = """\
cache = []
for page in range(1, 1_000_000):
    cache.append(bytearray(1 << 20))
    if page % 16 == 0:
        print(f"{page} MB in the cache", flush=True)
"""

# Each way that a program could try: the path, the server's environment, all files it can reach.
STEALS: Final = """\
import os

KEYS = {keys!r}

def attempt(what, get):
    try:
        found = get()
    except Exception as refused:
        print(f"{{what}}: {{type(refused).__name__}}")
    else:
        print(f"{{what}}: {{found if found else 'nothing'}}")

def environments():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = open(f"/proc/{{pid}}/environ", "rb").read()
        except OSError:
            continue
        found += [part.decode() for part in text.split(b"\\0") if b"THANE" in part or b"KEY" in part]
    return found

def searched():
    wanted, found = {{os.path.basename(path) for path in KEYS}}, []
    for at, folders, names in os.walk("/"):
        if at == "/":
            folders[:] = set(folders) - {{"proc", "sys", "usr"}}
        found += [os.path.join(at, name) for name in names if name in wanted]
    return found

for path in KEYS:
    attempt(f"open {{os.path.basename(path)}}", lambda: open(path).read())
attempt("environments of all processes", environments)
attempt("search of all files", searched)
"""


def programs(keys: list[str]) -> tuple[Program, ...]:
    """The four; `keys` are the paths of the server's key files."""
    return (
        Program("works", "The agent's code runs", WORKS, "completed"),
        Program("fails", "One program fails", FAILS, "failed", "KeyError"),
        Program("greedy", "One is too greedy", GREEDY, "failed", "OutOfMemory"),
        Program("steals", "One tries to read the server's keys", STEALS.format(keys=keys), "completed"),
    )
