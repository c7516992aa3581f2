"""`switchboard profile try`: a candidate's rules over recorded turns; nothing is executed."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog

from bot.cli import registry
from bot.cli.main import parser_of
from bot.cli.registry import Said
from bot.errors import ConfigError
from bot.profiles.trial import given_of
from simulators.messages.turns import Call, turn
from tests.host.profiled import OBSERVER, PARTNER, Agent, House, housed
from tests.host.stage import settings_of
from tests.http.api import OPERATOR, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"]}
NOW = Call("time__get_current_time", {"timezone": "UTC"})
RULES = """
text_definitions:
  LOOK: "Look: {{ state.params.place }}, {{ message.text }}."
pre_turn_observers:
  - id: place
    condition: "v['state.step'] == 0 and v['chat.kind'] == 'private'"
    action: {type: set_state, path: state.params.place, value: Rome}
  - id: role
    condition: "v['person.role'] == 'admin'"
    action: {type: add_to_inbox, inbox_item: {source: ADMIN}}
post_turn_observers:
  - id: after_tool
    condition: "v['state.current_action.tool'] == 'mcp:time:get_current_time'"
    action: {type: add_to_inbox, inbox_item: {source: LOOK}}
flow_decider:
  - id: used
    condition: "'get_current_time' in v['state.tools_used'] and v['state.params.place'] == 'Rome'"
    action: {type: end_agent_turn, outcome: success}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One host; each of its agents has answered once."""
    agents = [
        ("Thinker", OBSERVER),
        ("Partner", PARTNER, TIME),
        ("Ruled", RULES, TIME),
        ("Musing", OBSERVER + PARTNER),
        ("Plain", "description: It has no rules.", TIME),
    ]
    async with housed(tmp_path_factory.mktemp("try"), *agents, environ=OPERATOR) as house:
        house["Thinker"].script("a first thought", "the whole answer")
        house["Musing"].script("When?")
        for name in ("Partner", "Ruled", "Plain"):
            house[name].script(turn("let me see", NOW), "it is noon")
        for agent in house.agents.values():
            await agent.ask("when?")
        yield house


async def tried(house: House, agent: Agent, text: str, *more: str) -> Said:
    """What the command says of a candidate over the first turn of an agent."""
    (person,) = (await house.records(agent, "person"))[:1]
    return await tried_over(house, person["turn"], text, "--agent", agent.name.lower(), *more)


async def tried_over(house: House, turn_id: str, text: str, *more: str) -> Said:
    path = house.stage.folder / "candidate.yaml"
    path.write_text(f"name: Candidate\n{textwrap.dedent(text)}")
    words = ("profile", "try", str(path), "--turn", turn_id, *more)
    given = parser_of("profile").parse_args(words)
    return await registry.run(settings_of(house.stage.variables()), given)


@pytest.mark.parametrize(
    ("name", "text"), [("Thinker", OBSERVER), ("Partner", PARTNER), ("Ruled", RULES)]
)
async def test_the_rules_that_a_turn_ran_with_do_the_same_over_its_records(
    house: House, name: str, text: str
) -> None:
    said = (await tried(house, house[name], text)).data
    recorded = await house.records(house[name], "rules")
    assert said["ends"] == "as recorded"
    assert len(said["steps"]) == len(recorded) == 2
    for step, body in zip(said["steps"], recorded, strict=True):
        assert step["phases"] == body["phases"]
        assert step["added"] == body.get("added", [])
        assert (step["set"], step["flow"]) == (body.get("set", {}), body.get("flow"))
        assert step["recorded"]["profile"] == body["profile"]


async def test_the_log_names_a_turn_of_a_chat_by_the_id_that_is_asked_for(house: House) -> None:
    agent = house["Thinker"]
    agent.script("one", "two")
    with structlog.testing.capture_logs() as logs:
        await agent.ask("and today?")
        await house.idle()
    (told,) = (one for one in logs if one["event"] == "turn.done")
    said = await tried_over(house, told["turn"], OBSERVER, "--agent", told["agent"])
    assert [one["text"] for one in said.data["steps"]] == ["one", "two"]


async def test_what_was_withdrawn_with_the_end_of_a_turn_is_told(house: House) -> None:
    said = await tried(house, house["Musing"], PARTNER)
    ended = next(line for line in said.lines if line.startswith("  recorded: "))
    assert "added SELF_REFLECTION_PROMPT; flow rule_no_tool_call_fallback; withdrawn at" in ended
    assert ended.endswith(":1:post:observer_on_no_tool_call")


async def test_rules_that_would_go_on_or_end_earlier_say_so_and_stop_there(house: House) -> None:
    said = await tried(house, house["Plain"], OBSERVER)
    assert said.data["ends"] == "later"
    assert [one["goes_on"] for one in said.data["steps"]] == [False, True]
    assert said.lines[-1] == (
        "The turn would have made one more step here, which was not recorded."
    )
    text = "\n".join(said.lines)
    assert "step 1: calls get_current_time" in text
    assert 'step 2: "it is noon"' in text
    assert "after  observer_on_no_tool_call  does not hold  adds an item of" in text
    assert "after  observer_on_no_tool_call  fires" in text
    assert "state.current_action = null" in text
    assert "  adds: Reflect on your last answer" in text
    assert text.count("  recorded: no rules") == 2
    said = await tried(house, house["Thinker"], PARTNER)
    assert (said.data["ends"], len(said.data["steps"])) == ("earlier", 1)
    assert "  then: the turn ends, by rule rule_no_tool_call_fallback" in said.lines
    assert "fired observer_on_no_tool_call; added SELF_REFLECTION_PROMPT" in "\n".join(said.lines)
    assert said.lines[-1].startswith("The turn would have ended here.")


async def test_what_was_not_recorded_is_told_and_what_was_set_is_read(house: House) -> None:
    said = await tried(house, house["Plain"], RULES)
    assert list(said.notes) == ["not recorded with this turn, and so None here: person.role"]
    first, second = said.data["steps"]
    assert first["set"] == {"state.params.place": "Rome"}
    assert [one["source"] for one in first["added"]] == ["LOOK"]
    assert '  adds: Look: "Rome", "when?".' in said.lines
    assert second["flow"] == "used"
    assert second["phases"][-1]["seen"] == {
        "state.tools_used": '["get_current_time"]',
        "state.params.place": "Rome",
    }
    seen = await tried(house, house["Ruled"], RULES)
    assert not seen.notes  # its own rules saw the role then


async def test_a_trial_asks_nobody_and_writes_nothing(house: House) -> None:
    before = len(house.stage.requests()), len(await house.records(house["Plain"]))
    keys = await house.host.store.command("DBSIZE")
    texts = {name: agent.texts for name, agent in house.agents.items()}
    await tried(house, house["Plain"], OBSERVER)
    assert before == (len(house.stage.requests()), len(await house.records(house["Plain"])))
    assert await house.host.store.command("DBSIZE") == keys
    assert texts == {name: agent.texts for name, agent in house.agents.items()}
    assert house.host.catalog.snapshot().profile("Candidate") is None


@pytest.mark.parametrize(
    ("turn_id", "text", "said"),
    [
        ("1-0", PARTNER, "no turn '1-0' is recorded; the log names turns by their ids"),
        ("1-0", "flow_deciders: []", "candidate.yaml, line 2: unknown field 'flow_deciders'; did"),
        ("*", PARTNER, "no turn '*' is recorded"),
    ],
)
async def test_what_cannot_be_tried_is_told_in_words(
    house: House, turn_id: str, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        await tried_over(house, turn_id, text)
    assert said in str(refused.value)


async def test_a_turn_over_http_is_found_by_the_id_that_its_client_got(house: House) -> None:
    house.stage.script.on("When do you want to go?")
    async with client_of(house.host) as client:
        path = "/accounts/default/agents/simple-chat/chat"
        answer = await client.ask("POST", path, json={"message": "plan it"})
    said = await tried_over(house, answer.json["output_id"], RULES)
    assert said.data["agent"] == "default/simple-chat"
    (step,) = said.data["steps"]
    assert step["text"] == "When do you want to go?"
    assert step["phases"][0]["seen"]["chat.kind"] == "http"


async def test_of_two_turns_with_one_id_the_agent_says_which_is_meant(house: House) -> None:
    agent, store = house["Plain"], house.host.store
    (person,) = await house.records(agent, "person")
    key = f"{{bot:{agent.bot.id}}}:conv:{agent.ann.id}:plain:log"
    other = "{bot:77}:conv:5:other:log"
    await store.command("COPY", key, other)
    try:
        with pytest.raises(ConfigError, match="several turns have this id") as refused:
            await tried_over(house, person["turn"], PARTNER)
        assert "agent other in bot:77" in str(refused.value)
        said = await tried_over(house, person["turn"], PARTNER, "--agent", "plain")
        assert said.data["line"] == f"bot:{agent.bot.id}"
    finally:
        await store.command("DEL", other)


async def test_a_turn_of_another_agent_is_not_found_under_its_id(house: House) -> None:
    (person,) = await house.records(house["Plain"], "person")
    with pytest.raises(ConfigError, match="of agent 'thinker' is recorded"):
        await tried_over(house, person["turn"], PARTNER, "--agent", "thinker")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("[sent Monday by Ann]\nhello\nyou", {"text": "hello\nyou", "params": {}}),
        ("hello", {"text": "hello"}),
        (
            (
                "[sent Monday by Ann] [0a1b2c3d marks what others wrote]\n"
                '[0a1b2c3d quoted by "Bob":]\nsecret\n[0a1b2c3d ends]\nwhat is it?'
            ),
            {"text": "what is it?", "params": {}},
        ),
        (
            (
                "[sent Monday by Ann] [0a1b2c3d marks what others wrote]\n"
                '[0a1b2c3d quoted by "Bob":]\nsecret\n[0a1b2c3d ends]'
            ),
            {"text": "", "params": {}},
        ),
        (
            (
                "[sent Monday by Ann] [its context follows]\n## Context\n- Tenant ID: acme\n"
                '- User ID: ann\n- Additional context: {"date":"2027-01-01"}\n\nplan it'
            ),
            {"text": "plan it", "params": {"date": "2027-01-01"}},
        ),
    ],
)
async def test_what_a_person_wrote_is_told_from_what_the_host_wrote_around_it(
    text: str, given: dict[str, object]
) -> None:
    assert given_of(text) == given
