"""How the layers of an agent are merged: each field by its own rule, with where it is from."""

from __future__ import annotations

from itertools import permutations

from registry.definition import AgentDefinition, LlmConfiguration
from registry.layers import EffectiveAgent, Layer
from registry.policy import ToolPolicy
from registry.snapshot import Entry, effective

NOTHING = LlmConfiguration()
POLICY = ToolPolicy(allowed_individual_tools=("mcp:*:read",), disabled_tools=("mcp:*:drop",))
AGENT = AgentDefinition(
    id="jack",
    name="Jack",
    description="A pirate.",
    custom_instructions="You are Jack.",
    tool_policy=POLICY,
    mcp_servers=(),
)
ACCOUNT = Layer(
    "L2", LlmConfiguration(temperature=0.2, max_tokens=100), "account", text="Say please."
)
INSTANCE = Layer(
    "L3",
    LlmConfiguration(model="own"),
    "instance",
    title="Desk",
    allowed=("mcp:desk:*",),
    disabled=("skill:mail",),
    history_limit=10,
)
CLIENT = Layer("L4", LlmConfiguration(model="theirs"), "client", text="Never say cheap.")
PRESET = Layer(
    "L5",
    LlmConfiguration(temperature=0.9),
    "preset mine",
    title="Ada",
    description="",
    override="You are Ada.",
    text="Be brief.",
    allowed=(),
    history_limit=20,
)


def merged(*layers: Layer) -> EffectiveAgent:
    return effective(LlmConfiguration(model="host"), Entry(AGENT, "f", "f:1"), {}, layers)


def test_texts_are_appended_and_an_override_replaces_that_of_the_agent_alone() -> None:
    plain = merged(ACCOUNT, CLIENT)
    text = "You are Jack.\n\nSay please.\n\nNever say cheap."
    assert plain.definition.custom_instructions == text
    assert plain.origins["customInstructions"] == "f:1, then account, then client"
    found = merged(ACCOUNT, CLIENT, PRESET)
    text = "You are Ada.\n\nSay please.\n\nNever say cheap.\n\nBe brief."
    assert found.definition.custom_instructions == text
    assert found.layers["customInstructions"] == "L5"
    assert (found.definition.name, found.definition.description) == ("Ada", None)
    assert found.origins["name"] == "preset mine"


def test_every_list_of_tools_must_match_and_what_is_disabled_stays_so() -> None:
    found = merged(INSTANCE, PRESET)
    assert found.allowed == (POLICY.allowed, ("mcp:desk:*",), ())
    assert found.disabled == ("mcp:*:drop", "skill:mail")
    assert found.origins["allowedTools"] == "f:1, instance, preset mine"
    assert (found.origins["disabledTools"], found.layers["disabledTools"]) == (
        "f:1, instance",
        "L3",
    )


def test_of_a_limit_the_lowest_counts_and_a_number_is_that_of_the_last_layer_that_may() -> None:
    found = merged(ACCOUNT, INSTANCE, CLIENT, PRESET)
    assert (found.history_limit, found.layers["historyLimit"]) == (10, "L3")
    assert (found.llm.temperature, found.llm.max_tokens, found.llm.model) == (0.9, 100, "own")
    assert (found.origins["temperature"], found.origins["maxTokens"]) == ("preset mine", "account")
    assert found.origins["model"] == "instance"


def test_the_order_in_which_layers_are_given_does_not_matter() -> None:
    wanted = merged(ACCOUNT, INSTANCE, CLIENT, PRESET)
    for layers in permutations((ACCOUNT, INSTANCE, CLIENT, PRESET)):
        assert merged(*layers) == wanted


def test_every_field_of_an_agent_has_a_layer_and_an_origin() -> None:
    for layers in ((), (ACCOUNT, INSTANCE, CLIENT, PRESET)):
        found = merged(*layers)
        shown = found.shown(found.definition.to_json())
        assert {"name", "model", "servers", "skills", "allowedTools", "historyLimit"} <= set(shown)
        assert all(one["layer"] and one["origin"] for one in shown.values())
