"""The routes of `/session`: a browser signs in with a key or a link, and gets a cookie for it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Body, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, needs_key
from bot.http.api.visitors import KEY_COOKIE, SESSION, cookies_of
from bot.store.sign_ins import SIGNED_IN_SECONDS, SignIn


class SignInRequest(BaseModel):
    """What signs in: a key, or the code of a link; or neither, where the key is in the header."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"key": "sbk_Qm9vayBvZiBkb29ycyBhbmQga2V5cyBhbmQgbG9ja3M"}},
    )

    key: str | None = Field(None, description="An API key.")
    link: str | None = Field(None, description="What is after the `#` of a link of `/page`.")
    user_id: str | None = Field(None, description="The only person for whom the cookie then is.")


class SignedIn(BaseModel):
    """Who is signed in; `accounts` are those in which there may be something to talk to."""

    person: str = Field(examples=["api:acme:ann"])
    name: str = Field(examples=["ann"])
    account: str = Field(examples=["acme"])
    accounts: list[str] = Field(examples=[["acme"]])
    agent: str | None = Field(description="The only instance that the key reaches.")
    key: str | None = Field(description="The id of the key; null after a sign-in by link.")
    user: str | None = Field(examples=["ann"])


def add_routes(app: FastAPI) -> None:
    """Add the routes of sign-in."""
    tags = docs.tags("sign-in")
    app.get(SESSION, tags=tags)(who)
    made: dict[str, Any] = {"tags": tags, "status_code": 204, "response_class": Response}
    app.post(SESSION, **made)(sign_in)
    app.delete(SESSION, **made)(sign_out)


@needs_key()
async def who(caller: CallerDep, host: HostDep) -> SignedIn:
    """Who is signed in, by the cookie or by the key in the header."""
    accounts = {caller.account, *caller.other_accounts}
    if caller.is_of_host:
        instances = host.catalog.snapshot().document.instances
        accounts |= {name.partition("/")[0] for name in instances}
    return SignedIn(
        person=caller.actor.id,
        name=caller.name,
        account=caller.account,
        accounts=sorted(accounts, key=lambda one: (one != caller.account, one)),
        agent=caller.agent,
        key=caller.key.id if caller.key else None,
        user=caller.user,
    )


@needs_key()
async def sign_in(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    _body: Annotated[SignInRequest | None, Body()] = None,
) -> Response:
    """Sign a browser in for twelve hours: the answer sets a cookie that no script can read.

    A link works once, within five minutes. A key that is revoked or expires ends its cookies.
    """
    signed_in = caller.sign_in or _of_key(caller)
    cookie = await host.talking.sign_ins.begin(signed_in)
    response = docs.none_left()
    set_cookie(response, request, host, KEY_COOKIE, cookie, SIGNED_IN_SECONDS)
    return response


def _of_key(caller: Caller) -> SignIn:
    assert caller.key is not None
    return SignIn(key=caller.key.hash, user=caller.user)


@needs_key()
async def sign_out(request: Request, caller: CallerDep, host: HostDep) -> Response:
    """Sign out: the cookie that comes with the request opens nothing any more."""
    del caller
    if cookie := cookies_of(request.headers.get("cookie", "")).get(KEY_COOKIE):
        await host.talking.sign_ins.end(cookie)
    response = docs.none_left()
    set_cookie(response, request, host, KEY_COOKIE, "", 0)
    return response


def set_cookie(
    response: Response,
    request: Request,
    host: Host,
    name: str,
    value: str,
    seconds: int | None = None,
) -> None:
    """Set a cookie that no script and no page elsewhere gets; None: until the browser ends.

    It is `Secure` where the page is opened by https, which a proxy in front of us may hide.
    """
    public = urlsplit(host.talking.page_url)
    origin = request.headers.get("origin", "")
    by_https = origin.startswith("https://") or (
        public.scheme == "https" and public.hostname == request.url.hostname
    )
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=by_https, httponly=True, samesite="strict"
    )
