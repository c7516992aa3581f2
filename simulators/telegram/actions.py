"""The actions of the control API: each takes a JSON object and returns one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

from simulators.telegram import faults, snapshot
from simulators.telegram.control_requests import ControlRequest
from simulators.telegram.flood import Budget
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Message, Room
from simulators.telegram.world import WorldError

Json = dict[str, Any]


def _bot(request: ControlRequest) -> Json:
    bot = request.world.bot(
        request.need("token", str),
        request.get("name", str, "Bot"),
        request.get("username", str),
        privacy=request.get("privacy", bool, True),
        topics=request.get("topics", bool, False),
        manages=request.get("manages", bool, False),
    )
    return snapshot.bot_state(bot)


def _person(request: ControlRequest) -> Json:
    person = request.world.person(
        request.get("name", str, "Ann"),
        id=request.get("id", int),
        username=request.get("username", str),
        language=request.get("language", str),
    )
    return person.user()


def _room_made(request: ControlRequest, room: Room) -> Json:
    return snapshot.room_state(request.world, room)


def _private(request: ControlRequest) -> Json:
    started = request.get("started", bool, True)
    return _room_made(
        request, request.world.private(request.person(), request.bot(), started=started)
    )


def _group(request: ControlRequest) -> Json:
    room = request.world.group(
        request.need("title", str),
        request.parties(),
        supergroup=request.get("supergroup", bool, False),
        forum=request.get("forum", bool, False),
        username=request.get("username", str),
    )
    return _room_made(request, room)


def _channel(request: ControlRequest) -> Json:
    bots = [b for b in request.parties("bots") if isinstance(b, Bot)]
    return _room_made(
        request, request.world.channel(request.need("title", str), request.person("owner"), bots)
    )


def _topic(request: ControlRequest) -> Json:
    number = request.world.topic(request.room(), request.need("name", str), request.person())
    return {"topic": number}


def _message(message: Message) -> Json:
    return snapshot.message_state(message)


def _say(request: ControlRequest) -> Json:
    return _message(
        request.world.say(
            request.person(),
            request.room(),
            request.need("text", str),
            reply_to=request.get("reply_to", int),
            topic=request.get("topic", int),
            entities=request.get("entities", list),
        )
    )


def _attach(request: ControlRequest) -> Json:
    try:
        data = base64.b64decode(request.need("data", str), validate=True)
    except binascii.Error:
        raise WorldError("field 'data' must be base64") from None
    return _message(
        request.world.attach(
            request.person(),
            request.room(),
            request.get("kind", str, "document"),
            data,
            name=request.get("name", str, ""),
            mime=request.get("mime", str),
            caption=request.get("caption", str, ""),
            reply_to=request.get("reply_to", int),
            topic=request.get("topic", int),
        )
    )


def _send(request: ControlRequest) -> Json:
    return _message(
        request.world.send(
            request.person(),
            request.room(),
            request.need("content", dict),
            reply_to=request.get("reply_to", int),
            topic=request.get("topic", int),
        )
    )


def _edit(request: ControlRequest) -> Json:
    number, text = request.need("message", int), request.need("text", str)
    return _message(request.world.edit(request.person(), request.room(), number, text))


def _react(request: ControlRequest) -> Json:
    number = request.need("message", int)
    request.world.react(request.person(), request.room(), number, request.get("emoji", str))
    return {}


def _press(request: ControlRequest) -> Json:
    number, button = request.need("message", int), request.need("button", str)
    pressed = request.world.press_button(request.person(), request.room(), number, button)
    return {"query": pressed.id}


def _create_bot(request: ControlRequest) -> Json:
    """A person presses the button that creates a bot."""
    made = request.world.create_bot(
        request.person(),
        request.room(),
        request.need("button", str),
        name=request.get("name", str),
        username=request.get("username", str),
    )
    return snapshot.bot_state(made)


def _pressed(request: ControlRequest) -> Json:
    pressed = request.world.presses.get(request.need("query", str))
    if pressed is None:
        raise WorldError("no such query, or it is too old")
    return {"query": pressed.id, "answer": pressed.answer}


def _stop(request: ControlRequest) -> Json:
    request.world.stop(request.person(), request.room(), request.get("draft", int))
    return {}


def _join(request: ControlRequest) -> Json:
    room = request.room()
    request.world.join(room, request.party(), status=request.get("status", str, "member"))
    return _room_made(request, room)


def _leave(request: ControlRequest) -> Json:
    room = request.room()
    request.world.leave(room, request.party(), status=request.get("status", str, "left"))
    return _room_made(request, room)


def _block(request: ControlRequest) -> Json:
    request.world.block(request.person(), request.bot())
    return {}


def _unblock(request: ControlRequest) -> Json:
    request.world.unblock(request.person(), request.bot())
    return {}


def _migrate(request: ControlRequest) -> Json:
    return _room_made(request, request.world.migrate(request.room()))


def _revoke(request: ControlRequest) -> Json:
    return {"token": request.world.revoke(request.bot())}


def _fault(request: ControlRequest) -> Json:
    values: Json = {"seconds": request.number("seconds", 0)}
    kinds = {"times": int, "skip": int, "status": int, "bot": int, "chat": int}
    for name in (f.name for f in fields(faults.Fault) if f.name != "seconds"):
        value = request.get(name, kinds.get(name, dict if name == "parameters" else str))
        if value is not None:
            values[name] = value
    if values.get("kind") not in faults.KINDS:
        raise WorldError(f"field 'kind' must be one of {', '.join(faults.KINDS)}")
    request.world.faults.add(faults.Fault(**values))
    return {"open": len(request.world.faults.open)}


def _faults_clear(request: ControlRequest) -> Json:
    request.world.faults.clear()
    return {}


def _flood(request: ControlRequest) -> Json:
    """Sets the budgets that are named as `[calls, seconds, penalty, escalate]`, clears others."""
    budgets = {name: request.get(name, list) for name in ("private", "group", "bot")}
    request.world.flood.clear()
    for name, numbers in budgets.items():
        if numbers is not None:
            if not 2 <= len(numbers) <= 4 or not all(isinstance(n, int | float) for n in numbers):
                raise WorldError(f"field {name!r} is [calls, seconds, penalty, escalate]")
            setattr(request.world.flood, name, Budget(*numbers))
    return {}


def _freeze(request: ControlRequest) -> Json:
    seconds = request.number("seconds")
    request.world.flood.freeze(request.bot().id, request.get("chat", int, 0), seconds)
    return {}


def _pace(request: ControlRequest) -> Json:
    request.world.slows_hasty_polls = request.need("on", bool)
    return {}


def _newcomers(request: ControlRequest) -> Json:
    """`most` new tokens a minute (the service allows 20); without it any number."""
    request.world.new_tokens.limit(request.get("most", int))
    return {}


async def _wait(request: ControlRequest) -> Json:
    """The first message of a bot with `text` in it and an id over `after`."""
    room, part = request.room(), request.get("text", str, "")
    timeout = request.number("timeout", 10)
    after = request.get("after", int, 0)
    return _message(await room.wait_for_text(part, min(timeout, 50.0), after=after))


Action = Callable[[ControlRequest], Json | Awaitable[Json]]
ACTIONS: dict[str, Action] = {
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
    "create-bot": _create_bot,
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
