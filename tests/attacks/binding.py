"""How an attacker's agent gets at a person: both its values are written into Redis by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from bot.app import App
from simulators.telegram.people import Bot, Person
from tests.host.tool_agent import PATIENCE


async def bound(host: App, bot: Bot, person: Person, agent: Mapping[str, Any]) -> None:
    """From now on this agent answers this person at this bot; it must be one that is taken."""
    name, slot = agent["id"], f"agent:binding:chatid:{person.id}:bot:{bot.id}"
    binding = {"agentId": name, "type": "ChatId", "bindingKey": str(person.id), "bot": str(bot.id)}
    await host.store.redis.set(f"agent:definition:{name}", json.dumps(agent))
    await host.store.redis.set(slot, json.dumps(binding))
    async with asyncio.timeout(PATIENCE):
        await host.catalog.until(lambda found: name in found.agents and _has(found.bindings, slot))


def _has(bindings: Any, slot: str) -> bool:
    return any(slot.endswith(one.slot) for one in bindings)
