"""What to leave out of a request that was refused because of something in it.

The least is left out first: pictures become words, and what the server names goes. Where it names
nothing, what was sent for the first time is suspected: the newest results in a loop of calls, else
the turn before. Then all but this turn goes. What is too long loses its older half at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.errors import PromptTooLong, RequestRefused
from bot.messages import Json
from bot.store.journal import Record
from bot.turn.transcript import (
    PICTURES,
    RESULT,
    TURN,
    Transcript,
    TurnHistory,
    View,
    calls_of,
    has_pictures,
)

MOST = 4
"""How often a turn's requests are narrowed; of a request that is refused forever, one more."""
PRECISE = 2
"""How often only what the server names is left out: there may be more of it."""


def narrowed(
    error: RequestRefused, transcript: Transcript, prefix: str, view: View, times: int
) -> View | None:
    """The next view to try after a refusal, the `times`-th of the turn; None where nothing helps.

    Refused was what is sent of this view under this prefix.
    """
    if times >= MOST:
        return None
    *earlier, current = transcript.shown(view)
    if isinstance(error, PromptTooLong):
        return _shortened(earlier, current, view, times)
    shown = [turn for turn in earlier if _is_shown(turn, view)]
    pictures = _with_pictures([*shown, current], view)
    if pictures and (error.about_images or error.place is None):
        return _without(view, PICTURES, pictures)
    if error.place is not None:
        owner = transcript.turn_at(error.place, prefix, view)
        if owner is current:
            return _without_named(transcript.messages(prefix, view), error.place, view)
        if owner is not None and times < PRECISE and _is_shown(owner, view):
            return _without_turn(view, owner)
    elif newest := _newest_results(current, view):
        return _without(view, RESULT, newest)
    elif earlier and _is_shown(earlier[-1], view) and times < PRECISE:
        return _without_turn(view, earlier[-1])
    if earlier:
        return replace(view, start=current.id)
    return _without(view, RESULT, current.results())


def is_at_end(place: tuple[int, int] | None, messages: Sequence[Json]) -> bool:
    """Whether a place is behind these messages, in what only one request had at its end."""
    if place is None:
        return False
    at, block = place
    content = messages[at]["content"] if at < len(messages) else ()
    return block >= len(content) and at >= len(messages) - 1


def _shortened(
    earlier: list[TurnHistory], current: TurnHistory, view: View, times: int
) -> View | None:
    """The newer half of the conversation, then this turn alone, then less and less of its results.

    Halves are by size. Pictures, which are large where bytes count, go with what is next to them.
    """
    if earlier and not times:
        half, kept = sum(turn.size for turn in earlier) / 2, list[TurnHistory]()
        while len(kept) + 1 < len(earlier) and half >= sum(
            turn.size for turn in earlier[-len(kept) - 1 :]
        ):
            kept = earlier[-len(kept) - 1 :]
        start = replace(view, start=[*kept, current][0].id)
        return _without(start, PICTURES, _with_pictures(kept, view)) or start
    if earlier:
        return replace(view, start=current.id)
    if pictures := _with_pictures([current], view):
        return _without(view, PICTURES, pictures)
    results = [one for one in current.results() if RESULT + one.body["call"] not in view.omitted]
    results.sort(key=_text_size, reverse=True)
    if times + 1 >= MOST:
        return _without(view, RESULT, results)
    half, chosen = sum(map(_text_size, results)) / 2, list[Record]()
    while sum(map(_text_size, chosen)) < half:
        chosen.append(results[len(chosen)])
    return _without(view, RESULT, chosen)


def _text_size(result: Record) -> int:
    content = result.body["content"]
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text", "")) for part in content)


def _is_shown(turn: TurnHistory, view: View) -> bool:
    """Whether an earlier turn is sent as it was, and not as a note."""
    return turn.ended and not turn.set_aside and TURN + turn.entry not in view.omitted


def _newest_results(turn: TurnHistory, view: View) -> list[Record]:
    """What was sent for the first time, if a turn continues with the results of its calls."""
    calls = [one.body["content"] for one in turn.records if one.kind == "model"][-1:]
    ids = {block["id"] for content in calls for block in calls_of(content)}
    results = [one for one in turn.results() if one.body["call"] in ids]
    return [one for one in results if RESULT + one.body["call"] not in view.omitted]


def _with_pictures(turns: list[TurnHistory], view: View) -> list[Record]:
    results = (result for turn in turns for result in turn.results() if has_pictures(result))
    return [one for one in results if not _names(one) & view.omitted]


def _names(result: Record) -> set[str]:
    return {RESULT + result.body["call"], PICTURES + result.body["call"]}


def _without_turn(view: View, turn: TurnHistory) -> View:
    return replace(view, omitted=view.omitted | {TURN + turn.entry})


def _without(view: View, kind: str, results: list[Record]) -> View | None:
    names = {kind + result.body["call"] for result in results}
    return None if names <= view.omitted else replace(view, omitted=view.omitted | names)


def _without_named(messages: list[Json], place: tuple[int, int], view: View) -> View | None:
    """Without the result at this place, if there is one: nothing else of a turn can be spared."""
    content = messages[place[0]]["content"] if place[0] < len(messages) else ()
    if place[1] >= len(content):  # what this request alone had at its end
        return None
    call = content[place[1]].get("tool_use_id")
    if call is None or RESULT + call in view.omitted:
        return None
    return replace(view, omitted=view.omitted | {RESULT + call})
