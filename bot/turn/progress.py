"""What a person sees before the answer is there: typing, then the answer as it grows."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from bot.errors import FateUnknown, ServerFault, SwitchboardError, TelegramError
from bot.events import Address
from bot.ops.aside import over
from bot.ops.waiting import ended
from bot.ports import SOMEWHERE, Channel, Clock
from bot.tools.sheets import WORDS_LIMIT, plain
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
    """Shows a turn's progress; whatever it cannot show is left out, never waited for.

    `message` is what shows the answer in a group, `SOMEWHERE` where that may be there or not: that
    is noted before it is sent, so that no later life takes it for unsent.
    """

    def __init__(
        self,
        channel: Channel,
        address: Address,
        entry: str,
        clock: Clock,
        noted: Noted,
        guard: Filter,
        *,
        link_previews: bool = False,
    ) -> None:
        self._filter = guard
        self._sieve = guard.secrets.growing()
        self._link_previews = link_previews
        self._channel = channel
        self._address = address
        self._clock = clock
        self._noted = noted
        self._draft = draft_of(entry)
        self._earlier = ""
        self._pieces: list[str] = []
        self._size = 0
        self._tool = ""
        self._shown = ""
        self._step = 0
        self._drawn: tuple[int, int, str] = (-1, 0, "")
        self._drawing = ""
        self._going: asyncio.Future[None] | None = None
        self._intended = self._over = False
        self.message: int | None = None

    def add(self, text: str) -> None:
        """More of the answer."""
        self._pieces.append(text)
        self._size += len(text)
        self._tool = ""

    def using(self, tool: str) -> None:
        """A tool is about to run; its name is its server's choice, and is shown as it is."""
        self._tool = plain(tool, WORDS_LIMIT)

    def again(self) -> None:
        """The step is made again: what it said so far does not count."""
        self._begin_step()

    def _begin_step(self) -> None:
        self._step += 1
        self._pieces, self._size = [], 0

    def keep(self, text: str) -> None:
        """The step is over, and this is all that was said in the turn."""
        self._begin_step()
        self._earlier = text

    @property
    def said(self) -> str:
        """All that the person can have seen."""
        self._pieces = ["".join(self._pieces)]
        now = self._pieces[0].strip()
        return "\n\n".join(part for part in (self._earlier, now) if part)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[Progress]:
        """Show progress while the block runs.

        A preview that is on its way at the end is waited for: it must not come after the answer.
        """
        tasks: list[asyncio.Future[None]] = [asyncio.create_task(self._show(), name="progress")]
        try:
            yield self
            self._over = True
            if self._going is not None:
                await asyncio.wait({self._going})
        finally:
            await ended([*tasks, self._going] if self._going else tasks)

    async def _show(self) -> None:
        began = self._clock.monotonic()
        type_at = began + TYPING_AFTER
        while not self._over:
            await self._clock.sleep(LOOK_EVERY)
            now = self._clock.monotonic()
            try:
                if await self._worth_a_preview(now - began):
                    self._going = asyncio.ensure_future(self._preview())
                    await asyncio.shield(self._going)
                elif now >= type_at:
                    type_at = now + TYPING_EVERY
                    await self._channel.typing(self._address)
            except SwitchboardError as error:
                log.debug("progress.failed", error=str(error))
            except Exception:
                log.exception("progress.failed")  # an answer does not depend on its previews

    async def _worth_a_preview(self, elapsed: float) -> bool:
        if self.message == SOMEWHERE:  # another one would stand below it
            return False
        text = await self._text()
        if text == self._shown or elapsed < PREVIEW_AFTER or self._over:
            return False
        return bool(text) if self._address.private else len(text) >= ENOUGH_FOR_A_GROUP

    async def _text(self) -> str:
        """What may be shown now; drawn anew only where something was added, as looks are many."""
        state = (self._step, self._size, self._tool)
        if state != self._drawn:
            self._drawing = await self._draw()
            self._drawn = state
        return self._drawing

    async def _draw(self) -> str:
        note = f"_{self._tool} …_" if self._tool else ""
        said = self.said
        shown = await over(len(said), lambda: self._filter.preview(said, self._sieve))
        return "\n\n".join(part for part in (shown, note) if part)

    async def _preview(self) -> None:
        text = self._drawing
        shown = await (
            self._grow(text) if self._address.private or self.message else self._begin(text)
        )
        if shown is not None:
            self._shown = text

    async def _grow(self, text: str) -> int | None:
        """Draw it anew. An edit of unknown fate may come late, so the answer is no edit then."""
        try:
            return await self._show_it(text, self.message)
        except FateUnknown:
            self.message = None if self._address.private else SOMEWHERE
            raise

    async def _begin(self, text: str) -> int | None:
        """Put the beginning into a group; it is there surely only once its number is known."""
        if not self._intended:
            await self._noted(SOMEWHERE)
            self._intended = True
        if self._over:
            return None
        self.message = SOMEWHERE
        try:
            self.message = await self._show_it(text, None)
        except (FateUnknown, ServerFault):
            raise
        except TelegramError:
            self.message = None
            raise
        if self.message is not None:
            await self._noted(self.message)
        return self.message

    async def _show_it(self, text: str, message: int | None) -> int | None:
        links = self._link_previews
        return await self._channel.preview(
            self._address, self._draft, text, message, link_previews=links
        )
