"""The queue of updates of one bot: ids rise, an offset confirms, one poll at a time gets them."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson

from simulators.telegram.refusals import OTHER_POLL, RefusedError

KINDS = (
    "message", "edited_message", "channel_post", "edited_channel_post", "business_connection",
    "business_message", "edited_business_message", "deleted_business_messages", "guest_message",
    "message_reaction", "message_reaction_count", "inline_query", "chosen_inline_result",
    "callback_query", "shipping_query", "pre_checkout_query", "purchased_paid_media", "poll",
    "poll_answer", "my_chat_member", "chat_member", "chat_join_request", "chat_boost",
    "removed_chat_boost", "managed_bot", "subscription", "stopped_message_generation",
)  # fmt: skip
UNASKED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
DEFAULT = frozenset(KINDS) - UNASKED
RETENTION = 24 * 3600.0
LONGEST_POLL = 50
Disconnected = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Update:
    """One update: its id, when it was made, its kind and its JSON (with the id)."""

    id: int
    at: float
    kind: str
    body: dict[str, Any]
    raw: bytes


class Updates:
    """The queue of one bot; `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float], first: int | None = None) -> None:
        self._now = now
        self.next_id = first if first is not None else random.randrange(10**8, 9 * 10**8)  # noqa: S311
        self.allowed: frozenset[str] = DEFAULT
        self.waiting: deque[Update] = deque()
        self.confirmed: Callable[[int], None] = lambda _: None
        self._poll: asyncio.Future[RefusedError | None] | None = None
        self._polled = asyncio.Event()
        self._last_poll: tuple[int, float] | None = None

    async def wait_until_polled(self, timeout: float = 60.0) -> None:
        """Returns as soon as a long poll waits here; else TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._polled.wait()

    def allow(self, names: Collection[str]) -> None:
        """Sets the kinds to queue from now on; the default if none of the names is known."""
        chosen = frozenset(name.lower() for name in names) & frozenset(KINDS)
        self.allowed = chosen or DEFAULT

    def add(self, kind: str, content: dict[str, Any]) -> Update | None:
        """Queues one update and wakes the poll; None when the bot does not want this kind."""
        if kind not in self.allowed:
            return None
        body = {"update_id": self.next_id, kind: content}
        update = Update(self.next_id, self._now(), kind, body, orjson.dumps(body))
        self.next_id += 1
        self.restore(update)
        return update

    def restore(self, update: Update) -> None:
        """Queues an update that already has its id."""
        self.waiting.append(update)
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def forget_old(self) -> None:
        """Drops what was not fetched within 24 hours."""
        oldest = self._now() - RETENTION
        while self.waiting and self.waiting[0].at < oldest:
            self.waiting.popleft()

    def confirm(self, offset: int) -> None:
        """Forgets everything below a positive offset, or all but the last -offset ones."""
        self.forget_old()
        before = len(self.waiting)
        while self.waiting and self._is_behind(offset):
            self.waiting.popleft()
        if len(self.waiting) != before:
            self.confirmed(self.waiting[0].id if self.waiting else self.next_id)

    def _is_behind(self, offset: int) -> bool:
        return len(self.waiting) > -offset if offset < 0 else self.waiting[0].id < offset

    def clear(self) -> None:
        """Forgets everything that waits."""
        self.waiting.clear()
        self.confirmed(self.next_id)

    async def poll(
        self,
        offset: int,
        limit: int,
        timeout: float,
        *,
        slow_hasty: bool,
        disconnected: Disconnected | None = None,
    ) -> list[Update]:
        """Up to `limit` updates, at once if any wait, else within `timeout` seconds.

        Raises 409 when a later poll or a webhook takes over. With `slow_hasty` a poll that follows
        another one within 3 s at the same offset gets one update, or waits 3 s, as with the real
        service. The poll ends, with nothing, as soon as `disconnected` returns.
        """
        self.interrupt(RefusedError(409, OTHER_POLL))
        if slow_hasty:
            limit, timeout = self._slowed(offset, limit, timeout)
        self.confirm(offset)
        if not self.waiting and timeout > 0:
            await self._wait(timeout, disconnected)
            self.forget_old()
        return [update for update, _ in zip(self.waiting, range(limit), strict=False)]

    def _slowed(self, offset: int, limit: int, timeout: float) -> tuple[int, float]:
        last, now = self._last_poll, self._now()
        self._last_poll = (offset, now)
        if last is None or last[0] != offset:
            return limit, timeout
        gap = now - last[1]
        return (1 if gap < 0.5 else limit), (3.0 if gap < 3 and timeout < 3 else timeout)

    async def _wait(self, timeout: float, disconnected: Disconnected | None) -> None:
        loop = asyncio.get_running_loop()
        poll = self._poll = loop.create_future()
        self._polled.set()
        ending = loop.call_later(timeout, _end, poll)
        watching = loop.create_task(disconnected()) if disconnected is not None else None
        if watching is not None:
            watching.add_done_callback(lambda _: _end(poll))
        try:
            refusal = await poll
        finally:
            ending.cancel()
            if watching is not None:
                watching.cancel()
            if self._poll is poll:
                self._poll = None
                self._polled.clear()
        if refusal is not None:
            raise refusal

    @property
    def polled(self) -> bool:
        """Whether a poll waits for an update now."""
        return self._poll is not None

    def interrupt(self, refusal: RefusedError) -> None:
        """Ends the waiting poll, if there is one, with a refusal."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(refusal)
        self._poll = None
        self._polled.clear()


def _end(poll: asyncio.Future[RefusedError | None]) -> None:
    if not poll.done():
        poll.set_result(None)
