"""Over HTTP a core change waits for a second person who is named for its review."""

from __future__ import annotations

import json

from registry.api_key import ApiKey, digest, new_secret
from registry.roles import OPERATOR_ACTOR, RoleGrant
from tests.host.stage import Stage
from tests.http.api import ApiAnswer, client_of

PATH = "/api/v1/registry/agents/jack"


async def test_a_new_prompt_is_in_force_once_a_second_person_has_approved_it(stage: Stage) -> None:
    async with stage.host(HTTP_API="1", REVIEW__CORE="two") as host:
        secrets: dict[str, str] = {}
        for user in ("ann", "ben", "eve", "team"):
            secrets[user] = new_secret()
            key = ApiKey(
                id=user,
                hash=digest(secrets[user]),
                role="spokestack_engineer",
                scope="host",
                user=None if user == "team" else user,
            )
            await host.catalog.create_key(OPERATOR_ACTOR, key, key=f"key:{user}")
        grant = RoleGrant(role="spokestack_engineer", scope="host", duties=("qa",))
        await host.catalog.grant_role(OPERATOR_ACTOR, "api:default:ben", grant, key="ben")

        async with client_of(host) as client:

            async def ask(user: str, method: str, path: str, body: object = None) -> ApiAnswer:
                data = None if body is None else json.dumps(body).encode()
                return await client.ask(method, path, secrets[user], data=data)

            body = {"id": "jack", "name": "Jack", "customInstructions": "Rhyme."}
            made = await ask("ann", "PUT", PATH, body)
            assert (made.status, made.json["needs"]) == (202, ["qa"])
            assert (await ask("ann", "GET", PATH)).status == 404
            (waiting,) = (await ask("eve", "GET", "/api/v1/reviews")).json["reviews"]
            assert (waiting["agent"], waiting["changed_by"]) == ("jack", "api:default:ann")
            for user in ("ann", "eve"):  # who made it, and who is named for no review
                assert (await ask(user, "POST", "/api/v1/reviews/jack/approve")).status == 403
            own = new_secret()  # a key for Ben that the author of the change has made
            borrowed = ApiKey(
                id="borrowed",
                hash=digest(own),
                role="spokestack_engineer",
                scope="host",
                user="ben",
                created_by="api:default:ann",
            )
            await host.catalog.create_key(OPERATOR_ACTOR, borrowed, key="borrow")
            approve = "/api/v1/reviews/jack/approve"
            assert (await client.ask("POST", approve, own)).status == 403
            # To name a reviewer proves nothing, and no key is two people.
            team = await ask("team", "PUT", f"{PATH}?user_id=ann", {**body, "name": "Jo"})
            assert team.status == 202
            for user in ("ben", "team"):
                tried = await client.ask("POST", f"{approve}?user_id={user}", secrets["team"])
                assert tried.status == 403
            assert (await ask("ann", "PUT", PATH, body)).status == 202
            approved = await ask("ben", "POST", "/api/v1/reviews/jack/approve")
            assert (approved.status, approved.json["in_force"]) == (200, True)
            assert (await ask("ann", "GET", PATH)).json["definition"] == body
            assert (await ask("ben", "POST", "/api/v1/reviews/jack/reject")).status == 404
