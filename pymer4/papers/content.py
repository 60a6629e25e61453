"""What a table of a paper holds: texts in parts, under a title and above notes."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

# What XML and terminals do not take, and half of a surrogate pair.
_STRANGE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows under a heading of their own, or none, each a label and k cells; missing ones at the end are empty."""

    heading: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Content:
    """Texts as they are to be read: every way out escapes what is special there.

    Attributes:
        title: what the table is.
        facts: lines below the title.
        columns: headings of the k columns beside that of the labels.
        parts: the rows.
        notes: lines below the table.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _clean(getattr(self, field.name)))
        width = 1 + len(self.columns)
        full = [
            Part(part.heading, tuple((*row, *[""] * (width - len(row))) for row in part.rows)) for part in self.parts
        ]
        object.__setattr__(self, "parts", tuple(full))


def _clean(value: Any) -> Any:
    """Return texts, however deep in tuples and parts, without what no format takes."""
    if isinstance(value, Part):
        return Part(_clean(value.heading), _clean(value.rows))
    if isinstance(value, (tuple, list)):
        return tuple(_clean(each) for each in value)
    return " ".join(_STRANGE.sub(" ", str(value)).split())
