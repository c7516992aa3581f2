"""Who answers a request: the instance in its path, a preset of the caller, or a bare agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from bot.http.api.caller import Caller
from bot.http.api.needs import Host
from bot.http.api.offered import find_offered
from bot.http.api.problems import CONFIG_FIELD, NOT_FOUND, PRESET_FIELD, ApiError
from bot.turn.results import BROKEN
from registry.expansion import unknown_name
from registry.instance import SLASH, instance_id
from registry.preset import preset_key
from registry.preset_rules import fault_of
from registry.roles import CORE, DEFAULT_ACCOUNT, verdict
from registry.snapshot import Snapshot

_PRESET = "A preset of yours: its agent answers, under it. See `/api/v1/agent-instances`."
_CONFIG = "An agent, which answers as it is."
PresetQuery = Annotated[str | None, Query(max_length=64, description=_PRESET)]
ConfigQuery = Annotated[str | None, Query(max_length=160, description=_CONFIG)]


class WhoAnswers(BaseModel):
    """The fields of a body that name who is to answer; one of them at most."""

    agent_instance_id: str | None = Field(None, max_length=64, description=_PRESET)
    agent_config_name: str | None = Field(None, max_length=160, description=_CONFIG)


@dataclass(frozen=True, slots=True)
class ChosenAgent:
    """Who answers: the id of an instance or an agent, in an account, under a preset if any.

    `revision` changes with the agent.
    """

    id: str
    account: str
    preset: str = ""
    revision: str = ""


def named(
    host: Host, caller: Caller, account: str, preset: str | None, config: str | None
) -> ChosenAgent | None:
    """Who is named beside the path; None where nobody is. Raises ApiError."""
    if preset is None and config is None:
        return None
    if preset is not None and config is not None:
        detail = f"Send {PRESET_FIELD} or {CONFIG_FIELD}, not both."
        raise ApiError(422, "invalid", detail, field=CONFIG_FIELD)
    snapshot = host.catalog.snapshot()
    if preset is not None:
        return _under_preset(snapshot, caller, account, preset)
    found = find_offered(snapshot, caller, config or "")
    if found is None:
        raise ApiError(404, "not-found", NOT_FOUND, field=CONFIG_FIELD)
    return ChosenAgent(found.id, found.account, revision=found.revision)


def _under_preset(snapshot: Snapshot, caller: Caller, account: str, id: str) -> ChosenAgent:
    """A preset of the caller; raises ApiError, for those of others as for unknown ones."""
    owner = caller.actor.id
    key = preset_key(owner, id)
    preset = snapshot.preset(key)
    if preset is None:
        raise ApiError(404, "not-found", NOT_FOUND, field=PRESET_FIELD)
    base = preset.base_agent_name
    if account != caller.account:
        detail = f"A preset answers in the account of this key: {caller.account}."
        raise ApiError(422, "invalid", detail, field=PRESET_FIELD)
    if not reaches_base(snapshot, caller, base):
        detail = f"This key reaches {caller.agent} alone, and the preset stands on another agent."
        raise ApiError(403, "denied", detail, field=PRESET_FIELD)
    require_profile(snapshot, caller, base)
    if why := fault_of(snapshot, owner, preset):
        raise ApiError(422, "preset-unusable", why, field=PRESET_FIELD)
    return ChosenAgent(base, account, key, snapshot.agents[base].revision)


def require_profile(snapshot: Snapshot, caller: Caller, id: str) -> None:
    """Raise ApiError where an agent or an instance lacks its profile, so that it cannot answer.

    Those who may see profiles, and keys of the operator's own account, read which one that is.
    """
    if (profile := snapshot.lost_profile(id)) is None:
        return
    detail = BROKEN
    may = verdict(caller.actor.grants, "read", CORE) == "yes"
    if may or caller.account == DEFAULT_ACCOUNT:
        message, cure = unknown_name("profile", profile, snapshot.all_profiles.profiles)
        detail = f"{BROKEN} Agent '{id}' does not answer: {message}; {cure}"
    raise ApiError(503, "profile-missing", detail)


def reaches_base(snapshot: Snapshot, caller: Caller, base: str) -> bool:
    """Whether a key may use presets of an agent: one of a single agent or instance only its own."""
    if caller.agent in (None, base):
        return True
    own = snapshot.instance(instance_id(caller.account, str(caller.agent)))
    entry = snapshot.type_named(own.agent_type) if own else None
    return entry is not None and entry.value.id == base


def is_of_path(turn: str, path: str) -> bool:
    """Whether a turn of this agent or instance may be asked for under an instance in a path.

    What a preset or a bare agent answers belongs to no instance: every path of the account does.
    """
    return turn == path or SLASH not in turn
