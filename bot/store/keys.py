"""The names of a line's keys. All of a line share its hash tag."""

from __future__ import annotations

LINES_OPEN = "lines:open"
HOSTS_ALIVE = "hosts:alive"


def line_key(line: str, *rest: str) -> str:
    """`{line}:<rest…>`."""
    return ":".join((f"{{{line}}}", *rest))


def fence(line: str) -> str:
    """The counter of acquisitions."""
    return line_key(line, "fence")


def lease(line: str) -> str:
    """Who owns the line, while the key lives."""
    return line_key(line, "lease")


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


def render(line: str, digest: str) -> str:
    """System or tools as rendered, by digest."""
    return line_key(line, "render", digest)


def notice(line: str, key: str) -> str:
    """That a notice was posted."""
    return line_key(line, "notice", key)
