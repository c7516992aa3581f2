"""What servers offer and answer, brought into a form that the SDK accepts, part by part.

The SDK refuses a whole list for one odd tool, and a whole result for one odd part, though the tool
ran. What cannot be kept is replaced by a note on what it was.
"""

from __future__ import annotations

from typing import Any

import orjson

from bot.mcp.tool_spec import NOTES_LIMIT, TOOLS_LIMIT, left_out, wrong_type
from bot.mcp.transports.messages import PARTS_LIMIT, cut_parts, has_text

NAMED_CHARACTERS = 20_000
"""How much of the JSON of an unknown part is shown."""
_RESULT_FIELDS = frozenset({"content", "structuredContent", "isError", "resultType", "_meta"})


def readable_tools(result: dict[str, Any], notes: list[str]) -> None:
    """Keep the tools of a list that the SDK accepts; `notes` say which are left out, and why."""
    offered = result.get("tools")
    if not isinstance(offered, list):
        return
    kept = []
    for tool in offered[: TOOLS_LIMIT + PARTS_LIMIT]:
        del notes[NOTES_LIMIT:]
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            notes.append("an entry in its list is left out: it is not a tool")
        elif (wrong := _misfit(tool)) is None:
            kept.append(_repaired_tool(tool))
        else:
            notes.append(left_out(tool["name"], wrong))
    result["tools"] = kept


def _misfit(tool: dict[str, Any]) -> str | None:
    """Why a tool's schema cannot be used, by the few keywords that the SDK checks."""
    if (schema := tool.get("inputSchema")) is None:
        return None
    if wrong := wrong_type(schema):
        return wrong
    properties, required = schema.get("properties"), schema.get("required")
    fits = {
        "$schema": isinstance(schema.get("$schema"), str | None),
        "properties": isinstance(properties, dict | None)
        and all(isinstance(one, dict | bool) for one in (properties or {}).values()),
        "required": isinstance(required, list | None)
        and all(isinstance(name, str) for name in required or ()),
    }
    misfit = next((keyword for keyword, well in fits.items() if not well), None)
    return misfit and f"its input schema is not a JSON Schema, at $.{misfit}"


def _repaired_tool(tool: dict[str, Any]) -> dict[str, Any]:
    # Without an output schema no result is checked against a server's own patterns on our loop.
    repaired = {key: tool[key] for key in ("name", "description") if isinstance(tool.get(key), str)}
    if isinstance(hints := tool.get("annotations"), dict):
        repaired["annotations"] = {hint: on for hint, on in hints.items() if isinstance(on, bool)}
    # The SDK wants just this type; whether the server's own allows for it was seen before.
    repaired["inputSchema"] = (tool.get("inputSchema") or {}) | {"type": "object"}
    return repaired


def readable_result(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a call with all parts that can be shown, and a note on each of the others.

    Its structured content is shown if it has no text. Only the server says whether it is an error.
    """
    if result.get("resultType", "complete") != "complete":
        return result  # it asks for more, and the SDK answers that
    cut_parts(result)
    content, structure = result.get("content"), result.get("structuredContent")
    given = content if isinstance(content, list) else [content]
    parts = [_readable_part(part) for part in given if part is not None]
    rest = {name: value for name, value in result.items() if name not in _RESULT_FIELDS}
    if structure is not None and not any(map(has_text, parts)):
        parts.append(_text(_json(structure)))
    elif rest and not parts:
        parts.append(_text(_named(rest, "[an answer without content]")))
    is_error = result.get("isError") in (True, "true")
    return {"content": parts, "isError": is_error, "resultType": "complete"}


def _readable_part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return _text(part)
    if not isinstance(part, dict):
        return _text(_json(part))
    kind = part.get("type", "text" if "text" in part else None)
    match kind:
        case "text" if isinstance(text := part.get("text"), str | int | float):
            return _text(text if isinstance(text, str) else _json(text))
        case "image" | "audio" if isinstance(part.get("data"), str):
            said = part.get("mimeType")
            mime_type = said if isinstance(said, str) else "unknown"
            return {"type": kind, "data": part["data"], "mimeType": mime_type}
        case "resource_link" if isinstance(uri := part.get("uri"), str):
            kept = _texts(part, "title", "description")
            return {"type": kind, "uri": uri, "name": uri} | _texts(part, "name") | kept
        case "resource" if isinstance(inner := part.get("resource"), dict):
            kept = _texts(inner, "text", "blob", "mimeType")
            if "text" in kept or "blob" in kept:
                return {"type": kind, "resource": {"uri": "unknown"} | _texts(inner, "uri") | kept}
    shown = kind if isinstance(kind, str) else "unknown"
    return _text(_named(part, f"[a part of type {shown[:80]}]"))


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _texts(part: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: part[name] for name in names if isinstance(part.get(name), str)}


def _named(part: Any, name: str) -> str:
    text = _json(part)
    if len(text) > NAMED_CHARACTERS:
        cut = f"[cut: the first {NAMED_CHARACTERS} of {len(text)} characters are shown]"
        text = f"{text[:NAMED_CHARACTERS]}\n{cut}"
    return f"{name}\n{text}"


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
