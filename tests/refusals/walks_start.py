"""Walks of the rows whose neighbour is what a start finds: files, variables, other modules."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from pathlib import Path

from tests.host.stage import command
from tests.refusals.table import ends

AT_ONCE = 60.0
"""Seconds that a refused start may take on a machine that is busy with others."""
COMMAND = Path(sys.executable).with_name("switchboard")
TOKEN = "7000001:AAa-token-that-nobody-may-read"
URL = "redis://:p-a-s-s@127.0.0.1:1/0"
STRANGER = "open('ran', 'w').close()"


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)


async def start(
    folder: Path, files: Mapping[str, str | bytes], variables: Mapping[str, str]
) -> asyncio.subprocess.Process:
    """`switchboard run` in a folder of its own, with these files in it."""
    write(folder, files)
    environ = {"PATH": os.environ["PATH"], "HTTP_PORT": "0", "LOG_FORMAT": "json", **variables}
    return await asyncio.create_subprocess_exec(
        *(COMMAND, "run"), cwd=folder, env=environ, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )


async def refused(
    folder: Path, place: str, cure: str, files: Mapping[str, str | bytes], **variables: str
) -> None:
    """The start ends at once, with one line and nothing done: no state, and no update taken."""
    if "PYTHONPATH" in variables:  # what it finds there counts while it loads
        process = await start(folder, files, variables)
        told, _ = await asyncio.wait_for(process.communicate(), AT_ONCE)
        status, said = process.returncode, told.decode()
    else:
        write(folder, files)
        own = {"HTTP_PORT": "0", "LOG_FORMAT": "json"}
        status, said = await command(folder, {**own, **variables}, "run", seconds=AT_ONCE)
    [line] = said.splitlines()
    assert status == 1
    named = re.escape(place.removesuffix(": "))
    assert re.match(f"switchboard: {named}:? ", line)
    assert line.endswith(cure)
    for secret in (TOKEN, URL, "p-a-s-s", "p/a"):
        assert secret not in line
    assert names_in(folder) == {*files}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def all_refused(folder: Path, *starts: Mapping[str, str], cure: str) -> None:
    """Each of these variables ends the start, with its name and the cure."""
    async with asyncio.TaskGroup() as group:
        for number, variables in enumerate(starts):
            place = folder / f"{number}-{cure[-12:]}"
            place.mkdir()
            [named] = variables
            group.create_task(refused(place, f"{named}: ", cure, {}, **variables))


@ends("S1")
async def an_env_file_in_another_encoding(folder: Path) -> None:
    async with asyncio.TaskGroup() as group:
        for encoding in ("utf-16", "latin-1"):
            place = folder / encoding
            place.mkdir()
            files = {".env": f"BOTS__0__TOKEN={TOKEN}\nNAME=Jörg\n".encode(encoding)}
            group.create_task(refused(place, ".env: ", "; save it as UTF-8", files))


@ends("S2")
async def a_file_of_a_secret_that_cannot_be_used(folder: Path) -> None:
    (folder / "empty").touch()
    files = [{"BOTS__0__TOKEN_FILE": "none"}, {"REDIS_URL_FILE": str(folder / "empty")}]
    await all_refused(folder, *files, cure="; put the secret there, or name another file")


@ends("S3")
async def a_quote_at_one_end(folder: Path) -> None:
    quoted = [{"BOTS__0__TOKEN": f'"{TOKEN}'}, {"REDIS_URL": f"{URL}'"}]
    await all_refused(folder, *quoted, cure="; remove it")


@ends("S4")
async def an_address_that_would_not_mean_what_it_says(folder: Path) -> None:
    raw, odd = "redis://:p/a#s@127.0.0.1:1/0", f"{URL}?decode_responses=true"
    await all_refused(folder, {"REDIS_URL": raw}, cure="and [ as %5B in the password")
    await all_refused(folder, {"REDIS_URL": odd}, cure="; remove it")


@ends("S5")
async def a_name_where_an_id_should_be(folder: Path) -> None:
    names = [{"ADMINS": "@boss"}, {"PEOPLE": "5 @boss"}]
    await all_refused(folder, *names, cure="it answers a number like 123456789")


@ends("S6")
async def another_module_of_our_name(folder: Path) -> None:
    async with asyncio.TaskGroup() as group:
        for name in ("bot.py", "registry.py"):
            place = folder / name
            place.mkdir()
            cure = "; take its folder out of PYTHONPATH, or rename it"
            one = refused(place, str(place / name), cure, {name: STRANGER}, PYTHONPATH=str(place))
            group.create_task(one)


@ends("S7")
async def what_may_be_meant_is_told(folder: Path) -> None:
    odd = {"ADMINS": "5,-1001", "ANTHROPIC_API_KEY": "'sk-k-e-y", "REDIS_PASSWORD_FILE": "none"}
    nowhere = {"BOTS__0__TOKEN": TOKEN, "TELEGRAM_API_URL": "http://127.0.0.1:1"}
    process = await start(folder, {"agents.json": "{}"}, odd | nowhere)
    assert process.stdout
    said = ""
    async with asyncio.timeout(AT_ONCE):
        while not all(re.search(rf"\b{name}:? ", said) for name in odd) or '"started"' not in said:
            line = await process.stdout.readline()
            assert line, said
            said += line.decode()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0
    assert "sk-k-e-y" not in said
