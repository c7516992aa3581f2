"""Skills: tools that are web addresses, called without ever reaching where they must not.

A name is resolved once, each of its addresses is judged, and the connection goes to an address that
was judged; a redirect is never followed. What comes back is data of a bounded size.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from bot.tools.mcp.tool import printable
from registry.addresses import is_internal

TIMEOUT_SECONDS = 30.0
RESULT_LIMIT = 200_000
INSTANCE = "default"

REFUSED = "Skill webhook refused: its address leads to an internal host"
TIMED_OUT = "Skill webhook timed out"
NOT_SENT = "Skill webhook could not be reached"
LOST = "Skill webhook broke off; it may or may not have taken effect"
NOT_JSON = "Skill webhook did not answer with JSON"
TOO_LONG = f"Skill webhook answered with more than {RESULT_LIMIT} bytes"


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A skill ready to be called; `headers` hold its secret.

    `internal` says that its own host may be internal, since the operator wrote it or listed it.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any] = field(hash=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    internal: bool = False

    @property
    def key(self) -> str:
        """`skill:<name>`, by which policy knows it."""
        return f"skill:{self.name}"

    @property
    def digest(self) -> str:
        """A digest of what the skill is and where it leads, without its secret."""
        said = [self.name, self.description, self.input_schema, self.url]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answered:
    """What a skill came to, as the spec's JSON; `unknown` where it may have taken effect."""

    body: Any
    error: bool = False
    unknown: bool = False

    @property
    def text(self) -> str:
        """The JSON as text."""
        return json.dumps(self.body, ensure_ascii=False)


class Forbidden(OSError):
    """An address that a skill must not reach."""


class Judging(AbstractResolver):
    """Resolves a name and gives back only addresses that are not internal."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses; raises Forbidden where one of them is internal."""
        found = await self._inner.resolve(host, port, family)
        if is_internal(host) or any(is_internal(one["host"]) for one in found):
            raise Forbidden(REFUSED)
        return found

    async def close(self) -> None:
        """Nothing to close."""
        await self._inner.close()


class Webhooks:
    """Calls skills; one session for those that may be internal, one for all others."""

    def __init__(self, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], person: str, seconds: float
    ) -> Answered:
        """The skill's answer; whatever goes wrong is one as well."""
        if wrong := invalid(skill.input_schema, arguments):
            return Answered({"error": f"Invalid input: {wrong}"}, error=True)
        host = urlsplit(skill.url).hostname or ""
        if not skill.internal and is_internal(host):
            return Answered({"error": REFUSED}, error=True)
        body = {"input": arguments, "context": {"instance_id": INSTANCE, "user_id": person}}
        timeout = aiohttp.ClientTimeout(total=min(self._seconds, seconds))
        try:
            async with self._session(skill.internal).post(
                skill.url,
                data=orjson.dumps(body),
                headers={"Content-Type": "application/json", **skill.headers},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                return await _read(response)
        except TimeoutError:
            return Answered({"error": TIMED_OUT, "retry": True}, error=True, unknown=True)
        except (aiohttp.ClientError, OSError) as error:
            return _failed(error)

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, internal: bool) -> aiohttp.ClientSession:
        if internal not in self._sessions:
            resolver = None if internal else Judging()
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=64)
            self._sessions[internal] = aiohttp.ClientSession(
                connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[internal]


def invalid(schema: Mapping[str, Any], arguments: Any) -> str | None:
    """What is wrong with a call's input, in a sentence; None where it fits the schema."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    error = next(iter(Draft202012Validator(schema).iter_errors(arguments)), None)
    return None if error is None else f"{printable(error.message, 300)} at {error.json_path[:80]}"


async def _read(response: aiohttp.ClientResponse) -> Answered:
    status = response.status
    if status >= 300:
        return Answered(_refusal(status), error=True, unknown=status >= 500)
    raw = b""
    async for chunk in response.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > RESULT_LIMIT:
            return Answered({"error": TOO_LONG}, error=True)
    try:
        return Answered(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return Answered({"error": NOT_JSON}, error=True)


def _refusal(status: int) -> dict[str, Any]:
    """The spec's shape of a refusal, with what the model can make of it."""
    body: dict[str, Any] = {"error": f"Skill webhook error: {status}"}
    if status == 401:
        body["action_required"] = "refresh_token"
    if status == 429 or status >= 500:
        body["retry"] = True
    return body


def _failed(error: Exception) -> Answered:
    """A connection that was not made, or broke; its own words name addresses, so they stay here."""
    if isinstance(error, Forbidden) or isinstance(error.__cause__, Forbidden):
        return Answered({"error": REFUSED}, error=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Answered({"error": NOT_SENT, "retry": True}, error=True)
    return Answered({"error": LOST}, error=True, unknown=True)
