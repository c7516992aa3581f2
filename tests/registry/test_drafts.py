"""Drafts of agents: begun, changed, compared, published, put on newer agents, discarded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from registry import errors
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.draft_edits import AGENT_FIELDS, Drafts
from registry.history import History
from registry.review import Proposal
from registry.reviews import Reviews
from registry.roles import HOST_ADMIN, Actor, RoleGrant, Why
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

ANN, BEN = Actor("tg:7", HOST_ADMIN), Actor("tg:8", HOST_ADMIN)
READER = Actor("tg:9", (RoleGrant(role="instance_admin"),))


@pytest.fixture
async def catalog(store: RedisStore) -> AsyncIterator[Catalog]:
    catalog = Catalog(FileSource(None), store, wall=lambda: 1.5)
    await catalog.open()
    jack = {"id": "jack", "name": "Jack", "customInstructions": "Be a pirate."}
    await catalog.create_agent(BEN, AgentDefinition.model_validate(jack), key="0")
    yield catalog
    await catalog.close()


@pytest.fixture
def drafts(catalog: Catalog) -> Drafts:
    return Drafts(History(catalog))


def instructions(catalog: Catalog, agent: str = "jack") -> str | None:
    found = catalog.get_agent(agent)
    return found.custom_instructions if found else None


async def publish_of_ben(catalog: Catalog, key: str = "b", **fields: Any) -> None:
    held = catalog.get_agent("jack")
    assert held is not None
    changed = AgentDefinition.model_validate(held.to_json() | fields)
    await catalog.update_agent(BEN, changed, key=key)


async def test_a_draft_changes_nothing_until_it_is_published(
    catalog: Catalog, drafts: Drafts
) -> None:
    await drafts.change(ANN, "jack", AGENT_FIELDS.change("prompt", "Be formal.", "jack"), key="1")
    await drafts.change(ANN, "jack", {"llm_overrides": {"temperature": 0.2}}, key="2")
    assert instructions(catalog) == "Be a pirate."
    there = await drafts.compare(ANN, "jack")
    assert [one.field for one in there.changes] == ["customInstructions", "llmOverrides"]
    assert not there.is_overtaken
    done = await drafts.publish(ANN, "jack", key="3", why=Why("too wild"))
    assert (done.number, done.changed) == (2, True)
    assert instructions(catalog) == "Be formal."
    assert drafts.find(ANN, "jack") is None
    assert await drafts.publish(ANN, "jack", key="3") == done  # its answer was lost
    with pytest.raises(errors.NotThere, match="you have no draft"):
        await drafts.publish(ANN, "jack", key="4")
    newest = (await History(catalog).revisions(ANN, "agent", "jack"))[0]
    assert (newest.by, newest.reason) == ("tg:7", "too wild")
    made = [one.action for one in await History(catalog).host_audit(ANN)]
    assert {"edit a draft", "publish a draft", "update agent"} <= {*made}


async def test_a_change_is_made_once_for_its_key(drafts: Drafts, catalog: Catalog) -> None:
    first = await drafts.change(ANN, "jack", {"name": "Jacques"}, key="1")
    later = await drafts.change(ANN, "jack", {"name": "Jim"}, key="2")
    assert await drafts.change(ANN, "jack", {"name": "Jacques"}, key="1") == later != first
    assert len(await History(catalog).revisions(ANN, "draft", "jack/tg:7")) == 2


async def test_of_two_who_edit_an_agent_the_second_sees_what_changed_and_keeps_the_text(
    catalog: Catalog, drafts: Drafts
) -> None:
    both = {"customInstructions": "Be formal.", "description": "A clerk"}
    await drafts.change(ANN, "jack", both, key="1")
    await drafts.change(BEN, "jack", {"customInstructions": "Be brief.", "name": "J"}, key="2")
    await drafts.publish(BEN, "jack", key="3")
    with pytest.raises(errors.Overtaken, match="tg:8 changed agent 'jack'") as raised:
        await drafts.publish(ANN, "jack", key="4")
    assert raised.value.fields == ("name", "customInstructions")
    there = await drafts.compare(ANN, "jack")
    assert (there.is_overtaken, there.by) == (True, "tg:8")
    assert there.overlapping == ["customInstructions"]
    draft, overlapping = await drafts.rebase(ANN, "jack", key="5")
    assert overlapping == ["customInstructions"]
    assert (draft.definition.name, draft.definition.description) == ("J", "A clerk")
    assert draft.definition.custom_instructions == "Be formal."
    await drafts.publish(ANN, "jack", key="6")
    assert instructions(catalog) == "Be formal."


async def test_a_publication_that_was_cut_in_the_middle_is_finished_by_the_same_one_again(
    catalog: Catalog, drafts: Drafts
) -> None:
    draft = await drafts.change(ANN, "jack", {"name": "Jacques"}, key="1")
    update = catalog.update_agent
    await update(ANN, draft.definition, key="2", expected=draft.base)  # and the host was killed
    done = await drafts.publish(ANN, "jack", key="2")
    assert (done.agent.name, done.number) == ("Jacques", 2)
    assert drafts.find(ANN, "jack") is None
    assert len(await History(catalog).revisions(ANN, "agent", "jack")) == 2


async def test_a_draft_of_a_deleted_agent_is_kept_and_published_as_a_new_one(
    catalog: Catalog, drafts: Drafts
) -> None:
    await drafts.change(ANN, "jack", {"name": "Jacques"}, key="1")
    await catalog.delete_agent(BEN, "jack", key="2")
    with pytest.raises(errors.Overtaken, match="deleted agent 'jack'"):
        await drafts.publish(ANN, "jack", key="3")
    await drafts.rebase(ANN, "jack", key="4")
    await drafts.publish(ANN, "jack", key="5")
    assert instructions(catalog) == "Be a pirate."


async def test_a_new_agent_begins_as_a_draft(catalog: Catalog, drafts: Drafts) -> None:
    with pytest.raises(errors.NotThere):
        await drafts.begin(ANN, "sea-poet", key="1")
    with pytest.raises(errors.AlreadyThere):
        await drafts.begin(ANN, "jack", key="1", new=True)
    with pytest.raises(errors.DocumentErrors, match="not a valid id"):
        await drafts.begin(ANN, "../jack", key="1", new=True)
    begun = await drafts.begin(ANN, "sea-poet", key="2", new=True)
    assert (begun.definition.name, begun.definition.mcp_servers) == ("Sea poet", ())
    await drafts.change(ANN, "sea-poet", {"customInstructions": "Rhyme."}, key="3")
    assert (await drafts.publish(ANN, "sea-poet", key="4")).number == 1
    assert instructions(catalog, "sea-poet") == "Rhyme."


async def test_who_may_not_write_agents_has_no_drafts_and_the_attempt_is_noted(
    catalog: Catalog, drafts: Drafts
) -> None:
    await drafts.begin(ANN, "jack", key="1")
    with pytest.raises(errors.Denied):
        await drafts.change(READER, "jack", {"name": "X"}, key="r1")
    with pytest.raises(errors.Denied):
        await drafts.publish(READER, "jack", key="r2")
    with pytest.raises(errors.Denied):
        await drafts.discard(READER, "jack", key="r3")
    assert [one.by for one in drafts.seen(READER)] == ["tg:7"]
    assert drafts.seen(Actor("tg:5")) == []
    refused = [one for one in await History(catalog).host_audit(ANN) if one.changed_by == "tg:9"]
    assert {one.change_type for one in refused} == {"refused"}
    assert len(refused) == 3


async def test_another_admin_neither_publishes_nor_discards_a_draft(drafts: Drafts) -> None:
    await drafts.begin(ANN, "jack", key="1")
    with pytest.raises(errors.NotThere):
        await drafts.publish(BEN, "jack", key="2")
    with pytest.raises(errors.Denied, match="somebody else"):
        await drafts.discard(BEN, "jack", key="3", author="tg:7")
    with pytest.raises(errors.Unrestorable, match="by its author"):
        await drafts.catalog.put_document(BEN, "draft", "jack/tg:7", None, key="4")
    operator = Actor("operator", HOST_ADMIN, "cli")
    assert await drafts.discard(operator, "jack", key="5", author="tg:7")
    assert not await drafts.discard(ANN, "jack", key="6")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customInstruction": "x"}, "did you mean 'customInstructions'"),
        ({"llmOverrides": {"temperature": 7}}, "must be at most 2"),
        ({"mcpServers": {"a": {"command": "sh"}}}, "only from the file or the environment"),
        ({"customInstructions": "sk-ant-api03-" + "a" * 90}, "in plain text"),
    ],
)
async def test_what_an_agent_may_not_contain_a_draft_may_not_either(
    drafts: Drafts, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(errors.DocumentErrors, match=said):
        await drafts.change(ANN, "jack", change, key="1")
    assert drafts.find(ANN, "jack") is None


async def test_forged_drafts_in_the_store_are_named_and_used_for_nothing(
    catalog: Catalog, drafts: Drafts, redis: Redis
) -> None:
    jack = {"id": "jack", "name": "Jack"}
    wild = {**jack, "mcpServers": {"a": {"command": "sh"}}}
    forged = {
        "jack/tg:7": {"agent": "jack", "by": "tg:8", "definition": jack},
        "jack/tg:6": {"agent": "jack", "by": "tg:6", "definition": wild},
        "jack/tg:5": {"agent": "jack", "by": "tg:5", "definition": {**jack, "id": "boss"}},
        "jack/x": {"agent": "jack", "by": "x", "definition": jack},
    }
    for id, value in forged.items():
        await redis.set(f"agent:draft:{id}", json.dumps(value))
    await catalog.reload()
    assert drafts.seen(ANN) == []
    places = {problem.place for problem in catalog.snapshot().problems}
    assert places == {f"agent:draft:{id}" for id in forged}


async def test_a_draft_is_held_for_review_as_any_change_is(
    catalog: Catalog, drafts: Drafts
) -> None:
    catalog.review = "two"
    await drafts.change(ANN, "jack", {"customInstructions": "Be formal."}, key="1")
    with pytest.raises(errors.ReviewNeeded):
        await drafts.publish(ANN, "jack", key="2")
    (proposal,) = Reviews(catalog).open()
    assert isinstance(proposal, Proposal)
    assert json.loads(proposal.text)["customInstructions"] == "Be formal."
    assert drafts.find(ANN, "jack") is not None
    catalog.review = "one"
    await publish_of_ben(catalog, description="A clerk")
    catalog.review = "two"
    with pytest.raises(errors.Overtaken):  # what a second person approves undoes nothing of Ben's
        await drafts.publish(ANN, "jack", key="3")


async def test_a_draft_is_on_test_in_one_chat_and_one_draft_in_each(
    catalog: Catalog, drafts: Drafts
) -> None:
    await drafts.begin(ANN, "jack", key="1")
    await drafts.begin(ANN, "poet", key="2", new=True)
    await drafts.test(ANN, "jack", "bot:1", -5, key="3")
    found = drafts.tested(ANN, "bot:1", -5)
    assert found is not None
    assert found.agent == "jack"
    await drafts.test(ANN, "poet", "bot:1", -5, key="4")
    assert [one.value.agent for one in catalog.snapshot().on_test.values()] == ["poet"]
    assert drafts.tested(BEN, "bot:1", -5) is None
    await drafts.stop(ANN, "poet", key="5")
    assert not catalog.snapshot().on_test


async def test_what_only_the_file_changes_has_no_drafts(store: RedisStore, tmp_path: Any) -> None:
    file = tmp_path / "agents.json"
    file.write_text('{"agents": [\n{"id": "jack", "name": "Jack"}]}')
    catalog = Catalog(FileSource(file), store)
    await catalog.open()
    with pytest.raises(errors.Owned, match=r"agents\.json:2"):
        await Drafts(History(catalog)).begin(ANN, "jack", key="1")
    await catalog.close()
