"""Changes of core agents that wait for a second person (`REVIEW__CORE=two`); pure values."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from registry.fields import Few, RegistryModel, valid_slug
from registry.revisions import differences
from registry.roles import Duty, RoleGrant

_NEEDED: Mapping[str, Duty] = {"text": "qa", "tools": "security"}
"""The review that a section takes: a prompt that of QA, tools that of security (spec 5, 9.31)."""
_PROFILE = "profile"
"""The field by which an agent has prompt and tools of somebody else's writing."""


class Approval(RegistryModel):
    """Who has approved a proposal, and for what."""

    by: str
    duties: Few[Duty]


class Proposal(RegistryModel):
    """A change of an agent that is not live yet.

    `text` is the definition as it shall be, `base` the hash of what it was made over (None: there
    was no such agent), `key` the API key that was shown, if any, `at` the time in seconds since the
    epoch. `mark` tells it from every other one: it is random, since an author could find two texts
    of one short hash.
    """

    agent: Annotated[str, AfterValidator(valid_slug)]
    mark: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    text: str
    base: str | None = None
    by: str
    key: str = ""
    at: float = 0.0
    reason: str = ""
    ticket: str = ""
    needs: Few[Duty] = ()
    approvals: Few[Approval] = Field(())

    @property
    def missing(self) -> tuple[Duty, ...]:
        """The reviews that are still to be given."""
        given = {duty for approval in self.approvals for duty in approval.duties}
        return tuple(duty for duty in self.needs if duty not in given)

    def to_text(self) -> str:
        """The document as it is stored."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(body, ensure_ascii=False)


def reviews_needed(old: Any, new: Any) -> tuple[Duty, ...]:
    """The reviews that a change of an agent takes; none for a removal."""
    if new is None:
        return ()
    changes = differences(old or {}, new)
    sections = {change.section for change in changes}
    # A field of no name is too much at once to be told apart.
    is_whole = any(change.field in ("", _PROFILE) for change in changes)
    return tuple(duty for section, duty in _NEEDED.items() if is_whole or section in sections)


def duties_of(grants: Collection[RoleGrant]) -> tuple[Duty, ...]:
    """The reviews that a person may give: those that their roles of the whole host name."""
    held = {duty for grant in grants if grant.scope == "host" for duty in grant.duties}
    return tuple(duty for duty in _NEEDED.values() if duty in held)
