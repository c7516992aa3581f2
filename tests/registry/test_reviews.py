"""With `REVIEW__CORE=two` a change of a core agent waits for a second person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.errors import (
    Denied,
    DocumentErrors,
    NotThere,
    ReviewNeeded,
    RevisionConflict,
    Trampled,
    Unrestorable,
)
from registry.history import History
from registry.review import Proposal, reviews_needed
from registry.reviews import Reviews
from registry.roles import HOST_ADMIN, Actor, Duty, RoleGrant, Why
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

AUTHOR = Actor("tg:7", HOST_ADMIN)


def engineer(person: str, *duties: Duty) -> Actor:
    grant = RoleGrant(role="spokestack_engineer", scope="host", duties=duties)
    return Actor(person, (grant,))


QA, SECURITY, BOTH = (
    engineer("tg:1", "qa"),
    engineer("tg:2", "security"),
    engineer("tg:3", "qa", "security"),
)


def agent(**fields: Any) -> AgentDefinition:
    return AgentDefinition.model_validate({"id": "x", "name": "X", **fields})


@pytest.fixture
async def catalog(store: RedisStore) -> AsyncIterator[Catalog]:
    catalog = Catalog(FileSource(None), store, wall=lambda: 1.5)
    await catalog.open()
    await catalog.create_agent(AUTHOR, agent(), key="0")
    catalog.review = "two"
    yield catalog
    await catalog.close()


async def approve(reviews: Reviews, actor: Actor, *, key: str) -> Proposal:
    """Approve what waits for agent x, as it is at this moment."""
    return await reviews.approve(actor, "x", (await reviews.find("x")).mark, key=key)


async def propose(catalog: Catalog, key: str = "1", /, **fields: Any) -> tuple[str, ...]:
    with pytest.raises(ReviewNeeded) as raised:
        await catalog.update_agent(AUTHOR, agent(**fields), key=key, why=Why("tone"))
    return raised.value.needs


async def test_a_new_prompt_waits_for_quality_and_a_new_tool_for_security(
    catalog: Catalog,
) -> None:
    reviews = Reviews(catalog)
    fields = {"customInstructions": "Rhyme.", "mcpServerEndpoints": ["https://d.example/sse"]}
    assert await propose(catalog, **fields) == ("qa", "security")
    assert await propose(catalog, **fields) == ("qa", "security")  # asked again: the same proposal
    assert catalog.get_agent("x") == agent()
    record = (await History(catalog).host_audit(AUTHOR))[0]
    assert (record.kind, record.requires_review) == ("proposal", True)
    assert len(await History(catalog).host_audit(AUTHOR)) == 2
    with pytest.raises(Denied, match="another person"):
        await approve(reviews, engineer("tg:7", "qa", "security"), key="a0")
    with pytest.raises(Denied, match="named for qa and security"):
        await approve(reviews, engineer("tg:4"), key="a1")
    with pytest.raises(Denied):
        await approve(reviews, Actor("tg:5", (RoleGrant(role="instance_admin"),)), key="a2")
    assert (await approve(reviews, QA, key="a3")).missing == ("security",)
    with pytest.raises(Denied, match="named for security"):
        await approve(reviews, QA, key="a4")
    await approve(reviews, SECURITY, key="a5")
    assert catalog.get_agent("x") == agent(**fields)
    assert reviews.open() == []
    newest = (await History(catalog).revisions(AUTHOR, "agent", "x"))[0]
    assert newest.by == "tg:7"
    assert newest.reason == "tone (approved by tg:1 and tg:2)"


async def test_what_is_neither_prompt_nor_tool_is_live_at_once(catalog: Catalog) -> None:
    changed = agent(llmOverrides={"maxTokens": 100})
    await catalog.update_agent(AUTHOR, changed, key="1")
    assert catalog.get_agent("x") == changed
    assert await catalog.delete_agent(AUTHOR, "x", key="2")


async def test_a_proposal_is_rejected_or_overtaken_and_nothing_of_it_is_live(
    catalog: Catalog,
) -> None:
    reviews = Reviews(catalog)
    await propose(catalog, customInstructions="Rhyme.")
    await reviews.reject(QA, "x", key="r1", why=Why("no"))
    with pytest.raises(NotThere):
        await approve(reviews, BOTH, key="a1")
    await propose(catalog, "2", customInstructions="Rhyme.")
    changed = agent(llmOverrides={"maxTokens": 100})
    await catalog.update_agent(AUTHOR, changed, key="3")
    with pytest.raises(RevisionConflict):
        await approve(reviews, BOTH, key="a2")
    assert catalog.get_agent("x") == changed


async def test_an_approval_that_was_cut_in_the_middle_is_finished_by_the_next_one(
    catalog: Catalog,
) -> None:
    reviews = Reviews(catalog)
    await propose(catalog, customInstructions="Rhyme.")
    proposal = await reviews.find("x")
    await catalog.write_reviewed(AUTHOR, proposal, key="a1:apply")  # and then the host was killed
    await approve(reviews, BOTH, key="a1")
    assert reviews.open() == []
    assert len(await History(catalog).revisions(AUTHOR, "agent", "x")) == 2


async def test_a_restore_waits_as_well(catalog: Catalog) -> None:
    await propose(catalog, customInstructions="Rhyme.")
    await approve(Reviews(catalog), BOTH, key="a")
    with pytest.raises(ReviewNeeded):
        await History(catalog).restore(AUTHOR, "agent", "x", 1, key="r")
    assert catalog.get_agent("x") == agent(customInstructions="Rhyme.")


async def test_an_approval_is_of_the_change_that_was_seen(catalog: Catalog) -> None:
    reviews = Reviews(catalog)
    await propose(catalog, customInstructions="Be kind.")
    seen = (await reviews.find("x")).mark
    await propose(catalog, "2", customInstructions="Be evil.")
    with pytest.raises(RevisionConflict, match="look at it again"):
        await reviews.approve(BOTH, "x", seen, key="a")
    assert catalog.get_agent("x") == agent()


async def test_a_change_of_too_much_at_once_takes_every_review(catalog: Catalog) -> None:
    sets = {f"s{n}": ["mcp:a:*"] for n in range(70)}
    policy = {"toolsets": sets}
    assert await propose(catalog, customInstructions="Rhyme.", toolPolicy=policy) == (
        "qa",
        "security",
    )
    assert reviews_needed("not an object", {"id": "x", "name": "X"}) == ("qa", "security")
    assert reviews_needed({"name": "X"}, {"name": "X", "linkPreviews": True}) == ()


async def test_a_proposal_is_not_rolled_back_in_parts(catalog: Catalog) -> None:
    history = History(catalog)
    await propose(catalog, customInstructions="Be kind.")
    await propose(catalog, "2", customInstructions="Be evil.")
    for record in await history.host_audit(AUTHOR):
        if record.kind == "proposal":
            with pytest.raises((Unrestorable, Trampled)):
                await history.roll_back(AUTHOR, record.number, key=f"b{record.number}")
    with pytest.raises(Unrestorable):
        await history.restore(AUTHOR, "proposal", "x", 1, key="r")


async def test_what_is_no_proposal_is_named_and_approves_nothing(
    catalog: Catalog, redis: Redis
) -> None:
    await redis.set("agent:proposal:x", "{}")
    with pytest.raises(DocumentErrors, match="agent:proposal:x"):
        await Reviews(catalog).approve(BOTH, "x", "00000000", key="a")
