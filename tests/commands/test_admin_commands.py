"""Commands that change something, handled twice as after a crash: they do it once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.access.command import PeopleContext
from bot.access.rules import Access
from bot.access.store import AccessRequest
from bot.command import CommandContext, Commands, Reply, escape_markdown
from bot.commands.bots import BotCommands
from bot.commands.host import AdminContext, AgentTools, BotState, ToolsOfAgents
from bot.commands.table import all_commands
from bot.menus.menu import View
from bot.messages import Address, Attachment, Command, IncomingMessage, QuotedMessage, User
from bot.ops.shown_once import ShownOnce
from bot.store.bots import NewBotOffers
from bot.store.key_uses import KeyUse
from bot.telegram.markdown.renderer import render
from registry.audit import Change
from registry.binding import BotIdentity
from registry.bot_edits import BotEdits
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import RegistryUnavailable
from registry.history import History
from registry.preset_rules import AgentToolNames
from registry.roles import OPERATOR_ACTOR, Target
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

BOT = BotIdentity("a" * 64, 123, "DemoBot")
JACK = json.dumps({"id": "jack", "name": "Jack *the* first_", "mcpServerEndpoints": []})


@pytest.fixture
async def catalog(store: RedisStore) -> AsyncIterator[Catalog]:
    catalog = Catalog(FileSource(None), store)
    await catalog.open()
    yield catalog
    await catalog.close()


@pytest.fixture
def commands(catalog: Catalog) -> Commands:
    return with_desk(catalog)


def with_desk(catalog: Catalog) -> Commands:
    """Every command over this catalog."""
    report: dict[str, Any] = {
        "status": "healthy",
        "bots": [],
        "model": {"state": "unused"},
        "servers": [],
        "problems": [],
    }
    desk = AdminContext(
        History(catalog),
        LlmConfiguration(model="m"),
        lambda _llm: [],
        lambda: [BotState(BOT, "polling")],
        lambda: report,
        lambda _agent: [],
        ToolsOfAgents(no_tools, no_names),
    )
    people = PeopleContext(Access(), nobody_waits, desk.audit_refusal)
    return all_commands(desk, people, never_used, no_page, ShownOnce(), NO_STORE, no_bots(desk))


def no_bots(desk: AdminContext) -> BotCommands:
    """The commands on bots where no bot can be added."""

    async def ask(_token: str, _method: str, _params: Mapping[str, Any]) -> Any:
        return True

    return BotCommands(desk, BotEdits(desk.catalog, None, ask), NewBotOffers(NO_STORE))


async def nobody_waits() -> list[AccessRequest]:
    return []


NO_STORE: Any = None
"""The commands that are run here need none."""


async def no_tools(_agent: object, _context: object) -> AgentTools:
    return AgentTools()


async def no_names(_agent: str, _account: str) -> AgentToolNames:
    return AgentToolNames()


async def never_used(_ids: object) -> dict[str, KeyUse]:
    return {}


async def no_page(_context: object) -> None:
    return None


async def audit_length(catalog: Catalog) -> int:
    return len(await History(catalog).host_audit(OPERATOR_ACTOR, count=1000))


def context(
    text: str, key: str, catalog: Catalog, quoted: QuotedMessage | None = None
) -> CommandContext:
    """A command of an admin in the private chat 9."""
    name, _, arguments = text.removeprefix("/").partition(" ")
    incoming = IncomingMessage(
        Address(BOT.id, 9),
        User(9, "Boss"),
        message=1,
        sent_at=0,
        command=Command(name, arguments),
        quoted=quoted,
    )

    async def fetch(_file: str, _most: int) -> bytes:
        return JACK.encode()

    async def nothing(*_words: str) -> Any:
        return {}

    return CommandContext(
        incoming,
        None,
        admin=True,
        key=key,
        bot=BOT,
        resolution=catalog.snapshot().resolve(BOT, 9, 9),
        fetch=fetch,
        grants=nothing,
        revoke_grant=nothing,
        spent=nothing,
        spent_by=nothing,
    )


async def said(
    commands: Commands, catalog: Catalog, text: str, key: str, quoted: QuotedMessage | None = None
) -> str:
    """What a command answers."""
    row = commands.find(text.removeprefix("/").split()[0])
    assert row is not None
    intent = await row.function(context(text, key, catalog, quoted))
    assert isinstance(intent, Reply | View)
    return intent.text


async def test_every_change_is_made_once_and_answered_alike_however_often_it_is_handled(
    commands: Commands, catalog: Catalog
) -> None:
    changes = [
        f"/addagent {JACK}",
        f"/addagent replace {JACK.replace('first', 'second')}",
        "/bind jack",
        "/default jack",
        "/unbind",
        "/default none because of #OPS-12",
        "/restore jack 1",
        "/restore default 1",
        "/rollback 7",
        "/roles grant 7 instance_manager",
        "/roles revoke 7 instance_manager",
        "/keys create account acme role instance_admin",
        "/newinstance default/shop sales_agent",
        "/editinstance default/shop temperature 0.3",
        '/editinstance default/shop {"agent_type": "sales_agent", "llm": {"temperature": 0.4}}',
        "/bind default/shop",
        "/deleteinstance default/shop",
        "/deleteagent jack",
    ]
    for number, text in enumerate(changes):
        first = await said(commands, catalog, text, f"bot:123:{number}-0")
        before = await audit_length(catalog)
        again = await said(commands, catalog, text, f"bot:123:{number}-0")
        assert again == first
        assert "Nothing" not in first
        assert await audit_length(catalog) == before == number + 1


class Forgetful(RedisStore):
    """A store whose answers get lost after the change was made."""

    writes = 0

    async def write(
        self, key: str, value: str | None, expected: str | None, change: Change, target: Target
    ) -> int:
        await super().write(key, value, expected, change, target)
        self.writes += 1
        raise RegistryUnavailable("no answer came")


async def test_a_change_whose_answer_was_lost_is_made_once_and_answered(redis: Redis) -> None:
    store = Forgetful(redis)
    catalog = Catalog(FileSource(None), store)
    await catalog.open()
    rows = with_desk(catalog)
    changes = [f"/addagent {JACK}", "/bind jack", "/default jack", "/unbind", "/deleteagent jack"]
    changes += ["/newinstance default/shop sales_agent", "/editinstance default/shop name Shop"]
    for number, text in enumerate(changes):
        assert "Nothing" not in await said(rows, catalog, text, f"bot:123:{number}-0")
    assert store.writes == await audit_length(catalog) == len(changes)
    await catalog.close()


async def test_the_same_entry_id_on_two_lines_is_two_changes(
    commands: Commands, catalog: Catalog
) -> None:
    await said(commands, catalog, f"/addagent {JACK}", "bot:1:5-0")
    assert "now answers" in await said(commands, catalog, "/bind jack", "bot:2:5-0")
    assert await audit_length(catalog) == 2


async def test_a_file_that_is_replied_to_is_read(commands: Commands, catalog: Catalog) -> None:
    quoted = QuotedMessage(file=Attachment("F1", "jack.json", 10))
    assert "Created agent" in await said(commands, catalog, "/addagent", "k", quoted)


async def test_names_are_shown_as_they_are_written(commands: Commands, catalog: Catalog) -> None:
    await said(commands, catalog, f"/addagent {JACK}", "k")
    shown = render(await said(commands, catalog, "/agents", "l"))
    assert "Jack *the* first_" in shown.text


@pytest.mark.parametrize("command", ["/bind", "/unbind x"])
async def test_what_may_be_left_out_is_shown_in_its_brackets(
    commands: Commands, catalog: Catalog, command: str
) -> None:
    shown = render(await said(commands, catalog, command, "k"))
    assert "[bot | chat ID | user ID] [everywhere]; without a target" in shown.text


async def test_help_tells_what_stands_behind_a_command(
    commands: Commands, catalog: Catalog
) -> None:
    shown = render(await said(commands, catalog, "/help", "k"))
    assert "/addagent [replace] [because …] JSON – add or replace an agent" in shown.text
    assert "/approvals [revoke NUMBER | revoke all] – show" in shown.text


def test_plain_text_stays_as_it_is_whatever_stands_in_it() -> None:
    odd = r"(1 to a-z, 0-9) [a](http://b) \(x\-y\) \[c \| d\] $5 and $6 &lt; **b** _i_ `c` <d> #e"
    shown = render(escape_markdown(odd))
    assert (shown.text, shown.entities) == (odd, ())


async def test_an_agent_is_found_by_its_id_in_any_case(
    commands: Commands, catalog: Catalog
) -> None:
    await said(commands, catalog, f"/addagent {JACK}", "k")
    assert "(`jack`)" in await said(commands, catalog, "/agent Jack", "l")


async def test_a_long_list_ends_and_says_how_much_is_left(
    commands: Commands, catalog: Catalog
) -> None:
    for number in range(60):
        text = json.dumps({"id": f"a{number}", "name": f"A{number}", "mcpServerEndpoints": []})
        await said(commands, catalog, f"/addagent {text}", f"k{number}")
    assert "60 agents in all." in await said(commands, catalog, "/agents", "l")
    assert "`a7`" in await said(commands, catalog, "/agents a7", "l")


REFUSED = [
    ("/addagent", "Send the agent's JSON"),
    ("/addagent {", "Nothing was changed"),
    ("/addagent replace " + JACK, "no agent 'jack' to update"),
    ("/agent nobody", "There is no agent"),
    ("/agent", "Which agent?"),
    ("/deleteagent", "Which agent?"),
    ("/bind jack user -5", "is not valid"),
    ("/bind jack user 99999999999999999999", "takes a numeric id; /id shows it"),
    ("/unbind user -5", "Write /unbind"),
    ("/unbind here", "Write /unbind"),
    ("/instance", "Which instance?"),
    ("/instance acme/nobody", "There is no agent instance"),
    ("/instances acme", "no agent instances in account `acme` that you may see"),
    ("/newinstance acme", "Write /newinstance"),
    ("/newinstance default/x nobody", "no template and no agent type"),
    ("/newinstance default/x {", "Nothing was changed"),
    ("/editinstance default/x name X", "There is no agent instance"),
    ("/deleteinstance default/x", "There is no agent instance"),
    ("/bind acme/nobody", "There is no agent instance"),
    ("/versions", "Write /versions"),
    ("/versions nobody", "There is no agent"),
    ("/versions binding chatid:5", "There never was"),
    ("/diff jack 1 two", "Write /diff"),
    ("/diff jack 1 2", "There is no agent"),
    ("/restore jack", "Write /restore"),
    ("/restore jack 3", "has no revision 3"),
    ("/audit a b", "Write /audit"),
    ("/audit nobody", "There is no such record"),
    ("/rollback x", "Write /rollback"),
    ("/rollback 77", "There is no audit record 77"),
    ("/roles grant", "Write /roles"),
    ("/roles grant 7", "Write /roles"),
    ("/roles grant 7 boss", "There is no role boss"),
    ("/roles grant 1087968824 instance_manager", "everybody who writes in a group's name"),
    ("/roles grant @ann instance_manager", "does not name a person"),
    ("/roles grant 7 instance_manager host", "is not a role of the whole host"),
    ("/roles grant 7 instance_manager for nike", "for is not valid here"),
    ("/roles revoke 7 instance_manager", "is not `instance_manager`"),
    ("/keys make", "Write /keys"),
    ("/keys create account acme", "needs an account and a role"),
    ("/keys create account acme role boss", "There is no role boss"),
    ("/keys create account ACME! role instance_admin", "is not a valid id"),
    ("/keys create account acme role instance_admin expires soon", "is not a length of time"),
    ("/keys revoke abc", "There is no key"),
]


async def test_what_cannot_be_done_is_said_with_its_cure(
    commands: Commands, catalog: Catalog
) -> None:
    answers = [await said(commands, catalog, text, f"k{n}") for n, (text, _) in enumerate(REFUSED)]
    wrong = [
        (text, answer)
        for (text, words), answer in zip(REFUSED, answers, strict=True)
        if words not in answer.replace("\\", "")
    ]
    assert wrong == []
    assert catalog.snapshot().agents == {}
    assert await audit_length(catalog) == 0
