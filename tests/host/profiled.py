"""Agents with profiles, in one host: what tests of profiles share."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bot.app import App
from simulators.messages.script import Answer
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.stage import PATIENCE, until
from tests.host.stage import CLOCK_SERVER, Stage, staged

Json = dict[str, Any]
CLOCK = {"time": CLOCK_SERVER}
ENVIRON = {"LIMITS__REQUESTSPERMINUTE": "1000"}
OBSERVER = """
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
"""
"""The observer of document 4, 2."""
PARTNER = """
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
"""
"""The flow of document 4, 3."""
POLICY = """
tool_access_policy:
  allowed_toolsets:
    - "planning_tools"
    - "monitoring_tools"
  allowed_individual_tools:
    - "LaunchPrincipalExecutionTool"
"""
"""The tool policy of document 4, 5."""


def write_profile(stage: Stage, name: str, text: str, **more: Any) -> None:
    """A profile as a file of the operator; `more` are further fields, as JSON."""
    folder = stage.folder / "agent_profiles" / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"name: {name}", *(f"{key}: {orjson.dumps(v).decode()}" for key, v in more.items())]
    (folder / f"{name.lower()}.yaml").write_text("\n".join([*lines, textwrap.dedent(text)]))


@dataclass(frozen=True, slots=True)
class Agent:
    """A bot whose agent has a profile, and Ann's chat with it; `told` marks its requests."""

    stage: Stage
    name: str
    bot: Bot
    ann: Person
    room: Room

    def script(self, *turns: Answer, again: bool = False) -> None:
        """What the model answers to this agent."""
        self.stage.script.on(*turns, system=f"You are {self.name}.", again=again)

    async def ask(self, text: str = "hello") -> str:
        """What the bot answers."""
        return await self.stage.ask(self.ann, self.room, self.bot, text)

    def say(self, text: str) -> None:
        """Ann writes, and nothing is waited for."""
        self.stage.world.say(self.ann, self.room, text)

    @property
    def texts(self) -> list[str]:
        """What the bot has said."""
        return self.stage.texts(self.room, self.bot.id)

    @property
    def requests(self) -> list[Json]:
        """The model requests of this agent."""
        mark = f"You are {self.name}."
        return [one for one in self.stage.requests() if mark in str(one["system"])]

    def newest(self, request: int = -1) -> list[Json]:
        """The blocks of the last message of a request."""
        content: list[Json] = self.requests[request]["messages"][-1]["content"]
        return content

    def asked(self, request: int = -1) -> list[str]:
        """Their texts, of those that are texts."""
        return [block["text"] for block in self.newest(request) if block["type"] == "text"]

    def everywhere(self, request: int = -1) -> str:
        """All that is in the messages of a request."""
        return str(self.requests[request]["messages"])


@dataclass(frozen=True, slots=True)
class House:
    """One host, and the agents in it."""

    stage: Stage
    agents: dict[str, Agent]
    host: App

    def __getitem__(self, name: str) -> Agent:
        return self.agents[name]

    async def idle(self) -> None:
        """Until the host has nothing to do."""
        for line in self.host.fleet.lines:
            await line.idle()

    async def records(self, agent: Agent, kind: str = "", *, http: bool = False) -> list[Json]:
        """What is recorded of its conversation, once it has nothing to do; or of all over HTTP."""
        await self.idle()
        store, name = self.host.store, agent.name.lower()
        if http:
            _, keys = await store.command("SCAN", 0, "MATCH", f"{{api:*:{name}:log", "COUNT", 10**6)
        else:
            keys = [f"{{bot:{agent.bot.id}}}:conv:{agent.ann.id}:{name}:log"]
        found = [one for key in keys for one in await store.command("XRANGE", key, "-", "+")]
        read = [(fields[b"k"].decode(), orjson.loads(fields[b"b"])) for _, fields in found]
        return [body for one, body in read if not kind or one == kind]

    async def seen(self, agent: Agent, *, http: bool = False) -> list[Json]:
        """The values that its rules saw in each phase, by their paths."""
        rules = await self.records(agent, "rules", http=http)
        return [phase["seen"] for body in rules for phase in body["phases"]]


def add_agent(stage: Stage, name: str, profile: str, text: str = "", **agent: Any) -> Agent:
    """A bot whose agent has a profile of this text."""
    if text:
        write_profile(stage, profile, text)
    bot, ann = stage.bot(name, profile=profile, **agent), stage.person(f"Ann of {name}")
    return Agent(stage, name, bot, ann, stage.world.private(ann, bot))


@contextlib.asynccontextmanager
async def housed(
    folder: Path,
    *agents: tuple[Any, ...],
    servers: Mapping[str, Any] = CLOCK,
    environ: Mapping[str, str] = ENVIRON,
) -> AsyncIterator[House]:
    """A host with these agents: each is a name, the text of its profile, and its fields."""
    async with staged(folder) as stage:
        stage.agents["mcpServers"] |= servers
        made: dict[str, Agent] = {}
        for name, text, *fields in agents:
            more = {"profile": f"Of{name}", **(fields[0] if fields else {})}
            made[name] = add_agent(stage, name, more.pop("profile"), text, **more)
        async with stage.host(**environ) as host:
            await until(lambda: all(s["state"] == "up" for s in host.report()["servers"]), PATIENCE)
            yield House(stage, made, host)
