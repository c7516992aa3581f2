"""What servers offer and answer, before and after we made it safe to show."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from mcp import types

from bot.mcp import tool_spec
from bot.mcp.result import result_from
from bot.mcp.tool_spec import Tool, ToolFilter
from bot.ops.line_reader import LineSplitter, LineTooLong
from bot.ops.redaction import Secrets
from bot.safety.text_safety import printable
from tests.refusals.gallery import PICTURES

NONE = Secrets()
PNG = base64.b64encode(PICTURES["fine png"]).decode()


def tool(name: str = "a", **fields: Any) -> types.Tool:
    return types.Tool(**{"name": name, "input_schema": {"type": "object"}, **fields})


def filtered(*raw: types.Tool, secrets: Secrets = NONE) -> ToolFilter:
    found = ToolFilter(secrets)
    found.add(raw)
    return found


def only(raw: types.Tool) -> Tool:
    (found,) = filtered(raw).tools
    return found


def answer(*blocks: Any, **fields: Any) -> types.CallToolResult:
    return types.CallToolResult(content=list(blocks), **fields)


def text(words: str) -> types.TextContent:
    return types.TextContent(text=words)


def test_hidden_text_in_descriptions_is_stripped() -> None:
    hidden = "Adds\u202e two\u200b num\U000e0041bers\x1b[0m\nand\tmore\ufeff"
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "description": hidden, "enum": ["x"]}},
    }
    found = only(tool(description=hidden, input_schema=schema))
    assert found.description == "Adds two numbers[0m\nand\tmore"
    assert found.input_schema["properties"]["a"]["description"] == found.description


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"enum": ["x", "y\U000e0041\U000e0042"]}}},
        {"properties": {"a": {"const": "x\u202ey"}}},
        {"properties": {"a": {"default": {"b": ["\u2066x"]}}}},
        {"properties": {"a": {"type": "object", "properties": {"b\u200b": {}}}}},
        {"$defs": {"c\ufeff": {"type": "string"}}},
        {"properties": {"a": {"description": {"enum": ["\u200bx"]}}}},
    ],
)
def test_a_tool_is_left_out_where_hidden_text_cannot_be_stripped(schema: dict[str, Any]) -> None:
    found = filtered(tool(input_schema={"type": "object", **schema}), tool("b"))
    (note,) = found.notes
    assert [one.name for one in found.tools] == ["b"]
    assert "hidden characters" in note
    assert printable(note) == note


@pytest.mark.parametrize("word", ["می\u200cخواهم", "👩\u200d🚀", "line\nline", "naïve"])
def test_joiners_that_words_and_emoji_need_hide_nothing(word: str) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [word]}}}
    assert only(tool(input_schema=schema)).input_schema["properties"]["a"]["enum"] == [word]


def test_a_long_description_is_cut() -> None:
    assert len(only(tool(description="x" * 20_000)).description) == 8_000


def test_a_schema_that_the_model_api_would_refuse_becomes_an_object() -> None:
    assert only(tool(input_schema={})).input_schema == {"type": "object"}
    both = {"type": ["null", "object"], "properties": {"a": {}}}
    assert only(tool(input_schema=both)).input_schema == both | {"type": "object"}
    assert only(
        tool(input_schema={"oneOf": [{}], "properties": {"a": {"oneOf": [{}]}}})
    ).input_schema == {"type": "object", "properties": {"a": {"oneOf": [{}]}}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, '"type": "objekt", though'),
        ({"type": "array", "items": {"type": "string"}}, '"type": "array", though'),
        ({"type": ["string", "null"]}, '"type": ["string", "null"], though'),
        ({"type": None}, '"type": null, though'),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "text"}}}, '"type": "text", though'),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "JSON Schema, at $.properties"),
        ({"type": "object", "oneOf": [{"type": "objekt"}]}, "not a JSON Schema, at $.oneOf[0]"),
        ({"type": "object", "allOf": {}}, "not a JSON Schema, at $.allOf"),
    ],
    ids=str,
)
def test_a_tool_whose_schema_is_none_or_of_no_object_is_left_out(
    schema: dict[str, Any], words: str
) -> None:
    found = filtered(tool(input_schema=schema), tool("b"))
    assert [one.name for one in found.tools] == ["b"]
    (note,) = found.notes
    assert "is left out: its input schema " in note
    assert words in note


def test_a_field_for_a_credential_that_nothing_would_refuse_leaves_the_tool_out() -> None:
    properties = {"api_key": {}, "a": {"type": "string", "pattern": r"(a)\1"}}
    found = filtered(tool(input_schema={"type": "object", "properties": properties}))
    assert found.tools == ()
    (note,) = found.notes
    assert "it accepts a credential, 'api_key', and its schema has the pattern" in note


def test_tools_are_sorted_and_a_twin_is_left_out() -> None:
    found = filtered(tool("b", description="1"), tool("a"), tool("b", description="2"))
    assert [(one.name, one.description) for one in found.tools] == [("a", ""), ("b", "1")]
    assert found.notes == ["tool 'b' is listed twice: the first stays"]


def test_a_tool_with_an_endless_schema_is_left_out() -> None:
    schema = {"type": "object", "description": "x" * 70_000}
    found = filtered(tool(input_schema=schema))
    assert found.tools == ()
    assert "over 64000" in found.notes[0]


@pytest.mark.parametrize("keyword", ["not", "items", "properties"])
def test_a_tool_whose_schema_is_nested_very_deeply_is_left_out(keyword: str) -> None:
    schema: dict[str, Any] = {}
    for _ in range(400 if keyword == "properties" else 700):
        schema = {keyword: {"properties": schema} if keyword == "properties" else schema}
    found = filtered(tool(input_schema={"type": "object", "properties": {"a": schema}}), tool("b"))
    assert [one.name for one in found.tools] == ["b"]
    assert "is left out: its input schema is n" in found.notes[0]


def test_looking_for_schemas_that_cannot_be_checked_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool_spec, "CHECK_SECONDS", 0.05)
    listed = []
    for number in range(400):
        names = {f"p{n}": {"pattern": rf"^(\w{{1,9}}{number}.{n}){{1,20}}$"} for n in range(63)}
        names["last"] = {"pattern": r"(a)\1"}
        listed.append(tool(f"t{number}", input_schema={"type": "object", "properties": names}))
    found = filtered(*listed)
    assert len(found.tools) == 400
    assert 1 <= len(found.notes) < 400


def test_the_digest_tells_a_changed_tool() -> None:
    plain = only(tool(description="x"))
    assert plain.digest == only(tool(description="x")).digest
    assert plain.digest != only(tool(description="y")).digest
    changed = tool(description="x", input_schema={"type": "object", "required": ["a"]})
    assert plain.digest != only(changed).digest


def test_the_key_names_the_server_as_we_do() -> None:
    assert replace(only(tool("get")), server="time").key == "mcp:time:get"


def test_texts_are_cut_together_at_the_cap() -> None:
    result = result_from(answer(text("x" * 6), text("y" * 6), text("z")), 8, NONE)
    assert [block["text"] for block in result.content] == [
        "xxxxxx",
        "yy",
        "[cut: the first 8 of 13 characters are shown]",
    ]


def test_an_empty_answer_still_has_words() -> None:
    assert result_from(answer(), 100, NONE).text == "(the tool returned nothing)"
    assert result_from(answer(text(" ")), 100, NONE).text == "(the tool returned nothing)"


def test_structured_content_speaks_where_there_is_no_text() -> None:
    structured = {"größe": 3}
    assert result_from(answer(structured_content=structured), 100, NONE).text == '{"größe": 3}'
    both = answer(text("three"), structured_content=structured)
    assert result_from(both, 100, NONE).text == "three"


def test_images_go_by_their_own_first_bytes() -> None:
    lying = types.ImageContent(data=PNG, mime_type="image/jpeg")
    assert result_from(answer(lying), 100, NONE).content == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    ]
    drawn = types.ImageContent(data=base64.b64encode(b"<svg/>").decode(), mime_type="image/svg+xml")
    assert "cannot be shown" in result_from(answer(drawn), 100, NONE).text
    broken = types.ImageContent(data="!!", mime_type="image/png")
    assert "cannot be shown" in result_from(answer(broken), 100, NONE).text


def test_only_so_many_images_are_shown() -> None:
    image = types.ImageContent(data=PNG, mime_type="image/png")
    kinds = [block["type"] for block in result_from(answer(*[image] * 10), 100, NONE).content]
    assert kinds == ["image"] * 8 + ["text"] * 2


def test_links_resources_and_sounds_become_text() -> None:
    link = types.ResourceLink(name="log", uri="file:///log", description="today's")
    note = types.TextResourceContents(uri="file:///note", text="milk")
    blob = types.BlobResourceContents(uri="file:///zip", blob="AAAA", mime_type="application/zip")
    sound = types.AudioContent(data="AAAA", mime_type="audio/wav")
    blocks = (
        link,
        types.EmbeddedResource(resource=note),
        types.EmbeddedResource(resource=blob),
        sound,
    )
    said = result_from(answer(*blocks), 1_000, NONE).text
    assert "[resource] log: file:///log\ntoday's" in said
    assert "[resource file:///note]\nmilk" in said
    assert "application/zip, which is not text" in said
    assert "audio of type audio/wav" in said


def test_an_error_stays_an_error() -> None:
    assert result_from(answer(text("no"), is_error=True), 100, NONE).is_error


def test_lines_come_whole_from_any_pieces() -> None:
    lines = LineSplitter()
    assert lines.feed(b"on") == []
    assert lines.feed(b"e\ntwo\n\nth") == [b"one", b"two", b""]
    assert lines.feed(b"ree\n") == [b"three"]


def test_a_line_over_the_limit_is_dropped_and_its_request_known_from_either_end() -> None:
    lines = LineSplitter(limit=20)
    front = b'{"jsonrpc": "2.0", "id": 12, "result": "' + b"x" * 900 + b'"}\n'
    back = b'{"result": "' + b"x" * 900 + b'", "jsonrpc": "2.0", "id": 13}\n'
    nowhere = b'{"result": "' + b"x" * 900 + b'"}\n'
    pieces = [front[:300], front[300:] + back + nowhere + b"short\n"]
    assert [line for piece in pieces for line in lines.feed(piece)] == [
        LineTooLong(len(front) - 1, 12),
        LineTooLong(len(back) - 1, 13),
        LineTooLong(len(nowhere) - 1, None),
        b"short",
    ]


def test_an_answer_of_very_many_blocks_is_joined_to_a_few() -> None:
    found = result_from(answer(*[text("a") for _ in range(30_000)]), 20_000, NONE)
    assert len(found.content) < 210
    assert found.text.count("a\n") == 20_000
    assert found.text.endswith("[cut: the first 20000 of 30000 characters are shown]")


def test_very_many_parts_that_cannot_be_shown_are_counted() -> None:
    sound = types.AudioContent(data="", mime_type="audio/wav")
    found = result_from(answer(*[sound] * 10_000), 1_000, NONE)
    assert len(found.content) < 210
    assert found.content[-1]["text"] == "[9800 more parts that cannot be shown here]"


def test_a_secret_is_taken_out_of_what_a_server_says_before_it_is_cut() -> None:
    secrets = Secrets(["hunter2-plain"])
    result = result_from(answer(text("x" * 6 + "hunter2-plain")), 8, secrets)
    assert result.content[0]["text"] == "xxxxxx[s"
    assert result.remainder == "ecret]"
    sound = types.AudioContent(data="", mime_type="audio/hunter2-plain")
    assert result_from(answer(sound), 100, secrets).text.startswith("[audio of type audio/[secret]")
    more = result_from(answer(text("y" * 600_000), text("hunter2-plain")), 100, secrets)
    assert not more.is_complete
    assert len(more.remainder) <= 500_000


def test_a_tool_is_left_out_where_a_call_would_need_a_secret() -> None:
    secrets = Secrets(["hunter2-plain"])
    choice = {"type": "object", "properties": {"a": {"enum": ["hunter2-plain"]}}}
    told = {"type": "object", "properties": {"a": {"description": "of hunter2-plain"}}}
    raw = [
        tool("by-hunter2-plain"),
        tool("choose", input_schema=choice),
        tool("good", description="Tells hunter2-plain.", input_schema=told),
    ]
    found = filtered(*raw, secrets=secrets)
    (good,), notes = found.tools, found.notes
    assert good.description == "Tells [secret]."
    assert good.input_schema["properties"]["a"]["description"] == "of [secret]"
    assert len(notes) == 2
    assert "hunter2" not in str(notes)
