"""The model as the host sees it: how its last requests ended, and what people must fix.

All of it comes from real requests, and from what is known without one: that the key is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from bot.errors import ModelError, ModelRefused
from bot.messages import Answer, Clock, ModelRequest, Piece
from bot.model.client import MessagesModel
from bot.model.parameters import is_native
from registry.errors import Problem
from registry.fields import nearest
from registry.models import known, table

KEYS_PAGE = "https://platform.claude.com/settings/keys"
BILLING_PAGE = "https://platform.claude.com/settings/billing"
EVERY_MODEL = ""
MAX_REFUSALS = 100
SHARED = frozenset({"no key", "no real key", "key", "address"})
"""Faults that no model answers with; of credit, other providers have models that cost nothing."""


class WatchedModel:
    """A `Model` that passes requests on to another, and notes how they end.

    `used` gives the models in use, and where each is set. `changed` is called after each refusal
    that people must end, and once a model that refused answers again.
    """

    def __init__(
        self, model: MessagesModel, clock: Clock, used: Callable[[], Mapping[str, str]]
    ) -> None:
        self._model = model
        self._used = used
        self._clock = clock
        self._answered_at: float | None = None
        self._failed_at: float | None = None
        self._failure = ""
        self._refusals: dict[str, ModelRefused] = {}
        if refusal := model.unusable():
            self._refusals[EVERY_MODEL] = refusal
        self.changed: Callable[[], None] = lambda: None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of the other model's answer."""
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Answer):
                        self._answered(request.model)
                    yield piece
        except ModelError as error:
            if error.cause != "history":  # that is one conversation's, and others are answered
                self._failed_at = self._clock.monotonic()
                self._failure = type(error).__name__
                if isinstance(error, ModelRefused):
                    self._refused(request.model, error)
            raise

    def _answered(self, model: str) -> None:
        self._answered_at = self._clock.monotonic()
        if not self._refusals:
            return
        ended = [self._refusals.pop(name, None) for name in (EVERY_MODEL, model)]
        if any(ended):
            self.changed()

    def _refused(self, model: str, refusal: ModelRefused) -> None:
        """Note it for this model, or for all of them where one key or account serves them all."""
        shared = refusal.fault in SHARED or (refusal.fault == "credit" and self._is_native)
        name = EVERY_MODEL if shared else model
        self._refusals.pop(name, None)
        self._refusals[name] = refusal
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]
        self.changed()

    @property
    def _is_native(self) -> bool:
        return is_native(self._model.base_url)

    @property
    def is_dead(self) -> bool:
        """Whether no agent's model can answer until somebody acts."""
        if not self._refusals or EVERY_MODEL in self._refusals:
            return bool(self._refusals)
        used = self._used().keys()
        return bool(used) and used <= self._refusals.keys()

    def problems(self) -> dict[str, Problem]:
        """What people must fix, under a key that stays the same until it is fixed."""
        used = self._used() if self._refusals else {}
        found = {}
        for model, refusal in self._refusals.items():
            if model == EVERY_MODEL or model in used:
                setup = f"{self._model.fingerprint} {model} {refusal.fault}"
                key = hashlib.sha256(setup.encode()).hexdigest()[:16]
                found[f"model:{key}"] = self._problem(model, refusal, used.get(model, ""))
        return found

    def _problem(self, model: str, refusal: ModelRefused, set_at: str) -> Problem:
        place, native, key = self._model.place, self._is_native, "ANTHROPIC_API_KEY"
        another = f"one from {KEYS_PAGE}" if native else "one that it takes"
        refers = f"its name is set in {set_at}"
        match refusal.fault:
            case "no key":
                cure = f"set it to a key from {KEYS_PAGE} and restart the host"
                return Problem(key, "it is not set, so no agent can answer", cure)
            case "no real key":
                message = "it has a character that no key has (a space, a line break …)"
                return Problem(key, message, "copy the key again and restart the host")
            case "key" if not self._model.has_key:
                cure = f"set it to {another} and restart the host"
                return Problem(key, f"it is not set, and {place} wants one", cure)
            case "key":
                cure = f"set it to {another} and restart the host"
                return Problem(key, f"{place} refuses this key, so no agent can answer", cure)
            case "credit":
                pay = f"pay at {BILLING_PAGE}" if native else "pay there"
                message = f"its account at {place} has no credit left or has reached its limit"
                return Problem(key, message, f"{pay}; the agents then answer again by themselves")
            case "permission":
                cure = f"use another key, or another model ({refers})"
                return Problem(key, f"it may not use the model {model}", cure)
            case "address" if not native:
                cure = "set it to the address of a Messages API and restart the host"
                return Problem("ANTHROPIC_BASE_URL", f"{place} serves no Messages API there", cure)
            case "model" | "address":
                near = nearest(model, [*table()], 0.7) if native and not known(model) else None
                cure = f"write another in {set_at}" + (f"; did you mean {near}?" if near else "")
                return Problem(f"model {model}", f"{place} does not know this model", cure)
        message = f"it refuses the settings or tools of an agent: {refusal}"
        return Problem(f"model {model}", message, f"change them ({refers})")

    def report(self) -> dict[str, Any]:
        """`unused`, `ok` or `failing`, with the age of the last answer and failure in seconds.

        `problems` are those that last until somebody acts.
        """
        now, answered, failed = self._clock.monotonic(), self._answered_at, self._failed_at
        problems = [str(problem) for problem in self.problems().values()]
        state = "unused" if answered is None else "ok"
        if problems or (failed is not None and (answered is None or failed > answered)):
            state = "failing"
        failure = {"last_failure": self._failure} if self._failure else {}
        times = {"last_answer_s": answered, "last_failure_s": failed}
        ages = {name: None if at is None else round(now - at, 1) for name, at in times.items()}
        return {"state": state} | ages | failure | ({"problems": problems} if problems else {})
