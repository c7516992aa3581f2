from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.proof.trial import Run

SEED = 20_261_120


@pytest.fixture
def run() -> Iterator[Run]:
    """The short version; sockets need a short path, so not pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="proof", ignore_cleanup_errors=True) as folder:
        yield Run(Path(folder), SEED, short=True, kills=3, at_each=1)
