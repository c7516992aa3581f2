"""The script for people: says what it is, uses the agent's real tools, and keeps to the truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import mcp
import pytest
from mcp_server_time.server import create_server  # type: ignore[import-untyped]

from bot.sandbox.notes_server import Notes, server_of
from simulators.messages.arithmetic import worked_out
from simulators.messages.cities import ZONES, places
from simulators.messages.demo_script import INTRODUCTION, DemoScript
from tests.simulators.messages.conftest import Api

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


pytestmark = pytest.mark.asyncio(loop_scope="module")


def tool(name: str, *fields: str) -> dict[str, Any]:
    properties = {field: {"type": "string"} for field in fields}
    schema = {"type": "object", "properties": properties, "required": list(fields)}
    return {"name": name, "description": name, "input_schema": schema}


class Chat:
    """A conversation with the demo script, tools run as an agent's host would run them."""

    def __init__(self, api: Api, tools: list[dict[str, Any]], run: Any = None) -> None:
        api.sim.script = DemoScript()
        self.api = api
        self.run = run
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.body: dict[str, Any] = {
            "model": "claude-sonnet-5-5",
            "max_tokens": 8000,
            "messages": [],
            "tools": tools,
            "system": "Current time: 2026-11-20 09:30 UTC\n\nYou are Ida, the night operator.",
            "thinking": {"type": "adaptive", "display": "summarized"},
        }

    async def say(self, *texts: str) -> str:
        content: list[Any] = [{"type": "text", "text": text} for text in texts]
        told: list[str] = []
        while True:
            self.body["messages"].append({"role": "user", "content": content})
            message = await self.api.sdk.messages.create(**self.body)
            blocks = [block.to_dict() for block in message.content]
            self.body["messages"].append({"role": "assistant", "content": blocks})
            told += [block["text"] for block in blocks if block["type"] == "text"]
            if message.stop_reason != "tool_use":
                return "\n".join(told)
            content = [await self._result(b) for b in blocks if b["type"] == "tool_use"]

    async def _result(self, block: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((block["name"], block["input"]))
        text, failed = await self.run(block["name"], block["input"])
        return {
            "type": "tool_result",
            "tool_use_id": block["id"],
            "content": [{"type": "text", "text": text}],
            "is_error": failed,
        }


async def with_clock(api: Api, use: Callable[[Chat], Awaitable[None]]) -> None:
    """A chat whose tools are those of a real time server."""
    async with mcp.Client(create_server("Etc/UTC")) as client:

        async def run(name: str, given: dict[str, Any]) -> tuple[str, bool]:
            result = await client.call_tool(name.removeprefix("clock__"), given)
            return result.content[0].text, bool(result.is_error)  # type: ignore[union-attr]

        listed = (await client.list_tools()).tools
        tools = [
            {
                "name": f"clock__{one.name}",
                "description": one.description or "",
                "input_schema": {
                    key: one.input_schema[key] for key in ("type", "properties", "required")
                },
            }
            for one in listed
        ]
        await use(Chat(api, tools, run))


async def test_the_first_answer_says_that_it_is_no_model_and_only_the_first(api: Api) -> None:
    chat = Chat(api, [tool("look")])
    first = await chat.say("hello")
    assert first.startswith(INTRODUCTION)
    assert "not a language model" in first
    assert "`look`" in first
    assert "not a language model" not in await chat.say("hello")


async def test_an_unknown_request_is_told_what_is_known_and_who_was_asked(api: Api) -> None:
    answer = await Chat(api, []).say("Why is the sea salty?")
    assert "“Why is the sea salty?”" in answer
    assert "“Ida”" in answer
    assert "`claude-sonnet-5-5`" in answer
    assert "This agent has no tools." in answer


async def test_the_agent_is_called_by_its_name_where_a_profile_says_first_what_it_is(
    api: Api,
) -> None:
    chat = Chat(api, [])
    chat.body["system"] = "You are a careful researcher. Look up.\n\nYou are Almanac, who answers."
    assert "I was asked as the agent “Almanac”" in await chat.say("qwertz")


async def test_the_time_comes_from_the_agents_own_server(api: Api) -> None:
    async def use(chat: Chat) -> None:
        answer = await chat.say(
            "Sent at 2026-11-20 10:31 Europe/Berlin.", "What time is it in Tokyo?"
        )
        assert chat.calls == [("clock__get_current_time", {"timezone": "Asia/Tokyo"})]
        result = chat.body["messages"][-2]["content"][0]["content"][0]["text"]
        assert f"In Tokyo it is **{json.loads(result)['datetime'][11:16]}**" in answer

    await with_clock(api, use)


async def test_two_places_are_two_calls_at_once(api: Api) -> None:
    async def use(chat: Chat) -> None:
        answer = await chat.say("what's the time in New York and in Berlin")
        assert [given["timezone"] for _, given in chat.calls] == [
            "America/New_York",
            "Europe/Berlin",
        ]
        assert "In New York it is" in answer
        assert "In Berlin it is" in answer

    await with_clock(api, use)


async def test_a_time_is_converted_by_the_agents_own_server(api: Api) -> None:
    async def use(chat: Chat) -> None:
        answer = await chat.say("convert 9:05 from Tokyo to Kathmandu")
        assert chat.calls[0][0] == "clock__convert_time"
        assert "09:05 in Tokyo is **05:50 in Kathmandu** (-3.25h)." in answer

    await with_clock(api, use)


async def test_without_a_time_tool_it_says_so(api: Api) -> None:
    answer = await Chat(api, [tool("look")]).say("what time is it?")
    assert "None of this agent's tools tells the time. This agent's tools: `look`." in answer


STAMP = "[sent Friday 2026-11-20, 23:15:02 (UTC) by Ann]"


@pytest.mark.parametrize("between", ["\n", " ", "\n\n"])
async def test_the_hosts_stamp_is_never_answered(api: Api, between: str) -> None:
    chat = Chat(api, [])
    assert "**12 * 3 = 36**" in await chat.say(f"{STAMP}{between}12 * 3")
    unknown = await chat.say(f"{STAMP}{between}Why is the sea salty?")
    assert "You wrote: “Why is the sea salty?”" in unknown
    assert "sent Friday" not in unknown


async def test_a_stamp_without_words_is_no_request(api: Api) -> None:
    answer = await Chat(api, []).say(f"{STAMP}\n")
    assert "There were no words in that message." in answer
    assert "23:15" not in answer


async def test_a_stamp_holds_no_request_of_its_own(api: Api) -> None:
    stamp = "[sent Friday 2026-11-20, 23:15:02 (UTC) by what time is it in Tokyo]"

    async def use(chat: Chat) -> None:
        await chat.say(f"{stamp}\nthe colour blue")
        assert chat.calls == []
        await chat.say(f"{STAMP}\nwhat time is it in Berlin?")
        assert chat.calls == [("clock__get_current_time", {"timezone": "Europe/Berlin"})]

    await with_clock(api, use)


async def test_a_notes_server_is_listed_read_written_searched_and_cleared(
    api: Api, tmp_path: Path
) -> None:
    async with mcp.Client(server_of(Notes(tmp_path))) as client:

        async def run(name: str, given: dict[str, Any]) -> tuple[str, bool]:
            result = await client.call_tool(name.removeprefix("notes__"), given)
            return result.content[0].text, bool(result.is_error)  # type: ignore[union-attr]

        listed = (await client.list_tools()).tools
        tools = [{"name": f"notes__{one.name}", "input_schema": one.input_schema} for one in listed]
        chat = Chat(api, tools, run)
        assert "There are no notes yet." in await chat.say(f"{STAMP}\nlist my notes")
        written = f"{STAMP}\nwrite buy oranges to shopping.md"
        assert "Made shopping.md" in await chat.say(written)
        assert (tmp_path / "shopping.md").read_text() == "buy oranges"
        assert "buy oranges" in await chat.say(f"{STAMP}\nread shopping.md")
        assert "shopping.md:1: buy oranges" in await chat.say("search my notes for Oranges.")
        assert "shopping.md:1: buy oranges" in await chat.say("find oranges in my notes")
        assert "No note contains 'pears'" in await chat.say("which notes mention pears?")
        assert "Deleted shopping.md." in await chat.say(
            f"{STAMP}\nplease delete the note shopping.md"
        )
        assert not (tmp_path / "shopping.md").exists()


FILES = [
    tool("files__list_directory", "path"),
    tool("files__read_text_file", "path"),
    tool("files__write_file", "path", "content"),
]


async def files(name: str, given: dict[str, Any]) -> tuple[str, bool]:
    if name.endswith("allowed_directories"):
        return "Allowed directories:\n/data/ida", False
    if "missing" in given["path"]:
        return "no such file", True
    return {"files__list_directory": "[FILE] notes.md"}.get(name, "Buy tea."), False


async def test_files_are_listed_read_and_written_by_the_agents_tools(api: Api) -> None:
    chat = Chat(api, FILES, files)
    assert "[FILE] notes.md" in await chat.say("list my files")
    assert "Buy tea." in await chat.say("Please read notes.md")
    await chat.say("write two cups, three spoons to tea.md")
    assert chat.calls == [
        ("files__list_directory", {"path": "."}),
        ("files__read_text_file", {"path": "notes.md"}),
        ("files__write_file", {"path": "tea.md", "content": "two cups, three spoons"}),
    ]


async def test_a_server_with_allowed_folders_is_asked_for_them_first(api: Api) -> None:
    chat = Chat(api, [tool("files__list_allowed_directories"), *FILES], files)
    assert "Buy tea." in await chat.say("read notes.md")
    assert chat.calls[-2:] == [
        ("files__list_allowed_directories", {}),
        ("files__read_text_file", {"path": "/data/ida/notes.md"}),
    ]


async def test_a_failed_call_is_told_as_it_was(api: Api) -> None:
    answer = await Chat(api, FILES, files).say("read missing.md")
    assert "`files__read_text_file` gave no result. It said: no such file" in answer


async def test_a_person_who_writes_instead_of_approving_is_answered(api: Api) -> None:
    chat = Chat(api, FILES)
    call = {"type": "tool_use", "id": "toolu_1", "name": "files__read_text_file", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "not approved"}
    chat.body["messages"] = [
        {"role": "user", "content": "read notes.md"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    assert "**2 + 2 = 4**" in await chat.say("2 + 2")


async def test_any_tool_is_used_by_name(api: Api) -> None:
    async def run(name: str, given: dict[str, Any]) -> tuple[str, bool]:
        return f"{name} {given}", False

    chat = Chat(api, [tool("x__echo", "text")], run)
    await chat.say('use echo {"text": "a", "n": 2}')
    await chat.say("call x__echo with good morning")
    assert chat.calls == [
        ("x__echo", {"text": "a", "n": 2}),
        ("x__echo", {"text": "good morning"}),
    ]


async def test_a_long_story_has_headings_lists_code_and_a_table(api: Api) -> None:
    story = await Chat(api, []).say("tell me a long story")
    assert len(story) > 4096
    for mark in ("\n## ", "\n- ", "\n1. ", "```python", "| ---", "\n> "):
        assert mark in story


async def test_thinking_is_shown_where_it_is_on(api: Api) -> None:
    chat = Chat(api, [])
    assert "think about" in await chat.say("think about rivers and seas")
    assert [block["type"] for block in chat.body["messages"][-1]["content"]] == ["thinking", "text"]
    chat.body["thinking"] = {"type": "between_tools"}
    assert "Thinking is turned off" in await chat.say("think about rivers")


SUMS = {
    "what is 12 * (3 + 4)?": "12 * (3 + 4) = 84",
    "7/2": "7/2 = 3.5",
    "calculate 2^10 =": "2^10 = 1024",
    "-3 × -4": "-3 × -4 = 12",
    "1/0": "1/0 has no answer: it divides by zero",
    "9**9**9": None,
    "2026-11-20": None,
    "12": None,
    "(1+": None,
    "what is love": None,
    "__import__('os')": None,
    "1" * 300 + "+1": None,
}


@pytest.mark.parametrize("text", SUMS)
async def test_sums_are_worked_out_and_nothing_else(text: str) -> None:
    assert worked_out(text) == SUMS[text]


async def test_every_place_has_a_zone_that_exists() -> None:
    assert len(ZONES) >= 60
    for zone in ZONES.values():
        ZoneInfo(zone)
    assert places("From Paris to Asia/Tokyo, and Nowhere/Land") == [
        ("Paris", "Europe/Paris"),
        ("Asia/Tokyo", "Asia/Tokyo"),
    ]


REMINDED = "Does this depend on a date? If so, ask for the date in one short question."
REFLECT = "Reflect on your last answer: no tool was used for it, and it gives no address."


async def test_a_plan_without_a_day_is_taken_for_today_unless_the_script_is_reminded(
    api: Api,
) -> None:
    chat = Chat(api, [])
    assert "for today: “book a table for two”" in await chat.say("book a table for two")
    assert "For which date?" in await chat.say("book a table for two", REMINDED)
    assert "“book a table for two, 12 March”" in await chat.say("12 March", REMINDED)
    assert "“book a table on Friday”" in await chat.say("book a table on Friday", REMINDED)
    assert "took it down" not in await chat.say("12 March", REMINDED)


async def test_an_answer_from_memory_has_a_source_once_the_script_reflects(
    api: Api, tmp_path: Path
) -> None:
    (tmp_path / "shopping.md").write_text("buy oranges")

    async def run(name: str, given: dict[str, Any]) -> tuple[str, bool]:
        assert name == "notes__search_files"
        return Notes(tmp_path).search(given["query"]), False

    chat = Chat(api, [tool("notes__search_files", "query")], run)
    chat.body["system"] += " End with a line “Source: …”."
    assert "From memory" in await chat.say("tell me about oranges?")
    answer = await chat.say(REFLECT)
    assert chat.calls == [("notes__search_files", {"query": "oranges"})]
    assert "shopping.md" in answer
    assert answer.endswith("Source: `notes__search_files`")
    chat.body["tools"] = []
    await chat.say("what do you know about tides?")
    assert (await chat.say(REFLECT)).endswith("Source: none")


async def test_who_types_the_words_of_a_reminder_alone_is_heard_as_a_person(api: Api) -> None:
    assert "You wrote: “Reflect on the sea.”" in await Chat(api, []).say("Reflect on the sea.")
