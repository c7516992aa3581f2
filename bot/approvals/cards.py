"""Cards of questions: what a turn over HTTP asks, in the private chats of those who may answer.

A press on a card is put into the line of the turn, and judged there like an answer over HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from bot.access.gate import RenderParts, question_edits
from bot.access.rules import HOST_ADMINS
from bot.admins import AdminAlerts
from bot.approvals import view
from bot.approvals.request import (
    ALL,
    PREFIX,
    ApprovalDecision,
    ApprovalRequest,
    ToolCallApproval,
    parse_callback,
)
from bot.approvals.service import TurnServices
from bot.approvals.store import CLOSED_FOR_S
from bot.messages import Address, Buttons, CallbackPress, LineContext, LineEntry, OutgoingPart, User
from bot.safety.text_safety import safe_text
from bot.store.cards import Card, QuestionCardsOf, QuestionCardStore
from bot.store.inbox import UpdateInbox
from bot.store.outbox import QUESTION_CARD, card_id
from bot.store.sessions import account_of, is_task

log = structlog.get_logger("approvals")

CARD_PREFIX = "aq"
NOTED = "Your answer has been noted."

Decide = Callable[[str, ApprovalRequest, User, ApprovalDecision, str], Awaitable[ApprovalRequest]]
"""Puts a person's decision into a line, once for a name; returns the request after it."""


def is_question_card(data: str) -> bool:
    """Whether a press is on the card of a question, or claims to be."""
    return data.startswith(f"{CARD_PREFIX}:")


@dataclass(frozen=True, slots=True)
class QuestionCards:
    """Asks people in Telegram what turns over HTTP want to do.

    `render` makes the parts of a private chat, whichever bot sends them.
    """

    services: TurnServices
    store: QuestionCardStore
    alerts: AdminAlerts
    inbox: UpdateInbox
    render: RenderParts
    decide: Decide

    # --- asking ---

    async def ask(self, line: str, nonce: str) -> None:
        """Send a card to each person who may answer and can be reached; once more changes nothing.

        `line` is the line of the turn that waits.
        """
        request = await self._find(line, nonce)
        if request is None or request.closed or not request.pending:
            return
        routes = await self._routes(request)
        if not routes:
            return
        await self.store.open(nonce, line, request.seconds + CLOSED_FOR_S)
        for person, route in routes.items():
            await self._send(line, request, person, route)

    def _people(self, request: ApprovalRequest) -> set[int]:
        """Who may answer in Telegram: people named by id, and the admins of the host."""
        found = {one for one in request.approvers if isinstance(one, int)}
        if HOST_ADMINS in request.approvers:
            found |= self.services.approvers.access.admins
        return found

    async def _routes(self, request: ApprovalRequest) -> dict[int, str]:
        """The line over which each of them can be reached, if its bot would listen to them."""
        people, access = self._people(request), self.services.approvers.access
        if not people:
            return {}
        again = self.store.client.retry_while_down
        routes = await again(lambda: self.alerts.routes(people=people))
        return {
            person: route
            for person, route in routes.items()
            if access.verdict(Address(_bot_of(route), person), person) == "admitted"
        }

    async def _send(self, line: str, request: ApprovalRequest, person: int, route: str) -> None:
        text, buttons = _text(line, request), _buttons(request)
        address, whole = Address(_bot_of(route), person), view.long_texts(request)
        parts = [part for one in whole for part in self.render(address, one)]
        parts += self.render(address, text, buttons=buttons)
        parts[-1] = replace(parts[-1], tracks=card_id(QUESTION_CARD, request.nonce, person))
        if await self.store.post(request.nonce, person, route, parts):
            self.services.counters.add("approvals:cards")
            await self.alerts.nudge(route)

    async def on_undeliverable(self, line: LineContext, nonce: str, person: int) -> None:
        """Send a card that this line cannot deliver over another one, if there is one."""
        await self.store.failed(line.fence, nonce, person)
        await self.alerts.forget(person, line.name)
        held = await self.store.load(nonce)
        request = await self._find(held.line, nonce) if held else None
        if held is None or request is None or not request.pending:
            return
        if (route := (await self._routes(request)).get(person)) is not None:
            await self._send(held.line, request, person, route)

    # --- what became of it ---

    async def update(self, nonce: str) -> None:
        """Edit all cards of a request that has changed."""
        if (held := await self.store.note_change(nonce)) is None:
            return
        if (request := await self._find(held.line, nonce)) is not None:
            for person in held.cards:
                await self._edit(held, request, person)

    async def refresh(self, line: LineContext, nonce: str, person: int) -> None:
        """Edit a card whose request has changed while its message was being sent."""
        held = await self.store.load(nonce)
        request = await self._find(held.line, nonce) if held else None
        if held is not None and request is not None and _is_at(held.cards.get(person), line):
            await self._edit(held, request, person)

    async def _edit(self, held: QuestionCardsOf, request: ApprovalRequest, person: int) -> None:
        """Edit a person's card, once for each state of its request and each message of it."""
        card = held.cards[person]
        if not (parts := self._edits(held.line, request, card.line, person, card.messages)):
            return
        tracked = card_id(QUESTION_CARD, request.nonce, person)
        key = f"{tracked}:{request.version}:{len(card.messages)}"
        await self.alerts.outbox.post(card.line, key, parts)
        await self.alerts.nudge(card.line)

    def _edits(
        self,
        line: str,
        request: ApprovalRequest,
        route: str,
        person: int,
        messages: Sequence[int],
    ) -> list[OutgoingPart]:
        address, text = Address(_bot_of(route), person), _text(line, request)
        return question_edits(self.render, address, messages, text, _buttons(request))

    # --- what people answer ---

    async def press(self, entry: LineEntry, press: CallbackPress) -> None:
        """Handle a press on a card; always answers the callback query."""
        await self.inbox.finish(entry, await self._answer(entry, press))

    async def _answer(self, entry: LineEntry, press: CallbackPress) -> list[OutgoingPart]:
        line, person = entry.line, press.person
        decision = _parse(press.data)
        held = await self.store.load(decision.nonce) if decision else None
        card = held.cards.get(person.telegram_id) if held else None
        is_here = press.address.private and press.address.chat == person.id
        if decision is None or held is None or not _is_at(card, line) or not is_here:
            return self._refuse(entry, press, view.NO_LONGER_OPEN)
        request = await self._find(held.line, decision.nonce)
        if request is None:
            return self._refuse(entry, press, view.NO_LONGER_OPEN)
        if person.id not in self._people(request):
            why = view.NOT_YOURS.format(view.approver_names(request))
            return self._refuse(entry, press, why)
        if request.is_open_for(decision, self.services.clock.wall()):
            request = await self.decide(held.line, request, person, decision, entry.key)
        if _is_by(request, decision, person):
            text = view.acknowledgement(request, decision, person.id)
        elif request.is_open_for(decision, self.services.clock.wall()):
            text = NOTED
        else:
            self.services.counters.add("refused:card")
            text = view.already_decided(request, decision)
        parts: list[OutgoingPart] = [line.channel.callback_answer(press, text)]
        is_known = card is not None and press.message in card.messages
        if press.message is not None and not is_known and not request.pending:
            # The store may not know this message: a host may have ended right after sending it.
            parts += self._edits(held.line, request, line.name, person.telegram_id, [press.message])
        return parts

    def _refuse(self, entry: LineEntry, press: CallbackPress, why: str) -> list[OutgoingPart]:
        self.services.counters.add("refused:card")
        log.info("press.refused", line=entry.line.name, person=press.person.id, why=why)
        return [entry.line.channel.callback_answer(press, why)]

    async def _find(self, line: str, nonce: str) -> ApprovalRequest | None:
        """A request with whom its agent lets approve now."""
        request = await self.services.approvals.load(line, nonce)
        return self.services.with_current_approvers(request) if request else None


def _bot_of(line: str) -> int:
    """The bot of a line of Telegram."""
    return int(line.rpartition(":")[2])


def _is_at(card: Card | None, line: LineContext) -> bool:
    return card is not None and card.line == line.name


def _parse(data: str) -> ApprovalDecision | None:
    """The decision in a button's data: on a card once or never."""
    decision = parse_callback(f"{PREFIX}{data.removeprefix(CARD_PREFIX)}")
    return decision if decision and decision.choice in ("once", "deny") else None


def _chosen(request: ApprovalRequest, decision: ApprovalDecision) -> Sequence[ToolCallApproval]:
    """The calls that a decision is about."""
    index = decision.index
    return request.calls if index == ALL else request.calls[index : index + 1]


def _is_by(request: ApprovalRequest, decision: ApprovalDecision, person: User) -> bool:
    """Whether this person has decided so."""
    state: Literal["denied", "granted"] = "denied" if decision.choice == "deny" else "granted"
    return any(
        (call.state, call.decided_by) == (state, person.id) for call in _chosen(request, decision)
    )


def _buttons(request: ApprovalRequest) -> Buttons:
    """The buttons as in a chat, but that nothing is allowed for good."""
    once = replace(request, calls=tuple(replace(call, always=False) for call in request.calls))
    return [
        [(name, f"{CARD_PREFIX}{data.removeprefix(PREFIX)}") for name, data in row]
        for row in view.buttons(once)
    ]


def _text(line: str, request: ApprovalRequest) -> str:
    """The question as in a chat, and of which turn it is."""
    instance, turn = request.address.instance or "", request.address.stream
    account = "" if "/" in instance else f" (account `{account_of(line)}`)"
    task = f", task `{turn}`" if is_task(line) else ""
    about = f"Asked over HTTP by {safe_text(request.asker.name)}{account}, in `{instance}`{task}."
    return f"{view.render(request)}\n\n{about}"
