from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Generator
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from simulators.testing.valkey import Valkey, running_valkey
from tests.host.chat import HostChat, opened_chat
from tests.host.stage import Stage, staged

ROOT = Path(__file__).parents[1]
COLLECTED = pytest.StashKey[frozenset[str]]()
"""The ids of all tests that were found, also of those that do not run this time."""

# How fast examples are made says something of the machine alone.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Logs of hosts in this process have short tracebacks: structlog's own take a second each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--attacks", action="store_true", help="run the tests marked `attack` as well")


def pytest_report_header(config: pytest.Config) -> str | None:
    if _tries_attacks(config):
        return None
    return "attacks: tests marked `attack` are left out; make attack, --attacks or -m run them"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless somebody asks for it."""
    config.stash[COLLECTED] = frozenset(item.nodeid for item in items)
    if _tries_attacks(config):
        return
    left_out = [item for item in items if item.get_closest_marker("attack")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("attack")]


def _tries_attacks(config: pytest.Config) -> bool:
    return config.getoption("attacks") or "attack" in config.getoption("markexpr")


class WholeFilesWhereTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """Test by test to whichever worker is free; files that share something stay on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares(file) else nodeid


@cache
def _shares(file: str) -> bool:
    path = ROOT / file
    text = path.read_text() if path.is_file() else ""
    return 'loop_scope="module"' in text or "Lazily(" in text


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """xdist's own groups need ids that can be written to, which pytest no longer has."""
    return WholeFilesWhereTheyShare(config, log)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A store of the operator's own."""
    async with running_valkey(tmp_path / "v") as valkey:
        yield valkey


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Both simulators; the test adds bots and starts hosts."""
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def chat(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[HostChat]:
    """Ann's private chat with the bot Echo, and a host that runs.

    `@pytest.mark.chat(environ={…}, servers={…}, **agent)` sets variables of the host, MCP servers,
    and fields of the bot's agent.
    """
    marker = request.node.get_closest_marker("chat")
    async with opened_chat(stage, **(marker.kwargs if marker else {})) as chat:
        yield chat


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded here stays to the end: looking for garbage in it took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
