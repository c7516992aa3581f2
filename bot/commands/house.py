"""The host, from a chat: /bots, /status, /reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.commands.desk import BotState, Desk
from bot.commands.guarded import guarded
from bot.commands.table import BotCommand, Context, Intent, Say
from bot.commands.words import code, counted, first, listed, plain, problem_lines
from registry.errors import RegistryError
from registry.snapshot import Snapshot

MOST_BOTS = 60
MOST_CHANGES = 5


class HouseCommands:
    """The rows that tell of the host."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def rows(self) -> Iterator[BotCommand]:
        """The rows of the table."""
        yield BotCommand("bots", "show the bots and how they are", self.bots, "admin", True)
        yield BotCommand("status", "show how the host is", self.status, "admin", True)
        yield BotCommand(
            "reload", "read agents and bindings again now", guarded(self.reload), "admin"
        )

    async def bots(self, _context: Context) -> Intent:
        """Each bot of this replica with its state and its agent."""
        snapshot = self._desk.catalog.snapshot()
        shown, more = first(self._desk.bots(), MOST_BOTS)
        return Say("\n".join(_bot(bot, snapshot) for bot in shown) + more or "There are no bots.")

    async def status(self, _context: Context) -> Intent:
        """The state of the host, what is wrong, and the newest changes."""
        report, snapshot = self._desk.report(), self._desk.catalog.snapshot()
        counts = (
            f"{counted(len(report['bots']), 'bot')} · {counted(len(snapshot.agents), 'agent')} · "
            f"{counted(len(snapshot.bindings), 'binding')}"
        )
        servers = [_server(one) for one in report["servers"] if one["state"] != "up"]
        wrong = [f"✗ {plain(problem)}" for problem in report["problems"]]
        shown, more = first(wrong, 10)
        head = f"The host is **{plain(report['status'])}**: {counts}"
        return Say(listed(head, "\n".join(servers), "\n".join(shown) + more, await self._changes()))

    async def reload(self, _context: Context) -> Intent:
        """Everything read again from file and store."""
        snapshot = await self._desk.catalog.reload()
        agents, bindings = len(snapshot.agents), len(snapshot.bindings)
        counts = f"{counted(agents, 'agent')}, {counted(bindings, 'binding')}"
        return Say(listed(f"Read again: {counts}.", problem_lines(snapshot.problems)))

    async def _changes(self) -> str:
        try:
            entries = await self._desk.catalog.audit(MOST_CHANGES)
        except RegistryError as error:
            return f"The audit cannot be read: {plain(str(error))}."
        return "\n".join(["Last changes:", *map(_change, entries)]) if entries else ""


def _bot(bot: BotState, snapshot: Snapshot) -> str:
    name = f"@{plain(bot.identity.username)}" if bot.identity.username else "(no name yet)"
    found = snapshot.resolve(bot.identity, None, None)
    who = f"{code(found.agent_id)} by {found.rule}" if found.agent_id else "nobody answers"
    waits = f" · {bot.backlog} not done yet" if bot.backlog else ""
    return f"• {name} {code(str(bot.identity.id))} {bot.state} · {who}{waits}"


def _server(server: Mapping[str, object]) -> str:
    names = server["names"]
    shown = ", ".join(map(str, names)) if isinstance(names, list) else str(names)
    why = f": {plain(str(server['why']))}" if server.get("why") else ""
    return f"⚠ server {code(shown)} is {plain(str(server['state']))}{why}"


def _change(entry: Mapping[str, str]) -> str:
    detail = f" {entry['detail']}" if entry.get("detail") else ""
    return f"• {code(entry['actor'])}: {plain(entry['action'])} {code(entry['target'] + detail)}"
