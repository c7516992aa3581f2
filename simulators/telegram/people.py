"""Persons and bots, with what BotFather and the bot itself have set."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from simulators.telegram.updates import Updates

Json = dict[str, Any]

TOKEN = re.compile(r"^[1-9]\d{0,15}:[A-Za-z0-9_-]{3,}$")


@dataclass(slots=True)
class Person:
    """A human with a Telegram account."""

    id: int
    name: str
    username: str | None = None
    language: str | None = None
    blocked: set[int] = field(default_factory=set)

    def user(self) -> Json:
        """The person as the Bot API's User object."""
        user: Json = {"id": self.id, "is_bot": False, "first_name": self.name}
        if self.username:
            user["username"] = self.username
        return user | {"language_code": self.language} if self.language else user


@dataclass(slots=True)
class Webhook:
    """Where updates are pushed to; `url` is empty when the bot polls."""

    url: str = ""
    secret: str = ""
    max_connections: int = 40
    ip: str = ""
    error_at: int = 0
    error: str = ""


@dataclass(slots=True)
class Bot:
    """A hosted bot: its token, what BotFather set for it, and its queue of updates.

    It `manages` the bots that people create by its button; `manager` is the bot that manages it.
    """

    id: int
    token: str
    name: str
    username: str
    updates: Updates
    privacy: bool = True
    topics: bool = False
    webhook: Webhook = field(default_factory=Webhook)
    commands: dict[str, list[Json]] = field(default_factory=dict)
    manages: bool = False
    manager: int | None = None
    texts: dict[str, str] = field(default_factory=dict)
    photo: bytes = b""

    def user(self) -> Json:
        """The bot as the Bot API's User object."""
        return {
            "id": self.id,
            "is_bot": True,
            "first_name": self.name,
            "username": self.username,
        }

    def me(self) -> Json:
        """The answer of getMe."""
        return self.user() | {
            "can_join_groups": True,
            "can_read_all_group_messages": not self.privacy,
            "supports_guest_queries": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
            "has_topics_enabled": self.topics,
            "allows_users_to_create_topics": self.topics,
            "can_manage_bots": self.manages,
        }

    def fresh_token(self) -> str:
        """A new token for the same bot, as BotFather gives after a revocation."""
        return f"{self.id}:{secrets.token_urlsafe(24)}"
