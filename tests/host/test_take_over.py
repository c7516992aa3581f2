"""A host of today goes on from the data directory that an earlier release left when it was killed.

tests/fixtures/data_of_99a493f/README.md says what happened before.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.cli.dead_letters import dead_letters
from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey
from bot.usage.ledger import ATTRIBUTION, Ledger
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import ROOT, Stage, settings_of, until
from tests.host.tool_agent import DESK, PATIENCE, buttons, write
from tests.state_page import compared_with

RECORDED = ROOT / "tests" / "fixtures" / "data_of_99a493f"
FACTS: dict[str, Any] = json.loads((RECORDED / "facts.json").read_text())
DAY = "2026-11-29"
KILLED_AT_MS = 1_795_995_233_241
NEXT_UPDATE = 778_353_978
UPDATES = 10
REQUESTS = 11
"""Requests to the model that the earlier host has entered in its ledger."""
EXPIRY = re.compile(rb"(PXAT\r\n\$13\r\n|PEXPIREAT\r\n\$\d+\r\n[^\r]+\r\n\$13\r\n)(\d{13})")
"""Where a command of an append-only file says when its key expires (milliseconds)."""


@dataclass(frozen=True)
class Scene:
    """Telegram as it was when the earlier host was killed: its bot, people and chats."""

    stage: Stage
    bot: Bot
    people: dict[str, Person]
    rooms: dict[str, Room]

    def said(self, name: str) -> list[str]:
        """What the bot has written to somebody since."""
        before = sum(by_bot for by_bot, _ in FACTS["texts"][name])
        return self.stage.texts(self.rooms[name], self.bot.id)[before:]

    async def until_said(self, name: str, text: str) -> None:
        await self.stage.world.until(lambda: any(text in t for t in self.said(name)), PATIENCE)

    async def ask(self, name: str, text: str) -> str:
        return await self.stage.ask(
            self.people[name], self.rooms[name], self.bot, text, seconds=PATIENCE
        )

    def asked_model(self, text: str) -> list[str]:
        """The model requests, as JSON, whose newest message from a person has this text."""
        found = (request for request in self.stage.requests() if text in _newest_text(request))
        return [json.dumps(request) for request in found]

    @property
    def notes(self) -> list[str]:
        """What the desk has done, earlier host and all."""
        return (self.stage.folder / "desk.log").read_text().splitlines()


def _newest_text(request: dict[str, Any]) -> str:
    people = [m["content"] for m in request["messages"] if m["role"] == "user"]
    texts = [str(content) for content in people if "tool_result" not in str(content)]
    return texts[-1]


def unpack(folder: Path) -> None:
    """The data directory, as if the earlier host had been killed ten seconds ago.

    Only what expires is moved: half of it would have expired within days after it was recorded.
    """
    with tarfile.open(RECORDED / "data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    (commands,) = (folder / "valkey" / "appendonlydir").glob("*.incr.aof")
    later = int(time.time() * 1000) - 10_000 - KILLED_AT_MS
    moved = EXPIRY.sub(lambda at: at[1] + b"%d" % (int(at[2]) + later), commands.read_bytes())
    commands.write_bytes(moved)


async def scene(stage: Stage) -> Scene:
    """The stage as it was when the earlier host was killed, its data directory included."""
    unpack(stage.folder / "data")
    shutil.copy(DESK, stage.folder / "desk_server.py")
    (stage.folder / "desk.log").write_text("".join(f"{line}\n" for line in FACTS["desk"]))
    bot = stage.world.bot(FACTS["token"], "Clerk", "clerk_bot", first_update=NEXT_UPDATE - UPDATES)
    stage.adopt(bot, "Clerk", mcpServers=["desk"])
    stage.agents["mcpServers"] = FACTS["agents"]["mcpServers"]
    people = {name: stage.world.person(name, id=id) for name, id in FACTS["people"].items()}
    rooms = {name: stage.world.private(person, bot) for name, person in people.items()}
    found = Scene(stage, bot, people, rooms)
    await _repeat_the_past(found)
    stage.environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "ADMINS": str(people["Flo"].id),
        "BUDGETS__PERSON__TOKENS": "1000000",
    }
    return found


async def _repeat_the_past(scene: Scene) -> None:
    """Put into each chat what was in it; the earlier host has fetched all updates of that."""
    (once, deny, always), (again,) = map(_buttons, ("question", "again"))
    keyboards = {
        FACTS["question"]["text"]: {"inline_keyboard": [[once, deny], [always]]},
        FACTS["again"]["text"]: {"inline_keyboard": [[again]]},
    }
    async with scene.stage.client() as call:
        for name, texts in FACTS["texts"].items():
            for by_bot, text in texts:
                if not by_bot:
                    scene.stage.world.say(scene.people[name], scene.rooms[name], text)
                    continue
                chat = scene.people[name].id
                more = {"reply_markup": keyboards[text]} if text in keyboards else {}
                sent = await call("sendMessage", scene.bot, chat_id=chat, text=text, **more)
                assert sent["ok"], sent
    scene.bot.updates.clear()
    assert scene.bot.updates.next_id == NEXT_UPDATE


def _buttons(of: str) -> list[dict[str, str]]:
    """The buttons that the earlier host put under one of its messages."""
    pairs = zip(FACTS[of]["buttons"], FACTS[of]["data"], strict=True)
    return [{"text": text, "callback_data": data} for text, data in pairs]


async def test_nothing_of_an_earlier_release_is_lost(stage: Stage) -> None:
    it = await scene(stage)
    for name in ("cid", "ann", "gil", "hal"):
        stage.script.on(f"An answer for {name}.", user=name)
    stage.script.on("Ben's note is written.", user="ben")
    stage.script.on(write("eve two"), "Eve's second note is written.", user="eve")
    stage.script.on("A poem for Flo.", user="flo", system="You are Poet.")
    host = await stage.process()
    try:
        await until(lambda: "server=desk" in host.log.read_text(), PATIENCE)
        await _what_was_begun_is_done_once(it)
        await _a_waiting_question_is_still_answered(it)
        await _what_was_allowed_permanently_still_is(it)
        await _what_failed_is_tried_again(it)
        await _what_was_set_aside_is_replayed(it)
        assert await it.ask("Ann", "ann: and what is my colour?") == "An answer for ann."
        (request,) = it.asked_model("ann: and")
        assert "my colour is green" in request
        assert "Your colour is green, Ann." in request
        assert "You told me so before." in request
        assert await it.ask("Flo", "flo wants a poem") == "A poem for Flo."
        await _the_books_go_on(stage.folder)
    finally:
        await host.end()
    assert it.notes == ["write eve one", "write ben's note", "write eve two"]
    assert stage.script.unanswered == []
    assert it.said("Cid") == ["An answer for cid."]
    assert len(it.said("Dora")) == 1
    assert not re.search(r"\[(error|critical) *\]", host.log.read_text())


async def _what_was_begun_is_done_once(it: Scene) -> None:
    """Cid's turn is asked of the model again; Dora's answer is sent, but not made again."""
    await it.until_said("Cid", "An answer for cid.")
    await it.until_said("Dora", "Dora's answer.")
    assert len(it.asked_model("cid asks")) == 1
    assert it.asked_model("dora asks") == []


async def _a_waiting_question_is_still_answered(it: Scene) -> None:
    """Ben presses a button of the message that the earlier host sent; his note is written once."""
    (question,) = (m for m in it.rooms["Ben"].messages.values() if buttons(m))
    pressed = it.stage.world.press_button(it.people["Ben"], it.rooms["Ben"], question.id, "Once")
    await it.until_said("Ben", "Ben's note is written.")
    await it.stage.world.until(lambda: pressed.answer is not None, PATIENCE)
    assert (pressed.answer or {})["text"] == "Allowed once."
    await it.stage.world.until(lambda: "allowed once by Ben" in question.text, PATIENCE)
    assert not buttons(question)
    assert it.notes[-1] == "write ben's note"


async def _what_was_allowed_permanently_still_is(it: Scene) -> None:
    """Eve allowed her agent to write notes; she is not asked again."""
    it.stage.world.say(it.people["Eve"], it.rooms["Eve"], "eve wants a note again")
    await it.until_said("Eve", "Eve's second note is written.")
    assert it.said("Eve") == ["I will write it.\n\nEve's second note is written."]
    assert it.notes[-1] == "write eve two"


async def _what_failed_is_tried_again(it: Scene) -> None:
    """Hal presses the button of the apology that the earlier host sent, and gets his answer."""
    (apology,) = (m for m in it.rooms["Hal"].messages.values() if buttons(m))
    it.stage.world.press_button(it.people["Hal"], it.rooms["Hal"], apology.id, "Try again")
    await it.until_said("Hal", "An answer for hal.")
    await it.stage.world.until(lambda: not buttons(apology), PATIENCE)
    assert len(it.asked_model("hal asks")) == 1


async def _what_was_set_aside_is_replayed(it: Scene) -> None:
    """Gil's message is among the dead letters; the operator puts it back, and it is answered."""
    settings = settings_of(it.stage.variables())
    (listed,) = await dead_letters(settings, "list", None, [], every=False)
    assert f"chat {it.people['Gil'].id}" in listed
    await dead_letters(settings, "replay", None, [listed.split()[0]], every=False)
    await it.until_said("Gil", "An answer for gil.")


async def _the_books_go_on(folder: Path) -> None:
    """The ledger of the earlier host's day reads, with what it could not know as None."""
    valkey = EmbeddedValkey(folder / "data", "everysec")
    client = StoreClient(connect(valkey.url), SystemClock())
    try:
        ledger = Ledger(client)
        lines = (await ledger.lines(DAY))[:REQUESTS]
        spent = await ledger.spent(f"person:{FACTS['people']['Ann']}:{DAY}")
        _, undocumented = await compared_with(client.redis)
    finally:
        await client.close()
    known = {"account": "default", "agent": "clerk"}
    assert [{name: line[name] for name in ATTRIBUTION} for line in lines] == [
        dict.fromkeys(ATTRIBUTION) | known
    ] * REQUESTS
    assert (
        sum(line["tokens"]["total"] for line in lines if line["conversation"] == "5000001") == 954
    )
    assert spent["tokens"] >= 954
    for line in lines:
        told = line["tokens"]
        assert told["prompt"] + told["completion"] == told["total"]
        assert line["cost"] == (None if line["sure"] == "unknown" else line["micros"] / 1_000_000)
    assert spent["requests"] >= 2
    assert undocumented == []
