"""The catalog: reads and changes every document, and knows who may."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, Literal, TypeVar

import structlog

from registry import errors
from registry.access import AccessGrant
from registry.api_key import ApiKey, lends
from registry.audit import Change, deletion, refusal
from registry.authorization import GUEST, WriterPermissions
from registry.binding import (
    AgentBinding,
    AgentBindingType,
    Bindings,
    BotIdentity,
    parts_of_slot,
)
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import Problem
from registry.instance import SLASH, AgentInstance
from registry.models import offered_models, wire_id
from registry.preset import PersonPresets
from registry.preset_rules import change_problems
from registry.profile_rules import (
    IN_FILES,
    PROFILE_KINDS,
    LastGoodProfiles,
    in_use,
    reference_problems,
)
from registry.review import Proposal, reviews_needed
from registry.revisions import Kind, json_of
from registry.roles import (
    CORE,
    NO_REASON,
    Action,
    Actor,
    RoleDocument,
    RoleGrant,
    Target,
    Why,
    may_grant,
    roles_for,
    sees_grant,
    verdict,
)
from registry.secrets import shown
from registry.snapshot import (
    Document,
    Entry,
    Snapshot,
    merge_documents,
    revision_of,
    with_packaged,
    with_plain_agents,
)
from registry.sources import stored_values as stored
from registry.sources.file import FileSource
from registry.sources.handwritten import parse_pasted_agent
from registry.sources.instance_files import InstanceFiles
from registry.sources.json_yaml import parse_agent
from registry.sources.profile_files import ProfileFiles, packaged_profiles
from registry.sources.redis import RedisStore
from registry.sources.revision_store import DELETED, Head
from registry.stored_bot import StoredBot

_log = structlog.get_logger("registry")
_QUICK = 16_000  # characters of a definition that are read on the loop
_EMPTY = Document()
Subscriber = Callable[[Snapshot], None]


Objections = Callable[[AgentDefinition], Iterable[Problem]]
"""What speaks against storing an agent, by what only the host knows."""
INSTANCE = Target("instance")
"""What the operator's own account decides: bindings, the default agent, who was let in."""
BOT_STAYS = "a bot is not brought back by its versions: pause, resume, move, remove or add it"
"""Why the document of a bot is neither restored nor rolled back: its token is not kept."""
T = TypeVar("T")
_RETRIES = 20
MOST_REMOVED = 200
FORMER_REVISIONS = 10
"""How many of the newest revisions of a bot are looked at for its last account."""
_OF_FILES = frozenset({"agent", "binding", "default"})
"""The kinds of documents that the agents file may set."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the number of the newest revision, and whether nothing was there.

    It was not `changed` where the document said the same already.
    """

    number: int
    created: bool
    changed: bool = True


@dataclass(eq=False, slots=True)
class Catalog:
    """The operator's file over the store: the file wins, and what it sets is changed only there.

    Reads are plain attribute access on a snapshot. A write checks the actor, validates, writes with
    the expected revision, leaves an audit entry, and is made once for its idempotency `key`. It
    raises kinds of `RegistryError`. Without a store everything is read-only. `own_bots` are the
    accounts of the bots of the environment.

    Files of `instances` and `profiles` are over the store as well, the packaged ones under it.

    Who may change what says `registry.roles`: agents are core documents, bindings, the default
    agent and access belong to the account `default`, roles and keys to the account they name.
    Where `review` is `two`, a change of an agent's prompt or tools is kept as a proposal, and
    ReviewNeeded is raised: see `registry.reviews`.
    """

    file: FileSource
    store: RedisStore | None = None
    instances: InstanceFiles | None = None
    writer: WriterPermissions = field(default=GUEST, kw_only=True)
    review: Literal["one", "two"] = field(default="one", kw_only=True)
    wall: Callable[[], float] = field(default=time.time, kw_only=True)
    profiles: ProfileFiles | None = field(default=None, kw_only=True)
    objections: Objections = field(default=lambda _agent: (), init=False)
    own_bots: Mapping[int, str] = field(default_factory=dict, init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), init=False)
    _subscribers: dict[object, Subscriber] = field(default_factory=dict, init=False)
    _bots: tuple[BotIdentity, ...] = field(default=(), init=False)
    _merged: tuple[object, ...] = field(default=(), init=False)
    _last_good: LastGoodProfiles = field(default_factory=LastGoodProfiles, init=False)
    _snapshot: Snapshot = field(default=Snapshot(0, _EMPTY), init=False)

    async def open(self) -> None:
        """Read everything once; then follow every change until `close`."""
        await self.file.open(self._refresh)
        try:
            for folder in self._folders:
                await folder.open(self._refresh)
            if self.store is not None:
                await self.store.open(self._refresh)
        except errors.RegistryError:
            await self._close_files()
            raise
        self._refresh()

    async def close(self) -> None:
        """Stop following; the last snapshot stays readable."""
        if self.store is not None:
            await self.store.close()
        await self._close_files()

    @property
    def _folders(self) -> list[InstanceFiles | ProfileFiles]:
        return [one for one in (self.instances, self.profiles) if one is not None]

    async def _close_files(self) -> None:
        for folder in self._folders:
            await folder.close()
        await self.file.close()

    async def reload(self) -> Snapshot:
        """Everything read again from its sources, now."""
        await self.file.reload()
        for folder in self._folders:
            await folder.reload()
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
        self, actor: Actor, agent: AgentDefinition, *, key: str, why: Why = NO_REASON
    ) -> AgentDefinition:
        """Store a new agent; raises AlreadyThere where its id is taken."""
        change = await self.authorized(actor, "create agent", agent.id, CORE, key, why)
        where, value = stored.DEFINITION + agent.id, agent.to_text()
        if await self._must_write(where, value, change):
            await self._check(value, agent)
            await self._hold_for_review(where, value, change)
            try:
                await self._write(where, value, None, change, CORE)
            except errors.RevisionConflict:
                raise errors.AlreadyThere(f"there is already an agent '{agent.id}'") from None
        return agent

    async def update_agent(
        self,
        actor: Actor,
        agent: AgentDefinition,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> AgentDefinition:
        """Store an agent over the expected revision (None: over what is there now)."""
        change = await self.authorized(actor, "update agent", agent.id, CORE, key, why)
        where, value = stored.DEFINITION + agent.id, agent.to_text()
        if await self._must_write(where, value, change):
            await self._check(value, agent)
            await self._hold_for_review(where, value, change)
            if not await self._write_over(where, value, expected, change, CORE):
                raise errors.NotThere(f"there is no agent '{agent.id}' to update")
        return agent

    async def delete_agent(
        self,
        actor: Actor,
        agent_id: str,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> bool:
        """Remove an agent; False where there was none. Its bindings stay, inactive."""
        change = await self.authorized(actor, "delete agent", agent_id, CORE, key, why)
        return await self._remove(stored.DEFINITION + agent_id, change, CORE, expected)

    async def bind(
        self,
        actor: Actor,
        binding: AgentBinding,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> AgentBinding:
        """Bind a bot, a chat or a person, in place of what was bound there before."""
        detail, target = f"to {binding.agent_id}", self.target_of_binding(binding)
        change = await self.authorized(actor, "bind", binding.slot, target, key, why, detail)
        await self.check_answering(actor, binding.agent_id, target.account)
        where = stored.BINDING + binding.slot
        await self._set(where, binding.to_text(), change, expected, target)
        return binding

    def target_of_binding(self, binding: AgentBinding) -> Target:
        """Who decides on a binding: the account of the bot that it is for alone, if it is known."""
        key = binding.binding_key if binding.is_of_bot else binding.bot
        if key is None:
            return INSTANCE
        number = int(key) if key.isascii() and key.isdigit() else 0
        if not number:
            stored_bots = self._snapshot.document.bots.values()
            named = ((f"@{e.value.username.lower()}", e.value.number) for e in stored_bots)
            hosted = ((own, bot.id) for bot in self._bots for own in bot.keys)
            number = next((id for own, id in (*hosted, *named) if own == key), 0)
        return Target("instance", self._snapshot.account_of_bot(number))

    def target_of_slot(self, slot: str) -> Target:
        """The same for what is bound there, or would be."""
        entry = self._snapshot.document.bindings.get(slot)
        if entry is not None:
            return self.target_of_binding(entry.value)
        with suppress(ValueError):
            named = {**parts_of_slot(slot), "agentId": "any"}
            return self.target_of_binding(AgentBinding.model_validate(named))
        return INSTANCE

    async def check_answering(self, actor: Actor, agent: str, account: str) -> None:
        """Raise Denied or DocumentErrors where an actor may let no such agent answer in an account.

        The account is that of a bot; in those of the account `default` every agent may answer.
        """
        await self._require_reach(actor, agent)
        if self._snapshot.may_answer(agent, account):
            return
        message = f"the bot belongs to account {account}, where {agent} may not answer"
        own = [*self._snapshot.instances_of(account), *self._snapshot.offered_types(account)]
        cure = f"name one of its own: {', '.join(own[:20])}; or mark the agent as `template`"
        raise errors.DocumentErrors([Problem(agent, message, cure, path="agentId")])

    async def _require_reach(self, actor: Actor, agent_id: str) -> None:
        """Raise Denied for an instance of an account in which the actor may not write."""
        account, slash, _ = agent_id.partition(SLASH)
        if slash and not any(grant.scope == "host" for grant in actor.grants):
            what = f"bind an instance of account {account}"
            await self.require(actor, "write", Target("instance", account), what)

    async def unbind(
        self,
        actor: Actor,
        slot: str,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> bool:
        """Remove a binding by its slot; False where there was none."""
        target = self.target_of_slot(slot)
        change = await self.authorized(actor, "unbind", slot, target, key, why)
        return await self._remove(stored.BINDING + slot, change, target, expected)

    async def set_default(
        self,
        actor: Actor,
        agent_id: str | None,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> None:
        """Make an agent the default one, or none; raises NotThere for an unknown agent."""
        target, detail = "the default agent", f"to {agent_id}"
        change = await self.authorized(actor, "set default", target, INSTANCE, key, why, detail)
        if agent_id is None:
            await self._remove(stored.DEFAULT, change, INSTANCE, expected)
            return
        if agent_id not in self._snapshot.agents:
            raise errors.NotThere(f"there is no agent '{agent_id}' to be the default")
        await self._set(stored.DEFAULT, json.dumps(agent_id), change, expected)

    async def grant_role(
        self, actor: Actor, person: str, grant: RoleGrant, *, key: str, why: Why = NO_REASON
    ) -> RoleDocument:
        """Give a person one more role."""
        change = await self._may_grant(actor, "grant role", person, grant, key, why)
        where, target = stored.ROLE + person, grant.target

        async def attempt() -> RoleDocument | None:
            text, revision = await self._read(where)
            held = roles_in(person, text)
            grants = (*(one for one in held if not _same_role(one, grant)), grant)
            document = RoleDocument(person=person, grants=grants)
            if grant in held and await self.was_made(change.key):
                return document  # whatever else was granted meanwhile
            with _retried():
                if await self._must_write(where, document.to_text(), change):
                    await self._write(where, document.to_text(), revision, change, target)
                return document
            return None

        return await self._rewrite(f"the roles of {person}", attempt)

    async def revoke_role(
        self, actor: Actor, person: str, grant: RoleGrant, *, key: str, why: Why = NO_REASON
    ) -> bool:
        """Take a role away from a person; False where they do not hold it."""
        change = await self._may_grant(actor, "revoke role", person, grant, key, why)
        where, target = stored.ROLE + person, grant.target

        async def attempt() -> bool | None:
            text, revision = await self._read(where)
            held = roles_in(person, text)
            left = tuple(one for one in held if not _same_role(one, grant))
            if len(left) == len(held):
                return await self.was_made(change.key)
            with _retried():
                await self._write(where, roles_text(person, left), revision, change, target)
                return True
            return None

        return await self._rewrite(f"the roles of {person}", attempt)

    async def set_roles(
        self,
        actor: Actor,
        person: str,
        grants: Sequence[RoleGrant],
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> Written:
        """Make these the roles of a person, as far as the actor sees them; all others stay.

        `expected` is the hash of the text of the roles that the actor saw.
        """
        where = stored.ROLE + person

        async def attempt() -> Written | None:
            text, revision = await self._read(where)
            held = roles_in(person, text)
            seen = tuple(one for one in held if sees_grant(actor.grants, one))
            new = roles_text(person, (*(one for one in held if one not in seen), *grants))
            change = await self._may_write(actor, "write", "role", person, (text, new), key, why)
            if not await self._must_write(where, new or "", change):
                return Written((await self.heads([where]))[0].number, created=False)
            if expected is not None and expected != _hash(roles_text(person, seen)):
                raise errors.RevisionConflict(f"somebody else has changed the roles of {person}")
            if new is not None:
                await self.check_document("role", person, new)
            if new == text:
                return Written((await self.heads([where]))[0].number, created=False)
            with _retried():
                number = await self._write(where, new, revision, change, INSTANCE)
                return Written(number, created=not seen)
            return None

        return await self._rewrite(f"the roles of {person}", attempt)

    async def create_key(
        self, actor: Actor, api_key: ApiKey, *, key: str, why: Why = NO_REASON
    ) -> ApiKey:
        """Store a new API key; raises AlreadyThere where its id is taken."""
        lent = lends(actor.grants, api_key.account)
        api_key = api_key.model_copy(update={"lends": lent})
        change = await self._may_grant(actor, "create key", api_key.id, api_key.grant, key, why)
        where, target = stored.API_KEY + api_key.id, api_key.grant.target
        if await self._must_write(where, api_key.to_text(), change):
            try:
                await self._write(where, api_key.to_text(), None, change, target)
            except errors.RevisionConflict:
                raise errors.AlreadyThere(f"there is already a key '{api_key.id}'") from None
        return api_key

    async def revoke_key(
        self, actor: Actor, key_id: str, *, key: str, why: Why = NO_REASON
    ) -> bool:
        """Make a key open nothing from now on; False where there is no such key."""
        where = stored.API_KEY + key_id
        text, revision = await self._read(where)
        if text is None:
            return False
        held = key_in(key_id, text)
        change = await self._may_grant(actor, "revoke key", key_id, held.grant, key, why)
        if held.revoked is None:
            gone = held.model_copy(update={"revoked": round(self.wall(), 3)})
            await self._write(where, gone.to_text(), revision, change, held.grant.target)
        return True

    async def put_bot(
        self,
        actor: Actor,
        bot: StoredBot,
        *,
        action: str,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> Written:
        """Store a bot over the expected hash (`DELETED`: a new one, else AlreadyThere).

        Both the account that it had and the one that it gets must allow it.
        """
        where, new = stored.BOT + bot.id, bot.to_text()

        async def attempt() -> Written | None:
            text, revision = await self._read(where)
            held = stored.target_of(where, text) if text is not None else bot.target
            change = await self.authorized(actor, action, bot.id, held, key, why)
            if held != bot.target:
                await self.authorized(actor, action, bot.id, bot.target, key, why)
            if not await self._must_write(where, new, change):
                return Written((await self.heads([where]))[0].number, created=False)
            await self.check_document("bot", bot.id, new)
            if expected not in (None, revision or DELETED):
                if expected == DELETED:
                    raise errors.AlreadyThere(f"there is already a bot {bot.id}")
                raise errors.RevisionConflict(f"somebody else has just changed bot {bot.id}")
            if new == text:
                return Written((await self.heads([where]))[0].number, False, False)
            with _retried(expected in (None, DELETED)):
                number = await self._write(where, new, revision, change, bot.target)
                return Written(number, created=text is None)
            return None

        return await self._rewrite(f"bot {bot.id}", attempt)

    async def delete_bot(
        self,
        actor: Actor,
        id: str,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> bool:
        """Remove a bot; False where there was none. What was said in it stays."""
        where = stored.BOT + id
        target = stored.target_of(where, await self.writable.text(where))
        change = await self.authorized(actor, "remove bot", id, target, key, why)
        return await self._remove(where, change, target, expected)

    async def former_account(self, bot: str) -> str | None:
        """The account that a bot which was removed belonged to; None for one that never was."""
        where = stored.BOT + bot
        async with self.writable.using(where) as revisions:
            kept = await revisions.history(where, FORMER_REVISIONS)
        text = next((one.text for one in kept if one.text is not None), None)
        return stored.target_of(where, text).account if text is not None else None

    async def removed_bots(self) -> list[tuple[str, str]]:
        """The bots that were removed, some of them: the id and the username of each."""
        async with self.writable.using() as revisions:
            found = []
            for id in await revisions.deleted(stored.BOT, MOST_REMOVED):
                kept = await revisions.history(stored.BOT + id, FORMER_REVISIONS)
                values = (json_of(one.text) for one in kept if one.text is not None)
                found += [(id, str(one.get("username") or "")) for one in values if one][:1]
        return found

    async def was_made(self, key: str) -> bool:
        """Whether a change with this idempotency key was made, whatever it wrote."""
        async with self.writable.using(change_key=key) as revisions:
            return await revisions.is_known(key)

    async def set_access(
        self,
        actor: Actor,
        grant: AccessGrant,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> AccessGrant:
        """Let a person or a group in, or block them; `expected` may be `DELETED`, for nothing."""
        action = "let in" if grant.level == "member" else "block"
        change = await self.authorized(actor, action, grant.subject, INSTANCE, key, why)
        await self._set(stored.ACCESS + grant.subject, grant.to_text(), change, expected)
        return grant

    async def clear_access(
        self, actor: Actor, subject: str, *, key: str, why: Why = NO_REASON
    ) -> bool:
        """Take back what `set_access` gave; False where there was nothing."""
        change = await self.authorized(actor, "take back", subject, INSTANCE, key, why)
        return await self._remove(stored.ACCESS + subject, change, INSTANCE)

    async def write_document(
        self,
        actor: Actor,
        kind: Kind,
        id: str,
        text: str | None,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
        action: str = "restore",
    ) -> int:
        """Write a document as a whole; the number of its new revision. See `put_document`."""
        put = self.put_document
        return (
            await put(actor, kind, id, text, key=key, expected=expected, why=why, action=action)
        ).number

    async def put_document(
        self,
        actor: Actor,
        kind: Kind,
        id: str,
        text: str | None,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
        action: str = "write",
    ) -> Written:
        """Write a document as a whole (None: remove it), as strictly as any other change of it.

        It is made where nothing was there, unless a hash was expected; raises AlreadyThere where
        `DELETED` was. A document that says the same already is left alone.
        """
        where = stored.key_of(kind, id)

        async def attempt() -> Written | None:
            current, revision = await self._read(where)
            change = await self._may_write(actor, action, kind, id, (current, text), key, why)
            is_new = await self._must_write(where, text or "", change)
            if is_new and text is not None:
                await self.check_change(actor, kind, id, (current, text))
                await self.check_references(kind, id, text)
            elif is_new and current is not None:
                await self._require_unused(kind, id)
            if is_new and expected not in (None, revision or DELETED):
                if expected == DELETED:
                    raise errors.AlreadyThere(f"there is already {kind} '{id}'")
                raise errors.RevisionConflict(f"somebody else has just changed {id}")
            if not is_new or text == current:
                number = (await self.heads([where]))[0].number
                return Written(number, created=False, changed=not is_new)
            if text is not None:
                await self._hold_for_review(where, text, change)
            target = self._target_of(where, text if text is not None else current)
            with _retried(expected in (None, DELETED)):
                number = await self._write(where, text, revision, change, target)
                if text is None and current is not None:
                    await self._put_back_if_used(kind, id, current, change)
                return Written(number, created=current is None)
            return None

        return await self._rewrite(id, attempt)

    async def delete_instance(
        self,
        actor: Actor,
        id: str,
        *,
        key: str,
        expected: str | None = None,
        why: Why = NO_REASON,
    ) -> bool:
        """Remove an instance (`<account>/<name>`); False where there was none in the store."""
        where = stored.INSTANCE + id
        target = stored.target_of(where, None)
        change = await self.authorized(actor, "delete instance", id, target, key, why)
        if await self._remove(where, change, target, expected):
            return True
        if self.instances is not None and id in self.instances.packaged.instances:
            raise errors.Packaged(id)
        return False

    async def check_change(
        self, actor: Actor, kind: Kind, id: str, texts: tuple[str | None, str]
    ) -> None:
        """Raise DocumentErrors or Denied for what this actor may not put in place of a text.

        Whether they may change the document at all is not asked here.
        """
        current, text = texts
        await self.check_document(kind, id, text)
        if kind == "instance":
            self._check_instance(actor, id, current, text)
        if kind == "preset" and actor.id == id:  # the operator moves them as they are
            self._check_presets(current, text)
        if kind == "binding":
            binding = AgentBinding.model_validate_json(text)
            account = self.target_of_binding(binding).account
            await self.check_answering(actor, binding.agent_id, account)

    def _target_of(self, where: str, text: str | None) -> Target:
        """Who decides on the document at a key, as far as its text tells."""
        if where.startswith(stored.BINDING) and text is not None:
            with suppress(ValueError):
                return self.target_of_binding(AgentBinding.model_validate_json(text))
        return stored.target_of(where, text)

    def _check_instance(self, actor: Actor, id: str, current: str | None, text: str) -> None:
        """Raise DocumentErrors for an agent or a model that an instance in the store may not have.

        What it has already may stay.
        """
        new, held = AgentInstance.model_validate_json(text), None
        with suppress(ValueError):  # no instance: SET by hand
            held = AgentInstance.model_validate_json(current) if current is not None else None
        snapshot, model, problems = self._snapshot, new.settings.model, list[Problem]()
        is_engineer = any(grant.scope == "host" for grant in actor.grants)
        if not is_engineer and not (held and held.agent_type == new.agent_type):
            offered = snapshot.offered_types(new.account)
            base = snapshot.type_named(new.agent_type)
            if base is None or base.value.id not in offered:
                message = f"account {new.account} may not use the agent type {new.agent_type}"
                cure = f"use one of: {', '.join(offered)}; or ask the operator to offer it"
                problems.append(Problem(id, message, cure, path="agent_type"))
        if model and not (held and held.settings.model == model):
            allowed = self.allowed_models()
            if wire_id(model) not in set(map(wire_id, allowed)):
                message = f"the model {shown(model)} is not allowed here"
                cure = f"use one of: {', '.join(allowed)}"
                problems.append(Problem(id, message, cure, path="llm.model"))
        if problems:
            raise errors.DocumentErrors(problems)

    def _check_presets(self, current: str | None, text: str) -> None:
        """Raise DocumentErrors for an agent, a model or a text that a preset may not have."""
        held = None
        with suppress(ValueError):  # no presets: SET by hand
            held = PersonPresets.model_validate_json(current) if current is not None else None
        new = PersonPresets.model_validate_json(text)
        if problems := change_problems(self._snapshot, self.allowed_models(), held, new):
            raise errors.DocumentErrors(problems)

    def allowed_models(self) -> list[str]:
        """The models that presets, and instances in the store, may name, in order.

        They are those that the operator lists, else those of the model table that are not retired;
        and all that files and the host's settings name.
        """
        named = self.writer.host_models | self._snapshot.file_models
        return sorted((self.writer.models or offered_models(self.wall())) | named)

    async def write_reviewed(
        self, actor: Actor, proposal: Proposal, *, key: str, why: Why = NO_REASON
    ) -> None:
        """Make a change that was approved; raises RevisionConflict where its base is gone."""
        where = stored.DEFINITION + proposal.agent
        await self.check_document("agent", proposal.agent, proposal.text)
        await self.check_references("agent", proposal.agent, proposal.text)
        action = "update agent" if proposal.base else "create agent"
        change = Change(actor, action, proposal.agent, key, self.wall(), why=why)
        await self.write_checked(where, proposal.text, proposal.base, change, CORE)

    async def write_checked(
        self, where: str, text: str | None, expected: str | None, change: Change, target: Target
    ) -> None:
        """Write what was checked by the caller: the right to do it, and the text."""
        if await self._must_write(where, text or "", change):
            await self._write(where, text, expected, change, target)

    async def _hold_for_review(self, where: str, value: str, change: Change) -> None:
        """Raise ReviewNeeded where a second person must approve a change first; it is kept."""
        if self.review == "one" or not where.startswith(stored.DEFINITION):
            return
        text, base = await self._read(where)
        needs = reviews_needed(json_of(text) if text else None, json_of(value))
        if not needs:
            return
        proposal = Proposal(
            agent=change.target,
            mark=secrets.token_hex(4),
            text=value,
            base=base,
            by=change.actor.id,
            key=change.actor.key,
            at=round(change.at, 3),
            reason=change.why.said,
            ticket=change.why.ticket,
            needs=needs,
        )
        proposed = replace(change, action=f"propose: {change.action}", key=f"{change.key}:review")
        kept, replaces = stored.PROPOSAL + change.target, False
        if not await self.was_made(proposed.key):
            waiting, held = await self._read(kept)
            if waiting is not None:
                self._require_own(waiting, change)
                replaces = True
            try:
                await self._write(kept, proposal.to_text(), held, proposed, CORE)
            except errors.RevisionConflict:  # somebody proposed something at this very moment
                now, _ = await self._read(kept)
                self._require_own(now or "", change)
                raise
        raise errors.ReviewNeeded(change.target, needs, replaces=replaces)

    @staticmethod
    def _require_own(waiting: str, change: Change) -> None:
        """Raise ReviewWaits where the change that waits is somebody else's."""
        with suppress(ValueError):  # no proposal: SET by hand
            author = Proposal.model_validate_json(waiting).by
            if author != change.actor.id:
                raise errors.ReviewWaits(change.target, author)

    async def refused(
        self,
        actor: Actor,
        action: str,
        target: str,
        *,
        key: str,
        detail: str = "",
        of: Target = INSTANCE,
    ) -> None:
        """Leave an audit record of a refused attempt; where that fails it is only logged.

        One for each `key`.
        """
        change = Change(actor, action, target, f"{key}:refused", self.wall(), detail)
        try:
            async with self.writable.using(change_key=change.key) as revisions:
                await revisions.record(refusal(change, "", target, of), change)
        except errors.RegistryError as error:
            _log.warning("audit.failed", action=action, error=str(error))

    async def note(
        self,
        actor: Actor,
        action: str,
        target: str,
        of: Target,
        *,
        key: str,
        why: Why = NO_REASON,
    ) -> None:
        """Leave an audit record of something that changed no document, once for each `key`."""
        change = Change(actor, action, target, key, self.wall(), why=why)
        async with self.writable.using(change_key=change.key) as revisions:
            await revisions.record(deletion(change, "", target, of), change)

    async def require(self, actor: Actor, action: Action, target: Target, what: str) -> None:
        """Raise Denied unless the actor may `read` or `write` there; `what` says it in words."""
        if verdict(actor.grants, action, target) != "yes":
            raise errors.Denied(f"you may not {what}: {_needed(action, target)}")

    async def heads(self, keys: Sequence[str]) -> list[Head]:
        """The newest revisions of the documents at these keys."""
        async with self.writable.using() as revisions:
            return await revisions.heads(keys)

    @property
    def writable(self) -> RedisStore:
        """The store; raises RegistryUnavailable where there is none."""
        if self.store is None:
            raise errors.RegistryUnavailable("nothing can be changed here: there is no store")
        return self.store

    async def authorized(
        self,
        actor: Actor,
        action: str,
        name: str,
        target: Target,
        key: str,
        why: Why,
        detail: str = "",
    ) -> Change:
        """The change that is made; raises Denied, and leaves a record of that."""
        said = verdict(actor.grants, "write", target, why)
        if said == "yes":
            return Change(actor, action, name, key, self.wall(), detail, why)
        hour = self._hourly(actor, action)
        await self.refused(actor, action, name, key=hour, detail=detail, of=target)
        if said == "needs a reason":
            raise errors.ReasonMissing(f"say why you {in_words(action)}: give a reason or a ticket")
        raise errors.Denied(f"you may not {in_words(action)}: {_needed('write', target)}")

    async def _may_grant(
        self, actor: Actor, action: str, name: str, grant: RoleGrant, key: str, why: Why
    ) -> Change:
        detail = f"{grant.role} of {grant.place}"
        said = may_grant(actor.grants, grant, why)
        if said == "yes":
            return Change(actor, action, name, key, self.wall(), detail, why)
        hour = self._hourly(actor, action)
        await self.refused(actor, action, name, key=hour, detail=detail, of=grant.target)
        if said == "needs a reason":
            raise errors.ReasonMissing(f"say why you {in_words(action)}: give a reason or a ticket")
        raise errors.Denied(f"you may not {action} {grant.role} of {grant.place}")

    def _hourly(self, actor: Actor, action: str) -> str:
        """A key under which refusals are noted once an hour: nobody can fill the audit."""
        return f"{actor.id}:{actor.key}:{action}:{int(self.wall() // 3600)}"

    async def _may_write(
        self,
        actor: Actor,
        action: str,
        kind: Kind,
        id: str,
        texts: tuple[str | None, str | None],
        key: str,
        why: Why,
    ) -> Change:
        """The change of a whole document; of roles and keys every changed grant must be allowed."""
        if kind == "key" and texts[1] is not None:  # one that was revoked may have leaked
            raise errors.Unrestorable("a key is not brought back; make a new one")
        if kind == "bot":
            raise errors.Unrestorable(BOT_STAYS)
        if kind == "proposal":
            raise errors.Unrestorable("a change that waits is approved or rejected, and made again")
        if kind == "preset":
            if owns_presets(actor, id):
                return Change(actor, f"{action} preset", id, key, self.wall(), why=why)
            raise errors.NotThere(f"there is no preset of '{id[:100]}' that you may change")
        if kind == "draft":
            raise errors.Unrestorable("a draft is changed by its author alone, with /edit")
        if kind in PROFILE_KINDS and self.review == "two":
            await self.authorized(actor, f"{action} {kind}", id, CORE, key, why)
            raise errors.Denied(IN_FILES)
        if kind not in ("role", "key"):
            text = texts[1] if texts[1] is not None else texts[0]
            of_binding = text if kind == "binding" else None
            target = self._target_of(stored.key_of(kind, id), of_binding)
            return await self.authorized(actor, f"{action} {kind}", id, target, key, why)
        change = Change(actor, f"{action} {kind}", id, key, self.wall(), why=why)
        for grant in _changed_grants(kind, id, *texts):
            await self._may_grant(actor, f"{action} {kind}", id, grant, key, why)
        return change

    async def _must_write(self, where: str, value: str, change: Change) -> bool:
        """Whether a change is still to be made; raises Owned where the file sets that key."""
        fingerprint = stored.fingerprint(change.action, where, value)
        async with self.writable.using(where, change.key) as revisions:
            if await revisions.replayed(change, fingerprint):
                return False
        if self.file.is_unknown and stored.name_of(where)[0] in _OF_FILES:
            raise errors.FileUnusable
        if (place := self.owner(where)) is not None:
            raise errors.Owned(change.target, place)
        return True

    async def _check(self, value: str, agent: AgentDefinition) -> None:
        """Raise DocumentErrors for an agent that may not be stored as this text."""
        await self.parse(value, agent.id)
        await self.check_references("agent", agent.id, value)
        if problems := [*self.objections(agent), *self.model_problems(agent)]:
            raise errors.DocumentErrors(problems)

    def model_problems(self, agent: AgentDefinition) -> Iterator[Problem]:
        """Models that an agent in the store may not name, where the operator lists some.

        What it has already may stay.
        """
        held, names = self.get_agent(agent.id), ("llmOverrides.model", "llmOverrides.fallbackModel")
        old = held.llm_overrides if held else None
        yield from self._unlisted_models(agent.id, agent.llm_overrides, old, names)

    def _unlisted_models(
        self,
        id: str,
        llm: LlmConfiguration | None,
        old: LlmConfiguration | None,
        names: tuple[str, str] = ("model", "fallback_model"),
    ) -> Iterator[Problem]:
        """Models that settings in the store may not name; `names` are those of the two fields."""
        if not self.writer.models or llm is None:
            return
        allowed = self.allowed_models()
        for name, spelled in zip(("model", "fallback_model"), names, strict=True):
            model = getattr(llm, name)
            if model is None or (old and getattr(old, name) == model):
                continue
            if wire_id(model) not in set(map(wire_id, allowed)):
                message = f"the model {shown(model)} is not allowed here"
                cure = f"use one of: {', '.join(allowed)}"
                yield Problem(id, message, cure, path=spelled)

    async def check_document(self, kind: Kind, id: str, text: str) -> None:
        """Raise DocumentErrors for a text that may not be stored as this document."""
        where = stored.key_of(kind, id)
        if kind == "agent":
            agent = await self.parse(text, where)
            if problems := [*self.objections(agent), *self.model_problems(agent)]:
                raise errors.DocumentErrors(problems)
        if wrong := stored.problems_of(where, text, self.writer):
            raise errors.DocumentErrors(wrong)
        if kind == "llm-config":
            held, new = self._snapshot.document.llm_configs.get(id), stored.llm_config_in(text)
            old = held.value.settings if held else None
            if problems := [*self._unlisted_models(id, new.settings, old)]:
                raise errors.DocumentErrors(problems)

    async def check_references(
        self, kind: Kind, id: str, text: str, known: Collection[tuple[Kind, str]] = ()
    ) -> None:
        """Raise DocumentErrors for a profile or a configuration that a text names and nobody has.

        `known` are those that will be there by then. What another host has just stored is there,
        though it may be in no snapshot here yet.
        """
        named = stored.referred_to(kind, text)
        if named is None or named in known:
            return
        of, name = named
        found = self._snapshot.profile(name) if of == "profile" else self._snapshot.llm_config(name)
        where = stored.key_of(of, name)
        if found is not None:
            return
        if self.owner(where) is not None or await self.writable.text(where) is None:
            async with self.writable.using(where) as store:
                last = next((one for one in await store.history(where, 2) if one.text), None)
            raise errors.DocumentErrors(
                reference_problems(self._snapshot, of, id, name, last, self.owner(where))
            )

    async def _require_unused(self, kind: Kind, id: str) -> None:
        """Raise InUse for a profile or a configuration to which something refers by now."""
        if kind in PROFILE_KINDS:
            await self.writable.reload()  # another host may have just stored what refers to it
            self._refresh()
            if said := in_use(self._snapshot, kind, id):
                raise errors.InUse(said)

    async def _put_back_if_used(self, kind: Kind, id: str, text: str, change: Change) -> None:
        """Raise InUse where something began to refer to what was deleted at the same moment.

        What was deleted is there again then.
        """
        try:
            await self._require_unused(kind, id)
        except errors.InUse:
            again = replace(change, action=f"put back {kind}", key=f"{change.key}:back")
            with suppress(errors.RevisionConflict):  # somebody else has stored another one
                await self._write(stored.key_of(kind, id), text, None, again, CORE)
            raise

    def owner(self, where: str) -> str | None:
        """The place of what the operator has in place of a key of the store; None for nothing."""
        document, (kind, id) = self.file.document, stored.name_of(where)
        if kind == "instance":
            return self.instances.owner(id) if self.instances else None
        if kind in PROFILE_KINDS:
            return self.profiles.owner(kind, id) if self.profiles else None
        entry: Entry[Any] | None = None
        if kind == "default":
            entry = document.default_agent_id
        elif kind in ("agent", "binding"):
            entry = (document.agents if kind == "agent" else document.bindings).get(id)
        return entry.place if entry else None

    async def _read(self, where: str) -> tuple[str | None, str | None]:
        """The text at a key of the store, and its hash; None and None where there is nothing."""
        text = await self.writable.text(where)
        return text, None if text is None else revision_of(text)

    async def _set(
        self,
        where: str,
        value: str,
        change: Change,
        expected: str | None = None,
        target: Target = INSTANCE,
    ) -> None:
        if not await self._must_write(where, value, change):
            return
        is_new = expected == DELETED
        if is_new or not await self._write_over(where, value, expected, change, target):
            await self._write(where, value, None if is_new else expected, change, target)

    async def _write_over(
        self, where: str, value: str | None, expected: str | None, change: Change, target: Target
    ) -> bool:
        """Write over the expected hash, or (None) delete; without one the last writer wins.

        False where nothing is there.
        """

        async def attempt() -> bool | None:
            there = await self.writable.revision(where)
            if there is None and (expected is None or value is None):
                return False
            with _retried(expected is None):
                await self._write(where, value, expected or there, change, target)
                return True
            return None

        return await self._rewrite(change.target, attempt)

    @staticmethod
    async def _rewrite(what: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """The result of an attempt, made again (None) where what it read was changed meanwhile."""
        for _ in range(_RETRIES):
            if (done := await attempt()) is not None:
                return done
        raise errors.RevisionConflict(f"too many others are changing {what}; try again")

    async def _write(
        self, where: str, value: str | None, expected: str | None, change: Change, target: Target
    ) -> int:
        number = await self.writable.write(where, value, expected, change, target)
        self._refresh()
        return number

    async def _remove(
        self, where: str, change: Change, target: Target, expected: str | None = None
    ) -> bool:
        if not await self._must_write(where, "", change):
            return True
        return await self._write_over(where, None, expected, change, target)

    # --- following -------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Make the next snapshot where a source has changed, and hand it to the subscribers."""
        file, store = self.file.document, self.store.document if self.store else _EMPTY
        files = self.instances.document if self.instances else _EMPTY
        profiles = self.profiles.document if self.profiles else _EMPTY
        packaged = self.instances.packaged if self.instances else _EMPTY
        sources = file, files, profiles, store, packaged, self._bots
        if self._merged and all(a is b for a, b in zip(sources, self._merged, strict=True)):
            return
        self._merged = sources
        problems = (*file.problems, *files.problems, *profiles.problems)
        own = replace(file, instances=files.instances, problems=problems)
        own = replace(own, own_profiles=profiles.own_profiles)
        previous, document = self._snapshot, merge_documents(own, store)
        document = with_packaged(with_plain_agents(document, file, self._bots), packaged)
        if self.profiles is not None:
            document = replace(document, packaged_profiles=packaged_profiles)
        document = self._last_good.resolved(document)
        bindings = previous.bindings
        if document.bindings is not previous.document.bindings:
            bindings = Bindings(entry.value for entry in document.bindings.values())
        self._snapshot = Snapshot(next(self._numbers), document, bindings, self.own_bots)
        for subscriber in list(self._subscribers.values()):
            try:
                subscriber(self._snapshot)
            except Exception:  # noqa: BLE001 - one listener's fault must not stop the others
                _log.exception("subscriber.failed")


_SAID = {
    "let in": "let anybody in",
    "block": "block anybody",
    "take back": "take back who was let in or blocked",
}
_NOUN = re.compile(r"\b(agent|instance|bot|binding|key|role|default|profile|llm-config)\Z")


def in_words(action: str) -> str:
    """An action in a sentence: "add bot" as "add a bot"."""
    if action in _SAID:
        return _SAID[action]

    def with_article(noun: re.Match[str]) -> str:
        if noun[1] == "default":
            return "the default agent"
        if noun[1] == "llm-config":
            return "a model configuration"
        return f"{'an' if noun[1][0] in 'ai' else 'a'} {noun[1]}"

    return _NOUN.sub(with_article, action)


def owns_presets(actor: Actor, owner: str) -> bool:
    """Whether these are the actor's own presets, or the operator moves them from host to host."""
    is_operator = actor.via == "cli" and any(grant.scope == "host" for grant in actor.grants)
    return actor.id == owner or is_operator


def _retried(is_free: bool = True) -> suppress:
    """Where somebody else has just changed what is written over: goes on, if that `is_free`."""
    return suppress(*((errors.RevisionConflict,) if is_free else ()))


def _same_role(one: RoleGrant, other: RoleGrant) -> bool:
    return one.role == other.role and one.place == other.place


def _changed_grants(
    kind: Kind, id: str, before: str | None, after: str | None
) -> Sequence[RoleGrant]:
    """The roles that a change of a document gives or takes away; of a key its own, in any case."""
    if kind == "key":
        return [key_in(id, text).grant for text in (before, after) if text is not None]
    was, now = roles_in(id, before), roles_in(id, after)
    return [*(one for one in was if one not in now), *(one for one in now if one not in was)]


def roles_in(person: str, text: str | None) -> tuple[RoleGrant, ...]:
    """The roles in a stored document; raises DocumentErrors for one that is not valid."""
    if text is None:
        return ()
    try:
        return RoleDocument.model_validate_json(text).grants
    except ValueError:
        raise _invalid(stored.ROLE + person) from None


def roles_text(person: str, grants: Sequence[RoleGrant]) -> str | None:
    """Roles as they are stored; None for no roles."""
    return RoleDocument(person=person, grants=tuple(grants)).to_text() if grants else None


def key_in(id: str, text: str) -> ApiKey:
    """The key in a stored document; raises DocumentErrors for one that is not valid."""
    try:
        return ApiKey.model_validate_json(text)
    except ValueError:
        raise _invalid(stored.API_KEY + id) from None


def _invalid(where: str) -> errors.DocumentErrors:
    return errors.DocumentErrors([Problem(where, "its value is not valid", "DEL it in the store")])


def _hash(text: str | None) -> str:
    return DELETED if text is None else revision_of(text)


def _needed(action: Action, target: Target) -> str:
    """Which role it takes, in words."""
    if target.tier == "agent_builder" and action == "write":
        return "only admins of the host may"
    *some, last = roles_for(action, target.tier)
    names = f"{', '.join(some)} or {last}" if some else last
    return f"it takes the role {names} in account {target.account}"
