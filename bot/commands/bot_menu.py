"""The bots as a menu: a list to go through, a card for each bot of the store, what one tap does."""

from __future__ import annotations

from bot.command import (
    HOST_ADMINS,
    READ_INSTANCES,
    WRITE_INSTANCES,
    CommandContext,
    CommandResult,
    Refused,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
    first_items,
    paragraphs,
    reason_of,
    split_reason,
)
from bot.commands.bots import (
    BOTS_USAGE,
    STAYS,
    BotCommands,
    add_by_token,
    bot_lines,
    bot_name,
    change_bot,
    seen_bots,
)
from bot.menus.menu import Ask, Button, Row, View, action, confirm, label, pages
from registry.bot_edits import BotData, lost_bindings, may_write
from registry.errors import NotThere
from registry.roles import DEFAULT_ACCOUNT
from registry.stored_bot import BotStatus, StoredBot

LIST, CARD = "bots:list", "bots:card"
WHICH_BOT = (
    "Send me the token that @BotFather gave you, alone or with an agent after it, or forward me "
    "BotFather's message. I delete yours at once."
)
MAX_SLOTS = 10
_BACK = Button("‹ Bots", LIST)


@command(
    "bots",
    "show, pause, resume, rename, move or remove bots",
    needs=READ_INSTANCES,
    usage=BOTS_USAGE,
    concurrent=True,
)
async def bots(parts: BotCommands, context: CommandContext) -> CommandResult:
    """List the bots of this replica with their states and agents, or change one of the store."""
    text, why = split_reason(context.arguments)
    match text.split():
        case []:
            return board(parts, context)
        case [act, name] if act.lower() == "remove":
            bot = parts.edits.find(parts.host.actor(context), name).value
            return await removal(parts, bot, why.reason)
        case [act, name] if act.lower() == "forget":
            if not HOST_ADMINS.is_met(parts.host.actor(context).grants):
                return Refused(HOST_ADMINS.refusal)
            return await forgetting(parts, context, name, why.reason)
    return await change_bot(parts, context)


def board(parts: BotCommands, context: CommandContext, page: int = 0) -> Reply | View:
    """The bots with their states; those of the store can be tapped."""
    actor, lines = parts.host.actor(context), bot_lines(parts, context)
    stored = parts.edits.seen(actor)
    buttons = [
        Button(label(f"{one.value.called} · {one.value.name}"), CARD, (id,))
        for id, one in stored.items()
    ]
    rows: list[Row] = [*pages(buttons, page, LIST)] if buttons else []
    if parts.edits.sealer is not None and context.incoming.address.private:
        rows.append([Button("Add a bot by its token", "bots:add")])
        if context.bot.manages:
            rows.append([Button("Create a bot", "bots:new")])
    return View(lines, rows) if rows else Reply(lines)


@action(LIST, needs=READ_INSTANCES)
async def list_bots(parts: BotCommands, context: CommandContext, page: str = "0") -> CommandResult:
    """A page of the bots."""
    return board(parts, context, int(page))


@action(CARD, needs=READ_INSTANCES)
async def show_card(parts: BotCommands, context: CommandContext, id: str) -> CommandResult:
    """What a bot is and does, and what can be done with it."""
    return card(parts, context, id)


def card(parts: BotCommands, context: CommandContext, id: str, notice: str = "") -> View:
    """A bot's card."""
    try:
        bot = parts.edits.find(parts.host.actor(context), id).value
    except NotThere:
        return View("This bot is no longer there.", [[_BACK]], notice)
    shown = [one for one in seen_bots(parts, context) if one.identity.id == bot.number]
    about = bot_lines(parts, context, shown)
    added = f"Added by {code(bot.added_by)}." if bot.added_by else ""
    account = f"It belongs to account {code(bot.account)}."
    runs = bot.state == "running"
    switch = Button("Pause" if runs else "Resume", "bots:switch", (id, "off" if runs else "on"))
    rows: list[Row] = [
        [switch],
        [Button("Rename", "bots:rename", (id,)), Button("Move", "bots:move", (id,))],
        [Button("Remove", "bots:remove", (id,))],
        [_BACK],
    ]
    title = f"**{escape_markdown(bot.name or bot.called)}**"
    return View(paragraphs(title, about, f"{account} {added}".strip()), rows, notice)


@action("bots:switch", needs=WRITE_INSTANCES)
async def switch(parts: BotCommands, context: CommandContext, id: str, to: str) -> CommandResult:
    """Pause a bot, or let it run again."""
    status: BotStatus = "running" if to == "on" else "paused"
    actor = parts.host.actor(context)
    await parts.edits.set_status(actor, id, status, key=context.key, why=context.why)
    return card(parts, context, id, "It runs again." if to == "on" else "Paused.")


@action("bots:rename", needs=WRITE_INSTANCES)
async def rename(_parts: BotCommands, _context: CommandContext, id: str) -> CommandResult:
    """Ask for a name."""
    text = "Send the new name, up to 64 characters. Everybody sees it in Telegram."
    return Ask(text, "bots:renamed", (id,), [[Button("Cancel", CARD, (id,))]])


@action("bots:renamed", needs=WRITE_INSTANCES)
async def renamed(parts: BotCommands, context: CommandContext, id: str, name: str) -> CommandResult:
    """Give a bot this name."""
    text, why = split_reason(name)
    actor, key = parts.host.actor(context), context.key
    await parts.edits.rename(actor, id, text, key=key, why=why or context.why)
    return card(parts, context, id, "Renamed.")


@action("bots:move", needs=WRITE_INSTANCES)
async def move(parts: BotCommands, context: CommandContext, id: str) -> CommandResult:
    """Ask for an account."""
    actor, every = parts.host.actor(context), parts.host.catalog.snapshot().account_names
    known = sorted(one for one in {DEFAULT_ACCOUNT, *every} if may_write(actor, one))
    names = ", ".join(map(code, known[:20]))
    text = (
        "Send the name of the account that the bot should belong to. What it spends counts there, "
        f"and only that account's instances may answer in it. Accounts: {names}."
    )
    return Ask(text, "bots:moved", (id,), [[Button("Cancel", CARD, (id,))]])


@action("bots:moved", needs=WRITE_INSTANCES)
async def moved(
    parts: BotCommands, context: CommandContext, id: str, account: str
) -> CommandResult:
    """Let a bot belong to this account."""
    text, why = split_reason(account)
    actor, key = parts.host.actor(context), context.key
    await parts.edits.move(actor, id, text.strip(), key=key, why=why or context.why)
    return card(parts, context, id, "Moved.")


@action("bots:remove", needs=WRITE_INSTANCES)
async def remove(parts: BotCommands, context: CommandContext, id: str) -> CommandResult:
    """Ask once, and say what is touched."""
    bot = parts.edits.find(parts.host.actor(context), id).value
    return await removal(parts, bot)


async def removal(parts: BotCommands, bot: StoredBot, reason: str = "") -> View:
    """The question before a bot is removed, with what that touches; a `reason` may be known."""
    name, data = escape_markdown(bot.called), await parts.edits.left_of(bot.number)
    text = paragraphs(
        f"Remove {name}? Nobody answers in it any more{_chats(data, ', in')}.",
        _lost(parts, bot, "{} will bind nothing"),
        _still_set(parts, bot),
        escape_markdown(STAYS),
    )
    keep = Button("Keep", CARD, (bot.id,))
    return confirm(text, Button("Remove", "bots:removed", (bot.id, reason)), keep)


def _chats(data: BotData, before: str) -> str:
    return f"{before} {counted(data.chats, 'chat')}" if data.chats else ""


def _lost(parts: BotCommands, bot: StoredBot, what: str) -> str:
    """The bindings for a bot alone, in a sentence; '' for none."""
    slots = [*lost_bindings(parts.host.catalog, bot)]
    shown, more = first_items([code(slot) for slot in slots], MAX_SLOTS)
    number = counted(len(slots), "binding")
    named = f"{', '.join(shown)}{more.replace(chr(10), ' ')}"
    return f"{what.format(number)}: {named}." if slots else ""


def _still_set(parts: BotCommands, bot: StoredBot) -> str:
    """That the environment sets the token of a bot as well, so that it goes on; '' if not."""
    variable = parts.edits.own.get(bot.number)
    if variable is None:
        return ""
    return (
        f"It still goes on: {code(variable)} sets its token as well. Take it out of the "
        "host's environment there, and restart the host."
    )


@action("bots:removed", needs=WRITE_INSTANCES)
async def removed(
    parts: BotCommands, context: CommandContext, id: str, reason: str = ""
) -> CommandResult:
    """Remove a bot."""
    why = reason_of(reason) or context.why
    bot = await parts.edits.remove(parts.host.actor(context), id, key=context.key, why=why)
    still = _still_set(parts, bot)
    done = f"Removed {bot_name(bot)}" + ("." if still else ": I no longer answer in it.")
    about = paragraphs(
        done,
        still,
        _lost(parts, bot, "Still bound to it, without effect: {}"),
        escape_markdown(STAYS),
    )
    return View(about, [[_BACK]])


# --- what was said ---


@command(
    "forget",
    "delete what was said in a bot that was removed",
    needs=HOST_ADMINS,
    usage="BOT [because …]",
    concurrent=True,
)
async def forget(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Ask before what was said in a bot is deleted, and say how much that is."""
    text, why = split_reason(context.arguments)
    words = text.split()
    if len(words) != 1:
        return Refused("Write /forget and the number or @username of a bot that was removed.")
    return await forgetting(parts, context, words[0], why.reason)


def _never(name: str) -> str:
    return f"There never was a bot {code(name[:64])} here. /bots lists those that there are."


async def forgetting(
    parts: BotCommands, context: CommandContext, name: str, reason: str
) -> CommandResult:
    """The question before what was said in a bot is deleted."""
    edits, number = parts.edits, await parts.edits.number_of(name)
    if number is None:
        return Refused(_never(name))
    why = reason_of(reason)
    data = await edits.forgettable(parts.host.actor(context), number, key=context.key, why=why)
    if not data.keys:
        return Reply(f"Nothing of bot {code(str(number))} is left in the store.")
    text = paragraphs(
        f"Delete what was said in bot {code(str(number))}{_chats(data, ', in')}? "
        f"That is {counted(data.keys, 'key')} of the store: transcripts, files, what is still to "
        "be sent, and what its chats used of their budgets.",
        "Nothing brings it back. The ledger keeps what it cost.",
    )
    yes = Button("Delete for good", "bots:forgotten", (str(number), reason))
    return confirm(text, yes, Button("Keep", LIST))


@action("bots:forgotten", needs=HOST_ADMINS)
async def forgotten(
    parts: BotCommands, context: CommandContext, id: str, reason: str = ""
) -> CommandResult:
    """Delete what was said in a bot."""
    actor, why = parts.host.actor(context), reason_of(reason) or context.why
    number = await parts.edits.number_of(id)
    if number is None:
        return Refused(_never(id))
    count = await parts.edits.forget(actor, number, key=context.key, why=why)
    return Reply(f"Deleted what was said in bot {code(id)}: {counted(count, 'key')}.")


# --- adding ---


@action("bots:add", needs=WRITE_INSTANCES)
async def add(parts: BotCommands, _context: CommandContext) -> CommandResult:
    """Ask for a token."""
    parts.edits.require_key()
    return Ask(escape_markdown(WHICH_BOT), "bots:token", (), [[_BACK]])


@action("bots:token", needs=WRITE_INSTANCES)
async def add_asked(parts: BotCommands, context: CommandContext, text: str) -> CommandResult:
    """Add the bot whose token is in this text."""
    if not context.incoming.had_token:
        return Refused(escape_markdown(f"I see no token in that. {WHICH_BOT}"))
    return await add_by_token(parts, context, text)


@action("bots:new", needs=WRITE_INSTANCES)
async def new(_parts: BotCommands, _context: CommandContext) -> CommandResult:
    """Say how a bot is created by a tap; the button itself is on the phone's keyboard."""
    text = "Send /newbot, with the id of an agent if you like: a button appears below."
    return View(escape_markdown(text), [[_BACK]])


ACTIONS = (
    *(list_bots, show_card, switch, rename, renamed, move, moved),
    *(remove, removed, forgotten, add, add_asked, new),
)
"""What the buttons of these menus do."""
