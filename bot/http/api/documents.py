"""What all documents of the registry have over HTTP: revisions, differences, ETags, conflicts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Header, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from bot.http.api.caller import Caller
from bot.http.api.needs import Host, iso
from bot.http.api.problems import ApiError, not_found, shown_place
from registry.catalog import Written, roles_text
from registry.errors import Denied, DocumentErrors, NotThere, Problem, RevisionConflict
from registry.fields import valid_slug
from registry.history import kept_text, text_of, unwritten
from registry.layers import LayerName
from registry.revisions import FieldChange, Kind, Revision
from registry.roles import RoleGrant, Why, sees_grant
from registry.snapshot import UNWRITTEN, Entry, revision_of
from registry.sources.json_yaml import read_value

_QUICK = 16_000  # characters of a body that are read on the loop
_RECENT = 20
Name = Annotated[
    str,
    AfterValidator(valid_slug),
    Field(json_schema_extra={"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"}),
]
"""The slug of an account, a client or an agent in a body."""
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many a page has.")]
From = Annotated[
    int | None,
    Query(alias="from", ge=1, le=2**31, description="A revision; by default the one before `to`."),
]
To = Annotated[
    int | None, Query(alias="to", ge=1, le=2**31, description="A revision; by default the newest.")
]
IfMatch = Annotated[
    str | None,
    Header(
        description="The ETag of the revision that the change was made for; without it the last "
        "writer wins.",
        examples=['"5d9c2b6a4f0e6c8f1f7f3a3f1f0f9b1c2d3e4f5a"'],
    ),
]
ETAG: dict[str, Any] = {"ETag": {"description": "The hash.", "schema": {"type": "string"}}}
CREATED: dict[str, Any] = {
    "description": "It was created.",
    "headers": {**ETAG, "Location": {"description": "Its path.", "schema": {"type": "string"}}},
}
WAITS: dict[str, Any] = {
    "description": "The change is kept, and live once a second person has approved it.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class RevisionInfo(BaseModel):
    """One revision of a document, without its text."""

    number: int = Field(examples=[3])
    hash: str = Field(description="What If-Match expects; `-` for a deletion.")
    by: str = Field(examples=["api:default:ann"])
    at: str | None = Field(examples=["2027-02-28T12:00:00+00:00"])
    reason: str | None = Field(examples=["The tone was too stiff"])
    ticket: str | None = Field(examples=["OPS-7"])
    via: str | None = Field(description="chat, http, cli, file or store.", examples=["http"])
    place: str | None = Field(description="Of the operator's documents: where it is written.")
    deleted: bool


class HistoryPage(BaseModel):
    """Revisions, newest first; the first one has number 1."""

    id: str
    revisions: list[RevisionInfo]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class Changed(BaseModel):
    """One field that differs; `words` tells of a text word by word what was kept, cut and added."""

    field: str | None = Field(examples=["customInstructions"])
    section: str = Field(examples=["text"])
    old: Any = Field(examples=["Answer in rhymes."])
    new: Any = Field(examples=["Answer in prose."])
    words: list[tuple[str, str]] = Field(
        examples=[[["=", "Answer in "], ["-", "rhymes"], ["+", "prose"], ["=", "."]]]
    )


class DiffAnswer(BaseModel):
    """What differs between two revisions, by section: text, model, tools, rules, limits, other."""

    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    old: RevisionInfo = Field(alias="from")
    new: RevisionInfo = Field(alias="to")
    sections: dict[str, list[Changed]]


class RestoreRequest(BaseModel):
    """Which revision is to be the newest again, and why."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, le=2**31, examples=[1])
    reason: str | None = Field(None, max_length=500, examples=["The old tone was better"])
    ticket: str | None = Field(None, max_length=500)


class EffectiveField(BaseModel):
    """A field as it is in force, the layer that set it last, and where that is written.

    L0 is the host, L1 the agent, L3 an instance.
    """

    value: Any
    layer: LayerName = Field(examples=["L1"])
    origin: str = Field(examples=["agents.json:3"])


Effective = Annotated[
    bool, Query(description="Also show every field as it is in force, with its origin.")
]


def effective_of(document: Document, *, wanted: bool) -> dict[str, Any]:
    """What is in force of an agent or an instance, field by field; nothing unless it is wanted."""
    host = document.host
    found = (
        host.catalog.snapshot().effective(document.id, host.talking.about.defaults)
        if wanted
        else None
    )
    if found is None:
        return {}
    agent = found.written
    fields = found.shown(json.loads(kept_text(agent)) if found.operator else agent.to_json())
    shown = {name: {**one, "origin": _shown_places(one["origin"])} for name, one in fields.items()}
    return {"effective": shown}


def _shown_places(origin: str) -> str:
    """An origin without the folders of its places."""
    parts = (shown_place(part) for part in origin.split(", "))
    return ", ".join(parts)


def why_of(caller: Caller, reason: str | None, ticket: str | None) -> Why:
    """The reason and the ticket in a body, or else those in the headers."""
    return Why(reason or caller.why.reason, ticket or caller.why.ticket)


def require_whole(caller: Caller) -> None:
    """Raise Denied for a key that reaches one agent alone: it governs nothing else."""
    if caller.agent is not None:
        raise Denied(f"this key reaches agent {caller.agent} alone")


def require_reach(caller: Caller, account: str) -> None:
    """Raise ApiError where a body names an account that the key does not reach."""
    if not caller.reaches_account(account):
        detail = "This key may not name another account than its own."
        raise ApiError(403, "denied", detail, field="account")


def revision_info(one: Revision) -> RevisionInfo:
    """A revision as answers have it."""
    return RevisionInfo(
        number=one.number,
        hash=one.hash,
        by=one.by,
        at=iso(one.at),
        reason=one.reason or None,
        ticket=one.ticket or None,
        via=one.via or None,
        place=shown_place(one.place) or None,
        deleted=one.text is None,
    )


def changed(found: Iterable[FieldChange]) -> list[Changed]:
    """Differences as answers have them."""
    return [
        Changed(
            field=one.field or None,
            section=one.section,
            old=one.old,
            new=one.new,
            words=[*one.words],
        )
        for one in found
    ]


def tags(*names: str) -> list[str | Enum]:
    """The headings under which the documentation lists a route."""
    return [*names]


# --- requests and answers ------------------------------------------------------------------------


async def read_body(request: Request) -> tuple[str, dict[str, Any]]:
    """The JSON object in a body, as text and as value; raises DocumentErrors."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        raise DocumentErrors([Problem("body", "it is not UTF-8 text", "send JSON")]) from None
    quick = len(text) <= _QUICK
    value = (read_value(text, "body") if quick else await _read_aside(text)).value
    if not isinstance(value, dict):
        raise DocumentErrors(
            [Problem("body", "it is not an object in { }", "send one JSON object")]
        )
    return text, value


async def _read_aside(text: str) -> Any:
    return await asyncio.to_thread(read_value, text, "body")


def answer(
    body: Mapping[str, Any] | BaseModel,
    *,
    etag: str | None = None,
    status: int = 200,
    location: str | None = None,
) -> Response:
    """A JSON answer with its ETag and, where something was created, its place."""
    said = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    headers = {"ETag": f'"{etag}"'} if etag else {}
    if location is not None:
        headers["Location"] = location
    return Response(orjson.dumps(said), status, headers, media_type="application/json")


def none_left() -> Response:
    """The answer to a deletion."""
    return Response(status_code=204)


def held(entry: Entry[Any]) -> str | None:
    """The hash of an entry, as its history has it; None for one that nobody has written."""
    if entry.document in UNWRITTEN:
        return None
    return entry.revision or revision_of(text_of(entry.value))


def is_read_only(entry: Entry[Any]) -> bool:
    """Whether the operator's file or environment owns it."""
    return entry.operator and entry.document not in UNWRITTEN


def shown(entry: Entry[Any]) -> Any:
    """The value of an entry as JSON; secrets that the operator wrote into it are masked."""
    return json.loads(kept_text(entry.value) if entry.operator else text_of(entry.value))


# --- one document --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a request is about."""

    host: Host
    caller: Caller
    kind: Kind
    id: str

    @property
    def entry(self) -> Entry[Any] | None:
        """What is in force of it, of roles also what the caller may not see."""
        snapshot = self.host.catalog.snapshot()
        document = snapshot.document
        if self.kind in ("profile", "llm-config"):
            return (
                snapshot.profile(self.id)
                if self.kind == "profile"
                else snapshot.llm_config(self.id)
            )
        if self.kind == "default":
            return document.default_agent_id
        kinds: Mapping[str, Mapping[str, Entry[Any]]] = {
            "agent": document.agents,
            "binding": document.bindings,
            "instance": document.instances,
            "role": document.roles,
        }
        return kinds[self.kind].get(self.id)

    @property
    def seen_roles(self) -> tuple[RoleGrant, ...]:
        """Of the roles of a person those that the caller may see."""
        grants, held = self.caller.actor.grants, self.host.catalog.snapshot().roles_held_by(self.id)
        return tuple(grant for grant in held if sees_grant(grants, grant))

    @property
    def etag(self) -> str | None:
        """The hash of what is there now; None for nothing."""
        if self.kind == "role":
            text = roles_text(self.id, self.seen_roles)
            return revision_of(text) if text else None
        return held(self.entry) if self.entry else None

    def expected(self, if_match: str | None) -> str | None:
        """The hash that a change must find, by If-Match and what is there now."""
        return expected_of(if_match, self.etag)

    async def number(self, held: str | None) -> int | None:
        """The number of the newest revision with this hash, once it has one."""
        if held is None:
            return None
        read = self.host.history.revisions
        found = await read(self.caller.actor, self.kind, self.id, count=_RECENT)
        return next((one.number for one in found if one.hash == held), None)

    async def put(self, text: str, if_match: str | None) -> Written:
        """Write it as a whole; raises ApiError with what has changed where another was expected."""
        caller, expected = self.caller, self.expected(if_match)
        try:
            return await self.host.catalog.put_document(
                caller.actor,
                self.kind,
                self.id,
                text,
                key=caller.change_key,
                expected=expected,
                why=caller.why,
            )
        except RevisionConflict as error:
            raise await self.conflict(error, expected) from None

    async def delete(
        self, remove: Callable[..., Awaitable[bool]], if_match: str | None
    ) -> Response:
        """Remove it by a method of the catalog; raises ApiError where it is not there."""
        caller, expected = self.caller, self.expected(if_match)
        try:
            done = await remove(
                caller.actor, self.id, key=caller.change_key, expected=expected, why=caller.why
            )
        except RevisionConflict as error:
            raise await self.conflict(error, expected) from None
        if not done:
            raise not_found()
        return none_left()

    async def conflict(self, error: RevisionConflict, expected: str | None) -> ApiError:
        """What a stale If-Match is answered with: the changes since then."""
        actor, history = self.caller.actor, self.host.history
        since = await history.since(actor, self.kind, self.id, expected) if expected else ()
        newest = await history.revisions(actor, self.kind, self.id, count=1)
        there = bool(newest) and newest[0].text is not None
        more = {
            "changes": [one.model_dump(mode="json") for one in changed(since)],
            "current": newest[0].hash if there else None,
        }
        detail = f"{str(error)[:1].upper()}{str(error)[1:]}."
        return ApiError(409, "revision-conflict", detail, more=more)

    async def history(self, cursor: str | None, limit: int) -> HistoryPage:
        """A page of the revisions; raises ApiError where there was never one."""
        account, what = self.caller.account, f"history:{self.kind}:{self.id}"
        cursors = self.host.cursors
        before = int(cursors.read(account, what, cursor)) if cursor is not None else None
        read = self.host.history.revisions
        found = await read(self.caller.actor, self.kind, self.id, before=before, count=limit + 1)
        if not found and before is None:
            raise self._never_written()
        page, more = found[:limit], len(found) > limit
        position = str(page[-1].number) if more else ""
        return HistoryPage(
            id=self.id,
            revisions=[revision_info(one) for one in page],
            next=cursors.make(account, what, position) if more else None,
        )

    def _never_written(self) -> ApiError:
        """That there never was a revision; of what nobody here wrote, why."""
        why = unwritten(self.host.catalog.snapshot(), self.kind, self.id)
        return _no_revision(why) if why else not_found()

    async def diff(self, old: int | None, new: int | None) -> DiffAnswer:
        """What differs between two revisions: by default the newest one and the one before."""
        actor, history = self.caller.actor, self.host.history
        last = new if new is None else new + 1
        newest = await history.revisions(actor, self.kind, self.id, before=last, count=2)
        if not newest:
            raise self._never_written()
        new = new or newest[0].number
        old = old or newest[-1].number
        try:
            diff = await history.diff(actor, self.kind, self.id, old, new)
        except NotThere as error:
            raise _no_revision(str(error)) from None
        sections: dict[str, list[Changed]] = {}
        for change in changed(diff.changes):
            sections.setdefault(change.section, []).append(change)
        return DiffAnswer.model_validate(
            {
                "id": self.id,
                "from": revision_info(diff.old),
                "to": revision_info(diff.new),
                "sections": sections,
            }
        )

    async def restore(self, body: RestoreRequest, if_match: str | None) -> Revision:
        """Make an old revision the newest one, which is returned."""
        caller, history = self.caller, self.host.history
        expected = self.expected(if_match)
        try:
            number = await history.restore(
                caller.actor,
                self.kind,
                self.id,
                body.revision,
                key=caller.change_key,
                expected=expected,
                why=why_of(caller, body.reason, body.ticket),
            )
        except RevisionConflict as error:
            raise await self.conflict(error, expected) from None
        except NotThere as error:
            if await history.revisions(caller.actor, self.kind, self.id, count=1):
                raise _no_revision(str(error)) from None
            raise self._never_written() from None
        read = history.revisions
        return (await read(caller.actor, self.kind, self.id, before=number + 1, count=1))[0]


def _no_revision(why: str) -> ApiError:
    return ApiError(404, "no-revision", f"{why[:1].upper()}{why[1:]}.")


# --- the routes that all of them have ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DocumentRoutes:
    """The documents of one kind: their path and heading, how one is found, and how it is shown.

    `find` is a dependency that gives the document of a request, `needs` declares who may read it,
    `shown` makes the answer for a revision of it. `listed` is the last part of the path of its
    revisions.
    """

    path: str
    tag: str
    answer: type[BaseModel]
    find: Callable[..., Awaitable[Document]]
    needs: Callable[[Callable[..., Any]], Callable[..., Any]]
    shown: Callable[[Document, Revision], Response]
    listed: str = "history"


def add_revisions(app: FastAPI, routes: DocumentRoutes) -> None:
    """Add the routes that all documents have: history, diff and restore."""
    path, heading, found = routes.path, tags(routes.tag), Depends(routes.find)

    @app.get(f"{path}/{routes.listed}", tags=heading)
    @routes.needs
    async def history(
        document: Document = found, cursor: Cursor = None, limit: Limit = 50
    ) -> HistoryPage:
        """List the revisions, newest first, also of what was deleted."""
        return await document.history(cursor, limit)

    @app.get(f"{path}/diff", tags=heading)
    @routes.needs
    async def diff(document: Document = found, old: From = None, new: To = None) -> DiffAnswer:
        """Show what differs between two revisions, by section."""
        return await document.diff(old, new)

    answers: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}, 202: WAITS}
    if routes.tag != "agents":
        del answers[202]

    @app.post(f"{path}/restore", tags=heading, response_model=routes.answer, responses=answers)
    @routes.needs
    async def restore(
        body: RestoreRequest,
        document: Document = found,
        if_match: IfMatch = None,
    ) -> Response:
        """Make an old revision the newest one. It takes the role that PUT takes."""
        return routes.shown(document, await document.restore(body, if_match))


def expected_of(if_match: str | None, now: str | None) -> str | None:
    """The hash that a change must find, by If-Match and the hash of what is there now.

    None for any; "none" matches nothing.
    """
    if if_match is None:
        return None
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    return now if now and (now in tags or "*" in tags) else tags[0] or "none"
