"""Half a surrogate pair is no text: it costs a character, and neither an intake nor an answer."""

from __future__ import annotations

import orjson

from tests.host.stage import Stage
from tests.host.test_webhooks import post, pushed_to


async def test_half_a_surrogate_pair_that_is_pushed_holds_no_bot_up(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("I see", again=True)
    body = {
        "update_id": 5,
        "message": {
            "message_id": 77,
            "date": 1,
            "chat": {"id": ann.id, "type": "private"},
            "from": {"id": ann.id, "first_name": "Ann", "is_bot": False},
            "text": "odd HALF text",
        },
    }
    raw = orjson.dumps(body).replace(b"HALF", rb"\ud83d")
    async with pushed_to(stage):
        assert await post(echo.webhook.url, echo.webhook.secret, raw) == 200
        assert (await stage.answer(room, echo)).text == "I see"
    assert "odd ? text" in str(stage.requests()[0]["messages"])
