"""`switchboard sandbox`: both simulators, the page and a host, without any outside service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from bot.errors import ConfigError
from bot.sandbox import demo
from bot.sandbox.host_process import HostProcess
from bot.sandbox.page.fault_injection import FaultInjector
from bot.sandbox.page.feed import PageFeed
from bot.sandbox.page.guard import Guard
from bot.sandbox.page.routes import page_routes
from bot.sandbox.startup import alone_in, listening, say
from bot.store.embedded import EmbeddedValkey, HostLock
from registry.errors import DocumentErrors
from registry.sources.json_yaml import load_document
from simulators.messages import control as model_control
from simulators.messages import routes as model
from simulators.messages.sim import READING_PACE, MessagesSim
from simulators.telegram import control, routes
from simulators.telegram.journal import NotAJournal
from simulators.telegram.persistence import persist
from simulators.telegram.webhooks import pushing
from simulators.telegram.world import World

Part = Literal["all", "telegram", "messages"]

_DUMMY_KEY = "sandbox-key-that-opens-nothing"
_PACKAGED = Path(__file__).with_name("agents.json")
_OWN_VARIABLES = (
    *("BOTS__", "AGENTS_FILE", "DATA_DIR", "REDIS_URL", "REPLICA_NAME", "LEASE_SECONDS"),
    *("ADMINS", "ACCESS", "PEOPLE", "CHATS"),
    *("TELEGRAM_API_URL", "WEBHOOK_", "HTTP_HOST", "HTTP_PORT", "ANTHROPIC_", "LOG_FORMAT"),
)
_PRICES = {
    "claude-haiku-5-5": {"input": 0.5, "output": 2.5, "cacheRead": 0.05, "cacheWrite": 0.625},
    "claude-sonnet-5-5": {"input": 2, "output": 10, "cacheRead": 0.2, "cacheWrite": 2.5},
}
"""What the script's answers would cost, so that /usage shows money as it does elsewhere."""
_START_SECONDS = 60.0
_STOP_SECONDS = 4.0
_STOP_REAL_SECONDS = 22.0


@dataclass(frozen=True, slots=True)
class Given:
    """The part of the operator's settings that matters here.

    `variables` go to the host, but for those that would lead it out of the sandbox. With a key or
    a base URL of a Messages API the sandbox uses that one, not its own script.
    """

    data_dir: Path = Path("data")
    agents_file: Path | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def real_model(self) -> bool:
        """Whether a real Messages API answers, not the script."""
        return bool(self.api_key or self.base_url)


async def launch(
    port: int, *, part: Part = "all", given: Given | None = None, browser: bool = False
) -> int:
    """Run until SIGINT or SIGTERM; 0 at the end. Raises ConfigError where it cannot start."""
    stop = _stop_on_signals()
    if part != "all":
        await _one_part(port, part, stop)
        return 0
    await _everything(port, given or Given(), stop, browser=browser)
    return 0


async def _one_part(port: int, part: Part, stop: asyncio.Event) -> None:
    world, sim = World(), MessagesSim()
    app: ASGIApp = routes.application(world) if part == "telegram" else model.app(sim)
    async with listening(app, port) as url:
        variable = "TELEGRAM_API_URL" if part == "telegram" else "ANTHROPIC_BASE_URL"
        say(f"The simulator answers at {url}", f"Try {variable}={url}; its control: {url}/control")
        await stop.wait()
        sim.close()


async def _everything(port: int, given: Given, stop: asyncio.Event, *, browser: bool) -> None:
    folder = given.data_dir / "sandbox"
    given = replace(given, agents_file=_agents_file(given.agents_file))
    async with AsyncExitStack() as stack:
        stack.enter_context(alone_in(folder))
        world, sim = World(), MessagesSim(pace=READING_PACE)
        try:
            persist(world, folder / "world.jsonl")
        except NotAJournal as error:
            raise ConfigError(str(error)) from None
        stack.callback(world.close)
        demo.settle(world)
        faults = FaultInjector(world, sim)
        feed = PageFeed(world, sim, faults, _about(given))
        host = HostProcess(folder / "host.log", lambda since: demo.polling(world, since))
        host.changed = lambda: feed.publish_host(host.show())
        app = _application(world, sim, faults, feed, host)
        url = await stack.enter_async_context(listening(app, port))
        stack.callback(sim.close)
        own = _http_variables(given, (urlsplit(url).port or 0) if port else 0)
        environ = _environ(url, folder, given) | own
        async with _running_host(host, environ, faults, given):
            if await _until_up(host, stop):
                say(*_welcome(url, given, own))
                if browser:
                    await _open(url)
                await stop.wait()
            say("Stopping …")
    say("Stopped. Chats are kept: the next start continues with them.")


def _application(
    world: World, sim: MessagesSim, faults: FaultInjector, feed: PageFeed, host: HostProcess
) -> ASGIApp:
    """Everything on one port; the Messages API's own control is at `/model/control`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pushing(world), feed.running():
            yield
        world.events.close()

    every: list[Route | Mount | Any] = [
        *page_routes(world, feed, faults, host),
        *routes.routes(world),
        *control.control_routes(world),
        *model.routes(sim),
        Mount("/model", routes=model_control.control_routes(sim)),
    ]
    return Guard(Starlette(routes=every, lifespan=lifespan))


def _agents_file(named: Path | None) -> Path | None:
    """The agents file that was named, or `agents.json` where that has agents; None: the demo's.

    Raises ConfigError with every mistake in it, and its place.
    """
    path = named or Path("agents.json")
    if not path.exists():
        return named
    try:
        document = load_document(path.read_text(encoding="utf-8"), str(path))
    except DocumentErrors as errors:
        raise ConfigError(str(errors)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return path if named or document.agents else None


def _about(given: Given) -> dict[str, Any]:
    return {
        "model": "real" if given.real_model else "script",
        "admins": [demo.ANN],
        "agents": str(given.agents_file or "the built-in agents"),
    }


def _environ(url: str, folder: Path, given: Given) -> dict[str, str]:
    """The host's environment: what was given, without what would lead it out of the sandbox."""
    own = _OWN_VARIABLES
    passed = {name: v for name, v in given.variables.items() if not name.upper().startswith(own)}
    tokens = {f"BOTS__{n}__TOKEN": role.token for n, role in enumerate(demo.BOTS)}
    here = {
        "TELEGRAM_API_URL": url,
        "AGENTS_FILE": str(given.agents_file or _PACKAGED),
        "DATA_DIR": str(folder),
        "ADMINS": str(demo.ANN),
        "ACCESS": "open",
        "HTTP_PORT": "0",
        "LOG_FORMAT": "console",
        "NO_COLOR": "1",
        "ANTHROPIC_API_KEY": given.api_key or _DUMMY_KEY,
    }
    if given.agents_file is None and not Path("config/agent_configs").exists():
        passed = {"AGENT_CONFIGS_DIR": str(_PACKAGED.with_name("agent_configs"))} | passed
    base = given.base_url if given.real_model else url
    if not given.real_model:
        passed = {"PRICES": json.dumps(_PRICES)} | passed
    if base:
        here["ANTHROPIC_BASE_URL"] = base
    return {**passed, **tokens, **here}


def _http_variables(given: Given, port: int) -> dict[str, str]:
    """A port that stays when the host is killed, and a key for its chat page unless keys are given.

    The key is a new one each time, and opens nothing but this sandbox.
    """
    variables = {"HTTP_PORT": str(_free_port(port and port + 1))}
    if not any(name.upper().startswith("API_KEYS__") for name in given.variables):
        own = {"KEY": secrets.token_urlsafe(32), "USER": "ann", "ROLE": "instance_admin"}
        variables |= {f"API_KEYS__0__{name}": value for name, value in own.items()}
    return variables


def _free_port(wanted: int) -> int:
    """The port that is wanted, or another one where that is taken."""
    for port in (wanted, 0):
        with socket.socket() as sock, contextlib.suppress(OSError, OverflowError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return int(sock.getsockname()[1])
    return 0


@asynccontextmanager
async def _running_host(
    host: HostProcess, environ: Mapping[str, str], faults: FaultInjector, given: Given
) -> AsyncIterator[None]:
    """Run the host, starting it again when it dies, while the context is open."""
    running = asyncio.create_task(host.run(environ), name="host")
    try:
        yield
    finally:
        faults.finish_answers()
        seconds = _STOP_REAL_SECONDS if given.real_model else _STOP_SECONDS
        await host.stop(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await _end_store(Path(environ["DATA_DIR"]))


async def _end_store(folder: Path) -> None:
    """End the store of a host that was killed before it could do so itself."""
    with contextlib.suppress(ConfigError, TimeoutError):  # another host uses the folder
        lock = HostLock(folder)
        try:
            server = EmbeddedValkey(folder, fsync="always")
            if server.has_data:
                await server.stop()
        finally:
            lock.release()


async def _until_up(host: HostProcess, stop: asyncio.Event) -> bool:
    """True once the bots poll, False where it stops before; raises ConfigError with the cause."""
    waits = [asyncio.create_task(event.wait()) for event in (host.up, stop)]
    ends: set[asyncio.Future[Any]] = {*waits, host.refused}
    try:
        await asyncio.wait(ends, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if host.refused.done():
        raise ConfigError(f"the host does not start: {host.refused.result()}")
    if not host.up.is_set() and not stop.is_set():
        raise ConfigError(
            f"the bots do not poll after {_START_SECONDS:.0f} s; see host.log in DATA_DIR/sandbox"
        )
    return not stop.is_set()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _welcome(url: str, given: Given, own: Mapping[str, str]) -> tuple[str, ...]:
    page, key = f"http://127.0.0.1:{own['HTTP_PORT']}", own.get("API_KEYS__0__KEY")
    sign_in = f"sign in with {key}" if key else "sign in with one of your keys"
    model_name = "the model of your key" if given.real_model else "a small script, not a model"
    return (
        "",
        f"  The sandbox is open:  {url}",
        "",
        f"  Five bots wait there; behind them is {model_name}.",
        "  Try:  what time is it in Tokyo?         (to Meridian: a real MCP server answers)",
        "        write buy oranges to shopping.md  (to Quill, which keeps notes)",
        "        delete shopping.md                (to Quill, which asks you first)",
        "        book a table for two              (to Concierge, which asks for the date)",
        "        tell me about oranges             (to Almanac, which looks for a source)",
        "        tell me a long story              (and kill the host in the middle of it)",
        "",
        f"  The agents over HTTP, with a page:  {page}",
        f"        {sign_in}",
        "",
        "  Ctrl-C ends it. Chats are kept for the next time.",
        "",
    )


async def _open(url: str) -> None:
    has_screen = (
        sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if has_screen and sys.stdout.isatty():
        with contextlib.suppress(webbrowser.Error):
            await asyncio.to_thread(webbrowser.open, url)
