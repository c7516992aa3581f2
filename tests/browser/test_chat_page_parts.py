"""Parts of the chat page by themselves, in a browser: the reader of events, and the Markdown."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.chromium import Browser, Tab
from tests.host.stage import staged
from tests.http.api import api_host

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

STREAM = (
    "\ufeffid: 3f-0-0\r\n\r\n: a heartbeat\n\n"
    "id: 3f-1764499-0\nevent: message\ndata: Grüße, 世界 👋🏽\n\n"
    "event: message\rdata: two\rdata:  lines\rdata:\rid: 3f-1764499-1\r\r"
    "retry: 10\nnonsense\nevent:message\ndata\nid: with\0nul\n\n"
    ': \r\n\r\nevent: tool\r\ndata:{"tool": "a: b"}\r\nid: 3f-1764500-0\r\n\r\n'
    "event: done\ndata: \n\n"
    "data: cut off"
)
BLOCKS = [
    ["3f-0-0", "message", None],
    ["3f-0-0", "message", None],
    ["3f-1764499-0", "message", "Grüße, 世界 👋🏽"],
    ["3f-1764499-1", "message", "two\n lines\n"],
    ["3f-1764499-1", "message", ""],
    ["3f-1764499-1", "message", None],
    ["3f-1764500-0", "tool", '{"tool": "a: b"}'],
    ["3f-1764500-0", "done", ""],
]
READ = """
import('/page/sse.js').then(({EventParser}) => %s.map((pieces) => {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  return pieces
    .map((piece) => decoder.decode(Uint8Array.from(piece), {stream: true}))
    .flatMap((piece) => parser.feed(piece))
    .map(({id, kind, data}) => [id, kind, data]);
}))
"""
HOSTILE = """<script>window.planted = 1</script> <img src=x onerror="window.planted = 1">
[a](javascript:window.planted=1) [b](data:text/html,x) [c](https://user:secret@example.org)
**<b onclick=alert(1)>bold</b>** `</code><script>` https://example.org/"onmouseover="alert(1)

```html" onload="alert(1)
</pre></code><script>window.planted = 1</script>
```

| <script>window.planted = 1</script> | <svg onload=alert(1)> |
| --- | --- |
| <iframe src=javascript:alert(1)> | x |
"""
ALLOWED = {
    *("A", "BLOCKQUOTE", "BUTTON", "CODE", "DIV", "EM", "FIGCAPTION", "FIGURE", "H3", "LI", "OL"),
    *("P", "PRE", "SPAN", "STRONG", "TABLE", "TBODY", "TD", "TH", "THEAD", "TR", "UL", "HR"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tab]:
    folder = tmp_path_factory.mktemp("host")
    async with staged(folder) as stage, api_host(stage) as client, browser.tab() as tab:
        await tab.go(f"{client.host.url}/page/page.css")
        await tab.until("document.readyState === 'complete'")
        yield tab
        # A file by itself has no icon, which the browser notes.
        assert [one for one in tab.complaints if "favicon" not in one] == []


async def markdown(tab: Tab, text: str) -> str:
    """What a text becomes, as HTML."""
    script = """import('/page/markdown.js').then(({rendered}) => {
      const box = document.createElement('div');
      box.append(...rendered(%s));
      return box.innerHTML;
    })"""
    return str(await tab.run(script % json.dumps(text)))


def cuts(random_: random.Random) -> list[list[int]]:
    """The stream in pieces of bytes, cut anywhere."""
    data = STREAM.encode()
    pieces = []
    while data:
        length = random_.choice((1, 1, 2, 3, 7, 40, len(data)))
        pieces.append([*data[:length]])
        data = data[length:]
    return pieces


async def test_events_are_the_same_wherever_the_stream_is_cut(tab: Tab) -> None:
    streams = [cuts(random.Random(seed)) for seed in range(300)]
    streams.append([[byte] for byte in STREAM.encode()])
    found = await tab.run(READ % json.dumps(streams))
    assert all(blocks == BLOCKS for blocks in found)


async def test_an_event_without_an_end_is_refused_before_it_fills_the_memory(tab: Tab) -> None:
    script = """import('/page/sse.js').then(({EventParser}) => {
      const parser = new EventParser();
      const piece = 'data: ' + 'x'.repeat(65536) + '\\n';
      try { for (let n = 0; n < 200; n++) parser.feed(piece); } catch (error) { return error.name; }
      return 'all of it was taken';
    })"""
    assert await tab.run(script) == "RangeError"


@pytest.mark.parametrize(
    ("id", "last", "later"),
    [
        ("3f-5-0", "", True),
        ("3f-5-0", "3f-5-0", False),
        ("3f-5-1", "3f-5-0", True),
        ("3f-10-0", "3f-9-7", True),
        ("3f-9-7", "3f-10-0", False),
        ("3f-0-0", "3f-10-0", False),
        ("40-1-0", "3f-10-0", True),
    ],
)
async def test_what_was_read_before_is_not_read_again(
    tab: Tab, id: str, last: str, later: bool
) -> None:
    script = f"import('/page/stream.js').then(({{isAfter}}) => isAfter('{id}', '{last}'))"
    assert await tab.run(script) is later


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and *soft*", "<p><strong>bold</strong> and <em>soft</em></p>"),
        ("snake_case_name 2*3*4", "<p>snake_case_name 2*3*4</p>"),
        ("`a * b`\\*", "<p><code>a * b</code>*</p>"),
        ("# Head\ntext", "<h3>Head</h3><p>text</p>"),
        ("- a\n  1. b\n- c", '<ul><li>a<ol start="1"><li>b</li></ol></li><li>c</li></ul>'),
        ("2. a\n3. b", '<ol start="2"><li>a</li><li>b</li></ol>'),
        ("> quoted\n\n---", "<blockquote><p>quoted</p></blockquote><hr>"),
        ("an ** open mark", "<p>an ** open mark</p>"),
    ],
)
async def test_a_part_of_markdown_is_shown(tab: Tab, text: str, html: str) -> None:
    assert await markdown(tab, text) == html


async def test_links_open_elsewhere_and_only_to_the_web(tab: Tab) -> None:
    html = await markdown(tab, "[docs](https://example.org/a_(b)) and http://example.com/x.")
    assert html.count("<a ") == 2
    assert html.count('target="_blank" rel="noopener noreferrer nofollow"') == 2
    assert 'href="https://example.org/a_(b)"' in html
    assert 'href="http://example.com/x"' in html
    for address in ("javascript:alert(1)", "data:text/html,x", "//example.org", "/session"):
        assert "<a " not in await markdown(tab, f"[x]({address})")


async def test_nothing_that_an_agent_writes_becomes_a_part_of_the_page(tab: Tab) -> None:
    script = """import('/page/markdown.js').then(({rendered}) => {
      const box = document.createElement('div');
      box.append(...rendered(%s));
      const all = [...box.querySelectorAll('*')];
      return {
        tags: [...new Set(all.map((one) => one.tagName.toUpperCase()))],
        handlers: all.flatMap((one) => one.getAttributeNames()).filter((name) => /^on/.test(name)),
        links: [...box.querySelectorAll('a')].map((one) => one.protocol),
        text: box.textContent,
        planted: typeof window.planted,
      };
    })"""
    found: dict[str, Any] = await tab.run(script % json.dumps(HOSTILE))
    assert set(found["tags"]) <= ALLOWED
    assert (found["handlers"], found["planted"]) == ([], "undefined")
    assert set(found["links"]) == {"https:"}
    assert "<script>window.planted = 1</script>" in found["text"]


@pytest.mark.parametrize(
    "unit",
    ["**a ", "`a", "[](((", "*a_b", "|-", "- a\n", "> ", "https://", "```\na\n", "\\", "a|b\n"],
)
async def test_twice_the_text_takes_twice_the_time(tab: Tab, unit: str) -> None:
    script = """import('/page/markdown.js').then(({rendered}) => {
      const texts = [20_000, 80_000].map((size) => %s.repeat(Math.ceil(size / %d)));
      const best = [Infinity, Infinity];
      for (let round = 0; round < 20; round++) {
        texts.forEach((text, at) => {
          const begin = performance.now();
          rendered(text);
          best[at] = Math.min(best[at], performance.now() - begin);
        });
        if (best[1] < 8 * Math.max(best[0], 4)) return 'linear';
      }
      return best;
    })"""
    assert await tab.run(script % (json.dumps(unit), len(unit))) == "linear"


async def test_a_question_whose_time_is_over_says_so_to_its_conversation(tab: Tab) -> None:
    script = """import('/page/approval.js').then(({ApprovalCard}) => new Promise((resolve) => {
      const announcer = document.createElement('p');
      announcer.id = 'announcer';
      document.body.append(announcer);
      const asked = {id: 'x', expires_at: Date.now() / 1000 + 0.05};
      const card = new ApprovalCard(asked, 'acme', () => {
        announcer.remove();
        resolve([card.isOpen, card.outcome.textContent]);
      });
    }))"""
    assert await tab.run(script) == [False, "Nobody answered in time."]


LONG = {
    "list": ("- item **b**\n" * 4000, "item b", 4000),
    "table": ("| one | two |\n|---|---|\n" + "| 1 | 2 |\n" * 3000, "12", 3000),
    "code": ("```\n" + "x = 1\n" * 6000, "x = 1", 6000),
    "line": ("word " * 10_000, "word", 10_000),
    "lines": ("word\n" * 10_000, "word", 10_000),
    "nothing": ("\n" * 40_000 + "word", "word", 1),
}
"""Blocks that do not end: the text, and how often it shows what."""


@pytest.mark.parametrize("kind", LONG)
async def test_a_long_block_that_grows_is_all_there_and_is_drawn_in_bounded_steps(
    tab: Tab, kind: str
) -> None:
    text, word, count = LONG[kind]
    script = """import('/page/markdown.js').then(({GrowingText}) => {
      const box = document.createElement('div');
      const growing = new GrowingText(box);
      const text = %s;
      const made = [];
      for (let at = 0; at < text.length; at += 700) {
        growing.append(text.slice(at, at + 700));
        const before = new Set(box.querySelectorAll('*'));
        growing.end();
        made.push([...box.querySelectorAll('*')].filter((one) => !before.has(one)).length);
      }
      return [box.textContent, Math.max(0, ...made), box.querySelectorAll('th').length];
    })"""
    shown, most, heads = await tab.run(script % json.dumps(text))
    assert shown.count(word) == count
    assert most < 6000
    assert (heads > 0) is (kind == "table")


async def test_a_text_that_grows_ends_as_the_whole_text_would_be_shown(tab: Tab) -> None:
    script = """import('/page/markdown.js').then(({rendered, GrowingText}) => {
      const box = () => document.createElement('div');
      return %s.map(([text, lengths]) => {
        const [grown, whole] = [box(), box()];
        const growing = new GrowingText(grown);
        let at = 0;
        for (const length of lengths) {
          growing.append(text.slice(at, at += length));
          growing.end();
        }
        growing.append(text.slice(at));
        growing.end();
        whole.append(...rendered(text));
        return grown.innerHTML === whole.innerHTML && grown.textContent.length > 0;
      });
    })"""
    text = (
        HOSTILE + "\n1. one\n\n   more\n2. two\n\n```python\nprint(1)\n\nprint(2)\n```\n# End\nlast"
    )
    pick = random.Random(5)
    cases = [[text, [pick.randint(1, 30) for _ in range(40)]] for _ in range(40)]
    assert await tab.run(script % json.dumps(cases)) == [True] * len(cases)
