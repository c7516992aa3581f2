"""Tokens for a server: the host is an OAuth client with an id and a secret of its own.

The secret goes to the token address of the definition, or to the one that the issuer's own metadata
name, and nowhere else: a server that asks for a token never says where from.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls as metadata_urls,
)
from mcp.client.auth.utils import issuers_match

from bot.mcp.server_spec import OAuthCredentials, ServerSpec
from bot.mcp.transports.http import (
    CONNECT_SECONDS,
    UNPROXIED,
    NotAuthorized,
    transport,
    trouble_of,
    trust,
)

ANSWER_LIMIT = 64 * 1024
EARLY_SECONDS = 60.0
NO_EXPIRY_SECONDS = 3600.0

_CODE = re.compile(r"[a-z_]{1,40}\Z")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16000}\Z")


def tokens_of(spec: ServerSpec) -> ClientCredentials | None:
    """Where tokens for this server come from; None where its headers say all."""
    if spec.auth is None:
        return None
    return ClientCredentials(spec.auth, spec.url or "", fetched=spec.renewed)


def _nobody(_token: str) -> None:
    """For tokens that nobody has to know of."""


class ClientCredentials:
    """Tokens of one client: fetched once, and again before they run out.

    `now` is a clock in seconds that only goes forward; `fetched` hears of each new token.
    """

    def __init__(
        self,
        credentials: OAuthCredentials,
        resource: str,
        now: Callable[[], float] = time.monotonic,
        fetched: Callable[[str], None] = _nobody,
    ) -> None:
        self._fetched = fetched
        self._credentials = credentials
        self._resource = resource.partition("#")[0]
        self._now = now
        self._fetching = asyncio.Lock()
        self._token = ""
        self._good_until = 0.0

    async def good(self, unlike: str = "") -> str:
        """A token that is good still, and not `unlike`; raises NotAuthorised where none is."""
        async with self._fetching:
            if self._token in ("", unlike) or self._now() >= self._good_until:
                self._token, lasts = await self._fetch()
                self._fetched(self._token)
                self._good_until = self._now() + lasts - min(EARLY_SECONDS, lasts / 2)
            return self._token

    async def _fetch(self) -> tuple[str, float]:
        known = self._credentials
        found = await _metadata(known) if known.token_url is None else {}
        url, in_body = _endpoint(known, found)
        given = {"grant_type": "client_credentials", "resource": self._resource}
        if known.scopes:
            given["scope"] = " ".join(known.scopes)
        headers = {"Accept": "application/json"}
        if in_body:
            given |= {"client_id": known.client_id, "client_secret": known.client_secret}
        else:
            headers["Authorization"] = f"Basic {base64.b64encode(known.pair.encode()).decode()}"
        asked = httpx2.Request("POST", url, data=given, headers=headers)
        status, answer = await _request_token(asked, known)
        return _token_in(status, answer)


async def _metadata(known: OAuthCredentials) -> Mapping[str, Any]:
    """What the issuer says of itself; only metadata that name this very issuer count."""
    issuer = known.issuer or ""
    for url in metadata_urls(issuer, issuer):
        asked = httpx2.Request("GET", url, headers={"Accept": "application/json"})
        status, answer = await _request_token(asked, known)
        if status == 200 and isinstance(answer.get("token_endpoint"), str):
            if not issuers_match(str(answer.get("issuer")), issuer):
                raise NotAuthorized("auth.issuer: its metadata name another issuer")
            return answer
    raise NotAuthorized("auth.issuer: it has no metadata with a token address; give tokenUrl")


def _endpoint(known: OAuthCredentials, found: Mapping[str, Any]) -> tuple[str, bool]:
    """Where tokens come from, and whether the secret goes there in the body."""
    if known.token_url is not None:
        return known.token_url, known.in_body
    url = str(found["token_endpoint"])
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise NotAuthorized("auth.issuer: its metadata name a token address that is none")
    if parts.scheme == "http" and urlsplit(known.issuer or "").scheme == "https":
        raise NotAuthorized("auth.issuer: its metadata name a token address without https")
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return url, known.in_body or "client_secret_basic" not in methods


def _may_be_internal(known: OAuthCredentials, url: str) -> bool:
    """Whether an address is on the host that the definition names, and that one may be internal."""
    named = urlsplit(known.token_url or known.issuer or "")
    return known.internal and urlsplit(url).hostname == named.hostname


async def _request_token(
    request: httpx2.Request, known: OAuthCredentials
) -> tuple[int, dict[str, Any]]:
    """An answer's status and its JSON object, empty where it is none; no redirect is followed."""
    timeout, url = httpx2.Timeout(CONNECT_SECONDS), str(request.url)
    internal = _may_be_internal(known, url)
    try:
        async with (
            asyncio.timeout(CONNECT_SECONDS),
            httpx2.AsyncClient(
                transport=transport(url, internal=internal, proxied=known.proxied),
                mounts=UNPROXIED,
                headers={"Accept-Encoding": "identity"},
                timeout=timeout,
                verify=trust(),
            ) as client,
        ):
            response = await client.send(request, stream=True)
            return response.status_code, await _object(response)
    except TimeoutError:
        raise NotAuthorized("no token: the address did not answer in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotAuthorized(f"no token: {trouble_of(error)}") from None


async def _object(response: httpx2.Response) -> dict[str, Any]:
    raw = b""
    try:
        async for chunk in response.aiter_raw():
            raw += chunk
            if len(raw) > ANSWER_LIMIT:
                return {}
    finally:
        await response.aclose()
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _token_in(status: int, answer: Mapping[str, Any]) -> tuple[str, float]:
    """The token of an answer, and the seconds for which it is good."""
    if status != 200:
        said = answer.get("error")
        code = f" ({said})" if isinstance(said, str) and _CODE.match(said) else ""
        cure = "; check clientId and clientSecret" if said == "invalid_client" else ""
        raise NotAuthorized(f"no token: the address answered HTTP {status}{code}{cure}")
    token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(token, str) or not _TOKEN.match(token) or str(kind).lower() != "bearer":
        raise NotAuthorized("no token: the address answered without a bearer token")
    lasts = answer.get("expires_in")
    try:
        seconds = float(lasts) if isinstance(lasts, int | float | str) else NO_EXPIRY_SECONDS
    except ValueError:
        seconds = NO_EXPIRY_SECONDS
    return token, max(0.0, min(seconds, 30 * 24 * 3600.0))
