"""Presets: variants of an agent that belong to one person, kept in one document for each person."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from registry.definition import Effort, Line, PlainText, Slug
from registry.errors import InvalidValue
from registry.fields import SnakeModel, must
from registry.instance import patterns_named
from registry.policy import Pattern
from registry.roles import DEFAULT_ACCOUNT, Person

MOST_PRESETS = 50
"""Of one person."""
LONGEST_TEXT = 8_000
"""Characters of an override, and of an appended text."""
MOST_BYTES = 64 * 1024
"""Of all presets of one person together."""
MOST_BOTS = 100
"""Bots for which it is remembered which preset is used there; the oldest ones go."""
MOST_TOOLS = 64
RESERVED = frozenset({"all", "default", "delete", "edit", "list", "new", "none", "off", "use"})
"""Names that no preset may have: commands of chats take them for words of their own."""
SLASH = "/"
BARE = ""
"""In place of a preset: the agent itself was chosen."""

_ID, _BOT = re.compile(r"[0-9a-f]{12}"), re.compile(r"[1-9][0-9]{0,18}")
_is_id = must(_ID.fullmatch, "{} is not the id of a preset", "write 12 of 0-9 and a-f")
_is_bot = must(_BOT.fullmatch, "{} is not the id of a bot", "write its numeric id")
_Id = Annotated[str, AfterValidator(_is_id)]
_Bot = Annotated[str, AfterValidator(_is_bot)]
_Chosen = Annotated[str, AfterValidator(lambda text: text and _is_id(text))]
_written = must(str.strip, "is empty", "write something, or leave it out")
_Text = Annotated[PlainText, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(_written)]
_Tools = Annotated[tuple[Pattern, ...], Field(strict=False, max_length=MOST_TOOLS)]


class PresetOverrides(SnakeModel):
    """What else a preset sets; `allowed_tools` only narrows what its agent has.

    A name there means a tool of any server, a skill, or all tools of a server.
    """

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    reasoning_effort: Effort | None = None
    allowed_tools: _Tools | None = None

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """Patterns of the only tools; None for all that the agent has."""
        if self.allowed_tools is None:
            return None
        return tuple(one for name in self.allowed_tools for one in patterns_named(name))


class Preset(SnakeModel):
    """A variant of an agent; `id` stays when everything else changes. Times are in seconds."""

    id: _Id
    instance_name: Slug
    display_name: Annotated[Line, StringConstraints(max_length=128)] | None = None
    base_agent_name: Slug
    primary_model: Annotated[Line, StringConstraints(max_length=200)] | None = None
    system_prompt_override: _Text | None = None
    system_prompt_append: _Text | None = None
    config_overrides: PresetOverrides | None = None
    created_at: Annotated[float, Field(ge=0)] = 0.0
    updated_at: Annotated[float, Field(ge=0)] = 0.0

    @property
    def title(self) -> str:
        """What people read: its display name, or its slug in words."""
        words = " ".join(self.instance_name.replace("-", " ").replace("_", " ").split())
        return self.display_name or words[:1].upper() + words[1:] or self.instance_name

    @property
    def overrides(self) -> PresetOverrides:
        """What else it sets."""
        return self.config_overrides or PresetOverrides()

    def to_json(self) -> dict[str, Any]:
        """The preset as it is stored."""
        value = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not value.get("config_overrides"):
            value.pop("config_overrides", None)
        return value

    def to_text(self) -> str:
        """The preset as one line of JSON, the same for equal presets."""
        return json.dumps(self.to_json(), ensure_ascii=False)


class PersonPresets(SnakeModel):
    """All presets of one person, which of them is their default, and which they use in which bot.

    They are one document, so that a name is taken once and there is one default at most, however
    many write at the same time. `used` is by the bot's id, the newest choice last; `BARE` there
    means that the agent itself was chosen.
    """

    owner: Person
    presets: Annotated[tuple[Preset, ...], Field(strict=False, max_length=MOST_PRESETS)] = ()
    default: _Id | None = None
    used: Annotated[
        Mapping[_Bot, _Chosen],
        Field(max_length=MOST_BOTS),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> PersonPresets:
        names, ids = [one.instance_name for one in self.presets], {one.id for one in self.presets}
        if len(ids) < len(self.presets) or len({*names}) < len(names):
            raise InvalidValue("has the same name or id twice", "rename one of the two")
        if self.default is not None and self.default not in ids:
            raise InvalidValue("has a default that is no preset", "name one of the presets")
        if any(id != BARE and id not in ids for id in self.used.values()):
            raise InvalidValue("uses what is no preset", "name one of the presets")
        return self

    def find(self, id: str | None) -> Preset | None:
        """A preset by its id."""
        return next((one for one in self.presets if one.id == id), None)

    def named(self, name: str) -> Preset | None:
        """A preset by its `instance_name`."""
        return next((one for one in self.presets if one.instance_name == name), None)

    def chosen_in(self, bot: int) -> str | None:
        """The id of what the person chose in a bot, `BARE` for the agent; None for no choice."""
        return self.used.get(str(bot))

    def to_text(self) -> str:
        """The document as it is stored, the same for equal ones."""
        body: dict[str, Any] = {"owner": self.owner}
        body["presets"] = [one.to_json() for one in self.presets]
        body |= {"default": self.default} if self.default else {}
        body |= {"used": dict(self.used)} if self.used else {}
        return json.dumps(body, ensure_ascii=False)


def telegram_owner(person: int) -> str:
    """Whose the presets of a person in Telegram are."""
    return f"tg:{person}"


def account_of_owner(owner: str) -> str:
    """The account in which a person uses agents."""
    kind, _, rest = owner.partition(":")
    return rest.partition(":")[0] if kind == "api" else DEFAULT_ACCOUNT


def preset_key(owner: str, id: str) -> str:
    """A preset among those of all people: `<owner>/<id>`."""
    return f"{owner}{SLASH}{id}"


def split_key(key: str) -> tuple[str, str]:
    """The owner and the id in such a name."""
    owner, _, id = key.rpartition(SLASH)
    return owner, id
