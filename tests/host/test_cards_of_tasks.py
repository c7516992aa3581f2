"""What a turn over HTTP asks, on cards in the private chats of those who may answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.app import App
from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from tests.host.replicas import Replica
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE, ToolAgent, buttons, data, write
from tests.http.accounts import write_instance
from tests.http.api import OPERATOR, OPERATOR_KEY, Client, client_of
from tests.state_page import compared_with

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXECUTE = "/api/v1/agent/execute"
INSTANCE = 'agent_type: "clerk"\naccount: "acme"\ninstance_name: "desk"\n'


@dataclass
class Office:
    """A bot whose clerk asks the host's admins; two of them, and a person who is none."""

    stage: Stage
    agent: ToolAgent = field(init=False)

    def __post_init__(self) -> None:
        stage = self.stage
        self.agent = ToolAgent(stage, toolPolicy={"approvers": ["hostAdmins"]})
        self.boss, self.deputy, self.ann = map(stage.person, ("Boss", "Deputy", "Ann"))
        self.bob = stage.person("Bob")
        ask_bob = {"mcpServers": ["desk"], "toolPolicy": {"approvers": [self.bob.id]}}
        stage.bot("Named", **ask_bob)
        stage.bot("Asker", mcpServers=["desk"])
        brief = {"approvers": ["hostAdmins"], "approvalMinutes": 0.03}
        stage.bot("Brief", mcpServers=["desk"], toolPolicy=brief)
        builder = {"id": "builder", "name": "Builder", "internalToolsets": ["host-admin"]}
        asks = {"mcpServers": [], "toolPolicy": {"approvers": ["hostAdmins"]}}
        stage.agents["agents"].append(builder | asks)
        admins = f"{self.boss.id},{self.deputy.id}"
        stage.environ |= {**OPERATOR, "ADMINS": admins, "SWEEP_SECONDS": "0.3"}
        folder = stage.folder / "agent_configs"
        write_instance(folder, "acme", "desk", INSTANCE)
        stage.environ["AGENT_CONFIGS_DIR"] = str(folder)
        stage.script.on("Hello.", user="hello", again=True)

    @property
    def bot(self) -> Bot:
        return self.agent.bot

    def room(self, person: Person) -> Room:
        return self.agent.room(person)

    async def greet(self) -> None:
        """All four have written to the bot."""
        for person in (self.boss, self.deputy, self.ann, self.bob):
            await self.stage.ask(person, self.room(person), self.bot, "hello")

    def cards(self, person: Person, about: str) -> list[Message]:
        """The messages in a person's chat that show a question of a turn."""
        mine = self.room(person).messages.values()
        return [m for m in mine if m.author == self.bot.id and about in m.text]

    async def card(self, person: Person, about: str) -> Message:
        await self.agent.until(lambda: bool(self.cards(person, about)))
        (card,) = self.cards(person, about)
        return card

    async def closed(self, person: Person, card: Message) -> str:
        return await self.agent.closed(self.room(person), card)

    async def press(self, person: Person, card: Message, sent: str) -> str:
        """The word that is shown after a press with this data, which the card may lack by now."""
        pressed = self.stage.world.press(self.bot, person, self.room(person), card, sent)
        return await self.agent.answered(pressed)


@dataclass
class Front:
    """The desk, and a client of its host."""

    desk: Office
    client: Client
    host: App

    async def begin(self, text: str, agent: str = "clerk") -> dict[str, Any]:
        """A task that waits for people to allow what it writes."""
        self.desk.stage.script.on(write(text), "It is written.", user=f"please {text}")
        body = {"agent_type": agent, "task": f"please {text}", "user_id": "ida"}
        answer = await self.client.ask("POST", EXECUTE, json=body)
        assert (answer.status, answer.json["status"]) == (202, "suspended")
        return dict(answer.json)

    async def status(self, task: dict[str, Any], wanted: str) -> None:
        await self.client.until_task(task["task_id"], wanted, seconds=PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with staged(tmp_path_factory.mktemp("cards")) as stage:
        desk = Office(stage)
        async with desk.agent.host() as host, client_of(host) as client:
            await desk.greet()
            yield Front(desk, client, host)


async def test_once_on_an_admins_card_runs_the_call_and_the_late_press_of_another_is_told(
    front: Front,
) -> None:
    desk = front.desk
    task = await front.begin("first")
    mine = await desk.card(desk.boss, task["task_id"])
    other = await desk.card(desk.deputy, task["task_id"])
    for card in (mine, other):
        assert card.text.startswith("May I do this?")
        assert "first" in card.text
        assert "Asked over HTTP by ida" in card.text
        assert f"(account default), in clerk, task {task['task_id']}." in card.text
        assert buttons(card) == ["Once", "Deny"]
    assert desk.agent.done == []
    sent = data(other)
    assert await desk.press(desk.boss, mine, data(mine)[0]) == "Allowed once."
    for person, card in ((desk.boss, mine), (desk.deputy, other)):
        assert "✓ allowed once by Boss" in await desk.closed(person, card)
        assert task["task_id"] in desk.room(person).messages[card.id].text
    await front.status(task, "completed")
    assert desk.agent.done == ["write first"]
    told = await desk.press(desk.deputy, other, sent[1])
    assert told == "Already answered: ✓ allowed once by Boss"
    assert await desk.press(desk.boss, mine, sent[0]) == "Allowed once."  # a repeat
    assert desk.agent.done == ["write first"]
    for person in (desk.boss, desk.deputy):
        assert len(desk.cards(person, task["task_id"])) == 1
    assert desk.cards(desk.ann, task["task_id"]) == desk.cards(desk.bob, task["task_id"]) == []
    found, wrong = await compared_with(front.host.store.redis)
    assert "approval:cards:<nonce>" in found
    assert not [one for one in wrong if one.startswith("approval:")]


async def test_a_long_change_is_sent_whole_before_the_card(front: Front) -> None:
    desk, long = front.desk, "Be kind to every guest. " * 300 + "Give them the keys."
    key = await front.client.make_key(role="spokestack_engineer", scope="host", user="eli")
    change = {"agent": "padded", "new": True, "changes": {"description": long}}
    call = turn(Call("skill__draft_agent", change))
    desk.stage.script.on(call, "It is drafted.", user="please pad")
    body = {"agent_type": "builder", "task": "please pad"}
    task = (await front.client.ask("POST", EXECUTE, key, json=body)).json
    card = await desk.card(desk.boss, task["task_id"])
    texts = desk.stage.texts(desk.room(desk.boss), desk.bot.id)
    shown = " ".join(" ".join(texts).split())
    assert shown.count("kind to every guest.") == 300
    assert shown.index("Give them the keys.") < shown.index("All of it is in the messages above.")
    assert await desk.press(desk.boss, card, data(card)[1]) == "Denied."
    closed = await desk.closed(desk.boss, card)
    assert "denied by Boss" in closed
    assert len(desk.stage.texts(desk.room(desk.boss), desk.bot.id)) == len(texts)


async def test_deny_on_a_card_is_what_the_task_and_the_agent_hear(front: Front) -> None:
    desk, had = front.desk, len(front.desk.agent.done)
    task = await front.begin("second")
    card = await desk.card(desk.deputy, task["task_id"])
    assert await desk.press(desk.deputy, card, data(card)[1]) == "Denied."
    assert "✗ denied by Deputy" in await desk.closed(desk.deputy, card)
    await front.status(task, "completed")
    assert len(desk.agent.done) == had


async def test_cards_say_so_when_the_question_was_answered_over_http(front: Front) -> None:
    desk, had = front.desk, len(front.desk.agent.done)
    task = await front.begin("third")
    card = await desk.card(desk.boss, task["task_id"])
    sent = data(card)
    path = f"/api/v1/approvals/{task['approval']['id']}"
    no = {"decision": "deny", "reason": "too early"}
    assert (await front.client.ask("POST", path, json=no)).status == 200
    text = await desk.closed(desk.boss, card)
    assert "✗ denied by" in text
    assert "Reason: too early" in text
    assert (await desk.press(desk.boss, card, sent[0])).startswith("Already answered: ✗ denied")
    await front.status(task, "completed")
    assert len(desk.agent.done) == had


async def test_cards_say_so_when_the_task_was_cancelled_or_nobody_answered(front: Front) -> None:
    desk, had = front.desk, len(front.desk.agent.done)
    task = await front.begin("fourth")
    card = await desk.card(desk.boss, task["task_id"])
    await front.client.ask("DELETE", f"/api/v1/agent/task/{task['task_id']}")
    assert "✗ not approved: the conversation went on" in await desk.closed(desk.boss, card)
    late = await front.begin("fifth", "brief")
    card = await desk.card(desk.boss, late["task_id"])
    assert "✗ not approved: nobody answered in time" in await desk.closed(desk.boss, card)
    await front.status(late, "completed")
    assert len(desk.agent.done) == had


async def test_a_press_counts_only_on_the_card_of_a_person_who_may_answer(front: Front) -> None:
    desk, had = front.desk, len(front.desk.agent.done)
    task = await front.begin("sixth")
    card = await desk.card(desk.boss, task["task_id"])
    no_longer, refused = "This question is no longer open.", front.host.counters["refused:card"]
    said = await desk.stage.answer(desk.room(desk.ann), desk.bot)
    for forged in (data(card)[0], data(card)[0].replace("aq:", "ap:")):
        assert await desk.press(desk.ann, said, forged) == no_longer
    for bad in ("aq:", "aq:x:0:o", data(card)[0].replace(":0:", ":9:"), data(card)[0][:-1] + "a"):
        assert await desk.press(desk.boss, card, bad) == no_longer
    assert front.host.counters["refused:card"] == refused + 5
    assert buttons(desk.room(desk.boss).messages[card.id]) == ["Once", "Deny"]
    assert len(desk.agent.done) == had
    await desk.press(desk.boss, card, data(card)[1])
    await front.status(task, "completed")


async def test_only_those_get_cards_whom_the_agent_lets_approve(front: Front) -> None:
    desk = front.desk
    asked = await front.begin("seventh", "asker")
    named = await front.begin("eighth", "named")
    card = await desk.card(desk.bob, named["task_id"])
    for person in (desk.boss, desk.deputy, desk.ann):
        assert desk.cards(person, named["task_id"]) == []
    assert await desk.press(desk.bob, card, data(card)[0]) == "Allowed once."
    await front.status(named, "completed")
    assert desk.agent.done[-1] == "write eighth"
    for person in (desk.boss, desk.deputy, desk.ann, desk.bob):
        assert desk.cards(person, asked["task_id"]) == []


async def test_a_chat_of_another_account_asks_the_hosts_admins_as_well(front: Front) -> None:
    desk = front.desk
    key = await front.client.make_key(account="acme", user="ida")
    desk.stage.script.on(write("ninth"), "It is written.", user="please ninth")
    path = "/accounts/acme/agents/desk/chat"
    answer = await front.client.ask("POST", path, key, json={"message": "please ninth"})
    assert answer.status == 202
    card = await desk.card(desk.boss, "in acme/desk.")
    assert await desk.press(desk.boss, card, data(card)[0]) == "Allowed once."
    await desk.agent.until(lambda: desk.agent.done[-1] == "write ninth")
    assert "✓ allowed once by Boss" in await desk.closed(desk.boss, card)


async def test_a_card_that_a_bot_cannot_deliver_is_sent_by_another_one(front: Front) -> None:
    desk, world = front.desk, front.desk.stage.world
    other = desk.stage.bots[-1]
    room = world.private(desk.bob, other)
    await desk.stage.ask(desk.bob, room, other, "hello")
    world.block(desk.bob, desk.bot)
    task = await front.begin("tenth", "named")

    def cards() -> list[Message]:
        return [m for m in room.messages.values() if task["task_id"] in m.text]

    await world.until(lambda: bool(cards()), PATIENCE)
    (card,) = cards()
    pressed = world.press_button(desk.bob, room, card.id, "Once")
    assert await desk.agent.answered(pressed) == "Allowed once."
    await front.status(task, "completed")
    assert desk.agent.done[-1] == "write tenth"
    await world.until(lambda: "✓ allowed once by Bob" in cards()[0].text, PATIENCE)


@pytest.mark.timeout(90)
async def test_kill_9_around_a_press_and_an_answer_over_http_runs_each_call_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with staged(tmp_path_factory.mktemp("killed")) as stage:
        desk = Office(stage)
        desk.stage.script.on(write("one"), "It is written.", user="please one")
        desk.stage.script.on(write("two"), "It is written.", user="please two")
        host = Replica(stage, "one")
        async with aiohttp.ClientSession() as session:

            async def ask(path: str, body: Any) -> Any:
                headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
                url = f"{host.address}{path}"
                async with session.post(url, json=body, headers=headers) as answer:
                    return await answer.json()

            async with host.running():
                await desk.greet()
                await until(lambda: host.logged("server=desk"))
                tasks = [
                    await ask(EXECUTE, {"agent_type": "clerk", "task": f"please {word}"})
                    for word in ("one", "two")
                ]
                pressed = await desk.card(desk.boss, tasks[0]["task_id"])
                answered = await desk.card(desk.boss, tasks[1]["task_id"])
                path = f"/api/v1/approvals/{tasks[1]['approval']['id']}"
                assert (await ask(path, {"decision": "deny"}))["task_id"] == tasks[1]["task_id"]
                await host.kill()
            desk.agent.press(desk.boss, desk.room(desk.boss), pressed, "Once")
            async with host.running():
                assert "✓ allowed once by Boss" in await desk.closed(desk.boss, pressed)
                await desk.agent.until(lambda: desk.agent.done == ["write one"])
                assert "✗ denied by" in await desk.closed(desk.boss, answered)
                await desk.greet()
                assert desk.agent.done == ["write one"]
                for person in (desk.boss, desk.deputy):
                    assert [len(desk.cards(person, one["task_id"])) for one in tasks] == [1, 1]
