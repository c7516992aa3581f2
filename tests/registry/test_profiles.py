"""Profiles of agents: from files that are live, from the store; what an agent has of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from registry import profile_edits
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import Denied, DocumentErrors, InUse, Packaged
from registry.history import History
from registry.layers import EffectiveAgent, Layer
from registry.profile import NamedLlmConfig, Profile
from registry.roles import HOST_ADMIN, Actor, RoleGrant
from registry.snapshot import Snapshot, revision_of
from registry.sources import profile_files
from registry.sources.file import FileSource
from registry.sources.profile_files import ProfileFiles
from registry.sources.redis import RedisStore
from simulators.testing.valkey import Valkey

PRINTED = """\
name: Principal
type: principal
llm_config_ref: careful

post_turn_observers:
  - id: "observer_on_no_tool_call"
    type: "declarative"
    condition: "not v['state.current_action']" # Checks if current_action is empty
    action:
      type: "add_to_inbox"
      target_agent_id: "self"
      inbox_item:
        source: "SELF_REFLECTION_PROMPT"
        consumption_policy: "consume_on_read"

flow_decider:
  # If a tool was called, execute it.
  - id: "rule_tool_call_exists"
    condition: "v['state.current_action']"
    action:
      type: "continue_with_tool"

  # Otherwise, wait for the user's next message.
  - id: "rule_no_tool_call_fallback"
    condition: "True" # This is a catch-all rule
    action:
      type: "await_user_input"

tool_access_policy:
  allowed_toolsets:
    - "planning_tools"
    - "monitoring_tools"
  allowed_individual_tools:
    - "LaunchPrincipalExecutionTool"
"""
"""The three blocks of document 4 as printed, under a head of their own."""
ENGINEER = Actor("tg:7", HOST_ADMIN)
ACME_ADMIN = Actor("api:acme:eve", (RoleGrant(role="instance_admin", account="acme"),))
HOST = LlmConfiguration(model="host-model", max_tokens=100)
AGENTS = {
    "mcpServers": {
        "planning_tools": {"url": "http://localhost:9/mcp"},
        "monitoring_tools": {"url": "http://localhost:9/mcp"},
    },
    "agents": [{"id": "lead", "name": "Lead", "profile": "Principal"}],
}


def profile(name: str = "P", **fields: Any) -> Profile:
    return Profile.model_validate({"name": name, **fields})


def config(name: str = "careful", **fields: Any) -> NamedLlmConfig:
    return NamedLlmConfig.model_validate({"name": name, **fields})


def agent(id: str = "x", **fields: Any) -> AgentDefinition:
    return AgentDefinition.model_validate({"id": id, "name": id, **fields})


class Folder:
    """A folder of profiles, and the catalog that follows it."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self.catalog, self.folder = catalog, folder
        self.history = History(catalog)

    @property
    def now(self) -> Snapshot:
        return self.catalog.snapshot()

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
        return path

    def put(self, name: str, **fields: Any) -> Path:
        return self.write(name, yaml.safe_dump(fields))

    async def until(self, holds: Any) -> Snapshot:
        async with asyncio.timeout(5):
            return await self.catalog.until(holds)

    def told(self) -> list[str]:
        return [str(one).removeprefix(f"{self.folder}/") for one in self.now.problems]

    def effective(self, id: str = "lead", *layers: Layer) -> EffectiveAgent:
        found = self.now.effective(id, HOST, layers)
        assert found is not None, self.told()
        return found

    async def create(self, id: str = "x", **fields: Any) -> AgentDefinition:
        return await self.catalog.create_agent(ENGINEER, agent(id, **fields), key=f"create {id}")

    async def store(self, value: Profile | NamedLlmConfig) -> None:
        key = f"put {revision_of(value.to_text())}"
        await profile_edits.put(self.catalog, ENGINEER, value, key=key)


@asynccontextmanager
async def opened(
    folder: Path, valkey: Valkey | None = None, agents: Any = None, **more: Any
) -> AsyncIterator[Folder]:
    path = folder.parent / "agents.json"
    path.write_text(json.dumps(AGENTS if agents is None else agents))
    client = Redis.from_url(valkey.url) if valkey else None
    files = ProfileFiles(folder, look_seconds=0.01)
    store = RedisStore(client) if client else None
    catalog = Catalog(FileSource(path), store, profiles=files, **more)
    await catalog.open()
    try:
        yield Folder(catalog, folder)
    finally:
        await catalog.close()
        if client is not None:
            await client.aclose()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    async with opened(tmp_path / "agent_profiles") as folder:
        yield folder


@pytest.fixture
async def stored(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Folder]:
    async with opened(tmp_path / "agent_profiles", valkey, {"agents": []}) as folder:
        yield folder


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a profile of its own."""
    place = tmp_path / "package"
    (place / "profiles").mkdir(parents=True)
    (place / "llm_configs").mkdir()
    (place / "profiles" / "guide.yaml").write_text("name: Guide\nllm_config_ref: calm\n")
    (place / "llm_configs" / "calm.yaml").write_text("name: calm\ntemperature: 0\n")
    monkeypatch.setattr(profile_files, "PACKAGED_PROFILES", place)
    profile_files.packaged_profiles.cache_clear()
    yield place
    profile_files.packaged_profiles.cache_clear()


# --- the store -----------------------------------------------------------------------------------


async def test_a_profile_of_the_store_is_live_has_versions_and_goes_back(stored: Folder) -> None:
    await stored.store(config(model="m1"))
    await stored.store(profile(llm_config_ref="careful"))
    await stored.create(profile="P")
    assert stored.effective("x").llm.model == "m1"
    assert stored.effective("x").profile == profile(llm_config_ref="careful")
    await stored.store(profile(llm_config_ref="careful", type="partner"))
    versions = await stored.history.revisions(ENGINEER, "profile", "P")
    assert [one.number for one in versions] == [2, 1]
    await stored.history.restore(ENGINEER, "profile", "P", 1, key="back")
    assert stored.effective("x").profile == profile(llm_config_ref="careful")
    (newest, *_) = await stored.history.host_audit(ENGINEER)
    assert (newest.kind, newest.entity_id, newest.tier) == ("profile", "P", "agent_builder")


async def test_a_raw_set_of_a_profile_is_live(stored: Folder, valkey: Valkey) -> None:
    await stored.store(profile())
    await stored.create(profile="P")
    client = Redis.from_url(valkey.url)
    await client.set("agent:profile:P", '{"name": "P", "type": "scout"}')
    await client.set("agent:llm-config:Q", '{"name": "Q", "model": "m"}')
    await client.aclose()
    now = await stored.until(
        lambda now: now.llm_config("Q") and now.profile("P").value.type == "scout"
    )
    assert now.problems == ()


async def test_only_who_may_write_agents_may_write_profiles(stored: Folder) -> None:
    with pytest.raises(Denied, match="you may not write a profile"):
        await profile_edits.put(stored.catalog, ACME_ADMIN, profile(), key="k")
    with pytest.raises(Denied, match="you may not write a model configuration"):
        await profile_edits.put(stored.catalog, ACME_ADMIN, config(), key="k2")
    assert stored.now.profile("P") is None


async def test_what_refers_to_nothing_is_refused_with_what_there_is(stored: Folder) -> None:
    await stored.store(profile("Principal"))
    with pytest.raises(DocumentErrors, match="no profile 'Principle'; did you mean Principal"):
        await stored.create(profile="Principle")
    await stored.create()
    with pytest.raises(DocumentErrors, match="no profile 'Zz'; there are: .*Principal"):
        await stored.catalog.update_agent(ENGINEER, agent(profile="Zz"), key="u")
    with pytest.raises(DocumentErrors, match="no model configuration 'gone'") as raised:
        await stored.store(profile(llm_config_ref="gone"))
    assert [one.path for one in raised.value.problems] == ["llm_config_ref"]
    with pytest.raises(DocumentErrors, match="no profile 'Zz'"):
        text = agent(profile="Zz").to_text()
        await stored.catalog.write_document(ENGINEER, "agent", "x", text, key="w")


async def test_a_profile_that_another_host_has_just_stored_may_be_named(
    stored: Folder, tmp_path: Path, valkey: Valkey
) -> None:
    client = Redis.from_url(valkey.url)
    other = Catalog(FileSource(tmp_path / "agents.json"), RedisStore(client))
    await other.reload()
    await stored.store(profile())
    assert other.snapshot().profile("P") is None
    await other.create_agent(ENGINEER, agent(profile="P"), key="k")
    await client.aclose()


async def test_what_is_in_use_is_not_deleted(stored: Folder, packaged: Path) -> None:
    catalog = stored.catalog
    await stored.store(config())
    await stored.store(profile(llm_config_ref="careful"))
    await stored.create(profile="P")
    with pytest.raises(InUse, match="model configuration 'careful' is used by profile P"):
        await profile_edits.delete(catalog, ENGINEER, "llm-config", "careful", key="d1")
    with pytest.raises(InUse, match="profile 'P' is used by agent x; let them name another"):
        await profile_edits.delete(catalog, ENGINEER, "profile", "P", key="d2")
    await catalog.delete_agent(ENGINEER, "x", key="d3")
    for name, kind in (("P", "profile"), ("careful", "llm-config")):
        for again in (True, True):  # a repeat of the same change
            assert await profile_edits.delete(catalog, ENGINEER, kind, name, key=name) is again  # type: ignore[arg-type]
    assert not await profile_edits.delete(catalog, ENGINEER, "profile", "P", key="d4")
    assert not stored.now.document.profiles
    with pytest.raises(Packaged, match="profile 'Guide' comes with the package"):
        await profile_edits.delete(catalog, ENGINEER, "profile", "Guide", key="d5")


async def test_with_two_persons_profiles_are_changed_in_files_alone(
    tmp_path: Path, valkey: Valkey
) -> None:
    async with opened(tmp_path / "p", valkey, {"agents": []}, review="two") as folder:
        for value in (profile(), config()):
            with pytest.raises(Denied, match="changed in files alone.*AGENT_PROFILES_DIR"):
                await folder.store(value)
