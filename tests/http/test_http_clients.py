"""The examples for those who program, in the page of clients and in the OpenAPI document, run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio

from bench.host import ROOT
from bot.http.api.app import make_app
from bot.http.api.openapi import openapi_document
from deploy.api_page import PAGE as API_PAGE
from deploy.api_page import page
from simulators.messages.turns import Text, Turn
from tests.host.stage import staged
from tests.http.accounts import talking
from tests.http.api import OPERATOR_KEY, Client, filled
from tests.http.test_contract import furnished

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = ROOT / "docs/http-clients.md"
URL = "http://127.0.0.1:8080"
BLOCKS = re.findall(r"```(sh|python|javascript)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
ANSWER = " ".join(f"word{number}" for number in range(60))
PROGRAMS = {
    "sh": ("bash", "-euo", "pipefail"),
    "python": (sys.executable,),
    "javascript": ("node", "--input-type=module", "-"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A host that answers like OpenAI as well; its model says the same to everybody."""
    async with (
        staged(tmp_path_factory.mktemp("clients")) as stage,
        talking(stage, HTTP_FACES="openai", MODELS__ALLOWED="gpt-4") as talk,
    ):
        stage.script.on(Turn((Text(ANSWER),), pace=600.0), again=True)
        yield talk.client


@contextlib.asynccontextmanager
async def cutting(url: str) -> AsyncIterator[str]:
    """A way to a host on which the first connection is cut in the middle of a stream."""
    host, cut, running = urlsplit(url), asyncio.Event(), set[asyncio.Task[None]]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            if not cut.is_set() and b"event: message" in piece:
                cut.set()
                return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host.hostname, host.port)
        ways = [pass_on(reader, back), pass_on(there, writer)]
        tasks = {asyncio.create_task(one) for one in ways}
        running.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in tasks:
            one.cancel()
        writer.close()
        back.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert cut.is_set()


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda one: f"{one}-{BLOCKS[one][0]}")
async def test_every_example_of_the_page_of_clients_runs(
    client: Client, tmp_path: Path, number: int
) -> None:
    language, text = BLOCKS[number]
    program = PROGRAMS[language]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed: {PAGE.name}, example {number}, was not run")
    (tmp_path / ".curlrc").write_text("fail-with-body\nnoproxy = *\n")
    async with contextlib.AsyncExitStack() as stack:
        url = client.host.url
        if language != "sh" and "Last-Event-ID" in text:
            url = await stack.enter_async_context(cutting(url))
        ran = await asyncio.create_subprocess_exec(
            *program,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "KEY": OPERATOR_KEY,
                "NO_PROXY": "*",
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await ran.communicate(text.replace(URL, url).encode())
    assert ran.returncode == 0, errors.decode()
    if "curl" in text and "stream?" in text:
        events = re.findall(rb"^data: (.*)$", said, re.MULTILINE)
        assert b"".join(events).decode() == ANSWER
    else:
        assert said.decode().count(ANSWER) == max(1, text.count('simple-chat", messages'))


async def test_the_page_of_clients_has_each_language() -> None:
    assert [language for language, _ in BLOCKS].count("python") >= 3
    assert {language for language, _ in BLOCKS} == set(PROGRAMS)


# --- the OpenAPI document ------------------------------------------------------------------------

DOCUMENT = openapi_document(make_app())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
CANNOT = {
    "what is named is made by another request": {
        ("get", "/api/v1/agent/status/{task_id}"),
        ("delete", "/api/v1/agent/task/{task_id}"),
        ("get", "/api/v1/artifacts/{artifact_id}"),
        ("get", "/api/v1/webhook-secret"),
        ("get", "/api/v1/keys/{key_id}"),
        ("delete", "/api/v1/keys/{key_id}"),
        ("post", "/api/v1/instance/{instance_id}/tuning/rollback/{audit_id}"),
        ("post", "/api/v1/reviews/{agent_id}/approve"),
        ("post", "/api/v1/reviews/{agent_id}/reject"),
        ("post", "/api/v1/approvals/{approval_id}"),
        ("post", "/accounts/{account}/agents/{instance}/stop"),
        ("get", "/api/v1/agent-instances/{preset_id}"),
        ("patch", "/api/v1/agent-instances/{preset_id}"),
        ("delete", "/api/v1/agent-instances/{preset_id}"),
        ("get", "/api/v1/registry/agents/{agent_id}/draft"),
        ("delete", "/api/v1/registry/agents/{agent_id}/draft"),
    },
    "the host has no SECRETS_KEY": {
        ("post", "/api/v1/bots"),
        ("get", "/api/v1/bots/{bot_id}"),
        ("patch", "/api/v1/bots/{bot_id}"),
        ("delete", "/api/v1/bots/{bot_id}"),
        ("delete", "/api/v1/bots/{bot_id}/data"),
    },
    "a browser's cookie is meant": {
        ("post", "/session"),
        ("get", "/session"),
        ("delete", "/session"),
    },
}
"""Operations whose examples cannot succeed on their own."""


def example_of(schema: dict[str, Any]) -> Any:
    """The example of a schema: its own, or one of those of its fields."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found = DOCUMENT["components"]["schemas"][name] if name else schema
    if "example" in found:
        return found["example"]
    fields = found.get("properties", {}).items()
    return {name: field["examples"][0] for name, field in fields if field.get("examples")}


def examples_of(schema: dict[str, Any]) -> list[Any]:
    """The examples of a parameter."""
    found = [one["examples"] for one in (schema, *schema.get("anyOf", ())) if one.get("examples")]
    return found[0] if found else []


def request_of(path: str, operation: dict[str, Any]) -> tuple[str, Any]:
    """The path and the body of an operation's examples."""
    places: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for one in operation.get("parameters", ()):
        if examples := examples_of(one["schema"]):
            places[one["in"]][one["name"]] = quote(str(examples[0]), safe="")
    query = "&".join(f"{name}={text}" for name, text in places["query"].items())
    body = None
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            body = content.get("example") or example_of(content["schema"])
    return filled(path, **places["path"]) + (f"?{query}" if query else ""), body


async def test_every_example_of_the_document_is_answered_as_it_says(client: Client) -> None:
    await furnished(client)
    acme = await client.make_key(account="acme")  # whose instances the examples name
    offered = {"name": "Research agent", "template": True}
    await client.ask("PUT", "/api/v1/registry/agents/research_agent", json=offered)
    left_out = set().union(*CANNOT.values())
    known = {(method, path) for method, path, _ in OPERATIONS}
    assert left_out <= known
    wrong: list[tuple[str, str, int, bytes]] = []
    # What deletes comes last, so that the others find what their examples name.
    for method, path, operation in sorted(OPERATIONS, key=lambda one: one[0] == "delete"):
        if (method, path) in left_out:
            continue
        place, body = request_of(path, operation)
        key = acme if path.startswith("/v1/") else OPERATOR_KEY
        sent = {"json": body, "Change_Reason": "an example"}
        answer = await client.ask(method.upper(), place, key, **sent)
        if answer.status == 409 and b"already-there" in answer.body:  # then make it
            assert (await client.ask("DELETE", place, key, **sent)).status == 204
            answer = await client.ask(method.upper(), place, key, **sent)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        documented = operation["responses"].get(str(answer.status), {"content": {"": 0}})
        wanted = documented.get("content", {})
        if answer.status >= 300 or (wanted and kind not in wanted):
            wrong.append((method, place, answer.status, answer.body[:300]))
    assert not wrong, "\n".join(map(str, wrong))


async def test_the_reference_is_that_of_the_code() -> None:
    assert API_PAGE.read_text("utf-8") == page(DOCUMENT), "run `make docs`"
