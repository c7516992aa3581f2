"""The commands of everybody: /start, /help, /new, /stop."""

from __future__ import annotations

from collections.abc import Iterator

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    StartNewConversation,
    escape_markdown,
)

NOTHING_RUNS = "Nothing is running here."


def everyone() -> Iterator[BotCommand]:
    """Their rows, but for /help, which must know the whole table."""
    yield BotCommand("start", "say hello", start, concurrent=True)
    yield BotCommand("new", "begin a new conversation; the old one is set aside", new)
    # A typed /stop is a signal that runs ahead of everything; the row is for menus and /help.
    yield BotCommand("stop", "stop the answer that is being written", stop, concurrent=True)


async def start(context: CommandContext) -> CommandResult:
    """A greeting in the agent's name."""
    who = (
        f"I am **{escape_markdown(context.agent)}**."
        if context.agent
        else "No agent answers here yet."
    )
    name = escape_markdown(context.incoming.person.name)
    return Reply(f"Hello {name}! {who} Just write to me; /help lists more.")


async def new(_context: CommandContext) -> CommandResult:
    """A boundary."""
    return StartNewConversation(
        "A new conversation begins here; I no longer read what was said before."
    )


async def stop(_context: CommandContext) -> CommandResult:
    """A word for a stop that came another way than as a signal."""
    return Reply(NOTHING_RUNS)
