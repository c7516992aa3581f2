"""What a server offers, read page by page: its tools, and the texts of its prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp
from mcp import types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from bot.mcp.tool_spec import Tool, ToolFilter
from bot.ops.redaction import Secrets
from bot.safety.text_safety import printable

_PAGES = 100
_PROMPTS = 20
_PROMPTS_SECONDS = 10.0
_PROMPT_CHARACTERS = 20_000
_PROMPT_READ = 2 * _PROMPT_CHARACTERS
_NOTES_LOGGED = 10


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server offers: tools by name, and the texts of its prompts without arguments."""

    tools: tuple[Tool, ...] = ()
    prompts: tuple[str, ...] = ()


async def list_server(client: mcp.Client, log: Any, secrets: Secrets) -> Listing:
    """The server's listing now, without secrets; prompts that cannot be read are left out.

    Raises MCPError or ValidationError where the tools cannot be read.
    """
    can = client.server_capabilities
    tools = await _tools(client, log, secrets) if can.tools is not None else ()
    prompts = await _prompts(client, log, secrets) if can.prompts is not None else ()
    return Listing(tools, prompts)


async def _tools(client: mcp.Client, log: Any, secrets: Secrets) -> tuple[Tool, ...]:
    found = ToolFilter(secrets)

    async def read_page(cursor: str | None) -> str | None:
        answer = await client.list_tools(cursor=cursor)
        await asyncio.to_thread(found.add, answer.tools)
        return None if found.is_full else answer.next_cursor

    await _each_page(read_page)
    for note in found.notes[:_NOTES_LOGGED]:
        log.warning("tool list", note=note)
    return found.tools


async def _prompts(client: mcp.Client, log: Any, secrets: Secrets) -> tuple[str, ...]:
    texts: list[str] = []
    try:
        async with asyncio.timeout(_PROMPTS_SECONDS):
            for name in await _prompt_names(client):
                # One by one: those that came before an error or the timeout are kept.
                texts.append(await _prompt(client, name, secrets))  # noqa: PERF401
    except (MCPError, ValidationError, TimeoutError) as error:
        log.warning("prompts cannot be read", why=type(error).__name__, read=len(texts))
    return tuple(text for text in texts if text)


async def _prompt_names(client: mcp.Client) -> list[str]:
    """The names of prompts that can be had without arguments."""
    names: set[str] = set()

    async def read_page(cursor: str | None) -> str | None:
        answer = await client.list_prompts(cursor=cursor)
        names.update(
            prompt.name
            for prompt in answer.prompts
            if not any(argument.required for argument in prompt.arguments or ())
        )
        return answer.next_cursor

    await _each_page(read_page)
    return sorted(names)[:_PROMPTS]


async def _prompt(client: mcp.Client, name: str, secrets: Secrets) -> str:
    answer = await client.get_prompt(name)
    texts = (_text_of(message.content)[:_PROMPT_READ] for message in answer.messages)
    text = "\n\n".join(text for text in texts if text)[:_PROMPT_READ]
    return printable(secrets.redact(text), _PROMPT_CHARACTERS).strip()


def _text_of(block: Any) -> str:
    if isinstance(block, types.EmbeddedResource):
        block = block.resource
    text = getattr(block, "text", "")
    return text if isinstance(text, str) else ""


async def _each_page(read_page: Callable[[str | None], Awaitable[str | None]]) -> None:
    cursor: str | None = None
    for _ in range(_PAGES):
        cursor = await read_page(cursor)
        if not cursor:
            return
