"""Bots over HTTP: added by a token that no answer shows, and changed by those who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from registry.sealing import new_key
from simulators.telegram.people import Bot
from tests.host.audit import audit_of
from tests.host.stage import Stage, staged, until
from tests.http.api import OPERATOR, ApiAnswer, Client, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTS = "/api/v1/bots"
SOON = 3.0


@dataclass
class Telegram:
    """A host with one bot of its own, and a stage to make others on."""

    stage: Stage
    api: Client
    numbers: int = 7_200_000

    async def ask(self, method: str, path: str, **more: Any) -> ApiAnswer:
        """The operator asks, and says why."""
        return await self.api.ask(method, path, **{"Change_Reason": "we try it", **more})

    def new(self, name: str) -> Bot:
        self.numbers += 1
        token = f"{self.numbers}:AA{self.numbers}{'x' * 26}"
        return self.stage.world.bot(token, name, f"{name.lower()}_{self.numbers}_bot")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Telegram]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("bots")) as stage:
        stage.bot("Echo", template=True)
        async with (
            stage.host(**OPERATOR, SECRETS_KEY=new_key()) as host,
            client_of(host) as client,
        ):
            yield Telegram(stage, client)


async def test_a_bot_is_added_shown_paused_renamed_and_removed(here: Telegram) -> None:
    api, first = here.api, here.new("First")
    body = {"token": first.token, "agent": "echo", "reason": "we need one"}
    made = await here.ask("POST", BOTS, json=body, Idempotency_Key="once")
    assert (made.status, made.json["agent"]) == (201, "echo")
    await first.updates.wait_until_polled(SOON)
    again = await here.ask("POST", BOTS, json=body, Idempotency_Key="once")
    assert (again.status, again.json) == (201, made.json)
    twice = await here.ask("POST", BOTS, json=body)
    assert twice.status == 409
    assert f"@{first.username} is hosted already" in twice.json["detail"]

    path = made.headers["Location"]
    shown = await api.get(path)
    assert shown.headers["ETag"] == f'"{shown.json["hash"]}"'
    assert {**shown.json, "here": "", "added": ""} == {
        "id": first.id,
        "username": first.username,
        "name": "First",
        "account": "default",
        "state": "running",
        "here": "",
        "added_by": f"api:default:{shown.json['added_by'].rpartition(':')[2]}",
        "added": "",
        "read_only": False,
        "hash": shown.json["hash"],
    }
    listed = (await api.get(BOTS)).json["bots"]
    assert [(one["id"], one["read_only"]) for one in listed] == [
        (here.stage.bots[0].id, True),
        (first.id, False),
    ]

    paused = await here.ask("PATCH", path, json={"state": "paused", "name": "Best"})
    assert (paused.status, paused.json["state"], paused.json["name"]) == (200, "paused", "Best")
    assert first.name == "Best"
    await until(lambda: not first.updates.polled, SOON)
    assert (await here.ask("PATCH", path, json={"state": "running"})).status == 200
    await first.updates.wait_until_polled(SOON)
    assert (await here.ask("PATCH", path, json={})).status == 422
    assert (await here.ask("PATCH", path, json={"state": "gone"})).status == 422
    assert (await here.ask("DELETE", f"{path}/data")).status == 422

    assert (await here.ask("DELETE", path)).status == 204
    await until(lambda: not first.updates.polled, SOON)
    assert (await api.get(path)).status == 404
    assert (await here.ask("DELETE", f"{path}/data")).status == 204
    actions = [one.action for one in await audit_of(api.host)]
    assert actions[:6] == [
        "delete the data of bot",
        "remove bot",
        "resume bot",
        "pause bot",
        "rename bot",
        "bind",
    ]


async def test_a_token_that_cannot_be_used_is_refused_and_never_repeated(here: Telegram) -> None:
    unknown = f"7299999:{'B' * 35}"
    said = await here.ask("POST", BOTS, json={"token": unknown})
    assert said.status == 422
    assert "Telegram does not know this token" in said.body.decode()
    for token in ("no token", here.stage.bots[0].token, f"{unknown} {'x' * 300}"):
        answer = await here.ask("POST", BOTS, json={"token": token})
        assert answer.status in (409, 422)
        assert token.partition(":")[2] not in answer.body.decode() or token == "no token"
    assert (await here.ask("POST", BOTS, json={"token": unknown, "agnt": "x"})).status == 422
    left = b"".join(f.read_bytes() for f in here.stage.folder.rglob("*") if f.is_file())
    assert unknown.partition(":")[2].encode() not in left


async def test_an_account_adds_its_own_bots_and_reaches_no_other(here: Telegram) -> None:
    api, theirs, ours = here.api, here.new("Theirs"), here.new("Ours")
    admin = await api.make_key(account="acme", role="instance_admin")
    manager = await api.make_key(account="acme", role="instance_manager")
    made = await api.ask("POST", BOTS, admin, json={"token": theirs.token, "agent": "echo"})
    assert (made.status, made.json["account"]) == (201, "acme")
    await theirs.updates.wait_until_polled(SOON)
    own = await here.ask("POST", BOTS, json={"token": ours.token})
    assert own.status == 201
    assert [one["id"] for one in (await api.get(BOTS, admin)).json["bots"]] == [theirs.id]
    other = f"{BOTS}/{ours.id}"
    for method, body in (("GET", None), ("PATCH", {"state": "paused"}), ("DELETE", None)):
        assert (await api.ask(method, other, admin, json=body)).status == 404
    assert (
        await api.ask("PATCH", f"{BOTS}/{theirs.id}", admin, json={"account": "default"})
    ).status == 403
    for key in (manager, None):
        refused = await api.ask("PATCH", f"{BOTS}/{theirs.id}", key, json={"state": "paused"})
        assert refused.status in (401, 403)
    added = await api.ask("POST", BOTS, manager, json={"token": here.new("Third").token})
    assert added.status == 403
    assert (await api.ask("DELETE", f"{BOTS}/{theirs.id}/data", admin)).status == 403
    refusals = {one.action for one in await audit_of(api.host) if one.change_type == "refused"}
    assert {"refused: add bot", "refused: pause bot"} <= refusals
    moved = await here.ask("PATCH", f"{BOTS}/{theirs.id}", json={"account": "default"})
    assert (moved.status, moved.json["account"]) == (200, "default")
    assert (await api.get(BOTS, admin)).json["bots"] == []
    both = [here.ask("DELETE", f"{BOTS}/{bot.id}") for bot in (theirs, ours)]
    assert [answer.status for answer in await asyncio.gather(*both)] == [204, 204]
