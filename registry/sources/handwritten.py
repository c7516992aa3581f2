"""An agent or an instance as people paste it: JSON typed on a phone, JavaScript's, or YAML.

Phones make quotes curly, and people press Enter inside a text or leave comments. What has one clear
meaning is read; everything else is a problem with its line number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from registry.authorization import WriterPermissions
from registry.definition import AgentDefinition, Servers
from registry.errors import DocumentErrors, Problem
from registry.fields import Path, casefolded, fields_of, nearest_place
from registry.instance import AgentInstance
from registry.snapshot import Entry
from registry.sources.json_yaml import MalformedText, lines_of, parse_json, parse_yaml
from registry.validation import DocumentReader, RawValue

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig, Profile

T = TypeVar("T")

_CURLY = "\u201c\u201d\u201e\u201f\u2033\uff02"
_ANGLE = "\u00ab\u00bb"
_BETWEEN = re.compile(
    rf"""(?:[^"'/{_CURLY}{_ANGLE}]|'(?:(?<=[\s,:{{\[]')[^'\n]*+')?|/(?![/*])|(?<=[\w:.])/)++"""
)
_COMMENT = re.compile(r"//[^\n]*+|/\*.*?(?:\*/|(\Z))", re.DOTALL)
_STRAIGHT = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_AHEAD = r"(?=\s*+(?:[,:}\]]|\Z|//|/\*))"
_END_OF_CURLY = re.compile(rf'(?:\\.|[^\\"{_CURLY}]|["{_CURLY}](?!{_AHEAD}))*+', re.DOTALL)
_END_OF_ANGLE = re.compile(rf"(?:\\.|[^\\{_ANGLE}]|[{_ANGLE}](?!{_AHEAD}))*+", re.DOTALL)
_GOES_ON = re.compile(_AHEAD)
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff]")
_SPACE = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_CURLY_NAME = re.compile(rf"^([ ]*+(?:- )?)[{_CURLY}]([\w.-]++)[{_CURLY}](?=:)", re.MULTILINE)
_CURLY_VALUE = re.compile(
    rf'^([ ]*+(?:- )?(?:"?[\w.-]++"?:[ ]++)?)[{_CURLY}]([^\n]*?)[{_CURLY}][ ]*$', re.MULTILINE
)
_AT_THE_END = "it ends unexpectedly"
_SEND_WHOLE = "close every bracket, or send it as a file: Telegram cuts long messages"
_JSON = ("{", "[", "//", "/*")
_EXTRA = "extra data"
_ONE_AT_A_TIME = "send one {} at a time, with nothing after it"
_ROOTS = frozenset({"agents", "bindings", "defaultagentid", "mcpservers", "$schema"})
_LEFT = frozenset({"agents", "$schema"})


def _field_line(*names: str) -> re.Pattern[str]:
    """A line that begins as YAML does with one of these names, and not as a sentence."""
    fields = "|".join(names)
    return re.compile(rf"^[^\w\n]*+(?:{fields})\b\W{{0,3}}:", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is pasted: in words, an example of it, and how a line of it begins."""

    noun: str
    example: str
    field_line: re.Pattern[str]


_AGENT = _Kind(
    "agent",
    'write {"id": "jack", "name": "Jack"}, or the same in YAML',
    _field_line(*fields_of(AgentDefinition), "agents", "bindings", "defaultAgentId"),
)
_INSTANCE = _Kind(
    "agent instance",
    "write agent_type: simple_chat, or the same in JSON",
    _field_line(*fields_of(AgentInstance)),
)


_PROFILE = _Kind(
    "profile",
    "write name: Principal and what it says, or the same in JSON",
    _field_line(
        *("name", "type", "description", "llm_config_ref", "text_definitions"),
        *("pre_turn_observers", "post_turn_observers", "flow_decider"),
        *("system_prompt_construction", "tool_access_policy"),
    ),
)
_LLM_CONFIG = _Kind(
    "model configuration",
    "write name: careful and model: …, or the same in JSON",
    _field_line("name", "model", "temperature", "max_tokens", "reasoning_effort", "fallback_model"),
)


def parse_pasted_agent(
    text: str, file: str, writer: WriterPermissions, shared: Servers
) -> AgentDefinition:
    """One agent from a message, or a file with this name; raises `DocumentErrors`."""
    raw = _sole_agent(_whole(text, file, _AGENT))
    return _value(raw, _AGENT, DocumentReader(writer), lambda reader: reader.agent(raw, shared))


def parse_pasted_instance(
    text: str, file: str, writer: WriterPermissions, id: str = ""
) -> AgentInstance:
    """One instance from a message or a file, as above; with an `id` it may leave its names out."""
    raw = _whole(text, file, _INSTANCE)
    return _value(raw, _INSTANCE, DocumentReader(writer), lambda reader: reader.instance(raw, id))


def parse_pasted_profile(text: str, file: str, writer: WriterPermissions) -> Profile:
    """One profile from a message or a file, as above."""
    raw = _whole(text, file, _PROFILE)
    return _value(raw, _PROFILE, DocumentReader(writer), lambda reader: reader.profile(raw))


def parse_pasted_llm_config(text: str, file: str, writer: WriterPermissions) -> NamedLlmConfig:
    """One model configuration from a message or a file, as above."""
    raw = _whole(text, file, _LLM_CONFIG)
    return _value(raw, _LLM_CONFIG, DocumentReader(writer), lambda reader: reader.llm_config(raw))


def _value(
    raw: RawValue,
    kind: _Kind,
    reader: DocumentReader,
    read: Callable[[DocumentReader], Entry[T] | None],
) -> T:
    if not isinstance(raw.value, dict):
        article = "an" if kind.noun.startswith("a") else "a"
        message = f"this is not {article} {kind.noun}"
        raise DocumentErrors([Problem(raw.place, message, kind.example)])
    if (entry := read(reader)) is None:
        raise DocumentErrors(sorted(reader.problems, key=_line_of))
    return entry.value


def _whole(text: str, file: str, kind: _Kind) -> RawValue:
    """What a text says, with the line of each of its parts; raises `DocumentErrors`."""

    def place(line: int) -> str:
        return f"{file}, line {line}" if file else f"line {line}"

    try:
        value, lines = _read(text, kind)
    except MalformedText as fault:
        cure = _SEND_WHOLE if fault.message == _AT_THE_END else fault.cure
        message = fault.message
        if message == _EXTRA:
            message = f"something follows after the end of the {kind.noun}"
            cure = _ONE_AT_A_TIME.format(kind.noun)
        where = place(fault.line)
        if "\n" not in text.strip() and fault.column > 1:
            where = f"{where}, character {fault.column}"
        raise DocumentErrors([Problem(where, message, cure)]) from None
    return RawValue(value, lambda path: place(nearest_place(path, lines)), file or "message")


def _sole_agent(raw: RawValue) -> RawValue:
    """The agent in a value: as `agent`, in a list of one, or in a document that has no more.

    Raises `DocumentErrors` where there is more.
    """
    value = raw.value
    if isinstance(value, list) and len(value) > 1 and isinstance(value[0], dict):
        cure = _ONE_AT_A_TIME.format(_AGENT.noun)
        raise DocumentErrors([Problem(raw.place, f"these are {len(value)} agents", cure)])
    if isinstance(value, list) and len(value) == 1:
        return raw.inner(0)
    names = {casefolded(str(name)): name for name in value} if isinstance(value, dict) else {}
    if "agent" in names and len(names) == 1:
        return raw.inner(names["agent"])
    if "agents" not in names or names.keys() - _ROOTS:
        return raw
    if others := [name for name in value if value[name] and casefolded(name) in _ROOTS - _LEFT]:
        cure = "send only what is in 'agents', then use /bind or /default"
        place = raw.inner(others[0]).place
        raise DocumentErrors([Problem(place, f"'{others[0]}' is outside the agent", cure)])
    return _sole_agent(raw.inner(names["agents"]))


def _line_of(problem: Problem) -> int:
    """The line that a problem's place ends with; 0 where it has none."""
    found = re.search(r"(?<![0-9])[0-9]++\Z", problem.place)
    return int(found[0]) if found else 0


def _read(text: str, kind: _Kind) -> tuple[Any, dict[Path, int]]:
    """The value of a text, and the line of each of its parts; raises `MalformedText`."""
    text = _without_preface(text, kind)
    if not text.lstrip().startswith(_JSON):
        return parse_yaml(_with_straight_lines(text))
    try:
        return parse_json(text), lines_of(text)
    except MalformedText as fault:
        plain, wrong = _with_straight_quotes(text), fault
    try:
        return parse_json(plain), lines_of(plain)
    except MalformedText as fault:
        wrong = fault if plain != text else wrong
    try:  # without quotes around names, in single quotes, with comments
        return parse_yaml(plain)
    except MalformedText:
        raise wrong from None


def _without_preface(text: str, kind: _Kind) -> str:
    """A text without the words before its JSON, and the code fence around that; its lines stay."""
    head, bracket, _ = text.partition("{")
    if not bracket or head.lstrip().startswith(_JSON) or "#" in head:
        return text
    if not head.strip() or kind.field_line.search(head):
        return text
    after = text[len(head) :]
    after = after.partition("```")[0] if "```" in head else after
    return re.sub(r"[^\n]", " ", head) + after


def _with_straight_quotes(text: str) -> str:
    """JSON with plain quotes and spaces, without comments and line breaks in texts; its lines stay.

    Raises `MalformedText` for a text or a comment that is not closed.
    """
    parts, at = [], 0
    while at < len(text):
        if between := _BETWEEN.match(text, at):
            parts.append(_SPACE.sub(" ", _UNSEEN.sub("", between[0])))
            at = between.end()
            continue
        if comment := _COMMENT.match(text, at):
            breaks = comment[0].count("\n")
            if comment[1] is not None:
                line = text.count("\n", 0, at) + 1
                raise MalformedText(line, 1, "a comment is not closed", "close it with */")
            parts.append(" " + "\n" * breaks)
            at = comment.end()
            continue
        end = _end_of_text(text, at)
        inner, breaks = text[at + 1 : end], text.count("\n", at, end)
        inner = inner.strip(" \u00a0\u202f") if text[at] in _ANGLE else inner
        if text[at] != '"':
            inner = re.sub(r'(\\.)|"', lambda found: found[1] or r"\"", inner, flags=re.DOTALL)
        inner = inner.replace("\r", "").replace("\n", r"\n").replace("\t", r"\t")
        parts.append(f'"{inner}"' + "\n" * breaks)
        at = end + 1
    return "".join(parts)


def _end_of_text(text: str, start: int) -> int:
    """Where the text that begins with a quote ends: the index of its closing quote."""
    if text[start] == '"':
        found = _STRAIGHT.match(text, start)
        end = found.end() - 1 if found else len(text)
        closed = "\n" not in text[start:end] or _GOES_ON.match(text, end + 1)
    else:
        ending = _END_OF_ANGLE if text[start] in _ANGLE else _END_OF_CURLY
        found = ending.match(text, start + 1)
        end, closed = found.end() if found else len(text), True
    if end >= len(text) or not closed:
        line = text.count("\n", 0, start) + 1
        raise MalformedText(line, 1, "a text is not closed", "close it with a double quote")
    return end


def _with_straight_lines(text: str) -> str:
    """YAML with plain quotes around names and values, and plain spaces."""

    def straight(found: re.Match[str]) -> str:
        inner = found[2].replace("\\", "\\\\").replace('"', '\\"')
        return f'{found[1]}"{inner}"'

    plain = _SPACE.sub(" ", _UNSEEN.sub("", text))
    return _CURLY_VALUE.sub(straight, _CURLY_NAME.sub(r'\1"\2"', plain))
