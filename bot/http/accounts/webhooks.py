"""Webhooks of tasks: when a task is over, its status is sent to the address that came with it.

Signed as the Standard Webhooks specification has it. The store remembers what is due, so that any
host sends it, at least once, whichever host is killed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import structlog

from bot.errors import StoreError
from bot.messages import Clock
from bot.ops.logging import Counters
from bot.ops.tasks import TaskSet
from bot.store.sessions import account_of, session_of
from bot.store.webhooks import DueWebhook, WebhookStore
from registry.errors import InvalidValue
from registry.urls import is_internal, web_parts

log = structlog.get_logger("webhooks")

SETTING = "TASK_WEBHOOK_SECRET"
RETRY_AFTER = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""Seconds after each failed attempt until the next one; after the last one it is given up."""
SEND_SECONDS = 20.0
MOST_AT_ONCE = 50
MOST_URL = 2048
PREFIX = "whsec_"
_REFUSED = "leads to an internal host"

Outcome = Literal["sent", "gone", "refused", "failed"]
Message = Callable[[str, str], Awaitable[tuple[str, bytes | None]]]
"""Where a task's webhook goes and what it says, by the task's account and id.

No address where the task is gone, no body while it is not over.
"""


def account_secret(master: str, account: str) -> str:
    """The secret with which an account's receivers check signatures."""
    digest = hmac.digest(master.encode(), account.encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(digest).decode()


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a body, with an account's secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """What the operator says of webhooks: the master of all secrets, and where they may go.

    Where `proxied`, the operator's proxy judges what is not internal as it is written.
    """

    secret: str
    internal_hosts: Collection[str] = ()
    proxied: bool = False

    def check(self, url: str) -> None:
        """Raise InvalidValue for an address that nothing is sent to, as far as its name says."""
        parts = web_parts(url)
        if parts.username is not None or parts.password is not None:
            raise InvalidValue("holds a name or a password", "leave it out: requests are signed")
        if not self.may_be_internal(url) and is_internal(parts.hostname or ""):
            raise InvalidValue(_REFUSED, "use a public address, or list it in INTERNAL_HOSTS")

    def may_be_internal(self, url: str) -> bool:
        """Whether the operator has listed the host."""
        return (urlsplit(url).hostname or "") in self.internal_hosts


@dataclass(slots=True, repr=False)
class TaskWebhooks:
    """Sends the webhooks of tasks that are due; every host with an API does."""

    rules: WebhookRules
    store: WebhookStore
    clock: Clock
    counters: Counters
    pause: float = 1.0
    _sending: TaskSet = field(default_factory=TaskSet, init=False)
    _running: int = field(default=0, init=False)

    async def run(self, message: Message) -> None:
        """Look for what is due and send it, until cancelled."""
        try:
            while True:
                try:
                    for due in await self._claimed():
                        self._running += 1
                        self._sending.spawn(self._deliver(due, message))
                except StoreError as error:
                    log.warning("webhooks.not_claimed", error=str(error))
                await asyncio.sleep(self.pause)
        finally:
            await self._sending.end(0)

    async def _claimed(self) -> list[DueWebhook]:
        free = MOST_AT_ONCE - self._running
        return await self.store.claim(free) if free > 0 else []

    async def _deliver(self, due: DueWebhook, message: Message) -> None:
        try:
            await self._send(due, message)
        except StoreError as error:  # its claim ends, and it is sent again
            log.warning("webhook.not_settled", line=due.line, error=str(error))
        except Exception:
            log.exception("webhook.fault", line=due.line)
        finally:
            self._running -= 1

    async def _send(self, due: DueWebhook, message: Message) -> None:
        account, task = account_of(due.line), session_of(due.line).partition(":")[2]
        url, text = await message(account, task)
        if not url:
            await self.store.settle(due.line)
            return
        if text is None:
            await self.store.postpone(due.line, self.clock.wall() + RETRY_AFTER[0])
            return
        now = int(self.clock.wall())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Switchboard",
            "webhook-id": task,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(
                account_secret(self.rules.secret, account), task, now, text
            ),
        }
        outcome, why = await self._post(url, headers, text)
        await self._settle(due, outcome, {"task": task, "host": urlsplit(url).hostname, "why": why})

    async def _settle(self, due: DueWebhook, outcome: Outcome, told: dict[str, str | None]) -> None:
        """Note what came of an attempt."""
        is_last = outcome != "failed" or due.attempt > len(RETRY_AFTER)
        if outcome == "sent":
            log.info("webhook.sent", attempt=due.attempt, **told)
            self.counters.add("webhooks:sent")
        elif is_last:
            log.warning("webhook.given_up", attempt=due.attempt, **told)
            self.counters.add("webhooks:given_up")
        else:
            pause = RETRY_AFTER[due.attempt - 1]
            log.warning("webhook.failed", attempt=due.attempt, again_in=pause, **told)
            self.counters.add("webhooks:failed")
            await self.store.postpone(due.line, self.clock.wall() + pause)
        if is_last:
            await self.store.settle(due.line)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[Outcome, str]:
        """Send a body, and what came of it; the answer's own body is not read."""
        import httpx2  # a host without webhooks does not load it for them

        from bot.safety.ssrf_guard import GuardedHttpClient, InternalAddress, failure_text

        client = GuardedHttpClient(
            url,
            internal=self.rules.may_be_internal(url),
            proxied=self.rules.proxied,
            timeout=httpx2.Timeout(SEND_SECONDS),
        )
        try:
            async with asyncio.timeout(SEND_SECONDS), client:
                request = client.stream("POST", url, content=body, headers=headers)
                async with request as response:
                    status = response.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            is_refused = isinstance(error.__cause__, InternalAddress)
            return "refused" if is_refused else "failed", failure_text(error)
        except TimeoutError:
            return "failed", "no answer in time"
        except ValueError:  # such as a name that no address can hold
            return "refused", "not a valid address"
        if status == 410:
            return "gone", "410"
        return ("sent" if 200 <= status < 300 else "failed"), str(status)
