"""Starts as people really make them: files in odd encodings, quotes that stay, raw passwords."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

import bot.app
from bot.cli.check import check_configuration
from bot.cli.main import main
from bot.configuration import idle_variables, settings_problems
from bot.ops.network import proxy_of
from bot.settings import Bot, Settings
from bot.startup import agents_source, announce, own_variables
from deploy import healthy
from registry.catalog import Catalog
from registry.errors import Problem

ROOT = Path(__file__).parents[2]
TOKEN = "7000001:AAa-token-that-nobody-may-read"
KEY = "sk-ant-a-key-that-nobody-may-read"
PRICES = '{"m": {"input": 3, "output": 9}}'
PASSWORDS = ("ss/w", "w#rd", "sJ3R", "pa?ss", "ss@", "p[a")


class Started(BaseException):
    """The settings were taken, and the host would start now."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and a host that says that it would start, instead of starting."""

    async def start(*_: object) -> NoReturn:
        raise Started

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOTS__9__TOKEN", "7000009:AAa-token-of-another-bot")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(bot.app, "serve", start)
    monkeypatch.setattr("bot.cli.check.port_problem", lambda *_: None)  # others may have 8080
    monkeypatch.setattr("bot.cli.main._forget_secrets", lambda _: None)
    monkeypatch.setattr("bot.ops.process.pause_gc", lambda: None)
    monkeypatch.setattr("bot.ops.process.keep_private", lambda **_: None)
    monkeypatch.setattr("bot.ops.logging.configure", lambda *_: None)


def refused(named: str, cure: str, capsys: pytest.CaptureFixture[str], *secrets: str) -> str:
    """`run` ends with one line that names the place and the cure, and `check` says the same."""
    assert main(["run"]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert re.match(rf"switchboard: {re.escape(named)}:? ", said)
    assert cure in said
    problems = [str(one) for one in check_configuration() if one.level == "error"]
    assert [f"switchboard: {one}" for one in problems] == [said]
    for secret in secrets:
        assert secret not in said
    return said


def told(place: str) -> list[Problem]:
    """What the log of a start and `check` both say of a place, and the start goes on."""
    with pytest.raises(Started):
        main(["run"])
    settings = Settings()
    every = [*settings_problems(settings), *idle_variables(settings)]
    found = [one for one in every if one.place == place]
    assert found == [one for one in check_configuration() if one.place == place]
    return found


# --- .env ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-16", "it is UTF-16"),
        ("utf-16-le", "it is UTF-16"),
        ("utf-16-be", "it is UTF-16"),
        ("utf-32", "it is UTF-32"),
        ("latin-1", "line 2 is not UTF-8"),
        ("cp437", "line 2 is not UTF-8"),
        ("mac-roman", "line 2 is not UTF-8"),
    ],
)
def test_an_env_file_that_is_not_utf8_is_named_with_what_it_is(
    encoding: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_bytes(f"BOTS__0__TOKEN={TOKEN}\nNAME=Jörg\n".encode(encoding))
    said = refused(".env", named, capsys, TOKEN)
    assert said.endswith("; save it as UTF-8")
    for verb in (["sandbox", "--no-open"], ["skill", "list"], ["dead-letters", "list"]):
        assert main(verb) == 1
        assert capsys.readouterr().err.splitlines() == [said]


def test_an_env_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == ".env":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    Path(".env").touch()
    monkeypatch.setattr(Path, "read_bytes", denied)
    refused(".env", "it cannot be read: Permission denied", capsys)


def test_an_env_file_with_a_byte_order_mark_and_crlf_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbf" + f"BOTS__0__TOKEN={TOKEN}\r\nX=1\r\n".encode())
    settings = Settings()
    assert [bot.id for bot in settings.bots] == [7000001, 7000009]
    assert settings.environ["X"] == "1"


def test_the_env_file_fills_in_references_of_settings_as_before() -> None:
    Path(".env").write_text(
        "PORT=81\nHTTP_PORT=${PORT}\nHEADER='Bearer ${PORT}'\n", encoding="utf-8"
    )
    settings = Settings()
    assert settings.http_port == 81
    assert settings.environ["HEADER"] == "Bearer ${PORT}"


def test_a_line_with_a_colon_is_named_once_by_run_and_by_check() -> None:
    lines = f"BOTS__0__TOKEN: {TOKEN}\nTELEGRAM_BOT_TOKEN_FILE=/run/x\n"
    Path(".env").write_text(lines, encoding="utf-8")
    switchboard = Path(sys.executable).parent / "switchboard"
    wrong = [
        ".env:1: this line sets nothing; write NAME=value, or put a # in front",
        "TELEGRAM_BOT_TOKEN_FILE has no effect here; rename it to BOTS__0__TOKEN_FILE",
    ]
    status, said = command(switchboard, "run")
    assert (status, said.splitlines()[1:]) == (2, [f"switchboard: {one}" for one in wrong])
    _, said = command(switchboard, "check")
    assert [one[8:] for one in said.splitlines() if "dotenv" in one or one[8:] in wrong] == wrong


async def test_single_agent_mode_is_a_note_for_a_start_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAME", "Jack")
    settings = Settings()
    catalog = Catalog(agents_source(settings))
    await catalog.reload()
    with capture_logs() as logged:
        announce(settings, catalog.snapshot(), "")
    assert [one["log_level"] for one in logged if one["event"] == "agents"] == ["info"]


# --- quotes that `docker run --env-file` keeps ---------------------------------------------------


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_values_are_no_part_of_them(
    quote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "BOTS__0__TOKEN": TOKEN,
        "ANTHROPIC_API_KEY": KEY,
        "REDIS_URL": "redis://127.0.0.1:6379/0",
        "LLM__MODEL": "claude-haiku-5-5",
        "ADMINS": "5,6",
        "HTTP_PORT": "0",
        "REPLICA_NAME": "",
        "AGENTS__0__ID": "jack",
        "AGENTS__0__NAME": "Jack",
        "AGENT_SECRETS": "CRM_KEY",
        "CRM_KEY": "a key of the CRM",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, f"{quote}{value}{quote}")
    settings = Settings()
    assert settings.bots[0].token.get_secret_value() == TOKEN
    assert settings.anthropic_api_key
    assert settings.anthropic_api_key.get_secret_value() == KEY
    assert settings.redis_url
    assert settings.redis_url.get_secret_value() == given["REDIS_URL"]
    assert (settings.llm.model, settings.http_port) == ("claude-haiku-5-5", 0)
    assert settings.admins == {5, 6}
    assert settings.replica_name is None
    assert settings.environ["CRM_KEY"] == given["CRM_KEY"]
    agents = agents_source(settings).environment.agents
    assert [one.value for one in agents] == [{"id": "jack", "name": "Jack"}]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (r'"{\"m\": {\"input\": 3, \"output\": 9}}"', PRICES),
        (f"'{PRICES}'", PRICES),
        ('"a" and "b"', '"a" and "b"'),
        ("it's", "it's"),
        ('"', '"'),
        ("\"'nested'\"", "'nested'"),
    ],
)
def test_a_quoted_value_means_what_it_means_in_an_env_file(
    value: str, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIVEN", value)
    assert Settings().environ["GIVEN"] == read
    if read == PRICES:
        monkeypatch.setenv("PRICES", value)
        assert Settings().prices == {"m": {"input": 3, "output": 9}}


def test_a_proxy_in_quotes_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", '"http://user:pass-word-x@127.0.0.1:9"')
    settings = Settings()
    assert proxy_of("https://api.example") == "http://user:pass-word-x@127.0.0.1:9"
    assert "pass-word-x" not in settings.secrets.redact("a pass-word-x b")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BOTS__0__TOKEN", f'"{TOKEN}'),
        ("BOTS__0__TOKEN", f"{TOKEN}'"),
        ("BOTS__0__TOKEN", f"“{TOKEN}”"),
        ("REDIS_URL", '"redis://127.0.0.1:6379/0'),
        ("REDIS_URL", "redis://127.0.0.1:6379/0'"),
    ],
)
def test_a_secret_with_a_quote_on_one_side_is_named_with_the_cure(
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    refused(variable, "has a quote at one end; remove it", capsys, TOKEN)


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CRM_KEY"])
def test_a_quote_that_may_be_meant_is_told_and_the_start_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SECRETS", "CRM_KEY")
    monkeypatch.setenv("CRM_KEY", "a key of the CRM")
    monkeypatch.setenv(name, "'sk-key-of-nobody")
    [found] = told(name)
    assert (found.level, found.message) == ("warning", "its value has a quote at one end")


def test_the_health_check_of_the_container_reads_a_port_in_quotes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTP_PORT", '"9"')
    assert healthy.main() == 1
    assert "http://127.0.0.1:9/health/live: " in capsys.readouterr().out


# --- secrets in files ----------------------------------------------------------------------------

SECRETS = {
    "BOTS__0__TOKEN": TOKEN,
    "ANTHROPIC_API_KEY": KEY,
    "REDIS_URL": "redis://:pass-word-x@127.0.0.1:6379/1",
    "CRM_KEY": "crm-secret-of-nobody",
}


def test_each_secret_setting_has_a_name_for_its_file() -> None:
    for model in (Settings, Bot):
        for name, field in model.model_fields.items():
            if "SecretStr" in str(field.annotation):
                assert f"{name}_file" in model.model_fields


@pytest.mark.parametrize(
    "written", ["{}", "\ufeff{}", "{}\r\n", "\ufeff{}\n\n", '"{}"\n', "  {}\t\r\n"]
)
def test_a_secret_is_read_from_a_file_however_an_editor_wrote_it(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_SECRETS", "CRM_KEY")
    for variable, value in SECRETS.items():
        Path(variable).write_text(written.format(value), "utf-8")
        monkeypatch.setenv(f"{variable}_FILE", variable)
    settings = Settings()
    own = [settings.bots[0].token, settings.anthropic_api_key, settings.redis_url]
    found = [one.get_secret_value() if one else None for one in own]
    assert [*found, settings.environ["CRM_KEY"]] == [*SECRETS.values()]
    assert {f"{variable}_FILE" for variable in SECRETS} <= own_variables(settings)
    assert "CRM_KEY_FILE" not in settings.environ
    for secret in (*SECRETS.values(), "pass-word-x"):
        assert secret not in settings.secrets.redact(f"it is {secret} there")
    places = {one.place.removesuffix("_FILE") for one in check_configuration()}
    assert not places & {*SECRETS, "AGENT_SECRETS"} - {"REDIS_URL"}  # nothing listens there


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (None, "none cannot be read: No such file or directory; put the secret there"),
        (b"", "is empty; put the secret there"),
        (b" \r\n", "is empty"),
        (b"\xff\xfer\0e\0d\0", "it is UTF-16, not UTF-8; save it as UTF-8"),
        (b"secret-f\xfcr-nobody", "line 1 is not UTF-8; save it as UTF-8"),
        (b"# a comment\nsecret-of-nobody\n", "more than one line; leave only the secret there"),
        (b"x" * 70_000, "leave only the secret there"),
    ],
)
def test_a_file_of_a_secret_that_cannot_be_used_is_named_with_its_cure(
    variable: str,
    content: bytes | None,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        Path("there").write_bytes(content)
    monkeypatch.setenv("AGENT_SECRETS", "CRM_KEY")
    monkeypatch.setenv(f"{variable}_FILE", "none" if content is None else "there")
    refused(f"{variable}_FILE", cure, capsys, "of-nobody")


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_that_is_given_twice_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there").write_text(SECRETS[variable], encoding="utf-8")
    monkeypatch.setenv("AGENT_SECRETS", "CRM_KEY")
    monkeypatch.setenv(variable, SECRETS[variable])
    monkeypatch.setenv(f"{variable}_FILE", "there")
    refused(f"{variable}_FILE", "is set as well; keep one of the two", capsys, SECRETS[variable])


@pytest.mark.parametrize("variable", SECRETS)
@pytest.mark.parametrize("secret", [TOKEN, SECRETS["REDIS_URL"], KEY])
def test_a_secret_where_its_file_should_be_named_is_not_repeated(
    variable: str,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AGENT_SECRETS", "CRM_KEY")
    monkeypatch.setenv(f"{variable}_FILE", secret)
    refused(f"{variable}_FILE", "it looks like the secret itself", capsys, secret, "pass-word-x")


def test_the_files_of_bots_given_as_json_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("there").write_text(TOKEN, encoding="utf-8")
    monkeypatch.setenv("BOTS", json.dumps([{"token_file": "there"}]))
    assert [bot.id for bot in Settings().bots] == [7000001]


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("WEBHOOK_URL_FILE", "set WEBHOOK_URL itself: only secrets are read from files"),
        ("ADMINS_FILE", "set ADMINS itself"),
        ("ANTHROPIC_KEY_FILE", "rename it to ANTHROPIC_API_KEY_FILE"),
        ("REDIS_PASSWORD_FILE", "rename it to REDIS_URL_FILE"),
        ("redis_uri_file", "rename it to REDIS_URL_FILE"),
        ("TELEGRAM_BOT_TOKEN_FILE", "rename it to BOTS__0__TOKEN_FILE"),
        ("BOT_TOKEN_FILE", "rename it to BOTS__0__TOKEN_FILE"),
    ],
)
def test_a_file_variable_that_nothing_reads_is_told(
    name: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTS__0__TOKEN", TOKEN)
    monkeypatch.setenv(name, "/run/secrets/x")
    [found] = told(name)
    assert (found.level, found.message) == ("warning", "has no effect here")
    assert found.cure.startswith(cure)


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "LOG_FILE", "AGENTS_FILE", "MCPSERVERS__X__ENV__KEY_FILE", "_FILE"]
)
def test_a_file_variable_of_others_is_not_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("agents.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv(name, "agents.json")
    assert told(name) == []


def test_a_file_below_a_setting_is_refused_like_any_unknown_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM__MODEL_FILE", "/run/secrets/x")
    refused("LLM__MODEL_FILE", "is not a setting; did you mean LLM__MODEL?", capsys)


# --- the store's address -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("redis://:p@ss/w#rd@h:6379/0", "write / as %2F"),
        ("redis://:sJ3R+hp/==@h:6379", "write / as %2F"),
        ("rediss://u:pa?ss@h:6379/0", "write / as %2F"),
        ("redis://:w#rd@h:6379/0", "# as %23"),
        ("redis://:123/ss@h:6379/0", "write / as %2F"),
        ("redis://:pa?ss=1&db=2@h/0", "write / as %2F"),
        ("redis://:p[a]ss@h:6379/0", "[ as %5B"),
        ("redis://:p[ass@h:6379/0", "[ as %5B"),
        ("unix://:pa/ss@/run/redis.sock", "write / as %2F"),
        ("redis://h:6379/abc", "as a rule 0 to 15"),
        ("redis://h:6379/0/1", "as a rule 0 to 15"),
        ("redis://h:6379/-1", "as a rule 0 to 15"),
        ("redis://h:6379?db=two", "as a rule 0 to 15"),
        ("unix:///run/redis.sock?db=-1", "as a rule 0 to 15"),
        ("redis://h:6379/0?decode_responses=true", "'decode_responses' that cannot be used here"),
        ("redis://h:6379/0?foo=1", "an option 'foo' that cannot be used here; remove it"),
        ("redis://h?socket_timout=1", "did you mean socket_timeout?"),
        ("redis://h?ssl_cert_reqs=none", "write rediss:// for TLS"),
        ("redis://h?socket_timeout=soon", "'socket_timeout' with a wrong value"),
        ("redis://h?protocol=4", "'protocol' with a wrong value"),
        ("rediss://h?ssl_cert_reqs=maybe", "'ssl_cert_reqs' with a wrong value"),
        ("unix:///run/redis.sock?bar=2", "'bar' that cannot be used here"),
        ("unix:///run/redis.sock?socket_keepalive=1", "remove it"),
        ("unix://redis.sock", "unix:///path/to/socket"),
        ("valkey://h:6379/0", "write redis://"),
    ],
)
def test_an_address_that_would_not_mean_what_it_says_is_refused(
    url: str, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    refused("REDIS_URL", cure, capsys, *PASSWORDS)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p%40ss%2Fw%23rd@h:6379/0",
        "redis://:p@ss@h:6379/100",
        "rediss://u:pw@h:6380/3?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock?db=2",
        "unix:///run/user@1000/redis.sock",
        "unix://:pass@/run/redis.sock",
        "redis://h?protocol=3&socket_timeout=5.5&max_connections=9",
        "redis://h:6379/0?password=p@ss&username=u",
        "redis://[::1]:6379/0",
        "redis://:pass@[::1]/",
    ],
)
def test_an_address_of_the_right_form_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    found = Settings().redis_url
    assert found
    assert found.get_secret_value() == url


# --- admins --------------------------------------------------------------------------------------


def test_an_id_of_a_group_among_the_admins_is_told_and_the_start_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADMINS", "5,-1001")
    [found] = told("ADMINS")
    assert (found.level, found.message) == ("warning", "-1001 is not a person's id")


# --- a folder that has modules of the same names as ours -----------------------------------------

STRANGER = "open('ran', 'w').close(); raise SystemExit('a stranger ran')\n"


def command(*words: str | Path, **environ: str) -> tuple[int, str]:
    """The exit status and the words of a command in this folder."""
    model = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    variables = {"PATH": os.environ["PATH"], "HTTP_PORT": "0", **model, **environ}
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=variables, timeout=60
    )
    assert not Path("ran").exists()
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "stranger", ["bot.py", "registry.py", "registry/__init__.py", "bot/__init__.py"]
)
def test_a_module_of_our_name_that_comes_first_is_named_and_not_run(
    stranger: str, tmp_path: Path
) -> None:
    file = tmp_path / "elsewhere" / stranger
    file.parent.mkdir(parents=True)
    file.write_text(STRANGER)
    path = os.pathsep.join(["/nowhere", str(tmp_path / "elsewhere")])
    status, said = command(Path(sys.executable).parent / "switchboard", "run", PYTHONPATH=path)
    assert status == 1
    [line] = said.splitlines()
    assert line.startswith(f"switchboard: {file} ")
    assert line.endswith("take its folder out of PYTHONPATH, or rename it")


def test_a_module_of_our_name_in_the_folder_of_a_start_is_named_or_not_looked_at() -> None:
    for name in ("registry.py", "simulators.py"):
        Path(name).write_text(STRANGER, encoding="utf-8")
    status, said = command(sys.executable, "-m", "bot", "check")
    assert status == 1
    [line] = said.splitlines()
    assert line.startswith(f"switchboard: {Path('registry.py').resolve()} ")
    assert line.endswith("start it by the command `switchboard`, or rename it")
    Path("bot.py").write_text(STRANGER, encoding="utf-8")
    status, said = command(Path(sys.executable).parent / "switchboard", "check")
    assert "1 error," in said  # no bot is configured


def test_python_itself_runs_a_bot_in_the_folder_before_anything_of_ours_as_the_docs_say() -> None:
    Path("bot.py").write_text("raise SystemExit('a stranger ran')\n", encoding="utf-8")
    assert command(sys.executable, "-m", "bot", "check") == (1, "a stranger ran\n")


def test_the_simulators_of_others_matter_only_where_ours_are_needed(tmp_path: Path) -> None:
    Path("simulators.py").write_text(STRANGER, encoding="utf-8")
    switchboard = Path(sys.executable).parent / "switchboard"
    assert "1 error," in command(switchboard, "check", PYTHONPATH=str(tmp_path))[1]
    status, said = command(switchboard, "sandbox", "--no-open", PYTHONPATH=str(tmp_path))
    assert (status, "simulators.py" in said, len(said.splitlines())) == (1, True, 1)
