"""Error answers of the Messages API as our own exceptions. Uses no client library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bot.errors import ModelBusy, ModelError, ModelRefused, StaleThinking

BUSY_STATUSES = frozenset({408, 409, 425, 429})
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")
REFUSED_KINDS = frozenset(
    {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
    }
)
CURES: Mapping[int, str] = {
    401: "check ANTHROPIC_API_KEY",
    402: "check the account's credit",
    403: "check what ANTHROPIC_API_KEY may use",
    404: "check the model's name and ANTHROPIC_BASE_URL",
    413: "the conversation is too large",
}
STALE_THINKING = ("invalid `signature`", "`thinking` block")
MESSAGE_LIMIT = 500


def status_error(
    status: int, body: object, retry_after: float | None = None, secret: str = ""
) -> ModelError:
    """The error for an HTTP answer that is not a success; `body` is its JSON or its text."""
    kind, message = _kind_and_message(body)
    text = _text(f"the Messages API answered {status}", kind, message, secret)
    if status in BUSY_STATUSES or status >= 500 or kind == "overloaded_error":
        return ModelBusy(text, retry_after)
    if status == 400 and _is_stale(message):
        return StaleThinking(text)
    cure = "check ANTHROPIC_BASE_URL" if status < 400 else CURES.get(status)
    return ModelRefused(f"{text}; {cure}" if cure else text)


def event_error(body: object, secret: str = "") -> ModelError:
    """The error for an `error` event inside a stream."""
    kind, message = _kind_and_message(body)
    text = _text("the Messages API ended the stream", kind, message, secret)
    if kind not in REFUSED_KINDS:
        return ModelBusy(text)
    return StaleThinking(text) if _is_stale(message) else ModelRefused(text)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the headers of an answer, or None; `now` is wall time."""
    precise = _seconds(headers.get("retry-after-ms"))
    if precise is not None:
        return precise / 1000
    value = headers.get("retry-after")
    plain = _seconds(value)
    if plain is not None:
        return plain
    if value is None:
        return _until_reset(headers, now)
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


def _kind_and_message(body: object) -> tuple[str, str]:
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        return str(error.get("type") or ""), str(error.get("message") or "")
    return "", str(error or "")


def _text(what: str, kind: str, message: str, secret: str) -> str:
    # A server may echo the key; cutting first could leave half of it.
    redacted = message.replace(secret, "***") if secret else message
    detail = " ".join(redacted.split())[:MESSAGE_LIMIT]
    return ": ".join(part for part in (what, kind[:50], detail) if part)


def _is_stale(message: str) -> bool:
    return all(words in message.lower() for words in STALE_THINKING)
