"""The examples of docs/agents.md load as they are written."""

from __future__ import annotations

import re
from pathlib import Path

from registry.sources.environment import read_environment
from registry.sources.json_yaml import load_document
from registry.validation import RawDocument, build, merge

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text()


def test_the_document_of_the_page_loads_without_a_problem() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    document = load_document(example)
    assert document.problems == ()
    assert document.agents["jack"].value.llm_overrides is not None


def test_the_variables_of_the_page_make_its_agent_and_its_bindings() -> None:
    (block,) = re.findall(r"```\n(AGENTS__.*?)```", PAGE, re.DOTALL)
    variables = dict(line.split("=", 1) for line in block.splitlines())
    document = build(merge(RawDocument(), read_environment(variables, {0: "b" * 64})))
    assert document.problems == ()
    assert {entry.value.agent_id for entry in document.bindings.values()} == {"jack"}
    assert len(document.bindings) == 2
