"""The tools of one turn: what is offered, what is decided about a call, and how it is made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bot.hosting.leases import HostIdentity, Leases
from bot.mcp.pool import Pool
from bot.mcp.tool_spec import Tool
from bot.messages import Fence, TurnRef
from bot.ops.logging import Counters
from bot.ops.tasks import SystemClock
from bot.skills.api import SkillContext, skill
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec, Weighed
from bot.store.client import StoreClient, connect
from bot.tools import calls
from bot.tools.cache import CachedTools, ToolResultCache
from bot.tools.calls import HOST, SKILL, Call, FoundTool, Remainder, Result, SkillTools
from bot.tools.policy import CallContext
from bot.tools.read_more import READ_MORE, TruncatedResults, TruncatedTools
from bot.tools.toolset import PinnedTools, ToolPermissions, Toolset, ToolsetFactory
from registry.skill import CacheRule
from simulators.testing.valkey import Valkey
from tests.agents.resolving import resolving

REF = TurnRef("1-0", "5", "echo")
ANN = CallContext(person=5, agent="echo")
CALLER = SkillContext("default", "5", "bot:1/5", "echo")
READ = Call("c1", "files__read", "files", "read", {"path": "a"})


@skill
async def stock(article: str) -> str:
    """How many pieces of an article are in stock."""
    return f"3 of {article}"


@skill
async def sell(article: str) -> str:
    """Sell an article."""
    return "x" * 5000


def skills(*names: str, **more: Any) -> list[dict[str, Any]]:
    internal = {"executionType": "internal", **more}
    return [{"name": name, "internalHandler": name, **internal} for name in names]


@dataclass
class Files:
    """The tools of a server `files`: one that reads, and what it was asked."""

    result: Result = field(default_factory=lambda: Result("text"))
    definition: str = "first"
    cache: CacheRule | None = None
    calls: list[Call] = field(default_factory=list)

    def offered(self) -> Sequence[Tool | SkillSpec]:
        return [Tool("files", "read", "Reads.", {})]

    def find(self, call: Call) -> FoundTool | None:
        if call.server != "files":
            return None
        return FoundTool(None, self.definition, cache=self.cache, identity=("files",))

    async def misfit(self, call: Call) -> str | None:
        return None

    async def weigh(self, call: Call) -> Weighed:
        return Weighed()

    async def call(self, call: Call, _seconds: float) -> Result:
        self.calls.append(call)
        return self.result


@contextlib.asynccontextmanager
async def toolset(
    folder: Path,
    document: Mapping[str, Any],
    today: ToolPermissions | None = None,
    *,
    gone: bool = False,
) -> AsyncIterator[Toolset]:
    """The toolset of an agent with skills; `today` are its permissions by now."""
    handlers = {"stock": stock, "sell": sell}
    agents = {"agents": [{"id": "echo", "name": "Echo", "mcpServers": [], **document}]}
    clock, runner = SystemClock(), SkillRunner()
    client = StoreClient(connect("redis://127.0.0.1:1"), clock)
    factory = ToolsetFactory(
        Pool(clock), runner, ToolResultCache(clock, Counters()), TruncatedResults(client)
    )
    async with resolving(folder, agents, handlers=handlers) as resolver:
        agent = resolver.current("echo")
    assert agent is not None
    permissions = agent.tools
    try:
        yield factory.make(
            permissions,
            lambda: None if gone else today or permissions,
            ANN,
            fence=Fence("bot:1", 1),
            ref=REF,
            result_chars=1000,
        )
    finally:
        await runner.close()
        await client.close()


def skill_call(name: str, arguments: Any = None) -> Call:
    return Call("c1", name, SKILL, name, {"article": "tea"} if arguments is None else arguments)


async def test_what_is_offered_is_sorted_and_each_wire_name_has_one_meaning(tmp_path: Path) -> None:
    async with toolset(tmp_path, {"skills": skills("stock", "sell")}) as tools:
        offered, names = tools.offer()
    assert [tool["name"] for tool in offered] == ["skill__sell", "skill__stock", READ_MORE]
    assert names["skill__stock"] == (SKILL, "stock")
    assert names[READ_MORE] == (HOST, READ_MORE)
    assert set(names) == {tool["name"] for tool in offered}


@pytest.mark.parametrize(
    ("document", "offered"),
    [
        ({}, []),
        ({"toolPolicy": {"disabledTools": ["stock"]}}, []),
        ({"toolPolicy": {"disabledTools": [f"host:{READ_MORE}"]}}, ["skill__stock"]),
    ],
    ids=["no tools", "all denied", "no reading on"],
)
async def test_what_is_denied_is_not_offered_and_reading_on_only_beside_a_tool(
    tmp_path: Path, document: dict[str, Any], offered: list[str]
) -> None:
    own = {"skills": skills("stock")} if document else {}
    async with toolset(tmp_path, own | document) as tools:
        assert [tool["name"] for tool in tools.offer()[0]] == offered


async def test_a_call_is_refused_with_its_reason(tmp_path: Path) -> None:
    document = {"skills": skills("stock", "sell"), "toolPolicy": {"disabledTools": ["sell"]}}
    async with toolset(tmp_path, document) as tools:
        refusals = {
            call.name: tools.decide(call).refusal
            for call in (
                skill_call("unknown"),
                replace(skill_call("stock"), name="no object", arguments=[1]),
                replace(skill_call("stock"), name="not plain", invalid="a number too long"),
                skill_call("sell"),
            )
        }
        assert tools.decide(skill_call("stock")).refusal is None
    told = {name: json.loads(one.content) for name, one in refusals.items() if one is not None}
    assert told == {
        "unknown": {"error": "Unknown tool: unknown"},
        "no object": {"error": calls.NOT_OBJECT},
        "not plain": {"error": calls.NOT_PLAIN.format("a number too long")},
        "sell": {"error": "Access denied", "note": calls.NOT_ALLOWED},
    }


async def test_what_was_taken_away_since_the_turn_began_is_refused(tmp_path: Path) -> None:
    own = {"skills": skills("stock")}
    for today, gone, reason in (
        (ToolPermissions(), False, calls.NO_LONGER),
        (None, True, calls.AGENT_GONE),
    ):
        async with toolset(tmp_path, own, today, gone=gone) as tools:
            refusal = tools.decide(skill_call("stock")).refusal
            assert refusal is not None
            assert json.loads(refusal.content) == {"error": reason}


async def test_a_call_of_unknown_outcome_needs_approval_unless_it_may_run_twice(
    tmp_path: Path,
) -> None:
    cached = skills("stock", cache={"scope": "agent", "ttlSeconds": 60})
    async with toolset(tmp_path, {"skills": [*cached, *skills("sell")]}) as tools:
        selling, asking = skill_call("sell"), skill_call("stock")
        uncertain = {selling.digest, asking.digest}
        assert not tools.decide(selling).needs_approval
        decision = tools.decide(selling, uncertain)
        assert (decision.needs_approval, decision.always) == (True, False)
        assert not tools.decide(asking, uncertain).needs_approval
        assert (tools.is_repeatable(asking), tools.is_repeatable(selling)) == (True, False)


async def test_a_skill_with_the_name_of_a_servers_tool_is_left_out_and_not_run(
    tmp_path: Path,
) -> None:
    read = {"name": "READ", "executionType": "internal", "internalHandler": "stock"}
    async with toolset(tmp_path, {"skills": [read, *skills("sell")]}) as made:
        own = made.permissions.skills
    runner = SkillRunner()
    tools = SkillTools(Files(), runner, own, CALLER, result_chars=1000)
    assert [tool.name for tool in tools.offered()] == ["read", "sell"]
    found = tools.find(skill_call("READ"))
    assert found is not None
    assert found.refusal == calls.NAME_TAKEN
    long = await tools.call(skill_call("sell"), 5.0)
    assert [len(long.content), long.rest and long.rest.key] == [2, "skill:sell"]
    assert (await tools.call(READ, 5.0)).content == "text"
    await runner.close()


async def test_an_approved_call_reaches_no_tool_but_the_one_that_was_approved() -> None:
    files = Files()
    tools = PinnedTools(files)
    assert (await tools.call(replace(READ, approved="first"), 5.0)).content == "text"
    files.definition = "second"
    refused = await tools.call(replace(READ, approved="first"), 5.0)
    assert (refused.error, json.loads(refused.content)) == (True, {"error": calls.NO_LONGER})
    assert (await tools.call(READ, 5.0)).content == "text"
    assert len(files.calls) == 2


async def test_only_results_of_tools_that_may_be_cached_are_used_again() -> None:
    files, cache = Files(), ToolResultCache(SystemClock(), Counters())
    tools = CachedTools(files, cache, CALLER)
    for rule, count in ((None, 2), (CacheRule(scope="agent", ttl_seconds=60), 1)):
        files.cache = rule
        files.calls.clear()
        results = [await tools.call(READ, 5.0) for _ in range(2)]
        assert [result.content for result in results] == ["text", "text"]
        assert len(files.calls) == count


async def test_what_was_cut_off_is_kept_and_the_model_is_told_how_to_read_on(
    valkey: Valkey,
) -> None:
    client = StoreClient(connect(valkey.url), SystemClock())
    leases = Leases(client, HostIdentity.new("a", ""), SystemClock())
    fence = await leases.acquire("bot:1", lambda: None)
    assert fence is not None
    rest = Remainder("mcp:files:read", "the rest")
    files = Files(Result([{"type": "text", "text": "the beginning"}], rest=rest))
    tools = TruncatedTools(files, TruncatedResults(client), fence, REF, 1000)
    cut = await tools.call(READ, 5.0)
    handle = cut.content[-1]["text"].split('"handle": "')[1][:10]
    on = Call("c2", READ_MORE, HOST, READ_MORE, {"handle": handle})
    found = tools.find(on)
    assert found is not None
    assert found.repeatable
    piece = await tools.call(on, 5.0)
    assert piece.content.startswith("the rest\n")
    assert piece.read_from == "mcp:files:read"
    assert len(files.calls) == 1
    await client.close()
