"""The bots from a chat by one line: /bots …, /addbot, /newbot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bot.command import (
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
    split_reason,
)
from bot.commands.host import AdminContext, BotState, refusal_text
from bot.errors import StoreError
from bot.ops.bot_tokens import SEEN, around_token, sealed_token
from bot.store.bots import NewBotOffer, NewBotOffers
from registry.bot_edits import Added, BotEdits, NewBot, may_see
from registry.errors import DocumentErrors, RegistryError, RegistryUnavailable
from registry.roles import DEFAULT_ACCOUNT, Target, Why
from registry.sealing import Unopened
from registry.snapshot import Snapshot
from registry.stored_bot import StoredBot, purpose_of

MAX_BOTS = 60
PICTURE_BYTES = 512 * 1024
BOTS_USAGE = (
    "[pause BOT | resume BOT | rename BOT NAME | move BOT ACCOUNT | remove BOT | forget BOT] "
    "[because …]"
)
ADD_USAGE = "TOKEN [AGENT] [account ACCOUNT] [because …]"
NEW_USAGE = "[AGENT] [account ACCOUNT]"
HOW = f"Write /bots {BOTS_USAGE}. BOT is its number or @username."
HOW_TO_ADD = (
    f"Write /addbot {ADD_USAGE} in a private chat with me; @BotFather gives you the token. The "
    "message is deleted at once."
)
IN_PRIVATE = "Bots are added in a private chat with me: others could read the token here."
LEFT = (
    "I could not delete your message with the token. Delete it yourself; if others could read it, "
    "send /revoke to @BotFather, and add the bot again with its new token."
)
TAKEN_OUT = (
    "There was the token of a bot in your message, so I deleted it. Anybody with the token "
    "controls the bot: if others may have seen it, send /revoke to @BotFather."
)
STAYS_THERE = (
    "There is the token of a bot in your message, and I could not delete it. Delete it yourself. "
    "Anybody with the token controls the bot: if others may have seen it, send /revoke to "
    "@BotFather."
)
HOW_INSTEAD = "To add that bot here, send me /addbot and its token in a private chat."
SEVERAL = "There are several tokens in your message. Send one alone."
_MARKS = ".,:;!?()[]<>\"'`«»“”„"
NOT_A_MANAGER = (
    "I may not create bots. To change that, open the Mini App of @BotFather, choose @{0}, turn on "
    "Bot Management Mode, and restart the host. Or create the bot there, and send me: /addbot TOKEN"
)
OFFER = "Press the button below to create the bot{0}. I take it over as soon as it is there."
CREATE = "Create a bot"
STAYS = (
    "What was said in it stays in the store; an admin of the host deletes it with /forget and its "
    "number. To make sure that nobody else uses its token, send /revoke to @BotFather."
)
NOT_ASKED_FOR = (
    "You have created bot {0}, but not by a button of mine of the last 24 hours, so I do not host "
    "it. Send me its token with /addbot, or /newbot for another one."
)

STATES = {
    "paused": "is paused; /bots resume lets it run again",
    "unreadable": "cannot run",
    "starting": "is starting",
    "polling": "is working",
    "webhook": "is working (by webhook)",
    "waiting": "is served by another replica",
    "draining": "is being handed over",
    "unreachable": "cannot reach Telegram; it keeps trying",
    "throttled": "must wait for Telegram's rate limit; it continues by itself",
    "store away": "waits for the store; messages stay at Telegram until then",
    "conflict": "shares its token with another program: stop that, or /revoke at @BotFather",
    "contested": "works, but shares its token: stop the other program, or /revoke at @BotFather",
    "stalled": "got no answer from Telegram in time; it asks again",
    "failing": "keeps failing; it tries again",
    "stopped": "has stopped",
}
"""What each state of a bot means, with what is to be done."""


@dataclass(frozen=True, slots=True)
class BotCommands:
    """What the commands on bots work with."""

    host: AdminContext
    edits: BotEdits
    offers: NewBotOffers


# --- /bots ---


def bot_name(bot: StoredBot) -> str:
    """A bot as Markdown."""
    return escape_markdown(bot.called)


def seen_bots(parts: BotCommands, context: CommandContext) -> list[BotState]:
    """The bots of this host that the sender may see."""
    actor, snapshot = parts.host.actor(context), parts.host.catalog.snapshot()
    stored, found = snapshot.document.bots, list[BotState]()
    for one in parts.host.bots():
        entry = stored.get(str(one.identity.id))
        if entry is None and one.is_stored:  # it was removed, and is ending
            continue
        if may_see(actor, snapshot.account_of_bot(one.identity.id)):
            is_paused = entry is not None and entry.value.state == "paused"
            found.append(replace(one, state="paused", why="") if is_paused else one)
    return found


def bot_lines(
    parts: BotCommands, context: CommandContext, bots: Sequence[BotState] | None = None
) -> str:
    """A line on each of these bots, or on all that the sender may see."""
    snapshot = parts.host.catalog.snapshot()
    shown, more = first_items(seen_bots(parts, context) if bots is None else bots, MAX_BOTS)
    lines = [_line(bot, snapshot, asks=bot.identity.id == context.bot.id) for bot in shown]
    return "\n".join(lines) + more if lines else "There are no bots. /addbot adds one."


async def change_bot(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Pause, resume, rename or move the bot that the words name."""
    text, why = split_reason(context.arguments)
    actor, edits, key = parts.host.actor(context), parts.edits, context.key
    act, *rest = text.split()
    match [act.lower(), *rest]:
        case ["pause", name]:
            bot = await edits.set_status(actor, name, "paused", key=key, why=why)
            return Reply(f"Paused {bot_name(bot)}: what is written to it waits at Telegram.")
        case ["resume", name]:
            bot = await edits.set_status(actor, name, "running", key=key, why=why)
            return Reply(f"{bot_name(bot)} runs again.")
        case ["rename", name, *words] if words:
            bot = await edits.rename(actor, name, " ".join(words), key=key, why=why)
            return Reply(f"{bot_name(bot)} is named **{escape_markdown(bot.name)}** now.")
        case ["move", name, account]:
            bot = await edits.move(actor, name, account, key=key, why=why)
            return Reply(f"{bot_name(bot)} belongs to account {code(bot.account)} now.")
    return Refused(escape_markdown(HOW))


def _line(bot: BotState, snapshot: Snapshot, *, asks: bool) -> str:
    """A line on a bot; it `asks` where it is the one that handles this very command."""
    username, number = bot.identity.username, bot.identity.id
    name = f"@{escape_markdown(username)}" if username else "(no name yet)"
    account = snapshot.account_of_bot(number)
    head = f"• {name} {code(str(number))}"
    if account != DEFAULT_ACCOUNT:
        head += f" account {code(account)}"
    if bot.state == "quarantined":
        cure = "send /addbot with a new one from @BotFather"
        if not bot.is_stored:
            cure = f"set {bot.variable} to a new one from @BotFather and restart the host"
        text = f"has a token that Telegram does not know: {cure}"
        return f"{head} {escape_markdown(text)}"
    found = snapshot.resolve(bot.identity, None, None)
    agent, why = found.agent_id, escape_markdown(found.why)
    cure = "/profiles lists those that there are" if found.lost else "/bind one"
    who = f"{code(agent)} answers ({why})" if agent else f"no agent answers ({why}); {cure}"
    state = STATES.get(bot.state, bot.state) + (f": {bot.why}" if bot.why else "")
    waits = bot.backlog - asks
    pending = f" · {counted(waits, 'message')} waiting or in progress" if waits > 0 else ""
    return f"{head} {escape_markdown(state)} · {who}{pending}"


# --- /addbot ---


@command(
    "addbot",
    "add a bot by its token, in private; the message is deleted",
    needs=WRITE_INSTANCES,
    usage=ADD_USAGE,
    concurrent=True,
)
async def add_bot(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Add a bot by its token, whose message is deleted before anything else is done."""
    return await add_by_token(parts, context, context.arguments)


async def add_by_token(parts: BotCommands, context: CommandContext, text: str) -> CommandResult:
    """Delete the message with the token, and add the bot; the text says for whom."""
    left = escape_markdown(LEFT) if await is_left(parts.edits, context) else ""
    try:
        reply = await _add_bot(parts, context, text)
    except RegistryUnavailable:
        raise
    except RegistryError as error:
        return Refused(paragraphs(left, refusal_text(error)))
    return replace(reply, text=paragraphs(left, reply.text))


async def _add_bot(parts: BotCommands, context: CommandContext, text: str) -> Reply:
    edits, incoming = parts.edits, context.incoming
    sealer = edits.require_key()
    if not incoming.address.private:
        return Refused(IN_PRIVATE)
    held = sealed_token(incoming.token)
    if held is None:
        return Refused(escape_markdown(SEVERAL if incoming.had_token else HOW_TO_ADD))
    try:
        token = sealer.open(held[1], purpose_of(held[0]))
    except Unopened:
        return Refused(
            "The token in your message can no longer be read: the key has changed. Send it again."
        )
    about, why = split_reason(text)
    rest, beside = around_token(about)
    agent, account, is_clear = _agent_and_account(rest.split())
    if not is_clear:  # other words are around it: an agent that stands beside it is meant
        known = parts.host.catalog.snapshot().runnable
        names = (word.strip(_MARKS).lower() for word in beside)
        agent = next((name for name in names if name in known), None)
    actor = parts.host.actor(context)
    added = await edits.add(actor, NewBot(token, account, agent), key=context.key, why=why)
    return Reply(_added(added))


def _agent_and_account(words: Sequence[str]) -> tuple[str | None, str | None, bool]:
    """The agent and the account that words name, and whether they say nothing else."""
    match [word if number != len(words) - 2 else word.lower() for number, word in enumerate(words)]:
        case []:
            return None, None, True
        case ["account", account]:
            return None, account, True
        case [agent]:
            return agent, None, True
        case [agent, "account", account]:
            return agent, account, True
    return None, None, False


def _added(added: Added) -> str:
    bot = added.bot
    done = f"Added {bot_name(bot)}" if added.is_new else f"Changed the token of {bot_name(bot)}"
    where = f" to account {code(bot.account)}" if bot.account != DEFAULT_ACCOUNT else ""
    if added.agent is not None:
        who = f"{code(added.agent)} answers there."
    else:
        who = f"/bots shows who answers there; /bind changes it, sent to {bot_name(bot)}."
    return f"{done}{where}. {who}"


async def is_left(edits: BotEdits, context: CommandContext) -> bool:
    """Delete a message that had a token; whether that failed."""
    incoming = context.incoming
    if not incoming.had_token:
        return False
    there = {"chat_id": incoming.address.chat, "message_id": incoming.message}
    try:
        await edits.ask_as(context.bot.id, "deleteMessage", there)
    except DocumentErrors:
        return True
    return False


async def warned_of_token(edits: BotEdits, context: CommandContext) -> str:
    """Delete a message that had a token, and say what is to be done; '' where it had none."""
    if not context.incoming.had_token:
        return ""
    return escape_markdown(STAYS_THERE if await is_left(edits, context) else TAKEN_OUT)


@command(SEEN, "delete a message with the token of a bot", concurrent=True, hidden=True)
async def token_seen(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Delete a message with a token that was not sent to add a bot, and say so."""
    text = await warned_of_token(parts.edits, context)
    may_add = WRITE_INSTANCES.is_met(parts.host.actor(context).grants)
    return Reply(paragraphs(text, HOW_INSTEAD if may_add else ""))


# --- /newbot ---


@command(
    "newbot",
    "create a bot by a button, in private",
    needs=WRITE_INSTANCES,
    usage=NEW_USAGE,
    concurrent=True,
)
async def new_bot(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Offer a button that creates a bot."""
    parts.edits.require_key()
    incoming, words = context.incoming, context.words
    if not incoming.address.private:
        return Reply(IN_PRIVATE)
    if not context.bot.manages:
        text = NOT_A_MANAGER.format(context.bot.username or context.bot.id)
        return Reply(escape_markdown(text))
    named, account, is_clear = _agent_and_account(words)
    if not is_clear:
        return Reply(escape_markdown(f"Write /newbot {NEW_USAGE}."))
    actor = parts.host.actor(context)
    own = parts.edits.account_for(actor, account)
    await parts.host.catalog.authorized(
        actor, "add bot", CREATE, Target("instance", own), context.key, Why()
    )
    agent = await parts.edits.agent_for(actor, named, own)
    picture = incoming.quoted.file if incoming.quoted else None
    offer = NewBotOffer(own, agent, picture.id if picture else None)
    await parts.offers.keep(context.line, incoming.person.telegram_id, offer)
    snapshot = parts.host.catalog.snapshot()
    name = (snapshot.name_of(agent) if agent else "")[:64]
    return Reply(escape_markdown(OFFER.format(f" for {name}" if name else "")), _button(name))


def _button(name: str) -> dict[str, Any]:
    """A keyboard with the button that asks Telegram for a new bot."""
    wanted: dict[str, Any] = {"request_id": 1}
    username = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:24]
    if name:
        wanted["suggested_name"] = name
    if username[:1].isalpha():
        wanted["suggested_username"] = f"{username}_bot"
    key = {"text": CREATE, "request_managed_bot": wanted}
    return {"keyboard": [[key]], "resize_keyboard": True, "one_time_keyboard": True}


@command(
    "newbot:created",
    "take over the bot that a person has created by the button",
    needs=WRITE_INSTANCES,
    concurrent=True,
    hidden=True,
)
async def take_over(parts: BotCommands, context: CommandContext) -> CommandResult:
    """Host the bot that a person has created: token, agent, description and picture.

    It must be the one that they asked for, or one of ours whose token they changed.
    """
    line, person = context.line, context.incoming.person.telegram_id
    actor, edits, bot = parts.host.actor(context), parts.edits, int(context.arguments)
    offer = await parts.offers.find(line, person)
    if offer is None:
        held = parts.host.catalog.snapshot().document.bots.get(str(bot))
        if held is None or held.value.manager != context.bot.id:
            return Refused(escape_markdown(NOT_ASKED_FOR.format(bot)))
        offer = NewBotOffer(held.value.account)
    token = await edits.ask_as(context.bot.id, "getManagedBotToken", {"user_id": bot})
    wanted = NewBot(str(token), offer.account or None, offer.agent, manager=context.bot.id)
    added = await edits.add(actor, wanted, key=context.key)
    failed = ""
    try:
        await edits.describe(added.bot)
        if offer.picture:
            content = await context.fetch(offer.picture, PICTURE_BYTES)
            photo = {"type": "static", "photo": "attach://picture"}
            picture = {"photo": photo, "picture": content}
            await edits.ask(str(token), "setMyProfilePhoto", picture)
    except Exception as error:  # noqa: BLE001 the bot works without its description
        failed = f"Its description or picture could not be set ({type(error).__name__})."
    with suppress(StoreError):
        await parts.offers.end(line, person)
    text = paragraphs(_added(added), failed)
    return Reply(text, {"remove_keyboard": True})
