"""`thane-verify FILE --key VKEY`: says what a proof proves. Exit 0: it holds; 1: it does not; 2: usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from thane_verify import tlogproof
from thane_verify.notes import PublicKey
from thane_verify.report import Flaw


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. The report goes to stdout, a flaw to stderr."""
    parser = argparse.ArgumentParser(
        prog="thane-verify",
        description="Checks a Thane proof offline and says in plain words what is proven and what is not.",
        epilog="Get the key from its owner by a way you trust, not together with the proof.",
    )
    parser.add_argument("proof", metavar="FILE", type=Path, help="a .tlog-proof file")
    parser.add_argument(
        "--key",
        metavar="VKEY",
        action="append",
        required=True,
        help="key to trust: NAME+ID+BASE64, or a file with one in each line; may be repeated",
    )
    parser.add_argument(
        "--leaf", metavar="FILE", type=Path, help="the entry's leaf, if the proof does not carry it"
    )
    given = parser.parse_args(arguments)
    try:
        keys = [key for text in given.key for key in _keys(text)]
        leaf = _read(given.leaf) if given.leaf else None
        report = tlogproof.check(_read(given.proof), keys, leaf)
    except Flaw as flaw:
        print(f"NOT PROVEN: {flaw}.", file=sys.stderr)
        return 1
    print(f"The proof in {given.proof} holds.\n\n{report.text()}", end="")
    return 0


def _keys(text: str) -> list[PublicKey]:
    """The keys that one `--key` gives. A vkey has two plus signs; anything else is a file's name."""
    if text.count("+") >= 2 and not Path(text).exists():
        return [PublicKey.parse(text)]
    try:
        lines = _read(Path(text)).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise Flaw(f"the key file {text} is not text") from None
    keys = [PublicKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise Flaw(f"the key file {text} holds no key")
    return keys


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise Flaw(f"{path} cannot be read: {fault.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
