"""Skills as data: an agent's own tools; and whose results may be reused, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from registry import tool_schema
from registry.errors import InvalidValue
from registry.fields import RegistryModel, must
from registry.secrets import shown
from registry.urls import web_parts

LONGEST_CACHE_SECONDS = 86_400.0

Scope = Literal["person", "conversation", "agent"]
"""Who shares a cached result: a person in a conversation, the conversation, or the agent."""

_Glob = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class CacheRule(RegistryModel):
    """A promise that a tool only reads: its result is good for `ttl_seconds`, in its `scope`."""

    ttl_seconds: Annotated[float, Field(gt=0, le=LONGEST_CACHE_SECONDS, strict=False)]
    scope: Scope = "person"


class ServerCache(CacheRule):
    """The same for those tools of a server whose names match `tools` (`*` and `?`)."""

    tools: Annotated[tuple[_Glob, ...], Field(strict=False, min_length=1, max_length=256)]


DESCRIPTION_LIMIT = 8000
INSTRUCTIONS_LIMIT = 4000
LONGEST_SECONDS = 30.0

NAME = re.compile(r"[A-Za-z0-9_-]{1,56}\Z")
NAME_RULE = "1 to 56 of letters, digits, _ and -"
MAX_HEADER = 64
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_FRAMING = frozenset(
    {
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "accept-encoding"),
    }
)
"""Headers that say how a request is to be read: a key in one of them would change the request."""


_name = must(NAME.match, "{} is not a valid skill name", f"use {NAME_RULE}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_NAME_IT = "write the variable's name, not its value"
_variable = must(_VARIABLE.match, "is not a valid variable name", _NAME_IT)


def _url(text: str) -> str:
    if "@" in web_parts(text).netloc or "$" in text:
        cure = "use webhookAuth with a variable's name"
        raise InvalidValue("holds a secret or a reference", cure)
    return text


Variable = Annotated[str, AfterValidator(_variable)]
_Description = Annotated[str, StringConstraints(min_length=1, max_length=DESCRIPTION_LIMIT)]
_Instructions = Annotated[str, StringConstraints(min_length=1, max_length=INSTRUCTIONS_LIMIT)]
_WebhookUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
_Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, strict=False)]


class WebhookAuth(RegistryModel):
    """How a skill authenticates: by variables of the host, never by their values."""

    type: Literal["bearer", "api_key"]
    token_env: Variable | None = None
    header: str | None = None
    key_env: Variable | None = None

    @model_validator(mode="after")
    def _whole(self) -> WebhookAuth:
        bearer = self.type == "bearer"
        if bearer and (self.token_env is None or self.header or self.key_env):
            cure = 'write {"type": "bearer", "tokenEnv": …}'
            raise InvalidValue("a bearer takes only 'tokenEnv'", cure)
        if not bearer and (self.header is None or self.key_env is None or self.token_env):
            cure = "give both, and nothing else"
            raise InvalidValue("an api_key takes 'header' and 'keyEnv'", cure)
        if self.header is not None and not HEADER_NAME.match(self.header[: MAX_HEADER + 1]):
            raise InvalidValue("'header' is not a valid header name", "use letters, digits and -")
        if self.header is not None and len(self.header) > MAX_HEADER:
            raise InvalidValue("'header' is too long", f"use at most {MAX_HEADER} characters")
        if self.header is not None and self.header.lower() in _FRAMING:
            raise InvalidValue(f"'header' may not be {self.header}", "name the header of your key")
        return self

    @property
    def variable(self) -> str:
        """The variable that holds the secret."""
        return self.token_env or self.key_env or ""


class Skill(RegistryModel):
    """An agent's own tool: a webhook, or an internal handler that a package registers.

    An internal one has the description and input schema of its handler unless it gives its own.
    `output_schema` is what its result must match, `timeout_seconds` how long one call may take.
    `requires_approval` asks a person before each call. `instructions` say how it is to be used:
    they stand in the system prompt where the agent's profile has a part for what tools contribute.
    """

    name: Annotated[str, AfterValidator(_name)]
    description: _Description | None = None
    input_schema: Annotated[Mapping[str, Any], AfterValidator(tool_schema.checked)] | None = None
    output_schema: Annotated[Mapping[str, Any], AfterValidator(tool_schema.usable)] | None = None
    execution_type: Literal["webhook", "internal"] = "webhook"
    webhook_url: _WebhookUrl | None = None
    webhook_auth: WebhookAuth | None = None
    internal_handler: Annotated[str, AfterValidator(_name)] | None = None
    timeout_seconds: _Seconds = LONGEST_SECONDS
    cache: CacheRule | None = None
    requires_approval: bool = False
    instructions: _Instructions | None = None
    enabled: bool = True

    @model_validator(mode="after")
    def _of_one_kind(self) -> Skill:
        needed, refused = _FIELDS[self.execution_type]
        if missing := [to_camel(name) for name in needed if getattr(self, name) is None]:
            message = f"a skill of type '{self.execution_type}' needs '{missing[0]}'"
            raise InvalidValue(message, f"add '{missing[0]}'")
        if extra := [to_camel(name) for name in refused if getattr(self, name) is not None]:
            message = f"a skill of type '{self.execution_type}' takes no '{extra[0]}'"
            raise InvalidValue(message, "remove it, or change 'executionType'")
        return self


_FIELDS = {
    "webhook": (("description", "input_schema", "webhook_url"), ("internal_handler",)),
    "internal": (("internal_handler",), ("webhook_url", "webhook_auth")),
}
"""By type: the fields that a skill must have, and those that belong to the other one."""


def check_names(skills: tuple[Skill, ...]) -> tuple[Skill, ...]:
    """The same skills; raises InvalidValue where two have one name."""
    names = [skill.name.lower() for skill in skills]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise InvalidValue(f"two skills have the name {shown(twice)}", "rename one of them")
    return skills


_Skills = Annotated[tuple[Skill, ...], Field(strict=False, max_length=128)]
Skills = Annotated[_Skills, AfterValidator(check_names)]
