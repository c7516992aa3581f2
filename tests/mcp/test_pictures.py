"""Pictures of tools: what is one, how large it is, and how long it takes to tell."""

from __future__ import annotations

import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.mcp.pictures import sides
from tests.refusals.gallery import PICTURES, SIGNATURE, gif

MARKS = [SIGNATURE, b"\xff\xd8\xff", b"GIF89a", b"RIFF", *PICTURES.values()]
EMPTY = struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
ENDLESS = {
    "png": SIGNATURE + EMPTY * 300_000,
    "one chunk": SIGNATURE + struct.pack(">I", 3_700_000) + b"tEXt" + bytes(3_700_000),
    "gif": gif(9, 9)[:-4] + b"\x01\x00" * 1_800_000,
    "extensions": gif(9, 9)[:-18] + b"!\xf9\x00" * 1_200_000,
    "jpeg": b"\xff\xd8" + b"\xff\xd0" * 1_800_000,
    "filling": b"\xff\xd8" + b"\xff" * 3_700_000,
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_told_from_what_is_none_and_measured(name: str) -> None:
    found = sides(PICTURES[name])
    if name.startswith("fine"):
        assert found is not None
        assert found[0] == f"image/{name.split()[1]}"
        assert max(found[1]) <= 16
    else:
        assert found is None or (name.startswith("long") and max(found[1]) > 8000)


def test_a_gif_without_its_last_byte_is_one() -> None:
    assert sides(gif(3, 4)[:-1]) == ("image/gif", (3, 4))


@pytest.mark.parametrize("name", ENDLESS)
def test_no_file_takes_long_to_look_at(name: str) -> None:
    began = time.process_time()
    assert sides(ENDLESS[name]) is None
    assert time.process_time() - began < 0.5


@given(st.sampled_from(MARKS), st.integers(0, 60), st.binary(max_size=60))
def test_no_bytes_are_too_odd(start: bytes, kept: int, rest: bytes) -> None:
    found = sides(start[:kept] + rest)
    assert found is None or min(found[1]) > 0
