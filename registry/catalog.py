"""The catalog: reads and changes agents, bindings and the default agent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import structlog

from registry import errors
from registry.authorization import GUEST, WriterPermissions
from registry.binding import AgentBinding, AgentBindingType, Bindings, BotIdentity
from registry.definition import AgentDefinition
from registry.errors import Problem
from registry.snapshot import Document, Entry, Snapshot, merge_documents, with_plain_agents
from registry.sources.file import FileSource
from registry.sources.handwritten import parse_pasted_agent
from registry.sources.json_yaml import parse_agent
from registry.sources.redis import RedisStore
from registry.sources.stored_values import BINDING, DEFAULT, DEFINITION, AuditEntry, fingerprint

_log = structlog.get_logger("registry")
_QUICK = 16_000  # characters of a definition that are read on the loop
_EMPTY = Document()
Subscriber = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change: an id for the audit, and whether it may administer."""

    id: str
    admin: bool = False


Objections = Callable[[AgentDefinition], Iterable[Problem]]
"""What speaks against storing an agent, by what only the host knows."""
Governance = Callable[[Actor, str, str], bool]
"""Whether an actor may do something (an action in words) to a target."""


def admins_only(actor: Actor, _action: str, _target: str) -> bool:
    """People who administer may change everything."""
    return actor.admin


@dataclass(eq=False, slots=True)
class Catalog:
    """The operator's file over the store: the file wins, and what it sets is changed only there.

    Reads are plain attribute access on a snapshot. A write checks the actor, validates, writes with
    the expected revision, leaves an audit entry, and is made once for its idempotency `key`. It
    raises kinds of `RegistryError`. Without a store everything is read-only.
    """

    file: FileSource
    store: RedisStore | None = None
    writer: WriterPermissions = field(default=GUEST, kw_only=True)
    may: Governance = field(default=admins_only, kw_only=True)
    wall: Callable[[], float] = field(default=time.time, kw_only=True)
    objections: Objections = field(default=lambda _agent: (), kw_only=True)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    _subscribers: dict[object, Subscriber] = field(default_factory=dict, init=False)
    _bots: tuple[BotIdentity, ...] = field(default=(), init=False)
    _merged: tuple[Document, Document, tuple[BotIdentity, ...]] = field(
        default=(_EMPTY, _EMPTY, ()), init=False
    )
    _snapshot: Snapshot = field(default=Snapshot(0, _EMPTY), init=False)

    async def open(self) -> None:
        """Read everything once; then follow every change until `close`."""
        await self.file.open(self._refresh)
        try:
            if self.store is not None:
                await self.store.open(self._refresh)
        except errors.RegistryError:
            await self.file.close()
            raise
        self._refresh()

    async def close(self) -> None:
        """Stop following; the last snapshot stays readable."""
        if self.store is not None:
            await self.store.close()
        await self.file.close()

    async def reload(self) -> Snapshot:
        """Everything read again from its sources, now."""
        await self.file.reload()
        if self.store is not None:
            await self.store.reload()
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
        return await self._writable.audit(count)

    def introduce(self, bots: Iterable[BotIdentity]) -> None:
        """Tell who the bots are: without agents of the operator's, each gets a plain one."""
        self._bots = tuple(bots)
        if not self.file.document.agents:
            self._refresh()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], object]:
        """Call with each new snapshot; the result ends that."""
        key = object()
        self._subscribers[key] = subscriber
        return partial(self._subscribers.pop, key, None)

    async def until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot, from the current one on, for which something holds."""
        found: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()

        def look(snapshot: Snapshot) -> None:
            if not found.done() and holds(snapshot):
                found.set_result(snapshot)

        unsubscribe = self.subscribe(look)
        try:
            look(self._snapshot)
            return await found
        finally:
            unsubscribe()

    # --- changing --------------------------------------------------------------------------------

    async def parse(self, text: str, place: str = "message") -> AgentDefinition:
        """An agent from JSON, as strictly as any write; raises `DocumentErrors`."""
        read = partial(parse_agent, text, place, self.writer, self._snapshot.servers)
        return await asyncio.to_thread(read) if len(text) > _QUICK else read()

    async def parse_pasted(self, text: str, file: str = "") -> AgentDefinition:
        """An agent from a message of a chat, or a file in it; raises `DocumentErrors`."""
        read = partial(parse_pasted_agent, text, file, self.writer, self._snapshot.servers)
        return await asyncio.to_thread(read) if len(text) > _QUICK else read()

    async def create_agent(
        self, actor: Actor, agent: AgentDefinition, *, key: str
    ) -> AgentDefinition:
        """Store a new agent; raises AlreadyThere where its id is taken."""
        where, value = DEFINITION + agent.id, agent.to_text()
        entry = await self._authorized(actor, "create agent", agent.id, key)
        if await self._must_write(where, value, entry):
            await self._check(value, agent)
            try:
                await self._put(where, value, entry, None)
            except errors.RevisionConflict:
                raise errors.AlreadyThere(f"there is already an agent '{agent.id}'") from None
        return agent

    async def update_agent(
        self, actor: Actor, agent: AgentDefinition, *, key: str, expected: str | None = None
    ) -> AgentDefinition:
        """Store an agent over the expected revision (None: over what is there now)."""
        where, value = DEFINITION + agent.id, agent.to_text()
        entry = await self._authorized(actor, "update agent", agent.id, key)
        if await self._must_write(where, value, entry):
            await self._check(value, agent)
            stored = await self._writable.revision(where)
            if stored is None:
                raise errors.NotThere(f"there is no agent '{agent.id}' to update")
            await self._put(where, value, entry, expected or stored)
        return agent

    async def delete_agent(
        self, actor: Actor, agent_id: str, *, key: str, expected: str | None = None
    ) -> bool:
        """Remove an agent; False where there was none. Its bindings stay, inactive."""
        entry = await self._authorized(actor, "delete agent", agent_id, key)
        return await self._remove(DEFINITION + agent_id, entry, expected)

    async def bind(self, actor: Actor, binding: AgentBinding, *, key: str) -> AgentBinding:
        """Bind a bot, a chat or a person, in place of what was bound there before."""
        entry = await self._authorized(actor, "bind", binding.slot, key, f"to {binding.agent_id}")
        await self._set(BINDING + binding.slot, binding.to_text(), entry)
        return binding

    async def unbind(self, actor: Actor, slot: str, *, key: str) -> bool:
        """Remove a binding by its slot; False where there was none."""
        entry = await self._authorized(actor, "unbind", slot, key)
        return await self._remove(BINDING + slot, entry)

    async def set_default(self, actor: Actor, agent_id: str | None, *, key: str) -> None:
        """Make an agent the default one, or none; raises NotThere for an unknown agent."""
        target, detail = "the default agent", f"to {agent_id}"
        entry = await self._authorized(actor, "set default", target, key, detail)
        if agent_id is None:
            await self._remove(DEFAULT, entry)
            return
        if agent_id not in self._snapshot.agents:
            raise errors.NotThere(f"there is no agent '{agent_id}' to be the default")
        await self._set(DEFAULT, json.dumps(agent_id), entry)

    async def refused(
        self, actor: Actor, action: str, target: str, *, key: str, detail: str = ""
    ) -> None:
        """Leave an audit entry of a refused attempt; where that fails it is only logged."""
        at = self.wall()
        entry = AuditEntry(actor.id, f"refused: {action}", target, f"{key}:refused", at, detail)
        try:
            await self._writable.record(entry)
        except errors.RegistryError as error:
            _log.warning("audit.failed", action=action, error=str(error))

    @property
    def _writable(self) -> RedisStore:
        if self.store is None:
            raise errors.RegistryUnavailable("nothing can be changed here: there is no store")
        return self.store

    async def _authorized(
        self, actor: Actor, action: str, target: str, key: str, detail: str = ""
    ) -> AuditEntry:
        """The audit entry of a change; raises Denied, and leaves an entry of that."""
        if self.may(actor, action, target):
            return AuditEntry(actor.id, action, target, key, self.wall(), detail)
        await self.refused(actor, action, target, key=key, detail=detail)
        raise errors.Denied(f"you may not {action}: only admins may")

    async def _must_write(self, where: str, value: str, entry: AuditEntry) -> bool:
        """Whether a change is still to be made; raises Owned where the file sets that key."""
        if await self._writable.replayed(entry, fingerprint(entry.action, where, value)):
            return False
        if owner := self._operators(where):
            raise errors.Owned(entry.target, owner.place)
        return True

    async def _check(self, value: str, agent: AgentDefinition) -> None:
        """Raise DocumentErrors for an agent that may not be stored as this text."""
        await self.parse(value, agent.id)
        if problems := [*self.objections(agent)]:
            raise errors.DocumentErrors(problems)

    def _operators(self, where: str) -> Entry[Any] | None:
        """What the file or the environment has in place of a key of the store."""
        document = self.file.document
        if where == DEFAULT:
            return document.default_agent_id
        if where.startswith(BINDING):
            return document.bindings.get(where.removeprefix(BINDING))
        return document.agents.get(where.removeprefix(DEFINITION))

    async def _set(self, where: str, value: str, entry: AuditEntry) -> None:
        if await self._must_write(where, value, entry):
            await self._put(where, value, entry, await self._writable.revision(where))

    async def _put(self, where: str, value: str, entry: AuditEntry, expected: str | None) -> None:
        await self._writable.put(where, value, expected, entry)
        self._refresh()

    async def _remove(self, where: str, entry: AuditEntry, expected: str | None = None) -> bool:
        if not await self._must_write(where, "", entry):
            return True
        stored = await self._writable.revision(where)
        if stored is None:
            return False
        await self._writable.delete(where, expected or stored, entry)
        self._refresh()
        return True

    # --- following -------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Make the next snapshot where a source has changed, and hand it to the subscribers."""
        sources = self.file.document, self.store.document if self.store else _EMPTY, self._bots
        if all(new is old for new, old in zip(sources, self._merged, strict=True)):
            return
        self._merged = sources
        previous, document = self._snapshot, merge_documents(*sources[:2])
        document = with_plain_agents(document, self.file.document, self._bots)
        bindings = previous.bindings
        if document.bindings is not previous.document.bindings:
            bindings = Bindings(entry.value for entry in document.bindings.values())
        self._snapshot = Snapshot(next(self._numbers), document, bindings)
        for subscriber in list(self._subscribers.values()):
            try:
                subscriber(self._snapshot)
            except Exception:  # noqa: BLE001 - one listener's fault must not stop the others
                _log.exception("subscriber.failed")
