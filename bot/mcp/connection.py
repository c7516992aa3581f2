"""One connection to a server: one task opens it, lists, waits until it is lost, and closes it.

It reads what the server offers page by page: its tools, and the texts of its prompts. Knows nothing
of other connections, of retries or of breakers. Importing this module imports the SDK, which takes
a second: it is done in a thread, when the first server is asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import chain, repeat
from typing import Any

import anyio
import mcp
import structlog
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.mcp.refusals import (
    Kind,
    ListUnread,
    foreign,
    is_same_refusal,
    judged,
    reason,
    unread,
    unread_call,
    unread_list,
)
from bot.mcp.result import (
    CallLost,
    ConnectionState,
    RequestState,
    ToolResult,
    current_request,
    error_result,
    result_from,
    unreadable_result,
)
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool, ToolFilter
from bot.mcp.transports.open import open_transport
from bot.ops.tasks import cancel_and_wait, wait_first
from bot.safety.text_safety import printable

_PAGES = 100
_PROMPTS = 20
_PROMPTS_SECONDS = 10.0
_PROMPT_CHARACTERS = 20_000
_PROMPT_READ = 2 * _PROMPT_CHARACTERS
_INSTRUCTIONS = 4_000
_INSTRUCTIONS_READ = 2 * _INSTRUCTIONS
_NOTES_LOGGED = 10
_NOTES = 100

OPEN_SECONDS = 40.0
_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 5.0
_DRAIN_SECONDS = 1.0
_REFRESH_PAUSE = 0.2
_REFRESH_PAUSE_LIMIT = 10.0
_LISTEN_PAUSES = (1.0, 5.0, 30.0)
_IDLE_SECONDS = 120.0
"""After so long a server over HTTP is asked whether it is still there: nothing else shows it."""
_TRUSTED_SECONDS = 5.0
"""If a list comes although a call was refused, a tool's refusals are its own for so long."""
_ERROR_CHARACTERS = 4_000
_LONG_ANSWER = 50_000
_UNANSWERED = (
    MCPError,
    ValidationError,
    TimeoutError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
)
_CHANGES = (types.ToolListChangedNotification, types.PromptListChangedNotification)


async def _pages(read_page: Callable[..., Awaitable[Any]]) -> AsyncIterator[Any]:
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await read_page(cursor=cursor)
        yield page
        cursor = page.next_cursor
        if not cursor:
            return


def _text_of(block: Any) -> str:
    text = getattr(getattr(block, "resource", block), "text", "")
    return text if isinstance(text, str) else ""


class Connection:
    """A connection that `run` opens and keeps; `state` shows when it is lost, and why.

    `tools` and `prompts` are what the server offers: the texts of prompts without arguments.
    `instructions` is what it says of itself when it is asked to begin.
    `notes` say what is left out of its lists, and why.
    """

    def __init__(self, spec: ServerSpec, on_listing: Callable[[Connection], None]) -> None:
        self._spec = spec
        self._on_listing = on_listing
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._client: mcp.Client | None = None
        self._calls: set[object] = set()
        self._check: asyncio.Task[MCPError | None] | None = None
        self._refusal: MCPError | None = None
        self._trusted_until = 0.0
        self.tools: tuple[Tool, ...] = ()
        self.prompts: tuple[str, ...] = ()
        self.instructions = ""
        self.notes: tuple[str, ...] = ()
        self.state = ConnectionState()

    async def run(self) -> None:
        """Connect, list, and stay until the connection is lost; raises what kept it from opening.

        `on_listing` is called with each new listing, first when the connection is ready.
        """
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(OPEN_SECONDS):
                    client = await stack.enter_async_context(
                        mcp.Client(
                            open_transport(self._spec, self.state),
                            read_timeout_seconds=_ANSWER_SECONDS,
                            message_handler=self._on_message,
                            cache=None,
                        )
                    )
                    await self._list(client)
                self._client = client
                self._on_listing(self)
                listener = asyncio.create_task(self._listen(client))
                stack.push_async_callback(cancel_and_wait, [listener])
                await self._refresh_until_lost(client)
                if self._refusal is not None:  # what the server refuses, it refuses at once
                    await self._drained(_DRAIN_SECONDS)
        finally:
            self.state.lose("")

    async def call(
        self, tool: str, arguments: dict[str, Any], seconds: float, cap: int, request: RequestState
    ) -> ToolResult:
        """What the tool answered, including its own errors; raises CallLost.

        Run it in a task of its own; `request` shows at any time whether it was sent.
        """
        if self._client is None or self.state.lost.is_set():
            raise CallLost(self.state.reason or "not connected", sent=False)
        if not _is_encodable(arguments):
            return error_result("The tool was not called: its arguments are not plain JSON.")
        current_request.set(request)
        self._calls.add(request_id := object())
        try:
            raw = await self._client.call_tool(tool, arguments, read_timeout_seconds=seconds)
        except MCPError as error:
            return await self._error_result(error, request)
        except ValidationError:
            return unreadable_result(unread_call(unread()))
        finally:
            self._calls.discard(request_id)
        read = partial(result_from, raw, cap, self._spec.secrets)
        return read() if _is_short(raw) else await asyncio.to_thread(read)

    def why(self, error: BaseException | None) -> str:
        """Why this connection is lost, or was not made, from what `run` raised."""
        return reason(error, self.state, self._spec)

    async def _drained(self, seconds: float) -> None:
        """Wait until all calls have ended, for at most so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._calls:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def probe(self, seconds: float = _PROBE_SECONDS) -> None:
        """Give up the connection if the server does not even list its tools within `seconds`.

        If it refuses, the next list decides.
        """
        if self._client is None or self.state.lost.is_set():
            return
        current_request.set(request := RequestState())
        try:
            async with asyncio.timeout(seconds):
                await self._client.list_tools()
        except ValidationError:
            return  # it answers
        except (TimeoutError, MCPError) as error:
            silent = {types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT}
            if isinstance(error, TimeoutError) or error.code in silent:
                self.state.lose("the server does not answer")
            elif request.refused or judged(error) in (Kind.FORGOTTEN, Kind.FOREIGN, Kind.LOST):
                self.state.changed.set()

    async def _list(self, client: mcp.Client) -> None:
        """Read what the server offers now, without secrets; leaves out prompts that it cannot read.

        Raises MCPError, ValidationError or ListUnread where the tools cannot be read.
        """
        found = ToolFilter(self._spec.secrets, self._spec.definition.allow_credentials)
        texts = list[str]()
        self.state.notes.clear()
        await self._list_tools(client, found)
        if client.server_capabilities.prompts is not None:
            try:
                async with asyncio.timeout(_PROMPTS_SECONDS):
                    await self._read_prompts(client, texts)
            except (MCPError, ValidationError, TimeoutError) as error:
                why = type(error).__name__
                self._log.warning("prompts cannot be read", why=why, read=len(texts))
        notes = [self._spec.redact(note) for note in self.state.notes[:_NOTES]] + found.notes
        self.notes = tuple(" ".join(note.split()) for note in dict.fromkeys(notes))[:_NOTES]
        for note in self.notes[:_NOTES_LOGGED]:
            self._log.warning("tool list", note=note)
        self.tools, self.prompts = found.tools, tuple(filter(None, texts))
        said = (client.instructions or "")[:_INSTRUCTIONS_READ]
        self.instructions = printable(self._spec.secrets.redact(said), _INSTRUCTIONS).strip()

    async def _list_tools(self, client: mcp.Client, found: ToolFilter) -> None:
        """Add the server's tools to those found, even if it does not declare any.

        Then a refusal is not an error.
        """
        is_declared = client.server_capabilities.tools is not None
        try:
            async for page in _pages(client.list_tools):
                await asyncio.to_thread(found.add, page.tools)
                if found.is_full:
                    return
        except MCPError as error:
            kind = judged(error)
            if kind is Kind.UNREADABLE:
                raise ListUnread(unread_list(unread(error))) from error
            if is_declared or kind is not Kind.SAID:
                raise
            found.notes.append("it declares no tools, and lists none")

    async def _read_prompts(self, client: mcp.Client, read: list[str]) -> None:
        """Add the texts one by one: those that came before an error or a timeout are kept."""
        names = {
            prompt.name
            async for page in _pages(client.list_prompts)
            for prompt in page.prompts
            if not any(argument.required for argument in prompt.arguments or ())
        }
        for name in sorted(names)[:_PROMPTS]:
            answer = await client.get_prompt(name)
            texts = (_text_of(message.content)[:_PROMPT_READ] for message in answer.messages)
            text = "\n\n".join(filter(None, texts))[:_PROMPT_READ]
            read.append(printable(self._spec.secrets.redact(text), _PROMPT_CHARACTERS).strip())

    async def _on_message(self, message: object) -> None:
        if isinstance(message, _CHANGES):
            self.state.changed.set()

    async def _error_result(self, error: MCPError, request: RequestState) -> ToolResult:
        """What an error means: a result for the model, or CallLost."""
        text = printable(self._spec.redact(error.message[:_ERROR_CHARACTERS]), 1_000)
        kind = judged(error, refused=request.refused)
        why = request.failure or text if kind is Kind.LOST else text
        if request.refused or kind is Kind.FORGOTTEN or self._may_be_forgotten(kind, request):
            if (refusal := await self._list_refusal()) is not None:
                # In other words than the list, it may be what a tool says that ran.
                is_certain = request.refused or is_same_refusal(error, refusal)
                raise CallLost(why, sent=not is_certain)
            if kind is Kind.FORGOTTEN and not request.refused:
                kind = Kind.SAID  # it means a session of the tool's own
            elif kind is not Kind.SAID:  # this call alone is refused, before it ran
                raise CallLost(why, sent=False, connection=False)
        elif not request.sent:
            raise CallLost(why, sent=False)
        match kind:
            case Kind.UNREADABLE:
                self._log.warning("an answer cannot be read", why=text[:200])
                return unreadable_result(unread_call(unread(error)))
            case Kind.FOREIGN:
                self.state.changed.set()  # a list shows whether anything else answers
                what = printable(self._spec.redact(foreign(error, self._spec)), 1_000)
                raise CallLost(what, sent=True, connection=False)
            case Kind.CLOSED | Kind.LOST:
                raise CallLost(why, sent=True, connection=kind is Kind.CLOSED)
            case _:
                self.state.changed.set()  # it may have been restarted with other tools
                return error_result(f"The server refused the call: {text}")

    def _may_be_forgotten(self, kind: Kind, request: RequestState) -> bool:
        """Whether a server's own word on a call may be on the session: not all say which it is."""
        is_said = kind is Kind.SAID and request.sent
        return is_said and asyncio.get_running_loop().time() >= self._trusted_until

    async def _list_refusal(self) -> MCPError | None:
        """How the server refuses everything we send, if it does: asked once for all refused calls.

        A refusal of one call must not end the others on this connection.
        """
        if self._check is None:
            self._check = asyncio.create_task(self._list_once())
        check = self._check
        self._refusal = await asyncio.shield(check) or self._refusal
        if self._check is check and self._refusal is None:
            self._check = None
            self._trusted_until = asyncio.get_running_loop().time() + _TRUSTED_SECONDS
        return self._refusal

    async def _list_once(self) -> MCPError | None:
        """The refusal of a list, if it is one; an answer that is lost or unreadable is none."""
        assert self._client is not None
        current_request.set(request := RequestState())
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._client.list_tools()
        except MCPError as error:
            if request.refused or judged(error) in (Kind.FORGOTTEN, Kind.SAID):
                return error
        except _UNANSWERED:
            pass
        return None

    async def _refresh_until_lost(self, client: mcp.Client) -> None:
        pause, has_failed = _REFRESH_PAUSE, False
        idle = None if self._spec.definition.transport == "stdio" else _IDLE_SECONDS
        while True:
            await wait_first(self.state.changed, self.state.lost, timeout=idle)
            if self.state.lost.is_set():
                return
            if not self.state.changed.is_set():
                if not self._calls:  # else their answers tell
                    await self.probe(_ANSWER_SECONDS)
                continue
            self.state.changed.clear()
            has_failed = await self._refresh(client, has_failed)
            await wait_first(self.state.lost, timeout=pause)
            # A server that reports changes without an end is asked less and less often.
            changing = self.state.changed.is_set()
            pause = min(2 * pause, _REFRESH_PAUSE_LIMIT) if changing else _REFRESH_PAUSE

    async def _refresh(self, client: mcp.Client, has_failed: bool) -> bool:
        """List again; True if nothing came, which raises if it also `has_failed` the last time."""
        current_request.set(request := RequestState())
        try:
            await self._list(client)
        except (MCPError, ValidationError, ListUnread) as error:
            kind = judged(error) if isinstance(error, MCPError) else Kind.UNREADABLE
            is_lost = kind in (Kind.FORGOTTEN, Kind.CLOSED) or request.refused
            is_silent = isinstance(error, MCPError) and error.code == types.REQUEST_TIMEOUT
            has_none = kind in (Kind.FOREIGN, Kind.LOST) or (is_silent and not self._calls)
            if is_lost or (has_failed and has_none):
                raise
            # Calls that run must not end for this: what was known stays until the next try.
            why = "ValidationError" if isinstance(error, ValidationError) else self.why(error)
            self._log.warning("tools cannot be listed again", why=why)
            self.notes = (f"the last good list stays in use: {why}",)
            self._trusted_until = 0.0
            self._on_listing(self)
            self.state.changed.set()
            return has_none
        self._on_listing(self)
        return False

    async def _listen(self, client: mcp.Client) -> None:
        """Listen for changes: servers of the newest protocol report them only to listeners."""
        tools = client.server_capabilities.tools
        if client.protocol_version < "2026" or tools is None or not tools.list_changed:
            return
        for pause in chain(_LISTEN_PAUSES, repeat(_LISTEN_PAUSES[-1])):
            with suppress(*_UNANSWERED, RuntimeError):
                async with client.listen(
                    tools_list_changed=True, prompts_list_changed=True
                ) as changes:
                    async for _ in changes:
                        self.state.changed.set()
            await asyncio.sleep(pause)
            self.state.changed.set()


def _is_short(raw: types.CallToolResult) -> bool:
    """Whether an answer is quick to read: a long one would hold up all others."""
    size = sum(len(_text_of(block)) for block in raw.content)
    return raw.structured_content is None and size < _LONG_ANSWER


def _is_encodable(arguments: dict[str, Any]) -> bool:
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
