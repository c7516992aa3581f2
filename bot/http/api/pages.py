"""The files of our own pages, which need no key: the chat at `/`, the documentation at `/docs`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from bot.http.api.idempotency import Answer

_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_FIRST = {"/": ("bot.http.page", "index.html"), "/docs": ("bot.http.api.page", "page.html")}
_FOLDERS = {"/page/": "bot.http.page", "/docs/": "bot.http.api.page"}
_PARTS = frozenset({"js", "css", "svg"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def page_at(method: str, path: str) -> Answer | None:
    """The file of a page at a path; None where there is none, or it is not read."""
    return _files().get(path) if method in ("GET", "HEAD") else None


@cache
def _files() -> dict[str, Answer]:
    """Every file by its path: they are part of the package and never change."""
    found = {path: _answer(folder, name) for path, (folder, name) in _FIRST.items()}
    for start, folder in _FOLDERS.items():
        for file in files(folder.rpartition(".")[0]).joinpath(folder.rpartition(".")[2]).iterdir():
            if file.name.rpartition(".")[2] in _PARTS:
                found[f"{start}{file.name}"] = _answer(folder, file.name)
    return found


def _answer(folder: str, name: str) -> Answer:
    package, _, inner = folder.rpartition(".")
    body = (files(package) / inner / name).read_bytes()
    kind = _KINDS[name.rpartition(".")[2]].encode()
    return Answer(200, ((b"content-type", kind), *_HEADERS), body)
