"""docs/sandbox.md does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli.main import main
from bot.sandbox import demo

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sandbox.md").read_text()


def test_the_example_for_users_own_tests_passes_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_example.py").write_text(example)
    for own in ("bot", "registry"):  # people's own, which they test
        (tmp_path / f"{own}.py").write_text("raise SystemExit('nobody asked for it')\n")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    done = subprocess.run(
        [sys.executable, *words, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_every_flag_in_the_page_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", "--help"])
    flags = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE))
    assert flags
    assert flags <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_every_demo_bot_is_in_the_page() -> None:
    for role in demo.BOTS:
        assert role.name in PAGE
        assert f"@{role.username}" in PAGE


def test_the_pictures_of_the_page_are_there() -> None:
    for name in re.findall(r"\]\((images/[^)]+)\)", PAGE):
        assert (ROOT / "docs" / name).stat().st_size < 300_000
