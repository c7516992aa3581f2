"""The menus of a line: what the buttons of each mean, and whose next message answers one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot.messages import Fence, LineEntry, OutgoingPart, PersonId
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.outbox import dump_part, outbox_items

MENU_FOR_S = 7 * 24 * 3600
"""How long the buttons of a menu work after the last press."""
FORM_FOR_S = 3600
"""How long a question waits for the text that it asked for."""

Step = tuple[str, ...]
"""The name of an action, and its arguments."""
StoredRows = tuple[tuple[tuple[str, Step], ...], ...]
"""Rows of buttons: the words of each, and what it leads to."""


@dataclass(frozen=True, slots=True)
class StoredMenu:
    """A menu as it is now: who may press in which conversation, and what each button leads to.

    `version` counts what it showed, so that a button of an earlier state is known as old.
    """

    nonce: str
    person: PersonId
    conversation: str
    version: int
    rows: StoredRows = ()

    @property
    def steps(self) -> list[Step]:
        """What the buttons lead to, in their order."""
        return [step for row in self.rows for _, step in row]

    def dumped(self) -> bytes:
        """The menu as it is stored."""
        return orjson.dumps([self.person, self.conversation, self.version, self.rows])


@dataclass(frozen=True, slots=True)
class StoredForm:
    """What a person's next message in a conversation is for; `message` asked for it, 0: unknown."""

    step: Step
    nonce: str
    message: int
    at: int

    def dumped(self) -> bytes:
        """The form as it is stored."""
        return orjson.dumps([self.step, self.nonce, self.message, self.at])


@dataclass(slots=True)
class MenuStore:
    """The menus of all lines.

    The open forms of a line are read once in each ownership of it, since only its owner writes.
    """

    client: StoreClient
    _forms: dict[str, tuple[int, dict[str, StoredForm]]] = field(default_factory=dict, init=False)

    async def load(self, line: str, nonce: str) -> StoredMenu | None:
        """A menu by its nonce; None where it is too old."""
        found = await self.client.read("GET", keys.menu(line, nonce))
        if not found:
            return None
        person, conversation, version, rows = orjson.loads(found)
        read = tuple(tuple((words, tuple(step)) for words, step in row) for row in rows)
        return StoredMenu(nonce, person, conversation, version, read)

    async def message(self, line: str, nonce: str) -> int:
        """The message of a menu that asked for a text; 0 where it is not known."""
        return int(await self.client.read("GET", keys.menu_message(line, nonce)) or 0)

    async def form(
        self, fence: Fence, conversation: str, person: PersonId, now: float
    ) -> StoredForm | None:
        """What the person's next message is for; None where nothing was asked, or too long ago."""
        found = (await self._open_forms(fence)).get(_name(conversation, person))
        if found is not None and now - found.at > FORM_FOR_S:
            await self.drop_form(fence, conversation, person)
            return None
        return found

    async def drop_form(self, fence: Fence, conversation: str, person: PersonId) -> None:
        """Close a person's form, if one is open."""
        forms, name = await self._open_forms(fence), _name(conversation, person)
        if name in forms:
            await self.client.as_owner("drop_form", fence, [keys.forms], name)
            forms.pop(name, None)

    async def settle(
        self,
        entry: LineEntry,
        parts: Sequence[OutgoingPart],
        menus: Sequence[StoredMenu],
        form: StoredForm | None,
    ) -> None:
        """Finish an entry with these parts and the new state of its menus, in one step.

        The `form` takes the place of the one that is open for the person of the first menu, or
        (None) that one is closed. A menu without buttons is forgotten.
        """
        fence, line = entry.line.fence, entry.line.name
        forms = await self._open_forms(fence)
        names: list[keys.AnyKey] = [keys.inbox, keys.outbox, keys.forms]
        names += [keys.menu(line, menu.nonce) for menu in menus]
        values = [menu.dumped() if menu.rows else b"" for menu in menus]
        name = _name(menus[0].conversation, menus[0].person)
        dumped = form.dumped() if form else b""
        args: list[Any] = [entry.id, MENU_FOR_S, name, dumped, len(values), *values]
        args += map(dump_part, parts)
        items = await self.client.as_owner("settle_menu", fence, names, *args)
        if form is not None:
            forms[name] = form
        else:
            forms.pop(name, None)
        if parts:
            await entry.line.channel.deliver(outbox_items(items, parts))

    async def _open_forms(self, fence: Fence) -> dict[str, StoredForm]:
        token, forms = self._forms.get(fence.line, (0, {}))
        if token != fence.token:  # another owner may have written meanwhile
            found = await self.client.read("HGETALL", keys.forms(fence.line))
            forms = {name.decode(): _form(value) for name, value in pairs_of(found)}
            self._forms[fence.line] = fence.token, forms
        return forms


def _name(conversation: str, person: PersonId) -> str:
    return f"{conversation}:{person}"


def _form(value: bytes) -> StoredForm:
    step, nonce, message, at = orjson.loads(value)
    return StoredForm(tuple(map(str, step)), nonce, message, at)
