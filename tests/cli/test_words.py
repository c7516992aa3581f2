"""What the command line says where there is nothing to do: short words, and exit code 2."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cli.main import REGISTRY_VERBS, VERBS, main, parser_of

SWITCHBOARD = Path(sys.executable).parent / "switchboard"
DOCS = Path(__file__).parents[2] / "docs"
_EACH = re.MULTILINE
PAGE = DOCS / "command-line.md"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to do: `switchboard run` runs your bots, `switchboard sandbox` shows a"),
        (["chekc"], "there is no command 'chekc'; did you mean check?"),
        (["Run"], "there is no command 'Run'; did you mean run?"),
        (["xyzzy"], "there is no command 'xyzzy'; there are run, sandbox, check, skill,"),
        (["check", "foo"], "check takes no 'foo'; `switchboard check --help` lists"),
        (["-v"], "there is no option '-v'; `switchboard --help` lists what there is"),
        (["skill", "lst"], "there is no 'lst'; there are list, test"),
        (["skill"], "skill needs list or test; `switchboard skill --help`"),
        (["dead-letters", "lst"], "there is no 'lst'; there are list, replay, drop"),
        (["run"], "BOTS__0__TOKEN is not set, so there is no bot to run. Set it in .env"),
    ],
)
def test_what_names_nothing_to_do_is_told_in_one_line(
    words: list[str], said: str, tmp_path: Path
) -> None:
    environ = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [SWITCHBOARD, *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"switchboard: {said}")
    assert list(tmp_path.iterdir()) == []


def test_help_is_a_word_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["help"])
    assert "show every mistake in the configuration" in capsys.readouterr().out


def test_a_verb_that_reads_no_documents_loads_nothing_of_those_that_do(tmp_path: Path) -> None:
    code = (
        "import sys; from bot.cli.main import main; main(['token-hash', '123456789:AA']);"
        "print(*(name for name in sys.modules if name.startswith(('bot.', 'registry.'))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(ran.stdout.split())
    assert "bot.cli.main" in loaded
    assert loaded.isdisjoint(
        {"bot.cli.words", "bot.cli.registry", "registry.catalog", "bot.settings"}
    )


def _commands(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command below a parser, as its words; its options are the words that begin with --."""
    acts = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for action in parser._actions:
        yield from ((*words, one) for one in action.option_strings if one.startswith("--"))
    for act in acts:
        for name, below in act.choices.items():
            yield (*words, name)
            yield from _commands(below, *words, name)


@pytest.mark.parametrize("verb", REGISTRY_VERBS)
def test_the_page_has_every_act_and_every_option_of_a_verb(verb: str) -> None:
    page = PAGE.read_text("utf-8")
    found = [words for words in _commands(parser_of(verb)) if words[0] == verb]
    missing = [
        " ".join(words)
        for words in found
        if words[-1] != "--help"
        and (words[-1] if words[-1].startswith("--") else f"switchboard {' '.join(words)}")
        not in page
    ]
    assert found
    assert missing == []


def test_the_page_names_every_verb() -> None:
    page = PAGE.read_text("utf-8")
    assert [verb for verb in VERBS if f"`{verb}`" not in page] == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_command_of_these_verbs_in_the_documents_is_one(page: Path) -> None:
    found = re.findall(
        r"^(switchboard [^#\n]+)|`(switchboard [^`]+)`", page.read_text("utf-8"), _EACH
    )
    for line in (alone or quoted for alone, quoted in found):
        words = shlex.split(line)[1:]
        if words[0] in REGISTRY_VERBS and len(words) > 2:
            _, rest = parser_of(words[0]).parse_known_args(words)  # else SystemExit
            assert rest == []
