from __future__ import annotations

from pathlib import Path

import pytest

from simulators.telegram.journal import NotAJournal
from simulators.telegram.persistence import persist
from simulators.telegram.snapshot import room_messages, world_state
from simulators.telegram.world import World

TOKEN = "7001:secret"


def lived(path: Path) -> World:
    """A world in which everything happened once."""
    world = World()
    persist(world, path)
    bot = world.bot(TOKEN, "First", "first_bot", first_update=500)
    ann = world.person("Ann", username="ann")
    chat = world.private(ann, bot)
    group = world.group("Team", [ann, bot], forum=True)
    world.topic(group, "Plans", ann)
    said = world.say(ann, chat, "tpyo")
    world.edit(ann, chat, said.id, "typo")
    world.react(ann, chat, said.id, "👍")
    world.attach(ann, chat, "document", b"\x00bytes", name="x.bin")
    gone = world.say(ann, chat, "gone")
    world.messages.remove(chat, gone)
    world.block(ann, bot)
    bot.updates.confirm(502)
    return world


def test_a_restarted_world_is_the_same_world(tmp_path: Path) -> None:
    path = tmp_path / "sandbox" / "journal.jsonl"
    before = lived(path)
    before.close()
    after = World()
    persist(after, path)
    assert world_state(after) == world_state(before)
    for key, room in before.rooms.by_key.items():
        assert room_messages(after.rooms.by_key[key]) == room_messages(room)
        assert after.rooms.by_key[key].next_id == room.next_id
    stored = next(iter(after.files.all()))
    assert stored == next(iter(before.files.all()))
    after.close()


def test_unconfirmed_updates_come_again_and_their_ids_go_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = lived(path)
    left = [u.raw for u in before.members.bots[7001].updates.waiting]
    following = before.members.bots[7001].updates.next_id
    before.close()
    for _ in range(2):
        after = World()
        persist(after, path)
        updates = after.members.bots[7001].updates
        assert [u.raw for u in updates.waiting] == left
        assert updates.waiting[0].id == 502
        assert updates.next_id == following
        assert after.members.tokens[TOKEN].id == 7001
        after.close()


def test_a_revoked_token_stays_revoked(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    world = lived(path)
    fresh = world.revoke(world.members.bots[7001])
    world.close()
    again = World()
    persist(again, path)
    assert list(again.members.tokens) == [fresh]
    again.close()


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lived(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'["message",{"room"')
    world = World()
    persist(world, path)
    assert len(world.rooms.by_key["7001/5000001"].messages) == 2
    world.close()


def test_a_file_that_is_no_journal_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("hello\n")
    with pytest.raises(NotAJournal, match=r"journal\.jsonl, line 1: .* move the file away"):
        persist(World(), path)
