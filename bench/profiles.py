"""Profiles: a turn without one beside a turn with twenty rules, and what conditions cost."""

from __future__ import annotations

import json
import time
from typing import Any

from bench.process import Process
from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import AGENT, Stage
from registry.profile import Profile
from registry.profile_state import TEXT_LIMIT
from registry.state_conditions import compiled

ROUNDS = 20
CHATS = 150
TIMES = 2_000
HOW = (
    "Three hosts at the same time: two whose agent has no profile, which shows how far equal hosts "
    "are apart, and one whose agent has a profile of twenty rules: five before each answer, ten "
    "after it, five for what ends the turn. Each round sends a burst of messages to all, in an "
    "order that changes; CPU is of host and Valkey. A ratio is that of the medians over all "
    "rounds. No rule adds an item, as that would be another request to the model: what is measured "
    "is looking at all of them, and recording it. Conditions are those of the same twenty rules, "
    "looked at alone, with finding the values that they read. Beside them are twenty that each "
    "look for a text in the longest one that there may be, and find its letters but not the text."
)
CONDITIONS = (
    "v['state.step'] == 0 and not v['state.params.date'] and v['chat.kind'] == 'http'",
    "v['state.turn_number'] > 1000 and v['person.role'] == 'admin'",
    "v['message.text'] == 'help' or v['message.text'] == 'what can you do?'",
    "v['agent.type'] in ['partner', 'associate'] and v['state.params.strict']",
    "v['inbox.count'] > 3",
    "not v['state.current_action'] and v['state.answer'] == ''",
    "v['state.last_error'] is not None",
    "'search' in v['state.tools_used'] and 'Source' not in v['state.answer']",
    "v['state.tasks.search.status'] == 'error'",
    "v['state.tasks.search.runs'] >= 5",
    "v['state.step'] > 20",
    "v['state.current_action.name'] == 'write_file' and not v['state.params.may_write']",
    "v['state.current_action.arguments.path'] == '/etc/passwd'",
    "'ERROR' in v['state.answer'] or 'Traceback' in v['state.answer']",
    "v['person.name'] == 'root' and v['chat.kind'] != 'private'",
    "v['state.params.mode'] == 'strict' and not v['state.tools_used']",
    "'SELF_REFLECTION_PROMPT' in v['inbox.sources']",
    "v['state.last_error'] and v['state.step'] >= 3",
    "v['state.answer'] in ['', '...', 'none']",
    "v['state.current_action'] or True",
)
QUESTION = {"turn": "1-0", "given": {"text": "When is high tide?", "params": {"mode": "plain"}}}
TEXT = "The tide is high at noon, and low at six in the evening. " * 20
ANSWER = {"turn": "1-0", "content": [{"type": "text", "text": TEXT}], "stop": "end_turn"}
FIXED = {"person.name": "Ann", "person.role": "everyone", "chat.kind": "private"}


def profile() -> dict[str, Any]:
    """A profile with these conditions, none of which adds an item in the bench."""
    item = {"source": "SELF_REFLECTION_PROMPT"}
    observers = [
        {"id": f"o{n}", "condition": text, "action": {"type": "add_to_inbox", "inbox_item": item}}
        for n, text in enumerate(CONDITIONS[:15])
    ]
    ends = {"type": "end_agent_turn", "outcome": "success"}
    flow = [
        {"id": f"f{n}", "condition": text, "action": ends} for n, text in enumerate(CONDITIONS[15:])
    ]
    return {
        "name": "Twenty",
        "pre_turn_observers": observers[:5],
        "post_turn_observers": observers[5:],
        "flow_decider": flow,
    }


async def measure(stage: Stage) -> Section:
    """Both hosts through all rounds; then the conditions alone."""
    section = Section("Profiles", HOW)
    costs = await _turns(stage)
    base = median(costs["without a profile"] + costs["without a profile, once more"])
    rows = [
        [name, short(median(cost) * 1e3), short(min(cost) * 1e3), f"{median(cost) / base:.2f}×"]
        for name, cost in costs.items()
    ]
    head = ["a turn", "CPU ms", "the best round", "against those without"]
    section.tables.append(Table(head, rows))
    ratio = median(costs["with twenty rules"]) / base
    once, at_load = conditions_once(), _loaded_once()
    row = [
        f"{median(once) * 1e6:.1f} / {quantile(once, 0.95) * 1e6:.1f}",
        f"{median(_looking_once()) * 1e6:.0f}",
        f"{median(at_load) * 1e6:.0f}",
    ]
    head = [
        "twenty conditions µs, median / p95",
        "twenty that look into 4,096 characters µs",
        "checked at loading µs, all twenty",
    ]
    section.tables.append(Table(head, [row]))
    section.bars = [
        Bar("a turn with twenty rules against one without a profile", ratio, 1.05, "×"),
        Bar("twenty conditions (median)", median(once) * 1e6, 50, "µs"),
    ]
    return section


async def _turns(stage: Stage) -> dict[str, list[float]]:
    """CPU seconds of a turn in each round, by what the host's agent has."""
    agents = stage.agents
    plain, other = await stage.host(), await stage.host()
    folder = stage.folder / "agent_profiles"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "twenty.json").write_text(json.dumps(profile()))
    stage.agents = {**agents, "agents": [AGENT | {"profile": "Twenty"}]}
    ruled = await stage.host(AGENT_PROFILES_DIR=str(folder))
    stage.agents = agents
    hosts = {
        "without a profile": plain,
        "without a profile, once more": other,
        "with twenty rules": ruled,
    }
    costs: dict[str, list[float]] = {name: [] for name in hosts}
    try:
        for number in range(ROUNDS + 2):
            names = [*hosts][number % len(hosts) :] + [*hosts][: number % len(hosts)]
            for name in names:
                cost = await _burst(stage, *hosts[name])
                if number >= 2:  # the first ones only warm up
                    costs[name].append(cost)
    finally:
        for process, _ in hosts.values():
            await process.end()
    return costs


async def _burst(stage: Stage, process: Process, bot: int) -> float:
    """CPU seconds of one message, over one for each of these chats."""
    before = process.cpu()
    await stage.control("burst", bot=bot, chats=CHATS)
    return (process.cpu() - before) / CHATS


def conditions_once() -> list[float]:
    """Seconds that one look at all twenty takes, their values included, many times."""
    from bot.profiles.rules import rules_of
    from bot.profiles.state import TurnState
    from bot.store.journal import Record

    rules = rules_of(Profile.model_validate(profile()), "Twenty@bench")
    state = TurnState(FIXED, {}).follow([Record("person", QUESTION), Record("model", ANSWER)])
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        for phase in (rules.pre, rules.post, rules.flow):
            if phase is not rules.flow:  # there the answer is new, or the turn
                state.known = {}
            values = phase.values(state)
            for rule in phase.rules:
                rule.holds(values.get)
        found.append(time.perf_counter() - began)
    return found


def _looking_once() -> list[float]:
    """Seconds that twenty conditions take which look for a text in a long one, in vain."""
    text = (TEXT * 10)[:TEXT_LIMIT]
    words = [word[::-1] for word in TEXT.split()[:10]]
    words = [f"{word} {other}" for word in words for other in ("at", "in")]
    several = [compiled(f"'{word}' in v['state.answer']") for word in words]
    found = []
    for _ in range(200):
        began = time.perf_counter()
        for one in several:
            one.holds(lambda _path: text)
        found.append(time.perf_counter() - began)
    return found


def _loaded_once() -> list[float]:
    """Seconds that checking all twenty takes, when a profile is loaded."""
    found = []
    for _ in range(20):
        compiled.cache_clear()
        began = time.perf_counter()
        for text in CONDITIONS:
            compiled(text)
        found.append(time.perf_counter() - began)
    return found
