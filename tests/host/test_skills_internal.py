"""Internal skills in a running host: functions of installed packages, called as tools."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.skills.spec import CAUTION
from simulators.messages.turns import Call, Turn, turn
from simulators.testing.stage import PATIENCE
from tests.host.chat import HostChat
from tests.host.stage import ROOT, Stage, health, until
from tests.packages import WORKDAYS, install

SHELF = '''
import asyncio, threading, time
from bot.skills import SkillContext, SkillError, skill

RUNS = []

@skill
async def in_stock(article: str, context: SkillContext) -> dict[str, str]:
    """How many pieces are in stock."""
    RUNS.append(article)
    return {"article": article, "for": context.user_id, "of": context.instance_id,
            "agent": context.agent, "where": context.conversation}

@skill
async def never() -> None:
    """Never ends, and does not heed a cancellation."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            RUNS.append("cancelled")
            if RUNS.count("cancelled") > 1:
                raise

@skill
def thread() -> str:
    """Tells where it runs."""
    return str(threading.current_thread() is threading.main_thread())

@skill
async def known() -> None:
    """Fails as it should."""
    raise SkillError("the shelf is closed until nine", retry=True)

@skill
async def crash() -> None:
    """Fails as it should not."""
    raise ValueError("dsn=postgres://shelf:pw-canary@db/shelf")

@skill
async def leave() -> None:
    """Ends the process, it believes."""
    raise SystemExit(3)

@skill
def large() -> str:
    """Too much."""
    return "x" * 300_000

@skill
def odd() -> object:
    """No JSON."""
    return object()
'''


def own(handler: str, **more: Any) -> dict[str, Any]:
    return {"name": handler, "executionType": "internal", "internalHandler": handler} | more


def told(stage: Stage, request: int = -1) -> list[str]:
    blocks = stage.requests()[request]["messages"][-1]["content"]
    return [one["content"] for one in blocks if one["type"] == "tool_result"]


def unread(words: str) -> dict[str, str]:
    """What is told of an answer that nobody can read."""
    return {"error": f"Outcome unknown: {words}", "suggestion": CAUTION}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return install(tmp_path / "site", "shelf", SHELF)


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(site)
    for module in ("shelf", "other", "broken", "workdays"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return site


async def test_a_package_brings_a_skill_to_a_host_beside_one_that_is_broken(stage: Stage) -> None:
    site = install(stage.folder / "site", "workdays", WORKDAYS.read_text())
    install(site, "broken", "import not_there_at_all")
    bot, ann = stage.bot("Clerk", skills=[own("working_days")]), stage.person("Ann")
    stage.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(site)])
    dates = {"start": "2026-12-21", "end": "2027-01-03", "holidays": ["2026-12-25"]}
    stage.script.on(turn(Call("skill__working_days", dates)), "Nine.")
    host = await stage.process()
    try:
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "how many?")
    finally:
        await host.end()
    assert said == "Nine."
    assert told(stage) == ['{"working_days": 9, "days": 14}']
    (tool,) = [one for one in stage.requests()[0]["tools"] if one["name"] == "skill__working_days"]
    assert tool["description"].startswith("Count the working days")
    assert tool["input_schema"]["required"] == ["start", "end"]
    assert tool["input_schema"]["properties"]["start"]["format"] == "date"
    log = host.log.read_text()
    assert "broken (broken): cannot be imported: ModuleNotFoundError" in log


@pytest.mark.chat(name="Clerk", skills=[own("in_stock")])
async def test_a_skill_is_told_for_whom_it_runs_and_the_model_cannot_say_it(
    installed: Path, chat: HostChat
) -> None:
    fake = {"user_id": "1", "instance_id": "x"}
    chat.script.on(
        turn(
            Call("skill__in_stock", {"article": "nail"}),
            Call("skill__in_stock", {"article": "nail", "context": fake}),
        ),
        "ok",
    )
    room = chat.world.private(chat.person, chat.bot)
    await chat.stage.ask(chat.person, room, chat.bot, "nails?")
    first, second = told(chat.stage)
    where = f"bot:{chat.bot.id}/{room.id}"
    assert json.loads(first) == {
        "article": "nail",
        "for": str(chat.person.id),
        "of": "default",
        "agent": "clerk",
        "where": where,
    }
    assert json.loads(second)["error"].startswith("Invalid input: Additional properties")


async def test_every_end_of_a_function_is_a_result_and_the_host_goes_on(
    stage: Stage, installed: Path
) -> None:
    names = ["thread", "known", "crash", "leave", "large", "odd"]
    skills = [own("never", timeoutSeconds=0.3), *map(own, names)]
    bot, ann = stage.bot("Clerk", skills=skills), stage.person("Ann")
    stage.script.on(turn(*(Call(f"skill__{name}", {}) for name in ["never", *names])), "done")
    stage.script.on("still here")
    async with stage.host():
        room = stage.world.private(ann, bot)
        assert await stage.ask(ann, room, bot, "all") == "done"
        assert [json.loads(one) for one in told(stage)] == [
            {"error": "Request timed out", "retry": True, "suggestion": CAUTION},
            "False",
            {"error": "the shelf is closed until nine", "retry": True},
            {"error": "Skill failed: ValueError", "type": "ValueError"},
            {"error": "Skill failed: RuntimeError", "type": "RuntimeError"},
            unread("Skill answered with more than 200000 bytes"),
            unread("Skill returned a value that is not JSON"),
        ]
        assert "canary" not in json.dumps(stage.requests())
        assert await stage.ask(ann, room, bot, "again") == "still here"


@pytest.mark.chat(name="Clerk", skills=[own("in_stock", requiresApproval=True)])
async def test_an_internal_skill_asks_people_where_it_should(
    installed: Path, chat: HostChat
) -> None:
    chat.script.on(turn(Call("skill__in_stock", {"article": "nail"})), "ok")
    import shelf  # type: ignore[import-not-found]

    room = chat.world.private(chat.person, chat.bot)
    chat.world.say(chat.person, room, "nails?")
    question = await chat.stage.answer(room, chat.bot)
    assert "in_stock\narticle: nail" in question.text
    assert shelf.RUNS == []
    chat.world.press_button(chat.person, room, question.id, "Once")
    await chat.until(lambda: "ok" in chat.stage.texts(room, chat.bot.id))
    assert shelf.RUNS == ["nail"]


@pytest.mark.parametrize("asks", [True, False])
async def test_a_skill_whose_approval_rule_changes_during_the_turn_runs_by_the_new_rule(
    stage: Stage, installed: Path, asks: bool
) -> None:
    bot = stage.bot("Clerk", skills=[own("in_stock", requiresApproval=not asks)])
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    call = turn(Call("skill__in_stock", {"article": "nail"}))
    stage.script.on(Turn((*call.parts,), gate="changing"), "ok")
    async with stage.host() as host:
        stage.world.say(ann, room, "nails?")
        await stage.sim.gates.reached("changing", PATIENCE)
        stage.agents["agents"][0]["skills"] = [own("in_stock", requiresApproval=asks)]
        stage.write_agents()
        await host.catalog.until(
            lambda found: found.agents["clerk"].value.skills[0].requires_approval is asks
        )
        stage.sim.gates.open("changing")
        if asks:
            question = await stage.answer(room, bot)
            stage.world.press_button(ann, room, question.id, "Once")
        await stage.world.until(lambda: "ok" in stage.texts(room, bot.id), PATIENCE)
    import shelf

    assert shelf.RUNS == ["nail"]


async def test_an_unknown_handler_and_two_packages_with_one_name_are_told_and_left_out(
    stage: Stage, installed: Path
) -> None:
    install(installed, "other", SHELF)
    install(installed, "lazy", "x = 1")
    skills = [own("in_stock"), own("nowhere")]
    bot, ann = stage.bot("Clerk", skills=skills), stage.person("Ann")
    stage.script.on("hello")
    async with stage.host() as host:
        assert await stage.ask(ann, stage.world.private(ann, bot), bot, "hi") == "hello"
        _, report = await health(host.url)
    assert "skill__" not in json.dumps(stage.requests()[0].get("tools", []))
    problems = "\n".join(report["problems"])
    both = "other (other) and shelf (shelf): both have an internal skill 'in_stock'; rename one"
    assert both in problems
    assert "lazy (lazy): has no function with @skill" in problems
    assert "skill 'nowhere' of agent 'clerk' needs the internal skill 'nowhere'" in problems


async def test_a_skill_with_the_name_of_a_servers_tool_is_refused(
    stage: Stage, installed: Path
) -> None:
    desk = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
    server = {"command": sys.executable, "args": [str(desk)]}
    stage.agents["mcpServers"]["desk"] = server | {"env": {"DESK_LOG": os.devnull}}
    skills = [own("in_stock"), own("known", name="Look")]
    bot, ann = stage.bot("Clerk", mcpServers=["desk"], skills=skills), stage.person("Ann")
    stage.script.on(turn(Call("skill__Look", {})), "hello")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "hi")
    names = [tool["name"] for tool in stage.requests()[0]["tools"]]
    assert "skill__in_stock" in names
    assert "desk__look" in names
    assert "skill__Look" not in names
    assert told(stage) == ['{"error": "Unknown tool: skill__Look"}']


@pytest.mark.parametrize(("listed", "offered"), [("in_stock", True), ("known", False)])
async def test_an_agent_from_the_store_has_only_the_internal_skills_that_are_listed(
    stage: Stage, installed: Path, listed: str, offered: bool
) -> None:
    bot, ann = stage.bot("Clerk"), stage.person("Ann")
    stage.script.on("hello")
    other = {"id": "other", "name": "Other", "mcpServers": [], "skills": [own("in_stock")]}
    bound = {"agentId": "other", "type": "ChatId", "bindingKey": str(ann.id), "bot": str(bot.id)}
    async with stage.host(AGENT_SKILLS=listed) as host:
        store = host.store.redis
        await store.set("agent:definition:other", json.dumps(other))
        await store.set(f"agent:binding:chatid:{ann.id}:bot:{bot.id}", json.dumps(bound))
        await until(lambda: len(host.catalog.snapshot().document.bindings) == 2)
        await stage.ask(ann, stage.world.private(ann, bot), bot, "hi")
        _, report = await health(host.url)
    tools = [tool["name"] for tool in stage.requests()[0].get("tools", [])]
    assert ("skill__in_stock" in tools) is offered
    refused = "the internal skill 'in_stock' may not be used by this document"
    assert (refused in json.dumps(report["problems"])) is not offered


async def _command(stage: Stage, site: Path, *words: str) -> tuple[int | None, str]:
    """`switchboard …` as a process: its exit status, and all that it says."""
    path = os.pathsep.join([str(ROOT), str(site)])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words),
        cwd=stage.folder,
        env={"PATH": os.environ["PATH"], **stage.variables(), "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode, said.decode()


async def test_internal_skills_are_listed_tried_and_checked_from_the_command_line(
    stage: Stage, site: Path
) -> None:
    install(site, "broken", "raise SystemExit('gone')")
    off = own("known", enabled=False)
    stage.bot("Clerk", skills=[own("in_stock"), own("nowhere"), off])
    article = '{"article": "nail"}'
    ways = [
        ("skill", "list"),
        ("skill", "test", "clerk", "in_stock", article),
        ("skill", "test", "clerk", "in_stock", article, "--send"),
        ("check",),
    ]
    found = await asyncio.gather(*(_command(stage, site, *way) for way in ways))
    (_, listed), (tried, shown), (sent, answered), (checked, mistakes) = found
    assert "in_stock  shelf (shelf)  How many pieces are in stock." in listed
    assert "! broken (broken): cannot be imported: RuntimeError: SystemExit: gone" in listed
    assert "clerk: in_stock  internal in_stock  ready" in listed
    assert "clerk: nowhere  internal nowhere  not usable" in listed
    assert "clerk: known  internal known  disabled" in listed
    assert (tried, sent, checked) == (0, 0, 1)
    assert "CALL in_stock of shelf (shelf)" in shown
    assert "Nothing was sent" in shown
    assert 'ok: {"article": "nail", "for": "test"' in answered
    assert "needs the internal skill 'nowhere', which no installed package has" in mistakes
