"""The parameters of one call, wherever they came from: query, form or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from simulators.telegram.refusals import bad_request

_NUMBER = re.compile(r"\s*([+-]?\d+)")
_TRUE = {"true", "yes", "1"}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came inside a multipart request."""

    name: str
    data: bytes
    mime: str | None = None


@dataclass(frozen=True, slots=True)
class Params:
    """Typed access to `values`; `files` holds the uploads of a multipart request by field name."""

    values: Mapping[str, Any]
    files: Mapping[str, Upload]

    def has(self, name: str) -> bool:
        """Whether the call names this parameter at all."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """The parameter as text, empty when absent."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()

    def integer(self, name: str, default: int = 0) -> int:
        """The leading digits of the parameter, 0 for text without any; `default` when absent."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        text = self.text(name)
        if not text:
            return default
        match = _NUMBER.match(text)
        return int(match.group(1)) if match else 0

    def bounded(self, name: str, default: int, low: int, high: int) -> int:
        """The parameter as a number, moved into low..high."""
        return min(high, max(low, self.integer(name, default)))

    def flag(self, name: str) -> bool:
        """True for true, yes and 1."""
        return self.text(name).strip().lower() in _TRUE

    def json(self, name: str, what: str) -> Any:
        """The parameter as parsed JSON, None when absent or empty; 400 names `what`."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise bad_request(f"can't parse {what} JSON object") from None

    def required(self, name: str) -> str:
        """The parameter as text; 400 when it is absent or empty."""
        value = self.text(name)
        if not value:
            raise bad_request(f'parameter "{name}" is required')
        return value
