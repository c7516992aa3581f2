"""Profiles: a turn without one beside a turn with twenty rules, and what conditions cost."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from bench.process import Process
from bench.results import Bar, Section, Table, median, quantile, short
from bench.stage import AGENT, Stage
from registry.state_conditions import compiled

ROUNDS = 10
CHATS = 100
TIMES = 2_000
HOW = (
    "Two hosts at the same time, one whose agent has no profile and one whose agent has a profile "
    "of twenty rules: five before each answer, ten after it, five for what ends the turn. Each "
    "round sends a burst of messages to both, in an order that changes; CPU is of host and Valkey. "
    "A ratio is the median of the ratios within each round, so that a busy moment affects both "
    "sides. No rule adds an item, as that would be another request to the model: what is measured "
    "is looking at all of them, and recording it. Conditions are those of the same twenty rules, "
    "evaluated alone over a state of plain dictionaries."
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
STATE: Mapping[str, Any] = {
    "state": {
        "step": 1,
        "turn_number": 3,
        "answer": "The tide is high at noon, and low at six in the evening. " * 20,
        "tools_used": ["search", "read_file"],
        "params": {"mode": "plain"},
        "tasks": {"search": {"status": "done", "runs": 2}},
    },
    "message": {"text": "When is high tide?"},
    "person": {"name": "Ann", "role": "everyone"},
    "chat": {"kind": "private"},
    "agent": {"type": "researcher"},
    "inbox": {"count": 0, "sources": []},
}


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
    without, with_rules = await _turns(stage)
    ratio = median([b / a for a, b in zip(without, with_rules, strict=True)])
    rows = [
        ["without a profile", short(median(without) * 1e3), "1.00×"],
        ["with twenty rules", short(median(with_rules) * 1e3), f"{short(ratio)}×"],
    ]
    section.tables.append(Table(["a turn", "CPU ms", "against one without"], rows))
    once, at_load = conditions_once(), _loaded_once()
    row = [
        f"{median(once) * 1e6:.1f} / {quantile(once, 0.95) * 1e6:.1f}",
        f"{median(at_load) * 1e6:.0f}",
    ]
    head = ["twenty conditions µs, median / p95", "checked at loading µs, all twenty"]
    section.tables.append(Table(head, [row]))
    section.bars = [
        Bar("a turn with twenty rules against one without a profile", ratio, 1.05, "×"),
        Bar("twenty conditions (median)", median(once) * 1e6, 50, "µs"),
    ]
    return section


async def _turns(stage: Stage) -> tuple[list[float], list[float]]:
    """CPU seconds of a turn in each round: without a profile, and with one."""
    agents = stage.agents
    plain = await stage.host()
    folder = stage.folder / "agent_profiles"
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "twenty.json").write_text(json.dumps(profile()))
    stage.agents = {**agents, "agents": [AGENT | {"profile": "Twenty"}]}
    ruled = await stage.host(AGENT_PROFILES_DIR=str(folder))
    stage.agents = agents
    both, costs = (plain, ruled), ([], [])  # type: tuple[Any, Any], tuple[list[float], list[float]]
    try:
        for process, bot in both:
            await _burst(stage, process, bot)
            await _burst(stage, process, bot)
        for number in range(ROUNDS):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            for at in order:
                costs[at].append(await _burst(stage, *both[at]))
    finally:
        for process, _ in both:
            await process.end()
    return costs


async def _burst(stage: Stage, process: Process, bot: int) -> float:
    """CPU seconds of one message, over one for each of these chats."""
    before = process.cpu()
    await stage.control("burst", bot=bot, chats=CHATS)
    return (process.cpu() - before) / CHATS


def conditions_once(state: Mapping[str, Any] = STATE) -> list[float]:
    """Seconds that one look at all twenty conditions takes, many times."""

    def read(path: str) -> Any:
        found: Any = state
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    checked = [compiled(text) for text in CONDITIONS]
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        for one in checked:
            one.holds(read)
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
