"""What the control API can do: each act takes a JSON object and gives one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

from simulators.telegram import faults, snapshot
from simulators.telegram.control_requests import Order
from simulators.telegram.flood import Budget
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Message, Room
from simulators.telegram.state import WorldError

Json = dict[str, Any]


def _bot(order: Order) -> Json:
    bot = order.world.bot(
        order.need("token", str),
        order.get("name", str, "Bot"),
        order.get("username", str),
        privacy=order.get("privacy", bool, True),
        topics=order.get("topics", bool, False),
    )
    return snapshot.bot_state(bot)


def _person(order: Order) -> Json:
    person = order.world.person(
        order.get("name", str, "Ann"),
        id=order.get("id", int),
        username=order.get("username", str),
        language=order.get("language", str),
    )
    return person.user()


def _room_made(order: Order, room: Room) -> Json:
    return snapshot.room_state(order.world, room)


def _private(order: Order) -> Json:
    started = order.get("started", bool, True)
    return _room_made(order, order.world.private(order.person(), order.bot(), started=started))


def _group(order: Order) -> Json:
    room = order.world.group(
        order.need("title", str),
        order.parties(),
        supergroup=order.get("supergroup", bool, False),
        forum=order.get("forum", bool, False),
        username=order.get("username", str),
    )
    return _room_made(order, room)


def _channel(order: Order) -> Json:
    bots = [b for b in order.parties("bots") if isinstance(b, Bot)]
    return _room_made(
        order, order.world.channel(order.need("title", str), order.person("owner"), bots)
    )


def _topic(order: Order) -> Json:
    number = order.world.topic(order.room(), order.need("name", str), order.person())
    return {"topic": number}


def _message(message: Message) -> Json:
    return snapshot.message_state(message)


def _say(order: Order) -> Json:
    return _message(
        order.world.say(
            order.person(),
            order.room(),
            order.need("text", str),
            reply_to=order.get("reply_to", int),
            topic=order.get("topic", int),
            entities=order.get("entities", list),
        )
    )


def _attach(order: Order) -> Json:
    try:
        data = base64.b64decode(order.need("data", str), validate=True)
    except binascii.Error:
        raise WorldError("field 'data' must be base64") from None
    return _message(
        order.world.attach(
            order.person(),
            order.room(),
            order.get("kind", str, "document"),
            data,
            name=order.get("name", str, ""),
            mime=order.get("mime", str),
            caption=order.get("caption", str, ""),
            reply_to=order.get("reply_to", int),
            topic=order.get("topic", int),
        )
    )


def _send(order: Order) -> Json:
    return _message(
        order.world.send(
            order.person(),
            order.room(),
            order.need("content", dict),
            reply_to=order.get("reply_to", int),
            topic=order.get("topic", int),
        )
    )


def _edit(order: Order) -> Json:
    number, text = order.need("message", int), order.need("text", str)
    return _message(order.world.edit(order.person(), order.room(), number, text))


def _react(order: Order) -> Json:
    number = order.need("message", int)
    order.world.react(order.person(), order.room(), number, order.get("emoji", str))
    return {}


def _press(order: Order) -> Json:
    number, button = order.need("message", int), order.need("button", str)
    pressed = order.world.press_button(order.person(), order.room(), number, button)
    return {"query": pressed.id}


def _pressed(order: Order) -> Json:
    pressed = order.world.presses.get(order.need("query", str))
    if pressed is None:
        raise WorldError("no such query, or it is too old")
    return {"query": pressed.id, "answer": pressed.answer}


def _stop(order: Order) -> Json:
    order.world.stop(order.person(), order.room(), order.get("draft", int))
    return {}


def _join(order: Order) -> Json:
    room = order.room()
    order.world.join(room, order.party(), status=order.get("status", str, "member"))
    return _room_made(order, room)


def _leave(order: Order) -> Json:
    room = order.room()
    order.world.leave(room, order.party(), status=order.get("status", str, "left"))
    return _room_made(order, room)


def _block(order: Order) -> Json:
    order.world.block(order.person(), order.bot())
    return {}


def _unblock(order: Order) -> Json:
    order.world.unblock(order.person(), order.bot())
    return {}


def _migrate(order: Order) -> Json:
    return _room_made(order, order.world.migrate(order.room()))


def _revoke(order: Order) -> Json:
    return {"token": order.world.revoke(order.bot())}


def _fault(order: Order) -> Json:
    values: Json = {"seconds": order.number("seconds", 0)}
    kinds = {"times": int, "skip": int, "status": int, "bot": int, "chat": int}
    for name in (f.name for f in fields(faults.Fault) if f.name != "seconds"):
        value = order.get(name, kinds.get(name, dict if name == "parameters" else str))
        if value is not None:
            values[name] = value
    if values.get("kind") not in faults.KINDS:
        raise WorldError(f"field 'kind' must be one of {', '.join(faults.KINDS)}")
    order.world.faults.add(faults.Fault(**values))
    return {"open": len(order.world.faults.open)}


def _faults_clear(order: Order) -> Json:
    order.world.faults.clear()
    return {}


def _flood(order: Order) -> Json:
    """Sets the budgets that are named as `[calls, seconds, penalty, escalate]`, clears others."""
    budgets = {name: order.get(name, list) for name in ("private", "group", "bot")}
    order.world.flood.clear()
    for name, numbers in budgets.items():
        if numbers is not None:
            if not 2 <= len(numbers) <= 4 or not all(isinstance(n, int | float) for n in numbers):
                raise WorldError(f"field {name!r} is [calls, seconds, penalty, escalate]")
            setattr(order.world.flood, name, Budget(*numbers))
    return {}


def _freeze(order: Order) -> Json:
    seconds = order.number("seconds")
    order.world.flood.freeze(order.bot().id, order.get("chat", int, 0), seconds)
    return {}


def _pace(order: Order) -> Json:
    order.world.pace = order.need("on", bool)
    return {}


def _newcomers(order: Order) -> Json:
    """`most` new tokens a minute (the service allows 20); without it any number."""
    order.world.newcomers.limit(order.get("most", int))
    return {}


async def _wait(order: Order) -> Json:
    """The first message of a bot with `text` in it and an id over `after`."""
    room, part = order.room(), order.get("text", str, "")
    timeout = order.number("timeout", 10)
    after = order.get("after", int, 0)
    return _message(await room.wait_for_text(part, min(timeout, 50.0), after=after))


Act = Callable[[Order], Json | Awaitable[Json]]
ACTS: dict[str, Act] = {
    "bot": _bot,
    "person": _person,
    "private": _private,
    "group": _group,
    "channel": _channel,
    "topic": _topic,
    "say": _say,
    "attach": _attach,
    "send": _send,
    "edit": _edit,
    "react": _react,
    "press": _press,
    "pressed": _pressed,
    "stop": _stop,
    "join": _join,
    "leave": _leave,
    "block": _block,
    "unblock": _unblock,
    "migrate": _migrate,
    "revoke": _revoke,
    "fault": _fault,
    "faults-clear": _faults_clear,
    "flood": _flood,
    "freeze": _freeze,
    "newcomers": _newcomers,
    "pace": _pace,
    "wait": _wait,
}
