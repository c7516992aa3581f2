"""The secret of an account's webhooks over HTTP: who receives them checks signatures with it."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel, Field

from bot.http.accounts.webhooks import SETTING, account_secret
from bot.http.api import documents as docs
from bot.http.api.needs import CallerDep, Host, HostDep, needs
from bot.http.api.problems import MEDIA_TYPE, ApiError
from registry.errors import InvalidValue

PATH = "/api/v1/webhook-secret"
PROBLEM = {"$ref": "#/components/schemas/Problem"}
_UNSET = f"This host sends no webhooks: its operator has to set {SETTING}."


class WebhookSecret(BaseModel):
    """With what the receivers of an account's webhooks check signatures."""

    account: str = Field(examples=["acme"])
    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3dyFw1Yv8tM="])


def add_routes(app: FastAPI) -> None:
    """Add the route of the secret."""
    unset = {"description": _UNSET, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    app.get(PATH, tags=docs.tags("tasks"), responses={409: unset})(webhook_secret)


@needs("instance", "write")
async def webhook_secret(caller: CallerDep, host: HostDep) -> WebhookSecret:
    """Show the secret with which the webhooks of the key's account are signed."""
    docs.require_whole(caller)
    if (webhooks := host.tasks.webhooks) is None:
        raise ApiError(409, "not-configured", _UNSET)
    secret = account_secret(webhooks.secret, caller.account)
    return WebhookSecret(account=caller.account, secret=secret)


def check_webhook(host: Host, url: str) -> None:
    """Refuse an address to which nothing can be sent; raises ApiError."""
    if (webhooks := host.tasks.webhooks) is None:
        raise ApiError(422, "invalid", _UNSET, field="webhook")
    try:
        webhooks.check(url)
    except InvalidValue as error:
        detail = f"The address {error.message}; {error.cure}."
        raise ApiError(422, "invalid", detail, field="webhook.url") from None
