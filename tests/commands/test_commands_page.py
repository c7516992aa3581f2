"""docs/commands.md says what the table of commands says."""

from __future__ import annotations

import re
from pathlib import Path

from bot.access.command import PeopleContext
from bot.access.rules import Access
from bot.command import Commands
from bot.commands.host import AdminContext, ToolsOfAgents
from bot.commands.table import all_commands
from bot.ops.shown_once import ShownOnce
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.history import History
from registry.roles import HOST_ADMIN
from registry.sources.file import FileSource
from tests.commands.test_admin_commands import (
    NO_STORE,
    never_used,
    no_bots,
    no_names,
    no_page,
    no_tools,
    nobody_waits,
)

PAGE = Path(__file__).parents[2] / "docs/commands.md"


def whole_board() -> Commands:
    desk = AdminContext(
        History(Catalog(FileSource(None))),
        LlmConfiguration(),
        lambda _: [],
        list,
        dict,
        lambda _: [],
        ToolsOfAgents(no_tools, no_names),
    )
    people = PeopleContext(Access(), nobody_waits, desk.audit_refusal)
    return all_commands(desk, people, never_used, no_page, ShownOnce(), NO_STORE, no_bots(desk))


def rows() -> tuple[list[str], list[str]]:
    """The table's rows for everybody, and those that take a role, as the page writes them."""
    everybody, some = [], []
    for row in whole_board().visible(HOST_ADMIN):
        usage = f" {row.usage}".rstrip().replace("|", "\\|")
        line = f"| `/{row.name}{usage}` | {row.help} |"
        if row.needs is None:
            everybody.append(line)
        else:
            who = ", ".join(f"`{role}`" for role in row.needs.roles) or "admins of the host"
            some.append(f"{line} {who} |")
    return everybody, some


def test_the_page_has_every_command_in_its_own_table_and_no_other() -> None:
    parts = re.split(r"^## For admins$", PAGE.read_text(), flags=re.MULTILINE)
    for part, wanted in zip(parts, rows(), strict=True):
        assert re.findall(r"^\| `/.*$", part, re.MULTILINE) == wanted


def test_every_command_fits_into_a_menu() -> None:
    for row in whole_board().visible(HOST_ADMIN):
        assert re.fullmatch(r"[a-z0-9_]{1,32}", row.name)
        assert 0 < len(row.help) <= 256
