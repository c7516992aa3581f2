"""When a chat may be called again: guessed slots, and the freezes that the server orders.

Pure bookkeeping by monotonic seconds; it neither waits nor calls. Previews, edits and typing ask
for a slot; final answers only ask whether the chat is frozen, but spend a slot all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.messages import Clock

_PRIVATE_GAP: Final = 1.0
_GROUP_GAP: Final = 3.0
_GROUP_EDIT_STEP: Final = 0.5
_GROUP_EDIT_GAP: Final = 5.0
_FIRST_DRAFT: Final = 0.5
_HALF_SPEED: Final = 60.0
_DEEPEST_DEBT: Final = 60.0
_IDLE: Final = 60.0
_SWEEP_FROM: Final = 1024


@dataclass(slots=True)
class _ChatState:
    """Monotonic seconds: next slot, end of the freeze, end of half speed, last use."""

    slot: float
    frozen: float
    slow: float
    used: float
    edits: int = 0

    def idle(self, now: float) -> bool:
        return max(self.slot, self.frozen, self.slow, self.used + _IDLE) <= now


class ChatRateLimiter:
    """The pace of one bot's chats. A negative chat id is a group, as in Telegram."""

    __slots__ = ("_chats", "_clock", "_sweep_at")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chats: dict[int, _ChatState] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        return len(self._chats)

    def begin(self, chat: int, now: float | None = None) -> None:
        """A new answer starts to grow.

        Group edits start at their short gap again; a private chat's first draft comes after 0.5 s.
        """
        now = self._now(now)
        state = self._state(chat, now)
        state.edits = 0
        if chat > 0:
            state.slot = max(state.slot, now + _FIRST_DRAFT)

    def may_preview(self, chat: int, now: float | None = None) -> bool:
        """Whether a preview, an edit or typing may go to the chat now."""
        return self.preview_in(chat, now) <= 0

    def preview_in(self, chat: int, now: float | None = None) -> float:
        """Seconds until the chat has a slot for a preview; 0 where it has one."""
        state = self._chats.get(chat)
        if state is None:
            return 0.0
        return max(0.0, max(state.slot, state.frozen) - self._now(now))

    def open_in(self, chat: int, now: float | None = None) -> float:
        """Seconds until the chat takes anything at all; 0 where it is not frozen."""
        state = self._chats.get(chat)
        return 0.0 if state is None else max(0.0, state.frozen - self._now(now))

    def spend(self, chat: int, now: float | None = None, *, preview: bool = False) -> None:
        """A call went to the chat. `preview` marks a step of a growing answer.

        Calls that did not wait for their slot push the next one back, at most by a minute.
        """
        now = self._now(now)
        state = self._state(chat, now)
        slot = max(state.slot, now) + self._gap(chat, state, now, preview=preview)
        state.slot = min(slot, now + _DEEPEST_DEBT)
        state.edits += preview

    def freeze(self, chat: int, until: float, now: float | None = None) -> None:
        """The server ordered silence until a monotonic time; half speed for a minute follows."""
        state = self._state(chat, self._now(now))
        state.frozen = max(state.frozen, until)
        state.slow = max(state.slow, until + _HALF_SPEED)

    def _gap(self, chat: int, state: _ChatState, now: float, *, preview: bool) -> float:
        gap = _PRIVATE_GAP if chat > 0 else _GROUP_GAP
        if chat < 0 and preview:
            gap = min(_GROUP_EDIT_GAP, _GROUP_GAP + _GROUP_EDIT_STEP * state.edits)
        return gap * 2 if now < state.slow else gap

    def _state(self, chat: int, now: float) -> _ChatState:
        state = self._chats.get(chat)
        if state is None:
            self._forget(now)
            state = self._chats[chat] = _ChatState(now, now, now, now)
        state.used = now
        return state

    def _forget(self, now: float) -> None:
        """Drop idle chats once there are many, each time twice as many as had to stay."""
        if len(self._chats) < self._sweep_at:
            return
        self._chats = {chat: state for chat, state in self._chats.items() if not state.idle(now)}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._chats))

    def _now(self, now: float | None) -> float:
        return self._clock.monotonic() if now is None else now
