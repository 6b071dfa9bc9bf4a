"""Notes, checkpoints and proof files: known answers of other implementations, and every refusal."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.ledger import note
from thane.kernel.ledger.errors import NoteInvalid, ProofInvalid
from thane.kernel.ledger.note import Checkpoint, Signer, Verifier

# From the documentation of Go's golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of c2sp.org/signed-note's first edition.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

SIGNER = Signer("thane.example/log", bytes(range(32)))
OTHER = Signer("witness.example", bytes(reversed(range(32))))
ROOT = bytes(range(100, 132))
SIGNED = note.sign_checkpoint(SIGNER, 42, ROOT)


def test_notes_of_other_implementations_open() -> None:
    assert note.open_note(GO_NOTE, [Verifier.parse(GO_VKEY)]) == (GO_TEXT, ("PeterNeumann",))
    text, _ = note.open_note(C2SP_NOTE, [Verifier.parse(C2SP_VKEY)])
    assert text == "This is an example message.\n"


def test_signing_gives_the_bytes_of_the_other_implementation() -> None:
    signer = Signer("PeterNeumann", GO_SEED)
    assert signer.vkey == GO_VKEY
    assert note.sign_note(GO_TEXT, signer) == GO_NOTE


def test_a_checkpoint_has_three_lines_and_a_signature() -> None:
    assert SIGNED.startswith(
        f"thane.example/log\n42\n{base64.b64encode(ROOT).decode()}\n\n\u2014 thane.example/log "
    )
    opened = note.open_checkpoint(SIGNED, [SIGNER.verifier], origin=SIGNER.name)
    assert opened == Checkpoint("thane.example/log", 42, ROOT)


def test_one_key_can_sign_for_many_logs() -> None:
    signed = note.sign_checkpoint(SIGNER, 0, ROOT, origin="thane.example/log/ten_1")
    opened = note.open_checkpoint(signed, [SIGNER.verifier], origin="thane.example/log/ten_1")
    assert (opened.origin, opened.size) == ("thane.example/log/ten_1", 0)
    with pytest.raises(NoteInvalid, match="of the log"):
        note.open_checkpoint(signed, [SIGNER.verifier], origin="thane.example/log/ten_2")
    renamed = SIGNER.named("thane.example/log/ten_1")
    assert renamed.verifier.key_id != SIGNER.verifier.key_id
    note.open_checkpoint(
        note.sign_checkpoint(renamed, 1, ROOT), [Verifier.parse(renamed.vkey)], origin=renamed.name
    )


def test_signatures_of_unknown_keys_are_ignored() -> None:
    both = note.sign_note("text\n", SIGNER, OTHER)
    assert note.open_note(both, [OTHER.verifier]) == ("text\n", (OTHER.name,))
    assert note.open_note(both, [OTHER.verifier, SIGNER.verifier])[1] == (SIGNER.name, OTHER.name)
    with pytest.raises(NoteInvalid, match="no known key"):
        note.open_note(both, [Signer("thane.example/log", b"x" * 32).verifier])
    with pytest.raises(NoteInvalid, match="no known key"):
        note.open_note(both, [])


def test_text_may_hold_blank_lines() -> None:
    text = "one\n\ntwo\n\n"
    assert note.open_note(note.sign_note(text, SIGNER), [SIGNER.verifier])[0] == text


@given(st.integers(0, len(SIGNED) - 1), st.characters(exclude_categories=["Cs"]))
def test_no_character_can_be_exchanged(place: int, character: str) -> None:
    changed = SIGNED[:place] + character + SIGNED[place + 1 :]
    if changed != SIGNED:
        with pytest.raises(NoteInvalid):
            note.open_checkpoint(changed, [SIGNER.verifier], origin=SIGNER.name)


def test_a_wrong_signature_of_a_known_key_refuses_the_note() -> None:
    with pytest.raises(NoteInvalid, match="is wrong"):
        note.open_note(GO_NOTE.replace("answer", "question"), [Verifier.parse(GO_VKEY)])
    good_and_bad = note.sign_note("text\n", OTHER) + SIGNER.signature_line("other text\n")
    with pytest.raises(NoteInvalid, match="is wrong"):
        note.open_note(good_and_bad, [OTHER.verifier, SIGNER.verifier])
    cut = SIGNER.verifier.key_id + b"short"
    with pytest.raises(NoteInvalid, match="is wrong"):
        note.open_note(f"a\n\n\u2014 {SIGNER.name} {base64.b64encode(cut).decode()}\n", [SIGNER.verifier])


def test_a_known_key_signs_once() -> None:
    with pytest.raises(NoteInvalid, match="two signatures"):
        note.open_note(note.sign_note("text\n", SIGNER, SIGNER), [SIGNER.verifier])


LINE = SIGNER.signature_line("text\n")


@pytest.mark.parametrize(
    "text",
    [
        "", "text\n", "text\n" + LINE, "text\n\n", "text\n\n" + LINE[:-1], "text\n\n" + LINE + "\n",
        "text\n\n" + LINE[2:], "text\n\n\u2014 \n", "text\n\n\u2014 name\n",
        "text\n\n\u2014 na+me AAAAAAA=\n",
        "text\n\n\u2014 name AAAA\n", "text\n\n\u2014 name not-base64\n", "text\n\n\u2014 name AAAAAB==\n",
        "te\rxt\n\n" + LINE, "te\x00xt\n\n" + LINE, "te\ud800xt\n\n" + LINE,
        "text\n\n" + LINE * 101, "x" * (note.MAX_NOTE_CHARS + 1),
    ],
)  # fmt: skip
def test_malformed_notes_are_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        note.open_note(text, [SIGNER.verifier])


@pytest.mark.parametrize(
    "vkey",
    [
        "", "name", "name+00000000", GO_VKEY[:-1], GO_VKEY.replace("c74f20a3", "c74f20a4"), "+" + GO_VKEY,
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"), GO_VKEY.replace("+ARpc", "+ARpd"),
        "PeterNeumann+c74f20a3+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "PeterNeumann+c74f20a3+ARpc",
    ],
)  # fmt: skip
def test_malformed_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(NoteInvalid):
        Verifier.parse(vkey)


def test_what_cannot_be_a_note_is_not_signed() -> None:
    for text in ("no newline", "carriage\r\n"):
        with pytest.raises(NoteInvalid):
            note.sign_note(text, SIGNER)
    with pytest.raises(NoteInvalid, match="at least one"):
        note.sign_note("text\n")
    for name in ("", "a b", "a+b", "a\u00a0b"):
        with pytest.raises(NoteInvalid):
            Signer(name, bytes(32))
    for checkpoint in (
        Checkpoint("", 1, ROOT), Checkpoint("a\nb", 1, ROOT), Checkpoint("a", -1, ROOT),
        Checkpoint("a", 1, ROOT[:-1]), Checkpoint("a", 1, ROOT, ("",)), Checkpoint("a\tb", 1, ROOT),
    ):  # fmt: skip
        with pytest.raises(NoteInvalid):
            checkpoint.text()


def test_extension_lines_are_kept() -> None:
    checkpoint = Checkpoint("log", 7, ROOT, ("one", "two"))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


B64_ROOT = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "log\n1\n", f"\n1\n{B64_ROOT}\n", f"log\n01\n{B64_ROOT}\n", f"log\n-1\n{B64_ROOT}\n",
        f"log\n\u0661\n{B64_ROOT}\n", f"log\n{2**63}\n{B64_ROOT}\n", f"log\n{10**30}\n{B64_ROOT}\n",
        "log\n1\nAAAA\n", "log\n1\n!\n", f"log\n1\n{B64_ROOT}\n\n", f"log\n1\n{B64_ROOT}",
    ],
)  # fmt: skip
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


PATH = [bytes([i]) * 32 for i in range(3)]


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.none() | st.binary(min_size=1, max_size=99),
)
def test_proof_files_can_be_read_back(index: int, path: list[bytes], extra: bytes | None) -> None:
    found = note.parse_proof(note.make_proof(index, path, SIGNED, extra))
    assert (found.index, list(found.path), found.checkpoint, found.extra) == (index, path, SIGNED, extra)


def test_a_proof_file_has_these_lines() -> None:
    lines = note.make_proof(5, PATH[:1], SIGNED, b"leaf").split("\n")
    assert lines[:5] == ["c2sp.org/tlog-proof@v1", "extra bGVhZg==", "index 5", "A" * 43 + "=", ""]
    assert "\n".join(lines[5:]) == SIGNED
    assert note.parse_proof(note.make_proof(0, [], SIGNED)).path == ()


def test_what_is_no_proof_is_not_written() -> None:
    for index, path in ((-1, PATH), (0, [b"short"]), (0, [b"x" * 32] * 64)):
        with pytest.raises(ProofInvalid):
            note.make_proof(index, path, SIGNED)
    with pytest.raises(NoteInvalid):
        note.make_proof(0, PATH, "no note")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"), ("index 5", "index 05"), ("index 5", "number 5"),
        ("index 5\n", ""),
        ("extra bGVhZg==", "extra "), ("extra bGVhZg==", "extra !"), ("extra bGVhZg==", "extra bGVhZh=="),
        ("\n\nthane", "\nthane"), ("A" * 43 + "=", "AAAA"), ("A" * 43 + "=", "A"), ("index 5", "index 5\r"),
        ("\u2014", "-"), ("index 5\n", "index 5\n" + ("A" * 43 + "=\n") * 63),
        ("index 5", "index " + "9" * 19), ("extra bGVhZg==", "extra " + "A" * note.MAX_NOTE_CHARS),
    ],
)  # fmt: skip
def test_malformed_proof_files_are_refused(old: str, new: str) -> None:
    text = note.make_proof(5, PATH, SIGNED, b"leaf")
    assert old in text
    with pytest.raises((ProofInvalid, NoteInvalid)):
        note.parse_proof(text.replace(old, new, 1))
