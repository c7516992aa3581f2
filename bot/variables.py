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
from dotenv.parser import Binding, parse_stream

from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.secrets import detect_secret, shown

ENV_FILE = ".env"
FILE = "_FILE"
"""What is added to a secret's name for the name of a file that holds it."""
BOT_SETTING = re.compile(r"(?i)BOTS__(0|[1-9]\d*)__(\w+)\Z")
"""A variable of one bot: its number, and what it sets."""
_OF_API = re.compile(r"(?i)API_KEYS?_+\d+_+KEY|HTTP_API\Z")
_NUMBERED_BOT = re.compile(r"BOTS?[_-]*(\d+|O(?=_))[_-]*([A-Z]\w*)\Z")
_TOKEN_NAMES = re.compile(r"(?:BOTS?|(?:TELEGRAM|TG)(?:BOTS?)?)\d*(?:API)?TOKENS?|TELEGRAMAPIKEY")
_FIRST_NAME = re.compile(r"(?:(?:export|set)\s+)?(\w+)")
_NAME = re.compile(r"[A-Za-z_]\w*\Z|(?i:AGENTS|MCPSERVERS)__[\w.-]+\Z")
_MISNAMED_FILES = (".env.txt", "env.txt")
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
    given = {name: value for name, value in below.items() if value is not None}
    return {name: value for name, value in given.items() if _NAME.match(name)} | own


def idle_lines(env_file: str | Path | None) -> Iterator[Problem]:
    """The lines of `.env` that set nothing, and files that are taken for it, as warnings."""
    lines = [*_lines(env_file)]
    last = {line.key: number for number, line in lines}
    for number, line in lines:
        message, cure = "this line sets nothing", "write NAME=value, or put a # in front"
        if line.key and line.value is not None and _NAME.match(line.key):
            if last[line.key] == number:
                continue
            message += f", as line {last[line.key]} sets {line.key} again"
            cure = "keep one of the two"
        elif line.value and (own := bot_variable(line.key or "")):
            cure = f"rename it to {own}"
        elif line.value:
            cure = "write a name of letters, digits and _"
        yield Problem(f"{env_file}:{number}", message, cure, "warning")
    for name in _MISNAMED_FILES if env_file and not Path(env_file).exists() else ():
        if Path(name).is_file():
            yield Problem(name, "is not read", f"rename it to {env_file}", "warning")


def names_a_host(env_file: str | Path = ENV_FILE) -> bool:
    """Whether somebody means to run a bot or the HTTP API; a misspelt name or line counts."""
    given = [(name, unquoted(value)) for name, value in os.environ.items()]
    try:
        for file in (env_file, *_MISNAMED_FILES):
            for _, line in _lines(file):
                text = line.original.string.strip()
                name = _FIRST_NAME.match(text) if line.value is None else None
                value = text if line.value is None else line.value
                given.append((name[1] if name else line.key or "", value))
    except DocumentErrors:
        return True
    return any(
        value
        and (name.upper().startswith("BOTS") or bot_variable(name, value) or _OF_API.match(name))
        for name, value in given
    )


def bot_variable(name: str, value: str = "") -> str:
    """How a variable of a bot is written that somebody has called this; "" for any other one."""
    upper = name.upper()
    if match := _NUMBERED_BOT.match(upper):
        return f"BOTS__{0 if match[1] == 'O' else int(match[1])}__{match[2]}"
    plain = re.sub(r"[\W_]", "", upper.removesuffix(FILE))
    if _TOKEN_NAMES.fullmatch(plain) or detect_secret(value) == "a bot token":
        return f"BOTS__0__TOKEN{FILE if upper.endswith(FILE) else ''}"
    return ""


def is_setting(name: str) -> bool:
    """Whether a variable can be a setting; of those that begin like a bot's, whether it is one."""
    is_of_bot = name.upper().startswith("BOTS__")
    return bool(BOT_SETTING.match(name) if is_of_bot else name.isidentifier())


def misnamed_bots(environ: Mapping[str, str]) -> list[Problem]:
    """The variables that begin like those of a bot, and are none."""
    found = []
    for name in sorted(environ):
        if environ[name] and name.upper().startswith("BOTS__") and not is_setting(name):
            own = bot_variable(name, environ[name])
            cure = f"rename it to {own}" if own else "write BOTS__0__TOKEN, BOTS__1__TOKEN …"
            found.append(Problem(name, "is not a setting", cure))
    return found


def _lines(env_file: str | Path | None) -> Iterator[tuple[int, Binding]]:
    """The lines of `.env` that are neither empty nor a comment, each with its number."""
    text = _env_file_text(Path(env_file)) if env_file else ""
    for line in parse_stream(StringIO(text)):
        if line.error or line.key:
            whole = line.original.string
            before = whole[: len(whole) - len(whole.lstrip())]
            yield line.original.line + before.count("\n"), line


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
