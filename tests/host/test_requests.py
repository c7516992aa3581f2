"""The request bodies: settings of each model family, the order of the prompt, what stays frozen."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from bot.store.journal import Record
from bot.turn.prompt import BASE
from bot.turn.transcript import Transcript
from simulators.messages.turns import Call, turn
from tests.host.chat import CLOCK, HostChat
from tests.host.stage import Stage

SUMMARIES = {"type": "adaptive", "display": "summarized"}
BUDGET = {"type": "enabled", "budget_tokens": 8192, "display": "summarized"}


@pytest.mark.parametrize(
    ("overrides", "expected", "version"),
    [
        (
            {"model": "claude-sonnet-5-5", "maxTokens": 4000, "reasoningEffort": "xhigh"},
            {"max_tokens": 4000, "thinking": SUMMARIES, "output_config": {"effort": "xhigh"}},
            "2026-10-21",
        ),
        (
            {"model": "claude-sonnet-5-5", "temperature": 0.3},
            {"max_tokens": 8000, "thinking": SUMMARIES},
            "2026-10-21",
        ),
        (
            {"model": "claude-sonnet-5-5", "reasoningEffort": "none"},
            {"max_tokens": 8000, "thinking": {"type": "between_tools"}},
            "2026-10-21",
        ),
        (
            {"model": "claude-haiku-5-5", "reasoningEffort": "none"},
            {"max_tokens": 8000, "thinking": {"type": "disabled"}},
            "2026-10-21",
        ),
        (
            {"model": "claude-opus-4-6", "temperature": 0.3},
            {"max_tokens": 8000, "temperature": 0.3},
            "2023-06-01",
        ),
        (
            {"model": "claude-opus-4-6", "reasoningEffort": "xhigh"},
            {"max_tokens": 8000, "thinking": SUMMARIES, "output_config": {"effort": "high"}},
            "2026-10-21",
        ),
        (
            {"model": "claude-haiku-4-5", "maxTokens": 20000, "reasoningEffort": "medium"},
            {"max_tokens": 20000, "thinking": BUDGET},
            "2026-10-21",
        ),
    ],
)
async def test_each_model_family_gets_the_settings_that_it_takes(
    stage: Stage, overrides: dict[str, Any], expected: dict[str, Any], version: str
) -> None:
    echo = stage.bot("Echo", llmOverrides=overrides)
    ann = stage.person("Ann")
    stage.script.on("ok")
    async with stage.host(LIMITS__TOKENSPERREQUEST="64000"):
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "ok"
    (record,) = stage.sim.records.all()
    settings = {
        name: value
        for name, value in record.body.items()
        if name not in ("messages", "system", "tools", "stream")
    }
    assert settings == {"model": overrides["model"], **expected}
    assert record.headers["anthropic-version"] == version


@pytest.mark.chat(
    environ={"LLM__MODEL": "claude-opus-5", "LLM__REASONINGEFFORT": "low"},
    llmOverrides={"maxTokens": 1234},
)
async def test_the_hosts_defaults_fill_what_an_agent_leaves_open(chat: HostChat) -> None:
    chat.script.on("ok")
    await chat.ask("hi")
    (body,) = chat.requests
    assert (body["model"], body["max_tokens"]) == ("claude-opus-5", 1234)
    assert body["output_config"] == {"effort": "low"}


async def test_another_providers_model_gets_the_minimum(stage: Stage) -> None:
    stage.bot("Echo", llmOverrides={"model": "some-model", "temperature": 0.7})
    async with stage.host() as host:
        persons = stage.world.members.persons
        stage.world.say(
            stage.person("Ann"),
            stage.world.private(max(persons.values(), key=lambda one: one.id), stage.bots[0]),
            "hi",
        )
        record = await stage.sim.records.nth(1, 10)
        await host.fleet.lines[0].idle()
    kept = set(record.body) - {"messages", "system", "stream"}
    assert kept == {"model", "max_tokens", "temperature"}
    assert "cache_control" not in str(record.body)


@CLOCK
async def test_system_is_time_then_custom_then_base_then_prompts_and_stays_frozen(
    chat: HostChat,
) -> None:
    call = Call("time__get_current_time", {"timezone": "UTC"})
    chat.script.on(turn(call), "one", "two")
    await chat.ask("first")
    await chat.ask("second")
    bodies = chat.requests
    texts = [block["text"] for block in bodies[0]["system"]]
    assert re.fullmatch(r"Current time: \d{4}-\d\d-\d\d \d\d:\d\d UTC", texts[0])
    assert texts[1:3] == ["You are Clock.", BASE]
    assert bodies[0]["system"] == bodies[1]["system"] == bodies[2]["system"]
    assert bodies[0]["tools"] == bodies[1]["tools"] == bodies[2]["tools"]


async def test_an_agent_knows_its_name_and_what_it_is_for(stage: Stage) -> None:
    nameless = stage.bot("Nora", customInstructions="Be brief.", description="Sells boats.")
    stage.script.on("I am Nora", system="You are Nora. Sells boats.\n\nBe brief.", again=True)
    ann = stage.person("Ann")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, nameless), nameless, "Who are you?")
        assert said == "I am Nora"


async def test_the_one_agent_of_name_knows_its_name(stage: Stage) -> None:
    bot, ann = stage.add_bot(), stage.person("Ann")
    stage.script.on("I am Jack", system="You are Jack.", again=True)
    async with stage.host(NAME="Jack"):
        assert await stage.ask(ann, stage.world.private(ann, bot), bot, "Who?") == "I am Jack"


async def test_the_message_says_when_it_was_sent_and_by_whom(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann [admin]\nSystem")
    stage.script.on("ok")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, echo), echo, "hi there")
    text = stage.requests()[0]["messages"][0]["content"][0]["text"]
    head, _, rest = text.partition("\n")
    assert re.fullmatch(r"\[sent \w+ \d{4}-\d\d-\d\d, [\d:]{8} \(UTC\) by [^\[\]\n]+\]", head)
    assert rest == "hi there"


async def test_the_second_turn_reads_the_first_from_the_cache(stage: Stage) -> None:
    echo = stage.bot("Echo", customInstructions="You are Echo. " + "Be exact. " * 600)
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("one", "two")
    async with stage.host() as host:
        await stage.ask(ann, room, echo, "first")
        await stage.ask(ann, room, echo, "second")
        await host.fleet.lines[0].idle()
        words = ("XRANGE", f"{{bot:{echo.id}}}:conv:{ann.id}:echo:log", "-", "+")
        log = await host.store.command(*words)
    usages = [fields[b"b"] for _, fields in log if fields[b"k"] == b"model"]
    assert b'"usage":[' in usages[1]
    assert int(usages[1].split(b'"usage":[')[1].split(b",")[2]) > 1000


def test_a_long_history_is_trimmed_in_blocks_and_never_parts_a_call_from_its_result() -> None:
    transcript = Transcript()
    starts = []
    for number in range(60):
        turn_id = str(number)
        ask = {"turn": turn_id, "content": [{"type": "text", "text": f"question {number}"}]}
        transcript.load([Record("person", ask, f"{number}-0")])
        starts.append(transcript.trim(turns=16, chars=10**6).start)
        use = {"type": "tool_use", "id": f"t{number}", "name": "x", "input": {}}
        body = {"turn": turn_id, "content": [use], "stop": "tool_use", "prefix": "p"}
        result = {"turn": turn_id, "call": f"t{number}", "content": "r" * 9, "error": False}
        answer = Record("model", body | {"start": starts[-1]})
        end = Record("end", {"turn": turn_id, "outcome": "done", "text": ""})
        transcript.append([answer, Record("result", result), end], "")
    moves = [a for a, b in pairwise(starts) if a != b]
    assert 0 < len(moves) <= 60 / 4
    shown = transcript.messages("p")
    first = shown[0]["content"][0]
    assert first == {"type": "text", "text": f"question {starts[-1].removesuffix('-0')}"}
    used = [b["id"] for m in shown for b in m["content"] if b["type"] == "tool_use"]
    answered = [b["tool_use_id"] for m in shown for b in m["content"] if b["type"] == "tool_result"]
    assert used == answered
