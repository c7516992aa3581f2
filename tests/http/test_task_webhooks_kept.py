"""Webhooks of tasks whose hosts are killed; their signature, their pauses, and no setting."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from bot.http.accounts import webhooks
from bot.http.accounts.webhooks import account_secret, signature
from simulators.messages.turns import turn
from simulators.testing.valkey import Valkey
from tests.host.replicas import Replica
from tests.host.stage import Stage, until
from tests.http.api import OPERATOR, OPERATOR_KEY, api_host
from tests.http.receiver import MASTER, WORDS, receiving

EXECUTE = "/api/v1/agent/execute"
DUE = "webhooks:due"


def test_the_signature_is_the_one_of_the_specifications_own_example() -> None:
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_it_is_tried_again_for_a_day_with_growing_pauses() -> None:
    hours = (1, 3, 6, 12)
    assert (5, 30, 120, 600, *(3600 * one for one in hours)) == webhooks.RETRY_AFTER


async def test_without_the_setting_a_webhook_is_refused_with_the_cure(stage: Stage) -> None:
    stage.bot("Clerk")
    async with api_host(stage) as client:
        body = {"agent_type": "clerk", "task": "hello", "webhook": {"url": "https://example.com"}}
        answer = await client.ask("POST", EXECUTE, json=body)
        assert (answer.status, answer.json["field"]) == (422, "webhook")
        assert "TASK_WEBHOOK_SECRET" in answer.json["detail"]
        secret = await client.get("/api/v1/webhook-secret", Change_Reason="to check")
        assert (secret.status, "TASK_WEBHOOK_SECRET" in secret.json["detail"]) == (409, True)


@pytest.mark.timeout(180)
async def test_a_webhook_survives_the_hosts_that_are_killed_before_and_while_it_is_sent(
    stage: Stage, valkey: Valkey
) -> None:
    stage.bot("Clerk")
    stage.script.on(turn("Lost.", gate="never"), "Survived.")
    words = {**OPERATOR, **WORDS, "SWEEP_SECONDS": "0.3"}
    words |= {"REDIS_URL": valkey.url, "LEASE_SECONDS": "1.5"}
    one, other = (Replica(stage, name, **words) for name in ("one", "two"))
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    async with receiving() as receiver, one.running(), aiohttp.ClientSession() as session:
        receiver.answers.append(None)
        body = {"agent_type": "clerk", "task": "go", "webhook": {"url": receiver.url}}
        url = f"{one.address}{EXECUTE}?wait=0"
        async with session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 202
            task = (await answer.json())["task_id"]
        await until(lambda: len(stage.requests()) == 1)
        await one.kill()
        async with other.running():
            await receiver.until_heard(1)  # and it does not answer
            await other.kill()
        async with valkey.client() as store, one.running():
            assert await store.zcard(DUE) == 1
            await store.zadd(DUE, {f"api:default:task:{task}": 0})  # the claim has run out
            first, second = await receiver.until_heard(2)
            async with asyncio.timeout(20):
                while await store.zcard(DUE):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert first.body == second.body
        assert second.json["task_id"] == task
        assert second.json["result"]["output"] == "Survived."
        assert second.is_signed_with(account_secret(MASTER, "default"))
