"""Over HTTP a core change waits for a second person who is named for its review."""

from __future__ import annotations

from registry.api_key import ApiKey, digest, new_secret
from registry.roles import OPERATOR_ACTOR, RoleGrant
from tests.host.stage import Stage
from tests.http.api import ApiAnswer, client_of

PATH = "/api/v1/registry/agents/jack"
APPROVE = "/api/v1/reviews/jack/approve"
REJECT = "/api/v1/reviews/jack/reject"


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
                return await client.ask(method, path, secrets[user], json=body)

            async def waits(user: str) -> dict[str, str]:
                (one,) = (await ask(user, "GET", "/api/v1/reviews")).json["reviews"]
                return {"mark": one["mark"]}

            body = {"id": "jack", "name": "Jack", "customInstructions": "Rhyme."}
            made = await ask("ann", "PUT", PATH, body)
            assert (made.status, made.json["needs"]) == (202, ["qa"])
            assert (await ask("ann", "GET", PATH)).status == 404
            (waiting,) = (await ask("eve", "GET", "/api/v1/reviews")).json["reviews"]
            assert (waiting["agent"], waiting["changed_by"]) == ("jack", "api:default:ann")
            mark = {"mark": waiting["mark"]}
            for user in ("ann", "eve"):  # who made it, and who is named for no review
                assert (await ask(user, "POST", APPROVE, mark)).status == 403
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
            assert (await client.ask("POST", APPROVE, own, json=mark)).status == 403
            # Nobody is named who has a key, and no key is two people.
            named = await ask("team", "PUT", f"{PATH}?user_id=ann", {**body, "name": "Jo"})
            assert (named.status, named.json["field"]) == (403, "user_id")
            other = f"{PATH}?user_id=jo", {**body, "name": "Jo"}
            assert (await ask("team", "PUT", *other)).status == 409  # Ann's waits
            assert (await ask("ann", "POST", REJECT)).status == 204
            assert (await ask("team", "PUT", *other)).status == 202
            for user in ("ben", "team"):
                url = f"{APPROVE}?user_id={user}"
                assert (await ask("team", "POST", url, await waits("eve"))).status == 403
            assert (await ask("ben", "POST", REJECT)).status == 204
            assert (await ask("ann", "PUT", PATH, body)).status == 202
            assert (await ask("ben", "POST", APPROVE, {"mark": "00000000"})).status == 409
            assert (await ask("ben", "POST", APPROVE)).status == 422
            approved = await ask("ben", "POST", APPROVE, await waits("ben"))
            assert (approved.status, approved.json["in_force"]) == (200, True)
            assert (await ask("ann", "GET", PATH)).json["definition"] == body
            assert (await ask("ben", "POST", "/api/v1/reviews/jack/reject")).status == 404
