"""The gate that every event passes first: who may talk, who asks to, and what admins answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from bot.access import ENGINEER, EVERYWHERE, MEMBER, Access, Role, Subject, Verdict
from bot.commands.people import UNGATED
from bot.commands.table import GiveRole
from bot.dispatch import cards
from bot.dispatch.line import Line
from bot.events import (
    Address,
    Event,
    Incoming,
    Membership,
    Moved,
    Outgoing,
    Person,
    Press,
    Resume,
    Signal,
)
from bot.ops.counters import Counters
from bot.ops.notices import Notices
from bot.ports import Change, Clock, Entry, Grants, Inbox, Outbox, Request
from bot.tools.approvals import new_nonce

log = structlog.get_logger("access")

HOUR_SECONDS = 3600.0
FORGET_ABOVE = 10_000

CLAIMED = (
    "You are an admin of this host now; /help lists your commands. Add your id ({}) to ADMINS to "
    "stay one even if the store is lost."
)
WRONG_CODE = (
    "This code is not valid. The host prints a new one at each start, as long as it has no admin."
)
TOO_MANY_TRIES = "Too many tries. Please wait an hour."


class Admission:
    """Judges every event by who is behind it, and brings strangers and admins together."""

    def __init__(
        self,
        access: Access,
        grants: Grants,
        notices: Notices,
        inbox: Inbox,
        outbox: Outbox,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._access = access
        self._grants = grants
        self._notices = notices
        self._inbox = inbox
        self._outbox = outbox
        self._clock = clock
        self._counters = counters
        self._asked: dict[Subject, tuple[int, float]] = {}

    # --- the gate ---

    def admits(self, event: Event) -> bool:
        """Whether an event may go any further; whatever nobody has thought of may not."""
        if isinstance(event, Resume | Moved | Membership):
            return True  # the host's own word, or Telegram's on a chat: nobody says anything by it
        if isinstance(event, Press) and cards.is_card(event.data):
            return True  # judged by who presses
        verdict = self._verdict(event)
        return verdict == "admitted" or (verdict == "stranger" and _is_ungated(event))

    def _verdict(self, event: Event) -> Verdict:
        person: Person | None = getattr(event, "person", None)
        return self._access.verdict(event.address, person.id if person else None)

    async def refuse(self, line: Line, entry: Entry, event: Event) -> None:
        """Settle what was not admitted: a stranger is told why now and then, and admins are asked.

        Whoever is blocked hears nothing.
        """
        verdict = self._verdict(event)
        self._counters.add(f"refused:{verdict}")
        if verdict == "blocked" or not isinstance(event, Incoming | Signal) or not _speaks(event):
            conversation = event.address.conversation  # where a turn of theirs may be open still
            await self._inbox.settle(line.fence, [entry.id], [], conversation)
            return
        assert event.person is not None
        title = event.title if isinstance(event, Incoming) else ""
        await self._turn_away(line, entry, event.address, event.person, title)

    async def membership(self, line: Line, entry: Entry, event: Membership) -> None:
        """The bot came into a chat, or was thrown out or blocked."""
        where = "private" if event.address.private else "group"
        kind = f"{'joined' if event.inside else 'left'}:{where}"
        self._counters.add(kind)
        known = {"line": line.fence.line, "chat": event.address.chat, "person": event.person.id}
        log.info("access.membership", what=kind, **known)
        if event.address.private and not event.inside and self._access.is_admin(event.person.id):
            await self._notices.lost(event.person.id, line.fence.line)
        strange = self._access.verdict(event.address, None) == "stranger"
        shunned = self._access.is_blocked("person", event.person.id, line.bot)
        if event.address.private or not event.inside or not strange or shunned:
            await self._settle(line, entry, [])
            return
        await self._turn_away(line, entry, event.address, event.person, event.title, added=True)

    async def _turn_away(
        self,
        line: Line,
        entry: Entry,
        address: Address,
        person: Person,
        title: str,
        *,
        added: bool = False,
    ) -> None:
        if self._access.rule(line.bot).mode == "request":
            await self._ask(line, address, person, title, added=added)
        words = cards.STRANGER if address.private else cards.STRANGE_GROUP
        parts = line.channel.render(address, words.format(address.chat))
        posted = await self._grants.turn_away(line.fence, entry.id, address, parts)
        if posted is not None:
            await line.channel.deliver(posted)

    # --- asking the admins ---

    async def _ask(
        self, line: Line, address: Address, person: Person, title: str, *, added: bool
    ) -> None:
        """Give each admin who can be reached a card, if they have none; once an hour is enough."""
        subject = Subject("person" if address.private else "chat", address.home, line.bot)
        now, version = self._clock.monotonic(), self._access.version
        known = self._asked.get(subject)
        if known is not None and known[0] == version and now < known[1]:
            return
        request = await self._grants.knock(
            Request(
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
        if request == "many":
            self._counters.add("access:too_many")
            log.warning("access.too_many", line=line.fence.line, why="many strangers in one hour")
        if not isinstance(request, Request):
            return
        ways = await self._notices.ways(line.fence.line)
        for admin, way in ways.items():
            if admin not in request.cards:
                await self._give_card(line, request, admin, way)
        if not ways:
            log.warning(
                "access.nobody_asked",
                line=line.fence.line,
                why="no admin has written to one of the bots yet",
                cure="write to one of them; the request is kept",
            )
        if len(self._asked) > FORGET_ABOVE:
            self._asked.clear()
        self._asked[subject] = (version, now + HOUR_SECONDS)

    async def deliver(self, line: Line, admin: int) -> None:
        """Give an admin who can be reached now the cards of all open requests."""
        for request in await self._grants.open_requests():
            if admin not in request.cards:
                await self._give_card(line, request, admin, line.fence.line)

    async def _give_card(self, line: Line, request: Request, admin: int, way: str) -> None:
        (part,) = line.channel.render(
            Address(line.bot, admin), cards.card(request), buttons=cards.buttons(request)
        )
        part = replace(part, shows=cards.shows(request.nonce, admin))
        if await self._grants.ask(request.nonce, admin, way, part):
            self._counters.add("access:cards")
            await self._notices.nudge(way)

    async def undelivered(self, line: Line, shown: cards.Shown) -> None:
        """A card cannot be delivered over this line: over another one, or once the admin writes."""
        await self._grants.unasked(line.fence, shown.nonce, shown.admin)
        await self._notices.lost(shown.admin, line.fence.line)
        request = await self._grants.find(shown.nonce)
        way = (await self._notices.ways(line.fence.line)).get(shown.admin)
        if request is not None and way is not None:
            await self._give_card(line, request, shown.admin, way)

    # --- what admins answer ---

    async def press(self, line: Line, entry: Entry, press: Press) -> None:
        """A press on a card: it counts from an admin, in the chat where their card is."""
        tap = cards.tap_of(press.data)
        if tap is None or not self._access.is_admin(press.person.id):
            self._counters.add("refused:card")
            await self._settle(line, entry, [])
            return
        request = await self._grants.find(tap.nonce)
        if request is None or not _is_theirs(request, line, press):
            self._counters.add("refused:card")
            await self._settle(line, entry, [line.channel.word(press, cards.GONE)])
            return
        change = self._change(line, entry, press.person, request.subject, tap.role)
        outcome = await self._grants.change(
            replace(change, name=request.title or request.name, nonce=tap.nonce)
        )
        said = cards.LET_IN if tap.role == MEMBER else cards.SHUT_OUT
        if outcome.kind == "done":
            await self._close(line, tap.nonce)
        request = await self._grants.find(tap.nonce) or request
        if outcome.kind != "done":
            said = cards.answered(request) if request.role is not None else cards.GONE
        parts = [line.channel.word(press, said)]
        if press.message is not None and request.role is not None:
            # Also where the store does not know this message: it was sent by a host that ended.
            parts += _drawn(line, request, press.person.id, [press.message])
        await self._settle(line, entry, parts)

    async def give(self, line: Line, entry: Entry, person: Person, wish: GiveRole) -> str:
        """Make the changes that an admin wrote; what they are told, as Markdown."""
        some = False
        for subject, role in wish.changes:
            outcome = await self._grants.change(self._change(line, entry, person, subject, role))
            some = some or outcome.kind == "done"
            if outcome.nonce:
                await self._close(line, outcome.nonce)
            if outcome.kind == "done" and role == ENGINEER:
                told = line.channel.render(Address(line.bot, subject.id), cards.NOW_ADMIN)
                await self._post(line.fence.line, f"access:{line.fence.line}:{entry.id}", told)
        return wish.done if some else wish.absent

    async def claim(self, line: Line, entry: Entry, person: Person, code: str) -> str:
        """Make somebody the first admin, if they know the code; what they are told."""
        subject = Subject("person", person.id, EVERYWHERE)
        change = self._change(line, entry, person, subject, ENGINEER)
        outcome = await self._grants.claim(code, replace(change, name=person.name))
        self._counters.add(f"claim:{outcome}")
        log.warning("access.claim", outcome=outcome, person=person.id, line=line.fence.line)
        if outcome == "done":
            return CLAIMED.format(person.id)
        return WRONG_CODE if outcome == "wrong" else TOO_MANY_TRIES

    def _change(
        self, line: Line, entry: Entry, person: Person, subject: Subject, role: Role | None
    ) -> Change:
        key = f"{line.fence.line}:{entry.id}:{subject.name}"
        return Change(subject, role, person.id, person.name, key)

    async def _close(self, line: Line, nonce: str) -> None:
        """Tell who asked that they are let in, and draw all cards as they are now."""
        request = await self._grants.find(nonce)
        if request is None:
            return
        if request.role == MEMBER:
            private = request.subject.kind == "person"
            words = cards.WELCOME if private else cards.WELCOME_GROUP
            address = Address(request.subject.bot, request.subject.id, private=private)
            told = line.channel.render(address, words)
            await self._post(request.line, f"access:{nonce}:welcome", told)
        for admin, card in request.cards.items():
            edits = _drawn(line, request, admin, card.messages)
            await self._post(card.line, f"access:{nonce}:{admin}", edits)

    async def redraw(self, line: Line, shown: cards.Shown) -> None:
        """Draw a card that was answered while its message was on its way."""
        request = await self._grants.find(shown.nonce)
        if request is not None and shown.admin in request.cards:
            messages = request.cards[shown.admin].messages
            edits = _drawn(line, request, shown.admin, messages)
            key = f"access:{shown.nonce}:{shown.admin}:{len(messages)}"
            await self._post(line.fence.line, key, edits)

    async def _post(self, line: str, key: str, parts: Sequence[Outgoing]) -> None:
        if parts:
            await self._outbox.post(line, key, parts)
            await self._notices.nudge(line)

    async def _settle(self, line: Line, entry: Entry, parts: Sequence[Outgoing]) -> None:
        posted = await self._inbox.settle(line.fence, [entry.id], parts)
        if parts:
            await line.channel.deliver(posted)


def _is_ungated(event: Event) -> bool:
    """What strangers may send as well: they are answered without an agent."""
    return (
        isinstance(event, Incoming) and event.command is not None and event.command.name in UNGATED
    )


def _speaks(event: Incoming | Signal) -> bool:
    """Whether an event surely speaks to this bot, so that a word of it is in place."""
    if isinstance(event, Signal):
        return event.address.private and event.draft is None and event.person is not None
    return event.address.private or event.command is None or event.command.named


def _is_theirs(request: Request, line: Line, press: Press) -> bool:
    """Whether somebody presses their own card, where it was sent."""
    card = request.cards.get(press.person.id)
    here = press.address.private and press.address.chat == press.person.id
    return here and card is not None and card.line == line.fence.line


def _drawn(line: Line, request: Request, admin: int, messages: Sequence[int]) -> list[Outgoing]:
    """Edits of every message that shows a card to an admin."""
    address, words = Address(line.bot, admin), cards.card(request)
    return [
        replace(part, lapses=True)
        for message in messages
        for part in line.channel.render(
            address, words, edit=message, buttons=cards.buttons(request)
        )
    ]
