"""Errors as `application/problem+json` (RFC 9457) or as OpenAI's, and which has which status."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

import orjson

from registry import errors
from registry.errors import RegistryError
from registry.sources.instance_files import CONFIG
from registry.sources.stored_values import is_document

MEDIA_TYPE = "application/problem+json"
PRESET_FIELD, CONFIG_FIELD = "agent_instance_id", "agent_config_name"
"""The fields of a request that name who answers."""
REASON_HEADERS = "the header Change-Reason or Change-Ticket"
OPENAI, OPENAI_PREFIX = "openai", "/v1/"
"""A face of the API, and where its routes are: their errors have the form that OpenAI's have."""
RULED = "ended-by-rule"
"""The kind of problem where a rule of an agent's profile ended the turn as an error."""
RETRY_SECONDS = 1
NOT_FOUND = "There is nothing here, or nothing that this key may see."
"""What every 404 says: of what is unknown, and of what is another account's."""

STATUSES: Mapping[type[RegistryError], tuple[int, str]] = {
    errors.NotThere: (404, "not-found"),
    errors.Overtaken: (409, "overtaken"),
    errors.RevisionConflict: (409, "revision-conflict"),
    errors.AlreadyThere: (409, "already-there"),
    errors.Owned: (409, "owned"),
    errors.FileUnusable: (409, "file-unusable"),
    errors.InUse: (409, "in-use"),
    errors.Trampled: (409, "trampled"),
    errors.Unrestorable: (409, "unrestorable"),
    errors.DocumentErrors: (422, "invalid-document"),
    errors.ReferenceMissing: (422, "reference-missing"),
    errors.KeyReused: (422, "key-reused"),
    errors.ReviewWaits: (409, "review-waits"),
    errors.ReviewNeeded: (202, "review-needed"),
    errors.ReasonMissing: (403, "reason-missing"),
    errors.Denied: (403, "denied"),
    errors.WrongKind: (503, "store-fault"),
    errors.RegistryUnavailable: (503, "unavailable"),
}
"""The status and the name of each kind of error, the first that fits."""


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal: what a client gets to read. `kind` is the last part of its `type`.

    `field` names what of the request is wrong, `problems` lists every mistake of a document, and
    `more` has what only this kind of problem says.
    """

    status: int
    kind: str
    detail: str
    field: str | None = None
    problems: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] | None = None
    more: Mapping[str, Any] | None = None

    def answer(self, path: str, faces: Collection[str]) -> tuple[int, str, bytes]:
        """The status, media type and body of the answer to a request for a path."""
        if OPENAI not in faces or not path.startswith(OPENAI_PREFIX):
            return self.status, MEDIA_TYPE, self.body()
        is_plain = self.status == 422 and self.field not in (PRESET_FIELD, CONFIG_FIELD)
        status = 400 if is_plain else self.status
        kind, code = _OPENAI_ERRORS.get(status, ("invalid_request_error", None))
        if status >= 500:
            kind, code = "server_error", self.kind
        code = (self.more or {}).get("code", code)
        told = "; ".join(f"{one.get('field')}: {one.get('message')}" for one in self.problems)
        error = {"message": told or self.detail, "type": kind, "param": self.field, "code": code}
        return status, "application/json", orjson.dumps({"error": error})

    def body(self) -> bytes:
        """The answer's body."""
        said: dict[str, Any] = {
            "type": f"urn:switchboard:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            said["field"] = self.field
        if self.problems:
            said["problems"] = self.problems
        return orjson.dumps({**said, **(self.more or {})})


_OPENAI_ERRORS: Mapping[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
"""The type and the code of OpenAI's errors by status."""


def not_found() -> ApiError:
    """The one 404: the same bytes for what is unknown and for what is another account's."""
    return ApiError(404, "not-found", NOT_FOUND)


def refusal_of(error: RegistryError) -> ApiError:
    """What a client reads of an error of the registry."""
    status, kind = next(
        (found for type_, found in STATUSES.items() if isinstance(error, type_)), (500, "fault")
    )
    if status == 404:
        return not_found()
    if status == 500:
        return fault()
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
    detail, problems = str(error), tuple[Mapping[str, Any], ...]()
    more: Mapping[str, Any] | None = None
    if isinstance(error, errors.ReasonMissing) and REASON_HEADERS not in detail:
        detail = f"{detail.rstrip('.')}: send {REASON_HEADERS}"
    if isinstance(error, errors.DocumentErrors):
        problems = tuple(_listed(error.problems))
        detail = "The document is not valid."
    elif isinstance(error, errors.Owned):
        detail = detail.replace(error.place, shown_place(error.place))
        more = {"place": shown_place(error.place)}
    elif isinstance(error, errors.Trampled):
        more = {"later": error.later}
    elif isinstance(error, errors.ReviewNeeded):
        more = {"needs": list(error.needs)}
    return ApiError(status, kind, _sentence(detail), problems=problems, headers=headers, more=more)


def shown_place(place: str) -> str:
    """A place without its folder: where a file lies on the machine is nobody's business.

    That of an instance begins with its account.
    """
    if is_document(place):
        return place
    path = PurePath(place)
    kept = 3 if path.name.partition(":")[0] == CONFIG else 1
    return "/".join(path.parts[-kept:])


def unavailable(why: str = "The store is away. A repeat is safe.") -> ApiError:
    """An answer that has to wait for the store."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return ApiError(503, "unavailable", _sentence(why), headers=headers)


def fault() -> ApiError:
    """An error of ours; the log has the rest."""
    return ApiError(500, "fault", "Something went wrong here. The host's log says what.")


def _listed(problems: Iterable[errors.Problem]) -> Iterable[Mapping[str, Any]]:
    for problem in problems:
        said = {
            "field": problem.path,
            "place": shown_place(problem.place),
            "message": problem.message,
            "cure": problem.cure,
        }
        yield {name: text for name, text in said.items() if text}


def _sentence(text: str) -> str:
    first, _, _ = text.partition(" ")
    if first.isalpha():  # else it is a name: chatid:12, agents.json
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
