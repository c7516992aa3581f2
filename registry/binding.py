"""Bindings of agents to bots, chats and persons: their index, and how they are resolved."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, field_validator, model_validator

from registry.errors import InvalidValue
from registry.fields import RegistryModel, valid_slug
from registry.instance import is_instance_id
from registry.secrets import detect_secret, shown

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_USERNAME = re.compile(r"@[a-z][a-z0-9_]{3,31}\Z")
_OTHER = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class AgentBindingType(StrEnum):
    """What a binding is tied to."""

    TelegramBot = "TelegramBot"
    ChatId = "ChatId"
    UserId = "UserId"


def _agent(text: str) -> str:
    """The id of an agent, or of an instance: `<account>/<name>`."""
    return text if is_instance_id(text) else valid_slug(text)


_TYPES = {kind.value.lower(): kind for kind in AgentBindingType}


class AgentBinding(RegistryModel):
    """Binds an agent or an instance to a bot, a chat or a person; `bot` narrows the last two.

    A bot is given by the SHA-256 of its token in hex, by its numeric id, or by its @username.
    """

    agent_id: Annotated[str, AfterValidator(_agent)]
    type: AgentBindingType
    binding_key: str
    bot: str | None = None

    @property
    def is_of_bot(self) -> bool:
        """Whether it binds a bot as a whole."""
        return self.type is AgentBindingType.TelegramBot

    @property
    def slot(self) -> str:
        """What is bound, as one text: `<type>:<key>`, then `:bot:<bot>` where it has one."""
        own = f"{self.type.value.lower()}:{self.binding_key}"
        return own if self.bot is None else f"{own}:bot:{self.bot}"

    @field_validator("type", mode="before")
    @classmethod
    def _any_type(cls, value: Any) -> Any:
        kind = _TYPES.get(value.replace("_", "").lower()) if isinstance(value, str) else None
        if kind is None and not isinstance(value, AgentBindingType):
            raise InvalidValue("is not a binding type", "write TelegramBot, ChatId or UserId")
        return kind or value

    @field_validator("binding_key", "bot", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("bot")
    @classmethod
    def _bot(cls, value: str | None) -> str | None:
        return None if value is None else bot_key(value)

    @model_validator(mode="after")
    def _key(self) -> AgentBinding:
        if self.type is AgentBindingType.TelegramBot:
            if self.bot is not None:
                raise InvalidValue("'bot' belongs to ChatId and UserId bindings", "remove it")
            key = bot_key(self.binding_key)
        else:
            key = _number_key(self.binding_key, self.type)
        # the only write to a frozen value: its key in the one spelling that is compared
        object.__setattr__(self, "binding_key", key)
        return self

    def to_text(self) -> str:
        """The binding as one line of JSON in the spec's names."""
        value = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(value, ensure_ascii=False)


def parts_of_slot(slot: str) -> dict[str, str]:
    """What a slot says, in the names of a binding."""
    kind, _, rest = slot.partition(":")
    key, scoped, bot = rest.partition(":bot:")
    return {"type": kind, "bindingKey": key, **({"bot": bot} if scoped else {})}


def token_hash(token: str) -> str:
    """The SHA-256 of a bot token in hex: the key that the spec binds a bot by."""
    return hashlib.sha256(token.encode()).hexdigest()


def bot_key(text: str) -> str:
    """A bot's key in the form that is compared: a hash, an id, an @username, or the name itself."""
    if detect_secret(text) == "a bot token":
        cure = "write its hash: switchboard token-hash"
        raise InvalidValue("a bot token is written in plain text", cure)
    lowered = text.strip().lower()
    if _HASH.match(lowered) or _USERNAME.match(lowered):
        return lowered
    if lowered.isascii() and lowered.isdigit() and 0 < len(lowered) < 20 and int(lowered) > 0:
        return str(int(lowered))
    if _OTHER.match(text):
        return text
    cure = "write the SHA-256 of its token in hex, its numeric id, or its @username"
    raise InvalidValue(f"{shown(text)} does not name a bot", cure)


def is_bot_key(text: str) -> bool:
    """Whether a key can match a bot at all; others are stored, with a warning."""
    return bool(_HASH.match(text) or _USERNAME.match(text) or text.isdigit())


def _number_key(text: str, kind: AgentBindingType) -> str:
    digits = text.strip()
    plain = digits.removeprefix("-")
    if not (plain.isascii() and plain.isdigit()) or len(plain) > 19 or not int(plain):
        raise InvalidValue(f"{shown(text)} is not a numeric id", "write the numeric id, not a name")
    if kind is AgentBindingType.UserId and digits.startswith("-"):
        raise InvalidValue("a person's id is positive", "a negative id is a chat: use ChatId")
    return str(int(digits))


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """A bot as bindings may name it; its names are unknown until the bot has said them.

    `manages`: people may create bots by it, which it then manages.
    """

    token_hash: str
    id: int
    username: str | None = None
    name: str | None = None
    manages: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Every spelling that a binding may use for this bot."""
        keys = (self.token_hash, str(self.id))
        return (*keys, "@" + self.username.lower().lstrip("@")) if self.username else keys


OF_ONE_BOT = ("chat in this bot", "person in this bot", "bot")
"""The rules of bindings that are for one bot alone."""
Rule = Literal[
    "chat in this bot",
    "person in this bot",
    "bot",
    "chat",
    "person",
    "default",
    "nobody",
    "instance",
    "preset",
    "draft",
]


@dataclass(frozen=True, slots=True)
class LostProfile:
    """An agent or an instance that cannot answer, as its profile is not there."""

    agent: str
    profile: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which agent answers, by which rule, and why in a sentence; None where nobody does.

    `preset` is the person's own that is laid over the agent, as `<owner>/<id>`, '' for none. `lost`
    is the agent that counts here and cannot answer.
    """

    agent_id: str | None
    rule: Rule
    why: str
    preset: str = ""
    lost: LostProfile | None = None


_Slot = tuple[AgentBindingType, str, str | None]


class Bindings:
    """An immutable index of bindings; the earlier of two is the one that counts."""

    __slots__ = ("_slots",)

    def __init__(self, bindings: Iterable[AgentBinding] = ()) -> None:
        self._slots: dict[_Slot, tuple[int, AgentBinding]] = {}
        for order, binding in enumerate(bindings):
            slot = (binding.type, binding.binding_key, binding.bot)
            self._slots.setdefault(slot, (order, binding))

    def __iter__(self) -> Iterator[AgentBinding]:
        return (binding for _, binding in self._slots.values())

    def __len__(self) -> int:
        return len(self._slots)

    def of_bot(self, bot: BotIdentity) -> AgentBinding | None:
        """The bot's own binding, under whichever of its names came first."""
        return self._first((AgentBindingType.TelegramBot, key, None) for key in bot.keys)

    def scoped(self, kind: AgentBindingType, key: str, bot: BotIdentity) -> AgentBinding | None:
        """The binding of a chat or a person for this very bot."""
        return self._first((kind, key, alias) for alias in bot.keys)

    def plain(self, kind: AgentBindingType, key: str) -> AgentBinding | None:
        """The binding of a chat or a person for every bot."""
        return self._first([(kind, key, None)])

    def conflicts(self, bots: Iterable[BotIdentity]) -> list[tuple[AgentBinding, AgentBinding]]:
        """Pairs of bindings that name one bot in two ways: the first of each pair counts."""
        owner = {key: bot.id for bot in bots for key in bot.keys}
        firsts: dict[tuple[AgentBindingType, str, int], AgentBinding] = {}
        found: list[tuple[AgentBinding, AgentBinding]] = []
        for (kind, key, bot), (_, binding) in self._slots.items():
            is_bot = kind is AgentBindingType.TelegramBot
            alias = key if is_bot else bot
            if alias is None or alias not in owner:
                continue
            first = firsts.setdefault((kind, "" if is_bot else key, owner[alias]), binding)
            if first is not binding:
                found.append((first, binding))
        return found

    def _first(self, slots: Iterable[_Slot]) -> AgentBinding | None:
        found = [self._slots[slot] for slot in slots if slot in self._slots]
        return min(found, key=lambda pair: pair[0])[1] if found else None


def resolve(
    bindings: Bindings,
    default: str | None,
    bot: BotIdentity,
    chat: int | None,
    person: int | None,
    known: Container[str],
    lost: Callable[[str], str | None] = lambda _id: None,
) -> Resolution:
    """The agent that answers: by the first rule that leads to a known one, or None.

    Order: chat then person for this very bot, the bot, a chat, a person, the default agent.
    `lost` names the profile for want of which one that is not known cannot answer: nobody else does
    in its place.
    """
    passed: list[str] = []
    for rule, binding in candidates(bindings, bot, chat, person):
        if binding is None:
            continue
        if binding.agent_id in known:
            return Resolution(binding.agent_id, rule, "; ".join([*passed, f"bound to this {rule}"]))
        profile = lost(binding.agent_id)
        so = f"whose profile '{profile}' does" if profile else "which does"
        passed.append(f"the binding of this {rule} names '{binding.agent_id}', {so} not exist")
        if profile:
            own = LostProfile(binding.agent_id, profile)
            return Resolution(None, rule, "; ".join(passed), lost=own)
    if default in known:
        return Resolution(default, "default", "; ".join([*passed, "the default agent"]))
    if default is None:
        passed.append("no binding and no default agent")
    elif profile := lost(default):
        passed.append(f"the profile '{profile}' of the default agent '{default}' does not exist")
        own = LostProfile(default, profile)
        return Resolution(None, "default", "; ".join(passed), lost=own)
    else:
        passed += [f"the default agent '{default}' does not exist", "no agent"]
    return Resolution(None, "nobody", "; ".join(passed))


def candidates(
    bindings: Bindings, bot: BotIdentity, chat: int | None, person: int | None
) -> Iterator[tuple[Rule, AgentBinding | None]]:
    """What is bound by each rule in turn; an id of None matches no binding."""
    yield "chat in this bot", bindings.scoped(AgentBindingType.ChatId, str(chat), bot)
    yield "person in this bot", bindings.scoped(AgentBindingType.UserId, str(person), bot)
    yield "bot", bindings.of_bot(bot)
    yield "chat", bindings.plain(AgentBindingType.ChatId, str(chat))
    yield "person", bindings.plain(AgentBindingType.UserId, str(person))
