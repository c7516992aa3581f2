"""Tasks over HTTP: document 5's own requests, at a real host."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, Cut, HttpError, Stall, Text, Turn, turn
from tests.host.stage import staged, until
from tests.host.tool_agent import ToolAgent, results, write
from tests.http.accounts import Talk, talking, write_instance
from tests.http.api import OPERATOR_KEY, ApiAnswer

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXECUTE = "/api/v1/agent/execute"
LONG = " ".join(f"word{number}\n" for number in range(40))
REQUEST = {
    "agent_type": "rfp",
    "task": "Analyze this RFP and extract requirements",
    "tenant_id": "tenant-123",
    "user_id": "user-456",
    "metadata": {"project_id": "project-789", "document_url": "https://..."},
    "stream": False,
    "specialization": {"language": "en", "vertical": "technology", "region": "uae"},
}
"""Document 5, 16.4, as it is."""


@dataclass
class Office:
    """A host with an agent for everybody, two for the operator alone, and a clerk who asks.

    An instance of acme has the name of one of those two, but for its hyphen.
    """

    talk: Talk
    agent: ToolAgent
    key: str

    @property
    def script(self) -> Any:
        return self.talk.stage.script

    def requests(self) -> list[dict[str, Any]]:
        return self.talk.stage.requests()

    async def execute(
        self, key: str | None = None, *, query: str = "", once: str | None = None, **fields: Any
    ) -> ApiAnswer:
        """16.4's request with other fields; those that are None are left out."""
        body = {name: value for name, value in {**REQUEST, **fields}.items() if value is not None}
        headers = {} if once is None else {"Idempotency_Key": once}
        path = f"{EXECUTE}{query}"
        return await self.talk.client.ask("POST", path, key or self.key, json=body, **headers)

    async def status(self, task: str, key: str | None = None) -> ApiAnswer:
        return await self.talk.client.get(f"/api/v1/agent/status/{task}", key or self.key)

    async def cancel(self, task: str, key: str | None = None) -> ApiAnswer:
        path = f"/api/v1/agent/task/{task}"
        return await self.talk.client.ask("DELETE", path, key or self.key)

    async def until_state(self, task: str, state: str, key: str | None = None) -> dict[str, Any]:
        return await self.talk.client.until_task(task, state, key or self.key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("tasks")) as stage:
        agent = ToolAgent(
            stage,
            template=True,
            whitelistPatterns=["mcp:desk:slow"],
            toolPolicy={"approvers": ["hostAdmins"]},
        )
        careful = {"template": True, "safetyConfig": {"piiHandling": "redact"}}
        agents: dict[str, dict[str, Any]] = {
            "rfp": {"template": True},
            "careful": careful,
            "private-eye": {},
            "night-watch": {},
        }
        alike = 'agent_type: "rfp"\naccount: "acme"\ninstance_name: "night_watch"\n'
        write_instance(stage.folder / "agent_configs", "acme", "night_watch", alike)
        for name, more in agents.items():
            stage.agents["agents"].append(
                {
                    "id": name,
                    "name": name,
                    "description": f"The agent {name}.",
                    "mcpServerEndpoints": [],
                    "mcpServers": [],
                    "customInstructions": f"You are the agent {name}.",
                    **more,
                }
            )
        hasty = {"approvers": ["hostAdmins"], "approvalMinutes": 0.02}
        stage.agents["agents"].append(
            {
                "id": "hasty",
                "name": "Hasty",
                "template": True,
                "mcpServerEndpoints": [],
                "mcpServers": ["desk"],
                "toolPolicy": hasty,
            }
        )
        async with talking(stage) as talk:
            await until(lambda: any(one.state == "up" for one in talk.host.pool.servers))
            yield Office(talk, agent, await talk.client.make_key(account="tenant-123"))


def pieces(body: bytes) -> Iterator[Any]:
    """The data of a stream's events: parsed, but for [DONE]."""
    for block in body.decode().split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: "):
                data = line.removeprefix("data: ")
                yield data if data == "[DONE]" else json.loads(data)


# --- the document's own request ------------------------------------------------------------------


async def test_the_documents_own_request_gives_a_result_that_its_status_has_too(
    office: Office,
) -> None:
    office.script.on("Three requirements.")
    answer = await office.execute()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    result = answer.json
    task = result.pop("task_id")
    assert result.pop("output_id") == task
    usage = result["metadata"].pop("usage")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert result == {
        "success": True,
        "output": "Three requirements.",
        "artifacts": [],
        "metadata": {
            "agent": "rfp_technology_uae",
            "tools_used": [],
            "model": office.requests()[-1]["model"],
            "completion_status": "complete",
        },
    }
    (own,) = [
        one["text"]
        for one in office.requests()[-1]["system"]
        if one["text"].startswith("You are the agent rfp.")
    ]
    technology, gcc = "## Technology Industry Expertise\n", "## GCC Region Expertise\n"
    assert 0 < own.index(technology) < own.index(gcc)
    message = office.requests()[-1]["messages"][-1]["content"][0]["text"]
    context = "## Context\n- Tenant ID: tenant-123\n- User ID: user-456\n- Additional context: {}\n"
    more = '{"project_id":"project-789","document_url":"https://..."}'
    assert context.format(more) in message
    assert message.endswith("Analyze this RFP and extract requirements")
    shown = (await office.status(task)).json
    assert shown.pop("created_at") <= shown.pop("updated_at")
    shown["result"]["metadata"].pop("usage")
    assert shown == {
        "task_id": task,
        "output_id": task,
        "agent_type": "rfp",
        "status": "completed",
        "result": result,
    }


async def test_each_agent_has_a_route_of_its_own(office: Office) -> None:
    office.script.on("By its own route.")
    body = {"task": "hello"}
    path = "/api/v1/agent/rfp/execute"
    answer = await office.talk.client.ask("POST", path, office.key, json=body)
    assert (answer.status, answer.json["output"]) == (200, "By its own route.")
    assert answer.json["metadata"]["agent"] == "rfp"
    other = {"task": "hello", "agent_type": "clerk"}
    answer = await office.talk.client.ask("POST", path, office.key, json=other)
    assert (answer.status, answer.json["field"]) == (422, "agent_type")


async def test_a_stream_has_text_as_json_and_ends_with_done(office: Office) -> None:
    office.script.on(Turn((Text(LONG),), pace=400.0))
    answer = await office.execute(stream=True)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    found = [*pieces(answer.body)]
    assert found.pop() == "[DONE]"
    assert len(found) > 3
    assert all(one.keys() == {"text"} for one in found)
    assert "".join(one["text"] for one in found) == LONG.strip()
    last = answer.body.decode().rstrip().rpartition("id: ")[2].partition("\n")[0]
    # Who reads on has everything but what they had, and nothing begins anew.
    had = len(office.requests())
    headers = {"Last_Event_ID": f"{last[:24]}-0-0"}
    body = {**REQUEST, "stream": True}
    again = await office.talk.client.ask("POST", EXECUTE, office.key, json=body, **headers)
    assert [*pieces(again.body)][-1] == "[DONE]"
    over = await office.talk.client.ask("POST", EXECUTE, office.key, json=body, Last_Event_ID=last)
    assert (over.status, over.body) == (204, b"")
    assert len(office.requests()) == had


async def test_a_task_that_takes_longer_than_the_wait_is_followed_by_its_status(
    office: Office,
) -> None:
    for query, gate in (("?wait=0", "at once"), ("?wait=1", "later")):
        office.script.on(turn("Done.", gate=gate))
        answer = await office.execute(query=query)
        assert answer.status == 202
        task = answer.json["task_id"]
        assert answer.headers["Location"] == f"/api/v1/agent/status/{task}"
        assert answer.json["status"] in ("queued", "running")
        running = await office.until_state(task, "running")
        assert running["result"] is None
        office.talk.stage.sim.gates.open(gate)
        done = await office.until_state(task, "completed")
        assert done["result"]["output"] == "Done."
    for wrong in ("-1", "301", "x"):
        answer = await office.execute(query=f"?wait={wrong}")
        assert (answer.status, answer.json["field"]) == (422, "wait")


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"task": ""}, 422, "task"),
        ({"task": " \n"}, 422, "task"),
        ({"task": None}, 422, "task"),
        ({"agent_type": None}, 422, "agent_type"),
        ({"metadata": {"much": "x" * 17_000}}, 422, "metadata"),
        ({"metadata": []}, 422, "metadata"),
        ({"stream": "perhaps"}, 422, "stream"),
        ({"specialization": {"planet": "mars"}}, 422, "specialization.planet"),
        ({"tasks": "x"}, 422, "tasks"),
        ({"tenant_id": "another"}, 403, "tenant_id"),
        ({"tenant_id": "default"}, 403, "tenant_id"),
        ({"agent_type": "poet"}, 404, "agent_type"),
        ({"agent_type": "private-eye"}, 404, "agent_type"),
        ({"agent_type": "acme/sales-smb"}, 404, "agent_type"),
        ({"agent_type": "sales-smb"}, 404, "agent_type"),
        ({"agent_type": "../rfp"}, 404, "agent_type"),
    ],
)
async def test_a_task_that_cannot_run_is_refused_with_its_field(
    office: Office, fields: dict[str, Any], status: int, field: str
) -> None:
    had = len(office.requests())
    answer = await office.execute(**fields)
    assert (answer.status, answer.json["field"]) == (status, field), answer.body
    if status == 404:
        name = fields["agent_type"]
        assert answer.json["detail"].startswith(f"Unknown agent type: {name}. Name an instance")
    assert len(office.requests()) == had


async def test_a_key_runs_what_its_account_may_and_one_of_an_agent_that_alone(
    office: Office,
) -> None:
    client = office.talk.client
    acme = await client.make_key(account="acme")
    only = await client.make_key(account="acme", agent="sales-smb")
    ann = await client.make_key(account="tenant-123", user="ann")

    async def names(key: str) -> dict[str, dict[str, Any]]:
        listed = (await client.get("/api/v1/agents", key)).json["agents"]
        return {one["agent_type"]: one for one in listed}

    async def runs(key: str, name: str) -> bool:
        office.script.on("Yes.", user=f"is {name} there?")
        sent = {"agent_type": name, "task": f"is {name} there?"}
        answer = await office.execute(key, tenant_id=None, user_id=None, **sent)
        assert answer.status in (200, 404)
        return answer.status == 200

    own = await names(office.key)
    assert own.keys() == {"careful", "clerk", "hasty", "rfp"}
    assert own["rfp"] == {
        "agent_type": "rfp",
        "name": "rfp",
        "description": "The agent rfp.",
        "tools": [],
        "specializations": own["rfp"]["specializations"],
        "capabilities": [],
    }
    specializations = own["rfp"]["specializations"]
    assert specializations.keys() == {"verticals", "regions", "languages"}
    assert "technology" in specializations["verticals"]
    assert {"gcc", "uae"} & set(specializations["regions"])
    assert "ar" in specializations["languages"]
    assert "write" in own["clerk"]["tools"]
    of_acme = await names(acme)
    assert {"sales-smb", "sales-enterprise", "night_watch", "clerk", "rfp"} <= of_acme.keys()
    assert of_acme["sales-enterprise"]["name"] == "Enterprise Sales"
    assert not {"strange", "private-eye", "night-watch"} & of_acme.keys()
    assert {"simple-chat", "private-eye", "rfp"} <= (await names(OPERATOR_KEY)).keys()
    assert (await names(only)).keys() == {"sales-smb"}
    for key, wanted, others in (
        (acme, ["sales-smb", "acme/sales-smb", "sales_smb", "rfp"], ["private-eye", "strange"]),
        (only, ["sales-smb"], ["sales-enterprise", "rfp"]),
        (OPERATOR_KEY, ["private-eye", "private_eye"], ["sales-smb", "acme/sales-smb"]),
    ):
        assert [await runs(key, name) for name in wanted] == [True] * len(wanted)
        assert [await runs(key, name) for name in others] == [False] * len(others)
    # A key that names its person is no other's; one that does not may name them.
    answer = await office.execute(ann, user_id="ben")
    assert (answer.status, answer.json["field"]) == (403, "user_id")


async def test_the_ledger_charges_the_account_whose_key_ran_an_agent_of_the_host(
    office: Office,
) -> None:
    office.script.on("Charged.")
    await office.execute()
    lines = await office.talk.host.store.command("KEYS", "ledger:*")
    newest = await office.talk.host.store.command("XREVRANGE", max(lines), "+", "-")
    told = next(str(one) for one in newest)
    assert "api:tenant-123:user-456" in told
    assert "rfp" in told
    assert "default" not in told


async def test_nobody_sees_or_cancels_the_task_of_another_key(office: Office) -> None:
    client = office.talk.client
    office.script.on("Mine.")
    task = (await office.execute()).json["task_id"]
    unknown = (await client.get("/api/v1/nothing", office.key)).body
    colleague = await client.make_key(account="tenant-123", role="instance_admin")
    other = await client.make_key(account="acme")
    for key in (colleague, other, OPERATOR_KEY):
        for answer in (await office.status(task, key), await office.cancel(task, key)):
            assert (answer.status, answer.body) == (404, unknown)
    for id in ("0" * 24, "x", "%2e%2e"):
        for answer in (await office.status(id), await office.cancel(id)):
            assert (answer.status, answer.body) == (404, unknown)
    # The session of a chat is no task.
    office.script.on("A chat.")
    _, chat = await office.talk.chat("hello", other)
    assert (await office.status(chat["output_id"], other)).status == 404


# --- once ----------------------------------------------------------------------------------------


async def test_a_task_with_an_idempotency_key_runs_once_and_another_body_is_refused(
    office: Office,
) -> None:
    office.script.on("Only once.")
    had = len(office.requests())
    first, second = await asyncio.gather(*(office.execute(once="once") for _ in range(2)))
    assert (first.status, first.json) == (200, second.json)
    assert first.json["output"] == "Only once."
    stream = await office.execute(once="once", stream=True)
    assert [*pieces(stream.body)] == [{"text": "Only once."}, "[DONE]"]
    at_once = await office.execute(once="once", query="?wait=0")
    assert (at_once.status, at_once.json) == (200, first.json)
    others: tuple[dict[str, Any], ...] = (
        {"task": "another"},
        {"agent_type": "clerk"},
        {"metadata": {}},
        {"user_id": "user-7"},
        {"specialization": {"vertical": "food"}},
    )
    for other in others:
        refused = await office.execute(once="once", **other)
        assert (refused.status, refused.json["field"]) == (422, "Idempotency-Key"), other
    # Once the events have expired, the journal has the same answer.
    store, task = office.talk.host.store, first.json["task_id"]
    line = f"api:tenant-123:task:{task}"
    await store.command("DEL", f"{{{line}}}:events:{task}")
    shown = (await office.status(task)).json
    assert (shown["status"], shown["result"]["output"]) == ("completed", "Only once.")
    for answer in (await office.execute(once="once"), await office.execute(once="once")):
        assert answer.json == first.json
    stream = await office.execute(once="once", stream=True)
    assert [*pieces(stream.body)] == [{"text": "Only once."}, "[DONE]"]
    assert len(office.requests()) == had + 1
    # What would stay forever elsewhere has an end.
    await until(lambda: office.talk.host.http_lines.served == 0)
    for name in await store.command("KEYS", f"{{{line}}}:*"):
        assert await store.command("PTTL", name) > 0, name


async def test_what_is_kept_of_a_task_is_what_was_let_out(office: Office) -> None:
    office.script.on("Write to ann.smith@example.org about it.")
    first = (await office.execute(agent_type="careful")).json
    assert "ann.smith" not in first["output"]
    task = first["task_id"]
    line = f"api:tenant-123:task:{task}"
    await office.talk.host.store.command("DEL", f"{{{line}}}:events:{task}")
    assert (await office.status(task)).json["result"]["output"] == first["output"]


# --- cancelling ----------------------------------------------------------------------------------


async def test_a_cancelled_task_stops_its_model_and_stays_cancelled(office: Office) -> None:
    office.script.on(Turn((Text(LONG),), fault=Stall(events=12)))
    task = (await office.execute(query="?wait=0")).json["task_id"]
    await office.until_state(task, "running")
    cancelled = await office.cancel(task)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    result = cancelled.json["result"]
    assert (result["success"], result["metadata"]["error_type"]) == (False, "Cancelled")
    had = len(office.requests())
    again = await office.cancel(task)
    assert (again.status, again.json) == (200, cancelled.json)
    assert (await office.status(task)).json == cancelled.json
    assert len(office.requests()) == had
    office.script.on("Over.")
    over = (await office.execute()).json["task_id"]
    assert (await office.cancel(over)).json["status"] == "completed"


async def test_a_cancelled_task_stops_its_tool_and_the_model_is_not_asked_again(
    office: Office,
) -> None:
    office.script.on(turn("I begin.", Call("desk__slow", {"text": "slowly"})))
    task = (await office.execute(query="?wait=0", agent_type="clerk")).json["task_id"]
    await until(lambda: "slow slowly" in office.agent.done)
    had = len(office.requests())
    cancelled = (await office.cancel(task)).json
    assert cancelled["status"] == "cancelled"
    assert cancelled["result"]["output"].startswith("I begin.")
    assert cancelled["result"]["metadata"]["tools_used"] == ["slow"]
    assert len(office.requests()) == had
    await until(lambda: office.talk.host.http_lines.served == 0)


# --- questions -----------------------------------------------------------------------------------

APPROVALS = "/api/v1/approvals"


@dataclass
class Question:
    """A task of the clerk that waits, and who may and may not answer."""

    task: str
    asked: dict[str, Any]
    key: str
    boss: str

    @property
    def path(self) -> str:
        return f"{APPROVALS}/{self.asked['id']}"


async def ask(office: Office, *script: Any, agent: str = "clerk") -> Question:
    """A task of somebody who may not answer; it waits."""
    client = office.talk.client
    key = await client.make_key(account="tenant-123", user="asker")
    boss = await client.make_key(account="tenant-123", role="instance_admin", user="boss")
    office.script.on(*script)
    answer = await office.execute(key, agent_type=agent, task="write hello", user_id="asker")
    assert (answer.status, answer.json["status"]) == (202, "suspended")
    task = answer.json["task_id"]
    assert answer.headers["Location"] == f"/api/v1/agent/status/{task}"
    return Question(task, answer.json["approval"], key, boss)


async def test_a_task_that_must_be_approved_is_suspended_and_goes_on_once_it_is(
    office: Office,
) -> None:
    client, had = office.talk.client, len(office.agent.done)
    asked = await ask(office, write(), "It is written.")
    shown = (await office.status(asked.task, asked.key)).json
    assert (shown["status"], shown["result"]) == ("suspended", None)
    assert shown["approval"] == asked.asked
    for key in (asked.key, asked.boss):
        (listed,) = (await client.get(APPROVALS, key)).json["approvals"]
        assert (listed["id"], listed["task_id"]) == (asked.asked["id"], asked.task)
        assert (listed["tool"], listed["arguments"]) == ("mcp:desk:write", {"text": "hello"})
        assert listed["expires_at"].endswith("+00:00")
    yes = {"decision": "approve"}
    refused = await client.ask("POST", asked.path, asked.key, json=yes)
    assert refused.status == 403  # who asks may not answer here
    assert len(office.agent.done) == had
    body = {**REQUEST, "stream": True, "user_id": "asker"}
    reading = asyncio.create_task(
        client.ask("POST", EXECUTE, asked.key, json=body, Last_Event_ID=f"{asked.task}-0-0")
    )
    decided = await client.ask("POST", asked.path, asked.boss, json=yes)
    assert (decided.status, decided.json["task_id"]) == (200, asked.task)
    assert decided.json["status"] in ("running", "completed")
    found = [*pieces((await reading).body)]
    waiting = next(one for one in found if "status" in one)
    assert (waiting["status"], waiting["approval"]["task_id"]) == ("suspended", asked.task)
    assert found[-1] == "[DONE]"
    over = (await office.status(asked.task, asked.key)).json
    assert over["status"] == "completed"
    assert over["result"]["output"].endswith("It is written.")
    assert over["result"]["metadata"]["tools_used"] == ["write"]
    assert office.agent.done[had:] == ["write hello"]
    again = await client.ask("POST", asked.path, asked.boss, json={"decision": "deny"})
    assert (again.status, again.json["type"]) == (409, "urn:switchboard:problem:decided-before")
    assert "approved" in again.json["detail"]


async def test_a_denied_task_hears_the_reason_and_ends(office: Office) -> None:
    had = len(office.agent.done)
    asked = await ask(office, write(), "Then not.")
    no = {"decision": "deny", "reason": "it is too early"}
    decided = await office.talk.client.ask("POST", asked.path, asked.boss, json=no)
    assert (decided.status, decided.json["task_id"]) == (200, asked.task)
    over = await office.until_state(asked.task, "completed", key=asked.key)
    assert over["result"]["output"].endswith("Then not.")
    assert "it is too early" in results(office.talk.stage)[-1]
    assert len(office.agent.done) == had


async def test_a_question_whose_time_is_over_is_not_approved_and_cannot_be_any_more(
    office: Office,
) -> None:
    had = len(office.agent.done)
    asked = await ask(office, write(), "Nobody answered.", agent="hasty")
    over = await office.until_state(asked.task, "completed", key=asked.key)
    assert over["result"]["output"].endswith("Nobody answered.")
    yes = {"decision": "approve"}
    refused = await office.talk.client.ask("POST", asked.path, asked.boss, json=yes)
    assert (refused.status, "expired" in refused.json["detail"]) == (409, True)
    assert len(office.agent.done) == had


async def test_a_suspended_task_can_be_cancelled(office: Office) -> None:
    had = len(office.agent.done)
    asked = await ask(office, write())
    cancelled = (await office.cancel(asked.task, asked.key)).json
    assert cancelled["status"] == "cancelled"
    refused = await office.talk.client.ask(
        "POST", asked.path, asked.boss, json={"decision": "approve"}
    )
    assert refused.status == 409
    assert len(office.agent.done) == had


# --- failures ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def impatient(office: Office, seconds: float) -> AsyncIterator[None]:
    """The host waits so long for the model's next byte."""
    client = await office.talk.host._model._model.warm()
    before, client.timeout = client.timeout, seconds
    try:
        yield
    finally:
        client.timeout = before


async def test_a_model_that_does_not_answer_in_time_is_asked_three_times_after_2_and_4_seconds(
    office: Office,
) -> None:
    times: list[float] = []

    def silent(_request: Any) -> Turn:
        times.append(time.monotonic())
        return turn("Late.", fault=Stall(events=0))

    office.script.on(silent, silent, silent)
    async with impatient(office, 0.3):
        answer = await office.execute()
    assert answer.status == 200
    assert (answer.json["success"], answer.json["output"]) == (
        False,
        "Request timed out after multiple retries",
    )
    metadata = answer.json["metadata"]
    assert (metadata["error_type"], metadata["completion_status"]) == ("TimeoutError", "partial")
    first, second, third = times
    assert 2.3 <= second - first < 4
    assert 4.3 <= third - second < 6
    shown = (await office.status(answer.json["task_id"])).json
    assert (shown["status"], shown["result"]["output"]) == ("failed", answer.json["output"])


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([HttpError(401)], "ModelRefused"),
        ([HttpError(400, "messages.0: what is this?")] * 9, "RequestRefused"),
    ],
)
async def test_any_other_failure_says_error_and_its_kind(
    office: Office, faults: list[Any], kind: str
) -> None:
    rules = [office.script.on(turn(fault=one)) for one in faults]
    answer = await office.execute()
    for rule in rules:
        rule.turns.clear()
    assert (answer.status, answer.json["success"]) == (200, False)
    assert answer.json["output"].startswith("Error: ")
    assert answer.json["metadata"]["error_type"] == kind
    assert answer.json["artifacts"] == []


async def test_a_stream_that_fails_says_so_before_it_is_done(office: Office) -> None:
    office.script.on(Turn((Text(LONG),), fault=Cut(events=12), pace=200.0))
    answer = await office.execute(stream=True)
    *texts, error, done = pieces(answer.body)
    assert done == "[DONE]"
    assert LONG.startswith("".join(one["text"] for one in texts))
    assert error["error"].startswith("Error: ")
    assert error["partial"] is True
    task = answer.body.decode()[4:28]
    result = (await office.status(task)).json["result"]
    assert result["metadata"]["partial_output"] == "".join(one["text"] for one in texts)
