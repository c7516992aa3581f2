"""Tasks whose host is killed, on two replicas; and many tasks at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulators.messages.turns import turn
from simulators.messages.validate import ModelRequest
from simulators.testing.valkey import Valkey
from tests.host.replicas import Replica
from tests.host.stage import Stage, until
from tests.host.tool_agent import ToolAgent, write
from tests.http.api import OPERATOR, OPERATOR_KEY, api_host

EXECUTE = "/api/v1/agent/execute"
TASKS, STEPS = 100, 15


class Front:
    """A client of some replicas."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(
        self, replica: Replica, method: str, path: str, body: Any = None, once: str = ""
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        headers |= {"Idempotency-Key": once} if once else {}
        url = f"{replica.address}{path}"
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def until_over(self, replica: Replica, task: str) -> dict[str, Any]:
        """The status of a task that is over."""
        async with asyncio.timeout(60):
            while True:
                _, found = await self.ask(replica, "GET", f"/api/v1/agent/status/{task}")
                if found["result"] is not None:
                    return dict(found)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def two(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[Front, Replica, Replica]]:
    words = {**OPERATOR, "REDIS_URL": valkey.url, "LEASE_SECONDS": "1.5", "SWEEP_SECONDS": "0.3"}
    one, other = (Replica(stage, name, **words) for name in ("one", "two"))
    async with one.running(), other.running(), aiohttp.ClientSession() as session:
        await until(lambda: one.logged("api.open") and other.logged("api.open"))
        yield Front(session), one, other


@pytest.mark.timeout(180)
async def test_a_task_whose_host_is_killed_has_one_result_under_the_same_id(
    stage: Stage, valkey: Valkey
) -> None:
    agent = ToolAgent(stage)
    done = ["write first"]
    script = stage.script
    # What the killed host asked is never answered; the other one asks again.
    script.on(turn("Lost.", gate="never"), "Survived.", user="survive")
    script.on(write("first"), turn("Lost.", gate="never"), "It is written.", user="write")
    async with two(stage, valkey) as (front, one, other):
        plain = {"agent_type": "clerk", "task": "survive"}
        asks = {"agent_type": "clerk", "task": "write"}
        at_once = f"{EXECUTE}?wait=0"
        _, begun = await front.ask(one, "POST", at_once, plain, once="plain")
        status, waiting = await front.ask(one, "POST", EXECUTE, asks, once="asks")
        assert (status, waiting["status"]) == (202, "suspended")
        await until(lambda: len(stage.requests()) == 2)
        await one.kill()
        # Until its lease has run out the task is the dead host's; its id stays.
        status, shown = await front.ask(other, "GET", f"/api/v1/agent/status/{begun['task_id']}")
        assert (status, shown["result"]) == (200, None)
        path = f"/api/v1/approvals/{waiting['approval']['id']}"
        status, decided = await front.ask(other, "POST", path, {"decision": "approve"})
        assert (status, decided["task_id"]) == (200, waiting["task_id"])
        await until(lambda: agent.done == done)
        status, result = await front.ask(other, "POST", EXECUTE, plain, once="plain")
        assert (status, result["task_id"], result["output"]) == (
            200,
            begun["task_id"],
            "Survived.",
        )
        assert (await front.until_over(other, begun["task_id"]))["status"] == "completed"
        again = await front.ask(other, "POST", EXECUTE, plain, once="plain")
        assert again == (200, result)
        status, refused = await front.ask(
            other, "POST", EXECUTE, {**plain, "task": "another"}, once="plain"
        )
        assert (status, refused["field"]) == (422, "Idempotency-Key")
        # The one that was approved has asked the model again by now: kill its host as well.
        await until(lambda: len(stage.requests()) == 4)
        await other.kill()
        async with one.running():
            await until(lambda: one.logged("api.open"))
            over = await front.until_over(one, waiting["task_id"])
        assert over["result"]["output"].endswith("It is written.")
        assert agent.done == done


@pytest.mark.timeout(120)
async def test_a_task_that_runs_at_sigterm_ends_before_its_host(
    stage: Stage, valkey: Valkey
) -> None:
    ToolAgent(stage)
    stage.script.on(turn("Whole.", gate="held"), user="last")
    async with two(stage, valkey) as (front, one, other):
        begun = {"agent_type": "clerk", "task": "last"}
        _, task = await front.ask(one, "POST", f"{EXECUTE}?wait=0", begun)
        await until(lambda: len(stage.requests()) == 1)
        one.send(signal.SIGTERM)
        await until(lambda: one.logged("stopping"))
        stage.sim.gates.open("held")
        assert await one.wait(60) == 0
        over = await front.until_over(other, task["task_id"])
    assert (over["status"], over["result"]["output"]) == ("completed", "Whole.")
    assert len(stage.requests()) == 1


@pytest.mark.timeout(120)
async def test_a_hundred_tasks_at_once_run_ten_by_ten_in_their_order_and_none_is_lost(
    stage: Stage,
) -> None:
    begun: list[int] = []

    def answered(request: ModelRequest) -> Any:
        number = int(request.user_text.rpartition(" ")[2])
        begun.append(number)
        return turn(f"Done with {number}.", gate=f"gate {number}")

    stage.script.on(answered, again=True)
    stage.bot("Worker")
    async with api_host(stage, LIMITS__TURNS="10") as api:
        path, tasks = f"{EXECUTE}?wait=0", []
        for number in range(TASKS):
            body = {"agent_type": "worker", "task": f"task {number}"}
            answer = await api.ask("POST", path, json=body, Idempotency_Key=f"task-{number}")
            assert answer.status == 202
            tasks.append(answer.json["task_id"])
        await until(lambda: len(begun) == 10)
        states = [(await api.get(f"/api/v1/agent/status/{id}")).json["status"] for id in tasks]
        assert (states.count("running"), states.count("queued")) == (10, 90)
        # One that is cancelled while it waits needs no slot for that.
        cancelled = await api.ask("DELETE", f"/api/v1/agent/task/{tasks[50]}")
        assert cancelled.json["status"] == "cancelled"
        # The first ten run; each that ends lets the oldest of the others begin.
        assert sorted(begun) == [*range(10)]
        for number in range(STEPS):
            stage.sim.gates.open(f"gate {number}")
            await until(lambda wanted=11 + number: len(begun) == wanted)  # type: ignore[misc]
            assert begun[-1] == 10 + number
        for number in range(TASKS):
            stage.sim.gates.open(f"gate {number}")
        for number, id in enumerate(tasks):
            # The same request again waits for the end of the task that it began.
            body = {"agent_type": "worker", "task": f"task {number}"}
            found = await api.ask("POST", EXECUTE, json=body, Idempotency_Key=f"task-{number}")
            assert found.json["task_id"] == id
            assert found.json["output"] == (f"Done with {number}." if number != 50 else "")
        assert sorted(begun) == [number for number in range(TASKS) if number != 50]
