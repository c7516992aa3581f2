"""Each mechanism taken out in a copy of the tree: a short test must fail.

`python -m bench.proof.mutations [name …]` writes its table into docs/reliability.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.host import ROOT

PAGE = ROOT / "docs" / "reliability.md"
TITLE = "## What each mechanism is worth\n"
INTRO = """
`python -m bench.proof.mutations` removes each mechanism from a copy of the tree, and runs the short
test that must then fail.

"""
COPIED = (
    *("bot", "registry", "simulators", "switchboard_bots.py"),
    *("bench", "tests", "pyproject.toml"),
)
KILLS = "tests/proof/test_kills.py::"
ROWS = "tests/proof/test_rows.py::"
NAMED = KILLS + "test_kill_9_at_each_named_point_loses_nothing_and_repeats_only_with_the_mark"
FROZEN = ROWS + "test_a_write_of_a_frozen_owner_is_refused_after_its_lease"
IDS = ROWS + "test_falling_update_ids_are_accepted_and_the_same_one_is_not"
AWAY = ROWS + "test_while_the_store_is_away_nothing_is_confirmed_and_afterwards_all_is_answered"
PAIR = ROWS + "test_two_replicas_never_meet_and_a_stranger_is_survived"
POISON = ROWS + "test_poison_is_set_aside_with_word_and_the_next_message_answered"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mechanism: its file, the text that makes it, and what replaces that text."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        "the fence check",
        "bot/store/scripts/fence.lua",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
        FROZEN,
    ),
    Mutation(
        "the lease: a held line is not taken",
        "bot/store/scripts/acquire.lua",
        "if held and held ~= ARGV[1] and alive(held) then",
        "if false then",
        PAIR,
    ),
    Mutation(
        "after a gap in its lease a host looks at all its lines",
        "bot/store/scripts/beat.lua",
        "if ARGV[4] ~= 'all' and redis.call('GET', KEYS[2]) ~= owner then return {} end",
        "",
        "tests/hosting/test_leases.py::"
        "test_a_host_that_was_frozen_hears_of_every_line_that_was_taken_meanwhile",
    ),
    Mutation(
        "the seen-set",
        "bot/store/scripts/accept.lua",
        "if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) == 1 then",
        "if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) >= 0 then",
        IDS,
    ),
    Mutation(
        "store first, then the offset",
        "bot/telegram/poller.py",
        "            except StoreUnavailable as error:\n                self._state",
        "            except StoreUnavailable as error:\n"
        "                return max(number for number, _ in updates) + 1\n"
        "                self._state",
        AWAY,
    ),
    Mutation(
        "an entry stays in the inbox until its answer is sent",
        "bot/store/scripts/begin.lua",
        "local found = {}",
        "redis.call('XDEL', KEYS[#KEYS], ARGV[2])\nlocal found = {}",
        NAMED,
    ),
    Mutation(
        "a finished entry is not begun again",
        "bot/store/scripts/begin.lua",
        "elseif #redis.call('XRANGE', KEYS[#KEYS], ARGV[2], ARGV[2]) == 0 then",
        "elseif false then",
        NAMED,
    ),
    Mutation(
        "a turn that nobody continues is let go",
        "bot/store/scripts/begin.lua",
        "and not is_abandoned() then",
        "then",
        "tests/proof/test_forsaken.py::"
        "test_a_turn_that_is_neither_in_the_inbox_nor_asks_anybody_holds_up_no_conversation",
    ),
    Mutation(
        "the record that a call was started",
        "bot/turn/tool_calls.py",
        "await self.turn.record(*records)",
        'await self.turn.record(*(one for one in records if one.kind != "started"))',
        NAMED,
    ),
    Mutation(
        "the receipt of each part",
        "bot/store/scripts/end_part.lua",
        "if redis.call('XDEL', outbox, part) == 0 then return false end",
        "if outbox then return true end",
        NAMED,
    ),
    Mutation(
        "the mark on a part of unknown fate",
        "bot/telegram/sender.py",
        "part = mark_repeated(item.part) if item.maybe_sent else item.part",
        "part = item.part",
        NAMED,
    ),
    Mutation(
        "the note that a beginning is about to be shown in a group",
        "bot/turn/progress.py",
        "            await self._turn.note_preview(UNKNOWN_MESSAGE)\n",
        "",
        KILLS + "test_a_kill_while_an_answer_grows_in_a_group_leaves_one_whole_answer",
    ),
    Mutation(
        "a preview on its way is waited for",
        "bot/turn/progress.py",
        "if self._sending is not None:",
        "if self._sending is None:",
        "tests/host/test_growing.py::"
        "test_an_edit_on_its_way_when_the_answer_is_whole_does_not_undo_it",
    ),
    Mutation(
        "after a lost answer Telegram is asked whether it answers",
        "bot/telegram/sender.py",
        "await self._wait_until_reachable()",
        "pass",
        "tests/host/test_unanswered.py::"
        "test_while_nothing_comes_back_from_telegram_an_answer_is_not_repeated",
    ),
    Mutation(
        "the ordinal of a turn's writes",
        "bot/store/scripts/append.lua",
        "if tonumber(redis.call('HGET', KEYS[2], 'writes')) >= tonumber(ARGV[3]) then",
        "if false then",
        AWAY,
    ),
    Mutation(
        "the ordinal of a turn's end",
        "bot/store/scripts/finish.lua",
        "if tonumber(turn[2]) >= tonumber(ARGV[3]) then return {newest()} end",
        "",
        AWAY,
    ),
    Mutation(
        "dead letters",
        "bot/store/scripts/dead_letter.lua",
        "local ids = {}",
        "if true then return {} end\nlocal ids = {}",
        POISON,
    ),
    Mutation(
        "an answer that is refused for good is kept",
        "bot/hosting/outbox_channel.py",
        "told, keep = None, result.refused and not part.tracks",
        "told, keep = None, False",
        "tests/host/test_refused_answers.py::"
        "test_an_answer_that_is_refused_for_good_is_kept_told_and_sent_on_demand",
    ),
    Mutation(
        "a flood limit is known to the next host",
        "bot/telegram/channel.py",
        "            self._rate_limit.block_until(chat, now + seconds)",
        "            pass",
        ROWS + "test_a_flood_limit_of_an_hour_is_obeyed_through_a_stop_and_a_kill",
    ),
    Mutation(
        "only ends that a turn met alone speak against it",
        "bot/store/scripts/begin.lua",
        "if was_alone(turn[4]) and",
        "if",
        "tests/store/test_journal.py::"
        "test_only_ends_that_a_turn_met_alone_and_not_within_seconds_speak_against_it",
    ),
    Mutation(
        "suspects of ending the host run one by one",
        "bot/store/journal.py",
        "0 if isolated else SUSPECT_AFTER,",
        "0,",
        "tests/host/test_poison.py::"
        "test_a_turn_that_ends_the_host_does_not_take_those_beside_it_along",
    ),
)


def main() -> int:
    """Try all, or those whose name has one of the words; 0 when each one was noticed."""
    words = sys.argv[1:]
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    if missing := [m for m in chosen if not _is_in(ROOT, m)]:
        for mutation in missing:
            print(f"{mutation.name}: {mutation.file} has no {mutation.old!r}")
        return 1
    lines = ["| without | the test that fails | noticed | after |", "| --- | --- | --- | --- |"]
    missed = 0
    for mutation in chosen:
        noticed, seconds = _noticed(mutation)
        missed += not noticed
        shown = mutation.test.partition("::")[2].removeprefix("test_").replace("_", " ")
        word = "yes" if noticed else "**no**"
        lines.append(f"| {mutation.name} | {shown} | {word} | {seconds:.0f} s |")
        print(lines[-1], flush=True)
    if not words:
        _write("\n".join(lines))
    return 1 if missed else 0


def _is_in(root: Path, mutation: Mutation) -> bool:
    """Whether the file of a mutation is in a tree and has the text that makes the mechanism."""
    file = root / mutation.file
    return file.is_file() and mutation.old in file.read_text()


def _noticed(mutation: Mutation) -> tuple[bool, float]:
    """Whether the test fails without the mechanism, and after how long."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant", ignore_cleanup_errors=True) as folder:
        tree = Path(folder)
        for name in COPIED:
            _copy(ROOT / name, tree / name)
        place = tree / mutation.file
        place.write_text(place.read_text().replace(mutation.old, mutation.new, 1))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--timeout=150", mutation.test], cwd=tree, capture_output=True, check=False
        )
        return done.returncode == 1, time.monotonic() - began


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _write(table: str) -> None:
    old = PAGE.read_text() if PAGE.exists() else "# Reliability\n"
    kept = re.sub(rf"{TITLE}.*", "", old, flags=re.DOTALL).rstrip()
    PAGE.write_text(f"{kept}\n\n{TITLE}{INTRO}{table}\n")


if __name__ == "__main__":
    sys.exit(main())
