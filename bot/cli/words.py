"""The words of the verbs over the registry: `switchboard agents list`, `keys create` and the like.

They are in a module of their own, so that the other verbs need not load what these do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from bot.cli import (
    audit,
    bots,
    documents,
    drafts,
    instances,
    keys,
    presets,
    profiles,
    transfer,
)
from bot.cli.registry import Work
from registry.revisions import Kind
from registry.roles import DEFAULT_ACCOUNT, ROLES, Duty


def add_words(verb: str, parser: argparse.ArgumentParser) -> None:
    """Teach a parser the words of one of these verbs."""
    _ADD[verb](parser)


@dataclass(frozen=True, slots=True)
class _Acts:
    """The acts of a verb; `kind` is that of the documents that most of them are about."""

    parsers: Any
    kind: Kind

    def add(
        self,
        name: str,
        about: str,
        work: Work,
        *,
        writes: bool = False,
        needs_store: bool = True,
        needs_file: bool = False,
    ) -> argparse.ArgumentParser:
        """One act. With `needs_file` it refuses to run where the agents file is broken."""
        parser: argparse.ArgumentParser = self.parsers.add_parser(
            name, help=about, description=about
        )
        _finish(parser, work, writes=writes, needs_store=needs_store, needs_file=needs_file)
        parser.set_defaults(kind=self.kind)
        return parser

    def reading(self, name: str, about: str, work: Work) -> argparse.ArgumentParser:
        """An act that works without a store as well."""
        return self.add(name, about, work, needs_store=False)

    def revisions(self, name: str, what: str, *, also: bool = True) -> None:
        """`history` of a document; `also` its `diff` and `restore`."""
        of_file = self.kind in ("agent", "binding")
        about = "list the revisions, newest first"
        work = documents.role_history if self.kind == "role" else documents.show_history
        one = self.add("history", about, work, needs_file=of_file)
        one.add_argument("id", metavar=name, help=what)
        if not also:
            return
        about = "show what differs between two revisions"
        one = self.add("diff", about, documents.show_diff, needs_file=of_file)
        one.add_argument("id", metavar=name, help=what)
        about = "a revision's number (default: the newest but one)"
        one.add_argument("old", metavar="FROM", nargs="?", type=_number, help=about)
        about = "a revision's number (default: the newest)"
        one.add_argument("new", metavar="TO", nargs="?", type=_number, help=about)
        about = "make an old revision the newest one"
        one = self.add(
            "restore", about, documents.restore_document, writes=True, needs_file=of_file
        )
        one.add_argument("id", metavar=name, help=what)
        one.add_argument("revision", metavar="N", type=_number, help="the revision's number")


def _add_acts(parser: argparse.ArgumentParser, names: str, kind: Kind) -> _Acts:
    return _Acts(parser.add_subparsers(required=True, metavar=names), kind)


def _finish(
    parser: argparse.ArgumentParser,
    work: Work,
    *,
    writes: bool = False,
    needs_store: bool = True,
    needs_file: bool = False,
) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    if writes:
        parser.add_argument("--reason", metavar="TEXT", help="why; the audit keeps it")
        parser.add_argument("--ticket", metavar="REF", help="a ticket's reference, kept as well")
    parser.set_defaults(work=work, needs_store=needs_store, needs_file=needs_file)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 16 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _dollars(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of dollars") from None


# --- the verbs -----------------------------------------------------------------------------------


def _agents(parser: argparse.ArgumentParser) -> None:
    names = "list | show | put | delete | default | history | diff | restore"
    acts, what = _add_acts(parser, names, "agent"), "the agent's id"
    acts.reading("list", "list the agents", documents.list_agents)
    one = acts.reading("show", "show an agent as JSON", documents.show_document)
    one.add_argument("id", metavar="ID", help=what)
    about = "create an agent, or change it, from JSON or YAML"
    one = acts.add("put", about, documents.put_agent, writes=True, needs_file=True)
    one.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    work = documents.delete_document
    one = acts.add("delete", "delete an agent", work, writes=True, needs_file=True)
    one.add_argument("id", metavar="ID", help=what)
    about = "show the default agent, or set it"
    work = documents.default_agent
    one = acts.add("default", about, work, writes=True, needs_store=False, needs_file=True)
    one.add_argument("id", metavar="ID | none", nargs="?", help=what)
    acts.revisions("ID", what)


def _drafts(parser: argparse.ArgumentParser) -> None:
    names = "list | show | set | put | update | publish | discard"
    acts, what = _add_acts(parser, names, "draft"), "the agent's id"
    acts.reading("list", "list the drafts of agents, and whose they are", drafts.list_drafts)
    one = acts.add("show", "show what a draft would change", drafts.show_draft)
    one.add_argument("id", metavar="ID", help=what)
    about = "whose draft (default: that of the command line)"
    one.add_argument("--by", metavar="PERSON", help=about)
    one = acts.add("set", "change a field in a draft", drafts.set_field, writes=True)
    one.add_argument("id", metavar="ID", help=what)
    one.add_argument("field", metavar="FIELD", help="such as customInstructions or temperature")
    one.add_argument("value", metavar="VALUE", help="plain or JSON; none takes the field out")
    one.add_argument("--new", action="store_true", help="of an agent that does not exist yet")
    one = acts.add("put", "make a draft from JSON or YAML", drafts.put_draft, writes=True)
    one.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    said = "put the draft's changes on the agent as it is now"
    for name, text, work in (
        ("update", said, drafts.update_draft),
        ("publish", "put a draft in force", drafts.publish_draft),
        ("discard", "drop a draft", drafts.discard_draft),
    ):
        one = acts.add(name, text, work, writes=True, needs_file=name == "publish")
        one.add_argument("id", metavar="ID", help=what)
        if name == "discard":
            one.add_argument("--by", metavar="PERSON", help=about)


def _instances(parser: argparse.ArgumentParser) -> None:
    names = "list | show | put | create | delete | templates | history | diff | restore"
    acts, what = (
        _add_acts(parser, names, "instance"),
        "its account and name: acme/sales-smb",
    )
    one = acts.reading("list", "list the agent instances", instances.list_instances)
    one.add_argument("--account", metavar="A", help="only those of this account")
    one = acts.reading("show", "show an instance as JSON", documents.show_document)
    one.add_argument("id", metavar="ID", help=what)
    about = "create an instance, or change it, from YAML or JSON"
    one = acts.add("put", about, instances.put_instance, writes=True)
    one.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    about = "create an instance from a template, or of an agent type"
    one = acts.add("create", about, instances.new_instance, writes=True)
    one.add_argument("id", metavar="ID", help=what)
    about = "the name of a template, or an agent type"
    one.add_argument("source", metavar="SOURCE", help=about)
    one = acts.add("delete", "delete an instance", documents.delete_document, writes=True)
    one.add_argument("id", metavar="ID", help=what)
    acts.reading("templates", "list the templates", instances.list_templates)
    acts.revisions("ID", what)


def _presets(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "list | export", "preset")
    about = "a numeric Telegram id, tg:<id>, or api:<account>:<user>"
    one = acts.reading("list", "list people's presets, without their texts", presets.list_presets)
    one.add_argument("--person", metavar="PERSON", help=about)
    said = "write people's presets with their texts as JSON"
    one = acts.reading("export", said, presets.export_presets)
    one.add_argument("file", metavar="FILE", nargs="?", help="stdout if omitted, or -")
    one.add_argument("--person", metavar="PERSON", help=about)


def _profiles(parser: argparse.ArgumentParser) -> None:
    _shared(parser, "profile", "a profile")


def _llm_configs(parser: argparse.ArgumentParser) -> None:
    _shared(parser, "llm-config", "a model configuration")


def _shared(parser: argparse.ArgumentParser, kind: Kind, noun: str) -> None:
    names = "list | show | put | delete | history | diff | restore"
    acts, what = _add_acts(parser, names, kind), "its name, in its own upper and lower case"
    plural = f"{noun.partition(' ')[2]}s"
    acts.reading("list", f"list the {plural}, and who uses them", profiles.list_shared)
    one = acts.reading("show", f"show {noun} as JSON", documents.show_document)
    one.add_argument("id", metavar="NAME", help=what)
    about = f"create {noun}, or change it, from YAML or JSON"
    one = acts.add("put", about, profiles.put_shared, writes=True)
    one.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    about = f"delete {noun} that nothing refers to"
    one = acts.add("delete", about, documents.delete_document, writes=True)
    one.add_argument("id", metavar="NAME", help=what)
    acts.revisions("NAME", what)


def _profile(parser: argparse.ArgumentParser) -> None:
    from bot.cli import profile_try  # it loads what runs rules

    acts = _add_acts(parser, "try", "profile")
    about = "run a profile's rules over a recorded turn; nothing is executed or changed"
    one = acts.add("try", about, profile_try.try_profile)
    one.add_argument("file", metavar="FILE", help="a profile in YAML or JSON, or - for stdin")
    about = "the turn's id, as the log and the answers over HTTP name it"
    one.add_argument("--turn", metavar="ID", required=True, help=about)
    about = "only in conversations with this agent or instance"
    one.add_argument("--agent", metavar="ID", help=about)


def _bindings(parser: argparse.ArgumentParser) -> None:
    names = "list | show | set | delete | history | diff | restore"
    acts, what = _add_acts(parser, names, "binding"), "what is bound, as `list` shows it"
    acts.reading("list", "list the bindings", documents.list_bindings)
    one = acts.reading("show", "show a binding as JSON", documents.show_document)
    one.add_argument("id", metavar="SLOT", help=what)
    about = "let an agent answer in a bot, in a chat, or to a person"
    one = acts.add("set", about, documents.set_binding, writes=True, needs_file=True)
    one.add_argument("agent", metavar="AGENT", help="the id of an agent or an instance")
    slot = one.add_mutually_exclusive_group(required=True)
    about = "the bot's @username, its numeric id, or the hash of its token"
    slot.add_argument("--bot", metavar="BOT", help=about)
    slot.add_argument("--chat", metavar="ID", help="the chat's numeric id")
    slot.add_argument("--person", metavar="ID", help="the person's numeric id")
    about = "with --chat or --person: only in this bot"
    one.add_argument("--on-bot", metavar="BOT", help=about)
    work = documents.delete_document
    one = acts.add("delete", "delete a binding", work, writes=True, needs_file=True)
    one.add_argument("id", metavar="SLOT", help=what)
    acts.revisions("SLOT", what)


def _roles(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "list | grant | revoke | history", "role")
    acts.reading("list", "list who was given which role", documents.list_roles)
    about = "a numeric Telegram id, tg:<id>, or api:<account>:<user>"
    for name, said, work in (
        ("grant", "give a person a role", documents.grant_role),
        ("revoke", "take a role away from a person", documents.revoke_role),
    ):
        one = acts.add(name, said, work, writes=True)
        one.add_argument("person", metavar="PERSON", help=about)
        _add_role(one)
        if name == "grant":
            said = "the review of core changes that this person may give"
            one.add_argument("--duty", action="append", choices=get_args(Duty), help=said)
    acts.revisions("PERSON", about, also=False)


def _add_role(parser: argparse.ArgumentParser, *, option: bool = False) -> None:
    if option:
        about = "its role (default instance_manager)"
        default = "instance_manager"
        parser.add_argument("--role", choices=ROLES, default=default, help=about)
    else:
        parser.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    parser.add_argument("--scope", choices=["host", "account", "client"], help="where it applies")
    about = "the account (default: the operator's own)"
    parser.add_argument("--account", metavar="A", default=DEFAULT_ACCOUNT, help=about)
    parser.add_argument("--client", metavar="C", help="only this client of the account")


def _access(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "list | let-in | block | clear", "access")
    acts.reading("list", "list who was let in, and who is blocked", documents.list_access)
    for name, said, level in (
        ("let-in", "let a person or a group in", "member"),
        ("block", "block a person or a group", "blocked"),
        ("clear", "take back what `let-in` or `block` said", None),
    ):
        work = documents.set_access if level else documents.clear_access
        one = acts.add(name, said, work, writes=True)
        about = "the id of a person, or of a group (negative); or as `list` shows it"
        one.add_argument("subject", metavar="ID", help=about)
        about = "only in this bot (its numeric id); in all bots if omitted"
        one.add_argument("--bot", metavar="ID", help=about)
        one.set_defaults(level=level)


def _keys(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "create | list | revoke | webhook-secret", "key")
    one = acts.add("create", "create a key, and show it once", keys.create_key, writes=True)
    _add_role(one, option=True)
    one.add_argument("--user", metavar="ID", help="the user whom the key stands for")
    one.add_argument("--agent", metavar="ID", help="only this agent or instance")
    about = "90d, 12h, 2027-01-31 (UTC) or never (default)"
    one.add_argument("--expires", metavar="WHEN", type=keys.expiry, help=about)
    one.add_argument("--tokens", metavar="N", type=_number, help="tokens that it may use a day")
    one.add_argument("--usd", metavar="X", type=_dollars, help="dollars that it may spend a day")
    one = acts.reading("list", "list the keys, without the keys themselves", keys.list_keys)
    one.add_argument("--account", metavar="A", help="only those of this account")
    one = acts.add("revoke", "revoke a key", keys.revoke_key, writes=True)
    one.add_argument("id", metavar="ID", help="as `list` shows it")
    about = "show the secret that an account's webhooks are signed with"
    one = acts.reading("webhook-secret", about, keys.webhook_secret)
    about = "the account (default: the operator's own)"
    one.add_argument("--account", metavar="A", default=DEFAULT_ACCOUNT, help=about)


def _audit(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "list | show | verify | rollback", "agent")
    one = acts.add("list", "list the newest changes, newest first", audit.list_records)
    one.add_argument("--account", metavar="A", help="only those of this account")
    one.add_argument("--entity", metavar="ID", help="only those of this agent, slot or person")
    one.add_argument("--by", metavar="WHO", help="only those that this person or program made")
    about = "how many (default 50)"
    one.add_argument("--count", metavar="N", type=_number, default=50, help=about)
    one = acts.add("show", "show a change with what was there before", audit.show_record)
    one.add_argument("number", metavar="N", type=_number, help="as `list` shows it")
    acts.add("verify", "check that no record was changed, removed or added", audit.verify)
    one = acts.add("rollback", "take back one change", audit.roll_back, writes=True)
    one.add_argument("number", metavar="N", type=_number, help="as `list` shows it")


def _reviews(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "list | reject", "proposal")
    acts.add("list", "list the changes of agents that wait for approval", audit.list_reviews)
    one = acts.add("reject", "reject a change of an agent", audit.reject_review, writes=True)
    one.add_argument("agent", metavar="AGENT", help="the agent's id")


def _bots(parser: argparse.ArgumentParser) -> None:
    names = "list | add | pause | resume | rename | move | remove | forget"
    acts, what = _add_acts(parser, names, "bot"), "its numeric id or @username"
    one = acts.reading("list", "list the bots of the environment and of the store", bots.list_bots)
    one.add_argument("--account", metavar="A", help="only those of this account")
    about = "add a bot; its token is read from standard input, or asked for"
    one = acts.add("add", about, bots.add_bot, writes=True)
    about = "the account (default: the operator's own)"
    one.add_argument("--account", metavar="A", default=DEFAULT_ACCOUNT, help=about)
    one.add_argument("--agent", metavar="ID", help="the agent or instance that answers in it")
    for name, about, status in (
        ("pause", "poll a bot no more, until it is resumed", "paused"),
        ("resume", "poll a paused bot again", "running"),
    ):
        one = acts.add(name, about, bots.set_status, writes=True)
        one.add_argument("id", metavar="BOT", help=what)
        one.set_defaults(status=status)
    about = "give a bot another name, in Telegram as well"
    one = acts.add("rename", about, bots.rename_bot, writes=True)
    one.add_argument("id", metavar="BOT", help=what)
    one.add_argument("name", metavar="NAME", nargs="+", help="up to 64 characters")
    one = acts.add("move", "let a bot belong to another account", bots.move_bot, writes=True)
    one.add_argument("id", metavar="BOT", help=what)
    one.add_argument("to", metavar="ACCOUNT", help="the account's name")
    about = "host a bot no more; its conversations stay"
    one = acts.add("remove", about, bots.remove_bot, writes=True)
    one.add_argument("id", metavar="BOT", help=what)
    one = acts.add("forget", "delete what was said in a removed bot", bots.forget_bot)
    one.add_argument("id", metavar="ID", type=_number, help="its numeric id")
    one.add_argument("--yes", action="store_true", help="do not only say what it would do")


def _secrets(parser: argparse.ArgumentParser) -> None:
    acts = _add_acts(parser, "new-key | rotate", "bot")
    acts.reading("new-key", "print a new key for SECRETS_KEY", bots.make_key)
    about = "seal with SECRETS_KEY what was sealed with the key before it"
    one = acts.add("rotate", about, bots.rotate_key, writes=True)
    about = "a file with the key before it (default: SECRETS_KEY_OLD)"
    one.add_argument("--old-file", metavar="FILE", help=about)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="stdout if omitted, or -")
    _finish(parser, transfer.export, needs_store=False, needs_file=True)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what `export` wrote; - for standard input")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--yes", action="store_true", help="do not ask")
    only.add_argument("--dry-run", action="store_true", help="only show what would change")
    about = "also delete what the file does not have"
    parser.add_argument("--prune", action="store_true", help=about)
    about = "leave out what came from an agents file or the environment"
    parser.add_argument("--stored-only", action="store_true", help=about)
    _finish(parser, transfer.import_, writes=True, needs_file=True)


_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "agents": _agents,
    "drafts": _drafts,
    "instances": _instances,
    "presets": _presets,
    "profiles": _profiles,
    "llm-configs": _llm_configs,
    "profile": _profile,
    "bindings": _bindings,
    "roles": _roles,
    "access": _access,
    "keys": _keys,
    "bots": _bots,
    "secrets": _secrets,
    "audit": _audit,
    "reviews": _reviews,
    "export": _export,
    "import": _import,
}
