"""Shows menus, and does what people press and write.

A menu is one message. Its state in the store names the buttons that it shows, so it works after a
restart and on another host; a button that it no longer shows is answered with a word.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from weakref import WeakValueDictionary

from bot.command import (
    CommandContext,
    CommandResult,
    Commands,
    ReasonNeeded,
    Refused,
    Reply,
    reason_of,
)
from bot.menus.menu import Ask, Button, Notice, Row, View
from bot.messages import (
    Address,
    Buttons,
    CallbackPress,
    Clock,
    IncomingMessage,
    LineEntry,
    OutgoingPart,
    new_nonce,
)
from bot.ops.logging import Counters
from bot.store.inbox import UpdateInbox
from bot.store.menus import MenuStore, StoredForm, StoredMenu, StoredRows
from bot.store.outbox import menu_id

PREFIX = "mn"
OLD = "This menu is old. Send its command again for a new one."
NOT_YOURS = "Somebody else opened this menu. Send its command yourself for one of your own."
CLOSED = "Done."
WHY = (
    "Why? Nothing was changed so far: in this account your role is for support, so send me the "
    "reason, or a ticket such as `#OPS-12`. The audit keeps it."
)
BECAUSE = "menu:because"
"""In place of an action: the text is why the action that follows is done."""
TAKE_TOKENS = frozenset({"bots:token"})
"""The actions whose text may have the token of a bot: any other question stays open."""
MOST_TEXT = 6_000
LEAST_TEXT = 3_000
"""Characters of Markdown that always fit into one message."""
_DATA = re.compile(rf"{PREFIX}:([A-Za-z0-9_-]{{6,40}}):(\d{{1,6}}):(\d{{1,3}})")
_MARKUP = re.compile(r"[`*]")


def is_menu(data: str) -> bool:
    """Whether a press is on a menu, or claims to be."""
    return data.startswith(f"{PREFIX}:")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What comes next: the parts, the menu as it is then, and what the next message is for."""

    parts: list[OutgoingPart]
    menu: StoredMenu
    form: StoredForm | None = None


@dataclass(slots=True, repr=False)
class ChatMenus:
    """The menus of all lines; presses on one of them are handled one by one."""

    commands: Commands
    store: MenuStore
    inbox: UpdateInbox
    clock: Clock
    counters: Counters
    _locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary, init=False
    )

    async def open(self, entry: LineEntry, incoming: IncomingMessage, wanted: View | Ask) -> None:
        """Finish a command's entry with a new menu."""
        shown = self._show_new(entry, incoming, wanted)
        await self.store.settle(entry, shown.parts, [shown.menu], shown.form)

    async def on_command(self, entry: LineEntry, incoming: IncomingMessage) -> None:
        """A command closes the form that is open for its sender in this conversation."""
        address = incoming.address
        await self.store.drop_form(entry.line.fence, address.conversation, incoming.person.id)

    # --- presses ---

    async def press(
        self,
        entry: LineEntry,
        press: CallbackPress,
        context: Callable[[IncomingMessage], CommandContext],
    ) -> None:
        """Handle a press; always answers the callback query."""
        found = _DATA.fullmatch(press.data)
        nonce, version, index = (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)
        key = entry.line.name, nonce
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            menu = await self.store.load(entry.line.name, nonce) if nonce else None
            if menu is None or menu.conversation != press.address.conversation:
                await self._say(entry, press, OLD)
            elif menu.person != press.person.id:
                await self._say(entry, press, NOT_YOURS)
            elif press.message is None or version != menu.version or index >= len(menu.steps):
                await self._say(entry, press, OLD)
            else:
                await self._do(entry, press, menu, index, context)

    async def _do(
        self,
        entry: LineEntry,
        press: CallbackPress,
        menu: StoredMenu,
        index: int,
        context: Callable[[IncomingMessage], CommandContext],
    ) -> None:
        """Do what a button leads to, and show what comes next in place of the menu."""
        sent = press.message or 0
        message = IncomingMessage(press.address, press.person, sent, int(self.clock.wall()))
        name, *arguments = menu.steps[index]
        wanted = await self._carried_out(context(message), name, arguments)
        if wanted is None:
            await self._say(entry, press, OLD)
            return
        if isinstance(wanted, Notice):
            await self._say(entry, press, wanted.text)
            return
        if isinstance(wanted, ReasonNeeded):
            wanted = _reason_asked(name, arguments, menu.rows)
        channel, address = entry.line.channel, press.address
        parts = [channel.callback_answer(press, wanted.notice if isinstance(wanted, View) else "")]
        text, rows = _content(wanted, menu.rows)
        after = replace(menu, version=menu.version + 1, rows=rows)
        parts += self._parts(entry, address, text, after, edit=sent)
        form = self._form(wanted, menu.nonce, sent)
        await self.store.settle(entry, parts, [after], form)

    async def _carried_out(
        self, context: CommandContext, name: str, arguments: Iterable[str]
    ) -> CommandResult | None:
        """What an action wants; None where no such action is there (any more)."""
        row = self.commands.action(name)
        if row is None:
            return None
        if not self.commands.permits(row, context):
            self.counters.add("refused:menu")
            await self.commands.refuse(row, context)
            refusal = row.needs.refusal if row.needs else ""
            return Notice(_plain(refusal.replace("may send this", "may do this")))
        try:  # a menu of an earlier version of this program may have other arguments
            signature(row.function).bind(context, *arguments)
        except TypeError:
            return None
        return await row.function(context, *arguments)

    async def _say(self, entry: LineEntry, press: CallbackPress, text: str) -> None:
        """Answer a press with a word, and leave the menu as it is."""
        self.counters.add("menus:unchanged")
        answer = entry.line.channel.callback_answer(press, text)
        await self.inbox.finish(entry, [answer])

    # --- what people write ---

    async def answer(
        self,
        entry: LineEntry,
        incoming: IncomingMessage,
        context: Callable[[IncomingMessage], CommandContext],
    ) -> bool:
        """Take a message as the text that a menu asked for; False where none did.

        In a group only a reply to this bot is taken for that.
        """
        address, person = incoming.address, incoming.person.id
        now = self.clock.wall()
        form = await self.store.form(entry.line.fence, address.conversation, person, now)
        replied = any(one.kind == "reply" and one.own for one in incoming.excerpts)
        if form is None or not (address.private or replied) or not incoming.text:
            return False
        name, *arguments = form.step
        if incoming.had_token and name not in TAKE_TOKENS:
            return False
        before = await self.store.load(entry.line.name, form.nonce)
        made = context(incoming)
        if name == BECAUSE:
            name, *arguments = arguments
            made = replace(made, why=reason_of(incoming.text))
            wanted = await self._carried_out(made, name, arguments)
        else:
            arguments = [*arguments, incoming.text]
            wanted = await self._carried_out(made, name, arguments)
        if isinstance(wanted, ReasonNeeded):
            wanted = _reason_asked(name, arguments, before.rows if before else ())
        elif isinstance(wanted, Refused):  # it may be corrected: the question stays open
            rows = before.rows if before else ()
            wanted = Ask(wanted.text, form.step[0], form.step[1:], _buttons(rows))
        elif wanted is None or isinstance(wanted, Notice):
            wanted = Reply(wanted.text if wanted else OLD)
        shown = self._show_new(entry, incoming, wanted)
        parts, menus = shown.parts, [shown.menu]
        if before is not None:  # the question goes quiet
            menus.append(replace(before, rows=()))
        message = form.message or await self.store.message(entry.line.name, form.nonce)
        if message:
            bare = {"message_id": message}
            parts = [OutgoingPart(address.chat, "clear_keyboard", bare), *parts]
        await self.store.settle(entry, parts, menus, shown.form)
        return True

    # --- what is shown ---

    def _show_new(
        self, entry: LineEntry, incoming: IncomingMessage, wanted: CommandResult
    ) -> _Shown:
        address = incoming.address
        text, rows = _content(wanted, ())
        menu = StoredMenu(new_nonce(), incoming.person.id, address.conversation, 1, rows)
        reply_to = None if address.private else incoming.message
        parts = self._parts(entry, address, text, menu, reply_to=reply_to)
        if isinstance(wanted, Ask):
            parts[-1] = replace(parts[-1], tracks=menu_id(menu.nonce))
        return _Shown(parts, menu, self._form(wanted, menu.nonce, 0))

    def _form(self, wanted: CommandResult, nonce: str, message: int) -> StoredForm | None:
        if not isinstance(wanted, Ask):
            return None
        step = wanted.action, *wanted.arguments
        return StoredForm(step, nonce, message, int(self.clock.wall()))

    @staticmethod
    def _parts(
        entry: LineEntry,
        address: Address,
        text: str,
        menu: StoredMenu,
        *,
        edit: int | None = None,
        reply_to: int | None = None,
    ) -> list[OutgoingPart]:
        """One message with the menu's buttons; a longer text is cut."""
        numbered = iter(range(len(menu.steps)))
        buttons: Buttons = [
            [(words, f"{PREFIX}:{menu.nonce}:{menu.version}:{next(numbered)}") for words, _ in row]
            for row in menu.rows
        ]
        parts: list[OutgoingPart] = []
        for most in (MOST_TEXT, LEAST_TEXT):
            cut = _cut(text, most)
            parts = entry.line.channel.render(address, cut, reply_to, edit, buttons)
            if len(parts) == 1:
                break
        return parts


def _reason_asked(name: str, arguments: Sequence[str], rows: StoredRows) -> Ask:
    """Ask why something is done, before it is; the buttons from before stay."""
    return Ask(WHY, BECAUSE, (name, *arguments), _buttons(rows))


def _cut(text: str, most: int) -> str:
    """A text, or its first lines where it is longer."""
    if len(text) <= most:
        return text
    return (text[:most].rpartition("\n")[0] or text[:most]) + "\n…"


def _content(wanted: CommandResult, before: StoredRows) -> tuple[str, StoredRows]:
    """The text and the buttons of what comes next; a refusal keeps the buttons from before."""
    match wanted:
        case View(text, rows) | Ask(text, _, _, rows):
            return text, stored_rows(rows)
        case Refused(text):
            return text, before
        case Reply(text):
            return text or CLOSED, ()
    raise TypeError(f"{type(wanted).__name__} cannot be shown by a menu")


def stored_rows(rows: Iterable[Row]) -> StoredRows:
    """Rows of buttons as the store keeps them, without empty ones."""
    return tuple(
        tuple((one.label, (one.action, *one.arguments)) for one in row) for row in rows if row
    )


def _buttons(rows: StoredRows) -> list[list[Button]]:
    return [[Button(words, step[0], step[1:]) for words, step in row] for row in rows]


def _plain(text: str) -> str:
    """Markdown without its marks, for an answer to a press."""
    return _MARKUP.sub("", text)
