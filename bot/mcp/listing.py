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
from bot.safety.text_safety import printable

_PAGES = 100


_PROMPTS = 20


_PROMPTS_SECONDS = 10.0


_PROMPT_CHARACTERS = 20_000
_LOOKED_AT = 2 * _PROMPT_CHARACTERS


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server offers: tools by name, and the texts of its prompts without arguments."""

    tools: tuple[Tool, ...] = ()
    prompts: tuple[str, ...] = ()


async def list_server(client: mcp.Client, log: Any, hide: Callable[[str], str]) -> Listing:
    """The server's listing now, without what `hide` takes out; unreadable prompts are left out.

    Raises MCPError or ValidationError where the tools cannot be read.
    """
    can = client.server_capabilities
    tools = await _tools(client, log, hide) if can.tools is not None else ()
    prompts = await _prompts(client, log, hide) if can.prompts is not None else ()
    return Listing(tools, prompts)


async def _tools(client: mcp.Client, log: Any, hide: Callable[[str], str]) -> tuple[Tool, ...]:
    found = ToolFilter(hide)

    async def page(cursor: str | None) -> str | None:
        answer = await client.list_tools(cursor=cursor)
        await asyncio.to_thread(found.take, answer.tools)
        return None if found.is_full else answer.next_cursor

    await _each_page(page)
    for note in found.notes[:10]:
        log.warning("tool list", note=note)
    return found.tools


async def _prompts(client: mcp.Client, log: Any, hide: Callable[[str], str]) -> tuple[str, ...]:
    texts: list[str] = []
    try:
        async with asyncio.timeout(_PROMPTS_SECONDS):
            for name in await _prompt_names(client):
                texts.append(await _prompt(client, name, hide))  # noqa: PERF401 - some may be all
    except (MCPError, ValidationError, TimeoutError) as error:
        log.warning("prompts cannot be read", why=type(error).__name__, read=len(texts))
    return tuple(text for text in texts if text)


async def _prompt_names(client: mcp.Client) -> list[str]:
    names: set[str] = set()

    async def page(cursor: str | None) -> str | None:
        answer = await client.list_prompts(cursor=cursor)
        names.update(prompt.name for prompt in answer.prompts if not _needs(prompt))
        return answer.next_cursor

    await _each_page(page)
    return sorted(names)[:_PROMPTS]


async def _prompt(client: mcp.Client, name: str, hide: Callable[[str], str]) -> str:
    answer = await client.get_prompt(name)
    texts = (_text_of(message.content)[:_LOOKED_AT] for message in answer.messages)
    said = hide("\n\n".join(text for text in texts if text)[:_LOOKED_AT])
    return printable(said, _PROMPT_CHARACTERS).strip()


async def _each_page(page: Callable[[str | None], Awaitable[str | None]]) -> None:
    cursor: str | None = None
    for _ in range(_PAGES):
        cursor = await page(cursor)
        if not cursor:
            return


def _needs(prompt: types.Prompt) -> bool:
    return any(argument.required for argument in prompt.arguments or ())


def _text_of(block: Any) -> str:
    if isinstance(block, types.EmbeddedResource):
        block = block.resource
    text = getattr(block, "text", "")
    return text if isinstance(text, str) else ""
