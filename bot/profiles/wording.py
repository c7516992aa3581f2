"""Values of the state and payloads as the model reads them: in plain text, lists, tables, JSON.

What strangers wrote stays on lines of its own that say so: it can neither end a line of the
operator's nor begin one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bot.safety.text_safety import printable, strip_invisible
from registry.profile import IngestorName
from registry.profile_state import INSTRUCTIONS, TEMPLATE
from registry.state_conditions import Read

INLINE_LIMIT = 500
"""Characters of a value inside a text."""
VALUE_LIMIT = 4_000
"""Characters of a value on lines of its own."""
CELL_LIMIT = 300
BEGAN = "state.agent_start_utc_timestamp"
MOST_ROWS, MOST_COLUMNS = 50, 12
_OURS = frozenset(
    {
        *(BEGAN, "state.turn_number", "state.step", "inbox.count"),
        *("person.role", "chat.kind", "account.id"),
        *("agent.id", "agent.name", "agent.type", "agent.model", INSTRUCTIONS),
    }
)
"""What the host, or who wrote the agent, has put into the state; all else strangers may have."""


def is_ours(path: str) -> bool:
    """Whether no stranger can have written what is at a path."""
    return path in _OURS


def filled(text: str, read: Read) -> str:
    """A text of a profile, with values of the state where it has `{{ path }}`."""
    return TEMPLATE.sub(lambda found: _inline(found[1], read(found[1])), text)


def _inline(path: str, value: Any) -> str:
    """A value inside a text, on one line; in quotes where a stranger may have written it."""
    if value is None:
        return ""
    if path in (INSTRUCTIONS, BEGAN):
        return str(value)
    if not isinstance(value, str):
        return _cut(one_line(_json(value)), INLINE_LIMIT)
    plain = _cut(one_line(value), INLINE_LIMIT)
    return plain if is_ours(path) else '"{}"'.format(plain.replace('"', "'"))


def quoted(text: str) -> str:
    """Lines of a stranger, each behind a mark."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def one_line(text: str) -> str:
    """A text without line breaks and what nobody sees."""
    return " ".join(printable(strip_invisible(text)).split())


def written(value: Any, how: IngestorName | None = None) -> str:
    """A value as an ingestor writes it; without one, by its shape."""
    match how or shape_of(value):
        case "plain_text":
            text = _plain(value)
        case "list":
            text = "\n".join(f"- {one}" for one in _entries(value))
        case "table":
            text = _table(value)
        case _:
            text = _json(value)
    return _cut(printable(strip_invisible(text)), VALUE_LIMIT)


def shape_of(value: Any) -> IngestorName:
    """How a value is best written."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(one, Mapping) and _is_flat(one) for one in value):
            return "table"
        return "list" if all(map(_is_scalar, value)) else "json"
    return "json" if isinstance(value, Mapping) else "plain_text"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{one_line(str(name))}: {_cell(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_cell, value))
    return value if isinstance(value, str) else _cell(value)


def _entries(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{one_line(str(name))}: {_cell(one)}" for name, one in value.items()][:MOST_ROWS]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_cell(one) for one in value[:MOST_ROWS]]
    return [_cell(value)]


def _table(value: Any) -> str:
    """A table of objects, or of an object's names and values; of anything else a list."""
    if isinstance(value, Mapping):
        rows: list[Mapping[str, Any]]
        rows = [{"name": name, "value": one} for name, one in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [one if isinstance(one, Mapping) else {"value": one} for one in value]
    else:
        rows = [{"value": value}]
    rows = rows[:MOST_ROWS]
    columns = [*dict.fromkeys(str(name) for row in rows for name in row)][:MOST_COLUMNS]
    if not columns:
        return ""
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return one_line(cell).replace("|", "\\|")


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else _json(value)
    return _cut(one_line(text), CELL_LIMIT)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_flat(value: Mapping[str, Any]) -> bool:
    return all(map(_is_scalar, value.values()))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
