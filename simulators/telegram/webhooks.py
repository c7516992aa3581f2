"""Pushes the updates of bots that have a webhook, one after another for each bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import orjson
import structlog

from simulators.telegram.execute import execute
from simulators.telegram.params import Params
from simulators.telegram.people import Bot
from simulators.telegram.refusals import RefusedError
from simulators.telegram.updates import LONGEST_POLL, Update
from simulators.telegram.world import World

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_TIMEOUT = aiohttp.ClientTimeout(total=60)

log = structlog.get_logger("pushing")


class WrongResponse(Exception):
    """The webhook answered, and not with success."""


EXPECTED = (WrongResponse, aiohttp.ClientError, OSError)


@asynccontextmanager
async def pushing(world: World) -> AsyncIterator[None]:
    """Pushes while the context is open."""
    tasks: dict[int, asyncio.Task[None]] = {}

    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:

        def changed(bot: Bot) -> None:
            old = tasks.pop(bot.id, None)
            if old is not None:
                old.cancel()
            if bot.webhook.url:
                tasks[bot.id] = asyncio.create_task(_push_all(world, bot, session))

        for bot in world.members.bots.values():
            changed(bot)
        world.webhooks_changed = changed
        try:
            yield
        finally:
            world.webhooks_changed = lambda _bot: None
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _push_all(world: World, bot: Bot, session: aiohttp.ClientSession) -> None:
    """Push for as long as the webhook is set: only a change of the webhook ends that."""
    pause = _FIRST_PAUSE
    while True:
        try:
            await _push_next(world, bot, session)
        except RefusedError:  # somebody ended all polls of this bot: this one continues
            continue
        except Exception as failed:
            bot.webhook.error = _words(failed)
            bot.webhook.error_at = int(world.now())
            if not isinstance(failed, EXPECTED):
                log.exception("push.failed", bot=bot.id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            pause = _FIRST_PAUSE


def _words(failed: Exception) -> str:
    wrong = isinstance(failed, WrongResponse)
    return str(failed) if wrong else f"Connection failed: {type(failed).__name__}"


async def _push_next(world: World, bot: Bot, session: aiohttp.ClientSession) -> None:
    for update in await bot.updates.poll(0, 1, LONGEST_POLL, slow_hasty=False):
        await _push(world, bot, session, update)
        bot.updates.confirm(update.id + 1)


async def _push(world: World, bot: Bot, session: aiohttp.ClientSession, update: Update) -> None:
    hook = bot.webhook
    headers = {"Content-Type": "application/json"}
    if hook.secret:
        headers["X-Telegram-Bot-Api-Secret-Token"] = hook.secret
    async with session.post(
        hook.url, data=update.raw, headers=headers, ssl=False, allow_redirects=False
    ) as response:
        body = await response.read()
        if not response.ok:
            said = f"{response.status} {response.reason}"
            raise WrongResponse(f"Wrong response from the webhook: {said}")
    await _reply(world, bot, body)


async def _reply(world: World, bot: Bot, body: bytes) -> None:
    """An answer to a push may be a call of its own."""
    with suppress(orjson.JSONDecodeError):
        call = orjson.loads(body) if body else None
        if isinstance(call, dict) and isinstance(call.get("method"), str):
            values = {name: value for name, value in call.items() if name != "method"}
            await execute(world, bot, call["method"], Params(values, {}))
