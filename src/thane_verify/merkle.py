"""RFC 6962 inclusion, checked by walking down from the root, as the RFC defines the path."""

from __future__ import annotations

import hashlib

from thane_verify.report import Flaw


def hash_of_entry(entry: bytes) -> bytes:
    """RFC 6962 2.1: SHA-256 over a zero byte and the entry."""
    return hashlib.sha256(bytes([0]) + entry).digest()


def root_from_path(entry: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root of a tree of `size` entries in which `entry` is number `index` and `path` its audit path.

    Turns the definition of PATH (RFC 6962 2.1.1) into a list of turns from root to leaf,
    then climbs back. Raises Flaw unless the path has exactly the hashes which that tree calls for.
    """
    if not 0 <= index < size:
        raise Flaw(f"a log of {size} entries has no entry {index} (the first is 0)")
    leaf_is_left: list[bool] = []
    place, width = index, size
    while width > 1:
        left_width = 1
        while left_width * 2 < width:
            left_width *= 2
        if place < left_width:
            leaf_is_left.append(True)
            width = left_width
        else:
            leaf_is_left.append(False)
            place -= left_width
            width -= left_width
    if len(path) != len(leaf_is_left):
        raise Flaw(
            f"the proof has {len(path)} hashes; entry {index} of a log of {size} needs {len(leaf_is_left)}"
        )
    result = hash_of_entry(entry)
    for sibling, left in zip(path, reversed(leaf_is_left), strict=True):
        if len(sibling) != hashlib.sha256().digest_size:
            raise Flaw(f"a hash of the proof has {len(sibling)} bytes instead of 32")
        pair = result + sibling if left else sibling + result
        result = hashlib.sha256(bytes([1]) + pair).digest()
    return result
