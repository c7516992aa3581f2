"""What people read of a sheet, and its buttons; what a model reads of a decision.

Everything that a model or a server wrote is shown as data: inside code, without hidden characters,
and never longer than fits into one message.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.access.rules import HOST_ADMINS
from bot.approvals.request import (
    ALL,
    ApprovalDecision,
    ApprovalRequest,
    ToolCallApproval,
    callback_data,
    is_personal_grant,
)
from bot.safety.text_safety import Redact, deception_warning, redact_values, reveal, safe_text

SHOWN_LIMIT = 2400
VALUE_LIMIT = 600
WORDS_LIMIT = 80
MOST_LEVELS = 20
ONE_VALUE = 10
LOOKED_AT = 2_000
"""Characters of one text that are looked at, and at least of all; many more than are shown."""

NO_LONGER_OPEN = "This question is no longer open."
NOT_YOURS = "Only {} may answer this."
NOTED = {"once": "Allowed once.", "always": "Allowed here from now on.", "deny": "Denied."}
NOTED_FOR_YOU = "Allowed here for you from now on."
GOES_ON = "I go on."
UNASKED = "nobody could be asked, since the chat does not take the question."

Row = list[tuple[str, str]]

_MARKS: Mapping[str, str] = {
    "pending": "",
    "granted": "✓ allowed once by {}",
    "kept": "✓ always allowed in this chat, by {}",
    "for one": "✓ always allowed here for {}",
    "denied": "✗ denied by {}",
    "expired": "✗ not approved: nobody answered in time",
    "dropped": "✗ not approved: the conversation went on",
    "unasked": "✗ not approved: nobody could be asked",
}


def describe_call(
    server: str | None,
    tool: str,
    arguments: Any,
    limit: int = SHOWN_LIMIT,
    screen: Redact = str,
) -> str:
    """One call in plain words, as Markdown: tool, server, arguments, and what deceives in them.

    `screen` takes out of the arguments what people should not read.
    """
    told: dict[str, None] = {}
    lines = [*_lines(arguments, _Excerpt(max(LOOKED_AT, 4 * limit)), screen, told)]
    head = _named(tool, told) + (f" of {_named(server, told)}" if server else "")
    text = "\n".join(lines)
    if len(text) > limit:
        text = f"{text[:limit]}…\n[cut: {len(text) - limit} more characters]"
    body = f"\n{_fenced(text)}" if text else ", with no arguments"
    return f"{head}{body}" + (f"\n{deception_warning([*told])}" if told else "")


def render(sheet: ApprovalRequest) -> str:
    """The sheet as people read it, as Markdown."""
    several = len(sheet.asked) > 1
    head = f"**May I do these {len(sheet.asked)} things?**" if several else "**May I do this?**"
    calls = [_call(sheet, i, several) for i in range(len(sheet.asked))]
    return "\n\n".join([f"{head}\n{calls[0]}", *calls[1:], *_foot(sheet)])


def buttons(sheet: ApprovalRequest) -> list[Row]:
    """The buttons of a sheet; none once nothing is open."""
    if sheet.closed:
        return []
    pending = sheet.pending
    several = len(sheet.asked) > 1
    found = [row for i in pending for row in _buttons(sheet, i, several)]
    if len(pending) > 1:
        once = ("All once", callback_data(sheet.nonce, ALL, "once"))
        found.append([once, ("Deny all", callback_data(sheet.nonce, ALL, "deny"))])
    if not pending and sheet.wants_reason:
        found.append([("Go on without a reason", callback_data(sheet.nonce, ALL, "go"))])
    return found


def approver_names(sheet: ApprovalRequest) -> str:
    """Who may answer, in words."""
    words = []
    if "asker" in sheet.approvers:
        words.append(safe_text(sheet.asker.name))
    if "admins" in sheet.approvers:
        words.append("the chat's admins")
    if HOST_ADMINS in sheet.approvers:
        words.append("the admins of this host")
    if ids := [str(one) for one in sheet.approvers if isinstance(one, int)]:
        words.append(f"whoever has the id {' or '.join(ids)}")
    return " or ".join(words)


def already_decided(sheet: ApprovalRequest, tap: ApprovalDecision) -> str:
    """What somebody reads who presses a button that decides nothing any more."""
    one = sheet.asked[tap.index] if 0 <= tap.index < len(sheet.asked) else None
    if one is None or one.state == "pending":
        return NO_LONGER_OPEN
    mark = _mark(sheet, one).format(" ".join(one.name.split()))
    return f"Answered already: {mark}"


def acknowledgement(sheet: ApprovalRequest, tap: ApprovalDecision, person: int) -> str:
    """What somebody reads who has just decided something."""
    if tap.choice == "always" and is_personal_grant(sheet, person):
        return NOTED_FOR_YOU
    return NOTED.get(tap.choice, GOES_ON)


def denial_for_model(sheet: ApprovalRequest, one: ToolCallApproval) -> str:
    """What the model reads of a call that was not approved."""
    if one.state == "expired":
        return "Not approved: nobody answered in time. It was not run. Go on without it."
    if one.state == "unasked":
        return f"Not approved: {UNASKED} It was not run. Go on without it."
    if one.state in ("dropped", "granted", "pending"):
        return "Not approved: the person wrote instead. It was not run."
    why = f" Their reason: {sheet.reason}" if sheet.reason else " They gave no reason."
    return f"Not approved: a person denied this call. It was not run.{why}"


def _mark(sheet: ApprovalRequest, one: ToolCallApproval) -> str:
    """What became of a call, with a place for the name of who decided."""
    if one.kept:
        return _MARKS["for one" if is_personal_grant(sheet, one.by) else "kept"]
    return _MARKS[one.state]


def _call(sheet: ApprovalRequest, index: int, several: bool) -> str:
    one = sheet.asked[index]
    number = f"{index + 1}\\. " if several else ""
    mark = _mark(sheet, one).format(safe_text(one.name))
    return f"{number}{one.shown}" + (f"\n{mark}" if mark else "")


def _foot(sheet: ApprovalRequest) -> list[str]:
    if sheet.closed:
        return [f"Reason: {safe_text(sheet.reason)}"] if sheet.reason else []
    if sheet.pending:
        until = datetime.fromtimestamp(sheet.until, UTC)
        return [f"_{approver_names(sheet)} may answer, until {until.day} {until:%b, %H:%M} UTC._"]
    if sheet.wants_reason:
        return ["_Write me why if you like; I go on in a minute._"]
    return [f"Reason: {safe_text(sheet.reason)}"] if sheet.reason else []


def _buttons(sheet: ApprovalRequest, index: int, several: bool) -> list[Row]:
    """One row, or two where the long label would be cut on a telephone."""
    mark = f"{index + 1}: " if several else ""
    once = (f"{mark}Once", callback_data(sheet.nonce, index, "once"))
    deny = (f"{mark}Deny", callback_data(sheet.nonce, index, "deny"))
    always = callback_data(sheet.nonce, index, "always")
    if not sheet.asked[index].always:
        return [[once, deny]]
    if several:
        return [[once, (f"{mark}Always", always), deny]]
    varies = not sheet.address.private and "asker" in sheet.approvers
    return [[once, deny], [("Always here" if varies else "Always for this chat", always)]]


def _lines(
    arguments: Any, excerpt: _Excerpt, screen: Redact, told: dict[str, None]
) -> Iterator[str]:
    """A line for each argument; no more of them than anybody reads."""
    if not isinstance(arguments, Mapping):
        yield _value(arguments, excerpt, screen, told)
        return
    for count, (name, value) in enumerate(arguments.items()):
        if excerpt.is_full:
            yield f"[{len(arguments) - count} more arguments]"
            return
        short = excerpt.of(str(name))
        title = _seen(screen(short), told, name=True)
        yield f"{title}: {_value(value, excerpt, screen, told, short)}"


def _value(
    value: Any, excerpt: _Excerpt, screen: Redact, told: dict[str, None], name: str = ""
) -> str:
    """A value as it is, without what people should not read; what deceives in it is noted."""
    unread = max(0, len(value) - LOOKED_AT) if isinstance(value, str) else 0
    shown = redact_values(excerpt.of(value), screen, name)
    text, deceives = reveal(
        shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    )
    told.update(dict.fromkeys(deceives))
    if unread or len(text) > VALUE_LIMIT:
        rest = max(0, len(text) - VALUE_LIMIT) + unread
        text = f"{text[:VALUE_LIMIT]}… [{rest} more characters]"
    return text.replace("\n", "\n  ")


class _Excerpt:
    """As much of what a model wrote as is looked at for one question; the rest is not shown."""

    def __init__(self, room: int) -> None:
        self._room = room

    @property
    def is_full(self) -> bool:
        """Whether nothing more is looked at."""
        return self._room <= 0

    def of(self, value: Any, levels: int = MOST_LEVELS) -> Any:
        """A value, or its beginning."""
        self._room -= ONE_VALUE
        if isinstance(value, str):
            text = _start(value)
            self._room -= len(text)
            return text
        if not isinstance(value, Mapping | list | tuple) or not value:
            return value
        if not levels:
            return "…"
        if isinstance(value, Mapping):
            pairs = itertools.takewhile(lambda _: not self.is_full, value.items())
            kept = {self.of(str(name)): self.of(one, levels - 1) for name, one in pairs}
            return kept if len(kept) == len(value) else kept | {"…": "…"}
        items = itertools.takewhile(lambda _: not self.is_full, value)
        found = [self.of(one, levels - 1) for one in items]
        return found if len(found) == len(value) else [*found, "…"]


def _start(text: str) -> str:
    """A text up to where it is looked at; the word that is cut there could be half a secret."""
    if len(text) <= LOOKED_AT:
        return text
    cut = text[:LOOKED_AT]
    return cut.rpartition(" ")[0] or cut


def _seen(text: str, told: dict[str, None], *, name: bool) -> str:
    """A short text in one line, as it is; what deceives in it is noted."""
    shown, deceives = reveal(" ".join(text[:LOOKED_AT].split()), name=name)
    told.update(dict.fromkeys(deceives))
    return shown if len(shown) <= WORDS_LIMIT else f"{shown[:WORDS_LIMIT]}…"


def _named(text: str, told: dict[str, None]) -> str:
    return f"`{_seen(text, told, name=True).replace('`', chr(39))}`"


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
