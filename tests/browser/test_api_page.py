"""The documentation's page of the HTTP API in a browser: it shows every route, and calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import Browser
from tests.host.stage import staged
from tests.http.api import OPERATOR_KEY, api_host

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

OPEN = """
document.getElementById('key').value = {key!r};
document.querySelector('#open button').click()
"""
ASK = """
[...document.querySelectorAll('details')]
  .find(one => one.querySelector('summary').textContent === 'GET/api/v1/me')
  .querySelector('button').click()
"""


async def test_the_page_shows_the_routes_for_a_key_and_sends_requests(
    browser: Browser, tmp_path: Path
) -> None:
    async with staged(tmp_path) as stage, api_host(stage) as client, browser.tab() as tab:
        await tab.go(f"{client.host.url}/docs")
        await tab.until("document.readyState === 'complete'")
        await tab.run(OPEN.format(key="wrong"))
        await tab.until("document.getElementById('status').textContent.includes('valid key')")
        tab.complaints.clear()  # the browser notes the 401
        await tab.run(OPEN.format(key=OPERATOR_KEY))
        await tab.until("document.querySelectorAll('details').length > 10")
        await tab.run(ASK)
        await tab.until("document.querySelector('pre:not([hidden])')?.textContent.includes('env0')")
        assert tab.complaints == []
