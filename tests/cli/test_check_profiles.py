"""What `switchboard check` finds in profiles and model configurations, each with place and cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli.check import check_configuration
from bot.startup import models_used
from registry.definition import LlmConfiguration
from registry.errors import Problem
from registry.profile import NamedLlmConfig
from registry.snapshot import Document, Entry, Profiles, Snapshot
from tests.broken_profiles import BROKEN, observer


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quiet = {"HTTP_PORT": "0", "ANTHROPIC_API_KEY": "sk-ant-a-key-for-the-test", "ADMINS": "5"}
    for name, value in {**quiet, "LLM__MODEL": "claude-haiku-5-5"}.items():
        monkeypatch.setenv(name, value)


def write(place: str, text: str) -> None:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def agents(*several: object) -> None:
    write("agents.json", json.dumps({"agents": several}, indent=1))


def agent(id: str, **fields: object) -> dict[str, object]:
    return {"id": id, "name": id, "mcpServerEndpoints": [], **fields}


def found() -> list[Problem]:
    return [one for one in check_configuration() if not one.place.startswith("BOTS")]


def test_thirty_broken_profiles_are_thirty_errors_in_one_run() -> None:
    assert len(BROKEN) >= 30
    write("agent_profiles/llm_configs/somewhere.yaml", "name: somewhere\nmodel: m\n")
    for number, one in enumerate(BROKEN):
        folder = "llm_configs" if one.config else "profiles"
        write(f"agent_profiles/{folder}/p{number:02}.yaml", one.content(f"P{number:02}"))
    agents(agent("a"))
    errors = [one for one in found() if one.level == "error"]
    for number, one in enumerate(BROKEN):
        own = [problem for problem in errors if f"/p{number:02}.yaml:" in problem.place]
        assert len(own) == 1, (one, own)
        assert one.words in str(own[0])
        assert own[0].place.endswith(f".yaml:{one.line}"), (one, own)
        assert own[0].cure
    assert len(errors) == len(BROKEN)
    assert "abcdefghijklmnop" not in "".join(map(str, errors))


def test_what_is_wrong_with_a_file_as_such_is_told_on_one_line_with_its_cure() -> None:
    folder = "agent_profiles/profiles"
    write(f"{folder}/a.yaml", "")
    write(f"{folder}/b.json", "")
    write(f"{folder}/c.yaml", "# nothing\n")
    Path(folder, "d.yaml").symlink_to("nowhere.yaml")
    write(f"{folder}/e\netc x: \u202eall is well.yaml", "name: E\ntyp: x\n")
    write(f"{folder}/f.yaml", "name: F\nllm_config_ref: careful\n")
    write("agent_profiles/llm_configs/careful.yaml", "name: careful\ntemperature: 9\n")
    write(f"{folder}/principal.yaml", "name: Principal\n")
    agents(agent("a", profile="principal"))
    told = [f"{one.level} {one}".replace("agent_profiles/", "") for one in found()]
    assert sorted(told) == [
        (
            "error agents.json:7: agent 'a' does not answer: there is no profile 'principal'; "
            "write Principal: letter case counts"
        ),
        (
            "error llm_configs/careful.yaml:2: 'temperature' must be at most 2; "
            "change it, or leave it out"
        ),
        "error profiles/a.yaml:1: it is empty; write at least name: Principal",
        'error profiles/b.json:1: it is empty; write at least {"name": "Principal"}',
        "error profiles/c.yaml:1: it is empty; write at least name: Principal",
        (
            "error profiles/d.yaml: it is a link to a file that does not exist; create that "
            "file, or remove the link"
        ),
        (
            "error profiles/e\\netc x: \\u202eall is well.yaml:2: unknown field 'typ'; "
            "did you mean 'type'?"
        ),
        (
            "warning profiles/f.yaml:2: profile 'F': its model configuration 'careful' is broken; "
            "correct llm_configs/careful.yaml:2"
        ),
    ]


def test_an_item_for_another_agent_is_told_and_one_for_an_agent_that_is_not_there() -> None:
    text = observer().replace("inbox_item:", "target_agent_id: TARGET\n      inbox_item:")
    write("agent_profiles/profiles/p.yaml", f"name: P\n{text.replace('TARGET', 'b')}")
    agents(agent("a", profile="P"), agent("b"))
    (problem,) = found()
    place, not_yet = (
        "agent_profiles/profiles/p.yaml",
        "items to another agent are not delivered yet",
    )
    assert (problem.level, str(problem)) == ("warning", f"{place}:7: {not_yet}; write self")
    write("agent_profiles/profiles/p.yaml", f"name: P\n{text.replace('TARGET', 'c')}")
    assert [str(one) for one in found()] == [
        (
            f"{place}:2: profile 'P': rule 'look' has an item for agent 'c', which does not "
            "exist; write self, or the id of an agent that there is"
        ),
        f"{place}:7: {not_yet}; write self",
    ]


def test_a_good_profile_has_no_problems_and_what_it_reads_in_vain_is_told() -> None:
    write("agent_profiles/llm_configs/calm.yaml", "name: calm\nmodel: claude-haiku-5-5\n")
    write("agent_profiles/profiles/p.yaml", "name: Principal\nllm_config_ref: calm\n")
    agents(agent("a", profile="Principal"))
    assert found() == []
    text = "flow_decider:\n  - id: a\n    condition: v['state.stepp'] == 1\n    action:\n      "
    write("agent_profiles/profiles/p.yaml", f"name: Principal\n{text}type: await_user_input\n")
    (problem,) = found()
    assert problem.level == "warning"
    assert str(problem).endswith(
        "p.yaml:4: nothing is ever at 'state.stepp'; did you mean state.step?"
    )
    text = text.replace("state.stepp'] == 1", "state.step'] == 1")
    ends = "type: end_agent_turn\n      message: At {{ state.stepp }}.\n"
    write("agent_profiles/profiles/p.yaml", f"name: Principal\n{text}{ends}")
    (problem,) = found()
    assert problem.level == "warning"
    assert str(problem).endswith(
        "p.yaml:7: nothing is ever at 'state.stepp'; did you mean state.step?"
    )


def test_characters_that_nobody_sees_are_told() -> None:
    text = "text_definitions: {greeting: 'Be kind.\u200b Obey.'}\n"
    write("agent_profiles/profiles/p.yaml", f"name: Principal\n{text}")
    agents(agent("a"))
    (problem,) = found()
    assert problem.level == "warning"
    assert "'text_definitions' has hidden characters" in problem.message
    assert problem.place.endswith("p.yaml:2")


def test_an_agent_that_lacks_its_profile_or_a_toolset_is_told() -> None:
    policy = "tool_access_policy: {allowed_toolsets: [crm]}\n"
    write("agent_profiles/profiles/p.yaml", f"name: Principal\n{policy}")
    agents(agent("a", profile="Principal"), agent("b", profile="Principle"))
    told = sorted(str(one) for one in found() if one.level == "error")
    assert [one.partition(": ")[2] for one in told] == [
        (
            "profile 'Principal' allows agent 'a' the toolset 'crm', which is none; "
            "define it under 'toolsets', or name a server of the agent; there are: none"
        ),
        "agent 'b' does not answer: there is no profile 'Principle'; did you mean Principal?",
    ]
    assert told[0].startswith("agent_profiles/profiles/p.yaml:2: ")
    assert told[1].startswith("agents.json:")


def test_what_the_model_of_a_configuration_drops_is_told_at_the_configuration() -> None:
    write("agent_profiles/llm_configs/c.yaml", "name: c\nmodel: claude-haiku-5-5\ntemperature: 1\n")
    write("agent_profiles/profiles/p.yaml", "name: P\nllm_config_ref: c\n")
    agents(agent("a", profile="P"))
    (problem,) = found()
    assert problem.place == "agent_profiles/llm_configs/c.yaml:2"
    assert "does not support temperature" in problem.message


def test_the_model_of_a_configuration_that_nobody_uses_is_looked_at_as_well() -> None:
    text = "name: c\nmodel: claude-haiku-5-5\ntemperature: 1\nfallback_model: claude-haiku-0\n"
    write("agent_profiles/llm_configs/c.yaml", text)
    agents(agent("a"))
    (problem, *_) = found()
    assert problem.place == "agent_profiles/llm_configs/c.yaml:2"
    assert problem.message.startswith("model configuration 'c': ")
    assert "does not support temperature" in problem.message
    config = NamedLlmConfig(name="c", model="one", fallback_model="two")
    document = Document(own_profiles=Profiles({}, {"c": Entry(config, "c.yaml", "c.yaml:1")}))
    used = models_used(Snapshot.of(document), LlmConfiguration())
    assert {*used} == {"one", "two"}
    assert used["two"] == "fallback_model of model configuration c (c.yaml:1)"


def test_a_folder_of_profiles_that_is_named_and_missing_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENT_PROFILES_DIR", "elsewhere")
    agents(agent("a"))
    (problem,) = found()
    assert str(problem) == "elsewhere: the folder is missing; create it, or fix the path"


def test_the_folder_lies_beside_the_agents_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTS_FILE", "config/agents.json")
    write("config/agents.json", json.dumps({"agents": [agent("a", profile="P")]}))
    write("config/agent_profiles/profiles/p.yaml", "name: P\n")
    assert found() == []
