"""The network of a process under attack: its names lead where a test says, and nothing gets out."""

from __future__ import annotations

import asyncio.selector_events
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ALWAYS = ("localhost", None, b"localhost", "")


class Network:
    """Names that an attacker's resolver knows, and where connections were to go."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.outward: list[str] = []

    def leads(self, name: str, *answers: list[str]) -> None:
        """From now on a name has these addresses, one answer after the other; the last one stays.

        An answer without addresses is that of a name that does not exist.
        """
        self.names[name] = list(answers)

    def answer(self, name: str) -> list[str]:
        """The addresses of a name, this time."""
        self.asked.append(name)
        answers = self.names.get(name, [[]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def walled_in() -> Iterator[Network]:
    """This process asks no real resolver and connects to nothing but this machine."""
    network, real = Network(), socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in ALWAYS or _is_address(name):
            return real(host, *rest, **more)
        lists = [real(address, *rest, **more) for address in network.answer(name)]
        if not lists:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [one for several in lists for one in several]

    connect = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    async def connected(loop: Any, sock: socket.socket, address: Any) -> None:
        if sock.family != socket.AF_UNIX and not _is_here(address[0]):
            network.outward.append(address[0])
            raise ConnectionRefusedError("nothing gets out of this test")
        await connect(loop, sock, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", found)
        patch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", connected)
        yield network


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(name: str) -> bool:
    return name in ALWAYS or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
