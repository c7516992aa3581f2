"""Bots that come and go while hosts run: by token, by a tap, paused, moved, removed, rotated."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from registry.errors import Unrestorable
from registry.roles import OPERATOR_ACTOR
from registry.sealing import new_key
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.stage import Stage, until
from tests.host.test_versions import saying

SOON = 3.0
"""Seconds within which a new bot is polled."""
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 20


def new_bot(stage: Stage, name: str, number: int) -> Bot:
    """A bot of BotFather's, whose token no host knows."""
    token = f"{number}:AA{secrets.token_hex(17)[:33]}"
    return stage.world.bot(token, name, f"{name.lower()}_{number}_bot")


@contextlib.asynccontextmanager
async def replicas(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[App, App]]:
    """Two hosts with the same bots and the same key."""
    shared = {"REDIS_URL": valkey.url}
    folder = str(stage.folder / "other")
    one = stage.host(**shared, REPLICA_NAME="a")
    two = stage.host(**shared, REPLICA_NAME="b", DATA_DIR=folder)
    async with one as first, two as second:
        yield first, second


def everything_in(*folders: Path) -> bytes:
    """Every byte of every file below these folders."""
    files = (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())
    return b"\n".join(file.read_bytes() for file in files)


def talk(stage: Stage, person: Person, bot: Bot) -> tuple[Room, Callable[[str], Any]]:
    room = stage.world.private(person, bot)
    return room, saying(stage, person, room, bot)


async def test_a_bot_by_token_and_one_by_a_tap_are_polled_at_once_and_their_tokens_are_nowhere(
    stage: Stage, valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    echo = stage.adopt(
        stage.world.bot(f"7000001:AA{secrets.token_hex(16)}", "Echo", "echo_bot", manages=True),
        "Echo",
    )
    poet = {"id": "poet", "name": "Poet", "mcpServerEndpoints": [], "description": "Writes verse."}
    stage.agents["agents"].append({**poet, "customInstructions": "You are Poet."})
    stage.script.on("a rhyme", system="You are Poet.", again=True)
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "SECRETS_KEY": new_key()}
    first = new_bot(stage, "First", 7_100_001)
    room, say = talk(stage, boss, echo)
    async with replicas(stage, valkey) as hosts:
        # By token: the message is gone at once, and the bot answers.
        assert "Added @first_7100001_bot. poet answers there." in await say(
            f"/addbot {first.token} poet because we need one"
        )
        await first.updates.wait_until_polled(SOON)
        assert not any(first.token in str(m.body) for m in room.messages.values())
        assert not any("/addbot" in m.text for m in room.messages.values())
        _, ask = talk(stage, ann, first)
        assert await ask("write") == "a rhyme"
        again = await say(f"/addbot {first.token}")
        assert again == "Nothing was changed: @first_7100001_bot is hosted already."

        # By a tap: the button, the new bot, its description and its picture.
        stage.world.attach(boss, room, "document", JPEG, name="face.jpg", caption="/newbot poet")
        await stage.world.until(
            lambda: any("Press the button" in text for text in stage.texts(room, echo.id))
        )
        made = stage.world.create_bot(boss, room, "Create a bot")
        assert made.name == "Poet"
        assert made.username == "poet_bot"
        await made.updates.wait_until_polled(SOON)
        await stage.world.until(
            lambda: any("Added @poet_bot. poet answers" in t for t in stage.texts(room, echo.id))
        )
        assert made.texts == {"description": "Writes verse.", "short_description": "Writes verse."}
        assert made.photo == JPEG
        assert made.commands
        _, ask = talk(stage, ann, made)
        assert await ask("write") == "a rhyme"

        listed = await say("/bots")
        assert "• @first_7100001_bot 7100001" in listed
        assert f"• @poet_bot {made.id}" in listed

        # Removed: its poll ends, and what was said stays.
        removed = await say("/bots remove @first_7100001_bot because it is old")
        assert removed.startswith("Removed @first_7100001_bot: I no longer answer in it.")
        assert "Still bound to it: 1 binding." in removed
        await until(lambda: not first.updates.polled, SOON)
        client = valkey.client()
        kept = [key async for key in client.scan_iter(match="{bot:7100001}*")]
        await client.aclose()
        assert any(key.endswith(b":poet:log") for key in kept)
        records = await audit_of(hosts[0])
        made_of = {(one.action, one.entity_id) for one in records}
        assert ("add bot", "7100001") in made_of
        assert ("add bot", str(made.id)) in made_of
        assert ("remove bot", "7100001") in made_of
        with pytest.raises(Unrestorable):
            await hosts[0].history.restore(OPERATOR_ACTOR, "bot", "7100001", 1, key="once")
        reports = [str(host.report()) for host in hosts]
    left = everything_in(valkey.folder, stage.folder) + capsys.readouterr().out.encode()
    left += "".join([*map(str, records), *reports]).encode()
    for token in (first.token, made.token):
        assert token.encode() not in left
        assert token.partition(":")[2].encode() not in left
    assert b"sealed with key" in left
