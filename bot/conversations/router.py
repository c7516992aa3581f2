"""What an entry leads to: a refusal, a command, an answer to a press, or a turn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bot.access import gate
from bot.access.command import UNGATED, ChangePeople, Claim
from bot.access.gate import AccessGate
from bot.agents.resolver import RunnableAgent
from bot.approvals.cards import QuestionCards, is_question_card
from bot.approvals.request import is_approval
from bot.command import (
    CommandContext,
    CommandResult,
    Commands,
    Reply,
    StartNewConversation,
    escape_markdown,
    paragraphs,
)
from bot.commands.table import NOTHING_RUNS, new
from bot.conversations.turns import Outcome, Turns
from bot.menus.menu import Ask, View
from bot.menus.service import ChatMenus, is_menu
from bot.messages import (
    DEFAULT_ACCOUNT,
    Attribution,
    CallbackPress,
    ChatMigration,
    Command,
    Event,
    IncomingMessage,
    LineContext,
    LineEntry,
    Membership,
    PersonId,
    ResumeTurn,
    Signal,
    User,
)
from bot.ops.bot_tokens import SEEN
from bot.ops.logging import Counters
from bot.store.outbox import ACCESS_CARD, MENU, parse_card_id
from bot.turn.results import parse_letter, parse_retry
from bot.usage.budgets import RequestRate, Spender

UNKNOWN_COMMAND = "I don't know /{}. /help lists what I know."
ELSEWHERE = "/{0}@{1} is a command for @{1}, and I am @{2}. Send it there, or send me /{0}."
REFUSALS_A_MINUTE = 5
UNGATED_A_MINUTE = 5

UNSUPPORTED = "I can't read {} yet, only text. Please type it out."
FORWARDED_TOGETHER_S = 2
"""Seconds within which messages are forwarded in one go."""
UNREAD_REMEMBERED = 1_000
STALE_PRESS = "This button no longer does anything."
SET_ASIDE = (
    "Handling your message failed several times, so I set it aside. "
    "The operator can find it among the dead letters."
)

MessageOutcome = Literal["overtaken", "undeliverable"]
"""For a message that changed before it was sent, or whose chat does not accept ours."""


@dataclass(slots=True, repr=False)
class Router:
    """Leads each entry to its outcome. Every path ends in one store call that settles the entry.

    `on_private_message` is called with who wrote in private, and again after an attempt to become
    admin.
    """

    gate: AccessGate
    commands: Commands
    turns: Turns
    counters: Counters
    on_private_message: Callable[[User, LineContext], Awaitable[None]]
    cards: QuestionCards
    menus: ChatMenus
    _answers: RequestRate = field(init=False)
    _unread: OrderedDict[tuple[str, str, PersonId], IncomingMessage] = field(init=False)
    """By line, conversation and person the last message with something that we cannot read yet."""

    def __post_init__(self) -> None:
        self._answers = RequestRate(self.turns.clock)
        self._unread = OrderedDict()

    def is_concurrent(self, event: Event) -> bool:
        """Whether the event touches no conversation, so that it need not wait for its queue."""
        if isinstance(event, IncomingMessage) and event.command:
            row = self.commands.find(event.command.name)
            return row is None or row.concurrent or bool(event.command.other)
        if isinstance(event, CallbackPress):
            return parse_retry(event.data) is None
        return isinstance(event, ChatMigration | Membership)

    def ends_what_runs(self, event: Event) -> bool:
        """Whether the event ends what runs and waits before it: a /new by a person who may talk."""
        command = event.command if isinstance(event, IncomingMessage) else None
        is_new = command is not None and command.name == new.name and not command.other
        return is_new and self.gate.admits(event)

    async def show_seen(self, line: LineContext, event: Event) -> None:
        """Show on a message that waits for its turn that it was seen."""
        if isinstance(event, IncomingMessage) and self.gate.admits(event):
            await line.channel.show_seen(event.address, event.message)

    async def handle(self, entry: LineEntry, event: Event) -> Outcome:
        """Lead one entry to its outcome."""
        if not self.gate.admits(event):
            token = event if isinstance(event, IncomingMessage) and event.had_token else None
            if token and self._may_answer(entry, token.person, "token", UNGATED_A_MINUTE):
                await self._command(entry, token, Command(SEEN, ""))
            else:
                await self.gate.refuse(entry, event)
        elif isinstance(event, IncomingMessage):
            if not await self._is_settled(entry, event):
                return await self.turns.start(entry, event)
        elif isinstance(event, CallbackPress):
            await self._press(entry, event)
        elif isinstance(event, ResumeTurn):
            await self.turns.resume(entry, event)
        elif isinstance(event, ChatMigration):
            await self.turns.migrate(entry, event)
        elif isinstance(event, Membership):
            await self.gate.on_membership(entry, event)
        return Outcome.DONE

    async def _is_settled(self, entry: LineEntry, incoming: IncomingMessage) -> bool:
        """Settle a message that begins no turn: a command, the answer to a menu, a mere file."""
        if incoming.address.private:
            await self.on_private_message(incoming.person, entry.line)
        is_told = bool(incoming.unsupported) and self._is_told(entry, incoming)
        command = incoming.command
        if command and command.name == SEEN and await self._answers_menu(entry, incoming):
            return True
        if command:
            await self._command(entry, incoming, command)
        elif incoming.unsupported and not incoming.has_words:
            self.counters.add("unsupported")
            text = "" if is_told else UNSUPPORTED.format(incoming.unsupported)
            await self.turns.stores.reply(entry, incoming, text)
        else:
            return await self._answers_menu(entry, incoming)
        return True

    def _is_told(self, entry: LineEntry, incoming: IncomingMessage) -> bool:
        """Whether the person reads of the same album or forwards already that we cannot read them.

        Also notes the message, for what comes next.
        """
        key = (entry.line.name, incoming.address.conversation, incoming.person.id)
        before = self._unread.pop(key, incoming)
        while len(self._unread) >= UNREAD_REMEMBERED:
            self._unread.popitem(last=False)
        is_next = before.message != incoming.message  # else it is another try of the same one
        is_together = (
            before.is_forward
            and incoming.is_forward
            and before.unsupported == incoming.unsupported
            and incoming.sent_at - before.sent_at <= FORWARDED_TOGETHER_S
        )
        is_told = is_next and (incoming.album == before.album != "" or is_together)
        self._unread[key] = replace(before, sent_at=incoming.sent_at) if is_told else incoming
        return is_told

    async def stop(self, entry: LineEntry, signal: Signal, stop_turn: Callable[[], bool]) -> None:
        """End the turn that is suspended or runs; a typed /stop that finds none gets an answer.

        What cannot be sent is no longer tried, so that the answer comes at once. `stop_turn` stops
        the running turn that the signal means, and says whether one runs.
        """
        if not self.gate.admits(signal):
            await self.gate.refuse(entry, signal)
            return
        ended = await self.turns.stop_suspended(entry, signal)
        entry.line.channel.abandon(signal.address)
        if not ended:
            nothing = not stop_turn() and signal.draft is None
            parts = entry.line.channel.render(signal.address, NOTHING_RUNS) if nothing else []
            await self.turns.stores.inbox.finish(entry, parts)

    async def dead_letter(self, entry: LineEntry, event: Event, why: str) -> None:
        """Set aside an entry that cannot be handled, and say so if its sender may talk."""
        text = SET_ASIDE if self.gate.admits(event) else ""
        await self.turns.dead_letter(entry, event, text, why)
        self.counters.add("dead_letters")

    async def tracked_message(
        self, line: LineContext, tracks: str, outcome: MessageOutcome
    ) -> None:
        """Update a message that changed before it was sent; give up what cannot be shown."""
        if tracks.startswith(MENU):  # a menu that cannot be shown is lost, and can be opened again
            return
        if card := parse_card_id(tracks):
            kind, nonce, person = card
            cards = self.gate if kind == ACCESS_CARD else self.cards
            react = cards.refresh if outcome == "overtaken" else cards.on_undeliverable
            await react(line, nonce, person)
        else:
            approvals = self.turns.approvals
            update = approvals.refresh if outcome == "overtaken" else approvals.on_undeliverable
            await update(line, tracks)

    async def _command(self, entry: LineEntry, incoming: IncomingMessage, command: Command) -> None:
        person, row = incoming.person, self.commands.find(command.name)
        context, agent = self._context(entry, incoming)
        if command.other:
            me = entry.line.identity.username or "another bot"
            text = ELSEWHERE.format(command.name, command.other, me)
            await self._refuse(entry, incoming, escape_markdown(text), agent)
        elif row is None and (incoming.address.private or command.named):
            await self._refuse(entry, incoming, UNKNOWN_COMMAND.format(command.name), agent)
        elif row is None:  # it may be another bot's
            await self.turns.stores.inbox.finish(entry)
        elif row.needs and not self.commands.permits(row, context):
            self.counters.add("refused:admin")
            more = await self.commands.refuse(row, context)
            text = paragraphs(row.needs.refusal, more)
            await self._refuse(entry, incoming, text, agent, row.name)
        elif row.name in UNGATED and not self._may_answer(
            entry, person, "ungated", UNGATED_A_MINUTE
        ):
            await self.turns.stores.inbox.finish(entry)
        else:
            own = agent.id if agent else None
            if command.name != SEEN:
                await self.menus.on_command(entry, incoming)
            await self._carry_out(entry, incoming, own, await row.function(context))

    async def _carry_out(
        self, entry: LineEntry, incoming: IncomingMessage, agent: str | None, wanted: CommandResult
    ) -> None:
        """Do what a command wants, and send its reply."""
        text = ""
        keyboard: Mapping[str, Any] | None = None
        match wanted:
            case StartNewConversation(text) if agent is not None:
                await self.turns.new_conversation(entry, incoming, agent, text)
                return
            case View() | Ask():
                await self.menus.open(entry, incoming, wanted)
                return
            case Reply(text, keyboard):
                pass
            case StartNewConversation(text):
                pass
            case ChangePeople():
                text = await self.gate.change_people(entry, incoming.person, wanted)
            case Claim(code):
                text = await self.gate.claim(entry, incoming.person, code)
                await self.on_private_message(incoming.person, entry.line)  # maybe an admin by now
        await self.turns.stores.reply(entry, incoming, text, keyboard)

    async def _refuse(
        self,
        entry: LineEntry,
        incoming: IncomingMessage,
        text: str,
        agent: RunnableAgent | None,
        command: str = "",
    ) -> None:
        """Say no: at most once a minute for each command, REFUSALS_A_MINUTE times for all together.

        Each refusal counts as a request of the person.
        """
        person = incoming.person
        if agent is not None:
            requester = (entry.line.name, incoming.address.conversation, person.id)
            self.turns.runner.rate.take(requester, agent.limits.per_minute)
        answers = self._may_answer(entry, person, f"refused:{command}", 1)
        answers = answers and self._may_answer(entry, person, "refused", REFUSALS_A_MINUTE)
        await self.turns.stores.reply(entry, incoming, text if answers else "")

    def _may_answer(self, entry: LineEntry, person: User, kind: str, limit: int) -> bool:
        """Count an answer of a kind to a person; False where there were enough in this minute."""
        return self._answers.take((entry.line.name, kind, person.id), limit)

    def _context(
        self, entry: LineEntry, incoming: IncomingMessage
    ) -> tuple[CommandContext, RunnableAgent | None]:
        """What a command sees, and the agent that would answer a message."""
        line, conversation = entry.line, incoming.address.conversation
        found, agent = self.turns.resolver.resolve(line, incoming.address, incoming.person)
        approvals, budgets = self.turns.stores.approvals, self.turns.runner.budgets
        attribution = agent.attribution if agent else Attribution(DEFAULT_ACCOUNT, "", "")
        spender = Spender(line.name, conversation, incoming.person.id, entry.id, attribution)
        limits, clock = agent.budgets if agent else {}, self.turns.clock
        context = CommandContext(
            incoming,
            agent=agent.name if agent else None,
            admin=self.turns.access.is_admin(incoming.person.id),
            key=entry.key,
            bot=line.identity,
            resolution=found,
            fetch=line.channel.fetch,
            grants=lambda: approvals.grants(line.name, conversation),
            revoke_grant=lambda grant: approvals.revoke_grant(line.fence, conversation, grant),
            spent=lambda: budgets.spent(spender, limits, clock.wall()),
            spent_by=lambda id: self._spent_by(spender, id),
        )
        return context, agent

    async def _spent_by(self, spender: Spender, id: str) -> dict[str, int]:
        """What an agent used today, in all chats."""
        agent, budgets = self.turns.resolver.current(id), self.turns.runner.budgets
        if agent is None:
            return {}
        whose = replace(spender, attribution=agent.attribution)
        return (await budgets.spent(whose, {}, self.turns.clock.wall())).get("agent", {})

    async def _answers_menu(self, entry: LineEntry, incoming: IncomingMessage) -> bool:
        """Whether a message was the text that a menu asked for; then it is done."""
        if incoming.address.instance is not None:  # nobody has menus over HTTP
            return False
        return await self.menus.answer(entry, incoming, self._context_of(entry))

    def _context_of(self, entry: LineEntry) -> Callable[[IncomingMessage], CommandContext]:
        return lambda incoming: self._context(entry, incoming)[0]

    async def _press(self, entry: LineEntry, press: CallbackPress) -> None:
        if turn := parse_retry(press.data):
            await self.turns.retry(entry, press, turn)
        elif letter := parse_letter(press.data):
            await self.turns.replay(entry, press, *letter)
        elif gate.is_card(press.data):
            await self.gate.press(entry, press)
        elif is_question_card(press.data):
            await self.cards.press(entry, press)
        elif is_menu(press.data):
            await self.menus.press(entry, press, self._context_of(entry))
        elif is_approval(press.data):
            await self.turns.approvals.press(entry, press)
        else:
            answer = entry.line.channel.callback_answer(press, STALE_PRESS)
            await self.turns.stores.inbox.finish(entry, [answer])
