"""`switchboard agents`, `bindings`, `roles`, `access` and `keys` over a real store."""

from __future__ import annotations

import base64
import hmac
import io
import json
import re
import sys
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.cli.main import REGISTRY_VERBS, VERBS
from registry.api_key import digest
from simulators.testing.valkey import Valkey
from tests.cli.console import Console

POET = {"id": "poet", "name": "Poet", "customInstructions": "Write short poems."}
FILE = {"agents": [{"id": "filed", "name": "Filed"}, {"id": "other", "name": "Other"}]}


async def put(console: Console, **fields: Any) -> Any:
    """The agent poet with other fields, as the answer of `agents put` says what was done."""
    return (
        await console.done("agents", "put", console.write("p.json", POET | fields), "--json")
    ).data


async def test_an_agent_is_created_changed_left_alone_shown_and_deleted(console: Console) -> None:
    assert await put(console) == {"kind": "agent", "id": "poet", "change": "created", "revision": 1}
    changed = await put(console, customInstructions="Write long poems.", name="Poetess")
    assert (changed["change"], changed["revision"]) == ("changed", 2)
    assert changed["fields"] == ["name", "customInstructions"]
    again = await put(console, customInstructions="Write long poems.", name="Poetess")
    assert (again["change"], again["revision"]) == ("unchanged", 2)
    shown = await console.done("agents", "show", "poet")
    assert shown.data == POET | {"customInstructions": "Write long poems.", "name": "Poetess"}
    (listed,) = (await console.done("agents", "list", "--json")).data
    assert (listed["owner"], listed["revision"], listed["default"]) == ("store", 2, False)
    await console.done("bindings", "set", "poet", "--bot", "@poet_bot")
    deleted = await console.done("agents", "delete", "poet", "--reason", "retired")
    assert deleted.out == "deleted agent poet\n"
    assert "still naming it, and inactive: telegrambot:@poet_bot" in deleted.err
    assert "there is no agent 'poet'" in await console.refused("agents", "show", "poet")
    history = (await console.done("agents", "history", "poet", "--json")).data
    assert [(one["revision"], one["deleted"]) for one in history] == [
        (3, True),
        (2, False),
        (1, False),
    ]


async def test_the_secret_of_an_accounts_webhooks_follows_from_the_setting_or_its_file(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("keys", "webhook-secret", "--account", "acme")
    assert "TASK_WEBHOOK_SECRET is not set" in await console.refused(*words)
    master = "a-master-secret-of-the-operator-0123456789"
    monkeypatch.setenv("TASK_WEBHOOK_SECRET_FILE", console.write("master", master + "\n"))
    from_file = (await console.done(*words)).out
    monkeypatch.delenv("TASK_WEBHOOK_SECRET_FILE")
    monkeypatch.setenv("TASK_WEBHOOK_SECRET", master)
    shown = await console.done(*words, "--json")
    mac = hmac.new(master.encode(), b"acme", "sha256").digest()
    assert shown.data == {"account": "acme", "secret": f"whsec_{base64.b64encode(mac).decode()}"}
    assert from_file == shown.data["secret"] + "\n"
    other = (await console.done("keys", "webhook-secret", "--json")).data
    assert (other["account"], other["secret"] == shown.data["secret"]) == ("default", False)
    monkeypatch.setenv("TASK_WEBHOOK_SECRET", "short")
    said = await console.refused(*words)
    assert "has 5 characters, fewer than 32" in said


async def test_what_show_prints_put_takes_back_from_standard_input(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(console)
    shown = await console.done("agents", "show", "poet")
    text = shown.out.replace("short", "tiny")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
    said = await console.done("agents", "put", "-")
    assert said.out == "changed agent poet, revision 2: customInstructions\n"


async def test_revisions_are_listed_compared_and_restored_with_reason_and_ticket(
    console: Console,
) -> None:
    await put(console)
    path = console.write("p.json", POET | {"customInstructions": "Write long poems."})
    await console.done("agents", "put", path, "--reason", "more of it", "--ticket", "OPS-7")
    lines = (await console.done("agents", "history", "poet")).out.splitlines()
    assert re.fullmatch(r"2  \S+ \S+  operator \(cli\)    more of it \[OPS-7\]", lines[0])
    diff = await console.done("agents", "diff", "poet")
    assert diff.out.splitlines() == [
        "agent poet, revision 1 to 2:",
        "  customInstructions: Write [-short-]{+long+} poems.",
    ]
    same = await console.done("agents", "diff", "poet", "1", "1", "--json")
    assert same.data == {"id": "poet", "from": 1, "to": 1, "changes": []}
    said = await console.done("agents", "restore", "poet", "1")
    assert said.out == "restored agent poet to revision 1, as revision 3\n"
    assert (await console.done("agents", "show", "poet")).data == POET
    assert "there are 1 to 3" in await console.refused("agents", "restore", "poet", "9")


async def test_what_was_set_by_hand_in_the_store_is_a_revision_too(
    console: Console, valkey: Valkey
) -> None:
    async with valkey.client() as redis:
        await redis.set("agent:definition:poet", json.dumps(POET, indent=2))
    (first,) = (await console.done("agents", "history", "poet", "--json")).data
    assert (first["revision"], first["by"]) == (1, "store")
    assert (await put(console))["change"] == "unchanged"
    assert (await put(console, name="Bard"))["revision"] == 2


async def test_what_the_file_sets_is_listed_with_its_place_and_changed_only_there(
    console: Console,
) -> None:
    console.write("agents.json", FILE)
    listed = (await console.done("agents", "list")).out
    assert re.search(r"filed +Filed +agents\.json:\d", listed)
    for words in (
        ("agents", "delete", "filed"),
        ("agents", "put", console.write("f.json", {"id": "filed", "name": "Mine"})),
    ):
        assert "is set in agents.json:" in await console.refused(*words)
    assert "has no revisions yet" in await console.refused("agents", "history", "filed")


async def test_a_broken_agents_file_stops_changes_of_agents_and_nothing_else(
    console: Console,
) -> None:
    await put(console)
    console.write("agents.json", '{"agents": [{"id": "poet", "nmae": "Poet"}]}')
    said = await console.refused("agents", "put", str(console.folder / "p.json"))
    assert "agents.json:1" in said
    assert "did you mean 'name'?" in said
    assert "the agents file cannot be used: fix it first" in said
    listed = await console.done("agents", "list")
    assert "poet" in listed.out
    assert "agents.json:1" in listed.err
    key = await console.done("keys", "create", "--json")
    await console.done("keys", "revoke", key.data["id"])


async def test_a_definition_that_cannot_be_used_is_refused_with_every_problem_and_line(
    console: Console,
) -> None:
    wrong = '{\n "id": "Poet",\n "name": 5,\n "customInstructions": "x"\n}'
    said = (await console.refused("agents", "put", console.write("w.json", wrong))).splitlines()
    assert [re.search(r"w\.json, line (\d)", line)[1] for line in said] == ["2", "3"]  # type: ignore[index]
    assert "it cannot be read" in await console.refused("agents", "put", "nowhere.json")


async def test_bindings_are_set_moved_shown_and_deleted(console: Console) -> None:
    console.write("agents.json", FILE)
    await console.done("bindings", "set", "filed", "--bot", "@Some_Bot")
    said = await console.done("bindings", "set", "other", "--bot", "@some_bot")
    assert said.out == "bound telegrambot:@some_bot to other, before it was filed\n"
    said = await console.done("bindings", "set", "other", "--bot", "@some_bot")
    assert "already" in said.out
    await console.done("bindings", "set", "other", "--chat", "-1005", "--on-bot", "77")
    await console.done("bindings", "set", "filed", "--person", "tg:5")
    listed = (await console.done("bindings", "list", "--json")).data
    assert [one["id"] for one in listed] == [
        "chatid:-1005:bot:77",
        "telegrambot:@some_bot",
        "userid:5",
    ]
    await console.done("bindings", "restore", "telegrambot:@some_bot", "1")
    shown = (await console.done("bindings", "show", "telegrambot:@some_bot")).data
    assert shown["agentId"] == "filed"
    await console.done("bindings", "delete", "userid:5")
    assert "did you mean" in await console.refused("bindings", "delete", "telegrambot:@som_bot")
    assert "did you mean filed?" in await console.refused("bindings", "set", "fild", "--bot", "7")


async def test_the_default_agent_is_shown_set_and_taken_away(console: Console) -> None:
    console.write("agents.json", FILE)
    assert (await console.done("agents", "default")).out == "none\n"
    await console.done("agents", "default", "other")
    assert (await console.done("agents", "default", "--json")).data == {"id": "other"}
    assert "did you mean other?" in await console.refused("agents", "default", "othr")
    await console.done("agents", "default", "none")
    assert (await console.done("agents", "default")).out == "none\n"


async def test_roles_are_granted_in_their_scope_and_revoked(console: Console) -> None:
    await console.done("roles", "grant", "5", "instance_manager")
    said = await console.done("roles", "grant", "tg:5", "instance_manager")
    assert said.out == "tg:5 is instance_manager of account default already\n"
    client = ("--account", "acme", "--client", "nike")
    await console.done("roles", "grant", "api:acme:ann", "account_manager", *client)
    engineer = ("7", "spokestack_engineer", "--scope", "host", "--duty", "qa")
    await console.done("roles", "grant", *engineer)
    assert (await console.done("roles", "list")).out.splitlines() == [
        "api:acme:ann  account_manager      client nike of account acme",
        "tg:5          instance_manager     account default",
        "tg:7          spokestack_engineer  host                         qa",
    ]
    wrong = await console.refused("roles", "revoke", "5", "instance_admin")
    assert "tg:5 is not instance_admin of account default; they are instance_manager of" in wrong
    await console.done("roles", "revoke", "5", "instance_manager", "--ticket", "T-1")
    history = (await console.done("roles", "history", "5", "--json")).data
    assert [(one["revision"], one["ticket"]) for one in history] == [(2, "T-1"), (1, None)]


async def test_people_and_groups_are_let_in_blocked_and_cleared(console: Console) -> None:
    await console.done("access", "let-in", "5")
    await console.done("access", "block", "-1005", "--bot", "77")
    listed = (await console.done("access", "list", "--json")).data
    assert [(one["id"], one["value"]["level"]) for one in listed] == [
        ("chat:-1005@77", "blocked"),
        ("person:5@*", "member"),
    ]
    assert "already" in (await console.done("access", "let-in", "person:5@*")).out
    await console.done("access", "clear", "5")
    assert "there is no access rule" in await console.refused("access", "clear", "5")


# --- keys ----------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_stored_as_its_hash(console: Console, valkey: Valkey) -> None:
    account = ("--account", "acme", "--role", "instance_admin")
    narrow = ("--user", "ann", "--expires", "90d", "--tokens", "5000")
    made = await console.done("keys", "create", *account, *narrow)
    secret = made.out.removesuffix("\n")
    assert re.fullmatch(r"sbk_[A-Za-z0-9_-]{43}", secret)
    assert secret not in made.err
    listed = await console.done("keys", "list")
    (key,) = (await console.done("keys", "list", "--json")).data
    assert (key["account"], key["role"], key["user"], key["state"]) == (
        "acme",
        "instance_admin",
        "ann",
        "live",
    )
    assert key["expires"] == pytest.approx(time.time() + 90 * 86_400, abs=120)
    assert key["budget"] == {"tokens": 5000}
    async with valkey.client() as redis:
        stored = json.loads(await redis.get(f"agent:key:{key['id']}") or "")
        assert stored["hash"] == digest(secret)
        assert await _holds(redis, secret) == []
    for text in (listed.out, json.dumps(key)):
        assert secret not in text
        assert stored["hash"] not in text


async def _holds(redis: Redis, secret: str) -> list[str]:
    """The keys of a store that hold a text anywhere."""
    found = [key async for key in redis.scan_iter()]
    raw = {key: await redis.dump(key) for key in found}
    return [key.decode() for key, value in raw.items() if value and secret.encode() in value]


async def test_the_list_of_keys_says_when_and_from_where_each_was_used_and_what_is_over(
    console: Console, valkey: Valkey
) -> None:
    used = (await console.done("keys", "create", "--json")).data
    gone = (await console.done("keys", "create", "--account", "acme", "--json")).data
    assert used["key"].startswith("sbk_")
    said = await console.done("keys", "revoke", gone["id"], "--reason", "leaked")
    assert said.out == f"revoked key {gone['id']}: instance_manager of account acme\n"
    assert "was revoked before" in (await console.done("keys", "revoke", gone["id"])).out
    async with valkey.client() as redis:
        use = {"at": 1796000000.5, "from": "10.0.0.7"}
        await redis.set(f"api:key-use:{used['id']}", json.dumps(use))
    lines = (await console.done("keys", "list")).out
    assert re.search(rf"{used['id']} .*live +used 2026-11-30 00:53:20 from 10\.0\.0\.7", lines)
    assert re.search(rf"{gone['id']} .*revoked +never used", lines)
    (own,) = (await console.done("keys", "list", "--account", "acme", "--json")).data
    assert (own["id"], own["state"], own["last_used"]) == (gone["id"], "revoked", None)
    assert "there is no key 'nothing'" in await console.refused("keys", "revoke", "nothing")


async def test_a_key_of_the_whole_host_is_for_engineers_and_a_narrow_one_for_a_known_agent(
    console: Console,
) -> None:
    console.write("agents.json", FILE)
    host = ("keys", "create", "--scope", "host", "--role")
    assert "is not a role of the whole host" in await console.refused(
        *host, "instance_admin", code=2
    )
    engineer = await console.done(*host, "spokestack_engineer", "--json")
    assert engineer.data["scope"] == "host"
    narrow = ("keys", "create", "--account", "acme", "--client", "nike", "--agent")
    assert "did you mean filed?" in await console.refused(*narrow, "fild")
    key = (await console.done(*narrow, "filed", "--json")).data
    assert (key["scope"], key["client"], key["agent"]) == ("client", "nike", "filed")


# --- without a store, and wrong words ------------------------------------------------------------


async def test_without_a_store_the_file_is_shown_and_a_change_says_what_is_missing(
    bare_console: Console,
) -> None:
    console = bare_console
    console.write("agents.json", FILE | {"defaultAgentId": "other"})
    listed = await console.done("agents", "list")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["filed", "other"]
    assert "without a store, only the file is shown" in listed.err
    assert (await console.done("agents", "show", "other", "--json")).data["value"][
        "name"
    ] == "Other"
    assert (await console.done("agents", "default")).out == "other\n"
    exported = (await console.done("export")).data["documents"]["agent"]
    assert [one["id"] for one in exported] == ["filed", "other"]
    for words in (
        ("agents", "put", "agents.json"),
        ("agents", "default", "filed"),
        ("agents", "history", "filed"),
        ("keys", "create"),
        ("audit", "verify"),
        ("import", "agents.json", "--yes"),
    ):
        said = await console.refused(*words)
        assert "this needs the store. DATA_DIR data: no host keeps its state here." in said
        assert "with its DATA_DIR or REDIS_URL" in said
    assert not (console.folder / "data").exists()


async def test_a_store_that_is_away_is_one_line(
    bare_console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{bare_console.folder}/nowhere")
    (line,) = (await bare_console.refused("agents", "list")).splitlines()
    assert "the store does not answer" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("agents", "switchboard: agents needs list or show or put"),
        ("agents lst", "there is no 'lst'; there are list, show, put"),
        ("agents show", "switchboard: agents show needs ID"),
        ("agents list --all", "agents takes no '--all'"),
        ("agents restore a 0", "'0' is not a number from 1 on"),
        ("bindings set a", "one of the arguments --bot --chat --person is required"),
        ("bindings set a --bot @a_bot --chat 5", "not allowed with argument"),
        ("roles grant 5 boss", "there is no 'boss'; there are spokestack_engineer,"),
        ("keys create --expires soon", "'soon' is not a time; write 90d, 12h"),
        ("keys create --expires 2020-01-01", "'2020-01-01' is in the past"),
        ("import x --yes --dry-run", "not allowed with argument"),
    ],
)
async def test_wrong_words_end_with_2_and_one_line_without_looking_for_a_store(
    bare_console: Console, words: str, said: str
) -> None:
    (line,) = (await bare_console.refused(*words.split(), code=2)).splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bindings set filed --bot @a_bot --on-bot 7", "--on-bot goes with --chat or --person"),
        ("bindings set filed --person ann", "'ann' is not a numeric id"),
        ("roles grant ann instance_admin", "write tg:<id> or api:<account>:<user>"),
        ("roles grant 5 account_manager --scope client", "scope 'client' and a client belong"),
        ("keys create --account Acme!", "Acme!"),
        ("keys create --usd -1", "must be more than 0"),
        ("access let-in ann", "write person:<id>@<bot> or chat:<id>@<bot>"),
    ],
)
async def test_words_that_mean_nothing_end_with_2_and_the_cure(
    console: Console, words: str, said: str
) -> None:
    console.write("agents.json", FILE)
    (line,) = (await console.refused(*words.split(), code=2)).splitlines()
    assert said in line


async def test_every_verb_has_help_and_is_among_the_verbs(console: Console) -> None:
    assert set(REGISTRY_VERBS) < set(VERBS)
    for verb in REGISTRY_VERBS:
        assert (await console.done(verb, "--help")).out.startswith(f"usage: switchboard {verb}")
