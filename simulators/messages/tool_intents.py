"""Finds the tool calls that a plain request asks for, among the offered tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from simulators.messages.cities import places
from simulators.messages.shape import Obj
from simulators.messages.turns import Call

_TIME = re.compile(
    r"\b(?:what(?:'s| is)? (?:the )?(?:current )?time|what time|time (?:is it )?in)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_LIST = re.compile(
    r"\b(?:list|show)\b.*\b(?:files?|notes|folder|directory)\b|^\s*ls\b", re.IGNORECASE
)
_SEARCH = re.compile(
    r"\b(?:search|look)\b(?:\s+(?:in|through))?(?:\s+(?:my|the|all))*(?:\s+(?:files?|notes?))?"
    r"\s+for\s+(?P<after>.+)|"
    r"\bwhich\s+(?:files?|notes?)\s+(?:mention|contain|say)s?\s+(?P<which>.+)",
    re.IGNORECASE,
)
_FIND = re.compile(r"\bfind\s", re.IGNORECASE)
_IN_FILES = re.compile(r"\sin\s+(?:(?:my|the|all)\s+)*(?:files?|notes?)\b", re.IGNORECASE)
_LIST_OF = re.compile(r"\b(?:in|of|from|ls)\s+[\"'`]?([\w./~-]+)", re.IGNORECASE)
_READ = re.compile(
    r"\b(?:read|open|show(?: me)?|cat)\s+(?:the\s+)?(?:file\s+)?[\"'`]?([\w./~-]+\.\w+)",
    re.IGNORECASE,
)
_WRITE = re.compile(r"\b(?:write|save|put)\s", re.IGNORECASE)
_INTO = re.compile(
    r"\s(?:to|into|in)\s+(?:the\s+)?(?:file\s+)?[\"'`]?(?P<path>[\w./~-]+\.\w+)", re.IGNORECASE
)
_CREATE = re.compile(
    r"\b(?:write|create)\s+(?:the\s+|a\s+)?(?:file\s+)?[\"'`]?(?P<path>[\w./~-]+\.\w+)[\"'`]?"
    r"(?:\s*(?::|with|saying)\s*(?P<text>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_DELETE = re.compile(
    r"\b(?:delete|remove)\s+(?:(?:my|the)\s+)?(?:(?:file|note)\s+)?[\"'`]?([\w./~-]+\.\w+)",
    re.IGNORECASE,
)
_USE = re.compile(
    r"\b(?:call|use|run)\s+(?:the\s+)?(?:tool\s+)?[`\"']?([\w.-]+)[`\"']?(?:\s+with)?\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_ROOTS = "list_allowed_directories"
_PATHS = ("path", "file_path", "filepath", "filename", "file", "directory", "dir", "name", "uri")
_QUERIES = ("query", "pattern", "text", "search", "q", "term", "words")
_CONTENTS = ("content", "contents", "text", "data", "body")


@dataclass(frozen=True, slots=True)
class Intent:
    """Tool calls to make for a request, or a sentence (`missing`) on what is missing."""

    calls: tuple[Call, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The offered tools, and the folders that a tool has already named as allowed."""

    tools: Sequence[Obj]
    roots: Sequence[str] = ()

    def find(self, *names: str) -> Obj | None:
        """The first tool whose name is, or ends with, one of these."""
        for name in names:
            ending = re.compile(rf"(?:^|[^a-z0-9]){re.escape(name)}$")
            for tool in self.tools:
                if ending.search(tool["name"].lower()):
                    return tool
        return None


def find_intent(text: str, tools: OfferedTools) -> Intent | None:
    """What a request asks of the tools; None if it asks nothing of them."""
    steps: tuple[Callable[[str, OfferedTools], Intent | None], ...] = (
        _use,
        _convert,
        _time,
        _write,
        _delete,
        _search,
        _read,
        _list,
    )
    for step in steps:
        found = step(text, tools)
        if found is not None:
            return found
    return None


def _time(text: str, tools: OfferedTools) -> Intent | None:
    if not _TIME.search(text):
        return None
    tool = tools.find("get_current_time", "current_time", "get_time", "now")
    if tool is None:
        return Intent(missing="None of this agent's tools tells the time.")
    where = places(text) or [("UTC", "Etc/UTC")]
    field = next(iter(_named(tool, ("timezone", "tz", "zone", "timezone_name"))), None)
    return Intent(tuple(Call(tool["name"], {field: zone} if field else {}) for _, zone in where))


def _convert(text: str, tools: OfferedTools) -> Intent | None:
    clock, where = _CLOCK.search(text), places(text)
    if clock is None or len(where) < 2:
        return None
    tool = tools.find("convert_time")
    if tool is None:
        return Intent(missing="None of this agent's tools converts times.")
    given = {
        "source_timezone": where[0][1],
        "time": f"{int(clock[1]):02}:{clock[2]}",
        "target_timezone": where[1][1],
    }
    return Intent((Call(tool["name"], given),))


def _list(text: str, tools: OfferedTools) -> Intent | None:
    if not _LIST.search(text):
        return None
    of = _LIST_OF.search(text)
    names = ("list_directory", "list_files", "list_dir", "directory_tree", "ls", "list")
    return _on_file(tools, names, of[1] if of else ".", None)


def _read(text: str, tools: OfferedTools) -> Intent | None:
    wanted = _READ.search(text)
    if wanted is None:
        return None
    return _on_file(tools, ("read_text_file", "read_file", "get_file", "read"), wanted[1], None)


def _search(text: str, tools: OfferedTools) -> Intent | None:
    wanted, plain = _between(text, _FIND, _IN_FILES), _SEARCH.search(text)
    if plain and (wanted is None or plain.start() < wanted.at):
        wanted = _Between(plain.start(), plain["after"] or plain["which"])
    if wanted is None:
        return None
    names = ("search_files", "search_notes", "search_text", "grep", "search")
    tool = tools.find(*names)
    if tool is None:
        return _without(names)
    words = wanted.words.strip().strip("\"'`?.! ")
    given: dict[str, Any] = dict.fromkeys(_first(tool, _QUERIES), words)
    if "path" in _required(tool):
        given["path"] = tools.roots[0] if tools.roots else "."
    return Intent((Call(tool["name"], given),))


@dataclass(frozen=True, slots=True)
class _Between:
    """The words between a verb (which is `at`) and where it goes."""

    at: int
    words: str
    path: str = ""


def _between(text: str, verb: re.Pattern[str], place: re.Pattern[str]) -> _Between | None:
    """The words between the first verb and the first place after it, if there are any.

    Two patterns, as one would read the text again from each verb.
    """
    begins = verb.search(text)
    ends = place.search(text, begins.end()) if begins else None
    if begins is None or ends is None:
        return None
    words = text[begins.end() : ends.start()]
    return _Between(begins.start(), words, ends.groupdict().get("path") or "")


def _without(names: Sequence[str]) -> Intent:
    return Intent(missing=f"None of this agent's tools can do that (I look for {names[0]}).")


def _write(text: str, tools: OfferedTools) -> Intent | None:
    wanted, plain = _between(text, _WRITE, _INTO), _CREATE.search(text)
    if plain and (wanted is None or plain.start() < wanted.at):
        wanted = _Between(plain.start(), plain["text"] or "", plain["path"])
    if wanted is None:
        return None
    path, words = wanted.path, wanted.words.strip().strip("\"'`")
    names = ("write_file", "write_text_file", "create_file", "save_file", "put_file", "write")
    return _on_file(tools, names, path, words or "Written by the sandbox's small script.")


def _delete(text: str, tools: OfferedTools) -> Intent | None:
    wanted = _DELETE.search(text)
    if wanted is None:
        return None
    names = ("delete_file", "remove_file", "delete_note", "delete")
    return _on_file(tools, names, wanted[1], None)


def _on_file(tools: OfferedTools, names: Sequence[str], path: str, content: str | None) -> Intent:
    tool = tools.find(*names)
    if tool is None:
        return _without(names)
    roots = tools.find(_ROOTS)
    if roots is not None and not tools.roots and not path.startswith(("/", "~")):
        return Intent((Call(roots["name"]),))
    if tools.roots and not path.startswith(("/", "~")):
        path = tools.roots[0] if path == "." else f"{tools.roots[0].rstrip('/')}/{path}"
    given: dict[str, Any] = dict.fromkeys(_first(tool, _PATHS), path)
    if content is not None:
        given |= dict.fromkeys(_first(tool, _CONTENTS), content)
    return Intent((Call(tool["name"], given),))


def _use(text: str, tools: OfferedTools) -> Intent | None:
    wanted = _USE.search(text)
    if wanted is None:
        return None
    tool = tools.find(wanted[1].lower())
    if tool is None:
        return None
    given = _object(wanted[2])
    if given is None:
        words = wanted[2].strip().strip("\"'`")
        given = dict.fromkeys(_first(tool, _required(tool)), words) if words else {}
    return Intent((Call(tool["name"], given),))


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _required(tool: Obj) -> list[str]:
    properties = tool["input_schema"].get("properties") or {}
    names = tool["input_schema"].get("required") or list(properties)
    return [name for name in names if properties.get(name, {}).get("type", "string") == "string"]


def _named(tool: Obj, names: Sequence[str]) -> Iterator[str]:
    properties = tool["input_schema"].get("properties") or {}
    yield from (name for name in names if name in properties)


def _first(tool: Obj, names: Sequence[str]) -> list[str]:
    return list(_named(tool, names))[:1]


def is_roots(name: str) -> bool:
    """Whether a tool of this name only tells which folders are allowed."""
    return name.lower().endswith(_ROOTS)


def roots_in(text: str) -> list[str]:
    """The folders in such a tool's result: every line that is an absolute path."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("/")]
