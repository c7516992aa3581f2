"""What admin commands work with, and how they are retried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    escape_markdown,
    problem_lines,
)
from registry.binding import BotIdentity
from registry.catalog import Actor, Catalog
from registry.definition import LlmConfiguration
from registry.errors import DocumentErrors, KeyReused, RegistryError, RegistryUnavailable

log = structlog.get_logger("commands")

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class BotState:
    """A hosted bot as /bots shows it; `backlog` counts its entries that wait or run."""

    identity: BotIdentity
    state: str
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The parts of the host that admin commands read and change.

    `defaults` are the host's model settings. `advice` says in sentences which settings a model
    does not accept; `report` is what health shows.
    """

    catalog: Catalog
    defaults: LlmConfiguration
    advice: Callable[[LlmConfiguration], list[str]]
    bots: Callable[[], Sequence[BotState]]
    report: Callable[[], Mapping[str, Any]]

    async def audit_refusal(self, row: BotCommand, context: CommandContext) -> None:
        """Write an audit entry for a command that its sender may not use.

        One an hour for each person, command and chat: nobody can push the rest out of the audit.
        """
        incoming = context.incoming
        chat = f"in chat {incoming.address.chat} of bot {context.bot.id}"
        hour = incoming.sent_at // 3600
        key = f"{context.bot.id}:{incoming.address.chat}:{incoming.person.id}:/{row.name}:{hour}"
        await self.catalog.refused(actor(context), f"/{row.name}", chat, key=key)


def actor(context: CommandContext) -> Actor:
    """The sender as the audit names them: by numeric id alone."""
    return Actor(str(context.incoming.person.id), context.admin)


def retrying(row: BotCommand) -> BotCommand:
    """The same command, retried while the registry is down; its refusals become replies.

    A change whose answer was lost is asked for again: under its key it is made once.
    """

    async def run(context: CommandContext) -> CommandResult:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await row.function(context)
            except RegistryUnavailable as error:
                log.warning("command.waits", error=str(error), again_in=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_S)
            except DocumentErrors as errors:
                return Reply(f"Nothing was changed.\n{problem_lines(errors.problems)}")
            except KeyReused:
                return Reply("This was already done.")
            except RegistryError as error:
                return Reply(f"Nothing was changed: {escape_markdown(str(error))}.")

    return replace(row, function=run)
