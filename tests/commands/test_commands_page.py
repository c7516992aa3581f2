"""docs/commands.md says what the table of commands says."""

from __future__ import annotations

import re
from pathlib import Path

from bot.access import Access
from bot.commands.board import board
from bot.commands.desk import Desk
from bot.commands.people import PeopleCommands
from bot.commands.table import Commands
from bot.ports.grants import Request
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.stores.memory import MemoryStore

PAGE = Path(__file__).parents[2] / "docs/commands.md"


def whole_board() -> Commands:
    desk = Desk(Catalog(MemoryStore()), LlmConfiguration(), lambda _: [], list, dict)
    return board(desk, PeopleCommands(Access(), nobody_waits))


async def nobody_waits() -> list[Request]:
    return []


def rows() -> dict[str, list[str]]:
    """The table's rows by role, as the page writes them."""
    found: dict[str, list[str]] = {"everyone": [], "admin": []}
    for row in whole_board().visible(admin=True):
        usage = f" {row.usage}".rstrip().replace("|", "\\|")
        found[row.role].append(f"| `/{row.name}{usage}` | {row.help} |")
    return found


def test_the_page_has_every_command_in_its_own_table_and_no_other() -> None:
    everyone, admins = re.split(r"^## For admins$", PAGE.read_text(), flags=re.MULTILINE)
    for part, role in ((everyone, "everyone"), (admins, "admin")):
        assert re.findall(r"^\| `/.*$", part, re.MULTILINE) == rows()[role]


def test_every_command_fits_into_a_menu() -> None:
    for row in whole_board().visible(admin=True):
        assert re.fullmatch(r"[a-z0-9_]{1,32}", row.name)
        assert 0 < len(row.help) <= 256
