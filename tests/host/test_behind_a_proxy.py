"""A host whose way out is a proxy: agents from the store, and the operator's own."""

from __future__ import annotations

import json

import pytest

from simulators.messages.turns import Call, turn
from tests.host.stage import Stage
from tests.safety.test_proxies import OUTSIDE, Proxy, proxy

__all__ = ["proxy"]

SKILL = {"name": "deals", "description": "Deals.", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize("judges", [True, False])
async def test_an_agent_of_the_store_goes_through_a_proxy_only_where_that_judges(
    stage: Stage, proxy: Proxy, judges: bool
) -> None:
    boss = stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "PROXY_JUDGES": str(judges).lower()}
    skill = SKILL | {"webhookUrl": f"{OUTSIDE}/deals"}
    echo = stage.bot("Echo", skills=[skill])
    room = stage.world.private(boss, echo)
    call = turn(Call("skill__deals", {}))
    stage.script.on(call, "ours", call, "theirs")
    async with stage.host() as host:
        theirs = {"id": "store", "name": "Store", "mcpServerEndpoints": [], "skills": [skill]}
        await host.store.redis.set("agent:definition:store", json.dumps(theirs))
        await host.catalog.until(lambda snapshot: "store" in snapshot.agents)
        assert await stage.ask(boss, room, echo, "go") == "ours"
        assert proxy.asked == [f"{OUTSIDE}/deals"]
        await stage.ask(boss, room, echo, "/bind store")
        assert await stage.ask(boss, room, echo, "go") == "theirs"
    assert len(proxy.asked) == 1 + judges
