"""toolPolicy as people write it: what loads, what it means, and every mistake with its cure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.definition import AgentDefinition
from registry.errors import DocumentErrors
from registry.policy import ToolPolicy
from registry.sources.json_yaml import load_document


def agent(**policy: Any) -> AgentDefinition:
    body = {"id": "a", "name": "A", "mcpServerEndpoints": [], "toolPolicy": policy}
    return load_document(json.dumps({"agents": [body]})).agents["a"].value


def mistake(**policy: Any) -> str:
    with pytest.raises(DocumentErrors) as raised:
        agent(**policy)
    (problem,) = raised.value.problems
    return f"{problem.message}; {problem.cure}"


def policy(**given: Any) -> ToolPolicy:
    found = agent(**given).tool_policy
    assert found is not None
    return found


def test_toolsets_and_single_tools_together_are_what_the_agent_has() -> None:
    found = policy(
        toolsets={"planning_tools": ["mcp:plan:*", "skill:plan"], "unused": ["x"]},
        allowedToolsets=["planning_tools"],
        allowedIndividualTools=["LaunchPrincipalExecutionTool"],
    )
    assert found.allowed == ("mcp:plan:*", "skill:plan", "LaunchPrincipalExecutionTool")


def test_absent_lists_mean_all_tools_and_empty_ones_none() -> None:
    assert policy().allowed is None
    assert policy(allowedIndividualTools=[]).allowed == ()
    assert policy(allowedToolsets=[]).allowed == ()


def test_deleting_and_publishing_ask_unless_the_agent_says_otherwise() -> None:
    assert policy().require_confirmation == ("delete_*", "publish_*")
    assert policy(requireConfirmation=["drop"]).require_confirmation == ("drop",)


def test_who_approves_is_left_to_the_host_unless_somebody_is_named() -> None:
    assert policy().approvers is None
    assert policy(approvers=["admins", 42]).approvers == ("admins", 42)
    assert policy(approvers=["hostAdmins"]).approvers == ("hostAdmins",)


def test_a_policy_comes_back_from_json_as_it_was() -> None:
    first = agent(
        toolsets={"s": ["x"]},
        allowedToolsets=["s"],
        disabledTools=["y"],
        conditions=[
            {"tools": ["approve_budget"], "roles": ["admin"], "features": ["beta"]},
            {"tools": ["x"], "when": "person in [7]"},
        ],
        features=["beta"],
        approvers=["asker", 7],
        approvalMinutes=2.5,
    )
    again = load_document(json.dumps({"agents": [first.to_json()]})).agents["a"].value
    assert again == first


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"allowedToolsets": ["nope"]}, "no toolset 'nope' is defined; define it under 'toolsets'"),
        ({"approvers": ["everybody"]}, "cannot approve"),
        ({"approvers": [True]}, "cannot approve"),
        ({"approvers": []}, "'approvers' names nobody"),
        ({"disabledTools": ["mcp:a"]}, "does not name server and tool"),
        ({"requireConfirmation": ["[ab]"]}, "is not a valid pattern"),
        ({"approvalMinutes": 0}, "must be more than 0"),
        ({"requireConfirmations": []}, "did you mean 'requireConfirmation'?"),
        ({"conditions": [{"tools": ["x"], "roles": ["king"]}]}, "must be 'admin' or 'everyone'"),
        (
            {"conditions": [{"tools": ["x"], "when": "rol == 'admin'"}]},
            "uses an unknown name; did you mean role?",
        ),
        ({"conditions": [{"tools": ["x"], "when": "9**9**9"}]}, "arithmetic is not possible here"),
        ({"conditions": [{"tools": ["x"], "when": ""}]}, "cannot be parsed"),
        ({"features": ["a b"]}, "not a valid name for a flag"),
    ],
)
def test_a_mistake_is_told_with_its_cure(given: dict[str, Any], words: str) -> None:
    assert words in mistake(**given)
