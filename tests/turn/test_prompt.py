"""The system prompt's order, with and without an agent's own text (spec 1)."""

from __future__ import annotations

import pytest

from bot.turn.prompt import BASE, BASE_OVER_HTTP, own_text, render

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
