"""Bots that are added and changed at run time: the same for the chat, HTTP and the command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry import errors
from registry.binding import AgentBinding, AgentBindingType
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.fields import nearest, valid_slug
from registry.instance import SLASH
from registry.roles import CORE, DEFAULT_ACCOUNT, NO_REASON, Actor, Target, Why, verdict
from registry.roles import may_write as holders_may_write
from registry.sealing import Sealer, Unopened, key_id_of
from registry.snapshot import Entry, Snapshot, revision_of
from registry.sources.revision_store import DELETED
from registry.stored_bot import BotStatus, StoredBot, bot_name, purpose_of

NO_KEY = Problem(
    "SECRETS_KEY",
    "it is not set, and without it no token is stored",
    "make a key with `switchboard secrets new-key`, set it at every replica, and restart them",
)
LOST_KEY = "it is not set, and without it no token is read or stored"
FORGET = "delete the data of bot"
SEAL = "seal the token of bot"
ROTATED = Why("the key of the tokens was changed")
"""Why tokens are sealed anew: it is the operator's to do, in every account."""
_TOKEN = re.compile(r"([1-9][0-9]{4,15}):[A-Za-z0-9_-]{30,100}")
_NOT_A_TOKEN = "that is not a bot token, which looks like 123456789:AA…"  # noqa: S105 words
_COPY = "copy it again from @BotFather"
_MOST_NAMES = 20
_DIGITS = 17
MOST_BOTS = 100
"""Of one account; those of the environment do not count."""

AskBotApi = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]
"""Calls a method of the Bot API with a token; raises DocumentErrors with the reason and a fix."""


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding a bot: the bot, whether it is new, and the agent bound to it, if any."""

    bot: StoredBot
    is_new: bool
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class NewBot:
    """A bot that is to be added: its token, the account, the agent, and the bot that made it."""

    token: str = field(repr=False)
    account: str | None = None
    agent: str | None = None
    manager: int | None = None


@dataclass(frozen=True, slots=True)
class BotData:
    """How much a bot has in the store: its keys, and the chats that they are of."""

    keys: int = 0
    chats: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class BotEdits:
    """Adds, pauses, resumes, renames, moves and removes stored bots.

    `own` are the bots of the environment, the variable of each token by the bot's id;
    `own_token` gives such a token. `delete_data` deletes what was said in a bot, `find_data` says
    how much that is.
    """

    catalog: Catalog
    sealer: Sealer | None
    ask: AskBotApi
    own: Mapping[int, str] = field(default_factory=dict)
    own_token: Callable[[int], str | None] = lambda _bot: None
    delete_data: Callable[[int], Awaitable[int]] | None = None
    find_data: Callable[[int], Awaitable[BotData]] | None = None

    # --- reading ---

    def seen(self, actor: Actor) -> dict[str, Entry[StoredBot]]:
        """The stored bots that an actor may see, by their id."""
        bots = self.catalog.snapshot().document.bots
        return {id: one for id, one in bots.items() if may_see(actor, one.value.account)}

    def find(self, actor: Actor, name: str) -> Entry[StoredBot]:
        """A stored bot by its id or @username; raises NotThere, and Owned for one that is not."""
        wanted = name.strip().lstrip("@").casefold()
        seen = self.seen(actor)
        for id, entry in seen.items():
            if wanted in (id, entry.value.username.casefold()):
                return entry
        for number in self.own:
            if wanted == str(number) and may_see(
                actor, self.catalog.snapshot().account_of_bot(number)
            ):
                self._require_stored(number)
        names = [*seen, *(f"@{entry.value.username}" for entry in seen.values())]
        near = nearest(name[:64], names, 0.7)
        raise errors.NotThere(
            f"there is no bot '{name[:64]}' that was added at run time"
            + (f"; did you mean {near}?" if near else "")
        )

    def _require_stored(self, bot: int) -> None:
        """Raise Owned for a bot whose token the environment sets: it is changed only there."""
        if (variable := self.own.get(bot)) is not None:
            raise errors.Owned(f"bot {bot}", variable)

    def require_key(self) -> Sealer:
        """What seals tokens; raises DocumentErrors with a fix where there is no key."""
        if self.sealer is None:
            raise DocumentErrors([no_key(self.catalog.snapshot())])
        return self.sealer

    def account_for(self, actor: Actor, account: str | None) -> str:
        """The account of a new bot: the one named, else the one in which the actor may add it."""
        if account is not None:
            try:
                return valid_slug(account)
            except InvalidValue as wrong:
                problem = Problem("account", wrong.message, wrong.cure, path="account")
                raise DocumentErrors([problem]) from None
        if may_write(actor, DEFAULT_ACCOUNT):
            return DEFAULT_ACCOUNT
        own = sorted({one.account for one in actor.grants if may_write(actor, one.account)})
        return own[0] if len(own) == 1 else DEFAULT_ACCOUNT

    def open(self, bot: StoredBot) -> str:
        """The token of a stored bot; raises DocumentErrors where it cannot be read."""
        try:
            return self.require_key().open(bot.token, bot.purpose)
        except Unopened as why:
            raise DocumentErrors([unreadable(bot, str(why))]) from None

    async def agent_for(self, actor: Actor, name: str | None, account: str) -> str | None:
        """The id of the agent of this name that may answer in bots of an account.

        Raises NotThere, Denied and DocumentErrors.
        """
        if name is None:
            return None
        snapshot, own = self.catalog.snapshot(), f"{account}{SLASH}{name}"
        for id in (own, name):
            if id in snapshot.runnable:
                await self.catalog.check_answering(actor, id, account)
                return id
        known = sorted([*snapshot.agents, *snapshot.instances_of(account)])
        near = nearest(name[:64], known, 0.6)
        cure = f"did you mean {near}?" if near else f"there are: {', '.join(known[:_MOST_NAMES])}"
        raise errors.NotThere(f"there is no agent '{name[:64]}'; {cure}")

    async def ask_as(self, bot: int, method: str, params: Mapping[str, Any]) -> Any:
        """What the Bot API answers to a bot that is hosted here; raises DocumentErrors."""
        token = self.own_token(bot)
        if token is None:
            entry = self.catalog.snapshot().document.bots.get(str(bot))
            if entry is None:
                message, cure = f"bot {bot} is not hosted here", "try again in a moment"
                raise DocumentErrors([Problem(f"bot {bot}", message, cure)])
            token = self.open(entry.value)
        return await self.ask(token, method, params)

    # --- changing ---

    async def add(self, actor: Actor, new: NewBot, *, key: str, why: Why = NO_REASON) -> Added:
        """Store a bot, and bind the agent that is named; a new token takes the place of an old one.

        Telegram must know the token. A bot that is hosted already is refused by its name.
        """
        sealer = self.require_key()
        match = _TOKEN.fullmatch(new.token.strip())
        if match is None:
            raise DocumentErrors([Problem("token", _NOT_A_TOKEN, _COPY, path="token")])
        token, id = match[0], match[1]
        held = self.catalog.snapshot().document.bots.get(id)
        if held is not None and new.account is None:
            account = held.value.account
        else:
            account = self.account_for(actor, new.account)
        await self._authorize(actor, "add bot", id, account, key, why)
        if held is None or held.value.account != account:
            self._check_number(account)
        if held is None:
            await self._check_former(actor, id, account, why)
        agent = await self.agent_for(actor, new.agent, account)
        if (variable := self.own.get(int(id))) is not None:
            raise errors.AlreadyThere(f"bot {id} is hosted already: {variable} sets its token")
        if held is not None:
            await self._authorize(actor, "add bot", id, held.value.account, key, why)
        is_same = held is not None and self._opens_to(held.value, token)
        if held is not None and is_same:
            if not await self.catalog.was_made(key):
                raise errors.AlreadyThere(f"{held.value.called} is hosted already")
            bot, is_new = held.value, True
        else:
            bot = await self._identified(token, id, held.value if held else None)
            bot = bot.model_copy(
                update={
                    "account": account,
                    "token": await asyncio.to_thread(sealer.seal, token, purpose_of(id)),
                    "added_by": actor.id,
                    "added": round(self.catalog.wall(), 3),
                    "manager": new.manager,
                }
            )
            action = "add bot" if held is None else "change the token of bot"
            expected = held.revision if held else DELETED
            await self.catalog.put_bot(
                actor, bot, action=action, key=key, expected=expected, why=why
            )
            is_new = held is None
        if agent is not None:
            kind = AgentBindingType.TelegramBot
            binding = AgentBinding(agent_id=agent, type=kind, binding_key=id)
            await self.catalog.bind(actor, binding, key=f"{key}:bind", why=why)
        return Added(bot, is_new, agent)

    async def set_status(
        self, actor: Actor, name: str, status: BotStatus, *, key: str, why: Why = NO_REASON
    ) -> StoredBot:
        """Pause a bot, or let it run again."""
        action = "pause bot" if status == "paused" else "resume bot"
        return await self._change(actor, name, {"state": status}, action, key, why)

    async def rename(
        self, actor: Actor, name: str, new_name: str, *, key: str, why: Why = NO_REASON
    ) -> StoredBot:
        """Give a bot another name, in Telegram as well."""
        entry = self.find(actor, name)
        bot = entry.value
        self._require_stored(bot.number)
        await self._authorize(actor, "rename bot", bot.id, bot.account, key, why)
        try:
            given = bot_name(new_name)
        except InvalidValue as wrong:
            problem = Problem("name", wrong.message, wrong.cure, path="name")
            raise DocumentErrors([problem]) from None
        await self.ask(self.open(entry.value), "setMyName", {"name": given})
        return await self._change(actor, name, {"name": given}, "rename bot", key, why)

    async def move(
        self, actor: Actor, name: str, account: str, *, key: str, why: Why = NO_REASON
    ) -> StoredBot:
        """Let a bot belong to another account; both must allow it."""
        wanted = self.account_for(actor, account)
        if wanted != self.find(actor, name).value.account:
            self._check_number(wanted)
        return await self._change(actor, name, {"account": wanted}, "move bot", key, why)

    async def remove(self, actor: Actor, name: str, *, key: str, why: Why = NO_REASON) -> StoredBot:
        """End the hosting of a bot; its conversations and bindings stay."""
        try:
            bot = self.find(actor, name).value
        except errors.NotThere:
            if not await self.catalog.was_made(key):
                raise
            known = await self.number_of(name)  # this very change has removed it
            return StoredBot.model_construct(id=str(known), token="")
        await self.catalog.delete_bot(actor, bot.id, key=key, why=why)
        return bot

    async def forget(self, actor: Actor, bot: int, *, key: str, why: Why = NO_REASON) -> int:
        """Delete what was said in a bot that is no longer hosted; how many keys that were.

        Only admins of the host may: nothing brings it back. Raises NotThere for a bot that never
        was.
        """
        catalog, name = self.catalog, str(bot)
        found = await self._data_to_forget(actor, bot, key, why)
        if not found.keys and not await catalog.was_made(key):
            await self._check_known(bot)
        if self.delete_data is None:
            raise errors.RegistryUnavailable("there is no store")
        count = await self.delete_data(bot)
        await catalog.note(actor, FORGET, name, CORE, key=key, why=why)
        return count

    async def forgettable(
        self, actor: Actor, bot: int, *, key: str, why: Why = NO_REASON
    ) -> BotData:
        """What `forget` would delete; raises what it would."""
        found = await self._data_to_forget(actor, bot, key, why)
        if not found.keys:
            await self._check_known(bot)
        return found

    async def _data_to_forget(self, actor: Actor, bot: int, key: str, why: Why) -> BotData:
        """What a bot has left; raises Denied, and DocumentErrors for one that is hosted."""
        catalog, name = self.catalog, str(bot)
        await catalog.authorized(actor, FORGET, name, CORE, key, why)
        if bot in self.own or name in catalog.snapshot().document.bots:
            place = self.own.get(bot)
            cure = f"take it out of {place} and restart" if place else "remove it first"
            raise DocumentErrors([Problem(f"bot {bot}", f"bot {bot} is still hosted", cure)])
        return await self.left_of(bot)

    async def _check_known(self, bot: int) -> None:
        """Raise NotThere for a bot that never was in the store."""
        if await self.catalog.former_account(str(bot)) is None:
            raise errors.NotThere(f"there never was a bot {bot} here: nothing is stored of it")

    async def left_of(self, bot: int) -> BotData:
        """How much a bot has in the store."""
        return await self.find_data(bot) if self.find_data else BotData()

    async def number_of(self, name: str) -> int | None:
        """The number of a bot by its number or @username, also of one that was removed."""
        wanted = name.strip().lstrip("@").casefold()
        if wanted.isascii() and wanted.isdecimal():
            return int(wanted) if len(wanted) < _DIGITS else None
        stored = self.catalog.snapshot().document.bots.items()
        held = [(id, entry.value.username) for id, entry in stored]
        found = [*held, *(await self.catalog.removed_bots())]
        return next((int(id) for id, username in found if username.casefold() == wanted), None)

    async def describe(self, bot: StoredBot) -> None:
        """Tell Telegram what the agent that answers in a bot is for."""
        snapshot = self.catalog.snapshot()
        binding = snapshot.bindings.plain(AgentBindingType.TelegramBot, bot.id)
        if binding is None:
            return
        agent = snapshot.effective(binding.agent_id, LlmConfiguration())
        text = " ".join((agent.definition.description or "").split()) if agent else ""
        if text:
            token = self.open(bot)
            await self.ask(token, "setMyDescription", {"description": text[:512]})
            await self.ask(token, "setMyShortDescription", {"short_description": text[:120]})

    async def _change(
        self,
        actor: Actor,
        name: str,
        fields: Mapping[str, Any],
        action: str,
        key: str,
        why: Why,
    ) -> StoredBot:
        entry = self.find(actor, name)
        self._require_stored(entry.value.number)
        bot = entry.value.model_copy(update=dict(fields))
        await self.catalog.put_bot(
            actor, bot, action=action, key=key, expected=entry.revision, why=why
        )
        return bot

    async def _authorize(
        self, actor: Actor, action: str, id: str, account: str, key: str, why: Why
    ) -> None:
        """Raise Denied, with a record of it, before Telegram is asked anything."""
        await self.catalog.authorized(actor, action, id, Target("instance", account), key, why)

    def _check_number(self, account: str) -> None:
        """Raise DocumentErrors where an account has as many bots as it may."""
        bots = self.catalog.snapshot().document.bots.values()
        if sum(entry.value.account == account for entry in bots) >= MOST_BOTS:
            message = f"account {account} has {MOST_BOTS} bots already, which is the most"
            cure = "remove one first, or set this one as BOTS__<n>__TOKEN"
            raise DocumentErrors([Problem("bot", message, cure)])

    async def _check_former(self, actor: Actor, id: str, account: str, why: Why) -> None:
        """Raise Denied or ReasonMissing where a bot was another account's until it was removed."""
        former = await self.catalog.former_account(id)
        if former in (None, account):
            return
        said = verdict(actor.grants, "write", Target("instance", former), why)
        if said == "needs a reason":
            raise errors.ReasonMissing(
                f"say why you add bot {id}, which belonged to account {former} until it was "
                "removed: give a reason or a ticket"
            )
        if said != "yes":
            raise errors.Denied(
                f"bot {id} belonged to another account until it was removed, and what was said in "
                "it is still there: ask an admin of the host to add it"
            )

    async def _identified(self, token: str, id: str, held: StoredBot | None) -> StoredBot:
        """The bot as Telegram says who it is; raises DocumentErrors."""
        me = await self.ask(token, "getMe", {})
        if not isinstance(me, dict) or str(me.get("id")) != id:
            raise DocumentErrors([Problem("token", "Telegram says it is another bot's", _COPY)])
        username, name = (str(me.get(one) or "")[:64] for one in ("username", "first_name"))
        bot = held or StoredBot.model_construct(id=id, token="")
        return bot.model_copy(update={"username": username, "name": name})

    def _opens_to(self, bot: StoredBot, token: str) -> bool:
        try:
            return self.require_key().open(bot.token, bot.purpose) == token
        except Unopened:
            return False


# --- what is wrong with stored bots ---


def sealing_keys(bots: Iterable[StoredBot]) -> list[str]:
    """The ids of the keys with which the tokens of these bots are sealed."""
    return sorted({key_id_of(bot.token) for bot in bots} - {""})


def no_key(snapshot: Snapshot) -> Problem:
    """That there is no key: where tokens are sealed already, it takes the one that sealed them."""
    keys = sealing_keys(entry.value for entry in snapshot.document.bots.values())
    return Problem(NO_KEY.place, LOST_KEY, set_the_key(keys)) if keys else NO_KEY


def set_the_key(keys: Collection[str]) -> str:
    """What to do where SECRETS_KEY is not set, and tokens are sealed with these keys."""
    named = " or ".join(keys)
    return (
        f"set it to the key that sealed the tokens in the store, whose key id is {named}, at every "
        "replica, and restart them; a new key does not open them"
    )


def unreadable(bot: StoredBot, why: str) -> Problem:
    """That the token of a bot cannot be read, with what to do."""
    cure = (
        f"set SECRETS_KEY to the key with the id {key_id_of(bot.token)}; or set SECRETS_KEY_OLD to "
        "it and run `switchboard secrets rotate`; or add the bot again with its token"
    )
    message = f"the token of {bot.called} cannot be read: {why}"
    return Problem(f"bot {bot.id}", message, cure)


@dataclass(slots=True)
class Rotation:
    """How far a change of the key came: bots sealed anew, those that were before, and problems."""

    anew: int = 0
    before: int = 0
    problems: list[Problem] = field(default_factory=list)


async def rotate(catalog: Catalog, actor: Actor, sealer: Sealer, why: Why = ROTATED) -> Rotation:
    """Seal every token with the present key; run again after a crash, it goes on where it was.

    A bot that cannot be sealed anew is among the problems, and keeps no other from it.
    """
    done = Rotation()
    for id in [*catalog.snapshot().document.bots]:
        await _rotate(catalog, actor, sealer, id, done, why or ROTATED)
    return done


async def _rotate(
    catalog: Catalog, actor: Actor, sealer: Sealer, id: str, done: Rotation, why: Why
) -> None:
    while True:
        entry = (await catalog.reload()).document.bots.get(id)
        if entry is None:
            return
        bot = entry.value
        if is_of_key(bot, sealer):
            done.before += 1
            return
        try:
            token = sealer.open(bot.token, bot.purpose)
        except Unopened as closed:
            done.problems.append(unreadable(bot, str(closed)))
            return
        anew = bot.model_copy(update={"token": sealer.seal(token, bot.purpose)})
        key = f"rotate:{id}:{revision_of(anew.token)}"
        try:
            await catalog.put_bot(
                actor, anew, action=SEAL, key=key, expected=entry.revision, why=why
            )
        except errors.RevisionConflict:
            continue
        except errors.RegistryUnavailable:
            raise
        except errors.RegistryError as error:  # the others are sealed anyway
            place, message = f"bot {id}", f"{bot.called} was not sealed anew: {error}"
            done.problems.append(Problem(place, message, "run `switchboard secrets rotate` again"))
            return
        done.anew += 1
        return


def is_of_key(bot: StoredBot, sealer: Sealer) -> bool:
    """Whether the token of a bot is sealed with the present key."""
    return key_id_of(bot.token) == sealer.key_id


def may_see(actor: Actor, account: str) -> bool:
    """Whether an actor may see the bots of an account."""
    return verdict(actor.grants, "read", Target("instance", account)) == "yes"


def may_write(actor: Actor, account: str) -> bool:
    """Whether an actor may change the bots of an account, if need be with a reason."""
    return holders_may_write(actor.grants, Target("instance", account))


def lost_bindings(catalog: Catalog, bot: StoredBot) -> Iterator[str]:
    """The slots that are bound for a bot alone: they stay, and bind nothing once it is gone."""
    keys = {bot.id, f"@{bot.username.lower()}"}
    for slot, entry in catalog.snapshot().document.bindings.items():
        one = entry.value
        if (one.binding_key if one.is_of_bot else one.bot) in keys:
            yield slot
