"""Tool policies as data: which tools an agent has, which ask first, and who approves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from registry import conditions
from registry.errors import InvalidValue
from registry.fields import Few, Many, RegistryModel, must
from registry.secrets import shown

REQUIRE_CONFIRMATION = ("delete_*", "publish_*")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
NAME_SCHEMA = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The same for JSON schemas."""
NAME_CURE = "use 1 to 64 of letters, digits, dot, hyphen and underscore"
_PATTERN = re.compile(r"[^\s\[\]{}\\\x00-\x1f\x7f]{1,256}\Z")
_NOT_IN_A_NAME = re.compile(r"""[^\w*?:./@$+~-]""")
_NOTHING = ("none", "off", "no", "false", "never", "nothing")
_WORDS = ("asker", "admins", "hostAdmins")
_set_name = must(NAME.match, "{} is not a valid name for a toolset", NAME_CURE)
_FLAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_flag = must(_FLAG.match, "{} is not a valid name for a flag", "use letters, digits, _, . and -")


def _pattern(text: str) -> str:
    if not _PATTERN.match(text) or "**" in text:
        cure = "write mcp:<server>:<tool> or skill:<name>, with * and ? as wildcards"
        raise InvalidValue(f"{shown(text)} is not a valid pattern", cure)
    _, *named = text.split(":", 2)
    if text.startswith("mcp:") and not (len(named) == 2 and all(named)):
        message = f"{shown(text)} does not name server and tool"
        raise InvalidValue(message, "write mcp:<server>:<tool>")
    return text


def _condition(text: str) -> str:
    try:
        conditions.check(text)
    except InvalidValue as wrong:
        raise InvalidValue(f"{shown(text)} {wrong.message}", wrong.cure) from None
    return text


def _approver(value: Any) -> Any:
    if isinstance(value, bool) or not (isinstance(value, int) or value in _WORDS):
        cure = 'write "asker", "admins", "hostAdmins", or a numeric Telegram id'
        raise InvalidValue(f"{shown(str(value))} cannot approve", cure)
    return value


def patterns_of(text: str) -> tuple[str, ...]:
    """The patterns of a list in one line; raises InvalidValue. `none` means no patterns."""
    given = text.replace(",", " ").split()
    if given == ["none"]:
        return ()
    for one in given:
        if one.lower() in _NOTHING:
            raise InvalidValue(f"{shown(one)} is not a pattern", "write none, alone, for no tool")
        if strange := _NOT_IN_A_NAME.search(one):
            message = f"{shown(one)} has a {strange[0]}, which is in no name of a tool"
            raise InvalidValue(message, "write the patterns without quotes, with commas between")
    return tuple(map(_pattern, given))


Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Many[Pattern]
_Approver = Annotated[Any, AfterValidator(_approver)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Flags = Few[Annotated[str, AfterValidator(_flag)]]
_Roles = Annotated[tuple[Literal["admin", "everyone"], ...], Field(strict=False, max_length=8)]


class ToolCondition(RegistryModel):
    """A rule: `tools` are only for people with one of `roles`, and only if all `features` are on.

    And only if the condition `when` holds; `registry.conditions` says what that may contain.
    """

    tools: Patterns
    roles: _Roles = ("everyone",)
    features: _Flags = ()
    when: Annotated[str, AfterValidator(_condition)] | None = None


class ToolPolicy(RegistryModel):
    """Which tools an agent has, which of them ask a person every time, and who may approve.

    `allowed_toolsets` and `allowed_individual_tools` together are the agent's tools: without both
    it has all, and with only empty ones it has none. `approval_minutes` is how long a question
    stays open. `approvers` and `approval_minutes` are left to the host by None.
    """

    toolsets: Mapping[str, Patterns] = Field(default_factory=dict)
    allowed_toolsets: Many[_Name] | None = None
    allowed_individual_tools: Patterns | None = None
    disabled_tools: Patterns = ()
    require_confirmation: Patterns = REQUIRE_CONFIRMATION
    conditions: Few[ToolCondition] = ()
    features: _Flags = ()
    approvers: Few[_Approver] | None = None
    approval_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 14)] | None = None

    @model_validator(mode="after")
    def _sets_are_there(self) -> ToolPolicy:
        for name in self.toolsets:
            _set_name(name)
        for name in self.allowed_toolsets or ():
            if name not in self.toolsets:
                known = ", ".join(sorted(self.toolsets)) or "none"
                cure = f"define it under 'toolsets'; known: {known}"
                raise InvalidValue(f"no toolset {shown(name)} is defined", cure)
        if self.approvers == ():
            cure = 'write "asker", "admins", "hostAdmins", or numeric ids'
            raise InvalidValue("'approvers' names nobody", cure)
        return self

    @property
    def allowed(self) -> tuple[str, ...] | None:
        """Patterns of the tools that the agent has; None for all."""
        if self.allowed_toolsets is None and self.allowed_individual_tools is None:
            return None
        sets = [self.toolsets[name] for name in self.allowed_toolsets or ()]
        return (*(p for one in sets for p in one), *(self.allowed_individual_tools or ()))
