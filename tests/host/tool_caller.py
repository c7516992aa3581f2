"""A bot whose model calls one tool for each message, and what it is told of the call."""

from __future__ import annotations

import json
from typing import Any

from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Room
from tests.host.stage import Stage
from tests.host.tool_agent import PATIENCE, buttons


class ToolCaller:
    """A bot whose agent may use the tools of some servers unasked; each order is a new person's."""

    def __init__(self, stage: Stage, servers: dict[str, Any], **agent: Any) -> None:
        self.stage = stage
        stage.agents["mcpServers"] |= servers
        given = {"mcpServers": sorted(servers), "whitelistPatterns": ["mcp:*:*"]}
        self.bot: Bot = stage.bot("Clerk", **(given | agent))
        self._orders = 0

    def orders(self, tool: str, **arguments: Any) -> tuple[str, Room]:
        """Somebody wants a tool called, and the model calls it."""
        self._orders += 1
        order = f"order {self._orders}."
        self.stage.script.on(turn(Call(tool, arguments)), f"done {order}", user=order)
        person = self.stage.person("Ann")
        room = self.stage.world.private(person, self.bot)
        self.stage.world.say(person, room, order)
        return order, room

    async def told(self, order: str, room: Room) -> str:
        """What the model was told of the call, once the person is answered; nobody was asked."""
        answer = await self.stage.answer(room, self.bot, seconds=PATIENCE)
        assert answer.text == f"done {order}"
        assert not any(buttons(one) for one in room.messages.values())
        asked = [one for one in self.stage.requests() if order in json.dumps(one["messages"])]
        assert len(asked) == 2  # one to call, one to answer: nothing was paid for twice
        (block,) = asked[-1]["messages"][-1]["content"]
        return str(block["content"])

    async def called(self, tool: str, **arguments: Any) -> str:
        """Both, one after the other."""
        return await self.told(*self.orders(tool, **arguments))
