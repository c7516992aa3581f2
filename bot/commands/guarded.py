"""What stands around a command that changes something: patience, and refusals in words."""

from __future__ import annotations

import asyncio

import structlog

from bot.commands.table import Context, Function, Intent, Say
from bot.commands.words import plain, problem_lines
from registry.errors import DocumentErrors, KeyReused, RegistryError, RegistryUnavailable

log = structlog.get_logger("commands")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


def guarded(function: Function) -> Function:
    """The same command, until the store answers; a refusal of the registry becomes its answer."""

    async def answered(context: Context) -> Intent:
        try:
            return await patiently(function, context)
        except DocumentErrors as errors:
            return Say(f"Nothing was changed.\n{problem_lines(errors.problems)}")
        except KeyReused:
            return Say("This was done already.")
        except RegistryError as error:
            return Say(f"Nothing was changed: {plain(str(error))}.")

    return answered


async def patiently(function: Function, context: Context) -> Intent:
    """A change whose answer was lost is asked for again: under its key it is made once."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            return await function(context)
        except RegistryUnavailable as error:
            log.warning("command.waits", error=str(error), again_in=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
