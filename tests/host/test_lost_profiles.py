"""An agent whose profile is not there: nobody answers in its place, and each person is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.turn.results import BROKEN
from simulators.testing.stage import PATIENCE, until
from tests.host.profiled import write_profile
from tests.host.stage import staged
from tests.host.test_instances import CHOOSES, bound, put
from tests.http.api import api_host

LOST: dict[str, Any] = {"profile": "Missing", "template": True}
SAYS = {"role": "user", "content": "hi"}
CURE = (
    "lost does not answer: there is no profile Missing. /profiles lists those that there are; "
    "set another one in "
)
WAITS = """
flow_decider:
  - {id: waits, condition: "True", action: {type: await_user_input}}
"""


async def test_nobody_answers_in_the_place_of_an_agent_whose_profile_is_missing(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        ann, boss = stage.person("Ann"), stage.person("Boss")
        stage.environ |= {"ADMINS": str(boss.id), "LIMITS__REQUESTSPERMINUTE": "1000"}
        lost, spare = stage.bot("Lost", **LOST), stage.bot("Spare", template=True)
        plain, one = stage.add_bot("Plain"), bound(stage, "acme/one")
        put(stage, "acme/one", agent_type="lost")
        router = bound(stage, "acme/router-auto")
        put(stage, "acme/router-auto", agent_type="router", name="Acme")
        put(stage, "acme/well", agent_type="spare")
        chats = stage.world.private(ann, spare)
        binding = {"agentId": "lost", "type": "ChatId", "bindingKey": str(chats.id), "bot": ""}
        binding["bot"] = str(spare.id)
        stage.agents["bindings"].append(binding)
        stage.agents["defaultAgentId"] = "spare"
        stage.script.on("one", system=CHOOSES, again=True)
        stage.script.on("I am spare.", again=True)
        rooms = [(stage.world.private(ann, bot), bot) for bot in (lost, one, router)]
        places, hers = [*rooms, (chats, spare)], rooms[0][0]
        async with api_host(stage, HTTP_FACES="openai") as api:
            for room, bot in places:
                assert await stage.ask(ann, room, bot, "hi") == BROKEN
            assert [r for r in stage.requests() if CHOOSES not in str(r["system"])] == []
            assert await stage.ask(ann, hers, lost, "/start") == f"Hello Ann!\n\n{BROKEN}"
            assert (await stage.ask(ann, hers, lost, "/help")).startswith(BROKEN)
            own = stage.world.private(boss, lost)
            assert (await stage.ask(boss, own, lost, "hi")).startswith(f"{BROKEN}\n\n{CURE}")
            assert CURE in await stage.ask(boss, own, lost, "/start")
            told = [text for text in api.host.report()["problems"] if "@" in text[:1]]
            assert len([text for text in told if "its agent 'lost' does not answer" in text]) == 1

            # The default agent, and a preset over it.
            mine = stage.world.private(boss, plain)
            assert await stage.ask(boss, mine, plain, "hi") == "I am spare."
            await stage.ask(boss, mine, plain, "/presets new deep spare\nBe deep.")
            await stage.ask(boss, mine, plain, "/presets use deep")
            assert await stage.ask(boss, mine, plain, "hi") == "I am spare."
            stage.agents["agents"][1]["profile"] = "Missing"
            stage.write_agents()
            await api.host.catalog.until(lambda now: now.lost_profile("spare") is not None)
            assert (await stage.ask(boss, mine, plain, "hi")).startswith(f"{BROKEN}\n\nspare does")
            await stage.ask(boss, mine, plain, "/presets use none")
            assert (await stage.ask(boss, mine, plain, "hi")).startswith(f"{BROKEN}\n\nspare does")

            # Over HTTP, with the same words.
            for path, body in (
                ("/api/v1/agent/execute", {"agent_type": "lost", "task": "hi"}),
                ("/accounts/acme/agents/one/chat", {"message": "hi"}),
                ("/v1/chat/completions", {"model": "lost", "messages": [SAYS]}),
            ):
                answer = await api.ask("POST", path, json=body)
                assert answer.status == 503
                said = answer.json.get("error") or answer.json
                kind = said.get("code") or said["type"].rpartition(":")[2]
                detail = said.get("message") or said["detail"]
                assert (kind, detail.startswith(BROKEN)) == ("profile-missing", True)
                assert "there is no profile 'Missing'" in detail
            answer = await api.get("/accounts/acme/agents/one/stream?message=hi")
            assert (answer.status, BROKEN in answer.json["detail"]) == (503, True)

            write_profile(stage, "Missing", WAITS)
            await until(lambda: api.host.catalog.snapshot().lost_profile("lost") is None, PATIENCE)
            for room, bot in places:
                assert await stage.ask(ann, room, bot, "hi") == "I am spare."
