"""What agents are told for the vertical, region and language of a task, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from registry.definition import Line, PlainText
from registry.fields import Few, SnakeModel

MOST_VALUES = 256
TEXT_LIMIT = 8_000
Dimension = Literal["verticals", "regions", "languages"]
_BETWEEN = re.compile(r"[\s_-]+")

_Value = Annotated[Line, StringConstraints(min_length=1, max_length=64)]


class SpecializationText(SnakeModel):
    """The text for one value, and its other names; an empty text adds nothing."""

    text: Annotated[PlainText, StringConstraints(max_length=TEXT_LIMIT)]
    aliases: Few[_Value] = ()


_Texts = Annotated[Mapping[_Value, SpecializationText], Field(max_length=MOST_VALUES)]


class SpecializationDocument(SnakeModel):
    """The texts by the values of each dimension, as a file has them."""

    verticals: _Texts = Field(default_factory=dict)
    regions: _Texts = Field(default_factory=dict)
    languages: _Texts = Field(default_factory=dict)

    def of(self, dimension: Dimension) -> Mapping[str, SpecializationText]:
        """The texts of one dimension."""
        texts: Mapping[str, SpecializationText] = getattr(self, dimension)
        return texts


DIMENSIONS: tuple[Dimension, ...] = ("verticals", "regions", "languages")


@dataclass(frozen=True, slots=True)
class Specializations:
    """The texts in force: those of an earlier document win over a later one's, value by value."""

    documents: tuple[SpecializationDocument, ...] = ()
    _texts: dict[tuple[Dimension, str], str] = field(init=False, default_factory=dict, repr=False)
    _names: dict[tuple[Dimension, str], str] = field(init=False, default_factory=dict, repr=False)
    """The value that an alias stands for."""

    def __post_init__(self) -> None:
        for document in self.documents:
            for dimension in DIMENSIONS:
                for name, one in document.of(dimension).items():
                    own = _normalized(name)
                    self._texts.setdefault((dimension, own), one.text.strip())
                    for alias in one.aliases:
                        self._names.setdefault((dimension, _normalized(alias)), own)

    def text(self, vertical: str | None, region: str | None, language: str | None) -> str:
        """What is said of a specialization, vertical first, then region, then language.

        Values are matched without regard to case, and to spaces, hyphens and underscores. One that
        has no text adds none.
        """
        found = [self._of("verticals", vertical), self._of("regions", region)]
        spoken = self._of("languages", language)
        if spoken is None and language:  # a variety of a language: `ar-AE` is `ar`
            spoken = self._of("languages", _normalized(language).partition(" ")[0])
        return "\n\n".join(filter(None, [*found, spoken]))

    def values(self, dimension: Dimension) -> list[str]:
        """The values of a dimension that have a text, in order."""
        found = (name for (own, name), text in self._texts.items() if own == dimension and text)
        return sorted(found)

    def all_values(self) -> dict[str, list[str]]:
        """The values that have a text, by dimension."""
        return {dimension: self.values(dimension) for dimension in DIMENSIONS}

    def _of(self, dimension: Dimension, value: str | None) -> str | None:
        """The text for a value; None where the value is not known."""
        name = _normalized(value or "")
        if (text := self._texts.get((dimension, name))) is not None:
            return text
        return self._texts.get((dimension, self._names.get((dimension, name), "")))


def _normalized(value: str) -> str:
    return _BETWEEN.sub(" ", value.casefold()).strip()
