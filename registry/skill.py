"""A skill: a tool of an agent that is a web address, as data (the spec's names)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from registry.fields import Frozen, Wrong
from registry.pasted import shown

_NAME = re.compile(r"[A-Za-z0-9_-]{1,56}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise Wrong(
            f"{shown(text)} is no name of a skill", "use 1 to 56 of letters, digits, _ and -"
        )
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.match(text):
        raise Wrong("is no name of a variable", "write the variable's name, not its value")
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Wrong("is no address", "write https://host/path") from None
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise Wrong("is no http or https address", "write https://host/path")
    if "@" in parts.netloc or "$" in text:
        raise Wrong("holds a secret or a reference", "use webhookAuth with a variable's name")
    return text


def _schema(value: Mapping[str, Any]) -> Mapping[str, Any]:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    if value.get("type") != "object":
        raise Wrong("must describe an object", 'begin with "type": "object"')
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        raise Wrong(f"is no JSON Schema, at {error.json_path[:80]}", "correct it") from None
    return value


Variable = Annotated[str, AfterValidator(_variable)]


class WebhookAuth(Frozen):
    """How a skill shows who calls: by variables of the host, never by their values."""

    type: Literal["bearer", "api_key"]
    token_env: Variable | None = None
    header: str | None = None
    key_env: Variable | None = None

    @model_validator(mode="after")
    def _whole(self) -> WebhookAuth:
        bearer = self.type == "bearer"
        if bearer and (self.token_env is None or self.header or self.key_env):
            raise Wrong(
                "a bearer takes 'tokenEnv' alone", 'write {"type": "bearer", "tokenEnv": …}'
            )
        if not bearer and (self.header is None or self.key_env is None or self.token_env):
            raise Wrong("an api_key takes 'header' and 'keyEnv'", "give both, and nothing else")
        if self.header is not None and not _HEADER.match(self.header):
            raise Wrong("'header' is no name of a header", "use letters, digits and -")
        return self

    @property
    def variable(self) -> str:
        """The variable that holds the secret."""
        return self.token_env or self.key_env or ""


class Skill(Frozen):
    """A webhook that is a tool. `requires_approval` asks a person before each call."""

    name: Annotated[str, AfterValidator(_name)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=8000)]
    input_schema: Annotated[Mapping[str, Any], AfterValidator(_schema)]
    execution_type: Literal["webhook"] = "webhook"
    webhook_url: Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
    webhook_auth: WebhookAuth | None = None
    requires_approval: bool = False
    enabled: bool = True


def check_names(skills: tuple[Skill, ...]) -> tuple[Skill, ...]:
    """The same skills; raises `Wrong` where two have one name."""
    names = [skill.name.lower() for skill in skills]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise Wrong(f"two skills have the name {shown(twice)}", "rename one of them")
    return skills


Skills = Annotated[
    Annotated[tuple[Skill, ...], Field(strict=False, max_length=128)], AfterValidator(check_names)
]
