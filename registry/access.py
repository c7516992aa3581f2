"""Who was let in or blocked, as documents: one of a person or a group, in a bot or in all bots."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from registry.fields import RegistryModel, must

_SUBJECT = re.compile(r"(person:[1-9][0-9]{0,18}|chat:-[1-9][0-9]{0,18})@(\*|[1-9][0-9]{0,18})")
AccessSubject = Annotated[
    str,
    AfterValidator(
        must(
            _SUBJECT.fullmatch,
            "{} names neither a person nor a group",
            "write person:<id>@<bot> or chat:<id>@<bot>, with * for all bots",
        )
    ),
]


class AccessGrant(RegistryModel):
    """A person or a group that an admin let in (`member`) or blocked.

    `at` is in seconds since the epoch, `by` the id of the admin, `name` what the subject is called.
    """

    subject: AccessSubject
    level: Literal["member", "blocked"]
    by: str = ""
    at: Annotated[int, Field(ge=0)] = 0
    name: Annotated[str, Field(max_length=300)] = ""

    def to_text(self) -> str:
        """The document as it is stored."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
