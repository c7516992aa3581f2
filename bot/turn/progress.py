"""What a person sees before the answer is there: typing, then the answer as it grows."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from bot.errors import SwitchboardError
from bot.events import Address
from bot.ports import Channel, Clock
from bot.turn.filters import Filter

log = structlog.get_logger("progress")

TYPING_AFTER = 0.3
TYPING_EVERY = 4.5
PREVIEW_AFTER = 0.5
LOOK_EVERY = 0.25
ENOUGH_FOR_A_GROUP = 40

Noted = Callable[[int], Awaitable[None]]


def draft_of(entry: str) -> int:
    """The number under which a turn's growing answer is shown; never zero."""
    return zlib.crc32(entry.encode()) | 1


class Progress:
    """Shows a turn's progress; whatever it cannot show is left out, never waited for."""

    def __init__(
        self,
        channel: Channel,
        address: Address,
        entry: str,
        clock: Clock,
        noted: Noted,
        guard: Filter,
    ) -> None:
        self._filter = guard
        self._channel = channel
        self._address = address
        self._clock = clock
        self._noted = noted
        self._draft = draft_of(entry)
        self._earlier = ""
        self._now = ""
        self._tool = ""
        self._shown = ""
        self._step = 0
        self._drawn: tuple[int, int, str] = (-1, 0, "")
        self._drawing = ""
        self.message: int | None = None

    def add(self, text: str) -> None:
        """More of the answer."""
        self._now += text
        self._tool = ""

    def using(self, tool: str) -> None:
        """A tool is about to run."""
        self._tool = tool

    def again(self) -> None:
        """The step is made again: what it said so far does not count."""
        self._step += 1
        self._now = ""

    def keep(self, text: str) -> None:
        """The step is over, and this is all that was said in the turn."""
        self._step += 1
        self._earlier, self._now = text, ""

    @property
    def said(self) -> str:
        """All that the person can have seen."""
        return "\n\n".join(part for part in (self._earlier, self._now.strip()) if part)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[Progress]:
        """Show progress while the block runs."""
        task = asyncio.create_task(self._show(), name="progress")
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _show(self) -> None:
        began = self._clock.monotonic()
        type_at = began + TYPING_AFTER
        while True:
            await self._clock.sleep(LOOK_EVERY)
            now = self._clock.monotonic()
            try:
                if self._worth_a_preview(now - began):
                    await self._preview()
                elif now >= type_at:
                    type_at = now + TYPING_EVERY
                    await self._channel.typing(self._address)
            except SwitchboardError as error:
                log.debug("progress.failed", error=str(error))

    def _worth_a_preview(self, elapsed: float) -> bool:
        text = self._text()
        if text == self._shown or elapsed < PREVIEW_AFTER:
            return False
        return bool(text) if self._address.private else len(text) >= ENOUGH_FOR_A_GROUP

    def _text(self) -> str:
        """What may be shown now; drawn anew only where something was added, as looks are many."""
        state = (self._step, len(self._now), self._tool)
        if state != self._drawn:
            self._drawn, self._drawing = state, self._draw()
        return self._drawing

    def _draw(self) -> str:
        note = f"_{self._tool} …_" if self._tool else ""
        said = self._filter.preview(self.said)
        return "\n\n".join(part for part in (said, note) if part)

    async def _preview(self) -> None:
        text = self._text()
        shown = await self._channel.preview(self._address, self._draft, text, self.message)
        if shown is None:
            return
        self._shown = text
        if shown and shown != self.message:
            self.message = shown
            await self._noted(shown)
