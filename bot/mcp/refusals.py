"""Refusals by MCP servers: the one place where their statuses, codes and words are judged.

Servers say the same thing in many ways, and not only in those of the specification. What each kind
of refusal comes to is in docs/reliability.md, in the section Refusals.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.mcp.result import ConnectionState
from bot.mcp.server_spec import ServerSpec
from bot.ops.line_reader import LINE_LIMIT
from bot.safety.ssrf_guard import failure_text
from bot.safety.text_safety import printable

ANSWER_REJECTED = -32090
"""The code of an error of ours in place of an answer that we did not accept; its text says why."""
BREAKS_PROTOCOL = "breaks the protocol"
TOO_MANY_PARTS = "has too many parts"
TOO_LARGE = f"of more than {LINE_LIMIT >> 20} MB is too large"
_LESS = (TOO_MANY_PARTS, "too large")

NOT_RUN = frozenset({401, 403, 404})
"""Statuses that mean that nothing ran, regardless of the body."""
FORGOTTEN = frozenset({400, 404, 409, 410, 422})
"""Statuses that refuse a session: the specification has 404, but many servers use another."""
_REASON_CHARACTERS = 4_000


class Kind(Enum):
    """What an error in place of an answer is: it decides what is told and tried next."""

    FORGOTTEN = "the server no longer knows the session, and nothing ran"
    UNREADABLE = "the tool may have run, and its answer cannot be read"
    CLOSED = "the connection ended, with all calls on it"
    FOREIGN = "what answered is not an MCP server, so the tool may not have run"
    LOST = "this answer alone is lost, and the tool may have run"
    SAID = "the server's own word on the call"


class _Rule(NamedTuple):
    codes: frozenset[int]
    """Of JSON-RPC; empty for any."""
    words: re.Pattern[str]
    kind: Kind


_SESSION = "(?i)session"


def _rule(kind: Kind, words: str = "", *codes: int) -> _Rule:
    return _Rule(frozenset(codes), re.compile(words), kind)


_RULES = (
    _rule(Kind.UNREADABLE, "", ANSWER_REJECTED),
    _rule(Kind.UNREADABLE, r"byte limit\.$", types.CONNECTION_CLOSED),
    _rule(
        Kind.FOREIGN,
        "^(Failed to parse JSON|Unexpected content type|Redirect to )",
        types.PARSE_ERROR,
        types.INVALID_REQUEST,
    ),
    _rule(
        Kind.UNREADABLE,
        "^(Failed to parse|server answered .* with 202)",
        types.PARSE_ERROR,
        types.INVALID_REQUEST,
    ),
    _rule(Kind.CLOSED, "^Connection closed$", types.CONNECTION_CLOSED),
    _rule(Kind.LOST, "^SSE stream ", types.CONNECTION_CLOSED),
    _rule(Kind.LOST, "^Server returned an error response$"),
    _rule(Kind.FORGOTTEN, _SESSION),
    _rule(Kind.SAID),
)
"""The first that fits decides. The words are those of our own client but for the last two rules."""


def judged(error: MCPError, *, refused: bool = False) -> Kind:
    """What kind of refusal an error is; `refused` means that it came with a status."""
    if refused and re.search(_SESSION, error.message):
        return Kind.FORGOTTEN
    return next(
        rule.kind
        for rule in _RULES
        if (not rule.codes or error.code in rule.codes) and rule.words.search(error.message)
    )


_OF_A_REQUEST = re.compile(r"tools/(?:list|call)|[0-9a-f]{8,}|\d+", re.IGNORECASE)


def is_same_refusal(error: MCPError, other: MCPError) -> bool:
    """Whether two requests were refused for the same reason, before either of them ran."""
    kinds = {judged(error), judged(other)}
    if Kind.FORGOTTEN in kinds:
        return len(kinds) == 1
    words = {_OF_A_REQUEST.sub("", one.message) for one in (error, other)}
    return error.code == other.code and len(words) == 1


def unread(error: MCPError | None = None) -> str:
    """What is wrong with an answer that cannot be read, to follow its name."""
    if error is None:
        return BREAKS_PROTOCOL
    if error.code == ANSWER_REJECTED:
        return error.message
    return TOO_LARGE if error.message.endswith("byte limit.") else BREAKS_PROTOCOL


def unread_call(what: str) -> str:
    """What the model is told about an answer that cannot be read."""
    return f"The tool ran, but its answer {what}{': ask for less' if _is_less(what) else ''}."


def unread_list(what: str) -> str:
    """What an operator is told about a list of tools that cannot be read."""
    limit = f": no more than {LINE_LIMIT >> 20} MB can be read" if _is_less(what) else ""
    return f"its list of tools {what}{limit}"


def _is_less(what: str) -> bool:
    return what.endswith(_LESS)


class ListUnread(Exception):
    """A list of tools that cannot be read; its text says why."""


class UnusableAnswer(httpx2.RemoteProtocolError):
    """An answer that is not accepted, for a reason an operator can fix; the text is our own."""


def compressed(response: httpx2.Response) -> UnusableAnswer:
    """The refusal of an answer whose few bytes could become gigabytes."""
    how = printable(response.headers["content-encoding"], 20)
    return UnusableAnswer(
        f"its answer is compressed ({how}), although we ask for plain text: switch that off for "
        "this URL, in the server or in the proxy in front of it",
        request=response.request,
    )


_NO_CONNECTION = httpx2.ConnectError | httpx2.ConnectTimeout


def failure(error: Exception) -> str:
    """What an operator may read of a request that failed."""
    if isinstance(error, UnusableAnswer):
        return str(error)
    text = failure_text(error)
    if isinstance(error, _NO_CONNECTION) and text == type(error).__name__:
        url = error.request.url
        port = url.port or {"http": 80}.get(url.scheme, 443)
        text += f": cannot connect to {url.host}:{port}: start the server, or fix its URL"
    return text


_CURES = {
    403: "these credentials may not use it",
    407: "the proxy in front of it wants credentials",
    408: "it is too slow for the proxy in front of it",
    429: "it gets too many requests",
}
_WRONG_URL = 'fix its URL, or give it "type": "sse" if it uses the older transport'


def status_text(status: int, spec: ServerSpec) -> str:
    """An HTTP status as an operator reads it, with how to fix it."""
    cure = _CURES.get(status)
    if status == 401:
        one = spec.definition
        cure = "it wants credentials: give it `headers` or `auth`"
        if one.auth is not None:
            cure = "it does not accept the token from `auth`"
        elif credentials := [n for n in one.headers if n.lower() not in ("accept", "user-agent")]:
            cure = f"it does not accept what `headers` sends: renew {', '.join(credentials)}"
    elif status >= 500:
        cure = "the fault is in the server, or in a proxy in front of it: see the server's own log"
    return f"HTTP {status}: {cure or _WRONG_URL}"


def foreign(error: MCPError, spec: ServerSpec) -> str:
    """What answers in the place of an MCP server, with how to fix it."""
    if kind := re.match("Unexpected content type: *([^;]*)", error.message):
        what = f"with {kind[1]}" if kind[1] else "without a content type"
        if "html" in kind[1].lower():
            where = urlsplit(spec.url).netloc.rpartition("@")[2]
            return f"a web page ({kind[1]}) answers at the URL on {where}: {_WRONG_URL}"
        return f"it answers {what}, not as an MCP server: a web page or a proxy? {_WRONG_URL}"
    if error.message.startswith("Failed to parse"):
        return f"its answer is not an MCP message: {_WRONG_URL}"
    return error.message


_ONE_SESSION = (
    "the server does not know the session that it opened: run one process of it, or let the "
    "proxy in front of it send each session to the same process"
)


def _cured(error: MCPError, spec: ServerSpec) -> str:
    """An error as an operator reads it, with how to fix it."""
    if error.code == ANSWER_REJECTED:
        return f"its answer {error.message}"
    match judged(error):
        case Kind.FOREIGN:
            return foreign(error, spec)
        case Kind.FORGOTTEN:
            return f"{error.message}: {_ONE_SESSION}"
        case Kind.SAID if error.code != types.REQUEST_TIMEOUT:
            return f"{error.message}: the server refused with these words: see its own log"
    return error.message


def _with_trouble(error: BaseException | None, text: str, trouble: str) -> str:
    if isinstance(error, MCPError):
        match judged(error):
            case Kind.SAID:
                return f"{trouble}; it says: {error}"
            case Kind.FORGOTTEN:
                return text  # the status is on the session: the URL is right
        return trouble
    if isinstance(error, httpx2.HTTPStatusError) or trouble.startswith(text):
        return trouble
    return f"{text} {trouble}"


_STREAM_ERRORS = frozenset({"BrokenResourceError", "ClosedResourceError", "EndOfStream"})


def reason(error: BaseException | None, state: ConnectionState, spec: ServerSpec) -> str:
    """Why a connection was lost or not made, in one line for operators, secrets hidden."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    name = type(error).__name__
    if isinstance(error, TimeoutError):
        text = "the server did not answer in time"
    elif error is None or name in _STREAM_ERRORS or "Connection closed" in str(error):
        text = state.reason or "the connection was closed"
    elif isinstance(error, ListUnread | UnusableAnswer):
        text = str(error)
    elif isinstance(error, MCPError):
        text = _cured(error, spec)
    elif isinstance(error, ValidationError):
        text = f"its answer {BREAKS_PROTOCOL} ({error.title}): update the server, or see its log"
    elif isinstance(error, _NO_CONNECTION):
        text = failure(error)
    else:
        text = f"{name}: {error}"
    if state.trouble:
        text = _with_trouble(error, text, state.trouble)
    text = spec.redact(text.strip()[:_REASON_CHARACTERS])
    return " ".join(printable(text, 600).split())
