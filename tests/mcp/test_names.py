from __future__ import annotations

import random
import re
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bot.mcp.tool_spec import WIRE_LIMIT, WireNames

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Thing:
    key: str


def names(*keys: str) -> WireNames[Thing]:
    return WireNames(Thing(key) for key in keys)


def test_a_plain_name_is_readable() -> None:
    wires = names("mcp:time:get_current_time", "skill:fetch-page")
    assert wires.wire("mcp:time:get_current_time") == "time__get_current_time"
    assert wires.wire(Thing("skill:fetch-page")) == "skill__fetch-page"
    assert wires.tool("time__get_current_time") == Thing("mcp:time:get_current_time")


def test_a_name_that_the_model_invents_is_none() -> None:
    assert names("mcp:time:now").tool("time__later") is None


def test_illegal_characters_become_underscores() -> None:
    assert names("mcp:files.local:read:all").wire("mcp:files.local:read:all") == (
        "files_local__read_all"
    )


def test_names_that_would_collide_are_told_apart_by_digests() -> None:
    keys = ("mcp:a:b.c", "mcp:a:b_c", "mcp:a__b:c", "mcp:a:b__c")
    wires = names(*keys)
    assert len({wires.wire(key) for key in keys}) == 4
    assert all(wires.wire(key).startswith("a__b_") for key in keys)


def test_a_long_name_is_cut_and_keeps_its_beginning() -> None:
    wire = names("mcp:server:" + "n" * 300).wire("mcp:server:" + "n" * 300)
    assert len(wire) == WIRE_LIMIT
    assert wire.startswith("server__nnnn")


def test_a_tool_named_like_anothers_digest_takes_nothing_from_it() -> None:
    long = "mcp:s:" + "n" * 80
    thief = "mcp:s:" + names(long).wire(long).removeprefix("s__")
    wires = names(long, thief)
    assert wires.tool(wires.wire(long)) == Thing(long)
    assert wires.tool(wires.wire(thief)) == Thing(thief)


@given(st.lists(st.text(st.sampled_from("ab._: é\n"), max_size=80), max_size=12))
def test_any_names_are_legal_unique_and_the_same_in_any_order(tools: list[str]) -> None:
    keys = [f"mcp:s:{tool}" for tool in tools]
    shuffled = random.Random(1).sample(keys, len(keys))
    one, other = names(*keys), names(*shuffled)
    for key in keys:
        assert LEGAL.fullmatch(one.wire(key))
        assert one.wire(key) == other.wire(key)
        assert one.tool(one.wire(key)) == Thing(key)
