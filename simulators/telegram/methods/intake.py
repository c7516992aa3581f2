"""Methods by which updates reach a bot."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import orjson

from simulators.telegram.methods.call import Call
from simulators.telegram.people import Webhook
from simulators.telegram.refusals import WEBHOOK_ACTIVE, RefusedError, bad_request
from simulators.telegram.updates import DEFAULT, KINDS, LONGEST_POLL, Update

Json = dict[str, Any]

_SECRET = re.compile(r"^[A-Za-z0-9_-]*$")


async def get_updates(call: Call) -> list[Update]:
    """getUpdates: what waits, from an offset on; everything before it is forgotten."""
    if call.bot.webhook.url:
        raise RefusedError(409, WEBHOOK_ACTIVE)
    params = call.params
    offset = params.integer("offset")
    limit = params.bounded("limit", 100, 1, 100)
    timeout = params.bounded("timeout", 0, 0, LONGEST_POLL)
    _allow(call)
    updates = call.bot.updates
    return await updates.poll(
        offset,
        limit,
        timeout,
        slow_hasty=call.world.slows_hasty_polls,
        disconnected=call.disconnected,
    )


def _allow(call: Call) -> None:
    given = call.params.values.get("allowed_updates")
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            return
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        return
    before = call.bot.updates.allowed
    call.bot.updates.allow(given)
    if call.bot.updates.allowed != before:
        call.world.journal.save_bot(call.bot)


def set_webhook(call: Call) -> bool:
    """setWebhook: updates are pushed to a URL on this machine from now on; empty means polling."""
    url = call.params.text("url")
    if not url:
        return delete_webhook(call)
    secret = call.params.text("secret_token")
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not _SECRET.match(secret):
        raise bad_request("secret token contains unallowed characters")
    ip = _address(url)
    _allow(call)
    _drop(call)
    most = call.params.bounded("max_connections", 40, 1, 100)
    call.bot.updates.interrupt(RefusedError(409, "Conflict: terminated by setWebhook request"))
    call.bot.webhook = Webhook(url, secret, most, ip)
    call.world.journal.save_bot(call.bot)
    call.world.webhooks_changed(call.bot)
    return True


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise bad_request("bad webhook: the sandbox pushes only to this machine; use 127.0.0.1")


def delete_webhook(call: Call) -> bool:
    """deleteWebhook: back to polling; what waits stays, unless it is to be dropped."""
    _drop(call)
    call.bot.webhook = Webhook()
    call.world.journal.save_bot(call.bot)
    call.world.webhooks_changed(call.bot)
    return True


def _drop(call: Call) -> None:
    if call.params.flag("drop_pending_updates"):
        call.bot.updates.clear()


def get_webhook_info(call: Call) -> Json:
    """getWebhookInfo: where updates go, how many wait, and the last failure."""
    hook, updates = call.bot.webhook, call.bot.updates
    updates.forget_old()
    info: Json = {
        "url": hook.url,
        "has_custom_certificate": False,
        "pending_update_count": len(updates.waiting),
    }
    if hook.url:
        info |= {"max_connections": hook.max_connections, "ip_address": hook.ip}
    if hook.error_at:
        info |= {"last_error_date": hook.error_at, "last_error_message": hook.error}
    if updates.allowed != DEFAULT:
        info["allowed_updates"] = [kind for kind in KINDS if kind in updates.allowed]
    return info
