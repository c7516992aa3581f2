"""The name of every key of the store; docs/state.md lists them with their types and lifetimes.

All keys of a line share its hash tag. The registry's keys are in `registry.keys`; scripts make the
names of a few keys themselves (see `budget`).
"""

from __future__ import annotations

# --- hosts and lines ---

HOSTS_ALIVE = "hosts:alive"
LINES_OPEN = "lines:open"
LINES_CHANGED = "lines:stirred"
LINE_CHANGES = "lines:stirs"


def host(incarnation: str) -> str:
    """That a host is alive (string: its owner name); its leases end when this key does."""
    return f"host:{incarnation}"


def line_key(line: str, *rest: str) -> str:
    """A key of a line: `{line}:<rest…>`."""
    return ":".join((f"{{{line}}}", *rest))


def fence(line: str) -> str:
    """How often the line was acquired (counter)."""
    return line_key(line, "fence")


def lease(line: str) -> str:
    """Who owns the line (string), while that host is alive."""
    return line_key(line, "lease")


# --- one line ---


def inbox(line: str) -> str:
    """Accepted updates that are not done (stream)."""
    return line_key(line, "inbox")


def seen(line: str) -> str:
    """Names of the updates of the last 48 hours (sorted set, by the server's time)."""
    return line_key(line, "seen")


def dead_letters(line: str) -> str:
    """Updates that were set aside (stream)."""
    return line_key(line, "dead")


def outbox(line: str) -> str:
    """Parts to send (stream)."""
    return line_key(line, "outbox")


def posted(line: str, key: str) -> str:
    """The ids of the parts that were posted under a key (string)."""
    return line_key(line, "notice", key)


def transcript(line: str, conversation: str, agent: str) -> str:
    """What a conversation and an agent said and did (stream)."""
    return line_key(line, "conv", conversation, agent, "log")


def open_turn(line: str, conversation: str) -> str:
    """The open turn of a conversation (hash)."""
    return line_key(line, "conv", conversation, "open")


def render(line: str, digest: str) -> str:
    """A rendered system prompt or tool list (string)."""
    return line_key(line, "render", digest)


def truncated_results(line: str, conversation: str, agent: str) -> str:
    """What was cut off the results of tools, by handle (hash)."""
    return line_key(line, "conv", conversation, agent, "rests")


def approval(line: str, nonce: str) -> str:
    """An approval request, its version and the messages that show it (hash)."""
    return line_key(line, "approval", nonce)


def timers(line: str) -> str:
    """Nonces of the approval requests whose turns are not over (sorted set, by due time)."""
    return line_key(line, "timers")


def grants(line: str, conversation: str) -> str:
    """Which calls are always allowed in a conversation (hash)."""
    return line_key(line, "conv", conversation, "grants")


def migrations(line: str) -> str:
    """Groups that became supergroups: the new id, and the one before (hash)."""
    return line_key(line, "moved")


def told(line: str, chat: int) -> str:
    """That a chat was told within the hour that the bot is private (string)."""
    return line_key(line, "told", str(chat))


# --- usage ---


def ledger(day: str) -> str:
    """The model requests of a day (stream)."""
    return f"ledger:{day}"


def budget(scope: str) -> str:
    """What a scope, whose name ends in its day, has spent and reserved (hash)."""
    return f"budget:{scope}"


def budget_held(scope: str) -> str:
    """What each turn has reserved in a scope (hash)."""
    return f"budget:{scope}:held"


def budget_ends(scope: str) -> str:
    """When each reservation of a scope lapses (sorted set, by the server's time)."""
    return f"budget:{scope}:ends"


# --- access and admins ---

GRANTS = "access:grants"
GRANTS_VERSION = "access:version"
REQUESTS_OPEN = "access:open"
CLAIM = "access:claim"
ADMINS_KNOWN = "admins:known"
ADMINS_MENUS = "admins:menus"


def access_request(nonce: str) -> str:
    """A request to be let in, its outcome, and the admins' cards (hash)."""
    return f"access:request:{nonce}"


def access_request_of(subject: str) -> str:
    """The nonce of the open request of a person or a chat at a bot (string)."""
    return f"access:of:{subject}"


def access_requests_lately(bot: int) -> str:
    """How many requests were opened at a bot within the hour (counter)."""
    return f"access:lately:{bot}"


def role_change(key: str) -> str:
    """That a role was changed under a key (string: the nonce of the request that it closed)."""
    return f"access:made:{key}"


def claim_tries(person: int) -> str:
    """How often a person tried a claim code within the hour (counter)."""
    return f"access:tries:{person}"


def alert_sent(key: str) -> str:
    """That a replica has sent an alert to the admins (string)."""
    return f"admins:told:{key}"


# --- channels: not stored ---

NOTIFICATIONS = "wake:*"
LINES_FREE = "lines:free"
GRANTS_CHANGED = "access:changed"
