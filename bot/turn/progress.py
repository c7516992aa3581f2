"""What a person sees before the answer is complete: typing, then the answer as it grows.

In a chat the whole text is shown again from time to time. An event stream takes each piece once, as
soon as it is known not to change.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator

import orjson
import structlog

from bot.approvals.view import NAME_LIMIT
from bot.errors import (
    ChannelError,
    ChannelFailed,
    ChannelFateUnknown,
    FencedOut,
    SwitchboardError,
)
from bot.messages import UNKNOWN_MESSAGE
from bot.ops.redaction import StreamRedactor
from bot.ops.tasks import cancel_and_wait, offload_if_long
from bot.safety.text_safety import printable, safe_text
from bot.store.events import AnswerStream
from bot.turn.turn import Turn

log = structlog.get_logger("progress")

TYPING_AFTER = 0.3
TYPING_EVERY = 4.5
PREVIEW_AFTER = 0.5
LOOK_EVERY = 0.25
ENOUGH_FOR_A_GROUP = 40
GATHER_SECONDS = 0.03
"""How long pieces for an event stream are gathered."""


def draft_of(entry: str) -> int:
    """The number under which a turn's growing answer is shown; never zero."""
    return zlib.crc32(entry.encode()) | 1


class Progress:
    """Shows the progress of a turn; what cannot be shown is left out, never waited for.

    `message` is what shows the answer in a group, UNKNOWN_MESSAGE where it may be there or not:
    that is recorded before it is sent, so that it is not taken for unsent after a crash. `chunks`
    counts the pieces of this step. Where that may turn out to be a draft, nothing of it is shown.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._channel = turn.line.channel
        self._address = turn.incoming.address
        self._filter = turn.agent.filter
        self._growing = StreamRedactor(self._filter.secrets)
        self._earlier = turn.said(goes_on=True)
        self._is_withheld = False
        self._pieces: list[str] = []
        self._tool = ""
        self._shown = self._drawing = ""
        self._is_drawn = False
        self._sending: asyncio.Future[None] | None = None
        self._is_noted = self._is_over = False
        self._changed = asyncio.Event()
        self._shown_before = 0
        self._unnoted: list[str] = []
        self.chunks = 0
        self.message = turn.opened.preview

    def add(self, text: str) -> None:
        """More of the answer."""
        self._pieces.append(text)
        self.chunks += 1
        self._tool, self._is_drawn = "", False
        self._changed.set()

    def using(self, tool: str) -> None:
        """A tool is about to run; its name is its server's choice, and is shown safely."""
        self._tool, self._is_drawn = safe_text(tool, NAME_LIMIT), False
        if self._turn.stream is not None:
            self._unnoted.append(" ".join(printable(tool, NAME_LIMIT).split()))
        self._changed.set()

    def begin_step(self, *, withheld: bool) -> None:
        """A step begins; its text is `withheld` while a rule may ask for another answer."""
        self._is_withheld = withheld

    def restart_step(self) -> None:
        """The step is made again: what it said so far does not count."""
        self._pieces, self._is_drawn, self.chunks = [], False, 0

    def _note_shown(self) -> None:
        """What was shown until now is not of the step that begins."""
        if self._turn.stream is not None:
            self._shown_before = len(self._turn.stream.showing)

    @property
    def is_final(self) -> bool:
        """Whether a piece of this step was shown that cannot be taken back."""
        stream = self._turn.stream
        return stream is not None and len(stream.showing) > self._shown_before

    def end_step(self, *, goes_on: bool = False) -> None:
        """The step is over, and the turn has its answer, or `goes_on`: then it may be a draft."""
        self.restart_step()
        self._note_shown()
        self._earlier = self._turn.said(goes_on=goes_on)

    @property
    def visible(self) -> str:
        """All that may be shown by now: no draft, and nothing that may become one."""
        if self._is_withheld:
            return self._earlier
        self._pieces = ["".join(self._pieces)]
        now = self._pieces[0].strip()
        return "\n\n".join(part for part in (self._earlier, now) if part)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Show progress while the block runs.

        A preview that is on its way at the end is waited for: it must not come after the answer.
        """
        if self._turn.stream is not None and not self._address.grows:
            yield
            return
        show = self._show() if self._turn.stream is None else self._grow(self._turn.stream)
        tasks: list[asyncio.Future[None]] = [asyncio.create_task(show, name="progress")]
        try:
            yield
            self._is_over = True
            if self._sending is not None:
                await asyncio.wait({self._sending})
        finally:
            await cancel_and_wait([*tasks, self._sending] if self._sending else tasks)

    async def _show(self) -> None:
        clock = self._turn.services.clock
        began = clock.monotonic()
        type_at = began + TYPING_AFTER
        while not self._is_over:
            await clock.sleep(LOOK_EVERY)
            now = clock.monotonic()
            try:
                if await self._is_worth_a_preview(now - began):
                    self._sending = asyncio.ensure_future(self._preview())
                    await asyncio.shield(self._sending)
                elif now >= type_at:
                    type_at = now + TYPING_EVERY
                    await self._channel.typing(self._address)
            except SwitchboardError as error:
                log.debug("progress.failed", error=str(error))
            except Exception:
                log.exception("progress.failed")  # an answer does not depend on its previews

    async def _grow(self, stream: AnswerStream) -> None:
        """Append to the event stream what is new, as long as the block runs."""
        clock, noted = self._turn.services.clock, ""
        try:
            await stream.load()
            self._note_shown()
            while not self._is_over:
                await self._changed.wait()
                await clock.sleep(GATHER_SECONDS)
                self._changed.clear()
                tools, self._unnoted = dict.fromkeys(self._unnoted), []
                await self._extend(stream)
                for tool in (one for one in tools if one != noted):
                    await stream.note("tool", orjson.dumps({"tool": tool}).decode())
                    noted = tool
        except FencedOut:  # the next write of the turn finds out as well
            log.debug("progress.fenced", line=self._turn.line.name)
        except Exception:
            log.exception("progress.failed")

    async def _extend(self, stream: AnswerStream) -> None:
        """Show what is settled; what an earlier attempt had shown of it is not shown again."""
        said = self.visible
        redact, growing = self._filter.redact_preview, self._growing
        text = await offload_if_long(len(said), lambda: redact(said, growing))
        if text.startswith(stream.text):
            await stream.extend(text)
        elif not stream.text.startswith(text):
            await self._turn.close_partial()
            self._note_shown()
            await stream.extend(text)

    async def _is_worth_a_preview(self, elapsed: float) -> bool:
        if self.message == UNKNOWN_MESSAGE:  # another one would stand below it
            return False
        text = await self._text()
        if text == self._shown or elapsed < PREVIEW_AFTER or self._is_over:
            return False
        return bool(text) if self._address.private else len(text) >= ENOUGH_FOR_A_GROUP

    async def _text(self) -> str:
        """What may be shown now; drawn again only where something was added."""
        if not self._is_drawn:
            self._is_drawn = True  # unless something is added meanwhile
            said, note = self.visible, f"_{self._tool} …_" if self._tool else ""
            redact, growing = self._filter.redact_preview, self._growing
            shown = await offload_if_long(len(said), lambda: redact(said, growing))
            self._drawing = "\n\n".join(part for part in (shown, note) if part)
        return self._drawing

    async def _preview(self) -> None:
        text = self._drawing
        grows = self._address.private or self.message
        if await (self._update(text) if grows else self._begin(text)) is not None:
            self._shown = text

    async def _update(self, text: str) -> int | None:
        """Show the text in the existing message.

        An edit whose fate is unknown may arrive late: then the answer must be a new message.
        """
        try:
            return await self._send(text, self.message)
        except ChannelFateUnknown:
            self.message = None if self._address.private else UNKNOWN_MESSAGE
            raise

    async def _begin(self, text: str) -> int | None:
        """Send the beginning to a group; only once its id is known is it certain to be there."""
        if not self._is_noted:
            await self._turn.note_preview(UNKNOWN_MESSAGE)
            self._is_noted = True
        if self._is_over:
            return None
        self.message = UNKNOWN_MESSAGE
        try:
            self.message = await self._send(text, None)
        except ChannelError as error:
            if not isinstance(error, ChannelFailed | ChannelFateUnknown):
                self.message = None
            raise
        if self.message is not None:
            await self._turn.note_preview(self.message)
        return self.message

    async def _send(self, text: str, message: int | None) -> int | None:
        turn, address, show = self._turn, self._address, self._channel.preview
        links = turn.agent.effective.definition.link_previews
        return await show(address, draft_of(turn.id), text, message, link_previews=links)
