"""docs/first-bot.md, followed to the letter in a terminal and a browser: one's own bot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.host import fork_server
from bot.sandbox.launch import _application
from bot.sandbox.page.fault_injection import FaultInjector
from bot.sandbox.page.feed import PageFeed
from bot.sandbox.startup import listening
from simulators.messages.script import Scripted
from simulators.messages.sim import MessagesSim
from simulators.messages.turns import Text, Turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.world import World
from simulators.testing.processes import ForkedProcess
from simulators.testing.stage import until
from tests.browser.chat import IMAGES, SAVED, plug, said, say, shot
from tests.browser.chromium import Browser, Tab
from tests.host.stage import command as forked

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-bot.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
"""What the page has one type, or see: copy, two settings, check, start, the code, an agent."""
TOKEN, KEY = "7123456:AAE-the-token-that-botfather-gave", "sk-ant-the-key-of-the-console"
ANN, BEN = 5_000_001, 5_000_002
BOUND = 60.0
CLAIM = "    /claim "


class NoHost:
    """The page's switch of a host that is not its own."""

    def show(self) -> dict[str, Any]:
        return {"state": "up", "pid": None, "starts": 1, "since": 0.0, "words": ""}

    def kill(self) -> bool:
        return False

    def log(self) -> str:
        return ""


class Clone:
    """A clone of the repository, and a terminal in it; `url` is where both services answer."""

    def __init__(self, folder: Path, url: str, world: World, sim: MessagesSim) -> None:
        self.folder = folder
        self.url = url
        self.world = world
        self.sim = sim
        self.model = url
        self.seen = ""
        self._process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._reading: asyncio.Task[None] | None = None
        self.bot = world.bot(TOKEN, "Jack", "jack_library_bot")
        people = world.person("Ann", id=ANN), world.person("Ben", id=BEN)
        for person in people:
            world.private(person, self.bot, started=False)

    def room(self, person: int = ANN) -> str:
        return f"{self.bot.id}/{person}"

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        addresses = {"TELEGRAM_API_URL": self.url}
        if self.model:
            addresses["ANTHROPIC_BASE_URL"] = self.model
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "HTTP_PORT": "0"}
        return {**own, **addresses, **more}

    async def type(self, command: str, **more: str) -> str:
        """What a command prints, and its exit code where it is not 0."""
        process = await asyncio.create_subprocess_shell(
            command,
            cwd=self.folder,
            env=self.environ(more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), BOUND)
        code = f"\nexit code {process.returncode}\n" if process.returncode else ""
        return out.decode() + code

    async def start(self, command: str, printed: str, **more: str) -> None:
        """Type a command that stays, and wait until it has printed this."""
        self._process = process = await asyncio.create_subprocess_shell(
            f"exec {command}",
            cwd=self.folder,
            env=self.environ(more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.seen = ""
        assert process.stdout is not None
        async with asyncio.timeout(BOUND):
            while printed not in self.seen:
                line = await process.stdout.readline()
                assert line, f"it ended: {self.seen}"
                self.seen += line.decode()
        self._reading = asyncio.create_task(self._read(process.stdout))

    async def check(self, command: str) -> str:
        """What a check prints; it is forked from a process that has loaded all."""
        words = command.split("switchboard ")[1].split()
        return (await forked(self.folder, self.environ({}), *words))[1]

    async def run(self) -> None:
        """`make run` once more, but forked from a process that has loaded all."""
        log = self.folder / "run.log"
        log.touch()
        self._process = await fork_server().fork(self.folder, log, self.environ({}), "run")
        await until(lambda: CLAIM in log.read_text("utf-8"), BOUND)
        self.seen = log.read_text("utf-8")

    async def _read(self, out: asyncio.StreamReader) -> None:
        while line := await out.readline():
            self.seen += line.decode()

    async def stop(self) -> None:
        """Ctrl-C."""
        if self._process is None or self._process.returncode is not None:
            return
        os.killpg(self._process.pid, signal.SIGINT)
        await asyncio.wait_for(self._process.wait(), BOUND)
        if self._reading is not None:
            await self._reading

    def settings(self, **values: str) -> None:
        """Fill in the lines of .env, as the page says: the # goes, the value comes."""
        text = (self.folder / ".env").read_text("utf-8")
        for name, value in values.items():
            text, count = re.subn(rf"(?m)^#{name}=.*$", f"{name}={value}", text)
            assert count == 1, name
        (self.folder / ".env").write_text(text, "utf-8")


@pytest_asyncio.fixture(loop_scope="module")
async def clone(tmp_path: Path) -> AsyncIterator[Clone]:
    """As after `git clone` and `make setup`, with simulators behind both addresses."""
    for name in ("Makefile", ".env.example", "agents.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = Path(sys.executable).with_name("switchboard")
    (tmp_path / ".venv" / "bin" / "switchboard").symlink_to(program)
    world, sim = World(), MessagesSim()
    faults = FaultInjector(world, sim)
    about = {"model": "script", "admins": [], "agents": ""}
    app = _application(world, sim, faults, PageFeed(world, sim, faults, about), NoHost())  # type: ignore[arg-type]
    async with listening(app, 0) as url:
        one = Clone(tmp_path, url, world, sim)
        try:
            yield one
        finally:
            await one.stop()
            sim.close()
            world.close()


@contextlib.asynccontextmanager
async def chats(browser: Browser, clone: Clone) -> AsyncIterator[Tab]:
    """The chats in a browser."""
    async with browser.tab() as tab:
        await tab.look(900, 760, dark=False)
        await tab.go(clone.url)
        await tab.until("document.querySelector('.line')")
        yield tab
        assert tab.complaints == []


def steps() -> dict[str, str]:
    """What the page has one type, by what it is for."""
    copy, settings, check, run, _, agent = (block.strip() for block in BLOCKS)
    assert [line.split("=")[0] for line in settings.splitlines()] == [
        "BOTS__0__TOKEN",
        "ANTHROPIC_API_KEY",
    ]
    assert run == "make run"
    check = check.removeprefix("make setup\n")  # done: see `clone`
    add, bind = agent.splitlines()
    return {"copy": copy, "check": check, "add": add, "bind": bind}


def introduction(request: ModelRequest) -> Turn:
    """What a model says of itself, by its system prompt."""
    who = re.findall(r"^You are ([^.]+)\.", request.system_text, re.MULTILINE)[0]
    return Turn((Text(f"I am {who}. How can I help you?"),))


async def claimed(clone: Clone, *, by_command: bool = False) -> str:
    """The host starts, as `make run` does after the set-up; the code that it prints."""
    if by_command:
        program = f"make -s -o setup run BIN={Path(sys.executable).parent}"
        await clone.start(program, CLAIM)
    else:
        await clone.run()
    printed = clone.seen.split("This host has no admin yet.", 1)[1]
    (told,) = (block for block in BLOCKS if "This host has no admin yet." in block)
    assert " ".join(printed.split("/claim")[0].split()) in " ".join(told.split())
    return str(re.findall(r"/claim ([A-Z0-9-]+)", printed, re.IGNORECASE)[0])


async def test_whoever_follows_the_page_has_their_own_bot_within_minutes(
    browser: Browser, clone: Clone
) -> None:
    typed, began = steps(), asyncio.get_running_loop().time()
    clone.sim.script = script = Scripted()
    script.on(introduction, again=True)
    assert await clone.type(typed["copy"]) == ""
    clone.settings(BOTS__0__TOKEN=TOKEN, ANTHROPIC_API_KEY=KEY)
    checked = await clone.type(typed["check"])
    assert "no errors" in checked, checked
    assert "exit code" not in checked
    assert "@jack_library_bot" in checked
    code = await claimed(clone, by_command=True)
    async with chats(browser, clone) as tab:
        await plug(tab, clone.room())
        await say(tab, "/start")
        await tab.until(said("This bot is private"))
        await say(tab, f"/claim {code}")
        await tab.until(said("You are an admin of this host now"))
        assert not await tab.run(said("May this person use")), "they were asked about themselves"
        await say(tab, "who are you?")
        await tab.until(said("I am Jack."))
        await shot(tab, IMAGES / "first-bot.png" if SAVED else clone.folder / "shot.png")
        await say(tab, typed["add"])
        await tab.until(said("Created agent Guide"))
        await say(tab, typed["bind"])
        await tab.until(said("guide now answers for this whole bot"))
        await say(tab, "who are you now?")
        await tab.until(said("I am a patient city guide."))
    assert asyncio.get_running_loop().time() - began < 300


async def test_a_stranger_is_told_that_the_bot_is_private_and_the_admin_lets_them_in(
    browser: Browser, clone: Clone
) -> None:
    await clone.type(steps()["copy"])
    clone.settings(BOTS__0__TOKEN=TOKEN, ANTHROPIC_API_KEY=KEY)
    code = await claimed(clone)
    async with chats(browser, clone) as tab:
        await plug(tab, clone.room())
        await say(tab, f"/claim {code}")
        await tab.until(said("You are an admin"))
        await tab.run("document.querySelectorAll('#people input')[1].click()")
        await plug(tab, clone.room(BEN))
        await say(tab, "good morning")
        await tab.until(said("This bot is private"))
        await shot(tab, clone.folder / "stranger.png")
        await tab.run("document.querySelectorAll('#people input')[0].click()")
        await plug(tab, clone.room())
        await tab.until("document.querySelector('.buttons .key')?.textContent === 'Allow'")
        await tab.click(".buttons .key")
        await tab.run("document.querySelectorAll('#people input')[1].click()")
        await plug(tab, clone.room(BEN))
        await tab.until(said("You have been let in"))
        await say(tab, "good morning again")
        await tab.until(said("Hello!"))


@pytest.mark.parametrize(
    ("key", "base", "words"),
    [("", "", "ANTHROPIC_API_KEY"), ("sk-ant-wrong", "sim", "ANTHROPIC_API_KEY")],
    ids=["no key", "a wrong key"],
)
async def test_without_a_key_that_works_check_health_the_admin_and_people_are_told(
    browser: Browser, clone: Clone, key: str, base: str, words: str
) -> None:
    clone.sim.keys = [KEY]
    await clone.type(steps()["copy"])
    clone.settings(BOTS__0__TOKEN=TOKEN, **({"ANTHROPIC_API_KEY": key} if key else {}))
    clone.model = clone.url if base else ""
    checked = await clone.check(steps()["check"])
    assert words in checked
    code = await claimed(clone)
    async with chats(browser, clone) as tab:
        await plug(tab, clone.room())
        await say(tab, f"/claim {code}")
        await tab.until(said("You are an admin"))
        await say(tab, "hello")
        await tab.until(said("I can't answer at the moment"))
        await tab.until(said(words))
        await say(tab, "/status")
        await tab.until(said("degraded"))
        await shot(tab, clone.folder / "no-key.png")
