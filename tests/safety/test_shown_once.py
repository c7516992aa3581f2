"""What is shown once reaches the message and is kept nowhere else."""

from __future__ import annotations

import pytest

from bot.ops.shown_once import KEPT_S, ShownOnce

SECRET = "sbk_" + "a1B2" * 10


def test_a_text_is_hidden_at_its_own_length_and_shown_as_often_as_the_message_is_sent() -> None:
    once = ShownOnce()
    message = f"Your key: {once.hide(SECRET)} and {once.hide(SECRET[::-1])}."
    assert SECRET not in message
    for _ in range(2):  # a message that met an error is sent again
        assert once.reveal(message) == f"Your key: {SECRET} and {SECRET[::-1]}."
    assert len(message) == len(once.reveal(message))


def test_another_process_and_a_later_time_know_nothing_of_it() -> None:
    now = [0.0]
    once = ShownOnce(lambda: now[0])
    message = f"Key {once.hide(SECRET)}."
    assert "lost: revoke it" in ShownOnce().reveal(message)
    assert len(ShownOnce().reveal(message)) == len(message)
    now[0] = KEPT_S
    assert SECRET not in once.reveal(message)


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        ShownOnce().hide("short")
