"""docs/state.md lists every key of the store: those of the code, and those of a busy host."""

from __future__ import annotations

import importlib
import re

from bot.store import keys
from bot.store.client import connect
from bot.store.embedded import EmbeddedValkey
from registry.sources import stored_values as registry_keys
from registry.sources.redis import CHANGED
from simulators.messages.turns import turn
from tests.host.menus import MenuUser
from tests.host.stage import Stage, until
from tests.host.tool_agent import PATIENCE, ToolAgent, write
from tests.state_page import channels, compared_with, documented

RARE = {
    "access:claim",  # of a host without an admin
    "access:grants",  # of an older version
    "access:made:<key>",  # of a claim
    "access:tries:<person>",
    "access:version",  # of an older version
    "agent:audit",  # of an older version
    "agent:instance:<account>/<name>",  # of a host whose accounts make some
    "agent:llm-config:<name>",  # of a host with profiles in its store
    "agent:profile:<name>",  # of the same
    "agent:bot:<id>",  # of a host to which people add bots
    "agent:key:<id>",  # of a host with an API
    "agent:preset:<person>",  # of people who made some
    "agent:proposal:<agent>",  # of a host where a second person reviews
    "agent:role:<person>",  # of a host whose admins are not all in ADMINS
    "api:answer:<digest>",
    "api:key-use:<id>",
    "api:running:<digest>",
    "api:approvals:<account>",  # of conversations over HTTP
    "api:secret",
    "api:sign-in-link:<digest>",
    "api:sign-in:<digest>",
    "api:turn:<turn>",
    "approval:cards:<nonce>",
    "lines:due",
    "webhooks:due",  # of tasks with a webhook
    "{<line>}:artifact:<id>",  # of tools that give files over HTTP
    "{<line>}:events:<turn>",
    "{<line>}:session",
    "{<line>}:closed:<chat>",  # of a group in which the bot may not write
    "{<line>}:newbot:<person>",
    "{<line>}:dead",  # of a turn that ends the host again and again
    "{<line>}:failing",  # of a part that met 5xx or no answer
    "{<line>}:frozen",  # of a chat that Telegram told to wait
}
CHANNELS = {keys.NOTIFICATIONS, keys.LINES_FREE, CHANGED}


def _texts_of(module: object) -> set[str]:
    """The constants of a module that are texts."""
    return {v for name, v in vars(module).items() if name.isupper() and isinstance(v, str)}


def test_the_page_lists_the_keys_of_the_code_and_no_others() -> None:
    rows = [row.pattern for row in documented()]
    assert len(rows) == len(set(rows))
    kinds = {kind.pattern for kind in vars(keys).values() if isinstance(kind, keys.Key)}
    ours = kinds | _texts_of(keys) - CHANNELS
    prefix = registry_keys.PREFIX
    registry = {name for name in _texts_of(registry_keys) if name.startswith(prefix)} - {prefix}
    assert ours == {row for row in rows if not row.startswith(prefix)}
    assert registry == {re.sub("<.*", "", row) for row in rows if row.startswith(prefix)}


def test_the_page_lists_the_channels_of_the_code_and_no_others() -> None:
    assert sorted(channels()) == sorted(CHANNELS)


def test_every_owner_on_the_page_is_a_package_or_a_module() -> None:
    for owner in {row.owner for row in documented()}:
        importlib.import_module(owner)


async def test_a_busy_host_leaves_only_keys_that_the_page_lists(stage: Stage) -> None:
    agent = ToolAgent(stage)
    boss, ann, zoe = (stage.person(name) for name in ("Boss", "Ann", "Zoe"))
    office, room, outside = (agent.room(person) for person in (boss, ann, zoe))
    team = stage.world.group("Team", [boss, agent.bot])
    stage.environ |= {
        "ACCESS": "request",
        "ADMINS": str(boss.id),
        "LIMITS__RESULTCHARACTERS": "1000",
        "LIMITS__AGENTREQUESTSPERMINUTE": "1000",
        "BUDGETS__PERSON__TOKENS": "1000000",
    }
    stage.script.on(turn("Hello.", gate="held"), user="hold")
    stage.script.on("Hello.", user="hello", again=True)
    stage.script.on(write("x" * 2000), "It is long.", user="long")
    stage.script.on(write("more"), user="more")
    redis = connect(EmbeddedValkey(stage.folder / "data", "everysec").url)
    try:
        async with agent.host():
            await stage.ask(boss, office, agent.bot, "hello", PATIENCE)
            for person, place in ((ann, room), (zoe, outside)):  # strangers
                stage.world.say(person, place, "hello")
            await agent.until(lambda: len(agent.asked(office)) == 2)
            card = next(m for m in agent.asked(office) if "Ann" in m.text)
            agent.press(boss, office, card, "Allow")
            await agent.said(room, "You have been let in")
            stage.world.say(ann, room, "a long one")
            agent.press(ann, room, await agent.question(room), "Always for this chat")
            await agent.said(room, "It is long.")
            stage.world.say(boss, office, "one more")
            await agent.until(lambda: any("May I" in m.text for m in agent.asked(office)))
            await stage.ask(
                boss,
                office,
                agent.bot,
                '/addagent {"id": "poet", "name": "Poet", "mcpServerEndpoints": []}',
            )
            await stage.ask(boss, office, agent.bot, f"/bind poet user {boss.id}")
            menu = MenuUser(stage, boss, agent.bot, office)
            await menu.open("/newagent Keeper")
            await redis.set(registry_keys.DEFAULT, "poet")
            await redis.set(f"{registry_keys.DEFINITION}broken", "{")
            await agent.said(office, "The agents have a problem")
            stage.world.migrate(team)
            stage.world.say(ann, room, "hold on")
            await until(lambda: any("hold on" in str(r) for r in stage.requests()), PATIENCE)
            found, wrong = await compared_with(redis)
            stage.sim.gates.open("held")
    finally:
        await redis.aclose()
    assert wrong == []
    assert {row.pattern for row in documented()} - found == RARE
