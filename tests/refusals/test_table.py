"""Each refusal of a neighbour has a cause, a next step and an end."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import tests.refusals
from tests.refusals.table import WALKS, rows

for module in pkgutil.iter_modules(tests.refusals.__path__):
    if module.name.startswith("walks_"):
        importlib.import_module(f"tests.refusals.{module.name}")


def test_each_row_of_the_page_is_walked_once() -> None:
    names = rows()
    assert len(names) == len(set(names))
    assert set(names) == set(WALKS)


@pytest.mark.parametrize("row", sorted(WALKS))
async def test_a_neighbour_that_repeats_one_refusal_for_ever_ends_as_written(
    row: str, tmp_path: Path
) -> None:
    await WALKS[row](tmp_path)
