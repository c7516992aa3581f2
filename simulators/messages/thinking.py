"""Signatures of thinking blocks: a seal over the model, the text and everything before it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from simulators.messages.conversation import SORT, Message, PlacedBlock, plain
from simulators.messages.models import Model
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

# The same in every process, so that a restarted simulator knows its own blocks.
_SEAL = b"the sandbox's seal on thinking blocks"
_WRONG = "Invalid `signature` in `thinking` block"
_BOUND = (
    f"{_WRONG}. The block is bound to a different conversation. Remove the block, or set "
    '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
_MODIFIED = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
    "These blocks must remain as they were in the original response."
)


@dataclass(frozen=True, slots=True)
class Seal:
    """What a signature holds; `after` is the id of the thinking block before it, or empty."""

    id: str
    model: str
    text: str
    prefix: str
    after: str


class Thread:
    """A conversation read block by block: the prefix so far, and the thinking in it."""

    def __init__(self, model: Model, system: object, tools: object) -> None:
        self._model = model
        self._hash = hashlib.sha256(orjson.dumps([plain(system), plain(tools)], option=SORT))
        self._role = ""
        self._last = ""

    def add(self, role: str, block: Obj) -> None:
        """Continue by one block that is not thinking."""
        if role != self._role:
            self._hash.update(role.encode())
            self._role = role
        self._hash.update(orjson.dumps(plain(block), option=SORT))

    def sign(self, text: str) -> str:
        """The signature of a thinking block that stands here, with this text."""
        seal = Seal(secrets.token_hex(8), self._model.id, _digest(text), self._here(), self._last)
        self._last = seal.id
        return _pack(seal)

    def check(self, placed: PlacedBlock, latest: bool) -> None:
        """Refuse a thinking block that is forged, altered, or (where models bind) out of place."""
        seal = _unpack(placed.block["signature"])
        if seal is None:
            raise invalid(f"{placed.place}: {_WRONG}")
        if seal.model != self._model.id:
            return  # another model's thinking is dropped without a word
        if seal.text != _digest(placed.block["thinking"]):
            raise invalid(f"{placed.place}: {_MODIFIED if latest else _WRONG}")
        moved = self._last not in ("", seal.after)
        if self._model.binds and (moved or seal.prefix != self._here()):
            raise invalid(f"{placed.place}: {_BOUND}")
        self._last = seal.id

    def _here(self) -> str:
        return self._hash.hexdigest()


def follow(model: Model, system: object, tools: object, conversation: Sequence[Message]) -> Thread:
    """The thread at the end of a conversation; a Refusal where its thinking does not fit."""
    thread = Thread(model, system, tools)
    speakers = [message for message in conversation if message.role == "assistant"]
    for message in conversation:
        latest = bool(speakers) and message is speakers[-1]
        for placed in message.blocks:
            if placed.kind == "thinking":
                thread.check(placed, latest)
            elif placed.kind == "redacted_thinking":
                raise invalid(f"{placed.place}: Invalid `data` in `redacted_thinking` block")
            else:
                thread.add(message.role, placed.block)
    return thread


def check_leading(conversation: Sequence[Message]) -> None:
    """With a thinking budget, refuse a tool loop whose last turn lost its thinking."""
    speakers = [message for message in conversation if message.role == "assistant"]
    if not speakers or not conversation[-1].of("tool_result"):
        return
    first = speakers[-1].blocks[0]
    if first.kind not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"{first.place}.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{first.kind}`. When `thinking` is enabled, a final `assistant` message must start "
            "with a thinking block (preceding the lastmost set of `tool_use` and `tool_result` "
            "blocks). To avoid this requirement, disable `thinking`."
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _pack(seal: Seal) -> str:
    body = orjson.dumps([seal.id, seal.model, seal.text, seal.prefix, seal.after])
    return base64.b64encode(hmac.digest(_SEAL, body, "sha256") + body).decode()


def _unpack(signature: str) -> Seal | None:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(raw[:32], hmac.digest(_SEAL, raw[32:], "sha256")):
        return None
    return Seal(*orjson.loads(raw[32:]))
