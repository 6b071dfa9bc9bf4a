"""A setting does what it says, or says that it does nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.maintenance.house import Home
from tests.support.project import SOURCE
from thane.bootstrap.edge import proxies
from thane.bootstrap.launcher import ProgramLauncher
from thane.bootstrap.monitoring import metrics
from thane.bootstrap.values import access_kept_since, bounds, identity_cache, signer_jobs
from thane.domains.accounts import CreateKey
from thane.interfaces.cli.main import cli
from thane.interfaces.local import InProcess
from thane.kernel.settings import load
from thane.kernel.settings_effect import WITHOUT_EFFECT, idle
from thane.kernel.settings_schema import SETTINGS, Settings

# Where settings are declared and explained, and not used.
_ABOUT = re.compile(r"kernel/settings\w*\.py$")


def given(**values: object) -> Settings:
    return load(None, {}, {k.replace("__", "."): v for k, v in values.items()}).settings


@pytest.fixture
def own_logging() -> Iterator[None]:
    """The process's logging is as before when the test is over."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class TestTable:
    def test_it_names_settings_only(self) -> None:
        assert set(WITHOUT_EFFECT) <= set(SETTINGS)

    def test_every_other_setting_is_read_somewhere(self) -> None:
        """By its name, after a dot, or as the text by which retention finds it."""
        code = "\n".join(p.read_text() for p in SOURCE.rglob("*.py") if not _ABOUT.search(p.as_posix()))
        unread = [
            key
            for key, setting in SETTINGS.items()
            if key not in WITHOUT_EFFECT
            and key != "billing.currency"  # has one value
            and not re.search(rf'(\.{setting.name}\b|setting="{setting.name}")', code)
        ]
        assert unread == []

    def test_nothing_is_said_of_defaults(self) -> None:
        assert idle(Settings()) == []
        assert idle(given(redis__url="", database__max_connections=16)) == []

    def test_what_was_set_in_vain_is_said(self) -> None:
        found = idle(given(redis__url="redis://h", database__replicas="a://x", http__port=1))
        assert [setting.key for setting in found] == ["database.replicas", "redis.url"]
        assert str(found[1]) == (
            "redis.url has no effect in this version: this version keeps everything in the process"
        )


class TestSaid:
    def test_by_config_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("THANE_IMMUDB_ADDR", "db:1")
        result = CliRunner().invoke(cli, ["config", "check"], obj=ProgramLauncher())
        assert result.exit_code == 0, result.output
        assert "warning: immudb.addr has no effect in this version" in result.stderr
        assert "warning" not in result.stdout
        as_json = CliRunner().invoke(cli, ["config", "check", "--json"], obj=ProgramLauncher())
        assert '"no_effect": "checkpoints are not copied to immudb by this version"' in as_json.stdout

    @pytest.mark.usefixtures("own_logging")
    def test_in_the_servers_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            ProgramLauncher()._log(load(None, {"THANE_REDIS_URL": "redis://h"}), quiet=False)
        assert "redis.url has no effect in this version" in caplog.text


async def page(home: Home, path: str) -> tuple[int, Any]:
    answer = await InProcess(home.system.app).call("GET", path)
    return answer.status, answer.body


class TestWired:
    async def test_metrics_can_be_moved(self, tmp_path: Path) -> None:
        async with Home(tmp_path / "data", monitoring__prometheus_endpoint="/internal/metrics") as home:
            seen: list[Any] = []

            async def send(message: Any) -> None:
                seen.append(message)

            scope = {"type": "http", "method": "GET", "path": "/internal/metrics", "headers": []}
            await home.system.app({**scope, "query_string": b""}, _nothing, send)
            assert seen[0]["status"] == 200
            assert b"thane_counter_differences 0.0" in seen[1]["body"]
            assert (await page(home, "/metrics"))[0] == 404

    async def test_metrics_can_be_switched_off(self, tmp_path: Path) -> None:
        async with Home(tmp_path / "data", monitoring__metrics_enabled=False) as home:
            assert (await page(home, "/metrics"))[0] == 404

    def test_the_word_of_trusted_proxies_is_taken(self) -> None:
        trusted = proxies(given(http__trusted_proxies="10.0.0.0/8, ::1"))
        forwarded = {b"x-forwarded-for": b"203.0.113.9"}
        assert trusted.client_ip({"client": ("10.1.2.3", 1)}, forwarded) == "203.0.113.9"
        assert trusted.client_ip({"client": ("192.0.2.1", 1)}, forwarded) == "192.0.2.1"
        assert proxies(Settings()).networks == ()

    async def test_the_signer_signs_as_often_as_is_said(self, tmp_path: Path) -> None:
        async with Home(tmp_path / "data", ledger__sign_interval_ms=100) as home:
            seconds = {j.name: j.seconds for j in signer_jobs(home.system.signer, home.settings)}
            assert seconds["signer"] == pytest.approx(0.08)
            assert seconds["checkpoints"] == 5.0

    async def test_identities_are_looked_up_each_time_without_a_cache(self, tmp_path: Path) -> None:
        for number, (enabled, hits) in enumerate(((True, 2), (False, 0))):
            async with Home(tmp_path / f"data{number}", cache__enabled=enabled) as home:
                key = (await home.system.owner.call("api_keys.create", CreateKey(name="k"))).value.key
                for _ in range(3):
                    await home.system.accounts.identify(key)
                rendered = metrics(home.system.telemetry).decode()
                found = re.search(r'cache_hit_total\{cache="identify"\} (\d+)', rendered)
                assert int(found[1]) == hits if found else hits == 0

    def test_the_cache_is_bounded_as_is_said(self) -> None:
        assert identity_cache(given(cache__max_entries=5, cache__max_ttl_secs=7)) == (5, 7)
        assert identity_cache(given(cache__enabled=False)) == (10_000, 0)

    def test_limits_are_those_of_the_settings_and_the_host(self) -> None:
        made = bounds(given(isolation__memory_mb=32, isolation__max_memory_mb=64, isolation__cpu_cores="0.5"))
        assert made.default.max_memory_mb == 32
        assert made.most.max_memory_mb == 64
        assert made.default.max_cpu_cores == Decimal("0.5")
        assert bounds(Settings()).most.max_memory_mb > 64

    def test_access_rows_are_kept_for_their_days(self) -> None:
        class Now:
            def now_us(self) -> int:
                return 10 * 86_400_000_000

        assert access_kept_since(given(retention__access_days=3), Now())() == 7 * 86_400_000_000
        assert access_kept_since(given(retention__access_days=0), Now())() == 0


async def _nothing() -> Any:
    raise AssertionError("a page asks for no body")
