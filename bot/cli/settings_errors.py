"""Wrong settings as problems: the variable, what is wrong and the cure, never the value."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bot.settings import Settings
from registry.errors import Problem
from registry.fields import describe, fields_of, model_at, nearest

Loc = tuple[int | str, ...]
_NOT_A_MODEL = ("model_type", "model_attributes_type", "dict_type", "list_type")


def settings_errors(error: ValidationError) -> list[Problem]:
    """One problem for each setting that was refused."""
    return [_problem(one) for one in error.errors(include_input=False, include_url=False)]


def _problem(details: ErrorDetails) -> Problem:
    loc, inside = _split(details["loc"])
    message, cure = describe(details)
    match details["type"]:
        case "missing":
            message, cure = "is not set", "set it, or remove what else begins like it"
        case "extra_forbidden":
            message, cure = "is not a setting", _suggestion(loc)
        case kind if kind in _NOT_A_MODEL:
            message, cure = _not_a_whole(loc)
    part = ".".join(str(step) for step in inside if isinstance(step, str))
    return Problem(_variable(loc), f"{part} {message}".strip(), cure or _meaning(loc))


def _split(loc: Loc) -> tuple[Loc, Loc]:
    """The variable, and the place inside its value."""
    ends = min(len(loc), 3)  # BOTS, its number, and one of its fields
    if loc[0] != "bots":
        ends = next((n for n in range(1, len(loc)) if model_at(loc[:n], Settings) is None), ends)
    return loc[:ends], loc[ends:]


def _not_a_whole(loc: Loc) -> tuple[str, str]:
    """The message and cure where a setting with parts was set as a whole."""
    parts = _parts(loc)
    if parts == [_variable(loc)]:
        return "must be JSON", ""
    return "cannot be set as a whole", f"set {', '.join(parts[:-1])} or {parts[-1]}"


def _variable(loc: Loc) -> str:
    return "__".join(str(part).upper() for part in loc)


def _suggestion(loc: Loc) -> str:
    """The cure for a misspelt setting: the nearest one, or all there are."""
    known = _parts(loc[:-1])
    near = nearest(_variable(loc), known, 0.8)
    return f"did you mean {near}?" if near else f"known are {', '.join(known)}"


def _parts(loc: Loc) -> list[str]:
    """The variables below a place, as they are written."""
    model = model_at(loc, Settings)
    below = (*loc, 0) if loc == ("bots",) else loc
    return [_variable((*below, name)) for name in fields_of(model)] if model else [_variable(loc)]


def _meaning(loc: Loc) -> str:
    model: Any = model_at(loc[:-1], Settings)
    field = fields_of(model).get(str(loc[-1])) if model else None
    return f"it is: {field.description}" if field and field.description else "correct it"
