"""`switchboard bots` and `switchboard secrets` over a real store and the Telegram simulator."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator

import pytest

from registry.sealing import SealingKey, new_key
from simulators.http_server import serving
from simulators.telegram.routes import application
from simulators.telegram.world import World
from simulators.testing.valkey import Valkey
from tests.cli.console import Console

TOKEN = f"7300001:AA{'c' * 33}"
OWN = f"7300002:AA{'d' * 33}"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Telegram with two bots, of which the environment has one."""
    world = World()
    world.bot(TOKEN, "Desk", "desk_bot")
    world.bot(OWN, "Own", "own_bot")
    monkeypatch.setenv("BOTS__0__TOKEN", OWN)
    async with serving(application(world)) as url:
        monkeypatch.setenv("TELEGRAM_API_URL", url)
        yield world


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


async def test_a_bot_is_added_from_standard_input_changed_and_removed(
    console: Console, world: World, monkeypatch: pytest.MonkeyPatch, valkey: Valkey
) -> None:
    assert "SECRETS_KEY: it is not set" in await console.refused("bots", "add")
    made = await console.done("secrets", "new-key")
    key = made.out.strip()
    assert SealingKey.parse(key).raw
    assert "keep a copy" in made.err
    monkeypatch.setenv("SECRETS_KEY", key)
    typed(monkeypatch, TOKEN + "\n")
    added = await console.done("bots", "add", "--account", "acme", "--reason", "a desk")
    assert added.out.strip() == "added @desk_bot, bot 7300001 of account acme"
    typed(monkeypatch, TOKEN)
    assert "@desk_bot is hosted already" in await console.refused("bots", "add", "--reason", "b")
    typed(monkeypatch, OWN)
    assert "BOTS__0__TOKEN sets its token" in await console.refused("bots", "add")
    typed(monkeypatch, "no token")
    assert "that is not a bot token" in await console.refused("bots", "add")
    assert "bots takes no" in await console.refused("bots", "add", TOKEN, code=2)

    rows = (await console.done("bots", "list")).out.splitlines()
    assert [row.split()[:3] for row in rows] == [
        ["7300002", "default", "running"],
        ["7300001", "@desk_bot", "acme"],
    ]
    why = ("--reason", "we try it")
    assert (await console.done("bots", "pause", "@desk_bot", *why)).out == "paused @desk_bot\n"
    assert (await console.done("bots", "resume", "7300001", *why)).out == "resumed @desk_bot\n"
    named = await console.done("bots", "rename", "7300001", "The", "Desk", *why)
    assert named.out == "@desk_bot is named The Desk now\n"
    assert world.members.bots[7300001].name == "The Desk"
    moved = await console.done("bots", "move", "7300001", "default", *why, "--json")
    assert moved.data == {"id": 7300001, "account": "default"}
    assert "is set in BOTS__0__TOKEN" in await console.refused("bots", "pause", "7300002")
    assert "did you mean @desk_bot?" in await console.refused("bots", "pause", "@desk_bo")
    removed = await console.done("bots", "remove", "7300001")
    assert removed.out == "removed @desk_bot\n"
    assert "switchboard bots forget" in removed.err
    assert "repeat it with --yes" in await console.refused("bots", "forget", "7300001", code=2)
    assert "is still hosted" in await console.refused("bots", "forget", "7300002", "--yes")
    assert "deleted 0 keys" in (await console.done("bots", "forget", "7300001", "--yes")).out
    audit = (await console.done("audit", "list", "--json")).out
    left = b"".join(file.read_bytes() for file in valkey.folder.rglob("*") if file.is_file())
    for token in (TOKEN, OWN):
        assert token not in audit
        assert token.partition(":")[2].encode() not in left


async def test_a_rotation_goes_on_where_it_ended(
    console: Console, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = new_key(), new_key()
    monkeypatch.setenv("SECRETS_KEY", old)
    tokens = [f"73001{number:02}:AA{'e' * 33}" for number in range(3)]
    for number, token in enumerate(tokens):
        world.bot(token, f"N{number}")
        if number == 2:  # added with the new key already: a rotation that was cut off leaves such
            monkeypatch.setenv("SECRETS_KEY", new)
        typed(monkeypatch, token)
        await console.done("bots", "add")
    assert "sealed with another key" in (await console.done("bots", "list")).err
    stuck = await console("secrets", "rotate", "--json")
    assert (stuck.code, stuck.data) == (1, {"anew": 0, "before": 1, "failed": 2})
    monkeypatch.setenv("SECRETS_KEY_OLD", old)
    turned = await console.done("secrets", "rotate", "--json")
    assert turned.data == {"anew": 2, "before": 1, "failed": 0}
    monkeypatch.delenv("SECRETS_KEY_OLD")
    assert (await console.done("secrets", "rotate")).out == "sealed anew: 0; done before: 3\n"
    assert "not 32" in await console.refused(
        "secrets", "rotate", "--old-file", console.write("old", "c2hvcnQ=")
    )
    monkeypatch.setenv("SECRETS_KEY", "short")
    assert "SECRETS_KEY" in await console.refused("bots", "list")
