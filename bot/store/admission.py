"""What a store would refuse a host, found before a message depends on it.

A store may be a cluster, or run no scripts, or its user may lack a command, a key or a channel. One
real script over real names of keys shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from bot.errors import StoreError, StoreForbidden, StoreUnavailable
from bot.store import keys
from bot.store.client import StoreClient, is_outage
from registry.errors import Problem
from registry.sources import stored_values

_NO_ANSWER = re.compile(r"(?i)connect|timed? ?out|no answer|is away|closed by")
UNKNOWN = re.compile("unknown (?:redis )?command", re.IGNORECASE)
CURE = "allow this to its user: docs/operations.md has the rules as one ACL line"
RENAMED = "remove its `rename-command` from the store's configuration, or use another store"
WRITE_CURES = {
    "OOM": "raise its maxmemory, or delete what nobody needs",
    "NOREPLICAS": "start its replicas, or lower its min-replicas-to-write",
    "MISCONF": "free space on its disk; its log has the reason",
    "READONLY": "write the address of its primary",
    "MASTERDOWN": "write the address of its primary",
    "LOADING": "wait until it has read its data",
}
"""By what a server says when it refuses writes: how to change that."""
NEARLY_FULL = 0.9
"""The share of its memory from which on a store is likely to refuse what is written next."""
_NOBODY = "admission"
"""A line, a person, a key that nobody has: it stands for each placeholder of a name."""
_CHANNELS = (keys.NOTIFICATIONS, keys.LINES_FREE, keys.GRANTS_CHANGED)
_SHOWN = 6


async def admission(client: StoreClient) -> list[Problem]:
    """Why a host cannot work with a store; otherwise warnings about what it must do without.

    Raises StoreUnavailable where the store does not answer.
    """
    server = await info(client, "server")
    if "cluster" in (server.get("redis_mode"), server.get("server_mode")):
        why = "the store runs in cluster mode, where no script may use the keys of two lines"
        return [Problem("REDIS_URL", why, "use a single server, or a primary with replicas")]
    replication = await info(client, "replication")
    if replication.get("role") in ("slave", "replica"):
        return [_replica(replication)]
    try:
        found = await client.run("admit", [], _key_names())
    except StoreError as error:
        if will_pass(error):
            raise
        why = f"the store does not run scripts ({error})"
        return [Problem("REDIS_URL", why, cure_of(str(error)))]
    refused: dict[tuple[str, str], dict[str, str]] = {}
    for kind, name, why in ([part.decode(errors="replace") for part in one] for one in found):
        if is_outage(why):
            raise StoreUnavailable(why)
        refused.setdefault((kind, cure_of(why)), {})[name] = why
    return [
        Problem("REDIS_URL", f"the store refuses the {kind} {_few(names)} ({_first(names)})", cure)
        for (kind, cure), names in refused.items()
    ] or await _missing(client)


def cure_of(refusal: str) -> str:
    """How to fix a store's refusal of a command."""
    return RENAMED if UNKNOWN.search(refusal) else CURE


def waited_for(error: Exception, url: str = "") -> Problem:
    """The problem that a store does not answer, or accepts no writes: nothing was checked."""
    why = str(error) or type(error).__name__
    for word, cure in WRITE_CURES.items():
        if re.search(rf"\b{word}\b", why):
            message = f"the store accepts no writes ({why}); a host waits until it does"
            return Problem("REDIS_URL", message, cure, "warning" if word == "LOADING" else "error")
    parts = urlsplit(url)
    where = parts.hostname or parts.path
    where = f"{where}:{parts.port or 6379}" if parts.hostname else where
    says = "does not answer" if _NO_ANSWER.search(why) else f"answers {why!r}"
    message = f"the store{f' at {where}' if where else ''} {says}, so its agents were not checked"
    return Problem("REDIS_URL", message, "start it, or fix REDIS_URL", "warning")


def nearly_full(memory: Mapping[str, str]) -> list[Problem]:
    """A warning if INFO says that a store has used nearly all of its memory."""
    used, most = (int(memory.get(name, 0)) for name in ("used_memory", "maxmemory"))
    if not most or used < NEARLY_FULL * most:
        return []
    message = f"the store has used {used:,} of the {most:,} bytes of its maxmemory"
    so = f"{message}, and refuses writes beyond that"
    return [Problem("REDIS_URL", so, WRITE_CURES["OOM"], "warning")]


def _replica(facts: Mapping[str, str]) -> Problem:
    """The problem that a store accepts no writes; a running host waits, as after a failover."""
    host, port = facts.get("master_host"), facts.get("master_port")
    if not host:
        why = "the store is a replica, which cannot be written to"
        return Problem("REDIS_URL", why, "set it to the address of its primary")
    primary = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = f"the store is a replica, which cannot be written to; its primary is {primary}"
    return Problem("REDIS_URL", why, "set it to the address of the primary")


def will_pass(error: StoreError) -> bool:
    """Whether waiting may help; a missing permission has to be given by somebody."""
    return isinstance(error, StoreUnavailable) and not isinstance(error, StoreForbidden)


async def info(client: StoreClient, section: str) -> dict[str, str]:
    """The facts of a section of INFO."""
    reply = await client.command("INFO", section)
    if isinstance(reply, dict):  # the library has parsed it already
        return {str(name): str(value) for name, value in reply.items()}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _key_names() -> list[str]:
    """A name of each kind of key that a host or its registry uses."""
    kinds = [
        *(kind.pattern for kind in vars(keys).values() if isinstance(kind, keys.Key)),
        *_constants(keys),
        *(name for name in _constants(stored_values) if name.startswith(stored_values.PREFIX)),
    ]
    names = {re.sub("<[^<>]+>", _NOBODY, kind) for kind in kinds if kind not in _CHANNELS}
    return sorted(f"{name}{_NOBODY}" if name.endswith(":") else name for name in names)


def _constants(module: Any) -> list[str]:
    return [v for name, v in vars(module).items() if name.isupper() and isinstance(v, str)]


def _first(names: Mapping[str, str]) -> str:
    return next(iter(names.values()))


def _few(names: Iterable[str]) -> str:
    first, rest = [*names][:_SHOWN], [*names][_SHOWN:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


async def _missing(client: StoreClient) -> list[Problem]:
    """Channels: without them, replicas hear of each other's work a little later."""
    channels = [name.replace("*", _NOBODY) for name in _CHANNELS]
    try:
        await client.command("PUBLISH", channels[0], "")
        subscription = client.redis.pubsub()
        try:
            await client.call(lambda: subscription.subscribe(*channels))
            await client.call(lambda: subscription.get_message(timeout=5))
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]
    except StoreError as error:
        if will_pass(error):
            raise
        so = "so replicas hear of changes up to a second later"
        message = f"the store refuses channels ({error}), {so}"
        return [Problem("REDIS_URL", message, cure_of(str(error)), "warning")]
    return []
