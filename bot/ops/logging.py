"""Logging: structlog for us and for the libraries, secrets redacted at the root; counters."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from bot.ops.redaction import Secrets
from registry.secrets import REDACTED

SHAPES = re.compile(
    r"\b\d{6,12}:[A-Za-z0-9_-]{30,}\b"  # a bot token
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # a model key
    r"|\bsbk_[A-Za-z0-9_-]{16,}"  # a key of our HTTP API
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{8,}=*"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password of a URL
)
QUIET = ("aiohttp", "httpx2", "httpcore2", "anthropic", "uvicorn", "asyncio")
_MULTI_LINE = ("exception", "stack")


def _redactor(secrets: Secrets) -> Processor:
    """A processor that takes known secrets, and what looks like one, out of every event."""

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            return SHAPES.sub(REDACTED, secrets.redact(value))
        if isinstance(value, bytes):
            return redact(value.decode(errors="replace"))
        if isinstance(value, dict):
            return {key: redact(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [redact(item) for item in value]
        if isinstance(value, BaseException):
            return redact(f"{type(value).__name__}: {value}")
        return value

    return lambda _logger, _method, event: redact(dict(event))


def configure(level: str, form: str, secrets: Secrets) -> None:
    """Set up all logging of the process: `form` is `console` or `json`.

    What is added to `secrets` later is redacted from then on.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderers: list[Processor] = [structlog.processors.JSONRenderer()]
    if form == "console":
        console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        renderers = [_escape_unprintable, console]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redactor(secrets),
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # It logs a traceback for each server that goes away; the pool says it in a line.
    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


class _Escaped:
    """A text whose unprintable characters are written out, as Python writes them."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in self._text)


def _escape_unprintable(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The event without anything that moves a terminal or looks like another line of the log."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = (
                _Escaped(value)
                if key not in _MULTI_LINE
                else "\n".join(f"    {_Escaped(line)}" for line in value.split("\n"))
            )
    for key in [key for key in event if not key.isprintable()]:
        event[str(_Escaped(key))] = event.pop(key)
    return event


class Counters(Counter[str]):
    """Counts events such as `ignored:service`; health shows a snapshot."""

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        self[name] += amount

    def snapshot(self) -> dict[str, int]:
        """All counts so far, by name."""
        return dict(sorted(self.items()))
