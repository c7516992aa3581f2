"""The variables that settings are read from, as people and their tools write them.

Quotes that `docker run --env-file` keeps are removed from values, and a secret may be in a file.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.secrets import shown

ENV_FILE = ".env"
FILE = "_FILE"
"""What is added to a secret's name for the name of a file that holds it."""
OTHERS_TOKENS = (
    *("TELEGRAM_BOT_TOKEN", "TELEGRAM_TOKEN", "BOT_TOKEN", "TG_BOT_TOKEN", "TG_TOKEN"),
    *("TELEGRAM_API_TOKEN", "TELEGRAM_API_KEY", "TELEGRAM_BOT_API_TOKEN", "TELEGRAMBOT_TOKEN"),
)
"""What other programs call the variable of a bot's token."""
_A_TOKEN = re.compile(r"BOTS?_+\d+_+TOKEN\Z|API_KEYS?_+\d+_+KEY\Z|HTTP_API\Z")
_NAME = re.compile(r"\s*(?:export\s+)?(\w+)")
_MOST_BYTES = 65_536
_SAVE = "save it as UTF-8"
_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1\Z""", re.DOTALL)
_QUOTES = "\"'`´‘’‚“”„«»"
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # `idle_lines` names them instead


class InvalidFile(InvalidValue):
    """The file of a secret cannot be used."""


def environment(env_file: str | Path | None = ENV_FILE) -> dict[str, str]:
    """`.env` under the environment, without references filled in; DocumentErrors if unreadable."""
    # Uninterpolated: a ${NAME} in a header stays a reference, and no secret becomes plain text.
    text = _env_file_text(Path(env_file)) if env_file else ""
    below = dotenv_values(stream=StringIO(text), interpolate=False)
    own = {name: unquoted(value) for name, value in os.environ.items()}
    for name in (name for name in own if name.lower().endswith("_proxy")):
        os.environ[name] = own[name]  # where the libraries look for them
    return {name: value for name, value in below.items() if value is not None} | own


def idle_lines(env_file: str | Path | None) -> Iterator[Problem]:
    """The lines of `.env` that set nothing, as warnings."""
    text = _env_file_text(Path(env_file)) if env_file else ""
    for line in parse_stream(StringIO(text)):
        if line.error or (line.key and line.value is None):
            place = f"{env_file}:{line.original.line}"
            cure = "write NAME=value, or put a # in front"
            yield Problem(place, "this line sets nothing", cure, "warning")


def names_a_host(env_file: str | Path = ENV_FILE) -> bool:
    """Whether somebody means to run a bot or the HTTP API, even by a misspelt name or line."""
    try:
        text = _env_file_text(Path(env_file))
    except DocumentErrors:
        return True
    names = [name for name, value in os.environ.items() if unquoted(value)]
    for line in parse_stream(StringIO(text)):
        if line.value and line.key:
            names.append(line.key)
        elif line.error and (match := _NAME.match(line.original.string)):
            names.append(match[1])
    tokens = (name.upper().removesuffix(FILE) for name in names)
    return any(name in OTHERS_TOKENS or _A_TOKEN.match(name) for name in tokens)


def _env_file_text(path: Path) -> str:
    try:
        return utf8_text(path.read_bytes()) if path.is_file() or path.is_fifo() else ""
    except InvalidValue as error:
        problem = Problem(str(path), error.message, error.cure)
    except OSError as error:
        message = f"it cannot be read: {error.strerror}"
        problem = Problem(str(path), message, "make it readable for the host")
    raise DocumentErrors([problem])


def utf8_text(data: bytes) -> str:
    """The text of a file, without a byte order mark; raises InvalidValue where it is not UTF-8."""
    for mark, encoding in _ENCODINGS.items():
        if data.startswith(mark):
            raise InvalidValue(f"it is {encoding}, not UTF-8", _SAVE)
    if b"\0" in data:
        raise InvalidValue("it is UTF-16 or no text at all, not UTF-8", _SAVE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidValue(f"line {line} is not UTF-8", _SAVE) from None


def unquoted(value: str) -> str:
    """A value as `.env` would give it, where quotes are around the whole of it."""
    text = value.strip()
    if not _QUOTED.match(text):
        return value
    return dotenv_values(stream=StringIO(f"V={text}"), interpolate=False)["V"] or ""


def has_loose_quote(value: str) -> bool:
    """Whether a value begins or ends with a quote of any kind."""
    return bool(value) and (value[0] in _QUOTES or value[-1] in _QUOTES)


# --- secrets in files ----------------------------------------------------------------------------


def read_secret(path: str | Path) -> str:
    """The one line of a file, without quotes around it; raises InvalidFile."""
    elsewhere = "put the secret there, or name another file"
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = unquoted(utf8_text(data).strip())
    except (OSError, ValueError) as error:
        name = str(path)
        if "://" in name or "(hidden)" in (shown(name), shown(name.partition(":")[2])):
            message = "it looks like the secret itself, not like the path of a file"
            raise InvalidFile(message, "name a file, or drop _FILE from the name") from None
        why, cure = getattr(error, "strerror", None) or "it is not a path", elsewhere
        if isinstance(error, InvalidValue):
            why, cure = error.message, error.cure
        raise InvalidFile(f"{name} cannot be read: {why}", cure) from None
    if len(data) > _MOST_BYTES or len(text.splitlines()) > 1:
        raise InvalidFile(f"{path} has more than one line", "leave only the secret there")
    if not text:
        raise InvalidFile(f"{path} is empty", elsewhere)
    return text


def with_files(given: Any, names: Collection[str]) -> Any:
    """The values of a model with these secrets out of their files; else the InvalidFile of each."""
    if not isinstance(given, Mapping):
        return given
    suffix = FILE.lower()
    secrets = [name for name in names if name + suffix in names and given.get(name + suffix)]
    return dict(given) | {name: _secret(given, name, name + suffix) for name in secrets}


def _secret(given: Mapping[str, Any], name: str, file: str) -> str | InvalidFile:
    if given.get(name):
        known_as = name.upper()
        return InvalidFile(f"{known_as} is set as well", "keep one of the two")
    try:
        return read_secret(given[file])
    except InvalidFile as error:
        return error


def secrets_from_files(environ: dict[str, str], names: Collection[str]) -> list[Problem]:
    """Set each of these variables whose `…_FILE` is set, which is taken away; what went wrong."""
    problems = []
    for name in sorted(names):
        file = name + FILE
        if environ.get(file):
            value = _secret(environ, name, file)
            if isinstance(value, InvalidFile):
                problems.append(Problem(file, value.message, value.cure))
            else:
                environ[name] = value
                del environ[file]
    return problems


if __name__ == "__main__":  # `make run` asks
    sys.stdout.write("run\n" if names_a_host() else "sandbox\n")
