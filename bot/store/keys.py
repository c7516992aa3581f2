"""The names of a line's keys. All of a line share its hash tag."""

from __future__ import annotations

LINES_OPEN = "lines:open"
HOSTS_ALIVE = "hosts:alive"
LINES_CHANGED = "lines:stirred"
LINE_CHANGES = "lines:stirs"
NOTIFICATIONS = "wake:*"
LINES_FREE = "lines:free"
GRANTS = "access:grants"
GRANTS_VERSION = "access:version"
GRANTS_CHANGED = "access:changed"
REQUESTS_OPEN = "access:open"
CLAIM = "access:claim"


def line_key(line: str, *rest: str) -> str:
    """`{line}:<rest…>`."""
    return ":".join((f"{{{line}}}", *rest))


def fence(line: str) -> str:
    """The counter of acquisitions."""
    return line_key(line, "fence")


def lease(line: str) -> str:
    """Who owns the line, while that host's key lives."""
    return line_key(line, "lease")


def host(incarnation: str) -> str:
    """That a host is alive; all its leases end with this key."""
    return f"host:{incarnation}"


def inbox(line: str) -> str:
    """Accepted updates (stream)."""
    return line_key(line, "inbox")


def seen(line: str) -> str:
    """Update ids of the last 48 hours (sorted set by the server's time)."""
    return line_key(line, "seen")


def outbox(line: str) -> str:
    """Parts to send (stream)."""
    return line_key(line, "outbox")


def dead(line: str) -> str:
    """Dead letters (stream)."""
    return line_key(line, "dead")


def log(line: str, conversation: str, agent: str) -> str:
    """The transcript of one conversation with one agent (stream)."""
    return line_key(line, "conv", conversation, agent, "log")


def open_turn(line: str, conversation: str) -> str:
    """The open turn of a conversation (hash)."""
    return line_key(line, "conv", conversation, "open")


def grants(line: str, conversation: str) -> str:
    """What was allowed for good in a conversation (hash)."""
    return line_key(line, "conv", conversation, "grants")


def truncated_results(line: str, conversation: str, agent: str) -> str:
    """What was cut off results in one transcript, by handle (hash)."""
    return line_key(line, "conv", conversation, agent, "rests")


def approval(line: str, nonce: str) -> str:
    """A sheet of calls that wait for people (hash)."""
    return line_key(line, "approval", nonce)


def timers(line: str) -> str:
    """Sheets of turns that are not over, by when they are due (sorted set)."""
    return line_key(line, "timers")


def migrations(line: str) -> str:
    """Groups that became supergroups: the id of today, and the one before (hash)."""
    return line_key(line, "moved")


def render(line: str, digest: str) -> str:
    """System or tools as rendered, by digest."""
    return line_key(line, "render", digest)


def ledger(day: str) -> str:
    """A day's model requests (stream)."""
    return f"ledger:{day}"


def budget(scope: str) -> str:
    """What a scope, whose name ends in its day, has spent and set aside (hash).

    Beside it `…:held` has each amount by its turn, `…:ends` when it lapses.
    """
    return f"budget:{scope}"


def notice(line: str, key: str) -> str:
    """That a notice was posted."""
    return line_key(line, "notice", key)


def told(line: str, chat: int) -> str:
    """That a chat was told lately that the bot is private."""
    return line_key(line, "told", str(chat))


def request(nonce: str) -> str:
    """A stranger's wish to be let in, with the admins' cards (hash)."""
    return f"access:request:{nonce}"


def request_of(subject: str) -> str:
    """The nonce of the open request of a person or chat at a bot."""
    return f"access:of:{subject}"


def requests_lately(bot: int) -> str:
    """How many requests were opened at a bot in this hour."""
    return f"access:lately:{bot}"


def change_made(key: str) -> str:
    """That a change of a grant was made under its key, and which request it closed."""
    return f"access:made:{key}"


def claim_tries(person: int) -> str:
    """How often somebody tried a claim code in this hour."""
    return f"access:tries:{person}"
