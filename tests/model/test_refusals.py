"""One table for what the API refuses: whose fault it is, by status and words."""

from __future__ import annotations

import pytest

from bot.errors import (
    ModelBusy,
    ModelError,
    ModelRefused,
    PromptTooLong,
    RequestRefused,
    StaleThinking,
)
from bot.model.refusals import event_error, status_error


@pytest.mark.parametrize(
    ("status", "words", "error", "cause"),
    [
        (400, "messages.3.content.0: Input should be an object", RequestRefused, "history"),
        (400, "Invalid request: the model could not read this", RequestRefused, "history"),
        (400, "messages: roles must alternate", RequestRefused, "history"),
        (422, "", RequestRefused, "history"),
        (400, "messages.1.content.0.image.source: tools: odd", RequestRefused, "history"),
        (400, "prompt is too long: 3 tokens > 2 maximum", PromptTooLong, "history"),
        (500, "context_length_exceeded", PromptTooLong, "history"),
        (413, "", PromptTooLong, "history"),
        (400, "Invalid `signature` in `thinking` block", StaleThinking, "history"),
        (400, "thinking.type: Input tag 'x' is not one of those expected", ModelRefused, "us"),
        (400, "`max_tokens` is too large: 9. The maximum context length is 8", ModelRefused, "us"),
        (400, "tools.0.custom.name: String should match", ModelRefused, "us"),
        (400, "The provided model identifier is invalid.", ModelRefused, "us"),
        (401, "messages.0: no", ModelRefused, "us"),
        (404, "prompt is too long", ModelRefused, "us"),
        (302, "", ModelRefused, "us"),
        (429, "context window", ModelBusy, "neighbour"),
        (503, "", ModelBusy, "neighbour"),
        (400, "Upstream request timed out", ModelBusy, "neighbour"),
    ],
)
def test_whose_fault_a_refusal_is(
    status: int, words: str, error: type[ModelError], cause: str
) -> None:
    found = status_error(status, {"error": {"type": "odd", "message": words}})

    assert type(found) is error
    assert found.cause == cause


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("messages.3.content.2.image.source: odd", (3, 2)),
        ("messages.3: odd", (3, 0)),
        ("messages[3].content[2]: odd", (3, 2)),
        ("messages.3.role: odd", (3, 0)),
        ("the messages are odd", None),
        (f"messages.{'9' * 40}: odd", (999_999, 0)),
    ],
)
def test_the_place_is_read_as_clients_write_it(words: str, place: tuple[int, int] | None) -> None:
    found = status_error(400, {"error": {"message": words}})

    assert isinstance(found, RequestRefused)
    assert found.place == place


@pytest.mark.parametrize("body", ["odd", {"detail": "odd"}, {"message": "odd"}, {"error": "odd"}])
def test_the_words_are_found_wherever_a_server_puts_them(body: object) -> None:
    assert "odd" in str(status_error(400, body))


def test_an_event_is_judged_like_a_status() -> None:
    long = {"error": {"type": "request_too_large", "message": "no"}}
    assert isinstance(event_error(long), PromptTooLong)
    assert isinstance(event_error({"error": {"type": "api_error"}}), ModelBusy)
