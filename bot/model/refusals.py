"""What the Messages API refuses, and whose fault that is: one table, by status and words.

Other servers of this API say the same in words of their own. The first row that fits decides.
Loaded when something is refused for the first time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from bot.errors import (
    ModelBusy,
    ModelError,
    ModelFault,
    ModelRefused,
    PromptTooLong,
    RequestRefused,
    StaleThinking,
)

BUSY_STATUSES = frozenset({408, 409, 425, 429})
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")
MESSAGE_LIMIT = 500
STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
}
"""The status of an error that comes as an event of a stream, by its type; of others, 500."""
CURES: Mapping[int, str] = {
    401: "check ANTHROPIC_API_KEY",
    402: "check the account's credit",
    403: "check what ANTHROPIC_API_KEY may use",
    404: "check the model's name and ANTHROPIC_BASE_URL",
}
FAULTS: Mapping[int, ModelFault] = {401: "key", 402: "credit", 403: "permission"}


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL)


class Row(NamedTuple):
    """One kind of refusal: with one of these statuses, and all of these words, it is this error."""

    error: type[ModelError]
    statuses: Collection[int]
    words: tuple[re.Pattern[str], ...] = ()
    cure: str = ""
    fault: ModelFault = "setting"

    def fits(self, status: int, message: str) -> bool:
        """Whether a refusal is of this kind."""
        return status in self.statuses and all(one.search(message) for one in self.words)


INVALID = (400, 422)
PLACE = re.compile(r"\bmessages[.\[](\d{1,6})\]?(?:\.?\[?content[.\]\[]{1,2}(\d{1,6}))?")
"""Where in the conversation a refusal is, as the API and its clients write it."""
TOO_LARGE = _words(
    r"\b(?:request|body|entity|payload)(?: (?:body|entity|payload|size|is|was))* "
    r"(?:too (?:large|big|long)|(?:exceeds|larger than) .{0,30}\b(?:size|bytes|[km]i?b)\b)"
)
"""What a proxy says of a request that has too many bytes, with any status."""
IMAGES = _words(r"\bimages?\b", r"\bpictures?\b")

TABLE: tuple[Row, ...] = (
    Row(
        StaleThinking,
        INVALID,
        (
            _words(r"thinking", r"reasoning"),
            _words(
                r"signature",
                r"must start with",
                r"cannot be modified",
                r"passed back",
                r"bound to a",
                r"but found",
            ),
        ),
    ),
    Row(
        ModelRefused,
        INVALID,
        (_words(r"max_(?:completion_)?tokens\W{1,3}(?:is |are )?too (?:large|high)"),),
        "lower the agent's maxTokens",
    ),
    Row(PromptTooLong, (413,)),
    Row(PromptTooLong, (400, 403, 422, 500), (TOO_LARGE,)),
    Row(
        PromptTooLong,
        (400, 422, 500),
        (
            _words(
                r"(?:prompt|input|request|conversation|messages?) (?:is|are) too (?:long|large)",
                r"context[ _](?:length|limit|window|size)",
                r"(?:maximum|max) (?:context|input|prompt|request size)",
                r"too many (?:input |prompt )?tokens",
                r"reduce the length of",
                r"exceeds? the (?:maximum|limit of) (?:size|input|number of (?:input )?tokens)",
            ),
        ),
    ),
    Row(
        ModelRefused,
        INVALID,
        (_words(r"\b(?:credit|billing|quota)\b", r"\b(?:usage|spend|spending) limit"),),
        CURES[402],
        "credit",
    ),
    Row(
        ModelRefused,
        INVALID,
        (
            _words(
                r"\b(?:organi[sz]ation|workspace|account|subscription|project) (?:has|is|was)\b",
                r"\bapi[ _-]?key\b",
            ),
        ),
        "check the account of ANTHROPIC_API_KEY",
        "key",
    ),
    Row(RequestRefused, INVALID, (PLACE,)),
    Row(
        ModelBusy,
        INVALID,
        (
            _words(
                r"\b(?:upstream|provider returned error|overloaded|temporary|temporarily)\b",
                r"\b(?:try again|timed? ?out|unavailable|internal (?:server )?error)\b",
            ),
        ),
    ),
    Row(
        ModelRefused,
        INVALID,
        (
            _words(
                r"\bmodel\b.{1,60}\bnot (?:exist|found|supported|available)\b",
                r"\bmodel\b.{1,20}\b(?:unsupported|invalid|unknown)\b",
                r"\b(?:unsupported|invalid|unknown|no such) model\b",
            ),
        ),
        CURES[404],
        "model",
    ),
    Row(
        ModelRefused,
        INVALID,
        (
            _words(
                r"(?:^|[\s\"'`(])(?:tools?|system|tool_choice|stop_sequences)(?:\.\d|\.custom|:)",
                r"(?:^|[\s\"'`(])(?:max_tokens|temperature|top_[pk]|model|metadata)`?[:.]",
                r"(?:^|[\s\"'`(])(?:thinking|output_config)`?\.\w",
                r"(?:^|[\s\"'`(])anthropic-(?:version|beta)",
            ),
        ),
        "check the agent's settings and tools",
    ),
    Row(RequestRefused, INVALID),
)


def status_error(
    status: int, body: object, retry_after: float | None = None, secret: str = ""
) -> ModelError:
    """The error for an HTTP answer that is not a success; `body` is its JSON or its text."""
    kind, message, text = _described(f"the Messages API answered {status}", body, secret)
    if kind == "overloaded_error":
        return ModelBusy(text, retry_after)
    return _error(413 if kind == "request_too_large" else status, message, text, retry_after)


def event_error(body: object, secret: str = "") -> ModelError:
    """The error for an `error` event inside a stream."""
    kind, message, text = _described("the Messages API ended the stream", body, secret)
    return _error(STATUSES.get(kind, 500), message, text)


def _error(status: int, message: str, text: str, retry_after: float | None = None) -> ModelError:
    row = next((row for row in TABLE if row.fits(status, message)), None)
    if row is None and (status in BUSY_STATUSES or status >= 500):
        return ModelBusy(text, retry_after)
    error, cure = (row.error, row.cure) if row else (ModelRefused, CURES.get(status, ""))
    if status < 400:
        cure = "check ANTHROPIC_BASE_URL"
    text = f"{text}; {cure}" if cure else text
    if error is ModelRefused:
        return ModelRefused(text, row.fault if row else _fault(status, message))
    if not issubclass(error, RequestRefused):
        return error(text)
    place = PLACE.search(message)
    return error(
        text,
        (int(place[1]), int(place[2] or 0)) if place else None,
        about_images=bool(IMAGES.search(message)),
    )


def _fault(status: int, message: str) -> ModelFault:
    """What is wrong by the status alone; who knows no such path says nothing of a model."""
    if status == 404:
        return "model" if "model" in message.lower() else "address"
    return FAULTS.get(status, "address" if status < 400 else "setting")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the headers of an answer, or None; `now` is wall time."""
    if (precise := _seconds(headers.get("retry-after-ms"))) is not None:
        return precise / 1000
    value = headers.get("retry-after")
    if value is None:
        return _until_reset(headers, now)
    if (plain := _seconds(value)) is not None:
        return plain
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until every limit that is used up is reset, or None."""
    waits = []
    for name in LIMITS:
        used_up = headers.get(f"anthropic-ratelimit-{name}-remaining") == "0"
        with suppress(ValueError, OverflowError):
            reset = datetime.fromisoformat(headers.get(f"anthropic-ratelimit-{name}-reset", ""))
            waits += [max(0.0, reset.timestamp() - now)] if used_up else []
    return max(waits, default=None)


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _described(what: str, body: object, secret: str) -> tuple[str, str, str]:
    """An error's kind and message as the server gives them, and a text on `what` happened."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    fields = error if isinstance(error, Mapping) else {"message": error}
    message = str(fields.get("message") or fields.get("detail") or "")
    kind = str(fields.get("type") or "")
    # A server may echo the key; cutting first could leave half of it.
    redacted = message.replace(secret, "***") if secret else message
    detail = " ".join(redacted.split())[:MESSAGE_LIMIT]
    return kind, message, ": ".join(filter(None, (what, kind[:50], detail)))
