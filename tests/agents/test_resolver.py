"""What a resolver makes of an agent's document, under the rules of its host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.agents.resolver import RunnableAgent
from bot.messages import Address, Attribution, LineContext, User
from bot.ops.redaction import Secrets
from bot.safety.output_filter import OutputFilter
from bot.store import keys
from bot.usage.budgets import Spender, spend_limit
from registry.agent_limits import TurnLimits
from registry.binding import BotIdentity
from registry.snapshot import Snapshot
from tests.agents.resolving import HOST, resolving

ANN = User(5, "Ann")
LINE = LineContext(None, BotIdentity("0" * 64, 7, "echo_bot"), None)  # type: ignore[arg-type]


def echo(**more: Any) -> dict[str, Any]:
    return {
        "agents": [{"id": "echo", "name": "Echo", "mcpServers": [], **more}],
        "defaultAgentId": "echo",
    }


async def made(folder: Path, **more: Any) -> RunnableAgent:
    async with resolving(folder, echo(**more)) as agents:
        found = agents.current("echo")
    assert found is not None
    return found


async def test_who_runs_is_one_value_with_the_account_the_agent_and_its_revision(
    tmp_path: Path,
) -> None:
    first = await made(tmp_path)
    changed = await made(tmp_path, description="Another one.")
    assert first.attribution == Attribution("default", "echo", first.effective.revision)
    assert first.attribution.revision != changed.attribution.revision
    assert (first.id, first.name, first.model) == ("echo", "Echo", "host-model")


async def test_an_agent_has_the_lower_limits_and_budgets_and_the_stricter_filter(
    tmp_path: Path,
) -> None:
    rules = replace(
        HOST,
        limits=TurnLimits(iterations=5, toolcalls=8),
        budgets={"person": spend_limit(1000, None), "host": spend_limit(9000, None)},
        filter=OutputFilter(topics=("war",), personal="warn"),
    )
    document = echo(
        safetyConfig={"maxIterations": 9, "maxToolCallsPerTurn": 3, "blockedTopics": ["tax"]},
        costConfig={"budgets": {"person": {"tokens": 50}, "chat": {"tokens": 70}}},
    )
    async with resolving(tmp_path, document, rules) as agents:
        agent = agents.current("echo")
    assert agent is not None
    assert (agent.limits.requests, agent.limits.calls) == (5, 3)
    tokens = {kind: limit.tokens for kind, limit in agent.budgets.items()}
    assert tokens == {"person": 50, "host": 9000, "chat": 70}
    assert agent.filter.topics == ("war", "tax")
    assert agent.filter.personal == "redact"


async def test_a_server_whose_secret_is_missing_is_left_out_and_a_known_one_is_redacted(
    tmp_path: Path,
) -> None:
    secrets = Secrets()
    rules = replace(HOST, filter=OutputFilter(secrets=secrets))
    servers = {
        "files": {"command": "files", "env": {"KEY": "${FILES_KEY}"}},
        "mail": {"command": "mail", "env": {"KEY": "${MAIL_KEY}"}},
    }
    document = {"mcpServers": servers, **echo(mcpServers=["files", "mail"])}
    environ = {"FILES_KEY": "a-long-secret-of-files"}
    async with resolving(tmp_path, document, rules, environ) as agents:
        agent = agents.current("echo")
    assert agent is not None
    assert [server.name for server in agent.tools.servers] == ["files"]
    assert "a-long-secret" not in rules.filter.redact_output("it is a-long-secret-of-files")


def is_changed(snapshot: Snapshot) -> bool:
    agent = snapshot.agent("echo")
    return agent is not None and agent.description == "Another one."


async def test_an_agent_is_made_once_until_the_agents_change(tmp_path: Path) -> None:
    async with resolving(tmp_path, echo()) as agents:
        first = agents.current("echo")
        assert agents.current("echo") is first
        changed = json.dumps(echo(description="Another one."))
        (tmp_path / "agents.json").write_text(changed)
        await agents.catalog.until(is_changed)
        second = agents.current("echo")
    assert first is not None
    assert second is not None
    assert second.effective.revision != first.effective.revision


async def test_a_group_that_became_a_supergroup_keeps_its_agent(tmp_path: Path) -> None:
    document = echo()
    document["agents"].append({"id": "group", "name": "Group", "mcpServers": []})
    document["bindings"] = [{"agentId": "group", "type": "ChatId", "bindingKey": "-44"}]
    async with resolving(tmp_path, document) as agents:

        def answers(address: Address) -> str:
            found, agent = agents.resolve(LINE, address, ANN)
            assert agent is not None
            assert agent.id == found.agent_id
            return agent.id

        assert answers(Address(7, -44)) == "group"
        assert answers(Address(7, -100_55)) == "echo"
        assert answers(Address(7, -100_55, migrated_from=-44)) == "group"


async def test_where_no_agent_answers_there_is_a_reason_and_no_agent(tmp_path: Path) -> None:
    async with resolving(tmp_path, {"agents": []}) as agents:
        found, agent = agents.resolve(LINE, Address(7, 5), ANN)
        assert agents.current("gone") is None
    assert agent is None
    assert found.why


async def test_in_place_of_a_removed_agent_one_without_tools_ends_the_turn(tmp_path: Path) -> None:
    servers = {"files": {"command": "files"}}
    async with resolving(tmp_path, {"mcpServers": servers, **echo(mcpServers=["files"])}) as agents:
        agent = agents.current("echo")
    assert agent is not None
    ending = agent.in_place_of("removed")
    assert (ending.id, ending.attribution.revision, ending.tools.servers) == ("removed", "", ())
    assert agent.tools.servers != ()


# --- instances -----------------------------------------------------------------------------------

ACME: dict[str, dict[str, Any]] = {
    "acme/sales": {"llm": {"temperature": 0.8}, "context_management": {"history_limit": 5}},
    "acme/lost": {"agent_type": "nobody"},
    "acme/auto": {"agent_type": "router"},
}


async def test_an_instance_runs_as_its_agent_for_its_account_under_its_own_name(
    tmp_path: Path,
) -> None:
    async with resolving(tmp_path, echo(), instances=ACME) as agents:
        base, agent = agents.current("echo"), agents.current("acme/sales")
    assert base is not None
    assert agent is not None
    revision = base.attribution.revision
    assert agent.attribution == Attribution("acme", "echo", revision, agent_instance="sales")
    assert (agent.id, agent.name, agent.model) == ("acme/sales", "Sales", "host-model")
    assert agent.effective.llm.temperature == 0.8
    assert (agent.most_turns, agent.read_turns) == (3, 3)
    assert (base.most_turns, base.read_turns) == (None, base.limits.history_turns)


async def test_an_address_may_name_an_instance_or_agent_and_the_reason_says_what_is_wrong_with_it(
    tmp_path: Path,
) -> None:
    async with resolving(tmp_path, echo(), instances=ACME) as agents:
        found = {
            id: agents.resolve(LINE, Address(0, 0, instance=id), ANN)
            for id in ("acme/sales", "acme/lost", "acme/none", "echo", "acme/auto/sales")
        }
    assert {id: agent.id if agent else None for id, (_, agent) in found.items()} == {
        "acme/sales": "acme/sales",
        "acme/lost": None,
        "acme/none": None,
        "echo": "echo",
        "acme/auto/sales": None,
    }
    assert {resolution.rule for resolution, _ in found.values()} == {"instance"}
    assert found["acme/lost"][0].why.endswith("is unknown: nobody")
    assert found["acme/none"][0].why == "the instance 'acme/none' does not exist"


async def test_an_instance_that_a_router_chose_keeps_both_names_also_once_it_is_gone(
    tmp_path: Path,
) -> None:
    async with resolving(tmp_path, echo(), instances=ACME) as agents:
        chosen, router = agents.current("acme/auto/sales"), agents.current("acme/auto")
        assert chosen is not None
        assert router is not None
        assert agents.is_router(router)
        assert not agents.is_router(chosen)
        assert [one.id for one in agents.routes(router)] == ["acme/sales"]
    assert (chosen.id, chosen.attribution.agent_instance) == ("acme/auto/sales", "sales")
    for id in ("acme/auto/gone", "acme/gone", "gone"):
        assert chosen.in_place_of(id).id == id
        assert chosen.in_place_of(id).tools.servers == ()
    names = {keys.transcript("l", "c", id) for id in (chosen.id, router.id)}
    assert names == {"{l}:conv:c:acme/auto:log"}


async def test_an_agents_budgets_count_in_each_account_on_its_own(tmp_path: Path) -> None:
    async with resolving(tmp_path, echo(), instances=ACME) as agents:
        made = [agents.current(id) for id in ("echo", "acme/sales")]
    scopes = [
        Spender("l", "c", 5, "1-0", one.attribution).scopes("2026-01-31") for one in made if one
    ]
    assert [one["agent"] for one in scopes] == [
        "agent:echo:2026-01-31",
        "agent:acme/echo:2026-01-31",
    ]
    assert [one["account"] for one in scopes] == [
        "account:default:2026-01-31",
        "account:acme:2026-01-31",
    ]
