"""The gate that every event passes first: access, requests for it, and the admins' answers.

Admins answer on cards: messages with buttons. `question_edits` and ALREADY_ANSWERED are shared with
approvals, whose questions work the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from bot.access.command import UNGATED, ChangePeople
from bot.access.rules import BLOCKED, MEMBER, Access, Admission, Level, Subject
from bot.access.store import AccessChange, AccessRequest, AccessStore
from bot.admins import AdminAlerts
from bot.command import escape_markdown
from bot.messages import (
    ANONYMOUS_ADMIN,
    Address,
    Buttons,
    CallbackPress,
    ChatMigration,
    Clock,
    Event,
    IncomingMessage,
    LineContext,
    LineEntry,
    Membership,
    OutgoingPart,
    ResumeTurn,
    Signal,
    User,
    new_nonce,
)
from bot.ops.logging import Counters
from bot.safety.text_safety import safe_text
from bot.store.inbox import UpdateInbox
from bot.store.outbox import ACCESS_CARD, Outbox, card_id
from registry.errors import KeyReused, RegistryError

CARD_PREFIX = "ac"
NAME_LIMIT = 64

STRANGER = "This bot is private; only its admins can let you in (your id is `{}`)."
STRANGE_GROUP = "This bot is private; only its admins can let this group in (its id is `{}`)."
CLAIM_HINT = "If it is yours, send /claim and the code from its terminal."
WELCOME = "You have been let in. Just write to me."
WELCOME_GROUP = "This group has been let in: everybody here can talk to me now."
NOW_ADMIN = "You are an admin of this host now; /help lists what you can do."
NO_LONGER_OPEN = "This request is no longer open."
ACKNOWLEDGED = {MEMBER: "Let in.", BLOCKED: "Blocked."}
ALREADY_ANSWERED = "Already answered: {}"

RenderParts = Callable[..., list[OutgoingPart]]
"""Makes parts of a text, as `Channel.render` does."""

_BUTTONS: tuple[tuple[str, str, Level], ...] = (("Allow", "a", MEMBER), ("Block", "b", BLOCKED))


def is_card(data: str) -> bool:
    """Whether a press is on a card's button, or claims to be."""
    return data.startswith(f"{CARD_PREFIX}:")


def parse_callback(data: str) -> tuple[str, Level] | None:
    """The request that a button is of, and what it decides; None where it is not valid."""
    levels = {letter: level for _, letter, level in _BUTTONS}
    match data.split(":"):
        case [prefix, nonce, letter] if prefix == CARD_PREFIX and nonce and letter in levels:
            return nonce, levels[letter]
    return None


def card_buttons(request: AccessRequest) -> Buttons:
    """Allow and Block; none once the request is answered."""
    if request.decision is not None:
        return ()
    return [[(text, f"{CARD_PREFIX}:{request.nonce}:{letter}") for text, letter, _ in _BUTTONS]]


def render_card(request: AccessRequest) -> str:
    """The card as an admin reads it, as Markdown."""
    bot, title = f"@{safe_text(request.bot)}", safe_text(request.title, NAME_LIMIT) or "A group"
    username = f"@{safe_text(request.username)}, " if request.username else ""
    who = f"{safe_text(request.name, NAME_LIMIT)} ({username}id `{request.person}`)"
    if request.person == ANONYMOUS_ADMIN:
        who = "An anonymous admin"
    if request.subject.kind == "person":
        lines = [f"**May this person use {bot}?**", f"{who} wrote to it."]
    else:
        done = f"{who} added {bot} to it" if request.added else f"{who} wrote to {bot} there"
        lines = [
            f"**May this group use {bot}?**",
            f"{title} (id `{request.subject.id}`): {done}.",
            "If you allow it, all its members may talk there.",
        ]
    if request.decision is not None:
        mark = "✗" if request.decision == BLOCKED else "✓"
        lines += ["", f"{mark} {_outcome(request)} by {safe_text(request.by, NAME_LIMIT)}"]
    return "\n".join(lines)


def already_decided(request: AccessRequest) -> str:
    """The reply to a press on a card that was answered before."""
    return ALREADY_ANSWERED.format(f"{_outcome(request)} by {' '.join(request.by.split())}.")


def _outcome(request: AccessRequest) -> str:
    return "blocked" if request.decision == BLOCKED else "let in"


def question_edits(
    render: RenderParts, address: Address, messages: Iterable[int], text: str, buttons: Buttons
) -> list[OutgoingPart]:
    """Edits of every message that shows a question; one that is gone is not sent again."""
    return [
        replace(part, best_effort=True)
        for message in messages
        for part in render(address, text, edit=message, buttons=buttons)
    ]


log = structlog.get_logger("access")

ASK_AGAIN_SECONDS = 3600.0
MAX_REMEMBERED = 10_000

CLAIMED = (
    "You are an admin of this host now; /help lists your commands. Add your id ({}) to ADMINS to "
    "stay one even if the store is lost."
)
CLAIMED_BEFORE = "You are an admin of this host already; /help lists your commands."
WRONG_CODE = (
    "This code is not valid. The host prints a new one at each start, as long as it has no admin."
)
TOO_MANY_TRIES = "Too many attempts. Please wait an hour."


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
        if isinstance(event, CallbackPress) and is_card(event.data):
            return True  # `press` checks who it is
        verdict = self._verdict(event)
        if verdict != "stranger":
            return verdict == "admitted"
        command = event.command if isinstance(event, IncomingMessage) else None
        return command is not None and command.name in UNGATED and not command.other

    def _verdict(self, event: Event) -> Admission:
        person: User | None = getattr(event, "person", None)
        return self.access.verdict(event.address, person.id if person else None)

    async def refuse(self, entry: LineEntry, event: Event) -> None:
        """Settle an event that was not admitted.

        A stranger is told why, at most once an hour, and admins are asked; blocked people get no
        answer.
        """
        verdict = self._verdict(event)
        self.counters.add(f"refused:{verdict}")
        person = _speaker(event)
        if verdict == "blocked" or person is None:
            conversation = event.address.conversation  # where a turn of theirs may still be open
            await self.inbox.finish(entry, (), conversation)
        else:
            await self._refuse_stranger(entry, event, person)

    async def on_membership(self, entry: LineEntry, event: Membership) -> None:
        """Handle that the bot was added to a chat, removed from it, or blocked by a person."""
        line, address, person = entry.line, event.address, event.person.telegram_id
        where = "private" if address.private else "group"
        change = f"{'joined' if event.inside else 'left'}:{where}"
        self.counters.add(change)
        log.info("access.membership", what=change, line=line.name, chat=address.chat, person=person)
        if address.private and not event.inside and self.access.may_let_in(person):
            await self.alerts.forget(person, line.name)
        is_stranger = self.access.verdict(address, None) == "stranger"
        is_blocked = self.access.is_blocked("person", person, line.bot)
        if address.private or not event.inside or not is_stranger or is_blocked:
            await self.inbox.finish(entry)
        else:
            await self._refuse_stranger(entry, event, event.person)

    async def _refuse_stranger(self, entry: LineEntry, event: Event, person: User) -> None:
        line, address = entry.line, event.address
        if self.access.rule(line.bot).mode == "request":
            await self._ask_admins(line, event, person)
        text = (STRANGER if address.private else STRANGE_GROUP).format(address.chat)
        if address.private and not self.access.admins:
            text = f"{text} {CLAIM_HINT}"
        parts = line.channel.render(address, text)
        posted = await self.store.refuse_stranger(line.fence, entry.id, address, parts)
        if posted is not None:
            await line.channel.deliver(posted)

    # --- asking the admins ---

    async def _ask_admins(self, line: LineContext, event: Event, person: User) -> None:
        """Send a card to each admin who can be reached and has none; once an hour is enough."""
        address = event.address
        subject = Subject("person" if address.private else "chat", address.original_id, line.bot)
        now, version = self.clock.monotonic(), self.access.version
        asked_at, until = self._asked.get(subject, (-1, 0.0))
        if asked_at == version and now < until:
            return
        asked = AccessRequest(
            nonce=new_nonce(),
            subject=subject,
            line=line.name,
            bot=line.username,
            person=person.telegram_id,
            name=person.name,
            username=person.username or "",
            title=getattr(event, "title", ""),
            added=isinstance(event, Membership),
        )
        request = await self.store.open_request(asked)
        if request == "too_many":
            self.counters.add("access:too_many")
            log.warning("access.too_many", line=line.name, why="many strangers in one hour")
        if not isinstance(request, AccessRequest):
            return
        routes = await self._routes(line)
        for admin, route in routes.items():
            await self._send_card(line, request, admin, route)
        if not routes:
            why = "no admin has written to one of the bots yet"
            cure = "write to one of them; the request is kept"
            log.warning("access.nobody_asked", line=line.name, why=why, cure=cure)
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.clear()
        self._asked[subject] = (version, now + ASK_AGAIN_SECONDS)

    async def _routes(self, line: LineContext) -> dict[int, str]:
        """The line over which each person can be reached who may let others in."""
        return await self.alerts.routes(line.name, self.access.admins | self.access.stewards)

    async def deliver_cards(self, line: LineContext, admin: int) -> None:
        """Send the cards of all open requests to an admin who can be reached from now on."""
        for request in await self.store.open_requests():
            await self._send_card(line, request, admin, line.name)

    async def _send_card(
        self, line: LineContext, request: AccessRequest, admin: int, route: str
    ) -> None:
        if admin in request.cards:
            return
        address, buttons = Address(line.bot, admin), card_buttons(request)
        (part,) = line.channel.render(address, render_card(request), buttons=buttons)
        part = replace(part, tracks=card_id(ACCESS_CARD, request.nonce, admin))
        if await self.store.post_card(request.nonce, admin, route, part):
            self.counters.add("access:cards")
            await self.alerts.nudge(route)

    async def on_undeliverable(self, line: LineContext, nonce: str, admin: int) -> None:
        """Send a card that this line cannot deliver over another one, or once the admin writes."""
        await self.store.card_failed(line.fence, nonce, admin)
        await self.alerts.forget(admin, line.name)
        request = await self.store.find_request(nonce)
        route = (await self._routes(line)).get(admin)
        if request is not None and route is not None:
            await self._send_card(line, request, admin, route)

    # --- what admins answer ---

    async def press(self, entry: LineEntry, press: CallbackPress) -> None:
        """Handle a press on a card: it counts from people who may let others in."""
        await self.inbox.finish(entry, await self._answer_card(entry, press))

    async def _answer_card(self, entry: LineEntry, press: CallbackPress) -> list[OutgoingPart]:
        decision, admin, line = parse_callback(press.data), press.person, entry.line
        if decision is None or not self.access.may_let_in(admin.id):
            self.counters.add("refused:card")
            return []
        nonce, level = decision
        request = await self.store.find_request(nonce)
        card = request.cards.get(admin.telegram_id) if request else None
        is_here = press.address.private and press.address.chat == admin.id
        if request is None or card is None or card.line != line.name or not is_here:
            self.counters.add("refused:card")
            return [line.channel.callback_answer(press, NO_LONGER_OPEN)]
        change = _access_change(entry, admin, request.subject, level)
        name = request.title or request.name
        try:
            outcome = await self.store.change_access(replace(change, name=name, nonce=nonce))
        except RegistryError as error:
            return [line.channel.callback_answer(press, f"Nothing was changed: {error}.")]
        if outcome.kind == "done":
            await self._close(line, request.subject, nonce)
        request = await self.store.find_request(nonce) or request
        if outcome.kind == "done":
            answer = ACKNOWLEDGED[level]
        elif request.decision is None:
            answer = NO_LONGER_OPEN
        else:
            answer = already_decided(request)
        parts = [line.channel.callback_answer(press, answer)]
        if press.message is not None and request.decision is not None:
            # The store may not know this message: a host may have ended right after sending it.
            parts += _card_edits(line, request, admin.telegram_id, [press.message])
        return parts

    async def change_people(self, entry: LineEntry, person: User, wanted: ChangePeople) -> str:
        """Make the changes that an admin wrote; returns the reply, as Markdown."""
        try:
            any_done = await self._change_people(entry, person, wanted)
        except KeyReused:
            return "This was already done."
        except RegistryError as error:
            return f"Nothing was changed: {escape_markdown(str(error))}."
        return wanted.done if any_done else wanted.absent

    async def _change_people(self, entry: LineEntry, person: User, wanted: ChangePeople) -> bool:
        any_done, line = False, entry.line
        if wanted.admin is not None:
            other, is_admin = wanted.admin
            key = f"{entry.key}:tg:{other}"
            any_done = await self.store.change_admin(
                person.telegram_id, other, is_admin=is_admin, key=key
            )
            if is_admin:
                parts = line.channel.render(Address(line.bot, other), NOW_ADMIN)
                await self._post(line.name, f"access:{entry.key}", parts)
        for subject, level in wanted.access:
            change = _access_change(entry, person, subject, level)
            outcome = await self.store.change_access(change)
            any_done = any_done or outcome.kind == "done"
            if outcome.nonce:
                await self._close(line, subject, outcome.nonce)
        return any_done

    async def claim(self, entry: LineEntry, person: User, code: str) -> str:
        """Make a person the first admin, if they know the code; returns the reply."""
        if self.access.is_admin(person.id):
            return CLAIMED_BEFORE
        try:
            outcome = await self.store.claim(
                code, person.telegram_id, f"{entry.key}:tg:{person.id}"
            )
        except RegistryError as error:
            return f"Nothing was changed: {escape_markdown(str(error))}."
        self.counters.add(f"claim:{outcome}")
        log.warning(
            "access.claim", outcome=outcome, person=person.telegram_id, line=entry.line.name
        )
        if outcome == "done":
            return CLAIMED.format(person.id)
        return WRONG_CODE if outcome == "wrong" else TOO_MANY_TRIES

    async def _close(self, line: LineContext, subject: Subject, nonce: str) -> None:
        """Welcome people who were let in, and edit all cards of the request; then it is closed."""
        if (request := await self.store.find_request(nonce)) is not None:
            await self._tell_decision(line, request)
        await self.store.close_request(subject, nonce)

    async def _tell_decision(self, line: LineContext, request: AccessRequest) -> None:
        nonce = request.nonce
        kind, id, bot = request.subject
        if request.decision == MEMBER:
            text = WELCOME if kind == "person" else WELCOME_GROUP
            parts = line.channel.render(Address(bot, id, private=kind == "person"), text)
            await self._post(request.line, f"access:{nonce}:welcome", parts)
        for admin, card in request.cards.items():
            edits = _card_edits(line, request, admin, card.messages)
            await self._post(card.line, card_id(ACCESS_CARD, nonce, admin), edits)

    async def refresh(self, line: LineContext, nonce: str, admin: int) -> None:
        """Edit a card that was answered while its message was being sent."""
        request = await self.store.find_request(nonce)
        if request is not None and admin in request.cards:
            messages = request.cards[admin].messages
            edits = _card_edits(line, request, admin, messages)
            await self._post(
                line.name, f"{card_id(ACCESS_CARD, nonce, admin)}:{len(messages)}", edits
            )

    async def _post(self, line: str, key: str, parts: Sequence[OutgoingPart]) -> None:
        if parts:
            await self.outbox.post(line, key, parts)
            await self.alerts.nudge(line)


def _access_change(
    entry: LineEntry, person: User, subject: Subject, level: Level | None
) -> AccessChange:
    """The change as every repetition of its entry makes it: at the time when that was stored."""
    milliseconds = entry.id.partition("-")[0]
    at = int(milliseconds) // 1000 if milliseconds.isdecimal() else 0
    key = f"{entry.key}:{subject.name}"
    return AccessChange(subject, level, person.telegram_id, person.name, key, at)


def _speaker(event: Event) -> User | None:
    """The person who speaks to the bot with an event; None if that is not certain."""
    private = event.address.private
    match event:
        case IncomingMessage(person=person, command=command):
            return person if private or command is None or command.named else None
        case Signal(person=person, draft=None):
            return person if private else None
    return None


def _card_edits(
    line: LineContext, request: AccessRequest, admin: int, messages: Sequence[int]
) -> list[OutgoingPart]:
    """Edits of every message that shows a request's card to an admin."""
    address, buttons = Address(line.bot, admin), card_buttons(request)
    render = line.channel.render
    return question_edits(render, address, messages, render_card(request), buttons)
