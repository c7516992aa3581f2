"""The registry with 10,000 agents, bindings and people with presets: a look-up, and a change."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import AGENT, Stage, stored
from registry.snapshot import Snapshot

if TYPE_CHECKING:
    from bot.agents.resolver import AgentResolver
    from bot.messages import LineContext

MANY = 10_000
FEW = 4_000
"""People who write: as many as the host keeps between two changes."""
LOOKS = 20_000  # the first half of them meets every agent for the first time
CHANGES = 9
HOW = (
    f"{MANY:,} agents and {MANY:,} bindings of chats and persons in a real Valkey, read by the "
    "catalog as the host reads it. A look-up is a full resolution: binding, agent, effective "
    "settings and plan; the first one of an agent after a change merges its layers. A change is a "
    "plain SET of one agent by another client, until the catalog shows it. Beside that, in the "
    f"same minute, {MANY:,} people with a preset of one agent, in their private chats: the look-up "
    "of an agent under a preset, against that of the agent itself, and what the host's memory "
    "grew by when the presets were read."
)


async def measure(stage: Stage) -> Section:
    """Fill the store, open the catalog, look up, change."""
    async with stored(stage) as url:
        return await _measured(url)


async def _measured(url: str) -> Section:
    from redis.asyncio import Redis

    from registry.catalog import Catalog
    from registry.sources.file import FileSource
    from registry.sources.redis import RedisStore

    client = Redis.from_url(url)
    await _fill(client)
    began = time.perf_counter()
    catalog = Catalog(FileSource(None), RedisStore(client))
    await catalog.open()
    opened = time.perf_counter() - began
    try:
        looks = _looked_up(catalog)
        presets = await _under_presets(catalog, client)
        changes = [await _changed(catalog, client, number) for number in range(CHANGES)]
    finally:
        await catalog.close()
        await client.aclose()
    first, later = looks[:MANY], looks[MANY:]
    section = Section("The registry with 10,000 agents", HOW)
    row = [
        short(opened),
        f"{median(first) * 1e6:.1f} / {quantile(first, 0.95) * 1e6:.1f}",
        f"{median(later) * 1e6:.1f} / {quantile(later, 0.95) * 1e6:.1f}",
        f"{median(changes) * 1e3:.0f} / {max(changes) * 1e3:.0f}",
    ]
    head = [
        "opened, s",
        "first look-up µs, median / p95",
        "later ones",
        "change seen after ms, median / worst",
    ]
    section.tables.append(Table(head, [row]))
    bare, first_of, later_of, grown = presets
    head = [
        "the agent itself µs, median",
        "under a preset, first µs, median / p95",
        "later ones",
        "against the agent itself",
        "memory of a person's preset, KB",
    ]
    row = [
        f"{median(bare) * 1e6:.1f}",
        f"{median(first_of) * 1e6:.1f} / {quantile(first_of, 0.95) * 1e6:.1f}",
        f"{median(later_of) * 1e6:.1f} / {quantile(later_of, 0.95) * 1e6:.1f}",
        f"{median(later_of) / median(bare):.2f}×",
        f"{grown / MANY / 1024:.1f}",
    ]
    section.tables.append(Table(head, [row]))
    section.bars = [
        Bar("4 · look-up with 10,000 agents and bindings", median(later) * 1e6, 50, "µs"),
        Bar("4 · a change is seen after (worst)", max(changes), 1, "s"),
    ]
    return section


async def _fill(client: object) -> None:
    from redis.asyncio import Redis

    from registry.sources.stored_values import BINDING, DEFINITION

    assert isinstance(client, Redis)
    kinds = ("ChatId", "UserId")
    for at in range(0, MANY, 500):
        pipe = client.pipeline(transaction=False)
        for n in range(at, at + 500):
            pipe.set(f"{DEFINITION}agent-{n}", json.dumps(AGENT | {"id": f"agent-{n}"}))
            kind, key = kinds[n % 2], str(10_000_000 + n)
            binding = {"agentId": f"agent-{n}", "type": kind, "bindingKey": key}
            pipe.set(f"{BINDING}{kind.lower()}:{key}", json.dumps(binding))
        await pipe.execute()


def _resolver(catalog: object) -> tuple[AgentResolver, LineContext]:
    from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
    from bot.messages import Fence, LineContext
    from bot.ops.redaction import Secrets
    from registry.binding import BotIdentity
    from registry.catalog import Catalog
    from registry.definition import LlmConfiguration

    assert isinstance(catalog, Catalog)
    rules = HostRules(LlmConfiguration(model="claude-haiku-5-5", max_tokens=100))
    agents = AgentResolver(catalog, rules, SecretReferences({}, (), Secrets()))
    identity = BotIdentity("0" * 64, 7_000_001, "bench_bot")
    fence = Fence("bot:7000001", 1)
    return agents, LineContext(fence, identity, None)  # type: ignore[arg-type]


def _looked_up(catalog: object) -> list[float]:
    """Seconds of each look-up, over chats and persons that are bound and some that are not."""
    from bot.messages import Address, User

    agents, line = _resolver(catalog)
    found = []
    for n in range(LOOKS):
        bound = 10_000_000 + n % MANY
        chat, user = (bound, 5) if n % 2 == 0 else (5, bound)
        address, person = Address(7_000_001, chat), User(user, "Ann")
        began = time.perf_counter()
        _, agent = agents.resolve(line, address, person)
        found.append(time.perf_counter() - began)
        assert agent is not None, n
    return found


async def _under_presets(
    catalog: object, client: object
) -> tuple[list[float], list[float], list[float], int]:
    """Seconds of look-ups of an agent, of first and later ones under presets; bytes they cost."""
    from redis.asyncio import Redis

    from registry.catalog import Catalog
    from registry.sources.stored_values import DEFINITION

    assert isinstance(catalog, Catalog)
    assert isinstance(client, Redis)
    offered = AGENT | {"id": "offered", "template": True}
    await client.set(DEFINITION + "offered", json.dumps(offered))
    await client.set("agent:default", '"offered"')
    await catalog.until(lambda now: now.default == "offered")
    bare = _looked_up_in_private(catalog, FEW, 2)[FEW:]
    before = resident()
    pipe = client.pipeline(transaction=False)
    for n in range(MANY):
        owner = f"tg:{30_000_000 + n}"
        preset = {"id": "0a" * 6, "instance_name": "mine", "base_agent_name": "offered"}
        preset["system_prompt_append"] = "Always cite sources in APA format."
        value = {"owner": owner, "presets": [preset], "default": "0a" * 6}
        pipe.set(f"agent:preset:{owner}", json.dumps(value))
    await pipe.execute()
    await catalog.until(lambda now: len(now.document.presets) == MANY)
    grown = resident() - before
    first = _looked_up_in_private(catalog, FEW, 1)
    later = _looked_up_in_private(catalog, FEW, 2)[FEW:]
    return bare, first, later, grown


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * resource.getpagesize()


def _looked_up_in_private(catalog: object, people: int, times: int) -> list[float]:
    """Seconds of the look-ups of people in their private chats, where nothing is bound."""
    from bot.messages import Address, User

    agents, line = _resolver(catalog)
    found = []
    for n in range(people * times):
        person = 30_000_000 + n % people
        began = time.perf_counter()
        _, agent = agents.resolve(line, Address(7_000_001, person), User(person, "Ann"))
        found.append(time.perf_counter() - began)
        assert agent is not None, n
    return found


async def _changed(catalog: object, client: object, number: int) -> float:
    from redis.asyncio import Redis

    from registry.catalog import Catalog
    from registry.sources.stored_values import DEFINITION

    assert isinstance(catalog, Catalog)
    assert isinstance(client, Redis)
    name, id = f"Changed {number}", f"agent-{number}"

    def seen(snapshot: Snapshot) -> bool:
        agent = snapshot.agent(id)
        return agent is not None and agent.name == name

    began = time.perf_counter()
    await client.set(DEFINITION + id, json.dumps(AGENT | {"id": id, "name": name}))
    await catalog.until(seen)
    return time.perf_counter() - began
