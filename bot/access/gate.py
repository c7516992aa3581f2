"""The gate that every event passes first: who may talk, who asks to, and what admins answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from bot.access import cards
from bot.access.command import UNGATED, GiveRole
from bot.access.rules import ENGINEER, EVERYWHERE, MEMBER, Access, Role, Subject, Verdict
from bot.access.store import AccessRequest, AccessStore, RoleChange
from bot.admins import AdminAlerts
from bot.line_context import LineContext
from bot.messages import (
    Address,
    CallbackPress,
    ChatMigration,
    Clock,
    Event,
    IncomingMessage,
    Membership,
    OutgoingPart,
    ResumeTurn,
    Signal,
    User,
    new_nonce,
)
from bot.ops.counters import Counters
from bot.store.inbox import InboxEntry, UpdateInbox
from bot.store.outbox import Outbox

log = structlog.get_logger("access")

ASK_AGAIN_SECONDS = 3600.0
MAX_REMEMBERED = 10_000

CLAIMED = (
    "You are an admin of this host now; /help lists your commands. Add your id ({}) to ADMINS to "
    "stay one even if the store is lost."
)
WRONG_CODE = (
    "This code is not valid. The host prints a new one at each start, as long as it has no admin."
)
TOO_MANY_TRIES = "Too many tries. Please wait an hour."


@dataclass(slots=True)
class AccessGate:
    """Decides on every event by who is behind it, and asks admins about strangers."""

    access: Access
    store: AccessStore
    alerts: AdminAlerts
    inbox: UpdateInbox
    outbox: Outbox
    clock: Clock
    counters: Counters
    _asked: dict[Subject, tuple[int, float]] = field(init=False, default_factory=dict)
    """For whom all admins were asked: at which version of the grants, and until when that holds."""

    # --- the gate ---

    def admits(self, event: Event) -> bool:
        """Whether an event may go on; an unknown kind of event may not."""
        if isinstance(event, ResumeTurn | ChatMigration | Membership):
            return True  # from the host or Telegram itself: no person says anything with it
        if isinstance(event, CallbackPress) and cards.is_card(event.data):
            return True  # `press` checks who it is
        verdict = self._verdict(event)
        return verdict == "admitted" or (verdict == "stranger" and _is_ungated(event))

    def _verdict(self, event: Event) -> Verdict:
        person: User | None = getattr(event, "person", None)
        return self.access.verdict(event.address, person.id if person else None)

    async def refuse(self, line: LineContext, entry: InboxEntry, event: Event) -> None:
        """Settle an event that was not admitted.

        A stranger is told why, at most once an hour, and admins are asked; whoever is blocked gets
        no answer.
        """
        verdict = self._verdict(event)
        self.counters.add(f"refused:{verdict}")
        speaks = isinstance(event, IncomingMessage | Signal) and _speaks_to_bot(event)
        if verdict == "blocked" or not speaks:
            conversation = event.address.conversation  # where a turn of theirs may still be open
            await self.inbox.settle(line.fence, [entry.id], [], conversation)
            return
        assert isinstance(event, IncomingMessage | Signal)
        assert event.person is not None
        title = event.title if isinstance(event, IncomingMessage) else ""
        await self._refuse_stranger(line, entry, event.address, event.person, title)

    async def on_membership(self, line: LineContext, entry: InboxEntry, event: Membership) -> None:
        """Handle that the bot was added to a chat, removed from it, or blocked by a person."""
        address, person = event.address, event.person.id
        where = "private" if address.private else "group"
        change = f"{'joined' if event.inside else 'left'}:{where}"
        self.counters.add(change)
        known = {"line": line.fence.line, "chat": address.chat, "person": person}
        log.info("access.membership", what=change, **known)
        if address.private and not event.inside and self.access.is_admin(person):
            await self.alerts.forget(person, line.fence.line)
        is_stranger = self.access.verdict(address, None) == "stranger"
        is_blocked = self.access.is_blocked("person", person, line.bot)
        if address.private or not event.inside or not is_stranger or is_blocked:
            await self._settle(line, entry, [])
            return
        await self._refuse_stranger(line, entry, address, event.person, event.title, added=True)

    async def _refuse_stranger(
        self,
        line: LineContext,
        entry: InboxEntry,
        address: Address,
        person: User,
        title: str,
        *,
        added: bool = False,
    ) -> None:
        if self.access.rule(line.bot).mode == "request":
            await self._ask_admins(line, address, person, title, added=added)
        text = cards.STRANGER if address.private else cards.STRANGE_GROUP
        parts = line.channel.render(address, text.format(address.chat))
        posted = await self.store.refuse_stranger(line.fence, entry.id, address, parts)
        if posted is not None:
            await line.channel.deliver(posted)

    # --- asking the admins ---

    async def _ask_admins(
        self, line: LineContext, address: Address, person: User, title: str, *, added: bool
    ) -> None:
        """Send a card to each admin who can be reached and has none; once an hour is enough."""
        subject = Subject("person" if address.private else "chat", address.original_id, line.bot)
        now, version = self.clock.monotonic(), self.access.version
        asked_at, until = self._asked.get(subject, (-1, 0.0))
        if asked_at == version and now < until:
            return
        request = await self.store.open_request(
            AccessRequest(
                nonce=new_nonce(),
                subject=subject,
                line=line.fence.line,
                bot=line.username,
                person=person.id,
                name=person.name,
                username=person.username or "",
                title=title,
                added=added,
            )
        )
        if request == "too_many":
            self.counters.add("access:too_many")
            log.warning("access.too_many", line=line.fence.line, why="many strangers in one hour")
        if not isinstance(request, AccessRequest):
            return
        routes = await self.alerts.routes(line.fence.line)
        for admin, route in routes.items():
            if admin not in request.cards:
                await self._send_card(line, request, admin, route)
        if not routes:
            log.warning(
                "access.nobody_asked",
                line=line.fence.line,
                why="no admin has written to one of the bots yet",
                cure="write to one of them; the request is kept",
            )
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.clear()
        self._asked[subject] = (version, now + ASK_AGAIN_SECONDS)

    async def deliver_cards(self, line: LineContext, admin: int) -> None:
        """Send the cards of all open requests to an admin who can be reached from now on."""
        for request in await self.store.open_requests():
            if admin not in request.cards:
                await self._send_card(line, request, admin, line.fence.line)

    async def _send_card(
        self, line: LineContext, request: AccessRequest, admin: int, route: str
    ) -> None:
        (part,) = line.channel.render(
            Address(line.bot, admin), cards.render(request), buttons=cards.buttons(request)
        )
        part = replace(part, tracks=cards.card_id(request.nonce, admin))
        if await self.store.post_card(request.nonce, admin, route, part):
            self.counters.add("access:cards")
            await self.alerts.nudge(route)

    async def on_undeliverable(self, line: LineContext, card: cards.CardRef) -> None:
        """Send a card that this line cannot deliver over another one, or once the admin writes."""
        await self.store.card_failed(line.fence, card.nonce, card.admin)
        await self.alerts.forget(card.admin, line.fence.line)
        request = await self.store.find_request(card.nonce)
        route = (await self.alerts.routes(line.fence.line)).get(card.admin)
        if request is not None and route is not None:
            await self._send_card(line, request, card.admin, route)

    # --- what admins answer ---

    async def press(self, line: LineContext, entry: InboxEntry, press: CallbackPress) -> None:
        """Handle a press on a card: it counts from an admin, in the chat where their card is."""
        decision, admin = cards.parse_callback(press.data), press.person
        if decision is None or not self.access.is_admin(admin.id):
            self.counters.add("refused:card")
            await self._settle(line, entry, [])
            return
        request = await self.store.find_request(decision.nonce)
        if request is None or not _is_own_card(request, line, press):
            self.counters.add("refused:card")
            await self._settle(
                line, entry, [line.channel.callback_answer(press, cards.NO_LONGER_OPEN)]
            )
            return
        change = _role_change(line, entry, admin, request.subject, decision.role)
        outcome = await self.store.change_role(
            replace(change, name=request.title or request.name, nonce=decision.nonce)
        )
        if outcome.kind == "done":
            await self._close(line, decision.nonce)
        request = await self.store.find_request(decision.nonce) or request
        if outcome.kind == "done":
            answer = cards.ACKNOWLEDGED[decision.role]
        elif request.role is None:
            answer = cards.NO_LONGER_OPEN
        else:
            answer = cards.already_decided(request)
        parts = [line.channel.callback_answer(press, answer)]
        if press.message is not None and request.role is not None:
            # The store may not know this message: a host may have ended right after sending it.
            parts += _card_edits(line, request, admin.id, [press.message])
        await self._settle(line, entry, parts)

    async def change_roles(
        self, line: LineContext, entry: InboxEntry, person: User, wish: GiveRole
    ) -> str:
        """Make the changes that an admin wrote; returns the reply, as Markdown."""
        any_done = False
        for subject, role in wish.changes:
            change = _role_change(line, entry, person, subject, role)
            outcome = await self.store.change_role(change)
            any_done = any_done or outcome.kind == "done"
            if outcome.nonce:
                await self._close(line, outcome.nonce)
            if outcome.kind == "done" and role == ENGINEER:
                parts = line.channel.render(Address(line.bot, subject.id), cards.NOW_ADMIN)
                await self._post(line.fence.line, f"access:{line.fence.line}:{entry.id}", parts)
        return wish.done if any_done else wish.absent

    async def claim(self, line: LineContext, entry: InboxEntry, person: User, code: str) -> str:
        """Make a person the first admin, if they know the code; returns the reply."""
        subject = Subject("person", person.id, EVERYWHERE)
        change = _role_change(line, entry, person, subject, ENGINEER)
        outcome = await self.store.claim(code, replace(change, name=person.name))
        self.counters.add(f"claim:{outcome}")
        log.warning("access.claim", outcome=outcome, person=person.id, line=line.fence.line)
        if outcome == "done":
            return CLAIMED.format(person.id)
        return WRONG_CODE if outcome == "wrong" else TOO_MANY_TRIES

    async def _close(self, line: LineContext, nonce: str) -> None:
        """Welcome whoever was let in, and redraw all cards of the request."""
        request = await self.store.find_request(nonce)
        if request is None:
            return
        if request.role == MEMBER:
            private = request.subject.kind == "person"
            text = cards.WELCOME if private else cards.WELCOME_GROUP
            address = Address(request.subject.bot, request.subject.id, private=private)
            parts = line.channel.render(address, text)
            await self._post(request.line, f"access:{nonce}:welcome", parts)
        for admin, card in request.cards.items():
            edits = _card_edits(line, request, admin, card.messages)
            await self._post(card.line, f"access:{nonce}:{admin}", edits)

    async def refresh(self, line: LineContext, card: cards.CardRef) -> None:
        """Redraw a card that was answered while its message was being sent."""
        request = await self.store.find_request(card.nonce)
        if request is not None and card.admin in request.cards:
            messages = request.cards[card.admin].messages
            edits = _card_edits(line, request, card.admin, messages)
            key = f"access:{card.nonce}:{card.admin}:{len(messages)}"
            await self._post(line.fence.line, key, edits)

    async def _post(self, line: str, key: str, parts: Sequence[OutgoingPart]) -> None:
        if parts:
            await self.outbox.post(line, key, parts)
            await self.alerts.nudge(line)

    async def _settle(
        self, line: LineContext, entry: InboxEntry, parts: Sequence[OutgoingPart]
    ) -> None:
        posted = await self.inbox.settle(line.fence, [entry.id], parts)
        if parts:
            await line.channel.deliver(posted)


def _role_change(
    line: LineContext, entry: InboxEntry, person: User, subject: Subject, role: Role | None
) -> RoleChange:
    key = f"{line.fence.line}:{entry.id}:{subject.name}"
    return RoleChange(subject, role, person.id, person.name, key)


def _is_ungated(event: Event) -> bool:
    """Whether strangers may send this as well: a command that no agent answers."""
    return (
        isinstance(event, IncomingMessage)
        and event.command is not None
        and event.command.name in UNGATED
    )


def _speaks_to_bot(event: IncomingMessage | Signal) -> bool:
    """Whether an event surely speaks to this bot, so that it may reply."""
    if isinstance(event, Signal):
        return event.address.private and event.draft is None and event.person is not None
    return event.address.private or event.command is None or event.command.named


def _is_own_card(request: AccessRequest, line: LineContext, press: CallbackPress) -> bool:
    """Whether a person presses their own card, where it was sent."""
    card = request.cards.get(press.person.id)
    here = press.address.private and press.address.chat == press.person.id
    return here and card is not None and card.line == line.fence.line


def _card_edits(
    line: LineContext, request: AccessRequest, admin: int, messages: Sequence[int]
) -> list[OutgoingPart]:
    """Edits of every message that shows a request's card to an admin."""
    address, buttons = Address(line.bot, admin), cards.buttons(request)
    return cards.edits(line.channel, address, messages, cards.render(request), buttons)
