"""How the Bot API says no: a status, its own words, and sometimes parameters."""

from __future__ import annotations

from typing import Any

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
OTHER_POLL = (
    "Conflict: terminated by other getUpdates request; "
    "make sure that only one bot instance is running"
)
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)
STALE_QUERY = "query is too old and response timeout expired or query ID is invalid"


class RefusedError(Exception):
    """One refused call: `code` is the HTTP status, `description` the service's words."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def answer(self) -> dict[str, Any]:
        """The JSON body of the refusal."""
        body: dict[str, Any] = {
            "ok": False,
            "error_code": self.code,
            "description": self.description,
        }
        return body | {"parameters": self.parameters} if self.parameters else body


def bad_request(words: str, **parameters: int) -> RefusedError:
    """400 with "Bad Request: " in front; a plain first letter is lowered as the service does."""
    if len(words) > 1 and not (words[1] == "_" or words[1].isupper()):
        words = words[0].lower() + words[1:]
    return RefusedError(400, f"Bad Request: {words}", **parameters)


def forbidden(words: str) -> RefusedError:
    """403 with "Forbidden: " in front."""
    return RefusedError(403, f"Forbidden: {words}")


def too_many(seconds: int) -> RefusedError:
    """429: wait `seconds`; the number is in the description, the parameters and a header."""
    return RefusedError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)


def unauthorized() -> RefusedError:
    """401: no bot has this token, or no longer has it."""
    return RefusedError(401, "Unauthorized")


def not_found() -> RefusedError:
    """404: no such method."""
    return RefusedError(404, "Not Found")
