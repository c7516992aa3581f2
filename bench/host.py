"""How this project's host is started: for tests, for the proof and for benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from simulators.testing.processes import ForkServer

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "bot", "run")
_PRELOAD = (
    "bot.app",
    "bot.cli.main",
    "bot.ops.logging",
    "uvloop",
    "anthropic",
    "anthropic.types",
    "anthropic.resources.messages",
    "bot.mcp.connection",
    "mcp",
    "mcp.client.stdio",
    "mcp.client.streamable_http",
)


@cache
def fork_server() -> ForkServer:
    """The process that this process's hosts are forked from."""
    return ForkServer("bot.cli.main:main", ["run"], _PRELOAD, ROOT)


def host_environ(
    tokens: Iterable[str], *, agents: Path, data: Path, telegram_url: str, messages_url: str
) -> dict[str, str]:
    """The environment of a host between both simulators, open to everybody."""
    return {
        **{f"BOTS__{number}__TOKEN": token for number, token in enumerate(tokens)},
        "AGENTS_FILE": str(agents),
        "DATA_DIR": str(data),
        "TELEGRAM_API_URL": telegram_url,
        "ANTHROPIC_BASE_URL": messages_url,
        "ANTHROPIC_API_KEY": "sk-ant-test-key-for-the-simulator",
        "LLM__MODEL": "claude-haiku-5-5",
        "HTTP_PORT": "0",
        "ACCESS": "open",
    }
