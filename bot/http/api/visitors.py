"""Who stands before the gate: by a key, by the cookie of a browser, by a link, or by nothing.

A cookie opens the page's own routes alone. What it writes, and what begins a turn, has to come from
a page of this host: a browser sends the cookie along with what a page elsewhere asks, too.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Scope

from bot.errors import StoreError, StoreUnavailable
from bot.http.accounts.artifacts import PATH as ARTIFACTS
from bot.http.api.caller import Caller, Credentials, change_key
from bot.http.api.head import WRITES, Head, foreign_page
from bot.http.api.problems import ApiError, unavailable
from bot.store.sign_ins import SignIn, SignIns
from registry.api_key import PREFIX, ApiKey, valid_user
from registry.errors import InvalidValue
from registry.roles import DEFAULT_ACCOUNT, Actor, Why

SESSION = "/session"
KEY_COOKIE = "switchboard_key"
CHAT_COOKIE = "switchboard_chat"
LEGACY = frozenset({"/chat", "/events/stream"})
"""The routes of before; `LEGACY_OPEN` lets strangers use them."""
_OF_PAGE = re.compile(
    r"/session|/api/v1/me|/api/v1/approvals(/[^/]+)?"
    r"|/accounts/[^/]+/agents(/[^/]+/(chat|stream|history|stop))?"
)
"""What a cookie opens."""
_BEGINS = re.compile(
    r"/accounts/[^/]+/agents/[^/]+/(chat|stream)|/api/v1/agent/([^/]+/)?execute"
    r"|/v1/chat/completions"
)
"""What begins a turn, with GET as well."""
_VALUE = re.compile(r"[A-Za-z0-9_-]{1,128}")
People = Callable[[SignIn], Actor | None]
"""Who a person in Telegram is at this moment; None where they may no longer use the page."""


def nobody(_who: SignIn) -> Actor | None:
    """No person in Telegram may use the page."""
    return None


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request comes from, before its body is read.

    One of `key`, `actor` (a person who signed in by a link) and neither (a stranger whom
    `LEGACY_OPEN` lets in). `user` is the person for whom the key was signed in. `signed`: the
    address was made by this host, and needs nothing else.
    """

    key: ApiKey | None = None
    user: str | None = None
    actor: Actor | None = None
    sign_in: SignIn | None = None
    signed: bool = False

    @property
    def rate(self) -> str:
        """Whose requests are counted together."""
        return self.key.id if self.key else self.actor.id if self.actor else ""


def begins_turn(path: str) -> bool:
    """Whether a request to this path begins a turn, which is made once by itself."""
    return path in LEGACY or _BEGINS.fullmatch(path) is not None


def cookies_of(header: str) -> dict[str, str]:
    """The cookies of ours in a header; raises ApiError where one of them is there twice.

    A page on another port of this machine can add a cookie of the same name. Neither is believed.
    """
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name in (KEY_COOKIE, CHAT_COOKIE):
            if name in found:
                raise ApiError(400, "bad-request", f"The cookie {name} is there twice.", "cookie")
            found[name] = value if _VALUE.fullmatch(value) else ""
    return found


@dataclass(frozen=True, slots=True)
class Visitors:
    """Finds who a request comes from; `is_signed` checks the address of an artifact."""

    credentials: Credentials
    sign_ins: SignIns
    people: People = nobody
    legacy_open: bool = False
    is_signed: Callable[[str, bytes], bool] = lambda _path, _query: False

    async def of(self, head: Head, scope: Scope, body: bytes) -> Visitor | None:
        """Who shows something valid; None for everybody else.

        Where there is an `Authorization` header, nothing else counts. `body` is that of a sign-in.
        Raises ApiError where a page elsewhere, or none, uses a cookie to write, and where the store
        is away.
        """
        url = scope.get("raw_path", b"") + scope.get("query_string", b"")
        if PREFIX.encode() in url:
            return None
        path = scope["path"]
        if path.startswith(ARTIFACTS) and scope["method"] == "GET":
            return Visitor(signed=self.is_signed(path, scope.get("query_string", b"")))
        if head.authorization is not None:
            return self._by_key(head.authorization, url)
        try:
            if path == SESSION and scope["method"] == "POST":
                return await self._by_body(body, url) if head.is_json else None
            cookie = cookies_of(head.cookie).get(KEY_COOKIE, "")
            if cookie and _OF_PAGE.fullmatch(path):
                _check_page(head, scope)
                return None if cookie.encode() in url else await self._by_cookie(cookie)
        except StoreUnavailable:
            raise unavailable() from None
        except StoreError as error:
            raise unavailable(str(error)) from None
        if self.legacy_open and path in LEGACY:
            if head.fetch_site not in (None, "same-origin", "none"):
                raise foreign_page()
            return Visitor()
        return None

    def _by_key(self, authorization: str, url: bytes) -> Visitor | None:
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        key = self.credentials.find(secret)
        in_url = secret.encode() in url
        return Visitor(key) if scheme.lower() == "bearer" and key and not in_url else None

    async def _by_body(self, body: bytes, url: bytes) -> Visitor | None:
        """Who signs in: `{"key": "…"}`, for one person with `user_id`; or `{"link": "…"}`."""
        found: Any = None
        with suppress(ValueError, RecursionError):
            found = json.loads(body)
        match found:
            case {"key": str(secret)} if "link" not in found:
                return self._by_key(f"Bearer {secret}", url)
            case {"link": str(code)} if "key" not in found:
                sign_in = await self.sign_ins.use_link(code)
                return self._signed_in(sign_in)
        return None

    async def _by_cookie(self, cookie: str) -> Visitor | None:
        return self._signed_in(await self.sign_ins.find(cookie))

    def _signed_in(self, sign_in: SignIn | None) -> Visitor | None:
        """Who a sign-in stands for now: a key that was revoked and a role that is gone end it."""
        if sign_in is None:
            return None
        if sign_in.key:
            key = self.credentials.live(sign_in.key)
            return Visitor(key, sign_in.user, sign_in=sign_in) if key else None
        actor = self.people(sign_in)
        return Visitor(actor=actor, sign_in=sign_in) if actor else None


def _check_page(head: Head, scope: Scope) -> None:
    """Refuse a request that a cookie came with, unless a page of this host sent it.

    Its Origin, where there is one, was found to be ours. Without one the browser has to say so; an
    address that somebody typed may be read.
    """
    acts = scope["method"] in WRITES or _BEGINS.fullmatch(scope["path"]) is not None
    site = head.fetch_site
    if site not in (None, "same-origin", "none") or (site == "none" and acts):
        raise foreign_page()
    if acts and site is None and head.origin is None:
        raise foreign_page()


# --- what a request says of its caller -----------------------------------------------------------


def caller_of(
    visitor: Visitor, credentials: Credentials, request: tuple[Head, Scope, bytes]
) -> Caller:
    """The caller of a request; raises ApiError where it names a person for whom it may not be."""
    head, scope, body = request
    key, named = visitor.key, None
    if not scope["path"].startswith(ARTIFACTS):  # its signature covers all that is asked there
        named = _named_user(scope.get("query_string", b""), body if head.is_json else b"")
    only = visitor.user or (key.user if key else None)
    if named is not None and named != only and (only is not None or key is None):
        detail = "This key stands for one person, and the request names another one."
        if key is None:
            detail = "This request cannot name a person."
        raise ApiError(403, "denied", detail, field="user_id")
    user = only or named
    if user is not None and key is not None and user != key.user:
        _check_named(credentials, key, user)
    given = head.key
    if given is not None and not (
        0 < len(given) <= 255 and given.isascii() and given.isprintable()
    ):
        detail = "Send 1 to 255 printable ASCII characters."
        raise ApiError(422, "invalid", detail, field="Idempotency-Key")
    once = given if given is not None else secrets.token_hex(16)
    why = Why(head.reason, head.ticket)
    if key is not None:
        # The roles are those of the person whom the key itself names. To name somebody in a request
        # proves nothing, and must not lend their roles.
        actor = key.actor(user, credentials.snapshot().roles_held_by(key.person()))
        return Caller(
            actor=actor,
            account=key.account,
            key=key,
            user=user,
            why=why,
            change_key=change_key(key.account, key.id, actor.id, once),
            owner=f"key:{key.id}:{user or ''}",
            name=user or key.id,
        )
    if visitor.actor is not None and visitor.sign_in is not None:
        actor = visitor.actor
        accounts = {grant.account for grant in actor.grants}
        account = DEFAULT_ACCOUNT if DEFAULT_ACCOUNT in accounts else min(accounts)
        return Caller(
            actor=actor,
            account=account,
            key=None,
            why=why,
            change_key=change_key(account, "", actor.id, once),
            owner=actor.id,
            name=visitor.sign_in.name,
            sign_in=visitor.sign_in,
        )
    stranger = Actor(f"api:{DEFAULT_ACCOUNT}:visitor", (), "http")
    once = change_key(DEFAULT_ACCOUNT, "", secrets.token_hex(16), once)
    return Caller(actor=stranger, account=DEFAULT_ACCOUNT, key=None, change_key=once)


def _check_named(credentials: Credentials, key: ApiKey, user: str) -> None:
    """Raise ApiError where a key without a user names a person who can ask for themselves."""
    if not credentials.may_name(key, user):
        detail = (
            "This person has a key or a role of their own. A key without a user cannot act for "
            "them: use their own key, or name another person."
        )
        raise ApiError(403, "denied", detail, field="user_id")


def _named_user(query: bytes, body: bytes) -> str | None:
    """Who a request is made for, by `user_id` in the query or the JSON body; raises ApiError."""
    named: list[Any] = []
    if b"user_id" in query:
        named += parse_qs(query.decode("latin-1"), keep_blank_values=True).get("user_id", [])
    if b'"user_id"' in body:
        with suppress(ValueError, RecursionError):  # the route says what is wrong with the body
            found = json.loads(body)  # what it takes for JSON, FastAPI takes for JSON
            if isinstance(found, dict) and found.get("user_id") is not None:
                named.append(found["user_id"])
    if not named:
        return None
    user = named[0]
    try:
        if any(one != user for one in named) or not isinstance(user, str):
            raise InvalidValue("is not one text", "name one person")
        valid_user(user)
    except InvalidValue as error:
        detail = f"user_id {error.message}; {error.cure}."
        raise ApiError(422, "invalid", detail, field="user_id") from None
    return user
