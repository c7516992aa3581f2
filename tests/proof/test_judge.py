"""The judge itself: it sees what is lost, out of order, and repeated with and without the mark."""

from __future__ import annotations

import pytest

from bench.proof.crowd import Sent
from bench.proof.judge import judge_room
from bench.proof.report import page, renewed
from bench.proof.result import Result
from bench.proof.rows import ROWS
from simulators.telegram.rooms import Message, Room

BOT, PERSON = 7, 5


def judged(*answers: str) -> Result:
    room = Room(PERSON, "private", bot=BOT)
    for number, text in enumerate(answers):
        room.messages[number] = Message({"message_id": number, "text": text}, BOT)
    result = Result()
    judge_room([Sent(nonce, "plain", room, 0.0) for nonce in ("n1", "n2", "n3")], result)
    return result


def test_answers_in_order_have_nothing_against_them() -> None:
    result = judged("n1/000 a", "n2/000 b\nn2/001 c", "n2/002 d", "n3/000 e")
    assert result == Result()


@pytest.mark.parametrize(
    ("answers", "marked", "unmarked", "disorder"),
    [
        (("n1/000", "n1/000", "n2/000"), 0, 1, 0),
        (("n1/000", "↻ n1/000", "n2/000"), 1, 0, 0),
        (("↻ n1/000", "n2/000", "n1/000"), 1, 0, 0),
        (("n2/000", "n1/000"), 0, 0, 1),
        (("n1/001", "n1/000"), 0, 0, 1),
        (("n1/000", "n2/000", "↻ n1/000"), 1, 0, 1),
    ],
)
def test_a_repeat_and_a_disorder_are_counted(
    answers: tuple[str, ...], marked: int, unmarked: int, disorder: int
) -> None:
    result = judged(*answers)
    assert (result.marked, result.unmarked, result.disorder) == (marked, unmarked, disorder)


def test_a_mark_on_a_new_message_is_needless_and_breaks_nothing() -> None:
    result = judged("n1/000", "↻ n2/000")
    assert (result.needless_marks, result.broken) == (1, [])


def test_rows_that_are_tried_again_change_their_own_lines_alone() -> None:
    first = [(row, Result(tries=3, notes=[f"of {row.name}"]), 1.0) for row in ROWS]
    old = page(first, 1, 300, 20, 25.0, "A machine.", "")
    new = renewed(old, [(ROWS[0], Result(tries=9, lost=2), 1.0)], 77)
    changed = [line for line in new.splitlines() if line not in old.splitlines()]
    assert [line[:8] for line in changed] == ["| **F1**", "- **F1**"]
    assert "| 9 |" in changed[0]
    assert changed[1] == "- **F1**: broken: 2 lost."
    assert "of F1;" not in new
    assert new.count("of F2") == old.count("of F2")


def test_a_row_that_is_new_is_added_below_the_others() -> None:
    old = page(
        [(row, Result(tries=3), 1.0) for row in ROWS[:-1]], 1, 300, 20, 25.0, "A machine.", ""
    )
    new = renewed(old, [(ROWS[-1], Result(tries=9), 1.0)], 77)
    (added,) = [line for line in new.splitlines() if line not in old.splitlines()]
    assert added.startswith(f"| **{ROWS[-1].name}** ")
    assert new.index(added) > new.index(f"| **{ROWS[-2].name}** ")
