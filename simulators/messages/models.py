"""The models that the simulator knows, and what each of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from simulators.messages.refusals import Refusal

LOW_TO_HIGH = ("low", "medium", "high")
TO_MAX = (*LOW_TO_HIGH, "max")
ALL_EFFORTS = (*LOW_TO_HIGH, "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: limits in tokens, the thinking types and efforts it accepts, its other rules.

    `cache_min` is the smallest cacheable prefix; `binds`: thinking blocks belong to their prefix;
    `top_effort_needs_thinking`: xhigh and max are refused while thinking is off.
    """

    id: str
    name: str
    thinking: frozenset[str]
    efforts: tuple[str, ...] = ALL_EFFORTS
    context: int = 1_000_000
    output: int = 128_000
    cache_min: int = 1024
    sampling: bool = False
    prefill: bool = False
    binds: bool = False
    forced_tools: bool = True
    system_messages: bool = False
    thinks_by_default: bool = False
    thinking_shown: bool = False
    top_effort_needs_thinking: bool = False
    created: str = "1970-01-01T00:00:00Z"
    retires: str | None = None
    alias: str | None = None

    @property
    def line(self) -> str:
        """The model line: haiku, sonnet, opus, fable or mythos."""
        return self.id.split("-")[1]


def _old(model: str, name: str, **more: Any) -> Model:
    """The 4.5 family: a thinking budget, sampling and prefill, 200,000 tokens."""
    return Model(
        model,
        name,
        thinking=frozenset({"enabled", "disabled"}),
        context=200_000,
        output=64_000,
        sampling=True,
        prefill=True,
        thinking_shown=True,
        **more,
    )


def _middle(model: str, name: str, **more: Any) -> Model:
    """The 4.6 models: a budget or adaptive, sampling still taken, no prefill."""
    return Model(
        model,
        name,
        thinking=frozenset({"enabled", "adaptive", "disabled"}),
        efforts=TO_MAX,
        sampling=True,
        thinking_shown=True,
        **more,
    )


def _new(model: str, name: str, off: str | None = "disabled", **more: Any) -> Model:
    """4.7 and later: adaptive only; `off` is the type that turns thinking off, if any does."""
    return Model(model, name, thinking=frozenset({"adaptive", off or "adaptive"}), **more)


def _always(model: str, name: str, **more: Any) -> Model:
    """Models that cannot stop thinking."""
    five: dict[str, Any] = {"thinks_by_default": True, "system_messages": True, "cache_min": 512}
    return _new(model, name, None, **(five | more))


def _bound(model: str, name: str, off: str | None, **more: Any) -> Model:
    """The 5.5 family and its like: thinking blocks belong to their prefix."""
    if off is None:
        return _always(model, name, binds=True, **more)
    five: dict[str, Any] = {"thinks_by_default": True, "system_messages": True, "cache_min": 512}
    return _new(model, name, off, binds=True, top_effort_needs_thinking=True, **five, **more)


_TABLE = (
    _bound("claude-fable-5-2", "Claude Fable 5.2", None, forced_tools=False),
    _bound("claude-mythos-5-2", "Claude Mythos 5.2", None, forced_tools=False),
    _bound("claude-haiku-5-5", "Claude Haiku 5.5", "disabled"),
    _bound(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        "between_tools",
        forced_tools=False,
        created="2026-09-28T00:00:00Z",
    ),
    _bound("claude-fable-5-1", "Claude Fable 5.1", None, forced_tools=False),
    _bound(
        "claude-opus-5-5",
        "Claude Opus 5.5",
        None,
        forced_tools=False,
        created="2026-09-22T00:00:00Z",
    ),
    _always("claude-mythos-5-1", "Claude Mythos 5.1", forced_tools=False),
    _new(
        "claude-sonnet-5",
        "Claude Sonnet 5",
        thinks_by_default=True,
        system_messages=True,
        created="2026-06-30T00:00:00Z",
    ),
    _always("claude-fable-5", "Claude Fable 5"),
    _always("claude-mythos-5", "Claude Mythos 5"),
    _new(
        "claude-opus-5",
        "Claude Opus 5",
        thinks_by_default=True,
        system_messages=True,
        cache_min=512,
        top_effort_needs_thinking=True,
    ),
    _new("claude-opus-4-8", "Claude Opus 4.8", system_messages=True),
    _new("claude-opus-4-7", "Claude Opus 4.7", cache_min=2048),
    _middle("claude-opus-4-6", "Claude Opus 4.6", cache_min=4096, created="2026-02-05T00:00:00Z"),
    _middle("claude-sonnet-4-6", "Claude Sonnet 4.6", created="2026-02-17T00:00:00Z"),
    _old(
        "claude-haiku-4-5-20251001",
        "Claude Haiku 4.5",
        efforts=(),
        cache_min=4096,
        alias="claude-haiku-4-5",
        created="2025-10-15T00:00:00Z",
    ),
    _old(
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        efforts=LOW_TO_HIGH,
        cache_min=4096,
        alias="claude-opus-4-5",
        created="2025-11-24T00:00:00Z",
    ),
    _old(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        efforts=(),
        alias="claude-sonnet-4-5",
        created="2025-09-29T00:00:00Z",
        retires="2026-11-30T00:00:00Z",
    ),
)

MODELS: dict[str, Model] = {model.id: model for model in _TABLE}
_NAMES: dict[str, Model] = MODELS | {model.alias: model for model in _TABLE if model.alias}


def find(name: str) -> Model:
    """The model of this id or alias; a Refusal 404 for an unknown one."""
    if name not in _NAMES:
        raise Refusal(404, f"model: {name}")
    return _NAMES[name]


@contextmanager
def also_known(name: str, like: str = "claude-sonnet-4-6") -> Iterator[None]:
    """Know a model of another provider for a while, which behaves like one of ours."""
    _NAMES[name] = replace(find(like), id=name, name=name)
    try:
        yield
    finally:
        del _NAMES[name]


def described(model: Model) -> dict[str, Any]:
    """The JSON of `GET /v1/models/{id}`."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": model.created,
        "deprecated_at": None,
        "retires_at": model.retires,
        "lifecycle": "deprecated" if model.retires else "active",
        "line": model.line,
        "max_input_tokens": model.context,
        "max_tokens": model.output,
        "capabilities": _capabilities(model),
    }


def _capabilities(model: Model) -> dict[str, Any]:
    plain = ("batch", "citations", "image_input", "pdf_input", "structured_outputs")
    return {name: _supported(True) for name in plain} | {
        "code_execution": _supported(False),
        "context_management": {"supported": False},
        "effort": _supported(bool(model.efforts)) | _each(ALL_EFFORTS, model.efforts),
        "server_tools": {
            "supported": False,
            "code_execution": _supported(False),
            "web_search": _supported(False),
        },
        "thinking": {
            "supported": True,
            "types": _each(("adaptive", "between_tools", "disabled", "enabled"), model.thinking),
        },
    }


def _supported(yes: bool) -> dict[str, Any]:
    return {"supported": yes}


def _each(names: Iterable[str], taken: Iterable[str]) -> dict[str, Any]:
    known = set(taken)
    return {name: _supported(name in known) for name in names}
