"""Thinking, effort and sampling: what each model takes, under each version of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.messages import shape
from simulators.messages.models import ALL_EFFORTS, Model
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

CLASSIC = "2023-06-01"
CURRENT = "2026-10-21"
VERSIONS = (CLASSIC, CURRENT)
SAMPLING = ("temperature", "top_p", "top_k")
TYPES = ("adaptive", "enabled", "disabled", "between_tools")
_USE_ADAPTIVE = (
    'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How this request thinks: `mode` is one of the API's types; `shown`: its text comes back."""

    mode: str
    shown: bool

    @property
    def on(self) -> bool:
        """Whether the model thinks before it answers."""
        return self.mode in ("adaptive", "enabled")


def read_thinking(value: object, model: Model, max_tokens: int | None) -> Thinking:
    """What `thinking` (or its absence: None) means for this model; a Refusal if it is wrong."""
    if value is None:
        return Thinking("adaptive" if model.thinks_by_default else "disabled", model.thinking_shown)
    given = shape.mapping(value, "thinking")
    mode = _mode(given)
    _check_mode(mode, model)
    if mode == "enabled":
        _check_budget(given, max_tokens)
    shown = model.thinking_shown
    if given.get("display") is not None:
        place = f"thinking.{mode}.display"
        shown = shape.one_of(given["display"], ("summarized", "omitted"), place) == "summarized"
    return Thinking(mode, shown)


def _mode(given: Obj) -> str:
    mode = shape.present(given, "type", "thinking")
    if mode not in TYPES:
        expected = ", ".join(f"'{name}'" for name in sorted(TYPES))
        raise invalid(
            f"thinking: Input tag '{mode}' found using 'type' "
            f"does not match any of the expected tags: {expected}"
        )
    more = {"enabled": ("budget_tokens", "display"), "adaptive": ("display",)}
    shape.only(given, ("type", *more.get(mode, ())), f"thinking.{mode}")
    return str(mode)


def _check_mode(mode: str, model: Model) -> None:
    if mode in model.thinking:
        return
    if mode == "adaptive":
        raise invalid("adaptive thinking is not supported on this model")
    cure = _USE_ADAPTIVE
    if mode == "disabled" and "between_tools" in model.thinking:
        cure = 'To turn thinking off on this model, send "thinking": {"type": "between_tools"}.'
    raise invalid(f'"thinking.type.{mode}" is not supported for this model. {cure}')


def _check_budget(given: Obj, max_tokens: int | None) -> None:
    place = "thinking.enabled.budget_tokens"
    budget = shape.integer(shape.present(given, "budget_tokens", "thinking.enabled"), place, 1024)
    if max_tokens is not None and budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def check_output(value: object, model: Model, thinking: Thinking) -> None:
    """Refuse an `output_config` that is wrong, or that this model does not take."""
    output = shape.mapping(value, "output_config")
    shape.only(output, ("effort", "format"), "output_config")
    if output.get("effort") is not None:
        _check_effort(output["effort"], model, thinking)
    if output.get("format") is not None:
        wanted = shape.mapping(output["format"], "output_config.format")
        shape.only(wanted, ("type", "schema"), "output_config.format")
        shape.one_of(wanted.get("type"), ("json_schema",), "output_config.format.type")
        place = "output_config.format.schema"
        shape.mapping(shape.present(wanted, "schema", "output_config.format"), place)


def _check_effort(value: object, model: Model, thinking: Thinking) -> None:
    effort = shape.one_of(value, ALL_EFFORTS, "output_config.effort")
    if not model.efforts:
        raise invalid("This model does not support the effort parameter.")
    if effort not in model.efforts:
        raise invalid(
            f"This model does not support effort level '{effort}'. "
            f"Supported levels: {', '.join(model.efforts)}."
        )
    if effort in ("xhigh", "max") and model.top_effort_needs_thinking and not thinking.on:
        raise invalid(
            f"output_config.effort '{effort}' is not supported with thinking turned off on this "
            "model. Use 'high' or lower, or turn thinking on."
        )


def check_sampling(body: Obj, model: Model, thinking: Thinking) -> None:
    """Refuse temperature, top_p and top_k where the model or thinking does not allow them."""
    given: dict[str, Any] = {name: body[name] for name in SAMPLING if name in body}
    for name, value in given.items():
        if not model.sampling:
            raise invalid(f"`{name}` is deprecated for this model.")
        if name == "top_k":
            shape.integer(value, name, 0)
        else:
            shape.number(value, name, 0, 1)
    if "temperature" in given and "top_p" in given:
        raise invalid(
            "`temperature` and `top_p` cannot both be specified for this model. "
            "Please use only one."
        )
    if thinking.on:
        _check_sampling_with_thinking(given)


def _check_sampling_with_thinking(given: dict[str, Any]) -> None:
    if given.get("temperature", 1) != 1:
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if given.get("top_p", 1) < 0.95:
        raise invalid(
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
        )
    if "top_k" in given:
        raise invalid("`top_k` must be unset when thinking is enabled.")
