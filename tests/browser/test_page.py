"""The sandbox's page in a real browser, with a real host behind it."""

from __future__ import annotations

import aiohttp
import pytest

from tests.browser.chat import IMAGES, SAVED, line, plug, said, say, shot
from tests.browser.chromium import Tab
from tests.sandbox.sandbox_process import ANN, BEN, MERIDIAN, OPERATOR, QUILL, Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

on_its_own = pytest.mark.parametrize("board", ["own_board"], indirect=True)
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


async def other_bot(board: Sandbox, number: int) -> tuple[str, str]:
    """A bot that answers nobody: where its API is, and its chat with Ann."""
    token = f"{number}:token-of-a-bot-that-no-host-knows"
    await board.post("/control/bot", token=token, name="Signal", username=f"signal_{number}_bot")
    room = await board.post("/control/private", person=ANN, bot=number)
    await board.say(room["key"], "good morning")
    return f"/bot{token}", str(room["key"])


async def test_two_bots_answer_and_the_timeline_shows_how(tab: Tab) -> None:
    await plug(tab, f"{MERIDIAN}/{ANN}")
    await say(tab, "what time is it in Paris?")
    await tab.until(said("In Paris it is"), 60)
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "hello")
    await tab.until(said("Operator"))
    for kind in ("update", "call", "model", "tool"):
        await tab.until(f"document.querySelector('#timeline li[data-kind={kind}]')")
    await tab.click("#timeline li[data-kind=tool] summary")
    await tab.until(
        "document.querySelector('#timeline .json')?.textContent.includes('Europe/Paris')"
    )
    await tab.click("#filters button:nth-child(4)")
    await tab.until("document.querySelector('#timeline li[data-kind=tool]').hidden")


async def test_a_slash_offers_what_one_may_send(tab: Tab) -> None:
    offered = "[...document.querySelectorAll('#menu:not([hidden]) b')].map((e) => e.textContent)"
    await plug(tab, f"{OPERATOR}/{ANN}")
    await tab.until("!document.querySelector('#commands').hidden")
    await tab.click("#commands")
    await tab.until(f"{offered}.includes('/status')")
    await tab.type("ag")
    assert await tab.run(offered) == ["/agents", "/agent"]
    await tab.key("ArrowDown", 40)
    await tab.key("Enter", 13)
    assert await tab.run("document.querySelector('#write').value") == "/agent "
    await tab.key("Enter", 13)
    await tab.until(said("Operator", ".message:not(.mine)"))
    await tab.run("document.querySelectorAll('#people input')[1].click()")
    await plug(tab, f"{OPERATOR}/{BEN}")
    await tab.until("!document.querySelector('#commands').hidden")
    await tab.click("#commands")
    await tab.until(f"{offered}.includes('/help') && !{offered}.includes('/status')")


async def test_the_timeline_begins_with_what_people_do(tab: Tab) -> None:
    setup = "[...document.querySelectorAll('#timeline li[data-kind=setup]')]"
    await tab.until(f"{setup}.length > 0")
    assert await tab.run(f"{setup}.every((each) => each.hidden)")
    await tab.click("#filters button:nth-child(5)")
    assert not await tab.run(f"{setup}.some((each) => each.hidden)")


async def test_an_answer_grows_and_stop_ends_it(tab: Tab, board: Sandbox) -> None:
    await board.post("/model/control/pace", tokens_per_second=12)
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "tell me a long story")
    grown = "document.querySelector('.draft .text')?.textContent.length"
    await tab.until(f"{grown} > 20")
    first = await tab.run(grown)
    await tab.until(f"{grown} > {first}")
    await tab.click(".draft .stop")
    await tab.until("document.querySelectorAll('.draft').length === 0")
    await tab.until(said("sandbox's small script"))
    assert not await tab.run(said("1. The room"))


async def test_in_a_group_a_mention_is_answered_and_nothing_else(tab: Tab, board: Sandbox) -> None:
    state = await board.get("/control/state")
    team = next(r["key"] for r in state["rooms"] if r["chat"].get("title") == "Team")
    await plug(tab, team)
    await say(tab, "nobody is asked here")
    await say(tab, "@operator_demo_bot 12 * (3 + 4)")
    await tab.until(said("84"))
    assert len(await board.texts(team, OPERATOR)) == 1
    assert await board.texts(team, QUILL) == []
    titles = (
        "[...document.querySelectorAll('#timeline li[data-kind=update]')].map(e => e.textContent)"
    )
    updates = await tab.run(titles)
    assert sum("12 * (3 + 4)" in text for text in updates) == 1
    assert not any("nobody is asked" in text for text in updates)


async def test_a_button_is_pressed_and_the_answer_to_it_is_shown(tab: Tab, board: Sandbox) -> None:
    api, room = await other_bot(board, 1_234_567)
    keyboard = {"inline_keyboard": [[{"text": "Ring", "callback_data": "ring:1"}]]}
    await board.post(f"{api}/sendMessage", chat_id=ANN, text="Shall I?", reply_markup=keyboard)
    await plug(tab, room)
    await tab.click(".buttons .key")
    await tab.until("document.querySelector('#timeline').textContent.includes('callback_query')")
    updates = await board.post(f"{api}/getUpdates", timeout=5, allowed_updates=["callback_query"])
    query = updates["result"][-1]["callback_query"]
    assert (query["data"], query["from"]["id"]) == ("ring:1", ANN)
    await board.post(f"{api}/answerCallbackQuery", callback_query_id=query["id"], text="It rings.")
    await tab.until("document.querySelector('#toasts').textContent === 'It rings.'")


async def test_marks_are_shown_and_nothing_in_a_text_becomes_markup(
    tab: Tab, board: Sandbox
) -> None:
    api, room = await other_bot(board, 1_234_568)
    text = (
        "<b>bold <i>and italic</i></b> <code>a &lt;b&gt;</code> <tg-spoiler>secret</tg-spoiler>\n"
        '<pre><code class="language-python">print("hi")</code></pre>\n'
        '<blockquote>quoted</blockquote> <a href="https://example.com/x">link</a> '
        "&lt;img src=x onerror=alert(1)&gt; 😀 <u>after it</u>"
    )
    await board.post(f"{api}/sendMessage", chat_id=ANN, text=text, parse_mode="HTML")
    form = aiohttp.FormData({"chat_id": str(ANN), "caption": "A picture"})
    form.add_field("photo", PNG, filename="dot.png", content_type="image/png")
    url = f"{board.url}{api}/sendPhoto"
    async with aiohttp.ClientSession() as http, http.post(url, data=form) as response:
        assert response.status == 200
    await plug(tab, room)
    await tab.until("document.querySelector('.picture')?.naturalWidth === 1")
    shown = {
        "em": "and italic",
        ".text > code": "a <b>",
        ".code pre": 'print("hi")',
        ".code .plate": "python",
        "blockquote": "quoted",
        ".text a": "link",
        ".text u": "after it",
        ".spoiler": "secret",
    }
    for selector, words in shown.items():
        found = f"document.querySelector('#messages {selector}').textContent"
        assert await tab.run(found) == words
    bold = "[...document.querySelectorAll('#messages strong')].map((e) => e.textContent).join('')"
    assert await tab.run(bold) == "bold and italic"
    assert await tab.run(said("<img src=x onerror=alert(1)>"))
    assert await tab.run("document.querySelectorAll('#messages img').length") == 1
    await tab.click(".spoiler")
    await tab.until("document.querySelector('.spoiler').ariaExpanded === 'true'")


@on_its_own
async def test_an_answer_comes_once_although_its_host_is_killed_from_the_page(
    tab: Tab, board: Sandbox
) -> None:
    await board.post("/model/control/pace", tokens_per_second=8)
    room = f"{OPERATOR}/{ANN}"
    await plug(tab, room)
    await say(tab, "tell me a long story")
    await tab.until("document.querySelector('.draft')")
    await tab.click("#tab-faults")
    await tab.click("#kill")
    await tab.until("document.querySelector('#notice').checkVisibility()")
    await board.post("/model/control/pace", tokens_per_second=None)
    await tab.until("document.querySelector('#host').dataset.state === 'up'", 30)
    await tab.until(said("1. The room"), 30)
    await say(tab, "12 * 12")
    await tab.until(said("144"))
    assert await tab.run("document.querySelectorAll('.draft').length") == 0
    assert sum("1. The room" in text for text in await board.texts(room, OPERATOR)) == 1
    await tab.until("document.querySelector('.killer p').textContent.includes('2 times')")


async def test_trouble_that_was_ordered_is_met_and_survived(tab: Tab, board: Sandbox) -> None:
    had = len(await board.texts(f"{OPERATOR}/{ANN}", OPERATOR))
    await plug(tab, f"{OPERATOR}/{ANN}")
    await tab.click("#tab-faults")
    for name in ("error", "overloaded"):
        await tab.click(f"#arm-{name}")
        await tab.until(f"document.querySelector('#arm-{name}').textContent === 'Armed ×2'")
    await say(tab, "12 * 13")
    await tab.until(said("156"), 30)
    await tab.until("document.querySelectorAll('[data-armed]').length === 0")
    bad = "[...document.querySelectorAll('#timeline .end.bad')].map((e) => e.textContent).join(' ')"
    ends = await tab.run(bad)
    assert (ends.count("529"), ends.count("500")) == (2, 2)
    assert len(await board.texts(f"{OPERATOR}/{ANN}", OPERATOR)) == had + 1


async def test_an_admin_commands_and_another_person_may_not(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "/agents")
    await tab.until(said("Operator (the default)"))
    await tab.click(f'#people input[value="{BEN}"]')
    await plug(tab, f"{OPERATOR}/{BEN}")
    await tab.until("document.querySelector('#messages .empty')")
    await say(tab, "/agents")
    await tab.until(said("Only admins"))


async def test_another_person_sees_chats_of_their_own(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{QUILL}/{ANN}")
    await say(tab, "12 * 12")
    await tab.until(said("144"))
    await tab.click(f'#people input[value="{BEN}"]')
    await tab.until(f"document.querySelector('{line(f'{QUILL}/{BEN}')}')")
    assert not await tab.run(f"document.querySelector('{line(f'{QUILL}/{ANN}')}')")
    await plug(tab, f"{QUILL}/{BEN}")
    await tab.until("document.querySelector('#messages .empty')")
    await say(tab, "13 * 13")
    await tab.until(said("169"))
    assert len(await board.texts(f"{QUILL}/{ANN}", QUILL)) == 1


@on_its_own
async def test_the_page_comes_back_by_itself_after_a_restart(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "12 * 12")
    await tab.until(said("144"))
    await board.settled()  # an answer that is not receipted yet comes once more, with a mark
    port = board.url.rsplit(":", 1)[1]
    await board.kill()
    await tab.until("document.querySelector('#host').dataset.state === 'gone'")
    await board.start("--port", port)
    await tab.until("document.querySelector('#host').dataset.state === 'up'")
    await say(tab, "13 * 13")
    await tab.until(said("169"))
    assert await tab.run("document.querySelectorAll('#messages .message').length") == 4
    refused = [one for one in tab.complaints if "ERR_CONNECTION_REFUSED" in one]
    cut = [one for one in tab.complaints if "ERR_INCOMPLETE_CHUNKED_ENCODING" in one]
    tab.complaints[:] = [one for one in tab.complaints if one not in (*refused, *cut)]


NAMELESS = """[...document.querySelectorAll('button, a[href], input, textarea, [role=region]')]
  .filter((each) => each.checkVisibility() && !(each.ariaLabel || each.labels?.length ||
    each.getAttribute('aria-labelledby') || each.textContent.trim()))
  .map((each) => each.outerHTML)"""


async def test_everything_that_can_be_used_has_a_name_and_can_be_reached_by_keys(tab: Tab) -> None:
    for pane in ("#tab-faults", "#tab-log", "#tab-timeline"):
        await tab.click(pane)
        assert await tab.run(NAMELESS) == []
    await tab.call("Page.reload")
    await tab.until("document.querySelectorAll('.chip').length")
    reached = []
    for _ in range(60):
        await tab.key("Tab", 9)
        reached.append(
            await tab.run("document.activeElement.className || document.activeElement.id")
        )
    assert reached[0] == "skip"
    assert {"line", "scroll", "chip", "write", "send"} <= set(reached)


async def test_a_policy_forbids_scripts_and_markup_that_are_not_ours(tab: Tab) -> None:
    inline = """(() => {
      const script = document.createElement('script');
      try { script.text = 'window.planted = 1'; } catch (error) { return error.name; }
      document.head.append(script);
      return String(window.planted);
    })()"""
    assert await tab.run(inline) == "TypeError"
    markup = "(() => { try { document.body.innerHTML = 'x' } catch (e) { return e.name } })()"
    assert await tab.run(markup) == "TypeError"
    assert tab.complaints
    tab.complaints.clear()


async def test_it_fits_a_phone_and_a_desk_in_light_and_dark(tab: Tab, board: Sandbox) -> None:
    folder = IMAGES if SAVED else board.folder
    folder.mkdir(parents=True, exist_ok=True)
    room = f"{MERIDIAN}/{ANN}"
    await plug(tab, room)
    await say(tab, "what time is it in Tokyo?")
    await tab.until(said("In Tokyo it is"), 30)
    await say(tab, "convert 14:00 from Berlin to Tokyo")
    await tab.until(said("(+"), 30)
    await say(tab, "tell me a long story")
    await tab.until("document.querySelector('.draft .text')?.textContent.length > 500", 40)
    await board.post("/model/control/pace", tokens_per_second=0.01)
    for name, dark in (("light", False), ("dark", True)):
        await tab.look(1440, 900, dark=dark)
        await tab.until("document.querySelector('.cord .wire').getAttribute('d')")
        await shot(tab, folder / f"sandbox-{name}.png")
    await tab.look(390, 844, dark=False, phone=True)
    await tab.until("!document.querySelector('#panel').checkVisibility()")
    assert await tab.run("document.documentElement.scrollWidth") <= 390
    await shot(tab, folder / "sandbox-phone.png")
    await tab.click("#back")
    await tab.until("document.querySelector('#lines').checkVisibility()")
    assert await tab.run("document.documentElement.scrollWidth") <= 390
    await shot(tab, folder / "sandbox-phone-lines.png")
    if SAVED:
        (folder / "sandbox-phone-lines.png").unlink()
