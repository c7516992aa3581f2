"""The timeline: updates, calls of bots, requests to the model and runs of tools, numbered."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import orjson

from simulators.messages.records import Record
from simulators.telegram.events import Event

Json = dict[str, Any]
MAX_ENTRIES = 400
_NOTE_CHARACTERS = 160


class Timeline:
    """The newest entries; each has a head for the list, and a body that is fetched on demand."""

    def __init__(self) -> None:
        self._heads: OrderedDict[int, Json] = OrderedDict()
        self._bodies: dict[int, Any] = {}
        self._records: dict[int, Record] = {}
        self._tools: OrderedDict[str, None] = OrderedDict()
        self._number = 0

    def heads(self) -> list[Json]:
        """The heads of all entries, oldest first."""
        return list(self._heads.values())

    def body(self, number: int) -> Any:
        """An entry's JSON; None where it is gone."""
        record = self._records.get(number)
        return _model_body(record) if record else self._bodies.get(number)

    def add_event(self, happening: Event) -> Json | None:
        """Add an update or a call; its head, or None where it is not shown."""
        if happening.kind == "update":
            head = _update_head(happening)
            return self._add(head | {"bot": happening.bot}, happening.data)
        if happening.kind != "call" or _is_idle(happening.data):
            return None
        return self._add(_call_head(happening.data), happening.data)

    def add_request(self, record: Record) -> list[Json]:
        """Add a new model request; its head, after those of the tool calls it has results of."""
        tools = [self._add(head, body) for head, body in self._tool_calls(record)]
        head = self._add(_model_head(record), None)
        self._records[head["id"]] = record
        return [*tools, head]

    def end_request(self, head: Json, record: Record) -> Json:
        """Update the head of a request that has ended."""
        head |= {"status": record.status, "note": _model_note(record)}
        return head

    def _add(self, head: Json, body: Any) -> Json:
        self._number += 1
        whole = {"id": self._number, "at": time.time()} | head
        self._heads[self._number] = whole
        self._bodies[self._number] = body
        if len(self._heads) > MAX_ENTRIES:
            old, _ = self._heads.popitem(last=False)
            self._bodies.pop(old, None)
            self._records.pop(old, None)
        return whole

    def _tool_calls(self, record: Record) -> Iterator[tuple[Json, Json]]:
        """Tool calls with their results that no earlier request had."""
        calls: dict[str, Json] = {}
        for block in _blocks(record.body):
            if block.get("type") == "tool_use":
                calls[str(block.get("id"))] = block
            if block.get("type") != "tool_result":
                continue
            call = calls.get(str(block.get("tool_use_id")))
            if call is not None and self._is_new(call["id"]):
                failed = bool(block.get("is_error"))
                head = {
                    "kind": "tool",
                    "title": call.get("name"),
                    "note": _short(orjson.dumps(call.get("input")).decode()),
                    "status": "error" if failed else "ok",
                }
                yield head, {"call": call, "result": block}

    def _is_new(self, call: str) -> bool:
        if call in self._tools:
            return False
        self._tools[call] = None
        if len(self._tools) > 10 * MAX_ENTRIES:
            self._tools.popitem(last=False)
        return True


def _blocks(body: Any) -> Iterator[Json]:
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        yield from (b for b in content or () if isinstance(b, dict))


def _is_idle(call: Json) -> bool:
    nothing = call["answer"] is None or call["answer"].get("result") == []
    return call["method"] == "getUpdates" and nothing


def _update_head(happening: Event) -> Json:
    kind = next((k for k in happening.data if k != "update_id"), "update")
    content = happening.data.get(kind)
    content = content if isinstance(content, dict) else {}
    note = content.get("text") or content.get("caption") or content.get("data") or ""
    return {"kind": "update", "title": kind, "note": _short(note)}


def _call_head(call: Json) -> Json:
    params = call["params"]
    note = params.get("text") or params.get("caption") or params.get("action") or ""
    if call["method"] == "getUpdates" and call["answer"] and call["answer"].get("ok"):
        count = len(call["answer"]["result"])
        note = f"{count} update{'' if count == 1 else 's'}"
    elif call["answer"] and not call["answer"].get("ok"):
        note = call["answer"].get("description", "")
    return {
        "kind": "call",
        "title": call["method"],
        "note": _short(note),
        "status": call["status"] or "cut",
        "ms": round(call["seconds"] * 1000),
        "bot": call["bot"],
    }


def _model_head(record: Record) -> Json:
    body = record.body if isinstance(record.body, dict) else {}
    title = str(body.get("model") or record.path)
    return {"kind": "model", "title": title, "note": _model_note(record), "status": None}


def _model_note(record: Record) -> str:
    body = record.body if isinstance(record.body, dict) else {}
    messages, tools = len(body.get("messages") or ()), len(body.get("tools") or ())
    ending = {"left": ", broken off by the bot", "dropped": ", cut"}.get(record.outcome or "", "")
    return f"{messages} message{'' if messages == 1 else 's'}, {tools} tools{ending}"


def _model_body(record: Record) -> Json:
    return {
        "outcome": record.outcome or "being answered",
        "status": record.status,
        "request": record.body,
        "headers": dict(record.headers),
    }


def _short(value: Any) -> str:
    text = " ".join(str(value).split()) if value else ""
    return text if len(text) <= _NOTE_CHARACTERS else f"{text[:_NOTE_CHARACTERS]}…"
