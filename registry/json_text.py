"""JSON read for people: the line of every value, doubled names refused, a cure for bad syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

Path = tuple[str | int, ...]

_WORD = re.compile(r'\n|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\],:]|[^\s{}\[\],:"]+')
_MISPLACED = re.compile(r"[^\s]")
_CURES = {
    "Expecting property name enclosed in double quotes": "write every name in double quotes",
    "Illegal trailing comma before end of object": "remove the comma before the closing bracket",
    "Illegal trailing comma before end of array": "remove the comma before the closing bracket",
    "Expecting ',' delimiter": "put a comma between two entries, or close the bracket",
    "Expecting ':' delimiter": "put a colon between the name and its value",
    "Unterminated string starting at": "close the text with a double quote on the same line",
    "Invalid control character at": "write a line break inside a text as \\n",
    "Invalid \\escape": "write a backslash inside a text as \\\\",
    "Invalid \\uXXXX escape": "write four hexadecimal digits after \\u",
    "Extra data": "keep one JSON object in the file and remove what follows it",
}


_LEVELS = 100
_LONGEST = 100


class JsonFault(ValueError):
    """A text is not the JSON we take; `line` and `column` begin at 1."""

    def __init__(self, line: int, column: int, message: str, cure: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}; {cure}")
        self.line = line
        self.column = column
        self.message = message
        self.cure = cure


class _Doubled(ValueError):
    """A name occurs twice in one object."""


def parse(text: str) -> Any:
    """The value of a JSON text; `JsonFault` also for doubled names, NaN and lone surrogates."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _syntax(error) from None
    except UnicodeEncodeError:
        raise _surrogate(text) from None
    except _Doubled:
        raise _doubled(text) from None
    except RecursionError:
        raise _deep() from None
    except ValueError as error:
        raise JsonFault(1, 1, str(error), "write plain numbers of a sensible size") from None
    if _is_deep(value):
        raise _deep()
    return value


def _is_deep(value: Any) -> bool:
    """Whether there are more levels than all who read it later can walk down."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_LEVELS):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [x for one in inner for x in one if isinstance(x, dict | list)]
    return bool(level)


def _deep() -> JsonFault:
    return JsonFault(1, 1, "it is nested too deeply", f"nest at most {_LEVELS} levels")


def casefolded(name: str) -> str:
    """A name as it is compared: any letter case, with or without underscores."""
    return name.replace("_", "").lower()


def lines(text: str) -> dict[Path, int]:
    """The line of every value of a valid JSON text, by its path of folded names and indexes."""
    scanner = _Scanner(text)
    try:
        scanner.value((), *next(scanner.words))
    except RecursionError:
        raise _deep() from None
    return scanner.lines


def dotted(path: Path) -> str:
    """A path as people write it: `agents[0].name`; a name is as long as anybody reads."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part[:_LONGEST]}" for part in path)
    return "".join(steps).removeprefix(".")


class _Scanner:
    """One pass over the words of a valid JSON text."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self.doubled: int | None = None
        self.words = _words(text)

    def value(self, path: Path, word: str, line: int) -> None:
        self.lines.setdefault(path, line)
        if word == "{":
            self._members(path)
        elif word == "[":
            self._items(path)

    def _members(self, path: Path) -> None:
        seen: set[str] = set()
        for word, line in self.words:
            if word == "}":
                return
            if word == ",":
                continue
            name = json.loads(word)
            if name in seen and self.doubled is None:
                self.doubled = line
            seen.add(name)
            next(self.words)
            self.lines.setdefault((*path, casefolded(name)), line)
            self.value((*path, casefolded(name)), *next(self.words))

    def _items(self, path: Path) -> None:
        index = 0
        for word, line in self.words:
            if word == "]":
                return
            if word != ",":
                self.value((*path, index), word, line)
                index += 1


def _words(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _WORD.finditer(text):
        if match[0] == "\n":
            line += 1
        else:
            yield match[0], line


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Doubled
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _doubled(text: str) -> JsonFault:
    scanner = _Scanner(text)
    try:
        scanner.value((), *next(scanner.words))
    except RecursionError:
        return _deep()
    line = scanner.doubled or 1
    return JsonFault(line, 1, "a name occurs twice in one object", "keep one of the two")


def _surrogate(text: str) -> JsonFault:
    found = re.search(r"\\u[dD][89a-fA-F]", text)
    line = text.count("\n", 0, found.start() if found else 0) + 1
    cure = "write the character itself, or both halves of the pair"
    return JsonFault(line, 1, "half of a surrogate pair stands alone", cure)


def _syntax(error: json.JSONDecodeError) -> JsonFault:
    rest = _MISPLACED.search(error.doc, error.pos)
    before = error.doc[: error.pos].rstrip()
    if not error.doc.strip():
        return JsonFault(1, 1, "it is empty", "write at least {}")
    if rest is None or error.msg.startswith("Unterminated string"):
        message, cure = "it ends in the middle", "save the whole file: it looks half-written"
        if rest is not None and "\n" in error.doc[error.pos :].rstrip():
            message, cure = "a text is not closed", _CURES["Unterminated string starting at"]
    elif rest[0] in "}]" and before.endswith(","):
        message, cure = "a comma stands before a closing bracket", "remove that comma"
    else:
        message, cure = _misplaced(error, rest)
    return JsonFault(error.lineno, error.colno, message, cure)


def _misplaced(error: json.JSONDecodeError, rest: re.Match[str]) -> tuple[str, str]:
    ahead = error.doc[rest.start() : rest.start() + 5]
    if ahead.startswith(("//", "/*", "#")):
        return "JSON has no comments", "remove the comment"
    if ahead.startswith("'"):
        return "a text stands in single quotes", "use double quotes"
    if ahead.startswith(("True", "False", "None")):
        return "true, false and null are written in small letters", "write true, false or null"
    cure = _CURES.get(error.msg, "write a value here: a text in quotes, a number, true, { } or [ ]")
    message = error.msg.removesuffix(" at")
    return f"{message[0].lower()}{message[1:]}", cure
