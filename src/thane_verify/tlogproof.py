"""Checks a `.tlog-proof` (c2sp.org/tlog-proof@v1) whose extra data is the entry's leaf."""

from __future__ import annotations

from thane_verify.entries import in_words, read_leaf
from thane_verify.merkle import hash_of_entry, root_from_path
from thane_verify.notes import PublicKey, from_base64, open_checkpoint, whole_number
from thane_verify.report import Flaw, Report

HEADER = "c2sp.org/tlog-proof@v1"
_MAX_BYTES = 1 << 20


def check(data: bytes, keys: list[PublicKey], leaf: bytes | None = None) -> Report:
    """The report on a proof file's bytes, if it holds against one of `keys`.

    `leaf` is the entry's leaf if the reader has it from elsewhere; then it must be the one
    proven. Without it the proof carries it. Raises Flaw.
    """
    index, path, carried, note = _parts(data)
    if leaf is not None and carried not in (None, leaf):
        raise Flaw("the leaf that was given is not the one in the proof")
    leaf = leaf if leaf is not None else carried
    if leaf is None:
        raise Flaw("the proof carries no leaf: give the entry's leaf with --leaf FILE")
    checkpoint = open_checkpoint(note, keys)
    log, size, key = checkpoint.origin, checkpoint.size, checkpoint.key
    if root_from_path(leaf, index, size, path) != checkpoint.root:
        raise Flaw(
            f"entry {index} of the log {log} is another: the entry, the proof or the checkpoint was changed"
        )
    fields = read_leaf(leaf)
    if fields["seq"] != index:
        raise Flaw(f"the entry calls itself number {fields['seq']} but stands at {index}")
    return Report(
        proven=(
            f"the entry below is entry {index} of the log {log}, unchanged since it was signed",
            f"its leaf hash is {hash_of_entry(leaf).hex()}",
            f"the key {key.name} ({key.key_id.hex()}) signed a checkpoint over the first {size} entries",
        ),
        recorded=tuple(in_words(fields)),
        unproven=(
            "that what was recorded is true: the log proves what the server wrote down",
            "what the rows and details hold: the entry has only their digests",
            "that everybody is shown this same log: who holds the key could sign a second one; compare",
            "    with a checkpoint that you kept or that a witness signed",
            f"anything about entries after number {size - 1}",
        ),
    )


def _parts(data: bytes) -> tuple[int, list[bytes], bytes | None, str]:
    """(index, path, extra data, checkpoint note) of the file, nothing verified. Raises Flaw."""
    if len(data) > _MAX_BYTES:
        raise Flaw(f"the file has {len(data)} bytes; a proof has at most {_MAX_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Flaw("the file is not UTF-8 text, so it is no proof") from None
    if any(ord(c) < 32 and c != "\n" for c in text):
        raise Flaw(
            "the file holds control characters or Windows line ends: it is not the proof as it was made"
        )
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != HEADER:
        raise Flaw(f"this is not a proof: its first line is not {HEADER!r}")
    if not separator:
        raise Flaw("the proof is cut: it has no checkpoint")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = from_base64(lines.pop(0).removeprefix("extra "), "extra data")
    if not lines or not lines[0].startswith("index "):
        raise Flaw("the proof has no line 'index N'")
    index = whole_number(lines.pop(0).removeprefix("index "), "index")
    return index, [from_base64(line, "hash") for line in lines], extra, note
