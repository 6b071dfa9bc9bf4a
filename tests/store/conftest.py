"""One world per test and registered engine; in CI, no engine may have been left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import in_ci, require
from tests.store.engines import REGISTERED, EngineUnderTest
from tests.store.world import SetClock, World, make_keys

RAN: pytest.StashKey[set[str]] = pytest.StashKey()


@pytest.fixture(params=REGISTERED, ids=lambda engine: engine.name)
def engine_class(request: pytest.FixtureRequest) -> type[EngineUnderTest]:
    chosen: type[EngineUnderTest] = request.param
    require(chosen.is_available(), f"the engine {chosen.name}", get=chosen.get)
    request.config.stash.setdefault(RAN, set()).add(chosen.name)
    return chosen


@pytest.fixture
async def unborn(engine_class: type[EngineUnderTest], tmp_path: Path) -> AsyncIterator[World]:
    """An open store without any table."""
    (tmp_path / "store").mkdir()
    clock = SetClock()
    world = World(engine_class(tmp_path / "store", clock), clock, make_keys(tmp_path / "keys"))
    await world.open()
    yield world
    await world.engine.close()


@pytest.fixture
async def world(unborn: World) -> World:
    """A store with the suite's tables and two tenants."""
    await unborn.found()
    return unborn


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What uses a world is run on every engine, and says so."""
    for item in items:
        if "engine_class" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.every_engine)
            config.stash.setdefault(RAN, set())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, a run that has conformance tests has run them on every registered engine, or has failed."""
    ran = session.config.stash.get(RAN, None)
    left_out = {engine.name for engine in REGISTERED} - (ran or set())
    if not in_ci() or ran is None or not left_out or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"registered engines that were not run: {', '.join(sorted(left_out))}", red=True)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
