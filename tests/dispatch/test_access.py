"""Rights go by numeric id, and the id of all anonymous admins is nobody's."""

from __future__ import annotations

from bot.access import Access
from bot.events import ANONYMOUS_ADMIN


def test_only_a_listed_id_administers() -> None:
    access = Access(frozenset({7}))
    assert access.is_admin(7)
    assert not access.is_admin(8)


def test_the_id_of_anonymous_admins_administers_nothing_even_when_it_is_listed() -> None:
    access = Access(frozenset({ANONYMOUS_ADMIN}))
    assert not access.is_admin(ANONYMOUS_ADMIN)
