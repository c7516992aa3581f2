"""agents.json while the host runs: live within a second, and the last good copy kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median

import pytest

from registry.catalog import Catalog
from registry.errors import Problem
from registry.snapshot import Document, Snapshot
from registry.sources.environment import read_environment
from registry.sources.file import FileSource

AGENT = {"id": "a", "name": "A", "mcpServerEndpoints": []}


def text(name: str = "A", **roots: object) -> str:
    return json.dumps({"agents": [{**AGENT, "name": name}], "defaultAgentId": "a", **roots})


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    file = tmp_path / "conf" / "agents.json"
    file.parent.mkdir()
    file.write_text(text())
    return file


@pytest.fixture
async def catalog(path: Path) -> AsyncIterator[Catalog]:
    catalog = Catalog(FileSource(path, look_seconds=0.05))
    await catalog.open()
    yield catalog
    await catalog.close()


@pytest.fixture
async def unhurried(path: Path) -> AsyncIterator[Catalog]:
    """Looks at its file as often as a host does."""
    catalog = Catalog(FileSource(path))
    await catalog.open()
    yield catalog
    await catalog.close()


def save(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def save_unnoticed(path: Path, content: str) -> None:
    """As a second save within the grain of the file system's clock."""
    before = path.stat()
    save(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def remove(path: Path) -> None:
    path.unlink()


def named(name: str) -> Callable[[Snapshot], bool]:
    return lambda s: not s.problems and "a" in s.agents and s.agents["a"].value.name == name


async def until(
    catalog: Catalog, holds: Callable[[Snapshot], object], seconds: float = 20
) -> Snapshot:
    async with asyncio.timeout(seconds):
        return await catalog.until(lambda snapshot: bool(holds(snapshot)))


def errors(snapshot: Snapshot) -> list[Problem]:
    return [problem for problem in snapshot.problems if problem.level == "error"]


async def test_a_save_is_felt_within_a_second(unhurried: Catalog, path: Path) -> None:
    felt = []
    for number in range(3):
        start = time.monotonic()
        save(path, text(f"N{number}"))
        await until(unhurried, named(f"N{number}"))
        felt.append(time.monotonic() - start)
    assert median(felt) < 1


async def test_a_save_of_the_same_length_in_the_same_tick_of_the_clock_is_felt(
    catalog: Catalog, path: Path
) -> None:
    save_unnoticed(path, text("B"))
    await until(catalog, named("B"))


async def test_a_replaced_file_is_felt_within_a_second(unhurried: Catalog, path: Path) -> None:
    felt = []
    for number in range(3):
        fresh = path.with_name("agents.tmp")
        fresh.write_text(text(f"N{number}"))
        start = time.monotonic()
        fresh.replace(path)
        await until(unhurried, named(f"N{number}"))
        felt.append(time.monotonic() - start)
    assert median(felt) < 1


async def test_a_swapped_link_is_felt(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "agents.json").write_text(text(version))
    (tmp_path / "data").symlink_to("one")
    path = tmp_path / "agents.json"
    path.symlink_to("data/agents.json")
    catalog = Catalog(FileSource(path))
    await catalog.open()
    (tmp_path / "data.new").symlink_to("two")
    (tmp_path / "data.new").replace(tmp_path / "data")
    await until(catalog, named("two"))
    await catalog.close()


BROKEN: dict[str, tuple[str, str]] = {
    "empty": ("", ":1"),
    "half written": (text()[:-20], ":1"),
    "cut in a name": ('{"agents": [{"id', ":1"),
    "not json": ("agents:\n  - id: a", ":1"),
    "a list": ("[]", ":1"),
    "a trailing comma": ('{"agents": [],\n}', ":2"),
    "a comment": ('{\n// x\n"agents": []}', ":2"),
    "a doubled name": ('{"agents": [],\n"agents": []}', ":2"),
    "an unknown root": ('{\n"agent": []}', ":2"),
    "agents of a wrong type": ('{\n"agents": 5}', ":2"),
    "an agent of a wrong type": ('{"agents": [\n"a"]}', ":2"),
    "an unknown field": (text().replace('"name"', '\n"nmae"'), ":2"),
    "a missing field": ('{"agents": [\n{"id": "a"}]}', ":2"),
    "a wrong type": (text().replace('"A"', "\n5"), ":1"),
    "a bad id": (text().replace('"id": "a"', '\n"id": "A B"'), ":2"),
    "a doubled id": (f'{{"agents": [\n{json.dumps(AGENT)},\n{json.dumps(AGENT)}]}}', ":3"),
    "a doubled binding": (
        (
            '{"bindings": [{"agentId": "a", "type": "ChatId", "bindingKey": "1"},\n'
            '{"agentId": "a", "type": "ChatId", "bindingKey": "1"}]}'
        ),
        ":2",
    ),
    "a bad type of binding": (
        '{"bindings": [\n{"agentId":"a","type":"x","bindingKey":"1"}]}',
        ":2",
    ),
    "a pasted secret": ('{\n"defaultAgentId": "sk-ant-api03-abcdefghijklmnop"}', ":2"),
    "an unknown server": (text().replace('"name"', '\n"mcpServers": ["x"], "name"'), ":2"),
}


def test_there_are_twenty_ways_to_break_it() -> None:
    assert len(BROKEN) == 20


@pytest.mark.parametrize("way", BROKEN)
async def test_a_broken_file_names_its_line_and_the_last_good_one_stays(
    catalog: Catalog, path: Path, way: str
) -> None:
    broken, line = BROKEN[way]
    before = catalog.snapshot().agents["a"]
    save(path, broken)
    snapshot = await until(catalog, errors)
    assert errors(snapshot)[0].place == f"{path}{line}"
    assert errors(snapshot)[0].cure or "must be" in errors(snapshot)[0].message
    assert "abcdefghijklmnop" not in str(errors(snapshot)[0])
    assert snapshot.agents["a"] == before
    save(path, text("Mended"))
    await until(catalog, named("Mended"))


@pytest.mark.parametrize("content", [b'{"agents": []}\n\xff', b"\xff\xfe{\x00}\x00"])
async def test_a_file_that_is_not_utf_8_is_refused(
    catalog: Catalog, path: Path, content: bytes
) -> None:
    save(path, content)
    snapshot = await until(catalog, errors)
    assert "UTF-8" in str(errors(snapshot)[0])
    assert "a" in snapshot.agents


async def test_a_byte_order_mark_is_harmless(catalog: Catalog, path: Path) -> None:
    save(path, b"\xef\xbb\xbf" + text("Marked").encode())
    await until(catalog, named("Marked"))


async def test_a_deleted_file_keeps_its_last_good_copy_and_may_come_back(
    catalog: Catalog, path: Path
) -> None:
    remove(path)
    gone = await until(catalog, errors)
    assert "missing" in errors(gone)[0].message
    assert "a" in gone.agents
    save(path, text("Back"))
    await until(catalog, named("Back"))


async def test_a_deleted_directory_may_come_back(catalog: Catalog, path: Path) -> None:
    shutil.rmtree(path.parent)
    await until(catalog, errors)
    path.parent.mkdir()
    save(path, text("Back"))
    await until(catalog, named("Back"))


async def test_a_save_in_two_writes_is_no_mistake(catalog: Catalog, path: Path) -> None:
    seen: list[Snapshot] = []
    catalog.subscribe(seen.append)
    whole = text("Whole")
    with path.open("w", encoding="utf-8") as file:
        file.write(whole[:30])
        file.flush()
        os.fsync(file.fileno())
        await asyncio.sleep(0)
        file.write(whole[30:])
    await until(catalog, named("Whole"))
    assert not [snapshot for snapshot in seen if snapshot.problems]


async def test_a_reload_reads_the_file_now(catalog: Catalog, path: Path) -> None:
    save(path, text("Now"))
    assert (await catalog.reload()).agents["a"].value.name == "Now"


async def test_a_file_may_be_absent_unless_it_was_asked_for(tmp_path: Path) -> None:
    for required in (False, True):
        store = FileSource(tmp_path / "none.json", required=required)
        await store.open()
        assert bool(store.document.problems) is required
        await store.close()


async def test_a_file_that_is_broken_at_the_start_gives_nothing_and_says_so(path: Path) -> None:
    save(path, "{")
    store = FileSource(path, read_environment({"DEFAULTAGENTID": "a"}))
    await store.open()
    assert [problem.place for problem in store.document.problems] == [f"{path}:1"]
    assert store.document.default_agent_id is None
    await store.close()


async def test_a_host_without_a_file_has_its_environment() -> None:
    store = FileSource(None, read_environment({"DEFAULTAGENTID": "a"}))
    await store.open()
    assert store.document != Document()
    await store.close()
