"""A host with a line that is no bot of Telegram: updates come in by stdin, parts go out by stdout.

Call `main` with the store's URL, the URL of the Messages API, an agents file, and a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import orjson
import structlog

from bot.access.command import PeopleContext, own_id, people
from bot.access.gate import AccessGate
from bot.access.rules import Access, Rule
from bot.access.store import AccessStore
from bot.admins import AdminAlerts, PersonLines
from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
from bot.approvals.approvers import Approvers
from bot.approvals.cards import QuestionCards
from bot.approvals.service import ApprovalService, TurnServices
from bot.command import Commands
from bot.conversations.router import Router
from bot.conversations.turns import LineStores, Turns
from bot.hosting.fleet import Fleet, Notifications
from bot.hosting.leases import HostIdentity, Leases
from bot.hosting.line import HostedLine, HostingOptions, LineServices
from bot.hosting.outbox_channel import ChannelServices, OutboxChannel, SendResult
from bot.hosting.transport import Accept, Ownership
from bot.mcp.pool import Pool
from bot.menus.service import ChatMenus
from bot.messages import (
    Address,
    Buttons,
    CallbackPress,
    Decoded,
    IncomingMessage,
    LineContext,
    OutboxItem,
    OutgoingPart,
    PersonId,
    TurnSummary,
    User,
)
from bot.model.client import MessagesModel
from bot.ops.logging import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import SystemClock
from bot.skills.runner import SkillRunner
from bot.store import keys
from bot.store.cards import QuestionCardStore
from bot.store.client import StoreClient, connect
from bot.store.events import EventLog
from bot.store.inbox import Update
from bot.store.menus import MenuStore
from bot.tools.cache import ToolResultCache
from bot.tools.read_more import TruncatedResults
from bot.tools.toolset import ToolsetFactory
from bot.turn.runner import TurnRunner
from bot.turn.transcript import Transcripts
from bot.usage.ledger import BudgetService, Ledger
from bot.usage.pricing import Prices
from registry.authorization import WriterPermissions
from registry.binding import BotIdentity, token_hash
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.roles import OPERATOR_ACTOR
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

BOT = 1
KEY = token_hash("memory")
LEASE_SECONDS = 2.0
TELEGRAM_OR_ITS_CLIENT = ("bot.telegram", "aiohttp")


def tell(**what: Any) -> None:
    """Say something to whoever runs this process."""
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


class MemoryChannel(OutboxChannel):
    """Texts as they are; a message is sent once it is told."""

    sent = 0

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
        summary: TurnSummary | None = None,
    ) -> list[OutgoingPart]:
        return [OutgoingPart(address.chat, "message", {"text": markdown})] if markdown else []

    def callback_answer(self, press: CallbackPress, text: str) -> OutgoingPart:
        return OutgoingPart(press.address.chat, "callback_answer", {"text": text})

    async def send(self, item: OutboxItem) -> SendResult:
        self.sent += 1
        tell(sent=item.part.payload["text"], chat=item.part.chat)
        return SendResult(item.part.chat, self.sent)

    def held_up(self, chat: int) -> float:
        return 0.0

    def frozen(self) -> list[float]:
        return []

    async def is_chat_admin(self, address: Address, person: PersonId) -> bool:
        return person == address.chat

    async def has_left(self, address: Address, person: PersonId) -> bool:
        return False

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        return None

    async def show_seen(self, address: Address, message: int) -> None:
        """Nothing."""

    async def typing(self, address: Address) -> None:
        """Nothing shows it."""

    async def fetch(self, file: str, most: int) -> bytes:
        return b""


class MemoryTransport:
    """Implements `Transport`: each line of stdin is an update, in JSON."""

    line = "memory:1"
    identity = BotIdentity(KEY, BOT)
    has_groups = True

    def __init__(self, services: ChannelServices, incoming: asyncio.StreamReader) -> None:
        self.state = "starting"
        self.last_success: float | None = None
        self.ended = asyncio.Event()
        self._services = services
        self._incoming = incoming

    async def identify(self) -> None:
        """Nobody needs to be asked."""

    def decode(self, raw: bytes) -> Decoded:
        body = orjson.loads(raw)
        address = Address(BOT, body["chat"])
        return IncomingMessage(address, User(body["chat"], "Ann"), body["id"], 1, body["text"])

    def open_channel(self, owned: Ownership) -> MemoryChannel:
        return MemoryChannel(owned, self._services)

    async def receive(self, accept: Accept) -> None:
        self.state = "receiving"
        self.last_success = self._services.clock.monotonic()
        tell(serving=self.line)
        async for raw in self._incoming:
            await accept([Update(orjson.loads(raw)["id"], raw)])
            tell(accepted=orjson.loads(raw)["id"])
        self.ended.set()
        await asyncio.Event().wait()

    async def show_menu(self, person: int | None = None) -> None:
        """It has none."""


async def ignore_private_message(_person: User, _line: LineContext) -> None:
    """No admin is to be told anything."""


async def stdin() -> asyncio.StreamReader:
    """What is written to this process, line by line."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def serve(store: str, messages: str, agents: str, name: str) -> None:
    """Serve the line until stdin ends."""
    clock, counters = SystemClock(), Counters()
    async with contextlib.AsyncExitStack() as stack:
        client = StoreClient(connect(store), clock)
        stack.push_async_callback(client.close)
        leases = Leases(client, HostIdentity.new(name, name), clock, LEASE_SECONDS)
        beating = asyncio.create_task(leases.beat_forever())
        stack.callback(beating.cancel)
        permissions = WriterPermissions(operator=False)
        store_of_agents = RedisStore(client.redis, permissions)
        catalog = Catalog(FileSource(Path(agents)), store_of_agents, writer=permissions)
        await catalog.open()
        stack.push_async_callback(catalog.close)
        pool = Pool(clock)
        stack.push_async_callback(pool.close)
        model = MessagesModel(api_key="sk-ant-a-test", base_url=messages, clock=clock)
        stack.push_async_callback(model.close)
        access = Access(rules={BOT: Rule("open")})
        grants = AccessStore(client, access, catalog)
        fleet = Fleet(leases, Notifications(client, clock), clock, sweep_seconds=0.2)
        stores = LineStores(client)
        alerts = AdminAlerts(
            stores.outbox,
            PersonLines(client, keys.ADMINS_KNOWN),
            lambda: access.admins,
            clock,
            fleet.active_lines,
            fleet.send_pending,
        )
        rules = HostRules(LlmConfiguration(model="claude-haiku-5-5", max_tokens=1000))
        resolver = AgentResolver(catalog, rules, SecretReferences({}, (), Secrets()))
        transcripts, approvers = Transcripts(), Approvers(access)
        skills = SkillRunner()
        stack.push_async_callback(skills.close)
        turn_services = TurnServices(
            stores.journal,
            stores.approvals,
            approvers,
            resolver,
            clock,
            counters,
            EventLog(client),
        )
        runner = TurnRunner(
            turn_services,
            transcripts,
            model,
            ToolsetFactory(
                pool, skills, ToolResultCache(clock, counters), TruncatedResults(client)
            ),
            BudgetService(Ledger(client), Prices({}, listed=False).price, alerts.send),
        )
        approvals = ApprovalService(turn_services, stores.inbox, transcripts.forget)
        turns = Turns(resolver, runner, approvals, stores, transcripts, access, clock)
        gate = AccessGate(access, grants, alerts, stores.inbox, stores.outbox, clock, counters)
        rows = [
            own_id,
            people.using(PeopleContext(access, grants.open_requests, nobody_is_noted)),
        ]
        commands = Commands(rows, lambda _: OPERATOR_ACTOR, nobody_is_refused)
        router = Router(
            gate,
            commands,
            turns,
            counters,
            ignore_private_message,
            QuestionCards(
                turn_services,
                QuestionCardStore(client),
                alerts,
                stores.inbox,
                no_cards,
                no_cards,
            ),
            ChatMenus(commands, MenuStore(client), stores.inbox, clock, counters),
        )
        transport = MemoryTransport(
            ChannelServices(stores.outbox, clock, counters, Secrets(), alerts.send), await stdin()
        )
        options = HostingOptions(drain_seconds=5)
        services = LineServices(leases, stores, router, turns, clock, counters, options)
        fleet.add(HostedLine(transport, services))
        running = asyncio.create_task(fleet.run())
        await transport.ended.wait()
        fleet.shutdown()
        await running
    tell(loaded=[name for name in TELEGRAM_OR_ITS_CLIENT if sys.modules.get(name)])


def no_cards(*_: object, **__: object) -> Any:
    """Nothing of this host comes over HTTP."""
    raise AssertionError


async def nobody_is_refused(*_: object) -> str:
    """The commands of this host are for everybody."""
    return ""


def main(*arguments: str) -> None:
    """Serve; the log goes to stderr."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(serve(*arguments))


async def nobody_is_noted(*_: object) -> None:
    """Nobody is refused here, so nothing is noted."""
