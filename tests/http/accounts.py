"""Accounts with instances, and clients that talk to them over HTTP as curl and browsers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.host.stage import Stage
from tests.http.api import OPERATOR, Client, client_of

INSTANCES = {
    "simple-chat-customer-support": ("simple_chat", 0.3, ["email"]),
    "simple-chat-lead-qualification": ("simple_chat", 0.7, ["crm"]),
    "sales-enterprise": ("sales_agent", 0.5, ["crm", "email"]),
    "sales-smb": ("sales_agent", 0.8, ["crm"]),
}
"""The four instances of acme in document 3."""


def write_instance(folder: Path, account: str, slug: str, text: str) -> None:
    """A config.yaml of an instance."""
    path = folder / account / slug
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(text)


def write_acme(folder: Path) -> None:
    """The instances of acme, as document 3 has them; and one of a type that nobody knows."""
    for slug, (kind, temperature, tools) in INSTANCES.items():
        lines = [f'agent_type: "{kind}"', 'account: "acme"', f'instance_name: "{slug}"']
        lines += ["llm:", '  model: "claude-sonnet-4-6"', f"  temperature: {temperature}"]
        lines += ["  max_tokens: 2000", "tools:"]
        lines += [f"  {tool}:\n    enabled: true" for tool in tools]
        lines += ["context_management:", "  history_limit: 10"]
        if slug == "sales-enterprise":
            lines.append('name: "Enterprise Sales"')
        write_instance(folder, "acme", slug, "\n".join(lines) + "\n")
    strange = 'agent_type: "poet"\naccount: "acme"\ninstance_name: "strange"\n'
    write_instance(folder, "acme", "strange", strange)


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a stream; `data` is None where a block has no data, which is no event."""

    id: str
    kind: str
    data: str | None


def events_in(text: str) -> list[Event]:
    """The events of a stream, by the rules of the HTML standard."""
    found, id = list[Event](), ""
    for block in text.split("\n\n")[:-1]:
        kind, data = "message", list[str]()
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
        if data:
            found.append(Event(id, kind, "\n".join(data)))
    return found


def said(events: list[Event]) -> str:
    """The answer: its pieces, joined."""
    return "".join(one.data or "" for one in events if one.kind == "message")


@dataclass
class Talk:
    """A host with acme's instances, and clients of it."""

    stage: Stage
    client: Client
    folder: Path

    @property
    def host(self) -> Any:
        return self.client.host

    def path(self, slug: str = "sales-smb", account: str = "acme") -> str:
        return f"/accounts/{account}/agents/{slug}"

    async def chat(
        self, message: str, key: str | None, slug: str = "sales-smb", **more: Any
    ) -> tuple[int, dict[str, Any]]:
        body = {"message": message, **more}
        answer = await self.client.ask("POST", f"{self.path(slug)}/chat", key, json=body)
        return answer.status, answer.json


@asynccontextmanager
async def talking(stage: Stage, **environ: str) -> AsyncIterator[Talk]:
    """A host with acme's instances and no bot."""
    folder = stage.folder / "agent_configs"
    write_acme(folder)
    own = {**OPERATOR, "AGENT_CONFIGS_DIR": str(folder), **environ}
    async with stage.host(**own) as host, client_of(host) as client:
        yield Talk(stage, client, folder)


@asynccontextmanager
async def browser(talk: Talk) -> AsyncIterator[Browser]:
    """A browser with a page of the host open, and its own cookies."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Browser(talk, session)


@dataclass
class Browser:
    """Sends what a page of the host sends: its cookies, Origin and Sec-Fetch-Site."""

    talk: Talk
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        origin: str | None = "own",
        site: str | None = "same-origin",
        **headers: str,
    ) -> tuple[int, bytes, Any]:
        url = self.talk.host.url
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if origin is not None and method != "GET":
            sent["Origin"] = url if origin == "own" else origin
        if site is not None:
            sent["Sec-Fetch-Site"] = site
        data = None
        if json is not None:
            data, sent["Content-Type"] = orjson.dumps(json), "application/json"
        async with self.session.request(method, url + path, data=data, headers=sent) as answer:
            return answer.status, await answer.read(), answer.headers
