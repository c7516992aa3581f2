"""An instant Bot API: long polls with offsets, sends that are noted with their time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qs

import orjson

from bench.server.http import Exchange

BATCH = 100
CHAT = re.compile(rb'chat_id"?[=:\s]*(-?\d+)')
TRUE = b'{"ok":true,"result":true}'
SENT = (
    b'{"ok":true,"result":{"message_id":%d,"date":1790000000,"text":"sent",'
    b'"chat":{"id":%d,"type":"private","first_name":"Ann"},'
    b'"from":{"id":%d,"is_bot":true,"first_name":"Bench","username":"bench_%d_bot"}}}'
)

Seen = Callable[["Bot", int, float], None]


class Bot:
    """One token: what waits for it, and the poll that it holds open."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.next_update = 1
        self.polled = 0
        self.calls: dict[str, int] = {}
        self._held: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None

    def push(self, chat: int, text: str) -> None:
        """A person's message; it goes out with the next `flush`."""
        number = self.next_update
        self.next_update += 1
        person = {"id": chat, "is_bot": False, "first_name": "Ann", "language_code": "en"}
        message = {
            "message_id": number,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "private", "first_name": "Ann"},
            "from": person,
            "text": text,
        }
        self.waiting.append((number, orjson.dumps({"update_id": number, "message": message})))

    def flush(self) -> None:
        """Answer the open poll, if there is one and something waits."""
        if self._held is not None and self.waiting:
            held, self._held = self._held, None
            if self._timer is not None:
                self._timer.cancel()
            self._answer(held, BATCH)

    def poll(self, exchange: Exchange) -> None:
        """One getUpdates."""
        self.polled += 1
        offset, limit, timeout = _poll_words(exchange.body)
        while self.waiting and self.waiting[0][0] < offset:
            self.waiting.popleft()
        if self.waiting or timeout <= 0:
            self._answer(exchange, limit)
            return
        if self._held is not None:
            self._held.json(b'{"ok":true,"result":[]}')
        if self._timer is not None:
            self._timer.cancel()
        self._held = exchange
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout, self._expired, exchange)

    def _expired(self, exchange: Exchange) -> None:
        if self._held is exchange:
            self._held = None
            exchange.json(b'{"ok":true,"result":[]}')

    def _answer(self, exchange: Exchange, limit: int) -> None:
        batch = [raw for _, raw in list(self.waiting)[:limit]] if self.waiting else []
        exchange.json(b'{"ok":true,"result":[' + b",".join(batch) + b"]}")


class Telegram:
    """All bots; `seen` is called with each message that a bot sends."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.bots: dict[int, Bot] = {}
        self._sent = 0

    def bot(self, number: int) -> Bot:
        """A bot, made when it is first named."""
        return self.bots.setdefault(number, Bot(number))

    def handle(self, exchange: Exchange) -> None:
        """`/bot<token>/<method>`."""
        now = time.perf_counter()
        head, _, method = exchange.path.partition("?")[0][4:].rpartition("/")
        bot = self.bot(int(head.partition(":")[0]))
        name = method.lower()
        bot.calls[name] = bot.calls.get(name, 0) + 1
        if name == "getupdates":
            bot.poll(exchange)
        elif name in ("sendmessage", "editmessagetext"):
            self._send(exchange, bot, now, final=name == "sendmessage")
        elif name == "getme":
            exchange.json(_me(bot.number))
        else:
            exchange.json(TRUE)

    def _send(self, exchange: Exchange, bot: Bot, now: float, *, final: bool) -> None:
        found = CHAT.search(exchange.body)
        chat = int(found.group(1)) if found else 0
        self._sent += 1
        exchange.json(SENT % (self._sent, chat, bot.number, bot.number))
        if final:
            self._seen(bot, chat, now)


def _me(number: int) -> bytes:
    me = {
        "id": number,
        "is_bot": True,
        "first_name": "Bench",
        "username": f"bench_{number}_bot",
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
    }
    return orjson.dumps({"ok": True, "result": me})


def _poll_words(body: bytes) -> tuple[int, int, float]:
    if body[:1] == b"{":
        words = orjson.loads(body)
    else:
        words = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return (
        int(words.get("offset") or 0),
        int(words.get("limit") or BATCH),
        float(words.get("timeout") or 0),
    )
