"""HTTP conversations in the store: whose they are, what came in, and which need an owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import orjson

from bot.messages import Json
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.events import StoredEvent, read_event
from bot.store.inbox import SEEN_FOR_MS
from bot.store.journal import Record, dump_records

Accepted = Literal["new", "repeated", "foreign", "reused"]
"""`foreign`: the session is another's, or another instance's. `reused`: the turn answers another
message."""
PREFIX = "api:"
TASK = "task:"
"""In front of a task's id: what stands for its session."""
ONCE = "once:"
"""In front of the session of a message that nothing follows."""
SINGLE_KEPT_MS = 48 * 3600 * 1000
"""How long a conversation of a single turn is kept after that."""
WEBHOOK = "webhook"
"""What names, in what is known of a task, the address that hears of its end."""
CONVERSATION = "0"
"""The only conversation of a line of the HTTP API."""


def line_of(account: str, session: str) -> str:
    """The line of a conversation over HTTP."""
    return f"{PREFIX}{account}:{session}"


def is_http(line: str) -> bool:
    """Whether a line is a conversation over HTTP."""
    return line.startswith(PREFIX)


def account_of(line: str) -> str:
    """The account of a conversation over HTTP."""
    return line.removeprefix(PREFIX).partition(":")[0]


def is_task(line: str) -> bool:
    """Whether a line is a task, in which nothing comes after its one turn."""
    return is_http(line) and session_of(line).startswith(TASK)


def is_single(line: str) -> bool:
    """Whether a conversation has a single turn: a task, or a message without a session."""
    return is_http(line) and session_of(line).startswith((TASK, ONCE))


def session_of(line: str) -> str:
    """The session of a conversation over HTTP."""
    return line.split(":", 2)[2]


@dataclass(frozen=True, slots=True)
class StoredSession:
    """Whose a conversation is, and which instance answers in it.

    `about` says more about a task; `at` is when it began, in seconds since the epoch.
    """

    owner: str
    instance: str
    about: Json = field(default_factory=dict)
    at: int = 0


@dataclass(frozen=True, slots=True)
class LineProgress:
    """What is going on in a conversation: the state of its open turn, '' where none is.

    `nonce` names the question that the turn asked last, `waiting` is the length of the inbox.
    `newest` is the last event of a turn.
    """

    state: str
    nonce: str
    waiting: int
    newest: StoredEvent | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to accept: for which turn, a digest of what it says, and its JSON.

    Where it makes the session, the transcript begins with the records of what came `before`.
    """

    turn: str
    digest: str
    raw: bytes
    at: int
    before: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class SessionStore:
    """The conversations of all accounts; `host` is how this host's leases name it."""

    client: StoreClient
    host: str

    async def accept(self, line: str, session: StoredSession, message: NewMessage) -> Accepted:
        """Store a message, and make its session where that is new; raises StoreUnavailable."""
        names = [keys.inbox(line), keys.seen(line), keys.lease(line), keys.LINES_DUE]
        names += [keys.session(line), keys.api_turn(message.turn)]
        names += [keys.WEBHOOKS_DUE, keys.transcript(line, CONVERSATION, session.instance)]
        args = [SEEN_FOR_MS, line, self.host, message.turn, message.raw]
        about = orjson.dumps(session.about) if session.about else b""
        args += [session.owner, session.instance, message.digest, message.at, about]
        args.append(1 if session.about.get(WEBHOOK) else 0)
        args += dump_records(message.before)
        found = await self.client.run("accept_message", names, args)
        return cast(Accepted, found.decode())

    async def signal(self, line: str, name: str, raw: bytes) -> None:
        """Store a stop or an answer, once for its name; raises StoreUnavailable."""
        names = [keys.inbox(line), keys.seen(line), keys.lease(line), keys.LINES_DUE]
        await self.client.run("accept_signal", names, [SEEN_FOR_MS, line, self.host, name, raw])

    async def find(self, line: str) -> StoredSession | None:
        """Whose a conversation is; None where there is none."""
        names = ("owner", "instance", "about", "at")
        owner, instance, about, at = await self.client.command("HMGET", keys.session(line), *names)
        if not owner or not instance:
            return None
        more = orjson.loads(about) if about else {}
        return StoredSession(owner.decode(), instance.decode(), more, int(at or 0))

    async def progress(self, line: str, turn: str) -> LineProgress:
        """What is going on in a conversation now; `turn` is whose newest event to read."""
        open_turn = keys.open_turn(line, CONVERSATION)
        state, nonce = await self.client.command("HMGET", open_turn, "state", "nonce")
        waiting = await self.client.command("XLEN", keys.inbox(line))
        # Read last: a turn that ends between the reads has its last event by then.
        newest = await self.client.command(
            "XREVRANGE", keys.events(line, turn), "+", "-", "COUNT", 1
        )
        event = read_event(*newest[0]) if newest else None
        return LineProgress((state or b"").decode(), (nonce or b"").decode(), waiting, event)

    async def line_of_turn(self, turn: str) -> str | None:
        """The line in which a turn is; None where it is not known, or no longer."""
        found = await self.client.command("GET", keys.api_turn(turn))
        return found.decode().rpartition(" ")[0] if found else None

    async def approvals(self, account: str) -> dict[str, str]:
        """The approval requests in an account's conversations by nonce, each with its line.

        Some may be decided by now: see `forget_approval`.
        """
        found = await self.client.command("HGETALL", keys.api_approvals(account))
        return {nonce.decode(): line.decode() for nonce, line in pairs_of(found)}

    async def note_approval(self, line: str, nonce: str) -> None:
        """Note that a request is open in a conversation."""
        await self.client.read("HSET", keys.api_approvals(account_of(line)), nonce, line)

    async def forget_approval(self, account: str, nonce: str) -> None:
        """Forget a request that is decided."""
        await self.client.command("HDEL", keys.api_approvals(account), nonce)

    async def due(self, now_ms: float, count: int) -> dict[str, float]:
        """Conversations that need an owner, by the time (ms) from which they do, oldest first."""
        words = ("ZRANGEBYSCORE", keys.LINES_DUE, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, count)
        found = await self.client.command(*words)
        return {line.decode(): float(at) for line, at in pairs_of(found)}
