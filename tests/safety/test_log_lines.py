"""One event is one line of the log, whatever strangers put into its names and values."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
import structlog
from bot.ops.logging import configure
from bot.ops.redaction import Secrets

configure("INFO", sys.argv[1], Secrets())
log = structlog.get_logger("mcp.a\\nb")
odd = "odd\\n2026 forged\\x1b[2K\\r"
log.info("key", **{odd: 1})
log.info("value", tool=odd)
log.info("inside", schema={odd: [odd]}, names=[odd], pair=(odd,), raw=odd.encode())
log.info(odd, error=ValueError(odd))
logging.getLogger(odd).warning("a library says %s", odd)
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_name_or_value_begins_a_line_of_its_own_or_moves_a_terminal(form: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, form], capture_output=True, check=True, timeout=60
    ).stderr.decode()
    lines = told.splitlines()
    assert len(lines) == 5
    assert [line for line in lines if "odd" not in line or line.startswith("2026 forged")] == []
    assert [char for char in "\x1b\r" if char in told] == []
