from __future__ import annotations

from datetime import UTC, date, datetime
from typing import get_args

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types import model as sdk_model

from registry.models import EFFORTS, Thinking, known, table, wire_id

SDK_MODELS: tuple[str, ...] = get_args(get_args(sdk_model.Model)[0])


def sdk_date(words: str) -> date:
    month, day, year = words.replace(",", "").split()
    plain = f"{month} {day.rstrip('stndrh')} {year}"
    return datetime.strptime(plain, "%B %d %Y").replace(tzinfo=UTC).date()


def test_the_sdk_lists_models_to_compare_with() -> None:
    assert len(SDK_MODELS) >= 20
    assert len(DEPRECATED_MODELS) >= 15


@pytest.mark.parametrize("model", SDK_MODELS)
def test_every_model_that_the_sdk_names_is_in_our_table(model: str) -> None:
    info = known(model)

    assert info is not None, f"{model} is missing in registry/models.json"
    assert model == info.id or model[len(info.id) + 1 :].isdigit(), (
        f"{model} is only found as a kind of {info.id}: give it a row in registry/models.json"
    )


@pytest.mark.parametrize(("model", "when"), DEPRECATED_MODELS.items())
def test_every_model_that_the_sdk_calls_deprecated_has_the_same_date_in_our_table(
    model: str, when: str
) -> None:
    info = known(model)

    assert info is not None, f"{model} is missing in registry/models.json"
    assert info.retires == sdk_date(when)


def test_no_model_retires_in_our_table_that_the_sdk_does_not_call_deprecated() -> None:
    deprecated = {info.id for info in map(known, DEPRECATED_MODELS) if info}

    assert {info.id for info in table().values() if info.retires} <= deprecated


def test_a_successor_is_a_model_of_the_table_that_does_not_retire() -> None:
    for info in table().values():
        assert (info.retires is None) == (info.successor is None), info.id
        if info.successor is not None:
            assert table()[info.successor].retires is None, info.id


def test_the_longest_prefix_decides() -> None:
    assert known("claude-opus-5-5") == table()["claude-opus-5-5"]
    assert known("claude-opus-5") == table()["claude-opus-5"]
    assert known("claude-haiku-4-5-20251001") == table()["claude-haiku-4-5"]
    assert known("claude-sonnet-4-5@20250929") == table()["claude-sonnet-4-5"]


@pytest.mark.parametrize(
    "stranger",
    ["", "gpt-6", "deepseek-chat", "claude", "claude-opus-50", "xclaude-opus-5", "CLAUDE"],
)
def test_a_stranger_is_not_known(stranger: str) -> None:
    assert known(stranger) is None
    assert wire_id(stranger) == stranger


def test_an_alias_stands_for_a_wire_id() -> None:
    assert wire_id("sonnet") == "claude-sonnet-5-5"
    assert wire_id("claude-haiku-5.5") == "claude-haiku-5-5"
    assert known("sonnet") == table()["claude-sonnet-5-5"]


def test_aliases_are_unique_and_are_no_ids() -> None:
    aliases = [alias for info in table().values() for alias in info.aliases]

    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(table())


@pytest.mark.parametrize("info", table().values(), ids=lambda info: info.id)
def test_a_row_is_whole(info: object) -> None:
    row = table()[info.id]  # type: ignore[attr-defined]
    assert row.thinking <= set(get_args(Thinking))
    assert list(row.efforts) == [level for level in EFFORTS if level in row.efforts]
    assert 0 < row.max_output < row.context
    assert row.min_cacheable >= 512
    assert not row.thinks_by_default or "adaptive" in row.thinking
    assert "adaptive" not in row.thinking or row.efforts
    assert not {"disabled", "between_tools"} <= row.thinking


def test_limits_and_settings_are_what_the_documentation_says() -> None:
    sonnet, old = table()["claude-sonnet-5-5"], table()["claude-sonnet-4-5"]

    assert (sonnet.max_output, sonnet.context) == (128_000, 1_000_000)
    assert sonnet.thinking == {"adaptive", "between_tools"}
    assert sonnet.top_effort_unthinking == "high"
    assert sonnet.binds_thinking
    assert not sonnet.temperature
    assert (old.max_output, old.context) == (64_000, 200_000)
    assert old.temperature
    assert old.efforts == ()
    assert old.retires == date(2026, 11, 30)


@pytest.mark.parametrize(
    ("model", "binds"),
    [
        ("claude-fable-5", False),
        ("claude-fable-5-1", True),
        ("claude-fable-5-2", True),
        ("claude-mythos-5-1", False),
        ("claude-mythos-5-2", True),
        ("claude-opus-5", False),
        ("claude-opus-5-5", True),
        ("claude-sonnet-5", False),
        ("claude-sonnet-5-5", True),
        ("claude-haiku-5-5", True),
        ("claude-haiku-4-5", False),
    ],
)
def test_newer_models_bind_thinking_to_its_prefix(model: str, binds: bool) -> None:
    info = known(model)

    assert info is not None
    assert info.binds_thinking is binds
