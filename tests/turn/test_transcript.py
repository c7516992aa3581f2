"""A conversation as the model reads it, and what of it stays in memory."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import TurnRef
from bot.store.journal import Record
from bot.turn.transcript import (
    RECORD_BYTES,
    SET_ASIDE,
    UNANSWERED,
    Transcript,
    Transcripts,
)

Block = dict[str, Any]

text = st.builds(lambda words: {"type": "text", "text": words}, st.sampled_from(["hello", " \n"]))
thought = st.just({"type": "thinking", "thinking": "hm", "signature": "s"})
use = st.just({"type": "tool_use", "id": "call_0", "name": "n", "input": {"a": 1}})
answers = st.tuples(
    st.lists(st.one_of(text, thought, use), max_size=4),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["end_turn", "tool_use", "refusal"]),
    st.sampled_from(["answered", "unknown", "open"]),
)
talks = st.lists(st.lists(answers, max_size=3), min_size=1, max_size=8)
limits = st.tuples(st.integers(1, 6), st.integers(1, 120))


def person(turn: int) -> Record:
    said = [{"type": "text", "text": f"question {turn}"}]
    return Record("person", {"turn": str(turn), "content": said}, f"{turn}-0")


def answer(turn: int, step: int, content: list[Block], **more: Any) -> Record:
    named = [
        block | {"id": f"call_{step}"} if block["type"] == "tool_use" else block
        for block in content
    ]
    body = {"turn": str(turn), "content": named, "stop": "end_turn", "prefix": "p"}
    return Record("model", body | more)


def called(turn: int, step: int, fate: str) -> list[Record]:
    call, digest = f"call_{step}", f"digest {turn} {step}"
    started = Record("started", {"turn": str(turn), "call": call, "digest": digest})
    body = {"turn": str(turn), "call": call, "content": "done", "error": False}
    result = Record("result", body | {"unknown": True} if fate == "unknown" else body)
    return [started] if fate == "open" else [started, result]


def anew(transcript: Transcript) -> Transcript:
    records = [record for turn in transcript.turns for record in turn.records]
    fresh = Transcript()
    fresh.load(copy.deepcopy(records))
    return fresh


@given(talks, limits)
def test_a_conversation_that_was_followed_reads_like_one_that_is_read_anew(
    talk: list[Any], limit: tuple[int, int]
) -> None:
    followed = Transcript()
    for turn, steps in enumerate(talk):
        followed.load([person(turn)])
        start = followed.trim(*limit).start
        for step, (content, prefix, stop, fate) in enumerate(steps):
            more = {"prefix": prefix, "stop": stop, "start": start}
            followed.append([answer(turn, step, content, **more), *called(turn, step, fate)], "")
            fresh = anew(followed)
            for under in ("one", "two"):
                assert followed.messages(under) == fresh.messages(under)
            assert (followed.uncertain(), followed.count) == (fresh.uncertain(), fresh.count)


@given(talks)
def test_what_the_model_reads_takes_turns_and_answers_every_call(talk: list[Any]) -> None:
    transcript = Transcript()
    for turn, steps in enumerate(talk):
        transcript.load([person(turn)])
        for step, (content, prefix, stop, fate) in enumerate(steps):
            written = answer(turn, step, content, prefix=prefix, stop=stop)
            transcript.append([written, *called(turn, step, fate)], "")
    read = transcript.messages("one")

    assert all(a["role"] != b["role"] for a, b in pairwise(read))
    for said, after in pairwise(read):
        calls = [block["id"] for block in said["content"] if block["type"] == "tool_use"]
        results = [b["tool_use_id"] for b in after["content"] if b["type"] == "tool_result"]
        assert calls == results
        assert said["role"] == "user" or said["content"][-1]["type"] != "thinking"


def test_thinking_comes_back_when_its_own_prefix_does() -> None:
    transcript = Transcript()
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    said = {"type": "text", "text": "yes"}
    transcript.load([person(0)])
    transcript.append([answer(0, 0, [thought, said])], "")

    read = [transcript.messages(prefix)[1]["content"] for prefix in ("p", "another", "p")]

    assert read == [[thought, said], [said], [thought, said]]


def test_a_result_that_comes_later_takes_the_place_of_the_word_that_none_came() -> None:
    transcript = Transcript()
    transcript.load([person(0)])
    transcript.append(
        [answer(0, 7, [{"type": "tool_use", "id": "", "name": "n", "input": {}}])], ""
    )
    (open_,) = transcript.messages("p")[2]["content"]
    transcript.append(called(0, 7, "answered"), "")
    (answered,) = transcript.messages("p")[2]["content"]

    assert (open_["content"], open_["is_error"]) == (UNANSWERED, True)
    assert answered["content"] == "done"
    assert "is_error" not in answered


def test_an_unknown_outcome_makes_a_call_doubtful_only_in_its_own_turn() -> None:
    transcript = Transcript()
    for turn, fate in enumerate(("unknown", "answered")):  # some providers count calls anew
        transcript.load([person(turn)])
        transcript.append(called(turn, 0, fate), "")

    assert transcript.uncertain() == {"digest 0 0"}


def test_what_is_behind_the_limits_is_given_up_in_blocks_of_whole_turns() -> None:
    transcript = Transcript()
    starts = []
    for turn in range(40):
        transcript.load([person(turn)])
        starts.append(transcript.trim(8, 10**6).start)
        transcript.append([answer(turn, 0, [], start=starts[-1])], "")

    moved = [after for before, after in pairwise(starts) if before != after]
    assert [int(start.removesuffix("-0")) for start in moved] == list(range(3, 34, 3))
    assert len(transcript.turns) <= 8


def test_of_a_turn_without_an_end_the_next_ones_learn_only_that_it_was() -> None:
    transcript = Transcript()
    for turn, end in enumerate((True, False, True)):
        transcript.load([person(turn)])
        said = [answer(turn, 0, [{"type": "text", "text": f"said {turn}"}])]
        transcript.append(said + [Record("end", {"turn": str(turn)})] * end, "")

    blocks = [block for message in transcript.messages("p") for block in message["content"]]
    texts = [block["text"] for block in blocks]

    assert [text for text in texts if text.startswith("said")] == ["said 0", "said 2"]
    assert texts.count(SET_ASIDE) == 1


def ref(chat: int) -> TurnRef:
    return TurnRef("1-0", str(chat), "echo")


def records(count: int) -> list[Record]:
    return [Record("person", {"turn": "1-0", "content": []}, f"{n}-0") for n in range(count)]


def test_records_beyond_the_bound_are_forgotten_from_the_conversation_that_is_silent_longest() -> (
    None
):
    cache = Transcripts(max_bytes=25 * RECORD_BYTES)
    for chat in range(3):
        cache.get("bot:1", ref(chat)).load(records(10))
    cache.get("bot:1", ref(3))

    assert [cache.get("bot:1", ref(chat)).count for chat in (2, 1, 0)] == [10, 10, 0]


def test_what_is_forgotten_is_read_from_the_store_again() -> None:
    cache = Transcripts(max_bytes=5 * RECORD_BYTES)
    cache.get("bot:1", ref(1)).load(records(10))
    cache.get("bot:1", ref(2))

    again = cache.get("bot:1", ref(1))

    assert (again.turns, again.newest) == ([], "")


def test_a_turn_that_runs_keeps_its_records() -> None:
    cache = Transcripts(max_bytes=5 * RECORD_BYTES)
    running = cache.get("bot:1", ref(1))
    running.load(records(10))

    for chat in range(2, 5):
        cache.get("bot:1", ref(chat)).load(records(10))

    assert running.count == len(running.turns) == 10


def test_the_bound_counts_what_was_forgotten_by_name_only_once() -> None:
    cache = Transcripts(max_bytes=25 * RECORD_BYTES)
    for _ in range(5):
        cache.get("bot:1", ref(1)).load(records(10))
        cache.get("bot:1", ref(1))
        cache.forget("bot:1", ref(1))
    cache.get("bot:1", ref(2)).load(records(10))
    cache.get("bot:1", ref(3)).load(records(10))
    cache.get("bot:1", ref(3))

    assert cache.get("bot:1", ref(2)).count == 10


def test_what_is_read_again_counts_at_once_however_many_take_turns() -> None:
    cache = Transcripts(max_bytes=25 * RECORD_BYTES)
    in_memory: dict[int, Transcript] = {}
    for turn in range(30):
        transcript = cache.get("bot:1", ref(turn % 10))
        if transcript.count == 0:
            transcript.load(records(10))
        in_memory[turn % 10] = transcript

    cache.get("bot:1", ref(99))

    kept = [chat for chat, found in in_memory.items() if cache.get("bot:1", ref(chat)) is found]
    assert kept == [8, 9]


def test_long_texts_weigh_more_than_short_ones() -> None:
    text = {"type": "text", "text": "x" * 600_000}
    long = Record("person", {"turn": "1-0", "content": [text]}, "1-0")
    for more, kept in ((records(1), 11), ([long], 0)):
        cache = Transcripts(max_bytes=1_000_000)
        cache.get("bot:1", ref(1)).load([*records(10), *more])
        cache.get("bot:1", ref(2)).load([long])
        cache.get("bot:1", ref(3))
        assert cache.get("bot:1", ref(1)).count == kept


def test_drafts_count_no_more_once_their_turn_has_ended() -> None:
    def said(words: str, step: int) -> Record:
        return answer(0, step, [{"type": "text", "text": words}], model="claude-haiku-4-5")

    rules, end = (
        Record("rules", {"turn": "0", "goes_on": True}),
        Record("end", {"turn": "0", "outcome": "done"}),
    )
    plain, drafted = Transcript(), Transcript()
    plain.load([person(0), said("final", 0), end])
    drafted.load([person(0), said("draft" * 99, 0), rules, said("final", 1)])
    assert drafted.size > plain.size + 400
    drafted.load([end])
    assert drafted.size == plain.size == drafted.turns[0].size
    assert drafted.messages("p") == plain.messages("p")


@pytest.mark.parametrize("sign", ["a", "ж", "漢", "🙂"])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "by bytes"])
def test_a_conversation_is_cut_to_the_room_that_its_model_has(sign: str, counted: bool) -> None:
    cost = len(sign.encode()) / 2  # tokens of a character: no usual text has more
    transcript = Transcript()
    for turn in range(20):
        said = [{"type": "text", "text": sign * 1_000}]
        transcript.load([Record("person", {"turn": str(turn), "content": said}, f"{turn}-0")])
        view = transcript.trim(99, 10**6, tokens=10_000)
        sent = str(transcript.messages("p", view)).count(sign) * cost
        assert sent <= 10_000
        assert transcript.turns[-1].entry == str(turn)
        usage = [int(sent), int(1_000 * cost), 0, 0] if counted else [0, 0, 0, 0]
        more = {"start": view.start, "usage": usage}
        end = {"turn": str(turn), "outcome": "done", "text": ""}
        transcript.append([answer(turn, 0, said, **more), Record("end", end)], "")
    assert len(transcript.turns) > 10_000 / (2_000 * cost) / 3
