"""The sandbox while it is open: answers, timeline, trouble, kills of its host, strangers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.attacks.raw import status_of
from tests.sandbox.sandbox_process import (
    ANN,
    BEN,
    MERIDIAN,
    OPERATOR,
    QUILL,
    ROOT,
    TOKENS,
    Sandbox,
    processes_in,
    sandbox,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIRECT = f"{MERIDIAN}/{ANN}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """The demo with its tools, open for all tests of this module.

    In its folder there are an agents file without agents, as it comes with the project, and modules
    of other people, with names that the sandbox uses itself.
    """
    folder = tmp_path_factory.mktemp("demo")
    (folder / "agents.json").write_bytes((ROOT / "agents.json").read_bytes())
    for name in ("bot", "registry", "simulators", "switchboard_bots", "uvloop", "mcp"):
        ran = f"open({str(folder / 'ran')!r}, 'a').write('{name} '); raise SystemExit('a stranger')"
        (folder / f"{name}.py").write_text(ran, "utf-8")
    async with sandbox(folder, by_command=True) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def open_sandbox(demo: Sandbox) -> AsyncIterator[Sandbox]:
    """The same, at its usual pace and without trouble at the end of a test."""
    yield demo
    await demo.post("/page/trouble", clear=True)


async def test_each_bot_answers_as_its_agent_and_the_tools_are_real(open_sandbox: Sandbox) -> None:
    one = open_sandbox
    told = "In Tokyo it is"
    assert told in await one.ask(DIRECT, "what time is it in Tokyo?", told)
    order = "write buy oranges to shopping.md"
    assert "Made shopping.md" in await one.ask(f"{QUILL}/{ANN}", order, "Made")
    assert "Operator" in await one.ask(f"{OPERATOR}/{BEN}", "hello", "Operator", BEN)
    note = one.folder / "data" / "notes" / "shopping.md"
    assert note.read_text() == "buy oranges"


async def test_an_agents_file_without_agents_leaves_the_demo_as_it_is(
    open_sandbox: Sandbox,
) -> None:
    assert (await open_sandbox.hello())["about"]["agents"] == "the built-in agents"
    assert "is now" not in await open_sandbox.ask(DIRECT, "12 * 12", "144")


async def test_usage_shows_what_the_answers_would_cost(open_sandbox: Sandbox) -> None:
    await open_sandbox.ask(DIRECT, "12 * 12", "144")
    assert "tokens, $0.0" in await open_sandbox.ask(DIRECT, "/usage", "Used today")


async def test_no_module_of_the_folder_is_run(open_sandbox: Sandbox) -> None:
    one = open_sandbox
    running = " ".join(processes_in(one.folder).values())
    assert "bot run" in running
    assert "notes_server" in running
    assert not (one.folder / "ran").exists()


async def test_the_timeline_tells_what_a_bot_received_called_and_asked(
    open_sandbox: Sandbox,
) -> None:
    one = open_sandbox
    await one.ask(DIRECT, "12 * 12", "144")
    heads = {head["kind"]: head for head in (await one.hello())["timeline"]}
    assert heads["update"]["note"] == "12 * 12"
    update = await one.get(f"/page/timeline/{heads['update']['id']}")
    assert update["message"]["text"] == "12 * 12"
    call = await one.get(f"/page/timeline/{heads['call']['id']}")
    assert (call["method"], call["status"]) == ("sendMessage", 200)
    model = await one.get(f"/page/timeline/{heads['model']['id']}")
    assert "12 * 12" in str(model["request"]["messages"])
    assert "sandbox-key" not in str(model)
    assert "sandbox-token" not in str(await one.hello())


async def test_trouble_is_ordered_counted_used_up_and_cleared(open_sandbox: Sandbox) -> None:
    one = open_sandbox
    for name in ("flood", "overloaded", "overloaded"):
        await one.post("/page/trouble", arm=name)
    assert (await one.hello())["trouble"]["armed"] == {"flood": 1, "overloaded": 4}
    assert (await one.post("/page/trouble", slow=True))["slow"] is True
    assert await one.post("/page/trouble", clear=True) == {"armed": {}, "slow": False}
    with pytest.raises(AssertionError, match="send "):
        await one.post("/page/trouble", arm="earthquake")
    await one.post("/page/trouble", arm="lose")
    assert "144" in await one.ask(DIRECT, "12 * 12", "144")
    assert (await one.hello())["trouble"]["armed"] == {}


async def test_a_second_sandbox_in_one_folder_is_refused_with_the_cure(
    open_sandbox: Sandbox,
) -> None:
    second = Sandbox(open_sandbox.folder)
    try:
        with pytest.raises(AssertionError, match="set DATA_DIR"):
            await second.start()
        assert await second.ended() == 1
    finally:
        await second.close()


async def test_other_hosts_names_and_other_sites_are_refused_everywhere(
    open_sandbox: Sandbox,
) -> None:
    url = open_sandbox.url
    before = await open_sandbox.host(lambda host: host["state"] == "up")
    foreign = [
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/page/stream", {"Host": "evil.example"}),
        ("GET", "/model/control/requests", {"Host": "evil.example"}),
        ("DELETE", "/model/control/requests", {"Origin": "http://evil.example"}),
        ("POST", "/page/kill", {"Origin": "http://evil.example"}),
        ("POST", "/bot7000001:sandbox-token-of-meridian/getMe", {"Origin": "http://evil.example"}),
        ("GET", "/bot7000001:sandbox-token-of-meridian/getMe", {"Host": "evil.example"}),
        ("GET", "/bot7000001:sandbox-token-of-meridian/logOut", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", "/v1/messages", {"Origin": "http://evil.example"}),
        ("POST", "/page/kill", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", "/page/kill", {"Content-Type": "text/plain"}),
        ("POST", "/control/say", {"Origin": "null"}),
    ]
    async with aiohttp.ClientSession() as http:
        for method, path, headers in foreign:
            headers = {"Content-Type": "application/json"} | headers
            async with http.request(method, url + path, headers=headers) as response:
                assert (method, path, response.status) == (method, path, 403)
        async with http.get(url + "/") as response:
            assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    host = await open_sandbox.host(lambda host: True)
    assert (host["starts"], host["pid"]) == (before["starts"], before["pid"])


async def test_no_spelling_of_a_host_or_an_origin_opens_the_page(open_sandbox: Sandbox) -> None:
    url, port = open_sandbox.url, open_sandbox.url.rpartition(":")[2]
    hosts = [b"", b"Host:\r\n", b"Host: 127.0.0.1.nip.example\r\n", b"Host: 0.0.0.0\r\n"]
    hosts += [b"Host: localhost.\r\n", b"Host: localhost@evil.example\r\n"]
    hosts += [b"Host: [::1\r\n", b"Host: evil.example#127.0.0.1\r\n"]
    for host in hosts:
        for path in (b"/", b"/page/log", b"/control/state"):
            request = b"GET " + path + b" HTTP/1.1\r\n" + host + b"\r\n"
            assert (host, await status_of(url, request)) == (host, 403)
    here = f"Host: 127.0.0.1:{port}\r\n"
    origins = ["null", f"http://127.0.0.1:{int(port) + 1}", f"https://127.0.0.1:{port}"]
    origins += [f"http://127.0.0.1:{port}.evil.example", f"http://localhost:{port}"]
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    wrong = [f"Origin: {one}\r\nContent-Type: application/json\r\n" for one in origins]
    wrong += [f"Content-Type: {kind}\r\n" for kind in kinds]
    for headers in wrong:
        head = f"POST /page/kill HTTP/1.1\r\n{here}{headers}Content-Length: 2\r\n\r\n{{}}"
        assert (headers, await status_of(url, head.encode())) == (headers, 403)
    assert (await open_sandbox.host(lambda host: True))["state"] == "up"


async def test_no_path_leads_out_of_what_the_page_may_show(open_sandbox: Sandbox) -> None:
    url = open_sandbox.url
    paths = [
        "/static/../launch.py",
        "/static/..%2flaunch.py",
        "/static/%2e%2e/launch.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%5claunch.py",
        "/static/index.html%00.css",
        "/page/file/../../agents.json",
        "/page/file/..%2f..%2fworld.jsonl",
        "/page/timeline/-1",
        f"/page/timeline/{10**23}",
        "/page/timeline/1e3",
        f"/file/bot{TOKENS[MERIDIAN]}/../../world.jsonl",
        f"/file/bot{TOKENS[MERIDIAN]}/%2e%2e/%2e%2e/world.jsonl",
    ]
    for path in paths:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        assert (path, await status_of(url, request)) == (path, 404)


async def test_an_answer_comes_once_although_its_host_is_killed(open_sandbox: Sandbox) -> None:
    one, room = open_sandbox, f"{MERIDIAN}/{BEN}"
    await one.post("/model/control/pace", tokens_per_second=5)
    await one.say(room, "tell me a long story", BEN)
    await one.drafted(room)
    first = await one.host(lambda host: host["state"] == "up")
    await one.post("/page/kill")
    await one.post("/model/control/pace", tokens_per_second=None)
    again = await one.host(lambda host: host["state"] == "up" and host["pid"] != first["pid"])
    assert again["starts"] == first["starts"] + 1
    await one.answer(room, "The Night Operator")
    mark = await one.say(room, "12 * 12", BEN)
    await one.answer(room, "144", after=mark)
    texts = await one.texts(room, MERIDIAN)
    assert sum("Hello! I am the sandbox" in text for text in texts) == 1
    assert sum("1. The room" in text for text in texts) == 1
    assert "144" in texts[-1]
