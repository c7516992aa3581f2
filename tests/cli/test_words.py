"""What the command line says where there is nothing to do: short words, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCHBOARD = Path(sys.executable).parent / "switchboard"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to do: `switchboard run` runs your bots, `switchboard sandbox` shows a"),
        (["chekc"], "there is no command 'chekc'; did you mean check?"),
        (["Run"], "there is no command 'Run'; did you mean run?"),
        (["xyzzy"], "there is no command 'xyzzy'; there are run, sandbox, check, skill,"),
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
