"""A data directory that others may write to is refused; links of theirs are never followed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bot.errors import ConfigError
from bot.ops.process import replaceable_parent
from bot.sandbox.startup import alone_in
from bot.store.embedded import EmbeddedValkey, HostLock

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """What an attacker would have the host write to: of the host's own user, or it could not."""
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (target / "file").write_text("precious")
    return target


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o1777])
@pytest.mark.parametrize("below", ["", "valkey"])
async def test_a_folder_that_others_may_write_to_is_refused_with_the_cure(
    tmp_path: Path, mode: int, below: str
) -> None:
    data = tmp_path / "data"
    (data / below).mkdir(parents=True)
    data.chmod(0o700)
    (data / below).chmod(mode)
    words = rf"DATA_DIR: others may write to .*data.*{below} \(mode {mode:04o}\); run `chmod 700 "
    with pytest.raises(ConfigError, match=words):
        await EmbeddedValkey(data, "everysec").start()
    assert sorted(path.name for path in data.rglob("*")) == ([below] if below else [])
    if not below:
        with pytest.raises(ConfigError, match=words):
            HostLock(data)
        with pytest.raises(ConfigError, match=words), alone_in(data / "sandbox"):
            pass


def test_the_command_says_it_in_one_line_and_makes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    words = [sys.executable, "-m", "bot", "run", "--no-env-file"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HTTP_PORT": "0"}
    environ |= {"LOG_LEVEL": "ERROR", "BOTS__0__TOKEN": "7000001:AAa-token-of-no-bot"}
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("switchboard: DATA_DIR: others may write to data (mode 0777)")
    assert list(data.iterdir()) == []


@as_root
@pytest.mark.parametrize("below", ["", "valkey"])
async def test_a_folder_of_another_user_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "data" / below).mkdir(parents=True, mode=0o700)
    os.chown(tmp_path / "data" / below, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=r"belongs to another user \(id 65534\); run `chown 0 "):
        await EmbeddedValkey(tmp_path / "data", "everysec").start()


@as_root
@pytest.mark.parametrize("link", ["data", "above"])
def test_a_link_that_another_user_has_planted_is_not_followed(
    tmp_path: Path, elsewhere: Path, link: str
) -> None:
    (tmp_path / link).symlink_to(elsewhere)
    os.chown(tmp_path / link, NOBODY, NOBODY, follow_symlinks=False)
    folder = tmp_path / "data" if link == "data" else tmp_path / "above" / "data"
    with pytest.raises(ConfigError, match=rf"it leads through .*{link}, a link that another user"):
        HostLock(folder)
    assert not (elsewhere / "host.lock").exists()


def test_a_link_of_our_own_may_lead_to_another_disk(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "data").symlink_to(elsewhere)
    HostLock(tmp_path / "data").release()
    assert (elsewhere / "host.lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["host.lock", "host-id", "valkey/server.lock", "valkey/valkey.conf"]
)
async def test_a_link_in_the_place_of_a_file_is_not_followed(
    tmp_path: Path, elsewhere: Path, name: str
) -> None:
    data = tmp_path / "data"
    (data / "valkey").mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    (data / name).symlink_to(elsewhere / "file")

    async def use() -> None:
        HostLock(data).release()
        await EmbeddedValkey(data, "everysec").start()

    with pytest.raises(ConfigError, match=rf"{name} is a symbolic link"):
        await use()
    assert (elsewhere / "file").read_text() == "precious"


def test_a_lock_of_the_sandbox_is_no_link(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "data" / "sandbox").mkdir(parents=True, mode=0o700)
    (tmp_path / "data").chmod(0o700)
    (tmp_path / "data" / "sandbox" / "sandbox.lock").symlink_to(elsewhere / "file")
    with (
        pytest.raises(ConfigError, match="is a symbolic link"),
        alone_in(tmp_path / "data" / "sandbox"),
    ):
        pass


@pytest.mark.parametrize("planted", ["link", "open", "file"])
def test_a_socket_is_not_put_where_others_may_have_been_before(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    long = tmp_path / ("x" * 100)
    (short,) = [Path(EmbeddedValkey(long, "everysec").url.removeprefix("unix://")).parent]
    assert short.stat().st_mode & 0o777 == 0o700
    short.rmdir()
    if planted == "link":
        short.symlink_to(elsewhere)
    elif planted == "file":
        short.touch()
    else:
        short.mkdir()
        short.chmod(0o755)
    with pytest.raises((ConfigError, OSError), match=r"Remove it|File exists"):
        EmbeddedValkey(long, "everysec")


def test_a_folder_above_that_everybody_may_write_to_is_named(tmp_path: Path) -> None:
    open_one, sticky = tmp_path / "open", tmp_path / "sticky"
    for above, mode in ((open_one, 0o777), (sticky, 0o1777)):
        (above / "data").mkdir(parents=True)
        above.chmod(mode)
    assert replaceable_parent(open_one / "data") == open_one
    assert replaceable_parent(sticky / "data") is None
