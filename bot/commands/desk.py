"""What admin commands work with: the catalog, and what the host tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.commands.table import BotCommand, Context
from registry.binding import BotIdentity
from registry.catalog import Actor, Catalog
from registry.definition import LlmConfiguration


@dataclass(frozen=True, slots=True)
class BotState:
    """A hosted bot as /bots shows it; `state` is a word, `backlog` counts what waits or runs."""

    identity: BotIdentity
    state: str
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """The host's parts that admin commands read and change.

    `advice` says in sentences which settings a model will not take; `report` is what health shows.
    """

    catalog: Catalog
    defaults: LlmConfiguration
    advice: Callable[[LlmConfiguration], list[str]]
    bots: Callable[[], Sequence[BotState]]
    report: Callable[[], Mapping[str, Any]]

    async def refused(self, row: BotCommand, context: Context) -> None:
        """An audit entry for a command that its sender may not use.

        One an hour for each person, command and chat: nobody can push the rest out of the audit.
        """
        incoming = context.incoming
        chat = f"in chat {incoming.address.chat} of bot {context.bot.id}"
        hour = incoming.sent_at // 3600
        key = f"{context.bot.id}:{incoming.address.chat}:{incoming.person.id}:/{row.name}:{hour}"
        await self.catalog.refused(actor(context), f"/{row.name}", chat, key=key)


def actor(context: Context) -> Actor:
    """Who asks, by numeric id alone."""
    return Actor(str(context.incoming.person.id), context.admin)
