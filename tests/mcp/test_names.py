from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from bot.mcp.tool_spec import WIRE_LIMIT, wire_names

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")


def test_a_plain_name_is_readable() -> None:
    assert wire_names(["mcp:time:get_current_time", "skill:fetch-page"]) == {
        "mcp:time:get_current_time": "time__get_current_time",
        "skill:fetch-page": "skill__fetch-page",
    }


def test_illegal_characters_become_underscores() -> None:
    key = "mcp:files.local:read:all"
    assert wire_names([key])[key] == "files_local__read_all"


def test_names_that_would_collide_are_told_apart_by_digests() -> None:
    keys = ("mcp:a:b.c", "mcp:a:b_c", "mcp:a__b:c", "mcp:a:b__c")
    wires = wire_names(keys)
    assert len(set(wires.values())) == 4
    assert all(wires[key].startswith("a__b_") for key in keys)


def test_a_long_name_is_cut_and_keeps_its_beginning() -> None:
    (wire,) = wire_names(["mcp:server:" + "n" * 300]).values()
    assert len(wire) == WIRE_LIMIT
    assert wire.startswith("server__nnnn")


def test_a_tool_named_like_anothers_digest_takes_nothing_from_it() -> None:
    long = "mcp:s:" + "n" * 80
    thief = "mcp:s:" + wire_names([long])[long].removeprefix("s__")
    wires = wire_names([long, thief])
    assert wires[long] != wires[thief]


@given(st.lists(st.text(st.sampled_from("ab._: é\n"), max_size=80), max_size=12))
def test_any_names_are_legal_unique_and_the_same_in_any_order(tools: list[str]) -> None:
    keys = [f"mcp:s:{tool}" for tool in tools]
    wires = wire_names(keys)
    assert wires == wire_names(random.Random(1).sample(keys, len(keys)))
    assert all(LEGAL.fullmatch(wire) for wire in wires.values())
    assert len(set(wires.values())) == len(set(keys)) == len(wires)
