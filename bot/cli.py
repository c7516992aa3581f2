"""The command line: `switchboard run | sandbox | token-hash`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bot.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from bot.settings import Settings

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; 0 when it ended well, 1 with one line on stderr when it could not."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.verb(given))
    except ConfigError as error:
        print(f"switchboard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="switchboard", description="Many Telegram bots, each answered by its own agent."
    )
    verbs = parser.add_subparsers(required=True, metavar="run | sandbox | token-hash")
    verbs.add_parser("run", help="host the bots of the environment").set_defaults(verb=_run)
    sandbox = verbs.add_parser("sandbox", help="try it in a browser: no account, no key, no net")
    sandbox.add_argument("--port", type=int, default=8300, help="of the page (default 8300)")
    sandbox.set_defaults(verb=_sandbox)
    hashing = verbs.add_parser("token-hash", help="the bindingKey of a bot, from its token")
    hashing.add_argument("token", nargs="?", help="read from standard input when left out")
    hashing.set_defaults(verb=_token_hash)
    return parser


def _run(_given: argparse.Namespace) -> int:
    settings = _settings()
    from bot.ops.logs import configure

    configure(settings.log_level, settings.log_format, settings.secrets())
    from bot.app import serve

    async def until_signalled() -> None:
        await serve(settings, _stop_on_signals())

    _loop_run(until_signalled())
    return 0


def _sandbox(given: argparse.Namespace) -> int:
    from bot.sandbox.launch import launch

    return _loop_run(launch(given.port))


def _token_hash(given: argparse.Namespace) -> int:
    from registry.binding import token_hash

    token = given.token or sys.stdin.readline()
    print(token_hash(token.strip()))
    return 0


def _settings() -> Settings:
    from pydantic import ValidationError

    from bot.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(_words(error)) from None


def _words(error: ValidationError) -> str:
    """Each wrong setting by its variable's name, without its value."""
    lines = []
    for one in error.errors():
        name = "__".join(str(part).upper() for part in one["loc"])
        lines.append(f"{name} {one['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _loop_run(work: Coroutine[Any, Any, T]) -> T:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)
