"""What the command line says where there is nothing to do: short words, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli.main import main

SWITCHBOARD = Path(sys.executable).parent / "switchboard"


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
