from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where servers leave word."""
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that do not go by themselves are killed soon."""
    monkeypatch.setattr("bot.mcp.transports.stdio._GRACE_SECONDS", 0.1)
