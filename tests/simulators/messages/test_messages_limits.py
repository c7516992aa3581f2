"""Rate limits, and the guard of the control API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import anthropic
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from simulators.http_server import serving
from simulators.messages import control as model_control
from simulators.messages.routes import routes
from simulators.messages.sim import MessagesSim
from simulators.telegram import control
from simulators.telegram.world import World
from tests.sandbox.elsewhere import ELSEWHERE
from tests.simulators.messages.conftest import Api, Clock

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.asyncio(loop_scope="module")
HEAD = "anthropic-ratelimit-"


async def test_every_answer_tells_the_limits(api: Api, ask: Callable[..., Any]) -> None:
    for stream in (False, True):
        raw = await api.sdk.messages.with_raw_response.create(**ask(stream=stream))
        for name in ("requests", "input-tokens", "output-tokens"):
            most = int(raw.headers[f"{HEAD}{name}-limit"])
            assert 0 < int(raw.headers[f"{HEAD}{name}-remaining"]) <= most
            assert raw.headers[f"{HEAD}{name}-reset"].endswith("Z")
        await raw.parse() if not stream else await raw.http_response.aclose()


async def test_a_used_up_budget_is_refused_until_it_has_filled_again(
    api: Api, ask: Callable[..., Any], clock: Clock
) -> None:
    await api.control("POST", "limits", {"requests": 2})
    for left in (1, 0):
        raw = await api.sdk.messages.with_raw_response.create(**ask())
        assert raw.headers[f"{HEAD}requests-remaining"] == str(left)
    with pytest.raises(anthropic.RateLimitError, match="rate limit of 2 requests per minute") as no:
        await api.sdk.messages.create(**ask())
    assert no.value.response.headers["retry-after"] == "30"
    assert no.value.response.headers[f"{HEAD}requests-remaining"] == "0"
    clock.now += 30
    await api.sdk.messages.create(**ask())


async def test_tokens_in_and_out_have_budgets_of_their_own(
    api: Api, ask: Callable[..., Any], clock: Clock
) -> None:
    api.answers("word " * 400, again=True)
    await api.control("POST", "limits", {"output_tokens": 100})
    await api.sdk.messages.create(**ask())
    with pytest.raises(anthropic.RateLimitError, match="100 output tokens per minute"):
        await api.sdk.messages.create(**ask())
    await api.control("POST", "limits", {"input_tokens": 100})
    await api.sdk.messages.create(**ask("x" * 300))
    with pytest.raises(anthropic.RateLimitError, match="100 input tokens per minute"):
        await api.sdk.messages.create(**ask("x" * 300))
    await api.control("POST", "reset", {})
    await api.sdk.messages.create(**ask("x" * 300))


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_control_from_elsewhere_is_refused(api: Api, headers: dict[str, str]) -> None:
    api.sim.pace = 5.0
    async with api.http.get(f"{api.url}/control/state", headers=headers) as response:
        assert response.status == 403
    order = {"tokens_per_second": None}
    async with api.http.post(f"{api.url}/control/pace", json=order, headers=headers) as response:
        assert response.status == 403
        assert (await response.json())["error"]["type"] == "permission_error"
    assert api.sim.pace == 5.0
    async with api.http.get(f"{api.url}/control/state", headers={"Origin": api.url}) as response:
        assert response.status == 200


async def test_both_controls_live_beside_each_other_under_prefixes() -> None:
    world, sim = World(), MessagesSim()
    every: list[BaseRoute] = [
        *model_control.control_routes(sim, "/control/model"),
        *control.control_routes(world),
        *routes(sim),
    ]
    async with serving(Starlette(routes=every)) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/control/model/state") as response:
            assert (await response.json())["script"] == "DemoScript"
        async with http.get(f"{url}/control/state") as response:
            assert (await response.json())["persons"] == []
        async with http.post(f"{url}/control/model/pace", json={"tokens_per_second": 9}) as one:
            assert one.status == 200
        async with http.post(f"{url}/control/person", json={"name": "Bob"}) as response:
            assert (await response.json())["first_name"] == "Bob"
    assert sim.pace == 9
