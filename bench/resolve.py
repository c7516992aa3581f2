"""The registry with 10,000 agents and bindings: a look-up, and a change."""

from __future__ import annotations

import json
import time

from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import AGENT, Stage, stored
from registry.snapshot import Snapshot

MANY = 10_000
LOOKS = 20_000  # the first half of them meets every agent for the first time
CHANGES = 9
HOW = (
    f"{MANY:,} agents and {MANY:,} bindings of chats and persons in a real Valkey, read by the "
    "catalog as the host reads it. A look-up is a full resolution: binding, agent, effective "
    "settings and plan; the first one of an agent after a change merges its layers. A change is a "
    "plain SET of one agent by another client, until the catalog shows it."
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


def _looked_up(catalog: object) -> list[float]:
    """Seconds of each look-up, over chats and persons that are bound and some that are not."""
    from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
    from bot.messages import Address, LineContext, User
    from bot.ops.redaction import Secrets
    from registry.binding import BotIdentity
    from registry.catalog import Catalog
    from registry.definition import LlmConfiguration

    assert isinstance(catalog, Catalog)
    rules = HostRules(LlmConfiguration(model="claude-haiku-5-5", max_tokens=100))
    agents = AgentResolver(catalog, rules, SecretReferences({}, (), Secrets()))
    identity = BotIdentity("0" * 64, 7_000_001, "bench_bot")
    line = LineContext(None, identity, None)  # type: ignore[arg-type]
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
