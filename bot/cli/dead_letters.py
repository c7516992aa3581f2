"""`switchboard dead-letters list | replay | drop`: what was set aside, messages and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import orjson

from bot.cli.store import opened_store
from bot.errors import ConfigError, StoreError
from bot.settings import Settings
from bot.store.inbox import DeadLetter, DeadLetters

Verb = Literal["list", "replay", "drop"]


async def dead_letters(
    settings: Settings, verb: Verb, bot: int | None, ids: Sequence[str], *, every: bool
) -> list[str]:
    """Do it and return what was done, in lines; raises ConfigError where it cannot be done."""
    if verb != "list" and not ids and not every:
        raise ConfigError(f"dead-letters {verb}: name them (as `list` shows them), or add --all")
    try:
        async with contextlib.AsyncExitStack() as stack:
            client = await opened_store(settings, stack)
            return await _done(DeadLetters(client), verb, bot, frozenset(ids))
    except StoreError as error:
        raise ConfigError(f"the store does not answer: {error}") from None


async def _done(store: DeadLetters, verb: Verb, bot: int | None, ids: frozenset[str]) -> list[str]:
    lines = await store.lines() if bot is None else [f"bot:{bot}"]
    found = [one for one in await store.of(lines) if not ids or _name(one) in ids]
    missing = ids - {_name(one) for one in found}
    if missing:
        raise ConfigError(f"there is no dead letter {', '.join(sorted(missing))}")
    if verb == "list":
        return [_shown(letter) for letter in found] or ["no dead letters"]
    act = store.replay if verb == "replay" else store.drop
    done = [letter for letter in found if await act(letter)]
    return [f"{_name(one)} {_outcome(verb, one)}" for one in done] or ["no dead letters"]


def _outcome(verb: Verb, letter: DeadLetter) -> str:
    if verb == "drop":
        return "dropped"
    return "back in the outbox" if letter.part else "back in the inbox"


def _name(letter: DeadLetter) -> str:
    return f"{letter.line}/{letter.id}"


def _shown(letter: DeadLetter) -> str:
    """One line: name, time, chat and why. What was written is not shown."""
    at = datetime.fromtimestamp(letter.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    chat = letter.part.chat if letter.part else "?"
    with contextlib.suppress(ValueError, AttributeError):
        body = orjson.loads(letter.raw)
        message = body.get("message") or body.get("callback_query", {}).get("message") or {}
        chat = message.get("chat", {}).get("id", "?")
    return f"{_name(letter)}  {at}  chat {chat}  {letter.why}"
