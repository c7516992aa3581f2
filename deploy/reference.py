"""Writes the table of settings in docs/configuration.md anew: `python deploy/reference.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bot.settings import AGENT_VARIABLES, Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def main() -> None:
    """Put the table between its two marks."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(renewed(page), encoding="utf-8")


def renewed(page: str) -> str:
    """The page with the table of today; ValueError where a mark is missing."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"{PAGE}: the marks {BEGIN.strip()} and {END.strip()} are gone")
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


def table() -> str:
    """One row for each variable: its name, its default and its meaning."""
    rows = [f"| `{name}` | {default} | {words} |" for name, default, words in variables(Settings)]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def variables(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every variable of a settings model as (name, default, description), nested ones spelt out."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name).upper()
        nested, many = model_inside(field.annotation)
        if nested is None:
            yield path, default(field), described(path, field)
        else:
            yield from variables(nested, f"{path}__<n>__" if many else f"{path}__")
    if model is Settings:
        for path, words in AGENT_VARIABLES.items():
            yield path, "–", words.replace("|", "\\|")


def model_inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that an annotation holds, if any, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for inner in get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner, True
    return None, False


def default(field: FieldInfo) -> str:
    """The default as an operator would type it; a dash where there is none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or value is None or value in ([], frozenset(), {}):
        return "–"
    return f"`{value}`"


def described(path: str, field: FieldInfo) -> str:
    """The field's description on one line; ValueError where it has none."""
    if not field.description:
        raise ValueError(f"{path} has no description in bot/settings.py")
    return " ".join(field.description.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
