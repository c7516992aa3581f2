"""Who gets which agent: keys, the order of rules, inactive bindings, aliases."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from registry.binding import (
    AgentBinding,
    AgentBindingType,
    Bindings,
    BotIdentity,
    resolve,
    token_hash,
)

HASH = token_hash("123:abc")
BOT = BotIdentity(HASH, 123, "DemoBot")
OTHER = BotIdentity(token_hash("456:def"), 456)


def bound(agent: str, kind: str, key: object, bot: object = None) -> AgentBinding:
    value = {"agentId": agent, "type": kind, "bindingKey": key}
    return AgentBinding.model_validate(value if bot is None else {**value, "bot": bot})


@pytest.mark.parametrize("key", [HASH, HASH.upper(), "123", 123, "@DemoBot", "@demobot"])
def test_a_bot_is_bound_by_hash_by_id_or_by_username(key: object) -> None:
    found = resolve(Bindings([bound("a", "TelegramBot", key)]), None, BOT, 1, 1, {"a"})
    assert (found.agent_id, found.rule) == ("a", "bot")


@pytest.mark.parametrize("kind", ["ChatId", "chatid", "CHAT_ID"])
def test_types_are_taken_in_any_case(kind: str) -> None:
    assert bound("a", kind, "-1001234").slot == "chatid:-1001234"


@pytest.mark.parametrize(
    ("kind", "key", "bot"),
    [
        ("chat", "1", None),
        ("ChatId", "@name", None),
        ("ChatId", "0", None),
        ("ChatId", "1.5", None),
        ("UserId", "-5", None),
        ("UserId", True, None),
        ("TelegramBot", "not a key!", None),
        ("TelegramBot", "", None),
        ("TelegramBot", "123", "456"),
    ],
)
def test_a_key_that_does_not_fit_its_type_is_refused(kind: str, key: object, bot: object) -> None:
    with pytest.raises(ValidationError):
        bound("a", kind, key, bot)


RULES = {
    "chat in this bot": bound("chat-bot", "ChatId", "5", "123"),
    "person in this bot": bound("person-bot", "UserId", "9", "@demobot"),
    "bot": bound("bot", "TelegramBot", HASH),
    "chat": bound("chat", "ChatId", "5"),
    "person": bound("person", "UserId", "9"),
}


def test_each_rule_holds_once_all_before_it_are_gone() -> None:
    left = dict(RULES)
    known = {binding.agent_id for binding in RULES.values()} | {"fallback"}
    for rule, binding in RULES.items():
        found = resolve(Bindings(left.values()), "fallback", BOT, 5, 9, known)
        assert (found.rule, found.agent_id) == (rule, binding.agent_id)
        del left[rule]
    assert resolve(Bindings(), "fallback", BOT, 5, 9, known).rule == "default"
    assert resolve(Bindings(), None, BOT, 5, 9, known).rule == "nobody"


def test_two_bots_get_two_agents() -> None:
    both = Bindings([bound("a", "TelegramBot", HASH), bound("b", "TelegramBot", "456")])
    assert resolve(both, None, BOT, 1, 1, {"a", "b"}).agent_id == "a"
    assert resolve(both, None, OTHER, 1, 1, {"a", "b"}).agent_id == "b"


def test_a_binding_to_an_absent_agent_is_passed_over_and_said() -> None:
    found = resolve(Bindings(RULES.values()), "fallback", BOT, 5, 9, {"person"})
    assert (found.agent_id, found.rule) == ("person", "person")
    assert "'chat-bot', which does not exist" in found.why
    nobody = resolve(Bindings(), "gone", BOT, 5, 9, {"x"})
    assert (nobody.agent_id, "'gone' does not exist" in nobody.why) == (None, True)


def test_of_two_names_of_one_bot_the_first_stays_and_the_conflict_is_told() -> None:
    index = Bindings(
        [
            bound("first", "TelegramBot", "@demobot"),
            bound("second", "TelegramBot", HASH),
            bound("c1", "ChatId", "5", "123"),
            bound("c2", "ChatId", "5", HASH),
            bound("c3", "ChatId", "6", HASH),
        ]
    )
    found = index.conflicts([BOT, OTHER])
    assert [(one[0].agent_id, one[1].agent_id) for one in found] == [
        ("first", "second"),
        ("c1", "c2"),
    ]
    known = {"first", "second", "c1", "c2"}
    assert resolve(index, None, BOT, 1, 1, known).agent_id == "first"
    assert resolve(index, None, BOT, 5, 1, known).agent_id == "c1"
    unnamed = BotIdentity(HASH, 123)
    assert resolve(index, None, unnamed, 1, 1, known).agent_id == "second"
    assert not [one for one in index.conflicts([unnamed]) if one[0].agent_id == "first"]


AGENTS = st.sampled_from(["a", "b", "c", "d"])
BOT_KEYS = st.sampled_from([HASH, "123", "@demobot", "456", "@other"])
BINDINGS = st.one_of(
    st.builds(lambda a, k: bound(a, "TelegramBot", k), AGENTS, BOT_KEYS),
    st.builds(
        lambda a, kind, k, b: bound(a, kind, k, b),
        AGENTS,
        st.sampled_from(["ChatId", "UserId"]),
        st.integers(1, 3),
        st.none() | BOT_KEYS,
    ),
)


def by_the_words(
    bindings: list[AgentBinding], default: str | None, chat: int, person: int, known: set[str]
) -> str | None:
    """The rule of the house read aloud, without any index."""
    mine = {HASH, "123", "@demobot"}
    chats, people = AgentBindingType.ChatId, AgentBindingType.UserId
    wanted: list[Callable[[AgentBinding], bool]] = [
        lambda b: b.type is chats and b.binding_key == str(chat) and b.bot in mine,
        lambda b: b.type is people and b.binding_key == str(person) and b.bot in mine,
        lambda b: b.type is AgentBindingType.TelegramBot and b.binding_key in mine,
        lambda b: b.type is chats and b.binding_key == str(chat) and b.bot is None,
        lambda b: b.type is people and b.binding_key == str(person) and b.bot is None,
    ]
    firsts = [next((b for b in bindings if rule(b)), None) for rule in wanted]
    chosen = [b.agent_id for b in firsts if b is not None] + ([default] if default else [])
    return next((agent for agent in chosen if agent in known), None)


@given(
    st.lists(BINDINGS, max_size=12, unique_by=lambda binding: binding.slot),
    st.none() | AGENTS,
    st.integers(1, 3),
    st.integers(1, 3),
    st.sets(AGENTS),
)
def test_the_index_says_what_the_rule_says(
    bindings: list[AgentBinding], default: str | None, chat: int, person: int, known: set[str]
) -> None:
    found = resolve(Bindings(bindings), default, BOT, chat, person, known)
    assert found.agent_id == by_the_words(bindings, default, chat, person, known)
    assert found.why


def test_resolving_among_ten_thousand_takes_less_than_fifty_microseconds() -> None:
    index = Bindings(bound(f"a{n}", "ChatId", n + 1, "123") for n in range(10_000))
    known = {f"a{n}" for n in range(10_000)}
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        for chat in range(1, 1001):
            assert resolve(index, "a1", BOT, chat, 7, known).rule == "chat in this bot"
        best = min(best, (time.perf_counter() - start) / 1000)
    assert best < 50e-6
