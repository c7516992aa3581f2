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
    alike = (name, name.replace("_", "-"), name.replace("-", "_"))
    known = next((one for one in alike if one in snapshot.agents), None)
    return _agent(snapshot, caller, known) if known else None


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
    """An agent: for callers of the host, and for the others where it is marked as a template."""
    entry = snapshot.agents[id]
    is_host = caller.is_of_host or caller.account == DEFAULT_ACCOUNT
    if not (is_host or entry.value.template) or not caller.reaches_agent(id):
        return None
    return Offered(id, id, caller.account, entry.value.name, entry.revision)
