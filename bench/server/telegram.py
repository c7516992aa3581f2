"""An instant Bot API: long polls with offsets, sends that are noted with their time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qs

import orjson

from bench.server.http import Request

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
        self._held: Request | None = None
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

    def poll(self, request: Request) -> None:
        """One getUpdates."""
        self.polled += 1
        offset, limit, timeout = _poll_words(request.body)
        while self.waiting and self.waiting[0][0] < offset:
            self.waiting.popleft()
        if self.waiting or timeout <= 0:
            self._answer(request, limit)
            return
        if self._held is not None:
            self._held.json(b'{"ok":true,"result":[]}')
        if self._timer is not None:
            self._timer.cancel()
        self._held = request
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout, self._expired, request)

    def _expired(self, request: Request) -> None:
        if self._held is request:
            self._held = None
            request.json(b'{"ok":true,"result":[]}')

    def _answer(self, request: Request, limit: int) -> None:
        batch = [raw for _, raw in list(self.waiting)[:limit]] if self.waiting else []
        request.json(b'{"ok":true,"result":[' + b",".join(batch) + b"]}")


class Telegram:
    """All bots; `seen` is called with each message that a bot sends."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.bots: dict[int, Bot] = {}
        self._sent = 0

    def bot(self, number: int) -> Bot:
        """A bot, made when it is first named."""
        return self.bots.setdefault(number, Bot(number))

    def handle(self, request: Request) -> None:
        """`/bot<token>/<method>`."""
        now = time.perf_counter()
        head, _, method = request.path.partition("?")[0][4:].rpartition("/")
        bot = self.bot(int(head.partition(":")[0]))
        name = method.lower()
        bot.calls[name] = bot.calls.get(name, 0) + 1
        if name == "getupdates":
            bot.poll(request)
        elif name in ("sendmessage", "editmessagetext"):
            self._send(request, bot, now, final=name == "sendmessage")
        elif name == "getme":
            request.json(_me(bot.number))
        else:
            request.json(TRUE)

    def _send(self, request: Request, bot: Bot, now: float, *, final: bool) -> None:
        found = CHAT.search(request.body)
        chat = int(found.group(1)) if found else 0
        self._sent += 1
        request.json(SENT % (self._sent, chat, bot.number, bot.number))
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
