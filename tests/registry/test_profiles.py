"""Profiles of agents: from files that are live, from the store; what an agent has of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from registry import profile_edits
from registry.authorization import WriterPermissions
from registry.binding import AgentBinding, Bindings, BotIdentity, LostProfile
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.draft_edits import Drafts
from registry.errors import Denied, DocumentErrors, InUse, Owned, Packaged, ReviewNeeded
from registry.history import History
from registry.instance import AgentInstance
from registry.layers import EffectiveAgent, Layer
from registry.profile import NamedLlmConfig, Profile
from registry.roles import HOST_ADMIN, Actor, RoleGrant
from registry.snapshot import Document, Entry, Profiles, Snapshot, revision_of
from registry.sources import profile_files
from registry.sources.file import FileSource
from registry.sources.profile_files import ProfileFiles
from registry.sources.redis import RedisStore
from simulators.testing.valkey import Valkey
from tests.broken_profiles import BROKEN

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

    def put(self, file: str, /, **fields: Any) -> Path:
        return self.write(file, yaml.safe_dump(fields, sort_keys=False))

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
    with pytest.raises(DocumentErrors, match=r"no profile 'Zz'; there are: .*Principal"):
        await stored.catalog.update_agent(ENGINEER, agent(profile="Zz"), key="u")
    with pytest.raises(DocumentErrors, match="no model configuration 'gone'") as raised:
        await stored.store(profile(llm_config_ref="gone"))
    assert [one.path for one in raised.value.problems] == ["llm_config_ref"]
    text = agent(profile="Zz").to_text()
    with pytest.raises(DocumentErrors, match="no profile 'Zz'"):
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
    assert other.snapshot().profile("P") is None
    await other.reload()
    await stored.create("y", profile="P")
    await stored.catalog.delete_agent(ENGINEER, "x", key="d")
    with pytest.raises(InUse, match="profile 'P' is used by agent y"):
        await profile_edits.delete(other, ENGINEER, "profile", "P", key="d2")
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


async def test_a_profile_that_is_taken_while_it_is_deleted_is_not_gone(
    stored: Folder, tmp_path: Path, valkey: Valkey
) -> None:
    client = Redis.from_url(valkey.url)
    other = Catalog(FileSource(tmp_path / "agents.json"), RedisStore(client))
    await other.reload()
    for number, host in enumerate((stored.catalog, other) * 4):
        name, taker = f"Race{number}", agent(f"racer{number}", profile=f"Race{number}")
        await stored.store(profile(name))
        await other.reload()
        removed, taken = await asyncio.gather(
            profile_edits.delete(host, ENGINEER, "profile", name, key=f"gone {number}"),
            stored.catalog.create_agent(ENGINEER, taker, key=f"new {number}"),
            return_exceptions=True,
        )
        await stored.catalog.reload()
        is_there = stored.now.profile(name) is not None
        is_taken = not isinstance(taken, BaseException)
        assert is_there or not is_taken, (number, removed, taken)
        assert isinstance(removed, InUse) is is_there
    await client.aclose()


async def test_the_cure_for_a_profile_of_a_file_is_the_file(stored: Folder) -> None:
    file = stored.put("profiles/obs.yaml", name="Obs")
    await stored.until(lambda now: now.profile("Obs") is not None)
    await stored.history.note_all()
    await stored.create(profile="Obs")
    file.unlink()
    await stored.until(lambda now: now.profile("Obs") is None)
    await stored.history.note_all()
    with pytest.raises(DocumentErrors, match=r"it was in .*obs\.yaml.*: put the file back"):
        await stored.catalog.update_agent(ENGINEER, agent(name="Y", profile="Obs"), key="u")


async def test_a_profile_that_a_broken_file_hides_is_not_to_be_named(
    tmp_path: Path, valkey: Valkey
) -> None:
    place = tmp_path / "agent_profiles" / "profiles" / "obs.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("name: Obs\nno_such_field: 1\n")
    client = Redis.from_url(valkey.url)
    await client.set("agent:profile:Obs", '{"name": "Obs"}')
    await client.aclose()
    async with opened(tmp_path / "agent_profiles", valkey, {"agents": []}) as folder:
        assert folder.now.profile("Obs") is None
        with pytest.raises(DocumentErrors, match=r"'Obs' cannot be used; correct .*obs\.yaml"):
            await folder.create(profile="Obs")


async def test_with_two_persons_profiles_are_changed_in_files_alone(
    tmp_path: Path, valkey: Valkey
) -> None:
    async with opened(tmp_path / "p", valkey, {"agents": []}, review="two") as folder:
        for value in (profile(), config()):
            with pytest.raises(Denied, match=r"changed in files alone.*AGENT_PROFILES_DIR"):
                await folder.store(value)


async def test_models_of_a_configuration_are_those_that_the_operator_lists(
    tmp_path: Path, valkey: Valkey
) -> None:
    writer = WriterPermissions(operator=False, models=frozenset({"listed"}))
    async with opened(tmp_path / "p", valkey, {"agents": []}, writer=writer) as folder:
        await folder.store(config(model="listed"))
        with pytest.raises(DocumentErrors, match="the model 'dear' is not allowed here") as raised:
            await folder.store(config(model="listed", fallback_model="dear"))
        assert [one.path for one in raised.value.problems] == ["fallback_model"]


async def test_a_draft_may_not_name_a_profile_that_is_not_there(stored: Folder) -> None:
    await stored.store(profile("Principal"))
    await stored.create()
    drafts = Drafts(stored.history)
    with pytest.raises(DocumentErrors, match="did you mean Principal"):
        await drafts.change(ENGINEER, "x", {"profile": "Principle"}, key="d")
    draft = await drafts.change(ENGINEER, "x", {"profile": "Principal"}, key="d2")
    assert draft.definition.profile == "Principal"


async def test_naming_a_profile_takes_the_reviews_of_prompt_and_tools(
    tmp_path: Path, valkey: Valkey
) -> None:
    async with opened(tmp_path / "p", valkey, {"agents": []}) as before:
        await before.store(profile())
        await before.create()
    async with opened(tmp_path / "p", valkey, {"agents": []}, review="two") as folder:
        with pytest.raises(ReviewNeeded) as raised:
            await folder.catalog.update_agent(ENGINEER, agent(profile="P"), key="u")
        assert set(raised.value.needs) == {"qa", "security"}


# --- files ---------------------------------------------------------------------------------------


async def test_the_blocks_of_document_4_are_live_from_a_file_as_printed(folder: Folder) -> None:
    assert folder.now.effective("lead", HOST) is None
    folder.put("llm_configs/shared.yml", name="careful", temperature=0.2, max_tokens=50)
    folder.write("profiles/any name.yaml", PRINTED)
    await folder.until(lambda now: now.effective("lead", HOST))
    found = folder.effective()
    assert folder.told() == []
    assert found.profile is not None
    (observer,), (first, second) = found.profile.post_turn_observers, found.profile.flow_decider
    assert observer.action.inbox_item is not None
    assert observer.action.inbox_item.source == "SELF_REFLECTION_PROMPT"
    assert (first.action.type, second.action.type) == ("continue_with_tool", "await_user_input")
    assert second.condition == "True"
    assert found.allowed == (
        ("mcp:planning_tools:*", "mcp:monitoring_tools:*", "LaunchPrincipalExecutionTool"),
    )
    assert (found.llm.model, found.llm.temperature, found.llm.max_tokens) == ("host-model", 0.2, 50)
    assert found.origins["maxTokens"].endswith("llm_configs/shared.yml:3")
    assert found.origins["allowedTools"].endswith("profiles/any name.yaml:29")
    assert found.profile_mark == f"Principal@{revision_of(found.profile.to_text())[:12]}"


async def test_a_file_changes_is_broken_is_corrected_and_goes(folder: Folder) -> None:
    path = folder.write("profiles/p.json", '{"name": "Principal", "type": "one"}')
    await folder.until(lambda now: now.effective("lead", HOST))
    path.write_text('{"name": "Principal",\n "type": "two", "flow_decider": 1}')
    await folder.until(lambda now: now.document.errors)
    assert folder.told() == [
        (
            "profiles/p.json:2: 'flow_decider' must be a list in [ ] (the last good version stays "
            "in force); write [ ] around it, with a comma between its parts"
        )
    ]
    found = folder.effective().profile
    assert found is not None
    assert found.type == "one"
    path.write_text('{"name": "Principal", "type": "two"}')
    await folder.until(lambda now: not now.document.errors)
    now = folder.effective().profile
    assert now is not None
    assert now.type == "two"
    path.unlink()
    await folder.until(lambda now: now.effective("lead", HOST) is None)
    (told,) = folder.told()
    said = "agent 'lead' does not answer: there is no profile 'Principal'; there are: "
    assert told.partition(": ")[2].startswith(said)


async def test_a_host_goes_on_with_the_last_good_ones_whatever_is_broken(folder: Folder) -> None:
    def write_all(good: bool) -> None:
        for number, one in enumerate(BROKEN):
            name, kind = f"P{number}", "llm_configs" if one.config else "profiles"
            text = f"name: {name}\n" if good else one.content(name)
            folder.write(f"{kind}/p{number:02}.yaml", text)

    def in_force(now: Snapshot) -> list[str]:
        return [*now.document.profiles, *now.document.llm_configs]

    write_all(good=True)
    good = in_force(await folder.until(lambda now: len(in_force(now)) == len(BROKEN)))
    write_all(good=False)
    now = await folder.until(lambda now: len(now.document.errors) == len(BROKEN))
    assert in_force(now) == good
    assert all("(the last good version stays in force)" in one.message for one in now.problems[:-1])
    for number, one in enumerate(BROKEN):
        named = f"P{number}"
        entry = now.llm_config(named) if one.config else now.profile(named)
        assert entry is not None
        assert entry.value.to_json() == {"name": named}


def type_of(now: Snapshot) -> str | None:
    entry = now.profile("Principal")
    return entry.value.type if entry else None


async def test_of_two_files_of_one_name_the_one_in_force_stays(folder: Folder) -> None:
    folder.put("profiles/b.yaml", name="Principal", type="b")
    await folder.until(lambda now: now.profile("Principal"))
    folder.put("profiles/c.yaml", type="c", name="Principal")
    await folder.until(lambda now: now.document.errors)
    assert folder.told() == [
        (
            f"profiles/c.yaml:2: profile 'Principal' is already defined at {folder.folder}/"
            "profiles/b.yaml:1; remove or rename one of the two"
        )
    ]
    folder.put("profiles/a.yaml", name="Principal", type="a")
    now = await folder.until(lambda now: len(now.document.errors) == 2)
    assert type_of(now) == "b"
    assert [one.partition(":")[0] for one in folder.told()] == [
        "profiles/a.yaml",
        "profiles/c.yaml",
    ]
    broken = folder.write("profiles/b.yaml", "name: Principal\ntype: [\n")
    now = await folder.until(lambda now: len(now.document.errors) == 3)
    assert type_of(now) == "b"  # its last good version still stays
    anew = ProfileFiles(folder.folder)
    await anew.reload()
    assert anew.document.profiles["Principal"].value.type == "a"
    broken.unlink()
    await folder.until(lambda now: type_of(now) == "a")
    (folder.folder / "profiles" / "a.yaml").unlink()
    await folder.until(lambda now: type_of(now) == "c")
    assert folder.told() == []


async def test_a_file_that_is_put_in_place_with_the_size_and_time_of_the_other_is_noticed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.sources.file.GRAIN_SECONDS", 0.0)
    path = folder.put("profiles/p.yaml", name="Principal", type="one")
    await folder.until(lambda now: type_of(now) == "one")
    before = path.stat()
    path.write_text(path.read_text().replace("one", "two"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    await folder.until(lambda now: type_of(now) == "two")


async def test_where_a_file_is_broken_at_the_start_no_other_profile_takes_its_place(
    tmp_path: Path, valkey: Valkey
) -> None:
    agents = {"agents": [{"id": n.lower(), "name": n, "profile": n} for n in ("Partner", "Own")]}
    async with opened(tmp_path / "p", valkey, agents) as before:
        await before.store(profile("Own"))
        assert [before.now.lost_profile(id) for id in ("partner", "own")] == [None, None]
    async with opened(tmp_path / "q", valkey, agents) as folder:
        folder.write("profiles/p.yaml", "name: Partner\ntype: [")
        await folder.until(lambda now: now.document.errors)  # it was good when the host began
        assert folder.now.lost_profile("partner") is None
        folder.write("profiles/q.json", '{"type": 1, \n"name": "Own"}')
    async with opened(tmp_path / "q", valkey, agents) as folder:
        assert [folder.now.lost_profile(id) for id in ("partner", "own")] == ["Partner", "Own"]
        assert "Partner" not in folder.now.all_profiles.profiles
        with pytest.raises(Owned):
            await folder.store(profile("Own", type="other"))
        folder.write("profiles/p.yaml", "name: Partner\ntype: mine\n")
        (folder.folder / "profiles" / "q.json").unlink()
        await folder.until(lambda now: not now.lost_profile("own") and not now.document.errors)
        held = folder.now.profile("Partner")
        assert held is not None
        assert held.value.type == "mine"


async def test_a_reference_to_nothing_changes_nothing_until_it_can_be_followed(
    folder: Folder,
) -> None:
    path = folder.put("profiles/p.yaml", name="Principal", llm_config_ref="careful")
    await folder.until(lambda now: now.document.errors)
    assert folder.now.effective("lead", HOST) is None
    assert folder.told()[0] == (
        "profiles/p.yaml:2: profile 'Principal': there is no model configuration 'careful'; "
        "there are: none"
    )
    config = folder.put("llm_configs/c.yaml", name="careful", max_tokens=7)
    await folder.until(lambda now: now.effective("lead", HOST))
    assert folder.told() == []
    path.write_text("name: Principal\ntype: new\nllm_config_ref: careless\n")
    await folder.until(lambda now: now.document.errors)
    assert folder.told() == [
        (
            "profiles/p.yaml:3: profile 'Principal': there is no model configuration 'careless' "
            "(the last good version stays in force); there are: careful"
        )
    ]
    kept = folder.effective()
    assert (kept.profile and kept.profile.type, kept.llm.max_tokens) == (None, 7)
    path.write_text("name: Principal\nllm_config_ref: careful\n")
    await folder.until(lambda now: not now.document.errors)
    config.unlink()
    await folder.until(lambda now: now.document.errors)
    assert folder.effective().llm.max_tokens == 7


async def test_a_reference_may_lead_from_a_file_to_the_store(stored: Folder) -> None:
    stored.put("profiles/p.yaml", name="P", llm_config_ref="careful")
    await stored.until(lambda now: now.document.errors)
    await stored.store(config(max_tokens=9))
    await stored.create(profile="P")
    assert stored.effective("x").llm.max_tokens == 9
    with pytest.raises(InUse, match="is used by profile P"):
        await profile_edits.delete(stored.catalog, ENGINEER, "llm-config", "careful", key="d")


@pytest.mark.usefixtures("packaged")
async def test_a_file_wins_over_the_store_and_the_store_over_the_package(stored: Folder) -> None:
    await stored.create(profile="Guide")
    assert stored.effective("x").llm.temperature == 0
    assert stored.now.profile("Guide").owner == "package"  # type: ignore[union-attr]
    await stored.store(profile("Guide", type="stored"))
    assert stored.effective("x").profile == profile("Guide", type="stored")
    stored.put("profiles/g.yaml", name="Guide", type="file")
    await stored.until(lambda now: now.profile("Guide").owner == "file")
    assert "it is overridden by" in " ".join(stored.told())
    with pytest.raises(Owned, match=r"is set in .*g.yaml and is changed only there"):
        await stored.store(profile("Guide", type="again"))
    (stored.folder / "profiles" / "g.yaml").unlink()
    await stored.until(lambda now: now.profile("Guide").owner == "store")
    assert await profile_edits.delete(stored.catalog, ENGINEER, "profile", "Guide", key="d")
    assert stored.effective("x").llm.temperature == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("profiles/p.yaml", "- a", "p.yaml:1: it must be an object; write name: value lines"),
        ("profiles/p.yaml", "name: x\nname: y", "p.yaml:2: the name 'name' occurs twice"),
        ("profiles/p.yaml", "name: &a x\ntype: *a", "p.yaml:1: anchors and aliases are not"),
        ("profiles/p.yaml", "name: !!python/name:os.system x", "p.yaml:1: tags are not supported"),
        ("profiles/p.yaml", b"name: \xff", "p.yaml:1: it is not UTF-8 text; save it as UTF-8"),
        ("profiles/p.yaml", "# " + "x" * 300_000, "it has more than 262144 bytes; make it smaller"),
        ("profiles/p.yaml", "a: " * 200 + "1", "p.yaml:1: column 5: mapping values are not"),
        ("profiles/p.json", "{'name': 'x'}", "p.json:1: a text is in single quotes"),
        ("profiles/p.yaml", "name: sk-ant-api03-abcdefghijklmnop", "is written in plain text"),
        ("llm_configs/c.yaml", "name: c\nmodel: ${MODEL}", "c.yaml:2: a ${NAME} in 'model' is not"),
        ("llm_configs/c.yaml", "name: c\ntempreature: 1", "c.yaml:2: unknown field 'tempreature'"),
    ],
)
async def test_what_is_wrong_with_a_file_is_told_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    files = ProfileFiles(tmp_path)
    await files.reload()
    (first, *_) = files.document.errors
    assert words in str(first)
    assert first.cure


async def test_odd_files_and_folders_stop_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "good.yaml").write_text("name: Good")
    (folder / ".hidden.yaml").write_text("nonsense")
    (folder / "README.md").write_text("About these profiles.")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (tmp_path / "llm_configs").write_text("a file")
    files = ProfileFiles(tmp_path)
    await files.reload()
    assert [*files.document.profiles] == ["Good"]
    told = sorted(str(one).removeprefix(f"{tmp_path}/") for one in files.document.problems)
    assert [one.partition(";")[0] for one in told] == [
        "llm_configs: it cannot be read: Not a directory",
        "profiles/README.md: its name does not end in .yaml, .yml, .json",
        "profiles/folder.yaml: it cannot be read: Is a directory",
        "profiles/loop.yaml: it cannot be read: Too many levels of symbolic links",
        "profiles/pipe.yaml: it cannot be read: it is not a file",
    ]


async def test_a_folder_that_must_be_there_and_one_that_went_are_told(tmp_path: Path) -> None:
    files = ProfileFiles(tmp_path / "p", required=True)
    await files.reload()
    assert [one.message for one in files.document.errors] == ["the folder is missing"]
    (tmp_path / "p" / "profiles").mkdir(parents=True)
    (tmp_path / "p" / "profiles" / "g.yaml").write_text("name: Good")
    await files.reload()
    assert files.document.errors == []
    (tmp_path / "p").rename(tmp_path / "q")
    await files.reload()
    assert [*files.document.profiles] == ["Good"]
    (gone,) = files.document.errors
    assert gone.message == "the folder is missing; the last good profiles stay in use"


# --- what an agent has of its profile ------------------------------------------------------------


def merged(profile_fields: dict[str, Any], *layers: Layer, **fields: Any) -> EffectiveAgent:
    """An agent with a profile, as the operator's file would have both."""
    own = {"llm_configs": {"shared": config("shared", model="shared", temperature=0.5)}}
    document = Document(
        agents={"x": Entry(agent(profile="P", **fields), "a.json", "a.json:1")},
        own_profiles=Profiles(
            {"P": Entry(profile(**profile_fields), "p.yaml", "p.yaml:1")},
            {name: Entry(one, "c.yaml", "c.yaml:1") for name, one in own["llm_configs"].items()},
        ),
    )
    found = Snapshot.of(document).effective("x", HOST, layers)
    assert found is not None
    return found


def test_model_settings_are_the_hosts_then_the_configurations_then_the_agents_own() -> None:
    found = merged({"llm_config_ref": "shared"}, llmOverrides={"temperature": 1.0})
    llm, origins = found.llm, found.origins
    assert (llm.model, llm.temperature, llm.max_tokens) == ("shared", 1.0, 100)
    assert (origins["model"], origins["temperature"], origins["maxTokens"]) == (
        "c.yaml:1",
        "a.json:1",
        "host defaults",
    )
    assert (found.layers["model"], found.layers["maxTokens"]) == ("L1", "L0")


POLICY = {
    "toolsets": {"both": ["mcp:a:one"], "own": ["skill:walk"]},
    "allowed_toolsets": ["both", "theirs", "crm", "own"],
    "allowed_individual_tools": ["Launch"],
}
SERVERS = {name: {"url": "https://e.example/mcp"} for name in ("crm", "both")}


def test_a_toolset_is_one_of_the_profile_then_of_the_agent_then_a_server() -> None:
    own = {"toolsets": {"theirs": ["mcp:b:*"], "both": ["mcp:c:*"]}}
    found = merged({"tool_access_policy": POLICY}, mcpServers=SERVERS, toolPolicy=own)
    assert found.allowed == (("mcp:a:one", "mcp:b:*", "mcp:crm:*", "skill:walk", "Launch"),)
    narrowed = Layer("L5", LlmConfiguration(), "preset", allowed=("mcp:crm:find",))
    assert merged({"tool_access_policy": POLICY}, narrowed).allowed[1:] == (("mcp:crm:find",),)


@pytest.mark.parametrize(
    ("own", "allowed"),
    [
        ({"allowedIndividualTools": ["mcp:z:*"]}, (("mcp:z:*",),)),
        ({"allowedToolsets": []}, ((),)),
        ({"requireConfirmation": []}, (("mcp:a:one", "skill:walk", "Launch"),)),
    ],
)
def test_the_lists_of_the_agent_win_over_those_of_its_profile(
    own: dict[str, Any], allowed: tuple[tuple[str, ...], ...]
) -> None:
    policy = POLICY | {"allowed_toolsets": ["both", "own"]}
    assert merged({"tool_access_policy": policy}, toolPolicy=own).allowed == allowed


def test_without_a_word_on_tools_a_profile_narrows_nothing_and_with_none_everything() -> None:
    assert merged({"tool_access_policy": {"toolsets": {"a": ["b"]}}}).allowed == ()
    assert merged({}).allowed == ()
    assert merged({"tool_access_policy": {"allowed_toolsets": []}}).allowed == ((),)


async def test_a_toolset_that_nobody_has_is_an_error_and_allows_nothing(folder: Folder) -> None:
    policy = {"allowed_toolsets": ["planning_tools", "monitor_tools"]}
    folder.put("profiles/p.yaml", name="Principal", tool_access_policy=policy)
    await folder.until(lambda now: now.effective("lead", HOST))
    assert folder.effective().allowed == (("mcp:planning_tools:*",),)
    assert folder.told() == [
        (
            "profiles/p.yaml:2: profile 'Principal' allows agent 'lead' the toolset "
            "'monitor_tools', which is none; define it under 'toolsets', or name a server of the "
            "agent; there are: "
            "monitoring_tools, planning_tools"
        )
    ]
    assert [one.level for one in folder.now.problems] == ["error"]
    assert folder.now.review("lead") == [*folder.now.problems]


SAYS: dict[str, Any] = {
    "system_prompt_construction": {
        "system_prompt_segments": [
            {"type": "static_text", "content": "Second.", "order": 2},
            {"type": "static_text", "content": "First.", "order": 1},
        ]
    }
}
ASKS = {
    "system_prompt_construction": {
        "system_prompt_segments": [
            {"type": "static_text", "content": "Mind this: {{ agent.instructions }}"},
        ]
    }
}
APPENDED = Layer("L5", LlmConfiguration(), "preset", text="More.")
REPLACED = Layer("L5", LlmConfiguration(), "preset", override="Mine.", text="More.")


@pytest.mark.parametrize(
    ("says", "own", "layers", "segments", "text"),
    [
        (SAYS, None, [], 2, None),
        (SAYS, None, [APPENDED], 2, "More."),
        (SAYS, None, [REPLACED], 0, "Mine.\n\nMore."),
        (SAYS, "Own.", [], 0, "Own."),
        (SAYS, "Own.", [APPENDED], 0, "Own.\n\nMore."),
        (ASKS, "Own.", [], 1, None),
        (ASKS, "Own.", [APPENDED], 1, "More."),
        (ASKS, "Own.", [REPLACED], 0, "Mine.\n\nMore."),
        (ASKS, None, [], 1, None),
        ({}, "Own.", [], 0, "Own."),
        ({}, None, [], 0, None),
    ],
)
def test_whose_text_an_agent_says(
    says: dict[str, Any], own: str | None, layers: list[Layer], segments: int, text: str | None
) -> None:
    found = merged(says, *layers, **({"customInstructions": own} if own else {}))
    assert len(found.segments) == segments
    assert found.definition.custom_instructions == text
    assert found.instructions == (own or "")
    if segments == 2:
        assert [one.content for one in found.segments] == ["First.", "Second."]
        assert found.origins["segments"].startswith("p.yaml:1")
    shown = found.shown(found.written.to_json())
    both = (own if segments else None, text)
    assert shown["customInstructions"]["value"] == ("\n\n".join(filter(None, both)) or None)
    if own and not layers:
        assert shown["customInstructions"]["origin"] == "a.json:1"
    assert shown.get("segments", {}).get("value") == (
        {"profile": found.profile.name, "count": segments} if segments and found.profile else None
    )


def test_an_instance_has_the_profile_of_its_agent() -> None:
    own = AgentInstance.model_validate(
        {"agent_type": "x", "account": "acme", "instance_name": "one", "llm": {"max_tokens": 5}}
    )
    document = Document(
        agents={"x": Entry(agent(profile="P"), "a.json", "a.json:1")},
        instances={own.id: Entry(own, "i.yaml", "i.yaml:1")},
        own_profiles=Profiles({"P": Entry(profile(**SAYS), "p.yaml", "p.yaml:1")}),
    )
    found = Snapshot.of(document).effective(own.id, HOST)
    assert found is not None
    assert (len(found.segments), found.llm.max_tokens) == (2, 5)


def test_an_agent_without_its_profile_answers_nowhere() -> None:
    bot = BotIdentity("a" * 64, 123, "demobot")
    binding = AgentBinding.model_validate(
        {"agentId": "x", "type": "TelegramBot", "bindingKey": "123"}
    )
    instance = AgentInstance.model_validate(
        {"agent_type": "x", "account": "acme", "instance_name": "one"}
    )
    document = Document(
        agents={
            "x": Entry(agent(profile="Principle"), "a.json", "a.json:1"),
            "y": Entry(agent("y"), "a.json", "a.json:2"),
        },
        bindings={binding.slot: Entry(binding, "a.json", "a.json:3")},
        default_agent_id=Entry("x", "a.json", "a.json:4"),
        instances={instance.id: Entry(instance, "i.yaml", "i.yaml:1")},
        own_profiles=Profiles({"Principal": Entry(profile("Principal"), "p.yaml", "p.yaml:1")}),
    )
    snapshot = Snapshot.of(document)
    for id in ("x", instance.id):
        assert snapshot.effective(id, HOST) is None
        assert id not in snapshot.runnable
    found = snapshot.resolve(bot, 1, 1)
    assert found.agent_id is None
    assert found.lost == LostProfile("x", "Principle")
    assert (
        found.why == "the binding of this bot names 'x', whose profile 'Principle' does not exist"
    )
    bindings = replace(snapshot, bindings=Bindings())
    assert bindings.resolve(bot, 1, 1).lost == found.lost
    (unanswered,) = snapshot.unanswered([bot])
    assert str(unanswered) == (
        "@demobot: its agent 'x' does not answer: there is no profile 'Principle'; did you mean "
        "Principal?"
    )
    assert [str(one) for one in snapshot.problems] == [
        (
            "a.json:1: agent 'x' does not answer: there is no profile 'Principle'; did you mean "
            "Principal?"
        )
    ]


def test_where_there_is_no_profile_nothing_of_them_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "agents.json").write_text('{"agents": [{"id": "a", "name": "A"}]}')
    code = """
import asyncio, sys
from pathlib import Path
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.sources.file import FileSource
from registry.sources.profile_files import ProfileFiles
catalog = Catalog(FileSource(Path("agents.json")), profiles=ProfileFiles(Path("agent_profiles")))
snapshot = asyncio.run(catalog.reload())
assert snapshot.effective("a", LlmConfiguration()) and not snapshot.problems
print(*sys.modules.keys() & {"registry.profile", "registry.state_conditions"})
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.strip(), ran.stderr) == ("", "")
