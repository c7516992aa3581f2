from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.proof.ground import ROOT
from bench.proof.nursery import Nursery
from bench.proof.order import Order

SEED = 20_261_120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """The process that a module's hosts are forked from: it loads the libraries once."""
    made = Nursery()
    await made.start(str(ROOT))
    yield made
    await made.stop()


@pytest.fixture
def order(nursery: Nursery) -> Iterator[Order]:
    """The short version; sockets need a short path, so not pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="proof", ignore_cleanup_errors=True) as folder:
        yield Order(Path(folder), SEED, short=True, kills=3, at_each=1, nursery=nursery)
