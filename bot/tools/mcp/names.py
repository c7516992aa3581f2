"""Names of tools on the model's wire: readable, legal, unique, and mapped both ways."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

WIRE_LIMIT = 64

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


class Keyed(Protocol):
    """Anything with a key of segments: `mcp:<server>:<tool>`, `skill:<name>`."""

    @property
    def key(self) -> str:
        """The key."""
        ...


KeyedT = TypeVar("KeyedT", bound=Keyed)


class WireNames(Generic[KeyedT]):
    """The wire names of one set of tools; the same set gives the same names in any order.

    A name is `server__tool` with illegal characters as `_`; where two tools would share one, or
    it is longer than 64 characters, it ends in a digest of the key.
    """

    def __init__(self, tools: Iterable[KeyedT]) -> None:
        by_key: dict[str, KeyedT] = {}
        for tool in tools:
            by_key.setdefault(tool.key, tool)
        self._wires = _assign(sorted(by_key))
        self._tools = {self._wires[key]: tool for key, tool in by_key.items()}

    def wire(self, tool: Keyed | str) -> str:
        """The wire name of a tool (or of its key); KeyError if it is not of this set."""
        return self._wires[tool if isinstance(tool, str) else tool.key]

    def tool(self, wire: str) -> KeyedT | None:
        """The tool of a wire name, or None: a model may invent names."""
        return self._tools.get(wire)


def _assign(keys: list[str]) -> dict[str, str]:
    plain = {key: _plain(key) for key in keys}
    uses = Counter(plain.values())
    wires = {
        key: name for key, name in plain.items() if uses[name] == 1 and len(name) <= WIRE_LIMIT
    }
    taken = set(wires.values())
    for key in keys:
        if key not in wires:
            wires[key] = _with_digest(key, plain[key], taken)
            taken.add(wires[key])
    return wires


def _plain(key: str) -> str:
    parts = key.split(":", 2)
    segments = parts[1:] if parts[0] == "mcp" and len(parts) == 3 else parts
    return "__".join(_ILLEGAL.sub("_", segment) for segment in segments)


def _with_digest(key: str, plain: str, taken: set[str]) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    for length in range(8, WIRE_LIMIT):
        name = f"{plain[: WIRE_LIMIT - length - 1]}_{digest[:length]}"
        if name not in taken:
            return name
    return digest
