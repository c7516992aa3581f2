"""The chat page in a browser, with a real host: people sign in, talk, approve, and come back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from bench.proof.relay import Relay
from simulators.messages.turns import Call, Cut, Stall, Text, Turn
from tests.browser.chat import IMAGES, SAVED, shot
from tests.browser.chromium import Browser, Tab
from tests.host.stage import Stage, staged
from tests.http.api import Client, api_host

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

DESK = """
import asyncio
import pathlib
import sys

from mcp.server.mcpserver import MCPServer

desk = MCPServer("desk")


@desk.tool()
async def search(words: str) -> str:
    \"\"\"Searches the orders, until the file `found` is there.\"\"\"
    while not pathlib.Path(sys.argv[1], "found").exists():
        await asyncio.sleep(0.02)
    return words


@desk.tool()
async def cancel_order(order: str) -> str:
    \"\"\"Cancels an order.\"\"\"
    return order


@desk.tool()
async def refund(order: str) -> str:
    \"\"\"Refunds an order, as soon as the file `paid` is there.\"\"\"
    while not pathlib.Path(sys.argv[1], "paid").exists():
        await asyncio.sleep(0.02)
    return order


desk.run()
"""
HOSTILE = "<b>Sales</b>\u202e<script>window.planted=1</script>"
LAST = "[...document.querySelectorAll('[role=log] > .agent')].at(-1)"
GROWING = "document.querySelector('.growing > .agent')"
MOST = 90_000
STORY = """Here is how to **return an order**. It takes about *three minutes*.

1. Open [your orders](https://example.com/orders) and choose the parcel.
2. Pick a reason; `damaged` and `wrong size` are free of charge.
   - Add a photo if something is broken.
3. Print the label.

| Reason | Cost | Days |
| --- | --- | --- |
| Damaged | free | 2 |
| Changed my mind | 4.95 € | 5 |

The same over the API:

```python
answer = post("https://api.example.com/returns", {"order": 4711, "reason": "damaged"})
print(answer["label"])
```

The label is valid for fourteen days."""
PAPERS = """The parcel left Rotterdam on **Monday** with everything that you need:

- the invoice, in two copies,
- the label for the way back,
- and the form for the customs, which has to be signed before it goes to the office of the country
  of arrival."""
WORDS = " ".join(f"word{number}" for number in range(400))


class Visit:
    """A host with three agents of the account acme, and the way to it, which can be cut."""

    def __init__(self, stage: Stage, client: Client, wire: Relay) -> None:
        self.stage, self.client, self.wire = stage, client, wire
        self._numbers = itertools.count(1)

    async def key(self, user: str = "") -> str:
        """A key of a person of acme; of a new one where none is named."""
        user = user or f"ann{next(self._numbers)}"
        return await self.client.make_key(account="acme", role="account_manager", user=user)

    async def link(self) -> str:
        """The link that the bot gives its admin."""
        (bot,), boss = self.stage.bots, next(iter(self.stage.world.members.persons.values()))
        room = self.stage.world.private(boss, bot)
        said = await self.stage.ask(boss, room, bot, "/page")
        return re.search(r"http://\S+/#[\w-]+", said)[0]  # type: ignore[index]

    def answers(self, user: str, *turns: Turn) -> None:
        """What the model says to a message with these words."""
        self.stage.script.on(*turns, user=user)

    @contextlib.asynccontextmanager
    async def tab(self, browser: Browser, key: str = "") -> AsyncIterator[Tab]:
        """The page of a person who is signed in; at the end it had nothing to complain of."""
        async with browser.tab() as tab:
            await tab.look(1000, 700, dark=False)
            await tab.go(f"{self.wire.url}/")
            await sign_in(tab, key or await self.key())
            tab.complaints.clear()  # the browser notes that nobody was signed in
            yield tab
            assert tab.complaints == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def visit(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Visit]:
    folder = tmp_path_factory.mktemp("page")
    async with staged(folder) as stage:
        furnish(stage)
        async with api_host(stage) as client, wire_to(client.host.url) as wire:
            yield Visit(stage, client, wire)


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Relay]:
    wire = Relay(("127.0.0.1", urlsplit(url).port or 0))
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()


def furnish(stage: Stage) -> None:
    """Three agents of the account acme, with tools, and a bot with an admin."""
    folder = stage.folder
    (folder / "desk.py").write_text(DESK, "utf-8")
    desk = {"command": sys.executable, "args": [str(folder / "desk.py"), str(folder)]}
    stage.agents["mcpServers"] = {"desk": desk}
    for id, approvers in (("clerk", "asker"), ("auditor", "hostAdmins")):
        stage.agents["agents"].append(
            {
                "id": id,
                "name": id.title(),
                "customInstructions": "You are a clerk.",
                "mcpServers": ["desk"],
                "whitelistPatterns": ["mcp:desk:search"],
                "toolPolicy": {"approvers": [approvers]},
            }
        )
    configs: dict[str, dict[str, object]] = {
        "customer-support": {
            "agent_type": "clerk",
            "name": "Customer Support",
            "description": "Answers questions about orders and returns.",
            "capabilities": ["Find an order", "Start a return"],
        },
        "warehouse": {"agent_type": "auditor", "name": "Warehouse"},
        "sales": {"agent_type": "clerk", "name": HOSTILE, "description": HOSTILE},
    }
    write_configs(folder / "configs", configs)
    stage.add_bot("Desk")
    boss = stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "AGENT_CONFIGS_DIR": str(folder / "configs")}


def write_configs(folder: Path, configs: dict[str, dict[str, object]]) -> None:
    for slug, config in configs.items():
        (folder / "acme" / slug).mkdir(parents=True)
        whole = {"account": "acme", "instance_name": slug, **config}
        (folder / "acme" / slug / "config.yaml").write_text(yaml.safe_dump(whole), "utf-8")


async def sign_in(tab: Tab, key: str) -> None:
    await tab.until("!document.querySelector('#sign-in').hidden")
    await tab.click("#key")
    await tab.type(key)
    await tab.key("Enter", 13)
    await tab.until("document.querySelector('#agent-selector').options.length === 3")
    await tab.until("!document.querySelector('#message').disabled")


async def choose(tab: Tab, slug: str) -> None:
    """Choose an agent, as a person does in the list."""
    selector = "document.querySelector('#agent-selector')"
    await tab.run(f"{selector}.value = {json.dumps(slug)}")
    await tab.run(f"{selector}.dispatchEvent(new Event('change'))")
    await tab.until("!document.querySelector('#message').disabled")


async def say(tab: Tab, text: str) -> None:
    await tab.click("#message")
    await tab.type(text)
    await tab.key("Enter", 13)


async def after_leaving(tab: Tab, condition: str) -> None:
    """Return once a condition holds on the page to which this one leads."""
    try:
        await tab.until(condition)
    except AssertionError as error:
        if "navigated" not in str(error):
            raise
        await tab.until(condition)


def shown(text: str, where: str = LAST) -> str:
    """Whether an element shows a text, as JavaScript."""
    return f"{where}?.textContent.includes({json.dumps(text)})"


def count(text: str) -> str:
    """How often the messages show a text, as JavaScript."""
    return (
        f"document.querySelector('#conversations').textContent.split({json.dumps(text)}).length - 1"
    )


async def test_an_answer_grows_while_the_next_message_is_written_and_waits(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("how do I return it", Turn((Text(STORY),), pace=110))
    visit.answers("and the label", Turn((Text("It comes by mail."),)))
    async with visit.tab(browser) as tab:
        await say(tab, "how do I return it?")
        await tab.until("document.querySelector('.typing, .growing .text')")
        length = f"{GROWING}?.querySelector('.text')?.textContent.length"
        await tab.until(f"{length} > 20")
        first = await tab.run(length)
        await tab.until(f"{length} > {first}")
        await say(tab, "and the label?")
        await tab.until("document.querySelector('.waiting .note').textContent.includes('Waiting')")
        await say(tab, "never mind")
        await tab.click(".waiting article:last-child button")
        assert await tab.run("document.querySelector('#message').value") == "never mind"
        assert await tab.run(f"{GROWING} !== null")
        await tab.until(shown("It comes by mail."))
        answer = "[...document.querySelectorAll('[role=log] > .agent')].at(-2)"
        for selector, words in {
            "strong": "return an order",
            "a[target=_blank][rel~=noopener]": "your orders",
            "ol > li > ul > li": "Add a photo if something is broken.",
            "td": "Damaged",
            ".code figcaption span": "python",
        }.items():
            assert await tab.run(f"{answer}.querySelector('{selector}').textContent") == words
        assert not await tab.run(f"{answer}.classList.contains('partial-response')")
        assert await tab.run("document.querySelectorAll('.waiting article, .typing').length") == 0
        loads = "performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"
        paths = set(await tab.run(loads))
        assert "/accounts/acme/agents/customer-support/stream" in paths
        assert not paths & {"/chat", "/events/stream"}


async def test_the_history_is_there_after_a_reload_and_a_running_answer_goes_on(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("first", Turn((Text("One."),)))
    visit.answers("second", Turn((Text(WORDS),), pace=150))
    async with visit.tab(browser) as tab:
        await say(tab, "first")
        await tab.until(shown("One."))
        await say(tab, "second")
        await tab.until(shown("word20 ", GROWING))
        await tab.type("not sent yet")
        await tab.call("Page.reload")
        await tab.until(shown("word399", LAST), 60)
        assert await tab.run(count("word399")) == 1
        assert await tab.run(f"{LAST}.querySelector('.text').textContent") == WORDS
        people = "[...document.querySelectorAll('.person .bubble')].map((one) => one.textContent)"
        assert await tab.run(people) == ["first", "second"]
        assert await tab.run("document.querySelector('#message').value") == "not sent yet"
        await tab.call("Page.reload")
        await tab.until(shown("word399"))
        assert await tab.run(people) == ["first", "second"]
        await tab.click("#new-chat")
        await tab.until("document.querySelector('[role=log]').childElementCount === 0")


async def test_nothing_is_missing_and_nothing_twice_when_the_connection_breaks(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("long way", Turn((Text(WORDS),), pace=250))
    async with visit.tab(browser) as tab:
        await say(tab, "long way")
        for number in (15, 60, 110):
            await tab.until(shown(f"word{number} ", GROWING))
            visit.wire.cut()
        await tab.until(shown("word399"), 60)
        assert await tab.run(f"{LAST}.querySelector('.text').textContent") == WORDS
        assert not await tab.run("document.querySelector('.partial-response, .connection')")
        cut = [one for one in tab.complaints if "/stream" in one and "net::ERR" in one]
        assert len(cut) >= 3
        tab.complaints[:] = [one for one in tab.complaints if one not in cut]


async def test_an_answer_that_a_killed_host_left_is_marked_and_comes_anew_from_the_next(
    browser: Browser, tmp_path: Path
) -> None:
    key = "k" * 40
    acme = {f"API_KEYS__0__{name}": text for name, text in (("KEY", key), ("ACCOUNT", "acme"))}
    async with staged(tmp_path) as stage, browser.tab() as tab:
        furnish(stage)
        other = Turn((Text(WORDS.replace("word", "step")),), pace=100)
        stage.script.on(Turn((Text(WORDS),), pace=60), other)
        host = await stage.process(**acme, API_KEYS__0__ROLE="instance_manager")
        async with wire_to(str(host.address)) as wire:
            await tab.go(f"{wire.url}/")
            await sign_in(tab, key)
            await say(tab, "which way?")
            await tab.until(shown("word9 ", GROWING))
            await host.kill()
            wire.shut()
            await tab.until(shown("Connection lost", GROWING))
            await host.start()
            wire.upstream = ("127.0.0.1", urlsplit(str(host.address)).port or 0)
            await wire.reopen()
            await tab.until(shown("step9 ", GROWING), 60)
            await tab.call("Page.reload")
            await tab.until(shown("step9 ", GROWING))
            await tab.until(shown("step399"), 60)
            partial = "document.querySelector('.partial-response')"
            for _ in range(2):
                assert await tab.run(shown("⚠️ Response incomplete", partial))
                assert await tab.run(count("word9 ")) == 1
                assert await tab.run(count("step9 ")) == 1
                await tab.call("Page.reload")
                await tab.until(shown("step399"))


async def test_stop_ends_the_answer_and_keeps_what_was_written(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("for ever", Turn((Text(WORDS),), pace=40))
    async with visit.tab(browser) as tab:
        await say(tab, "for ever")
        await tab.until(shown("word9 ", GROWING))
        await tab.click("#stop")
        await tab.until(shown("Stopped.") + " && document.querySelector('#stop').hidden")
        assert await tab.run(shown("word9 "))
        assert not await tab.run(shown("word399"))
        assert not await tab.run(f"{LAST}.classList.contains('partial-response')")


async def test_a_partial_answer_stays_and_says_that_its_end_is_missing(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("where is it", *[Turn((Text(WORDS),), fault=Cut(events=30))] * 20)
    async with visit.tab(browser) as tab:
        await say(tab, "where is it?")
        await tab.until("document.querySelector('.error-notice')")
        toast = "document.querySelector('.toast')?.textContent"
        assert await tab.run(toast) == "Connection error. Please try again."
        partial = "document.querySelector('.partial-response')"
        notice = f"{partial}?.querySelector('div.error-notice')?.textContent"
        assert await tab.run(notice) == "⚠️ Response incomplete"
        assert await tab.run(shown("word1 ", partial))
        assert await tab.run("document.querySelectorAll('.typing').length") == 0
        await tab.key("Escape", 27)
        assert not await tab.run(toast)
        await tab.call("Page.reload")
        await tab.until(f"{notice} === '⚠️ Response incomplete'")
        assert await tab.run(shown("word1 ", partial))


async def test_an_approval_is_a_card_that_runs_the_tool_only_when_approved(
    visit: Visit, browser: Browser
) -> None:
    evil = '"><img src=x onerror="window.planted=1">'
    cancel = Call("desk__cancel_order", {"order": evil + " and " * 60})
    visit.answers("cancel it", Turn((Text("I will."), cancel)), Turn((Text("Done."),)))
    visit.answers("not this", Turn((cancel,)), Turn((Text("Then not."),)))
    visit.answers("ask again", Turn((cancel,)))
    visit.answers("leave it", Turn((Text("As you like."),)))
    async with visit.tab(browser) as tab:
        await say(tab, "cancel it")
        await tab.until("document.querySelector('#chat .approval .primary')")
        card = "[...document.querySelectorAll('#chat .approval')].at(-1)"
        assert await tab.run(shown("onerror", card))
        assert await tab.run(f"{card}.querySelectorAll('img').length") == 0
        assert await tab.run("document.querySelector('#stop').hidden")
        hidden = (
            f"{card}.querySelector('pre').scrollWidth - {card}.querySelector('pre').clientWidth"
        )
        assert await tab.run(hidden) == 0
        await tab.click("#chat .approval .primary")
        await tab.until(shown("Done."))
        await tab.until(shown("✓ Approved", card))
        await say(tab, "not this")
        await tab.until(f"{card}.querySelector('.danger')")
        await tab.call("Page.reload")
        await tab.until(f"{card}?.querySelector('.danger')")
        await tab.run(f"{card}.querySelector('input').focus()")
        await tab.type("too early")
        await tab.hit(f"{card}.querySelector('.danger')")
        await tab.until(shown("Then not."))
        await tab.until(shown("✗ Denied: too early", card))
        await say(tab, "ask again")
        await tab.until(f"{card}.querySelector('.danger')")
        await say(tab, "leave it")
        assert await tab.run("document.querySelectorAll('.waiting article').length") == 0
        await tab.until(shown("As you like."))
        assert await tab.run(shown("you wrote instead", card))
        assert await tab.run("typeof window.planted") == "undefined"


async def test_a_tool_that_needs_approval_is_said_to_be_used_once_it_was_approved(
    visit: Visit, browser: Browser
) -> None:
    refund = Call("desk__refund", {"order": "4716"})
    asking = [asyncio.Event(), asyncio.Event()]
    yes, no = (Turn((refund,), fault=Stall(events=3, gate=gate)) for gate in asking)
    visit.answers("yes to this", yes, Turn((Text("Done."),)))
    visit.answers("no to this", no, Turn((Text("Then not."),)))
    tools = "[...document.querySelectorAll('#chat .tool')].map((one) => one.textContent)"
    async with visit.tab(browser) as tab:
        await say(tab, "yes to this")
        await tab.until(f"{tools}.includes('Using desk: refund …')")
        asking[0].set()
        await tab.until("document.querySelector('#chat .approval .primary')")
        assert await tab.run(tools) == []
        await tab.click("#chat .approval .primary")
        await tab.until(f"{tools}.includes('Using desk: refund …')")
        (visit.stage.folder / "paid").touch()
        await tab.until(shown("Done."))
        assert await tab.run(tools) == ["Used desk: refund"]
        await tab.click("#new-chat")
        await tab.until("document.querySelector('[role=log]').childElementCount === 0")
        await say(tab, "no to this")
        await tab.until(f"{tools}.includes('Using desk: refund …')")
        asking[1].set()
        await tab.until("document.querySelector('#chat .approval .danger')")
        await tab.click("#chat .approval .danger")
        await tab.until(shown("Then not."))
        assert await tab.run(tools) == []


async def test_a_question_that_was_left_elsewhere_leaves_the_page_free_for_the_next_message(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("left elsewhere", Turn((Call("desk__cancel_order", {"order": "4715"}),)))
    visit.answers("instead of that", Turn((Text("Another answer."),)))
    visit.answers("go on", Turn((Text("I am here."),)))
    key = await visit.key()
    async with visit.tab(browser, key) as tab:
        await say(tab, "left elsewhere")
        await tab.until("document.querySelector('#chat .approval .primary')")
        session = "JSON.parse(sessionStorage.getItem('switchboard.session.acme/customer-support'))"
        path = "/accounts/acme/agents/customer-support/chat"
        body = {"message": "instead of that", "session_id": await tab.run(session)}
        said = await visit.client.ask("POST", path, key, json=body)
        assert said.json["response"] == "Another answer."
        read = "performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)"
        await tab.until(f"{read}.includes('{path.replace('chat', 'stream')}')")  # to its end
        await tab.click("#chat .approval .primary")
        await tab.until(shown("This question is no longer open"))
        await tab.until("document.querySelector('#state').textContent === ''")
        assert await tab.run("document.querySelector('#stop').hidden")
        await say(tab, "go on")
        await tab.until(shown("I am here."))
        tab.complaints[:] = [one for one in tab.complaints if "409" not in one]


async def test_messages_behind_a_question_are_sent_when_somebody_writes_instead_of_answering(
    visit: Visit, browser: Browser
) -> None:
    gate = asyncio.Event()
    ask = Turn((Call("desk__cancel_order", {"order": "4714"}),), gate=gate)
    visit.answers("cancel later", ask)
    visit.answers("one more", Turn((Text("The first."),)))
    visit.answers("then this", Turn((Text("The second."),)))
    async with visit.tab(browser) as tab:
        await say(tab, "cancel later")
        await say(tab, "one more")
        await tab.until("document.querySelector('.waiting article')")
        gate.set()
        await tab.until("document.querySelector('#chat .approval .primary')")
        await say(tab, "then this")
        await tab.until(shown("The second."))
        assert await tab.run(count("The first.")) == 1
        card = "document.querySelector('#chat .approval')"
        assert await tab.run(shown("you wrote instead", card))


async def test_what_people_models_and_operators_write_is_only_text(
    visit: Visit, browser: Browser
) -> None:
    evil = "<img src=x onerror='window.planted=1'> [x](javascript:window.planted=1)"
    visit.answers("repeat", Turn((Text(evil),)))
    key = await visit.key()
    async with visit.tab(browser, key) as tab:
        names = "[...document.querySelectorAll('option')].map((one) => one.value)"
        assert await tab.run(names) == ["customer-support", "sales", "warehouse"]
        await choose(tab, "sales")
        await tab.until(
            shown("<script>", "document.querySelector('#conversations > :not([hidden])')")
        )
        await say(tab, f"repeat {evil}")
        await tab.until(shown("onerror"))
        inside = "[...document.querySelectorAll('#chat :is(img, script, a, b, iframe)')]"
        assert await tab.run(f"{inside}.map((one) => one.outerHTML)") == []
        names = "[...document.querySelectorAll('option')].map((one) => one.textContent)"
        assert "\u202e" not in "".join(await tab.run(names))
        assert await tab.run("typeof window.planted") == "undefined"
        loads = "performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)"
        assert set(await tab.run(loads)) == {visit.wire.url}
        assert await tab.run("localStorage.length") == 0
        kept = await tab.run("JSON.stringify(Object.entries(sessionStorage)) + document.cookie")
        assert key not in kept
        assert "switchboard_key" not in kept


async def test_a_link_of_the_bot_signs_in_once_and_leaves_the_address(
    visit: Visit, browser: Browser
) -> None:
    link = await visit.link()
    async with browser.tab() as tab, browser.tab() as other:
        await tab.call("Page.navigate", url=link)
        await tab.until("document.querySelector('#who-name')?.textContent === 'Boss'")
        assert await tab.run("[location.hash, history.length < 3]") == ["", True]
        await other.call("Page.navigate", url=link)
        await other.until(
            "document.querySelector('#sign-in-notice')?.textContent.includes('new one')"
        )
        assert await other.run("location.hash") == ""
        await tab.click("#who")
        await tab.click("#sign-out")
        await after_leaving(tab, "!document.querySelector('#sign-in').hidden")
        assert await tab.run("Object.keys(sessionStorage)") == ["switchboard.tab"]
        assert await tab.run("fetch('/session').then((answer) => answer.status)") == 401


async def test_a_session_that_ends_asks_for_a_key_and_loses_no_text(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("not lost", Turn((Text("Here you are."),)))
    notice = "document.querySelector('#sign-in-notice').textContent"
    key = await visit.key("ben")
    async with browser.tab() as tab:
        await tab.look(1000, 700, dark=False)
        await tab.go(f"{visit.wire.url}/")
        await sign_in(tab, key)
        await visit.client.revoke(key)
        await say(tab, "not lost")
        await tab.until(f"{notice}.includes('has ended')")
        await tab.type("no-key-of-this-host-0123456789abcdef")
        await tab.key("Enter", 13)
        await tab.until(f"{notice}.includes('does not know')")
        await sign_in(tab, await visit.key("ben"))
        await tab.until(shown("Here you are."))
        assert await tab.run(count("not lost")) == 1


async def test_a_person_who_may_not_answer_is_told_who_may(visit: Visit, browser: Browser) -> None:
    visit.answers("audit it", Turn((Call("desk__cancel_order", {"order": "4713"}),)))
    async with visit.tab(browser) as tab:
        await choose(tab, "warehouse")
        await say(tab, "audit it")
        await tab.click("#chat .approval .primary")
        card = "document.querySelector('#chat .approval')"
        await tab.until(shown("Only an admin of the account may answer this.", card))
        assert await tab.run(f"{card}.querySelector('.primary') !== null")
        await tab.call("Page.reload")
        await tab.until("document.querySelector('#agent-selector').value === 'warehouse'")
        await tab.until(shown("4713", card))
        tab.complaints[:] = [one for one in tab.complaints if "403" not in one]


async def test_a_question_of_a_tab_that_was_closed_can_still_be_answered(
    visit: Visit, browser: Browser
) -> None:
    visit.answers(
        "and leave", Turn((Call("desk__cancel_order", {"order": "4712"}),)), Turn((Text("Ok."),))
    )
    key = await visit.key()
    async with visit.tab(browser, key) as tab:
        await say(tab, "and leave")
        await tab.until("document.querySelector('#chat .approval .primary')")
    async with visit.tab(browser, key) as tab:
        await tab.until("document.querySelector('#questions-button').textContent === '1 question'")
        await tab.click("#questions-button")
        await tab.until(shown("4712", "document.querySelector('#questions')"))
        assert await tab.run(shown("acme/customer-support", "document.querySelector('#questions')"))
        await tab.click("#questions .primary")
        await tab.until(shown("✓ Approved", "document.querySelector('#questions .approval')"))
        await tab.key("Escape", 27)
        await tab.until("document.querySelector('#questions-button').hidden")


async def test_each_tab_has_its_own_conversation_and_so_has_a_copy_of_a_tab(
    visit: Visit, browser: Browser
) -> None:
    visit.answers("tab one", Turn((Text("To the first."),)))
    session = "sessionStorage.getItem('switchboard.session.acme/customer-support')"
    empty = "document.querySelector('[role=log]')?.childElementCount === 0"
    async with visit.tab(browser) as one:
        await say(one, "tab one")
        await one.until(shown("To the first."))
        await one.run("void window.open('/')")
        two = await browser.popup_of(one)
        await two.until(f"{empty} && !document.querySelector('#message').disabled")
        assert await one.run(session)
        assert await two.run(session) is None


NAMELESS = """[...document.querySelectorAll(
  'button, a[href], input, textarea, select, [role=region]'
)]
  .filter((each) => each.checkVisibility() && !each.ariaLabel && !each.labels?.length)
  .filter((each) => !each.textContent.trim())
  .map((each) => each.outerHTML)"""


async def test_everything_can_be_reached_by_keys_and_has_a_name(
    visit: Visit, browser: Browser
) -> None:
    async with browser.tab() as tab:
        await tab.look(1000, 700, dark=False)
        await tab.go(f"{visit.wire.url}/")
        await tab.until("!document.querySelector('#sign-in').hidden")
        assert await tab.run(NAMELESS) == []
        await sign_in(tab, await visit.key())
        assert await tab.run(NAMELESS) == []
        await tab.call("Page.reload")
        await tab.until("!document.querySelector('#message').disabled")
        reached = []
        for _ in range(9):
            await tab.key("Tab", 9)
            reached.append(await tab.run("document.activeElement.id"))
        assert reached[:6] == ["skip", "agent-selector", "new-chat", "who", "scroll", "message"]
        await tab.run("document.querySelector('#skip').focus()")
        await tab.key("Enter", 13)
        assert await tab.run("[document.activeElement.id, location.hash]") == ["message", ""]
        await tab.type("one")
        await tab.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            modifiers=8,
            text="\r",
        )
        await tab.type("two")
        assert await tab.run("document.querySelector('#message').value") == "one\ntwo"
        live = "document.querySelector('[role=log]').ariaLive"
        assert await tab.run(live) == "polite"
        assert await tab.run("document.querySelector('.growing').ariaLive") == "off"


WIDE = """[...document.querySelectorAll('#bar *, #chat *')]
  .filter((one) => one.checkVisibility() && !one.closest('pre, .table, .unseen'))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML)"""


async def test_it_fits_a_phone_and_a_desk_in_light_and_dark(
    visit: Visit, browser: Browser, tmp_path: Path
) -> None:
    folder, gate = IMAGES if SAVED else tmp_path, asyncio.Event()
    visit.answers("Which papers", *[Turn((Text(PAPERS),), fault=Cut(events=12))] * 20)
    story = Turn((Text(STORY),), fault=Stall(19, gate))
    visit.answers("How do I return", Turn((Call("desk__search", {"words": "return"}),)), story)
    visit.answers("And who pays", Turn((Text("W" * 400),)))
    async with visit.tab(browser) as tab:
        await tab.look(780, 540, dark=False)
        await say(tab, "Which papers come with my order?")
        await tab.until("document.querySelector('.error-notice')")
        await shot(tab, folder / "page-partial.png", MOST)
        await tab.key("Escape", 27)
        await tab.click("#new-chat")
        await say(tab, "How do I return an order?")
        await tab.until(shown("Using desk: search …", f"{GROWING}?.querySelector('.tool')"))
        (visit.stage.folder / "found").touch()
        await tab.until(f"{GROWING}?.querySelector('td')")
        await say(tab, "And who pays for it?")
        await tab.look(780, 620, dark=False)
        await tab.until("document.querySelector('.waiting article')")
        assert await tab.run(shown("Used desk: search", f"{GROWING}.querySelector('.tool')"))
        await shot(tab, folder / "page-light.png", MOST)
        await tab.look(390, 680, dark=True, phone=True)
        await shot(tab, folder / "page-phone.png", MOST)
        gate.set()
        await tab.until(shown("W" * 400))
        for width in (360, 390, 1440):
            await tab.look(width, 640, dark=False, phone=width < 400)
            assert await tab.run("document.documentElement.scrollWidth") <= width
            assert await tab.run(WIDE) == []
