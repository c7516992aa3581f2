"""The one door: snapshots, subscribers, writes with rights and replays, sources in their order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from registry.audit import AuditRecord
from registry.authorization import GUEST
from registry.binding import AgentBinding, BotIdentity
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration, servers_of
from registry.errors import (
    AlreadyThere,
    Denied,
    DocumentErrors,
    KeyReused,
    NotThere,
    Owned,
    ReasonMissing,
)
from registry.history import History
from registry.layers import Layer
from registry.roles import HOST_ADMIN, Actor, RoleGrant, Why
from registry.snapshot import Document, Entry, Snapshot, effective, merge_documents
from registry.sources.environment import read_environment
from registry.sources.file import FileSource
from registry.sources.json_yaml import read_document
from registry.sources.redis import RedisStore
from registry.sources.stored_values import CachedDocuments, Stored
from registry.validation import build, merge

ADMIN = Actor("tg:7", HOST_ADMIN)
BOT = BotIdentity("a" * 64, 123, "demobot")


def agent(agent_id: str = "x", **fields: Any) -> AgentDefinition:
    plain = {"id": agent_id, "name": agent_id, "mcpServerEndpoints": []}
    return AgentDefinition.model_validate({**plain, **fields})


def bound(key: str, to: str = "x") -> AgentBinding:
    value = {"agentId": to, "type": "ChatId", "bindingKey": key, "bot": "123"}
    return AgentBinding.model_validate(value)


async def told(catalog: Catalog) -> list[AuditRecord]:
    """The audit, newest first."""
    return await History(catalog).host_audit(ADMIN)


@pytest.fixture
async def catalog(tmp_path: Path, store: RedisStore) -> AsyncIterator[Catalog]:
    path = tmp_path / "agents.json"
    servers = {"time": {"command": "mcp-server-time"}, "docs": {"url": "https://d.example/sse"}}
    path.write_text(json.dumps({"agents": [agent("f").to_json()], "mcpServers": servers}))
    catalog = Catalog(FileSource(path), store, wall=lambda: 1.5)
    await catalog.open()
    yield catalog
    await catalog.close()


async def test_an_agent_is_created_read_updated_and_deleted(catalog: Catalog) -> None:
    made = await catalog.create_agent(ADMIN, agent(), key="1")
    assert catalog.get_agent("x") == made
    assert {one.id for one in catalog.get_all_agents()} == {"f", "x"}
    with pytest.raises(AlreadyThere):
        await catalog.create_agent(ADMIN, agent(), key="2")
    await catalog.update_agent(ADMIN, agent(name="New"), key="3")
    found = catalog.get_agent("x")
    assert found is not None
    assert found.name == "New"
    assert await catalog.delete_agent(ADMIN, "x", key="4") is True
    assert await catalog.delete_agent(ADMIN, "x", key="5") is False
    assert catalog.get_agent("x") is None
    with pytest.raises(NotThere):
        await catalog.update_agent(ADMIN, agent(), key="6")


async def test_a_snapshot_in_hand_never_changes(catalog: Catalog) -> None:
    before = catalog.snapshot()
    await catalog.create_agent(ADMIN, agent(), key="1")
    assert "x" not in before.agents
    assert "x" in catalog.snapshot().agents
    assert catalog.snapshot().number > before.number


async def test_a_bot_resolves_by_its_hash_then_to_the_default(catalog: Catalog) -> None:
    assert catalog.resolve_agent_id("a" * 64) == "f"  # the only agent of the file
    await catalog.set_default(ADMIN, "f", key="1")
    assert catalog.resolve_agent_id("a" * 64) == "f"
    await catalog.create_agent(ADMIN, agent(), key="2")
    value = {"agentId": "x", "type": "TelegramBot", "bindingKey": "A" * 64}
    await catalog.bind(ADMIN, AgentBinding.model_validate(value), key="3")
    assert catalog.resolve_agent_id("a" * 64) == "x"
    await catalog.set_default(ADMIN, None, key="4")
    assert catalog.snapshot().has_only_agent
    with pytest.raises(NotThere):
        await catalog.set_default(ADMIN, "nobody", key="5")


async def test_binding_again_replaces_and_unbinding_removes(catalog: Catalog) -> None:
    await catalog.create_agent(ADMIN, agent(), key="1")
    await catalog.bind(ADMIN, bound("5", "f"), key="2")
    await catalog.bind(ADMIN, bound("5", "x"), key="3")
    assert catalog.snapshot().resolve(BOT, 5, 1).agent_id == "x"
    assert await catalog.unbind(ADMIN, bound("5").slot, key="4") is True
    assert catalog.snapshot().resolve(BOT, 5, 1).rule == "default"
    assert await catalog.unbind(ADMIN, bound("5").slot, key="5") is False


async def test_a_deleted_agents_bindings_stay_and_are_told(catalog: Catalog) -> None:
    await catalog.create_agent(ADMIN, agent(), key="1")
    await catalog.bind(ADMIN, bound("5"), key="2")
    await catalog.delete_agent(ADMIN, "x", key="3")
    (problem,) = catalog.snapshot().problems
    assert problem.place == "agent:binding:chatid:5:bot:123"
    assert "inactive" in problem.message


async def test_a_replay_of_any_change_does_nothing(catalog: Catalog) -> None:
    for _ in range(2):
        await catalog.create_agent(ADMIN, agent(), key="1")
        await catalog.bind(ADMIN, bound("5"), key="2")
        await catalog.set_default(ADMIN, "x", key="3")
    await catalog.unbind(ADMIN, bound("5").slot, key="4")
    await catalog.bind(ADMIN, bound("5"), key="2")
    assert catalog.snapshot().resolve(BOT, 5, 1).rule == "default"
    assert [record.action for record in await told(catalog)] == [
        "unbind",
        "set default",
        "bind",
        "create agent",
    ]
    with pytest.raises(KeyReused):
        await catalog.bind(ADMIN, bound("6"), key="2")


async def test_who_may_not_is_refused_everywhere_and_the_audit_tells_it(catalog: Catalog) -> None:
    person = Actor("tg:666")
    for number, change in enumerate(
        (
            catalog.create_agent(person, agent(), key="1"),
            catalog.update_agent(person, agent("f"), key="2"),
            catalog.delete_agent(person, "f", key="3"),
            catalog.bind(person, bound("5"), key="4"),
            catalog.unbind(person, "chatid:5", key="5"),
            catalog.set_default(person, "f", key="6"),
        )
    ):
        with pytest.raises(Denied):
            await change
        newest = (await told(catalog))[0]
        assert newest.changed_by == "tg:666"
        assert newest.action.startswith("refused: ")
        assert newest.at == 1.5
        assert len(await told(catalog)) == number + 1
    assert set(catalog.snapshot().agents) == {"f"}


async def test_an_instance_admin_of_the_default_account_binds_and_makes_no_agent(
    catalog: Catalog,
) -> None:
    person = Actor("tg:5", (RoleGrant(role="instance_admin"),))
    await catalog.bind(person, bound("5"), key="1")
    with pytest.raises(Denied, match="only admins of the host may"):
        await catalog.create_agent(person, agent(), key="2")
    other = Actor("tg:5", (RoleGrant(role="instance_admin", account="acme"),))
    with pytest.raises(Denied, match="account default"):
        await catalog.bind(other, bound("6"), key="3")


async def test_support_writes_only_with_a_reason_and_the_audit_tells_it(catalog: Catalog) -> None:
    engineer = Actor("tg:5", (RoleGrant(role="spokestack_engineer", scope="host"),))
    with pytest.raises(ReasonMissing, match="give a reason or a ticket"):
        await catalog.bind(engineer, bound("5"), key="1")
    await catalog.bind(engineer, bound("5"), key="2", why=Why("they asked for it", "OPS-12"))
    record = (await told(catalog))[0]
    assert (record.change_reason, record.ticket_reference) == ("they asked for it", "OPS-12")
    assert record.support


async def test_what_the_file_owns_is_not_written(catalog: Catalog) -> None:
    for change in (
        catalog.create_agent(ADMIN, agent("f"), key="1"),
        catalog.update_agent(ADMIN, agent("f"), key="2"),
        catalog.delete_agent(ADMIN, "f", key="3"),
    ):
        with pytest.raises(Owned, match=r"agents\.json:1"):
            await change


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mcpServers": {"t": {"command": "sh"}}}, "only from the file"),
        ({"mcpServers": ["nowhere"]}, "no server 'nowhere'"),
        ({"customInstructions": "sk-ant-api03-abcdefghijklmnop"}, "in plain text"),
        ({"mcpServerEndpoints": ["http://10.0.0.1/sse"]}, "internal"),
    ],
)
async def test_a_change_is_validated_before_it_is_written(
    catalog: Catalog, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(DocumentErrors, match=words):
        await catalog.create_agent(ADMIN, agent(**fields), key="1")
    assert catalog.get_agent("x") is None
    assert not await told(catalog)


async def test_pasted_text_is_told_by_line(catalog: Catalog) -> None:
    with pytest.raises(DocumentErrors) as raised:
        await catalog.parse('{"id": "x",\n"nmae": "X"}')
    assert "message:2" in [problem.place for problem in raised.value.problems]
    parsed = await catalog.parse('{"id": "x", "name": "X", "mcpServers": ["time"]}')
    assert parsed.id == "x"


async def test_one_failing_subscriber_stops_no_other(catalog: Catalog) -> None:
    seen: list[Snapshot] = []

    def fails(_: Snapshot) -> None:
        raise ZeroDivisionError

    catalog.subscribe(fails)
    leave = catalog.subscribe(seen.append)
    await catalog.create_agent(ADMIN, agent(), key="1")
    assert [snapshot.agents["x"].value.id for snapshot in seen] == ["x"]
    leave()
    await catalog.delete_agent(ADMIN, "x", key="2")
    assert len(seen) == 1


async def test_waiting_for_a_snapshot_ends_when_it_comes(catalog: Catalog) -> None:
    waiting = asyncio.create_task(catalog.until(lambda s: "x" in s.agents))
    await catalog.create_agent(ADMIN, agent(), key="1")
    async with asyncio.timeout(10):
        assert "x" in (await waiting).agents


async def test_a_missing_server_is_told_and_the_agent_goes_on(
    redis: Redis, store: RedisStore
) -> None:
    await redis.set("agent:definition:x", agent(mcpServers=["gone"]).to_text())
    catalog = Catalog(FileSource(None), store)
    await catalog.open()
    (problem,) = catalog.snapshot().problems
    assert (problem.place, problem.level) == ("agent:definition:x", "warning")
    found = catalog.snapshot().effective("x", LlmConfiguration())
    assert found is not None
    assert found.servers == ()
    await catalog.close()


def test_an_agents_servers_are_named_by_key_and_by_host() -> None:
    shared = agent("s", mcpServers={"time": {"command": "t"}, "docs": {"url": "http://d/"}})
    assert isinstance(shared.mcp_servers, dict)
    top = shared.mcp_servers

    def names(**fields: Any) -> list[str]:
        return [server.name for server in servers_of(agent(**fields), top)]

    every = AgentDefinition.model_validate({"id": "e", "name": "E"})
    assert [server.name for server in servers_of(every, top)] == ["time", "docs"]
    assert every.to_json() == {"id": "e", "name": "E"}
    assert names() == []
    assert agent("e").to_json()["mcpServerEndpoints"] == []
    assert names(mcpServerEndpoints=["http://b/"]) == ["b"]
    assert names(mcpServers=[]) == []
    assert names(mcpServers=["docs"]) == ["docs"]
    assert names(mcpServers={"own": {"command": "o"}}) == ["own"]
    assert names(mcpServers=[], mcpServerEndpoints=["http://H.x:1/sse", "http://b/"]) == [
        "h.x",
        "b",
    ]
    doubled = ["http://h:1/sse", "https://h/sse", "http://b/"]
    assert names(mcpServers=[], mcpServerEndpoints=doubled) == ["h-1", "h-443", "b"]


def test_a_bare_host_that_two_endpoints_share_matches_neither_and_is_told() -> None:
    snapshot = Snapshot(
        1,
        build(
            merge(
                read_document(
                    json.dumps(
                        {
                            "agents": [
                                {
                                    "id": "a",
                                    "name": "A",
                                    "mcpServerEndpoints": ["http://h:1/sse", "http://h:2/sse"],
                                    "whitelistPatterns": ["mcp:h:*", "mcp:h-1:*", "mcp:*:read"],
                                }
                            ]
                        }
                    ),
                    "agents.json",
                ),
                read_environment({}),
            )
        ),
    )
    (problem,) = snapshot.review("a")
    assert ("'mcp:h:*'" in problem.message, problem.cure) == (
        True,
        "did you mean mcp:h-1:* or mcp:h-2:*?",
    )


def test_later_layers_replace_only_what_they_may() -> None:
    defaults = LlmConfiguration(model="host", max_tokens=1, temperature=0.1)
    tuning = [
        Layer("L5", LlmConfiguration(temperature=0.5), "preset"),
        Layer("L2", LlmConfiguration(model="not here", max_tokens=2), "account"),
        Layer("L4", LlmConfiguration(max_tokens=4), "client"),
    ]
    found = effective(defaults, Entry(agent(llmOverrides={"model": "own"}), "d", "d"), {}, tuning)
    assert (found.llm.model, found.layers["model"]) == ("own", "L1")
    assert (found.llm.max_tokens, found.origins["maxTokens"]) == (2, "account")
    assert (found.llm.temperature, found.layers["temperature"]) == (0.5, "L5")
    assert found.llm.reasoning_effort is None
    assert found.llm == LlmConfiguration(model="own", max_tokens=2, temperature=0.5)


IDS = st.sampled_from(["a", "b", "c"])
SOURCE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "agents": st.sets(IDS),
        "bindings": st.dictionaries(st.sampled_from("123"), IDS),
        "default": st.none() | IDS,
    }
)


class Source(TypedDict):
    """What one of the three sources says."""

    agents: set[str]
    bindings: dict[str, str]
    default: str | None


def as_file(source: Source, name: str) -> dict[str, object]:
    agents = [agent(one, name=name).to_json() for one in source["agents"]]
    bindings = [
        {"agentId": to, "type": "ChatId", "bindingKey": key}
        for key, to in source["bindings"].items()
    ]
    return {"agents": agents, "bindings": bindings, "defaultAgentId": source["default"]}


def as_environment(source: Source) -> dict[str, str]:
    environ = {"DEFAULTAGENTID": str(source["default"] or "")}
    for number, one in enumerate(source["agents"]):
        environ |= {f"AGENTS__{number}__ID": one, f"AGENTS__{number}__NAME": "environment"}
        environ[f"AGENTS__{number}__MCPSERVERENDPOINTS__0"] = "http://h/"
    for number, (key, to) in enumerate(source["bindings"].items()):
        head = f"BINDINGS__{number}__"
        environ |= {f"{head}AGENTID": to, f"{head}TYPE": "ChatId", f"{head}BINDINGKEY": key}
    return environ


def as_store(source: Source) -> Document:
    values: dict[str, Stored] = {"agent:default": source["default"]}
    for one in source["agents"]:
        values[f"agent:definition:{one}"] = agent(one, name="redis").to_text()
    for key, to in source["bindings"].items():
        value = {"agentId": to, "type": "ChatId", "bindingKey": key}
        values[f"agent:binding:chatid:{key}"] = json.dumps(value)
    cached = CachedDocuments(GUEST)
    cached.take(cached.read(values))
    return cached.document()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(SOURCE, SOURCE, SOURCE)
def test_of_any_three_sources_environment_wins_over_file_over_redis(
    environment: Source, file: Source, redis: Source
) -> None:
    draft = read_document(json.dumps(as_file(file, "file")), "agents.json")
    operator = build(merge(draft, read_environment(as_environment(environment))))
    document = merge_documents(operator, as_store(redis))
    order = {"environment": environment, "file": file, "redis": redis}
    wanted = {
        one: next(name for name, source in order.items() if one in source["agents"])
        for source in order.values()
        for one in source["agents"]
    }
    assert {one: entry.value.name for one, entry in document.agents.items()} == wanted
    slots: dict[str, str] = {}
    for source in reversed(order.values()):
        slots |= source["bindings"]
    bound = {entry.value.binding_key: entry.value.agent_id for entry in document.bindings.values()}
    assert bound == slots
    default = next((s["default"] for s in order.values() if s["default"]), None)
    if default is None and len(operator.agents) == 1 and not operator.bindings:
        default = next(iter(operator.agents))
    assert (document.default_agent_id.value if document.default_agent_id else None) == default
