"""docs/commands.md says what the table of commands says."""

from __future__ import annotations

import re
from pathlib import Path

from bot.access.command import PeopleContext
from bot.access.rules import Access
from bot.access.store import AccessRequest
from bot.command import Commands
from bot.commands.host import AdminContext, AgentTools
from bot.commands.table import all_commands
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.sources.file import FileSource

PAGE = Path(__file__).parents[2] / "docs/commands.md"


def whole_board() -> Commands:
    desk = AdminContext(
        Catalog(FileSource(None)),
        LlmConfiguration(),
        lambda _: [],
        list,
        dict,
        lambda _: [],
        lambda _agent, _context: AgentTools(),
    )
    return all_commands(desk, PeopleContext(Access(), nobody_waits))


async def nobody_waits() -> list[AccessRequest]:
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
