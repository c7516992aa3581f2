"""Tokens for a server: the host is an OAuth client with an id and a secret of its own.

The secret goes to the token address in the definition, or in the issuer's own metadata, and nowhere
else: a server that asks for a token never decides where it comes from.
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

from bot.mcp.server_spec import ServerSpec, basic_credentials
from bot.safety.ssrf_guard import CONNECT_SECONDS, GuardedHttpClient, NotRequested, failure_text

ANSWER_LIMIT = 64 * 1024
EARLY_SECONDS = 60.0
NO_EXPIRY_SECONDS = 3600.0
LONGEST_SECONDS = 30 * 24 * 3600.0

_CODE = re.compile(r"[a-z_]{1,40}\Z")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16000}\Z")
_JSON = {"Accept": "application/json"}


class NotAuthorized(NotRequested):
    """No token could be had; says why."""


class TokenSource:
    """The tokens of one server's OAuth client: fetched once, and again before they expire.

    `now` is a clock in seconds that only goes forward. Each token is a secret from then on.
    """

    def __init__(self, spec: ServerSpec, now: Callable[[], float] = time.monotonic) -> None:
        assert spec.definition.auth is not None
        self._spec = spec
        self._auth = spec.definition.auth
        self._now = now
        self._lock = asyncio.Lock()
        self._token = ""
        self._valid_until = 0.0

    async def token(self, unlike: str = "") -> str:
        """A token that is still valid, and not `unlike`; raises NotAuthorized if there is none."""
        async with self._lock:
            if self._token in ("", unlike) or self._now() >= self._valid_until:
                self._token, seconds = await self._fetch()
                self._spec.secrets.renew(self._spec.share_key, self._token)
                self._valid_until = self._now() + seconds - min(EARLY_SECONDS, seconds / 2)
            return self._token

    async def _fetch(self) -> tuple[str, float]:
        auth = self._auth
        url, in_body = await self._endpoint()
        form = {"grant_type": "client_credentials", "resource": self._spec.url.partition("#")[0]}
        if auth.scopes:
            form["scope"] = " ".join(auth.scopes)
        headers = _JSON
        if in_body:
            form |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
        else:
            basic = base64.b64encode(basic_credentials(auth).encode()).decode()
            headers = _JSON | {"Authorization": f"Basic {basic}"}
        request = httpx2.Request("POST", url, data=form, headers=headers)
        return _token_in(*await self._answer(request))

    async def _endpoint(self) -> tuple[str, bool]:
        """Where tokens come from, and whether the secret goes there in the body."""
        in_body = self._auth.method == "post"
        if self._auth.token_url is not None:
            return self._auth.token_url, in_body
        issuer = self._auth.issuer or ""
        found = await self._metadata(issuer)
        url = str(found["token_endpoint"])
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise NotAuthorized("auth.issuer: its metadata name an invalid token address")
        if parts.scheme == "http" and urlsplit(issuer).scheme == "https":
            raise NotAuthorized("auth.issuer: its metadata name a token address without https")
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return url, in_body or "client_secret_basic" not in methods

    async def _metadata(self, issuer: str) -> Mapping[str, Any]:
        """What the issuer says about itself; only metadata with exactly its own name count."""
        for url in metadata_urls(issuer, issuer):
            status, answer = await self._answer(httpx2.Request("GET", url, headers=_JSON))
            if status == 200 and isinstance(answer.get("token_endpoint"), str):
                if not issuers_match(str(answer.get("issuer")), issuer):
                    raise NotAuthorized("auth.issuer: its metadata are for another issuer")
                return answer
        raise NotAuthorized("auth.issuer: it has no metadata with a token address; give tokenUrl")

    async def _answer(self, request: httpx2.Request) -> tuple[int, dict[str, Any]]:
        """An answer's status and its JSON object, empty where it is none; follows no redirect."""
        named = urlsplit(self._auth.token_url or self._auth.issuer or "")
        here = urlsplit(str(request.url))
        internal = self._spec.internal_auth and here.hostname == named.hostname
        client = GuardedHttpClient(str(request.url), internal=internal, proxied=self._spec.proxied)
        try:
            async with asyncio.timeout(CONNECT_SECONDS), client:
                response = await client.send(request, stream=True)
                return response.status_code, await _json_object(response)
        except TimeoutError:
            raise NotAuthorized("no token: the address did not answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NotAuthorized(f"no token: {failure_text(error)}") from None


async def _json_object(response: httpx2.Response) -> dict[str, Any]:
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
    if status != 200:
        error = answer.get("error")
        code = f" ({error})" if isinstance(error, str) and _CODE.match(error) else ""
        cure = "; check clientId and clientSecret" if error == "invalid_client" else ""
        raise NotAuthorized(f"no token: the address answered HTTP {status}{code}{cure}")
    token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(token, str) or not _TOKEN.match(token) or str(kind).lower() != "bearer":
        raise NotAuthorized("no token: the address answered without a bearer token")
    try:
        seconds = float(answer["expires_in"])
    except (KeyError, TypeError, ValueError):
        seconds = NO_EXPIRY_SECONDS
    return token, max(0.0, min(seconds, LONGEST_SECONDS))
