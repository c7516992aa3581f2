"""Webhooks of tasks: who hears of a task's end, signed, once it is over, whatever is killed."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from bot.http.accounts import webhooks
from bot.http.accounts.webhooks import account_secret
from simulators.messages.turns import HttpError, turn
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import ToolAgent, write
from tests.http.api import ApiAnswer, Client, api_host
from tests.http.receiver import MASTER, WORDS, Receiver, receiving
from tests.state_page import compared_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXECUTE = "/api/v1/agent/execute"
DUE = "webhooks:due"


@dataclass
class Office:
    """A host that sends webhooks, an agent that may have to ask, and who hears of its tasks."""

    stage: Stage
    client: Client
    receiver: Receiver
    key: str

    async def execute(self, *, query: str = "", url: str | None = None, **fields: Any) -> ApiAnswer:
        hook = {"url": self.receiver.url + "/done" if url is None else url}
        body = {"agent_type": "clerk", "task": "hello", "webhook": hook, **fields}
        key = fields.pop("key", self.key)
        return await self.client.ask("POST", EXECUTE + query, key, json=body)

    async def settled(self) -> None:
        """Until nothing is due any more."""
        store = self.client.host.store
        async with asyncio.timeout(20):
            while await store.command("ZCARD", DUE):  # noqa: ASYNC110 the store tells nobody
                await asyncio.sleep(0.02)

    @property
    def counters(self) -> dict[str, int]:
        found = self.client.host.counters.snapshot()
        return {name: found.get(f"webhooks:{name}", 0) for name in ("sent", "failed", "given_up")}

    def since(self, before: dict[str, int]) -> dict[str, int]:
        return {name: count - before[name] for name, count in self.counters.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("hooks")) as stage, receiving() as receiver:
        ToolAgent(stage, template=True, toolPolicy={"approvers": ["hostAdmins"]})
        async with api_host(stage, **WORDS) as client:
            await until(lambda: any(one.state == "up" for one in client.host.pool.servers))
            key = await client.make_key(account="acme", role="instance_admin")
            yield Office(stage, client, receiver, key)


@pytest.fixture(autouse=True)
def fresh(office: Office) -> None:
    office.receiver.heard.clear()
    office.receiver.answers.clear()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short; what they are is shown elsewhere."""
    monkeypatch.setattr(webhooks, "RETRY_AFTER", (0.1, 0.1, 0.1))


# --- what is sent --------------------------------------------------------------------------------


async def test_the_end_of_a_task_is_sent_with_its_status_and_a_signature_that_can_be_checked(
    office: Office,
) -> None:
    before = office.counters
    office.stage.script.on("Done.")
    answer = await office.execute()
    assert (answer.status, answer.json["output"]) == (200, "Done.")
    task = answer.json["task_id"]
    (heard,) = await office.receiver.until_heard(1)
    secret = await office.client.get("/api/v1/webhook-secret", office.key)
    assert (secret.status, secret.json["account"]) == (200, "acme")
    assert heard.is_signed_with(secret.json["secret"])
    assert not heard.is_signed_with(account_secret(MASTER, "other"))
    assert heard.headers["webhook-id"] == task
    assert abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 60
    assert heard.headers["content-type"] == "application/json"
    status = await office.client.get(f"/api/v1/agent/status/{task}", office.key)
    assert heard.json == status.json
    assert heard.json["result"]["output"] == "Done."
    await office.settled()
    assert office.since(before) == {"sent": 1, "failed": 0, "given_up": 0}
    host = office.client.host
    assert MASTER not in host.settings.secrets.redact(f"it is {MASTER}")
    store = host.store
    for name in await store.command("KEYS", f"*{task}*"):
        dumped = await store.command("DUMP", name)
        assert MASTER.encode() not in dumped
        assert secret.json["secret"].encode() not in dumped


async def test_a_task_that_waits_says_nothing_and_each_kind_of_end_is_told_once(
    office: Office,
) -> None:
    script, client = office.stage.script, office.client
    script.on(write(), "It is written.", user="write")
    script.on(turn(fault=HttpError(401)), user="fail")
    script.on(turn("Never.", gate="never"), user="stop")
    waiting = (await office.execute(task="write")).json
    assert waiting["status"] == "suspended"
    await until(lambda: client.host.http_lines.served == 0)  # it lies in the store alone
    found, wrong = await compared_with(client.host.store.redis)
    assert DUE in found
    assert not [name for name in wrong if name.startswith(DUE)]
    failed = (await office.execute(task="fail")).json["task_id"]
    running = (await office.execute(task="stop", query="?wait=0")).json["task_id"]
    path = f"/api/v1/agent/task/{running}"
    assert (await client.ask("DELETE", path, office.key)).json["status"] == "cancelled"
    heard = {one.headers["webhook-id"]: one.json for one in await office.receiver.until_heard(2)}
    assert {id: one["status"] for id, one in heard.items()} == {
        failed: "failed",
        running: "cancelled",
    }
    assert heard[failed]["result"]["metadata"]["error_type"] == "ModelRefused"
    yes = {"decision": "approve"}
    path = f"/api/v1/approvals/{waiting['approval']['id']}"
    assert (await client.ask("POST", path, office.key, json=yes)).status == 200
    last = (await office.receiver.until_heard(3))[2].json
    assert (last["task_id"], last["status"]) == (waiting["task_id"], "completed")
    # A stop that comes late opens the line again, and nobody is told twice.
    host = client.host
    line = f"api:acme:task:{waiting['task_id']}"
    await office.settled()
    await host.conversations.sessions.signal(line, "stop:late", b"{}")
    host.http_lines.look(line)
    await until(lambda: host.http_lines.served == 0)
    await office.settled()
    assert len(office.receiver.heard) == 3


async def test_a_task_without_a_webhook_leaves_no_trace_of_one(office: Office) -> None:
    office.stage.script.on("Quiet.")
    body = {"agent_type": "clerk", "task": "hello"}
    assert (await office.client.ask("POST", EXECUTE, office.key, json=body)).status == 200
    assert await office.client.host.store.command("EXISTS", DUE) == 0
    assert office.receiver.heard == []


# --- when it fails -------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_a_receiver_that_fails_is_asked_again_until_it_takes_it(office: Office) -> None:
    before = office.counters
    office.receiver.answers += [500, 302]
    office.stage.script.on("Again.")
    task = (await office.execute()).json["task_id"]
    heard = await office.receiver.until_heard(3)
    await office.settled()
    assert {one.headers["webhook-id"] for one in heard} == {task}
    assert len({one.body for one in heard}) == 1
    assert len(heard) == 3  # the redirect was not followed
    assert office.since(before) == {"sent": 1, "failed": 2, "given_up": 0}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("answers", "attempts"), [([410], 1), ([500] * 9, 4)])
async def test_a_receiver_that_is_gone_or_fails_to_the_end_is_given_up(
    office: Office, answers: list[int | None], attempts: int
) -> None:
    before = office.counters
    office.receiver.answers += answers
    office.stage.script.on("Lost.")
    await office.execute()
    await office.receiver.until_heard(attempts)
    await office.settled()
    assert len(office.receiver.heard) == attempts
    expected = {"sent": 0, "failed": attempts - 1, "given_up": 1}
    assert office.since(before) == expected


# --- where it may go -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest", "internal host"),
        ("http://localhost:1/", "internal host"),
        ("http://2130706433/", "internal host"),
        ("http://[::ffff:10.0.0.1]/", "internal host"),
        ("http://①27.0.0.1/", "internal host"),
        ("https://ann:secret@example.com/", "a name or a password"),
        ("ftp://example.com/", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("https://example.com/\u202e", "not an http or https address"),
        ("nothing", "not an http or https address"),
    ],
)
async def test_an_address_that_must_not_be_reached_is_refused_with_the_task(
    office: Office, url: str, words: str
) -> None:
    had = len(office.stage.requests())
    answer = await office.execute(url=url)
    assert (answer.status, answer.json["field"]) == (422, "webhook.url")
    assert words in answer.json["detail"]
    assert "secret" not in answer.json["detail"]
    assert len(office.stage.requests()) == had


async def test_a_name_that_leads_inside_is_refused_when_it_is_to_be_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def inside(host: str, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if "example" in str(host) else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    before = office.counters
    port = office.receiver.url.rpartition(":")[2]
    office.stage.script.on("Not told.")
    await office.execute(url=f"http://hooks.example.com:{port}/")
    await office.settled()
    assert office.since(before) == {"sent": 0, "failed": 0, "given_up": 1}
    assert office.receiver.heard == []


async def test_a_repeat_with_another_webhook_is_another_task(office: Office) -> None:
    office.stage.script.on("Once.")
    path, body = EXECUTE, {"agent_type": "clerk", "task": "hello"}
    body |= {"webhook": {"url": office.receiver.url}}  # type: ignore[dict-item]
    ask = office.client.ask
    first = await ask("POST", path, office.key, json=body, Idempotency_Key="hook")
    again = await ask("POST", path, office.key, json=body, Idempotency_Key="hook")
    assert (first.status, first.json) == (200, again.json)
    body |= {"webhook": {"url": office.receiver.url + "/other"}}  # type: ignore[dict-item]
    other = await ask("POST", path, office.key, json=body, Idempotency_Key="hook")
    assert (other.status, other.json["field"]) == (422, "Idempotency-Key")
    await office.receiver.until_heard(1)
    await office.settled()
    assert len(office.receiver.heard) == 1


# --- the secret ----------------------------------------------------------------------------------


async def test_only_who_may_write_the_account_sees_its_secret(office: Office) -> None:
    path = "/api/v1/webhook-secret"
    admin = {"account": "acme", "role": "instance_admin"}
    for narrowed in (
        {"role": "instance_manager"},
        {"agent": "clerk"},
        {"scope": "client", "client": "nike"},
    ):
        key = await office.client.make_key(**{**admin, **narrowed})
        refused = await office.client.get(path, key)
        assert (refused.status, "whsec_" in refused.body.decode()) == (403, False), narrowed
    other = await office.client.make_key(account="other", role="instance_admin")
    found = [(await office.client.get(path, key)).json["secret"] for key in (office.key, other)]
    assert found == [account_secret(MASTER, name) for name in ("acme", "other")]
    assert found[0] != found[1]
