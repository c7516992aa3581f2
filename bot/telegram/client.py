"""A client of the Bot API: one call, one JSON answer, typed errors.

Only this module puts the token into a URL; it knows nothing of chats, order or rate limits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson
from pydantic import SecretStr

from bot.errors import ConfigError
from bot.ops.lenient_json import JsonTooDeep, dumps, loads_object
from bot.telegram import errors

POLL_MARGIN: Final = 10.0
"""Seconds that a poll may take beyond the time the server was asked to hold it."""

_CONNECT: Final = 10.0
_PIECE: Final = 64 * 1024
_PATH: Final = re.compile(r"[A-Za-z0-9_./ -]{1,512}")
_FIRST_UPDATE: Final = re.compile(
    rb'\s*\{\s*"ok"\s*:\s*true\s*,\s*"result"\s*:\s*\[\s*\{\s*"update_id"\s*:\s*(\d{1,15})\b'
)
"""The first update's id in a batch that cannot be read: no text in an update can pass for it."""
_JSON: Final = {"Content-Type": "application/json"}
# Raised by the connector alone, before a byte of the request is written. Everything else, also a
# kept-alive connection that turns out to be closed, may have reached the server.
_NEVER_LEFT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
_REASONS: Final[dict[type[Exception], str]] = {
    aiohttp.ConnectionTimeoutError: "it timed out",
    aiohttp.ClientConnectorDNSError: "the host name cannot be resolved",
    aiohttp.ClientConnectorCertificateError: "its certificate is not trusted",
    aiohttp.ClientConnectorSSLError: "TLS failed",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    retry_after: str | None
    body: bytes


def new_session(proxy: str | None = None) -> aiohttp.ClientSession:
    """The one session that all bots share; call it inside the running loop, close it at the end.

    Connections are not limited (each long poll holds one) and live 75 s idle; names are cached
    for five minutes; all share aiohttp's one verifying TLS context. Cookies, netrc and proxy
    variables of the environment are not read: a proxy is given by name.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=75, ttl_dns_cache=300)
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, cookie_jar=jar, trust_env=False, proxy=proxy)


class TelegramClient:
    """The Bot API of one token."""

    __slots__ = ("_base", "_host", "_reveal", "_session", "_token")

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        token: SecretStr,
        reveal: Callable[[str], str] = str,
    ) -> None:
        """`base_url` is `https://api.telegram.org` or another server's; raises ConfigError.

        `reveal` puts into the text of a message what may be stored nowhere.
        """
        if not base_url.startswith(("https://", "http://")):
            shown = base_url.rpartition("@")[2]
            raise ConfigError(f"Bot API base URL {shown!r} is not valid: use http(s)://host[:port]")
        self._session = session
        self._base = base_url.rstrip("/")
        self._host = self._base.partition("://")[2].rpartition("@")[2]
        self._token = token
        self._reveal = reveal

    def __repr__(self) -> str:
        return f"TelegramClient({self._host})"

    async def call(self, method: str, params: Mapping[str, Any], *, timeout: float) -> Any:
        """The `result` of one method within `timeout` seconds; raises `TelegramError` kinds.

        It is `NotSent` only where no byte left us; connecting may take half of the time, at most
        10 s. An answer that cannot be read is `FateUnknown`.
        """
        if "text" in params:
            params = {**params, "text": self._reveal(params["text"])}
        answer = await self._post(method, params, timeout)
        try:
            return self._result(method, answer, loads_object(answer.body))
        except JsonTooDeep:
            raise self._failure(method, answer, None) from None

    async def updates(
        self, offset: int | None, limit: int, timeout: int, allowed: Sequence[str]
    ) -> list[tuple[int, bytes]]:
        """One getUpdates: (update id, the update's JSON) in the server's order.

        `timeout` is how long the server may hold the poll, in seconds; 10 s are added for the way.
        """
        params = {"limit": limit, "timeout": timeout, "allowed_updates": list(allowed)}
        if offset is not None:
            params["offset"] = offset
        answer = await self._post("getUpdates", params, timeout + POLL_MARGIN)
        try:
            batch = self._result("getUpdates", answer, loads_object(answer.body))
        except JsonTooDeep:
            if limit > 1:  # the others need not wait for the one that cannot be read
                return await self.updates(offset, 1, 0, allowed)
            # A stand-in for an update that is nested too deep to be read.
            if (first := _FIRST_UPDATE.match(answer.body)) is None:
                raise self._failure("getUpdates", answer, None) from None
            number = int(first[1])
            return [(number, dumps({"update_id": number, "nested": True}))]
        updates = batch if isinstance(batch, list) else []
        found = [
            one for one in updates if isinstance(one, dict) and type(one.get("update_id")) is int
        ]
        if batch and not found:
            raise errors.ServerFault("getUpdates", "an answer that is not a list of updates")
        return [(update["update_id"], dumps(update)) for update in found]

    async def download(self, file: str, most: int, *, timeout: float) -> bytes:
        """A file of at most `most` bytes by its id; raises `TelegramError` kinds."""
        found = await self.call("getFile", {"file_id": file}, timeout=timeout)
        path = found.get("file_path") if isinstance(found, dict) else None
        if not isinstance(path, str) or not _PATH.fullmatch(path) or ".." in path:
            raise errors.ServerFault("getFile", "an answer without a path")
        url = f"{self._base}/file/bot{self._token.get_secret_value()}/{path}"
        limits = aiohttp.ClientTimeout(total=timeout)
        failed = errors.TelegramError("download", f"{self._host} did not give the file")
        try:
            async with self._session.get(url, timeout=limits, allow_redirects=False) as response:
                content = b""
                async for piece in response.content.iter_chunked(_PIECE):
                    content += piece
                    if len(content) > most:
                        break
        except (TimeoutError, aiohttp.ClientError, OSError):
            raise failed from None  # the library's error would show the URL, and so the token
        if response.status != 200:
            raise failed
        if len(content) > most:
            raise errors.TooLong("download", f"the file is over {most // 1024} KB")
        return content

    async def upload(
        self,
        method: str,
        params: Mapping[str, Any],
        files: Mapping[str, bytes],
        *,
        timeout: float,
    ) -> Any:
        """The `result` of a method that takes files, by the names that `attach://` gives them."""
        form = aiohttp.FormData()
        for name, value in params.items():
            form.add_field(name, value if isinstance(value, str) else orjson.dumps(value).decode())
        for name, content in files.items():
            form.add_field(name, content, filename=f"{name}.jpg", content_type="image/jpeg")
        answer = await self._post(method, form, timeout)
        return self._result(method, answer, loads_object(answer.body))

    def _result(self, method: str, answer: _Answer, document: dict[str, Any] | None) -> Any:
        if document is not None and document.get("ok") is True and "result" in document:
            return document["result"]
        raise self._failure(method, answer, document)

    async def _post(
        self, method: str, params: Mapping[str, Any] | aiohttp.FormData, timeout: float
    ) -> _Answer:
        """The server's answer; raises NotSent and FateUnknown.

        They are raised where the library's errors are gone, since those would show the token.
        """
        if self._session.closed:
            raise errors.NotSent(method, "the session is closed")
        # Without the ceiling the connection always gives up before the whole call does.
        limits = aiohttp.ClientTimeout(
            total=timeout, connect=min(_CONNECT, timeout / 2), ceil_threshold=math.inf
        )
        url = f"{self._base}/bot{self._token.get_secret_value()}/{method}"
        failure: errors.TelegramError
        data: bytes | aiohttp.FormData
        data, headers = (
            (params, None) if isinstance(params, aiohttp.FormData) else (_dump(params), _JSON)
        )
        try:
            async with self._session.post(
                url, data=data, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                content = await response.read()
                after = response.headers.get("Retry-After")
                return _Answer(response.status, response.reason or "", after, content)
        except _NEVER_LEFT as error:
            reason = _connection_failure(error)
            failure = errors.NotSent(method, f"no connection to {self._host}: {reason}")
        except TimeoutError:
            failure = errors.FateUnknown(method, f"no answer from {self._host} in {timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            failure = errors.FateUnknown(method, f"{self._host} broke off: {type(error).__name__}")
        raise failure

    def _failure(
        self, method: str, answer: _Answer, document: dict[str, Any] | None
    ) -> errors.TelegramError:
        if document is None:
            words = self._redacted(f"{answer.status} {answer.reason}, not JSON")
            return errors.error_from(method, answer.status, words, None, answer.retry_after)
        code, said = document.get("error_code"), document.get("description")
        status = code if isinstance(code, int) else answer.status
        words = self._redacted(said if isinstance(said, str) else f"{status} {answer.reason}")
        parameters = document.get("parameters")
        known = parameters if isinstance(parameters, dict) else {}
        return errors.error_from(method, status, words, known, answer.retry_after)

    def _redacted(self, words: str) -> str:
        token = self._token.get_secret_value()
        for form in (token, token.replace(":", "%3A"), token.replace(":", "%3a")):
            words = words.replace(form, "<token>") if form else words
        return words[:500]


def _connection_failure(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and type(error) not in _REASONS:
        return error.os_error.strerror or "failed"
    return _REASONS.get(type(error), type(error).__name__)


def _dump(params: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(params, default=dict)
    except TypeError:
        # Half a surrogate pair is not text for orjson: it goes out as a question mark.
        return json.dumps(params, default=dict, ensure_ascii=False).encode("utf-8", "replace")
