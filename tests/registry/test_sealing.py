"""Sealed texts: they open with their key, for their purpose, and for nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.audit import Change, records_of
from registry.authorization import GUEST
from registry.errors import InvalidValue
from registry.roles import OPERATOR_ACTOR, Target
from registry.sealing import Sealer, SealingKey, Unopened, is_sealed, new_key
from registry.sources.stored_values import problems_of, revision_text
from registry.stored_bot import StoredBot, purpose_of

KEY, OTHER = (SealingKey.parse(new_key()) for _ in range(2))
SECRET = "AA" + "k" * 33
TOKEN = f"7100001:{SECRET}"


def sealed(key: SealingKey = KEY, bot: str = "7100001") -> str:
    return Sealer(key).seal(TOKEN, purpose_of(bot))


@given(st.text(max_size=60))
def test_what_was_sealed_opens_and_shows_nothing_of_itself(text: str) -> None:
    sealer = Sealer(KEY)
    one, two = (sealer.seal(text, "bot:1") for _ in range(2))
    assert sealer.open(one, "bot:1") == text
    assert is_sealed(one)
    assert one != two
    assert len(text) < 4 or text not in one


def test_it_opens_for_its_own_bot_alone_and_not_once_it_was_changed() -> None:
    sealer, text = Sealer(KEY), sealed()
    flipped = text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]
    cut = text[: len(text) - (len(text.rpartition(".")[2]) - 1) % 4]  # no length that base64 has
    own = purpose_of("7100001")
    for wrong, purpose in ((text, purpose_of("7100002")), (flipped, own), (cut, own)):
        with pytest.raises(Unopened, match="was changed after it was sealed, or is another's"):
            sealer.open(wrong, purpose)
    with pytest.raises(Unopened, match=f"sealed with another key, {KEY.id}"):
        Sealer(OTHER).open(text, purpose_of("7100001"))
    assert Sealer(OTHER, KEY).open(text, purpose_of("7100001")) == TOKEN
    with pytest.raises(Unopened, match="not a sealed text"):
        sealer.open(TOKEN, purpose_of("7100001"))


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "has 0 bytes"), ("c2hvcnQ=", "has 5 bytes"), ("not base64!", "is not base64")],
)
def test_a_key_has_thirty_two_bytes(text: str, why: str) -> None:
    with pytest.raises(InvalidValue, match=why) as wrong:
        SealingKey.parse(text)
    assert "switchboard secrets new-key" in wrong.value.cure
    raw = base64.b64decode(new_key())
    assert SealingKey.parse(base64.urlsafe_b64encode(raw).decode().rstrip("=")).raw == raw


def test_no_plain_token_is_stored_and_neither_history_nor_audit_keep_a_sealed_one() -> None:
    body: dict[str, Any] = {"id": "7100001", "username": "desk_bot", "token": sealed()}
    where, text = "agent:bot:7100001", json.dumps(body)
    assert problems_of(where, text, GUEST) == ()
    for wrong in ({"token": TOKEN}, {"name": TOKEN}, {"id": "x"}, {"state": "gone"}):
        found = problems_of(where, json.dumps(body | wrong), GUEST)
        assert found
        assert SECRET not in str(found)
    kept = revision_text(where, text)
    assert kept is not None
    assert json.loads(kept) == body | {"token": f"[sealed with key {KEY.id}]"}
    again = json.dumps(body | {"token": sealed(OTHER)})
    change = Change(OPERATOR_ACTOR, "seal the token of bot", "7100001", "key", 0.0)
    (record,) = records_of(change, "bot", "7100001", Target("instance"), text, again)
    assert record.field_changed == "token"
    assert record.new_value == f'"[sealed with key {OTHER.id}]"'
    (made,) = records_of(change, "bot", "7100001", Target("instance"), None, text)
    assert body["token"] not in str(made)
    assert StoredBot.model_validate_json(text).called == "@desk_bot"
