"""The one module that decides: what it lets through is what the written rule allows, no more."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.tools.policy import (
    CallContext,
    Decision,
    OfferedTools,
    Policy,
    decide,
    forbids,
    permits,
)
from registry.policy import ToolCondition

ANN = CallContext()
ADMIN = CallContext(role="admin")


def offer(*keys: str, complete: bool = True) -> OfferedTools:
    return OfferedTools(frozenset(keys), complete)


def decided(policy: Policy, key: str, *others: str, facts: CallContext = ANN) -> Decision:
    return decide(policy, key, offer(key, *others), facts)


def test_what_a_whitelist_names_runs_and_all_else_asks() -> None:
    policy = Policy(runs=("mcp:files:read_*", "skill:weather"))
    assert decided(policy, "mcp:files:read_text") is Decision.RUN
    assert decided(policy, "skill:weather") is Decision.RUN
    assert decided(policy, "mcp:files:write") is Decision.ASK
    assert decided(policy, "mcp:other:read_text") is Decision.ASK


def test_confirmation_beats_the_whitelist() -> None:
    policy = Policy(runs=("mcp:files:*",), confirm=("delete_*", "publish_*"))
    assert decided(policy, "mcp:files:delete_file") is Decision.CONFIRM
    assert decided(policy, "mcp:files:read") is Decision.RUN


def test_disabled_beats_everything() -> None:
    policy = Policy(runs=("mcp:files:*",), confirm=("x",), disabled=("mcp:files:x",))
    assert decided(policy, "mcp:files:x") is Decision.DENY


def test_an_absent_list_allows_all_and_an_empty_one_nothing() -> None:
    assert decided(Policy(runs=("mcp:a:b",)), "mcp:a:b") is Decision.RUN
    assert decided(Policy(runs=("mcp:a:b",), allowed=((),)), "mcp:a:b") is Decision.DENY


def test_a_tool_must_be_in_every_layers_list() -> None:
    policy = Policy(runs=("mcp:a:*",), allowed=(("mcp:a:*",), ("mcp:a:read",)))
    assert decided(policy, "mcp:a:read") is Decision.RUN
    assert decided(policy, "mcp:a:write") is Decision.DENY


def test_a_bare_name_denies_on_every_server() -> None:
    policy = Policy(runs=("mcp:*:*",), disabled=("drop",))
    assert decided(policy, "mcp:a:drop") is Decision.DENY
    assert decided(policy, "mcp:b:drop") is Decision.DENY
    assert decided(policy, "skill:drop") is Decision.DENY


def test_a_bare_name_allows_only_where_it_is_unambiguous() -> None:
    policy = Policy(runs=("read",))
    assert decided(policy, "mcp:a:read") is Decision.RUN
    assert decided(policy, "mcp:a:read", "mcp:evil:read") is Decision.ASK
    unheard = OfferedTools(frozenset({"mcp:a:read"}), complete=False)
    assert decide(policy, "mcp:a:read", unheard, ANN) is Decision.ASK


@pytest.mark.parametrize(
    "name", ["DELETE_all", "Delete_All", "ｄｅｌｅｔｅ_all", "delete_ＡＬＬ", "delete_\nall"]
)
def test_no_spelling_of_a_name_slips_past_a_list_that_asks(name: str) -> None:
    policy = Policy(runs=("mcp:a:*",), confirm=("delete_*",))
    assert decided(policy, f"mcp:a:{name}") is Decision.CONFIRM


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("mcp:files:read", "mcp:files:Read"),
        ("mcp:files:read", "mcp:files:read\n"),
        ("mcp:files:*", "mcp:files:a\nb"),
        ("mcp:files:*", "mcp:files:a\u202eb"),
        ("mcp:files:*", "mcp:files2:x"),
        ("mcp:files:*", "mcp:fi:les:x"),
        ("mcp:*", "mcp:files:read"),
        ("mcp:f*s:r", "mcp:f:s:r"),
        ("mcp:files:[rw]*", "mcp:files:read"),
        ("mcp:files:r.ad", "mcp:files:read"),
        ("skill:*", "mcp:a:b"),
        ("mcp:a:b", "skill:b"),
    ],
)
def test_a_pattern_reaches_no_further_than_it_says(pattern: str, key: str) -> None:
    assert not permits(pattern, key, offer(key))


def test_a_separator_in_a_name_moves_no_segment() -> None:
    policy = Policy(runs=("mcp:*:*",), disabled=("mcp:*:drop",))
    assert decided(policy, "mcp:a：b:drop") is Decision.DENY
    assert permits("mcp:a:x:*", "mcp:a:x:y", offer("mcp:a:x:y"))
    assert not permits("mcp:a:x", "mcp:a:x:y", offer("mcp:a:x:y"))


@pytest.mark.parametrize("key", ["", "mcp", "mcp:", "mcp::x", "mcp:a:", "skill:", "other:a:b", "x"])
def test_what_is_no_key_is_denied(key: str) -> None:
    assert decide(Policy(runs=("*", "mcp:*:*")), key, offer(key), ANN) is Decision.DENY


def test_a_condition_takes_a_tool_from_all_whom_it_does_not_fit() -> None:
    only_admins = ToolCondition(tools=("approve_budget",), roles=("admin",))
    flagged = ToolCondition(tools=("generate_*",), features=("ai",))
    policy = Policy(runs=("mcp:a:*",), conditions=(only_admins, flagged))
    assert decided(policy, "mcp:a:approve_budget") is Decision.DENY
    assert decided(policy, "mcp:a:approve_budget", facts=ADMIN) is Decision.RUN
    assert decided(policy, "mcp:a:generate_x", facts=ADMIN) is Decision.DENY
    assert (
        decided(policy, "mcp:a:generate_x", facts=CallContext("admin", frozenset({"ai"})))
        is Decision.RUN
    )
    assert decided(policy, "mcp:a:other") is Decision.RUN


def test_a_pattern_full_of_stars_takes_no_time() -> None:
    began = time.thread_time()
    assert not forbids("*a" * 120 + "b", "mcp:s:" + "a" * 512)
    key = "mcp:s:" + "a" * 512
    assert not permits("mcp:s:" + "*a" * 120 + "b", key, offer(key))
    assert time.thread_time() - began < 1


# --- properties: no sequence of names, patterns and layers lets through what the rule forbids -----

ALPHABET = "abAB_.:*?-éＡ\n"
words = st.text("abAB_.-éＡ", min_size=1, max_size=5)
tools = st.text(ALPHABET, min_size=1, max_size=6)
keys = st.one_of(
    st.builds("mcp:{}:{}".format, words, tools),
    st.builds("skill:{}".format, words),
)
globs = st.text("abAB_*?-Ａ", min_size=1, max_size=5)
patterns = st.one_of(
    globs,
    st.builds("mcp:{}:{}".format, globs, globs),
    st.builds("skill:{}".format, globs),
    st.just("mcp:*:*"),
)
lists = st.lists(patterns, max_size=3).map(tuple)
WHENS: dict[str, Callable[[str, CallContext], bool]] = {
    "": lambda _key, _facts: True,
    'role == "admin"': lambda _key, facts: facts.role == "admin",
    '"f" in features or person == 7': lambda _, f: "f" in f.features or f.person == 7,
    'chat == "private" and not (person == 7)': lambda _, f: f.chat == "private" and f.person != 7,
    'tool == "a"': lambda key, _facts: _parts(key)[-1] == "a",
    'server not in ["b", "é"]': lambda key, _: _server(key) not in {"b", "B", "é"},
    "no condition at all": lambda _key, _facts: False,
}
"""Conditions, and what they mean, written a second time."""
conditions = st.lists(
    st.builds(
        ToolCondition.model_construct,  # unchecked: any pattern, also a `when` that is none
        tools=lists,
        roles=st.sampled_from([("admin",), ("everyone",)]),
        features=st.sampled_from([(), ("f",)]),
        when=st.sampled_from(list(WHENS)),
    ),
    max_size=2,
).map(tuple)
policies = st.builds(
    Policy, lists, st.lists(lists, max_size=2).map(tuple), lists, lists, conditions
)
people = st.builds(
    CallContext,
    st.sampled_from(["everyone", "admin"]),
    st.sampled_from([frozenset[str](), frozenset({"f"})]),
    st.sampled_from([0, 7]),
    st.sampled_from(["private", "group"]),
)
offers = st.builds(OfferedTools, st.frozensets(keys, max_size=4), st.booleans())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _regex(glob: str, any_char: str) -> str:
    return "".join({"*": f"{any_char}*", "?": any_char}.get(c, re.escape(c)) for c in glob)


def _parts(key: str) -> list[str]:
    return key.split(":", 1) if key.startswith("skill:") else key.split(":", 2)


def _server(key: str) -> str:
    return "" if key.startswith("skill:") else _parts(key)[1]


def said_to_hold(condition: ToolCondition, key: str, facts: CallContext) -> bool:
    """The written rule for conditions."""
    fits = "everyone" in condition.roles or facts.role in condition.roles
    if not fits or set(condition.features) - facts.features:
        return False
    return WHENS[condition.when or ""](key, facts)


def said_to_cover(pattern: str, key: str) -> bool:
    """The written rule for lists that deny or ask, written a second time with regexes."""
    if ":" not in pattern:
        wanted, found = [pattern], [_parts(key)[-1]]
    else:
        wanted, found = _parts(pattern), _parts(key)
    return len(wanted) == len(found) and all(
        re.fullmatch(_regex(_folded(w), r"[\s\S]"), _folded(f))
        for w, f in zip(wanted, found, strict=True)
    )


def said_to_allow(pattern: str, key: str, offered: OfferedTools) -> bool:
    """The written rule for lists that allow."""
    if ":" not in pattern:
        same = [k for k in offered.keys if _parts(k)[-1] == _parts(key)[-1]]
        if not offered.complete or same != [key]:
            return False
        wanted, found = [pattern], [_parts(key)[-1]]
    else:
        wanted, found = _parts(pattern), _parts(key)
    return len(wanted) == len(found) and all(
        re.fullmatch(_regex(w, r"[^\n]"), f) for w, f in zip(wanted, found, strict=True)
    )


@given(policies, keys, offers, people)
def test_a_decision_is_what_the_written_rule_says(
    policy: Policy, key: str, offered: OfferedTools, facts: CallContext
) -> None:
    found = decide(policy, key, offered, facts)
    disabled = any(said_to_cover(p, key) for p in policy.disabled)
    outside = any(not any(said_to_allow(p, key, offered) for p in one) for one in policy.allowed)
    unfit = any(
        not said_to_hold(c, key, facts) and any(said_to_cover(p, key) for p in c.tools)
        for c in policy.conditions
    )
    if disabled or outside or unfit:
        assert found is Decision.DENY
    elif any(said_to_cover(p, key) for p in policy.confirm):
        assert found is Decision.CONFIRM
    elif any(said_to_allow(p, key, offered) for p in policy.runs):
        assert found is Decision.RUN
    else:
        assert found is Decision.ASK


@given(policies, st.lists(policies, max_size=3), keys, offers, people)
def test_a_further_layer_never_makes_a_decision_milder(
    policy: Policy, layers: list[Policy], key: str, offered: OfferedTools, facts: CallContext
) -> None:
    before = decide(policy, key, offered, facts)
    for layer in layers:
        policy = Policy(
            runs=policy.runs,
            allowed=(*policy.allowed, *layer.allowed),
            disabled=(*policy.disabled, *layer.disabled),
            confirm=(*policy.confirm, *layer.confirm),
            conditions=(*policy.conditions, *layer.conditions),
        )
        after = decide(policy, key, offered, facts)
        assert after >= before
        before = after


WIDE = {ord("a") + n: ord("ａ") + n for n in range(26)} | {
    ord("A") + n: ord("Ａ") + n for n in range(26)
}
SPELLINGS: list[Callable[[str], str]] = [
    str.swapcase,
    str.upper,
    str.casefold,
    lambda text: text.translate(WIDE),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
]


@given(policies, keys, offers, people, st.sampled_from(SPELLINGS))
def test_no_other_spelling_of_a_name_gets_past_what_denies_it_or_asks(
    policy: Policy,
    key: str,
    offered: OfferedTools,
    facts: CallContext,
    respelt: Callable[[str], str],
) -> None:
    *head, name = _parts(key)
    other = ":".join([*head[:1], *map(respelt, head[1:]), respelt(name)])
    more = OfferedTools(offered.keys | {key, other}, offered.complete)
    found = decide(policy, other, more, facts)
    if any(said_to_cover(p, key) for p in policy.disabled):
        assert found is Decision.DENY
    if any(said_to_cover(p, key) for p in policy.confirm):
        assert found >= Decision.CONFIRM
    covered = [c for c in policy.conditions if any(said_to_cover(p, key) for p in c.tools)]
    if any(not said_to_hold(c.model_copy(update={"when": ""}), key, facts) for c in covered):
        assert found is Decision.DENY
    if (
        key != other
        and any(c.when == 'tool == "a"' for c in covered)
        and name == "a" != respelt(name)
    ):
        assert found is Decision.DENY  # neither surely this tool, nor surely another


@given(policies, keys, offers, people, people)
def test_what_must_be_confirmed_never_runs_unasked_whoever_calls(
    policy: Policy, key: str, offered: OfferedTools, ann: CallContext, ben: CallContext
) -> None:
    asked = replace(policy, confirm=(*policy.confirm, key))
    for facts in (ann, ben):
        assert decide(asked, key, offered, facts) in (Decision.CONFIRM, Decision.DENY)


@given(policies, keys, offers, keys)
def test_another_servers_tool_never_makes_a_decision_milder(
    policy: Policy, key: str, offered: OfferedTools, other: str
) -> None:
    more = OfferedTools(offered.keys | {key, other}, offered.complete)
    alone = OfferedTools(offered.keys | {key}, offered.complete)
    assert decide(policy, key, more, ANN) >= decide(policy, key, alone, ANN)


@given(policies, st.text(max_size=12), offers)
def test_no_text_at_all_makes_it_fail(policy: Policy, key: str, offered: OfferedTools) -> None:
    decide(policy, key, offered, ANN)
