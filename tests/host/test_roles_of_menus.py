"""Every button of every menu, pressed by every role: done or refused as the table says."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from bot.app import App
from bot.command import BotCommand
from bot.menus.service import OLD
from bot.store import keys
from bot.store.menus import StoredMenu
from registry.roles import OPERATOR_ACTOR, PERMISSIONS, RoleGrant
from simulators.telegram.people import Bot, Person
from simulators.testing.stage import PATIENCE
from tests.host.audit import audit_of
from tests.host.menus import MenuUser
from tests.host.stage import Stage

VALUES = {
    "kind": "chat",
    "key": "-100123",
    "id": "poet",
    "page": "0",
    "number": "1",
    "start": "0",
    "line": "bot:1",
}
"""What a button may carry, by the name of the argument; anything else is a word."""
REFUSED = "Only admins of this host"


def arguments(row: BotCommand) -> tuple[str, ...]:
    """Something for each argument of an action."""
    names = [*signature(row.function).parameters][1:]
    return tuple(VALUES.get(name, "word") for name in names)


async def pressed(
    host: App, stage: Stage, call: Callable[..., Any], bot: Bot, person: Person, row: BotCommand
) -> str:
    """The word that a person gets who presses a button of theirs that leads to an action."""
    line, nonce = f"bot:{bot.id}", f"{row.name.replace(':', '-')}-{person.id}"
    step = (row.name, *arguments(row))
    menu = StoredMenu(nonce, person.id, str(person.id), 1, ((("Press", step),),))
    await host.store.command("SET", keys.menu(line, nonce), menu.dumped())
    keyboard = [[{"text": "Press", "callback_data": f"mn:{nonce}:1:0"}]]
    markup = {"inline_keyboard": keyboard}
    sent = await call("sendMessage", bot, chat_id=person.id, text="Menu", reply_markup=markup)
    number = sent["result"]["message_id"]
    room = stage.world.private(person, bot)
    press = stage.world.press_button(person, room, number, "Press")
    await stage.world.until(lambda: press.answer is not None, PATIENCE)
    return str((press.answer or {}).get("text", ""))


async def test_every_button_asks_for_the_role_of_whoever_presses(stage: Stage) -> None:
    bot = stage.bot("One")
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    grants = [RoleGrant(role=role) for role in PERMISSIONS]
    grants.append(RoleGrant(role="spokestack_engineer", scope="host"))
    grants.append(RoleGrant(role="instance_admin", account="acme"))
    people = [stage.person(f"P{number}") for number in range(len(grants))]
    async with stage.host() as host, stage.client() as call:
        await MenuUser(stage, boss, bot).open('/addagent {"id": "poet", "name": "Poet"}')
        rows, wrong = host.commands.actions.values(), []
        for person, grant in zip(people, grants, strict=True):
            name, key = f"tg:{person.id}", f"grant:{person.id}"
            await host.catalog.grant_role(OPERATOR_ACTOR, name, grant, key=key)
            await MenuUser(stage, person, bot).open("/id")
            for row in rows:
                word = await pressed(host, stage, call, bot, person, row)
                may = row.needs is None or row.needs.is_met([grant])
                if word.startswith(REFUSED) == may or word == OLD:
                    wrong.append((grant.role, grant.place, row.name, word))
        assert wrong == []
        records = [one for one in await audit_of(host) if one.action.startswith("refused: menu ")]
        refused = {(one.changed_by, one.action.removeprefix("refused: menu ")) for one in records}
        assert refused == {
            (f"tg:{person.id}", row.name)
            for person, grant in zip(people, grants, strict=True)
            for row in rows
            if row.needs and not row.needs.is_met([grant])
        }
