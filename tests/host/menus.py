"""A person who goes through menus: what they open, tap and write, and what they see."""

from __future__ import annotations

from typing import Any

from simulators.telegram.people import Bot, Person
from simulators.telegram.presses import Press
from simulators.telegram.rooms import Message, Room
from simulators.testing.stage import PATIENCE
from tests.host.stage import Stage


class MenuUser:
    """A person in a room with a bot; `taps` counts what they tapped, `word` is the last one shown.

    `message` is the menu that they are at.
    """

    def __init__(self, stage: Stage, person: Person, bot: Bot, room: Room | None = None) -> None:
        self.stage, self.person, self.bot = stage, person, bot
        self.room = room or stage.world.private(person, bot)
        self.taps = 0
        self.word = ""
        self.number = 0

    @property
    def message(self) -> Message:
        """The menu as it is now."""
        return self.room.messages[self.number]

    @property
    def text(self) -> str:
        """What the menu says."""
        return self.message.text

    @property
    def rows(self) -> list[list[Any]]:
        """The menu's buttons as the Bot API has them."""
        markup = self.message.body.get("reply_markup") or {}
        return list(markup.get("inline_keyboard", []))

    @property
    def labels(self) -> list[str]:
        """The words on the buttons."""
        return [button["text"] for row in self.rows for button in row]

    async def open(self, text: str, *, reply_to: int | None = None) -> str:
        """Send a command, or a text; what the bot's next message says."""
        before = self._newest()
        self.stage.world.say(self.person, self.room, text, reply_to=reply_to)
        await self.stage.world.until(lambda: self._newest() > before, PATIENCE)
        self.number = self._newest()
        return self.text

    async def write(self, text: str) -> str:
        """Write what the menu asks for, in a group as a reply to it; what comes then."""
        return await self.open(text, reply_to=None if self.room.private else self.number)

    async def tap(self, label: str) -> str:
        """Tap the button that begins with these words; what the menu shows then."""
        before = self.rows
        await self.word_of(label)
        await self.stage.world.until(lambda: self.rows != before, PATIENCE)
        return self.text

    async def word_of(self, label: str) -> str:
        """Tap the button that begins with these words; the word that is shown for a moment."""
        button = next((one for one in self.labels if one.startswith(label)), label)
        self.taps += 1
        pressed = self.stage.world.press_button(self.person, self.room, self.number, button)
        return await self.answered(pressed)

    async def answered(self, pressed: Press) -> str:
        """The word that is shown to whoever pressed."""
        await self.stage.world.until(lambda: pressed.answer is not None, PATIENCE)
        self.word = str((pressed.answer or {}).get("text", ""))
        return self.word

    def _newest(self) -> int:
        own = [number for number, one in self.room.messages.items() if one.author == self.bot.id]
        return max(own, default=0)
