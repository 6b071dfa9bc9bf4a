"""Settings: sources and their order, what is refused and how, and that no secret shows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.errors import Fault, SettingsError
from thane.kernel.settings import Loaded, find_config, load
from thane.kernel.settings_check import expected
from thane.kernel.settings_schema import SECTIONS, SETTINGS, Secret, Settings, mask_url, masked

CONFIG = Path(__file__).parents[2] / "config"
PRODUCTION = {
    "MAIN_STORE_URL": "postgresql://thane:hunter2@db/thane",
    "ENCRYPTION_KEY": "key-of-the-ring",
    "JWT_SECRET": "signing-key",
    "LEDGER_ORIGIN": "log.example.org/thane",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "thane.toml"
    path.write_text(text)
    return path


def faults(
    config: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> list[Fault]:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(SettingsError) as caught:
        load(config, environ or {}, named)
    found = list(caught.value.faults)
    assert caught.value.message.startswith(found[0].detail)
    return found


def get(loaded: Loaded, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(loaded.settings, section), name)


class TestSources:
    def test_without_any_source_everything_is_its_default(self) -> None:
        loaded = load()
        assert loaded.settings == Settings()
        assert {line.origin for line in loaded.explain()} == {"default"}
        assert loaded.secrets() == ()

    def test_the_later_source_wins_and_each_origin_is_told(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[http]\nhost = 'a'\nport = 1\nmax_body_bytes = 2048\n")
        environ = {"THANE_HTTP_PORT": "2", "THANE_HTTP_MAX_BODY_BYTES": "4096"}
        loaded = load(path, environ, {"http.max_body_bytes": 8192, "http.host": None})
        http = loaded.settings.http
        assert (http.host, http.port, http.max_body_bytes, http.drain_timeout_secs) == ("a", 2, 8192, 20)
        assert loaded.origin("http.host") == path.as_posix()
        assert loaded.origin("http.port") == "environment THANE_HTTP_PORT"
        assert loaded.origin("http.max_body_bytes") == "command line"
        assert loaded.origin("http.drain_timeout_secs") == "default"

    def test_the_configuration_can_be_named_in_the_environment(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[http]\nport = 1234\n")
        assert load(None, {"THANE_CONFIG": str(path)}).settings.http.port == 1234

    def test_a_bare_word_names_a_profile(self) -> None:
        assert find_config("production", {}) == Path("config/production.toml")
        assert find_config(None, {"THANE_CONFIG": "development"}) == Path("config/development.toml")
        assert find_config("./mine.toml", {"THANE_CONFIG": "development"}) == Path("./mine.toml")
        assert find_config(None, {"THANE_CONFIG": ""}) is None

    @pytest.mark.parametrize(
        ("variable", "text", "key", "value"),
        [
            ("THANE_DATABASE_MAX_CONNECTIONS", " 7 ", "database.max_connections", 7),
            ("THANE_DATABASE_AUTO_MIGRATE", "no", "database.auto_migrate", False),
            ("THANE_CACHE_ENABLED", "True", "cache.enabled", True),
            ("THANE_DATABASE_REPLICAS", "a://x, a://y,", "database.replicas", ("a://x", "a://y")),
            ("THANE_ISOLATION_CPU_CORES", "0.5", "isolation.cpu_cores", Decimal("0.5")),
            ("THANE_ISOLATION_MINIMUM_TIER", "T2-", "isolation.minimum_tier", "T2-"),
            (
                "THANE_BILLING_PRICES",
                '{"file_stored": 0.1}',
                "billing.prices",
                {"file_stored": Decimal("0.1")},
            ),
            ("THANE_SECURITY_JWT_SECRET", "s3cret", "security.jwt_secret", Secret("s3cret")),
            ("THANE_HTTP_PORT", "", "http.port", 8090),
            ("DATABASE_URL", "postgresql://h/d", "database.url", "postgresql://h/d"),
        ],
    )
    def test_the_environment_is_read_by_type(self, variable: str, text: str, key: str, value: Any) -> None:
        assert get(load(None, {variable: text}), key) == value

    def test_the_seeds_parts_make_one_url(self) -> None:
        environ = {
            "DATABASE_HOST": "surrealdb",
            "DATABASE_USER": "root",
            "DATABASE_PASS": "p@ss/word",
            "DATABASE_NS": "soulbox_dev",
        }
        loaded = load(None, environ)
        assert (
            loaded.settings.database.url == "surrealdb://root:p%40ss%2Fword@surrealdb:8000/soulbox_dev/main"
        )
        assert loaded.origin("database.url") == "environment DATABASE_HOST"
        assert load(None, {"DATABASE_PASS": "of another program"}).settings.database.url == ""

    def test_money_and_fractions_of_a_file_are_exact(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[billing]\ncompute_unit_usd = 0.1\nprices = {tool_call = 0.3, email = 1}\n")
        billing = load(path).settings.billing
        assert billing.compute_unit_usd == Decimal("0.1")
        assert billing.prices == {"tool_call": Decimal("0.3"), "email": Decimal(1)}

    @given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4))
    def test_no_environment_raises_anything_but_a_settings_error(self, environ: dict[str, str]) -> None:
        environ = {f"THANE_{name}": value for name, value in environ.items()}
        with suppress(SettingsError):
            load(None, environ)


class TestVariables:
    def test_they_are_replaced_in_texts_lists_and_tables(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            '[database]\nurl = "${SCHEME}://${USER:-u}@h"\nreplicas = ["${SCHEME}://r", "x://${NONE:-}y"]\n'
            '[http]\nport = "${PORT:-81}"\nhost = "$${HOST}"\n[billing]\nprices = {a = "${PRICE}"}\n',
        )
        loaded = load(path, {"SCHEME": "pg", "USER": "", "PRICE": "0.25"})
        assert loaded.settings.database.url == "pg://u@h"
        assert loaded.settings.database.replicas == ("pg://r", "x://y")
        assert loaded.settings.http.port == 81
        assert loaded.settings.http.host == "${HOST}"
        assert loaded.settings.billing.prices == {"a": Decimal("0.25")}

    def test_one_that_is_not_set_is_named_with_its_key(self, tmp_path: Path) -> None:
        path = write(tmp_path, '[redis]\nurl = "redis://${REDIS_HOST}:6379"\n')
        (fault,) = faults(path)
        assert fault.pointer == "/redis/url"
        assert fault.code == "missing_variable"
        assert "redis.url" in fault.detail
        assert "REDIS_HOST" in fault.detail
        assert "thane.toml" in fault.detail

    @pytest.mark.parametrize("text", ["${", "${}", "${A B}", "a${1X}", "${A", "${A:+b}"])
    def test_what_is_no_variable_is_refused(self, tmp_path: Path, text: str) -> None:
        (fault,) = faults(write(tmp_path, f"[redis]\nurl = '{text}'\n"), {"A": "x"})
        assert "$${" in fault.detail

    def test_a_plain_text_is_not_a_number(self, tmp_path: Path) -> None:
        (fault,) = faults(write(tmp_path, '[http]\nport = "80"\n'))
        assert fault.detail.endswith('expected a whole number from 0 to 65535, got "80"')


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "pointer", "words"),
        [
            ("[databse]\nurl = ''", "/databse", ["unknown section databse", "database"]),
            ("[zzz]", "/zzz", ["unknown section zzz", "sections are database"]),
            ("[http]\nprot = 1", "/http/prot", ["unknown setting http.prot", "http.port"]),
            ("[redis]\nzzzz = 1", "/redis/zzzz", ["unknown setting redis.zzzz", "redis has url"]),
            ("http = 3", "/http", ["[http]", "got 3"]),
            ("port = 3", "/port", ["unknown section port"]),
            ("[http]\nport = 'x'", "/http/port", ["http.port", "whole number from 0 to 65535", '"x"']),
            ("[http]\nport = true", "/http/port", ["got true"]),
            ("[http]\nport = 80.5", "/http/port", ["got 80.5"]),
            ("[http]\nport = 1979-05-27", "/http/port", ["got a date"]),
            ("[http]\nport = 70000", "/http/port", ["70000"]),
            ("[http]\nhost = ''", "/http/host", ["text that is not empty"]),
            ("[http]\ntrusted_proxies = 'x'", "/http/trusted_proxies", ["a list of texts"]),
            ("[http]\ntrusted_proxies = ['x']", "/http/trusted_proxies", ["10.0.0.0/8", '"x"']),
            ("[cache]\nenabled = 1", "/cache/enabled", ["true or false", "got 1"]),
            ("[log]\nlevel = 'loud'", "/log/level", ["one of debug, info, warning, error"]),
            ("[isolation]\ncpu_cores = 0", "/isolation/cpu_cores", ["a number of more than 0"]),
            ("[isolation]\ncpu_cores = nan", "/isolation/cpu_cores", ["finite"]),
            ("[isolation]\ncpu_cores = []", "/isolation/cpu_cores", ["a number"]),
            ("[billing]\ncompute_unit_usd = -1", "/billing/compute_unit_usd", ["a number of at least 0"]),
            ("[billing]\ncompute_unit_usd = 'a'", "/billing/compute_unit_usd", ["a number of at least 0"]),
            ("[billing]\nprices = {a = -1}", "/billing/prices", ["a table of numbers", "the value of a"]),
            ("[billing]\nprices = 1", "/billing/prices", ["a table of numbers"]),
            ("[ledger]\norigin = 'a b'", "/ledger/origin", ["text that matches"]),
            ("[security]\njwt_secret = 12", "/security/jwt_secret", ["expected text, got"]),
            ("[database]\nhost = 'x'", "/database/host", ["a part of database.url"]),
            (
                "[performance]\nconnection_pool_size = 5",
                "/performance/connection_pool_size",
                ["max_connections"],
            ),
            ("[database]\nmin_connections = 20", "/database/min_connections", ["20", "16 (default)"]),
            ("[isolation]\nmemory_mb = 64\nmax_memory_mb = 32", "/isolation/memory_mb", ["64", "32"]),
            ("[immudb]\nenabled = true", "/immudb/enabled", ["password is empty"]),
        ],
    )
    def test_the_file_is_told_what_is_wrong_where(
        self, tmp_path: Path, text: str, pointer: str, words: list[str]
    ) -> None:
        (fault,) = faults(write(tmp_path, text))
        assert fault.pointer == pointer
        for word in [*words, "thane.toml"]:
            assert word in fault.detail

    def test_everything_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[http]\nport = 'x'\nprot = 1\n[zzz]\n")
        found = faults(path, {"THANE_LOG_LEVEL": "loud"}, cache__enabled=3, cache__nabled=True)
        assert sorted(f.pointer for f in found) == sorted(
            ["/http/port", "/http/prot", "/zzz", "/log/level", "/cache/enabled", "/cache/nabled"]
        )

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("THANE_DATABASE_MAXCONNECTIONS", "THANE_DATABASE_MAX_CONNECTIONS"),
            ("THANE_PORT_NUMBER", "unknown"),
            ("THANE_DATABSE", "database"),
            ("THANE_HTTP", "http has host, port"),
        ],
    )
    def test_an_unknown_variable_of_ours_is_refused(self, name: str, hint: str) -> None:
        (fault,) = faults(None, {name: "1"})
        assert name in fault.detail
        assert hint in fault.detail

    @pytest.mark.parametrize(
        "name",
        [
            "THANE_DATA",
            "THANE_URL",
            "THANE_TEST_X",
            "THANE_SERVICE_HOST",
            "THANE_PORT",
            "THANE_PORT_80_TCP",
            "PORT",
        ],
    )
    def test_variables_that_are_no_settings_are_left_alone(self, name: str) -> None:
        assert load(None, {name: "tcp://10.0.0.1:80"}).settings == Settings()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"[http\n", "not TOML"),
            (b"a = 'b'\n\xff", "not UTF-8 (byte 8)"),
            (b"a=" + b"[" * 9999, "not TOML"),
        ],
    )
    def test_a_file_that_cannot_be_parsed(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "x.toml"
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=r"x\.toml") as caught:
            load(path)
        assert words in caught.value.message

    def test_a_file_that_is_not_there_or_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="does not exist"):
            load(tmp_path / "none.toml")
        with pytest.raises(SettingsError, match="cannot be read"):
            load(tmp_path)


class TestTwoStores:
    @pytest.mark.parametrize(
        ("environ", "names"),
        [
            (
                {"THANE_DATABASE_URL": "a://x", "DATABASE_URL": "b://u:pw@y"},
                ["THANE_DATABASE_URL", "DATABASE_URL"],
            ),
            ({"THANE_DATABASE_URL": "a://x", "DATABASE_HOST": "h"}, ["THANE_DATABASE_URL", "DATABASE_HOST"]),
            ({"DATABASE_URL": "a://x", "DATABASE_HOST": "h"}, ["DATABASE_URL", "DATABASE_HOST"]),
        ],
    )
    def test_in_the_environment_are_an_error_that_names_both(
        self, environ: dict[str, str], names: list[str]
    ) -> None:
        (fault,) = faults(None, environ)
        assert fault.code == "two_stores"
        assert all(name in fault.detail for name in names)
        assert "pw" not in fault.detail

    def test_an_alias_must_not_contradict_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[database]\nurl = 'sqlite:///a'\n")
        (fault,) = faults(path, {"DATABASE_URL": "postgresql://b"})
        assert f"database.url in {path.as_posix()}" in fault.detail
        assert "DATABASE_URL" in fault.detail

    def test_our_own_variable_overrides_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[database]\nurl = 'sqlite:///a'\n")
        assert load(path, {"THANE_DATABASE_URL": "b://b"}).settings.database.url == "b://b"

    def test_the_same_store_twice_is_one(self, tmp_path: Path) -> None:
        path = write(tmp_path, "[database]\nurl = 'a://b'\n")
        environ = {"THANE_DATABASE_URL": "a://b", "DATABASE_URL": "a://b"}
        assert load(path, environ).origin("database.url") == "environment THANE_DATABASE_URL"
        assert load(path, {"DATABASE_URL": "a://b"}).settings.database.url == "a://b"


class TestSecrets:
    def test_none_shows_in_any_output(self) -> None:
        environ = {
            "THANE_SECURITY_ENCRYPTION_KEY": "verysecret1",
            "THANE_IMMUDB_PASSWORD": "verysecret2",
            "THANE_DATABASE_URL": "postgresql://u:verysecret3@h/d?sslpassword=verysecret4&x=y",
            "THANE_DATABASE_REPLICAS": "postgresql://u:verysecret5@h/d",
            "THANE_REDIS_URL": "redis://:very/secret6@h:6379/0",
        }
        loaded = load(None, environ)
        shown = f"{loaded!r} {loaded.settings} {loaded.settings.security} {loaded.explain()}"
        shown += f"{loaded.settings.security.encryption_key} {loaded.settings.security.encryption_key!r}"
        assert "verysecret" not in shown
        assert "secret6" not in shown
        assert "x=y" in shown
        assert loaded.settings.security.encryption_key.reveal() == "verysecret1"
        assert set(loaded.secrets()) == set(environ.values())

    def test_a_secret_cannot_be_encoded_by_accident(self) -> None:
        settings = load(None, {"THANE_SECURITY_JWT_SECRET": "x"}).settings
        with pytest.raises(TypeError):
            msgspec.json.encode(settings)

    def test_a_secret_equals_itself_and_is_true_when_there(self) -> None:
        assert Secret("a") == Secret("a")
        assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
        assert Secret("a") != "a"
        assert not Secret()

    @given(st.text(min_size=8, alphabet="abcdef0123/@:?#&=%"))
    def test_no_password_survives_masking(self, password: str) -> None:
        assert mask_url(f"postgres://user:{password}@host/db") == "postgres://user:***@host/db"

    def test_other_values_are_shown(self) -> None:
        assert masked("plain:text@x") == "plain:text@x"
        assert masked({"a": ("b", Secret("c"))}) == {"a": ("b", "***")}


class TestSchema:
    def test_every_setting_says_what_it_is_and_what_is_expected(self) -> None:
        assert {s.section for s in SETTINGS.values()} == set(SECTIONS)
        for setting in SETTINGS.values():
            assert setting.description.endswith(".")
            assert expected(setting.type)
        assert len({s.env for s in SETTINGS.values()}) == len(SETTINGS)

    def test_defaults_pass_their_own_checks(self) -> None:
        overrides = {s.key: s.default for s in SETTINGS.values()}
        assert load(None, {}, overrides).settings == Settings()

    @pytest.mark.parametrize("profile", ["development", "production"])
    def test_the_profiles_are_valid(self, profile: str) -> None:
        loaded = load(CONFIG / f"{profile}.toml", PRODUCTION)
        for section, table in tomllib.loads((CONFIG / f"{profile}.toml").read_text()).items():
            for name in table:
                assert loaded.origin(f"{section}.{name}").endswith(f"{profile}.toml")

    def test_production_names_every_variable_that_is_missing(self) -> None:
        found = faults(CONFIG / "production.toml")
        assert {f.code for f in found} == {"missing_variable"}
        assert len(found) == len(PRODUCTION)
        for name in PRODUCTION:
            assert any(name in f.detail for f in found)
