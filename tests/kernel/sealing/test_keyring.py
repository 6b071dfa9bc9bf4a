"""The key folder: made whole, closed to others, honest about damage."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from thane.kernel.ledger.note import Signer, Verifier
from thane.kernel.sealing import keyfiles
from thane.kernel.sealing.envelope import open_sealed, seal
from thane.kernel.sealing.errors import (
    KeyFileCorrupt,
    KeyFolderExists,
    KeyFolderMissing,
    KeyFolderUnsafe,
    KeyFolderUnwritable,
    KeyMissing,
    SealedCorrupt,
)
from thane.kernel.sealing.keyring import Erasure, KeyFolder, WrappedKey

NAME = "thane.example/log"


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder.create(tmp_path / "keys", ledger_name=NAME)


def altered(key: WrappedKey, **fields: bytes | str) -> WrappedKey:
    return msgspec.structs.replace(key, **fields)


def test_a_master_key_can_be_brought_along(tmp_path: Path) -> None:
    own = bytes(range(32))
    keys = KeyFolder.create(tmp_path / "keys", ledger_name=NAME, master=own)
    assert keys.master_ids() == [keys.current_master_id]
    assert keys.holds_master(own)
    assert not keys.holds_master(bytes(32))
    key, wrapped = keys.new_subject_key("tnt_1")
    again = KeyFolder.create(tmp_path / "again", ledger_name=NAME, master=own)
    assert again.unwrap(wrapped).secret == key.secret
    assert again.ledger_seed != keys.ledger_seed


def test_a_master_key_is_for_a_new_folder_only(tmp_path: Path) -> None:
    first = KeyFolder.open_or_create(tmp_path / "keys", ledger_name=NAME)
    second = KeyFolder.open_or_create(tmp_path / "keys", ledger_name=NAME, master=bytes(32))
    assert second.master_ids() == first.master_ids()
    assert not second.holds_master(bytes(32))


def test_a_master_key_of_another_length_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        KeyFolder.create(tmp_path / "keys", ledger_name=NAME, master=bytes(31))
    assert not list(tmp_path.iterdir())


def disk_refuses(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# -- making and opening -----------------------------------------------------------------


def test_a_folder_has_the_files_and_modes_of_the_docs(keys: KeyFolder) -> None:
    found = {str(file.relative_to(keys.path)) for file in keys.path.rglob("*")}
    master = f"master/{keys.current_master_id.hex()}.key"
    assert found == {"master", master, "current", "index.key", "ledger.key"}
    for file in (keys.path, *keys.path.rglob("*")):
        expected = 0o700 if file.is_dir() else 0o600
        assert stat.S_IMODE(file.stat().st_mode) == expected, file
    assert [file.name for file in keys.path.parent.iterdir()] == ["keys"]


def test_a_loose_umask_does_not_loosen_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = KeyFolder.create(tmp_path / "keys", ledger_name=NAME)
        keys.record_erasure("usr_1", [], 1)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in keys.path.rglob("*")}
    assert modes == {0o700, 0o600}


def test_an_opened_folder_has_the_keys_it_was_made_with(keys: KeyFolder) -> None:
    again = KeyFolder(keys.path)
    assert again.current_master_id == keys.current_master_id
    assert (again.index_key, again.ledger_seed, again.ledger_name) == (keys.index_key, keys.ledger_seed, NAME)
    assert len({keys.index_key, keys.ledger_seed}) == 2
    assert Verifier.parse(Signer(again.ledger_name, again.ledger_seed).vkey).name == NAME


def test_open_or_create_makes_it_once(tmp_path: Path) -> None:
    first = KeyFolder.open_or_create(tmp_path / "keys", ledger_name=NAME)
    second = KeyFolder.open_or_create(tmp_path / "keys", ledger_name="another.example")
    assert (second.index_key, second.ledger_name) == (first.index_key, NAME)


def test_what_lies_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("mine")
    with pytest.raises(KeyFolderExists):
        KeyFolder.create(tmp_path / "keys", ledger_name=NAME)
    assert (tmp_path / "keys").read_text() == "mine"
    with pytest.raises(KeyFolderMissing):
        KeyFolder(tmp_path / "keys")
    with pytest.raises(KeyFolderMissing):
        KeyFolder(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", "a b", "a+b", " a"])
def test_a_name_that_notes_cannot_carry_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a ledger"):
        KeyFolder.create(tmp_path / "keys", ledger_name=name)


def test_a_full_disk_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", disk_refuses)
    with pytest.raises(KeyFolderUnwritable, match=r"index\.key"):
        KeyFolder.create(tmp_path / "keys", ledger_name=NAME)
    with pytest.raises(KeyFolderUnwritable, match="could not be made"):
        KeyFolder.create(tmp_path / "no" / "keys", ledger_name=NAME)
    assert list(tmp_path.iterdir()) == []


# -- permissions ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o710])
@pytest.mark.parametrize("place", ["", "master"])
def test_a_folder_open_to_others_is_refused_with_the_command(keys: KeyFolder, mode: int, place: str) -> None:
    folder = keys.path / place
    folder.chmod(mode)
    with pytest.raises(KeyFolderUnsafe) as caught:
        KeyFolder(keys.path)
    assert f"chmod 700 {folder}" in caught.value.hint
    folder.chmod(0o700)
    KeyFolder(keys.path)


@pytest.mark.parametrize("name", ["current", "index.key", "ledger.key"])
def test_a_file_open_to_others_is_refused_with_the_command(keys: KeyFolder, name: str) -> None:
    (keys.path / name).chmod(0o640)
    with pytest.raises(KeyFolderUnsafe) as caught:
        KeyFolder(keys.path)
    assert f"chmod 600 {keys.path / name}" in caught.value.hint


def test_a_foreign_owner_is_refused(keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: foreign)
    with pytest.raises(KeyFolderUnsafe) as caught:
        KeyFolder(keys.path)
    assert f"chown -R {foreign} {keys.path}" in caught.value.hint


def test_a_folder_that_may_not_be_opened_is_refused(keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(KeyFolderUnsafe, match="not ours to open"):
        KeyFolder(keys.path)


def test_links_and_pipes_are_not_followed(keys: KeyFolder, tmp_path: Path) -> None:
    index = keys.path / "index.key"
    copy = tmp_path / "copy"
    index.rename(copy)
    index.symlink_to(copy)
    with pytest.raises(KeyFileCorrupt, match="cannot be read"):
        KeyFolder(keys.path)
    index.unlink()
    os.mkfifo(index, 0o600)
    with pytest.raises(KeyFileCorrupt, match="no ordinary file"):
        KeyFolder(keys.path)


# -- damage -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["current", "index.key", "ledger.key"])
def test_a_missing_file_is_named(keys: KeyFolder, name: str) -> None:
    (keys.path / name).unlink()
    with pytest.raises(KeyFolderMissing, match=name):
        KeyFolder(keys.path)


def change_secret(text: str) -> str:
    file = json.loads(text)
    file["secret"] = "A" + file["secret"][1:] if file["secret"][0] != "A" else "B" + file["secret"][1:]
    return json.dumps(file)


SPOIL: dict[str, Callable[[str], str]] = {
    "another secret": change_secret,
    "cut": lambda text: text[:40],
    "empty": lambda text: "",
    "not UTF-8": lambda text: "\xff",
    "another version": lambda text: text.replace('"v":1', '"v":2'),
    "another kind": lambda text: text.replace('"kind":"', '"kind":"x'),
    "not base64": lambda text: text.replace('"secret":"', '"secret":"!'),
    "short": lambda text: json.dumps({**json.loads(text), "secret": "AAAA"}),
    "more fields": lambda text: json.dumps({**json.loads(text), "more": 1}),
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
@pytest.mark.parametrize("which", ["index", "ledger", "master"])
def test_a_damaged_key_file_is_found(keys: KeyFolder, spoil: Callable[[str], str], which: str) -> None:
    file = keys.path / f"{which}.key"
    if which == "master":
        file = keys.path / "master" / f"{keys.current_master_id.hex()}.key"
    file.write_text(spoil(file.read_text()), "latin-1")
    with pytest.raises(KeyFileCorrupt, match=file.name):
        KeyFolder(keys.path)


def test_a_ledger_key_without_a_name_is_damaged(keys: KeyFolder) -> None:
    file = keys.path / "ledger.key"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "name"}))
    with pytest.raises(KeyFileCorrupt, match="names no log"):
        KeyFolder(keys.path)


@pytest.mark.parametrize("text", ["", "zz", "00", "AB" * 16, "ab" * 17, "ab" * 16 + "\n\n", " " + "ab" * 16])
def test_a_damaged_pointer_is_found(keys: KeyFolder, text: str) -> None:
    (keys.path / "current").write_text(text)
    with pytest.raises(KeyFileCorrupt, match="current"):
        KeyFolder(keys.path)


def test_a_pointer_to_a_key_that_is_not_there_is_a_missing_key(keys: KeyFolder) -> None:
    (keys.path / "current").write_text("ab" * 16 + "\n")
    with pytest.raises(KeyMissing, match="ab" * 16):
        KeyFolder(keys.path)


def test_master_keys_that_were_exchanged_are_found(keys: KeyFolder) -> None:
    first = keys.current_master_id
    second = keys.add_master()
    master = keys.path / "master"
    (master / f"{first.hex()}.key").write_bytes((master / f"{second.hex()}.key").read_bytes())
    (keys.path / "current").write_text(first.hex() + "\n")
    with pytest.raises(KeyFileCorrupt, match="another key"):
        KeyFolder(keys.path)


def test_an_enormous_file_is_not_read(keys: KeyFolder) -> None:
    with (keys.path / "index.key").open("r+b") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(KeyFileCorrupt, match="larger"):
        KeyFolder(keys.path)


# -- subject keys -----------------------------------------------------------------------


def test_a_subject_key_is_wrapped_and_unwrapped(keys: KeyFolder) -> None:
    key, wrapped = keys.new_subject_key("usr_1")
    assert (wrapped.subject, wrapped.key_id) == ("usr_1", key.key_id)
    assert wrapped.master_key_id == keys.current_master_id
    assert key.secret not in wrapped.wrapped
    again = KeyFolder(keys.path).unwrap(wrapped)
    assert again == key
    assert open_sealed({again.key_id: again}, seal(key, b"value", b"aad"), b"aad") == b"value"


def test_old_master_keys_still_open_what_they_wrapped(keys: KeyFolder) -> None:
    old = keys.current_master_id
    key, wrapped = keys.new_subject_key("usr_1")
    new = keys.add_master()
    assert new != old
    assert keys.master_ids() == sorted([old, new])
    rewrapped = keys.wrap(keys.unwrap(wrapped))
    assert (rewrapped.master_key_id, rewrapped.key_id) == (new, key.key_id)
    reopened = KeyFolder(keys.path)
    assert reopened.current_master_id == new
    assert reopened.unwrap(wrapped) == reopened.unwrap(rewrapped) == key


def test_a_wrapped_key_belongs_to_its_subject_and_master(keys: KeyFolder) -> None:
    _, wrapped = keys.new_subject_key("usr_1")
    with pytest.raises(SealedCorrupt, match="another subject"):
        keys.unwrap(altered(wrapped, subject="usr_2"))
    with pytest.raises(SealedCorrupt):
        keys.unwrap(altered(wrapped, wrapped=wrapped.wrapped[:-1]))
    with pytest.raises(SealedCorrupt):
        keys.unwrap(altered(wrapped, key_id=b"short"))
    with pytest.raises(SealedCorrupt):
        keys.unwrap(altered(wrapped, master_key_id=keys.add_master()))
    with pytest.raises(KeyMissing):
        keys.unwrap(altered(wrapped, master_key_id=b"x" * 16))
    for bit in range(len(wrapped.wrapped) * 8):
        changed = bytearray(wrapped.wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealedCorrupt):
            keys.unwrap(altered(wrapped, wrapped=bytes(changed)))


def test_a_failed_rotation_leaves_the_old_key_in_charge(
    keys: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keys.current_master_id
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", disk_refuses)
        with pytest.raises(KeyFolderUnwritable, match="current"):
            keys.add_master()
    assert keys.current_master_id == KeyFolder(keys.path).current_master_id == old
    assert not [file for file in keys.path.iterdir() if file.name.startswith(".")]


def test_a_leftover_of_a_crash_is_no_master_key_but_a_stranger_is_damage(keys: KeyFolder) -> None:
    (keys.path / "master" / ".x.key.0011").touch(0o600)
    assert keys.master_ids() == [keys.current_master_id]
    (keys.path / "master" / "notes.txt").touch(0o600)
    with pytest.raises(KeyFileCorrupt, match=r"notes\.txt"):
        keys.master_ids()


# -- erasures ---------------------------------------------------------------------------


def test_erasures_are_kept_in_order_and_fsynced(keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    assert keys.erasures() == []
    keys.record_erasure("usr_1", [b"a" * 16, b"b" * 16], 1)
    keys.record_erasure("usr_ü\n2", [], 2)
    assert len(synced) == 4  # file and folder, each time
    expected = [Erasure(((b"a" * 16).hex(), (b"b" * 16).hex()), "usr_1", 1), Erasure((), "usr_ü\n2", 2)]
    assert keys.erasures() == KeyFolder(keys.path).erasures() == expected


def test_a_line_torn_by_a_crash_does_not_count_and_is_cut_off(keys: KeyFolder) -> None:
    keys.record_erasure("usr_1", [], 1)
    with (keys.path / "erasures").open("ab") as file:
        file.write(b'{"key_ids":[],"subj')
    assert [erasure.subject for erasure in keys.erasures()] == ["usr_1"]
    keys.record_erasure("usr_2", [], 2)
    assert [erasure.subject for erasure in keys.erasures()] == ["usr_1", "usr_2"]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"\xff\n", b'{"key_ids":[],"subject":"x","time":1,"more":2}\n']
)
def test_a_damaged_line_is_an_error(keys: KeyFolder, line: bytes) -> None:
    keys.record_erasure("usr_1", [], 1)
    with (keys.path / "erasures").open("ab") as file:
        file.write(line)
    with pytest.raises(KeyFileCorrupt, match="erasures"):
        keys.erasures()


def test_an_erasure_that_cannot_be_written_is_an_error(
    keys: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", disk_refuses)
    with pytest.raises(KeyFolderUnwritable, match="No space left"):
        keys.record_erasure("usr_1", [], 1)


def test_a_file_is_not_overwritten_by_accident(keys: KeyFolder) -> None:
    before = (keys.path / "index.key").read_bytes()
    with pytest.raises(FileExistsError):
        keyfiles.write(keys.path, "index.key", b"other", replace=False)
    assert (keys.path / "index.key").read_bytes() == before
    assert not [file for file in keys.path.iterdir() if file.name.startswith(".")]
