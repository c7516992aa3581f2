"""Skills that are web addresses, called without ever reaching where they must not.

Connections go to addresses that were judged, redirects are not followed, answers are bounded in
size and time. By aiohttp: a call costs 0.2 ms of CPU with it, and 1 ms with httpx2.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bot.ops import lenient_json
from bot.ops.network import Forbidden, proxy_of, public_addresses
from bot.skills.api import SkillContext
from bot.skills.spec import (
    RESULT_LIMIT,
    SkillResult,
    SkillSpec,
    outcome_unknown,
    skill_error,
    timed_out,
)
from registry.urls import is_internal

REFUSED = "Skill webhook refused: its address leads to an internal host"
NOT_A_REQUEST = "Skill webhook was not called: its address or its input cannot be sent"
LOST = "Skill webhook broke off; it may or may not have taken effect"

_ACCEPTING_REDIRECTS = frozenset({302, 303})
"""Redirects that many services use to say that they accepted a request; they are not followed."""


class GuardedResolver(AbstractResolver):
    """Resolves a name to its addresses, none of which is internal."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """The addresses; raises Forbidden where one of them is internal."""
        addresses = await public_addresses(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


class WebhookSkillRunner:
    """Calls webhooks; one session for those that may be internal, one for all others."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> SkillResult:
        """The webhook's answer within `seconds`; a failure is a result as well."""
        url = skill.document.webhook_url or ""
        if not skill.internal and _is_internal_url(url):
            return skill_error(REFUSED)
        who = {"instance_id": context.instance_id, "user_id": context.user_id}
        try:
            proxy = proxy_of(url) if skill.internal or skill.proxied else None
            internal = skill.internal or proxy is not None
            if internal not in self._sessions:
                resolver = None if internal else GuardedResolver()
                self._sessions[internal] = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        resolver=resolver, use_dns_cache=False, limit=64
                    ),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    auto_decompress=False,  # a small answer cannot unfold into a large one
                )
            async with self._sessions[internal].post(
                url,
                proxy=proxy,
                data=orjson.dumps({"input": arguments, "context": who}),
                headers={"Content-Type": "application/json", **skill.headers},
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                return await _read(response, arguments.get("id"))
        except TimeoutError:
            return timed_out()
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, Forbidden) or isinstance(error.__cause__, Forbidden):
                return skill_error(REFUSED)
            if isinstance(error, aiohttp.InvalidURL):
                return skill_error(NOT_A_REQUEST)
            if isinstance(error, aiohttp.ClientConnectorError):
                return skill_error("Skill webhook could not be reached", retry=True)
            return skill_error(LOST, unknown=True)
        except (ValueError, TypeError):  # a header, an address or a number that no request can hold
            return skill_error(NOT_A_REQUEST)

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _is_internal_url(url: str) -> bool:
    """Whether the host is internal as the client reads it: to it a circled digit is a digit."""
    try:
        return is_internal(URL(url).raw_host or "")
    except ValueError:
        return False  # then the client cannot read it either, and sends nothing


async def _read(response: aiohttp.ClientResponse, resource: Any) -> SkillResult:
    if response.status >= 300:
        unknown = response.status in _ACCEPTING_REDIRECTS or response.status >= 500
        more: dict[int, dict[str, Any]] = {
            401: {"action_required": "refresh_token"},
            403: {"required_permission": "this skill has no access to what was asked for"},
            404: {"resource": resource if isinstance(resource, str | int) else None},
            429: {"retry": True},
        }
        status = 429 if response.status >= 500 else response.status
        return skill_error(
            f"HTTP error: {response.status}", unknown=unknown, **more.get(status, {})
        )
    raw = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > RESULT_LIMIT:
            return outcome_unknown(f"Skill webhook answered with more than {RESULT_LIMIT} bytes")
    try:
        return SkillResult(lenient_json.loads(bytes(raw)))
    except ValueError:
        return outcome_unknown("Skill webhook did not answer with JSON")
