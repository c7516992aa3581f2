"""Wrong configurations, each one change away from a good one, and what names the fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.binding import token_hash

TOKEN = "7000001:AAa-token-that-nobody-may-read"
GOOD: Mapping[str, str] = {
    "BOTS__0__TOKEN": TOKEN,
    "ANTHROPIC_API_KEY": "sk-ant-a-key-for-the-test",
    "ADMINS": "5",
    "HTTP_PORT": "0",
}
"""The variables of a configuration without a fault."""
TIME = {"command": "mcp-server-time", "args": ["--local-timezone", "UTC"]}
ODD = {
    "command": sys.executable,
    "args": ["-I", "-S", str(Path(__file__).parents[1] / "mcp" / "servers" / "odd.py"), "fine"],
}
PLACE = "agents.json:1"
NOWHERE = "http://127.0.0.1:1"
Change = Callable[[dict[str, Any]], object]


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    """One fault: the variables (None: unset), the agents file or a change of it, other files.

    `place` and `says` are where and in what words it is named; `asking` are the options of `check`
    by which it can be seen at all. `run` does not start with a fault that `stops`; of one that is
    not `told`, it says nothing.
    """

    name: str
    place: str
    says: str
    environ: Mapping[str, str | None] = field(default_factory=dict)
    change: Change | str | bytes | None = None
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    stops: bool = False
    told: bool = True
    asking: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """The files of this configuration."""
        text = self.change if isinstance(self.change, str | bytes) else json.dumps(self.document())
        for name, content in {"agents.json": text, **self.files}.items():
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)

    def document(self) -> dict[str, Any]:
        """The agents file, a good one but for the change."""
        document = {
            "mcpServers": {"time": TIME},
            "agents": [agent("jack")],
            "defaultAgentId": "jack",
        }
        if callable(self.change):
            self.change(document)
        return document


def agent(id: str, **fields: Any) -> dict[str, Any]:
    """An agent with the server `time`."""
    return {"id": id, "name": id.title(), "mcpServers": ["time"], **fields}


def _agent(**fields: Any) -> Change:
    return lambda document: document["agents"][0].update(fields)


def _server(**fields: Any) -> Change:
    return lambda document: document["mcpServers"].update({"other": fields})


def _bound(agent_id: str, kind: str, key: str) -> Change:
    binding = {"agentId": agent_id, "type": kind, "bindingKey": key}
    return lambda document: document.update(bindings=[binding])


def _skill(**fields: Any) -> Change:
    skill = {"name": "ask", "description": "Ask.", "inputSchema": {"type": "object"}, **fields}
    return _agent(skills=[skill])


def _secret(start: str, length: int = 40) -> str:
    """What looks like a secret, in no form that a scanner of this repository would find."""
    return start + ("aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY" * 4)[:length]


_INTERNAL = {"name": "ask", "executionType": "internal", "internalHandler": "nobodys"}
_TWO_FAULTS = agent(
    "jack", nmae="J", customInstructions=_secret("sk_live_"), mcpServers=["nowhere"]
)

SETTINGS = [
    Misconfiguration(
        "a port out of range", "HTTP_PORT", "65535", {"HTTP_PORT": "99999"}, stops=True
    ),
    Misconfiguration(
        "a port that is taken", "HTTP_PORT", "is taken", {"HTTP_PORT": "{taken}"}, stops=True
    ),
    Misconfiguration(
        "a level that is none",
        "LOG_LEVEL",
        "must be DEBUG, INFO, WARNING or ERROR",
        {"LOG_LEVEL": "loud"},
        stops=True,
    ),
    Misconfiguration(
        "an address of another machine",
        "HTTP_HOST",
        "this machine",
        {"HTTP_HOST": "192.0.2.7"},
        stops=True,
    ),
    Misconfiguration(
        "a name that is no host",
        "HTTP_HOST",
        "cannot be resolved",
        {"HTTP_HOST": "no-such-host.invalid"},
        stops=True,
    ),
    Misconfiguration(
        "a data folder that is a file",
        "DATA_DIR",
        "choose another",
        {"DATA_DIR": "a-file"},
        files={"a-file": ""},
        stops=True,
    ),
    Misconfiguration(
        "a data folder that cannot be made",
        "DATA_DIR",
        "choose another",
        {"DATA_DIR": "/proc/of-nobody"},
        stops=True,
    ),
    Misconfiguration(
        "a data folder in which others write",
        "DATA_DIR",
        "run `chmod 700 open`",
        {"DATA_DIR": "open"},
        stops=True,
    ),
    Misconfiguration(
        "no token", "BOTS__0__TOKEN", "not a bot token", {"BOTS__0__TOKEN": "x"}, stops=True
    ),
    Misconfiguration(
        "a token's file that is missing",
        "BOTS__1__TOKEN_FILE",
        "/nowhere cannot be read",
        {"BOTS__1__TOKEN_FILE": "/nowhere"},
        stops=True,
    ),
    Misconfiguration(
        "one bot twice", "BOTS", "configured twice", {"BOTS__1__TOKEN": TOKEN}, stops=True
    ),
    Misconfiguration(
        "a misspelt part of a bot",
        "BOTS__0__TOKN",
        "did you mean BOTS__0__TOKEN?",
        {"BOTS__0__TOKN": "x"},
        stops=True,
    ),
    Misconfiguration("an admin by name", "ADMINS", "send /id", {"ADMINS": "@ann"}, stops=True),
    Misconfiguration(
        "a file of variables in UTF-16",
        ".env",
        "save it as UTF-8",
        files={".env": "ADMINS=5".encode("utf-16")},
        stops=True,
    ),
    Misconfiguration(
        "a store's address of another kind",
        "REDIS_URL",
        "write redis://",
        {"REDIS_URL": "http://localhost"},
        stops=True,
    ),
    Misconfiguration(
        "a temperature in words",
        "LLM__TEMPERATURE",
        "must be a number",
        {"LLM__TEMPERATURE": "hot"},
        stops=True,
    ),
    Misconfiguration(
        "prices that are no JSON", "PRICES", "must be JSON", {"PRICES": "{cheap"}, stops=True
    ),
    Misconfiguration(
        "no bot, but a token under another program's name",
        "TELEGRAM_BOT_TOKEN",
        "rename it to BOTS__0__TOKEN",
        {"BOTS__0__TOKEN": None, "TELEGRAM_BOT_TOKEN": TOKEN},
    ),
    Misconfiguration(
        "the same under a second name",
        "TELEGRAM_TOKEN",
        "rename it to BOTS__0__TOKEN",
        {"BOTS__0__TOKEN": None, "TELEGRAM_TOKEN": TOKEN},
    ),
    Misconfiguration(
        "the same under a third name",
        "BOT_TOKEN",
        "rename it to BOTS__0__TOKEN",
        {"BOTS__0__TOKEN": None, "BOT_TOKEN": TOKEN},
    ),
    *(
        Misconfiguration(
            f"the same as {name}",
            name,
            f"rename it to BOTS__0__TOKEN{name[len(name.removesuffix('_FILE')) :]}",
            {"BOTS__0__TOKEN": None, name: TOKEN},
        )
        for name in ("BOT__0__TOKEN", "BOTS_0_TOKEN", "TELEGRAM_BOT_TOKEN_FILE")
    ),
    Misconfiguration(
        "a line of variables without =",
        ".env:1",
        "this line sets nothing; write NAME=value",
        {"BOTS__0__TOKEN": None},
        files={".env": f"BOTS__0__TOKEN: {TOKEN}\n"},
    ),
    Misconfiguration(
        "a key under another name",
        "CLAUDE_API_KEY",
        "rename it to ANTHROPIC_API_KEY",
        {"ANTHROPIC_API_KEY": None, "CLAUDE_API_KEY": "sk-ant-a-key-for-the-test"},
    ),
    Misconfiguration(
        "the key of another provider alone",
        "OPENAI_API_KEY",
        "set ANTHROPIC_BASE_URL",
        {"ANTHROPIC_API_KEY": None, "OPENAI_API_KEY": "x" * 20},
    ),
    Misconfiguration(
        "the token of the example",
        "BOTS__0__TOKEN",
        "is the token of the example",
        {"BOTS__0__TOKEN": "123456789:AA-your-token"},
    ),
    *(
        Misconfiguration(f"a key {key[:8]}…", "ANTHROPIC_API_KEY", says, {"ANTHROPIC_API_KEY": key})
        for key, says in {
            "sk-ant-your-key": "is the key of the example",
            _secret("sk-proj-"): "is the key of another provider",
            _secret("sk-ant-oat01-"): "is the token of a subscription",
        }.items()
    ),
    *(
        Misconfiguration(
            f"an address of Telegram that ends in {end}",
            "TELEGRAM_API_URL",
            "write http://127.0.0.1:1",
            {"TELEGRAM_API_URL": f"http://127.0.0.1:1/{end}"},
        )
        for end in ("bot", "bot123456789:AAabcdefghijk/")
    ),
    *(
        Misconfiguration(
            f"a proxy {proxy}",
            "HTTPS_PROXY",
            "is not the address of a proxy",
            {"HTTPS_PROXY": proxy, "TELEGRAM_API_URL": NOWHERE, "ANTHROPIC_BASE_URL": NOWHERE},
        )
        for proxy in ("nonsense", "http://")
    ),
    *(
        Misconfiguration(
            f"a webhook to {host}",
            "WEBHOOK_URL",
            "cannot reach",
            {"WEBHOOK_URL": f"https://{host}"},
        )
        for host in ("localhost", "10.0.0.7")
    ),
    Misconfiguration(
        "agents in a file that is not read",
        "agents.yaml",
        "set AGENTS_FILE=agents.yaml",
        files={"agents.yaml": "agents: []"},
    ),
    Misconfiguration("no key", "ANTHROPIC_API_KEY", "it is not set", {"ANTHROPIC_API_KEY": None}),
    Misconfiguration(
        "an address of the model with its path",
        "ANTHROPIC_BASE_URL",
        "write http://127.0.0.1:1",
        {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1/v1/messages"},
    ),
    Misconfiguration(
        "a webhook without TLS",
        "WEBHOOK_URL",
        "https://",
        {"WEBHOOK_URL": "http://bots.example.org"},
    ),
    Misconfiguration(
        "a webhook on a port that Telegram does not call",
        "WEBHOOK_URL",
        "443, 80, 88 or 8443",
        {"WEBHOOK_URL": "https://bots.example.org:8080"},
    ),
    Misconfiguration(
        "a misspelt model of the host",
        "LLM__MODEL",
        "did you mean claude-sonnet-5-5?",
        {"LLM__MODEL": "claude-sonet-5-5"},
    ),
    Misconfiguration(
        "a model of others",
        "LLM__MODEL",
        "gpt-4 is not a model we know",
        {"LLM__MODEL": "gpt-4"},
    ),
    Misconfiguration(
        "a misspelt model to fall back on",
        "LLM__FALLBACKMODEL",
        "did you mean claude-haiku-5-5?",
        {"LLM__FALLBACKMODEL": "claude-hiaku-5-5"},
    ),
    Misconfiguration(
        "a name that no agent gets",
        "NAME",
        "has no effect here, because agents.json has agents",
        {"NAME": "Jack"},
    ),
    Misconfiguration(
        "a server of a single agent that is not used",
        "MCPSERVERS__0__ENDPOINT",
        "single-agent mode",
        {"MCPSERVERS__0__ENDPOINT": "http://127.0.0.1:1/mcp"},
    ),
    Misconfiguration(
        "a misspelt number", "AGENT_0_ID", "rename it to AGENTS__0__ID", {"AGENT_0_ID": "jack"}
    ),
    Misconfiguration(
        "an agents file that is missing",
        "nowhere.json",
        "the file is missing",
        {"AGENTS_FILE": "nowhere.json"},
    ),
]

AGENTS = [
    Misconfiguration(
        "an agents file that is no JSON",
        "agents.json:2",
        "write a value here",
        change='{"agents":\n[}]',
    ),
    Misconfiguration(
        "a comma too many", PLACE, "there is a comma before ]; remove it", change='{"agents": [1,]}'
    ),
    Misconfiguration("a misspelt field", PLACE, "did you mean 'name'", change=_agent(nmae="J")),
    Misconfiguration(
        "several faults of one agent",
        PLACE,
        "did you mean 'name'",
        change=lambda document: document.update(agents=[_TWO_FAULTS]),
        also=("in plain text", "no server 'nowhere' is defined"),
    ),
    Misconfiguration(
        "an agent twice",
        PLACE,
        "already defined",
        change=lambda document: document["agents"].append(agent("jack")),
    ),
    Misconfiguration(
        "an unknown server", PLACE, "'nowhere'", change=_agent(mcpServers=["nowhere"])
    ),
    Misconfiguration(
        "a program that is not there",
        PLACE,
        "no program 'mcp-server-tiem'",
        change=_server(command="mcp-server-tiem"),
    ),
    Misconfiguration(
        "a program that is not executable",
        PLACE,
        "run `chmod +x server.py`",
        change=_server(command="./server.py"),
        files={"server.py": "#!/bin/sh"},
    ),
    Misconfiguration(
        "a working folder that is not there",
        PLACE,
        "'/nowhere'",
        change=_server(**TIME, cwd="/nowhere"),
    ),
    *(
        Misconfiguration(
            f"an argument {start}…",
            PLACE,
            "in plain text in 'other.args[1]'; pass it to the program in env",
            change=_server(command=sys.executable, args=["--key", _secret(start)]),
        )
        for start in ("sk_live_", "figd_", "sbp_", "SG.", "dop_v1_", "lin_api_", "ntn_", "GOCSPX-")
    ),
    Misconfiguration(
        "an argument with user and password",
        PLACE,
        "a password in an address is written in plain text in 'args[0]'",
        change=_server(command=sys.executable, args=["postgres://ann:tulip-9@db/main"]),
    ),
    Misconfiguration(
        "a secret after its option",
        PLACE,
        "--api-key",
        change=_server(command=sys.executable, args=["--api-key", "tulip-9-rose-4"]),
    ),
    Misconfiguration(
        "an address with user and password",
        PLACE,
        "has a user or password in it",
        change=_server(url="https://ann:tulip-9@tools.example/mcp"),
    ),
    Misconfiguration(
        "an address with a secret in its path",
        PLACE,
        "in plain text",
        change=_server(url=f"https://tools.example/{_secret('sk_live_')}/mcp"),
    ),
    Misconfiguration(
        "a webhook with user and password",
        PLACE,
        "'skills[0].webhookUrl' holds a secret",
        change=_skill(webhookUrl="https://ann:tulip-9@hooks.example/"),
    ),
    Misconfiguration(
        "a pattern without its kind",
        PLACE,
        "write mcp:time:*",
        change=_agent(whitelistPatterns=["time:*"]),
    ),
    Misconfiguration(
        "a pattern of an unknown server",
        PLACE,
        "matches no server",
        change=_agent(whitelistPatterns=["mcp:library:*"]),
    ),
    Misconfiguration(
        "a pattern of an unknown skill",
        PLACE,
        "matches no skill",
        change=_agent(whitelistPatterns=["skill:ask"]),
    ),
    Misconfiguration(
        "a policy for tools of an unknown server",
        PLACE,
        "matches no server",
        change=_agent(toolPolicy={"disabledTools": ["mcp:library:*"]}),
    ),
    *(
        Misconfiguration(
            f"{pattern} in {name}",
            PLACE,
            f"'{pattern}' matches no {what} of this agent; {cure}",
            change=_agent(**{"toolPolicy": {name: [pattern]}} if policy else {name: [pattern]}),
        )
        for name, policy, pattern, what, cure in (
            ("requireConfirmation", True, "mcp:tme:*", "server", "did you mean mcp:time:*?"),
            ("requireConfirmation", True, "time:*", "tool", "write mcp:time:*"),
            ("disabledTools", True, "MCP:Tme:get_*", "server", "did you mean mcp:time:get_*?"),
            ("whitelistPatterns", False, "MCP:Time:*", "server", "did you mean mcp:time:*?"),
            ("allowedIndividualTools", True, "mcp:TIME:*", "server", "did you mean mcp:time:*?"),
        )
    ),
    Misconfiguration(
        "a pattern of the host that names no server",
        "LIMITS__CONFIRM",
        "'mcp:nope:*' matches no server of any agent",
        {"LIMITS__CONFIRM": "mcp:nope:*, MCP:Time:*, delete_*"},
    ),
    Misconfiguration(
        "a pattern that no tool matches",
        PLACE,
        "'mcp:odd:get_tiem' matches no tool",
        change=lambda document: document.update(
            mcpServers={"odd": ODD},
            agents=[agent("jack", mcpServers=["odd"], whitelistPatterns=["mcp:odd:get_tiem"])],
        ),
        asking=("--servers",),
        told=False,
    ),
    Misconfiguration(
        "a bot by a hash that none has",
        PLACE,
        "no configured bot",
        change=_bound("jack", "TelegramBot", token_hash("8000001:AAnobody")),
    ),
    Misconfiguration(
        "a bot by a name that none has",
        PLACE,
        "no hosted bot is @somebody_bot",
        change=_bound("jack", "TelegramBot", "@somebody_bot"),
        asking=("--live",),
    ),
    Misconfiguration(
        "a binding to an unknown agent",
        PLACE,
        "agent 'gone' does not exist",
        change=_bound("gone", "UserId", "5"),
    ),
    Misconfiguration(
        "a default agent that is not there",
        PLACE,
        "agent 'gone' does not exist",
        change=lambda document: document.update(defaultAgentId="gone"),
    ),
    Misconfiguration(
        "agents that answer nobody",
        "agents.json",
        "none is the default",
        change=lambda document: (
            document.pop("defaultAgentId"),
            document["agents"].append({"id": "other", "name": "Other"}),
        ),
    ),
    Misconfiguration(
        "a misspelt model of an agent",
        PLACE,
        "did you mean claude-haiku-5-5?",
        change=_agent(llmOverrides={"model": "claude-hiaku-5-5"}),
    ),
    Misconfiguration(
        "a variable that is not set",
        PLACE,
        "${NOT_SET}, which is not set",
        change=_server(url="https://tools.example/", headers={"X-Key": "${NOT_SET}"}),
    ),
    Misconfiguration(
        "a skill that is not installed",
        PLACE,
        "no installed package has",
        change=_agent(
            skills=[{"name": "ask", "executionType": "internal", "internalHandler": "nobodys"}]
        ),
    ),
    Misconfiguration(
        "a secret in the instructions",
        PLACE,
        "in plain text",
        change=_agent(customInstructions=f"The key is {_secret('sk-ant-')}."),
    ),
]
_NO_TOOL = "matches no tool; there are: mcp:odd:fine"


def _odd(server: Mapping[str, Any], **fields: Any) -> Change:
    """An agent with the server `odd`, which offers the tool `fine`."""
    return lambda document: document.update(
        mcpServers={"odd": {**ODD, **server}}, agents=[agent("jack", mcpServers=["odd"], **fields)]
    )


ASKED = [
    *(
        Misconfiguration(f"a server's {name}", PLACE, says, change=change, asking=("--servers",))
        for name, says, change in (
            (
                "tool in capitals",
                f"'mcp:odd:Fine' {_NO_TOOL}",
                _odd({}, whitelistPatterns=["mcp:odd:Fine"]),
            ),
            (
                "tool that asks",
                f"'fien' {_NO_TOOL}",
                _odd({}, safetyConfig={"requireToolConfirmation": ["fien"]}),
            ),
            (
                "repeatable tool",
                "'fien' in repeatable matches no tool; there are: fine",
                _odd({"repeatable": ["fien"]}),
            ),
            (
                "allowed tool",
                "'fien' in allowCredentials matches no tool",
                _odd({"allowCredentials": ["fien"]}),
            ),
            (
                "cached tool",
                "'fien' in cache.tools matches no tool",
                _odd({"cache": {"tools": ["fien"], "ttlSeconds": 9}}),
            ),
            (
                "own address",
                "cannot connect to 127.0.0.1:1; start the server, or ",
                _odd({"url": f"{NOWHERE}/mcp", "command": None, "args": []}),
            ),
        )
    ),
    Misconfiguration(
        "a bare name in the host's list of what asks",
        "LIMITS__CONFIRM",
        f"'fien' {_NO_TOOL}",
        {"LIMITS__CONFIRM": "delete_*, fien"},
        change=_odd({}),
        asking=("--servers",),
    ),
]
ALREADY_SAID = [
    *(
        Misconfiguration(
            f"a reference {value}",
            PLACE,
            "in a form that is not replaced; write ${DOCS_TOKEN}",
            change=_server(url="https://tools.example/", headers={"Authorization": value}),
        )
        for value in (
            "Bearer $DOCS_TOKEN",
            "Bearer {{DOCS_TOKEN}}",
            "${env:DOCS_TOKEN}",
            "%DOCS_TOKEN%",
        )
    ),
    *(
        Misconfiguration(
            f"an argument {name}=…",
            PLACE,
            f"looks like a secret, as it gives {name}",
            change=_server(command=sys.executable, args=["-x", argument]),
        )
        for name, argument in {
            "Authorization": "--header=Authorization: Bearer tulip-9-rose-4",
            "X-Api-Key": "X-Api-Key: tulip-9-rose-4",
            "Password": "--connection-string=Server=db;Password=tulip-9",
            "AccountKey": "AccountName=ann;AccountKey=tulip-9",
            "APIFY_TOKEN": "APIFY_TOKEN=tulip-9-rose-4",
        }.items()
    ),
    *(
        Misconfiguration(
            f"an address that ends in {end[:6]}",
            PLACE,
            "a secret in its query is written in plain text",
            change=_server(url=f"https://tools.example/mcp{end}"),
        )
        for end in ("?key=tulip-9-rose-4", "?sig=tulip-9-rose-4", "#access_token=tulip-9-rose-4")
    ),
    Misconfiguration(
        "a variable with user and password",
        PLACE,
        "a password in an address is written in plain text in 'env.DATABASE_URL'",
        change=_server(command=sys.executable, env={"DATABASE_URL": "postgres://u:tulip-9@db/x"}),
    ),
    Misconfiguration(
        "a program with its arguments",
        PLACE,
        "leave 'npx' there, and put the rest into \"args\"",
        change=_server(command="npx -y @foo/server"),
    ),
    Misconfiguration(
        "a misspelt server in safetyConfig",
        PLACE,
        "'mcp:tme:*' matches no server of this agent; did you mean mcp:time:*?",
        change=_agent(safetyConfig={"requireToolConfirmation": ["mcp:tme:*"]}),
    ),
    *(
        Misconfiguration(
            f"a condition with {next(iter(condition.values()))}",
            PLACE,
            says,
            change=_agent(
                toolPolicy={
                    "features": ["budgets"],
                    "conditions": [{"tools": ["mcp:time:*"], **condition}],
                }
            ),
        )
        for condition, says in (
            ({"features": ["bugdets"]}, "which is not on; did you mean 'budgets'?"),
            ({"features": ["other"]}, "which is not on; add it to 'features'"),
            ({"when": "'bugdets' in features"}, "which is not on; did you mean 'budgets'?"),
            ({"when": "role == 'manager'"}, "'manager', which is no role; known: admin, everyone"),
        )
    ),
    Misconfiguration(
        "arguments in one text",
        PLACE,
        "'args' must be a list in [ ]; write [ ] around it",
        change=_server(command=sys.executable, args="-y foo"),
    ),
    Misconfiguration(
        "a name twice",
        PLACE,
        "the name 'agents' occurs twice in one object",
        change='{"agents": [], "agents": []}',
    ),
    *(
        Misconfiguration(f"a key {key[:14]}", "ANTHROPIC_API_KEY", says, {"ANTHROPIC_API_KEY": key})
        for key, says in {
            "sk-ant-…": "is the key of the example",
            "sk-ant-xxxxxxxx": "is the key of the example",
            _secret("sk-ant-admin01-"): "is an admin key",
            f"Bearer {_secret('sk-ant-api03-')}": "begins with Bearer; write the key alone",
            "sk-ant-api03-abc def": "has a character that no key has",
            _secret("AIza"): "is the key of another provider",
            TOKEN: "looks like the token of a bot",
        }.items()
    ),
    *(
        Misconfiguration(f"{name}={value}", name, says, {name: value})
        for name, value, says in (
            ("LIMITS_TOOLCALLS", "3", "did you mean LIMITS__TOOLCALLS?"),
            ("LIMIT__TOOLCALLS", "3", "did you mean LIMITS__TOOLCALLS?"),
            ("ANTHROPIC__API_KEY", "x", "did you mean ANTHROPIC_API_KEY?"),
            ("TELEGRAM_API_URL", "https://t.me/my_bot", "write https://api.telegram.org"),
            ("TELEGRAM_API_URL", "http://api.telegram.org", "without TLS; write https://"),
            ("TELEGRAM_API_URL", "https://api.telegramm.org", "write https://api.telegram.org"),
            ("WEBHOOK_URL", "https://myhost", "cannot reach myhost"),
            ("ADMINS", "5, 7000001", "7000001 is the id of a bot"),
            ("BOTS__1__TOKEN", "8000001:AAabcdefghijk", "looks cut off: 13 characters"),
            ("BOTS__0__AGENT_ID", "jack", "did you mean BOTS__0__AGENTID?"),
            ("LLM__MODEL", "claude-sonet-5-5", "a model we know; did you mean claude-sonnet-5-5?"),
        )
    ),
    *(
        Misconfiguration(f"a file {name}", name, "is not read; rename it", files={name: "{}"})
        for name in ("agent.json", "agents.json.txt", "agents.jsonc")
    ),
    Misconfiguration(
        "a variable of a skill that is not set",
        PLACE,
        "skill 'ask' refers to NOT_SET, which is not set; set NOT_SET",
        change=_skill(
            webhookUrl="https://hooks.example/",
            webhookAuth={"type": "bearer", "tokenEnv": "NOT_SET"},
        ),
    ),
]
"""More forms of such faults, of which a start is told by the same code."""
WRONG = [*SETTINGS, *AGENTS, *ASKED, *ALREADY_SAID]

LONG_TOKEN = "123456789:" + _secret("AAE", 32)
NO_BOT = {
    f"BOTS__0__TOKEN:{LONG_TOKEN}": ".env:1: this line sets nothing; write NAME=value",
    f"BOTS__0__TOKEN {LONG_TOKEN}": ".env:1: this line sets nothing; write NAME=value",
    f"set BOTS__0__TOKEN={LONG_TOKEN}": ".env:1: this line sets nothing; write NAME=value",
    LONG_TOKEN: ".env:1: this line sets nothing; write NAME=value",
    f"{LONG_TOKEN}=x": ".env:1: this line sets nothing; write a name of letters",
    f"BOTS__-1__TOKEN={LONG_TOKEN}": ".env:1: this line sets nothing; rename it to BOTS__1__TOKEN",
    "BOTS__0_TOKEN=x": "BOTS__0_TOKEN is not a setting; rename it to BOTS__0__TOKEN",
    "BOTS__O__TOKEN=x": "BOTS__O__TOKEN is not a setting; rename it to BOTS__0__TOKEN",
    "BOTS__01__TOKEN=x": "BOTS__01__TOKEN is not a setting; rename it to BOTS__1__TOKEN",
    "BOTS__TOKEN=x": "BOTS__TOKEN is not a setting; rename it to BOTS__0__TOKEN",
    "BOTS__HELLO=x": "BOTS__HELLO is not a setting; write BOTS__0__TOKEN",
    "BOTS__0__TOKENS=x": "BOTS__0__TOKENS is not a setting; did you mean BOTS__0__TOKEN?",
    "BOTS__0__BOT_TOKEN=x": "BOTS__0__BOT_TOKEN is not a setting; did you mean BOTS__0__TOKEN?",
    "BOTS_TOKEN=x": "BOTS_TOKEN has no effect here; rename it to BOTS__0__TOKEN",
    "BOTTOKEN=x": "BOTTOKEN has no effect here; rename it to BOTS__0__TOKEN",
    "BOT__0__TOKEN=x": "BOT__0__TOKEN has no effect here; rename it to BOTS__0__TOKEN",
    "TELEGRAM__TOKEN=x": "TELEGRAM__TOKEN has no effect here; rename it to BOTS__0__TOKEN",
    "TELEGRAM_BOT_TOKEN=x": "TELEGRAM_BOT_TOKEN has no effect here; rename it to BOTS__0__TOKEN",
    f"TOKEN={LONG_TOKEN}": "TOKEN has no effect here; rename it to BOTS__0__TOKEN",
    f"JACK={LONG_TOKEN}": "JACK has no effect here; rename it to BOTS__0__TOKEN",
}
"""Lines of `.env` by which somebody means to run a bot, and what is said instead."""
