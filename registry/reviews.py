"""Approves or rejects changes of core agents that wait for a second person."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from registry import errors
from registry.audit import Change
from registry.catalog import Catalog
from registry.draft import Draft, draft_id
from registry.review import Approval, Proposal, duties_of
from registry.revisions import json_of
from registry.roles import CORE, NO_REASON, Actor, Why
from registry.snapshot import revision_of
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
        return (await self._find(agent_id))[0]

    async def _find(self, agent_id: str) -> tuple[Proposal, str]:
        """The proposal for an agent, and the hash of its text."""
        text = await self.catalog.writable.text(_key_of(agent_id))
        if text is None:
            raise errors.NotThere(f"no change of agent '{agent_id}' waits for a second person")
        try:
            return Proposal.model_validate_json(text), revision_of(text)
        except ValueError:
            message, cure = "its value is not a change of an agent", "DEL it in the store"
            raise errors.DocumentErrors(
                [errors.Problem(_key_of(agent_id), message, cure)]
            ) from None

    async def approve(
        self, actor: Actor, agent_id: str, mark: str, *, key: str, why: Why = NO_REASON
    ) -> Proposal:
        """Approve the change with this mark; it is live once `missing` of the result is empty.

        Raises NotThere; Denied for who made the change and who is named for none of its reviews;
        RevisionConflict where the change is another one by now, or the agent has changed since.
        """
        proposal, held = await self._find(agent_id)
        if proposal.mark != mark.lower():
            message = f"{mark[:16] or 'no mark'} is not the change of agent '{agent_id}' that waits"
            raise errors.RevisionConflict(f"{message}; look at it again")
        change = await self._authorized(actor, "approve", agent_id, key, why)
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
        text = approved.to_text() if approved.missing else None
        if text is None:
            await self._apply(actor, approved, key)
            await self._settle_draft(approved, key)
        await self.catalog.write_checked(_key_of(agent_id), text, held, change, CORE)
        return approved

    async def reject(self, actor: Actor, agent_id: str, *, key: str, why: Why = NO_REASON) -> None:
        """Drop a change, or take back one's own; raises NotThere or Denied."""
        _, held = await self._find(agent_id)
        change = await self._authorized(actor, "reject", agent_id, key, why)
        await self.catalog.write_checked(_key_of(agent_id), None, held, change, CORE)

    async def _authorized(
        self, actor: Actor, act: str, agent_id: str, key: str, why: Why
    ) -> Change:
        return await self.catalog.authorized(actor, f"{act} proposal", agent_id, CORE, key, why)

    async def _apply(self, actor: Actor, proposal: Proposal, key: str) -> None:
        """Make the change in the name of who made it, unless that was done before."""
        where = stored.DEFINITION + proposal.agent
        if await self.catalog.writable.text(where) != proposal.text:
            names = " and ".join(one.by for one in proposal.approvals)
            reason = " ".join(filter(None, (proposal.reason, f"(approved by {names})")))
            author = Actor(proposal.by, actor.grants, actor.via, actor.key)
            await self.catalog.write_reviewed(
                author, proposal, key=f"{key}:apply", why=Why(reason, proposal.ticket)
            )

    async def _settle_draft(self, proposal: Proposal, key: str) -> None:
        """Drop the author's draft that is in force now; one that says more stands on it now."""
        where = stored.DRAFT + draft_id(proposal.agent, proposal.by)
        text = await self.catalog.writable.text(where)
        draft = None
        with suppress(ValueError):  # no draft: SET by hand
            draft = Draft.model_validate_json(text) if text is not None else None
        if text is None or draft is None or draft.base != proposal.base:
            return
        is_same = draft.definition.to_json() == json_of(proposal.text)
        moved = draft.model_copy(update={"base": revision_of(proposal.text)})
        author = Actor(proposal.by, key=proposal.key)
        change = Change(
            author, "publish a draft", proposal.agent, f"{key}:draft", self.catalog.wall()
        )
        after = None if is_same else moved.to_text()
        with suppress(errors.RevisionConflict):  # edited at this very moment
            await self.catalog.write_checked(where, after, revision_of(text), change, CORE)


def _key_of(agent_id: str) -> str:
    return stored.PROPOSAL + agent_id
