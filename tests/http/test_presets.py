"""Presets over HTTP: document 2's own requests, at a real host with real conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from registry.roles import OPERATOR_ACTOR
from simulators.messages.models import also_known
from tests.host.audit import audit_of
from tests.host.stage import Stage, staged
from tests.http.accounts import Talk, events_in, said, talking
from tests.http.api import ApiAnswer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/v1/agent-instances"
TEXT = "You research thoroughly."
APA = "Always cite sources in APA format."
SKILL = {
    "description": "Find a page.",
    "execution_type": "webhook",
    "webhook_url": "https://example.com/find",
    "input_schema": {"type": "object", "properties": {}},
}
DEEP = {
    "instance_name": "deep-researcher",
    "display_name": "Deep Researcher",
    "base_agent_name": "research_agent",
    "system_prompt_append": APA,
    "primary_model": "gpt-4",
}


CAPS = {"maxTokens": 2_000, "reasoningEffort": "medium", "model": "claude-sonnet-4-6"}


def agent(id: str, text: str, **fields: Any) -> dict[str, Any]:
    own = {"id": id, "name": id.replace("_", " ").title(), "customInstructions": text}
    return {**own, "mcpServerEndpoints": [], **fields}


def write_agents(stage: Stage) -> None:
    skills = [{"name": name, **SKILL} for name in ("find", "save")]
    stage.agents["agents"] = [
        agent("research_agent", TEXT, template=True, skills=skills),
        agent("strict", "Be strict.", template=True, presets={"promptOverride": False}),
        agent("frugal", "Be frugal.", template=True, presets={"models": ["gpt-4"]}),
        agent("hidden", "You are hidden."),
        agent("capped", "Be short.", template=True, llmOverrides=CAPS),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """One host for all tests of this module; each test has a person of its own."""
    async with staged(tmp_path_factory.mktemp("presets")) as stage:
        write_agents(stage)
        models = {"LLM__MODEL": "claude-sonnet-4-6", "MODELS__ALLOWED": "gpt-4,claude-haiku-4-5"}
        models["HTTP_FACES"] = "openai"
        with also_known("gpt-4"):
            async with talking(stage, **models) as found:
                yield found


class Person:
    """Somebody with a key of their own in acme."""

    def __init__(self, talk: Talk, key: str) -> None:
        self.talk, self.key = talk, key

    async def ask(self, method: str, path: str = "", json: Any = None, **headers: Any) -> ApiAnswer:
        return await self.talk.client.ask(method, PATH + path, self.key, json=json, **headers)

    async def make(self, **fields: Any) -> Any:
        made = await self.ask("POST", json={**DEEP, **fields})
        assert made.status == 201, made.json
        return made.json

    async def chat(self, message: str = "hello", **more: Any) -> tuple[int, Any]:
        return await self.talk.chat(message, self.key, **more)

    async def request(self, **more: Any) -> dict[str, Any]:
        """What the model was asked in a chat."""
        self.talk.stage.script.on("Answered.")
        status, answer = await self.chat(**more)
        assert status == 200, answer
        return self.talk.stage.requests()[-1]


async def person(talk: Talk, name: str, **fields: Any) -> Person:
    return Person(talk, await talk.client.make_key(**{"account": "acme", "user": name, **fields}))


def system_of(request: dict[str, Any]) -> list[str]:
    """The texts of a system prompt, without its time line."""
    return [block["text"] for block in request["system"]][1:]


def tools_of(request: dict[str, Any]) -> list[str]:
    """The tools that the agent itself has in a request."""
    names = [one["name"] for one in request.get("tools", ())]
    return [name for name in names if name != "read_more"]


def problem_of(answer: ApiAnswer) -> tuple[str, str]:
    """The field and the cure of the one problem of a 422."""
    assert answer.status == 422, answer.body
    (problem,) = answer.json["problems"]
    return problem["field"], problem.get("cure", "")


# --- the document's own example ------------------------------------------------------------------


async def test_the_templates_are_the_offered_agents_and_the_allowed_models(talk: Talk) -> None:
    ann = await person(talk, "templates")
    found = (await ann.ask("GET", "/templates")).json
    assert [one["name"] for one in found["agents"]] == [
        "capped",
        "frugal",
        "research_agent",
        "strict",
    ]
    assert found["agents"][2] == {
        "name": "research_agent",
        "display_name": "Research Agent",
        "description": None,
        "model": "claude-sonnet-4-6",
        "tools": ["find", "save"],
    }
    assert found["models"] == ["claude-haiku-4-5", "claude-sonnet-4-6", "gpt-4"]


async def test_the_example_of_the_document_is_made_and_answers_in_a_chat(talk: Talk) -> None:
    ann = await person(talk, "ann")
    made = await ann.ask("POST", json=DEEP)
    assert (made.status, made.headers["Location"]) == (201, f"{PATH}/{made.json['id']}")
    more = {"system_prompt_override": None, "config_overrides": None, "is_default": False}
    times = {name: made.json[name] for name in ("created_at", "updated_at")}
    assert made.json == {"id": made.json["id"], **DEEP, **more, **times}
    assert (await ann.ask("GET")).json == [made.json]
    shown = await ann.ask("GET", f"/{made.json['id']}")
    assert (shown.json, shown.headers["ETag"]) == (made.json, made.headers["ETag"])

    request = await ann.request(agent_instance_id=made.json["id"], session_id="deep")
    assert request["model"] == "gpt-4"
    assert system_of(request)[0].endswith(f"{TEXT}\n\n{APA}")
    bare = await ann.request(agent_config_name="research_agent", session_id="bare")
    assert bare["model"] == "claude-sonnet-4-6"
    assert system_of(bare)[0].endswith(TEXT)


async def test_the_path_may_name_any_instance_and_the_conversation_is_that_of_the_base(
    talk: Talk,
) -> None:
    ann = await person(talk, "path")
    one, two = [await ann.make(instance_name=n, system_prompt_append=f"Be {n}.") for n in "ab"]
    talk.stage.script.on("noted")
    session = {"session_id": "kept"}
    status, _ = await ann.chat("my dog is Rex", agent_instance_id=one["id"], **session)
    assert status == 200
    request = await ann.request(message="and?", agent_instance_id=two["id"], **session)
    assert system_of(request)[0].endswith("Be b.")
    told = orjson.dumps(request["messages"]).decode()
    assert "my dog is Rex" in told  # another preset of the same agent goes on with it
    path = f"{talk.path('sales-enterprise')}/history?session_id=kept&agent_instance_id={one['id']}"
    history = (await talk.client.get(path, ann.key)).json
    assert [one["role"] for one in history["messages"]] == ["human", "assistant"] * 2
    status, _ = await talk.chat("hello", ann.key, "nothing", agent_instance_id=one["id"])
    assert status == 404


async def test_stream_execute_and_the_openai_face_take_a_preset_or_a_bare_agent(
    talk: Talk,
) -> None:
    ann = await person(talk, "faces")
    preset = await ann.make()
    own, bare = {"agent_instance_id": preset["id"]}, {"agent_config_name": "research_agent"}
    both = {**own, **bare}
    script, client = talk.stage.script, talk.client

    script.on("streamed")
    query = f"{talk.path()}/stream?message=hi&agent_instance_id={preset['id']}"
    streamed = await client.get(query, ann.key)
    assert said(events_in(streamed.body.decode())) == "streamed"
    assert talk.stage.requests()[-1]["model"] == "gpt-4"
    first = events_in(streamed.body.decode())[0].id
    again = await client.get(f"{talk.path()}/stream", ann.key, Last_Event_ID=first)
    assert events_in(again.body.decode())[-1].kind == "done"

    hi = [{"role": "user", "content": "hi"}]
    calls = (
        (f"{talk.path()}/chat", {"message": "hi"}),
        (f"{talk.path()}/stream", {"message": "hi"}),
        ("/api/v1/agent/execute", {"task": "hi"}),
        ("/api/v1/agent/execute", {"agent_type": "nobody", "task": "hi"}),
        ("/v1/chat/completions", {"messages": hi}),
        ("/v1/chat/completions", {"model": "any", "messages": hi}),
    )
    for path, body in calls:
        for who, model in ((own, "gpt-4"), (bare, "claude-sonnet-4-6")):
            script.on("Answered.")
            answer = await client.ask("POST", path, ann.key, json={**body, **who})
            assert answer.status == 200, (path, answer.json)
            assert talk.stage.requests()[-1]["model"] == model, path
        answer = await client.ask("POST", path, ann.key, json={**body, **both})
        assert answer.status == 422, path
        said_of = answer.json["error"] if path.startswith("/v1/") else answer.json
        assert "agent_config_name" in (said_of.get("param"), said_of.get("field"))
    for path, status in (("/api/v1/agent/execute", 422), ("/v1/chat/completions", 400)):
        nameless = {"task": "hi"} if status == 422 else {"messages": hi}
        answer = await client.ask("POST", path, ann.key, json=nameless)
        found = answer.json.get("field") or answer.json["error"]["param"]
        assert (answer.status, found) == (status, "agent_type" if status == 422 else "model")


# --- what a preset may say -----------------------------------------------------------------------


async def test_a_model_outside_the_list_is_refused_with_those_inside(talk: Talk) -> None:
    ann = await person(talk, "models")
    refused = await ann.ask("POST", json={**DEEP, "primary_model": "gpt-5-secret"})
    cure = "use one of: claude-haiku-4-5, claude-sonnet-4-6, gpt-4"
    assert problem_of(refused) == ("primary_model", cure)
    narrow = {**DEEP, "base_agent_name": "frugal", "primary_model": "claude-sonnet-4-6"}
    assert problem_of(await ann.ask("POST", json=narrow)) == ("primary_model", "use one of: gpt-4")
    path, secret = "/api/v1/registry/agents/made", {"llmOverrides": {"model": "gpt-5-secret"}}
    refused = await talk.client.ask("PUT", path, json={"name": "Made", **secret})
    assert problem_of(refused) == ("llmOverrides.model", cure)
    assert (await ann.ask("GET")).json == []


async def test_an_agent_that_is_not_offered_is_no_base(talk: Talk) -> None:
    ann = await person(talk, "bases")
    cure = "use one of: capped, frugal, research_agent, strict"
    for base in ("hidden", "simple_chat", "nobody"):
        refused = await ann.ask("POST", json={**DEEP, "base_agent_name": base})
        assert problem_of(refused) == ("base_agent_name", cure)
    made = await ann.make(base_agent_name="research-agent")
    assert made["base_agent_name"] == "research_agent"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("instance_name", "none", "instance_name"),
        ("instance_name", "default", "instance_name"),
        ("display_name", "  ", "display_name"),
        (
            "config_overrides",
            {"allowed_tools": ["find", "nope"]},
            "config_overrides.allowed_tools[1]",
        ),
        ("configOverrides", {"allowedTools": ["mcp:web:*"]}, "config_overrides.allowed_tools[0]"),
        ("instance_name", "Deep Researcher", "instance_name"),
        ("instance_name", None, "instance_name"),
        ("display_name", "x" * 129, "display_name"),
        ("system_prompt_append", "  ", "system_prompt_append"),
        ("is_default", "yes", "is_default"),
        ("config_overrides", {"temprature": 1}, "config_overrides.temprature"),
        ("config_overrides", {"temperature": 3}, "config_overrides.temperature"),
        ("config_overrides", {"allowed_tools": ["a b"]}, "config_overrides.allowed_tools[0]"),
        ("config_overrides", {"reasoning_effort": "huge"}, "config_overrides.reasoning_effort"),
        ("primary_model", "${SECRET}", "primary_model"),
        ("owner", "tg:1", "owner"),
        ("created_at", 1, "created_at"),
    ],
)
async def test_a_wrong_value_is_refused_with_its_field(
    talk: Talk, field: str, value: Any, named: str
) -> None:
    ann = await person(talk, "wrong")
    found, _ = problem_of(await ann.ask("POST", json={**DEEP, field: value}))
    assert found == named


async def test_a_change_names_any_of_several_revisions_that_it_has_seen(talk: Talk) -> None:
    ann = await person(talk, "seen")
    made = await ann.make()
    etag = (await ann.ask("GET", f"/{made['id']}")).headers["ETag"]
    several = {"If_Match": f'"old", {etag}'}
    changed = await ann.ask("PATCH", f"/{made['id']}", json={"display_name": "Seen"}, **several)
    assert changed.status == 200
    stale = await ann.ask("PATCH", f"/{made['id']}", json={"display_name": "No"}, If_Match=etag)
    assert stale.status == 409


async def test_the_fields_of_overrides_may_be_written_as_agents_write_them(talk: Talk) -> None:
    ann = await person(talk, "spelled")
    made = await ann.make(config_overrides={"allowed_tools": ["find"], "max_tokens": 500})
    change = {"configOverrides": {"allowedTools": None, "maxTokens": 600}}
    changed = await ann.ask("PATCH", f"/{made['id']}", json=change)
    assert changed.json["config_overrides"] == {"max_tokens": 600}
    twice = {"config_overrides": {"maxTokens": 600, "max_tokens": 700}}
    refused = await ann.ask("PATCH", f"/{made['id']}", json=twice)
    assert problem_of(refused)[0].startswith("config_overrides")


async def test_a_text_that_is_too_long_is_said_to_have_characters(talk: Talk) -> None:
    ann = await person(talk, "long")
    refused = await ann.ask("POST", json={**DEEP, "system_prompt_append": "x" * 8_001})
    (problem,) = refused.json["problems"]
    assert problem_of(refused)[0] == "system_prompt_append"
    assert problem["message"] == "'system_prompt_append' is longer than 8000 characters"
    tools = {"allowed_tools": ["find"] * 65}
    refused = await ann.ask("POST", json={**DEEP, "config_overrides": tools})
    assert "has more than 64 entries" in refused.json["problems"][0]["message"]


async def test_a_name_is_taken_once_for_a_person_and_free_again_after_a_delete(
    talk: Talk,
) -> None:
    ann, ben = await person(talk, "names"), await person(talk, "other-names")
    made = await ann.make(is_default=True)
    taken = await ann.ask("POST", json=DEEP)
    assert (taken.status, taken.json["detail"]) == (
        409,
        "You have a preset 'deep-researcher' already.",
    )
    other = await ann.make(instance_name="other")
    renamed = await ann.ask("PATCH", f"/{other['id']}", {"instance_name": "deep-researcher"})
    assert renamed.status == 409
    assert (await ben.make())["instance_name"] == "deep-researcher"

    assert (await ann.ask("DELETE", f"/{made['id']}")).status == 204
    left = (await ann.ask("GET")).json
    assert [(one["instance_name"], one["is_default"]) for one in left] == [("other", False)]
    assert (await ann.ask("DELETE", f"/{made['id']}")).status == 404
    assert (await ann.ask("PATCH", f"/{made['id']}", {})).status == 404
    assert (await ann.chat(agent_instance_id=made["id"]))[0] == 404
    again = await ann.make()
    assert again["id"] != made["id"]
    owner = "api:acme:names"
    kept = await talk.host.history.revisions(OPERATOR_ACTOR, "preset", owner)
    assert any(made["id"] in (one.text or "") for one in kept)  # its record stays


async def test_a_patch_changes_the_given_fields_and_keeps_the_others(talk: Talk) -> None:
    ann = await person(talk, "patch")
    made = await ann.make(config_overrides={"temperature": 0.2, "max_tokens": 100})
    id, etag = made["id"], (await ann.ask("GET", f"/{made['id']}")).headers["ETag"]
    change = {"display_name": "Deeper", "config_overrides": {"temperature": None}}
    changed = await ann.ask("PATCH", f"/{id}", change, If_Match=etag)
    assert changed.status == 200
    assert changed.json["config_overrides"] == {"max_tokens": 100}
    assert changed.json["system_prompt_append"] == APA
    assert changed.json["display_name"] == "Deeper"
    stale = await ann.ask("PATCH", f"/{id}", {"display_name": "x"}, If_Match=etag)
    assert stale.status == 409
    cleared = await ann.ask(
        "PATCH", f"/{id}", {"primary_model": None, "config_overrides": None, "display_name": None}
    )
    assert (cleared.json["primary_model"], cleared.json["config_overrides"]) == (None, None)
    assert cleared.json["display_name"] == "Deep researcher"


async def test_the_default_is_one_and_switches_in_one_write(talk: Talk) -> None:
    ann = await person(talk, "defaults")
    one = await ann.make(instance_name="one", is_default=True)
    two = await ann.make(instance_name="two", is_default=True)

    async def defaults() -> list[str]:
        found = (await ann.ask("GET")).json
        return [one["instance_name"] for one in found if one["is_default"]]

    assert await defaults() == ["two"]
    await ann.ask("PATCH", f"/{one['id']}", {"is_default": True})
    assert await defaults() == ["one"]
    await ann.ask("PATCH", f"/{two['id']}", {"is_default": False})
    assert await defaults() == ["one"]
    await ann.ask("PATCH", f"/{one['id']}", {"is_default": False})
    assert await defaults() == []


async def test_a_person_may_have_fifty_presets_and_no_more(talk: Talk) -> None:
    ann = await person(talk, "many")
    for number in range(50):
        await ann.make(instance_name=f"p{number}")
    field, cure = problem_of(await ann.ask("POST", json=DEEP))
    assert (field, cure) == ("instance_name", "delete one")
    big = {"system_prompt_append": "x" * 8_000}
    ids = [one["id"] for one in (await ann.ask("GET")).json]
    answers = [await ann.ask("PATCH", f"/{id}", big) for id in ids[:9]]
    assert {one.status for one in answers[:5]} == {200}
    field, cure = problem_of(answers[-1])
    assert "shorten" in cure


# --- how it is laid over its agent ---------------------------------------------------------------


async def test_an_override_stands_for_the_agents_text_and_an_appended_one_behind_it(
    talk: Talk,
) -> None:
    ann = await person(talk, "texts")
    made = await ann.make(system_prompt_override="You are Ada.", display_name="Ada")
    request = await ann.request(agent_instance_id=made["id"])
    own, base, *_ = system_of(request)
    assert own == f"You are Ada.\n\n{APA}"
    assert "Do not help with the following" in base  # the host's own prompt stays
    lax = {"instance_name": "lax", "base_agent_name": "strict", "system_prompt_override": "Be lax."}
    refused = await ann.ask("POST", json={**DEEP, **lax})
    field, cure = problem_of(refused)
    assert (field, cure) == (
        "system_prompt_override",
        "write what you want to add into system_prompt_append",
    )


async def test_numbers_are_clamped_and_tools_only_narrowed(talk: Talk) -> None:
    ann = await person(talk, "clamped")
    overrides = {"max_tokens": 9_000_000, "temperature": 0.3, "allowed_tools": ["find"]}
    made = await ann.make(primary_model="claude-haiku-4-5", config_overrides=overrides)
    request = await ann.request(agent_instance_id=made["id"])
    assert (request["max_tokens"], request["temperature"]) == (8000, 0.3)
    assert tools_of(request) == ["skill__find"]
    await ann.ask("PATCH", f"/{made['id']}", {"config_overrides": {"allowed_tools": []}})
    request = await ann.request(agent_instance_id=made["id"])
    assert tools_of(request) == []
    bare = await ann.request(agent_config_name="research_agent")
    assert tools_of(bare) == ["skill__find", "skill__save"]


async def test_a_tool_is_named_in_every_form_that_is_known_and_else_refused(talk: Talk) -> None:
    ann = await person(talk, "tools")
    made = await ann.make(config_overrides={"temperature": 0.2})
    for names in (["find"], ["skill:find"], ["skill__find"], ["skill:fi*"]):
        change = {"config_overrides": {"allowed_tools": names}}
        assert (await ann.ask("PATCH", f"/{made['id']}", change)).status == 200, names
        request = await ann.request(agent_instance_id=made["id"])
        assert tools_of(request) == ["skill__find"], names
    wrong = {"config_overrides": {"allowed_tools": ["web__find"]}}
    refused = await ann.ask("PATCH", f"/{made['id']}", wrong)
    cure = "use some of: skill:find, skill:save"
    assert problem_of(refused) == ("config_overrides.allowed_tools[0]", cure)


async def test_what_the_agent_sets_is_the_most_that_a_preset_has(talk: Talk) -> None:
    ann = await person(talk, "ceilings")

    async def asked(**overrides: Any) -> tuple[int, Any, Any]:
        own = {"base_agent_name": "capped", "primary_model": None}
        made = await ann.make(**own, config_overrides=overrides)
        request = await ann.request(agent_instance_id=made["id"])
        await ann.ask("DELETE", f"/{made['id']}")
        effort = (request.get("output_config") or {}).get("effort")
        return request["max_tokens"], effort, request.get("temperature")

    assert await asked(max_tokens=9_000, reasoning_effort="max") == (2_000, "medium", None)
    assert await asked(max_tokens=500, reasoning_effort="low") == (500, "low", None)
    length, _, temperature = await asked(temperature=0.9, reasoning_effort="none")
    assert (length, temperature) == (2_000, 0.9)


async def test_a_change_of_the_agent_is_felt_at_the_next_turn_and_its_removal_is_said(
    talk: Talk,
) -> None:
    ann = await person(talk, "live")
    catalog = talk.host.catalog

    async def put(**fields: Any) -> None:
        definition = agent("lively", "You are lively.", **{"template": True, **fields})
        text = orjson.dumps(definition).decode()
        kept = await catalog.parse(text)
        key = f"lively {len(text)}"
        await catalog.put_document(OPERATOR_ACTOR, "agent", "lively", kept.to_text(), key=key)

    await put()
    own = {"base_agent_name": "lively", "system_prompt_override": "Mine."}
    made = await ann.make(**own)
    who = {"agent_instance_id": made["id"]}
    assert system_of(await ann.request(**who))[0].endswith(f"Mine.\n\n{APA}")
    await put(presets={"promptOverride": False, "models": ["claude-haiku-4-5"]})
    request = await ann.request(**who)
    assert system_of(request)[0].endswith(f"You are lively.\n\n{APA}")
    assert request["model"] == "claude-sonnet-4-6"
    kept = await ann.ask("PATCH", f"/{made['id']}", {"display_name": "Still mine"})
    assert kept.status == 200  # what it says already may stay
    await put(template=False)
    default = await ann.ask("PATCH", f"/{made['id']}", {"is_default": True})
    field, _ = problem_of(default)
    assert field == "is_default"
    openai = {"messages": [{"role": "user", "content": "hi"}], **who}
    answer = await talk.client.ask("POST", "/v1/chat/completions", ann.key, json=openai)
    assert (answer.status, answer.json["error"]["param"]) == (422, "agent_instance_id")
    status, refused = await ann.chat(**who)
    assert (status, refused["field"]) == (422, "agent_instance_id")
    assert refused["detail"].endswith("its agent 'lively' is no longer offered.")
    await catalog.delete_agent(OPERATOR_ACTOR, "lively", key="delete lively")
    status, refused = await ann.chat(**who)
    assert (status, refused["detail"]) == (
        422,
        "The preset 'deep-researcher' cannot answer: its agent 'lively' was removed.",
    )


# --- whose it is ---------------------------------------------------------------------------------


async def test_a_preset_is_its_owners_alone_and_an_admin_sees_nothing_of_it(talk: Talk) -> None:
    ann, ben = await person(talk, "owner"), await person(talk, "stranger")
    admin = await person(talk, "admin", role="instance_admin")
    operator = Person(talk, await talk.client.make_key(role="spokestack_engineer", scope="host"))
    made = await ann.make(system_prompt_append="My diary says: amaryllis.")
    for other in (ben, admin, operator):
        assert (await other.ask("GET")).json == []
        for method in ("GET", "PATCH", "DELETE"):
            body = {"display_name": "Mine"} if method == "PATCH" else None
            answer = await other.ask(method, f"/{made['id']}", body)
            assert (answer.status, answer.json["detail"]) == (
                404,
                "There is nothing here, or nothing that this key may see.",
            )
        assert (await other.chat(agent_instance_id=made["id"]))[0] in (404, 422)
    assert [one["id"] for one in (await ann.ask("GET")).json] == [made["id"]]
    records = [one for one in await audit_of(talk.host) if one.entity_id == "api:acme:owner"]
    assert [(one.change_type, one.action) for one in records] == [("create", "create preset")]
    assert "amaryllis" not in repr(records)
    path = "/api/v1/instance/acme/tuning/audit"
    assert b"amaryllis" not in (await talk.client.get(path, admin.key)).body


async def test_a_key_that_names_its_person_makes_presets_for_them_alone(talk: Talk) -> None:
    shared = await person(talk, "", user=None)
    made = await shared.make(user_id="eve")
    assert (await shared.ask("GET")).json == []
    listed = await shared.ask("GET", "?user_id=eve")
    assert [one["id"] for one in listed.json] == [made["id"]]
    eve = await person(talk, "eve")
    assert [one["id"] for one in (await eve.ask("GET")).json] == [made["id"]]
    denied = await eve.ask("GET", "?user_id=ann")
    assert (denied.status, denied.json["field"]) == (403, "user_id")
    # From here on Eve's presets are hers alone, also before the key that made one.
    engineer = {"user": None, "role": "spokestack_engineer", "scope": "host"}
    for other in (shared, await person(talk, "", **engineer)):
        body = {**DEEP, "instance_name": "forged", "user_id": "eve"}
        tried = [
            await other.ask("GET", "?user_id=eve"),
            await other.ask("GET", f"/{made['id']}?user_id=eve"),
            await other.ask("POST", json=body),
            await other.ask("PATCH", f"/{made['id']}", {"display_name": "x", "user_id": "eve"}),
            await other.ask("DELETE", f"/{made['id']}?user_id=eve"),
        ]
        assert [(one.status, one.json["field"]) for one in tried] == [(403, "user_id")] * 5
        assert not any(APA.encode() in one.body for one in tried)
        assert (await other.chat(agent_instance_id=made["id"], user_id="eve"))[0] == 403
        path, task = "/api/v1/agent/execute", {"agent_type": "x", "task": "hi", "user_id": "eve"}
        assert (await talk.client.ask("POST", path, other.key, json=task)).status == 403
    assert (await eve.ask("GET")).json == [made]


async def test_a_key_of_one_agent_uses_presets_of_this_agent_alone(talk: Talk) -> None:
    ann = await person(talk, "narrowed")
    made = await ann.make()
    strict = await ann.make(instance_name="strict", base_agent_name="strict")
    narrow = await person(talk, "narrowed", agent="strict")
    found = (await narrow.ask("GET", "/templates")).json
    assert [one["name"] for one in found["agents"]] == ["strict"]
    assert (await narrow.ask("POST", json=DEEP)).status == 403
    execute = "/api/v1/agent/execute"
    for preset, status in ((made, 403), (strict, 200)):
        talk.stage.script.on("Done.")
        body = {"agent_type": "strict", "task": "hi", "agent_instance_id": preset["id"]}
        answer = await talk.client.ask("POST", execute, narrow.key, json=body)
        assert answer.status == status, answer.json


async def test_a_repeated_request_makes_a_preset_once(talk: Talk) -> None:
    ann = await person(talk, "repeats")
    one, two = [await ann.ask("POST", json=DEEP, Idempotency_Key="k1") for _ in range(2)]
    assert (one.status, two.status, one.json) == (201, 201, two.json)
    assert len((await ann.ask("GET")).json) == 1


async def test_every_field_of_an_agent_and_an_instance_tells_its_layer_and_its_origin(
    talk: Talk,
) -> None:
    admin = await person(talk, "reader", role="instance_admin")
    path = "/api/v1/registry/agents/research_agent"
    assert "effective" not in (await talk.client.get(path)).json
    found = (await talk.client.get(f"{path}?effective=true")).json["effective"]
    assert found["model"] == {
        "value": "claude-sonnet-4-6",
        "layer": "L0",
        "origin": "host defaults",
    }
    text = found["customInstructions"]
    assert (text["value"], text["layer"]) == (TEXT, "L1")
    assert text["origin"].startswith("agents.json:")
    assert found["template"]["value"] is True
    path = f"{talk.path('sales-enterprise')}?effective=true"
    found = (await talk.client.get(path, admin.key)).json["effective"]
    place = "acme/sales-enterprise/config.yaml:"
    for name, value in (("temperature", 0.5), ("historyLimit", 10), ("name", "Enterprise Sales")):
        assert (found[name]["value"], found[name]["layer"]) == (value, "L3")
        assert found[name]["origin"].startswith(place)
    assert found["allowedTools"]["layer"] == "L3"
    assert found["disabledTools"] == {"value": [], "layer": "L0", "origin": "default"}
