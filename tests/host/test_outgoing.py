"""What may not go out does not go out: in answers, previews, captions of questions, anywhere.

One host that redacts everything, whatever its agents say; and one where nobody asked for it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.safety.output_filter import BLOCKED, WARNING, WITHHELD
from registry.secrets import REDACTED
from simulators.messages.turns import Call, Text, Turn, turn
from simulators.telegram.people import Bot
from tests.host.stage import Stage, staged

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
KEY = "desk-key-7f3a9c1e5b2d8046"
MAIL, CARD, PHONE = "ann.smith@example.org", "4111 1111 1111 1111", "+49 170 1234567"
GONE = "[e-mail address removed], [card number removed], [telephone number removed]"
ALL = f"{MAIL}, {CARD}, {PHONE}"


class Scene:
    """A host that redacts, with agents that would let more out, or less."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        env = {"DESK_LOG": str(stage.folder / "desk.log"), "DESK_KEY": "${DESK_KEY}"}
        server = {"command": sys.executable, "args": [str(DESK)], "env": env}
        stage.agents["mcpServers"]["desk"] = server
        self.plain = stage.bot("Plain", mcpServers=["desk"])
        self.loose = stage.bot("Loose", safetyConfig={"piiHandling": "warn"})
        self.strict = stage.bot("Strict", safetyConfig={"piiHandling": "block"})
        names = ["illegal_activity", "Harmful Content"]
        self.named = stage.bot("Named", safetyConfig={"blockedTopics": names})
        self.quiet = stage.bot("Quiet", safetyConfig={"blockedTopics": ["secret sauce"]})

    async def asked(self, bot: Bot, text: str, *answer: Turn | str) -> str:
        ann = self.stage.person("Ann")
        self.stage.script.on(*answer, user=text)
        return await self.stage.ask(ann, self.stage.world.private(ann, bot), bot, text)

    def sent(self, bot: Bot) -> str:
        """All that the host has sent for a bot."""
        return str([call.params for call in self.stage.world.calls.of(bot=bot.id)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("outgoing")) as stage:
        scene = Scene(stage)
        switches = {
            "LIMITS__PIIHANDLING": "redact",
            "LIMITS__BLOCKEDTOPICS": "state secrets, x-ray",
        }
        async with stage.host(DESK_KEY=KEY, **switches):
            yield scene


async def test_the_host_redacts_for_an_agent_that_says_nothing(scene: Scene) -> None:
    assert await scene.asked(scene.plain, "tell all", f"It is {ALL}.") == f"It is {GONE}."


async def test_an_agent_may_be_stricter_than_the_host_and_never_looser(scene: Scene) -> None:
    assert await scene.asked(scene.loose, "tell all", f"It is {ALL}.") == f"It is {GONE}."
    assert await scene.asked(scene.strict, "tell all", f"It is {ALL}.") == WITHHELD


async def test_topics_of_the_host_and_of_the_agent_are_blocked(scene: Scene) -> None:
    assert await scene.asked(scene.plain, "tell", "The State-Secrets are these.") == BLOCKED
    assert await scene.asked(scene.quiet, "recipe", "The secret sauce is soy.") == BLOCKED
    assert await scene.asked(scene.quiet, "again", "Those state secrets!") == BLOCKED
    assert await scene.asked(scene.plain, "sauce", "A secret sauce.") == "A secret sauce."
    system = str(scene.stage.requests()[-1]["system"])
    assert "state secrets, x-ray" in system


async def test_topics_with_a_meaning_are_told_to_every_model_and_not_looked_for_as_words(
    scene: Scene,
) -> None:
    refusal = "I do not help with illegal activity or harmful content."
    for bot in (scene.named, scene.plain):
        assert await scene.asked(bot, "how do I forge a passport?", refusal) == refusal
        told = str(scene.stage.requests()[-1]["system"])
        assert [one for one in ("forged documents", "self-harm") if one not in told] == []
        assert "state secrets, x-ray" in told
        assert "illegal_activity" not in told


async def test_no_preview_has_what_the_answer_has_not(scene: Scene) -> None:
    words = " ".join(f"word{n}" for n in range(30))
    spaced = "GB82 WEST 1234 5698 7654 32"
    answer = Turn((Text(f"{words} {ALL}, {spaced} {words}"),), pace=90.0)
    said = await scene.asked(scene.loose, "slowly", answer)
    assert said == f"{words} {GONE}, [bank account removed] {words}"
    drafts = [c for c in scene.stage.world.calls.of(bot=scene.loose.id) if "Draft" in c.method]
    assert drafts
    pieces = ["smith", "4111", "+49", "GB82", "WEST"]
    ids = ("draft_id", "chat_id")  # numbers that may hold any digits
    shown = str([{k: v for k, v in c.params.items() if k not in ids} for c in drafts])
    assert [piece for piece in pieces if piece in shown] == []


async def test_a_secret_of_the_host_or_of_a_server_never_goes_out(scene: Scene) -> None:
    token = scene.plain.token
    said = await scene.asked(scene.plain, "your key?", f"Mine is {token}, the desk has {KEY}!")
    assert said == f"Mine is {REDACTED}, the desk has {REDACTED}!"
    assert KEY not in scene.sent(scene.plain)
    assert token not in scene.sent(scene.plain)


async def test_a_question_shows_what_is_asked_and_neither_secrets_nor_tricks(scene: Scene) -> None:
    stage, bot, ann = scene.stage, scene.plain, scene.stage.person("Ann")
    token = scene.plain.token
    text = f"\u0430nn@x.org for {MAIL}, {CARD}; \u202ekey {KEY} and {token}"
    stage.script.on(
        turn(Text(f"I write to {MAIL}."), Call("desk__write", {"text": text})), user="do"
    )
    room = stage.world.private(ann, bot)
    stage.world.say(ann, room, "do")
    assert (await stage.answer(room, bot, 1, 30)).text == "I write to [e-mail address removed]."
    question = (await stage.answer(room, bot, 2, 30)).text
    assert "text: ⟨U+0430⟩…@x.org for a…@example.org, [card number that ends in 1111]" in question
    assert f"⟨U+202E⟩key {REDACTED} and {REDACTED}" in question
    assert "⟨U+0430⟩ is cyrillic small letter a" in question
    stage.world.say(ann, room, "no, leave it")
    await stage.world.until(lambda: "not approved" in room.messages[3].text)
    assert [one for one in ("smith", KEY, token, "\u202e") if one in scene.sent(bot)] == []


async def test_nothing_is_taken_out_until_an_agent_or_the_host_asks_for_it(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        bots = stage.bot("Plain"), stage.bot("Warns", safetyConfig={"piiHandling": "warn"})
        named_none, ann = stage.bot("Safe", safetyConfig={}), stage.person("Ann")
        stage.script.on(f"It is {ALL}.", again=True)
        async with stage.host():
            said: list[Any] = [
                await stage.ask(ann, stage.world.private(ann, bot), bot, "tell all")
                for bot in (*bots, named_none)
            ]
    warned = f"It is {ALL}.\n\n{WARNING.strip('_')}"
    assert said == [f"It is {ALL}.", warned, f"It is {GONE}."]
