"""Texts, values and schemas that could stop a host, by the door at which each is thrown."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.attacks.bomb_ground import Ground, Pushed, event, spoken

Throw = Callable[[Ground], Awaitable[None]]
Schema = dict[str, Any]

TOOLS = ("free_tool", "asked_tool")
MIXED: list[Any] = [[n, "a", {"b": n}] if n % 3 else n + 0.5 for n in range(5_000)]
OBJECTS = [{"k": [n] * 4} for n in range(1_500)]
ODD_NAMES: list[Any] = ["a", 1, None, {}]
TWO_WAYS = [{"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in ("b", "c")]


def _list_of(**more: Any) -> Schema:
    """An object with one list, and the list's schema."""
    return {"type": "object", "properties": {"a": {"type": "array", **more}}}


def _doubled(steps: int, keyword: str) -> Schema:
    """Each step refers twice to the next one."""
    made: Schema = {f"d{steps}": {}}
    for n in range(steps):
        both = [{"$ref": f"#/$defs/d{n + 1}"}] * 2
        named = dict(zip("ab", both, strict=True))
        made[f"d{n}"] = {keyword: named if keyword == "dependentSchemas" else both}
    return {"type": "object", "$ref": "#/$defs/d0", "$defs": made}


def _letters(number: int) -> Schema:
    """A pattern that is short, and takes long to be made ready."""
    return {"pattern": r"(?:\pL|\pN){16}" + str(number)}


BUILT_FOR_EVER = _doubled(60, "dependentSchemas") | {"unevaluatedProperties": False}
SCHEMAS: dict[str, Schema] = {
    "unique": _list_of(uniqueItems=True),
    "among": _list_of(items={"enum": OBJECTS}),
    "any": _list_of(items={"anyOf": [{"const": n} for n in range(2_000)]}),
    "whole": {"type": "object", "anyOf": [_list_of(items={"const": n}) for n in range(600)]},
    "twice": {"type": "object", "allOf": TWO_WAYS},
    "parted": {"type": "object", "allOf": TWO_WAYS[:1], "unevaluatedProperties": False},
    "pattern": {"type": "object", "properties": {"a": {"pattern": r"^(\w+\s?){1,30}$"}}},
    "short": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 10}}},
    "many": {"type": "object", "additionalProperties": {"type": "number", "multipleOf": 0.01}},
    "any_object": {"type": "object"},
    "letters": {"type": "object", "properties": {f"p{n}": _letters(n) for n in range(64)}},
}
SKILLS: dict[str, dict[str, Any]] = {
    **{f"in_{name}": {"inputSchema": schema} for name, schema in SCHEMAS.items()},
    **{f"out_{name}": {"outputSchema": schema} for name, schema in SCHEMAS.items()},
    "asked": {"requiresApproval": True},
}


@dataclass(frozen=True)
class Bomb:
    """What is thrown at which door; `told` is what shows that it went off there.

    The model is told it of a call, or the host's report of what it has read.
    """

    door: str
    name: str
    throw: Throw
    told: str = ""


def _input(skill: str, value: Any) -> Throw:
    written = value if isinstance(value, str) else json.dumps(value)
    return lambda ground: ground.calls(f"skill__in_{skill}", written)


def _question(value: Any) -> Throw:
    written = json.dumps(value)
    return lambda ground: ground.calls("skill__asked", written, asks=True)


def _output(skill: str, value: Any) -> Throw:
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    return lambda ground: ground.returns(f"out_{skill}", lambda _: body)


def _result(door: str, content: str, structure: str = "null") -> Throw:
    def body(id: Any) -> bytes:
        result = f'{{"content":[{content}],"structuredContent":{structure}}}'
        return f'{{"jsonrpc":"2.0","id":{json.dumps(id)},"result":{result}}}'.encode()

    return lambda ground: ground.returns(door, body)


def _said(text: str, size: int = 4_000) -> Throw:
    return lambda ground: ground.says(lambda: spoken(text, size))


def _stored(**fields: Any) -> Throw:
    agent = {"id": "bomb", "name": "Bomb", "mcpServerEndpoints": []} | fields
    return _raw(json.dumps(agent))


def _raw(value: str) -> Throw:
    return lambda ground: ground.stores({"agent:definition:bomb": value})


def _skilled(*skills: Schema) -> Throw:
    return _stored(skills=[_skill(n, schemas) for n, schemas in enumerate(skills)])


def _skill(number: int, schemas: Schema) -> Schema:
    said: Schema = {"name": f"s{number}", "description": "S.", "webhookUrl": "https://h.example/"}
    return said | {"inputSchema": {"type": "object"}} | schemas


def _update(text: str, count: int = 1, **fields: Any) -> Throw:
    def message(ground: Ground) -> dict[str, Any]:
        person, room, _ = ground.somebody()
        chat = {"id": room.id, "type": "private", "first_name": "P"}
        sender = {"id": person.id, "is_bot": False, "first_name": "P"}
        whole = {"message_id": 7, "date": 1, "chat": chat, "from": sender, "text": text}
        return whole | fields

    return lambda ground: ground.updates(*(message(ground) for _ in range(count)))


def _tools(count: int, **fields: Any) -> Throw:
    plain: dict[str, Any] = {"inputSchema": {"type": "object"}}
    wanted = [plain | {"name": name} for name in TOOLS]
    wanted += [plain | fields | {"name": f"t{n}"} for n in range(count)]
    return lambda ground: ground.lists(tools=wanted)


def _prompts(text: str) -> Throw:
    said = {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
    named = [{"name": f"p{n}"} for n in range(20)]
    return lambda ground: ground.lists(prompts=named, prompt=said)


def _conditions() -> Throw:
    """As many conditions as there may be, each as long as it may be."""
    nested = "not (" * 11 + "tool == 'ａ'" + ")" * 11
    wide = " or ".join(f"tool == 'ﷺ{n}'" for n in range(30))[:490].rpartition(" or ")[0]
    rules = [{"tools": ["*"], "when": one} for one in (nested, wide)] * 100
    return _stored(toolPolicy={"conditions": rules})


def _without_end() -> Iterator[bytes]:
    """An event of very many short lines."""
    yield b"event: content_block_delta\n" + b"data: a\n" * 400_000


def _large_and_small() -> Iterator[bytes]:
    """One very large event, then very many small ones."""
    text = "word " * 20_000
    yield from spoken(text, len(text), open_end=True)
    yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}) * 30_000
    yield event("content_block_stop", index=0)
    yield event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
    yield event("message_stop")


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _branching(depth: int) -> str:
    """A value at each of whose levels two branches of a schema look."""
    return '{"b":1,"c":2,"a":' * depth + '{"b":1,"c":2}' + "}" * depth


def _long_numbers(count: int) -> str:
    return '{"a":[' + ",".join(str(10**300 + n) for n in range(count)) + "]}"


TIME = "cannot be checked against its schema in time"
PARTS = "too many parts"
CROWDED = "more than 20000 values"
MARKS = "a" + "\u0301\u0316" * 20_000
"""Marks that are to be put in order, all on one letter."""
LEVELS = "too many levels of nesting"
PART = '{"type":"text","text":"a"}'
MARKED = {"type": "text", "text": MARKS * 3}
MUCH = json.dumps({"type": "text", "text": "abc " * 1_750_000})
BAD = "agent:definition:bomb"
MENTION = {"type": "mention", "offset": 0, "length": 400_000}
FLAGS = "|a|b|\n|-|-|\n" + f"|{'🇩🇪' * 6_000}|b|\n" * 2
LARGE = {"properties": {f"p{n}": {"enum": ["a", "b"]} for n in range(120)}}

INPUTS = (
    Bomb("input", "mixed items that must be unique", _input("unique", {"a": MIXED}), "fine"),
    Bomb("input", "one of many objects", _input("among", {"a": OBJECTS[::-1]}), "fine"),
    Bomb("input", "one of very many", _input("any", {"a": [-1] * 4_000}), "Invalid input"),
    Bomb(
        "input",
        "fits in none of 600 ways",
        _input("whole", {"a": [*range(4_000)]}),
        "Invalid input",
    ),
    Bomb("input", "two branches at each level", _input("twice", _branching(60)), TIME),
    Bomb("input", "unevaluated", _input("parted", _branching(60)), "Invalid input"),
    Bomb("input", "repeated repeats", _input("pattern", {"a": "a " * 50_000 + "!"}), "not match"),
    Bomb("input", "450,000 characters", _input("short", {"a": "x" * 450_000}), "Invalid input"),
    Bomb("input", "2,000,000 characters", _input("short", {"a": "x" * 2_000_000}), "more than"),
    Bomb("input", "20,000 fields", _input("many", {f"k{n}": n + 0.1 for n in range(20_000)})),
    Bomb("input", "900 levels", _input("any_object", f'{{"a":{_nested(900)}}}'), "too deep"),
    Bomb("input", "15,000 levels", _input("any_object", f'{{"a":{_nested(15_000)}}}'), LEVELS),
    Bomb("input", "5,000 digits", _input("any_object", '{"a":' + "9" * 5_000 + "}"), "too large"),
    Bomb("input", "numbers of 300 digits", _input("unique", _long_numbers(1_500)), "64 bits"),
    Bomb("input", "patterns of letters", _input("letters", {"p0": "abc"}), "Invalid input"),
    Bomb("input", "160,000 numbers", _input("any_object", {"a": [0] * 160_000}), CROWDED),
    Bomb("input", "98,000 texts", _input("any_object", {"a": ["a"] * 98_000}), CROWDED),
    Bomb("input", "marks on one letter", _input("short", {"a": MARKS}), "Invalid input"),
)
QUESTIONS = (
    Bomb("question", "almost secrets", _question({"text": "sk-" * 20_000})),
    Bomb("question", "almost tokens", _question({"text": "-eyJaaaaaaaaaa" * 4_000})),
    Bomb("question", "letters that deceive", _question({"text": "p\u0430yment " * 20_000})),
    Bomb("question", "unseen characters", _question({"\u200bto" * 2_000: "\u202ea" * 30_000})),
    Bomb("question", "almost telephone numbers", _question({"text": "+1-" + "1-" * 60_000})),
    Bomb("question", "arguments", _question({f"k{n}": [{"a": n}] for n in range(6_000)})),
    Bomb("question", "marks on one letter", _question({"text": MARKS})),
)
OUTPUTS = (
    Bomb("output", "mixed items that must be unique", _output("unique", {"a": MIXED}), "0.5"),
    Bomb("output", "one of many objects", _output("among", {"a": OBJECTS * 4}), '"k"'),
    Bomb(
        "output",
        "fits in none of 600 ways",
        _output("whole", {"a": [*range(9_000)]}),
        "outputSchema",
    ),
    Bomb("output", "two branches at each level", _output("twice", _branching(60)), TIME),
    Bomb("output", "numbers of 300 digits", _output("unique", _long_numbers(200)), "0000"),
    Bomb("output", "90,000 levels", _output("any_object", _nested(90_000)), "not answer with JSON"),
    Bomb("output", "patterns of letters", _output("letters", {"p0": "abc"}), "outputSchema"),
    Bomb("output", "a page", _output("any_object", "<p>" * 60_000), "not answer with JSON"),
)
RESULTS = (
    Bomb("result", "250,000 parts", _result("json", ",".join([PART] * 250_000)), PARTS),
    Bomb("result", "empty lists", _result("json", "", "[" + "[]," * 10**6 + "1]"), PARTS),
    Bomb("result", "numbers", _result("stream", "", "[" + "1.5," * 1_500_000 + "1]"), PARTS),
    Bomb("result", "20,000 parts", _result("stream", ",".join([PART] * 20_000)), "'text': 'a'"),
    Bomb("result", "7 MB", _result("old", MUCH), "abc abc"),
    Bomb(
        "result",
        "halves of pairs",
        _result("old", '{"type":"text","text":"' + "\\ud83d" * 600_000 + '"}'),
        "\ufffd\ufffd",
    ),
    Bomb("result", "marks on one letter", _result("json", json.dumps(MARKED)), "\u0301\u0316"),
    Bomb("result", "60,000 levels", _result("json", "", _nested(60_000)), PARTS),
)
TEXTS = (
    Bomb("text", "lists within lists", _said("- " * 20_000 + "a")),
    Bomb("text", "formulas without an end", _said("\\(" * 15_000 + "||" * 15_000)),
    Bomb("text", "a table of flags", _said(FLAGS)),
    Bomb("text", "quotations within quotations", _said((">" * 60 + "a\n") * 800)),
    Bomb("text", "one character that is eighteen", _said("ﷺ" * 40_000)),
    Bomb("text", "digits that could be anything", _said("1-" * 40_000)),
    Bomb("text", "one line without a blank", _said("!" * 150_000 + "\x01")),
    Bomb("text", "500,000 characters", _said("**b** `c` [l](http://x.y) <i>\n\n" * 16_000, 9_000)),
    Bomb("text", "marks on one letter", _said(MARKS)),
    Bomb("text", "brackets", _said("[" * 60_000)),
    Bomb("text", "fractions without an end", _said("$$\\frac{" * 8_000)),
    Bomb("text", "tags", _said("<b><i><u><a href='x'>" * 4_000)),
    Bomb("text", "comments", _said("<!-- " * 20_000)),
    Bomb("text", "an event without an end", lambda ground: ground.says(_without_end)),
    Bomb("text", "30,001 events", lambda ground: ground.says(_large_and_small)),
)
VALUES = (
    Bomb("store", "almost secrets", _stored(customInstructions="sk-" * 30_000)),
    Bomb("store", "almost a secret as a name", _raw('{"a":"' + "sk-" * 87_000 + '"}'), BAD),
    Bomb("store", "ten megabytes", _raw('{"a":"' + "x" * 10_000_000 + '"}'), BAD),
    Bomb("store", "100,000 levels", _raw(_nested(100_000)), BAD),
    Bomb("store", "12,000 fields", _stored(**{f"field{n}": 1 for n in range(12_000)}), BAD),
    Bomb("store", "80,000 wrong patterns", _stored(whitelistPatterns=[1] * 80_000), BAD),
    Bomb("store", "what is built forever", _skilled({"inputSchema": BUILT_FOR_EVER}), BAD),
    Bomb("store", "what is used forever", _skilled({"outputSchema": _doubled(300, "allOf")}), BAD),
    Bomb("store", "mixed names", _skilled({"outputSchema": {"required": ODD_NAMES * 4_000}}), BAD),
    Bomb("store", "sixty large schemas", _skilled(*[{"outputSchema": LARGE}] * 60)),
    Bomb("conditions", "as many as there may be", _conditions()),
)
UPDATES = (
    Bomb("getUpdates", "a megabyte of text", _update("/start " + "a " * 500_000)),
    Bomb("getUpdates", "mentions", _update("@" + "a" * 400_000, entities=[MENTION] * 15_000)),
    Bomb("getUpdates", "levels", _update("x", reply_to_message=json.loads(_nested(200)))),
    Bomb("getUpdates", "twenty at once", _update("sk-" * 1_300, 20)),
)
OFFERS = (
    Bomb("tools", "6,000 tools", _tools(6_000), "fine"),
    Bomb("tools", "long descriptions", _tools(300, description="ﷺ\u200b" * 2_000), "fine"),
    Bomb("tools", "mixed names", _tools(20, inputSchema={"required": ODD_NAMES * 2_000}), "fine"),
    Bomb("tools", "what is built forever", _tools(150, inputSchema=BUILT_FOR_EVER), "fine"),
    Bomb("tools", "marks on one letter", _tools(20, description=MARKS[:8_000]), "fine"),
    Bomb("prompts", "marks on one letter", _prompts(MARKS), "fine"),
    Bomb("prompts", "twenty long ones", _prompts("\u202ea" * 300_000), "fine"),
)
BOMBS = (*INPUTS, *QUESTIONS, *OUTPUTS, *RESULTS, *TEXTS, *VALUES, *UPDATES, *OFFERS)
DOORS = {
    *("input", "question", "output", "result", "text", "store", "conditions", "getUpdates"),
    *("tools", "prompts"),
}


@dataclass(frozen=True)
class Push:
    """A body that is pushed by somebody who knows the secret."""

    name: str
    body: bytes

    async def throw(self, ground: Pushed) -> None:
        """Push it; whatever it is answered with, the next message is answered as well."""
        await ground.takes(self.body)


def _pushed(number: int, **fields: Any) -> bytes:
    chat = {"id": 9, "type": "private", "first_name": "A"}
    sender = {"id": 9, "is_bot": False, "first_name": "A"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": sender} | fields
    return json.dumps({"update_id": number, "message": message}).encode()


PUSHES = (
    Push("1,000 levels", f'{{"update_id":2,"message":{_nested(1_000)}}}'.encode()),
    Push("500,000 levels", _nested(500_000).encode()),
    Push("900,000 characters", _pushed(3, text="/x " + "a " * 450_000)),
    Push("mentions", _pushed(4, text="@" + "b" * 400_000, entities=[MENTION] * 9_000)),
    Push("almost secrets", _pushed(5, text="sk-" * 300_000)),
    Push("900,000 digits", b'{"update_id":' + b"9" * 900_000 + b"}"),
)
FAST = (
    INPUTS[0],
    OUTPUTS[2],
    QUESTIONS[0],
    RESULTS[0],
    TEXTS[1],
    TEXTS[8],
    INPUTS[14],
    VALUES[6],
    UPDATES[1],
)
"""Those that the ordinary suite throws as well: one for each kind of fault that there was."""
