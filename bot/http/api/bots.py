"""The routes of bots: `/api/v1/bots`; a token is taken, sealed, and never shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs, needs_key
from bot.http.api.problems import ApiError, not_found
from bot.http.api.roles import require_governor
from registry.bot_edits import NewBot, may_see
from registry.errors import NotThere
from registry.roles import Why
from registry.snapshot import Entry
from registry.stored_bot import BotStatus, StoredBot

BOTS = "/api/v1/bots"
BotId = Annotated[str, Path(description="The numeric id of a bot.", examples=["7100001"])]


class BotInfo(BaseModel):
    """A bot, whose it is, and how it is doing at this replica; never its token."""

    id: int = Field(examples=[7100001])
    username: str | None = Field(examples=["acme_desk_bot"])
    name: str | None = Field(examples=["Acme Desk"])
    account: str = Field(examples=["acme"])
    state: str = Field(description="running or paused.", examples=["running"])
    here: str | None = Field(
        description="How it is doing at the replica that answers: polling, waiting (another "
        "replica serves it), unreadable, conflict ….",
        examples=["polling"],
    )
    added_by: str | None = Field(examples=["tg:123456789"])
    added: str | None
    read_only: bool = Field(description="Whether it is set in the host's environment.")
    hash: str | None = Field(description="The ETag, without its quotes.")


class BotList(BaseModel):
    """The bots that the key may see, by their ids."""

    bots: list[BotInfo]


class AddedBot(BotInfo):
    """A bot that was added now, and the agent that was bound to it."""

    agent: str | None = Field(examples=["poet"])


class BotRequest(BaseModel):
    """A bot that is to be added, by the token that @BotFather gave for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"token": "7100001:AA…", "account": "acme", "agent": "sales-smb"}
        },
    )

    token: SecretStr = Field(max_length=200)
    account: docs.Name | None = None
    agent: str | None = Field(None, max_length=129, description="An agent or an instance.")
    reason: str | None = Field(None, max_length=500)
    ticket: str | None = Field(None, max_length=500)


class BotChange(BaseModel):
    """What to change of a bot; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "paused"}})

    state: Literal["running", "paused"] | None = None
    name: str | None = Field(None, max_length=64, description="In Telegram as well.")
    account: docs.Name | None = None
    reason: str | None = Field(None, max_length=500)
    ticket: str | None = Field(None, max_length=500)


def add_routes(app: FastAPI) -> None:
    """Add the routes of bots."""
    tags = docs.tags("bots")
    app.get(BOTS, tags=tags)(list_bots)
    made: dict[int | str, dict[str, Any]] = {201: {**docs.CREATED, "model": AddedBot}}
    app.post(BOTS, tags=tags, status_code=201, response_model=AddedBot, responses=made)(add_bot)
    path = f"{BOTS}/{{bot_id}}"
    app.get(path, tags=tags, response_model=BotInfo)(get_bot)
    app.patch(path, tags=tags, response_model=BotInfo)(change_bot)
    app.delete(path, tags=tags, status_code=204, response_class=Response)(remove_bot)
    app.delete(f"{path}/data", tags=tags, status_code=204, response_class=Response)(forget_bot)


@needs_key()
async def list_bots(caller: CallerDep, host: HostDep) -> BotList:
    """List the bots that the key may see: those of its account."""
    require_governor(caller, "see bots")
    seen = host.bots.seen(caller.actor).values()
    stored = [_info(host, entry) for entry in seen if entry.value.number not in host.bots.own]
    states, snapshot = host.own.states(), host.catalog.snapshot()
    own = [
        BotInfo(
            id=number,
            username=states.get(number, ("", ""))[0] or None,
            name=None,
            account=snapshot.account_of_bot(number),
            state="running",
            here=states.get(number, ("", ""))[1] or None,
            added_by=None,
            added=None,
            read_only=True,
            hash=None,
        )
        for number in host.bots.own
        if may_see(caller.actor, snapshot.account_of_bot(number))
    ]
    return BotList(bots=sorted([*own, *stored], key=lambda one: one.id))


def _info(host: Host, entry: Entry[StoredBot]) -> BotInfo:
    bot = entry.value
    return BotInfo(
        id=bot.number,
        username=bot.username or None,
        name=bot.name or None,
        account=bot.account,
        state=bot.state,
        here=host.own.states().get(bot.number, ("", ""))[1] or None,
        added_by=bot.added_by or None,
        added=iso(bot.added or None),
        read_only=False,
        hash=entry.revision,
    )


def _found(caller: Caller, host: Host, bot_id: str) -> Entry[StoredBot]:
    require_governor(caller, "see bots")
    try:
        return host.bots.find(caller.actor, bot_id)
    except NotThere:
        raise not_found() from None


@needs_key()
async def get_bot(caller: CallerDep, host: HostDep, bot_id: BotId) -> Response:
    """Show a bot that was added at run time."""
    entry = _found(caller, host, bot_id)
    return docs.answer(_info(host, entry), etag=entry.revision)


@needs_key()
async def add_bot(caller: CallerDep, host: HostDep, body: BotRequest) -> Response:
    """Add a bot by its token, which is sealed at once; it is polled within three seconds."""
    require_governor(caller, "add bots")
    account = body.account or caller.account
    docs.require_reach(caller, account)
    wanted = NewBot(body.token.get_secret_value(), account, body.agent)
    why = docs.why_of(caller, body.reason, body.ticket)
    added = await host.bots.add(caller.actor, wanted, key=caller.change_key, why=why)
    entry = _found(caller, host, added.bot.id)
    said = {**_info(host, entry).model_dump(), "agent": added.agent}
    location = f"{BOTS}/{added.bot.id}"
    return docs.answer(said, status=201, etag=entry.revision, location=location)


@needs_key()
async def change_bot(caller: CallerDep, host: HostDep, bot_id: BotId, body: BotChange) -> Response:
    """Pause a bot or let it run, rename it, or move it to another account."""
    _found(caller, host, bot_id)
    if body.account is not None:
        docs.require_reach(caller, body.account)
    if body.state is None and body.name is None and body.account is None:
        raise ApiError(422, "invalid", "Say what to change: state, name or account.")
    why = docs.why_of(caller, body.reason, body.ticket)
    await _change(caller, host, bot_id, body, why)
    entry = host.bots.find(caller.actor, bot_id)
    return docs.answer(_info(host, entry), etag=entry.revision)


async def _change(caller: Caller, host: Host, bot_id: str, body: BotChange, why: Why) -> None:
    actor, key, bots = caller.actor, caller.change_key, host.bots
    if body.name is not None:
        await bots.rename(actor, bot_id, body.name, key=f"{key}:name", why=why)
    if body.state is not None:
        status: BotStatus = body.state
        await bots.set_status(actor, bot_id, status, key=f"{key}:state", why=why)
    if body.account is not None:
        await bots.move(actor, bot_id, body.account, key=f"{key}:account", why=why)


@needs_key()
async def remove_bot(caller: CallerDep, host: HostDep, bot_id: BotId) -> Response:
    """End the hosting of a bot; its conversations and bindings stay."""
    _found(caller, host, bot_id)
    await host.bots.remove(caller.actor, bot_id, key=caller.change_key, why=caller.why)
    return docs.none_left()


@needs("agent_builder", "write")
async def forget_bot(caller: CallerDep, host: HostDep, bot_id: BotId) -> Response:
    """Delete what was said in a bot that is no longer hosted. It takes an admin of the host."""
    docs.require_whole(caller)
    if not (bot_id.isascii() and bot_id.isdecimal() and len(bot_id) < 17):
        raise not_found()
    await host.bots.forget(caller.actor, int(bot_id), key=caller.change_key, why=caller.why)
    return docs.none_left()
