"""Where the store lies and whose keys it has: as the settings say, or refused before anything is made."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.maintenance.house import Home
from thane.adapters.disk import DataFolder
from thane.bootstrap.launcher import ProgramLauncher
from thane.bootstrap.place import data_folder, master_key, open_keys, refuse_impossible
from thane.kernel.errors import FolderInUse, SettingsError
from thane.kernel.settings import load
from thane.kernel.settings_schema import Secret, Settings

KEY = bytes(range(32))
# What the URL-safe alphabet writes otherwise.
ODD = bytes([251, 255] * 16)


def settings(**values: object) -> Settings:
    return load(None, {}, {k.replace("__", "."): v for k, v in values.items()}).settings


class TestStore:
    def test_it_lies_in_the_data_folder(self, tmp_path: Path) -> None:
        assert data_folder(tmp_path, settings()).store == tmp_path / "store.db"
        named = data_folder(tmp_path, settings(database__url="sqlite:///my%20store.db"))
        assert named.store == tmp_path / "my store.db"

    def test_or_where_an_absolute_path_says(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "disk" / "x.db"
        elsewhere.parent.mkdir()
        folder = data_folder(tmp_path / "data", settings(database__url=f"sqlite:///{elsewhere}"))
        assert folder.store == elsewhere
        assert folder.keys == tmp_path / "data" / "keys"

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("postgresql://u:secret@h/d", "PostgreSQL is not built into this version"),
            ("cockroachdb://h/d", "CockroachDB is not built into this version"),
            ("surrealdb+ws://h/d", "SurrealDB is not built into this version"),
            ("surrealkv://store", "SurrealDB is not built into this version"),
            ("mem://", "SurrealDB is not built into this version"),
            ("mysql://u:secret@h/d", "begins with no scheme that Thane knows"),
            ("store.db", "begins with no scheme that Thane knows"),
            ("sqlite://store.db", "names no file"),
            ("sqlite:///", "names no file"),
            ("sqlite:///:memory:", "names no file"),
            ("sqlite:///a.db?mode=ro", "names no file"),
        ],
    )
    def test_another_one_is_never_taken_for_an_empty_store(self, url: str, says: str, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=says) as refused:
            data_folder(tmp_path / "data", settings(database__url=url))
        assert "secret" not in refused.value.message
        assert "sqlite:///store.db" in refused.value.hint
        assert [fault.pointer for fault in refused.value.faults] == ["/database/url"]
        assert not (tmp_path / "data").exists()

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="which is no folder"):
            data_folder(tmp_path, settings(database__url=f"sqlite:///{tmp_path}/no/x.db"))

    async def test_it_is_used_there(self, tmp_path: Path) -> None:
        place = tmp_path / "other.db"
        async with Home(tmp_path / "data", database__url=f"sqlite:///{place}") as home:
            box = await home.sandbox("a")
        assert place.exists()
        assert not (tmp_path / "data" / "store.db").exists()
        async with Home(tmp_path / "data", database__url=f"sqlite:///{place}") as home:
            assert (await home.api("GET", f"/sandboxes/{box.id}")).status == 200

    def test_two_data_folders_cannot_have_one_store(self, tmp_path: Path) -> None:
        shared = settings(database__url=f"sqlite:///{tmp_path}/shared.db")
        first, second = (data_folder(tmp_path / name, shared) for name in ("a", "b"))
        first.make()
        second.make()
        first.lock()
        with pytest.raises(FolderInUse, match="belongs to process"):
            second.lock()
        assert second.owner() is None, "the lock of its own folder was given back"
        first.unlock()
        second.lock()
        second.unlock()


class TestKeys:
    @pytest.mark.parametrize("key", [KEY, ODD])
    def test_every_usual_form_is_understood(self, key: bytes) -> None:
        plain, url_safe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
        for text in (key.hex(), key.hex().upper(), plain, url_safe, plain.rstrip("="), f" {plain}\n"):
            assert master_key(Secret(text)) == key
        assert master_key(Secret("")) is None

    @pytest.mark.parametrize("text", ["short", KEY.hex()[:-2], KEY.hex() + "00", "ä" * 32, "=" * 44])
    def test_anything_else_is_refused_without_being_shown(self, text: str) -> None:
        with pytest.raises(SettingsError, match="expected 32 bytes in hex or base64") as refused:
            refuse_impossible(settings(security__encryption_key=text))
        assert text not in refused.value.message + str(refused.value.faults)
        assert "openssl rand" in refused.value.hint

    def test_it_becomes_the_first_master_key(self, tmp_path: Path) -> None:
        given = settings(security__encryption_key=KEY.hex())
        keys = open_keys(DataFolder(tmp_path), given, "log")
        assert len(keys.master_ids()) == 1
        assert keys.holds_master(KEY)
        assert open_keys(DataFolder(tmp_path), given, "log").current_master_id == keys.current_master_id

    def test_it_stays_known_after_a_rotation(self, tmp_path: Path) -> None:
        given = settings(security__encryption_key=KEY.hex())
        rotated = open_keys(DataFolder(tmp_path), given, "log").add_master()
        assert open_keys(DataFolder(tmp_path), given, "log").current_master_id == rotated

    def test_a_folder_with_other_keys_is_refused(self, tmp_path: Path) -> None:
        made = open_keys(DataFolder(tmp_path), settings(), "log")
        with pytest.raises(SettingsError, match="not among the master keys in") as refused:
            open_keys(DataFolder(tmp_path), settings(security__encryption_key=KEY.hex()), "log")
        assert KEY.hex() not in refused.value.message
        assert open_keys(DataFolder(tmp_path), settings(), "log").master_ids() == made.master_ids()


class TestLauncher:
    def test_what_cannot_be_is_refused_when_the_settings_are_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (
            ("THANE_DATABASE_URL", "mem://"),
            ("THANE_SECURITY_ENCRYPTION_KEY", "no key"),
            ("THANE_MONITORING_PROMETHEUS_ENDPOINT", "/health"),
            ("THANE_MONITORING_PROMETHEUS_ENDPOINT", "/api/v1/sandboxes"),
        ):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                with pytest.raises(SettingsError):
                    ProgramLauncher().settings(None, {})
        assert ProgramLauncher().settings(None, {}).settings == Settings()
