"""Nothing that a stranger, a model or a server writes stops the host: it is asked all the while.

A host and a bare server beside it are asked every 50 ms whether they live, from the host's first
answer on. Under no bomb is the host silent for a tenth of a second longer than the bare server
about the same time, and it never loses its bot to another owner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.attacks.bomb_ground import Ground, Pushed, forgets, ground, pushed
from tests.attacks.bombs import BOMBS, DOORS, FAST, PUSHES, SKILLS, TOOLS, Bomb, Push

pytestmark = pytest.mark.timeout(180)
together = pytest.mark.asyncio(loop_scope="module")

MOST = 0.1
TRIES = 3
"""Others use the machine as well: what is silent by its own fault is so each time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def polled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with ground(tmp_path_factory.mktemp("bombs"), SKILLS, TOOLS) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pushed_to(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pushed]:
    async with pushed(tmp_path_factory.mktemp("pushed")) as made:
        yield made


async def holds(ground: Ground | Pushed, throw: Callable[[], Awaitable[None]]) -> None:
    """The host is never much longer silent than the bare server while this goes on.

    It has not seen it before, nor when that is tried again.
    """
    probe = ground.probe
    found = []
    for _ in range(TRIES):
        await forgets(ground.host)
        await probe.since_last()
        await throw()
        found.append(await probe.since_last())
        if found[-1].more <= MOST:
            return
    pytest.fail(f"the host was silent: {found}")


def _named(bomb: Bomb) -> str:
    return f"{bomb.door}: {bomb.name}"


async def _explodes(ground: Ground, bomb: Bomb) -> None:
    fence = await ground.fence()
    await holds(ground, lambda: bomb.throw(ground))
    assert bomb.told in ground.model.told
    assert await ground.fence() == fence
    assert "line.lost" not in ground.host.log.read_text()


@together
@pytest.mark.parametrize("bomb", FAST, ids=_named)
async def test_the_host_lives_on_while_a_bomb_of_each_kind_goes_off(
    polled: Ground, bomb: Bomb
) -> None:
    await _explodes(polled, bomb)


@together
@pytest.mark.attack
@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb not in FAST], ids=_named)
async def test_the_host_lives_on_while_any_of_fifty_bombs_goes_off(
    polled: Ground, bomb: Bomb
) -> None:
    await _explodes(polled, bomb)


@together
@pytest.mark.attack
@pytest.mark.parametrize("push", PUSHES, ids=lambda push: push.name)
async def test_the_host_lives_on_whatever_is_pushed_to_it(pushed_to: Pushed, push: Push) -> None:
    await holds(pushed_to, lambda: push.throw(pushed_to))


def test_there_are_bombs_for_every_door_and_more_than_fifty_in_all() -> None:
    assert {bomb.door for bomb in BOMBS} == DOORS
    assert len({(bomb.door, bomb.name) for bomb in BOMBS} | {push.name for push in PUSHES}) > 50
