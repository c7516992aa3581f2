"""The system prompt's order, with and without an agent's own text (spec 1)."""

from __future__ import annotations

from typing import cast

import pytest

from bot.messages import TurnRef
from bot.ops.tasks import SystemClock
from bot.store.journal import Journal
from bot.turn.prompt import BASE, BASE_OVER_HTTP, MAX_STORED, PromptCache, own_text, render

NOON = 1_700_000_000.0


@pytest.mark.parametrize("custom", [None, "", "  \n"])
def test_absent_or_empty_instructions_leave_no_trace(custom: str | None) -> None:
    made = render(NOON, custom, ["a server's prompt"], [], {})
    texts = [block["text"] for block in made.system]
    assert texts == ["Current time: 2023-11-14 22:13 UTC", BASE, "a server's prompt"]


def test_time_comes_first_then_custom_then_base_then_the_servers_prompts() -> None:
    made = render(NOON, "You are Jack.", ["one", "two"], [], {})
    texts = [block["text"] for block in made.system]
    assert texts == ["Current time: 2023-11-14 22:13 UTC", "You are Jack.", BASE, "one", "two"]


@pytest.mark.parametrize(
    ("instructions", "text"),
    [
        (None, "You are Jack. Finds books."),
        (" \n", "You are Jack. Finds books."),
        ("Be brief.", "You are Jack. Finds books.\n\nBe brief."),
        ("Never hijack a talk.", "You are Jack. Finds books.\n\nNever hijack a talk."),
        ("You are JACK, who finds books.", "You are JACK, who finds books."),
    ],
)
def test_an_agent_is_told_who_it_is_where_its_instructions_do_not_name_it(
    instructions: str | None, text: str
) -> None:
    assert own_text("Jack", "Finds\nbooks.", instructions) == text


@pytest.mark.parametrize("base", [BASE, BASE_OVER_HTTP], ids=["in a chat", "over HTTP"])
def test_the_base_prompt_of_each_channel_has_the_approach_and_the_quality_standards(
    base: str,
) -> None:
    _, approach = base.split("\n\n## Approach\n")
    first, *steps, standards = approach.split("\n")
    assert first == "Think → Act → Create:"
    assert [step.split(":")[0] for step in steps] == ["1. THINK", "2. ACT", "3. CREATE"]
    for wanted in ("accurate", "cite your sources", "flag what is uncertain", "brand's voice"):
        assert wanted in standards
    for trigger in ("I don't know", "make up"):  # spec 5, 12.3
        assert trigger not in base
    assert len(base) <= 1_520  # it is sent, and paid for, with every request


def prompts() -> PromptCache:
    return PromptCache(cast(Journal, None), SystemClock())  # nothing here asks the store


def test_conversations_with_the_same_prompt_share_one_in_memory() -> None:
    cache = prompts()
    for number in range(3):
        cache.used(
            f"api:acme:{number}", TurnRef("1-0", "0", "poet"), render(0, "Rhyme.", [], [], {})
        )
    assert len({id(prompt) for _, prompt in cache._warm.values()}) == 1


def test_what_is_known_of_the_store_is_bounded_and_what_was_forgotten_is_stored_again() -> None:
    cache, prompt = prompts(), render(0, "Rhyme.", [], [], {})
    lines = [f"api:acme:{number}" for number in range(MAX_STORED)]
    for line in lines:
        cache.stored(line, cache.to_store(line, prompt))
    assert len(cache._stored) == MAX_STORED
    assert cache.to_store(lines[-1], prompt) == {}
    assert set(cache.to_store(lines[0], prompt)) == {prompt.digest, prompt.tools_digest}
