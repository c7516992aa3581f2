"""The route of artifacts: files that tools gave, at addresses that are signed and need no key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from starlette.responses import Response

from bot.http.accounts.artifacts import PATH, disposition, turn_of
from bot.http.api import documents as docs
from bot.http.api.needs import HostDep, needs_key
from bot.http.api.problems import not_found
from bot.store.artifacts import ArtifactStore

_POLICY = "sandbox; default-src 'none'"
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, to be saved.",
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    }
}


def add_routes(app: FastAPI) -> None:
    """Add the route of artifacts."""
    more: dict[str, Any] = {"tags": docs.tags("tasks"), "response_class": Response}
    more |= {"responses": _FILE, "openapi_extra": {"security": []}}
    app.get(PATH + "{artifact_id}", **more)(artifact)


@needs_key()  # the gate lets everybody in: the signature is the key
async def artifact(
    host: HostDep,
    artifact_id: Annotated[str, Path(max_length=64)],
    expires: Annotated[str, Query(max_length=64)] = "",
    signature: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    """Fetch a file that a tool gave; the address is that in `artifacts`, for 24 hours."""
    talk = host.conversations
    turn = turn_of(artifact_id)
    if turn is None or not talk.links.is_valid(artifact_id, expires, signature, talk.clock.wall()):
        raise not_found()
    line = await talk.sessions.line_of_turn(turn)
    found = await ArtifactStore(host.store).find(line, artifact_id) if line else None
    if found is None:
        raise not_found()
    headers = {"Content-Disposition": disposition(found.name), "Content-Security-Policy": _POLICY}
    return Response(found.raw, headers=headers, media_type=found.mime_type)
