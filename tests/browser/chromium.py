"""A headless Chromium over its debugging protocol: pages that are clicked and watched."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

PRESSES = 5
AIM = """(() => {
  const e = %s;
  if (!e?.getBoundingClientRect().width) return null;
  e.scrollIntoView({block: 'nearest'});
  window.pressLanded = false;
  document.addEventListener('click', (event) => {
    window.pressLanded = e.contains(event.target);
  }, {capture: true, once: true});
  const r = e.getBoundingClientRect();
  return {x: r.left + r.width / 2, y: r.top + r.height / 2};
})()"""
DRAWN = "new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
# Asks again and again: the expression's value as soon as it is a true one, null after `ms`.
UNTIL = """new Promise((done) => {
  const end = performance.now() + %d;
  const ask = () => {
    let held = null;
    try { held = %s; } catch { /* not there yet */ }
    if (held || performance.now() > end) done(held); else setTimeout(ask, 20);
  };
  ask();
})"""


def found() -> str | None:
    """The Chromium of `CHROMIUM`, or of the machine; None where there is none."""
    given = os.environ.get("CHROMIUM")
    return given or shutil.which("chromium") or shutil.which("chromium-browser")


class Tab:
    """One page. `complaints` are console errors, exceptions and refused loads so far."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol."""
        return await self._browser.call(method, self._session, **params)

    async def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    async def until(self, condition: str, seconds: float = 40) -> None:
        """Return once an expression is true; AssertionError that shows the page after a while."""
        await self._value(f"Boolean({condition})", seconds)

    async def _value(self, expression: str, seconds: float = 40) -> Any:
        value = await self.run(UNTIL % (seconds * 1000, expression))
        if not value:
            text = await self.run("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{text[-3000:]}\n{self.complaints}")
        return value

    async def go(self, url: str) -> None:
        """Open a URL."""
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)})")

    async def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the first element that fits."""
        await self.hit(f"document.querySelector({json.dumps(selector)})")

    async def hit(self, element: str) -> None:
        """A press of the mouse in the middle of the element that an expression gives.

        What is being drawn is drawn first: else the element may be elsewhere by then. A press
        that came to nothing, as the page drew something else in its place meanwhile, is made again.
        """
        for _ in range(PRESSES):
            await self.run(DRAWN)
            spot = await self._value(AIM % element)
            for kind in ("mousePressed", "mouseReleased"):
                await self.call(
                    "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **spot
                )
            # A press that opened another page has left its mark behind.
            if await self.run("window.pressLanded !== false"):
                return
        raise AssertionError(f"{PRESSES} presses did not reach {element}")

    async def type(self, text: str) -> None:
        """Text into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def key(self, name: str, code: int) -> None:
        """One key, such as ("Enter", 13)."""
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )

    async def look(self, width: int, height: int, *, dark: bool, phone: bool = False) -> None:
        """A screen's size in CSS pixels, and its colours."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> int:
        """A PNG of what is seen now; its size in bytes."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Note what a page must never say."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", params)))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
            self.complaints.append(str([arg.get("value") for arg in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            entry = params["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")


class Browser:
    """A running Chromium with a profile of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}

    async def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """One command, and its result; AssertionError where it is refused."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        return await asyncio.wait_for(answer, 60)

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A page of somebody who was never here before, while the context is open."""
        mine = await self.call("Target.createBrowserContext")
        try:
            yield await self._tab(mine["browserContextId"])
        finally:
            await self.call("Target.disposeBrowserContext", **mine)

    async def _tab(self, mine: str) -> Tab:
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=mine)
        return await self._attached(target["targetId"])

    async def popup_of(self, tab: Tab) -> Tab:
        """The page that a page has just opened."""
        own = (await tab.call("Target.getTargetInfo"))["targetInfo"]["targetId"]
        async with asyncio.timeout(20):
            while True:
                targets = (await self.call("Target.getTargets"))["targetInfos"]
                for one in targets:
                    if one.get("openerId") == own:
                        return await self._attached(one["targetId"])

    async def _attached(self, target: str) -> Tab:
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        return tab

    async def listen(self) -> None:
        """Hand on what the browser says, until it is gone."""
        async for message in self._socket:
            told = json.loads(message.data)
            answer = self._waiting.pop(told.get("id"), None)
            if answer is None:
                if tab := self._tabs.get(told.get("sessionId", "")):
                    tab.heard(told["method"], told["params"])
            elif "error" in told and not answer.done():
                answer.set_exception(AssertionError(told["error"]))
            elif not answer.done():
                answer.set_result(told["result"])


@contextlib.asynccontextmanager
async def chromium(program: str, profile: Path) -> AsyncIterator[Browser]:
    """A Chromium while the context is open."""
    process = await asyncio.create_subprocess_exec(
        *(program, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = await _debugging_url(profile / "DevToolsActivePort")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(url, max_msg_size=0) as socket,
        ):
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _debugging_url(file: Path) -> str:
    async with asyncio.timeout(60):
        while len(words := _words(file)) != 2:  # noqa: ASYNC110 - no event tells of a file
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{words[0]}{words[1]}"


def _words(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []
