"""The one door to read and to change agents, bindings and the default agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import structlog

from registry.authorization import WriterPermissions
from registry.binding import AgentBinding, AgentBindingType, Bindings
from registry.definition import AgentDefinition
from registry.errors import AlreadyThere, Denied, NotThere, Owned, RegistryError, RevisionConflict
from registry.keys import DEFAULT, binding_key, definition_key
from registry.snapshot import Document, Snapshot
from registry.sources.store import AuditEntry, Store, default_text, fingerprint
from registry.validation import parse_agent

_log = structlog.get_logger("registry")
_QUICK = 16_000  # characters of a definition that are read on the loop
Subscriber = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change: an id for the audit, and whether it may administer."""

    id: str
    admin: bool = False


Judge = Callable[[Actor, str, str], bool]


def admins_only(actor: Actor, _action: str, _target: str) -> bool:
    """The first form of governance: who administers may change everything."""
    return actor.admin


class Catalog:
    """Reads are plain attribute access on a snapshot; writes go through one path.

    A write checks the actor, validates, writes with the expected revision, leaves an audit entry,
    and is made once for its idempotency `key`. It raises `RegistryError` kinds.
    """

    def __init__(
        self,
        store: Store,
        *,
        authority: WriterPermissions | None = None,
        may: Judge = admins_only,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._authority = authority or WriterPermissions(operator=False)
        self._may = may
        self._wall = wall
        self._numbers = count(1)
        self._subscribers: dict[object, Subscriber] = {}
        self._unwatch: Callable[[], None] | None = None
        self._snapshot = Snapshot(0, Document())

    async def open(self) -> None:
        """Read everything once; then follow every change until `close`."""
        await self._store.open()
        self._unwatch = self._store.watch(self._refresh)
        self._refresh()

    async def close(self) -> None:
        """Stop following; the last snapshot stays readable."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        await self._store.close()

    async def reload(self) -> Snapshot:
        """Everything read again from its sources, now."""
        await self._store.list()
        self._refresh()
        return self._snapshot

    # --- reading ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What is in force now; immutable, replaced as a whole on change."""
        return self._snapshot

    def get_agent(self, agent_id: str) -> AgentDefinition | None:
        """An agent's definition, or None."""
        return self._snapshot.agent(agent_id)

    def get_all_agents(self) -> list[AgentDefinition]:
        """Every agent's definition."""
        return [entry.value for entry in self._snapshot.agents.values()]

    def resolve_agent_id(self, token_hash: str) -> str | None:
        """The agent of a bot by its token's hash, else the default one, else None."""
        binding = self._snapshot.bindings.plain(AgentBindingType.TelegramBot, token_hash.lower())
        wanted = (binding.agent_id if binding else None, self._snapshot.default)
        return next((one for one in wanted if one in self._snapshot.agents), None)

    async def audit(self, count: int = 100) -> Sequence[Mapping[str, str]]:
        """The newest audit entries, newest first."""
        return await self._store.audit(count)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call with each new snapshot; the result ends that."""
        mark = object()
        self._subscribers[mark] = subscriber

        def leave() -> None:
            self._subscribers.pop(mark, None)

        return leave

    async def until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot, from the current one on, for which something holds."""
        found: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()

        def look(snapshot: Snapshot) -> None:
            if not found.done() and holds(snapshot):
                found.set_result(snapshot)

        leave = self.subscribe(look)
        try:
            look(self._snapshot)
            return await found
        finally:
            leave()

    # --- changing --------------------------------------------------------------------------------

    def parse(self, text: str, place: str = "message") -> AgentDefinition:
        """An agent from pasted JSON, as strictly as any write; raises `DocumentErrors`."""
        return parse_agent(text, place, self._authority, self._snapshot.servers)

    async def parsed(self, text: str, place: str = "message") -> AgentDefinition:
        """The same; a long text is read in a thread, as that takes a while."""
        if len(text) > _QUICK:
            return await asyncio.to_thread(self.parse, text, place)
        return self.parse(text, place)

    async def create_agent(
        self, actor: Actor, agent: AgentDefinition, *, key: str
    ) -> AgentDefinition:
        """Store a new agent; raises AlreadyThere where its id is taken."""
        where, value = definition_key(agent.id), agent.to_text()
        note = await self._note(actor, "create agent", agent.id, key)
        if await self._store.replayed(note, fingerprint(note.action, where, value)):
            return agent
        self._refuse_owned(where, note)
        await self.parsed(value, agent.id)
        try:
            await self._store.put(where, value, None, note)
        except RevisionConflict:
            raise AlreadyThere(f"an agent '{agent.id}' is there already") from None
        self._refresh()
        return agent

    async def update_agent(
        self, actor: Actor, agent: AgentDefinition, *, key: str, expected: str | None = None
    ) -> AgentDefinition:
        """Store an agent over the expected revision (None: over what is there now)."""
        where, value = definition_key(agent.id), agent.to_text()
        note = await self._note(actor, "update agent", agent.id, key)
        if await self._store.replayed(note, fingerprint(note.action, where, value)):
            return agent
        self._refuse_owned(where, note)
        await self.parsed(value, agent.id)
        held = await self._store.get(where)
        if held is None:
            raise NotThere(f"there is no agent '{agent.id}' to update")
        await self._store.put(where, value, expected or held.revision, note)
        self._refresh()
        return agent

    async def delete_agent(
        self, actor: Actor, agent_id: str, *, key: str, expected: str | None = None
    ) -> bool:
        """Remove an agent; False where there was none. Its bindings stay, inactive."""
        note = await self._note(actor, "delete agent", agent_id, key)
        return await self._remove(definition_key(agent_id), note, expected)

    async def bind(self, actor: Actor, binding: AgentBinding, *, key: str) -> AgentBinding:
        """Bind a bot, a chat or a person, in place of what was bound there before."""
        note = await self._note(actor, "bind", binding.slot, key, f"to {binding.agent_id}")
        await self._set(binding_key(binding.slot), binding.to_text(), note)
        return binding

    async def unbind(self, actor: Actor, slot: str, *, key: str) -> bool:
        """Remove a binding by its slot; False where there was none."""
        note = await self._note(actor, "unbind", slot, key)
        return await self._remove(binding_key(slot), note, None)

    async def set_default(self, actor: Actor, agent_id: str | None, *, key: str) -> None:
        """Make an agent the default one, or none; raises NotThere for an unknown agent."""
        note = await self._note(actor, "set default", "the default agent", key, f"to {agent_id}")
        if agent_id is None:
            await self._remove(DEFAULT, note, None)
            return
        if agent_id not in self._snapshot.agents:
            raise NotThere(f"there is no agent '{agent_id}' to be the default")
        await self._set(DEFAULT, default_text(agent_id), note)

    async def refused(
        self, actor: Actor, action: str, target: str, *, key: str, detail: str = ""
    ) -> None:
        """Leave an audit entry of what somebody tried; a store that is away is only logged."""
        at = self._wall()
        refused = AuditEntry(actor.id, f"refused: {action}", target, f"{key}:refused", at, detail)
        try:
            await self._store.record(refused)
        except RegistryError as error:
            _log.warning("audit of a refusal failed", action=action, error=str(error))

    async def _set(self, where: str, value: str, note: AuditEntry) -> None:
        if await self._store.replayed(note, fingerprint(note.action, where, value)):
            return
        self._refuse_owned(where, note)
        held = await self._store.get(where)
        await self._store.put(where, value, held.revision if held else None, note)
        self._refresh()

    async def _remove(self, where: str, note: AuditEntry, expected: str | None) -> bool:
        if await self._store.replayed(note, fingerprint(note.action, where)):
            return True
        self._refuse_owned(where, note)
        held = await self._store.get(where)
        if held is None:
            return False
        await self._store.delete(where, expected or held.revision, note)
        self._refresh()
        return True

    async def _note(
        self, actor: Actor, action: str, target: str, key: str, detail: str = ""
    ) -> AuditEntry:
        note = AuditEntry(actor.id, action, target, key, self._wall(), detail)
        if self._may(actor, action, target):
            return note
        await self.refused(actor, action, target, key=key, detail=detail)
        raise Denied(f"you may not {action}: only admins may")

    def _refuse_owned(self, where: str, note: AuditEntry) -> None:
        if place := self._store.owner(where):
            raise Owned(note.target, place)

    # --- following -------------------------------------------------------------------------------

    def _refresh(self) -> None:
        document = self._store.document
        previous = self._snapshot
        if document is previous.document:
            return
        bindings = previous.bindings
        if document.bindings is not previous.document.bindings:
            bindings = Bindings(entry.value for entry in document.bindings.values())
        self._snapshot = Snapshot(next(self._numbers), document, bindings)
        for subscriber in list(self._subscribers.values()):
            try:
                subscriber(self._snapshot)
            except Exception:  # noqa: BLE001 - one listener's fault must not stop the others
                _log.exception("a subscriber of the catalog failed")
