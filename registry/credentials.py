"""How the host shows itself to an MCP server, as data: an OAuth client of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from registry.fields import Frozen, Wrong
from registry.references import REFERENCE
from registry.urls import web_parts


def _secret(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        raise Wrong(
            "is written in clear",
            "put it into an environment variable, refer to it as ${NAME}, and replace the secret",
        )
    return text


def _id(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise Wrong("has spaces or control characters", "write the client's id, or ${NAME}")
    return text


def _url(text: str) -> str:
    parts = web_parts(text)
    if "@" in parts.netloc or "$" in text or parts.fragment:
        raise Wrong("holds a secret, a reference or a fragment", "write the plain address")
    return text


def _scope(text: str) -> str:
    if not text.isascii() or not text.isprintable() or set(text) & set(' "\\'):
        raise Wrong("is no scope", "write each scope as a text of its own, with no spaces")
    return text


_Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
_Scope = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_scope)]


class ClientCredentials(Frozen):
    """OAuth client credentials of a server: who asks for tokens, where, and for what.

    Tokens come from `token_url`, or from where the metadata of `issuer` say. `method` says how
    the secret is sent there: in a header of its own, or in the body.
    """

    type: Literal["clientCredentials"] = "clientCredentials"
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_id)]
    client_secret: Annotated[str, StringConstraints(max_length=200), AfterValidator(_secret)]
    token_url: _Url | None = None
    issuer: _Url | None = None
    scopes: Annotated[tuple[_Scope, ...], Field(strict=False, max_length=64)] = ()
    method: Literal["basic", "post"] = "basic"

    @model_validator(mode="after")
    def _one_place(self) -> ClientCredentials:
        if (self.token_url is None) == (self.issuer is None):
            raise Wrong(
                "tokens come from either 'tokenUrl' or 'issuer'",
                "give the address of tokens, or the issuer whose metadata name it",
            )
        return self
