"""What admin commands work with: the catalog, and what the host tells of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Function,
    Reply,
    escape_markdown,
    problem_lines,
)
from registry.binding import BotIdentity
from registry.catalog import Actor, Catalog
from registry.definition import LlmConfiguration
from registry.errors import DocumentErrors, KeyReused, RegistryError, RegistryUnavailable


@dataclass(frozen=True, slots=True)
class BotState:
    """A hosted bot as /bots shows it; `state` is a word, `backlog` counts what waits or runs."""

    identity: BotIdentity
    state: str
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class AdminContext:
    """The host's parts that admin commands read and change.

    `advice` says in sentences which settings a model will not take; `report` is what health shows.
    """

    catalog: Catalog
    defaults: LlmConfiguration
    advice: Callable[[LlmConfiguration], list[str]]
    bots: Callable[[], Sequence[BotState]]
    report: Callable[[], Mapping[str, Any]]

    async def refused(self, row: BotCommand, context: CommandContext) -> None:
        """An audit entry for a command that its sender may not use.

        One an hour for each person, command and chat: nobody can push the rest out of the audit.
        """
        incoming = context.incoming
        chat = f"in chat {incoming.address.chat} of bot {context.bot.id}"
        hour = incoming.sent_at // 3600
        key = f"{context.bot.id}:{incoming.address.chat}:{incoming.person.id}:/{row.name}:{hour}"
        await self.catalog.refused(actor(context), f"/{row.name}", chat, key=key)


def actor(context: CommandContext) -> Actor:
    """Who asks, by numeric id alone."""
    return Actor(str(context.incoming.person.id), context.admin)


log = structlog.get_logger("commands")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


def retrying(function: Function) -> Function:
    """The same command, until the store answers; a refusal of the registry becomes its answer."""

    async def answered(context: CommandContext) -> CommandResult:
        try:
            return await retry_while_down(function, context)
        except DocumentErrors as errors:
            return Reply(f"Nothing was changed.\n{problem_lines(errors.problems)}")
        except KeyReused:
            return Reply("This was done already.")
        except RegistryError as error:
            return Reply(f"Nothing was changed: {escape_markdown(str(error))}.")

    return answered


async def retry_while_down(function: Function, context: CommandContext) -> CommandResult:
    """A change whose answer was lost is asked for again: under its key it is made once."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await function(context)
        except RegistryUnavailable as error:
            log.warning("command.waits", error=str(error), again_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
