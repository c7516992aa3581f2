"""Turns and rules as JSON, for tests in another process; wrong forms name their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simulators.messages import shape
from simulators.messages.refusals import TYPES, invalid
from simulators.messages.shape import Obj
from simulators.messages.turns import (
    Call,
    Cut,
    Drop,
    EndEarly,
    ErrorEvent,
    Fault,
    HttpError,
    Part,
    Stall,
    Text,
    Think,
    Turn,
)

STOPS = (
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
)
_TURN = ("parts", "stop", "stop_sequence", "refuse", "fault", "gate", "pace")
_PARTS = ("say", "think", "call")


def read_turns(value: object, place: str = "turns") -> list[Turn]:
    """A list of turns; each is a turn, a part, a list of parts, or a text."""
    return [read_turn(one, f"{place}.{at}") for at, one in enumerate(shape.array(value, place))]


def read_turn(value: object, place: str = "turn") -> Turn:
    """One turn, as `{"parts": […], "stop": …, "fault": {…}, "gate": …, "pace": …}` or shorter."""
    if isinstance(value, str):
        return Turn((Text(value),))
    if isinstance(value, list):
        return Turn(_parts(value, place))
    form = shape.mapping(value, place)
    if any(name in form for name in _PARTS):
        return Turn((_part(form, place),))
    shape.only(form, _TURN, place)
    return Turn(
        parts=_parts(form.get("parts", []), f"{place}.parts"),
        stop="refusal" if "refuse" in form else _maybe(form, "stop", _stop, place),
        stop_sequence=_maybe(form, "stop_sequence", shape.text, place),
        refusal=_refusal(form["refuse"], place) if "refuse" in form else None,
        fault=_maybe(form, "fault", _fault, place),
        gate=_maybe(form, "gate", shape.text, place),
        pace=_maybe(form, "pace", _positive, place),
    )


def _maybe(form: Obj, name: str, read: Callable[[object, str], Any], place: str) -> Any:
    return None if form.get(name) is None else read(form[name], shape.joined(place, name))


def _positive(value: object, place: str) -> float:
    return shape.number(value, place, 0.001, 1e9)


def _stop(value: object, place: str) -> str:
    return shape.one_of(value, STOPS, place)


def _refusal(value: object, place: str) -> Obj:
    category = value if isinstance(value, str) else None
    if category is None and value is not True:
        raise invalid(f"{place}.refuse: Input should be true or a category")
    return {"type": "refusal", "category": category, "explanation": None}


def _parts(value: object, place: str) -> tuple[Part, ...]:
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    return tuple(_part(one, f"{place}.{at}") for at, one in enumerate(listed))


def _part(value: object, place: str) -> Part:
    if isinstance(value, str):
        return Text(value)
    form = shape.mapping(value, place)
    if "say" in form:
        shape.only(form, ("say",), place)
        return Text(shape.text(form["say"], f"{place}.say"))
    if "think" in form:
        shape.only(form, ("think",), place)
        return Think(shape.text(form["think"], f"{place}.think"))
    shape.only(form, ("call", "input", "id", "cut"), place)
    return Call(
        name=shape.text(shape.present(form, "call", place), f"{place}.call"),
        input=shape.mapping(form.get("input", {}), f"{place}.input"),
        id=_maybe(form, "id", shape.text, place),
        cut=shape.boolean(form.get("cut", False), f"{place}.cut"),
    )


def _fault(value: object, place: str) -> Fault:
    form = shape.mapping(value, place)
    kind = shape.one_of(form.get("kind"), tuple(_FAULTS), f"{place}.kind")
    fields, make = _FAULTS[kind]
    shape.only(form, ("kind", *fields), place)
    read = {name: fields[name](form[name], f"{place}.{name}") for name in fields if name in form}
    if kind == "http" and "status" not in read:
        raise invalid(f"{place}.status: Field required")
    if kind == "cut" and len(read) != 1:
        raise invalid(f"{place}: give either events or bytes")
    return make(**read)


def _status(value: object, place: str) -> int:
    status = shape.integer(value, place)
    if status not in TYPES:
        raise invalid(f"{place}: Input should be one of {', '.join(map(str, TYPES))}")
    return status


def _seconds(value: object, place: str) -> float:
    return shape.number(value, place, 0, 86_400)


def _count(value: object, place: str) -> int:
    return shape.integer(value, place, 0)


def _error_event(events: int = 1, type: str = "overloaded_error", **more: str) -> Fault:  # noqa: A002
    return ErrorEvent(events, type, **more)


_FAULTS: dict[str, tuple[dict[str, Callable[[object, str], Any]], Callable[..., Fault]]] = {
    "http": ({"status": _status, "message": shape.text, "retry_after": _seconds}, HttpError),
    "drop": ({}, Drop),
    "cut": ({"events": _count, "bytes": _count}, Cut),
    "stall": ({"events": _count, "gate": shape.text}, Stall),
    "end": ({"events": _count}, EndEarly),
    "error": ({"events": _count, "type": shape.text, "message": shape.text}, _error_event),
}
