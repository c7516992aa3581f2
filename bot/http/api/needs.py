"""What a route needs: the permission that each declares, the caller, and the parts of the host.

    @app.get("/api/v1/instance/{instance_id}/tuning/audit")
    @needs("instance", "read", account="instance_id")
    async def audit(caller: CallerDep, host: HostDep, instance_id: str) -> AuditPage: ...

A route that declares nothing answers 403.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Request

from bot.http.accounts.conversations import Conversations
from bot.http.accounts.tasks import Tasks
from bot.http.api.caller import Caller
from bot.http.api.cursors import Cursors
from bot.http.api.problems import REASON_HEADERS, ApiError, not_found
from bot.store.client import StoreClient
from bot.store.key_uses import KeyUses
from bot.store.sign_ins import SignIns
from registry import errors
from registry.api_key import ApiKey
from registry.bot_edits import BotEdits
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.history import History
from registry.preset_rules import AgentToolNames, KnownTools
from registry.roles import Action, Target, Tier, verdict

F = TypeVar("F", bound=Callable[..., Any])
_NEEDS = "__needs__"
_LAST_SECOND = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


async def _no_tools(_agent: str, _account: str) -> AgentToolNames:
    return AgentToolNames()


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What a list of agents tells beside their documents.

    `tools` names the tools that an agent is known to have for an account, `known` waits a while for
    its servers; `model` is the model that it asks. `defaults` are the model settings of agents that
    say nothing. `specializations` are the values that have texts, by dimension.
    """

    tools: Callable[[str, str], list[str]] = lambda _agent, _account: []
    known: KnownTools = _no_tools
    specializations: Callable[[], Mapping[str, list[str]]] = dict
    model: Callable[[str], str | None] = lambda _agent: None
    defaults: LlmConfiguration = field(default_factory=LlmConfiguration)


@dataclass(frozen=True, slots=True)
class Talking:
    """What the routes of conversations and of sign-in work with.

    `page_url` is the address that the operator gave the page, or ''. `legacy` says what the old
    routes do; `count` counts who uses them. `faces` are the forms of other APIs in which the host
    answers as well.
    """

    sign_ins: SignIns
    tasks: Tasks
    page_url: str = ""
    legacy: Literal["serve", "308", "301", "gone"] = "serve"
    count: Callable[[str], None] = lambda _name: None
    about: AgentFacts = AgentFacts()
    faces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OwnParts:
    """What comes from the host's own environment: its keys of the API, and what changes bots.

    `states` gives username and state of each bot that this replica knows, by the bot's id.
    """

    keys: tuple[ApiKey, ...] = ()
    bots: BotEdits | None = None
    states: Callable[[], Mapping[int, tuple[str, str]]] = dict


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of the host that routes work with.

    `uses` says when keys were used last, also those of the environment.
    """

    catalog: Catalog
    history: History
    store: StoreClient
    cursors: Cursors
    uses: KeyUses
    talking: Talking
    own: OwnParts = OwnParts()

    @property
    def own_keys(self) -> tuple[ApiKey, ...]:
        """The keys of the environment."""
        return self.own.keys

    @property
    def bots(self) -> BotEdits:
        """What adds and changes bots."""
        assert self.own.bots is not None
        return self.own.bots

    @property
    def conversations(self) -> Conversations:
        """The conversations over HTTP."""
        return self.talking.tasks.conversations

    @property
    def tasks(self) -> Tasks:
        """The tasks over HTTP."""
        return self.talking.tasks


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route has declared: any key (no tier), or an action on a tier.

    `account`, `client` and `agent` are names of parameters in the path: where what they hold is out
    of the key's reach, the answer is 404, and nothing is looked up.
    """

    tier: Tier | None = None
    action: Action = "read"
    account: str | None = None
    client: str | None = None
    agent: str | None = None
    limited: bool = False


def needs(
    tier: Tier,
    action: Action,
    *,
    account: str | None = None,
    client: str | None = None,
    agent: str | None = None,
    limited: bool = False,
) -> Callable[[F], F]:
    """Declare the row of the permission table that a route needs.

    With `limited`, a `write_limited` passes too: the route must then look at `caller.limited`.
    """
    return _declared(Needs(tier, action, account, client, agent, limited))


def needs_key(
    *, account: str | None = None, client: str | None = None, agent: str | None = None
) -> Callable[[F], F]:
    """Declare that any key will do: what it may then do, the route or the catalog decides."""
    return _declared(Needs(None, "read", account, client, agent))


def _declared(found: Needs) -> Callable[[F], F]:
    def declare(endpoint: F) -> F:
        setattr(endpoint, _NEEDS, found)
        return endpoint

    return declare


def needs_of(endpoint: object) -> Needs | None:
    """What a route's function has declared."""
    found = getattr(endpoint, _NEEDS, None)
    return found if isinstance(found, Needs) else None


async def permitted(request: Request) -> None:
    """Let a request through to its route, or raise what refuses it; the app runs it first."""
    wanted = needs_of(request.scope.get("endpoint"))
    caller: Caller = request.state.caller
    if wanted is None:
        raise ApiError(403, "denied", "Nobody may do this: no permission is declared for it.")
    path = request.path_params
    account, client, agent = (
        path.get(name) if name else None for name in (wanted.account, wanted.client, wanted.agent)
    )
    if (
        (account is not None and not caller.reaches_account(account))
        or (client is not None and not caller.reaches_client(client))
        or (agent is not None and not caller.reaches_agent(agent))
    ):
        raise not_found()
    if wanted.tier is None:
        return
    target = Target(wanted.tier, account or caller.account, client)
    said = verdict(caller.actor.grants, wanted.action, target, caller.why)
    if said == "limited" and wanted.limited:
        request.state.caller = replace(caller, limited=True)
    elif said != "yes":
        await _refuse(request, wanted, target, needs_reason=said == "needs a reason")


async def _refuse(request: Request, wanted: Needs, target: Target, *, needs_reason: bool) -> None:
    """Raise the error of a refusal; that of a write is in the audit."""
    caller: Caller = request.state.caller
    what = f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"
    if wanted.action == "write":
        catalog = (await host(request)).catalog
        await catalog.refused(caller.actor, what, target.tier, key=caller.change_key, of=target)
    if needs_reason:
        message = f"say why: send {REASON_HEADERS}"
        raise errors.ReasonMissing(message)
    raise errors.Denied(f"the role of this key may not {wanted.action} this")


async def caller(request: Request) -> Caller:
    """The caller of a request, as a dependency."""
    found: Caller = request.state.caller
    return found


async def host(request: Request) -> Host:
    """The parts of the host, as a dependency."""
    found: Host = request.app.state.host
    return found


def iso(seconds: float | None) -> str | None:
    """A time as answers have it: ISO 8601, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST_SECOND), UTC).isoformat()


CallerDep = Annotated[Caller, Depends(caller)]
HostDep = Annotated[Host, Depends(host)]
