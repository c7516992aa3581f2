"""From headers and a body to a request that the real API would take, or a Refusal."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from simulators.messages import conversation, params, shape, tools, usage
from simulators.messages.blocks import check_cache_control, check_text
from simulators.messages.conversation import Message
from simulators.messages.models import Model, find
from simulators.messages.params import Thinking
from simulators.messages.refusals import Refusal, invalid
from simulators.messages.shape import Obj
from simulators.messages.thinking import Thread, check_leading, follow

_COUNTED = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "speed",
)
_CREATED = (
    *_COUNTED,
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "container",
    "diagnostics",
    "inference_geo",
    "service_tier",
)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request that passed: what a Script looks at to choose its answer."""

    model: Model
    version: str
    body: Obj
    messages: Sequence[Message]
    system: Sequence[Obj]
    tools: Sequence[Obj]
    thinking: Thinking
    prompt: usage.Prompt
    thread: Thread = field(repr=False)

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return bool(self.body.get("stream"))

    @property
    def max_tokens(self) -> int:
        """The most output tokens."""
        return int(self.body["max_tokens"])

    @property
    def stop_sequences(self) -> list[str]:
        """The texts that end the answer."""
        return list(self.body.get("stop_sequences") or ())

    @property
    def system_text(self) -> str:
        """The whole system prompt."""
        return "\n\n".join(block["text"] for block in self.system)

    @property
    def user_texts(self) -> list[str]:
        """The text blocks of the last message of a person, tool results left out."""
        people = [one for one in self.messages if one.role == "user" and one.of("text")]
        return [placed.block["text"] for placed in people[-1].of("text")] if people else []

    @property
    def user_text(self) -> str:
        """The last message of a person as one text."""
        return "\n".join(self.user_texts)

    @property
    def results(self) -> list[Obj]:
        """The tool results that this request ends with, in their order."""
        last = self.messages[-1]
        return [placed.block for placed in last.of("tool_result")] if last.role == "user" else []

    def tool(self, name: str) -> Obj | None:
        """The offered tool of this name."""
        return next((tool for tool in self.tools if tool["name"] == name), None)


def check_headers(headers: Mapping[str, str], accepts: Callable[[str], bool]) -> str:
    """The API version asked for; a Refusal without a key, or with one that is not accepted."""
    bearer = headers.get("authorization", "")
    key = headers.get("x-api-key") or bearer.removeprefix("Bearer ").strip()
    if (not key and not accepts("")) or (bearer and not bearer.startswith("Bearer ")):
        raise Refusal(401, "x-api-key header is required")
    if not accepts(key):
        raise Refusal(
            401, "invalid x-api-key" if "x-api-key" in headers else "Invalid bearer token"
        )
    version = headers.get("anthropic-version")
    if not version:
        raise invalid("anthropic-version: header is required")
    if version not in params.VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    return version


def parse(raw: bytes) -> Obj:
    """The JSON object of a body."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("Input should be a valid dictionary or object to extract fields from")
    return body


def check_create(body: Obj, version: str, paused: Container[str] = ()) -> ModelRequest:
    """The request of `POST /v1/messages`; a Refusal if the real API would refuse it."""
    _check_fields(body, _CREATED, version)
    for name in ("model", "messages", "max_tokens"):
        shape.present(body, name, "")
    model = find(shape.text(body["model"], "model"))
    most = shape.integer(body["max_tokens"], "max_tokens", 1)
    if most > model.output:
        raise invalid(
            f"max_tokens: {most} > {model.output}, which is the maximum allowed number of "
            f"output tokens for {model.id}"
        )
    _check_small(body)
    request = _read(body, model, version, most)
    conversation.check_ending(request.messages, model, request.thinking.on, paused)
    if request.prompt.tokens > model.context:
        raise invalid(
            f"prompt is too long: {request.prompt.tokens} tokens > {model.context} maximum"
        )
    return request


def check_count(body: Obj, version: str) -> ModelRequest:
    """The request of `POST /v1/messages/count_tokens`."""
    _check_fields(body, _COUNTED, version, sampling=False)
    for name in ("model", "messages"):
        shape.present(body, name, "")
    model = find(shape.text(body["model"], "model"))
    return _read(body, model, version, None)


def _check_fields(body: Obj, fields: Sequence[str], version: str, sampling: bool = True) -> None:
    classic = params.SAMPLING if sampling and version == params.CLASSIC else ()
    shape.only(body, (*fields, *classic), "")


def _read(body: Obj, model: Model, version: str, most: int | None) -> ModelRequest:
    messages = conversation.read(body["messages"], model)
    conversation.check_tool_calls(messages)
    offered = tools.read(body.get("tools", []))
    system = _system(body.get("system", []))
    thinks = params.read_thinking(_given(body, "thinking"), model, most)
    params.check_sampling(body, model, thinks)
    if "output_config" in body:
        params.check_output(body["output_config"], model, thinks)
    if "tool_choice" in body:
        tools.check_choice(body["tool_choice"], offered, model, thinks.mode == "enabled")
    check_cache_control(body.get("cache_control"), "cache_control")
    prompt = usage.lay_out(model, offered, system, messages, body.get("cache_control"))
    thread = follow(model, system, offered, messages)
    if thinks.mode == "enabled":
        check_leading(messages)
    return ModelRequest(model, version, body, messages, system, offered, thinks, prompt, thread)


def _given(body: Obj, name: str) -> Any:
    """A field's value, None only if it is absent: null is not a value."""
    if name in body:
        shape.mapping(body[name], name)
    return body.get(name)


def _system(value: object) -> list[Obj]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    blocks = shape.array(value, "system")
    for at, block in enumerate(blocks):
        check_text(block, f"system.{at}")
    return blocks


def _check_small(body: Obj) -> None:
    if "stream" in body:
        shape.boolean(body["stream"], "stream")
    if "service_tier" in body:
        shape.one_of(body["service_tier"], ("auto", "standard_only"), "service_tier")
    if "metadata" in body:
        metadata = shape.mapping(body["metadata"], "metadata")
        shape.only(metadata, ("user_id",), "metadata")
        if metadata.get("user_id") is not None:
            _check_user(metadata["user_id"])
    for at, one in enumerate(shape.array(body.get("stop_sequences", []), "stop_sequences")):
        if not shape.text(one, f"stop_sequences.{at}").strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _check_user(value: object) -> None:
    if len(shape.text(value, "metadata.user_id")) > 256:
        raise invalid("metadata.user_id: String should have at most 256 characters")
