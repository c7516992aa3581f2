"""What was set aside, from a chat: /deadletters, with buttons that try it again or drop it."""

from __future__ import annotations

from bot.command import (
    HOST_ADMINS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
)
from bot.commands.host import AdminContext, ago
from bot.menus.menu import Button, Notice, Row, View, action, confirm
from bot.store.client import StoreClient
from bot.store.inbox import DeadLetter, DeadLetters
from registry.roles import CORE

PAGE = 5
MAX_WHY = 200

Parts = tuple[AdminContext, StoreClient]


@command(
    "deadletters",
    "show the messages and answers that were set aside",
    needs=HOST_ADMINS,
    concurrent=True,
)
async def dead_letters(parts: Parts, _context: CommandContext) -> CommandResult:
    """List what was set aside in all bots, newest first."""
    found = await newest_letters(parts)
    return page(parts, found, 0) if found else Reply("Nothing was set aside.")


async def newest_letters(parts: Parts) -> list[DeadLetter]:
    """All dead letters, the newest first."""
    store = DeadLetters(parts[1])
    found = await store.of(await store.lines())
    return sorted(found, key=lambda one: (-one.at, one.line, one.id))


def page(parts: Parts, found: list[DeadLetter], start: int, notice: str = "") -> View:
    """Some letters, each with its buttons."""
    now = parts[0].catalog.wall()
    shown = found[start : start + PAGE]
    lines = [f"{counted(len(found), 'dead letter')}, newest first. What was written is not shown."]
    rows: list[Row] = []
    for number, one in enumerate(shown, start + 1):
        what = "an answer that was refused" if one.part else "a message"
        when = ago(max(0.0, now - one.at))
        why = escape_markdown(one.why[:MAX_WHY])
        lines.append(f"{number}. {what}, {when}, {code(one.line)}: {why}")
        name = (one.line, one.id)
        again = Button(f"{number}: try again", "letters:replay", name)
        rows.append([again, Button(f"{number}: drop", "letters:drop", name)])
    beside = []
    if start:
        beside.append(Button("‹ Newer", "letters:page", (str(max(0, start - PAGE)),)))
    if len(found) > start + PAGE:
        beside.append(Button("Older ›", "letters:page", (str(start + PAGE),)))
    return View("\n".join(lines), [*rows, beside], notice)


@action("letters:page", needs=HOST_ADMINS)
async def turn_page(parts: Parts, _context: CommandContext, start: str = "0") -> CommandResult:
    """Other letters."""
    found = await newest_letters(parts)
    if not found:
        return Reply("Nothing is set aside any more.")
    return page(parts, found, int(start))


@action("letters:replay", needs=HOST_ADMINS)
async def replay(parts: Parts, context: CommandContext, line: str, id: str) -> CommandResult:
    """Put a letter back where it came from."""
    found = await _named(parts, line, id)
    if found is None or not await DeadLetters(parts[1]).replay(found):
        return Notice("It is no longer there.")
    await _note(parts, context, "try again dead letter", found)
    return await turn_page.function(parts, context)


@action("letters:drop", needs=HOST_ADMINS)
async def drop(_parts: Parts, _context: CommandContext, line: str, id: str) -> CommandResult:
    """Ask before a letter is dropped."""
    text = f"Drop the dead letter {code(f'{line}/{id}')}? It cannot be brought back."
    yes = Button("Drop it", "letters:dropped", (line, id))
    return confirm(text, yes, Button("Cancel", "letters:page"))


@action("letters:dropped", needs=HOST_ADMINS)
async def dropped(parts: Parts, context: CommandContext, line: str, id: str) -> CommandResult:
    """Drop a letter."""
    found = await _named(parts, line, id)
    if found is None or not await DeadLetters(parts[1]).drop(found):
        return Notice("It is no longer there.")
    await _note(parts, context, "drop dead letter", found)
    return await turn_page.function(parts, context)


async def _note(parts: Parts, context: CommandContext, act: str, letter: DeadLetter) -> None:
    """Leave an audit record."""
    host, name = parts[0], f"{letter.line}/{letter.id}"
    await host.catalog.note(host.actor(context), act, name, CORE, key=context.key)


async def _named(parts: Parts, line: str, id: str) -> DeadLetter | None:
    return next((one for one in await DeadLetters(parts[1]).of([line]) if one.id == id), None)


ACTIONS = (turn_page, replay, drop, dropped)
