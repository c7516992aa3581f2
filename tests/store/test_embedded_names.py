"""The bundled store runs in a folder of any name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey


@pytest.mark.parametrize("name", ['da"ta', "da\\ta", "da'ta", "da?ta", "da#ta", "da%41ta", "dä ta"])
async def test_the_bundled_store_starts_and_answers_in_a_folder_of_any_name(
    tmp_path: Path, name: str
) -> None:
    server = EmbeddedValkey(tmp_path / name, "everysec")
    await server.start()
    client = StoreClient(connect(server.url), SystemClock())
    try:
        assert await client.command("PING") in (b"PONG", True)
        assert (tmp_path / name / "valkey").is_dir()
    finally:
        await client.close()
        await server.stop()
