"""Rewrites the table of settings in docs/configuration.md: `python deploy/reference.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bot.settings import Settings, meanings
from registry.fields import fields_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"

AGENT_VARIABLES: Mapping[str, str] = {
    "AGENTS__<n>__ID": "The id of a new agent, or of the agent in the file to change.",
    "AGENTS__<n>__NAME": "Its name.",
    "AGENTS__<n>__DESCRIPTION": "What it is for.",
    "AGENTS__<n>__CUSTOMINSTRUCTIONS": "Its instructions in the system prompt.",
    "AGENTS__<n>__MCPSERVERENDPOINTS__0": "Addresses of its MCP servers.",
    "AGENTS__<n>__MCPSERVERS__0": "Names of the servers below `MCPSERVERS__…` or in the file.",
    "AGENTS__<n>__WHITELISTPATTERNS__0": "What it may call without asking: `mcp:<server>:<tool>`.",
    "AGENTS__<n>__LLMOVERRIDES__MODEL": "Its model; likewise `TEMPERATURE`, `MAXTOKENS` and "
    "`REASONINGEFFORT`.",
    "AGENTS__<n>__LINKPREVIEWS": "true: Telegram may fetch the first link of its answers.",
    "BINDINGS__<n>__AGENTID": "A binding: the agent that answers.",
    "BINDINGS__<n>__TYPE": "TelegramBot, ChatId or UserId.",
    "BINDINGS__<n>__BINDINGKEY": "The bot's hash, id or @username; or a chat's or person's id.",
    "BINDINGS__<n>__BOT": "For ChatId and UserId: only in this bot.",
    "DEFAULTAGENTID": "The agent that answers if no binding applies.",
    "MCPSERVERS__TIME__COMMAND": "A server for all agents; TIME is its name. Likewise `ARGS__0`, "
    "`ENV__…`, `CWD`, `URL`, `HEADERS__…`, `TYPE`.",
    "NAME": "Single-agent mode, if no agents are configured: the name of that agent.",
    "MCPSERVERS__<n>__ENDPOINT": "Single-agent mode: addresses of its MCP servers.",
    "WHITELISTPATTERNS__0": "Single-agent mode: what it may call without asking.",
}
"""Variables that the registry reads, as strictly as the file; docs/agents.md explains them."""


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
    words = meanings(model)
    for name, field in fields_of(model).items():
        path = prefix + name.upper()
        nested, many = model_inside(field.annotation)
        if nested is None:
            yield path, default(field), described(path, words[name])
        else:
            yield from variables(nested, f"{path}__<n>__" if many else f"{path}__")
    if model is Settings:
        for path, meaning in AGENT_VARIABLES.items():
            yield path, "–", meaning.replace("|", "\\|")


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


def described(path: str, words: str) -> str:
    """What a setting means, for a cell of the table; ValueError where nothing says it."""
    if not words:
        raise ValueError(f"nothing below {path} in bot/settings.py says what it means")
    return words.replace("|", "\\|")


if __name__ == "__main__":
    main()
