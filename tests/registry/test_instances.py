"""Instances of agents: from files that are live, from the package, and from the store."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from registry.binding import AgentBinding, AgentBindingType, BotIdentity
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import (
    AlreadyThere,
    Denied,
    DocumentErrors,
    NotThere,
    Owned,
    ReasonMissing,
    RevisionConflict,
)
from registry.history import History
from registry.instance import AgentInstance, patterns_named
from registry.roles import HOST_ADMIN, Actor, RoleGrant, Target, Why
from registry.snapshot import PACKAGED, Snapshot
from registry.sources.file import FileSource
from registry.sources.instance_files import InstanceFiles
from registry.sources.redis import RedisStore
from registry.sources.revision_store import DELETED
from simulators.testing.valkey import Valkey

PRINTED = """\
agent_type: "simple_chat"              # Which agent function to call
account: "acme"
instance_name: "simple-chat-customer-support"

llm:
  model: "moonshotai/kimi-k2-0905"
  temperature: 0.3
  max_tokens: 2000

tools:
  vector_search:
    enabled: true
  email_summary:
    enabled: true

context_management:
  history_limit: 10
"""
"""The file of document 3, as printed."""
SUPPORT = "acme/simple-chat-customer-support"
SALES = "acme/sales-smb"
ACME_ADMIN = Actor("api:acme:eve", (RoleGrant(role="instance_admin", account="acme"),))
ENGINEER = Actor("tg:7", HOST_ADMIN)
AGENTS = {
    "mcpServers": {"crm": {"url": "http://localhost:9/mcp"}},
    "agents": [
        {"id": "helper", "name": "Helper", "llmOverrides": {"model": "file-model"}},
        {"id": "two-words", "name": "Two", "template": True},
    ],
}


def sales(**fields: Any) -> dict[str, Any]:
    base = {"agent_type": "sales_agent", "account": "acme", "instance_name": "sales-smb"}
    return base | fields


def text(**fields: Any) -> str:
    return AgentInstance.model_validate(sales(**fields)).to_text()


class Folder:
    """A folder of instances, and the catalog that follows it."""

    def __init__(self, catalog: Catalog, configs: Path) -> None:
        self.catalog, self.configs = catalog, configs
        self.history = History(catalog)

    @property
    def now(self) -> Snapshot:
        return self.catalog.snapshot()

    def write(self, id: str, content: str) -> Path:
        path = self.configs / id / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
        return path

    def put(self, id: str = SALES, **fields: Any) -> Path:
        account, name = id.split("/")
        own = sales(account=account, instance_name=name, **fields)
        return self.write(id, yaml.safe_dump(own))

    async def until(self, holds: Any) -> Snapshot:
        async with asyncio.timeout(5):
            return await self.catalog.until(holds)

    def told(self) -> list[str]:
        return [str(problem).removeprefix(f"{self.configs}/") for problem in self.now.problems]


@asynccontextmanager
async def opened(
    configs: Path, valkey: Valkey | None = None, agents: Any = None, **more: Any
) -> AsyncIterator[Folder]:
    path = configs.parent / "agents.json"
    path.write_text(json.dumps(AGENTS if agents is None else agents))
    client = Redis.from_url(valkey.url) if valkey else None
    files = InstanceFiles(configs, configs.parent / "templates", look_seconds=0.01)
    catalog = Catalog(FileSource(path), RedisStore(client) if client else None, files, **more)
    await catalog.open()
    try:
        yield Folder(catalog, configs)
    finally:
        await catalog.close()
        if client is not None:
            await client.aclose()


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    async with opened(tmp_path / "agent_configs") as folder:
        yield folder


@pytest.fixture
async def stored(tmp_path: Path, valkey: Valkey) -> AsyncIterator[Folder]:
    async with opened(tmp_path / "agent_configs", valkey) as folder:
        yield folder


# --- files ---------------------------------------------------------------------------------------


async def test_the_file_of_the_document_loads_as_printed(folder: Folder) -> None:
    folder.write(SUPPORT, PRINTED)
    snapshot = await folder.until(lambda now: now.instance(SUPPORT))
    found = snapshot.instance(SUPPORT)
    assert found is not None
    assert found.to_json() == yaml.safe_load(PRINTED)
    assert (found.id, found.title) == (SUPPORT, "Simple chat customer support")
    assert list(snapshot.instances_of("acme")) == ["simple-chat-customer-support"]
    entry = snapshot.document.instances[SUPPORT]
    assert entry.operator
    assert entry.origins["llm.temperature"].endswith("config.yaml:7")


async def test_an_empty_host_has_the_instance_of_the_package(folder: Folder) -> None:
    found = folder.now.instance("default/simple-chat")
    assert found is not None
    assert found.to_json() == {
        "agent_type": "simple_chat",
        "account": "default",
        "instance_name": "simple-chat",
        "llm": {"temperature": 0.3, "max_tokens": 2000},
        "tools": {"vector_search": {"enabled": True}},
        "context_management": {"history_limit": 10},
    }
    assert folder.told() == []
    assert not folder.now.has_only_agent
    assert [*folder.now.agents] == ["helper", "two-words"]


async def test_a_file_of_the_same_name_takes_the_place_of_the_packaged_one(folder: Folder) -> None:
    path = folder.put("default/simple-chat", llm={"temperature": 0.9})
    changed = await folder.until(lambda now: _temperature(now, "default/simple-chat") == 0.9)
    assert changed.document.instances["default/simple-chat"].place == f"{path}:1"
    shutil.rmtree(path.parent)
    await folder.until(lambda now: _temperature(now, "default/simple-chat") == 0.3)


def _temperature(snapshot: Snapshot, id: str) -> float | None:
    found = snapshot.instance(id)
    return found.llm.temperature if found and found.llm else None


async def test_a_new_file_a_changed_one_and_a_removed_one_are_in_force_within_a_second(
    tmp_path: Path,
) -> None:
    files = InstanceFiles(tmp_path / "configs")  # it looks as often as that of a host
    catalog = Catalog(FileSource(None), None, files)
    await catalog.open()
    folder = Folder(catalog, tmp_path / "configs")
    try:
        folder.put("acme/sales-enterprise")
        took: dict[str, list[float]] = {"new": [], "changed": [], "removed": []}
        for _ in range(3):  # the quickest of them: other programs use the machine as well
            began = time.monotonic()
            path = folder.put(llm={"temperature": 0.5})
            await folder.until(lambda now: _temperature(now, SALES) == 0.5)
            took["new"].append(time.monotonic() - began)
            began = time.monotonic()
            folder.put(llm={"temperature": 0.6})  # as many bytes, in one tick of some file systems
            await folder.until(lambda now: _temperature(now, SALES) == 0.6)
            took["changed"].append(time.monotonic() - began)
            began = time.monotonic()
            shutil.rmtree(path.parent)
            await folder.until(lambda now: [*now.instances_of("acme")] == ["sales-enterprise"])
            took["removed"].append(time.monotonic() - began)
        assert all(min(found) < 1 for found in took.values()), took
    finally:
        await catalog.close()


async def test_a_bad_file_leaves_the_others_and_its_own_last_good_version_in_force(
    folder: Folder,
) -> None:
    path = folder.put(llm={"temperature": 0.5})
    folder.put("acme/other")
    await folder.until(lambda now: len(now.instances_of("acme")) == 2)
    path.write_text(
        "agent_type: sales_agent\naccount: acme\ninstance_name: sales-smb\nllm:\n  hot: 1\n"
    )
    await folder.until(lambda now: now.document.errors)
    assert _temperature(folder.now, SALES) == 0.5
    (wrong,) = folder.now.document.errors
    assert wrong.path == "llm.hot"
    assert f"{path}:5: unknown field 'hot' (the last good version stays in force)" in str(wrong)
    folder.put("acme/other", llm={"temperature": 0.1})
    await folder.until(lambda now: _temperature(now, "acme/other") == 0.1)
    folder.put(llm={"temperature": 0.7})
    await folder.until(lambda now: _temperature(now, SALES) == 0.7 and not now.document.errors)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("account: acme\ninstance_name: sales-smb\n", "'agent_type' is missing; add 'agent_type'"),
        ("agent_type: sales_agent\ninstance_name: sales-smb\n", "'account' is missing"),
        (
            "agent_type: sales_agent\naccount: other\ninstance_name: sales-smb\n",
            "config.yaml:2: 'account' is 'other', but the folder is 'acme'; write account: acme",
        ),
        (
            "agent_type: sales_agent\naccount: acme\ninstance_name: smb\n",
            "config.yaml:3: 'instance_name' is 'smb', but the folder is 'sales-smb'",
        ),
        (
            f"{yaml.safe_dump(sales())}llm:\n  temperature: 3\n",
            "'llm.temperature' must be at most 2",
        ),
        (
            f"{yaml.safe_dump(sales())}tools:\n  crm:\n    enabled: 5\n",
            "'tools.crm.enabled' must be true or false",
        ),
        (
            f"{yaml.safe_dump(sales())}llm:\n  model: ${{MODEL}}\n",
            "a ${NAME} in 'llm.model' is not expanded",
        ),
        ("- 1\n", "config.yaml:1: it must be an object"),
        ("agent_type: [\n", "config.yaml:2: "),
        ("agent_type: \xff", "config.yaml:1: it is not UTF-8 text"),
    ],
)
async def test_what_is_wrong_with_a_file_is_told_with_its_line_and_field(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "configs/acme/sales-smb/config.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    async with opened(tmp_path / "configs") as folder:
        assert any(told in one for one in folder.told()), folder.told()
        assert folder.now.instance(SALES) is None


async def test_folders_that_name_no_account_or_instance_are_told_and_nothing_in_them_is_read(
    folder: Folder,
) -> None:
    folder.write("Acme/x", PRINTED)
    folder.write("acme/.hidden", PRINTED)
    folder.write("acme/white space", PRINTED)
    (folder.configs / "acme/empty").mkdir()
    (folder.configs / "README.md").write_text("no folder")
    await folder.until(lambda now: len(now.problems) == 3)
    rule = "1 to 64 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit"
    cure = f"has no valid name ({rule}); rename it, or move it elsewhere"
    assert sorted(one.removeprefix(f"{folder.configs}") for one in folder.told()) == [
        f": the folder 'Acme' {cure}",
        "acme/empty: it has no config.yaml; create it, or remove the folder",
        f"acme: the folder 'white space' {cure}",
    ]
    assert not folder.now.instances_of("acme")


async def test_a_file_that_cannot_be_read_keeps_its_last_good_version(folder: Folder) -> None:
    path = folder.put(llm={"temperature": 0.5})
    await folder.until(lambda now: now.instance(SALES))
    path.unlink()
    path.mkdir()
    await folder.until(lambda now: now.document.errors)
    assert _temperature(folder.now, SALES) == 0.5
    assert "acme/sales-smb/config.yaml: it cannot be read: Is a directory" in folder.told()[0]
    path.rmdir()
    folder.put(llm={"temperature": 0.5})
    await folder.until(lambda now: not now.document.errors)


async def test_a_pipe_or_a_link_to_itself_is_told_and_holds_up_nothing(folder: Folder) -> None:
    odd = folder.configs / "acme/odd"
    odd.mkdir(parents=True)
    os.mkfifo(odd / "config.yaml")
    (folder.configs / "acme/loop").symlink_to("loop")
    (folder.configs / "acme/round").mkdir()
    (folder.configs / "acme/round/config.yaml").symlink_to("config.yaml")
    folder.put(llm={"temperature": 0.5})
    await folder.until(lambda now: now.instance(SALES) and len(now.document.errors) == 3)
    told = sorted(one.partition("acme/")[2].partition(";")[0] for one in folder.told())
    assert told == [
        "loop: it cannot be read: Too many levels of symbolic links",
        "odd/config.yaml: it cannot be read: it is not a file",
        "round/config.yaml: it cannot be read: Too many levels of symbolic links",
    ]


async def test_a_folder_that_goes_as_a_whole_changes_nothing_until_it_is_back(
    folder: Folder,
) -> None:
    folder.put()
    await folder.until(lambda now: now.instance(SALES))
    away = folder.configs.rename(folder.configs.with_name("away"))
    await folder.until(lambda now: now.document.errors)
    assert folder.now.instance(SALES)
    assert "the folder is missing; the last good instances stay in use" in folder.told()[0]
    away.rename(folder.configs)
    await folder.until(lambda now: not now.document.errors)


async def test_a_look_at_a_thousand_instances_opens_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = tmp_path / "configs"
    files = InstanceFiles(configs, look_seconds=60)
    catalog = Catalog(FileSource(None), None, files)
    folder = Folder(catalog, configs)
    for number in range(1_000):
        path = folder.put(f"acme/i{number}")
        os.utime(path, (1, 1))  # long ago: no later write could look the same
    await catalog.open()
    try:
        assert len(catalog.snapshot().instances_of("acme")) == 1_000
        read: list[Path] = []
        open_file = Path.open

        def opened_file(path: Path, *given: Any, **named: Any) -> Any:
            read.append(path)
            return open_file(path, *given, **named)

        monkeypatch.setattr(Path, "open", opened_file)
        document = files.document
        began = time.thread_time()
        await files._look()
        assert files.document is document
        assert not read
        assert time.thread_time() - began < 0.1
    finally:
        await catalog.close()


# --- types and tools -----------------------------------------------------------------------------


async def test_a_type_is_an_agent_by_its_id_in_either_spelling_or_a_built_in_one(
    folder: Folder,
) -> None:
    for name, agent_type in (("a", "helper"), ("b", "two_words"), ("c", "simple_chat")):
        folder.put(f"acme/{name}", agent_type=agent_type)
    snapshot = await folder.until(lambda now: len(now.instances_of("acme")) == 3)
    entries = [
        snapshot.effective(f"acme/{name}", snapshot.agents["helper"].value.llm_overrides)  # type: ignore[arg-type]
        for name in "abc"
    ]
    assert [one.definition.id for one in entries if one] == ["helper", "two-words", "simple_chat"]
    assert [one.definition.name for one in entries if one] == ["A", "B", "C"]
    folder.put("acme/d", agent_type="nobody")
    snapshot = await folder.until(lambda now: now.instance("acme/d"))
    assert snapshot.unknown_type("acme/d") == "nobody"
    assert snapshot.unknown_type("acme/a") is None
    assert "acme/d" not in snapshot.runnable
    known = "helper, router, sales_agent, simple_chat, two-words"
    told = f"instance 'acme/d': unknown agent type: nobody; name one of: {known}"
    assert folder.told() == [f"acme/d/config.yaml:2: {told}"]


async def test_what_an_instance_sets_wins_over_its_agent_and_what_it_leaves_stays(
    folder: Folder,
) -> None:
    host = LlmConfiguration(model="host-model", temperature=0.1, max_tokens=100)
    folder.put("acme/plain", agent_type="helper")
    path = folder.put("acme/own", agent_type="helper", llm={"model": "own", "temperature": 0.9})
    snapshot = await folder.until(lambda now: len(now.instances_of("acme")) == 2)
    plain, own = (snapshot.effective(id, host) for id in ("acme/plain", "acme/own"))
    assert plain is not None
    assert own is not None
    assert (plain.llm.model, plain.llm.temperature) == ("file-model", 0.1)
    assert (own.llm.model, own.llm.temperature, own.llm.max_tokens) == ("own", 0.9, 100)
    assert (own.layers["model"], own.layers["maxTokens"]) == ("L3", "L0")
    assert own.origins["temperature"].startswith(f"{path}:")
    assert snapshot.effective("helper", host) != own


async def test_a_name_may_be_used_again_in_another_account(folder: Folder) -> None:
    folder.put("acme/sales", name="Ours")
    folder.put("beta/sales", name="Theirs")
    snapshot = await folder.until(lambda now: len(now.document.instances) == 3)
    found = [snapshot.instances_of(one)["sales"].value.title for one in ("acme", "beta")]
    assert found == ["Ours", "Theirs"]
    assert snapshot.instances_of("gamma") == {}


async def test_a_tool_that_nobody_can_have_is_a_warning_and_no_refusal(tmp_path: Path) -> None:
    lonely = {"agents": [{"id": "lonely", "name": "Lonely", "mcpServers": []}]}
    async with opened(tmp_path / "configs", agents=lonely) as folder:
        folder.put(agent_type="lonely", tools={"vector_search": {"enabled": True}})
        await folder.until(lambda now: now.instance(SALES))
        assert not folder.now.document.errors
        (told,) = folder.told()
        assert "no tool is named 'vector_search'" in told


# --- the store -----------------------------------------------------------------------------------


async def put(
    folder: Folder, actor: Actor, given: str, id: str = SALES, *, key: str, **more: Any
) -> int:
    written = await folder.catalog.put_document(actor, "instance", id, given, key=key, **more)
    return written.number


async def test_an_instance_is_made_changed_removed_and_brought_back(stored: Folder) -> None:
    await put(stored, ACME_ADMIN, text(), key="1", action="create", expected=DELETED)
    with pytest.raises(AlreadyThere):
        await put(stored, ACME_ADMIN, text(name="X"), key="2", expected=DELETED)
    held = stored.now.document.instances[SALES].revision
    await put(stored, ACME_ADMIN, text(name="SMB"), key="3", action="update", expected=held)
    with pytest.raises(RevisionConflict):
        await put(stored, ACME_ADMIN, text(name="X"), key="4", expected=held)
    assert await stored.catalog.delete_instance(ACME_ADMIN, SALES, key="5")
    assert stored.now.instance(SALES) is None
    await stored.history.restore(ACME_ADMIN, "instance", SALES, 2, key="6")
    found = stored.now.instance(SALES)
    assert found is not None
    assert found.title == "SMB"
    kept = await stored.history.revisions(ACME_ADMIN, "instance", SALES)
    assert [one.number for one in kept] == [4, 3, 2, 1]
    audit = await stored.history.audit(ACME_ADMIN, Target("instance", "acme"))
    assert [(one.action, one.kind, one.field_changed) for one in audit][::-1] == [
        ("create instance", "instance", ""),
        ("update instance", "instance", "name"),
        ("delete instance", "instance", ""),
        ("restore instance", "instance", ""),
    ]
    assert {one.account for one in audit} == {"acme"}


async def test_only_who_may_write_in_an_account_changes_its_instances(stored: Folder) -> None:
    grants = (
        RoleGrant(role="instance_manager", account="acme"),
        RoleGrant(role="account_manager", account="acme"),
        RoleGrant(role="client_contact", account="acme", scope="client", client="nike"),
    )
    for number, grant in enumerate(grants):
        with pytest.raises(Denied):
            await put(stored, Actor("api:acme:x", (grant,)), text(), key=f"d{number}")
    other = Actor("api:beta:x", (RoleGrant(role="instance_admin", account="beta"),))
    with pytest.raises(Denied):
        await put(stored, other, text(), key="o")
    with pytest.raises(Denied):
        await stored.history.revisions(other, "instance", SALES)
    with pytest.raises(ReasonMissing):
        await put(stored, ENGINEER, text(), key="e")
    await put(stored, ENGINEER, text(), key="e2", why=Why("they asked for it"))
    assert stored.now.instance(SALES)


async def test_what_a_file_sets_is_changed_only_there_also_while_it_is_bad(stored: Folder) -> None:
    path = stored.put()
    await stored.until(lambda now: now.instance(SALES))
    with pytest.raises(Owned, match=f"{path}"):
        await put(stored, ACME_ADMIN, text(name="X"), key="1")
    stored.write("acme/broken", "agent_type: 5\n")
    await stored.until(lambda now: now.document.errors)
    broken = text(instance_name="broken")
    with pytest.raises(Owned):
        await put(stored, ACME_ADMIN, broken, "acme/broken", key="2")
    shutil.rmtree(path.parent)
    await stored.until(lambda now: now.instance(SALES) is None)
    await put(stored, ACME_ADMIN, text(name="Mine"), key="3")
    path = stored.put(name="File")
    snapshot = await stored.until(lambda now: now.document.instances[SALES].operator)
    assert any("it is overridden by" in str(one) for one in snapshot.problems)


async def test_a_stored_instance_may_replace_the_packaged_one(stored: Folder) -> None:
    id, given = "default/simple-chat", text(account="default", instance_name="simple-chat")
    assert stored.now.document.instances[id].document == PACKAGED
    await put(stored, ENGINEER, given, id, key="1")
    found = stored.now.instance(id)
    assert found is not None
    assert found.agent_type == "sales_agent"
    assert await stored.catalog.delete_instance(ENGINEER, id, key="2")
    assert stored.now.document.instances[id].document == PACKAGED
    await stored.history.note_all()
    audit = await stored.history.audit(ENGINEER, Target("instance"))
    assert "simple-chat" not in {one.entity_id for one in audit if one.action == "load"}


async def test_an_account_reaches_only_agents_that_the_operator_offers(stored: Folder) -> None:
    with pytest.raises(DocumentErrors) as refused:
        await put(stored, ACME_ADMIN, text(agent_type="helper"), key="1")
    (problem,) = refused.value.problems
    assert problem.path == "agent_type"
    assert str(problem) == (
        "acme/sales-smb: account acme may not use the agent type helper; use one of: router, "
        "sales_agent, simple_chat, two-words; or ask the operator to offer it"
    )
    for number, agent_type in enumerate(("two-words", "two_words", "simple_chat")):
        await put(stored, ACME_ADMIN, text(agent_type=agent_type), key=f"t{number}")
    await put(stored, ENGINEER, text(agent_type="helper"), key="2", why=Why("for acme"))
    await put(stored, ACME_ADMIN, text(agent_type="helper", name="Ours"), key="3")
    stored.put("acme/by-file", agent_type="helper")
    await stored.until(lambda now: now.instance("acme/by-file"))
    more = text(agent_type="helper", instance_name="more")
    await put(stored, ACME_ADMIN, more, "acme/more", key="4")
    beta = Actor("api:beta:x", (RoleGrant(role="instance_admin", account="beta"),))
    given = text(agent_type="helper", account="beta")
    with pytest.raises(DocumentErrors):
        await put(stored, beta, given, "beta/sales-smb", key="5")


async def test_an_agent_that_hides_a_built_in_type_is_not_offered_by_its_name(
    tmp_path: Path, valkey: Valkey
) -> None:
    agents = {"agents": [{"id": "simple_chat", "name": "Ours"}, {"id": "x", "name": "X"}]}
    async with opened(tmp_path / "configs", valkey, agents) as folder:
        assert folder.now.offered_types("acme") == ["router", "sales_agent"]
        with pytest.raises(DocumentErrors):
            await put(folder, ACME_ADMIN, text(agent_type="simple_chat"), key="1")


async def test_the_store_takes_only_models_that_are_allowed(tmp_path: Path, valkey: Valkey) -> None:
    async with opened(tmp_path / "configs", valkey) as folder:
        with pytest.raises(DocumentErrors, match=r"use one of: .*file-model") as refused:
            await put(folder, ACME_ADMIN, text(llm={"model": "gpt-4"}), key="1")
        assert refused.value.problems[0].path == "llm.model"
        await put(folder, ACME_ADMIN, text(llm={"model": "file-model"}), key="2")
        folder.put("acme/by-file", llm={"model": "gpt-4"})
        await folder.until(lambda now: now.instance("acme/by-file"))
        await put(folder, ACME_ADMIN, text(llm={"model": "gpt-4"}), key="3")


async def test_who_binds_an_instance_of_another_account_needs_rights_there(
    stored: Folder,
) -> None:
    await put(stored, ACME_ADMIN, text(), key="1")
    binding = AgentBinding(agent_id=SALES, type=AgentBindingType.ChatId, binding_key="5")
    own = Actor("tg:8", (RoleGrant(role="instance_admin"),))
    catalog = stored.catalog
    with pytest.raises(Denied, match="bind an instance of account acme"):
        await catalog.bind(own, binding, key="2")
    with pytest.raises(Denied):
        await catalog.put_document(own, "binding", binding.slot, binding.to_text(), key="3")
    both = Actor("tg:8", (*own.grants, *ACME_ADMIN.grants))
    await catalog.bind(both, binding, key="4")
    await catalog.bind(ENGINEER, binding, key="5")
    bot = BotIdentity("0" * 64, 7)
    assert stored.now.resolve(bot, 5, None).agent_id == SALES
    await catalog.delete_instance(ACME_ADMIN, SALES, key="6")
    assert stored.now.resolve(bot, 5, None).agent_id is None
    assert any("agent 'acme/sales-smb' does not exist" in one for one in stored.told())


async def test_a_template_becomes_an_instance(stored: Folder) -> None:
    files = stored.catalog.instances
    assert files is not None
    assert await files.template_names() == ["sales-agent-default", "simple-chat-default"]
    made = await files.from_template("sales-agent-default", "acme", "sales-smb")
    assert (made.id, made.agent_type) == (SALES, "sales_agent")
    own = stored.configs.parent / "templates"
    own.mkdir()
    (own / "sales-agent-default.yaml").write_text("agent_type: two-words\n")
    (own / "mine.yaml").write_text("agent_type: 5\n")
    assert await files.template_names() == ["mine", "sales-agent-default", "simple-chat-default"]
    made = await files.from_template("sales-agent-default", "acme", "sales-smb")
    assert made.agent_type == "two-words"
    with pytest.raises(DocumentErrors, match="agent_type"):
        await files.from_template("mine", "acme", "x")
    for unknown in ("nothing", "../../secret"):
        with pytest.raises(NotThere):
            await files.from_template(unknown, "acme", "x")


def test_a_tool_may_be_named_as_models_call_it() -> None:
    assert "mcp:time:get_current_time" in patterns_named("time__get_current_time")
    assert "skill:find" in patterns_named("skill__find")
    assert {"mcp:a:b__c", "mcp:a__b:c"} <= {*patterns_named("a__b__c")}
    assert patterns_named("__find__") == ("mcp:*:__find__", "skill:__find__", "mcp:__find__:*")
    assert patterns_named("mcp:a:b__c") == ("mcp:a:b__c",)
