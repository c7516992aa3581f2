"""When a chat may be called again: guessed slots, and the pauses that the server orders.

Pure bookkeeping by monotonic seconds; it neither waits nor calls. Previews, edits and typing ask
for a slot; final answers only ask whether the chat is blocked, but use up a slot anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bot.messages import Clock

_PRIVATE_GAP: Final = 1.0
_GROUP_GAP: Final = 3.0
_GROUP_EDIT_STEP: Final = 0.5
_GROUP_EDIT_GAP: Final = 5.0
_HALF_SPEED: Final = 60.0
_DEEPEST_DEBT: Final = 60.0
_IDLE: Final = 60.0
_SWEEP_FROM: Final = 1024


@dataclass(slots=True)
class _ChatState:
    """Monotonic seconds: the next slot, the end of a block and of half speed, the last use."""

    slot: float
    blocked_until: float
    slow_until: float
    used: float
    edits: int = 0

    def is_idle(self, now: float) -> bool:
        return max(self.slot, self.blocked_until, self.slow_until, self.used + _IDLE) <= now


@dataclass(slots=True, repr=False)
class ChatRateLimiter:
    """How often each chat of one bot may be called. A negative id is a group, as in Telegram."""

    clock: Clock
    _chats: dict[int, _ChatState] = field(default_factory=dict, init=False)
    _sweep_at: int = field(default=_SWEEP_FROM, init=False)

    def __len__(self) -> int:
        return len(self._chats)

    def begin(self, chat: int) -> None:
        """Start a growing answer: edits in a group begin with the short gap again."""
        self._state(chat).edits = 0

    def may_preview(self, chat: int) -> bool:
        """Whether a preview, an edit or typing may go to the chat now."""
        return self.preview_in(chat) <= 0

    def preview_in(self, chat: int) -> float:
        """Seconds until the chat has a slot for a preview; 0 where it has one."""
        state = self._chats.get(chat)
        if state is None:
            return 0.0
        return max(0.0, max(state.slot, state.blocked_until) - self.clock.monotonic())

    def blocked_for(self, chat: int) -> float:
        """Seconds until the chat takes anything at all; 0 where it is not blocked."""
        state = self._chats.get(chat)
        return 0.0 if state is None else max(0.0, state.blocked_until - self.clock.monotonic())

    def blocked(self) -> list[float]:
        """For each chat that accepts nothing: how many more seconds."""
        return [pause for chat in self._chats if (pause := self.blocked_for(chat)) > 0]

    def record(self, chat: int, *, preview: bool = False) -> None:
        """Count a call to the chat; `preview` marks a step of a growing answer.

        Calls that did not wait for their slot push the next one back, at most by a minute.
        """
        state = self._state(chat)
        now = state.used
        gap = _PRIVATE_GAP if chat > 0 else _GROUP_GAP
        if chat < 0 and preview:
            gap = min(_GROUP_EDIT_GAP, _GROUP_GAP + _GROUP_EDIT_STEP * state.edits)
        if now < state.slow_until:
            gap *= 2
        state.slot = min(max(state.slot, now) + gap, now + _DEEPEST_DEBT)
        state.edits += preview

    def block_until(self, chat: int, until: float) -> None:
        """Send nothing to the chat until a monotonic time, and half as often for a minute after."""
        state = self._state(chat)
        state.blocked_until = max(state.blocked_until, until)
        state.slow_until = max(state.slow_until, until + _HALF_SPEED)

    def _state(self, chat: int) -> _ChatState:
        now = self.clock.monotonic()
        state = self._chats.get(chat)
        if state is None:
            self._forget_idle(now)
            state = self._chats[chat] = _ChatState(now, now, now, now)
        state.used = now
        return state

    def _forget_idle(self, now: float) -> None:
        """Drop idle chats once there are many: each time twice as many as had to stay."""
        if len(self._chats) < self._sweep_at:
            return
        self._chats = {chat: state for chat, state in self._chats.items() if not state.is_idle(now)}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._chats))
