"""How the simulator says no: an HTTP status, a type and words, in the API's own shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

WORDS: Mapping[int, str] = {
    401: "invalid x-api-key",
    403: "Your API key does not have permission to use the specified resource.",
    429: "This request would exceed your account's rate limit. Please try again later.",
    500: "Internal server error",
    504: "Request timed out",
    529: "Overloaded",
}


class Refusal(Exception):
    """An answer that is an error: `status`, `kind` (the API's error type) and `message`.

    `details` is for programs: a code under "error_code".
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.kind = kind or TYPES.get(status, "api_error")
        self.message = message or WORDS.get(status, "Refused by the sandbox's script")
        self.headers = dict(headers or {})
        self.details = dict(details or {})
        super().__init__(f"{status} {self.kind}: {self.message}")

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON of the answer."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.details:
            error["details"] = self.details
        return {"type": "error", "error": error, "request_id": request_id}


def invalid(message: str) -> Refusal:
    """A 400 with these words."""
    return Refusal(400, message)
