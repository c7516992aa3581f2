"""Drafts as people and programs make, compare, try and publish them: the same for every face."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from registry import errors
from registry.audit import Change
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.draft import Draft, TestPlace, draft_id
from registry.errors import DocumentErrors, Problem
from registry.fields import SLUG_RULE, is_slug
from registry.history import History
from registry.revisions import FieldChange, differences, json_of, overlap, with_field
from registry.roles import CORE, NO_REASON, Actor, Why, verdict
from registry.secrets import shown
from registry.snapshot import UNWRITTEN, Snapshot, revision_of
from registry.sources import stored_values as stored
from registry.sources.revision_store import DELETED
from registry.typed_edits import EditableFields, merged

AGENT_FIELDS = EditableFields(
    AgentDefinition,
    frozenset({"id"}),
    {"instructions": "customInstructions", "prompt": "customInstructions", "tools": "mcpServers"},
)
"""What of an agent may be changed, by its dotted name (`llmOverrides.temperature`)."""
HOST = Actor("host", via="store")
"""Who ends the tests of people that have lost their roles."""
_TRIES = 20
_LINE = re.compile(r":1\Z")
_CHANGED: tuple[type[errors.RegistryError], ...] = (
    errors.RevisionConflict,
    errors.AlreadyThere,
    errors.NotThere,
)
"""What a publication meets where the agent is no longer what the draft was made from."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A draft beside its agent as it is now.

    `changes` lead from the agent to the draft, `own` from what the draft was made from. Where the
    agent was changed since, `is_overtaken`, by whom and when says the rest, and `theirs` is what
    that changed.
    """

    draft: Draft
    head: AgentDefinition | None
    changes: Sequence[FieldChange]
    own: Sequence[FieldChange] = ()
    theirs: Sequence[FieldChange] = ()
    is_overtaken: bool = False
    by: str = ""
    at: float = 0.0

    @property
    def overlapping(self) -> list[str]:
        """The fields that both changed."""
        return [
            one.field for one in self.own if any(overlap(one.field, x.field) for x in self.theirs)
        ]


@dataclass(frozen=True, slots=True)
class Published:
    """An agent that a draft became: `number` is its newest revision; whether anything changed."""

    agent: AgentDefinition
    number: int
    changed: bool = True


@dataclass(eq=False, slots=True)
class Drafts:
    """The drafts of agents over a catalog: one for each agent and author.

    A draft is changed, tried, published and discarded by its author alone; who may read agents may
    know of it. Each change takes the right to write agents, is made once for its `key`, and has a
    revision and an audit record.
    """

    history: History
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = self.history.catalog

    # --- reading ---------------------------------------------------------------------------------

    def find(self, actor: Actor, agent: str) -> Draft | None:
        """The actor's own draft of an agent, as this host knows it."""
        return self.catalog.snapshot().draft(agent, actor.id)

    def seen(self, actor: Actor, agent: str = "") -> list[Draft]:
        """The drafts that an actor may know of, of one agent or of all, by agent and author."""
        if verdict(actor.grants, "read", CORE) != "yes":
            return []
        found = self.catalog.snapshot().document.drafts
        return [entry.value for entry in found.values() if agent in ("", entry.value.agent)]

    def tested(self, actor: Actor, line: str, chat: int) -> Draft | None:
        """The draft that the actor tries in a chat."""
        entry = self.catalog.snapshot().on_test.get((actor.id, line, chat))
        return entry.value if entry else None

    async def compare(self, actor: Actor, agent: str, author: str = "") -> Comparison:
        """A draft beside its agent as it is now; raises NotThere or Denied."""
        await self.catalog.require(actor, "read", CORE, "read drafts")
        snapshot = self.catalog.snapshot()
        draft = snapshot.draft(agent, author or actor.id)
        if draft is None:
            raise _no_draft(agent)
        return await self._compared(actor, draft)

    async def _compared(self, actor: Actor, draft: Draft) -> Comparison:
        entry = self.catalog.snapshot().agents.get(draft.agent)
        head = entry.value if entry else None
        held = entry.revision if entry and entry.document not in UNWRITTEN else None
        before = head.to_json() if head else {}
        changes = differences(before, draft.definition.to_json())
        if held == draft.base or (head is not None and not changes):
            return Comparison(draft, head, changes, own=changes)
        revisions = await self.history.revisions(actor, "agent", draft.agent)
        wanted = draft.base or DELETED
        base = next((one.value for one in revisions if one.hash == wanted), None)
        own = differences(base or {}, draft.definition.to_json())
        theirs = differences(base, before) if base and head else ()
        newest = revisions[0] if revisions else None
        by, at = (newest.by, newest.at) if newest else ("", 0.0)
        return Comparison(draft, head, changes, own, theirs, True, by, at)

    # --- writing ---------------------------------------------------------------------------------

    async def begin(
        self, actor: Actor, agent: str, *, key: str, new: bool = False, why: Why = NO_REASON
    ) -> Draft:
        """The actor's draft of an agent; where there is none it is begun from the agent as it is.

        `new`: of an agent that does not exist yet. Raises NotThere, AlreadyThere, or Owned.
        """
        return await self.change(actor, agent, {}, key=key, new=new, why=why)

    async def change(
        self,
        actor: Actor,
        agent: str,
        change: Mapping[str, Any],
        *,
        key: str,
        expected: str | None = None,
        new: bool = False,
        why: Why = NO_REASON,
    ) -> Draft:
        """Change the given fields of the actor's draft, which is begun where there is none.

        null takes a field out, and objects are merged. `expected` is the hash of the draft that
        the actor saw. Raises DocumentErrors, and what `begin` raises.
        """
        given = AGENT_FIELDS.spelled(change, agent)
        for _ in range(_TRIES):
            if (made := await self._made(actor, agent, key)) is not None:
                return made
            draft, held = await self._stored(agent, actor.id)
            if draft is not None and not change:
                await self._authorize(actor, "edit", agent, key, why)
                return draft
            after = await self._changed(actor, agent, draft, given, new=new)
            with suppress(*(() if expected else (errors.RevisionConflict,))):
                return await self._write(actor, "edit", after, expected or held, key, why)
        raise errors.RevisionConflict(f"too many others are changing the draft of {agent}")

    async def preview(
        self, actor: Actor, agent: str, change: Mapping[str, Any], *, new: bool = False
    ) -> tuple[Draft, Sequence[FieldChange]]:
        """The draft that `change` would make, and what it would change in the draft or the agent.

        Raises what `change` raises, but for Denied.
        """
        draft, _ = await self._stored(agent, actor.id)
        given = AGENT_FIELDS.spelled(change, agent)
        after = await self._changed(actor, agent, draft, given, new=new)
        there = self.catalog.get_agent(agent)
        now = draft.definition if draft else there
        return after, differences(now.to_json() if now else {}, after.definition.to_json())

    async def _changed(
        self, actor: Actor, agent: str, draft: Draft | None, given: Mapping[str, Any], *, new: bool
    ) -> Draft:
        """A draft, or one that is begun, with these fields changed."""
        if draft is None:
            document, base = await self._head(agent, new=new)
            draft = Draft(agent=agent, by=actor.id, definition=_blank(agent), base=base)
        else:
            document = draft.definition.to_json()
        definition = await self._parsed(merged(document, given), agent)
        return draft.model_copy(update={"definition": definition})

    async def replace(
        self,
        actor: Actor,
        definition: AgentDefinition,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> Draft:
        """Make this the actor's draft as a whole; of a new agent where there is none of its id."""
        agent = definition.id
        if (made := await self._made(actor, agent, key)) is not None:
            return made
        draft, held = await self._stored(agent, actor.id)
        if draft is None:
            known = agent in self.catalog.snapshot().agents
            _, base = await self._head(agent, new=not known)
            draft = Draft(agent=agent, by=actor.id, definition=definition, base=base)
        checked = await self._parsed(definition.to_json(), agent)
        after = draft.model_copy(update={"definition": checked})
        return await self._write(actor, "edit", after, expected or held, key, why)

    async def test(self, actor: Actor, agent: str, line: str, chat: int, *, key: str) -> Draft:
        """Let the draft answer its author in a chat (by its first id) of a bot's line.

        What the author tries there by now ends, unless this fails. Raises NotThere, or
        DocumentErrors for a draft with a model that is no longer allowed, or without its profile.
        """
        place = TestPlace(line=line, chat=chat)
        draft, _ = await self._stored(agent, actor.id)
        if draft is None and not await self.catalog.was_made(key):
            raise _no_draft(agent)
        if draft is not None:
            self._check_models(draft.definition)
            text = draft.definition.to_text()
            await self.catalog.check_references("agent", agent, text)
        for entry in [*self.catalog.snapshot().document.drafts.values()]:
            other = entry.value
            if other.by == actor.id and other.tested_in == place and other.agent != agent:
                await self._place(actor, other.agent, None, f"{key}:end:{other.agent}")
        return await self._place(actor, agent, place, key)

    async def end_test(self, draft: Draft) -> None:
        """End the test of a draft whose author has lost the right to it, as this host knows it."""
        now, held = await self._stored(draft.agent, draft.by)
        if now is None or now.tested_in is None or now.tested_in != draft.tested_in:
            return
        where, after = stored.DRAFT + draft.id, now.model_copy(update={"tested_in": None}).to_text()
        key = f"role lost:{draft.id}:{held}"
        change = Change(HOST, "end the test of a draft", draft.agent, key, self.catalog.wall())
        with suppress(errors.RevisionConflict):  # another replica was faster, or its author
            await self.catalog.write_checked(where, after, held, change, CORE)

    async def stop(self, actor: Actor, agent: str, *, key: str) -> Draft:
        """End the test of the actor's draft of an agent; raises NotThere."""
        return await self._place(actor, agent, None, key)

    async def _place(self, actor: Actor, agent: str, place: TestPlace | None, key: str) -> Draft:
        act = "test" if place else "stop testing"
        for _ in range(_TRIES):
            if (made := await self._made(actor, agent, key)) is not None:
                return made
            draft, held = await self._stored(agent, actor.id)
            if draft is None:
                raise _no_draft(agent)
            if draft.tested_in == place:
                await self._authorize(actor, act, agent, key, NO_REASON)
                return draft
            after = draft.model_copy(update={"tested_in": place})
            with suppress(errors.RevisionConflict):
                return await self._write(actor, act, after, held, key, NO_REASON)
        raise errors.RevisionConflict(f"too many others are changing the draft of {agent}")

    async def publish(
        self,
        actor: Actor,
        agent: str,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> Published:
        """Put the actor's draft in force, and remove it.

        `expected` is the hash of the draft that the actor saw. Raises Overtaken where the agent was
        changed since the draft was made, and ReviewNeeded where a second person must approve it:
        the draft is kept then.
        """
        ended = f"{key}:published"
        if await self.catalog.was_made(ended):
            now = self.catalog.get_agent(agent) or _blank(agent)
            return Published(now, await self._number(agent))
        draft, held = await self._stored(agent, actor.id)
        if draft is None:
            await self._authorize(actor, "publish", agent, key, why)
            raise _no_draft(agent)
        if expected not in (None, held):
            raise errors.RevisionConflict(f"the draft of {agent} is not the one that you saw")
        text = await self.catalog.writable.text(stored.DEFINITION + agent)
        is_same = text is not None and json_of(text) == draft.definition.to_json()
        if not is_same:
            await self._put_in_force(actor, draft, text, key, why)
        await self._remove(actor, draft, held, "publish", ended, why)
        return Published(draft.definition, await self._number(agent), changed=not is_same)

    async def _put_in_force(
        self, actor: Actor, draft: Draft, there: str | None, key: str, why: Why
    ) -> None:
        catalog, definition, base = self.catalog, draft.definition, draft.base
        # Asked here too: what a second person is to approve must not undo what others did.
        if not await self.catalog.was_made(key) and (revision_of(there) if there else None) != base:
            await self._authorize(actor, "publish", draft.agent, key, why)
            raise await self._overtaken(actor, draft)
        try:
            if base is None:
                await catalog.create_agent(actor, definition, key=key, why=why)
            else:
                await catalog.update_agent(actor, definition, key=key, expected=base, why=why)
        except _CHANGED:
            raise await self._overtaken(actor, draft) from None

    async def _overtaken(self, actor: Actor, draft: Draft) -> errors.Overtaken:
        """Who changed the agent since its draft was made, and what."""
        newest = await self.history.revisions(actor, "agent", draft.agent, count=1)
        if newest:  # another replica may have written it a moment ago
            await self._wait_for(draft.agent, newest[0].hash)
        there = await self._compared(actor, draft)
        by = newest[0].by if newest else ""
        act = "changed" if draft.base else "created"
        act = act if there.head else "deleted"
        return errors.Overtaken(draft.agent, by, [one.field for one in there.theirs], act)

    async def _wait_for(self, agent: str, held: str) -> None:
        """Until this host has seen a revision of an agent, or for a second."""

        def is_seen(snapshot: Snapshot) -> bool:
            entry = snapshot.agents.get(agent)
            return (entry.revision if entry else DELETED) == held

        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.catalog.until(is_seen)

    async def rebase(
        self, actor: Actor, agent: str, *, key: str, why: Why = NO_REASON
    ) -> tuple[Draft, list[str]]:
        """Put the changes of the actor's draft on the agent as it is now.

        With the draft come the fields that somebody else changed too: there the draft keeps its
        own. Raises Unrestorable where what the draft was made from is no longer kept.
        """
        if (made := await self._made(actor, agent, key)) is not None:
            return made, []
        draft, held = await self._stored(agent, actor.id)
        if draft is None:
            raise _no_draft(agent)
        after, overlapping = await self._rebased(actor, draft)
        if after is draft:
            await self._authorize(actor, "update", agent, key, why)
            return draft, []
        return await self._write(actor, "update", after, held, key, why), overlapping

    async def preview_rebase(self, actor: Actor, agent: str) -> tuple[Comparison, list[str]]:
        """What `rebase` would make, beside the agent as it is now; and what it would keep."""
        draft, _ = await self._stored(agent, actor.id)
        if draft is None:
            raise _no_draft(agent)
        after, overlapping = await self._rebased(actor, draft)
        return await self._compared(actor, after), overlapping

    async def _rebased(self, actor: Actor, draft: Draft) -> tuple[Draft, list[str]]:
        """A draft on the agent as it is now, itself where it is that already."""
        agent, there = draft.agent, await self._compared(actor, draft)
        if not there.is_overtaken:
            return draft, []
        if there.head is None:
            return draft.model_copy(update={"base": None}), []
        if draft.base is not None and not there.theirs and there.changes:
            revisions = await self.history.revisions(actor, "agent", agent)
            if draft.base not in (one.hash for one in revisions):
                message = f"what your draft of '{agent}' was made from is no longer kept"
                raise errors.Unrestorable(f"{message}; discard it, or write it as a whole")
        document, base = await self._head(agent)
        for one in there.own if draft.base is not None else there.changes:
            new = one.new if one.field else draft.definition.to_json()
            document = with_field(document, one.field, new) if one.field else dict(new)
        definition = await self._parsed(document, agent)
        after = draft.model_copy(update={"definition": definition, "base": base})
        return after, there.overlapping

    async def discard(
        self, actor: Actor, agent: str, *, key: str, author: str = "", why: Why = NO_REASON
    ) -> bool:
        """Remove the actor's draft; False where there is none.

        The command line may remove that of another `author`, who may be gone.
        """
        if author not in ("", actor.id) and actor.via != "cli":
            raise errors.Denied("you may not discard the draft of somebody else")
        draft, held = await self._stored(agent, author or actor.id)
        if draft is None:
            await self._authorize(actor, "discard", agent, key, why)
            return await self.catalog.was_made(key)
        await self._remove(actor, draft, held, "discard", key, why)
        return True

    # --- the store -------------------------------------------------------------------------------

    async def _stored(self, agent: str, author: str) -> tuple[Draft | None, str | None]:
        """A draft as it is stored, and its hash; raises DocumentErrors for one that is none."""
        where = stored.DRAFT + draft_id(agent, author)
        text = await self.catalog.writable.text(where)
        if text is None:
            return None, None
        if wrong := stored.problems_of(where, text, self.catalog.writer):
            raise DocumentErrors(wrong)
        return Draft.model_validate_json(text), revision_of(text)

    async def _head(self, agent: str, *, new: bool = False) -> tuple[dict[str, Any], str | None]:
        """An agent's definition and its hash; of a new one little and None.

        Raises NotThere, AlreadyThere, Owned, or DocumentErrors for what no agent may be called.
        """
        if not is_slug(agent):
            message, cure = f"{shown(agent)} is not a valid id", f"use {SLUG_RULE}"
            raise DocumentErrors([Problem("id", message, cure)])
        where = stored.DEFINITION + agent
        if (place := self.catalog.owner(where)) is not None:
            raise errors.Owned(f"agent '{agent}'", place)
        text = await self.catalog.writable.text(where)
        entry = self.catalog.snapshot().agents.get(agent)
        if new and text is not None:
            raise errors.AlreadyThere(f"there is already an agent '{agent}'")
        if text is not None:
            value = json_of(text)
            if not isinstance(value, dict):
                message, cure = "its value is not an object", "write it as a whole"
                raise DocumentErrors([Problem(where, message, cure)])
            return value, revision_of(text)
        if entry is not None and entry.document in UNWRITTEN:
            return entry.value.to_json(), None
        if not new:
            raise errors.NotThere(f"there is no agent '{agent}'")
        return _blank(agent).to_json(), None

    async def _parsed(self, document: Mapping[str, Any], agent: str) -> AgentDefinition:
        """The definition in a JSON value, as strictly as a change of the agent reads it."""
        text = json.dumps({**document, "id": agent}, ensure_ascii=False)
        try:
            found = await self.catalog.parse(text, f"agent {agent}")
        except DocumentErrors as wrong:  # the only line is one that nobody wrote
            plain = (replace(one, place=_LINE.sub("", one.place)) for one in wrong.problems)
            raise DocumentErrors(plain) from None
        self._check_models(found)
        await self.catalog.check_references("agent", agent, found.to_text())
        return found

    def _check_models(self, agent: AgentDefinition) -> None:
        """Raise DocumentErrors for a model that the agent could not have once it is published."""
        if problems := [*self.catalog.model_problems(agent)]:
            raise DocumentErrors(problems)

    async def _write(
        self, actor: Actor, act: str, draft: Draft, held: str | None, key: str, why: Why
    ) -> Draft:
        change = await self._authorize(actor, act, draft.agent, key, why)
        after = draft.model_copy(update={"at": round(self.catalog.wall(), 3)})
        where, text = stored.DRAFT + after.id, after.to_text()
        if wrong := await asyncio.to_thread(stored.problems_of, where, text, self.catalog.writer):
            raise DocumentErrors(wrong)
        await self.catalog.write_checked(where, text, held, change, CORE)
        return after

    async def _remove(
        self, actor: Actor, draft: Draft, held: str | None, act: str, key: str, why: Why
    ) -> None:
        change = await self._authorize(actor, act, draft.agent, key, why)
        # A draft that was edited in the very moment of its publication stays.
        with suppress(*((errors.RevisionConflict,) if act == "publish" else ())):
            await self.catalog.write_checked(stored.DRAFT + draft.id, None, held, change, CORE)

    async def _authorize(self, actor: Actor, act: str, agent: str, key: str, why: Why) -> Any:
        return await self.catalog.authorized(actor, f"{act} a draft", agent, CORE, key, why)

    async def _made(self, actor: Actor, agent: str, key: str) -> Draft | None:
        """The draft as it is now, where the change of this key was made before."""
        if not await self.catalog.was_made(key):
            return None
        draft, _ = await self._stored(agent, actor.id)
        return draft

    async def _number(self, agent: str) -> int:
        return (await self.catalog.heads([stored.DEFINITION + agent]))[0].number


def _blank(agent: str) -> AgentDefinition:
    """A new agent: its name is its id in words, and it has no tools."""
    words = agent.replace("-", " ").replace("_", " ").strip() or agent
    return AgentDefinition(id=agent, name=words[:1].upper() + words[1:], mcp_servers=())


def _no_draft(agent: str) -> errors.NotThere:
    return errors.NotThere(f"you have no draft of agent '{agent}'")
