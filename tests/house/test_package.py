"""What people install: typed, described on a package index, and with the commands it speaks of."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from bot.cli.main import VERBS, parser_of
from registry.sources.json_yaml import load_document
from tests.house.test_docs import PRESENT, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = ROOT / PROJECT["readme"]["file"]
COMMAND = re.compile(r"(?:^|`|bin/)switchboard ([a-z][a-z-]*)((?: [^`\n#;|]*)?)", re.MULTILINE)


@pytest.mark.parametrize("package", ["bot", "registry", "simulators"])
def test_each_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_page_on_an_index_needs_no_file_of_the_repository() -> None:
    links = re.findall(r"(?:\]\(|src=\"|href=\")([^)\"]+)", PAGE.read_text("utf-8"))
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_agents_file_on_that_page_is_one_that_loads() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert load_document(example).problems == ()


def test_the_extra_for_tests_has_what_the_plugin_imports() -> None:
    plugin = (ROOT / "simulators/pytest_plugin.py").read_text("utf-8")
    named = " ".join(PROJECT["optional-dependencies"]["test"])
    imported = {
        name.replace("_", "-") for name in re.findall(r"^import (pytest\w*)", plugin, re.MULTILINE)
    }
    assert imported
    assert [name for name in imported if name not in named] == []


@cache
def verbs() -> dict[str, argparse.ArgumentParser]:
    """The verbs of the command line, each with its parser."""
    found = dict[str, argparse.ArgumentParser]()
    for verb in VERBS:
        actions = parser_of(verb)._actions
        [inner] = [one for one in actions if isinstance(one, argparse._SubParsersAction)]
        found[verb] = inner.choices[verb]
    return found


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.name)
def test_every_command_in_a_document_is_one_that_there_is(document: Path) -> None:
    known = verbs()
    blocks = re.findall(r"```\w*\n(.*?)```|(`[^`\n]+`)", document.read_text("utf-8"), re.DOTALL)
    named = [match for block in blocks for match in COMMAND.findall("\n".join(block))]
    for verb, rest in named:
        assert verb in known, (verb, rest)
        options = re.findall(r"--[a-z-]+", rest)
        helped = known[verb].format_help() + str(
            [one.format_help() for one in sub_parsers(known[verb])]
        )
        assert [option for option in options if option not in helped] == [], (verb, rest)


def sub_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """What comes after a verb of two words."""
    inner = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return [parser for one in inner for parser in one.choices.values()]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not on this machine")
def test_the_unit_is_exposed_to_little() -> None:
    unit = ROOT / "deploy/switchboard.service"
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=17", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
