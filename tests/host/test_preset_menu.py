"""Presets with a thumb: made, used, edited, made the default and deleted by taps and replies."""

from __future__ import annotations

from bot.menus.service import NOT_YOURS
from simulators.messages.models import also_known
from tests.host.menus import MenuUser
from tests.host.stage import Stage
from tests.host.test_presets_in_chat import APA, TEXT, asked, prepared


async def test_a_person_makes_uses_and_deletes_a_preset_by_taps(stage: Stage) -> None:
    bot = stage.add_bot("Free")
    prepared(stage)
    ann = MenuUser(stage, stage.person("Ann"), bot)
    with also_known("gpt-4"):
        async with stage.host():
            assert (await ann.open("/presets")).startswith("You have no presets yet.")
            await ann.tap("New preset")
            await ann.tap("Research")
            shown = await ann.write("Deep Researcher")
            assert shown.startswith("Deep Researcher (deep-researcher)\n\n• agent: research_agent")
            await ann.tap("Model")
            assert ann.labels == ["claude-sonnet-4-6", "gpt-4", "The agent's own model", "Cancel"]
            await ann.tap("gpt-4")
            assert "• model: gpt-4" in ann.text
            await ann.tap("Style")
            assert f"• append: {APA}" in await ann.write(APA)
            await ann.tap("Use here")
            assert ann.word == "Deep Researcher answers you here now."
            assert "It is in use here." in ann.text
            menu = ann.number
            await ann.open("hello")
            assert asked(stage)[0] == "gpt-4"
            assert asked(stage)[1].endswith(f"{TEXT}\n\n{APA}")

            ann.number = menu
            assert "It is your default." in await ann.tap("Make it the default")
            await ann.tap("More")
            await ann.tap("Temperature")
            refused = await ann.write("very high")
            assert refused == "Nothing was changed.\n✗ preset: 'temperature' must be a number"
            assert "• temperature: 0.4" in await ann.write("0.4")
            await ann.tap("More")
            await ann.tap("Effort")
            await ann.tap("high")
            assert "• effort: high" in ann.text

            other = MenuUser(stage, stage.person("Ben"), bot, ann.room)
            other.number = ann.number
            assert await other.word_of("Delete") == NOT_YOURS
            await ann.tap("Delete")
            assert ann.labels == ["Delete it", "Cancel"]
            assert (await ann.tap("Delete it")).startswith("You have no presets yet.")
            await ann.open("hello")
            assert asked(stage)[1] == "You are Plain."


async def test_a_model_is_chosen_by_a_tap(stage: Stage) -> None:
    bot = stage.bot("Open", template=True)
    prepared(stage)
    ann = MenuUser(stage, stage.person("Ann"), bot)
    with also_known("gpt-4"):
        async with stage.host():
            shown = await ann.open("/model")
            assert shown.startswith("The agent's own model answers you here: claude-sonnet-4-6.")
            assert ann.labels == ["claude-sonnet-4-6", "gpt-4", "The agent's own model"]
            assert await ann.tap("gpt-4") == "Changed your model, in preset My open (my-open)."
            await ann.open("hello")
            assert asked(stage) == ("gpt-4", "You are Open.")
            assert "in use here" in await ann.open("/presets")
            await ann.tap("Use none here")
            await ann.open("hello")
            assert asked(stage) == ("claude-sonnet-4-6", "You are Open.")
