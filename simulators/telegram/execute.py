"""One Bot API call, from parameters to answer: faults, flood limits, the method, the record."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

from simulators.telegram.calls import CallRecord
from simulators.telegram.faults import Fault
from simulators.telegram.methods.call import Call
from simulators.telegram.methods.table import METHODS
from simulators.telegram.params import Params
from simulators.telegram.people import Bot
from simulators.telegram.refusals import RefusedError, not_found
from simulators.telegram.updates import Disconnected
from simulators.telegram.world import World

Json = dict[str, Any]

_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_TITLES = {502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Time-out"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller gets: JSON, a proxy's page, or neither when the connection is cut."""

    status: int
    answer: Json | None = None
    page: str | None = None


async def execute(
    world: World, bot: Bot, name: str, params: Params, disconnected: Disconnected | None = None
) -> Outcome:
    """Executes one call and records it, even if it fails.

    `disconnected` returns when the caller has closed the connection: that ends a long poll.
    """
    began = world.now()
    fault = world.faults.take(bot.id, name.lower(), params)
    outcome = await _faulty(Call(world, bot, params, disconnected), name, fault)
    method = METHODS.get(name.lower())
    record = CallRecord(
        began,
        bot.id,
        method.name if method else name,
        _shown(params),
        outcome.status,
        outcome.answer,
        world.now() - began,
    )
    world.calls.add(record)
    if world.events.has_listeners:
        world.events.emit("call", record.show(), bot=bot.id)
    return outcome


def _shown(params: Params) -> Json:
    files = {name: {"file": f.name, "bytes": len(f.data)} for name, f in params.files.items()}
    return dict(params.values) | files


async def _faulty(call: Call, name: str, fault: Fault | None) -> Outcome:
    if fault is None:
        return await _plain(call, name)
    if fault.seconds > 0:
        await asyncio.sleep(fault.seconds)
    if fault.kind == "drop":
        return Outcome(0)
    if fault.kind == "html":
        status = fault.status if fault.status in _TITLES else 502
        return Outcome(status, page=_HTML.format(_TITLES[status]))
    if fault.kind == "answer":
        refusal = RefusedError(fault.status, fault.description, **fault.parameters)
        return Outcome(fault.status, refusal.answer())
    outcome = await _plain(call, name)
    return Outcome(0) if fault.kind == "lose" else outcome


async def _plain(call: Call, name: str) -> Outcome:
    try:
        method = METHODS.get(name.lower())
        if method is None:
            raise not_found()
        if method.spends:
            call.world.flood.spend(call.bot.id, call.params.integer("chat_id"))
        result = method.run(call)
        if inspect.isawaitable(result):
            result = await result
    except RefusedError as refused:
        return Outcome(refused.code, refused.answer())
    return Outcome(200, {"ok": True, "result": result})
