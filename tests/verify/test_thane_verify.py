"""The independent verifier, on proofs made by the ledger and then spoilt in every way."""

from __future__ import annotations

import ast
import base64
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

import thane_verify
from thane.kernel.ledger import note, tree
from thane.kernel.ledger.leaf import NO_CHANGES, Kind, Leaf
from thane.kernel.ledger.note import Signer
from thane_verify.__main__ import main
from thane_verify.merkle import root_from_path
from thane_verify.notes import PublicKey
from thane_verify.report import Flaw
from thane_verify.tlogproof import check

SIGNER = Signer("thane.example/log", bytes(range(32)))
KEY = PublicKey.parse(SIGNER.vkey)
COUNT, INDEX = 11, 6


def leaf(seq: int, **changed: object) -> bytes:
    fields: dict[str, object] = {
        "actor": ("usr_1", "agt_2"), "changes": NO_CHANGES, "details": None, "intent": None,
        "kind": Kind.RECORD, "operation": "sandboxes.create", "outcome": "ok", "project": "prj_1",
        "request": "req_1", "resource": "sbx_ü\x1b[31m", "run": None, "seq": seq, "tenant": "ten_1",
        "time": 1_764_021_427_000_001,
    }  # fmt: skip
    return Leaf(**{**fields, **changed}).encode()  # type: ignore[arg-type]


def proof_of(
    leaves: list[bytes], index: int, *, origin: str | None = None, extra: bytes | None = None
) -> str:
    checkpoint = note.sign_checkpoint(SIGNER, len(leaves), tree.root_of(leaves), origin=origin)
    return note.make_proof(index, tree.inclusion_of(leaves, index), checkpoint, extra or leaves[index])


LEAVES = [leaf(seq) for seq in range(COUNT)]
PROOF = proof_of(LEAVES, INDEX)


def spoilt(data: bytes) -> bytes:
    """The proof of a signed tree whose entry INDEX is `data`."""
    return proof_of([*LEAVES[:INDEX], data, *LEAVES[INDEX + 1 :]], INDEX).encode()


def test_a_true_proof_says_what_it_proves_and_what_it_does_not() -> None:
    report = check(PROOF.encode(), [KEY])
    text = report.text()
    assert f"the entry below is entry {INDEX} of the log thane.example/log" in text
    assert f"over the first {COUNT} entries" in text
    assert tree.leaf_hash(LEAVES[INDEX]).hex() in text
    assert "operation: sandboxes.create" in text
    assert "2025-11-24T21:57:07.000001+00:00" in text
    assert "\x1b" not in text
    assert "NOT PROVEN" in text
    assert f"after number {COUNT - 1}" in text


def test_every_entry_of_every_size_is_accepted() -> None:
    for size in range(1, 40):
        leaves = [leaf(seq) for seq in range(size)]
        root = tree.root_of(leaves)
        for index in range(size):
            path = tree.inclusion_of(leaves, index)
            assert root_from_path(leaves[index], index, size, path) == root
            for wrong in ([*path, root], path[1:] if path else [root]):
                with pytest.raises(Flaw, match="hashes"):
                    root_from_path(leaves[index], index, size, wrong)
    with pytest.raises(Flaw, match="31 bytes"):
        root_from_path(b"", 0, 2, [b"x" * 31])


def test_no_byte_of_a_proof_can_be_changed() -> None:
    data = PROOF.encode()
    chance = random.Random(7)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(Flaw):
            check(bytes(changed), [KEY])
        with pytest.raises(Flaw):
            check(data[:place], [KEY])


def test_another_log_or_key_is_refused() -> None:
    other = PublicKey.parse(Signer("other.example", b"x" * 32).vkey)
    with pytest.raises(Flaw, match="not signed by other"):
        check(PROOF.encode(), [other])
    impostor = PublicKey.parse(Signer(SIGNER.name, b"x" * 32).vkey)
    with pytest.raises(Flaw, match="not signed by"):
        check(PROOF.encode(), [impostor])
    check(PROOF.encode(), [other, impostor, KEY])
    check(proof_of(LEAVES, INDEX, origin="thane.example/log/ten_1").encode(), [KEY])
    for origin in ("thane.example/logs", "other.example"):
        with pytest.raises(Flaw, match="not its own"):
            check(proof_of(LEAVES, INDEX, origin=origin).encode(), [KEY])


def test_a_forged_signature_is_told_apart() -> None:
    text, _, _ = PROOF.partition("\u2014")
    line = SIGNER.signature_line("thane.example/log\n1\nother\n")
    with pytest.raises(Flaw, match="is wrong"):
        check((text + line).encode(), [KEY])
    short = base64.b64encode(KEY.key_id + b"x").decode()
    with pytest.raises(Flaw, match="is wrong"):
        check(f"{text}\u2014 {KEY.name} {short}\n".encode(), [KEY])


def test_an_entry_that_stands_elsewhere_is_refused() -> None:
    with pytest.raises(Flaw, match="calls itself number 3"):
        check(spoilt(leaf(3)), [KEY])
    with pytest.raises(Flaw, match="is another"):
        check(proof_of(LEAVES, INDEX, extra=LEAVES[3]).encode(), [KEY])


GOOD = LEAVES[INDEX]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "not JSON text"),
        (b"{", "not JSON text"),
        (b"[" * 100_000, "not JSON text"),
        (b"[1]", "not a JSON object"),
        (GOOD.replace(b'"v":1', b'"v":2'), "version 2"),
        (GOOD.replace(b'"v":1', b'"v":true'), "whole numbers"),
        (GOOD.replace(b'"run":null,', b""), "fields are not those.*run"),
        (GOOD.replace(b'"seq":6', b'"seq":6.0'), "holds 6.0"),
        (GOOD.replace(b'"seq":6', b'"seq":NaN'), "holds NaN"),
        (GOOD.replace(b'"seq":6', b'"seq":"6"'), "whole numbers"),
        (GOOD.replace(b'"time":1', b'"time":99'), "whole numbers"),
        (GOOD.replace(b'"seq":6', b'"seq":7,"seq":6'), "canonical"),
        (GOOD.replace(b'"seq":6', b'"seq": 6'), "canonical"),
        (GOOD.replace(b"sandboxes", b"\\u0073andboxes"), "canonical"),
        (GOOD.replace(b"prj_1", b"\\ud800"), "canonical"),
    ],
)
def test_a_signed_leaf_in_another_form_is_refused(data: bytes, reason: str) -> None:
    assert data != GOOD
    with pytest.raises(Flaw, match=reason):
        check(spoilt(data), [KEY])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("@v1", "@v2", "first line"), ("\n\nthane", "\nthane", "hash is not base64"),
        ("\nindex 6", "\nindex 06", "whole number"),
        ("\nindex 6", "\nindex 11", "has no entry 11"), ("\nindex 6", "\nindex " + "9" * 19, "whole number"),
        ("\nindex 6", "\nnumber 6", "no line 'index"), ("\nextra ", "\nextra !", "not base64"),
        ("\nextra ", "\nextra é", "not base64"), ("\nindex 6\n", "\nindex 6\nAAB=\n", "spelling"),
        ("\n", "\r\n", "Windows"), ("log\n11\n", "log\n-1\n", "is wrong"), ("\u2014 ", "- ", "malformed"),
        ("\nindex 6\n", "\nindex 6\nAAAA\n", "hashes"),
    ],
)  # fmt: skip
def test_garbage_is_explained(old: str, new: str, reason: str) -> None:
    assert old in PROOF
    with pytest.raises(Flaw, match=reason):
        check(PROOF.replace(old, new, 1).encode(), [KEY])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("log\n1", "three lines"), ("log\n01\nAAAA", "root has 3 bytes"), ("log\n1\n!", "root is not base64"),
        ("log\n01\n" + "A" * 43 + "=", "size '01'"), ("log\n0\n" + "A" * 43 + "=", "has no entry"),
    ],
)  # fmt: skip
def test_a_signed_checkpoint_in_another_form_is_refused(text: str, reason: str) -> None:
    signed = note.sign_note(f"thane.example/{text}\n", SIGNER)
    with pytest.raises(Flaw, match=reason):
        check(note.make_proof(0, [], signed, LEAVES[0]).encode(), [KEY])


def test_too_much_is_not_read() -> None:
    with pytest.raises(Flaw, match="at most"):
        check(b"x" * (1 << 20) + b"x", [KEY])
    with pytest.raises(Flaw, match="more than 100"):
        check((PROOF + SIGNER.signature_line("x\n") * 100).encode(), [KEY])
    with pytest.raises(Flaw, match="UTF-8"):
        check(b"\x80", [KEY])


@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "form"), ("a+b", "form"), ("a b+00+AA==", "form"), (SIGNER.vkey[:-4], "Ed25519"),
        (SIGNER.vkey.replace("+A", "+B", 1), "Ed25519"), (SIGNER.vkey.replace("thane", "thame"), "mistyped"),
        (SIGNER.vkey[:-1] + "!", "base64"),
    ],
)  # fmt: skip
def test_a_mistyped_key_is_explained(vkey: str, reason: str) -> None:
    with pytest.raises(Flaw, match=reason):
        PublicKey.parse(vkey)


# -- the command --------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "entry.tlog-proof").write_text(PROOF)
    (tmp_path / "keys.txt").write_text(f"# our server\n\n{SIGNER.vkey}\n")
    return tmp_path / "entry.tlog-proof"


def test_the_command_takes_a_key_or_a_file_of_keys(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "--key", SIGNER.vkey]) == 0
    assert main([str(file), "--key", str(file.parent / "keys.txt")]) == 0
    out = capsys.readouterr().out
    assert out.count("holds.") == 2
    assert "PROVEN" in out


def test_the_command_takes_a_leaf_from_elsewhere(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = file.parent / "leaf.json"
    given.write_bytes(GOOD)
    assert main([str(file), "--key", SIGNER.vkey, "--leaf", str(given)]) == 0
    bare = file.parent / "bare.tlog-proof"
    bare.write_text("\n".join(line for line in PROOF.split("\n") if not line.startswith("extra ")))
    assert main([str(bare), "--key", SIGNER.vkey, "--leaf", str(given)]) == 0
    assert main([str(bare), "--key", SIGNER.vkey]) == 1
    assert "--leaf FILE" in capsys.readouterr().err
    given.write_bytes(LEAVES[0])
    assert main([str(bare), "--key", SIGNER.vkey, "--leaf", str(given)]) == 1
    assert main([str(file), "--key", SIGNER.vkey, "--leaf", str(given)]) == 1
    assert "not the one in the proof" in capsys.readouterr().err


def test_the_command_fails_with_a_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "binary").write_bytes(b"\xff\xfe")
    (file.parent / "empty").write_text("# nothing\n")
    for arguments in (
        [str(file.parent / "missing"), "--key", SIGNER.vkey],
        [str(file.parent), "--key", SIGNER.vkey],
        [str(file.parent / "binary"), "--key", SIGNER.vkey],
        [str(file), "--key", str(file.parent / "binary")],
        [str(file), "--key", str(file.parent / "empty")],
        [str(file), "--key", "no-such-file"],
        [str(file), "--key", SIGNER.vkey[:-4]],
    ):
        assert main(arguments) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("NOT PROVEN: ")
    with pytest.raises(SystemExit) as caught:
        main([str(file)])
    assert caught.value.code == 2


def test_the_module_runs_alone(file: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "thane_verify", str(file), "--key", SIGNER.vkey]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    file.write_text(PROOF.replace("extra ", "extra e"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")


# -- the promise of its docs ----------------------------------------------------------------


def test_it_is_small_and_imports_nothing_of_thane() -> None:
    folder = Path(thane_verify.__file__).parent
    lines = 0
    names: set[str] = set()
    for source in folder.rglob("*.py"):
        text = source.read_text()
        lines += len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names.add((node.module or "").split(".")[0])
    assert 0 < lines <= 500
    assert names - sys.stdlib_module_names == {"cryptography", "thane_verify"}


def test_the_leaf_in_the_proof_is_the_leaf_of_the_ledger() -> None:
    extra = note.parse_proof(PROOF).extra
    assert extra is not None
    assert json.loads(extra)["seq"] == INDEX
