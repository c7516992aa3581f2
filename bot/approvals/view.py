"""How an approval request looks: its text and buttons for people, its outcome for the model.

What a model or a server wrote is shown as data: as code, without hidden characters, and short
enough for one message.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot.access.gate import ALREADY_ANSWERED, question_edits
from bot.access.rules import HOST_ADMINS
from bot.approvals.approvers import is_personal_grant
from bot.approvals.request import (
    ALL,
    ApprovalDecision,
    ApprovalRequest,
    ToolCallApproval,
    callback_data,
)
from bot.command import counted
from bot.messages import Channel, OutgoingPart, PersonId
from bot.safety.text_safety import Redact, deception_warning, redact_values, reveal, safe_text

SHOWN_LIMIT = 2400
MOST_SHOWN = 12_000
"""Characters of what people read of calls that the host itself describes: all of it is shown."""
VALUE_LIMIT = 600
NAME_LIMIT = 80
MAX_LEVELS = 20
VALUE_COST = 10
READ_LIMIT = 2_000
"""How many characters of each text are read; many more than are shown."""

ABOVE = "_All of it is in the messages above. Read it to the end before you allow it._"
WAITING = "I am waiting for an answer from {} to my question above; then it is your turn."
WHY = "_You can tell me the reason; I will continue in a minute._"
WHY_IN_A_GROUP = "_You can reply to this message with the reason; I will continue in a minute._"
"""In a group a bot may see only replies to it, and it ignores messages to others."""
NO_LONGER_OPEN = "This question is no longer open."
NOT_YOURS = "Only {} may answer this."
NO_RIGHT = "You may deny this. To allow it takes the right to change {}."
ACKNOWLEDGED: Mapping[str, str] = {
    "once": "Allowed once.",
    "always": "Allowed here from now on.",
    "deny": "Denied.",
    "go": "Continuing.",
}
CARDS = "cards"
"""What names, in a part of a turn over HTTP, the request whose cards are to be edited."""
ALLOWED_FOR_YOU = "Allowed here for you from now on."

Row = list[tuple[str, str]]

_OUTCOMES: Mapping[str, str] = {
    "pending": "",
    "granted": "✓ allowed once by {}",
    "permanent": "✓ always allowed in this chat, by {}",
    "personal": "✓ always allowed here for {}",
    "denied": "✗ denied by {}",
    "expired": "✗ not approved: nobody answered in time",
    "dropped": "✗ not approved: the conversation went on",
    "unasked": "✗ not approved: nobody could be asked",
}


def question_parts(
    channel: Channel, request: ApprovalRequest, reply_to: int | None = None
) -> list[OutgoingPart]:
    """The messages that ask people; the last one has the buttons.

    What is too long for it stands whole in messages before it.
    """
    in_stream = request.address.stream is not None
    long = [] if in_stream else long_texts(request)
    before = [part for text in long for part in channel.render(request.address, text)]
    text = render(request, whole=in_stream)
    parts = channel.render(request.address, text, reply_to, buttons=buttons(request))
    return [*before, *parts[:-1], replace(parts[-1], tracks=request.nonce)]


def long_texts(request: ApprovalRequest) -> list[str]:
    """What people read of the calls that the question itself names in a line."""
    several = len(request.calls) > 1
    return [
        f"{number}\\. {call.description}" if several else call.description
        for number, call in enumerate(request.calls, 1)
        if _is_long(request, call)
    ]


def _is_long(request: ApprovalRequest, call: ToolCallApproval) -> bool:
    """Whether the host's own description of a call does not fit into the question."""
    return bool(call.right) and len(call.description) > SHOWN_LIMIT // len(request.calls)


def seen_length(text: str) -> int:
    """How many characters of a Markdown text people see, about."""
    return len(html.unescape(text))


def edit_parts(
    channel: Channel, request: ApprovalRequest, also: int | None = None
) -> list[OutgoingPart]:
    """Edits of the messages that show a request; `also` is one that a press came from.

    Of a turn over HTTP one part that stands for the edits of all cards.
    """
    if request.address.stream is not None:
        return [OutgoingPart(0, "edit", {CARDS: request.nonce}, best_effort=True)]
    messages = dict.fromkeys([*request.messages, *([also] if also else [])])
    return question_edits(
        channel.render, request.address, messages, render(request), buttons(request)
    )


def render(request: ApprovalRequest, *, whole: bool = False) -> str:
    """The request as people read it, as Markdown; in one message, unless it is to be `whole`."""
    several = len(request.calls) > 1
    head = f"**May I do these {len(request.calls)} things?**" if several else "**May I do this?**"
    calls = []
    for number, call in enumerate(request.calls, 1):
        outcome = _outcome(request, call, safe_text(call.decided_by_name))
        text = call.description
        if not whole and _is_long(request, call):
            text = f"{text.partition(chr(10))[0]}\n{ABOVE}"
        text = f"{number}\\. {text}" if several else text
        calls.append(f"{text}\n{outcome}" if outcome else text)
    return "\n\n".join([f"{head}\n{calls[0]}", *calls[1:], *_foot(request)])


def _outcome(request: ApprovalRequest, call: ToolCallApproval, name: str) -> str:
    """The outcome of a call; `name` is how to call the person who decided."""
    if call.permanent:
        personal = is_personal_grant(request, call.decided_by)
        return _OUTCOMES["personal" if personal else "permanent"].format(name)
    return _OUTCOMES[call.state].format(name)


def _foot(request: ApprovalRequest) -> list[str]:
    if request.pending and not request.closed:
        within = f" within {duration(request.seconds)}" if request.seconds else ""
        return [f"_{approver_names(request)} may answer{within}._"]
    if request.wants_reason:
        return [WHY if request.address.private else WHY_IN_A_GROUP]
    return [f"Reason: {safe_text(request.reason)}"] if request.reason else []


def duration(seconds: float) -> str:
    """A time span in words: "90 seconds", "60 minutes", "2 days"."""
    for unit, length in (("day", 86_400), ("hour", 3_600)):
        if seconds >= 2 * length and seconds % length == 0:
            return counted(int(seconds / length), unit)
    minutes = seconds >= 120
    return counted(round(seconds / 60 if minutes else seconds), "minute" if minutes else "second")


def buttons(request: ApprovalRequest) -> list[Row]:
    """The buttons of a request; none once nothing is open."""
    if request.closed:
        return []
    nonce, pending, several = request.nonce, request.pending, len(request.calls) > 1
    found = [row for i in pending for row in _call_buttons(request, i, several)]
    if len(pending) > 1:
        once = ("All once", callback_data(nonce, ALL, "once"))
        found.append([once, ("Deny all", callback_data(nonce, ALL, "deny"))])
    if not pending and request.wants_reason:
        found.append([("Continue without a reason", callback_data(nonce, ALL, "go"))])
    return found


def _call_buttons(request: ApprovalRequest, index: int, several: bool) -> list[Row]:
    """One row, or two if the long label would be cut on a phone."""
    number = f"{index + 1}: " if several else ""
    once = (f"{number}Once", callback_data(request.nonce, index, "once"))
    deny = (f"{number}Deny", callback_data(request.nonce, index, "deny"))
    always = callback_data(request.nonce, index, "always")
    if not request.calls[index].always:
        return [[once, deny]]
    if several:
        return [[once, (f"{number}Always", always), deny]]
    varies = not request.address.private and "asker" in request.approvers
    return [[once, deny], [("Always here" if varies else "Always for this chat", always)]]


def approver_names(request: ApprovalRequest) -> str:
    """Who may answer, in words."""
    groups = {
        "asker": safe_text(request.asker.name),
        "admins": "the chat's admins",
        HOST_ADMINS: "the admins of this host",
    }
    names = [name for group, name in groups.items() if group in request.approvers]
    if ids := [str(one) for one in request.approvers if isinstance(one, int)]:
        names.append(f"the person with the id {' or '.join(ids)}")
    return " or ".join(names)


def already_decided(request: ApprovalRequest, decision: ApprovalDecision) -> str:
    """The reply to a press that no longer decides anything."""
    index = decision.index
    call = request.calls[index] if 0 <= index < len(request.calls) else None
    if call is None or call.state == "pending":
        return NO_LONGER_OPEN
    return ALREADY_ANSWERED.format(_outcome(request, call, " ".join(call.decided_by_name.split())))


def acknowledgement(request: ApprovalRequest, decision: ApprovalDecision, person: PersonId) -> str:
    """The reply to a press that decided something."""
    if decision.choice == "always" and is_personal_grant(request, person):
        return ALLOWED_FOR_YOU
    return ACKNOWLEDGED[decision.choice]


def denial_for_model(request: ApprovalRequest, call: ToolCallApproval) -> str:
    """What the model reads as the result of a call that was not approved."""
    if call.state == "expired":
        return "Not approved: nobody answered in time. It was not run. Continue without it."
    if call.state == "unasked":
        return (
            "Not approved: nobody could be asked, because the question could not be sent. "
            "It was not run. Continue without it."
        )
    if call.state in ("dropped", "granted", "pending"):
        return "Not approved: the person wrote something else instead. It was not run."
    why = f" Their reason: {request.reason}" if request.reason else " They gave no reason."
    return f"Not approved: a person denied this call. It was not run.{why}"


def describe_call(
    server: str | None, tool: str, arguments: Any, limit: int = SHOWN_LIMIT, screen: Redact = str
) -> str:
    """One call as Markdown: its tool, server and arguments, and a warning about deceptive text.

    `screen` takes out of the arguments what people should not read.
    """
    writer = _CallWriter(screen, max(READ_LIMIT, 4 * limit))
    text = "\n".join(writer.lines(arguments))
    head = writer.name(tool) + (f" of {writer.name(server)}" if server else "")
    if len(text) > limit:
        text = f"{text[:limit]}…\n[cut: {len(text) - limit} more characters]"
    body = f"\n{_fenced(text)}" if text else ", with no arguments"
    warning = f"\n{deception_warning([*writer.deceptions])}" if writer.deceptions else ""
    return f"{head}{body}{warning}"


@dataclass(slots=True)
class _CallWriter:
    """Writes a call for people; reads about `budget` characters of it, and shows nothing after.

    `deceptions` are the kinds of deceiving text that it met, in order.
    """

    screen: Redact
    budget: int
    deceptions: dict[str, None] = field(default_factory=dict)

    def lines(self, arguments: Any) -> Iterator[str]:
        """A line for each argument, as long as there is budget."""
        if not isinstance(arguments, Mapping):
            yield self._value(arguments)
            return
        for count, (name, value) in enumerate(arguments.items()):
            if self.budget <= 0:
                yield f"[{len(arguments) - count} more arguments]"
                return
            short = self._excerpt(str(name))
            yield f"{self._one_line(self.screen(short))}: {self._value(value, short)}"

    def name(self, text: str) -> str:
        """The name of a tool or a server, as code."""
        return f"`{self._one_line(text).replace('`', chr(39))}`"

    def _one_line(self, text: str) -> str:
        shown, deceptions = reveal(" ".join(text[:READ_LIMIT].split()), name=True)
        self.deceptions.update(dict.fromkeys(deceptions))
        return shown if len(shown) <= NAME_LIMIT else f"{shown[:NAME_LIMIT]}…"

    def _value(self, value: Any, name: str = "") -> str:
        unread = max(0, len(value) - READ_LIMIT) if isinstance(value, str) else 0
        shown = redact_values(self._excerpt(value), self.screen, name)
        plain = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
        text, deceptions = reveal(plain)
        self.deceptions.update(dict.fromkeys(deceptions))
        if unread or len(text) > VALUE_LIMIT:
            rest = max(0, len(text) - VALUE_LIMIT) + unread
            text = f"{text[:VALUE_LIMIT]}… [{rest} more characters]"
        return text.replace("\n", "\n  ")

    def _excerpt(self, value: Any, levels: int = MAX_LEVELS) -> Any:
        """A value, or as much of its beginning as there is budget for."""
        self.budget -= VALUE_COST
        if isinstance(value, str):
            text = _first_words(value)
            self.budget -= len(text)
            return text
        if not isinstance(value, Mapping | list | tuple) or not value:
            return value
        if not levels:
            return "…"
        if isinstance(value, Mapping):
            pairs = itertools.takewhile(lambda _: self.budget > 0, value.items())
            read = {self._excerpt(str(name)): self._excerpt(one, levels - 1) for name, one in pairs}
            return read if len(read) == len(value) else read | {"…": "…"}
        items = itertools.takewhile(lambda _: self.budget > 0, value)
        found = [self._excerpt(one, levels - 1) for one in items]
        return found if len(found) == len(value) else [*found, "…"]


def _first_words(text: str) -> str:
    """The first characters of a text, without a cut word, which could be half a secret."""
    if len(text) <= READ_LIMIT:
        return text
    cut = text[:READ_LIMIT]
    return cut.rpartition(" ")[0] or cut


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
