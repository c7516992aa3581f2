"""What an operator is told of who may talk: by `check`, and at the start."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import structlog

from bot.access.rules import new_code, normalize_code
from bot.access.store import AccessStore
from bot.settings import Settings
from registry.errors import Problem

log = structlog.get_logger("access")


def access_problems(settings: Settings) -> Iterator[Problem]:
    """Bots that are open to everybody, what that may cost, and bots that nobody may talk to."""
    numbers = {bot.id: number for number, bot in settings.numbered().items()}
    rules = settings.rules()
    opened = [bot for bot in settings.bots if rules[bot.id].mode == "open"]
    for bot in opened:
        place = "ACCESS" if bot.access is None else f"BOTS__{numbers.get(bot.id, 0)}__ACCESS"
        told = f"bot {bot.id} is open to everybody"
        yield Problem(place, told, "set it to request, unless that is wanted", "note")
    if opened and not any(one.tokens or one.usd for _, one in settings.budgets):
        told = "a bot is open to everybody, and no budget is set"
        cure = "limit what a day may cost: BUDGETS__PERSON__TOKENS, BUDGETS__HOST__TOKENS"
        yield Problem("BUDGETS", told, cure, "warning")
    for bot in settings.bots:
        rule = rules[bot.id]
        if rule.mode == "listed" and not (rule.people or rule.chats or settings.admins):
            told = f"bot {bot.id} answers nobody until an admin lets somebody in"
            cure = "set PEOPLE, CHATS or ADMINS, or claim the host with the code that it logs"
            yield Problem("ACCESS", told, cure, "note")


async def offer_claim(settings: Settings, grants: AccessStore) -> None:
    """Print a code that makes the first admin, where there is none; no earlier one is valid."""
    if grants.access.admins or not settings.bots:
        await grants.offer_claim("")
        return
    code = new_code()
    await grants.offer_claim(normalize_code(code))
    cure = f"send /claim {code} to one of your bots in a private chat"
    log.warning("no admin", code=code, cure=cure)
    # Also where the log is for machines, or quieter than a warning: somebody sits there now.
    sys.stderr.write(
        "\nThis host has no admin yet. To become its admin, send this to one of your bots\n"
        f"in a private chat (it works once, until the next start):\n\n    /claim {code}\n\n"
    )
    sys.stderr.flush()
