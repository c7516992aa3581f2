"""`switchboard audit` lists what was changed, takes it back, and finds what was forged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from simulators.testing.valkey import Valkey
from tests.cli.console import Console

CHAIN = "agent:audit:chain"
Entries = list[tuple[bytes, dict[bytes, bytes]]]
POET = {"id": "poet", "name": "Poet", "customInstructions": "Write short poems."}


@pytest.fixture
async def audited(console: Console) -> Console:
    """Five records: an agent is made and changed twice, a role given, a key made."""
    for text in ("short", "long", "old"):
        poet = POET | {"customInstructions": f"Write {text} poems."}
        await console.done("agents", "put", console.write("p.json", poet), "--reason", text)
    await console.done("roles", "grant", "5", "instance_manager", "--account", "acme")
    await console.done("keys", "create", "--account", "acme", "--ticket", "T-9")
    return console


async def test_records_are_listed_by_account_document_and_author(audited: Console) -> None:
    everything = (await audited.done("audit", "list", "--json")).data
    assert [one["id"] for one in everything] == [5, 4, 3, 2, 1]
    assert {one["changed_by"] for one in everything} == {"operator"}
    for words, ids in (
        (("--account", "acme"), [5, 4]),
        (("--entity", "poet"), [3, 2, 1]),
        (("--by", "tg:5"), []),
        (("--count", "2"), [5, 4]),
    ):
        found = (await audited.done("audit", "list", *words, "--json")).data
        assert [one["id"] for one in found] == ids
    lines = (await audited.done("audit", "list")).out.splitlines()
    assert lines[0].split()[0] == "5"
    assert "create key" in lines[0]
    assert lines[0].endswith("[T-9]")
    assert "update agent poet" in lines[2]
    assert "customInstructions" in lines[2]
    shown = (await audited.done("audit", "show", "2", "--json")).data
    assert (shown["field_changed"], shown["change_reason"]) == ("customInstructions", "long")
    assert (shown["old_value"], shown["new_value"]) == ("Write short poems.", "Write long poems.")
    assert "old_value: Write short poems." in (await audited.done("audit", "show", "2")).out
    await audited.done("agents", "delete", "poet", "--reason", "retired", "--ticket", "T-10")
    (newest,) = (await audited.done("audit", "list", "--count", "1", "--json")).data
    assert (newest["change_type"], newest["old_value"]["name"]) == ("delete", "Poet")
    assert (newest["change_reason"], newest["ticket_reference"]) == ("retired", "T-10")
    assert newest["created_at"] == pytest.approx(time.time(), abs=120)
    kinds = [one["change_type"] for one in reversed(everything)]
    assert kinds == ["create", "update", "update", "create", "create"]
    assert "there is no audit record 99" in await audited.refused("audit", "show", "99")


async def test_a_change_is_taken_back_unless_a_later_one_touched_the_same_field(
    audited: Console,
) -> None:
    said = await audited.refused("audit", "rollback", "2")
    assert "record 3 by operator changed the same field after record 2" in said
    done = await audited.done("audit", "rollback", "3")
    assert done.out == "took back record 3 (agent poet, customInstructions), as revision 4\n"
    shown = (await audited.done("agents", "show", "poet")).data
    assert shown["customInstructions"] == "Write long poems."
    (newest,) = (await audited.done("audit", "list", "--count", "1", "--json")).data
    assert (newest["id"], newest["change_reason"]) == (6, "rollback of record 3")


def _change_a_byte(entries: Entries) -> None:
    entries[2][1][b"new_value"] = entries[2][1][b"new_value"].replace(b"old", b"odd")


def _remove_a_field(entries: Entries) -> None:
    del entries[2][1][b"number"]


def _remove(entries: Entries) -> None:
    del entries[2]


def _add(entries: Entries) -> None:
    entries.insert(3, (b"3-1", entries[2][1]))


def _add_at_the_end(entries: Entries) -> None:
    entries.append((b"6-0", entries[4][1] | {b"number": b"6"}))


def _cut_the_end(entries: Entries) -> None:
    del entries[3:]


def _cut_the_beginning(entries: Entries) -> None:
    del entries[:3]


def _copy_over(entries: Entries) -> None:
    entries[2] = entries[2][0], entries[1][1]


@pytest.mark.parametrize(
    ("forge", "number", "why"),
    [
        (_change_a_byte, 3, "it was changed"),
        (_remove_a_field, 3, "it was changed"),
        (_remove, 3, "it is missing"),
        (_add, 3, "one was put in"),
        (_add_at_the_end, 6, "it was changed"),
        (_cut_the_end, 4, "it is missing"),
        (_cut_the_beginning, 3, "it is missing"),
        (_copy_over, 3, "it was changed"),
    ],
)
async def test_verify_names_the_first_record_that_was_forged(
    audited: Console, valkey: Valkey, forge: Callable[[Entries], None], number: int, why: str
) -> None:
    holds = await audited.done("audit", "verify", "--json")
    assert holds.data == {"records": 5, "broken": None}
    async with valkey.client() as redis:
        entries: Any = await redis.xrange(CHAIN)
        forge(entries)
        await redis.delete(CHAIN)
        for id, fields in entries:
            await redis.xadd(CHAIN, fields, id=id)
    broken = await audited("audit", "verify")
    assert broken.code == 1
    assert broken.out.startswith(f"record {number} does not hold: ")
    assert why in broken.out
    again = await audited("audit", "verify", "--json")
    assert again.code == 1
    assert json.loads(again.out)["broken"]["number"] == number
    listed = await audited.done("audit", "list")  # what is left can still be read
    assert len(listed.out.splitlines()) == len(entries)
