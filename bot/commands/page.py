"""The chat page, from a chat: /page makes a link that signs its sender in once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot.command import (
    CommandContext,
    CommandResult,
    Need,
    Reply,
    command,
    escape_markdown,
    paragraphs,
)
from bot.ops.shown_once import ShownOnce

USE_PAGE = Need((("read", "instance"), ("read", "client")), anywhere=True)
"""People with a role may sign in at the page, for as long as they have it."""
MakeLink = Callable[[CommandContext], Awaitable[tuple[str, str] | None]]
"""Makes the address of the page and the code of a link for the sender; None without a page."""

IN_PRIVATE = "Ask for a link in a private chat with me: it works for the first person who opens it."
NO_PAGE = (
    "The page is not served here. An operator can switch it on: set HTTP_API=1 and restart the "
    "host, or create an API key with /keys."
)
HOW_LONG = (
    "It works once, within five minutes, and signs you in for twelve hours. Do not pass it on: the "
    "first person who opens it talks in your name. /page makes another."
)


@command("page", "get a link to the chat page", needs=USE_PAGE, concurrent=True)
async def page(parts: tuple[MakeLink, ShownOnce], context: CommandContext) -> CommandResult:
    """Make a link to the page."""
    make_link, shown_once = parts
    if not context.incoming.address.private:
        return Reply(IN_PRIVATE)
    if (made := await make_link(context)) is None:
        return Reply(escape_markdown(NO_PAGE))
    address, code = made
    hidden = shown_once.hide(code)  # the reply lies in the store until it is sent
    return Reply(paragraphs(f"{escape_markdown(address)}/#{hidden}", HOW_LONG))
