"""The documents keep up with the code: settings, the example file, the make targets, the links."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from registry.sources.json_yaml import load_document
from registry.sources.specialization_file import packaged
from registry.specializations import DIMENSIONS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE: dict[str, Any] = runpy.run_path(str(ROOT / "deploy/reference.py"))
FOR_COMPOSE = {"VALKEY_PASSWORD"}
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PRESENT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""What speaks of the code as it is; changes and decisions also name what there was."""


def settings() -> list[str]:
    return [name for name, _, _ in REFERENCE["variables"](REFERENCE["Settings"])]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == REFERENCE["renewed"](page), "run `make docs`"


def test_nested_and_numbered_settings_are_spelt_out() -> None:
    assert {"BOTS__<n>__TOKEN", "LLM__MODEL", "LLM__MAXTOKENS", "REDIS_URL"} <= set(settings())


def test_the_example_file_names_every_setting_and_no_other() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = [match[1] for line in lines if (match := re.match(r"#?([A-Z0-9_]+)=", line))]
    spelt = [re.sub(r"__\d+__", "__<n>__", name) for name in named]
    assert len(named) == len(set(named))
    assert set(spelt) - FOR_COMPOSE == set(settings())


def test_the_example_file_has_a_comment_on_every_group_of_settings() -> None:
    blocks = (ROOT / ".env.example").read_text().strip().split("\n\n")
    uncommented = [block for block in blocks if not block.startswith("# ")]
    assert uncommented == []


def test_the_example_file_sets_nothing_by_itself() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_example_file_begins_with_the_two_settings_that_are_needed() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = [line for line in lines if re.match(r"#[A-Z]", line)]
    names = [line.partition("=")[0] for line in named[:2]]
    assert names == ["#BOTS__0__TOKEN", "#ANTHROPIC_API_KEY"]
    needed = [lines[lines.index(line) - 1] for line in named[:2]]
    assert all("NEEDED" in line for line in needed)
    assert sum("NEEDED" in line for line in lines) == 2


def test_the_example_file_shows_the_default_of_every_setting_that_has_one() -> None:
    text = (ROOT / ".env.example").read_text()
    lines = re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    shown = {re.sub(r"__\d+__", "__<n>__", name): default for name, default in lines}
    wrong = {
        name: (shown[name], default)
        for name, default, _ in REFERENCE["variables"](REFERENCE["Settings"])
        if default != "–" and shown[name].lower() not in _spellings(default.strip("`"))
    }
    assert wrong == {}


def _spellings(default: str) -> set[str]:
    """How an operator may write a default: 50.0 is 50 as well."""
    return {default.lower(), default.lower().removesuffix(".0")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_of_ours_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_in_the_documents_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(
        re.findall(
            r"\bmake ([a-z]+)`|^make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert {one or other for one, other in used} <= targets


def test_every_decision_has_a_number_of_its_own_in_one_row() -> None:
    names = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]


def test_the_agents_file_of_the_readme_is_one_that_loads() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    document = load_document(example)
    assert document.problems == ()
    assert document.default_agent_id is not None
    assert document.default_agent_id.value in document.agents


def test_the_tree_in_the_readme_is_ten_lines_and_names_every_package() -> None:
    (tree,) = re.findall(r"```\n(bot/.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = tree.splitlines()
    named = [name for line in lines for name in line.partition("   ")[0].split()]
    assert len(lines) == 10
    assert [name for name in named if not (ROOT / name).exists()] == []
    packages = {path.parent for top in ("bot", "registry") for path in ROOT.glob(f"{top}/*/*.py")}
    wanted = {f"{path.relative_to(ROOT)}/" for path in packages} - {"registry/sources/"}
    assert wanted - set(named) == set()


@pytest.mark.parametrize("document", PRESENT, ids=lambda path: path.name)
def test_every_file_and_module_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    files = re.findall(r"`((?:bot|registry|simulators|tests|bench|deploy|docs)/[\w./-]+)`", text)
    modules = re.findall(r"`((?:bot|registry|simulators)\.[a-z_.]+)[`:]", text)
    modules += re.findall(r"python -m ((?:bot|bench|tests)\.[a-z_.]+)", text)
    assert [file for file in files if not (ROOT / file).exists()] == []
    places = {module: ROOT / module.replace(".", "/") for module in modules}
    gone = [
        module
        for module, place in places.items()
        if not place.is_dir() and not place.with_suffix(".py").is_file()
    ]
    assert gone == []


def test_the_documentation_says_what_to_do_when_an_agent_goes_wrong() -> None:
    page = (ROOT / "docs/agents.md").read_text("utf-8")
    _, _, section = page.partition("\n## When an agent does not do what you want\n")
    rows = dict(
        re.findall(r"^\| ([a-z, ]+) \| (\S.{40,}) \|$", section.partition("\n## ")[0], re.MULTILINE)
    )
    assert set(rows) == {
        "takes the wrong tool",
        "repeats itself",
        "is slow, or tools time out",
        "invents",
        "forgets",
        "writes in the wrong form",
    }


def test_the_values_of_specializations_in_the_documentation_are_those_of_the_package() -> None:
    page = (ROOT / "docs/agents.md").read_text("utf-8")
    for dimension in DIMENSIONS:
        (values,) = re.findall(rf"^\| {dimension[:-1]} \| ([^;|]*)", page, re.MULTILINE)
        named = re.sub(r" ?\([^)]*\)", "", values).strip().split(", ")
        assert sorted(named) == packaged().values(dimension)
