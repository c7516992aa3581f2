"""Drafts: an agent as one person is about to change it, not in force; pure values."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from registry.definition import AgentDefinition, Slug
from registry.errors import InvalidValue
from registry.fields import RegistryModel, is_slug, must
from registry.roles import OPERATOR_ACTOR, is_person

SLASH = "/"
_LINE = re.compile(r"bot:[1-9][0-9]{0,19}")
_CURE = "write tg:<id>, api:<account>:<user> or operator"


def is_author(text: str) -> bool:
    """Whether a text names somebody who may have drafts: a person, or the command line."""
    return text == OPERATOR_ACTOR.id or is_person(text)


_author = must(is_author, "{} does not name a person", _CURE)
_line = must(_LINE.fullmatch, "{} is not the line of a bot", "write bot:<id>")


def draft_id(agent: str, author: str) -> str:
    """The id of the draft that somebody has of an agent: `<agent>/<author>`."""
    return f"{agent}{SLASH}{author}"


def is_draft_id(text: str) -> bool:
    """Whether a text is `<agent>/<author>`."""
    agent, slash, author = text.partition(SLASH)
    return slash == SLASH and is_slug(agent) and is_author(author)


class TestPlace(RegistryModel):
    """Where its author tries a draft: one chat of one bot, by the id that the chat had at first."""

    line: Annotated[str, AfterValidator(_line)]
    chat: int


class Draft(RegistryModel):
    """An agent as its author wants it to be.

    `base` is the hash of the revision that it was made from, None for an agent that is new. `at` is
    when it was changed last, in seconds since the epoch.
    """

    agent: Slug
    by: Annotated[str, AfterValidator(_author)]
    definition: AgentDefinition
    base: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    at: float = 0.0
    tested_in: TestPlace | None = None

    @model_validator(mode="after")
    def _of_its_agent(self) -> Draft:
        if self.definition.id != self.agent:
            message = "the id of its definition is not that of its agent"
            raise InvalidValue(message, "write the same one")
        return self

    @property
    def id(self) -> str:
        """`<agent>/<author>`."""
        return draft_id(self.agent, self.by)

    def to_json(self) -> dict[str, Any]:
        """The draft in the names of the store, its definition as agents are written."""
        value = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {**value, "definition": self.definition.to_json()}

    def to_text(self) -> str:
        """The draft as it is stored."""
        return json.dumps(self.to_json(), ensure_ascii=False)
