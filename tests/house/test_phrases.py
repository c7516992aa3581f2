"""The house writes plain English: no phrase that was given up comes back.

Each line of the table: a regular expression, what to write in its place, and the words as they
once stood. The phrases are looked for in the documents, and in the texts and docstrings of the
code; of the changes, only in those that are not released yet. docs/reliability.md is left out,
since a script writes it, and decisions keep the words of their day.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIVEN_UP = r"""
in clear\b(?! \w+ing) => in plain text => what is no secret in clear
of theirs\b => their own => an agent of theirs
all the same\b => anyway, still => it is asked all the same
(?:began|decided|group|made|sent|starts) anew => again => add the bot to the group anew
gives? way\b => is closed => with more, idle ones give way
move along\b => move with it => permissions and bindings move along
mended\b => fixed => the newest release is the one that is mended
put right\b => fixed => something in my setup has to be put right first
not your doing => not your fault => That is not your doing
see to (?:the|this|your) => check, fix => see to this machine's network
whoever (?:can|runs|comes|denied|stops|has the) => a person who => whoever runs this bot
of the agent's own\b => that belongs to the agent => a skill is a tool of the agent's own
is no secret\b => is not secret => write what is no secret in clear
(?:are|is) no (?:JSON|UTF-8|path) => is not => bytes that are no UTF-8
(?:are|is) no part of (?:it|them|the) => are removed, ignored => quotes are no part of the secret
with (?:a|its|the) cure\b => with a fix => each problem is a line with its cure
(?:place|line) and (?:the|its) cure\b => place and the fix => each line names the place and the cure
names? the cure\b => says how to fix it => does not start, and names the cure
on that ground\b => for that reason => no rights here on that ground
stops? the start\b => the host does not start => an invalid value stops the start
(?:tells|told) by Telegram => must wait => is told by Telegram to wait
behind a running => for a running => a message that waits behind a running answer
beside the event loop => not on the event loop => in a thread beside the event loop
breaks a rule\b => breaks the protocol => a result that breaks a rule
half a character => half a surrogate pair => Half a character in a pushed message
deceive the eye => mislead the reader => nothing can deceive the eye
takes the key\b => accepts the key => the Messages API takes the key
(?:bound|blocked|there|here|person \d+) at (?:this|every|all) bots? => in => is blocked at all bots
how each bot is\b => the state of each bot => `/health` says how each bot is
(?:the|what) model refuses nobody => the model can be used => and the model refuses nobody
shows what there is\b => shows what is installed => `skill list` shows what there is
shows? anybody theirs\b => shows people their own => `/id` shows anybody theirs
dollars for a million => dollars per million => in dollars for a million tokens
(?:tools?|servers?) that there (?:is|are)\b => delete it => matches no tool that there is
over TLS alone\b => only over TLS => sends updates over TLS alone
highest door\b => from the outside => test through the highest door
(?:report\w*) a weakness => report a vulnerability => Report a weakness
from, and whom it answers\b => whom the agent answers => comes from, and whom it answers
is done without\b|are done without\b => is optional => two things are done without
what was bound\b(?! there) => the binding => Removed what was bound in this chat
waiting or in work\b => in progress => 2 messages waiting or in work
such a one\b => it, one => cannot start with such a one
asks? anew\b|started anew\b => again, restarted => it was started anew
written in clear\b => in plain text => a bot token is written in clear
takes? that away\b => can change that => no agent, skill or *Always* takes that away
are bounded as well\b|is bounded as well\b => has limits too => checking a value is bounded as well
what meets the same => with the same error => one notice for what meets the same words
whoever\b => the person who, people who => tell whoever pressed why not
surely\b => certain to, cannot have => how long it is surely ours
whatever (?:agents|ids|its|kind|the|their|those) => even if, any => whatever agents and skills say
whatever (?:goes wrong|it (?:is|says|contains)) => any, a failure => whatever goes wrong is a result
(?:bots|calls|code|lines|loop|others|run|turn) go(?:es)? on\b => continues => the other lines go on
(?<!there\s)(?:are|is) no (?:array|group|message|MCP|object)\b => is not => it is no MCP server
(?<!there\s)(?:are|is) no (?:persons?|picture|request|update|whole)\b => is not => that is no update
(?<!there\s)(?:are|is) no (?:text|time)\b(?! in) => is not => bytes that are no text
what (?:became|becomes) of\b => the outcome of => what became of a call
(?:must|people) mend\b => must fix => what people must mend
correct (?:it|the agent|its|REDIS_URL)\b(?! (?:and|in)) => fix => start it, or correct REDIS_URL
(?:takes|take) no writes\b => accepts no writes => the store takes no writes
(?:proxy|replicas) before (?:it|two)\b => in front of => the proxy before it wants credentials
speaks the (?:newer|older) transport => uses => it speaks the older transport
answered with nothing => returned nothing => the tool answered with nothing
where nothing can be written => which cannot be written to => where nothing can be written
make room on\b => free space on => make room on its disk
does not belong there\b => is the wrong type => holds a list, which does not belong there
exclude each other => cannot be used together => the two exclude each other
must bear to be => may be run twice => it must bear to be run twice
(?:was|is) cited alone => names only => the one in memory was cited alone
it holds: => it already holds => It holds: pointed to its tests
fits? where\b => matches if => a condition fits where
by turns\b => in turn, alternately => stopped and killed by turns
each with (?:its )?place and cure => with its place and its fix => each with place and cure
(?:line|polling|receiving) is doing\b => the state of => how polling is doing, in a word
told to wait\b(?=.{0,3} how) => has to wait => of each chat that was told to wait: how many seconds
half of a character => half of a surrogate pair => it holds half of a character
left alone by a rule => ignored by a rule => updates were left alone by a rule
"""
SEPARATOR = " => "


def table() -> list[tuple[re.Pattern[str], str, str]]:
    """Each phrase, what to write in its place, and an example that it finds."""
    rows = [line.split(SEPARATOR) for line in GIVEN_UP.strip().splitlines()]
    return [(_any_space(phrase), better, example) for phrase, better, example in rows]


def _any_space(phrase: str) -> re.Pattern[str]:
    """The phrase over a line break as well, also in a comment."""
    return re.compile(r"\b(?:" + phrase.replace(" ", r"\s+(?:#\s+)?") + ")", re.IGNORECASE)


def documents() -> Iterator[tuple[str, int, str]]:
    """Each document with the line at which the text begins."""
    named = ("README.md", "CONTRIBUTING.md", "SECURITY.md", ".env.example")
    pages = sorted((ROOT / "docs").glob("*.md"))
    for path in (*map(ROOT.joinpath, named), *pages):
        if path.name != "reliability.md":
            yield path.relative_to(ROOT).as_posix(), 1, path.read_text("utf-8")
    before, _, rest = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("## [Unreleased]\n")
    yield "CHANGELOG.md", before.count("\n") + 2, rest.partition("\n## [")[0]


def texts(tree: str) -> Iterator[tuple[str, int, str]]:
    """Each text and docstring of the modules below a folder; what is put into one is `{}`."""
    for path in sorted((ROOT / tree).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.JoinedStr(values=parts):
                    text = "".join(
                        getattr(part, "value", "") if _is_text(part) else "{}" for part in parts
                    )
                case ast.Constant(value=str(text)):
                    pass
                case _:
                    continue
            yield path.relative_to(ROOT).as_posix(), node.lineno, text


def _is_text(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant)


def found(name: str, first: int, text: str) -> Iterator[str]:
    """The phrases of the table in a text, each with its line and the better words."""
    for phrase, better, _ in table():
        for match in phrase.finditer(text):
            line = first + text.count("\n", 0, match.start())
            yield f"{name}:{line}: {' '.join(match[0].split())}; write: {better}"


def test_no_phrase_that_was_given_up_stands_in_the_documents() -> None:
    assert [one for document in documents() for one in found(*document)] == []


@pytest.mark.parametrize("tree", ["bot", "registry", "simulators"])
def test_no_phrase_that_was_given_up_stands_in_the_texts_of_the_code(tree: str) -> None:
    assert sorted({one for text in texts(tree) for one in found(*text)}) == []


@pytest.mark.parametrize("example", [example for _, _, example in table()])
def test_a_phrase_is_found_where_it_is_planted(example: str) -> None:
    page = f"A first line.\n\nThen {example.replace(' ', chr(10))}.\n"
    phrases = [phrase for phrase, _, own in table() if own == example]
    assert all(phrase.search(page) for phrase in phrases)
    assert all(one.startswith("page.md:") for one in found("page.md", 1, page))
    assert list(found("page.md", 1, page))
