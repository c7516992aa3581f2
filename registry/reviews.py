"""Approves or rejects changes of core agents that wait for a second person."""

from __future__ import annotations

from dataclasses import dataclass

from registry import errors
from registry.audit import Change
from registry.catalog import Catalog
from registry.review import Approval, Proposal, duties_of
from registry.roles import CORE, NO_REASON, Actor, Why
from registry.sources import stored_values as stored


@dataclass(eq=False, slots=True)
class Reviews:
    """The proposals of a catalog; `Catalog` makes them where `REVIEW__CORE` is `two`."""

    catalog: Catalog

    def open(self) -> list[Proposal]:
        """What waits, oldest first."""
        found = self.catalog.snapshot().document.proposals.values()
        return sorted((entry.value for entry in found), key=lambda one: one.at)

    async def find(self, agent_id: str) -> Proposal:
        """The proposal for an agent; raises NotThere."""
        text = await self.catalog.writable.text(stored.PROPOSAL + agent_id)
        if text is None:
            raise errors.NotThere(f"no change of agent '{agent_id}' waits for a second person")
        try:
            return Proposal.model_validate_json(text)
        except ValueError:
            message, cure = "its value is not a change of an agent", "DEL it in the store"
            raise errors.DocumentErrors(
                [errors.Problem(stored.PROPOSAL + agent_id, message, cure)]
            ) from None

    async def approve(
        self, actor: Actor, agent_id: str, mark: str, *, key: str, why: Why = NO_REASON
    ) -> Proposal:
        """Approve the change with this mark; it is live once `missing` of the result is empty.

        Raises NotThere; Denied for who made the change and who is named for none of its reviews;
        RevisionConflict where the change is another one by now, or the agent has changed since.
        """
        proposal = await self.find(agent_id)
        if proposal.mark != mark.lower():
            message = f"{mark[:16] or 'no mark'} is not the change of agent '{agent_id}' that waits"
            raise errors.RevisionConflict(f"{message}; look at it again")
        await self._require(actor, f"approve the change of {agent_id}", key)
        duties = tuple(duty for duty in duties_of(actor.grants) if duty in proposal.missing)
        made = self.catalog.snapshot().document.keys.get(actor.key)
        same_key = actor.key != "" and actor.key == proposal.key
        if same_key or proposal.by in (actor.id, made.value.created_by if made else ""):
            raise errors.Denied("you made this change, so another person must approve it")
        if not duties:
            needed = " and ".join(proposal.missing)
            raise errors.Denied(f"only who is named for {needed} may approve this change")
        given = (*proposal.approvals, Approval(by=actor.id, duties=duties))
        approved = proposal.model_copy(update={"approvals": given})
        if approved.missing:
            await self._store(actor, "approve", approved, key, why)
        else:
            await self._apply(actor, approved, key)
        return approved

    async def reject(self, actor: Actor, agent_id: str, *, key: str, why: Why = NO_REASON) -> None:
        """Drop a change, or take back one's own; raises NotThere or Denied."""
        proposal = await self.find(agent_id)
        await self._require(actor, f"reject the change of {agent_id}", key)
        await self._store(actor, "reject", proposal, key, why, keep=False)

    async def _require(self, actor: Actor, what: str, key: str) -> None:
        try:
            await self.catalog.require(actor, "write", CORE, what)
        except errors.Denied:
            await self.catalog.refused(actor, what, "", key=key, of=CORE)
            raise

    async def _apply(self, actor: Actor, proposal: Proposal, key: str) -> None:
        """Make the change in the name of who made it, then drop the proposal."""
        where = stored.DEFINITION + proposal.agent
        if await self.catalog.writable.text(where) != proposal.text:
            names = " and ".join(one.by for one in proposal.approvals)
            reason = " ".join(filter(None, (proposal.reason, f"(approved by {names})")))
            author = Actor(proposal.by, actor.grants, actor.via, actor.key)
            await self.catalog.write_reviewed(
                author, proposal, key=f"{key}:apply", why=Why(reason, proposal.ticket)
            )
        await self._store(actor, "approve", proposal, key, NO_REASON, keep=False)

    async def _store(
        self,
        actor: Actor,
        action: str,
        proposal: Proposal,
        key: str,
        why: Why,
        *,
        keep: bool = True,
    ) -> None:
        where = stored.PROPOSAL + proposal.agent
        held = await self.catalog.writable.revision(where)
        change = Change(
            actor, f"{action} proposal", proposal.agent, key, self.catalog.wall(), why=why
        )
        text = proposal.to_text() if keep else None
        await self.catalog.write_checked(where, text, held, change, CORE)
