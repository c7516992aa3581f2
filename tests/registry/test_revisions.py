"""Every document has revisions, and every change an audit record that can be taken back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from registry.api_key import ApiKey, digest, new_secret
from registry.binding import AgentBinding
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.errors import (
    Denied,
    FileUnusable,
    NotThere,
    Owned,
    RevisionConflict,
    Trampled,
    Unrestorable,
)
from registry.history import History
from registry.revisions import differences, overlap, with_field
from registry.roles import HOST_ADMIN, Actor, RoleGrant, Target, Why
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore
from simulators.testing.valkey import Valkey

ADMIN = Actor("tg:7", HOST_ADMIN)
STRANGER = Actor("tg:9")
X = "agent:definition:x"


def agent(**fields: Any) -> AgentDefinition:
    return AgentDefinition.model_validate({"id": "x", "name": "X", **fields})


@asynccontextmanager
async def opened(valkey: Valkey, path: Path | None = None) -> AsyncIterator[History]:
    """A catalog of its own client, as each replica has, and its history."""
    client = Redis.from_url(valkey.url)
    catalog = Catalog(FileSource(path), RedisStore(client), wall=lambda: 1.5)
    await catalog.open()
    try:
        yield History(catalog)
    finally:
        await catalog.close()
        await client.aclose()


@pytest.fixture
async def history(valkey: Valkey) -> AsyncIterator[History]:
    async with opened(valkey) as history:
        yield history


async def three_edits(history: History) -> None:
    """Four revisions of agent x."""
    catalog = history.catalog
    await catalog.create_agent(ADMIN, agent(customInstructions="Answer in rhymes."), key="1")
    for number, text in enumerate(("Answer in prose.", "Answer in short prose.")):
        made = agent(customInstructions=text)
        await catalog.update_agent(ADMIN, made, key=f"u{number}", why=Why("tone", "OPS-1"))
    await catalog.update_agent(ADMIN, agent(name="Y", customInstructions=text), key="u3")


async def test_each_change_is_a_numbered_revision_with_its_author_and_reason(
    history: History,
) -> None:
    await three_edits(history)
    found = await history.revisions(ADMIN, "agent", "x")
    assert [one.number for one in found] == [4, 3, 2, 1]
    assert [one.reason for one in found] == ["", "tone", "tone", ""]
    assert {one.by for one in found} == {"tg:7"}
    diff = await history.diff(ADMIN, "agent", "x", 1, 4)
    assert [(one.field, one.section) for one in diff.changes] == [
        ("name", "text"),
        ("customInstructions", "text"),
    ]
    words = diff.changes[1].words
    assert ("-", "rhymes") in words
    assert "".join(text for sign, text in words if sign != "-") == "Answer in short prose."


async def test_a_restore_is_a_new_revision_and_a_deleted_document_comes_back(
    history: History,
) -> None:
    await three_edits(history)
    assert await history.restore(ADMIN, "agent", "x", 1, key="r") == 5
    assert await history.restore(ADMIN, "agent", "x", 1, key="r") == 5  # the same request again
    restored = history.catalog.get_agent("x")
    assert restored is not None
    assert restored.custom_instructions == "Answer in rhymes."
    await history.catalog.delete_agent(ADMIN, "x", key="d")
    newest = (await history.revisions(ADMIN, "agent", "x"))[0]
    assert (newest.number, newest.text) == (6, None)
    assert await history.restore(ADMIN, "agent", "x", 4, key="r2") == 7
    assert history.catalog.get_agent("x") == agent(
        name="Y", customInstructions="Answer in short prose."
    )
    with pytest.raises(NotThere, match="there are 1 to 7"):
        await history.restore(ADMIN, "agent", "x", 9, key="r3")


async def test_what_is_set_by_hand_becomes_one_revision_whoever_sees_it_first(
    valkey: Valkey, history: History
) -> None:
    await history.catalog.create_agent(ADMIN, agent(), key="1")
    async with opened(valkey) as other:
        client = Redis.from_url(valkey.url)
        await client.set(X, agent(name="By hand").to_text())
        await asyncio.gather(*(one.catalog.reload() for one in (history, other)))
        await asyncio.gather(*(one.note_all() for one in (history, other, history)))
        found = await history.revisions(ADMIN, "agent", "x")
        assert [(one.number, one.by) for one in found] == [(2, "store"), (1, "tg:7")]
        await client.delete(X)
        await client.set("agent:definition:y", json.dumps({"id": "y", "name": "Y"}))
        await other.catalog.reload()
        await asyncio.gather(*(one.note_all() for one in (other, other)))
        gone = await other.revisions(ADMIN, "agent", "x")
        assert (gone[0].number, gone[0].text, gone[0].by) == (3, None, "store")
        await client.set("agent:definition:y", json.dumps({"id": "y", "name": "Z"}))
        # A change over a value that nobody has seen yet notes that value first.
        await other.catalog.update_agent(ADMIN, agent(id="y", name="New"), key="9")
        names = [one.value["name"] for one in await other.revisions(ADMIN, "agent", "y")]
        assert names == ["New", "Z", "Y"]
        assert (await other.verify(ADMIN))[1] is None
        await client.aclose()


async def test_the_operators_file_has_a_history_and_is_changed_only_there(
    valkey: Valkey, tmp_path: Path
) -> None:
    path = tmp_path / "agents.json"
    server = {"url": "https://d.example/sse", "headers": {"X-Token": "Bearer ${TOKEN}"}}
    path.write_text(json.dumps({"agents": [agent(mcpServers={"d": server}).to_json()]}))
    async with opened(valkey, path) as history:
        await history.note_all()
        await history.note_all()
        path.write_text(json.dumps({"agents": [agent(name="Second").to_json()]}))
        await history.catalog.reload()
        await history.note_all()
        found = await history.revisions(ADMIN, "agent", "x")
        assert [(one.number, one.by) for one in found] == [(2, "file"), (1, "file")]
        assert found[0].place.startswith(str(path)) or "agents.json" in found[0].place
        with pytest.raises(Unrestorable, match=r"agents\.json"):
            await history.restore(ADMIN, "agent", "x", 1, key="r")
        with pytest.raises(Owned):
            await history.catalog.update_agent(ADMIN, agent(), key="u")
    async with opened(valkey, path) as again:  # a restart with the same file adds nothing
        await again.note_all()
        assert len(await again.revisions(ADMIN, "agent", "x")) == 2


async def test_while_the_file_cannot_be_used_nobody_takes_what_it_may_own(
    valkey: Valkey, tmp_path: Path
) -> None:
    path = tmp_path / "agents.json"
    path.write_text('{"agents": [')
    grant = RoleGrant(role="instance_admin")
    async with opened(valkey, path) as history:
        for change in (
            history.catalog.create_agent(ADMIN, agent(), key="1"),
            history.catalog.set_default(ADMIN, None, key="2"),
            history.catalog.put_document(ADMIN, "agent", "x", agent().to_text(), key="3"),
        ):
            with pytest.raises(FileUnusable, match="fix it first"):
                await change
        await history.catalog.grant_role(ADMIN, "tg:5", grant, key="4")
        path.write_text("{}")
        await history.catalog.reload()
        await history.catalog.create_agent(ADMIN, agent(), key="5")
        path.write_text('{"agents": [')  # the last good copy says what it owns
        await history.catalog.reload()
        await history.catalog.delete_agent(ADMIN, "x", key="6")


async def test_of_two_writers_at_once_exactly_one_wins_fifty_times(
    valkey: Valkey, history: History
) -> None:
    catalog = history.catalog
    await catalog.create_agent(ADMIN, agent(), key="0")
    async with opened(valkey) as other:

        async def write(one: Catalog, key: str, seen: str) -> bool:
            with suppress(RevisionConflict):
                await one.update_agent(ADMIN, agent(name=key), key=key, expected=seen)
                return True
            return False

        for number in range(50):
            seen = await catalog.writable.revision(X)
            assert seen is not None
            both = (write(catalog, f"a{number}", seen), write(other.catalog, f"b{number}", seen))
            assert sorted(await asyncio.gather(*both)) == [False, True]
        assert len(await history.revisions(ADMIN, "agent", "x")) == 51
        assert (await history.verify(ADMIN))[1] is None
        # Without an expected revision all of them are written, in some order.
        await asyncio.gather(
            *(
                one.catalog.update_agent(ADMIN, agent(name=f"c{n}"), key=f"c{n}")
                for n, one in enumerate((history, other) * 4)
            )
        )
        assert len(await history.revisions(ADMIN, "agent", "x")) == 59
        assert (await history.verify(ADMIN))[1] is None


async def test_one_changed_field_is_taken_back_and_a_later_change_of_it_is_not_trampled(
    history: History,
) -> None:
    await three_edits(history)
    records = {
        (one.field_changed, one.revision): one.number for one in await history.host_audit(ADMIN)
    }
    with pytest.raises(Trampled, match=f"record {records['customInstructions', 3]} by tg:7"):
        await history.roll_back(ADMIN, records["customInstructions", 2], key="b1")
    number = records["customInstructions", 3]
    assert await history.roll_back(ADMIN, number, key="b2") == 5
    assert await history.roll_back(ADMIN, number, key="b2") == 5
    now = history.catalog.get_agent("x")
    assert now is not None
    assert (now.name, now.custom_instructions) == ("Y", "Answer in prose.")  # the name stays
    newest = (await history.host_audit(ADMIN))[0]
    assert newest.change_reason == f"rollback of record {number}"
    assert (newest.field_changed, newest.revision) == ("customInstructions", 5)


async def test_a_secret_in_a_reason_is_kept_nowhere(valkey: Valkey, history: History) -> None:
    secret = "sk-ant-api03-abcdefghijklmnop"
    why = Why(f"because {secret}", f"sbk_{'a1' * 20}")
    await history.catalog.create_agent(ADMIN, agent(), key="1", why=why)
    (found,) = await history.revisions(ADMIN, "agent", "x")
    assert found.reason == "because [an API key]"
    client = Redis.from_url(valkey.url)
    kept = str([await client.lrange("agent:history:definition:x", 0, -1)])
    kept += str(await client.xrange("agent:audit:chain"))
    assert secret not in kept
    assert "a1a1" not in kept
    await client.aclose()


async def test_taking_back_the_first_record_removes_the_document(history: History) -> None:
    await history.catalog.create_agent(ADMIN, agent(), key="1")
    (record,) = await history.host_audit(ADMIN)
    await history.roll_back(ADMIN, record.number, key="b")
    assert history.catalog.get_agent("x") is None
    refused = Actor("tg:9")
    with pytest.raises(Denied):
        await history.catalog.create_agent(refused, agent(), key="2")
    newest = (await history.host_audit(ADMIN))[0]
    with pytest.raises(Unrestorable, match="changed no document"):
        await history.roll_back(ADMIN, newest.number, key="b2")
    with pytest.raises(NotThere):
        await history.roll_back(ADMIN, 999, key="b3")


@pytest.mark.parametrize("kind", ["binding", "default", "role", "key"])
async def test_every_kind_of_document_has_a_history_and_comes_back(
    history: History, kind: Any
) -> None:
    catalog = history.catalog
    await catalog.create_agent(ADMIN, agent(), key="1")
    grant = RoleGrant(role="instance_admin", account="acme")
    binding = AgentBinding.model_validate({"agentId": "x", "type": "ChatId", "bindingKey": "5"})
    held = ApiKey(id="k1", hash=digest(new_secret()), account="acme", role="instance_admin")
    if kind == "binding":
        id = binding.slot
        await catalog.bind(ADMIN, binding, key="2")
        await catalog.unbind(ADMIN, id, key="3")
    elif kind == "default":
        id = "default"
        await catalog.set_default(ADMIN, "x", key="2")
        await catalog.set_default(ADMIN, None, key="3")
    elif kind == "role":
        id = "tg:5"
        await catalog.grant_role(ADMIN, id, grant, key="2")
        assert catalog.snapshot().roles_held_by(id) == (grant,)
        await catalog.revoke_role(ADMIN, id, grant, key="3")
        assert catalog.snapshot().roles_held_by(id) == ()
    else:
        id = "k1"
        await catalog.create_key(ADMIN, held, key="2")
        await catalog.revoke_key(ADMIN, id, key="3")
        assert not catalog.snapshot().document.keys["k1"].value.is_live(0)
    found = await history.revisions(ADMIN, kind, id)
    assert [one.number for one in found] == [2, 1]
    if kind == "key":  # one that was revoked may have leaked
        with pytest.raises(Unrestorable, match="make a new one"):
            await history.restore(ADMIN, kind, id, 1, key="r")
        revoked = (await history.host_audit(ADMIN))[0]
        with pytest.raises(Unrestorable):
            await history.roll_back(ADMIN, revoked.number, key="b")
        assert not catalog.snapshot().document.keys["k1"].value.is_live(0)
        return
    assert await history.restore(ADMIN, kind, id, 1, key="r") == 3
    assert (await history.revisions(ADMIN, kind, id))[0].text == found[1].text
    assert (await history.verify(ADMIN))[1] is None


async def test_a_history_and_the_audit_are_shown_only_to_those_who_may_read(
    history: History,
) -> None:
    await three_edits(history)
    for asked in (
        history.revisions(STRANGER, "agent", "x"),
        history.diff(STRANGER, "agent", "x", 1, 2),
        history.restore(STRANGER, "agent", "x", 1, key="r"),
        history.host_audit(STRANGER),
        history.verify(STRANGER),
        history.audit(STRANGER, Target("instance")),
        history.audit(
            Actor("api:acme:a", (RoleGrant(role="account_manager", account="acme"),)),
            Target("instance", "acme"),
        ),
    ):
        with pytest.raises(Denied):
            await asked
    with pytest.raises(NotThere):
        await history.roll_back(STRANGER, 1, key="b")
    manager = Actor("tg:5", (RoleGrant(role="instance_manager", account="acme"),))
    assert len(await history.revisions(manager, "agent", "x")) == 4
    assert await history.audit(manager, Target("instance", "acme")) == []
    with pytest.raises(Denied):
        await history.audit(manager, Target("instance", "other"))
    with pytest.raises(Denied):
        await history.restore(manager, "agent", "x", 1, key="r2")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("change", "it was changed"),
        ("remove", "is missing"),
        ("truncate", "is missing"),
        ("delete", "is missing"),
        ("add", "one was put in"),
        ("rehash", "does not follow"),
    ],
)
async def test_the_audit_names_the_first_record_that_does_not_hold(
    valkey: Valkey, history: History, fault: str, words: str
) -> None:
    await three_edits(history)
    client = Redis.from_url(valkey.url)
    entries: Any = await client.xrange("agent:audit:chain")
    assert (await history.verify(ADMIN)) == (4, None)
    if fault == "change":
        body = entries[2][1]
        body[b"changed_by"] = body[b"changed_by"][:-1] + b"8"
    elif fault == "remove":
        del entries[2]
    elif fault == "truncate":
        del entries[2:]
    elif fault == "delete":
        entries.clear()
    elif fault == "add":
        entries.insert(2, (b"2-1", dict(entries[1][1])))
    else:
        from registry.audit import _digest

        body = {name.decode(): text.decode() for name, text in entries[1][1].items()}
        body["changed_by"] = "tg:8"
        body["hash"] = _digest(body)
        entries[1] = (entries[1][0], body)
    await client.delete("agent:audit:chain")
    for id, fields in entries:
        await client.xadd("agent:audit:chain", fields, id=id)
    count, broken = await history.verify(ADMIN)
    assert count == len(entries)
    assert broken is not None
    assert broken.number == {"add": 2, "delete": 1}.get(fault, 3)
    assert words in broken.why
    await client.aclose()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab.\\", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text("ab.\\", min_size=1, max_size=3), JSON, max_size=4)


def test_few_words_that_changed_are_told_alone() -> None:
    (change,) = differences({"name": "The cat sat on the mat."}, {"name": "The dog sat on a mat."})
    assert [(kind, text) for kind, text in change.words if kind != "="] == [
        ("-", "cat "),
        ("+", "dog "),
        ("-", "the "),
        ("+", "a "),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x " * 3_000, "x y " * 1_500),
        (" ".join(map(str, range(3_000))), " ".join(map(str, range(3_000, 0, -1)))),
        ("word " * 1_000, "".join("word " if n % 10 else "new " for n in range(1_000))),
    ],
    ids=["one word", "reversed", "every tenth"],
)
def test_long_texts_that_differ_everywhere_are_compared_in_a_moment(old: str, new: str) -> None:
    """A general comparison of these takes minutes."""
    began = time.process_time()
    (change,) = differences({"name": old}, {"name": new})
    assert time.process_time() - began < 0.05  # nothing is compared before somebody asks
    assert change.words
    assert time.process_time() - began < 2


@given(DOCUMENTS, DOCUMENTS)
def test_the_differences_applied_to_the_old_document_make_the_new_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    def without_nothing(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {name: without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {})}

    result: Any = old
    for change in differences(old, new):
        result = with_field(result, change.field, change.new)
        for words in (change.words,) if change.words else ():
            assert "".join(text for sign, text in words if sign != "-") == change.new
            assert "".join(text for sign, text in words if sign != "+") == change.old
    assert without_nothing(result) == without_nothing(new)
    assert not differences(new, new)


def test_fields_overlap_where_one_lies_inside_the_other() -> None:
    assert overlap("llmOverrides", "llmOverrides.model")
    assert overlap("", "name")
    assert not overlap("llmOverrides.model", "llmOverrides.maxTokens")
    assert not overlap("name", "names")
