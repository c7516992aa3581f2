"""One agent from `NAME=…`: the form of configuration that was there before agents were data."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry.draft import Draft, Part
from registry.errors import Problem
from registry.json_text import Path
from registry.keys import slug

DOCUMENT = "environment"


def read_legacy(environ: Mapping[str, str], has_bot: bool) -> Draft | None:
    """The draft of a single agent, which is the default one; None without a name or without a bot.

    Reads `NAME`, `MCPSERVERS__<n>__ENDPOINT` and `WHITELISTPATTERNS__<n>`.
    """
    name = environ.get("NAME", "").strip()
    if not name or not has_bot:
        return None
    agent_id = slug(name)
    if agent_id is None:
        cure = "use a name with letters a-z, or describe the agent with AGENTS__0__ID"
        return Draft(problems=(Problem("NAME", "no id can be made of this name", cure),))
    endpoints = _listed(environ, "MCPSERVERS__", "__ENDPOINT")
    patterns = _listed(environ, "WHITELISTPATTERNS__", "")
    agent = {
        "id": agent_id,
        "name": name,
        "mcpServerEndpoints": list(endpoints.values()),
        "whitelistPatterns": list(patterns.values()),
    }
    at = _places({"mcpServerEndpoints": list(endpoints), "whitelistPatterns": list(patterns)})
    note = Problem(
        "NAME",
        f"no agents are configured, so NAME and its companions made the agent '{agent_id}'",
        "describe it in agents.json, or as AGENTS__0__ID, to tune it further",
        level="note",
    )
    return Draft(
        agents=(Part(agent, at, DOCUMENT),),
        default=Part(agent_id, at, DOCUMENT),
        problems=(note,),
    )


def _listed(environ: Mapping[str, str], head: str, tail: str) -> dict[str, str]:
    """Variables `<head><n><tail>` with their values, in the order of their numbers."""
    found: dict[int, str] = {}
    for variable, value in environ.items():
        upper = variable.upper()
        number = upper.removeprefix(head).removesuffix(tail)
        if upper == f"{head}{number}{tail}" and number.isdigit() and value:
            found[int(number)] = variable
    return {found[number]: environ[found[number]] for number in sorted(found)}


def _places(variables: Mapping[str, list[str]]) -> Callable[[Path], str]:
    def at(path: Path) -> str:
        if len(path) > 1 and isinstance(path[1], int):
            return variables[str(path[0])][path[1]]
        return "NAME"

    return at
