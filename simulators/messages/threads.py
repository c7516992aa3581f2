"""Conversations that the server holds (the message-threads beta): each turn names its predecessor.

A request with `thread` gets its whole history back before it is checked, so everything after this
module sees an ordinary request.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from simulators.messages import shape
from simulators.messages.refusals import Refusal, invalid
from simulators.messages.shape import Obj

BETA = "message-threads-2026-08-12"
_HELD_FIELDS = ("system", "tools")
_MOST = 1000


@dataclass(slots=True)
class HeldReply:
    """The conversation up to one reply, under that reply's id."""

    fields: Obj
    messages: list[Obj]
    state: Literal["open", "in flight", "continued"] = "open"


@dataclass(slots=True)
class ThreadRequest:
    """One request of a thread: `body` has the whole history, `before` is what it continues."""

    body: Obj
    before: HeldReply | None = None


class Threads:
    """The held conversations by the id of their last reply; the oldest are forgotten."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, HeldReply] = OrderedDict()

    def clear(self) -> None:
        """Forgets all."""
        self._held.clear()

    def enter(self, body: Obj, betas: str) -> ThreadRequest | None:
        """Reads a request that asks for a thread, None for any other; raises a Refusal."""
        if "thread" not in body or BETA not in betas:
            return None
        given = shape.mapping(body["thread"], "thread")
        kind = shape.one_of(given.get("type"), ("create", "continue"), "thread.type")
        rest = {name: value for name, value in body.items() if name != "thread"}
        if kind == "create":
            shape.only(given, ("type",), "thread.create")
            return ThreadRequest(rest)
        shape.only(given, ("type", "previous_message_id"), "thread.continue")
        place = "thread.continue.previous_message_id"
        return self._continued(rest, shape.text(given.get("previous_message_id"), place))

    def _continued(self, body: Obj, name: str) -> ThreadRequest:
        for field in _HELD_FIELDS:
            if field in body:
                raise invalid(f"{field}: cannot be specified when continuing a thread")
        held = self._held.get(name)
        if held is None:
            raise _lost(404, f"thread: no conversation is held for message {name}", "not_found")
        if held.state == "in flight":
            raise _lost(409, f"thread: message {name} is being continued", "continue_in_flight")
        if held.state == "continued":
            raise _lost(409, f"thread: message {name} was already continued", "already_continued")
        fresh = shape.array(shape.present(body, "messages", ""), "messages")
        whole = body | held.fields | {"messages": [*held.messages, *fresh]}
        return ThreadRequest(whole, held)

    def start(self, request: ThreadRequest | None, reply: str, blocks: list[Obj]) -> None:
        """Stores the conversation under a reply, before the client can know its id."""
        if request is None:
            return
        if request.before is not None:
            request.before.state = "in flight"
        messages = [*request.body["messages"], {"role": "assistant", "content": blocks}]
        fields = {name: request.body[name] for name in _HELD_FIELDS if name in request.body}
        self._held[reply] = HeldReply(fields, [_unmarked(message) for message in messages])
        while len(self._held) > _MOST:
            self._held.popitem(last=False)

    def end(self, request: ThreadRequest | None, reply: str, *, whole: bool) -> None:
        """Forgets a reply that was not sent whole; the one before may then be continued again."""
        if request is None:
            return
        if request.before is not None:
            request.before.state = "continued" if whole else "open"
        if not whole:
            self._held.pop(reply, None)


def _lost(status: int, words: str, code: str) -> Refusal:
    return Refusal(status, words, details={"error_code": f"thread_{code}"})


def _unmarked(message: Obj) -> Obj:
    """A message without cache marks, which were for the turn that brought it."""
    content: Any = message.get("content")
    if not isinstance(content, list):
        return message
    blocks = [
        {k: v for k, v in block.items() if k != "cache_control"}
        if isinstance(block, dict)
        else block
        for block in content
    ]
    return message | {"content": blocks}
