"""Which agents a caller may name: the instances of their account, and agents that are offered."""

from __future__ import annotations

from dataclasses import dataclass

from bot.http.api.caller import Caller
from registry.roles import DEFAULT_ACCOUNT
from registry.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Offered:
    """An agent that a caller may use. `name` is what they call it, `id` what the host does.

    `account` is whose instance it is, or the caller's own; `revision` changes with the agent.
    """

    name: str
    id: str
    account: str
    title: str
    revision: str


def offered(snapshot: Snapshot, caller: Caller) -> list[Offered]:
    """All agents that a caller may use: own instances, those of others that they reach, agents."""
    found = [
        one
        for id, entry in snapshot.document.instances.items()
        if (one := _instance(snapshot, caller, id, _short(caller, id)))
        and entry.value.account == caller.account
    ]
    found += [
        one
        for id, entry in snapshot.document.instances.items()
        if entry.value.account != caller.account and (one := _instance(snapshot, caller, id, id))
    ]
    taken = {one.name for one in found}
    agents = (_agent(snapshot, caller, id) for id in snapshot.agents if id not in taken)
    return [*found, *(one for one in agents if one)]


def find_offered(snapshot: Snapshot, caller: Caller, name: str) -> Offered | None:
    """The agent that a caller calls by a name; None where there is none, or it is not for them.

    A name is that of an instance of the caller's account, else `<account>/<name>`, else an agent's
    id, of which hyphens and underscores are alike.
    """
    id = name if "/" in name else f"{caller.account}/{name}"
    if snapshot.instance(id) is not None:
        return _instance(snapshot, caller, id, name)
    known = snapshot.agent_named(name)
    return _agent(snapshot, caller, known) if known else None


def is_for(snapshot: Snapshot, caller: Caller, agent: str) -> bool:
    """Whether an agent is for a caller: all are for those of the host, templates for the others."""
    is_host = caller.is_of_host or caller.account == DEFAULT_ACCOUNT
    return (is_host or snapshot.agents[agent].value.template) and caller.reaches_agent(agent)


def _short(caller: Caller, id: str) -> str:
    return id.removeprefix(f"{caller.account}/")


def _instance(snapshot: Snapshot, caller: Caller, id: str, name: str) -> Offered | None:
    """An instance, unless it is out of the caller's reach or nothing can run it."""
    entry = snapshot.document.instances[id]
    own = entry.value
    if not caller.reaches_account(own.account) or not caller.reaches_agent(own.instance_name):
        return None
    if snapshot.unknown_type(id) is not None:
        return None
    return Offered(name, id, own.account, own.title, entry.revision)


def _agent(snapshot: Snapshot, caller: Caller, id: str) -> Offered | None:
    """An agent, where it is for the caller."""
    if not is_for(snapshot, caller, id):
        return None
    entry = snapshot.agents[id]
    return Offered(id, id, caller.account, entry.value.name, entry.revision)
