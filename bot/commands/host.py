"""The host, from a chat: /bots, /status, /reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    code,
    counted,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
)
from bot.commands.admin_context import AdminContext, BotState, retrying
from registry.errors import RegistryError
from registry.snapshot import Snapshot

MOST_BOTS = 60
MOST_CHANGES = 5


class HostCommands:
    """The rows that tell of the host."""

    def __init__(self, desk: AdminContext) -> None:
        self._desk = desk

    def rows(self) -> Iterator[BotCommand]:
        """The rows of the table."""
        yield BotCommand("bots", "show the bots and how they are", self.bots, "admin", True)
        yield BotCommand("status", "show how the host is", self.status, "admin", True)
        yield BotCommand(
            "reload", "read agents and bindings again now", retrying(self.reload), "admin"
        )

    async def bots(self, _context: CommandContext) -> CommandResult:
        """Each bot of this replica with its state and its agent."""
        snapshot = self._desk.catalog.snapshot()
        shown, more = first_items(self._desk.bots(), MOST_BOTS)
        return Reply("\n".join(_bot(bot, snapshot) for bot in shown) + more or "There are no bots.")

    async def status(self, _context: CommandContext) -> CommandResult:
        """The state of the host, what is wrong, and the newest changes."""
        report, snapshot = self._desk.report(), self._desk.catalog.snapshot()
        counts = (
            f"{counted(len(report['bots']), 'bot')} · {counted(len(snapshot.agents), 'agent')} · "
            f"{counted(len(snapshot.bindings), 'binding')}"
        )
        servers = [_server(one) for one in report["servers"] if one["state"] != "up"]
        wrong = [f"✗ {escape_markdown(problem)}" for problem in report["problems"]]
        shown, more = first_items(wrong, 10)
        head = f"The host is **{escape_markdown(report['status'])}**: {counts}"
        return Reply(
            paragraphs(head, "\n".join(servers), "\n".join(shown) + more, await self._changes())
        )

    async def reload(self, _context: CommandContext) -> CommandResult:
        """Everything read again from file and store."""
        snapshot = await self._desk.catalog.reload()
        agents, bindings = len(snapshot.agents), len(snapshot.bindings)
        counts = f"{counted(agents, 'agent')}, {counted(bindings, 'binding')}"
        return Reply(paragraphs(f"Read again: {counts}.", problem_lines(snapshot.problems)))

    async def _changes(self) -> str:
        try:
            entries = await self._desk.catalog.audit(MOST_CHANGES)
        except RegistryError as error:
            return f"The audit cannot be read: {escape_markdown(str(error))}."
        return "\n".join(["Last changes:", *map(_change, entries)]) if entries else ""


def _bot(bot: BotState, snapshot: Snapshot) -> str:
    name = (
        f"@{escape_markdown(bot.identity.username)}" if bot.identity.username else "(no name yet)"
    )
    found = snapshot.resolve(bot.identity, None, None)
    who = f"{code(found.agent_id)} by {found.rule}" if found.agent_id else "nobody answers"
    waits = f" · {bot.backlog} not done yet" if bot.backlog else ""
    return f"• {name} {code(str(bot.identity.id))} {bot.state} · {who}{waits}"


def _server(server: Mapping[str, object]) -> str:
    names = server["names"]
    shown = ", ".join(map(str, names)) if isinstance(names, list) else str(names)
    why = f": {escape_markdown(str(server['why']))}" if server.get("why") else ""
    return f"⚠ server {code(shown)} is {escape_markdown(str(server['state']))}{why}"


def _change(entry: Mapping[str, str]) -> str:
    detail = f" {entry['detail']}" if entry.get("detail") else ""
    action = escape_markdown(entry["action"])
    return f"• {code(entry['actor'])}: {action} {code(entry['target'] + detail)}"
