"""Client of the Messages API: one POST a request, whose answer is streamed as pieces.

The client library is loaded at the first use, in a thread: its import takes a second and more.
Nothing is retried here, and nothing is read from the environment or the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from bot.errors import (
    BrokenStream,
    ConfigError,
    ModelBusy,
    ModelError,
    ModelRefused,
    ModelTimeout,
    StreamTimeout,
)
from bot.messages import Clock, Meter, ModelRequest, Piece
from bot.model.parameters import (
    DEFAULT_URL,
    Parameters,
    is_native,
    parameters,
    with_cache_marks,
    without_cache_marks,
)
from bot.model.rate_limiter import RateLimiter
from bot.model.stream import StreamAccumulator
from bot.ops import lenient_json
from bot.ops.line_reader import LINE_LIMIT, LineSplitter, LineTooLong
from bot.ops.network import DIRECT_LOOPBACK
from registry.errors import InvalidValue
from registry.models import known, wire_id
from registry.urls import web_parts

if TYPE_CHECKING:
    import anthropic
    import httpx2

    Stream = anthropic.AsyncStream[object]

_BLOCK_START = b'"content_block_start"'
"""An event that may hold a call's whole input, whose numbers are kept as they are."""
PIECE_BYTES = 16 * 1024
"""Bytes of a stream that are read before others have their turn."""
MAX_LIMITERS = 1000
KEEP_ALIVE = 100
KEEP_ALIVE_SECONDS = 30.0
DRAIN_SECONDS = 0.5
_NO_SUCH_PATH = (404, 405, 501)


class MessagesModel:
    """A `Model` over the Messages API; made without I/O, connected at the first request."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        clock: Clock,
        *,
        connect_seconds: float = 10.0,
        silence_seconds: float = 90.0,
    ) -> None:
        self.base_url = _checked_url(base_url or DEFAULT_URL)
        self._key = api_key.strip()
        self._clock = clock
        self._connect = connect_seconds
        self._silence = silence_seconds
        self._loading = asyncio.Lock()
        self._client: anthropic.AsyncAnthropic | None = None
        self._limiters: dict[str, RateLimiter] = {}

    async def warm(self) -> anthropic.AsyncAnthropic:
        """The client, made and its library loaded off the loop."""
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._load)
            return self._client

    async def close(self) -> None:
        """Close all connections; a later request makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of one answer, then the `Answer`; raises `ModelError` kinds."""
        if refusal := self.unusable():
            raise refusal
        events = await self._open(self._client or await self.warm(), request)
        try:
            async with aclosing(self._pieces(events, request.meter)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            await events.close()

    def unusable(self) -> ModelRefused | None:
        """Why no request can be made with this key, as far as that is known without asking."""
        if not self._key and is_native(self.base_url):
            text = "there is no key for the Messages API: set ANTHROPIC_API_KEY"
            return ModelRefused(text, "no key")
        if not self._key.isascii() or not self._key.isprintable() or " " in self._key:
            text = (
                "ANTHROPIC_API_KEY has a character that no key has (a space, a line break, "
                "a letter outside ASCII): set it again"
            )
            return ModelRefused(text, "no real key")
        return None

    async def look_up(self, model: str) -> None:
        """Ask whether the API accepts the key and has a model; raises `ModelError` kinds.

        It costs nothing. Only a server without a list of models is asked for one token.
        """
        import anthropic
        import httpx2

        if refusal := self.unusable():
            raise refusal
        client = self._client or await self.warm()
        try:
            await client.get(f"/v1/models/{quote(wire_id(model), safe='')}", cast_to=object)
        except (anthropic.AnthropicError, httpx2.HTTPError) as error:
            failure, status = self._failure(error), getattr(error, "status_code", None)
        else:
            return
        if is_native(self.base_url) or status not in _NO_SUCH_PATH:
            raise failure
        hello = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
        async with aclosing(self.stream(ModelRequest(model, 1, (), (), (hello,)))) as pieces:
            async for _ in pieces:
                pass

    def _load(self) -> anthropic.AsyncAnthropic:
        import anthropic
        import httpx2

        # Admins learn retirement dates from our own table, where agents are checked.
        warnings.filterwarnings("ignore", r"The model '.*' is deprecated", DeprecationWarning)
        timeout = httpx2.Timeout(self._silence, connect=self._connect, pool=self._connect)
        limits = httpx2.Limits(
            max_connections=0,  # unlimited: the transport takes None for its own default of 100
            max_keepalive_connections=KEEP_ALIVE,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        )
        client = anthropic.AsyncAnthropic(
            api_key=self._key,
            base_url=self.base_url,
            timeout=timeout,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAioHttpClient(
                timeout=timeout,
                limits=limits,
                follow_redirects=False,  # a redirect would carry the key to another host
                mounts=DIRECT_LOOPBACK,
            ),
        )
        # The library also takes headers, and with them keys, from ANTHROPIC_CUSTOM_HEADERS.
        own: dict[str, Any] = {} if is_native(self.base_url) else {"x-api-key": self._key}
        if not self._key:
            own = {"Authorization": anthropic.Omit()}
        client._custom_headers = own  # noqa: SLF001
        return client

    async def _open(self, client: anthropic.AsyncAnthropic, request: ModelRequest) -> Stream:
        import anthropic
        import httpx2

        settings = parameters(request, self.base_url)
        name = wire_id(request.model)
        if (limiter := self._limiters.get(name)) is None:
            if len(self._limiters) > MAX_LIMITERS:
                limited = {n: one for n, one in self._limiters.items() if not one.is_unlimited}
                self._limiters = limited
            limiter = self._limiters[name] = RateLimiter(self._clock, request.model)
        async with limiter.permit() as permit:
            request.meter.sent = True
            try:
                # The typed method copies and checks the whole conversation at each request.
                stream = await client.post(
                    "/v1/messages",
                    content=orjson.dumps(body(request, settings), default=dict),
                    options={"headers": dict(settings.extra_headers)},
                    cast_to=object,
                    stream=True,
                    stream_cls=anthropic.AsyncStream[object],
                )
            except (anthropic.AnthropicError, httpx2.HTTPError) as error:
                failure = self._failure(error)
                request.meter.sent = not _is_surely_free(error)
                if isinstance(error, anthropic.APIStatusError):
                    permit.refused(error.status_code, getattr(failure, "retry_after", None))
            else:
                permit.succeeded()
                return stream
        raise failure  # outside the handler: the library's error holds the request and its key

    def _failure(self, error: Exception) -> ModelError:
        import anthropic

        from bot.model.refusals import retry_after, status_error

        if isinstance(error, anthropic.APIStatusError):
            wait = retry_after(error.response.headers, self._clock.wall())
            return status_error(error.status_code, error.body, wait, self._key)
        if isinstance(error, anthropic.APITimeoutError):
            return ModelTimeout(f"{self.place} did not answer in time")
        cause = type(error.__cause__ or error).__name__
        return ModelBusy(f"{self.place} cannot be reached ({cause})")

    @property
    def place(self) -> str:
        """The server, as people read of it."""
        url = urlsplit(self.base_url)
        return f"the Messages API at {url.hostname}" + (f":{url.port}" if url.port else "")

    @property
    def has_key(self) -> bool:
        """Whether a key is set."""
        return bool(self._key)

    @property
    def fingerprint(self) -> str:
        """A short digest of key and address: it changes when one of them does."""
        return hashlib.sha256(f"{self._key}\n{self.base_url}".encode()).hexdigest()[:16]

    async def _pieces(self, events: Stream, meter: Meter) -> AsyncGenerator[Piece, None]:
        import httpx2

        answer = StreamAccumulator(meter, self._key)
        try:
            async with aclosing(_decoded(events)) as decoded:
                async for event in decoded:
                    for piece in answer.add(event):
                        yield piece
                    if answer.complete:
                        await _drain(decoded)
                        break
        except (httpx2.HTTPError, UnicodeDecodeError) as error:
            silent = isinstance(error, httpx2.TimeoutException)
            how = f"was silent for {self._silence:g} s" if silent else "cut the stream"
            text = f"{self.place} {how} ({type(error).__name__})"
            kinds = (ModelTimeout, StreamTimeout) if silent else (ModelBusy, BrokenStream)
            failure = kinds[answer.started](text)
        else:
            kind = events.response.headers.get("content-type", "")
            if not answer.started and kind and not kind.startswith("text/event-stream"):
                raise ModelRefused(
                    f"the Messages API answered with {kind[:50]} instead of a stream; "
                    "check ANTHROPIC_BASE_URL",
                    "address",
                )
            yield answer.answer()
            return
        raise failure


def _is_surely_free(error: Exception) -> bool:
    """Whether a request cost nothing: the server refused it, or never received it."""
    import aiohttp
    import anthropic
    import httpx2

    cause = error.__cause__
    if isinstance(cause, httpx2.ConnectError):  # also where it was sent, and the server hung up
        return isinstance(cause.__cause__, aiohttp.ClientConnectorError)
    unsent = (httpx2.ConnectTimeout, httpx2.PoolTimeout)
    return isinstance(error, anthropic.APIStatusError) or isinstance(cause, unsent)


def body(request: ModelRequest, settings: Parameters) -> dict[str, Any]:
    """The JSON of a request: settings, prompt and cache marks."""
    given = (request.system, request.tools, request.messages)
    if known(request.model):
        prompt = with_cache_marks(*given, request.passing)
    else:
        prompt = without_cache_marks(*given)
    parts = {"system": prompt.system, "tools": prompt.tools}
    return {
        **settings.body,
        **{name: blocks for name, blocks in parts.items() if blocks},
        **({"tool_choice": {"type": "none"}} if request.no_tools else {}),
        "messages": prompt.messages,
        **settings.extra_body,
        "stream": True,
    }


async def _decoded(events: Stream) -> AsyncGenerator[Mapping[str, Any], None]:
    """The data of each event; raises BrokenStream where one is endless, or is not JSON.

    The library's own reader goes through an event again with each of its lines.
    """
    lines, data, size = LineSplitter(), list[bytes](), 0
    async for piece in _pieces_of(events.response):
        for line in lines.feed(piece):
            size += line.size if isinstance(line, LineTooLong) else len(line)
            if size > LINE_LIMIT:
                break
            field = line.rstrip(b"\r") if isinstance(line, bytes) else b""
            if field.startswith(b"data:"):
                data.append(field.removeprefix(b"data:").removeprefix(b" "))
            elif not field:
                if data:
                    yield _json(b"\n".join(data))
                data, size = [], 0
        if size > LINE_LIMIT or lines.is_endless:
            raise BrokenStream(f"an event of the stream has more than {LINE_LIMIT} bytes")


async def _pieces_of(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """A body in pieces of a bounded size, letting others run between those that came at once."""
    taken = 0
    async for chunk in response.aiter_bytes():
        for at in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[at : at + PIECE_BYTES]
            yield piece
            taken += len(piece)
            if taken >= PIECE_BYTES:
                taken = 0
                await asyncio.sleep(0)


def _json(data: bytes) -> Mapping[str, Any]:
    if data == b"[DONE]":  # other servers end a stream so, as that of another API ends
        return {"type": "[DONE]"}
    try:
        value = orjson.loads(data) if _BLOCK_START not in data else lenient_json.loads(data)
    except ValueError:
        try:  # half of a surrogate pair, whose other half may come next, or bytes that are not text
            value = json.loads(data.decode(errors="replace"))
        except (ValueError, RecursionError) as error:
            raise BrokenStream(f"an event of the stream is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BrokenStream("an event of the stream is not a JSON object")
    return value


async def _drain(decoded: AsyncGenerator[Any, None]) -> None:
    """Read to the end of the body, so that the connection can be used again."""
    import httpx2

    with suppress(TimeoutError, httpx2.HTTPError, UnicodeDecodeError, BrokenStream):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in decoded:
                pass


def _checked_url(base_url: str) -> str:
    try:
        url = web_parts(base_url, printable=False)
        is_bare = not (url.query or url.fragment or url.username or url.password)
    except InvalidValue:
        is_bare = False
    if not is_bare:
        raise ConfigError(
            "ANTHROPIC_BASE_URL is not an address such as https://host/path "
            "(without a user name, a password or a query): set it again"
        )
    return base_url
