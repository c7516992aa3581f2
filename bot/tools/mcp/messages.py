"""Messages of the protocol, from the bytes in which they came."""

from __future__ import annotations

from contextlib import suppress

import orjson
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from bot.tools.mcp.bodies import UNREADABLE
from bot.tools.mcp.slim import LONG


def parsed(raw: bytes) -> JSONRPCMessage:
    """The message in these bytes, once they are `slimmed`; raises ValueError where it is none."""
    if len(raw) > LONG:
        # Five times as fast where an answer has very many parts, and all on this loop wait for it.
        with suppress(orjson.JSONDecodeError):
            return jsonrpc_message_adapter.validate_python(orjson.loads(raw), by_name=False)
    return jsonrpc_message_adapter.validate_json(raw, by_name=False)


def error(request: int, words: str) -> SessionMessage:
    """An answer of ours in place of one that we did not take."""
    body = ErrorData(code=UNREADABLE, message=words)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=body))


def too_long(request: int, size: int) -> SessionMessage:
    """The same for an answer of so many bytes."""
    return error(
        request, f"The tool ran, but its answer of {size} bytes is too large: ask for less."
    )
