"""The command line: `switchboard run | sandbox | check`, and verbs that look after a host."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from bot.errors import ConfigError, WrongWords

if TYPE_CHECKING:
    from bot.settings import Settings

T = TypeVar("T")
_TOKEN = re.compile(r"([0-9]{5,16})\s?:\s?[A-Za-z0-9_-]{20,}")
NOT_AMONG_WORDS = (
    "it is read from standard input, or asked for; this one may be in your shell's history: send "
    "/revoke to @BotFather if others can read that"
)
_Lines = Coroutine[Any, Any, Sequence[str]]
SWITCH_SECONDS = 0.0005
NO_BOT = (
    "switchboard: BOTS__0__TOKEN is not set, so there is no bot to run. Set it in .env to the "
    "token that @BotFather gave you, or try `switchboard sandbox`, which needs none."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns 0, 1 after an error, or 2 where the words name nothing to do.

    Errors are printed on stderr.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    words = ["--help"] if words == ["help"] else words
    if wrong := _no_verb(words):
        _complain(wrong)
        return 2
    given, rest = parser_of(words[0]).parse_known_args(words)
    if rest:
        cure = f"`switchboard {words[0]} --help` lists what it takes"
        if any(map(_TOKEN.search, rest)):
            cure = NOT_AMONG_WORDS
        _complain(f"{words[0]} takes no {rest[0]!r}; {cure}")
        return 2
    try:
        return int(given.verb(given))
    except ConfigError as error:
        for line in str(error).splitlines():
            _complain(line)
        return 2 if isinstance(error, WrongWords) else 1
    except KeyboardInterrupt:
        return 130


def _complain(text: str) -> None:
    """Print a line on stderr, without the tokens in it."""
    print(f"switchboard: {_without_tokens(text)}", file=sys.stderr)


def _without_tokens(text: str) -> str:
    return _TOKEN.sub(r"\1:***", text)


REGISTRY_VERBS = {
    "agents": "list, show, change, delete and restore agents",
    "drafts": "change agents in drafts, compare and publish them",
    "instances": "list, show, create, change, delete and restore agent instances",
    "presets": "list and export people's own presets",
    "profiles": "list, show, change, delete and restore profiles of agents",
    "llm-configs": "list, show, change, delete and restore model settings that profiles share",
    "profile": "try a profile's rules over a recorded turn",
    "bindings": "list, set, delete and restore bindings",
    "roles": "list, grant and revoke the roles of people",
    "access": "list, let in and block people and groups",
    "keys": "create, list and revoke API keys; show webhook secrets",
    "bots": "list, add, pause, resume, rename, move and remove bots",
    "secrets": "make the key that seals tokens, and change it",
    "audit": "list, verify and roll back what was changed",
    "reviews": "list and reject changes that wait for a second person",
    "export": "write all agents, profiles, instances, bindings, roles and the rest to one file",
    "import": "read such a file, and show first what it would change",
}
"""The verbs over the registry, whose words are in `bot.cli.words`."""
VERBS = (
    "run",
    "sandbox",
    "check",
    "skill",
    *REGISTRY_VERBS,
    "dead-letters",
    "token-hash",
    "openapi",
    "schema",
)


def _no_verb(words: Sequence[str]) -> str:
    """Why the words name nothing to do; '' where they do."""
    if not words:
        return (
            "say what to do: `switchboard run` runs your bots, `switchboard sandbox` shows a demo, "
            "`switchboard check` checks your settings; --help lists the rest"
        )
    if words[0] in VERBS or words[0] in ("-h", "--help", "--version"):
        return ""
    if words[0].startswith("-"):
        return f"there is no option {words[0][:40]!r}; `switchboard --help` lists what there is"
    import difflib

    near = difflib.get_close_matches(words[0].lower(), VERBS, n=1)
    cure = f"did you mean {near[0]}?" if near else f"there are {', '.join(VERBS)}"
    return f"there is no command {words[0][:40]!r}; {cure}"


def parser_of(verb: str) -> argparse.ArgumentParser:
    """What reads the words; those over the registry are learnt only where `verb` is one."""
    about = "Many Telegram bots, each answered by its own agent."
    parser = _Parser(prog="switchboard", description=about)
    parser.add_argument("--version", action=_Version)
    verbs = parser.add_subparsers(required=True, metavar=" | ".join(VERBS))
    run = verbs.add_parser("run", help="run the host")
    run.add_argument("--no-env-file", action="store_true", help="do not read .env")
    about = "let debuggers and profilers of this user read the host's memory, secrets included"
    run.add_argument("--dumpable", action="store_true", help=about)
    run.set_defaults(verb=_run)
    _add_sandbox(verbs.add_parser("sandbox", help="try it in a browser: no account, no key"))
    checking = verbs.add_parser("check", help="show every mistake in the configuration")
    checking.add_argument("--json", action="store_true", help="print JSON")
    checking.add_argument("--no-env-file", action="store_true", help="do not read .env")
    about = "start the MCP servers of the file and the environment, and ask them as well"
    checking.add_argument("--servers", action="store_true", help=about)
    about = "ask the servers, and Telegram, the model and the store as well; this costs nothing"
    checking.add_argument("--live", action="store_true", help=about)
    checking.set_defaults(verb=_check)
    _add_skill(verbs.add_parser("skill", help="list the skills, or try one"))
    for name, about in REGISTRY_VERBS.items():
        over_registry = verbs.add_parser(name, help=about, description=about)
        if name == verb:
            from bot.cli.words import add_words

            add_words(name, over_registry)
            over_registry.set_defaults(verb=_over_registry)
    about = "list, replay or drop messages that were set aside"
    _add_dead_letters(verbs.add_parser("dead-letters", help=about))
    hashing = verbs.add_parser("token-hash", help="print the bindingKey of a bot, from its token")
    about = "the bot's token; read from standard input if omitted"
    hashing.add_argument("token", nargs="?", help=about)
    hashing.set_defaults(verb=_token_hash)
    describing = verbs.add_parser("openapi", help="print the OpenAPI document of the HTTP API")
    describing.set_defaults(verb=_openapi)
    about = "print the JSON schema of the files of a kind, for editors"
    schema = verbs.add_parser("schema", help=about, description=about)
    schema.add_argument("kind", choices=["profile", "llm-config"], help="of which files")
    schema.set_defaults(verb=_schema)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words of a verb."""

    def error(self, message: str) -> NoReturn:
        """End with 2 and that line."""
        cure = f"; `{self.prog} --help` lists what it takes"
        what, _, rest = message.partition(": ")
        if what.startswith("the following arguments are required"):
            message = f"{self.prog.partition(' ')[2]} needs {rest.replace(' | ', ' or ')}"
        elif (given := rest.removeprefix("invalid choice: ")) != rest:
            word, _, known = given.removesuffix(")").partition(" (choose from ")
            message, cure = f"there is no {word}", f"; there are {known.replace(chr(39), '')}"
        elif what.startswith("argument "):
            message, cure = rest, ""
        self.exit(2, f"switchboard: {_without_tokens(message)}{cure}\n")


class _Version(argparse.Action):
    """Shows the version, which is looked up only on request: that takes time."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"switchboard {version('switchboard-bots')}")
        parser.exit()


def _add_sandbox(sandbox: argparse.ArgumentParser) -> None:
    about = "port of the page (default 8300; 0 for any free port)"
    sandbox.add_argument("--port", type=_port, default=8300, help=about)
    sandbox.add_argument("--no-open", action="store_true", help="do not open a browser")
    only = sandbox.add_mutually_exclusive_group()
    for part, name in (("telegram", "Bot API"), ("messages", "Messages API")):
        about = f"run only the {name} simulator, empty"
        only.add_argument(
            f"--{part}-only", action="store_const", const=part, dest="part", help=about
        )
    sandbox.set_defaults(verb=_sandbox, part="all")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        message = f"{text!r} is not a valid port; write a number from 0 to 65535"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _add_skill(skill: argparse.ArgumentParser) -> None:
    acts = skill.add_subparsers(required=True, metavar="list | test")
    listing = acts.add_parser("list", help="list the skills of packages and agents")
    listing.add_argument("agent", nargs="?", help="only those of this agent (its id)")
    listing.set_defaults(verb=_print_lines, lines=_skills, level="CRITICAL")
    test = acts.add_parser("test", help="show what a skill would be sent, or call it")
    test.add_argument("agent", help="the agent's id")
    test.add_argument("name", help="the skill's name")
    test.add_argument("input", nargs="?", default="{}", help="a JSON object")
    test.add_argument("--send", action="store_true", help="call it")
    test.set_defaults(verb=_print_lines, lines=_skill, level="WARNING")


def _skills(settings: Settings, given: argparse.Namespace) -> _Lines:
    from bot.cli.skills import skill_list

    return skill_list(settings, given.agent)


def _skill(settings: Settings, given: argparse.Namespace) -> _Lines:
    from bot.cli.skills import skill_test

    return skill_test(settings, given.agent, given.name, given.input, send=given.send)


def _add_dead_letters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("act", choices=["list", "replay", "drop"])
    parser.add_argument("names", nargs="*", help="names as `list` shows them")
    parser.add_argument("--bot", type=int, help="only those of this bot (its numeric id)")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.set_defaults(verb=_print_lines, lines=_dead_letters, level="WARNING")


def _dead_letters(settings: Settings, given: argparse.Namespace) -> _Lines:
    from bot.cli.dead_letters import dead_letters

    return dead_letters(settings, given.act, given.bot, given.names, every=given.all)


def _print_lines(given: argparse.Namespace) -> int:
    """Print the lines of a verb; the log holds what has at least its level."""
    settings = _settings()
    from bot.ops.logging import configure

    configure(given.level, settings.log_format, settings.secrets)
    for line in _loop_run(given.lines(settings, given)):
        print(line)
    return 0


def _over_registry(given: argparse.Namespace) -> int:
    """Do what a verb over the registry says, and print what was done."""
    settings = _settings()
    from bot.cli.registry import run, show
    from bot.ops.logging import configure

    configure("CRITICAL", settings.log_format, settings.secrets)
    return show(_loop_run(run(settings, given)), as_json=given.json)


def _run(given: argparse.Namespace) -> int:
    from bot.ops.process import data_dir_problem, keep_private, pause_gc

    pause_gc()
    settings = _settings(env_file=not given.no_env_file, places=True)
    if not settings.bots and not settings.serves_api and settings.secrets_key is None:
        from bot.configuration import idle_variables

        found = [f"switchboard: {problem}" for problem in idle_variables(settings)]
        print(NO_BOT, *found, sep="\n", file=sys.stderr)
        return 2
    if data_dir_problem(settings.data_dir):
        _refuse_start(env_file=not given.no_env_file, places=True)
    keep_private(dumpable=given.dumpable)
    from bot.ops.logging import configure

    configure(settings.log_level, settings.log_format, settings.secrets)
    _forget_secrets(settings)
    _find_own_programs()
    from bot.app import serve

    async def until_signalled() -> None:
        await serve(settings, *_stop_on_signals())

    _loop_run(until_signalled())
    return 0


def _find_own_programs() -> None:
    """Let programs installed with the host, such as demo MCP servers, be found by name."""
    own_programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([own_programs, os.environ.get("PATH", os.defpath)])


def _sandbox(given: argparse.Namespace) -> int:
    from bot.ops.process import keep_private
    from bot.sandbox.launch import Given, launch

    settings = _settings()
    keep_private()
    key = settings.anthropic_api_key
    wanted = Given(
        data_dir=settings.data_dir,
        agents_file=settings.agents_file,
        api_key=key.get_secret_value() if key else None,
        base_url=settings.anthropic_base_url,
        variables=settings.environ,
    )
    _forget_secrets(settings)
    browser = not given.no_open
    return _loop_run(launch(given.port, part=given.part, given=wanted, browser=browser))


def _forget_secrets(settings: Settings) -> None:
    """Take what only the host needs out of its environment; the settings keep it."""
    from bot.ops.process import erase_variables
    from bot.startup import own_variables

    document = ""
    with contextlib.suppress(OSError):
        document = settings.agents_path.read_text("utf-8", errors="replace")
    erase_variables(own_variables(settings, document))


def _check(given: argparse.Namespace) -> int:
    from bot.cli.check import as_json, as_text, check

    _find_own_programs()
    ask = None
    if given.servers or given.live:
        from bot.cli.asking import ask_everybody, ask_servers

        ask = ask_everybody if given.live else ask_servers
    found, well = check(env_file=not given.no_env_file, ask=ask)
    print(json.dumps(as_json(found, well), indent=2) if given.json else as_text(found, well))
    return 1 if any(problem.level == "error" for problem in found) else 0


def _token_hash(given: argparse.Namespace) -> int:
    from registry.binding import token_hash

    token = (given.token or sys.stdin.readline()).strip()
    number, _, secret = token.partition(":")
    if not number.isdigit() or not secret:
        raise ConfigError("token-hash: that is not a bot token, which looks like 123456789:AA…")
    print(token_hash(token))
    return 0


def _openapi(_given: argparse.Namespace) -> int:
    from bot.http.api.app import make_app
    from bot.http.api.openapi import openapi_document

    print(json.dumps(openapi_document(make_app()), indent=2))
    return 0


def _schema(given: argparse.Namespace) -> int:
    from registry.profile import NamedLlmConfig, Profile

    model = Profile if given.kind == "profile" else NamedLlmConfig
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    print(json.dumps({**dialect, **model.model_json_schema()}, indent=2))
    return 0


def _settings(*, env_file: bool = True, places: bool = False) -> Settings:
    from pydantic import ValidationError

    from bot.settings import Settings
    from registry.errors import DocumentErrors

    try:
        settings = Settings() if env_file else Settings(_env_file=None)
    except (ValidationError, DocumentErrors):
        _refuse_start(env_file=env_file, places=places)
        raise
    if settings.unusable_files:
        _refuse_start(env_file=env_file, places=places)
    return settings


def _refuse_start(*, env_file: bool, places: bool) -> None:
    """Raise ConfigError with all that keeps a host from starting, as `check` says it."""
    from bot.cli.check import start_errors

    if found := start_errors(env_file=env_file, places=places):
        raise ConfigError("\n".join(map(str, found)))


def _stop_on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events that are set by the first SIGTERM or SIGINT, and by a second SIGINT (Ctrl-C again)."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        (hurry if stop.is_set() else stop).set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    return stop, hurry


def _loop_run(work: Coroutine[Any, Any, T]) -> T:
    # The loop takes the interpreter back many times for one request: with a thread at work beside
    # it, each time costs this long.
    sys.setswitchinterval(SWITCH_SECONDS)
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)
