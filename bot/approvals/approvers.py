"""Who may approve a call, what was allowed permanently ("Always"), and /approvals to revoke it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from bot.access.current_roles import CurrentRoles
from bot.access.rules import HOST_ADMINS, Access
from bot.agents.resolver import RunnableAgent
from bot.approvals.request import ApprovalDecision, ApprovalRequest
from bot.command import CommandContext, CommandResult, Reply, code, command, escape_markdown
from bot.messages import LineContext, PersonId, User

_CHANGES = {"agent_builder": "agents", "instance": "bindings"}
"""What a tier of the permission table has, in words."""


def is_named_approver(request: ApprovalRequest, person: PersonId) -> bool:
    """Whether a person may approve by id alone, without a look at any list of admins."""
    approvers = request.approvers
    return person in approvers or ("asker" in approvers and person == request.asker.id)


def is_personal_grant(request: ApprovalRequest, person: PersonId) -> bool:
    """Whether what this person allows permanently holds for their own messages alone.

    In a group, the asker can allow nothing for others.
    """
    return not request.address.private and _approver_role(request, person) == "asker"


def _approver_role(request: ApprovalRequest, person: PersonId, *, host_admin: bool = False) -> str:
    """By which right a person decides: named by id, the asker, a host admin or a chat admin."""
    if person in request.approvers:
        return "named"
    if is_named_approver(request, person):
        return "asker"
    return HOST_ADMINS if host_admin and HOST_ADMINS in request.approvers else "admins"


def grant_name(agent: str, key: str, fingerprint: str) -> str:
    """The name of a grant: the agent, the tool, and what the tool was when it was allowed."""
    return f"{agent}|{fingerprint}|{key}"


def new_grants(
    before: ApprovalRequest, after: ApprovalRequest, now: float, *, host_admin: bool = False
) -> dict[str, bytes]:
    """What a decision allowed permanently, by grant name; `host_admin`: whether one decided."""
    found = {}
    for old, call in zip(before.calls, after.calls, strict=True):
        if call.permanent and not old.permanent:
            role = _approver_role(after, call.decided_by, host_admin=host_admin)
            given = {"by": call.decided_by, "name": call.decided_by_name, "at": int(now)}
            name = grant_name(after.turn.agent, call.key, call.fingerprint)
            found[name] = orjson.dumps(given | {"as": role})
    return found


@dataclass(frozen=True, slots=True)
class Approvers:
    """Judges who may approve: by id, as who asked, as an admin of the chat or of the host.

    `roles` are those that people have now: some calls take the right of who allows them.
    """

    access: Access
    roles: CurrentRoles | None = None

    def for_agent(self, agent: RunnableAgent, bot: int) -> tuple[int | str, ...]:
        """Who may approve what this agent wants to do at a bot.

        "asker", "admins" (of the chat), "hostAdmins" and numeric ids.
        """
        return self.access.approvers(agent.effective.tool_policy.approvers, bot)

    def valid_grants(
        self,
        grants: Mapping[str, Mapping[str, Any]],
        agent: RunnableAgent,
        bot: int,
        person: PersonId,
    ) -> list[str]:
        """Names of the grants that hold today for a turn of this person.

        A grant holds as long as the person who gave it may approve such a turn.
        """
        approvers, valid = self.for_agent(agent, bot), []
        for name, grant in grants.items():
            giver, role = int(grant.get("by", 0)), grant.get("as", "asker")
            if not self.access.is_admin(giver) and (
                role == HOST_ADMINS or self.access.is_blocked("person", giver, bot)
            ):
                continue
            if giver in approvers or (role in approvers and (role != "asker" or giver == person)):
                valid.append(name)
        return valid

    def may_decide(self, person: User) -> bool:
        """Whether a person decides as an admin: of the host, or over HTTP of the account."""
        return person.may_decide or self.access.is_admin(person.id)

    async def may_answer(self, line: LineContext, request: ApprovalRequest, person: User) -> bool:
        """Whether a person may decide a request; over HTTP the admins of the account always may."""
        if person.may_decide and request.address.stream:
            return True
        if is_named_approver(request, person.id):
            return True
        if HOST_ADMINS in request.approvers and self.may_decide(person):
            return True
        if "admins" not in request.approvers:
            return False
        return await line.channel.is_chat_admin(request.address, person.id)

    def lacked(self, request: ApprovalRequest, decision: ApprovalDecision, person: User) -> str:
        """What a person may not change, and so not allow, in words; '' for nothing."""
        if decision.choice not in ("once", "always"):
            return ""
        needed = {request.calls[i].right for i in request.affected(decision)} - {""}
        for tier in sorted(needed):
            if self.roles is None or not self.roles.may_write(person.id, person.key, tier):
                return _CHANGES.get(tier, tier)
        return ""

    async def may_supersede(
        self, line: LineContext, request: ApprovalRequest, person: User
    ) -> bool:
        """Whether a message of this person ends the wait of a request."""
        if request.address.private or person.id == request.asker.id:
            return True
        if await self.may_answer(line, request, person):
            return True
        if "admins" in request.approvers:
            return False
        people: set[PersonId] = {one for one in request.approvers if isinstance(one, int)}
        people |= {request.asker.id} if "asker" in request.approvers else set()
        people |= self.access.admins if HOST_ADMINS in request.approvers else set()
        for id in people:
            if not await line.channel.has_left(request.address, id):
                return False
        return True  # everybody who may answer has left the chat


NO_GRANTS = "Nothing is permanently allowed here; I ask every time."
HOW_TO_REVOKE = "To revoke one: /approvals revoke and its number, or /approvals revoke all."
NO_SUCH_GRANT = "There is no number {} in the list; /approvals shows it."


@command(
    "approvals",
    "show or revoke what I may do here without asking",
    usage="[revoke NUMBER | revoke all]",
    concurrent=True,
)
async def approvals(context: CommandContext) -> CommandResult:
    """List the permanent permissions of this conversation, or revoke some: anybody may."""
    found = sorted((await context.grants()).items(), key=lambda pair: pair[1]["at"])
    words = context.words
    if not found:
        return Reply(NO_GRANTS)
    if len(words) == 2 and words[0].lower() == "revoke":
        return await _revoke(context, [name for name, _ in found], words[1])
    group = not context.incoming.address.private
    lines = [f"{n}\\. {_grant_line(name, body, group)}" for n, (name, body) in enumerate(found, 1)]
    return Reply("\n".join(["**Allowed here without asking:**", *lines, "", HOW_TO_REVOKE]))


async def _revoke(context: CommandContext, names: list[str], which: str) -> CommandResult:
    if which.lower() == "all":
        chosen = names
    elif which.isascii() and which.isdigit() and 0 < int(which) <= len(names):
        chosen = [names[int(which) - 1]]
    else:
        return Reply(NO_SUCH_GRANT.format(escape_markdown(which[:20])))
    for name in chosen:
        await context.revoke_grant(name)
    listed = ", ".join(code(_granted_tool(name)) for name in chosen)
    return Reply(f"Revoked: {listed}. I ask again from now on.")


def _grant_line(name: str, body: Mapping[str, Any], group: bool) -> str:
    at = datetime.fromtimestamp(body["at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    agent = name.split("|", 1)[0]
    alone = ", for their own messages" if group and body.get("as") == "asker" else ""
    who = escape_markdown(str(body["name"]))
    return f"{code(_granted_tool(name))} for {escape_markdown(agent)}, by {who}{alone}, {at}"


def _granted_tool(name: str) -> str:
    return name.split("|", 2)[-1]
