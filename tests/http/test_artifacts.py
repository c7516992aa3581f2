"""Artifacts of tasks and conversations over HTTP: kept, listed, and fetched by signed addresses."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, turn
from tests.host.stage import staged, until
from tests.host.tool_agent import ToolAgent, write
from tests.http.accounts import Talk, talking, write_instance
from tests.http.api import OPERATOR_KEY, ApiAnswer
from tests.mcp.servers.gallery import PIXEL
from tests.state_page import compared_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

GALLERY = Path(__file__).parents[1] / "mcp" / "servers" / "gallery.py"
TOKEN = "gallery-token-that-nobody-may-read"
DAY = 24 * 3600


@dataclass
class Studio:
    """A host whose agent has the gallery, and a clerk who asks."""

    talk: Talk
    agent: ToolAgent

    async def execute(self, *script: Any, **fields: Any) -> dict[str, Any]:
        """The answer of a task whose model says `script`."""
        self.talk.stage.script.on(*script)
        body = {"agent_type": "clerk", "task": "draw", **fields}
        answer = await self.talk.client.ask("POST", "/api/v1/agent/execute", json=body)
        return dict(answer.json)

    async def made(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """The artifacts of a task that calls a tool of the gallery."""
        call = turn("I look.", Call(f"gallery__{tool}", arguments))
        return list((await self.execute(call, "Done."))["artifacts"])

    async def fetch(self, url: str, key: str | None = None) -> ApiAnswer:
        return await self.talk.client.get(url.removeprefix("https://bots.example.com"), key)

    async def count(self) -> int:
        return len(await self.talk.host.store.command("KEYS", "*:artifact:*"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("artifacts")) as stage:
        env = {"GALLERY_TOKEN": "${GALLERY_TOKEN}"}
        server = {"command": sys.executable, "args": [str(GALLERY)], "env": env}
        stage.agents["mcpServers"]["gallery"] = server
        agent = ToolAgent(stage, whitelistPatterns=["mcp:gallery:*"], template=True)
        stage.agents["agents"][0]["mcpServers"].append("gallery")
        own = 'agent_type: "clerk"\naccount: "acme"\ninstance_name: "painter"\n'
        async with talking(stage, GALLERY_TOKEN=TOKEN) as talk:
            write_instance(talk.folder, "acme", "painter", own)
            pool, catalog = talk.host.pool, talk.host.catalog
            await until(lambda: len([one for one in pool.servers if one.state == "up"]) == 2)
            await until(lambda: "acme/painter" in catalog.snapshot().document.instances)
            yield Studio(talk, agent)


# --- what is kept --------------------------------------------------------------------------------


async def test_a_picture_is_listed_with_the_result_and_fetched_without_a_key(
    studio: Studio,
) -> None:
    (one,) = await studio.made("picture")
    found, wrong = await compared_with(studio.talk.host.store.redis)
    assert "{<line>}:artifact:<id>" in found
    assert not [name for name in wrong if "artifact" in name]
    assert one.keys() == {"id", "name", "mime_type", "size", "url", "expires_at"}
    raw = base64.b64decode(PIXEL)
    assert (one["name"], one["mime_type"], one["size"]) == ("picture-1.png", "image/png", len(raw))
    assert one["url"].startswith(f"/api/v1/artifacts/{one['id']}?expires=")
    for key in (OPERATOR_KEY, "wrong", None):
        answer = await studio.fetch(one["url"], key)
        assert (answer.status, answer.body) == (200, raw)
    headers = (await studio.fetch(one["url"])).headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"].startswith('attachment; filename="picture-1.png"')
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    (name,) = await studio.talk.host.store.command("KEYS", f"*:artifact:{one['id']}")
    lives = await studio.talk.host.store.command("PTTL", name)
    assert DAY - 60 < lives / 1000 <= DAY


async def test_resources_audio_and_links_are_listed_and_nothing_is_fetched_for_them(
    studio: Studio,
) -> None:
    found = await studio.made("report")
    assert [(one["name"], one["mime_type"], one["size"]) for one in found] == [
        ("Übersicht.pdf", "application/pdf", 8),
        ("chart one.png", "image/png", len(base64.b64decode(PIXEL))),
        ("report-3.mp3", "audio/mpeg", 4),
        ("Minutes", "application/octet-stream", None),
    ]
    link = found[3]
    assert (link["url"], link["expires_at"]) == ("https://example.com/minutes.pdf", None)
    assert (await studio.fetch(found[0]["url"])).body == b"%PDF-1.7"
    shown = (await studio.fetch(found[0]["url"])).headers["Content-Disposition"]
    assert shown == "attachment; filename=\"_bersicht.pdf\"; filename*=UTF-8''%C3%9Cbersicht.pdf"


async def test_no_secret_leaves_in_a_file_of_text(studio: Studio) -> None:
    found = await studio.made("notes")
    assert [one["name"] for one in found] == ["notes.md", "notes.json"]
    for one in found:
        body = (await studio.fetch(one["url"])).body
        assert body.startswith(b"The token is ")
        assert TOKEN.encode() not in body


async def test_names_and_types_of_a_server_do_no_harm_in_headers(studio: Studio) -> None:
    first, second, third = await studio.made("odd")
    for one in (first, second, third):
        answer = await studio.fetch(one["url"])
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
        assert not {"Set-Cookie", "X-Evil"} & set(answer.headers)
        assert "/" not in one["name"]
        assert '"' not in one["name"]
        assert one["name"].isprintable()
    assert first["mime_type"] == "text/html"
    assert second["mime_type"] == "application/octet-stream"
    assert third["name"] == "odd-4.txt"  # what has an address that is none is left out


@pytest.mark.parametrize(("megabytes", "count", "kept"), [(5.1, 1, 0), (4.9, 1, 1), (0, 25, 20)])
async def test_what_is_too_large_or_too_much_is_left_out(
    studio: Studio, megabytes: float, count: int, kept: int
) -> None:
    found = await studio.made("heavy", megabytes=megabytes, count=count)
    assert len(found) == kept


async def test_a_turn_keeps_so_much_in_all_also_beside_links_that_claim_more(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.turn.artifacts.MOST_TURN_BYTES", 1024 * 1024)
    heavy = Call("gallery__heavy", {"megabytes": 0.3, "count": 2})
    both = (
        Call("gallery__report", {}),
        heavy,
        Call("gallery__heavy", {"megabytes": 0.31, "count": 2}),
    )
    answer = await studio.execute(turn("I look.", *both), "Done.")
    sizes = [one["size"] for one in answer["artifacts"] if one["name"].endswith(".bin")]
    assert len(sizes) == 3
    assert sum(sizes) < 1024 * 1024


# --- where it is told ----------------------------------------------------------------------------


async def test_status_a_repeat_and_the_journal_tell_the_same_artifacts(studio: Studio) -> None:
    client, store = studio.talk.client, studio.talk.host.store
    answer = await studio.execute(turn("I look.", Call("gallery__picture", {})), "Drawn.")
    path = f"/api/v1/agent/status/{answer['task_id']}"
    assert len(answer["artifacts"]) == 1
    assert (await client.get(path)).json["result"]["artifacts"] == answer["artifacts"]
    line = f"api:default:task:{answer['task_id']}"
    await store.command("DEL", f"{{{line}}}:events:{answer['task_id']}")
    assert (await client.get(path)).json["result"]["artifacts"] == answer["artifacts"]


async def test_a_turn_that_waited_in_the_store_still_has_what_it_kept_before(
    studio: Studio,
) -> None:
    client = studio.talk.client
    picture = turn("I look.", Call("gallery__picture", {}))
    waiting = await studio.execute(picture, write(), turn("", Call("gallery__report", {})), "Done.")
    assert waiting["status"] == "suspended"
    await until(lambda: studio.talk.host.http_lines.served == 0)
    path = f"/api/v1/approvals/{waiting['approval']['id']}"
    assert (await client.ask("POST", path, json={"decision": "approve"})).status == 200
    task = await client.until_task(waiting["task_id"], "completed")
    names = [one["name"] for one in task["result"]["artifacts"]]
    assert names[:2] == ["picture-1.png", "Übersicht.pdf"]
    # One that people end while it waits has them too.
    waiting = await studio.execute(picture, write())
    ended = await client.ask("DELETE", f"/api/v1/agent/task/{waiting['task_id']}")
    assert ended.json["status"] == "cancelled"
    assert [one["name"] for one in ended.json["result"]["artifacts"]] == ["picture-1.png"]


async def test_chat_and_history_have_them_in_their_metadata(studio: Studio) -> None:
    talk = studio.talk
    key = await talk.client.make_key(account="acme", user="ann")
    talk.stage.script.on(turn("I look.", Call("gallery__picture", {})), "Drawn.", "Nothing drawn.")
    status, said = await talk.chat("draw", key, "painter")
    assert (status, said["response"].endswith("Drawn.")) == (200, True)
    (one,) = said["metadata"]["artifacts"]
    assert (await studio.fetch(one["url"])).status == 200
    _, plain = await talk.chat("again", key, "painter", session_id=said["session_id"])
    assert "artifacts" not in plain["metadata"]
    path = f"{talk.path('painter')}/history?session_id={said['session_id']}"
    messages = (await talk.client.get(path, key)).json["messages"]
    assert [(one.get("metadata") or {}).get("artifacts") for one in messages] == [
        None,
        [one],
        None,
        None,
    ]


async def test_a_turn_in_telegram_keeps_no_file(studio: Studio) -> None:
    stage, had = studio.talk.stage, await studio.count()
    ann = stage.person("Ann")
    room = studio.agent.room(ann)
    stage.script.on(turn("I look.", Call("gallery__picture", {})), "Seen.")
    stage.world.say(ann, room, "draw")
    await studio.agent.said(room, "Seen.")
    assert await studio.count() == had
    store = studio.talk.host.store
    (log,) = await store.command("KEYS", "{bot:*:log")
    assert b"artifacts" not in b"".join(
        part for _, fields in await store.command("XRANGE", log, "-", "+") for part in fields
    )


async def test_the_public_address_stands_in_front_where_it_is_set(studio: Studio) -> None:
    links = studio.talk.host.conversations.links
    links.base = "https://bots.example.com"
    try:
        (one,) = await studio.made("picture")
    finally:
        links.base = ""
    assert one["url"].startswith("https://bots.example.com/api/v1/artifacts/")
    assert (await studio.fetch(one["url"])).status == 200


# --- who gets it ---------------------------------------------------------------------------------


async def test_everything_that_is_wrong_in_an_address_has_the_same_answer(
    studio: Studio,
) -> None:
    (one,), (other,) = await studio.made("picture"), await studio.made("picture")
    parts = urlsplit(one["url"])
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert given["expires"].isdecimal()
    assert abs(int(given["expires"]) - time.time() - DAY) < 120
    right, path = given["signature"], parts.path
    foreign = path.replace(one["id"], other["id"])
    unknown = (await studio.talk.client.get("/api/v1/nothing")).body
    later = str(int(given["expires"]) + 1)
    links = studio.talk.host.conversations.links
    past = str(int(time.time()) - 1)
    lapsed = links._signature(one["id"], past)
    for url in (
        path,
        f"{path}?expires={given['expires']}",
        f"{path}?signature={right}",
        f"{path}?expires={later}&signature={right}",
        f"{path}?expires={given['expires']}&signature={right[:-1]}",
        f"{path}?expires={given['expires']}&signature={right.upper()}",
        f"{path}?expires={given['expires']}&signature=",
        f"{path}?expires=%2B{given['expires']}&signature={right}",
        f"{path}?expires={past}&signature={lapsed}",
        f"{foreign}?{parts.query}",
        f"{path}/?{parts.query}",
        f"/api/v1/artifacts/?{parts.query}",
    ):
        answer = await studio.fetch(url)
        assert (answer.status, answer.body) == (404, unknown), url
    # A file that is gone answers so, too.
    (name,) = await studio.talk.host.store.command("KEYS", f"*:artifact:{one['id']}")
    await studio.talk.host.store.command("DEL", name)
    gone = await studio.fetch(one["url"])
    assert (gone.status, gone.body) == (404, unknown)


async def test_who_guesses_addresses_is_slowed_and_who_has_a_right_one_is_not(
    studio: Studio,
) -> None:
    (one,) = await studio.made("picture")
    gate = studio.talk.host._api_gate
    before, gate._strangers = gate._strangers, type(gate._strangers)(3)
    try:
        wrong = one["url"][:-1]
        statuses = [(await studio.fetch(wrong)).status for _ in range(5)]
        assert statuses == [404, 404, 404, 429, 429]
        assert (await studio.fetch(one["url"])).status == 200
    finally:
        gate._strangers = before
