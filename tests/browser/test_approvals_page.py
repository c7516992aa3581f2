"""Approvals as people see them: every way to answer a question, on the page, with a real host."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.chat import IMAGES, SAVED, plug, said, say, shot
from tests.browser.chromium import Browser, Tab
from tests.sandbox.sandbox_process import ANN, BEN, MERIDIAN, OPERATOR, QUILL, Sandbox, sandbox

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
]

READS = ["mcp:notes:list_files", "mcp:notes:read_file", "mcp:notes:search_files"]
NOTES = {"command": sys.executable, "args": ["-m", "bot.sandbox.notes_server"]}
SLOW = 20
ASKED = "May I do this?"
DESK, PHONE = (1100, 700), (390, 640)
MOST = 120_000


def _agent(id: str, **more: object) -> dict[str, object]:
    return {
        "id": id,
        "name": id.title(),
        "mcpServers": ["notes"],
        "whitelistPatterns": READS,
        "toolPolicy": {"approvers": ["asker"]},
    } | more


AGENTS = {
    "mcpServers": {"notes": NOTES},
    "agents": [
        _agent("operator"),
        _agent("quill", whitelistPatterns=["mcp:notes:*"]),
        _agent("hasty", toolPolicy={"approvers": ["asker"], "approvalMinutes": 0.03}),
    ],
    "bindings": [
        {"agentId": "quill", "type": "TelegramBot", "bindingKey": "@quill_demo_bot"},
        {"agentId": "hasty", "type": "TelegramBot", "bindingKey": "@meridian_demo_bot"},
    ],
    "defaultAgentId": "operator",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "agents.json").write_text(json.dumps(AGENTS))
    async with sandbox(folder) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser, board: Sandbox) -> AsyncIterator[Tab]:
    async with browser.tab() as tab:
        await tab.look(*DESK, dark=False)
        await tab.go(board.url)
        await tab.until("document.querySelectorAll('.line').length >= 7")
        yield tab
        assert tab.complaints == []


def last(selector: str) -> str:
    """The last such element of the conversation, as JavaScript."""
    return f"[...document.querySelectorAll('#messages .message:not(.mine) {selector}')].at(-1)"


def question(*buttons: str) -> str:
    """Whether the newest message with buttons has just these, as JavaScript."""
    keys = f"[...{last('.buttons')}.querySelectorAll('.key')].map((each) => each.textContent)"
    return f"JSON.stringify({keys}) === {json.dumps(json.dumps(buttons, separators=(',', ':')))}"


async def press(tab: Tab, button: str, toast: str) -> None:
    """Press a button of the newest message that has some, and read the word that comes back."""
    key = f".find((each) => each.textContent === {json.dumps(button)})"
    await tab.hit(f"[...{last('.buttons')}.querySelectorAll('.key')]{key}")
    await tab.until(f"document.querySelector('#toasts').textContent.includes({json.dumps(toast)})")


CUT = """[...document.querySelectorAll('#messages .key')]
  .filter((key) => key.scrollWidth > key.clientWidth
    || key.getBoundingClientRect().right > innerWidth)
  .map((key) => key.textContent)"""


async def keep(
    tab: Tab, board: Sandbox, name: str, *, dark: bool = False, toast: bool = False
) -> None:
    """A picture on a telephone, where all must fit; for the documentation if that is asked for."""
    await tab.look(*PHONE, dark=dark, phone=True)
    await tab.run(f"document.querySelector('#toasts').hidden = {str(not toast).lower()}")
    await tab.run("document.querySelector('#messages').lastElementChild.scrollIntoView(false)")
    assert await tab.run("document.documentElement.scrollWidth") <= PHONE[0]
    assert await tab.run(CUT) == []
    await shot(tab, (IMAGES if SAVED else board.folder) / f"approval-{name}.png", MOST)
    await tab.run("document.querySelector('#toasts').hidden = false")
    await tab.look(*DESK, dark=False)


async def test_once_runs_it_and_the_question_says_who_allowed_it(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "write call the plumber to today.md")
    await tab.until(question("Once", "Deny", "Always for this chat"), SLOW)
    assert await tab.run(said("call the plumber"))
    await keep(tab, board, "question")
    await press(tab, "Once", "Allowed once.")
    await tab.until(said("Made today.md"), SLOW)
    await tab.until(said("allowed once by Ann"))
    assert not await tab.run(f"{last('.buttons')} !== undefined")
    assert (board.folder / "data/notes/today.md").read_text() == "call the plumber"


async def test_a_denial_carries_its_typed_reason_to_the_agent(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "write a rude word to letter.md")
    await tab.until(question("Once", "Deny", "Always for this chat"), SLOW)
    await press(tab, "Deny", "Denied.")
    await tab.until(question("Continue without a reason"))
    await say(tab, "my aunt will read it")
    await tab.until(said("Their reason: my aunt will read it"), SLOW)
    await tab.until(said("Reason: my aunt will read it"))
    await keep(tab, board, "denied")
    assert not (board.folder / "data/notes/letter.md").exists()


async def test_always_asks_no_more_until_it_is_taken_back(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "write milk to shopping.md")
    await tab.until(question("Once", "Deny", "Always for this chat"), SLOW)
    await press(tab, "Always for this chat", "Allowed here from now on.")
    await tab.until(said("Made shopping.md"), SLOW)
    await say(tab, "write eggs to eggs.md")
    await tab.until(said("Made eggs.md"), SLOW)
    await say(tab, "/approvals")
    await tab.until(said("1. mcp:notes:write_file for operator, by Ann"))
    await keep(tab, board, "always")
    await say(tab, "/approvals revoke 1")
    await tab.until(said("Revoked: mcp:notes:write_file."))
    await say(tab, "write bread to bread.md")
    await tab.until(question("Once", "Deny", "Always for this chat"), SLOW)
    await say(tab, "12 * 12")
    await tab.until(said("144"), SLOW)
    await tab.until(said("not approved: the conversation went on"))
    assert not await tab.run(f"{last('.buttons')} !== undefined")
    assert not (board.folder / "data/notes/bread.md").exists()


async def test_a_question_that_nobody_answers_says_so(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{MERIDIAN}/{ANN}")
    await say(tab, "write too late to late.md")
    await tab.until(said(ASKED), SLOW)
    await tab.until(said("not approved: nobody answered in time"), SLOW)
    await tab.until(said("It was not run."))
    assert not (board.folder / "data/notes/late.md").exists()


async def test_in_a_group_another_person_is_told_who_may(tab: Tab, board: Sandbox) -> None:
    state = await board.get("/control/state")
    team = next(r["key"] for r in state["rooms"] if r["chat"].get("title") == "Team")
    await plug(tab, team)
    await say(tab, "@operator_demo_bot write we meet at nine to team.md")
    await tab.until(question("Once", "Deny", "Always here"), SLOW)
    await tab.click(f'#people input[value="{BEN}"]')
    await plug(tab, team)
    await press(tab, "Once", "Only Ann may answer this.")
    await keep(tab, board, "group", toast=True)
    assert not (board.folder / "data/notes/team.md").exists()
    await tab.click(f'#people input[value="{ANN}"]')
    await plug(tab, team)
    await press(tab, "Once", "Allowed once.")
    await tab.until(said("Made team.md"), SLOW)


async def test_a_press_after_the_host_was_killed_runs_it_once(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{QUILL}/{ANN}")
    await say(tab, "write an old secret to doomed.md")
    await tab.until(said("Made doomed.md"), SLOW)
    await say(tab, "delete doomed.md")
    await tab.until(question("Once", "Deny"), SLOW)
    await keep(tab, board, "deletion", dark=True)
    await board.post("/page/kill")
    await press(tab, "Once", "Allowed once.")
    await tab.until(said("Deleted doomed.md."), SLOW)
    assert not (board.folder / "data/notes/doomed.md").exists()
    texts = await board.texts(f"{QUILL}/{ANN}", QUILL)
    assert sum("Deleted doomed.md." in text for text in texts) == 1
