"""Tokens: counted the same everywhere, read from and written to a cache by exact prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.simulators.messages.conftest import Api, Clock

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARK = {"type": "ephemeral"}


def block(text: str, ttl: str | None = "5m") -> dict[str, Any]:
    mark = {} if ttl is None else {"cache_control": MARK | {"ttl": ttl}}
    return {"type": "text", "text": text} | mark


def words(tokens: int, letter: str = "a") -> str:
    return letter * 4 * (tokens - 3)


async def used(api: Api, body: dict[str, Any]) -> tuple[int, int, int]:
    usage = (await api.sdk.messages.create(**body)).usage
    assert usage.cache_creation is not None
    made = usage.cache_creation
    written = made.ephemeral_5m_input_tokens + made.ephemeral_1h_input_tokens
    assert written == usage.cache_creation_input_tokens
    return usage.input_tokens, written, usage.cache_read_input_tokens or 0


async def test_counted_tokens_are_all_the_input_tokens_of_the_request(api: Api, ask: Any) -> None:
    body = ask(
        system=[block(words(600))], tools=[{"name": "a", "input_schema": {"type": "object"}}]
    )
    counted = await api.sdk.messages.count_tokens(
        model=body["model"], messages=body["messages"], system=body["system"], tools=body["tools"]
    )
    assert sum(await used(api, body)) == counted.input_tokens


async def test_a_prefix_is_written_once_and_then_read(api: Api, ask: Any) -> None:
    body = ask(words(53, "b"), system=[block(words(600))])
    assert await used(api, body) == (53, 600, 0)
    assert await used(api, body) == (53, 0, 600)


async def test_a_changed_letter_in_the_prefix_misses(api: Api, ask: Any) -> None:
    await used(api, ask(system=[block(words(600))]))
    _, written, read = await used(api, ask(system=[block(words(600, "c"))]))
    assert (written, read) == (600, 0)


async def test_what_was_changed_behind_the_mark_does_not_matter(api: Api, ask: Any) -> None:
    await used(api, ask("One", system=[block(words(600))]))
    _, written, read = await used(api, ask("Two", system=[block(words(600))]))
    assert (written, read) == (0, 600)


async def test_a_longer_conversation_reads_the_old_and_writes_the_new(api: Api, ask: Any) -> None:
    first = {"role": "user", "content": [block(words(700))]}
    plain = {"role": "user", "content": [block(words(700), None)]}
    more = [
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [block(words(90))]},
    ]
    assert await used(api, ask(messages=[first])) == (0, 700, 0)
    assert await used(api, ask(messages=[plain, *more])) == (0, 94, 700)


async def test_a_mark_twenty_blocks_further_still_finds_its_prefix(api: Api, ask: Any) -> None:
    first = block(words(700))
    await used(api, ask(messages=[{"role": "user", "content": [first]}]))
    for blocks, expected in ((20, 700), (22, 0)):
        rest = [block(words(10), None) for _ in range(blocks - 1)]
        content = [block(words(700), None), *rest, block(words(20, "z") + str(blocks))]
        *_, read = await used(api, ask(messages=[{"role": "user", "content": content}]))
        assert read == expected


@pytest.mark.parametrize(
    ("model", "least"),
    [("sonnet-5-5", 512), ("sonnet-5", 1024), ("opus-4-7", 2048), ("haiku-4-5", 4096)],
)
async def test_a_prefix_below_the_models_minimum_is_not_cached(
    api: Api, ask: Any, model: str, least: int
) -> None:
    for tokens, written in ((least - 1, 0), (least, least)):
        body = ask(model=f"claude-{model}", system=[block(words(tokens))])
        assert (await used(api, body))[1] == written


@pytest.mark.parametrize(("ttl", "lifetime"), [("5m", 300), ("1h", 3600)])
async def test_a_prefix_lives_from_its_last_use(
    api: Api, ask: Any, clock: Clock, ttl: str, lifetime: int
) -> None:
    body = ask(system=[block(words(600), ttl)])
    await used(api, body)
    for _ in range(2):
        clock.now += lifetime - 1
        assert (await used(api, body))[2] == 600
    clock.now += lifetime + 1
    assert (await used(api, body))[1:] == (600, 0)


async def test_each_model_has_its_own_cache(api: Api, ask: Any) -> None:
    await used(api, ask(system=[block(words(600))]))
    other = ask(system=[block(words(600))], model="claude-opus-5")
    assert (await used(api, other))[1:] == (600, 0)


async def test_the_requests_own_mark_caches_up_to_the_last_block(api: Api, ask: Any) -> None:
    body = ask(words(800), cache_control=MARK)
    assert await used(api, body) == (0, 800, 0)
    assert await used(api, body) == (0, 0, 800)


async def test_a_refused_request_writes_nothing(api: Api, ask: Any) -> None:
    body = ask(system=[block(words(600))])
    assert (await api.post(body | {"colour": 1}))[0] == 400
    assert (await used(api, body))[1] == 600
