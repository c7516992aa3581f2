"""What of a broken profile can be read, so that all its mistakes are told in one run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from registry.errors import InvalidValue
from registry.fields import Path, ValidationIssue, canonical
from registry.profile import Profile, PromptConstruction, profile_issues

_NOTHING = {"type": "set_state", "path": "state.params.unread", "value": None}
_RULES: Mapping[str, Any] = {
    "pre_turn_observers": _NOTHING,
    "post_turn_observers": _NOTHING,
    "flow_decider": {"type": "continue_with_tool"},
}
"""By a list of rules, an action about which nothing is ever said."""
_CONSTRUCTION, _SEGMENTS = "system_prompt_construction", "system_prompt_segments"
_TEXTS = "text_definitions"


def further_issues(value: Any, found: Iterable[ValidationIssue]) -> Iterator[ValidationIssue]:
    """What the valid parts of a profile say together; `found` are the mistakes of its fields."""
    paths = {one.path for one in found if one.path and one.level == "error"}
    if not isinstance(value, Mapping):
        return
    try:
        own = canonical(value, Profile)
        profile = Profile.model_validate({**_readable(own, paths), "name": "Unread"})
    except (ValidationError, InvalidValue):
        return
    # A text may be defined in what cannot be read.
    unsure = any(path[0] == _TEXTS or path[0] not in Profile.model_fields for path in paths)
    for issue in profile_issues(profile):
        if not (unsure and issue.path[-1] == "text_definition"):
            yield issue


def _readable(value: Mapping[str, Any], paths: Collection[Path]) -> dict[str, Any]:
    """The fields of a profile without what is wrong: of its lists the entries keep their places."""
    kept = {name: item for name, item in value.items() if name in Profile.model_fields}
    for path in paths:
        name, number = str(path[0]), path[1] if len(path) > 1 else None
        rules, segment = kept.get(name), _segment_of(path)
        if name in _RULES and isinstance(rules, list) and isinstance(number, int):
            rule = {"id": f"{name}.{number}", "condition": "True", "action": _RULES[name]}
            kept[name] = _with(rules, number, rule)
        elif name == _CONSTRUCTION and segment is not None and isinstance(rules, Mapping):
            inner = canonical(rules, PromptConstruction)
            there = _with(inner.get(_SEGMENTS), segment, {"type": "tool_description"})
            kept[name] = {_SEGMENTS: there}
        elif name == _TEXTS and isinstance(rules, Mapping) and number in rules:
            kept[name] = {**rules, number: "unread"}
        else:
            kept.pop(name, None)
    return kept


def _segment_of(path: Path) -> int | None:
    """The number of the segment in which a path of a profile ends, if it does in one."""
    found = path[2] if len(path) > 2 else None
    return found if isinstance(found, int) else None


def _with(entries: Any, number: int, entry: Any) -> list[Any]:
    """A list with another entry in one place."""
    own = list(entries) if isinstance(entries, list) else []
    return [*own[:number], entry, *own[number + 1 :]]
