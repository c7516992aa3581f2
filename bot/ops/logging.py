"""Logging: structlog for us and for the libraries, with secrets blotted out at the root."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from bot.ops.redaction import SECRET, Secrets

SHAPES = re.compile(
    r"\b\d{6,12}:[A-Za-z0-9_-]{30,}\b"  # a bot token
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # a model key
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{8,}=*"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password of a URL
)
QUIET = (
    "aiohttp",
    "httpx2",
    "httpcore2",
    "anthropic",
    "uvicorn",
    "asyncio",
)
_MANY_LINES = ("exception", "stack")
MUTE = ("mcp.client",)
"""Prints a traceback for each server that goes away; the pool says it in a line."""


class Redactor:
    """A processor that blots known secrets, and whatever looks like one, out of every event."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self._secrets = secrets or Secrets()

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The event with every string cleaned, at any depth."""
        return {key: self._clean(value) for key, value in event.items()}

    def text(self, text: str) -> str:
        """A text without secrets."""
        return SHAPES.sub(SECRET, self._secrets.hidden(text))

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode(errors="replace"))
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        return value


def configure(level: str, form: str, secrets: Secrets | None = None) -> None:
    """Set up all logging of the process: `form` is `console` or `json`.

    What is added to `secrets` later is blotted out from then on.
    """
    redactor = Redactor(secrets)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tail = [structlog.processors.format_exc_info, redactor, *_renderers(form)]
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in MUTE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _renderers(form: str) -> list[Any]:
    if form == "json":
        return [structlog.processors.JSONRenderer()]
    return [_on_its_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


class _Written:
    """A text whose characters that cannot be printed are written out, as Python writes them."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in self._text)


def _on_its_line(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The event with nothing in it that moves a terminal or looks like another line of the log."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = _set_in(value) if key in _MANY_LINES else _Written(value)
    return event


def _set_in(text: str) -> str:
    return "\n".join(f"    {_Written(line)}" for line in text.split("\n"))
