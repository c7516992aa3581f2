"""Skills in Python: functions of a package of yours that agents may call as tools.

    from bot.skills import SkillContext, skill

    @skill
    async def in_stock(article: str, context: SkillContext) -> dict[str, int]:
        '''How many pieces of an article are in stock.'''
        return {"pieces": await count(article)}

The package names the module, or the function, in its entry points under the group
`switchboard.skills`; an agent's document names the skill as `internalHandler`. Knows nothing of
agents, of chats, or of how a skill is run.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NotRequired, Required, TypeVar, cast, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from typing_extensions import TypedDict

from registry import tool_schema
from registry.errors import InvalidValue
from registry.skill import DESCRIPTION_LIMIT, NAME, NAME_RULE

F = TypeVar("F", bound=Callable[..., Any])

GROUP = "switchboard.skills"


@dataclass(frozen=True, slots=True)
class SkillContext:
    """Whom a skill runs for: the host, not the model, fills a parameter of this type.

    `instance_id` is the account, `user_id` the person, `conversation` the chat (and topic) with
    its line, `agent` the agent's id. `key` is the id of the API key of a person over HTTP. `call`
    is another text for each call, also for one that is made again after a crash.
    """

    instance_id: str
    user_id: str
    conversation: str = ""
    agent: str = ""
    key: str = ""
    call: str = ""


class SkillError(Exception):
    """A failure that the model may read of; `retry` says that another try may help."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


class InvalidArguments(ValueError):
    """Arguments that do not fit; says what is wrong and where."""


@dataclass(frozen=True, eq=False)
class InternalSkill:
    """A function that agents may call by `name`; it can still be called as a function."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    function: Callable[..., Any]
    _adapter: TypeAdapter[Any] | None = field(default=None, repr=False)
    _context: str | None = field(default=None, repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def bind(self, arguments: Mapping[str, Any], context: SkillContext) -> Callable[[], Any]:
        """The call with its arguments as their hints say; raises InvalidArguments."""
        given = dict(arguments)
        if self._adapter is not None:
            try:
                given = dict(self._adapter.validate_python(given))
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise InvalidArguments(f"{first['msg']} at {where}") from None
        if self._context is not None:
            given[self._context] = context
        return lambda: self.function(**given)


@overload
def skill(function: F, /) -> InternalSkill: ...
@overload
def skill(
    *,
    name: str | None = None,
    description: str | None = None,
    input_schema: Mapping[str, Any] | None = None,
) -> Callable[[F], InternalSkill]: ...


def skill(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    input_schema: Mapping[str, Any] | None = None,
) -> InternalSkill | Callable[[F], InternalSkill]:
    """Make a function a skill: name and description from it, the schema from its type hints.

    With a schema of its own, arguments arrive as plain JSON values. Raises TypeError, which names
    the function and the fix, if it cannot be a skill.
    """

    def make(wrapped: Callable[..., Any]) -> InternalSkill:
        own = name or wrapped.__name__
        text = (description or inspect.getdoc(wrapped) or "").strip()
        if not NAME.match(own):
            raise TypeError(f"skill {own!r}: name it with {NAME_RULE}")
        if not text:
            raise TypeError(f"skill {own!r}: the model needs a description; write a docstring")
        if len(text) > DESCRIPTION_LIMIT:
            raise TypeError(f"skill {own!r}: its description is too long; shorten it")
        context, hints = _parameters(own, wrapped, hinted=input_schema is None)
        adapter: TypeAdapter[Any] | None = None
        schema = dict(input_schema or {})
        if input_schema is None:
            fields = cast("Any", TypedDict)(own, hints)
            fields.__pydantic_config__ = ConfigDict(extra="forbid")
            adapter = TypeAdapter(fields)
            schema = adapter.json_schema(schema_generator=_Schema)
        try:
            tool_schema.checked(schema)
        except InvalidValue as wrong:
            raise TypeError(f"skill {own!r}: its input {wrong.message}; {wrong.cure}") from None
        return InternalSkill(own, text, schema, wrapped, adapter, context)

    return make if function is None else make(function)


def _parameters(
    name: str, function: Callable[..., Any], *, hinted: bool
) -> tuple[str | None, dict[str, Any]]:
    types = typing.get_type_hints(function, include_extras=True)
    context, hints = None, {}
    for one in inspect.signature(function).parameters.values():
        hint = types.get(one.name)
        if hint is SkillContext:
            context = one.name
        elif hinted and (hint is None or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)):
            raise TypeError(
                f"skill {name!r}: give the parameter {one.name!r} a type hint, "
                "or the skill an input_schema"
            )
        elif hinted:
            hints[one.name] = Required[hint] if one.default is one.empty else NotRequired[hint]
        if one.kind is one.POSITIONAL_ONLY:
            raise TypeError(f"skill {name!r}: {one.name!r} must be taken by name; remove the '/'")
    return context, hints


class _Schema(GenerateJsonSchema):
    def decimal_schema(self, schema: Any) -> JsonSchemaValue:  # noqa: ARG002
        """Without the library's pattern, which looks around: the value is checked anyway."""
        return {"anyOf": [{"type": "number"}, {"type": "string"}]}
