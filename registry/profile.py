"""Profiles of agents: rules, prompt and tools as data, to be used by any number of agents.

And LLM configurations that profiles share. The names are those of document 4.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from registry import profile_state as state
from registry.conditions import LENGTH_LIMIT
from registry.definition import ALL_EFFORTS, Effort, Line, LlmConfiguration, PlainText, ProfileName
from registry.errors import InvalidValue
from registry.fields import Few, Path, SnakeModel, ValidationIssue, is_slug, must
from registry.policy import NAME, NAME_CURE, NAME_SCHEMA, Patterns
from registry.secrets import shown
from registry.state_conditions import PATH, compiled

SELF = "self"
REFLECTION = "SELF_REFLECTION_PROMPT"
"""The source of items by which an agent looks at its own answer again."""
ADDED_LIMIT = 32_000
"""Characters of the payloads and texts that all rules of a profile can add together."""
PAYLOAD_LIMIT = 4_000
"""Characters of JSON in a payload or a value that a rule sets."""
MOST_RULES = 64

_name = must(NAME.match, "{} is not a valid name", NAME_CURE)


def _condition(text: str) -> str:
    compiled(text)
    return text


def _as_text(value: Any) -> Any:
    """A condition as text: YAML reads a bare True as a truth value, a block with a last line."""
    if isinstance(value, str):
        return value.rstrip("\n")
    return str(value) if isinstance(value, bool) else value


def _bounded(value: Any) -> Any:
    """A value as plain JSON, as the journal gives it back: YAML knows dates and other things."""
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        cure = "write texts, numbers below 2^63, lists, and objects whose names are texts"
        raise InvalidValue("is not plain JSON", cure) from None
    if len(text) > PAYLOAD_LIMIT:
        raise InvalidValue(f"has more than {PAYLOAD_LIMIT} characters", "shorten it")
    return orjson.loads(text)


def _target(text: str) -> str:
    if text != SELF and not is_slug(text):
        raise InvalidValue(f"{shown(text)} is no agent", "write self, or the id of an agent")
    return text


def _settable(text: str) -> str:
    if not PATH.match(text) or not text.startswith(state.SETTABLE) or text.count(".") > 5:
        cure = f"write {state.SETTABLE}<name>: rules can set nothing else"
        raise InvalidValue(f"{shown(text)} cannot be set", cure)
    return text


def _told(**schema: Any) -> WithJsonSchema:
    """The JSON schema of a text that a validator of ours checks."""
    return WithJsonSchema({"type": "string", **schema})


_NAME_SCHEMA = _told(pattern=NAME_SCHEMA)
RuleId = Annotated[str, AfterValidator(_name), _NAME_SCHEMA]
Source = Annotated[str, AfterValidator(_name), _NAME_SCHEMA]
_Name = Annotated[ProfileName, _NAME_SCHEMA]
ConditionText = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_condition),
    WithJsonSchema({"type": ["string", "boolean"], "maxLength": LENGTH_LIMIT, "minLength": 1}),
]
_Target = Annotated[str, AfterValidator(_target), _told(pattern="^[a-z0-9][a-z0-9_-]{0,63}$")]
_Settable = Annotated[
    str,
    AfterValidator(_settable),
    _told(pattern=r"^state\.params\.[\w-]+(\.[\w-]+){0,3}$"),
]
Value = Annotated[Any, AfterValidator(_bounded)]
_Texts = Annotated[Mapping[str, PlainText], Field(max_length=256)]
IngestorName = Literal["plain_text", "list", "table", "json"]
_CONDITION = (
    "What must hold, over the state of the turn: `v['state.step'] >= 2 and not v['inbox.count']`."
)


def _needs(given: str, named: Mapping[str, Collection[str]], *more: str) -> dict[str, Any]:
    """A JSON schema that says which fields each kind needs and has."""
    every = {name for names in named.values() for name in names} | {*more}
    return {
        "allOf": [
            {
                "if": {"properties": {given: {"const": kind}}, "required": [given]},
                "then": {
                    "properties": dict.fromkeys(sorted(every - {*own}), False),
                    "required": [name for name in own if name not in more],
                },
            }
            for kind, own in named.items()
        ]
    }


class InboxItem(SnakeModel):
    """What an agent is to read at its next step, from a `source`; it is read once and then gone.

    Without a `payload` it is put into words by its source: the text of that name in the profile's
    `text_definitions`, or the host's.
    """

    source: Annotated[Source, Field(description="What it is about, such as SELF_REFLECTION_PROMPT")]
    consumption_policy: Annotated[
        Literal["consume_on_read"], Field(description="It is read once, and then gone.")
    ] = "consume_on_read"
    payload: Annotated[Value, Field(description="What it says: a text, a list, or JSON.")] = None


class ObserverAction(SnakeModel):
    """What an observer does: add an item to an inbox, or set a value of `state.params`."""

    model_config = ConfigDict(
        json_schema_extra=_needs(
            "type",
            {"add_to_inbox": ["inbox_item", "target_agent_id"], "set_state": ["path", "value"]},
            "target_agent_id",
        )
    )

    type: Annotated[Literal["add_to_inbox", "set_state"], Field(description="What is done.")]
    target_agent_id: Annotated[
        _Target, Field(description="Whose inbox: `self`, or the id of an agent.")
    ] = SELF
    inbox_item: Annotated[InboxItem | None, Field(description="What is added.")] = None
    path: Annotated[
        _Settable | None, Field(description="What is set: `state.params.` and a name.")
    ] = None
    value: Annotated[Value, Field(description="To what it is set, for the rest of the turn.")] = (
        None
    )


class Observer(SnakeModel):
    """A rule that looks at the state before or after each answer of the model (document 4, 2)."""

    id: Annotated[RuleId, Field(description="Its name, once in a profile.")]
    type: Annotated[Literal["declarative"], Field(description="All are declarative.")] = (
        "declarative"
    )
    condition: Annotated[ConditionText, Field(description=_CONDITION)]
    action: Annotated[ObserverAction, Field(description="What is done where it holds.")]


class FlowAction(SnakeModel):
    """The outcome of a turn whose newest answer calls no tool.

    `outcome` and `message` are of `end_agent_turn`, `inbox_item` of `loop_with_inbox_item`.
    """

    model_config = ConfigDict(
        json_schema_extra=_needs(
            "type",
            {
                "continue_with_tool": [],
                "end_agent_turn": ["outcome", "message"],
                "loop_with_inbox_item": ["inbox_item"],
                "await_user_input": [],
            },
            *("outcome", "message", "inbox_item"),
        )
    )

    type: Annotated[
        Literal["continue_with_tool", "end_agent_turn", "loop_with_inbox_item", "await_user_input"],
        Field(
            description="Go on with the tool that was called; end the turn; let the model take one "
            "more step, with an item to read; or wait for the next message of the person."
        ),
    ]
    outcome: Annotated[
        Literal["success", "error"] | None,
        Field(description="How a turn that is ended is told: as done, or as failed."),
    ] = None
    message: Annotated[
        Annotated[PlainText, StringConstraints(max_length=2_000)] | None,
        Field(
            description="What is added to what was said; `{{ state.last_error }}` stands for a "
            "value of the state. Unset, an error has words of the host."
        ),
    ] = None
    inbox_item: Annotated[
        InboxItem | None,
        Field(description="What the model reads at its next step; unset: a self-reflection."),
    ] = None


class FlowRule(SnakeModel):
    """A rule of the flow: the first whose condition holds decides (document 4, 3)."""

    id: Annotated[RuleId, Field(description="Its name, once in a profile.")]
    condition: Annotated[ConditionText, Field(description=_CONDITION)]
    action: Annotated[FlowAction, Field(description="What is decided where it holds.")]


class Segment(SnakeModel):
    """A part of the system prompt; parts stand in the order of their `order` (document 4, 4).

    `static_text` has `content`, or the text of `text_definitions` that `text_definition` names.
    `state_value` has what is at `path`, as its `ingestor` writes it. `title` is a line above it.
    """

    model_config = ConfigDict(
        json_schema_extra=_needs(
            "type",
            {
                "static_text": ["content", "text_definition"],
                "state_value": ["path", "ingestor"],
                "tool_description": [],
                "tool_contributed_context": [],
            },
            *("content", "text_definition", "ingestor"),
        )
    )

    type: Annotated[
        Literal["static_text", "state_value", "tool_description", "tool_contributed_context"],
        Field(
            description="A text; a value of the state; the agent's tools; or what servers and "
            "skills say of themselves."
        ),
    ]
    order: Annotated[
        int, Field(ge=-1_000_000, le=1_000_000, description="Its place: the lowest comes first.")
    ] = 0
    id: Annotated[RuleId | None, Field(description="Its name, for people.")] = None
    title: Annotated[
        Annotated[Line, StringConstraints(max_length=200)] | None,
        Field(description="A line above it."),
    ] = None
    content: Annotated[
        PlainText | None,
        Field(description="The text; `{{ person.name }}` stands for a value of the state."),
    ] = None
    text_definition: Annotated[
        Line | None, Field(description="The name of a text in text_definitions.")
    ] = None
    path: Annotated[
        Annotated[Line, _told(examples=[one for one, at in state.PATHS.items() if at.frozen])]
        | None,
        Field(description="Where the value is, such as `state.params`; it is read once a turn."),
    ] = None
    ingestor: Annotated[
        IngestorName | None, Field(description="How the value is written; unset: by its shape.")
    ] = None


class PromptConstruction(SnakeModel):
    """How the agent's own part of the system prompt is built."""

    system_prompt_segments: Annotated[
        Few[Segment], Field(description="Its parts; they stand in the order of their `order`.")
    ] = ()


class ToolAccessPolicy(SnakeModel):
    """The only tools that an agent may use (document 4, 5).

    A name in `allowed_toolsets` is that of a set in `toolsets`, of a set in the `toolPolicy` of
    the agent, or of one of its servers, which means all tools of that.
    """

    toolsets: Annotated[
        Mapping[_Name, Patterns],
        Field(max_length=64, description="Sets of tools by name, each a list of patterns."),
    ] = Field(default_factory=dict)
    allowed_toolsets: Annotated[
        Few[Line] | None,
        Field(description="The sets that are allowed: of this profile, of the agent, or servers."),
    ] = None
    allowed_individual_tools: Annotated[
        Patterns | None,
        Field(description="Tools that are allowed besides, such as `mcp:crm:find` or a bare name."),
    ] = None

    @property
    def narrows(self) -> bool:
        """Whether it says which tools are allowed at all."""
        return self.allowed_toolsets is not None or self.allowed_individual_tools is not None


_Observers = Annotated[tuple[Observer, ...], Field(strict=False, max_length=MOST_RULES)]
_Rules = Annotated[tuple[FlowRule, ...], Field(strict=False, max_length=MOST_RULES)]


class Profile(SnakeModel):
    """How agents behave, as data: document 4, 1."""

    name: Annotated[_Name, Field(description="The name by which agents refer to it.")]
    type: Annotated[
        Annotated[Line, StringConstraints(max_length=64)] | None,
        Field(description="Its role in words, such as principal, associate or partner."),
    ] = None
    description: Annotated[
        Annotated[PlainText, StringConstraints(max_length=2_000)] | None,
        Field(description="What it is for, in lists."),
    ] = None
    llm_config_ref: Annotated[
        _Name | None, Field(description="The name of a model configuration that it shares.")
    ] = None
    pre_turn_observers: Annotated[
        _Observers, Field(description="Rules that look before each answer of the model.")
    ] = ()
    post_turn_observers: Annotated[
        _Observers, Field(description="Rules that look after each answer of the model.")
    ] = ()
    flow_decider: Annotated[
        _Rules, Field(description="What follows an answer that calls no tool: the first decides.")
    ] = ()
    system_prompt_construction: Annotated[
        PromptConstruction | None,
        Field(description="What agents without text of their own say, part by part."),
    ] = None
    tool_access_policy: Annotated[
        ToolAccessPolicy | None,
        Field(description="The only tools, where the agent itself does not say."),
    ] = None
    text_definitions: Annotated[
        _Texts, Field(description="Texts by name: for segments, and for items of that source.")
    ] = Field(default_factory=dict)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the system prompt, in their order."""
        construction = self.system_prompt_construction or PromptConstruction()
        return tuple(sorted(construction.system_prompt_segments, key=lambda one: one.order))

    @property
    def has_rules(self) -> bool:
        """Whether anything is to be looked at while a turn runs."""
        return bool(self.pre_turn_observers or self.post_turn_observers or self.flow_decider)

    @property
    def speaks_of_instructions(self) -> bool:
        """Whether its segments have the agent's own instructions in them."""
        return any(state.INSTRUCTIONS in self.paths_of(one) for one in self.segments)

    def text_of(self, segment: Segment) -> str:
        """The text of a `static_text` segment, not filled in."""
        if segment.content is not None:
            return segment.content
        return self.text_definitions.get(segment.text_definition or "", "")

    def paths_of(self, segment: Segment) -> list[str]:
        """The paths of the state that a segment reads."""
        if segment.type == "state_value":
            return [segment.path or ""]
        return [*state.paths_in(self.text_of(segment))] if segment.type == "static_text" else []

    def to_json(self) -> dict[str, Any]:
        """The profile in the names of its file, without what is only a default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def to_text(self) -> str:
        """The profile as one line of JSON, the same for equal profiles."""
        return json.dumps(self.to_json(), ensure_ascii=False)


class NamedLlmConfig(SnakeModel):
    """Model settings under a name, which profiles refer to; what is None is left to the host."""

    name: Annotated[_Name, Field(description="The name by which profiles refer to it.")]
    model: Annotated[
        Annotated[Line, StringConstraints(max_length=200)] | None,
        Field(description="The model that is asked first."),
    ] = None
    temperature: Annotated[
        Annotated[float, Field(ge=0, le=2)] | None, Field(description="How freely it chooses.")
    ] = None
    max_tokens: Annotated[
        Annotated[int, Field(ge=1, le=10_000_000)] | None,
        Field(description="The tokens of one answer at most."),
    ] = None
    reasoning_effort: Annotated[
        Annotated[Effort, WithJsonSchema({"type": "string", "enum": [*ALL_EFFORTS]})] | None,
        Field(description="How much it thinks before it answers."),
    ] = None
    fallback_model: Annotated[
        Annotated[Line, StringConstraints(max_length=200)] | None,
        Field(description="The model that answers where the first one stays busy or breaks off."),
    ] = None

    @property
    def settings(self) -> LlmConfiguration:
        """The settings as a layer of an agent."""
        return LlmConfiguration(**self.model_dump(exclude={"name"}))

    def to_json(self) -> dict[str, Any]:
        """The configuration in the names of its file, without what is only a default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def to_text(self) -> str:
        """The configuration as one line of JSON, the same for equal ones."""
        return json.dumps(self.to_json(), ensure_ascii=False)


# --- what the fields of a profile say together ----------------------------------------------------


def profile_issues(profile: Profile) -> Iterator[ValidationIssue]:
    """What is wrong with a profile whose fields are valid, each with its path."""
    yield from _ids(profile)
    observers = (("pre_turn_observers", profile.pre_turn_observers),)
    for name, several in (*observers, ("post_turn_observers", profile.post_turn_observers)):
        for at, one in enumerate(several):
            yield from _of_observer(one.action, (name, at, "action"))
            yield from _unknown_paths(compiled(one.condition).paths, (name, at, "condition"))
    for at, rule in enumerate(profile.flow_decider):
        yield from _of_flow(rule.action, ("flow_decider", at, "action"))
        yield from _unknown_paths(compiled(rule.condition).paths, ("flow_decider", at, "condition"))
    yield from _added_together(profile)
    construction = profile.system_prompt_construction or PromptConstruction()
    for at, segment in enumerate(construction.system_prompt_segments):
        path = ("system_prompt_construction", "system_prompt_segments", at)
        yield from _of_segment(profile, segment, path)
    for name, text in profile.text_definitions.items():
        yield from _unknown_paths(state.paths_in(text), ("text_definitions", name))
        yield from _odd_places(text, ("text_definitions", name))


def _ids(profile: Profile) -> Iterator[ValidationIssue]:
    seen: dict[str, str] = {}
    for name in ("pre_turn_observers", "post_turn_observers", "flow_decider"):
        for at, one in enumerate(getattr(profile, name)):
            if one.id in seen:
                message = f"the id '{one.id}' is used twice: {seen[one.id]} has it as well"
                yield ValidationIssue((name, at, "id"), message, "give each rule an id of its own")
            seen.setdefault(one.id, f"{name}[{at}]")


def _added_together(profile: Profile) -> Iterator[ValidationIssue]:
    """That the items of all rules, of which one request may have each, are too long together."""
    total = 0
    for name in ("pre_turn_observers", "post_turn_observers", "flow_decider"):
        for at, rule in enumerate(getattr(profile, name)):
            if (item := rule.action.inbox_item) is None:
                continue
            text = profile.text_definitions.get(item.source, "")
            length = len(text if item.payload is None else orjson.dumps(item.payload).decode())
            if total <= ADDED_LIMIT < total + length:
                message = (
                    f"with this rule the rules can add more than {ADDED_LIMIT} characters of "
                    "payloads and texts"
                )
                cure = "shorten them, or put what is always true into the system prompt"
                yield ValidationIssue((name, at, "action", "inbox_item"), message, cure)
            total += length


def _of_observer(action: ObserverAction, path: Path) -> Iterator[ValidationIssue]:
    given = action.model_fields_set
    if action.target_agent_id != SELF:
        message, cure = "items to another agent are not delivered yet", "write self"
        yield ValidationIssue((*path, "target_agent_id"), message, cure, level="warning")
    own = {"add_to_inbox": ("inbox_item",), "set_state": ("path", "value")}[action.type]
    others = {"target_agent_id", "inbox_item"} if action.type == "set_state" else {"path", "value"}
    for name in own:
        if name not in given or (name != "value" and getattr(action, name) is None):
            yield ValidationIssue(path, f"'{action.type}' has no '{name}'", f"add '{name}'")
    for name in sorted(others & given):
        message = f"'{name}' does not belong to '{action.type}'"
        yield ValidationIssue((*path, name), message, "remove it")


def _of_flow(action: FlowAction, path: Path) -> Iterator[ValidationIssue]:
    own = {
        "end_agent_turn": {"outcome", "message"},
        "loop_with_inbox_item": {"inbox_item"},
    }.get(action.type, set())
    for name in sorted(action.model_fields_set - own - {"type"}):
        message = f"'{name}' does not belong to '{action.type}'"
        yield ValidationIssue((*path, name), message, "remove it")
    yield from _unknown_paths(state.paths_in(action.message or ""), (*path, "message"))


_OF_SEGMENTS: Mapping[str, frozenset[str]] = {
    "static_text": frozenset({"content", "text_definition"}),
    "state_value": frozenset({"path", "ingestor"}),
    "tool_description": frozenset(),
    "tool_contributed_context": frozenset(),
}


def _of_segment(profile: Profile, segment: Segment, path: Path) -> Iterator[ValidationIssue]:
    own = _OF_SEGMENTS[segment.type]
    for name in sorted(segment.model_fields_set - own - {"type", "order", "id", "title"}):
        message = f"'{name}' does not belong to a segment '{segment.type}'"
        yield ValidationIssue((*path, name), message, "remove it")
    if segment.type == "static_text":
        if (segment.content is None) == (segment.text_definition is None):
            cure = "give one of 'content' and 'text_definition'"
            yield ValidationIssue(path, "a 'static_text' has one text", cure)
        named = segment.text_definition
        if named is not None and named not in profile.text_definitions:
            known = ", ".join(sorted(profile.text_definitions)) or "none"
            message = f"no text {shown(named)} is defined"
            cure = f"define it under 'text_definitions'; known: {known}"
            yield ValidationIssue((*path, "text_definition"), message, cure)
    if segment.type == "state_value" and segment.path is None:
        yield ValidationIssue(path, "a 'state_value' has no 'path'", "add 'path'")
        return
    yield from _odd_places(segment.content or "", (*path, "content"))
    held = next((one for one in ("path", "content") if getattr(segment, one)), "text_definition")
    yield from _unknown_paths(profile.paths_of(segment), (*path, held), frozen=True)
    for read in profile.paths_of(segment):
        if (found := state.known(read)) is not None and not found.frozen:
            message = f"{shown(read)} changes while a turn runs, and the system prompt does not"
            yield ValidationIssue((*path, held), message, "put it into words in an inbox item")


def _odd_places(text: str, path: Path) -> Iterator[ValidationIssue]:
    """That a text has `{{` where no path follows: it is not filled in."""
    if (odd := state.odd_place(text)) is not None:
        message = f"{shown(odd)} is no place for a value, and stays as it is written"
        cure = "write {{ path }}, such as {{ person.name }}"
        yield ValidationIssue(path, message, cure, level="warning")


def _unknown_paths(
    paths: Iterable[str], path: Path, *, frozen: bool = False
) -> Iterator[ValidationIssue]:
    for one in paths:
        if state.known(one) is None:
            message = f"nothing is ever at {shown(one)}"
            cure = state.near(one, frozen=frozen)
            yield ValidationIssue(path, message, cure, level="warning")
