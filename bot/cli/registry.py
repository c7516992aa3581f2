"""What the verbs over the registry share: they open it, say what they did, and print that.

Beside a running host its store is used: REDIS_URL, or the bundled server in DATA_DIR. Where no host
has run yet, the file and the environment can be read, and nothing can be changed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import uuid
from argparse import Namespace
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from bot.cli.store import no_store, opened_store
from bot.errors import ConfigError, StoreError, WrongWords
from bot.settings import Settings
from bot.startup import agents_source, described, instance_files, profile_files
from bot.store.bots import forget_bot, left_of_bot
from bot.store.client import StoreClient
from registry.api_key import ApiKey
from registry.bot_edits import BotEdits
from registry.catalog import Catalog
from registry.errors import Problem, ReasonMissing, RegistryError
from registry.fields import RegistryModel, issues_of
from registry.history import History
from registry.roles import OPERATOR_ACTOR, Why
from registry.sources.redis import RedisStore

Model = TypeVar("Model", bound=RegistryModel)
ACTOR = OPERATOR_ACTOR


@dataclass(frozen=True, slots=True)
class Said:
    """What a verb answers: lines for people, the same as data, and its exit code.

    `notes` are for people as well, and go to stderr.
    """

    lines: Sequence[str]
    data: Any
    code: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry as a verb finds it; `missing` says why there is no store.

    `own_keys` are the API keys of the environment, `webhook_master` is TASK_WEBHOOK_SECRET.
    """

    catalog: Catalog
    client: StoreClient | None = None
    missing: str = ""
    own_keys: Sequence[ApiKey] = ()
    webhook_master: str = field(default="", repr=False)
    bots: BotEdits = field(kw_only=True, repr=False)
    _key: str = field(default_factory=lambda: f"cli:{uuid.uuid4().hex}")

    @property
    def history(self) -> History:
        """The revisions and the audit."""
        return History(self.catalog, is_host=False)

    @property
    def file_errors(self) -> list[Problem]:
        """What keeps the agents file from being used as a whole."""
        return [one for one in self.catalog.file.document.problems if one.level == "error"]

    def key(self, *names: str) -> str:
        """The idempotency key of one change that this command makes."""
        return ":".join((self._key, *names))


Work = Callable[[Registry, Namespace], Awaitable[Said]]


async def run(settings: Settings, given: Namespace) -> Said:
    """Do what was asked; raises ConfigError where it cannot be done, WrongWords for wrong words."""
    try:
        async with opened(settings) as registry:
            if registry.missing and given.needs_store:
                raise ConfigError(f"this needs the store. {registry.missing}.")
            wrong = registry.file_errors
            if wrong and given.needs_file:
                lines = [*map(str, wrong), "the agents file cannot be used: fix it first"]
                raise ConfigError("\n".join(lines))
            said: Said = await given.work(registry, given)
            notes = [f"without a store, only the file is shown. {registry.missing}."]
            notes = [*(notes if registry.missing else ()), *map(str, wrong), *said.notes]
            return replace(said, notes=notes)
    except ReasonMissing as error:
        raise ConfigError(f"{error}, with --reason or --ticket") from None
    except RegistryError as error:
        raise ConfigError(str(error) or type(error).__name__) from None
    except StoreError as error:
        raise ConfigError(f"the store does not answer: {error}") from None


def show(said: Said, *, as_json: bool) -> int:
    """Print what a verb answered; its exit code."""
    for note in said.notes:
        print(f"switchboard: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(said.data, indent=2, ensure_ascii=False))
    else:
        for line in said.lines:
            print(line)
    return said.code


# --- the store -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Registry]:
    """The registry, read once; over the store where there is one."""
    writer, own = settings.guest_permissions(), settings.own_keys
    secret = settings.task_webhook_secret
    master = secret.get_secret_value() if secret else ""
    async with contextlib.AsyncExitStack() as stack:
        if missing := no_store(settings):
            catalog = described(settings)
            catalog.writer = writer
            edits = _bot_edits(settings, catalog, None)
            await catalog.reload()
            yield Registry(catalog, None, missing, own, master, bots=edits)
            return
        client = await opened_store(settings, stack)
        store = RedisStore(client.redis, writer)
        review = settings.review.core
        files = instance_files(settings)
        profiles = profile_files(settings)
        catalog = Catalog(
            agents_source(settings), store, files, writer=writer, review=review, profiles=profiles
        )
        edits = _bot_edits(settings, catalog, client)
        await catalog.reload()
        yield Registry(catalog, client, own_keys=own, webhook_master=master, bots=edits)


def _bot_edits(settings: Settings, catalog: Catalog, client: StoreClient | None) -> BotEdits:
    """What changes bots; a session with Telegram is opened where one is needed."""

    async def ask(token: str, method: str, params: Mapping[str, Any]) -> Any:
        from bot.ops.network import proxy_of
        from bot.telegram.calling import ask_bot_api
        from bot.telegram.client import new_session

        url = settings.telegram_api_url
        async with new_session(proxy=proxy_of(url)) as session:
            return await ask_bot_api(session, url, token, method, params)

    catalog.own_bots = settings.own_bots
    data = [partial(one, client) if client else None for one in (forget_bot, left_of_bot)]
    own = (settings.bot_variables, settings.token_of)
    return BotEdits(catalog, settings.sealer(), ask, *own, *data)  # type: ignore[arg-type]


# --- words ---------------------------------------------------------------------------------------


def why_of(given: Namespace) -> Why:
    """The reason and the ticket that were given."""
    return Why(given.reason or "", given.ticket or "")


def valid(model: type[Model], **fields: object) -> Model:
    """A value of words that were given; raises WrongWords with all that is wrong with them."""
    try:
        return model(**fields)
    except ValidationError as error:
        found = [f"{one.message}; {one.cure}" for one in issues_of(error, model)]
        raise WrongWords("\n".join(found)) from None


def person_of(text: str) -> str:
    """A person as roles name them; a number alone is an id of Telegram."""
    return f"tg:{text}" if text.isascii() and text.isdigit() else text


def not_there(what: str, name: str, known: Iterable[str], cure: str) -> ConfigError:
    """That there is nothing of this name, with the nearest one that there is."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return ConfigError(
        f"there is no {what} '{name}'; {f'did you mean {near[0]}?' if near else cure}"
    )


def time_of(seconds: float) -> str:
    """A time as people read it, in UTC; '' for none."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest cell."""
    cells = [[*row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
