"""What of the transcripts stays in memory."""

from __future__ import annotations

from bot.messages import TurnRef
from bot.store.journal import Record
from bot.turn.prompt import render
from bot.turn.turn import RECORD_BYTES, Transcript, Transcripts


def ref(chat: int) -> TurnRef:
    return TurnRef("1-0", str(chat), "echo")


def records(count: int) -> list[Record]:
    return [Record("person", {"turn": "1-0", "content": []}, f"{n}-0") for n in range(count)]


def test_records_beyond_the_bound_are_forgotten_from_the_conversation_that_is_silent_longest() -> (
    None
):
    held = Transcripts(size=25 * RECORD_BYTES)
    for chat in range(3):
        held.get("bot:1", ref(chat)).extend(records(10))
    held.get("bot:1", ref(3))

    assert [held.get("bot:1", ref(chat)).held for chat in (2, 1, 0)] == [10, 10, 0]


def test_what_is_forgotten_is_asked_for_again_but_keeps_its_render() -> None:
    held = Transcripts(size=5 * RECORD_BYTES)
    first = held.get("bot:1", ref(1))
    first.render, first.used_at = render(0.0, "Be kind.", [], [], {}), 7.0
    first.extend(records(10))
    held.get("bot:1", ref(1))
    held.get("bot:1", ref(2))

    again = held.get("bot:1", ref(1))

    assert (again.turns, again.known) == ([], "")
    assert (again.render, again.used_at) == (first.render, 7.0)


def test_a_turn_that_runs_keeps_its_records() -> None:
    held = Transcripts(size=5 * RECORD_BYTES)
    running = held.get("bot:1", ref(1))
    running.extend(records(10))

    for chat in range(2, 5):
        held.get("bot:1", ref(chat)).extend(records(10))

    assert running.held == len(running.turns) == 10


def test_the_bound_counts_what_was_forgotten_by_name_only_once() -> None:
    held = Transcripts(size=25 * RECORD_BYTES)
    for _ in range(5):
        held.get("bot:1", ref(1)).extend(records(10))
        held.get("bot:1", ref(1))
        held.forget("bot:1", ref(1))
    held.get("bot:1", ref(2)).extend(records(10))
    held.get("bot:1", ref(3)).extend(records(10))
    held.get("bot:1", ref(3))

    assert held.get("bot:1", ref(2)).held == 10


def test_what_is_read_again_counts_at_once_however_many_take_turns() -> None:
    held = Transcripts(size=25 * RECORD_BYTES)
    in_memory: dict[int, Transcript] = {}
    for turn in range(30):
        transcript = held.get("bot:1", ref(turn % 10))
        if transcript.held == 0:
            transcript.extend(records(10))
        in_memory[turn % 10] = transcript

    held.get("bot:1", ref(99))

    kept = [chat for chat, found in in_memory.items() if held.get("bot:1", ref(chat)) is found]
    assert kept == [8, 9]


def test_long_texts_weigh_more_than_short_ones() -> None:
    text = {"type": "text", "text": "x" * 600_000}
    long = Record("person", {"turn": "1-0", "content": [text]}, "1-0")
    for more, kept in ((records(1), 11), ([long], 0)):
        held = Transcripts(size=1_000_000)
        held.get("bot:1", ref(1)).extend([*records(10), *more])
        held.get("bot:1", ref(2)).extend([long])
        held.get("bot:1", ref(3))
        assert held.get("bot:1", ref(1)).held == kept
