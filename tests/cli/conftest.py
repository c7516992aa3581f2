from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from simulators.testing.valkey import Valkey
from tests.cli.console import Console


@pytest.fixture(autouse=True)
def logging_is_put_back() -> Iterator[None]:
    """A command sets up the logging of the whole process, on a stream that ends with its test."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


@pytest.fixture
def bare_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Console:
    """The command line where no host has run yet."""
    monkeypatch.chdir(tmp_path)
    return Console(tmp_path, capsys)


@pytest.fixture
def console(bare_console: Console, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Console:
    """The command line over a store of the operator's own."""
    monkeypatch.setenv("REDIS_URL", valkey.url)
    return bare_console
