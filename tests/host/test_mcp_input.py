"""Tools of MCP servers: what the model is told of their input, and what becomes of wrong input.

One host, and one server that runs whatever it is asked for.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot
from tests.host.stage import Stage, health, staged

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTING = Path(__file__).parents[1] / "mcp" / "servers" / "listing.py"
TEXT = {"type": "string"}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": [*words]}


SAMPLE = {
    "type": "object",
    "properties": {
        "instance_id": {"type": "string", "description": "Instance ID to populate"},
        "company_profile": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Fictional company name"},
                "type": one_of("agency", "studio", "in_house", "freelancer"),
                "industry_focus": {"type": "array", "items": TEXT, "description": "Industries"},
                "size": one_of("solo", "small", "medium", "large", "enterprise"),
            },
            "description": "Profile of the fictional company",
        },
        "data_to_generate": {
            "type": "array",
            "items": one_of("clients", "projects", "briefs", "team", "content"),
        },
        "data_volume": one_of("minimal", "moderate", "comprehensive") | {"default": "moderate"},
        "copies": {"type": "integer", "default": 1},
    },
    "required": ["instance_id", "company_profile"],
}
"""The nested schema of spec 5, 7.5, with an integer."""
_PAIRS = {f"p{n}": {"anyOf": [{"$ref": f"#/$defs/p{n - 1}"}] * 2} for n in range(1, 40)}
NODE = {"type": "object", "properties": {"name": TEXT, "inner": {"$ref": "#/$defs/node"}}}
CANNOT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "far": ({"$ref": "http://127.0.0.1:PORT/schema.json"}, {}, "a $ref to another document"),
    "round": ({"$ref": "#/$defs/a"}, {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "a circular $ref"),
    "wide": ({"$ref": "#/$defs/p39"}, {"p0": TEXT, **_PAIRS}, "more than 100000 parts"),
    "back": ({"type": "string", "pattern": r"(a)\1"}, {}, "the pattern"),
}
"""Schemas that a host cannot use: of a property `x`, with definitions, and what is said of it."""


def must_have(name: str, **schema: Any) -> dict[str, Any]:
    return {"properties": {name: schema or TEXT}, "required": [name]}


ASKING: dict[str, dict[str, Any]] = {
    "connect": must_have("api_key"),
    "login": must_have("auth", type="object", **must_have("userPassword")),
    "clone": must_have("github-token"),
    "sign": {"allOf": [must_have("x"), must_have("client secret")]},
    "bare": {"required": ["password"]},
    "told": must_have("value", type="string", description="Your API key for the service"),
    "tunnel": must_have("ssh_key"),
    "pay": must_have("credit_card_number", type="integer"),
    "store": must_have("database_url"),
}
AUTH = {"type": "object", "properties": {"user": TEXT, "passwd": TEXT}}
WITHOUT: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = {
    "may": (
        {"properties": {"a": TEXT, "api_key": TEXT}},
        {"properties": {"a": TEXT}},
        [{"api_key": "raw-key"}],
    ),
    "inner": (
        {"properties": {"auth": AUTH, "odd pass-phrase": TEXT}},
        {"properties": {"auth": {"type": "object", "properties": {"user": TEXT}}}},
        [{"auth": {"passwd": "raw-key"}}, {"odd pass-phrase": "raw-key"}],
    ),
    "either": (
        {"oneOf": [must_have("x"), must_have("session_cookie")], "properties": {"y": TEXT}},
        {"properties": {"y": TEXT, "x": TEXT}},
        [{"session_cookie": "raw-key"}],
    ),
    "many": (
        {"properties": {"a": TEXT, **{f"pass{n}": TEXT for n in range(7)}}},
        {"properties": {"a": TEXT}},
        [{"pass6": "raw-key"}],
    ),
    "named": (
        {"patternProperties": {"^password$": TEXT, "^x_": {"type": "integer"}}},
        {"patternProperties": {"^x_": {"type": "integer"}}},
        [{"password": "raw-key"}, {"x_1": "one"}],
    ),
}
"""Tools with a field for a credential that a call can do without: what the model is shown of
them, and input that is not sent.
"""
WRONG_TYPES: dict[str, tuple[Any, str]] = {
    "objekt": ({"type": "objekt"}, '"type": "objekt"'),
    "array": ({"type": "array"}, '"type": "array"'),
    "null": ({"type": None}, '"type": null'),
    "never": ({"type": ["array", "null"]}, '"type": ["array", "null"]'),
    "aside": ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array"}}}, '"type": "array"'),
    "yes": (True, "is not an object in { }"),
    "words": ("object", "is not an object in { }"),
}
"""Input schemas that no call could fit, and what is said of them."""
RIGHT_TYPES: dict[str, Any] = {
    "maybe": {"type": ["object", "null"], "properties": {"n": {"type": "integer"}}},
    "untyped": {"properties": {"n": {"type": "integer"}}},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "most": {"properties": {"max_tokens": {"type": "integer"}, "page_token": TEXT, "key": TEXT}},
    "pages": must_have("nextPageToken"),
    "hide": must_have("secret", type="boolean"),
    "count": must_have("tokens"),
}
"""Tools that ask for a credential, and some that only look like it."""


def tools(port: int) -> list[dict[str, Any]]:
    """What the shop offers; somebody listens at `port`."""
    slow = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    tree = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}}
    odd = {"type": "object", "properties": {"$top": {"type": "integer"}}, "required": ["$top"]}
    asking = {name: {"type": "object", **asked} for name, asked in (ASKING | HARMLESS).items()}
    asking |= {name: {"type": "object", **asked} for name, (asked, _, _) in WITHOUT.items()}
    schemas: dict[str, Any] = {"sample": SAMPLE, "slow": slow, "odd": odd}
    schemas |= {"tree": tree | {"$defs": {"node": NODE}}} | asking | RIGHT_TYPES
    schemas |= {name: schema for name, (schema, _) in WRONG_TYPES.items()}
    for name, (schema, definitions, _) in CANNOT.items():
        schemas[name] = {"type": "object", "properties": {"x": schema}, "$defs": definitions}
    listed = [{"name": name, "inputSchema": schema} for name, schema in schemas.items()]
    found: list[dict[str, Any]] = json.loads(json.dumps(listed).replace("PORT", str(port)))
    return found


class Scene:
    """A host with one agent that may use all tools of a shop unasked."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.url = ""
        self.log = stage.folder / "shop.log"
        self.log.touch()
        listed = stage.folder / "tools.json"
        listed.write_text(json.dumps(tools(port)), encoding="utf-8")
        server = {"command": sys.executable, "args": [str(LISTING), str(listed), str(self.log)]}
        stage.agents["mcpServers"]["shop"] = server
        self.bot: Bot = stage.bot("Clerk", mcpServers=["shop"], whitelistPatterns=["mcp:shop:*"])
        trusted = server | {"allowCredentials": ["con*", "may"]}
        stage.agents["mcpServers"]["trusted"] = trusted
        self.trusting: Bot = stage.bot("Trusting", mcpServers=["trusted"])
        self.careful: Bot = stage.bot("Careful", mcpServers=["shop"])

    async def asked(self, text: str, bot: Bot | None = None) -> str:
        """The answer to a text, of somebody new."""
        ann, bot = self.stage.person("Ann"), bot or self.bot
        return await self.stage.ask(ann, self.stage.world.private(ann, bot), bot, text)

    async def shown(self, bot: Bot, text: str) -> dict[str, Any]:
        """The schemas of the tools that the model is shown, by their names on the wire."""
        self.stage.script.on("hello", user=text)
        await self.asked(text, bot)
        (request,) = self.requests(text)
        return {tool["name"]: tool["input_schema"] for tool in request["tools"]}

    async def notes(self, server: str) -> list[str]:
        """What the health page says of a server's tools."""
        _, report = await health(self.url)
        (found,) = [one for one in report["servers"] if server in one["names"]]
        return list(found["notes"])

    async def called(self, word: str, tool: str, arguments: dict[str, Any]) -> str:
        """What the model was told of a call that it made."""
        self.stage.script.on(turn(Call(f"shop__{tool}", arguments)), "I see.", user=word)
        assert await self.asked(word) == "I see."
        (result,) = self.requests(word)[-1]["messages"][-1]["content"]
        content = result["content"]
        return content if isinstance(content, str) else str(content[0]["text"])

    def done(self, tool: str) -> list[Any]:
        """The arguments with which a tool has run."""
        lines = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        return [arguments for name, arguments in lines if name == tool]

    def requests(self, text: str) -> list[dict[str, Any]]:
        """Model requests of the chats in which something was said."""
        return [r for r in self.stage.requests() if text in str(r["messages"])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    fetched: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fetched.append((await reader.readline()).decode())
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener, staged(tmp_path_factory.mktemp("inputs")) as stage:
        scene = Scene(stage, listener.sockets[0].getsockname()[1])
        async with stage.host() as host:
            scene.url = host.url
            yield scene
        assert fetched == []


async def test_the_documents_nested_schema_reaches_the_model_unchanged(scene: Scene) -> None:
    shown = await scene.shown(scene.bot, "what can you do?")
    assert shown["shop__sample"] == SAMPLE


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, '"instance_id" is a required property at $'),
        ({"instance_id": 5, "company_profile": {}}, '5 is not of type "string" at $.instance_id'),
        (
            {"instance_id": "a", "company_profile": {"size": "vast"}},
            "at $.company_profile.size",
        ),
        (
            {"instance_id": "a", "company_profile": {"industry_focus": ["x", None]}},
            'null is not of type "string" at $.company_profile.industry_focus[1]',
        ),
    ],
)
async def test_input_that_does_not_fit_is_told_to_the_model_and_never_sent(
    scene: Scene, arguments: dict[str, Any], wrong: str
) -> None:
    before = scene.done("sample")
    told = await scene.called(f"sample {wrong}", "sample", arguments)
    error = json.loads(told)
    assert error["error"].startswith("Invalid input: ")
    assert wrong in error["error"]
    assert error["note"] == "It was not run. Correct the input and call again."
    assert scene.done("sample") == before


async def test_nobody_is_asked_about_a_call_that_does_not_fit(scene: Scene) -> None:
    scene.stage.script.on(turn(Call("shop__sample", {})), "I see.", user="careful")
    assert await scene.asked("careful", scene.careful) == "I see."


async def test_input_that_fits_is_sent_as_it_is(scene: Scene) -> None:
    fits = {"instance_id": "a", "company_profile": {"size": "small", "more": [1]}}
    assert await scene.called("a good sample", "sample", fits) == "did sample"
    assert scene.done("sample") == [fits]


async def test_a_renamed_parameter_is_checked_under_the_name_that_the_model_knows(
    scene: Scene,
) -> None:
    told = await scene.called("the wrong top", "odd", {"top": "many"})
    assert '"many" is not of type "integer" at $.top' in json.loads(told)["error"]
    assert await scene.called("the right top", "odd", {"top": 3}) == "did odd"
    assert scene.done("odd") == [{"$top": 3}]


async def test_a_schema_that_refers_to_itself_and_a_mad_pattern_are_checked_in_time(
    scene: Scene,
) -> None:
    tree: dict[str, Any] = {"name": 7}
    for _ in range(40):
        tree = {"inner": tree}
    assert "7 is not of type" in await scene.called("a deep tree", "tree", {"root": tree})
    told = await scene.called("a mad text", "slow", {"x": "a" * 5_000 + "!"})
    assert "does not match" in told
    assert scene.done("tree") + scene.done("slow") == []


@pytest.mark.parametrize("tool", CANNOT)
async def test_a_schema_that_cannot_be_used_is_noted_and_its_input_not_checked(
    scene: Scene, tool: str
) -> None:
    assert await scene.called(f"try {tool}", tool, {"x": 5}) == f"did {tool}"
    (note,) = [note for note in await scene.notes("shop") if f"'{tool}'" in note]
    assert note.startswith(f"the input of tool '{tool}' is not checked: its schema has ")
    assert CANNOT[tool][-1] in note


async def test_a_tool_that_asks_for_a_credential_is_left_out_with_a_note(scene: Scene) -> None:
    shown = await scene.shown(scene.bot, "what may you do?")
    assert [name for name in ASKING if f"shop__{name}" in shown] == []
    assert [name for name in HARMLESS if f"shop__{name}" not in shown] == []
    scene.stage.script.on(turn(Call("shop__connect", {"api_key": "sk-raw"})), "no", user="force it")
    assert await scene.asked("force it") == "no"
    assert scene.done("connect") == []
    assert shown["shop__most"] == {"type": "object", **HARMLESS["most"]}
    notes = [note for note in await scene.notes("shop") if "for a credential" in note]
    assert [note.split("'")[1:4:2] for note in notes] == [
        ["connect", "api_key"],
        ["login", "userPassword"],
        ["clone", "github-token"],
        ["sign", "client secret"],
        ["bare", "password"],
        ["told", "value"],
        ["tunnel", "ssh_key"],
        ["pay", "credit_card_number"],
        ["store", "database_url"],
    ]


async def test_a_tool_whose_input_is_of_another_type_is_left_out_with_a_note(scene: Scene) -> None:
    shown = await scene.shown(scene.bot, "what is of another type?")
    assert [name for name in WRONG_TYPES if f"shop__{name}" in shown] == []
    notes = await scene.notes("shop")
    for name, (_, said) in WRONG_TYPES.items():
        (note,) = [note for note in notes if f"tool '{name}' " in note]
        assert note.startswith(f"tool '{name}' is left out: its input schema ")
        assert said in note
    for name in RIGHT_TYPES:
        assert shown[f"shop__{name}"] == RIGHT_TYPES[name] | {"type": "object"}
        assert "is not of type" in await scene.called(f"wrong {name}", name, {"n": "x"})
        assert scene.done(name) == []


@pytest.mark.parametrize("tool", WITHOUT)
async def test_a_field_for_a_credential_is_neither_shown_nor_sent(scene: Scene, tool: str) -> None:
    _, schema, refused = WITHOUT[tool]
    shown = await scene.shown(scene.bot, f"what is {tool}?")
    assert shown[f"shop__{tool}"] == {"type": "object", **schema}
    for number, arguments in enumerate(refused):
        told = await scene.called(f"give {tool} {number}", tool, arguments)
        assert json.loads(told)["error"].startswith("Invalid input: ")
    assert await scene.called(f"call {tool}", tool, {"x": "fine"}) == f"did {tool}"
    assert scene.done(tool) == [{"x": "fine"}]
    (note,) = [note for note in await scene.notes("shop") if f"tool '{tool}' " in note]
    assert f"tool '{tool}' is offered without '" in note
    assert ("'pass4' and 2 more, which are credentials;" in note) == (tool == "many")
    assert "name the tool in allowCredentials" in note


async def test_the_operator_may_let_a_tool_ask_for_a_credential(scene: Scene) -> None:
    shown = await scene.shown(scene.trusting, "and you?")
    assert [name for name in ASKING if f"trusted__{name}" in shown] == ["connect"]
    assert shown["trusted__may"] == {"type": "object", **WITHOUT["may"][0]}
    notes = await scene.notes("trusted")
    assert not any("'connect'" in note or "'may'" in note for note in notes)
